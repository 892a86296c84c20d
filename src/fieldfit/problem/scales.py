"""Scales from the curvature at the start.

A step of one scale in a single variable changes a quadratic objective equally for all variables: the scale of variable
i is proportional to 1 / sqrt(H_ii), with H_ii its second derivative, or ||J_i||^2 for a sum of squares. Their common
factor leaves the geometric mean of the scales as it was. A variable without curvature keeps its own scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fieldfit.errors import EvaluationError
from fieldfit.objectives import AbstractObjective
from fieldfit.parameters import Parameters
from fieldfit.problem.derivatives import DerivativeOptions
from fieldfit.problem.vector import VectorProblem

if TYPE_CHECKING:
    from fieldfit.typing import Vector

FLAT = 1e-12
"""Curvature below this fraction of the largest says nothing."""


def automatic_scales(objective: AbstractObjective, parameters: Parameters) -> Parameters:
    """Return parameters with scales from the curvature of an objective at their start.

    Args:
        objective: What is to be made small.
        parameters: Its parameters.

    Raises:
        EvaluationError: The objective cannot be evaluated at the start.
    """
    problem = VectorProblem(objective.for_parameters(parameters), parameters.space, derivatives=DerivativeOptions())
    curvature = np.abs(_curvature(problem))
    is_felt = curvature > FLAT * np.max(curvature, initial=0.0)
    factors = np.ones(curvature.size)
    if np.any(is_felt):
        found = 1.0 / np.sqrt(curvature[is_felt])
        factors[is_felt] = found / np.exp(np.mean(np.log(found)))
    changed = np.concatenate([entry.scale.ravel() for entry in parameters])
    changed[parameters.is_free] *= factors
    scales = parameters.split(changed)
    entries = [entry.replace(scale=scales[entry.name]) for entry in parameters]
    return Parameters(entries, parameters.ties, parameters.structure)


def _curvature(problem: VectorProblem) -> Vector:
    """Return the second derivative of the cost in each variable at the start, shape (n,)."""
    found = problem.evaluate(problem.x0, problem.initial_state())
    if not found.is_finite or found.gradient is None:
        raise EvaluationError(
            f"The objective cannot be evaluated at the start: {found.failure or 'its derivatives are not finite'}. "
            "Move the start, or correct the model."
        )
    if found.jacobian is not None:
        return np.einsum("ij,ij->j", found.jacobian, found.jacobian)
    return np.diag(problem.hessian(problem.x0, found.state)).copy()
