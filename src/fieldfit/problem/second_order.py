"""Whether a stationary point under constraints is one that a feasible step leaves downwards: a saddle or a maximum.

First order says nothing there: x + y is as stationary at the highest point of a circle as at the lowest. The second
derivatives of the Lagrangian along the directions that active constraints leave must have no negative eigenvalue along
which a step is allowed.
"""

from __future__ import annotations

import numpy as np

from fieldfit.diagnostics import Limits
from fieldfit.errors import EvaluationError
from fieldfit.problem.interface import AbstractVectorProblem
from fieldfit.problem.tangent import TangentProblem
from fieldfit.typing import Matrix, Vector

MOST = 50
"""Directions up to which second derivatives are differenced for this."""

DOWNWARDS = 1e-4
"""A negative eigenvalue counts from this part of the largest; differences of gradients have noise of 1e-6."""

NEAR = 1e-6
"""Distance from a limit, relative to the size of the point, within which it blocks a step towards it."""


def downward_curvature(tangent: TangentProblem, limits: Limits) -> tuple[float, int]:
    """Return the lowest eigenvalue relative to the largest if a step along it is allowed, else 0, and evaluations made.

    Args:
        tangent: The Lagrangian along the directions that are left.
        limits: The constraints at the point.
    """
    size = tangent.center.size
    if size > MOST or not tangent.has_derivatives or tangent.is_noisy:
        return 0.0, 0
    try:
        values, vectors = np.linalg.eigh(_hessian(tangent))
    except EvaluationError:
        return 0.0, size
    largest = float(np.max(np.abs(values)))
    if values[0] >= -DOWNWARDS * largest:
        return 0.0, size
    way = tangent.basis @ vectors[:, 0]
    is_allowed = any(_is_allowed(tangent.problem, tangent.point, sign * way, limits) for sign in (1.0, -1.0))
    return float(values[0]) / largest if is_allowed else 0.0, size


def _hessian(tangent: TangentProblem) -> Matrix:
    """Return second derivatives by one-sided differences of gradients, shape (k, k): good to six digits, four matter.

    Raises:
        EvaluationError: A gradient it needs cannot be computed.
    """
    state, center = tangent.initial_state(), tangent.center
    step, columns = tangent.hessian_step(center), []
    for direction in np.eye(center.size):
        ahead, behind = (min(step, tangent.room(center, sign * direction)) for sign in (1.0, -1.0))
        taken = ahead if ahead >= behind else -behind
        nearby = tangent.gradient(center + taken * direction, state) if taken else tangent.slope
        columns.append((nearby - tangent.slope) / (taken or 1.0))
    found = np.stack(columns)
    return 0.5 * (found + found.T)


def _is_allowed(problem: AbstractVectorProblem, x: Vector, way: Vector, limits: Limits) -> bool:
    """Whether no limit that is met blocks a step, to first order."""
    reach = NEAR * max(1.0, float(np.max(np.abs(x))))
    is_equal = limits.lower == limits.upper
    rows = limits.jacobian @ way
    lengths = np.linalg.norm(limits.jacobian, axis=1)
    pairs = (
        (rows, limits.values - limits.lower, limits.upper - limits.values, lengths, ~is_equal),
        (way, x - problem.lower, problem.upper - x, np.ones(x.size), np.ones(x.size, dtype=bool)),
    )
    for slope, above, below, length, counts in pairs:
        felt = 1e-6 * length
        blocked = ((slope > felt) & (below <= reach * length)) | ((slope < -felt) & (above <= reach * length))
        if np.any(blocked & counts):
            return False
    return True
