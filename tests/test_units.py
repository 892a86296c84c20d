"""Quantities in, quantities out, plain numbers inside, with every library that is known."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import LeastSquaresOptimizer, Parameter, Parameters, ScalarObjective, ScipyOptimizer
from fieldfit.errors import ParameterError
from fieldfit.objectives import FunctionObjective
from fieldfit.parameters import parameters_from_bounds, structured_parameters
from fieldfit.units import Unit, as_unit, is_quantity, strip, unit_of

pint = pytest.importorskip("pint")
REGISTRY = pint.UnitRegistry()


def pint_quantity(value, unit):
    return REGISTRY.Quantity(value, unit)


def saiunit_quantity(value, unit):
    saiunit = pytest.importorskip("saiunit")
    return saiunit.Quantity(value, unit={"A": saiunit.amp}.get(unit) or getattr(saiunit, unit))


def brainunit_quantity(value, unit):
    brainunit = pytest.importorskip("brainunit")
    return brainunit.Quantity(value, unit={"A": brainunit.amp}.get(unit) or getattr(brainunit, unit))


def unxt_quantity(value, unit):
    unxt = pytest.importorskip("unxt")
    with jax.enable_x64(True):
        return unxt.Quantity(np.asarray(value, dtype=float), unit)


LIBRARIES = [pint_quantity, saiunit_quantity, brainunit_quantity, unxt_quantity]


@pytest.fixture(params=LIBRARIES, ids=lambda make: make.__name__.removesuffix("_quantity"))
def quantity(request):
    request.param(1.0, "pA")
    return request.param


def test_quantities_are_converted_to_the_unit(quantity):
    unit = unit_of(quantity(3.0, "pA"))
    assert str(unit) == "pA"
    assert_allclose(unit.magnitude(quantity([1.0, 2.0], "nA")), [1000.0, 2000.0], rtol=1e-15)
    assert unit.magnitude(2.0) == 2.0
    assert unit_of(2.0) is None


def test_attach_and_magnitude_undo_each_other_in_64_bit(quantity):
    unit = unit_of(quantity(1.0, "pA"))
    numbers = np.array([1.0 / 3.0, np.pi])
    assert unit.magnitude(unit.attach(numbers)).tolist() == numbers.tolist()
    assert unit.magnitude(unit.attach(np.asarray(0.1))) == 0.1


def test_units_work_on_traced_arrays(quantity):
    unit = unit_of(quantity(1.0, "nA"))
    other = unit_of(quantity(1.0, "pA"))

    def in_other(x):
        return other.traced_magnitude(unit.attach(x) + unit.attach(x))

    with jax.enable_x64(True):
        assert_allclose(jax.jit(in_other)(np.array([1.0, 2.0])), [2000.0, 4000.0], rtol=1e-14)
        assert jax.grad(in_other)(1.0) == pytest.approx(2000.0)


def test_stripping_leaves_numbers_and_reduces_what_has_no_dimension(quantity):
    assert_allclose(strip(quantity([1.0, 2.0], "pA")), [1.0, 2.0])
    with jax.enable_x64(True):
        assert float(np.asarray(strip(quantity(1.0, "pA") / quantity(1.0, "nA")))) == pytest.approx(1e-3, rel=1e-14)
    assert strip(3.0) == 3.0
    assert_allclose(strip([quantity(1.0, "pA"), 2.0]), [1.0, 2.0])


def test_units_that_do_not_fit_are_named(quantity):
    with pytest.raises(ParameterError, match=r"'i'.* is in mV, which cannot be converted to pA"):
        Parameter("i", quantity(1.0, "pA"), upper=quantity(2.0, "mV"))
    with pytest.raises(ParameterError, match=r"The value is a plain number, but it has to be in pA"):
        unit_of(quantity(1.0, "pA")).traced_magnitude(2.0)


def test_everything_is_in_the_unit_of_the_value(quantity):
    entry = Parameter("i", quantity(1.0, "pA"), lower=0, upper=quantity(1.0, "nA"), scale=quantity(0.5, "nA"))
    assert isinstance(entry.unit, Unit)
    assert_allclose([entry.value, entry.lower, entry.upper, entry.scale], [1.0, 0.0, 1000.0, 500.0], rtol=1e-15)
    assert "pA" in repr(entry)
    assert entry.replace(value=2.0).value == 2.0
    assert_allclose(entry.replace(value=quantity(0.9, "nA")).value, 900.0, rtol=1e-15)


def test_a_stated_unit_is_the_one_everything_is_in(quantity):
    nano = unit_of(quantity(1.0, "nA"))
    for unit in (nano, nano.handle):
        entry = Parameter("i", quantity(500.0, "pA"), unit=unit, lower=0.25, upper=2.0)
        assert_allclose([entry.value, entry.lower, entry.upper], [0.5, 0.25, 2.0], rtol=1e-15)
    assert as_unit(nano.handle) == nano
    assert isinstance(Parameter("i", 1.0, unit=nano).unit, Unit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": "pA", "upper": 2.0}, "upper = 2.0 is a plain number, but the start is in pA"),
        ({"value": "pA", "scale": 2.0}, "scale = 2.0 is a plain number, but the start is in pA"),
        ({"value": 1.0, "upper": "pA"}, "has a unit, but the start is the plain number"),
        ({"value": "pA", "unit": "pA"}, "its unit is the text 'pA'"),
        ({"value": 1.0, "unit": 3.0}, "has the unit 3.0, which is neither"),
    ],
)
def test_plain_numbers_next_to_quantities_are_refused(quantity, options, message):
    made = {key: quantity(1.0, text) if key != "unit" and text == "pA" else text for key, text in options.items()}
    with pytest.raises(ParameterError, match=message):
        Parameter("i", **made)


def test_infinite_missing_and_zero_bounds_need_no_unit(quantity):
    entry = Parameter("i", quantity(1.0, "pA"), lower=0.0, upper=None)
    assert (entry.lower, entry.upper) == (0.0, np.inf)


def gap(quantity, start, unit):
    """Squared distance of a current from 3 nA, whatever unit the current is in."""
    target = quantity(3.0, "nA")
    factor = {"pA": 1e3, "nA": 1.0, "A": 1e-9}[unit]
    parameters = parameters_from_bounds(
        {"i": (quantity(1.0 * factor, unit), quantity(5.0 * factor, unit))}, {"i": quantity(start * factor, unit)}
    )
    return parameters, lambda p: ((p["i"] - target) / target) ** 2


@pytest.mark.parametrize("unit", ["pA", "nA", "A"])
def test_functions_get_quantities_and_results_are_quantities(quantity, unit):
    parameters, loss = gap(quantity, 2.0, unit)
    result = ScipyOptimizer("L-BFGS-B").optimize(ScalarObjective(loss, parameters))
    assert result.success
    assert is_quantity(result.x["i"])
    assert str(unit_of(result.x["i"])) == unit
    # The loss is quadratic: what is left of its gradient is 1e-5 of a scale at most.
    assert_allclose(unit_of(quantity(1.0, "nA")).magnitude(result.x["i"]), 3.0, rtol=1e-5)


def test_the_unit_of_the_bounds_does_not_change_the_problem(quantity):
    spaces = [gap(quantity, 2.0, unit)[0].space for unit in ("pA", "nA", "A")]
    for space in spaces[1:]:
        assert_allclose(space.start, spaces[0].start, rtol=1e-12)
        assert_allclose(space.lower, spaces[0].lower, rtol=1e-12)
        assert_allclose(space.upper, spaces[0].upper, rtol=1e-12)


@pytest.mark.parametrize("transform", ["log", "logit", "unbounded"])
def test_the_unit_does_not_change_transformed_variables_either(quantity, transform):
    spaces = []
    for unit in ("pA", "nA", "A"):
        entry = gap(quantity, 2.0, unit)[0]["i"]
        spaces.append(Parameters([entry.replace(transform=transform)]).space)
    for space in spaces[1:]:
        assert_allclose(space.start, spaces[0].start, rtol=1e-12, atol=1e-15)
        assert_allclose(space.lower, spaces[0].lower, rtol=1e-12)


def test_plain_losses_get_magnitudes_in_the_same_units(quantity):
    parameters = structured_parameters({"i": quantity([2.0, 1.0], "nA")}, units="magnitude")
    assert str(parameters["i"].unit) == "nA"
    handed = parameters.tree(parameters.flat)["i"]
    assert isinstance(handed, np.ndarray)
    assert handed.tolist() == [2.0, 1.0]
    objective = FunctionObjective(lambda p: p["i"] - jnp.array([3.0, 4.0]), parameters)
    assert_allclose(LeastSquaresOptimizer().optimize(objective).x["i"], [3.0, 4.0], rtol=1e-8)


def test_residuals_with_units_are_fitted_with_exact_derivatives(quantity):
    target = quantity([3.0, 4.0], "nA")
    objective = FunctionObjective(lambda p: 2.0 * p["i"] - target, {"i": quantity([2.0, 1.0], "nA")})
    found = objective.evaluate(np.array([2.0, 1.0]), None, derivatives=True)
    assert_allclose(found.residuals, [1.0, -2.0], rtol=1e-14)
    assert_allclose(found.jacobian, [[2.0, 0.0], [0.0, 2.0]], rtol=1e-14)


def test_parameters_with_units_can_be_pickled(quantity):
    parameters = structured_parameters({"soma": {"i": quantity(2.0, "nA")}}, (0, None))
    again = pickle.loads(pickle.dumps(parameters))
    assert again["soma.i"].unit == parameters["soma.i"].unit
    assert str(unit_of(again.tree(again.flat)["soma"]["i"])) == "nA"


def test_replaced_values_are_converted(quantity):
    parameters = Parameters([Parameter("i", quantity(1.0, "nA")), Parameter("j", quantity(1.0, "nA"))]).tie("j", "i")
    moved = parameters.replace({"i": quantity(500.0, "pA"), "j": quantity(0.5, "nA")})
    assert_allclose(moved.flat, [0.5, 0.5], rtol=1e-15)
    with pytest.raises(ParameterError, match="tied to 'i'"):
        parameters.replace({"i": quantity(500.0, "pA"), "j": quantity(0.6, "nA")})


def test_temperatures_with_an_offset_are_converted():
    entry = Parameter("t", REGISTRY.Quantity(20.0, "degC"), upper=REGISTRY.Quantity(373.15, "K"))
    assert_allclose(entry.upper, 100.0, rtol=1e-12)
    handed = Parameters([entry]).tree(np.array([30.0]))["t"]
    assert handed.m_as("K") == pytest.approx(303.15)


def test_libraries_do_not_mix():
    with pytest.raises(ParameterError, match="is a quantity of saiunit, but it has to be in pA of pint"):
        Parameter("i", pint_quantity(1.0, "pA"), upper=saiunit_quantity(2.0, "pA"))
