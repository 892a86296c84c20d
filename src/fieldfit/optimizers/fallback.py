"""Several optimizers one after the other, until one ends at a stationary point.

Every method for constraints has problems that it cannot do: SLSQP stops where its line search stalls or where gradients
of constraints depend on each other, a barrier jams at bounds, an augmented Lagrangian is slow. They fail on different
ones. After each run the library's own verdict decides whether the next is needed; what counts is the best point of all.

Measured by `benchmarks/hock_schittkowski.py`: SLSQP ends at a stationary point of nine problems in ten, and is
the cheapest. Begun again where it ended, with scales that belong there, it does some of the rest; the augmented
Lagrangian and a barrier method, both with exact second derivatives, do most of what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.augmented_lagrangian import AugmentedLagrangianOptimizer
from fieldfit.optimizers.restoration import restore
from fieldfit.optimizers.scipy import ScipyOptimizer
from fieldfit.problem import AbstractOptimizer, DerivativeOptions, Outcome, Recorder, Run, Traits, judge_constrained
from fieldfit.typing import Vector


@dataclass(frozen=True)
class Stage:
    """One attempt.

    Args:
        optimizer: What is tried.
        from_best: Whether it begins at the best point so far rather than at the start of the problem.
    """

    optimizer: AbstractOptimizer
    from_best: bool = False


SCALAR_STAGES = (
    Stage(ScipyOptimizer("SLSQP")),
    Stage(ScipyOptimizer("SLSQP"), from_best=True),
    Stage(AugmentedLagrangianOptimizer()),
    Stage(ScipyOptimizer("trust-constr", maxiter=300)),
)
"""What is tried on a scalar with constraints."""

SQUARES_STAGES = (
    Stage(AugmentedLagrangianOptimizer()),
    Stage(ScipyOptimizer("SLSQP")),
    Stage(ScipyOptimizer("SLSQP"), from_best=True),
)
"""What is tried on residuals with constraints: the first keeps them as residuals."""


@dataclass(frozen=True)
class FallbackOptimizer(AbstractOptimizer):
    """Try optimizers one after the other until the best point is stationary.

    Args:
        stages: What is tried; default: SLSQP twice, the augmented Lagrangian and trust-constr, for residuals the
            augmented Lagrangian first.

    Raises:
        SettingsError: A stage is not a `Stage`.

    Example:
        >>> import fieldfit
        >>> from fieldfit.optimizers.fallback import FallbackOptimizer
        >>> circle = fieldfit.NonlinearEquality(lambda p: p["x"] ** 2 + p["y"] ** 2, 1.0, name="circle")
        >>> problem = fieldfit.Problem(lambda p: p["x"] + p["y"], {"x": 1.0, "y": 0.0}, constraints=[circle])
        >>> round(float(FallbackOptimizer().optimize(problem).fun), 6)
        -1.414214
    """

    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise SettingsError(f"The stage {stage!r} is not one. Give Stage(optimizer, from_best=...).")

    @property
    def name(self) -> str:
        return "fallback"

    @property
    def traits(self) -> Traits:
        if not self.stages:
            return Traits(handles_bounds=True, handles_constraints=True)
        every = [stage.optimizer.traits for stage in self.stages]
        return Traits(
            needs_residuals=any(traits.needs_residuals for traits in every),
            needs_gradient=any(traits.needs_gradient for traits in every),
            needs_hessian=any(traits.needs_hessian for traits in every),
            needs_tracing=any(traits.needs_tracing for traits in every),
            needs_bounds=any(traits.needs_bounds for traits in every),
            handles_bounds=all(traits.handles_bounds for traits in every),
            handles_constraints=all(traits.handles_constraints for traits in every),
            is_global=any(traits.is_global for traits in every),
            is_stochastic=any(traits.is_stochastic for traits in every),
        )

    @property
    def derivative_options(self) -> DerivativeOptions:
        return self.stages[0].optimizer.derivative_options if self.stages else DerivativeOptions()

    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        stages = self.stages or (SQUARES_STAGES if problem.has_residuals else SCALAR_STAGES)
        runs: list[Run] = []
        told: list[str] = []
        for stage in stages:
            x0, known = (problem.best_x, problem.best) if stage.from_best and runs else (problem.x0, start)
            if _attempt(problem, stage.optimizer, (x0, known), runs, told):
                break
        else:
            if problem.best.violation > 1.0 and restore(problem):
                _attempt(problem, stages[0].optimizer, (problem.best_x, problem.best), runs, told)
        n_iterations = sum(run.n_iterations + 1 for run in runs) - 1
        return Outcome("; then ".join(told), max(n_iterations, problem.iteration), tuple(runs))


def _attempt(
    problem: Recorder,
    optimizer: AbstractOptimizer,
    start: tuple[Vector, Evaluation],
    runs: list[Run],
    told: list[str],
) -> bool:
    """Run one optimizer from a start, note what became of it, and return whether no other is needed."""
    x0, known = start
    run = problem.solve(optimizer, x0, start=known)
    runs.append(run)
    verdict, _ = judge_constrained(problem.problem, problem.best_x, problem.best, runs[0].best.cost)
    words = run.failure or run.message
    # What an attempt says in brackets is of interest only if it is the last.
    told[-1:] = [entry.split(" (")[0] for entry in told[-1:]]
    told.append(f"{optimizer.name}: {words}")
    return verdict.word in ("converged", "unverified")
