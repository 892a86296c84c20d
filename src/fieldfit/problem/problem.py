"""Parameters, objective and constraints, checked against each other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.constraints import AbstractConstraint, Condition, ConstraintSystem, as_constraints
from fieldfit.errors import ParameterError
from fieldfit.objectives import AbstractObjective
from fieldfit.parameters import Parameters, ParameterSpace, ProjectedSpace, Space
from fieldfit.parameters.projected_space import independent_rows
from fieldfit.parameters.structure import structured_parameters
from fieldfit.problem.derivatives import DerivativeOptions
from fieldfit.problem.functions import objective_of
from fieldfit.problem.scales import automatic_scales
from fieldfit.problem.vector import VectorProblem


class Problem:
    """What is to be fitted.

    Args:
        objective: What is to be made small: an objective, or a plain function of the parameters.
        parameters: With an objective: its parameters with other starts, bounds, fixed marks and ties; default: its own.
            With a function: start values, a number, an array, or any nested container of them (dictionaries, lists,
            dataclasses, modules of equinox), plain or with units, or `Parameters`; default: from `bounds`.
        bounds: A pair (lower, upper) for all, or pairs in a structure like that of the parameters; None or infinite for
            no bound; names that are not mentioned have none. SciPy's `Bounds` are taken, too.
        constraints: What must hold besides bounds: ours, SciPy's objects or dictionaries, one or several.
        call: How a function takes its parameters: "structure", as one argument; "positional", the entries of a list or
            tuple as arguments; "keywords", those of a dictionary.
        kind: What a function returns: a "loss", one number, or "residuals", an array that is squared.
        scale: Of all parameters: None, as each says; "bounds", the distance between its bounds; "automatic", from the
            curvature at the start.
        derivatives: Of a function: "jax", "differences", or a function that returns them.
        state: State of the first evaluation (relaxed geometries and the like), from an earlier result; default: the
            objective's own.

    Raises:
        ParameterError: Parameters are not those of the objective, nothing is free, or bounds are reversed or misfit.
        ConstraintError: A constraint does not fit the parameters, or several cannot hold together.
        SettingsError: An option has a value it cannot have, or the function does not take what `call` says.

    Example:
        >>> import fieldfit
        >>> loss = lambda x, y: (x - 2.0) ** 2 + (y + 1.0) ** 2
        >>> problem = fieldfit.Problem(loss, [0.0, 0.0], bounds=[(-5.0, 5.0), (-0.5, None)], call="positional")
        >>> [round(float(value), 6) for value in fieldfit.fit(problem).x]
        [2.0, -0.5]
    """

    def __init__(  # noqa: PLR0913, the three parts of a question, and how a plain function is to be read
        self,
        objective: AbstractObjective | Callable[..., Any],
        parameters: Any = None,
        bounds: Any = None,
        constraints: Any = (),
        *,
        call: str = "structure",
        kind: str = "loss",
        scale: str | None = None,
        derivatives: str | Callable[..., Any] = "jax",
        state: Any = None,
    ) -> None:
        if isinstance(objective, AbstractObjective):
            given = objective.parameters if parameters is None else parameters
            given = given if bounds is None else structured_parameters(given, bounds)
            _check_parameters(given, objective.parameters)
        else:
            objective = objective_of(objective, parameters, bounds, call=call, kind=kind, derivatives=derivatives)
            given = objective.parameters
        self.objective, self.state = objective, state
        if scale is not None:
            given = (
                automatic_scales(objective, given)
                if scale == "automatic"
                else structured_parameters(given, scale=scale)
            )
        self.constraints: tuple[AbstractConstraint, ...] = as_constraints(constraints)
        system = ConstraintSystem.of(self.constraints, given)
        self.parameters: Parameters = system.parameters
        self.conditions: tuple[Condition, ...] = system.conditions

    def vector(
        self,
        *,
        derivatives: DerivativeOptions = DerivativeOptions(),
        executor: Executor | None = None,
        eliminate: bool = True,
    ) -> VectorProblem:
        """Return the problem as an optimizer sees it.

        Args:
            derivatives: Which derivatives it asks for.
            executor: Where the points of finite differences are evaluated; None: here.
            eliminate: Whether linear equalities take variables away where they can; see `ProjectedSpace`.

        Raises:
            SettingsError: Only exact derivatives are allowed and a term has none.
        """
        space, conditions = self._eliminated if eliminate else (self.parameters.space, self.conditions)
        prepared = self.objective.for_parameters(self.parameters)
        return VectorProblem(
            prepared, space, derivatives=derivatives, executor=executor, state=self.state, conditions=conditions
        )

    @cached_property
    def _eliminated(self) -> tuple[Space, tuple[Condition, ...]]:
        """Return the variables that linear equalities leave, and the conditions that remain."""
        space = self.parameters.space
        matrix, values = _equalities(space, self.conditions)
        if matrix.shape[0] == 0 or not space.is_affine:
            return space, self.conditions
        chosen = independent_rows(space, matrix)
        if chosen.size == 0:
            return space, self.conditions
        projected = ProjectedSpace(space, matrix[chosen], values[chosen])
        # Rows that the chosen ones imply hold as well: charges of parts and the sum of them all.
        is_implied = projected.implies(matrix, values)
        is_implied[chosen] = True
        rest, n_seen = [], 0
        for condition in self.conditions:
            is_held = _is_linear_equality(condition)
            before, n_seen = n_seen, n_seen + int(np.count_nonzero(is_held))
            gone = np.zeros(condition.lower.size, dtype=bool)
            gone[is_held] = is_implied[before:n_seen]
            if np.all(gone):
                continue
            rest.append(condition.rows(~gone) if np.any(gone) else condition)
        return projected, tuple(rest)

    def __repr__(self) -> str:
        kind = "least squares" if self.objective.traits.has_residuals else "scalar"
        rows = sum(condition.lower.size for condition in self.conditions)
        held = f", {rows} constraint{'s' if rows > 1 else ''}" if rows else ""
        return f"Problem({kind}, {self.parameters.n_free} free of {self.parameters.size} parameters{held})"


def _check_parameters(given: Parameters, objective: Parameters) -> None:
    own = [(entry.name, entry.shape) for entry in given]
    wanted = [(entry.name, entry.shape) for entry in objective]
    if own != wanted:
        differing = sorted({name for name, _ in set(own) ^ set(wanted)})
        raise ParameterError(
            f"The parameters are not those of the objective: {', '.join(differing) or 'the order'} differ. "
            "Start from `objective.parameters` and change values, bounds or fixed marks."
        )


def _is_linear_equality(condition: Condition) -> np.ndarray:
    """Return which rows of a condition are linear equalities, shape (m,)."""
    return (condition.lower == condition.upper) & (condition.matrix is not None)


def _equalities(space: ParameterSpace, conditions: tuple[Condition, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return A and b of the linear equalities A x = b in the variables of a space."""
    rows, values = [np.zeros((0, space.size))], [np.zeros(0)]
    origin = space.physical(np.zeros(space.size)) if space.is_affine else space.constant
    for condition in conditions:
        if condition.matrix is None or not space.is_affine:
            continue
        is_held = _is_linear_equality(condition)
        matrix = condition.matrix[is_held]
        rows.append(space.chain(matrix, space.start))
        values.append(condition.lower[is_held] - matrix @ origin)
    return np.concatenate(rows), np.concatenate(values)
