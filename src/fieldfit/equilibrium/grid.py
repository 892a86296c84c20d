"""Nodes and quadrature weights in flux coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fieldfit.equilibrium.modes import Resolution
from fieldfit.errors import SettingsError
from fieldfit.typing import Vector


@dataclass(frozen=True, eq=False)
class Grid:
    """Nodes (rho, theta) with weights.

    Args:
        rho: Radius of each node, 0 < rho <= 1, shape (nodes,).
        theta: Poloidal angle of each node [rad], shape (nodes,).
        weights: Quadrature weights of drho dtheta dzeta; those of a whole torus add up to 4 pi^2, shape (nodes,).

    Raises:
        SettingsError: The arrays differ in length, or a node lies on the axis, where the coordinates are singular.
    """

    rho: Vector
    theta: Vector
    weights: Vector

    def __post_init__(self) -> None:
        if not self.rho.shape == self.theta.shape == self.weights.shape:
            raise SettingsError(
                f"A grid has {self.rho.size} radii, {self.theta.size} angles and {self.weights.size} weights. Give one "
                "of each per node."
            )
        if not np.all((self.rho > 0.0) & (self.rho <= 1.0)):
            raise SettingsError(
                f"A grid has radii from {self.rho.min()} to {self.rho.max()}. Give radii above 0, where the "
                "coordinates are singular, and up to 1."
            )

    @property
    def size(self) -> int:
        """Number of nodes."""
        return self.rho.size


def quadrature_grid(resolution: Resolution) -> Grid:
    """Return the nodes on which force balance is asked for.

    Gauss-Legendre nodes in rho, L + 2 of them, times midpoints in theta, 2 M + 2 of them on (0, pi): the lower half
    mirrors the upper one.

    Args:
        resolution: Of the equilibrium.
    """
    return product_grid(resolution.radial + 2, 2 * resolution.poloidal + 2)


def product_grid(n_rho: int, n_theta: int) -> Grid:
    """Return Gauss-Legendre nodes in rho times midpoints in theta on (0, pi), with the weights of a whole torus.

    Args:
        n_rho: Number of radii.
        n_theta: Number of angles.
    """
    nodes, weights = np.polynomial.legendre.leggauss(n_rho)
    rho, theta = np.meshgrid(0.5 * (nodes + 1.0), _midpoints(n_theta), indexing="ij")
    around = 2.0 * np.pi * 2.0 * np.pi / n_theta
    return Grid(rho.ravel(), theta.ravel(), np.repeat(0.5 * weights * around, n_theta))


def surface_grid(rho: Vector, n_theta: int) -> Grid:
    """Return midpoints in theta on (0, pi) on each of given surfaces; the weights of each surface add up to 4 pi^2.

    Args:
        rho: Radii, shape (surfaces,).
        n_theta: Number of angles.
    """
    radii, theta = np.meshgrid(np.asarray(rho, dtype=float), _midpoints(n_theta), indexing="ij")
    return Grid(radii.ravel(), theta.ravel(), np.full(radii.size, 4.0 * np.pi**2 / n_theta))


def _midpoints(n_theta: int) -> Vector:
    return (np.arange(n_theta) + 0.5) * np.pi / n_theta
