"""DESC's nonlinear constraints as conditions: weighted, normalized values between DESC's bounds of them.

An equality with more rows than there are parameters, such as force balance at many points, has no exact solution. It is
held within the tolerance; see `fieldfit.things.held`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.constraints import AbstractConstraint, Condition
from fieldfit.objectives import AbstractObjective
from fieldfit.parameters import Parameters
from fieldfit.things.held import WITHIN
from fieldfit.typing import Vector


@dataclass(frozen=True, eq=False)
class NonlinearRows(AbstractConstraint):
    """Values of an objective between limits.

    Args:
        name: Of the constraint.
        values: An objective whose residuals are the values, weighted and normalized, shape (m,).
        limits: Smallest and largest values, DESC's `bounds_scaled`, shape (m,) each.
        tolerance: Violation that counts as none, in units of normalization.
    """

    name: str
    values: AbstractObjective
    limits: tuple[Vector, Vector]
    tolerance: float

    @property
    def label(self) -> str:
        return self.name

    def condition(self, parameters: Parameters) -> Condition:
        lower, upper = self.limits
        is_equality = lower == upper
        is_held_within = np.count_nonzero(is_equality) > self.values.parameters.size
        width = self.tolerance * is_equality if is_held_within else 0.0
        tolerance = WITHIN * self.tolerance if is_held_within else self.tolerance
        return Condition(self.name, lower - width, upper + width, objective=self.values, tolerance=tolerance)


def scaled_limits(function: Any) -> tuple[Vector, Vector]:
    """Return the smallest and largest values of an ObjectiveFunction of DESC, weighted and normalized.

    Args:
        function: The ObjectiveFunction, built; or a projection of one.
    """
    lower, upper = (np.array(end, dtype=float) for end in function.bounds_scaled)
    return lower, upper
