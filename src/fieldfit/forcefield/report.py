"""The report of a fit, computed by the code that was fitted.

Every number comes from the references of the objective or from the same molecules at the same parameters: statistics
per kind of reference, wavenumbers, geometry, forces, parameters with standard errors, and what the data do not
determine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fieldfit.diagnostics import Identifiability, identifiability
from fieldfit.errors import EvaluationError
from fieldfit.forcefield.assignment import SWITCHED_TORSION, assign
from fieldfit.forcefield.fitting import ForceFieldObjective
from fieldfit.forcefield.references import REFERENCES, MoleculeEvaluation
from fieldfit.forcefield.transition_states import curvatures
from fieldfit.forcefield.vibrations import subspace_overlaps
from fieldfit.problem import OptimizationResult
from fieldfit.typing import Vector


@dataclass(frozen=True)
class CategoryStatistics:
    """How well one kind of reference is reproduced, over all molecules.

    Args:
        category: Kind of reference.
        unit: Unit of the deviations.
        count: Number of observations.
        rmsd_start: Root mean square deviation at the start; NaN where the start has no minimum.
        rmsd: Root mean square deviation of the fitted force field.
        mae: Mean absolute deviation.
        largest: Largest absolute deviation.
        r2: Coefficient of determination; NaN where all observations are equal.
        share: Share of the score; NaN if it was not fitted.
    """

    category: str
    unit: str
    count: int
    rmsd_start: float
    rmsd: float
    mae: float
    largest: float
    r2: float
    share: float


@dataclass(frozen=True)
class ModeRow:
    """One vibration: wavenumbers [1/cm] by QM, at the start and fitted, and overlaps of the fitted mode with QM.

    `subspace_overlap` compares nearly degenerate modes as spaces.
    """

    qm: float
    start: float
    fitted: float
    overlap: float
    subspace_overlap: float


@dataclass(frozen=True)
class Observation:
    """One fitted observation: what it is, QM value, value of the fitted force field, and tolerance, in one unit."""

    molecule: str
    category: str
    label: str
    observed: float
    predicted: float
    tolerance: float


@dataclass(frozen=True)
class ParameterRow:
    """One parameter: start, value, standard error (NaN if not fitted), how it is held, whether it ended at a bound."""

    label: str
    unit: str
    start: float
    value: float
    standard_error: float
    held: str
    at_bound: bool


@dataclass(frozen=True)
class MoleculeReport:
    """One molecule under the fitted force field.

    Args:
        name: Name.
        modes: Vibrations; empty where the force field has no minimum.
        frequency_rmsd: Paired, at the minimum [1/cm].
        bond_rmsd: Of bond lengths at the minimum [A].
        bond_largest: Largest deviation of a bond length [A].
        angle_rmsd: Of bond angles at the minimum [deg].
        angle_largest: Largest deviation of a bond angle [deg].
        largest_force: Largest force component left at the QM geometry [kcal/mol/A].
        reaction_coordinate: QM wavenumbers of imaginary modes [1/cm].
        reaction_curvature: Curvature of the force field along them, as wavenumbers [1/cm].
        note: Why something is missing; empty if nothing is.
    """

    name: str
    modes: tuple[ModeRow, ...]
    frequency_rmsd: float
    bond_rmsd: float
    bond_largest: float
    angle_rmsd: float
    angle_largest: float
    largest_force: float
    reaction_coordinate: tuple[float, ...]
    reaction_curvature: tuple[float, ...]
    note: str = ""


@dataclass(frozen=True)
class FitReport:
    """Everything about a fit; `str()` writes it for a terminal, `as_dict` for a JSON file."""

    title: str
    success: bool
    message: str
    score: tuple[float, float]
    n_iterations: int
    n_evaluations: int
    optimality: float
    categories: tuple[CategoryStatistics, ...]
    molecules: tuple[MoleculeReport, ...]
    parameters: tuple[ParameterRow, ...]
    observations: tuple[Observation, ...]
    tether_share: float
    rank: int
    n_free: int
    n_weak: int
    worst_determined: tuple[tuple[float, str], ...]
    interactions: Mapping[str, str]
    failures: tuple[str, ...]
    wall_time: float
    versions: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain dictionaries and lists; numbers that are not finite become None."""
        return _plain(asdict(self))

    def __str__(self) -> str:
        from fieldfit.forcefield.report_text import render

        return render(self)


def report_fit(objective: ForceFieldObjective, result: OptimizationResult) -> FitReport:
    """Report a finished fit.

    Args:
        objective: The objective that was fitted.
        result: What the optimizer returned.

    Returns:
        The report.
    """
    state: Any = result.state
    start = objective.at(result.initial_parameters.flat, objective.initial_state())
    end = objective.at(result.parameters.flat, state)
    found = _determined_by_data(objective, result)
    return FitReport(
        title=objective.force_field.name,
        success=result.success,
        message=result.message,
        score=(result.initial_score, result.final_score),
        n_iterations=result.n_iterations,
        n_evaluations=result.n_evaluations,
        optimality=result.optimality,
        categories=_categories(objective, result, start, end),
        molecules=tuple(_molecule(before, after) for before, after in zip(start, end, strict=True)),
        parameters=_parameters(result),
        observations=_observations(objective, end),
        tether_share=result.terms.get("prior", (0.0, 0.0))[1] / result.final_score if result.final_score else 0.0,
        rank=found.rank,
        n_free=len(found.labels),
        n_weak=found.n_weak,
        worst_determined=tuple(found.worst()),
        interactions=describe_interactions(objective, result),
        failures=result.failures,
        wall_time=result.wall_time,
        versions=result.versions,
    )


def _determined_by_data(objective: ForceFieldObjective, result: OptimizationResult) -> Identifiability:
    """Return what the references alone determine: the tether of a regularized fit is no datum."""
    if result.jacobian is None:
        return result.identifiability()
    tether = objective.term_slices().get("prior", slice(0, 0))
    return identifiability(np.delete(result.jacobian, tether, axis=0), result.labels)


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
    used = {
        int(pointer)
        for molecule in objective.molecules
        for terms in assign(molecule, field)
        for pointer in np.unique(terms.pointers)
    }
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


def _categories(
    objective: ForceFieldObjective,
    result: OptimizationResult,
    start: tuple[MoleculeEvaluation, ...],
    end: tuple[MoleculeEvaluation, ...],
) -> tuple[CategoryStatistics, ...]:
    rows = []
    for category in REFERENCES:
        if category not in objective.tolerances and not REFERENCES[category].is_always_reported:
            continue
        references = [REFERENCES[category](model) for model in objective.models]
        observed = np.concatenate([reference.observed for reference in references])
        before = _predictions(references, start)
        after = _predictions(references, end)
        if observed.size == 0 or after is None:
            continue
        deviation = after - observed
        spread = float(np.sum((observed - observed.mean()) ** 2))
        share = np.nan
        if category in objective.tolerances and result.final_score > 0.0:
            share = float(np.sum((deviation / objective.tolerances[category]) ** 2)) / result.final_score
        rows.append(
            CategoryStatistics(
                category=category,
                unit=REFERENCES[category].unit,
                count=observed.size,
                rmsd_start=np.nan if before is None else _rms(before - observed),
                rmsd=_rms(deviation),
                mae=float(np.mean(np.abs(deviation))),
                largest=float(np.max(np.abs(deviation))),
                r2=1.0 - float(deviation @ deviation) / spread if spread > 0.0 else np.nan,
                share=share,
            )
        )
    return tuple(rows)


def _predictions(references: list, evaluations: tuple[MoleculeEvaluation, ...]) -> Vector | None:
    try:
        return np.concatenate([ref.predicted(entry) for ref, entry in zip(references, evaluations, strict=True)])
    except EvaluationError:
        return None


def _observations(objective: ForceFieldObjective, end: tuple[MoleculeEvaluation, ...]) -> tuple[Observation, ...]:
    rows = []
    for block in objective.blocks:
        name = objective.molecules[block.molecule].name
        predicted = block.reference.predicted(end[block.molecule])
        for label, qm, fitted in zip(block.reference.labels, block.reference.observed, predicted, strict=True):
            rows.append(Observation(name, block.category, label, float(qm), float(fitted), block.tolerance))
    return tuple(rows)


def _molecule(start: MoleculeEvaluation, end: MoleculeEvaluation) -> MoleculeReport:
    model = end.model
    imaginary = ~model.is_vibration
    gradient = model.qm_geometry.gradient(end.terms)
    common: dict[str, Any] = {
        "name": model.molecule.name,
        "largest_force": float(np.max(np.abs(gradient))),
        "reaction_coordinate": tuple(model.qm_modes.frequencies[imaginary].tolist()),
        "reaction_curvature": tuple(_curvatures(end)[imaginary].tolist()),
    }
    try:
        fitted = end.modes.frequencies[end.pairing]
    except EvaluationError as error:
        missing = dict.fromkeys(("frequency_rmsd", "bond_rmsd", "bond_largest", "angle_rmsd", "angle_largest"), np.nan)
        return MoleculeReport(modes=(), note=str(error), **missing, **common)
    overlaps = np.abs(np.sum(model.qm_modes.modes * end.modes_in_qm_frame.modes[:, end.pairing], axis=0))
    subspace = subspace_overlaps(model.qm_modes, end.modes_in_qm_frame, end.pairing)
    columns = (model.qm_modes.frequencies, _start_frequencies(start), fitted, overlaps, subspace)
    real = model.is_vibration
    bonds, angles = (_deviation(category, end) for category in ("bond_length", "bond_angle"))
    return MoleculeReport(
        modes=tuple(ModeRow(*map(float, row)) for row in zip(*columns, strict=True)),
        frequency_rmsd=_rms(fitted[real] - model.qm_modes.frequencies[real]),
        bond_rmsd=_rms(bonds),
        bond_largest=float(np.max(np.abs(bonds), initial=0.0)),
        angle_rmsd=_rms(angles),
        angle_largest=float(np.max(np.abs(angles), initial=0.0)),
        **common,
    )


def _start_frequencies(start: MoleculeEvaluation) -> Vector:
    try:
        return start.modes.frequencies[start.pairing]
    except EvaluationError:
        return np.full(len(start.model.qm_modes.eigenvalues), np.nan)


def _curvatures(evaluation: MoleculeEvaluation) -> Vector:
    """Return the curvature of the force field at the QM geometry along every QM mode, as wavenumbers [1/cm]."""
    model = evaluation.model
    return curvatures(model.qm_geometry.hessian(evaluation.terms), model.qm_modes, model.masses)


def _deviation(category: str, evaluation: MoleculeEvaluation) -> Vector:
    reference = REFERENCES[category](evaluation.model)
    return reference.predicted(evaluation) - reference.observed


def _parameters(result: OptimizationResult) -> tuple[ParameterRow, ...]:
    errors = result.standard_errors
    at_bound = dict(zip(result.labels, result.is_at_bound, strict=True))
    start, end = result.initial_parameters.flat, result.parameters.flat
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


def _rms(values: Vector) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else np.nan


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
