"""Which derivatives are used, term by term: exact ones, or finite differences inside the bounds.

Differences are taken in the scaled variables x, only in those that a term feels and only of the terms that need them:
a sum of traced terms and one external program costs n more runs of the program and nothing else. The points of one
derivative are independent tasks for an executor.

Steps are chosen in x and measured in what a variable moves. For a transformed parameter that is its physical value: the
quotient is the derivative with respect to that value, whose exact slope in x the chain rule multiplies it by. Where
linear equalities have taken variables away, differences are in those there were before: a term can be evaluated where
the equalities do not hold.

References:
    Nocedal, Wright (2006), Numerical Optimization, section 8.1, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.execution import Completed, ordered_map
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveFunction, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameters, ParameterSpace, ProjectedSpace, Space, transforms
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector

EPS = float(np.finfo(float).eps)

STEPS = {"forward": EPS ** (1 / 2), "central": EPS ** (1 / 3)}
"""Relative steps in scaled variables that balance truncation against rounding of 64 bits."""

MODES = ("auto", "analytical", None)


@dataclass(frozen=True)
class DerivativeOptions:
    """Which derivatives an optimizer asks for.

    Args:
        jac: "auto": exact ones per term where it has them, differences for the rest. "analytical": exact ones only.
            None: differences throughout.
        method: Of differences: "forward" or "central".
        step: Of differences, in units of each parameter's scale; None: the one that suits rounding of 64 bits.

    Raises:
        SettingsError: An option has a value it cannot have.
    """

    jac: str | None = "auto"
    method: str = "forward"
    step: float | None = None

    def __post_init__(self) -> None:
        if self.jac not in MODES:
            known = [mode for mode in MODES if mode]
            raise SettingsError(unknown_name("derivative mode (jac)", str(self.jac), [*known, "None"]))
        if self.method not in STEPS:
            raise SettingsError(unknown_name("difference method", self.method, STEPS))
        if self.step is not None and not (np.isfinite(self.step) and self.step > 0.0):
            raise SettingsError(
                f"The difference step is {self.step}. Give a positive number in units of the parameters' scales."
            )


def with_differences(
    objective: AbstractObjective,
    space: Space,
    options: DerivativeOptions,
    *,
    executor: Executor | None = None,
    name: str = "",
) -> AbstractObjective:
    """Return the objective with differences in the terms that need them.

    Args:
        objective: A term or a sum of terms.
        space: The variables in which differences are taken.
        options: What is asked for.
        executor: Where the points of a derivative are evaluated; None: here.
        name: Name of the term in messages; default: its own.

    Raises:
        SettingsError: A term has no exact derivatives, but only those are allowed.
    """
    if options.jac is not None and objective.traits.has_derivatives:
        return objective
    if isinstance(objective, ObjectiveFunction):
        terms = objective.terms.items()
        return objective.with_terms(
            {label: with_differences(term, space, options, executor=executor, name=label) for label, term in terms}
        )
    if options.jac == "analytical":
        label = name or ", ".join(objective.term_slices()) or type(objective).__name__
        raise SettingsError(
            f'jac="analytical" was asked for, but the term {label!r} has no exact derivatives. '
            'Write it in JAX, give its Jacobian, or use jac="auto".'
        )
    inner = space.space if isinstance(space, ProjectedSpace) else space
    return DifferencedObjective(objective, inner, options, executor)


def derivative_modes(objective: AbstractObjective) -> dict[str, str]:
    """Return term name to the derivatives in use: "exact", "forward differences" or "central differences".

    Where an objective says more about the source of its derivatives, that follows in brackets.
    """
    if isinstance(objective, ObjectiveFunction):
        return {
            name if len(modes) == 1 else f"{name}.{label}": mode
            for name, term in objective.terms.items()
            for modes in [derivative_modes(term)]
            for label, mode in modes.items()
        }
    is_differenced = isinstance(objective, DifferencedObjective)
    mode = f"{objective.options.method} differences" if is_differenced else "exact"
    source = (objective.objective if is_differenced else objective).traits.derivative_source
    mode += f" ({source})" if source else ""
    return dict.fromkeys(objective.term_slices() or ["objective"], mode)


class DifferencedObjective(AbstractObjective):
    """Another objective, with finite differences for derivatives.

    Args:
        objective: What is evaluated.
        space: The variables in which differences are taken; names those of all terms, this one's among them.
        options: Method and step.
        executor: Where the points of a derivative are evaluated; None: here.
    """

    def __init__(
        self, objective: AbstractObjective, space: ParameterSpace, options: DerivativeOptions, executor: Executor | None
    ) -> None:
        self.objective, self.options = objective, options
        self._executor = executor
        self._moves = _moves(objective.parameters, space)
        entries = [space.parameters[name] for name in objective.parameters.names]
        self._lower = np.concatenate([entry.lower.ravel() for entry in entries])
        self._upper = np.concatenate([entry.upper.ravel() for entry in entries])
        self._step = options.step or STEPS[options.method]

    @property
    def parameters(self) -> Parameters:
        return self.objective.parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return replace(self.objective.traits, is_traceable=False)

    def initial_state(self) -> Any:
        return self.objective.initial_state()

    def term_slices(self) -> Mapping[str, slice]:
        return self.objective.term_slices()

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        found = self.objective.evaluate(values, state, derivatives=False)
        if not derivatives or not np.isfinite(found.cost):
            return found
        steps = [self._steps(move, values) for move in self._moves]
        moved = [move.at(values, step) for move, pair in zip(self._moves, steps, strict=True) for step in pair]
        # Rounding may leave an element one bit outside its bounds.
        points = [np.clip(point, self._lower, self._upper) for point in moved]
        answers = ordered_map(_outputs, [(self.objective, point, state) for point in points], self._executor)
        here = np.atleast_1d(found.cost if found.residuals is None else found.residuals)
        rows, n_used = np.zeros((here.size, values.size)), 0
        for move, pair in zip(self._moves, steps, strict=True):
            part = [_checked(answer, move) for answer in answers[n_used : n_used + len(pair)]]
            n_used += len(pair)
            # The column of one element the variable moves; the chain rule multiplies it by that element's factor.
            rows[:, move.elements[0]] = _slope(here, part, pair) / move.factors[0]
        if found.residuals is None:
            return replace(found, gradient=rows[0], n_differences=len(points))
        rest = {"state": found.state, "is_stale": found.is_stale, "note": found.note, "n_differences": len(points)}
        return evaluation_from_residuals(found.residuals, rows, **rest)

    def _steps(self, move: _Move, values: Vector) -> tuple[float, ...]:
        """Return the steps of what one variable moves: one, or two of opposite sign; none if the bounds are closed."""
        x = move.position(values)
        step = self._step * max(1.0, abs(x))
        above, below = move.upper - x, x - move.lower
        if self.options.method == "central" and min(above, below) >= step:
            pair = move.taken(values, x, step), move.taken(values, x, -step)
            return pair if all(pair) else ()
        if step > above:
            step = -min(step, below) if below > above else above
        taken = move.taken(values, x, step)
        return (taken,) if taken else ()

    def __getstate__(self) -> dict[str, Any]:
        # An executor does not travel; in a worker the points are evaluated one after the other.
        return {**self.__dict__, "_executor": None}


@dataclass(frozen=True, eq=False)
class _Move:
    """What one variable moves.

    Args:
        label: Of the variable.
        elements: Those of the term that it moves, by index.
        factors: Their changes per unit of x, or of the physical value of a transformed variable.
        lower: Lower bound of x.
        upper: Upper bound of x.
        curve: Name of its transform and its curve; None if it is varied as it is.
    """

    label: str
    elements: np.ndarray
    factors: Vector
    lower: float
    upper: float
    curve: tuple[str, transforms.Curve] | None = None

    def position(self, values: Vector) -> float:
        """Return x of the variable."""
        y = values[self.elements[0]] / self.factors[0]
        return float(y if self.curve is None else transforms.variables(*self.curve, np.array([y]))[0])

    def taken(self, values: Vector, x: float, step: float) -> float:
        """Return what is left of a step in x after rounding, in what the factors count."""
        if self.curve is None:
            return (x + step) - x
        reached = float(transforms.physical(*self.curve, np.array([x + step]))[0])
        return reached - float(values[self.elements[0]] / self.factors[0])

    def at(self, values: Vector, step: float) -> Vector:
        """Return values in which the variable has taken a step."""
        moved = values.copy()
        moved[self.elements] += step * self.factors
        return moved


def _moves(parameters: Parameters, space: ParameterSpace) -> list[_Move]:
    """Return one move per variable that the parameters of a term feel."""
    columns = space.parameters.split(np.arange(space.parameters.size))
    own = np.concatenate([columns[name].ravel() for name in parameters.names])
    source, factors = space.source[own], space.multiplier[own]
    moves = []
    for variable, label in enumerate(space.labels):
        elements = np.flatnonzero(source == variable)
        if elements.size:
            limits = float(space.lower[variable]), float(space.upper[variable])
            moves.append(_Move(label, elements, factors[elements], *limits, space.curve_of(variable)))
    return moves


def _outputs(objective: AbstractObjective, values: Vector, state: Any) -> Vector:
    found = objective.evaluate(values, state, derivatives=False)
    if found.failure:
        raise EvaluationError(found.failure)
    return np.atleast_1d(found.cost if found.residuals is None else found.residuals)


def _checked(answer: Completed, move: _Move) -> Vector:
    if answer.failure:
        raise EvaluationError(f"no difference can be taken in {move.label}: {answer.failure}")
    return answer.value


def _slope(here: Vector, moved: list[Vector], steps: tuple[float, ...]) -> Vector:
    if len(steps) == 2:
        return (moved[0] - moved[1]) / (steps[0] - steps[1])
    return (moved[0] - here) / steps[0] if steps else np.zeros_like(here)
