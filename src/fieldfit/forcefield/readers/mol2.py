"""Structures in Tripos mol2 format (.mol2), one or several per file.

A line `@<TRIPOS>MOLECULE` begins a structure: title, numbers of atoms and bonds, kind of molecule, kind of charges.
`@<TRIPOS>ATOM` has a line per atom: number, name, coordinates [A], type, substructure, charge; `@<TRIPOS>BOND` one per
bond: number, two atoms, order (1, 2, 3, am amide, ar aromatic, nc not connected, un and du unknown). Lines that begin
with "#" are comments; a backslash continues a line.

`nc` is how programs write a bond of order zero, such as from a metal to a ligand: it is kept as a bond. Lists of bonds
are often edited by hand without the number in the header, so more bonds than that are read, with a warning in the log;
fewer bonds, or another number of atoms, are a damaged file.

Elements are not stated. A SYBYL type names its element before the dot (C.ar, N.pl3, Co.oh) or is its symbol (H, Cl,
Fe). Types of other programs (ca, HX, C2, RH) are read together with the name of the atom: the element is the symbol
that both can begin with. CL and BR are chlorine and bromine; where another two-letter symbol competes with a one-letter
one (CA may be C or Ca, PD may be P or Pd), `elements` must decide.

References:
    Tripos, Inc. (2005), Tripos Mol2 File Format.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError, MoleculeError
from fieldfit.forcefield.elements import atomic_number, symbol
from fieldfit.forcefield.readers.reader import parse_numbers, read_text
from fieldfit.forcefield.readers.structure import Structure, parse_index, unique_bonds
from fieldfit.typing import FilePath

_MARK = "@<TRIPOS>"
_ORDERS = {"1": 1.0, "2": 2.0, "3": 3.0, "am": 1.0, "ar": 1.5, "nc": 0.0, "un": None, "du": None}
_UNMISTAKABLE = ("Cl", "Br")
_WITHOUT_CHARGES = "NO_CHARGES"
_CHARGE_COLUMN = 8

logger = logging.getLogger(__name__)


class _Line(NamedTuple):
    number: int
    text: str


_Sections = Mapping[str, Sequence[_Line]]


def read_mol2(path: FilePath, *, elements: Mapping[str, str] | None = None) -> tuple[Structure, ...]:
    """Read structures in mol2 format.

    Args:
        path: Where the file is.
        elements: Element symbols by atom type, where the file leaves them open: {"ca": "C"}.

    Returns:
        The structures in order.

    Raises:
        FileFormatError: The file is missing, truncated, contradicts itself, or leaves an element open.
        MoleculeError: A number is not finite, or `elements` names one that does not exist.
    """
    lines = list(_join_lines(read_text(path)))
    starts = [index for index, line in enumerate(lines) if line.text.strip() == f"{_MARK}MOLECULE"]
    if not starts:
        raise FileFormatError(f"{path}: there is no line {_MARK}MOLECULE. Give a file in Tripos mol2 format.")
    blocks = [lines[start:stop] for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True)]
    known = {name: symbol(atomic_number(label)) for name, label in (elements or {}).items()}
    return tuple(_read_structure(_split(block), known, path) for block in blocks)


def _join_lines(text: str) -> Iterator[_Line]:
    """Leave out comments and join lines that are continued."""
    begun, number = "", 0
    for count, text_line in enumerate(text.split("\n"), 1):
        if text_line.startswith("#"):
            continue
        number = number if begun else count
        if text_line.rstrip().endswith("\\"):
            begun += text_line.rstrip()[:-1] + " "
            continue
        yield _Line(number, begun + text_line)
        begun = ""


def _split(block: Sequence[_Line]) -> _Sections:
    sections: dict[str, list[_Line]] = {}
    current: list[_Line] = []
    for line in block:
        if line.text.startswith(_MARK):
            current = sections.setdefault(line.text.strip().removeprefix(_MARK), [])
            current.append(line)
        elif line.text.strip() or "ATOM" not in sections:  # a title may be empty
            current.append(line)
    return sections


def _read_structure(sections: _Sections, elements: Mapping[str, str], path: FilePath) -> Structure:
    start, title, n_atoms, n_bonds, charges = _header(sections["MOLECULE"], path)
    atoms = [(line, line.text.split()) for line in _rows(sections, "ATOM")]
    if len(atoms) != n_atoms or not atoms:
        raise FileFormatError(
            f"{path}, line {start}: the header announces {n_atoms} atoms, but {len(atoms)} are listed. The file is "
            "truncated or was changed by hand: write it again."
        )
    for line, fields in atoms:
        if len(fields) < 6:
            raise FileFormatError(
                f"{path}, line {line.number}: {line.text.strip()!r} lacks name, coordinates or type of an atom. The "
                "file is damaged: write it again."
            )
    bonds, orders = unique_bonds(_read_bonds(sections, [fields[0] for _, fields in atoms], n_bonds, path))
    return Structure(
        name=title or Path(path).stem,
        symbols=tuple(
            _element(fields[1], fields[5], elements, f"{path}, line {line.number}") for line, fields in atoms
        ),
        types=tuple(fields[5] for _, fields in atoms),
        coordinates=np.array([parse_numbers(f[2:5], what=f"{path}, line {line.number}") for line, f in atoms]),
        bonds=bonds,
        orders=orders,
        charges=None if charges == _WITHOUT_CHARGES else _read_charges(atoms, path),
    )


def _header(lines: Sequence[_Line], path: FilePath) -> tuple[int, str, int, int, str]:
    """Read line number, title, numbers of atoms and bonds, and kind of charges."""
    start = lines[0].number
    if len(lines) < 5:
        raise FileFormatError(
            f"{path}, line {start}: the header of a structure ends before its fourth line. The file is truncated: "
            "write it again."
        )
    counts = [field for field in lines[2].text.split()[:2] if field.isdecimal()]
    if not counts:
        raise FileFormatError(
            f"{path}, line {lines[2].number}: {lines[2].text.strip()!r} stands where the numbers of atoms and bonds "
            "are expected. The file is damaged: write it again."
        )
    n_atoms, n_bonds = (int(field) for field in (*counts, "0")[:2])
    return start, lines[1].text.strip(), n_atoms, n_bonds, lines[4].text.strip()


def _rows(sections: _Sections, name: str) -> Sequence[_Line]:
    return sections.get(name, [])[1:]


def _read_bonds(
    sections: _Sections, names: Sequence[str], announced: int, path: FilePath
) -> Iterator[tuple[int, int, float | None, str]]:
    rows = _rows(sections, "BOND")
    if len(rows) < announced:
        raise FileFormatError(
            f"{path}, line {sections['MOLECULE'][0].number}: the header announces {announced} bonds, but {len(rows)} "
            "are listed. The file is truncated: write it again."
        )
    if len(rows) > announced:
        logger.warning("%s: the header announces %d bonds, %d are listed and read", path, announced, len(rows))
    if list(names) != [str(number) for number in range(1, len(names) + 1)]:
        line = sections["ATOM"][0].number
        raise FileFormatError(
            f"{path}, line {line}: the atoms are not numbered from 1 to {len(names)}, so bonds cannot be read. The "
            "file is damaged: write it again."
        )
    for line in rows:
        what = f"{path}, line {line.number}"
        _, first, second, order, *_ = [*line.text.split(), "", "", "", ""]
        if order not in _ORDERS:
            raise FileFormatError(
                f"{what}: {line.text.strip()!r} is not a bond: number, two atoms and one of {', '.join(_ORDERS)}. The "
                "file is damaged: write it again."
            )
        yield parse_index(first, len(names), what), parse_index(second, len(names), what), _ORDERS[order], what


def _read_charges(atoms: Sequence[tuple[_Line, Sequence[str]]], path: FilePath) -> Float[np.ndarray, " atoms"] | None:
    stated = [len(fields) > _CHARGE_COLUMN for _, fields in atoms]
    if not any(stated):
        return None
    if not all(stated):
        line = atoms[stated.index(False)][0]
        raise FileFormatError(
            f"{path}, line {line.number}: an atom lacks its charge, which others have. The file is damaged: write it "
            "again."
        )
    return np.concatenate(
        [parse_numbers([fields[_CHARGE_COLUMN]], what=f"{path}, line {line.number}") for line, fields in atoms]
    )


def _element(name: str, type: str, elements: Mapping[str, str], what: str) -> str:
    if type in elements:
        return elements[type]
    stem, _, rest = type.partition(".")
    if (rest or re.fullmatch(r"[A-Z][a-z]?", stem)) and (found := _symbols(stem)[:1]) == [stem]:
        return found[0]
    candidates = [entry for entry in _symbols(name) if entry in _symbols(type)]
    if candidates and (len(candidates) == 1 or candidates[0] in _UNMISTAKABLE):
        return candidates[0]
    choice = " or ".join(candidates) or "none that both can stand for"
    raise FileFormatError(
        f"{what}: the element of the atom {name!r} of type {type!r} is open: {choice}. State it: "
        f"read_mol2(..., elements={{{type!r}: ...}})."
    )


def _symbols(label: str) -> list[str]:
    """List the elements whose symbols a label can begin with, the one of two letters first."""
    letters = re.match(r"[A-Za-z]*", label)
    stem = letters[0] if letters is not None else ""
    found = []
    for length in {min(2, len(stem)), 1}:
        try:
            found.append(symbol(atomic_number(stem[:length])))
        except MoleculeError:
            continue
    return sorted(found, key=len, reverse=True)
