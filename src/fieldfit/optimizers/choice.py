"""`fieldfit.fit`: the optimizer that suits a problem, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fieldfit.execution import ExecutorChoice
from fieldfit.objectives import AbstractObjective
from fieldfit.optimizers.basin_hopping import BasinHoppingOptimizer
from fieldfit.optimizers.derivative_free import DerivativeFreeOptimizer
from fieldfit.optimizers.local import Choice, choose_local
from fieldfit.problem import Observer, OptimizationResult, Problem, VectorProblem


def fit(
    problem: Problem | AbstractObjective,
    *,
    is_global: bool = False,
    observers: Sequence[Observer] = (),
    executor: ExecutorChoice = None,
) -> OptimizationResult:
    """Fit with the optimizer that suits the problem; the result says which one and why.

    Args:
        problem: The problem, or an objective with its own parameters.
        is_global: Whether to look beyond the basin of the start.
        observers: Each is called with every `Step`; returning True ends the run.
        executor: Where independent evaluations are made; see `AbstractOptimizer.optimize`.

    Returns:
        The best point seen and what is known about it.

    Raises:
        EvaluationError: The objective cannot be evaluated at the start.

    Example:
        >>> import numpy as np
        >>> import fieldfit
        >>> t = np.linspace(0.0, 1.0, 20)
        >>> goal = fieldfit.Goal(target=2.0 + 3.0 * t)
        >>> line = fieldfit.FunctionObjective(lambda p: p["a"] + p["b"] * t, {"a": 0.0, "b": 0.0}, goal=goal)
        >>> result = fieldfit.fit(line)
        >>> result.method, round(float(result.x["b"]), 6)
        ('least-squares', 3.0)
    """
    problem = Problem(problem) if isinstance(problem, AbstractObjective) else problem
    chosen = choose(problem, is_global=is_global)
    return replace(chosen.optimizer.optimize(problem, observers=observers, executor=executor), reason=chosen.reason)


def choose(problem: Problem, *, is_global: bool = False) -> Choice:
    """Choose an optimizer by residuals, derivatives, noise, bounds and size.

    Args:
        problem: What is to be solved.
        is_global: Whether to look beyond the basin of the start.
    """
    vector = problem.vector()
    return _global_choice(vector) if is_global else choose_local(vector)


def _global_choice(problem: VectorProblem) -> Choice:
    is_boxed = bool(np.all(np.isfinite(problem.lower) & np.isfinite(problem.upper)))
    if is_boxed:
        reason = "many basins between bounds: a population, and a local solver at its end"
        return Choice(DerivativeFreeOptimizer("differential-evolution"), reason)
    return Choice(BasinHoppingOptimizer(), "many basins without bounds: hops between the ends of a local solver")
