"""Exact steps: the minimiser of a linear least-squares model inside a ball.

Problem
-------
Minimise 0.5 ||A p + b||^2 subject to ||p|| <= Delta, for one A and b and several radii.

Method
------
The minimiser is p(alpha) = -(A^T A + alpha I)^-1 A^T b, with alpha = 0 if that is short enough and else with the root
of phi(alpha) = ||p(alpha)|| - Delta. Newton's method on 1 / ||p|| inside the bracket

    -phi(0) / phi'(0) <= alpha <= ||A^T b|| / Delta

finds it in one to three turns (More 1978; Nocedal, Wright, section 10.3). Each needs p and
d||p|| / d alpha = -||L^-1 p||^2 / ||p||, where L L^T = A^T A + alpha I:

    qr        A = Q R once; then only [R; sqrt(alpha) I], of 2 n rows
    svd       A = U diag(s) V^T once; then only sums. Singular values below rounding are left out, which
              makes alpha = 0 the shortest Gauss-Newton step
    cholesky  A^T A once; then L. Cheapest for many residuals; squares the condition number

The first and the last turn to the second where A is singular to working precision.

References:
    More (1978), The Levenberg-Marquardt algorithm: implementation and theory, doi:10.1007/BFb0067700.
    Nocedal, Wright (2006), Numerical Optimization, chs. 4 and 10, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from jaxtyping import Float

from fieldfit.typing import Matrix, Vector

dgeqrf, dpocon, dpotrf, dpotrs, dtrcon, dtrtrs = scipy.linalg.get_lapack_funcs(
    ("geqrf", "pocon", "potrf", "potrs", "trcon", "trtrs"), dtype=np.float64
)

EPS = float(np.finfo(float).eps)

FACTORIZATIONS = ("qr", "svd", "cholesky")

RADIUS_ACCURACY = 0.1
"""Relative accuracy of the root of phi, as in MINPACK; the step is scaled to the radius afterwards."""

MOST_TURNS = 10
"""Of the root search for alpha; the bracket makes the last value usable in any case."""


@dataclass(frozen=True, eq=False)
class DampedStep:
    """The step p(alpha) of a model.

    Args:
        p: The step, shape (n,).
        alpha: Levenberg-Marquardt parameter.
        slope: Derivative of its length with respect to alpha.
        solve: Takes r, shape (n,), and returns (A^T A + alpha I)^-1 r.
    """

    p: Vector
    alpha: float
    slope: float
    solve: Callable[[Vector], Vector]

    @property
    def length(self) -> float:
        """||p(alpha)||."""
        return norm(self.p)


class AbstractFactors(ABC):
    """A matrix A with its right-hand side b, factorized."""

    @abstractmethod
    def damp(self, alpha: float) -> DampedStep:
        """Return the step p(alpha)."""

    @property
    @abstractmethod
    def gain(self) -> float:
        """What the step with alpha = 0 takes off the model."""


@dataclass(frozen=True, eq=False)
class QRFactors(AbstractFactors):
    """R, with anything below its diagonal, and q = Q^T b, of shapes (n, n) and (n,)."""

    R: Float[np.ndarray, "n n"]
    q: Vector

    def damp(self, alpha: float) -> DampedStep:
        R, q = self.R, self.q
        if alpha > 0.0:
            n = q.size
            A = np.zeros((2 * n, n))
            A[:n] = np.triu(R)
            np.fill_diagonal(A[n:], math.sqrt(alpha))
            R, q = _triangle(A, q)
        p = -dtrtrs(R, q)[0]
        slope = _slope(p, dtrtrs(R, p, trans=1)[0])
        return DampedStep(p, alpha, slope, lambda right: dtrtrs(R, dtrtrs(R, right, trans=1)[0])[0])

    @property
    def gain(self) -> float:
        return 0.5 * float(self.q @ self.q)


@dataclass(frozen=True, eq=False)
class SVDFactors(AbstractFactors):
    """Singular values s above rounding, the rows of V^T that go with them, and U^T b."""

    s: Float[np.ndarray, " rank"]
    Vt: Float[np.ndarray, "rank n"]
    Ub: Float[np.ndarray, " rank"]

    def damp(self, alpha: float) -> DampedStep:
        weights = self.s**2 + alpha
        along = self.s * self.Ub / weights
        slope = _slope(along, along / np.sqrt(weights))
        return DampedStep(-(along @ self.Vt), alpha, slope, lambda right: ((self.Vt @ right) / weights) @ self.Vt)

    @property
    def gain(self) -> float:
        return 0.5 * float(self.Ub @ self.Ub)


@dataclass(frozen=True, eq=False)
class CholeskyFactors(AbstractFactors):
    """A^T A and the gradient A^T b, of shapes (n, n) and (n,)."""

    normal: Float[np.ndarray, "n n"]
    gradient: Vector

    def damp(self, alpha: float) -> DampedStep:
        upper = dpotrf(self.normal + alpha * np.eye(self.gradient.size))[0]
        p = -dpotrs(upper, self.gradient)[0]
        slope = _slope(p, dtrtrs(upper, p, trans=1)[0])
        return DampedStep(p, alpha, slope, lambda right: dpotrs(upper, right)[0])

    @property
    def gain(self) -> float:
        return -0.5 * float(self.gradient @ self.damp(0.0).p)


def factorize(A: Matrix, b: Float[np.ndarray, " rows"], method: str) -> AbstractFactors:
    """Factorize a least-squares problem min ||A p + b||.

    Args:
        A: Matrix, shape (m, n).
        b: Right-hand side, shape (rows,); rows of A beyond it count with zeros.
        method: "qr", "svd" or "cholesky"; the first and last turn to "svd" where A is singular to working precision.

    Returns:
        The factors.
    """
    m, n = A.shape
    if method == "qr" and m >= n:
        R, q = _triangle(A, b)
        if dtrcon(R)[0] > EPS * m:
            return QRFactors(R, q)
    if method == "cholesky" and m >= n:
        normal = A.T @ A
        upper, info = dpotrf(normal)
        if info == 0 and dpocon(upper, np.linalg.norm(normal, 1))[0] > EPS * m:
            return CholeskyFactors(normal, A[: b.size].T @ b)
    U, s, Vt = scipy.linalg.svd(A, full_matrices=False, check_finite=False)
    rank = int(np.count_nonzero(s > EPS * max(m, n) * s[0]))
    return SVDFactors(s[:rank], Vt[:rank], U[: b.size, :rank].T @ b)


def exact_step(factors: AbstractFactors, gradient: Vector, Delta: float, *, alpha: float) -> DampedStep:
    """Minimise the model inside the ball ||p|| <= Delta.

    Args:
        factors: Of the model.
        gradient: Gradient of the model, shape (n,).
        Delta: Radius, positive.
        alpha: First guess of the Levenberg-Marquardt parameter; 0 for none.

    Returns:
        The step, not longer than Delta.
    """
    step = factors.damp(0.0)
    if step.length <= Delta:
        return step
    low, high = (Delta - step.length) / step.slope, norm(gradient) / Delta
    for _ in range(MOST_TURNS):
        if not low <= alpha <= high:
            alpha = max(0.001 * high, math.sqrt(low * high))
        step = factors.damp(alpha)
        phi = step.length - Delta
        if abs(phi) <= RADIUS_ACCURACY * Delta:
            break
        high = alpha if phi < 0.0 else high
        low = max(low, alpha - phi / step.slope)
        alpha -= (step.length / Delta) * (phi / step.slope)
    length = step.length
    return replace(step, p=step.p * (Delta / length)) if length > 0.0 else step


def norm(vector: Vector) -> float:
    """Return the Euclidean length of a vector."""
    # A few times faster than numpy.linalg.norm, which matters for problems of a few variables.
    return math.sqrt(vector @ vector)


def cut(step: Vector, longest: float) -> Vector:
    """Shorten a step that is longer than allowed."""
    length = norm(step)
    return step * (longest / length) if length > longest else step


def _triangle(A: Matrix, b: Float[np.ndarray, " rows"]) -> tuple[Float[np.ndarray, "n n"], Vector]:
    """Return R, with anything below its diagonal, and Q^T b of A = Q R."""
    m, n = A.shape
    stacked = np.zeros((m, n + 1), order="F")
    stacked[:, :n], stacked[: b.size, n] = A, b
    # Factorizing [A b] carries b along: its last column is Q^T b.
    factored = dgeqrf(stacked, lwork=64 * (n + 1), overwrite_a=1)[0]
    return factored[:n, :n], factored[:n, n]


def _slope(p: Vector, w: Vector) -> float:
    length = norm(p)
    return -float(w @ w) / length if length > 0.0 else -1.0
