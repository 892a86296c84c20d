"""Which row of a force field acts on which atoms.

Rows are found by atom types, or, where a program has assigned them already (`Molecule.assignments`), by their labels.
Terms then follow from the kind of a row: a bond row gives one term per bond, a van der Waals row one per pair of atoms
separated by three bonds or more, and a bend-bend row, which belongs to an angle, one per pair of angles at an atom.

The central atom of an improper torsion is the second one of its row, or the first if the form is a harmonic improper;
where atom types leave the order of its neighbours open, the atoms with the smallest numbers come first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.forms import FORMS, Borrowed, Form
from fieldfit.forcefield.forms.form import DEGREE
from fieldfit.forcefield.molecule import Molecule, name_atoms
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.forcefield.row import NONBONDED_KINDS, Row
from fieldfit.forcefield.topology import internal_coordinates, nonbonded_pairs
from fieldfit.typing import Matrix

REQUIRED = ("bond", "angle", "linear-bend")
"""Kinds of interaction that need a row wherever they occur, if rows are found by atom types."""

POINT_CHARGES = {False: "point_charges", True: "shifted_charges"}
"""The form of charges that come with a molecule, which act from nuclei or from the sites of van der Waals forces."""

SWITCHED_TORSION = "switched_torsion"
"""The form of torsions that also act about bonds with a linear angle at one end."""

IMPROPER_CENTRES = {"harmonic_improper": 0}
"""Place of the central atom in an improper torsion of a form, if it is not the second."""


@dataclass(frozen=True, eq=False)
class Terms:
    """All interactions of one form in one molecule.

    Args:
        form: Name of the form.
        atoms: Atoms of each term, shape (terms, atoms of the form).
        pointers: Index of each of its parameters, own and borrowed, among the parameters of the force field,
            shape (terms, parameters).
        constants: Numbers that are never fitted, angles in radians, shape (terms, constants).
    """

    form: str
    atoms: Int[np.ndarray, "terms a"]
    pointers: Int[np.ndarray, "terms c"]
    constants: Matrix

    @staticmethod
    def empty(form: str) -> Terms:
        """Return no terms of a form."""
        definition = FORMS[form]
        widths = (definition.n_atoms, definition.n_parameters, definition.n_constants)
        atoms, pointers, constants = (np.zeros((0, width)) for width in widths)
        return Terms(form, atoms.astype(int), pointers.astype(int), constants)


@dataclass(frozen=True)
class _Use:
    """A row on the atoms in the order in which it names them."""

    row: Row
    atoms: tuple[int, ...]


def assign(molecule: Molecule, force_field: ForceField) -> tuple[Terms, ...]:
    """Find the terms of a molecule.

    Args:
        molecule: The molecule.
        force_field: The force field.

    Returns:
        One `Terms` per form that occurs. Interactions without a row are absent, except those of `REQUIRED`.

    Raises:
        ForceFieldError: A bond or an angle of the molecule has no row, a row that the molecule names does not exist, a
            term borrows from a row that does not exist, or only some atoms have van der Waals rows or charges.
    """
    uses = _by_types(molecule, force_field) if molecule.assignments is None else _by_labels(molecule, force_field)
    builder = _Builder(molecule, force_field, uses)
    builder.add_single_sites()
    builder.add_angle_pairs()
    if force_field.nonbonded is not None:
        builder.add_atom_pairs(force_field.nonbonded)
        builder.add_bond_pairs(force_field.nonbonded)
    return builder.terms


def _by_labels(molecule: Molecule, force_field: ForceField) -> list[_Use]:
    uses = []
    for label, atoms in molecule.assignments or ():
        row = force_field.row(label)
        is_tuple = len(set(atoms)) == len(atoms) == row.definition.n_types
        if not is_tuple or not all(0 <= atom < molecule.n_atoms for atom in atoms):
            raise ForceFieldError(
                f"{molecule.name}: row {label} is assigned to the atoms {atoms}, but it acts on "
                f"{row.definition.n_types} different ones of the atoms 0 to {molecule.n_atoms - 1}. "
                "Correct the assignment."
            )
        uses.append(_Use(row, tuple(atoms)))
    _check_repeated(molecule, uses)
    return uses


def _check_repeated(molecule: Molecule, uses: list[_Use]) -> None:
    """Refuse a row that is assigned twice to the same atoms, and a second van der Waals row or charge of an atom."""
    seen: set[tuple] = set()
    for use in uses:
        row, atoms = use.row, _unordered(use.atoms)
        key = (row.kind if row.kind in ("vdw", "charge") else row.label, atoms)
        if key in seen:
            raise ForceFieldError(
                f"{molecule.name}: the atoms {atoms} have two assignments of {key[0]}, the second one row {row.label}. "
                "Keep one of them."
            )
        seen.add(key)


def _by_types(molecule: Molecule, force_field: ForceField) -> list[_Use]:
    uses = []
    for kind, atoms in _interactions(molecule):
        rows = force_field.find(kind, [molecule.types[atom] for atom in atoms])
        if not rows and kind in REQUIRED:
            raise ForceFieldError(
                f"{molecule.name}: the {kind} {name_atoms(molecule, atoms)} has no row in the force field "
                f"{force_field.name!r}. Add the row, or change the atom types."
            )
        uses += [_Use(row, _oriented(row, atoms, molecule)) for row in rows]
    return uses + _switched_by_types(molecule, force_field) + _impropers_by_types(molecule, force_field)


def _switched_by_types(molecule: Molecule, force_field: ForceField) -> list[_Use]:
    return [
        _Use(row, atoms)
        for atoms in internal_coordinates(molecule).undefined_torsions
        for row in force_field.find("torsion", [molecule.types[atom] for atom in atoms])
        if row.form == SWITCHED_TORSION
    ]


def _interactions(molecule: Molecule) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the kinds of interaction and atoms on which rows may act by atom types."""
    found = internal_coordinates(molecule)
    lists: dict[str, Sequence[tuple[int, ...]]] = {
        "bond": found.bonds,
        "angle": found.angles,
        "linear-bend": found.linear_angles,
        "torsion": found.torsions,
        "out-of-plane": found.out_of_plane,
        "stretch-bend": found.angles,
        "stretch-stretch": (*found.angles, *found.linear_angles),
        "bend-bend": found.angles,
        "torsion-stretch": found.torsions,
        "urey-bradley": (*found.angles, *found.linear_angles),
        "dipole": found.bonds,
        "vdw": [(atom,) for atom in range(molecule.n_atoms)],
        "vdw-pair": list(itertools.combinations(range(molecule.n_atoms), 2)),
        "charge": [(atom,) for atom in range(molecule.n_atoms)],
    }
    return ((kind, atoms) for kind, entries in lists.items() for atoms in entries)


def _oriented(row: Row, atoms: tuple[int, ...], molecule: Molecule) -> tuple[int, ...]:
    """Return atoms in the order of the types of a row where their types tell the two directions apart."""
    types = tuple(molecule.types[atom] for atom in atoms)
    return atoms[::-1] if types != row.types and types[::-1] == row.types else atoms


def _impropers_by_types(molecule: Molecule, force_field: ForceField) -> list[_Use]:
    uses = []
    rows = [row for row in force_field.rows if row.kind == "improper" and not row.tag]
    for row in rows:
        place = IMPROPER_CENTRES.get(row.form, 1)
        for centre, neighbours in enumerate(molecule.neighbours):
            if len(neighbours) != 3 or molecule.types[centre] != row.types[place]:
                continue
            orders = ((*order[:place], centre, *order[place:]) for order in itertools.permutations(neighbours))
            fitting = (entry for entry in orders if tuple(molecule.types[atom] for atom in entry) == row.types)
            uses += [_Use(row, entry) for entry in itertools.islice(fitting, 1)]
    return uses


def acting(molecule: Molecule, force_field: ForceField) -> set[int]:
    """Return the indices of the parameters of a force field that act in a molecule."""
    return {int(index) for terms in assign(molecule, force_field) for index in np.unique(terms.pointers)}


class _Builder:
    """Collects the terms of a molecule, form by form."""

    def __init__(self, molecule: Molecule, force_field: ForceField, uses: list[_Use]) -> None:
        self._molecule = molecule
        self._force_field = force_field
        self._index = {name: number for number, name in enumerate(force_field.parameter_names)}
        self._uses = uses
        self._rows: dict[tuple[str, tuple[int, ...]], list[Row]] = {}
        for use in uses:
            self._rows.setdefault((use.row.kind, _unordered(use.atoms)), []).append(use.row)
        self._found: dict[str, list[tuple]] = {}
        # The neighbour on whose bond the site of an atom lies; an atom without any is its own.
        self._parents = [(*around, atom)[0] for atom, around in enumerate(molecule.neighbours)]

    @property
    def terms(self) -> tuple[Terms, ...]:
        """Everything that was added, one entry per form."""
        return tuple(self._packed(form, entries) for form, entries in self._found.items())

    def add_single_sites(self) -> None:
        """Add the terms of rows that act where they stand: bonds, angles, torsions and their couplings."""
        for use in self._uses:
            if use.row.definition.n_types == use.row.definition.n_atoms and use.row.kind not in NONBONDED_KINDS:
                self._add(use.row.definition, use.atoms, (use.row,))

    def add_angle_pairs(self) -> None:
        """Add the terms that couple two angles at one atom."""
        uses = [use for use in self._uses if use.row.kind == "bend-bend"]
        for first, second in itertools.combinations(uses, 2):
            (i, centre, j), (k, other, m) = first.atoms, second.atoms
            if centre == other:
                self._add(first.row.definition, (i, centre, j, k, m), (first.row, second.row))

    def add_atom_pairs(self, nonbonded: Nonbonded) -> None:
        """Add van der Waals and electrostatic terms of pairs separated by three bonds or more."""
        vdw, charges = self._of_atoms("vdw"), self._of_atoms("charge")
        own_charges = None if charges else self._molecule.charges
        pairs, is_14 = nonbonded_pairs(self._molecule.n_atoms, self._molecule.bonds)
        factor = nonbonded.coulomb / nonbonded.dielectric
        for (i, j), near in zip(pairs.tolist(), is_14.tolist(), strict=True):
            vdw_scale, charge_scale = (nonbonded.vdw_14, nonbonded.charge_14) if near else (1.0, 1.0)
            if vdw_scale:
                self._add_contact(i, j, vdw_scale, vdw)
            if charges and charge_scale:
                self._add(charges[i].definition, (i, j), (charges[i], charges[j]), (factor * charge_scale,))
            if own_charges is not None and charge_scale:
                product = float(own_charges[i] * own_charges[j])
                if product:
                    self._add_charges(
                        i, j, factor * charge_scale * product, vdw if nonbonded.has_shifted_charges else None
                    )

    def add_bond_pairs(self, nonbonded: Nonbonded) -> None:
        """Add the interactions of bond dipoles that share no atom."""
        uses = [use for use in self._uses if use.row.kind == "dipole"]
        for first, second in itertools.combinations(uses, 2):
            if not set(first.atoms) & set(second.atoms):
                scale = 1.0 / nonbonded.dielectric
                self._add(first.row.definition, first.atoms + second.atoms, (first.row, second.row), (scale,))

    def _add_contact(self, i: int, j: int, scale: float, vdw: dict[int, Row]) -> None:
        special = self._rows.get(("vdw-pair", _unordered((i, j))))
        if special is None:
            if vdw:
                self._add(vdw[i].definition, self._sites(vdw[i].definition, i, j), (vdw[i], vdw[j]), (scale,))
            return
        form = special[0].definition
        offsets = [_offset(vdw.get(atom)) for atom in (i, j)] if len(form.assigned) > 1 else []
        self._add(form, self._sites(form, i, j), (special[0],), (*offsets, scale))

    def _add_charges(self, i: int, j: int, factor: float, vdw: dict[int, Row] | None) -> None:
        """Add the energy of two charges, which act from the sites of van der Waals rows if these are given."""
        form = FORMS[POINT_CHARGES[vdw is not None]]
        offsets = [] if vdw is None else [_offset(vdw.get(atom)) for atom in (i, j)]
        self._add(form, self._sites(form, i, j), (), (*offsets, factor))

    def _sites(self, form: Form, i: int, j: int) -> tuple[int, ...]:
        """Return the atoms of a pair term, each with its parent if the form asks for it: see `geometry.sites`."""
        return (i, j) if form.n_atoms == 2 else (i, self._parents[i], j, self._parents[j])

    def _of_atoms(self, kind: str) -> dict[int, Row]:
        """Return the row of a kind that each atom has.

        Raises:
            ForceFieldError: Some atoms have one and some have none.
        """
        found = {use.atoms[0]: use.row for use in self._uses if use.row.kind == kind}
        missing = sorted(set(range(self._molecule.n_atoms)) - set(found))
        if missing and (found or any(row.kind == kind for row in self._force_field.rows)):
            raise ForceFieldError(
                f"{self._molecule.name}: atom {name_atoms(self._molecule, missing[:1])} has no {kind} row in the force "
                f"field {self._force_field.name!r}, which has such rows for others. Add the row."
            )
        return found

    def _add(self, form: Form, atoms: tuple[int, ...], rows: Sequence[Row], assigned: Sequence[float] = ()) -> None:
        borrowed = [
            self._borrow(entry.kind, tuple(atoms[k] for k in entry.atoms), entry.column, _owner(form, rows, entry).tag)
            for entry in form.borrowed
        ]
        names = [*(name for row in rows for name in row.parameter_names), *borrowed]
        constants = [value for row in rows for value in _internal_constants(row)]
        self._found.setdefault(form.name, []).append(
            (atoms, [self._index[name] for name in names], [*constants, *assigned])
        )

    def _borrow(self, kind: str, atoms: tuple[int, ...], column: str, tag: str) -> str:
        """Return the name of a parameter of another row on the same atoms: of the one with a tag, or else the first."""
        rows = self._rows.get((kind, _unordered(atoms)))
        if not rows:
            raise ForceFieldError(
                f"{self._molecule.name}: a term on {name_atoms(self._molecule, atoms)} needs the {column} of that "
                f"{kind}, "
                f"which has no row in the force field {self._force_field.name!r}. Add the row."
            )
        row = next((row for row in rows if row.tag == tag), rows[0])
        return f"{row.label}.{column}"

    @staticmethod
    def _packed(form: str, entries: list[tuple]) -> Terms:
        none = Terms.empty(form)
        atoms, pointers, constants = (list(column) for column in zip(*entries, strict=True))
        count = len(entries)
        return Terms(
            form,
            np.array(atoms, dtype=int),
            np.array(pointers, dtype=int).reshape(count, none.pointers.shape[1]),
            np.array(constants, dtype=float).reshape(count, none.constants.shape[1]),
        )


def _owner(form: Form, rows: Sequence[Row], borrowed: Borrowed) -> Row:
    """Return the row of the site whose atoms a borrowed parameter belongs to."""
    return next(row for site, row in zip(form.sites, rows, strict=True) if set(borrowed.atoms) <= set(site))


def _unordered(atoms: tuple[int, ...]) -> tuple[int, ...]:
    """Return atoms in the one of both directions that starts with the smaller number."""
    return min(atoms, atoms[::-1])


def _internal_constants(row: Row) -> list[float]:
    return [value * DEGREE if name == "phase" else value for name, value in row.constants.items()]


def _offset(row: Row | None) -> float:
    """Return by which fraction of its bond the site of an atom is shifted."""
    return 0.0 if row is None else row.constants.get("offset", 0.0)
