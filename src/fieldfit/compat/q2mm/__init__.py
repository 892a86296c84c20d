"""Scripts written for Q2MM: its names and signatures, over the native ones.

A script of Q2MM's optimization guide runs when only its import lines change:

    from fieldfit.compat.q2mm import JaxEngine, ObjectiveFunction, ReferenceData, ScipyOptimizer

Q2MM changes force fields in place, and its scripts count on it: what an optimizer found is in `objective.forcefield`,
and a second optimizer starts from there. So the `ForceField` here is a handle that holds a force field of this library
and can be given another; the force fields, references and objectives behind it never change. Everything else that
differs is said where it differs.

References:
    https://github.com/ericchansen/q2mm: the names and signatures.
    Norrby, Liljefors (1998), J. Comput. Chem. 19, 1146: the method.
"""

from fieldfit.compat.q2mm.engines import JaxEngine, OpenMMEngine, TinkerEngine
from fieldfit.compat.q2mm.estimates import estimate_force_constants
from fieldfit.compat.q2mm.force_field import ForceField
from fieldfit.compat.q2mm.objective import ObjectiveFunction, SubspaceObjective
from fieldfit.compat.q2mm.optimizers import (
    BasinHoppingOptimizer,
    JaxOptOptimizer,
    MultiStartOptimizer,
    OptaxOptimizer,
    OptimizationLoop,
    ScipyOptimizer,
    keeps_bounds,
)
from fieldfit.compat.q2mm.reference_data import ReferenceData, ReferenceValue
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.problem import OptimizationResult
from fieldfit.problem.sensitivity import compute_sensitivity

__all__ = [
    "BasinHoppingOptimizer",
    "ForceField",
    "JaxEngine",
    "JaxOptOptimizer",
    "LeastSquaresOptimizer",
    "MultiStartOptimizer",
    "ObjectiveFunction",
    "OpenMMEngine",
    "OptaxOptimizer",
    "OptimizationLoop",
    "OptimizationResult",
    "ReferenceData",
    "ReferenceValue",
    "ScipyOptimizer",
    "SubspaceObjective",
    "TinkerEngine",
    "compute_sensitivity",
    "estimate_force_constants",
    "keeps_bounds",
]
