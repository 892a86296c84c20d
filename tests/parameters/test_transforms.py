"""Changes of variable: exact inverses, never outside the bounds, right slopes, and the library with them."""

import jax
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit import (
    FunctionObjective,
    LeastSquaresOptimizer,
    Parameter,
    Parameters,
    Problem,
    ScalarObjective,
    ScipyOptimizer,
)
from fieldfit.errors import ParameterError
from fieldfit.optimizers.in_graph import JaxOptimizer
from fieldfit.parameters import ParameterSpace
from fieldfit.parameters.space import traced_elements
from fieldfit.problem import DerivativeOptions
from fieldfit.problem.gradient_check import check_gradient
from fieldfit.problem.sensitivity import compute_sensitivity


@jax.jit
def compiled(coordinates, x):
    """All elements and their derivatives with respect to x."""
    return traced_elements(coordinates, x), jax.jacfwd(lambda y: traced_elements(coordinates, y))(x)


KINDS = ["log", "logit", "above", "below", "unbounded"]


def transformed(kind, lower, width, fraction, scale=None):
    """A parameter between lower and lower + width, or with one of these bounds."""
    value, upper = lower + fraction * width, lower + width
    ends = {
        "log": {"transform": "log"},
        "logit": {"lower": lower, "upper": upper, "transform": "logit"},
        "above": {"lower": lower, "transform": "log-distance"},
        "below": {"upper": upper, "transform": "log-distance"},
        "unbounded": {"lower": lower, "upper": upper, "transform": "unbounded"},
    }
    value = abs(value) + 1e-3 if kind == "log" else value
    assume(kind == "log" or lower < value < upper)
    return Parameter("p", value, scale=scale, **ends[kind])


lowers = st.one_of(st.just(0.0), st.floats(-1e3, 1e3))
widths = st.floats(1e-3, 1e3)
fractions = st.floats(0.01, 0.99)
scales = st.one_of(st.none(), st.floats(1e-3, 1e3))
positions = st.floats(-20.0, 20.0)


@pytest.mark.parametrize("kind", KINDS)
@given(lowers, widths, fractions, scales)
def test_x_of_the_start_gives_the_start_and_its_slope_is_the_scale(kind, lower, width, fraction, scale):
    entry = transformed(kind, lower, width, fraction, scale)
    space = Parameters([entry]).space
    # Rounding of a difference from a bound is that of the larger of the two.
    slack = 1e-14 * max(abs(lower) + width, 1.0)
    assert_allclose(space.physical(space.start), [entry.value], rtol=1e-13, atol=slack)
    assert_allclose(space.slopes(space.start), space.scale, rtol=1e-9, atol=slack)
    assert not space.is_affine


@pytest.mark.parametrize("kind", KINDS)
@given(lowers, widths, fractions, scales, positions)
def test_vector_undoes_physical(kind, lower, width, fraction, scale, x):
    entry = transformed(kind, lower, width, fraction, scale)
    space = Parameters([entry]).space
    x = np.array([x / max(1.0, abs(space.start[0]))])
    p = space.physical(x)
    slope = space.slopes(x)
    # One rounding of p, and of its distance from a bound, through the slope; exponents beyond the limit are cut.
    noise = 1e-15 * (abs(p) + abs(lower) + width) / slope
    assume(noise[0] < 1e-3)
    assume(np.all(np.abs(space.curves[next(iter(space.curves))].divisor * x) < 500.0))
    assert_allclose(space.vector(p), x, rtol=1e-12, atol=8.0 * noise[0] + 1e-14)


@pytest.mark.parametrize("kind", KINDS)
@given(lowers, widths, fractions, scales, st.floats(allow_nan=False))
def test_no_number_leaves_the_bounds_and_none_is_lost(kind, lower, width, fraction, scale, x):
    entry = transformed(kind, lower, width, fraction, scale)
    space = Parameters([entry]).space
    p = space.physical(np.array([x]))
    assert np.all((entry.lower < p) & (p < entry.upper))
    assert np.all(np.isfinite(p))
    assert np.all(np.isfinite(space.slopes(np.array([x]))))
    assert np.all(np.isfinite(space.vector(p)))
    entry.replace(value=p[0])


@pytest.mark.parametrize("kind", KINDS)
@given(lowers, widths, fractions, scales, st.floats(-3.0, 3.0))
def test_slopes_agree_with_differences_and_with_jax(kind, lower, width, fraction, scale, shift):
    entry = transformed(kind, lower, width, fraction, scale)
    space = Parameters([entry]).space
    divisor = space.curves[next(iter(space.curves))].divisor
    x = space.start + shift / divisor
    h = 1e-5 / divisor
    slope = (space.physical(x + h) - space.physical(x - h)) / (2.0 * h)
    # Truncation is 1e-10 of the slope, rounding that of p over the step.
    rounding = 4e-16 * (np.abs(space.physical(x)) + abs(lower) + width) / h
    assert_allclose(space.slopes(x), slope, rtol=1e-8, atol=rounding[0])
    with jax.enable_x64(True):
        traced, jacobian = (np.asarray(part).ravel() for part in compiled(space.coordinates, x))
    assert_allclose(traced, space.physical(x), rtol=1e-13, atol=1e-12)
    assert_allclose(jacobian, space.slopes(x), rtol=1e-12)
    assert_allclose(space.chain(np.array([2.0]), x), 2.0 * space.slopes(x))


def test_second_derivatives_through_a_transform_are_exact():
    space = (
        Parameters([Parameter("p", 2.0, transform="log"), Parameter("q", 1.0, lower=0, upper=4.0)]).unbounded().space
    )
    with jax.enable_x64(True):
        bend = jax.hessian(lambda x: space.traced_physical(x)[0])(space.start)
        wide = jax.grad(jax.grad(lambda u: space.traced_physical(np.array([0.0, 1.0]) * u)[1]))(0.0)
    # p = 2 exp(x) with the start at x = 0; logit has no curvature at the middle, and q = 4 / (1 + exp(-u)).
    assert_allclose(bend, [[2.0, 0.0], [0.0, 0.0]], atol=1e-15)
    assert wide == pytest.approx(0.0, abs=1e-15)


def test_default_scale_makes_x_the_transformed_value():
    entry = Parameter("p", 3.0, lower=2.0, upper=5.0, transform="logit")
    space = Parameters([entry]).space
    assert_allclose(entry.scale, 1.0 * 2.0 / 3.0)
    assert_allclose(space.start, np.log(1.0 / 2.0))
    assert_allclose(space.physical(np.zeros(1)), [3.5])
    assert_allclose(Parameter("p", 3.0, transform="log").scale, 3.0)
    assert_allclose(Parameter("p", 3.0, lower=1.0, transform="log-distance").scale, 2.0)


def test_bounds_of_a_positive_parameter_are_bounds_of_its_logarithm():
    space = Parameters([Parameter("p", 2.0, lower=1.0, upper=8.0, transform="log")]).space
    assert_allclose(space.lower, np.log([0.5]))
    assert_allclose(space.upper, np.log([4.0]))
    assert space.physical(space.lower)[0] == 1.0
    assert space.physical(space.upper)[0] == 8.0
    open_ends = Parameters([Parameter("p", 2.0, lower=0.0, transform="log")]).space
    assert (open_ends.lower[0], open_ends.upper[0]) == (-np.inf, np.inf)


def test_elements_choose_by_their_own_bounds():
    entry = Parameter("w", [1.0, 1.0, 1.0, 5.0], lower=[0.0, 0.0, -np.inf, 5.0], upper=[2.0, np.inf, np.inf, 9.0])
    parameters = Parameters([entry.replace(fixed=[False, False, False, True])]).unbounded()
    space = parameters.space
    assert {name: curve.places.tolist() for name, curve in space.curves.items()} == {"logit": [0], "log-distance": [1]}
    assert np.all(space.lower == -np.inf)
    assert np.all(space.upper == np.inf)
    assert_allclose(space.physical(space.start), [1.0, 1.0, 1.0, 5.0])


def test_ties_and_fixed_elements_follow_transformed_leaders():
    parameters = Parameters(
        [Parameter("a", 2.0, lower=0.0), Parameter("b", -4.0, lower=-9.0, upper=0.0), Parameter("c", [1.0, 7.0])]
    )
    parameters = parameters.tie("b", "a", factor=-2.0).fix("c").unbounded()
    space = parameters.space
    # b = -2 a >= -9: a is between 0 and 4.5.
    for x in (-800.0, -3.0, 0.0, 3.0, 800.0):
        a, b, *rest = space.physical(np.array([x]))
        assert 0.0 < a < 4.5
        assert b == -2.0 * a
        assert rest == [1.0, 7.0]
    J = np.random.default_rng(0).normal(size=(3, 4))
    x, h = np.array([0.3]), np.array([1e-6])
    expected = J @ (space.physical(x + h) - space.physical(x - h)) / 2e-6
    assert_allclose(space.chain(J, x)[:, 0], expected, rtol=1e-8)
    assert_allclose(space.chain(J[:, :2], x, np.array([0, 1])), space.chain(J, x))


def test_derivatives_without_their_point_are_refused():
    space = Parameters([Parameter("p", 2.0, transform="log")]).space
    with pytest.raises(ParameterError, match="Give x to `chain`"):
        space.chain(np.ones(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": 1.0, "transform": "logarithm"}, "No transform is called 'logarithm'. Did you mean 'logit'"),
        ({"value": -1.0, "transform": "log"}, r"starts at -1 nA, outside its bounds \[0, inf\] nA"),
        ({"value": 0.0, "transform": "log"}, "starts at 0 nA, on its bound"),
        ({"value": 1.0, "lower": -1.0, "transform": "log"}, "'log' is for a positive parameter"),
        ({"value": 1.0, "lower": 0.0, "transform": "logit"}, "'logit' is for two finite bounds"),
        ({"value": 1.0, "lower": 0.0, "upper": 1.0, "transform": "logit"}, "starts at 1 nA, on its bound"),
        ({"value": 1.0, "transform": "log-distance"}, "'log-distance' is for exactly one finite bound"),
        ({"value": 1.0, "lower": 1.0, "transform": "log-distance"}, "on its bound"),
    ],
)
def test_transforms_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        Parameter("p", unit="nA", **options)


def test_a_start_on_a_bound_cannot_be_freed_of_it():
    with pytest.raises(ParameterError, match="'p' starts at 0, on its bound"):
        Parameters([Parameter("p", 0.0, lower=0.0)]).unbounded()
    tied = Parameters([Parameter("a", 2.0), Parameter("b", 2.0, lower=2.0)]).tie("b", "a").unbounded()
    with pytest.raises(ParameterError, match=r"'a' starts at 2, on its bound .* or that of a parameter that is tied"):
        ParameterSpace(tied)


def residuals(p):
    return np.stack([10.0 * (p["y"] - p["x"] ** 2), 1.0 - p["x"]])


def traced_residuals(p):
    return jax.numpy.stack([10.0 * (p["y"] - p["x"] ** 2), 1.0 - p["x"]])


def bent(**derivatives):
    """Rosenbrock's valley, its minimum at (1, 1) inside the bounds."""
    entries = [Parameter("x", 0.5, lower=0.0, upper=3.0), Parameter("y", 0.4, transform="log")]
    function = residuals if derivatives else traced_residuals
    return FunctionObjective(function, Parameters(entries).unbounded(), **derivatives)


@pytest.mark.parametrize(("method", "error"), [("forward", 3e-6), ("central", 1e-8)])
def test_differences_agree_with_exact_derivatives_in_x(method, error):
    options = DerivativeOptions(method=method)
    exact, differenced = (
        Problem(objective).vector(derivatives=options) for objective in (bent(), bent(derivatives="differences"))
    )
    assert not differenced.has_derivatives
    for x in (exact.x0, exact.x0 + 1.0, exact.x0 - 2.0):
        jacobian = exact.evaluate(x, None).jacobian
        assert_allclose(differenced.evaluate(x, None).jacobian, jacobian, rtol=error, atol=error)


def test_differences_survive_where_a_transform_is_flat():
    problem = Problem(bent(derivatives="differences")).vector()
    found = problem.evaluate(np.array([100.0, 0.0]), None)
    assert np.all(np.isfinite(found.jacobian))
    assert_allclose(found.jacobian[:, 0], 0.0, atol=1e-12)


@pytest.mark.parametrize(
    "optimizer", [LeastSquaresOptimizer(), ScipyOptimizer("BFGS"), JaxOptimizer("lm"), JaxOptimizer("lbfgs")], ids=repr
)
def test_every_kind_of_optimizer_finds_the_minimum(optimizer):
    result = optimizer.optimize(Problem(bent()))
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-4)


def test_gradient_check_and_sensitivity_work_through_transforms():
    assert check_gradient(bent()).is_right
    wrong = FunctionObjective(
        lambda p: p["x"] ** 2,
        [Parameter("x", 2.0, transform="log")],
        derivatives=lambda p: np.array([[5.0 * p["x"]]]),
    )
    check = check_gradient(wrong)
    assert not check.is_right
    # Derivatives are per unit of the parameter, whatever it is varied through.
    assert check.worst.exact == pytest.approx(10.0)
    line = ScalarObjective(lambda p: 3.0 * p["x"], [Parameter("x", 2.0, transform="log")])
    found = compute_sensitivity(line, metric="abs_d1", step_sizes=np.array([1e-4]))
    assert found.d1[0] == pytest.approx(3e-4, rel=1e-6)


def test_a_solution_on_a_bound_is_approached_from_inside():
    objective = ScalarObjective(lambda p: p["x"], Parameters([Parameter("x", 0.5, lower=0.0, upper=1.0)]).unbounded())
    result = ScipyOptimizer("BFGS").optimize(objective)
    assert 0.0 < result.x["x"] < 1e-3


def test_other_starts_and_bounds_do_not_compile_a_program_anew():
    calls = []

    def counted(p):
        calls.append(1)
        return traced_residuals(p)

    objective = FunctionObjective(counted, bent().parameters)
    optimizer = JaxOptimizer("lm")
    optimizer.optimize(objective)
    n_before = len(calls)
    other = [Parameter("x", 0.7, lower=-1.0, upper=2.0), Parameter("y", 0.9, transform="log")]
    result = optimizer.optimize(Problem(objective, Parameters(other).unbounded()))
    assert_allclose(result.x["x"], 1.0, rtol=1e-6)
    assert len(calls) == n_before
