"""First-order optimality, measured independently of any solver's stopping test."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from fieldfit.typing import Matrix, Vector


def projected_gradient(x: Vector, gradient: Vector, lower: Vector, upper: Vector) -> Vector:
    """Return the part of the gradient along which x may still move: x - P(x - g).

    Args:
        x: Point inside the bounds, shape (n,).
        gradient: Gradient of the cost there, shape (n,).
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).

    Returns:
        Zero exactly where x is stationary, shape (n,).
    """
    return x - np.clip(x - gradient, lower, upper)


def free_variables(
    x: Vector, gradient: Vector, lower: Vector, upper: Vector, *, curvature: Vector | None = None
) -> np.ndarray:
    """Return which variables are not held by a bound.

    A variable is held if a Newton step in it alone would go far beyond a bound: the way to the bound is less than a
    hundredth of the step. Near an interior minimum the step is short, however near a bound may be.

    Args:
        x: Point inside the bounds, shape (n,).
        gradient: Gradient of the cost there, shape (n,).
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).
        curvature: Second derivative of the cost in each variable, shape (n,); default: 1.

    Returns:
        True for variables that are free, shape (n,).
    """
    stiffness = np.ones_like(x) if curvature is None else np.where(curvature > 0.0, curvature, 1.0)
    reach = 0.01 * np.abs(gradient) / stiffness
    at_lower = (x - lower <= reach) & (gradient > 0.0)
    at_upper = (upper - x <= reach) & (gradient < 0.0)
    return ~(at_lower | at_upper)


def predicted_reduction(jacobian: Matrix, residuals: Vector, is_free: np.ndarray, *, reach: float) -> float:
    """Return how much a Gauss-Newton step in the free variables would lower the cost.

    For a well-conditioned Jacobian this is half the squared length of the residual's projection on its range: zero at a
    stationary point, and in the unit of the cost, so it needs no scaling of the variables. Along each singular
    direction of the Jacobian with unit columns, a step is believed up to `reach`: at a minimum where the Jacobian is
    nearly singular (Freudenstein and Roth's function has one) the linear model would promise the whole cost, for a step
    that leaves the region where it holds.

    Args:
        jacobian: Derivatives of the residuals, shape (m, n).
        residuals: Residuals, shape (m,).
        is_free: Which variables may move, shape (n,).
        reach: Longest step, with variables measured by the Jacobian's columns.

    Returns:
        Predicted reduction of half the sum of squares.
    """
    columns = jacobian[:, is_free]
    norms = np.linalg.norm(columns, axis=0)
    columns = columns[:, norms > 0.0] / norms[norms > 0.0]
    if columns.size == 0:
        return 0.0
    left, singular, _ = scipy.linalg.svd(columns, full_matrices=False)
    is_felt = singular > 1e-10 * singular[0]
    singular, projection = singular[is_felt], np.abs(left[:, is_felt].T @ residuals)
    step = np.minimum(projection / singular, reach)
    return float(np.sum(singular * step * (projection - 0.5 * singular * step)))


def gauss_newton_step(jacobian: Matrix, residuals: Vector, is_free: np.ndarray) -> Vector:
    """Return the shortest Gauss-Newton step in the free variables, measured by the Jacobian's columns, shape (n,).

    Args:
        jacobian: Derivatives of the residuals, shape (m, n).
        residuals: Residuals, shape (m,).
        is_free: Which variables may move, shape (n,).
    """
    lengths = np.linalg.norm(jacobian, axis=0)
    is_felt = is_free & (lengths > 0.0)
    step = np.zeros(lengths.size)
    if np.any(is_felt):
        columns = jacobian[:, is_felt] / lengths[is_felt]
        step[is_felt] = np.linalg.lstsq(columns, -residuals)[0] / lengths[is_felt]
    return step


def damped_steps(jacobian: Matrix, residuals: Vector, is_free: np.ndarray, dampings: tuple[float, ...]) -> list[Vector]:
    """Return Levenberg-Marquardt steps in the free variables, measured by the Jacobian's columns.

    Args:
        jacobian: Derivatives of the residuals, shape (m, n).
        residuals: Residuals, shape (m,).
        is_free: Which variables may move, shape (n,).
        dampings: Levenberg-Marquardt parameters relative to the largest squared singular value.

    Returns:
        One step per parameter, each of shape (n,).
    """
    lengths = np.linalg.norm(jacobian, axis=0)
    is_felt = is_free & (lengths > 0.0)
    if not np.any(is_felt):
        return [np.zeros(lengths.size) for _ in dampings]
    left, singular, right = scipy.linalg.svd(jacobian[:, is_felt] / lengths[is_felt], full_matrices=False)
    steps = []
    for damping in dampings:
        step = np.zeros(lengths.size)
        factors = singular / (singular**2 + damping * singular[0] ** 2)
        step[is_felt] = -(right.T @ (factors * (left.T @ residuals))) / lengths[is_felt]
        steps.append(step)
    return steps


def relative_length(step: Vector, x: Vector, jacobian: Matrix) -> float:
    """Return ||D p|| / ||D x|| with D the lengths of the Jacobian's columns.

    Args:
        step: The step p, shape (n,).
        x: Point, shape (n,).
        jacobian: Derivatives of the residuals, shape (m, n).

    Returns:
        The ratio; infinite if x is zero and the step is not.
    """
    lengths = np.linalg.norm(jacobian, axis=0)
    size, length = float(np.linalg.norm(lengths * x)), float(np.linalg.norm(lengths * step))
    return length / size if size > 0.0 else np.inf if length > 0.0 else 0.0
