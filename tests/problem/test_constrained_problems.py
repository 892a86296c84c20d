"""What counts as solved under constraints, and what a result says of them."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import (
    Budget,
    FunctionObjective,
    Goal,
    LeastSquaresOptimizer,
    LinearEquality,
    LinearInequality,
    MultiStartOptimizer,
    NonlinearEquality,
    NonlinearInequality,
    Parameter,
    Parameters,
    Problem,
    ScalarObjective,
    ScipyOptimizer,
    SumTo,
    fit,
)
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import AbstractObjective, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.optimizers.fallback import FallbackOptimizer, Stage
from fieldfit.problem import judge_constrained

ANY = np.full(2, 3.0)


def circle(radius=1.0, name="circle"):
    return NonlinearEquality(lambda p: p["x"] @ p["x"], radius**2, name=name)


def disc(radius=1.0):
    return NonlinearInequality(lambda p: p["x"] @ p["x"], upper=radius**2, name="disc")


def verdict_at(point, function, constraints, *, start=ANY, kind="loss", factor=1.0, **bounds):
    """Judge a point without any optimizer."""
    entries = [Parameter("x", np.asarray(start, dtype=float), scale=np.ones(len(start)), **bounds)]
    problem = Problem(lambda p: factor * function(p["x"]), entries, constraints=constraints, kind=kind)
    vector = problem.vector(eliminate=False)
    x = np.asarray(point, dtype=float)
    first = vector.evaluate(vector.x0, vector.initial_state()).cost
    return judge_constrained(vector, x, vector.evaluate(x, vector.initial_state()), first)[0]


S = np.sqrt(0.5)

TRUE_POINTS = {
    "a linear cost on a circle": ([-S, -S], lambda x: x[0] + x[1], circle()),
    "an active inequality": ([-S, -S], lambda x: x[0] + x[1], disc()),
    "an inactive inequality": ([0.1, 0.2], lambda x: (x[0] - 0.1) ** 2 + 3.0 * (x[1] - 0.2) ** 2, disc()),
    "a weakly active inequality": ([1.0, 0.0], lambda x: (x[0] - 1.0) ** 2 + x[1] ** 2, disc()),
    "a corner of lines": ([0.0, 0.0], lambda x: x[0] + 2.0 * x[1], LinearInequality({"x": np.eye(2)}, lower=0.0)),
    "a corner with a line too many": (
        [0.0, 0.0],
        lambda x: x[0] + 2.0 * x[1],
        LinearInequality({"x": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]}, lower=0.0),
    ),
    "a line": ([0.5, 0.5], lambda x: x @ x, SumTo("x", 1.0)),
    "a line said twice": ([0.5, 0.5], lambda x: x @ x, [SumTo("x", 1.0), LinearEquality({"x": 2.0}, 2.0)]),
    "a circle and a line through it": ([0.0, -1.0], lambda x: x[1], [circle(), LinearEquality({"x[0]": 1.0}, 0.0)]),
    "only the constraint bends": ([-1.0, 0.0], lambda x: x[0], circle()),
}


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("name", TRUE_POINTS)
def test_minima_are_converged_in_any_unit_of_the_cost(name, factor):
    point, function, constraints = TRUE_POINTS[name]
    assert verdict_at(point, function, constraints, factor=factor).word == "converged"


QUADRANT = LinearInequality({"x": np.eye(2)}, lower=0.0)
OUTSIDE = NonlinearInequality(lambda p: p["x"] @ p["x"], lower=1.0, name="outside")


def on_circle(angle):
    return [np.cos(angle), np.sin(angle)]


FALSE_POINTS = {
    "a little along the circle": (on_circle(1.25 * np.pi + 1e-3), lambda x: x[0] + x[1], circle()),
    "inside of the disc": ([0.0, 0.0], lambda x: x[0] + x[1], disc()),
    "a multiplier of the wrong sign": ([-S, -S], lambda x: x[0] + x[1], OUTSIDE),
    "a limit that holds nothing back": ([1.0, 0.0], lambda x: x[0] ** 2 + x[1] ** 2, disc()),
    "a corner one can leave": ([0.0, 0.0], lambda x: x[0] - 2.0 * x[1], QUADRANT),
    "a corner of three lines": ([0.0, 0.0], lambda x: x[0] - 2.0 * x[1], [QUADRANT, LinearInequality({"x": 1.0}, 0.0)]),
    "beside a maximum along the circle": (on_circle(0.25 * np.pi + 1e-3), lambda x: x[0] * x[1], circle()),
    "a slope along the circle": ([0.6, 0.8], lambda x: x[0], circle()),
}


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("name", FALSE_POINTS)
def test_other_points_are_not_converged_in_any_unit_of_the_cost(name, factor):
    point, function, constraints = FALSE_POINTS[name]
    verdict = verdict_at(point, function, constraints, factor=factor)
    assert verdict.word == "not converged"
    assert verdict.reason


SQUARES = {
    "a large residual that only the constraint bends": ([1.0, 0.0], lambda x: jnp.stack([x[0] - 3.0]), circle()),
    "large residuals": ([S, S], lambda x: jnp.stack([x[0] - 3.0, x[1] - 3.0]), circle()),
    "the largest distance inside a disc": ([S, S], lambda x: jnp.stack([x[0] - 3.0, x[1] - 3.0]), disc()),
    "no residual at all": ([0.6, 0.8], lambda x: jnp.stack([x[0] - 0.6, x[1] - 0.8]), circle()),
    "a vertex": ([0.0, 0.0], lambda x: x + 2.0, LinearInequality({"x": np.eye(2)}, lower=0.0)),
}


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("name", SQUARES)
def test_least_squares_under_constraints_are_converged_in_any_unit(name, factor):
    point, function, constraints = SQUARES[name]
    assert verdict_at(point, function, constraints, factor=factor, kind="residuals").word == "converged"


@pytest.mark.parametrize("angle", [0.05, -0.05, 3.0])
@pytest.mark.parametrize("name", ["large residuals", "no residual at all"])
def test_least_squares_elsewhere_on_the_circle_are_not(name, angle):
    (a, b), function, constraints = SQUARES[name]
    turned = [np.cos(angle) * a - np.sin(angle) * b, np.sin(angle) * a + np.cos(angle) * b]
    assert verdict_at(turned, function, constraints, kind="residuals").word == "not converged"


def test_bounds_and_constraints_count_together():
    def cost(x):
        return x[0] + x[1]

    # x0 >= -0.6 leaves the point (-0.6, -0.8) of the circle.
    options = {"start": [0.0, 1.0], "lower": [-0.6, -9.0], "upper": [9.0, 9.0]}
    assert verdict_at([-0.6, -0.8], cost, circle(), **options).word == "converged"
    assert verdict_at([-0.6, 0.8], cost, disc(), **options).word == "not converged"


def test_violated_constraints_are_named_in_the_users_words():
    verdict = verdict_at([2.0, 0.0], lambda x: x[0], [circle(name="on the circle"), SumTo("x", 2.0)])
    assert verdict.word == "not converged"
    assert "on the circle = 1: 4" in verdict.reason
    assert "sum of x" not in verdict.reason


@pytest.mark.parametrize("offset", [0.0, -50.0, 50.0])
def test_a_start_at_the_solution_is_a_success(offset):
    rule = LinearInequality({"x": 1.0}, lower=0.0)
    result = ScipyOptimizer("SLSQP").optimize(Problem(lambda p: p["x"] + offset, {"x": 0.0}, constraints=rule))
    assert result.success


def test_constraints_that_contradict_each_other_away_from_the_linear_ones_are_named():
    rules = [disc(), NonlinearInequality(lambda p: p["x"][0] * p["x"][1], lower=4.0, name="hyperbola")]
    stages = (Stage(ScipyOptimizer("SLSQP", maxiter=20)),)
    result = FallbackOptimizer(stages).optimize(
        Problem(lambda p: p["x"] @ p["x"], {"x": [1.0, 2.0]}, constraints=rules)
    )
    assert not result.success
    assert "disc" in result.verdict.reason
    assert "hyperbola" in result.verdict.reason
    assert "VIOLATED" in result.summary()
    assert result.violation > 0.1


def test_results_report_values_limits_and_multipliers():
    rules = [disc(np.sqrt(2.0)), LinearInequality({"x": [1.0, -1.0]}, upper=7.0, name="far")]
    result = fit(Problem(lambda p: p["x"][0] + p["x"][1], {"x": [0.5, 0.0]}, constraints=rules))
    disc_outcome, far = result.constraints
    assert (disc_outcome.name, far.name) == ("disc", "far")
    assert_allclose(disc_outcome.values, [2.0], atol=1e-7)
    # (1, 1) + lambda 2 (-1, -1) = 0.
    assert_allclose(disc_outcome.multipliers, [0.5], rtol=1e-6)
    assert_allclose(far.multipliers, [0.0])
    assert disc_outcome.is_active
    assert not far.is_active
    assert far.holds
    assert result.violation <= 1e-8
    assert set(result.multipliers) == {"disc", "far"}
    text = result.summary()
    assert "disc: 2 (<= 2, multiplier 0.5)" in text
    assert "far: " in text


def test_a_multiplier_is_the_price_of_its_limit():
    def best(radius):
        problem = Problem(
            lambda p: (p["x"][0] - 2.0) ** 2 + 2.0 * (p["x"][1] - 1.0) ** 2, {"x": [0.3, 0.2]}, constraints=disc(radius)
        )
        return fit(problem)

    here, step = best(1.0), 1e-4
    slope = (best(np.sqrt(1.0 + step)).fun - best(np.sqrt(1.0 - step)).fun) / (2.0 * step)
    assert_allclose(here.multipliers["disc"], [-slope], rtol=1e-5)


TIMES = np.linspace(0.0, 2.0, 12)
NOISE = np.random.default_rng(3).normal(size=12)


def restricted_covariance(jacobian, rows, rss):
    """Covariance of restricted least squares: s^2 Z (Z^T J^T J Z)^-1 Z^T, s^2 from m - (n - rows) degrees of freedom.

    Here by the inverse of the bordered matrix (Magnus, Neudecker 1988), which knows no null space.
    """
    n, m = jacobian.shape[1], len(rows)
    bordered = np.block([[jacobian.T @ jacobian, rows.T], [rows, np.zeros((m, m))]])
    return rss / (jacobian.shape[0] - n + m) * np.linalg.inv(bordered)[:n, :n]


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (-50.0, 50.0)])
def test_standard_errors_are_those_of_restricted_least_squares(bounds):
    J = np.stack([np.ones(12), TIMES, TIMES**2], axis=1)
    data = J @ [1.0, -2.0, 0.7] + 0.1 * NOISE
    row = np.array([[1.0, 1.0, 1.0]])
    entries = [Parameter(name, 0.5, lower=bounds[0], upper=bounds[1], scale=2.0) for name in "abc"]
    model = FunctionObjective(lambda p: p["a"] + p["b"] * TIMES + p["c"] * TIMES**2, entries, goal=Goal(target=data))
    result = fit(Problem(model, constraints=SumTo("*", -0.25)))
    expected = restricted_covariance(J, row, result.fun)
    assert_allclose(result.covariance(), expected, rtol=1e-5, atol=1e-12)
    assert_allclose(list(result.standard_errors.values()), np.sqrt(np.diag(expected)), rtol=1e-5)
    # The same fit with c written as what is left.
    substituted = FunctionObjective(
        lambda p: p["a"] + p["b"] * TIMES + (-0.25 - p["a"] - p["b"]) * TIMES**2, {"a": 0.5, "b": 0.5},
        goal=Goal(target=data),
    )  # fmt: skip
    alone = LeastSquaresOptimizer().optimize(substituted)
    assert_allclose(result.fun, alone.fun, rtol=1e-9)
    assert_allclose([result.standard_errors[name] for name in "ab"], list(alone.standard_errors.values()), rtol=1e-5)


def test_an_inactive_constraint_changes_no_standard_error_and_an_active_one_takes_a_direction():
    model = FunctionObjective(
        lambda p: p["a"] + p["b"] * TIMES, {"a": 1.0, "b": 1.0}, goal=Goal(target=1.0 + TIMES + 0.1 * NOISE)
    )
    free = LeastSquaresOptimizer().optimize(model)
    loose = fit(Problem(model, constraints=LinearInequality({"a": 1.0}, upper=9.0)))
    assert_allclose(loose.covariance(), free.covariance(), rtol=1e-5)
    tight = fit(Problem(model, constraints=LinearInequality({"a": 1.0}, upper=0.5)))
    assert tight.standard_errors["a"] == pytest.approx(0.0, abs=1e-12)
    slope = restricted_covariance(np.stack([np.ones(12), TIMES], axis=1), np.array([[1.0, 0.0]]), tight.fun)
    assert tight.standard_errors["b"] == pytest.approx(np.sqrt(slope[1, 1]), rel=1e-6)


def test_curved_constraints_have_standard_errors_along_their_tangent():
    model = FunctionObjective(
        lambda p: p["x"][0] + p["x"][1] * TIMES, {"x": [0.5, 0.5]}, goal=Goal(target=0.6 + 0.8 * TIMES + 0.01 * NOISE)
    )
    result = fit(Problem(model, constraints=circle()))
    x = result.x["x"]
    J = np.stack([np.ones(12), TIMES], axis=1)
    assert_allclose(result.covariance(), restricted_covariance(J, 2.0 * x[None, :], result.fun), rtol=1e-5, atol=1e-12)


def test_a_cost_of_zero_at_a_feasible_point_is_a_success():
    problem = Problem(
        lambda p: p["x"] - jnp.asarray([0.6, 0.8]), {"x": [1.0, 0.0]}, constraints=disc(), kind="residuals"
    )
    result = fit(problem)
    assert result.success
    assert_allclose(result.x["x"], [0.6, 0.8], atol=1e-6)


def test_one_variable_under_one_equality_is_a_corner():
    result = fit(Problem(lambda p: p["x"] ** 2, {"x": 3.0}, constraints=NonlinearEquality(lambda p: p["x"] ** 3, 8.0)))
    assert result.success
    assert float(result.x["x"]) == pytest.approx(2.0, abs=1e-8)
    # 2 x + lambda 3 x^2 = 0.
    assert_allclose(next(iter(result.multipliers.values())), [-1.0 / 3.0], rtol=1e-6)


def test_a_noisy_objective_is_not_called_solved():
    generator = np.random.default_rng(0)

    def noisy(p):
        return float(np.sum((np.asarray(p["x"]) - 2.0) ** 2) + 1e-3 * generator.normal())

    objective = ScalarObjective(noisy, {"x": [0.1, 0.2]}, derivatives="differences", is_noisy=True)
    result = fit(Problem(objective, constraints=disc()))
    assert result.verdict.word == "unverified"
    assert result.method == "scipy-COBYQA"
    assert_allclose(result.x["x"], [S, S], atol=0.1)
    assert result.violation < 1e-6


class Counting(AbstractObjective):
    """Residual x - 2 that counts its accepted evaluations in its state, as a relaxation keeps its geometry."""

    @property
    def parameters(self):
        return Parameters({"x": 1.0, "y": 1.0})

    @property
    def traits(self):
        return ObjectiveTraits(has_residuals=True, has_derivatives=True)

    def initial_state(self):
        return 0

    def evaluate(self, values, state, *, derivatives):
        x, y = values
        jacobian = np.array([[y, x]]) if derivatives else None
        return evaluation_from_residuals(np.array([x * y]), jacobian, state=state + 1)

    def term_slices(self):
        return {"area": slice(0, 1)}


def test_an_objective_with_state_can_be_held():
    rule = NonlinearInequality(Counting(), lower=4.0)
    problem = Problem(lambda p: p["x"] ** 2 + 4.0 * p["y"] ** 2, {"x": 3.0, "y": 3.0}, constraints=rule)
    result = fit(problem)
    # x = 2 y with x y = 4.
    assert_allclose([float(result.x["x"]), float(result.x["y"])], [np.sqrt(8.0), np.sqrt(2.0)], rtol=1e-6)
    assert result.success
    assert result.state is None


def test_budgets_end_a_constrained_run_and_the_best_point_counts():
    problem = Problem(lambda p: p["x"][0] + p["x"][1], {"x": [0.9, -0.3]}, constraints=disc())
    result = ScipyOptimizer("SLSQP").optimize(problem, observers=[Budget(evaluations=3)])
    assert result.n_evaluations == 3
    assert "3 evaluations" in result.message
    assert result.violation <= 1e-8


def test_what_holds_comes_before_what_is_low():
    # The start violates the disc and has a lower cost than any feasible point.
    problem = Problem(lambda p: p["x"][0] + p["x"][1], {"x": [-5.0, -5.0]}, constraints=disc())
    result = fit(problem)
    assert result.success
    assert result.fun == pytest.approx(-np.sqrt(2.0), abs=1e-7)
    assert result.fun > result.initial_score


def test_observers_hear_of_a_constrained_run():
    steps = []
    problem = Problem(lambda p: p["x"][0] + p["x"][1], {"x": [0.5, 0.0]}, constraints=disc())
    result = fit(problem, observers=[steps.append])
    assert [step.iteration for step in steps] == list(range(len(steps)))
    assert_allclose(steps[-1].values["x"], result.x["x"], atol=1e-6)


def cost_of_module(p):
    return jnp.sum(jnp.cos(3.0 * p["x"])) + jnp.sum(p["x"] ** 2)


def rule_of_module(p):
    return p["x"] @ p["x"]


def many_valleys():
    return Problem(
        cost_of_module,
        {"x": [0.3, -0.2]},
        bounds={"x": (-3.0, 3.0)},
        constraints=[NonlinearInequality(rule_of_module, lower=1.0, upper=4.0, name="ring"), SumTo("x", 0.5)],
    )


@pytest.mark.parametrize("workers", ["threads:2", "processes:2"])
def test_starts_over_workers_give_the_serial_answer_under_constraints(workers):
    optimizer = MultiStartOptimizer(ScipyOptimizer("SLSQP"), n_starts=4, seed=1)
    alone = optimizer.optimize(many_valleys())
    together = optimizer.optimize(many_valleys(), executor=workers)
    assert alone.final_params.tolist() == together.final_params.tolist()
    assert [run.best.cost for run in alone.runs] == [run.best.cost for run in together.runs]
    assert_allclose(together.multipliers["ring"], alone.multipliers["ring"], atol=1e-12)
    assert together.success
    assert together.violation <= 1e-7


def test_optimizers_that_take_no_constraints_say_who_does():
    problem = Problem(lambda p: p["x"] @ p["x"], {"x": [1.0, 1.0]}, constraints=circle())
    with pytest.raises(SettingsError, match=r"takes no constraints.*but there is circle. Use AugmentedLagrangian"):
        ScipyOptimizer("L-BFGS-B").optimize(problem)


def test_a_constraint_without_a_value_at_the_start_is_an_error():
    rule = NonlinearInequality(lambda p: jnp.log(p["x"]), lower=0.0, name="logarithm")
    problem = Problem(lambda p: p["x"] ** 2, {"x": -1.0}, constraints=rule)
    with pytest.raises(EvaluationError, match=r"at the start: constraint logarithm is not finite. Move the start"):
        ScipyOptimizer("SLSQP").optimize(problem)
