"""An inner problem near one point: one factorization for its steps, its perturbation and its sensitivity.

The symbols are those of `fieldfit.projections.proximal`: F and F_z = U diag(s) V^T (singular values that are rounding
are left out), F_y, and the curvature S = sum_i F_i F_i'' of an equality that is not met. With

    M = 1 + diag(1/s) V^T S_zz V diag(1/s)          (M = 1 where F = 0 or the curvature is not known)

the Hessian of 0.5 ||F||^2 on the range of V is V diag(s) M diag(s) V^T, and

    Newton's step                 p      = -V diag(1/s) M^-1 U^T F
    sensitivity                   dz/dy  = -V diag(1/s) M^-1 (U^T F_y + diag(1/s) V^T S_zy)
    damped step (M = 1)           p      = -V diag(s / (s^2 + lambda)) U^T F

References:
    Nocedal, Wright (2006), Numerical Optimization, sections 4.3 and 10.3, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from fieldfit.errors import EvaluationError
from fieldfit.typing import Matrix, Vector

SINGULAR = 1e-13
"""Eigenvalues of M, or singular values relative to the largest, that are rounding."""

DAMPED_LENGTH = 0.1
"""How far the length of a damped step may be from the radius, relative to it."""

MAX_DAMPING_ITERATIONS = 60


@dataclass(frozen=True, eq=False)
class Curvature:
    """M by its eigenvalues and eigenvectors, and diag(1/s) V^T S_zy.

    Args:
        values: Eigenvalues, ascending, shape (r,).
        vectors: Eigenvectors in columns, shape (r, r).
        mixed: Shape (r, ny).
    """

    values: Vector
    vectors: Matrix
    mixed: Matrix

    @property
    def is_minimum(self) -> bool:
        """Whether the point is a minimum of the distance as far as second derivatives tell."""
        return bool(np.all(self.values > SINGULAR))

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Return M^-1 times a vector or matrix."""
        turned = self.vectors.T @ right
        return self.vectors @ (turned / self.values.reshape(-1, *([1] * (turned.ndim - 1))))


@dataclass(frozen=True, eq=False)
class Linearization:
    """F and its derivatives at one point, factorized.

    Args:
        residuals: F, shape (m,).
        left: U, shape (m, r).
        sizes: s, descending, shape (r,).
        right: V, shape (nz, r).
        along_outer: F_y, shape (m, ny).
        curvature: What second derivatives add; None where they are zero, unknown or not wanted.
    """

    residuals: Vector
    left: Matrix
    sizes: Vector
    right: Matrix
    along_outer: Matrix
    curvature: Curvature | None = None

    @staticmethod
    def of(residuals: Vector, along_inner: Matrix, along_outer: Matrix) -> Linearization:
        """Factorize F_z.

        Args:
            residuals: F, shape (m,).
            along_inner: F_z, shape (m, nz).
            along_outer: F_y, shape (m, ny).
        """
        left, sizes, right = scipy.linalg.svd(along_inner, full_matrices=False)
        rank = int(np.count_nonzero(sizes > SINGULAR * sizes[0])) if sizes.size and sizes[0] > 0.0 else 0
        return Linearization(residuals, left[:, :rank], sizes[:rank], right[:rank].T, along_outer)

    @property
    def cost(self) -> float:
        """0.5 ||F||^2."""
        return 0.5 * float(self.residuals @ self.residuals)

    @property
    def reducible(self) -> float:
        """Length of the part of F that z can change, to first order."""
        return float(np.linalg.norm(self.left.T @ self.residuals))

    @property
    def can_be_met(self) -> bool:
        """Whether F = 0 can be reached as far as first derivatives tell: F_z has full row rank."""
        return self.sizes.size == self.residuals.size

    @property
    def newton_step(self) -> Vector:
        """The whole step, shape (nz,); see `correction`."""
        return self.correction(self.residuals)

    def correction(self, residuals: Vector) -> Vector:
        """Return the step that takes residuals away, with curvature where it is known and that of a minimum.

        Args:
            residuals: F or a part of it, shape (m,).
        """
        return -self.right @ (self._reduced(self.left.T @ residuals) / self.sizes)

    def step(self, radius: float) -> tuple[Vector, float]:
        """Return a step of at most a given length and the reduction of the cost that it promises."""
        step = self.newton_step
        c, s = self.left.T @ self.residuals, self.sizes
        if np.linalg.norm(step) <= radius:
            return step, 0.5 * float(c @ self._reduced(c))
        step = -self.right @ (s * c / (s**2 + _damping(c, s, radius)))
        after = c + s * (self.right.T @ step)
        return step, 0.5 * float(c @ c - after @ after)

    def sensitivity(self) -> Matrix:
        """Return dz/dy, shape (nz, ny).

        Raises:
            EvaluationError: The solution is not isolated, so it has none.
        """
        right = self.left.T @ self.along_outer
        if self.curvature is not None:
            if np.min(np.abs(self.curvature.values), initial=1.0) < SINGULAR:
                raise EvaluationError(
                    "The inner problem is flat to second order at its solution, so the solution does not depend "
                    "smoothly on the outer parameters. Add residuals that decide the inner parameters."
                )
            right = self.curvature.solve(right + self.curvature.mixed)
        return -self.right @ (right / self.sizes[:, None])

    def change(self, dz: Vector, dy: Vector) -> Vector:
        """Return the change of F to first order, within the range of F_z as far as z moves, shape (m,)."""
        return self.left @ (self.sizes * (self.right.T @ dz)) + self.along_outer @ dy

    def with_curvature(self, inner: Matrix, mixed: Matrix) -> Linearization:
        """Return the same with second derivatives.

        Args:
            inner: S_zz, shape (nz, nz).
            mixed: S_zy, shape (nz, ny).
        """
        weighted = self.right / self.sizes
        M = np.eye(self.sizes.size) + weighted.T @ inner @ weighted
        values, vectors = scipy.linalg.eigh(0.5 * (M + M.T)) if M.size else (np.zeros(0), M)
        return replace(self, curvature=Curvature(values, vectors, weighted.T @ mixed))

    def _reduced(self, coefficients: Vector) -> Vector:
        """Return M^-1 times coefficients, or the coefficients where M is not that of a minimum."""
        if self.curvature is None or not self.curvature.is_minimum:
            return coefficients
        return self.curvature.solve(coefficients)


def _damping(c: Vector, s: Vector, radius: float) -> float:
    """Return the lambda with which the damped step is as long as the radius; Newton's method on 1 / length."""
    damping = 0.0
    for _ in range(MAX_DAMPING_ITERATIONS):
        parts = s * c / (s**2 + damping)
        length = float(np.linalg.norm(parts))
        if length <= (1.0 + DAMPED_LENGTH) * radius:
            break
        slope = float(np.sum(parts**2 / (s**2 + damping))) / length
        damping += (length - radius) / radius * length / slope
    return damping
