"""What every kind of reference promises, for molecules with bends, torsions, a linear angle and cross terms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.initial_guess import hessian_fit
from fieldfit.forcefield.references import REFERENCES, AbstractReference, MoleculeEvaluation, MoleculeModel, QMTarget
from molecules import (
    central_differences,
    ethane,
    fluoromethane,
    internal_parameters,
    made_by,
    sn2_transition_state,
)


def fluoromethane_without_symmetry(shared_data):
    """Fluoromethane with an atom type of its own for every atom, so that its parameters need not be symmetric."""
    return dataclasses.replace(fluoromethane(shared_data), types=("C", "F", "H1", "H2", "H3"))


CASES = {
    "fluoromethane harmonic without symmetry": (fluoromethane_without_symmetry, "harmonic", ()),
    "fluoromethane MM3": (fluoromethane, "mm3", ()),
    "ethane MM3 with stretch-bends": (ethane, "mm3", ("*",)),
    "SN2 harmonic": (sn2_transition_state, "harmonic", ()),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A molecule and a force field that is strained at the QM geometry: every kind of reference has something to do."""
    make, family, stretch_bend = CASES[request.param]
    folder = "examples" if make is sn2_transition_state else "shared_data"
    molecule = make(request.getfixturevalue(folder))
    field = hessian_fit([molecule], build_force_field([molecule], family=family, stretch_bend=stretch_bend))
    strained = {}
    for number, row in enumerate(field.rows):
        for name, (column, value) in zip(row.parameter_names, row.values.items(), strict=True):
            # Nearly degenerate modes turn into each other within a small step: differences need a gap, or symmetry.
            k = (1.0 + 0.05 * number) * value
            strained[name] = {"k": k, "r0": 1.01 * value, "theta0": value - 1.0 - 0.3 * number}[column]
        if row.kind == "stretch-bend":
            strained[row.parameter_names[0]] = 8.0
    return molecule, field.with_values(strained)


@pytest.fixture(scope="module")
def model(case) -> MoleculeModel:
    molecule, field = case
    return MoleculeModel(QMTarget(molecule), JaxEngine().system(molecule, field))


def evaluate(model: MoleculeModel, p: np.ndarray) -> MoleculeEvaluation:
    return MoleculeEvaluation(model, p, model.initial_state)


@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_keeps_the_contract(model, case, name) -> None:
    reference = REFERENCES[name](model.target)
    evaluation = evaluate(model, internal_parameters(case[1]))
    assert isinstance(reference, AbstractReference)
    count = len(reference.labels)
    # Every molecule has all kinds, except that torsions need four atoms in a row that are not in line.
    assert count > 0 or (name == "torsion" and not model.internal_coordinates.torsions)
    assert len(set(reference.labels)) == count
    assert reference.observed.shape == reference.predicted(evaluation).shape == (count,)
    assert reference.jacobian(evaluation).shape == (count, model.system.n_parameters)
    assert reference.unit
    assert reference.tolerance > 0.0


@pytest.mark.parametrize("name", REFERENCES)
def test_what_a_force_field_makes_itself_it_reproduces(case, name) -> None:
    molecule, field = case
    made = made_by(molecule, field)
    # A minimum of the force field: the gradient of the QM record is not the one there.
    made = dataclasses.replace(made, record=dataclasses.replace(made.record, gradient=None))
    model = MoleculeModel(QMTarget(made), JaxEngine().system(made, field))
    reference = REFERENCES[name](model.target)
    # A relaxation ends below 1e-9 kcal/mol/A; the softest mode, 200 1/cm, turns that into 1e-11 A.
    predicted = reference.predicted(evaluate(model, internal_parameters(field)))
    assert_allclose(predicted, reference.observed, rtol=0.0, atol=1e-6 * reference.tolerance)


@pytest.mark.parametrize("name", REFERENCES)
def test_jacobians_are_those_of_central_differences(model, case, name) -> None:
    reference = REFERENCES[name](model.target)
    field = case[1]
    p = internal_parameters(field)
    scales = np.array([column.scale * column.internal for row in field.rows for column in row.definition.columns])

    def predicted(q: np.ndarray) -> np.ndarray:
        return reference.predicted(evaluate(model, q))

    expected = central_differences(predicted, p, 0.01 * scales)
    found = reference.jacobian(evaluate(model, p))
    for column in range(p.size):
        error = np.linalg.norm(found[:, column] - expected[:, column])
        assert error <= 1e-6 * np.linalg.norm(expected[:, column]) + 1e-9 * reference.tolerance / scales[column]


@pytest.mark.parametrize("name", REFERENCES)
def test_same_values_and_same_state_give_the_same_bits(model, case, name) -> None:
    reference = REFERENCES[name](model.target)
    p = internal_parameters(case[1])
    first = evaluate(model, p)
    results = [reference.predicted(first), reference.jacobian(first)]
    reference.jacobian(evaluate(model, 1.01 * p))
    again = evaluate(model, p)
    # In the other order, too: what is computed first must not matter.
    jacobian = reference.jacobian(again)
    for one, other in zip(results, (reference.predicted(again), jacobian), strict=True):
        assert_array_equal(one, other)


def test_the_table_lists_every_reference() -> None:
    concrete = {kind.__name__ for kind in AbstractReference.__subclasses__()}
    assert concrete == {REFERENCES[name].__name__ for name in REFERENCES}
