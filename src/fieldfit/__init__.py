"""Fit the parameters of physical models to reference data with exact derivatives.

Names are loaded when they are first used: importing fieldfit does not import JAX.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fieldfit._version import __version__

if TYPE_CHECKING:
    from fieldfit.objectives import FunctionObjective, Goal, ObjectiveFunction, Prior, ScalarObjective
    from fieldfit.optimizers.choice import fit
    from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
    from fieldfit.optimizers.multistart import MultiStartOptimizer
    from fieldfit.optimizers.scipy import ScipyOptimizer
    from fieldfit.parameters import Parameter, Parameters
    from fieldfit.problem import Budget, OptimizationResult, Problem, Step

_HOMES = {
    "Budget": "fieldfit.problem",
    "FunctionObjective": "fieldfit.objectives",
    "Goal": "fieldfit.objectives",
    "LeastSquaresOptimizer": "fieldfit.optimizers.least_squares",
    "MultiStartOptimizer": "fieldfit.optimizers.multistart",
    "ObjectiveFunction": "fieldfit.objectives",
    "OptimizationResult": "fieldfit.problem",
    "Parameter": "fieldfit.parameters",
    "Parameters": "fieldfit.parameters",
    "Prior": "fieldfit.objectives",
    "Problem": "fieldfit.problem",
    "ScalarObjective": "fieldfit.objectives",
    "ScipyOptimizer": "fieldfit.optimizers.scipy",
    "Step": "fieldfit.problem",
    "fit": "fieldfit.optimizers.choice",
}

__all__ = [
    "Budget",
    "FunctionObjective",
    "Goal",
    "LeastSquaresOptimizer",
    "MultiStartOptimizer",
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
    "fit",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fieldfit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
