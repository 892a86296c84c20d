"""SciPy's methods under constraints: each gets them in its own form and ends at the same point."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import (
    LinearEquality,
    LinearInequality,
    NonlinearEquality,
    NonlinearInequality,
    Parameter,
    Problem,
    ScalarObjective,
    ScipyOptimizer,
)

METHODS = ["SLSQP", "trust-constr", "COBYQA", "COBYLA"]
WITH_GRADIENT = METHODS[:2]
TOLERANCE = {"SLSQP": 1e-7, "trust-constr": 1e-6, "COBYQA": 1e-5, "COBYLA": 1e-4}

COVARIANCE = np.array([[0.04, 0.01, 0.005], [0.01, 0.09, 0.02], [0.005, 0.02, 0.16]])
RETURNS = np.array([0.08, 0.12, 0.15])


def portfolio(start=(1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0)):
    return Problem(
        lambda p: p["w"] @ COVARIANCE @ p["w"],
        {"w": np.asarray(start)},
        bounds=(0.0, 1.0),
        constraints=[
            LinearEquality({"w": 1.0}, 1.0, name="all"),
            LinearInequality({"w": RETURNS}, lower=0.1, name="return"),
        ],
    )


@pytest.mark.parametrize("start", [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.2, 0.9, 0.4)])
@pytest.mark.parametrize("method", METHODS)
def test_the_portfolio_ends_at_the_exact_fractions(method, start):
    result = ScipyOptimizer(method).optimize(portfolio(start))
    assert_allclose(result.x["w"], np.array([121.0, 46.0, 30.0]) / 197.0, atol=TOLERANCE[method] * 10.0)
    assert result.fun == pytest.approx(57.0 / 1970.0, abs=1e-7)
    assert result.violation < 1e-7
    if method in WITH_GRADIENT:
        assert result.success
        assert_allclose(np.abs(np.hstack(list(result.multipliers.values()))), [0.04518, 0.12690], atol=6e-6)


def rules(derivatives="jax"):
    """A ring and a line, each with two sides, and a curve."""

    def ring(p):
        return p["x"] @ p["x"]

    return [
        NonlinearInequality(ring, lower=1.0, upper=4.0, name="ring", derivatives=derivatives),
        LinearInequality({"x": [1.0, -1.0, 0.0]}, -0.5, 0.5, name="strip"),
        NonlinearEquality(lambda p: p["x"][2] - p["x"][0] ** 2, 0.0, name="curve", derivatives=derivatives),
    ]


def best_by_substitution():
    """Smallest x0 + 2 x1 with x2 = x0^2, by search over a fine mesh of the two variables that are left, and Newton."""
    angle = np.linspace(-3.0, 3.0, 6001)
    a = angle[:, None]
    b = np.clip(a - np.linspace(-0.5, 0.5, 201)[None, :], -3.0, 3.0)
    size = a**2 + b**2 + a**4
    cost = np.where((size >= 1.0) & (size <= 4.0), a + 2.0 * b, np.inf)
    return float(np.min(cost))


@pytest.mark.parametrize("derivatives", ["jax", "differences"])
@pytest.mark.parametrize("method", METHODS)
def test_rows_with_two_sides_and_curves_end_where_a_mesh_search_ends(method, derivatives):
    problem = Problem(lambda p: p["x"][0] + 2.0 * p["x"][1], {"x": [-0.9, -0.9, 0.8]}, constraints=rules(derivatives))
    result = ScipyOptimizer(method).optimize(problem)
    assert result.violation < 1e-6
    # The mesh is 0.005 wide, and its best point lies above the exact one.
    assert best_by_substitution() - 0.03 <= result.fun <= best_by_substitution() + 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_bounds_hold_at_every_evaluation_under_constraints(method):
    seen = []

    def loss(p):
        seen.append(np.asarray(p["x"]).copy())
        return float(np.sum((np.asarray(p["x"]) - 2.0) ** 2))

    objective = ScalarObjective(
        loss, [Parameter("x", [0.2, 0.3], lower=0.0, upper=0.8)], derivatives=lambda p: 2.0 * (p["x"] - 2.0)
    )
    rule = NonlinearInequality(lambda p: p["x"] @ p["x"], upper=0.8, name="disc")
    result = ScipyOptimizer(method).optimize(Problem(objective, constraints=rule))
    assert np.min(seen) >= 0.0
    assert np.max(seen) <= 0.8
    assert_allclose(result.x["x"], np.sqrt([0.4, 0.4]), atol=1e-4)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("method", WITH_GRADIENT)
def test_the_unit_of_a_constraint_changes_nothing(method, size):
    rule = NonlinearEquality(lambda p: size * (p["x"] @ p["x"]), 2.0 * size, name="circle", tolerance=1e-8 * size)
    problem = Problem(lambda p: p["x"][0] + p["x"][1], {"x": [0.5, -0.2]}, constraints=rule)
    result = ScipyOptimizer(method).optimize(problem)
    assert_allclose(result.x["x"], [-1.0, -1.0], atol=1e-6)
    assert_allclose(result.multipliers["circle"] * size, [0.5], rtol=1e-5)
    assert result.success


@pytest.mark.parametrize("method", WITH_GRADIENT)
def test_objective_and_constraints_are_one_evaluation(method):
    count = {"objective": 0, "constraint": 0}

    def loss(p):
        count["objective"] += 1
        return float(p["x"][0] + p["x"][1])

    def rule(p):
        count["constraint"] += 1
        return np.array([p["x"] @ p["x"]])

    problem = Problem(
        ScalarObjective(loss, {"x": [0.5, -0.2]}, derivatives=lambda p: np.ones(2)),
        constraints=NonlinearEquality(rule, 2.0, derivatives=lambda p: 2.0 * p["x"][None, :]),
    )
    made = count["constraint"]
    result = ScipyOptimizer(method, maxiter=3).optimize(problem)
    assert count["objective"] >= result.n_evaluations
    # Differences for Hessians of the constraints ask for these alone.
    extra = 0 if method == "SLSQP" else 4 * 10
    assert count["constraint"] - made <= count["objective"] + extra + 10


@pytest.mark.parametrize("method", METHODS)
def test_a_problem_of_one_variable_is_solved(method):
    rule = LinearInequality({"x": 1.0}, lower=2.0)
    result = ScipyOptimizer(method).optimize(Problem(lambda p: jnp.cosh(p["x"]), {"x": 5.0}, constraints=rule))
    assert float(result.x["x"]) == pytest.approx(2.0, abs=1e-5)


def test_the_last_digits_are_those_of_newton():
    rule = NonlinearEquality(lambda p: jnp.exp(p["x"][0]) + p["x"][1] ** 2, 3.0, name="curve")
    problem = Problem(lambda p: p["x"] @ p["x"], {"x": [0.3, 1.0]}, constraints=rule)
    result = ScipyOptimizer("SLSQP").optimize(problem)
    a, b = result.x["x"]
    multiplier = float(result.multipliers["curve"][0])
    # 2 a + lambda exp(a) = 0 and 2 b + 2 lambda b = 0, to rounding.
    assert abs(2.0 * a + multiplier * np.exp(a)) < 1e-13
    assert abs(2.0 * b * (1.0 + multiplier)) < 1e-13
    assert abs(np.exp(a) + b * b - 3.0) < 1e-13
