"""Geometries in xyz format, with a Hessian in a NumPy file beside them.

    5                                   number of atoms
    any text                            comment
    C   -0.000002  -0.750275  0.0       element symbol or atomic number, coordinates [A], further columns ignored

The Hessian is a square array, or the only or the "hessian" array of an .npz file, in the frame of the geometry and
in the order x, y, z of atom 1, x, y, z of atom 2 ...
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError, InputError
from fieldfit.forcefield.elements import atomic_number, symbol
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.readers.hessian import ATOMIC_UNIT, hessian_factor, symmetrise
from fieldfit.forcefield.readers.reader import AbstractReader, isotope_masses, parse_numbers, read_text
from fieldfit.typing import FilePath

_HEADER = re.compile(r"\s*\d+\s*\n.*\n\s*(?:[A-Za-z]{1,3}|\d{1,3})(?:\s+[-+]?\d*\.?\d+(?:[EeDd][-+]?\d+)?){3}")
_SUPPORTED_COLUMNS = "species:S:1:pos:R:3"


@dataclass(frozen=True)
class XYZReader(AbstractReader):
    """An xyz geometry, and a Hessian if one is stated.

    Args:
        hessian: A .npy or .npz file with the Hessian.
        hessian_unit: Unit of its numbers, a key of `HESSIAN_UNITS`.
    """

    hessian: FilePath | None = None
    hessian_unit: str = ATOMIC_UNIT

    def sniff(self, path: Path, head: str) -> bool:
        return _HEADER.match(head) is not None

    def read(self, path: FilePath) -> QMRecord:
        symbols, coordinates = _read_geometry(path)
        source = {"file": str(path), "format": "xyz"}
        if self.hessian is not None:
            source["hessian"] = str(self.hessian)
        return QMRecord(
            name=Path(path).stem,
            symbols=symbols,
            coordinates=coordinates,
            masses=isotope_masses(symbols),
            hessian=None if self.hessian is None else _read_hessian(self.hessian, self.hessian_unit, len(symbols)),
            source=source,
        )


def _read_geometry(path: FilePath) -> tuple[tuple[str, ...], Float[np.ndarray, "atoms 3"]]:
    lines = read_text(path).rstrip().split("\n")
    if not lines[0].strip().isdigit():
        raise FileFormatError(f"{path}: an xyz file starts with the number of atoms, this one with {lines[0]!r}.")
    atoms = int(lines[0])
    rows = [line.split() for line in lines[2:]]
    if atoms == 0 or len(rows) != atoms or any(len(row) < 4 for row in rows):
        found = sum(len(row) >= 4 for row in rows)
        raise FileFormatError(
            f"{path}: {atoms} atoms are announced, but {len(rows)} lines follow the comment, {found} of them with a "
            "symbol and three coordinates. Give one geometry per file, without blank lines."
        )
    if "Properties=" in lines[1] and _SUPPORTED_COLUMNS not in lines[1]:
        raise FileFormatError(
            f"{path}: the columns are not in the order {_SUPPORTED_COLUMNS}: {lines[1]!r}. Write a plain xyz file."
        )
    fields = [field for row in rows for field in row[1:4]]
    coordinates = parse_numbers(fields, what=f"{path}: the geometry").reshape(atoms, 3)
    return tuple(_element(row[0]) for row in rows), coordinates


def _element(label: str) -> str:
    return symbol(int(label) if label.isdigit() else atomic_number(label))


def _read_hessian(path: FilePath, unit: str, atoms: int) -> Float[np.ndarray, "dof dof"]:
    matrix = _load_array(Path(path))
    if matrix.shape != (3 * atoms, 3 * atoms) or matrix.dtype.kind not in "fiu":
        raise FileFormatError(
            f"{path}: the array is of type {matrix.dtype} and shape {matrix.shape}, but the Hessian of {atoms} atoms "
            f"is real and of shape {(3 * atoms, 3 * atoms)}. A PySCF Hessian h becomes that by "
            "h.transpose(0, 2, 1, 3).reshape(3 * atoms, 3 * atoms)."
        )
    return hessian_factor(unit) * symmetrise(matrix.astype(np.float64), origin=str(path))


def _load_array(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileFormatError(f"There is no file {str(path)!r} with a Hessian. Check the name and the directory.")
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else _only_hessian(loaded, path)
    except InputError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(
            f"{path}: not a readable NumPy file ({error}). Write the Hessian with numpy.save."
        ) from error


def _only_hessian(archive: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    names = list(archive)
    if "hessian" not in names and len(names) != 1:
        raise FileFormatError(f"{path}: none of the arrays {names} is called 'hessian'. Rename one.")
    return archive["hessian" if "hessian" in names else names[0]]
