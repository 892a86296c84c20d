"""Fixed-boundary equilibria of axisymmetric plasmas.

An `Equilibrium` holds the coefficients of nested flux surfaces and of the field on them; `solve` finds those whose
magnetic force balances the pressure gradient, with the least-squares optimizers of the core and its elimination of
linear constraints. Names are loaded when they are first used, and JAX when something is computed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fieldfit.equilibrium.boundary import boundary_constraints
    from fieldfit.equilibrium.equilibrium import Equilibrium
    from fieldfit.equilibrium.files import load, save
    from fieldfit.equilibrium.fixed_boundary import fixed_boundary_problem, solve
    from fieldfit.equilibrium.force_balance import ForceBalance, typical_force
    from fieldfit.equilibrium.grid import Grid, product_grid, quadrature_grid, surface_grid
    from fieldfit.equilibrium.modes import Resolution, spectral_scales
    from fieldfit.equilibrium.plasma import Plasma
    from fieldfit.equilibrium.plots import plot_force, plot_surfaces
    from fieldfit.equilibrium.profiles import PowerSeries
    from fieldfit.equilibrium.quantity_objective import QuantityObjective
    from fieldfit.equilibrium.surfaces import flux_surfaces, force_error
    from fieldfit.equilibrium.zernike import zernike_radial

_HOMES = {
    "Equilibrium": "equilibrium",
    "ForceBalance": "force_balance",
    "Grid": "grid",
    "Plasma": "plasma",
    "PowerSeries": "profiles",
    "QuantityObjective": "quantity_objective",
    "Resolution": "modes",
    "boundary_constraints": "boundary",
    "fixed_boundary_problem": "fixed_boundary",
    "flux_surfaces": "surfaces",
    "force_error": "surfaces",
    "load": "files",
    "plot_force": "plots",
    "plot_surfaces": "plots",
    "product_grid": "grid",
    "quadrature_grid": "grid",
    "save": "files",
    "solve": "fixed_boundary",
    "spectral_scales": "modes",
    "surface_grid": "grid",
    "typical_force": "force_balance",
    "zernike_radial": "zernike",
}

__all__ = [
    "Equilibrium",
    "ForceBalance",
    "Grid",
    "Plasma",
    "PowerSeries",
    "QuantityObjective",
    "Resolution",
    "boundary_constraints",
    "fixed_boundary_problem",
    "flux_surfaces",
    "force_error",
    "load",
    "plot_force",
    "plot_surfaces",
    "product_grid",
    "quadrature_grid",
    "save",
    "solve",
    "spectral_scales",
    "surface_grid",
    "typical_force",
    "zernike_radial",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"fieldfit.equilibrium.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'fieldfit.equilibrium' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
