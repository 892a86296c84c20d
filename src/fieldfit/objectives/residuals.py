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
        bounds: Pair (lower, upper) instead of a target; None for no bound on that side.
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
        if self.bounds is not None and np.any(np.greater(*self._limits)):
            raise SettingsError(f"A goal has the bounds {self.bounds}: the lower is above the upper. Swap them.")
        if np.any(np.asarray(self.weight) < 0.0) or not np.all(np.isfinite(self.weight)):
            raise SettingsError(f"A goal has the weight {self.weight}. Weights are finite and at least 0.")
        if not np.all(np.asarray(self.normalization) > 0.0):
            raise SettingsError(f"A goal has the normalization {self.normalization}. Give a positive number.")

    def residuals(self, prediction: Vector) -> Vector:
        """Return the residuals of a prediction, shape (m,).

        A single prediction is compared with every element of the goal.

        Raises:
            SettingsError: Prediction and goal differ in size.
        """
        return self._residuals(prediction, np)

    def traced_residuals(self, prediction: Any) -> Any:
        """Return the residuals of a traced prediction, shape (m,)."""
        import jax.numpy as jnp

        return self._residuals(prediction, jnp)

    def _residuals(self, prediction: Any, numpy: Any) -> Any:
        if self.is_plain:
            return prediction
        prediction = self._matched(prediction, numpy)
        if self.bounds is None:
            return self._factor * (prediction - self._wanted)
        lower, upper = self._limits
        return self._factor * (numpy.maximum(prediction - upper, 0.0) + numpy.minimum(prediction - lower, 0.0))

    def jacobian(self, prediction: Vector, derivatives: Matrix) -> Matrix:
        """Return the derivatives of the residuals from those of the prediction, shape (m, n)."""
        if self.is_plain:
            return derivatives
        if self.bounds is None:
            scaled = self._factor[:, None] * derivatives
            return scaled if self._size in (1, len(scaled)) else np.repeat(scaled, self._size, axis=0)
        prediction = self._matched(prediction, np)
        lower, upper = self._limits
        return (self._factor * ((prediction > upper) | (prediction < lower)))[:, None] * derivatives

    def _matched(self, prediction: Any, numpy: Any) -> Any:
        """Return the prediction in the size of the residuals."""
        if self._size in (1, prediction.size):
            return prediction
        if prediction.size == 1:
            return numpy.broadcast_to(prediction, self._size)
        raise SettingsError(
            f"The model predicts {prediction.size} numbers, but the goal has {self._size} (target, bounds, weight or "
            "normalization). Give one for each prediction, or one for all."
        )

    @cached_property
    def _size(self) -> int:
        parts = (self.target, *(self.bounds or ()), self.weight, self.normalization)
        return max((np.size(part) for part in parts if part is not None), default=1)

    @cached_property
    def is_plain(self) -> bool:
        """Whether predictions are residuals as they are."""
        is_unit = np.size(self.weight) == np.size(self.normalization) == 1 and float(self._factor[0]) == 1.0
        return self.target is None and self.bounds is None and is_unit

    @cached_property
    def _wanted(self) -> np.ndarray:
        return np.ravel(0.0 if self.target is None else self.target)

    @cached_property
    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        lower, upper = self.bounds or (None, None)
        return np.ravel(-np.inf if lower is None else lower), np.ravel(np.inf if upper is None else upper)

    @cached_property
    def _factor(self) -> np.ndarray:
        return np.ravel(np.asarray(self.weight) / np.asarray(self.normalization))
