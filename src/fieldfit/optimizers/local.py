"""Which optimizer suits one basin of a problem, from what the problem declares.

The reasons are figures of `benchmarks/optimizers.py`; the page "How to choose" shows them.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldfit.optimizers.fallback import FallbackOptimizer
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.optimizers.scipy import ScipyOptimizer
from fieldfit.problem import AbstractOptimizer, Recorder, VectorProblem

FEW = 20
"""Variables up to which a search by models of the values costs no more evaluations than differences do."""


@dataclass(frozen=True)
class Choice:
    """An optimizer and why it was chosen."""

    optimizer: AbstractOptimizer
    reason: str


def choose_local(problem: VectorProblem | Recorder) -> Choice:
    """Choose an optimizer for the basin of the start, by residuals, derivatives, noise and size.

    Args:
        problem: What is to be solved.
    """
    if problem.constraints is not None:
        return _choose_constrained(problem)
    n = problem.x0.size
    variables = f"{n} variable{'s' if n > 1 else ''}"
    if problem.is_noisy and n <= FEW:
        return Choice(ScipyOptimizer("COBYQA"), f"a noisy objective of {variables}: models of values, no differences")
    if problem.is_noisy:
        return Choice(ScipyOptimizer("Powell"), f"a noisy objective of {variables}: line searches without differences")
    kind = "exact derivatives" if problem.has_derivatives else "differences"
    if problem.has_residuals:
        return Choice(
            LeastSquaresOptimizer(), f"residuals in {variables} with {kind}: their Jacobian gives the curvature"
        )
    if not problem.has_derivatives and n <= FEW:
        return Choice(ScipyOptimizer("COBYQA"), f"a scalar of {variables} without derivatives: models of values")
    return Choice(ScipyOptimizer("L-BFGS-B"), f"a scalar of {variables} with {kind}")


def _choose_constrained(problem: VectorProblem | Recorder) -> Choice:
    """Choose an optimizer for a problem with conditions besides bounds."""
    n, m = problem.x0.size, 0 if problem.constraints is None else problem.constraints.lower.size
    size = f"{n} variable{'s' if n > 1 else ''} under {m} constraint{'s' if m > 1 else ''}"
    if problem.is_noisy:
        return Choice(ScipyOptimizer("COBYQA"), f"a noisy objective of {size}: models of values, no differences")
    if problem.has_residuals:
        reason = f"residuals in {size}: augmented Lagrangian with their Jacobian, others if it does not arrive"
    else:
        reason = f"a scalar of {size}: SLSQP, others if it does not arrive"
    return Choice(FallbackOptimizer(), reason)
