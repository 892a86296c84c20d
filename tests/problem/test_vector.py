import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, Parameter, Parameters, Problem, ScalarObjective
from fieldfit.errors import EvaluationError, ParameterError
from toys import Watched, rosenbrock


def tied_problem(derivatives="jax"):
    """Residuals (a^2 + b, c) with a in units of 2, b = 3 a and c fixed at 5."""
    parameters = Parameters([Parameter("a", 4.0, scale=2.0), Parameter("b", 0.0), Parameter("c", 5.0)])
    objective = FunctionObjective(
        lambda p: jnp.stack([p["a"] ** 2 + p["b"], p["c"]]),
        parameters.tie("b", "a", factor=3.0).fix("c"),
        derivatives=derivatives,
    )
    return Problem(objective).vector()


@pytest.mark.parametrize("derivatives", ["jax", "differences"])
def test_derivatives_are_with_respect_to_x(derivatives):
    vector = tied_problem(derivatives)
    assert vector.labels == ("a",)
    assert_allclose(vector.x0, [2.0])
    found = vector.evaluate(vector.x0, None)
    assert_allclose(found.residuals, [16.0 + 12.0, 5.0])
    # d (a^2 + 3 a) / dx = 2 (2 a + 3) at a = 4; differences are good to about 1e-7.
    assert_allclose(found.jacobian, [[22.0], [0.0]], rtol=1e-6)
    assert_allclose(found.gradient, [22.0 * 28.0], rtol=1e-6)


def test_derivatives_are_made_only_where_wanted():
    found = tied_problem().evaluate(np.array([2.0]), None, derivatives=False)
    assert (found.jacobian, found.gradient) == (None, None)


def test_gradient_of_a_scalar_by_differences():
    problem = Problem(ScalarObjective(lambda p: float(p["x"] ** 3), {"x": 2.0}, derivatives="differences")).vector()
    found = problem.evaluate(np.array([1.0]), None)
    assert not problem.has_residuals
    # d (2 x)^3 / dx at 1.
    assert_allclose(found.gradient, [24.0], rtol=1e-6)


def test_failure_is_an_answer_and_not_an_exception():
    objective = Watched(rosenbrock(), fails=lambda values: True)
    found = Problem(objective).vector().evaluate(np.array([1.0, 1.0]), "state")
    assert np.isnan(found.cost)
    assert found.failure == "the molecule fell apart"
    assert found.state == "state"


def test_nan_names_the_term_and_the_values():
    objective = FunctionObjective(lambda p: jnp.log(p["x"]), {"x": 2.0}, name="logarithm")
    found = Problem(objective).vector().evaluate(np.array([-1.5]), None)
    assert np.isnan(found.cost)
    assert found.failure == "logarithm is not finite at x = -3"


def test_failure_while_differences_are_taken_is_an_answer_too():
    # The function fails to the right of the start, where the difference looks.
    objective = Watched(rosenbrock(derivatives="differences"), fails=lambda values: values[0] > -1.2)
    found = Problem(objective).vector().evaluate(np.array([-1.0, 1.0]), None)
    assert np.isnan(found.cost)
    assert found.failure == "no difference can be taken in x: the molecule fell apart"


def test_problem_checks_parameters_against_the_objective():
    objective = rosenbrock()
    with pytest.raises(ParameterError, match="z differ"):
        Problem(objective, Parameters({"x": 1.0, "z": 1.0}))
    with pytest.raises(ParameterError, match="the order differ"):
        Problem(objective, Parameters({"y": 1.0, "x": 1.0}))
    with pytest.raises(ParameterError, match="nothing to vary"):
        Problem(objective, objective.parameters.fix("*")).vector()


def test_problem_reads_as_a_sentence():
    assert repr(Problem(rosenbrock())) == "Problem(least squares, 2 free of 2 parameters)"


def test_evaluation_error_keeps_its_cause():
    def fails(p):
        raise RuntimeError("no convergence")

    objective = FunctionObjective(fails, {"x": 1.0}, derivatives="differences")
    found = Problem(objective).vector().evaluate(np.ones(1), None)
    assert "RuntimeError: no convergence" in found.failure
    with pytest.raises(EvaluationError):
        objective.evaluate(np.ones(1), None, derivatives=False)
