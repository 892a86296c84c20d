"""What a run over things found: SciPy's names for everything, and terms and constraints before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.optimize.posing import Posed
from fieldfit.optimize.values import ObjectiveValue, largest
from fieldfit.problem import HistoryEntry, OptimizationResult
from fieldfit.registry import unknown_name
from fieldfit.tables import write_table
from fieldfit.typing import Matrix, Vector

VALUES = "Objective values"
KEYS = (
    *("x", "allx", "success", "status", "message", "fun", "cost", "nfev", "njev", "nit", "optimality"),
    *("constr_violation", "history", "fit", VALUES),
)
"""What can be asked for in square brackets, besides as attributes."""


@dataclass(frozen=True, eq=False)
class ThingsResult:
    """The end of a run over things; its entries can be read as attributes and in square brackets.

    Args:
        fit: Everything about the run itself.
        method: Name of the optimizer.
        success: Whether the best point is stationary to the tolerances of the call and holds the constraints, by a
            measure that does not depend on the optimizer; see `is_success`.
        names: Of all parameters, "<thing>.<key>", in their order.
        x: All elements of all things at the best point, physical, in their order, shape (elements,).
        violation: How far the worst constraint is outside its limits, nonlinear terms in units of normalization.
        points: Start and accepted points of the problem that was solved, all its elements.
        posed: That problem.
    """

    fit: OptimizationResult
    method: str
    success: bool
    names: tuple[str, ...]
    x: Vector
    violation: float
    points: tuple[Vector, ...] = field(repr=False)
    posed: Posed = field(repr=False)

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Best parameters by name."""
        return self.posed.task.parameters.split(self.x)

    @cached_property
    def allx(self) -> Matrix:
        """All elements of all things at the start and every accepted point, the best one last, physical."""
        return self.posed.path(self.points)

    @cached_property
    def objective_values(self) -> Mapping[str, ObjectiveValue]:
        """Name to each term and constraint before and after."""
        return self.posed.values(self.fit)

    @property
    def message(self) -> str:
        """Why the run ended."""
        return self.fit.message

    @property
    def status(self) -> int:
        """0 for success, 1 otherwise."""
        return 0 if self.success else 1

    @property
    def fun(self) -> float:
        """Sum of squared residuals, or the scalar."""
        return self.fit.fun

    @property
    def cost(self) -> float:
        """Half the sum of squared residuals, or the scalar."""
        return self.fit.cost

    @property
    def nfev(self) -> int:
        """Number of evaluations."""
        return self.fit.nfev

    @property
    def njev(self) -> int:
        """Number of evaluations with derivatives."""
        return self.fit.njev

    @property
    def nit(self) -> int:
        """Number of iterations."""
        return self.fit.nit

    @property
    def optimality(self) -> float:
        """First-order optimality; see `fieldfit.problem.Verdict`."""
        return self.fit.optimality

    @property
    def constr_violation(self) -> float:
        """SciPy's name of `violation`."""
        return self.violation

    @property
    def history(self) -> tuple[HistoryEntry, ...]:
        """One entry per evaluation."""
        return self.fit.history

    def __getitem__(self, key: str) -> Any:
        if key not in KEYS:
            raise SettingsError(unknown_name("entry of the result", key, KEYS))
        return self.objective_values if key == VALUES else getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in KEYS

    def __iter__(self) -> Iterator[str]:
        return iter(KEYS)

    def keys(self) -> tuple[str, ...]:
        """Return what can be asked for in square brackets."""
        return KEYS

    @cached_property
    def report(self) -> str:
        """Why the run ended, what it took, and every term and constraint before and after."""
        fit = self.fit
        verdict = f"{fit.verdict.word}{f' ({fit.verdict.reason})' if fit.verdict.reason else ''}"
        lines = [
            f"{self.method}: {'success' if self.success else 'no success'} - {self.message}",
            f"  verdict      {verdict}",
            f"  iterations   {self.nit}, evaluations {self.nfev} ({self.njev} with derivatives), {fit.wall_time:.3g} s",
            f"  cost         {_half(fit):.6g} -> {self.cost:.6g}",
            f"  optimality   {self.optimality:.2e}, constraint violation {self.violation:.2e}",
        ]
        if not self.objective_values:
            return "\n".join(lines)
        rows = [("", "", "before", "after", "unit", "normalized before", "after")]
        rows += [row for entry in self.objective_values.values() for row in _rows(entry)]
        return "\n".join([*lines, *(f"  {line}" for line in write_table(rows).splitlines())])

    def __repr__(self) -> str:
        return self.report


def is_success(fit: OptimizationResult, ftol: float | None) -> bool:
    """Whether a run over residuals reached what it was asked for.

    The verdict of the library says which part of the cost a further step would take off, independently of the
    optimizer. A call that stops at changes below `ftol` of the cost asks for no smaller part than that.

    Args:
        fit: The run.
        ftol: Of the call; None for no such test.
    """
    if fit.success:
        return True
    if ftol is None or fit.residuals is None or fit.verdict.word != "not converged":
        return False
    return fit.optimality <= ftol


def _half(fit: OptimizationResult) -> float:
    return fit.initial_score if fit.residuals is None else 0.5 * fit.initial_score


def _rows(entry: ObjectiveValue) -> list[tuple[str, ...]]:
    kind = "constraint" if entry.is_constraint else "objective"
    parts = entry.before.values, entry.after.values, entry.before.residuals, entry.after.residuals
    name = f"{kind} {entry.name}"
    if all(part.size == 1 for part in parts):
        return [_row(name, "", [float(part[0]) for part in parts], entry.unit)]
    size = entry.after.values.size
    return [
        _row(name, f"largest of {size}", [largest(part) for part in parts], entry.unit),
        _row("", "mean size", [float(np.mean(np.abs(part))) if part.size else 0.0 for part in parts], entry.unit),
    ]


def _row(name: str, what: str, numbers: list[float], unit: str) -> tuple[str, ...]:
    before, after, normalized, normalized_after = (f"{number:.5g}" for number in numbers)
    return name, what, before, after, unit, normalized, normalized_after
