"""Rigid motions of a molecule that nothing holds.

A molecule by itself has six: t + w x r for any t and w, five if it is linear, three if it is one atom. They cost no
energy and are excluded from the steps of a relaxation. Points that are held in space, such as frozen atoms, leave only
those motions that keep every such point where it is: rotations about one point, the rotation about the line through
several, none if there are three that are not in line. With G(r) the 3 x 6 matrix of the displacements of a point r
under the six motions they are the null space of the stacked G of all points held.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from fieldfit.forcefield.vibrations import LINEARITY
from fieldfit.typing import Matrix, Vector


def remaining_rigid_motions(x: Matrix, anchors: Matrix) -> Matrix:
    """Return the displacements of all atoms under the rigid motions that keep the anchors in place.

    Args:
        x: Coordinates [A], shape (atoms, 3).
        anchors: Points held in space [A], shape (anchors, 3).

    Returns:
        Displacements as columns, linearly independent but not orthogonal, shape (3 atoms, up to 6). A column that moves
        no atom, such as a rotation about the axis of a linear molecule, may be among them.
    """
    centre = x.mean(axis=0)
    size = float(np.sqrt(np.mean(np.sum((x - centre) ** 2, axis=1)))) or 1.0
    motions = _displacements(x, centre, size)
    if len(anchors) == 0:
        return motions
    _, singular, Vt = np.linalg.svd(_displacements(anchors, centre, size))
    rank = int(np.count_nonzero(singular > LINEARITY * singular[0]))
    return motions @ Vt[rank:].T


def orthonormal(columns: Matrix, scale: float) -> Matrix:
    """Return an orthonormal basis of the space that columns span.

    Args:
        columns: Shape (n, m).
        scale: Size of a typical column; directions shorter than a thousandth of it count as zero.
    """
    if columns.size == 0:
        return np.zeros((len(columns), 0))
    U, singular, _ = scipy.linalg.svd(columns, full_matrices=False, check_finite=False)
    return U[:, singular > LINEARITY * scale]


def _displacements(points: Matrix, centre: Vector, size: float) -> Matrix:
    """Return the displacements of points under three translations and three rotations, shape (3 points, 6)."""
    turns = np.cross(np.eye(3)[:, None, :], points - centre) / size
    return np.hstack([np.tile(np.eye(3), (len(points), 1)), turns.reshape(3, -1).T])
