"""Mode numbers (l, m, n) of the coefficients, and the scales they suggest.

A mode is a product of a radial polynomial of degree l and order abs(m) and an angular function: cos(m theta) for
m >= 0, sin(abs(m) theta) for m < 0. The toroidal mode number n is zero: equilibria are axisymmetric so far, and the
column is there so that names and shapes stay when they are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from fieldfit.errors import SettingsError
from fieldfit.typing import Vector

Modes = Int[np.ndarray, "_ 3"]
"""One row (l, m, n) per mode."""


@dataclass(frozen=True)
class Resolution:
    """Highest mode numbers.

    Args:
        radial: L, highest degree l of the radial polynomials.
        poloidal: M, highest poloidal mode number, at least 1 and at most L; default: L.

    Raises:
        SettingsError: There is no such set of modes.
    """

    radial: int
    poloidal: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "poloidal", self.poloidal or self.radial)
        if not 1 <= self.poloidal <= self.radial:
            raise SettingsError(
                f"The resolution is L = {self.radial}, M = {self.poloidal}, but modes with m > l do not exist. Give "
                "1 <= M <= L."
            )

    @property
    def cosine(self) -> Modes:
        """Modes of R, with l >= m >= 0, by m and then l."""
        return _rows(self, range(self.poloidal + 1))

    @property
    def sine(self) -> Modes:
        """Modes of Z and lambda, with m < 0, by abs(m) and then l."""
        return _rows(self, range(-1, -self.poloidal - 1, -1))

    @property
    def boundary_cosine(self) -> Modes:
        """Modes of R on the boundary; l is 0."""
        return np.array([(0, m, 0) for m in range(self.poloidal + 1)])

    @property
    def boundary_sine(self) -> Modes:
        """Modes of Z on the boundary; l is 0."""
        return np.array([(0, -m, 0) for m in range(1, self.poloidal + 1)])


def spectral_scales(modes: Modes, *, alpha: float = 1.2, order: float = np.inf, smallest: float = 1e-7) -> Vector:
    """Return scales that fall exponentially with the mode numbers, as coefficients of smooth surfaces do.

    Args:
        modes: Mode numbers.
        alpha: Rate of decay.
        order: Of the norm of (l, m, n).
        smallest: Lower limit of a scale.

    Returns:
        max(exp(-alpha size) / exp(-alpha), smallest), shape (modes,).
    """
    size = np.linalg.norm(modes, ord=order, axis=1)
    return np.maximum(np.exp(-alpha * (size - 1.0)), smallest)


def _rows(resolution: Resolution, orders: range) -> Modes:
    return np.array([(degree, m, 0) for m in orders for degree in range(abs(m), resolution.radial + 1, 2)])
