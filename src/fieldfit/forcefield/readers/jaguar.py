"""What Jaguar's input and output files have in common: sections, keywords, atom labels and masses.

A section is begun by `&name` and ended by `&` (or both by `$`), whatever the case of the name. The section `&gen`
holds keywords with their values; blanks, commas and equals signs separate, `!` begins a comment. An atom label begins
with the symbol of the element, in either case and two letters if they make a symbol: HE5 is helium, C_A carbon.

Jaguar uses the masses of the most abundant isotopes unless it is told otherwise.

References:
    Jaguar User Manual, "The Jaguar Input File".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError, MoleculeError
from fieldfit.forcefield.elements import atomic_number, symbol
from fieldfit.forcefield.readers.reader import parse_numbers
from fieldfit.typing import FilePath

_START = re.compile(r"\s*[&$](?P<name>[A-Za-z]\w*)(?P<rest>.*)")
_GHOST = "@"


class Section(NamedTuple):
    """A section of an input file: the line of its name, and its lines with their numbers."""

    line: int
    rows: tuple[tuple[int, str], ...]


def parse_sections(text: str, path: FilePath) -> dict[str, Section]:
    """Split an input file into its sections.

    Args:
        text: The file; what is outside of sections is left out.
        path: Where it is, for messages.

    Returns:
        Sections by name in lower case; lines that are empty are left out.

    Raises:
        FileFormatError: A section is not ended or occurs twice.
    """
    sections: dict[str, Section] = {}
    name, start, rows = None, 0, []
    for number, line in enumerate(text.split("\n"), 1):
        begun = _START.match(line)
        if begun is not None:
            _check_begin(begun["name"].lower(), name, start, sections, f"{path}, line {number}")
            name, start, rows, line = begun["name"].lower(), number, [], begun["rest"]
        if name is None:
            continue
        content = line.strip()
        is_end = content.endswith(("&", "$"))
        if content.rstrip("&$"):
            rows.append((number, content.rstrip("&$")))
        if is_end:
            sections[name] = Section(start, tuple(rows))
            name = None
    if name is not None:
        raise FileFormatError(
            f"{path}: the section &{name}, begun in line {start}, is not ended by a line '&'. "
            "The file is truncated: copy it again."
        )
    return sections


def parse_keywords(section: Section, path: FilePath) -> dict[str, str]:
    """Read the keywords of `&gen`.

    Args:
        section: The section.
        path: File, for messages.

    Returns:
        Values by keyword, both in lower case.

    Raises:
        FileFormatError: A keyword has no value.
    """
    text = " ".join(row.partition("!")[0] for _, row in section.rows).lower()
    words = re.split(r"[\s=,]+", text.strip(" \t=,"))
    if len(words) % 2 and words != [""]:
        raise FileFormatError(
            f"{path}, line {section.line}: the section &gen does not consist of keywords with one value each. "
            "The file is damaged: copy it again."
        )
    return dict(zip(words[::2], words[1::2], strict=False))


def parse_atoms(
    rows: Iterable[tuple[int, str]], path: FilePath
) -> tuple[tuple[str, ...], Float[np.ndarray, "atoms 3"]]:
    """Read a geometry.

    Args:
        rows: Lines with their numbers: label and Cartesian coordinates of an atom.
        path: File, for messages.

    Returns:
        Element symbols, and coordinates in the unit of the file, shape (atoms, 3).

    Raises:
        FileFormatError: A line is something else.
    """
    symbols, coordinates = [], []
    for number, row in rows:
        label, *fields = row.split()
        if len(fields) != 3:
            raise FileFormatError(
                f"{path}, line {number}: {row.strip()!r} is not an atom label with three Cartesian coordinates. The "
                "file is damaged, or gives a Z-matrix: read the restart file (.01.in), which has Cartesian coordinates."
            )
        symbols.append(label_symbol(label, f"{path}, line {number}"))
        coordinates.append(parse_numbers(fields, what=f"{path}, line {number}"))
    return tuple(symbols), np.array(coordinates).reshape(-1, 3)


def label_symbol(label: str, what: str) -> str:
    """Find the element of an atom label.

    Args:
        label: Atom label: "Rh1", "HE5".
        what: File and line, for messages.

    Returns:
        The element symbol.

    Raises:
        FileFormatError: The label begins with no symbol, or the atom is a ghost, marked by "@".
    """
    letters = re.match(r"[A-Za-z]*", label)
    if letters is not None and _GHOST not in label:
        for length in (2, 1):
            try:
                return symbol(atomic_number(letters[0][:length]))
            except MoleculeError:
                continue
    raise FileFormatError(
        f"{what}: the atom label {label!r} does not stand for a real atom. Remove dummy and ghost atoms (X, @)."
    )


def parse_integer(field: str, what: str) -> int:
    """Read a whole number.

    Args:
        field: The printed number.
        what: File and quantity, for messages.

    Returns:
        The number.

    Raises:
        FileFormatError: The field is something else.
    """
    if re.fullmatch(r"[-+]?[0-9]+", field) is None:
        raise FileFormatError(f"{what} is {field!r}, not a whole number. The file is damaged: copy it again.")
    return int(field)


def refuse_other_masses(sections: Mapping[str, Section], keywords: Mapping[str, str], path: FilePath) -> None:
    """Refuse an input that asks for other masses than those of the most abundant isotopes.

    Args:
        sections: Sections of the file.
        keywords: Keywords of `&gen`.
        path: File, for messages.

    Raises:
        FileFormatError: `&atomic` has a column of masses or isotopes, or `massav` is set.
    """
    words = {word.lower(): number for number, row in _rows(sections, "atomic") for word in row.split()}
    asked = [f"&atomic, line {words[word]}" for word in ("mass", "isotope") if word in words]
    if keywords.get("massav", "0") != "0":
        asked.append(f"massav={keywords['massav']}")
    if asked:
        raise FileFormatError(
            f"{path}: other masses than those of the most abundant isotopes are asked for ({', '.join(asked)}), which "
            "are not read. Read the file without that, and give the masses to the record with dataclasses.replace."
        )


def _rows(sections: Mapping[str, Section], name: str) -> tuple[tuple[int, str], ...]:
    return sections[name].rows if name in sections else ()


def _check_begin(name: str, current: str | None, start: int, sections: Mapping[str, Section], what: str) -> None:
    if current is not None:
        raise FileFormatError(
            f"{what}: the section &{name} begins before the section &{current} of line {start} is ended by a line '&'. "
            "The file is damaged: copy it again."
        )
    if name in sections:
        raise FileFormatError(
            f"{what}: there is a second section &{name}, the first one being in line {sections[name].line}. "
            "Give one job per file."
        )
