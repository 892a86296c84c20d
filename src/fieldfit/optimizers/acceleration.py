"""A second-order correction of least-squares steps that costs no evaluation, or a cheap one.

Problem
-------
A Gauss-Newton model knows the tangent of f and not its curvature, so in a curved valley its steps run up the walls and
the trust region shrinks. The last trial, accepted or rejected, has measured that curvature along one direction.

Model
-----
Let d0 lead from the current point x to the other end of the last trial, and let w = D^2 d0 / ||D d0||^2 measure how far
a step goes along it, in units of d0 and in the metric of the scales D. Then

    f(x + d) = f + J d + 0.5 a (w.d)^2,   a = 2 (f(x + d0) - f - J d0)

reproduces f at both ends: a tensor model with one term (Bouaricha, Schnabel 1997). A step p of the quadratic model,
with the matrix H = A^T A + C + alpha I, gets two rivals:

    the corrected step  p + c,  c = -0.5 H^-1 J_h^T a (w.p)^2,  ||c|| <= 0.5 ||p||
    the bent step       p - kappa (w.p) H^-1 w / (1 + kappa w.H^-1 w),  kappa = f.a

The first is the geodesic acceleration of Transtrum and Sethna with f'' taken from the last trial rather than from one
more evaluation. It goes along a curved valley. The second minimises the model with the part kappa w w^T of f.f'', which
Gauss-Newton leaves out (Dennis, Gay, Welsch 1981, keep a whole matrix of it): where residuals stay, plain steps end
in a linear approach at a rate that f.f'' sets. It is believed only in that last phase, where a full step promises less
than a quarter of the cost. Of the three, cut to the radius, the one with the smallest ||f(x + d)|| under the tensor
model is tried.

Evaluations on the problems of `benchmarks/least_squares.py`, with ftol = 1e-8 and with 1e-12:

                        unbounded        bounded
    plain steps         877   1018      470   519
    and corrected       707    844      366   659
    and bent            698    815      323   371

The bent step believed everywhere takes 1136 and 331: far from the minimum f.a is not the second derivative there.

Where curvature comes from
--------------------------
The last trial went another way than the next step will, unless a valley is straight. One more evaluation, without
derivatives, a tenth of the way along a step measures the curvature that this step will meet. That is worth it where
derivatives cost much more than residuals: an equilibrium of 108 coefficients takes 65 turns instead of 139
(DSHAPE 12 of `benchmarks/equilibrium.py --study`). Where an evaluation costs the same with derivatives, it is not:
1125 and 437 evaluations instead of 698 and 323. "auto" decides by the number of variables.

References:
    Bouaricha, Schnabel (1997), TENSOLVE, doi:10.1145/264029.264032.
    Dennis, Gay, Welsch (1981), An adaptive nonlinear least-squares algorithm, doi:10.1145/355958.355965.
    Transtrum, Sethna (2012), Improvements to the Levenberg-Marquardt algorithm, arXiv:1201.5885.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fieldfit.errors import SettingsError
from fieldfit.optimizers.exact_steps import cut, norm
from fieldfit.optimizers.trust_region import LocalModel
from fieldfit.problem import Recorder
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

LARGEST_CORRECTION = 0.5
"""Of ||c|| relative to ||p||: beyond it a second-order series in the step says little."""

LOOK_AHEAD = 0.1
"""Part of a step after which "ahead" evaluates, as Transtrum and Sethna propose."""

MANY_VARIABLES = 20
"""From here, a Jacobian by algorithmic differentiation costs so many residuals that one more hardly counts."""

ACCELERATIONS = ("auto", "last", "ahead", "none")
"""Where curvature comes from."""

LOCAL_OFFSET = 0.5
"""Relative offset below which the bent step is believed."""


@dataclass(frozen=True, eq=False)
class Curvature:
    """Second derivative of the residuals along one direction.

    Args:
        w: Linear form that measures a step along the direction, shape (n,).
        a: Second derivative along it, shape (m,).
    """

    w: Vector
    a: Float[np.ndarray, " m"]


def check_acceleration(acceleration: str) -> None:
    """Refuse an acceleration that there is not.

    Raises:
        SettingsError: It is none of `ACCELERATIONS`.
    """
    if acceleration not in ACCELERATIONS:
        raise SettingsError(unknown_name("acceleration", acceleration, ACCELERATIONS))


def looks_ahead(acceleration: str, problem: Recorder) -> bool:
    """Whether curvature comes from an evaluation on the way of a step.

    Args:
        acceleration: One of `ACCELERATIONS`.
        problem: What is evaluated. Where JAX traces it, or differences are taken, the price of a Jacobian grows with
            the number of variables.
    """
    if acceleration != "auto":
        return acceleration == "ahead"
    return problem.x0.size >= MANY_VARIABLES and (problem.is_traceable or not problem.has_derivatives)


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
    scaled, a = D * d0, f_other - f - J.dot(d0)
    square = float(scaled.dot(scaled))
    # One number tells whether all are finite: squares do not cancel.
    if square == 0.0 or not math.isfinite(a.dot(a)):
        return None
    return Curvature(D * scaled / square, 2.0 * a)


def accelerate(
    model: LocalModel, curvature: Curvature, p_h: Vector, *, solve: Callable[[Vector], Vector], Delta: float
) -> tuple[Vector, float] | None:
    """Return the best of a step and its rivals, with the reduction that the tensor model promises.

    Args:
        model: Quadratic model around the current point.
        curvature: Of the last trial.
        p_h: Step of the quadratic model, shape (n,).
        solve: Multiplies by H^-1, with the alpha of the step.
        Delta: Radius.

    Returns:
        Step and promised reduction; None if the tensor model promises none.
    """
    w_h, a = model.d * curvature.w, curvature.a
    along = float(w_h.dot(p_h))
    c = solve(model.J_h.T.dot(a)) * (-0.5 * along**2)
    rivals = [p_h + cut(c, LARGEST_CORRECTION * norm(p_h))]
    if model.offset < LOCAL_OFFSET:
        rivals += _bent(p_h, w_h, along, solve(w_h), kappa=float(model.f.dot(a)))
    best, best_value = p_h, _value(model, p_h, (0.5 * along**2) * a)
    for rival in rivals:
        step = cut(rival, Delta)
        if model.is_inside(step):
            value = _value(model, step, (0.5 * float(w_h.dot(step)) ** 2) * a)
            best, best_value = (step, value) if value < best_value else (best, best_value)
    return (best, -best_value) if best_value < 0.0 else None


def _bent(p_h: Vector, w_h: Vector, along: float, H_w: Vector, *, kappa: float) -> list[Vector]:
    """Return the minimiser of the model with kappa w w^T (Sherman, Morrison); none where that is not convex."""
    stiffness = 1.0 + kappa * float(w_h.dot(H_w))
    return [p_h - H_w * (kappa * along / stiffness)] if stiffness > 0.0 else []


def _value(model: LocalModel, p_h: Vector, second_order: Float[np.ndarray, " m"]) -> float:
    """Return what the tensor model expects F to change by, with the term of the bounds."""
    change = model.J_h.dot(p_h) + second_order
    # Written in the change: subtracting two costs would lose all digits near the solution.
    return float(model.f.dot(change)) + 0.5 * float(change.dot(change)) + model.bound_term(p_h, p_h)
