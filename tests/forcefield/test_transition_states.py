"""What the methods for transition states do to a Hessian, and what they leave alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import MoleculeError, SettingsError
from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.constants import HARTREE_PER_BOHR2
from fieldfit.forcefield.eigenmatrix import Eigenmatrix, EigenmatrixTarget
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.initial_guess import hessian_fit, target_parameters
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.topology import perceive
from fieldfit.forcefield.transition_states import (
    METHODS,
    invert_curvature,
    is_transition_state,
    lift_zero_bounds,
    qm_modes,
    stationary_point,
    takes_every_mode,
    target_molecules,
    vanishing,
)
from fieldfit.forcefield.vibrations import eigenvalue, rigid_motions
from molecules import bare_record, internal_parameters, sn2_transition_state


@pytest.fixture(scope="module")
def molecule(examples) -> Molecule:
    return sn2_transition_state(examples)


@pytest.fixture(scope="module")
def ground_state(examples) -> Molecule:
    return perceive(read(examples / "ch3f" / "ch3f.json", name="CH3F"))


def with_hessian(molecule: Molecule, hessian) -> Molecule:
    return dataclasses.replace(molecule, record=dataclasses.replace(molecule.record, hessian=hessian))


def rigid(molecule: Molecule) -> np.ndarray:
    """Return translations and rotations with equal weights of all atoms, orthonormal columns."""
    return rigid_motions(molecule.record.coordinates, np.ones(molecule.n_atoms))


@pytest.fixture(scope="module")
def second_order(molecule) -> tuple[Molecule, np.ndarray]:
    """A molecule whose Cartesian Hessian has known eigenvalues, two of them negative, and those eigenvalues."""
    rng = np.random.default_rng(3)
    motions = rigid(molecule)
    n = len(motions) - motions.shape[1]
    Q = np.linalg.qr(np.hstack([motions, rng.normal(size=(len(motions), n))])).Q[:, motions.shape[1] :]
    h = np.concatenate([[-300.0, -40.0], rng.uniform(50.0, 900.0, n - 2)])
    return with_hessian(molecule, (Q * h) @ Q.T), h


@pytest.mark.parametrize(
    ("method", "replaced"), [("C", [HARTREE_PER_BOHR2, 0.0]), ("C'", [300.0, 40.0])], ids=["C", "C'"]
)
def test_only_negative_eigenvalues_are_replaced(second_order, method, replaced) -> None:
    made, h = second_order
    found = np.linalg.eigvalsh(invert_curvature(made, method).qm_hessian)
    expected = np.sort(np.concatenate([replaced, h[2:], np.zeros(rigid(made).shape[1])]))
    assert_allclose(found, expected, atol=1e-9)


def test_method_c_changes_exactly_one_eigenvalue_of_a_first_order_saddle(molecule) -> None:
    changed = invert_curvature(molecule, "C").qm_hessian
    values, vectors = np.linalg.eigh(changed - molecule.qm_hessian)
    assert_allclose(values[:-1], 0.0, atol=1e-9)
    v = vectors[:, -1]
    assert_allclose(v @ changed @ v, HARTREE_PER_BOHR2, rtol=1e-12)
    # It moves no atom rigidly.
    assert_allclose(rigid(molecule).T @ v, 0.0, atol=1e-10)


@pytest.mark.parametrize("method", ["C", "C'"])
def test_a_rotation_of_negative_curvature_is_no_reaction_coordinate(molecule, ground_state, method) -> None:
    for each in (molecule, ground_state):
        # Lower than any vibration's curvature: what a Hessian off its stationary point may show, exaggerated.
        turned = with_hessian(each, each.qm_hessian - 2000.0 * np.outer(rigid(each)[:, -1], rigid(each)[:, -1]))
        difference = invert_curvature(turned, method).qm_hessian - turned.qm_hessian
        assert_allclose(difference, invert_curvature(each, method).qm_hessian - each.qm_hessian, atol=1e-9)


def test_a_minimum_is_returned_as_it_is(ground_state, molecule) -> None:
    assert not is_transition_state(ground_state)
    assert is_transition_state(molecule)
    assert invert_curvature(ground_state, "C") is ground_state


def test_a_molecule_without_hessian_is_refused() -> None:
    with pytest.raises(MoleculeError, match="no Hessian"):
        is_transition_state(perceive(bare_record("HF", ["H", "F"], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.92]])))


@pytest.fixture(scope="module")
def field(molecule):
    return build_force_field([molecule])


@pytest.fixture(scope="module")
def geometry(molecule, field) -> FixedGeometry:
    return FixedGeometry(JaxEngine().system(molecule, field), molecule.record.coordinates)


def test_natural_residuals_are_those_of_the_eigenvalues_in_the_metric_of_their_magnitudes(
    molecule, field, geometry
) -> None:
    modes, masses = qm_modes(molecule), molecule.record.masses
    target = EigenmatrixTarget(modes, masses, with_imaginary=takes_every_mode("D"))
    terms = geometry.term_vector(internal_parameters(field))
    directions = modes.modes / np.sqrt(np.repeat(masses, 3))[:, None]
    difference = directions.T @ geometry.hessian(terms) @ directions - np.diag(modes.eigenvalues)
    quarter = np.maximum(np.abs(modes.eigenvalues), eigenvalue(150.0)) ** 0.25
    expected = 0.5 * 108.5914 * difference / np.outer(quarter, quarter)
    upper = np.triu_indices(len(quarter))
    # The constant has seven digits.
    assert_allclose(
        Eigenmatrix(geometry, target).elements(terms) - target.values, expected[upper], rtol=1e-6, atol=1e-4
    )


def test_zero_weight_leaves_out_the_row_and_column_of_the_reaction_coordinate(molecule) -> None:
    modes, masses = qm_modes(molecule), molecule.record.masses
    real, whole = (
        EigenmatrixTarget(modes, masses, with_imaginary=takes_every_mode(method)) for method in ("zero-weight", "D")
    )
    n = len(modes.eigenvalues)
    assert len(real.values) == (n - 1) * n // 2
    assert 0 not in {*real.rows, *real.columns}
    assert len(whole.values) == n * (n + 1) // 2


def test_only_methods_that_change_the_hessian_change_molecules(molecule, ground_state) -> None:
    for method in METHODS:
        first, second = target_molecules([molecule, ground_state], method)
        assert second is ground_state
        assert (first is molecule) == (method not in {"C", "C'"})
        assert is_transition_state(first) == (method not in {"C", "C'"})


def test_only_d_lets_constants_be_negative(molecule, field) -> None:
    for method in METHODS:
        found = target_parameters([molecule], field, field.parameters, method)
        lowest = min(found[f"{row.label}.k"].lower for row in field.rows)
        assert lowest == (-np.inf if method == "D" else 0.0)


def test_e_holds_constants_of_c_and_e2_typical_ones_in_any_fit(molecule, field) -> None:
    by_c = hessian_fit([molecule], field, transition_state="C").parameters
    # 5 mdyn/A with one half is 359.8 kcal/mol/A^2 without: 1 mdyn A is 143.93 kcal/mol.
    expected = {"E": by_c["bond.C-F.k"].value, "E2": 0.5 * 5.0 * 143.932}
    for method, value in expected.items():
        found = target_parameters([molecule], field, field.parameters, method)
        held = [name for name in found.names if found[name].fixed]
        assert held == ["bond.C-F.k"]
        assert found["bond.C-F.k"].value == pytest.approx(value, rel=1e-5)


def test_parameters_of_minima_stay_as_they_are(ground_state) -> None:
    field = build_force_field([ground_state])
    parameters = field.parameters
    for method in METHODS:
        assert target_parameters([ground_state], field, parameters, method) is parameters


@pytest.mark.parametrize("ask", [takes_every_mode, lambda method: target_molecules([], method)])
def test_an_unknown_method_is_refused(ask) -> None:
    with pytest.raises(SettingsError, match=r"No method for transition states is called 'F'"):
        ask("F")


def test_only_lower_bounds_of_zero_are_lifted(field) -> None:
    parameters = field.parameters.bound("angle.F-C-H.k", 10.0, 720.0)
    lifted = lift_zero_bounds(field, parameters)
    changed = {name for name in lifted.names if lifted[name].lower != parameters[name].lower}
    assert changed == {"bond.C-F.k", "bond.C-H.k", "angle.H-C-H.k", "linear-bend.F-C-F.k"}
    assert all(lifted[name].lower == -np.inf for name in changed)


def test_a_bound_that_a_negative_start_has_widened_is_lifted_too(field) -> None:
    negative = field.with_values({"bond.C-F.k": -30.0})
    assert negative.parameters["bond.C-F.k"].lower == -30.0
    assert lift_zero_bounds(negative, negative.parameters)["bond.C-F.k"].lower == -np.inf
    stated = field.parameters.bound("bond.C-F.k", -30.0, 1000.0)
    assert lift_zero_bounds(field, stated)["bond.C-F.k"].lower == -30.0


def test_constants_vanish_below_a_thousandth_of_a_millidyne(field) -> None:
    # 1e-3 mdyn/A in E = k x^2 / 2 is 0.07197 kcal/mol/A^2 here.
    weak = field.with_values({"bond.C-F.k": -3.0, "bond.C-H.k": 0.0719, "angle.F-C-H.k": 0.0721, "angle.H-C-H.k": 0.0})
    parameters = lift_zero_bounds(weak, weak.parameters)
    assert vanishing(weak, parameters) == {"bond.C-F.k": "bond", "bond.C-H.k": "bond", "angle.H-C-H.k": "angle"}
    assert vanishing(weak, parameters.fix("bond.*.k")) == {"angle.H-C-H.k": "angle"}
    tied = weak.with_values({"bond.C-F.k": 0.0719}).parameters.tie("bond.C-H.k", "bond.C-F.k")
    assert "bond.C-H.k" not in vanishing(weak, tied)


@pytest.mark.parametrize("method", ["zero-weight", "D"])
def test_the_description_agrees_with_energies_alone(molecule, field, method) -> None:
    fitted = hessian_fit([molecule], field, transition_state=method)
    found = stationary_point(molecule, fitted)
    assert found.reaction_coordinate == (pytest.approx(qm_modes(molecule).frequencies[0]),)

    record, p = molecule.record, internal_parameters(fitted)
    system, modes = JaxEngine().system(molecule, fitted), qm_modes(molecule)
    along = (modes.modes[:, 0] / np.sqrt(np.repeat(record.masses, 3))).reshape(-1, 3)

    def energy(t: float) -> float:
        return system.energy(record.coordinates + t * along, p)

    t = 0.01
    curvature = (16 * (energy(t) + energy(-t)) - energy(2 * t) - energy(-2 * t) - 30 * energy(0.0)) / (12 * t * t)
    # The rule is of fourth order in t; its error here is about 1e-5 of the curvature.
    assert eigenvalue(found.reaction_curvature[0]) == pytest.approx(curvature, rel=1e-3)
    roots = np.sqrt(np.repeat(record.masses, 3))
    weighted = system.local(record.coordinates, p).hessian / np.outer(roots, roots)
    # The structure is stationary by symmetry but for the C-H bonds, so that rotations are near zero: 10 1/cm is enough.
    assert found.n_negative == np.sum(np.linalg.eigvalsh(weighted) < eigenvalue(-10.0))


def test_a_zero_weight_fit_has_its_minimum_at_the_transition_state_and_a_natural_one_has_none(molecule, field) -> None:
    # F-CH3-F is symmetric and all its equilibria are QM values, so the QM structure is stationary in every such field.
    bounded = stationary_point(molecule, hessian_fit([molecule], field))
    assert bounded.is_near_minimum
    assert bounded.displacement < 1e-3
    assert bounded.n_negative == 0
    assert bounded.reaction_curvature[0] > 0.0
    natural = stationary_point(molecule, hessian_fit([molecule], field, transition_state="D"))
    assert not natural.is_near_minimum
    assert natural.n_negative > 0
    assert natural.reaction_curvature[0] < 0.0
    assert "no minimum" in str(natural)
