"""Linear conditions that cannot hold together: exactly those in conflict are named."""

import itertools

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from fieldfit import Equal, Fixed, LinearEquality, LinearInequality, Parameter, Parameters, Problem, SumTo
from fieldfit.constraints import ConstraintSystem
from fieldfit.errors import ConstraintError


def refused(constraints, parameters):
    with pytest.raises(ConstraintError, match=r"cannot hold together") as caught:
        ConstraintSystem.of(constraints, parameters)
    return str(caught.value)


def test_only_those_in_conflict_are_named():
    parameters = Parameters({"a": 0.0, "b": 0.0, "c": 0.0})
    constraints = [
        SumTo("*", 9.0, name="all"),
        LinearEquality({"a": 1.0, "b": 1.0}, 1.0, name="pair"),
        LinearInequality({"c": 1.0}, upper=3.0, name="little"),
        LinearInequality({"c": 1.0}, lower=4.0, name="much"),
    ]
    text = refused(constraints, parameters)
    assert "little in [-inf, 3]" in text
    assert "much in [4, inf]" in text
    assert "pair" not in text
    assert "all" not in text
    assert "Take one of them back." in text


def test_bounds_in_conflict_are_named_and_others_are_not():
    parameters = Parameters([Parameter("a", 0.5, lower=0.0, upper=1.0), Parameter("b", 0.5, lower=0.0, upper=1.0)])
    parameters = Parameters([*parameters, Parameter("c", 0.0, lower=-2.0, upper=2.0)])
    text = refused([LinearEquality({"a": 1.0, "b": 1.0}, 3.0, name="pair")], parameters)
    assert "a in [0, 1]" in text
    assert "b in [0, 1]" in text
    assert "c in" not in text
    assert "or widen the bounds" in text


def test_fixed_and_tied_parameters_are_part_of_a_conflict():
    parameters = Parameters({"a": 1.0, "b": 2.0, "c": 0.0})
    text = refused([Fixed("a", 4.0), LinearEquality({"a": 1.0}, 5.0, name="five")], parameters)
    assert "five = 5" in text
    assert "a = 4" in text
    text = refused([Equal("a", "b"), LinearEquality({"a": 1.0, "b": -1.0}, 1.0, name="apart")], parameters)
    assert "apart = 1" in text


def test_conditions_of_several_rows_are_one_conflict():
    parameters = Parameters({"w": [0.0, 0.0]})
    text = refused([LinearEquality({"w": [[1.0, 1.0], [2.0, 2.0]]}, [1.0, 3.0], name="rows")], parameters)
    assert "rows (2 rows)" in text


def test_units_are_shown():
    pint = pytest.importorskip("pint")
    quantity = pint.UnitRegistry().Quantity
    parameters = Parameters([Parameter("i", quantity(1.0, "nA"), lower=quantity(0.0, "nA"), upper=quantity(2.0, "nA"))])
    assert "sum of i = 5000 pA" in refused([SumTo("i", quantity(5000.0, "pA"))], parameters)


def test_a_conflict_is_found_when_the_problem_is_made():
    with pytest.raises(ConstraintError, match=r"sum of w \(1\) = 1; sum of w \(2\) = 2"):
        Problem(lambda p: p["w"], {"w": [0.0, 0.0]}, constraints=[SumTo("w", 1.0), SumTo("w", 2.0)])


@pytest.mark.parametrize("size", [1e-12, 1e-3, 1.0, 1e6, 1e12])
def test_repeated_conditions_that_agree_but_for_rounding_are_no_conflict(size):
    parameters = Parameters({"w": np.full(3, 0.1 * size)})
    constraints = [SumTo("w", 0.3 * size), SumTo("w", (0.1 + 0.2) * size), LinearEquality({"w": 3.0}, 0.9 * size)]
    assert len(ConstraintSystem.of(constraints, parameters).conditions) == 3


@pytest.mark.parametrize("size", [1e-12, 1e-3, 1.0, 1e6, 1e12])
def test_a_conflict_does_not_depend_on_the_unit(size):
    parameters = Parameters([Parameter("a", 0.5 * size, lower=0.0, upper=size)])
    text = refused([LinearEquality({"a": 1.0}, 3.0 * size, name="far")], parameters)
    assert "far" in text


def is_feasible(rows, values, limits):
    """By scipy.optimize.linprog with the simplex of HiGHS."""
    found = scipy.optimize.linprog(np.zeros(rows.shape[1]), A_ub=rows, b_ub=values, bounds=limits, method="highs-ds")
    return found.status == 0


@given(st.integers(0, 300))
def test_a_conflict_is_irreducible(seed):
    generator = np.random.default_rng(seed)
    rows = generator.integers(-2, 3, (6, 2)).astype(float)
    rows[np.all(rows == 0.0, axis=1), 0] = 1.0
    values = generator.integers(-4, 3, 6).astype(float) + 0.5
    constraints = [
        LinearInequality({"x": row}, upper=value, name=f"rule {place}")
        for place, (row, value) in enumerate(zip(rows, values, strict=True))
    ]
    parameters = Parameters([Parameter("x", [0.0, 0.0], lower=-5.0, upper=5.0)])
    if is_feasible(rows, values, [(-5.0, 5.0)] * 2):
        ConstraintSystem.of(constraints, parameters)
        return
    text = refused(constraints, parameters)
    named = np.array([f"rule {place} " in text for place in range(6)])
    assert not is_feasible(rows[named], values[named], [(-5.0, 5.0)] * 2)
    for fewer in itertools.combinations(np.flatnonzero(named), np.count_nonzero(named) - 1):
        chosen = list(fewer)
        assert not chosen or is_feasible(rows[chosen], values[chosen], [(-5.0, 5.0)] * 2)
