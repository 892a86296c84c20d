from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import Parameter, Parameters, Problem
from fieldfit.errors import EvaluationError
from fieldfit.problem import AbstractOptimizer, Outcome, Recorder, Traits
from fieldfit.problem.optimizer import versions
from toys import Watched, rosenbrock, vector_objective


@dataclass(frozen=True)
class Walk(AbstractOptimizer):
    """Evaluate a list of points; a stand-in for an optimizer."""

    points: tuple
    derivatives: bool = False

    @property
    def name(self):
        return "walk"

    @property
    def traits(self):
        return Traits(handles_bounds=True)

    def run(self, problem, start):
        for point in self.points:
            found = problem.evaluate(np.array(point), start.state, derivatives=self.derivatives)
            problem.tell(
                np.array(point),
                cost=found.cost,
                reduction=0.0,
                step_norm=0.0,
                optimality=0.0,
                is_accepted=False,
            )
        return Outcome("the walk is over", len(self.points))


def line(start=1.0, **options):
    return vector_objective(lambda x: (x - 3.0, np.eye(1)), [start], **options)


def test_best_point_is_kept_wherever_the_walk_ends():
    result = Walk(((2.0,), (2.5,), (7.0,))).optimize(line())
    assert_allclose(result.x["x"], [2.5])
    assert result.final_score == pytest.approx(0.25)
    assert result.message == "the walk is over"


def test_result_is_never_worse_than_the_start():
    result = Walk(((9.0,), (12.0,))).optimize(line())
    assert_allclose(result.x["x"], [1.0])
    assert result.final_score == result.initial_score == pytest.approx(4.0)
    assert not result.success


def test_every_evaluation_is_counted():
    objective = Watched(line())
    result = Walk(((2.0,), (2.5,), (7.0,))).optimize(objective)
    # Start and three points; the verdict needs the derivatives of the best one and a product with the Hessian.
    assert result.n_evaluations == result.nfev == 4
    assert result.n_evaluations + result.verdict.n_evaluations == len(objective.seen) == 6
    assert result.n_derivative_evaluations == result.njev == 1
    assert [entry.evaluation for entry in result.history] == [1, 2, 3, 4]
    assert [entry.is_accepted for entry in result.history] == [True, False, False, False]


def test_success_is_our_own_verdict():
    assert Walk(((3.0,),), derivatives=True).optimize(line()).success
    assert not Walk(((2.9,),), derivatives=True).optimize(line()).success


def test_minimum_on_a_bound_is_a_success():
    result = Walk(((2.0,),), derivatives=True).optimize(line(upper=2.0))
    assert result.success
    assert result.optimality == 0.0


def test_start_that_cannot_be_evaluated_is_an_error():
    objective = Watched(line(), fails=lambda values: True)
    with pytest.raises(EvaluationError, match="cannot be evaluated at the start: the molecule fell apart"):
        Walk(((2.0,),)).optimize(objective)
    infinite = vector_objective(lambda x: (x, np.full((1, 1), np.inf)), [1.0])
    with pytest.raises(EvaluationError, match="its derivatives are not finite"):
        Walk(((2.0,),)).optimize(infinite)


def test_failures_are_reported_with_their_number():
    objective = Watched(line(), fails=lambda values: values[0] > 5.0)
    result = Walk(((6.0,), (7.0,), (2.0,))).optimize(objective)
    assert result.failures == ("the molecule fell apart (2 times)",)


def test_every_observer_hears_of_the_step_that_ends_the_run():
    first, second = [], []
    observers = [lambda step: first.append(step) or True, second.append]
    Walk(((2.0,), (2.5,))).optimize(line(), observers=observers)
    assert len(first) == len(second) == 1
    assert second[0].n_evaluations == 2
    assert_allclose(second[0].values["x"], [2.0])


def test_observer_that_returns_something_else_than_true_does_not_stop():
    seen = []
    Walk(((2.0,), (2.5,))).optimize(line(), observers=[lambda step: seen.append(step) or 1])
    assert len(seen) == 2


def test_rebased_point_counts_although_its_cost_rose():
    recorder = Recorder(Problem(line()).vector(), ())
    better = recorder.evaluate(np.array([2.9]), None)
    worse = recorder.evaluate(np.array([1.0]), None)
    assert recorder.best is better
    recorder.rebase(np.array([1.0]), worse)
    assert recorder.best is worse
    assert_allclose(recorder.best_x, [1.0])


def test_evaluation_with_derivatives_replaces_an_equal_one_without():
    recorder = Recorder(Problem(line()).vector(), ())
    recorder.evaluate(np.array([2.0]), None, derivatives=False)
    found = recorder.evaluate(np.array([2.0]), None, derivatives=True)
    assert recorder.best is found


def test_initial_parameters_are_kept():
    parameters = Parameters([Parameter("x", -1.2), Parameter("y", 1.0)])
    result = Walk(((1.0, 1.0),)).optimize(Problem(rosenbrock(), parameters))
    assert result.initial_parameters is parameters
    assert parameters["x"].value == -1.2


def test_versions_of_what_a_number_depends_on_are_kept():
    assert {"python", "numpy", "scipy", "jax"} <= set(versions())
