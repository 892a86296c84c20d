"""Jaguar input files (.in), as Jaguar writes them to restart from: `job.01.in`, with geometry and Hessian.

`&zmat` lists atom labels and Cartesian coordinates [A]. `&hess` lists the lower triangle of the Hessian
[hartree/bohr^2] in blocks of five columns. A block begins with a line that numbers its first column; then follows a
line for every row from there to the last one: the number of the row and its elements, up to the diagonal:

       1
       1  2.944868E-01
       2 -1.904832E-02  2.472421E-01
       ...
       6
       6  2.463379E-01

Both are in one frame, the one in which the job was computed. If Jaguar turned the molecule to its symmetry axes, that
is the "Symmetrized geometry" of the output, not its "Input geometry"; `jaguar_out` reads the same one. Energy and
printed frequencies are in the output only: `combine(read("job.01.in"), read("job.out"))` brings them together.

A geometry optimization leaves its own estimate of the Hessian in `&hess`, which is not one of second derivatives and
looks like any other. Therefore the section is accepted from jobs that computed frequencies (`ifreq`) only.

Jaguar does not print masses; those of the most abundant isotopes reproduce its frequencies, average ones do not.

References:
    Jaguar User Manual, "The Jaguar Input File", sections gen, zmat, hess, atomic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.constants import HARTREE_PER_BOHR2
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.readers.jaguar import (
    Section,
    parse_atoms,
    parse_integer,
    parse_keywords,
    parse_sections,
    refuse_other_masses,
)
from fieldfit.forcefield.readers.reader import AbstractReader, isotope_masses, parse_numbers, read_text
from fieldfit.typing import FilePath

_GENERAL = re.compile(r"^\s*[&$]gen\b", re.MULTILINE | re.IGNORECASE)
_GEOMETRY = re.compile(r"^\s*[&$]zmat\b", re.MULTILINE | re.IGNORECASE)
_BANNER = "Jaguar version"
_RESTART_NUMBER = re.compile(r"\.\d\d$")
_BLOCK = 5
"""Number of columns in a block of the Hessian."""


@dataclass(frozen=True)
class JaguarInReader(AbstractReader):
    """A Jaguar input file."""

    def sniff(self, path: Path, head: str) -> bool:
        return _GENERAL.search(head) is not None and _GEOMETRY.search(head) is not None and _BANNER not in head

    def read(self, path: FilePath) -> QMRecord:
        sections = parse_sections(read_text(path), path)
        keywords = parse_keywords(_require(sections, "gen", path), path)
        refuse_other_masses(sections, keywords, path)
        symbols, coordinates = _read_geometry(_require(sections, "zmat", path), keywords, path)
        return QMRecord(
            name=_RESTART_NUMBER.sub("", Path(path).stem),
            symbols=symbols,
            coordinates=coordinates,
            masses=isotope_masses(symbols),
            hessian=_hessian(sections["hess"], len(symbols), keywords, path) if "hess" in sections else None,
            charge=parse_integer(keywords.get("molchg", "0"), f"{path}: molchg"),
            multiplicity=parse_integer(keywords.get("multip", "1"), f"{path}: multip"),
            source={
                "file": str(path),
                "format": "jaguar-in",
                "program": "Jaguar",
                "method": "/".join((keywords.get("dftname", "hf"), keywords.get("basis", "6-31g**"))),
            },
        )


def _require(sections: Mapping[str, Section], name: str, path: FilePath) -> Section:
    if name not in sections:
        raise FileFormatError(f"{path}: there is no section &{name}. The file is truncated: copy it again.")
    return sections[name]


def _read_geometry(
    section: Section, keywords: Mapping[str, str], path: FilePath
) -> tuple[tuple[str, ...], Float[np.ndarray, "atoms 3"]]:
    if "iunit" in keywords:
        raise FileFormatError(
            f"{path}: iunit={keywords['iunit']} states a unit of the geometry. Jaguar's default, angstrom, is read "
            "only: read the restart file (.01.in) of a job without iunit."
        )
    if not section.rows:
        raise FileFormatError(f"{path}, line {section.line}: the section &zmat is empty. Give a file with a geometry.")
    return parse_atoms(section.rows, path)


def _hessian(
    section: Section, atoms: int, keywords: Mapping[str, str], path: FilePath
) -> Float[np.ndarray, "dof dof"] | None:
    if not section.rows:
        return None
    if keywords.get("ifreq", "0") == "0":
        raise FileFormatError(
            f"{path}, line {section.line}: the job computed no frequencies (ifreq is not set), so &hess is the "
            "estimate of a geometry optimization, not second derivatives. Repeat the job with ifreq=1, or remove the "
            "section to read the geometry alone."
        )
    dof = 3 * atoms
    triangle = np.zeros((dof, dof))
    expected = list(_expected_rows(dof))
    for (label, columns), (number, row) in zip(expected, section.rows, strict=False):
        fields = _check_row(row, label, columns, f"{path}, line {number}")
        if columns:
            triangle[label - 1, columns] = parse_numbers(fields, what=f"{path}, line {number}")
    if len(section.rows) != len(expected):
        raise FileFormatError(
            f"{path}, line {section.rows[-1][0]}: the section &hess has {len(section.rows)} lines, but {atoms} atoms "
            f"need {len(expected)}. The file is truncated, or its parts belong to different molecules: copy it again."
        )
    return HARTREE_PER_BOHR2 * (triangle + np.tril(triangle, -1).T)


def _expected_rows(dof: int) -> Iterator[tuple[int, range]]:
    """List the lines of the section: number of row and columns from 0, no columns where a block begins."""
    for first in range(0, dof, _BLOCK):
        yield first + 1, range(0)
        for row in range(first, dof):
            yield row + 1, range(first, min(first + _BLOCK, row + 1))


def _check_row(row: str, label: int, columns: range, what: str) -> list[str]:
    """Return the elements in a line after its label, which must be the expected one."""
    found, *fields = row.split()
    is_complete = len(fields) == len(columns) if columns else all(field.isdigit() for field in fields)
    if found != str(label) or not is_complete:
        expected = f"row {label} with {len(columns)} elements" if columns else f"the number of column {label}"
        raise FileFormatError(
            f"{what}: {row.strip()!r} stands where {expected} of the Hessian is expected. The file is damaged, or its "
            "parts belong to different molecules: copy it again."
        )
    return fields
