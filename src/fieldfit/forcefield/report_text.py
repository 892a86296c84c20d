"""A fit report as text for a terminal.

What grows with the number of molecules stays short: tables of vibrations are written while there are no more than
`MOST_MODES` of them in all, and parameters that are held while there are no more than `MOST_HELD`. Everything is in the
dictionary of the report and in `report.json`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

from fieldfit.forcefield.transition_states import NEAR

if TYPE_CHECKING:
    from fieldfit.forcefield.report_records import CategoryStatistics, FitReport, MoleculeReport, ParameterRow

MOST_MODES = 100
"""Vibrations of all molecules together that are written one by one."""

MOST_HELD = 40
"""Parameters that are held and are written one by one."""

MOST_ADVICE = 12
"""Combinations of parameters that advice is written for."""

MOST_CORRELATIONS = 10
"""Pairs of correlated parameters that are written."""

WIDTH = 120
"""Sentences are wrapped to this."""

MOST_NAMES = 6
"""Parameters of one combination that are named."""


def render(report: FitReport) -> str:
    """Write a report as text."""
    sections = [_heading(report), _stages(report), _starts(report), _categories(report), _overview(report)]
    sections += [_molecule(molecule, with_modes=_n_modes(report) <= MOST_MODES) for molecule in report.molecules]
    sections += [_ensembles(report), _parameters(report), _determination(report), _advice(report), *_checks(report)]
    sections += [_interactions(report), _closing(report)]
    return "\n\n".join(section for section in sections if section) + "\n"


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


def _stages(report: FitReport) -> str:
    if not report.stages:
        return ""
    width = max(len(stage.name) for stage in report.stages)
    lines = [
        "Stages (score of the stage's own references; in the end the score of the references that were asked for)",
        f"  {'stage':{width}s} {'before':>11s} {'after':>11s} {'in the end':>11s} {'evaluations':>12s} {'time':>8s}",
    ]
    for stage in report.stages:
        before, after = stage.score
        lines.append(
            f"  {stage.name:{width}s} {_number(before)} {_number(after)} {_number(stage.final_score)} "
            f"{stage.n_evaluations:12d} {stage.wall_time:6.2f} s{'' if stage.converged else '  not converged'}"
        )
        lines += [f"  {'':{width}s}   {stage.note}"] if stage.note else []
    return "\n".join(lines)


def _starts(report: FitReport) -> str:
    if not report.start_scores:
        return f"Seed of the random numbers: {report.seed}" if report.seed is not None else ""
    best = report.start_scores[0]
    same = sum(score <= best * (1.0 + 1e-6) for score in report.start_scores)
    scores = [f"{score:.6g}" if math.isfinite(score) else "failed" for score in report.start_scores]
    rows = [" ".join(f"{entry:>11s}" for entry in scores[at : at + 8]) for at in range(0, len(scores), 8)]
    head = f"Starts: {len(scores)}, of which {same} ended at the best score to six digits; seed {report.seed}"
    return "\n".join([head, *(f"  {row}" for row in rows)])


def _categories(report: FitReport) -> str:
    lines = [
        "References (deviation = fitted - QM; share = part of the score, - if not fitted)",
        _statistics_header("kind"),
    ]
    lines += [_statistics_line(row, row.category) for row in report.categories]
    if report.tether_share > 0.0:
        lines.append(f"  {'tether to the start':110s} {100.0 * report.tether_share:.1f} %")
    return "\n".join(lines)


def _statistics_header(what: str) -> str:
    return (
        f"  {what:32s} {'unit':14s} {'count':>6s} {'RMSD start':>11s} {'RMSD':>11s} {'MAE':>11s} {'largest':>11s} "
        f"{'R2':>8s} {'share':>7s}"
    )


def _statistics_line(row: CategoryStatistics, label: str) -> str:
    share = "-" if math.isnan(row.share) else f"{100.0 * row.share:.1f} %"
    r2 = "-" if math.isnan(row.r2) else f"{row.r2:.5f}"
    return (
        f"  {label:32s} {row.unit:14s} {row.count:6d} {_number(row.rmsd_start)} {_number(row.rmsd)} "
        f"{_number(row.mae)} {_number(row.largest)} {r2:>8s} {share:>7s}"
    )


OVERVIEW: tuple[tuple[str, str, Callable[[MoleculeReport], str]], ...] = (
    ("share", "", lambda row: "-" if math.isnan(row.share) else f"{100.0 * row.share:.1f} %"),
    ("frequency", "1/cm", lambda row: _short(row.frequency_rmsd, 1)),
    ("eigenmatrix", "1/cm", lambda row: _short(row.eigenmatrix_rmsd, 1)),
    ("R2 of it", "", lambda row: _short(row.eigenmatrix_r2, 5)),
    ("bonds", "A", lambda row: _short(row.bond_rmsd, 4)),
    ("angles", "deg", lambda row: _short(row.angle_rmsd, 2)),
    ("moved", "A", lambda row: _short(row.displacement, 3)),
    ("negative", "", lambda row: f"{row.n_negative}"),
)
"""Columns of the table of molecules: heading, unit, cell."""


def _overview(report: FitReport) -> str:
    """Write one line per molecule, where there are several."""
    if len(report.molecules) < 2:
        return ""
    width = max(9, *(len(molecule.name) for molecule in report.molecules))
    lines = [
        "Molecules (RMSD at the minimum; moved: atoms from QM to it; negative: curvatures at the QM structure)",
        f"  {'':{width}s} " + " ".join(f"{name:>11s}" for name, _, _ in OVERVIEW),
        f"  {'':{width}s} " + " ".join(f"{unit:>11s}" for _, unit, _ in OVERVIEW),
    ]
    for molecule in report.molecules:
        cells = " ".join(f"{cell(molecule):>11s}" for _, _, cell in OVERVIEW)
        lines.append(f"  {molecule.name:{width}s} {cells}{'' if molecule.has_minimum else '  NO MINIMUM'}")
    if _n_modes(report) > MOST_MODES:
        lines.append(
            f"  The {_n_modes(report)} vibrations are in report.json: molecules, modes; kinds by molecule: "
            "molecule_categories."
        )
    return "\n".join(lines)


def _n_modes(report: FitReport) -> int:
    return sum(len(molecule.modes) for molecule in report.molecules)


def _molecule(molecule: MoleculeReport, *, with_modes: bool) -> str:
    """Write a section on one molecule; without its vibrations only what the table of molecules does not say."""
    lines = [] if molecule.note or not with_modes else _deviations(molecule)
    lines += [f"  {molecule.note}"] if molecule.note else []
    lines += _surface(molecule) if with_modes or molecule.note or molecule.reaction_coordinate else []
    if with_modes and molecule.modes:
        lines += ["", *_modes(molecule)]
    return "\n".join([f"{molecule.name} at the minimum of the force field", *lines]) if lines else ""


def _deviations(molecule: MoleculeReport) -> list[str]:
    lines = [
        f"  wavenumbers   RMSD {molecule.frequency_rmsd:.2f} 1/cm (paired by overlap, imaginary modes left out)",
        f"  bond lengths  RMSD {molecule.bond_rmsd:.5f} A, largest {molecule.bond_largest:.5f} A",
    ]
    if math.isfinite(molecule.angle_rmsd):
        lines.append(f"  bond angles   RMSD {molecule.angle_rmsd:.3f} deg, largest {molecule.angle_largest:.3f} deg")
    return lines


def _surface(molecule: MoleculeReport) -> list[str]:
    """Say what the QM structure is on the energy surface of the fitted force field."""
    lines = [f"  largest force left at the QM geometry: {molecule.largest_force:.3g} kcal/mol/A"]
    if molecule.has_minimum:
        near = "" if molecule.displacement <= NEAR else ": NOT NEAR"
        lines.append(f"  a minimum of the force field lies {molecule.displacement:.4f} A from the QM structure{near}")
    else:
        lines.append("  the force field has NO MINIMUM that is this molecule")
    if molecule.n_negative:
        lines.append(f"  {molecule.n_negative} vibrations of negative curvature at the QM structure")
    for qm, fitted in zip(molecule.reaction_coordinate, molecule.reaction_curvature, strict=True):
        lines.append(
            f"  reaction coordinate: QM {qm:.1f} 1/cm, curvature of the force field along it {fitted:.1f} 1/cm"
        )
    return lines


def _modes(molecule: MoleculeReport) -> list[str]:
    lines = [f"  {'mode':>4s} {'QM':>9s} {'start':>9s} {'fitted':>9s} {'error':>8s} {'overlap':>8s} {'in set':>7s}"]
    for number, mode in enumerate(molecule.modes, 1):
        start = f"{'-':>9s}" if math.isnan(mode.start) else f"{mode.start:9.2f}"
        lines.append(
            f"  {number:4d} {mode.qm:9.2f} {start} {mode.fitted:9.2f} {mode.fitted - mode.qm:8.2f} "
            f"{mode.overlap:8.3f} {mode.subspace_overlap:7.3f}"
        )
    return lines


def _ensembles(report: FitReport) -> str:
    lines = []
    for row in report.ensembles:
        share = "" if math.isnan(row.share) else f", {100.0 * row.share:.1f} % of the score"
        moved = "" if math.isnan(row.displacement) else f", relaxed by up to {row.displacement:.3f} A"
        lines.append(f"  {row.name}: {row.n_geometries} geometries{share}{moved}")
        lines += _wrapped(row.note, "    ") if row.note else []
    return "\n".join(["Ensembles", *lines]) if lines else ""


def _parameters(report: FitReport) -> str:
    n_held = sum(row.held == "fixed" for row in report.parameters)
    shown = [row for row in report.parameters if n_held <= MOST_HELD or row.held != "fixed"]
    width = max((len(row.label) for row in shown), default=10)
    lines = ["Parameters", f"  {'name':{width}s} {'start':>11s} {'value':>11s} {'std. error':>11s}  unit"]
    for row in shown:
        flag = "  AT BOUND" if row.at_bound else ""
        lines.append(f"  {row.label:{width}s} {row.start:11.5g} {row.value:11.5g} {_error(row):>11s}  {row.unit}{flag}")
    if len(shown) < len(report.parameters):
        lines.append(f"  {n_held} more are fixed; they are in report.json: parameters.")
    return "\n".join(lines)


def _error(row: ParameterRow) -> str:
    if row.held:
        return row.held
    if math.isinf(row.standard_error):
        return "undetermined"
    # No more residuals than parameters: nothing is left over to judge errors by.
    return "not defined" if math.isnan(row.standard_error) else f"{row.standard_error:.3g}"


def _determination(report: FitReport) -> str:
    lines = [f"Determined by the data: {report.rank} of {report.n_free} directions"]
    lines.append("  least determined combinations (singular value relative to the largest):")
    lines += [f"  {value:9.2e}  {text}" for value, text in report.worst_determined]
    if report.n_weak:
        lines.append(
            f"  {report.n_weak} of them weakly (below 1e-3): a linear model does not reach as far as the standard "
            "errors\n  of the parameters in it say, so take those as a warning and not as a size."
        )
    return "\n".join(lines)


def _advice(report: FitReport) -> str:
    """Write what to do about combinations that are not determined, and about correlations."""
    combinations, pairs = report.advice.combinations, report.advice.correlations
    lines = []
    for entry in combinations[:MOST_ADVICE]:
        word = f"weakly determined ({entry.value:.0e})" if entry.is_weak else "not determined"
        lines += [*_wrapped(_listed(entry.parameters), "  "), *_wrapped(f"{word}; {entry.text}", "    ")]
    hidden = len(combinations) - MOST_ADVICE
    lines += [f"  and {hidden} more in report.json: advice."] if hidden > 0 else []
    if pairs:
        lines.append(f"  {len(pairs)} correlations above 0.95:")
        lines += [f"    {row.coefficient:+.4f}  {row.first}  {row.second}" for row in pairs[:MOST_CORRELATIONS]]
    hidden = len(pairs) - MOST_CORRELATIONS
    lines += [f"    and {hidden} more in report.json: advice."] if hidden > 0 else []
    return "\n".join(["Advice", *lines]) if lines else ""


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _checks(report: FitReport) -> list[str]:
    found = (report.checks.leave_one_out, report.checks.bootstrap, report.checks.l_curve)
    return [repr(entry) for entry in found if entry is not None]


def _interactions(report: FitReport) -> str:
    return "\n".join(["Interactions"] + [f"  {kind:26s} {text}" for kind, text in report.interactions.items()])


def _closing(report: FitReport) -> str:
    lines = [f"failed evaluation: {failure}" for failure in report.failures]
    lines.append(f"Fit {report.wall_time:.2f} s; " + ", ".join(f"{k} {v}" for k, v in report.versions.items()))
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{'-':>11s}" if math.isnan(value) else f"{value:11.5g}"


def _short(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
