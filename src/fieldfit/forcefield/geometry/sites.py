"""Coordinates of two bonds that need not share atoms: distance of shifted sites, coupling of bond dipoles.

**Site distance.** MM3 puts the centre of the van der Waals forces of a hydrogen not at its nucleus but on its bond, at
0.923 of its length (Allinger, Yuh, Lii 1989, doi:10.1021/ja00205a001). The site of an atom at x with parent p is s = x
+ o (x - p), with an offset o that is a fraction of the bond, negative towards the parent: -0.077. Atoms that are not
shifted have o = 0, and any parent, even themselves. The vector of two sites is D = sum_k a_k x_k with the coefficients
a = (1 + o_i, -o_i, -1 - o_j, o_j). Its length q and direction n give

    b_k = a_k n,        C_kl = a_k a_l (I - n n^T) / q.

**Dipole coupling.** Two dipoles along unit vectors u1 and u2, R apart, interact as q = u1^T M u2 with M = I / r^3 - 3 R
R^T / r^5. With a = u1 . R, b = u2 . R and c = u1 . u2,

    q = c / r^3 - 3 a b / r^5,
    dq/du1 = M u2,    dq/dR = -3 (c R + a u2 + b u1) / r^5 + 15 a b R / r^7,
    d2q/du1 dR = -3 (u2 R^T + R u2^T + b I) / r^5 + 15 b R R^T / r^7,
    d2q/dR dR = -3 (u1 u2^T + u2 u1^T + c I) / r^5
                + 15 (c R R^T + R (a u2 + b u1)^T + (a u2 + b u1) R^T + a b I) / r^7 - 105 a b R R^T / r^9.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from fieldfit.forcefield.geometry.coordinate import (
    Derivatives,
    curvature_of_direction,
    projector,
    symmetric_product,
    to_atoms,
)

BONDS_AND_MIDPOINTS = ((-1.0, 1.0, 0.0, 0.0), (0.0, 0.0, -1.0, 1.0), (-0.5, -0.5, 0.5, 0.5))
"""The two bond vectors of four atoms and the vector between the midpoints of the bonds."""


def site_distance(x: Float[Array, "4 3"], offset_i: Float[Array, ""], offset_j: Float[Array, ""]) -> Float[Array, ""]:
    """Return the distance of the sites of the atoms i and j [A] for atoms i, parent of i, j, parent of j.

    Args:
        x: Positions of i, its parent, j and its parent [A].
        offset_i: Shift of the site of i along the bond, away from the parent, as a fraction of the bond.
        offset_j: That of j.
    """
    return jnp.linalg.norm(_coefficients(offset_i, offset_j) @ x)


def site_distance_derivatives(
    x: Float[Array, "4 3"], offset_i: Float[Array, ""], offset_j: Float[Array, ""]
) -> Derivatives:
    """Return the distance of the sites of two atoms with b and C; see `site_distance`."""
    a = _coefficients(offset_i, offset_j)
    D = a @ x
    q = jnp.linalg.norm(D)
    n = D / q
    return Derivatives(q, jnp.kron(a, n), jnp.kron(jnp.outer(a, a), projector(n) / q))


def _coefficients(offset_i: Float[Array, ""], offset_j: Float[Array, ""]) -> Float[Array, "4"]:
    """Return the coefficients of the vector between two sites in the positions of the atoms and their parents."""
    return jnp.stack([1.0 + offset_i, -offset_i, -1.0 - offset_j, offset_j])


def dipole_coupling(x: Float[Array, "4 3"]) -> Float[Array, ""]:
    """Return u1 . u2 / r^3 - 3 (u1 . R) (u2 . R) / r^5 [1/A^3] of the bonds from atom 0 to 1 and from atom 2 to 3.

    u1 and u2 are unit vectors along the bonds, R is the vector between their midpoints.
    """
    w1, w2, R = x[1] - x[0], x[3] - x[2], 0.5 * (x[2] + x[3] - x[0] - x[1])
    u1, u2, r = w1 / jnp.linalg.norm(w1), w2 / jnp.linalg.norm(w2), jnp.linalg.norm(R)
    return jnp.dot(u1, u2) / r**3 - 3.0 * jnp.dot(u1, R) * jnp.dot(u2, R) / r**5


def dipole_coupling_derivatives(x: Float[Array, "4 3"]) -> Derivatives:
    """Return the coupling of two bond dipoles with b and C."""
    w1, w2, R = x[1] - x[0], x[3] - x[2], 0.5 * (x[2] + x[3] - x[0] - x[1])
    r1, r2, r = jnp.linalg.norm(w1), jnp.linalg.norm(w2), jnp.linalg.norm(R)
    u1, u2 = w1 / r1, w2 / r2
    a, b, c = jnp.dot(u1, R), jnp.dot(u2, R), jnp.dot(u1, u2)
    RR, mixed = jnp.outer(R, R), a * u2 + b * u1
    M = jnp.eye(3) / r**3 - 3.0 * RR / r**5

    n1, n2, g = M @ u2, M @ u1, -3.0 * (c * R + mixed) / r**5 + 15.0 * a * b * R / r**7
    T1, T2 = projector(u1) / r1, projector(u2) / r2
    RR_block = (
        -3.0 * (symmetric_product(u1, u2) + c * jnp.eye(3)) / r**5
        + 15.0 * (c * RR + symmetric_product(R, mixed) + a * b * jnp.eye(3)) / r**7
        - 105.0 * a * b * RR / r**9
    )
    hessian = (
        (curvature_of_direction(u1, n1) / r1**2, T1 @ M @ T2, T1 @ _field_gradient(u2, R)),
        (curvature_of_direction(u2, n2) / r2**2, T2 @ _field_gradient(u1, R)),
        (RR_block,),
    )
    q = c / r**3 - 3.0 * a * b / r**5
    return Derivatives(q, *to_atoms(BONDS_AND_MIDPOINTS, (T1 @ n1, T2 @ n2, g), hessian))


def _field_gradient(u: Float[Array, "3"], R: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Return the derivatives of M(R) u with respect to R."""
    r, b = jnp.linalg.norm(R), jnp.dot(u, R)
    return -3.0 * (symmetric_product(u, R) + b * jnp.eye(3)) / r**5 + 15.0 * b * jnp.outer(R, R) / r**7
