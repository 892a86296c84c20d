"""Cross-validation by groups: fit without one group, then see how well that one is predicted.

What a fit reproduces says little about what it predicts: with enough parameters anything is reproduced. A group that
was left out is new to the fit. Groups are what would come together in reality, such as all observations of one
molecule; single observations of a molecule are predicted by the others and test nothing.

Every fit starts where the caller's objective starts, not at the answer of the fit to all groups, which knows the group
that is left out.

References:
    Stone (1974), J. R. Stat. Soc. B 36, 111, doi:10.1111/j.2517-6161.1974.tb00994.x.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.execution import Completed, ExecutorChoice, open_executor, ordered_map
from fieldfit.objectives import AbstractObjective
from fieldfit.problem import AbstractOptimizer, OptimizationResult

Figures = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A group and the fit without it.

    Args:
        name: The group that was left out.
        figures: What was measured of it at the parameters fitted without it; empty where there is no fit.
        reference: The same at the parameters fitted with it; empty if not asked for.
        result: The fit; None where there is none.
        held: Names of parameters that were held because the other groups know nothing of them.
        failure: Why there is no fit; None if there is one.
    """

    name: str
    figures: Figures
    reference: Figures
    result: OptimizationResult | None
    held: tuple[str, ...] = ()
    failure: str | None = None


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """A cross-validation.

    Args:
        rows: One per group.
    """

    rows: tuple[LeftOut, ...]

    @property
    def means(self) -> dict[str, float]:
        """Mean of each figure over the groups that have it."""
        return _means([row.figures for row in self.rows])

    def __repr__(self) -> str:
        return "\n".join(
            ["Left out, and predicted by a fit to the others (in brackets: fitted with it)", *self.table()]
        )

    def table(self) -> list[str]:
        """Return the lines of a table: one per group, then the means."""
        names = list(dict.fromkeys(name for row in self.rows for name in row.figures))
        width = max(9, *(len(row.name) for row in self.rows))
        lines = [f"  {'left out':{width}s} " + " ".join(f"{name:>22s}" for name in names)]
        for row in self.rows:
            cells = " ".join(_cell(row.figures.get(name), row.reference.get(name)) for name in names)
            slow = "  not converged" if row.result is not None and not row.result.success else ""
            lines.append(f"  {row.name:{width}s} " + (f"failed: {row.failure}" if row.failure else cells + slow))
        reference = _means([row.reference for row in self.rows])
        means = " ".join(_cell(self.means.get(name), reference.get(name)) for name in names)
        lines.append(f"  {'mean':{width}s} {means}")
        return lines + [f"  {row.name}: held, known to no other: {_listed(row.held)}" for row in self.rows if row.held]


def leave_one_out(
    make_objective: Callable[[tuple[str, ...]], AbstractObjective],
    optimizer: AbstractOptimizer,
    names: Sequence[str],
    measure: Callable[[str, OptimizationResult], Figures],
    *,
    full: OptimizationResult | None = None,
    executor: ExecutorChoice = None,
) -> LeaveOneOut:
    """Fit without each group in turn and measure how well it is predicted.

    Args:
        make_objective: Objective of some groups, by name.
        optimizer: What fits.
        names: The groups, at least two.
        measure: Figures of a group for a fit.
        full: The fit to all groups, to be measured beside; None: the figures without it stand alone.
        executor: Where the fits are made; see `AbstractOptimizer.optimize`.

    Returns:
        The figures of each group that was left out.

    Raises:
        SettingsError: Fewer than two groups, or two of one name.

    Example:
        >>> import fieldfit
        >>> from fieldfit.validation import leave_one_out
        >>> data = {"a": 1.0, "b": 2.0, "c": 6.0}
        >>> one = lambda name: fieldfit.FunctionObjective(lambda p: p["m"] - data[name], {"m": 0.0})
        >>> make = lambda names: fieldfit.ObjectiveFunction({name: one(name) for name in names})
        >>> measure = lambda name, result: {"error": float(result.x["m"]) - data[name]}
        >>> found = leave_one_out(make, fieldfit.LeastSquaresOptimizer(), list(data), measure)
        >>> [round(row.figures["error"], 3) for row in found.rows]
        [3.0, 1.5, -4.5]
    """
    fit = functools.partial(_fit_without, make_objective, optimizer, tuple(names))
    return left_out_in_turn(fit, names, measure, full=full, executor=executor)


def left_out_in_turn(
    fit: Callable[[str], OptimizationResult],
    names: Sequence[str],
    measure: Callable[[str, OptimizationResult], Figures],
    *,
    full: OptimizationResult | None = None,
    executor: ExecutorChoice = None,
) -> LeaveOneOut:
    """Do the same as `leave_one_out` with a fit of the caller's own: `fit(name)` fits all groups but that one."""
    if len(set(names)) < max(2, len(names)):
        raise SettingsError(
            f"Of the groups {', '.join(names) or '(none)'} none can be left out. Give at least two, each with a name "
            "of its own."
        )
    with open_executor(executor) as workers:
        completed = ordered_map(fit, [(name,) for name in names], workers)
    return LeaveOneOut(tuple(_row(name, found, measure, full) for name, found in zip(names, completed, strict=True)))


def _fit_without(
    make_objective: Callable[[tuple[str, ...]], AbstractObjective],
    optimizer: AbstractOptimizer,
    names: tuple[str, ...],
    left_out: str,
) -> OptimizationResult:
    return optimizer.optimize(make_objective(tuple(name for name in names if name != left_out)))


def _row(
    name: str,
    found: Completed,
    measure: Callable[[str, OptimizationResult], Figures],
    full: OptimizationResult | None,
) -> LeftOut:
    reference = {} if full is None else measure(name, full)
    if found.failure is not None:
        return LeftOut(name, {}, reference, None, failure=found.failure)
    return LeftOut(name, measure(name, found.value), reference, found.value)


def _means(figures: Sequence[Figures]) -> dict[str, float]:
    names = dict.fromkeys(name for entry in figures for name in entry)
    columns = {name: [entry[name] for entry in figures if np.isfinite(entry.get(name, np.nan))] for name in names}
    return {name: float(np.mean(values)) if values else float("nan") for name, values in columns.items()}


def _cell(value: float | None, reference: float | None) -> str:
    beside = "" if reference is None else f" ({reference:.4g})"
    return f"{'-' if value is None else f'{value:.4g}':>{22 - len(beside)}s}{beside}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more
