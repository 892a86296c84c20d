"""From what a model predicts to dimensionless residuals: target or bounds, weight, normalization."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True, eq=False)
class Goal:
    """What a prediction should be: equal to a target, or inside bounds.

    The residual is `weight * (prediction - target) / normalization`; with bounds it is the distance to the nearer
    bound, zero inside.

    Args:
        target: Wanted value, scalar or array. Default 0 where no bounds are given.
        bounds: Pair (lower, upper) instead of a target.
        weight: Importance, at least 0.
        normalization: Size of a deviation that counts as one, in the unit of the prediction, positive.

    Raises:
        SettingsError: Target and bounds together, reversed bounds, a weight below 0 or a normalization that is
            not positive.
    """

    target: Any = None
    bounds: tuple[Any, Any] | None = None
    weight: Any = 1.0
    normalization: Any = 1.0

    def __post_init__(self) -> None:
        if self.target is not None and self.bounds is not None:
            raise SettingsError(
                f"A goal has target {self.target} and bounds {self.bounds}. Give one: a value, or a range."
            )
        if self.bounds is not None and np.any(np.asarray(self.bounds[0]) > np.asarray(self.bounds[1])):
            raise SettingsError(f"A goal has the bounds {self.bounds}: the lower is above the upper. Swap them.")
        if np.any(np.asarray(self.weight) < 0.0) or not np.all(np.isfinite(self.weight)):
            raise SettingsError(f"A goal has the weight {self.weight}. Weights are finite and at least 0.")
        if not np.all(np.asarray(self.normalization) > 0.0):
            raise SettingsError(f"A goal has the normalization {self.normalization}. Give a positive number.")

    def residuals(self, prediction: Vector) -> Vector:
        """Return the residuals of a prediction, shape (m,)."""
        if self.bounds is None:
            deviation = prediction - (0.0 if self.target is None else np.ravel(self.target))
        else:
            lower, upper = (np.ravel(bound) for bound in self.bounds)
            deviation = np.maximum(prediction - upper, 0.0) + np.minimum(prediction - lower, 0.0)
        return self._factor * deviation

    def jacobian(self, prediction: Vector, derivatives: Matrix) -> Matrix:
        """Return the derivatives of the residuals from those of the prediction, shape (m, n)."""
        factor = np.broadcast_to(self._factor, prediction.shape)
        if self.bounds is not None:
            lower, upper = (np.ravel(bound) for bound in self.bounds)
            factor = factor * ((prediction > upper) | (prediction < lower))
        return factor[:, None] * derivatives

    @cached_property
    def _factor(self) -> np.ndarray:
        return np.ravel(np.asarray(self.weight) / np.asarray(self.normalization))
