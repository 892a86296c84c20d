"""Nonlinear conditions: functions of structured parameters, or anything that can be fitted, between limits."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import (
    FunctionObjective,
    NonlinearEquality,
    NonlinearInequality,
    Parameter,
    Parameters,
    Problem,
    ScalarObjective,
    ScipyOptimizer,
    SumTo,
    fit,
)
from fieldfit.errors import ConstraintError


def ripple(p):
    return jnp.stack([p["x"] ** 2 + p["y"] ** 2, jnp.sin(p["x"]) * p["y"]])


def numpy_ripple(p):
    return np.array([float(p["x"]) ** 2 + float(p["y"]) ** 2, np.sin(float(p["x"])) * float(p["y"])])


def ripple_jacobian(p):
    x, y = float(p["x"]), float(p["y"])
    return np.array([[2.0 * x, 2.0 * y], [np.cos(x) * y, np.sin(x)]])


WAYS = {
    "jax": NonlinearEquality(ripple, [1.0, 0.5], name="c"),
    "given": NonlinearEquality(numpy_ripple, [1.0, 0.5], name="c", derivatives=ripple_jacobian),
    "differences": NonlinearEquality(numpy_ripple, [1.0, 0.5], name="c", derivatives="differences"),
    "objective": NonlinearEquality(FunctionObjective(ripple, {"x": 0.0, "y": 0.0}), [1.0, 0.5], name="c"),
}


@pytest.mark.parametrize("way", WAYS)
def test_values_and_jacobian_are_those_of_the_function(way):
    parameters = [Parameter("x", 0.3, scale=2.0), Parameter("y", -0.7, scale=0.5)]
    problem = Problem(lambda p: p["x"] * p["y"], parameters, constraints=WAYS[way]).vector()
    x, y = 0.4, 1.1
    found = problem.evaluate(np.array([x / 2.0, y / 0.5]), None)
    assert_allclose(found.constraints, [x**2 + y**2, np.sin(x) * y], rtol=1e-14)
    exact = np.array([[2.0 * x, 2.0 * y], [np.cos(x) * y, np.sin(x)]]) * [2.0, 0.5]
    # Forward differences are good to about 1e-7.
    assert_allclose(found.constraint_jacobian, exact, rtol=1e-6 if way == "differences" else 1e-13)
    assert found.n_differences == (2 if way == "differences" else 0)
    assert problem.constraints.has_derivatives == (way != "differences")


@pytest.mark.parametrize("way", WAYS)
def test_second_derivatives_are_those_of_the_weighted_sum(way):
    problem = Problem(lambda p: p["x"] * p["y"], {"x": 1.0, "y": 1.0}, constraints=WAYS[way]).vector()
    x, y, weights = 0.4, 1.1, np.array([0.7, -1.3])
    exact = 0.7 * 2.0 * np.eye(2) - 1.3 * np.array([[-np.sin(x) * y, np.cos(x)], [np.cos(x), 0.0]])
    # Differences of differences: about 1e-4; of exact Jacobians 1e-10.
    tolerance = {"differences": 1e-3, "given": 1e-8}.get(way, 1e-13)
    assert_allclose(problem.constraint_hessian(np.array([x, y]), weights), exact, atol=tolerance)


def test_an_objective_of_some_of_the_parameters_can_be_held():
    part = FunctionObjective(lambda p: jnp.stack([p["z"] * p["x"]]), {"z": 1.0, "x": 1.0}, name="area")
    problem = Problem(
        lambda p: p["x"] + p["y"] ** 2 + p["z"],
        Parameters([Parameter(name, 1.0, lower=0.1, upper=9.0) for name in "xyz"]),
        constraints=NonlinearInequality(part, lower=4.0),
    )
    found = problem.vector().evaluate(np.array([2.0, 3.0, 5.0]), None)
    assert_allclose(found.constraint_jacobian, [[5.0, 0.0, 2.0]])
    result = fit(problem)
    # x + z is smallest under x z = 4 at 2 and 2, with the multiplier -1/2; y ends on its bound.
    assert_allclose([float(result.x[name]) for name in "xyz"], [2.0, 0.1, 2.0], atol=1e-6)
    assert_allclose(result.multipliers["area"], [-0.5], atol=1e-6)


def test_names_are_those_of_the_function_or_of_the_terms_of_an_objective():
    def area(p):
        return p["x"]

    parameters = Parameters({"x": 1.0})
    assert NonlinearEquality(area).condition(parameters).name == "area"
    assert NonlinearEquality(lambda p: p["x"]).condition(parameters).name == "nonlinear condition"
    objective = FunctionObjective(area, {"x": 1.0}, name="charge")
    assert NonlinearEquality(objective).condition(parameters).name == "charge"
    assert NonlinearEquality(area, name="own").condition(parameters).labels == ("own",)


def test_functions_get_the_users_own_structure():
    start = {"soma": {"g": 1.0, "e": [0.5, 0.5]}, "tau": 2.0}
    rule = NonlinearEquality(lambda p: p["soma"]["g"] * p["tau"] + p["soma"]["e"][0], 6.0, name="rule")
    result = fit(Problem(lambda p: p["soma"]["g"] ** 2 + p["tau"] ** 2, start, constraints=rule))
    assert abs(float(result.x["soma"]["g"] * result.x["tau"] + result.x["soma"]["e"][0]) - 6.0) < 1e-8


def test_limits_are_checked_against_what_the_function_returns():
    parameters = Parameters({"x": 1.0, "y": 2.0})
    with pytest.raises(ConstraintError, match=r"'c' has 3 limits, but its function returns 2 values. Give one for all"):
        NonlinearEquality(ripple, [1.0, 2.0, 3.0], name="c").condition(parameters)
    with pytest.raises(ConstraintError, match=r"'c\[0\]' asks for a value between 2 and 1, which nothing can be"):
        NonlinearInequality(ripple, lower=2.0, upper=1.0, name="c").condition(parameters)
    with pytest.raises(ConstraintError, match=r"'c' has 2 lower and 3 upper values. Give as many of each"):
        NonlinearInequality(ripple, [1.0, 2.0], [1.0, 2.0, 3.0], name="c").condition(parameters)
    with pytest.raises(ConstraintError, match=r"scalar objective. Give one with residuals, or a function"):
        NonlinearEquality(ScalarObjective(lambda p: p["x"], {"x": 1.0}), name="c").condition(parameters)
    with pytest.raises(ConstraintError, match=r"asks for the value inf. Give a finite one"):
        NonlinearEquality(ripple, np.inf, name="c").condition(parameters)
    with pytest.raises(ConstraintError, match=r"which is not a number or an array"):
        NonlinearEquality(ripple, "much", name="c").condition(parameters)


def test_limits_without_an_end_on_either_side_are_refused():
    with pytest.raises(ConstraintError, match=r"no limit"):
        NonlinearInequality(ripple, name="c").condition(Parameters({"x": 1.0, "y": 2.0}))


def test_a_function_that_fails_at_the_start_says_so():
    def broken(p):
        raise RuntimeError("no convergence")

    with pytest.raises(ConstraintError, match=r"'broken' cannot be evaluated at the start: .*no convergence.*Move the"):
        Problem(lambda p: p["x"], {"x": 1.0}, constraints=NonlinearEquality(broken, derivatives="differences"))


def test_a_constraint_that_is_no_number_away_from_the_start_is_walked_around():
    # Full steps of SLSQP land at negative x, where the logarithm does not exist.
    rule = NonlinearInequality(lambda p: jnp.log(p["x"]), lower=np.log(0.5), name="logarithm")
    problem = Problem(lambda p: (p["x"] + 3.0) ** 2, {"x": 5.0}, constraints=rule)
    found = problem.vector().evaluate(np.array([-1.0]), None)
    assert np.isnan(found.cost)
    assert "constraint logarithm is not finite" in found.failure
    result = fit(problem)
    assert float(result.x["x"]) == pytest.approx(0.5, abs=1e-7)
    assert result.success


@pytest.mark.parametrize("transform", ["log", "logit", "log-distance"])
def test_linear_rows_of_transformed_parameters_are_nonlinear_in_x(transform):
    upper = 4.0 if transform == "logit" else np.inf
    entries = [Parameter("a", 1.0, lower=0.0, upper=upper, transform=transform), Parameter("b", 2.0)]
    total = SumTo("*", 5.0, name="total")
    vector = Problem(lambda p: p["a"] ** 2 + 3.0 * p["b"] ** 2, entries, constraints=total).vector()
    assert not np.any(vector.constraints.is_linear)
    assert vector.constraints.linear_rows()[0].shape == (0, 2)
    x = vector.x0 + np.array([0.3, -0.2])
    step = 1e-6 * np.eye(2)
    rows = [vector.evaluate(x + move, None).constraints - vector.evaluate(x - move, None).constraints for move in step]
    found = vector.evaluate(x, None)
    assert_allclose(found.constraint_jacobian, np.transpose(rows) / 2e-6, rtol=1e-8)
    jacobians = [
        vector.evaluate(x + move, None).constraint_jacobian - vector.evaluate(x - move, None).constraint_jacobian
        for move in step
    ]
    hessian = vector.constraint_hessian(x, np.ones(1))
    assert_allclose(hessian, np.concatenate(jacobians) / 2e-6, atol=1e-7)
    assert hessian[0, 0] != 0.0


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr"])
@pytest.mark.parametrize("transform", ["log", "log-distance"])
def test_transformed_parameters_end_where_plain_ones_do(method, transform):
    entries = [Parameter("a", 1.0, lower=0.0, transform=transform), Parameter("b", 2.0)]
    problem = Problem(lambda p: p["a"] ** 2 + 3.0 * p["b"] ** 2, entries, constraints=SumTo("*", 4.0, name="total"))
    result = ScipyOptimizer(method).optimize(problem)
    # 2 a = 6 b = -lambda with a + b = 4.
    assert_allclose([float(result.x["a"]), float(result.x["b"])], [3.0, 1.0], atol=1e-6)
    assert_allclose(result.multipliers["total"], [-6.0], rtol=1e-6)
    assert result.success
