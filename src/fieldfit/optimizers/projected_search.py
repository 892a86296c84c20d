"""Quasi-Newton and Gauss-Newton methods between bounds, one evaluation per turn, for compiled programs.

Minimise F(x) with l <= x <= u. At a point x with gradient g the variables fall in two sets:

    held   closer to a bound than epsilon, with g pushing against it;
    free   all others.

The direction d takes a held variable onto its bound (d_i = l_i - x_i or u_i - x_i) and the free ones along a
Newton-like step d_F = -H_F g_F, with H_F made of what is known about the free variables only. Trial points lie on the
projection arc x(alpha) = P(x + alpha d), with P the projection on the box, so that every evaluated point is feasible. A
trial is accepted if it is low enough (Armijo's condition along the arc),

    F(x(alpha)) <= F(x) + c g^T (x(alpha) - x),

or, where rounding hides the difference, if the slope has fallen. Otherwise alpha shrinks by cubic interpolation. A
trial that cannot be evaluated counts as much too high. There is no test that a step is long enough: it would cost
evaluations, while a step that was too short leaves negative curvature behind, and the next one begins longer.

Three sources of H_F:

    lbfgs          the last `MEMORY` pairs s, y restricted to the free variables, by the two-loop recursion;
    bfgs           a dense inverse Hessian, updated by s and y restricted to the free variables;
    gauss_newton   the QR factors of the Jacobian, in the module `projected_damping`.

A turn takes one evaluation and works out where the next one is made. A loop over turns therefore holds the objective
once, however long a line search takes, and many starts run in lock-step without waiting for each other's searches.

References:
    Bertsekas (1982), Projected Newton methods, the sets and the arc, doi:10.1137/0320018.
    Schmidt, Kim, Sra (2011), Projected Newton-type methods in machine learning, two-metric projection with L-BFGS,
        doi:10.7551/mitpress/8996.003.0013.
    Nocedal, Wright (2006), Numerical Optimization, algorithm 7.4 and equations 3.59, 6.17, 6.20, 7.20,
        doi:10.1007/978-0-387-40065-5.
    Hager, Zhang (2005), the test where rounding hides the difference, doi:10.1137/030601880.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

EPS = float(np.finfo(float).eps)

MEMORY = 10
"""Pairs that lbfgs keeps."""

SUFFICIENT = 1e-4
"""c: fraction of the reduction along the slope that makes a trial low enough."""

HIDDEN = 10.0 * EPS
"""Relative differences of the cost below this are rounding."""

FIRST_LENGTH = 0.1
"""Length of the first step, where nothing is known about the curvature, relative to the size of the point."""

LONGER = 4.0
"""How much longer a step begins after one that met negative curvature."""

SHRINK = (0.1, 0.5)
"""Limits of the factor by which alpha shrinks."""

CURVED = 1e-12
"""Pairs with s^T y below this fraction of |s| |y| are not learnt from."""

NEAR = 1e-3
"""epsilon is the length of the last step, at most this fraction of the size of a variable."""

RUNNING, CONVERGED, STATIONARY, ROUNDING, FAILED = range(5)
"""What a state says about the run."""


class Box(NamedTuple):
    """Bounds, each of shape (n,)."""

    lower: Array
    upper: Array


class Point(NamedTuple):
    """An evaluated point: x, F, g, and residuals and Jacobian where the method needs them, else of size zero."""

    x: Array
    cost: Array
    gradient: Array
    residuals: Array
    jacobian: Array


class Model(NamedTuple):
    """A source of d_F, made of pure functions.

    Args:
        empty: Takes n and returns what is known at first.
        learn: Takes that, s, y, the new point and which variables are free there; returns what is known now, and
            whether the pair showed positive curvature.
        step: Takes that, the gradient of the free variables (else zero), which they are, and the size of the point;
            returns d_F.
    """

    empty: Callable[[int], Any]
    learn: Callable[[Any, Array, Array, Point, Array], tuple[Any, Array]]
    step: Callable[[Any, Array, Array, Array], Array]


class SearchState(NamedTuple):
    """Everything the next turn needs.

    Args:
        x: Accepted point, shape (n,).
        cost: F there; infinite before the first evaluation.
        gradient: g there, shape (n,).
        trial: Where the next evaluation is made, shape (n,).
        status: One of the constants above.
        first_cost: F at the start.
        direction: d, shape (n,).
        alpha: Of the trial.
        longer: First alpha of the next search.
        last_step: Longest element of the last accepted step.
        is_reset: Whether what the model knew was dropped since.
        knows: Whether the model has learnt anything.
        model: What it knows.
    """

    x: Any
    cost: Any
    gradient: Any
    trial: Any
    status: Any
    first_cost: Any
    direction: Any
    alpha: Any
    longer: Any
    last_step: Any
    is_reset: Any
    knows: Any
    model: Any


def begin(model: Model, x0: np.ndarray) -> SearchState:
    """Return the state before the first evaluation, in NumPy.

    Args:
        model: Source of directions.
        x0: Start inside the bounds, shape (n,).
    """
    zeros = np.zeros(x0.size)
    return SearchState(
        x=x0,
        cost=np.array(np.inf),
        gradient=zeros,
        trial=x0,
        status=np.array(RUNNING),
        first_cost=np.array(np.inf),
        direction=zeros,
        alpha=np.array(1.0),
        longer=np.array(1.0),
        last_step=np.array(0.0),
        is_reset=np.array(False),
        knows=np.array(False),
        model=model.empty(x0.size),
    )


def turn(model: Model, box: Box, tol: Array, state: SearchState, point: Point) -> tuple[SearchState, Array]:
    """Take the evaluation of the trial and work out the next one.

    Args:
        model: Source of directions.
        box: Bounds.
        tol: Steps below this fraction of the point's size end the run.
        state: From `begin` or the last turn.
        point: Evaluation at `state.trial`.

    Returns:
        The next state, and whether the trial was accepted.
    """
    is_accepted = is_usable(point) & (_is_low_enough(state, point) | jnp.isinf(state.cost))
    after = select(is_accepted, _moved(model, box, tol, state, point), _stayed(model, box, state, point))
    return after, is_accepted


def is_usable(point: Point) -> Array:
    """Return whether an evaluation holds only finite numbers."""
    return jax.tree.reduce(jnp.logical_and, jax.tree.map(lambda array: jnp.all(jnp.isfinite(array)), point))


def select(condition: Array, this: Any, that: Any) -> Any:
    """Choose between two trees of arrays."""
    return jax.tree.map(lambda first, second: jnp.where(condition, first, second), this, that)


def size_of(x: Array) -> Array:
    """Return the size of each variable, at least the natural one, shape (n,)."""
    return jnp.maximum(1.0, jnp.abs(x))


def hold(x: Array, gradient: Array, box: Box, reach: Array) -> tuple[Array, Array]:
    """Return which variables are held, and where bounds take them, each of shape (n,)."""
    at_lower = (x - box.lower <= reach) & (gradient > 0.0)
    at_upper = (box.upper - x <= reach) & (gradient < 0.0)
    return at_lower | at_upper, jnp.where(at_lower, box.lower, jnp.where(at_upper, box.upper, x))


def _is_low_enough(state: SearchState, point: Point) -> Array:
    step = point.x - state.x
    slope, end_slope = state.gradient @ step, point.gradient @ step
    is_lower = point.cost <= state.cost + SUFFICIENT * slope
    is_hidden = jnp.abs(point.cost - state.cost) <= HIDDEN * jnp.abs(state.cost)
    return (slope < 0.0) & (is_lower | (is_hidden & (jnp.abs(end_slope) <= -0.5 * slope)))


def _moved(model: Model, box: Box, tol: Array, state: SearchState, point: Point) -> SearchState:
    """Return the state after an accepted trial."""
    is_first = jnp.isinf(state.cost)
    step = point.x - state.x
    last_step = jnp.where(is_first, 0.0, jnp.max(jnp.abs(step)))
    held, target = hold(point.x, point.gradient, box, jnp.minimum(last_step, NEAR * size_of(point.x)))
    known, is_curved = model.learn(state.model, step, point.gradient - state.gradient, point, ~held)
    knows = state.knows | is_curved
    longer = jnp.where(is_first | is_curved, 1.0, LONGER * state.longer)
    direction = _direction(model, known, box, point, (held, target))
    full = jnp.clip(point.x + direction, box.lower, box.upper) - point.x
    first_cost = jnp.where(is_first, point.cost, state.first_cost)
    return SearchState(
        x=point.x,
        cost=point.cost,
        gradient=point.gradient,
        trial=jnp.clip(point.x + longer * direction, box.lower, box.upper),
        status=_status(tol, point, (step, full), knows, first_cost),
        first_cost=first_cost,
        direction=direction,
        alpha=longer,
        longer=longer,
        last_step=last_step,
        is_reset=jnp.zeros_like(state.is_reset),
        knows=knows,
        model=known,
    )


def _direction(model: Model, known: Any, box: Box, point: Point, holding: tuple[Array, Array]) -> Array:
    held, target = holding
    free_gradient = jnp.where(held, 0.0, point.gradient)
    newton = model.step(known, free_gradient, ~held, jnp.max(size_of(point.x)))
    onto_bounds = target - point.x
    direction = jnp.where(held, onto_bounds, newton)
    slope = point.gradient @ (jnp.clip(point.x + direction, box.lower, box.upper) - point.x)
    # Cutting a Newton step off at bounds may turn it uphill; cutting the gradient off never does.
    length = jnp.linalg.norm(newton) / jnp.linalg.norm(free_gradient)
    downhill = jnp.where(held, onto_bounds, -jnp.where(jnp.isfinite(length), length, 0.0) * free_gradient)
    return jnp.where(slope < 0.0, direction, downhill)


def _status(tol: Array, point: Point, steps: tuple[Array, Array], knows: Array, first_cost: Array) -> Array:
    """Return whether the step just taken and the one that would come next say that the run is over."""
    limit = tol * size_of(point.x)
    is_short = jnp.all((jnp.abs(steps[0]) <= limit) & (jnp.abs(steps[1]) <= limit))
    # Steps may also be short because the model mistakes a wall for curvature.
    promised = -(point.gradient @ steps[1])
    is_idle = promised <= tol**2 * (first_cost - point.cost) + EPS * jnp.abs(point.cost)
    status = jnp.where(knows & is_short & is_idle, CONVERGED, RUNNING)
    return jnp.where(jnp.all(steps[1] == 0.0), STATIONARY, status)


def _stayed(model: Model, box: Box, state: SearchState, point: Point) -> SearchState:
    """Return the state after a rejected trial."""
    alpha = state.alpha * _shrink(state, point)
    trial = jnp.clip(state.x + alpha * state.direction, box.lower, box.upper)
    shorter = state._replace(trial=trial, alpha=alpha)
    is_spent = jnp.all(jnp.abs(trial - state.x) <= EPS * size_of(state.x))
    can_reset = state.knows & ~state.is_reset
    ended = state._replace(status=jnp.where(jnp.isinf(state.cost), FAILED, ROUNDING).astype(state.status.dtype))
    after = select(is_spent & can_reset, _forgot(model, box, state), shorter)
    return select((is_spent & ~can_reset) | jnp.isinf(state.cost), ended, after)


def _forgot(model: Model, box: Box, state: SearchState) -> SearchState:
    """Return the state from which to go downhill by as much as the last step."""
    held, target = hold(state.x, state.gradient, box, jnp.zeros_like(state.x))
    free_gradient = jnp.where(held, 0.0, state.gradient)
    steepest = jnp.max(jnp.abs(free_gradient))
    scale = jnp.where(steepest > 0.0, state.last_step / steepest, 0.0)
    direction = jnp.where(held, target - state.x, -scale * free_gradient)
    return state._replace(
        trial=jnp.clip(state.x + direction, box.lower, box.upper),
        direction=direction,
        alpha=jnp.ones_like(state.alpha),
        is_reset=jnp.ones_like(state.is_reset),
        knows=jnp.zeros_like(state.knows),
        model=jax.tree.map(lambda empty, old: jnp.asarray(empty, old.dtype), model.empty(state.x.size), state.model),
    )


def _shrink(state: SearchState, point: Point) -> Array:
    """Return the factor for alpha: the minimum of the cubic through costs and slopes at both ends."""
    step = point.x - state.x
    slope, end_slope = state.gradient @ step, point.gradient @ step
    d1 = slope + end_slope - 3.0 * (point.cost - state.cost)
    d2 = jnp.sqrt(jnp.maximum(d1**2 - slope * end_slope, 0.0))
    factor = 1.0 - (end_slope + d2 - d1) / (end_slope - slope + 2.0 * d2)
    return jnp.where(jnp.isfinite(factor), jnp.clip(factor, *SHRINK), SHRINK[0])


class Pairs(NamedTuple):
    """The last steps s and changes of gradient y, newest last, zero where there are none yet, shape (MEMORY, n)."""

    steps: Any
    changes: Any


def _no_pairs(n: int) -> Pairs:
    return Pairs(np.zeros((MEMORY, n)), np.zeros((MEMORY, n)))


def _learn_pair(known: Pairs, step: Array, change: Array, point: Point, is_free: Array) -> tuple[Pairs, Array]:
    is_curved = _is_curved(jnp.where(is_free, step, 0.0), jnp.where(is_free, change, 0.0))
    pushed = Pairs(*(jnp.concatenate([old[1:], new[None]]) for old, new in zip(known, (step, change), strict=True)))
    return select(is_curved, pushed, known), is_curved


def _is_curved(step: Array, change: Array) -> Array:
    return jnp.sum(step * change, -1) > CURVED * jnp.linalg.norm(step, axis=-1) * jnp.linalg.norm(change, axis=-1)


def _two_loops(known: Pairs, gradient: Array, is_free: Array, size: Array) -> Array:
    """Return -H_F g_F; algorithm 7.4 of Nocedal and Wright on the free variables."""
    S, Y = known.steps * is_free, known.changes * is_free
    curvature = jnp.sum(S * Y, axis=1)
    is_valid = _is_curved(S, Y)
    rho = jnp.where(is_valid, 1.0 / jnp.where(is_valid, curvature, 1.0), 0.0)

    def backward(q: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        s, y, weight = pair
        a = weight * (s @ q)
        return q - a * y, a

    def forward(r: Array, pair: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
        s, y, weight, a = pair
        return r + (a - weight * (y @ r)) * s, None

    q, a = jax.lax.scan(backward, gradient, (S, Y, rho), reverse=True)
    newest = MEMORY - 1 - jnp.argmax(is_valid[::-1])
    gamma = curvature[newest] / jnp.sum(Y[newest] ** 2)
    gamma = jnp.where(jnp.any(is_valid), gamma, first_scale(gradient, size))
    r, _ = jax.lax.scan(forward, gamma * q, (S, Y, rho, a))
    return -r


def first_scale(gradient: Array, size: Array) -> Array:
    """Return the multiple of the gradient that makes the first step."""
    length = jnp.linalg.norm(gradient)
    return jnp.where(length > 0.0, FIRST_LENGTH * size / jnp.where(length > 0.0, length, 1.0), 0.0)


LBFGS = Model(_no_pairs, _learn_pair, _two_loops)


class Inverse(NamedTuple):
    """The inverse Hessian, shape (n, n), and whether anything was learnt."""

    hessian: Any
    is_known: Any


def _unit(n: int) -> Inverse:
    return Inverse(np.eye(n), np.array(False))


def _update_inverse(known: Inverse, step: Array, change: Array, point: Point, is_free: Array) -> tuple[Inverse, Array]:
    """Return the BFGS update; equations 6.17 and 6.20 of Nocedal and Wright on the free variables."""
    s, y = jnp.where(is_free, step, 0.0), jnp.where(is_free, change, 0.0)
    is_curved = _is_curved(s, y)
    curvature = jnp.where(is_curved, s @ y, 1.0)
    scale = curvature / jnp.where(is_curved, y @ y, 1.0)
    H = jnp.where(known.is_known, known.hessian, scale * jnp.eye(s.size))
    Hy = H @ y
    mixed = jnp.outer(s, Hy) + jnp.outer(Hy, s)
    H = H + ((1.0 + (y @ Hy) / curvature) * jnp.outer(s, s) - mixed) / curvature
    return select(is_curved, Inverse(H, jnp.ones_like(known.is_known)), known), is_curved


def _inverse_step(known: Inverse, gradient: Array, is_free: Array, size: Array) -> Array:
    scale = jnp.where(known.is_known, 1.0, first_scale(gradient, size))
    return -scale * jnp.where(is_free, known.hessian @ gradient, 0.0)


BFGS = Model(_unit, _update_inverse, _inverse_step)
