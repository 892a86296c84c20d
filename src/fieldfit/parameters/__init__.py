"""What is varied: named parameters with units, bounds, scales, ties, and their flat scaled vector."""

from fieldfit.parameters.collection import Parameters, Tie, as_parameters
from fieldfit.parameters.parameter import Parameter
from fieldfit.parameters.projected_space import ProjectedSpace, Space
from fieldfit.parameters.space import ParameterSpace
from fieldfit.parameters.structure import parameters_from_bounds, structured_parameters
from fieldfit.parameters.user_function import UserFunction

__all__ = [
    "Parameter",
    "ParameterSpace",
    "Parameters",
    "ProjectedSpace",
    "Space",
    "Tie",
    "UserFunction",
    "as_parameters",
    "parameters_from_bounds",
    "structured_parameters",
]
