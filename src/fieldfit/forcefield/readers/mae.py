"""Structures in Maestro format (.mae), one or several per file.

A file consists of blocks, `name { properties ::: values }`: names of properties, then as many values in the same order,
then further blocks. A block `name[count] { properties ::: rows ::: }` is a table, whose rows begin with their number.
Values stand apart; one with blanks is quoted, with a backslash before a quote; `<>` is a missing one. Text between two
"#" is a comment. The order of properties is free, and what a reader does not know it passes over.

A structure is a block `f_m_ct` with the tables `m_atom` (i_m_mmod_type, r_m_x_coord [A], i_m_atomic_number,
r_m_charge1 [e] ...) and `m_bond` (i_m_from, i_m_to, i_m_order; order zero joins metals to their ligands). Atom types
are MacroModel's, as numbers; their names are in MacroModel's file atom.typ.

References:
    Schrodinger, LLC, maeparser, https://github.com/schrodinger/maeparser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.elements import symbol
from fieldfit.forcefield.readers.reader import parse_numbers, read_text
from fieldfit.forcefield.readers.structure import Structure, parse_index, unique_bonds
from fieldfit.typing import FilePath

_TOKEN = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<comment>#[^#]*#?)|(?P<plain>[^\s"]\S*)|(?P<odd>")')
_TABLE = re.compile(r"(?P<name>\w+)\[(?P<count>\d+)\]")
_COORDINATES = ("r_m_x_coord", "r_m_y_coord", "r_m_z_coord")
_TYPE, _NUMBER, _CHARGE, _TITLE = "i_m_mmod_type", "i_m_atomic_number", "r_m_charge1", "s_m_title"
_BOND = ("i_m_from", "i_m_to", "i_m_order")
_SEPARATOR, _MISSING = ":::", "<>"


class _Token(NamedTuple):
    line: int
    text: str
    is_quoted: bool = False

    def stands_for(self, mark: str) -> bool:
        return self.text == mark and not self.is_quoted


class _Row(NamedTuple):
    line: int
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class _Table:
    line: int
    columns: tuple[str, ...]
    rows: tuple[_Row, ...]


@dataclass(frozen=True)
class _Block:
    name: str
    line: int
    values: dict[str, str | None]
    tables: dict[str, _Table] = field(default_factory=dict)


def read_mae(path: FilePath) -> tuple[Structure, ...]:
    """Read structures in Maestro format.

    Args:
        path: Where the file is.

    Returns:
        The structures in order; their atom types are MacroModel's numbers.

    Raises:
        FileFormatError: The file is missing, truncated or contradicts itself.
        MoleculeError: An atomic number is beyond lawrencium, or a number is not finite.
    """
    tokens = _tokens(read_text(path), path)
    blocks = []
    while not (token := next(tokens)).stands_for(""):
        name = "" if token.stands_for("{") else token.text
        if name:
            _expect(next(tokens), "{", path)
        blocks.append(_read_block(name, token.line, tokens, path))
    _check_blocks(blocks, path)
    return tuple(_structure(block, path) for block in blocks if block.name == "f_m_ct")


def _tokens(text: str, path: FilePath) -> Iterator[_Token]:
    """Split the file into words; after the last one, empty words without end."""
    number = 0
    for number, line in enumerate(text.split("\n"), 1):
        for match in _TOKEN.finditer(line):
            if match["odd"]:
                raise FileFormatError(
                    f"{path}, line {number}: a quote is not closed: {line.strip()!r}. The file is damaged: write it "
                    "again."
                )
            if match["quoted"] is not None:
                yield _Token(number, re.sub(r"\\(.)", r"\1", match["quoted"]), is_quoted=True)
            elif match["plain"]:
                yield _Token(number, match["plain"])
    while True:
        yield _Token(number, "")


def _expect(token: _Token, mark: str, path: FilePath) -> None:
    if not token.stands_for(mark):
        raise FileFormatError(
            f"{path}, line {token.line}: {token.text or 'the end of the file'!r} stands where {mark!r} is expected. "
            "The file is truncated or damaged: write it again."
        )


def _words(tokens: Iterator[_Token], path: FilePath) -> Iterator[_Token]:
    """Take words up to the separator."""
    for token in tokens:
        if token.stands_for(_SEPARATOR):
            return
        if not token.is_quoted and token.text in ("", "{", "}"):
            _expect(token, _SEPARATOR, path)
        yield token


def _value(token: _Token, what: str, path: FilePath) -> str | None:
    if not token.is_quoted and token.text in ("", "{", "}", _SEPARATOR):
        raise FileFormatError(
            f"{path}, line {token.line}: {token.text or 'the end of the file'!r} stands where {what} is expected. The "
            "file is truncated, or a value is missing: write it again."
        )
    return None if token.stands_for(_MISSING) else token.text


def _read_block(name: str, line: int, tokens: Iterator[_Token], path: FilePath) -> _Block:
    names = [token.text for token in _words(tokens, path)]
    values = {entry: _value(next(tokens), f"the value of {entry}", path) for entry in names}
    tables = {}
    while not (token := next(tokens)).stands_for("}"):
        table = _TABLE.fullmatch(token.text)
        _value(token, f"a block or the end of {name or 'a block'}", path)
        _expect(next(tokens), "{", path)
        if table is not None:
            tables[table["name"]] = _read_table(token, int(table["count"]), tokens, path)
        else:
            _read_block(token.text, token.line, tokens, path)
    return _Block(name, line, values, tables)


def _read_table(heading: _Token, count: int, tokens: Iterator[_Token], path: FilePath) -> _Table:
    columns = tuple(token.text for token in _words(tokens, path))
    rows = []
    for number in range(1, count + 1):
        label = next(tokens)
        if not label.stands_for(str(number)):
            _expect(label, str(number), path)
        values = tuple(_value(next(tokens), f"{name} of row {number} of {heading.text}", path) for name in columns)
        rows.append(_Row(label.line, values))
    end = next(tokens)
    _expect(end, _SEPARATOR, path)
    while not (token := next(tokens)).stands_for("}"):  # tables of tables are passed over
        _value(token, f"the end of {heading.text}", path)
        _expect(next(tokens), "{", path)
        nested = _TABLE.fullmatch(token.text)
        if nested is not None:
            _read_table(token, int(nested["count"]), tokens, path)
    return _Table(heading.line, columns, tuple(rows))


def _check_blocks(blocks: Sequence[_Block], path: FilePath) -> None:
    partial = [block for block in blocks if block.name == "p_m_ct"]
    if partial:
        raise FileFormatError(
            f"{path}, line {partial[0].line}: a partial structure (p_m_ct) says only what differs from the one before. "
            "Write the file with complete structures (f_m_ct)."
        )
    if not any(block.name == "f_m_ct" for block in blocks):
        raise FileFormatError(f"{path}: there is no block f_m_ct. Give a Maestro file with a structure.")


def _structure(block: _Block, path: FilePath) -> Structure:
    if "m_atom" not in block.tables:
        raise FileFormatError(
            f"{path}, line {block.line}: the structure has no table m_atom. The file is damaged: write it again."
        )
    atoms = block.tables["m_atom"]
    count = len(atoms.rows)
    bonds = unique_bonds(_read_bonds(block.tables["m_bond"], count, path)) if "m_bond" in block.tables else ((), ())
    positions = [_numbers(atoms, name, path) for name in _COORDINATES]
    return Structure(
        name=block.values.get(_TITLE) or Path(path).stem,
        symbols=tuple(_element(text, f"{path}, line {line}") for line, text in _column(atoms, _NUMBER, path)),
        types=tuple(text for _, text in _column(atoms, _TYPE, path)),
        coordinates=np.array(positions).reshape(3, count).T,
        bonds=bonds[0],
        orders=bonds[1],
        charges=_numbers(atoms, _CHARGE, path) if _CHARGE in atoms.columns else None,
    )


def _element(number: str, what: str) -> str:
    if not number.isdecimal() or int(number) == 0:
        raise FileFormatError(
            f"{what}: {number!r} is not the atomic number of an element. Remove dummy atoms and lone pairs."
        )
    return symbol(int(number))


def _column(table: _Table, name: str, path: FilePath) -> Iterator[tuple[int, str]]:
    """List a column as lines and values."""
    if name not in table.columns:
        raise FileFormatError(
            f"{path}, line {table.line}: the table has no column {name}. Write the file again, with all properties."
        )
    place = table.columns.index(name)
    for row in table.rows:
        value = row.values[place]
        if value is None:
            raise FileFormatError(f"{path}, line {row.line}: {name} is missing (<>). Write the file again.")
        yield row.line, value


def _numbers(table: _Table, name: str, path: FilePath) -> np.ndarray:
    return np.array(
        [parse_numbers([text], what=f"{path}, line {line}: {name}")[0] for line, text in _column(table, name, path)]
    )


def _read_bonds(table: _Table, count: int, path: FilePath) -> Iterator[tuple[int, int, float | None, str]]:
    columns = [list(_column(table, name, path)) for name in _BOND]
    for (line, first), (_, second), (_, order) in zip(*columns, strict=True):
        what = f"{path}, line {line}"
        order_number = float(parse_numbers([order], what=f"{what}: i_m_order")[0])
        yield parse_index(first, count, what), parse_index(second, count, what), order_number, what
