"""Statistics of a fit: how observations are reproduced, by kind and by molecule, and what became of each molecule.

Everything is computed by the references of the objective, so that the figures are those that were fitted. Kinds that
were not fitted are computed the same way and are independent checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError
from fieldfit.forcefield.fitting import ForceFieldObjective
from fieldfit.forcefield.references import REFERENCES, MoleculeEvaluation
from fieldfit.forcefield.references.ensemble_model import EnsembleEvaluation
from fieldfit.forcefield.report_records import (
    CategoryStatistics,
    EnsembleReport,
    ModeRow,
    MoleculeReport,
    ObservationBlock,
)
from fieldfit.forcefield.transition_states import NEGLIGIBLE, curvatures
from fieldfit.forcefield.vibrations import displacement, normal_modes, subspace_overlaps
from fieldfit.typing import Vector

NO_SPREAD = 0.1
"""Observations that spread by less than this part of their tolerance have no coefficient of determination."""

Evaluations = Sequence[Any]
"""Evaluations of molecules, then those of ensembles."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Observations of one kind for one molecule or ensemble and what the force field makes of them, before and after.

    Args:
        molecule: Name of the molecule or ensemble.
        category: Kind of reference.
        unit: Its unit.
        labels: What each observation is.
        observed: Observations, shape (m,).
        start: Predictions at the start, shape (m,); None where there are none.
        fitted: Predictions of the fitted force field, shape (m,).
        tolerances: Deviations that count as one, shape (m,).
        is_fitted: Whether they are part of the score.
    """

    molecule: str
    category: str
    unit: str
    labels: tuple[str, ...]
    observed: Vector
    start: Vector | None
    fitted: Vector
    tolerances: Vector
    is_fitted: bool

    @property
    def score(self) -> float:
        """Part of the score; 0 if they were not fitted."""
        return float(np.sum(((self.fitted - self.observed) / self.tolerances) ** 2)) if self.is_fitted else 0.0

    def block(self) -> ObservationBlock:
        """Return the observations as plain numbers."""
        numbers = (tuple(values.tolist()) for values in (self.observed, self.fitted, self.tolerances))
        return ObservationBlock(self.molecule, self.category, self.unit, self.labels, *numbers)


def compare(objective: ForceFieldObjective, start: Evaluations, end: Evaluations) -> tuple[Comparison, ...]:
    """Compare predictions with observations, those that were fitted first.

    Args:
        objective: The objective.
        start: Molecules and ensembles at the start.
        end: Molecules and ensembles as fitted.

    Returns:
        One comparison per kind and molecule or ensemble; kinds that cannot be evaluated are absent.
    """
    return (*_fitted(objective, start, end), *_independent(objective, start, end))


def _fitted(objective: ForceFieldObjective, start: Evaluations, end: Evaluations) -> Iterator[Comparison]:
    for block in objective.blocks:
        after = _attempt(lambda block=block: block.predicted(end[block.subject]))
        if after is not None and after.size:
            yield Comparison(
                block.name,
                block.category,
                block.reference.unit,
                block.labels,
                block.observed,
                _attempt(lambda block=block: block.predicted(start[block.subject])),
                after,
                block.tolerances,
                is_fitted=True,
            )


def _independent(objective: ForceFieldObjective, start: Evaluations, end: Evaluations) -> Iterator[Comparison]:
    fitted = {(block.subject, block.category) for block in objective.blocks}
    for category in REFERENCES:
        for index, model in enumerate(objective.models):
            if (index, category) in fitted or not REFERENCES[category].is_always_reported:
                continue
            if REFERENCES[category].needs_minimum and end[index].is_displaced:
                continue
            reference = REFERENCES[category](model.target)
            after = _attempt(lambda reference=reference, index=index: reference.predicted(end[index]))
            if after is not None and after.size:
                yield Comparison(
                    model.molecule.name,
                    category,
                    reference.unit,
                    reference.labels,
                    reference.observed,
                    _attempt(lambda reference=reference, index=index: reference.predicted(start[index])),
                    after,
                    np.full(after.size, reference.tolerance),
                    is_fitted=False,
                )


def _attempt(predict: Callable[[], Vector]) -> Vector | None:
    try:
        return predict()
    except EvaluationError:
        return None


def by_category(comparisons: Sequence[Comparison], score: float) -> tuple[CategoryStatistics, ...]:
    """Return statistics of each kind over all molecules, in the order of the table of references.

    Observations that were fitted and such that were not are not mixed: where some of a kind were fitted, those count.

    Args:
        comparisons: All comparisons.
        score: The final score.
    """
    known = [*REFERENCES, *dict.fromkeys(entry.category for entry in comparisons)]
    rows = []
    for category in dict.fromkeys(known):
        chosen = [entry for entry in comparisons if entry.category == category]
        chosen = [entry for entry in chosen if entry.is_fitted] or chosen
        if chosen:
            rows.append(_statistics(chosen, score, molecule=""))
    return tuple(rows)


def by_molecule(comparisons: Sequence[Comparison], score: float) -> tuple[CategoryStatistics, ...]:
    """Return statistics of each kind for each molecule.

    Args:
        comparisons: All comparisons.
        score: The final score.
    """
    return tuple(_statistics([entry], score, molecule=entry.molecule) for entry in comparisons)


def _statistics(chosen: Sequence[Comparison], score: float, *, molecule: str) -> CategoryStatistics:
    observed, fitted, tolerances = (
        np.concatenate([getattr(entry, name) for entry in chosen]) for name in ("observed", "fitted", "tolerances")
    )
    starts = [entry.start for entry in chosen]
    deviation = fitted - observed
    before = None if any(start is None for start in starts) else np.concatenate([s for s in starts if s is not None])
    is_fitted = chosen[0].is_fitted and score > 0.0
    return CategoryStatistics(
        category=chosen[0].category,
        unit=chosen[0].unit,
        count=observed.size,
        rmsd_start=np.nan if before is None else root_mean_square(before - observed),
        rmsd=root_mean_square(deviation),
        mae=float(np.mean(np.abs(deviation))),
        largest=float(np.max(np.abs(deviation))),
        r2=determination(observed, fitted, float(np.mean(tolerances))),
        share=sum(entry.score for entry in chosen) / score if is_fitted else np.nan,
        molecule=molecule,
    )


def determination(observed: Vector, fitted: Vector, tolerance: float) -> float:
    """Return the coefficient of determination R2 = 1 - |fitted - observed|^2 / |observed - mean|^2.

    Args:
        observed: Observations, shape (m,).
        fitted: Predictions, shape (m,).
        tolerance: Deviation that counts as one.

    Returns:
        R2; NaN where the observations spread by less than a tenth of the tolerance: then there is nothing to explain.
    """
    spread = observed - observed.mean()
    if root_mean_square(spread) < NO_SPREAD * tolerance:
        return np.nan
    deviation = fitted - observed
    return 1.0 - float(deviation @ deviation) / float(spread @ spread)


def root_mean_square(values: Vector) -> float:
    """Return the root mean square of some numbers; NaN if there are none."""
    return float(np.sqrt(np.mean(values**2))) if values.size else np.nan


def describe_molecule(
    start: MoleculeEvaluation | None, end: MoleculeEvaluation, share: float = np.nan
) -> MoleculeReport:
    """Describe a molecule under a force field.

    Args:
        start: The molecule at the start of the fit; None if it took no part.
        end: The molecule as fitted.
        share: Its share of the score.
    """
    model = end.model
    imaginary = ~model.is_vibration
    local = normal_modes(end.hessian, model.molecule.record.coordinates, model.masses)
    along = curvatures(end.hessian, model.qm_modes, model.masses)
    diagonal = REFERENCES["eigenmatrix_diagonal"](model.target)
    elements = diagonal.predicted(end)
    common: dict[str, Any] = {
        "name": model.molecule.name,
        "share": share,
        "eigenmatrix_rmsd": root_mean_square(elements - diagonal.observed),
        "eigenmatrix_r2": determination(diagonal.observed, elements, diagonal.tolerance),
        "largest_force": float(np.max(np.abs(model.qm_geometry.gradient(end.terms)))),
        "reaction_coordinate": tuple(model.qm_modes.frequencies[imaginary].tolist()),
        "reaction_curvature": tuple(along[imaginary].tolist()),
        "n_negative": int(np.count_nonzero(local.frequencies < -NEGLIGIBLE)),
    }
    note = _why_no_minimum(end)
    if note:
        missing = ("frequency_rmsd", "bond_rmsd", "bond_largest", "angle_rmsd", "angle_largest", "displacement")
        return MoleculeReport(modes=(), note=note, **dict.fromkeys(missing, np.nan), **common)
    fitted = end.modes.frequencies[end.pairing]
    real = model.is_vibration
    bonds, angles = (_deviation(category, end) for category in ("bond_length", "bond_angle"))
    return MoleculeReport(
        modes=_modes(start, end, fitted),
        frequency_rmsd=root_mean_square(fitted[real] - model.qm_modes.frequencies[real]),
        bond_rmsd=root_mean_square(bonds),
        bond_largest=float(np.max(np.abs(bonds), initial=0.0)),
        angle_rmsd=root_mean_square(angles),
        angle_largest=float(np.max(np.abs(angles), initial=0.0)),
        displacement=displacement(end.minimum.x, model.molecule.record.coordinates, model.masses),
        **common,
    )


def describe_ensemble(evaluation: EnsembleEvaluation, categories: Sequence[str], share: float) -> EnsembleReport:
    """Describe an ensemble under a force field.

    Args:
        evaluation: The ensemble as fitted.
        categories: Kinds of reference that were fitted.
        share: Its share of the score.
    """
    ensemble = evaluation.model.ensemble
    common = {"name": ensemble.name, "n_geometries": ensemble.n_geometries, "share": share}
    if "relaxed_scan" not in categories:
        return EnsembleReport(displacement=np.nan, **common)
    if evaluation.is_unrelaxed:
        note = f"{evaluation.trouble or 'relaxations failed earlier'}: energies are those at the QM geometries"
        return EnsembleReport(displacement=np.nan, note=note, **common)
    return EnsembleReport(displacement=float(np.max(evaluation.displacements)), **common)


def _why_no_minimum(evaluation: MoleculeEvaluation) -> str:
    """Return why a molecule has no minimum whose figures count; empty if it has one."""
    try:
        _ = evaluation.minimum, evaluation.pairing
    except EvaluationError as error:
        return str(error)
    return ""


def _modes(start: MoleculeEvaluation | None, end: MoleculeEvaluation, fitted: Vector) -> tuple[ModeRow, ...]:
    model = end.model
    overlaps = np.abs(np.sum(model.qm_modes.modes * end.modes_in_qm_frame.modes[:, end.pairing], axis=0))
    subspace = subspace_overlaps(model.qm_modes, end.modes_in_qm_frame, end.pairing)
    columns = (model.qm_modes.frequencies, _start_frequencies(start, fitted.size), fitted, overlaps, subspace)
    return tuple(ModeRow(*map(float, row)) for row in zip(*columns, strict=True))


def _start_frequencies(start: MoleculeEvaluation | None, size: int) -> Vector:
    found = None if start is None else _attempt(lambda: start.modes.frequencies[start.pairing])
    return np.full(size, np.nan) if found is None else found


def _deviation(category: str, evaluation: MoleculeEvaluation) -> Vector:
    reference = REFERENCES[category](evaluation.model.target)
    return reference.predicted(evaluation) - reference.observed
