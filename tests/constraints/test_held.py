"""Fixed and equal parameters: no optimizer can violate them."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import Equal, Fixed, Parameter, Parameters, Problem, ScipyOptimizer, SumTo, fit
from fieldfit.constraints import ConstraintSystem
from fieldfit.errors import ConstraintError, ParameterError
from fieldfit.optimizers.names import make_optimizer


def applied(parameters, *constraints):
    return ConstraintSystem.of(constraints, Parameters(parameters)).parameters


def test_fixed_parameters_stay_at_their_start_or_at_a_value():
    parameters = applied({"a": 1.0, "k.x": [2.0, 3.0], "k.y": 4.0}, Fixed("a"), Fixed("k.*", 5.0))
    assert not np.any(parameters.is_free)
    assert_allclose(parameters.flat, [1.0, 5.0, 5.0, 5.0])


def test_an_element_is_fixed_alone():
    parameters = applied({"w": [[1.0, 2.0], [3.0, 4.0]]}, Fixed("w[1,0]", 9.0), Fixed("w[0,0]"))
    assert parameters.is_free.tolist() == [False, True, False, True]
    assert_allclose(parameters.flat, [1.0, 2.0, 9.0, 4.0])


def test_an_array_is_fixed_at_an_array():
    assert_allclose(applied({"w": [1.0, 2.0], "b": 0.0}, Fixed("w", [3.0, 4.0])).flat, [3.0, 4.0, 0.0])


def test_equal_parameters_have_one_variable():
    parameters = applied({"a": 1.0, "b": 2.0, "c": 3.0}, Equal("a", "b"))
    assert parameters.space.labels == ("a", "c")
    assert_allclose(parameters.flat, [1.0, 1.0, 3.0])


@pytest.mark.parametrize(
    "constraints",
    [
        [Equal("a", "b", "c", "d")],
        [Equal("*")],
        [Equal("a", "b"), Equal("b", "c"), Equal("c", "d")],
        [Equal("c", "d"), Equal("b", "c"), Equal("a", "b")],
        [Equal("a", "b"), Equal("c", "d"), Equal("d", "b")],
        [Equal("a", "b"), Equal("b", "a"), Equal("d", "c", "a")],
    ],
)
def test_equality_is_an_equivalence(constraints):
    parameters = applied({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, *constraints)
    assert parameters.n_free == 1
    moved = parameters.space.physical(np.array([7.0]))
    assert np.ptp(moved) == 0.0


def test_a_leader_takes_those_along_that_are_tied_to_it():
    tied = Parameters({"a": 1.0, "b": 2.0, "c": 3.0}).tie("c", "b", factor=-2.0)
    parameters = ConstraintSystem.of([Equal("a", "b")], tied).parameters
    assert_allclose(parameters.flat, [1.0, 1.0, -2.0])
    assert parameters.n_free == 1


def test_elements_that_are_equal_are_a_linear_condition():
    system = ConstraintSystem.of([Equal("w[0]", "w[2]", "a")], Parameters({"w": [1.0, 2.0, 3.0], "a": 0.0}))
    (condition,) = system.conditions
    assert_allclose(condition.matrix, [[-1, 0, 1, 0], [-1, 0, 0, 1]])
    assert_allclose(condition.lower, [0.0, 0.0])


def test_parameters_that_follow_a_fixed_one_are_fixed():
    parameters = applied({"a": 1.0, "b": 2.0, "c": 0.0}, Fixed("a", 4.0), Equal("a", "b"))
    assert_allclose(parameters.flat, [4.0, 4.0, 0.0])
    assert parameters.n_free == 1


def residuals(p):
    return jnp.stack([p["a"] - 1.0, 2.0 * (p["b"] - 3.0), 0.5 * (p["c"] - 4.0), p["d"] - 7.0])


METHODS = ["least-squares", "L-BFGS-B", "trf", "SLSQP", "TNC", "trust-constr", "COBYQA", "trust-region", "jax:lm"]


@pytest.mark.parametrize("transform", [None, "logit"])
@pytest.mark.parametrize("method", METHODS)
def test_fixed_and_equal_hold_exactly_for_every_optimizer(method, transform):
    entries = [Parameter(name, 2.0, lower=0.0, upper=10.0, transform=transform) for name in "abcd"]
    if transform is None and method in ("trust-region", "jax:lm"):
        entries = [Parameter(name, 2.0) for name in "abcd"]
    problem = Problem(residuals, entries, constraints=[Equal("a", "b"), Fixed("c", 6.25)], kind="residuals")
    optimizer = ScipyOptimizer(method) if method[0].isupper() or method in ("trf", "trust-constr") else None
    result = (optimizer or make_optimizer(method)).optimize(problem)
    # (a - 1)^2 + 4 (a - 3)^2 is smallest at 13/5.
    assert_allclose([float(result.x[name]) for name in "abd"], [2.6, 2.6, 7.0], atol=1e-4)
    assert float(result.x["a"]) == float(result.x["b"])
    assert float(result.x["c"]) == 6.25


def test_bounds_of_equal_parameters_both_count():
    entries = [Parameter("a", 0.5, lower=0.0, upper=5.0), Parameter("b", 0.7, lower=-1.0, upper=2.0)]
    problem = Problem(lambda p: -p["a"] - p["b"], entries, constraints=Equal("a", "b"))
    assert float(fit(problem).x["a"]) == 2.0


def test_a_fixed_element_takes_its_part_of_a_sum():
    problem = Problem(
        lambda p: jnp.sum(p["w"] ** 2), {"w": [0.0, 0.0, 0.0]}, constraints=[Fixed("w[1]", 3.0), SumTo("w", 1.0)]
    )
    assert_allclose(fit(problem).x["w"], [-1.0, 3.0, -1.0], atol=1e-9)


@pytest.mark.parametrize(
    ("constraints", "error", "words"),
    [
        ([Fixed("x")], ParameterError, "No parameter is called 'x'"),
        ([Fixed("w[5]")], ParameterError, r"No element of a parameter is called 'w\[5\]'"),
        ([Fixed("w", [1.0, 2.0, 3.0])], ConstraintError, r"has the value \[1.0, 2.0, 3.0\], but the parameter has the"),
        ([Fixed("w", "one")], ParameterError, "the value it is fixed at = 'one' is not a number"),
        ([Fixed("a", 9.0)], ParameterError, r"starts at 9, outside its bounds \[0, 5\]. Move the start"),
        ([Fixed("a", np.nan)], ParameterError, "not finite"),
        ([Equal("a")], ConstraintError, "names 1 parameter, but two or more are needed.*Name another one"),
        ([Equal("a", "a")], ConstraintError, "names 1 parameter, but two"),
        ([Equal()], ConstraintError, "names 0 parameters"),
        ([Equal("w[0]", "w[0]")], ConstraintError, "names an element twice"),
        ([Equal("w[0]", "v")], ConstraintError, r"parts of different size: w\[0\] has 1, v has 3"),
        ([Equal("w", "v")], ParameterError, "cannot follow"),
        ([Equal("a", "b"), Fixed("b", 3.0)], ParameterError, "cannot stay as it is while it follows 'a'"),
    ],
)
def test_what_cannot_be_held_is_refused(constraints, error, words):
    parameters = Parameters(
        [
            Parameter("a", 1.0, lower=0.0, upper=5.0),
            Parameter("b", 1.0),
            Parameter("w", [1.0, 2.0]),
            Parameter("v", [1.0, 2.0, 3.0]),
        ]
    )
    with pytest.raises(error, match=words):
        ConstraintSystem.of(constraints, parameters)


def test_ties_that_contradict_an_equality_are_refused():
    tied = Parameters({"a": 1.0, "b": 2.0}).tie("b", "a", factor=2.0)
    with pytest.raises(ConstraintError, match=r"both follow 'a', but with the factors 1 and 2. Take back one"):
        ConstraintSystem.of([Equal("a", "b")], tied)


def test_everything_fixed_is_refused():
    with pytest.raises(ParameterError, match=r"nothing to vary. Free at least one"):
        fit(Problem(lambda p: p["a"] ** 2, {"a": 1.0}, constraints=Fixed("*")))
