"""The Lagrangian along the directions that active constraints leave, as a problem without constraints."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fieldfit.diagnostics import Multipliers
from fieldfit.errors import EvaluationError
from fieldfit.objectives import Evaluation
from fieldfit.problem.subproblem import Subproblem
from fieldfit.problem.vector import VectorProblem
from fieldfit.typing import Matrix, Vector


class TangentProblem:
    """The Lagrangian along the directions that active constraints leave; what `judge` asks of a problem, it answers.

    Args:
        problem: With constraints.
        x: The point, shape (n,).
        best: Evaluation there, with derivatives.
        multipliers: There.

    Attributes:
        center: Coordinates of the point, shape (k,).
    """

    constraints = None

    def __init__(
        self, problem: VectorProblem | Subproblem, x: Vector, best: Evaluation, multipliers: Multipliers
    ) -> None:
        self.problem, self._x, self._best = problem, x, best
        self._basis: Matrix = multipliers.tangent
        self._multipliers = multipliers
        self.center: Vector = self._basis.T @ x
        self.x0: Vector = self._basis.T @ problem.x0
        size = self.center.size
        self.lower, self.upper = np.full(size, -math.inf), np.full(size, math.inf)
        self.is_noisy = problem.is_noisy
        own = True if problem.constraints is None else problem.constraints.has_derivatives
        self.has_derivatives = problem.has_derivatives and own

    def restricted(self, found: Evaluation) -> Evaluation:
        """Return an evaluation with derivatives of the Lagrangian along the directions."""
        if found.gradient is None or found.constraint_jacobian is None or found.constraints is None:
            return replace(found, gradient=None, jacobian=None)
        moved = found.constraints - (0.0 if self._best.constraints is None else self._best.constraints)
        gradient = found.gradient + found.constraint_jacobian.T @ self._multipliers.rows
        return Evaluation(
            found.cost + float(self._multipliers.rows @ moved),
            found.residuals,
            None if found.jacobian is None else found.jacobian @ self._basis,
            self._basis.T @ gradient,
            found.state,
            failure=found.failure,
        )

    def evaluate(self, t: Vector, state: object, *, derivatives: bool = True) -> Evaluation:
        """Evaluate the Lagrangian at coordinates t."""
        x = np.clip(self._point(t), self.problem.lower, self.problem.upper)
        found = self.problem.evaluate(x, state, derivatives=derivatives)
        if derivatives:
            return self.restricted(found)
        if found.constraints is None or self._best.constraints is None:
            return found
        shift = float(self._multipliers.rows @ (found.constraints - self._best.constraints))
        return Evaluation(found.cost + shift, state=found.state, failure=found.failure)

    def gradient(self, t: Vector, state: object) -> Vector:
        """Return the gradient of the Lagrangian at coordinates t, shape (k,).

        Raises:
            EvaluationError: It cannot be computed or is not finite.
        """
        found = self.evaluate(t, state)
        if found.gradient is None or not found.is_finite:
            raise EvaluationError(
                f"A second derivative needs the gradient at a neighbouring point: {found.failure or 'it is not finite'}"
            )
        return found.gradient

    def room(self, t: Vector, direction: Vector) -> float:
        """Return how far t may move along a direction before x meets a bound."""
        way = self._basis @ direction
        way = np.where(np.abs(way) > 1e-12 * float(np.max(np.abs(way))), way, 0.0)
        return self.problem.room(self._point(t), way)

    def hessian_step(self, t: Vector) -> float:
        """Return how far to move the coordinate that moves most to difference gradients."""
        return self.problem.hessian_step(self._point(t))

    def _point(self, t: Vector) -> Vector:
        return self._x + self._basis @ (t - self.center)
