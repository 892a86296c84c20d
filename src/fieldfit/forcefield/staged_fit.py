"""The complete fit of a force field, in stages of growing cost.

    1   force constants by a convex, bounded linear fit to the QM Hessians at given equilibrium values, for which no
        start matters (`initial_guess.hessian_fit`), or by another method
    2   least squares of all parameters on the eigenmatrix and on the forces at the QM geometry (`newton_displacement`):
        nothing has to be relaxed, so nothing can fail
    3   least squares on the references that were asked for: relaxed geometries, wavenumbers at the minimum, ensembles;
        from several starts on request

During stage 3 molecules relax from where they were at the last accepted point, and so may be led into minima that are
not those next to the QM structures. Its end is therefore scored again with every molecule relaxed from its QM
structure. That score counts; where it differs, the stage is begun again from there.

A stage is worth its time only if it helps the last one: where the last one begins is decided by its own score, and a
stage whose end is worse than its start is not used. The stages say so.

Tethers pull to the values at the end of stage 1 in all stages. What a method for transition states holds or allows
(`initial_guess.target_parameters`) is decided once, for all stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.forcefield.engines.engine import AbstractEngine
from fieldfit.forcefield.ensemble import Ensemble
from fieldfit.forcefield.fitting import ForceFieldObjective, checked_parameters
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.initial_guess import estimate_force_constants, target_parameters
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.reference_data import ReferenceData
from fieldfit.forcefield.references import REFERENCES
from fieldfit.forcefield.report import report_fit
from fieldfit.forcefield.report_records import Checks, FitReport, StageRow
from fieldfit.forcefield.surrogate import scoring_result
from fieldfit.forcefield.transition_states import ZERO_WEIGHT
from fieldfit.objectives import AbstractObjective
from fieldfit.objectives.surrogate import RATIO_TOLERANCE, SurrogateObjective
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.optimizers.multistart import MultiStartOptimizer
from fieldfit.optimizers.names import make_optimizer
from fieldfit.parameters import Parameters
from fieldfit.problem import AbstractOptimizer, Observer, OptimizationResult, Problem

AT_QM_GEOMETRY = ("eigenmatrix_diagonal", "newton_displacement")
"""What stage 2 is fitted to, with default tolerances; and to the off-diagonal eigenmatrix if stage 3 is."""

OFF_DIAGONAL = "eigenmatrix_off_diagonal"

PREPARATION = LeastSquaresOptimizer(ftol=1e-3)
"""What stage 2 is fitted by: its end is a start, for which three digits of the score are enough."""

SAME_SCORE = 1e-3
"""Relative difference of two scores that mean the same minima."""

MOST_RETURNS = 2
"""How often stage 3 is begun again from the QM structures."""

References = ReferenceData | Mapping[str, float | None] | Sequence[str]


@dataclass(frozen=True)
class StartingValues:
    """How a fit gets its starting force constants.

    Args:
        method: One of `initial_guess.METHODS`.
        scale: Factor on the constants of the Seminario family.
        keep: Names of parameters that keep their values.
        then_fix: Patterns of the parameters that are fixed once they have their starting values.
    """

    method: str = "hessian-fit"
    scale: float = 1.0
    keep: tuple[str, ...] = ()
    then_fix: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of a fit.

    Args:
        name: What was done.
        final_score: Score of the last stage's references where this one ended; NaN where it could not be evaluated.
        wall_time: Duration [s].
        result: What the optimizer returned; None where there was none.
        note: Why it was skipped or its end not used; empty otherwise.
        is_preparation: Whether its end is a start only, and need not have converged.
    """

    name: str
    final_score: float
    wall_time: float
    result: OptimizationResult | None = None
    note: str = ""
    is_preparation: bool = False

    @property
    def score(self) -> tuple[float, float]:
        """Score of its own references before and after; NaN where it has none."""
        return (np.nan, np.nan) if self.result is None else (self.result.initial_score, self.result.final_score)

    def row(self) -> StageRow:
        """Return the stage as a line of the report."""
        is_fine = self.is_preparation or self.result is None or self.result.success
        count = 0 if self.result is None else self.result.n_evaluations
        return StageRow(self.name, self.score, self.final_score, count, self.wall_time, is_fine, self.note)


@dataclass(frozen=True, eq=False)
class StagedFit:
    """A finished fit.

    Args:
        stages: What was done.
        start: The parameters at the end of the first stage, with bounds, fixed marks and ties of all later ones.
        objective: The objective of the last stage.
        result: What the last optimizer returned.
        optimizer: That optimizer, for one start.
        make_objective: Makes the objective of the last stage with another strength of the tether.
    """

    stages: tuple[Stage, ...]
    start: Parameters
    objective: ForceFieldObjective
    result: OptimizationResult
    optimizer: AbstractOptimizer
    make_objective: Callable[[float], ForceFieldObjective]

    @property
    def force_field(self) -> ForceField:
        """The fitted force field."""
        return self.objective.force_field.with_values(self.result.x)

    def report(self, checks: Checks = Checks()) -> FitReport:
        """Report the fit.

        Args:
            checks: What was asked for beyond it.
        """
        rows = [stage.row() for stage in self.stages]
        return report_fit(self.objective, self.result, stages=rows, start=self.start, checks=checks)

    def __repr__(self) -> str:
        lines = [f"Staged fit of {self.objective.force_field.name}, {len(self.objective.molecules)} molecules"]
        lines += [f"  {stage.name}: {stage.final_score:.6g} {stage.note}".rstrip() for stage in self.stages]
        return "\n".join([*lines, repr(self.result)])


def fit_force_field(  # noqa: PLR0913 - the front of the whole package
    molecules: Sequence[Molecule],
    force_field: ForceField,
    references: References | None = None,
    *,
    parameters: Parameters | None = None,
    start: str | StartingValues = "hessian-fit",
    transition_state: str | None = None,
    optimizer: str | AbstractOptimizer = "least-squares",
    engine: str | AbstractEngine = "jax",
    ratio_tol: float | None = RATIO_TOLERANCE,
    regularization: float = 0.0,
    weights: str = "default",
    n_starts: int = 1,
    seed: int | None = 0,
    observers: Sequence[Observer] = (),
    tell: Callable[[str], None] = lambda text: None,
    on_start: Callable[[ForceField, Parameters], None] = lambda field, parameters: None,
    ensembles: Sequence[Ensemble] = (),
) -> StagedFit:
    """Fit a force field to QM results in stages.

    Args:
        molecules: Molecules with QM Hessians.
        force_field: Rows and start values.
        references: What the last stage is fitted to; see `ForceFieldObjective`.
        parameters: The force field's parameters with other starts, bounds, fixed marks or ties.
        start: Method for the starting force constants, one of `initial_guess.METHODS`, or with options.
        transition_state: How transition states are described, one of `transition_states.METHODS`; default: as the
            reference data say, else "zero-weight".
        optimizer: What fits the last stage: a name as `fieldfit methods` lists them, or an optimizer.
        engine: What computes energies and scores. One without parameter derivatives gets those of the JAX engine, if
            both agree at the start; see `surrogate`.
        ratio_tol: How far the ratio of their scores may be from one, otherwise derivatives are differences; None: they
            never are.
        regularization: Strength of an L2 tether to the values of the first stage, in units of the scales.
        weights: Set of tolerances for kinds that none is given for: "default" or "q2mm".
        n_starts: Starts of the last stage: the end of the one before, and points around it.
        seed: Of these points; None: a fresh one, named in the result.
        observers: Called with every step of every stage.
        tell: Called with a line at the beginning of every stage.
        on_start: Called with the force field and the parameters that stage 1 leads to; what it raises ends the fit.
        ensembles: Sets of geometries with energies or gradients, for the last stage.

    Returns:
        The stages, the result of the last one, and what is needed to go on.

    Raises:
        InputError: What was given cannot be used.
        EvaluationError: The references cannot be evaluated at any start.

    Example:
        >>> from fieldfit.forcefield import build_force_field, perceive, read
        >>> from fieldfit.forcefield.staged_fit import fit_force_field
        >>> molecule = perceive(read("ch3f.json"))                                  # doctest: +SKIP
        >>> fit = fit_force_field([molecule], build_force_field([molecule]))        # doctest: +SKIP
        >>> print(fit.report())                                                     # doctest: +SKIP
    """
    chosen = make_optimizer(optimizer) if isinstance(optimizer, str) else optimizer
    method = transition_state or (references.transition_state if isinstance(references, ReferenceData) else ZERO_WEIGHT)
    values = StartingValues(start) if isinstance(start, str) else start
    begin = time.perf_counter()
    tell(f"Starting force constants: {values.method}")
    field, varying = starting_point(molecules, force_field, parameters, values, transition_state=method)
    on_start(field, varying)
    common = {"engine": engine, "parameters": varying, "transition_state": method}

    def make_objective(strength: float, **changes: Any) -> ForceFieldObjective:
        rest = {"regularization": strength, "weights": weights, "ensembles": ensembles, **common, **changes}
        return ForceFieldObjective(field, molecules, references, **rest)

    objective = make_objective(regularization)
    fitted: AbstractObjective = objective
    if not objective.traits.has_derivatives:
        fitted = SurrogateObjective(objective, make_objective(regularization, engine="jax"), ratio_tol=ratio_tol)
    multi = MultiStartOptimizer(chosen, n_starts=n_starts, seed=seed) if n_starts != 1 else chosen
    first = Stage(f"force constants: {values.method}", _score(objective, varying), time.perf_counter() - begin)
    second, best = _prepare(objective, regularization, common, first, observers=observers, tell=tell)
    tell(f"Least squares on {', '.join(objective.categories)}{f', {n_starts} starts' if n_starts > 1 else ''}")
    lasting, result = _finish(objective, fitted, best, (multi, chosen), observers=observers, tell=tell)
    return StagedFit((first, *second, *lasting), varying, objective, result, chosen, make_objective)


def starting_point(
    molecules: Sequence[Molecule],
    force_field: ForceField,
    parameters: Parameters | None,
    start: StartingValues,
    *,
    transition_state: str = ZERO_WEIGHT,
) -> tuple[ForceField, Parameters]:
    """Estimate the force constants that a fit starts from.

    Args:
        molecules: Molecules with QM Hessians.
        force_field: Rows and start values.
        parameters: The force field's parameters with other starts, bounds, fixed marks or ties.
        start: How.
        transition_state: How transition states are described.

    Returns:
        The force field and the parameters as they start, with bounds and fixed marks of the fit.

    Raises:
        InputError: An unknown method, or parameters that are not those of the force field.
    """
    parameters = force_field.parameters if parameters is None else checked_parameters(force_field, parameters)
    field = force_field.with_values(parameters.values)
    estimated = estimate_force_constants(
        molecules,
        field,
        start.method,
        scale=start.scale,
        parameters=parameters.fix(*start.keep),
        transition_state=transition_state,
    )
    varying = target_parameters(molecules, field, parameters, transition_state)
    return estimated, varying.replace(estimated.parameters.values).fix(*start.then_fix)


def _prepare(
    objective: ForceFieldObjective,
    regularization: float,
    common: Mapping[str, Any],
    first: Stage,
    *,
    observers: Sequence[Observer],
    tell: Callable[[str], None],
) -> tuple[tuple[Stage, ...], Parameters]:
    """Make stage 2, and return it with the better one of the two starts of the last stage."""
    name, start = "QM geometry: least squares", common["parameters"]
    reason = _why_not_prepare(objective)
    if reason:
        return (Stage(name, first.final_score, 0.0, note=f"skipped: {reason}"),), start
    kinds = (*AT_QM_GEOMETRY, *({OFF_DIAGONAL} & set(objective.categories)))
    tell(f"Least squares at the QM geometry: {', '.join(kinds)}")
    prepared = ForceFieldObjective(
        objective.force_field, objective.molecules, kinds, regularization=regularization, **common
    )
    result = PREPARATION.optimize(prepared, observers=observers)
    score = _score(objective, result.parameters)
    is_worse = bool(np.isfinite(first.final_score)) and not score < first.final_score
    note = "not used: the references are better where it started" if is_worse else ""
    stage = Stage(name, score, result.wall_time, result, note, is_preparation=True)
    return (stage,), start if is_worse else result.parameters


def _finish(
    objective: ForceFieldObjective,
    fitted: AbstractObjective,
    best: Parameters,
    optimizers: tuple[AbstractOptimizer, AbstractOptimizer],
    *,
    observers: Sequence[Observer],
    tell: Callable[[str], None],
) -> tuple[tuple[Stage, ...], OptimizationResult]:
    """Make stage 3, again from the QM structures as long as its end looks different from there; and its best result."""
    stages: list[Stage] = []
    results: dict[float, OptimizationResult] = {}
    multi, chosen = optimizers
    result, name = multi.optimize(Problem(fitted, best), observers=observers), f"references: {multi.name}"
    while True:
        result = scoring_result(result)
        score = _score(objective, result.parameters)
        is_same = score <= result.final_score * (1.0 + SAME_SCORE)
        note = (
            "" if is_same else f"not the score that it ended with, {result.final_score:.6g}: it left the QM structures"
        )
        stages.append(Stage(name, score, result.wall_time, result, note))
        results.setdefault(np.inf if np.isnan(score) else score, result)
        if is_same or len(stages) > MOST_RETURNS:
            return tuple(stages), results[min(results)]
        tell("Least squares again, from the QM structures")
        result = chosen.optimize(Problem(fitted, result.parameters), observers=observers)
        name = f"again: {chosen.name}"


def _why_not_prepare(objective: ForceFieldObjective) -> str:
    """Return why there is no use in a stage at the QM geometry; empty if there is."""
    if not objective.traits.has_derivatives:
        return "the engine has no parameter derivatives"
    if all(category in REFERENCES and not REFERENCES[category].needs_minimum for category in objective.categories):
        return "the references are at the QM geometry themselves"
    return ""


def _score(objective: ForceFieldObjective, parameters: Parameters) -> float:
    """Return the score of an objective; NaN where it cannot be evaluated."""
    prepared = objective.for_parameters(parameters)
    found = prepared.evaluate(parameters.flat, prepared.initial_state(), derivatives=False)
    return np.nan if found.failure else found.score
