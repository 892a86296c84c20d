"""What became of the constraints, in the user's words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldfit.diagnostics import Multipliers
from fieldfit.objectives import Evaluation
from fieldfit.problem.vector import VectorProblem
from fieldfit.typing import Vector


@dataclass(frozen=True, eq=False)
class ConstraintOutcome:
    """One constraint at the best point.

    Args:
        name: What the user calls it.
        values: Of its rows, in its unit, shape (m,).
        lower: Smallest allowed values, shape (m,).
        upper: Largest allowed values, shape (m,).
        tolerance: Violation of each row that counts as none, shape (m,).
        multipliers: How much the cost would fall per unit by which a limit is moved outwards, up to the sign: not
            negative at an upper limit, not positive at a lower one, any for an equality; NaN where they are not known,
            shape (m,).
        unit: Of the values.
    """

    name: str
    values: Vector
    lower: Vector
    upper: Vector
    tolerance: Vector
    multipliers: Vector
    unit: str = ""

    @property
    def violation(self) -> float:
        """How far the worst row is outside its limits, in its own unit."""
        return float(np.max(np.maximum(self.lower - self.values, self.values - self.upper), initial=0.0))

    @property
    def holds(self) -> bool:
        """Whether every row is within its tolerance."""
        return bool(np.all(np.maximum(self.lower - self.values, self.values - self.upper) <= self.tolerance))

    @property
    def is_active(self) -> bool:
        """Whether a row is held by a limit: it carries a multiplier, or is an equality."""
        return bool(np.any((self.lower == self.upper) | (np.abs(np.nan_to_num(self.multipliers)) > 0.0)))

    def __str__(self) -> str:
        rows = []
        for value, low, high, multiplier in zip(self.values, self.lower, self.upper, self.multipliers, strict=True):
            limit = (
                f"= {low:.8g}"
                if low == high
                else " and ".join(
                    text
                    for text, is_there in ((f">= {low:.8g}", np.isfinite(low)), (f"<= {high:.8g}", np.isfinite(high)))
                    if is_there
                )
            )
            unit = f" {self.unit}" if self.unit else ""
            held = f", multiplier {multiplier:.5g}" if np.isfinite(multiplier) and multiplier != 0.0 else ""
            rows.append(f"{value:.8g}{unit} ({limit}{held})")
        shown = rows if len(rows) <= 3 else [*rows[:3], f"and {len(rows) - 3} more rows"]
        word = "" if self.holds else f"  VIOLATED by {self.violation:.2g}"
        return f"{self.name}: {'; '.join(shown)}{word}"


def report_constraints(
    problem: VectorProblem, best: Evaluation, multipliers: Multipliers | None
) -> tuple[ConstraintOutcome, ...]:
    """Return what became of every constraint.

    Args:
        problem: With all its constraints.
        best: Evaluation of the best point.
        multipliers: There; None if they are not known.
    """
    if problem.constraints is None or best.constraints is None:
        return ()
    rows = np.full(best.constraints.size, np.nan) if multipliers is None else multipliers.rows
    found, row = [], 0
    for condition in problem.constraints.conditions:
        part = slice(row, row + condition.lower.size)
        row = part.stop
        found.append(
            ConstraintOutcome(
                condition.name,
                best.constraints[part],
                condition.lower,
                condition.upper,
                condition.tolerances,
                rows[part],
                condition.unit,
            )
        )
    return tuple(found)
