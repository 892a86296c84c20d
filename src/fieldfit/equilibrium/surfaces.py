"""Points of flux surfaces, and the force that is left at points inside."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from fieldfit.equilibrium.equilibrium import Equilibrium
from fieldfit.equilibrium.field import force_density
from fieldfit.equilibrium.grid import Grid
from fieldfit.equilibrium.tables import by_quantity, mode_table, node_tables, node_values


def flux_surfaces(
    equilibrium: Equilibrium, rho: Any, theta: Any
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Return R and Z [m] of points in flux coordinates.

    Args:
        equilibrium: Solved or not.
        rho: Radii, 0 on the axis and 1 on the boundary, any shape.
        theta: Poloidal angles [rad], of a shape that broadcasts with that of the radii.

    Returns:
        R and Z [m], both of the common shape.
    """
    radii, angles = np.broadcast_arrays(np.asarray(rho, dtype=float), np.asarray(theta, dtype=float))
    modes = equilibrium.mode_numbers
    R, Z = (
        mode_table(modes[name], radii.ravel(), angles.ravel()) @ equilibrium.params_dict[name]
        for name in ("R_lmn", "Z_lmn")
    )
    return R.reshape(radii.shape), Z.reshape(radii.shape)


def force_error(equilibrium: Equilibrium, rho: Any, theta: Any) -> Float[np.ndarray, "..."]:
    """Return the length of J x B - grad p [N/m^3] at points in flux coordinates.

    Args:
        equilibrium: Solved or not.
        rho: Radii above 0 and up to 1, any shape.
        theta: Poloidal angles [rad], of a shape that broadcasts with that of the radii.

    Returns:
        The size of the force, of the common shape.

    Raises:
        SettingsError: A radius is outside (0, 1].
    """
    radii, angles = np.broadcast_arrays(np.asarray(rho, dtype=float), np.asarray(theta, dtype=float))
    grid = Grid(radii.ravel(), angles.ravel(), np.zeros(radii.size))
    tables = node_tables(grid, equilibrium.mode_numbers, pressure=equilibrium.pressure, iota=equilibrium.iota)
    at = by_quantity(node_values(tables, equilibrium.params_dict))
    return force_density(at).reshape(radii.shape)
