"""Coupling of internal coordinates that share atoms.

The equilibrium values are those of the bonds and angles that are coupled, so the coupling of two of them exerts no
force where they are all at rest. Torsion-stretch has no energy where its bond is at rest, but pulls at it there with
k (1 + cos 3 phi): eclipsed bonds are longer.
"""

from __future__ import annotations

import jax.numpy as jnp

from fieldfit.forcefield.forms.form import Borrowed, Column, Form, InternalCoordinate, Scalar, Scalars

STRETCH_BEND_K = Column("k", "kcal/mol/A/rad", -50.0, 50.0, 1.0, is_linear=True)
STRETCH_STRETCH_K = Column("k", "kcal/mol/A^2", -500.0, 500.0, 7.2, is_linear=True)
TORSION_STRETCH_K = Column("k", "kcal/mol/A", -50.0, 50.0, 0.2, is_linear=True)


def stretch_bend(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k (d1 + d2) D, the stretch-bend of MM3."""
    k, r1, r2, theta0 = p
    return k * (q[0] - r1 + q[1] - r2) * (q[2] - theta0)


def stretch_stretch(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k d1 d2 of two bonds that share an atom."""
    k, r1, r2 = p
    return k * (q[0] - r1) * (q[1] - r2)


def torsion_stretch(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return k d (1 + cos 3 phi), the torsion-stretch of MM3; d is that of the central bond."""
    k, r0 = p
    return k * (q[0] - r0) * (1.0 + jnp.cos(3.0 * q[1]))


STRETCH_BEND = Form(
    name="stretch_bend",
    kind="stretch-bend",
    n_atoms=3,
    coordinates=(
        InternalCoordinate("distance", (0, 1)),
        InternalCoordinate("distance", (1, 2)),
        InternalCoordinate("angle", (0, 1, 2)),
    ),
    columns=(STRETCH_BEND_K,),
    energy=stretch_bend,
    borrowed=(Borrowed("bond", (0, 1), "r0"), Borrowed("bond", (1, 2), "r0"), Borrowed("angle", (0, 1, 2), "theta0")),
    formula="k (r1 - r1_0 + r2 - r2_0) (theta - theta0)",
)
STRETCH_STRETCH = Form(
    name="stretch_stretch",
    kind="stretch-stretch",
    n_atoms=3,
    coordinates=(InternalCoordinate("distance", (0, 1)), InternalCoordinate("distance", (1, 2))),
    columns=(STRETCH_STRETCH_K,),
    energy=stretch_stretch,
    borrowed=(Borrowed("bond", (0, 1), "r0"), Borrowed("bond", (1, 2), "r0")),
    formula="k (r1 - r1_0) (r2 - r2_0)",
)
TORSION_STRETCH = Form(
    name="torsion_stretch",
    kind="torsion-stretch",
    n_atoms=4,
    coordinates=(InternalCoordinate("distance", (1, 2)), InternalCoordinate("dihedral", (0, 1, 2, 3))),
    columns=(TORSION_STRETCH_K,),
    energy=torsion_stretch,
    borrowed=(Borrowed("bond", (1, 2), "r0"),),
    formula="k (r - r0) (1 + cos 3 phi), r of the central bond",
)
