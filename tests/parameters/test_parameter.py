import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import Parameter
from fieldfit.errors import ParameterError


def test_scalar_has_no_bounds_and_its_own_size_as_scale():
    parameter = Parameter("bond.k", -350.0, unit="kcal/mol/A^2")
    assert (parameter.lower, parameter.upper, parameter.scale) == (-np.inf, np.inf, 350.0)
    assert parameter.shape == ()
    assert parameter.labels == ("bond.k",)
    assert not parameter.fixed


def test_zero_has_scale_one():
    assert_allclose(Parameter("p", [0.0, -2.0, 4.0]).scale, [1.0, 2.0, 4.0])


def test_array_gets_bounds_once_or_per_element():
    parameter = Parameter("p", [[1.0, 2.0], [3.0, 4.0]], lower=0.0, upper=[[5.0, 6.0], [7.0, 8.0]], fixed=[True, False])
    assert_allclose(parameter.lower, np.zeros((2, 2)))
    assert_allclose(parameter.upper, [[5.0, 6.0], [7.0, 8.0]])
    assert parameter.fixed.tolist() == [[True, False], [True, False]]
    assert parameter.labels == ("p[0,0]", "p[0,1]", "p[1,0]", "p[1,1]")
    assert parameter.size == 4


def test_values_are_copied():
    given = np.array([1.0, 2.0])
    parameter = Parameter("p", given)
    given[0] = 7.0
    assert_allclose(parameter.value, [1.0, 2.0])


def test_replace_checks_again():
    parameter = Parameter("p", 1.0, lower=0.0)
    assert parameter.replace(value=2.0).value == 2.0
    assert parameter.value == 1.0
    with pytest.raises(ParameterError, match="starts at -1, outside its bounds"):
        parameter.replace(value=-1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": np.nan}, "'p' starts at nan A, which is not finite"),
        ({"value": "one"}, "value = 'one' is not a number"),
        ({"value": 1.0, "lower": [0.0, 0.0]}, r"lower = \[0.0, 0.0\] is not a number or an array of shape \(\)"),
        ({"value": 1.0, "lower": 3.0, "upper": 2.0}, r"'p' has the bounds \[3, 2\] A: the lower one is above"),
        ({"value": 9.0, "upper": 3.0}, r"'p' starts at 9 A, outside its bounds \[-inf, 3\] A"),
        ({"value": [1.0, 9.0], "upper": 3.0}, r"'p\[1\]' starts at 9 A"),
        ({"value": 1.0, "scale": 0.0}, "'p' has the scale 0.0 A"),
        ({"value": 1.0, "scale": np.inf}, "'p' has the scale inf A"),
        ({"value": 1.0, "lower": np.nan}, "the lower one is above"),
    ],
)
def test_impossible_values_are_refused_by_name_with_unit(options, message):
    with pytest.raises(ParameterError, match=message):
        Parameter("p", unit="A", **options)


def test_scalar_and_array_read_well():
    assert repr(Parameter("r", 1.09, unit="A", lower=0.5, upper=3.0)) == "Parameter(r = 1.09 A in [0.5, 3])"
    assert repr(Parameter("r", 1.0, fixed=True)) == "Parameter(r = 1 in [-inf, inf], fixed)"
    assert repr(Parameter("r", [1.0, 2.0], unit="A")) == "Parameter(r: array of shape (2,) A)"


def test_a_start_at_zero_is_scaled_by_its_bounds():
    assert Parameter("p", 0.0, lower=-3.0, upper=6.0).scale == 9.0
    assert Parameter("p", 0.0, lower=-3.0).scale == 1.0
    assert_allclose(Parameter("p", [0.0, 2.0], lower=-3.0, upper=6.0).scale, [9.0, 2.0])


def test_scale_from_bounds():
    assert Parameter("p", 1.0, lower=-3.0, upper=6.0, scale="bounds").scale == 9.0
    assert Parameter("p", 2.0, lower=2.0, upper=2.0, scale="bounds").scale == 2.0
    with pytest.raises(ParameterError, match=r"distance between its bounds .* infinite"):
        Parameter("p", 1.0, lower=-3.0, scale="bounds")
    with pytest.raises(ParameterError, match="No way to scale is called 'bound'"):
        Parameter("p", 1.0, scale="bound")


def test_none_is_no_bound():
    parameter = Parameter("p", [1.0, 2.0], lower=None, upper=[None, 5.0])
    assert parameter.lower.tolist() == [-np.inf, -np.inf]
    assert parameter.upper.tolist() == [np.inf, 5.0]


@pytest.mark.parametrize("value", [1j, np.array([1.0 + 1j]), "1.0", True, None, [None, 1.0]])
def test_what_is_no_real_number_is_refused(value):
    with pytest.raises(ParameterError, match="is not a number or an array of numbers"):
        Parameter("p", value)
