"""Where a relaxation ended, and how that point moves with the parameters of the model.

At a minimum on the allowed steps the gradient stays zero while parameters p change. With A the reduced Hessian (see
`newton_steps`), of the Lagrangian if coordinates are fixed, and including restraints,

    dx*/dp = -P A^-1 P d2E/dx dp     for the coordinates that are free, 0 for those of frozen atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int

from fieldfit.forcefield.relaxation.newton_steps import ReducedHessian
from fieldfit.forcefield.vibrations import displacement
from fieldfit.typing import Matrix, Vector

Reason: TypeAlias = Literal["minimum", "saddle", "flat", "not converged", "energy not finite"]
"""How a relaxation ended."""


@dataclass(frozen=True, eq=False)
class RelaxedGeometry:
    """Where a relaxation ended.

    Args:
        x: Coordinates [A], shape (atoms, 3).
        energy: Energy, restraints included [kcal/mol].
        gradient: Gradient, restraints included [kcal/mol/A], shape (3 atoms,).
        hessian: Hessian, restraints included [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        restraint_energy: What restraints contribute to the energy [kcal/mol].
        reason: "minimum"; "saddle" (stationary, but the energy falls in some direction); "flat" (stationary, but it
            does not rise in some direction, such as a torsion without a constant); "not converged"; "energy not finite"
            (already at the start).
        n_iterations: Number of steps that were tried; the model was evaluated once more than that.
        free: Cartesian coordinates that were free, by index, shape (n,).
        reduced: The Hessian on the allowed steps, of the Lagrangian if coordinates are fixed.
    """

    x: Matrix
    energy: float
    gradient: Vector
    hessian: Matrix
    restraint_energy: float
    reason: Reason
    n_iterations: int
    free: Int[np.ndarray, " n"]
    reduced: ReducedHessian

    def __repr__(self) -> str:
        return f"RelaxedGeometry({self.reason} at {self.energy:.6f} kcal/mol after {self.n_iterations} steps)"

    @property
    def is_converged(self) -> bool:
        """Whether the end is a minimum."""
        return self.reason == "minimum"

    @cached_property
    def lowest_curvature(self) -> float:
        """Lowest curvature on the allowed steps [kcal/mol/A^2]; NaN where the energy is not finite."""
        return self.reduced.lowest if self.reason != "energy not finite" else float("nan")

    def response(self, mixed: Matrix) -> Matrix:
        """Return how the end moves with the parameters of the model: dx*/dp.

        Args:
            mixed: Derivatives of the model's gradient with respect to the parameters, shape (3 atoms, parameters).

        Returns:
            Derivatives of the coordinates [A], shape (3 atoms, parameters).

        Raises:
            scipy.linalg.LinAlgError: The Hessian is singular on the allowed steps.
        """
        moved = np.zeros(mixed.shape)
        moved[self.free] = -self.reduced.solve(mixed[self.free])
        return moved

    def deviation(self, reference: Matrix) -> float:
        """Return how far the end is from another geometry: the root mean square displacement after alignment [A].

        Args:
            reference: Coordinates, such as those of the start [A], shape (atoms, 3).
        """
        return displacement(self.x, reference, np.ones(len(self.x)))
