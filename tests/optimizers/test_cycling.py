import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import LeastSquaresOptimizer, Parameter, Parameters, ScalarObjective, ScipyOptimizer
from fieldfit.errors import SettingsError
from fieldfit.optimizers.cycling import CyclingOptimizer, relative_gain
from fieldfit.optimizers.scalar_trust_region import TrustRegionOptimizer
from fieldfit.problem import Budget
from toys import Switching, Watched, rosenbrock, vector_objective


def kinked(n=5):
    """A bowl with kinks in two of n variables; minimum 0 at 1, 2, ..., n."""
    target = np.arange(1.0, n + 1.0)

    def loss(p):
        away = p["x"] - target
        return np.sum(away**2) + 3.0 * abs(away[1]) + 2.0 * abs(away[3])

    def gradient(p):
        away = p["x"] - target
        return 2.0 * away + np.eye(n)[1] * 3.0 * np.sign(away[1]) + np.eye(n)[3] * 2.0 * np.sign(away[3])

    parameters = Parameters([Parameter("x", np.full(n, 6.0), lower=-10.0, upper=10.0)])
    return ScalarObjective(loss, parameters, derivatives=gradient)


def test_few_sensitive_variables_are_polished():
    result = CyclingOptimizer(max_params=2).optimize(kinked())
    assert result.final_score < 1e-6
    assert result.cycle_scores[-1] == result.final_score
    assert len(result.runs) == 2 * len(result.cycle_scores)


@pytest.mark.parametrize("metric", ["simp_var", "abs_d1"])
def test_partial_passes_hold_the_other_variables(metric):
    partial = ScipyOptimizer("Nelder-Mead")
    result = CyclingOptimizer(partial=partial, max_params=2, sensitivity_metric=metric).optimize(kinked())
    for run in result.runs[1::2]:
        assert np.count_nonzero(run.x != run.start) <= 2


@pytest.mark.parametrize(
    ("full", "partial"),
    [
        (LeastSquaresOptimizer(), ScipyOptimizer("L-BFGS-B")),
        (TrustRegionOptimizer("subspace"), LeastSquaresOptimizer()),
        (ScipyOptimizer("L-BFGS-B"), TrustRegionOptimizer()),
        (CyclingOptimizer(LeastSquaresOptimizer(maxiter=3), max_cycles=1), LeastSquaresOptimizer()),
    ],
)
def test_anything_cycles_with_anything(full, partial):
    optimizer = CyclingOptimizer(full, partial, max_params=1)
    result = optimizer.optimize(rosenbrock())
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-4)
    assert optimizer.name == f"cycling:{full.name}|{partial.name}"


def test_cycles_end_when_little_is_gained():
    optimizer = CyclingOptimizer(LeastSquaresOptimizer(maxiter=2), LeastSquaresOptimizer(maxiter=1), convergence=0.5)
    result = optimizer.optimize(kinky := rosenbrock())
    assert result.initial_score == pytest.approx(24.2)
    gains = [relative_gain(*pair) for pair in zip((24.2, *result.cycle_scores), result.cycle_scores, strict=False)]
    assert all(gain >= 0.5 for gain in gains[:-1])
    assert gains[-1] < 0.5
    assert "less than 0.5" in result.message
    longest = CyclingOptimizer(LeastSquaresOptimizer(maxiter=1), LeastSquaresOptimizer(maxiter=1), max_cycles=2)
    assert longest.optimize(kinky).message == "max_cycles reached: 2"


def test_a_score_of_zero_ends_the_cycles():
    # Fractions of a score that is rounding mean nothing.
    result = CyclingOptimizer(LeastSquaresOptimizer()).optimize(rosenbrock())
    assert result.message == "the score is zero to rounding"
    assert len(result.runs) == 1


def test_evaluations_of_the_ranking_are_counted():
    objective = Watched(kinked())
    result = CyclingOptimizer(max_params=2, max_cycles=1).optimize(objective)
    in_runs = sum(run.n_evaluations for run in result.runs)
    assert result.n_evaluations == 1 + in_runs + 2 * 5


def test_a_budget_ends_the_run_between_its_parts():
    result = CyclingOptimizer().optimize(kinked(), observers=[Budget(evaluations=20)])
    assert result.n_evaluations == 20
    assert "budget" in result.message


def test_steps_are_numbered_through():
    steps = []
    result = CyclingOptimizer(max_params=2, max_cycles=2).optimize(kinked(), observers=[steps.append])
    assert [step.iteration for step in steps] == list(range(result.n_iterations + 1))
    assert sum(step.is_accepted for step in steps) == sum(entry.is_accepted for entry in result.history)
    assert steps[-1].cost == pytest.approx(result.cost)


def test_state_that_changes_is_followed():
    result = CyclingOptimizer(LeastSquaresOptimizer(), LeastSquaresOptimizer()).optimize(Switching())
    assert_allclose(float(result.x["x"]), 3.0 / 1.01, rtol=1e-6)


def test_bounds_hold_in_every_pass():
    objective = Watched(kinked())
    CyclingOptimizer(max_params=2).optimize(objective)
    assert np.all(np.abs(np.array(objective.seen)) <= 10.0)


def test_traits_are_those_of_both():
    squares = CyclingOptimizer(LeastSquaresOptimizer(), ScipyOptimizer("Nelder-Mead")).traits
    assert squares.needs_residuals
    assert squares.handles_bounds
    assert TrustRegionOptimizer().traits.needs_hessian
    assert CyclingOptimizer(partial=TrustRegionOptimizer()).traits.needs_hessian


def test_more_variables_than_there_are_is_all_of_them():
    line = vector_objective(lambda x: (x - 3.0, np.eye(2)), [1.0, 2.0])
    assert CyclingOptimizer(max_params=9).optimize(line).success


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_params": 0}, "max_params"),
        ({"max_cycles": 0}, "max_cycles"),
        ({"convergence": 1.0}, "convergence"),
        ({"sensitivity_metric": "simpvar"}, "Did you mean 'simp_var'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(SettingsError, match=message):
        CyclingOptimizer(**options)


@pytest.mark.parametrize(("before", "after", "gain"), [(4.0, 1.0, 0.75), (-1.0, -2.0, 1.0), (0.0, 0.0, 0.0)])
def test_relative_gain(before, after, gain):
    assert relative_gain(before, after) == gain
    assert relative_gain(np.nan, after) == np.inf
