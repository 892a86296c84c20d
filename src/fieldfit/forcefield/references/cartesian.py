"""References made of Cartesian derivatives at the QM geometry: gradient, Hessian elements and the classic eigenmatrix.

The classic eigenmatrix (Limé, Norrby 2015, doi:10.1002/jcc.23797) is the Hessian of the force field in the
eigenvectors of the Cartesian QM Hessian, neither mass-weighted nor freed from rigid motions,

    E = Q^T H_MM Q,      H_QM = Q diag(lambda) Q^T,      target  diag(lambda),      in hartree/bohr^2,

all 3 N rows of it. It is here so that published scores can be compared; `eigenmatrix` describes the one to fit to. What
it implies: light and heavy atoms count alike, the six rigid motions count as modes, with forces left at the QM geometry
among them, and eigenvectors of equal eigenvalues, those of the rigid motions too, are any directions that span their
space: single elements among them, not their sum of squares, depend on the frame.

At a fixed geometry all of these are linear in the scalar derivatives of the terms (`fixed_geometry`), so that no
coordinates are touched.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.linalg

from fieldfit.forcefield.constants import HARTREE_PER_BOHR2, KJ_PER_KCAL
from fieldfit.forcefield.references.model import MoleculeEvaluation, QMTarget
from fieldfit.forcefield.references.reference import AbstractReference
from fieldfit.typing import Matrix, Vector

CLASSIC_DIAGONAL = 10.0
"""Tolerance of the classic diagonal [kJ/mol/A^2]: the classic weight 0.1 in the unit that it was made for."""

CLASSIC_OFF_DIAGONAL = 20.0
"""Tolerance of classic off-diagonal elements [kJ/mol/A^2]: likewise of 0.05."""

LEFT_OUT = 1
"""Number of the lowest diagonal elements of the classic eigenmatrix that have weight 0."""


class Gradient(AbstractReference):
    """Cartesian gradient at the QM geometry, component by component.

    Observed is the gradient of the QM record; a record that has none comes from a calculation of vibrations, which is
    made at a stationary point, and zero is observed.
    """

    unit: ClassVar[str] = "kcal/mol/A"
    # Between the forces that move a stiff bond by 0.01 A (about 7) and bend an angle by 0.5 degrees (about 0.7).
    tolerance: ClassVar[float] = 2.0
    needs_minimum: ClassVar[bool] = False
    is_always_reported: ClassVar[bool] = False

    def __init__(self, target: QMTarget) -> None:
        record = target.molecule.record
        self.labels = component_labels(target)
        self.observed = np.zeros(3 * record.n_atoms) if record.gradient is None else record.gradient.ravel()

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        return evaluation.model.qm_geometry.gradient(evaluation.terms)

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        return evaluation.model.qm_geometry.gradient_jacobian(evaluation.terms)


class HessianElement(AbstractReference):
    """Elements of the Cartesian Hessian at the QM geometry, on and above the diagonal, each counted once."""

    unit: ClassVar[str] = "kcal/mol/A^2"
    # An error of 20 1/cm in the stretch of a C-H bond at 3000 1/cm.
    tolerance: ClassVar[float] = 10.0
    needs_minimum: ClassVar[bool] = False
    is_always_reported: ClassVar[bool] = False

    def __init__(self, target: QMTarget) -> None:
        hessian = target.molecule.qm_hessian
        self._upper = np.triu_indices(len(hessian))
        self._places = np.ravel_multi_index(self._upper, hessian.shape)
        names = component_labels(target)
        self.labels = tuple(f"{names[i]}, {names[j]}" for i, j in zip(*self._upper, strict=True))
        self.observed = hessian[self._upper]

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        return evaluation.hessian[self._upper]

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        return evaluation.hessian_jacobian[self._places].toarray()


class ClassicEigenmatrixDiagonal(AbstractReference):
    """Diagonal of the classic eigenmatrix without its first element.

    The lowest mode, the reaction coordinate of a transition state, has weight 0 by convention, at minima too, where it
    is one of the rigid motions: it is left out, and 3 atoms - 1 elements remain.
    """

    unit: ClassVar[str] = "hartree/bohr^2"
    tolerance: ClassVar[float] = CLASSIC_DIAGONAL / KJ_PER_KCAL / HARTREE_PER_BOHR2
    needs_minimum: ClassVar[bool] = False
    is_always_reported: ClassVar[bool] = False

    def __init__(self, target: QMTarget) -> None:
        eigenvalues, Q = cartesian_modes(target)
        self._Q = Q[:, LEFT_OUT:]
        self.labels = tuple(f"Cartesian mode {number + 1}" for number in range(LEFT_OUT, len(Q)))
        self.observed = eigenvalues[LEFT_OUT:] / HARTREE_PER_BOHR2

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        return self._projector(evaluation).elements(evaluation.terms) / HARTREE_PER_BOHR2

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        return self._projector(evaluation).jacobian(evaluation.terms) / HARTREE_PER_BOHR2

    def _projector(self, evaluation: MoleculeEvaluation) -> Any:
        return evaluation.model.prepared(self, lambda geometry: geometry.diagonal_projector(self._Q))


class ClassicEigenmatrixOffDiagonal(AbstractReference):
    """Elements above the diagonal of the classic eigenmatrix, those of the lowest mode included; observed: 0."""

    unit: ClassVar[str] = "hartree/bohr^2"
    tolerance: ClassVar[float] = CLASSIC_OFF_DIAGONAL / KJ_PER_KCAL / HARTREE_PER_BOHR2
    needs_minimum: ClassVar[bool] = False
    is_always_reported: ClassVar[bool] = False

    def __init__(self, target: QMTarget) -> None:
        self._Q = cartesian_modes(target)[1]
        i, j = np.triu_indices(len(self._Q))
        self._kept = np.flatnonzero(i != j)
        self.labels = tuple(f"Cartesian modes {i[k] + 1}, {j[k] + 1}" for k in self._kept)
        self.observed = np.zeros(self._kept.size)

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        return self._projector(evaluation).elements(evaluation.terms)[self._kept] / HARTREE_PER_BOHR2

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        return self._projector(evaluation).jacobian(evaluation.terms)[self._kept] / HARTREE_PER_BOHR2

    def _projector(self, evaluation: MoleculeEvaluation) -> Any:
        return evaluation.model.prepared(self, lambda geometry: geometry.full_projector(self._Q))


def cartesian_modes(target: QMTarget) -> tuple[Vector, Matrix]:
    """Return eigenvalues [kcal/mol/A^2], ascending, and eigenvectors, as columns, of the Cartesian QM Hessian."""
    eigenvalues, Q = scipy.linalg.eigh(target.molecule.qm_hessian)
    return eigenvalues, Q


def component_labels(target: QMTarget) -> tuple[str, ...]:
    """Name Cartesian components by atom, counted from 1, and axis: "C1 x"."""
    symbols = target.molecule.record.symbols
    return tuple(f"{symbol}{number} {axis}" for number, symbol in enumerate(symbols, 1) for axis in "xyz")
