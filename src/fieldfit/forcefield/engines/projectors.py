"""Elements v_i^T H v_j of a Hessian along fixed directions v, with their derivatives with respect to parameters.

Two ways to the same numbers. With a constant matrix Y they are Y phi (see `fixed_geometry`), which is fastest while Y
is small; Y has a column for every entry of phi, and there are thousands where atoms interact in pairs. Beyond that they
are V^T H V with the whole Hessian. Its derivative with respect to one parameter touches few atoms for most parameters,
so each column of the Jacobian is a product of small matrices.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from fieldfit.typing import Matrix, Vector

LARGEST_DENSE = 4_000_000
"""Number of entries of Y up to which it is kept: 32 MB."""


@runtime_checkable
class HessianSource(Protocol):
    """A geometry that gives the Hessian, and its parameter derivatives where its engine has them."""

    def hessian(self, terms: Any, /) -> Matrix:
        """Return the Hessian [kcal/mol/A^2], shape (3 atoms, 3 atoms)."""
        ...


class TermProjector:
    """Elements as a constant matrix Y times phi.

    Args:
        matrix: Y, shape (elements, k).
    """

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix

    def elements(self, terms: Any) -> Vector:
        """Return the elements, shape (elements,)."""
        return self._matrix @ terms.phi

    def jacobian(self, terms: Any) -> Matrix:
        """Return their derivatives with respect to the parameters, shape (elements, parameters)."""
        return np.asarray(self._matrix @ terms.jacobian)


class DiagonalProjector:
    """Elements v_i^T H v_i from the whole Hessian of an engine without derivatives with respect to parameters.

    Args:
        geometry: The molecule at its geometry.
        v: Directions as columns, shape (3 atoms, m).
    """

    def __init__(self, geometry: HessianSource, v: Matrix) -> None:
        self._geometry = geometry
        self._v = v

    def elements(self, terms: Any) -> Vector:
        """Return the elements, shape (m,)."""
        return np.sum(self._v * (self._geometry.hessian(terms) @ self._v), axis=0)


class HessianProjector:
    """Elements v_i^T H v_j, i <= j row by row, from the whole Hessian.

    Args:
        geometry: The molecule at its geometry.
        v: Directions as columns, shape (3 atoms, m).
    """

    def __init__(self, geometry: HessianSource, v: Matrix) -> None:
        self._geometry: Any = geometry
        self._v = v
        self._upper = np.triu_indices(v.shape[1])

    def elements(self, terms: Any) -> Vector:
        """Return the elements, shape (elements,)."""
        return (self._v.T @ self._geometry.hessian(terms) @ self._v)[self._upper]

    def jacobian(self, terms: Any) -> Matrix:
        """Return their derivatives with respect to the parameters, shape (elements, parameters)."""
        slopes: Any = self._geometry.hessian_jacobian(terms).tocsc()
        found = np.zeros((len(self._upper[0]), slopes.shape[1]))
        for k in range(slopes.shape[1]):
            own = slice(slopes.indptr[k], slopes.indptr[k + 1])
            if own.start < own.stop:
                found[:, k] = self._project(slopes.indices[own], slopes.data[own])
        return found

    def _project(self, places: np.ndarray, values: Vector) -> Vector:
        """Return the elements for a symmetric matrix, given by its entries and their places in the flat matrix."""
        rows, columns = np.divmod(places, len(self._v))
        touched, inverse = np.unique(rows, return_inverse=True)
        block = np.zeros((touched.size, touched.size))
        block[inverse, np.searchsorted(touched, columns)] = values
        v = self._v[touched]
        return (v.T @ block @ v)[self._upper]
