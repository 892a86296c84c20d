"""The contract of an optimizer, and the run around it that every optimizer shares.

An optimizer is a frozen record of options. Its `run` gets a `Recorder`, which looks like the problem, counts and keeps
every evaluation, and tells observers about every step. `optimize` turns what came out into a result: it keeps the best
point seen, finds out by itself whether that point is stationary, and never reports a point worse than the start.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.blas import one_blas_thread
from fieldfit.diagnostics import Multipliers
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.execution import ExecutorChoice, open_executor
from fieldfit.objectives import AbstractObjective, Evaluation
from fieldfit.parameters import ProjectedSpace
from fieldfit.problem.checkpoint import Checkpoint, CheckpointWriter, Question, SavedRun, as_checkpoint
from fieldfit.problem.constrained_verdict import judge_constrained
from fieldfit.problem.constraint_report import report_constraints
from fieldfit.problem.derivatives import DerivativeOptions
from fieldfit.problem.fingerprint import option_fingerprint, problem_fingerprint, start_fingerprint
from fieldfit.problem.observers import Observer
from fieldfit.problem.problem import Problem
from fieldfit.problem.recorder import Interruption, Recorder, Run
from fieldfit.problem.result import OptimizationResult
from fieldfit.problem.resuming import as_saved, begun_anew, check_cost, continued, resumption_note
from fieldfit.problem.vector import VectorProblem
from fieldfit.problem.verdict import MOST_TWICE_DIFFERENCED, Verdict
from fieldfit.typing import FilePath, Vector

ROUNDING = 1e-9
"""Part of a score that says nothing."""

STOPPING_OPTIONS = ("ftol", "xtol", "gtol", "ctol", "target_cost", "maxiter")
"""Options that only say when to stop."""

LISTED_FAILURES = 5
"""Failures that a result quotes in full; of the rest it says how many there were."""


@dataclass(frozen=True)
class Traits:
    """What an optimizer declares about itself.

    Args:
        needs_residuals: It works on the residual vector only.
        needs_gradient: It uses first derivatives.
        needs_hessian: It uses second derivatives too.
        needs_tracing: It runs inside one compiled program, so JAX must be able to trace the objective.
        needs_bounds: It searches between bounds, so every variable must have both.
        needs_finite_start: It cannot begin where the objective cannot be evaluated.
        handles_bounds: It never evaluates outside bounds.
        handles_constraints: It takes equalities and inequalities between functions of the parameters.
        is_global: It looks beyond the basin of its start.
        is_stochastic: It draws random numbers; the same seed gives the same bits.
        is_parallel: It evaluates independent points, over an executor if there is one.
        is_resumable: A run continued from its state equals an uninterrupted one.
    """

    needs_residuals: bool = False
    needs_gradient: bool = True
    needs_hessian: bool = False
    needs_tracing: bool = False
    needs_bounds: bool = False
    needs_finite_start: bool = True
    handles_bounds: bool = False
    handles_constraints: bool = False
    is_global: bool = False
    is_stochastic: bool = False
    is_parallel: bool = False
    is_resumable: bool = False


@dataclass(frozen=True)
class Outcome:
    """How an optimizer ended.

    Args:
        message: Why, in its own words.
        n_iterations: Number of its turns.
        runs: Runs of other optimizers that it is made of.
        cycle_scores: Score after each cycle of `CyclingOptimizer`.
        seed: Of the random numbers; None if there were none.
        multipliers: What the optimizer found itself, one per row of the constraints it was given; None if it did not.
    """

    message: str
    n_iterations: int
    runs: tuple[Run, ...] = ()
    cycle_scores: tuple[float, ...] = ()
    seed: int | None = None
    multipliers: Vector | None = None


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

    @property
    def derivative_options(self) -> DerivativeOptions:
        """Which derivatives it asks for; exact ones where there are any unless it says otherwise."""
        return DerivativeOptions()

    @property
    def adjustable_options(self) -> tuple[str, ...]:
        """Names of options that may be others when a run is continued: they say when to stop, not how to go on."""
        return STOPPING_OPTIONS

    @abstractmethod
    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        """Make the cost smaller.

        Args:
            problem: What to evaluate, with bounds and start.
            start: The evaluation at the start, derivatives included if it needs them.

        Returns:
            How it ended; the best point is in the recorder.
        """

    def optimize(
        self,
        problem: Problem | AbstractObjective,
        *,
        observers: Sequence[Observer] = (),
        executor: ExecutorChoice = None,
        checkpoint: FilePath | Checkpoint | None = None,
        resume: FilePath | SavedRun | None = None,
    ) -> OptimizationResult:
        """Run to the end.

        Args:
            problem: The problem, or an objective with its own parameters.
            observers: Each is called with every `Step`; returning True ends the run.
            executor: Where independent evaluations are made (starts, populations, points of finite differences): any
                `concurrent.futures.Executor`, "threads", "processes", with ":4" for four workers, or a number of
                processes; None: here, one after the other. The answer is the same.
            checkpoint: File that accepted steps are stored in, as often as costs little; a `Checkpoint` can say how
                often.
            resume: File of an earlier run, or that run as `read_checkpoint` returns it. If the optimizer `is_resumable`
                the run is continued, to the same bits as if it had not been interrupted; otherwise it begins anew at
                the best point, and the message of the result says so. The problem has to be the same, as it was
                before that run, and the optimizer too, but for its `adjustable_options`.

        Returns:
            The best point seen and what is known about it.

        Raises:
            EvaluationError: The objective cannot be evaluated at the start.
            SettingsError: This optimizer cannot take such a problem, or the earlier run asked something else.
            FileFormatError: The file of the earlier run is missing or damaged.
        """
        problem = Problem(problem) if isinstance(problem, AbstractObjective) else problem
        wanted = None if checkpoint is None else as_checkpoint(checkpoint)
        saved = None if resume is None else as_saved(resume)
        earlier = saved if saved is not None and self.traits.is_resumable and saved.has_state else None
        problem = begun_anew(problem, saved, self.name) if saved is not None and earlier is None else problem
        begin = time.perf_counter() - (0.0 if earlier is None else earlier.seconds)
        with open_executor(executor) as workers, one_blas_thread():
            vector = problem.vector(derivatives=self.derivative_options, executor=workers)
            check_traits(self, vector)
            recorder = Recorder(vector, observers, executor=workers)
            start = self._start(problem, recorder, earlier)
            if wanted is not None:
                question = Question(self.name, self._fingerprint(problem), versions(), start, begin)
                points = None if earlier is None else earlier.points
                recorder.keeper = CheckpointWriter(wanted, vector, question, points=points)
            outcome = self._outcome(recorder, start)
            if not np.isfinite(recorder.best.cost):
                raise EvaluationError(
                    f"The objective could not be evaluated at any of {recorder.n_evaluations} points; at the start: "
                    f"{_reason(start)}. Correct the model, or give a start where it can be evaluated."
                )
            whole, x, best = _without_elimination(problem, vector, recorder)
            best, verdict, multipliers = _judge_best(whole, x, best, start)
        if saved is not None:
            note = resumption_note(saved, self.name, versions(), is_continued=earlier is not None)
            outcome = replace(outcome, message="; ".join(filter(None, (outcome.message, note))))
        finished = _Finished(start, x, best, outcome, verdict, multipliers, time.perf_counter() - begin)
        return _result(self.name, problem, whole, recorder, finished)

    def _start(self, problem: Problem, recorder: Recorder, earlier: SavedRun | None) -> Evaluation:
        """Return the evaluation at the start, made here or by the run that goes on."""
        if earlier is not None:
            # Made first, since it tells the number of residuals, too; not by the recorder, which would count it.
            vector = recorder.problem
            again = vector.evaluate(vector.x0, vector.initial_state(), derivatives=self.traits.needs_gradient)
            start = continued(recorder, earlier, problem, self.name, self._fingerprint(problem))
            if not vector.is_noisy:
                check_cost(earlier, again.cost)
            return start
        start = recorder.begin(derivatives=self.traits.needs_gradient)
        if self.traits.needs_finite_start and (start.failure or not start.is_finite):
            raise EvaluationError(
                f"The objective cannot be evaluated at the start: {_reason(start)}. "
                "Move the start, or correct the model."
            )
        return start

    def _fingerprint(self, problem: Problem) -> dict[str, Any]:
        options = {"option": option_fingerprint(self, self.adjustable_options)}
        return {**problem_fingerprint(problem), **start_fingerprint(problem), **options}

    def _outcome(self, recorder: Recorder, start: Evaluation) -> Outcome:
        """Run, and store where the run ended, however it did."""
        try:
            return self.run(recorder, start)
        except Interruption as interruption:
            return Outcome(str(interruption), max(0, recorder.iteration))
        finally:
            if recorder.keeper is not None:
                recorder.keeper.finish()


@dataclass(frozen=True, eq=False)
class _Finished:
    """A run that is over: first evaluation, best point, what the optimizer says, our verdict, duration [s]."""

    start: Evaluation
    x: Vector
    best: Evaluation
    outcome: Outcome
    verdict: Verdict
    multipliers: Multipliers | None
    wall_time: float


def _reason(start: Evaluation) -> str:
    return (start.failure or "its derivatives are not finite").rstrip(".")


def check_traits(optimizer: AbstractOptimizer, problem: VectorProblem) -> None:
    """Refuse a problem that an optimizer cannot take.

    Raises:
        SettingsError: It lacks what the optimizer needs.
    """
    traits, name = optimizer.traits, optimizer.name
    if traits.needs_residuals and not problem.has_residuals:
        raise SettingsError(
            f'{name} needs residuals, but the objective is a scalar. Give residuals, or use ScipyOptimizer("L-BFGS-B").'
        )
    if traits.needs_tracing and not problem.is_traceable:
        raise SettingsError(
            f"{name} is one compiled program, but JAX cannot trace the objective from end to end. Use "
            "LeastSquaresOptimizer or ScipyOptimizer, or write every term in JAX."
        )
    is_bounded = np.isfinite(problem.lower) | np.isfinite(problem.upper)
    if np.any(is_bounded) and not traits.handles_bounds:
        raise SettingsError(
            f"{name} takes no bounds, but {_listed(problem.labels, is_bounded)} them. Use LeastSquaresOptimizer, or "
            "ScipyOptimizer with L-BFGS-B, TNC, SLSQP, trust-constr, Nelder-Mead, Powell, COBYQA, COBYLA, trf or "
            "dogbox, or remove the bounds."
        )
    if problem.constraints is not None and not traits.handles_constraints:
        names = ", ".join(condition.name for condition in problem.constraints.conditions)
        raise SettingsError(
            f"{name} takes no constraints besides bounds, but there is {names}. Use AugmentedLagrangianOptimizer, or "
            "ScipyOptimizer with SLSQP, trust-constr, COBYQA or COBYLA. Linear equalities are taken by every optimizer "
            "if enough of their parameters have no bounds."
        )
    is_open = ~(np.isfinite(problem.lower) & np.isfinite(problem.upper))
    if np.any(is_open) and traits.needs_bounds:
        raise SettingsError(
            f"{name} searches between bounds, but {_listed(problem.labels, is_open)} none on one side or both. Give "
            "finite bounds, or use an optimizer that starts from a point."
        )


def _listed(labels: tuple[str, ...], chosen: np.ndarray) -> str:
    names = [label for label, is_chosen in zip(labels, chosen, strict=True) if is_chosen]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} {'have' if len(names) > 1 else 'has'}"


def _without_elimination(
    problem: Problem, vector: VectorProblem, recorder: Recorder
) -> tuple[VectorProblem, Vector, Evaluation]:
    """Return the problem with all its variables and constraints, and the best point and its evaluation in it."""
    space = vector.space
    if not isinstance(space, ProjectedSpace):
        return vector, recorder.best_x, recorder.best
    whole = problem.vector(derivatives=vector.derivatives, eliminate=False)
    x = whole.space.clip(space.full(recorder.best_x))
    found = whole.evaluate(x, recorder.best.state, derivatives=recorder.best.gradient is not None)
    # Rounding may leave an elimination at a violation of a few bits; the cost stays the one that was found.
    return whole, x, replace(found, cost=recorder.best.cost) if found.is_finite else found


def _judge_best(
    problem: VectorProblem, x: Vector, best: Evaluation, start: Evaluation
) -> tuple[Evaluation, Verdict, Multipliers | None]:
    """Return the best evaluation, completed by derivatives where they can be had, and whether it is stationary."""
    n_evaluations = 0
    is_cheap = problem.has_derivatives or best.residuals is not None or x.size <= MOST_TWICE_DIFFERENCED
    if best.gradient is None and np.isfinite(best.cost) and is_cheap and not problem.is_noisy:
        completed = problem.evaluate(x, best.state)
        n_evaluations = 1 + completed.n_differences
        best = completed if completed.is_finite else best
    if best.gradient is None and not is_cheap:
        reason = f"differences of {x.size} variables would take too many evaluations"
        return best, Verdict("unverified", np.nan, reason, n_evaluations), None
    verdict, multipliers = judge_constrained(problem, x, best, start.cost)
    is_comparable = max(best.violation, start.violation) <= 1.0
    if is_comparable and best.cost > start.cost + ROUNDING * abs(start.cost):
        reason = f"what the score means changed on the way, and it rose from {start.score:.6g} to {best.score:.6g}"
        verdict = replace(verdict, word="not converged", reason=reason)
    return best, replace(verdict, n_evaluations=verdict.n_evaluations + n_evaluations), multipliers


def _result(
    name: str, problem: Problem, vector: VectorProblem, recorder: Recorder, finished: _Finished
) -> OptimizationResult:
    space, parameters = problem.parameters.space, problem.parameters
    start, best, outcome = finished.start, finished.best, finished.outcome
    # Rounding in x * scale may leave a value one bit outside its bounds.
    final = np.clip(space.physical(finished.x), space.physical_lower, space.physical_upper)
    slopes = space.slopes(finished.x)
    slices = problem.objective.term_slices()
    multipliers = finished.multipliers
    return OptimizationResult(
        success=finished.verdict.word == "converged",
        verdict=finished.verdict,
        message=outcome.message,
        method=name,
        initial_parameters=parameters,
        final_params=final,
        initial_score=start.score,
        final_score=best.score,
        n_iterations=outcome.n_iterations,
        n_evaluations=recorder.n_evaluations,
        n_derivative_evaluations=sum(entry.has_derivatives for entry in recorder.history),
        n_difference_evaluations=recorder.n_differences,
        residuals=best.residuals,
        jacobian=None if best.jacobian is None else best.jacobian / slopes,
        gradient=None if best.gradient is None else best.gradient / slopes,
        terms={label: (_squares(start, part), _squares(best, part)) for label, part in slices.items()},
        history=tuple(recorder.history),
        constraints=report_constraints(vector, best, multipliers),
        tangent=None if multipliers is None else multipliers.tangent * slopes[:, None],
        last_accepted=tuple(recorder.accepted),
        jac_mode=vector.derivative_modes,
        failures=_failures(recorder),
        runs=outcome.runs,
        cycle_scores=outcome.cycle_scores,
        seed=outcome.seed,
        wall_time=finished.wall_time,
        versions=versions(),
        state=best.state,
    )


def _failures(recorder: Recorder) -> tuple[str, ...]:
    listed = [f"{text} ({count} times)" if count > 1 else text for text, count in recorder.failures.items()]
    hidden = len(listed) - LISTED_FAILURES
    return (*listed[:LISTED_FAILURES], f"and {hidden} more of this kind") if hidden > 0 else tuple(listed)


def _squares(evaluation: Evaluation, part: slice) -> float:
    if evaluation.residuals is None:
        return np.nan
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
