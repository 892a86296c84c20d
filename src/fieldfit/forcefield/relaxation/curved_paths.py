"""Paths along which short distances change evenly, instead of straight lines.

Problem
-------
A straight step along a torsion stretches bonds: a group that turns by phi about an axis at distance r leaves its circle
by r phi^2 / 2. On straight lines a Newton method therefore creeps along curved valleys, one step along and one step
back. In internal coordinates the valleys are straight. Short interatomic distances d_p(x) serve as such coordinates
here: they need no list of bonds, and nothing is transformed back.

Method
------
With b_p and C_p the first and second derivatives of d_p, weights w_p that fall with the distance, and B = (b_p)^T, the
path of a step s is

    x(s) = x + s - M^-1 B^T w [d(x + s) - d(x) - B s],       M = B^T w B + eps I.

It begins along s, and distances follow their linear prediction d(x) + B s as closely as weighted least squares allow.
Along it the energy is, exactly to second order,

    E(x(s)) = E + g^T s + s^T (H + K) s / 2,       K = -sum_p w_p (b_p^T M^-1 g) C_p,

so that a Newton step with H + K is as consistent as one with H on a straight line, and Newton's convergence remains
quadratic. K also takes most of the indefinite part from the Hessian of a strained molecule, f' C of its stretched
bonds.

References:
    Pulay, Fogarasi (1992), J. Chem. Phys. 96, 2856, doi:10.1063/1.462844: why redundant internal coordinates.
    Absil, Mahony, Sepulchre (2008), Optimization Algorithms on Matrix Manifolds, chapter 5: second-order retractions,
        doi:10.1515/9781400830244.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from fieldfit.forcefield.relaxation.newton_steps import dpotrf, dpotrs
from fieldfit.typing import Matrix, Vector

LONGEST = 3.0
"""Distances longer than this [A] are left out: bonds and distances across an angle are shorter."""

BOND = 1.5
"""Distance whose weight is 1 [A]; weights fall with the fourth power."""

EPS = 0.1
"""Weight of a displacement against the weights of the distances."""

LARGEST_CORRECTION = 0.5
"""A path leaves the straight line by at most this fraction of the length of the step."""


@dataclass(frozen=True, eq=False)
class CurvedPaths:
    """The paths that begin at one geometry.

    Args:
        x: The geometry [A], shape (atoms, 3).
        free: Cartesian coordinates that may change, by index, shape (n,).
    """

    x: Matrix
    free: Int[np.ndarray, " n"]

    @cached_property
    def pairs(self) -> Int[np.ndarray, "2 pairs"]:
        """Pairs of atoms whose distances are short."""
        distances = np.linalg.norm(self.x[:, None] - self.x[None, :], axis=-1)
        return np.array(np.nonzero(np.triu((distances < LONGEST) & (distances > 0.0))))

    def bending(self, gradient: Vector) -> Matrix:
        """Return what the curvature of the paths adds to the Hessian: K, shape (n, n).

        Args:
            gradient: Gradient of the energy with respect to the free coordinates [kcal/mol/A], shape (n,).
        """
        coefficients = -self._weights * self._along(dpotrs(self._factor, gradient)[0])
        e = self._directions
        outer = np.eye(3) - e[:, :, None] * e[:, None, :]
        return self._assemble((coefficients / self._distances)[:, None, None] * outer)

    def follow(self, step: Vector) -> Matrix:
        """Return the geometry at the end of a step [A], shape (atoms, 3).

        Args:
            step: Changes of the free coordinates [A], shape (n,).
        """
        straight = self._moved(step)
        i, j = self.pairs
        excess = np.linalg.norm(straight[i] - straight[j], axis=1) - self._distances - self._along(step)
        correction = -dpotrs(self._factor, self._across(self._weights * excess))[0]
        longest, length = LARGEST_CORRECTION * float(np.linalg.norm(step)), float(np.linalg.norm(correction))
        return self._moved(step + correction * min(1.0, longest / length if length > 0.0 else 1.0))

    @cached_property
    def _distances(self) -> Float[np.ndarray, " pairs"]:
        i, j = self.pairs
        return np.linalg.norm(self.x[i] - self.x[j], axis=1)

    @cached_property
    def _directions(self) -> Float[np.ndarray, "pairs 3"]:
        i, j = self.pairs
        return (self.x[i] - self.x[j]) / self._distances[:, None]

    @cached_property
    def _weights(self) -> Float[np.ndarray, " pairs"]:
        return (BOND / self._distances) ** 4

    @cached_property
    def _factor(self) -> Matrix:
        """Cholesky factor of M."""
        e = self._directions
        M = self._assemble(self._weights[:, None, None] * e[:, :, None] * e[:, None, :])
        return dpotrf(M + EPS * np.eye(len(M)))[0]

    def _moved(self, step: Vector) -> Matrix:
        flat = self.x.ravel().copy()
        flat[self.free] += step
        return flat.reshape(self.x.shape)

    def _along(self, step: Vector) -> Vector:
        """Return B s, shape (pairs,)."""
        full = np.zeros(self.x.size)
        full[self.free] = step
        i, j = self.pairs
        shift = full.reshape(self.x.shape)
        return np.sum(self._directions * (shift[i] - shift[j]), axis=1)

    def _across(self, values: Vector) -> Vector:
        """Return B^T v, shape (n,)."""
        i, j = self.pairs
        forces = values[:, None] * self._directions
        total = np.zeros(self.x.shape)
        np.add.at(total, i, forces)
        np.add.at(total, j, -forces)
        return total.ravel()[self.free]

    def _assemble(self, blocks: Float[np.ndarray, "pairs 3 3"]) -> Matrix:
        """Return sum_p D_p^T block_p D_p with D_p the difference of the atoms of a pair, for free coordinates."""
        atoms = len(self.x)
        i, j = self.pairs
        total = np.zeros((atoms, atoms, 3, 3))
        total[i, j] = -blocks
        total[j, i] = -blocks
        own = np.arange(atoms)
        total[own, own] = -np.sum(total, axis=1)
        full = total.transpose(0, 2, 1, 3).reshape(self.x.size, self.x.size)
        return full if self.free.size == self.x.size else full[np.ix_(self.free, self.free)]
