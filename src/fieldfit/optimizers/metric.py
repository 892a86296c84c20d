"""The metric of a trust region: by which lengths D_j the variables are measured.

A trust region is a ball in D x. The derivatives at a point suggest D: the length ||J_:,j|| of each column of the
Jacobian for a sum of squares, sqrt(|H_jj|) for a scalar. Then a move of one in D_j x_j changes the residuals, or the
root of the cost, by about one, whatever the unit of x_j. They change from point to point, and there are four ways to
follow them:

    largest   the largest so far. A variable that was ever stiff is kept from moving far (More 1978), which leads
              along narrow valleys, but one steep start slows the whole run down
    fading    those of the point, but at least a given fraction of the last D: the largest, but a steep start is
              forgotten in time, and an element that passes through zero does not set its variable free
    current   those of the point alone
    fixed     one number for all variables, for ever: the ball is round in the variables of the problem, that is, in
              units of the scales that its parameters have. The number is the root mean square of the first lengths,
              so that D x keeps the unit of the residuals

References:
    More (1978), The Levenberg-Marquardt algorithm: implementation and theory, doi:10.1007/BFb0067700.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector

FIXED = "fixed"


def check_metric(metric: str) -> None:
    """Refuse a metric that there is not.

    Raises:
        SettingsError: It is none of `METRICS`.
    """
    if metric not in METRICS:
        raise SettingsError(unknown_name("metric", metric, METRICS))


def first_lengths(metric: str, suggested: Vector) -> Vector:
    """Return D at the start.

    Args:
        metric: One of `METRICS`.
        suggested: Lengths by the derivatives there, at least 0, shape (n,).
    """
    if metric != FIXED:
        return suggested
    # A start where nothing is felt gives no unit; any other does.
    return np.full_like(suggested, math.sqrt(float(suggested.dot(suggested)) / suggested.size) or 1.0)


def next_lengths(metric: str, suggested: Vector, before: Vector, *, kept: float) -> Vector:
    """Return D at an accepted point.

    Args:
        metric: One of `METRICS`.
        suggested: Lengths by the derivatives there, at least 0, shape (n,).
        before: D at the accepted point before, shape (n,).
        kept: Least fraction of a length that "fading" keeps.
    """
    return METRICS[metric](suggested, before, kept)


METRICS: Mapping[str, Callable[[Vector, Vector, float], Vector]] = {
    "largest": lambda suggested, before, kept: np.maximum(suggested, before),
    "fading": lambda suggested, before, kept: np.maximum(suggested, kept * before),
    "current": lambda suggested, before, kept: suggested,
    FIXED: lambda suggested, before, kept: before,
}
"""Name to the rule that makes D from what derivatives suggest, from the D before, and from the fraction kept."""
