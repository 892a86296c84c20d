"""Mean wavenumber error of the starting force constants of every method, without any further fit.

    python benchmarks/starting_constants.py [FILE ...]

Each file is a QM result with a Hessian; the default is the examples. The Hessian of the force field is taken at the
QM geometry, with equilibrium values at the mean of equivalent coordinates, projected, and its modes are paired with
the QM modes by overlap. Imaginary QM modes are left out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from fieldfit.forcefield import build_force_field, estimate_force_constants, perceive, read
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.vibrations import normal_modes, pair_modes
from fieldfit.reporting.calibration import calibrate

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FILES = ("ch3f/ch3f.json", "sn2-ts/sn2-ts.json", "anisole/anisole.json")
METHODS = ("approximation", "seminario", "modified-seminario", "qfuerza", "hessian-fit")


def wavenumber_errors(molecule, field):
    """Return relative wavenumber errors at the QM geometry, shape (vibrations,)."""
    record = molecule.record
    geometry = FixedGeometry(JaxEngine().system(molecule, field), record.coordinates)
    hessian = geometry.hessian(geometry.term_vector(field.parameters.flat * field.internal_factors))
    reference = normal_modes(molecule.qm_hessian, record.coordinates, record.masses)
    modes = normal_modes(hessian, record.coordinates, record.masses)
    found = modes.frequencies[pair_modes(reference, modes)]
    real = reference.eigenvalues > 0.0
    return np.abs(found[real] / reference.frequencies[real] - 1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, default=[EXAMPLES / name for name in FILES])
    parser.add_argument("--bond-tolerance", type=float, default=1.45, help="default 1.45, enough for the example TS")
    options = parser.parse_args()
    print(calibrate())
    print(f"{'mean relative wavenumber error [%]':34s} " + " ".join(f"{method:>18s}" for method in METHODS))
    for path in options.files:
        molecule = perceive(read(path), bond_tolerance=options.bond_tolerance)
        field = build_force_field([molecule])
        row = []
        for method in METHODS:
            estimate_force_constants([molecule], field, method)  # compiles
            begin = time.perf_counter()
            estimated = estimate_force_constants([molecule], field, method)
            seconds = time.perf_counter() - begin
            row.append(f"{100.0 * np.mean(wavenumber_errors(molecule, estimated)):8.2f} ({1e3 * seconds:4.0f} ms)")
        print(f"{path.name:34s} " + " ".join(f"{entry:>18s}" for entry in row))


if __name__ == "__main__":
    main()
