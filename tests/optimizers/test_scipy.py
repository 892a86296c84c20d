import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose

from fieldfit import (
    Budget,
    FunctionObjective,
    Parameter,
    Parameters,
    ScalarObjective,
    ScipyOptimizer,
)
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.optimizers.scipy import METHODS, WITHOUT_EQUAL_BOUNDS
from fieldfit.optimizers.scipy_dialogue import Dialogue, Halt, Limits
from fieldfit.problem import DerivativeOptions, Problem, Recorder
from toys import Switching, Watched, rosenbrock, rosenbrock_jacobian, rosenbrock_residuals, vector_objective

ON_RESIDUALS = [name for name, method in METHODS.items() if method.traits.needs_residuals]
ON_SCALARS = [name for name in METHODS if name not in ON_RESIDUALS]
BOUNDED = [name for name, method in METHODS.items() if method.traits.handles_bounds]
SECOND_ORDER = [name for name, method in METHODS.items() if method.traits.needs_hessian]
CONVERGING = [name for name in METHODS if name != "COBYLA"]
"""Its linear models crawl along the valley of Rosenbrock's function: thousands of evaluations for three digits."""

SQUARE_ROOT_OF_ROUNDING = 1e-6
"""A scalar method sees the cost only, and that is flat to rounding within this distance of a minimum."""


def beale(x):
    """Minimum 0 at (3, 1/2)."""
    return jnp.stack([y - x[0] * (1.0 - x[1] ** k) for k, y in ((1, 1.5), (2, 2.25), (3, 2.625))])


def beale_start(method):
    """Return a start; dogleg needs a positive definite Hessian all the way."""
    return [2.5, 0.4] if method == "dogleg" else [1.0, 1.0]


def wood(x):
    """Minimum 0 at (1, 1, 1, 1)."""
    return jnp.stack(
        [
            10.0 * (x[1] - x[0] ** 2),
            1.0 - x[0],
            np.sqrt(90.0) * (x[3] - x[2] ** 2),
            1.0 - x[2],
            np.sqrt(10.0) * (x[1] + x[3] - 2.0),
            (x[1] - x[3]) / np.sqrt(10.0),
        ]
    )


def traced(function, start, lower=-np.inf, upper=np.inf):
    """Objective of the array "x" that JAX differentiates."""
    entry = Parameter("x", np.asarray(start, dtype=float), lower=np.asarray(lower), upper=np.asarray(upper))
    return FunctionObjective(lambda p: function(p["x"]), Parameters([entry]))


def half_squares(function, start, factor=1.0):
    """The same as a scalar."""
    return ScalarObjective(lambda p: factor * 0.5 * jnp.sum(function(p["x"]) ** 2), {"x": start})


# Known answers


@pytest.mark.parametrize("method", CONVERGING)
def test_every_method_finds_the_minimum(method):
    result = ScipyOptimizer(method).optimize(rosenbrock())
    assert result.success, result
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=SQUARE_ROOT_OF_ROUNDING)


@pytest.mark.parametrize("method", METHODS)
def test_minimum_of_beale(method):
    result = ScipyOptimizer(method, maxiter=800).optimize(traced(beale, beale_start(method)))
    assert result.success or method == "COBYLA", result
    assert_allclose(result.x["x"], [3.0, 0.5], rtol=SQUARE_ROOT_OF_ROUNDING if method != "COBYLA" else 1e-3)


# Newton's method ends at a saddle point of Wood's function, or crawls away from it; COBYLA crawls anyway.
@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("COBYLA", "dogleg", "Newton-CG")])
def test_minimum_of_wood(method):
    result = ScipyOptimizer(method, maxiter=1000).optimize(traced(wood, [-3.0, -1.0, -3.0, -1.0]))
    assert result.success, result
    assert_allclose(result.x["x"], np.ones(4), rtol=SQUARE_ROOT_OF_ROUNDING)


@pytest.mark.parametrize("method", ON_SCALARS)
def test_scalar_below_zero(method):
    # log(1 + (x - 3)^2 + (y + 1)^2 / 2) - 7: the minimum -7 at (3, -1).
    def loss(p):
        x, y = p["p"]
        return jnp.log(1.0 + (x - 3.0) ** 2 + 0.5 * (y + 1.0) ** 2) - 7.0

    result = ScipyOptimizer(method, ftol=1e-15).optimize(ScalarObjective(loss, {"p": [2.5, -0.6]}))
    assert_allclose(result.x["p"], [3.0, -1.0], rtol=1e-5)
    assert result.fun == pytest.approx(-7.0, abs=1e-9)
    assert result.residuals is None


@pytest.mark.parametrize("method", ON_RESIDUALS)
def test_path_is_that_of_scipy_itself(method):
    # SciPy called directly, in the same scaled variables (1.2 units of x to -1.2).
    def as_dictionary(x):
        return {"x": 1.2 * x[0], "y": x[1]}

    calls = []
    found = scipy.optimize.least_squares(
        lambda x: calls.append(x) or rosenbrock_residuals(as_dictionary(x)),
        [-1.0, 1.0],
        lambda x: rosenbrock_jacobian(as_dictionary(x)) * [1.2, 1.0],
        method="trf" if method == "least_squares" else method,
        x_scale="jac",
        gtol=1e-15,
    )
    result = ScipyOptimizer(method, ftol=1e-8, xtol=1e-8, gtol=1e-15).optimize(rosenbrock())
    assert result.n_evaluations == len(calls)
    assert result.message == found.message
    # To the rounding of products taken in another order.
    assert_allclose([result.x["x"], result.x["y"]], found.x * [1.2, 1.0], rtol=1e-9)


# Units


@pytest.mark.parametrize("factor", [2.0**40])
@pytest.mark.parametrize("method", ON_SCALARS)
def test_unit_of_a_scalar_that_is_a_power_of_four_changes_no_bit(method, factor):
    plain, scaled = (
        ScipyOptimizer(method, maxiter=30).optimize(half_squares(beale, [2.5, 0.4], f)) for f in (1.0, factor)
    )
    # Compiled Hessians are not symmetric to the last bit, and trust-constr hands that on.
    close = {"rtol": 1e-6, "atol": 1e-20} if method == "trust-constr" else {"rtol": 0.0}
    assert_allclose([entry.cost / factor for entry in scaled.history], [entry.cost for entry in plain.history], **close)


@pytest.mark.parametrize("factor", [1e12, 1e-12])
@pytest.mark.parametrize("method", METHODS)
def test_factor_of_the_objective_changes_no_answer(method, factor):
    if method in ON_RESIDUALS:
        objective = traced(lambda x: np.sqrt(factor) * beale(x), beale_start(method))
    else:
        objective = half_squares(beale, beale_start(method), factor)
    result = ScipyOptimizer(method, maxiter=800).optimize(objective)
    assert_allclose(result.x["x"], [3.0, 0.5], rtol=SQUARE_ROOT_OF_ROUNDING if method != "COBYLA" else 1e-3)


# Evaluations


@pytest.mark.parametrize("method", METHODS)
def test_no_point_is_evaluated_twice(method):
    objective = Watched(rosenbrock())
    result = ScipyOptimizer(method, maxiter=50).optimize(objective)
    points = {tuple(values) for values in objective.seen}
    # Powell's line searches come back to points of other lines.
    assert len(points) >= result.n_evaluations - (2 if method == "Powell" else 0)


@pytest.mark.parametrize("method", ["Newton-CG", "trust-constr", "dogleg", "trust-ncg", "trust-exact", "trust-krylov"])
def test_exact_hessian_takes_no_evaluations(method):
    # A quadratic: one Newton step, some more where the inner iterations solve for it to one half only.
    A = np.array([[4.0, 1.0], [1.0, 3.0]])
    objective = ScalarObjective(lambda p: 0.5 * p["x"] @ A @ p["x"] - p["x"] @ jnp.array([1.0, 2.0]), {"x": [0.5, 0.5]})
    result = ScipyOptimizer(method).optimize(objective)
    assert_allclose(result.x["x"], np.linalg.solve(A, [1.0, 2.0]), rtol=SQUARE_ROOT_OF_ROUNDING)
    assert result.n_difference_evaluations == 0
    assert result.n_evaluations <= 20


@pytest.mark.parametrize("method", ["trust-constr", "dogleg", "trust-exact"])
def test_one_hessian_per_point(method, monkeypatch):
    seen, hessian = [], Recorder.hessian
    monkeypatch.setattr(Recorder, "hessian", lambda self, x, state: seen.append(tuple(x)) or hessian(self, x, state))
    result = ScipyOptimizer(method).optimize(traced(beale, [2.5, 0.4]))
    assert len(seen) == len(set(seen)) <= result.n_evaluations


@pytest.mark.parametrize("method", ["Nelder-Mead", "Powell", "COBYLA", "COBYQA"])
def test_methods_on_values_ask_for_no_derivatives(method):
    result = ScipyOptimizer(method, maxiter=20).optimize(rosenbrock())
    assert result.n_derivative_evaluations == 0


@pytest.mark.parametrize("method", ["BFGS", "SLSQP", "trust-ncg", "trf"])
def test_differences_reach_the_minimum(method):
    result = ScipyOptimizer(method, jac=None, fd_method="central").optimize(rosenbrock())
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-4)
    assert set(result.jac_mode.values()) == {"central differences"}
    assert result.n_difference_evaluations > 0


def test_derivatives_that_are_not_there_are_refused():
    with pytest.raises(
        SettingsError, match=r'jac="analytical" was asked for, but the term .* has no exact derivatives'
    ):
        ScipyOptimizer("BFGS", jac="analytical").optimize(rosenbrock(derivatives="differences"))


# Bounds


@pytest.mark.parametrize("method", BOUNDED)
@pytest.mark.parametrize(
    ("start", "lower", "upper", "answer"),
    [
        ((-1.2, 1.0), (-2.0, -2.0), (0.5, 2.0), (0.5, 0.25)),
        # A start on a bound, and a bound on one side only.
        ((-1.2, 1.0), (-1.2, -np.inf), (0.5, np.inf), (0.5, 0.25)),
    ],
)
def test_solution_on_a_bound(method, start, lower, upper, answer):
    objective = Watched(rosenbrock(start, lower, upper))
    result = ScipyOptimizer(method, maxiter=1000).optimize(objective)
    assert_allclose([result.x["x"], result.x["y"]], answer, rtol=1e-5)
    seen = np.array(objective.seen)
    assert np.all((seen >= lower) & (seen <= upper))


def test_simplex_that_went_flat_on_a_bound_is_begun_again():
    # Without that it ends at (0.16, 0), where the whole simplex has y = 0.
    result = ScipyOptimizer("Nelder-Mead").optimize(rosenbrock((0.0, 1.0), (0.0, 0.0), (1.5, 1.5)))
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=SQUARE_ROOT_OF_ROUNDING)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in BOUNDED])
def test_methods_without_bounds_refuse_them(method):
    with pytest.raises(SettingsError, match=rf"{method} takes no bounds, but x has them.*L-BFGS-B.*trf"):
        ScipyOptimizer(method).optimize(rosenbrock(upper=(5.0, np.inf)))


@pytest.mark.parametrize("method", BOUNDED)
def test_equal_bounds_are_kept_or_refused_by_name(method):
    objective = rosenbrock((-1.2, 1.0), (-2.0, 1.0), (2.0, 1.0))
    if method in WITHOUT_EQUAL_BOUNDS:
        with pytest.raises(SettingsError, match=f"{method} cannot take equal bounds, but y has them"):
            ScipyOptimizer(method).optimize(objective)
        return
    result = ScipyOptimizer(method).optimize(objective)
    # With y = 1 the cost is stationary where 200 x (x^2 - 1) = 1 - x: at x = 1, and at one x near -1.
    other = np.min(np.roots([200.0, 0.0, -199.0, -1.0]).real)
    assert result.x["y"] == 1.0
    assert min(abs(result.x["x"] - x) for x in (1.0, other)) < 1e-6


# Failures


@pytest.mark.parametrize("method", METHODS)
def test_region_without_numbers_is_stepped_around(method):
    # log(x) - 1 has no value for x < 0, where the first step from x = 30 leads many of them.
    def logarithm(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(x) - 1.0, np.diag(1.0 / x)

    # The curvature of its square is negative there, and dogleg takes only positive ones.
    start = 5.0 if method == "dogleg" else 30.0
    result = ScipyOptimizer(method).optimize(vector_objective(logarithm, [start]))
    assert result.x["x"][0] == pytest.approx(np.e, rel=1e-6)


@pytest.mark.parametrize("method", CONVERGING)
def test_failed_evaluations_on_the_way_are_survived(method):
    objective = Watched(rosenbrock(), fails=lambda values: values[1] > 1.2 or (values[0] < -1.0 and values[1] < 0.9))
    result = ScipyOptimizer(method, maxiter=1000).optimize(objective)
    assert np.isfinite(result.final_score)
    assert result.final_score <= result.initial_score
    failed = sum(np.isnan(entry.cost) for entry in result.history)
    assert (failed > 0) == bool(result.failures)


@pytest.mark.parametrize("method", METHODS)
def test_failures_everywhere_end_the_run_at_the_start(method):
    objective = Watched(rosenbrock(), fails=lambda values: values[0] != -1.2)
    result = ScipyOptimizer(method, maxiter=50).optimize(objective)
    assert not result.success
    assert result.final_score <= result.initial_score


@pytest.mark.parametrize("method", SECOND_ORDER)
def test_second_derivatives_that_fail_end_the_run_with_a_reason(method):
    class Fails(Watched):
        def evaluate(self, values, state, *, derivatives):
            if self.seen and not np.array_equal(values, self.seen[0]):
                raise EvaluationError("the molecule fell apart")
            return super().evaluate(values, state, derivatives=derivatives)

    result = ScipyOptimizer(method).optimize(Fails(rosenbrock()))
    assert result.message.startswith("second derivatives cannot be computed")
    assert "the molecule fell apart" in result.message


# Ends


@pytest.mark.parametrize("method", METHODS)
def test_every_step_is_told(method):
    steps = []
    result = ScipyOptimizer(method, maxiter=40).optimize(rosenbrock(), observers=[steps.append])
    assert [step.iteration for step in steps] == list(range(result.n_iterations + 1))
    assert steps[0].cost == pytest.approx(12.1)
    assert steps[-1].cost == result.cost == min(entry.cost for entry in result.history)
    assert sum(step.is_accepted for step in steps) == sum(entry.is_accepted for entry in result.history)
    assert all(np.isnan(step.optimality) == (not METHODS[method].traits.needs_gradient) for step in steps)


@pytest.mark.parametrize("last", [0, 2])
@pytest.mark.parametrize("method", METHODS)
def test_observer_stops_the_run(method, last):
    steps = []
    result = ScipyOptimizer(method).optimize(
        rosenbrock(), observers=[lambda step: steps.append(step) or step.iteration == last]
    )
    assert result.message == "observer asked to stop"
    assert len(steps) == last + 1


@pytest.mark.parametrize("method", METHODS)
def test_budget_ends_the_run(method):
    result = ScipyOptimizer(method).optimize(rosenbrock(), observers=[Budget(evaluations=5)])
    assert result.n_evaluations == 5
    assert result.message == "the budget of 5 evaluations is spent"


@pytest.mark.parametrize("method", METHODS)
def test_most_iterations_are_kept(method):
    result = ScipyOptimizer(method, maxiter=3).optimize(rosenbrock())
    assert result.n_iterations == 3
    assert result.final_score < result.initial_score


@pytest.mark.parametrize("method", METHODS)
def test_two_runs_give_the_same_bits(method):
    first, second = (ScipyOptimizer(method, maxiter=40).optimize(rosenbrock()) for _ in range(2))
    assert [entry.cost for entry in first.history] == [entry.cost for entry in second.history]


@pytest.mark.parametrize("method", METHODS)
def test_accepted_point_whose_residuals_change_meaning_starts_scipy_again(method):
    result = ScipyOptimizer(method).optimize(Switching())
    assert result.x["x"] == pytest.approx(3.0 / 1.01, rel=1e-6)
    assert result.state == 3.0


def arrive(dialogue, x):
    dialogue.cost(np.array([x]))
    dialogue.report(np.array([x]))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_divergence_ends_the_run(sign):
    # Costs 1, 5, 5, 5 ... or -1, 3, 3, 3 ...: higher than the first by four times its size.
    objective = ScalarObjective(lambda p: sign + 4.0 * jnp.minimum(p["x"] ** 2, 1.0), {"x": 0.0})
    recorder = Recorder(Problem(objective).vector(derivatives=DerivativeOptions()))
    start = recorder.evaluate(recorder.x0, None)
    dialogue = Dialogue(recorder, start, METHODS["BFGS"], Limits(100, None, 4.0, 3))
    arrive(dialogue, 1.5)
    arrive(dialogue, 2.0)
    with pytest.raises(Halt, match=r"diverged: the cost was above 4 times the first one \(-?1\) in 3 iterations"):
        arrive(dialogue, 2.5)
    unlimited = Dialogue(recorder, start, METHODS["BFGS"], Limits(100, None, None, 3))
    for x in (3.0, 3.5, 4.0, 4.5):
        arrive(unlimited, x)
    assert unlimited.iteration == 4


def test_further_options_reach_scipy():
    result = ScipyOptimizer("L-BFGS-B", options={"maxfun": 3}).optimize(rosenbrock())
    assert "EVALUATIONS EXCEEDS LIMIT (raise the limit" in result.message


@pytest.mark.parametrize("method", CONVERGING)
def test_one_tolerance_is_enough(method):
    heeded = METHODS[method].heeds[-1]
    tolerances = {name: None for name in ("ftol", "xtol", "gtol") if name != heeded}
    result = ScipyOptimizer(method, **tolerances).optimize(rosenbrock())
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-4)
