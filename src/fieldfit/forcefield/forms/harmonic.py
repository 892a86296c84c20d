"""The harmonic family: E = k (q - q0)^2, without a half."""

from __future__ import annotations

from jaxtyping import Array, Float

from fieldfit.forcefield.forms.form import DEGREE, Column, Form, InternalCoordinate

BOND_K = Column("k", "kcal/mol/A^2", 0.0, 3600.0, 7.2, is_linear=True)
BOND_R0 = Column("r0", "A", 0.5, 3.0, 0.02)
ANGLE_K = Column("k", "kcal/mol/rad^2", 0.0, 720.0, 7.2, is_linear=True)
ANGLE_THETA0 = Column("theta0", "deg", 30.0, 180.0, 1.0, internal=DEGREE)


def harmonic(q: Float[Array, "1"], p: Float[Array, "2"], s: Float[Array, "0"]) -> Float[Array, ""]:
    """Return k (q - q0)^2."""
    k, q0 = p
    return k * (q[0] - q0) ** 2


def linear(q: Float[Array, "1"], p: Float[Array, "1"], s: Float[Array, "0"]) -> Float[Array, ""]:
    """Return k q for a coordinate that is a square already."""
    return p[0] * q[0]


HARMONIC_BOND = Form(
    name="harmonic_bond",
    kind="bond",
    n_atoms=2,
    coordinates=(InternalCoordinate("distance", (0, 1)),),
    columns=(BOND_K, BOND_R0),
    energy=harmonic,
    formula="k (r - r0)^2",
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
