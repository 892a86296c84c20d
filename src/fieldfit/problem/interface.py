"""What an optimizer may ask of a problem: the contract of everything that stands for one.

The problem itself, a part of it, its augmented Lagrangian, its Lagrangian along some directions: all have a flat
vector, bounds, and an evaluation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.typing import Matrix, Vector

if TYPE_CHECKING:
    from fieldfit.problem.vector_constraints import VectorConstraints

HESSIAN_STEP = 1e-6
"""Relative step of differences of exact gradients, in scaled variables."""

COARSE_HESSIAN_STEP = 1e-3
"""The same where the gradients are differences themselves, with an error of about 1e-8 of the function."""


class AbstractVectorProblem(ABC):
    """A cost of a flat vector with bounds and constraints.

    Attributes:
        x0: Start, shape (n,).
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).
        labels: One label per variable.
        constraints: What must hold besides bounds; None if nothing.
        has_residuals: Whether the cost is half a sum of squares.
        has_derivatives: Whether all derivatives are exact; otherwise asking for them costs further evaluations.
        is_traceable: Whether JAX can trace it end to end.
        is_noisy: Whether two evaluations at one point may differ.
    """

    x0: Vector
    lower: Vector
    upper: Vector
    labels: tuple[str, ...]
    constraints: VectorConstraints | None
    has_residuals: bool
    has_derivatives: bool
    is_traceable: bool
    is_noisy: bool

    @abstractmethod
    def initial_state(self) -> Any:
        """Return the state of the first evaluation."""

    @abstractmethod
    def evaluate(self, x: Vector, state: Any, *, derivatives: bool = True) -> Evaluation:
        """Evaluate at x; derivatives are with respect to x.

        Args:
            x: Point inside the bounds, shape (n,).
            state: From `initial_state` or the last accepted evaluation.
            derivatives: Whether Jacobian and gradient are wanted.

        Returns:
            The evaluation. One that could not be made has a NaN cost and says why in `failure`.
        """

    @abstractmethod
    def values(self, x: Vector) -> Any:
        """Return the parameters at x in physical units, in the structure in which they were given."""

    @abstractmethod
    def describe(self, x: Vector) -> str:
        """Write the parameters at x, element by element, for messages."""

    def hessian(self, x: Vector, state: Any) -> Matrix:
        """Return the second derivatives of the cost, shape (n, n).

        Raises:
            EvaluationError: A gradient it needs cannot be computed.
        """
        return self.differenced_hessian(x, state)

    def differenced_hessian(self, x: Vector, state: Any) -> Matrix:
        """Return the second derivatives of the cost by differences of gradients inside the bounds, shape (n, n).

        Raises:
            EvaluationError: A gradient it needs cannot be computed.
        """
        columns = [self.hessian_along(x, direction, state) for direction in np.eye(x.size)]
        found = np.stack([np.zeros_like(x) if column is None else column for column in columns])
        return 0.5 * (found + found.T)

    def hessian_product(self, x: Vector, direction: Vector, state: Any) -> Vector:
        """Return the Hessian of the cost times a direction, shape (n,); see `hessian`."""
        return self.hessian(x, state) @ direction

    def hessian_along(self, x: Vector, direction: Vector, state: Any) -> Vector | None:
        """Return the change of the gradient along a direction, shape (n,); None if the bounds leave no room.

        Raises:
            EvaluationError: A gradient it needs cannot be computed.
        """
        length = float(np.max(np.abs(direction)))
        if length == 0.0:
            return np.zeros_like(x)
        step = self.hessian_step(x) / length
        ends = [sign * min(step, self.room(x, sign * direction)) for sign in (1.0, -1.0)]
        taken = ends[0] - ends[1]
        if taken < 1e-3 * step:
            return None
        ahead, behind = (self.gradient(np.clip(x + end * direction, self.lower, self.upper), state) for end in ends)
        return (ahead - behind) / taken

    def constraint_hessian(self, x: Vector, multipliers: Vector) -> Matrix:
        """Return the second derivatives of multipliers @ c(x), shape (n, n); zero without constraints.

        Raises:
            EvaluationError: A Jacobian it needs cannot be computed.
        """
        return np.zeros((x.size, x.size)) if self.constraints is None else self.constraints.hessian(x, multipliers)

    def traced(self, x: Any) -> Any:
        """Return residuals or scalar of a traced x, inside a function that JAX compiles.

        Raises:
            SettingsError: It cannot be traced.
        """
        raise SettingsError(
            f"{type(self).__name__} cannot be traced by JAX: its evaluations are made one by one. Use an optimizer "
            "that runs outside the graph, such as LeastSquaresOptimizer or ScipyOptimizer."
        )

    def traced_cost(self, x: Any) -> Any:
        """Return half the sum of squares, or the scalar, of a traced x."""
        found = self.traced(x)
        return 0.5 * (found @ found) if self.has_residuals else found

    def serial(self) -> AbstractVectorProblem:
        """Return the same problem without an executor, for a worker: one that waits for its own pool waits forever."""
        return self

    def gradient(self, x: Vector, state: Any) -> Vector:
        """Return the gradient of the cost, shape (n,).

        Raises:
            EvaluationError: It cannot be computed or is not finite.
        """
        found = self.evaluate(x, state)
        if found.gradient is None or not found.is_finite:
            raise EvaluationError(
                f"A second derivative needs the gradient at a neighbouring point: {found.failure or 'it is not finite'}"
            )
        return found.gradient

    def room(self, x: Vector, direction: Vector) -> float:
        """Return how far x may move along a direction before it meets a bound."""
        moves = direction != 0.0
        limits = np.where(direction > 0.0, self.upper, self.lower)[moves]
        return float(np.min((limits - x[moves]) / direction[moves]))

    def hessian_step(self, x: Vector) -> float:
        """Return how far to move the variable that moves most to difference gradients."""
        return (HESSIAN_STEP if self.has_derivatives else COARSE_HESSIAN_STEP) * max(1.0, float(np.max(np.abs(x))))
