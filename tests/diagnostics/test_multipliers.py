"""Multipliers by closed forms, at degenerate vertices, and where normals depend on each other."""

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit.diagnostics import Limits, find_conflict, find_multipliers

OPEN = np.full(2, -np.inf), np.full(2, np.inf)
WIDE = np.full(1, -9.0), np.full(1, 9.0)


def limits(jacobian, lower, upper, values):
    return Limits(*(np.asarray(part, dtype=float) for part in (values, jacobian, lower, upper)))


def test_an_equality_has_a_multiplier_of_any_sign():
    # x + y is smallest on the circle at (-1, -1) sqrt(1/2), and largest on the other side: lambda = +- sqrt(1/2).
    for sign in (1.0, -1.0):
        x = -sign * np.sqrt([0.5, 0.5])
        found = find_multipliers(x, np.ones(2), limits([2.0 * x], [1.0], [1.0], [1.0]), bounds=OPEN)
        assert_allclose(found.rows, [sign * np.sqrt(0.5)])
        assert_allclose(found.remainder, 0.0, atol=1e-15)
        assert_allclose(np.abs(found.tangent.ravel()), np.sqrt([0.5, 0.5]))


@pytest.mark.parametrize(("slope", "value", "expected"), [(-3.0, 2.0, 3.0), (3.0, 1.0, -3.0), (3.0, 2.0, 0.0)])
def test_signs_at_upper_and_lower_limits(slope, value, expected):
    found = find_multipliers(np.zeros(1), np.array([slope]), limits([[1.0]], [1.0], [2.0], [value]), bounds=WIDE)
    assert_allclose(found.rows, [expected])
    assert_allclose(found.remainder, [slope + expected])


def test_an_inactive_constraint_has_none():
    found = find_multipliers(np.zeros(2), np.ones(2), limits(np.eye(2), [-9.0] * 2, [9.0] * 2, [0.0] * 2), bounds=OPEN)
    assert_allclose(found.rows, [0.0, 0.0])
    assert_allclose(found.remainder, [1.0, 1.0])
    assert found.tangent.shape == (2, 2)


def test_bounds_have_multipliers_too():
    found = find_multipliers(
        np.array([0.0, 1.0, 0.5]), np.array([2.0, -3.0, 0.0]), limits(np.zeros((0, 3)), [], [], []),
        bounds=(np.zeros(3), np.ones(3)),
    )  # fmt: skip
    assert_allclose(found.lower, [-2.0, 0.0, 0.0])
    assert_allclose(found.upper, [0.0, 3.0, 0.0])
    assert_allclose(found.remainder, 0.0, atol=1e-14)
    assert_allclose(np.abs(found.tangent), [[0.0], [0.0], [1.0]])


def test_equal_bounds_hold_from_both_sides():
    for slope in (2.0, -2.0):
        found = find_multipliers(
            np.ones(1), np.array([slope]), limits(np.zeros((0, 1)), [], [], []), bounds=(np.ones(1), np.ones(1))
        )
        assert_allclose(found.lower + found.upper, [-slope])
        assert_allclose(found.remainder, [0.0], atol=1e-15)


@pytest.mark.parametrize("slope", [2.0, -2.0])
def test_limits_that_nearly_meet_hold_from_both_sides(slope):
    found = find_multipliers(np.ones(1), np.array([slope]), limits([[1.0]], [1.0], [1.0 + 1e-9], [1.0]), bounds=WIDE)
    assert_allclose(found.rows, [-slope])


def test_a_degenerate_vertex_is_balanced_although_three_lines_meet_in_it():
    # x <= 0, y <= 0 and x + y <= 0 meet in the origin; (-1, -2) is balanced in many ways.
    normals = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    found = find_multipliers(
        np.zeros(2), np.array([-1.0, -2.0]), limits(normals, [-np.inf] * 3, [0.0] * 3, [0.0] * 3), bounds=OPEN
    )
    assert_allclose(found.remainder, 0.0, atol=1e-14)
    assert np.all(found.rows >= 0.0)
    assert found.tangent.shape == (2, 0)


def test_equalities_that_depend_on_each_other_share_a_multiplier():
    row = np.array([1.0, 2.0])
    found = find_multipliers(
        np.zeros(2), np.array([3.0, 6.0]), limits([row, 2.0 * row, row], [0.0] * 3, [0.0] * 3, [0.0] * 3), bounds=OPEN
    )
    assert found.rows @ [1.0, 2.0, 1.0] == pytest.approx(-3.0)
    assert np.max(np.abs(found.rows)) <= 3.0
    assert found.tangent.shape == (2, 1)


def test_a_row_without_a_gradient_has_no_multiplier():
    found = find_multipliers(np.zeros(2), np.ones(2), limits(np.zeros((1, 2)), [0.0], [0.0], [0.0]), bounds=OPEN)
    assert_allclose(found.rows, [0.0])
    assert_allclose(found.remainder, [1.0, 1.0])
    assert found.tangent.shape == (2, 2)


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_units_of_cost_and_constraints_change_nothing(size):
    jacobian, slope = np.array([[1.0, 3.0], [2.0, -1.0]]), np.array([1.0, -2.0])
    one = find_multipliers(np.zeros(2), slope, limits(jacobian, [0.0] * 2, [1.0, 0.0], [0.0] * 2), bounds=OPEN)
    many = find_multipliers(np.zeros(2), size * slope, limits(jacobian, [0.0] * 2, [1.0, 0.0], [0.0] * 2), bounds=OPEN)
    assert_allclose(many.rows, size * one.rows)
    rows = np.array([size, 1.0])[:, None]
    stiff = find_multipliers(
        np.zeros(2), slope, limits(rows * jacobian, [0.0] * 2, [size, 0.0], [0.0] * 2), bounds=OPEN
    )
    assert_allclose(stiff.rows * rows[:, 0], one.rows, rtol=1e-9)
    assert_allclose(stiff.tangent, one.tangent)


def random_limits(generator):
    """Whole-number normals, so that many depend on each other; a quarter each equal, at a limit above, below, free."""
    n, m = generator.integers(1, 6), generator.integers(0, 9)
    jacobian = generator.integers(-2, 3, (m, n)).astype(float)
    kind, values = generator.integers(0, 4, m), generator.normal(size=m)
    lower = np.where((kind == 0) | (kind == 2), values, values - 1.0)
    upper = np.where((kind == 0) | (kind == 1), values, values + 1.0)
    x = generator.normal(size=n)
    bounds = np.where(generator.random(n) < 0.3, x, x - 1.0), np.where(generator.random(n) < 0.3, x, x + 1.0)
    return x, Limits(values, jacobian, lower, upper), bounds


def outward(x, given, bounds):
    """Normals of all that is active, pointing outwards, as columns; those of equalities in both directions."""
    rows = [given.jacobian[given.values == given.upper], -given.jacobian[given.values == given.lower]]
    return np.concatenate([*rows, np.eye(x.size)[x == bounds[1]], -np.eye(x.size)[x == bounds[0]]]).T


@given(st.integers(0, 100_000))
def test_the_remainder_is_moreaus(seed):
    generator = np.random.default_rng(seed)
    x, given_limits, bounds = random_limits(generator)
    slope = generator.normal(size=x.size)
    found = find_multipliers(x, slope, given_limits, bounds=bounds)
    balanced = slope + given_limits.jacobian.T @ found.rows + found.lower + found.upper
    assert_allclose(balanced, found.remainder, atol=1e-10)
    # The part in the cone and the remainder, which lies in the polar cone, are orthogonal.
    normals = outward(x, given_limits, bounds)
    assert abs(found.remainder @ (found.remainder - slope)) < 1e-9
    assert np.all(-found.remainder @ normals <= 1e-9)
    # scipy.optimize.nnls by itself is the independent program.
    felt = normals[:, np.linalg.norm(normals, axis=0) > 0.0]
    distance = scipy.optimize.nnls(felt, -slope)[1] if felt.size else np.linalg.norm(slope)
    assert np.linalg.norm(found.remainder) == pytest.approx(distance, abs=1e-10)


@given(st.integers(0, 100_000))
def test_multipliers_have_their_signs_and_stay_finite(seed):
    generator = np.random.default_rng(seed)
    x, given_limits, bounds = random_limits(generator)
    weights = generator.integers(-3, 4, given_limits.values.size)
    found = find_multipliers(x, given_limits.jacobian.T @ weights + 0.0, given_limits, bounds=bounds)
    is_equal = given_limits.lower == given_limits.upper
    assert np.all(found.rows[~is_equal & (given_limits.values == given_limits.upper)] >= 0.0)
    assert np.all(found.rows[~is_equal & (given_limits.values == given_limits.lower)] <= 0.0)
    inside = (given_limits.lower < given_limits.values) & (given_limits.values < given_limits.upper)
    assert_allclose(found.rows[inside], 0.0)
    assert np.all(found.lower <= 0.0)
    assert np.all(found.upper >= 0.0)
    # Dependent whole-number normals: nothing in the data is larger than a few hundred.
    assert np.max(np.abs(np.concatenate([found.rows, found.lower, found.upper])), initial=0.0) < 1e4


@given(st.integers(0, 100_000))
def test_tangents_are_orthonormal_and_leave_what_carries_a_multiplier(seed):
    generator = np.random.default_rng(seed)
    x, given_limits, bounds = random_limits(generator)
    found = find_multipliers(x, generator.normal(size=x.size), given_limits, bounds=bounds)
    tangent = found.tangent
    assert_allclose(tangent.T @ tangent, np.eye(tangent.shape[1]), atol=1e-12)
    is_equal = given_limits.lower == given_limits.upper
    carries = is_equal | (np.abs(found.rows) > 1e-6)
    assert_allclose(given_limits.jacobian[carries] @ tangent, 0.0, atol=1e-10)
    assert_allclose(tangent[np.abs(found.lower + found.upper) > 1e-6], 0.0, atol=1e-10)
    # The remainder is a step that these directions allow.
    assert_allclose(tangent @ (tangent.T @ found.remainder), found.remainder, atol=1e-8)


def test_a_conflict_names_the_rows_that_point_against_each_other():
    # x <= -1 and x >= 1 at x = 0; y <= 3 is far away.
    given_limits = limits(
        [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [-np.inf, 1.0, -np.inf], [-1.0, np.inf, 3.0], [0.0, 0.0, 0.0]
    )
    conflict = find_conflict(np.zeros(2), given_limits, bounds=OPEN, is_violated=np.array([True, True, False]))
    assert conflict is not None
    assert conflict[0].tolist() == [0, 1]
    assert conflict[1].tolist() == []


def test_a_conflict_with_a_bound_names_the_variable():
    given_limits = limits([[1.0, 1.0]], [3.0], [np.inf], [2.0])
    conflict = find_conflict(np.ones(2), given_limits, bounds=(np.zeros(2), np.ones(2)), is_violated=np.array([True]))
    assert conflict is not None
    assert conflict[0].tolist() == [0]
    assert conflict[1].tolist() == [0, 1]


def test_a_violation_that_a_step_would_lower_is_no_conflict():
    given_limits = limits([[1.0, 1.0]], [3.0], [np.inf], [2.0])
    conflict = find_conflict(
        np.ones(2), given_limits, bounds=(np.zeros(2), np.array([1.0, 9.0])), is_violated=np.array([True])
    )
    assert conflict is None
