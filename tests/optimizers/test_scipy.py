import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import least_squares

from fieldfit import ScalarObjective, ScipyOptimizer
from fieldfit.errors import SettingsError
from fieldfit.optimizers.scipy import METHODS
from toys import Switching, Watched, rosenbrock, rosenbrock_jacobian, rosenbrock_residuals, vector_objective

ON_RESIDUALS = [name for name, traits in METHODS.items() if traits.needs_residuals]
SQUARE_ROOT_OF_ROUNDING = 1e-6
"""A scalar method sees the cost only, and that is flat to rounding within this distance of a minimum."""


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_minimum(method):
    result = ScipyOptimizer(method, ftol=1e-15, gtol=1e-12).optimize(rosenbrock())
    assert result.success
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=SQUARE_ROOT_OF_ROUNDING)


@pytest.mark.parametrize("method", ON_RESIDUALS)
def test_path_is_that_of_scipy_itself(method):
    # SciPy called directly, in the same scaled variables (1.2 units of x to -1.2).
    def as_dictionary(x):
        return {"x": 1.2 * x[0], "y": x[1]}

    calls = []
    found = least_squares(
        lambda x: calls.append(x) or rosenbrock_residuals(as_dictionary(x)),
        [-1.0, 1.0],
        lambda x: rosenbrock_jacobian(as_dictionary(x)) * [1.2, 1.0],
        method="trf" if method == "least_squares" else method,
        x_scale="jac",
    )
    result = ScipyOptimizer(method).optimize(rosenbrock())
    assert result.n_evaluations == len(calls)
    assert result.message == found.message
    # To the rounding of products taken in another order.
    assert_allclose([result.x["x"], result.x["y"]], found.x * [1.2, 1.0], rtol=1e-9)


def test_residuals_and_jacobian_at_one_point_cost_one_evaluation():
    objective = Watched(rosenbrock())
    ScipyOptimizer("trf").optimize(objective)
    points = [tuple(values) for values in objective.seen]
    assert len(points) == len(set(points))


@pytest.mark.parametrize("method", [name for name, traits in METHODS.items() if traits.handles_bounds])
def test_solution_on_a_bound(method):
    objective = Watched(rosenbrock(lower=(-2.0, -2.0), upper=(0.5, 2.0)))
    result = ScipyOptimizer(method, ftol=1e-12).optimize(objective)
    assert_allclose([result.x["x"], result.x["y"]], [0.5, 0.25], rtol=1e-5)
    seen = np.array(objective.seen)
    assert np.all((seen >= -2.0) & (seen <= [0.5, 2.0]))


def test_scalar_objective_by_hand():
    # (x - 3)^2 + (y + 1)^2: the minimum 0 at (3, -1).
    objective = ScalarObjective(lambda p: (p["p"][0] - 3.0) ** 2 + (p["p"][1] + 1.0) ** 2, {"p": [0.0, 2.0]})
    result = ScipyOptimizer("L-BFGS-B", ftol=1e-15).optimize(objective)
    assert_allclose(result.x["p"], [3.0, -1.0], rtol=SQUARE_ROOT_OF_ROUNDING)
    assert result.residuals is None


def test_lm_refuses_bounds_and_names_who_takes_them():
    with pytest.raises(SettingsError, match=r"lm takes no bounds, but x has them.*L-BFGS-B.*trf"):
        ScipyOptimizer("lm").optimize(rosenbrock(upper=(5.0, np.inf)))


def test_lm_refuses_fewer_residuals_than_variables():
    objective = vector_objective(lambda x: (np.array([x @ x - 4.0]), 2.0 * x[None]), [1.0, 2.0])
    with pytest.raises(SettingsError, match="lm needs at least as many residuals as variables, but there are 1 for 2"):
        ScipyOptimizer("lm").optimize(objective)


def test_equal_bounds_are_refused_by_name():
    with pytest.raises(SettingsError, match="trf cannot take equal bounds, but y has them"):
        ScipyOptimizer("trf").optimize(rosenbrock(lower=(-2.0, 1.0), upper=(2.0, 1.0)))


def test_methods_on_residuals_refuse_a_scalar():
    with pytest.raises(SettingsError, match="scipy-trf needs residuals"):
        ScipyOptimizer("trf").optimize(ScalarObjective(lambda p: p["x"] ** 2, {"x": 1.0}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lbfgsb"}, "Did you mean 'L-BFGS-B'"),
        ({"ftol": 0.0}, "ftol = 0.0"),
        ({"maxiter": 0}, "maxiter = 0"),
        ({"ftol": None, "xtol": None, "gtol": None}, "nothing would end the run"),
    ],
)
def test_impossible_options_are_refused_when_given(options, message):
    with pytest.raises(SettingsError, match=message):
        ScipyOptimizer(**options)


@pytest.mark.parametrize("method", METHODS)
def test_region_without_numbers_is_stepped_around(method):
    # log(x) - 1 has no value for x < 0, where the first step from x = 30 leads.
    def logarithm(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(x) - 1.0, np.diag(1.0 / x)

    result = ScipyOptimizer(method).optimize(vector_objective(logarithm, [30.0]))
    assert result.failures
    assert result.x["x"][0] == pytest.approx(np.e, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_failures_everywhere_end_the_run_at_the_start(method):
    objective = Watched(rosenbrock(), fails=lambda values: values[0] != -1.2)
    result = ScipyOptimizer(method).optimize(objective)
    assert not result.success
    assert result.final_score == result.initial_score
    assert result.failures[0].startswith("the molecule fell apart")


@pytest.mark.parametrize("method", METHODS)
def test_accepted_point_whose_residuals_change_meaning_starts_scipy_again(method):
    result = ScipyOptimizer(method).optimize(Switching())
    assert result.x["x"] == pytest.approx(3.0 / 1.01, rel=1e-6)
    assert result.state == 3.0


@pytest.mark.parametrize("method", METHODS)
def test_most_iterations_are_kept(method):
    result = ScipyOptimizer(method, maxiter=3).optimize(rosenbrock())
    assert result.n_iterations <= 3
    assert result.final_score < result.initial_score


def test_further_options_reach_scipy():
    result = ScipyOptimizer("L-BFGS-B", options={"maxfun": 3}).optimize(rosenbrock())
    assert "EVALUATIONS" in result.message


@pytest.mark.parametrize("method", METHODS)
def test_one_tolerance_is_enough(method):
    result = ScipyOptimizer(method, ftol=1e-12, xtol=None, gtol=None).optimize(rosenbrock())
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-4)
