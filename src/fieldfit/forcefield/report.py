"""The report of a fit, computed by the code that was fitted.

Every number comes from the references of the objective or from the same molecules at the same parameters: statistics
per kind of reference and per molecule, wavenumbers, geometry, forces, parameters with standard errors, what the data do
not determine, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fieldfit.diagnostics import Identifiability, identifiability
from fieldfit.forcefield.advice import advise
from fieldfit.forcefield.assignment import SWITCHED_TORSION, acting
from fieldfit.forcefield.fitting import ForceFieldObjective
from fieldfit.forcefield.report_records import Checks, FitReport, ParameterRow, StageRow
from fieldfit.forcefield.report_statistics import (
    Comparison,
    by_category,
    by_molecule,
    compare,
    describe_ensemble,
    describe_molecule,
)
from fieldfit.parameters import Parameters
from fieldfit.problem import OptimizationResult


def report_fit(
    objective: ForceFieldObjective,
    result: OptimizationResult,
    *,
    stages: Sequence[StageRow] = (),
    start: Parameters | None = None,
    checks: Checks = Checks(),
) -> FitReport:
    """Report a finished fit.

    Args:
        objective: The objective that was fitted.
        result: What the optimizer returned.
        stages: The stages of a staged fit.
        start: The parameters that count as the start; default: those that the optimizer began with.
        checks: What was asked for beyond the fit.

    Returns:
        The report.
    """
    state: Any = result.state
    result, found = _determined_by_data(objective, result)
    begin = result.initial_parameters if start is None else start
    initial = objective.initial_state()
    before, end = objective.at(begin.flat, initial), objective.at(result.parameters.flat, state)
    ensembles = objective.ensembles_at(result.parameters.flat, state)
    comparisons = compare(objective, (*before, *objective.ensembles_at(begin.flat, initial)), (*end, *ensembles))
    return FitReport(
        title=objective.force_field.name,
        success=result.success,
        message=result.message,
        score=(_start_score(result, stages), result.final_score),
        n_iterations=result.n_iterations,
        n_evaluations=result.n_evaluations,
        optimality=result.optimality,
        categories=by_category(comparisons, result.final_score),
        molecule_categories=by_molecule(comparisons, result.final_score),
        molecules=tuple(
            describe_molecule(*pair, _share(comparisons, pair[1].model.molecule.name, result))
            for pair in zip(before, end, strict=True)
        ),
        ensembles=tuple(
            describe_ensemble(entry, objective.categories, _share(comparisons, entry.model.ensemble.name, result))
            for entry in ensembles
        ),
        parameters=_parameters(result, begin),
        observations=tuple(entry.block() for entry in comparisons if entry.is_fitted),
        tether_share=result.terms.get("prior", (0.0, 0.0))[1] / result.final_score if result.final_score else 0.0,
        rank=found.rank,
        n_free=len(found.labels),
        n_weak=found.n_weak,
        worst_determined=tuple(found.worst()),
        advice=advise(found, result, objective.force_field, objective.categories),
        interactions=describe_interactions(objective, result),
        failures=result.failures,
        wall_time=sum(stage.wall_time for stage in stages) or result.wall_time,
        versions=result.versions,
        stages=tuple(stages),
        start_scores=tuple(sorted(2.0 * run.best.cost for run in result.runs)),
        seed=result.seed,
        checks=checks,
    )


def _start_score(result: OptimizationResult, stages: Sequence[StageRow]) -> float:
    """Return the score where the fit began: at the end of the first stage, if there are stages."""
    found = [stage.final_score for stage in stages[:1] if np.isfinite(stage.final_score)]
    return found[0] if found else result.initial_score


def _share(comparisons: Sequence[Comparison], name: str, result: OptimizationResult) -> float:
    if not result.final_score > 0.0:
        return np.nan
    return sum(entry.score for entry in comparisons if entry.molecule == name) / result.final_score


def _determined_by_data(
    objective: ForceFieldObjective, result: OptimizationResult
) -> tuple[OptimizationResult, Identifiability]:
    """Return the result with a short Jacobian, and what the references alone determine: a tether is no datum.

    Covariance, bounds and determined directions depend on J^T J only, which is that of the triangular factor of J. For
    a hundred thousand residuals the factor is found once, instead of the singular values of J several times.
    """
    if result.jacobian is None:
        return result, result.identifiability()
    tether = objective.term_slices().get("prior", slice(0, 0))
    data: np.ndarray = np.asarray(np.linalg.qr(np.delete(result.jacobian, tether, axis=0), mode="r"))
    short = replace(result, jacobian=np.concatenate([data, result.jacobian[tether]]))
    return short, identifiability(data, result.labels)


def describe_interactions(objective: ForceFieldObjective, result: OptimizationResult) -> dict[str, str]:
    """Say which kinds of interaction are fitted, held or absent."""
    field = objective.force_field
    free = dict(zip(result.parameters.labels, result.parameters.is_free, strict=True))
    described: dict[str, str] = {}
    for kind in dict.fromkeys(row.kind for row in field.rows):
        names = [name for row in field.rows if row.kind == kind for name in row.parameter_names]
        fitted = sum(free[name] for name in names)
        forms = ", ".join(dict.fromkeys(row.form for row in field.rows if row.kind == kind))
        described[kind] = f"{fitted} fitted, {len(names) - fitted} held ({forms})"
    undefined = sum(len(model.internal_coordinates.undefined_torsions) for model in objective.models)
    if undefined and all(row.form != SWITCHED_TORSION for row in field.rows):
        described["torsion at a linear angle"] = f"{undefined} left out: undefined"
    return described | _absent(objective) | _unused(objective)


def _unused(objective: ForceFieldObjective) -> dict[str, str]:
    """Name the rows that act nowhere in the molecules."""
    field = objective.force_field
    used = set().union(*(acting(molecule, field) for molecule in objective.molecules))
    index = {name: number for number, name in enumerate(field.parameter_names)}
    idle = [row.label for row in field.rows if not used & {index[name] for name in row.parameter_names}]
    if not idle:
        return {}
    more = f" and {len(idle) - 5} more" if len(idle) > 5 else ""
    return {"rows that act nowhere": ", ".join(idle[:5]) + more}


def _absent(objective: ForceFieldObjective) -> dict[str, str]:
    """Say which interactions of pairs there are none of, and which come with the molecules."""
    field, described = objective.force_field, {}
    kinds = {row.kind for row in field.rows}
    if "vdw" not in kinds:
        described["van der Waals"] = "absent"
    if not kinds & {"charge", "dipole"}:
        is_charged = field.nonbonded is not None and any(entry.charges is not None for entry in objective.molecules)
        described["charges"] = "held, those of the molecules" if is_charged else "absent"
    if field.nonbonded is None:
        described["label"] = "valence-only force field"
    return described


def _parameters(result: OptimizationResult, begin: Parameters) -> tuple[ParameterRow, ...]:
    errors = result.standard_errors
    at_bound = dict(zip(result.labels, result.is_at_bound, strict=True))
    start, end = begin.flat, result.parameters.flat
    rows = []
    for index, (label, entry) in enumerate(zip(result.parameters.labels, result.parameters, strict=True)):
        tie = result.parameters.ties.get(entry.name)
        held = "" if label in errors else f"tied to {tie.leader}" if tie else "fixed"
        rows.append(
            ParameterRow(
                label=label,
                unit=entry.unit,
                start=float(start[index]),
                value=float(end[index]),
                standard_error=float(errors.get(label, np.nan)),
                held=held,
                at_bound=bool(at_bound.get(label, False)),
            )
        )
    return tuple(rows)
