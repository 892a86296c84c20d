"""The answer does not depend on units, order, names, nesting, fixed company, or the size of the objective."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import (
    FunctionObjective,
    Goal,
    LeastSquaresOptimizer,
    MultiStartOptimizer,
    Parameter,
    Problem,
    ScalarObjective,
    ScipyOptimizer,
)

T = np.linspace(0.0, 3.0, 40)
# A decay with noise, so that the minimum is not zero.
Y = 5.0 * np.exp(-1.3 * T) + 0.5 + 0.01 * np.sin(37.0 * T)

OPTIMIZERS = [
    LeastSquaresOptimizer(),
    ScipyOptimizer("L-BFGS-B"),
    ScipyOptimizer("SLSQP"),
    ScipyOptimizer("trust-constr"),
    ScipyOptimizer("Nelder-Mead", maxiter=2000),
]


def decay(a, k, c):
    return a * jnp.exp(-k * T) + c


def fitted(optimizer, function, parameters, factor=1.0, **options):
    objective = FunctionObjective(function, parameters, goal=Goal(target=Y, weight=factor), **options)
    return optimizer.optimize(objective)


def plain(p):
    return decay(p["a"], p["k"], p["c"])


START = {"a": 3.0, "k": 0.7, "c": 0.1}


@pytest.fixture(scope="module", params=OPTIMIZERS, ids=lambda optimizer: optimizer.name)
def optimizer(request):
    return request.param


@pytest.fixture(scope="module")
def reference(optimizer):
    result = fitted(optimizer, plain, START)
    assert result.success
    return np.array([float(result.x[name]) for name in "akc"])


def test_the_reference_is_the_minimum(reference):
    # SciPy's Levenberg-Marquardt code with tolerances at rounding.
    from scipy.optimize import least_squares

    def residuals(p):
        return p[0] * np.exp(-p[1] * T) + p[2] - Y

    found = least_squares(residuals, [3.0, 0.7, 0.1], method="lm", xtol=1e-15, ftol=1e-15)
    assert_allclose(reference, found.x, rtol=1e-5)


def test_other_units(optimizer, reference):
    units = {"a": 1e6, "k": 1e-9, "c": 1e3}

    def scaled(p):
        return decay(p["a"] / units["a"], p["k"] / units["k"], p["c"] / units["c"])

    result = fitted(optimizer, scaled, {name: START[name] * unit for name, unit in units.items()})
    assert result.success
    assert_allclose([float(result.x[name]) / units[name] for name in "akc"], reference, rtol=1e-5)


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_an_objective_times_a_factor(optimizer, reference, factor):
    # Residuals times 1e6 are an objective times 1e12.
    result = fitted(optimizer, plain, START, factor)
    assert result.success
    assert_allclose([float(result.x[name]) for name in "akc"], reference, rtol=1e-5)


@pytest.mark.parametrize("factor", [1e12, 1e-12])
def test_a_scalar_times_a_factor(optimizer, reference, factor):
    if optimizer.traits.needs_residuals:
        pytest.skip("needs residuals")
    objective = ScalarObjective(lambda p: factor * (0.5 * jnp.sum((plain(p) - Y) ** 2) + 3.0), START)
    result = optimizer.optimize(objective)
    assert result.success
    assert_allclose([float(result.x[name]) for name in "akc"], reference, rtol=1e-4)


def test_another_order(optimizer, reference):
    result = fitted(optimizer, plain, {name: START[name] for name in "cak"})
    assert list(result.x) == ["c", "a", "k"]
    assert_allclose([float(result.x[name]) for name in "akc"], reference, rtol=1e-5)


def test_other_names_and_nesting(optimizer, reference):
    def nested(p):
        return decay(p["decay"]["amplitude"], p["decay"]["rate"], p["offset"][0])

    result = fitted(optimizer, nested, {"decay": {"amplitude": 3.0, "rate": 0.7}, "offset": [0.1]})
    found = result.x
    assert_allclose([found["decay"]["amplitude"], found["decay"]["rate"], found["offset"][0]], reference, rtol=1e-5)


def test_one_array(optimizer, reference):
    result = fitted(optimizer, lambda p: decay(*p["x"]), {"x": np.array([3.0, 0.7, 0.1])})
    assert_allclose(result.x["x"], reference, rtol=1e-5)


def test_a_fixed_parameter_in_between(optimizer, reference):
    parameters = [Parameter("a", 3.0), Parameter("held", 7.0, fixed=True), Parameter("k", 0.7), Parameter("c", 0.1)]
    result = fitted(optimizer, lambda p: decay(p["a"] + p["held"] - 7.0, p["k"], p["c"]), parameters)
    assert result.x["held"] == 7.0
    assert_allclose([float(result.x[name]) for name in "akc"], reference, rtol=1e-5)


def test_a_factor_makes_no_difference_to_errors_of_parameters():
    one, other = (fitted(LeastSquaresOptimizer(), plain, START, factor) for factor in (1.0, 1e6))
    for name in "akc":
        assert other.standard_errors[name] == pytest.approx(one.standard_errors[name], rel=1e-6)


def test_a_first_start_that_is_not_a_number_changes_nothing_but_itself(optimizer, reference):
    def broken(p):
        return jnp.where(p["a"] > 3.9, jnp.nan, 1.0) * plain({**p, "a": p["a"] + 2.0})

    multi = MultiStartOptimizer(optimizer, n_starts=6, perturbation_pct=0.3, seed=0)
    result = fitted(multi, broken, {"a": 4.0, "k": 0.7, "c": 0.1})
    assert result.runs[0].failure
    assert_allclose([float(result.x["a"]) + 2.0, float(result.x["k"]), float(result.x["c"])], reference, rtol=1e-4)


def test_one_trace_serves_any_number_of_starts():
    traces = []

    def counted(p):
        traces.append(1)
        return plain(p)

    objective = FunctionObjective(counted, START, goal=Goal(target=Y))
    MultiStartOptimizer(n_starts=2, seed=0).optimize(objective)
    first = len(traces)
    MultiStartOptimizer(n_starts=20, seed=1).optimize(Problem(objective, objective.parameters.fix("c")))
    assert len(traces) == first
