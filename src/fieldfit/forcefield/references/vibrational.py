"""References that come from the QM Hessian: wavenumbers at the minimum, eigenmatrix and forces at the QM geometry."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fieldfit.forcefield.constants import WAVENUMBER
from fieldfit.forcefield.eigenmatrix import floored
from fieldfit.forcefield.references.model import MoleculeEvaluation, QMTarget
from fieldfit.forcefield.references.reference import AbstractReference
from fieldfit.forcefield.vibrations import eigenvalue
from fieldfit.typing import Matrix, Vector

SOFTEST = 10.0
"""Below this wavenumber [1/cm] the square root is replaced by a polynomial that is smooth at zero."""


class Frequency(AbstractReference):
    """Wavenumbers at the minimum of the force field, paired with the QM modes by overlap.

    Derivatives take the motion of the minimum into account: d lambda / dp = l^T (dA/dp + dA/dx dx/dp) l. Imaginary QM
    modes are left out. Modes of exactly equal wavenumber have derivatives as a set only: those of its single members
    are right where the parameters keep the symmetry, as they do with types from the molecular graph. A molecule that
    does not relax is compared by the diagonal of the eigenmatrix (see `model`).
    """

    unit: ClassVar[str] = "1/cm"
    tolerance: ClassVar[float] = 20.0
    needs_minimum: ClassVar[bool] = True

    def __init__(self, target: QMTarget) -> None:
        self._kept = np.flatnonzero(target.is_vibration)
        self._among_fitted = np.flatnonzero(np.isin(target.eigenmatrix.modes, self._kept))
        self.labels = mode_labels(self._kept)
        self.observed = target.qm_modes.frequencies[self._kept]

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        if evaluation.is_displaced:
            return evaluation.model.eigenmatrix.diagonal(evaluation.terms)[self._among_fitted]
        return smooth_wavenumber(evaluation.modes.eigenvalues[evaluation.pairing[self._kept]])

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        if evaluation.is_displaced:
            return evaluation.model.eigenmatrix.diagonal_jacobian(evaluation.terms)[self._among_fitted]
        chosen = evaluation.pairing[self._kept]
        weights = 1.0 / np.sqrt(np.repeat(evaluation.model.masses, 3))[:, None]
        directions = evaluation.modes.modes[:, chosen] * weights
        fixed = evaluation.minimum_geometry.diagonal_projector(directions).jacobian(evaluation.minimum_terms)
        third = evaluation.minimum_geometry.third_along(evaluation.p, directions)
        slopes = smooth_wavenumber_slope(evaluation.modes.eigenvalues[chosen])
        return slopes[:, None] * (fixed + third @ evaluation.response)


class EigenmatrixDiagonal(AbstractReference):
    """Diagonal of the eigenmatrix at the QM geometry, as wavenumbers to first order; see `eigenmatrix`."""

    unit: ClassVar[str] = "1/cm"
    tolerance: ClassVar[float] = 20.0
    needs_minimum: ClassVar[bool] = False

    def __init__(self, target: QMTarget) -> None:
        eigenmatrix = target.eigenmatrix
        self.labels = mode_labels(eigenmatrix.modes)
        self.observed = eigenmatrix.values[eigenmatrix.is_diagonal]

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        return evaluation.model.eigenmatrix.diagonal(evaluation.terms)

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        return evaluation.model.eigenmatrix.diagonal_jacobian(evaluation.terms)


class EigenmatrixOffDiagonal(AbstractReference):
    """Elements above the diagonal of the eigenmatrix at the QM geometry; see `eigenmatrix`."""

    unit: ClassVar[str] = "1/cm"
    tolerance: ClassVar[float] = 40.0
    needs_minimum: ClassVar[bool] = False

    def __init__(self, target: QMTarget) -> None:
        eigenmatrix = target.eigenmatrix
        self._kept = np.flatnonzero(~eigenmatrix.is_diagonal)
        rows, columns = eigenmatrix.rows[self._kept], eigenmatrix.columns[self._kept]
        self.labels = tuple(f"modes {i + 1}, {j + 1}" for i, j in zip(rows, columns, strict=True))
        self.observed = eigenmatrix.values[self._kept]

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        return evaluation.model.eigenmatrix.elements(evaluation.terms)[self._kept]

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        return evaluation.model.eigenmatrix.jacobian(evaluation.terms)[self._kept]


class NewtonDisplacement(AbstractReference):
    """How far the force field would move the QM geometry along each QM mode, from its forces there.

    l_k^T M^-1/2 g / lambda_k with the QM eigenvalues, floored: zero if the QM geometry is stationary. It costs no
    relaxation. Imaginary QM modes are left out.
    """

    unit: ClassVar[str] = "A u^1/2"
    tolerance: ClassVar[float] = 0.02
    needs_minimum: ClassVar[bool] = False

    def __init__(self, target: QMTarget) -> None:
        kept = np.flatnonzero(target.is_vibration)
        self.labels = mode_labels(kept)
        self.observed = np.zeros(kept.size)
        weights = 1.0 / np.sqrt(np.repeat(target.masses, 3))[:, None]
        modes = target.qm_modes.modes[:, kept] * weights
        self._map = (modes / floored(target.qm_modes.eigenvalues[kept], target.floor)).T

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        return self._map @ evaluation.model.qm_geometry.gradient(evaluation.terms)

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        return self._map @ evaluation.model.qm_geometry.gradient_jacobian(evaluation.terms)


def mode_labels(modes: np.ndarray) -> tuple[str, ...]:
    """Name modes by their numbers, counted from 1."""
    return tuple(f"mode {number + 1}" for number in modes)


def smooth_wavenumber(eigenvalues: Vector) -> Vector:
    """Return signed wavenumbers [1/cm], by a cubic with matching slope where they are below 10 1/cm.

    The signed square root has an infinite slope at zero. With t = lambda / lambda_soft the cubic is (5 t - t^3) / 4
    times the softest wavenumber: the same value and slope at t = 1.

    Args:
        eigenvalues: Of the mass-weighted Hessian [kcal/mol/A^2/u], shape (modes,).
    """
    t = eigenvalues / eigenvalue(SOFTEST)
    root = np.sign(eigenvalues) * WAVENUMBER * np.sqrt(np.abs(eigenvalues))
    return np.where(np.abs(t) > 1.0, root, SOFTEST * (5.0 * t - t**3) / 4.0)


def smooth_wavenumber_slope(eigenvalues: Vector) -> Vector:
    """Return the derivative of `smooth_wavenumber`, shape (modes,)."""
    soft = eigenvalue(SOFTEST)
    t = eigenvalues / soft
    stiff = 0.5 * WAVENUMBER / np.sqrt(np.maximum(np.abs(eigenvalues), soft))
    return np.where(np.abs(t) > 1.0, stiff, SOFTEST * (5.0 - 3.0 * t**2) / (4.0 * soft))
