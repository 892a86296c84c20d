"""More and Sorensen (1983), theorem 2.1: p minimises q in the ball exactly if, for some alpha >= 0,

(B + alpha I) p = -g, B + alpha I is positive semidefinite and alpha (||p|| - Delta) = 0.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit.optimizers.indefinite_steps import METHODS, decompose, exact_step, subspace_step


def quadratic(seed, values):
    """Return B with given eigenvalues, and a gradient."""
    random = np.random.default_rng(seed)
    V = np.linalg.qr(random.normal(size=(len(values), len(values))))[0]
    return V @ np.diag(values) @ V.T, random.normal(size=len(values)), V


def value(B, g, p):
    return g @ p + 0.5 * p @ B @ p


def check_optimality(B, g, p, Delta):
    length, size = np.linalg.norm(p), np.linalg.norm(B, 2)
    assert length <= Delta * (1.0 + 1e-9)
    # Any alpha is a multiplier of the best fit of (B + alpha I) p = -g.
    alpha = -float(p @ (B @ p + g)) / length**2
    slack = 1e-5 * (size + np.linalg.norm(g) / Delta)
    assert_allclose(B @ p + alpha * p, -g, atol=slack * length)
    assert alpha >= -slack
    assert np.linalg.eigvalsh(B)[0] + alpha >= -slack
    assert abs(alpha) <= slack or length == pytest.approx(Delta, rel=1e-5)


@given(
    seed=st.integers(0, 10**6),
    values=st.lists(st.floats(-3.0, 3.0).map(lambda v: round(v, 3)), min_size=1, max_size=6),
    Delta=st.sampled_from([1e-3, 0.3, 1.0, 10.0]),
)
def test_exact_step_is_a_minimiser_in_the_ball(seed, values, Delta):
    B, g, _ = quadratic(seed, values)
    check_optimality(B, g, exact_step(decompose(B, g), Delta), Delta)


@pytest.mark.parametrize("Delta", [0.5, 2.0, 100.0])
@pytest.mark.parametrize("lowest", [(-2.0,), (-2.0, -2.0)])
def test_exact_step_in_the_hard_case(Delta, lowest):
    B, g, V = quadratic(3, [*lowest, 0.5, 1.0, 4.0])
    bottom = V[:, : len(lowest)]
    g = g - bottom @ (bottom.T @ g)
    p = exact_step(decompose(B, g), Delta)
    check_optimality(B, g, p, Delta)
    assert np.linalg.norm(p) == pytest.approx(Delta)


@pytest.mark.parametrize("fraction", [1e-3, 1e-8, 1e-14])
def test_exact_step_close_to_the_hard_case(fraction):
    B, g, V = quadratic(4, [-1.0, 0.5, 2.0])
    g = g - (1.0 - fraction) * V[:, 0] * (V[:, 0] @ g)
    check_optimality(B, g, exact_step(decompose(B, g), 5.0), 5.0)


def test_exact_and_subspace_steps_leave_a_saddle_point():
    B, g = np.diag([2.0, -1.0, 3.0]), np.zeros(3)
    for step in (exact_step, subspace_step):
        assert_allclose(np.abs(step(decompose(B, g), 0.7)), [0.0, 0.7, 0.0], atol=1e-15)


def test_variables_that_nothing_feels_stay():
    J = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]) / 3.0
    B, g = J.T @ J, J.T @ np.array([0.3, 0.3])
    p = exact_step(decompose(B, g, size=1.0), 10.0)
    # The shortest of all minimisers: a + b = -0.9.
    assert_allclose(p, [-0.45, -0.45, 0.0], atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 10**6), lowest=st.sampled_from([-3.0, -1e-3, 0.0, 1e-3, 1.0]))
def test_every_step_is_in_the_ball_and_goes_down(method, seed, lowest):
    B, g, _ = quadratic(seed, [lowest, 0.1, 2.0, 5.0])
    for Delta in (1e-2, 1.0, 50.0):
        p = METHODS[method](decompose(B, g), Delta)
        assert np.linalg.norm(p) <= Delta * (1.0 + 1e-9)
        along = min(Delta / np.linalg.norm(g), g @ g / (g @ B @ g)) if lowest > 0.0 else 0.0
        # For a bowl no step is worse than the best one along the gradient.
        assert value(B, g, p) <= value(B, g, -along * g) * (1.0 - 1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_step_of_a_bowl_is_that_of_newton_if_it_is_short_enough(method):
    B, g, _ = quadratic(1, [0.5, 1.0, 2.0, 7.0])
    assert_allclose(METHODS[method](decompose(B, g), 1e3), -np.linalg.solve(B, g), rtol=1e-10)
