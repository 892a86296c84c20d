"""The same optimizer from many starts.

The first start is that of the problem. Starts run one after the other, over an executor, or, for an optimizer that is
one compiled program, all at once in that program; the answer is the same. A start that fails is reported and costs
nothing but itself. All runs are in the result: their final scores, in order, show how many basins there are.

Many starts find the best of few basins. Where the number of basins grows with the number of variables, as in
Rastrigin's function, they do not: see `DerivativeFreeOptimizer` and `BasinHoppingOptimizer`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.execution import Completed, ordered_map
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.in_graph import JaxOptimizer, solve_starts
from fieldfit.optimizers.local import choose_local
from fieldfit.optimizers.sampling import SAMPLINGS, draw_seed, sample_starts
from fieldfit.problem import (
    AbstractOptimizer,
    DerivativeOptions,
    Outcome,
    Record,
    Recorder,
    Run,
    Subproblem,
    Traits,
    run_part,
)
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True)
class MultiStartOptimizer(AbstractOptimizer):
    """Run an optimizer from several starts and keep the best end.

    Args:
        optimizer: What runs from each start; None: least squares for residuals, L-BFGS-B for a scalar.
        n_starts: Number of starts, that of the problem among them.
        perturbation_pct: Fraction of its size by which sampling "perturb" moves a variable at most: 0.1 is a tenth.
        seed: Of the starts; None: a fresh one, named in the result.
        sampling: "perturb" around the start, or "sobol", "latin-hypercube", "uniform" inside the bounds.

    Raises:
        SettingsError: An option has a value it cannot have.

    Example:
        >>> import jax.numpy as jnp
        >>> import fieldfit
        >>> wave = lambda p: jnp.cos(3.0 * p["x"]) + 0.1 * p["x"] ** 2
        >>> problem = fieldfit.ScalarObjective(wave, [fieldfit.Parameter("x", 5.0, lower=-6.0, upper=6.0)])
        >>> result = fieldfit.MultiStartOptimizer(n_starts=16, sampling="sobol", seed=0).optimize(problem)
        >>> round(abs(float(result.x["x"])), 3)
        1.024
    """

    optimizer: AbstractOptimizer | None = None
    n_starts: int = 10
    perturbation_pct: float = 0.1
    seed: int | None = None
    sampling: str = "perturb"

    def __post_init__(self) -> None:
        if self.n_starts < 1:
            raise SettingsError(f"n_starts = {self.n_starts} leaves nothing to do. Give at least 1.")
        if not self.perturbation_pct > 0.0:
            raise SettingsError(
                f"perturbation_pct = {self.perturbation_pct} makes all starts equal. Give a positive fraction, as 0.1."
            )
        if self.sampling not in SAMPLINGS:
            raise SettingsError(unknown_name("sampling", self.sampling, SAMPLINGS))

    @property
    def name(self) -> str:
        return f"multi-start:{self.optimizer.name}" if self.optimizer else "multi-start"

    @property
    def traits(self) -> Traits:
        inner = (
            Traits(handles_bounds=True, handles_constraints=True) if self.optimizer is None else self.optimizer.traits
        )
        return Traits(
            needs_residuals=inner.needs_residuals,
            needs_gradient=inner.needs_gradient,
            needs_hessian=inner.needs_hessian,
            needs_tracing=inner.needs_tracing,
            needs_bounds=inner.needs_bounds,
            needs_finite_start=False,
            handles_bounds=inner.handles_bounds,
            handles_constraints=inner.handles_constraints,
            is_global=True,
            is_stochastic=True,
            is_parallel=True,
        )

    @property
    def derivative_options(self) -> DerivativeOptions:
        return DerivativeOptions() if self.optimizer is None else self.optimizer.derivative_options

    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        optimizer = self.optimizer or choose_local(problem).optimizer
        seed = draw_seed(self.seed)
        starts = sample_starts(
            problem.x0,
            (problem.lower, problem.upper),
            self.n_starts,
            sampling=self.sampling,
            fraction=self.perturbation_pct,
            seed=seed,
        )
        optimizers = [seeded(optimizer, seed, index) for index in range(len(starts))]
        if problem.executor is not None:
            runs = _over_workers(optimizers, problem, starts, start)
        elif isinstance(optimizer, JaxOptimizer) and not problem.is_observed:
            runs = _in_one_program(optimizer, problem, starts)
        else:
            runs = _in_order(optimizers, problem, starts, start)
        # Each run tells of its start and of its turns; the first start is the start of the whole.
        n_steps = sum(run.n_iterations + 1 for run in runs if run.failure is None)
        return Outcome(_message(runs), max(0, n_steps - 1), tuple(runs), seed=seed)


def _message(runs: list[Run]) -> str:
    ended = [run.best.cost for run in runs if run.failure is None and run.best.violation <= 1.0]
    if not ended:
        first = runs[0].failure or "it ended where constraints do not hold"
        return f"all {len(runs)} starts failed; the first: {first}"
    best = min(ended)
    same = sum(cost <= best + 1e-6 * abs(best) for cost in ended)
    failed = f", {len(runs) - len(ended)} failed" if len(ended) < len(runs) else ""
    return f"{same} of {len(runs)} starts ended at the best cost to six digits{failed}"


def seeded(optimizer: AbstractOptimizer, seed: int, index: int) -> AbstractOptimizer:
    """Return an optimizer that draws other random numbers at every start, the same in every run with one seed.

    Args:
        optimizer: Which may be stochastic or not.
        seed: Of the whole.
        index: Of the start.
    """
    given: Any = optimizer
    if not optimizer.traits.is_stochastic or all(entry.name != "seed" for entry in fields(given)):
        return optimizer
    own = np.random.SeedSequence([seed, index]).generate_state(1)[0]
    return replace(given, seed=int(own))


def _in_order(optimizers: list[AbstractOptimizer], problem: Recorder, starts: Matrix, first: Evaluation) -> list[Run]:
    return [
        problem.solve(optimizer, x0, start=first if index == 0 else None)
        for index, (optimizer, x0) in enumerate(zip(optimizers, starts, strict=True))
    ]


def _in_one_program(optimizer: JaxOptimizer, problem: Recorder, starts: Matrix) -> list[Run]:
    """Run from all starts at once; nobody listens, so steps need not be told in their order."""
    state = problem.initial_state()
    runs = []
    for end in solve_starts(optimizer, problem.problem, list(starts)):
        found = [Evaluation(float(cost), state=state, failure=_failure(float(cost))) for cost in end.costs]
        problem.record_block(end.points, found, end.is_accepted)
        failure = end.message if np.isinf(end.cost) else None
        best = Evaluation(end.cost, state=state)
        runs.append(Run(end.start, end.x, best, end.message, end.n_evaluations - 1, end.n_evaluations, failure))
    return runs


def _failure(cost: float) -> str | None:
    return None if np.isfinite(cost) else "the objective is not finite inside the compiled program"


def _over_workers(
    optimizers: list[AbstractOptimizer], problem: Recorder, starts: Matrix, first: Evaluation
) -> list[Run]:
    function = functools.partial(_solve_elsewhere, problem.problem.serial(), problem.is_observed)
    tasks = [
        (optimizer, x0, first if index == 0 else None)
        for index, (optimizer, x0) in enumerate(zip(optimizers, starts, strict=True))
    ]
    runs = []
    for x0, answer in zip(starts, ordered_map(function, tasks, problem.executor), strict=True):
        run, record = _unpacked(answer, x0)
        if record is not None:
            problem.absorb(record)
        runs.append(run)
    return runs


def _unpacked(answer: Completed, x0: Vector) -> tuple[Run, Record | None]:
    if answer.failure is None:
        return answer.value
    return Run(x0, x0, Evaluation(float("inf")), answer.failure, 0, 0, answer.failure), None


def _solve_elsewhere(
    problem: Any, collects_steps: bool, optimizer: AbstractOptimizer, x0: Vector, first: Evaluation | None
) -> tuple[Run, Record]:
    """Run from one start in a worker; what is remembered comes back with the run."""
    steps: list[Any] = []
    recorder = Recorder(Subproblem(problem, x0), [steps.append] if collects_steps else ())
    run = run_part(optimizer, recorder, x0, first)
    return run, recorder.record(steps)
