"""Readers of quantum-chemistry results: files in, `QMRecord` out.

`read` finds the format from the first lines of a file. To add one, write a final class derived from
`fieldfit.forcefield.readers.reader.AbstractReader` and a line in `READERS`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from fieldfit.errors import FileFormatError, InputError, SettingsError
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.readers.hessian import ATOMIC_UNIT, check_hessian_unit
from fieldfit.forcefield.readers.reader import HEAD_LENGTH, AbstractReader, read_text
from fieldfit.registry import Registry
from fieldfit.typing import FilePath

__all__ = ["READERS", "AbstractReader", "read"]

READERS = Registry(
    "reader",
    {
        "gaussian-fchk": "fieldfit.forcefield.readers.gaussian_fchk:GaussianFchkReader",
        "gaussian-log": "fieldfit.forcefield.readers.gaussian_log:GaussianLogReader",
        "jaguar-in": "fieldfit.forcefield.readers.jaguar_in:JaguarInReader",
        "jaguar-out": "fieldfit.forcefield.readers.jaguar_out:JaguarOutReader",
        "orca-hess": "fieldfit.forcefield.readers.orca_hess:OrcaHessReader",
        "qcschema": "fieldfit.forcefield.readers.qcschema:QCSchemaReader",
        "xyz": "fieldfit.forcefield.readers.xyz:XYZReader",
    },
    group="fieldfit.readers",
)
"""Formats of quantum-chemistry results by name."""


def read(
    path: FilePath,
    *,
    hessian: FilePath | None = None,
    hessian_unit: str = ATOMIC_UNIT,
    format: str | None = None,
    name: str | None = None,
) -> QMRecord:
    """Read a quantum-chemistry result.

    Args:
        path: File with the geometry, and with the Hessian where the format has one.
        hessian: A .npy or .npz file with the Hessian of an xyz geometry.
        hessian_unit: Unit of the numbers in it, a key of `fieldfit.forcefield.readers.hessian.HESSIAN_UNITS`.
        format: Name of a reader in `READERS`; found from the first lines of the file if not stated.
        name: What to call the result; the name of the file without its ending if not stated.

    Returns:
        The result in internal units; its Hessian is symmetric and None if the file has none.

    Raises:
        FileFormatError: A file is missing, truncated, of no known format, or contradicts itself.
        MoleculeError: The vibrations of the Hessian are so fast or so slow that its unit must be another.
        SettingsError: No reader or unit has that name, or a Hessian is stated for a file that holds its own.

    Examples:
        >>> record = read("ethane.fchk")                                     # doctest: +SKIP
        >>> record = read("ch3f.xyz", hessian="ch3f-hessian.npy")            # doctest: +SKIP
    """
    format = format or _find_format(path)
    reader = READERS[format]()
    if hessian is None and hessian_unit != ATOMIC_UNIT:
        raise SettingsError(
            f"hessian_unit = {hessian_unit!r} is the unit of a Hessian in a file of its own, but none is stated for "
            f"{str(path)!r}. State `hessian` too, or leave out `hessian_unit`."
        )
    if hessian is not None:
        if format != "xyz":
            raise SettingsError(
                f"A Hessian in a file of its own ({str(hessian)!r}) belongs to an xyz geometry, but {str(path)!r} is "
                f"of the format {format!r}, which holds its own. Leave out `hessian`, or write the geometry as xyz."
            )
        reader = READERS["xyz"](hessian=hessian, hessian_unit=hessian_unit)
    record = _parse(reader, path)
    if name is not None:
        record = dataclasses.replace(record, name=name)
    check_hessian_unit(record, hessian_unit if hessian is not None else ATOMIC_UNIT)
    return record


def _parse(reader: AbstractReader, path: FilePath) -> QMRecord:
    """Read a file; whatever a damaged one makes the parsing stumble over becomes one kind of error."""
    try:
        return reader.read(path)
    except InputError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError) as error:
        raise FileFormatError(
            f"{path}: the file is damaged or does not follow its format ({type(error).__name__}: {error}). Copy it "
            "again or repeat the calculation."
        ) from error


def _find_format(path: FilePath) -> str:
    head = read_text(path)[:HEAD_LENGTH]
    found = [name for name, reader in READERS.items() if reader().sniff(Path(path), head)]
    if len(found) == 1:
        return found[0]
    problem = f"looks like {' and '.join(found)}" if found else "is of no known format"
    raise FileFormatError(f"{str(path)!r} {problem}. Name its format with format=. Known: {', '.join(READERS)}.")
