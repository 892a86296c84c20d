"""Two optimizers in turn: one over all variables, one over the few to which the score is most sensitive.

A cycle is a pass over all variables, a ranking of them by differences of the score around its end, and a pass over the
first few of the ranking with the others held. Gradients do the bulk of the work; a simplex on the few goes on where
they mislead: in a score that is noisy, kinked, or curved downwards. Cycles go on until one gains less than a given
fraction of the score.

References:
    Norrby, Liljefors (1998), J. Comput. Chem. 19, 1146: the ranking, and a simplex between passes over all variables.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fieldfit.diagnostics.sensitivity import check_metric
from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.scipy import ScipyOptimizer
from fieldfit.optimizers.stopping import ZERO_COST
from fieldfit.problem import AbstractOptimizer, DerivativeOptions, Outcome, Recorder, Run, Traits
from fieldfit.problem.sensitivity import measure_sensitivity


@dataclass(frozen=True)
class CyclingOptimizer(AbstractOptimizer):
    """Passes over all variables and over the most sensitive few, in turn.

    Args:
        full: Optimizer of the passes over all variables.
        partial: Optimizer of the passes over a few.
        max_params: Most variables in such a pass.
        max_cycles: Most cycles.
        convergence: Stop when a cycle lowers the score by less than this fraction of it.
        sensitivity_metric: What variables are ranked by: "simp_var" or "abs_d1".

    Raises:
        SettingsError: An option has a value it cannot have.

    Example:
        >>> import fieldfit
        >>> from fieldfit.optimizers.cycling import CyclingOptimizer
        >>> kinked = lambda p: abs(p["x"] - 1.0) + (p["x"] * p["y"] - 2.0) ** 2
        >>> objective = fieldfit.ScalarObjective(kinked, {"x": 3.0, "y": 1.0})
        >>> result = CyclingOptimizer(max_params=2).optimize(objective)
        >>> round(float(result.x["x"]), 3), len(result.cycle_scores) > 0
        (1.0, True)
    """

    full: AbstractOptimizer = field(default_factory=lambda: ScipyOptimizer("L-BFGS-B"))
    partial: AbstractOptimizer = field(default_factory=lambda: ScipyOptimizer("Nelder-Mead"))
    max_params: int = 3
    max_cycles: int = 10
    convergence: float = 0.01
    sensitivity_metric: str = "simp_var"

    def __post_init__(self) -> None:
        for name in ("max_params", "max_cycles"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} = {getattr(self, name)} leaves nothing to do. Give at least 1.")
        if not 0.0 <= self.convergence < 1.0:
            raise SettingsError(
                f"convergence = {self.convergence} is not in [0, 1). It is the fraction of the score that a cycle must "
                "gain for another one to follow: give a number such as 0.01."
            )
        check_metric(self.sensitivity_metric)

    @property
    def name(self) -> str:
        return f"cycling:{self.full.name}|{self.partial.name}"

    @property
    def traits(self) -> Traits:
        full, partial = self.full.traits, self.partial.traits
        return Traits(
            needs_residuals=full.needs_residuals or partial.needs_residuals,
            needs_gradient=full.needs_gradient or partial.needs_gradient,
            needs_hessian=full.needs_hessian or partial.needs_hessian,
            needs_tracing=full.needs_tracing or partial.needs_tracing,
            needs_bounds=full.needs_bounds or partial.needs_bounds,
            needs_finite_start=full.needs_finite_start,
            handles_bounds=full.handles_bounds and partial.handles_bounds,
            is_global=full.is_global or partial.is_global,
            is_stochastic=full.is_stochastic or partial.is_stochastic,
            is_parallel=True,
        )

    @property
    def derivative_options(self) -> DerivativeOptions:
        # There is one set of derivatives per run; that of the pass that has most use for them.
        return (self.full if self.full.traits.needs_gradient else self.partial).derivative_options

    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        runs: list[Run] = []
        scores = [start.score]
        message = None
        while message is None:
            runs.append(_pass(problem, self.full, start=None if runs else start))
            if not np.isfinite(problem.best.cost):
                message = f"no point could be evaluated: {runs[-1].message}"
                break
            if not _is_zero(problem.best, start):
                runs.append(_pass(problem, self.partial, free=self._most_sensitive(problem)))
            scores.append(problem.best.score)
            message = "the score is zero to rounding" if _is_zero(problem.best, start) else self._reason(scores)
        # Each run tells of its start and of its turns; the first start is the start of the whole.
        n_told = sum(run.n_iterations + 1 for run in runs if run.failure is None)
        return Outcome(message, max(0, n_told - 1), tuple(runs), tuple(scores[1:]))

    def _reason(self, scores: list[float]) -> str | None:
        """Return why the cycles are over, or None if they are not."""
        gain = relative_gain(scores[-2], scores[-1])
        if gain < self.convergence:
            return f"the last cycle lowered the score by {gain:.2e} of it, less than {self.convergence:g}"
        if len(scores) > self.max_cycles:
            return f"max_cycles reached: {self.max_cycles}"
        return None

    def _most_sensitive(self, problem: Recorder) -> np.ndarray:
        found = measure_sensitivity(problem, problem.best_x, problem.best, metric=self.sensitivity_metric)
        return np.sort(found.ranking[: self.max_params])


def relative_gain(before: float, after: float) -> float:
    """Return the fraction of a score that is gone; infinite if there was none before."""
    if not np.isfinite(before):
        return np.inf
    return (before - after) / abs(before) if before != 0.0 else 0.0


def _is_zero(found: Evaluation, start: Evaluation) -> bool:
    """Whether a sum of squares is zero but for rounding, so that fractions of it mean nothing."""
    return found.residuals is not None and found.cost <= ZERO_COST * start.cost


def _pass(
    problem: Recorder, optimizer: AbstractOptimizer, *, free: np.ndarray | None = None, start: Evaluation | None = None
) -> Run:
    """Run an optimizer from the best point, in all or some of the variables; `start` is the evaluation there."""
    run = problem.solve(optimizer, problem.best_x, free=free, state=problem.best.state, start=start)
    if run.best.is_finite and run.best.cost > problem.best.cost:
        _follow(problem, run)
    return run


def _follow(problem: Recorder, run: Run) -> None:
    """Go on from a pass that ended above its start: its residuals have come to mean something new on the way."""
    again = problem.evaluate(run.x, run.best.state)
    if again.is_finite:
        problem.accept()
        problem.rebase(run.x, again)
