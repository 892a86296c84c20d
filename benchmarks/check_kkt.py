"""Decide what a code found on a constrained problem, by a check that shares nothing with any of the codes.

At a minimum under constraints there are multipliers y and z with

    grad f(x) + J_c(x)^T y + z = 0,     y_i, z_j >= 0 at an upper end, <= 0 at a lower one, = 0 between the ends
    |y| @ |c(x) - end| + |z| @ |x - end| = 0

(Karush, Kuhn and Tucker). Written in variables of size max(1, |x_j|), with rows of unit length, the multipliers that
come closest are a linear least-squares problem with signs. What is left of the gradient is how much f would change
along a step of relative size one, and the sum in the second line is how much it would change if every active limit
were met exactly. A point passes if the first is at most `STATIONARY` of the largest of 1, |f| and the gradient itself,
and the second at most the difference in f that counts as none. (At a cusp, as in HS13, multipliers grow without end on
the way to the solution, and the second never gets small.)

The verdict on an end of a run is "solved" (a stated value, constraints held), "better" (a Karush-Kuhn-Tucker point
under every stated value), "other" (one above), or "away".

References:
    Nocedal, Wright (2006), Numerical Optimization, ch. 12, https://doi.org/10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from constrained_problems import ConstrainedProblem
from scipy.optimize import lsq_linear

SAME_VALUE = 1e-6
"""Difference from a stated value that counts as none, relative to the larger of 1 and that value."""

FEASIBLE = 1e-8
"""Violation that counts as none, absolute."""

STATIONARY = 5e-6
"""Part of the gradient, or of f where that is larger, that multipliers may leave."""

ACTIVE = 1e-6
"""Distance from a limit, in steps of relative size one, at which it counts as met."""


@dataclass(frozen=True)
class Verdict:
    """What a point is.

    Args:
        kind: "solved", "better", "other" or "away".
        value: f there.
        violation: Largest distance outside the limits.
        residual: Of the conditions, in units of what is allowed to be left.
    """

    kind: str
    value: float
    violation: float
    residual: float


def judge(problem: ConstrainedProblem, x: np.ndarray, *, feasible: float = FEASIBLE) -> Verdict:
    """Say what a point is.

    Args:
        problem: The problem.
        x: The point, shape (n,).
        feasible: Violation that counts as none.
    """
    if not np.all(np.isfinite(x)):
        return Verdict("away", np.nan, np.inf, np.inf)
    with np.errstate(all="ignore"):
        value, violation, residual = problem.value(x), problem.violation(x), kkt_residual(problem, x)
    if not violation < feasible:
        kind = "away"
    elif any(abs(value - known) <= SAME_VALUE * max(1.0, abs(known)) for known in problem.optima):
        kind = "solved"
    elif residual > 1.0:
        kind = "away"
    else:
        kind = "better" if value < problem.optima[0] else "other"
    return Verdict(kind, value, violation, residual)


def kkt_residual(problem: ConstrainedProblem, x: np.ndarray) -> float:
    """Return the residual of the conditions of Karush, Kuhn and Tucker in units of what is allowed to be left."""
    sizes = np.maximum(1.0, np.abs(x))
    gradient = problem.gradient(x) * sizes
    if not np.all(np.isfinite(gradient)):
        return np.inf
    length = float(np.max(np.abs(gradient), initial=0.0))
    left, worth = gradient, 0.0
    active = _active(problem, x, sizes)
    if active.gaps.size and length > 0.0:
        ends = np.where(active.is_at_lower, -np.inf, 0.0), np.where(active.is_at_upper, np.inf, 0.0)
        found = lsq_linear(active.normals.T, -gradient / length, ends, method="bvls", tol=1e-14)
        left = length * (active.normals.T @ found.x) + gradient
        worth = length * float(np.abs(found.x) @ active.gaps)
    size = max(1.0, abs(problem.value(x)))
    return max(float(np.max(np.abs(left))) / (STATIONARY * max(size, length)), worth / (SAME_VALUE * size))


@dataclass(frozen=True, eq=False)
class _Active:
    """The limits that are met: unit normals (k, n), distances along them (k,), and which end each meets (k,)."""

    normals: np.ndarray
    gaps: np.ndarray
    is_at_lower: np.ndarray
    is_at_upper: np.ndarray


def _active(problem: ConstrainedProblem, x: np.ndarray, sizes: np.ndarray) -> _Active:
    values = np.concatenate([x, problem.constraints(x)])
    lower = np.concatenate([problem.lower, problem.constraint_lower])
    upper = np.concatenate([problem.upper, problem.constraint_upper])
    normals = np.concatenate([np.eye(x.size), problem.jacobian(x)]) * sizes
    lengths = np.linalg.norm(normals, axis=1)
    near = np.maximum(ACTIVE * lengths, FEASIBLE)
    is_at_lower, is_at_upper = values - lower <= near, upper - values <= near
    kept = (is_at_lower | is_at_upper) & (lengths > 0.0) & np.isfinite(lengths)
    gaps = np.minimum(np.abs(values - lower), np.abs(upper - values))[kept] / lengths[kept]
    return _Active(normals[kept] / lengths[kept, None], gaps, is_at_lower[kept], is_at_upper[kept])
