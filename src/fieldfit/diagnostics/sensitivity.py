"""Which variables a score is most sensitive to, and which of them a simplex can still improve.

With f0 the score at a point and f+, f- those after a step in one variable,

    d1 = (f+ - f-) / 2      change of the score by the slope
    d2 = f+ + f- - 2 f0     change of it by the curvature
    simp_var = d2 / d1^2    small where the slope is large and hardly changes over the step

The variables with the smallest `simp_var` are those that Norrby and Liljefors hand to a simplex search between two
passes over all of them. A variable without a slope has nothing to offer and comes last; one with negative curvature
comes first, and its derivatives mislead a method that believes in a minimum.

References:
    Norrby, Liljefors (1998), Automated molecular mechanics parameterization with simultaneous utilization of
        experimental and quantum mechanical data, J. Comput. Chem. 19, 1146.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from fieldfit.errors import SettingsError
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector

METRICS = ("simp_var", "abs_d1")
"""What variables are ranked by: ascending `simp_var`, or descending `abs_d1`."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Sensitivity of a score to each of n variables, for one step in each.

    Args:
        labels: Names of the variables.
        d1: Change of the score by the slope, shape (n,); NaN where it could not be evaluated.
        d2: Change of the score by the curvature, shape (n,).
        simp_var: d2 / d1^2, shape (n,); infinite where d1 is zero or NaN.
        ranking: Indices of the variables, the most sensitive one first, shape (n,).
        metric: What they are ranked by.
        step_sizes: Steps that d1 and d2 are for, shape (n,).
        source: Where the figures come from: "differences" or "Gauss-Newton".
        n_evaluations: Evaluations that they took.
    """

    labels: tuple[str, ...]
    d1: Vector
    d2: Vector
    simp_var: Vector
    ranking: Int[np.ndarray, " n"]
    metric: str
    step_sizes: Vector
    source: str = "differences"
    n_evaluations: int = 0

    @property
    def abs_d1(self) -> Vector:
        """Magnitude of d1, shape (n,)."""
        return np.abs(self.d1)

    @property
    def is_concave(self) -> np.ndarray:
        """Whether the score curves downwards along each variable, shape (n,)."""
        return self.d2 < 0.0

    def __repr__(self) -> str:
        width = max(9, *(len(label) for label in self.labels))
        lines = [
            f"Sensitivity of the score by {self.metric}, from {self.source}",
            f"rank  {'parameter':{width}s} {'step':>10s} {'d1':>11s} {'d2':>11s} {'simp_var':>11s}",
        ]
        for rank, index in enumerate(self.ranking.tolist(), start=1):
            lines.append(
                f"{rank:4d}  {self.labels[index]:{width}s} {self.step_sizes[index]:10.3g} {self.d1[index]:11.3e} "
                f"{self.d2[index]:11.3e} {self.simp_var[index]:11.3e}{self._note(index)}"
            )
        return "\n".join(lines)

    def _note(self, index: int) -> str:
        if np.isnan(self.d1[index]):
            return "  could not be evaluated"
        return "  negative curvature" if self.is_concave[index] else ""


def check_metric(metric: str) -> None:
    """Refuse a metric that is not known.

    Raises:
        SettingsError: It is not one of `METRICS`.
    """
    if metric not in METRICS:
        raise SettingsError(unknown_name("metric of sensitivity", metric, METRICS))


def rank_by_sensitivity(
    labels: Sequence[str], d1: Vector, d2: Vector, step_sizes: Vector, *, metric: str
) -> Sensitivity:
    """Rank variables by what steps in them do to a score.

    Args:
        labels: Names of the variables, n of them.
        d1: Change of the score by the slope, shape (n,).
        d2: Change of the score by the curvature, shape (n,).
        step_sizes: Steps that they are for, shape (n,).
        metric: "simp_var" or "abs_d1".

    Returns:
        The figures and the ranking; equal variables stay in order.

    Raises:
        SettingsError: The metric is not known.
    """
    check_metric(metric)
    has_slope = np.isfinite(d1) & np.isfinite(d2) & (d1 != 0.0)
    simp_var = np.full_like(d1, np.inf)
    with np.errstate(over="ignore"):
        # Dividing twice: the square of a small slope may be zero.
        simp_var[has_slope] = d2[has_slope] / d1[has_slope] / d1[has_slope]
    key = simp_var if metric == "simp_var" else np.where(has_slope, -np.abs(d1), np.inf)
    return Sensitivity(tuple(labels), d1, d2, simp_var, np.argsort(key, kind="stable"), metric, step_sizes)
