"""Whether the exact derivatives of a problem are right, term by term.

Each term is moved by itself in the free variables it feels, with everything else and its state held. The differences,
their error estimate and the verdict are those of the module `fieldfit.diagnostics.gradient_check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.diagnostics.gradient_check import (
    LONGER,
    STEP,
    DerivativeComparison,
    Difference,
    GradientCheck,
    Stencil,
    compare,
    differentiate,
    is_suspicious,
    make_stencil,
    worst_first,
)
from fieldfit.errors import EvaluationError
from fieldfit.execution import Completed, ExecutorChoice, open_executor, ordered_map
from fieldfit.objectives import AbstractObjective, ObjectiveFunction
from fieldfit.parameters import Parameters, ParameterSpace
from fieldfit.problem.problem import Problem
from fieldfit.trees import flatten_with_names
from fieldfit.typing import Matrix, Vector
from fieldfit.units import is_quantity


def check_gradient(
    problem: Problem | AbstractObjective, x: Any = None, *, executor: ExecutorChoice = None
) -> GradientCheck:
    """Compare the exact derivatives of every term with differences.

    It takes four evaluations of a term for each free parameter that it feels, and four more for one under suspicion.

    Args:
        problem: The problem, or an objective with its own parameters.
        x: Values of the parameters, by name or in the structure in which they were given, such as `result.x`; None:
            the start.
        executor: Where the points are evaluated; see `AbstractOptimizer.optimize`.

    Returns:
        Every comparison, the worst first; derivatives are per unit of the parameters.

    Raises:
        EvaluationError: The derivatives of a term cannot be computed at x.
        ParameterError: A name in x is not known, or a value lies outside its bounds.

    Example:
        >>> import fieldfit
        >>> import numpy as np
        >>> from fieldfit.problem.gradient_check import check_gradient
        >>> wrong = lambda p: np.array([[2.0 * p["x"], 3.0 * p["y"]]])
        >>> paraboloid = lambda p: p["x"] ** 2 + p["y"] ** 2
        >>> objective = fieldfit.FunctionObjective(paraboloid, {"x": 1.0, "y": 2.0}, derivatives=wrong)
        >>> check = check_gradient(objective)
        >>> check.is_right, check.worst.parameter
        (False, 'y')
    """
    problem = Problem(problem) if isinstance(problem, AbstractObjective) else problem
    space = ParameterSpace(problem.parameters if x is None else _at(problem.parameters, x))
    state = problem.objective.initial_state() if problem.state is None else problem.state
    comparisons: list[DerivativeComparison] = []
    not_checked: list[str] = []
    n_evaluations = 0
    with open_executor(executor) as workers:
        for term in _terms(problem.objective, state):
            if term.objective.traits.has_derivatives:
                check = _TermCheck(term, space, workers)
                comparisons += check.comparisons()
                n_evaluations += check.n_evaluations
            else:
                not_checked += term.slices
    return GradientCheck(worst_first(comparisons), tuple(not_checked), n_evaluations)


def _at(parameters: Parameters, x: Any) -> Parameters:
    if isinstance(x, Mapping) and parameters.structure is None:
        return parameters.replace(x)
    leaves, structure = flatten_with_names(x, is_leaf=is_quantity)
    return parameters.replace(dict(zip(structure.names, leaves, strict=True)))


@dataclass(frozen=True, eq=False)
class _Term:
    """A term that is not itself a sum: its name in the problem, empty for the whole, and its state."""

    name: str
    objective: AbstractObjective
    state: Any

    @property
    def slices(self) -> dict[str, slice]:
        """Name in reports to outputs."""
        own = self.objective.term_slices() or {"objective": slice(0, 1)}
        if not self.name:
            return dict(own)
        return {self.name if len(own) == 1 else f"{self.name}.{label}": part for label, part in own.items()}


def _terms(objective: AbstractObjective, state: Any, name: str = "") -> Iterator[_Term]:
    if not isinstance(objective, ObjectiveFunction):
        yield _Term(name, objective, state)
        return
    for label, term in objective.terms.items():
        yield from _terms(term, state[label], f"{name}.{label}" if name else label)


class _TermCheck:
    """One term at one point, with its exact derivatives with respect to the scaled variables."""

    def __init__(self, term: _Term, space: ParameterSpace, executor: Executor | None) -> None:
        self._term, self._space, self._executor = term, space, executor
        self.n_evaluations = 1
        self._outputs, self._jacobian = self._linearization()

    def comparisons(self) -> list[DerivativeComparison]:
        """Return one comparison per part of the term and variable that it feels."""
        largest = float(np.max(np.abs(self._jacobian), initial=0.0))
        columns = dict(zip(range(self._space.size), self._jacobian.T, strict=True))
        felt = [int(variable) for variable in np.unique(self._space.source[self._elements]) if variable >= 0]
        first = self._differences(felt)
        suspects = [variable for variable in felt if is_suspicious(columns[variable], first[variable], largest=largest)]
        second = self._differences(suspects, factor=LONGER)
        found = []
        for variable in felt:
            scale = float(self._space.scale[variable])
            for label, rows in self._term.slices.items():
                names = (label, self._space.labels[variable])
                again = second[variable].per_unit(rows, scale) if variable in second else None
                exact, once = columns[variable][rows] / scale, first[variable].per_unit(rows, scale)
                found.append(compare(names, exact, once, again, largest=largest / scale))
        return found

    @cached_property
    def _elements(self) -> np.ndarray:
        """Places of the term's parameters among all elements."""
        places = self._space.parameters.split(np.arange(self._space.parameters.size))
        return np.concatenate([places[name].ravel() for name in self._term.objective.parameters.names])

    def _linearization(self) -> tuple[Vector, Matrix]:
        term = self._term
        found = term.objective.evaluate(self._values(self._space.start), term.state, derivatives=True)
        derivatives = found.gradient if found.residuals is None else found.jacobian
        if found.failure or not found.is_finite or derivatives is None:
            reason = (found.failure or "they are not finite").rstrip(".")
            raise EvaluationError(
                f"The derivatives of {', '.join(term.slices)} cannot be checked: {reason}. Choose another point."
            )
        outputs = np.atleast_1d(found.cost if found.residuals is None else found.residuals)
        spread = np.zeros((outputs.size, self._space.parameters.size))
        spread[:, self._elements if found.columns is None else self._elements[found.columns]] = derivatives
        return outputs, self._space.chain(spread, self._space.start)

    def _differences(self, variables: list[int], *, factor: float = 1.0) -> dict[int, Difference]:
        """Return the derivatives with respect to some variables by differences."""
        stencils = {variable: self._stencil(variable, factor) for variable in variables}
        points = [self._moved(variable, offset) for variable in variables for offset in stencils[variable].offsets]
        tasks = [(self._term.objective, self._values(point), self._term.state) for point in points]
        self.n_evaluations += len(tasks)
        answers = iter(ordered_map(_outputs, tasks, self._executor))
        return {
            variable: _difference(stencil, self._outputs, [next(answers) for _ in stencil.offsets])
            for variable, stencil in stencils.items()
        }

    def _stencil(self, variable: int, factor: float) -> Stencil:
        x, lower, upper = (float(part[variable]) for part in (self._space.start, self._space.lower, self._space.upper))
        return make_stencil(factor * STEP * max(1.0, abs(x)), x - lower, upper - x)

    def _moved(self, variable: int, offset: float) -> Vector:
        moved = self._space.start.copy()
        moved[variable] += offset
        # Rounding may leave it one bit outside its bounds.
        return self._space.clip(moved)

    def _values(self, x: Vector) -> Vector:
        return self._space.physical(x)[self._elements]


def _outputs(objective: AbstractObjective, values: Vector, state: Any) -> Vector:
    found = objective.evaluate(values, state, derivatives=False)
    if found.failure or not found.is_finite:
        raise EvaluationError(found.failure or "it is not finite")
    return np.atleast_1d(found.cost if found.residuals is None else found.residuals)


def _difference(stencil: Stencil, here: Vector, answers: list[Completed]) -> Difference:
    nothing = np.full(here.size, np.nan)
    if not answers:
        return Difference(nothing, nothing, "its bounds leave no room for differences")
    failures = [answer.failure for answer in answers if answer.failure is not None]
    if failures:
        return Difference(nothing, nothing, f"next to the point: {failures[0]}")
    return differentiate(stencil, np.stack([here, *(answer.value for answer in answers)]))
