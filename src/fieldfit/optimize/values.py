"""What terms and constraints are before and after a run, in physical and in normalized units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.constraints import AbstractConstraint, Condition
from fieldfit.objectives import AbstractObjective
from fieldfit.parameters import Parameters
from fieldfit.things import HeldTerm, TermObjective
from fieldfit.typing import Vector


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A term at one point.

    Args:
        values: What its function gives, reduced by its loss function, in its own unit, shape (m,).
        residuals: The same relative to its goal, in units of its normalization and weighted, shape (m,).
    """

    values: Vector
    residuals: Vector

    @property
    def cost(self) -> float:
        """Half the sum of squared residuals."""
        return 0.5 * float(self.residuals @ self.residuals)


@dataclass(frozen=True, eq=False)
class ObjectiveValue:
    """A term before and after a run.

    Args:
        name: Its name.
        before: At the start.
        after: At the best point.
        unit: Of the values.
        is_constraint: Whether it was meant to hold.
    """

    name: str
    before: Snapshot
    after: Snapshot
    unit: str = ""
    is_constraint: bool = False

    def __repr__(self) -> str:
        kind = "constraint" if self.is_constraint else "objective"
        change = f"{largest(self.before.values):.6g} -> {largest(self.after.values):.6g}"
        return f"ObjectiveValue({kind} {self.name}: {change}{f' {self.unit}' if self.unit else ''})"


def largest(values: Vector) -> float:
    """Return a single value as it is, of several the largest magnitude."""
    return float(values[0]) if values.size == 1 else float(np.max(np.abs(values), initial=0.0))


def objective_values(
    terms: Mapping[str, AbstractObjective], parameters: Parameters, ends: tuple[Vector, Vector], state: Any
) -> dict[str, ObjectiveValue]:
    """Return the terms of an objective before and after a run.

    Args:
        terms: By name.
        parameters: All of them.
        ends: First and last values of all elements.
        state: Name to the state of each term at the end.
    """
    found = {}
    for name, term in terms.items():
        last = state.get(name) if isinstance(state, Mapping) else None
        states = term.initial_state(), last
        before, after = (_snapshot(term, parameters, x, own) for x, own in zip(ends, states, strict=True))
        found[name] = ObjectiveValue(name, before, after, _unit(term))
    return found


def term_constraint_values(
    constraints: Sequence[AbstractConstraint], parameters: Parameters, ends: tuple[Vector, Vector]
) -> dict[str, ObjectiveValue]:
    """Return the terms among constraints before and after a run.

    Args:
        constraints: As they were given.
        parameters: All of them.
        ends: First and last values of all elements.
    """
    found = {}
    for constraint in constraints:
        if isinstance(constraint, HeldTerm):
            before, after = (_snapshot(constraint.term, parameters, x, None) for x in ends)
            found[constraint.label] = ObjectiveValue(constraint.label, before, after, _unit(constraint.term), True)
    return found


def condition_values(
    conditions: Sequence[Condition], parameters: Parameters, ends: tuple[Vector, Vector]
) -> dict[str, ObjectiveValue]:
    """Return conditions before and after a run; what only fixes or ties parameters is no condition.

    Args:
        conditions: Of the problem.
        parameters: All of them.
        ends: First and last values of all elements.
    """
    found = {}
    for condition in conditions:
        before, after = (_condition_snapshot(condition, parameters, x) for x in ends)
        found[condition.name] = ObjectiveValue(condition.name, before, after, condition.unit, True)
    return found


def violation(conditions: Sequence[Condition], parameters: Parameters, x: Vector) -> float:
    """Return how far the worst condition is outside its limits, in its own unit; 0 if all hold."""
    snapshots = [_condition_snapshot(condition, parameters, x) for condition in conditions]
    return max((float(np.max(np.abs(entry.residuals), initial=0.0)) for entry in snapshots), default=0.0)


def _condition_snapshot(condition: Condition, parameters: Parameters, x: Vector) -> Snapshot:
    if condition.matrix is not None:
        values = condition.matrix @ x
    else:
        values = _residuals(condition.objective, parameters, x, None)
    outside = np.maximum(values - condition.upper, 0.0) + np.minimum(values - condition.lower, 0.0)
    return Snapshot(values, outside)


def _snapshot(term: AbstractObjective, parameters: Parameters, x: Vector, state: Any) -> Snapshot:
    if isinstance(term, TermObjective):
        values, _ = term.predict(_own(term, parameters, x))
        return Snapshot(values, term.goal.residuals(values))
    residuals = _residuals(term, parameters, x, state)
    return Snapshot(residuals, residuals)


def _residuals(term: AbstractObjective | None, parameters: Parameters, x: Vector, state: Any) -> Vector:
    if term is None:
        return np.zeros(0)
    start = term.initial_state() if state is None else state
    found = term.evaluate(_own(term, parameters, x), start, derivatives=term.traits.has_derivatives)
    return np.array([found.cost]) if found.residuals is None else found.residuals


def _own(term: AbstractObjective, parameters: Parameters, x: Vector) -> Vector:
    """Return the elements that a term is a function of."""
    values = parameters.split(x)
    return np.concatenate([np.ravel(values[name]) for name in term.parameters.names])


def _unit(term: AbstractObjective) -> str:
    return term.term.unit if isinstance(term, TermObjective) else ""
