"""The projection onto solutions of an equality."""

import pickle

import cloudpickle
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inner_models import N_GROUPS, N_MASSES, chain, cubic, cubic_root, differences
from numpy.testing import assert_allclose, assert_array_equal

import fieldfit
from fieldfit import FunctionObjective, LinearEquality, Parameter, Parameters, Problem, ScalarObjective
from fieldfit.errors import ConstraintError, EvaluationError, ParameterError, SettingsError
from fieldfit.objectives import ObjectiveFunction
from fieldfit.projections import InnerOptions, ProximalObjective


def distance_of_x(target=2.0):
    return FunctionObjective(lambda p: p["x"] - target, {"x": 0.5})


def at(objective, values, state=None, *, derivatives=True):
    state = objective.initial_state() if state is None else state
    return objective.evaluate(np.array(values, dtype=float), state, derivatives=derivatives)


CUBIC = ProximalObjective(distance_of_x(), cubic(), inner="x")


@given(st.floats(-50.0, 50.0))
def test_the_value_is_that_at_the_root(y):
    found = at(CUBIC, [y])
    root = cubic_root(y)
    assert_allclose(found.residuals, [root - 2.0], atol=1e-12)
    # By the implicit function theorem, dx/dy = 1 / (3 x^2 + 1).
    assert_allclose(found.jacobian, [[1.0 / (3.0 * root**2 + 1.0)]], rtol=1e-9)


@given(st.lists(st.floats(-20.0, 20.0), min_size=1, max_size=6))
def test_without_history(path):
    """The value at a point does not depend on the points before it."""
    state = CUBIC.initial_state()
    for y in path:
        state = at(CUBIC, [y], state).state
    found, fresh = at(CUBIC, [1.5], state), at(CUBIC, [1.5])
    assert_allclose(found.residuals, fresh.residuals, rtol=1e-12)
    assert_allclose(found.jacobian, fresh.jacobian, rtol=1e-9)


def test_same_values_and_state_give_the_same_bits():
    objective, wanted = chain()
    state = at(objective, np.ones(N_GROUPS)).state
    once, again = (at(objective, wanted, state) for _ in range(2))
    assert_array_equal(once.residuals, again.residuals)
    assert_array_equal(once.jacobian, again.jacobian)
    # Neither evaluation changed the state that both began from.
    assert_array_equal(state.solutions[0].outer, np.ones(N_GROUPS))


def test_a_second_evaluation_at_one_point_solves_nothing():
    objective, wanted = chain()
    trial = at(objective, wanted, derivatives=False)
    again = at(objective, wanted, trial.state)
    assert again.state.solutions[0].model is trial.state.solutions[0].model
    assert_array_equal(again.residuals, trial.residuals)


def test_derivatives_are_left_out_where_they_are_not_wanted():
    found = at(CUBIC, [3.0], derivatives=False)
    assert found.jacobian is None
    assert found.gradient is None
    assert_allclose(found.residuals, [cubic_root(3.0) - 2.0], atol=1e-12)


def test_a_linear_inner_problem_has_the_jacobian_of_its_closed_form():
    rng = np.random.default_rng(1)
    A, B, C = rng.normal(size=(4, 4)), rng.normal(size=(4, 3)), rng.normal(size=(6, 4))
    D, shift = rng.normal(size=(6, 3)), rng.normal(size=4)
    equality = FunctionObjective(lambda p: A @ p["x"] + B @ p["y"] + shift, {"x": np.zeros(4), "y": np.ones(3)})
    outcome = FunctionObjective(lambda p: C @ p["x"] + D @ p["y"], {"x": np.zeros(4), "y": np.ones(3)})
    objective = ProximalObjective(outcome, equality, inner="x")
    y = np.array([0.3, -2.0, 5.0])
    found = at(objective, y)
    solution = -np.linalg.solve(A, B @ y + shift)
    assert_allclose(found.residuals, C @ solution + D @ y, rtol=1e-11)
    assert_allclose(found.jacobian, D - C @ np.linalg.solve(A, B), rtol=1e-11)
    # From there a neighbour is predicted exactly, and one evaluation sees that it is solved.
    assert at(objective, y + 0.1, found.state).state.solutions[0].n_evaluations == 1


def test_inner_values_and_the_distance_are_reported():
    state = at(CUBIC, [10.0]).state
    assert_allclose(CUBIC.inner_values(state)["x"], 2.0, rtol=1e-12)
    (report,) = CUBIC.inner_reports(state)
    assert report.distance < 1e-12
    assert report.rank == report.n_variables == 1
    assert str(report).startswith("equality: ||F|| = ")


def overdetermined(shift=-2.0, **kinds):
    """Residuals x - y and x^2 + shift, which cannot both be zero."""
    return FunctionObjective(lambda p: jnp.array([p["x"] - p["y"], p["x"] ** 2 + shift]), {"x": 1.0, "y": 1.5}, **kinds)


def overdetermined_jacobian(p):
    return np.array([[1.0, -1.0], [2.0 * p["x"], 0.0]])


def least_squares_root(y, shift=-2.0):
    """Minimum of (x - y)^2 + (x^2 + shift)^2: the best root of its derivative, 2 x^3 + (1 + 2 shift) x - y = 0."""
    roots = np.roots([2.0, 0.0, 1.0 + 2.0 * shift, -y])
    roots = roots[abs(roots.imag) < 1e-12].real
    return roots[np.argmin((roots - y) ** 2 + (roots**2 + shift) ** 2)]


@pytest.mark.parametrize("way", ["jax", "differences", "auto"])
def test_an_equality_that_cannot_be_met_is_solved_by_least_squares(way):
    equality = overdetermined(derivatives=overdetermined_jacobian) if way == "auto" else overdetermined()
    options = InnerOptions(second_derivatives=way)
    objective = ProximalObjective(distance_of_x(), equality, inner="x", options=options)
    found = at(objective, [3.0])
    root = least_squares_root(3.0)
    assert_allclose(found.residuals, [root - 2.0], rtol=1e-9)
    # From 2 x^3 - 3 x = y: dx/dy = 1 / (6 x^2 - 3), which differs from -F_x^+ F_y = 1 / (1 + 4 x^2).
    assert_allclose(found.jacobian, [[1.0 / (6.0 * root**2 - 3.0)]], rtol=1e-8)
    (report,) = objective.inner_reports(found.state)
    assert_allclose(report.distance, np.hypot(root - 3.0, root**2 - 2.0), rtol=1e-8)


def test_without_curvature_the_jacobian_is_that_of_gauss_and_newton():
    options = InnerOptions(second_derivatives="none")
    objective = ProximalObjective(distance_of_x(), overdetermined(), inner="x", options=options)
    found = at(objective, [3.0])
    root = least_squares_root(3.0)
    assert_allclose(found.residuals, [root - 2.0], rtol=1e-9)
    assert_allclose(found.jacobian, [[1.0 / (1.0 + 4.0 * root**2)]], rtol=1e-8)


def test_second_derivatives_speed_up_a_solve_that_cannot_reach_zero():
    """Steps of Gauss and Newton grow by 1.1 near this solution, where F F'' is larger than F'^2."""
    counts = {}
    for use in ("jax", "none"):
        options = InnerOptions(second_derivatives=use, max_steps=1000)
        objective = ProximalObjective(distance_of_x(), overdetermined(shift=1.0), inner="x", options=options)
        found = at(objective, [3.0])
        assert_allclose(found.residuals, [least_squares_root(3.0, 1.0) - 2.0], rtol=1e-6)
        counts[use] = found.state.solutions[0].n_evaluations
    assert counts["jax"] < 0.7 * counts["none"], counts


def test_a_solve_arrives_where_steps_without_second_derivatives_move_away():
    # With d = x - y, (d + 1)^2 + (-3 d^2 + d - 1)^2 is smallest at d = 0, but near it a Gauss-Newton step makes d -3 d
    # (Dennis, Schnabel 1983, section 10.2).
    equality = FunctionObjective(
        lambda p: jnp.stack([p["x"] - p["y"] + 1.0, -3.0 * (p["x"] - p["y"]) ** 2 + p["x"] - p["y"] - 1.0]),
        {"x": 0.003, "y": 0.0},
    )
    objective = ProximalObjective(distance_of_x(), equality, inner="x")
    state = objective.initial_state()
    for y in (0.0, 0.01, 0.02):
        found = at(objective, [y], state)
        # The minimum is one of squares whose rounding hides steps below 1e-8.
        assert_allclose(found.residuals, [y - 2.0], atol=1e-8)
        assert_allclose(found.jacobian, [[1.0]], rtol=1e-6)
        state = found.state


def test_a_scalar_objective_has_the_gradient_of_the_chain_rule():
    loss = ScalarObjective(lambda p: (p["x"] - 2.0) ** 2 + p["y"], {"x": 0.5, "y": 1.0})
    objective = ProximalObjective(loss, cubic(), inner="x")
    found = at(objective, [4.0])
    root = cubic_root(4.0)
    assert_allclose(found.cost, (root - 2.0) ** 2 + 4.0, rtol=1e-12)
    assert_allclose(found.gradient, [2.0 * (root - 2.0) / (3.0 * root**2 + 1.0) + 1.0], rtol=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_the_perturbation_is_accurate_to_its_order(order):
    """Halving the step divides the error of the prediction by 4 at first, by 8 at second order."""
    from fieldfit.projections.inner_solve import predict

    options = InnerOptions(order=order, trust_radius=10.0)
    objective = ProximalObjective(distance_of_x(), cubic(), inner="x", options=options)
    last = at(objective, [3.0]).state.solutions[0]
    problem = objective._problems[0]
    errors = []
    for step in 0.2 * 0.5 ** np.arange(4):
        z, _ = predict(problem, np.array([3.0 + step]), last, options)
        x = problem.coordinates.physical.at(z, np.array([3.0 + step]))[0]
        errors.append(abs(x - cubic_root(3.0 + step)))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert_allclose(orders[-1], order + 1, atol=0.1)


def test_the_perturbation_stays_within_its_radius():
    from fieldfit.projections.inner_solve import predict

    options = InnerOptions(order=1, trust_radius=0.1)
    objective = ProximalObjective(distance_of_x(), cubic(start=1.0), inner="x", options=options)
    last = at(objective, [2.0]).state.solutions[0]
    z, _ = predict(objective._problems[0], np.array([500.0]), last, options)
    size = objective._problems[0].coordinates.size(last.variables, last.outer)
    assert_allclose(np.abs(z - last.variables), 0.1 * size, rtol=1e-9)
    assert_allclose(at(objective, [500.0], at(objective, [2.0]).state).residuals, [cubic_root(500.0) - 2.0])


def test_the_jacobian_is_that_of_full_solves():
    objective, wanted = chain()
    found = at(objective, wanted + 0.05)
    expected = differences(objective, wanted + 0.05, objective.initial_state())
    assert_allclose(found.jacobian, expected[:, found.columns], atol=1e-8)


def test_the_jacobian_of_an_overdetermined_inner_problem_is_that_of_full_solves():
    rng = np.random.default_rng(3)
    A, b = rng.normal(size=(12, 4)), rng.normal(size=12)

    def residuals(p):
        return jnp.tanh(A @ p["x"]) + 0.3 * (A @ p["x"]) - b * p["y"][0] - p["y"][1] ** 2 * A[:, 0]

    start = {"x": 0.1 * np.ones(4), "y": np.array([1.0, 0.5])}
    equality = FunctionObjective(residuals, start)
    outcome = FunctionObjective(lambda p: jnp.concatenate([p["x"] ** 2, p["x"][:1] * p["y"]]), start)
    objective = ProximalObjective(outcome, equality, inner="x")
    y = np.array([1.3, -0.4])
    found = at(objective, y)
    assert objective.inner_reports(found.state)[0].distance > 0.1
    assert_allclose(found.jacobian, differences(objective, y, found.state), rtol=1e-6, atol=1e-8)


def test_boundary_rows_that_depend_on_outer_parameters_are_eliminated():
    """sum(x) = edge holds exactly, and the rest of x balances springs: x_i = edge / 3 for equal ones."""
    start = {"x": np.array([0.2, 0.3, 0.5]), "edge": 1.0}
    springs = FunctionObjective(lambda p: jnp.diff(p["x"] + p["x"] ** 3), {"x": start["x"]})
    outcome = FunctionObjective(lambda p: p["x"] * p["edge"], start)
    row = LinearEquality({"x": [1.0, 1.0, 1.0], "edge": -1.0}, 0.0)
    objective = ProximalObjective(outcome, springs, inner="x", linear=[row])
    found = at(objective, [6.0])
    x = objective.inner_values(found.state)["x"]
    assert_allclose(x, 2.0, rtol=1e-12)
    assert_allclose(found.residuals, 12.0, rtol=1e-12)
    assert_allclose(found.jacobian[:, 0], 2.0 * 6.0 / 3.0, rtol=1e-10)
    # Between solutions, too: the row holds at the start of a solve before anything is solved.
    coordinates = objective._problems[0].coordinates
    assert_allclose(coordinates.physical.at(coordinates.start, np.array([9.0])).sum(), 9.0, rtol=1e-12)


def blocks(joint):
    parts = {
        name: FunctionObjective(
            lambda p, name=name, power=power: p[name] ** power + p[name] - p["y"] - p["w"],
            {name: 0.5, "y": 1.0, "w": 0.5},
        )
        for name, power in (("a", 3), ("b", 5))
    }
    outcome = FunctionObjective(lambda p: jnp.array([p["a"] * p["b"], p["b"] - p["y"]]), {"a": 0.5, "b": 0.5, "y": 1.0})
    return ProximalObjective(outcome, ObjectiveFunction(parts) if joint else parts, inner=["a", "b"])


def test_several_inner_problems_equal_the_joint_one():
    apart, joint = (at(blocks(together), [2.0, 0.7]) for together in (False, True))
    assert len(apart.state.solutions) == 2
    assert len(joint.state.solutions) == 1
    assert_allclose(apart.residuals, joint.residuals, rtol=1e-12)
    assert_allclose(apart.jacobian, joint.jacobian, rtol=1e-9)


def test_an_inner_problem_without_a_solution_fails_with_its_name():
    equality = FunctionObjective(lambda p: jnp.exp(p["x"]) + p["y"], {"x": 0.0, "y": -1.0})
    objective = ProximalObjective(distance_of_x(), {"growth": equality}, inner="x", options=InnerOptions(max_steps=30))
    assert_allclose(at(objective, [-np.e]).residuals, [-1.0], rtol=1e-10)
    with pytest.raises(EvaluationError, match="growth is not solved"):
        at(objective, [1.0])


def test_an_optimizer_steps_back_where_the_inner_problem_has_no_solution():
    """x = log(y) has no value for y <= 0, and a step of Gauss and Newton from y = 3 to x = -2 leads there."""
    equality = FunctionObjective(lambda p: jnp.exp(p["x"]) - p["y"], {"x": 1.0, "y": 3.0})
    options = InnerOptions(max_steps=30)
    objective = ProximalObjective(distance_of_x(-2.0), equality, inner="x", options=options)
    result = fieldfit.LeastSquaresOptimizer().optimize(objective)
    assert result.success
    assert result.failures
    assert_allclose(result.x["y"], np.exp(-2.0), rtol=1e-7)


def test_inner_bounds_are_walls_for_the_solve():
    """x^2 = y has two roots; a bound keeps the solve on the side of its start."""
    inner = Parameters([Parameter("x", 0.1, lower=0.0), Parameter("y", 4.0)])
    objective = ProximalObjective(distance_of_x(), FunctionObjective(lambda p: p["x"] ** 2 - p["y"], inner), inner="x")
    assert_allclose(at(objective, [9.0]).residuals, [1.0], rtol=1e-10)


@pytest.mark.parametrize(
    "optimizer",
    [
        fieldfit.LeastSquaresOptimizer(),
        fieldfit.TrustRegionOptimizer(),
        fieldfit.ScipyOptimizer("L-BFGS-B", ftol=1e-14),
    ],
    ids=lambda optimizer: optimizer.name,
)
def test_optimizers_find_the_minimum_inside_bounds(optimizer):
    problem = Problem(CUBIC, bounds={"y": (-5.0, 20.0)})
    assert_allclose(optimizer.optimize(problem).x["y"], 10.0, rtol=1e-4)
    held = optimizer.optimize(Problem(CUBIC, bounds={"y": (-5.0, 4.0)}))
    assert held.success
    assert_allclose(held.x["y"], 4.0)
    assert_allclose(CUBIC.inner_values(held.state)["x"], cubic_root(4.0), rtol=1e-10)


def test_rest_lengths_of_a_chain_are_recovered_with_few_inner_evaluations():
    objective, wanted = chain()
    result = fieldfit.LeastSquaresOptimizer().optimize(objective)
    assert result.success
    assert_allclose(result.x["rest"], wanted, atol=1e-6)
    assert objective.inner_values(result.state)["place"].shape == (N_MASSES,)


def test_a_warm_solve_takes_fewer_evaluations_than_a_cold_one():
    objective, wanted = chain()
    near = at(objective, wanted).state
    warm = at(objective, wanted + 1e-3, near).state.solutions[0]
    cold = at(objective, wanted + 1e-3).state.solutions[0]
    assert warm.n_evaluations <= 3 < cold.n_evaluations


def test_the_first_solve_may_be_that_of_an_optimizer():
    """From far away, the solve of its own runs out of steps."""
    options = InnerOptions(max_steps=4)
    alone = ProximalObjective(distance_of_x(), cubic(), inner="x", options=options)
    with pytest.raises(EvaluationError, match="after 4 steps"):
        at(alone, [1e4])
    helped = ProximalObjective(
        distance_of_x(), cubic(), inner="x", options=options, solver=fieldfit.LeastSquaresOptimizer()
    )
    assert_allclose(at(helped, [1e4]).residuals, [cubic_root(1e4) - 2.0], rtol=1e-10)


def test_fixed_outer_parameters_have_no_columns():
    objective = Problem(blocks(joint=False), Parameters([Parameter("y", 1.0), Parameter("w", 0.5, fixed=True)]))
    prepared = objective.vector().objective
    found = at(prepared, [1.0, 0.5])
    assert_array_equal(found.columns, [0])
    assert found.jacobian.shape == (2, 1)


def test_ties_of_outer_parameters_are_followed():
    tied = Parameters({"y": 2.0, "w": 0.5}).tie("w", "y", factor=2.0)
    vector = Problem(blocks(joint=False), tied).vector()
    found = vector.evaluate(vector.x0, vector.initial_state())
    plain = at(blocks(joint=False), [2.0, 4.0])
    assert_allclose(found.residuals, plain.residuals, rtol=1e-12)
    # x is y in units of its start, 2.
    assert_allclose(found.jacobian[:, 0], 2.0 * (plain.jacobian @ [1.0, 2.0]), rtol=1e-9)


def test_objectives_and_states_travel_to_other_processes():
    objective, _ = chain()
    found = at(objective, np.ones(N_GROUPS))
    made = pickle.loads(cloudpickle.dumps((objective, found.state)))
    assert_array_equal(at(made[0], np.ones(N_GROUPS)).residuals, found.residuals)


def test_undecided_inner_variables_take_the_shortest_steps():
    """Only a + b is decided: from (0, 0), the nearest solution of a + b = y is (y / 2, y / 2)."""
    start = {"a": Parameter("a", 0.0, scale=1.0), "b": Parameter("b", 0.0, scale=1.0), "y": Parameter("y", 1.0)}
    equality = FunctionObjective(lambda p: p["a"] + p["b"] - p["y"], Parameters(start.values()))
    outcome = FunctionObjective(lambda p: p["a"] + p["b"], {"a": 0.0, "b": 0.0})
    objective = ProximalObjective(outcome, equality, inner=["a", "b"])
    found = at(objective, [3.0])
    assert_allclose(list(objective.inner_values(found.state).values()), 1.5, rtol=1e-12)
    assert_allclose(found.jacobian, [[1.0]], rtol=1e-12)
    assert objective.inner_reports(found.state)[0].rank == 1
    assert "1 of 2 variables undecided" in str(objective.inner_reports(found.state)[0])


OTHER = FunctionObjective(lambda p: p["v"], {"v": 1.0})
START = {"x": 1.0, "y": 1.0}


@pytest.mark.parametrize(
    ("equality", "inner", "error", "message"),
    [
        (cubic(), ["x", "y"], ParameterError, "nothing is left to vary"),
        ({"one": cubic(), "two": cubic()}, "x", ParameterError, "in the equalities one, two"),
        ({"one": cubic(), "two": OTHER}, "x", ParameterError, "decides no inner parameter"),
        (ScalarObjective(lambda p: p["x"] * p["y"], START), "x", SettingsError, "no residuals"),
        (
            FunctionObjective(lambda p: p["x"] - p["y"], START, derivatives="differences"),
            "x",
            SettingsError,
            "no exact derivatives",
        ),
        (cubic(), "z", ParameterError, "'z'"),
    ],
)
def test_what_cannot_be_an_inner_problem_is_refused(equality, inner, error, message):
    outcome = distance_of_x()
    with pytest.raises(error, match=message):
        ProximalObjective(outcome, equality, inner=inner)


def test_an_inner_parameter_that_no_equality_names_is_refused():
    with pytest.raises(ParameterError, match="in no equality"):
        ProximalObjective(OTHER, cubic(), inner=["x", "v"])


def test_a_transformed_inner_parameter_is_refused():
    logged = Parameters([Parameter("x", 1.0, transform="log"), Parameter("y", 1.0)])
    equality = FunctionObjective(lambda p: p["x"] - p["y"], logged)
    with pytest.raises(ParameterError, match="transformed"):
        ProximalObjective(FunctionObjective(lambda p: p["y"], {"y": 1.0}), equality, inner="x")


def test_a_tie_across_the_border_is_refused():
    tied = Parameters({"x": 1.0, "y": 1.0, "w": 1.0}).tie("w", "x")
    equality = FunctionObjective(lambda p: p["x"] - p["y"] + p["w"], tied)
    with pytest.raises(ParameterError, match="tied to 'x'"):
        ProximalObjective(FunctionObjective(lambda p: p["y"], {"y": 1.0}), equality, inner="x")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([fieldfit.LinearInequality({"x": 1.0}, 0.0, 1.0)], "no linear equality"),
        ([LinearEquality({"y": 1.0}, 1.0)], "names no inner parameter"),
        ([LinearEquality({"x": 1.0, "y": -1.0}), LinearEquality({"x": 1.0})], "can only hold if the outer"),
        ([LinearEquality({"x": np.eye(3)}, np.zeros(3))], "nothing is left to meet the equality"),
    ],
)
def test_what_cannot_be_eliminated_is_refused(rows, message):
    equality = FunctionObjective(lambda p: jnp.diff(p["x"]) - p["y"], {"x": np.zeros(3), "y": 1.0})
    outcome = FunctionObjective(lambda p: p["x"], {"x": np.zeros(3)})
    with pytest.raises(ConstraintError, match=message):
        ProximalObjective(outcome, equality, inner="x", linear=rows)


@pytest.mark.parametrize("wrong", [{"order": 3}, {"tolerance": 0.0}, {"trust_radius": -1.0}, {"max_steps": 0}], ids=str)
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(SettingsError):
        InnerOptions(**wrong)
