"""Bond stretch and angle bend of MM3, in kcal/mol: E = k q^2 times a polynomial in the displacement.

Allinger, Yuh, Lii (1989), J. Am. Chem. Soc. 111, 8551, doi:10.1021/ja00205a001. Force constants are in kcal/mol
without a half; a constant of MM3 in mdyn/A is multiplied by 71.94 on reading.
"""

from __future__ import annotations

from jaxtyping import Array, Float

from fieldfit.forcefield.forms.form import DEGREE, Form, InternalCoordinate
from fieldfit.forcefield.forms.harmonic import ANGLE_K, ANGLE_THETA0, BOND_K, BOND_R0

STRETCH_CUBIC = 2.55
"""Anharmonicity of the stretch [1/A]; the quartic coefficient is 7/12 of its square."""

BEND_SEXTIC = (-0.014, 5.6e-5, -7.0e-7, 2.2e-8)
"""Coefficients of the bend in powers of the displacement in degrees."""


def mm3_stretch(q: Float[Array, "1"], p: Float[Array, "2"], s: Float[Array, "0"]) -> Float[Array, ""]:
    """Return k d^2 (1 - 2.55 d + 7/12 2.55^2 d^2)."""
    k, r0 = p
    d = q[0] - r0
    return k * d**2 * (1.0 - STRETCH_CUBIC * d + (7.0 / 12.0) * STRETCH_CUBIC**2 * d**2)


def mm3_bend(q: Float[Array, "1"], p: Float[Array, "2"], s: Float[Array, "0"]) -> Float[Array, ""]:
    """Return k D^2 (1 - 0.014 D + 5.6e-5 D^2 - 7e-7 D^3 + 2.2e-8 D^4), the polynomial in degrees."""
    k, theta0 = p
    D = q[0] - theta0
    degrees = D / DEGREE
    a, b, c, d = BEND_SEXTIC
    return k * D**2 * (1.0 + degrees * (a + degrees * (b + degrees * (c + degrees * d))))


MM3_BOND = Form(
    name="mm3_bond",
    kind="bond",
    n_atoms=2,
    coordinates=(InternalCoordinate("distance", (0, 1)),),
    columns=(BOND_K, BOND_R0),
    energy=mm3_stretch,
    formula="k d^2 (1 - 2.55 d + 7/12 2.55^2 d^2), d = r - r0",
)
MM3_ANGLE = Form(
    name="mm3_angle",
    kind="angle",
    n_atoms=3,
    coordinates=(InternalCoordinate("angle", (0, 1, 2)),),
    columns=(ANGLE_K, ANGLE_THETA0),
    energy=mm3_bend,
    formula="k D^2 (1 - 0.014 D + 5.6e-5 D^2 - 7e-7 D^3 + 2.2e-8 D^4), D = theta - theta0, the polynomial in degrees",
)
