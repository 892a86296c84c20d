"""The contract of a constraint.

A constraint is written on named parameters. Against given `Parameters` it comes to one of two things, or both: other
parameters (an element that is fixed or tied has no variable of its own, so no optimizer can violate it), or a
`Condition`: rows c(p) that must lie between lower and upper values. A condition is linear, with its matrix, or given by
the residuals of an objective: whatever can be fitted can also be held.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fieldfit.errors import ConstraintError
from fieldfit.objectives import AbstractObjective
from fieldfit.parameters import Parameters
from fieldfit.typing import Matrix, Vector

TOLERANCE = 1e-8
"""Violation that counts as none, relative to the larger of 1 and the value that is to be met; of quantities, whose unit
decides what 1 is, relative to their size."""


@dataclass(frozen=True, eq=False)
class Condition:
    """Rows c(p) of one constraint that must lie between two values each.

    Args:
        name: What the user calls it.
        lower: Smallest allowed values, minus infinity for none, shape (m,).
        upper: Largest allowed values, equal to `lower` for an equality, shape (m,).
        matrix: c = matrix @ p for a linear condition, shape (m, elements).
        objective: Its residuals are c otherwise.
        tolerance: Violation that counts as none, in the unit of c; None: `TOLERANCE`, relative.
        unit: Unit of c, for messages.
        size: What it is relative to where the values that are to be met are smaller, shape (m,) or a number.
    """

    name: str
    lower: Vector
    upper: Vector
    matrix: Matrix | None = None
    objective: AbstractObjective | None = None
    tolerance: float | None = None
    unit: str = ""
    size: Vector | float = 1.0
    labels: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if (self.matrix is None) == (self.objective is None):
            raise ConstraintError(f"Constraint {self.name!r} needs either a matrix or an objective. Give one of them.")
        if self.tolerance is not None and not (np.isfinite(self.tolerance) and self.tolerance > 0.0):
            raise ConstraintError(
                f"Constraint {self.name!r} has the tolerance {self.tolerance}, which rounding alone would exceed. Give "
                "a positive number, or None."
            )
        size = self.lower.size
        labels = (self.name,) if size == 1 else tuple(f"{self.name}[{row}]" for row in range(size))
        object.__setattr__(self, "labels", labels)
        for label, low, high in zip(labels, self.lower, self.upper, strict=True):
            if np.isnan(low) or np.isnan(high) or low > high:
                raise ConstraintError(
                    f"Constraint {label!r} asks for a value between {low:g} and {high:g}, which nothing can be. "
                    "Give a lower value that is not above the upper one."
                )
            if np.isinf(low) and np.isinf(high) and (low > 0.0) == (high > 0.0):
                raise ConstraintError(f"Constraint {label!r} asks for the value {low:g}. Give a finite one.")

    @property
    def tolerances(self) -> Vector:
        """Violation of each row that counts as none, shape (m,)."""
        if self.tolerance is not None:
            return np.full(self.lower.size, self.tolerance)
        ends = [np.where(np.isfinite(end), np.abs(end), 0.0) for end in (self.lower, self.upper)]
        return TOLERANCE * np.maximum(self.size, np.maximum(*ends))

    def rows(self, chosen: np.ndarray) -> Condition:
        """Return a linear condition of some of its rows, with the labels that they have here.

        Args:
            chosen: Which rows, shape (m,).
        """
        if self.matrix is None:
            raise ConstraintError(f"Constraint {self.name!r} is not linear, so its rows belong together.")
        size = np.broadcast_to(self.size, chosen.shape)[chosen]
        part = replace(self, lower=self.lower[chosen], upper=self.upper[chosen], matrix=self.matrix[chosen], size=size)
        labels = tuple(label for label, is_chosen in zip(self.labels, chosen, strict=True) if is_chosen)
        object.__setattr__(part, "labels", labels)
        return part

    def describe(self, row: int, value: float) -> str:
        """Say in a few words what a row should be and what it is."""
        low, high, unit = self.lower[row], self.upper[row], f" {self.unit}" if self.unit else ""
        if low == high:
            wanted = f"= {low:.8g}{unit}"
        elif np.isinf(low):
            wanted = f"<= {high:.8g}{unit}"
        elif np.isinf(high):
            wanted = f">= {low:.8g}{unit}"
        else:
            wanted = f"in [{low:.8g}, {high:.8g}]{unit}"
        return f"{self.labels[row]} {wanted}: {value:.8g}{unit}"


class AbstractConstraint(ABC):
    """What must hold of the parameters."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name in reports and messages."""

    def applied(self, parameters: Parameters) -> Parameters:
        """Return parameters in which the constraint holds because there is no variable that could violate it.

        By default nothing is changed: the constraint is a condition.
        """
        return parameters

    @abstractmethod
    def condition(self, parameters: Parameters) -> Condition | None:
        """Return the rows that must lie between two values, or None if `applied` says it all.

        Args:
            parameters: The parameters, to which all constraints have been applied.

        Raises:
            ConstraintError: The constraint does not fit the parameters.
            ParameterError: It names a parameter that is not there.
        """


def as_rows(given: Any, what: str) -> Vector:
    """Return a number or array as a flat vector of floats.

    Args:
        given: What the user gave.
        what: What it is, for messages.

    Raises:
        ConstraintError: It is not made of real numbers.
    """
    try:
        return np.atleast_1d(np.asarray(given, dtype=float)).ravel()
    except (TypeError, ValueError) as error:
        raise ConstraintError(f"{what} is {given!r}, which is not a number or an array. Give real numbers.") from error
