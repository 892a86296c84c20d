"""What counts as success, as best and as held by a bound."""

import numpy as np
import pytest

from fieldfit import FunctionObjective, LeastSquaresOptimizer, Parameter, Parameters, ScalarObjective, ScipyOptimizer
from fieldfit.objectives import AbstractObjective, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals


def test_a_negative_loss_is_no_proof_of_success():
    def loss(p):
        return 100.0 * (p["y"] - p["x"] ** 2) ** 2 + (1.0 - p["x"]) ** 2 - 50.0

    objective = ScalarObjective(loss, {"x": -1.2, "y": 1.0})
    assert not ScipyOptimizer("L-BFGS-B", max_iterations=1).optimize(objective).success
    assert ScipyOptimizer("L-BFGS-B").optimize(objective).success


class HalfBroken(AbstractObjective):
    """x - 1 with a Jacobian that is not a number left of 0.5, where a step from 2 lands."""

    @property
    def parameters(self):
        return Parameters([Parameter("x", 2.0)])

    @property
    def traits(self):
        return ObjectiveTraits(has_residuals=True, has_derivatives=True)

    def initial_state(self):
        return None

    def evaluate(self, values, state, *, derivatives):
        x = values[0]
        slope = np.nan if x < 1.5 else 1.0
        return evaluation_from_residuals(np.array([x - 1.0, 0.1]), np.array([[slope], [0.0]]) if derivatives else None)

    def term_slices(self):
        return {"f": slice(0, 2)}


def test_a_point_without_finite_derivatives_is_never_the_best():
    result = LeastSquaresOptimizer().optimize(HalfBroken())
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
