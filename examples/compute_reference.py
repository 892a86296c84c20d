"""Compute the quantum-mechanical reference data of the examples with PySCF.

A force field is fitted to the Hessian at a stationary point, so the point has to be stationary for the
very method the Hessian comes from. For one molecule of the table below the script

1. relaxes a minimum with geomeTRIC, with density fitting and a coarser grid (fast, close); a transition
   state is left where the table puts it, because its start has the right symmetry and lies in the
   quadratic region,
2. polishes the geometry with exact gradients g until max |g| < 2e-6 hartree/bohr by chord steps

       x <- x - (P H P)^+ g,

   where H is the Hessian of that cheaper method, computed once, P projects out translations and
   rotations, and + is the pseudo-inverse. The steps seek a stationary point of either kind and keep the
   symmetry of the start because g has it,
3. computes the analytic Hessian there, without density fitting, and the harmonic frequencies,
4. checks the number of imaginary modes and writes a QCSchema AtomicResult (JSON, atomic units).

Level. `b3lyp` is, since PySCF 2.3, libxc's HYB_GGA_XC_B3LYP: 0.2 exact exchange, 0.08 Slater, 0.72 B88,
0.81 LYP and 0.19 VWN in its RPA parametrisation (functional III of the paper), which is the B3LYP of
Gaussian; Psi4 calls it B3LYP too, ORCA B3LYP/G. Pople's basis sets have six Cartesian d functions.

Example:
    python examples/compute_reference.py ch3f examples/ch3f/ch3f.json

References:
    Stephens, Devlin, Chabalowski, Frisch (1994), doi:10.1021/j100096a001 (B3LYP).
    Wang, Song (2016), doi:10.1063/1.4952956 (geomeTRIC).
"""

from __future__ import annotations

import argparse
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyscf
from pyscf import dft, gto
from pyscf.data.elements import COMMON_ISOTOPE_MASSES
from pyscf.geomopt import geometric_solver
from pyscf.hessian import thermo


@dataclass(frozen=True)
class Target:
    """A stationary point to compute: the start and the level.

    Attributes:
        start: Geometry near the point [A], Cartesian or as a z-matrix.
        basis: Name of the basis set.
        charge: Total charge [e]; all molecules here are singlets.
        imaginary_modes: 0 for a minimum, 1 for a transition state.
    """

    start: str
    basis: str
    charge: int
    imaginary_modes: int


XC = "b3lyp"
GRID_LEVEL = 5
RELAXATION_GRID_LEVEL = 3

# A threefold axis lies along (1, 1, 1): the octahedral angular grids have that symmetry, and degenerate
# modes come out degenerate.
TARGETS = {
    "ch3f": Target(
        start="""
            C   0.0000  0.0000  0.0000
            F   0.8025  0.8025  0.8025
            H   0.6467 -0.6240 -0.6240
            H  -0.6240  0.6467 -0.6240
            H  -0.6240 -0.6240  0.6467
        """,
        basis="6-31+G*",
        charge=0,
        imaginary_modes=0,
    ),
    "sn2-ts": Target(
        start="""
            C   0.0000  0.0000  0.0000
            F   1.0681  1.0681  1.0681
            F  -1.0681 -1.0681 -1.0681
            H   0.8786 -0.4393 -0.4393
            H  -0.4393  0.8786 -0.4393
            H  -0.4393 -0.4393  0.8786
        """,
        basis="6-31+G*",
        charge=-1,
        imaginary_modes=1,
    ),
    "anisole": Target(
        start="""
            C
            C  1 1.400
            C  2 1.394  1 120
            C  3 1.396  2 120  1   0
            C  4 1.396  3 120  2   0
            C  5 1.394  4 120  3   0
            H  2 1.083  1 120  3 180
            H  3 1.086  2 120  4 180
            H  4 1.086  3 120  5 180
            H  5 1.086  4 120  6 180
            H  6 1.085  1 120  5 180
            O  1 1.365  2 122  3 180
            C 12 1.420  1 118  2   0
            H 13 1.090 12 106  1 180
            H 13 1.097 12 111  1  61
            H 13 1.097 12 111  1 -61
        """,
        basis="6-31G*",
        charge=0,
        imaginary_modes=0,
    ),
}

MAX_GRADIENT = 2e-6
"""Largest gradient component of a stationary point [hartree/bohr]."""

MAX_CHORD_STEPS = 30

GEOMETRIC_CONVERGENCE = {
    "convergence_energy": 1e-7,  # hartree
    "convergence_grms": 2e-5,  # hartree/bohr
    "convergence_gmax": 5e-5,  # hartree/bohr
    "convergence_drms": 4e-4,  # A
    "convergence_dmax": 6e-4,  # A
}


def compute_reference(name: str) -> dict:
    """Compute one entry of the table.

    Args:
        name: Key of `TARGETS`.

    Returns:
        A QCSchema AtomicResult [atomic units].
    """
    target = TARGETS[name]
    molecule = gto.M(atom=target.start, basis=target.basis, charge=target.charge, cart=True, symmetry=False, verbose=2)
    if target.imaginary_modes == 0:
        molecule = relax(molecule)
    molecule = polish(molecule)
    method = kohn_sham(molecule).run()
    if not method.converged:
        raise SystemExit(f"The self-consistent field of {name} did not converge.")
    hessian = analytic_hessian(method)
    wavenumbers = frequencies(molecule, hessian)
    imaginary_modes = int(np.sum(wavenumbers < 0.0))
    if imaginary_modes != target.imaginary_modes:
        raise SystemExit(f"{name} has {imaginary_modes} imaginary modes, not {target.imaginary_modes}.")
    return qcschema_result(name, method, hessian, wavenumbers)


def kohn_sham(molecule: gto.Mole) -> dft.rks.RKS:
    """Set up restricted Kohn-Sham with the tight thresholds that second derivatives need."""
    method = dft.RKS(molecule, xc=XC)
    method.grids.level = GRID_LEVEL
    method.conv_tol = 1e-11
    method.conv_tol_grad = 1e-7
    method.conv_tol_cpscf = 1e-6
    return method


def cheaper_kohn_sham(molecule: gto.Mole) -> dft.rks.RKS:
    """Set up the same with density fitting and a coarser grid, to come close."""
    method = kohn_sham(molecule).density_fit()
    method.grids.level = RELAXATION_GRID_LEVEL
    return method


def relax(molecule: gto.Mole) -> gto.Mole:
    """Relax to a minimum of the cheaper method with geomeTRIC."""
    return geometric_solver.optimize(cheaper_kohn_sham(molecule), assert_convergence=True, **GEOMETRIC_CONVERGENCE)


def polish(molecule: gto.Mole) -> gto.Mole:
    """Move to the stationary point of the full method by chord steps."""
    hessian = analytic_hessian(cheaper_kohn_sham(molecule).run())
    gradient_scanner = kohn_sham(molecule).Gradients().as_scanner()
    for step in range(MAX_CHORD_STEPS):
        energy, gradient = gradient_scanner(molecule)
        max_gradient = np.abs(gradient).max()
        print(f"step {step}: energy {energy:.10f} hartree, max |gradient| {max_gradient:.1e} hartree/bohr")
        if max_gradient < MAX_GRADIENT:
            return molecule
        coordinates = molecule.atom_coords()
        projector = internal_projector(coordinates)
        # The zeros of P H P are numerical zeros; the softest vibration is at 1e-3 of the stiffest.
        inverse = np.linalg.pinv(projector @ hessian @ projector, rcond=1e-8, hermitian=True)
        displacement = -inverse @ gradient.ravel()
        molecule = molecule.set_geom_(coordinates + displacement.reshape(-1, 3), unit="Bohr", inplace=False)
    raise SystemExit(f"No stationary point after {MAX_CHORD_STEPS} steps; improve the start in the table.")


def internal_projector(coordinates: np.ndarray) -> np.ndarray:
    """Build the projector on internal displacements.

    Args:
        coordinates: Geometry of a non-linear molecule [bohr], shape (atoms, 3).

    Returns:
        1 - Q Q^T, Q an orthonormal basis of translations and infinitesimal rotations,
        shape (3 * atoms, 3 * atoms).
    """
    centred = coordinates - coordinates.mean(axis=0)
    axes = np.eye(3)
    translations = [np.tile(axis, len(centred)) for axis in axes]
    rotations = [np.cross(axis, centred).ravel() for axis in axes]
    Q, _ = np.linalg.qr(np.array(translations + rotations).T)
    return np.eye(coordinates.size) - Q @ Q.T


def analytic_hessian(method: dft.rks.RKS) -> np.ndarray:
    """Compute the analytic Hessian [hartree/bohr^2], shape (3 * atoms, 3 * atoms)."""
    blocks = method.Hessian().kernel()  # shape (atoms, atoms, 3, 3)
    size = 3 * method.mol.natm
    hessian = blocks.transpose(0, 2, 1, 3).reshape(size, size)
    return 0.5 * (hessian + hessian.T)


def frequencies(molecule: gto.Mole, hessian: np.ndarray) -> np.ndarray:
    """Compute wavenumbers [1/cm], ascending, imaginary ones negative, shape (modes,).

    Translations and rotations are projected out; the masses are those of the most abundant isotopes.
    """
    atoms = molecule.natm
    blocks = hessian.reshape(atoms, 3, atoms, 3).transpose(0, 2, 1, 3)
    analysis = thermo.harmonic_analysis(molecule, blocks, imaginary_freq=False, mass=most_abundant_masses(molecule))
    return np.sort(analysis["freq_wavenumber"])


def most_abundant_masses(molecule: gto.Mole) -> np.ndarray:
    """Look up the masses of the most abundant isotopes [u], shape (atoms,)."""
    # Not molecule.atom_mass_list(isotope_avg=False): that returns mass numbers, hydrogen 1 u.
    return np.array([COMMON_ISOTOPE_MASSES[charge] for charge in molecule.atom_charges()])


def qcschema_result(name: str, method: dft.rks.RKS, hessian: np.ndarray, wavenumbers: np.ndarray) -> dict:
    """Collect the results as a QCSchema AtomicResult.

    Args:
        name: Key of `TARGETS`.
        method: Converged Kohn-Sham calculation.
        hessian: Its Hessian [hartree/bohr^2], shape (3 * atoms, 3 * atoms).
        wavenumbers: Its harmonic frequencies [1/cm], shape (modes,).

    Returns:
        A dictionary that serialises to JSON [atomic units].
    """
    molecule = method.mol
    return {
        "schema_name": "qcschema_output",
        "schema_version": 1,
        "driver": "hessian",
        "molecule": qcschema_molecule(name, molecule),
        "model": {"method": XC, "basis": TARGETS[name].basis},
        "keywords": {"grid_level": GRID_LEVEL, "cartesian_basis": True, "density_fitting": False},
        "provenance": {
            "creator": "PySCF",
            "version": pyscf.__version__,
            "routine": "pyscf.hessian.rks.Hessian",
        },
        "properties": {
            "calcinfo_natom": molecule.natm,
            "calcinfo_nbasis": int(molecule.nao),
            "nuclear_repulsion_energy": round(float(molecule.energy_nuc()), 10),
            "return_energy": round(float(method.e_tot), 10),
            "return_gradient": rounded(method.Gradients().kernel(), 10),
        },
        "return_result": rounded(hessian, 9),
        "success": True,
        "extras": {
            "frequencies": rounded(wavenumbers, 3),
            "imaginary_modes": int(np.sum(wavenumbers < 0.0)),
            "grid_level": GRID_LEVEL,
            "pyscf_xc": XC,
        },
    }


def qcschema_molecule(name: str, molecule: gto.Mole) -> dict:
    """Describe the geometry as a QCSchema molecule [bohr, u]."""
    return {
        "schema_name": "qcschema_molecule",
        "schema_version": 2,
        "name": name,
        "symbols": list(molecule.elements),
        "geometry": rounded(molecule.atom_coords(), 9),
        "masses": rounded(most_abundant_masses(molecule), 6),
        "molecular_charge": molecule.charge,
        "molecular_multiplicity": molecule.multiplicity,
        "fix_com": True,
        "fix_orientation": True,
    }


def rounded(values: np.ndarray, decimals: int) -> list[float]:
    """Flatten and round; adding zero turns -0.0 into 0.0."""
    return (np.round(np.ravel(values), decimals) + 0.0).tolist()


def write_json(result: dict, path: Path) -> None:
    """Write indented JSON with every array on one line."""
    text = json.dumps(result, indent=2)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda array: re.sub(r"\s+", "", array.group()), text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line, compute, write and print a summary."""
    parser = argparse.ArgumentParser(description="Compute the reference data of one example with PySCF.")
    parser.add_argument("molecule", choices=sorted(TARGETS), help="entry of the table in this file")
    parser.add_argument("output", type=Path, help="JSON file to write (QCSchema AtomicResult)")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    result = compute_reference(arguments.molecule)
    write_json(result, arguments.output)
    print("frequencies [1/cm]:", *(f"{value:.2f}" for value in result["extras"]["frequencies"]))
    print(f"max |gradient|: {np.abs(result['properties']['return_gradient']).max():.1e} hartree/bohr")
    print(f"wall time: {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
