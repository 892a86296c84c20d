import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, Parameter, Parameters, Problem, ScalarObjective
from fieldfit.diagnostics.sensitivity import rank_by_sensitivity
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.problem import Budget, Recorder
from fieldfit.problem.recorder import Interruption
from fieldfit.problem.sensitivity import compute_exact_sensitivity, compute_sensitivity, measure_sensitivity
from toys import Watched, rosenbrock, rosenbrock_residuals, vector_objective


def score(x, y):
    f = rosenbrock_residuals({"x": x, "y": y})
    return f @ f


def quadratic(lower=-np.inf, upper=np.inf, start=1.0):
    """2 x^2 + 3 x + 1 as a scalar: slope 4 x + 3, curvature 4."""
    parameter = Parameter("x", start, lower=lower, upper=upper)
    return ScalarObjective(lambda p: 2.0 * p["x"] ** 2 + 3.0 * p["x"] + 1.0, Parameters([parameter]))


def test_figures_are_those_of_their_definition():
    steps = np.array([0.1, 0.2])
    found = compute_sensitivity(rosenbrock(), step_sizes=steps)
    here, up, down = score(-1.2, 1.0), score(-1.1, 1.0), score(-1.3, 1.0)
    assert_allclose(found.d1[0], (up - down) / 2.0, rtol=1e-12)
    assert_allclose(found.d2[0], up + down - 2.0 * here, rtol=1e-12)
    assert_allclose(found.simp_var, found.d2 / found.d1**2, rtol=1e-12)
    assert_allclose(found.abs_d1, np.abs(found.d1))
    assert_allclose(found.step_sizes, steps)
    assert found.labels == ("x", "y")


def test_evaluations_are_counted_and_two_per_variable():
    objective = Watched(rosenbrock())
    found = compute_sensitivity(objective)
    assert found.n_evaluations == len(objective.seen) == 5
    assert not any(objective.asked_for_derivatives)


def test_ranking_by_both_metrics():
    # Slopes of the score 20, 6, 0 and curvatures 200, 2, 2: simp_var 1/2, 1/18 and infinite.
    weight, away = np.array([10.0, 1.0, 1.0]), np.array([-0.9, 2.0, -1.0])
    objective = vector_objective(lambda x: (weight * (x + away), np.diag(weight)), np.ones(3))
    assert list(compute_sensitivity(objective, metric="abs_d1").ranking) == [0, 1, 2]
    found = compute_sensitivity(objective)
    assert list(found.ranking) == [1, 0, 2]
    assert_allclose(found.simp_var, [1.0 / 2.0, 1.0 / 18.0, np.inf], rtol=1e-6)


def test_what_rounding_makes_ranks_no_variable():
    # The second variable changes the last digit of a large constant only.
    noisy = ScalarObjective(lambda p: 1e6 + p["x"] ** 2 + 1e-16 * jnp.sin(1e9 * p["y"]), {"x": 1.0, "y": 1.0})
    found = compute_sensitivity(noisy)
    assert list(found.ranking) == [0, 1]
    assert not found.is_concave[1]


def test_ranking_does_not_depend_on_the_unit_of_the_score():
    # simp_var 2 / 2^2, 9 / 1.5^2 and 0.
    for factor in (1e12, 1.0, 1e-12):
        scaled = ScalarObjective(
            lambda p, factor=factor: factor * (p["a"] ** 2 + 3.0 * p["b"] ** 4 + p["c"]), {"a": 1.0, "b": 0.5, "c": 2.0}
        )
        assert list(compute_sensitivity(scaled).ranking) == [2, 0, 1]


@pytest.mark.parametrize(("lower", "upper"), [(0.995, 9.0), (1.0, 9.0), (-9.0, 1.0), (0.9999, 9.0), (1.0, 1.005)])
def test_bounds_shrink_steps_and_change_no_figure_of_a_parabola(lower, upper):
    free, bounded = compute_sensitivity(quadratic()), Watched(quadratic(lower, upper))
    found = compute_sensitivity(bounded)
    assert_allclose([found.d1[0], found.d2[0]], [free.d1[0], free.d2[0]], rtol=1e-6)
    assert np.all((np.array(bounded.seen) >= lower) & (np.array(bounded.seen) <= upper))
    assert found.n_evaluations == 3


def test_closed_bounds_take_no_evaluation_and_come_last():
    parameters = Parameters([Parameter("shut", 1.0, lower=1.0, upper=1.0), Parameter("open", 1.0)])
    found = compute_sensitivity(FunctionObjective(lambda p: p["shut"] + p["open"], parameters))
    assert found.n_evaluations == 3
    assert list(found.ranking) == [1, 0]


def test_failures_and_negative_curvature_are_flagged():
    found = compute_sensitivity(ScalarObjective(lambda p: -(p["x"] ** 2) + 0.0 * p["y"] ** 0.5, {"x": 1.0, "y": 0.0}))
    assert found.is_concave[0]
    assert np.isnan(found.d1[1])
    assert list(found.ranking) == [0, 1]
    assert "negative curvature" in repr(found)
    assert "could not be evaluated" in repr(found)


def test_exact_figures_agree_with_differences_where_residuals_are_linear():
    J = np.array([[1.0, 2.0, 0.0], [3.0, 0.1, 1.0], [0.5, 0.5, 2.0]])
    objective = Watched(vector_objective(lambda x: (J @ x - 1.0, J), [1.0, 2.0, 3.0]))
    exact, found = compute_exact_sensitivity(objective), compute_sensitivity(objective)
    assert exact.n_evaluations == 1
    assert exact.source == "Gauss-Newton"
    assert_allclose(exact.d1, found.d1, rtol=1e-9)
    # Second differences lose digits: EPS * score / d2.
    assert_allclose(exact.d2, found.d2, rtol=1e-6)
    assert list(exact.ranking) == list(found.ranking)


def test_exact_figures_need_a_jacobian():
    with pytest.raises(SettingsError, match="has no residuals"):
        compute_exact_sensitivity(quadratic())
    with pytest.raises(SettingsError, match="has no exact derivatives"):
        compute_exact_sensitivity(FunctionObjective(lambda p: p["x"], {"x": 1.0}, derivatives="differences"))


def test_a_run_counts_the_evaluations_and_its_budget_ends_them():
    recorder = Recorder(Problem(rosenbrock()).vector(), [Budget(evaluations=3)])
    start = recorder.evaluate(recorder.x0, None, derivatives=False)
    with pytest.raises(Interruption):
        measure_sensitivity(recorder, recorder.x0, start)
    assert recorder.n_evaluations == 3


def test_workers_give_the_same_figures():
    serial, parallel = (compute_sensitivity(rosenbrock(), executor=choice) for choice in (None, "threads:2"))
    assert_allclose(serial.d1, parallel.d1, rtol=0.0)


def test_steps_follow_the_scales():
    parameters = Parameters([Parameter("x", -1.2, scale=100.0), Parameter("y", 1.0)])
    found = compute_sensitivity(FunctionObjective(rosenbrock_residuals, parameters, derivatives="differences"))
    assert_allclose(found.step_sizes, [1.0, 0.01])


def test_arguments_are_checked():
    with pytest.raises(SettingsError, match="Did you mean 'simp_var'"):
        compute_sensitivity(rosenbrock(), metric="simpvar")
    with pytest.raises(SettingsError, match="step_sizes"):
        compute_sensitivity(rosenbrock(), step_sizes=np.array([0.1]))
    with pytest.raises(EvaluationError, match="fell apart"):
        compute_sensitivity(Watched(rosenbrock(), fails=lambda values: True))


def test_table_has_one_line_per_variable():
    found = rank_by_sensitivity(("a", "b"), np.array([1.0, 0.0]), np.array([2.0, 1.0]), np.ones(2), metric="simp_var")
    assert len(repr(found).splitlines()) == 4
