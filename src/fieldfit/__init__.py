"""Fit the parameters of physical models to reference data with exact derivatives.

Names are loaded when they are first used: importing fieldfit does not import JAX.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fieldfit._version import __version__

if TYPE_CHECKING:
    from fieldfit.objectives import FunctionObjective, Goal, ObjectiveFunction, Prior, ScalarObjective
    from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
    from fieldfit.optimizers.scipy import ScipyOptimizer
    from fieldfit.parameters import Parameter, Parameters
    from fieldfit.problem import OptimizationResult, Problem, Step

_HOMES = {
    "FunctionObjective": "fieldfit.objectives",
    "Goal": "fieldfit.objectives",
    "LeastSquaresOptimizer": "fieldfit.optimizers.least_squares",
    "ObjectiveFunction": "fieldfit.objectives",
    "OptimizationResult": "fieldfit.problem",
    "Parameter": "fieldfit.parameters",
    "Parameters": "fieldfit.parameters",
    "Prior": "fieldfit.objectives",
    "Problem": "fieldfit.problem",
    "ScalarObjective": "fieldfit.objectives",
    "ScipyOptimizer": "fieldfit.optimizers.scipy",
    "Step": "fieldfit.problem",
}

__all__ = [
    "FunctionObjective",
    "Goal",
    "LeastSquaresOptimizer",
    "ObjectiveFunction",
    "OptimizationResult",
    "Parameter",
    "Parameters",
    "Prior",
    "Problem",
    "ScalarObjective",
    "ScipyOptimizer",
    "Step",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fieldfit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
