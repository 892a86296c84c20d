"""Lagrange multipliers at a point, and the directions that active constraints leave.

At a minimum of f under l <= c(x) <= u the gradient is balanced by the normals of what is active,

    f'(x) + J^T lambda = 0,     lambda_i >= 0 at an upper limit, <= 0 at a lower one, any sign for an equality,

with bounds on variables among the c. The multipliers here are those of least squares with these signs. What is left,
f'(x) + J^T lambda, is the steepest descent that the linearised constraints allow (Moreau's decomposition): it is zero
exactly at a Karush-Kuhn-Tucker point.

References:
    Nocedal, Wright (2006), Numerical Optimization, chapter 12, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize

from fieldfit.typing import Matrix, Vector

NEAR = 1e-6
"""Distance from a limit, relative to the larger of 1 and the largest variable, below which a constraint may be
active."""

MARGIN = 0.01
"""Of the way between two limits that are near to each other, and of `NEAR`: farther inside than both of these a row is
at neither limit."""

NEGLIGIBLE = 1e-9
"""Part of the gradient below which a multiplier counts as zero."""

CONFLICT = 1e-3
"""Length of the sum of weighted unit normals below which they balance, and weight above which one is part of it."""

SUM_WEIGHT = 10.0
"""How strictly the weights of violated constraints have to add up to one."""

DEPENDENT = 1e-10
"""Singular values below this fraction of the largest belong to normals that depend on others."""

MOST_TURNS = 30
"""Turns of the active set per normal; a few are enough."""


@dataclass(frozen=True, eq=False)
class Multipliers:
    """What balances a gradient.

    Args:
        rows: One multiplier per row of the constraints, shape (m,).
        lower: One per variable for its lower bound, not positive, shape (n,).
        upper: One per variable for its upper bound, not negative, shape (n,).
        remainder: What is left of the gradient, shape (n,).
        tangent: Orthonormal directions in which all constraints that carry a multiplier stay as they are, shape (n, k).
    """

    rows: Vector
    lower: Vector
    upper: Vector
    remainder: Vector
    tangent: Matrix


@dataclass(frozen=True, eq=False)
class Limits:
    """Constraints at a point.

    Args:
        values: c(x), shape (m,).
        jacobian: Their derivatives, shape (m, n).
        lower: Smallest values, shape (m,).
        upper: Largest values, shape (m,).
    """

    values: Vector
    jacobian: Matrix
    lower: Vector
    upper: Vector


def find_multipliers(
    x: Vector, gradient: Vector, limits: Limits, *, bounds: tuple[Vector, Vector], near: float = NEAR
) -> Multipliers:
    """Return the multipliers that balance a gradient best.

    Args:
        x: Point, shape (n,).
        gradient: Of the cost, shape (n,).
        limits: The constraints there.
        bounds: Lower and upper bounds on x, each of shape (n,).
        near: Distance from a limit, relative to the larger of 1 and the largest variable, below which a constraint may
            be active.
    """
    normals, signs, places = _candidates(x, limits, bounds, near)
    n_rows = limits.values.size
    every = np.zeros(n_rows + 2 * x.size)
    remainder = gradient.copy()
    is_strong = np.zeros(len(places), dtype=bool)
    if len(places):
        lengths = np.linalg.norm(normals, axis=1)
        unit = _unit_rows(normals)
        size = max(float(np.linalg.norm(gradient)), np.finfo(float).tiny)
        scaled = _signed_weights(unit, signs, -gradient / size)
        is_strong = (signs == 0) | (np.abs(scaled) > NEGLIGIBLE)
        remainder = gradient + size * (unit.T @ scaled)
        every[places] = size * scaled / np.where(lengths > 0.0, lengths, 1.0)
    tangent = _null_space(normals[is_strong], x.size)
    rows, lower, upper = np.split(every, [n_rows, n_rows + x.size])
    return Multipliers(rows, lower, upper, remainder, tangent)


def find_conflict(
    x: Vector, limits: Limits, *, bounds: tuple[Vector, Vector], is_violated: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return which constraints cannot all hold near a point, to first order; None if a step would bring them closer.

    There is no such step if normals of violated constraints, pointing outwards with positive weights, are balanced by
    those of active ones (the alternative of Farkas).

    Args:
        x: Point, shape (n,).
        limits: The constraints there.
        bounds: Lower and upper bounds on x, each of shape (n,).
        is_violated: Which rows do not hold, shape (m,).

    Returns:
        Rows in conflict, by index, and variables whose bounds are part of it.
    """
    held = Limits(limits.values[~is_violated], limits.jacobian[~is_violated], *_parts(limits, ~is_violated))
    normals, signs, places = _candidates(x, held, bounds, NEAR)
    side = np.where(limits.values > limits.upper, 1.0, -1.0)[is_violated]
    outward = side[:, None] * limits.jacobian[is_violated]
    every = np.concatenate([_unit_rows(outward), _unit_rows(normals)])
    every_sign = np.concatenate([np.ones(len(outward)), signs])
    total = np.where(np.arange(len(every)) < len(outward), SUM_WEIGHT, 0.0)
    wanted = np.append(np.zeros(x.size), SUM_WEIGHT)
    weights = _signed_weights(np.column_stack([every, total]), every_sign, wanted)
    if float(np.linalg.norm(every.T @ weights)) > CONFLICT:
        return None
    is_part = np.abs(weights) > CONFLICT
    own = np.flatnonzero(is_violated)[is_part[: len(outward)]]
    others = places[is_part[len(outward) :]]
    n_held = held.values.size
    rows = np.concatenate([own, np.flatnonzero(~is_violated)[others[others < n_held]]])
    return np.sort(rows), np.unique((others[others >= n_held] - n_held) % x.size)


def _signed_weights(normals: Matrix, signs: np.ndarray, wanted: Vector) -> Vector:
    """Return weights w of given signs (0: any) that bring normals^T w nearest to a vector, shape (k,).

    Normals of any sign are projected out by their singular vectors, the others are left to Lawson and Hanson: both stay
    finite where normals depend on each other, which a general solver's least squares do not.
    """
    is_open = signs == 0
    U, S, Vt = np.linalg.svd(normals[is_open].T, full_matrices=False)
    is_felt = DEPENDENT * np.max(S, initial=0.0) < S
    U, S, Vt = U[:, is_felt], S[is_felt], Vt[is_felt]
    signed = (signs[:, None] * normals)[~is_open].T
    rest = signed - U @ (U.T @ signed)
    has_own_part = np.linalg.norm(rest, axis=0) > DEPENDENT
    found = np.zeros(signed.shape[1])
    if np.any(has_own_part):
        maxiter = MOST_TURNS * has_own_part.size
        found[has_own_part] = scipy.optimize.nnls(rest[:, has_own_part], wanted - U @ (U.T @ wanted), maxiter=maxiter)[
            0
        ]
    weights = np.zeros(signs.size)
    weights[~is_open] = signs[~is_open] * found
    weights[is_open] = Vt.T @ ((U.T @ (wanted - signed @ found)) / S)
    return weights


def _parts(limits: Limits, chosen: np.ndarray) -> tuple[Vector, Vector]:
    return limits.lower[chosen], limits.upper[chosen]


def _unit_rows(rows: Matrix) -> Matrix:
    lengths = np.linalg.norm(rows, axis=1)
    return rows / np.where(lengths > 0.0, lengths, 1.0)[:, None]


def _candidates(
    x: Vector, limits: Limits, bounds: tuple[Vector, Vector], near: float
) -> tuple[Matrix, np.ndarray, np.ndarray]:
    """Return normals of what may be active, the sign of each multiplier (0: any), and its place among all."""
    n_rows, size = limits.values.size, x.size
    reach = near * max(1.0, float(np.max(np.abs(x), initial=0.0)))
    way = reach * np.linalg.norm(limits.jacobian, axis=1)
    way = np.minimum(way, MARGIN * np.maximum(way, limits.upper - limits.lower))
    at_upper = limits.upper - limits.values <= way
    at_lower = limits.values - limits.lower <= way
    is_equal = limits.lower == limits.upper
    # Between two limits that are both this near either may hold the row.
    row_signs = np.where(at_upper & at_lower, 0, np.where(at_upper, 1, -1))
    chosen = np.flatnonzero(is_equal | at_upper | at_lower)
    identity = np.eye(size)
    low, high = np.flatnonzero(x - bounds[0] <= reach), np.flatnonzero(bounds[1] - x <= reach)
    normals = np.concatenate([limits.jacobian[chosen], identity[low], identity[high]])
    signs = np.concatenate([row_signs[chosen], np.full(low.size, -1), np.full(high.size, 1)])
    places = np.concatenate([chosen, n_rows + low, n_rows + size + high])
    return normals, signs, places.astype(int)


def _null_space(normals: Matrix, size: int) -> Matrix:
    lengths = np.linalg.norm(normals, axis=1)
    felt = normals[lengths > 0.0] / lengths[lengths > 0.0, None]
    return np.eye(size) if felt.size == 0 else scipy.linalg.null_space(felt, rcond=DEPENDENT)
