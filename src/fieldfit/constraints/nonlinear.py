"""Nonlinear conditions: values of a function, or of anything else that can be fitted, between limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.constraints.constraint import AbstractConstraint, Condition
from fieldfit.constraints.limits import plain_limits
from fieldfit.errors import ConstraintError, EvaluationError, SettingsError
from fieldfit.objectives import AbstractObjective, FunctionObjective
from fieldfit.parameters import Parameters
from fieldfit.units import Unit, unit_of


@dataclass(frozen=True, eq=False)
class NonlinearEquality(AbstractConstraint):
    """A function of the parameters has a given value.

    Args:
        function: Takes the parameters in the user's own structure, as the objective does, and returns a number or an
            array; or an objective, whose residuals are meant.
        value: A number or one per row; a quantity if the function returns quantities.
        name: Name in reports; default: that of the function.
        derivatives: "jax", "differences", or a function that returns the Jacobian, shape (m, elements).
        tolerance: Violation that counts as none, in the unit of the value; None: 1e-8, relative where the value is
            larger than 1.

    Raises:
        ConstraintError: The values are not finite or do not fit what the function returns.

    Example:
        >>> import fieldfit
        >>> circle = fieldfit.NonlinearEquality(lambda p: p["x"] ** 2 + p["y"] ** 2, 2.0, name="radius")
        >>> problem = fieldfit.Problem(lambda p: p["x"] + p["y"], {"x": 1.0, "y": 0.0}, constraints=[circle])
        >>> round(float(fieldfit.fit(problem).x["y"]), 6)
        -1.0
    """

    function: Callable[[Any], Any] | AbstractObjective
    value: Any = 0.0
    name: str = ""
    derivatives: str | Callable[[Any], Any] = "jax"
    tolerance: float | None = None

    @property
    def label(self) -> str:
        return self.name or _name(self.function)

    def condition(self, parameters: Parameters) -> Condition:
        return _condition(self, parameters, self.value, self.value)


@dataclass(frozen=True, eq=False)
class NonlinearInequality(AbstractConstraint):
    """A function of the parameters lies between two values.

    Args:
        function: As that of `NonlinearEquality`.
        lower: Smallest values; minus infinity for none.
        upper: Largest values; infinity for none.
        name: Name in reports; default: that of the function.
        derivatives: "jax", "differences", or a function that returns the Jacobian, shape (m, elements).
        tolerance: Violation that counts as none, in the unit of the values; None: 1e-8, relative where a value is
            larger than 1.

    Raises:
        ConstraintError: The limits are reversed, both infinite, or do not fit what the function returns.

    Example:
        >>> import fieldfit
        >>> disc = fieldfit.NonlinearInequality(lambda p: p["x"] ** 2 + p["y"] ** 2, upper=2.0, name="disc")
        >>> problem = fieldfit.Problem(lambda p: -p["x"] - p["y"], {"x": 0.5, "y": 0.0}, constraints=[disc])
        >>> round(float(fieldfit.fit(problem).x["y"]), 6)
        1.0
    """

    function: Callable[[Any], Any] | AbstractObjective
    lower: Any = -np.inf
    upper: Any = np.inf
    name: str = ""
    derivatives: str | Callable[[Any], Any] = "jax"
    tolerance: float | None = None

    @property
    def label(self) -> str:
        return self.name or _name(self.function)

    def condition(self, parameters: Parameters) -> Condition:
        return _condition(self, parameters, self.lower, self.upper)


@dataclass(frozen=True)
class InUnit:
    """A function whose quantities are handed out as plain numbers in one unit."""

    function: Callable[[Any], Any]
    unit: Unit

    def __call__(self, structured: Any) -> Any:
        """Return the magnitudes of what the function returns."""
        return self.unit.traced_magnitude(self.function(structured))


@dataclass(frozen=True)
class Unitless:
    """A function that has to return plain numbers, because its limits are."""

    function: Callable[[Any], Any]
    label: str

    def __call__(self, structured: Any) -> Any:
        """Return what the function returns.

        Raises:
            SettingsError: It is a quantity that is not a number.
        """
        found = self.function(structured)
        unit = unit_of(found)
        if unit is not None and not unit.is_dimensionless:
            raise SettingsError(
                f"Constraint {self.label!r} has plain limits, but its function returns a quantity in {unit}. Give the "
                "limits with a unit."
            )
        return found


def _condition(
    constraint: NonlinearEquality | NonlinearInequality, parameters: Parameters, lower: Any, upper: Any
) -> Condition:
    label, given = constraint.label, constraint.function
    low, high, unit = plain_limits(lower, upper, label)
    if isinstance(given, AbstractObjective):
        if not given.traits.has_residuals:
            raise ConstraintError(
                f"Constraint {label!r} is a scalar objective. Give one with residuals, or a function."
            )
        if unit is not None:
            raise ConstraintError(
                f"Constraint {label!r} has limits in {unit}, but residuals of an objective are plain numbers. Give "
                "plain limits."
            )
        objective = given
    else:
        ends = np.concatenate([low, high])
        is_zero = not np.any(np.isfinite(ends) & (ends != 0.0))
        plain = given if is_zero else Unitless(given, label)
        function = plain if unit is None else InUnit(given, unit)
        objective = FunctionObjective(function, parameters, derivatives=constraint.derivatives, name=label)
    size = _size(objective, label)
    if low.size not in (1, size):
        raise ConstraintError(
            f"Constraint {label!r} has {low.size} limits, but its function returns {size} value"
            f"{'s' if size != 1 else ''}. Give one for all, or one for each."
        )
    low, high = (np.broadcast_to(end, (size,)).copy() for end in (low, high))
    text = str(unit) if unit else ""
    typical = _typical(objective) if unit else 1.0
    return Condition(label, low, high, objective=objective, tolerance=constraint.tolerance, unit=text, size=typical)


def _size(objective: AbstractObjective, label: str) -> int:
    """Return how many rows there are."""
    try:
        return max((part.stop for part in objective.term_slices().values()), default=0)
    except EvaluationError as error:
        raise ConstraintError(
            f"Constraint {label!r} cannot be evaluated at the start: {error} Move the start, or correct its function."
        ) from error


def _typical(objective: AbstractObjective) -> float:
    """Return the largest value at the start, 1 if there is none: quantities are small or large by their unit only."""
    found = objective.evaluate(objective.parameters.flat, objective.initial_state(), derivatives=False).residuals
    largest = 0.0 if found is None else float(np.max(np.abs(found), initial=0.0, where=np.isfinite(found)))
    return largest or 1.0


def _name(function: Callable[[Any], Any] | AbstractObjective) -> str:
    if isinstance(function, AbstractObjective):
        return ", ".join(function.term_slices())
    name = getattr(function, "__name__", type(function).__name__)
    return "nonlinear condition" if name == "<lambda>" else name
