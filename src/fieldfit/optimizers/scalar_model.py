"""The quadratic model of a scalar function in scaled variables, with bounds.

Problem
-------
At a point x with gradient g and Hessian H, which need not be positive definite, a step is the minimiser of a quadratic
model of F in a ball of radius Delta that stays inside lb <= x <= ub.

Scaling
-------
D_j = sqrt(|H_jj|): a step p_j in one variable changes F, but for its slope, by 0.5 (D_j p_j)^2, so that D p has the
unit of sqrt(F) whatever those of x. D is computed anew at each accepted point and may shrink again, to a tenth at a
time (`KEPT_LENGTH`), because a diagonal element that passes through zero does so by accident; that is the metric
"fading" of the module `metric`, and there are others. At a start with
H_jj = 0 it is sqrt(|g_j| / s_j), and the largest of the others if that is zero too. Here s_j = max(1, |x_j|), the size
of a variable.

Bounds (Coleman, Li 1996) are met by a second scaling, as in the module `trust_region`:

    v_j = (ub_j - x_j) D_j / ||D^-1 g||,  v'_j = -1 / ||D^-1 g||    if g_j < 0 and ub_j is finite
    v_j = (x_j - lb_j) D_j / ||D^-1 g||,  v'_j = +1 / ||D^-1 g||    if g_j > 0 and lb_j is finite
    v_j = 1,                              v'_j =  0                 otherwise

In the variables x_h = x / d with d = sqrt(v) / D the model is

    q(p_h) = g_h^T p_h + 0.5 p_h^T B p_h,   g_h = d g,  B = diag(d) H diag(d) + diag(g v' / D)

which the module `indefinite_steps` minimises in the ball. A step that leaves the bounds is replaced by the best, under
q, of: the step up to the bound, the step reflected there, and the minimiser along -g_h; each stays strictly inside.

References:
    Coleman, Li (1996), An interior trust region approach for nonlinear minimization subject to bounds,
        doi:10.1137/0806023.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fieldfit.optimizers.exact_steps import EPS, norm
from fieldfit.optimizers.indefinite_steps import Spectrum, decompose, way_to_edge
from fieldfit.optimizers.trust_region import Bounds, coleman_li, strictly_inside, way_to_bound
from fieldfit.typing import Matrix, Vector

KEPT_LENGTH = 0.1
"""Least fraction of D that the metric "fading" keeps from one accepted point to the next."""


@dataclass(frozen=True, eq=False)
class ScalarModel:
    """The quadratic model q around a point, in the variables x_h = x / d.

    Args:
        x: The point, inside the bounds, shape (n,).
        g: Gradient there, shape (n,).
        bounds: Lower and upper bounds.
        D: Scaling without regard to bounds, shape (n,).
        d: Scaling of the variables, shape (n,); 0 for one that cannot move.
        g_h: d g, shape (n,).
        B: Second derivatives of q, shape (n, n).
        spectrum: Of q.
        size: ||D s||.
    """

    x: Vector
    g: Vector
    bounds: Bounds
    D: Vector
    d: Vector
    g_h: Vector
    B: Matrix
    spectrum: Spectrum
    size: float

    @property
    def decrement(self) -> float:
        """Newton decrement: sqrt(2 dF) with dF what Newton's step takes off the model.

        Downward curvature counts as upward, and no part of the step is longer than ||D s||.
        """
        stiffness, slope = np.abs(self.spectrum.values), np.abs(self.spectrum.along)
        full = np.divide(slope, stiffness, out=np.full_like(slope, self.size), where=stiffness > 0.0)
        step = np.minimum(full, self.size)
        return math.sqrt(2.0 * float(np.sum(slope * step - 0.5 * stiffness * step**2)))

    def value(self, p_h: Vector) -> float:
        """Return q(p_h)."""
        return float(self.g_h @ p_h) + 0.5 * float(p_h @ (self.B @ p_h))

    def is_inside(self, p_h: Vector) -> bool:
        """Whether a step stays inside the bounds."""
        if self.bounds is None:
            return True
        x = self.x + self.d * p_h
        return bool(((x >= self.bounds[0]) & (x <= self.bounds[1])).all())


def scalar_model(x: Vector, g: Vector, H: Matrix, D: Vector, bounds: Bounds) -> ScalarModel:
    """Build the model around a point.

    Args:
        x: Point inside the bounds, shape (n,).
        g: Gradient, shape (n,).
        H: Hessian, shape (n, n).
        D: Scaling of the variables, positive, shape (n,).
        bounds: Lower and upper bounds.
    """
    size = norm(D * np.maximum(1.0, np.abs(x)))
    d, C = 1.0 / D, np.zeros_like(x)
    if bounds is not None:
        # Where the gradient vanishes, bounds are infinitely far away; rounding of it sets a limit.
        v, dv = coleman_li(x, g, D, bounds, size=max(norm(g / D), EPS * size))
        d, C = np.sqrt(v) / D, g * dv / D
    # A variable on its bound has an empty row; any diagonal keeps its step at zero.
    C = np.where((d == 0.0) & (C == 0.0), 1.0, C)
    B = d[:, None] * H * d + np.diag(C)
    return ScalarModel(x, g, bounds, D, d, d * g, B, decompose(B, d * g, size=size), size)


def first_scale(x: Vector, g: Vector, H: Matrix) -> Vector:
    """Return D by the derivatives at the start, positive, shape (n,)."""
    squares = np.abs(np.diag(H))
    squares = np.where(squares > 0.0, squares, np.abs(g) / np.maximum(1.0, np.abs(x)))
    D = np.sqrt(squares)
    return np.where(D > 0.0, D, D.max() or 1.0)


def scale(H: Matrix) -> Vector:
    """Return D by the second derivatives at a point, at least 0, shape (n,)."""
    return np.sqrt(np.abs(np.diag(H)))


def select_step(model: ScalarModel, p_h: Vector, Delta: float) -> Vector:
    """Keep a step inside the bounds: cut it, reflect it or take the gradient's direction, whichever the model prefers.

    Args:
        model: The model around the current point.
        p_h: Step inside the ball, shape (n,).
        Delta: Radius.

    Returns:
        The chosen step in the variables of the model, shape (n,).
    """
    if model.bounds is None or model.is_inside(p_h):
        return p_h
    # Going a little less than all the way keeps iterates inside; near the solution nearly all of it is wanted.
    theta = max(0.995, 1.0 - model.decrement / model.size)
    way, hits = way_to_bound(model.x, model.d * p_h, model.bounds)
    candidates = [_best_along(model, np.zeros_like(p_h), p_h, (0.0, theta * way))]
    length = norm(model.g_h)
    if length > 0.0:
        to_bound, _ = way_to_bound(model.x, -model.d * model.g_h, model.bounds)
        reach = min(theta * to_bound, Delta / length)
        candidates.append(_best_along(model, np.zeros_like(p_h), -model.g_h, (0.0, reach)))
    reflected = _reflected_step(model, way * p_h, np.where(hits, -p_h, p_h), Delta, theta=theta)
    if reflected is not None:
        candidates.append(reflected)
    return min(candidates, key=model.value)


def _reflected_step(
    model: ScalarModel, to_bound_h: Vector, direction: Vector, Delta: float, *, theta: float
) -> Vector | None:
    """Go to the bound, then on in the mirrored direction to the best point; None if there is no way to go."""
    on_bound = strictly_inside(model.x + model.d * to_bound_h, model.bounds)
    way, _ = way_to_bound(on_bound, model.d * direction, model.bounds)
    to_edge = way_to_edge(to_bound_h, direction, Delta)
    reach = min(way, to_edge)
    if not reach > 0.0:
        return None
    first = norm(to_bound_h) / norm(direction)
    interval = ((1.0 - theta) * first / reach, theta * way if way <= to_edge else to_edge)
    if interval[0] > interval[1]:
        return None
    return _best_along(model, to_bound_h, direction, interval)


def _best_along(model: ScalarModel, p: Vector, direction: Vector, interval: tuple[float, float]) -> Vector:
    """Return the minimiser of the model on p + t direction, t in an interval."""
    image = model.B @ direction
    curvature, slope = float(direction @ image), float(p @ image + model.g_h @ direction)
    if curvature > 0.0:
        t = min(max(-slope / curvature, interval[0]), interval[1])
    else:
        t = min(interval, key=lambda end: end * (slope + 0.5 * end * curvature))
    return p + t * direction
