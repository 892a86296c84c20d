"""Between two turns of an augmented Lagrangian: new multipliers, larger penalties, a tighter tolerance.

A turn is one run of the inner optimizer; see the module `augmented_lagrangian` for the method and its symbols. Here is
what a run knows between turns, and what a turn changes in it: one that ended well moves the point, gives multipliers of
first order, and raises the penalties of the constraints that it did not bring close enough; one that failed is undone
and raises them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fieldfit.objectives import Evaluation
from fieldfit.optimizers.augmented_problem import Shifts, limits_of, linearization, relative_violation
from fieldfit.optimizers.exact_steps import norm
from fieldfit.optimizers.kkt_newton import KktPoint
from fieldfit.problem import Recorder
from fieldfit.typing import Vector

GROWTH = 10.0
"""Of the penalty of a constraint that a turn did not bring close enough."""

CLOSER = 0.25
"""A turn has to bring a constraint this much closer, or its penalty grows."""

HARDLY = 0.1
"""Of its tolerance: a constraint that is this close needs no larger penalty."""

LARGEST_GROWTH = 1e12
"""Of a penalty in all; beyond it rounding of the penalty hides the objective."""

LAST_TOLERANCE = 1e-8
TIGHTENING = 0.1
"""Of the inner optimizer, from turn to turn."""


@dataclass(frozen=True, eq=False)
class TurnState:
    """Everything the next turn needs.

    Args:
        iteration: Number of turns so far.
        x: Current point, shape (n,).
        evaluation: Of the constrained problem there, with derivatives.
        shifts: Multipliers and penalties of the next turn.
        first_penalties: Those of the first turn, shape (m,).
        rows: Units of the constraints, shape (m,).
        funnel: Largest relative violation at which the problem is evaluated.
        remainder: What the constraints lacked after the last turn, shape (m,).
        tolerance: Of the inner optimizer in the next turn.
        first: The start and its cost, which tell what is zero but for rounding.
        reached: Tolerance of the turn that led here.
        n_failed: Turns since the last that was of use.
        n_stuck: Turns since the violation last fell.
        kkt: Where Newton's method ended; None if it was not tried.
        step: Length of the last turn's move.
        reduction: What it took off the objective.
        note: News.
        ending: Why the run is over here; None if it is not.
    """

    iteration: int
    x: Vector
    evaluation: Evaluation
    shifts: Shifts
    first_penalties: Vector
    rows: Vector
    funnel: float
    remainder: Vector
    tolerance: float
    first: tuple[Vector, float]
    reached: float = math.inf
    n_failed: int = 0
    n_stuck: int = 0
    kkt: KktPoint | None = None
    step: float = math.inf
    reduction: float = 0.0
    note: str = ""
    ending: str | None = None


def completed(problem: Recorder, x: Vector, found: Evaluation | None) -> Evaluation | None:
    """Return an evaluation with derivatives, made if the inner optimizer needed none; None if it cannot be had."""
    if found is not None and (found.gradient is None or found.constraint_jacobian is None):
        found = problem.evaluate(x, found.state)
    if found is None or found.failure or not found.is_finite or found.constraint_jacobian is None:
        return None
    return found if np.isfinite(found.constraint_jacobian).all() else None


def undone(state: TurnState, reason: str) -> TurnState:
    """Return the state from which a turn is tried again, with larger penalties."""
    shifts = replace(state.shifts, penalties=state.shifts.penalties * GROWTH**2)
    return replace(
        state,
        iteration=state.iteration + 1,
        shifts=shifts,
        n_failed=state.n_failed + 1,
        kkt=None,
        step=0.0,
        reduction=0.0,
        note=f"turn undone: {reason}",
    )


def updated(problem: Recorder, state: TurnState, x: Vector, found: Evaluation) -> TurnState:
    """Return the state after a turn that ended well."""
    values, _ = linearization(found)
    remainder = np.abs(state.shifts.remainder(values))
    is_behind = (remainder > CLOSER * state.remainder) & (remainder > HARDLY * limits_of(problem).tolerance)
    grown = np.minimum(GROWTH * state.shifts.penalties, LARGEST_GROWTH * state.first_penalties)
    penalties = np.where(is_behind, grown, state.shifts.penalties)
    shifts, is_narrow = _shifted(problem, state, values, penalties)
    before = relative_violation(linearization(state.evaluation)[0], shifts, state.rows)
    is_stuck = relative_violation(values, shifts, state.rows) > 0.9 * before
    return replace(
        state,
        iteration=state.iteration + 1,
        x=x,
        evaluation=found,
        shifts=shifts,
        remainder=np.where(is_narrow, np.inf, remainder),
        reached=state.tolerance,
        tolerance=max(LAST_TOLERANCE, TIGHTENING * state.tolerance),
        n_failed=0,
        n_stuck=state.n_stuck + 1 if is_stuck else 0,
        step=norm(x - state.x),
        reduction=state.evaluation.cost - found.cost,
        note="",
    )


def _shifted(problem: Recorder, state: TurnState, values: Vector, penalties: Vector) -> tuple[Shifts, np.ndarray]:
    """Return multipliers of first order with the limits of the problem, and which limits the last turn had as one."""
    limits = limits_of(problem)
    is_narrow = (state.shifts.lower == state.shifts.upper) & (limits.lower < limits.upper)
    is_inside = (limits.lower < values) & (values < limits.upper)
    multipliers = np.where(is_narrow & is_inside, 0.0, state.shifts.first_order(values))
    return Shifts(limits.lower, limits.upper, multipliers, penalties), is_narrow


def prefer_end(problem: Recorder, state: TurnState) -> None:
    """Make the final point the best one, unless one that is better by more than the tolerances explain is known.

    Of two points that count as feasible a recorder keeps the lower cost, which is the one that violates more.
    """
    if state.evaluation.violation > 1.0:
        return
    slack = float(np.abs(state.shifts.multipliers) @ limits_of(problem).tolerance)
    if problem.best.violation > 1.0 or state.evaluation.cost <= problem.best.cost + slack:
        problem.rebase(state.x, state.evaluation)
