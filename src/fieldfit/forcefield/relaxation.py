"""Relaxation to the nearest minimum by a trust-region Newton method on the exact Hessian.

Minimise E(x) over the complement of rigid motion. With g and H projected there, H = Q diag(h) Q^T, each step solves

    min_s  g.s + s.H s / 2   subject to  |s| <= Delta,      s = -Q diag(1 / (h + mu)) Q^T g,

with the smallest mu >= max(0, -h_1) that respects the radius (More, Sorensen 1983, doi:10.1137/0904038). The Hessian
of a molecule is small, so the eigendecomposition is cheap next to its evaluation and handles indefinite and singular
cases alike. Near a minimum the steps are Newton's and converge quadratically, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import scipy.linalg
import scipy.optimize

from fieldfit.forcefield.vibrations import rigid_motions
from fieldfit.typing import Matrix, Vector

GRADIENT_TOLERANCE = 1e-9
"""Largest remaining gradient component [kcal/mol/A]."""

START_RADIUS = 0.3
"""First trust radius [A]."""

LARGEST_RADIUS = 1.0
"""Largest trust radius [A]."""

SINGULAR = 1e-11
"""A Hessian whose softest direction is below this fraction of its stiffest is singular: the quotient is rounding."""


@runtime_checkable
class LocalModel(Protocol):
    """Energy, gradient, shape (3 atoms,), and Hessian at one geometry."""

    @property
    def energy(self) -> float:
        """Energy [kcal/mol]."""
        ...

    @property
    def gradient(self) -> Vector:
        """Gradient [kcal/mol/A]."""
        ...

    @property
    def hessian(self) -> Matrix:
        """Hessian [kcal/mol/A^2]."""
        ...


@dataclass(frozen=True, eq=False)
class RelaxedGeometry:
    """Where a relaxation ended.

    Args:
        x: Coordinates [A], shape (atoms, 3).
        energy: Energy [kcal/mol].
        gradient: Gradient [kcal/mol/A], shape (3 atoms,).
        hessian: Hessian [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        lowest_curvature: Lowest curvature that is no rigid motion [kcal/mol/A^2].
        is_converged: Whether the gradient is below tolerance and no curvature is negative.
        n_iterations: Number of steps.
    """

    x: Matrix
    energy: float
    gradient: Vector
    hessian: Matrix
    lowest_curvature: float
    is_converged: bool
    n_iterations: int


def relax(
    local: Callable[[Matrix], LocalModel],
    x: Matrix,
    *,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    max_iterations: int = 200,
) -> RelaxedGeometry:
    """Relax a geometry to the nearest minimum.

    Args:
        local: Returns energy [kcal/mol], gradient and Hessian at coordinates [A], shape (atoms, 3).
        x: Start [A], shape (atoms, 3).
        gradient_tolerance: Largest remaining gradient component [kcal/mol/A].
        max_iterations: Largest number of steps.

    Returns:
        The end point, converged or not.
    """
    here, radius = local(x), START_RADIUS
    for iteration in range(max_iterations):
        if np.max(np.abs(here.gradient)) < gradient_tolerance:
            return _end(x, here, iteration)
        step, predicted = newton_step(here.gradient, here.hessian, complement(x), radius)
        length = float(np.linalg.norm(step))
        there = local(x + step.reshape(x.shape))
        actual = here.energy - there.energy
        # Rounding in the energy hides tiny improvements; near the end the gradient decides.
        noise = 1e-12 * max(1.0, abs(here.energy))
        falls = np.max(np.abs(there.gradient)) < np.max(np.abs(here.gradient))
        ratio = 1.0 if predicted < noise and falls else actual / max(predicted, 1e-300)
        if not np.isfinite(ratio) or ratio < 0.25:
            radius = 0.25 * length
        elif ratio > 0.75 and length > 0.8 * radius:
            radius = min(2.0 * radius, LARGEST_RADIUS)
        if np.isfinite(ratio) and ratio > 1e-4:
            x, here = x + step.reshape(x.shape), there
        elif radius < 1e-12 * max(1.0, float(np.max(np.abs(x)))):
            return _end(x, here, iteration + 1)
    return _end(x, here, max_iterations)


def newton_step(gradient: Vector, hessian: Matrix, basis: Matrix, radius: float) -> tuple[Vector, float]:
    """Return the trust-region step and the decrease of the energy that it predicts.

    Args:
        gradient: Gradient [kcal/mol/A], shape (3 atoms,).
        hessian: Hessian [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        basis: Orthonormal directions of the step as columns, shape (3 atoms, m).
        radius: Largest length of the step [A].
    """
    h, Q = scipy.linalg.eigh(basis.T @ hessian @ basis)
    g = Q.T @ (basis.T @ gradient)
    shift = _shift(h, g, radius)
    s = -g / (h + shift)
    predicted = -float(g @ s + 0.5 * (h * s) @ s)
    return basis @ (Q @ s), predicted


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


def _shift(h: Vector, g: Vector, radius: float) -> float:
    """Return the smallest shift mu >= 0 that makes the step a descent step inside the radius."""
    if h[0] > 0.0 and np.linalg.norm(g / h) <= radius:
        return 0.0
    # mu = base + t: next to a negative curvature mu is close to -h_1, and the length of the step depends on the
    # difference, which therefore has to be the unknown.
    base = max(0.0, -float(h[0]))
    d = h + base
    smallest = 1e-10 * max(1.0, float(np.max(np.abs(h))))
    largest = smallest + float(np.linalg.norm(g)) / radius

    def excess(t: float) -> float:
        return 1.0 / radius - 1.0 / float(np.linalg.norm(g / (d + t)))

    if excess(smallest) <= 0.0:
        return base + smallest
    root: Any = scipy.optimize.brentq(excess, smallest, largest, xtol=1e-4 * smallest, rtol=np.float64(1e-6))
    return base + float(root)


def _end(x: Matrix, here: LocalModel, iterations: int) -> RelaxedGeometry:
    reduced = complement(x)
    lowest = scipy.linalg.eigvalsh(reduced.T @ here.hessian @ reduced)[0] if reduced.shape[1] else np.inf
    is_still = np.max(np.abs(here.gradient)) < 1e3 * GRADIENT_TOLERANCE
    # Rounding decides the sign of a curvature that is zero.
    is_converged = bool(is_still and lowest > SINGULAR * np.max(np.abs(here.hessian)))
    return RelaxedGeometry(x, here.energy, here.gradient, here.hessian, float(lowest), is_converged, iterations)
