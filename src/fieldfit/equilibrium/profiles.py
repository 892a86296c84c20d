"""Profiles: functions of the radius rho with a few coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from fieldfit.errors import SettingsError
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True, eq=False)
class PowerSeries:
    """A sum of powers of rho.

    Args:
        coefficients: One per power, in the unit of the profile, shape (powers,).
        powers: Exponents of rho, whole and not negative; default: 0, 1, 2 and so on.

    Raises:
        SettingsError: There is none, numbers and powers differ in length, or one cannot be used.

    Example:
        >>> from fieldfit.equilibrium import PowerSeries
        >>> pressure = PowerSeries([1600.0, -3200.0, 1600.0], powers=[0, 2, 4])
        >>> pressure([0.0, 1.0]).tolist()
        [1600.0, 0.0]
    """

    coefficients: Vector | Sequence[float]
    powers: Sequence[int] | Int[np.ndarray, " _"] | None = None

    def __post_init__(self) -> None:
        coefficients = np.atleast_1d(np.array(self.coefficients, dtype=float))
        powers = range(coefficients.size) if self.powers is None else self.powers
        object.__setattr__(self, "coefficients", coefficients)
        object.__setattr__(self, "powers", tuple(int(power) for power in powers))
        if coefficients.shape != (len(self._powers),) or coefficients.size == 0:
            raise SettingsError(
                f"A profile has {coefficients.size} coefficients for {len(self._powers)} powers. Give one each."
            )
        if min(self._powers) < 0 or not np.all(np.isfinite(coefficients)):
            raise SettingsError(
                f"A profile has the coefficients {coefficients.tolist()} of the powers {list(self._powers)}. Give "
                "finite numbers, and powers that are not negative."
            )

    @property
    def _powers(self) -> tuple[int, ...]:
        return () if self.powers is None else tuple(self.powers)

    def __call__(self, rho: Vector | Sequence[float] | float, *, derivative: int = 0) -> Vector:
        """Return the profile or a derivative in rho, shape (nodes,).

        Args:
            rho: Radii, shape (nodes,).
            derivative: Its order.
        """
        return self.table(np.atleast_1d(np.asarray(rho, dtype=float)), derivative=derivative) @ self.coefficients

    def table(self, rho: Vector, *, derivative: int = 0) -> Matrix:
        """Return the powers, or their derivatives, at given radii, shape (nodes, powers)."""
        columns = []
        for power in self._powers:
            factor = float(np.prod([power - order for order in range(derivative)]))
            columns.append(factor * rho ** max(power - derivative, 0))
        return np.stack(columns, axis=1)

    def with_coefficients(self, coefficients: Vector) -> PowerSeries:
        """Return a profile of the same powers with other coefficients."""
        return replace(self, coefficients=coefficients)
