"""What is varied: named parameters with units, bounds, scales, ties, and their flat scaled vector."""

from fieldfit.parameters.collection import Parameters, Tie, as_parameters
from fieldfit.parameters.parameter import Parameter
from fieldfit.parameters.space import ParameterSpace
from fieldfit.parameters.user_function import UserFunction

__all__ = ["Parameter", "ParameterSpace", "Parameters", "Tie", "UserFunction", "as_parameters"]
