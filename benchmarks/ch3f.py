"""What eight parameters can do for CH3F: wavenumbers against geometry, one stretch-bend, and independence of the start.

    python benchmarks/ch3f.py [GEOMETRY [HESSIAN]]

The default is the QM result of the example. Prints, for the harmonic and the MM3 family: the trade-off between
wavenumbers and geometry as the tolerances of the geometry change; the fit with one stretch-bend term at the exact
geometry; the parameters reached from other starts; and the time of a fit after compilation.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from fieldfit import LeastSquaresOptimizer
from fieldfit.forcefield import (
    ForceFieldObjective,
    build_force_field,
    estimate_force_constants,
    perceive,
    read,
    report_fit,
)
from fieldfit.reporting.calibration import calibrate

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "ch3f" / "ch3f.json"
TRADE_OFF = ((0.01, 5.0), (0.01, 2.0), (0.003, 2.0), (0.003, 1.0), (0.003, 0.5), (0.001, 0.5), (0.001, 0.2))
"""Tolerances of bond lengths [A] and angles [deg]; wavenumbers have 10 1/cm throughout."""

ROW = "{:44s} {:>8s} {:>9s} {:>8s} {:>6s} {:>8s} {}"
CRUDE = {"bond.*.k": 300.0, "bond.*.r0": 1.2, "angle.*.k": 60.0, "angle.*.theta0": 109.5}


def fit(molecule, field, references, *, parameters=None, label=""):
    """Fit and print one row; returns result and seconds."""
    objective = ForceFieldObjective(field, [molecule], references, parameters=parameters)
    optimizer = LeastSquaresOptimizer(maxiter=500)
    optimizer.optimize(objective)  # compiles
    begin = time.perf_counter()
    result = optimizer.optimize(objective)
    seconds = time.perf_counter() - begin
    found = report_fit(objective, result).molecules[0]
    print(
        ROW.format(
            label,
            f"{found.frequency_rmsd:.2f}",
            f"{found.bond_largest:.5f}",
            f"{found.angle_largest:.3f}",
            f"{result.n_evaluations}",
            f"{seconds:.3f}",
            "" if result.success else result.message,
        )
    )
    return result


def started(field, values):
    """Return a force field with values set by pattern."""
    names = field.parameters
    return field.with_values({name: value for pattern, value in values.items() for name in names.match(pattern)})


def study(molecule, family):
    """Print everything about one family."""
    field = build_force_field([molecule], family=family)
    print(f"\n{family}: wavenumber RMSD [1/cm] paired at the minimum, largest errors of bonds [A] and angles [deg]")
    print(ROW.format("", "1/cm", "A", "deg", "evals", "s", ""))
    fitted = estimate_force_constants([molecule], field)
    for bond, angle in TRADE_OFF:
        references = {"frequency": 10.0, "bond_length": bond, "bond_angle": angle}
        fit(molecule, fitted, references, label=f"tolerances {bond} A, {angle} deg")
    crossed = build_force_field([molecule], family=family, stretch_bend=["F-C-H"])
    parameters = crossed.parameters.fix("*.r0", "*.theta0").bound("stretch-bend.*.k", -200.0, 200.0)
    label = "one stretch-bend, r0 and theta0 held"
    fit(molecule, crossed, {"frequency": 10.0, "newton_displacement": 0.02}, parameters=parameters, label=label)

    references = {"frequency": 10.0, "bond_length": 0.003, "bond_angle": 0.5}
    starts = {method: estimate_force_constants([molecule], field, method) for method in ("seminario", "qfuerza")}
    starts["crude: 300, 1.2 A, 60, 109.5 deg"] = started(field, CRUDE)
    best = fit(molecule, fitted, references, label="from the Hessian fit")
    for name, start in starts.items():
        result = fit(molecule, start, references, label=f"from {name}")
        difference = np.max(np.abs(result.parameters.flat / best.parameters.flat - 1.0))
        print(f"    largest relative difference of a parameter from the first: {difference:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("geometry", nargs="?", default=EXAMPLE, type=Path)
    parser.add_argument("hessian", nargs="?", type=Path)
    options = parser.parse_args()
    molecule = perceive(read(options.geometry, hessian=options.hessian, name="CH3F"))
    print(calibrate())
    for family in ("harmonic", "mm3"):
        study(molecule, family)


if __name__ == "__main__":
    main()
