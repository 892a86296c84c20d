"""Zernike radial polynomials."""

from fractions import Fraction
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfit.equilibrium import Resolution, zernike_radial
from fieldfit.equilibrium.tables import mode_table
from fieldfit.errors import SettingsError

HIGHEST = 20
MODES = [(degree, m) for degree in range(HIGHEST + 1) for m in range(degree % 2, degree + 1, 2)]


def exact(rho, degree, m, derivative):
    """Return the sum of monomials in exact rationals: Born and Wolf (1999), 9.2.1 (5)."""
    total = Fraction(0)
    for s in range((degree - m) // 2 + 1):
        coefficient = Fraction(
            (-1) ** s * factorial(degree - s),
            factorial(s) * factorial((degree + m) // 2 - s) * factorial((degree - m) // 2 - s),
        )
        power = degree - 2 * s
        for order in range(derivative):
            coefficient *= power - order
        if coefficient:
            total += coefficient * rho ** (power - derivative)
    return float(total)


@pytest.mark.parametrize("derivative", [0, 1, 2])
def test_values_and_derivatives_equal_exact_rationals_up_to_degree_20(derivative):
    points = [Fraction(k, 8) for k in range(9)]
    rho = np.array([float(point) for point in points])
    for degree, m in MODES:
        expected = np.array([exact(point, degree, m, derivative) for point in points])
        # A derivative is as large as degree^(2 derivative) at rho = 1; that is the size rounding goes by.
        size = max(1.0, float(degree)) ** (2 * derivative)
        np.testing.assert_allclose(
            zernike_radial(rho, degree, m, derivative=derivative), expected, rtol=0.0, atol=2e-14 * size
        )


@given(st.sampled_from(MODES))
def test_value_at_the_boundary_is_one(mode):
    assert zernike_radial(np.ones(1), *mode)[0] == pytest.approx(1.0, abs=1e-14)


@given(st.sampled_from(MODES), st.sampled_from(MODES))
def test_polynomials_of_one_order_are_orthogonal_with_weight_rho(first, second):
    # Gauss-Legendre with 22 nodes is exact up to degree 43, and the integrand has at most 41.
    nodes, weights = np.polynomial.legendre.leggauss(22)
    rho, (l1, m), (l2, m2) = 0.5 * (nodes + 1.0), first, second
    if m != m2:
        return
    product = 0.5 * weights @ (rho * zernike_radial(rho, l1, m) * zernike_radial(rho, l2, m))
    assert product == pytest.approx(0.5 / (l1 + 1) if l1 == l2 else 0.0, abs=1e-14)


@pytest.mark.parametrize("suffix", ["_r", "_t", "_rr", "_rt", "_tt"])
def test_derivatives_in_tables_equal_differences(suffix):
    modes = np.concatenate([Resolution(7).cosine, Resolution(7).sine])
    rho, theta, h = np.array([0.3, 0.8]), np.array([0.7, 2.1]), 1e-5
    inner, outer = suffix[:-1] if len(suffix) == 3 else "", suffix[-1]
    step = (h, 0.0) if outer == "r" else (0.0, h)
    ahead, behind = (mode_table(modes, rho + sign * step[0], theta + sign * step[1], inner) for sign in (1.0, -1.0))
    found = mode_table(modes, rho, theta, suffix)
    # Central differences: h^2 times a third derivative of up to 7^3 for values, 7^6 of one, plus eps / h of rounding.
    np.testing.assert_allclose(found, (ahead - behind) / (2.0 * h), rtol=1e-6, atol=1e-6)


def test_numbers_of_modes_are_those_of_the_triangle():
    # L = M = 6: (L / 2 + 1)^2 cosines; sines lack the L / 2 + 1 with m = 0.
    assert (len(Resolution(6).cosine), len(Resolution(6).sine)) == (16, 12)


@pytest.mark.parametrize("mode", [(2, 1), (1, 2), (3, -1)])
def test_a_polynomial_that_does_not_exist_is_refused_by_its_numbers(mode):
    with pytest.raises(SettingsError, match=f"l = {mode[0]} and order m = {mode[1]}"):
        zernike_radial(np.ones(1), *mode)


def test_a_third_derivative_is_refused():
    with pytest.raises(SettingsError, match="0, 1 or 2"):
        zernike_radial(np.ones(1), 4, 0, derivative=3)


def test_more_poloidal_than_radial_modes_are_refused():
    with pytest.raises(SettingsError, match="L = 4, M = 6"):
        Resolution(4, 6)
