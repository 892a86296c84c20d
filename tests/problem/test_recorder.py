import time

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import Budget, LeastSquaresOptimizer, Problem
from fieldfit.errors import SettingsError
from fieldfit.problem import Recorder
from fieldfit.problem.optimizer import _failures
from fieldfit.problem.recorder import Interruption
from fieldfit.problem.subproblem import Subproblem
from toys import Watched, rosenbrock, vector_objective


def plane(**options):
    """(a - 1, 2 (b - 2), a b - 2): minimum 0 at (1, 2)."""
    return vector_objective(
        lambda x: (
            np.array([x[0] - 1.0, 2.0 * (x[1] - 2.0), x[0] * x[1] - 2.0]),
            np.array([[1.0, 0.0], [0.0, 2.0], [x[1], x[0]]]),
        ),
        [3.0, 0.5],
        **options,
    )


def recorder_of(objective, *observers):
    recorder = Recorder(Problem(objective).vector(), observers)
    recorder.begin(derivatives=True)
    return recorder


def test_part_in_some_variables_leaves_the_others():
    recorder = recorder_of(plane())
    x0 = recorder.x0
    run = recorder.solve(LeastSquaresOptimizer(), x0, free=np.array([1]))
    assert run.x[0] == x0[0]
    # With a = 3: 2 (b - 2) and 3 b - 2, so 13 b = 14.
    assert recorder.problem.space.values(run.x)["x"][1] == pytest.approx(14.0 / 13.0)
    assert_allclose(recorder.best_x, run.x)
    assert recorder.n_evaluations == 1 + run.n_evaluations
    assert sum(entry.is_accepted for entry in recorder.history) > 1


def test_restricted_derivatives_are_columns_of_the_whole():
    problem = Problem(plane()).vector()
    part = Subproblem(problem, problem.x0, free=np.array([1]))
    whole = problem.evaluate(problem.x0, None)
    found = part.evaluate(part.x0, None)
    assert_allclose(found.jacobian, whole.jacobian[:, 1:])
    assert_allclose(part.hessian(part.x0, None), problem.hessian(problem.x0, None)[1:, 1:])
    assert_allclose(part.hessian_product(part.x0, np.ones(1), None), part.hessian(part.x0, None)[0])


def test_differenced_hessian_equals_the_closed_form():
    problem = Problem(plane()).vector()
    # f = 1/2 |r|^2: J^T J + r3 (0 1; 1 0), with r3 = a b - 2 = -0.5, in units of the scales 3 and 0.5.
    J = np.array([[1.0, 0.0], [0.0, 2.0], [0.5, 3.0]])
    expected = (J.T @ J + np.array([[0.0, -0.5], [-0.5, 0.0]])) * np.outer([3.0, 0.5], [3.0, 0.5])
    assert_allclose(problem.hessian(problem.x0, None), expected, rtol=1e-8)
    assert_allclose(problem.hessian_product(problem.x0, np.array([1.0, -2.0]), None), expected @ [1.0, -2.0], rtol=1e-7)


def test_products_in_a_corner_of_the_bounds_stay_inside():
    objective = Watched(plane(lower=[3.0, -1.0], upper=[4.0, 0.5]))
    problem = Problem(objective).vector()
    # Any move along this direction or against it leaves one of the two bounds.
    product = problem.hessian_product(problem.x0, np.array([1.0, 1.0]), None)
    seen = np.array(objective.seen)
    assert np.all((seen >= [3.0, -1.0]) & (seen <= [4.0, 0.5]))
    free = Problem(plane()).vector()
    assert_allclose(product, free.hessian_product(free.x0, np.array([1.0, 1.0]), None), rtol=1e-5)


def test_best_point_of_a_part_is_that_of_the_whole():
    recorder = recorder_of(plane())
    run = recorder.solve(LeastSquaresOptimizer(), recorder.x0)
    assert recorder.best.cost == run.best.cost < 1e-16
    assert recorder.history[recorder.n_evaluations - 1].evaluation == recorder.n_evaluations


def test_what_a_worker_remembers_is_appended():
    recorder, other = recorder_of(plane()), recorder_of(plane())
    other.solve(LeastSquaresOptimizer(), other.x0)
    recorder.absorb(other.record())
    assert recorder.n_evaluations == 1 + other.n_evaluations
    assert [entry.evaluation for entry in recorder.history] == list(range(1, recorder.n_evaluations + 1))
    assert recorder.best.cost == other.best.cost
    recorder.accept_best()
    assert min(recorder.history, key=lambda entry: entry.cost).is_accepted


def test_batches_are_recorded_in_order_and_stop_at_the_budget():
    recorder = recorder_of(plane(), Budget(evaluations=3))
    points = [np.array([1.0 + k, 1.0]) for k in range(4)]
    with pytest.raises(Interruption, match="the budget of 3 evaluations is spent"):
        recorder.evaluate_many(points, None)
    assert recorder.n_evaluations == 3


def test_time_runs_out_in_the_middle_of_a_step():
    def sleepy(values):
        time.sleep(0.02)
        return False

    objective = Watched(rosenbrock(), fails=sleepy)
    result = LeastSquaresOptimizer().optimize(objective, observers=[Budget(seconds=0.05)])
    assert result.message == "the budget of 0.05 s is spent"
    assert 1 <= result.n_evaluations <= 3


@pytest.mark.parametrize("limits", [{}, {"evaluations": 0}, {"seconds": -1.0}, {"seconds": np.nan}])
def test_budgets_without_a_positive_limit_are_refused(limits):
    with pytest.raises(SettingsError, match="Give one of them, positive"):
        Budget(**limits)


def test_failures_are_listed_up_to_a_few():
    recorder = recorder_of(plane())
    for k in range(8):
        recorder.failures[f"failure {k}"] = k
    assert len(_failures(recorder)) == 6
    assert _failures(recorder)[-1] == "and 3 more of this kind"
    assert _failures(recorder)[2] == "failure 2 (2 times)"
