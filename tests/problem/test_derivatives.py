import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, ObjectiveFunction, Parameter, Parameters, Problem
from fieldfit.errors import SettingsError
from fieldfit.parameters import ParameterSpace
from fieldfit.problem import DerivativeOptions
from toys import Watched


def curve(p):
    x = p["x"]
    return np.array([np.sin(x[0]) * x[1], np.exp(x[0]), x[1] ** 2])


def exact(x):
    return np.array([[np.cos(x[0]) * x[1], np.sin(x[0])], [np.exp(x[0]), 0.0], [0.0, 2.0 * x[1]]])


def curve_problem(x, lower=-np.inf, upper=np.inf, **options):
    parameters = Parameters([Parameter("x", np.array(x), lower=lower, upper=upper, scale=1.0)])
    objective = Watched(FunctionObjective(curve, parameters, derivatives="differences"))
    return objective, Problem(objective).vector(derivatives=DerivativeOptions(**options))


@given(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0))
@pytest.mark.parametrize(("method", "error"), [("forward", 3e-7), ("central", 3e-9)])
def test_differences_agree_with_exact_derivatives(method, error, a, b):
    _, problem = curve_problem([a, b], method=method)
    # Error of a forward difference: step times half the second derivative, and rounding over step; a central one has
    # the square of its step, 6e-6, times a sixth of the third derivative.
    assert_allclose(problem.evaluate(problem.x0, None).jacobian, exact([a, b]), atol=error)


@pytest.mark.parametrize("method", ["forward", "central"])
@pytest.mark.parametrize("x", [[0.0, 0.5], [1.0, 0.5], [1.0, 1.0], [0.0, 0.0], [1.0 - 1e-12, 1e-12]])
def test_differences_stay_inside_the_bounds(x, method):
    objective, problem = curve_problem(x, 0.0, 1.0, method=method)
    found = problem.evaluate(problem.x0, None).jacobian
    seen = np.array(objective.seen)
    assert np.all((seen >= 0.0) & (seen <= 1.0))
    # At a bound a central difference becomes a one-sided one with its longer step.
    assert_allclose(found, exact(x), atol=3e-7 if method == "forward" else 2e-5)


def test_narrow_bounds_use_the_room_there_is():
    x = np.array([0.3, 0.5])
    _, problem = curve_problem(x, x - 1e-9, x + 2e-9)
    # A step of 1e-9 loses seven digits more than the usual one.
    assert_allclose(problem.evaluate(problem.x0, None).jacobian, exact(x), atol=1e-6)


def test_step_is_in_units_of_the_scale():
    parameters = Parameters([Parameter("a", 5.0, scale=10.0)])
    objective = Watched(FunctionObjective(lambda p: p["a"] ** 2, parameters, derivatives="differences"))
    Problem(objective).vector(derivatives=DerivativeOptions(step=1e-3)).evaluate(np.array([0.5]), None)
    assert_allclose(np.ptp(objective.seen), 0.01, rtol=1e-9)


def mixed():
    """A traced term of a and b, one with its own Jacobian in b, and one without derivatives in b and c."""
    traced = FunctionObjective(lambda p: p["a"] * p["b"] - 1.0, {"a": 2.0, "b": 3.0})
    own = FunctionObjective(lambda p: p["b"] ** 2, {"b": 3.0}, derivatives=lambda p: [[2.0 * p["b"]]])
    program = Watched(
        FunctionObjective(
            lambda p: np.array([p["c"] * p["b"], p["c"]]), {"b": 3.0, "c": 5.0}, derivatives="differences"
        )
    )
    return program, ObjectiveFunction({"traced": traced, "own": own, "program": program})


JACOBIAN = np.array([[3.0, 2.0, 0.0], [0.0, 6.0, 0.0], [0.0, 5.0, 3.0], [0.0, 0.0, 1.0]])
SCALE = np.array([2.0, 3.0, 5.0])


def test_each_term_uses_what_it_has():
    program, objective = mixed()
    problem = Problem(objective).vector()
    found = problem.evaluate(problem.x0, problem.initial_state())
    assert_allclose(found.jacobian[:2], (JACOBIAN * SCALE)[:2], rtol=1e-14)
    assert_allclose(found.jacobian, JACOBIAN * SCALE, rtol=1e-7, atol=1e-7)
    # Two of the three variables move the program: its value and two differences.
    assert len(program.seen) == 3
    assert found.n_differences == 2
    assert problem.derivative_modes == {"traced": "exact", "own": "exact", "program": "forward differences"}
    assert not problem.has_derivatives


def test_differences_throughout_on_request():
    _, objective = mixed()
    problem = Problem(objective).vector(derivatives=DerivativeOptions(jac=None, method="central"))
    found = problem.evaluate(problem.x0, problem.initial_state())
    assert_allclose(found.jacobian, JACOBIAN * SCALE, rtol=1e-8, atol=1e-8)
    assert set(problem.derivative_modes.values()) == {"central differences"}


def test_exact_derivatives_only_names_the_term_that_has_none():
    _, objective = mixed()
    with pytest.raises(SettingsError, match="the term 'program' has no exact derivatives"):
        Problem(objective).vector(derivatives=DerivativeOptions(jac="analytical"))


def test_tied_and_fixed_parameters_move_with_their_leader():
    parameters = Parameters([Parameter("a", 1.0), Parameter("b", 2.0), Parameter("c", 5.0, fixed=True)])
    parameters = parameters.tie("b", "a", factor=2.0)
    term = FunctionObjective(lambda p: p["b"] ** 2 + p["c"], {"b": 2.0, "c": 5.0}, derivatives="differences")
    other = FunctionObjective(lambda p: p["a"], {"a": 1.0})
    objective = ObjectiveFunction({"other": other, "term": term})
    problem = Problem(objective, parameters).vector()
    # b^2 = 4 a^2, and a moves by its own scale, 1.
    assert_allclose(problem.evaluate(problem.x0, problem.initial_state()).jacobian, [[1.0], [8.0]], rtol=1e-7)
    assert problem.space.size == ParameterSpace(parameters).size == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jac": "analitical"}, "Did you mean 'analytical'"),
        ({"method": "centre"}, "difference method"),
        ({"step": 0.0}, "The difference step is 0.0"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        DerivativeOptions(**options)
