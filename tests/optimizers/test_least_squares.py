import copy
import dataclasses
import pickle

import more_garbow_hillstrom as mgh
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import ALL

from fieldfit import FunctionObjective, LeastSquaresOptimizer, Parameter, Parameters, Problem, ScalarObjective
from fieldfit.errors import SettingsError
from fieldfit.optimizers.acceleration import ACCELERATIONS, MANY_VARIABLES, looks_ahead
from fieldfit.optimizers.exact_steps import FACTORIZATIONS
from fieldfit.problem import Recorder
from toys import Switching, Watched, rosenbrock, vector_objective


def recorder_of(objective):
    return Recorder(Problem(objective).vector(), ())


def states_of(optimizer, objective):
    """Every state of a run made by hand."""
    recorder = recorder_of(objective)
    states = [optimizer.init(recorder, recorder.evaluate(recorder.x0, recorder.initial_state()))]
    while optimizer.status(states[-1]) is None:
        states.append(optimizer.step(recorder, states[-1]))
    return states, recorder


@pytest.mark.parametrize("factorization", FACTORIZATIONS)
def test_every_factorization_finds_the_minimum(factorization):
    result = LeastSquaresOptimizer(factorization=factorization).optimize(rosenbrock())
    assert result.success
    # Zero residuals and a well-conditioned Jacobian: the solution is exact to rounding.
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-12)


def test_zero_residuals_with_a_singular_jacobian_end():
    # Powell's singular function: the Jacobian at the solution has rank 2 of 4, so convergence is linear.
    def powell(x):
        f = np.array(
            [x[0] + 10.0 * x[1], 5.0**0.5 * (x[2] - x[3]), (x[1] - 2.0 * x[2]) ** 2, 10.0**0.5 * (x[0] - x[3]) ** 2]
        )
        J = np.zeros((4, 4))
        J[0, :2], J[1, 2:] = (1.0, 10.0), (5.0**0.5, -(5.0**0.5))
        J[2, 1:3] = np.array([2.0, -4.0]) * (x[1] - 2.0 * x[2])
        J[3, [0, 3]] = np.array([2.0, -2.0]) * 10.0**0.5 * (x[0] - x[3])
        return f, J

    result = LeastSquaresOptimizer().optimize(vector_objective(powell, [3.0, -1.0, 0.0, 1.0]))
    assert result.message.startswith("the cost is zero to rounding")
    assert result.final_score < 1e-20
    assert result.n_evaluations < 30


def test_start_at_a_perfect_fit_ends_at_once():
    result = LeastSquaresOptimizer().optimize(rosenbrock(start=(1.0, 1.0)))
    assert result.success
    assert result.n_evaluations == 1


def test_solution_on_a_bound():
    result = LeastSquaresOptimizer().optimize(rosenbrock(lower=(-2.0, -2.0), upper=(0.5, 2.0)))
    assert result.success
    assert_allclose([result.x["x"], result.x["y"]], [0.5, 0.25], rtol=1e-6)
    assert result.final_score == pytest.approx(0.25, rel=1e-8)
    assert result.is_at_bound.tolist() == [True, False]


def test_solution_in_a_corner():
    # f = x - (1, 2, 3) with x < 0: each variable stops at its bound, F = 14 / 2.
    result = LeastSquaresOptimizer().optimize(
        vector_objective(lambda x: (x - [1.0, 2.0, 3.0], np.eye(3)), [-1.0, -1.0, -1.0], upper=0.0)
    )
    assert result.success
    assert result.final_score == pytest.approx(14.0, rel=1e-7)


@pytest.mark.parametrize("start", [(-2.0, 1.0), (0.5, 0.3), (-2.0, 2.0)])
def test_start_on_a_bound_leaves_it(start):
    result = LeastSquaresOptimizer().optimize(rosenbrock(start, lower=(-2.0, -2.0), upper=(0.5, 2.0)))
    assert_allclose([result.x["x"], result.x["y"]], [0.5, 0.25], rtol=1e-5)


def test_no_evaluation_is_outside_the_bounds():
    for start in [(-1.2, 1.0), (-2.0, 1.0), (0.5, 2.0), (0.0, 0.0)]:
        objective = Watched(rosenbrock(start, lower=(-2.0, -0.5), upper=(0.5, 2.0)))
        LeastSquaresOptimizer().optimize(objective)
        seen = np.array(objective.seen)
        assert np.all((seen >= [-2.0, -0.5]) & (seen <= [0.5, 2.0]))


@pytest.mark.parametrize("factorization", FACTORIZATIONS)
def test_dependent_columns_move_together(factorization):
    # Two residuals, both x + y - 2: the shortest way from (0, 0) to x + y = 2 is (1, 1).
    J = np.ones((2, 2))
    objective = vector_objective(lambda x: (J @ x - 2.0, J), [0.0, 0.0])
    result = LeastSquaresOptimizer(factorization=factorization).optimize(objective)
    assert_allclose(result.x["x"], [1.0, 1.0], rtol=1e-10)


def test_fewer_residuals_than_variables():
    objective = vector_objective(lambda x: (np.array([x @ x - 4.0]), 2.0 * x[None]), [1.0, 2.0, 0.5])
    result = LeastSquaresOptimizer().optimize(objective)
    assert result.success
    assert np.sum(result.x["x"] ** 2) == pytest.approx(4.0, rel=1e-10)


def test_parameter_that_nothing_feels_stays():
    objective = vector_objective(lambda x: (x[:1] - 3.0, np.array([[1.0, 0.0]])), [1.0, 7.0])
    result = LeastSquaresOptimizer().optimize(objective)
    assert_allclose(result.x["x"], [3.0, 7.0], rtol=1e-12)


def test_region_without_numbers_is_stepped_around():
    # log(x) - 1 is NaN for x < 0, where the first full step from x = 30 goes: x (1 - log x + 1) < 0.
    def logarithm(x):
        with np.errstate(invalid="ignore"):
            return np.log(x) - 1.0, np.diag(1.0 / x)

    notes = []
    optimizer = LeastSquaresOptimizer(initial_radius=100.0)
    result = optimizer.optimize(vector_objective(logarithm, [30.0]), observers=[lambda step: notes.append(step.note)])
    assert result.x["x"][0] == pytest.approx(np.e, rel=1e-10)
    assert "evaluation failed: f is not finite at x[0] = " in notes[1]
    assert "f is not finite" in result.failures[0]


def test_failed_evaluations_shrink_the_step_and_are_counted():
    # Everything but the start fails.
    objective = Watched(rosenbrock(), fails=lambda values: values[0] != -1.2)
    result = LeastSquaresOptimizer().optimize(objective)
    assert not result.success
    assert result.message.startswith("the step became too small after ")
    assert "failed evaluations: evaluation failed: the molecule fell apart" in result.message
    assert_allclose([result.x["x"], result.x["y"]], [-1.2, 1.0])


def test_infinite_derivatives_reject_a_point():
    # sqrt|x| has an infinite derivative at its minimum 0, which the step from 1 with f = 1, f' = 1/2 overshoots.
    def root(x):
        with np.errstate(divide="ignore"):
            return np.abs(x) ** 0.5, np.diag(0.5 * np.sign(x) / np.abs(x) ** 0.5)

    result = LeastSquaresOptimizer(maxiter=60).optimize(vector_objective(root, [1.0]))
    assert np.isfinite(result.final_score)


def test_stepping_equals_running():
    optimizer = LeastSquaresOptimizer()
    states, recorder = states_of(optimizer, rosenbrock())
    result = optimizer.optimize(rosenbrock())
    assert result.message == optimizer.status(states[-1])
    assert result.n_iterations == states[-1].iteration == len(states) - 1
    assert [entry.cost for entry in result.history] == [entry.cost for entry in recorder.history]
    assert [entry.is_accepted for entry in result.history[1:]] == [state.turn.is_accepted for state in states[1:]]


def test_resume_equals_uninterrupted():
    optimizer = LeastSquaresOptimizer()
    states, _ = states_of(optimizer, rosenbrock(lower=(-2.0, -2.0), upper=(0.5, 2.0)))
    recorder = recorder_of(rosenbrock(lower=(-2.0, -2.0), upper=(0.5, 2.0)))
    state = pickle.loads(pickle.dumps(states[5]))
    while optimizer.status(state) is None:
        state = optimizer.step(recorder, state)
    assert_array_equal(state.x, states[-1].x)
    assert state.evaluation.cost == states[-1].evaluation.cost


def test_step_does_not_change_its_arguments():
    optimizer = LeastSquaresOptimizer()
    recorder = recorder_of(rosenbrock(lower=(-2.0, -2.0), upper=(0.5, 2.0)))
    state = optimizer.init(recorder, recorder.evaluate(recorder.x0, None))
    for _ in range(4):
        kept = copy.deepcopy(state)
        after = optimizer.step(recorder, state)
        assert_array_equal(state.x, kept.x)
        assert_array_equal(state.column_scale, kept.column_scale)
        assert_array_equal(state.model.J_h, kept.model.J_h)
        assert_array_equal(state.model.factors.damp(0.5).p, kept.model.factors.damp(0.5).p)
        assert (state.radius, state.alpha, state.iteration) == (kept.radius, kept.alpha, kept.iteration)
        state = after
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.radius = 1.0


def test_two_runs_give_the_same_bits():
    first, second = (LeastSquaresOptimizer().optimize(rosenbrock()) for _ in range(2))
    assert [entry.cost for entry in first.history] == [entry.cost for entry in second.history]


def test_units_of_a_parameter_do_not_change_the_path():
    def run(unit):
        parameters = Parameters([Parameter("x", -1.2 / unit), Parameter("y", 1.0)])
        objective = FunctionObjective(
            lambda p: np.array([10.0 * (p["y"] - (unit * p["x"]) ** 2), 1.0 - unit * p["x"]]),
            parameters,
            derivatives=lambda p: np.array([[-20.0 * unit * unit * p["x"], 10.0], [-unit, 0.0]]),
        )
        return [entry.cost for entry in LeastSquaresOptimizer().optimize(objective).history]

    # A power of two changes no mantissa.
    assert run(1.0) == run(1024.0)


def path_of(function, start, **bounds):
    """Costs of all evaluations and the point reached."""
    result = LeastSquaresOptimizer().optimize(vector_objective(function, start, **bounds))
    return np.array([entry.cost for entry in result.history]), result.x["x"]


METAMORPHIC = [
    problem for problem in ALL if problem.name in ("box", "meyer", "kowalik-osborne", "osborne-1/b", "wood/b")
]


@pytest.mark.parametrize("factor", [2.0**40, 2.0**-40], ids=["times 1e12", "times 1e-12"])
@pytest.mark.parametrize("problem", METAMORPHIC, ids=lambda problem: problem.name)
def test_units_of_the_residuals_do_not_change_the_path(problem, factor):
    def scaled(x):
        f, J = problem.function(x)
        return factor * f, factor * J

    box = {"lower": problem.lower, "upper": problem.upper}
    costs, x = path_of(problem.function, problem.start, **box)
    scaled_costs, scaled_x = path_of(scaled, problem.start, **box)
    # A power of two changes no mantissa, so every evaluation is the same to the last bit.
    assert_array_equal(scaled_costs, factor**2 * costs)
    assert_array_equal(scaled_x, x)


@pytest.mark.parametrize("problem", METAMORPHIC, ids=lambda problem: problem.name)
def test_units_of_the_variables_do_not_change_the_path(problem):
    units = 2.0 ** np.random.default_rng(1).integers(-30, 31, size=problem.start.size)

    def scaled(x):
        f, J = problem.function(x * units)
        return f, J * units

    costs, x = path_of(problem.function, problem.start, lower=problem.lower, upper=problem.upper)
    box = {"lower": problem.lower / units, "upper": problem.upper / units}
    scaled_costs, scaled_x = path_of(scaled, problem.start / units, **box)
    assert_array_equal(scaled_costs, costs)
    assert_array_equal(scaled_x * units, x)


@pytest.mark.parametrize("problem", METAMORPHIC, ids=lambda problem: problem.name)
def test_order_of_the_variables_does_not_change_the_answer(problem):
    order = np.random.default_rng(2).permutation(problem.start.size)

    def permuted(x):
        moved = np.empty_like(x)
        moved[order] = x
        f, J = problem.function(moved)
        return f, J[:, order]

    costs, x = path_of(problem.function, problem.start, lower=problem.lower, upper=problem.upper)
    box = {"lower": problem.lower[order], "upper": problem.upper[order]}
    permuted_costs, permuted_x = path_of(permuted, problem.start[order], **box)
    # Sums in another order round differently, which thirty turns along a valley carry on; a turn more or less is fine.
    assert abs(len(permuted_costs) - len(costs)) <= 2
    assert_allclose(permuted_x, x[order], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("factor", [1e12, 1e-12])
def test_singular_problem_with_zero_residuals_ends_in_any_units(factor):
    def scaled(x):
        f, J = mgh.powell_singular(x)
        return factor * f, factor * J

    result = LeastSquaresOptimizer().optimize(vector_objective(scaled, [3.0, -1.0, 0.0, 1.0]))
    assert result.message.startswith("the cost is zero to rounding")
    assert result.n_evaluations < 30


def test_variable_without_effect_at_the_start_is_found_in_any_units():
    # The column of y is zero at x = 0, so its length says nothing yet. Minimum 0 at (1, 1).
    def run(factor):
        def function(x):
            f = np.array([x[0] - 1.0, x[0] * (x[1] - 1.0)])
            return factor * f, factor * np.array([[1.0, 0.0], [x[1] - 1.0, x[0]]])

        return path_of(function, [0.0, 5.0])

    costs, x = run(1.0)
    assert_allclose(x, [1.0, 1.0], rtol=1e-8)
    for factor in (2.0**40, 2.0**-40):
        assert_array_equal(run(factor)[0], factor**2 * costs)


def test_a_start_far_off_does_not_make_the_minimum_look_like_zero():
    # f = (e^x - 2, e^x - 3): the cost falls from e^100 = 3e43 to 1/4 at e^x = 5/2.
    def function(x):
        return np.array([np.exp(x[0]) - 2.0, np.exp(x[0]) - 3.0]), np.full((2, 1), np.exp(x[0]))

    result = LeastSquaresOptimizer().optimize(vector_objective(function, [50.0]))
    assert not result.message.startswith("the cost is zero")
    assert result.x["x"][0] == pytest.approx(np.log(2.5), rel=1e-8)


@pytest.mark.parametrize(
    ("options", "beginning"),
    [
        ({"ftol": 1e-3, "xtol": None, "gtol": None}, "ftol: the last step lowered the cost by "),
        ({"ftol": None, "xtol": 1e-3, "gtol": None}, "xtol: the last step was "),
        ({"ftol": None, "xtol": None, "gtol": 1e-3}, "gtol: the relative offset "),
        ({"ftol": None, "xtol": None, "gtol": None}, "the model promises "),
        ({"maxiter": 3}, "maxiter reached: 3"),
    ],
)
def test_message_names_the_test_that_ended_the_run(options, beginning):
    # f = (x^2 - 2, x - 1) has no zero, so no test is met by the cost.
    objective = vector_objective(lambda x: (np.append(x**2 - 2.0, x - 1.0), np.vstack([2.0 * x, [1.0]])), [5.0])
    assert LeastSquaresOptimizer(**options).optimize(objective).message.startswith(beginning)


def test_observer_stops_the_run():
    seen = []
    result = LeastSquaresOptimizer().optimize(
        rosenbrock(), observers=[lambda step: seen.append(step) or len(seen) == 4]
    )
    assert result.message == "observer asked to stop"
    assert [step.iteration for step in seen] == [0, 1, 2, 3]
    assert seen[0].cost == pytest.approx(12.1)
    assert seen[0].is_accepted
    assert_allclose([seen[0].values["x"], seen[0].values["y"]], [-1.2, 1.0])


def test_rejected_steps_are_told_as_such():
    steps = []
    result = LeastSquaresOptimizer().optimize(rosenbrock(), observers=[steps.append])
    rejected = [step for step in steps if not step.is_accepted]
    assert rejected
    assert all(step.reduction == 0.0 and step.step_norm > 0.0 for step in rejected)
    assert sum(step.reduction for step in steps) == pytest.approx(12.1, rel=1e-12)
    assert steps[-1].n_evaluations == result.n_evaluations


def test_accepted_point_whose_residuals_change_meaning_is_evaluated_again():
    steps = []
    result = LeastSquaresOptimizer().optimize(Switching(), observers=[steps.append])
    assert result.x["x"] == pytest.approx(3.0 / 1.01, rel=1e-8)
    assert "the target has changed" in [step.note for step in steps]
    # One evaluation more than turns: the repeated one, besides the start.
    assert result.n_evaluations == result.n_iterations + 2
    assert result.state == 3.0
    # The cost under the new target is what counts, although an earlier point looked better under the old one.
    assert result.cost == pytest.approx(0.5 * (0.01 * 3.0**2 / 1.01), rel=1e-8)


def test_a_score_that_rose_because_its_meaning_changed_is_no_success():
    result = LeastSquaresOptimizer().optimize(Switching(later=300.0))
    assert result.x["x"] == pytest.approx(300.0 / 1.01, rel=1e-8)
    assert result.final_score > result.initial_score
    assert not result.success
    assert "what the score means changed on the way" in result.verdict.reason


def test_differences_are_taken_only_where_the_point_moves():
    objective = Watched(rosenbrock(derivatives="differences"))
    result = LeastSquaresOptimizer().optimize(objective)
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-6)
    rejected = [entry for entry in result.history if not entry.is_accepted]
    assert rejected
    assert not any(entry.has_derivatives for entry in rejected)


def test_scalar_objective_is_refused_by_name():
    objective = ScalarObjective(lambda p: p["x"] ** 2, {"x": 1.0})
    with pytest.raises(SettingsError, match="least-squares needs residuals"):
        LeastSquaresOptimizer().optimize(objective)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ftol": -1.0}, "ftol = -1.0"),
        ({"gtol": 2.0}, "gtol = 2.0"),
        ({"maxiter": 0}, "maxiter = 0"),
        ({"initial_radius": 0.0}, "initial_radius = 0.0"),
        ({"factorization": "cholesk"}, "Did you mean 'cholesky'"),
    ],
)
def test_impossible_options_are_refused_when_given(options, message):
    with pytest.raises(SettingsError, match=message):
        LeastSquaresOptimizer(**options)


def test_state_reads_as_a_sentence():
    states, _ = states_of(LeastSquaresOptimizer(), rosenbrock())
    assert repr(states[0]).startswith("LeastSquaresState(trial 0 accepted: cost 12.1, radius ")


@pytest.mark.parametrize("acceleration", ACCELERATIONS)
def test_every_acceleration_finds_the_minimum(acceleration):
    result = LeastSquaresOptimizer(acceleration=acceleration).optimize(rosenbrock())
    assert result.success
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-10)


def test_looking_ahead_evaluates_inside_the_bounds_without_derivatives():
    objective = Watched(rosenbrock((-2.0, 1.0), lower=(-2.0, -0.5), upper=(0.5, 2.0)))
    result = LeastSquaresOptimizer(acceleration="ahead").optimize(objective)
    assert 0 < result.n_derivative_evaluations < result.n_evaluations
    seen = np.array(objective.seen)
    assert np.all((seen >= [-2.0, -0.5]) & (seen <= [0.5, 2.0]))


def test_looking_ahead_takes_fewer_turns_in_a_curved_valley():
    # x_0 falls along a chain of parabolas; each variable follows the square of the one before.
    def chain(x):
        f = np.concatenate([30.0 * (x[1:] - x[:-1] ** 2), [1.0 - x[0]]])
        J = np.zeros((x.size, x.size))
        J[:-1, 1:] = 30.0 * np.eye(x.size - 1)
        J[np.arange(x.size - 1), np.arange(x.size - 1)] += -60.0 * x[:-1]
        J[-1, 0] = -1.0
        return f, J

    turns = {}
    for acceleration in ("ahead", "none"):
        optimizer = LeastSquaresOptimizer(acceleration=acceleration)
        result = optimizer.optimize(vector_objective(chain, [-1.2, 1.0, 1.0]))
        assert_allclose(result.x["x"], 1.0, rtol=1e-6)
        turns[acceleration] = result.n_iterations
    assert turns["ahead"] < turns["none"]


def test_looking_ahead_by_itself_is_for_many_variables_whose_derivatives_cost_much():
    def shifted(size):
        return Recorder(Problem(FunctionObjective(lambda p: p["x"] ** 3 - 2.0, {"x": np.ones(size)})).vector(), ())

    few, many = shifted(2), shifted(MANY_VARIABLES)
    by_hand = recorder_of(vector_objective(lambda x: (x - 1.0, np.eye(x.size)), np.zeros(MANY_VARIABLES)))
    assert [looks_ahead("auto", problem) for problem in (few, many, by_hand)] == [False, True, False]
    assert looks_ahead("ahead", few)
    assert not looks_ahead("last", many)
