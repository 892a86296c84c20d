"""The force field that a set of molecules needs: rows for all interactions, with their equilibrium values."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

import numpy as np

from fieldfit.errors import ForceFieldError, SettingsError
from fieldfit.forcefield.assignment import SWITCHED_TORSION
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.forms import FORMS
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.row import Row, canonical
from fieldfit.forcefield.topology import internal_coordinates, is_planar, measure
from fieldfit.registry import unknown_name

FAMILIES = {
    "harmonic": {"bond": "harmonic_bond", "angle": "harmonic_angle"},
    "mm3": {"bond": "mm3_bond", "angle": "mm3_angle"},
}
"""Functional forms of bonds and angles by family; the other forms are the same in both."""

COLLECTIVE = ("bond", "angle")

LINEAR_TORSIONS = ("omit", "switch")
"""What may become of torsions that are undefined because an angle at one end is linear."""


def build_force_field(
    molecules: Sequence[Molecule],
    *,
    family: str = "harmonic",
    stretch_bend: Iterable[str] = (),
    periodicities: Sequence[int] | None = None,
    linear_torsions: str = "omit",
    name: str = "fieldfit",
) -> ForceField:
    """Make the rows that a set of molecules needs; equilibrium values are means over the QM geometries.

    Force constants start at generic values (300 kcal/mol/A^2, 60 kcal/mol/rad^2, 0 for torsions, out-of-plane and
    stretch-bend terms); see `estimate_force_constants` for better ones.

    Args:
        molecules: The molecules. Equal type names share parameters, so several molecules are typed together first, by
            `share_types`.
        family: "harmonic" or "mm3".
        stretch_bend: Shell patterns of the angles, as in "H-C-H", that get a stretch-bend term.
        periodicities: Periodicities of every torsion; default: 3 about bonds of four-coordinate atoms, 2 between planar
            atoms and their two-coordinate neighbours.
        linear_torsions: What becomes of torsions about a bond with a linear angle at one end, where they are undefined:
            "omit" them, or "switch" them off smoothly when the angle straightens (the form `switched_torsion`).
        name: Title of the force field.

    Returns:
        The force field.

    Raises:
        SettingsError: An unknown family or treatment of linear torsions, or a stretch-bend pattern that matches no
            angle.
        ForceFieldError: One atom type stands for two elements.
    """
    if family not in FAMILIES:
        raise SettingsError(unknown_name("family of force fields", family, FAMILIES))
    if linear_torsions not in LINEAR_TORSIONS:
        raise SettingsError(unknown_name("treatment of linear torsions", linear_torsions, LINEAR_TORSIONS))
    collected: dict[tuple, list[float]] = {}
    for molecule in molecules:
        for key, value in _row_keys(molecule, family, periodicities):
            collected.setdefault(key, []).append(value)
        if linear_torsions == "switch":
            collected |= {key: [0.0] for key in _switched_keys(molecule, periodicities)}
    # A switched torsion acts on bent angles too: of the same types, there is no other beside it.
    switched = {key[1:] for key in collected if key[0] == SWITCHED_TORSION}
    collected = {
        key: found for key, found in collected.items() if key[0] != "cosine_torsion" or key[1:] not in switched
    }
    rows = [_make_row(key, float(np.mean(values))) for key, values in collected.items()]
    rows += _stretch_bend_rows(rows, stretch_bend)
    return ForceField(name, tuple(rows), _elements(molecules))


def _valence(molecule: Molecule) -> list[tuple[str, tuple[int, ...]]]:
    """Return the interactions that a valence force field describes."""
    found = internal_coordinates(molecule)
    lists = {
        "bond": found.bonds,
        "angle": found.angles,
        "linear-bend": found.linear_angles,
        "torsion": found.torsions,
        "out-of-plane": found.out_of_plane,
    }
    return [(kind, atoms) for kind, entries in lists.items() for atoms in entries]


def _row_keys(molecule: Molecule, family: str, periodicities: Sequence[int] | None) -> list[tuple[tuple, float]]:
    """Return the rows a molecule needs as (form, types, periodicity), each with the value of its coordinate."""
    keys = []
    for kind, atoms in _valence(molecule):
        types = canonical(kind, [molecule.types[atom] for atom in atoms])
        if kind in COLLECTIVE:
            keys.append(((FAMILIES[family][kind], types, None), measure(molecule.record.coordinates, atoms)))
        elif kind == "torsion":
            chosen = periodicities or (_periodicity(molecule, atoms),)
            keys += [(("cosine_torsion", types, number), 0.0) for number in chosen]
        else:
            keys.append((("linear_bend" if kind == "linear-bend" else "out_of_plane", types, None), 0.0))
    return keys


def _switched_keys(molecule: Molecule, periodicities: Sequence[int] | None) -> list[tuple]:
    """Return the rows of torsions that are undefined at the QM geometry."""
    keys = []
    for atoms in internal_coordinates(molecule).undefined_torsions:
        types = canonical("torsion", [molecule.types[atom] for atom in atoms])
        keys += [(SWITCHED_TORSION, types, number) for number in periodicities or (_periodicity(molecule, atoms),)]
    return keys


def _periodicity(molecule: Molecule, atoms: tuple[int, ...]) -> int:
    """Return 2 for a bond that a planar atom stiffens, 3 for the others."""
    centres = atoms[1:3]
    planar = [is_planar(molecule, atom) for atom in centres]
    coordination = [len(molecule.neighbours[atom]) for atom in centres]
    return 2 if any(planar) and all(flat or count < 3 for flat, count in zip(planar, coordination, strict=True)) else 3


GENERIC = {"bond": 300.0, "angle": 60.0, "linear-bend": 60.0}


def _make_row(key: tuple, value: float) -> Row:
    form_name, types, periodicity = key
    form = FORMS[form_name]
    values = {"k": GENERIC.get(form.kind, 0.0)} | {column.name: value for column in form.columns[1:]}
    constants = (
        {} if periodicity is None else {"periodicity": float(periodicity), "phase": 180.0 * (periodicity % 2 == 0)}
    )
    return Row(form_name, types, values, constants)


def _stretch_bend_rows(rows: Sequence[Row], patterns: Iterable[str]) -> list[Row]:
    angles = [row.types for row in rows if row.kind == "angle"]
    chosen: dict[tuple[str, ...], None] = {}
    for pattern in patterns:
        matches = [types for types in angles if _matches(types, pattern)]
        if not matches:
            raise SettingsError(unknown_name("angle", pattern, ["-".join(types) for types in angles]))
        chosen |= dict.fromkeys(matches)
    return [Row("stretch_bend", types, {"k": 0.0}) for types in chosen]


def _matches(types: tuple[str, ...], pattern: str) -> bool:
    return any(fnmatch.fnmatchcase("-".join(order), pattern) for order in (types, types[::-1]))


def _elements(molecules: Sequence[Molecule]) -> dict[str, str]:
    elements: dict[str, str] = {}
    for molecule in molecules:
        for name, symbol in zip(molecule.types, molecule.record.symbols, strict=True):
            if elements.setdefault(name, symbol) != symbol:
                raise ForceFieldError(
                    f"Atom type {name!r} stands for {elements[name]} and {symbol} ({molecule.name}). "
                    "Give each element its own types."
                )
    return dict(sorted(elements.items()))
