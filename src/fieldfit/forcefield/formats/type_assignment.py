"""Whether atom types alone lead to the terms that fieldfit uses.

OpenMM and LEaP find the terms of a molecule from its bonds and look rows up by atom types. fieldfit also looks at the
QM geometry: an angle near 180 degrees gets a linear bend instead of an angle bend, torsions about its bonds are left
out, and only planar atoms get an out-of-plane term. Where two interactions of the same types differ in that, the
other program would put a term where fieldfit has none, and the file would describe another force field.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats.format import has_energy
from fieldfit.forcefield.molecule import Molecule, name_atoms
from fieldfit.forcefield.topology import InternalCoordinates, internal_coordinates


def check_type_assignment(force_field: ForceField, molecules: Sequence[Molecule]) -> None:
    """Make sure that atom types alone lead to the terms that fieldfit uses in these molecules.

    Args:
        force_field: The force field.
        molecules: The molecules.

    Raises:
        ForceFieldError: A row has a tag; a molecule has charges or assignments of its own, a type that the force field
            does not know, a bond or an angle without a row, or an interaction on which a row would act by its types
            though fieldfit has no such term there.
    """
    tagged = [row.label for row in force_field.rows if row.tag]
    if tagged:
        raise ForceFieldError(
            f"Row {tagged[0]} has a tag: it acts only where a molecule names it, but programs that read this format "
            "assign rows by atom types. Write fieldfit-toml, or the file that the row came from (write_fld)."
        )
    for molecule in molecules:
        _check_own_interactions(force_field, molecule)
        found = internal_coordinates(molecule)
        _check_elements(force_field, molecule)
        _check_complete(force_field, molecule, found)
        _check_unambiguous(force_field, molecule, found)


def _check_own_interactions(force_field: ForceField, molecule: Molecule) -> None:
    """Refuse a molecule that brings charges or assignments, which a force-field file does not hold."""
    is_charged = molecule.charges is not None and force_field.nonbonded is not None
    if is_charged or molecule.assignments is not None:
        what = "charges" if is_charged else "assignments of rows"
        raise ForceFieldError(
            f"{molecule.name} has {what} of its own, which are not part of the force field and would be missing from "
            f"the file. {'Make them rows of the form coulomb' if is_charged else 'Assign the rows by atom types'}, or "
            "write fieldfit-toml."
        )


def _check_elements(force_field: ForceField, molecule: Molecule) -> None:
    for name, symbol in zip(molecule.types, molecule.record.symbols, strict=True):
        if force_field.elements.get(name) != symbol:
            known = f"there it is {force_field.elements[name]}" if name in force_field.elements else "which lacks it"
            raise ForceFieldError(
                f"{molecule.name}: the atom type {name!r} of element {symbol} does not fit the force field "
                f"{force_field.name!r}: {known}. Give the molecules that the force field was made for."
            )


def _check_complete(force_field: ForceField, molecule: Molecule, found: InternalCoordinates) -> None:
    needed = {"bond": found.bonds, "angle": found.angles, "linear-bend": found.linear_angles}
    for kind, entries in needed.items():
        for atoms in entries:
            if not force_field.find(kind, [molecule.types[atom] for atom in atoms]):
                raise ForceFieldError(
                    f"{molecule.name}: the {kind} {name_atoms(molecule, atoms)} has no row in the force field "
                    f"{force_field.name!r}. Add the row, or leave the molecule out."
                )


def _check_unambiguous(force_field: ForceField, molecule: Molecule, found: InternalCoordinates) -> None:
    without_term = {
        "linear-bend": (found.angles, "the angle is bent"),
        "angle": (found.linear_angles, "the angle is linear"),
        "stretch-bend": (found.linear_angles, "the angle is linear"),
        "torsion": (found.undefined_torsions, "an angle at one end is linear"),
        "out-of-plane": (_pyramidal_atoms(molecule, found), "the atom does not lie in a plane of three neighbours"),
    }
    for kind, (entries, reason) in without_term.items():
        for atoms in entries:
            for row in force_field.find(kind, [molecule.types[atom] for atom in atoms]):
                if has_energy(row):
                    raise ForceFieldError(
                        f"{molecule.name}: row {row.label} would also act on {name_atoms(molecule, atoms)}, where it "
                        "does "
                        f"not belong: {reason}. Programs that read this format assign rows by atom types alone. Give "
                        "these atoms types of their own and fit again, or write fieldfit-toml."
                    )


def _pyramidal_atoms(molecule: Molecule, found: InternalCoordinates) -> list[tuple[int, ...]]:
    """Return the atoms, each with three of its neighbours, that get no out-of-plane term."""
    planar = set(found.out_of_plane)
    quadruples = [
        (centre, *three)
        for centre, neighbours in enumerate(molecule.neighbours)
        for three in itertools.combinations(neighbours, 3)
    ]
    return [entry for entry in quadruples if entry not in planar]
