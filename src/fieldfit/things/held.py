"""Terms that must hold: the same terms as constraints.

A linear term becomes rows A p between limits. Rows of a single element say what that element is, so it is fixed there;
the others are eliminated with the rest of the linear equalities. That a term is linear is not believed: its Jacobian
must be the same, and its values on the same line, at a second point. Any other term becomes a nonlinear condition in
units of its normalization, equal to its target or between its bounds; distances to bounds, which have a kink, are left
to objectives.

An equality with more rows than there are parameters in it has no exact solution in general: residuals at
120 points are not zeroed by 20 numbers. Such rows are held within the tolerance, |r| <= tolerance, which is a problem
that has one. Asked to vanish, they would leave it to rounding and to penalties where a solver ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fieldfit.constraints import AbstractConstraint, Condition
from fieldfit.constraints.constraint import TOLERANCE
from fieldfit.errors import ConstraintError
from fieldfit.objectives import Goal
from fieldfit.parameters import Parameter, Parameters
from fieldfit.things.term import TermObjective
from fieldfit.typing import Matrix, Vector

LINEAR = 1e-8
"""Relative change of a linear term's Jacobian, and distance of its values from a line, that rounding explains."""

FAR = 0.1
"""The second point is this far from the first, in units of the parameters or of 1 if they are smaller."""

WITHIN = 1e-3
"""Part of the tolerance by which rows that are held within it may be outside."""

NOTHING = 1e-12
"""Coefficients below this fraction of the largest are rounding."""


@dataclass(frozen=True, eq=False)
class HeldTerm(AbstractConstraint):
    """A term as a constraint.

    Args:
        term: The term over its named parameters.
        tolerance: Violation that counts as none: of a nonlinear term in units of its normalization, of a linear one in
            those of its values; None: 1e-8, relative where the value is larger than 1.
    """

    term: TermObjective
    tolerance: float | None = None

    @property
    def label(self) -> str:
        return self.term.label

    @property
    def is_linear(self) -> bool:
        """Whether it was said to be linear."""
        return self.term.term.is_linear

    def applied(self, parameters: Parameters) -> Parameters:
        if not self.is_linear:
            return parameters
        matrix, lower, upper = self._rows
        chosen = _single(matrix) & (lower == upper)
        if not np.any(chosen):
            return parameters
        rows, places = np.flatnonzero(chosen), np.argmax(np.abs(matrix[chosen]), axis=1)
        found = lower[rows] / matrix[rows, places]
        values = np.full(matrix.shape[1], np.nan)
        for place, value in zip(places, found, strict=True):
            if np.isfinite(values[place]) and not np.isclose(values[place], value, rtol=LINEAR, atol=0.0):
                label = self.term.parameters.labels[place]
                raise ConstraintError(
                    f"Constraint {self.label!r} asks for {label} = {values[place]:g} and for {value:g}. Take one of "
                    "them back."
                )
            values[place] = value
        own = self.term.parameters.split(values)
        entries = [_fixed(entry, own[entry.name]) if entry.name in own else entry for entry in parameters]
        return Parameters(entries, parameters.ties, parameters.structure)

    def condition(self, parameters: Parameters) -> Condition | None:
        if not self.is_linear:
            return self._nonlinear()
        matrix, lower, upper = self._rows
        rest = np.any(matrix != 0.0, axis=1) & ~(_single(matrix) & (lower == upper))
        if not np.any(rest):
            return None
        places, own = parameters.split(np.arange(parameters.size)), self.term.parameters
        # An outer problem lacks the inner parameters; a term that is left to it says nothing of them.
        names = [name for name in own.names if name in places]
        columns = np.concatenate([np.ravel(places[name]) for name in names])
        spread = np.zeros((matrix.shape[0], parameters.size))
        spread[:, columns] = matrix[:, np.concatenate([own.elements(name) for name in names])]
        unit = self.term.term.unit
        whole = Condition(self.label, lower, upper, matrix=spread, tolerance=self.tolerance, unit=unit)
        return whole if np.all(rest) else whole.rows(rest)

    def _nonlinear(self) -> Condition:
        goal = self.term.goal
        if not np.all(np.asarray(goal.weight) > 0.0):
            raise ConstraintError(
                f"Constraint {self.label!r} has the weight {goal.weight}; what must hold cannot weigh nothing. Give a "
                "positive weight, or leave it out."
            )
        if goal.bounds is None:
            return self._equality(self.term.term_slices()[self.label].stop)
        values = self.term.with_goal(Goal(weight=goal.weight, normalization=goal.normalization))
        size = values.term_slices()[self.label].stop
        factor = np.broadcast_to(np.ravel(np.asarray(goal.weight) / np.asarray(goal.normalization)), (size,))
        lower, upper = (factor * end for end in _limits(goal, size))
        return Condition(self.label, lower, upper, objective=values, tolerance=self.tolerance)

    def _equality(self, size: int) -> Condition:
        zeros = np.zeros(size)
        if size <= self.term.parameters.size:
            return Condition(self.label, zeros, zeros, objective=self.term, tolerance=self.tolerance)
        width = TOLERANCE if self.tolerance is None else self.tolerance
        return Condition(self.label, zeros - width, zeros + width, objective=self.term, tolerance=WITHIN * width)

    @cached_property
    def _rows(self) -> tuple[Matrix, Vector, Vector]:
        """Return A and the limits of A p, rows without coefficients checked and zero."""
        here = self.term.parameters.flat
        away = here + FAR * np.maximum(1.0, np.abs(here)) * np.cos(1.0 + np.arange(here.size))
        values, matrix = self._linearized(here)
        others, elsewhere = self._linearized(away)
        size = float(np.max(np.abs(matrix), initial=0.0))
        expected = values + matrix @ (away - here)
        reach = np.abs(values) + np.abs(matrix) @ np.abs(away - here)
        is_straight = np.all(np.abs(others - expected) <= LINEAR * reach)
        if not (np.all(np.abs(elsewhere - matrix) <= LINEAR * size) and is_straight):
            raise ConstraintError(
                f"Constraint {self.label!r} is said to be linear, but its derivatives at two points differ by up to "
                f"{float(np.max(np.abs(elsewhere - matrix), initial=0.0)):.2g}. Leave out is_linear=True."
            )
        matrix = np.where(np.abs(matrix) > NOTHING * size, matrix, 0.0)
        offset = values - matrix @ here
        lower, upper = (end - offset for end in _limits(self.term.goal, values.size))
        self._check_constant(matrix, values, _limits(self.term.goal, values.size))
        return matrix, lower, upper

    def _linearized(self, point: Vector) -> tuple[Vector, Matrix]:
        values, matrix = self.term.predict(point)
        if matrix is None:
            raise ConstraintError(
                f'Constraint {self.label!r} is linear but has derivatives="differences". Write it in JAX, or give its '
                "Jacobian."
            )
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(matrix))):
            raise ConstraintError(
                f"Constraint {self.label!r} is said to be linear, but is not finite near the start. Leave out "
                "is_linear=True."
            )
        return values, matrix

    def _check_constant(self, matrix: Matrix, values: Vector, limits: tuple[Vector, Vector]) -> None:
        """Refuse rows that no parameter can change and that do not hold."""
        for row in np.flatnonzero(~np.any(matrix != 0.0, axis=1)):
            low, high, value = limits[0][row], limits[1][row], values[row]
            slack = LINEAR * max(1.0, abs(value))
            if not low - slack <= value <= high + slack:
                raise ConstraintError(
                    f"Constraint {self.label!r}: row {row} is {value:g} whatever the parameters are, but should be "
                    f"{f'{low:g}' if low == high else f'in [{low:g}, {high:g}]'}. Correct the term or its goal."
                )


def _limits(goal: Goal, size: int) -> tuple[Vector, Vector]:
    """Return the smallest and largest values that a goal allows, shape (size,) each."""
    if goal.bounds is None:
        wanted = np.broadcast_to(np.ravel(0.0 if goal.target is None else goal.target), (size,))
        return wanted, wanted
    lower, upper = goal.bounds
    ends = (-np.inf if lower is None else lower), (np.inf if upper is None else upper)
    low, high = (np.broadcast_to(np.ravel(np.asarray(end, dtype=float)), (size,)) for end in ends)
    return low, high


def _single(matrix: Matrix) -> np.ndarray:
    """Return which rows have a single coefficient, shape (m,)."""
    return np.count_nonzero(matrix, axis=1) == 1


def _fixed(entry: Parameter, values: np.ndarray) -> Parameter:
    """Return a parameter with the elements held that have a value."""
    held = np.isfinite(values)
    if not np.any(held):
        return entry
    return entry.replace(value=np.where(held, values, entry.value), fixed=entry.fixed | held)
