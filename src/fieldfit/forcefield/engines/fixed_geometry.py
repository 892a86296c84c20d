"""A molecule at a geometry that does not move: everything is linear in the scalar derivatives of the terms.

At a fixed geometry b and C are constants, so gradient, Hessian and eigenmatrix are constant matrices times the vector
phi = (f_q, f_qq) of all terms, and only phi depends on the parameters p:

    g = G phi,        vec(H) = A phi,        v_i^T H v_j = Y_ij phi,

where Y_ij holds v_i.C_d v_j under f_d and (b_d.v_i)(b_e.v_j) under f_de.

The matrices are built once per geometry; a fit that keeps the geometry never touches coordinates again. Derivatives
with respect to the parameters replace phi by the sparse matrix dphi/dp.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

from fieldfit.forcefield.engines.jax import System
from fieldfit.forcefield.engines.jax_programs import TermCoordinates, cartesian_rows
from fieldfit.forcefield.engines.projectors import LARGEST_DENSE, HessianProjector, TermProjector
from fieldfit.typing import Matrix, Vector


class TermVector:
    """The scalar derivatives of all terms at one set of parameters.

    Args:
        system: The molecule with its terms.
        values: Internal coordinates of the terms, from `System.padded_values`.
        p: Parameters in internal units, shape (parameters,).
        columns: Parameters that derivatives are wanted for, by index; None: all.

    Attributes:
        phi: f_q and f_qq of one form after the other, shape (k,).
        n_columns: Number of parameters that derivatives are wanted for.
    """

    def __init__(self, system: System, values: tuple[Any, ...], p: Vector, columns: np.ndarray | None = None) -> None:
        self.phi: Vector = system.term_values(values, p)
        self.n_columns = system.n_parameters if columns is None else len(columns)
        self._system, self._values, self._p, self._columns = system, values, p, columns

    @cached_property
    def jacobian(self) -> scipy.sparse.csr_array:
        """dphi/dp, shape (k, columns)."""
        entries, rows, columns = ([np.zeros(0, kind)] for kind in (float, int, int))
        start = 0
        slopes = self._system.term_slopes(self._values, self._p)
        for terms, found in zip(self._system.terms, slopes, strict=True):
            count, own = terms.pointers.shape
            for slope in found:
                per_term = int(np.prod(slope.shape[1:-1]))
                size = count * per_term
                entries.append(slope.ravel())
                rows.append(start + np.repeat(np.arange(size), own))
                columns.append(np.repeat(terms.pointers, per_term, axis=0).ravel())
                start += size
        values, places, numbers = np.concatenate(entries), np.concatenate(rows), np.concatenate(columns)
        if self._columns is not None:
            place = np.full(self._system.n_parameters, -1)
            place[self._columns] = np.arange(self.n_columns)
            numbers = place[numbers]
            wanted = np.flatnonzero(numbers >= 0)
            values, places, numbers = values[wanted], places[wanted], numbers[wanted]
        return _sparse(values, places, numbers, (start, self.n_columns))


class FixedGeometry:
    """Gradient, Hessian and eigenmatrix of a system at one geometry, as functions of the parameters.

    Args:
        system: The molecule with its terms.
        x: Coordinates [A], shape (atoms, 3).
    """

    def __init__(self, system: System, x: Matrix) -> None:
        self.system = system
        self._x = x
        self._coordinates = system.coordinates(x)
        self._values = system.padded_values(self._coordinates)
        self._n = 3 * system.n_atoms
        # Cartesian rows of the atoms of each term, shape (terms, 3 a).
        self._rows = [cartesian_rows(entry.atoms) for entry in system.terms]

    def term_vector(self, p: Vector, columns: np.ndarray | None = None) -> TermVector:
        """Return phi at parameters p in internal units; dphi/dp is made when it is asked for, see `TermVector`."""
        return TermVector(self.system, self._values, p, columns)

    def gradient(self, terms: TermVector) -> Vector:
        """Return the gradient [kcal/mol/A], shape (3 atoms,)."""
        return self._gradient_map @ terms.phi

    def gradient_jacobian(self, terms: TermVector) -> Matrix:
        """Return the derivatives of the gradient with respect to the parameters, shape (3 atoms, columns)."""
        product: Any = self._gradient_map @ terms.jacobian
        return product.toarray()

    def hessian(self, terms: TermVector) -> Matrix:
        """Return the Hessian [kcal/mol/A^2], shape (3 atoms, 3 atoms)."""
        places, mirrored, upper = self._hessian_map
        elements = upper @ terms.phi
        hessian = np.zeros(self._n * self._n)
        hessian[places] = elements
        hessian[mirrored] = elements
        return hessian.reshape(self._n, self._n)

    def hessian_jacobian(self, terms: TermVector) -> scipy.sparse.csr_array:
        """Return the derivatives of the Hessian with respect to the parameters, shape ((3 atoms)^2, columns)."""
        places, mirrored, upper = self._hessian_map
        packed: Any = upper @ terms.jacobian
        elements = packed.tocoo()
        row, column = elements.row, elements.col
        is_off_diagonal = places[row] != mirrored[row]
        rows = np.concatenate([places[row], mirrored[row][is_off_diagonal]])
        columns = np.concatenate([column, column[is_off_diagonal]])
        values = np.concatenate([elements.data, elements.data[is_off_diagonal]])
        return _sparse(values, rows, columns, (self._n * self._n, terms.n_columns))

    def third_along(self, p: Vector, directions: Matrix) -> Matrix:
        """Return the gradients of v^T H v for fixed directions v, see `System.third_along`."""
        return self.system.third_along(self._x, p, directions)

    def diagonal_projector(self, v: Matrix) -> TermProjector:
        """Prepare v_i^T H v_i for fixed directions v, given as columns, shape (3 atoms, m)."""
        return TermProjector(self._project(v, lambda left, right: left * right, _quadratic))

    def full_projector(self, v: Matrix) -> TermProjector | HessianProjector:
        """Prepare v_i^T H v_j, i <= j row by row, for fixed directions v, given as columns, shape (3 atoms, m)."""
        i, j = np.triu_indices(v.shape[1])
        if i.size * self._size > LARGEST_DENSE:
            return HessianProjector(self, v)

        def pairs(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            # Symmetric in the two coordinates, because f_qq is.
            return 0.5 * (left[:, i] * right[:, j] + left[:, j] * right[:, i])

        def bilinear(C: np.ndarray, w: np.ndarray) -> np.ndarray:
            return (np.swapaxes(w, 1, 2) @ C @ w)[:, i, j]

        return TermProjector(self._project(v, pairs, bilinear))

    def _project(self, v: Matrix, multiply, contract) -> Matrix:  # noqa: ANN001 - two small local functions
        """Return the matrix Y: one row per element, one column per entry of phi."""
        columns = []
        for rows, found in zip(self._rows, self._coordinates, strict=True):
            local = v[rows]
            along = np.einsum("tdi,tim->tdm", found.b, local)
            d = found.q.shape[1]
            first = np.stack([contract(found.C[:, k], local) for k in range(d)], axis=1)
            second = np.stack([multiply(along[:, k], along[:, m]) for k in range(d) for m in range(d)], axis=1)
            columns += [first.reshape(-1, first.shape[-1]), second.reshape(-1, second.shape[-1])]
        return np.ascontiguousarray(np.concatenate(columns).T)

    @cached_property
    def _gradient_map(self) -> scipy.sparse.csr_array:
        """G: the b of every coordinate; zeros under f_qq."""
        entries, rows, columns = ([np.zeros(0, kind)] for kind in (float, int, int))
        for start, index, found in self._enumerate():
            count, d, width = found.b.shape
            entries.append(found.b.ravel())
            rows.append(np.repeat(index[:, None, :], d, axis=1).ravel())
            columns.append(np.repeat(start + np.arange(count * d), width))
        return _sparse(np.concatenate(entries), np.concatenate(rows), np.concatenate(columns), (self._n, self._size))

    @cached_property
    def _hessian_map(self) -> tuple[np.ndarray, np.ndarray, scipy.sparse.csr_array]:
        """A, with C under f_q and b b^T under f_qq, on and above the diagonal and only where it is not zero.

        Returns:
            Places of its rows in the flat Hessian, those of their mirror images, and the matrix.
        """
        entries, rows, columns = ([np.zeros(0, kind)] for kind in (float, int, int))
        for start, index, found in self._enumerate():
            count, d, width = found.b.shape
            outer = np.einsum("tdi,tej->tdeij", found.b, found.b).reshape(count, d * d, width, width)
            where = self._n * index[:, :, None] + index[:, None, :]
            offset = start
            for blocks in (found.C, outer):
                entries.append(blocks.ravel())
                rows.append(np.repeat(where[:, None], blocks.shape[1], axis=1).ravel())
                columns.append(np.repeat(offset + np.arange(count * blocks.shape[1]), width * width))
                offset += count * blocks.shape[1]
        all_entries, all_rows, all_columns = (np.concatenate(parts) for parts in (entries, rows, columns))
        is_upper = all_rows // self._n <= all_rows % self._n
        places, packed = np.unique(all_rows[is_upper], return_inverse=True)
        matrix = _sparse(all_entries[is_upper], packed, all_columns[is_upper], (places.size, self._size))
        return places, (places % self._n) * self._n + places // self._n, matrix

    @property
    def _size(self) -> int:
        return sum(found.q.size * (1 + found.q.shape[1]) for found in self._coordinates)

    def _enumerate(self) -> list[tuple[int, np.ndarray, TermCoordinates]]:
        """Return for every form where its part of phi starts, its Cartesian rows and its coordinates."""
        parts, start = [], 0
        for rows, found in zip(self._rows, self._coordinates, strict=True):
            parts.append((start, rows, found))
            start += found.q.size * (1 + found.q.shape[1])
        return parts


def _quadratic(C: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return w_m^T C w_m for every term and column m."""
    return np.einsum("tim,tim->tm", C @ w, w)


def _sparse(entries: Vector, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> scipy.sparse.csr_array:
    return scipy.sparse.coo_array((entries, (rows, columns)), shape=shape).tocsr()
