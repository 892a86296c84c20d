"""One value of Q2MM's reference data, and which observation of a molecule it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.forcefield import Molecule
from fieldfit.forcefield.constants import HARTREE_PER_BOHR2
from fieldfit.forcefield.reference_data import ReferenceGroup
from fieldfit.forcefield.references import REFERENCES, QMTarget
from fieldfit.registry import unknown_name

CATEGORIES: Mapping[str, str] = {
    "bond_length": "bond_length",
    "bond_angle": "bond_angle",
    "torsion_angle": "torsion",
    "frequency": "frequency",
    "eig_diagonal": "classic_eigenmatrix_diagonal",
    "eig_offdiagonal": "classic_eigenmatrix_off_diagonal",
    "hessian_element": "hessian_element",
}
"""Q2MM's kinds to those of the library."""

FACTORS: Mapping[str, float] = {"hessian_element": HARTREE_PER_BOHR2}
"""From Q2MM's unit of a kind to that of the library, where they differ."""


@dataclass
class ReferenceValue:
    """One observation.

    Args:
        kind: Key of `CATEGORIES`.
        value: Value in Q2MM's unit of the kind: A, degrees, 1/cm, hartree/bohr^2.
        weight: Factor on the deviation.
        label: For people; empty if none.
        molecule_idx: Which of the objective's molecules.
        data_idx: Which bond, angle or mode, counted from 0, where no atoms say so.
        atom_indices: Atoms counted from 0; row and column of an element of the eigenmatrix or the Hessian.
    """

    kind: str
    value: float
    weight: float = 1.0
    label: str = ""
    molecule_idx: int = 0
    data_idx: int = 0
    atom_indices: tuple[int, ...] | None = None


def check_value(entry: ReferenceValue, n_molecules: int) -> None:
    """Check what a value can be checked for without its molecule.

    Raises:
        SettingsError: An unknown kind, a molecule that does not exist, or a negative weight.
    """
    if entry.kind not in CATEGORIES:
        raise SettingsError(unknown_name("kind of reference value", entry.kind, CATEGORIES))
    if not 0 <= entry.molecule_idx < n_molecules:
        raise SettingsError(
            f"A {entry.kind} is for molecule {entry.molecule_idx}, but the objective has {n_molecules}, counted from 0."
        )
    if entry.weight < 0.0:
        raise SettingsError(f"A {entry.kind} has the weight {entry.weight:g}. Give a positive number, or 0 for none.")


def group_of_values(target: QMTarget, kind: str, entries: Sequence[ReferenceValue]) -> ReferenceGroup:
    """Return the observations of one kind for one molecule.

    Raises:
        SettingsError: One is not among those that the molecule has.
    """
    known = REFERENCES[CATEGORIES[kind]](target).labels
    labels = tuple(_label(target.molecule, entry, known) for entry in entries)
    factor = FACTORS.get(kind, 1.0)
    observed = np.array([factor * entry.value for entry in entries])
    tolerances = np.array([factor / entry.weight for entry in entries])
    return ReferenceGroup(target.molecule.name, CATEGORIES[kind], labels, observed, tolerances)


def _label(molecule: Molecule, entry: ReferenceValue, known: Sequence[str]) -> str:
    """Return which observation of the molecule a value is."""
    candidates = _candidates(molecule, entry, known)
    found = next((name for name in candidates if name in known), None)
    if found is None:
        raise SettingsError(
            f"{molecule.name}: a {entry.kind} of {entry.value:g} is given for {candidates[0]!r}, which is not there"
            f"{_hint(entry)}."
        )
    return found


def _candidates(molecule: Molecule, entry: ReferenceValue, known: Sequence[str]) -> list[str]:
    """Return the names that the observation of a value can have."""
    atoms, symbols = entry.atom_indices, molecule.record.symbols
    if entry.kind == "frequency":
        return [f"mode {entry.data_idx + 1}"]
    if entry.kind == "eig_diagonal":
        return [f"Cartesian mode {entry.data_idx + 1}"]
    if atoms is None:
        return [known[entry.data_idx] if entry.data_idx < len(known) else f"number {entry.data_idx}"]
    if entry.kind == "eig_offdiagonal":
        first, second = sorted(atoms)
        return [f"Cartesian modes {first + 1}, {second + 1}"]
    if max(atoms) >= len(symbols) * (3 if entry.kind == "hessian_element" else 1):
        return [str(atoms)]
    if entry.kind == "hessian_element":
        names = [f"{symbols[place // 3]}{place // 3 + 1} {'xyz'[place % 3]}" for place in sorted(atoms)]
        return [", ".join(names)]
    names = [f"{symbols[atom]}{atom + 1}" for atom in atoms]
    return ["-".join(names), "-".join(names[::-1])]


def _hint(entry: ReferenceValue) -> str:
    if entry.kind == "frequency":
        return ": modes are numbered from 0, and imaginary ones are left out, skip_imaginary=True"
    if entry.kind == "eig_diagonal":
        return ": elements are numbered from 0, and the first one takes no part, weight 0"
    return ": atoms are numbered from 0 and have to be bonded"
