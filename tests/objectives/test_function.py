import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, Goal, Parameter, Parameters, ScalarObjective
from fieldfit.errors import EvaluationError, SettingsError


def decay(p):
    return p["a"] * jnp.exp(-p["k"] * jnp.array([0.0, 1.0, 2.0]))


def decay_jacobian(values):
    a, k = values
    t = np.array([0.0, 1.0, 2.0])
    return np.stack([np.exp(-k * t), -a * t * np.exp(-k * t)], axis=1)


VALUES = np.array([2.0, 0.7])
ROUNDING = 1e-14


def test_jax_gives_residuals_and_exact_derivatives_in_64_bit():
    objective = FunctionObjective(decay, {"a": 1.0, "k": 1.0}, goal=Goal(target=1.0, weight=3.0))
    found = objective.evaluate(VALUES, None, derivatives=True)
    expected = 3.0 * (2.0 * np.exp(-0.7 * np.arange(3.0)) - 1.0)
    assert_allclose(found.residuals, expected, rtol=ROUNDING)
    assert_allclose(found.jacobian, 3.0 * decay_jacobian(VALUES), rtol=ROUNDING)
    assert_allclose(found.gradient, found.jacobian.T @ expected, rtol=ROUNDING)
    assert found.cost == pytest.approx(0.5 * expected @ expected, rel=ROUNDING)
    assert found.score == pytest.approx(expected @ expected, rel=ROUNDING)


@pytest.mark.parametrize("sizes", [(5, 2), (2, 5)])
def test_tall_and_wide_jacobians_are_right(sizes):
    # JAX differentiates forwards or backwards, whichever is cheaper.
    A = np.random.default_rng(0).normal(size=sizes)
    objective = FunctionObjective(lambda p: jnp.asarray(A) @ p["x"], {"x": np.ones(sizes[1])})
    assert_allclose(objective.evaluate(np.ones(sizes[1]), None, derivatives=True).jacobian, A, rtol=ROUNDING)


def test_jacobian_given_as_a_function_is_used():
    objective = FunctionObjective(
        lambda p: np.asarray(decay(p), dtype=float),
        {"a": 1.0, "k": 1.0},
        derivatives=lambda p: decay_jacobian([p["a"], p["k"]]),
    )
    assert objective.traits.has_derivatives
    assert not objective.traits.is_traceable
    assert_allclose(objective.evaluate(VALUES, None, derivatives=True).jacobian, decay_jacobian(VALUES), rtol=ROUNDING)


def test_without_derivatives_none_are_made_up():
    objective = FunctionObjective(lambda p: np.array([p["a"] ** 2]), {"a": 3.0}, derivatives="differences")
    found = objective.evaluate(np.array([3.0]), None, derivatives=True)
    assert (found.jacobian, found.gradient) == (None, None)
    assert not objective.traits.has_derivatives


def test_array_predictions_and_array_parameters_are_flattened_in_order():
    objective = FunctionObjective(lambda p: jnp.outer(p["x"], p["x"]), {"x": [1.0, 2.0]})
    found = objective.evaluate(np.array([1.0, 2.0]), None, derivatives=True)
    assert_allclose(found.residuals, [1.0, 2.0, 2.0, 4.0])
    assert_allclose(found.jacobian, [[2.0, 0.0], [2.0, 1.0], [2.0, 1.0], [0.0, 4.0]])
    assert objective.term_slices() == {"residuals": slice(0, 4)}


def test_scalar_prediction_is_one_residual():
    found = FunctionObjective(lambda p: p["x"] - 5.0, {"x": 2.0}).evaluate(np.array([2.0]), None, derivatives=True)
    assert_allclose(found.residuals, [-3.0])
    assert_allclose(found.jacobian, [[1.0]])


def test_exception_of_the_function_names_the_parameters():
    def fails(p):
        raise ZeroDivisionError("no pressure")

    parameters = Parameters([Parameter("volume", 0.0), Parameter("t", [1.0, 2.0])])
    objective = FunctionObjective(fails, parameters, derivatives="differences")
    message = r"raised ZeroDivisionError: no pressure. The parameters were: volume = 0, t\[0\] = 1, t\[1\] = 2."
    with pytest.raises(EvaluationError, match=message) as caught:
        objective.evaluate(parameters.flat, None, derivatives=False)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_unknown_way_to_differentiate_is_refused():
    with pytest.raises(SettingsError, match="No way to differentiate is called 'numerical'"):
        FunctionObjective(decay, {"a": 1.0, "k": 1.0}, derivatives="numerical")


@pytest.mark.parametrize("derivatives", ["jax", lambda p: np.array([2.0 * (p["x"] - 3.0)])])
def test_scalar_objective_has_cost_and_gradient(derivatives):
    objective = ScalarObjective(lambda p: (p["x"] - 3.0) ** 2, {"x": 1.0}, derivatives=derivatives)
    found = objective.evaluate(np.array([1.0]), None, derivatives=True)
    assert found.cost == found.score == 4.0
    assert_allclose(found.gradient, [-4.0])
    assert found.residuals is None
    assert objective.term_slices() == {}


def test_scalar_objective_refuses_an_array():
    objective = ScalarObjective(lambda p: p["x"] * jnp.ones(3), {"x": 1.0})
    with pytest.raises(SettingsError, match=r"returned an array of shape \(3,\)"):
        objective.evaluate(np.ones(1), None, derivatives=False)


def test_squares_that_overflow_count_as_infinite():
    found = FunctionObjective(lambda p: 1e200 * p["x"], {"x": 1.0}).evaluate(np.ones(1), None, derivatives=True)
    assert found.cost == np.inf
    assert not found.is_finite


RETURNS = {
    "text": (lambda p: "big", "The function returned 'big' (str), which is not a number"),
    "dictionary": (lambda p: {"loss": p["x"]}, "(dict), which is not a number"),
    "nothing": (lambda p: None, "The function returned nothing (None)"),
    "complex": (lambda p: p["x"] * 1j, "The function returned complex numbers"),
    "logical": (lambda p: p["x"] > 0.0, "which is not a number"),
}


@pytest.mark.parametrize("derivatives", ["jax", "differences"])
@pytest.mark.parametrize("kind", RETURNS)
@pytest.mark.parametrize("make", [FunctionObjective, ScalarObjective])
@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_no_number_is_refused_when_it_comes_back(make, kind, derivatives, wanted):
    function, message = RETURNS[kind]
    objective = make(function, {"x": 1.0}, derivatives=derivatives)
    with pytest.raises(EvaluationError) as caught:
        objective.evaluate(np.ones(1), None, derivatives=wanted)
    assert message in str(caught.value)


def test_a_loss_that_returns_an_array_is_refused_while_it_is_traced_and_with_derivatives():
    objective = ScalarObjective(lambda p: p["x"] * jnp.ones(3), {"x": 1.0})
    with pytest.raises(SettingsError, match=r"returned an array of shape \(3,\)"):
        objective.evaluate(np.ones(1), None, derivatives=True)
    with pytest.raises(SettingsError, match=r"returned an array of shape \(3,\)"):
        jax.jit(objective.traced)(np.ones(1))


def test_whole_numbers_and_lists_of_numbers_are_numbers():
    assert ScalarObjective(lambda p: 3, {"x": 1.0}).evaluate(np.ones(1), None, derivatives=True).gradient == [0.0]
    found = FunctionObjective(lambda p: [p["x"], 2.0 * p["x"]], {"x": 1.0}).evaluate(np.ones(1), None, derivatives=True)
    assert_allclose(found.jacobian, [[1.0], [2.0]])
