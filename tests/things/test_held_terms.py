"""Terms as constraints: linear ones become rows and fixed elements, others conditions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit.constraints import ConstraintSystem
from fieldfit.errors import ConstraintError
from fieldfit.things import HeldTerm, Term, Things
from some_things import plain, values_of


def held(term, **values) -> tuple[HeldTerm, Things]:
    things = Things.of(plain(**values))
    return HeldTerm(term.bind(things)), things


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(2, 5))
def test_rows_of_a_linear_term_are_its_matrix_and_its_distance_to_the_target(seed, n_rows, size) -> None:
    rng = np.random.default_rng(seed)
    matrix, offset, target = rng.normal(size=(n_rows, size)), rng.normal(size=n_rows), rng.normal(size=n_rows)
    term = Term(lambda p: matrix @ p["x"] + offset, target=target, is_linear=True, name="rows")
    constraint, things = held(term, y=[1.0], x=rng.normal(size=size))
    condition = constraint.condition(things.parameters)
    assert_allclose(condition.matrix, np.hstack([np.zeros((n_rows, 1)), matrix]), atol=1e-12)
    assert_allclose(condition.lower, target - offset, atol=1e-9)
    assert_array_equal(condition.lower, condition.upper)


def test_limits_of_a_linear_term_with_bounds_are_an_inequality() -> None:
    term = Term(lambda p: jnp.sum(p["x"]) + 1.0, bounds=(None, 5.0), is_linear=True)
    constraint, things = held(term, x=[1.0, 2.0])
    condition = constraint.condition(things.parameters)
    assert_allclose([condition.lower[0], condition.upper[0]], [-np.inf, 4.0])


def test_a_row_of_one_element_fixes_it() -> None:
    term = Term(lambda p: jnp.stack([2.0 * p["x"][1], p["x"][0] + p["x"][2]]), target=[6.0, 1.0], is_linear=True)
    constraint, things = held(term, x=[0.0, 0.0, 0.0])
    system = ConstraintSystem.of([constraint], things.parameters)
    assert_array_equal(system.parameters["thing0.x"].fixed, [False, True, False])
    assert_allclose(system.parameters["thing0.x"].value[1], 3.0)
    assert_allclose(system.conditions[0].matrix, [[1.0, 0.0, 1.0]])


def test_a_term_that_is_all_single_elements_is_no_condition() -> None:
    constraint, things = held(Term(values_of(), target=[1.0, 2.0], is_linear=True), x=[0.0, 0.0])
    assert ConstraintSystem.of([constraint], things.parameters).conditions == ()


@pytest.mark.parametrize(
    "function", [lambda p: p["x"] ** 2, lambda p: jnp.abs(p["x"] - 1.0), lambda p: jnp.sin(p["x"])]
)
def test_a_term_that_is_said_to_be_linear_and_is_not_is_an_error(function) -> None:
    constraint, things = held(Term(function, is_linear=True, name="bent"), x=[1.0, 1.0])
    with pytest.raises(ConstraintError, match="'bent' is said to be linear"):
        constraint.condition(things.parameters)


def test_a_linear_term_without_derivatives_is_an_error() -> None:
    constraint, things = held(Term(lambda p: p["x"], is_linear=True, derivatives="differences"), x=[1.0])
    with pytest.raises(ConstraintError, match="differences"):
        constraint.condition(things.parameters)


def test_a_row_that_nothing_can_change_has_to_hold() -> None:
    constraint, things = held(Term(lambda p: 0.0 * p["x"] + 1.0, target=2.0, is_linear=True, name="never"), x=[1.0])
    with pytest.raises(ConstraintError, match="row 0 is 1 whatever the parameters are, but should be 2"):
        constraint.condition(things.parameters)


def test_one_element_cannot_have_two_values() -> None:
    constraint, things = held(Term(lambda p: jnp.stack([p["x"], p["x"]]), target=[1.0, 2.0], is_linear=True), x=0.0)
    with pytest.raises(ConstraintError, match=r"asks for thing0.x = 1 and for 2"):
        constraint.applied(things.parameters)


def test_linear_terms_that_cannot_hold_together_are_named() -> None:
    things = Things.of(plain(x=[1.0, 2.0]))
    terms = [Term(lambda p: jnp.sum(p["x"]), target=total, is_linear=True, name=f"sum {total}") for total in (1.0, 2.0)]
    with pytest.raises(ConstraintError, match=r"sum 1\.0.*sum 2\.0"):
        ConstraintSystem.of([HeldTerm(term.bind(things)) for term in terms], things.parameters)


def test_a_nonlinear_term_is_held_in_units_of_its_normalization() -> None:
    term = Term(lambda p: p["x"] ** 2, bounds=(1.0, 4.0), normalization=10.0, name="square")
    constraint, things = held(term, x=[3.0])
    condition = constraint.condition(things.parameters)
    assert_allclose([condition.lower[0], condition.upper[0]], [0.1, 0.4])
    assert_allclose(condition.objective.evaluate(np.array([3.0]), None, derivatives=False).residuals, [0.9])


def test_a_term_that_must_hold_cannot_weigh_nothing() -> None:
    constraint, things = held(Term(lambda p: p["x"] ** 2, weight=0.0), x=[3.0])
    with pytest.raises(ConstraintError, match="weight"):
        constraint.condition(things.parameters)
