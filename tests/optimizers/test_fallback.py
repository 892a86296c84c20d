"""Optimizers one after the other, until the best point is stationary."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import (
    AugmentedLagrangianOptimizer,
    Budget,
    LinearInequality,
    NonlinearEquality,
    NonlinearInequality,
    Problem,
    ScipyOptimizer,
    fit,
)
from fieldfit.errors import SettingsError
from fieldfit.optimizers.fallback import SCALAR_STAGES, SQUARES_STAGES, FallbackOptimizer, Stage


def on_circle(start=(1.0, 0.0), function=lambda p: p["x"][0] + p["x"][1], **options):
    rule = NonlinearEquality(lambda p: p["x"] @ p["x"], 1.0, name="circle")
    return Problem(function, {"x": np.asarray(start)}, constraints=rule, **options)


def test_the_first_stage_that_arrives_is_the_last():
    result = FallbackOptimizer().optimize(on_circle())
    assert result.success
    assert len(result.runs) == 1
    assert_allclose(result.x["x"], [-np.sqrt(0.5)] * 2, atol=1e-7)
    assert "then" not in result.message


def test_the_next_stage_takes_over_where_one_fails():
    stages = (Stage(ScipyOptimizer("SLSQP", maxiter=1)), Stage(ScipyOptimizer("SLSQP"), from_best=True))
    result = FallbackOptimizer(stages).optimize(on_circle((3.0, -2.0)))
    assert result.success
    assert len(result.runs) == 2
    assert "; then scipy-SLSQP: " in result.message
    assert_allclose(result.runs[1].start, result.runs[0].x)


def test_a_stage_begins_at_the_start_of_the_problem_unless_told_otherwise():
    stages = (Stage(ScipyOptimizer("SLSQP", maxiter=1)), Stage(AugmentedLagrangianOptimizer()))
    problem = on_circle((3.0, -2.0))
    result = FallbackOptimizer(stages).optimize(problem)
    assert_allclose(result.runs[1].start, problem.vector().x0)


def test_the_best_point_of_all_stages_counts():
    stages = (Stage(ScipyOptimizer("SLSQP")), Stage(ScipyOptimizer("SLSQP", maxiter=1)))
    first = ScipyOptimizer("SLSQP").optimize(on_circle())
    assert FallbackOptimizer(stages).optimize(on_circle()).fun == pytest.approx(first.fun, abs=1e-12)


def test_residuals_begin_with_the_method_that_keeps_them():
    problem = on_circle(function=lambda p: p["x"] - jnp.asarray([2.0, 1.0]), kind="residuals")
    result = FallbackOptimizer().optimize(problem)
    assert result.message.startswith("augmented-lagrangian")
    assert_allclose(result.x["x"], np.array([2.0, 1.0]) / np.sqrt(5.0), atol=1e-7)
    assert result.success


def test_histories_and_budgets_go_over_all_stages():
    stages = tuple(Stage(ScipyOptimizer("SLSQP", maxiter=1)) for _ in range(3))
    result = FallbackOptimizer(stages).optimize(on_circle((3.0, -2.0)))
    assert result.n_evaluations == len(result.history)
    assert result.n_evaluations >= sum(run.n_evaluations for run in result.runs)
    short = FallbackOptimizer(stages).optimize(on_circle((3.0, -2.0)), observers=[Budget(evaluations=2)])
    assert short.n_evaluations == 2


def test_observers_hear_of_all_stages_in_one_count():
    steps = []
    stages = (Stage(ScipyOptimizer("SLSQP", maxiter=2)), Stage(AugmentedLagrangianOptimizer()))
    FallbackOptimizer(stages).optimize(on_circle((3.0, -2.0)), observers=[steps.append])
    assert [step.iteration for step in steps] == list(range(len(steps)))


def test_dependent_gradients_at_the_solution_are_no_trap():
    # Two cubics meet in the origin with one tangent (problem 13 of Hock and Schittkowski has no multipliers there):
    # the run ends near it and never claims that it is a solution with multipliers.
    rule = NonlinearInequality(lambda p: (1.0 - p["x"][0]) ** 3 - p["x"][1], lower=0.0, name="cusp")
    problem = Problem(
        lambda p: (p["x"][0] - 2.0) ** 2 + p["x"][1] ** 2, {"x": [0.0, 0.5]}, bounds=(0.0, 9.0), constraints=rule
    )
    result = FallbackOptimizer((Stage(ScipyOptimizer("SLSQP", maxiter=40)),)).optimize(problem)
    assert not result.success
    assert result.fun == pytest.approx(1.0, abs=0.02)
    assert result.violation < 1e-6


def test_one_that_cannot_hold_says_so():
    rules = [
        NonlinearInequality(lambda p: p["x"] @ p["x"], upper=1.0, name="inside"),
        LinearInequality({"x": 1.0}, lower=3.0, name="far"),
    ]
    stages = (Stage(ScipyOptimizer("SLSQP", maxiter=10)),)
    result = FallbackOptimizer(stages).optimize(Problem(lambda p: p["x"][0], {"x": [0.1, 0.2]}, constraints=rules))
    assert not result.success
    assert "inside" in result.verdict.reason
    assert "far" in result.verdict.reason


def test_traits_are_those_that_all_stages_share():
    assert FallbackOptimizer().traits.handles_constraints
    assert FallbackOptimizer().traits.needs_gradient
    mixed = FallbackOptimizer((Stage(ScipyOptimizer("COBYLA")), Stage(ScipyOptimizer("L-BFGS-B"))))
    assert not mixed.traits.handles_constraints
    assert mixed.traits.needs_gradient
    assert mixed.traits.handles_bounds
    with pytest.raises(SettingsError, match="fallback takes no constraints"):
        mixed.optimize(on_circle())


def test_what_is_tried_takes_constraints():
    for stage in (*SCALAR_STAGES, *SQUARES_STAGES):
        assert stage.optimizer.traits.handles_constraints
        assert not stage.optimizer.traits.needs_residuals


def test_the_automatic_choice_says_why():
    scalar = fit(on_circle())
    assert scalar.method == "fallback"
    assert scalar.reason.startswith("a scalar of 2 variables under 1 constraint")
    squares = fit(on_circle(function=lambda p: p["x"] - jnp.asarray([2.0, 1.0]), kind="residuals"))
    assert squares.reason.startswith("residuals in 2 variables under 1 constraint")
