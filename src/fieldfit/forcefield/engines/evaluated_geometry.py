"""A molecule at a geometry that does not move, in an engine that gives energies, gradients and Hessians only.

It answers what `FixedGeometry` answers, without derivatives with respect to the parameters, by one evaluation of the
system per set of parameters.
"""

from __future__ import annotations

import numpy as np

from fieldfit.forcefield.engines.engine import AbstractSystem, Local
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import System
from fieldfit.forcefield.engines.projectors import DiagonalProjector, HessianProjector
from fieldfit.typing import Matrix, Vector


class EvaluatedGeometry:
    """Gradient, Hessian and eigenmatrix of a system at one geometry, as functions of the parameters.

    Args:
        system: The molecule in its engine.
        x: Coordinates [A], shape (atoms, 3).
    """

    def __init__(self, system: AbstractSystem, x: Matrix) -> None:
        self.system = system
        self._x = x

    def term_vector(self, p: Vector, columns: np.ndarray | None = None) -> Local:
        """Return energy, gradient and Hessian at parameters p in internal units; there are no columns to choose."""
        return self.system.local(self._x, p)

    def gradient(self, terms: Local) -> Vector:
        """Return the gradient [kcal/mol/A], shape (3 atoms,)."""
        return terms.gradient

    def hessian(self, terms: Local) -> Matrix:
        """Return the Hessian [kcal/mol/A^2], shape (3 atoms, 3 atoms)."""
        return terms.hessian

    def diagonal_projector(self, v: Matrix) -> DiagonalProjector:
        """Prepare v_i^T H v_i for fixed directions v, given as columns, shape (3 atoms, m)."""
        return DiagonalProjector(self, v)

    def full_projector(self, v: Matrix) -> HessianProjector:
        """Prepare v_i^T H v_j, i <= j row by row, for fixed directions v, given as columns, shape (3 atoms, m)."""
        return HessianProjector(self, v)


def fix_geometry(system: AbstractSystem, x: Matrix) -> FixedGeometry | EvaluatedGeometry:
    """Prepare a system at a geometry, with derivatives with respect to the parameters where its engine has them.

    Args:
        system: The molecule in its engine.
        x: Coordinates [A], shape (atoms, 3).
    """
    return FixedGeometry(system, x) if isinstance(system, System) else EvaluatedGeometry(system, x)
