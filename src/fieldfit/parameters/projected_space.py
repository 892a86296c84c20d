"""The variables that linear equalities leave: a particular solution and the null space.

Let x be the scaled vector of a `ParameterSpace`, and A x = b the equalities. Variables x_B that have bounds keep them
and stay what they are; of the others, x_U, as many are eliminated as there are independent rows in A_U:

    x_U = A_U^+ (b - A_B x_B) + Z y,        A_U Z = 0,  Z^T Z = 1.

The variables that remain are z = (x_B, y), and x = offset + T z satisfies the rows for every z. Rows that only bounded
variables could satisfy are left over: eliminating these would turn bounds into general inequalities.

A_U falls into blocks, rows that share variables with each other and with no other row. Each block has a null space of
its own, so that no direction mixes variables that have nothing to do with each other, and a variable in no row stays
what it is. In a block, A_U^T = (Q Z) (R; 0) by Householder's reflections, so A_U^+ = Q R^-T. A null space has many
bases; this one is defined by the rows alone, where singular vectors of equal singular values are left to the
rounding of whoever computes them. The largest part of each direction is made positive.

References:
    Nocedal, Wright (2006), Numerical Optimization, section 15.3, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.linalg

from fieldfit.errors import ParameterError
from fieldfit.parameters.collection import Parameters
from fieldfit.parameters.space import ParameterSpace
from fieldfit.typing import Matrix, Vector

DEPENDENT = 1e-10
"""Rows whose independent part is below this fraction of the largest are combinations of others."""

ROUNDING = 1e-14
"""Part of the length of the start below which a coordinate of it is zero but for rounding."""


class ProjectedSpace:
    """A space whose variables satisfy linear equalities whatever their values, with the interface of `ParameterSpace`.

    Args:
        space: The space of all variables x; its map has to be affine.
        matrix: A with independent rows in the variables without bounds, shape (r, n); see `independent_rows`.
        values: b, shape (r,).

    Attributes:
        space: The space of all variables.
        basis: T, shape (n, n - r).
        offset: x at z = 0, shape (n,).

    Raises:
        ParameterError: Nothing is left to vary.
    """

    def __init__(self, space: ParameterSpace, matrix: Matrix, values: Vector) -> None:
        is_open = unbounded(space)
        kept, moved = np.flatnonzero(~is_open), np.flatnonzero(is_open)
        inverse, null_space = _decomposed(matrix[:, moved])
        n_kept = kept.size
        if n_kept + null_space.shape[1] == 0:
            raise ParameterError(
                f"The linear equalities determine all {space.size} free elements, so there is nothing to vary. Take "
                "one of them back."
            )
        self.space = space
        self.parameters: Parameters = space.parameters
        self.basis: Matrix = np.zeros((space.size, n_kept + null_space.shape[1]))
        self.basis[kept, np.arange(n_kept)] = 1.0
        self.basis[np.ix_(moved, np.arange(n_kept))] = -inverse @ matrix[:, kept]
        self.basis[np.ix_(moved, np.arange(n_kept, self.basis.shape[1]))] = null_space
        self.offset: Vector = np.zeros(space.size)
        self.offset[moved] = inverse @ values
        self._kept, self._moved, self._null_space = kept, moved, null_space
        self._matrix, self._values = matrix, values
        open_ends = np.full(null_space.shape[1], np.inf)
        self.lower: Vector = np.concatenate([space.lower[kept], -open_ends])
        self.upper: Vector = np.concatenate([space.upper[kept], open_ends])
        self.labels = (
            *(space.labels[index] for index in kept),
            *(_direction(space.labels, moved, column) for column in null_space.T),
        )
        self.is_affine = True
        self.physical_lower, self.physical_upper = space.physical_lower, space.physical_upper
        start = self.reduced(space.start)
        # What rounding leaves of a zero is no size: solvers begin with steps of the size of the start.
        noise = ROUNDING * float(np.linalg.norm(space.start[moved]))
        self.start: Vector = np.where(np.isinf(self.lower) & (np.abs(start) <= noise), 0.0, start)

    @property
    def size(self) -> int:
        """Number of variables."""
        return self.basis.shape[1]

    def full(self, z: Vector) -> Vector:
        """Return x of the whole space, shape (n,)."""
        return self.offset + self.basis @ z

    def reduced(self, x: Vector) -> Vector:
        """Return the z of the point nearest to x that satisfies the equalities and has its x_B."""
        return np.concatenate([x[self._kept], self._null_space.T @ x[self._moved]])

    def implies(self, matrix: Matrix, values: Vector) -> np.ndarray:
        """Return which of further equalities hold for every z, but for rounding, shape (rows,).

        Args:
            matrix: Their rows, shape (rows, n).
            values: What they are equal to, shape (rows,).
        """
        sizes = np.linalg.norm(matrix, axis=1)
        left = np.linalg.norm(matrix @ self.basis, axis=1)
        missing = np.abs(matrix @ self.offset - values)
        return (left <= DEPENDENT * sizes) & (missing <= DEPENDENT * np.maximum(sizes, np.abs(values)))

    def physical(self, z: Vector) -> Vector:
        """Return all elements of the parameters in physical units, shape (elements,)."""
        return self.space.physical(self.full(z))

    def traced_physical(self, z: Any) -> Any:
        """Return the same for a traced z."""
        return self.space.traced_physical(self.offset + self.basis @ z)

    def values(self, z: Vector) -> dict[str, np.ndarray]:
        """Return the parameters at z by name, in physical units."""
        return self.space.values(self.full(z))

    def vector(self, physical: Vector) -> Vector:
        """Return the z of a flat physical vector of all elements."""
        return self.reduced(self.space.vector(physical))

    def chain(self, derivatives: np.ndarray, z: Vector, columns: np.ndarray | None = None) -> np.ndarray:
        """Turn derivatives with respect to physical elements into derivatives with respect to z."""
        return self.space.chain(derivatives, self.full(z), columns) @ self.basis

    def clip(self, z: Vector) -> Vector:
        """Move a vector that rounding put outside the bounds onto them."""
        return np.clip(z, self.lower, self.upper)


Space: TypeAlias = ParameterSpace | ProjectedSpace
"""A map between the vector that an optimizer varies and the named parameters."""


def unbounded(space: ParameterSpace) -> np.ndarray:
    """Return which variables have no bounds, shape (n,)."""
    return ~(np.isfinite(space.lower) | np.isfinite(space.upper))


def independent_rows(space: ParameterSpace, matrix: Matrix) -> np.ndarray:
    """Return which rows of equalities variables without bounds can satisfy, by index, ascending.

    Args:
        space: The variables.
        matrix: A, shape (rows, n).
    """
    columns = matrix[:, unbounded(space)]
    lengths = np.linalg.norm(matrix, axis=1)
    if columns.size == 0 or not np.any(columns):
        return np.zeros(0, dtype=int)
    scaled = columns / np.where(lengths > 0.0, lengths, 1.0)[:, None]
    factors: Any = scipy.linalg.qr(scaled.T, mode="economic", pivoting=True)
    _, triangle, order = factors
    diagonal = np.abs(np.diag(triangle))
    return np.sort(order[: np.count_nonzero(diagonal > DEPENDENT * diagonal[0])])


def _decomposed(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Return the pseudoinverse of independent rows, shape (n, r), and their null space, shape (n, n - r)."""
    n_rows, size = matrix.shape
    inverse, directions = np.zeros((size, n_rows)), []
    for rows, columns in _blocks(matrix):
        Q, R = np.linalg.qr(matrix[np.ix_(rows, columns)].T, mode="complete")
        inverse[np.ix_(columns, rows)] = scipy.linalg.solve_triangular(R[: rows.size], Q[:, : rows.size].T).T
        own = np.zeros((size, columns.size - rows.size))
        own[columns] = _signed(Q[:, rows.size :])
        directions.append((columns[0], own))
    touched = np.any(matrix != 0.0, axis=0)
    directions += [(column, np.eye(size)[:, [column]]) for column in np.flatnonzero(~touched)]
    ordered = [own for _, own in sorted(directions, key=lambda entry: entry[0])]
    return inverse, np.concatenate([np.zeros((size, 0)), *ordered], axis=1)


def _blocks(matrix: Matrix) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return rows that share variables, directly or through others, and these variables: pairs of indices."""
    is_part = matrix != 0.0
    left, found = np.ones(len(matrix), dtype=bool), []
    while np.any(left):
        rows = np.zeros(len(matrix), dtype=bool)
        more = np.arange(len(matrix)) == np.argmax(left)
        while np.any(more & ~rows):
            rows = rows | more
            more = np.any(is_part[:, np.any(is_part[rows], axis=0)], axis=1)
        found.append((np.flatnonzero(rows), np.flatnonzero(np.any(is_part[rows], axis=0))))
        left &= ~rows
    return found


def _signed(directions: Matrix) -> Matrix:
    """Return directions with the largest part of each positive; of equal ones the first counts."""
    # Rounded, or the last bits would decide which of equal parts is the largest.
    largest = np.argmax(np.round(np.abs(directions), 8), axis=0)
    return directions * np.where(directions[largest, np.arange(directions.shape[1])] < 0.0, -1.0, 1.0)


def _direction(labels: tuple[str, ...], moved: np.ndarray, column: Vector) -> str:
    """Name a direction of the null space by the variables that it moves most."""
    # Rounded, or the last bits would decide the order of equal parts.
    order = np.argsort(-np.round(np.abs(column), 8), kind="stable")
    named = [labels[moved[place]] for place in order[:3] if abs(column[place]) > DEPENDENT]
    if len(named) == 1:
        return named[0]
    more = np.count_nonzero(np.abs(column) > DEPENDENT) - len(named)
    return f"a direction of {', '.join(named)}{f' and {more} more' if more else ''}"
