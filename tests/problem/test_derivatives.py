import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit.problem.derivatives import difference_derivatives

FREE = {"lower": np.full(2, -np.inf), "upper": np.full(2, np.inf)}


def curve(x):
    return np.array([np.sin(x[0]) * x[1], np.exp(x[0]), x[1] ** 2])


def exact(x):
    return np.array([[np.cos(x[0]) * x[1], np.sin(x[0])], [np.exp(x[0]), 0.0], [0.0, 2.0 * x[1]]])


@given(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0))
def test_differences_agree_with_exact_derivatives(a, b):
    x = np.array([a, b])
    # Error of a forward difference: step times half the second derivative, and rounding over step.
    assert_allclose(difference_derivatives(curve, x, curve(x), **FREE), exact(x), atol=3e-7)


@pytest.mark.parametrize("x", [[0.0, 0.5], [1.0, 0.5], [1.0, 1.0], [0.0, 0.0], [1.0 - 1e-12, 1e-12]])
def test_differences_stay_inside_the_bounds(x):
    seen = []

    def watched(moved):
        seen.append(moved)
        return curve(moved)

    x = np.array(x)
    found = difference_derivatives(watched, x, curve(x), lower=np.zeros(2), upper=np.ones(2))
    assert np.all((np.array(seen) >= 0.0) & (np.array(seen) <= 1.0))
    assert_allclose(found, exact(x), atol=3e-7)


def test_narrow_bounds_use_the_room_there_is():
    x = np.array([0.3, 0.5])
    found = difference_derivatives(curve, x, curve(x), lower=x - 1e-9, upper=x + 2e-9)
    # A step of 1e-9 loses seven digits more than the usual one.
    assert_allclose(found, exact(x), atol=1e-6)


def test_variable_without_room_has_derivative_zero():
    x = np.array([0.3, 0.5])
    found = difference_derivatives(curve, x, curve(x), lower=np.array([0.3, 0.0]), upper=np.array([0.3, 1.0]))
    assert_allclose(found[:, 0], 0.0)


def test_point_is_not_changed():
    x = np.array([0.3, 0.5])
    difference_derivatives(curve, x, curve(x), **FREE)
    assert_allclose(x, [0.3, 0.5], rtol=0.0)
