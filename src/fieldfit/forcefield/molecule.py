"""What a quantum-chemistry program found, and the molecule a force field sees in it.

A `QMRecord` is one result as the program reported it, converted to internal units. A `Molecule` adds what a force
field needs and no program states: which atoms are bonded and which atoms are of one type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from fieldfit.errors import MoleculeError


@dataclass(frozen=True, eq=False)
class QMRecord:
    """One quantum-mechanical result in internal units.

    Args:
        name: What the result is called in reports.
        symbols: Element symbols, one per atom.
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        masses: Atomic masses [u], shape (atoms,): those of the program where it states them.
        hessian: Second derivatives of the energy [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        gradient: First derivatives of the energy [kcal/mol/A], shape (atoms, 3).
        energy: Total energy [kcal/mol].
        charge: Total charge [e].
        multiplicity: Spin multiplicity.
        frequencies: Wavenumbers as the program printed them [1/cm], imaginary ones negative, without the
            translations and rotations.
        source: Where it comes from: file, program, version, method, as far as known.

    Raises:
        MoleculeError: The arrays do not fit each other or hold numbers that are not finite.
    """

    name: str
    symbols: tuple[str, ...]
    coordinates: Float[np.ndarray, "atoms 3"]
    masses: Float[np.ndarray, " atoms"]
    hessian: Float[np.ndarray, "dof dof"] | None = None
    gradient: Float[np.ndarray, "atoms 3"] | None = None
    energy: float | None = None
    charge: int = 0
    multiplicity: int = 1
    frequencies: Float[np.ndarray, " modes"] | None = None
    source: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        atoms = len(self.symbols)
        expected = {
            "coordinates": (atoms, 3),
            "masses": (atoms,),
            "hessian": (3 * atoms, 3 * atoms),
            "gradient": (atoms, 3),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array is None:
                continue
            if array.shape != shape:
                raise MoleculeError(
                    f"{self.name}: the {name} have shape {array.shape}, but {atoms} atoms need {shape}. "
                    "Check that geometry and derivatives come from the same calculation."
                )
            if not np.all(np.isfinite(array)):
                raise MoleculeError(f"{self.name}: the {name} hold numbers that are not finite.")

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.symbols)

    def __repr__(self) -> str:
        found = [name for name in ("energy", "gradient", "hessian", "frequencies") if getattr(self, name) is not None]
        return (
            f"QMRecord({self.name}: {self.n_atoms} atoms, charge {self.charge}, with {', '.join(found) or 'geometry'})"
        )


@dataclass(frozen=True, eq=False)
class Molecule:
    """A QM result with its bonds and atom types.

    Args:
        record: The QM result.
        bonds: Pairs of bonded atoms, counted from 0, the smaller index first, sorted.
        types: Atom types, one per atom: equal types share parameters.
        charges: Partial charges of the atoms [e], shape (atoms,), that are not fitted: they act in force fields with
            nonbonded interactions that have no charges of their own.
        assignments: Labels of force-field rows with the atoms that each acts on, if a program has assigned them
            already; None: rows are found by atom types. A row of a pair interaction is named with its own atoms only:
            a van der Waals row with one atom, a bend-bend row with the three atoms of an angle.

    Raises:
        MoleculeError: Types, charges or bonds do not fit the atoms.
    """

    record: QMRecord
    bonds: tuple[tuple[int, int], ...]
    types: tuple[str, ...]
    charges: Float[np.ndarray, " atoms"] | None = None
    assignments: tuple[tuple[str, tuple[int, ...]], ...] | None = None

    def __post_init__(self) -> None:
        for name in ("types", "charges"):
            given = getattr(self, name)
            if given is not None and len(given) != self.n_atoms:
                raise MoleculeError(
                    f"{self.name}: {len(given)} {name} are given for {self.n_atoms} atoms. Give one per atom."
                )
        if self.charges is not None and not np.all(np.isfinite(self.charges)):
            raise MoleculeError(f"{self.name}: the charges hold numbers that are not finite. Give finite numbers.")
        check_bonds(self.record, self.bonds)

    def __repr__(self) -> str:
        return f"Molecule({self.name}: {self.n_atoms} atoms, {len(self.bonds)} bonds, types {' '.join(self.types)})"

    @property
    def name(self) -> str:
        """Name of the record."""
        return self.record.name

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.record.n_atoms

    @property
    def qm_hessian(self) -> Float[np.ndarray, "dof dof"]:
        """The QM Hessian [kcal/mol/A^2].

        Raises:
            MoleculeError: The record has none.
        """
        if self.record.hessian is None:
            raise MoleculeError(
                f"{self.name}: the QM result has no Hessian, which frequencies and force constants are fitted to. "
                "Give the result of a frequency calculation."
            )
        return self.record.hessian

    @property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """Bonded neighbours of each atom, ascending."""
        lists: list[list[int]] = [[] for _ in range(self.n_atoms)]
        for first, second in self.bonds:
            lists[first].append(second)
            lists[second].append(first)
        return tuple(tuple(sorted(entry)) for entry in lists)


def check_bonds(record: QMRecord, bonds: Sequence[tuple[int, int]]) -> None:
    """Make sure that bonds join two different atoms of a record.

    Raises:
        MoleculeError: One does not.
    """
    for i, j in bonds:
        if not (0 <= i < record.n_atoms and 0 <= j < record.n_atoms and i != j):
            raise MoleculeError(
                f"{record.name}: a bond joins atoms {i} and {j}, but the atoms are 0 to {record.n_atoms - 1}. "
                "Count atoms from 0."
            )


def name_atoms(molecule: Molecule, atoms: Iterable[int]) -> str:
    """Return types and numbers of atoms, counted from 1, for messages: "C(1)-H(3)"."""
    return "-".join(f"{molecule.types[atom]}({atom + 1})" for atom in atoms)
