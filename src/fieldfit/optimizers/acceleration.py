"""A second-order correction of least-squares steps that costs no evaluation.

Problem
-------
A Gauss-Newton model knows the tangent of f and not its curvature, so in a curved valley its steps run up the walls and
the trust region shrinks. The last trial, accepted or rejected, has measured that curvature along one direction.

Model
-----
Let d0 lead from the current point x to the other end of the last trial, and let w = D^2 d0 / ||D d0||^2 measure how far
a step goes along it, in units of d0 and in the metric of the scales D. Then

    f(x + d) = f + J d + 0.5 a (w.d)^2,   a = 2 (f(x + d0) - f - J d0)

reproduces f at both ends: a tensor model with one term (Bouaricha, Schnabel 1997). A step p of the quadratic model with
Levenberg-Marquardt parameter alpha is followed by the correction of second order in its length,

    c = -0.5 (A^T A + alpha I)^-1 J_h^T a (w.p)^2,   ||c|| <= 0.5 ||p||,

which is the geodesic acceleration of Transtrum and Sethna with f'' taken from the last trial rather than from one more
evaluation. Of p and p + c, cut to the radius, the one with the smaller ||f(x + d)|| under the model is tried.

On the problems of `benchmarks/least_squares.py` this lowers the evaluations from 1287 to 744 without bounds, and from
409 to 369 with them. Limits between 0.25 and 3, and curvatures from differences of Jacobians or from cubic
interpolation, stay within a few percent of that.

References:
    Bouaricha, Schnabel (1997), TENSOLVE, doi:10.1145/264029.264032.
    Transtrum, Sethna (2012), Improvements to the Levenberg-Marquardt algorithm, arXiv:1201.5885.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fieldfit.optimizers.exact_steps import cut, norm
from fieldfit.optimizers.trust_region import LocalModel
from fieldfit.typing import Matrix, Vector

LARGEST_CORRECTION = 0.5
"""Of ||c|| relative to ||p||: beyond it a second-order series in the step says little."""


@dataclass(frozen=True, eq=False)
class Curvature:
    """Second derivative of the residuals along one direction.

    Args:
        w: Linear form that measures a step along the direction, shape (n,).
        a: Second derivative along it, shape (m,).
    """

    w: Vector
    a: Float[np.ndarray, " m"]


def measure_curvature(
    f: Float[np.ndarray, " m"], J: Matrix, d0: Vector, f_other: Float[np.ndarray, " m"], D: Vector
) -> Curvature | None:
    """Return the curvature that makes the model around x reproduce the residuals at x + d0.

    Args:
        f: Residuals at x, shape (m,).
        J: Jacobian at x, shape (m, n).
        d0: Way to the other point, shape (n,).
        f_other: Residuals there, shape (m,).
        D: Lengths by which variables are measured, shape (n,).

    Returns:
        The curvature, or None if the other point is the same or its residuals are not finite.
    """
    scaled = D * d0
    square = float(scaled @ scaled)
    if square == 0.0 or not np.isfinite(f_other).all():
        return None
    return Curvature(D * scaled / square, 2.0 * (f_other - f - J @ d0))


def accelerate(
    model: LocalModel, curvature: Curvature, p_h: Vector, *, solve: Callable[[Vector], Vector], Delta: float
) -> tuple[Vector, float] | None:
    """Return the better of a step and the corrected step, with the reduction that the tensor model promises.

    Args:
        model: Quadratic model around the current point.
        curvature: Of the last trial.
        p_h: Step of the quadratic model, shape (n,).
        solve: Multiplies by (A^T A + alpha I)^-1, with the alpha of the step.
        Delta: Radius.

    Returns:
        Step and promised reduction; None if the tensor model promises none.
    """
    along = float((model.d * curvature.w) @ p_h)
    c = -0.5 * along**2 * solve(model.J_h.T @ curvature.a)
    corrected = cut(p_h + cut(c, LARGEST_CORRECTION * norm(p_h)), Delta)
    plain_value = _value(model, curvature, p_h)
    value = _value(model, curvature, corrected) if model.is_inside(corrected) else np.inf
    step, value = (corrected, value) if value < plain_value else (p_h, plain_value)
    return (step, -value) if value < 0.0 else None


def _value(model: LocalModel, curvature: Curvature, p_h: Vector) -> float:
    """Return what the tensor model expects F to change by, with the term of the bounds."""
    change = model.J_h @ p_h + 0.5 * float((model.d * curvature.w) @ p_h) ** 2 * curvature.a
    # Written in the change: subtracting two costs would lose all digits near the solution.
    return float(model.f @ change + 0.5 * (change @ change) + 0.5 * (model.C * p_h) @ p_h)
