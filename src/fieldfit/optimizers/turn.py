"""What one trial of a trust region came to: the record that optimizers for sums of squares and for scalars share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.diagnostics import projected_gradient
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.exact_steps import norm
from fieldfit.problem import Recorder
from fieldfit.typing import Vector


@dataclass(frozen=True, eq=False)
class Turn:
    """What the last trial came to.

    Args:
        reduction: Decrease of the cost; 0 if the trial was rejected.
        predicted: Decrease that the model promised.
        ratio: Actual over predicted reduction; minus infinity where the evaluation failed.
        step_norm: Length of the step in x.
        relative_step: Length of the step in D x, relative to the size of the variables, independent of units.
        is_accepted: Whether the point moved.
        note: News of the evaluation, or why it failed.
    """

    reduction: float
    predicted: float
    ratio: float
    step_norm: float
    relative_step: float
    is_accepted: bool
    note: str = ""


def first_turn(note: str) -> Turn:
    """Return what stands for the last trial at the start.

    Args:
        note: News of the evaluation there.
    """
    return Turn(0.0, math.inf, 0.0, math.inf, math.inf, True, note)


def judged_turn(
    current: Evaluation, trial: Evaluation, *, step: Vector, predicted: float, relative_step: float
) -> Turn:
    """Compare a trial with what its model promised.

    Args:
        current: Of the current point.
        trial: Of the trial point.
        step: From one to the other, shape (n,).
        predicted: Decrease of the cost that the model promised.
        relative_step: Length of the step, relative to the size of the variables.
    """
    is_finite = trial.is_finite
    actual = current.cost - trial.cost if is_finite else -math.inf
    ratio = actual / predicted if predicted > 0.0 else -math.inf
    failure = "" if is_finite else f"evaluation failed: {trial.failure or 'its derivatives are not finite'}"
    return Turn(
        reduction=actual if ratio > 0.0 else 0.0,
        predicted=predicted,
        ratio=ratio,
        step_norm=norm(step),
        relative_step=relative_step,
        is_accepted=ratio > 0.0,
        note=failure or trial.note,
    )


def turn_news(problem: Recorder, turn: Turn, x: Vector, gradient: Vector, *, cost: float) -> dict[str, Any]:
    """Return what observers are told about a turn: the arguments of `Recorder.tell`.

    Args:
        problem: What is evaluated, with its bounds.
        turn: The last one.
        x: Current point, shape (n,).
        gradient: Of the cost there, shape (n,).
        cost: To be told.
    """
    projected = projected_gradient(x, gradient, problem.lower, problem.upper)
    return {
        "x": x,
        "cost": cost,
        "reduction": turn.reduction,
        "step_norm": turn.step_norm,
        "optimality": float(np.max(np.abs(projected))),
        "is_accepted": turn.is_accepted,
        "note": turn.note,
    }
