"""Trust-region steps against the conditions that define them, and against dense algebra in a basis."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit.forcefield.relaxation.newton_steps import ReducedHessian, bounded_step, largest_displacement

SEEDS = st.integers(0, 2**32 - 1)
NOTHING = np.zeros((6, 0))


def random_hessian(rng, n=6):
    curvatures = np.sort(rng.normal(scale=10.0 ** rng.uniform(-2.0, 3.0, size=n)))
    Q = np.linalg.qr(rng.normal(size=(n, n))).Q
    return curvatures, Q @ np.diag(curvatures) @ Q.T


@given(SEEDS, st.floats(1e-3, 10.0))
def test_a_step_solves_the_trust_region_problem(seed, radius) -> None:
    # More, Sorensen (1983): s is the solution for a ball if (H + mu) s = -g with mu >= 0, H + mu has no negative
    # eigenvalue, and mu = 0 or s ends on the ball.
    rng = np.random.default_rng(seed)
    curvatures, hessian = random_hessian(rng)
    gradient = rng.normal(scale=10.0 ** rng.uniform(-4.0, 2.0), size=6)
    step, length, predicted = bounded_step(ReducedHessian.of(hessian, NOTHING), gradient, radius)
    assert length == largest_displacement(step) == np.max(np.linalg.norm(step.reshape(-1, 3), axis=1))
    assert length <= 1.1 * radius
    assert predicted == pytest.approx(-(gradient @ step + 0.5 * step @ hessian @ step), rel=1e-6)
    assert predicted > 0.0
    stiffest = np.abs(curvatures).max()
    mu = -(step @ (hessian @ step + gradient)) / (step @ step)
    assert_allclose((hessian + mu * np.eye(6)) @ step, -gradient, atol=1e-6 * np.abs(gradient).max())
    assert mu >= -1e-6 * stiffest
    assert curvatures[0] + mu >= -1e-6 * stiffest
    if mu > 1e-6 * stiffest:
        assert length >= 0.9 * radius


@pytest.mark.parametrize("gradient", [np.zeros(6), np.array([0.0, 1e-3, 0.0, 0.0, 0.0, 0.0])], ids=["none", "across"])
def test_a_step_leaves_a_saddle_whose_gradient_does_not_show_the_way(gradient) -> None:
    # The hard case: along the negative curvature the gradient is zero. The fall along it is radius^2 / 2 times it.
    hessian = ReducedHessian.of(np.diag([-2.0, 1.0, 1.0, 3.0, 3.0, 5.0]), NOTHING)
    step, length, predicted = bounded_step(hessian, gradient, 0.3)
    assert length == pytest.approx(0.3, rel=1e-2)
    assert abs(step[0]) == pytest.approx(0.3, rel=1e-2)
    assert predicted == pytest.approx(0.5 * 2.0 * 0.3**2, rel=2e-2)


def test_a_step_inside_the_radius_is_newtons() -> None:
    hessian = ReducedHessian.of(np.diag([1.0, 4.0, 2.0]), np.zeros((3, 0)))
    step, length, predicted = bounded_step(hessian, np.array([0.1, -0.2, 0.0]), 1.0)
    assert_allclose(step, [-0.1, 0.05, 0.0], rtol=1e-12, atol=0.0)
    assert length == pytest.approx(math.hypot(0.1, 0.05))
    assert predicted == pytest.approx(0.5 * (0.1 * 0.1 + 0.2 * 0.05), rel=1e-12)


def test_the_radius_is_per_atom() -> None:
    # A hundred atoms that each want to move by 0.1 A are not held back by a radius of 0.11 A.
    hessian = ReducedHessian.of(np.eye(300), np.zeros((300, 0)))
    gradient = np.tile([0.1, 0.0, 0.0], 100)
    assert_allclose(bounded_step(hessian, gradient, 0.11).s, -gradient)


@given(SEEDS, st.integers(1, 5))
def test_excluding_directions_is_working_in_a_basis_of_the_others(seed, count) -> None:
    rng = np.random.default_rng(seed)
    _, hessian = random_hessian(rng)
    full = scipy.linalg.qr(rng.normal(size=(6, count)))[0]
    excluded, basis = full[:, :count], full[:, count:]
    reduced = ReducedHessian.of(hessian, excluded)
    small = basis.T @ hessian @ basis
    lowest = np.linalg.eigvalsh(small)[0]
    assert reduced.lowest == pytest.approx(lowest, rel=1e-9, abs=1e-9 * np.abs(hessian).max())
    assert (reduced.factor is not None) == (lowest > 0.0)
    right = rng.normal(size=(6, 3))
    expected = basis @ np.linalg.solve(small, basis.T @ right)
    assert_allclose(reduced.solve(right), expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())
    assert_allclose(excluded.T @ bounded_step(reduced, rng.normal(size=6), 0.1).s, 0.0, atol=1e-12)


@pytest.mark.parametrize("softest", [0.0, 1e-16, -1e-16])
def test_a_singular_hessian_is_not_solved(softest) -> None:
    reduced = ReducedHessian.of(np.diag([softest, 1.0, 1.0, 2.0, 3.0, 4.0]), NOTHING)
    assert reduced.factor is None
    with pytest.raises(scipy.linalg.LinAlgError):
        reduced.solve(np.ones((6, 1)))


def test_a_flat_direction_is_left_alone() -> None:
    hessian = ReducedHessian.of(np.diag([0.0, 1.0, 2.0]), np.zeros((3, 0)))
    assert_allclose(bounded_step(hessian, np.array([0.0, 0.1, 0.1]), 1.0).s, [0.0, -0.1, -0.05], rtol=1e-9)


def test_where_no_step_is_allowed_there_is_none() -> None:
    reduced = ReducedHessian.of(-np.eye(3), np.eye(3))
    assert not reduced.has_directions
    assert reduced.lowest == math.inf
    assert_allclose(bounded_step(reduced, np.ones(3), 1.0).s, 0.0, atol=1e-15)
