"""Values of a force field as a vector, its masks and its bounds, on a field with every usual kind of row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fieldfit.errors import ParameterError
from fieldfit.forcefield import ForceField, Nonbonded, Row
from fieldfit.forcefield.parameter_vector import (
    fractional_bounds,
    free_only,
    parameter_types,
    parameter_vector,
    with_active,
    with_parameter_vector,
)


def field() -> ForceField:
    rows = (
        Row("harmonic_bond", ("C", "H"), {"k": 340.0, "r0": 1.09}),
        Row("harmonic_angle", ("H", "C", "H"), {"k": 35.0, "theta0": 109.0}),
        Row("cosine_torsion", ("H", "C", "C", "H"), {"k": 0.0}, {"periodicity": 3.0, "phase": 0.0}),
        Row("cosine_torsion", ("H", "C", "C", "O"), {"k": -1.5}, {"periodicity": 3.0, "phase": 0.0}),
        Row("lennard_jones", ("C",), {"radius": 1.9, "epsilon": 0.1}),
        Row("coulomb", ("C",), {"charge": -0.2}),
    )
    return ForceField("ethanol", rows, {"C": "C", "H": "H", "O": "O"}, Nonbonded())


TYPES = (
    "bond.k",
    "bond.r0",
    "angle.k",
    "angle.theta0",
    "torsion.k",
    "torsion.k",
    "vdw.radius",
    "vdw.epsilon",
    "charge.charge",
)


def test_the_vector_has_the_order_of_the_kinds():
    assert parameter_types(field()) == TYPES
    assert_array_equal(parameter_vector(field()), [340.0, 1.09, 35.0, 109.0, 0.0, -1.5, 1.9, 0.1, -0.2])


@given(st.lists(st.floats(0.01, 100.0), min_size=9, max_size=9))
def test_a_vector_goes_in_and_comes_out(values):
    made = with_parameter_vector(field(), np.array(values))
    assert_array_equal(parameter_vector(made), values)
    assert_array_equal(parameter_vector(field()), field().parameters.flat)


@pytest.mark.parametrize("vector", [np.ones(8), np.full(9, np.nan)])
def test_a_vector_that_does_not_fit_is_an_error(vector):
    with pytest.raises(ParameterError, match="one finite number for each"):
        with_parameter_vector(field(), vector)


def test_fractions_bound_what_they_are_for_and_stay_within_the_bounds_that_there_are():
    given_bounds, bounded = field().parameters, fractional_bounds(field(), 0.1, 0.5)
    for kind, before, after in zip(TYPES, given_bounds, bounded, strict=True):
        value = float(before.value)
        fraction = {"k": 0.1, "epsilon": 0.1, "r0": 0.5, "theta0": 0.5, "radius": 0.5}.get(kind.split(".")[1], np.inf)
        window = fraction * abs(value) if value else np.inf
        assert after.lower == pytest.approx(max(before.lower, value - window))
        assert after.upper == pytest.approx(min(before.upper, value + window))
        assert after.lower < after.upper
    # Fractions of half the value meet the bound of 180 degrees.
    assert 1.5 * 109.0 < 180.0
    assert fractional_bounds(field(), None, 0.9)["angle.H-C-H.theta0"].upper == 180.0


def test_without_a_fraction_bounds_stay():
    for fractions in ((None, 0.02), (0.05, None)):
        bounded = fractional_bounds(field(), *fractions)
        same = [entry.lower == other.lower for entry, other in zip(bounded, field().parameters, strict=True)]
        assert any(same)
        assert not all(same)
    marks = field().parameters.fix("bond.*").bound("angle.*.k", 34.9, 40.0)
    kept = fractional_bounds(field(), 0.05, 0.02, parameters=marks)
    assert_array_equal(kept.is_free, marks.is_free)
    assert kept["angle.H-C-H.k"].lower == 34.9


@pytest.mark.parametrize("fraction", [0.0, -0.1, np.inf])
def test_a_fraction_is_positive(fraction):
    with pytest.raises(ParameterError, match="leaves no room"):
        fractional_bounds(field(), fraction)


def test_masks_and_patterns_say_what_varies():
    parameters = field().parameters
    mask = np.array([kind.endswith(".k") for kind in TYPES])
    assert_array_equal(with_active(parameters, mask).is_free, mask)
    assert_array_equal(free_only(parameters, "*.k").is_free, mask)
    assert_array_equal(with_active(parameters.fix("*"), mask).is_free, mask)
    with pytest.raises(ParameterError, match="one per parameter"):
        with_active(parameters, mask[1:])
    with pytest.raises(ParameterError, match="Did you mean"):
        free_only(parameters, "bond.C-H.r")


def test_tied_parameters_follow_whatever_the_mask_says():
    tied = field().parameters.tie("angle.H-C-H.k", "bond.C-H.k", factor=0.1)
    for follows in (True, False):
        mask = np.zeros(9, dtype=bool)
        mask[[0, 2]] = True, follows
        chosen = with_active(tied, mask)
        assert chosen.n_free == 1
        assert chosen.ties == tied.ties
