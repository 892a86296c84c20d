"""Solvers inside one compiled program: known answers, honest records, one trace, and many starts at once."""

import functools
import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, Parameter, Parameters, Problem, ScalarObjective
from fieldfit.errors import SettingsError
from fieldfit.optimizers import compiled_loop, in_graph
from fieldfit.optimizers.in_graph import JaxOptimizer, solve_start, solve_starts
from fieldfit.problem import Budget, Recorder
from toys import rosenbrock as opaque_rosenbrock

METHODS = ("lbfgs", "bfgs", "gauss_newton", "lm")
CLOSE = 1e-6
"""What tolerances of 1e-8 on a step leave of the distance to the minimum."""


class Valley:
    """Rosenbrock's residuals in a unit of their own, not a number left of an edge; it counts its calls from Python."""

    def __init__(self):
        self.calls = 0

    def __call__(self, p):
        self.calls += 1
        residuals = jnp.stack([10.0 * (p["y"] - p["x"] ** 2), 1.0 - p["x"]])
        return jnp.where(p["x"] < p["edge"], jnp.nan, p["unit"] * residuals)


@functools.cache
def valley():
    """The function and its objective: shared, for every method compiles it once for all tests."""
    function = Valley()
    parameters = Parameters({"x": -1.2, "y": 1.0, "unit": 1.0, "edge": -100.0})
    return function, FunctionObjective(function, parameters.fix("unit").fix("edge"))


def posed(start=(-1.2, 1.0), lower=(-np.inf, -np.inf), upper=(np.inf, np.inf), unit=1.0, edge=-100.0):
    """Rosenbrock's problem with other numbers; all of them are arguments of the compiled program."""
    entries = zip("xy", start, lower, upper, strict=True)
    free = [Parameter(name, value, lower=low, upper=high) for name, value, low, high in entries]
    return Problem(
        valley()[1], Parameters([*free, Parameter("unit", unit), Parameter("edge", edge)]).fix("unit", "edge")
    )


def point(result):
    return np.array([float(result.x["x"]), float(result.x["y"])])


@pytest.fixture(params=METHODS)
def optimizer(request):
    return JaxOptimizer(request.param)


def test_rosenbrock_ends_at_its_minimum(optimizer):
    result = optimizer.optimize(posed())
    assert_allclose(point(result), [1.0, 1.0], rtol=CLOSE)
    assert result.success
    assert result.residuals.shape == (2,)
    assert result.jacobian.shape == (2, 2)
    assert result.n_evaluations == len(result.history) < 80


def test_bounded_rosenbrock_ends_on_the_bound(optimizer):
    # With x <= 1/2 the minimum is 1/4 at (1/2, 1/4).
    result = optimizer.optimize(posed(lower=(-2.0, -0.5), upper=(0.5, 2.0)))
    assert_allclose(point(result), [0.5, 0.25], rtol=CLOSE)
    assert result.final_score == pytest.approx(0.25, rel=CLOSE)
    assert result.success


def test_a_corner_is_stationary(optimizer):
    # In the corner (1/2, 1/2) the gradient is (-25.5, 25), from which only y >= 1/2 and x <= 1/2 keep the point.
    result = optimizer.optimize(posed(start=(0.0, 1.0), lower=(-2.0, 0.5), upper=(0.5, 2.0)))
    assert point(result).tolist() == [0.5, 0.5]
    assert result.success


def test_bounds_hold_at_every_evaluation(optimizer):
    lower, upper = np.array([-2.0, -0.5]), np.array([0.5, 2.0])
    problem = posed(lower=lower, upper=upper).vector()
    end = solve_start(optimizer, problem, problem.x0)
    assert end.n_evaluations > 3
    assert np.all((end.points >= problem.lower) & (end.points <= problem.upper))
    physical = np.array([problem.space.physical(x)[:2] for x in end.points])
    assert np.all((physical >= lower) & (physical <= upper))


def test_recorded_points_are_those_that_the_function_got():
    seen = []

    def watched(p):
        jax.debug.callback(lambda x: seen.append(float(x)), p["x"], ordered=True)
        return jnp.stack([p["x"] - 2.0, 0.1 * p["x"] ** 2])

    objective = FunctionObjective(watched, [Parameter("x", -1.0, lower=-1.5, upper=1.0)])
    problem = Problem(objective).vector()
    end = solve_start(JaxOptimizer("lbfgs"), problem, problem.x0)
    jax.effects_barrier()
    assert_allclose(seen, problem.space.scale[0] * end.points[:, 0], rtol=1e-6)
    assert min(seen) >= -1.5
    assert max(seen) <= 1.0


@functools.cache
def beale():
    powers = np.arange(1, 4)
    return FunctionObjective(
        lambda p: np.array([1.5, 2.25, 2.625]) - p["x"] * (1.0 - p["y"] ** powers), {"x": 1.0, "y": 1.0}
    )


def test_beale_ends_at_its_minimum(optimizer):
    result = optimizer.optimize(beale())
    assert_allclose(point(result), [3.0, 0.5], rtol=CLOSE)
    assert result.success


@pytest.mark.parametrize("method", ["lbfgsb", "bfgs"])
def test_scalars_are_minimised_whatever_their_constant(method):
    # Minimum at x = 3, y = 1 of a function that is far from zero there.
    def loss(p):
        return jnp.cosh(p["x"] - 3.0) + 5.0 * (p["y"] - 1.0) ** 2 * (1.0 + p["x"] ** 2) - 70.0

    result = JaxOptimizer(method).optimize(ScalarObjective(loss, {"x": 1.0, "y": 4.0}))
    assert_allclose(point(result), [3.0, 1.0], atol=1e-5)
    assert result.fun == pytest.approx(-69.0)
    assert result.success


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_multiplying_the_objective_changes_nothing(optimizer, unit):
    # Residuals times 1e6 are a cost times 1e12.
    plain, other = (optimizer.optimize(posed(unit=chosen)) for chosen in (1.0, unit))
    assert_allclose(point(other), point(plain), rtol=CLOSE)
    assert abs(other.n_evaluations - plain.n_evaluations) <= 3


def test_regions_without_a_value_are_survived_and_reported(optimizer):
    # The valley bends round x = 0; trials beyond the edge fail, and some are made.
    result = optimizer.optimize(posed(start=(0.2, 1.5), edge=0.1))
    assert_allclose(point(result), [1.0, 1.0], rtol=CLOSE)
    failed = sum(np.isnan(entry.cost) for entry in result.history)
    assert (failed > 0) == bool(result.failures)
    assert all("not finite at x = " in text for text in result.failures)


def test_two_runs_give_the_same_bits(optimizer):
    first, second = (optimizer.optimize(posed()) for _ in range(2))
    assert [entry.cost for entry in first.history] == [entry.cost for entry in second.history]
    assert first.final_params.tolist() == second.final_params.tolist()


def test_nothing_is_traced_again_for_other_numbers(optimizer):
    function, _ = valley()
    optimizer.optimize(posed())
    before = function.calls
    optimizer.optimize(posed(start=(0.3, 0.4), lower=(-2.0, -2.0), upper=(0.9, 3.0), unit=2.0, edge=-50.0))
    JaxOptimizer(optimizer.method, maxiter=7, tol=1e-3).optimize(posed(), observers=[lambda step: None])
    assert function.calls == before


@pytest.mark.parametrize("method", METHODS)
def test_the_program_holds_the_objective_once(method):
    # The hyperbolic tangent stands for the objective; its derivative reuses its value.
    objective = FunctionObjective(lambda p: jnp.tanh(p["x"]) - 0.1, {"x": np.ones(3)})
    problem = Problem(objective).vector()
    program = in_graph._Program(JaxOptimizer(method), problem)
    loop = functools.partial(
        compiled_loop._loop, (weakref.ref(objective), compiled_loop.METHODS[method], False), n_rows=8
    )
    with jax.enable_x64(True):
        text = str(jax.make_jaxpr(loop)(program._setting, program.begin(problem.x0), 8))
    assert text.count(" tanh ") == 1


def test_blocks_change_nothing(optimizer, monkeypatch):
    whole = optimizer.optimize(posed())
    steps = []
    monkeypatch.setattr(in_graph, "LISTENED", 3)
    parts = optimizer.optimize(posed(), observers=[steps.append])
    assert [entry.cost for entry in parts.history] == [entry.cost for entry in whole.history]
    assert parts.n_iterations == whole.n_iterations == len(steps) - 1


def test_every_evaluation_is_told(optimizer):
    steps = []
    result = optimizer.optimize(posed(), observers=[steps.append])
    accepted = [step for step in steps if step.is_accepted]
    assert steps[0].cost == pytest.approx(12.1)
    assert len(accepted) == sum(entry.is_accepted for entry in result.history)
    assert np.all(np.diff([step.cost for step in accepted]) <= 0.0)
    assert_allclose(steps[-1].values["x"], result.x["x"])
    # Besides the steps there are the start, once more inside, and the best point, once more outside.
    assert result.n_evaluations == len(steps) + 2


def test_observer_stops_the_run_and_no_evaluation_is_lost(optimizer):
    steps = []
    result = optimizer.optimize(posed(), observers=[lambda step: steps.append(step) or step.iteration == 3])
    assert len(steps) == 4
    assert result.message == "observer asked to stop"
    assert result.n_iterations == 3
    assert len(steps) < result.n_evaluations <= in_graph.LISTENED + 1
    assert result.residuals is not None


@pytest.mark.parametrize("evaluations", [1, 2, 9])
def test_budget_of_evaluations_is_kept(optimizer, evaluations):
    result = optimizer.optimize(posed(), observers=[Budget(evaluations=evaluations)])
    assert result.n_evaluations == evaluations
    assert "budget" in result.message


def test_maxiter_counts_trials():
    result = JaxOptimizer("lbfgs", maxiter=5).optimize(posed())
    assert result.n_iterations == 5
    assert result.message == "maxiter: 5 trials were made"
    assert not result.success


def test_many_starts_end_as_each_alone(optimizer):
    problem = posed(start=(-1.2, 0.8), lower=(-3.0, -3.0), upper=(3.0, 0.9)).vector()
    random = np.random.default_rng(3)
    starts = list(random.uniform(problem.lower / 2.0, problem.upper / 2.0, (3, 2)))
    together = solve_starts(optimizer, problem, starts)
    alone = [solve_start(optimizer, problem, start) for start in starts]
    for one, many in zip(alone, together, strict=True):
        assert one.start.tolist() == many.start.tolist()
        # Rounding differs, and near the end it decides whether one more trial is made.
        shared = slice(0, min(one.n_evaluations, many.n_evaluations, 8))
        assert_allclose(many.points[shared], one.points[shared], rtol=1e-7, atol=1e-9)
        assert_allclose(many.x, one.x, rtol=CLOSE)
        assert abs(one.n_evaluations - many.n_evaluations) <= 2
        assert many.cost == np.nanmin(many.costs)


def test_a_start_that_fails_does_not_disturb_the_others(optimizer):
    problem = posed(start=(0.5, 0.5), edge=0.0).vector()
    scale = problem.space.scale
    starts = [np.array(start) / scale for start in ([0.5, 0.5], [-1.0, 1.0], [2.0, 3.0])]
    ends = solve_starts(optimizer, problem, starts)
    assert [end.message == "it cannot be evaluated at its start" for end in ends] == [False, True, False]
    assert ends[1].cost == np.inf
    assert ends[1].n_evaluations == 1
    for end in (ends[0], ends[2]):
        assert_allclose(scale * end.x, [1.0, 1.0], rtol=CLOSE)
    assert "evaluations" in repr(ends[0])
    assert solve_starts(optimizer, problem, []) == []


@pytest.mark.parametrize("method", ["lbfgs", "lm"])
def test_runs_in_some_of_the_variables(method):
    # With y = 1 fixed the residuals are stationary where 200 x (x^2 - 1) = 1 - x, that is at x = 1 on this side.
    recorder = Recorder(posed(start=(0.5, 1.0)).vector())
    run = recorder.solve(JaxOptimizer(method), recorder.x0, free=np.array([0]))
    assert run.failure is None
    assert_allclose(run.x * recorder.problem.space.scale, [1.0, 1.0], rtol=CLOSE)
    assert len(recorder.history) == run.n_evaluations


def test_a_loop_of_unknown_length_is_differentiated_forwards():
    # JAX cannot go backwards through it. Heron's iteration: the square root of x is 3 at x = 9.
    def root(p):
        step = lambda r: (0.5 * (r[0] + p["x"] / r[0]), r[0])  # noqa: E731
        found, _ = jax.lax.while_loop(lambda r: jnp.abs(r[0] - r[1]) > 1e-12, step, (1.0 + 0.0 * p["x"], 0.0))
        return jnp.stack([found - 3.0, 0.0 * found])

    result = JaxOptimizer("lbfgs").optimize(FunctionObjective(root, [Parameter("x", 4.0, lower=1.0, upper=20.0)]))
    assert float(result.x["x"]) == pytest.approx(9.0, rel=1e-5)


def test_programs_do_not_keep_objectives_alive():
    objective = FunctionObjective(lambda p: p["x"] - 1.0, {"x": 3.0})
    key, reference = id(objective), weakref.ref(objective)
    JaxOptimizer("lm").optimize(objective)
    assert key in compiled_loop._PROGRAMS
    del objective
    gc.collect()
    assert reference() is None
    assert key not in compiled_loop._PROGRAMS


def test_objectives_that_cannot_be_traced_are_refused():
    with pytest.raises(SettingsError, match="jax-lbfgs is one compiled program, but JAX cannot trace"):
        JaxOptimizer("lbfgs").optimize(opaque_rosenbrock())
    with pytest.raises(SettingsError, match="jax-lm is one compiled program"):
        solve_starts(JaxOptimizer("lm"), Problem(opaque_rosenbrock()).vector(), [np.zeros(2)])


def test_scalars_are_refused_by_methods_on_residuals():
    objective = ScalarObjective(lambda p: p["x"] ** 2, {"x": 1.0})
    with pytest.raises(SettingsError, match="jax-lm needs residuals"):
        JaxOptimizer("lm").optimize(objective)
    with pytest.raises(SettingsError, match="jax-gauss_newton needs residuals"):
        solve_start(JaxOptimizer("gauss_newton"), Problem(objective).vector(), np.ones(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lbgfs"}, "Did you mean 'lbfgs'"),
        ({"maxiter": 0}, "maxiter = 0"),
        ({"tol": 0.0}, "tol = 0.0"),
        ({"tol": np.nan}, "tol = nan"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(SettingsError, match=message):
        JaxOptimizer(**options)


def test_every_listed_method_is_implemented():
    assert set(in_graph.METHODS) == set(compiled_loop.METHODS)
    for name, traits in in_graph.METHODS.items():
        assert traits.needs_residuals == compiled_loop.METHODS[name].needs_residuals
