import inspect
import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.optimize._minimize as minimize
import scipy.optimize._trustregion as trust_region

from fieldfit import ScalarObjective, ScipyOptimizer
from fieldfit.errors import SettingsError
from fieldfit.optimizers.scipy import METHODS
from toys import rosenbrock, vector_objective


def test_lm_refuses_fewer_residuals_than_variables():
    objective = vector_objective(lambda x: (np.array([x @ x - 4.0]), 2.0 * x[None]), [1.0, 2.0])
    with pytest.raises(SettingsError, match="lm needs at least as many residuals as variables, but there are 1 for 2"):
        ScipyOptimizer("lm").optimize(objective)


def test_methods_on_residuals_refuse_a_scalar():
    with pytest.raises(SettingsError, match="scipy-trf needs residuals"):
        ScipyOptimizer("trf").optimize(ScalarObjective(lambda p: p["x"] ** 2, {"x": 1.0}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lbfgsb"}, "Did you mean 'L-BFGS-B'"),
        ({"ftol": 0.0}, "ftol = 0.0"),
        ({"maxiter": 0}, "maxiter = 0"),
        ({"method": "trf", "ftol": None, "xtol": None, "gtol": None}, "nothing would end the run"),
        ({"method": "COBYQA", "xtol": None}, "COBYQA heeds xtol"),
        ({"jac": "exact"}, "derivative mode"),
        ({"fd_method": "backward"}, "No difference method"),
        ({"eps": 0.0}, "difference step is 0.0"),
        ({"divergence_factor": 0.5}, "divergence_factor = 0.5"),
        ({"divergence_patience": 0}, "divergence_patience = 0"),
        ({"options": {"maxcorr": 5}}, "No option of L-BFGS-B is called 'maxcorr'. Did you mean 'maxcor'"),
        ({"method": "Powell", "options": {"adaptive": True}}, "No option of Powell is called 'adaptive'"),
    ],
)
def test_impossible_options_are_refused_when_given(options, message):
    with pytest.raises(SettingsError, match=message):
        ScipyOptimizer(**options)


@pytest.mark.parametrize("method", METHODS)
def test_known_options_are_those_of_scipy(method):
    functions = {
        "Nelder-Mead": "neldermead",
        "Newton-CG": "newtoncg",
        "L-BFGS-B": "lbfgsb",
        "trust-constr": "trustregion_constr",
        "trust-exact": "trustregion_exact",
    }
    if METHODS[method].traits.needs_residuals:
        function = scipy.optimize.least_squares
    else:
        name = functions.get(method, method.lower().replace("-", "_"))
        function = getattr(minimize, f"_minimize_{name}")
    accepted = set(inspect.signature(function).parameters)
    if method in ("dogleg", "trust-ncg", "trust-exact", "trust-krylov"):
        accepted |= set(inspect.signature(trust_region._minimize_trust_region).parameters)
    # New in SciPy 1.17.
    assert set(METHODS[method].known_options) - {"subproblem_maxiter"} <= accepted
    assert set(METHODS[method].settings) <= accepted


def test_cryptic_messages_are_explained():
    # A gradient of the wrong sign: no line search finds anything.
    objective = ScalarObjective(lambda p: (p["x"] - 3.0) ** 2, {"x": 1.0}, derivatives=lambda p: 2.0 * (3.0 - p["x"]))
    result = ScipyOptimizer("BFGS").optimize(objective)
    assert "Desired error not necessarily achieved due to precision loss" in result.message
    assert "the derivatives do not belong to the cost" in result.message
    assert not result.success


def test_dogleg_says_what_it_needs():
    # x^4 / 4 - x^2 / 2 has a negative second derivative at the start.
    objective = ScalarObjective(lambda p: 0.25 * p["x"] ** 4 - 0.5 * p["x"] ** 2, {"x": 0.1})
    result = ScipyOptimizer("dogleg").optimize(objective)
    assert "not positive definite" in result.message
    assert "trust-exact" in result.message


def test_warnings_of_scipy_belong_to_the_message():
    options = {"direc": np.ones((2, 2))}
    result = ScipyOptimizer("Powell", maxiter=2, options=options).optimize(rosenbrock())
    assert "SciPy warned: direc input is not full rank" in result.message


def test_warnings_of_the_model_are_given():
    def loss(p):
        warnings.warn("the model is doubtful", UserWarning, stacklevel=1)
        return (p["x"] - 1.0) ** 2

    objective = ScalarObjective(loss, {"x": 3.0}, derivatives="differences")
    with pytest.warns(UserWarning, match="the model is doubtful"):
        ScipyOptimizer("Nelder-Mead").optimize(objective)
