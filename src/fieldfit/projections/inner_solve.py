"""The inner solve: a prediction from the last solution, then Newton's method with a trust region.

Prediction. From the solution z_0 at y_0 the solution at y = y_0 + dy is

    z_1 = z_0 + (dz/dy) dy                                            first order, error of second order in dy
    z_2 = z_1 - F_z^+ (F(z_1, y) - F(z_0, y_0) - F_z (z_1 - z_0) - F_y dy)         second order, error of third

The bracket is half the second derivative of F along the perturbation, up to terms of third order, and costs one
evaluation of F; the factorization of F_z is that of the last solution. The first-order step is cut to a fraction of the
length of the inner variables, with dy in proportion (z_2 then belongs to a point on the way), and a second-order term
that is longer than the first is dropped: such a series says nothing.

Solve. Steps of Gauss and Newton within a radius (`Linearization`). Where an equality cannot be met, these converge
linearly only; as soon as they turn out to be slow, second derivatives make Newton's steps of them. The solve ends where
the next whole step p is below the tolerance, relative to the inner variables; p is then taken without a further
evaluation, for its error is that of the square of its length, and F_z of the last point stands for that of the
solution.

References:
    Conlin, Dudt, Panici, Kolemen (2023), The DESC stellarator code suite. Part 2. Perturbation and continuation
        methods, J. Plasma Phys. 89, doi:10.1017/S0022377823000399.
    Conn, Gould, Toint (2000), Trust-Region Methods, chapter 6, doi:10.1137/1.9780898719857.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.projections.inner_problem import InnerProblem, Linearized
from fieldfit.projections.linearization import Linearization
from fieldfit.typing import Matrix, Vector

EPS = float(np.finfo(float).eps)

ROUNDING = 10.0 * EPS
"""Rounding error of a sum of residuals, relative to its terms."""

SLOW = 0.1
"""A step that is longer than this fraction of the one before converges slowly."""

NEARBY = 0.1
"""Length of a step, relative to the inner variables, below which second derivatives are worth their price."""

REJECTED, SHRINK, GROW = 1e-4, 0.25, 0.75
"""Ratios of actual to predicted reduction between which a step is rejected, the radius shrinks, stays, grows."""


@dataclass(frozen=True)
class InnerOptions:
    """How inner problems are solved.

    Args:
        order: Of the perturbation from the last solution: 1 or 2.
        trust_radius: Longest first-order perturbation, relative to the length of the inner variables.
        tolerance: Length of the last step, relative to the length of the inner variables.
        max_evaluations: Of one inner solve.
        curvature: Whether second derivatives of equalities that cannot be met are used: from JAX, otherwise from
            differences, one Jacobian per inner variable. Without them such solutions are the same, but derivatives of
            the outer objective have an error in proportion to the distance.

    Raises:
        SettingsError: An option has a value it cannot have.
    """

    order: int = 2
    trust_radius: float = 0.1
    tolerance: float = 1e-10
    max_evaluations: int = 200
    curvature: bool = True

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise SettingsError(f"The order of the perturbation is {self.order}, but only 1 and 2 are known.")
        for name in ("trust_radius", "tolerance"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0.0):
                raise SettingsError(f"The option {name} of inner solves is {value}. Give a positive number.")
        if self.max_evaluations < 1:
            raise SettingsError(
                f"An inner solve of {self.max_evaluations} evaluations cannot find anything. Give a positive number."
            )


@dataclass(frozen=True, eq=False)
class InnerSolution:
    """The solution of one inner problem, and what the next solve starts from. It is never changed in place.

    Args:
        variables: z, shape (nz,).
        outer: y that it belongs to, shape (ny,).
        state: Of the equality.
        model: Factorized derivatives at the solution; None before the first solve.
        sensitivity: dz/dy, shape (nz, ny); None before the first solve.
        is_complete: Whether the sensitivity is exact, second derivatives included where they matter.
        n_evaluations: Of the equality, in the solve that found it.
    """

    variables: Vector
    outer: Vector
    state: Any
    model: Linearization | None = None
    sensitivity: Matrix | None = None
    is_complete: bool = False
    n_evaluations: int = 0

    @property
    def distance(self) -> float:
        """||F||, which the equality asks to be zero; NaN before the first solve."""
        if self.model is None:
            return np.nan
        # The last step was taken after F: only what is outside the range of F_z is left.
        rest = self.model.residuals - self.model.left @ (self.model.left.T @ self.model.residuals)
        return float(np.linalg.norm(rest))


@dataclass(frozen=True, eq=False)
class _Iterate:
    """A point of an inner solve.

    Args:
        z: Where it is.
        at: The equality there.
        size: Length of the inner variables.
        last_length: Length of the whole step that led here; infinite if it was cut.
    """

    z: Vector
    at: Linearized
    size: float
    last_length: float = np.inf


def solve(
    problem: InnerProblem, y: Vector, last: InnerSolution, options: InnerOptions, *, derivatives: bool
) -> InnerSolution:
    """Return the solution at y.

    Args:
        problem: What to solve.
        y: Outer elements, shape (ny,).
        last: Where to start from.
        options: How.
        derivatives: Whether its sensitivity has to be exact.

    Raises:
        EvaluationError: There is no solution near, or the equality cannot be evaluated.
    """
    if last.model is None or not np.array_equal(y, last.outer):
        start, n_before = _start(problem, y, last, options)
        last = _iterated(problem, y, start, options, n_before)
    return _completed(problem, last) if derivatives and not last.is_complete else last


def predict(problem: InnerProblem, y: Vector, last: InnerSolution, options: InnerOptions) -> tuple[Vector, int]:
    """Return where the solution at y is expected, and the evaluations that took; see the module docstring."""
    if last.model is None or last.sensitivity is None:
        return last.variables, 0
    dy = y - last.outer
    dz = last.sensitivity @ dy
    length = float(np.linalg.norm(dz))
    size = problem.coordinates.size(last.variables, last.outer)
    part = min(1.0, options.trust_radius * size / length) if length > 0.0 else 1.0
    dz, dy = part * dz, part * dy
    # The second order is below the tolerance where the square of the first one is.
    if options.order == 1 or length**2 <= options.tolerance * size**2:
        return last.variables + dz, 0
    try:
        found = problem.residuals(last.variables + dz, last.outer + dy, last.state)
    except EvaluationError:
        return last.variables + dz, 1
    # F at the solution itself is what its last step, taken after F, has left.
    before = last.model.residuals - last.model.left @ (last.model.left.T @ last.model.residuals)
    second = last.model.correction(found - before - last.model.change(dz, dy))
    is_series = float(np.linalg.norm(second)) <= max(length, options.tolerance)
    return last.variables + dz + (second if is_series else 0.0), 1


def _start(problem: InnerProblem, y: Vector, last: InnerSolution, options: InnerOptions) -> tuple[_Iterate, int]:
    """Return the point that a solve begins at: the predicted one, or the last solution if that cannot be evaluated."""
    z, n_before = predict(problem, y, last, options)
    size = problem.coordinates.size(z, y)
    try:
        return _Iterate(z, problem.linearized(z, y, last.state), size), n_before + 1
    except EvaluationError:
        if last.model is None:
            raise
    return _Iterate(last.variables, problem.linearized(last.variables, y, last.state), size), n_before + 2


def _iterated(
    problem: InnerProblem, y: Vector, here: _Iterate, options: InnerOptions, n_evaluations: int
) -> InnerSolution:
    """Return the solution that steps from a point lead to."""
    radius = here.size
    while not _is_solved(here, options):
        if n_evaluations >= options.max_evaluations:
            raise EvaluationError(_unsolved(problem, here, f"after {n_evaluations} evaluations"))
        step, predicted = here.at.model.step(radius)
        length = float(np.linalg.norm(step))
        if length <= EPS * here.size:
            raise EvaluationError(_unsolved(problem, here, "where no step makes the residuals smaller"))
        trial, ratio = _tried(problem, y, here, step, predicted)
        n_evaluations += 1
        if ratio < SHRINK:
            radius = 0.25 * length
        elif ratio > GROW:
            radius = max(radius, 2.0 * length)
        if trial is not None and ratio > REJECTED:
            here = _sharpened(problem, y, trial, options)
    return _finished(here, y, options, n_evaluations)


def _finished(here: _Iterate, y: Vector, options: InnerOptions, n_evaluations: int) -> InnerSolution:
    """Return the solution that the last whole step leads to."""
    model = here.at.model
    # Where rounding ended the solve, that step is made of rounding.
    z = here.z + model.newton_step if _length(model) <= options.tolerance * here.size else here.z
    found = InnerSolution(z, y, here.at.state, model, model.sensitivity(), n_evaluations=n_evaluations)
    is_met = model.can_be_met or found.distance <= _rounding(here)
    return replace(found, is_complete=is_met or model.curvature is not None or not options.curvature)


def _tried(
    problem: InnerProblem, y: Vector, here: _Iterate, step: Vector, predicted: float
) -> tuple[_Iterate | None, float]:
    """Return the point a step leads to and the ratio of actual to predicted reduction."""
    z = here.z + step
    try:
        at = problem.linearized(z, y, here.at.state)
    except EvaluationError:
        return None, -np.inf
    length = float(np.linalg.norm(step))
    is_whole = np.isclose(length, _length(here.at.model))
    trial = _Iterate(z, at, problem.coordinates.size(z, y), length if is_whole else np.inf)
    # Where rounding hides the reduction, the step is right as it is.
    if predicted <= ROUNDING * here.at.model.cost:
        return trial, 0.5
    return trial, (here.at.model.cost - at.model.cost) / predicted


def _is_solved(here: _Iterate, options: InnerOptions) -> bool:
    model = here.at.model
    reducible = float(np.linalg.norm(model.left.T @ model.residuals))
    return _length(model) <= options.tolerance * here.size or reducible <= _rounding(here)


def _rounding(here: _Iterate) -> float:
    """Return the length of residuals that are rounding."""
    sizes = here.at.model.sizes
    return ROUNDING * here.size * float(sizes[0]) if sizes.size else 0.0


def _length(model: Linearization) -> float:
    return float(np.linalg.norm(model.newton_step))


def _sharpened(problem: InnerProblem, y: Vector, here: _Iterate, options: InnerOptions) -> _Iterate:
    """Return a point with second derivatives where steps without them have become slow."""
    model = here.at.model
    is_slow = max(SLOW * here.last_length, options.tolerance * here.size) < _length(model) < NEARBY * here.size
    if not (is_slow and options.curvature and problem.can_be_traced) or model.can_be_met:
        return here
    curved = problem.with_curvature(model, here.z, y, here.at.state)
    return replace(here, at=here.at._replace(model=curved))


def _completed(problem: InnerProblem, found: InnerSolution) -> InnerSolution:
    """Return a solution whose sensitivity takes second derivatives into account."""
    if found.model is None:
        raise EvaluationError(f"{problem.name}: an inner problem that was not solved has no sensitivity")
    model = problem.with_curvature(found.model, found.variables, found.outer, found.state)
    n_evaluations = found.n_evaluations + problem.n_curvature_evaluations
    return replace(found, model=model, sensitivity=model.sensitivity(), is_complete=True, n_evaluations=n_evaluations)


def _unsolved(problem: InnerProblem, here: _Iterate, when: str) -> str:
    model = here.at.model
    return (
        f"{problem.name} is not solved {when}: the residuals have the length {np.sqrt(2.0 * model.cost):.3g}, and the "
        f"next step would move the inner parameters by {_length(model) / here.size:.3g} of their length. Start nearer "
        "to a solution, or allow more evaluations."
    )
