"""AMBER parameter file, as LEaP reads it with `loadAmberParams`: kcal/mol, angstrom, degrees, E = k x^2 without a half.

    section    columns                                      content
    MASS       A2, 2X, F10, 1X, F10                         mass [u], polarizability (0: not known)
    BOND       A2-A2, F10, F10                              k [kcal/mol/A^2], length [A]
    ANGLE      A2-A2-A2, F10, F10                           k [kcal/mol/rad^2], angle [deg]
    DIHE       A2-A2-A2-A2, I4, F15, F15, F15               divisor 1, k [kcal/mol], phase [deg], periodicity
    IMPROPER   empty
    NONBON     2X, A2, 6X, F10, F10                         radius and depth, both 0

Values have as many digits as the columns hold, so the file describes the force field to about seven digits. The terms
of one dihedral stand on consecutive lines; a negative periodicity says that another one follows.

Only the harmonic family is AMBER's. Its improper is one dihedral in an order that LEaP chooses, not the mean over three
of the out-of-plane term, so a force field with an out-of-plane term that is not zero has no frcmod file.

Atom types have two characters. Shorter ones are kept; longer ones get names of their first letter and a second
character that is free, in alphabetical order, and each line of MASS names the original. "X" means any atom and is
renamed too. LEaP has to be told the elements (`addAtomTypes`), and the residue needs the names in this file.

LEaP demands parameters that fieldfit does not have. Dihedrals without a row are written with k = 0. A valence-only
force field has no van der Waals terms, so these are zero as well. Load the file without another force field, whose
wildcards and impropers would add terms to these.

References:
    AMBER file formats, https://ambermd.org/FileFormats.php, "parm.dat" and "frcmod".
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats.format import AbstractFormat, FormatTraits, integer_periodicity
from fieldfit.forcefield.formats.masses import type_masses
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.row import Row, canonical
from fieldfit.forcefield.topology import internal_coordinates

TITLE_LENGTH = 80
"""Columns of the title, FORMAT(20A4)."""

_USABLE_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9*+]?")
_WILDCARD = "X"


@dataclass(frozen=True)
class AmberFrcmod(AbstractFormat):
    """AMBER frcmod file; see the module docstring for columns and conventions."""

    traits = FormatTraits(
        suffix=".frcmod",
        forms=frozenset({"harmonic_bond", "harmonic_angle", "cosine_torsion"}),
        is_assigned_by_type=True,
    )

    def render(self, force_field: ForceField, molecules: Sequence[Molecule]) -> str:
        names = amber_types(force_field.elements)
        masses = type_masses(force_field, molecules)
        sections = {
            "MASS": [_mass_line(names[kind], mass, kind, force_field.elements[kind]) for kind, mass in masses.items()],
            "BOND": [_harmonic_line(row, names) for row in force_field.rows if row.kind == "bond"],
            "ANGLE": [_harmonic_line(row, names) for row in force_field.rows if row.kind == "angle"],
            "DIHE": _dihedral_lines(force_field, molecules, names),
            "IMPROPER": [],
            "NONBON": [f"  {names[kind]:<2}      {0.0:10.4f}{0.0:10.4f}  none: valence-only" for kind in masses],
        }
        title = " ".join(f"fieldfit, valence-only: {force_field.name}".split())[:TITLE_LENGTH]
        return "\n".join([title, *("\n".join([name, *lines, ""]) for name, lines in sections.items())]) + "\n"


def amber_types(types: Iterable[str]) -> dict[str, str]:
    """Give every atom type a name of at most two characters.

    Args:
        types: Atom types.

    Returns:
        Atom type to AMBER type, different for different types; the same for the same set of types in any order.

    Raises:
        ForceFieldError: There are more types than names.

    Example:
        >>> amber_types(["C1", "C10", "H"])
        {'C1': 'C1', 'C10': 'C0', 'H': 'H'}
    """
    ordered = sorted(types)
    names = {kind: kind for kind in ordered if _USABLE_TYPE.fullmatch(kind) and kind != _WILDCARD}
    taken = set(names)
    for kind in ordered:
        if kind not in names:
            names[kind] = _free_name(kind, taken)
            taken.add(names[kind])
    return {kind: names[kind] for kind in ordered}


def _free_name(kind: str, taken: set[str]) -> str:
    letters = [letter for letter in kind[:1] if letter in string.ascii_letters] + list(string.ascii_letters)
    for first, second in itertools.product(letters, string.digits + string.ascii_letters):
        if first + second not in taken:
            return first + second
    raise ForceFieldError(
        f"No AMBER name of two characters is left for the atom type {kind!r} after {len(taken)} others. "
        "Write fieldfit-toml or openmm-xml."
    )


def _mass_line(name: str, mass: float, kind: str, element: str) -> str:
    return f"{name:<2}  {_number(mass, 10)} {0.0:10.3f}  {kind}, element {element}"


def _harmonic_line(row: Row, names: Mapping[str, str]) -> str:
    k, equilibrium = row.values.values()
    return f"{_joined(row.types, names)}{_number(k, 10)}{_number(equilibrium, 10)}"


def _dihedral_lines(force_field: ForceField, molecules: Sequence[Molecule], names: Mapping[str, str]) -> list[str]:
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for row in force_field.rows:
        if row.kind == "torsion":
            grouped.setdefault(row.types, []).append(row)
    lines = []
    for group in grouped.values():
        for row in group:
            periodicity = integer_periodicity(row) * (1 if row is group[-1] else -1)
            lines.append(_dihedral_line(row.types, names, row.values["k"], row.constants["phase"], periodicity))
    without_row = dict.fromkeys(types for types in _torsion_types(molecules) if types not in grouped)
    return lines + [_dihedral_line(types, names, 0.0, 0.0, 1) for types in without_row]


def _torsion_types(molecules: Sequence[Molecule]) -> list[tuple[str, ...]]:
    """Return the types of all torsions that LEaP sees, also of those that an angle of 180 degrees leaves undefined."""
    found = []
    for molecule in molecules:
        coordinates = internal_coordinates(molecule)
        for atoms in (*coordinates.torsions, *coordinates.undefined_torsions):
            found.append(canonical("torsion", [molecule.types[atom] for atom in atoms]))
    return found


def _dihedral_line(types: tuple[str, ...], names: Mapping[str, str], k: float, phase: float, periodicity: int) -> str:
    numbers = "".join(_number(value, 15) for value in (k, phase, float(periodicity)))
    return f"{_joined(types, names)}{1:4d}{numbers}"


def _joined(types: Sequence[str], names: Mapping[str, str]) -> str:
    return "-".join(f"{names[kind]:<2}" for kind in types)


def _number(value: float, width: int) -> str:
    """Write a number without exponent, right-justified after at least one blank, with all digits that fit."""
    text = np.format_float_positional(value, trim="0")
    if len(text) >= width:
        decimals = width - 2 - len(f"{value:.0f}")
        if decimals < 1:
            raise ForceFieldError(
                f"The value {value:g} does not fit the {width} columns that AMBER has for it. "
                "Write fieldfit-toml or openmm-xml."
            )
        text = f"{value:.{decimals}f}"
    return text.rjust(width)
