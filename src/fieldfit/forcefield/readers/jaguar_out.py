"""Jaguar output files (.out): geometry, energy and frequencies.

The Hessian is not printed, and the printed normal modes have too few digits to rebuild it: it is in the restart file
(see `jaguar_in`), and `combine(read("job.01.in"), read("job.out"))` brings both together.

Geometries are tables, "Input", "Symmetrized", "new" and "final geometry". If Jaguar turns the molecule to its symmetry
axes, everything after the symmetrized geometry is in that frame, normal modes and restart file too; therefore the last
table is read. A step of an optimization prints the energy of a geometry and then the next, "new" one: a new geometry
whose energy was not computed is passed over. The energy is the last one, in solution if there is a solvent, with the
correlation energy after LMP2. The printed frequencies are those of the last calculation, imaginary ones negative.

Jaguar does not print masses, but the weight of the molecule: with the masses of the most abundant isotopes, which
reproduce the frequencies, and refused if it is another one.

References:
    Jaguar User Manual, "Jaguar Output".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.constants import BOHR, HARTREE
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.readers.hessian import check_count
from fieldfit.forcefield.readers.jaguar import parse_atoms, parse_integer
from fieldfit.forcefield.readers.reader import AbstractReader, isotope_masses, parse_numbers, read_text
from fieldfit.typing import FilePath

_VERSION = re.compile(r"Jaguar version (?P<version>[\w.]+)")
_END = re.compile(r"^ *Job .* completed on ", re.MULTILINE)
_GEOMETRY = re.compile(
    r"^ *(?P<kind>Input|Symmetrized|new|final) geometry:[ \t]*\n *(?P<unit>\w+)[ \t]*\n *atom +x +y +z *\n",
    re.MULTILINE | re.IGNORECASE,
)
_ENERGY = re.compile(
    r"^ *(?:SCFE: .*?energy: *(?P<method>\S.*?) +(?P<scf>-?\d+\.\d+) hartrees"
    r"|Total LMP2 Energy\.* +(?P<lmp2>-?\d+\.\d+))",
    re.MULTILINE,
)
_CHARGE = re.compile(r"^ *net molecular charge: +(\S+)", re.MULTILINE)
_MULTIPLICITY = re.compile(r"^ *multiplicity: +(\S+)", re.MULTILINE)
_BASIS = re.compile(r"^ *basis set: +(\S+)", re.MULTILINE)
_WEIGHT = re.compile(r"^ *Molecular weight: +(\S+) amu", re.MULTILINE)
_VIBRATIONS = re.compile(r"^ *harmonic frequencies in cm\*\*-1", re.MULTILINE)
_NUMBER_OF_VIBRATIONS = re.compile(r"^ *Number of frequencies: +(\d+)", re.MULTILINE)
_FREQUENCIES = re.compile(r"^  frequencies +(.*)$", re.MULTILINE)

_UNITS = {"angstroms": 1.0, "bohr": BOHR}
_WEIGHT_ERROR = 0.02
"""Largest deviation of the printed weight [u]: two decimals, and tables of masses that differ in the fourth."""


@dataclass(frozen=True)
class JaguarOutReader(AbstractReader):
    """A Jaguar output file."""

    def sniff(self, path: Path, head: str) -> bool:
        return _VERSION.search(head) is not None

    def read(self, path: FilePath) -> QMRecord:
        text = read_text(path)
        if _END.search(text) is None:
            raise FileFormatError(
                f"{path}, {_line(text, len(text.rstrip()))}: the file ends without 'Job ... completed'. The job did "
                "not end normally, or the end of the file is missing: copy it again or repeat the job."
            )
        energies = list(_ENERGY.finditer(text))
        symbols, coordinates = _read_geometry(text, energies, path)
        return QMRecord(
            name=Path(path).stem,
            symbols=symbols,
            coordinates=coordinates,
            masses=_masses(text, symbols, path),
            energy=HARTREE * float(energies[-1]["scf"] or energies[-1]["lmp2"]) if energies else None,
            charge=_integer(_CHARGE, text, 0, path),
            multiplicity=_integer(_MULTIPLICITY, text, 1, path),
            frequencies=_frequencies(text, path),
            source=_source(text, energies, path),
        )


def _read_geometry(
    text: str, energies: Sequence[re.Match[str]], path: FilePath
) -> tuple[tuple[str, ...], Float[np.ndarray, "atoms 3"]]:
    last_energy = energies[-1].start() if energies else 0
    tables = [
        table for table in _GEOMETRY.finditer(text) if table["kind"].lower() != "new" or table.start() < last_energy
    ]
    if not tables:
        raise FileFormatError(f"{path}: there is no table of a geometry. The file is damaged: copy it again.")
    table = tables[-1]
    first = text.count("\n", 0, table.end()) + 1
    if table["unit"].lower() not in _UNITS:
        raise FileFormatError(
            f"{path}, line {first - 2}: the unit of the geometry is {table['unit']!r}, but {' or '.join(_UNITS)} is "
            "expected. Repeat the job without the keyword iunit."
        )
    rows = itertools.takewhile(lambda row: row[1].strip(), enumerate(text[table.end() :].split("\n"), first))
    symbols, coordinates = parse_atoms(rows, path)
    return symbols, _UNITS[table["unit"].lower()] * coordinates


def _masses(text: str, symbols: tuple[str, ...], path: FilePath) -> Float[np.ndarray, " atoms"]:
    masses = isotope_masses(symbols)
    printed = _WEIGHT.search(text)
    if printed is None:
        return masses
    weight = parse_numbers([printed[1]], what=f"{path}, {_line(text, printed.start())}: the molecular weight")[0]
    if abs(weight - masses.sum()) > _WEIGHT_ERROR:
        raise FileFormatError(
            f"{path}, {_line(text, printed.start())}: the molecule weighs {weight} u, but the most abundant isotopes "
            f"of its {len(symbols)} atoms weigh {masses.sum():.2f} u. Other masses are not read, and a table of a "
            "geometry may be damaged: copy the file again, or repeat the job with the default masses."
        )
    return masses


def _integer(pattern: re.Pattern[str], text: str, default: int, path: FilePath) -> int:
    found = pattern.search(text)
    if found is None:
        return default
    return parse_integer(found[1], f"{path}, {_line(text, found.start())}: {found[0].strip().split(':')[0]}")


def _frequencies(text: str, path: FilePath) -> Float[np.ndarray, " modes"] | None:
    headings = list(_VIBRATIONS.finditer(text))
    if not headings:
        return None
    start = headings[-1].start()
    printed = [
        number
        for row in _FREQUENCIES.finditer(text, start)
        for number in parse_numbers(row[1].split(), what=f"{path}, {_line(text, row.start())}: the list of frequencies")
    ]
    counts = list(_NUMBER_OF_VIBRATIONS.finditer(text, 0, start))
    if counts:
        check_count(printed, int(counts[-1][1]), what=f"{path}, {_line(text, start)}: the list of frequencies")
    return np.array(printed)


def _source(text: str, energies: Sequence[re.Match[str]], path: FilePath) -> dict[str, str]:
    version, basis = _VERSION.search(text), _BASIS.search(text)
    method = (energies[-1]["method"] or "LMP2") if energies else "unknown"
    return {
        "file": str(path),
        "format": "jaguar-out",
        "program": "Jaguar",
        "version": version["version"] if version else "unknown",
        "method": f"{method}/{basis[1] if basis else 'unknown'}",
    }


def _line(text: str, position: int) -> str:
    number = text.count("\n", 0, position) + 1
    return f"line {number}"
