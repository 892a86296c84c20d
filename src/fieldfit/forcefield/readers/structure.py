"""Structures with atom types and bonds, as modelling programs store them, and QM results that take these over.

A structure file says what no QM program states: which atoms are bonded, also where the distances of a transition
state leave it open, and of which type each atom is. `molecule_from_structure` gives both to a QM result, after a check
that the two have the same atoms in the same order and in the same arrangement.

    record = read("ts.fchk")
    (structure,) = read_mol2("ts.mol2")
    molecule = molecule_from_structure(record, structure)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError, MoleculeError
from fieldfit.forcefield.molecule import Molecule, QMRecord
from fieldfit.forcefield.topology import perceive
from fieldfit.forcefield.vibrations import align

GEOMETRY_TOLERANCE = 0.01
"""Largest distance of an atom from itself in a structure and a QM result [A]: structure files have three digits or
more, and a geometry of a force field or of another conformation is farther away."""


@dataclass(frozen=True, eq=False)
class Structure:
    """A structure with its atom types and bonds.

    Args:
        name: Its title.
        symbols: Element symbols, one per atom.
        types: Atom types as the file names them.
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        bonds: Pairs of bonded atoms, counted from 0, the smaller index first, sorted.
        orders: Orders of the bonds: 1.5 if aromatic, 0 for a bond that has none, as between a metal and its ligand;
            None if the file leaves it open.
        charges: Partial charges of the atoms [e], shape (atoms,); None if the file states none.

    Raises:
        MoleculeError: The parts do not fit each other, or a number is not finite.
    """

    name: str
    symbols: tuple[str, ...]
    types: tuple[str, ...]
    coordinates: Float[np.ndarray, "atoms 3"]
    bonds: tuple[tuple[int, int], ...]
    orders: tuple[float | None, ...]
    charges: Float[np.ndarray, " atoms"] | None = None

    def __post_init__(self) -> None:
        atoms = len(self.symbols)
        charged = atoms if self.charges is None else len(self.charges)
        if {len(self.types), len(self.coordinates), charged} != {atoms} or len(self.bonds) != len(self.orders):
            raise MoleculeError(
                f"{self.name}: {atoms} atoms have {len(self.types)} types, {len(self.coordinates)} positions and "
                f"{charged} charges, {len(self.bonds)} bonds have {len(self.orders)} orders. Give one of each per atom "
                "and per bond."
            )
        numbers = [self.coordinates] if self.charges is None else [self.coordinates, self.charges]
        if not all(np.all(np.isfinite(array)) for array in numbers):
            raise MoleculeError(
                f"{self.name}: coordinates or charges hold numbers that are not finite. Write the file again."
            )
        for first, second in self.bonds:
            if not 0 <= first < second < atoms:
                raise MoleculeError(
                    f"{self.name}: a bond joins atoms {first} and {second}, but the atoms are 0 to {atoms - 1}, the "
                    "smaller one first. Count atoms from 0."
                )

    def __repr__(self) -> str:
        return f"Structure({self.name}: {self.n_atoms} atoms, {len(self.bonds)} bonds, types {' '.join(self.types)})"

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.symbols)


def molecule_from_structure(
    record: QMRecord, structure: Structure, *, tolerance: float = GEOMETRY_TOLERANCE
) -> Molecule:
    """Give a QM result the bonds and atom types of a structure.

    All bonds of the structure count, those of order zero too. Its charges are not taken over; they may come from
    anywhere: `dataclasses.replace(molecule, charges=structure.charges)` does it.

    Args:
        record: The QM result.
        structure: The structure, its atoms in the order of the result; it may lie elsewhere in space.
        tolerance: Largest distance of an atom from itself after one geometry is laid over the other [A].

    Returns:
        The molecule.

    Raises:
        MoleculeError: The elements, their order or the geometries differ, or the bonds leave atoms apart.

    Examples:
        >>> import numpy as np
        >>> ends = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]])
        >>> record = QMRecord("H2", ("H", "H"), ends, np.ones(2))
        >>> structure = Structure("H2", ("H", "H"), ("HA", "HA"), ends[:, ::-1] + 1.0, ((0, 1),), (1.0,))
        >>> molecule_from_structure(record, structure)
        Molecule(H2: 2 atoms, 1 bonds, types HA HA)
    """
    _check_elements(record, structure)
    moved = align(structure.coordinates, record.coordinates, record.masses)[1]
    distances = np.linalg.norm(moved - record.coordinates, axis=1)
    if distances.max() > tolerance:
        atom = int(distances.argmax())
        raise MoleculeError(
            f"{record.name}: the structure {structure.name!r} has another geometry: laid over the QM result, its atom "
            f"{atom + 1} ({record.symbols[atom]}) is {distances[atom]:.4f} A away, more than {tolerance:g} A. Give the "
            "structure of this conformation and this mirror image, or raise tolerance if bonds and types are the same."
        )
    return perceive(record, bonds=structure.bonds, types=structure.types)


def _check_elements(record: QMRecord, structure: Structure) -> None:
    if record.n_atoms != structure.n_atoms:
        raise MoleculeError(
            f"{record.name}: the QM result has {record.n_atoms} atoms, but the structure {structure.name!r} has "
            f"{structure.n_atoms}. Give the structure of this molecule."
        )
    for atom, (ours, theirs) in enumerate(zip(record.symbols, structure.symbols, strict=True), 1):
        if ours != theirs:
            raise MoleculeError(
                f"{record.name}: atom {atom} is {ours} in the QM result, but {theirs} in the structure "
                f"{structure.name!r}. Bring the atoms into the same order."
            )


def unique_bonds(
    listed: Iterable[tuple[int, int, float | None, str]],
) -> tuple[tuple[tuple[int, int], ...], tuple[float | None, ...]]:
    """Sort the bonds of a file; some programs list every bond once from either atom.

    Args:
        listed: The two atoms, counted from 0, the order, and file and line, for messages.

    Returns:
        Bonds and orders, as in `Structure`.

    Raises:
        FileFormatError: An atom is bonded to itself, or a bond is listed with two orders.
    """
    found: dict[tuple[int, int], float | None] = {}
    for first, second, order, what in listed:
        bond = (min(first, second), max(first, second))
        if first == second or found.setdefault(bond, order) != order:
            raise FileFormatError(
                f"{what}: the bond of atoms {first + 1} and {second + 1} joins an atom to itself, or was listed with "
                "another order before. The file is damaged: write it again."
            )
    bonds = tuple(sorted(found))
    return bonds, tuple(found[bond] for bond in bonds)


def parse_index(field: str, known: int, what: str) -> int:
    """Read the number of an atom.

    Args:
        field: The printed number, counted from 1.
        known: How many atoms there are.
        what: File and line, for messages.

    Returns:
        The atom, counted from 0.

    Raises:
        FileFormatError: The field is not the number of an atom.
    """
    if not field.isdecimal() or not 1 <= int(field) <= known:
        raise FileFormatError(
            f"{what}: {field!r} stands where one of the atoms 1 to {known} is expected. The file is damaged: write it "
            "again."
        )
    return int(field) - 1
