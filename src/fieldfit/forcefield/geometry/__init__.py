"""Internal coordinates and their first and second Cartesian derivatives, written out analytically.

A coordinate q of a few atoms comes with b = dq/dx, shape (3 a,), and C = d2q/dx2, shape (3 a, 3 a), for the a atoms
that define it. Every functional form shares them: gradient f' b and Hessian f'' b b^T + f' C follow from scalar
derivatives of f alone.

All functions are traced by JAX, take the atoms' coordinates [A], shape (a, 3), and work for one tuple of atoms; map
them with `jax.vmap`.
"""

from fieldfit.forcefield.geometry.angles import (
    angle,
    angle_derivatives,
    cosine,
    cosine_derivatives,
    distance,
    distance_derivatives,
    linear_bend,
    linear_bend_derivatives,
)
from fieldfit.forcefield.geometry.coordinate import Coordinate, Derivatives
from fieldfit.forcefield.geometry.dihedrals import (
    dihedral,
    dihedral_derivatives,
    guarded_dihedral,
    guarded_dihedral_derivatives,
    wilson_angle,
    wilson_angle_derivatives,
)
from fieldfit.forcefield.geometry.sites import (
    dipole_coupling,
    dipole_coupling_derivatives,
    site_distance,
    site_distance_derivatives,
)

COORDINATES = {
    "distance": Coordinate(2, distance, distance_derivatives),
    "angle": Coordinate(3, angle, angle_derivatives),
    "cosine": Coordinate(3, cosine, cosine_derivatives),
    "linear bend": Coordinate(3, linear_bend, linear_bend_derivatives),
    "dihedral": Coordinate(4, dihedral, dihedral_derivatives),
    "guarded dihedral": Coordinate(4, guarded_dihedral, guarded_dihedral_derivatives),
    "wilson angle": Coordinate(4, wilson_angle, wilson_angle_derivatives),
    "site distance": Coordinate(4, site_distance, site_distance_derivatives, n_constants=2),
    "dipole coupling": Coordinate(4, dipole_coupling, dipole_coupling_derivatives),
}
"""Internal coordinates by name."""

__all__ = ["COORDINATES", "Coordinate", "Derivatives"]
