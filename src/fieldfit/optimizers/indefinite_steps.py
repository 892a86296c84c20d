"""Steps in a ball for a quadratic that may curve downwards.

Problem
-------
Minimise q(p) = g^T p + 0.5 p^T B p subject to ||p|| <= Delta, for one symmetric B, definite or not, and several radii.

Method
------
B = V diag(lambda) V^T is taken apart once, with lambda_1 <= ... <= lambda_n; after that every radius is cheap. In the
variables V^T p all matrices are diagonal:

    exact     p = -g / (lambda + alpha), with alpha = 0 if B is positive definite and that step is short enough, and
              else alpha >= max(0, -lambda_1) such that ||p|| = Delta. 1 / ||p|| is concave in alpha: Newton's method on
              1 / ||p|| = 1 / Delta, begun left of the root, stays left of it and needs no bracket. Its unknown is
              mu = alpha + lambda_1, or a root close to -lambda_1 would be lost in cancellation. In the hard case g has
              no part along the eigenvectors of lambda_1 <= 0, and the rest of the step is too short even for mu = 0;
              then one of these eigenvectors is added to it, as long as it takes to reach the ball.
    dogleg    The path from 0 to the minimiser along -g and on to Newton's step, cut at the ball. Where B is not
              positive definite it is the path of V diag(|lambda|) V^T, whose quadratic is nowhere below q: the step
              leads away from a saddle point. On one, where g = 0, it has nowhere to go.
    subspace  The minimiser in the ball and in the plane of g and Newton's step; where B is not positive definite, in
              the plane of the step of V diag(|lambda|) V^T and of the eigenvector of lambda_1, which leaves saddle
              points.

Taking B apart costs about ten times a Cholesky factorization, which is little beside an exact Hessian.

References:
    More, Sorensen (1983), Computing a trust region step, doi:10.1137/0904038.
    Byrd, Schnabel, Shultz (1988), Approximate solution of the trust region problem by minimization over
        two-dimensional subspaces, doi:10.1007/BF01580735.
    Powell (1970), the dogleg, in Numerical Methods for Nonlinear Algebraic Equations, ed. Rabinowitz.
    Nocedal, Wright (2006), Numerical Optimization, ch. 4, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from fieldfit.optimizers.exact_steps import EPS, norm
from fieldfit.typing import Matrix, Vector

MOST_TURNS = 50
"""Of the root search; it is quadratic, so this is never reached but for numbers that are not finite."""

RADIUS_ACCURACY = 1e-6
"""Relative accuracy of ||p|| = Delta; turns cost n operations each."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A quadratic in the variables V^T p.

    Args:
        values: Eigenvalues lambda, ascending, shape (n,).
        vectors: V, eigenvectors as columns, shape (n, n).
        along: V^T g, shape (n,).
    """

    values: Vector
    vectors: Matrix
    along: Vector

    @property
    def rounding(self) -> float:
        """Eigenvalues closer to each other than this are equal but for rounding."""
        return EPS * self.values.size * float(np.abs(self.values).max())


def decompose(B: Matrix, g: Vector, *, size: float = 0.0) -> Spectrum:
    """Take a quadratic apart.

    Args:
        B: Symmetric matrix, shape (n, n).
        g: Gradient at p = 0, shape (n,).
        size: Length of the variables. Where B does not curve, a part of g that rounding of B times this length may have
            made is left out, so that variables that nothing feels stay where they are.
    """
    values, vectors = scipy.linalg.eigh(B, check_finite=False, driver="evd")
    along = g @ vectors
    rounding = EPS * values.size * float(np.abs(values).max())
    is_felt = (np.abs(values) > rounding) | (np.abs(along) > rounding * size)
    return Spectrum(np.where(np.abs(values) > rounding, values, 0.0), vectors, np.where(is_felt, along, 0.0))


def exact_step(spectrum: Spectrum, Delta: float) -> Vector:
    """Return the minimiser in the ball, shape (n,)."""
    return spectrum.vectors @ _exact(spectrum, Delta)


def dogleg_step(spectrum: Spectrum, Delta: float) -> Vector:
    """Return the point where the dogleg leaves the ball, or its end, shape (n,)."""
    g, curvature = spectrum.along, _absolute(spectrum, Delta)
    newton = -_divide(g, curvature)
    if norm(newton) <= Delta:
        return spectrum.vectors @ newton
    squares = float(g @ g)
    cauchy = -g * (squares / float(g @ (curvature * g)))
    if norm(cauchy) >= Delta:
        return spectrum.vectors @ (-g * (Delta / math.sqrt(squares)))
    return spectrum.vectors @ (cauchy + way_to_edge(cauchy, newton - cauchy, Delta) * (newton - cauchy))


def subspace_step(spectrum: Spectrum, Delta: float) -> Vector:
    """Return the minimiser in the ball within two dimensions, shape (n,)."""
    values, g = spectrum.values, spectrum.along
    if values.size <= 2:
        return exact_step(spectrum, Delta)
    newton = -_divide(g, _absolute(spectrum, Delta))
    other = g if values[0] > 0.0 else np.eye(1, g.size)[0]
    # Columns of like length: which of two nearly parallel ones is longer should not matter.
    plane = np.stack([_unit(other), _unit(newton)], axis=1)
    basis = np.linalg.qr(plane)[0]
    inner = decompose(basis.T @ (values[:, None] * basis), basis.T @ g)
    return spectrum.vectors @ (basis @ exact_step(inner, Delta))


METHODS = {"exact": exact_step, "dogleg": dogleg_step, "subspace": subspace_step}
"""Ways to make a step, by the name of the method."""


def way_to_edge(p: Vector, direction: Vector, Delta: float) -> float:
    """Return t >= 0 with ||p + t direction|| = Delta, for p inside the ball and a direction that is not zero."""
    a, b = float(direction @ direction), float(p @ direction)
    c = min(float(p @ p) - Delta**2, 0.0)
    root = math.sqrt(b * b - a * c)
    # The form without cancellation, whichever the sign of b.
    return -c / (b + root) if b > 0.0 else (root - b) / a


def _exact(spectrum: Spectrum, Delta: float) -> Vector:
    """Return the minimiser in the variables V^T p."""
    lowest, g = float(spectrum.values[0]), spectrum.along
    if lowest > 0.0:
        newton = -g / spectrum.values
        return newton if norm(newton) <= Delta else _on_sphere(spectrum.values - lowest, g, lowest, Delta)
    is_lowest = spectrum.values - lowest <= spectrum.rounding
    gaps = np.where(is_lowest, 0.0, spectrum.values - lowest)
    # The part along the lowest eigenvectors alone has length Delta at this mu, so it lies left of the root.
    mu = norm(g[is_lowest]) / Delta
    if mu == 0.0:
        # Numbers whose length underflows are not zero themselves.
        rest = -_divide(np.where(is_lowest, 0.0, g), gaps)
        if norm(rest) <= Delta:
            return _hard_case(rest, lowest, Delta)
    return _on_sphere(gaps, g, mu, Delta)


def _hard_case(rest: Vector, lowest: float, Delta: float) -> Vector:
    result = rest.copy()
    result[0] = math.sqrt(Delta**2 - float(rest @ rest)) if lowest < 0.0 else 0.0
    return result


def _on_sphere(gaps: Vector, g: Vector, mu: float, Delta: float) -> Vector:
    """Return p = -g / (gaps + mu) with ||p|| = Delta, from a mu that is not above the one sought."""
    p = -_divide(g, gaps + mu)
    for _ in range(MOST_TURNS):
        length = norm(p)
        if length <= (1.0 + RADIUS_ACCURACY) * Delta:
            break
        slope = float(p @ _divide(p, gaps + mu)) / length
        mu += (length / Delta - 1.0) * length / slope
        p = -_divide(g, gaps + mu)
    return p * min(1.0, Delta / norm(p))


def _absolute(spectrum: Spectrum, Delta: float) -> Vector:
    """Return |lambda|, raised where a step along an eigenvector would leave the ball by that part alone."""
    return np.maximum(np.abs(spectrum.values), np.abs(spectrum.along) / Delta)


def _divide(numbers: Vector, by: Vector) -> Vector:
    """Divide, with zero where a number is zero."""
    return np.divide(numbers, by, out=np.zeros_like(numbers), where=numbers != 0.0)


def _unit(vector: Vector) -> Vector:
    length = norm(vector)
    return vector / length if length > 0.0 else vector
