"""One molecule, known in closed form, written in every format by hand."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import constants
from scipy.spatial.transform import Rotation

HARTREE = constants.value("Hartree energy") * constants.N_A / 4184.0  # kcal/mol
BOHR = constants.value("Bohr radius") * 1e10  # A
MDYN_A = constants.N_A * 1e-18 / 4184.0  # kcal/mol
PER_ROOT_MDYN = np.sqrt(100.0 / constants.atomic_mass) / (2 * np.pi * constants.c * 100.0)  # 1/cm per (mdyn/A/u)^1/2


@dataclass(frozen=True)
class Sample:
    """A molecule in internal units."""

    symbols: tuple[str, ...]
    coordinates: np.ndarray
    masses: np.ndarray
    hessian: np.ndarray
    gradient: np.ndarray
    energy: float
    frequencies: np.ndarray


@pytest.fixture(scope="session")
def water() -> Sample:
    """Return a water-like molecule of valence forces, frequencies from Herzberg (1945), p. 170."""
    stretch, bend, length, half = 8.0, 0.7, 0.957, np.radians(52.25)
    central, outer = 15.99491461957, 1.00782503223  # NIST
    sine, cosine = np.sin(half), np.cos(half)
    arms = np.array([[sine, 0.0, cosine], [-sine, 0.0, cosine]])
    across = np.array([[cosine, 0.0, -sine], [-cosine, 0.0, -sine]]) / length
    rows = np.array([
        [*-arms[0], *arms[0], 0, 0, 0],
        [*-arms[1], 0, 0, 0, *arms[1]],
        [*-across.sum(axis=0), *across.ravel()],
    ])  # fmt: skip
    hessian = MDYN_A * rows.T @ np.diag([stretch, stretch, bend]) @ rows
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    turns = np.kron(np.eye(3), turn)
    symmetric, antisymmetric = 1 + 2 * outer / central * cosine**2, 1 + 2 * outer / central * sine**2
    soft = bend / length**2
    trace = (symmetric * stretch + 2 * antisymmetric * soft) / outer
    product = 2 * (1 + 2 * outer / central) * stretch * soft / outer**2
    eigenvalues = np.sort([*np.roots([1.0, -trace, product]), antisymmetric * stretch / outer])
    return Sample(
        symbols=("O", "H", "H"),
        coordinates=np.vstack([np.zeros(3), length * arms]) @ turn.T + np.array([0.1, 0.2, -0.3]),
        masses=np.array([central, outer, outer]),
        hessian=turns @ hessian @ turns.T,
        gradient=np.array([[0.3, -0.2, 0.1], [-0.1, 0.1, 0.0], [-0.2, 0.1, -0.1]]),
        energy=-47950.0,
        frequencies=PER_ROOT_MDYN * np.sqrt(eigenvalues),
    )


def in_columns(values: np.ndarray, per_line: int, pattern: str) -> str:
    """Print numbers in lines of fixed length."""
    lines = [values[start : start + per_line] for start in range(0, len(values), per_line)]
    return "\n".join("".join(pattern % value for value in line) for line in lines)


@pytest.fixture
def xyz_file(tmp_path: Path, water: Sample) -> Path:
    """Return an xyz file with its Hessian beside it, water-hessian.npy."""
    rows = [f"{s} {x:.10f} {y:.10f} {z:.10f}" for s, (x, y, z) in zip(water.symbols, water.coordinates, strict=True)]
    path = tmp_path / "water.xyz"
    path.write_text("\n".join(["3", "water", *rows]) + "\n")
    np.save(tmp_path / "water-hessian.npy", water.hessian / HARTREE * BOHR**2)
    return path


@pytest.fixture
def fchk_file(tmp_path: Path, water: Sample) -> Path:
    """Return a formatted checkpoint file; its title is a number, as in an xyz file."""

    def reals(label: str, values: np.ndarray) -> str:
        return f"{label:<40}   R   N={len(values):12d}\n" + in_columns(values, 5, "%16.8E")

    triangle = (water.hessian / HARTREE * BOHR**2)[np.tril_indices(9)]
    text = [
        "3",
        "Freq      RB3LYP                                                      6-31G(d)",
        f"{'Number of atoms':<40}   I     {3:12d}",
        f"{'Charge':<40}   I     {0:12d}",
        f"{'Multiplicity':<40}   I     {1:12d}",
        f"{'Atomic numbers':<40}   I   N={3:12d}\n" + in_columns(np.array([8, 1, 1]), 6, "%12d"),
        f"{'Total Energy':<40}   R     {water.energy / HARTREE:22.15E}",
        reals("Current cartesian coordinates", water.coordinates.ravel() / BOHR),
        reals("Real atomic weights", water.masses),
        reals("Cartesian Gradient", water.gradient.ravel() / HARTREE * BOHR),
        reals("Cartesian Force Constants", triangle),
        f"{'Number of Normal Modes':<40}   I     {3:12d}",
        reals("Vib-E2", np.concatenate([water.frequencies, np.arange(11.0)])),
    ]
    path = tmp_path / "water.fchk"
    path.write_text("\n".join(text) + "\n")
    return path


def archive_entry(water: Sample, separator: str, results: str, derivatives: str) -> str:
    """Write an archive entry, wrapped at column 70."""
    atoms = [f"{s},0,{x:.10f},{y:.10f},{z:.10f}" for s, (x, y, z) in zip(water.symbols, water.coordinates, strict=True)]
    sections = [
        "1|1|GINC-NODE|Freq|RB3LYP|6-31G(d)|H2O1|USER|01-Jan-2020|0",
        "#N Geom=AllCheck Freq",
        "a title",
        "|".join(["0,1", *atoms]),
        f"Version=ES64L-G16RevC.01|State=1-A1|HF={water.energy / HARTREE:.10f}|{results}",
        *([derivatives] if derivatives else []),
    ]
    entry = ("||".join(sections) + ("|||@" if derivatives else "||@")).replace("|", separator)
    return "\n".join(" " + entry[start : start + 70] for start in range(0, len(entry), 70)) + "\n\n"


@pytest.fixture
def write_log(tmp_path: Path, water: Sample) -> Callable[[str], Path]:
    """Return a function that writes an output whose archive entries have a separator."""

    def write(separator: str) -> Path:
        triangle = ",".join(f"{value:.8f}" for value in (water.hessian / HARTREE * BOHR**2)[np.tril_indices(9)])
        gradient = ",".join(f"{value:.8f}" for value in water.gradient.ravel() / HARTREE * BOHR)
        printed = "".join(f"{value:23.4f}" for value in water.frequencies)
        atoms = zip((1, 2, 3), (8, 1, 1), water.masses, strict=True)
        text = [
            " Entering Gaussian System, Link 0=g16",
            archive_entry(water, separator, "RMSD=1.e-9|PG=C02V", ""),
            " Harmonic frequencies (cm**-1), IR intensities (KM/Mole), Raman scattering",
            " Frequencies ---  1.0000  2.0000  3.0000",
            f" Frequencies -- {printed}",
            *[f" Atom  {n} has atomic number  {z} and mass  {mass:9.5f}" for n, z, mass in atoms],
            archive_entry(water, separator, "PG=C02V|NImag=0", f"{triangle}||{gradient}"),
            " Normal termination of Gaussian 16",
            archive_entry(water, separator, "RMSD=1.e-9|PG=C02V", ""),
        ]
        path = tmp_path / "water.log"
        path.write_text("\n".join(text) + "\n")
        return path

    return write


@pytest.fixture(params=["\\", "|"], ids=["unix", "windows"])
def log_file(request: pytest.FixtureRequest, write_log: Callable[[str], Path]) -> Path:
    """Return an output of a frequency job followed by a job step without a Hessian."""
    return write_log(request.param)


@pytest.fixture
def hess_file(tmp_path: Path, water: Sample) -> Path:
    """Return an ORCA file: blocks of five columns, noise in the last printed digits, six zero frequencies."""
    noise = np.triu(np.full((9, 9), 2e-6), 1)
    matrix = water.hessian / HARTREE * BOHR**2 + noise - noise.T
    text = ["", "$orca_hessian_file", "", "$act_energy", f"  {water.energy / HARTREE:.6f}", "", "$hessian", "9"]
    for start in range(0, 9, 5):
        columns = range(start, min(start + 5, 9))
        text.append("".join(f"{column:19d}" for column in columns))
        text += [f"{row:5d}" + "".join(f"{matrix[row, column]:19.10E}" for column in columns) for row in range(9)]
    text += ["", "$vibrational_frequencies", "9"]
    text += [f"{n:5d} {value:15.6f}" for n, value in enumerate([*[0.0] * 6, *water.frequencies])]
    text += ["", "#", "# The atoms: label  mass x y z", "$atoms", "3"]
    for label, mass, row in zip(water.symbols, water.masses, water.coordinates / BOHR, strict=True):
        text.append(f" {label:2s} {mass:12.8f}" + "".join(f"{value:19.12f}" for value in row))
    path = tmp_path / "water.hess"
    path.write_text("\n".join([*text, "", "$end", ""]))
    return path


@pytest.fixture
def write_json(tmp_path: Path, water: Sample) -> Callable[[int], Path]:
    """Return a function that writes a QCSchema result of a version."""

    def write(version: int) -> Path:
        matrix = water.hessian / HARTREE * BOHR**2
        specification = {"driver": "hessian", "model": {"method": "b3lyp", "basis": "6-31g*"}}
        result = {
            "schema_version": version,
            "molecule": {
                "symbols": list(water.symbols),
                "geometry": (water.coordinates / BOHR).ravel().tolist(),
                "masses": water.masses.tolist(),
                "molecular_charge": 0.0,
                "molecular_multiplicity": 1,
            },
            "return_result": matrix.ravel().tolist() if version == 1 else matrix.tolist(),
            "properties": {
                "return_energy": water.energy / HARTREE,
                "return_gradient": (water.gradient / HARTREE * BOHR).tolist(),
            },
            "extras": {"frequencies": water.frequencies.tolist()},
            "provenance": {"creator": "Psi4", "version": "1.9"},
            "success": True,
        }
        result |= specification if version == 1 else {"input_data": {"specification": specification}}
        path = tmp_path / "water.json"
        path.write_text(json.dumps(result))
        return path

    return write


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def json_file(request: pytest.FixtureRequest, write_json: Callable[[int], Path]) -> Path:
    """Return a QCSchema result of either version."""
    return write_json(request.param)


@pytest.fixture
def jaguar_in_file(tmp_path: Path, water: Sample) -> Path:
    """Return a restart file of Jaguar: lower triangle in blocks of five columns, a wavefunction before it."""
    rows = zip(("O1", "H2", "h3"), water.coordinates, strict=True)
    atoms = [f" {label:<6}" + "".join(f"{value:25.10f}" for value in position) for label, position in rows]
    matrix = water.hessian / HARTREE * BOHR**2
    blocks = []
    for first in range(0, 9, 5):
        blocks.append(f"{first + 1:4d}")
        for row in range(first, 9):
            elements = matrix[row, first : min(first + 5, row + 1)]
            blocks.append(f"{row + 1:4d}" + "".join(f"{value:19.11E}" for value in elements))
    text = [
        "MAEFILE: water.01.mae",
        "&gen ",
        "basis=6-31g* ! a comment",
        "dftname=b3lyp, molchg 0 multip=1 ifreq=1 ",
        "&",
        "&zmat",
        *atoms,
        "&",
        "&guess  basgss=6-31g* numd=5",
        "    1 Orbital Energy   -19.136523 Occupation  1.000000",
        " -0.995124341127120 -0.026711238461244",
        "&",
        "&hess",
        *blocks,
        "&",
        "&valid",
        "version=1.0",
        "end",
        "&",
    ]
    path = tmp_path / "water.in"
    path.write_text("\n".join(text) + "\n")
    return path


@pytest.fixture
def jaguar_out_file(tmp_path: Path, water: Sample) -> Path:
    """Return an output of Jaguar that turned the molecule, optimized it, and stopped before a last new geometry."""

    def table(kind: str, coordinates: np.ndarray) -> list[str]:
        rows = zip(("O1", "H2", "H3"), coordinates, strict=True)
        atoms = ["  " + f"{label:<6}" + "".join(f"{value:18.10f}" for value in row) + " " for label, row in rows]
        head = f"  atom {'x':>15} {'y':>17} {'z':>17}"
        return [f" {kind} geometry:", f"{'angstroms':>44}", head, *atoms, "   "]

    energy = water.energy / HARTREE
    turned = water.coordinates[:, ::-1]
    frequencies = "".join(f"{value:10.4f}" for value in water.frequencies)
    text = [
        "Job water started on host at Wed Oct 18 10:21:03 2023",
        "",
        "  |  Jaguar version 10.6, release  12                                  |",
        " Contents of input file: &gen section only",
        "&gen",
        "ifreq=1",
        "&",
        "  basis set:             6-31g*                          ",
        "  net molecular charge:    0",
        "  multiplicity:            1",
        *table("Input", turned),
        "  Molecular weight:      18.01 amu",
        *table("Symmetrized", turned),
        "etot    1  N  N  0  N     -76.00000000000           2.6E-02  2.1E-01",
        f" SCFE: SCF energy: DFT(b3lyp)  {energy + 0.1:20.11f} hartrees   iterations:  11",
        *table("new", water.coordinates),
        f" SCFE: SCF energy: DFT(b3lyp)  {energy:20.11f} hartrees   iterations:   5",
        *table("new", water.coordinates + np.diag([0.1, 0.0, 0.0])),
        "  start of program freq",
        "  Number of frequencies:   3",
        "  harmonic frequencies in cm**-1, reduced masses in amu,",
        "  normal modes in cartesian coordinates:   3",
        "  vibration #            1         2         3",
        "                  -------- --------- ---------",
        f"  frequencies    {frequencies}",
        "  symmetries       A1       A1       B1      ",
        "  reduc. mass         1.08     1.05      1.08",
        "    O1       X     0.00000   0.00000   0.07000",
        "  Number of imaginary frequencies:   0",
        "  vibrational temperatures:",
        "",
        "Job water completed on host at Wed Oct 18 10:49:51 2023",
    ]
    path = tmp_path / "water.out"
    path.write_text("\n".join(text) + "\n")
    return path
