import pickle
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, ObjectiveFunction, ScalarObjective
from fieldfit.errors import ParameterError
from fieldfit.objectives import Evaluation
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import as_parameters
from toys import OneVariable, Switching


def line():
    return FunctionObjective(lambda p: p["a"] + p["b"] * jnp.array([1.0, 2.0]), {"a": 1.0, "b": 2.0})


def parabola():
    return FunctionObjective(lambda p: p["c"] * p["b"] ** 2, {"c": 3.0, "b": 2.0})


def test_sum_has_the_union_of_parameters_and_all_residuals():
    total = ObjectiveFunction({"line": line(), "parabola": parabola()})
    assert total.parameters.names == ("a", "b", "c")
    found = total.evaluate(np.array([1.0, 2.0, 3.0]), total.initial_state(), derivatives=True)
    assert_allclose(found.residuals, [3.0, 5.0, 12.0])
    # Rows of the parabola: c b^2 with respect to (a, b, c).
    assert_allclose(found.jacobian, [[1.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 12.0, 4.0]])
    assert found.cost == pytest.approx(0.5 * (9.0 + 25.0 + 144.0))
    assert total.term_slices() == {"line": slice(0, 2), "parabola": slice(2, 3)}


def test_sums_of_sums_name_their_terms():
    inner = ObjectiveFunction({"line": line(), "parabola": parabola()})
    outer = ObjectiveFunction({"first": inner, "last": parabola()})
    assert outer.term_slices() == {
        "first.line": slice(0, 2),
        "first.parabola": slice(2, 3),
        "last": slice(3, 4),
    }


def test_sum_of_scalars_adds_costs_and_gradients():
    square = ScalarObjective(lambda p: p["x"] ** 2, {"x": 1.0})
    shifted = ScalarObjective(lambda p: (p["x"] - p["y"]) ** 2, {"x": 1.0, "y": 4.0})
    total = ObjectiveFunction({"square": square, "shifted": shifted})
    found = total.evaluate(np.array([1.0, 4.0]), total.initial_state(), derivatives=True)
    assert found.cost == 10.0
    assert_allclose(found.gradient, [2.0 - 6.0, 6.0])
    assert found.residuals is None


def test_state_news_and_staleness_come_from_every_term():
    total = ObjectiveFunction({"line": line(), "switching": Switching()})
    values = total.parameters.replace({"x": 0.7}).flat
    found = total.evaluate(values, total.initial_state(), derivatives=True)
    assert found.state == {"line": None, "switching": 3.0}
    assert found.is_stale
    assert found.note == "the target has changed"
    again = total.evaluate(values, found.state, derivatives=True)
    assert not again.is_stale


def failing():
    return OneVariable(1.0, lambda x, derivatives: Evaluation(np.nan, failure="no minimum was found"), size=1)


def test_failure_of_one_term_is_the_failure_of_the_sum():
    total = ObjectiveFunction({"line": line(), "relaxation": failing()})
    found = total.evaluate(total.parameters.flat, total.initial_state(), derivatives=True)
    assert np.isnan(found.cost)
    assert found.failure == "relaxation: no minimum was found"


@pytest.mark.parametrize(
    "terms", [{}, {"squares": line(), "scalar": ScalarObjective(lambda p: p["x"] ** 2, {"x": 1.0})}]
)
def test_empty_and_mixed_sums_are_refused(terms):
    with pytest.raises(ParameterError, match="either all terms have residuals or none has"):
        ObjectiveFunction(terms)


def test_one_name_with_two_shapes_is_refused():
    other = FunctionObjective(lambda p: p["a"], {"a": [1.0, 2.0]})
    with pytest.raises(ParameterError, match=r"'a' has the shape \(\) in one term and \(2,\) in another"):
        ObjectiveFunction({"line": line(), "other": other})


def test_evaluation_knows_whether_it_is_finite():
    assert Evaluation(1.0, residuals=np.ones(2)).is_finite
    assert not Evaluation(np.nan).is_finite
    assert not evaluation_from_residuals(np.ones(1), np.array([[np.inf]])).is_finite
    assert not evaluation_from_residuals(np.zeros(2), np.array([[np.inf], [1.0]])).is_finite
    assert not evaluation_from_residuals(np.ones(2), np.array([[np.inf], [-np.inf]])).is_finite


def test_the_gradient_of_squares_is_the_jacobian_transposed_times_residuals_whenever_it_is_asked_for():
    residuals, jacobian = np.array([1.0, -2.0]), np.array([[3.0, 0.0, 1.0], [0.5, 4.0, -1.0]])
    found = evaluation_from_residuals(residuals, jacobian)
    expected = [1.0 * 3.0 - 2.0 * 0.5, -2.0 * 4.0, 1.0 + 2.0]
    for kept in (found, pickle.loads(pickle.dumps(found)), replace(found, note="news"), found.with_state(1)):
        assert_allclose(kept.gradient, expected, rtol=0.0, atol=0.0)
    assert replace(found, jacobian=None, gradient=None).gradient is None
    assert evaluation_from_residuals(residuals, None).gradient is None
    assert Evaluation(2.5, residuals, jacobian).gradient is None


def test_squares_that_overflow_make_the_cost_infinite_without_a_warning():
    found = evaluation_from_residuals(np.array([1e200, -1e200]), np.array([[1e200], [1e200]]))
    assert found.cost == np.inf
    assert not found.is_finite


def test_a_sum_may_declare_more_parameters_than_its_terms_have():
    slope = FunctionObjective(lambda p: 2.0 * p["a"], {"a": 1.0})
    everything = as_parameters({"b": 5.0, "a": 3.0})
    made = ObjectiveFunction({"slope": slope}, parameters=everything)
    assert made.parameters.names == ("b", "a")
    assert made.parameters.flat.tolist() == [5.0, 3.0]
    found = made.evaluate(made.parameters.flat, made.initial_state(), derivatives=True)
    assert found.residuals.tolist() == [6.0]
    assert found.jacobian.tolist() == [[0.0, 2.0]]


def test_a_sum_of_one_term_is_that_term():
    term = FunctionObjective(lambda p: jnp.stack([p["a"] * p["b"], p["a"]]), {"a": 3.0, "b": 2.0})
    values = np.array([3.0, 2.0])
    alone = term.evaluate(values, None, derivatives=True)
    made = ObjectiveFunction({"only": term})
    summed = made.evaluate(values, made.initial_state(), derivatives=True)
    assert summed.cost == alone.cost
    assert np.array_equal(summed.jacobian, alone.jacobian)
    assert summed.state == {"only": None}
