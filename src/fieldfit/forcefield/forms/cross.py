"""Coupling of internal coordinates that share atoms.

The equilibrium values are those of the bonds and the angle that are coupled, so a cross term exerts no force where
they are all at rest.
"""

from __future__ import annotations

from jaxtyping import Array, Float

from fieldfit.forcefield.forms.form import Borrowed, Column, Form, InternalCoordinate

STRETCH_BEND_K = Column("k", "kcal/mol/A/rad", -50.0, 50.0, 1.0, is_linear=True)


def stretch_bend(q: Float[Array, "3"], p: Float[Array, "4"], s: Float[Array, "0"]) -> Float[Array, ""]:
    """Return k (d1 + d2) D, the stretch-bend of MM3."""
    k, r1, r2, theta0 = p
    return k * (q[0] - r1 + q[1] - r2) * (q[2] - theta0)


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
