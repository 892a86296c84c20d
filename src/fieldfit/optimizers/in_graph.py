"""Solvers that run inside one compiled program, objective and derivatives included, for objectives that JAX can trace.

A call of the program makes up to `ROWS` evaluations and hands all of them back, so that history, best point and steps
are those of any other optimizer. While someone listens or a budget is set, a call makes `LISTENED` of them: that is how
far a run goes on after a wish to stop. The numbers do not depend on either.

`solve_starts` runs many starts of one problem in one program, in lock-step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.diagnostics import projected_gradient
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.problem import AbstractOptimizer, AbstractVectorProblem, Outcome, Recorder, Traits
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

METHODS = {
    "lbfgs": Traits(needs_tracing=True, handles_bounds=True),
    "lbfgsb": Traits(needs_tracing=True, handles_bounds=True),
    "bfgs": Traits(needs_tracing=True, handles_bounds=True),
    "gauss_newton": Traits(needs_tracing=True, handles_bounds=True, needs_residuals=True),
    "lm": Traits(needs_tracing=True, handles_bounds=True, needs_residuals=True),
}
"""What each method needs and can; "lbfgsb" is another name of "lbfgs", which respects bounds."""

ROWS = 256
"""Most evaluations in one call of a program."""

LISTENED = 25
"""Evaluations in one call while observers listen or a budget is set."""

MOST_NUMBERS = 2**22
"""Numbers that the recorded points of one call may take; fewer evaluations are made in it if they would take more."""


@dataclass(frozen=True)
class JaxOptimizer(AbstractOptimizer):
    """Objective, derivatives and solver in one compiled program.

    Pays where an evaluation is cheap (the program has no overhead per evaluation) and for many starts, see
    `solve_starts`. The program is compiled once per objective, method and number of variables: other starts, bounds
    and fixed values reuse it. Every evaluated point lies inside the bounds; one that cannot be evaluated counts as a
    bad step.

    Args:
        method: "lbfgs" or "lbfgsb" (the same: quasi-Newton with limited memory, respects bounds), "bfgs" (with a dense
            matrix, for up to about a hundred variables), or for residuals "lm" (Levenberg-Marquardt) and
            "gauss_newton" (with a line search).
        maxiter: Most trials, accepted or not; each is one evaluation.
        tol: Stop when the next step would be shorter than this fraction of the variables' size.

    Raises:
        SettingsError: No method has that name, or an option has a value it cannot have.

    Example:
        >>> import jax.numpy as jnp
        >>> import fieldfit
        >>> from fieldfit.optimizers.in_graph import JaxOptimizer
        >>> rosenbrock = lambda p: jnp.stack([10.0 * (p["y"] - p["x"] ** 2), 1.0 - p["x"]])
        >>> objective = fieldfit.FunctionObjective(rosenbrock, {"x": -1.2, "y": 1.0})
        >>> result = JaxOptimizer("lm").optimize(objective)
        >>> bool(abs(result.x["x"] - 1.0) < 1e-8)
        True
    """

    method: str = "lbfgs"
    maxiter: int = 200
    tol: float = 1e-8

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingsError(unknown_name("method of JaxOptimizer", self.method, METHODS))
        if self.maxiter < 1:
            raise SettingsError(f"maxiter = {self.maxiter} leaves nothing to do. Give at least 1.")
        if not 0.0 < self.tol < 1.0:
            raise SettingsError(f"tol = {self.tol} is not between 0 and 1. Give a small number, such as 1e-8.")

    @property
    def name(self) -> str:
        return f"jax-{self.method}"

    @property
    def traits(self) -> Traits:
        return METHODS[self.method]

    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        program = _Program(self, problem.problem)
        journal = _Journal(problem, start)
        state = program.begin(problem.x0)
        while program.is_running(state) and journal.n_evaluations <= self.maxiter:
            left = self.maxiter + 1 - journal.n_evaluations
            state, records = program.advance(state, journal.affordable(min(left, program.rows)))
            journal.write(records)
        journal.complete()
        return Outcome(program.message(state.status), journal.n_evaluations - 1)


@dataclass(frozen=True, eq=False)
class EndPoint:
    """Where one of several starts ended.

    Args:
        start: Where it began, shape (n,).
        x: Best point, shape (n,).
        cost: Cost there; infinite if it could not be evaluated at its start.
        message: Why it ended.
        points: Where evaluations were made, in order, shape (evaluations, n).
        costs: What they gave; NaN where cost or derivatives were not finite, shape (evaluations,).
        is_accepted: Whether the point moved there, shape (evaluations,).
    """

    start: Vector
    x: Vector
    cost: float
    message: str
    points: Matrix
    costs: Vector
    is_accepted: np.ndarray

    @property
    def n_evaluations(self) -> int:
        """Evaluations made."""
        return self.costs.size

    def __repr__(self) -> str:
        return f"EndPoint(cost {self.cost:.6g} after {self.n_evaluations} evaluations: {self.message})"


def solve_starts(optimizer: JaxOptimizer, problem: AbstractVectorProblem, starts: Sequence[Vector]) -> list[EndPoint]:
    """Run an optimizer from many starts in one compiled program.

    Each start makes the iterates that it would make alone, to rounding; one that fails does not disturb the others.
    The costs are those of the program: evaluate the best points again for residuals and derivatives.

    Args:
        optimizer: What to run.
        problem: What is evaluated; JAX can trace it.
        starts: Points inside the bounds, each of shape (n,).

    Returns:
        One end point per start, in their order.

    Raises:
        SettingsError: The problem cannot be traced, or lacks residuals that the method needs.
    """
    if not len(starts):
        return []
    program = _Program(optimizer, problem, n_starts=len(starts))
    state, records = _finished(program, program.begin(np.stack(starts)), optimizer.maxiter)
    return [
        _end_point(program, state.status[index], [part[:, index] for part in records]) for index in range(len(starts))
    ]


def solve_start(optimizer: JaxOptimizer, problem: AbstractVectorProblem, start: Vector) -> EndPoint:
    """Run an optimizer from one start by the program that `JaxOptimizer.optimize` uses; see `solve_starts`."""
    program = _Program(optimizer, problem)
    state, records = _finished(program, program.begin(start), optimizer.maxiter)
    return _end_point(program, state.status, records)


def _finished(program: _Program, state: Any, maxiter: int) -> tuple[Any, Any]:
    """Return the last state and all records."""
    blocks, n_made = [], 0
    while program.is_running(state) and n_made <= maxiter:
        state, records = program.advance(state, min(maxiter + 1 - n_made, program.rows))
        blocks.append(records)
        n_made += len(records.costs)
    return state, type(blocks[0])(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _end_point(program: _Program, status: Any, records: Sequence[np.ndarray]) -> EndPoint:
    points, costs, is_accepted, _, is_made = records
    points, costs, is_accepted = points[is_made], costs[is_made], is_accepted[is_made]
    known = np.where(np.isnan(costs), np.inf, costs)
    best = int(np.argmin(known))
    return EndPoint(points[0], points[best], float(known[best]), program.message(status), points, costs, is_accepted)


class _Program:
    """The compiled loop of an optimizer over a problem, with its arguments."""

    def __init__(self, optimizer: JaxOptimizer, problem: Any, *, n_starts: int = 0) -> None:
        _check(optimizer, problem)
        # Imported here: these modules need JAX, a list of optimizers does not.
        from fieldfit.optimizers import compiled_loop, projected_search

        objective, window = compiled_loop.locate(problem)
        self._method = compiled_loop.METHODS[optimizer.method]
        self._call = compiled_loop.program(objective, optimizer.method, is_batch=n_starts > 0)
        self._words, self._optimizer = projected_search, optimizer
        box, tol = projected_search.Box(problem.lower, problem.upper), np.array(optimizer.tol)
        self._setting = compiled_loop.Setting(window, box, tol)
        self._is_batch = n_starts > 0
        self.rows = max(1, min(ROWS, MOST_NUMBERS // (problem.x0.size * max(1, n_starts))))

    def begin(self, x0: np.ndarray) -> Any:
        """Return the state before the first evaluation, of one start or of one per row."""
        if not self._is_batch:
            return self._method.begin(x0)
        return _repeated(self._method.begin(x0[0]), len(x0))._replace(x=x0, trial=x0)

    def advance(self, state: Any, n_turns: int) -> tuple[Any, Any]:
        """Make up to so many evaluations; return the state after them and their records.

        Raises:
            EvaluationError: A part of the objective that runs in Python inside the program raised.
        """
        import jax

        try:
            state, records = self._call(self._setting, state, n_turns, self.rows)
        except jax.errors.JaxRuntimeError as error:
            first_line = next(iter(str(error).splitlines()), "no message")
            raise EvaluationError(f"The compiled program of {self._optimizer.name} stopped: {first_line}") from error
        is_made = records.is_made.any(axis=1) if self._is_batch else records.is_made
        n_made = int(np.count_nonzero(is_made))
        return state, type(records)(*(part[:n_made] for part in records))

    def is_running(self, state: Any) -> bool:
        """Return whether anything is left to do."""
        return bool(np.any(state.status == self._words.RUNNING))

    def message(self, status: Any) -> str:
        """Say why the run of one start is over."""
        words, tol = self._words, self._optimizer.tol
        texts = {
            words.CONVERGED: f"tol: the next step would be shorter than {tol:g} of the variables",
            words.STATIONARY: "the projected gradient is zero",
            words.ROUNDING: "no lower point can be told from rounding",
            words.FAILED: "it cannot be evaluated at its start",
            words.RUNNING: f"maxiter: {self._optimizer.maxiter} trials were made",
        }
        return texts[int(status)]


def _check(optimizer: JaxOptimizer, problem: Any) -> None:
    if not problem.is_traceable:
        raise SettingsError(
            f"{optimizer.name} is one compiled program, but JAX cannot trace the objective from end to end. Use "
            "LeastSquaresOptimizer or ScipyOptimizer, or write every term in JAX."
        )
    if optimizer.traits.needs_residuals and not problem.has_residuals:
        raise SettingsError(f'{optimizer.name} needs residuals, but the objective is a scalar. Use "lbfgs" or "bfgs".')


def _repeated(state: Any, n_starts: int) -> Any:
    """Return a tree of arrays with a first axis of starts, all alike."""
    if isinstance(state, tuple):
        return type(state)(*(_repeated(part, n_starts) for part in state))
    return np.broadcast_to(state, (n_starts, *np.shape(state)))


class _Journal:
    """What a run in the graph leaves in a recorder: evaluations, best point and steps."""

    def __init__(self, problem: Recorder, start: Evaluation) -> None:
        self.n_evaluations = 0
        self._problem, self._start = problem, start
        self._x, self._cost = problem.x0, start.cost
        gradient = start.gradient if start.gradient is not None else np.full(problem.x0.size, np.nan)
        projected = projected_gradient(problem.x0, gradient, problem.lower, problem.upper)
        optimality = float(np.max(np.abs(projected)))
        problem.tell(
            problem.x0, cost=start.cost, reduction=0.0, step_norm=np.inf, optimality=optimality, is_accepted=True
        )

    def affordable(self, wanted: int) -> int:
        """Return how many evaluations the next call makes.

        Raises:
            Interruption: A budget is spent.
        """
        self._problem.check_budgets()
        left = self._problem.n_left
        listened = min(wanted, LISTENED) if self._problem.is_observed else wanted
        return listened if left is None else min(listened, left)

    def write(self, records: Any) -> None:
        """Record the evaluations of one call and tell the steps.

        Raises:
            Interruption: An observer asked to stop; all evaluations are recorded.
        """
        found = [self._evaluation(*row) for row in zip(records.points, records.costs, strict=True)]
        # The first evaluation repeats the start, which is accepted already and is no step.
        is_first = np.arange(len(found)) + self.n_evaluations == 0
        is_accepted = records.is_accepted & ~is_first
        self.n_evaluations += len(found)
        n_recorded = 0
        try:
            for row in np.flatnonzero(~is_first) if self._problem.is_observed else ():
                end = row + 1
                part = slice(n_recorded, end)
                self._problem.record_block(records.points[part], found[part], is_accepted[part])
                n_recorded = end
                self._tell(records.points[row], found[row], bool(is_accepted[row]), float(records.optimality[row]))
        finally:
            part = slice(n_recorded, None)
            self._problem.record_block(records.points[part], found[part], is_accepted[part])

    def complete(self) -> None:
        """Evaluate the best point outside the graph, for its residuals, derivatives and state.

        Raises:
            Interruption: A budget is spent.
        """
        x, best = self._problem.best_x, self._problem.best
        if best.gradient is not None or not np.isfinite(best.cost):
            return
        found = self._problem.evaluate(x, best.state)
        if found.is_finite and not found.failure:
            # The two evaluations differ by rounding; no other one in the history is to look better than the best.
            self._problem.rebase(x, replace(found, cost=min(found.cost, best.cost)))

    def _tell(self, x: Vector, found: Evaluation, is_accepted: bool, optimality: float) -> None:
        news = {
            "reduction": self._cost - found.cost if is_accepted else 0.0,
            "step_norm": float(np.linalg.norm(x - self._x)),
            "optimality": optimality,
            "is_accepted": is_accepted,
            "note": f"evaluation failed: {found.failure}" if found.failure else "",
        }
        if is_accepted:
            self._x, self._cost = x, found.cost
        self._problem.tell(self._x, cost=self._cost, **news)

    def _evaluation(self, x: Vector, cost: float) -> Evaluation:
        if np.isfinite(cost):
            return Evaluation(float(cost), state=self._start.state)
        failure = f"the objective or its derivatives are not finite at {self._problem.problem.describe(x)}"
        return Evaluation(np.nan, state=self._start.state, failure=failure)
