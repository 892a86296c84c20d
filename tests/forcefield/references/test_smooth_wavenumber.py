"""Wavenumbers of eigenvalues of any size and sign, with slopes that stay finite."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit.forcefield.references.vibrational import SOFTEST, smooth_wavenumber, smooth_wavenumber_slope
from fieldfit.forcefield.vibrations import eigenvalue, wavenumber
from molecules import central_differences


@given(st.floats(-5000.0, 5000.0))
def test_beyond_the_softest_mode_it_is_the_wavenumber(value) -> None:
    found = smooth_wavenumber(eigenvalue(np.array([value])))
    if abs(value) > 1.001 * SOFTEST:
        assert_allclose(found, [value], rtol=1e-12)
    assert found[0] * value >= 0.0
    assert abs(found[0]) <= max(abs(value), SOFTEST) * (1.0 + 1e-12)


def test_the_polynomial_joins_with_value_and_slope() -> None:
    ends = eigenvalue(np.array([-SOFTEST, SOFTEST]))
    for side in (1.0 - 1e-9, 1.0 + 1e-9):
        assert_allclose(smooth_wavenumber(side * ends), wavenumber(ends), rtol=1e-8)
        assert_allclose(smooth_wavenumber_slope(side * ends), SOFTEST / (2.0 * np.abs(ends)), rtol=1e-8)


def test_slopes_are_those_of_central_differences() -> None:
    eigenvalues = eigenvalue(np.array([-3000.0, -40.0, -9.0, -0.1, 0.0, 3.0, 8.0, 12.0, 1500.0]))
    steps = 1e-3 * np.maximum(np.abs(eigenvalues), eigenvalue(1.0))
    expected = central_differences(smooth_wavenumber, eigenvalues, steps)
    assert_allclose(np.diag(smooth_wavenumber_slope(eigenvalues)), expected, atol=1e-6 * np.abs(expected).max())
    assert np.all(smooth_wavenumber_slope(eigenvalues) > 0.0)
