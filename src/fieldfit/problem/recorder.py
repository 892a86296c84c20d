"""A problem that remembers: what optimizers work on, and what results are made of.

A recorder looks like the problem and counts and keeps every evaluation. Solvers get solvers by `solve`: a part of the
same run from another start, or in some of the variables, with one history, one budget and one best point.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fieldfit.errors import EvaluationError
from fieldfit.execution import Completed, ordered_map
from fieldfit.objectives import Evaluation
from fieldfit.problem.interface import AbstractVectorProblem
from fieldfit.problem.observers import Budget, Observer, Step
from fieldfit.problem.subproblem import Subproblem
from fieldfit.typing import Matrix, Vector

if TYPE_CHECKING:
    from fieldfit.problem.checkpoint import CheckpointWriter
    from fieldfit.problem.optimizer import AbstractOptimizer

NOTHING = Evaluation(np.inf, violation=np.inf)
"""Stands for the best evaluation before there is any."""

REMEMBERED_STEPS = 6
"""Accepted points that are kept to tell how fast a run still moved: the last five steps between them."""


class HistoryEntry(NamedTuple):
    """One evaluation: its number, the cost it gave, whether the point was accepted, whether derivatives were made.

    `violation` is that of the constraints in units of their tolerances.
    """

    evaluation: int
    cost: float
    is_accepted: bool
    has_derivatives: bool
    violation: float = 0.0


class Interruption(BaseException):
    """Ends a run from within: an observer asked to stop, or a budget is spent.

    Not an `Exception`, so that no solver mistakes it for a failure of the model.
    """


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a solver inside another.

    Args:
        start: Where it began, flat and scaled, shape (n,).
        x: Best point, shape (n,).
        best: Evaluation there; its cost is infinite if nothing could be evaluated.
        message: Why it ended.
        n_iterations: Turns of the solver.
        n_evaluations: Evaluations it made.
        failure: Why it could not run; None if it could.
    """

    start: Vector
    x: Vector
    best: Evaluation
    message: str
    n_iterations: int
    n_evaluations: int
    failure: str | None = None


@dataclass(frozen=True, eq=False)
class Record:
    """What a recorder remembers, without the problem: what comes back from a worker.

    Args:
        history: One entry per evaluation.
        failures: What went wrong, with how often.
        n_differences: Further evaluations made for differences.
        accepted: Cost and point of the last accepted points.
        best_x: Best point, shape (n,).
        best: Evaluation there.
        best_index: Its place in the history, from 0; -1 if it is not there.
        steps: Steps that were told.
        iteration: Number of the last step told.
        accepted_violation: That of the constraints at the last accepted point, in units of their tolerances.
    """

    history: tuple[HistoryEntry, ...]
    failures: dict[str, int]
    n_differences: int
    accepted: tuple[tuple[float, Vector], ...]
    best_x: Vector
    best: Evaluation
    best_index: int
    steps: tuple[Step, ...] = ()
    iteration: int = -1
    accepted_violation: float = 0.0


def _nothing() -> None:
    """Stand for the state of an optimizer that has none to store."""


class Recorder:
    """A problem with history, best point, failures, observers and budgets.

    Args:
        problem: What is evaluated.
        observers: Each is called with every step.
        executor: Where batches are evaluated; None: here.
        parent: The recorder of the run this one is part of.

    Attributes:
        x0: Start, shape (n,).
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).
        labels: One label per variable.
        constraints: What must hold besides bounds; None if nothing.
        best_x: Point of the lowest cost so far, constraints first, shape (n,).
        best: Evaluation there.
        history: One entry per evaluation.
        failures: What went wrong, with how often.
        iteration: Number of the last step told; -1 before the first.
        keeper: Stores every step, before observers hear of it; None: nothing is stored.
        stored_state: Packed state of an earlier run that goes on here; None if the run begins.
    """

    def __init__(
        self,
        problem: AbstractVectorProblem,
        observers: Sequence[Observer] = (),
        *,
        executor: Executor | None = None,
        parent: Recorder | None = None,
    ) -> None:
        self.problem = problem
        self.x0, self.lower, self.upper = problem.x0, problem.lower, problem.upper
        self.labels = problem.labels
        self.has_residuals, self.has_derivatives = problem.has_residuals, problem.has_derivatives
        self.is_traceable, self.is_noisy = problem.is_traceable, problem.is_noisy
        self.constraints = problem.constraints
        self.executor = executor
        self.best_x, self.best = problem.x0, NOTHING
        self.history: list[HistoryEntry] = []
        self.failures: dict[str, int] = {}
        self.iteration = -1
        self.n_differences = 0
        self.accepted: deque[tuple[float, Vector]] = deque(maxlen=REMEMBERED_STEPS)
        self._last_x, self._best_index = problem.x0, -1
        self._accepted_violation = 0.0
        self._observers = tuple(observers)
        self._budgets = tuple(observer for observer in observers if isinstance(observer, Budget))
        self._begin = time.perf_counter()
        self._parent = parent
        self.keeper: CheckpointWriter | None = None
        self.stored_state: Any = None

    @property
    def n_evaluations(self) -> int:
        """Evaluations so far."""
        return len(self.history)

    @property
    def is_observed(self) -> bool:
        """Whether anyone listens to `tell`."""
        if self._parent is not None:
            return self._parent.is_observed
        return bool(self._observers) or self.keeper is not None

    def initial_state(self) -> Any:
        """Return the state of the first evaluation."""
        return self.problem.initial_state()

    def begin(self, start: Evaluation | None = None, *, derivatives: bool) -> Evaluation:
        """Return the evaluation at the start, accepted if it can be evaluated.

        Args:
            start: That evaluation if it is known already, of all variables of the run this one is part of.
            derivatives: Whether derivatives are wanted.
        """
        if start is not None and (start.gradient is not None or start.failure or not derivatives):
            found = self.problem.restrict(start) if isinstance(self.problem, Subproblem) else start
            if found.is_finite and not found.failure:
                self.best = found
            return found
        found = self.evaluate(self.x0, self.initial_state(), derivatives=derivatives)
        if found.is_finite and not found.failure:
            self.accept()
        return found

    def evaluate(self, x: Vector, state: Any, *, derivatives: bool = True) -> Evaluation:
        """Evaluate, count and remember; see `VectorProblem.evaluate`.

        Raises:
            Interruption: A budget is spent.
        """
        self.check_budgets()
        found = self.problem.evaluate(x, state, derivatives=derivatives)
        self._remember(x, found, derivatives=derivatives)
        return found

    def evaluate_many(self, points: Sequence[Vector], state: Any, *, derivatives: bool = False) -> list[Evaluation]:
        """Evaluate independent points, over the executor if there is one; recorded in their order.

        Raises:
            Interruption: A budget is spent; points that fitted in are evaluated and recorded.
        """
        if self.executor is None:
            return [self.evaluate(point, state, derivatives=derivatives) for point in points]
        self.check_budgets()
        function = functools.partial(_evaluate, self.problem, derivatives)
        affordable = points[: self.n_left]
        answers = ordered_map(function, [(point, state) for point in affordable], self.executor)
        found = [_evaluation(answer, state) for answer in answers]
        for point, entry in zip(affordable, found, strict=True):
            self._remember(point, entry, derivatives=derivatives)
        if len(affordable) < len(points):
            self.check_budgets()
        return found

    def hessian(self, x: Vector, state: Any) -> Matrix:
        """Return the second derivatives of the cost; see `VectorProblem.hessian`."""
        self._count_second(2 * x.size)
        return self.problem.hessian(x, state)

    def constraint_hessian(self, x: Vector, multipliers: Vector) -> Matrix:
        """Return the second derivatives of the weighted constraints; see `VectorProblem.constraint_hessian`."""
        return self.problem.constraint_hessian(x, multipliers)

    def hessian_product(self, x: Vector, direction: Vector, state: Any) -> Vector:
        """Return the Hessian of the cost times a direction; see `VectorProblem.hessian`."""
        self._count_second(2)
        return self.problem.hessian_product(x, direction, state)

    def accept(self) -> None:
        """Mark the last evaluation as one that was accepted."""
        self._accept(len(self.history) - 1, self._last_x)

    def accept_best(self) -> None:
        """Mark the best evaluation so far as accepted, if it is not yet: for methods that work on populations."""
        if self._best_index >= 0 and not self.history[self._best_index].is_accepted:
            self._accept(self._best_index, self.best_x)

    def rebase(self, x: Vector, found: Evaluation) -> None:
        """Make a point the best one although its cost may have risen: its residuals mean something new (`is_stale`)."""
        self.best_x, self.best, self._best_index = x.copy(), found, len(self.history) - 1

    def tell(self, x: Vector, *, cost: float, stored: Callable[[], Any] = _nothing, **news: Any) -> None:
        """Tell every observer about a step; steps are numbered from 0, the start.

        Args:
            x: Current point, shape (n,).
            cost: Cost there, or at the best point.
            stored: Gives the optimizer's packed state if a run could be continued from it. That of a part is not kept:
                the whole cannot be continued from it.
            **news: The other fields of `Step` but its numbers and `values`. Left out, `violation` is that of the
                evaluation at x if it is the best or the last one, else of the last that was accepted.

        Raises:
            Interruption: An observer asked to stop.
        """
        self.iteration += 1
        if self.is_observed:
            news = {"violation": self._violation_at(x), **news}
        if self._parent is not None:
            self._parent.tell(self.embed(x), cost=_lower(cost, self._parent.best), **news)
            return
        if not self.is_observed:
            return
        step = Step(
            iteration=self.iteration,
            n_evaluations=self.n_evaluations,
            x=x.copy(),
            cost=cost,
            values=self.problem.values(x),
            **news,
        )
        if self.keeper is not None:
            self.keeper(step, self.record(), stored)
        # A list, not a generator: every observer hears of every step, also after one of them asked to stop.
        answers = [observer(step) for observer in self._observers]
        if any(answer is True for answer in answers):
            raise Interruption("observer asked to stop")

    def _violation_at(self, x: Vector) -> float:
        """Return how far constraints are violated at a point that was told, in units of their tolerances."""
        if self.constraints is None or not self.history:
            return 0.0
        if np.array_equal(x, self.best_x):
            return self.best.violation
        return self.history[-1].violation if np.array_equal(x, self._last_x) else self._accepted_violation

    def solve(
        self,
        optimizer: AbstractOptimizer,
        x0: Vector,
        *,
        free: np.ndarray | None = None,
        state: Any = None,
        start: Evaluation | None = None,
    ) -> Run:
        """Run another optimizer as a part of this run.

        Args:
            optimizer: What to run.
            x0: Its start, inside the bounds, shape (n,).
            free: Indices of the variables that it varies; None: all.
            state: State of its first evaluation; None: that of the problem.
            start: Evaluation at x0 if it is known, of all variables, with derivatives if the optimizer needs them.

        Returns:
            What became of it, in all variables. Its best point is offered to this run.

        Raises:
            Interruption: An observer asked to stop, or a budget is spent.
        """
        child = Recorder(Subproblem(self.problem, x0, free=free, state=state), executor=self.executor, parent=self)
        try:
            return run_part(optimizer, child, x0, start)
        finally:
            before = len(self.history) - len(child.history)
            self.offer(child.embed(child.best_x), child.best, before + child._best_index)

    def offer(self, x: Vector, found: Evaluation, index: int) -> None:
        """Take the best point of a part of this run if it is better than the best one here.

        Args:
            x: The point in all variables, shape (n,).
            found: Evaluation there, of the part.
            index: Place of that evaluation in the history, from 0.
        """
        if found.is_finite and found.is_better_than(self.best):
            whole = found.gradient is None or found.gradient.size == x.size
            self.best_x, self.best = x.copy(), found if whole else replace(found, gradient=None, jacobian=None)
            self._best_index = index

    def record(self, steps: Sequence[Step] = ()) -> Record:
        """Return what is remembered, with the steps that an observer collected."""
        return Record(
            tuple(self.history),
            dict(self.failures),
            self.n_differences,
            tuple(self.accepted),
            self.best_x,
            self.best,
            self._best_index,
            tuple(steps),
            self.iteration,
            self._accepted_violation,
        )

    def restore(self, record: Record, stored_state: Any) -> None:
        """Remember what an earlier run did, to go on with it.

        Args:
            record: What that run remembered.
            stored_state: The packed state of its optimizer.
        """
        self.history, self.failures = list(record.history), dict(record.failures)
        self.n_differences, self.iteration = record.n_differences, record.iteration
        self.accepted.extend(record.accepted)
        self.best_x, self.best, self._best_index = record.best_x, record.best, record.best_index
        self._accepted_violation, self.stored_state = record.accepted_violation, stored_state

    def absorb(self, part: Record) -> None:
        """Append a part of this run that was made elsewhere: history, failures, best point, and its steps.

        Raises:
            Interruption: An observer asked to stop; the part has been taken over by then.
        """
        offset, best = len(self.history), self.best
        self.history += [entry._replace(evaluation=offset + entry.evaluation) for entry in part.history]
        self.n_differences += part.n_differences
        for failure, count in part.failures.items():
            self.failures[failure] = self.failures.get(failure, 0) + count
        self.accepted.extend(part.accepted)
        self.offer(part.best_x, part.best, offset + part.best_index)
        for step in part.steps:
            told = {
                name: getattr(step, name)
                for name in ("reduction", "step_norm", "optimality", "is_accepted", "note", "violation")
            }
            self.tell(step.x, cost=_lower(step.cost, best), **told)

    def embed(self, x: Vector) -> Vector:
        """Return a point of this run in all variables of the run it is part of."""
        return self.problem.embed(x) if isinstance(self.problem, Subproblem) else x

    def count_differences(self, number: int) -> None:
        """Count evaluations that were made for differences outside of this recorder."""
        self.n_differences += number
        if self._parent is not None:
            self._parent.count_differences(number)

    def _count_second(self, n_gradients: int) -> None:
        """Count the gradients that are differenced for second derivatives."""
        if not self.is_traceable:
            self.count_differences(n_gradients)

    def check_budgets(self) -> None:
        """Stop if a budget of this run, or of the run it is part of, is spent.

        Raises:
            Interruption: One is.
        """
        if self._parent is not None:
            self._parent.check_budgets()
        for budget in self._budgets:
            reason = budget.spent(len(self.history), time.perf_counter() - self._begin)
            # A run without its first evaluation would have nothing to return.
            if reason and self.history:
                raise Interruption(reason)

    @property
    def n_left(self) -> int | None:
        """Evaluations that budgets leave; None if they set no limit."""
        if self._parent is not None:
            return self._parent.n_left
        limits = [budget.evaluations for budget in self._budgets if budget.evaluations is not None]
        return min(limits) - len(self.history) if limits else None

    def _remember(self, x: Vector, found: Evaluation, *, derivatives: bool) -> None:
        self._log(found, derivatives=derivatives)
        self._last_x = x
        same = found.cost == self.best.cost and found.violation == self.best.violation
        is_better = found.is_better_than(self.best) or (same and self.best.gradient is None)
        if is_better and found.is_finite and not found.failure:
            self.best_x, self.best, self._best_index = x.copy(), found, len(self.history) - 1

    def _log(self, found: Evaluation, *, derivatives: bool) -> None:
        self.history.append(HistoryEntry(len(self.history) + 1, found.cost, False, derivatives, found.violation))
        self.n_differences += found.n_differences
        if found.failure:
            self.failures[found.failure] = self.failures.get(found.failure, 0) + 1
        if self._parent is not None:
            self._parent._log(found, derivatives=derivatives)

    def _accept(self, index: int, x: Vector) -> None:
        entry = self.history[index]
        if not entry.is_accepted:
            self.accepted.append((entry.cost, x.copy()))
            self._accepted_violation = entry.violation
        self.history[index] = entry._replace(is_accepted=True)
        if self._parent is not None:
            # The evaluations of a part under way are the last ones of the whole.
            before = len(self._parent.history) - len(self.history)
            self._parent._accept(before + index, self.embed(x))

    def record_block(self, points: Matrix, found: Sequence[Evaluation], is_accepted: np.ndarray) -> None:
        """Remember evaluations that a compiled program made by itself.

        Args:
            points: Where they were made, in order, shape (k, n).
            found: What they gave, k of them, with or without derivatives.
            is_accepted: Whether the point moved there, shape (k,).
        """
        for point, entry, was_accepted in zip(points, found, is_accepted, strict=True):
            self._remember(point, entry, derivatives=True)
            if was_accepted:
                self.accept()


def run_part(optimizer: AbstractOptimizer, recorder: Recorder, x0: Vector, start: Evaluation | None = None) -> Run:
    """Run an optimizer on a recorder of its own and say what became of it.

    Args:
        optimizer: What to run.
        recorder: Of the part.
        x0: Its start in all variables, shape (n,).
        start: Evaluation there if it is known, of all variables.
    """
    found = recorder.begin(start, derivatives=optimizer.traits.needs_gradient)
    failure, n_iterations = None, 0
    if optimizer.traits.needs_finite_start and (found.failure or not found.is_finite):
        message = failure = f"it cannot be evaluated at its start: {found.failure or 'derivatives are not finite'}"
    else:
        try:
            outcome = optimizer.run(recorder, found)
            message, n_iterations = outcome.message, outcome.n_iterations
        except EvaluationError as error:
            message = failure = str(error)
    x = recorder.embed(recorder.best_x)
    return Run(x0, x, recorder.best, message, n_iterations, recorder.n_evaluations, failure)


def _lower(cost: float, best: Evaluation) -> float:
    """Return the cost that is told of a part: that of the best point so far, unless constraints decide what is best."""
    return min(cost, best.cost) if np.isfinite(best.cost) and best.constraints is None else cost


def _evaluate(problem: AbstractVectorProblem, derivatives: bool, x: Vector, state: Any) -> Evaluation:
    return problem.evaluate(x, state, derivatives=derivatives)


def _evaluation(answer: Completed, state: Any) -> Evaluation:
    return answer.value if answer.failure is None else Evaluation(np.nan, state=state, failure=answer.failure)
