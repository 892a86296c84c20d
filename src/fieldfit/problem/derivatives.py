"""Finite differences inside bounds, for objectives without derivatives of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from fieldfit.typing import Vector

FORWARD_STEP = float(np.finfo(float).eps ** 0.5)
"""Relative step of a forward difference in scaled variables (Nocedal, Wright 2006, section 8.1)."""


def difference_derivatives(
    function: Callable[[Vector], Float[np.ndarray, " m"]],
    x: Vector,
    value: Float[np.ndarray, " m"],
    *,
    lower: Vector,
    upper: Vector,
) -> Float[np.ndarray, "m n"]:
    """Differentiate a vector function by one-sided differences that stay inside the bounds.

    Args:
        function: Takes x, shape (n,), and returns an array of shape (m,).
        x: Point inside the bounds, shape (n,).
        value: The function there, shape (m,).
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).

    Returns:
        Derivatives, shape (m, n).
    """
    derivatives = np.zeros((value.size, x.size))
    for index in range(x.size):
        step = FORWARD_STEP * max(1.0, abs(x[index]))
        room_above, room_below = upper[index] - x[index], x[index] - lower[index]
        if step > room_above:
            step = -min(step, room_below) if room_below > room_above else room_above
        moved = x.copy()
        moved[index] += step
        taken = moved[index] - x[index]
        if taken != 0.0:
            derivatives[:, index] = (function(moved) - value) / taken
    return derivatives
