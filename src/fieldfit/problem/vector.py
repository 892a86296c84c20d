"""The only thing an optimizer sees: a flat vector, bounds, and residuals or a scalar with derivatives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError
from fieldfit.objectives import AbstractObjective, Evaluation
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import ParameterSpace
from fieldfit.problem.derivatives import difference_derivatives
from fieldfit.typing import Vector


class VectorProblem:
    """An objective as a function of the flat, free, scaled vector x.

    Attributes:
        space: The map between x and the named parameters.
        x0: Start, shape (n,).
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).
        labels: One label per entry of x.
        has_residuals: Whether the objective is a sum of squares.
        has_derivatives: Whether derivatives are its own; otherwise asking for them costs n more evaluations.
    """

    def __init__(self, objective: AbstractObjective, space: ParameterSpace) -> None:
        self._objective = objective
        self.space = space
        self.x0 = space.start
        self.lower = space.lower
        self.upper = space.upper
        self.labels = space.labels
        self.has_residuals = objective.traits.has_residuals
        self.has_derivatives = objective.traits.has_derivatives

    def initial_state(self) -> Any:
        """Return the state of the first evaluation."""
        return self._objective.initial_state()

    def evaluate(self, x: Vector, state: Any, *, derivatives: bool = True) -> Evaluation:
        """Evaluate at x; derivatives are with respect to x, by differences where the objective has none.

        Args:
            x: Point inside the bounds, shape (n,).
            state: From `initial_state` or the last accepted evaluation.
            derivatives: Whether Jacobian and gradient are wanted.

        Returns:
            The evaluation. One that could not be made has a NaN cost and says why in `failure`.
        """
        try:
            return self._evaluate(x, state, derivatives=derivatives)
        except EvaluationError as error:
            return Evaluation(np.nan, state=state, failure=str(error))

    def _evaluate(self, x: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        found = self._objective.evaluate(self.space.physical(x), state, derivatives=derivatives)
        if not np.isfinite(found.cost):
            return replace(found, cost=np.nan, failure=found.failure or self._describe_not_finite(x, found))
        if not derivatives:
            return found
        if found.gradient is None:
            return self._with_differences(x, state, found)
        jacobian = None if found.jacobian is None else self.space.chain(found.jacobian)
        return replace(found, jacobian=jacobian, gradient=self.space.chain(found.gradient))

    def _with_differences(self, x: Vector, state: Any, found: Evaluation) -> Evaluation:
        def outputs(moved: Vector) -> Vector:
            there = self._objective.evaluate(self.space.physical(moved), state, derivatives=False)
            return np.atleast_1d(there.cost if there.residuals is None else there.residuals)

        here = np.atleast_1d(found.cost if found.residuals is None else found.residuals)
        rows = difference_derivatives(outputs, x, here, lower=self.lower, upper=self.upper)
        if found.residuals is None:
            return replace(found, gradient=rows[0])
        rest = {"state": found.state, "is_stale": found.is_stale, "note": found.note}
        return evaluation_from_residuals(found.residuals, rows, **rest)

    def _describe_not_finite(self, x: Vector, found: Evaluation) -> str:
        values = ", ".join(
            f"{label} = {value:g}"
            for label, value in zip(self.space.parameters.labels, self.space.physical(x), strict=True)
        )
        where = "the objective"
        if found.residuals is not None:
            bad = ~np.isfinite(found.residuals)
            where = (
                ", ".join(name for name, part in self._objective.term_slices().items() if np.any(bad[part])) or where
            )
        return f"{where} is not finite at {values}"
