"""Several geometries of one molecule with their energies and gradients: conformers, trajectories, torsion scans.

A Hessian describes one minimum. How minima and barriers lie relative to each other, and what happens between them,
only other geometries can say. All geometries of an ensemble have the atoms, bonds and types of one molecule, so that
every force field has the same terms for each.

In a relaxed scan some internal coordinates were held while everything else relaxed. They are named by their atoms, two
for a distance, three for an angle, four for a dihedral; their values are read off each geometry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from fieldfit.errors import MoleculeError, SettingsError
from fieldfit.forcefield.molecule import Molecule, QMRecord
from fieldfit.forcefield.relaxation import Fixed
from fieldfit.forcefield.topology import BOND_TOLERANCE, find_bonds, measure
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

KIND_BY_SIZE = {2: "distance", 3: "angle", 4: "dihedral"}
"""Number of atoms to the kind of internal coordinate that they define."""

ZEROS = ("free", "lowest")
"""Names of the zeros of energy; see `Ensemble`."""

LONGEST_BOND = 1.5
"""A bond that is more than this many times as long as in the molecule is broken."""

LARGEST_DISPLACEMENT = 0.5
"""Root mean square displacement beyond which a relaxation has left for another minimum [A]."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Several geometries of one molecule.

    Args:
        name: What it is called in reports.
        molecule: Atoms, bonds and types; its record needs no Hessian.
        coordinates: Cartesian coordinates [A], shape (geometries, atoms, 3).
        energies: Total or relative energies [kcal/mol], shape (geometries,); None if they are not known.
        gradients: Their derivatives [kcal/mol/A], shape (geometries, atoms, 3); None if they are not known.
        held: Internal coordinates that keep their values when the geometries are relaxed in a force field: tuples of
            two, three or four atoms counted from 0. Empty for conformers, which relax freely.
        zero: Zero of the relative energies: "free", which makes the mean deviation zero and prefers no geometry, or
            "lowest", the geometry of the lowest QM energy.
        largest_displacement: A relaxation that ends further away than this root mean square displacement from its
            geometry [A] has gone to another minimum, and counts as failed.

    Raises:
        MoleculeError: The arrays do not fit the atoms or each other, hold numbers that are not finite, a geometry has
            other bonds than the molecule, or something held names atoms that do not exist.
        SettingsError: An unknown zero, or a largest displacement that is not positive.

    Examples:
        >>> ensemble = Ensemble("scan", butane, x, energies=e, held=((0, 1, 2, 3),))     # doctest: +SKIP
    """

    name: str
    molecule: Molecule
    coordinates: Float[np.ndarray, "_ _ _"]
    energies: Vector | None = None
    gradients: Float[np.ndarray, "_ _ _"] | None = None
    held: tuple[tuple[int, ...], ...] = ()
    zero: str = "free"
    largest_displacement: float = LARGEST_DISPLACEMENT

    def __post_init__(self) -> None:
        if self.zero not in ZEROS:
            raise SettingsError(unknown_name("zero of energy", self.zero, ZEROS))
        if not self.largest_displacement > 0.0:
            raise SettingsError(
                f"{self.name}: the largest displacement is {self.largest_displacement:g} A. Give a positive length, "
                "infinity to let relaxations go anywhere."
            )
        self._check_arrays()
        self._check_bonds()
        for number in range(self.n_geometries):
            self.fixed(number)

    def __repr__(self) -> str:
        found = [name for name in ("energies", "gradients") if getattr(self, name) is not None]
        held = f", {len(self.held)} held" if self.held else ""
        return (
            f"Ensemble({self.name}: {self.n_geometries} geometries of {self.molecule.name} "
            f"with {' and '.join(found) or 'nothing else'}{held})"
        )

    @staticmethod
    def of_records(
        name: str, molecule: Molecule, records: Sequence[QMRecord], *, held: Sequence[Sequence[int]] = ()
    ) -> Ensemble:
        """Collect QM results of one molecule; what one of them lacks is left out for all.

        Args:
            name: What the ensemble is called in reports.
            molecule: Atoms, bonds and types.
            records: The results, with the atoms in the order of the molecule.
            held: See `Ensemble`.

        Raises:
            MoleculeError: There is none, or one has other atoms than the molecule.
        """
        for record in records:
            if record.symbols != molecule.record.symbols:
                raise MoleculeError(
                    f"{name}: {record.name} consists of {' '.join(record.symbols)}, but {molecule.name} of "
                    f"{' '.join(molecule.record.symbols)}. Give geometries of one molecule, its atoms in one order."
                )
        energies = [record.energy for record in records if record.energy is not None]
        gradients = [record.gradient for record in records if record.gradient is not None]
        return Ensemble(
            name,
            molecule,
            np.array([record.coordinates for record in records]).reshape(-1, molecule.n_atoms, 3),
            np.array(energies) if energies and len(energies) == len(records) else None,
            np.array(gradients) if gradients and len(gradients) == len(records) else None,
            tuple(tuple(atoms) for atoms in held),
        )

    @property
    def n_geometries(self) -> int:
        """Number of geometries."""
        return len(self.coordinates)

    @property
    def known_energies(self) -> Vector:
        """The QM energies [kcal/mol], shape (geometries,).

        Raises:
            MoleculeError: They are not known, or there is only one.
        """
        if self.energies is None:
            raise MoleculeError(
                f"{self.name}: no QM energies are given, which relative energies are fitted to. Give `energies`, or "
                "leave the energies of this ensemble out."
            )
        if self.n_geometries < 2:
            raise MoleculeError(f"{self.name}: one geometry has no relative energy. Give two or more.")
        return self.energies

    @property
    def known_gradients(self) -> Float[np.ndarray, "geometries atoms 3"]:
        """The QM gradients [kcal/mol/A].

        Raises:
            MoleculeError: They are not known.
        """
        if self.gradients is None:
            raise MoleculeError(
                f"{self.name}: no QM gradients are given, which gradients are fitted to. Give `gradients`, or leave "
                "the gradients of this ensemble out."
            )
        return self.gradients

    def fixed(self, number: int) -> tuple[Fixed, ...]:
        """Return what is held when a geometry is relaxed, at its values there.

        Args:
            number: Which geometry, counted from 0.
        """
        x = self.coordinates[number]
        return tuple(Fixed(KIND_BY_SIZE[len(atoms)], atoms, measure(x, atoms)) for atoms in self.held)

    def label(self, number: int) -> str:
        """Name a geometry: by the values of what is held, or by its number counted from 1."""
        if not self.held:
            return f"geometry {number + 1}"
        x = self.coordinates[number]
        return ", ".join(f"{_names(self.molecule, atoms)} {measure(x, atoms):.2f}" for atoms in self.held)

    def _check_arrays(self) -> None:
        geometries = len(self.coordinates)
        shape = (geometries, self.molecule.n_atoms, 3)
        expected: Mapping[str, tuple[int, ...]] = {
            "coordinates": shape,
            "energies": (geometries,),
            "gradients": shape,
        }
        if not geometries:
            raise MoleculeError(f"{self.name} has no geometry. Give one at least.")
        for name, wanted in expected.items():
            array = getattr(self, name)
            if array is None:
                continue
            if array.shape != wanted:
                raise MoleculeError(
                    f"{self.name}: the {name} have the shape {array.shape}, but {geometries} geometries of the "
                    f"{self.molecule.n_atoms} atoms of {self.molecule.name} need {wanted}. Give one entry per geometry "
                    "and atom."
                )
            if not np.all(np.isfinite(array)):
                raise MoleculeError(
                    f"{self.name}: the {name} hold numbers that are not finite. Leave those geometries out."
                )
        for atoms in self.held:
            in_range = all(0 <= atom < self.molecule.n_atoms for atom in atoms)
            if len(atoms) not in KIND_BY_SIZE or not in_range:
                raise MoleculeError(
                    f"{self.name}: {tuple(atoms)} cannot be held in a molecule with the atoms 0 to "
                    f"{self.molecule.n_atoms - 1}. Name the two atoms of a distance, the three of an angle or the four "
                    "of a dihedral, counted from 0."
                )

    def changed_bond(self, x: Matrix) -> str:
        """Say which bond of the molecule is broken at a geometry, or made between two other atoms.

        Args:
            x: Coordinates [A], shape (atoms, 3).

        Returns:
            The bond and what happened to it; empty if there is none.
        """
        bonds, longest, known = self._bonds
        broken = bonds[_lengths(x, bonds) > longest].tolist()
        if broken:
            return f"the bond {_names(self.molecule, broken[0])} is broken ({measure(x, broken[0]):.2f} A)"
        record = dataclasses.replace(self.molecule.record, coordinates=x, hessian=None, gradient=None)
        made = [pair for pair in find_bonds(record, BOND_TOLERANCE) if pair not in known]
        return f"a bond {_names(self.molecule, made[0])} is made ({measure(x, made[0]):.2f} A)" if made else ""

    @cached_property
    def _bonds(self) -> tuple[np.ndarray, Vector, set[tuple[int, int]]]:
        """Bonds, shape (bonds, 2), how long they may be [A], and all pairs that are close in the molecule itself."""
        bonds = np.array(self.molecule.bonds, dtype=int).reshape(-1, 2)
        longest = LONGEST_BOND * _lengths(self.molecule.record.coordinates, bonds)
        return bonds, longest, {*self.molecule.bonds, *find_bonds(self.molecule.record, BOND_TOLERANCE)}

    def _check_bonds(self) -> None:
        """Make sure that no geometry has broken a bond of the molecule or made one."""
        for number, x in enumerate(self.coordinates, 1):
            changed = self.changed_bond(x)
            if changed:
                raise MoleculeError(
                    f"{self.name}: in geometry {number} {changed}, so that the terms of {self.molecule.name} would not "
                    "describe it. Leave the geometry out, or check the order of its atoms."
                )


def _lengths(x: Matrix, pairs: np.ndarray) -> Vector:
    return np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1)


def _names(molecule: Molecule, atoms: Sequence[int]) -> str:
    """Name atoms by element and number, counted from 1: "C1-H3"."""
    return "-".join(f"{molecule.record.symbols[atom]}{atom + 1}" for atom in atoms)
