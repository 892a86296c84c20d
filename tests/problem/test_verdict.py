"""What counts as success, as best and as held by a bound."""

import numpy as np
import pytest
from problems import UNBOUNDED

from fieldfit import FunctionObjective, LeastSquaresOptimizer, Parameter, Parameters, ScalarObjective, ScipyOptimizer
from fieldfit.objectives.objective import evaluation_from_residuals
from toys import OneVariable, vector_objective


def test_a_negative_loss_is_no_proof_of_success():
    def loss(p):
        return 100.0 * (p["y"] - p["x"] ** 2) ** 2 + (1.0 - p["x"]) ** 2 - 50.0

    objective = ScalarObjective(loss, {"x": -1.2, "y": 1.0})
    assert not ScipyOptimizer("L-BFGS-B", maxiter=1).optimize(objective).success
    assert ScipyOptimizer("L-BFGS-B").optimize(objective).success


def test_newton_may_not_overrule_a_step_that_lowers_the_cost():
    # Watson's function of 12 variables, where trf stops at 8e-10 with a direction that differences do not see.
    watson = next(problem for problem in UNBOUNDED if problem.name == "watson-12")
    result = ScipyOptimizer("trf").optimize(vector_objective(watson.function, watson.start))
    assert result.success == (result.fun < 1.001 * watson.minima[0])


def test_a_singular_minimum_at_the_origin_is_a_success():
    powell = next(problem for problem in UNBOUNDED if problem.name == "powell-singular")
    result = LeastSquaresOptimizer().optimize(vector_objective(powell.function, powell.start))
    assert result.fun < 1e-15
    assert result.success


def half_broken(x, derivatives):
    """Residuals x - 1 and 0.1, with a Jacobian that is not a number left of 1.5, where a step from 2 lands."""
    slope = np.nan if x < 1.5 else 1.0
    return evaluation_from_residuals(np.array([x - 1.0, 0.1]), np.array([[slope], [0.0]]) if derivatives else None)


def test_a_point_without_finite_derivatives_is_never_the_best():
    result = LeastSquaresOptimizer().optimize(OneVariable(2.0, half_broken, size=2))
    assert float(result.x["x"]) >= 1.5
    assert np.all(np.isfinite(result.jacobian))


def test_a_minimum_close_to_a_bound_is_not_held_by_it():
    t = np.linspace(0.0, 1.0, 30)
    noise = np.random.default_rng(0).normal(size=30)
    noise -= t * (t @ noise) / (t @ t)
    slope = 9.7e-8
    parameters = Parameters([Parameter("slope", 1.0, lower=0.0)])
    objective = FunctionObjective(lambda p: (p["slope"] - slope) * t - 1e-9 * noise, parameters)
    result = LeastSquaresOptimizer(ftol=None, xtol=None).optimize(objective)
    assert not result.is_at_bound[0]
    # Closed form for a line through the origin: sigma / |t|, sigma from 29 degrees of freedom.
    expected = 1e-9 * np.sqrt(noise @ noise / 29.0 / (t @ t))
    assert result.standard_errors["slope"] == pytest.approx(expected, rel=1e-4)
