"""The inner solve: a prediction from the last solution, then Newton's method with a trust region.

Prediction. From the solution z_0 at y_0 the solution at y = y_0 + dy is

    z_1 = z_0 + (dz/dy) dy                                            first order, error of second order in dy
    z_2 = z_1 - F_z^+ (F(z_1, y) - F(z_0, y_0) - F_z (z_1 - z_0) - F_y dy)         second order, error of third

The bracket is half the second derivative of F along the perturbation, up to terms of third order, and costs one
evaluation of F; the factorization of F_z is that of the last solution. The first-order step is cut to a fraction of the
length of the inner variables, with dy in proportion (z_2 then belongs to a point on the way), and a second-order term
that is longer than the first is dropped: such a series says nothing.

Solve. Steps of Gauss and Newton within a radius (`Linearization`). Where an equality cannot be met, these converge
linearly only. Second derivatives make Newton's steps of them; those of the last solution are used until they are of no
help, and computed anew where the steps still to come at the present rate would cost more. The solve ends where the next
whole step p is below the tolerance, relative to the inner variables; p is then taken without a further evaluation, for
its error is of the order of the square of its length, and F_z of the last point stands for that of the solution.

References:
    Conlin, Dudt, Panici, Kolemen (2023), The DESC stellarator code suite. Part 2. Perturbation and continuation
        methods, J. Plasma Phys. 89, doi:10.1017/S0022377823000399.
    Conn, Gould, Toint (2000), Trust-Region Methods, chapter 6, doi:10.1137/1.9780898719857.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.projections.inner_problem import InnerProblem, Linearized, SecondDerivatives
from fieldfit.projections.linearization import Linearization
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

EPS = float(np.finfo(float).eps)

ROUNDING = 10.0 * EPS
"""Rounding error of a sum of residuals, relative to its terms."""

NEARBY = 0.1
"""Length of a step, relative to the inner variables, below which its rate of convergence says something."""

SECOND_DERIVATIVES = ("auto", "jax", "differences", "none")

REJECTED, SHRINK, GROW = 1e-4, 0.25, 0.75
"""Ratios of actual to predicted reduction between which a step is rejected, the radius shrinks, stays, grows."""


@dataclass(frozen=True)
class InnerOptions:
    """How inner problems are solved.

    Args:
        order: Of the perturbation from the last solution: 1 or 2.
        trust_radius: Longest first-order perturbation, relative to the length of the inner variables.
        tolerance: Length of the last step, relative to the length of the inner variables.
        max_steps: Of one inner solve.
        second_derivatives: Of equalities that cannot be met: "jax", exact, with a program that takes seconds to
            compile; "differences", two Jacobians per inner variable and outer derivative; "auto", differences up to
            `MOST_DIFFERENCED` inner variables; "none": solutions are the same, but derivatives of the outer objective
            have an error in proportion to the distance. An equality that JAX cannot trace has differences or none.

    Raises:
        SettingsError: An option has a value it cannot have.
    """

    order: int = 1
    trust_radius: float = 0.1
    tolerance: float = 1e-10
    max_steps: int = 100
    second_derivatives: str = "auto"

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise SettingsError(f"The order of the perturbation is {self.order}, but only 1 and 2 are known.")
        if self.second_derivatives not in SECOND_DERIVATIVES:
            raise SettingsError(unknown_name("kind of second derivatives", self.second_derivatives, SECOND_DERIVATIVES))
        for name in ("trust_radius", "tolerance"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0.0):
                raise SettingsError(f"The option {name} of inner solves is {value}. Give a positive number.")
        if self.max_steps < 1:
            raise SettingsError(f"An inner solve of {self.max_steps} steps moves nothing. Give a positive number.")


@dataclass(frozen=True, eq=False)
class InnerSolution:
    """The solution of one inner problem, and what the next solve starts from. It is never changed in place.

    Args:
        variables: z, shape (nz,).
        outer: y that it belongs to, shape (ny,).
        state: Of the equality.
        model: Factorized derivatives at the solution; None before the first solve.
        sensitivity: dz/dy, shape (nz, ny); None before the first solve.
        second: Second derivatives, the last that were computed; None if none were needed.
        is_complete: Whether the sensitivity is exact, second derivatives included where they matter.
        n_evaluations: Of the equality, in the solve that found it.
    """

    variables: Vector
    outer: Vector
    state: Any
    model: Linearization | None = None
    sensitivity: Matrix | None = None
    second: SecondDerivatives | None = None
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
        second: Second derivatives, of this point or one before; None if none were needed.
        is_sharp: Whether they are of this point.
        last_reducible: That of the model one whole step before; infinite if the step was cut.
    """

    z: Vector
    at: Linearized
    size: float
    second: SecondDerivatives | None = None
    is_sharp: bool = False
    last_reducible: float = np.inf


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
    try:
        return _iterate(problem, z, y, last.state, last.second), n_before + 1
    except EvaluationError:
        if last.model is None:
            raise
    return _iterate(problem, last.variables, y, last.state, last.second), n_before + 2


def _iterate(problem: InnerProblem, z: Vector, y: Vector, state: Any, second: SecondDerivatives | None) -> _Iterate:
    """Return a point, with second derivatives that were computed before.

    Raises:
        EvaluationError: The equality cannot be evaluated there.
    """
    at = problem.linearized(z, y, state)
    if second is not None and not at.model.can_be_met:
        at = at._replace(model=at.model.with_curvature(*second))
    return _Iterate(z, at, problem.coordinates.size(z, y), second)


def _iterated(
    problem: InnerProblem, y: Vector, here: _Iterate, options: InnerOptions, n_evaluations: int
) -> InnerSolution:
    """Return the solution that steps from a point lead to."""
    radius = here.size
    for _ in range(options.max_steps):
        if _is_solved(here, options):
            return _finished(here, y, options, n_evaluations)
        step, predicted = here.at.model.step(radius)
        length = float(np.linalg.norm(step))
        if length <= EPS * here.size:
            raise EvaluationError(_unsolved(problem, here, "where no step makes the residuals smaller"))
        trial, ratio = _tried(problem, y, here, step, predicted)
        n_evaluations += 1
        if trial is None or ratio <= REJECTED:
            if here.second is not None and not here.is_sharp:
                here = _blunted(here)
            elif trial is not None and _can_be_sharpened(here, options):
                # This near, a model that errs lacks the second derivatives: no shorter step would make it right.
                here = _sharpened(problem, y, here)
                n_evaluations += problem.n_curvature_evaluations
            else:
                radius = 0.25 * length
            continue
        radius = 0.25 * length if ratio < SHRINK else max(radius, 2.0 * length) if ratio > GROW else radius
        here = trial
        if _is_worth_sharpening(problem, here, options):
            here = _sharpened(problem, y, here)
            n_evaluations += problem.n_curvature_evaluations
    raise EvaluationError(_unsolved(problem, here, f"after {options.max_steps} steps"))


def _tried(
    problem: InnerProblem, y: Vector, here: _Iterate, step: Vector, predicted: float
) -> tuple[_Iterate | None, float]:
    """Return the point a step leads to and the ratio of actual to predicted reduction."""
    model = here.at.model
    try:
        trial = _iterate(problem, here.z + step, y, here.at.state, here.second)
    except EvaluationError:
        return None, -np.inf
    is_whole = np.isclose(float(np.linalg.norm(step)), _length(model))
    trial = replace(trial, last_reducible=model.reducible if is_whole else np.inf)
    # Where rounding hides the reduction of the cost, that of its reducible part still shows.
    if predicted <= _rounding(here) * np.sqrt(2.0 * model.cost):
        return trial, 0.5 if trial.at.model.reducible < model.reducible else 0.0
    return trial, (model.cost - trial.at.model.cost) / predicted


def _is_solved(here: _Iterate, options: InnerOptions) -> bool:
    model = here.at.model
    return _length(model) <= options.tolerance * here.size or model.reducible <= _rounding(here)


def _rounding(here: _Iterate) -> float:
    """Return the length of residuals that are rounding."""
    sizes = here.at.model.sizes
    return ROUNDING * here.size * float(sizes[0]) if sizes.size else 0.0


def _length(model: Linearization) -> float:
    return float(np.linalg.norm(model.newton_step))


def _is_worth_sharpening(problem: InnerProblem, here: _Iterate, options: InnerOptions) -> bool:
    """Whether the steps still to come at the present rate cost more than second derivatives."""
    if not _can_be_sharpened(here, options):
        return False
    model = here.at.model
    length, wanted = _length(model), options.tolerance * here.size
    rate = model.reducible / here.last_reducible
    return rate >= 1.0 or (rate > 0.0 and math.log(wanted / length) / math.log(rate) > problem.price_of_curvature)


def _can_be_sharpened(here: _Iterate, options: InnerOptions) -> bool:
    """Whether second derivatives of this point would change the steps still to come."""
    model = here.at.model
    if options.second_derivatives == "none" or model.can_be_met or here.is_sharp:
        return False
    return options.tolerance * here.size < _length(model) < NEARBY * here.size


def _sharpened(problem: InnerProblem, y: Vector, here: _Iterate) -> _Iterate:
    """Return a point with second derivatives of its own."""
    second = problem.second_derivatives(here.at.model.residuals, here.z, y, here.at.state)
    return replace(here, at=here.at._replace(model=here.at.model.with_curvature(*second)), second=second, is_sharp=True)


def _blunted(here: _Iterate) -> _Iterate:
    """Return a point without the second derivatives of another one, which turned out to mislead."""
    return replace(here, at=here.at._replace(model=replace(here.at.model, curvature=None)), second=None)


def _finished(here: _Iterate, y: Vector, options: InnerOptions, n_evaluations: int) -> InnerSolution:
    """Return the solution that the last whole step leads to."""
    model = here.at.model
    # Where rounding ended the solve, that step is made of rounding.
    z = here.z + model.newton_step if _length(model) <= options.tolerance * here.size else here.z
    found = InnerSolution(
        z, y, here.at.state, model, model.sensitivity(), second=here.second, n_evaluations=n_evaluations
    )
    is_met = model.can_be_met or found.distance <= _rounding(here)
    return replace(found, is_complete=is_met or options.second_derivatives == "none")


def _completed(problem: InnerProblem, found: InnerSolution) -> InnerSolution:
    """Return a solution whose sensitivity takes second derivatives into account."""
    if found.model is None:
        raise EvaluationError(f"{problem.name}: an inner problem that was not solved has no sensitivity")
    second = problem.second_derivatives(found.model.residuals, found.variables, found.outer, found.state)
    model = found.model.with_curvature(*second)
    return replace(
        found,
        model=model,
        sensitivity=model.sensitivity(),
        second=second,
        is_complete=True,
        n_evaluations=found.n_evaluations + problem.n_curvature_evaluations,
    )


def _unsolved(problem: InnerProblem, here: _Iterate, when: str) -> str:
    model = here.at.model
    return (
        f"{problem.name} is not solved {when}: the residuals have the length {np.sqrt(2.0 * model.cost):.3g}, and the "
        f"next step would move the inner parameters by {_length(model) / here.size:.3g} of their length. Start nearer "
        "to a solution, or allow more steps."
    )
