import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit.optimizers.acceleration import accelerate, measure_curvature
from fieldfit.optimizers.exact_steps import (
    FACTORIZATIONS,
    CholeskyFactors,
    QRFactors,
    SVDFactors,
    exact_step,
    factorize,
)
from fieldfit.optimizers.trust_region import (
    RadiusRule,
    coleman_li,
    local_model,
    select_step,
    strictly_inside,
    update_radius,
    way_to_bound,
)

FREE = (np.full(2, -np.inf), np.full(2, np.inf))
ROUNDING = 1e-12
"""A few hundred units in the last place: the matrices below have condition numbers under 100."""


def random_problem(seed, m=7, n=4):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(m, n)), generator.normal(size=m)


@pytest.mark.parametrize("method", FACTORIZATIONS)
def test_undamped_step_solves_the_normal_equations(method):
    A, b = random_problem(1)
    # The reference is another algorithm: numpy.linalg.lstsq.
    assert_allclose(factorize(A, b, None, method).damp(0.0).p, np.linalg.lstsq(A, -b)[0], rtol=ROUNDING)


@pytest.mark.parametrize("method", FACTORIZATIONS)
def test_damped_step_by_hand(method):
    # A = diag(1, 2), b = (1, 1), alpha = 1: p = -(1 / (1 + 1), 2 / (4 + 1)); a step in each variable by itself.
    step = factorize(np.diag([1.0, 2.0]), np.ones(2), None, method).damp(1.0)
    assert_allclose(step.p, [-0.5, -0.4], rtol=ROUNDING)
    # d||p|| / d alpha = -(p_1^2 / 2 + p_2^2 / 5) / ||p||.
    assert step.slope == pytest.approx(-(0.25 / 2 + 0.16 / 5) / np.sqrt(0.41), rel=ROUNDING)
    assert_allclose(step.solve(np.array([2.0, 5.0])), [1.0, 1.0], rtol=ROUNDING)


@pytest.mark.parametrize("method", FACTORIZATIONS)
def test_slope_is_the_derivative_of_the_length(method):
    A, b = random_problem(2)
    factors = factorize(A, b, None, method)
    h = 1e-5
    difference = (factors.damp(0.3 + h).length - factors.damp(0.3 - h).length) / (2.0 * h)
    # Central differences are good to h^2.
    assert factors.damp(0.3).slope == pytest.approx(difference, rel=1e-8)


@pytest.mark.parametrize("method", FACTORIZATIONS)
def test_gain_is_the_reduction_of_a_full_step(method):
    A, b = random_problem(3)
    p = np.linalg.lstsq(A, -b)[0]
    expected = 0.5 * (b @ b - (A @ p + b) @ (A @ p + b))
    assert factorize(A, b, None, method).gain == pytest.approx(expected, rel=ROUNDING)


def test_each_factorization_is_used_where_it_is_safe():
    A, b = random_problem(4)
    kinds = {"qr": QRFactors, "svd": SVDFactors, "cholesky": CholeskyFactors}
    for method, kind in kinds.items():
        assert isinstance(factorize(A, b, None, method), kind)


@pytest.mark.parametrize("method", FACTORIZATIONS)
@pytest.mark.parametrize("A", [np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]), np.array([[1.0, 1.0]])])
def test_singular_matrix_gets_the_shortest_step(method, A):
    b = A @ np.array([1.0, 3.0])
    factors = factorize(A, b, None, method)
    assert isinstance(factors, SVDFactors)
    # Every p with p_1 + p_2 = -4 is a minimiser; the shortest is (-2, -2).
    assert_allclose(factors.damp(0.0).p, [-2.0, -2.0], rtol=ROUNDING)


def test_zero_matrix_gives_no_step():
    factors = factorize(np.zeros((3, 2)), np.ones(3), None, "qr")
    assert_allclose(factors.damp(0.0).p, [0.0, 0.0])
    assert factors.gain == 0.0


@pytest.mark.parametrize("method", FACTORIZATIONS)
@given(seed=st.integers(0, 1000), radius=st.floats(1e-3, 10.0), guess=st.floats(0.0, 100.0))
def test_exact_step_minimises_the_model_in_the_ball(method, seed, radius, guess):
    A, b = random_problem(seed)
    step = exact_step(factorize(A, b, None, method), A.T @ b, radius, alpha=guess)
    assert step.length <= radius * (1.0 + ROUNDING)
    value = np.sum((A @ step.p + b) ** 2)
    others = np.random.default_rng(seed).normal(size=(200, 4))
    others *= radius / np.maximum(np.linalg.norm(others, axis=1), radius)[:, None]
    # The root of phi is found to 10 %; the step scaled to the radius is within 1 % of the best reduction.
    best = min(np.sum((A @ other + b) ** 2) for other in others)
    assert b @ b - value >= 0.99 * (b @ b - best)


def test_exact_step_by_hand():
    # A = I, b = (3, 4): the full step has length 5; at radius 1 it is cut to b / 5, with alpha = 4.
    step = exact_step(factorize(np.eye(2), np.array([3.0, 4.0]), None, "qr"), np.array([3.0, 4.0]), 1.0, alpha=0.0)
    assert_allclose(step.p, [-0.6, -0.8], rtol=ROUNDING)
    assert step.alpha == pytest.approx(4.0, rel=0.2)
    assert exact_step(factorize(np.eye(2), np.ones(2), None, "qr"), np.ones(2), 2.0, alpha=3.0).alpha == 0.0


def test_coleman_li_scaling_by_hand():
    x, g, D = np.array([1.0, 1.0, 1.0, 1.0]), np.array([-1.0, 2.0, -3.0, 0.0]), np.array([1.0, 2.0, 3.0, 4.0])
    bounds = (np.array([0.0, 0.0, 0.0, 0.0]), np.array([5.0, 5.0, np.inf, 5.0]))
    v, dv = coleman_li(x, g, D, bounds, size=2.0)
    # Towards the upper bound: (5 - 1) * 1 / 2; towards the lower: (1 - 0) * 2 / 2; to an infinite one or nowhere: 1.
    assert_allclose(v, [2.0, 1.0, 1.0, 1.0])
    assert_allclose(dv, [-0.5, 0.5, 0.0, 0.0])


def test_variable_between_equal_bounds_does_not_move():
    bounds = (np.array([1.0, -np.inf]), np.array([1.0, np.inf]))
    model = local_model(np.ones(2), np.ones(2), np.eye(2), np.ones(2), bounds, "qr")
    p_h = select_step(model, exact_step(model.factors, model.g_h, 10.0, alpha=0.0).p, 10.0)
    assert_allclose(model.d * p_h, [0.0, -1.0], rtol=ROUNDING)


def test_offset_is_the_fraction_a_full_step_removes():
    # f = (3, 4), J = (1, 0)^T: the step removes the 3, which is 9 / 25 of the cost.
    model = local_model(
        np.zeros(1), np.array([3.0, 4.0]), np.array([[1.0], [0.0]]), np.ones(1), (FREE[0][:1], FREE[1][:1]), "qr"
    )
    assert model.offset == pytest.approx(0.6, rel=ROUNDING)


def test_way_to_bound_by_hand():
    bounds = (np.array([0.0, 0.0]), np.array([1.0, 4.0]))
    way, hits = way_to_bound(np.array([0.5, 1.0]), np.array([0.25, 1.0]), bounds)
    assert way == pytest.approx(2.0)
    assert hits.tolist() == [True, False]
    assert way_to_bound(np.zeros(2), np.ones(2), FREE)[0] == np.inf


@given(seed=st.integers(0, 1000), radius=st.floats(1e-2, 100.0))
def test_selected_step_stays_inside_and_lowers_the_model(seed, radius):
    generator = np.random.default_rng(seed)
    J, f = random_problem(seed)
    x = generator.uniform(0.01, 0.99, size=4)
    model = local_model(x, f, J, np.linalg.norm(J, axis=0), (np.zeros(4), np.ones(4)), "qr")
    exact = exact_step(model.factors, model.g_h, radius, alpha=0.0)
    p_h = select_step(model, exact.p, radius)
    assert model.is_inside(p_h)
    assert model.value(p_h) < 0.0
    assert np.linalg.norm(p_h) <= radius * (1.0 + ROUNDING)


def test_step_out_of_bounds_is_reflected_when_the_model_prefers_it():
    # f = x - (2, 2), so the step from (0.9, 0.1) aims at (2, 2). The bound x_1 < 1 cuts it at once; mirrored there
    # it goes on along x_2, where it may.
    x = np.array([0.9, 0.1])
    bounds = (np.full(2, -np.inf), np.array([1.0, np.inf]))
    model = local_model(x, x - 2.0, np.eye(2), np.ones(2), bounds, "qr")
    p_h = select_step(model, exact_step(model.factors, model.g_h, 10.0, alpha=0.0).p, 10.0)
    moved = x + model.d * p_h
    assert moved[0] < 1.0
    assert moved[1] > 1.5


def test_strictly_inside_moves_by_one_number_only():
    bounds = (np.array([2.0, 0.0, 1.0]), np.array([3.0, 1.0, 1.0]))
    moved = strictly_inside(np.array([2.0, 1.5, 1.0]), bounds)
    assert_allclose(moved, [np.nextafter(2.0, 3.0), np.nextafter(1.0, 0.0), 1.0], rtol=0.0, atol=0.0)


def test_beside_a_bound_at_zero_the_square_of_a_variable_does_not_underflow():
    bounds = (np.array([0.0, -1.0]), np.array([1.0, 0.0]))
    moved = strictly_inside(np.array([0.0, 0.0]), bounds)
    assert moved[0] > 0.0 > moved[1]
    assert np.all(moved**2 > 0.0)
    assert np.all(np.abs(moved) <= 1e-150)


@pytest.mark.parametrize(
    ("ratio", "length", "expected"),
    [(-np.inf, 1.0, 0.2), (0.1, 0.8, 0.16), (0.5, 1.0, 1.0), (0.9, 1.0, 3.0), (0.9, 0.5, 1.0), (0.7, 1.0, 1.0)],
)
def test_radius_follows_the_agreement(ratio, length, expected):
    rule = RadiusRule(shrink=0.2, agreement=0.8, growth=3.0)
    assert update_radius(1.0, ratio=ratio, length=length, rule=rule) == pytest.approx(expected)


def test_curvature_of_a_parabola_is_exact():
    # f = (x, y - x^2): the second derivative along (1, 0) is (0, -2).
    f, J = np.array([1.0, -1.0]), np.array([[1.0, 0.0], [-2.0, 1.0]])
    curvature = measure_curvature(f, J, np.array([0.5, 0.0]), np.array([1.5, -2.25]), np.ones(2))
    assert curvature is not None
    # With w.d0 = 1 the second derivative is that along d0 = (0.5, 0): a quarter of (0, -2).
    assert_allclose(curvature.w, [2.0, 0.0])
    assert_allclose(curvature.a, [0.0, -0.5])


@pytest.mark.parametrize(
    ("way", "values"),
    [(np.zeros(2), np.ones(2)), (np.ones(2), np.array([np.nan, 1.0])), (np.ones(2), np.full(2, np.inf))],
)
def test_curvature_is_not_made_up(way, values):
    assert measure_curvature(np.ones(2), np.eye(2), way, values, np.ones(2)) is None


@pytest.fixture
def valley():
    """Residuals (x - 1, (y - x^2) / 2) at the origin after a trial at (1, 0), which is the full step too."""
    f, J, D = np.array([-1.0, 0.0]), np.diag([1.0, 0.5]), np.array([1.0, 0.5])
    curvature = measure_curvature(f, J, np.array([1.0, 0.0]), np.array([0.0, -0.5]), D)
    assert curvature is not None
    return f, J, D, curvature


def test_correction_follows_a_curved_valley(valley):
    f, J, D, curvature = valley
    model = local_model(np.zeros(2), f, J, D, FREE, "qr")
    exact = exact_step(model.factors, model.g_h, 100.0, alpha=0.0)
    found = accelerate(model, curvature, exact.p, solve=exact.solve, Delta=100.0)
    assert found is not None
    # The step (1, 0) climbs the wall; the corrected one ends on the floor, at the solution (1, 1) with cost 0.
    assert_allclose(model.d * found[0], [1.0, 1.0], rtol=ROUNDING)
    assert found[1] == pytest.approx(0.5, rel=ROUNDING)


def test_correction_is_not_taken_outside_bounds(valley):
    f, J, D, curvature = valley
    model = local_model(np.zeros(2), f, J, D, (FREE[0], np.array([5.0, 0.01])), "qr")
    p_h = np.array([1.0, 0.0]) / model.d
    found = accelerate(model, curvature, p_h, solve=model.factors.damp(0.0).solve, Delta=100.0)
    assert found is not None
    assert_allclose(found[0], p_h)


def test_correction_is_cut_to_the_radius(valley):
    f, J, D, curvature = valley
    model = local_model(np.zeros(2), f, J, D, FREE, "qr")
    exact = exact_step(model.factors, model.g_h, 0.5, alpha=0.0)
    found = accelerate(model, curvature, exact.p, solve=exact.solve, Delta=0.5)
    assert found is not None
    assert np.linalg.norm(found[0]) <= 0.5 * (1.0 + ROUNDING)


def test_bent_step_solves_a_problem_with_residuals_that_stay():
    # f = (x, 10 + 4 x^2) near its minimum 0: the second derivative of F, 81, is mostly f.f'' = 80.
    def function(x):
        return np.array([x[0], 10.0 + 4.0 * x[0] ** 2]), np.array([[1.0], [8.0 * x[0]]])

    x, other = np.array([0.01]), np.array([0.02])
    f, J = function(x)
    curvature = measure_curvature(f, J, other - x, function(other)[0], np.abs(J[0]))
    assert curvature is not None
    model = local_model(x, f, J, np.abs(J[0]), (FREE[0][:1], FREE[1][:1]), "qr")
    exact = exact_step(model.factors, model.g_h, 100.0, alpha=0.0)
    found = accelerate(model, curvature, exact.p, solve=exact.solve, Delta=100.0)
    assert found is not None
    # F' = x + 8 x (10 + 4 x^2), so from x = 0.01 a Gauss-Newton step goes to -0.8 and Newton's to 1e-5 at most.
    assert x + model.d * exact.p < -0.5
    assert abs(x + model.d * found[0]) < 1e-4


def test_step_without_promise_is_refused(valley):
    f, J, D, curvature = valley
    model = local_model(np.zeros(2), f, J, D, FREE, "qr")
    assert accelerate(model, curvature, np.array([-1.0, 0.0]), solve=lambda right: right, Delta=1.0) is None
