"""How an optimizer tells what it does, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fieldfit.errors import SettingsError
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
        optimality: Largest element of the projected gradient in scaled variables; NaN where there is no gradient.
        is_accepted: Whether the point moved.
        x: Current point, flat and scaled, shape (n,).
        values: The parameters there in physical units, in the structure in which they were given.
        note: News: a failed evaluation, a pairing that changed; empty if none.
        violation: How far the worst constraint at x is outside its limits, in units of its tolerance; 0 where all hold.
    """

    iteration: int
    n_evaluations: int
    cost: float
    reduction: float
    step_norm: float
    optimality: float
    is_accepted: bool
    x: Vector
    values: Any
    note: str = ""
    violation: float = 0.0


Observer: TypeAlias = Callable[[Step], bool | None]
"""Anything that takes a step; it ends the run by returning True."""


@dataclass(frozen=True)
class Budget:
    """An observer that ends a run when its evaluations or its time are spent, also in the middle of a step.

    Args:
        evaluations: Most evaluations; None: no limit.
        seconds: Longest duration [s], from the first evaluation; None: no limit. An evaluation that is under way is
            not cut short.

    Raises:
        SettingsError: A limit is not positive, or none is given.

    Example:
        >>> import fieldfit
        >>> objective = fieldfit.FunctionObjective(lambda p: p["x"] - 1.0, {"x": 5.0})
        >>> budget = fieldfit.Budget(evaluations=1)
        >>> fieldfit.LeastSquaresOptimizer().optimize(objective, observers=[budget]).message
        'the budget of 1 evaluation is spent'
    """

    evaluations: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.evaluations, self.seconds) if limit is not None]
        if not limits or not all(limit > 0 and not np.isnan(limit) for limit in limits):
            raise SettingsError(
                f"A budget has {self.evaluations} evaluations and {self.seconds} seconds. Give one of them, positive."
            )

    def __call__(self, step: Step) -> None:
        """Take a step; limits are checked at evaluations."""

    def spent(self, n_evaluations: int, seconds: float) -> str | None:
        """Return what is spent, or None if both evaluations and time are left."""
        if self.evaluations is not None and n_evaluations >= self.evaluations:
            return f"the budget of {self.evaluations} evaluation{'s' if self.evaluations > 1 else ''} is spent"
        if self.seconds is not None and seconds >= self.seconds:
            return f"the budget of {self.seconds:g} s is spent"
        return None
