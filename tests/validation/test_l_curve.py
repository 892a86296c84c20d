"""The L-curve: geometry of curves that are known, and a prior on an ill-posed problem."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.linalg
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, LeastSquaresOptimizer, ObjectiveFunction, Parameter, Parameters, Prior
from fieldfit.errors import SettingsError
from fieldfit.validation import LCurvePoint, l_curve
from fieldfit.validation.l_curve import curvatures, find_corner
from toys import Watched

OPTIMIZER = LeastSquaresOptimizer()


def points(scores, sizes) -> tuple[LCurvePoint, ...]:
    return tuple(
        LCurvePoint(10.0 ** (index - 5), score, size, np.nan, True, np.zeros(1))
        for index, (score, size) in enumerate(zip(scores, sizes, strict=True))
    )


def test_the_curvature_of_a_circle_is_one_over_its_radius() -> None:
    angles = np.radians([180.0, 190.0, 215.0, 240.0, 262.0, 270.0])
    curve = 2.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # Counter-clockwise, from the left to the bottom: bent like an L.
    assert_allclose(curvatures(curve)[1:-1], 1.0 / 2.5, rtol=1e-12)
    assert np.all(np.isnan(curvatures(curve)[[0, -1]]))
    assert_allclose(curvatures(curve[::-1])[1:-1], -1.0 / 2.5, rtol=1e-12)


def test_the_corner_of_an_l_is_found() -> None:
    found = find_corner(points([1.0, 1.01, 1.02, 1.5, 15.0, 150.0], [1e6, 1e4, 1e2, 1.0, 0.9, 0.8]))
    assert found.recommended == pytest.approx(1e-2)
    assert "<- corner" in str(found)


@pytest.mark.parametrize(
    ("scores", "sizes", "reason"),
    [
        ([1.0, 10.0, 100.0, 1000.0], [1e3, 1e2, 1e1, 1.0], "bent|turns"),
        ([1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], "neither"),
        ([1.0, 9.0, 10.0, 10.0], [10.0, 9.0, 1.0, 0.1], "nowhere bent"),
        ([np.nan, 1.0, 2.0, np.nan], [1.0, 1.0, 1.0, 1.0], "fewer than three"),
        ([1.0, 8.0, 90.0, 1000.0], [1e3, 1e2, 1e1, 1.0], "turns by"),
    ],
)
def test_a_curve_without_a_corner_recommends_nothing(scores, sizes, reason) -> None:
    found = find_corner(points(scores, sizes))
    assert found.recommended is None
    assert re.search(reason, found.reason)


HILBERT = scipy.linalg.hilbert(8)
TRUTH = np.ones(8)
NOISE = 1e-4
SIGNAL = HILBERT @ TRUTH + np.random.default_rng(5).normal(0.0, NOISE, 8)


def ill_posed() -> FunctionObjective:
    """The 8 x 8 Hilbert matrix, whose condition is 1.5e10, with noise of 1e-4."""
    parameters = Parameters([Parameter("x", np.zeros(8), scale=1.0)])
    return FunctionObjective(lambda p: HILBERT @ p["x"] - SIGNAL, parameters, derivatives=lambda p: HILBERT)


def tethered(strength: float) -> ObjectiveFunction:
    data = ill_posed()
    return ObjectiveFunction({"data": data, "prior": Prior(data.parameters, strength)})


def test_points_are_those_of_tikhonov_regularization() -> None:
    strengths = [1e-8, 1e-5, 1e-2]
    curve = l_curve(tethered, OPTIMIZER, strengths)
    for strength, point in zip(strengths, curve.points, strict=True):
        # The normal equations of Tikhonov.
        x = np.linalg.solve(HILBERT.T @ HILBERT + strength * np.eye(8), HILBERT.T @ SIGNAL)
        assert point.strength == strength
        assert_allclose(point.score, np.sum((HILBERT @ x - SIGNAL) ** 2), rtol=1e-4)
        assert_allclose(point.size, x @ x, rtol=1e-4)


def test_the_corner_gives_a_far_smaller_error_than_the_ends() -> None:
    curve = l_curve(tethered, OPTIMIZER, 10.0 ** np.arange(-16.0, 3.0, 1.0))
    errors = {point.strength: np.linalg.norm(point.values - TRUTH) for point in curve.points}
    assert curve.recommended is not None
    assert errors[curve.recommended] < 0.001 * errors[min(errors)]
    assert errors[curve.recommended] < 0.5 * errors[max(errors)]


def test_each_fit_starts_where_the_stronger_one_ended() -> None:
    starts = {}

    def watched(strength: float) -> Watched:
        starts[strength] = Watched(tethered(strength))
        return starts[strength]

    curve = l_curve(watched, OPTIMIZER, [1e-6, 1e-2, 1e-4])
    assert list(starts) == [1e-2, 1e-4, 1e-6]
    assert [point.strength for point in curve.points] == [1e-6, 1e-4, 1e-2]
    assert_allclose(starts[1e-4].seen[0], curve.points[2].values)
    assert_allclose(starts[1e-6].seen[0], curve.points[1].values)


def test_a_fit_that_fails_is_reported_and_passed_over() -> None:
    def fragile(strength: float) -> Watched:
        return Watched(tethered(strength), fails=lambda values: strength == 1e-4)

    curve = l_curve(fragile, OPTIMIZER, [1e-6, 1e-4, 1e-2])
    assert [point.failure is None for point in curve.points] == [True, False, True]
    assert "fell apart" in str(curve)
    assert curve.recommended is None


@pytest.mark.parametrize("strengths", [[1.0, 2.0], [0.0, 1.0, 2.0], [1.0, 2.0, np.inf], [1.0, 1.0, 1.0]])
def test_strengths_that_make_no_curve_are_refused(strengths) -> None:
    with pytest.raises(SettingsError, match="three positive"):
        l_curve(tethered, OPTIMIZER, strengths)


def test_an_objective_without_a_prior_is_refused() -> None:
    with pytest.raises(SettingsError, match="'prior'"):
        l_curve(lambda strength: ill_posed(), OPTIMIZER, [1.0, 2.0, 3.0])
