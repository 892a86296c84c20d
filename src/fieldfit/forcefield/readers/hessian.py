"""Hessians as programs write them: units, triangles, asymmetry, and whether the unit can be right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError, MoleculeError, SettingsError
from fieldfit.forcefield.constants import HARTREE, HARTREE_PER_BOHR2, KCAL_PER_MDYN_A, KJ_PER_KCAL
from fieldfit.forcefield.elements import covalent_radius
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.vibrations import normal_modes, wavenumber
from fieldfit.registry import unknown_name

ATOMIC_UNIT = "hartree/bohr^2"
"""The unit in which almost every program writes Hessians."""

_ELECTRONVOLT_PER_HARTREE = 27.211386245988  # CODATA 2018
_ANGSTROM_PER_NANOMETRE = 10.0

HESSIAN_UNITS: Mapping[str, float] = MappingProxyType(
    {
        ATOMIC_UNIT: HARTREE_PER_BOHR2,
        "hartree/angstrom^2": HARTREE,
        "kcal/mol/angstrom^2": 1.0,
        "kj/mol/angstrom^2": 1.0 / KJ_PER_KCAL,
        "kj/mol/nm^2": 1.0 / KJ_PER_KCAL / _ANGSTROM_PER_NANOMETRE**2,
        "ev/angstrom^2": HARTREE / _ELECTRONVOLT_PER_HARTREE,
        "mdyn/angstrom": KCAL_PER_MDYN_A,
    }
)
"""Units of a Hessian [kcal/mol/A^2]."""

HIGHEST_WAVENUMBER = 6000.0
"""No molecule vibrates faster [1/cm]: hydrogen, the lightest, reaches 4400 harmonically."""

_SOFTEST_BOND = 0.05 * KCAL_PER_MDYN_A
"""No bond is softer [kcal/mol/A^2]: the caesium dimer, one of the softest, has 0.07 mdyn/A."""

_BOND_REACH = 1.3
"""Atoms closer than this times the sum of their covalent radii are bonded."""

_ASYMMETRY = 0.05
"""Largest difference between a Hessian and its transpose, as a fraction of its largest element. Numerical
differentiation leaves 0.01; what is much less symmetric is something else, or damaged."""


def hessian_factor(unit: str) -> float:
    """Look up the size of a unit of Hessians.

    Args:
        unit: A key of `HESSIAN_UNITS`, upper or lower case.

    Returns:
        The unit [kcal/mol/A^2].

    Raises:
        SettingsError: No unit has that name.
    """
    if unit.lower() not in HESSIAN_UNITS:
        raise SettingsError(unknown_name("unit of a Hessian", unit, HESSIAN_UNITS))
    return HESSIAN_UNITS[unit.lower()]


def unpack_triangle(values: Float[np.ndarray, " n"], atoms: int, *, origin: str) -> Float[np.ndarray, "dof dof"]:
    """Build a symmetric matrix from its lower triangle.

    Args:
        values: Elements, row by row, in any unit, shape (dof (dof + 1) / 2,).
        atoms: Number of atoms; dof is three times that.
        origin: File, for messages.

    Returns:
        The matrix in the same unit, shape (dof, dof).

    Raises:
        FileFormatError: There are too few or too many elements.
    """
    dof = 3 * atoms
    check_count(values, dof * (dof + 1) // 2, what=f"{origin}: the lower triangle of the Hessian of {atoms} atoms")
    matrix = np.zeros((dof, dof))
    matrix[np.tril_indices(dof)] = values
    return matrix + np.tril(matrix, -1).T


def symmetrise(matrix: Float[np.ndarray, "dof dof"], *, origin: str) -> Float[np.ndarray, "dof dof"]:
    """Remove the noise that makes a printed Hessian unsymmetric.

    Args:
        matrix: Hessian in any unit, shape (dof, dof).
        origin: File, for messages.

    Returns:
        The mean of the matrix and its transpose.

    Raises:
        FileFormatError: The asymmetry is more than noise.
    """
    difference, largest = np.abs(matrix - matrix.T).max(), np.abs(matrix).max()
    if difference > _ASYMMETRY * largest:
        raise FileFormatError(
            f"{origin}: the Hessian differs from its transpose by up to {difference:.3g}, its largest element being "
            f"{largest:.3g}. That is more than noise: check that the matrix is complete and is a Hessian."
        )
    return 0.5 * (matrix + matrix.T)


def check_count(values: Sized, expected: int, *, what: str) -> None:
    """Refuse a list that does not have the length it must have.

    Args:
        values: What was found.
        expected: How many there must be.
        what: File and quantity, for the message.

    Raises:
        FileFormatError: The numbers differ.
    """
    if len(values) != expected:
        raise FileFormatError(
            f"{what} has {expected} numbers, but {len(values)} were found. The file is truncated, or its parts belong "
            "to different molecules: copy it again or repeat the calculation."
        )


def check_hessian_unit(record: QMRecord, unit: str = ATOMIC_UNIT) -> None:
    """Refuse a Hessian whose vibrations are so fast or so slow that its unit must be another.

    Args:
        record: Result to check; one without a Hessian passes.
        unit: Unit the Hessian was read in, a key of `HESSIAN_UNITS`.

    Raises:
        MoleculeError: The fastest vibration is beyond any molecule's, or slower than any bond allows.
    """
    if record.hessian is None or record.n_atoms == 1:
        return
    eigenvalues = normal_modes(record.hessian, record.coordinates, record.masses).eigenvalues
    largest = wavenumber(float(np.abs(eigenvalues).max()))
    lowest = _lowest_plausible(record)
    if lowest <= largest <= HIGHEST_WAVENUMBER:
        return
    candidates = [
        f"{wavenumber_if:.1f} 1/cm if they were {other}"
        for other, factor in HESSIAN_UNITS.items()
        if lowest <= (wavenumber_if := largest * math.sqrt(factor / hessian_factor(unit))) <= HIGHEST_WAVENUMBER
    ]
    raise MoleculeError(
        f"{record.name}: the largest wavenumber of the Hessian is {largest:.1f} 1/cm, its numbers read as {unit}, but "
        f"that of this molecule must lie between {lowest:.0f} and {HIGHEST_WAVENUMBER:.0f} 1/cm. It would be "
        f"{', '.join(candidates) or 'no better in any other unit'}. Check the unit of the Hessian and the masses [u]."
    )


def _lowest_plausible(record: QMRecord) -> float:
    """Find the wavenumber [1/cm] of a spring softer than any bond on the lightest bonded atom, 0 without bonds."""
    radii = np.array([covalent_radius(symbol) for symbol in record.symbols])
    distances = np.linalg.norm(record.coordinates[:, None] - record.coordinates, axis=-1)
    bonded = distances < _BOND_REACH * (radii[:, None] + radii)
    np.fill_diagonal(bonded, False)
    if not bonded.any():
        return 0.0
    return wavenumber(float(_SOFTEST_BOND / record.masses[bonded.any(axis=0)].min()))
