"""Exact steps: the minimiser of a linear least-squares model inside a ball.

Problem
-------
Minimise q(p) = 0.5 ||A p + b||^2 + 0.5 p^T C p subject to ||p|| <= Delta, for one A, one b, one diagonal C >= 0 and
several radii.

Method
------
The minimiser is p(alpha) = -H^-1 A^T b with H = A^T A + C + alpha I, where alpha = 0 if that step is short enough and
else the root of phi(alpha) = ||p(alpha)|| - Delta. Newton's method on 1 / ||p|| inside the bracket

    -phi(0) / phi'(0) <= alpha <= ||A^T b|| / Delta

finds it in one to three turns (More 1978; Nocedal, Wright, section 10.3). Each needs p and
d||p|| / d alpha = -p^T H^-1 p / ||p||:

    qr        A = Q R once; then the triangle of [R; sqrt(C + alpha I)], whose lower block is diagonal: that takes a
              fraction of the work of the first
    svd       A = U diag(s) V^T once; then only sums. Singular values below rounding are left out, which
              makes alpha = 0 the shortest Gauss-Newton step
    cholesky  A^T A + C once; then L L^T = H. Cheapest for many residuals; squares the condition number

The first and the last turn to the second where A is singular to working precision.

References:
    More (1978), The Levenberg-Marquardt algorithm: implementation and theory, doi:10.1007/BFb0067700.
    Nocedal, Wright (2006), Numerical Optimization, chs. 4 and 10, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.linalg
from jaxtyping import Float

from fieldfit.typing import Matrix, Vector

dgeqrf, dpocon, dpotrf, dpotrs, dtpqrt, dtrcon, dtrtrs = scipy.linalg.get_lapack_funcs(
    ("geqrf", "pocon", "potrf", "potrs", "tpqrt", "trcon", "trtrs"), dtype=np.float64
)

EPS = float(np.finfo(float).eps)

FACTORIZATIONS = ("qr", "svd", "cholesky")

RADIUS_ACCURACY = 0.1
"""Relative accuracy of the root of phi, as in MINPACK; the step is scaled to the radius afterwards."""

MOST_TURNS = 10
"""Of the root search for alpha; the bracket makes the last value usable in any case."""

PANEL = 64
"""Columns per block of `dgeqrf`; LAPACK's own answer to a workspace query is at most this."""

DIAGONAL_PANEL = 16
"""Columns per block of `dtpqrt`; fastest of 8, 16, 32 and 64 for 100 to 1000 variables."""


@dataclass(frozen=True, eq=False)
class DampedStep:
    """The step p(alpha) of a model.

    Args:
        p: The step, shape (n,).
        alpha: Levenberg-Marquardt parameter.
        length: ||p||.
        solve: Takes r, shape (n,), and returns H^-1 r.
    """

    p: Vector
    alpha: float
    length: float
    solve: Callable[[Vector], Vector]

    @property
    def slope(self) -> float:
        """Derivative of the length with respect to alpha; for steps that are not zero."""
        return -float(self.p.dot(self.solve(self.p))) / self.length


class AbstractFactors(ABC):
    """A model, factorized.

    Attributes:
        full: The step with alpha = 0.
    """

    full: DampedStep

    @property
    @abstractmethod
    def gain(self) -> float:
        """What the step with alpha = 0 takes off the model."""

    @abstractmethod
    def damp(self, alpha: float) -> DampedStep:
        """Return the step p(alpha)."""


@dataclass(frozen=True, eq=False)
class QRFactors(AbstractFactors):
    """The triangle of [A b; sqrt(C) 0], shape (n + 1, n + 1), with anything below its diagonal, and the full step."""

    triangle: Matrix
    full: DampedStep

    def damp(self, alpha: float) -> DampedStep:
        return _triangular_step(_add_diagonal(self.triangle, math.sqrt(alpha)), alpha)

    @property
    def gain(self) -> float:
        q = self.triangle[:-1, -1]
        return 0.5 * float(q.dot(q))


@dataclass(frozen=True, eq=False)
class SVDFactors(AbstractFactors):
    """Singular values s of [A; sqrt(C)] above rounding, their rows of V^T, U^T [b; 0], and the full step."""

    s: Float[np.ndarray, " rank"]
    Vt: Float[np.ndarray, "rank n"]
    Ub: Float[np.ndarray, " rank"]
    full: DampedStep

    def damp(self, alpha: float) -> DampedStep:
        return _singular_step(self.s, self.Vt, self.Ub, alpha)

    @property
    def gain(self) -> float:
        return 0.5 * float(self.Ub.dot(self.Ub))


@dataclass(frozen=True, eq=False)
class CholeskyFactors(AbstractFactors):
    """A^T A + C, shape (n, n), the gradient A^T b, shape (n,), and the full step."""

    normal: Float[np.ndarray, "n n"]
    gradient: Vector
    full: DampedStep

    def damp(self, alpha: float) -> DampedStep:
        upper = dpotrf(self.normal + alpha * np.eye(self.gradient.size))[0]
        return _cholesky_step(upper, self.gradient, alpha)

    @property
    def gain(self) -> float:
        return max(-0.5 * float(self.gradient.dot(self.full.p)), 0.0)


def factorize(A: Matrix, b: Float[np.ndarray, " m"], C: Vector | None, method: str) -> AbstractFactors:
    """Factorize a model.

    Args:
        A: Matrix, shape (m, n).
        b: Right-hand side, shape (m,).
        C: Diagonal, at least 0, shape (n,); None for zeros.
        method: "qr", "svd" or "cholesky"; the first and last turn to "svd" where the model is singular to working
            precision.

    Returns:
        The factors.
    """
    # Fewer residuals than variables cannot be regular unless the diagonal makes them so.
    may_be_regular = C is not None or A.shape[0] >= A.shape[1]
    factors = None
    if method == "qr" and may_be_regular:
        factors = _qr(A, b, C)
    elif method == "cholesky" and may_be_regular:
        factors = _cholesky(A, b, C)
    return factors or _svd(A, b, C)


def exact_step(factors: AbstractFactors, gradient: Vector, Delta: float, *, alpha: float) -> DampedStep:
    """Minimise the model inside the ball ||p|| <= Delta.

    Args:
        factors: Of the model.
        gradient: Gradient of the model at p = 0, shape (n,).
        Delta: Radius, positive.
        alpha: First guess of the Levenberg-Marquardt parameter; 0 for none.

    Returns:
        The step, not longer than Delta.
    """
    step = factors.full
    if step.length <= Delta:
        return step
    low, high = (Delta - step.length) / step.slope, norm(gradient) / Delta
    for _ in range(MOST_TURNS):
        if not low <= alpha <= high:
            alpha = max(0.001 * high, math.sqrt(low * high))
        step = factors.damp(alpha)
        phi = step.length - Delta
        if abs(phi) <= RADIUS_ACCURACY * Delta or step.length == 0.0:
            break
        slope = step.slope
        high = alpha if phi < 0.0 else high
        low = max(low, alpha - phi / slope)
        alpha -= (step.length / Delta) * (phi / slope)
    return DampedStep(step.p * (Delta / step.length), step.alpha, Delta, step.solve) if step.length > 0.0 else step


def norm(vector: Vector) -> float:
    """Return the Euclidean length of a vector."""
    # For a few variables calls are what costs: `dot` takes half the time of `@` and a tenth of numpy.linalg.norm.
    return math.sqrt(vector.dot(vector))


def cut(step: Vector, longest: float) -> Vector:
    """Shorten a step that is longer than allowed."""
    length = norm(step)
    return step * (longest / length) if length > longest else step


def _qr(A: Matrix, b: Float[np.ndarray, " m"], C: Vector | None) -> QRFactors | None:
    """Return the factors, or None if the model is singular to working precision."""
    m, n = A.shape
    # Factorizing [A b] carries b along: above the diagonal, its last column is Q^T b.
    stacked = np.zeros((max(m, n + 1), n + 1), order="F")
    stacked[:m, :n], stacked[:m, n] = A, b
    triangle = dgeqrf(stacked, lwork=PANEL * (n + 1), overwrite_a=1)[0][: n + 1]
    if C is not None:
        triangle = _add_diagonal(triangle, np.sqrt(C))
    if dtrcon(triangle[:n, :n])[0] <= EPS * m:
        return None
    return QRFactors(triangle, _triangular_step(triangle, 0.0))


def _add_diagonal(triangle: Matrix, diagonal: Vector | float) -> Matrix:
    """Return the triangle of [triangle; diag(diagonal) 0], shape (n + 1, n + 1)."""
    n = triangle.shape[1] - 1
    lower = np.zeros((n, n + 1), order="F")
    lower.T.reshape(-1)[: n * n : n + 1] = diagonal
    return dtpqrt(n, min(n, DIAGONAL_PANEL), triangle, lower, overwrite_b=1)[0]


def _triangular_step(triangle: Matrix, alpha: float) -> DampedStep:
    R = np.asfortranarray(triangle[:-1, :-1])
    p = -dtrtrs(R, triangle[:-1, -1])[0]
    return DampedStep(p, alpha, norm(p), partial(_solve, R))


def _cholesky(A: Matrix, b: Float[np.ndarray, " m"], C: Vector | None) -> CholeskyFactors | None:
    """Return the factors, or None if the model is singular to working precision."""
    normal = A.T.dot(A) if C is None else A.T.dot(A) + np.diag(C)
    upper, info = dpotrf(normal)
    if info != 0 or dpocon(upper, np.linalg.norm(normal, 1))[0] <= EPS * A.shape[0]:
        return None
    gradient = A.T.dot(b)
    return CholeskyFactors(normal, gradient, _cholesky_step(upper, gradient, 0.0))


def _cholesky_step(upper: Matrix, gradient: Vector, alpha: float) -> DampedStep:
    p = -dpotrs(upper, gradient)[0]
    return DampedStep(p, alpha, norm(p), partial(_solve, upper))


def _svd(A: Matrix, b: Float[np.ndarray, " m"], C: Vector | None) -> SVDFactors:
    stacked = A if C is None else np.concatenate([A, np.diag(np.sqrt(C))])
    U, s, Vt = scipy.linalg.svd(stacked, full_matrices=False, check_finite=False)
    rank = int(np.count_nonzero(s > EPS * max(stacked.shape) * s[0]))
    s, Vt, Ub = s[:rank], Vt[:rank], U[: b.size, :rank].T.dot(b)
    return SVDFactors(s, Vt, Ub, _singular_step(s, Vt, Ub, 0.0))


def _singular_step(s: Vector, Vt: Matrix, Ub: Vector, alpha: float) -> DampedStep:
    weights = s**2 + alpha
    along = s * Ub / weights
    return DampedStep(-along.dot(Vt), alpha, norm(along), partial(_solve_in_basis, Vt, weights))


def _solve(upper: Matrix, right: Vector) -> Vector:
    """Return H^-1 right for H = upper^T upper."""
    return dpotrs(upper, right)[0]


def _solve_in_basis(Vt: Matrix, weights: Vector, right: Vector) -> Vector:
    """Return H^-1 right for H = V diag(weights) V^T, in its range."""
    return (Vt.dot(right) / weights).dot(Vt)
