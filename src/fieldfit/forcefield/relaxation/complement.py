"""The response of a minimum in a basis of the directions that are no rigid motion."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from fieldfit.forcefield.relaxation.newton_steps import SINGULAR
from fieldfit.forcefield.vibrations import rigid_motions
from fieldfit.typing import Matrix


def complement(x: Matrix) -> Matrix:
    """Return an orthonormal basis of the directions that are no rigid motion of x, shape (3 atoms, m)."""
    rigid = rigid_motions(x, np.ones(len(x)))
    return np.asarray(scipy.linalg.qr(rigid)[0])[:, rigid.shape[1] :]


def response(hessian: Matrix, mixed: Matrix, basis: Matrix) -> Matrix:
    """Return how a minimum moves with the parameters: dx/dp = -B (B^T H B)^-1 B^T d2E/dx dp.

    Args:
        hessian: Hessian at the minimum [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        mixed: Derivatives of the gradient with respect to the parameters, shape (3 atoms, parameters).
        basis: Complement of rigid motion B, shape (3 atoms, m).

    Returns:
        Derivatives of the coordinates [A], shape (3 atoms, parameters).

    Raises:
        scipy.linalg.LinAlgError: The Hessian is singular.
    """
    h, Q = scipy.linalg.eigh(basis.T @ hessian @ basis)
    if h.size and np.min(np.abs(h)) <= SINGULAR * np.max(np.abs(h)):
        raise scipy.linalg.LinAlgError("the Hessian is singular")
    B = basis @ Q
    return -B @ (B.T @ mixed / h[:, None])
