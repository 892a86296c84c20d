"""How sensitive the score of a problem is to its variables.

Differences need two evaluations per variable and one at the point itself; a sum of squares whose Jacobian is known
needs one in all. What the figures mean is in the module `fieldfit.diagnostics.sensitivity`.

Where a bound leaves less room than the step, the step is shrunk; where it leaves next to none, both points lie on the
inner side, and the parabola through three points gives slope and curvature. Either way d1 and d2 are those of the whole
step, so that variables near bounds are ranked like the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fieldfit.diagnostics.sensitivity import Sensitivity, check_metric, rank_by_sensitivity
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.execution import ExecutorChoice, open_executor
from fieldfit.objectives import AbstractObjective, Evaluation
from fieldfit.problem.problem import Problem
from fieldfit.problem.recorder import Recorder
from fieldfit.typing import Vector

STEP = 0.01
"""Of the scale of a variable, or of its value where that is larger."""

ROUNDING = 8.0 * float(np.finfo(float).eps)
"""Of a difference of three scores, relative to them."""

LEAST_ROOM = 0.1
"""Fraction of a step that bounds must leave on both sides for a central difference."""


def compute_sensitivity(
    problem: Problem | AbstractObjective,
    metric: str = "simp_var",
    step_sizes: Vector | None = None,
    *,
    executor: ExecutorChoice = None,
) -> Sensitivity:
    """Rank the free parameters by differences of the score around the start.

    It takes at most 2 n + 1 evaluations without derivatives.

    Args:
        problem: The problem, or an objective with its own parameters.
        metric: "simp_var" or "abs_d1"; see `fieldfit.diagnostics.sensitivity`.
        step_sizes: Step in each free parameter in its own unit, positive, shape (n,); None: one per cent of its scale.
        executor: Where the points are evaluated; see `AbstractOptimizer.optimize`.

    Returns:
        Figures and ranking; steps are in the units of the parameters.

    Raises:
        EvaluationError: The objective cannot be evaluated at the start.
        SettingsError: The metric is not known, or a step is not positive.

    Example:
        >>> import fieldfit
        >>> from fieldfit.problem.sensitivity import compute_sensitivity
        >>> line = lambda p: p["weak"] + 10.0 * p["strong"]
        >>> objective = fieldfit.FunctionObjective(line, {"weak": 1.0, "strong": 1.0})
        >>> found = compute_sensitivity(objective, metric="abs_d1")
        >>> [found.labels[index] for index in found.ranking]
        ['strong', 'weak']
    """
    check_metric(metric)
    problem = Problem(problem) if isinstance(problem, AbstractObjective) else problem
    with open_executor(executor) as workers:
        recorder = Recorder(problem.vector(eliminate=False), executor=workers)
        steps = _scaled_steps(problem, step_sizes)
        start = recorder.evaluate(recorder.x0, recorder.initial_state(), derivatives=False)
        if start.failure or not start.is_finite:
            raise EvaluationError(_cannot_be_evaluated(start))
        found = measure_sensitivity(recorder, recorder.x0, start, metric=metric, steps=steps)
    return replace(_in_physical_units(found, problem), n_evaluations=recorder.n_evaluations)


def compute_exact_sensitivity(
    problem: Problem | AbstractObjective, metric: str = "simp_var", step_sizes: Vector | None = None
) -> Sensitivity:
    """Rank the free parameters by the Jacobian at the start; one evaluation in all.

    d1 is the exact slope times the step; d2 is the curvature of Gauss and Newton, 2 ||J_j||^2, times its square: exact
    but for the curvature of the residuals themselves, and never negative.

    Args:
        problem: The problem, or an objective with its own parameters.
        metric: "simp_var" or "abs_d1".
        step_sizes: As for `compute_sensitivity`.

    Returns:
        Figures and ranking; steps are in the units of the parameters.

    Raises:
        EvaluationError: The objective cannot be evaluated at the start.
        SettingsError: It has no residuals, no exact derivatives, or an argument is not valid.
    """
    check_metric(metric)
    problem = Problem(problem) if isinstance(problem, AbstractObjective) else problem
    recorder = Recorder(problem.vector(eliminate=False))
    if not (recorder.has_residuals and recorder.has_derivatives):
        lacks = "exact derivatives" if recorder.has_residuals else "residuals"
        raise SettingsError(
            f"The exact sensitivity comes from a Jacobian of residuals, but the objective has no {lacks}. "
            "Use `compute_sensitivity`, which takes differences of the score."
        )
    steps = _scaled_steps(problem, step_sizes)
    start = recorder.evaluate(recorder.x0, recorder.initial_state())
    if start.failure or not start.is_finite or start.jacobian is None or start.residuals is None:
        raise EvaluationError(_cannot_be_evaluated(start))
    d1 = 2.0 * (start.residuals @ start.jacobian) * steps
    d2 = 2.0 * np.einsum("ij,ij->j", start.jacobian, start.jacobian) * steps**2
    found = rank_by_sensitivity(recorder.labels, d1, d2, steps, metric=metric)
    return replace(_in_physical_units(found, problem), source="Gauss-Newton", n_evaluations=1)


def measure_sensitivity(
    problem: Recorder, x: Vector, found: Evaluation, *, metric: str = "simp_var", steps: Vector | None = None
) -> Sensitivity:
    """Rank the variables of a run under way by differences of the score around a point.

    Args:
        problem: What to evaluate; counts and keeps the evaluations, two per variable.
        x: The point, inside the bounds, shape (n,).
        found: Evaluation there.
        metric: "simp_var" or "abs_d1".
        steps: Step in each scaled variable, shape (n,); None: one per cent of its scale.

    Returns:
        Figures and ranking; steps are in units of the scales.

    Raises:
        Interruption: A budget is spent.
    """
    steps = default_steps(x) if steps is None else steps
    stencils = [
        _stencil(position, step, low, high)
        for position, step, low, high in zip(x, steps, problem.lower, problem.upper, strict=True)
    ]
    points = [
        _moved(x, variable, position) for variable, stencil in enumerate(stencils) for position in stencil.positions
    ]
    scores = iter([entry.score for entry in problem.evaluate_many(points, found.state)])
    changes = [stencil.changes(found.score, [next(scores) for _ in stencil.positions]) for stencil in stencils]
    # What rounding of the score can make is nothing, or the ratio of two such numbers would rank a variable.
    d1, d2 = np.where(np.abs(changes) <= ROUNDING * abs(found.score), 0.0, changes).T
    return replace(rank_by_sensitivity(problem.labels, d1, d2, steps, metric=metric), n_evaluations=len(points))


def default_steps(x: Vector) -> Vector:
    """Return a step in each scaled variable, shape (n,)."""
    return STEP * np.maximum(1.0, np.abs(x))


@dataclass(frozen=True)
class _Stencil:
    """Where a variable is moved to, and what that says of a whole step.

    Args:
        positions: Two values of the variable, or none if its bounds are closed.
        fraction: Distance of the first from the point over the step, negative if it lies below.
        is_central: Whether the second lies as far on the other side, or twice as far on the same.
    """

    positions: tuple[float, ...]
    fraction: float = 1.0
    is_central: bool = True

    def changes(self, here: float, moved: list[float]) -> tuple[float, float]:
        """Return d1 and d2 for a whole step from the scores at the point and at the positions."""
        if not moved:
            return 0.0, 0.0
        first, second = moved
        slope = 0.5 * (first - second) if self.is_central else 0.5 * (4.0 * first - 3.0 * here - second)
        curvature = (first - here) + (second - here) if self.is_central else (here - first) + (second - first)
        return slope / self.fraction, curvature / self.fraction**2


def _stencil(x: float, step: float, lower: float, upper: float) -> _Stencil:
    below, above = x - lower, upper - x
    room = min(below, above)
    if room >= LEAST_ROOM * step:
        taken = min(step, room)
        return _Stencil((min(x + taken, upper), max(x - taken, lower)), taken / step)
    sign = 1.0 if above >= below else -1.0
    taken = min(step, 0.5 * max(above, below))
    if taken <= 0.0:
        return _Stencil(())
    ends = (x + sign * taken, float(np.clip(x + 2.0 * sign * taken, lower, upper)))
    return _Stencil(ends, sign * taken / step, is_central=False)


def _moved(x: Vector, variable: int, position: float) -> Vector:
    moved = x.copy()
    moved[variable] = position
    return moved


def _scaled_steps(problem: Problem, step_sizes: Vector | None) -> Vector:
    space = problem.parameters.space
    if step_sizes is None:
        return default_steps(space.start)
    given = np.asarray(step_sizes, dtype=float)
    if given.shape != space.start.shape or not (np.all(given > 0.0) and np.all(np.isfinite(given))):
        raise SettingsError(
            f"step_sizes = {step_sizes} is not one positive number for each of the {space.size} free parameters. "
            "Give them in the order of the labels, in the units of the parameters."
        )
    return given / space.scale


def _in_physical_units(found: Sensitivity, problem: Problem) -> Sensitivity:
    return replace(found, step_sizes=found.step_sizes * problem.parameters.space.scale)


def _cannot_be_evaluated(start: Evaluation) -> str:
    reason = (start.failure or "its derivatives are not finite").rstrip(".")
    return f"The objective cannot be evaluated at the start: {reason}. Move the start, or correct the model."
