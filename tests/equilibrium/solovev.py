"""An exact solution of force balance, as an oracle.

Solov'ev (1968): with p' and F constant in psi,

    psi = A (R^2 Z^2 + kappa^2 / 4 (R^2 - R0^2)^2),    mu0 dp/dpsi = -2 A (1 + kappa^2)

solves the Grad-Shafranov equation R d_R (1/R d_R psi) + d_ZZ psi = -mu0 R^2 dp/dpsi: the two terms give 2 A R^2 and
2 A kappa^2 R^2. Surfaces are psi = A c^2. With u = R Z = -c sin t and v = kappa / 2 (R^2 - R0^2) = c cos t,

    R = sqrt(R0^2 + (2 c / kappa) cos t),   Z = -(c / R) sin t,   du dv = kappa R^2 dR dZ,

so the toroidal flux of B = F0 / R grows by dPhi/dc^2 = F0 / (2 kappa) int_0^2pi dt / R^3, and the rotational transform
is iota = 2 pi A / (dPhi/dc^2). The label is rho^2 = Phi / Phi_b.
"""

import functools

import numpy as np

from fieldfit.equilibrium import Equilibrium, PowerSeries, flux_surfaces

MU0 = 1.25663706127e-6
R0, KAPPA, F0, A, C_BOUNDARY = 4.0, 1.6, 4.0, 0.0156, 3.5
"""An aspect ratio of 5.7, an elongation of 1.6, one tesla, and a transform of 0.8 on the axis."""

ANGLES = 2.0 * np.pi * np.arange(256) / 256
"""Sums over these are exact to rounding: the integrands are periodic and analytic."""

DEGREE = 12
"""Of the profiles in rho^2."""


def surface(c, t):
    """Return R and Z of the surface psi = A c^2."""
    R = np.sqrt(R0**2 + 2.0 * c / KAPPA * np.cos(t))
    return R, -c / R * np.sin(t)


def flux_slope(c_squared):
    """Return dPhi/dc^2 [Wb/m^4]."""
    R, _ = surface(np.sqrt(c_squared), ANGLES)
    return F0 / (2.0 * KAPPA) * 2.0 * np.pi * np.mean(R**-3.0)


def flux(c_squared):
    """Return Phi [Wb]."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    slopes = [flux_slope(0.5 * c_squared * (node + 1.0)) for node in nodes]
    return 0.5 * c_squared * float(weights @ slopes)


@functools.cache
def label_ratio():
    """Return c^2 / rho^2 as a polynomial of rho^2, by interpolation at Chebyshev nodes and Newton's method at each."""
    total = flux(C_BOUNDARY**2)

    def ratio(squares):
        found = C_BOUNDARY**2 * squares
        for _ in range(8):
            excess = [flux(c2) - rho2 * total for c2, rho2 in zip(found, squares, strict=True)]
            found = found - np.array(excess) / [flux_slope(c2) for c2 in found]
        return found / squares

    return np.polynomial.Chebyshev.interpolate(ratio, DEGREE, domain=[0.0, 1.0])


def labels(rho):
    """Return c of surfaces."""
    return rho * np.sqrt(label_ratio()(rho**2))


def profile(function):
    """Return a function of c^2 as power series in rho."""
    series = np.polynomial.Chebyshev.interpolate(
        lambda squares: np.array([function(c**2) for c in labels(np.sqrt(squares))]), DEGREE, domain=[0.0, 1.0]
    )
    coefficients = series.convert(kind=np.polynomial.Polynomial).coef
    return PowerSeries(coefficients, 2 * np.arange(coefficients.size))


def start(resolution):
    """Return the equilibrium of this boundary, flux, pressure and transform, unsolved."""
    R, Z = surface(C_BOUNDARY, ANGLES)
    cosines, sines = np.fft.rfft(R) / ANGLES.size, np.fft.rfft(Z) / ANGLES.size
    modes = range(resolution + 1)
    return Equilibrium.from_boundary(
        resolution,
        Rb={m: (1.0 if m == 0 else 2.0) * cosines[m].real for m in modes},
        Zb={-m: -2.0 * sines[m].imag for m in modes if m > 0},
        Psi=flux(C_BOUNDARY**2),
        pressure=profile(lambda c2: 2.0 * A**2 * (1.0 + KAPPA**2) / MU0 * (C_BOUNDARY**2 - c2)),
        iota=profile(lambda c2: 2.0 * np.pi * A / flux_slope(c2)),
    )


def surface_error(equilibrium):
    """Return how far points of computed surfaces are off the exact ones, at most [m]."""
    rho, theta = np.linspace(0.0, 1.0, 21)[:, None], np.linspace(0.0, 2.0 * np.pi, 60)
    R, Z = flux_surfaces(equilibrium, rho, theta)
    c = np.hypot(R * Z, 0.5 * KAPPA * (R**2 - R0**2))
    # In the plane of R Z and kappa / 2 (R^2 - R0^2) surfaces are circles of radius c, and lengths are R times larger.
    return float(np.max(np.abs(c - labels(rho)) / R))
