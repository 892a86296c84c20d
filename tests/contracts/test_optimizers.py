"""What every optimizer of the table has to do."""

import dataclasses
import importlib
import pickle
import pkgutil

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fieldfit.optimizers
from fieldfit.optimizers import OPTIMIZERS
from fieldfit.problem import AbstractOptimizer
from toys import Watched, rosenbrock, vector_objective

CLOSE = 1e-3
"""What a gradient method reaches on Rosenbrock's function with default tolerances."""


@pytest.fixture(params=list(OPTIMIZERS))
def optimizer(request):
    return OPTIMIZERS[request.param]()


def test_default_options_solve_a_known_problem(optimizer):
    result = optimizer.optimize(rosenbrock())
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=CLOSE)
    assert result.initial_score == pytest.approx(24.2)


def test_linear_problem_is_solved_in_its_units(optimizer):
    # y = 2 + 3e-6 x at x = 0, 1e6, 2e6: parameters of very different sizes.
    x = np.array([0.0, 1e6, 2e6])
    J = np.stack([np.ones(3), x], axis=1)
    objective = vector_objective(lambda p: (J @ p - (2.0 + 3e-6 * x), J), [1.0, 1e-6])
    assert_allclose(optimizer.optimize(objective).x["x"], [2.0, 3e-6], rtol=CLOSE)


def test_two_runs_give_the_same_bits(optimizer):
    first, second = (optimizer.optimize(rosenbrock()) for _ in range(2))
    assert [entry.cost for entry in first.history] == [entry.cost for entry in second.history]


def test_bounds_hold_at_every_evaluation(optimizer):
    if not optimizer.traits.handles_bounds:
        pytest.skip("takes no bounds")
    objective = Watched(rosenbrock(lower=(-2.0, -0.5), upper=(0.5, 2.0)))
    result = optimizer.optimize(objective)
    seen = np.array(objective.seen)
    assert np.all((seen >= [-2.0, -0.5]) & (seen <= [0.5, 2.0]))
    assert result.final_score == pytest.approx(0.25, rel=CLOSE)


def test_best_point_is_returned(optimizer):
    result = optimizer.optimize(rosenbrock())
    assert result.cost == min(entry.cost for entry in result.history)
    residuals = rosenbrock().evaluate(result.parameters.flat, None, derivatives=False).residuals
    assert_allclose(result.residuals, residuals, rtol=0.0, atol=1e-12)


def test_every_step_is_told(optimizer):
    steps = []
    result = optimizer.optimize(rosenbrock(), observers=[steps.append])
    assert [step.iteration for step in steps] == list(range(result.n_iterations + 1))
    assert steps[0].cost == pytest.approx(12.1)
    assert steps[-1].cost == pytest.approx(result.cost)
    # One accepted evaluation for each accepted step, the start among them.
    assert sum(step.is_accepted for step in steps) == sum(entry.is_accepted for entry in result.history)


@pytest.mark.parametrize("last", [0, 2])
def test_observer_stops_the_run(optimizer, last):
    steps = []
    result = optimizer.optimize(rosenbrock(), observers=[lambda step: steps.append(step) or step.iteration == last])
    assert result.message == "observer asked to stop"
    assert len(steps) == last + 1


def test_failed_evaluations_are_survived_and_reported(optimizer):
    objective = Watched(rosenbrock(), fails=lambda values: values[1] < 0.0)
    result = optimizer.optimize(objective)
    assert np.isfinite(result.final_score)
    assert result.final_score <= result.initial_score
    failed = sum(np.isnan(entry.cost) for entry in result.history)
    assert (failed > 0) == bool(result.failures)


def test_fixed_parameters_stay(optimizer):
    objective = rosenbrock(start=(0.5, 2.0))
    problem = fieldfit.Problem(objective, objective.parameters.fix("y"))
    result = optimizer.optimize(problem)
    assert result.x["y"] == 2.0
    # With y = 2 the cost is stationary where 200 x (x^2 - 2) = 1 - x; the root next to the square root of 2.
    roots = np.roots([200.0, 0.0, -399.0, -1.0])
    assert result.x["x"] == pytest.approx(np.max(roots.real), rel=1e-5)


def test_options_are_frozen_and_survive_pickling(optimizer):
    assert dataclasses.is_dataclass(optimizer)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(optimizer, dataclasses.fields(optimizer)[0].name, None)
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer


def test_every_final_class_is_in_the_table():
    for module in pkgutil.iter_modules(fieldfit.optimizers.__path__):
        importlib.import_module(f"fieldfit.optimizers.{module.name}")
    classes = {
        subclass
        for subclass in AbstractOptimizer.__subclasses__()
        if subclass.__module__.startswith("fieldfit.") and not subclass.__name__.startswith("Abstract")
    }
    assert classes == set(OPTIMIZERS.values())
