"""Force constants of bonds and angles from blocks of the Hessian: FUERZA and its relatives.

Symbols. u_ij is the unit vector from atom i to atom j, r_ij their distance, h_ij = -H[i, j] the 3 x 3 block of the
Hessian with its sign changed: how a displacement of j pulls at i. Its eigenpairs are (lambda_n, e_n). The block is not
symmetric, so that they may be complex. All constants are for E = k x^2, without a half.

Seminario (FUERZA). The stiffness of the pair against a displacement along u is

    f_ij(u) = Re sum_n lambda_n |e_n . u|,

    bond:   k = 1/2 f_ij(u_ij), mean of i j and j i,
    angle:  1/k = 2 / (r_ij^2 f_ij(u_i)) + 2 / (r_kj^2 f_kj(u_k)), u_i, u_k perpendicular to the bonds in the plane ijk.

Modified Seminario. A displacement along u_i also opens the other angles that share the bond i j. Its stiffness is
divided by 1 + mean |u_i . u_i'|^2 over those angles.

QFUERZA takes 0.5 mdyn A/rad^2 for angles that end in hydrogen, for which FUERZA is twice too stiff; gamma-FUERZA
multiplies every angle constant by 0.68; the approximation of Q2MM is 5 mdyn/A for every bond and 0.5 mdyn A/rad^2 for
every angle.

Two cases the papers leave open. Where eigenvalues coincide, as perpendicular to a threefold axis, eigenvectors are
arbitrary, and so would be the sum of |e_n . u|: such a set enters as its common eigenvalue times the length of the
projection of u on its space. In a linear angle no plane is defined: f is the mean of u.h.u over two perpendicular
directions, whichever, and |u . u'|^2 is 1/2.

References:
    Seminario (1996), Int. J. Quantum Chem. 60, 1271, doi:10.1002/(SICI)1097-461X(1996)60:7<1271::AID-QUA8>3.0.CO;2-W.
    Allen, Payne, Cole (2018), J. Chem. Theory Comput. 14, 274, doi:10.1021/acs.jctc.7b00785.
    Farrugia, Helquist, Norrby, Wiest (2025), J. Chem. Theory Comput. 22, 469, doi:10.1021/acs.jctc.5c01751.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.constants import KCAL_PER_MDYN_A

AtomLists: TypeAlias = Sequence[Sequence[int]] | Int[np.ndarray, "terms members"]

TYPICAL_BOND = 0.5 * 5.0 * KCAL_PER_MDYN_A
"""Bond constant of the approximation [kcal/mol/A^2]: 5 mdyn/A in E = k x^2 / 2."""

TYPICAL_ANGLE = 0.5 * 0.5 * KCAL_PER_MDYN_A
"""Angle constant of the approximation and of hydrogen in QFUERZA [kcal/mol/rad^2]: 0.5 mdyn A/rad^2."""

GAMMA = 0.68
"""Factor of gamma-FUERZA on angle constants (Farrugia et al. 2025)."""

LINEAR = math.sin(math.radians(5.0))
"""Sine of an angle below which it is treated as linear."""

_COINCIDENCE = 1e-3
"""Eigenvalues closer than this, as a fraction of the largest, count as equal."""


@dataclass(frozen=True, eq=False)
class ForceConstants:
    """Force constants of E = k x^2, one per bond and angle.

    Args:
        bonds: Bond constants [kcal/mol/A^2], shape (bonds,).
        angles: Angle constants [kcal/mol/rad^2], shape (angles,).
    """

    bonds: Float[np.ndarray, " bonds"]
    angles: Float[np.ndarray, " angles"]


def seminario(
    hessian: Float[np.ndarray, "dof dof"],
    coordinates: Float[np.ndarray, "atoms 3"],
    bonds: AtomLists,
    angles: AtomLists,
    *,
    scale: float = 1.0,
) -> ForceConstants:
    """Estimate force constants by the method of Seminario, also called FUERZA.

    Args:
        hessian: Second derivatives of the energy [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        bonds: Pairs of atoms (i, j), counted from 0.
        angles: Triples of atoms (i, j, k), counted from 0, j the centre.
        scale: Factor on all constants that makes up for the errors of the Hessian; the square of the factor that is
            customary for wavenumbers.

    Returns:
        One constant per bond and angle, negative where the Hessian is.

    Raises:
        MoleculeError: An atom does not exist, or two atoms are at the same place.

    References:
        Seminario (1996), Int. J. Quantum Chem. 60, 1271.
    """
    _check(hessian, coordinates, bonds, angles)
    levers = [[_lever(hessian, coordinates, end) for end in _ends(angle)] for angle in angles]
    return _scaled([bond_constant(hessian, coordinates, bond) for bond in bonds], levers, scale)


def modified_seminario(
    hessian: Float[np.ndarray, "dof dof"],
    coordinates: Float[np.ndarray, "atoms 3"],
    bonds: AtomLists,
    angles: AtomLists,
    *,
    scale: float = 1.0,
) -> ForceConstants:
    """Estimate force constants by the modified Seminario method.

    Args:
        hessian: Second derivatives of the energy [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        bonds: Pairs of atoms (i, j), counted from 0.
        angles: Triples of atoms (i, j, k), counted from 0, j the centre: all angles of the molecule.
        scale: Factor on all constants, as for `seminario`; the authors use 0.957^2 for wB97X-D/6-311++G(d,p).

    Returns:
        One constant per bond and angle, negative where the Hessian is.

    Raises:
        MoleculeError: An atom does not exist, or two atoms are at the same place.

    References:
        Allen, Payne, Cole (2018), J. Chem. Theory Comput. 14, 274, doi:10.1021/acs.jctc.7b00785.
    """
    _check(hessian, coordinates, bonds, angles)
    shares = _shares(coordinates, angles)
    levers = [[_lever(hessian, coordinates, end) / shares[end] for end in _ends(angle)] for angle in angles]
    return _scaled([bond_constant(hessian, coordinates, bond) for bond in bonds], levers, scale)


def qfuerza(
    hessian: Float[np.ndarray, "dof dof"],
    coordinates: Float[np.ndarray, "atoms 3"],
    bonds: AtomLists,
    angles: AtomLists,
    *,
    symbols: Sequence[str],
    scale: float = 1.0,
) -> ForceConstants:
    """Estimate force constants by QFUERZA: FUERZA, but a fixed constant for angles that end in hydrogen.

    Args:
        hessian: Second derivatives of the energy [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        bonds: Pairs of atoms (i, j), counted from 0.
        angles: Triples of atoms (i, j, k), counted from 0, j the centre.
        symbols: Element symbols, one per atom.
        scale: Factor on the constants taken from the Hessian, as for `seminario`.

    Returns:
        One constant per bond and angle; `TYPICAL_ANGLE`, unscaled, where i or k is hydrogen.

    Raises:
        MoleculeError: An atom does not exist, or two atoms are at the same place.

    References:
        Farrugia, Helquist, Norrby, Wiest (2025), J. Chem. Theory Comput. 22, 469, doi:10.1021/acs.jctc.5c01751.
    """
    estimate = seminario(hessian, coordinates, bonds, angles, scale=scale)
    ends_in_hydrogen = [any(symbols[atom].upper() == "H" for atom in (i, k)) for i, _, k in angles]
    constants = [
        TYPICAL_ANGLE if hydrogen else k for hydrogen, k in zip(ends_in_hydrogen, estimate.angles, strict=True)
    ]
    return ForceConstants(estimate.bonds, np.array(constants, dtype=np.float64))


def gamma_fuerza(
    hessian: Float[np.ndarray, "dof dof"],
    coordinates: Float[np.ndarray, "atoms 3"],
    bonds: AtomLists,
    angles: AtomLists,
    *,
    scale: float = 1.0,
) -> ForceConstants:
    """Estimate force constants by gamma-FUERZA: FUERZA with all angle constants reduced by one factor.

    Args:
        hessian: Second derivatives of the energy [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        bonds: Pairs of atoms (i, j), counted from 0.
        angles: Triples of atoms (i, j, k), counted from 0, j the centre.
        scale: Factor on all constants, as for `seminario`.

    Returns:
        The constants of `seminario`, those of angles times `GAMMA`.

    Raises:
        MoleculeError: An atom does not exist, or two atoms are at the same place.

    References:
        Farrugia, Helquist, Norrby, Wiest (2025), J. Chem. Theory Comput. 22, 469, doi:10.1021/acs.jctc.5c01751.
    """
    estimate = seminario(hessian, coordinates, bonds, angles, scale=scale)
    return ForceConstants(estimate.bonds, GAMMA * estimate.angles)


def approximation(bonds: AtomLists, angles: AtomLists) -> ForceConstants:
    """Take the same constant for every bond and the same for every angle, as Q2MM starts without a Hessian.

    Args:
        bonds: Pairs of atoms.
        angles: Triples of atoms.

    Returns:
        `TYPICAL_BOND` for each bond, `TYPICAL_ANGLE` for each angle.
    """
    return ForceConstants(np.full(len(bonds), TYPICAL_BOND), np.full(len(angles), TYPICAL_ANGLE))


def bond_constant(
    hessian: Float[np.ndarray, "dof dof"], coordinates: Float[np.ndarray, "atoms 3"], bond: Sequence[int]
) -> float:
    """Estimate the force constant of one bond, unscaled.

    Args:
        hessian: Second derivatives of the energy [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        bond: Its two atoms, counted from 0.

    Returns:
        The constant of E = k x^2 [kcal/mol/A^2], the same for both orders of the atoms.

    References:
        Seminario (1996), Int. J. Quantum Chem. 60, 1271, equation 10.
    """
    i, j = bond
    u, _ = _direction(coordinates, i, j)
    return 0.25 * (_stiffness(_block(hessian, i, j), u) + _stiffness(_block(hessian, j, i), u))


def angle_constant(
    hessian: Float[np.ndarray, "dof dof"], coordinates: Float[np.ndarray, "atoms 3"], angle: Sequence[int]
) -> float:
    """Estimate the force constant of one angle, unscaled and without regard to other angles.

    Args:
        hessian: Second derivatives of the energy [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        angle: Its three atoms, counted from 0, the centre in the middle.

    Returns:
        The constant of E = k x^2 [kcal/mol/rad^2].

    References:
        Seminario (1996), Int. J. Quantum Chem. 60, 1271, equation 14.
    """
    first, second = (_lever(hessian, coordinates, end) for end in _ends(angle))
    return _series(first, second)


def _scaled(bond_constants: list[float], levers: list[list[float]], scale: float) -> ForceConstants:
    angle_constants = [_series(first, second) for first, second in levers]
    return ForceConstants(
        scale * np.array(bond_constants, dtype=np.float64), scale * np.array(angle_constants, dtype=np.float64)
    )


# An end of an angle: outer atom, centre, other outer atom.
_End: TypeAlias = tuple[int, int, int]


def _ends(angle: Sequence[int]) -> tuple[_End, _End]:
    i, j, k = (int(atom) for atom in angle)
    return (i, j, k), (k, j, i)


def _series(first: float, second: float) -> float:
    """Join two springs in series: 1/k = 2 / first + 2 / second."""
    total = first + second
    return 0.5 * first * second / total if total != 0.0 else 0.0


def _lever(hessian: np.ndarray, coordinates: np.ndarray, end: _End) -> float:
    """Stiffness r^2 f [kcal/mol/rad^2] of one end of an angle."""
    i, j, _ = end
    h = _block(hessian, i, j)
    _, length = _direction(coordinates, i, j)
    perpendicular = _perpendicular(coordinates, end)
    f = np.sum(_spread(coordinates, end) * h) if perpendicular is None else _stiffness(h, perpendicular)
    return length**2 * float(f)


def _stiffness(h: np.ndarray, u: np.ndarray) -> float:
    """Stiffness Re sum_n lambda_n |e_n . u| of a block along a direction [kcal/mol/A^2]."""
    values, vectors = np.linalg.eig(h)
    projections = np.abs(vectors.T @ u)
    gaps = {pair: abs(values[pair[0]] - values[pair[1]]) for pair in ((0, 1), (0, 2), (1, 2))}
    limit = _COINCIDENCE * np.abs(values).max()
    if max(gaps.values()) <= limit:
        return float(np.real(values.mean()))
    (a, b), gap = min(gaps.items(), key=lambda item: item[1])
    if gap > limit:
        return float(np.real(values @ projections))
    # The space that belongs to a and b is perpendicular to the left eigenvector of the third, c.
    c = 3 - a - b
    left_values, left_vectors = np.linalg.eig(h.T)
    left = left_vectors[:, np.abs(left_values - values[c]).argmin()]
    across = math.sqrt(max(0.0, 1.0 - abs(left @ u) ** 2))
    return float(np.real(values[c] * projections[c] + 0.5 * (values[a] + values[b]) * across))


def _shares(coordinates: np.ndarray, angles: AtomLists) -> dict[_End, float]:
    """Factor 1 + mean |u . u'|^2 by which each end of each angle is divided in the modified method."""
    spreads = {end: _spread(coordinates, end) for angle in angles for end in _ends(angle)}
    around: dict[tuple[int, int], list[_End]] = {}
    for end in spreads:
        around.setdefault(end[:2], []).append(end)
    shares = {}
    for end, spread in spreads.items():
        overlaps = [float(np.sum(spread * spreads[other])) for other in around[end[:2]] if other != end]
        shares[end] = 1.0 + math.fsum(overlaps) / max(len(overlaps), 1)
    return shares


def _spread(coordinates: np.ndarray, end: _End) -> np.ndarray:
    """Matrix u u^T of the direction in which an end opens its angle, averaged over directions if it is linear."""
    perpendicular = _perpendicular(coordinates, end)
    if perpendicular is not None:
        return np.outer(perpendicular, perpendicular)
    along, _ = _direction(coordinates, end[0], end[1])
    return 0.5 * (np.eye(3) - np.outer(along, along))


def _perpendicular(coordinates: np.ndarray, end: _End) -> np.ndarray | None:
    """Unit vector perpendicular to the bond i j in the plane i j k, None if the angle is linear."""
    i, j, k = end
    along, _ = _direction(coordinates, i, j)
    normal = np.cross(_direction(coordinates, k, j)[0], along)
    sine = np.linalg.norm(normal)
    return np.cross(normal, along) / sine if sine > LINEAR else None


def _direction(coordinates: np.ndarray, i: int, j: int) -> tuple[np.ndarray, float]:
    """Unit vector from atom i to atom j, and their distance [A]."""
    difference = coordinates[j] - coordinates[i]
    length = float(np.linalg.norm(difference))
    return difference / length, length


def _block(hessian: np.ndarray, i: int, j: int) -> np.ndarray:
    return -hessian[3 * i : 3 * i + 3, 3 * j : 3 * j + 3]


def _check(hessian: np.ndarray, coordinates: np.ndarray, bonds: AtomLists, angles: AtomLists) -> None:
    atoms = len(coordinates)
    if hessian.shape != (3 * atoms, 3 * atoms):
        raise MoleculeError(
            f"The Hessian has shape {hessian.shape}, but {atoms} atoms need {(3 * atoms, 3 * atoms)}. "
            "Check that geometry and Hessian come from the same calculation."
        )
    pairs = [tuple(bond) for bond in bonds] + [(end[0], end[1]) for angle in angles for end in _ends(angle)]
    for i, j in pairs:
        if not (0 <= i < atoms and 0 <= j < atoms) or np.array_equal(coordinates[i], coordinates[j]):
            raise MoleculeError(
                f"Atoms {i} and {j}, counted from 0, cannot be bonded: one is not among the {atoms} atoms, or they are "
                "at the same place. Check bonds and geometry."
            )
