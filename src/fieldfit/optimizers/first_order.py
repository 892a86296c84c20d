"""First-order methods of optax, one evaluation with gradient per step, for any objective that has a gradient.

The rule that turns gradients into a step is optax's and runs compiled; objective and loop stay outside, so a force
field or an external program is as good as a function that JAX can trace. x is the flat, scaled vector, so one learning
rate suits all variables: it is about the length of a first step in units of their sizes.

    gradients   are divided by the power of two nearest to their length at the start. Rules that do not normalise by
                themselves (sgd) then mean the same by a learning rate whatever the unit of the objective, and the bits
                of the result do not depend on that unit if it changes by a power of two.
    bounds      the new point is projected on the box before it is evaluated: the projected gradient method.
    failures    where cost or gradient are not finite, the step is taken again from the last good point at half the
                learning rate, which stays halved.

The cost need not fall in every step; the best point seen is the result.

References:
    DeepMind (2020), The DeepMind JAX ecosystem, https://github.com/google-deepmind/optax.
    Kingma, Ba (2015), Adam, arXiv:1412.6980.
    Bertsekas (1976), the projected gradient method, doi:10.1109/TAC.1976.1101194.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from fieldfit.diagnostics import projected_gradient
from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.precision import in_double_precision
from fieldfit.problem import AbstractSteppedOptimizer, Outcome, Recorder, Traits
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector

METHODS: Mapping[str, float] = {
    **dict.fromkeys(("adabelief", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad", "nadam", "nadamw"), 0.05),
    **dict.fromkeys(("radam", "yogi"), 0.05),
    **dict.fromkeys(("adagrad", "lars", "sm3"), 0.3),
    **dict.fromkeys(("lamb", "lion", "novograd"), 0.005),
    **dict.fromkeys(("rmsprop", "sign_sgd"), 0.0018),
    "adadelta": 1.0,
    "sgd": 0.1,
}
"""Rules of optax that take a learning rate and nothing but the gradient, each with the rate it has by default.

The rates of one line are those with which `max_steps` steps cross about three units and still come to rest: rules whose
steps do not shrink with the gradient (lion, rmsprop, sign_sgd) end as far from the minimum as their rate.
"""

SCHEDULES = ("cosine", "exponential")

LAST_RATE = 1e-3
"""Fraction of the learning rate at which the exponential schedule ends."""

MOST_FAILURES = 20
"""Failed evaluations in a row that end the run: the learning rate is then a millionth."""


@dataclass(frozen=True, eq=False)
class FirstOrderState:
    """Everything the next step needs.

    Args:
        iteration: Number of steps so far.
        x: Last good point, shape (n,).
        evaluation: There.
        memory: What the rule remembers there, its arrays in order.
        unit: Of gradients.
        last_best: Best cost when it last improved.
        n_idle: Steps since then.
        slowdown: What failures have made of the learning rate.
        n_failures: Failed evaluations since the last good one.
        is_accepted: Whether the last step moved the point.
        reduction: What it took off the best cost.
        step_norm: Its length.
        note: News of its evaluation, or why that failed.
    """

    iteration: int
    x: Vector
    evaluation: Evaluation
    memory: tuple[np.ndarray, ...]
    unit: float
    last_best: float
    n_idle: int = 0
    slowdown: float = 1.0
    n_failures: int = 0
    is_accepted: bool = True
    reduction: float = 0.0
    step_norm: float = math.inf
    note: str = ""


@dataclass(frozen=True)
class OptaxOptimizer(AbstractSteppedOptimizer[FirstOrderState]):
    """A first-order method of optax.

    For objectives that are noisy or have too many variables for anything better; on smooth problems of moderate size
    `LeastSquaresOptimizer` and L-BFGS need far fewer evaluations. Rules with weight decay (adamw, adamaxw, nadamw,
    lion) pull the scaled variables towards zero, as optax defines them; `options={"weight_decay": 0.0}` takes it out.

    Args:
        method: Name of the rule in optax: "adam", "adamw", "sgd", "rmsprop", "adagrad", "lion", ...
        learning_rate: About the length of the first step in scaled variables, in each of them for most rules; None:
            one that suits the rule, see `METHODS`.
        max_steps: Most steps, each one evaluation with gradient.
        schedule: How the learning rate falls over `max_steps`: None: not at all, "cosine" to zero, "exponential" to a
            thousandth.
        patience: Stop when the best cost has not improved by `min_improvement` of it for so many steps; None: never.
        min_improvement: See `patience`.
        options: Further options of the rule, by optax's names: `{"b1": 0.8}`, `{"momentum": 0.9}`.

    Raises:
        SettingsError: No rule or option has that name, or an option has a value it cannot have; or optax is not there.

    Example:
        >>> import fieldfit
        >>> from fieldfit.optimizers.first_order import OptaxOptimizer
        >>> objective = fieldfit.ScalarObjective(lambda p: (p["x"] - 3.0) ** 2, {"x": 1.0})
        >>> result = OptaxOptimizer("adam", schedule="cosine", max_steps=300).optimize(objective)
        >>> round(float(result.x["x"]), 4)
        3.0
    """

    method: str = "adam"
    learning_rate: float | None = None
    max_steps: int = 2000
    schedule: str | None = None
    patience: int | None = None
    min_improvement: float = 1e-6
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingsError(unknown_name("method of OptaxOptimizer", self.method, METHODS))
        if self.learning_rate is not None and not 0.0 < self.learning_rate < math.inf:
            raise SettingsError(f"learning_rate = {self.learning_rate} is not positive. Give a number such as 0.05.")
        if self.max_steps < 1:
            raise SettingsError(f"max_steps = {self.max_steps} leaves nothing to do. Give at least 1.")
        if self.schedule is not None and self.schedule not in SCHEDULES:
            raise SettingsError(unknown_name("schedule", str(self.schedule), [*SCHEDULES, "None"]))
        if self.patience is not None and self.patience < 1:
            raise SettingsError(f"patience = {self.patience} would stop at once. Give at least 1, or None.")
        if not 0.0 <= self.min_improvement < 1.0:
            raise SettingsError(f"min_improvement = {self.min_improvement} is not in [0, 1). Give a small number.")
        if self.options:
            _check_options(self.method, self.options)

    @property
    def name(self) -> str:
        return f"optax-{self.method}"

    @property
    def traits(self) -> Traits:
        return Traits(needs_gradient=True, handles_bounds=True, is_resumable=True)

    @property
    def adjustable_options(self) -> tuple[str, ...]:
        # A schedule ends with the last step, so it is another one for another number of steps.
        return ("patience", "min_improvement", *(("max_steps",) if self.schedule is None else ()))

    def init(self, problem: Recorder, start: Evaluation) -> FirstOrderState:
        memory = self._rule.begin(problem.x0)
        unit = gradient_unit(_gradient(start))
        return FirstOrderState(0, problem.x0.copy(), start, memory, unit, last_best=start.cost)

    def step(self, problem: Recorder, state: FirstOrderState) -> FirstOrderState:
        gradient = _gradient(state.evaluation) / state.unit
        rate = state.slowdown * self.rate(state.iteration)
        x, memory = self._rule.advance(state.x, gradient, state.memory, rate, (problem.lower, problem.upper))
        after = _moved(problem, state, x, memory)
        best, last = problem.best.cost, state.last_best
        is_better = last - best > self.min_improvement * abs(last)
        idle = {"last_best": best, "n_idle": 0} if is_better else {"n_idle": state.n_idle + 1}
        return replace(after, iteration=state.iteration + 1, step_norm=float(np.linalg.norm(x - state.x)), **idle)

    def status(self, state: FirstOrderState) -> str | None:
        if state.n_failures >= MOST_FAILURES:
            return f"{MOST_FAILURES} evaluations in a row failed"
        if self.patience is not None and state.n_idle >= self.patience:
            return f"patience: the best cost has hardly improved in {state.n_idle} steps"
        return f"max_steps: {self.max_steps} steps were made" if state.iteration >= self.max_steps else None

    def news(self, problem: Recorder, state: FirstOrderState) -> dict[str, Any]:
        projected = projected_gradient(state.x, _gradient(state.evaluation), problem.lower, problem.upper)
        return {
            "x": state.x,
            "cost": problem.best.cost if state.iteration else state.evaluation.cost,
            "reduction": state.reduction,
            "step_norm": state.step_norm,
            "optimality": float(np.max(np.abs(projected))),
            "is_accepted": state.is_accepted,
            "note": state.note,
        }

    def outcome(self, problem: Recorder, state: FirstOrderState, message: str) -> Outcome:
        return Outcome(message, state.iteration)

    @property
    def _rule(self) -> _Rule:
        return _rule(self.method, tuple(sorted(self.options.items())))

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        fraction = step / self.max_steps
        first = METHODS[self.method] if self.learning_rate is None else self.learning_rate
        if self.schedule == "cosine":
            return 0.5 * first * (1.0 + math.cos(math.pi * fraction))
        return first * (LAST_RATE**fraction if self.schedule == "exponential" else 1.0)


def gradient_unit(gradient: Vector) -> float:
    """Return the power of two nearest to the length of a gradient; 1 if that is zero."""
    length = float(np.linalg.norm(gradient))
    return 2.0 ** round(math.log2(length)) if length > 0.0 else 1.0


def _moved(problem: Recorder, state: FirstOrderState, x: Vector, memory: tuple[np.ndarray, ...]) -> FirstOrderState:
    """Evaluate the next point and return where the run is then."""
    best = problem.best.cost
    found = problem.evaluate(x, state.evaluation.state)
    if not found.is_finite or found.failure or found.gradient is None:
        note = f"evaluation failed, learning rate halved: {found.failure or 'its derivatives are not finite'}"
        slower = {"slowdown": 0.5 * state.slowdown, "n_failures": state.n_failures + 1}
        return replace(state, is_accepted=False, reduction=0.0, note=note, **slower)
    problem.accept()
    return replace(
        state,
        x=x,
        evaluation=_refresh(problem, x, found),
        memory=memory,
        n_failures=0,
        is_accepted=True,
        reduction=max(0.0, best - problem.best.cost),
        note=found.note,
    )


def _refresh(problem: Recorder, x: Vector, found: Evaluation) -> Evaluation:
    """Evaluate an accepted point again if its residuals mean something new under its new state."""
    if not found.is_stale:
        return found
    again = problem.evaluate(x, found.state)
    if not again.is_finite or again.failure:
        return found
    problem.accept()
    problem.rebase(x, again)
    return again


def _gradient(found: Evaluation) -> Vector:
    if found.gradient is None:
        raise SettingsError("A first-order method needs a gradient. Evaluate with `derivatives=True`.")
    return found.gradient


class _Rule(NamedTuple):
    """A compiled rule of optax.

    Args:
        begin: Takes the start and returns what the rule remembers at first, its arrays in order.
        advance: Takes point, gradient, memory, learning rate and bounds; returns the next point, inside the bounds,
            and the memory there.
    """

    begin: Callable[[Vector], tuple[np.ndarray, ...]]
    advance: Callable[..., tuple[Vector, tuple[np.ndarray, ...]]]


@functools.lru_cache(maxsize=32)
def _rule(method: str, options: tuple[tuple[str, Any], ...]) -> _Rule:
    import jax
    import jax.numpy as jnp

    make = functools.partial(_factory(method), **dict(options))

    # What a rule remembers is a structure of its own; its arrays alone can be stored.
    def begin(x: Any) -> Any:
        return tuple(jax.tree.leaves(make(1.0).init(x)))

    def advance(x: Any, gradient: Any, memory: Any, rate: Any, box: tuple[Any, Any]) -> tuple[Any, Any]:
        structure = jax.tree.structure(jax.eval_shape(make(1.0).init, x))
        update, after = make(rate).update(gradient, jax.tree.unflatten(structure, memory), x)
        return jnp.clip(x + update, *box), tuple(jax.tree.leaves(after))

    return _Rule(in_double_precision(jax.jit(begin)), in_double_precision(jax.jit(advance)))


def _factory(method: str) -> Callable[..., Any]:
    try:
        return getattr(importlib.import_module("optax"), method)
    except ImportError as error:
        raise SettingsError(
            'OptaxOptimizer needs optax, which is not installed. Run `pip install "fieldfit[optax]"`, or use '
            "LeastSquaresOptimizer or ScipyOptimizer."
        ) from error


def _check_options(method: str, options: Mapping[str, Any]) -> None:
    known = [name for name in inspect.signature(_factory(method)).parameters if name != "learning_rate"]
    for name, value in options.items():
        if name not in known:
            raise SettingsError(unknown_name(f"option of {method}", name, known))
        if not isinstance(value, (bool, int, float)):
            raise SettingsError(f"The option {name} of {method} is {value!r}. Give a number, or True or False.")
