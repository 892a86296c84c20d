"""The only thing an optimizer sees: a flat vector, bounds, and residuals or a scalar with derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.constraints import Condition
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import AbstractObjective, Evaluation
from fieldfit.parameters import Space
from fieldfit.precision import in_double_precision
from fieldfit.problem.derivatives import DerivativeOptions, derivative_modes, with_differences
from fieldfit.problem.interface import AbstractVectorProblem
from fieldfit.problem.vector_constraints import VectorConstraints
from fieldfit.typing import Matrix, Vector


class VectorProblem(AbstractVectorProblem):
    """An objective as a function of the flat, free, scaled vector x.

    Args:
        objective: What is to be made small.
        space: Which variables there are.
        derivatives: Which derivatives are asked for.
        executor: Where the points of finite differences are evaluated; None: here.
        state: State of the first evaluation; None: the objective's own.
        conditions: On the parameters, those that the space does not see to.

    Attributes:
        objective: The objective, with differences where it needs them.
        space: The map between x and the named parameters.
        x0: Start, shape (n,).
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).
        labels: One label per entry of x.
        has_residuals: Whether the objective is a sum of squares.
        has_derivatives: Whether all derivatives are exact; otherwise asking for them costs further evaluations.
        is_traceable: Whether JAX can trace the objective end to end.
        is_noisy: Whether two evaluations at one point may differ.
        constraints: What must hold besides bounds; None if nothing.

    Raises:
        SettingsError: Only exact derivatives are allowed and a term has none.
    """

    def __init__(
        self,
        objective: AbstractObjective,
        space: Space,
        *,
        derivatives: DerivativeOptions = DerivativeOptions(),
        executor: Executor | None = None,
        state: Any = None,
        conditions: Sequence[Condition] = (),
    ) -> None:
        self._given = objective
        if objective.traits.is_directional and space.is_affine:
            objective = objective.along(space.chain(np.eye(space.parameters.size), space.start))
        self.objective = with_differences(objective, space, derivatives, executor=executor)
        self.derivatives = derivatives
        self.space = space
        self.x0 = space.start
        self.lower = space.lower
        self.upper = space.upper
        self.labels = space.labels
        self.has_residuals = objective.traits.has_residuals
        self.has_derivatives = self.objective is objective
        self.is_traceable = self.objective.traits.is_traceable
        self.is_noisy = objective.traits.is_noisy
        self._state = state
        self._conditions = tuple(conditions)
        self.constraints = VectorConstraints(conditions, space, derivatives, executor=executor) if conditions else None

    def initial_state(self) -> Any:
        """Return the state of the first evaluation."""
        return self.objective.initial_state() if self._state is None else self._state

    def serial(self) -> VectorProblem:
        return VectorProblem(
            self._given, self.space, derivatives=self.derivatives, state=self._state, conditions=self._conditions
        )

    @property
    def derivative_modes(self) -> dict[str, str]:
        """Term name to the derivatives in use."""
        return derivative_modes(self.objective)

    def evaluate(self, x: Vector, state: Any, *, derivatives: bool = True) -> Evaluation:
        try:
            found = self.objective.evaluate(self.space.physical(x), state, derivatives=derivatives)
        except EvaluationError as error:
            return Evaluation(np.nan, state=state, failure=str(error))
        if not math.isfinite(found.cost):
            return replace(found, cost=np.nan, failure=found.failure or self._describe_not_finite(x, found))
        if derivatives and found.gradient is not None:
            jacobian = None if found.jacobian is None else self.space.chain(found.jacobian, x, found.columns)
            found = found.chained(jacobian, self.space.chain(found.gradient, x, found.columns))
        return found if self.constraints is None else self.constraints.added_to(found, x, derivatives=derivatives)

    def hessian(self, x: Vector, state: Any) -> Matrix:
        """Return the second derivatives of the cost, shape (n, n).

        Exact from JAX where it can trace the objective, otherwise differences of gradients.

        Raises:
            EvaluationError: A gradient it needs cannot be computed.
        """
        return self._traced_hessian(x) if self.is_traceable else self.differenced_hessian(x, state)

    def hessian_product(self, x: Vector, direction: Vector, state: Any) -> Vector:
        if self.is_traceable:
            return self._traced_product(x, direction)
        found = self.hessian_along(x, direction, state)
        # In a corner of the bounds there may be no room along a direction, but there is along every variable.
        return self.hessian(x, state) @ direction if found is None else found

    def values(self, x: Vector) -> Any:
        return self.space.parameters.tree(self.space.physical(x))

    def describe(self, x: Vector) -> str:
        pairs = zip(self.space.parameters.labels, self.space.physical(x), strict=True)
        return ", ".join(f"{label} = {value:g}" for label, value in pairs)

    def traced(self, x: Any) -> Any:
        """Return residuals or scalar of a traced x, inside a function that JAX compiles.

        Raises:
            SettingsError: The objective cannot be traced.
        """
        if not self.is_traceable:
            raise SettingsError(
                "The objective cannot be traced by JAX from end to end. Write every term in JAX, or use an optimizer "
                "that runs outside the graph, such as LeastSquaresOptimizer or ScipyOptimizer."
            )
        return self.objective.traced(self.space.traced_physical(x))

    def __getstate__(self) -> dict[str, Any]:
        compiled = ("_traced_hessian", "_traced_product")
        return {name: value for name, value in self.__dict__.items() if name not in compiled}

    @cached_property
    def _traced_hessian(self) -> Callable[[Vector], Matrix]:
        import jax

        return in_double_precision(jax.jit(jax.hessian(self.traced_cost)))

    @cached_property
    def _traced_product(self) -> Callable[[Vector, Vector], Vector]:
        import jax

        gradient = jax.grad(self.traced_cost)
        return in_double_precision(jax.jit(lambda x, direction: jax.jvp(gradient, (x,), (direction,))[1]))

    def _describe_not_finite(self, x: Vector, found: Evaluation) -> str:
        where = "the objective"
        if found.residuals is not None:
            bad = ~np.isfinite(found.residuals)
            where = ", ".join(name for name, part in self.objective.term_slices().items() if np.any(bad[part])) or where
        return f"{where} is not finite at {self.describe(x)}"
