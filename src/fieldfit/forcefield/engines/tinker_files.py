"""Coordinate files and print-outs of the Tinker programs.

    .xyz    number of atoms; then per atom its number, symbol, coordinates [A], atom type and bonded atoms
    .hes    file of `testhess`: the diagonal of the Hessian [kcal/mol/A^2], then for every Cartesian coordinate, x, y, z
            of atom 1 first, its elements with the coordinates that follow
    stdout  `analyze E`: total energy [kcal/mol] and a table of components with their numbers of interactions;
            `testgrad`: energy, and one line " Anlyt" with the gradient [kcal/mol/A] per atom;
            `vibrate`: pairs of a number and a wavenumber [1/cm], five per line, all 3 n of them, those of translations
            and rotations included, imaginary ones negative;
            `minimize`, `newton`: energy and root mean square gradient at the end

Energies, gradients and Hessians have eight decimals if the keyword DIGITS is 8 or more, wavenumbers always three.
Formats follow the Fortran sources of the programs (analyze.f, testgrad.f, testhess.f, vibrate.f, minimize.f, readxyz.f,
prtxyz.f of https://github.com/TinkerTools/tinker, versions 8 to 25) and the Tinker User's Guide, section on file types.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.molecule import Molecule
from fieldfit.typing import Matrix, Vector

NUMBER = r"-?\d*\.\d+(?:[DEde][-+]?\d+)?"
VERSION = re.compile(r"\bVersion\s+(\d+)\.(\d+)")
COMPONENT = re.compile(rf"^ ([A-Z][A-Za-z -]*[A-Za-z])\s+({NUMBER})\s+(\d+)\s*$", re.MULTILINE)
GRADIENT = re.compile(rf"^ Anlyt\s+(\d+)\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+{NUMBER}\s*$", re.MULTILINE)
WAVENUMBER = re.compile(rf"(\d+)\s+({NUMBER})")


class Component(NamedTuple):
    """The energy [kcal/mol] of one kind of interaction and the number of such interactions."""

    name: str
    energy: float
    interactions: int


def write_xyz(molecule: Molecule, x: Matrix) -> str:
    """Return a coordinate file in which every atom has an atom type of its own, numbered like the atom.

    Args:
        molecule: The molecule.
        x: Coordinates [A], shape (atoms, 3).
    """
    lines = [f"{molecule.n_atoms:6d}"]
    atoms = zip(molecule.record.symbols, x, molecule.neighbours, strict=True)
    for number, (symbol, position, neighbours) in enumerate(atoms, 1):
        numbers = "".join(f"{entry:18.12f}" for entry in position)
        lines.append(f"{number:6d}  {symbol:<3}{numbers}{number:6d}{''.join(f'{atom + 1:6d}' for atom in neighbours)}")
    return "\n".join(lines) + "\n"


def read_coordinates(text: str, n_atoms: int) -> Matrix:
    """Return the coordinates [A] of a coordinate file, shape (atoms, 3).

    Raises:
        FileFormatError: It holds another number of atoms or something that is no number.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    rows = [fields[2:5] for fields in lines[1:] if len(fields) >= 6]
    if len(rows) != n_atoms:
        raise FileFormatError(f"The Tinker coordinate file holds {len(rows)} atoms instead of {n_atoms}.")
    return np.array([_numbers(row) for row in rows])


def read_version(text: str) -> tuple[int, int] | None:
    """Return the version that a Tinker program states in the banner of its print-out; None if there is no banner."""
    found = VERSION.search(text) if "tinker" in text.lower() else None
    return None if found is None else (int(found[1]), int(found[2]))


def read_energy(text: str) -> float:
    """Return the total energy [kcal/mol] that `analyze` or `testgrad` printed.

    Raises:
        FileFormatError: There is none.
    """
    return _after("Total Potential Energy :", text)


def read_components(text: str) -> tuple[Component, ...]:
    """Return the energies by kind of interaction that `analyze` printed.

    Raises:
        FileFormatError: There is no such table.
    """
    table = _section("Energy Component Breakdown :", text)
    return tuple(Component(name, _number(energy), int(count)) for name, energy, count in COMPONENT.findall(table))


def read_gradient(text: str, n_atoms: int) -> Vector:
    """Return the gradient [kcal/mol/A] that `testgrad` printed, shape (3 atoms,).

    Raises:
        FileFormatError: It is missing or incomplete.
    """
    rows = GRADIENT.findall(_section("Cartesian Gradient Breakdown over Individual Atoms :", text))
    if [int(row[0]) for row in rows] != list(range(1, n_atoms + 1)):
        raise FileFormatError(f"The gradient printed by testgrad has {len(rows)} readable rows instead of {n_atoms}.")
    return np.array([_numbers(row[1:]) for row in rows]).ravel()


def read_hessian(text: str, n_atoms: int) -> Matrix:
    """Return the Hessian [kcal/mol/A^2] of a .hes file, shape (3 atoms, 3 atoms).

    Raises:
        FileFormatError: An element is missing.
    """
    n = 3 * n_atoms
    blocks = [_numbers(block.split()) for block in re.split(r"^.*Hessian Elements.*$", text, flags=re.MULTILINE)[1:]]
    if [len(block) for block in blocks] != [n, *range(n - 1, 0, -1)]:
        raise FileFormatError(
            f"The Hessian file of {n_atoms} atoms should hold {n} diagonal elements and then {n - 1} to 1 elements per "
            f"row, but its {len(blocks)} sections hold {[len(block) for block in blocks][:8]} ..."
        )
    hessian = np.zeros((n, n))
    hessian[np.triu_indices(n, 1)] = np.concatenate(blocks[1:])
    return hessian + hessian.T + np.diag(blocks[0])


def read_frequencies(text: str, n_atoms: int) -> Vector:
    """Return the wavenumbers [1/cm] that `vibrate` printed, shape (3 atoms,), imaginary ones negative.

    Raises:
        FileFormatError: Some are missing.
    """
    table = _section("Vibrational Frequencies (cm-1) :", text)
    rows = WAVENUMBER.findall(re.split(r"\n\s*\n", table.strip())[0])
    if [int(row[0]) for row in rows] != list(range(1, 3 * n_atoms + 1)):
        raise FileFormatError(f"vibrate printed {len(rows)} readable wavenumbers instead of {3 * n_atoms}.")
    return np.array([_number(row[1]) for row in rows])


def read_minimum(text: str) -> tuple[float, float]:
    """Return the energy [kcal/mol] and the root mean square gradient per atom [kcal/mol/A] at the end of a relaxation.

    Raises:
        FileFormatError: They are missing.
    """
    return _after("Final Function Value :", text), _after("Final RMS Gradient :", text)


def _after(title: str, text: str) -> float:
    found = re.match(rf"\s*({NUMBER})", _section(title, text))
    if found is None:
        raise FileFormatError(f"The print-out has no readable number after {title!r}.")
    return _number(found[1])


def _section(title: str, text: str) -> str:
    """Return what follows a title."""
    _, found, rest = text.partition(title)
    if not found:
        raise FileFormatError(f"The print-out has no section {title!r}.")
    return rest


def _numbers(fields: list[str] | tuple[str, ...]) -> Vector:
    return np.array([_number(entry) for entry in fields])


def _number(field: str) -> float:
    """Return a number; Fortran writes the exponent with D, and stars if a number is too long for its field."""
    try:
        return float(field.upper().replace("D", "E"))
    except ValueError as error:
        raise FileFormatError(f"{field!r} is not a number.") from error
