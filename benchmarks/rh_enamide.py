"""Complete fits of the transition states of a rhodium-catalysed hydrogenation of enamides, nine structures.

    python benchmarks/rh_enamide.py PART [PART ...] [--data FOLDER] [--json FILE] [--fields FOLDER]
                                    [--skip-optimization]

PART is one of

    tolerances      default tolerances, force field shared by the nine structures, from several starts
    poor-starts     the same from constants of 5.0/0.5 mdyn, from constants off by factors of 0.5 to 2, and from
                    equilibrium values off by up to 5 %, five seeds each
    classic         the classic observables with the weights "q2mm", all that acts of the 182 parameters that were
                    active in published fits, from five starts; and with valence parameters only
    frequency       wavenumbers only, with the classic weight 0.001
    stationary      Newton's method with second derivatives by differences of gradients, from the stored force field
                    of the best fit with tolerances: how far its end is from a stationary point
    leave-one-out   default tolerances, without each structure in turn
    derivatives     the Jacobian against central differences, time of one evaluation, equal bits
    cold            one fit with default tolerances in a fresh process: wall time from its start, memory

Every fit is the staged one: convex fit to the Hessians, least squares at the QM geometry, least squares on the
references. The classic fits begin with the constants of their start instead of the convex fit. All figures are computed
again from the QM structures, not from where the fit left the molecules: "score" is what anybody finds who relaxes them
with the fitted force field.

Starts: "published" is the force field of the paper as MacroModel ships it, "start" the one its authors began with,
"seminario" their projected one, "hessian-fit" has its equilibrium values from QM and all constants from the convex fit,
"approximation" constants of 5.0 mdyn/A and 0.5 mdyn A/rad^2.

Fitted force fields are written to --fields, as .toml and .fld; --skip-optimization scores those again instead of
fitting. --json keeps all figures, with versions, options and times. The data (MacroModel print-out and Jaguar files)
are not part of the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

BEGIN = time.time()

from fieldfit.errors import FieldfitError  # noqa: E402 - the clock starts before the imports
from fieldfit.forcefield import (  # noqa: E402
    ForceField,
    ForceFieldObjective,
    estimate_force_constants,
    fit_force_field,
    fld_parameters,
    force_field_from_print_outs,
    read,
    read_fld,
    read_mmo,
    with_fld_values,
    with_record,
    write_fld,
)
from fieldfit.forcefield.cross_validation import leave_molecules_out  # noqa: E402
from fieldfit.forcefield.references import REFERENCES  # noqa: E402
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer  # noqa: E402
from fieldfit.optimizers.scalar_trust_region import TrustRegionOptimizer  # noqa: E402
from fieldfit.problem.optimizer import versions  # noqa: E402
from fieldfit.tables import write_table  # noqa: E402

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "rh-enamide"

ROBUST = ("eigenmatrix_diagonal", "bond_length", "bond_angle")
"""References of the fits with tolerances: as the classic ones, in units of their own."""

KINDS = ("eigenmatrix_diagonal", "frequency", "bond_length", "bond_angle", "classic_eigenmatrix_diagonal")
"""Kinds of which every table has R2 and root mean square deviation."""

OPTIMIZER = LeastSquaresOptimizer(ftol=1e-6, maxiter=200)

QUICK = LeastSquaresOptimizer(ftol=1e-5, maxiter=100)
"""Where many fits are compared: it stops within a few thousandths of the score."""


@dataclass(frozen=True)
class TrainingSet:
    """Molecules with QM Hessians, force field with the published values, and the file it came from."""

    molecules: tuple
    field: ForceField
    template: object
    folder: Path

    def parameters(self, field, *, vdw=False):
        """Return the parameters of the reacting part, and on request van der Waals parameters, free."""
        parameters = fld_parameters(field, self.template)
        return parameters.free("vdw.*") if vdw else parameters

    def start(self, name):
        """Return the force field of a start by name."""
        files = {"start": "rh_hyd_enamide_start.fld", "seminario": "rh_hyd_enamide_seminario.fld"}
        if name in files:
            return with_fld_values(self.field, read_fld(self.folder / files[name]), self.template)
        if name == "approximation":
            parameters = self.parameters(self.field)
            return estimate_force_constants(self.molecules, self.field, "approximation", parameters=parameters)
        return with_qm_equilibria(self) if name == "hessian-fit" else self.field


def load(folder):
    """Read print-out, force-field file and Jaguar results."""
    inner = folder / "rh_enamide_training_set"
    template = read_fld(folder / "mm3.fld")
    print_outs = read_mmo(inner / "rh_enamide_training_set.mmo")
    bare, field = force_field_from_print_outs(print_outs, template, zero_torsions_of="OPT")
    files = sorted((inner / "jaguar_spe_freq_in_out").glob("*.in"))
    records = (replace(read(path), name=f"structure {number}") for number, path in enumerate(files, 1))
    molecules = tuple(with_record(molecule, record) for molecule, record in zip(bare, records, strict=True))
    return TrainingSet(molecules, field, template, folder)


def with_qm_equilibria(training):
    """Return the force field with the mean QM bond lengths and angles as equilibrium values where they are free."""
    from fieldfit.forcefield.topology import measure

    parameters = training.parameters(training.field)
    free = {name for name, is_free in zip(parameters.names, parameters.is_free, strict=True) if is_free}
    found: dict[str, list[float]] = {}
    for molecule in training.molecules:
        for label, atoms in molecule.assignments:
            name = f"{label}.{'r0' if len(atoms) == 2 else 'theta0'}"
            if name in free:
                found.setdefault(name, []).append(measure(molecule.record.coordinates, atoms))
    return training.field.with_values({name: float(np.mean(values)) for name, values in found.items()})


def figures(training, field, *, references=None, weights="default", parameters=None):
    """Return figures of a force field, every molecule relaxed from its QM structure."""
    objective = ForceFieldObjective(field, training.molecules, references, weights=weights, parameters=parameters)
    values, state = field.parameters.flat, objective.initial_state()
    score = objective.evaluate(values, state, derivatives=False)
    evaluations = objective.at(values, state)
    found = {"score": score.score, "displaced": [e.model.molecule.name for e in evaluations if e.is_displaced]}
    for kind in KINDS:
        pairs = [(REFERENCES[kind](entry.model.target), entry) for entry in evaluations]
        observed = np.concatenate([reference.observed for reference, _ in pairs])
        deviation = np.concatenate([reference.predicted(entry) for reference, entry in pairs]) - observed
        spread = observed - observed.mean()
        found[f"{kind} R2"] = float(1.0 - deviation @ deviation / (spread @ spread))
        found[f"{kind} RMSD"] = float(np.sqrt(np.mean(deviation**2)))
    lowest = [e.modes.frequencies[0] for e in evaluations if not e.is_displaced]
    found["lowest wavenumber"] = float(min(lowest, default=np.nan))
    return found


def fit(  # noqa: PLR0913
    training,
    name,
    field,
    options,
    *,
    parameters,
    references=None,
    weights="default",
    start="hessian-fit",
    optimizer=OPTIMIZER,
):
    """Make one staged fit, or score the stored force field of that name; return a row of figures."""
    toml = options.fields / f"{name}.toml" if options.fields else None
    row = {"name": name, "weights": weights, "references": references, "n_free": parameters.n_free}
    scoring = {"references": references, "weights": weights}
    row["at the start"] = figures(training, field, **scoring)
    if options.skip_optimization:
        return row | figures(training, ForceField.read(toml), **scoring)
    begin = time.perf_counter()
    found = fit_force_field(
        training.molecules,
        field,
        references,
        parameters=parameters,
        weights=weights,
        optimizer=optimizer,
        start=start,
    )
    row["wall time"] = time.perf_counter() - begin
    result = found.result
    if toml is not None:
        options.fields.mkdir(parents=True, exist_ok=True)
        found.force_field.write(toml)
        write_fld(toml.with_suffix(".fld"), found.force_field, training.template)
    row |= {
        "success": result.success,
        "message": result.message,
        "optimality": result.optimality,
        "verdict": result.verdict.reason,
        "score of the fit": result.final_score,
        "iterations": result.n_iterations,
        "evaluations": result.n_evaluations,
        "derivatives": result.jac_mode,
        "optimizer": repr(optimizer),
        "at bounds": [label for label, held in zip(result.labels, result.is_at_bound, strict=True) if held],
        "stages": [[stage.name, stage.final_score, stage.wall_time, stage.note] for stage in found.stages],
        "failures": list(result.failures),
        "rank": [found.result.identifiability().rank, parameters.n_free],
    }
    return row | figures(training, found.force_field, **scoring)


def show(rows):
    """Print figures of fits."""
    head = ["fit", "free", "score: start", "end", "optimality", "R2 diag", "1/cm", "freq 1/cm", "R2 bond", "A"]
    table = [[*head, "R2 angle", "deg", "R2 classic", "lowest 1/cm", "steps", "s"]]
    for row in rows:
        ending = [f"{row.get('optimality', np.nan):.1e}"]
        ending += [f"{row['eigenmatrix_diagonal R2']:.4f}", f"{row['eigenmatrix_diagonal RMSD']:.1f}"]
        ending += [f"{row['frequency RMSD']:.1f}"]
        for kind, digits in (("bond_length", 4), ("bond_angle", 2)):
            ending += [f"{row[f'{kind} R2']:.4f}", f"{row[f'{kind} RMSD']:.{digits}f}"]
        ending += [f"{row['classic_eigenmatrix_diagonal R2']:.4f}", f"{row['lowest wavenumber']:.1f}"]
        ending += [str(row.get("iterations", "-")), f"{row.get('wall time', np.nan):.0f}"]
        scores = [f"{row['at the start']['score']:.6g}", f"{row['score']:.6g}"]
        table.append([row["name"], str(row["n_free"]), *scores, *ending])
        if row["displaced"]:
            print(f"{row['name']}: {', '.join(row['displaced'])} do not relax from the QM structure")
    print(write_table(table), flush=True)


def tolerances(training, options):
    rows = []
    for name in ("published", "start", "seminario", "hessian-fit"):
        field = training.start(name)
        rows.append(
            fit(
                training, f"tolerances-{name}", field, options, parameters=training.parameters(field), references=ROBUST
            )
        )
    floor = training.start("hessian-fit")
    parameters = training.parameters(floor)
    fitted = estimate_force_constants(training.molecules, floor, "hessian-fit", parameters=parameters)
    row = {"name": "Hessian only, QM equilibria", "n_free": int(np.sum(floor.is_linear[parameters.is_free]))}
    row["at the start"] = figures(training, floor, references=ROBUST)
    rows.append(row | figures(training, fitted, references=ROBUST))
    show(rows)
    return rows


def poor_starts(training, options):
    rows = []
    for name, field in poor_fields(training):
        parameters = training.parameters(field)
        rows.append(
            fit(training, f"poor-{name}", field, options, parameters=parameters, references=ROBUST, optimizer=QUICK)
        )
        show(rows[-1:])
    show(rows)
    best = min(row["score"] for row in rows)
    print(f"best score {best:.6g}; within 2 %: {sum(row['score'] <= 1.02 * best for row in rows)} of {len(rows)}")
    return rows


def poor_fields(training):
    """Yield names and force fields of poor starts."""
    yield "5.0-0.5", training.start("approximation")
    parameters = training.parameters(training.field)
    free = dict(zip(parameters.names, parameters.is_free, strict=True))
    for kind, columns in (("constants", ("k",)), ("equilibria", ("r0", "theta0"))):
        for seed in range(5):
            rng = np.random.default_rng(seed)
            values = {}
            for name, value in training.field.parameters.values.items():
                if free[name] and name.rsplit(".", 1)[1] in columns:
                    factor = 2.0 ** rng.uniform(-1.0, 1.0) if kind == "constants" else 1.0 + 0.05 * rng.choice((-1, 1))
                    entry = training.field.parameters[name]
                    values[name] = float(np.clip(factor * value, entry.lower, entry.upper))
            yield f"{kind}-{seed}", training.field.with_values(values)


def classic(training, options):
    rows = []
    for vdw in (True, False):
        for name in ("published", "start", "seminario", "hessian-fit", "approximation"):
            field = training.start(name)
            title = f"classic{'' if vdw else '-valence'}-{name}"
            chosen = training.parameters(field, vdw=vdw)
            rows.append(fit(training, title, field, options, parameters=chosen, weights="q2mm", start="given"))
            show(rows[-1:])
    show(rows)
    return rows


def frequency(training, options):
    """Fit wavenumbers only; third derivatives of all terms make an evaluation ten times as long as the others."""
    field = training.start("published")
    chosen, optimizer = training.parameters(field, vdw=True), LeastSquaresOptimizer(ftol=1e-4, maxiter=40)
    others = {"references": {"frequency": 1000.0}, "start": "given", "optimizer": optimizer}
    rows = [fit(training, "frequency-published", field, options, parameters=chosen, **others)]
    show(rows)
    return rows


def stationary(training, options):
    """Go on from the best stored force field with second derivatives, which flat valleys need."""
    paths = options.fields.glob("tolerances-*.toml") if options.fields else ()
    scored = {path: figures(training, ForceField.read(path), references=ROBUST)["score"] for path in sorted(paths)}
    if not scored:
        sys.exit("The part stationary goes on from stored force fields: run tolerances first, with the same --fields.")
    field = ForceField.read(min(scored, key=lambda path: scored[path]))
    parameters = training.parameters(field)
    objective = ForceFieldObjective(field, training.molecules, ROBUST, parameters=parameters)
    begin = time.perf_counter()
    result = TrustRegionOptimizer(ftol=1e-9, maxiter=12).optimize(objective)
    row = {"name": "Newton", "n_free": parameters.n_free, "wall time": time.perf_counter() - begin}
    row |= {"success": result.success, "message": result.message, "optimality": result.optimality}
    row |= {"iterations": result.n_iterations, "evaluations": result.n_evaluations}
    row["at the start"] = {"score": result.initial_score}
    fitted = field.with_values(result.x)
    fitted.write(options.fields / "stationary.toml")
    row |= figures(training, fitted, references=ROBUST)
    show([row])
    print(f"{result.message}; verdict {result.verdict.word}, optimality {result.optimality:.1e}")
    return [row]


def leave_one_out(training, options):
    field = training.start("published")
    chosen = {"parameters": training.parameters(field), "optimizer": QUICK}
    full = fit_force_field(training.molecules, field, ROBUST, **chosen)
    found = leave_molecules_out(training.molecules, field, ROBUST, full=full, **chosen)
    print(found)
    return [
        {"name": row.name, "without": dict(row.figures), "with": dict(row.reference), "held": row.held}
        for row in found.rows
    ]


def derivatives(training, options):
    field = training.field
    references = ("eigenmatrix_diagonal", "eigenmatrix_off_diagonal", "bond_length", "bond_angle")
    parameters = training.parameters(field, vdw=True)
    objective = ForceFieldObjective(field, training.molecules, references, parameters=parameters)
    values = field.parameters.flat
    state = objective.evaluate(values, objective.initial_state(), derivatives=False).state
    found = objective.evaluate(values, state, derivatives=True)
    again = objective.evaluate(values, state, derivatives=True)
    same = np.array_equal(found.residuals, again.residuals) and np.array_equal(found.jacobian, again.jacobian)
    rng = np.random.default_rng(0)
    scales = np.concatenate([entry.scale.ravel() for entry in parameters])
    errors = []
    for index in rng.choice(np.flatnonzero(parameters.is_free), 20, replace=False):
        step = np.zeros(values.size)
        step[index] = 1e-3 * scales[index]
        ends = [objective.evaluate(values + part * step, state, derivatives=False).residuals for part in (-2, -1, 1, 2)]
        slope = (ends[0] - 8.0 * ends[1] + 8.0 * ends[2] - ends[3]) / (12.0 * step[index])
        column = found.jacobian[:, np.searchsorted(found.columns, index)]
        errors.append(float(np.linalg.norm(slope - column) / np.linalg.norm(slope)))
    moved = values.copy()
    moved[parameters.is_free] *= 1.0 + 0.001 * rng.standard_normal(parameters.n_free)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        objective.evaluate(moved, found.state, derivatives=True)
        times.append(time.perf_counter() - begin)
    row = {"residuals": found.residuals.size, "n_free": parameters.n_free, "equal bits": same, "seconds": min(times)}
    row["largest relative error of 20 columns"] = max(errors)
    print(json.dumps(row, indent=1))
    return [row]


def cold(training, options):
    """Fit in a fresh process, from its start."""
    command = [sys.executable, __file__, "tolerances-once", "--data", str(options.data)]
    begin = time.perf_counter()
    text = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    row = json.loads(text.splitlines()[-1]) | {"wall time of the process": time.perf_counter() - begin}
    print(f"one complete fit: {row['wall time of the process']:.0f} s, {row['memory']:.2f} GB")
    return [row]


def tolerances_once(training, options):
    row = fit(
        training, "once", training.field, options, parameters=training.parameters(training.field), references=ROBUST
    )
    row["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps(row))
    return [row]


PARTS = {
    "tolerances": tolerances,
    "poor-starts": poor_starts,
    "classic": classic,
    "frequency": frequency,
    "stationary": stationary,
    "leave-one-out": leave_one_out,
    "derivatives": derivatives,
    "cold": cold,
    "tolerances-once": tolerances_once,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=tuple(PARTS), metavar="PART")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fields", type=Path)
    parser.add_argument("--skip-optimization", action="store_true")
    options = parser.parse_args()
    if options.skip_optimization and not options.fields:
        parser.error("--skip-optimization needs the folder of stored force fields: --fields FOLDER")
    training = load(options.data)
    everything = {"versions": versions(), "machine": platform.processor() or platform.machine(), "device": "cpu"}
    for part in options.parts:
        try:
            everything[part] = PARTS[part](training, options)
        except FieldfitError as error:
            sys.exit(str(error))
        everything["seconds since start"] = time.time() - BEGIN
        if options.json:
            options.json.write_text(json.dumps(everything, indent=1, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
