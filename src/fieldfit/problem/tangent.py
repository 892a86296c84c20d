"""The Lagrangian along the directions that active constraints leave, as a problem without constraints."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.diagnostics import Multipliers
from fieldfit.objectives import Evaluation
from fieldfit.problem.interface import AbstractVectorProblem
from fieldfit.typing import Matrix, Vector

ROUNDING = 1e-12
"""Part of a direction that is rounding: it meets no bound."""


class TangentProblem(AbstractVectorProblem):
    """The Lagrangian f + lambda @ c along directions Z from a point: its variables are t in point + Z (t - center).

    Args:
        problem: With constraints.
        point: In its variables, shape (n,).
        best: Evaluation there, with derivatives.
        multipliers: There, with the directions.

    Attributes:
        problem: With constraints.
        point: In its variables, shape (n,).
        basis: Z, orthonormal, shape (n, k).
        center: t of the point, shape (k,).
        slope: Gradient there, shape (k,).
    """

    def __init__(
        self, problem: AbstractVectorProblem, point: Vector, best: Evaluation, multipliers: Multipliers
    ) -> None:
        self.problem, self.point, self._best = problem, point, best
        self.basis: Matrix = multipliers.tangent
        self._rows: Vector = multipliers.rows
        self.center: Vector = self.basis.T @ point
        self.x0: Vector = self.basis.T @ problem.x0
        size = self.center.size
        self.lower, self.upper = np.full(size, -math.inf), np.full(size, math.inf)
        self.labels = tuple(f"direction {index}" for index in range(size))
        self.constraints = None
        self.has_residuals, self.is_noisy, self.is_traceable = problem.has_residuals, problem.is_noisy, False
        own = True if problem.constraints is None else problem.constraints.has_derivatives
        self.has_derivatives = problem.has_derivatives and own

    @cached_property
    def slope(self) -> Vector:
        """Gradient of the Lagrangian at the point, shape (k,)."""
        found = self.restricted(self._best)
        return np.zeros(self.center.size) if found.gradient is None else found.gradient

    def restricted(self, found: Evaluation) -> Evaluation:
        """Return an evaluation of the problem as one of the Lagrangian, with derivatives along the directions."""
        before, after = self._best.constraints, found.constraints
        if before is None or after is None:
            return replace(found, gradient=None, jacobian=None)
        cost = found.cost + float(self._rows @ (after - before))
        if found.gradient is None or found.constraint_jacobian is None:
            return Evaluation(cost, found.residuals, state=found.state, failure=found.failure)
        gradient = self.basis.T @ (found.gradient + found.constraint_jacobian.T @ self._rows)
        jacobian = None if found.jacobian is None else found.jacobian @ self.basis
        return Evaluation(cost, found.residuals, jacobian, gradient, found.state, failure=found.failure)

    def initial_state(self) -> Any:
        return self._best.state

    def evaluate(self, x: Vector, state: Any, *, derivatives: bool = True) -> Evaluation:
        inside = np.clip(self._point(x), self.problem.lower, self.problem.upper)
        return self.restricted(self.problem.evaluate(inside, state, derivatives=derivatives))

    def values(self, x: Vector) -> Any:
        return self.problem.values(self._point(x))

    def describe(self, x: Vector) -> str:
        return self.problem.describe(self._point(x))

    def room(self, x: Vector, direction: Vector) -> float:
        way = self.basis @ direction
        way = np.where(np.abs(way) > ROUNDING * float(np.max(np.abs(way))), way, 0.0)
        return self.problem.room(self._point(x), way)

    def hessian_step(self, x: Vector) -> float:
        return self.problem.hessian_step(self._point(x))

    def _point(self, x: Vector) -> Vector:
        return self.point + self.basis @ (x - self.center)
