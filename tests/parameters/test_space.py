import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit import Parameter, Parameters
from fieldfit.errors import ParameterError
from fieldfit.parameters import ParameterSpace


@pytest.fixture
def parameters():
    return Parameters(
        [
            Parameter("a", 4.0, lower=-10.0, upper=8.0, scale=2.0),
            Parameter("b", [1.0, 2.0], fixed=[False, True]),
            Parameter("c", 0.0, lower=-3.0, upper=6.0),
        ]
    ).tie("c", "a", factor=-0.5)


def test_x_is_free_and_scaled(parameters):
    space = ParameterSpace(parameters.replace({"c": -2.0}))
    assert space.labels == ("a", "b[0]")
    assert space.size == 2
    assert_allclose(space.start, [2.0, 1.0])
    assert_allclose(space.scale, [2.0, 1.0])


def test_bounds_of_followers_count(parameters):
    # c = -a / 2 in [-3, 6] means a in [-12, 6]; together with a in [-10, 8]: [-10, 6], that is x in [-5, 3].
    space = ParameterSpace(parameters)
    assert_allclose(space.lower, [-5.0, -np.inf])
    assert_allclose(space.upper, [3.0, np.inf])


def test_values_are_physical_with_ties_and_fixed_ones(parameters):
    values = ParameterSpace(parameters).values(np.array([1.5, 7.0]))
    assert values["a"] == 3.0
    assert_allclose(values["b"], [7.0, 2.0])
    assert values["c"] == -1.5


@given(st.integers(0, 1000))
def test_vector_undoes_physical(seed):
    generator = np.random.default_rng(seed)
    parameters = Parameters(
        [
            Parameter(f"p{index}", generator.normal(size=index), scale=generator.uniform(0.1, 10.0))
            for index in (1, 2, 3)
        ]
    )
    space = ParameterSpace(parameters.fix("p2"))
    x = generator.normal(size=space.size)
    assert_allclose(space.vector(space.physical(x)), x, rtol=1e-14)


@given(st.integers(0, 1000))
def test_chain_rule_agrees_with_differences(seed):
    generator = np.random.default_rng(seed)
    parameters = Parameters({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": 3.0, "d": 0.5}).tie("b", "a", factor=-2.0).fix("c")
    space = ParameterSpace(parameters)
    J = generator.normal(size=(4, parameters.size))
    # The map is affine: a difference over any distance is exact to rounding.
    columns = [J @ (space.physical(unit) - space.physical(np.zeros(space.size))) for unit in np.eye(space.size)]
    assert_allclose(space.chain(J), np.stack(columns, axis=1), rtol=1e-12, atol=1e-12)
    assert_allclose(space.chain(J[0]), space.chain(J)[0])


def test_derivatives_given_are_not_changed():
    space = ParameterSpace(Parameters({"a": 2.0, "b": 1.0}).tie("b", "a"))
    J = np.ones((2, 2))
    space.chain(J)
    assert_allclose(J, np.ones((2, 2)))


def test_nothing_free_is_refused():
    with pytest.raises(ParameterError, match="nothing to vary"):
        ParameterSpace(Parameters({"a": 1.0}).fix("a"))


def test_leader_that_would_put_its_follower_outside_is_refused():
    parameters = Parameters([Parameter("a", 1.0, lower=0.0), Parameter("b", 5.0, lower=4.0)]).tie("b", "a", factor=2.0)
    with pytest.raises(ParameterError, match="'b' is tied and would start at 2"):
        ParameterSpace(parameters)


def test_start_that_rounding_puts_outside_is_on_the_bound():
    for value in (0.1, 0.3, 0.7, 1.1):
        space = ParameterSpace(Parameters([Parameter("a", value, lower=value, upper=2.0, scale=0.3)]))
        assert space.lower[0] <= space.start[0] <= space.upper[0]


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_bounds_of_x_are_inside_the_physical_ones(lower, width, scale):
    parameters = Parameters([Parameter("a", lower, lower=lower, upper=lower + width, scale=scale)])
    space = ParameterSpace(parameters)
    for x in (space.lower, space.upper):
        assert lower <= space.physical(x)[0] <= lower + width


def test_equal_bounds_leave_one_value():
    for value in (0.1, 0.3, 0.7, 1.1):
        space = ParameterSpace(Parameters([Parameter("a", value, lower=value, upper=value, scale=0.3)]))
        assert space.lower[0] == space.upper[0] == space.start[0]
        assert space.physical(space.start)[0] == pytest.approx(value, rel=1e-15)
