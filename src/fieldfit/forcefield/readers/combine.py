"""One result from several files of one calculation.

Programs spread a result over files: Jaguar's restart file holds the Hessian, its output energy and frequencies. What
one file lacks is taken from the next, after a check that both speak of the same atoms, masses, charge and geometry;
derivatives are turned into the frame of the first. A Hessian and printed wavenumbers that come together must agree.
"""

from __future__ import annotations

import dataclasses
from typing import NoReturn

import numpy as np
from jaxtyping import Float

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.vibrations import align, normal_modes

GEOMETRY_TOLERANCE = 1e-3
"""Largest distance of an atom from itself in two files of one calculation [A]; programs print at least four digits."""

WAVENUMBER_TOLERANCE = 1.0
"""Largest difference between a printed wavenumber and that of the Hessian [1/cm]: more than digits and the treatment
of rigid motions account for."""

_MASS_TOLERANCE = 1e-3
"""Largest difference between two masses of an isotope [u]: tables differ in the fifth digit."""

_ENERGY_TOLERANCE = 1e-3
"""Largest difference between two energies [kcal/mol]: programs print at least six digits of a hartree."""

_QUANTITIES = ("hessian", "gradient", "energy", "frequencies")


def combine(record: QMRecord, *others: QMRecord, tolerance: float = GEOMETRY_TOLERANCE) -> QMRecord:
    """Fill what a result lacks with other results of the same calculation.

    Args:
        record: The result that keeps its name, geometry, frame and masses.
        others: Results that supply what it lacks of Hessian, gradient, energy and frequencies, the first one first.
        tolerance: Largest distance of an atom from itself after one geometry is laid over the other [A].

    Returns:
        The result with everything; its `source` names the file of each quantity that was taken over.

    Raises:
        MoleculeError: Elements, masses, charge, multiplicity, energy or geometry differ, or the printed wavenumbers
            are not those of the Hessian.

    Examples:
        >>> record = combine(read("rh.01.in"), read("rh.out"))               # doctest: +SKIP
    """
    for other in others:
        record = _fill(record, other, tolerance)
    return record


def _fill(record: QMRecord, other: QMRecord, tolerance: float) -> QMRecord:
    _check_same_molecule(record, other)
    other = _turned(other, record, tolerance)
    if record.energy is not None and other.energy is not None and abs(record.energy - other.energy) > _ENERGY_TOLERANCE:
        _refuse(record, other, f"their energies are {record.energy:.3f} and {other.energy:.3f} kcal/mol")
    missing = [name for name in _QUANTITIES if getattr(record, name) is None and getattr(other, name) is not None]
    file = other.source.get("file", other.name)
    filled = dataclasses.replace(
        record,
        **{name: getattr(other, name) for name in missing},
        source={**other.source, **record.source, **dict.fromkeys(missing, file)},
    )
    if "hessian" in missing or "frequencies" in missing:
        _check_wavenumbers(filled, record, other)
    return filled


def _check_same_molecule(record: QMRecord, other: QMRecord) -> None:
    if record.symbols != other.symbols:
        _refuse(record, other, f"their atoms are {' '.join(record.symbols)} and {' '.join(other.symbols)}")
    states = [(entry.charge, entry.multiplicity) for entry in (record, other)]
    if states[0] != states[1]:
        _refuse(record, other, f"their charges and multiplicities are {states[0]} and {states[1]}")
    difference = np.abs(record.masses - other.masses)
    if difference.max() > _MASS_TOLERANCE:
        atom = int(difference.argmax())
        masses = f"{record.masses[atom]:.5f} and {other.masses[atom]:.5f} u"
        _refuse(record, other, f"the masses of atom {atom + 1} ({record.symbols[atom]}) are {masses}")


def _turned(other: QMRecord, record: QMRecord, tolerance: float) -> QMRecord:
    """Turn the derivatives of a result into the frame of another one."""
    rotation, moved = align(other.coordinates, record.coordinates, record.masses)
    distances = np.linalg.norm(moved - record.coordinates, axis=1)
    if distances.max() > tolerance:
        atom = int(distances.argmax())
        where = f"atom {atom + 1} ({record.symbols[atom]}) lies {distances[atom]:.4f} A from itself"
        _refuse(record, other, f"their geometries differ: {where} when one is laid over the other")
    return dataclasses.replace(
        other,
        hessian=None if other.hessian is None else _turn_hessian(other.hessian, rotation),
        gradient=None if other.gradient is None else other.gradient @ rotation.T,
    )


def _turn_hessian(
    hessian: Float[np.ndarray, "dof dof"], rotation: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "dof dof"]:
    turns = np.kron(np.eye(len(hessian) // 3), rotation)
    return turns @ hessian @ turns.T


def _check_wavenumbers(filled: QMRecord, record: QMRecord, other: QMRecord) -> None:
    if filled.hessian is None or filled.frequencies is None:
        return
    computed = normal_modes(filled.hessian, filled.coordinates, filled.masses).frequencies
    printed = np.sort(filled.frequencies)
    if len(computed) != len(printed):
        _refuse(record, other, f"{len(printed)} wavenumbers are printed, but the Hessian has {len(computed)}")
    difference = np.abs(computed - printed)
    if difference.max() > WAVENUMBER_TOLERANCE:
        mode = int(difference.argmax())
        values = f"{printed[mode]:.2f} and {computed[mode]:.2f} 1/cm"
        _refuse(record, other, f"wavenumber {mode + 1} is {values} as printed and from the Hessian")


def _refuse(record: QMRecord, other: QMRecord, reason: str) -> NoReturn:
    files = [repr(entry.source.get("file", entry.name)) for entry in (record, other)]
    raise MoleculeError(
        f"{files[0]} and {files[1]} are not of the same calculation: {reason}. Give files of one job, with the same "
        "masses and without scaled frequencies."
    )
