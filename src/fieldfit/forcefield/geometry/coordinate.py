"""What an internal coordinate is, and the chain rules that all of them share.

A coordinate is a function q(z_1, ..., z_m) of a few vectors z, each of which is a sum of the atoms' positions x with
fixed coefficients, z_k = sum_i A_ki x_i: bond vectors, or the vector between two midpoints. With g_k = dq/dz_k and
H_kl = d2q/dz_k dz_l, which each coordinate writes out,

    dq/dx_i = sum_k A_ki g_k,        d2q/dx_i dx_j = sum_kl A_ki A_lj H_kl.

Many depend on a vector u only through its direction e = u / r. With P = I - e e^T, a function of e that has the
gradient n there has, with respect to u,

    gradient  P n / r,        Hessian  (P h P - (P n) e^T - e (P n)^T - (e . n) P) / r^2,

where h is its Hessian with respect to e. The cosine c = e_u . e_v of the angle of two vectors is of that kind twice:

    dc/du = P_u e_v / r_u,        d2c/du dv = P_u P_v / (r_u r_v).
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


class Coordinate(NamedTuple):
    """An internal coordinate.

    Its functions take the coordinates of its atoms [A], shape (n_atoms, 3), and, if it has constants, those as further
    scalar arguments.
    """

    n_atoms: int
    value: Callable[..., Array]
    derivatives: Callable[..., Derivatives]
    n_constants: int = 0


class Cosine(NamedTuple):
    """The cosine of the angle between two vectors u and v with its first and second derivatives."""

    c: Float[Array, ""]
    u: Float[Array, "3"]
    v: Float[Array, "3"]
    uu: Float[Array, "3 3"]
    uv: Float[Array, "3 3"]
    vv: Float[Array, "3 3"]


def cosine_of_vectors(u: Float[Array, "3"], v: Float[Array, "3"]) -> Cosine:
    """Return the cosine of the angle between two vectors with its derivatives."""
    ru, rv = jnp.linalg.norm(u), jnp.linalg.norm(v)
    eu, ev = u / ru, v / rv
    Pu, Pv = projector(eu), projector(ev)
    return Cosine(
        c=jnp.dot(eu, ev),
        u=Pu @ ev / ru,
        v=Pv @ eu / rv,
        uu=curvature_of_direction(eu, ev) / ru**2,
        uv=Pu @ Pv / (ru * rv),
        vv=curvature_of_direction(ev, eu) / rv**2,
    )


def projector(e: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Return P = I - e e^T for a unit vector e."""
    return jnp.eye(3) - jnp.outer(e, e)


def curvature_of_direction(e: Float[Array, "3"], n: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Return r^2 times the second derivatives of n . u / |u| with respect to u, for u = r e and a fixed n."""
    across = n - jnp.dot(e, n) * e
    return -(symmetric_product(across, e) + jnp.dot(e, n) * projector(e))


def symmetric_product(p: Float[Array, "3"], q: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Return p q^T + q p^T."""
    return jnp.outer(p, q) + jnp.outer(q, p)


def to_atoms(
    coefficients: tuple[tuple[float, ...], ...],
    gradient: tuple[Float[Array, "3"], ...],
    hessian: tuple[tuple[Float[Array, "3 3"], ...], ...],
) -> tuple[Float[Array, " dof"], Float[Array, "dof dof"]]:
    """Turn derivatives with respect to vectors z = A x into derivatives with respect to the atoms' positions x.

    Args:
        coefficients: A, one row per vector and one column per atom.
        gradient: First derivatives, one entry per vector.
        hessian: The upper triangle of the second derivatives: row k holds d2q/dz_k dz_l for l = k, k + 1, ...

    Returns:
        b, shape (3 a,), and C, shape (3 a, 3 a).
    """
    A = jnp.array(coefficients)
    count, atoms = A.shape
    H = jnp.stack([jnp.stack([_block(hessian, k, m) for m in range(count)]) for k in range(count)])
    b = jnp.einsum("ki,ka->ia", A, jnp.stack(gradient))
    C = jnp.einsum("ki,kmab,mj->iajb", A, H, A)
    return b.reshape(3 * atoms), C.reshape(3 * atoms, 3 * atoms)


def _block(hessian: tuple[tuple[Float[Array, "3 3"], ...], ...], k: int, m: int) -> Float[Array, "3 3"]:
    return hessian[k][m - k] if m >= k else hessian[m][k - m].T
