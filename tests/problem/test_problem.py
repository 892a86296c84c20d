"""Problems from plain functions: how they take their parameters, what they return, in which scales they are solved."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose

from fieldfit import (
    FunctionObjective,
    LeastSquaresOptimizer,
    Parameter,
    Parameters,
    Problem,
    ScipyOptimizer,
    SumTo,
    fit,
)
from fieldfit.errors import EvaluationError, FieldfitError, ParameterError, SettingsError


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Cell:
    """A structure of two leaves."""

    g: object
    e: object


STRUCTURES = {
    "a number": (3.0, lambda p: (p - 1.0) ** 2, lambda x: [float(x)], [1.0]),
    "an array": (np.zeros(2), lambda p: jnp.sum((p - jnp.array([1.0, 2.0])) ** 2), lambda x: x, [1.0, 2.0]),
    "a matrix": (np.eye(2), lambda p: jnp.sum((p - 0.5) ** 2), np.ravel, [0.5] * 4),
    "a dictionary": (
        {"b": 0.0, "a": 1.0},
        lambda p: (p["b"] - 2.0) ** 2 + p["a"] ** 2,
        lambda x: [*x.values()],
        [2, 0],
    ),
    "a list": ([0.0, np.zeros(2)], lambda p: (p[0] - 1.0) ** 2 + jnp.sum((p[1] - 2.0) ** 2), np.hstack, [1, 2, 2]),
    "a tuple": ((0.0, 0.0), lambda p: (p[0] - 1.0) ** 2 + (p[1] - 2.0) ** 2, np.hstack, [1.0, 2.0]),
    "a nested tree": (
        {"soma": {"g": 0.0, "e": (1.0, np.ones(2))}},
        lambda p: (p["soma"]["g"] - 3.0) ** 2 + p["soma"]["e"][0] ** 2 + jnp.sum((p["soma"]["e"][1] - 2.0) ** 2),
        lambda x: np.hstack([x["soma"]["g"], *x["soma"]["e"]]),
        [3.0, 0.0, 2.0, 2.0],
    ),
    "a dataclass": (Cell(1.0, 2.0), lambda c: (c.g - 3.0) ** 2 + c.e**2, lambda c: [float(c.g), float(c.e)], [3, 0]),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_answer_has_the_structure_of_the_start(name):
    start, loss, flat, expected = STRUCTURES[name]
    result = fit(Problem(loss, start))
    assert result.success
    assert type(result.x) is type(start) or np.ndim(start) == 0
    assert_allclose(flat(result.x), expected, atol=1e-6)


def test_a_module_of_equinox_is_a_structure():
    equinox = pytest.importorskip("equinox")

    class Line(equinox.Module):
        slope: object
        shift: object

        def __call__(self, t):
            return self.slope * t + self.shift

    t = np.linspace(0.0, 1.0, 5)
    result = fit(Problem(lambda line: line(t) - (2.0 * t + 1.0), Line(0.0, 0.0), kind="residuals"))
    assert isinstance(result.x, Line)
    assert_allclose(result.x(t), 2.0 * t + 1.0, atol=1e-6)


def test_keys_stay_in_the_users_order():
    result = fit(Problem(lambda p: sum(value**2 for value in p.values()), {"z": 1.0, "a": 2.0, "m": 3.0}))
    assert list(result.x) == ["z", "a", "m"]


def plain(x, y):
    return (x - 2.0) ** 2 + (y + 1.0) ** 2


@pytest.mark.parametrize(
    ("call", "start", "bounds"),
    [
        ("positional", [0.0, 0.0], None),
        ("positional", (0.0, 0.0), [(-5.0, 5.0), (None, None)]),
        ("positional", None, [(-5.0, 4.0), (-3.0, 3.0)]),
        ("keywords", {"x": 0.0, "y": 0.0}, {"x": (-5.0, 5.0)}),
        ("keywords", {"y": 0.0, "x": 0.0}, None),
        ("keywords", None, {"y": (-5.0, 4.0), "x": (-3.0, 3.0)}),
    ],
)
def test_functions_are_called_as_they_are_written(call, start, bounds):
    result = fit(Problem(plain, start, bounds, call=call))
    found = [result.x["x"], result.x["y"]] if call == "keywords" else result.x
    assert_allclose(np.hstack(found), [2.0, -1.0], atol=1e-6)


@pytest.mark.parametrize("call", ["positional", "keywords"])
def test_constraints_and_derivatives_are_called_in_their_own_way(call):
    seen = []

    def slope(x, y):
        seen.append((float(x), float(y)))
        return np.array([2.0 * (x - 2.0), 2.0 * (y + 1.0)])

    start = [0.0, 0.0] if call == "positional" else {"x": 0.0, "y": 0.0}
    result = fit(Problem(plain, start, call=call, derivatives=slope, constraints=SumTo("*", 2.0)))
    found = result.x if call == "positional" else [result.x["x"], result.x["y"]]
    assert_allclose(np.hstack(found), [2.5, -0.5], atol=1e-7)
    # The start moved onto x + y = 2.
    assert_allclose(seen[0], (1.0, 1.0), rtol=1e-12)


def test_residuals_are_squared_and_a_loss_is_not():
    squares = Problem(lambda p: p["x"] - jnp.arange(3.0), {"x": 5.0}, kind="residuals")
    assert squares.vector().has_residuals
    assert_allclose(fit(squares).x["x"], 1.0, atol=1e-9)
    assert not Problem(lambda p: p["x"] ** 2, {"x": 5.0}).vector().has_residuals


@pytest.mark.parametrize("derivatives", ["jax", "differences", lambda p: np.array([2.0 * (p["x"] - 3.0)])])
def test_every_way_to_differentiate_arrives(derivatives):
    problem = Problem(lambda p: (p["x"] - 3.0) ** 2, {"x": 0.5}, derivatives=derivatives)
    assert_allclose(ScipyOptimizer("L-BFGS-B").optimize(problem).x["x"], 3.0, atol=1e-5)


def test_a_jacobian_may_be_given():
    t = np.linspace(0.0, 1.0, 6)
    problem = Problem(
        lambda p: p["a"] * np.exp(p["k"] * t) - 2.0 * np.exp(-t),
        {"a": 1.0, "k": 0.0},
        kind="residuals",
        derivatives=lambda p: np.stack([np.exp(p["k"] * t), p["a"] * t * np.exp(p["k"] * t)], axis=1),
    )
    result = LeastSquaresOptimizer().optimize(problem)
    assert_allclose([result.x["a"], result.x["k"]], [2.0, -1.0], atol=1e-7)
    assert result.n_difference_evaluations == 0


def test_bounds_hold_per_leaf_and_per_element():
    problem = Problem(
        lambda p: jnp.sum((p["w"] - 5.0) ** 2) + (p["b"] + 5.0) ** 2,
        {"w": np.ones(3), "b": 0.0},
        bounds={"w[1]": (None, 2.0), "b": (-1.0, None)},
    )
    result = fit(problem)
    assert_allclose(result.x["w"], [5.0, 2.0, 5.0], atol=1e-7)
    assert float(result.x["b"]) == -1.0


def test_bounds_of_scipy_are_taken():
    bounds = scipy.optimize.Bounds([-1.0, -np.inf], [0.5, 0.25])
    result = fit(Problem(lambda x: jnp.sum((x - 1.0) ** 2), np.zeros(2), bounds))
    assert_allclose(result.x, [0.5, 0.25], atol=1e-9)


def test_objectives_take_other_starts_and_bounds():
    objective = FunctionObjective(lambda p: jnp.stack([p["x"] - 3.0]), {"x": 0.0})
    assert_allclose(fit(Problem(objective, bounds={"x": (-1.0, 2.0)})).x["x"], 2.0, rtol=1e-15)
    started = Problem(objective, Parameters([Parameter("x", 1.0, upper=1.5)]))
    assert started.vector().space.physical(started.vector().x0).tolist() == [1.0]
    assert_allclose(fit(started).x["x"], 1.5, rtol=1e-15)


GRADIENT_METHODS = ["L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP", "Newton-CG", "trust-constr", "trust-exact"]


@pytest.mark.parametrize("stiffness", [1e6, 1e-6])
@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_automatic_scales_solve_a_badly_scaled_quadratic(method, stiffness):
    def loss(p):
        return (p["x"] - 1.0) ** 2 + stiffness * (p["y"] - 2.0) ** 2

    problem = Problem(loss, {"x": 7.0, "y": -5.0}, scale="automatic")
    result = ScipyOptimizer(method).optimize(problem)
    assert_allclose([float(result.x["x"]), float(result.x["y"])], [1.0, 2.0], atol=1e-6)
    assert result.success


def test_automatic_scales_make_curvatures_equal():
    problem = Problem(lambda p: 3.0 * p["x"] ** 2 + 1e5 * p["y"] ** 2 + 0.0 * p["z"], dict.fromkeys("xyz", 2.0))
    scaled = Problem(problem.objective, scale="automatic")
    before, after = (made.vector() for made in (problem, scaled))
    curvature = np.diag(after.hessian(after.x0, None))
    assert_allclose(curvature[0], curvature[1], rtol=1e-9)
    # The common size stays, and what is not felt keeps its own scale.
    assert_allclose(np.prod(after.space.scale[:2]), np.prod(before.space.scale[:2]), rtol=1e-9)
    assert after.space.scale[2] == before.space.scale[2]


def test_automatic_scales_of_residuals_are_those_of_their_jacobian():
    objective = Problem(lambda p: jnp.stack([p["x"], 1e4 * p["y"]]), {"x": 1.0, "y": 1.0}, kind="residuals").objective
    space = Problem(objective, scale="automatic").vector().space
    assert_allclose(space.scale, [1e2, 1e-2], rtol=1e-9)


def test_scales_from_bounds_are_their_distance():
    problem = Problem(plain, None, {"x": (-5.0, 4.0), "y": (0.0, 3.0)}, call="keywords", scale="bounds")
    assert problem.vector().space.scale.tolist() == [9.0, 3.0]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Problem(plain, [1.0, 2.0], call="position"), SettingsError, "'position'. Did you mean 'positional'"),
        (
            lambda: Problem(plain, [1.0, 2.0], call="positional", kind="los"),
            SettingsError,
            "'los'. Did you mean 'loss'",
        ),
        (lambda: Problem(plain, [1.0, 2.0]), SettingsError, r"plain\(x, y\) cannot be called .*missing a required arg"),
        (lambda: Problem(plain, {"x": 1.0, "z": 1.0}, call="keywords"), SettingsError, "cannot be called with .* x, z"),
        (lambda: Problem(plain, {"x": 1.0, "y": 1.0}, call="positional"), SettingsError, "needs a list or tuple.*dict"),
        (lambda: Problem(plain, [1.0, 2.0], call="keywords"), SettingsError, "needs a dictionary of parameters.*list"),
        (lambda: Problem(plain, [1.0, 2.0, 3.0], call="positional"), SettingsError, "too many positional arguments"),
        (lambda: Problem(lambda p: p, {"x": 1.0}, {"x": (2.0, 1.0)}), ParameterError, "above the upper one. Swap them"),
        (lambda: Problem(lambda p: p, {"x": 1.0}, {"y": (0.0, 1.0)}), ParameterError, "'y'"),
        (lambda: Problem(lambda p: p, {"x": 1.0}, {"x": (2.0, 3.0)}), ParameterError, "outside its bounds"),
        (lambda: Problem(lambda p: p), (ParameterError, SettingsError), "parameters|bounds"),
        (lambda: Problem(lambda p: p, {"x": 1.0}, scale="guess"), (ParameterError, SettingsError), "'guess'"),
        (lambda: Problem(lambda p: p, {"x": 1.0}, scale="bounds"), ParameterError, "infinite. Give two finite bounds"),
        (lambda: Problem(lambda p: p, {"x": 1.0 + 1.0j}), ParameterError, "real numbers"),
        (lambda: Problem(lambda p: p, {"x": "one"}), ParameterError, "'one'"),
        (lambda: Problem(lambda p: p, {"x": np.nan}), ParameterError, "not finite. Give a finite start"),
        (lambda: Problem(lambda p: p["x"], {"x": 1.0}, derivatives="exact"), SettingsError, "'exact'"),
        (lambda: Problem(lambda p: jnp.log(p["x"]), {"x": -1.0}, scale="automatic"), EvaluationError, "at the start: "),
    ],
)
def test_what_cannot_be_a_problem_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [
        (lambda p: p["x"] * jnp.ones(3), "loss", r"an array of shape \(3,\), but a loss is one number. Sum it"),
        (lambda p: None, "loss", r"returned nothing \(None\)"),
        (lambda p: {"x": p["x"]}, "loss", "not a number or an array"),
        (lambda p: p["x"] * (1.0 + 1.0j), "loss", "complex numbers"),
        (lambda p: "much", "loss", "'much'"),
        (lambda p: jnp.log(-p["x"]), "loss", "not finite at x = 1"),
        (lambda p: jnp.log(-p["x"]) * jnp.ones(2), "residuals", "not finite at x = 1"),
        (lambda p: 1.0 / 0.0, "loss", "ZeroDivisionError"),
    ],
)
def test_what_a_function_cannot_return_is_named(function, kind, words):
    with pytest.raises(FieldfitError, match=words):
        fit(Problem(function, {"x": 1.0}, kind=kind))


def test_a_problem_reads_as_a_sentence():
    problem = Problem(lambda p: p["a"] ** 2, {"a": 1.0, "w": [1.0, 2.0]}, constraints=SumTo("w", 3.0))
    assert repr(problem) == "Problem(scalar, 3 free of 3 parameters, 1 constraint)"
