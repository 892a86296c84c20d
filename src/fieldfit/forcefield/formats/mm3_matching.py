"""Which rows of a MacroModel force field fit which atoms of a molecule.

MacroModel's print-outs name the rows of stretches, bends and torsions, but not those of stretch-bends,
torsion-stretches and van der Waals terms, nor the direction in which a row was applied. Both follow from these rules:

- An atom token fits a type that is equal to it, that belongs to the class of this name, or, with "0" as its second
  character or with one character only, any type of that element; "00" fits every type.
- The bond symbol "*" fits every bond but those of order zero, which have the symbol "." in patterns of substructures.
- Two characters of a context flag are a neighbour that an atom must have besides those in the row. (What a second line
  of flags asks of that neighbour is not looked at.)
- A number is an atom of the substructure, so its pattern must fit with that atom in that place.
- Of several rows that fit, the first one in the file counts.
- Where a row of a substructure leaves a number blank, that of the row which would act outside of it stays in force.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.formats.mm3_fld import FldFile, FldRow, Substructure

ANY = "00"
ANY_BOND = "*"
ZERO_ORDER = "."
_PATTERN = re.compile(r"(?P<bond>[-=%*.])?(?:(?P<atom>00|[A-Z][A-Za-z0-9]?)|(?P<ring>\d+))|(?P<branch>[()])")


@dataclass(frozen=True)
class TypedGraph:
    """Atoms with their types and bonds as MacroModel sees them.

    Args:
        types: Atom types; for each atom its own, and whatever else its atom is called in the force field.
        attached: Neighbours of each atom with the symbols of the bonds: "-", "=", "%", or "" for order zero.
    """

    types: tuple[tuple[str, ...], ...]
    attached: tuple[Mapping[int, str], ...]


@dataclass(frozen=True)
class Pattern:
    """The atoms and bonds of a substructure.

    Args:
        atoms: Atom tokens.
        bonds: For each atom its bonds to atoms before it: their numbers, counted from 0, with bond symbols.
    """

    atoms: tuple[str, ...]
    bonds: tuple[Mapping[int, str], ...]


def find_row(fld: FldFile, kind: str, atoms: Sequence[int], graph: TypedGraph) -> FldRow | None:
    """Return the first row of a kind, outside of substructures, that fits some atoms in either direction."""
    return next((row for row in fld.general_rows(kind) if directions(fld, row, atoms, graph)), None)


def directions(fld: FldFile, row: FldRow, atoms: Sequence[int], graph: TypedGraph) -> tuple[tuple[int, ...], ...]:
    """Return the atoms in the order of a row, in those of the two directions in which the row fits them."""
    orders = dict.fromkeys((tuple(atoms), tuple(reversed(atoms))))
    return tuple(order for order in orders if _fits(fld, row, order, graph))


def occurs(fld: FldFile, substructure: Substructure, graph: TypedGraph) -> bool:
    """Tell whether the pattern of a substructure fits anywhere."""
    return _occurs(fld, parse_pattern(substructure.pattern), {}, graph)


def row_in_force(fld: FldFile, row: FldRow, name: str, atoms: Sequence[int], graph: TypedGraph) -> FldRow | None:
    """Return the row whose number of a name is in force where a row acts on some atoms; None if there is none.

    It is the row itself, unless this belongs to a substructure and leaves the number blank.
    """
    return row if name not in row.blank or row.substructure is None else find_row(fld, row.kind, atoms, graph)


@functools.cache
def parse_pattern(text: str) -> Pattern:
    """Read the pattern of a substructure, such as "HX-RH(-PX)-HX.C2*C2(.2)-N2-C2=O2.2".

    A bond leads to the atom before it, or to that before the parenthesis; a number instead of an atom closes a ring.

    Raises:
        FileFormatError: It is not such a pattern.
    """
    atoms: list[str] = []
    bonds: list[dict[int, str]] = []
    last, open_branches, end = -1, [], 0
    for match in _PATTERN.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        if match["branch"] == "(":
            open_branches.append(last)
        elif match["branch"] and open_branches:
            last = open_branches.pop()
        elif match["ring"] and 0 < int(match["ring"]) <= last:
            bonds[last][int(match["ring"]) - 1] = match["bond"] or ANY_BOND
        elif match["atom"]:
            bonds.append({last: match["bond"] or ANY_BOND} if atoms else {})
            atoms.append(match["atom"])
            last = len(atoms) - 1
    if end != len(text) or open_branches or not atoms:
        raise FileFormatError(f"The pattern {text!r} of a substructure cannot be read. Correct its line.")
    return Pattern(tuple(atoms), tuple(bonds))


def _fits(fld: FldFile, row: FldRow, atoms: tuple[int, ...], graph: TypedGraph) -> bool:
    # What fails most often comes first: a molecule meets hundreds of rows per angle.
    for token, atom in zip(row.atoms, atoms, strict=True):
        if not _is_number(token) and not _token_fits(fld, token, graph.types[atom]):
            return False
    for symbol, (i, j) in zip(row.bonds, pairwise(atoms), strict=False):
        if not _bond_fits(symbol, graph.attached[i].get(j)):
            return False
    for flag, atom in zip(row.flags[0], atoms, strict=False):
        if not _flag_fits(fld, flag, [graph.types[k] for k in graph.attached[atom] if k not in atoms]):
            return False
    numbered = {int(token) - 1: atom for token, atom in zip(row.atoms, atoms, strict=True) if _is_number(token)}
    return not numbered or _pattern_fits(fld, row, numbered, graph)


def _is_number(token: str) -> bool:
    return token.isdigit() and token != ANY


def _token_fits(fld: FldFile, token: str, types: Sequence[str]) -> bool:
    if token == ANY or token in types:
        return True
    members = fld.equivalents.get(token, ())
    element = token[0] if token[1:] in ("", "0") else None
    return any(name in members or (name[0] == element and not name[1:].islower()) for name in types)


def _bond_fits(symbol: str, found: str | None) -> bool:
    """Tell whether a bond symbol fits a bond; `found` is "" for a bond of order zero and None if there is no bond."""
    if symbol == ANY_BOND:
        return bool(found)
    return found == ("" if symbol == ZERO_ORDER else symbol)


def _flag_fits(fld: FldFile, flag: str, neighbours: Sequence[Sequence[str]]) -> bool:
    """Tell whether the two neighbours that a flag asks for, "00" for none, are among the types of the neighbours."""
    wanted = [token for token in (flag[:2], flag[2:]) if token != ANY]
    return any(
        all(_token_fits(fld, token, types) for token, types in zip(wanted, chosen, strict=True))
        for chosen in permutations(neighbours, len(wanted))
    )


def _pattern_fits(fld: FldFile, row: FldRow, numbered: Mapping[int, int], graph: TypedGraph) -> bool:
    """Tell whether the pattern of a row's substructure fits with some of its atoms in given places."""
    if row.substructure is None:
        raise FileFormatError(f"{row.name} numbers its atoms, but belongs to no substructure. Correct the line.")
    pattern = parse_pattern(row.substructure.pattern)
    if max(numbered) >= len(pattern.atoms):
        raise FileFormatError(
            f"{row.name} names atom {max(numbered) + 1}, but the pattern {row.substructure.pattern!r} has "
            f"{len(pattern.atoms)}. Correct the line."
        )
    # Most atoms fail by their types; the search comes last.
    return all(_token_fits(fld, pattern.atoms[k], graph.types[atom]) for k, atom in numbered.items()) and _occurs(
        fld, pattern, numbered, graph
    )


def _occurs(fld: FldFile, pattern: Pattern, numbered: Mapping[int, int], graph: TypedGraph) -> bool:
    """Tell whether a pattern occurs with some of its atoms in given places."""

    def extends(placed: tuple[int, ...]) -> bool:
        number = len(placed)
        if number == len(pattern.atoms):
            return True
        return any(extends((*placed, atom)) for atom in candidates(placed, number) if fits(placed, number, atom))

    def candidates(placed: tuple[int, ...], number: int) -> Iterable[int]:
        if number in numbered:
            return (numbered[number],)
        earlier = next(iter(pattern.bonds[number]), None)
        return range(len(graph.types)) if earlier is None else graph.attached[placed[earlier]]

    def fits(placed: tuple[int, ...], number: int, atom: int) -> bool:
        return (
            atom not in placed
            and _token_fits(fld, pattern.atoms[number], graph.types[atom])
            and all(_bond_fits(bond, graph.attached[atom].get(placed[k])) for k, bond in pattern.bonds[number].items())
        )

    return extends(())
