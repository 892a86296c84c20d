"""Gradient, Hessian elements and the classic eigenmatrix against their definitions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.engines.engine import DifferencedSystem, differences
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.references import REFERENCES, MoleculeEvaluation, MoleculeModel, QMTarget
from fieldfit.forcefield.references.cartesian import (
    ClassicEigenmatrixDiagonal,
    ClassicEigenmatrixOffDiagonal,
    Gradient,
    HessianElement,
)
from molecules import internal_parameters, made_by, sn2_transition_state

KCAL_PER_HARTREE_BOHR2 = 2240.877
"""One hartree/bohr^2 [kcal/mol/A^2]: 627.5095 / 0.5291772^2."""

NAMES = ("gradient", "hessian_element", "classic_eigenmatrix_diagonal", "classic_eigenmatrix_off_diagonal")


@pytest.fixture(scope="module")
def molecule(examples):
    return sn2_transition_state(examples)


@pytest.fixture(scope="module")
def field(molecule):
    return build_force_field([molecule]).with_values({"bond.C-F.k": 110.0, "angle.F-C-H.k": 33.0, "bond.C-H.r0": 1.1})


@pytest.fixture(scope="module")
def system(molecule, field):
    return JaxEngine().system(molecule, field)


@pytest.fixture(scope="module")
def model(molecule, system):
    return MoleculeModel(QMTarget(molecule), system)


@pytest.fixture(scope="module")
def evaluation(model, field):
    return MoleculeEvaluation(model, internal_parameters(field), model.initial_state)


@pytest.fixture(scope="module")
def hessian(molecule, field, system):
    """The Hessian of the force field at the QM geometry by differences of its gradient."""
    p = internal_parameters(field)
    return differences(lambda x: system.gradient(x, p), molecule.record.coordinates, 1e-4)


def test_the_gradient_is_that_of_the_energy(molecule, field, system, model, evaluation) -> None:
    p = internal_parameters(field)
    expected = differences(lambda x: np.array([system.energy(x, p)]), molecule.record.coordinates, 1e-4)[0]
    reference = Gradient(model.target)
    assert_allclose(reference.predicted(evaluation), expected, atol=1e-5)
    assert_array_equal(reference.observed, molecule.record.gradient.ravel())
    symbols = molecule.record.symbols
    assert reference.labels[:4] == (f"{symbols[0]}1 x", f"{symbols[0]}1 y", f"{symbols[0]}1 z", f"{symbols[1]}2 x")


def test_a_record_without_gradient_is_taken_to_be_stationary(molecule) -> None:
    bare = dataclasses.replace(molecule, record=dataclasses.replace(molecule.record, gradient=None))
    assert_array_equal(Gradient(QMTarget(bare)).observed, np.zeros(18))


def test_hessian_elements_are_those_on_and_above_the_diagonal(molecule, model, evaluation, hessian) -> None:
    reference = HessianElement(model.target)
    # 18 coordinates: 18 * 19 / 2 elements.
    assert len(reference.labels) == 171
    full = dict(zip(reference.labels, reference.predicted(evaluation), strict=True))
    names = Gradient(model.target).labels
    observed = dict(zip(reference.labels, reference.observed, strict=True))
    for i, j in ((0, 0), (0, 1), (3, 11), (17, 17)):
        assert full[f"{names[i]}, {names[j]}"] == pytest.approx(hessian[i, j], abs=1e-4)
        assert observed[f"{names[i]}, {names[j]}"] == molecule.qm_hessian[i, j]


def test_the_classic_eigenmatrix_has_all_modes_but_the_lowest_on_its_diagonal(molecule, model) -> None:
    diagonal, off_diagonal = ClassicEigenmatrixDiagonal(model.target), ClassicEigenmatrixOffDiagonal(model.target)
    eigenvalues = np.linalg.eigvalsh(molecule.qm_hessian) / KCAL_PER_HARTREE_BOHR2
    # The reaction coordinate is left out, the six rigid motions are not; pairs are complete, 18 * 17 / 2.
    assert eigenvalues[0] < -0.1
    assert_allclose(diagonal.observed, eigenvalues[1:], rtol=1e-6, atol=1e-12)
    assert diagonal.labels[0] == "Cartesian mode 2"
    assert len(off_diagonal.labels) == 153
    assert off_diagonal.labels[0] == "Cartesian modes 1, 2"
    assert not np.any(off_diagonal.observed)


def test_the_classic_eigenmatrix_is_the_hessian_in_the_qm_eigenvectors(molecule, model, evaluation, hessian) -> None:
    # Trace and norm do not depend on the choice among degenerate eigenvectors; the lowest one is not degenerate.
    lowest = np.linalg.eigh(molecule.qm_hessian)[1][:, 0]
    first = lowest @ hessian @ lowest
    diagonal = KCAL_PER_HARTREE_BOHR2 * ClassicEigenmatrixDiagonal(model.target).predicted(evaluation)
    off_diagonal = KCAL_PER_HARTREE_BOHR2 * ClassicEigenmatrixOffDiagonal(model.target).predicted(evaluation)
    assert np.sum(diagonal) + first == pytest.approx(np.trace(hessian), rel=1e-6)
    norm = np.sum(diagonal**2) + first**2 + 2.0 * np.sum(off_diagonal**2)
    assert norm == pytest.approx(np.sum(hessian**2), rel=1e-6)
    # Of its own row, the lowest mode's elements are the first 17 off the diagonal.
    row = np.sum(off_diagonal[:17] ** 2) + first**2
    assert row == pytest.approx(np.sum((hessian @ lowest) ** 2), rel=1e-6)


def test_a_force_field_with_the_qm_hessian_has_the_qm_eigenvalues(molecule, field) -> None:
    made = made_by(molecule, field)
    model = MoleculeModel(QMTarget(made), JaxEngine().system(made, field))
    evaluation = MoleculeEvaluation(model, internal_parameters(field), model.initial_state)
    eigenvalues = np.linalg.eigvalsh(made.qm_hessian) / KCAL_PER_HARTREE_BOHR2
    assert_allclose(
        ClassicEigenmatrixDiagonal(model.target).predicted(evaluation), eigenvalues[1:], rtol=1e-6, atol=1e-12
    )
    assert_allclose(ClassicEigenmatrixOffDiagonal(model.target).predicted(evaluation), 0.0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_engines_without_parameter_derivatives_predict_the_same(name, molecule, system, evaluation) -> None:
    other = MoleculeModel(QMTarget(molecule), DifferencedSystem(molecule.n_atoms, system.energy, system.gradient))
    reference = REFERENCES[name](other.target)
    found = reference.predicted(MoleculeEvaluation(other, evaluation.p, other.initial_state))
    # Differences of gradients are off by 1e-8 of the largest element, 1e3 kcal/mol/A^2.
    expected = REFERENCES[name](evaluation.model.target).predicted(evaluation)
    assert_allclose(found, expected, atol=1e-2 * reference.tolerance)
    assert_allclose(found, expected, atol=1e-6 * np.max(np.abs(expected)))
