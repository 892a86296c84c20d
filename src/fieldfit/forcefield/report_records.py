"""The records that a report of a fit consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import numpy as np

from fieldfit.forcefield.advice import Advice
from fieldfit.validation import Bootstrap, LCurve, LeaveOneOut


@dataclass(frozen=True)
class CategoryStatistics:
    """How well one kind of reference is reproduced.

    Args:
        category: Kind of reference.
        unit: Unit of the deviations.
        count: Number of observations.
        rmsd_start: Root mean square deviation at the start; NaN where the start has no minimum.
        rmsd: Root mean square deviation of the fitted force field.
        mae: Mean absolute deviation.
        largest: Largest absolute deviation.
        r2: Coefficient of determination; NaN where the observations spread by less than a tenth of their tolerance.
        share: Share of the score; NaN if it was not fitted.
        molecule: Molecule or ensemble; empty for all of them.
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
    molecule: str = ""


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
class ObservationBlock:
    """The fitted observations of one kind for one molecule, in one unit: labels, QM and fitted values, tolerances."""

    molecule: str
    category: str
    unit: str
    labels: tuple[str, ...]
    observed: tuple[float, ...]
    predicted: tuple[float, ...]
    tolerances: tuple[float, ...]


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
class StageRow:
    """One stage of a staged fit.

    Args:
        name: What was done.
        score: Its own score before and after; NaN where it has none.
        final_score: Score of the last stage's references where this one ended; NaN where it could not be evaluated.
        n_evaluations: Evaluations that it took.
        wall_time: Duration [s].
        converged: Whether it converged, if it has to.
        note: What else there is to say: why it was skipped or its end not used.
    """

    name: str
    score: tuple[float, float]
    final_score: float
    n_evaluations: int
    wall_time: float
    converged: bool
    note: str = ""


@dataclass(frozen=True)
class MoleculeReport:
    """One molecule under the fitted force field.

    Args:
        name: Name.
        share: Its share of the score.
        modes: Vibrations; empty where the force field has no minimum.
        frequency_rmsd: Paired, at the minimum [1/cm].
        eigenmatrix_rmsd: Of the diagonal of the eigenmatrix at the QM geometry [1/cm].
        eigenmatrix_r2: Coefficient of determination of the same.
        bond_rmsd: Of bond lengths at the minimum [A].
        bond_largest: Largest deviation of a bond length [A].
        angle_rmsd: Of bond angles at the minimum [deg].
        angle_largest: Largest deviation of a bond angle [deg].
        largest_force: Largest force component left at the QM geometry [kcal/mol/A].
        reaction_coordinate: QM wavenumbers of imaginary modes [1/cm].
        reaction_curvature: Curvature of the force field along them, as wavenumbers [1/cm].
        n_negative: Number of vibrations of negative curvature of the force field at the QM structure.
        displacement: Root mean square displacement of the atoms from the QM structure to the minimum of the force field
            [A]; NaN where there is none.
        note: Why something is missing; empty if nothing is.
    """

    name: str
    share: float
    modes: tuple[ModeRow, ...]
    frequency_rmsd: float
    eigenmatrix_rmsd: float
    eigenmatrix_r2: float
    bond_rmsd: float
    bond_largest: float
    angle_rmsd: float
    angle_largest: float
    largest_force: float
    reaction_coordinate: tuple[float, ...]
    reaction_curvature: tuple[float, ...]
    n_negative: int
    displacement: float
    note: str = ""

    @property
    def has_minimum(self) -> bool:
        """Whether the force field has a minimum that is this molecule."""
        return bool(np.isfinite(self.displacement))


@dataclass(frozen=True)
class EnsembleReport:
    """One ensemble under the fitted force field.

    Args:
        name: Name.
        n_geometries: Number of geometries.
        share: Its share of the score.
        displacement: Largest root mean square displacement of a relaxation [A]; NaN where nothing was relaxed.
        note: Why nothing was relaxed, if something should have been.
    """

    name: str
    n_geometries: int
    share: float
    displacement: float
    note: str = ""


@dataclass(frozen=True)
class Checks:
    """What was asked for beyond the fit: leaving out molecules, the bootstrap, the L-curve; None where it was not."""

    leave_one_out: LeaveOneOut | None = None
    bootstrap: Bootstrap | None = None
    l_curve: LCurve | None = None


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
    molecule_categories: tuple[CategoryStatistics, ...]
    molecules: tuple[MoleculeReport, ...]
    ensembles: tuple[EnsembleReport, ...]
    parameters: tuple[ParameterRow, ...]
    observations: tuple[ObservationBlock, ...]
    tether_share: float
    rank: int
    n_free: int
    n_weak: int
    worst_determined: tuple[tuple[float, str], ...]
    advice: Advice
    interactions: Mapping[str, str]
    failures: tuple[str, ...]
    wall_time: float
    versions: Mapping[str, str]
    stages: tuple[StageRow, ...] = ()
    start_scores: tuple[float, ...] = ()
    seed: int | None = None
    checks: Checks = field(default_factory=Checks)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain dictionaries and lists; numbers that are not finite become None."""
        numbers = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "checks"}
        return {**_plain(numbers), **_plain(_checked(self.checks))}

    def __str__(self) -> str:
        from fieldfit.forcefield.report_text import render

        return render(self)


def _checked(checks: Checks) -> dict[str, Any]:
    """Return what was asked for beyond the fit as plain dictionaries."""
    return {
        name: make(given)
        for name, make in (("leave_one_out", _left_out), ("bootstrap", _bootstrap), ("l_curve", _l_curve))
        if (given := getattr(checks, name)) is not None
    }


def _left_out(found: LeaveOneOut) -> dict[str, Any]:
    return {
        row.name: {
            "figures": row.figures,
            "fitted_with_it": row.reference,
            "held": row.held,
            "converged": row.result is not None and row.result.success,
            "failure": row.failure,
        }
        for row in found.rows
    }


def _bootstrap(found: Bootstrap) -> dict[str, Any]:
    lower, upper = found.interval()
    columns = (found.standard_deviations, lower, upper, found.is_determined)
    return {
        "seed": found.seed,
        "groups": found.groups,
        "n_samples": found.n_samples,
        "n_unconverged": found.n_unconverged,
        "failures": found.failures,
        "parameters": {
            label: {
                "standard_deviation": float(deviation),
                "interval": [float(low), float(high)],
                "is_determined": bool(determined),
            }
            for label, deviation, low, high, determined in zip(found.labels, *columns, strict=True)
        },
    }


def _l_curve(found: LCurve) -> dict[str, Any]:
    return {
        "recommended": found.recommended,
        "reason": found.reason,
        "points": [
            {name: getattr(point, name) for name in ("strength", "score", "size", "curvature", "converged", "failure")}
            for point in found.points
        ],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
