"""What is said about a tied parameter is kept or refused, never ignored."""

import pytest

from fieldfit import Parameter, Parameters
from fieldfit.errors import ParameterError

TIED = Parameters([Parameter("a", 2.0), Parameter("b", 1.0)]).tie("b", "a", factor=3.0)


def test_a_follower_cannot_be_fixed_alone():
    with pytest.raises(ParameterError, match="'b' cannot stay as it is while it follows 'a'"):
        TIED.fix("b")
    assert TIED.fix("a", "b").n_free == 0
    assert TIED.fix("a").n_free == 0


def test_a_follower_cannot_be_given_another_value():
    with pytest.raises(ParameterError, match="tied to 'a'"):
        TIED.replace({"b": 5.0})
    assert TIED.replace({"a": 4.0, "b": 12.0}).values["b"] == 12.0
