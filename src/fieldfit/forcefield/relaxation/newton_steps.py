"""Steps of Newton's method on an energy, kept short enough to be trusted.

Problem
-------
Given gradient g and Hessian H at a geometry, find

    min_s  g^T s + s^T H s / 2    with  Q^T s = 0  and  |s_a| <= Delta for every atom a,

where the orthonormal columns of Q are directions that are excluded: rigid motions, which cost no energy, and changes
of coordinates that are fixed. They are few.

Excluded directions
-------------------
With P = I - Q Q^T and sigma = ||H||_inf the matrix

    A = P H P + sigma Q Q^T

acts like H on steps that are allowed and like sigma on the others, so that A s = -P g has the wanted solution, A is
definite exactly if H is on the allowed steps, and its lowest eigenvalue is an allowed one. It differs from H by two
products with Q: no basis of the allowed steps is needed.

Steps
-----
s(mu) = -(A + mu I)^-1 P g with mu >= max(0, -lambda_1) are the solutions for balls of all sizes (More, Sorensen 1983);
from them the one is taken whose largest displacement of an atom is Delta. The Euclidean length of a step of given
quality grows with the number of atoms, the largest displacement does not.

A is factorized by Cholesky's method, at a tenth of the cost of its eigenvectors, and mu = 0 if the step is short
enough. If it is not, mu is found by Newton's method on 1 / length(mu) inside the bracket 0 <= mu <= ||g|| / Delta,
which takes two or three more factorizations. If A is not positive definite to working precision, A = V diag(lambda) V^T
and mu = -lambda_1 + t: next to a negative curvature the length depends on t, which therefore is the unknown. If the
gradient has no part along the lowest eigenvector (the hard case, as on a symmetric saddle), as much of that vector is
added as Delta allows, so that a saddle is always left.

References:
    More, Sorensen (1983), Computing a trust region step, doi:10.1137/0904038.
    Conn, Gould, Toint (2000), Trust-Region Methods, chapter 7, doi:10.1137/1.9780898719857.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.linalg

from fieldfit.typing import Matrix, Vector

dpotrf, dpotrs, dpocon = scipy.linalg.get_lapack_funcs(("potrf", "potrs", "pocon"), dtype=np.float64)

SINGULAR = 1e-11
"""A Hessian whose softest direction is below this fraction of its stiffest is singular: the quotient is rounding."""

RADIUS_ACCURACY = 0.1
"""Relative accuracy of the length of a step that ends on the radius."""

MOST_TURNS = 30
"""Of the search for mu; two or three are usual."""


@dataclass(frozen=True, eq=False)
class ReducedHessian:
    """A Hessian on the steps that are allowed: the matrix A of the module's text.

    Args:
        matrix: A [kcal/mol/A^2], shape (n, n).
        excluded: Q, orthonormal columns, shape (n, excluded).
    """

    matrix: Matrix
    excluded: Matrix

    @staticmethod
    def of(hessian: Matrix, excluded: Matrix) -> ReducedHessian:
        """Exclude directions from a Hessian.

        Args:
            hessian: H [kcal/mol/A^2], shape (n, n), finite.
            excluded: Q, orthonormal columns, shape (n, excluded).
        """
        sigma = float(np.max(np.sum(np.abs(hessian), axis=1), initial=0.0)) or 1.0
        along = hessian @ excluded
        half = along - 0.5 * excluded @ (excluded.T @ along + sigma * np.eye(excluded.shape[1]))
        change = half @ excluded.T
        return ReducedHessian(hessian - change - change.T, excluded)

    @property
    def has_directions(self) -> bool:
        """Whether any step is allowed."""
        return self.excluded.shape[1] < len(self.matrix)

    @cached_property
    def factor(self) -> Matrix | None:
        """Upper Cholesky factor of A; None if A is not positive definite to working precision."""
        upper, info = dpotrf(self.matrix)
        if info != 0 or dpocon(upper, np.linalg.norm(self.matrix, 1))[0] <= SINGULAR:
            return None
        return upper

    @cached_property
    def eigenpairs(self) -> tuple[Vector, Matrix]:
        """Eigenvalues lambda, ascending, shape (n,), and eigenvectors V as columns, shape (n, n)."""
        found = scipy.linalg.eigh(self.matrix, driver="evd", check_finite=False)
        return found[0], found[1]

    @property
    def lowest(self) -> float:
        """Lowest curvature on the allowed steps [kcal/mol/A^2]; infinity if there are none."""
        if not self.has_directions:
            return math.inf
        return float(scipy.linalg.eigvalsh(self.matrix, subset_by_index=[0, 0])[0])

    @property
    def rounding(self) -> float:
        """Curvatures smaller than this cannot be told from zero [kcal/mol/A^2]."""
        return SINGULAR * float(np.max(np.abs(self.matrix), initial=0.0))

    def project(self, vector: np.ndarray) -> np.ndarray:
        """Return P v for a vector, shape (n,), or for the columns of a matrix, shape (n, m)."""
        return vector - self.excluded @ (self.excluded.T @ vector)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Return P A^-1 P r for a vector r, shape (n,), or for the columns of a matrix, shape (n, m).

        Raises:
            scipy.linalg.LinAlgError: A is singular.
        """
        if not self.has_directions:
            return np.zeros_like(right)
        right = self.project(right)
        if self.factor is not None:
            return self.project(dpotrs(self.factor, right)[0])
        h, V = self.eigenpairs
        if np.min(np.abs(h)) <= SINGULAR * np.max(np.abs(h)):
            raise scipy.linalg.LinAlgError("the Hessian is singular")
        return self.project(V @ ((V.T @ right).T / h).T)


class Step(NamedTuple):
    """A step s [A], shape (n,), its largest displacement of an atom [A], and the fall of the energy it predicts."""

    s: Vector
    length: float
    predicted: float


class _Damped(NamedTuple):
    """The step s(mu) and -ds/dmu."""

    s: Vector
    change: Vector

    @property
    def length(self) -> float:
        return largest_displacement(self.s)

    @property
    def slope(self) -> float:
        """Derivative of the length with respect to mu; not positive unless the atom that moves furthest turns back."""
        squares = np.sum(self.s.reshape(-1, 3) ** 2, axis=1)
        atom = slice(3 * int(np.argmax(squares)), 3 * int(np.argmax(squares)) + 3)
        return -float(self.s[atom] @ self.change[atom]) / math.sqrt(np.max(squares))


def bounded_step(hessian: ReducedHessian, gradient: Vector, radius: float) -> Step:
    """Return the step that lowers the quadratic model most, no atom moving further than the radius.

    Args:
        hessian: A of n = 3 atoms coordinates.
        gradient: g [kcal/mol/A], shape (n,).
        radius: Largest displacement of an atom [A], kept to 10 %.
    """
    g = hessian.project(gradient)
    s = _definite_step(hessian, g, radius) if hessian.factor is not None else _indefinite_step(hessian, g, radius)
    return Step(s, largest_displacement(s), -float(g @ s + 0.5 * s @ (hessian.matrix @ s)))


def largest_displacement(step: Vector) -> float:
    """Return how far the atom moves that moves furthest [A]."""
    return math.sqrt(np.max(np.sum(step.reshape(-1, 3) ** 2, axis=1), initial=0.0))


def _definite_step(hessian: ReducedHessian, g: Vector, radius: float) -> Vector:
    def damp(mu: float, factor: Matrix | None = None) -> _Damped:
        upper = dpotrf(hessian.matrix + mu * np.eye(g.size))[0] if factor is None else factor
        s = -dpotrs(upper, g)[0]
        return _Damped(s, dpotrs(upper, s)[0])

    full = damp(0.0, hessian.factor)
    return full.s if full.length <= radius else _shorten(damp, full, 0.0, radius, float(np.linalg.norm(g)))


def _indefinite_step(hessian: ReducedHessian, g: Vector, radius: float) -> Vector:
    h, V = hessian.eigenpairs
    along, d = V.T @ g, h + max(0.0, -float(h[0]))
    smallest = SINGULAR * max(1.0, float(np.max(np.abs(h))))

    def damp(t: float) -> _Damped:
        s = -along / (d + t)
        return _Damped(V @ s, V @ (s / (d + t)))

    longest = damp(smallest)
    if longest.length > radius:
        return _shorten(damp, longest, smallest, radius, float(np.linalg.norm(g)))
    if h[0] > -hessian.rounding:
        return longest.s
    lowest = V[:, 0] if along[0] <= 0.0 else -V[:, 0]
    return longest.s + (radius - longest.length) / largest_displacement(lowest) * lowest


def _shorten(
    damp: Callable[[float], _Damped], longest: _Damped, low: float, radius: float, gradient_norm: float
) -> Vector:
    """Return the step whose length is the radius, given the longest one at the lowest damping, which is too long."""
    mu, found, high = low, longest, low + gradient_norm / radius
    for _ in range(MOST_TURNS):
        length, slope = found.length, found.slope
        if abs(length - radius) <= RADIUS_ACCURACY * radius:
            return found.s
        low, high = (mu, high) if length > radius else (low, mu)
        mu -= (length / radius - 1.0) * length / slope if slope < 0.0 else math.inf
        if not low < mu < high:
            mu = max(math.sqrt(low * high), 1e-3 * high)
        found = damp(mu)
    return damp(high).s
