"""An objective in which every observation counts a given number of times.

An observation that counts w times adds w r^2 to the score: residual and Jacobian row are multiplied by sqrt(w). With
whole numbers this is the data set in which it occurs w times, without a residual more, so that the state of the
objective, its terms and their places stay what they are.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameters
from fieldfit.typing import Vector


class ReweightedObjective(AbstractObjective):
    """Another objective with weights on its residuals.

    Args:
        objective: A sum of squares.
        weights: How often each residual counts, at least 0, shape (residuals,).

    Raises:
        SettingsError: The objective is a scalar, or the weights are too many, too few, negative or not finite.
    """

    def __init__(self, objective: AbstractObjective, weights: Vector) -> None:
        n_residuals = count_residuals(objective)
        if weights.shape != (n_residuals,):
            raise SettingsError(
                f"{weights.size} weights are given for {n_residuals} residuals. Give one for each, in their order."
            )
        if not np.all(np.isfinite(weights)) or np.any(weights < 0.0):
            raise SettingsError(
                f"A residual has the weight {np.min(weights)}. Weights say how often an observation counts: give "
                "finite numbers that are at least 0."
            )
        self._objective = objective
        self._factors = np.sqrt(weights)

    @property
    def parameters(self) -> Parameters:
        return self._objective.parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return self._objective.traits

    def for_parameters(self, parameters: Parameters) -> ReweightedObjective:
        made = copy.copy(self)
        made._objective = self._objective.for_parameters(parameters)
        return made

    def initial_state(self) -> Any:
        return self._objective.initial_state()

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        found = self._objective.evaluate(values, state, derivatives=derivatives)
        if found.residuals is None:
            return found
        jacobian = None if found.jacobian is None else self._factors[:, None] * found.jacobian
        return evaluation_from_residuals(
            self._factors * found.residuals,
            jacobian,
            state=found.state,
            is_stale=found.is_stale,
            note=found.note,
            failure=found.failure,
            n_differences=found.n_differences,
            columns=found.columns,
        )

    def term_slices(self) -> Mapping[str, slice]:
        return self._objective.term_slices()

    def traced(self, values: Any) -> Any:
        return self._factors * self._objective.traced(values)


def count_residuals(objective: AbstractObjective) -> int:
    """Return the number of residuals of an objective, from the places of its terms.

    Raises:
        SettingsError: The objective is a scalar.
    """
    slices = objective.term_slices()
    if not objective.traits.has_residuals or not slices:
        raise SettingsError(
            f"{type(objective).__name__} has no residuals, so there are no observations to weigh or leave out. Give "
            "an objective that is a sum of squares."
        )
    return max(part.stop for part in slices.values())
