"""Parameters and objective, checked against each other."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from fieldfit.errors import ParameterError
from fieldfit.objectives import AbstractObjective
from fieldfit.parameters import Parameters
from fieldfit.problem.derivatives import DerivativeOptions
from fieldfit.problem.vector import VectorProblem


class Problem:
    """What is to be fitted.

    Args:
        objective: What is to be made small.
        parameters: Its parameters with starts, bounds, fixed marks and ties; default: the objective's own.
        state: State of the first evaluation (relaxed geometries and the like), from an earlier result; default: the
            objective's own.

    Raises:
        ParameterError: The names or shapes are not those of the objective, or nothing is free.
    """

    def __init__(
        self, objective: AbstractObjective, parameters: Parameters | None = None, *, state: Any = None
    ) -> None:
        self.objective = objective
        self.state = state
        self.parameters = objective.parameters if parameters is None else parameters
        given = [(entry.name, entry.shape) for entry in self.parameters]
        wanted = [(entry.name, entry.shape) for entry in objective.parameters]
        if given != wanted:
            differing = sorted({name for name, _ in set(given) ^ set(wanted)})
            raise ParameterError(
                f"The parameters are not those of the objective: {', '.join(differing) or 'the order'} differ. "
                "Start from `objective.parameters` and change values, bounds or fixed marks."
            )

    def vector(
        self, *, derivatives: DerivativeOptions = DerivativeOptions(), executor: Executor | None = None
    ) -> VectorProblem:
        """Return the problem as an optimizer sees it.

        Args:
            derivatives: Which derivatives it asks for.
            executor: Where the points of finite differences are evaluated; None: here.

        Raises:
            SettingsError: Only exact derivatives are allowed and a term has none.
        """
        space = self.parameters.space
        prepared = self.objective.for_parameters(self.parameters)
        return VectorProblem(prepared, space, derivatives=derivatives, executor=executor, state=self.state)

    def __repr__(self) -> str:
        kind = "least squares" if self.objective.traits.has_residuals else "scalar"
        return f"Problem({kind}, {self.parameters.n_free} free of {self.parameters.size} parameters)"
