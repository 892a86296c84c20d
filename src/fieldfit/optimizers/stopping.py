"""What ends a run, shared by the library's own stepped optimizers: checks of options, and the test for a cost of zero.

No relative test is ever met by a cost that falls to zero, which rounding makes a small number instead. Two things tell
it from a small minimum: it is a tiny fraction of the first cost, and the residuals are a tiny fraction of what the
variables contribute to them, D x with D the lengths of the Jacobian's columns. A start far off makes any minimum a tiny
fraction of its cost; what the variables contribute is no such accident. Residuals at the floor of their own rounding
are zero wherever the run began.
"""

from __future__ import annotations

import math

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.problem.verdict import is_at_floor
from fieldfit.typing import Vector

EPS = float(np.finfo(float).eps)

ZERO_COST = EPS**1.5
"""A cost below this fraction of the first one may be zero but for rounding."""

ZERO_RESIDUAL = EPS**0.5
"""Residuals are zero only if they are also below this fraction of what the variables contribute to them."""


def check_stopping(tolerances: dict[str, float | None], maxiter: int) -> None:
    """Refuse tolerances and limits that cannot be.

    Args:
        tolerances: Name to a relative tolerance; None disables it.
        maxiter: Most turns.

    Raises:
        SettingsError: A tolerance is not in [0, 1), or the limit is below 1.
    """
    for name, value in tolerances.items():
        if value is not None and not 0.0 <= value < 1.0:
            raise SettingsError(f"{name} = {value} is not in [0, 1). Give a small number, or None to disable it.")
    if maxiter < 1:
        raise SettingsError(f"maxiter = {maxiter} leaves nothing to do. Give at least 1.")


def check_target(name: str, value: float | None) -> None:
    """Refuse a cost to stop at that is no number.

    Raises:
        SettingsError: It is NaN or infinite.
    """
    if value is not None and not math.isfinite(value):
        raise SettingsError(f"{name} = {value} is no cost that could be reached. Give a number, or None.")


def is_zero(found: Evaluation, x: Vector, first: tuple[Vector, float]) -> bool:
    """Whether a sum of squares is zero but for rounding.

    Args:
        found: Evaluation of the point; without residuals and their Jacobian nothing can be said.
        x: The point, shape (n,).
        first: The start, shape (n,), and its cost.
    """
    x0, first_cost = first
    if found.residuals is None or found.jacobian is None:
        return False
    if is_at_floor(x, found):
        return True
    if not found.cost <= ZERO_COST * first_cost:
        return False
    # The start counts, too: variables may end at zero.
    lengths = np.sqrt(np.einsum("ij,ij->j", found.jacobian, found.jacobian))
    size = math.hypot(*(lengths * x0)) + math.hypot(*(lengths * x))
    return math.sqrt(2.0 * found.cost) <= ZERO_RESIDUAL * size
