"""The L-curve: how strong a prior should be.

A tether of strength s adds s |y|^2 to the score S of the data, y being the parameters' distance from where they are
held, in units of their scales. With growing s the fitted S grows and |y|^2 shrinks. Drawn against each other on
logarithmic axes the two often make an L: along its upright part the tether takes away what the data do not determine,
and S hardly changes; along the flat part it works against the data. The corner is where both are small (Hansen 1992).

With x = log10 S and z = log10 |y|^2 at the strengths of a list, the curvature at an inner point is that of the circle
through it and its neighbours,

    kappa_i = 2 (P_{i+1} - P_i) x (P_{i-1} - P_i) / (|P_{i+1} - P_i| |P_i - P_{i-1}| |P_{i+1} - P_{i-1}|),

positive where the curve is bent like an L (Cultrera, Callegaro 2020). The point of largest curvature is a corner only
if the curve as a whole turns there: the lines from both ends of the curve to it make a turn of at least 30 degrees. A
straight curve has no corner, and none is recommended.

Fits start from the strongest tether, where the answer is next to the start, and each one begins where the one before it
ended.

References:
    Hansen (1992), SIAM Rev. 34, 561, doi:10.1137/1034115.
    Cultrera, Callegaro (2020), IOP SciNotes 1, 025004, doi:10.1088/2633-1357/abad0d.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import AbstractObjective
from fieldfit.parameters import Parameters
from fieldfit.problem import AbstractOptimizer, OptimizationResult, Problem
from fieldfit.typing import Matrix, Vector
from fieldfit.validation.bootstrap import TETHER, is_tether

LEAST_TURN = 30.0
"""Turn of the whole curve at a point that makes it a corner [deg]."""

WIDTH = 120
"""Width of the text below the table."""

FLAT = 1e-3
"""A curve that spans less than this on both axes, in decades, says nothing."""


@dataclass(frozen=True, eq=False)
class LCurvePoint:
    """The fit at one strength of the prior.

    Args:
        strength: Strength of the prior.
        score: Score without the prior; NaN where the fit failed.
        size: Sum of the squared distances from the reference point in units of the scales; NaN likewise.
        curvature: Of the curve there; NaN at its ends.
        converged: Whether the fit converged.
        values: Fitted values of all elements, physical, shape (elements,); empty where the fit failed.
        failure: Why there is no fit; None if there is one.
    """

    strength: float
    score: float
    size: float
    curvature: float
    converged: bool
    values: Vector
    failure: str | None = None


@dataclass(frozen=True, eq=False)
class LCurve:
    """Fits at several strengths of a prior.

    Args:
        points: One per strength, the weakest first.
        recommended: Strength at the corner; None if there is none.
        reason: Why this one, or why none.
    """

    points: tuple[LCurvePoint, ...]
    recommended: float | None
    reason: str

    def __repr__(self) -> str:
        return "\n".join(["L-curve of the prior's strength", *self.table()])

    def table(self) -> list[str]:
        """Return the lines of a table, with the recommendation at its end."""
        lines = [f"  {'strength':>10s} {'score of data':>14s} {'size of tether':>15s} {'curvature':>10s}"]
        for point in self.points:
            mark = "  <- corner" if point.strength == self.recommended else ""
            mark = f"  failed: {point.failure}" if point.failure else mark
            mark += "" if point.converged or point.failure else "  not converged"
            bend = f"{point.curvature:10.3g}" if np.isfinite(point.curvature) else f"{'-':>10s}"
            lines.append(f"  {point.strength:10.3g} {point.score:14.6g} {point.size:15.6g} {bend}{mark}")
        return [*lines, *textwrap.wrap(self.reason, WIDTH, initial_indent="  ", subsequent_indent="  ")]


def l_curve(
    make_objective: Callable[[float], AbstractObjective], optimizer: AbstractOptimizer, strengths: Iterable[float]
) -> LCurve:
    """Fit with several strengths of a prior and find the corner of the L-curve.

    Args:
        make_objective: Objective for a strength; one of its terms is called "prior" and is the strength times the
            size of the tether.
        optimizer: What fits.
        strengths: Strengths of the prior, positive, at least three.

    Returns:
        The points of the curve and the strength at its corner, if it has one.

    Raises:
        SettingsError: Fewer than three strengths, one that is not positive, or an objective without a prior.

    Example:
        >>> import jax.numpy as jnp
        >>> import fieldfit
        >>> from fieldfit.validation import l_curve
        >>> residuals = lambda p: jnp.array([p["a"] - 1.0, 1e-3 * p["b"] - 0.1])
        >>> line = fieldfit.FunctionObjective(residuals, {"a": 0.0, "b": 0.0})
        >>> make = lambda strength: fieldfit.ObjectiveFunction(
        ...     {"data": line, "prior": fieldfit.Prior(line.parameters, strength)}
        ... )
        >>> curve = l_curve(make, fieldfit.LeastSquaresOptimizer(), [1e-8, 1e-4, 1e-2, 1.0])
        >>> [point.score < 1.1 for point in curve.points]
        [True, True, True, True]
    """
    wanted = _checked(strengths)
    fitted: list[LCurvePoint] = []
    values: Vector | None = None
    state: Any = None
    for strength in reversed(wanted):
        objective = make_objective(strength)
        point, found = _fit(objective, optimizer, strength, _start(objective, values), state)
        values, state = (values, state) if found is None else (found.final_params, found.state)
        fitted.append(point)
    return find_corner(tuple(reversed(fitted)))


def find_corner(points: tuple[LCurvePoint, ...]) -> LCurve:
    """Fill in the curvatures of a curve and find its corner.

    Args:
        points: One per strength, the weakest first.

    Returns:
        The curve, with the strength at its corner or the reason why it has none.
    """
    usable = [index for index, point in enumerate(points) if point.score > 0.0 and point.size > 0.0]
    if len(usable) < 3:
        return LCurve(points, None, "No corner: fewer than three fits have a score and a tether that are not zero.")
    curve = np.log10([[points[index].score, points[index].size] for index in usable])
    bends = curvatures(curve)
    filled = list(points)
    for place, index in enumerate(usable):
        filled[index] = _with_curvature(points[index], float(bends[place]))
    best = 1 + int(np.argmax(bends[1:-1]))
    reason = _objection(curve, best, float(bends[best]))
    if reason:
        return LCurve(tuple(filled), None, f"No corner: {reason}")
    strength = points[usable[best]].strength
    return LCurve(tuple(filled), strength, f"Corner at the strength {strength:g}, of those that were tried.")


def curvatures(curve: Matrix) -> Vector:
    """Return the curvature of a polygon at its points, positive where it is bent like an L.

    Args:
        curve: Points (x, z), from the upper left to the lower right, shape (points, 2).

    Returns:
        One over the radius of the circle through a point and its neighbours; NaN at the ends, shape (points,).
    """
    before, at, after = curve[:-2], curve[1:-1], curve[2:]
    u, v = after - at, before - at
    lengths = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1) * np.linalg.norm(after - before, axis=1)
    cross = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    bends = np.divide(2.0 * cross, lengths, out=np.zeros_like(cross), where=lengths > 0.0)
    return np.concatenate([[np.nan], bends, [np.nan]])


def _objection(curve: Matrix, best: int, bend: float) -> str:
    """Return why a point is no corner; empty if it is one."""
    if np.all(np.ptp(curve, axis=0) < FLAT):
        return "neither score nor tether change over these strengths. Try others that are further apart."
    if bend <= 0.0:
        return "the curve is nowhere bent like an L. Try weaker and stronger priors."
    into, out = curve[best] - curve[0], curve[-1] - curve[best]
    cosine = float(into @ out) / float(np.linalg.norm(into) * np.linalg.norm(out))
    turn = float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
    if turn < LEAST_TURN:
        return (
            f"the curve turns by {turn:.0f} degrees at its sharpest bend, which is too round to choose by. Try weaker "
            "and stronger priors, or choose by leaving out a molecule."
        )
    return ""


def _with_curvature(point: LCurvePoint, curvature: float) -> LCurvePoint:
    return LCurvePoint(point.strength, point.score, point.size, curvature, point.converged, point.values, point.failure)


def _checked(strengths: Iterable[float]) -> list[float]:
    wanted = sorted({float(strength) for strength in strengths})
    if len(wanted) < 3 or not (wanted[0] > 0.0 and np.isfinite(wanted[-1])):
        raise SettingsError(
            f"An L-curve over the strengths {wanted} has no corner to find. Give at least three positive "
            "numbers, such as [1e-4, 1e-3, 1e-2, 1e-1, 1]."
        )
    return wanted


def _start(objective: AbstractObjective, values: Vector | None) -> Parameters:
    parameters = objective.parameters
    return parameters if values is None else parameters.replace(parameters.split(values))


def _fit(
    objective: AbstractObjective, optimizer: AbstractOptimizer, strength: float, start: Parameters, state: Any
) -> tuple[LCurvePoint, OptimizationResult | None]:
    if not any(map(is_tether, objective.term_slices())):
        raise SettingsError(
            f"The objective for the strength {strength:g} has no term that is called {TETHER!r}, so there is no tether "
            "whose strength could be chosen. Add one: Prior(parameters, strength)."
        )
    try:
        found = optimizer.optimize(Problem(objective, start, state=state))
    except EvaluationError as error:
        return LCurvePoint(strength, np.nan, np.nan, np.nan, False, np.zeros(0), str(error)), None
    tether = sum(end for name, (_, end) in found.terms.items() if is_tether(name))
    score = sum(end for name, (_, end) in found.terms.items() if not is_tether(name))
    return LCurvePoint(strength, score, tether / strength, np.nan, found.success, found.final_params), found
