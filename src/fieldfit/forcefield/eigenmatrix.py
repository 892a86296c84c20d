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


class Eigenmatrix:
    """Elements of the eigenmatrix in wavenumbers, with their derivatives.

    Diagonal elements are given as omega_i + C (E_ii - lambda_i) / (2 sqrt(lambda_i)), the wavenumber of the force field
    to first order, so that their target is the QM wavenumber; off-diagonal ones have the target 0.

    Args:
        geometry: The molecule at its QM geometry, a `FixedGeometry` or an `EvaluatedGeometry`.
        modes: QM normal modes.
        masses: Atomic masses [u], shape (atoms,).
        floor: See `floored` [1/cm].

    Attributes:
        rows: First mode of each element, shape (elements,).
        columns: Second mode of each element, not before the first, shape (elements,).
        target: Targets [1/cm], shape (elements,).
    """

    def __init__(self, geometry: Any, modes: NormalModes, masses: Vector, *, floor: float = FLOOR) -> None:
        kept = np.flatnonzero(modes.eigenvalues > 0.0)
        i, j = np.triu_indices(kept.size)
        self.rows, self.columns = kept[i], kept[j]
        self._geometry = geometry
        self._directions: Matrix = modes.modes[:, kept] / np.sqrt(np.repeat(masses, 3))[:, None]
        quarter = floored(modes.eigenvalues, floor) ** 0.25
        self._metric = 0.5 * WAVENUMBER / (quarter[self.rows] * quarter[self.columns])
        on_diagonal = self.rows == self.columns
        self.target: Vector = np.where(on_diagonal, modes.frequencies[self.rows], 0.0)
        self._shift = self.target - np.where(on_diagonal, self._metric * modes.eigenvalues[self.rows], 0.0)

    def elements(self, terms: Any) -> Vector:
        """Return the elements [1/cm], shape (elements,)."""
        return self._shift + self._metric * self._projector.elements(terms)

    def jacobian(self, terms: Any) -> Matrix:
        """Return their derivatives with respect to the parameters in internal units, shape (elements, parameters)."""
        return self._metric[:, None] * self._projector.jacobian(terms)

    @cached_property
    def _projector(self) -> Any:
        return self._geometry.full_projector(self._directions)
