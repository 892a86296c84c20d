"""Zernike radial polynomials and their derivatives.

Definition
----------
For l >= m >= 0 with l - m even, k = (l - m) / 2 and x = 2 rho^2 - 1,

    R_l^m(rho) = rho^m P_k(x),        P_k = P_k^(0, m), a Jacobi polynomial,

so that R_l^m(1) = 1, and polynomials of one m are orthogonal on (0, 1) with the weight rho:

    int_0^1 R_l^m R_l'^m rho drho = delta_ll' / (2 (l + 1)).

Evaluation
----------
The sum of monomials loses all digits near l = 40. The recurrence of the Jacobi polynomials in k does not, on [-1, 1]:

    2 k (k + a + b) (c - 2) P_k = (c - 1) (c (c - 2) x + a^2 - b^2) P_k-1 - 2 (k + a - 1) (k + b - 1) c P_k-2,
    c = 2 k + a + b.

Derivatives of P_k^(a, b) are (k + a + b + 1) / 2 P_k-1^(a + 1, b + 1), and dx/drho = 4 rho, hence

    R'  = m rho^(m-1) P + 4 rho^(m+1) P_x
    R'' = m (m - 1) rho^(m-2) P + (8 m + 4) rho^m P_x + 16 rho^(m+2) P_xx.

References:
    Born, Wolf (1999), Principles of Optics, section 9.2.1.
    Abramowitz, Stegun (1964), Handbook of Mathematical Functions, 22.7.1 and 22.8.1.
"""

from __future__ import annotations

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.typing import Vector

HIGHEST_DERIVATIVE = 2


def zernike_radial(rho: Vector, l: int, m: int, *, derivative: int = 0) -> Vector:  # noqa: E741, the symbol in use
    """Evaluate a Zernike radial polynomial or one of its derivatives.

    Args:
        rho: Radius, 0 on the axis and 1 on the boundary, shape (nodes,).
        l: Degree.
        m: Order, 0 <= m <= l, with l - m even.
        derivative: 0, 1 or 2.

    Returns:
        Values, shape (nodes,).

    Raises:
        SettingsError: There is no such polynomial, or no such derivative here.

    Example:
        >>> import numpy as np
        >>> from fieldfit.equilibrium import zernike_radial
        >>> zernike_radial(np.array([0.0, 0.5, 1.0]), 2, 0).tolist()      # 2 rho^2 - 1
        [-1.0, -0.5, 1.0]
    """
    if not 0 <= m <= l or (l - m) % 2:
        raise SettingsError(
            f"There is no Zernike polynomial of degree l = {l} and order m = {m}. Give 0 <= m <= l with l - m even."
        )
    if derivative not in range(HIGHEST_DERIVATIVE + 1):
        raise SettingsError(f"Derivative {derivative} of a Zernike polynomial is not available. Ask for 0, 1 or 2.")
    k, x = (l - m) // 2, 2.0 * rho**2 - 1.0
    P = _jacobi(k, 0, m, x)
    if derivative == 0:
        return rho**m * P
    P_x = 0.5 * (k + m + 1) * _jacobi(k - 1, 1, m + 1, x)
    if derivative == 1:
        return _monomial(rho, m, 1) * P + 4.0 * rho ** (m + 1) * P_x
    P_xx = 0.25 * (k + m + 1) * (k + m + 2) * _jacobi(k - 2, 2, m + 2, x)
    return _monomial(rho, m, 2) * P + (8 * m + 4) * rho**m * P_x + 16.0 * rho ** (m + 2) * P_xx


def _monomial(rho: Vector, power: int, derivative: int) -> Vector:
    """Return a derivative of rho^power; a constant has none, also on the axis."""
    factor = float(np.prod([power - order for order in range(derivative)]))
    return factor * rho ** max(power - derivative, 0)


def _jacobi(k: int, a: int, b: int, x: Vector) -> Vector:
    """Return P_k^(a, b)(x), zero for a negative degree, shape (nodes,)."""
    if k < 0:
        return np.zeros_like(x)
    before, current = np.zeros_like(x), np.ones_like(x)
    for degree in range(1, k + 1):
        before, current = current, _next(degree, a, b, x, before, current)
    return current


def _next(k: int, a: int, b: int, x: Vector, before: Vector, current: Vector) -> Vector:
    """Return P_k from P_k-2 and P_k-1."""
    if k == 1:
        # The general formula is 0 / 0 here for a = b = 0.
        return 0.5 * (a - b + (a + b + 2) * x)
    c = 2 * k + a + b
    forward = (c - 1) * (c * (c - 2) * x + a * a - b * b) * current
    return (forward - 2 * (k + a - 1) * (k + b - 1) * c * before) / (2 * k * (k + a + b) * (c - 2))
