"""Whether a point under constraints is stationary, found out independently of the solver that ended there.

The point must hold the constraints within their tolerances. The multipliers that balance the gradient best are found by
least squares with the signs they must have. Multipliers times the gaps that are left to the limits say how much of the
cost is still open, which is much where no multipliers exist, as at a cusp. In the directions that the active
constraints leave, the Lagrangian

    L(t) = f(x + Z t) + lambda @ c(x + Z t)

is then judged as the cost of a problem without constraints, by the tests of the module `verdict`: at a
Karush-Kuhn-Tucker point a Newton step of L is short, or promises nothing. A saddle or maximum along the constraints is
not a solution; see the module `second_order`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fieldfit.diagnostics import Limits, Multipliers, find_conflict, find_multipliers
from fieldfit.objectives import Evaluation
from fieldfit.problem.interface import AbstractVectorProblem
from fieldfit.problem.second_order import downward_curvature
from fieldfit.problem.tangent import TangentProblem
from fieldfit.problem.verdict import UNFELT, Verdict, judge, judge_zero
from fieldfit.typing import Vector

BALANCED = 1e-6
"""Part of the gradient that may be left where no direction is."""

GAP = 1e-6
"""Part of what the gradient changes over the size of the point that multipliers times gaps may be worth."""


def judge_constrained(
    problem: AbstractVectorProblem, x: Vector, best: Evaluation, first_cost: float
) -> tuple[Verdict, Multipliers | None]:
    """Find out whether a point is stationary under its constraints, and the multipliers there.

    Args:
        problem: What was minimised, with all its constraints.
        x: The point, shape (n,).
        best: Evaluation there, with derivatives unless they could not be had.
        first_cost: Cost at the start; NaN if it could not be evaluated.
    """
    constraints = problem.constraints
    if constraints is None:
        return judge(problem, x, best, first_cost), None
    if not math.isfinite(best.cost) or best.constraints is None:
        return Verdict("not converged", math.inf, "nothing could be evaluated"), None
    if best.violation > 1.0:
        return _judge_violated(problem, x, best), None
    if best.gradient is None or best.constraint_jacobian is None or not best.is_finite:
        word = "unverified" if problem.is_noisy else "not converged"
        return Verdict(
            word, math.nan if problem.is_noisy else math.inf, "there are no derivatives at the best point"
        ), None
    limits = Limits(best.constraints, best.constraint_jacobian, constraints.lower, constraints.upper)
    multipliers = find_multipliers(x, best.gradient, limits, bounds=(problem.lower, problem.upper))
    zero = judge_zero(problem, x, best, first_cost)
    if zero is not None:
        # No multipliers could make sense of a gradient that is rounding.
        return zero, multipliers
    worth = _worth_of_gaps(x, limits, multipliers, (problem.lower, problem.upper))
    reach = float(np.linalg.norm(best.gradient)) * max(1.0, float(np.max(np.abs(x))))
    if worth > GAP * reach:
        largest = float(np.max(np.abs(multipliers.rows), initial=0.0))
        reason = (
            f"the constraints are met to {best.violation:.1e} of their tolerances, but with multipliers up to "
            f"{largest:.1e} this leaves {worth:.1e} of the cost open: their gradients nearly depend on each other"
        )
        return Verdict("not converged", worth / reach, reason), multipliers
    if multipliers.tangent.shape[1] == 0:
        return _judge_corner(best, multipliers), multipliers
    tangent = TangentProblem(problem, x, best, multipliers)
    verdict = judge(tangent, tangent.center, _judged(tangent.restricted(best), best), first_cost)
    is_flat = bool(np.all(constraints.is_linear & constraints.is_equality))
    if verdict.word != "converged" or (is_flat and best.residuals is not None):
        # A sum of squares on a linear subspace is one without constraints, of which first order is asked, too.
        return verdict, multipliers
    curvature, n_made = downward_curvature(tangent, limits)
    if curvature < 0.0:
        reason = (
            f"a saddle or a maximum: along the constraints the cost curves downwards ({curvature:.1e} of the largest)"
        )
        verdict = Verdict("not converged", verdict.optimality, reason, verdict.n_evaluations)
    return replace(verdict, n_evaluations=verdict.n_evaluations + n_made), multipliers


def _judged(restricted: Evaluation, best: Evaluation) -> Evaluation:
    """Return what is judged: not the residuals where they feel no direction that is left.

    There the constraints alone bend the cost, as where (x - 3)^2 is smallest on the unit circle: a scalar is judged.
    """
    if restricted.jacobian is None or best.jacobian is None:
        return restricted
    if np.linalg.norm(restricted.jacobian) > UNFELT * np.linalg.norm(best.jacobian):
        return restricted
    return replace(restricted, residuals=None, jacobian=None)


def _worth_of_gaps(x: Vector, limits: Limits, multipliers: Multipliers, bounds: tuple[Vector, Vector]) -> float:
    """Return how much the cost would change if every active constraint were met exactly, to first order."""
    ends = np.where(multipliers.rows > 0.0, limits.upper, limits.lower)
    gaps = (
        (multipliers.rows, limits.values - ends),
        (multipliers.lower, x - bounds[0]),
        (multipliers.upper, bounds[1] - x),
    )
    # Only what carries a multiplier: the limit on the other side may be infinite.
    return sum(float(np.abs(own[own != 0.0]) @ np.abs(gap[own != 0.0])) for own, gap in gaps)


def _judge_violated(problem: AbstractVectorProblem, x: Vector, best: Evaluation) -> Verdict:
    """Say in the user's words which constraints do not hold, and whether they could hold nearby."""
    constraints, values = problem.constraints, best.constraints
    if constraints is None or values is None:
        return Verdict("not converged", math.inf, "the constraints could not be evaluated")
    is_violated = constraints.violation(values) > constraints.tolerance
    conflict = None
    if best.constraint_jacobian is not None:
        limits = Limits(values, best.constraint_jacobian, constraints.lower, constraints.upper)
        bounds = problem.lower, problem.upper
        conflict = find_conflict(x, limits, bounds=bounds, is_violated=is_violated)
    chosen = np.flatnonzero(is_violated) if conflict is None else conflict[0]
    texts = "; ".join(constraints.describe(int(row), float(values[row])) for row in chosen)
    if conflict is None:
        return Verdict("not converged", math.inf, f"violated: {texts}")
    held = [problem.labels[variable] for variable in conflict[1]]
    within = f" within the bounds of {', '.join(held)}" if held else ""
    return Verdict("infeasible", math.inf, f"near this point these cannot hold together{within}: {texts}")


def _judge_corner(best: Evaluation, multipliers: Multipliers) -> Verdict:
    """Judge a point where active constraints leave no direction: their normals have to balance the gradient."""
    size = 0.0 if best.gradient is None else float(np.linalg.norm(best.gradient))
    left = float(np.linalg.norm(multipliers.remainder))
    share = left / size if size > 0.0 else 0.0
    if share <= BALANCED:
        return Verdict("converged", share)
    return Verdict("not converged", share, f"{share:.1e} of the gradient is not balanced by active constraints")
