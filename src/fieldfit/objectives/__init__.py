"""What is wanted: residual terms and scalars of named parameters, with exact derivatives."""

from fieldfit.objectives.function import FunctionObjective, ScalarObjective
from fieldfit.objectives.objective import AbstractObjective, Evaluation, ObjectiveFunction, ObjectiveTraits
from fieldfit.objectives.prior import Prior
from fieldfit.objectives.residuals import Goal

__all__ = [
    "AbstractObjective",
    "Evaluation",
    "FunctionObjective",
    "Goal",
    "ObjectiveFunction",
    "ObjectiveTraits",
    "Prior",
    "ScalarObjective",
]
