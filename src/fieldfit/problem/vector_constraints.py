"""Conditions on the parameters as an optimizer sees them: rows of values and derivatives of the flat vector x."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.constraints import Condition
from fieldfit.errors import EvaluationError
from fieldfit.objectives import AbstractObjective, Evaluation
from fieldfit.parameters import Space
from fieldfit.precision import in_double_precision
from fieldfit.problem.derivatives import DerivativeOptions, with_differences
from fieldfit.typing import Matrix, Vector

STEP = float(np.finfo(float).eps) ** (1 / 3)
"""Relative step of differences of exact Jacobians, in scaled variables."""

COARSE_STEP = 1e-3
"""The same where the Jacobians are differences themselves."""


class VectorConstraints:
    """Rows c(x) that must lie between lower and upper values.

    Args:
        conditions: On the parameters.
        space: The map between x and the named parameters.
        derivatives: Which derivatives are asked for.
        executor: Where the points of finite differences are evaluated; None: here.

    Attributes:
        conditions: On the parameters.
        labels: One label per row.
        lower: Smallest values, minus infinity for none, shape (m,).
        upper: Largest values, shape (m,).
        is_equality: Whether both are one value, shape (m,).
        is_linear: Whether the row is linear in x, shape (m,).
        tolerance: Violation that counts as none, shape (m,).

    Raises:
        SettingsError: Only exact derivatives are allowed and a condition has none.
    """

    def __init__(
        self,
        conditions: Sequence[Condition],
        space: Space,
        derivatives: DerivativeOptions,
        *,
        executor: Executor | None = None,
    ) -> None:
        self.conditions, self.space = tuple(conditions), space
        self.labels = tuple(label for condition in conditions for label in condition.labels)
        self.lower: Vector = np.concatenate([condition.lower for condition in conditions])
        self.upper: Vector = np.concatenate([condition.upper for condition in conditions])
        self.tolerance: Vector = np.concatenate([condition.tolerances for condition in conditions])
        self.is_equality = self.lower == self.upper
        is_linear = [condition.matrix is not None and space.is_affine for condition in conditions]
        sizes = [condition.lower.size for condition in conditions]
        self.is_linear = np.repeat(is_linear, sizes)
        self._parts = [_part(condition, space, derivatives, executor=executor) for condition in self.conditions]
        made = [part for part in self._parts if isinstance(part, _NonlinearRows)]
        self.has_derivatives = all(part.is_exact for part in made)
        self.is_traceable = all(part.objective.traits.is_traceable for part in made)

    def added_to(self, found: Evaluation, x: Vector, *, derivatives: bool) -> Evaluation:
        """Return an evaluation of the objective with values, derivatives and violation of the constraints.

        Args:
            found: Of the objective at x.
            x: Point, shape (n,).
            derivatives: Whether their Jacobian is wanted.
        """
        try:
            values, jacobian, n_differences = self.evaluate(x, derivatives=derivatives)
        except EvaluationError as error:
            return replace(found, cost=np.nan, failure=str(error), violation=math.inf)
        if not np.isfinite(values).all():
            bad = ", ".join(label for label, value in zip(self.labels, values, strict=True) if not np.isfinite(value))
            return replace(found, cost=np.nan, failure=f"constraint {bad} is not finite", violation=math.inf)
        return found.constrained(values, jacobian, violation=self.excess(values), n_differences=n_differences)

    def evaluate(self, x: Vector, *, derivatives: bool) -> tuple[Vector, Matrix | None, int]:
        """Return values (m,), Jacobian (m, n) and further evaluations made for differences.

        Raises:
            EvaluationError: A function cannot be evaluated.
        """
        physical = self.space.physical(x)
        values, blocks, n_differences = [], [], 0
        for part in self._parts:
            found, jacobian, n_made = part.evaluate(physical, x, derivatives=derivatives)
            values.append(found)
            n_differences += n_made
            if jacobian is not None:
                blocks.append(jacobian)
        return _stacked(values), _stacked(blocks) if derivatives else None, n_differences

    def linear_rows(self) -> tuple[Matrix, Vector]:
        """Return the rows that are linear in x: their matrix (k, n) and their values at x = 0, shape (k,)."""
        origin = self.space.physical(np.zeros(self.space.size))
        linear = [part for part in self._parts if isinstance(part, _LinearRows) and self.space.is_affine]
        matrices = [np.zeros((0, self.space.size)), *(part.chained(self.space.start) for part in linear)]
        return np.concatenate(matrices), np.concatenate([np.zeros(0), *(part.matrix @ origin for part in linear)])

    def violation(self, values: Vector) -> Vector:
        """Return how far each row is outside its limits, in its own unit, shape (m,)."""
        return np.maximum(0.0, np.maximum(self.lower - values, values - self.upper))

    def excess(self, values: Vector) -> float:
        """Return the largest violation in units of the tolerances; 0 where all hold."""
        return float((self.violation(values) / self.tolerance).max(initial=0.0))

    def describe(self, row: int, value: float) -> str:
        """Say in the user's words what a row should be and what it is."""
        for condition in self.conditions:
            if row < condition.lower.size:
                return condition.describe(row, value)
            row -= condition.lower.size
        return ""

    def hessian(self, x: Vector, multipliers: Vector) -> Matrix:
        """Return the second derivatives of multipliers @ c(x), shape (n, n).

        Exact from JAX where it can trace all conditions, otherwise differences of Jacobians.

        Raises:
            EvaluationError: A Jacobian it needs cannot be computed.
        """
        if np.all(self.is_linear | (multipliers == 0.0)):
            return np.zeros((x.size, x.size))
        if self.is_traceable:
            return self._traced_hessian(x, multipliers)
        relative = STEP if self.has_derivatives else COARSE_STEP
        columns = []
        for variable in range(x.size):
            step = np.zeros(x.size)
            step[variable] = relative * max(1.0, abs(x[variable]))
            ends = [self.space.clip(x + step), self.space.clip(x - step)]
            taken = ends[0][variable] - ends[1][variable]
            if taken == 0.0:
                columns.append(np.zeros(x.size))
                continue
            ahead, behind = (self._weighted_gradient(end, multipliers) for end in ends)
            columns.append((ahead - behind) / taken)
        found = np.stack(columns)
        return 0.5 * (found + found.T)

    def traced(self, x: Any) -> Any:
        """Return the values of a traced x, inside a function that JAX compiles, shape (m,)."""
        import jax.numpy as jnp

        physical = self.space.traced_physical(x)
        return jnp.concatenate([part.traced(physical) for part in self._parts])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_traced_hessian"}

    @cached_property
    def _traced_hessian(self) -> Callable[[Vector, Vector], Matrix]:
        import jax

        return in_double_precision(jax.jit(jax.hessian(lambda x, multipliers: multipliers @ self.traced(x))))

    def _weighted_gradient(self, x: Vector, multipliers: Vector) -> Vector:
        _, jacobian, _ = self.evaluate(x, derivatives=True)
        return multipliers @ jacobian


@dataclass(frozen=True, eq=False)
class _LinearRows:
    """Rows that are a matrix times the elements of the parameters, shape (m, elements)."""

    matrix: Matrix
    space: Space

    def evaluate(self, physical: Vector, x: Vector, *, derivatives: bool) -> tuple[Vector, Matrix | None, int]:
        """Return values, Jacobian with respect to x, and evaluations made for differences."""
        return self.matrix @ physical, self.chained(x) if derivatives else None, 0

    def chained(self, x: Vector) -> Matrix:
        """Return the derivatives with respect to x."""
        return self._constant if self.space.is_affine else self.space.chain(self.matrix, x)

    def traced(self, physical: Any) -> Any:
        """Return the values for traced elements."""
        return self.matrix @ physical

    @cached_property
    def _constant(self) -> Matrix:
        return self.space.chain(self.matrix, self.space.start)


@dataclass(frozen=True, eq=False)
class _NonlinearRows:
    """Rows that are the residuals of an objective, with differences where it needs them."""

    name: str
    objective: AbstractObjective
    space: Space
    is_exact: bool

    def evaluate(self, physical: Vector, x: Vector, *, derivatives: bool) -> tuple[Vector, Matrix | None, int]:
        """Return values, Jacobian with respect to x, and evaluations made for differences.

        Raises:
            EvaluationError: The objective cannot be evaluated.
        """
        found = self.objective.evaluate(self._own(physical), self.objective.initial_state(), derivatives=derivatives)
        if found.residuals is None or found.failure:
            raise EvaluationError(f"constraint {self.name!r}: {found.failure or 'it has no residuals'}")
        jacobian = self.space.chain(self._spread(found), x) if derivatives else None
        return found.residuals, jacobian, found.n_differences

    def traced(self, physical: Any) -> Any:
        """Return the values for traced elements."""
        return self.objective.traced(self._own(physical))

    def _own(self, physical: Any) -> Any:
        """Return the elements that the objective is a function of."""
        return physical if self._columns is None else physical[self._columns]

    def _spread(self, found: Evaluation) -> Matrix:
        """Return the Jacobian with respect to all elements of the parameters."""
        jacobian, columns = found.jacobian, self._columns
        if jacobian is None:
            raise EvaluationError(f"constraint {self.name!r} gave no derivatives")
        if found.columns is not None:
            columns = found.columns if columns is None else columns[found.columns]
        if columns is None:
            return jacobian
        spread = np.zeros((jacobian.shape[0], self.space.parameters.size))
        spread[:, columns] = jacobian
        return spread

    @cached_property
    def _columns(self) -> np.ndarray | None:
        """Where the parameters of the objective are among all, or None if they are the same."""
        own = self.objective.parameters
        if own.names == self.space.parameters.names:
            return None
        places = self.space.parameters.split(np.arange(self.space.parameters.size))
        return np.concatenate([np.ravel(places[name]) for name in own.names])


def _stacked(blocks: list[np.ndarray]) -> np.ndarray:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _part(
    condition: Condition, space: Space, derivatives: DerivativeOptions, *, executor: Executor | None
) -> _LinearRows | _NonlinearRows:
    if condition.objective is None:
        matrix = np.zeros((0, space.parameters.size)) if condition.matrix is None else condition.matrix
        return _LinearRows(matrix, space)
    # A condition asks for the derivatives of all its elements, whichever vary in the problem it belongs to.
    made = with_differences(condition.objective, space, derivatives, executor=executor, name=condition.name)
    return _NonlinearRows(condition.name, made, space, made is condition.objective)
