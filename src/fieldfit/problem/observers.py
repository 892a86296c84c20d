"""How an optimizer tells what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fieldfit.typing import Vector


@dataclass(frozen=True, eq=False)
class Step:
    """One turn of an optimizer.

    Args:
        iteration: Number of the turn; 0 is the start.
        n_evaluations: Evaluations so far.
        cost: Cost at the best point so far.
        reduction: Decrease of the cost in this turn; 0 if the step was rejected.
        step_norm: Length of the step in scaled variables.
        optimality: Largest element of the projected gradient in scaled variables.
        is_accepted: Whether the point moved.
        x: Current point, flat and scaled, shape (n,).
        values: The parameters there by name, in physical units.
        note: News: a failed evaluation, a pairing that changed; empty if none.
    """

    iteration: int
    n_evaluations: int
    cost: float
    reduction: float
    step_norm: float
    optimality: float
    is_accepted: bool
    x: Vector
    values: dict[str, np.ndarray]
    note: str = ""


Observer: TypeAlias = Callable[[Step], bool | None]
"""Anything that takes a step; it ends the run by returning True."""
