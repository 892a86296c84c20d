"""The last digits of a constrained run that another method ended."""

from __future__ import annotations

import numpy as np

from fieldfit.diagnostics import Limits, find_multipliers
from fieldfit.errors import EvaluationError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.kkt_newton import KktPoint, newton_kkt
from fieldfit.problem import Recorder
from fieldfit.typing import Vector

REACHES = (1e-6, 1e-3)
"""Distances from a limit, relative to the size of the point, within which a constraint may be active: a barrier keeps
away from it."""

SNAP = 1e-3
"""Distance from a bound, relative to the larger of 1 and the variable, from which a barrier's end is tried on it."""

CLOSE = 1e-9
"""Residual of the optimality conditions that needs no Newton step."""

MANY = 200
"""Variables from which second derivatives are too expensive."""


def polish(problem: Recorder) -> str:
    """Take Newton steps on the conditions of Karush, Kuhn and Tucker from the best point of a run.

    The point that they reach becomes the best one: its cost may be higher by what a violation within the tolerance had
    brought.

    Args:
        problem: The run so far.

    Returns:
        What was done, to be added to a message; empty if nothing.

    Raises:
        Interruption: A budget is spent.
    """
    x, best, constraints = problem.best_x, problem.best, problem.constraints
    if constraints is None or problem.is_noisy or x.size > MANY or not np.isfinite(best.cost):
        return ""
    if best.gradient is None or best.constraint_jacobian is None:
        best = problem.evaluate(x, best.state)
    if best.gradient is None or best.constraint_jacobian is None or best.constraints is None or not best.is_finite:
        return ""
    point = _nearest(problem, x, best)
    if point is None:
        return ""
    if point.n_steps == 0 or point.evaluation.violation > max(1.0, best.violation):
        return ""
    problem.rebase(point.x, point.evaluation)
    steps = f"{point.n_steps} Newton step{'s' if point.n_steps > 1 else ''}"
    problem.tell(
        point.x,
        cost=point.evaluation.cost,
        reduction=best.cost - point.evaluation.cost,
        step_norm=float(np.linalg.norm(point.x - x)),
        optimality=point.residual,
        is_accepted=True,
        note=f"{steps} on the optimality conditions",
    )
    return f"; {steps} on the optimality conditions"


def snap_to_bounds(problem: Recorder) -> str:
    """Try the best point of a run with every variable on the bound that it is pushed against.

    A barrier keeps away from bounds that hold the solution. The point is taken only if it is better.

    Args:
        problem: The run so far.

    Returns:
        What was done, to be added to a message; empty if nothing.

    Raises:
        Interruption: A budget is spent.
    """
    x, best = problem.best_x, problem.best
    if best.gradient is None or problem.is_noisy:
        return ""
    bound = np.where(best.gradient > 0.0, problem.lower, problem.upper)
    is_pushed = (best.gradient != 0.0) & (np.abs(x - bound) <= SNAP * np.maximum(1.0, np.abs(x))) & (x != bound)
    if not np.any(is_pushed):
        return ""
    snapped = np.where(is_pushed, bound, x)
    found = problem.evaluate(snapped, best.state)
    if not found.is_finite or not found.is_better_than(best):
        return ""
    problem.accept()
    problem.tell(
        snapped,
        cost=found.cost,
        reduction=best.cost - found.cost,
        step_norm=float(np.linalg.norm(snapped - x)),
        optimality=np.nan,
        is_accepted=True,
        note="moved onto bounds",
    )
    return "; moved onto bounds"


def _nearest(problem: Recorder, x: Vector, best: Evaluation) -> KktPoint | None:
    """Return where Newton's method leads from a point, with what is active guessed from nearby and from farther off."""
    constraints, point = problem.constraints, None
    if constraints is None or best.gradient is None or best.constraints is None or best.constraint_jacobian is None:
        return None
    limits = Limits(best.constraints, best.constraint_jacobian, constraints.lower, constraints.upper)
    for near in REACHES:
        found = find_multipliers(x, best.gradient, limits, bounds=(problem.lower, problem.upper), near=near)
        try:
            point = newton_kkt(problem, x, best, found.rows)
        except EvaluationError:
            return None
        if point.n_steps > 0 or point.residual <= CLOSE:
            break
    return point
