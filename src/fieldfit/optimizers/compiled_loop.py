"""A loop over turns of a solver, evaluations included, as one compiled program.

The body of the loop holds one evaluation, so compilation costs as much as that of a single evaluation with its
derivatives plus a little algebra. What differs from run to run (start, bounds, fixed values, tolerance, number of
turns) are arguments: a program is compiled once per objective, method and number of variables, and kept as long as
the objective lives.

A batch of starts runs in lock-step: the turn is mapped over them, and one that has ended stays as it is. Every
evaluation of every start comes back, in order.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from fieldfit.errors import SettingsError
from fieldfit.objectives import AbstractObjective
from fieldfit.optimizers import projected_damping, projected_search
from fieldfit.optimizers.projected_damping import GAUSS_NEWTON
from fieldfit.optimizers.projected_search import BFGS, LBFGS, RUNNING, Box, Model, Point, is_usable, select
from fieldfit.parameters import ProjectedSpace, Space
from fieldfit.parameters.space import traced_elements
from fieldfit.precision import in_double_precision
from fieldfit.problem import AbstractVectorProblem, Subproblem, VectorProblem


class Method(NamedTuple):
    """A solver as a loop sees it.

    Args:
        needs_residuals: It works on residuals and their Jacobian.
        begin: Takes a start, shape (n,), and returns the state before the first evaluation.
        turn: Takes bounds, tolerance, state and the evaluation of its trial; returns the next state and whether the
            trial was accepted.
    """

    needs_residuals: bool
    begin: Callable[[np.ndarray], Any]
    turn: Callable[[Box, Array, Any, Point], tuple[Any, Array]]


def _search(model: Model, *, needs_residuals: bool) -> Method:
    begin = functools.partial(projected_search.begin, model)
    return Method(needs_residuals, begin, functools.partial(projected_search.turn, model))


METHODS = {
    "lbfgs": _search(LBFGS, needs_residuals=False),
    "lbfgsb": _search(LBFGS, needs_residuals=False),
    "bfgs": _search(BFGS, needs_residuals=False),
    "gauss_newton": _search(GAUSS_NEWTON, needs_residuals=True),
    "lm": Method(True, projected_damping.begin, projected_damping.turn),
}


class Window(NamedTuple):
    """How the variables of a run become all elements of the parameters, as arguments of a program.

    Args:
        elements: Takes all variables of the space; its numbers are arguments of the program, too.
        whole: Values of all variables of the space, of which a run varies some, shape (n,); None: it varies all.
        free: Which it varies, by index; None: all.
    """

    elements: Callable[[Array], Array]
    whole: np.ndarray | None = None
    free: np.ndarray | None = None

    def traced(self, x: Array) -> Array:
        """Return all elements of the parameters in physical units."""
        if self.whole is None:
            return self.elements(x)
        return self.elements(jnp.asarray(self.whole).at[self.free].set(x))


def locate(problem: AbstractVectorProblem) -> tuple[AbstractObjective, Window]:
    """Return the objective of a problem and how its variables become the parameters.

    Raises:
        SettingsError: It is neither a problem nor a part of one, so nothing tells what to trace.
    """
    if isinstance(problem, VectorProblem):
        return problem.objective, Window(_elements(problem.space))
    inner: AbstractVectorProblem = problem
    whole, free = problem.x0, np.arange(problem.x0.size)
    while isinstance(inner, Subproblem):
        # The variables of the innermost part are those that are varied; whatever is outside stays where it starts.
        whole = inner.whole if inner is problem else inner.embed(whole)
        free, inner = inner.free[free], inner.problem
    if isinstance(inner, VectorProblem):
        return inner.objective, Window(_elements(inner.space), whole, free)
    raise SettingsError(
        f"{type(inner).__name__} cannot be traced by JAX. Use an optimizer that runs outside the graph, such as "
        "LeastSquaresOptimizer or ScipyOptimizer."
    )


def _elements(space: Space) -> Callable[[Array], Array]:
    # Arguments of a partial function are arguments of the program: other numbers do not compile it anew.
    if isinstance(space, ProjectedSpace):
        return Partial(_projected, _elements(space.space), space.offset, space.basis)
    return Partial(traced_elements, space.coordinates)


def _projected(elements: Callable[[Array], Array], offset: Array, basis: Array, z: Array) -> Array:
    return elements(offset + basis @ z)


class Records(NamedTuple):
    """Evaluations in order, one row each; in a batch the second axis counts starts.

    Args:
        points: Where they were made, shape (rows, n).
        costs: F there; NaN where it or its derivatives were not finite, shape (rows,).
        is_accepted: Whether the point moved there, shape (rows,).
        optimality: Largest element of the projected gradient at the accepted point, shape (rows,).
        is_made: Whether there was an evaluation: none is counted of a start that has ended, shape (rows,).
    """

    points: Any
    costs: Any
    is_accepted: Any
    optimality: Any
    is_made: Any


class Setting(NamedTuple):
    """What stays the same in the course of a run: where the variables are, bounds, tolerance."""

    window: Window
    box: Box
    tol: Any


Program = Callable[[Setting, Any, int, int], tuple[Any, Records]]
"""Takes setting, state, most turns and rows to record them in; returns the state after them and the records."""

_PROGRAMS: dict[int, dict[tuple[str, bool], Program]] = {}


def program(objective: AbstractObjective, name: str, *, is_batch: bool = False) -> Program:
    """Return the compiled loop of a method over an objective, made when it is first asked for.

    Args:
        objective: What is evaluated; JAX can trace it.
        name: Of the method.
        is_batch: Whether states have a first axis of starts.
    """
    key = id(objective)
    if key not in _PROGRAMS:
        _PROGRAMS[key] = {}
        weakref.finalize(objective, _PROGRAMS.pop, key, None)
    programs = _PROGRAMS[key]
    if (name, is_batch) not in programs:
        # A weak reference, or the program would keep the objective alive, and the objective the program.
        loop = functools.partial(_loop, (weakref.ref(objective), METHODS[name], is_batch))
        programs[name, is_batch] = in_double_precision(jax.jit(loop, static_argnums=3))
    return programs[name, is_batch]


def _loop(
    source: tuple[weakref.ref[AbstractObjective], Method, bool],
    setting: Setting,
    state: Any,
    n_turns: Array,
    n_rows: int,
) -> tuple[Any, Records]:
    (reference, method, is_batch), (window, box, tol) = source, setting
    turn = functools.partial(_turn, method, _evaluator(reference(), method, window), box, tol)
    turn = jax.vmap(turn) if is_batch else turn
    numbers, flags = jnp.zeros((n_rows, *state.cost.shape)), jnp.zeros((n_rows, *state.cost.shape), bool)
    rows = Records(jnp.zeros((n_rows, *state.trial.shape)), numbers, flags, numbers, flags)

    def is_running(carry: tuple[Array, Any, Records]) -> Array:
        count, state, _ = carry
        return (count < n_turns) & jnp.any(state.status == RUNNING)

    def body(carry: tuple[Array, Any, Records]) -> tuple[Array, Any, Records]:
        count, state, records = carry
        state, row = turn(state)
        return count + 1, state, jax.tree.map(lambda all_rows, new: all_rows.at[count].set(new), records, row)

    _, state, records = jax.lax.while_loop(is_running, body, (jnp.zeros((), int), state, rows))
    return state, records


def _turn(method: Method, evaluate: Callable[[Array], Point], box: Box, tol: Array, state: Any) -> tuple[Any, Records]:
    """Return the next state and what is recorded; a run that has ended stays as it is."""
    is_made = state.status == RUNNING
    point = evaluate(state.trial)
    after, is_accepted = method.turn(box, tol, state, point)
    after = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, state)
    after = select(is_made, after, state)
    projected = after.x - jnp.clip(after.x - after.gradient, box.lower, box.upper)
    cost = jnp.where(is_usable(point), point.cost, jnp.nan)
    return after, Records(point.x, cost, is_accepted, jnp.max(jnp.abs(projected)), is_made)


def _evaluator(objective: AbstractObjective | None, method: Method, window: Window) -> Callable[[Array], Point]:
    """Return the evaluation with the derivatives that a method needs."""
    if objective is None:
        raise ReferenceError("The objective of a compiled program is gone.")
    has_residuals = objective.traits.has_residuals

    def traced(x: Array) -> Array:
        return objective.traced(window.traced(x))

    def cost(x: Array) -> Array:
        found = traced(x)
        return 0.5 * (found @ found) if has_residuals else found

    def with_gradient(x: Array) -> Point:
        value, slopes = _linearized(cost, x)
        return Point(x, value, slopes.reshape(x.shape), jnp.zeros(0), jnp.zeros((0, x.size)))

    def with_jacobian(x: Array) -> Point:
        residuals, jacobian = _linearized(traced, x)
        return Point(x, 0.5 * (residuals @ residuals), jacobian.T @ residuals, residuals, jacobian)

    return with_jacobian if method.needs_residuals else with_gradient


def _linearized(function: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    """Return value and derivatives, shape (*value.shape, n), from one trace of a function.

    Backwards where there are fewer values than variables and JAX can do it (it cannot through a loop of unknown
    length), else forwards.
    """
    value, push = jax.linearize(function, x)
    if value.size < x.size:
        try:
            pull = jax.linear_transpose(push, x)
            unit = jnp.eye(value.size).reshape(value.size, *value.shape)
            return value, jax.vmap(lambda direction: pull(direction)[0])(unit).reshape(*value.shape, x.size)
        except (NotImplementedError, ValueError):
            pass
    return value, jax.vmap(push, out_axes=-1)(jnp.eye(x.size))
