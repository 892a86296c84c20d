"""Whether a point under constraints is stationary, found out independently of the solver that ended there.

The point must hold the constraints within their tolerances. The multipliers that balance the gradient best are found by
least squares with the signs they must have. In the directions that the active constraints leave, the Lagrangian

    L(t) = f(x + Z t) + lambda @ c(x + Z t)

is then judged as the cost of a problem without constraints, by the tests of the module `verdict`: at a
Karush-Kuhn-Tucker point a Newton step of L is short, or promises nothing.
"""

from __future__ import annotations

import math

import numpy as np

from fieldfit.diagnostics import Limits, Multipliers, find_multipliers
from fieldfit.objectives import Evaluation
from fieldfit.problem.subproblem import Subproblem
from fieldfit.problem.tangent import TangentProblem
from fieldfit.problem.vector import VectorProblem
from fieldfit.problem.verdict import Verdict, judge
from fieldfit.typing import Vector

BALANCED = 1e-6
"""Part of the gradient that may be left where no direction is."""


def judge_constrained(
    problem: VectorProblem | Subproblem, x: Vector, best: Evaluation, first_cost: float
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
        return Verdict("not converged", math.inf, _violations(problem, best)), None
    if best.gradient is None or best.constraint_jacobian is None or not best.is_finite:
        word = "unverified" if problem.is_noisy else "not converged"
        return Verdict(
            word, math.nan if problem.is_noisy else math.inf, "there are no derivatives at the best point"
        ), None
    limits = Limits(best.constraints, best.constraint_jacobian, constraints.lower, constraints.upper)
    multipliers = find_multipliers(x, best.gradient, limits, bounds=(problem.lower, problem.upper))
    if multipliers.tangent.shape[1] == 0:
        return _judge_corner(best, multipliers), multipliers
    tangent = TangentProblem(problem, x, best, multipliers)
    verdict = judge(tangent, tangent.center, tangent.restricted(best), first_cost)
    return verdict, multipliers


def _violations(problem: VectorProblem | Subproblem, best: Evaluation) -> str:
    """Say in the user's words which constraints do not hold."""
    constraints, values = problem.constraints, best.constraints
    if constraints is None or values is None:
        return ""
    excess = constraints.violation(values) / constraints.tolerance
    texts, row = [], 0
    for condition in constraints.conditions:
        for own in range(condition.lower.size):
            if excess[row] > 1.0:
                texts.append(condition.describe(own, values[row]))
            row += 1
    return f"violated: {'; '.join(texts)}"


def _judge_corner(best: Evaluation, multipliers: Multipliers) -> Verdict:
    """Judge a point where active constraints leave no direction: their normals have to balance the gradient."""
    size = 0.0 if best.gradient is None else float(np.linalg.norm(best.gradient))
    left = float(np.linalg.norm(multipliers.remainder))
    share = left / size if size > 0.0 else 0.0
    if share <= BALANCED:
        return Verdict("converged", share)
    return Verdict("not converged", share, f"{share:.1e} of the gradient is not balanced by active constraints")
