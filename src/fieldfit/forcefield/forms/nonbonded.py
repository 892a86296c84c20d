"""Lennard-Jones and Coulomb energies of pairs of atoms.

The Lennard-Jones energy is written with the distance rm of its minimum and its depth eps, E = eps [(rm/r)^12 - 2
(rm/r)^6]; the sigma of other conventions is rm / 2^(1/6). Every atom type has half its own rm, the radius R, and a
depth; the form says how two types mix:

    lennard_jones                  rm = R_i + R_j               eps = sqrt(eps_i eps_j)
    lennard_jones_geometric        rm = 2 sqrt(R_i R_j)         eps = sqrt(eps_i eps_j)
    lennard_jones_waldman_hagler   rm^6 = 32 (R_i^6 + R_j^6)    eps = sqrt(eps_i eps_j) 2 R_i^3 R_j^3 / (R_i^6 + R_j^6)
    lennard_jones_pair             rm and eps of the pair of types itself

after Lorentz (1881) and Berthelot (1898), as in Amber and CHARMM; Jorgensen, Maxwell and Tirado-Rives (1996),
doi:10.1021/ja9621760, for OPLS; Waldman and Hagler (1993), doi:10.1002/jcc.540140909.

The square root of eps_i eps_j has no derivative where either is 0, so the bounds of a depth start above 0. A type of
depth 0, as hydroxyl hydrogens have in some force fields, meets nobody: the derivative is taken as 0 there. No depth
counts as a force constant: none of them is found from a Hessian alone.

Each term carries a factor that the molecule assigns: for Lennard-Jones the scale of the pair (1, or that of pairs
separated by three bonds), for charges the same times the Coulomb constant over the dielectric constant. Charges are
fitted (`coulomb`) or come with the molecule (`point_charges`, where the factor holds them as well).
"""

from __future__ import annotations

import jax.numpy as jnp

from fieldfit.forcefield.forms.form import Column, Form, InternalCoordinate, Scalar, Scalars

RADIUS = Column("radius", "A", 0.5, 5.0, 0.1)
EPSILON = Column("epsilon", "kcal/mol", 0.001, 2.0, 0.02)
DISTANCE = Column("distance", "A", 1.0, 10.0, 0.1)
CHARGE = Column("charge", "e", -3.0, 3.0, 0.02)
PAIR = (InternalCoordinate("distance", (0, 1)),)
ATOMS = ((0,), (1,))


def geometric_mean(a: Scalar, b: Scalar) -> Scalar:
    """Return sqrt(a b), with the derivative 0 rather than infinity where either is 0."""
    product = a * b
    return jnp.where(product > 0.0, jnp.sqrt(jnp.where(product > 0.0, product, 1.0)), 0.0)


def lorentz_berthelot(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return the Lennard-Jones energy with the sum of radii and the geometric mean of depths."""
    radius_i, epsilon_i, radius_j, epsilon_j = p
    return s[0] * _twelve_six(q[0], radius_i + radius_j, geometric_mean(epsilon_i, epsilon_j))


def geometric(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return the Lennard-Jones energy with the geometric means of radii and depths."""
    radius_i, epsilon_i, radius_j, epsilon_j = p
    return s[0] * _twelve_six(q[0], 2.0 * geometric_mean(radius_i, radius_j), geometric_mean(epsilon_i, epsilon_j))


def waldman_hagler(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return the Lennard-Jones energy with the mixing rules of Waldman and Hagler."""
    radius_i, epsilon_i, radius_j, epsilon_j = p
    # Two radii of 0 have the mixed depth 0 whatever stands here.
    sixth = radius_i**6 + radius_j**6
    sixth = jnp.where(sixth > 0.0, sixth, 1.0)
    epsilon = geometric_mean(epsilon_i, epsilon_j) * 2.0 * radius_i**3 * radius_j**3 / sixth
    # (rm / r)^6 straight from rm^6: no sixth root.
    attraction = 32.0 * sixth / q[0] ** 6
    return s[0] * epsilon * (attraction**2 - 2.0 * attraction)


def explicit_pair(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return the Lennard-Jones energy of a pair whose distance and depth are given."""
    distance, epsilon = p
    return s[0] * _twelve_six(q[0], distance, epsilon)


def product_of_charges(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return factor q_i q_j / r."""
    charge_i, charge_j = p
    return s[0] * charge_i * charge_j / q[0]


def inverse_distance(q: Scalars, p: Scalars, s: Scalars) -> Scalar:
    """Return factor / r."""
    return s[0] / q[0]


def _twelve_six(r: Scalar, rm: Scalar, epsilon: Scalar) -> Scalar:
    attraction = (rm / r) ** 6
    return epsilon * (attraction**2 - 2.0 * attraction)


LENNARD_JONES = Form(
    name="lennard_jones",
    kind="vdw",
    n_atoms=2,
    coordinates=PAIR,
    columns=(RADIUS, EPSILON),
    energy=lorentz_berthelot,
    sites=ATOMS,
    assigned=("scale",),
    formula="scale eps ((rm/r)^12 - 2 (rm/r)^6), rm = R_i + R_j, eps = sqrt(eps_i eps_j)",
)
LENNARD_JONES_GEOMETRIC = Form(
    name="lennard_jones_geometric",
    kind="vdw",
    n_atoms=2,
    coordinates=PAIR,
    columns=(RADIUS, EPSILON),
    energy=geometric,
    sites=ATOMS,
    assigned=("scale",),
    formula="scale eps ((rm/r)^12 - 2 (rm/r)^6), rm = 2 sqrt(R_i R_j), eps = sqrt(eps_i eps_j)",
)
LENNARD_JONES_WALDMAN_HAGLER = Form(
    name="lennard_jones_waldman_hagler",
    kind="vdw",
    n_atoms=2,
    coordinates=PAIR,
    columns=(RADIUS, EPSILON),
    energy=waldman_hagler,
    sites=ATOMS,
    assigned=("scale",),
    formula="scale eps ((rm/r)^12 - 2 (rm/r)^6), rm^6 = 32 (R_i^6 + R_j^6), "
    "eps = sqrt(eps_i eps_j) 2 R_i^3 R_j^3 / (R_i^6 + R_j^6)",
)
LENNARD_JONES_PAIR = Form(
    name="lennard_jones_pair",
    kind="vdw-pair",
    n_atoms=2,
    coordinates=PAIR,
    columns=(DISTANCE, EPSILON),
    energy=explicit_pair,
    assigned=("scale",),
    formula="scale eps ((rm/r)^12 - 2 (rm/r)^6), rm and eps of the pair",
)
COULOMB = Form(
    name="coulomb",
    kind="charge",
    n_atoms=2,
    coordinates=PAIR,
    columns=(CHARGE,),
    energy=product_of_charges,
    sites=ATOMS,
    assigned=("factor",),
    formula="factor q_i q_j / r",
)
POINT_CHARGES = Form(
    name="point_charges",
    kind="point-charge",
    n_atoms=2,
    coordinates=PAIR,
    columns=(),
    energy=inverse_distance,
    assigned=("factor",),
    formula="factor / r, the charges in the factor",
)
