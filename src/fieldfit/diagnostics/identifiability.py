"""Which combinations of parameters the data determine.

The singular values of the Jacobian say how much the residuals change along each direction of parameter space.
Columns are scaled to length one first, so that the answer does not depend on units; a column of zeros means a parameter
that no residual feels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from fieldfit.typing import Matrix, Vector

DETERMINED = 1e-5
"""Directions whose singular value is below this fraction of the largest count as undetermined."""


TALL = 4
"""Residuals per variable from which a triangular factor is worth its time."""

WEAKLY_DETERMINED = 1e-3
"""Below this fraction the residuals feel a direction so little that a linear model does not reach as far as the errors
it states."""


@dataclass(frozen=True, eq=False)
class Identifiability:
    """Rank and directions of a Jacobian.

    Args:
        labels: Names of the variables, n of them.
        rank: Number of directions the residuals determine.
        singular_values: Of the Jacobian with unit columns, descending, shape (n,).
        directions: The matching directions in units of 1 / column norm, one per row, shape (n, n).
        column_norms: Lengths of the Jacobian's columns, shape (n,).
    """

    labels: tuple[str, ...]
    rank: int
    singular_values: Vector
    directions: Matrix
    column_norms: Vector

    @property
    def is_determined(self) -> np.ndarray:
        """Whether each variable is determined by itself, shape (n,)."""
        null_space = self.directions[self.rank :]
        return (np.sum(null_space**2, axis=0) < 1e-8) & (self.column_norms > 0.0)

    @property
    def n_weak(self) -> int:
        """Number of directions that are determined, but only weakly (see `WEAKLY_DETERMINED`)."""
        if not self.rank:
            return 0
        values = self.singular_values[: self.rank]
        return int(np.count_nonzero(values < WEAKLY_DETERMINED * values[0]))

    def worst(self, count: int = 3) -> list[tuple[float, str]]:
        """Return the least determined combinations: relative singular value and the variables that make them up."""
        values = self.singular_values
        largest = max(values[0], np.finfo(float).tiny) if values.size else 1.0
        chosen = range(len(self.labels) - 1, max(len(self.labels) - 1 - count, -1), -1)
        return [(float(values[index] / largest), self._describe(index)) for index in chosen]

    def _describe(self, index: int) -> str:
        direction = self.directions[index]
        order = np.argsort(-np.abs(direction))
        main = [entry for entry in order[:4] if abs(direction[entry]) >= 0.2 * abs(direction[order[0]])]
        return " ".join(f"{direction[entry]:+.2f} {self.labels[entry]}" for entry in main)


def identifiability(jacobian: Matrix, labels: Sequence[str]) -> Identifiability:
    """Find which directions of parameter space a Jacobian determines.

    Args:
        jacobian: Derivatives of the residuals, shape (m, n).
        labels: Names of the variables, n of them.

    Returns:
        Rank, singular values and directions.
    """
    norms = np.linalg.norm(jacobian, axis=0)
    if len(jacobian) > TALL * jacobian.shape[1]:
        # The triangular factor has the same singular values and directions.
        jacobian = np.asarray(np.linalg.qr(jacobian, mode="r"))
    scaled = jacobian / np.where(norms > 0.0, norms, 1.0)
    rows_missing = max(0, scaled.shape[1] - scaled.shape[0])
    # Rows of zeros complete the directions without the square left factor of a full decomposition.
    _, singular, directions = scipy.linalg.svd(np.pad(scaled, ((0, rows_missing), (0, 0))), full_matrices=False)
    rank = int(np.count_nonzero(singular > DETERMINED * singular[0])) if singular.size and singular[0] > 0.0 else 0
    return Identifiability(tuple(labels), rank, singular, directions, norms)
