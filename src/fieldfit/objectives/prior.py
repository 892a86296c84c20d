"""An L2 tether of the parameters to a reference point.

Adds `strength * sum(((p - reference) / scale)^2)` to the score, over the free elements, in units of
each parameter's scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.objectives.objective import (
    AbstractObjective,
    Evaluation,
    ObjectiveTraits,
    evaluation_from_residuals,
)
from fieldfit.parameters import Parameters
from fieldfit.typing import Matrix, Vector


class Prior(AbstractObjective):
    """The L2 tether.

    Attributes:
        jacobian: Derivatives of the residuals with respect to all elements, shape (free elements, elements).

    Args:
        parameters: The parameters that are tethered.
        strength: Factor on the sum of squares, positive.
        reference: Name to value of the reference point, in physical units; default: the start values.

    Raises:
        SettingsError: The strength is not positive and finite.
    """

    def __init__(self, parameters: Parameters, strength: float, *, reference: Mapping[str, Any] | None = None) -> None:
        if not (strength > 0.0 and np.isfinite(strength)):
            raise SettingsError(f"A prior has the strength {strength}. Give a positive number, or leave the prior out.")
        free = parameters.is_free
        scale = np.concatenate([entry.scale.ravel() for entry in parameters])
        self._parameters = parameters
        self._reference = (parameters if reference is None else parameters.replace(reference)).flat
        self.jacobian: Matrix = np.sqrt(strength) * np.diag(1.0 / scale)[free]

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return ObjectiveTraits(has_residuals=True, has_derivatives=True, is_traceable=True)

    def initial_state(self) -> None:
        return None

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        return evaluation_from_residuals(self.residuals(values), self.jacobian if derivatives else None)

    def residuals(self, values: Vector) -> Vector:
        """Return the residuals at given values of all elements, shape (free elements,)."""
        return self.jacobian @ (values - self._reference)

    def traced(self, values: Any) -> Any:
        return self.jacobian @ (values - self._reference)

    def term_slices(self) -> dict[str, slice]:
        return {"prior": slice(0, self.jacobian.shape[0])}
