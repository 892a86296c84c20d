"""Fit the parameters of physical models to reference data with exact derivatives.

Names are loaded when they are first used: importing fieldfit does not import JAX.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fieldfit._version import __version__

if TYPE_CHECKING:
    from fieldfit.compilation import use_compilation_cache
    from fieldfit.constraints import (
        Equal,
        Fixed,
        LinearEquality,
        LinearInequality,
        NonlinearEquality,
        NonlinearInequality,
        SumTo,
    )
    from fieldfit.objectives import FunctionObjective, Goal, ObjectiveFunction, Prior, ScalarObjective
    from fieldfit.optimize import Optimizer, register_optimizer
    from fieldfit.optimizers.augmented_lagrangian import AugmentedLagrangianOptimizer
    from fieldfit.optimizers.basin_hopping import BasinHoppingOptimizer
    from fieldfit.optimizers.choice import fit
    from fieldfit.optimizers.cycling import CyclingOptimizer
    from fieldfit.optimizers.derivative_free import DerivativeFreeOptimizer
    from fieldfit.optimizers.fallback import FallbackOptimizer
    from fieldfit.optimizers.first_order import OptaxOptimizer
    from fieldfit.optimizers.in_graph import JaxOptimizer
    from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
    from fieldfit.optimizers.multistart import MultiStartOptimizer
    from fieldfit.optimizers.names import make_optimizer
    from fieldfit.optimizers.scalar_trust_region import TrustRegionOptimizer
    from fieldfit.optimizers.scipy import ScipyOptimizer
    from fieldfit.parameters import Parameter, Parameters
    from fieldfit.problem import (
        Budget,
        Checkpoint,
        ConstraintOutcome,
        OptimizationResult,
        Problem,
        Step,
        read_checkpoint,
        register_state,
    )
    from fieldfit.problem.gradient_check import check_gradient
    from fieldfit.problem.sensitivity import compute_exact_sensitivity, compute_sensitivity
    from fieldfit.projections import ProximalObjective
    from fieldfit.things import Term

_HOMES = {
    "AugmentedLagrangianOptimizer": "fieldfit.optimizers.augmented_lagrangian",
    "BasinHoppingOptimizer": "fieldfit.optimizers.basin_hopping",
    "Budget": "fieldfit.problem",
    "Checkpoint": "fieldfit.problem",
    "ConstraintOutcome": "fieldfit.problem",
    "CyclingOptimizer": "fieldfit.optimizers.cycling",
    "DerivativeFreeOptimizer": "fieldfit.optimizers.derivative_free",
    "Equal": "fieldfit.constraints",
    "FallbackOptimizer": "fieldfit.optimizers.fallback",
    "Fixed": "fieldfit.constraints",
    "FunctionObjective": "fieldfit.objectives",
    "Goal": "fieldfit.objectives",
    "JaxOptimizer": "fieldfit.optimizers.in_graph",
    "LeastSquaresOptimizer": "fieldfit.optimizers.least_squares",
    "LinearEquality": "fieldfit.constraints",
    "LinearInequality": "fieldfit.constraints",
    "MultiStartOptimizer": "fieldfit.optimizers.multistart",
    "NonlinearEquality": "fieldfit.constraints",
    "NonlinearInequality": "fieldfit.constraints",
    "ObjectiveFunction": "fieldfit.objectives",
    "OptaxOptimizer": "fieldfit.optimizers.first_order",
    "OptimizationResult": "fieldfit.problem",
    "Optimizer": "fieldfit.optimize",
    "Parameter": "fieldfit.parameters",
    "Parameters": "fieldfit.parameters",
    "Prior": "fieldfit.objectives",
    "Problem": "fieldfit.problem",
    "ProximalObjective": "fieldfit.projections",
    "ScalarObjective": "fieldfit.objectives",
    "ScipyOptimizer": "fieldfit.optimizers.scipy",
    "Step": "fieldfit.problem",
    "SumTo": "fieldfit.constraints",
    "Term": "fieldfit.things",
    "TrustRegionOptimizer": "fieldfit.optimizers.scalar_trust_region",
    "check_gradient": "fieldfit.problem.gradient_check",
    "compute_exact_sensitivity": "fieldfit.problem.sensitivity",
    "compute_sensitivity": "fieldfit.problem.sensitivity",
    "fit": "fieldfit.optimizers.choice",
    "make_optimizer": "fieldfit.optimizers.names",
    "read_checkpoint": "fieldfit.problem",
    "register_optimizer": "fieldfit.optimize",
    "register_state": "fieldfit.problem",
    "use_compilation_cache": "fieldfit.compilation",
}

__all__ = [
    "AugmentedLagrangianOptimizer",
    "BasinHoppingOptimizer",
    "Budget",
    "Checkpoint",
    "ConstraintOutcome",
    "CyclingOptimizer",
    "DerivativeFreeOptimizer",
    "Equal",
    "FallbackOptimizer",
    "Fixed",
    "FunctionObjective",
    "Goal",
    "JaxOptimizer",
    "LeastSquaresOptimizer",
    "LinearEquality",
    "LinearInequality",
    "MultiStartOptimizer",
    "NonlinearEquality",
    "NonlinearInequality",
    "ObjectiveFunction",
    "OptaxOptimizer",
    "OptimizationResult",
    "Optimizer",
    "Parameter",
    "Parameters",
    "Prior",
    "Problem",
    "ProximalObjective",
    "ScalarObjective",
    "ScipyOptimizer",
    "Step",
    "SumTo",
    "Term",
    "TrustRegionOptimizer",
    "__version__",
    "check_gradient",
    "compute_exact_sensitivity",
    "compute_sensitivity",
    "fit",
    "make_optimizer",
    "read_checkpoint",
    "register_optimizer",
    "register_state",
    "use_compilation_cache",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fieldfit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
