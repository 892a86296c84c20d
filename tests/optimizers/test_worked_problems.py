"""The worked problems of `docs/structured_parameters.md` end at answers that were found in other ways."""

import numpy as np
import pytest
import worked_problems as worked
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize

import fieldfit
from fieldfit import Problem, ScipyOptimizer
from fieldfit.constraints import LinearInequality, SumTo
from fieldfit.errors import FieldfitError

BEALE = Problem(worked.beale, [1.0, 1.0], worked.PLANE, call="positional")
NARROW = Problem(worked.narrow, [0.0, 0.0], [(-10.0, 10.0)] * 2, call="positional")
PORTFOLIO = worked.portfolio()
RIPPLE = Problem(worked.ripple, bounds=worked.RIPPLE_BOUNDS, call="positional")
METHODS = {optimizer.method: optimizer for optimizer in worked.scalar_methods()}
CONSTRAINED = [ScipyOptimizer("SLSQP"), ScipyOptimizer("trust-constr"), fieldfit.AugmentedLagrangianOptimizer()]


def named(optimizer):
    return optimizer.name


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"dogleg"}))
def test_every_method_finds_the_minimum_of_beale(method):
    result = worked.solve(BEALE, METHODS[method])
    assert_allclose(result.x, [3.0, 0.5], atol=1e-6)
    assert result.success


def test_dogleg_finds_it_where_the_hessian_is_positive_definite():
    near = Problem(BEALE.objective, BEALE.parameters.replace({"0": 3.2, "1": 0.6}))
    assert_allclose(worked.solve(near, ScipyOptimizer("dogleg")).x, [3.0, 0.5], atol=1e-6)
    assert not worked.solve(BEALE, ScipyOptimizer("dogleg")).success


@pytest.mark.parametrize("method", sorted(name for name, one in METHODS.items() if one.traits.needs_gradient))
def test_every_method_with_gradient_solves_a_badly_scaled_quadratic(method):
    assert_allclose(worked.solve(NARROW, METHODS[method]).x, [1.0, 2.0], atol=1e-6)


def test_scales_from_the_curvature_spare_evaluations():
    scaled = Problem(worked.narrow, [0.0, 0.0], [(-10.0, 10.0)] * 2, call="positional", scale="automatic")
    counts = [ScipyOptimizer("L-BFGS-B").optimize(problem).nfev for problem in (NARROW, scaled)]
    assert counts[1] < counts[0]


def test_rational_numbers_solve_the_portfolio():
    weights, (of_sum, of_return) = worked.portfolio_answer()
    assert [str(weight) for weight in weights] == ["121/197", "46/197", "30/197"]
    assert (str(of_sum), str(of_return)) == ("-89/1970", "-25/197")
    # Another program: SLSQP of SciPy with a gradient by hand.
    theirs = minimize(
        worked.variance,
        np.full(3, 1.0 / 3.0),
        jac=lambda w: 2.0 * worked.COVARIANCE @ w,
        bounds=[(0.0, 1.0)] * 3,
        constraints=[
            {"type": "eq", "fun": lambda w: w.sum() - 1.0},
            {"type": "ineq", "fun": lambda w: worked.RETURNS @ w - worked.LEAST_RETURN},
        ],
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    assert_allclose(theirs.x, np.array(weights, dtype=float), atol=1e-6)


@pytest.mark.parametrize("optimizer", CONSTRAINED, ids=named)
@settings(deadline=None, max_examples=10)
@given(start=st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3))
def test_the_portfolio_ends_at_its_rational_answer_from_every_start(optimizer, start):
    problem = Problem(
        PORTFOLIO.objective, PORTFOLIO.parameters.replace({"w": start}), constraints=PORTFOLIO.constraints
    )
    result = optimizer.optimize(problem)
    weights, multipliers = worked.portfolio_answer()
    assert_allclose(result.x["w"], np.array(weights, dtype=float), atol=1e-7)
    assert result.fun == pytest.approx(57.0 / 1970.0, abs=1e-9)
    found = np.concatenate(list(result.multipliers.values()))
    assert_allclose(found, np.array(multipliers, dtype=float), atol=1e-6)
    assert result.success


def test_a_violated_condition_is_reported_in_the_words_of_the_user():
    held = [SumTo("w", 1.0), LinearInequality({"w": worked.RETURNS}, lower=0.2, name="expected return")]
    with pytest.raises(FieldfitError, match="expected return"):
        Problem(PORTFOLIO.objective, PORTFOLIO.parameters, constraints=held)


def test_the_ripple_is_where_a_grid_and_newton_find_it():
    point, value = worked.ripple_answer()
    assert_allclose(point, [1.4302243, -0.3697871], atol=5e-8)
    assert value == pytest.approx(-0.0449887161, abs=5e-11)
    assert value < float(worked.ripple(1.5, -0.5))


@pytest.mark.parametrize("seed", worked.SEEDS)
def test_the_lowest_ripple_is_found_from_every_seed(seed):
    result = worked.ripple_search(seed)
    point, value = worked.ripple_answer()
    assert_allclose(result.x, point, atol=1e-6)
    assert result.fun == pytest.approx(value, abs=1e-12)


def test_walks_find_the_best_known_network():
    # All five seeds of `network_search`, eight walks each, are in the benchmark; here as many walks as it takes.
    problem = Problem(worked.network_loss, bounds=worked.NETWORK_BOUNDS, call="keywords")
    assert problem.parameters.size == 26
    local = fieldfit.JaxOptimizer("bfgs", maxiter=400)
    best = np.inf
    for seed in range(worked.WALKS):
        draw = np.random.default_rng(seed)
        start = {name: draw.uniform(*pair) for name, pair in worked.NETWORK_BOUNDS.items()}
        walk = fieldfit.BasinHoppingOptimizer(niter=worked.HOPS, optimizer=local, seed=seed)
        best = min(best, walk.optimize(Problem(problem.objective, problem.parameters.replace(start))).fun)
        if best <= 0.0747:
            break
    assert 0.07466 < best <= 0.0747


def test_the_network_in_numpy_has_the_same_loss():
    draw = np.random.default_rng(0)
    weights = {name: draw.uniform(*pair) for name, pair in worked.NETWORK_BOUNDS.items()}
    hidden = np.maximum(worked.INPUTS[:160] @ weights["W1"] + weights["b1"], 0.0)
    error = hidden @ weights["W2"][:, 0] + weights["b2"][0] - worked.TARGETS[:160]
    by_hand = np.mean(error**2) + 0.01 * sum(float(np.sum(weights[name] ** 2)) for name in ("W1", "W2"))
    problem = Problem(worked.network_loss, weights, worked.NETWORK_BOUNDS, call="keywords")
    assert problem.objective.evaluate(problem.parameters.flat, None, derivatives=False).cost == pytest.approx(by_hand)


def test_matrices_are_fitted_as_linear_algebra_does():
    draw = np.random.default_rng(1)
    inputs, outputs = draw.normal(size=(20, 2)), draw.normal(size=(20, 3))
    problem = Problem(
        lambda slope, shift: inputs @ slope + shift - outputs,
        {"shift": np.zeros(3), "slope": np.zeros((2, 3))},
        call="keywords",
        kind="residuals",
    )
    result = fieldfit.fit(problem)
    expected, *_ = np.linalg.lstsq(np.column_stack([inputs, np.ones(20)]), outputs, rcond=None)
    assert list(result.x) == ["shift", "slope"]
    assert_allclose(np.vstack([result.x["slope"], result.x["shift"]]), expected, atol=1e-9)


def test_rosenbrock_by_name_ends_in_its_valley():
    valley = Problem(lambda y, x: 100.0 * (y - x**2) ** 2 + (1.0 - x) ** 2, {"x": -1.2, "y": 1.0}, call="keywords")
    assert_allclose(list(fieldfit.fit(valley).x.values()), 1.0, atol=1e-8)
