"""ORCA Hessian files (.hess).

A file is a list of sections, each begun by a line `$name`. `$hessian` and `$vibrational_frequencies` start with their
dimension; the matrix follows in blocks of columns. `$atoms` gives symbol, mass and coordinates [bohr]. The masses are
averages over the isotopes, and ORCA's frequencies belong to them. The matrix comes from numerical differentiation or
is printed with few digits, hence it is not quite symmetric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.constants import BOHR, HARTREE, HARTREE_PER_BOHR2
from fieldfit.forcefield.elements import atomic_number, symbol
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.readers.hessian import check_count, symmetrise
from fieldfit.forcefield.readers.reader import AbstractReader, parse_numbers, read_text
from fieldfit.typing import FilePath

_Sections = Mapping[str, Sequence[Sequence[str]]]


@dataclass(frozen=True)
class OrcaHessReader(AbstractReader):
    """An ORCA Hessian file."""

    def sniff(self, path: Path, head: str) -> bool:
        return "$orca_hessian_file" in head

    def read(self, path: FilePath) -> QMRecord:
        sections = _parse_sections(read_text(path))
        atoms = _rows(sections, "atoms", path)
        if any(len(row) != 5 for row in atoms):
            raise FileFormatError(f"{path}: a line of $atoms lacks symbol, mass or coordinates. The file is damaged.")
        numbers = parse_numbers([field for row in atoms for field in row[1:]], what=f"{path}: $atoms").reshape(-1, 4)
        return QMRecord(
            name=Path(path).stem,
            symbols=tuple(symbol(atomic_number(row[0])) for row in atoms),
            coordinates=BOHR * numbers[:, 1:],
            masses=numbers[:, 0],
            hessian=_hessian(sections, len(atoms), path) if "hessian" in sections else None,
            energy=_energy(sections, path),
            multiplicity=int(sections["multiplicity"][0][0]) if "multiplicity" in sections else 1,
            frequencies=_frequencies(sections, path) if "vibrational_frequencies" in sections else None,
            source={"file": str(path), "format": "orca-hess", "program": "ORCA"},
        )


def _parse_sections(text: str) -> _Sections:
    """Split the file into sections, each a list of lines, each a list of fields."""
    sections: dict[str, list[list[str]]] = {}
    current: list[list[str]] = []
    for line in text.split("\n"):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if fields[0].startswith("$"):
            current = sections.setdefault(fields[0][1:], [])
        else:
            current.append(fields)
    return sections


def _counted(sections: _Sections, name: str, path: FilePath) -> tuple[int, Sequence[Sequence[str]]]:
    """Split a section into the count in its first line and the lines after it."""
    if not sections.get(name):
        raise FileFormatError(f"{path}: the section ${name} is absent or empty. The file is truncated: copy it again.")
    (count, *_), *rows = sections[name]
    return int(parse_numbers([count], what=f"{path}: the first line of ${name}")[0]), rows


def _rows(sections: _Sections, name: str, path: FilePath) -> Sequence[Sequence[str]]:
    """Take the lines of a section that starts with their number."""
    count, rows = _counted(sections, name, path)
    check_count(rows, count, what=f"{path}: ${name} (one per line)")
    return rows


def _hessian(sections: _Sections, atoms: int, path: FilePath) -> Float[np.ndarray, "dof dof"]:
    dimension, lines = _counted(sections, "hessian", path)
    dof = 3 * atoms
    if dimension != dof:
        raise FileFormatError(
            f"{path}: $hessian has {dimension} rows, but the {atoms} atoms of $atoms need {dof}. "
            "The sections belong to different molecules."
        )
    matrix = np.full((dof, dof), np.nan)
    columns: list[int] = []
    for row, *fields in lines:
        if all(field.isdigit() for field in [row, *fields]):
            columns = [column for column in map(int, [row, *fields]) if column < dof]
        elif row.isdigit() and int(row) < dof and len(fields) == len(columns):
            matrix[int(row), columns] = parse_numbers(fields, what=f"{path}: $hessian")
    check_count(matrix[np.isfinite(matrix)], dof**2, what=f"{path}: $hessian of {atoms} atoms")
    return HARTREE_PER_BOHR2 * symmetrise(matrix, origin=str(path))


def _energy(sections: _Sections, path: FilePath) -> float | None:
    if not sections.get("act_energy"):
        return None
    energy_hartree = parse_numbers(sections["act_energy"][0], what=f"{path}: $act_energy")[0]
    # ORCA writes zero when it did not keep the energy.
    return None if energy_hartree == 0.0 else HARTREE * float(energy_hartree)


def _frequencies(sections: _Sections, path: FilePath) -> Float[np.ndarray, " modes"]:
    printed = parse_numbers(
        [row[-1] for row in _rows(sections, "vibrational_frequencies", path)],
        what=f"{path}: $vibrational_frequencies",
    )
    # Translations and rotations are projected out and printed as exactly zero.
    return printed[printed != 0.0]
