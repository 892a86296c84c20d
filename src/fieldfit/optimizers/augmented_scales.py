"""Scales of an augmented Lagrangian: size of the variables, slopes of constraints, curvature of the objective.

None of them depends on units: a constraint or an objective times a number has a slope or a curvature that many times
as large.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.optimize

from fieldfit.errors import EvaluationError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.augmented_problem import limits_of, linearization
from fieldfit.optimizers.exact_steps import norm
from fieldfit.problem import Recorder
from fieldfit.typing import Vector

MANY = 200
"""Variables above which second derivatives cost too much."""

NARROW = 1e-2
"""Of the size of the variables: limits nearer to each other than this leave hardly any room to move between them."""


def has_second(problem: Recorder) -> bool:
    """Whether second derivatives can be had at a reasonable price."""
    return problem.has_derivatives and problem.x0.size <= MANY


def size_of(x: Vector) -> float:
    """Return the size of a point: its largest element, at least 1."""
    return max(1.0, float(np.max(np.abs(x), initial=0.0)))


def row_units(problem: Recorder, x: Vector, found: Evaluation) -> Vector:
    """Return the slopes by which constraints are measured, positive, shape (m,)."""
    values, J = linearization(found)
    slopes = np.sqrt(np.einsum("ij,ij->i", J, J))
    limits = limits_of(problem)
    ways = np.minimum(np.abs(values - limits.lower), np.abs(values - limits.upper)) / size_of(x)
    units = np.where(slopes > 0.0, slopes, np.where(np.isfinite(ways), ways, 0.0))
    return np.where(units > 0.0, units, 1.0)


def aims(problem: Recorder, x: Vector, rows: Vector) -> tuple[Vector, Vector]:
    """Return the limits that the first turn gets, shape (m,) each: one value in the middle of those that are narrow.

    Between two limits a constraint says nothing, so a step that ignores it leaves a narrow range at once. A run would
    creep along inside, or stop where it is; aimed at the middle it comes near the solution in steps of any length.

    Args:
        problem: The constrained problem.
        x: Start, shape (n,).
        rows: Units of the constraints, shape (m,).
    """
    limits = limits_of(problem)
    width = limits.upper - limits.lower
    is_narrow = (width > 0.0) & (width <= NARROW * rows * size_of(x))
    middle = np.where(is_narrow, 0.5 * (np.where(is_narrow, limits.lower, 0.0) + limits.upper), 0.0)
    return np.where(is_narrow, middle, limits.lower), np.where(is_narrow, middle, limits.upper)


def curvature_of(problem: Recorder, x: Vector, found: Evaluation) -> float:
    """Return the largest curvature of the objective along a variable, or what its slope suggests if that is more."""
    slope = 0.0 if found.gradient is None else norm(found.gradient) / size_of(x)
    return max(_largest_second(problem, x, found), slope) or 1.0


def _largest_second(problem: Recorder, x: Vector, found: Evaluation) -> float:
    if found.jacobian is not None:
        return float(np.max(np.einsum("ij,ij->j", found.jacobian, found.jacobian)))
    if not has_second(problem):
        return 0.0
    try:
        largest = float(np.max(np.abs(np.diag(problem.hessian(x, found.state)))))
    except EvaluationError:
        return 0.0
    return largest if math.isfinite(largest) else 0.0


def removable_violation(problem: Recorder, x: Vector, found: Evaluation, rows: Vector) -> float:
    """Return which part of the violation a step no longer than the variables themselves would take off, linearized.

    Only violated constraints count, so the part is rather too large than too small.
    """
    values, J = linearization(found)
    limits = limits_of(problem)
    violation = (values - np.clip(values, limits.lower, limits.upper)) / rows
    is_violated = violation != 0.0
    can_move = problem.lower < problem.upper
    slopes, violation = (J / rows[:, None])[is_violated][:, can_move], violation[is_violated]
    if slopes.size == 0:
        return 0.0
    reach = np.maximum(1.0, np.abs(x[can_move]))
    lower, upper = (
        np.maximum(problem.lower[can_move] - x[can_move], -reach),
        np.minimum(problem.upper[can_move] - x[can_move], reach),
    )
    left = scipy.optimize.lsq_linear(slopes, -violation, bounds=(lower, upper)).fun
    return 1.0 - norm(left) / norm(violation)
