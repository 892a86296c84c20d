"""Several geometries of one molecule in one xyz file, with energies and forces: plain and extended xyz.

    3                                                                number of atoms
    energy=-76.02 Properties=species:S:1:pos:R:3:forces:R:3          comment
    O   0.000000  0.000000  0.117176   0.0  0.0  0.012               symbol, coordinates [A], forces
    ...                                                              the next geometry follows at once

The comment of a frame states its energy in one of three ways: `energy=-76.02` (extended xyz), `energy: -76.02` (xtb),
or as the only thing in the line (CREST). Columns are those that `Properties` names, else symbol and coordinates; forces
are the column `forces` or `force` of three numbers, and gradients are their negatives.

No xyz file has a standard for the units of its energies and forces. They are stated by the caller or by the file
(`energy_unit=hartree`, `force_unit=hartree/bohr` in the comment), and must be the same where both do.

References:
    https://github.com/libAtoms/extxyz: the extended format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError, MoleculeError, SettingsError
from fieldfit.forcefield.constants import BOHR, HARTREE, HARTREE_PER_BOHR, KJ_PER_KCAL
from fieldfit.forcefield.elements import atomic_number, symbol
from fieldfit.forcefield.ensemble import Ensemble
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.readers.reader import parse_numbers, read_text
from fieldfit.registry import unknown_name
from fieldfit.typing import FilePath

EV = HARTREE / 27.211386245988
"""One electronvolt [kcal/mol]; CODATA 2018."""

ENERGY_UNITS: Mapping[str, float] = MappingProxyType(
    {"hartree": HARTREE, "eV": EV, "kcal/mol": 1.0, "kJ/mol": 1.0 / KJ_PER_KCAL}
)
"""Unit of energies to its size [kcal/mol]."""

FORCE_UNITS: Mapping[str, float] = MappingProxyType(
    {
        "hartree/bohr": HARTREE_PER_BOHR,
        "hartree/A": HARTREE,
        "eV/A": EV,
        "kcal/mol/A": 1.0,
        "kJ/mol/A": 1.0 / KJ_PER_KCAL,
        "kcal/mol/bohr": 1.0 / BOHR,
    }
)
"""Unit of forces to its size [kcal/mol/A]."""

PLAIN_COLUMNS = "species:S:1:pos:R:3"

_PAIR = re.compile(r'(\w+)\s*=\s*("[^"]*"|\S+)')
_XTB_ENERGY = re.compile(r"\s*energy:\s*(\S+)")
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?)\s*")


@dataclass(frozen=True, eq=False)
class _Frame:
    """One geometry as the file has it: line of its first atom, symbols, coordinates [A], energy and forces."""

    line: int
    symbols: tuple[str, ...]
    coordinates: Float[np.ndarray, "atoms 3"]
    forces: Float[np.ndarray, "atoms 3"] | None
    energy: float | None
    units: Mapping[str, str]


def read_ensemble(
    path: FilePath,
    molecule: Molecule,
    *,
    energy_unit: str | None = None,
    force_unit: str | None = None,
    held: Sequence[Sequence[int]] = (),
    name: str | None = None,
) -> Ensemble:
    """Read several geometries of a molecule with their energies and forces, as far as the file has them.

    Args:
        path: A plain or extended xyz file of one frame or more.
        molecule: Atoms, in the order of the file, with bonds and types.
        energy_unit: Unit of the energies, a key of `ENERGY_UNITS`; None: the file states it.
        force_unit: Unit of the forces, a key of `FORCE_UNITS`; None: the file states it.
        held: Internal coordinates that were held in a relaxed scan, as tuples of atoms; see `Ensemble`.
        name: What the ensemble is called; the name of the file without its ending if not stated.

    Raises:
        FileFormatError: The file is missing, truncated or contradicts itself, or some of its frames have energies or
            forces and others do not.
        SettingsError: A unit is unknown, or stated nowhere.
        MoleculeError: The atoms are not those of the molecule, or the geometries are not usable; see `Ensemble`.

    Examples:
        >>> scan = read_ensemble("scan.xyz", butane, held=[(0, 1, 2, 3)])                    # doctest: +SKIP
        >>> conformers = read_ensemble("crest.xyz", ligand, energy_unit="hartree")           # doctest: +SKIP
    """
    frames = _frames(path)
    for frame in frames:
        if frame.symbols != molecule.record.symbols:
            raise MoleculeError(
                f"{path}, line {frame.line}: a geometry of {' '.join(frame.symbols)} begins here, but {molecule.name} "
                f"consists of {' '.join(molecule.record.symbols)}. Give the atoms in the order of the molecule."
            )
    energies = _scaled([frame.energy for frame in frames], frames, path, _Quantity("energy", ENERGY_UNITS, energy_unit))
    forces = _scaled([frame.forces for frame in frames], frames, path, _Quantity("force", FORCE_UNITS, force_unit))
    return Ensemble(
        Path(path).stem if name is None else name,
        molecule,
        np.array([frame.coordinates for frame in frames]),
        energies,
        None if forces is None else -forces,
        tuple(tuple(atoms) for atoms in held),
    )


@dataclass(frozen=True)
class _Quantity:
    """Energies or forces: their known units, and the one that the caller states."""

    name: str
    known: Mapping[str, float]
    stated: str | None


def _scaled(
    values: Sequence[float | np.ndarray | None], frames: Sequence[_Frame], path: FilePath, quantity: _Quantity
) -> np.ndarray | None:
    """Return energies or forces of all frames in internal units; None if no frame has them."""
    missing = [frame.line for frame, value in zip(frames, values, strict=True) if value is None]
    if len(missing) == len(frames):
        return None
    if missing:
        raise FileFormatError(
            f"{path}, line {missing[0]}: the geometry that begins here has no {quantity.name}, but others have. Give "
            f"it for all {len(frames)} geometries or for none; `energy=` and the column `forces` are understood."
        )
    factors = np.array([_factor(frame, path, quantity) for frame in frames])
    given = np.array(values, dtype=float)
    return factors.reshape(-1, *[1] * (given.ndim - 1)) * given


def _factor(frame: _Frame, path: FilePath, quantity: _Quantity) -> float:
    """Return the size of the unit of a frame."""
    key = f"{quantity.name}_unit"
    written = frame.units.get(key)
    unit = quantity.stated or written
    if unit is None:
        raise SettingsError(
            f"{path}, line {frame.line}: neither the caller nor the file states the unit of the {quantity.name}. Say "
            f"{key}=..., one of {', '.join(quantity.known)}."
        )
    if written not in (None, unit):
        raise SettingsError(
            f"{path}, line {frame.line}: the unit of the {quantity.name} is {written!r} in the file, but {unit!r} is "
            f"asked for. Leave out {key}, or correct one of them."
        )
    if unit not in quantity.known:
        raise SettingsError(unknown_name(f"unit of the {quantity.name}", unit, quantity.known))
    return quantity.known[unit]


def _frames(path: FilePath) -> tuple[_Frame, ...]:
    lines = read_text(path).rstrip().split("\n")
    frames, start = [], 0
    while start < len(lines):
        if not lines[start].strip().isdigit():
            raise FileFormatError(
                f"{path}, line {start + 1}: a geometry starts with its number of atoms, but here stands "
                f"{lines[start]!r}. Remove blank lines between geometries, or correct the number above."
            )
        atoms, left = int(lines[start]), max(len(lines) - start - 2, 0)
        if not 0 < atoms <= left:
            raise FileFormatError(
                f"{path}, line {start + 1}: {atoms} atoms are announced, and {left} lines are left for them. There has "
                "to be one at least, and all of them: copy or compute the file again."
            )
        stop = start + 2 + atoms
        frames.append(_frame(lines[start + 1], lines[start + 2 : stop], start + 3, path))
        start = stop
    return tuple(frames)


def _frame(comment: str, rows: Sequence[str], line: int, path: FilePath) -> _Frame:
    pairs = {key.lower(): value.strip('"') for key, value in _PAIR.findall(comment)}
    columns, width = _columns(pairs.get("properties", PLAIN_COLUMNS), line, path)
    fields = [row.split() for row in rows]
    for offset, entry in enumerate(fields):
        if len(entry) < width:
            raise FileFormatError(
                f"{path}, line {line + offset}: {len(entry)} columns, but {width} are needed: {rows[offset]!r}. "
                "Correct the line."
            )
    return _Frame(
        line=line,
        symbols=tuple(_element(entry[columns["species"]]) for entry in fields),
        coordinates=_vectors(fields, columns["pos"], line, path),
        forces=None if "forces" not in columns else _vectors(fields, columns["forces"], line, path),
        energy=_energy(comment, pairs, line, path),
        units={key: value for key, value in pairs.items() if key.endswith("_unit")},
    )


def _columns(properties: str, line: int, path: FilePath) -> tuple[dict[str, int], int]:
    """Return where the columns of interest start, by name, and how many columns there are."""
    entries = properties.split(":")
    starts, width = {}, 0
    for name, kind, count in zip(entries[::3], entries[1::3], entries[2::3], strict=False):
        wanted = {"species": ("S", "1"), "pos": ("R", "3"), "forces": ("R", "3"), "force": ("R", "3")}.get(name)
        if wanted == (kind, count):
            starts["forces" if name == "force" else name] = width
        width += int(count) if count.isdigit() else 0
    if len(entries) % 3 or not {"species", "pos"} <= set(starts):
        raise FileFormatError(
            f"{path}, line {line - 1}: the columns {properties!r} are not a list of name:kind:number with species:S:1 "
            "and pos:R:3 among them. Write the file as extended xyz, or without Properties."
        )
    return starts, width


def _vectors(fields: Sequence[Sequence[str]], start: int, line: int, path: FilePath) -> Float[np.ndarray, "atoms 3"]:
    rows = [
        parse_numbers(entry[start : start + 3], what=f"{path}, line {line + offset}:")
        for offset, entry in enumerate(fields)
    ]
    return np.array(rows)


def _energy(comment: str, pairs: Mapping[str, str], line: int, path: FilePath) -> float | None:
    found = _NUMBER.fullmatch(comment) or _XTB_ENERGY.match(comment)
    text = pairs.get("energy", found.group(1) if found else None)
    return None if text is None else float(parse_numbers([text], what=f"{path}, line {line - 1}: the energy")[0])


def _element(label: str) -> str:
    return symbol(int(label) if label.isdigit() else atomic_number(label))
