"""Pictures of an equilibrium; matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from fieldfit.equilibrium.equilibrium import Equilibrium
from fieldfit.equilibrium.force_balance import typical_force
from fieldfit.equilibrium.plasma import Plasma
from fieldfit.equilibrium.surfaces import flux_surfaces, force_error

AROUND = np.linspace(0.0, 2.0 * np.pi, 361)
SMALLEST_RADIUS = 0.02
"""Where pictures of the force begin: on the axis itself the coordinates are singular."""


def plot_surfaces(equilibrium: Equilibrium, axes: Any = None, *, n_surfaces: int = 8, n_angles: int = 8) -> Any:
    """Draw flux surfaces of equal steps in rho, and lines of equal angle.

    Args:
        equilibrium: Solved or not.
        axes: Axes of matplotlib; None: new ones.
        n_surfaces: Number of surfaces, the boundary among them.
        n_angles: Number of lines of equal poloidal angle.

    Returns:
        The axes.
    """
    axes = _axes(axes)
    rho = np.linspace(0.0, 1.0, n_surfaces + 1)[1:, None]
    R, Z = flux_surfaces(equilibrium, rho, AROUND)
    axes.plot(R.T, Z.T, color="tab:blue", linewidth=1.0)
    angles = 2.0 * np.pi * np.arange(n_angles) / n_angles
    axes.plot(*flux_surfaces(equilibrium, np.linspace(0.0, 1.0, 101)[:, None], angles), color="0.7", linewidth=0.7)
    axes.plot(*flux_surfaces(equilibrium, 0.0, 0.0), "+", color="tab:red")
    return _labelled(axes)


def plot_force(equilibrium: Equilibrium, axes: Any = None) -> Any:
    """Draw the logarithm of the force that is left, in units of the typical force per volume.

    Args:
        equilibrium: Solved or not.
        axes: Axes of matplotlib; None: new ones.

    Returns:
        The axes.
    """
    axes = _axes(axes)
    rho = np.linspace(SMALLEST_RADIUS, 1.0, 60)[:, None]
    density = typical_force(equilibrium) / float(Plasma.of(equilibrium).volume)
    error = np.maximum(force_error(equilibrium, rho, AROUND) / density, np.finfo(float).tiny)
    picture = axes.contourf(*flux_surfaces(equilibrium, rho, AROUND), np.log10(error), levels=20)
    axes.figure.colorbar(picture, ax=axes, label="log10 of force / typical force")
    return _labelled(axes)


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    import matplotlib.pyplot as plt

    return plt.subplots()[1]


def _labelled(axes: Any) -> Any:
    axes.set(xlabel="R [m]", ylabel="Z [m]", aspect="equal")
    return axes
