"""What follows from the coefficients of an equilibrium: volume, shape, beta, axis, safety factor, magnetic well.

Integrals over the plasma are sums over Gauss-Legendre radii and midpoint angles; those of the volume and the cross
section are exact, being integrals of polynomials and trigonometric polynomials that the grid resolves, and those of the
field converge exponentially.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.equilibrium.equilibrium import Equilibrium
from fieldfit.equilibrium.field import VACUUM_PERMEABILITY, Field, magnetic_field
from fieldfit.equilibrium.grid import product_grid, surface_grid
from fieldfit.equilibrium.tables import by_quantity, mode_table, node_tables, node_values
from fieldfit.typing import Vector


def plasma_tables(equilibrium: Equilibrium, rho: Vector | Sequence[float] = (1.0,)) -> dict[str, Any]:
    """Return the tables that a `Plasma` of this equilibrium needs; they do not depend on its parameters.

    Args:
        equilibrium: Names modes and profiles.
        rho: Surfaces on which profiles are wanted, above 0, shape (surfaces,).
    """
    radii, modes = np.atleast_1d(np.asarray(rho, dtype=float)), equilibrium.mode_numbers
    resolution = equilibrium.resolution
    n_theta = 4 * resolution.poloidal + 4
    volume, surfaces = product_grid(2 * resolution.radial + 2, n_theta), surface_grid(radii, n_theta)
    profiles = {"pressure": equilibrium.pressure, "iota": equilibrium.iota}
    boundary = surface_grid(np.ones(1), n_theta)
    return {
        "volume": node_tables(volume, modes, **profiles),
        "weights": volume.weights,
        "surfaces": node_tables(surfaces, modes, **profiles),
        "boundary": node_tables(boundary, modes, **profiles),
        "axis": mode_table(modes["R_lmn"], np.zeros(1), np.zeros(1)),
        "midplane": mode_table(modes["R_lmn"], np.ones(2), np.array([0.0, np.pi])),
        "iota": equilibrium.iota.table(radii),
    }


@dataclass(frozen=True, eq=False)
class Plasma:
    """Quantities of an equilibrium, of numbers or of traced parameters.

    Args:
        tables: From `plasma_tables`.
        params: Name to parameter array.

    Example:
        >>> from fieldfit.equilibrium import Equilibrium, Plasma, PowerSeries
        >>> torus = Equilibrium.from_boundary(
        ...     4, Rb={0: 3.0, 1: 1.0}, Zb={-1: -1.0}, Psi=1.0, pressure=PowerSeries([0.0]), iota=PowerSeries([0.5])
        ... )
        >>> round(float(Plasma.of(torus).aspect_ratio), 12)
        3.0
    """

    tables: Mapping[str, Any]
    params: Mapping[str, Any]

    @staticmethod
    def of(equilibrium: Equilibrium, rho: Vector | Sequence[float] = (1.0,)) -> Plasma:
        """Return the quantities of an equilibrium.

        Args:
            equilibrium: Solved or not.
            rho: Surfaces on which profiles are wanted, above 0, shape (surfaces,).
        """
        return Plasma(plasma_tables(equilibrium, rho), equilibrium.params_dict)

    @property
    def volume(self) -> Any:
        """Volume [m^3]."""
        return self._integral(1.0)

    @property
    def cross_section(self) -> Any:
        """Area of the poloidal cross section [m^2]."""
        return self._integral(1.0 / (2.0 * np.pi * self._inside["R"]))

    @property
    def major_radius(self) -> Any:
        """Radius of the torus of the same volume and cross section [m]."""
        return self.volume / (2.0 * np.pi * self.cross_section)

    @property
    def minor_radius(self) -> Any:
        """Radius of the circle of the same cross section [m]."""
        return (self.cross_section / np.pi) ** 0.5

    @property
    def aspect_ratio(self) -> Any:
        """Major over minor radius."""
        return self.major_radius / self.minor_radius

    @property
    def perimeter(self) -> Any:
        """Length of the boundary of the cross section [m]."""
        at = by_quantity(node_values(self.tables["boundary"], self.params))
        # Midpoints of (0, pi), and as much again below the midplane.
        return 2.0 * np.pi * ((at["R_t"] ** 2 + at["Z_t"] ** 2) ** 0.5).mean()

    @property
    def elongation(self) -> Any:
        """Axis ratio of the ellipse of the same area and perimeter, by Ramanujan's formula for the latter.

        With s the sum of its semi-axes, A = pi a b and P = pi (3 s - sqrt(3 s^2 + 4 a b)). At a circle it has no
        derivative.
        """
        product, length = self.cross_section / np.pi, self.perimeter / np.pi
        total = (3.0 * length + (3.0 * length**2 + 24.0 * product) ** 0.5) / 6.0
        difference = (total**2 - 4.0 * product) ** 0.5
        return (total + difference) / (total - difference)

    @property
    def beta(self) -> Any:
        """Mean pressure over mean magnetic pressure."""
        return 2.0 * VACUUM_PERMEABILITY * self._integral(self._inside["p"]) / self._integral(self._strength)

    @property
    def axis_radius(self) -> Any:
        """R of the magnetic axis [m]; its Z is 0."""
        return (self.tables["axis"] @ self.params["R_lmn"]).sum()

    @property
    def axis_shift(self) -> Any:
        """How far the axis is outside the middle of the boundary, on the midplane [m]."""
        return self.axis_radius - (self.tables["midplane"] @ self.params["R_lmn"]).mean()

    @property
    def safety_factor(self) -> Any:
        """1 / iota on each surface, shape (surfaces,)."""
        return 1.0 / (self.tables["iota"] @ self.params["i_l"])

    @property
    def magnetic_well(self) -> Any:
        """V / <B^2> d<2 mu0 p + B^2> / dV on each surface, favourable where positive, shape (surfaces,).

        V is the volume inside the surface, <> the average over it by volume. As in Landreman, Jorge (2020),
        J. Plasma Phys. 86, 905860510, doi:10.1017/S002237782000121X.
        """
        at = by_quantity(node_values(self.tables["surfaces"], self.params))
        field = magnetic_field(at)
        strength, slope = _squared_field(at, field), _squared_field_slope(at, field)
        # Volume per radius, and its derivative, from sums over the angles of a surface.
        V_r, V_rr = self._around(field.sqrt_g), self._around(field.sqrt_g_r)
        mean = self._around(field.sqrt_g * strength) / V_r
        mean_r = self._around(field.sqrt_g_r * strength + field.sqrt_g * slope) / V_r - mean * V_rr / V_r
        pressure_r = at["p_r"].reshape(self._n_surfaces, -1).mean(axis=1)
        # V = 2 pi int R Z_t ... would need the angle's sense; the flux through rotated area has none of that.
        inside = self._around(0.5 * at["R"] ** 2 * at["Z_t"])
        volume = abs(inside)
        return volume * (2.0 * VACUUM_PERMEABILITY * pressure_r + mean_r) / (V_r * mean)

    @cached_property
    def _inside(self) -> dict[str, Any]:
        return by_quantity(node_values(self.tables["volume"], self.params))

    @cached_property
    def _field(self) -> Field:
        return magnetic_field(self._inside)

    @property
    def _strength(self) -> Any:
        """B^2 in the volume [T^2]."""
        return _squared_field(self._inside, self._field)

    @property
    def _n_surfaces(self) -> int:
        return self.tables["iota"].shape[0]

    def _integral(self, values: Any) -> Any:
        """Return a volume integral."""
        return (self.tables["weights"] * self._field.sqrt_g * values).sum()

    def _around(self, values: Any) -> Any:
        """Return the integral over both angles of each surface, shape (surfaces,)."""
        return 4.0 * np.pi**2 * values.reshape(self._n_surfaces, -1).mean(axis=1)


def _squared_field(at: Mapping[str, Any], field: Field) -> Any:
    return field.g_tt * field.B_sup_t**2 + at["R"] ** 2 * field.B_sup_z**2


def _squared_field_slope(at: Mapping[str, Any], field: Field) -> Any:
    """Return the derivative of B^2 in rho."""
    poloidal = field.g_tt_r * field.B_sup_t**2 + 2.0 * field.g_tt * field.B_sup_t * field.B_sup_t_r
    toroidal = 2.0 * at["R"] * at["R_r"] * field.B_sup_z**2 + 2.0 * at["R"] ** 2 * field.B_sup_z * field.B_sup_z_r
    return poloidal + toroidal
