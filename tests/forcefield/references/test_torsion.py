"""Torsions at the minimum: residuals without jumps at 180 degrees, and derivatives through the minimum."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.initial_guess import hessian_fit
from fieldfit.forcefield.references import MoleculeEvaluation, MoleculeModel, QMTarget
from fieldfit.forcefield.references.geometric import Torsion, nearest_turn
from fieldfit.forcefield.topology import measure
from molecules import central_differences, ethane, internal_parameters, sn2_transition_state

ANGLES = st.floats(-1000.0, 1000.0)


@given(ANGLES, ANGLES)
def test_the_nearest_turn_is_the_same_angle_within_half_a_turn(angle, near) -> None:
    found = nearest_turn(np.array([angle]), np.array([near]))[0]
    turns = (found - angle) / 360.0
    assert turns == pytest.approx(round(turns), abs=1e-12)
    assert abs(found - near) <= 180.0 + 1e-9


def test_an_angle_that_is_near_keeps_every_digit() -> None:
    angles = np.array([179.123456789012, -60.0, 1e-300])
    assert np.array_equal(nearest_turn(angles, np.array([-10.0, 0.0, 0.0]) + angles), angles)


def test_a_torsion_that_passes_180_degrees_is_continued() -> None:
    assert_allclose(
        nearest_turn(np.array([-179.0, 179.0, 10.0]), np.array([179.0, -179.0, 5.0])), [181.0, -181.0, 10.0]
    )


@pytest.fixture(scope="module")
def case(shared_data):
    """Ethane with one hydrogen of each methyl group apart, gauche to each other: no symmetry keeps its torsions."""
    molecule = ethane(shared_data)
    plain = MoleculeModel(QMTarget(molecule), JaxEngine().system(molecule, build_force_field([molecule])))
    turns = {entry: measure(molecule.record.coordinates, entry) for entry in plain.internal_coordinates.torsions}
    i, j, k, m = next(entry for entry, turn in turns.items() if 50.0 < turn < 70.0)
    types = ["H"] * 8
    types[i], types[j], types[k], types[m] = "HA", "CA", "CB", "HB"
    molecule = dataclasses.replace(molecule, types=tuple(types))
    field = hessian_fit([molecule], build_force_field([molecule]))
    changes = {name: 0.5 if "HA" in name else 0.2 for name in field.parameter_names if name.startswith("torsion.")}
    angles = {"HA-CA-H": 104.0, "CB-CA-HA": 118.0, "CA-CB-HB": 104.0, "HB-CB-H": 112.0}
    for row in field.rows:
        if row.kind == "angle" and (names := angles.keys() & {"-".join(row.types), "-".join(row.types[::-1])}):
            changes[f"{row.label}.theta0"] = angles[names.pop()]
    assert len(changes) == 8
    return molecule, field.with_values(changes)


@pytest.fixture(scope="module")
def model(case) -> MoleculeModel:
    molecule, field = case
    return MoleculeModel(QMTarget(molecule), JaxEngine().system(molecule, field))


def evaluate(model, p) -> MoleculeEvaluation:
    return MoleculeEvaluation(model, p, model.initial_state)


def test_predicted_torsions_are_those_of_the_minimum_up_to_full_turns(case, model) -> None:
    reference, evaluation = Torsion(model.target), evaluate(model, internal_parameters(case[1]))
    plain = np.array([measure(evaluation.minimum.x, entry) for entry in model.internal_coordinates.torsions])
    predicted = reference.predicted(evaluation)
    assert_allclose(np.cos(np.radians(predicted)), np.cos(np.radians(plain)), atol=1e-12)
    assert_allclose(np.sin(np.radians(predicted)), np.sin(np.radians(plain)), atol=1e-12)
    # The molecule stays staggered. One of its three trans torsions has crossed 180 degrees: as plain numbers, its two
    # values differ by almost a turn.
    assert np.max(np.abs(predicted - reference.observed)) < 20.0
    assert np.max(np.abs(plain - reference.observed)) > 340.0


def test_jacobians_are_those_of_central_differences(case, model) -> None:
    reference, field = Torsion(model.target), case[1]
    p = internal_parameters(field)
    scales = np.array([column.scale * column.internal for row in field.rows for column in row.definition.columns])
    expected = central_differences(lambda q: reference.predicted(evaluate(model, q)), p, 0.01 * scales)
    found = reference.jacobian(evaluate(model, p))
    assert np.max(np.abs(found @ np.diag(scales))) > 0.1
    assert_allclose(found * scales, expected * scales, atol=1e-6 * np.max(np.abs(expected * scales)))


def test_a_molecule_without_torsions_has_none(examples) -> None:
    molecule = sn2_transition_state(examples)
    model = MoleculeModel(QMTarget(molecule), JaxEngine().system(molecule, build_force_field([molecule])))
    assert Torsion(model.target).observed.shape == (0,)
