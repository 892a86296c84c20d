"""The variables of an inner problem: inner parameters without those that linear equalities decide.

Let u be the scaled free elements of the inner parameters (`ParameterSpace`), p = c + E u their physical values, and y
all elements of the outer parameters. Linear equalities A_x p + A_y y = b between them, such as boundary rows, are

    B u = b - A_x c - A_y y,        B = A_x E,

and are solved once and for all by the least norm and the null space, B Z = 0, Z^T Z = 1:

    u(z, y) = B^+ (b - A_x c) - B^+ A_y y + Z z.

The z that remain are free, and rows hold for every z and y. Rows that say something of y alone are refused.

References:
    Nocedal, Wright (2006), Numerical Optimization, section 15.3, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from fieldfit.constraints import Condition
from fieldfit.errors import ConstraintError, ParameterError
from fieldfit.parameters import Parameters, ParameterSpace
from fieldfit.typing import Matrix, Vector

INCONSISTENT = 1e-9
"""Part of a row, relative to its length, that no inner variable can meet."""


@dataclass(frozen=True, eq=False)
class AffineMap:
    """Elements of parameters as a function of inner variables z and outer elements y: offset + inner z + outer y.

    Args:
        offset: Shape (elements,).
        inner: Shape (elements, nz).
        outer: Shape (elements, ny).
    """

    offset: Vector
    inner: Matrix
    outer: Matrix

    def at(self, z: Vector, y: Vector) -> Vector:
        """Return the elements, shape (elements,)."""
        return self.offset + self.inner @ z + self.outer @ y

    def rows(self, chosen: np.ndarray) -> AffineMap:
        """Return the map of some of the elements, by index."""
        return AffineMap(self.offset[chosen], self.inner[chosen], self.outer[chosen])


@dataclass(frozen=True, eq=False)
class InnerCoordinates:
    """The free variables z of some inner parameters.

    Args:
        names: Of the inner parameters.
        elements: Places of their elements among all, shape (k,).
        variables: u of z and y.
        physical: Elements of the inner parameters, in physical units, of z and y.
        start: z of the start values, shape (nz,).
        lower: Lower bounds of u, shape (nu,).
        upper: Upper bounds of u, shape (nu,).
    """

    names: tuple[str, ...]
    elements: np.ndarray
    variables: AffineMap
    physical: AffineMap
    start: Vector
    lower: Vector
    upper: Vector

    @staticmethod
    def of(
        names: Sequence[str], parameters: Parameters, outer: np.ndarray, conditions: Sequence[Condition]
    ) -> InnerCoordinates:
        """Take the variables away that linear equalities decide.

        Args:
            names: Of the inner parameters.
            parameters: All parameters.
            outer: Places of the outer elements among all, shape (ny,).
            conditions: Linear equalities that name these inner parameters.

        Raises:
            ConstraintError: They determine outer parameters, or all of the inner ones.
            ParameterError: An inner parameter is transformed, or all are fixed.
        """
        space = _own_space(names, parameters)
        elements = np.concatenate([parameters.elements(name) for name in names])
        to_physical = np.zeros((elements.size, space.size))
        moves = np.flatnonzero(space.source >= 0)
        to_physical[moves, space.source[moves]] = space.multiplier[moves]
        variables = _variables(space, conditions, (elements, outer), to_physical)
        physical = AffineMap(
            space.constant + to_physical @ variables.offset,
            to_physical @ variables.inner,
            to_physical @ variables.outer,
        )
        start = variables.inner.T @ space.start
        return InnerCoordinates(tuple(names), elements, variables, physical, start, space.lower, space.upper)

    def size(self, z: Vector, y: Vector) -> float:
        """Return the length of u, or 1, one typical change, if that is more."""
        return max(1.0, float(np.linalg.norm(self.variables.at(z, y))))

    def is_inside(self, z: Vector, y: Vector) -> bool:
        """Whether the inner parameters are inside their bounds."""
        u = self.variables.at(z, y)
        return bool(np.all((u >= self.lower) & (u <= self.upper)))


def _own_space(names: Sequence[str], parameters: Parameters) -> ParameterSpace:
    ties = {follower: tie for follower, tie in parameters.ties.items() if follower in names}
    space = Parameters([parameters[name] for name in names], ties).space
    if not space.is_affine:
        transformed = ", ".join(entry.name for entry in space.parameters if entry.transform is not None)
        raise ParameterError(
            f"The inner parameters {transformed} are transformed, but an inner problem is solved in physical values. "
            "Take the transforms away; bounds may stay."
        )
    return space


def _variables(
    space: ParameterSpace,
    conditions: Sequence[Condition],
    places: tuple[np.ndarray, np.ndarray],
    to_physical: Matrix,
) -> AffineMap:
    """Return u as a function of z and y."""
    elements, outer = places
    if not conditions:
        return AffineMap(np.zeros(space.size), np.eye(space.size), np.zeros((space.size, outer.size)))
    rows = np.concatenate([condition.matrix for condition in conditions if condition.matrix is not None])
    values = np.concatenate([condition.lower for condition in conditions])
    B = rows[:, elements] @ to_physical
    right = values - rows[:, elements] @ space.constant
    inverse, null_space = np.linalg.pinv(B), scipy.linalg.null_space(B)
    labels = [label for condition in conditions for label in condition.labels]
    _check_rows(B, inverse, (right, rows[:, outer]), labels)
    if null_space.shape[1] == 0:
        raise ConstraintError(
            f"The linear equalities {', '.join(labels)} determine all inner parameters, so nothing is left to meet the "
            "equality. Take one of them back."
        )
    return AffineMap(inverse @ right, null_space, -inverse @ rows[:, outer])


def _check_rows(B: Matrix, inverse: Matrix, right: tuple[Vector, Matrix], labels: Sequence[str]) -> None:
    """Refuse rows that inner variables alone cannot meet, whatever the outer ones are."""
    values, matrix = right
    wanted = np.column_stack([values, matrix])
    left = np.abs(wanted - B @ (inverse @ wanted))
    sizes = np.linalg.norm(B, axis=1) + np.linalg.norm(wanted, axis=1)
    is_left = np.any(left > INCONSISTENT * sizes[:, None], axis=1)
    bad = [label for label, is_bad in zip(labels, is_left, strict=True) if is_bad]
    if bad:
        raise ConstraintError(
            f"The linear equalities {', '.join(bad)} can only hold if the outer parameters obey them, too: the inner "
            "ones do not suffice. Give what concerns outer parameters to the problem."
        )
