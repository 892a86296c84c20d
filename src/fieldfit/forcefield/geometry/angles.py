"""Distance, angle, cosine of an angle, and linear bend.

The angle follows from its cosine c: b = -dc / sin and C = -(d2c + c b b^T) / sin. Both are singular at 180 degrees, so
a linear angle is described by s = |e_u + e_v|^2 = 2 (1 + c) instead: the squares of the two components of the bend,
summed over both perpendicular directions, equal to (pi - angle)^2 to second order, smooth everywhere, and independent
of the choice of the two directions and of the orientation of the molecule. The cosine itself is as smooth.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from fieldfit.forcefield.geometry.coordinate import Derivatives, cosine_of_vectors, projector, to_atoms

ARMS = ((1.0, -1.0, 0.0), (0.0, -1.0, 1.0))
"""The two bond vectors from the middle one of three atoms."""


def distance(x: Float[Array, "2 3"]) -> Float[Array, ""]:
    """Return the distance of two atoms [A]."""
    return jnp.linalg.norm(x[0] - x[1])


def distance_derivatives(x: Float[Array, "2 3"]) -> Derivatives:
    """Return the distance of two atoms with b and C."""
    u = x[0] - x[1]
    r = jnp.linalg.norm(u)
    e = u / r
    block = projector(e) / r
    return Derivatives(r, jnp.concatenate([e, -e]), jnp.block([[block, -block], [-block, block]]))


def angle(x: Float[Array, "3 3"]) -> Float[Array, ""]:
    """Return the angle at the middle one of three atoms [rad]."""
    u, v = x[0] - x[1], x[2] - x[1]
    return jnp.arctan2(jnp.linalg.norm(jnp.cross(u, v)), jnp.dot(u, v))


def angle_derivatives(x: Float[Array, "3 3"]) -> Derivatives:
    """Return the angle of three atoms with b and C; singular at 0 and 180 degrees."""
    c, dc, d2c = cosine_derivatives(x)
    theta = angle(x)
    sine = jnp.sin(theta)
    b = -dc / sine
    return Derivatives(theta, b, -(d2c + c * jnp.outer(b, b)) / sine)


def cosine(x: Float[Array, "3 3"]) -> Float[Array, ""]:
    """Return the cosine of the angle at the middle one of three atoms."""
    u, v = x[0] - x[1], x[2] - x[1]
    return jnp.dot(u / jnp.linalg.norm(u), v / jnp.linalg.norm(v))


def cosine_derivatives(x: Float[Array, "3 3"]) -> Derivatives:
    """Return the cosine of the angle of three atoms with b and C."""
    found = cosine_of_vectors(x[0] - x[1], x[2] - x[1])
    return Derivatives(found.c, *to_atoms(ARMS, (found.u, found.v), ((found.uu, found.uv), (found.vv,))))


def linear_bend(x: Float[Array, "3 3"]) -> Float[Array, ""]:
    """Return the squared linear bend |e_u + e_v|^2 at the middle one of three atoms [rad^2]."""
    u, v = x[0] - x[1], x[2] - x[1]
    s = u / jnp.linalg.norm(u) + v / jnp.linalg.norm(v)
    return jnp.dot(s, s)


def linear_bend_derivatives(x: Float[Array, "3 3"]) -> Derivatives:
    """Return the squared linear bend of three atoms with b and C."""
    _, dc, d2c = cosine_derivatives(x)
    return Derivatives(linear_bend(x), 2.0 * dc, 2.0 * d2c)
