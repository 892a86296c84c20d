"""An objective scored by one model, with derivatives from another: steps for a program that has no derivatives.

    residuals r and score    of the scoring objective
    Jacobian J               of the derivative objective, at the same parameters
    gradient                 J^T r; of a scalar that of the derivative objective

Both have the same parameters and the same residuals in the same order. A fit ends where J^T r = 0: the minimum of the
score as far as both models agree there. Which point is the best one is decided by the score alone, and so is whether
the result is better than the start.

The gate. Derivatives of a model that says something else lead nowhere, so both are scored at the start, and the ratio

    score of the derivative objective / score of the scoring objective

must lie within 1 +- `ratio_tol`. Otherwise the gate is closed: the objective then has no derivatives of its own, and
whoever wants some takes differences of the scoring objective.

The two objectives keep states of their own, side by side; both change at accepted points only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError, ParameterError, SettingsError
from fieldfit.objectives.objective import AbstractObjective, Evaluation, ObjectiveTraits, evaluation_from_residuals
from fieldfit.parameters import Parameters
from fieldfit.typing import Vector

RATIO_TOLERANCE = 0.15
"""How far the ratio of the scores may be from one."""


@dataclass(frozen=True)
class Gate:
    """Whether derivatives of another objective are used, and why.

    Args:
        is_open: Whether they are.
        ratio: Score of the derivative objective over that of the scoring objective at the start; NaN where it was not
            asked for or could not be computed.
        reason: Why, in words.
    """

    is_open: bool
    ratio: float
    reason: str

    def __str__(self) -> str:
        used = "of the derivative objective" if self.is_open else "not of the derivative objective"
        return f"{used}: {self.reason}"


@dataclass(frozen=True, eq=False)
class SurrogateState:
    """States of both objectives.

    Args:
        scoring: State of the scoring objective.
        derivatives: State of the derivative objective.
        is_first: Whether nothing has been evaluated yet.
    """

    scoring: Any
    derivatives: Any
    is_first: bool = False


class SurrogateObjective(AbstractObjective):
    """One objective's score with another one's derivatives, if both agree at the start.

    Args:
        scoring: What is to be made small; its own derivatives, if it has any, are not used.
        derivatives: Objective with derivatives, of the same parameters and residuals.
        ratio_tol: How far the ratio of the scores at the start may be from one; None: the gate is always open.
        parameters: The same parameters with other starts; default: those of the scoring objective.

    Raises:
        ParameterError: The objectives differ in parameters or residuals.
        SettingsError: The derivative objective has no derivatives, or the tolerance is not positive.

    Example:
        >>> import fieldfit
        >>> from fieldfit.objectives.surrogate import SurrogateObjective
        >>> program = fieldfit.FunctionObjective(lambda p: p["x"] ** 2 - 2.001, {"x": 1.0}, derivatives="differences")
        >>> model = fieldfit.FunctionObjective(lambda p: p["x"] ** 2 - 2.0, {"x": 1.0})
        >>> objective = SurrogateObjective(program, model)
        >>> round(objective.gate.ratio, 3), objective.gate.is_open
        (0.998, True)
        >>> round(float(fieldfit.LeastSquaresOptimizer().optimize(objective).x["x"]) ** 2, 6)
        2.001
    """

    def __init__(
        self,
        scoring: AbstractObjective,
        derivatives: AbstractObjective,
        *,
        ratio_tol: float | None = RATIO_TOLERANCE,
        parameters: Parameters | None = None,
    ) -> None:
        if ratio_tol is not None and not (ratio_tol > 0.0 and np.isfinite(ratio_tol)):
            raise SettingsError(
                f"The tolerance of the ratio of two scores is {ratio_tol}. Give a positive number, or None to use the "
                "derivatives whatever the scores are."
            )
        if not derivatives.traits.has_derivatives:
            raise SettingsError(
                f"{type(derivatives).__name__} has no derivatives to lend. Give an objective with exact ones, or fit "
                "the scoring objective by itself, by differences."
            )
        _check_alike(scoring, derivatives)
        self.scoring, self.derivatives, self.ratio_tol = scoring, derivatives, ratio_tol
        self._parameters = scoring.parameters if parameters is None else parameters

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return replace(
            self.scoring.traits,
            has_derivatives=self.gate.is_open,
            is_traceable=False,
            derivative_source=str(self.gate),
        )

    @cached_property
    def gate(self) -> Gate:
        """Whether the derivatives are used: both objectives are scored once, when it is first asked for."""
        if self.ratio_tol is None:
            return Gate(True, np.nan, "the ratio of the scores was not asked for")
        values = self.parameters.flat
        scored, failure = _score(self.scoring, values)
        other, other_failure = _score(self.derivatives, values)
        if failure or other_failure:
            return Gate(False, np.nan, f"the scores at the start cannot be compared: {failure or other_failure}")
        ratio = other / scored if scored else 1.0 if other == scored else np.inf
        limits = f"{1.0 - self.ratio_tol:g} to {1.0 + self.ratio_tol:g}"
        is_open = abs(ratio - 1.0) <= self.ratio_tol
        place = "within" if is_open else "outside"
        return Gate(is_open, ratio, f"the ratio of the scores at the start, {ratio:.4g}, is {place} {limits}")

    def gated(self, ratio_tol: float | None) -> SurrogateObjective:
        """Return the same with another tolerance of the gate."""
        return SurrogateObjective(self.scoring, self.derivatives, ratio_tol=ratio_tol, parameters=self._parameters)

    def for_parameters(self, parameters: Parameters) -> SurrogateObjective:
        prepared = (each.for_parameters(parameters) for each in (self.scoring, self.derivatives))
        return SurrogateObjective(*prepared, ratio_tol=self.ratio_tol, parameters=parameters)

    def initial_state(self) -> SurrogateState:
        return SurrogateState(self.scoring.initial_state(), self.derivatives.initial_state(), is_first=True)

    def evaluate(self, values: Vector, state: SurrogateState, *, derivatives: bool) -> Evaluation:
        scored = self.scoring.evaluate(values, state.scoring, derivatives=False)
        news = "" if self.gate.is_open or not state.is_first else f"derivatives {self.gate}"
        if not (derivatives and self.gate.is_open) or scored.failure or not np.isfinite(scored.cost):
            return replace(
                scored,
                state=SurrogateState(scored.state, state.derivatives),
                note="; ".join(filter(None, (scored.note, news))),
            )
        return _joined(scored, self.derivatives.evaluate(values, state.derivatives, derivatives=True))

    def term_slices(self) -> Mapping[str, slice]:
        return self.scoring.term_slices()


def _joined(scored: Evaluation, lent: Evaluation) -> Evaluation:
    """Return the score of one evaluation with the derivatives of another."""
    rest: dict[str, Any] = {
        "state": SurrogateState(scored.state, lent.state),
        "is_stale": scored.is_stale or lent.is_stale,
        "note": "; ".join(dict.fromkeys(note for note in (scored.note, lent.note) if note)),
        "n_differences": scored.n_differences + lent.n_differences,
        "columns": lent.columns,
    }
    if lent.failure or not lent.is_finite:
        reason = lent.failure or "they are not finite"
        return Evaluation(np.nan, failure=f"derivatives of the other objective: {reason}", **rest)
    if scored.residuals is None:
        return Evaluation(scored.cost, gradient=lent.gradient, **rest)
    return evaluation_from_residuals(scored.residuals, lent.jacobian, **rest)


def _score(objective: AbstractObjective, values: Vector) -> tuple[float, str]:
    """Return the score at given values of all elements, and why there is none; empty if there is one."""
    try:
        found = objective.evaluate(values, objective.initial_state(), derivatives=False)
    except EvaluationError as error:
        return np.nan, str(error)
    if found.failure or not np.isfinite(found.cost):
        return np.nan, found.failure or "a score is not finite"
    return found.score, ""


def _check_alike(scoring: AbstractObjective, derivatives: AbstractObjective) -> None:
    """Make sure that two objectives speak of the same parameters and residuals.

    Raises:
        ParameterError: They do not.
    """
    shapes = [{entry.name: entry.shape for entry in each.parameters} for each in (scoring, derivatives)]
    if list(shapes[0].items()) != list(shapes[1].items()):
        differing = sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()})
        raise ParameterError(
            f"Score and derivatives come from objectives of different parameters: {', '.join(differing) or 'the order'}"
            " differ. Make both from the same parameters."
        )
    slices = [each.term_slices() for each in (scoring, derivatives)]
    if slices[0] != slices[1] or scoring.traits.has_residuals != derivatives.traits.has_residuals:
        raise ParameterError(
            f"Score and derivatives come from objectives of different residuals: {slices[0]} and {slices[1]}. "
            "Give both the same references."
        )
