"""Terms over things, as objectives."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import fieldfit
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.things import Term, Things, bind_objective
from some_things import Polynomial, curve_values, plain, rosenbrock, values_of

T = np.linspace(-1.0, 1.0, 9)


def bound(term, *things):
    return term.bind(Things.of(list(things)))


def test_residuals_are_weighted_distances_to_the_target() -> None:
    objective = bound(Term(values_of(), target=[1.0, 2.0], weight=3.0, normalization=2.0), plain(x=[2.0, 5.0]))
    found = objective.evaluate(np.array([2.0, 5.0]), None, derivatives=True)
    assert_allclose(found.residuals, [1.5, 4.5])
    assert_allclose(found.jacobian, 1.5 * np.eye(2))


def test_residuals_are_distances_to_the_nearer_bound_and_zero_inside() -> None:
    objective = bound(Term(values_of(), bounds=(0.0, 1.0)), plain(x=[-2.0, 0.5, 4.0]))
    assert_allclose(objective.evaluate(np.array([-2.0, 0.5, 4.0]), None, derivatives=False).residuals, [-2.0, 0.0, 3.0])


@pytest.mark.parametrize(("loss", "expected"), [("mean", 3.0), ("min", 1.0), ("max", 6.0), ("sum", 9.0)])
def test_loss_functions_reduce_before_the_goal(loss, expected) -> None:
    values = np.array([1.0, 2.0, 6.0])
    objective = bound(Term(values_of(), target=10.0, weight=2.0, loss_function=loss), plain(x=values))
    assert_allclose(objective.evaluate(values, None, derivatives=False).residuals, [2.0 * (expected - 10.0)])


def test_jacobian_equals_differences() -> None:
    curve = Polynomial([0.3, -0.2, 0.5], 1.7)
    objective = bound(Term(curve_values(T), target=np.exp(T), normalization=0.1), curve)
    x, step = np.array([0.3, -0.2, 0.5, 1.7]), 1e-6
    differences = [
        (
            objective.evaluate(x + move, None, derivatives=False).residuals
            - objective.evaluate(x - move, None, derivatives=False).residuals
        )
        / (2.0 * step)
        for move in step * np.eye(4)
    ]
    assert_allclose(objective.evaluate(x, None, derivatives=True).jacobian, np.transpose(differences), atol=1e-7)


def test_a_term_gets_the_dictionaries_of_its_things_in_its_own_order() -> None:
    one, two = plain(x=[1.0]), plain(x=[2.0], y=3.0)
    objective = Term(lambda p, q: p["x"] * p["y"] - q["x"], [two, one]).bind(Things.of([one, two]))
    assert objective.parameters.names == ("thing0.x", "thing1.x", "thing1.y")
    assert_allclose(objective.evaluate(np.array([1.0, 2.0, 3.0]), None, derivatives=False).residuals, [5.0])


def test_things_may_be_named() -> None:
    one, two = Polynomial([1.0], name="upper"), Polynomial([2.0], name="lower")
    objective = Term(values_of("coefficients"), "lower").bind(Things.of([one, two]))
    assert objective.parameters.names == ("lower.coefficients", "lower.scale")


def test_a_rebuilt_thing_of_the_same_name_stands_for_the_one_in_the_term() -> None:
    old = Polynomial([1.0], name="upper")
    new = old.with_params({"coefficients": [2.0], "scale": 1.0})
    assert Term(values_of("scale"), old).bind(Things.of(new)).parameters.names[1] == "upper.scale"


def test_a_thing_that_is_not_varied_is_an_error() -> None:
    with pytest.raises(SettingsError, match="not among the things"):
        Term(values_of(), plain(x=1.0)).bind(Things.of(plain(x=1.0)))
    with pytest.raises(SettingsError, match="Did you mean 'upper'"):
        Term(values_of(), "uper").bind(Things.of(Polynomial([1.0], name="upper")))


def test_a_sum_has_the_parameters_in_the_order_of_the_things() -> None:
    one, two = plain(x=[1.0]), plain(x=[2.0])
    things = Things.of([one, two])
    terms = [Term(values_of(), two, name="b"), Term(values_of(), one, target=5.0, name="a")]
    objective = bind_objective(terms, things, things.parameters)
    assert objective.parameters.names == ("thing0.x", "thing1.x")
    assert objective.term_slices() == {"b": slice(0, 1), "a": slice(1, 2)}
    found = objective.evaluate(np.array([1.0, 2.0]), objective.initial_state(), derivatives=True)
    assert_allclose(found.residuals, [2.0, -4.0])
    assert_allclose(found.jacobian, [[0.0, 1.0], [1.0, 0.0]])


def test_terms_of_one_name_are_numbered_apart() -> None:
    thing = plain(x=[1.0])
    things = Things.of(thing)
    objective = bind_objective([Term(lambda p: p["x"]), Term(lambda p: p["x"])], things, things.parameters)
    assert list(objective.term_slices()) == ["term (1)", "term (2)"]


def test_an_objective_of_a_things_own_parameters_is_a_term() -> None:
    thing = plain(x=[3.0], y=[4.0])
    own = fieldfit.FunctionObjective(lambda p: p["y"] ** 2, {"y": [4.0]})
    objective = Term(own, thing, target=1.0, weight=2.0).bind(Things.of(thing))
    found = objective.evaluate(np.array([4.0]), objective.initial_state(), derivatives=True)
    assert objective.parameters.names == ("thing0.y",)
    assert_allclose(found.residuals, [30.0])
    assert_allclose(found.jacobian, [[16.0]])


def test_an_objective_of_other_parameters_is_refused() -> None:
    own = fieldfit.FunctionObjective(lambda p: p["z"], {"z": 4.0})
    with pytest.raises(SettingsError, match="'z'"):
        Term(own).bind(Things.of(plain(x=1.0)))


def test_what_was_compiled_for_things_serves_those_of_the_same_shapes() -> None:
    calls = []

    def traced(p):
        calls.append(p)
        return p["x"] ** 2

    term = Term(traced)
    counts = []
    for start in (1.0, 2.0, 3.0):
        objective = term.bind(Things.of(plain(x=[start])))
        objective.evaluate(np.array([start]), None, derivatives=True)
        counts.append(len(calls))
    assert counts[0] == counts[1] == counts[2]


def test_functions_that_cannot_be_traced_are_differenced() -> None:
    term = Term(lambda p: np.array([float(p["x"][0]) ** 2]), derivatives="differences")
    assert not bound(term, plain(x=[2.0])).traits.has_derivatives


def test_a_function_that_raises_is_reported_with_its_parameters() -> None:
    with pytest.raises(EvaluationError, match=r"thing0.x\[0\] = 2"):
        bound(Term(lambda p: p["missing"]), plain(x=[2.0])).evaluate(np.array([2.0]), None, derivatives=False)


@pytest.mark.parametrize(
    "options", [{"target": 1.0, "bounds": (0.0, 1.0)}, {"loss_function": "median"}, {"weight": -1.0}]
)
def test_terms_that_contradict_themselves_are_refused(options) -> None:
    with pytest.raises(SettingsError):
        Term(values_of(), **options)


def test_a_loss_of_several_things_is_differentiated_with_respect_to_all() -> None:
    one, two = plain(x=jnp.array([1.0, 2.0])), plain(x=[3.0])
    objective = Term(lambda p, q: jnp.sum(p["x"]) * q["x"]).bind(Things.of([one, two]))
    assert_allclose(objective.evaluate(np.array([1.0, 2.0, 3.0]), None, derivatives=True).jacobian, [[3.0, 3.0, 3.0]])


def test_a_term_says_what_it_is() -> None:
    assert repr(rosenbrock(2.0)) == "Term(valley = 2.0)"
