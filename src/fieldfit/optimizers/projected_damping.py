"""Levenberg-Marquardt between bounds, one evaluation per turn, for compiled programs; and the Gauss-Newton model.

Minimise F(x) = 1/2 ||r(x)||^2 with l <= x <= u. With J = Q R the Jacobian, q = Q^T r, and D the largest lengths of the
columns of J so far, the step of the variables that no bound holds (see `projected_search`) minimises

    1/2 ||R_F p + q||^2 + 1/2 mu ||D p||^2,

by QR of [R_F; sqrt(mu) D]: the normal equations would square the condition number. Variables that are held go onto
their bounds, and so do those that p would take out, while the others are solved for again. That may hold too many. The
model is therefore asked about a second step too: along the scaled gradient, cut off at the bounds (its Cauchy point),
and from there to p in the variables that are not cut off, as far as bounds allow. The better one is taken.

With rho the actual over the predicted reduction, mu falls to mu max(1/3, 1 - (2 rho - 1)^3) after a good trial, and
grows by 2, 4, 8, ... after bad ones; a trial that cannot be evaluated is a bad one. As mu grows the step becomes one
along the scaled gradient, and the projected gradient is a direction of descent, so a lower point is found unless x is
stationary.

The Gauss-Newton model is the same step with mu so small that it only keeps a singular R from dividing by zero, with a
search along the projection arc instead of damping.

References:
    More (1978), the scales D, doi:10.1007/BFb0067700.
    Nielsen (1999), Damping parameter in Marquardt's method, report IMM-REP-1999-05, Technical University of Denmark.
    Kanzow, Yamashita, Fukushima (2004), projected Levenberg-Marquardt, doi:10.1016/j.cam.2004.02.013.
    Conn, Gould, Toint (1988), Cauchy points between bounds, doi:10.1137/0725029.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from fieldfit.optimizers.projected_search import (
    CONVERGED,
    EPS,
    FAILED,
    NEAR,
    ROUNDING,
    RUNNING,
    Box,
    Model,
    Point,
    hold,
    is_usable,
    select,
    size_of,
)

FIRST_DAMPING = 1e-3
"""First mu."""

LEAST_DAMPING = EPS**2
"""Least mu."""

TINY_DAMPING = EPS**1.5
"""mu of the Gauss-Newton model: directions that the residuals feel by less than 1e-12 are noise."""

LOW_ENOUGH = 1e-4
"""Least rho of a good trial."""


class Factors(NamedTuple):
    """R, shape (n, n), and q, shape (n,), of J and r."""

    R: Any
    q: Any


class DampedState(NamedTuple):
    """Everything the next turn needs.

    Args:
        x: Accepted point, shape (n,).
        cost: F there; infinite before the first evaluation.
        gradient: g there, shape (n,).
        trial: Where the next evaluation is made, shape (n,).
        status: One of the constants of `projected_search`.
        factors: R and q there.
        scale: D, shape (n,).
        damping: mu.
        growth: What the next bad trial multiplies mu with.
        predicted: Reduction promised for the trial.
        first_cost: F at the start.
        last_step: Longest element of the last accepted step.
    """

    x: Any
    cost: Any
    gradient: Any
    trial: Any
    status: Any
    factors: Any
    scale: Any
    damping: Any
    growth: Any
    predicted: Any
    first_cost: Any
    last_step: Any


def begin(x0: np.ndarray) -> DampedState:
    """Return the state before the first evaluation, in NumPy.

    Args:
        x0: Start inside the bounds, shape (n,).
    """
    zeros = np.zeros(x0.size)
    return DampedState(
        x=x0,
        cost=np.array(np.inf),
        gradient=zeros,
        trial=x0,
        status=np.array(RUNNING),
        factors=_no_factors(x0.size),
        scale=zeros,
        damping=np.array(FIRST_DAMPING),
        growth=np.array(2.0),
        predicted=np.array(0.0),
        first_cost=np.array(np.inf),
        last_step=np.array(0.0),
    )


def turn(box: Box, tol: Array, state: DampedState, point: Point) -> tuple[DampedState, Array]:
    """Take the evaluation of the trial and work out the next one.

    Args:
        box: Bounds.
        tol: Steps below this fraction of the point's size end the run.
        state: From `begin` or the last turn.
        point: Evaluation at `state.trial`, with residuals and Jacobian.

    Returns:
        The next state, and whether the trial was accepted.
    """
    is_first, is_finite = jnp.isinf(state.cost), is_usable(point)
    ratio = jnp.where(state.predicted > 0.0, (state.cost - point.cost) / state.predicted, -jnp.inf)
    is_accepted = is_finite & (is_first | (ratio > LOW_ENOUGH))
    arrived = select(is_accepted, _moved(state, point, ratio), _stayed(state))
    after = _propose(box, arrived)
    is_short = ~is_first & is_finite & _is_short(tol, state, point, after)
    is_idle = after.predicted <= EPS * after.cost
    is_nothing = jnp.all(jnp.abs(after.trial - after.x) <= EPS * size_of(after.x))
    status = jnp.where(is_short | (is_accepted & is_idle), CONVERGED, jnp.where(is_nothing, ROUNDING, RUNNING))
    status = jnp.where(is_first & ~is_finite, FAILED, status)
    return after._replace(status=status), is_accepted


def factorize(point: Point) -> Factors:
    """Return R and q of a Jacobian and its residuals."""
    n = point.x.size
    stacked = jnp.concatenate([point.jacobian, point.residuals[:, None]], axis=1)
    # With fewer rows than variables R would not be square.
    missing = max(0, n - point.residuals.size)
    found = jnp.linalg.qr(jnp.pad(stacked, ((0, missing), (0, 0))), mode="r")
    return Factors(found[:n, :n], found[:n, n])


def damped_step(factors: Factors, scale: Array, is_free: Array, damping: Array) -> Array:
    """Return the minimiser of the damped model in the free variables, zero in the others, shape (n,)."""
    n = scale.size
    above = jnp.concatenate([factors.R * is_free, factors.q[:, None]], axis=1)
    # A variable that nothing feels stays where it is, whatever its scale.
    below = jnp.diag(jnp.sqrt(damping) * jnp.where(is_free & (scale > 0.0), scale, 1.0))
    stacked = jnp.concatenate([above, jnp.pad(below, ((0, 0), (0, 1)))])
    found = jnp.linalg.qr(stacked, mode="r")
    return -jax.scipy.linalg.solve_triangular(found[:n, :n], found[:n, n])


def column_lengths(factors: Factors) -> Array:
    """Return the lengths of the columns of the Jacobian, shape (n,)."""
    return jnp.linalg.norm(factors.R, axis=0)


def _no_factors(n: int) -> Factors:
    return Factors(np.zeros((n, n)), np.zeros(n))


def _moved(state: DampedState, point: Point, ratio: Array) -> DampedState:
    is_first = jnp.isinf(state.cost)
    factors = factorize(point)
    factor = jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * jnp.minimum(ratio, 1.0) - 1.0) ** 3)
    damping = jnp.where(is_first, state.damping, state.damping * factor)
    return state._replace(
        x=point.x,
        cost=point.cost,
        gradient=point.gradient,
        factors=factors,
        scale=jnp.maximum(state.scale, column_lengths(factors)),
        damping=jnp.maximum(damping, LEAST_DAMPING),
        growth=jnp.full_like(state.growth, 2.0),
        first_cost=jnp.where(is_first, point.cost, state.first_cost),
        last_step=jnp.where(is_first, 0.0, jnp.max(jnp.abs(point.x - state.x))),
    )


def _stayed(state: DampedState) -> DampedState:
    return state._replace(damping=state.damping * state.growth, growth=2.0 * state.growth)


def _propose(box: Box, state: DampedState) -> DampedState:
    """Return the state with the next trial and what it promises: the better of two steps by the model."""
    x = state.x
    held, target = hold(x, state.gradient, box, jnp.minimum(state.last_step, NEAR * size_of(x)))
    newton = _newton_move(box, state, held, target - x)
    cauchy = _cauchy_move(box, state, held, target - x)

    def is_worse(carry: tuple[Array, Array]) -> Array:
        move, is_tried = carry
        return ~is_tried & ~(_promise(state, move) >= _promise(state, cauchy))

    def try_further(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        further = _further_move(box, state, held, cauchy)
        return select(_promise(state, further) > _promise(state, carry[0]), further, carry[0]), jnp.array(True)

    # A loop of at most one turn and not a condition: mapped over many starts, conditions compute both branches.
    move, _ = jax.lax.while_loop(is_worse, try_further, (newton, jnp.array(False)))
    trial = jnp.clip(x + move, box.lower, box.upper)
    return state._replace(trial=trial, predicted=_promise(state, move))


def _newton_move(box: Box, state: DampedState, held: Array, onto: Array) -> Array:
    """Return the damped step of the free variables; those that it would take out are held, and the others solved again.

    Args:
        box: Bounds.
        state: Where it begins.
        held: Which variables bounds hold, shape (n,).
        onto: Moves of those onto their bounds, zero for the others, shape (n,).
    """
    factors, x = state.factors, state.x

    def is_outside(carry: tuple[Array, Array, Array]) -> Array:
        return carry[2]

    def solve(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        held, move, _ = carry
        onto = jnp.where(held, move, 0.0)
        shifted = Factors(factors.R, factors.q + factors.R @ onto)
        step = jnp.where(held, onto, damped_step(shifted, state.scale, ~held, state.damping))
        inside = jnp.clip(step, box.lower - x, box.upper - x)
        leaves = inside != step
        return held | leaves, inside, jnp.any(leaves)

    return jax.lax.while_loop(is_outside, solve, (held, onto, jnp.array(True)))[1]


def _cauchy_move(box: Box, state: DampedState, held: Array, onto: Array) -> Array:
    """Return a step along the scaled gradient, so short that the model promises a reduction wherever it is cut off."""
    curvature = (state.damping + state.x.size) * state.scale**2
    step = -jnp.where(held | (curvature == 0.0), 0.0, state.gradient / jnp.where(curvature > 0.0, curvature, 1.0))
    return jnp.clip(step + onto, box.lower - state.x, box.upper - state.x)


def _further_move(box: Box, state: DampedState, held: Array, cauchy: Array) -> Array:
    """Return a step from the Cauchy point towards the damped one of what is not cut off, up to the first bound."""
    factors, lower, upper = state.factors, box.lower - state.x, box.upper - state.x
    held = held | (cauchy == lower) | (cauchy == upper)
    onto = jnp.where(held, cauchy, 0.0)
    shifted = Factors(factors.R, factors.q + factors.R @ onto)
    further = jnp.where(held, 0.0, damped_step(shifted, state.scale, ~held, state.damping) - cauchy)
    room = jnp.where(further > 0.0, upper - cauchy, jnp.where(further < 0.0, lower - cauchy, jnp.inf))
    reach = jnp.min(jnp.where(further == 0.0, jnp.inf, room / further), initial=1.0)
    return jnp.clip(cauchy + reach * further, lower, upper)


def _promise(state: DampedState, move: Array) -> Array:
    bent = state.factors.R @ move
    return -(state.gradient @ move) - 0.5 * bent @ bent


def _is_short(tol: Array, state: DampedState, point: Point, after: DampedState) -> Array:
    """Return whether the last step was short, by the scales D or by natural sizes, and the next promises nothing."""
    step = point.x - state.x
    is_relatively = jnp.linalg.norm(state.scale * step) <= tol * jnp.linalg.norm(state.scale * state.x)
    is_absolutely = jnp.all(jnp.abs(step) <= tol * size_of(state.x))
    is_idle = after.predicted <= tol**2 * (after.first_cost - after.cost)
    return is_relatively | (is_absolutely & is_idle)


class GaussNewton(NamedTuple):
    """R and q at the accepted point, and D."""

    factors: Any
    scale: Any


def _nothing(n: int) -> GaussNewton:
    return GaussNewton(_no_factors(n), np.zeros(n))


def _linearize(
    known: GaussNewton, step: Array, change: Array, point: Point, is_free: Array
) -> tuple[GaussNewton, Array]:
    factors = factorize(point)
    return GaussNewton(factors, column_lengths(factors)), jnp.array(True)


def _undamped_step(known: GaussNewton, gradient: Array, is_free: Array, size: Array) -> Array:
    return damped_step(known.factors, known.scale, is_free, jnp.asarray(TINY_DAMPING))


GAUSS_NEWTON = Model(_nothing, _linearize, _undamped_step)
