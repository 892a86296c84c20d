"""Starting force constants from QM Hessians."""

from fieldfit.forcefield.initial_guess.estimate import METHODS, estimate_force_constants
from fieldfit.forcefield.initial_guess.hessian_fit import hessian_fit, target_parameters

__all__ = ["METHODS", "estimate_force_constants", "hessian_fit", "target_parameters"]
