"""The same rows in two MacroModel force-field files.

Versions of a force field differ in their numbers, but often in their line numbers too, where a row was added above or
the file holds no more than a substructure. A row is therefore recognised by its content: kind, alternative, atoms,
bonds and context flags, and by its place among several that are equal in all of these. The general rows of a file and
the rows of a substructure, known by its pattern whatever its title says, are compared as a whole: a file either has all
of them or has nothing to say about them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.formats.mm3_fld import FldFile, FldRow

_Key = tuple[object, ...]


def counterparts(template: FldFile, other: FldFile) -> dict[int, FldRow]:
    """Find the rows of a force-field file in another one.

    Args:
        template: The file.
        other: The other file; it may have more rows, or hold some of the substructures only.

    Returns:
        Line of a row in the template to that row in the other file. General rows, or rows of substructures, that the
        other file has nothing to say about are absent.

    Raises:
        FileFormatError: The files have no rows in common, some rows of a substructure (or some general ones) are
            missing in the other file or leave another number blank, or conversion factors differ.
    """
    _check_factors(template, other)
    ours, theirs = _groups(template), _groups(other)
    shared = [group for group in ours if group in theirs]
    if not shared:
        raise FileFormatError(
            f"The two force fields have neither general rows nor the pattern of a substructure in common, such as "
            f"{next(iter(ours), 'any')!r}. Give another version of the same force field."
        )
    found = {}
    for group in shared:
        for key, row in ours[group].items():
            found[row.line] = _same(row, theirs[group].get(key), group)
    return found


def _same(row: FldRow, other: FldRow | None, group: str) -> FldRow:
    where = f"the substructure {group!r}" if group else "the general rows"
    if other is None:
        raise FileFormatError(
            f"Row {row.name} of the template is not among {where} of the other force field, which has others of "
            "them. Give another version of the same force field."
        )
    if row.substructure is not None and other.blank != row.blank:
        name = min(row.blank ^ other.blank)
        raise FileFormatError(
            f"{name} is blank in one of {row.name} of the template and {other.name} of the other force field, and "
            "then a general row is in force. Write the same numbers in both."
        )
    return other


def _groups(fld: FldFile) -> Mapping[str, Mapping[_Key, FldRow]]:
    """Return rows by their content, for the general rows, "", and each pattern of a substructure."""
    seen: Counter[_Key] = Counter()
    groups: dict[str, dict[_Key, FldRow]] = {}
    for row in fld.rows:
        group = "" if row.substructure is None else row.substructure.pattern
        content = (row.kind, row.alternative, row.atoms, row.bonds, row.flags)
        groups.setdefault(group, {})[*content, seen[group, *content]] = row
        seen[group, *content] += 1
    return groups


def _check_factors(template: FldFile, other: FldFile) -> None:
    for term, factor in template.factors.items():
        if other.factors.get(term, factor) != factor:
            raise FileFormatError(
                f"The conversion factor {term} is {factor:g} in the template and {other.factors[term]:g} in the other "
                "force field. Give a file with the same header."
            )
