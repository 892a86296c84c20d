import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import (
    FunctionObjective,
    Goal,
    LeastSquaresOptimizer,
    ObjectiveFunction,
    Parameter,
    Parameters,
    Prior,
    ScalarObjective,
    ScipyOptimizer,
)
from fieldfit.errors import EvaluationError

T = np.array([-1.0, 0.0, 1.0, 2.0])
Y = np.array([1.1, 1.9, 3.2, 3.8])


def straight_line(**changes):
    parameters = Parameters([Parameter("a", 1.0, unit="eV"), Parameter("b", 4.0, **changes)])
    return FunctionObjective(
        lambda p: p["a"] + p["b"] * T,
        parameters,
        goal=Goal(target=Y),
        derivatives=lambda p: np.stack([np.ones(4), T], axis=1),
    )


@pytest.fixture
def fit():
    return LeastSquaresOptimizer().optimize(straight_line())


def test_straight_line_equals_the_textbook(fit):
    # numpy.polyfit solves the same problem by another method.
    slope, intercept = np.polyfit(T, Y, 1)
    assert_allclose([fit.x["a"], fit.x["b"]], [intercept, slope], rtol=1e-12)
    # The textbook's variance of a slope is that of the residuals over the sum of squared distances from the mean.
    residuals = intercept + slope * T - Y
    variance = residuals @ residuals / 2.0
    assert fit.standard_errors["b"] == pytest.approx(np.sqrt(variance / np.sum((T - T.mean()) ** 2)), rel=1e-10)
    assert fit.standard_errors["a"] == pytest.approx(np.sqrt(variance * np.mean(T**2) / np.sum((T - T.mean()) ** 2)))


def test_scipy_names_mean_the_same(fit):
    assert fit.success
    assert fit.status == 0
    assert fit.fun == fit.final_score == pytest.approx(2.0 * fit.cost)
    assert fit.fun == pytest.approx(fit.residuals @ fit.residuals)
    assert fit.nit == fit.n_iterations
    assert fit.nfev == fit.n_evaluations == len(fit.history)


def test_derivatives_are_physical(fit):
    # b starts at 4, so x is b / 4; the Jacobian is with respect to b itself.
    assert_allclose(fit.jac, np.stack([np.ones(4), T], axis=1))
    assert_allclose(fit.gradient, fit.jac.T @ fit.residuals, atol=1e-12)


def test_covariance_is_symmetric_and_gives_the_errors(fit):
    found = fit.covariance()
    assert_allclose(found, found.T)
    assert_allclose(np.sqrt(np.diag(found)), list(fit.standard_errors.values()))


def test_parameter_at_a_bound_has_no_error():
    result = LeastSquaresOptimizer().optimize(straight_line(lower=2.0))
    assert result.is_at_bound.tolist() == [False, True]
    assert result.x["b"] == pytest.approx(2.0, abs=1e-6)
    assert result.standard_errors["b"] == 0.0
    assert result.success


def test_improvement_is_the_fraction_that_went_away(fit):
    assert fit.improvement == pytest.approx(1.0 - fit.final_score / fit.initial_score)
    assert 0.9 < fit.improvement < 1.0


def test_identifiability_names_the_parameters(fit):
    found = fit.identifiability()
    assert found.labels == ("a", "b")
    assert found.rank == 2


def test_terms_show_before_and_after():
    data = straight_line()
    total = ObjectiveFunction({"data": data, "prior": Prior(data.parameters, 1e-3)})
    result = LeastSquaresOptimizer().optimize(total)
    assert set(result.terms) == {"data", "prior"}
    assert sum(start for start, _ in result.terms.values()) == pytest.approx(result.initial_score)
    assert sum(end for _, end in result.terms.values()) == pytest.approx(result.final_score)
    assert result.terms["prior"][0] == 0.0


def test_summary_is_worth_reading(fit):
    lines = repr(fit).splitlines()
    assert lines[0].startswith("least-squares: converged - ")
    assert "% gone" in lines[1]
    assert f"evaluations {fit.n_evaluations}" in lines[2]
    assert lines[-1].split()[0] == "residuals"


def test_parameters_of_the_result_can_start_the_next_run(fit):
    again = LeastSquaresOptimizer().optimize(
        FunctionObjective(lambda p: p["a"] + p["b"] * T - Y, fit.parameters, derivatives="differences")
    )
    assert again.initial_score == pytest.approx(fit.final_score)
    assert fit.parameters["a"].unit == "eV"


def test_scalar_objective_has_no_covariance():
    result = ScipyOptimizer().optimize(ScalarObjective(lambda p: (p["x"] - 1.0) ** 2 + 2.0, {"x": 3.0}))
    assert result.success
    assert result.fun == result.cost == pytest.approx(2.0)
    assert result.jac is result.gradient
    with pytest.raises(EvaluationError, match="A covariance needs residuals"):
        result.covariance()
    with pytest.raises(EvaluationError, match="Identifiability needs residuals"):
        result.identifiability()
