"""Bond stretch, angle bend, bend-bend, van der Waals and dipole terms of MM3, in kcal/mol.

Allinger, Yuh, Lii (1989), J. Am. Chem. Soc. 111, 8551, doi:10.1021/ja00205a001. Stretch and bend are k q^2 times a
polynomial in the displacement, without a half; a constant of MM3 in mdyn/A is multiplied by 71.94 on reading. Torsions,
stretch-bend and torsion-stretch are in the files of those terms.

**Van der Waals.** E = eps [1.84e5 exp(-12 r / rv) - 2.25 (rv / r)^6] with rv the sum of two radii and eps the geometric
mean of two depths. Its maximum lies at 0.302 rv; closer in it would attract without bound, so below 0.34 rv a wall
proportional to r^-12 takes over, with the same value there. The energy is continuous and its slope is not: that
steepens fivefold, from -1.16e4 to -5.84e4 eps / rv, as in other programs that join the two by value (Tinker does so
too, but at 0.5 rv). At 1654 eps the seam is far above what a molecule reaches. Hydrogens act from a site on their
bond; see `geometry.sites`.

**Dipoles.** Classic MM3 has dipoles along bonds, mu1 mu2 (cos chi - 3 cos a1 cos a2) / (D r^3), with the dielectric
constant D = 1.5.

The bounds of a depth start above 0, where the square root of eps_i eps_j has no derivative; it is taken as 0 there.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from fieldfit.forcefield.forms.form import DEGREE, Borrowed, Column, Form, InternalCoordinate, Scalar, Scalars
from fieldfit.forcefield.forms.harmonic import ANGLE_K, ANGLE_THETA0, BOND_K, BOND_R0
from fieldfit.forcefield.forms.nonbonded import DISTANCE, EPSILON, RADIUS, geometric_mean

STRETCH_CUBIC = 2.55
"""Anharmonicity of the stretch [1/A]; the quartic coefficient is 7/12 of its square."""

BEND_SEXTIC = (-0.014, 5.6e-5, -7.0e-7, 2.2e-8)
"""Coefficients of the bend in powers of the displacement in degrees."""

REPULSION = 1.84e5
"""Prefactor of the exponential repulsion, in units of the depth."""

STEEPNESS = 12.0
"""Exponent of the repulsion, per rv."""

DISPERSION = 2.25
"""Prefactor of the dispersion, in units of the depth."""

WALL = 0.34
"""Where the wall takes over, in units of rv."""

WALL_HEIGHT = REPULSION * math.exp(-STEEPNESS * WALL) - DISPERSION / WALL**6
"""Energy there, in units of the depth."""

DEBYE_SQUARED = 14.3928
"""Energy of two dipoles of 1 debye at 1 A [kcal/mol], as MM3 has it."""

BEND_BEND_K = Column("k", "(kcal/mol)^0.5/rad", 0.0, 20.0, 0.1)
MOMENT = Column("moment", "debye", -10.0, 10.0, 0.1)


def mm3_stretch(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k d^2 (1 - 2.55 d + 7/12 2.55^2 d^2)."""
    k, r0 = p
    d = q[0] - r0
    return k * d**2 * (1.0 - STRETCH_CUBIC * d + (7.0 / 12.0) * STRETCH_CUBIC**2 * d**2)


def mm3_bend(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k D^2 (1 - 0.014 D + 5.6e-5 D^2 - 7e-7 D^3 + 2.2e-8 D^4), the polynomial in degrees."""
    k, theta0 = p
    D = q[0] - theta0
    degrees = D / DEGREE
    a, b, c, d = BEND_SEXTIC
    return k * D**2 * (1.0 + degrees * (a + degrees * (b + degrees * (c + degrees * d))))


def bend_bend(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return -k1 k2 D1 D2 of two angles at one centre; where both k are 0 neither has a derivative other than 0."""
    k1, k2, theta1, theta2 = p
    return -k1 * k2 * (q[0] - theta1) * (q[1] - theta2)


def mixed_buckingham(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return the van der Waals energy of two sites with the mixing rules of MM3."""
    radius_i, epsilon_i, radius_j, epsilon_j = p
    return s[2] * _buckingham(q[0], radius_i + radius_j, geometric_mean(epsilon_i, epsilon_j))


def explicit_buckingham(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return the van der Waals energy of two sites whose distance and depth are given."""
    distance, epsilon = p
    return s[2] * _buckingham(q[0], distance, epsilon)


def dipoles(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return the energy of two dipoles from their coupling."""
    moment_1, moment_2 = p
    return DEBYE_SQUARED * s[0] * moment_1 * moment_2 * q[0]


def inverse_site_distance(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return factor / r for two charges that act from the sites of van der Waals forces, as in MM3*."""
    return s[2] / q[0]


def _buckingham(r: Scalar, rv: Scalar, epsilon: Scalar) -> Scalar:
    # Two radii of 0 belong to a depth of 0 whatever stands here.
    rv = jnp.where(rv > 0.0, rv, 1.0)
    soft = REPULSION * jnp.exp(-STEEPNESS * r / rv) - DISPERSION * (rv / r) ** 6
    wall = WALL_HEIGHT * (WALL * rv / r) ** 12
    return epsilon * jnp.where(r < WALL * rv, wall, soft)


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
MM3_BEND_BEND = Form(
    name="mm3_bend_bend",
    kind="bend-bend",
    n_atoms=5,
    coordinates=(InternalCoordinate("angle", (0, 1, 2)), InternalCoordinate("angle", (3, 1, 4))),
    columns=(BEND_BEND_K,),
    energy=bend_bend,
    borrowed=(Borrowed("angle", (0, 1, 2), "theta0"), Borrowed("angle", (3, 1, 4), "theta0")),
    sites=((0, 1, 2), (3, 1, 4)),
    formula="-k1 k2 (theta1 - theta1_0) (theta2 - theta2_0), two angles at one centre",
)
BUCKINGHAM = Form(
    name="buckingham",
    kind="vdw",
    n_atoms=4,
    coordinates=(InternalCoordinate("site distance", (0, 1, 2, 3), (0, 1)),),
    columns=(RADIUS, EPSILON),
    energy=mixed_buckingham,
    constants=("offset",),
    sites=((0,), (2,)),
    assigned=("scale",),
    formula="scale eps (1.84e5 exp(-12 r/rv) - 2.25 (rv/r)^6), rv = R_i + R_j, eps = sqrt(eps_i eps_j), sites shifted",
)
BUCKINGHAM_PAIR = Form(
    name="buckingham_pair",
    kind="vdw-pair",
    n_atoms=4,
    coordinates=(InternalCoordinate("site distance", (0, 1, 2, 3), (0, 1)),),
    columns=(DISTANCE, EPSILON),
    energy=explicit_buckingham,
    sites=((0, 2),),
    assigned=("offset_i", "offset_j", "scale"),
    formula="scale eps (1.84e5 exp(-12 r/rv) - 2.25 (rv/r)^6), rv and eps of the pair, sites shifted",
)
SHIFTED_CHARGES = Form(
    name="shifted_charges",
    kind="point-charge",
    n_atoms=4,
    coordinates=(InternalCoordinate("site distance", (0, 1, 2, 3), (0, 1)),),
    columns=(),
    energy=inverse_site_distance,
    assigned=("offset_i", "offset_j", "factor"),
    formula="factor / r, the charges in the factor, sites shifted",
)
BOND_DIPOLES = Form(
    name="bond_dipoles",
    kind="dipole",
    n_atoms=4,
    coordinates=(InternalCoordinate("dipole coupling", (0, 1, 2, 3)),),
    columns=(MOMENT,),
    energy=dipoles,
    sites=((0, 1), (2, 3)),
    assigned=("scale",),
    formula="14.3928 scale mu1 mu2 (cos chi - 3 cos a1 cos a2) / r^3, r between the middles of two bonds",
)
