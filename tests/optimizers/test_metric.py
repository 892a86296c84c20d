import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_allclose, assert_array_equal
from problems import ALL

from fieldfit import LeastSquaresOptimizer, Parameter, Parameters, ScalarObjective
from fieldfit.errors import SettingsError
from fieldfit.optimizers.metric import FIXED, METRICS, first_lengths, next_lengths
from fieldfit.optimizers.scalar_trust_region import TrustRegionOptimizer
from fieldfit.problem import Problem, Recorder
from toys import rosenbrock, vector_objective

lengths = st.lists(st.floats(0.0, 1e6), min_size=3, max_size=3).map(np.array)


def test_each_metric_by_hand():
    suggested, before = np.array([1.0, 4.0, 0.0]), np.array([2.0, 3.0, 8.0])
    expected = {"largest": [2.0, 4.0, 8.0], "fading": [1.0, 4.0, 4.0], "current": suggested, "fixed": before}
    for metric, D in expected.items():
        assert_array_equal(next_lengths(metric, suggested, before, kept=0.5), D)


def test_a_fixed_metric_is_round_and_has_the_unit_of_the_residuals():
    # The root mean square of 3 and 4.
    assert_allclose(first_lengths(FIXED, np.array([3.0, 4.0])), np.full(2, 12.5**0.5))
    assert_array_equal(first_lengths(FIXED, np.zeros(2)), np.ones(2))


@given(steep=lengths, flat=lengths)
@settings(deadline=None)
def test_a_fading_metric_forgets_a_steep_start(steep, flat):
    D = first_lengths("fading", steep)
    for _ in range(200):
        D = next_lengths("fading", flat, D, kept=0.5)
    assert_allclose(D, flat, atol=1e-12)


@given(first=lengths, second=lengths, metric=st.sampled_from(sorted(METRICS)), factor=st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_metrics_do_not_depend_on_the_unit_of_the_residuals(first, second, metric, factor):
    D = next_lengths(metric, second, first_lengths(metric, first), kept=0.9)
    scaled = next_lengths(metric, factor * second, first_lengths(metric, factor * first), kept=0.9)
    if metric != FIXED or np.any(first > 1e-150):
        assert_allclose(scaled, factor * D, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_finds_the_minimum(metric):
    result = LeastSquaresOptimizer(metric=metric).optimize(rosenbrock())
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-10)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_finds_a_minimum_on_bounds(metric):
    result = LeastSquaresOptimizer(metric=metric).optimize(rosenbrock(lower=(-2.0, -2.0), upper=(0.5, 2.0)))
    assert_allclose([result.x["x"], result.x["y"]], [0.5, 0.25], rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_finds_the_minimum_of_a_scalar(metric):
    objective = ScalarObjective(
        lambda p: 100.0 * (p["y"] - p["x"] ** 2) ** 2 + (1.0 - p["x"]) ** 2, {"x": -1.2, "y": 1.0}
    )
    result = TrustRegionOptimizer(metric=metric).optimize(objective)
    assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-6)


def first_step(scales, metric):
    """Where the first trial of a steep linear problem goes: the radius is small, so it is steepest descent in D x."""
    J = np.diag([1.0, 10.0])
    parameters = Parameters([Parameter("x", [1.0, 1.0], scale=scales)])
    objective = vector_objective(lambda x: (J @ x, J), [1.0, 1.0])
    recorder = Recorder(Problem(objective, parameters).vector(), ())
    optimizer = LeastSquaresOptimizer(metric=metric, initial_radius=1e-4)
    state = optimizer.init(recorder, recorder.evaluate(recorder.x0, recorder.initial_state()))
    return optimizer.step(recorder, state).x * scales - 1.0


def test_a_step_in_a_fixed_metric_is_that_of_the_scales():
    # Minimising g.p with ||p / s|| <= Delta: p is along -s^2 g, here with g = J^T J x = (1, 100).
    for scales in ([1.0, 1.0], [3.0, 0.1]):
        step = first_step(np.array(scales), "fixed")
        expected = np.array([1.0, 100.0]) * np.array(scales) ** 2
        assert_allclose(step / step[0], expected / expected[0], rtol=1e-2)


def test_scales_do_not_change_a_step_in_the_metric_of_the_columns():
    assert_allclose(first_step(np.array([3.0, 0.1]), "fading"), first_step(np.ones(2), "fading"), rtol=1e-9)


def test_brown_and_dennis_takes_few_steps_where_scales_may_shrink():
    # With scales that only grow, others take 282 iterations, and 17 with scales that follow.
    problem = next(entry for entry in ALL if entry.name == "brown-dennis")
    result = TrustRegionOptimizer().optimize(vector_objective(problem.function, problem.start))
    assert problem.is_solved(result.final_score)
    assert result.n_iterations <= 17


@pytest.mark.parametrize("optimizer", [LeastSquaresOptimizer, TrustRegionOptimizer])
def test_an_unknown_metric_is_refused(optimizer):
    with pytest.raises(SettingsError, match="fixed"):
        optimizer(metric="fixd")
