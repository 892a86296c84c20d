"""Harmonic vibrations: normal modes without rigid motion, and which mode is which.

Problem. Given the Hessian H [kcal/mol/A^2], coordinates r_i [A] and masses m_i [u] of N atoms, find the harmonic
vibrations and compare those of two models of one molecule.

Normal modes. With M the diagonal matrix of masses, A = M^-1/2 H M^-1/2. Translations and rotations are the columns

    sqrt(m_i) e_a    and    sqrt(m_i) e_a x (r_i - r_com),    a = x, y, z,

orthonormalised; their rank is 6, 5 for a linear molecule, 3 for an atom. A is diagonalised in the complement Q of
these columns: Q^T A Q = V diag(lambda) V^T, L = Q V. This keeps every vibration, however soft, and a gradient left
over at the geometry does not leak into the modes through the rotations (H (w x r) = w x g). The wavenumber of an
eigenvalue is 108.59 sqrt(lambda), negative for the imaginary frequency of a negative lambda.

Pairing. The modes of two models in one frame are paired by maximising sum_k S_k,p(k), S_kj = (l_k . l'_j)^2, over the
permutations p: the order of wavenumbers is not kept when a parameter changes. Modes of nearly equal wavenumber span a
space in which their directions are arbitrary, so agreement is measured between spaces: S is averaged over the sets of
nearly degenerate modes of either side,

    A S B,    A_kl = 1 / n of the set  if k and l belong to one set, otherwise 0;    B likewise for l',

which no rotation within a set changes. What this leaves open, which member goes with which, S itself decides.

References:
    Wilson, Decius, Cross (1955), Molecular Vibrations, chapters 2 and 11.
    Kabsch (1976), Acta Cryst. A32, 922, doi:10.1107/S0567739476001873.
    Kuhn (1955), Naval Res. Logist. Quart. 2, 83, doi:10.1002/nav.3800020109.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np
import scipy.optimize
from jaxtyping import Float, Int

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.constants import WAVENUMBER

LINEARITY = 1e-3
"""A molecule is linear if its smallest radius of gyration is below this fraction of its largest."""

DEGENERACY = 3.0
"""Neighbouring wavenumbers closer than this are compared as one space [1/cm]."""

TIE_BREAK = 1e-9
"""Weight of the overlaps of single modes beside those of whole sets: above rounding, below every real difference."""

_ASYMMETRY = 1e-6
"""Largest difference between H and its transpose, as a fraction of the largest element of H."""


@dataclass(frozen=True, eq=False)
class NormalModes:
    """Vibrations of a molecule, without its rigid motions.

    Args:
        eigenvalues: Eigenvalues of the mass-weighted Hessian [kcal/mol/A^2/u], ascending, shape (modes,).
        modes: Mass-weighted normal modes, orthonormal columns, shape (3 atoms, modes).
    """

    eigenvalues: Float[np.ndarray, " modes"]
    modes: Float[np.ndarray, "dof modes"]

    @property
    def frequencies(self) -> Float[np.ndarray, " modes"]:
        """Wavenumbers [1/cm], ascending, imaginary ones negative, shape (modes,)."""
        return wavenumber(self.eigenvalues)

    def rotated(self, rotation: Float[np.ndarray, "3 3"]) -> NormalModes:
        """Turn the modes into another frame.

        Args:
            rotation: Rotation matrix, as `align` finds it, shape (3, 3).

        Returns:
            The same vibrations with every atom's displacement d replaced by rotation @ d.
        """
        atoms = np.eye(len(self.modes) // 3)
        return NormalModes(self.eigenvalues, np.kron(atoms, rotation) @ self.modes)


def normal_modes(
    hessian: Float[np.ndarray, "dof dof"],
    coordinates: Float[np.ndarray, "atoms 3"],
    masses: Float[np.ndarray, " atoms"],
) -> NormalModes:
    """Compute the vibrations of a molecule with its rigid motions projected out.

    Args:
        hessian: Second derivatives of the energy [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        coordinates: Cartesian coordinates in the frame of the Hessian [A], shape (atoms, 3).
        masses: Atomic masses [u], shape (atoms,).

    Returns:
        The 3 atoms - 6 vibrations, 3 atoms - 5 of a linear molecule.

    Raises:
        MoleculeError: The Hessian does not fit the atoms, is not symmetric or is not finite.

    References:
        Wilson, Decius, Cross (1955), Molecular Vibrations, chapters 2 and 11.

    Examples:
        >>> import numpy as np
        >>> k = 2.0 * 414.0  # hydrogen: E = 414 (r - r0)^2 kcal/mol
        >>> bond = np.diag([0.0, 0.0, k])
        >>> hessian = np.block([[bond, -bond], [-bond, bond]])
        >>> coordinates = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]])
        >>> normal_modes(hessian, coordinates, np.ones(2)).frequencies.round()
        array([4419.])
    """
    _check_hessian(hessian, len(coordinates))
    rigid = rigid_motions(coordinates, masses)
    Q = np.linalg.qr(rigid, mode="complete").Q[:, rigid.shape[1] :]
    scale = 1.0 / np.sqrt(np.repeat(masses, 3))
    A = scale[:, None] * hessian * scale
    eigenvalues, V = np.linalg.eigh(Q.T @ A @ Q)
    return NormalModes(eigenvalues, Q @ V)


def rigid_motions(
    coordinates: Float[np.ndarray, "atoms 3"], masses: Float[np.ndarray, " atoms"]
) -> Float[np.ndarray, "dof rank"]:
    """Span the translations and rotations of a molecule.

    Args:
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        masses: Atomic masses [u], shape (atoms,).

    Returns:
        Mass-weighted displacements, orthonormal columns, shape (3 atoms, rank); the rank is 6, 5 for a linear
        molecule, 3 for an atom.

    Raises:
        MoleculeError: A coordinate is not finite or a mass is not positive.
    """
    _check_atoms(coordinates, masses)
    weights = np.sqrt(masses)
    centred = coordinates - masses @ coordinates / masses.sum()
    translations = np.kron(weights[:, None], np.eye(3)) / np.sqrt(masses.sum())
    turns = np.cross(np.eye(3)[:, None, :], centred)  # e_a x r_i, shape (3, atoms, 3)
    rotations = (weights[:, None] * turns).reshape(3, -1).T
    # About the centre of mass the two kinds are orthogonal, so that their ranks can be found apart: the singular
    # values of the rotations are the square roots of the principal moments of inertia.
    U, singular, _ = np.linalg.svd(rotations, full_matrices=False)
    return np.hstack([translations, U[:, singular > LINEARITY * singular[0]]])


def align(
    coordinates: Float[np.ndarray, "atoms 3"],
    reference: Float[np.ndarray, "atoms 3"],
    masses: Float[np.ndarray, " atoms"],
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "atoms 3"]]:
    """Lay one geometry over another by a rotation and a translation.

    The mass-weighted distance of the two geometries becomes as small as possible. The rotation is proper: a mirror
    image is not turned into its original. About the axis of a linear molecule it is arbitrary.

    Args:
        coordinates: Geometry to move [A], shape (atoms, 3).
        reference: Geometry to lie over [A], shape (atoms, 3).
        masses: Atomic masses [u], shape (atoms,).

    Returns:
        The rotation matrix R, shape (3, 3), and the moved geometry R (r_i - r_com) + r_com,reference [A], shape
        (atoms, 3).

    Raises:
        MoleculeError: A coordinate is not finite or a mass is not positive.

    References:
        Kabsch (1976), Acta Cryst. A32, 922, doi:10.1107/S0567739476001873.
    """
    _check_atoms(coordinates, masses)
    _check_atoms(reference, masses)
    centre, target = (masses @ geometry / masses.sum() for geometry in (coordinates, reference))
    covariance = (masses[:, None] * (reference - target)).T @ (coordinates - centre)
    U, _, Vt = np.linalg.svd(covariance)
    handedness = np.sign(np.linalg.det(U @ Vt))
    rotation = U @ np.diag([1.0, 1.0, handedness]) @ Vt
    return rotation, (coordinates - centre) @ rotation.T + target


def displacement(
    coordinates: Float[np.ndarray, "atoms 3"],
    reference: Float[np.ndarray, "atoms 3"],
    masses: Float[np.ndarray, " atoms"],
) -> float:
    """Return how far the atoms of one geometry are from those of another: the root mean square after `align` [A].

    Args:
        coordinates: A geometry [A], shape (atoms, 3).
        reference: What it is compared with [A], shape (atoms, 3).
        masses: Weights of the atoms when one is laid over the other [u], shape (atoms,).

    Raises:
        MoleculeError: See `align`.
    """
    _, aligned = align(coordinates, reference, masses)
    return float(np.sqrt(np.mean(np.sum((aligned - reference) ** 2, axis=1))))


def mode_overlaps(
    reference_modes: Float[np.ndarray, "dof reference"], modes: Float[np.ndarray, "dof modes"]
) -> Float[np.ndarray, "reference modes"]:
    """Compute the overlaps of two sets of mass-weighted modes in one frame.

    Args:
        reference_modes: Orthonormal columns, shape (3 atoms, reference).
        modes: Orthonormal columns, shape (3 atoms, modes).

    Returns:
        Scalar products, between -1 and 1, shape (reference, modes).
    """
    return reference_modes.T @ modes


def pair_modes(reference: NormalModes, modes: NormalModes) -> Int[np.ndarray, " reference"]:
    """Find for each reference mode the mode that is most like it.

    Which set of nearly degenerate modes goes with which does not depend on the directions of modes within the sets.

    Args:
        reference: Modes to describe.
        modes: Modes in the same frame, at least as many.

    Returns:
        Indices: mode `indices[k]` belongs to reference mode k; none is used twice, shape (reference,).

    Raises:
        MoleculeError: The molecules differ in size, or there are fewer modes than reference modes.

    References:
        Kuhn (1955), Naval Res. Logist. Quart. 2, 83, doi:10.1002/nav.3800020109.
    """
    (dof, wanted), (found_dof, found) = reference.modes.shape, modes.modes.shape
    if dof != found_dof or wanted > found:
        raise MoleculeError(
            f"{wanted} reference modes of {dof // 3} atoms cannot be paired with {found} modes of {found_dof // 3} "
            "atoms. Compare geometries of one molecule that are both linear or both bent."
        )
    squares = mode_overlaps(reference.modes, modes.modes) ** 2
    ranked = _averaged(squares, reference, modes) + TIE_BREAK * squares
    return scipy.optimize.linear_sum_assignment(ranked, maximize=True)[1]


def pairing_agreement(
    reference: NormalModes, modes: NormalModes, pairing: Int[np.ndarray, " reference"]
) -> Float[np.ndarray, " reference"]:
    """Measure how well any pairing agrees with the modes, in the terms of which `pair_modes` finds the best.

    It tells whether another pairing is really better or differs within nearly degenerate sets only.

    Args:
        reference: Modes to describe.
        modes: Modes in the same frame.
        pairing: Index of a mode for each reference mode, shape (reference,).

    Returns:
        Squared overlaps averaged over sets of nearly degenerate modes, between 0 and 1, shape (reference,).
    """
    squares = mode_overlaps(reference.modes, modes.modes) ** 2
    return _averaged(squares, reference, modes)[np.arange(pairing.size), pairing]


def degenerate_sets(
    frequencies: Float[np.ndarray, " modes"], *, tolerance: float = DEGENERACY
) -> Int[np.ndarray, " modes"]:
    """Sort modes into sets: neighbours whose wavenumbers differ by less than a tolerance belong to one set.

    Args:
        frequencies: Wavenumbers [1/cm] in any order, shape (modes,).
        tolerance: Largest gap between neighbours within a set [1/cm].

    Returns:
        Number of the set of each mode, counted from 0 from the lowest wavenumber up, shape (modes,).
    """
    order = np.argsort(frequencies, kind="stable")
    sets = np.zeros(len(frequencies), dtype=int)
    sets[order[1:]] = np.cumsum(np.diff(frequencies[order]) > tolerance)
    return sets


def _averaged(
    squares: Float[np.ndarray, "reference modes"], reference: NormalModes, modes: NormalModes
) -> Float[np.ndarray, "reference modes"]:
    """Return A S B, see the module."""
    return _set_average(reference.frequencies) @ squares @ _set_average(modes.frequencies)


def _set_average(frequencies: Float[np.ndarray, " modes"]) -> Float[np.ndarray, "modes modes"]:
    """Return the matrix that replaces entries by the mean over their set."""
    sets = degenerate_sets(frequencies)
    is_together = sets[:, None] == sets
    return is_together / is_together.sum(axis=0)


def subspace_overlaps(
    reference: NormalModes,
    modes: NormalModes,
    pairing: Int[np.ndarray, " reference"],
    *,
    tolerance: float = DEGENERACY,
) -> Float[np.ndarray, " reference"]:
    """Measure how well paired modes agree, whatever the directions within degenerate sets.

    The overlap of a mode is the length of its projection on the space of the modes paired with its set, see
    `degenerate_sets`.

    Args:
        reference: Modes to describe.
        modes: Modes in the same frame.
        pairing: Index of the mode paired with each reference mode, from `pair_modes`, shape (reference,).
        tolerance: Largest gap between neighbours within a set [1/cm].

    Returns:
        Overlaps between 0 and 1, shape (reference,).
    """
    overlaps = mode_overlaps(reference.modes, modes.modes[:, pairing])
    sets = degenerate_sets(reference.frequencies, tolerance=tolerance)
    return np.sqrt(np.sum(overlaps**2, axis=1, where=sets[:, None] == sets))


@overload
def wavenumber(eigenvalues: float) -> float: ...
@overload
def wavenumber(eigenvalues: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]: ...
def wavenumber(eigenvalues: float | Float[np.ndarray, "*shape"]) -> float | Float[np.ndarray, "*shape"]:
    """Convert eigenvalues of a mass-weighted Hessian to wavenumbers.

    Args:
        eigenvalues: Eigenvalues [kcal/mol/A^2/u], of any shape.

    Returns:
        Wavenumbers [1/cm] of the same shape, imaginary ones negative.
    """
    return np.sign(eigenvalues) * WAVENUMBER * np.sqrt(np.abs(eigenvalues))


@overload
def eigenvalue(wavenumbers: float) -> float: ...
@overload
def eigenvalue(wavenumbers: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]: ...
def eigenvalue(wavenumbers: float | Float[np.ndarray, "*shape"]) -> float | Float[np.ndarray, "*shape"]:
    """Convert wavenumbers to eigenvalues of a mass-weighted Hessian.

    Args:
        wavenumbers: Wavenumbers [1/cm], imaginary ones negative, of any shape.

    Returns:
        Eigenvalues [kcal/mol/A^2/u] of the same shape.
    """
    return np.sign(wavenumbers) * (wavenumbers / WAVENUMBER) ** 2


def _check_atoms(coordinates: Float[np.ndarray, "atoms 3"], masses: Float[np.ndarray, " atoms"]) -> None:
    if len(coordinates) != len(masses):
        raise MoleculeError(
            f"{len(coordinates)} atoms have coordinates but {len(masses)} have masses. Give one mass per atom."
        )
    if not np.all(np.isfinite(coordinates)):
        raise MoleculeError("The coordinates hold numbers that are not finite. Check the geometry [A].")
    if not np.all(np.isfinite(masses) & (masses > 0.0)):
        raise MoleculeError(
            f"The smallest mass is {masses.min()} u, but vibrations need masses above zero. Remove dummy atoms."
        )


def _check_hessian(hessian: Float[np.ndarray, "dof dof"], atoms: int) -> None:
    if hessian.shape != (3 * atoms, 3 * atoms):
        raise MoleculeError(
            f"The Hessian has shape {hessian.shape}, but {atoms} atoms need {(3 * atoms, 3 * atoms)}. "
            "Check that geometry and Hessian come from the same calculation."
        )
    if not np.all(np.isfinite(hessian)):
        raise MoleculeError("The Hessian holds numbers that are not finite. Check the calculation it comes from.")
    difference, largest = np.abs(hessian - hessian.T).max(), np.abs(hessian).max()
    if difference > _ASYMMETRY * largest:
        raise MoleculeError(
            f"The Hessian differs from its transpose by up to {difference:.3g} kcal/mol/A^2, its largest element being "
            f"{largest:.3g}: it is not a matrix of second derivatives. Take (H + H.T) / 2 if the difference is noise."
        )
