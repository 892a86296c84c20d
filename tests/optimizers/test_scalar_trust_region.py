import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import ALL

from fieldfit import FunctionObjective, Parameter, Parameters, Problem, ScalarObjective
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.optimizers.indefinite_steps import METHODS
from fieldfit.optimizers.scalar_model import first_scale, scalar_model, scale
from fieldfit.optimizers.scalar_trust_region import TrustRegionOptimizer
from fieldfit.problem import Recorder
from toys import Switching, Watched, rosenbrock, vector_objective

PROBLEMS = {problem.name: problem for problem in ALL}

methods = pytest.mark.parametrize("method", METHODS)


def scalar(problem, factor=1.0, offset=0.0):
    """Return a test problem as a scalar that knows its gradient."""
    start = np.clip(problem.start, problem.lower, problem.upper)
    parameters = Parameters([Parameter("x", start, lower=problem.lower, upper=problem.upper)])

    def loss(p):
        f, _ = problem.function(p["x"])
        return factor * (0.5 * f @ f + offset)

    def gradient(p):
        f, J = problem.function(p["x"])
        return factor * (J.T @ f)

    return ScalarObjective(loss, parameters, derivatives=gradient)


QUICK = ("helical-valley", "brown-dennis", "kowalik-osborne", "osborne-1", "wood", "rosenbrock/b", "chebyquad-8/b")


@methods
@pytest.mark.parametrize("name", [*QUICK, "brown-dennis/b", "wood/b"])
def test_known_minimum_is_reached(method, name):
    problem = PROBLEMS[name]
    objective = vector_objective(
        problem.function, np.clip(problem.start, problem.lower, problem.upper), problem.lower, problem.upper
    )
    result = TrustRegionOptimizer(method).optimize(objective)
    assert result.success
    assert problem.is_solved(result.final_score)


@methods
@pytest.mark.parametrize("name", QUICK)
def test_scalars_are_solved_like_sums_of_squares(method, name):
    result = TrustRegionOptimizer(method).optimize(scalar(PROBLEMS[name]))
    assert result.success
    assert PROBLEMS[name].is_solved(2.0 * result.final_score)


def test_scaling_may_shrink_again():
    # With scales that only grow and |H_ii| instead of its root others take 282 iterations.
    assert TrustRegionOptimizer().optimize(scalar(PROBLEMS["brown-dennis"])).n_iterations <= 17


@pytest.mark.parametrize("factor", [2.0**40, 2.0**-40])
@pytest.mark.parametrize("name", ["wood", "brown-dennis", "osborne-1/b"])
def test_multiplying_the_objective_changes_nothing(name, factor):
    # Powers of two, 1e+-12 nearly, leave every digit as it is.
    once, times = (TrustRegionOptimizer().optimize(scalar(PROBLEMS[name], by)) for by in (1.0, factor))
    assert times.n_evaluations == once.n_evaluations
    assert_allclose(times.final_params, once.final_params, rtol=1e-12)


def test_adding_a_constant_changes_nothing():
    once, more = (TrustRegionOptimizer().optimize(scalar(PROBLEMS["wood"], offset=by)) for by in (0.0, 1.0))
    assert more.success
    assert_allclose(more.final_params, once.final_params, rtol=1e-6)


@methods
@pytest.mark.parametrize("name", ["wood/b", "biggs-exp6/b", "rosenbrock/start"])
def test_every_point_is_inside_the_bounds(method, name):
    problem = PROBLEMS[name]
    objective = Watched(scalar(problem))
    TrustRegionOptimizer(method).optimize(objective)
    seen = np.array(objective.seen)
    assert np.all((seen >= problem.lower) & (seen <= problem.upper))


@pytest.mark.parametrize("method", ["exact", "subspace"])
def test_a_saddle_point_is_left(method):
    # F = (x^2 - 1)^2 + y^2 has a saddle point at the start and minima of 0 at (+-1, 0).
    saddle = ScalarObjective(lambda p: (p["x"] ** 2 - 1.0) ** 2 + p["y"] ** 2, {"x": 0.0, "y": 0.0})
    result = TrustRegionOptimizer(method).optimize(saddle)
    assert abs(float(result.x["x"])) == pytest.approx(1.0)
    assert result.success


def test_dogleg_stays_on_a_saddle_point_and_ends():
    saddle = ScalarObjective(lambda p: (p["x"] ** 2 - 1.0) ** 2 + p["y"] ** 2, {"x": 0.0, "y": 0.0})
    result = TrustRegionOptimizer("dogleg").optimize(saddle)
    assert result.final_score == 1.0
    assert result.n_iterations <= 1


@methods
def test_minimum_on_bounds_of_a_concave_function(method):
    # -x^2 - y on [-1, 2] x [0, 3] is lowest in the corner (2, 3).
    parameters = [Parameter("x", 0.5, lower=-1.0, upper=2.0), Parameter("y", 1.0, lower=0.0, upper=3.0)]
    corner = ScalarObjective(lambda p: -(p["x"] ** 2) - p["y"], Parameters(parameters))
    result = TrustRegionOptimizer(method).optimize(corner)
    assert result.final_score == pytest.approx(-7.0, abs=1e-6)


def test_one_hessian_per_accepted_point(monkeypatch):
    counted = []
    monkeypatch.setattr(Recorder, "hessian", lambda self, x, state: counted.append(x) or self.problem.hessian(x, state))
    result = TrustRegionOptimizer().optimize(rosenbrock())
    assert len(counted) == sum(entry.is_accepted for entry in result.history)
    assert result.n_evaluations > len(counted)


def test_failed_second_derivatives_reject_a_step():
    def gradient(p):
        return np.array([2.0 * p["x"]]) if p["x"] > 0.4 else np.array([np.nan])

    plain = ScalarObjective(lambda p: float(p["x"]) ** 2, {"x": 1.0}, derivatives=gradient)
    result = TrustRegionOptimizer().optimize(plain)
    assert 0.4 <= float(result.x["x"]) < 0.5
    assert not result.success


def test_a_start_without_second_derivatives_is_an_error():
    # The second derivative of x^(3/2) at 0 is infinite.
    with pytest.raises(EvaluationError, match="second derivatives are not finite"):
        TrustRegionOptimizer().optimize(ScalarObjective(lambda p: p["x"] ** 1.5, {"x": 0.0}))


def test_state_that_changes_is_followed():
    result = TrustRegionOptimizer().optimize(Switching())
    assert_allclose(float(result.x["x"]), 3.0 / 1.01, rtol=1e-6)


def test_steps_by_hand_equal_a_run():
    objective = rosenbrock()
    optimizer = TrustRegionOptimizer()
    whole = optimizer.optimize(objective)
    recorder = Recorder(Problem(objective).vector())
    state = optimizer.init(recorder, recorder.evaluate(recorder.x0, None))
    while optimizer.status(state) is None:
        state = optimizer.step(recorder, state)
    assert state.iteration == whole.n_iterations
    assert state.evaluation.cost == whole.cost
    assert "ScalarState" in repr(state)


def test_scales_of_variables():
    H = np.array([[4.0, 1.0], [1.0, 0.0]])
    assert_allclose(first_scale(np.array([1.0, 8.0]), np.array([0.0, 2.0]), H), [2.0, 0.5])
    assert_allclose(first_scale(np.ones(2), np.zeros(2), H), [2.0, 2.0])
    assert_allclose(first_scale(np.ones(2), np.zeros(2), np.zeros((2, 2))), [1.0, 1.0])
    assert_allclose(scale(H), [2.0, 0.0])


def test_model_agrees_with_the_function_to_second_order():
    x, lower, upper = np.array([0.3, 0.8]), np.array([0.0, 0.0]), np.array([1.0, np.inf])
    g, H = np.array([-2.0, 3.0]), np.array([[5.0, 1.0], [1.0, -2.0]])
    model = scalar_model(x, g, H, np.array([2.0, 1.0]), (lower, upper))
    # Without the term that the bounds add: C = |g v'| / D with v' = 1 / ||D^-1 g|| for both.
    C = np.abs(g) / np.array([2.0, 1.0]) / np.hypot(1.0, 3.0)
    p = np.array([0.01, -0.02])
    p_h = p / model.d
    assert_allclose(model.value(p_h) - 0.5 * p_h @ (C * p_h), g @ p + 0.5 * p @ H @ p, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "exakt"}, "Did you mean 'exact'"),
        ({"ftol": 1.0}, "ftol"),
        ({"maxiter": 0}, "maxiter"),
        ({"initial_radius": 0.0}, "initial_radius"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(SettingsError, match=message):
        TrustRegionOptimizer(**options)


def test_residuals_use_the_full_hessian():
    # exp(x) - 4 and x have a large residual at the minimum; Newton's method converges faster than Gauss and Newton's.
    objective = FunctionObjective(lambda p: jnp.stack([jnp.exp(p["x"]) - 4.0, 3.0 * p["x"] + 9.0]), {"x": 1.0})
    result = TrustRegionOptimizer().optimize(objective)
    assert result.success
    x = float(result.x["x"])
    assert abs(np.exp(x) * (np.exp(x) - 4.0) + 3.0 * (3.0 * x + 9.0)) < 1e-6
