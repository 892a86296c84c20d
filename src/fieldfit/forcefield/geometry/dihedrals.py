"""Dihedral and out-of-plane angle of four atoms.

The dihedral follows Blondel and Karplus (1996), doi:10.1002/(SICI)1096-987X(19960715)17:9<1132::AID-JCC5>3.0.CO;2-T,
whose derivatives are free of the singularity of arccos at 0 and 180 degrees. Where three of the atoms are in line it
is undefined; the guarded dihedral has the derivatives zero there, for energies that vanish there anyway.

The out-of-plane angle of Wilson, Decius and Cross (1955), Molecular Vibrations, ch. 4, is the angle chi of the bond w =
c-k against the plane of u = c-i and v = c-j. Its sine is the cosine of the angle between w and the normal n = u x v, so
that with sigma = sin chi

    b = d sigma / cos chi,        C = (d2 sigma + sigma b b^T) / cos chi,

smooth at 0 and singular only at 90 degrees, where w is along the normal. With [g] the matrix of a -> g x a, the chain
rule through the normal uses dn/du = -[v], dn/dv = [u] and g . d2n/du dv = -[g].
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fieldfit.forcefield.geometry.coordinate import Derivatives, cosine_of_vectors, symmetric_product, to_atoms

CHAIN = ((1.0, -1.0, 0.0, 0.0), (0.0, 1.0, -1.0, 0.0), (0.0, 0.0, -1.0, 1.0))
"""F = x0 - x1, G = x1 - x2 and H = x3 - x2 of a dihedral."""

STAR = ((-1.0, 1.0, 0.0, 0.0), (-1.0, 0.0, 1.0, 0.0), (-1.0, 0.0, 0.0, 1.0))
"""The three bond vectors from the first one of four atoms."""

IN_LINE = 1e-4
"""Three atoms are in line if the sine of their angle is smaller than this."""

BENT = ((1.0, 1.0, 0.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 0.0, 1.0))
"""Four atoms of which no three are in line [A]; what a guarded dihedral is computed at instead."""


def dihedral(x: Float[Array, "4 3"]) -> Float[Array, ""]:
    """Return the dihedral angle of four atoms [rad], 0 for cis, in (-pi, pi]."""
    F, G, H = x[0] - x[1], x[1] - x[2], x[3] - x[2]
    A, B = jnp.cross(F, G), jnp.cross(H, G)
    return jnp.arctan2(jnp.dot(jnp.cross(B, A), G) / jnp.linalg.norm(G), jnp.dot(A, B))


def dihedral_derivatives(x: Float[Array, "4 3"]) -> Derivatives:
    """Return the dihedral angle of four atoms with b and C; singular where three of them are in line."""
    F, G, H = x[0] - x[1], x[1] - x[2], x[3] - x[2]
    A, B = jnp.cross(F, G), jnp.cross(H, G)
    g, a2, b2 = jnp.linalg.norm(G), jnp.dot(A, A), jnp.dot(B, B)
    FG, HG = jnp.dot(F, G), jnp.dot(H, G)
    dF, dH = -g / a2 * A, g / b2 * B
    dG = FG / (a2 * g) * A - HG / (b2 * g) * B

    GA, GB, FA, HB = jnp.cross(G, A), jnp.cross(G, B), jnp.cross(F, A), jnp.cross(H, B)
    FF = g / a2**2 * symmetric_product(A, GA)
    HH = -g / b2**2 * symmetric_product(B, GB)
    GG = (
        symmetric_product(GA, A) / (2.0 * g**3 * a2)
        + FG / (g * a2**2) * symmetric_product(A, FA)
        - symmetric_product(GB, B) / (2.0 * g**3 * b2)
        - HG / (g * b2**2) * symmetric_product(B, HB)
    )
    FG_block = -(g**2 * jnp.outer(FA, A) + FG * jnp.outer(A, GA)) / (g * a2**2)
    GH_block = (g**2 * jnp.outer(B, HB) + HG * jnp.outer(GB, B)) / (g * b2**2)
    hessian = ((FF, FG_block, jnp.zeros((3, 3))), (GG, GH_block), (HH,))
    return Derivatives(dihedral(x), *to_atoms(CHAIN, (dF, dG, dH), hessian))


def guarded_dihedral(x: Float[Array, "4 3"]) -> Float[Array, ""]:
    """Return the dihedral angle of four atoms [rad], 0 where three of them are in line."""
    is_bent = _is_bent(x)
    return jnp.where(is_bent, dihedral(jnp.where(is_bent, x, jnp.array(BENT))), 0.0)


def guarded_dihedral_derivatives(x: Float[Array, "4 3"]) -> Derivatives:
    """Return the dihedral angle of four atoms with b and C, all zero where three of them are in line."""
    is_bent = _is_bent(x)
    # The excluded branch is computed at other atoms, so that no NaN reaches derivatives of this function.
    found = dihedral_derivatives(jnp.where(is_bent, x, jnp.array(BENT)))
    return Derivatives(*(jnp.where(is_bent, part, 0.0) for part in found))


def _is_bent(x: Float[Array, "4 3"]) -> Bool[Array, ""]:
    F, G, H = x[0] - x[1], x[1] - x[2], x[3] - x[2]
    A, B = jnp.cross(F, G), jnp.cross(H, G)
    f2, g2, h2 = jnp.dot(F, F), jnp.dot(G, G), jnp.dot(H, H)
    return (jnp.dot(A, A) > IN_LINE**2 * f2 * g2) & (jnp.dot(B, B) > IN_LINE**2 * h2 * g2)


def wilson_angle(x: Float[Array, "4 3"]) -> Float[Array, ""]:
    """Return the angle of the bond c-k against the plane c-i-j for four atoms c, i, j, k [rad].

    It is positive on the side of the normal (i - c) x (j - c).
    """
    w = x[3] - x[0]
    n = jnp.cross(x[1] - x[0], x[2] - x[0])
    return jnp.arctan2(jnp.dot(n, w), jnp.linalg.norm(jnp.cross(n, w)))


def wilson_angle_derivatives(x: Float[Array, "4 3"]) -> Derivatives:
    """Return the out-of-plane angle of four atoms with b and C; singular at 90 degrees and where c-i-j is a line."""
    u, v, w = x[1] - x[0], x[2] - x[0], x[3] - x[0]
    s = cosine_of_vectors(jnp.cross(u, v), w)
    # The columns of dn/du are e_a x v, those of dn/dv are u x e_a.
    nu, nv = -_cross_matrix(v), _cross_matrix(u)
    gradient = (nu.T @ s.u, nv.T @ s.u, s.v)
    hessian = (
        (nu.T @ s.uu @ nu, nu.T @ s.uu @ nv - _cross_matrix(s.u), nu.T @ s.uv),
        (nv.T @ s.uu @ nv, nv.T @ s.uv),
        (s.vv,),
    )
    chi = wilson_angle(x)
    ds, d2s = to_atoms(STAR, gradient, hessian)
    b = ds / jnp.cos(chi)
    return Derivatives(chi, b, (d2s + s.c * jnp.outer(b, b)) / jnp.cos(chi))


def _cross_matrix(g: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Return the matrix M with M a = g x a."""
    return jnp.cross(g[None, :], jnp.eye(3)).T
