"""The plasma boundary: its modes, and what ties the unknowns inside to it.

On rho = 1 every radial polynomial is 1, so the boundary is a linear condition on the unknowns:

    sum_l R_lm = Rb_m,        sum_l Z_lm = Zb_m.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fieldfit.constraints import LinearEquality
from fieldfit.equilibrium.modes import Modes
from fieldfit.errors import SettingsError
from fieldfit.typing import Matrix, Vector

if TYPE_CHECKING:
    from fieldfit.equilibrium.equilibrium import Equilibrium

SURFACES = {"R_lmn": "Rb_lmn", "Z_lmn": "Zb_lmn"}
"""Unknown inside to what it is on the boundary."""


def boundary_constraints(equilibrium: Equilibrium, *, prefix: str = "") -> list[LinearEquality]:
    """Return the conditions that unknowns inside meet the boundary modes.

    Both sides are parameters: the boundary stays where its modes are fixed, and may move where they are free.

    Args:
        equilibrium: Names the modes.
        prefix: What stands before the names of its parameters: "equilibrium." where it is one of several things.
    """
    modes = equilibrium.mode_numbers
    return [
        LinearEquality(
            {
                f"{prefix}{inner}": sums_over_degrees(modes[inner], modes[outer]),
                f"{prefix}{outer}": -np.eye(len(modes[outer])),
            },
            0.0,
            name=f"boundary {inner[0]}",
        )
        for inner, outer in SURFACES.items()
    ]


def sums_over_degrees(inner: Modes, outer: Modes) -> Matrix:
    """Return the matrix that adds up all degrees l of each (m, n), shape (boundary modes, modes)."""
    return np.all(outer[:, None, 1:] == inner[None, :, 1:], axis=2).astype(float)


def modes_by_number(given: Mapping[int, float], modes: Modes, name: str) -> Vector:
    """Return boundary modes as an array.

    Args:
        given: Poloidal mode number to amplitude [m]; negative numbers are sines.
        modes: Rows (0, m, 0) of the array.
        name: What it is, for messages.

    Raises:
        SettingsError: A mode number is not among those of the resolution, or an amplitude is not finite.
    """
    known = [int(m) for m in modes[:, 1]]
    for m, amplitude in given.items():
        if m not in known:
            raise SettingsError(
                f"{name} has a mode m = {m}, but with this resolution and symmetry there are m = {known}. Raise the "
                "resolution; R has cosines, m >= 0, and Z sines, m < 0."
            )
        if not np.isfinite(amplitude):
            raise SettingsError(f"{name} has the amplitude {amplitude} m at m = {m}. Give a finite number.")
    return np.array([float(given.get(m, 0.0)) for m in known])
