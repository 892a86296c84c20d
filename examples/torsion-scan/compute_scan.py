"""Compute relaxed torsion scans and conformers with GFN2-xTB, the reference data of this example.

For one molecule of the table below the script

1. relaxes the start to a minimum and computes the Hessian there by differences of gradients,
2. turns one torsion once around in steps of 15 degrees; at each step the torsion is held and everything else relaxes,
   starting from the geometry of the step before,
3. sets the torsions that make each conformer and relaxes it freely,

and writes NAME.json (QCSchema AtomicResult with the Hessian, atomic units), NAME-scan.xyz and NAME-conformers.xyz
(extended xyz: coordinates in angstrom, energies in hartree, forces in hartree/bohr).

A scan that jumps to another branch on its way shows in its symmetry: the energy at -phi has to be that at phi. The
script prints the largest difference.

Needs tblite (`pip install tblite`). With OMP_NUM_THREADS=1:

    python examples/torsion-scan/compute_scan.py butane examples/torsion-scan
    python examples/torsion-scan/compute_scan.py paracetamol examples/torsion-scan

References:
    Bannwarth, Ehlert, Grimme (2019), doi:10.1021/acs.jctc.8b01176 (GFN2-xTB).
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tblite.interface import Calculator

from fieldfit.forcefield import Molecule, QMRecord, perceive
from fieldfit.forcefield.constants import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2
from fieldfit.forcefield.elements import atomic_number, isotope_mass
from fieldfit.forcefield.engines.engine import DifferencedSystem
from fieldfit.forcefield.relaxation import Fixed, RelaxedGeometry, relax
from fieldfit.forcefield.topology import measure
from fieldfit.forcefield.vibrations import normal_modes

METHOD = "GFN2-xTB"
ACCURACY = 1e-3
"""Of the self-consistent charges, in tblite's measure."""

GRADIENT_ERROR = 1e-3
"""Relaxations end here [kcal/mol/A]: rounding of the charges is below."""

STEP = 15.0
"""Of the scans [deg]."""

Torsion = tuple[int, int, int, int]


@dataclass(frozen=True)
class Target:
    """A molecule to compute.

    Attributes:
        start: Geometry near the minimum [A].
        scanned: The torsion that is turned, atoms counted from 0.
        conformers: Name to the torsions that make it [deg]; the ones that are not named stay as at the minimum.
    """

    start: str
    scanned: Torsion
    conformers: Mapping[str, Mapping[Torsion, float]]


BACKBONE = (0, 1, 2, 3)
RING = (1, 0, 6, 7)
AMIDE = (0, 6, 7, 9)
HYDROXYL = (2, 3, 10, 11)

TARGETS = {
    "butane": Target(
        start="""
            C    1.940   0.092   0.000
            C    0.549  -0.530   0.000
            C   -0.549   0.530   0.000
            C   -1.940  -0.092   0.000
            H    2.706  -0.680   0.000
            H    2.080   0.714   0.882
            H    2.080   0.714  -0.882
            H    0.436  -1.165  -0.882
            H    0.436  -1.165   0.882
            H   -0.436   1.165  -0.882
            H   -0.436   1.165   0.882
            H   -2.706   0.680   0.000
            H   -2.080  -0.714   0.882
            H   -2.080  -0.714  -0.882
        """,
        scanned=BACKBONE,
        conformers={"anti": {}, "gauche": {BACKBONE: 65.0}},
    ),
    # The atoms of the ring come first: C1 carries the nitrogen, C4 the oxygen.
    "paracetamol": Target(
        start="""
            C   -0.056   0.206   0.000
            C   -0.685  -1.035   0.000
            C   -2.065  -1.110   0.000
            C   -2.840   0.042   0.000
            C   -2.213   1.284   0.000
            C   -0.836   1.361   0.000
            N    1.337   0.354   0.000
            C    2.306  -0.605   0.000
            O    2.097  -1.797   0.000
            C    3.700  -0.008   0.000
            O   -4.202   0.005   0.000
            H   -4.501  -0.912   0.000
            H    1.650   1.315   0.000
            H   -0.092  -1.933   0.000
            H   -2.544  -2.080   0.000
            H   -2.820   2.175   0.000
            H   -0.358   2.331   0.000
            H    4.431  -0.811   0.001
            H    3.846   0.608   0.885
            H    3.846   0.607  -0.886
        """,
        scanned=RING,
        conformers={
            "trans, syn": {},
            "trans, anti": {HYDROXYL: 180.0},
            "cis, syn": {AMIDE: 0.0, RING: 60.0},
            "cis, anti": {AMIDE: 0.0, RING: 60.0, HYDROXYL: 180.0},
        },
    ),
}


@dataclass(frozen=True)
class Frame:
    """One geometry of a file: comment, coordinates [A], energy [kcal/mol] and gradient [kcal/mol/A]."""

    note: str
    x: np.ndarray
    energy: float
    gradient: np.ndarray


def xtb(symbols: Sequence[str]) -> DifferencedSystem:
    """Set up the energy and gradient of a neutral molecule; its Hessian follows by differences."""
    numbers = np.array([atomic_number(symbol) for symbol in symbols])

    def solve(x: np.ndarray) -> dict:
        calculator = Calculator(METHOD, numbers, x / BOHR)
        calculator.set("verbosity", 0)
        calculator.set("accuracy", ACCURACY)
        found = calculator.singlepoint()
        return {name: found[name] for name in ("energy", "gradient")}

    return DifferencedSystem(
        len(symbols),
        energy=lambda x, p: solve(x)["energy"] * HARTREE,
        gradient=lambda x, p: solve(x)["gradient"] * HARTREE_PER_BOHR,
        step=5e-3,
        gradient_error=GRADIENT_ERROR,
    )


def find(system: DifferencedSystem, x: np.ndarray, held: Sequence[Fixed] = ()) -> RelaxedGeometry:
    """Relax a geometry; stop the script if it does not end in a minimum."""
    nothing = np.zeros(0)
    found = relax(lambda y: system.local(y, nothing), x, frozen=held, gradient_tolerance=GRADIENT_ERROR)
    if not found.is_converged:
        raise SystemExit(f"{found!r} with {held} held; improve the start in the table.")
    return found


def scan(system: DifferencedSystem, x: np.ndarray, torsion: Torsion) -> list[Frame]:
    """Turn a torsion once around, from the minimum on; the frames come in the order of the angle."""
    first = STEP * round(measure(x, torsion) / STEP)
    frames = {}
    for turn in np.arange(0.0, 360.0, STEP):
        angle = (first + turn + 180.0) % 360.0 - 180.0
        found = find(system, x, [Fixed("dihedral", torsion, angle)])
        x = found.x
        frames[angle] = Frame(f"torsion={angle:g}", x, found.energy, found.gradient)
        print(f"torsion {angle:6.1f} deg: {found.energy:.4f} kcal/mol, {found.n_iterations} steps", flush=True)
    energies = {angle: frame.energy for angle, frame in frames.items()}
    differences = [abs(energies[angle] - energies[-angle]) for angle in energies if -angle in energies]
    print(f"largest difference between phi and -phi: {max(differences):.4f} kcal/mol")
    return [frames[angle] for angle in sorted(frames)]


def conformers(system: DifferencedSystem, molecule: Molecule, target: Target) -> list[Frame]:
    """Relax the conformers freely."""
    frames = []
    for name, torsions in target.conformers.items():
        x = molecule.record.coordinates
        for torsion, angle in torsions.items():
            x = turned(molecule, x, torsion, angle)
        found = find(system, x)
        angles = ", ".join(f"{measure(found.x, torsion):.1f}" for torsion in torsions)
        print(f"conformer {name}: {found.energy:.4f} kcal/mol, torsions {angles or 'of the minimum'}", flush=True)
        frames.append(Frame(f'conformer="{name}"', found.x, found.energy, found.gradient))
    return frames


def turned(molecule: Molecule, x: np.ndarray, torsion: Torsion, angle: float) -> np.ndarray:
    """Give a torsion a value [deg] by turning the atoms behind its bond rigidly (formula of Rodrigues)."""
    _, j, k, _ = torsion
    axis = (x[k] - x[j]) / np.linalg.norm(x[k] - x[j])
    turn = np.radians(angle - measure(x, torsion))
    moved = behind(molecule, j, k)
    v = x[moved] - x[k]
    along = (v @ axis)[:, None] * axis
    result = x.copy()
    result[moved] = x[k] + along + np.cos(turn) * (v - along) + np.sin(turn) * np.cross(axis, v)
    return result


def behind(molecule: Molecule, j: int, k: int) -> list[int]:
    """List the atoms that are joined to atom k without passing atom j."""
    found, waiting = {j, k}, [k]
    while waiting:
        fresh = [atom for atom in molecule.neighbours[waiting.pop()] if atom not in found]
        found.update(fresh)
        waiting += fresh
    return sorted(found - {j, k})


def compute(name: str, folder: Path) -> None:
    """Compute one entry of the table and write its three files."""
    target = TARGETS[name]
    rows = [line.split() for line in target.start.strip().splitlines()]
    symbols = tuple(row[0] for row in rows)
    masses = np.array([isotope_mass(symbol) for symbol in symbols])
    system = xtb(symbols)
    minimum = find(system, np.array([[float(entry) for entry in row[1:]] for row in rows]))
    modes = normal_modes(minimum.hessian, minimum.x, masses)
    print(f"{name}: {minimum.energy:.4f} kcal/mol, lowest wavenumbers [1/cm] {np.round(modes.frequencies[:4], 1)}")
    molecule = perceive(QMRecord(name, symbols, minimum.x, masses))
    write_hessian(folder / f"{name}.json", molecule, minimum, modes.frequencies)
    write_frames(folder / f"{name}-scan.xyz", symbols, scan(system, minimum.x, target.scanned))
    write_frames(folder / f"{name}-conformers.xyz", symbols, conformers(system, molecule, target))


def write_frames(path: Path, symbols: Sequence[str], frames: Sequence[Frame]) -> None:
    """Write extended xyz with energies in hartree and forces in hartree/bohr."""
    lines = []
    for frame in frames:
        lines += [
            str(len(symbols)),
            f"energy={frame.energy / HARTREE:.9f} energy_unit=hartree force_unit=hartree/bohr {frame.note} "
            "Properties=species:S:1:pos:R:3:forces:R:3",
        ]
        forces = -frame.gradient.reshape(-1, 3) / HARTREE_PER_BOHR + 0.0
        for symbol, position, force in zip(symbols, frame.x, forces, strict=True):
            numbers = [f"{value:12.7f}" for value in position] + [f"{value:12.8f}" for value in force]
            lines.append(f"{symbol:2s}{''.join(numbers)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_hessian(path: Path, molecule: Molecule, minimum: RelaxedGeometry, wavenumbers: np.ndarray) -> None:
    """Write the minimum with its Hessian as a QCSchema AtomicResult; every array on one line."""
    record = molecule.record
    result = {
        "schema_name": "qcschema_output",
        "schema_version": 1,
        "driver": "hessian",
        "molecule": {
            "schema_name": "qcschema_molecule",
            "schema_version": 2,
            "name": record.name,
            "symbols": list(record.symbols),
            "geometry": rounded(minimum.x / BOHR, 9),
            "masses": rounded(record.masses, 6),
            "fix_com": True,
            "fix_orientation": True,
        },
        "model": {"method": METHOD, "basis": None},
        "keywords": {"accuracy": ACCURACY},
        "provenance": {"creator": "tblite", "version": version("tblite"), "routine": "differences of gradients"},
        "properties": {
            "return_energy": round(minimum.energy / HARTREE, 10),
            "return_gradient": rounded(minimum.gradient / HARTREE_PER_BOHR, 10),
        },
        "return_result": rounded(minimum.hessian / HARTREE_PER_BOHR2, 9),
        "success": True,
        "extras": {"frequencies": rounded(wavenumbers, 3)},
    }
    text = json.dumps(result, indent=2)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda array: re.sub(r"\s+", "", array.group()), text)
    path.write_text(text + "\n", encoding="utf-8")


def rounded(values: np.ndarray, decimals: int) -> list[float]:
    """Flatten and round; adding zero turns -0.0 into 0.0."""
    return (np.round(np.ravel(values), decimals) + 0.0).tolist()


def main() -> None:
    """Read the command line and compute."""
    parser = argparse.ArgumentParser(description="Compute a relaxed torsion scan and conformers with GFN2-xTB.")
    parser.add_argument("molecule", choices=sorted(TARGETS), help="entry of the table in this file")
    parser.add_argument("folder", type=Path, help="where the three files go")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    compute(arguments.molecule, arguments.folder)
    print(f"wall time: {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
