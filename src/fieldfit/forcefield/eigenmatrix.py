"""The Hessian of a force field in the basis of the QM normal modes.

    E = L^T M^-1/2 H_MM M^-1/2 L,      target  diag(lambda),      L, lambda: QM normal modes and eigenvalues

A perfect force field makes E diagonal with the QM eigenvalues on the diagonal. Differences are measured in the metric
of wavenumbers, C (E_ij - delta_ij lambda_i) / (2 (lambda_i lambda_j)^(1/4)) with C = 108.59: to first order the
diagonal is the error of a wavenumber in 1/cm, so soft and stiff modes count alike. Small eigenvalues are floored,
because the square root has no slope at zero. The row and column of an imaginary mode (the reaction coordinate of a
transition state) are left out: a force field of non-negative constants cannot have a negative curvature there, and
fitting one distorts the other modes.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.forcefield.constants import WAVENUMBER
from fieldfit.forcefield.vibrations import NormalModes, eigenvalue
from fieldfit.typing import Matrix, Vector

FLOOR = 150.0
"""Wavenumber [1/cm] below which the metric of wavenumbers stays that of this one."""


def floored(eigenvalues: Vector, floor: float = FLOOR) -> Vector:
    """Return the magnitudes of eigenvalues, not below that of the floor [1/cm], shape (modes,)."""
    return np.maximum(np.abs(eigenvalues), eigenvalue(floor))


class EigenmatrixTarget:
    """Which elements of the eigenmatrix are compared, in what metric, and what they should be.

    Diagonal elements are given as omega_i + C (E_ii - lambda_i) / (2 sqrt(|lambda_i|)), the wavenumber of the force
    field to first order, so that their target is the QM wavenumber; off-diagonal ones have the target 0.

    Args:
        modes: QM normal modes.
        masses: Atomic masses [u], shape (atoms,).
        floor: See `floored` [1/cm].
        with_imaginary: Whether rows and columns of imaginary modes take part.

    Attributes:
        modes: The modes that take part, by index, shape (n,).
        rows: First mode of each element, shape (elements,).
        columns: Second mode of each element, not before the first, shape (elements,).
        values: Targets [1/cm], shape (elements,).
        directions: Displacements [A] along the modes that take part, as columns, shape (3 atoms, n).
        metric: Factors from kcal/mol/A^2/u to 1/cm, shape (elements,).
        shift: What is added to the elements in this metric [1/cm], shape (elements,).
    """

    def __init__(
        self, modes: NormalModes, masses: Vector, *, floor: float = FLOOR, with_imaginary: bool = False
    ) -> None:
        self.modes = np.flatnonzero((modes.eigenvalues > 0.0) | with_imaginary)
        i, j = np.triu_indices(self.modes.size)
        self.rows, self.columns = self.modes[i], self.modes[j]
        self.directions: Matrix = modes.modes[:, self.modes] / np.sqrt(np.repeat(masses, 3))[:, None]
        quarter = floored(modes.eigenvalues, floor) ** 0.25
        self.metric: Vector = 0.5 * WAVENUMBER / (quarter[self.rows] * quarter[self.columns])
        self.values: Vector = np.where(self.is_diagonal, modes.frequencies[self.rows], 0.0)
        self.shift = self.values - np.where(self.is_diagonal, self.metric * modes.eigenvalues[self.rows], 0.0)

    @property
    def is_diagonal(self) -> np.ndarray:
        """Which elements are on the diagonal, shape (elements,)."""
        return self.rows == self.columns


class Eigenmatrix:
    """Elements of the eigenmatrix in wavenumbers, with their derivatives.

    Args:
        geometry: The molecule at its QM geometry, a `FixedGeometry` or an `EvaluatedGeometry`.
        target: Which elements, in what metric.
    """

    def __init__(self, geometry: Any, target: EigenmatrixTarget) -> None:
        self.target = target
        self._geometry = geometry

    def elements(self, terms: Any) -> Vector:
        """Return all elements [1/cm], shape (elements,)."""
        return self.target.shift + self.target.metric * self._whole.elements(terms)

    def jacobian(self, terms: Any) -> Matrix:
        """Return their derivatives with respect to the parameters in internal units, shape (elements, parameters)."""
        return self.target.metric[:, None] * self._whole.jacobian(terms)

    def diagonal(self, terms: Any) -> Vector:
        """Return the elements on the diagonal alone [1/cm], shape (modes,)."""
        on = self.target.is_diagonal
        return self.target.shift[on] + self.target.metric[on] * self._diagonal.elements(terms)

    def diagonal_jacobian(self, terms: Any) -> Matrix:
        """Return their derivatives with respect to the parameters in internal units, shape (modes, parameters)."""
        return self.target.metric[self.target.is_diagonal, None] * self._diagonal.jacobian(terms)

    @cached_property
    def _whole(self) -> Any:
        return self._geometry.full_projector(self.target.directions)

    @cached_property
    def _diagonal(self) -> Any:
        return self._geometry.diagonal_projector(self.target.directions)
