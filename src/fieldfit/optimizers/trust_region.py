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

    v_j = (ub_j - x_j) D_j,  v'_j = -1    if g_j < 0 and ub_j is finite
    v_j = (x_j - lb_j) D_j,  v'_j = +1    if g_j > 0 and lb_j is finite
    v_j = 1,                 v'_j =  0    otherwise

First-order optimality is v_j g_j = 0. In the variables x_h = x / d with d = sqrt(v) / D, a Newton step on that
equation is the minimiser of

    q(p_h) = 0.5 ||J_h p_h||^2 + 0.5 p_h^T C p_h + g_h^T p_h,   J_h = J diag(d),  g_h = d g,  C = diag(g v' / D) >= 0,

a least-squares problem again, with the matrix A = [J_h; sqrt(C)] and the right-hand side [f; 0]. The module
`fieldfit.optimizers.exact_steps` minimises it in the ball.

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

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fieldfit.optimizers.exact_steps import AbstractFactors, factorize, norm
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True, eq=False)
class LocalModel:
    """The quadratic model q around a point, in the variables x_h = x / d.

    Args:
        x: The point, inside the bounds, shape (n,).
        f: Residuals there, shape (m,).
        bounds: Lower and upper bounds, shape (n,) each.
        d: Scaling of the variables, shape (n,); 0 for one that cannot move.
        J_h: J diag(d), shape (m, n).
        g_h: d g, shape (n,).
        C: Diagonal of the term that the bounds add, shape (n,).
        factors: Of [J_h; sqrt(C)].
    """

    x: Vector
    f: Float[np.ndarray, " m"]
    bounds: tuple[Vector, Vector]
    d: Vector
    J_h: Matrix
    g_h: Vector
    C: Vector
    factors: AbstractFactors

    @property
    def offset(self) -> float:
        """Relative offset, between 0 and 1: square root of the fraction of F that a full step would take off.

        It is the sine of the angle by which f is not yet orthogonal to the tangent space (Bates, Watts 1981,
        doi:10.1080/00401706.1981.10486262), the same in any units of x and f.
        """
        squares = float(self.f @ self.f)
        return float(np.sqrt(2.0 * self.factors.gain / squares)) if squares > 0.0 else 0.0

    def value(self, p_h: Vector) -> float:
        """Return q(p_h)."""
        J_p = self.J_h @ p_h
        return float(0.5 * (J_p @ J_p) + 0.5 * (self.C * p_h) @ p_h + self.g_h @ p_h)

    def is_inside(self, p_h: Vector) -> bool:
        """Whether a step stays inside the bounds."""
        x = self.x + self.d * p_h
        return bool((x >= self.bounds[0]).all() and (x <= self.bounds[1]).all())


def local_model(
    x: Vector, f: Float[np.ndarray, " m"], J: Matrix, D: Vector, bounds: tuple[Vector, Vector], method: str
) -> LocalModel:
    """Build the model around a point.

    Args:
        x: Point inside the bounds, shape (n,).
        f: Residuals, shape (m,).
        J: Jacobian, shape (m, n).
        D: Lengths by which variables are measured, shape (n,).
        bounds: Lower and upper bounds, shape (n,) each.
        method: Factorization, see `factorize`.
    """
    g = J.T @ f
    v, dv = coleman_li(x, g, D, bounds)
    d = np.sqrt(v) / D
    J_h, C = J * d, g * dv / D
    # A variable on its bound has an empty column; any diagonal keeps its step at zero.
    C = np.where((v == 0.0) & (C == 0.0), 1.0, C)
    A = np.concatenate([J_h, np.diag(np.sqrt(C))]) if C.any() else J_h
    return LocalModel(x, f, bounds, d, J_h, d * g, C, factorize(A, f, method))


def coleman_li(x: Vector, g: Vector, D: Vector, bounds: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
    """Return v and v' of the module docstring, shape (n,) each; v = 0 where the bounds are equal."""
    lb, ub = bounds
    way = np.where(g < 0.0, ub - x, x - lb)
    is_scaled = np.isfinite(way) & ((g != 0.0) | (lb == ub))
    return np.where(is_scaled, way * D, 1.0), np.where(is_scaled, np.sign(g), 0.0)


def select_step(model: LocalModel, p_h: Vector, Delta: float) -> tuple[Vector, float]:
    """Keep a step inside the bounds: cut it, reflect it or take the gradient's direction, whichever the model prefers.

    Args:
        model: The model around the current point.
        p_h: Exact step, shape (n,).
        Delta: Radius.

    Returns:
        The chosen step in the variables of the model, shape (n,), and the reduction of F it promises.
    """
    if model.is_inside(p_h):
        return p_h, -model.value(p_h)
    # Going a little less than all the way keeps iterates inside; near the solution nearly all of it is wanted.
    theta = max(0.995, 1.0 - model.offset)
    way, hits = way_to_bound(model.x, model.d * p_h, model.bounds)
    candidates = [theta * way * p_h, _gradient_step(model, Delta, theta)]
    reflected = _reflected_step(model, way * p_h, np.where(hits, -p_h, p_h), Delta, theta=theta)
    if reflected is not None:
        candidates.append(reflected)
    values = [model.value(candidate) for candidate in candidates]
    best = int(np.argmin(values))
    return candidates[best], -values[best]


def way_to_bound(x: Vector, p: Vector, bounds: tuple[Vector, Vector]) -> tuple[float, np.ndarray]:
    """Return the largest t for which x + t p is inside the bounds, and which variables hit them there."""
    moving = p != 0.0
    ways = np.full(x.size, np.inf)
    target = np.where(p > 0.0, bounds[1], bounds[0])
    ways[moving] = (target[moving] - x[moving]) / p[moving]
    way = float(np.min(ways, initial=np.inf))
    return way, ways == way


def strictly_inside(x: Vector, bounds: tuple[Vector, Vector]) -> Vector:
    """Move what rounding put on or beyond a bound to the nearest number inside."""
    lb, ub = bounds
    inside = np.clip(x, np.nextafter(lb, ub), np.nextafter(ub, lb))
    return np.where(lb == ub, lb, inside)


def update_radius(Delta: float, *, ratio: float, length: float) -> float:
    """Return the next radius: a quarter of a step that went wrong, twice the radius of one that went as predicted.

    Args:
        Delta: Radius.
        ratio: Actual over predicted reduction; minus infinity for a failed evaluation.
        length: ||p_h|| of the step taken.
    """
    if ratio < 0.25:
        return 0.25 * length
    if ratio > 0.75 and length > 0.95 * Delta:
        return 2.0 * Delta
    return Delta


def _gradient_step(model: LocalModel, Delta: float, theta: float) -> Vector:
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
    on_bound = np.clip(model.x + model.d * to_bound_h, *model.bounds)
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
    a, b, c = direction @ direction, p @ direction, min(float(p @ p) - Delta**2, 0.0)
    root = np.sqrt(b * b - a * c)
    # The form without cancellation, whichever the sign of b.
    return float(-c / (b + root)) if b > 0.0 else float((root - b) / a)


def _best_along(model: LocalModel, p: Vector, direction: Vector, interval: tuple[float, float]) -> Vector:
    """Return the minimiser of the model on p + t direction, t in an interval."""
    J_direction, C_direction = model.J_h @ direction, model.C * direction
    curvature = float(J_direction @ J_direction + C_direction @ direction)
    slope = float(J_direction @ (model.J_h @ p) + C_direction @ p + model.g_h @ direction)
    t = -slope / curvature if curvature > 0.0 else interval[1]
    return p + min(max(t, interval[0]), interval[1]) * direction
