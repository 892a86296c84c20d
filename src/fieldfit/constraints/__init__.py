"""What must hold: conditions on named parameters, linear and nonlinear, and what follows from all of them together."""

from fieldfit.constraints.constraint import AbstractConstraint, Condition
from fieldfit.constraints.held import Equal, Fixed
from fieldfit.constraints.linear import LinearEquality, LinearInequality, SumTo
from fieldfit.constraints.nonlinear import NonlinearEquality, NonlinearInequality
from fieldfit.constraints.scipy_constraints import as_constraints
from fieldfit.constraints.system import ConstraintSystem

__all__ = [
    "AbstractConstraint",
    "Condition",
    "ConstraintSystem",
    "Equal",
    "Fixed",
    "LinearEquality",
    "LinearInequality",
    "NonlinearEquality",
    "NonlinearInequality",
    "SumTo",
    "as_constraints",
]
