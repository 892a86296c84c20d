"""Fit relaxed torsion scans and conformer energies, and say how well they are reproduced.

    python benchmarks/torsion_scans.py [--molecules butane paracetamol] [--json FILE]

The data are those of examples/torsion-scan: GFN2-xTB scans of one torsion in steps of 15 degrees, everything else
relaxed, conformers relaxed freely, and the Hessian of the minimum. Every geometry is relaxed in the force field, too.

Fields: butane has valence terms and torsions alone, those about the central bond with periodicities 1, 2 and 3.
Paracetamol has van der Waals terms that are held (its cis amides owe their twist to them), and the amide bond has a
periodicity of 1 beside that of 2, which tells cis from trans.

Fits: the Hessian alone; Hessian and every second point of the scan, so that the other points and the conformers are
predictions; Hessian, scan and conformers, with the default tolerance of energies and with a smaller one. Columns:
tolerance, root mean square and largest deviation of the whole scan, root mean square of the points between those of the
second fit, and both for the conformers [kcal/mol], energies compared with a free zero; deviations of wavenumbers
[1/cm], bond lengths [A] and bond angles [deg] at the minimum; evaluations and seconds, compilation included.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fieldfit import LeastSquaresOptimizer, __version__
from fieldfit.forcefield import ForceFieldObjective, Nonbonded, Row, build_force_field, perceive, read
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.initial_guess import estimate_force_constants
from fieldfit.forcefield.readers.ensemble_xyz import read_ensemble
from fieldfit.forcefield.references.ensemble_model import EnsembleEvaluation, EnsembleModel
from fieldfit.forcefield.references.ensembles import RelaxedScan
from fieldfit.forcefield.row import canonical
from fieldfit.reporting.calibration import calibrate

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "torsion-scan"

HESSIAN = {"eigenmatrix_diagonal": None, "eigenmatrix_off_diagonal": None, "bond_length": None, "bond_angle": None}
TETHER = 0.1
TIGHT = 0.1
"""A tolerance of energies that makes the scan count more than the Hessian [kcal/mol]."""

LENNARD_JONES = {"C": (1.9, 0.1), "H": (1.4, 0.016), "N": (1.82, 0.17), "O": (1.66, 0.2)}
"""Radius [A] and depth [kcal/mol] by element, in round numbers near those of common force fields."""


@dataclass(frozen=True)
class Case:
    """A molecule: the scanned torsion, torsions with further periodicities, and whether it has van der Waals terms."""

    scanned: tuple[int, ...]
    torsions: dict[tuple[int, ...], tuple[int, ...]]
    has_vdw: bool


CASES = {
    "butane": Case((0, 1, 2, 3), {(0, 1, 2, 3): (1, 2)}, has_vdw=False),
    "paracetamol": Case((1, 0, 6, 7), {(0, 6, 7, 9): (1,)}, has_vdw=True),
}


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    molecule: str
    fit: str
    tolerance: float | None
    scan_rmse: float
    scan_largest: float
    between_rmse: float
    conformer_rmse: float
    conformer_largest: float
    frequency_rmsd: float
    bond_rmsd: float
    angle_rmsd: float
    barriers: tuple[tuple[float, float, float], ...]
    evaluations: int
    seconds: float
    note: str


def make_field(molecule, case):
    """Return the rows of a molecule and which parameters the Hessian cannot start: those of further periodicities."""
    field = build_force_field([molecule])
    rows = [torsion_row(molecule, atoms, n) for atoms, numbers in case.torsions.items() for n in numbers]
    names = [name for row in rows for name in row.parameter_names]
    nonbonded = None
    if case.has_vdw:
        pairs = {name: LENNARD_JONES[element] for name, element in field.elements.items()}
        rows += [Row("lennard_jones", (t,), {"radius": r, "epsilon": e}) for t, (r, e) in pairs.items()]
        nonbonded = Nonbonded(vdw_14=0.5)
    return replace(field, rows=(*field.rows, *rows), nonbonded=nonbonded), names


def torsion_row(molecule, atoms, periodicity):
    """Return a torsion of one periodicity without a constant."""
    types = canonical("torsion", [molecule.types[atom] for atom in atoms])
    constants = {"periodicity": float(periodicity), "phase": 180.0 * (periodicity % 2 == 0)}
    return Row("cosine_torsion", types, {"k": 0.0}, constants)


def every_second(scan):
    """Return the scan without every second point."""
    return replace(scan, coordinates=scan.coordinates[::2], energies=scan.energies[::2], gradients=scan.gradients[::2])


def relaxed(ensemble, field):
    """Return the relaxed energies of an ensemble and how far they are from those by QM."""
    model = EnsembleModel(ensemble, JaxEngine().system(ensemble.molecule, field))
    p = field.parameters.flat * field.internal_factors
    evaluation, reference = EnsembleEvaluation(model, p, model.initial_state), RelaxedScan(ensemble)
    deviations = reference.predicted(evaluation) - reference.observed
    return evaluation.relaxed_energies, deviations, evaluation.trouble


def barriers(scan, energies):
    """Return torsion, QM height and height of the force field of every maximum of the scan between 0 and 180 deg."""
    angles = np.array([scan.fixed(number)[0].target for number in range(scan.n_geometries)])
    qm = scan.energies
    is_top = (qm > np.roll(qm, 1)) & (qm > np.roll(qm, -1)) & (angles > -1.0)
    lowest = np.argmin(qm)
    return tuple(
        (round(float(angles[k])) + 0.0, float(qm[k] - qm[lowest]), float(energies[k] - energies[lowest]))
        for k in np.flatnonzero(is_top)
    )


def deviations_at_minimum(field, molecule):
    """Return deviations of wavenumbers [1/cm], bond lengths [A] and angles [deg], root mean squares."""
    objective = ForceFieldObjective(field, [molecule], ["frequency", "bond_length", "bond_angle"])
    (evaluation,) = objective.at(field.parameters.flat, objective.initial_state())
    return [rms(block.predicted(evaluation) - block.observed) for block in objective.blocks]


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


def study(name):
    """Return the lines of one molecule."""
    case = CASES[name]
    molecule = perceive(read(FOLDER / f"{name}.json"))
    scan = read_ensemble(FOLDER / f"{name}-scan.xyz", molecule, held=[case.scanned])
    conformers = read_ensemble(FOLDER / f"{name}-conformers.xyz", molecule)
    field, further = make_field(molecule, case)
    parameters = field.parameters.fix("vdw.*") if case.has_vdw else field.parameters
    begin = time.perf_counter()
    start = estimate_force_constants([molecule], field, parameters=parameters.fix(*further))
    lines = [line(molecule, scan, conformers, start, fit=("Hessian", None, 0, time.perf_counter() - begin))]
    fits = (
        ("every second point", [every_second(scan)], TIGHT),
        ("scan, conformers", [scan, conformers], RelaxedScan.tolerance),
        ("scan, conformers", [scan, conformers], TIGHT),
    )
    for title, ensembles, tolerance in fits:
        begin = time.perf_counter()
        objective = ForceFieldObjective(
            start,
            [molecule],
            HESSIAN | {"relaxed_scan": tolerance},
            ensembles=ensembles,
            parameters=parameters.replace(start.parameters.values),
            regularization=TETHER,
        )
        result = LeastSquaresOptimizer().optimize(objective)
        fitted = start.with_values(result.parameters.values)
        seconds = time.perf_counter() - begin
        lines.append(line(molecule, scan, conformers, fitted, fit=(title, tolerance, result.n_evaluations, seconds)))
    return lines


def line(molecule, scan, conformers, field, *, fit):
    """Return one line of the table."""
    energies, of_scan, trouble = relaxed(scan, field)
    _, of_conformers, more_trouble = relaxed(conformers, field)
    title, tolerance, evaluations, seconds = fit
    return Line(
        molecule.name,
        title,
        tolerance,
        rms(of_scan),
        float(np.max(np.abs(of_scan))),
        rms(of_scan[1::2]),
        rms(of_conformers),
        float(np.max(np.abs(of_conformers))),
        *deviations_at_minimum(field, molecule),
        barriers=barriers(scan, energies),
        evaluations=evaluations,
        seconds=seconds,
        note=trouble or more_trouble,
    )


HEADER = f"{'molecule':12s} {'fit':19s} {'tol.':>4s} {'scan':>6s} {'max':>5s} {'between':>8s} {'conformers':>11s}"
HEADER += f" {'max':>5s} {'1/cm':>7s} {'A':>7s} {'deg':>5s} {'eval.':>6s} {'s':>6s}"


def show(entry):
    tolerance = "-" if entry.tolerance is None else f"{entry.tolerance:.1f}"
    cells = [
        f"{entry.molecule:12s} {entry.fit:19s} {tolerance:>4s}",
        f"{entry.scan_rmse:6.3f} {entry.scan_largest:5.2f} {entry.between_rmse:8.3f}",
        f"{entry.conformer_rmse:11.3f} {entry.conformer_largest:5.2f}",
        f"{entry.frequency_rmsd:7.1f} {entry.bond_rmsd:7.4f} {entry.angle_rmsd:5.2f}",
        f"{entry.evaluations:6d} {entry.seconds:6.1f}",
    ]
    print(*cells)
    for angle, qm, fitted in entry.barriers:
        print(
            f"             barrier at {angle:5.0f} deg: {qm:.2f} kcal/mol by QM, {fitted:.2f}, error {fitted - qm:+.2f}"
        )
    if entry.note:
        print(f"             at the QM geometries, because {entry.note}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args(arguments)
    versions = {"fieldfit": __version__} | {name: version(name) for name in ("jax", "numpy", "scipy")}
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    print(calibrate())
    print(HEADER)
    lines = []
    for name in options.molecules:
        for entry in study(name):
            show(entry)
            lines.append(entry)
    if options.json:
        options.json.write_text(
            json.dumps({"versions": versions, "lines": [asdict(entry) for entry in lines]}, indent=2)
        )


if __name__ == "__main__":
    main()
