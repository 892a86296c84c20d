"""The contract of an optimizer, and the run around it that every optimizer shares.

An optimizer is a frozen record of options. Its `run` gets a `Recorder`, which looks like the problem, counts and keeps
every evaluation, and tells observers about every step. `optimize` turns what came out into a result: it keeps the best
point seen, measures optimality by itself and never reports a point worse than the start.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.diagnostics import free_variables, predicted_reduction, projected_gradient
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import AbstractObjective, Evaluation
from fieldfit.parameters import ParameterSpace
from fieldfit.problem.observers import Observer, Step
from fieldfit.problem.problem import Problem
from fieldfit.problem.result import HistoryEntry, OptimizationResult
from fieldfit.problem.vector import VectorProblem
from fieldfit.typing import Vector

STATIONARY = 1e-4
"""A point counts as stationary if a Gauss-Newton step would gain less than this fraction of its cost."""

PERFECT = float(np.finfo(float).eps)
"""A cost below this, and below this fraction of the first one, counts as zero: no fraction of it says anything."""


@dataclass(frozen=True)
class Traits:
    """What an optimizer declares about itself.

    Args:
        needs_residuals: It works on the residual vector only.
        needs_gradient: It uses first derivatives.
        handles_bounds: It never evaluates outside bounds.
        is_resumable: A run continued from its state equals an uninterrupted one.
    """

    needs_residuals: bool = False
    needs_gradient: bool = True
    handles_bounds: bool = False
    is_resumable: bool = False


@dataclass(frozen=True)
class Outcome:
    """How an optimizer ended: its message and the number of its turns."""

    message: str
    n_iterations: int


class Recorder:
    """A problem that remembers: evaluations, accepted points, the best of them, failures.

    It has the attributes and the `evaluate` of `VectorProblem`; optimizers take one for the other.
    """

    def __init__(self, problem: VectorProblem, observers: Sequence[Observer]) -> None:
        self.problem = problem
        self.x0, self.lower, self.upper = problem.x0, problem.lower, problem.upper
        self.labels = problem.labels
        self.has_residuals, self.has_derivatives = problem.has_residuals, problem.has_derivatives
        self.best_x, self.best = problem.x0, Evaluation(np.inf)
        self.history: list[HistoryEntry] = []
        self.failures: dict[str, int] = {}
        self._observers = tuple(observers)

    @property
    def n_evaluations(self) -> int:
        """Evaluations so far."""
        return len(self.history)

    @property
    def is_observed(self) -> bool:
        """Whether anyone listens to `tell`."""
        return bool(self._observers)

    def initial_state(self) -> Any:
        """Return the state of the first evaluation."""
        return self.problem.initial_state()

    def evaluate(self, x: Vector, state: Any, *, derivatives: bool = True) -> Evaluation:
        """Evaluate, count and remember; see `VectorProblem.evaluate`."""
        found = self.problem.evaluate(x, state, derivatives=derivatives)
        self.history.append(HistoryEntry(len(self.history) + 1, found.cost, False, derivatives))
        if found.failure:
            self.failures[found.failure] = self.failures.get(found.failure, 0) + 1
        elif found.is_finite and (
            found.cost < self.best.cost or (found.cost == self.best.cost and self.best.gradient is None)
        ):
            self.best_x, self.best = x.copy(), found
        return found

    def accept(self) -> None:
        """Mark the last evaluation as one that was accepted."""
        last = self.history[-1]
        self.history[-1] = HistoryEntry(last.evaluation, last.cost, True, last.has_derivatives)

    def rebase(self, x: Vector, found: Evaluation) -> None:
        """Make a point the best one although its cost may have risen: its residuals mean something new (`is_stale`)."""
        self.best_x, self.best = x.copy(), found

    def tell(self, x: Vector, *, iteration: int, **news: Any) -> bool:
        """Tell every observer about a step.

        Args:
            x: Current point, shape (n,).
            iteration: Number of the turn.
            **news: The other fields of `Step`.

        Returns:
            Whether one of them asked to stop.
        """
        step = Step(
            iteration=iteration,
            n_evaluations=self.n_evaluations,
            x=x.copy(),
            values=self.problem.space.values(x),
            **news,
        )
        # A list, not a generator: every observer hears of every step, also after one of them asked to stop.
        answers = [observer(step) for observer in self._observers]
        return any(answer is True for answer in answers)


class AbstractOptimizer(ABC):
    """A way to answer a problem."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in results and messages."""

    @property
    @abstractmethod
    def traits(self) -> Traits:
        """What it declares about itself."""

    @abstractmethod
    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        """Make the cost smaller.

        Args:
            problem: What to evaluate, with bounds and start.
            start: The evaluation at the start, derivatives included.

        Returns:
            How it ended; the best point is in the recorder.
        """

    def optimize(
        self,
        problem: Problem | AbstractObjective,
        *,
        observers: Sequence[Observer] = (),
    ) -> OptimizationResult:
        """Run to the end.

        Args:
            problem: The problem, or an objective with its own parameters.
            observers: Each is called with every `Step`; returning True ends the run.

        Returns:
            The best point seen and what is known about it.

        Raises:
            EvaluationError: The objective cannot be evaluated at the start.
            SettingsError: This optimizer cannot take such a problem.
        """
        problem = Problem(problem) if isinstance(problem, AbstractObjective) else problem
        if self.traits.needs_residuals and not problem.objective.traits.has_residuals:
            raise SettingsError(
                f"{self.name} needs residuals, but the objective is a scalar. Give residuals, or use "
                'ScipyOptimizer("L-BFGS-B").'
            )
        begin = time.perf_counter()
        recorder = Recorder(problem.vector(), observers)
        start = recorder.evaluate(recorder.x0, recorder.initial_state(), derivatives=True)
        _check_start(start)
        recorder.accept()
        outcome = self.run(recorder, start)
        return _result(self.name, problem, recorder, start, outcome, time.perf_counter() - begin)


def _check_start(start: Evaluation) -> None:
    if start.failure or not start.is_finite:
        reason = start.failure or "its derivatives are not finite"
        raise EvaluationError(
            f"The objective cannot be evaluated at the start: {reason.rstrip('.')}. "
            "Move the start, or correct the model."
        )


def _result(
    name: str, problem: Problem, recorder: Recorder, start: Evaluation, outcome: Outcome, wall_time: float
) -> OptimizationResult:
    space: ParameterSpace = recorder.problem.space
    x, best = recorder.best_x, recorder.best
    if best.gradient is None:
        best = recorder.evaluate(x, best.state, derivatives=True)
    is_perfect = best.residuals is not None and best.cost <= PERFECT * min(start.cost, 1.0)
    optimality = 0.0 if is_perfect else _optimality(x, best, recorder)
    parameters = problem.parameters
    final = parameters.replace(_inside_bounds(parameters.split(space.physical(x)), problem))
    slices = problem.objective.term_slices()
    return OptimizationResult(
        success=bool(optimality <= STATIONARY),
        message=outcome.message,
        method=name,
        parameters=final,
        initial_parameters=parameters,
        initial_score=start.score,
        final_score=best.score,
        n_iterations=outcome.n_iterations,
        n_evaluations=recorder.n_evaluations,
        n_derivative_evaluations=sum(entry.has_derivatives for entry in recorder.history),
        optimality=optimality,
        residuals=best.residuals,
        jacobian=None if best.jacobian is None else best.jacobian / space.scale,
        gradient=None if best.gradient is None else best.gradient / space.scale,
        terms={label: (_squares(start, part), _squares(best, part)) for label, part in slices.items()},
        history=tuple(recorder.history),
        failures=tuple(f"{text} ({count} times)" if count > 1 else text for text, count in recorder.failures.items()),
        wall_time=wall_time,
        versions=versions(),
        state=best.state,
    )


def _inside_bounds(values: dict[str, np.ndarray], problem: Problem) -> dict[str, np.ndarray]:
    """Undo rounding in x * scale, which may leave a value one bit outside its bounds."""
    return {
        entry.name: np.asarray(np.clip(values[entry.name], entry.lower, entry.upper)) for entry in problem.parameters
    }


def _optimality(x: Vector, best: Evaluation, recorder: Recorder) -> float:
    if best.gradient is None or not best.is_finite:
        return np.inf
    if best.residuals is None or best.jacobian is None:
        projected = projected_gradient(x, best.gradient, recorder.lower, recorder.upper)
        return float(np.max(np.abs(projected), initial=0.0)) / max(1.0, abs(best.cost))
    if best.cost == 0.0:
        return 0.0
    curvature = np.sum(best.jacobian**2, axis=0)
    is_free = free_variables(x, best.gradient, recorder.lower, recorder.upper, curvature=curvature)
    return predicted_reduction(best.jacobian, best.residuals, is_free) / best.cost


def _squares(evaluation: Evaluation, part: slice) -> float:
    if evaluation.residuals is None:
        return evaluation.score
    return float(np.sum(evaluation.residuals[part] ** 2))


def versions() -> dict[str, str]:
    """Return the versions of the programs that a number depends on."""
    return dict(_installed_versions())


@functools.cache
def _installed_versions() -> dict[str, str]:
    # Reading the metadata takes milliseconds, longer than many a fit.
    names = ("fieldfit", "numpy", "scipy", "jax", "jaxlib")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
