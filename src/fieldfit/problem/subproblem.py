"""A part of a problem: from another start, in some of its variables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fieldfit.objectives import Evaluation
from fieldfit.problem.interface import AbstractVectorProblem
from fieldfit.typing import Matrix, Vector


class Subproblem(AbstractVectorProblem):
    """A problem from another start, in all or some of its variables.

    Args:
        problem: The whole problem.
        x0: Start in all variables, inside the bounds, shape (n,).
        free: Indices of the variables that vary; None: all.
        state: State of the first evaluation; None: that of the problem.

    Attributes:
        problem: The whole problem.
        whole: Start in all variables, shape (n,).
        free: Indices of the variables that vary.
    """

    def __init__(
        self, problem: AbstractVectorProblem, x0: Vector, *, free: np.ndarray | None = None, state: Any = None
    ) -> None:
        self.problem, self.whole, self._state = problem, x0, state
        self.free = np.arange(x0.size) if free is None else np.asarray(free, dtype=int)
        self._given, self._is_whole = free, free is None
        self.x0 = x0[self.free]
        self.lower, self.upper = problem.lower[self.free], problem.upper[self.free]
        self.labels = tuple(problem.labels[index] for index in self.free)
        self.has_residuals, self.has_derivatives = problem.has_residuals, problem.has_derivatives
        self.is_traceable, self.is_noisy = problem.is_traceable, problem.is_noisy
        self.constraints = problem.constraints

    def serial(self) -> Subproblem:
        return Subproblem(self.problem.serial(), self.whole, free=self._given, state=self._state)

    def embed(self, x: Vector) -> Vector:
        """Return the point in all variables."""
        if self._is_whole:
            return x
        whole = self.whole.copy()
        whole[self.free] = x
        return whole

    def initial_state(self) -> Any:
        """Return the state of the first evaluation."""
        return self.problem.initial_state() if self._state is None else self._state

    def evaluate(self, x: Vector, state: Any, *, derivatives: bool = True) -> Evaluation:
        """Evaluate; see `VectorProblem.evaluate`."""
        return self.restrict(self.problem.evaluate(self.embed(x), state, derivatives=derivatives))

    def restrict(self, found: Evaluation) -> Evaluation:
        """Return an evaluation with derivatives in the free variables only."""
        if self._is_whole or found.gradient is None:
            return found
        jacobian = None if found.jacobian is None else found.jacobian[:, self.free]
        rows = None if found.constraint_jacobian is None else found.constraint_jacobian[:, self.free]
        return replace(found, jacobian=jacobian, gradient=found.gradient[self.free], constraint_jacobian=rows)

    def hessian(self, x: Vector, state: Any) -> Matrix:
        """Return the second derivatives of the cost in the free variables."""
        return self.problem.hessian(self.embed(x), state)[np.ix_(self.free, self.free)]

    def hessian_product(self, x: Vector, direction: Vector, state: Any) -> Vector:
        """Return the Hessian of the cost in the free variables times a direction."""
        whole = np.zeros_like(self.whole)
        whole[self.free] = direction
        return self.problem.hessian_product(self.embed(x), whole, state)[self.free]

    def constraint_hessian(self, x: Vector, multipliers: Vector) -> Matrix:
        """Return the second derivatives of the weighted constraints in the free variables."""
        return self.problem.constraint_hessian(self.embed(x), multipliers)[np.ix_(self.free, self.free)]

    def values(self, x: Vector) -> Any:
        return self.problem.values(self.embed(x))

    def describe(self, x: Vector) -> str:
        return self.problem.describe(self.embed(x))

    def traced(self, x: Any) -> Any:
        """Return residuals or scalar of a traced x."""
        return self.problem.traced(self._traced_embed(x))

    def _traced_embed(self, x: Any) -> Any:
        import jax.numpy as jnp

        return x if self._is_whole else jnp.asarray(self.whole).at[self.free].set(x)
