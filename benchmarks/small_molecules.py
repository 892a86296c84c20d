"""Whether a fit ends at the same parameters wherever it starts: small molecules, three kinds of start.

    python benchmarks/small_molecules.py [--data FOLDER] [--seeds N] [--family harmonic|mm3] [--json FILE]

Methyl fluoride, the transition state of its identity reaction with fluoride, ethane, the transition state of its
internal rotation, and both ethanes with one set of parameters. Every fit has the default references (wavenumbers and
geometry at the minimum of the force field, off-diagonal eigenmatrix) and starts

    hessian-fit           at the fit to the QM Hessian, equilibria being QM values
    modified-seminario    at constants by the modified Seminario method
    approximation         at 5 mdyn/A and 0.5 mdyn A/rad^2 for all bonds and angles, every equilibrium value off by up
                          to 5 per cent, by a random number

in two ways: "direct", least squares from there, and "staged", which keeps no more of the start than its equilibrium
values: constants from a fit to the QM Hessian, least squares at the QM geometry, then the references.

Columns: score at the end, its excess over the lowest one of the molecule, largest difference of a parameter from the
fit with the lowest score, in units of the parameter's scale or, where it is larger, of its value; evaluations;
verdict; molecules whose geometry is predicted because they do not relax, and those that relax to other torsions than
those of QM. Where parameters differ by more than 1e-4 the least determined combinations follow, with the part of the
difference that lies along them: along a combination which the residuals hardly feel there is no other fit.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fieldfit import LeastSquaresOptimizer
from fieldfit.errors import EvaluationError
from fieldfit.forcefield import (
    ForceFieldObjective,
    build_force_field,
    estimate_force_constants,
    perceive,
    read,
    share_types,
)
from fieldfit.forcefield.staged_fit import fit_force_field
from fieldfit.forcefield.topology import measure
from fieldfit.problem.optimizer import versions
from fieldfit.reporting.calibration import calibrate

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SAME = 1e-4
"""Parameters closer than this, in units of their scales or values, are the same."""

TURNED = 30.0
"""A torsion that differs by more [deg] belongs to another minimum."""

LARGEST_ERROR = 0.05
"""Of equilibrium values at the crude start, as a fraction of them."""

WAYS = ("direct", "staged")


@dataclass(frozen=True)
class Fit:
    """One fit.

    Args:
        case: Molecules.
        start: Kind of start, with its seed.
        way: One of `WAYS`.
        score: At the end; NaN if it failed.
        excess: Over the lowest score of the case, as a fraction of it.
        distance: Largest difference of a parameter from the fit with the lowest score; see the module.
        n_evaluations: Evaluations of the objective.
        verdict: Whether it converged, or why it failed.
        displaced: Molecules that do not relax at the end.
        turned: Molecules whose torsions at the end are others than by QM, with the largest difference [deg].
        parameters: Values at the end.
    """

    case: str
    start: str
    way: str
    score: float
    excess: float
    distance: float
    n_evaluations: int
    verdict: str
    displaced: tuple[str, ...]
    turned: dict[str, float]
    parameters: dict[str, float]


def cases(data):
    """Return name to molecules."""
    ch3f, sn2, ethane = data / "ch3f", data / "sn2-ts", data / "ethane"
    fluoride = perceive(read(ch3f / "ch3f-optimized.xyz", hessian=ch3f / "ch3f-hessian.npy", name="CH3F"))
    record = read(sn2 / "sn2-ts-optimized.xyz", hessian=sn2 / "sn2-ts-hessian.npy", name="F-CH3-F")
    ground, saddle = (perceive(read(ethane / f"{name}.fchk", name=f"ethane {name}")) for name in ("GS", "TS"))
    return {
        "CH3F": (fluoride,),
        "F-CH3-F": (perceive(record, bond_tolerance=1.45),),
        "ethane GS": (ground,),
        "ethane TS": (saddle,),
        "ethane GS + TS": tuple(share_types([ground, saddle])),
    }


def starts(molecules, field, seeds):
    """Return name to force field."""
    found = {
        "hessian-fit": estimate_force_constants(molecules, field),
        "modified-seminario": estimate_force_constants(molecules, field, "modified-seminario"),
    }
    rough = estimate_force_constants(molecules, field, "approximation")
    return found | {f"approximation {seed}": strained(rough, seed) for seed in range(seeds)}


def strained(field, seed):
    """Return a force field whose equilibrium values are off by up to five per cent."""
    rng = np.random.default_rng(seed)
    values = {}
    for row in field.rows:
        for name, column in zip(row.parameter_names, row.definition.columns, strict=True):
            if not column.is_linear:
                values[name] = row.values[column.name] * (1.0 + LARGEST_ERROR * rng.uniform(-1.0, 1.0))
    return field.with_values(inside(field, values))


def inside(field, values):
    """Return values moved inside the default bounds: an angle of 175 degrees and 5 per cent more is none."""
    parameters = field.parameters
    return {
        name: float(np.clip(value, parameters[name].lower, parameters[name].upper)) for name, value in values.items()
    }


def fit(molecules, start, way):
    """Return objective and result of one fit."""
    if way == "staged":
        found = fit_force_field(molecules, start)
        return found.objective, found.result
    objective = ForceFieldObjective(start, molecules)
    return objective, LeastSquaresOptimizer().optimize(objective)


def run_case(name, molecules, family, seeds):
    """Return the fits of one case, and what the best one does not determine."""
    field = build_force_field(molecules, family=family)
    found = []
    for start, begin in starts(molecules, field, seeds).items():
        for way in WAYS:
            try:
                found.append((start, way, *fit(molecules, begin, way)))
            except EvaluationError as error:
                found.append((start, way, None, str(error)))
    finished = [entry for entry in found if entry[2] is not None]
    if not finished:
        return [failed(name, start, way, reason) for start, way, _, reason in found], None
    best = min((entry[3] for entry in finished), key=lambda result: result.final_score)
    rows = [
        failed(name, start, way, result) if objective is None else row(name, start, way, objective, result, best)
        for start, way, objective, result in found
    ]
    return rows, best


def row(name, start, way, objective, result, best):
    end = result.state
    displaced = tuple(m.name for m, state in zip(objective.molecules, end, strict=True) if state.is_displaced)
    return Fit(
        case=name,
        start=start,
        way=way,
        score=result.final_score,
        excess=(result.final_score - best.final_score) / best.final_score,
        distance=float(np.max(np.abs(difference(result, best)))),
        n_evaluations=result.n_evaluations,
        verdict=result.verdict.word,
        displaced=displaced,
        turned=turned(objective, end),
        parameters={label: float(value) for label, value in result.x.items()},
    )


def turned(objective, end):
    """Return which molecules end at other torsions, and by how many degrees."""
    found = {}
    for model, state in zip(objective.models, end, strict=True):
        torsions, x = model.internal_coordinates.torsions, model.molecule.record.coordinates
        change = np.array([measure(state.x, atoms) - measure(x, atoms) for atoms in torsions])
        largest = float(np.max(np.abs((change + 180.0) % 360.0 - 180.0), initial=0.0))
        if largest > TURNED and not state.is_displaced:
            found[model.molecule.name] = largest
    return found


def failed(name, start, way, reason):
    return Fit(name, start, way, np.nan, np.nan, np.nan, 0, reason, (), {}, {})


def difference(result, best):
    """Return the differences of free parameters in units of their scales or values, shape (n,)."""
    space = best.parameters.space
    x, reference = (entry.parameters.space.start for entry in (result, best))
    return (x - reference) / np.maximum(1.0, np.abs(space.start))


def explain(rows, best, count=3):
    """Return lines about the least determined combinations and how much of the largest difference they explain."""
    different = [entry for entry in rows if np.isfinite(entry.distance) and entry.distance > SAME]
    if not different:
        return [f"  all the same to {SAME:g}"]
    found = best.identifiability()
    furthest = max(different, key=lambda entry: entry.distance)
    values = np.array([furthest.parameters[label] for label in found.labels])
    moved = values - np.array([float(best.x[label]) for label in found.labels])
    # In units of the column norms: what each parameter alone would change the residuals by.
    along = found.directions @ (moved * found.column_norms)
    lines = [
        f"  {len(different)} differ by more than {SAME:g}; {found.rank} of {len(found.labels)} combinations are "
        f"determined, {found.n_weak} of them weakly; difference of {furthest.start}, {furthest.way}:"
    ]
    for index in range(len(found.labels) - 1, max(len(found.labels) - 1 - count, -1), -1):
        share = along[index] ** 2 / float(along @ along)
        lines.append(f"    {share:8.3%} along {found._describe(index)}  ({found.singular_values[index]:.1e})")
    return lines


def table(rows):
    """Print fits."""
    print(f"{'start':20s} {'way':8s}{'score':>13s}{'excess':>10s}{'parameters':>12s}{'evaluations':>13s}  verdict")
    for entry in rows:
        print(
            f"{entry.start:20s} {entry.way:8s}{entry.score:13.6f}{entry.excess:10.1e}{entry.distance:12.1e}"
            f"{entry.n_evaluations:13d}  {entry.verdict}"
            + (f", does not relax: {', '.join(entry.displaced)}" if entry.displaced else "")
            + "".join(f", {molecule} turned by {angle:.0f} degrees" for molecule, angle in entry.turned.items())
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--family", default="harmonic")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(calibrate())
    collected = []
    for name, molecules in cases(options.data).items():
        rows, best = run_case(name, molecules, options.family, options.seeds)
        print(f"\n{name}, {options.family}")
        table(rows)
        print("\n".join(explain(rows, best) if best is not None else ["  no fit finished"]))
        collected += rows
    if options.json is not None:
        content = {"versions": versions(), "family": options.family, "fits": [asdict(entry) for entry in collected]}
        options.json.write_text(json.dumps(content, indent=1, allow_nan=True), encoding="utf-8")


if __name__ == "__main__":
    main()
