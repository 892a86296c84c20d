"""Cosine torsions and the out-of-plane term made of them.

A torsion of one periodicity is k (1 + cos(n phi - gamma)), the same in the Amber, OpenMM and MM3 conventions; MM3's
V_n is 2 k.

The out-of-plane term of a three-coordinate atom c with neighbours i, j, k is the mean of k (1 - cos 2 phi) over the
three dihedrals c-i-j-k, c-j-k-i, c-k-i-j: the angles between the planes on both sides of each edge of the triangle of
neighbours. It does not depend on the order of the neighbours (the convention of Open Force Field's improper
torsions).
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from fieldfit.forcefield.forms.form import Column, Form, InternalCoordinate

TORSION_K = Column("k", "kcal/mol", -20.0, 20.0, 0.1, is_linear=True)
OUT_OF_PLANE_K = Column("k", "kcal/mol", 0.0, 100.0, 1.0, is_linear=True)
TREFOIL = ((0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2))
"""The three dihedrals of an out-of-plane term; atom 0 is the central one."""


def cosine(q: Float[Array, "1"], p: Float[Array, "1"], s: Float[Array, "2"]) -> Float[Array, ""]:
    """Return k (1 + cos(n phi - gamma)), gamma in radians."""
    periodicity, phase = s
    return p[0] * (1.0 + jnp.cos(periodicity * q[0] - phase))


def mean_of_planes(q: Float[Array, "3"], p: Float[Array, "1"], s: Float[Array, "0"]) -> Float[Array, ""]:
    """Return k times the mean of 1 - cos 2 phi over three dihedrals."""
    return p[0] * sum(1.0 - jnp.cos(2.0 * phi) for phi in q) / len(q)


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
OUT_OF_PLANE = Form(
    name="out_of_plane",
    kind="out-of-plane",
    n_atoms=4,
    coordinates=tuple(InternalCoordinate("dihedral", atoms) for atoms in TREFOIL),
    columns=(OUT_OF_PLANE_K,),
    energy=mean_of_planes,
    formula="k/3 sum over three (1 - cos 2 phi)",
)
