"""From coefficients to values and derivatives at nodes: tables computed once.

Everything that force balance needs at a node is linear in the parameters: R, Z and lambda with their derivatives, the
flux psi and the profiles. A table holds, for one parameter array, the derivatives of these values with respect to its
elements; products with the coefficients give the values, products with partial derivatives of a pointwise function give
its Jacobian. Three dimensions add derivatives in zeta to the tables of R, Z and lambda, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from fieldfit.equilibrium.grid import Grid
from fieldfit.equilibrium.modes import Modes
from fieldfit.equilibrium.profiles import PowerSeries
from fieldfit.equilibrium.zernike import zernike_radial
from fieldfit.typing import Matrix, Vector

Table: TypeAlias = Float[np.ndarray, "_ _ _"]
"""Values at nodes per element of a parameter array, shape (nodes, quantities, elements)."""

DERIVATIVES = {"": (0, 0), "_r": (1, 0), "_t": (0, 1), "_rr": (2, 0), "_rt": (1, 1), "_tt": (0, 2)}
"""Suffix to orders of the derivatives in rho and theta."""

QUANTITIES: dict[str, tuple[str, ...]] = {
    "R_lmn": ("R", "R_r", "R_t", "R_rr", "R_rt", "R_tt"),
    "Z_lmn": ("Z_r", "Z_t", "Z_rr", "Z_rt", "Z_tt"),
    "L_lmn": ("L_t", "L_rt", "L_tt"),
    "p_l": ("p", "p_r"),
    "i_l": ("iota", "iota_r"),
    "Psi": ("psi_r", "psi_rr"),
}
"""Name of a parameter array to what it decides at a node."""


def mode_table(modes: Modes, rho: Vector, theta: Vector, suffix: str = "") -> Matrix:
    """Return modes or their derivatives at nodes, shape (nodes, modes).

    Args:
        modes: Rows (l, m, n).
        rho: Radii, shape (nodes,).
        theta: Poloidal angles [rad], shape (nodes,).
        suffix: Which derivative: "", "_r", "_t", "_rr", "_rt" or "_tt".
    """
    radial_order, angular_order = DERIVATIVES[suffix]
    columns = [
        zernike_radial(rho, int(degree), abs(int(m)), derivative=radial_order) * _angular(theta, int(m), angular_order)
        for degree, m, _ in modes
    ]
    return np.stack(columns, axis=1)


def node_tables(
    grid: Grid, modes: Mapping[str, Modes], *, pressure: PowerSeries, iota: PowerSeries
) -> dict[str, Table]:
    """Return the tables of all parameter arrays that matter inside the plasma.

    Args:
        grid: The nodes.
        modes: Mode numbers of "R_lmn", "Z_lmn" and "L_lmn".
        pressure: Its powers.
        iota: Its powers.

    Returns:
        Name of a parameter array to its table, quantities in the order of `QUANTITIES`.
    """
    rho = grid.rho
    tables = {}
    for name in ("R_lmn", "Z_lmn", "L_lmn"):
        suffixes = [quantity[1:] for quantity in QUANTITIES[name]]
        tables[name] = np.stack([mode_table(modes[name], rho, grid.theta, suffix) for suffix in suffixes], axis=1)
    for name, profile in (("p_l", pressure), ("i_l", iota)):
        tables[name] = np.stack([profile.table(rho, derivative=order) for order in (0, 1)], axis=1)
    # psi = Psi rho^2 / (2 pi): flux per radian.
    tables["Psi"] = np.stack([rho / np.pi, np.full_like(rho, 1.0 / np.pi)], axis=1)[:, :, None]
    return tables


def node_values(tables: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the parameters decide at every node; works on traced arrays.

    Args:
        tables: From `node_tables`.
        params: Name to parameter array.

    Returns:
        Name of a parameter array to values, shape (nodes, quantities).
    """
    return {name: table @ params[name].reshape(-1) for name, table in tables.items()}


def by_quantity(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return node values under the names of `QUANTITIES`, shape (nodes,) each."""
    return {
        quantity: found[:, place] for name, found in values.items() for place, quantity in enumerate(QUANTITIES[name])
    }


def _angular(theta: Vector, m: int, derivative: int) -> Vector:
    """Return a derivative of cos(m theta), or of sin(abs(m) theta) for m < 0."""
    order = abs(m)
    # Each derivative is a shift by a quarter turn and a factor.
    phase = order * theta + 0.5 * np.pi * derivative
    return order**derivative * (np.cos(phase) if m >= 0 else np.sin(phase))
