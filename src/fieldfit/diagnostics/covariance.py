"""Covariance of fitted parameters from the Jacobian at the solution.

    C = s^2 (J^T J)^-1,   s^2 = |r|^2 / (m - n)

The variance s^2 of the residuals is taken from the fit itself, because the weights of a fit are tolerances and not
known errors of measurement (Seber, Wild 1989, Nonlinear Regression, ch. 2).
"""

from __future__ import annotations

import numpy as np

from fieldfit.diagnostics.identifiability import identifiability
from fieldfit.typing import Matrix, Vector


def covariance(jacobian: Matrix, residuals: Vector, is_free: np.ndarray) -> Matrix:
    """Return the covariance of the variables.

    Args:
        jacobian: Derivatives of the residuals, shape (m, n).
        residuals: Residuals at the solution, shape (m,).
        is_free: Which variables are not held by a bound, shape (n,). The others have variance 0.

    Returns:
        Covariance, shape (n, n); infinite variance for a variable that the data do not determine, NaN throughout where
        there are no more residuals than free variables.
    """
    n = jacobian.shape[1]
    result = np.zeros((n, n))
    free = np.flatnonzero(is_free)
    if free.size == 0:
        return result
    surplus = residuals.size - free.size
    if surplus <= 0:
        return np.full((n, n), np.nan)
    found = identifiability(jacobian[:, free], [str(index) for index in free])
    kept = found.directions[: found.rank] / found.singular_values[: found.rank, None]
    norms = np.where(found.column_norms > 0.0, found.column_norms, 1.0)
    block = float(residuals @ residuals) / surplus * (kept.T @ kept) / np.outer(norms, norms)
    unknown = np.flatnonzero(~found.is_determined)
    block[unknown, unknown] = np.inf
    result[np.ix_(free, free)] = block
    return result
