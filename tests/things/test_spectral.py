"""Scales of modes by their numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import ParameterError, SettingsError
from fieldfit.things import SpectralScale
from some_things import Polynomial

MODES = [(0, 0, 0), (1, 0, 0), (2, -1, 0), (3, 2, 1)]


@pytest.mark.parametrize(
    ("order", "norms"),
    [(1, [0.0, 1.0, 3.0, 6.0]), (2, [0.0, 1.0, 5.0**0.5, 14.0**0.5]), (np.inf, [0.0, 1.0, 2.0, 3.0])],
)
def test_scales_fall_exponentially_with_the_norm_of_the_mode(order, norms) -> None:
    expected = np.exp(-0.7 * np.array(norms)) / np.exp(-0.7)
    assert_allclose(SpectralScale(0.7, order).of_modes(MODES), expected, rtol=1e-14)


def test_no_scale_is_below_the_smallest() -> None:
    assert_allclose(SpectralScale(5.0, np.inf, 0.01).of_modes([(9, 0, 0)]), [0.01])


def test_what_is_no_mode_has_the_scale_one() -> None:
    scales = SpectralScale(1.2).of_thing(Polynomial([1.0, 2.0, 3.0]))
    assert_allclose(scales["scale"], 1.0)
    assert_allclose(scales["coefficients"], np.exp(-1.2 * np.array([-1.0, 0.0, 1.0])))


def test_mode_numbers_are_one_per_element() -> None:
    class Short(Polynomial):
        mode_numbers = {"coefficients": [(0, 0, 0)]}  # noqa: RUF012

    with pytest.raises(ParameterError, match="2 elements"):
        SpectralScale().of_thing(Short([1.0, 2.0]))


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"order": 3}, {"smallest": 0.0}])
def test_rules_that_cannot_be_are_refused(options) -> None:
    with pytest.raises(SettingsError, match="ess_"):
        SpectralScale(**options)
