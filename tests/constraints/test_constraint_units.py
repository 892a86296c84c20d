"""Units in totals, limits and held values: converted where they can be, refused where they cannot."""

import jax.numpy as jnp
import numpy as np
import pint
import pytest
from numpy.testing import assert_allclose

from fieldfit import (
    Equal,
    Fixed,
    LinearEquality,
    LinearInequality,
    NonlinearEquality,
    NonlinearInequality,
    Parameter,
    Parameters,
    Problem,
    ScipyOptimizer,
    SumTo,
    fit,
)
from fieldfit.constraints import ConstraintSystem
from fieldfit.errors import ConstraintError, ParameterError

UNITS = pint.UnitRegistry()
Q = UNITS.Quantity


def currents():
    return Parameters({"soma": Q(2.0, "nA"), "dendrite": Q([500.0, 700.0], "pA"), "gain": 3.0, "g": Q(1.0, "nS")})


@pytest.mark.parametrize(("total", "expected"), [(Q(4.0, "nA"), 4.0), (Q(4000.0, "pA"), 4000.0), (Q(4e-9, "A"), 4e-9)])
def test_a_total_is_met_in_its_own_unit(total, expected):
    constraint = LinearEquality({"soma": 1.0, "dendrite": 1.0}, total)
    condition = constraint.condition(currents())
    assert_allclose(condition.lower, [expected])
    # 2 nA + 500 pA + 700 pA = 3.2 nA, in the unit of the total.
    assert_allclose(condition.matrix @ currents().flat, [3.2 / 4.0 * expected], rtol=1e-14)
    assert condition.unit == str(total.units.__format__("~"))


def test_a_pattern_over_two_units_is_converted():
    condition = SumTo("soma", Q(2500.0, "pA")).condition(currents())
    assert_allclose(condition.matrix[0, 0], 1000.0)


def test_limits_of_different_units_are_converted_to_one():
    condition = LinearInequality({"soma": 1.0}, Q(1.0, "nA"), Q(4000.0, "pA")).condition(currents())
    assert_allclose([condition.lower, condition.upper], [[1.0], [4.0]])
    one_sided = LinearInequality({"soma": 1.0}, upper=Q(4000.0, "pA")).condition(currents())
    assert_allclose(one_sided.matrix[0, 0], 1000.0)
    assert np.isneginf(one_sided.lower[0])


def test_zero_needs_no_unit():
    condition = LinearEquality({"soma": 1.0, "dendrite": [-1.0, -1.0]}, 0.0).condition(currents())
    assert_allclose(condition.matrix @ currents().flat, [0.8])
    assert condition.unit == "nA"


@pytest.mark.parametrize(
    ("constraint", "error", "words"),
    [
        (SumTo("soma", 3.0), ConstraintError, "asks for plain numbers, but its parameters are in nA. Give its values"),
        (SumTo("gain", Q(3.0, "nA")), ConstraintError, "is in nA, but parameter 'gain' has no unit. Give it one"),
        (SumTo("soma", Q(3.0, "mV")), ConstraintError, "nA.*mV.*cannot be converted"),
        (LinearEquality({"soma": 1.0, "g": 1.0}, Q(1.0, "nA")), ConstraintError, "'g'.*nS.*nA.*cannot be converted"),
        (LinearEquality({"soma": 1.0, "gain": 1.0}, 0.0), ConstraintError, "parameter 'gain' has no unit"),
        (LinearInequality({"soma": 1.0}, Q(1.0, "nA"), 5.0), ConstraintError, "a limit in nA and the plain limit 5.0"),
        (LinearInequality({"soma": 1.0}, Q(1.0, "nA"), Q(2.0, "mV")), (ConstraintError, ParameterError), "mV.*nA"),
        (Fixed("soma", Q(1.0, "mV")), (ConstraintError, ParameterError), "mV.*nA"),
        (Fixed("soma", 1.0), (ConstraintError, ParameterError), "nA"),
        (Fixed("gain", Q(1.0, "nA")), ParameterError, "1.0 nanoampere has a unit, but the start is the plain number 3"),
        (Equal("soma", "g"), (ConstraintError, ParameterError), "nA.*nS.*cannot be converted"),
        (Equal("soma", "gain"), ConstraintError, "joins a value in nA to a plain number. Give both"),
        (Equal("dendrite[0]", "gain"), ConstraintError, "joins a value in pA to a plain number. Give both"),
        (LinearEquality({"soma": Q(1.0, "nA")}, Q(1.0, "nA")), ConstraintError, "coefficient"),
    ],
)
def test_units_that_do_not_fit_are_refused(constraint, error, words):
    with pytest.raises(error, match=words):
        ConstraintSystem.of([constraint], currents())


def test_temperatures_on_two_scales_are_not_added():
    parameters = Parameters({"inside": Q(300.0, "kelvin"), "outside": Q(20.0, "degC")})
    with pytest.raises(ConstraintError, match=r"whose zeros differ. Give both in the same unit"):
        ConstraintSystem.of([Equal("inside", "outside")], parameters)
    with pytest.raises(ConstraintError, match=r"whose zeros differ"):
        LinearInequality({"*": 1.0}, upper=Q(600.0, "kelvin")).condition(parameters)


def test_equal_parameters_keep_their_own_units():
    parameters = ConstraintSystem.of([Equal("a", "b")], Parameters({"a": Q(2.0, "nA"), "b": Q(1.0, "pA")})).parameters
    assert_allclose(parameters.flat, [2.0, 2000.0])
    elements = Parameters({"a": Q([2.0, 5.0], "nA"), "b": Q(1.0, "pA")})
    (condition,) = ConstraintSystem.of([Equal("a[1]", "b")], elements).conditions
    assert_allclose(condition.matrix @ [2.0, 5.0, 5000.0], [0.0], atol=1e-11)


def test_fixed_values_are_converted():
    parameters = ConstraintSystem.of([Fixed("soma", Q(1500.0, "pA"))], currents()).parameters
    assert_allclose(parameters["soma"].value, 1.5, rtol=1e-15)


@pytest.mark.parametrize("unit", ["pA", "nA", "uA"])
def test_the_answer_does_not_depend_on_the_unit_of_a_limit(unit):
    def loss(p):
        return jnp.sum((p["i"].to("nA").magnitude - np.array([1.0, 2.0, 6.0])) ** 2)

    total = Q(6.0, "nA").to(unit)
    problem = Problem(loss, {"i": Q(np.zeros(3), "nA")}, constraints=SumTo("i", total, name="total"))
    result = fit(problem)
    assert_allclose(result.x["i"].to("nA").magnitude, [0.0, 1.0, 5.0], atol=1e-9)
    # d loss / d total = -2 per nA and row of the limit.
    assert_allclose(result.multipliers["total"] * float(Q(1.0, "nA").to(unit).magnitude), [2.0], rtol=1e-8)
    assert unit in str(result.constraints[0]).replace("µ", "u")


@pytest.mark.parametrize("given", [Q(2.0, "nA**2"), Q(2e6, "pA**2")])
def test_functions_that_return_quantities_are_converted(given):
    rule = NonlinearEquality(lambda p: p["a"] * p["a"] + p["b"] * p["b"], given, name="circle")
    problem = Problem(
        lambda p: p["a"].to("nA").magnitude + p["b"].to("nA").magnitude,
        {"a": Q(1.0, "nA"), "b": Q(500.0, "pA")},
        constraints=rule,
    )
    result = ScipyOptimizer("SLSQP").optimize(problem)
    assert_allclose([result.x["a"].to("nA").magnitude, result.x["b"].to("nA").magnitude], [-1.0, -1.0], atol=1e-7)
    assert str(result.x["b"].units) == "picoampere"


def test_violations_are_named_with_value_limit_and_unit():
    problem = Problem(
        lambda p: p["v"].magnitude ** 2,
        [Parameter("v", Q(3.0, "mV"), upper=Q(5.0, "mV"))],
        constraints=NonlinearInequality(lambda p: p["v"] ** 2, lower=Q(100.0, "mV**2"), name="power"),
    )
    result = fit(problem)
    assert not result.success
    text = f"{result.verdict.reason} {result.summary()}"
    assert "power" in text
    assert "100" in text
    assert "mV" in text
    assert result.violation == pytest.approx(75.0)


def test_plain_limits_on_a_function_that_returns_a_quantity_are_refused():
    rule = NonlinearInequality(lambda p: p["a"] * 2.0, upper=5.0, name="twice")
    with pytest.raises((ConstraintError, ParameterError), match=r"twice.*nA"):
        Problem(lambda p: p["a"].magnitude ** 2, {"a": Q(1.0, "nA")}, constraints=rule).vector()


@pytest.mark.parametrize("unit", ["fA", "nA", "A"])
def test_what_counts_as_violated_does_not_depend_on_the_unit(unit):
    def excess(value):
        parameters = Parameters({"i": Q(3.0, "nA").to(unit), "j": Q(3.0, "nA").to(unit)})
        rules = [SumTo("i", total := Q(2.0, "nA").to(unit)), LinearInequality({"j": 1.0}, upper=0.0 * total)]
        rules += [
            NonlinearEquality(lambda p: p["i"] ** 2, total**2),
            NonlinearInequality(lambda p: p["i"], lower=total),
        ]
        found = Problem(lambda p: p["i"].magnitude, parameters, constraints=rules).vector(eliminate=False)
        values = found.evaluate(np.full(2, value / 3.0), None).constraints
        return found.constraints.violation(values) / found.constraints.tolerance

    # 1.5 nA in scales of 3 nA: 1/2 of 2, 3/2 of 3, 7/4 of 9 (at the start), 1/2 of 3.
    assert_allclose(excess(1.5) * 1e-8, [1.0 / 6.0, 0.5, 1.75 / 9.0, 1.0 / 6.0], rtol=1e-9)


def test_a_ratio_of_quantities_is_a_number():
    rule = NonlinearInequality(lambda p: p["a"] / p["b"], upper=0.5, name="ratio")
    vector = Problem(lambda p: p["a"].magnitude, {"a": Q(1.0, "nA"), "b": Q(500.0, "pA")}, constraints=rule).vector()
    assert_allclose(vector.evaluate(vector.x0, None).constraints, [2.0])
