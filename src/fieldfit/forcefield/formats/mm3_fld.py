"""MacroModel force-field files (mm3.fld): a lossless view of every line, and the parameters by line number.

A file is a header, a table of conversion factors (after the line "-1"), a table of type equivalences ("-5"), sections
of parameter rows ("-2") and of van der Waals rows ("-6"), and substructures: a title line " C", a pattern line " 9",
"-2", rows, "-3". Columns, counted from 0::

    rows              0      blank, or a letter: the row is an alternative
                      1      kind, see `COLUMNS_OF_KIND`; "54" in columns 0-1 is the continuation of a torsion to V4-V6
                      4:6 9:11 14:16 19:21   atom tokens, bond symbols "-", "=", "%", "*" at 7, 12, 17
                      23:33 34:44 45:55      numbers
                      56     1 if the row goes on in the next line
                      57:76  context flags, one group of four characters per atom
                      80, 82 origin and quality; 96: comment
    substructures     4:6 8:10 12:14 16:18   atom tokens: a number is an atom of the pattern, counted from 1
    van der Waals     2:4    type; 5:15 16:26 27:37 38:48 numbers; 72:76 flags; 80, 82; 96:

"00" stands for any atom, an element letter with "0" for any atom of the element. A line that repeats the kind and has
flags but neither atoms nor numbers continues the row above it; MacroModel then names the row by its last line. Rows
of hydrogen bonds (kind 7) and the criteria of alternatives (kind A) are kept as they are and not interpreted.

Nothing is lost: `FldFile.text` is the file, byte for byte, and `FldFile.with_values` replaces only the numbers that
change, each within its own columns.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.formats.mm3_columns import NUMBER_COLUMNS, VDW_COLUMNS, Columns, read_number, replace_number
from fieldfit.registry import unknown_name
from fieldfit.typing import FilePath

VDW = "vdw"
"""Kind of the rows of the van der Waals section, which have no code."""

COLUMNS_OF_KIND = {
    "1": ("r0", "k", "moment"),
    "2": ("theta0", "k", "bend_bend"),
    "3": ("k",),
    "4": ("v1", "v2", "v3"),
    "54": ("v4", "v5", "v6"),
    "5": ("angle", "k"),
    "6": ("distance", "epsilon"),
    "8": ("k",),
    VDW: ("radius", "epsilon", "offset", "charge"),
}
"""Names of the numbers of a row, in the order of their columns, by kind."""

ATOMS_OF_KIND = {"1": 2, "2": 3, "3": 3, "4": 4, "54": 4, "5": 4, "6": 2, "8": 4, VDW: 1}
"""Number of atoms that a row names, by kind."""

ATOM_STARTS = (4, 9, 14, 19)
SUBSTRUCTURE_ATOM_STARTS = (4, 8, 12, 16)
BOND_COLUMNS = (7, 12, 17)
ENCODING = "latin-1"
"""Every byte is a character of this encoding, so that whatever a comment holds is written as it was read."""


@dataclass(frozen=True)
class Substructure:
    """A group of atoms that has rows of its own.

    Args:
        title: Its title; "OPT" in it marks rows that are to be fitted.
        pattern: Its atoms and bonds, as in "RH-PX".
        line: Line of the pattern, counted from 1.
    """

    title: str
    pattern: str
    line: int


@dataclass(frozen=True)
class FldRow:
    """A parameter row.

    Args:
        line: Its line counted from 1, the "FF Line" of MacroModel's print-outs; the last one if it has several.
        first_line: The line with its atoms and numbers.
        kind: "1" stretch, "2" bend, "3" stretch-bend, "4" torsion V1-V3, "54" torsion V4-V6, "5" out of plane, "6" van
            der Waals of a pair of types, "8" torsion-stretch, "vdw" van der Waals of a type.
        atoms: Atom tokens.
        bonds: Symbols of the bonds between them; none in substructures and for pairs that are not bonded.
        values: Its numbers by name, in the units of the file; a blank one is 0.
        blank: Names of the numbers that are not written.
        flags: Context that each atom must have, one entry per line of the row.
        select: Origin and quality, as in "O1".
        comment: The comment.
        alternative: Letter of the alternative that it belongs to, or "".
        substructure: The substructure that it belongs to, or None.
    """

    line: int
    first_line: int
    kind: str
    atoms: tuple[str, ...]
    bonds: tuple[str, ...]
    values: Mapping[str, float]
    blank: frozenset[str] = frozenset()
    flags: tuple[tuple[str, ...], ...] = ()
    select: str = ""
    comment: str = ""
    alternative: str = ""
    substructure: Substructure | None = None

    @property
    def name(self) -> str:
        """Name for messages: "line 81 (C3-H1)"."""
        return f"line {self.line} ({'-'.join(self.atoms)})"


@dataclass(frozen=True, eq=False)
class FldFile:
    """A force-field file.

    Args:
        lines: Its lines without their line feeds.
        rows: The parameter rows in order.
        factors: Conversion factors to kJ/mol by term: "STR", "BND", "TOR", "IMP", "S-B", "B-B", "T-S", "VDW", "ELE" ...
        equivalents: Type classes with their members.
    """

    lines: tuple[str, ...]
    rows: tuple[FldRow, ...]
    factors: Mapping[str, float] = field(default_factory=dict)
    equivalents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"FldFile({len(self.lines)} lines, {len(self.rows)} rows)"

    @property
    def text(self) -> str:
        """The whole file; encoded in `ENCODING` it equals the bytes that were read."""
        return "\n".join(self.lines)

    def row(self, line: int) -> FldRow:
        """Return the row of a line, counted from 1 as MacroModel prints it.

        Raises:
            FileFormatError: That line holds no parameters.
        """
        if line not in self._by_line:
            raise FileFormatError(
                f"Line {line} of the force field holds no parameters. Give the file that the print-out was made with."
            )
        return self._by_line[line]

    def general_rows(self, kind: str) -> tuple[FldRow, ...]:
        """Return the rows of a kind that belong to no substructure, in order."""
        return self._general.get(kind, ())

    def factor(self, term: str) -> float:
        """Return the conversion factor of a term to kJ/mol.

        Raises:
            FileFormatError: The header states none.
        """
        if term not in self.factors:
            raise FileFormatError(
                unknown_name("conversion factor in the header of the force field", term, self.factors)
            )
        return self.factors[term]

    def with_values(self, values: Mapping[int, Mapping[str, float]]) -> FldFile:
        """Return the file with new numbers in some rows; everything else stays as it is, byte for byte.

        A number that equals the old one keeps its text. Others are rounded to the decimals of the old one, but to no
        fewer than four where the columns have room.

        Args:
            values: Line of a row, as in `row`, to new numbers by name, in the units of the file.

        Raises:
            FileFormatError: A line holds no parameters, a name is not one of its numbers, or a number does not fit its
                columns or is not finite.
        """
        lines = list(self.lines)
        for line, new in values.items():
            row = self.row(line)
            for name, value in new.items():
                if value != _known(row, name):
                    columns = _columns(row.kind)[name]
                    place = row.first_line - 1
                    lines[place] = replace_number(lines[place], columns, value, what=f"{row.name}: {name}")
        return parse_fld("\n".join(lines))

    def write(self, path: FilePath) -> None:
        """Write the file; an existing one is replaced only once all of it has been written.

        Raises:
            FileFormatError: The file cannot be written.
        """
        target = Path(path)
        scratch = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            scratch.write_bytes(self.text.encode(ENCODING))
            scratch.replace(target)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise FileFormatError(
                f"The force field cannot be written to {str(path)!r}: {error.strerror}. Check the folder."
            ) from error

    @cached_property
    def _by_line(self) -> dict[int, FldRow]:
        return {row.line: row for row in self.rows}

    @cached_property
    def _general(self) -> dict[str, tuple[FldRow, ...]]:
        general = [row for row in self.rows if row.substructure is None]
        return {kind: tuple(row for row in general if row.kind == kind) for kind in COLUMNS_OF_KIND}


def read_fld(path: FilePath) -> FldFile:
    """Read a MacroModel force field.

    Args:
        path: Where the file is.

    Returns:
        The file.

    Raises:
        FileFormatError: The file is missing, holds no parameters, or has a line that cannot be read.
    """
    try:
        text = Path(path).read_bytes().decode(ENCODING)
    except OSError as error:
        raise FileFormatError(
            f"The force field {str(path)!r} cannot be read: {error.strerror}. Check the path."
        ) from error
    try:
        parsed = parse_fld(text)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    if not parsed.rows:
        raise FileFormatError(f"{path}: there are no parameter rows. Give a force-field file of MacroModel.")
    return parsed


def parse_fld(text: str) -> FldFile:
    """Interpret the text of a MacroModel force field.

    Raises:
        FileFormatError: A line cannot be read.
    """
    lines = tuple(text.split("\n"))
    parser = _Parser()
    for number, line in enumerate(lines, 1):
        parser.read(number, line.rstrip())
    return FldFile(lines, tuple(parser.rows), parser.factors, parser.equivalents)


class _Parser:
    """Reads a file line by line; the marks that open and close sections say what a line is."""

    def __init__(self) -> None:
        self.rows: list[FldRow] = []
        self.factors: dict[str, float] = {}
        self.equivalents: dict[str, tuple[str, ...]] = {}
        self._section = ""
        self._title = ""
        self._substructure: Substructure | None = None

    def read(self, number: int, line: str) -> None:
        if line[:2] in ("-1", "-2", "-3", "-5", "-6"):
            self._section = line[:2]
            if self._section == "-3":
                self._substructure = None
        elif line[:2] == " C" and self._section in ("", "-3"):
            self._title = line[2:].strip()
        elif line[:2] == " 9" and self._section in ("", "-3"):
            self._substructure = Substructure(self._title, line[2:].strip(), number)
        elif self._section == "-1":
            self._read_factor(number, line)
        elif self._section == "-5":
            self._read_equivalence(line)
        elif self._section == "-6":
            self._read_vdw(number, line)
        elif self._section == "-2":
            self._read_row(number, line)

    def _read_factor(self, number: int, line: str) -> None:
        words = line.split()
        if words[:1] == ["0"] and len(words) == 4 and words[1] != "SEL":
            self.factors[words[1]] = read_number(line, Columns(line.rfind(words[3]), len(line)), f"line {number}")

    def _read_equivalence(self, line: str) -> None:
        words = line.split()
        if len(words) > 2 and words[0].isdigit():
            self.equivalents[words[1]] = tuple(words[2:])

    def _read_vdw(self, number: int, line: str) -> None:
        if line.startswith(" END"):
            self._section = ""
        elif line[:2] == "  " and line.strip():
            self.rows.append(_parse_row(number, line, VDW, (line[2:4].strip(),), ()))

    def _read_row(self, number: int, line: str) -> None:
        kind = "54" if line[:2] == "54" else line[1:2]
        if kind not in COLUMNS_OF_KIND:
            return
        starts = ATOM_STARTS if self._substructure is None else SUBSTRUCTURE_ATOM_STARTS
        count = ATOMS_OF_KIND[kind]
        atoms = tuple(line[start : start + 2].strip() for start in starts[:count])
        if not any(atoms) and not line[22:55].strip() and self.rows and self.rows[-1].kind == kind:
            last = self.rows.pop()
            self.rows.append(replace(last, line=number, flags=(*last.flags, _flags(line, last.kind))))
            return
        is_bonded = self._substructure is None and kind != "6"
        bonds = tuple(line[column : column + 1].strip() for column in BOND_COLUMNS[: count - 1]) if is_bonded else ()
        row = _parse_row(number, line, kind, atoms, bonds)
        alternative = "" if kind == "54" else line[0].strip()
        self.rows.append(replace(row, alternative=alternative, substructure=self._substructure))


def _parse_row(number: int, line: str, kind: str, atoms: tuple[str, ...], bonds: tuple[str, ...]) -> FldRow:
    if not all(atoms):
        named = len([atom for atom in atoms if atom])
        raise FileFormatError(
            f"Line {number} names {named} atoms, but a row of kind {kind} has {len(atoms)}: {line.strip()!r}. "
            "Correct its columns."
        )
    columns = _columns(kind)
    values = {name: read_number(line, place, f"line {number}") for name, place in columns.items()}
    blank = frozenset(name for name, place in columns.items() if not line[place.start : place.stop].strip())
    select, comment = line[80:83].replace(" ", ""), line[96:].strip()
    return FldRow(number, number, kind, atoms, bonds, values, blank, (_flags(line, kind),), select, comment)


def _columns(kind: str) -> dict[str, Columns]:
    return dict(zip(COLUMNS_OF_KIND[kind], VDW_COLUMNS if kind == VDW else NUMBER_COLUMNS, strict=False))


def _known(row: FldRow, name: str) -> float:
    if name not in row.values:
        raise FileFormatError(unknown_name(f"number of {row.name}", name, row.values))
    return row.values[name]


def _flags(line: str, kind: str) -> tuple[str, ...]:
    return tuple((line[72:76] if kind == VDW else line[57:76]).split())
