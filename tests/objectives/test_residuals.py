import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit import Goal
from fieldfit.errors import SettingsError


def test_target_weight_and_normalization_by_hand():
    goal = Goal(target=[1.0, 2.0], weight=[2.0, 1.0], normalization=0.5)
    assert_allclose(goal.residuals(np.array([1.5, 1.0])), [2.0 * 0.5 / 0.5, -1.0 / 0.5])


def test_nothing_given_means_predictions_are_residuals():
    assert_allclose(Goal().residuals(np.array([3.0, -4.0])), [3.0, -4.0])


def test_bounds_count_the_distance_to_the_nearer_one():
    goal = Goal(bounds=(0.0, [1.0, 2.0, 3.0]), weight=2.0)
    assert_allclose(goal.residuals(np.array([-0.5, 1.0, 4.0])), [-1.0, 0.0, 2.0])


@given(st.integers(0, 1000))
def test_jacobian_agrees_with_differences(seed):
    generator = np.random.default_rng(seed)
    prediction, J = generator.normal(size=4), generator.normal(size=(4, 3))
    weight, normalization = generator.uniform(0.5, 2.0, size=4), generator.uniform(0.5, 2.0)
    for goal in (
        Goal(target=generator.normal(size=4), weight=weight, normalization=normalization),
        Goal(bounds=(-0.5, 0.5), weight=weight, normalization=normalization),
    ):
        h = 1e-7
        columns = [(goal.residuals(prediction + h * J[:, k]) - goal.residuals(prediction)) / h for k in range(3)]
        # Linear in the prediction except at a kink, which random numbers miss.
        assert_allclose(goal.jacobian(prediction, J), np.stack(columns, axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 1.0, "bounds": (0.0, 2.0)}, "Give one: a value, or a range"),
        ({"bounds": (2.0, 1.0)}, "the lower is above the upper"),
        ({"weight": -1.0}, "weight -1.0"),
        ({"weight": np.inf}, "weight inf"),
        ({"normalization": 0.0}, "normalization 0.0"),
        ({"normalization": np.nan}, "normalization nan"),
    ],
)
def test_impossible_goals_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        Goal(**options)
