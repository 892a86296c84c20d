"""Predictions, goals and derivatives have to fit each other, and say so if they do not."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, Goal, LeastSquaresOptimizer, Parameters, ScalarObjective, ScipyOptimizer
from fieldfit.errors import EvaluationError, SettingsError

DATA = np.array([1.0, 2.0, 4.0, 5.0, 8.0])


@pytest.mark.parametrize("derivatives", ["jax", "differences"])
def test_one_prediction_is_compared_with_every_target(derivatives):
    objective = FunctionObjective(lambda p: p["m"], {"m": 0.5}, goal=Goal(target=DATA), derivatives=derivatives)
    result = LeastSquaresOptimizer().optimize(objective)
    assert_allclose(result.x["m"], DATA.mean(), rtol=1e-6)
    assert result.terms["residuals"][1] == pytest.approx(np.sum((DATA - DATA.mean()) ** 2))


def test_sizes_that_differ_are_an_error_with_both():
    objective = FunctionObjective(lambda p: p["a"], {"a": np.ones(4)}, goal=Goal(target=DATA))
    with pytest.raises(SettingsError, match="predicts 4 numbers, but the goal has 5"):
        LeastSquaresOptimizer().optimize(objective)


def test_a_transposed_jacobian_is_an_error():
    t = np.arange(5.0)
    objective = FunctionObjective(
        lambda p: p["a"] + p["b"] * t, {"a": 0.0, "b": 0.0}, derivatives=lambda p: np.stack([np.ones(5), t])
    )
    with pytest.raises(SettingsError, match=r"Jacobian has the shape \(2, 5\), but \(5, 2\)"):
        LeastSquaresOptimizer().optimize(objective)


def test_a_gradient_of_the_wrong_length_is_an_error():
    objective = ScalarObjective(
        lambda p: p["a"] ** 2 + p["b"] ** 2, {"a": 1.0, "b": 1.0}, derivatives=lambda p: np.ones(1)
    )
    with pytest.raises(SettingsError, match="gradient has the shape"):
        ScipyOptimizer("L-BFGS-B").optimize(objective)


def test_bounds_of_a_goal_may_be_open():
    goal = Goal(bounds=(0.0, None))
    assert_allclose(goal.residuals(np.array([-2.0, 1.0, 1e9])), [-2.0, 0.0, 0.0])


def test_an_exception_without_a_message_is_reported():
    def fails(p):
        raise ValueError

    objective = FunctionObjective(fails, {"a": 1.0}, derivatives="differences")
    with pytest.raises(EvaluationError, match="ValueError: no message"):
        LeastSquaresOptimizer().optimize(objective)


def test_a_function_that_returns_nothing_is_reported():
    with pytest.raises(EvaluationError, match="returned nothing"):
        LeastSquaresOptimizer().optimize(FunctionObjective(lambda p: None, {"a": 1.0}))


def test_a_sum_keeps_the_structure_of_its_parameters():
    from fieldfit import ObjectiveFunction

    nested = Parameters.from_tree({"cell": {"g": 1.0}})
    term = FunctionObjective(lambda p: p["cell"]["g"] - np.array([2.0, 4.0]), nested)
    result = LeastSquaresOptimizer().optimize(ObjectiveFunction({"first": term}))
    assert_allclose(result.x["cell"]["g"], 3.0)
