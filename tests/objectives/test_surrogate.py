"""One objective's score with another's derivatives: what the gate lets pass, and what it says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit import FunctionObjective, LeastSquaresOptimizer, Parameters, Problem, ScalarObjective, ScipyOptimizer
from fieldfit.errors import EvaluationError, ParameterError, SettingsError
from fieldfit.objectives.surrogate import SurrogateObjective, SurrogateState
from toys import OneVariable, Switching, rosenbrock, rosenbrock_residuals

START = {"x": -1.2, "y": 1.0}


def program(residuals=rosenbrock_residuals, start=START):
    """The valley of Rosenbrock as a program that has no derivatives."""
    return FunctionObjective(residuals, start, derivatives="differences")


def twisted(p):
    """The valley with its second wall moved: another minimum."""
    return np.array([10.0 * (p["y"] - p["x"] ** 2), 1.5 - p["x"]])


@pytest.fixture
def surrogate():
    return SurrogateObjective(program(), rosenbrock())


def test_equal_objectives_have_the_ratio_one_and_the_minimum_of_both(surrogate) -> None:
    assert surrogate.gate.ratio == 1.0
    assert surrogate.gate.is_open
    result = LeastSquaresOptimizer().optimize(surrogate)
    exact = LeastSquaresOptimizer().optimize(rosenbrock())
    assert result.success
    assert_array_equal(result.final_params, exact.final_params)
    assert result.n_evaluations == exact.n_evaluations
    assert result.n_difference_evaluations == 0


def test_the_score_is_that_of_the_scoring_objective() -> None:
    # Residuals (x, 1) against (x, 1.05): equal derivatives, scores 1 % apart at x = 3, minimum 1 and not 1.1025.
    scoring = FunctionObjective(lambda p: np.array([p["x"], 1.0]), {"x": 3.0}, derivatives="differences")
    lent = FunctionObjective(
        lambda p: np.array([p["x"], 1.05]), {"x": 3.0}, derivatives=lambda p: np.array([[1.0], [0.0]])
    )
    found = SurrogateObjective(scoring, lent)
    assert found.gate.ratio == pytest.approx(10.1025 / 10.0)
    result = LeastSquaresOptimizer().optimize(found)
    assert result.initial_score == 10.0
    assert result.final_score == pytest.approx(1.0)


@pytest.mark.parametrize(("tolerance", "is_open"), [(0.05, False), (0.15, True), (None, True)])
def test_the_gate_opens_within_its_tolerance(tolerance, is_open) -> None:
    # Residuals larger by a twentieth: scores by 10.25 %.
    larger = rosenbrock(derivatives=lambda p: 1.05 * np.array([[-20.0 * p["x"], 10.0], [-1.0, 0.0]]))
    lent = FunctionObjective(
        lambda p: 1.05 * rosenbrock_residuals(p),
        larger.parameters,
        derivatives=lambda p: 1.05 * np.array([[-20.0 * p["x"], 10.0], [-1.0, 0.0]]),
    )
    found = SurrogateObjective(program(start=larger.parameters), lent, ratio_tol=tolerance)
    assert found.gate.is_open == is_open
    assert found.traits.has_derivatives == is_open
    if tolerance is None:
        assert np.isnan(found.gate.ratio)
    else:
        assert found.gate.ratio == pytest.approx(1.1025)


def test_a_closed_gate_leads_to_differences_and_says_so() -> None:
    found = SurrogateObjective(program(), FunctionObjective(twisted, START, derivatives=_slopes))
    # At the start the walls contribute 1.2 and 2.7, squared, and the valley floor 0.44 * 10.
    assert found.gate.ratio == pytest.approx((4.4**2 + 2.7**2) / (4.4**2 + 2.2**2))
    closed = found.gated(0.05)
    assert not closed.gate.is_open
    notes = []
    result = LeastSquaresOptimizer().optimize(closed, observers=[lambda step: notes.append(step.note)])
    assert set(result.jac_mode.values()) != {"exact"}
    assert all("forward differences" in mode for mode in result.jac_mode.values())
    assert result.n_difference_evaluations > 0
    assert result.success
    assert_allclose(result.final_params, [1.0, 1.0], atol=1e-6)
    first = closed.evaluate(closed.parameters.flat, closed.initial_state(), derivatives=False)
    assert first.note == f"derivatives {closed.gate}"
    assert "the ratio of the scores at the start, 1.101, is outside 0.95 to 1.05" in first.note
    again = closed.evaluate(closed.parameters.flat, first.state, derivatives=False)
    assert again.note == ""


def _slopes(p):
    return np.array([[-20.0 * p["x"], 10.0], [-1.0, 0.0]])


def test_the_gate_looks_where_the_fit_starts() -> None:
    # On the valley floor at x = 2 the scores are 1 and 1/4.
    objective = SurrogateObjective(program(), FunctionObjective(twisted, START, derivatives=_slopes))
    assert objective.gate.is_open
    parameters = objective.parameters.replace({"x": 2.0, "y": 4.0})
    result = LeastSquaresOptimizer().optimize(Problem(objective, parameters))
    assert all("differences" in mode for mode in result.jac_mode.values())
    assert_allclose(result.final_params, [1.0, 1.0], atol=1e-6)


def test_states_are_kept_side_by_side() -> None:
    # The target of this objective changes once x has passed 1/2; only then do both states know.
    found = SurrogateObjective(Switching(), Switching())
    first = found.initial_state()
    assert (first.scoring, first.derivatives) == (1.0, 1.0)
    trial = found.evaluate(np.array([0.9]), first, derivatives=True)
    assert trial.is_stale
    assert trial.note == "the target has changed"
    assert (trial.state.scoring, trial.state.derivatives) == (3.0, 3.0)
    value_only = found.evaluate(np.array([0.9]), first, derivatives=False)
    assert (value_only.state.scoring, value_only.state.derivatives) == (3.0, 1.0)
    same = found.evaluate(np.array([0.9]), first, derivatives=True)
    assert_array_equal(same.residuals, trial.residuals)
    result = LeastSquaresOptimizer().optimize(found)
    assert_allclose(result.final_params, [3.0 / 1.01])


def test_scalars_take_the_gradient() -> None:
    def scoring(p):
        return float((p["x"] - 2.0) ** 2 + 3.0)

    lent = ScalarObjective(lambda p: (p["x"] - 2.0) ** 2 + 3.0, {"x": 0.0})
    found = SurrogateObjective(ScalarObjective(scoring, {"x": 0.0}, derivatives="differences"), lent)
    result = ScipyOptimizer("L-BFGS-B", jac="auto").optimize(found)
    assert result.x["x"] == pytest.approx(2.0, abs=1e-5)
    assert result.final_score == pytest.approx(3.0)


def test_derivatives_that_fail_make_the_point_a_failed_one() -> None:
    lent = OneVariable(3.0, _fails_below_one, size=2)
    scoring = FunctionObjective(lambda p: np.array([p["x"], 1.0]), {"x": 3.0}, derivatives="differences", name="f")
    found = SurrogateObjective(scoring, lent)
    failed = found.evaluate(np.array([0.5]), found.initial_state(), derivatives=True)
    assert np.isnan(failed.cost)
    assert failed.failure == "derivatives of the other objective: no minimum"
    assert found.evaluate(np.array([0.5]), found.initial_state(), derivatives=False).cost == pytest.approx(0.625)
    # The fit ends where there still are derivatives, and does not claim a minimum.
    result = LeastSquaresOptimizer().optimize(found)
    assert result.final_score < result.initial_score
    assert not result.success


def _fails_below_one(x, derivatives):
    from fieldfit.objectives import Evaluation
    from fieldfit.objectives.objective import evaluation_from_residuals

    if x < 1.0:
        return Evaluation(np.nan, failure="no minimum")
    return evaluation_from_residuals(np.array([x, 1.0]), np.array([[1.0], [0.0]]) if derivatives else None)


def test_a_start_that_cannot_be_scored_closes_the_gate() -> None:
    found = SurrogateObjective(OneVariable(0.5, _fails_below_one, size=2), OneVariable(0.5, _fails_below_one, size=2))
    assert not found.gate.is_open
    assert found.gate.reason == "the scores at the start cannot be compared: no minimum"
    with pytest.raises(EvaluationError, match="cannot be evaluated at the start"):
        LeastSquaresOptimizer().optimize(found)


def test_misleading_derivatives_never_give_a_result_worse_than_the_start_nor_success() -> None:
    # Slopes of the wrong sign at the right score: every step is uphill.
    lent = FunctionObjective(rosenbrock_residuals, START, derivatives=lambda p: -_slopes(p))
    result = LeastSquaresOptimizer().optimize(SurrogateObjective(program(), lent))
    assert result.final_score <= result.initial_score
    assert not result.success


def test_a_score_of_zero_on_both_sides_is_agreement() -> None:
    at_minimum = {"x": 1.0, "y": 1.0}
    lent = FunctionObjective(rosenbrock_residuals, at_minimum, derivatives=_slopes)
    assert SurrogateObjective(program(start=at_minimum), lent).gate.ratio == 1.0
    other = FunctionObjective(twisted, at_minimum, derivatives=_slopes)
    assert not SurrogateObjective(program(start=at_minimum), other).gate.is_open


def test_objectives_of_different_things_are_refused() -> None:
    with pytest.raises(ParameterError, match="different parameters: y, z differ"):
        SurrogateObjective(program(), FunctionObjective(lambda p: p["x"] * p["z"], {"x": 1.0, "z": 1.0}))
    with pytest.raises(ParameterError, match="different parameters: the order differ"):
        SurrogateObjective(program(), FunctionObjective(lambda p: p["x"] * p["y"], {"y": 1.0, "x": 1.0}))
    with pytest.raises(ParameterError, match="different residuals"):
        SurrogateObjective(program(), FunctionObjective(lambda p: p["x"] * p["y"], START, name="other"))


@pytest.mark.parametrize("tolerance", [0.0, -0.1, np.nan, np.inf])
def test_a_tolerance_that_is_not_positive_is_refused(tolerance) -> None:
    with pytest.raises(SettingsError, match="Give a positive number, or None"):
        SurrogateObjective(program(), rosenbrock(), ratio_tol=tolerance)


def test_an_objective_without_derivatives_lends_none() -> None:
    with pytest.raises(SettingsError, match="no derivatives to lend"):
        SurrogateObjective(program(), program())


def test_a_fit_goes_on_from_its_state(surrogate) -> None:
    parameters = surrogate.parameters.replace({"x": 0.5, "y": 0.0})
    state = SurrogateState(None, None)
    result = LeastSquaresOptimizer().optimize(Problem(surrogate, parameters, state=state))
    assert isinstance(result.state, SurrogateState)
    assert dataclasses.astuple(result.state) == (None, None, False)
    assert isinstance(surrogate.parameters, Parameters)
