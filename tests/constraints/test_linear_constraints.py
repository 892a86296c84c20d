"""Linear conditions: what their rows are, and where the optimum under them is by independent programs."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit import LinearEquality, LinearInequality, Parameters, Problem, ScipyOptimizer, SumTo, fit
from fieldfit.constraints import ConstraintSystem


@pytest.fixture
def parameters():
    return Parameters({"charge.C": [0.1, 0.2], "charge.H": 0.3, "radius": 2.0, "w": [[1.0, 2.0], [3.0, 4.0]]})


def test_a_sum_goes_over_all_elements_of_a_pattern(parameters):
    condition = SumTo("charge.*", 0.5).condition(parameters)
    assert_allclose(condition.matrix, [[1, 1, 1, 0, 0, 0, 0, 0]])
    assert_allclose([condition.lower, condition.upper], [[0.5], [0.5]])
    assert condition.labels == ("sum of charge.*",)


@pytest.mark.parametrize(("label", "place"), [("w[1,0]", 6), ("w[1, 0]", 6), ("charge.C[1]", 1), ("radius", 3)])
def test_an_element_is_named_by_its_label(parameters, label, place):
    assert_allclose(SumTo(label, 1.0).condition(parameters).matrix, np.eye(8)[[place]])


def test_coefficients_are_numbers_arrays_or_rows(parameters):
    condition = LinearEquality(
        {"charge.C": [[1.0, 2.0], [3.0, 4.0]], "charge.H": 5.0, "w[0,1]": [[6.0], [7.0]]}, [8.0, 9.0], name="two"
    ).condition(parameters)
    assert_allclose(condition.matrix, [[1, 2, 5, 0, 0, 6, 0, 0], [3, 4, 5, 0, 0, 7, 0, 0]])
    assert_allclose(condition.lower, [8.0, 9.0])
    assert condition.labels == ("two[0]", "two[1]")


def test_coefficients_of_a_matrix_are_in_the_order_of_its_elements(parameters):
    condition = LinearEquality({"w": [[1.0, 2.0], [3.0, 4.0]]}, 0.0).condition(parameters)
    assert_allclose(condition.matrix[:, 4:], [[1, 2, 3, 4]])


def test_what_a_name_and_a_pattern_say_of_an_element_adds_up(parameters):
    condition = LinearInequality({"charge.H": 2.0, "charge.*": 1.0}, upper=1.0).condition(parameters)
    assert_allclose(condition.matrix, [[1, 1, 3, 0, 0, 0, 0, 0]])


def test_one_value_counts_for_all_rows(parameters):
    condition = LinearInequality({"w": np.eye(4)}, lower=0.5).condition(parameters)
    assert_allclose(condition.lower, np.full(4, 0.5))
    assert np.all(np.isposinf(condition.upper))


def test_a_tolerance_is_relative_to_a_large_value_and_absolute_for_a_small_one(parameters):
    values = LinearEquality({"w": np.eye(4)}, [0.0, 1e-3, 1.0, -2e5]).condition(parameters).tolerances
    assert_allclose(values, [1e-8, 1e-8, 1e-8, 2e-3])
    assert_allclose(SumTo("w", 7.0, tolerance=0.25).condition(parameters).tolerances, [0.25])


def test_constraints_of_one_name_are_numbered(parameters):
    system = ConstraintSystem.of([SumTo("w", 9.0), SumTo("radius", 2.0), SumTo("w", 9.0)], parameters)
    names = [condition.name for condition in system.conditions]
    assert names == ["sum of w (1)", "sum of radius", "sum of w (2)"]
    assert system.conditions[2].labels == ("sum of w (2)",)


@given(st.integers(0, 10_000))
def test_rows_are_the_weighted_sum_of_the_elements(seed):
    generator = np.random.default_rng(seed)
    shapes = [(), (2,), (2, 3)]
    values = {f"p{place}": generator.normal(size=shape) for place, shape in enumerate(shapes)}
    weights = {name: generator.normal(size=value.shape) for name, value in values.items()}
    condition = LinearEquality(weights, 0.0).condition(Parameters(values))
    expected = sum(np.sum(weights[name] * values[name]) for name in values)
    assert_allclose(condition.matrix @ Parameters(values).flat, [expected], atol=1e-13)


COSTS = np.array([-1.0, -2.0, 0.5])
MATRIX = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.0, 1.0, 3.0]])
UPPER = np.array([4.0, 1.0, 6.0])


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr", "COBYQA"])
def test_a_linear_program_ends_where_highs_ends(method):
    # scipy.optimize.linprog (HiGHS) is the independent program.
    exact = scipy.optimize.linprog(COSTS, A_ub=MATRIX, b_ub=UPPER, bounds=[(0.0, 3.0)] * 3)
    problem = Problem(
        lambda p: jnp.dot(COSTS, p["x"]),
        {"x": np.full(3, 0.5)},
        bounds={"x": (0.0, 3.0)},
        constraints=LinearInequality({"x": MATRIX}, upper=UPPER, name="limits"),
    )
    result = ScipyOptimizer(method).optimize(problem)
    assert_allclose(result.x["x"], exact.x, atol=1e-6)
    assert result.success
    # HiGHS counts the change of the value by a limit, we the opposite sign of it.
    assert_allclose(result.multipliers["limits"], -exact.ineqlin.marginals, atol=1e-6)


@given(st.integers(0, 200))
def test_the_nearest_point_of_a_plane_is_the_foot_of_the_perpendicular(seed):
    generator = np.random.default_rng(seed)
    normal, point = generator.normal(size=3), generator.normal(size=3)
    problem = Problem(
        lambda p: 0.5 * jnp.sum((p["x"] - point) ** 2),
        {"x": np.zeros(3)},
        constraints=LinearEquality({"x": normal}, 1.0, name="plane"),
        derivatives=lambda p: p["x"] - point,
    )
    result = fit(problem)
    gap = 1.0 - normal @ point
    assert_allclose(result.x["x"], point + normal * gap / (normal @ normal), atol=1e-9)
    # x - p + lambda n = 0.
    assert_allclose(result.multipliers["plane"], [-gap / (normal @ normal)], atol=1e-9)
    assert result.success
    assert result.violation < 1e-12
