"""Terms over things: what a function of their parameters should be, as an objective or as a constraint.

A term is a function of the parameter dictionaries of one or several things, with a goal: a target or a range, a weight,
a normalization. As a part of an objective it is a residual

    r = weight * (L(f(params ...)) - target) / normalization

with L the loss function that reduces it first, if there is one; with bounds it is the distance to the nearer of them.
As a constraint the same r is meant to be zero, and with bounds L(f) is meant to lie between them.

A term says nothing of who minimises it. It is bound to things by `TermObjective`, which lives as long as the term: what
JAX compiled for it serves every later run on things of the same names and shapes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import AbstractObjective, Evaluation, FunctionObjective, Goal, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameters
from fieldfit.registry import unknown_name
from fieldfit.things.collection import Things
from fieldfit.things.renamed import Renamed, free_everywhere
from fieldfit.typing import Vector

LOSSES = ("mean", "min", "max", "sum")
"""What a loss function may be called: the reduction of JAX of that name."""

CARRIED = ("state", "is_stale", "note", "failure", "n_differences", "columns")
"""Fields of an evaluation that a goal leaves as they are."""


class Term:
    """A function of things that should have a value, or lie in a range.

    Args:
        function: Takes the parameter dictionary of each of its things, in order, and returns a number or an array; or
            an objective with residuals, of parameters called as the keys of its one thing, whose residuals are meant.
        things: What it acts on: things, or their names; one or several; None: all that are varied, in their order.
        target: Wanted value, a number or one per element; default 0 where there are no bounds.
        bounds: Pair (lower, upper) instead of a target; None for no bound on that side.
        weight: Importance, at least 0.
        normalization: Size of a deviation that counts as one, in the unit of the function, positive.
        loss_function: None: every element counts; "mean", "min", "max" or "sum": the array is reduced to that first.
        name: Name in reports; default: that of the function.
        unit: Of what the function returns, for reports.
        is_linear: As a constraint: whether it is linear (affine) in the parameters, so that it is eliminated exactly.
            It is checked.
        solves_for: As a constraint of a "proximal-" optimizer: keys of the parameters that it determines,
            "height", or their full names, "curve.height".
        derivatives: "jax", "differences", or a function that takes the dictionary of all named parameters of its things
            and returns the Jacobian.

    Raises:
        SettingsError: Target and bounds together, a weight below 0, or a loss function that is not known.

    Example:
        >>> from types import SimpleNamespace
        >>> import fieldfit
        >>> from fieldfit.optimize import Optimizer
        >>> from fieldfit.things import Term
        >>> def point(values):
        ...     return SimpleNamespace(params_dict=values, with_params=point)
        >>> distance = Term(lambda p: p["x"] ** 2 + p["y"] ** 2, target=25.0)
        >>> height = Term(lambda p: p["y"], target=3.0)
        >>> (found,), result = Optimizer("lsq-exact").optimize(
        ...     point({"x": 1.0, "y": 1.0}), [distance, height], ftol=1e-10, verbose=0
        ... )
        >>> round(float(found.params_dict["x"]), 6)
        4.0
    """

    def __init__(  # noqa: PLR0913, an options record: the goal, and what a constraint adds
        self,
        function: Callable[..., Any] | AbstractObjective,
        things: Any = None,
        *,
        target: Any = None,
        bounds: tuple[Any, Any] | None = None,
        weight: Any = 1.0,
        normalization: Any = 1.0,
        loss_function: str | None = None,
        name: str = "",
        unit: str = "",
        is_linear: bool = False,
        solves_for: Sequence[str] = (),
        derivatives: str | Callable[..., Any] = "jax",
    ) -> None:
        if loss_function is not None and loss_function not in LOSSES:
            raise SettingsError(unknown_name("loss function", str(loss_function), LOSSES))
        if isinstance(function, AbstractObjective):
            _check_objective(function, loss_function)
        self.function, self.loss_function, self.derivatives = function, loss_function, derivatives
        self.things = None if things is None else tuple(things) if isinstance(things, list | tuple) else (things,)
        self.goal = Goal(target=target, bounds=bounds, weight=weight, normalization=normalization)
        self.name = name or _name(function)
        self.unit, self.is_linear, self.solves_for = unit, is_linear, tuple(solves_for)
        self._bound: dict[Any, TermObjective] = {}

    def bind(self, things: Things, *, label: str = "") -> TermObjective:
        """Return the term as an objective of the parameters of its things.

        Args:
            things: All that are varied.
            label: Name in reports; default: its own.

        Raises:
            SettingsError: One of its things is not among them.
        """
        label = label or self.name
        chosen = things.chosen(self.things, self.name)
        everything = things.parameters
        entries = [entry for entry in everything if entry.name.partition(".")[0] in chosen]
        key = (label, chosen, tuple((entry.name, entry.shape) for entry in entries))
        if key not in self._bound:
            self._bound[key] = TermObjective(self, chosen, Parameters(entries), label)
        return self._bound[key]

    def __repr__(self) -> str:
        goal = f"in {self.goal.bounds}" if self.goal.bounds is not None else f"= {self.goal.target or 0.0}"
        return f"Term({self.name} {goal}{f' {self.unit}' if self.unit else ''})"


class TermObjective(AbstractObjective):
    """A term over named parameters.

    Args:
        term: The term.
        chosen: Names of its things, in the order of the arguments of its function.
        parameters: Those of its things.
        label: Name in reports.

    Attributes:
        term: The term.
        label: Name in reports.
        goal: What its values should be.
    """

    def __init__(self, term: Term, chosen: tuple[str, ...], parameters: Parameters, label: str) -> None:
        self.term, self.label, self.goal = term, label, term.goal
        self._model = _model(term, chosen, parameters, label)
        self._size = 0

    @property
    def parameters(self) -> Parameters:
        return self._model.parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return self._model.traits

    def for_parameters(self, parameters: Parameters) -> TermObjective:
        made = copy.copy(self)
        made._model = self._model.for_parameters(parameters)
        return made

    def initial_state(self) -> Any:
        return self._model.initial_state()

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        found = self._model.evaluate(values, state, derivatives=derivatives)
        if found.residuals is None:
            return found
        if self.goal.is_plain:
            self._size = found.residuals.size
            return found
        residuals = self.goal.residuals(found.residuals)
        self._size = residuals.size
        slopes = None if found.jacobian is None else self.goal.jacobian(found.residuals, found.jacobian)
        rest = {name: getattr(found, name) for name in CARRIED}
        return evaluation_from_residuals(residuals, slopes, **rest)

    def predict(self, values: Vector) -> tuple[Vector, np.ndarray | None]:
        """Return what the function gives, physical and reduced, shape (m,), and its Jacobian, shape (m, elements).

        Args:
            values: All elements of `parameters`.

        Raises:
            EvaluationError: It cannot be evaluated there.
        """
        # With derivatives: that program is the one that optimizers have compiled.
        found = self._model.evaluate(values, self.initial_state(), derivatives=self.traits.has_derivatives)
        if found.residuals is None:
            raise EvaluationError(f"Term {self.label!r} cannot be evaluated: {found.failure}")
        if found.jacobian is None or found.columns is None:
            return found.residuals, found.jacobian
        spread = np.zeros((found.residuals.size, values.size))
        spread[:, found.columns] = found.jacobian
        return found.residuals, spread

    def with_goal(self, goal: Goal) -> TermObjective:
        """Return the same function with another goal; what is compiled is shared."""
        made = copy.copy(self)
        made.goal, made._size = goal, 0
        return made

    def term_slices(self) -> dict[str, slice]:
        if not self._size:
            self.evaluate(self.parameters.flat, None, derivatives=self.traits.has_derivatives)
        return {self.label: slice(0, self._size)}

    def traced(self, values: Any) -> Any:
        return self.goal.traced_residuals(self._model.traced(values).ravel())


@dataclass(frozen=True)
class NamedArguments:
    """A function of the parameter dictionaries of things as one of all named parameters.

    Args:
        function: Takes one dictionary for each thing.
        things: Names of the things.
        names: Of all parameters, "<thing>.<key>".
        loss_function: Name of the reduction of what it returns; None for none.
    """

    function: Callable[..., Any]
    things: tuple[str, ...]
    names: tuple[str, ...]
    loss_function: str | None

    def __call__(self, values: Any) -> Any:
        """Return what the function gives for named parameters, reduced."""
        split = [name.partition(".") for name in self.names]
        parts = {
            thing: {key: values[f"{thing}.{key}"] for own, _, key in split if own == thing} for thing in self.things
        }
        found = self.function(*(parts[thing] for thing in self.things))
        if self.loss_function is None:
            return found
        import jax.numpy as jnp

        return getattr(jnp, self.loss_function)(jnp.asarray(found))


class Declared(AbstractObjective):
    """What is minimised where there are constraints only: it has no residuals, and names all parameters.

    Args:
        parameters: All parameters.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return ObjectiveTraits(has_residuals=True, has_derivatives=True, is_traceable=True)

    def initial_state(self) -> None:
        return None

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        return evaluation_from_residuals(np.zeros(0), np.zeros((0, values.size)) if derivatives else None)

    def term_slices(self) -> dict[str, slice]:
        return {}

    def traced(self, values: Any) -> Any:
        import jax.numpy as jnp

        return jnp.zeros(0)


def _model(term: Term, chosen: tuple[str, ...], parameters: Parameters, label: str) -> AbstractObjective:
    """Return what a term predicts, without its goal."""
    if not isinstance(term.function, AbstractObjective):
        function = NamedArguments(term.function, chosen, parameters.names, term.loss_function)
        return FunctionObjective(function, parameters, derivatives=term.derivatives, name=label)
    if len(chosen) != 1:
        raise SettingsError(
            f"Term {term.name!r} is an objective and acts on {len(chosen)} things: {', '.join(chosen)}. Say on which "
            "one: Term(objective, thing)."
        )
    named = Renamed(term.function, chosen[0], parameters.names)
    # Which of its parameters vary is for the problem to say, not for the objective.
    return named.for_parameters(free_everywhere(named.parameters))


def _check_objective(objective: AbstractObjective, loss_function: str | None) -> None:
    if loss_function is not None or not objective.traits.has_residuals:
        what = f"the loss function {loss_function!r}" if loss_function else "no residuals"
        raise SettingsError(
            f"A term is the objective {type(objective).__name__} with {what}. A term of an objective is its residual "
            "vector; write others as functions of things."
        )


def _name(function: Callable[..., Any] | AbstractObjective) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return "term" if name == "<lambda>" else name
