"""Gaussian formatted checkpoint files (.fchk), as `formchk` writes them.

A file is a title, a line with job type, method and basis, and fields: a label in columns 1-40, a type in column 44
(I integer, R real, C text), then a value, or N= and a count with the values in the lines below. All arrays are in
atomic units and in one frame, that of "Current cartesian coordinates".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.constants import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2
from fieldfit.forcefield.elements import symbol
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.readers.hessian import check_count, unpack_triangle
from fieldfit.forcefield.readers.reader import AbstractReader, isotope_masses, parse_numbers, read_text
from fieldfit.typing import FilePath

_FIELD = re.compile(r"^(?P<label>.{40})   (?P<type>[IRCHL]) {3}(?P<array>N=)?\s*(?P<value>\S+)\s*$")
_ATOM_COUNT = re.compile(r"^Number of atoms {25,}   I ", re.MULTILINE)

# Programs of the 1990s call the gradient "Cartesian Forces": its sign is that of the gradient all the same, as a
# comparison with the forces in their logs shows.
_GRADIENT_LABELS = ("Cartesian Gradient", "Cartesian Forces")
_MASS_LABELS = ("Vib-AtMass", "Real atomic weights")

_Fields = Mapping[str, Float[np.ndarray, " _"]]


@dataclass(frozen=True)
class GaussianFchkReader(AbstractReader):
    """A Gaussian formatted checkpoint file."""

    def sniff(self, path: Path, head: str) -> bool:
        return _ATOM_COUNT.search(head) is not None

    def read(self, path: FilePath) -> QMRecord:
        text = read_text(path)
        fields = _parse_fields(text, path)
        atoms = int(_require(fields, "Number of atoms", path)[0])
        symbols = tuple(symbol(int(number)) for number in _require(fields, "Atomic numbers", path))
        check_count(symbols, atoms, what=f"{path}: 'Atomic numbers' of {atoms} atoms")
        coordinates = _require(fields, "Current cartesian coordinates", path)
        check_count(coordinates, 3 * atoms, what=f"{path}: 'Current cartesian coordinates' of {atoms} atoms")
        return QMRecord(
            name=Path(path).stem,
            symbols=symbols,
            coordinates=BOHR * coordinates.reshape(atoms, 3),
            masses=_masses(fields, symbols, path),
            hessian=_hessian(fields, atoms, path),
            gradient=_gradient(fields, atoms, path),
            energy=HARTREE * fields["Total Energy"].item() if "Total Energy" in fields else None,
            charge=int(_require(fields, "Charge", path)[0]),
            multiplicity=int(_require(fields, "Multiplicity", path)[0]),
            frequencies=_frequencies(fields),
            source=_source(text, path),
        )


def _parse_fields(text: str, path: FilePath) -> _Fields:
    """Read every numerical field that a record needs."""
    wanted = {"Number of atoms", "Atomic numbers", "Current cartesian coordinates", "Charge", "Multiplicity"}
    wanted |= {"Total Energy", "Cartesian Force Constants", "Number of Normal Modes", "Vib-E2"}
    wanted |= {*_GRADIENT_LABELS, *_MASS_LABELS}
    fields = {}
    lines = iter(text.split("\n"))
    for line in lines:
        header = _FIELD.match(line)
        if header is None or (label := header["label"].strip()) not in wanted:
            continue
        what = f"{path}: {label!r}"
        if not header["array"]:
            fields[label] = parse_numbers([header["value"]], what=what)
            continue
        count = int(header["value"])
        per_line = 6 if header["type"] == "I" else 5
        printed = " ".join(islice(lines, -(-count // per_line))).split()
        fields[label] = parse_numbers(printed, what=what)
        check_count(fields[label], count, what=what)
    return fields


def _require(fields: _Fields, label: str, path: FilePath) -> Float[np.ndarray, " _"]:
    if label not in fields:
        raise FileFormatError(f"{path}: there is no field {label!r}. The file is truncated: run formchk again.")
    return fields[label]


def _masses(fields: _Fields, symbols: tuple[str, ...], path: FilePath) -> Float[np.ndarray, " atoms"]:
    for label in _MASS_LABELS:
        if label in fields:
            check_count(fields[label], len(symbols), what=f"{path}: {label!r} of {len(symbols)} atoms")
            return fields[label]
    return isotope_masses(symbols)


def _hessian(fields: _Fields, atoms: int, path: FilePath) -> Float[np.ndarray, "dof dof"] | None:
    triangle = fields.get("Cartesian Force Constants")
    return None if triangle is None else HARTREE_PER_BOHR2 * unpack_triangle(triangle, atoms, origin=str(path))


def _gradient(fields: _Fields, atoms: int, path: FilePath) -> Float[np.ndarray, "atoms 3"] | None:
    for label in _GRADIENT_LABELS:
        if label in fields:
            check_count(fields[label], 3 * atoms, what=f"{path}: {label!r} of {atoms} atoms")
            return HARTREE_PER_BOHR * fields[label].reshape(atoms, 3)
    return None


def _frequencies(fields: _Fields) -> Float[np.ndarray, " modes"] | None:
    if "Vib-E2" not in fields or "Number of Normal Modes" not in fields:
        return None
    # Vib-E2 lists the wavenumbers of all modes, then their reduced masses, force constants, intensities ...
    return fields["Vib-E2"][: int(fields["Number of Normal Modes"][0])]


def _source(text: str, path: FilePath) -> dict[str, str]:
    job = text.split("\n", 2)[1].split()
    return {
        "file": str(path),
        "format": "gaussian-fchk",
        "program": "Gaussian",
        "method": "/".join(job[1:3]),
    }
