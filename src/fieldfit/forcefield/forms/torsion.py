"""Torsions about a bond, and the terms that keep a three-coordinate centre in the plane of its neighbours.

A torsion of one periodicity is k (1 + cos(n phi - gamma)), the same in the Amber, OpenMM and MM3 conventions; MM3's
V_n is 2 k.

**Linear bonds.** A torsion is undefined where a bond angle at either end of its bond is 180 degrees. The switched
torsion fades out before that: it is multiplied, for both angles theta, by S = t^3 (10 - 15 t + 6 t^2), where t runs
from 0 at theta = 175 degrees to 1 at 170 degrees in proportion to cos theta. S is exactly 0 beyond 175 and exactly 1
below 170 degrees, and has two continuous derivatives.

**Out of plane.** Conventions differ, so there are four forms.

- `periodic_improper`: one dihedral 0-1-2-3 of the four atoms in the order in which the program lists them, k (1 +
  cos(n phi - gamma)). MM3* in MacroModel lists a neighbour, the central atom, and two more neighbours, and takes n = 2
  with gamma = 180 degrees; Amber has the central atom third.
- `harmonic_improper`: k (phi - phi0)^2 of such a dihedral (CHARMM; Brooks et al. 1983,
  doi:10.1002/jcc.540040211). The difference is taken in (-pi, pi], so opposite to phi0 the slope jumps.
- `out_of_plane`: the mean of k (1 - cos 2 phi) over the three dihedrals c-i-j-k, c-j-k-i, c-k-i-j of the central atom c
  with neighbours i, j, k: the angles between the planes on both sides of each edge of the triangle of neighbours. It
  does not depend on the order of the neighbours (the convention of Open Force Field's improper torsions).
- `harmonic_out_of_plane`: the mean of k chi^2 over the three angles chi of Wilson, Decius and Cross, each between one
  bond of the central atom and the plane of the two others.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from fieldfit.forcefield.forms.form import DEGREE, Column, Form, InternalCoordinate, Scalar, Scalars

TORSION_K = Column("k", "kcal/mol", -20.0, 20.0, 0.1, is_linear=True)
OUT_OF_PLANE_K = Column("k", "kcal/mol", 0.0, 100.0, 1.0, is_linear=True)
OUT_OF_PLANE_STIFFNESS = Column("k", "kcal/mol/rad^2", 0.0, 720.0, 7.2, is_linear=True)
IMPROPER_PHI0 = Column("phi0", "deg", -180.0, 180.0, 1.0, internal=DEGREE)
TREFOIL = ((0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2))
"""The three cyclic orders of the neighbours of an out-of-plane term; atom 0 is the central one."""

SWITCH_START = math.cos(170.0 * DEGREE)
"""Cosine of the angle up to which a switched torsion acts in full."""

SWITCH_END = math.cos(175.0 * DEGREE)
"""Cosine of the angle from which on it does not act at all."""


def cosine(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k (1 + cos(n phi - gamma)), gamma in radians."""
    periodicity, phase = s
    return p[0] * (1.0 + jnp.cos(periodicity * q[0] - phase))


def switched_cosine(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k (1 + cos(n phi - gamma)) S S for the dihedral and the cosines of both bond angles."""
    return cosine(q, p, s) * _switch(q[1]) * _switch(q[2])


def harmonic_dihedral(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k D^2 with D = phi - phi0 in (-pi, pi]."""
    k, phi0 = p
    return k * jnp.arctan2(jnp.sin(q[0] - phi0), jnp.cos(q[0] - phi0)) ** 2


def mean_of_planes(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k times the mean of 1 - cos 2 phi over three dihedrals."""
    return p[0] * (3.0 - jnp.cos(2.0 * q[0]) - jnp.cos(2.0 * q[1]) - jnp.cos(2.0 * q[2])) / 3.0


def mean_of_squares(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k times the mean of chi^2 over three angles."""
    return p[0] * (q[0] ** 2 + q[1] ** 2 + q[2] ** 2) / 3.0


def _switch(c: Scalar) -> Scalar:
    """Return S of the cosine of a bond angle."""
    t = (c - SWITCH_END) / (SWITCH_START - SWITCH_END)
    smooth = t**3 * (10.0 - 15.0 * t + 6.0 * t**2)
    return jnp.where(t <= 0.0, 0.0, jnp.where(t >= 1.0, 1.0, smooth))


COSINE_TORSION = Form(
    name="cosine_torsion",
    kind="torsion",
    n_atoms=4,
    coordinates=(InternalCoordinate("dihedral", (0, 1, 2, 3)),),
    columns=(TORSION_K,),
    energy=cosine,
    constants=("periodicity", "phase"),
    formula="k (1 + cos(n phi - gamma))",
)
SWITCHED_TORSION = Form(
    name="switched_torsion",
    kind="torsion",
    n_atoms=4,
    coordinates=(
        InternalCoordinate("guarded dihedral", (0, 1, 2, 3)),
        InternalCoordinate("cosine", (0, 1, 2)),
        InternalCoordinate("cosine", (1, 2, 3)),
    ),
    columns=(TORSION_K,),
    energy=switched_cosine,
    constants=("periodicity", "phase"),
    formula="k (1 + cos(n phi - gamma)) S(theta1) S(theta2), S = 1 up to 170 deg, 0 from 175 deg",
)
PERIODIC_IMPROPER = Form(
    name="periodic_improper",
    kind="improper",
    n_atoms=4,
    coordinates=(InternalCoordinate("dihedral", (0, 1, 2, 3)),),
    columns=(OUT_OF_PLANE_K,),
    energy=cosine,
    constants=("periodicity", "phase"),
    formula="k (1 + cos(n phi - gamma))",
)
HARMONIC_IMPROPER = Form(
    name="harmonic_improper",
    kind="improper",
    n_atoms=4,
    coordinates=(InternalCoordinate("dihedral", (0, 1, 2, 3)),),
    columns=(OUT_OF_PLANE_STIFFNESS, IMPROPER_PHI0),
    energy=harmonic_dihedral,
    formula="k (phi - phi0)^2, the difference in (-180, 180] deg",
)
OUT_OF_PLANE = Form(
    name="out_of_plane",
    kind="out-of-plane",
    n_atoms=4,
    coordinates=tuple(InternalCoordinate("dihedral", atoms) for atoms in TREFOIL),
    columns=(OUT_OF_PLANE_K,),
    energy=mean_of_planes,
    formula="k/3 sum over three (1 - cos 2 phi)",
)
HARMONIC_OUT_OF_PLANE = Form(
    name="harmonic_out_of_plane",
    kind="out-of-plane",
    n_atoms=4,
    coordinates=tuple(InternalCoordinate("wilson angle", atoms) for atoms in TREFOIL),
    columns=(OUT_OF_PLANE_STIFFNESS,),
    energy=mean_of_squares,
    formula="k/3 sum over three chi^2, chi the Wilson angles",
)
