"""The harmonic family, E = k (q - q0)^2 without a half, and the anharmonic bond of Morse.

Morse (1929), Phys. Rev. 34, 57, doi:10.1103/PhysRev.34.57: E = D (1 - exp(-a d))^2 with d = r - r0. With a = sqrt(k /
D) its curvature at rest is that of k d^2, so that a force constant means the same in both forms.
"""

from __future__ import annotations

import jax.numpy as jnp

from fieldfit.forcefield.forms.form import DEGREE, Column, Form, InternalCoordinate, Scalar, Scalars

BOND_K = Column("k", "kcal/mol/A^2", 0.0, 3600.0, 7.2, is_linear=True)
BOND_R0 = Column("r0", "A", 0.5, 3.0, 0.02)
ANGLE_K = Column("k", "kcal/mol/rad^2", 0.0, 720.0, 7.2, is_linear=True)
ANGLE_THETA0 = Column("theta0", "deg", 30.0, 180.0, 1.0, internal=DEGREE)
UREY_BRADLEY_K = Column("k", "kcal/mol/A^2", 0.0, 500.0, 7.2, is_linear=True)
UREY_BRADLEY_R0 = Column("r0", "A", 1.0, 4.0, 0.02)
# The square root in the exponent has no derivative at k = 0, and a bond needs a depth.
MORSE_K = Column("k", "kcal/mol/A^2", 0.1, 3600.0, 7.2)
MORSE_DEPTH = Column("depth", "kcal/mol", 1.0, 500.0, 5.0)


def harmonic(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k (q - q0)^2."""
    k, q0 = p
    return k * (q[0] - q0) ** 2


def linear(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k q for a coordinate that is a square already."""
    return p[0] * q[0]


def morse(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return D (1 - exp(-sqrt(k / D) d))^2; k and the depth D have to be positive."""
    k, r0, depth = p
    return depth * (1.0 - jnp.exp(-jnp.sqrt(k / depth) * (q[0] - r0))) ** 2


HARMONIC_BOND = Form(
    name="harmonic_bond",
    kind="bond",
    n_atoms=2,
    coordinates=(InternalCoordinate("distance", (0, 1)),),
    columns=(BOND_K, BOND_R0),
    energy=harmonic,
    formula="k (r - r0)^2",
)
MORSE = Form(
    name="morse",
    kind="bond",
    n_atoms=2,
    coordinates=(InternalCoordinate("distance", (0, 1)),),
    columns=(MORSE_K, BOND_R0, MORSE_DEPTH),
    energy=morse,
    formula="depth (1 - exp(-sqrt(k/depth) (r - r0)))^2",
)
HARMONIC_ANGLE = Form(
    name="harmonic_angle",
    kind="angle",
    n_atoms=3,
    coordinates=(InternalCoordinate("angle", (0, 1, 2)),),
    columns=(ANGLE_K, ANGLE_THETA0),
    energy=harmonic,
    formula="k (theta - theta0)^2",
)
LINEAR_BEND = Form(
    name="linear_bend",
    kind="linear-bend",
    n_atoms=3,
    coordinates=(InternalCoordinate("linear bend", (0, 1, 2)),),
    columns=(ANGLE_K,),
    energy=linear,
    formula="k |e1 + e2|^2 = 2 k (1 + cos theta)",
)
UREY_BRADLEY = Form(
    name="urey_bradley",
    kind="urey-bradley",
    n_atoms=3,
    coordinates=(InternalCoordinate("distance", (0, 2)),),
    columns=(UREY_BRADLEY_K, UREY_BRADLEY_R0),
    energy=harmonic,
    formula="k (r13 - r0)^2, r13 between the ends of an angle",
)
