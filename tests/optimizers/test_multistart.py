import os
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit import (
    Budget,
    FunctionObjective,
    JaxOptimizer,
    LeastSquaresOptimizer,
    Parameter,
    Parameters,
    ScalarObjective,
)
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.optimizers.multistart import MultiStartOptimizer
from fieldfit.optimizers.sampling import SAMPLINGS, sample_starts
from fieldfit.optimizers.scipy import ScipyOptimizer
from toys import Watched, rosenbrock


def waves(p):
    """Minima near x = -1.02, 1.02 (the lowest, by the tilt) and farther out."""
    return np.cos(3.0 * p["x"]) + 0.1 * p["x"] ** 2 - 0.01 * p["x"]


def slope(p):
    return -3.0 * np.sin(3.0 * p["x"]) + 0.2 * p["x"] - 0.01


def wave_objective(start=5.0, function=waves):
    return ScalarObjective(function, [Parameter("x", start, lower=-6.0, upper=6.0)], derivatives=slope)


def numbers(result):
    return [entry.cost for entry in result.history], result.final_params.tolist(), result.final_score


def test_many_starts_find_the_lowest_basin():
    alone = ScipyOptimizer().optimize(wave_objective())
    result = MultiStartOptimizer(n_starts=16, sampling="sobol", seed=1).optimize(wave_objective())
    lowest = min(np.linspace(-6.0, 6.0, 100001), key=lambda x: waves({"x": x}))
    assert result.x["x"] == pytest.approx(lowest, abs=1e-4)
    assert alone.fun > result.fun + 0.5
    assert len(result.runs) == 16
    assert sorted(run.best.cost for run in result.runs)[0] == result.fun
    assert result.seed == 1


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("executor", ["serial", "threads:3", "processes:2"])
def test_workers_give_the_same_bits(executor, sampling):
    optimizer = MultiStartOptimizer(n_starts=5, sampling=sampling, seed=3)
    assert numbers(optimizer.optimize(wave_objective(), executor=executor)) == numbers(
        optimizer.optimize(wave_objective())
    )


def test_the_first_start_is_that_of_the_problem():
    for sampling in SAMPLINGS:
        points = sample_starts(
            np.array([0.5, 0.0]),
            (np.array([0.0, -np.inf]), np.array([1.0, np.inf])),
            9,
            sampling=sampling,
            fraction=0.1,
            seed=0,
        )
        assert_array_equal(points[0], [0.5, 0.0])
        assert np.all((points[:, 0] >= 0.0) & (points[:, 0] <= 1.0))
        # A variable at zero without bounds moves by its scale.
        assert np.all(np.abs(points[:, 1]) <= 1.0)
        assert len(np.unique(points[:, 1])) == 9


def test_bounds_hold_at_every_evaluation():
    objective = Watched(rosenbrock(lower=(-2.0, -0.5), upper=(0.5, 2.0)))
    MultiStartOptimizer(n_starts=6, sampling="uniform", seed=0).optimize(objective)
    seen = np.array(objective.seen)
    assert np.all((seen >= [-2.0, -0.5]) & (seen <= [0.5, 2.0]))


def test_a_first_start_that_is_not_a_number_costs_itself_only():
    def broken(p):
        return np.nan if p["x"] > 4.9 else waves(p)

    result = MultiStartOptimizer(n_starts=8, sampling="sobol", seed=0).optimize(wave_objective(function=broken))
    assert np.isfinite(result.fun)
    assert result.runs[0].failure
    assert "x = 5" in result.failures[0]
    assert "1 failed" in result.message


def test_nothing_but_failures_is_an_error():
    objective = Watched(rosenbrock(), fails=lambda values: True)
    with pytest.raises(EvaluationError, match="at any of 3 points; at the start: the molecule fell apart"):
        MultiStartOptimizer(n_starts=3, seed=0).optimize(objective)


def dies(p):
    if p["x"] < 0.0:
        os._exit(1)
    return waves(p)


def test_a_worker_that_dies_costs_one_task():
    # One of the four starts is at negative x, where the process ends.
    optimizer = MultiStartOptimizer(n_starts=4, sampling="uniform", seed=1)
    starts = sample_starts(
        np.array([5.0 / 5.0]), (np.array([-1.2]), np.array([1.2])), 4, sampling="uniform", fraction=0.1, seed=1
    )
    result = optimizer.optimize(wave_objective(function=dies), executor="processes:2")
    dead = [run for run in result.runs if run.failure]
    assert all("died" in run.failure for run in dead)
    assert len(dead) >= np.count_nonzero(starts < 0.0) > 0
    assert len(result.runs) - len(dead) > 0
    assert np.isfinite(result.fun)


def test_budget_counts_all_starts():
    result = MultiStartOptimizer(n_starts=50, sampling="uniform", seed=0).optimize(
        wave_objective(), observers=[Budget(evaluations=40)]
    )
    assert result.n_evaluations == 40
    assert result.message == "the budget of 40 evaluations is spent"


@pytest.mark.parametrize("executor", [None, "threads:2"])
def test_observers_hear_of_every_step_in_order(executor):
    steps = []
    optimizer = MultiStartOptimizer(LeastSquaresOptimizer(), n_starts=3, seed=0)
    result = optimizer.optimize(rosenbrock(), observers=[steps.append], executor=executor)
    assert [step.iteration for step in steps] == list(range(len(steps)))
    assert len(steps) == sum(run.n_iterations + 1 for run in result.runs)
    assert steps[-1].cost == pytest.approx(result.cost, abs=1e-15)
    assert np.all(np.diff([step.cost for step in steps if step.cost]) <= 0.0) or result.runs


def test_one_compiled_program_for_all_starts_equals_one_after_the_other():
    def waves_in_jax(p):
        return jnp.cos(3.0 * p["x"]) + 0.1 * p["x"] ** 2 - 0.01 * p["x"]

    objective = ScalarObjective(waves_in_jax, [Parameter("x", 5.0, lower=-6.0, upper=6.0)])
    optimizer = MultiStartOptimizer(JaxOptimizer("lbfgsb"), n_starts=12, sampling="sobol", seed=1)
    together = optimizer.optimize(objective)
    # Someone who listens hears of the steps in order, so the starts run one after the other.
    alone = optimizer.optimize(objective, observers=[lambda step: None])
    assert together.success
    assert_allclose(together.x["x"], alone.x["x"], rtol=1e-8)
    assert_allclose([run.best.cost for run in together.runs], [run.best.cost for run in alone.runs], rtol=1e-10)
    assert together.n_evaluations == sum(run.n_evaluations for run in together.runs) + 1
    assert together.gradient is not None


def test_an_executor_of_the_user_is_used_and_left_open():
    with ThreadPoolExecutor(2) as pool:
        MultiStartOptimizer(n_starts=3, seed=0).optimize(wave_objective(), executor=pool)
        assert pool.submit(int, 3).result() == 3


def test_differences_inside_workers_do_not_wait_for_their_own_pool():
    objective = FunctionObjective(
        lambda p: np.array([p["a"] - 1.0, p["b"] - 2.0]), Parameters({"a": 0.5, "b": 0.5}), derivatives="differences"
    )
    result = MultiStartOptimizer(LeastSquaresOptimizer(), n_starts=4, seed=0).optimize(objective, executor="threads:1")
    assert_allclose([result.x["a"], result.x["b"]], [1.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_starts": 0}, "n_starts = 0"),
        ({"perturbation_pct": 0.0}, "makes all starts equal"),
        ({"sampling": "sobel"}, "Did you mean 'sobol'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        MultiStartOptimizer(**options)
