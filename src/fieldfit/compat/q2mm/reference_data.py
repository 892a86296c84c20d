"""Reference data as Q2MM's scripts build them: a list of values with weights, filled entry by entry or from molecules.

An `ObjectiveFunction` turns the list into the library's `ReferenceData`: each value is found by its atoms or its number
among the observations of the molecule, its weight becomes a tolerance, its inverse. What differs from Q2MM:

- Wavenumbers belong to modes, not to places in a sorted list: value k is compared with the mode of the force field that
  resembles QM mode k. The imaginary mode of a transition state has no counterpart in a minimum and has to be left out,
  `skip_imaginary=True`.
- The eigenmatrix is the one that published scores are made of: eigenvectors of the Cartesian Hessian, all 3 N of them,
  in hartree/bohr^2, weight 0.1 on the diagonal and 0.05 off it, 0 for the first. With these weights an error of 1
  degree in one angle costs as much as one of 50 hartree/bohr^2: bond angles are all that is fitted; see
  `forcefield.weights`. Better: hand the objective a `ReferenceData` of the library.
- A value of weight 0 takes no part.
- Absolute energies have no meaning in a force field, so there is no `add_energy`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fieldfit.compat.q2mm.reference_values import CATEGORIES, ReferenceValue, check_value, group_of_values
from fieldfit.errors import FileFormatError, SettingsError
from fieldfit.forcefield import Molecule, perceive, read
from fieldfit.forcefield.constants import HARTREE_PER_BOHR2
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.reference_data import ReferenceData as NativeReferenceData
from fieldfit.forcefield.references import REFERENCES, QMTarget
from fieldfit.forcefield.topology import BOND_TOLERANCE
from fieldfit.forcefield.transition_states import ZERO_WEIGHT
from fieldfit.registry import unknown_name
from fieldfit.typing import FilePath, Matrix, Vector

WEIGHTS: Mapping[str, float] = {
    "bond_length": 10.0,
    "bond_angle": 5.0,
    "torsion_angle": 1.0,
    "frequency": 1.0,
    "eig_i": 0.0,
    "eig_d_low": 0.1,
    "eig_d_high": 0.1,
    "eig_o": 0.05,
}
"""Q2MM's default weights: per A, degree, degree, 1/cm and hartree/bohr^2."""

LOW_EIGENVALUE = 0.1173
"""Where "eig_d_low" ends and "eig_d_high" begins [hartree/bohr^2]."""

Values = Vector | Sequence[float]


@dataclass
class ReferenceData:
    """A list of observations that grows as a script adds to it.

    Args:
        values: The observations.
        transition_state: Treatment of transition states, see `fieldfit.forcefield.transition_states`.

    Example:
        >>> from fieldfit.compat.q2mm import ReferenceData
        >>> ref = ReferenceData()
        >>> ref.add_bond_length(1.39, atom_indices=(0, 1), weight=10.0)
        >>> ref.add_frequencies_from_array([1049.0, 1182.0, 1182.0], weight=0.001)
        3
        >>> ref.n_observations
        4
    """

    values: list[ReferenceValue] = field(default_factory=list)
    transition_state: str = ZERO_WEIGHT

    @property
    def n_observations(self) -> int:
        """Number of observations."""
        return len(self.values)

    def add_bond_length(
        self,
        value: float,
        *,
        data_idx: int = -1,
        atom_indices: tuple[int, int] | None = None,
        weight: float = WEIGHTS["bond_length"],
        molecule_idx: int = 0,
        label: str = "",
    ) -> None:
        """Add the length of a bond [A], named by its atoms or its place among the molecule's bonds."""
        self._add("bond_length", value, weight, label, molecule_idx, data_idx, atom_indices)

    def add_bond_angle(
        self,
        value: float,
        *,
        data_idx: int = -1,
        atom_indices: tuple[int, int, int] | None = None,
        weight: float = WEIGHTS["bond_angle"],
        molecule_idx: int = 0,
        label: str = "",
    ) -> None:
        """Add a bond angle [deg], named by its atoms, the centre in the middle, or its place among the angles."""
        self._add("bond_angle", value, weight, label, molecule_idx, data_idx, atom_indices)

    def add_torsion_angle(
        self,
        value: float,
        *,
        atom_indices: tuple[int, int, int, int],
        weight: float = WEIGHTS["torsion_angle"],
        molecule_idx: int = 0,
        label: str = "",
    ) -> None:
        """Add a torsion [deg]."""
        self._add("torsion_angle", value, weight, label, molecule_idx, 0, atom_indices)

    def add_frequency(
        self, value: float, *, data_idx: int, weight: float = 1.0, molecule_idx: int = 0, label: str = ""
    ) -> None:
        """Add the wavenumber of a mode [1/cm], counted from 0 among all QM modes, imaginary ones included."""
        self._add("frequency", value, weight, label, molecule_idx, data_idx, None)

    def add_hessian_eigenvalue(
        self,
        value: float,
        *,
        mode_idx: int,
        weight: float = WEIGHTS["eig_d_low"],
        molecule_idx: int = 0,
        label: str = "",
    ) -> None:
        """Add an element of the eigenmatrix's diagonal [hartree/bohr^2]."""
        self._add("eig_diagonal", value, weight, label, molecule_idx, mode_idx, None)

    def add_hessian_offdiagonal(
        self,
        value: float,
        *,
        row: int,
        col: int,
        weight: float = WEIGHTS["eig_o"],
        molecule_idx: int = 0,
        label: str = "",
    ) -> None:
        """Add another element of the eigenmatrix [hartree/bohr^2]."""
        self._add("eig_offdiagonal", value, weight, label, molecule_idx, 0, (row, col))

    def add_hessian_element(
        self, value: float, *, row: int, col: int, weight: float = 1.0, molecule_idx: int = 0, label: str = ""
    ) -> None:
        """Add an element of the Cartesian Hessian [hartree/bohr^2]."""
        self._add("hessian_element", value, weight, label, molecule_idx, 0, (row, col))

    def add_frequencies_from_array(
        self, frequencies: Values, *, weight: float = 1.0, molecule_idx: int = 0, skip_imaginary: bool = False
    ) -> int:
        """Add the wavenumbers of all modes [1/cm], ascending, imaginary ones negative; return how many were added."""
        given = np.asarray(frequencies, dtype=float).ravel()
        kept = [place for place, value in enumerate(given) if value >= 0.0 or not skip_imaginary]
        for place in kept:
            self.add_frequency(float(given[place]), data_idx=place, weight=weight, molecule_idx=molecule_idx)
        return len(kept)

    def add_eigenmatrix_from_hessian(
        self,
        hessian: Matrix,
        *,
        diagonal_only: bool = False,
        molecule_idx: int = 0,
        weights: Mapping[str, float] | None = None,
    ) -> int:
        """Add the eigenmatrix of a Hessian [hartree/bohr^2], shape (3 atoms, 3 atoms); return how many were added.

        The weights "eig_i", "eig_d_low", "eig_d_high" and "eig_o" are those of the first diagonal element, of others
        below and above `LOW_EIGENVALUE`, and of the elements off the diagonal, which are zero.
        """
        chosen = _weights(weights)
        eigenvalues = np.linalg.eigvalsh(hessian)
        before = self.n_observations
        for place, value in enumerate(eigenvalues):
            name = "eig_i" if place == 0 else "eig_d_low" if value < LOW_EIGENVALUE else "eig_d_high"
            self.add_hessian_eigenvalue(
                float(value), mode_idx=place, weight=chosen[name], molecule_idx=molecule_idx, label=f"eig[{place}]"
            )
            for row in range(place + 1, 0 if diagonal_only else len(eigenvalues)):
                self.add_hessian_offdiagonal(0.0, row=row, col=place, weight=chosen["eig_o"], molecule_idx=molecule_idx)
        return self.n_observations - before

    @staticmethod
    def from_molecule(  # noqa: PLR0913 - Q2MM's signature
        mol: Molecule,
        *,
        weights: Mapping[str, float] | None = None,
        molecule_idx: int = 0,
        frequencies: Values | None = None,
        skip_imaginary: bool = False,
        include_geometry: bool = True,
        include_eigenmatrix: bool = True,
        eigenmatrix_diagonal_only: bool = False,
        invert_ts_curvature: bool = False,
    ) -> ReferenceData:
        """List what the QM result of a molecule says.

        Args:
            mol: The molecule.
            weights: Names in `WEIGHTS` to other weights.
            molecule_idx: Which of the objective's molecules it is.
            frequencies: Wavenumbers of all modes to add [1/cm]; without them none are.
            skip_imaginary: Whether to leave negative wavenumbers out.
            include_geometry: Whether to add bonds and bond angles.
            include_eigenmatrix: Whether to add the eigenmatrix of the Hessian.
            eigenmatrix_diagonal_only: Whether to add only its diagonal.
            invert_ts_curvature: Whether the Hessian of a transition state is changed first, by method C.

        Raises:
            SettingsError: A weight has no such name.
        """
        chosen = _weights(weights)
        made = ReferenceData(transition_state="C" if invert_ts_curvature else ZERO_WEIGHT)
        target = QMTarget(mol, transition_state=made.transition_state)
        if include_geometry:
            for kind in ("bond_length", "bond_angle"):
                observed = REFERENCES[CATEGORIES[kind]](target).observed
                for place, value in enumerate(observed):
                    made._add(kind, float(value), chosen[kind], "", molecule_idx, place, None)
        if frequencies is not None:
            made.add_frequencies_from_array(
                frequencies, weight=chosen["frequency"], molecule_idx=molecule_idx, skip_imaginary=skip_imaginary
            )
        if include_eigenmatrix:
            made.add_eigenmatrix_from_hessian(
                target.molecule.qm_hessian / HARTREE_PER_BOHR2,
                diagonal_only=eigenmatrix_diagonal_only,
                molecule_idx=molecule_idx,
                weights=weights,
            )
        return made

    @staticmethod
    def from_molecules(  # noqa: PLR0913 - Q2MM's signature
        molecules: Sequence[Molecule],
        *,
        weights: Mapping[str, float] | None = None,
        frequencies_list: Sequence[Values] | None = None,
        skip_imaginary: bool = False,
        include_geometry: bool = True,
        include_eigenmatrix: bool = True,
        eigenmatrix_diagonal_only: bool = False,
        invert_ts_curvature: bool = False,
    ) -> ReferenceData:
        """List what the QM results of several molecules say; arguments as for `from_molecule`.

        Raises:
            SettingsError: The wavenumbers are not those of as many molecules.
        """
        if frequencies_list is not None and len(frequencies_list) != len(molecules):
            raise SettingsError(
                f"frequencies_list has {len(frequencies_list)} entries for {len(molecules)} molecules. Give one each."
            )
        made = ReferenceData(transition_state="C" if invert_ts_curvature else ZERO_WEIGHT)
        for index, molecule in enumerate(molecules):
            made.values += ReferenceData.from_molecule(
                molecule,
                weights=weights,
                molecule_idx=index,
                frequencies=None if frequencies_list is None else frequencies_list[index],
                skip_imaginary=skip_imaginary,
                include_geometry=include_geometry,
                include_eigenmatrix=include_eigenmatrix,
                eigenmatrix_diagonal_only=eigenmatrix_diagonal_only,
                invert_ts_curvature=invert_ts_curvature,
            ).values
        return made

    @staticmethod
    def from_gaussian(  # noqa: PLR0913 - Q2MM's signature
        path: FilePath,
        *,
        weights: Mapping[str, float] | None = None,
        bond_tolerance: float = BOND_TOLERANCE,
        charge: int | None = None,
        multiplicity: int | None = None,
        include_frequencies: bool = False,
        skip_imaginary: bool = False,
        include_eigenmatrix: bool = True,
    ) -> tuple[ReferenceData, Molecule]:
        """Read a log of Gaussian, or another QM result; return its observations and the molecule.

        Raises:
            FileFormatError: The file states no wavenumbers, but they are asked for.
        """
        record = _charged(read(path), charge, multiplicity)
        if include_frequencies and record.frequencies is None:
            raise FileFormatError(
                f"{path} states no wavenumbers. Leave out include_frequencies, or add them: "
                "`ref.add_frequencies_from_array(...)`."
            )
        molecule = perceive(record, bond_tolerance=bond_tolerance)
        made = ReferenceData.from_molecule(
            molecule,
            weights=weights,
            frequencies=record.frequencies if include_frequencies else None,
            skip_imaginary=skip_imaginary,
            include_eigenmatrix=include_eigenmatrix,
        )
        return made, molecule

    @staticmethod
    def from_fchk(
        path: FilePath,
        *,
        weights: Mapping[str, float] | None = None,
        bond_tolerance: float = BOND_TOLERANCE,
        charge: int | None = None,
        multiplicity: int | None = None,
    ) -> tuple[ReferenceData, Molecule]:
        """Read a formatted checkpoint of Gaussian; return its observations and the molecule."""
        molecule = perceive(_charged(read(path), charge, multiplicity), bond_tolerance=bond_tolerance)
        return ReferenceData.from_molecule(molecule, weights=weights), molecule

    def native(self, molecules: Sequence[Molecule]) -> NativeReferenceData:
        """Return the references of the library.

        Args:
            molecules: Those that `molecule_idx` counts.

        Raises:
            SettingsError: An unknown kind, a molecule, bond, angle or mode that does not exist, or a negative weight.
        """
        collected: dict[tuple[int, str], list[ReferenceValue]] = {}
        for entry in self.values:
            check_value(entry, len(molecules))
            if entry.weight > 0.0:
                collected.setdefault((entry.molecule_idx, entry.kind), []).append(entry)
        targets = {
            index: QMTarget(molecules[index], transition_state=self.transition_state)
            for index in dict.fromkeys(index for index, _ in collected)
        }
        groups = [group_of_values(targets[index], kind, entries) for (index, kind), entries in collected.items()]
        return NativeReferenceData(tuple(groups), self.transition_state)

    def _add(  # noqa: PLR0913 - the fields of a value
        self,
        kind: str,
        value: float,
        weight: float,
        label: str,
        molecule_idx: int,
        data_idx: int,
        atom_indices: tuple[int, ...] | None,
    ) -> None:
        if atom_indices is None and data_idx < 0:
            raise SettingsError(
                f"A {kind} of {value:g} is added, but not for which atoms. Give atom_indices, counted from 0, or "
                "data_idx."
            )
        self.values.append(ReferenceValue(kind, value, weight, label, molecule_idx, data_idx, atom_indices))


def _weights(given: Mapping[str, float] | None) -> dict[str, float]:
    for name in given or {}:
        if name not in WEIGHTS:
            raise SettingsError(unknown_name("weight", name, WEIGHTS))
    return {**WEIGHTS, **(given or {})}


def _charged(record: QMRecord, charge: int | None, multiplicity: int | None) -> QMRecord:
    stated = {"charge": charge, "multiplicity": multiplicity}
    return dataclasses.replace(record, **{name: value for name, value in stated.items() if value is not None})
