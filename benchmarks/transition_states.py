"""How well the methods for transition states describe all modes but the reaction coordinate.

    python benchmarks/transition_states.py [--diels-alder FILE.hess] [--only NAME] [--hessian-only]

Valence-only fits of the F-CH3-F example and, where the file is there, of a Diels-Alder transition state (ORCA,
26 atoms). Its bonds are listed: the second forming bond is 2.37 A long, longer than distances across its rings, so that
no tolerance finds the right ones.

Two sets of fits to the Hessian. One is the library's own, every element of the eigenmatrix measured in wavenumbers.
The other measures elements in units of eigenvalues, so that stiff modes count most, takes all constants as
non-negative, torsions included, and has no term for a linear angle: choices that other programs make, and what they
cost. Between them stand complete fits by the same methods: all parameters, to eigenmatrix and geometry and to the
default references.

Columns: root mean square deviation [1/cm] of the wavenumbers at the QM geometry (rigid motions projected out, modes
paired with the QM modes by overlap), of the diagonal of the eigenmatrix, and of the wavenumbers at the minimum of the
force field ("-": a relaxation finds none), all without the reaction coordinate; negative constants, those of torsions
included, which may be negative in the first set; negative curvatures at the QM geometry; curvature along the reaction
coordinate [1/cm].
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from pathlib import Path

import numpy as np

from fieldfit.forcefield import build_force_field, perceive, read
from fieldfit.forcefield.eigenmatrix import FLOOR
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.initial_guess.hessian_fit import hessian_fit, linear_fit
from fieldfit.forcefield.relaxation import relax
from fieldfit.forcefield.staged_fit import fit_force_field
from fieldfit.forcefield.transition_states import (
    METHODS,
    curvatures,
    lift_zero_bounds,
    qm_modes,
)
from fieldfit.forcefield.vibrations import NormalModes, align, normal_modes, pair_modes
from fieldfit.reporting.calibration import calibrate

ROOT = Path(__file__).resolve().parents[1]
SN2 = ROOT / "examples" / "sn2-ts" / "sn2-ts.json"
DIELS_ALDER = ROOT.parent / "shared" / "data" / "diels-alder" / "ada-endo-3r-ts.hess"
SECOND_FORMING_BOND = (4, 22)

UNIFORM = 1e5
"""A floor [1/cm] above all wavenumbers: every element has the same metric, that of eigenvalues."""


FULL = {
    "eigenmatrix and geometry": ("eigenmatrix_diagonal", "eigenmatrix_off_diagonal", "bond_length", "bond_angle"),
    "wavenumbers, geometry and off-diagonal eigenmatrix": None,
}
"""What complete fits are fitted to: words to references, None for the default."""


def molecules(diels_alder):
    """Return the transition states with their bonds."""
    found = [perceive(read(SN2, name="F-CH3-F"), bond_tolerance=1.45)]
    if diels_alder.is_file():
        loose = perceive(read(diels_alder, name="Diels-Alder"), bond_tolerance=1.35)
        found.append(perceive(loose.record, bonds=[*loose.bonds, SECOND_FORMING_BOND]))
    return found


def with_eigenvalue(molecule, replace):
    """Return a molecule whose negative mass-weighted eigenvalues are replaced, its modes kept."""
    modes = qm_modes(molecule)
    changed = np.where(modes.eigenvalues < 0.0, replace(modes.eigenvalues), modes.eigenvalues) - modes.eigenvalues
    L = np.sqrt(np.repeat(molecule.record.masses, 3))[:, None] * modes.modes
    hessian = molecule.qm_hessian + (L * changed) @ L.T
    return dataclasses.replace(
        molecule, record=dataclasses.replace(molecule.record, hessian=0.5 * (hessian + hessian.T))
    )


def eigenvalue_methods(floor=FLOOR):
    """Return name to fit of the treatments of the mass-weighted eigenvalue."""
    real = functools.partial(linear_fit, floor=floor)
    every = functools.partial(linear_fit, floor=floor, with_imaginary=True)
    return {
        "zero weight": lambda m, field, bounds: real([m], field, bounds),
        "largest eigenvalue": lambda m, field, bounds: every([with_eigenvalue(m, np.max)], field, bounds),
        "absolute eigenvalue": lambda m, field, bounds: every([with_eigenvalue(m, np.abs)], field, bounds),
        "natural, k >= 0": lambda m, field, bounds: every([m], field, bounds),
        "natural, unbounded": lambda m, field, bounds: every([m], field, lift_zero_bounds(field, bounds)),
    }


def named_methods():
    """Return name to fit of the methods of the library."""
    return {
        name: lambda m, field, bounds, name=name: hessian_fit([m], field, bounds, transition_state=name)
        for name in METHODS
    }


def full_methods(references):
    """Return name to fit of the methods in the complete fit: Hessian, QM geometry, then the references."""
    return {name: functools.partial(full_fit, references=references, method=name) for name in METHODS}


def full_fit(molecule, field, bounds, *, references, method):
    """Return the force field after all stages, and say what was not as it should be."""
    found = fit_force_field([molecule], field, references, parameters=bounds, transition_state=method)
    result, (state,) = found.result, found.result.state
    if state.is_displaced or not result.success:
        relaxed = "its geometry is predicted, because it does not relax" if state.is_displaced else "relaxed"
        print(f"  {method}: {result.verdict.word} ({result.message}), {relaxed}")
    return found.force_field


def without_linear_angles(field):
    """Return all constants as non-negative parameters, those of linear angles held at zero."""
    parameters = field.parameters
    for row in field.rows:
        name = f"{row.label}.k"
        parameters = parameters.bound(name, 0.0, float(parameters[name].upper))
        if row.kind == "linear-bend":
            parameters = parameters.replace({name: 0.0}).fix(name)
    return parameters


def deviations(molecule, field):
    """Return the columns of the table but the name and the time."""
    record, qm = molecule.record, qm_modes(molecule)
    system, p = JaxEngine().system(molecule, field), field.parameters.flat * field.internal_factors
    hessian, real = system.local(record.coordinates, p).hessian, qm.eigenvalues > 0.0
    along = curvatures(hessian, qm, record.masses)
    modes = normal_modes(hessian, record.coordinates, record.masses)
    constants = np.array([row.values["k"] for row in field.rows])
    return (
        paired_deviation(qm, modes),
        rms((along - qm.frequencies)[real]),
        minimum_deviation(molecule, qm, system, p),
        int(np.sum(constants < -1e-6)),
        int(np.sum(modes.frequencies < -1.0)),
        float(along[~real][0]),
    )


def paired_deviation(qm, modes):
    found = modes.frequencies[pair_modes(qm, modes)]
    return rms((found - qm.frequencies)[qm.eigenvalues > 0.0])


def minimum_deviation(molecule, qm, system, p):
    record = molecule.record
    found = relax(lambda x: system.local(x, p), record.coordinates)
    if not found.is_converged:
        return np.nan
    modes: NormalModes = normal_modes(found.hessian, found.x, record.masses)
    return paired_deviation(qm, modes.rotated(align(found.x, record.coordinates, record.masses)[0]))


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


def table(molecule, methods, parameters_of):
    """Print one line per method."""
    field = build_force_field([molecule])
    print(f"{'':22s}{'at QM':>8s}{'diagonal':>10s}{'minimum':>9s}{'k < 0':>7s}{'modes < 0':>11s}{'along':>8s}{'s':>8s}")
    for name, fit in methods.items():
        begin = time.perf_counter()
        fitted = fit(molecule, field, parameters_of(field))
        seconds = time.perf_counter() - begin
        at_qm, diagonal, minimum, negative, modes, along = deviations(molecule, fitted)
        end = "-" if np.isnan(minimum) else f"{minimum:.0f}"
        print(f"{name:22s}{at_qm:8.1f}{diagonal:10.1f}{end:>9s}{negative:7d}{modes:11d}{along:8.0f}{seconds:8.2f}")


def print_complete_fits(molecule):
    for words, references in FULL.items():
        print(f"\ncomplete fit to {words}")
        table(molecule, full_methods(references), lambda field: field.parameters)


def main():
    parser = argparse.ArgumentParser(description="Methods for transition states on two molecules.")
    parser.add_argument("--diels-alder", type=Path, default=DIELS_ALDER, metavar="FILE.hess")
    parser.add_argument("--only", choices=("F-CH3-F", "Diels-Alder"), help="one of the molecules")
    parser.add_argument("--hessian-only", action="store_true", help="no complete fits, which take minutes")
    options = parser.parse_args()
    print(calibrate())
    for molecule in molecules(options.diels_alder):
        if options.only not in (None, molecule.name):
            continue
        print(f"\n{molecule}\n\nelements in wavenumbers")
        table(molecule, named_methods() | eigenvalue_methods(), lambda field: field.parameters)
        if not options.hessian_only:
            print_complete_fits(molecule)
        print("\nelements in eigenvalues, all constants >= 0, no linear angles")
        table(molecule, eigenvalue_methods(UNIFORM), without_linear_angles)


if __name__ == "__main__":
    main()
