import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, Parameter, Parameters, Problem, ScalarObjective
from fieldfit.constraints import LinearInequality, NonlinearEquality, NonlinearInequality, SumTo
from fieldfit.errors import SettingsError
from fieldfit.optimizers.augmented_lagrangian import AugmentedLagrangianOptimizer
from fieldfit.optimizers.augmented_problem import AugmentedProblem, Shifts
from fieldfit.optimizers.kkt_newton import newton_kkt
from fieldfit.optimizers.scipy import ScipyOptimizer
from fieldfit.problem import Budget, Recorder


def variables(start, lower=-np.inf, upper=np.inf):
    return Parameters([Parameter("x", np.asarray(start, float), lower=lower, upper=upper)])


def posed(loss, start, *, equal=(), above=(), lower=-np.inf, upper=np.inf, factor=1.0):
    """Minimise loss(x) with equal(x) = 0 and above(x) >= 0, each multiplied by a factor."""
    constraints = [
        NonlinearEquality(lambda p, f=f: factor * f(p["x"]), 0.0, name=f"equal-{k}", tolerance=1e-8 * factor)
        for k, f in enumerate(equal)
    ]
    constraints += [
        NonlinearInequality(lambda p, f=f: factor * f(p["x"]), lower=0.0, name=f"above-{k}", tolerance=1e-8 * factor)
        for k, f in enumerate(above)
    ]
    objective = ScalarObjective(lambda p: loss(p["x"]), variables(start, lower, upper))
    return Problem(objective, constraints=constraints)


def solved(problem, **options):
    """Run on a recorder, to see the end of the optimizer itself; return also the best point in physical units."""
    optimizer = AugmentedLagrangianOptimizer(**options)
    vector = problem.vector(derivatives=optimizer.derivative_options)
    recorder = Recorder(vector)
    outcome = optimizer.run(recorder, recorder.begin(derivatives=True))
    return recorder, outcome, vector.space.physical(recorder.best_x)


# Hock, Schittkowski (1981), Test Examples for Nonlinear Programming Codes; minima in closed form where there is one.
CASES = {
    "HS6": {
        "loss": lambda x: (1 - x[0]) ** 2,
        "start": [-1.2, 1.0],
        "equal": [lambda x: 10 * (x[1] - x[0] ** 2)],
        "minimum": 0.0,
    },
    "HS7": {
        "loss": lambda x: jnp.log(1 + x[0] ** 2) - x[1],
        "start": [2.0, 2.0],
        "equal": [lambda x: (1 + x[0] ** 2) ** 2 + x[1] ** 2 - 4],
        "minimum": -np.sqrt(3.0),
    },
    "HS26": {
        "loss": lambda x: (x[0] - x[1]) ** 2 + (x[1] - x[2]) ** 4,
        "start": [-2.6, 2.0, 2.0],
        "equal": [lambda x: (1 + x[1] ** 2) * x[0] + x[2] ** 4 - 3],
        "minimum": 0.0,
    },
    "HS27": {
        "loss": lambda x: 0.01 * (x[0] - 1) ** 2 + (x[1] - x[0] ** 2) ** 2,
        "start": [2.0, 2.0, 2.0],
        "equal": [lambda x: x[0] + x[2] ** 2 + 1],
        "minimum": 0.04,
    },
    "HS35": {
        "loss": lambda x: (
            9
            - 8 * x[0]
            - 6 * x[1]
            - 4 * x[2]
            + 2 * x[0] ** 2
            + 2 * x[1] ** 2
            + x[2] ** 2
            + 2 * x[0] * x[1]
            + 2 * x[0] * x[2]
        ),
        "start": [0.5, 0.5, 0.5],
        "above": [lambda x: 3 - x[0] - x[1] - 2 * x[2]],
        "lower": 0.0,
        "minimum": 1.0 / 9.0,
    },
    "HS39": {
        "loss": lambda x: -x[0],
        "start": [2.0, 2.0, 2.0, 2.0],
        "equal": [lambda x: x[1] - x[0] ** 3 - x[2] ** 2, lambda x: x[0] ** 2 - x[1] - x[3] ** 2],
        "minimum": -1.0,
    },
    "HS40": {
        "loss": lambda x: -x[0] * x[1] * x[2] * x[3],
        "start": [0.8, 0.8, 0.8, 0.8],
        "equal": [
            lambda x: x[0] ** 3 + x[1] ** 2 - 1,
            lambda x: x[0] ** 2 * x[3] - x[2],
            lambda x: x[3] ** 2 - x[1],
        ],
        "minimum": -0.25,
    },
    "HS43": {
        "loss": lambda x: (
            x[0] ** 2 + x[1] ** 2 + 2 * x[2] ** 2 + x[3] ** 2 - 5 * x[0] - 5 * x[1] - 21 * x[2] + 7 * x[3]
        ),
        "start": [0.0, 0.0, 0.0, 0.0],
        "above": [
            lambda x: 8 - jnp.sum(x**2) - x[0] + x[1] - x[2] + x[3],
            lambda x: 10 - x[0] ** 2 - 2 * x[1] ** 2 - x[2] ** 2 - 2 * x[3] ** 2 + x[0] + x[3],
            lambda x: 5 - 2 * x[0] ** 2 - x[1] ** 2 - x[2] ** 2 - 2 * x[0] + x[1] + x[3],
        ],
        "minimum": -44.0,
    },
    "HS71": {
        "loss": lambda x: x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2],
        "start": [1.0, 5.0, 5.0, 1.0],
        "above": [lambda x: x[0] * x[1] * x[2] * x[3] - 25],
        "equal": [lambda x: jnp.sum(x**2) - 40],
        "lower": 1.0,
        "upper": 5.0,
        "minimum": 17.0140173,
    },
    "HS100": {
        "loss": lambda x: (
            (x[0] - 10) ** 2
            + 5 * (x[1] - 12) ** 2
            + x[2] ** 4
            + 3 * (x[3] - 11) ** 2
            + 10 * x[4] ** 6
            + 7 * x[5] ** 2
            + x[6] ** 4
            - 4 * x[5] * x[6]
            - 10 * x[5]
            - 8 * x[6]
        ),
        "start": [1.0, 2.0, 0.0, 4.0, 0.0, 1.0, 1.0],
        "above": [
            lambda x: 127 - 2 * x[0] ** 2 - 3 * x[1] ** 4 - x[2] - 4 * x[3] ** 2 - 5 * x[4],
            lambda x: 282 - 7 * x[0] - 3 * x[1] - 10 * x[2] ** 2 - x[3] + x[4],
            lambda x: 196 - 23 * x[0] - x[1] ** 2 - 6 * x[5] ** 2 + 8 * x[6],
            lambda x: -4 * x[0] ** 2 - x[1] ** 2 + 3 * x[0] * x[1] - 2 * x[2] ** 2 - 5 * x[5] + 11 * x[6],
        ],
        "minimum": 680.6300573,
    },
}


def case(name, **changes):
    given = {key: value for key, value in CASES[name].items() if key != "minimum"}
    return posed(**{**given, **changes})


@pytest.mark.parametrize("name", CASES)
def test_known_minimum_is_reached(name):
    recorder, outcome, _ = solved(case(name))
    assert recorder.best.violation <= 1.0
    # The book gives nine digits.
    assert_allclose(recorder.best.cost, CASES[name]["minimum"], rtol=1e-7, atol=1e-8)
    # Newton's method is linear at a minimum of fourth order, as that of HS26.
    assert outcome.message.startswith(("gtol", "xtol") if name == "HS26" else "gtol")


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("name", ["HS7", "HS43", "HS71"])
def test_unit_of_the_constraints_does_not_matter(name, factor):
    _, first, plain = solved(case(name))
    _, second, other = solved(case(name, factor=factor))
    assert_allclose(other, plain, rtol=1e-9, atol=1e-9)
    assert_allclose(factor * second.multipliers, first.multipliers, rtol=1e-6, atol=1e-9)


def test_minimum_variance_portfolio_has_its_exact_weights_and_multipliers():
    covariance = np.array([[0.04, 0.01, 0.005], [0.01, 0.09, 0.02], [0.005, 0.02, 0.16]])
    returns = np.array([0.08, 0.12, 0.15])
    for start in ([1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]):
        problem = posed(
            lambda w: w @ covariance @ w,
            start,
            equal=[lambda w: jnp.sum(w) - 1.0],
            above=[lambda w: returns @ w - 0.1],
            lower=0.0,
            upper=1.0,
        )
        recorder, outcome, x = solved(problem)
        assert_allclose(x, np.array([121, 46, 30]) / 197, atol=1e-9)
        assert_allclose(recorder.best.cost, 57 / 1970, atol=1e-12)
        # Lagrange's conditions 2 C w + a + b r = 0 solved for a and b in rational numbers: -89/1970 and -25/197.
        assert_allclose(outcome.multipliers, [-89 / 1970, -25 / 197], atol=1e-9)


def test_nearest_point_of_a_circle_is_on_the_ray():
    aim = np.array([3.0, -4.0])
    objective = FunctionObjective(lambda p: p["x"] - aim, variables([0.3, 0.2]))
    circle = NonlinearEquality(lambda p: jnp.sum(p["x"] ** 2), 1.0)
    _, outcome, x = solved(Problem(objective, constraints=[circle]))
    assert_allclose(x, aim / 5.0, atol=1e-10)
    # x - a + 2 y x = 0 at x = a / 5.
    assert_allclose(outcome.multipliers, [2.0], atol=1e-9)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_linear_least_squares_with_equalities_solves_the_kkt_system(seed):
    rng = np.random.default_rng(seed)
    A, b, C, d = rng.normal(size=(8, 4)), rng.normal(size=8), rng.normal(size=(2, 4)), rng.normal(size=2)
    exact = np.linalg.solve(np.block([[A.T @ A, C.T], [C, np.zeros((2, 2))]]), np.concatenate([A.T @ b, d]))
    # In NumPy, with given derivatives: nothing is compiled for an example.
    objective = FunctionObjective(lambda p: A @ p["x"] - b, variables(np.zeros(4)), derivatives=lambda p: A)
    rows = NonlinearEquality(lambda p: C @ p["x"], d, name="rows", derivatives=lambda p: C)
    _, outcome, x = solved(Problem(objective, constraints=[rows]))
    assert_allclose(x, exact[:4], rtol=1e-7, atol=1e-7)
    assert_allclose(outcome.multipliers, exact[4:], rtol=1e-6, atol=1e-6)


def test_inequality_that_does_not_hold_anything_has_no_multiplier():
    problem = posed(lambda x: jnp.sum((x - 1.0) ** 2), [3.0, 3.0], above=[lambda x: 10.0 - jnp.sum(x**2)])
    _, outcome, x = solved(problem)
    assert_allclose(x, 1.0, atol=1e-9)
    assert_allclose(outcome.multipliers, 0.0, atol=1e-12)


def test_constraint_between_two_limits_holds_the_nearer_one():
    objective = ScalarObjective(lambda p: jnp.sum((p["x"] - 5.0) ** 2), variables([0.0, 0.0]))
    band = NonlinearInequality(lambda p: jnp.sum(p["x"]), lower=-1.0, upper=2.0)
    _, outcome, x = solved(Problem(objective, constraints=[band]))
    assert_allclose(x, 1.0, atol=1e-9)
    # 2 (1 - 5) + y = 0, positive at the upper limit.
    assert_allclose(outcome.multipliers, [8.0], atol=1e-8)


def test_constraints_that_depend_on_each_other_are_solved():
    circle = lambda x: jnp.sum(x**2) - 2.0  # noqa: E731
    problem = posed(lambda x: x[0] + x[1], [1.0, 0.0], equal=[circle, lambda x: 3.0 * circle(x)])
    _, outcome, x = solved(problem)
    assert_allclose(x, [-1.0, -1.0], atol=1e-9)
    # 1 + (y_0 + 3 y_1) 2 x = 0 at x = -1.
    assert_allclose(outcome.multipliers @ [1.0, 3.0], 0.5, atol=1e-9)


def test_constraints_that_contradict_each_other_are_reported():
    problem = posed(lambda x: jnp.sum(x**2), [0.5, 0.7], above=[lambda x: x[0] - 1.0, lambda x: -1.0 - x[0]])
    recorder, outcome, _ = solved(problem)
    assert "cannot be met" in outcome.message
    assert recorder.best.violation > 1.0


def test_constraint_without_solution_is_reported():
    problem = posed(lambda x: jnp.sum((x - 1) ** 2), [2.0, 2.0], equal=[lambda x: jnp.sum(x**2) + 1.0])
    _, outcome, _ = solved(problem)
    assert "cannot be met" in outcome.message


@settings(deadline=None, max_examples=10)
@given(start=st.lists(st.integers(0, 8).map(lambda quarters: quarters / 4.0), min_size=2, max_size=2))
def test_every_evaluation_is_inside_the_bounds(start):
    def loss(p):
        assert np.all((p["x"] >= 0.0) & (p["x"] <= 2.0))
        return float(np.sum((p["x"] - [3.0, -1.0]) ** 2))

    objective = ScalarObjective(
        loss, variables(start, lower=0.0, upper=2.0), derivatives=lambda p: 2.0 * (p["x"] - [3.0, -1.0])
    )
    ring = NonlinearEquality(lambda p: np.sum(p["x"] ** 2), 2.25, derivatives=lambda p: 2.0 * p["x"][None, :])
    _, _, x = solved(Problem(objective, constraints=[ring]))
    assert_allclose(x, [1.5, 0.0], atol=1e-8)


def test_objective_that_fails_away_from_the_start_is_survived():
    problem = posed(lambda x: -jnp.sum(jnp.log(x)), [0.1, 0.1], equal=[lambda x: x[0] + 2.0 * x[1] - 3.0])
    _, _, x = solved(problem)
    # Lagrange: 1 / x_0 = y, 1 / x_1 = 2 y.
    assert_allclose(x, [1.5, 0.75], atol=1e-8)


def test_objective_without_lower_bound_is_held_by_its_constraints():
    problem = posed(lambda x: -(x[0] ** 3) - x[1] ** 3, [0.3, 0.1], equal=[lambda x: jnp.sum(x**2) - 1.0], lower=-2.0)
    recorder, _, _ = solved(problem)
    assert_allclose(recorder.best.cost, -1.0, atol=1e-9)


def test_least_squares_stays_least_squares_inside():
    objective = FunctionObjective(
        lambda p: jnp.stack([10.0 * (p["x"][1] - p["x"][0] ** 2), 1.0 - p["x"][0]]), variables([-1.2, 1.0])
    )
    disc = NonlinearInequality(lambda p: jnp.sum(p["x"] ** 2), upper=1.5)
    problem = Problem(objective, constraints=[disc])
    ours = AugmentedLagrangianOptimizer().optimize(problem)
    theirs = ScipyOptimizer("SLSQP", ftol=1e-15).optimize(problem)
    assert ours.success
    assert_allclose(ours.x["x"], theirs.x["x"], atol=1e-6)


@pytest.mark.parametrize("inner", [ScipyOptimizer("L-BFGS-B"), ScipyOptimizer("TNC")])
def test_inner_optimizer_can_be_chosen(inner):
    recorder, _, _ = solved(case("HS7"), optimizer=inner)
    assert_allclose(recorder.best.cost, -np.sqrt(3.0), atol=1e-8)


def test_derivatives_of_the_augmented_lagrangian_are_those_of_its_values():
    problem = case("HS71").vector()
    recorder = Recorder(problem)
    x = np.array([1.5, 4.0, 3.5, 1.4])
    shifts = Shifts(problem.constraints.lower, problem.constraints.upper, np.array([0.7, -0.4]), np.array([2.0, 3.0]))
    augmented = AugmentedProblem(recorder, x, recorder.evaluate(x, None), shifts)
    found = augmented.evaluate(x, augmented.initial_state())
    steps = 1e-5 * np.eye(4)
    around = [[augmented.evaluate(x + sign * e, found.state) for sign in (1.0, -1.0)] for e in steps]
    slopes = [(ahead.cost - behind.cost) / 2e-5 for ahead, behind in around]
    seconds = [(ahead.gradient - behind.gradient) / 2e-5 for ahead, behind in around]
    assert_allclose(found.gradient, slopes, rtol=1e-7)
    assert_allclose(augmented.hessian(x, found.state), seconds, rtol=1e-6, atol=1e-6)


def test_newton_brings_a_near_point_to_rounding():
    # A start of ones, which makes all scales 1.
    recorder = Recorder(case("HS71", start=[1.0, 1.0, 1.0, 1.0]).vector())
    # The solution to three digits, from the book.
    x = np.array([1.0, 4.743, 3.821, 1.379])
    found = newton_kkt(recorder, x, recorder.evaluate(x, None), np.array([0.16, -0.55]))
    assert found.residual <= 1e-14
    assert_allclose(found.x, [1.0, 4.7429994, 3.8211503, 1.3794082], atol=1e-7)
    assert recorder.n_evaluations <= 5


def test_newton_does_not_approach_a_maximum():
    problem = posed(lambda x: x[0] + x[1], [0.99, 1.01], equal=[lambda x: jnp.sum(x**2) - 2.0]).vector()
    recorder = Recorder(problem)
    found = newton_kkt(recorder, problem.x0, recorder.begin(derivatives=True), np.array([-0.5]))
    assert found.n_steps == 0


def test_budget_counts_every_evaluation():
    result = AugmentedLagrangianOptimizer().optimize(case("HS100"), observers=[Budget(evaluations=7)])
    assert result.n_evaluations == 7
    assert result.message == "the budget of 7 evaluations is spent"


def test_observers_hear_every_turn_with_its_violation():
    steps = []
    result = AugmentedLagrangianOptimizer().optimize(case("HS26"), observers=[steps.append])
    assert [step.iteration for step in steps] == list(range(result.n_iterations + 1))
    # The start violates 3 = (1 + x1^2) x0 + x2^4 by ten, in units of a tolerance of 1e-8; the end holds it.
    assert_allclose(steps[0].violation, abs(5.0 * -2.6 + 16.0 - 3.0) / 1e-8, atol=1e-3)
    assert steps[-1].violation <= 1.0


def test_problem_without_constraints_is_left_to_the_inner_optimizer():
    problem = Problem(ScalarObjective(lambda p: jnp.sum((p["x"] - 2.0) ** 2), variables([0.0])))
    result = AugmentedLagrangianOptimizer().optimize(problem)
    assert result.success
    assert_allclose(result.x["x"], 2.0)


def test_linear_constraints_and_sums_are_taken():
    parameters = Parameters([Parameter(name, 0.2, lower=0.0, upper=1.0) for name in "abc"])
    objective = ScalarObjective(lambda p: (p["a"] - 1.0) ** 2 + (p["b"] - 1.0) ** 2 + p["c"] ** 2, parameters)
    problem = Problem(objective, constraints=[SumTo("*", 1.0), LinearInequality({"a": 1.0}, upper=0.25)])
    result = AugmentedLagrangianOptimizer().optimize(problem)
    assert result.success
    assert_allclose([float(result.x[name]) for name in "abc"], [0.25, 0.75, 0.0], atol=1e-9)


@pytest.mark.parametrize(
    "options", [{"maxiter": 0}, {"gtol": -1.0}, {"ctol": 0.0}, {"initial_penalty": np.inf}, {"ftol": 1.0}]
)
def test_option_that_cannot_be_is_refused(options):
    with pytest.raises(SettingsError):
        AugmentedLagrangianOptimizer(**options)


def test_maxiter_is_said():
    _, outcome, _ = solved(case("HS100"), maxiter=1, gtol=None, optimizer=ScipyOptimizer("L-BFGS-B", maxiter=3))
    assert outcome.message == "maxiter reached: 1"


def narrow_band(width):
    """Minimise |x - (3, 4)|^2 with x_0 = x_1 but for a width, twice; the start is inside."""
    objective = FunctionObjective(lambda p: p["x"] - jnp.array([3.0, 4.0]), variables([0.3, 0.3]))
    band = NonlinearInequality(lambda p: p["x"][0] ** 3 - p["x"][1] ** 3, lower=-width, upper=width, name="band")
    return Problem(objective, constraints=[band])


@pytest.mark.parametrize("width", [1e-2, 1e-4, 1e-6])
def test_a_run_does_not_stay_in_a_narrow_range_where_it_began(width):
    _, outcome, x = solved(narrow_band(width))
    # On x_1^3 = x_0^3 + w the distance is least near (3.5, 3.5), where the normal is (1, -1) but for w.
    assert_allclose(x, 3.5, atol=width)
    assert_allclose(x[0] ** 3 - x[1] ** 3, -width, rtol=1e-3)
    # x - a + y c' = 0 with c' = 3 x^2 (1, -1).
    assert_allclose(outcome.multipliers, [-0.5 / (3.0 * 3.5**2)], rtol=10.0 * width)
    assert outcome.n_iterations <= 4


def test_a_run_ends_at_the_first_turn_at_which_the_tests_of_the_call_hold():
    # Loose tests, and no second derivatives to end it earlier.
    loose = {"gtol": None, "ftol": 1e-4, "xtol": 1e-3}
    _, early, _ = solved(case("HS27"), **loose)
    _, late, _ = solved(case("HS27"), gtol=None, ftol=1e-13, xtol=1e-12)
    assert early.message.startswith(("ftol", "xtol"))
    assert early.n_iterations < late.n_iterations


def test_a_target_that_is_reached_ends_the_run():
    recorder, outcome, _ = solved(case("HS26"), gtol=None, ftol=None, xtol=None, target_cost=1e-4)
    assert outcome.message.startswith("target_cost")
    assert 0.0 <= recorder.best.cost <= 1e-4
    assert recorder.best.violation <= 1.0


def test_nothing_is_compiled_for_second_derivatives_of_squares(monkeypatch):
    monkeypatch.setattr(Recorder, "hessian", lambda *_: pytest.fail("a Hessian was asked for"))
    monkeypatch.setattr(Recorder, "constraint_hessian", lambda *_: pytest.fail("a Hessian was asked for"))
    _, outcome, x = solved(narrow_band(1e-3))
    assert outcome.message.startswith("gtol")
    assert_allclose(x, 3.5, atol=1e-3)
