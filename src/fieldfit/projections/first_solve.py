"""The first inner solve by an optimizer that is handed in, where the start is far from a solution."""

from __future__ import annotations

from typing import Any

import numpy as np

from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameter, Parameters
from fieldfit.problem import AbstractOptimizer
from fieldfit.projections.inner_problem import InnerProblem
from fieldfit.projections.inner_solve import InnerSolution
from fieldfit.typing import Vector


class InnerObjective(AbstractObjective):
    """The residuals of an inner problem at given outer elements, as an objective of the inner variables.

    Args:
        problem: The inner problem.
        y: Outer elements, shape (ny,).
        start: Inner variables to start from, and the state of the equality.
    """

    def __init__(self, problem: InnerProblem, y: Vector, start: InnerSolution) -> None:
        self._problem, self._y, self._start = problem, y, start
        self._parameters = Parameters([Parameter("inner variables", start.variables, scale=1.0)])

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return ObjectiveTraits(has_residuals=True, has_derivatives=True)

    def initial_state(self) -> Any:
        return self._start.state

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        found = self._problem.derivatives(values, self._y, state)
        return evaluation_from_residuals(found.residuals, found.inner if derivatives else None, state=found.state)

    def term_slices(self) -> dict[str, slice]:
        size = self._problem.residuals(self._start.variables, self._y, self._start.state).size
        return {self._problem.name: slice(0, size)}


def first_start(problem: InnerProblem, y: Vector, start: InnerSolution, solver: AbstractOptimizer) -> InnerSolution:
    """Return where an optimizer leads to, as the start of an inner solve.

    Args:
        problem: The inner problem.
        y: Outer elements, shape (ny,).
        start: What nothing was solved from yet.
        solver: For least squares.

    Raises:
        EvaluationError: The equality cannot be evaluated at its start.
    """
    result = solver.optimize(InnerObjective(problem, y, start))
    return InnerSolution(np.asarray(result.final_params), y, result.state)
