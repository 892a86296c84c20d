"""Internal coordinates and their first and second Cartesian derivatives, written out analytically.

A coordinate q of a few atoms comes with b = dq/dx, shape (3 a,), and C = d2q/dx2, shape (3 a, 3 a), for the a atoms
that define it. Every functional form shares them: gradient f' b and Hessian f'' b b^T + f' C follow from scalar
derivatives of f alone.

Symbols: u, v are bond vectors from the central atom, r their lengths, e = u / r unit vectors, P = I - e e^T, c = e_u
    . e_v
the cosine of the angle. With dc = P_u e_v / r_u the second derivatives of the cosine are

    d2c/du du = -[(P_u e_v) e_u^T + e_u (P_u e_v)^T + c P_u] / r_u^2,      d2c/du dv = P_u P_v / (r_u r_v),

and those of the angle follow from cos: C_angle = -(C_c + c b b^T) / sin. They are singular at 180 degrees, so a linear
angle is described by s = |e_u + e_v|^2 = 2 (1 + c) instead: the squares of the two components of the bend, summed over
both perpendicular directions, equal to (pi - angle)^2 to second order, smooth everywhere, and independent of the
choice of the two directions and of the orientation of the molecule.

The dihedral follows Blondel and Karplus (1996), doi:10.1002/(SICI)1096-987X(19960715)17:9<1132::AID-JCC5>3.0.CO;2-T,
whose derivatives are free of the singularity of arccos at 0 and 180 degrees.

All functions are traced by JAX, take the atoms' coordinates [A], shape (a, 3), and work for one tuple of atoms; map
them with `jax.vmap`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Derivatives(NamedTuple):
    """A coordinate's value q, its gradient b and its Hessian C."""

    q: Float[Array, ""]
    b: Float[Array, " dof"]
    C: Float[Array, "dof dof"]


def distance(x: Float[Array, "2 3"]) -> Float[Array, ""]:
    """Return the distance of two atoms [A]."""
    return jnp.linalg.norm(x[0] - x[1])


def angle(x: Float[Array, "3 3"]) -> Float[Array, ""]:
    """Return the angle at the middle one of three atoms [rad]."""
    u, v = x[0] - x[1], x[2] - x[1]
    return jnp.arctan2(jnp.linalg.norm(jnp.cross(u, v)), jnp.dot(u, v))


def linear_bend(x: Float[Array, "3 3"]) -> Float[Array, ""]:
    """Return the squared linear bend |e_u + e_v|^2 at the middle one of three atoms [rad^2]."""
    u, v = x[0] - x[1], x[2] - x[1]
    s = u / jnp.linalg.norm(u) + v / jnp.linalg.norm(v)
    return jnp.dot(s, s)


def dihedral(x: Float[Array, "4 3"]) -> Float[Array, ""]:
    """Return the dihedral angle of four atoms [rad], 0 for cis, in (-pi, pi]."""
    F, G, H = x[0] - x[1], x[1] - x[2], x[3] - x[2]
    A, B = jnp.cross(F, G), jnp.cross(H, G)
    return jnp.arctan2(jnp.dot(jnp.cross(B, A), G) / jnp.linalg.norm(G), jnp.dot(A, B))


def distance_derivatives(x: Float[Array, "2 3"]) -> Derivatives:
    """Return the distance of two atoms with b and C."""
    u = x[0] - x[1]
    r = jnp.linalg.norm(u)
    e = u / r
    block = (jnp.eye(3) - jnp.outer(e, e)) / r
    return Derivatives(r, jnp.concatenate([e, -e]), jnp.block([[block, -block], [-block, block]]))


def angle_derivatives(x: Float[Array, "3 3"]) -> Derivatives:
    """Return the angle of three atoms with b and C; singular at 0 and 180 degrees."""
    c, dc, d2c = _cosine_derivatives(x)
    theta = angle(x)
    sine = jnp.sin(theta)
    b = -dc / sine
    return Derivatives(theta, b, -(d2c + c * jnp.outer(b, b)) / sine)


def linear_bend_derivatives(x: Float[Array, "3 3"]) -> Derivatives:
    """Return the squared linear bend of three atoms with b and C."""
    _, dc, d2c = _cosine_derivatives(x)
    return Derivatives(linear_bend(x), 2.0 * dc, 2.0 * d2c)


def dihedral_derivatives(x: Float[Array, "4 3"]) -> Derivatives:
    """Return the dihedral angle of four atoms with b and C; singular where three of them are in line."""
    F, G, H = x[0] - x[1], x[1] - x[2], x[3] - x[2]
    A, B = jnp.cross(F, G), jnp.cross(H, G)
    g, a2, b2 = jnp.linalg.norm(G), jnp.dot(A, A), jnp.dot(B, B)
    FG, HG = jnp.dot(F, G), jnp.dot(H, G)
    dF, dH = -g / a2 * A, g / b2 * B
    dG = FG / (a2 * g) * A - HG / (b2 * g) * B

    GA, GB, FA, HB = jnp.cross(G, A), jnp.cross(G, B), jnp.cross(F, A), jnp.cross(H, B)
    dFF = g / a2**2 * _symmetric(A, GA)
    dHH = -g / b2**2 * _symmetric(B, GB)
    dGG = (
        _symmetric(GA, A) / (2.0 * g**3 * a2)
        + FG / (g * a2**2) * _symmetric(A, FA)
        - _symmetric(GB, B) / (2.0 * g**3 * b2)
        - HG / (g * b2**2) * _symmetric(B, HB)
    )
    dFG = -(g**2 * jnp.outer(FA, A) + FG * jnp.outer(A, GA)) / (g * a2**2)
    dGH = (g**2 * jnp.outer(B, HB) + HG * jnp.outer(GB, B)) / (g * b2**2)
    return Derivatives(dihedral(x), *_to_atoms((dF, dG, dH), (dFF, dGG, dHH, dFG, dGH)))


def _cosine_derivatives(
    x: Float[Array, "3 3"],
) -> tuple[Float[Array, ""], Float[Array, "9"], Float[Array, "9 9"]]:
    """Return the cosine of the angle of three atoms with its first and second derivatives."""
    u, v = x[0] - x[1], x[2] - x[1]
    ru, rv = jnp.linalg.norm(u), jnp.linalg.norm(v)
    eu, ev = u / ru, v / rv
    c = jnp.dot(eu, ev)
    Pu, Pv = jnp.eye(3) - jnp.outer(eu, eu), jnp.eye(3) - jnp.outer(ev, ev)
    du, dv = Pu @ ev, Pv @ eu
    uu = -(_symmetric(du, eu) + c * Pu) / ru**2
    vv = -(_symmetric(dv, ev) + c * Pv) / rv**2
    uv = Pu @ Pv / (ru * rv)
    gradient = jnp.concatenate([du / ru, -du / ru - dv / rv, dv / rv])
    left, right = uu + uv.T, vv + uv
    hessian = jnp.block([[uu, -uu - uv, uv], [-left, left + right, -right], [uv.T, -vv - uv.T, vv]])
    return c, gradient, hessian


def _symmetric(p: Float[Array, "3"], q: Float[Array, "3"]) -> Float[Array, "3 3"]:
    return jnp.outer(p, q) + jnp.outer(q, p)


def _to_atoms(
    first: tuple[Array, Array, Array], second: tuple[Array, Array, Array, Array, Array]
) -> tuple[Float[Array, "12"], Float[Array, "12 12"]]:
    """Turn derivatives with respect to F, G, H into derivatives with respect to the four atoms."""
    dF, dG, dH = first
    FF, GG, HH, FG, GH = second
    zero = jnp.zeros((3, 3))
    blocks = jnp.block([[FF, FG, zero], [FG.T, GG, GH], [zero, GH.T, HH]])
    # F = x0 - x1, G = x1 - x2, H = x3 - x2.
    signs = jnp.array([[1.0, -1.0, 0.0, 0.0], [0.0, 1.0, -1.0, 0.0], [0.0, 0.0, -1.0, 1.0]])
    T = jnp.kron(signs, jnp.eye(3))
    return T.T @ jnp.concatenate([dF, dG, dH]), T.T @ blocks @ T


class Coordinate(NamedTuple):
    """An internal coordinate.

    Its functions take the coordinates of its atoms [A], shape (n_atoms, 3), and, if it has constants, those as further
    scalar arguments.
    """

    n_atoms: int
    value: Callable[..., Array]
    derivatives: Callable[..., Derivatives]
    n_constants: int = 0


COORDINATES = {
    "distance": Coordinate(2, distance, distance_derivatives),
    "angle": Coordinate(3, angle, angle_derivatives),
    "linear bend": Coordinate(3, linear_bend, linear_bend_derivatives),
    "dihedral": Coordinate(4, dihedral, dihedral_derivatives),
}
"""Internal coordinates by name."""
