"""The parts of a bounded trust-region method for nonlinear least squares, as pure functions.

Problem
-------
Minimise F(x) = 0.5 ||f(x)||^2 subject to lb <= x <= ub. At a point x with residuals f, Jacobian J and gradient
g = J^T f, a step is the minimiser of a quadratic model of F in a ball of radius Delta.

Scaling
-------
D_j = ||J_:,j||, the largest so far, so that a move of one in D_j x_j changes the residuals by about one, whatever the
units of x_j.

Bounds (Coleman, Li 1996; Branch, Coleman, Li 1999) are met by a second scaling. A variable that the descent direction
drives towards a bound gets

    v_j = (ub_j - x_j) D_j / ||f||,  v'_j = -1 / ||f||    if g_j < 0 and ub_j is finite
    v_j = (x_j - lb_j) D_j / ||f||,  v'_j = +1 / ||f||    if g_j > 0 and lb_j is finite
    v_j = 1,                         v'_j =  0            otherwise

a number without a unit: the way to the bound, measured by what it could change of the residuals. First-order optimality
is v_j g_j = 0. In the variables x_h = x / d with d = sqrt(v) / D, a Newton step on that
equation is the minimiser of

    q(p_h) = 0.5 ||J_h p_h||^2 + 0.5 p_h^T C p_h + g_h^T p_h,   J_h = J diag(d),  g_h = d g,  C = diag(g v' / D) >= 0,

which the module `fieldfit.optimizers.exact_steps` minimises in the ball. A variable that nothing feels (D_j = 0) gets
d_j = 0 and stays. Where no variable has a bound, d = 1 / D, C = 0, and all about bounds is left out.

Steps
-----
A step that leaves the bounds is replaced by the best, under q, of: the step up to the bound, the step reflected
there, and the minimiser along -g_h; each stays strictly inside.

References:
    Branch, Coleman, Li (1999), SIAM J. Sci. Comput. 21, 1, doi:10.1137/S1064827595289108.
    Coleman, Li (1996), SIAM J. Optim. 6, 418, doi:10.1137/0806023.
    More (1978), The Levenberg-Marquardt algorithm: implementation and theory, doi:10.1007/BFb0067700.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from fieldfit.optimizers.exact_steps import AbstractFactors, factorize, norm
from fieldfit.typing import Matrix, Vector

Bounds: TypeAlias = tuple[Vector, Vector] | None
"""Lower and upper bounds, shape (n,) each; None where all are infinite."""


@dataclass(frozen=True, eq=False)
class LocalModel:
    """The quadratic model q around a point, in the variables x_h = x / d.

    Args:
        x: The point, inside the bounds, shape (n,).
        f: Residuals there, shape (m,).
        bounds: Lower and upper bounds.
        d: Scaling of the variables, shape (n,); 0 for one that cannot move.
        J_h: J diag(d), shape (m, n).
        g_h: d g, shape (n,).
        C: Diagonal of the term that the bounds add, shape (n,); None for zeros.
        factors: Of the model.
    """

    x: Vector
    f: Float[np.ndarray, " m"]
    bounds: Bounds
    d: Vector
    J_h: Matrix
    g_h: Vector
    C: Vector | None
    factors: AbstractFactors

    @property
    def offset(self) -> float:
        """Relative offset, between 0 and 1: square root of the fraction of F that a full step would take off.

        It is the sine of the angle by which f is not yet orthogonal to the tangent space (Bates, Watts 1981,
        doi:10.1080/00401706.1981.10486262), the same in any units of x and f.
        """
        squares = float(self.f.dot(self.f))
        return math.sqrt(2.0 * self.factors.gain / squares) if squares > 0.0 else 0.0

    def value(self, p_h: Vector) -> float:
        """Return q(p_h)."""
        J_p = self.J_h.dot(p_h)
        return 0.5 * float(J_p.dot(J_p)) + self.bound_term(p_h, p_h) + float(self.g_h.dot(p_h))

    def bound_term(self, p_h: Vector, r_h: Vector) -> float:
        """Return 0.5 p_h^T C r_h."""
        return 0.0 if self.C is None else 0.5 * float((self.C * p_h).dot(r_h))

    def is_inside(self, p_h: Vector) -> bool:
        """Whether a step stays inside the bounds."""
        if self.bounds is None:
            return True
        x = self.x + self.d * p_h
        return bool(((x >= self.bounds[0]) & (x <= self.bounds[1])).all())


def local_model(x: Vector, f: Float[np.ndarray, " m"], J: Matrix, D: Vector, bounds: Bounds, method: str) -> LocalModel:
    """Build the model around a point.

    Args:
        x: Point inside the bounds, shape (n,).
        f: Residuals, shape (m,).
        J: Jacobian, shape (m, n).
        D: Lengths by which variables are measured, at least 0, shape (n,).
        bounds: Lower and upper bounds.
        method: Factorization, see `factorize`.
    """
    g = J.T.dot(f)
    if bounds is None:
        d, C = _reciprocal(D), None
    else:
        v, dv = coleman_li(x, g, D, bounds, size=norm(f) or 1.0)
        reciprocal = _reciprocal(D)
        d, C = np.sqrt(v) * reciprocal, g * dv * reciprocal
        # A variable on its bound has an empty column; any diagonal keeps its step at zero.
        C = np.where((d == 0.0) & (C == 0.0), 1.0, C)
        C = C if C.any() else None
    J_h = J * d
    return LocalModel(x, f, bounds, d, J_h, d * g, C, factorize(J_h, f, C, method))


def _reciprocal(D: Vector) -> Vector:
    return 1.0 / D if D.all() else np.divide(1.0, D, out=np.zeros_like(D), where=D > 0.0)


def coleman_li(x: Vector, g: Vector, D: Vector, bounds: tuple[Vector, Vector], *, size: float) -> tuple[Vector, Vector]:
    """Return v and v' of the module docstring for size = ||f||, shape (n,) each; v = 0 where the bounds are equal."""
    lb, ub = bounds
    way = np.where(g < 0.0, ub - x, x - lb)
    is_scaled = np.isfinite(way) & ((g != 0.0) | (lb == ub))
    return np.where(is_scaled, way * (D / size), 1.0), np.where(is_scaled, np.sign(g) / size, 0.0)


def select_step(model: LocalModel, p_h: Vector, Delta: float) -> Vector:
    """Keep a step inside the bounds: cut it, reflect it or take the gradient's direction, whichever the model prefers.

    Args:
        model: The model around the current point.
        p_h: Exact step, shape (n,).
        Delta: Radius.

    Returns:
        The chosen step in the variables of the model, shape (n,).
    """
    if model.bounds is None or model.is_inside(p_h):
        return p_h
    # Going a little less than all the way keeps iterates inside; near the solution nearly all of it is wanted.
    theta = max(0.995, 1.0 - model.offset)
    way, hits = way_to_bound(model.x, model.d * p_h, model.bounds)
    candidates = [theta * way * p_h, _gradient_step(model, Delta, theta=theta)]
    reflected = _reflected_step(model, way * p_h, np.where(hits, -p_h, p_h), Delta, theta=theta)
    if reflected is not None:
        candidates.append(reflected)
    return min(candidates, key=model.value)


def way_to_bound(x: Vector, p: Vector, bounds: Bounds) -> tuple[float, np.ndarray]:
    """Return the largest t for which x + t p is inside the bounds, and which variables hit them there."""
    ways = np.full(x.size, np.inf)
    if bounds is None:
        return np.inf, ways == 0.0
    np.divide(np.where(p > 0.0, bounds[1], bounds[0]) - x, p, out=ways, where=p != 0.0)
    way = float(ways.min())
    return way, ways == way


NEAR_ZERO = 1e-150
"""Distance from a bound at 0 whose square does not underflow."""


def strictly_inside(x: Vector, bounds: Bounds) -> Vector:
    """Move what rounding put on or beyond a bound to the nearest number inside; beside 0 that is `NEAR_ZERO`."""
    if bounds is None:
        return x
    lb, ub = bounds
    if ((x > lb) & (x < ub)).all():
        return x
    # Beside a bound at 0 the nearest number is denormal, and products with it underflow.
    low = np.where(lb == 0.0, np.minimum(NEAR_ZERO, 0.5 * ub), np.nextafter(lb, ub))
    high = np.where(ub == 0.0, np.maximum(-NEAR_ZERO, 0.5 * lb), np.nextafter(ub, lb))
    return np.where(lb == ub, lb, np.clip(x, low, high))


class RadiusRule(NamedTuple):
    """How the radius follows the agreement between the model and the function.

    Args:
        shrink: Fraction of a step that went wrong which is left.
        agreement: Actual over predicted reduction from which the radius grows.
        growth: Factor by which it grows.
    """

    shrink: float
    agreement: float
    growth: float


USUAL = RadiusRule(0.25, 0.75, 2.0)
"""For exact second derivatives."""

GENTLE = RadiusRule(0.5, 0.9, 1.5)
"""For curved valleys, where the longest step that agrees with a Gauss-Newton model stays about the same from turn to
turn, and a radius that doubles is soon wrong again."""


def update_radius(Delta: float, *, ratio: float, length: float, rule: RadiusRule) -> float:
    """Return the next radius: shorter than a step that went wrong, longer after one that went as predicted.

    Args:
        Delta: Radius.
        ratio: Actual over predicted reduction; minus infinity for a failed evaluation.
        length: ||p_h|| of the step taken.
        rule: By how much.
    """
    if ratio < 0.25:
        return rule.shrink * length
    if ratio > rule.agreement and length > 0.95 * Delta:
        return rule.growth * Delta
    return Delta


def _gradient_step(model: LocalModel, Delta: float, *, theta: float) -> Vector:
    direction = -model.g_h
    length = norm(direction)
    if length == 0.0:
        return direction
    way, _ = way_to_bound(model.x, model.d * direction, model.bounds)
    return _best_along(model, np.zeros_like(direction), direction, (0.0, min(theta * way, Delta / length)))


def _reflected_step(
    model: LocalModel, to_bound_h: Vector, direction: Vector, Delta: float, *, theta: float
) -> Vector | None:
    """Go to the bound, then on in the mirrored direction to the best point; None if there is no way to go."""
    on_bound = strictly_inside(model.x + model.d * to_bound_h, model.bounds)
    way, _ = way_to_bound(on_bound, model.d * direction, model.bounds)
    to_edge = _way_to_edge(to_bound_h, direction, Delta)
    reach = min(way, to_edge)
    if not reach > 0.0:
        return None
    first = norm(to_bound_h) / norm(direction)
    interval = ((1.0 - theta) * first / reach, theta * way if way <= to_edge else to_edge)
    if interval[0] > interval[1]:
        return None
    return _best_along(model, to_bound_h, direction, interval)


def _way_to_edge(p: Vector, direction: Vector, Delta: float) -> float:
    """Return t >= 0 with ||p + t direction|| = Delta, for p inside the ball."""
    a, b = float(direction.dot(direction)), float(p.dot(direction))
    c = min(float(p.dot(p)) - Delta**2, 0.0)
    root = math.sqrt(b * b - a * c)
    # The form without cancellation, whichever the sign of b.
    return -c / (b + root) if b > 0.0 else (root - b) / a


def _best_along(model: LocalModel, p: Vector, direction: Vector, interval: tuple[float, float]) -> Vector:
    """Return the minimiser of the model on p + t direction, t in an interval."""
    J_direction = model.J_h.dot(direction)
    curvature = float(J_direction.dot(J_direction)) + 2.0 * model.bound_term(direction, direction)
    slope = float(J_direction.dot(model.J_h.dot(p)) + model.g_h.dot(direction)) + 2.0 * model.bound_term(p, direction)
    t = -slope / curvature if curvature > 0.0 else interval[1]
    return p + min(max(t, interval[0]), interval[1]) * direction
