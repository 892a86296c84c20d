"""Pure functions of arrays: how well a fit has converged and what it determines."""

from fieldfit.diagnostics.convergence import (
    damped_steps,
    free_variables,
    gauss_newton_step,
    predicted_reduction,
    projected_gradient,
    relative_length,
)
from fieldfit.diagnostics.covariance import covariance
from fieldfit.diagnostics.identifiability import Identifiability, identifiability
from fieldfit.diagnostics.multipliers import Limits, Multipliers, find_conflict, find_multipliers

__all__ = [
    "Identifiability",
    "Limits",
    "Multipliers",
    "covariance",
    "damped_steps",
    "find_conflict",
    "find_multipliers",
    "free_variables",
    "gauss_newton_step",
    "identifiability",
    "predicted_reduction",
    "projected_gradient",
    "relative_length",
]
