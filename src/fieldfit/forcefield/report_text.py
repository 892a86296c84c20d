"""A fit report as text for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fieldfit.forcefield.report import FitReport, MoleculeReport


def render(report: FitReport) -> str:
    """Write a report as text."""
    sections = [_heading(report), _categories(report)]
    sections += [_molecule(molecule) for molecule in report.molecules]
    sections += [_parameters(report), _determination(report), _interactions(report), _closing(report)]
    return "\n\n".join(sections) + "\n"


def _heading(report: FitReport) -> str:
    start, end = report.score
    gone = 100.0 * (1.0 - end / start) if start else 0.0
    return "\n".join(
        [
            f"{report.title}: {'converged' if report.success else 'NOT CONVERGED'}",
            f"  {report.message}",
            f"  score {start:.6g} -> {end:.6g} ({gone:.1f} % gone), {report.n_iterations} steps, "
            f"{report.n_evaluations} evaluations, optimality {report.optimality:.1e}",
        ]
    )


def _categories(report: FitReport) -> str:
    lines = [
        "References (deviation = fitted - QM; share = part of the score, - if not fitted)",
        f"  {'kind':32s} {'unit':14s} {'count':>6s} {'RMSD start':>11s} {'RMSD':>11s} {'MAE':>11s} {'largest':>11s} "
        f"{'R2':>8s} {'share':>7s}",
    ]
    for row in report.categories:
        share = "-" if math.isnan(row.share) else f"{100.0 * row.share:.1f} %"
        r2 = "-" if math.isnan(row.r2) else f"{row.r2:.5f}"
        lines.append(
            f"  {row.category:32s} {row.unit:14s} {row.count:6d} {_number(row.rmsd_start)} {_number(row.rmsd)} "
            f"{_number(row.mae)} {_number(row.largest)} {r2:>8s} {share:>7s}"
        )
    if report.tether_share > 0.0:
        lines.append(f"  {'tether to the start':110s} {100.0 * report.tether_share:.1f} %")
    return "\n".join(lines)


def _molecule(molecule: MoleculeReport) -> str:
    lines = [f"{molecule.name} at the minimum of the force field"]
    if molecule.note:
        lines.append(f"  {molecule.note}")
    else:
        lines += [
            f"  wavenumbers   RMSD {molecule.frequency_rmsd:.2f} 1/cm (paired by overlap, imaginary modes left out)",
            f"  bond lengths  RMSD {molecule.bond_rmsd:.5f} A, largest {molecule.bond_largest:.5f} A",
        ]
        if math.isfinite(molecule.angle_rmsd):
            lines.append(
                f"  bond angles   RMSD {molecule.angle_rmsd:.3f} deg, largest {molecule.angle_largest:.3f} deg"
            )
    lines.append(f"  largest force left at the QM geometry: {molecule.largest_force:.3g} kcal/mol/A")
    for qm, fitted in zip(molecule.reaction_coordinate, molecule.reaction_curvature, strict=True):
        lines.append(
            f"  reaction coordinate: QM {qm:.1f} 1/cm, curvature of the force field along it {fitted:.1f} 1/cm"
        )
    if molecule.modes:
        lines += [
            "",
            f"  {'mode':>4s} {'QM':>9s} {'start':>9s} {'fitted':>9s} {'error':>8s} {'overlap':>8s} {'in set':>7s}",
        ]
    for number, mode in enumerate(molecule.modes, 1):
        lines.append(
            f"  {number:4d} {mode.qm:9.2f} {mode.start:9.2f} {mode.fitted:9.2f} {mode.fitted - mode.qm:8.2f} "
            f"{mode.overlap:8.3f} {mode.subspace_overlap:7.3f}"
        )
    return "\n".join(lines)


def _parameters(report: FitReport) -> str:
    width = max((len(row.label) for row in report.parameters), default=10)
    lines = ["Parameters", f"  {'name':{width}s} {'start':>11s} {'value':>11s} {'std. error':>11s}  unit"]
    for row in report.parameters:
        if row.held:
            error = row.held
        elif math.isinf(row.standard_error):
            error = "undetermined"
        elif math.isnan(row.standard_error):
            # No more residuals than parameters: nothing is left over to judge errors by.
            error = "not defined"
        else:
            error = f"{row.standard_error:.3g}"
        flag = "  AT BOUND" if row.at_bound else ""
        lines.append(f"  {row.label:{width}s} {row.start:11.5g} {row.value:11.5g} {error:>11s}  {row.unit}{flag}")
    return "\n".join(lines)


def _determination(report: FitReport) -> str:
    lines = [f"Determined by the data: {report.rank} of {report.n_free} directions"]
    lines.append("  least determined combinations (singular value relative to the largest):")
    lines += [f"  {value:9.2e}  {text}" for value, text in report.worst_determined]
    if report.n_weak:
        lines.append(
            f"  {report.n_weak} of them weakly (below 1e-3): a linear model does not reach as far as the standard "
            "errors\n  of the parameters in it say, so take those as a warning and not as a size."
        )
    if report.rank < report.n_free:
        lines.append("  Tie or fix parameters of the undetermined combinations, or add references that feel them.")
    return "\n".join(lines)


def _interactions(report: FitReport) -> str:
    return "\n".join(["Interactions"] + [f"  {kind:26s} {text}" for kind, text in report.interactions.items()])


def _closing(report: FitReport) -> str:
    lines = [f"failed evaluation: {failure}" for failure in report.failures]
    lines.append(f"Fit {report.wall_time:.2f} s; " + ", ".join(f"{k} {v}" for k, v in report.versions.items()))
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{'-':>11s}" if math.isnan(value) else f"{value:11.5g}"
