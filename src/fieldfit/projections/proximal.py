"""Objectives of outer parameters, of which the inner ones are functions: the proximal projection.

The inner parameters x are those with which an equality holds, at given outer parameters y:

    F(x*(y), y) = 0,        or  x*(y) = argmin_x 0.5 ||F(x, y)||^2  where F cannot be zero,

with linear equalities among x and y (boundary rows) eliminated beforehand: x = x_p(y) + Z z. What is made small is

    g(y) = G(x*(y), y),     a function of y alone.

Derivatives. By the implicit function theorem, with z the variables that remain and F_z^+ the pseudo-inverse,

    dg/dy = G_y + G_z dz/dy,        dz/dy = -F_z^+ F_y.

That is exact where F = 0. Where F is not zero, the condition is F_z^T F = 0, and its derivatives hold second ones of F:

    dz/dy = -(F_z^T F_z + S_zz)^-1 (F_z^T F_y + S_zy),        S = sum_i F_i F_i'',

which are computed wherever F_z has more rows than rank and the distance from zero is more than rounding. If F_z has no
full column rank, steps and sensitivities are those of least norm, and which of the many solutions is found depends on
where the solve started.

State. The inner solution of the last accepted point, its factorization and its sensitivity are the explicit state of an
evaluation. From it the next solution is predicted, and Newton's method does the rest (`inner_solve`). An evaluation is
a pure function of values and state; its value depends on the state by no more than the tolerance of the inner solve, as
long as the equality has one solution in the neighbourhood. The factorization of the last step serves the sensitivity,
the outer Jacobian, and the prediction of the next solution; a second evaluation at the same y solves nothing.

Several equalities with inner parameters of their own are solved one by one.

References:
    Dennis, Schnabel (1996), Numerical Methods for Unconstrained Optimization and Nonlinear Equations, chapters 6 and
        10, doi:10.1137/1.9781611971200.
    Krantz, Parks (2013), The Implicit Function Theorem, doi:10.1007/978-1-4614-5981-1.
    Golub, Pereyra (1973), The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
        separate, SIAM J. Numer. Anal. 10, 413, doi:10.1137/0710036.
    Conlin, Dudt, Panici, Kolemen (2023), The DESC stellarator code suite. Part 2. Perturbation and continuation
        methods, J. Plasma Phys. 89, doi:10.1017/S0022377823000399.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.blas import one_blas_thread
from fieldfit.constraints import AbstractConstraint, Condition, ConstraintSystem, as_constraints
from fieldfit.errors import ConstraintError, EvaluationError, ParameterError, SettingsError
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits
from fieldfit.parameters import Parameters
from fieldfit.problem import AbstractOptimizer
from fieldfit.projections.first_solve import first_start
from fieldfit.projections.inner_coordinates import AffineMap, InnerCoordinates
from fieldfit.projections.inner_problem import InnerProblem
from fieldfit.projections.inner_solve import InnerOptions, InnerSolution, solve
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True, eq=False)
class ProximalState:
    """What an evaluation starts from.

    Args:
        objective: State of the outer objective.
        solutions: The last solution of each inner problem.
    """

    objective: Any
    solutions: tuple[InnerSolution, ...]


@dataclass(frozen=True)
class InnerReport:
    """How an inner problem was solved.

    Args:
        name: Of the equality.
        distance: ||F||, which should be zero.
        n_variables: Inner variables, after linear equalities.
        rank: Of F_z; less than the variables if the equality does not decide all of them.
        n_evaluations: Of the equality, in the last solve.
    """

    name: str
    distance: float
    n_variables: int
    rank: int
    n_evaluations: int

    def __str__(self) -> str:
        undecided = self.n_variables - self.rank
        free = f", {undecided} of {self.n_variables} variables undecided" if undecided else ""
        return f"{self.name}: ||F|| = {self.distance:.3g} after {self.n_evaluations} evaluations{free}"


class ProximalObjective(AbstractObjective):
    """An objective of the outer parameters, with the inner ones solved for.

    Args:
        objective: What is to be made small, of inner and outer parameters.
        equality: Residuals that the inner parameters make zero, or as small as they can be; several by name if each has
            inner parameters of its own.
        inner: Names or shell patterns of the inner parameters. Their values are where the first solve starts, their
            scales what steps are measured in; a step that leaves their bounds is made shorter.
        linear: Linear equalities that hold among inner parameters, with outer ones on the right-hand side.
        options: How inner problems are solved.
        solver: An optimizer for least squares that makes the first solve, if the start is far from a solution; None:
            the first one is like all others.

    Raises:
        ParameterError: An inner parameter is in no equality, or in two, or is tied to one outside its own.
        ConstraintError: A constraint is no linear equality of the inner parameters of one equality.
        SettingsError: An equality has no residuals or no derivatives.

    Example:
        >>> import fieldfit
        >>> from fieldfit.projections import ProximalObjective
        >>> equality = fieldfit.FunctionObjective(lambda p: p["x"] ** 3 + p["x"] - p["y"], {"x": 0.5, "y": 1.0})
        >>> distance = fieldfit.FunctionObjective(lambda p: p["x"] - 2.0, {"x": 0.5})
        >>> objective = ProximalObjective(distance, equality, inner="x")
        >>> result = fieldfit.LeastSquaresOptimizer().optimize(objective)
        >>> round(float(result.x["y"]), 6), round(float(objective.inner_values(result.state)["x"]), 6)
        (10.0, 2.0)
    """

    def __init__(
        self,
        objective: AbstractObjective,
        equality: AbstractObjective | Mapping[str, AbstractObjective],
        *,
        inner: str | Sequence[str],
        linear: Sequence[AbstractConstraint] = (),
        options: InnerOptions = InnerOptions(),
        solver: AbstractOptimizer | None = None,
    ) -> None:
        self.objective, self.options, self.solver = objective, options, solver
        self.equalities = dict(equality) if isinstance(equality, Mapping) else {"equality": equality}
        whole = _union([objective, *self.equalities.values()])
        self._solved_by = _solved_by(inner, whole, self.equalities)
        system = ConstraintSystem.of(as_constraints(linear), whole)
        self._conditions = _by_equality(system.conditions, system.parameters, self._solved_by)
        self._arrange(system.parameters, _outer(system.parameters, self._solved_by))

    @property
    def parameters(self) -> Parameters:
        return self._outer

    @property
    def traits(self) -> ObjectiveTraits:
        own = self.objective.traits
        is_noisy = own.is_noisy or any(equality.traits.is_noisy for equality in self.equalities.values())
        return replace(own, is_traceable=False, is_noisy=is_noisy)

    def for_parameters(self, parameters: Parameters) -> ProximalObjective:
        entries = {entry.name: entry for entry in (*self._whole, *parameters)}
        ties = {name: tie for name, tie in self._whole.ties.items() if name in self._solved_by}
        whole = Parameters([entries[name] for name in self._whole.names], {**ties, **parameters.ties})
        made = copy.copy(self)
        made._arrange(whole, parameters)
        return made

    def initial_state(self) -> ProximalState:
        y = self._outer.flat
        solutions = tuple(
            InnerSolution(problem.coordinates.start, y, problem.equality.initial_state()) for problem in self._problems
        )
        return ProximalState(self._prepared.initial_state(), solutions)

    def evaluate(self, values: Vector, state: ProximalState, *, derivatives: bool) -> Evaluation:
        derivatives = derivatives and self.objective.traits.has_derivatives
        with one_blas_thread():
            solutions = tuple(
                solve(problem, values, self._begun(problem, values, last), self.options, derivatives=derivatives)
                for problem, last in zip(self._problems, state.solutions, strict=True)
            )
        elements = self._elements.at(_joined(solutions), values)
        found = self._prepared.evaluate(elements[self._own], state.objective, derivatives=derivatives)
        found = replace(found, state=ProximalState(found.state, solutions))
        if found.failure or not np.isfinite(found.cost) or not derivatives:
            return replace(found, jacobian=None, gradient=None, columns=None)
        return self._chained(found, solutions)

    def term_slices(self) -> Mapping[str, slice]:
        return self.objective.term_slices()

    def inner_values(self, state: ProximalState) -> dict[str, np.ndarray]:
        """Return the inner parameters by name, in physical units.

        Args:
            state: Of an evaluation, such as that of a result.
        """
        y = state.solutions[0].outer
        elements = self._elements.at(_joined(state.solutions), y)
        return {name: found for name, found in self._whole.split(elements).items() if name in self._solved_by}

    def inner_reports(self, state: ProximalState) -> tuple[InnerReport, ...]:
        """Return how each inner problem was solved.

        Args:
            state: Of an evaluation, such as that of a result.
        """
        return tuple(
            InnerReport(
                problem.name,
                found.distance,
                found.variables.size,
                0 if found.model is None else found.model.sizes.size,
                found.n_evaluations,
            )
            for problem, found in zip(self._problems, state.solutions, strict=True)
        )

    def _begun(self, problem: InnerProblem, values: Vector, last: InnerSolution) -> InnerSolution:
        """Return what a solve starts from: the last solution, or for the first one what the solver finds."""
        if last.model is not None or self.solver is None:
            return last
        return first_start(problem, values, last, self.solver)

    def _arrange(self, whole: Parameters, outer: Parameters) -> None:
        """Set what depends on starts, fixed marks and ties."""
        self._whole, self._outer = whole, outer
        places = np.concatenate([whole.elements(name) for name in outer.names])
        self._varying = _varying(outer)
        coordinates = {
            label: InnerCoordinates.of(
                [name for name, own in self._solved_by.items() if own == label],
                whole,
                places,
                self._conditions[label],
            )
            for label in self.equalities
        }
        self._elements = _elements(whole.size, places, tuple(coordinates.values()))
        varies = np.any(self._elements.inner, axis=1) | np.any(self._elements.outer[:, self._varying], axis=1)
        self._own, self._prepared = _prepared(self.objective, whole, varies)
        problems, start = [], 0
        for label, equality in self.equalities.items():
            own, prepared = _prepared(equality, whole, varies)
            stop = start + coordinates[label].start.size
            elements = self._elements.rows(own)
            elements = replace(elements, inner=elements.inner[:, start:stop])
            problems.append(
                InnerProblem(
                    label,
                    prepared,
                    coordinates[label],
                    elements,
                    self._varying,
                    second_derivatives=self.options.second_derivatives,
                )
            )
            start = stop
        self._problems = tuple(problems)

    def _chained(self, found: Evaluation, solutions: Sequence[InnerSolution]) -> Evaluation:
        """Return an evaluation with derivatives with respect to the outer elements that vary."""
        sensitivity = np.concatenate([_sensitivity(solution) for solution in solutions])[:, self._varying]
        own = self._elements.rows(self._own if found.columns is None else self._own[found.columns])
        moved = own.outer[:, self._varying] + own.inner @ sensitivity
        if found.gradient is None or found.residuals is None or found.jacobian is None:
            gradient = None if found.gradient is None else found.gradient @ moved
            return replace(found, gradient=gradient, columns=self._varying)
        jacobian = found.jacobian @ moved
        return replace(found, jacobian=jacobian, gradient=found.residuals @ jacobian, columns=self._varying)


def _union(objectives: Sequence[AbstractObjective]) -> Parameters:
    """Return the parameters of several objectives; the first one that names a parameter defines it."""
    entries, ties = {}, {}
    for objective in objectives:
        for entry in objective.parameters:
            known = entries.setdefault(entry.name, entry)
            if known.shape != entry.shape:
                raise ParameterError(
                    f"Parameter {entry.name!r} has the shape {known.shape} in the objective and {entry.shape} in an "
                    "equality. Rename one of them."
                )
        ties |= objective.parameters.ties
    return Parameters(entries.values(), ties)


def _solved_by(
    inner: str | Sequence[str], whole: Parameters, equalities: Mapping[str, AbstractObjective]
) -> dict[str, str]:
    """Return the name of every inner parameter with that of the equality that decides it."""
    for label, equality in equalities.items():
        if not (equality.traits.has_residuals and equality.traits.has_derivatives):
            lacking = "no exact derivatives" if equality.traits.has_residuals else "no residuals"
            raise SettingsError(
                f"The equality {label!r} has {lacking}, but Newton's method needs both. Write it as a function of JAX "
                "that returns residuals, or give it with its Jacobian."
            )
    patterns = (inner,) if isinstance(inner, str) else tuple(inner)
    chosen = {name for pattern in patterns for name in whole.match(pattern)}
    found = {}
    for name in whole.names:
        owners = [label for label, equality in equalities.items() if name in equality.parameters]
        if name in chosen and len(owners) != 1:
            held = f"in the equalities {', '.join(owners)}" if owners else "in no equality"
            raise ParameterError(
                f"The inner parameter {name!r} is {held}, but exactly one has to decide it. Join equalities that share "
                "inner parameters in an ObjectiveFunction, or make it an outer parameter."
            )
        if name in chosen:
            found[name] = owners[0]
    idle = sorted(set(equalities) - set(found.values()))
    if idle:
        raise ParameterError(f"The equality {idle[0]!r} decides no inner parameter. Name one in `inner`.")
    for follower, tie in whole.ties.items():
        if found.get(follower) != found.get(tie.leader):
            raise ParameterError(
                f"Parameter {follower!r} is tied to {tie.leader!r}, but they are not solved for in the same equality. "
                "Take back the tie; a row of `linear` can say the same of an inner parameter."
            )
    if len(found) == len(whole):
        raise ParameterError("All parameters are inner ones, so nothing is left to vary. Leave some out of `inner`.")
    return found


def _outer(whole: Parameters, solved_by: Mapping[str, str]) -> Parameters:
    ties = {name: tie for name, tie in whole.ties.items() if name not in solved_by}
    return Parameters([entry for entry in whole if entry.name not in solved_by], ties)


def _varying(parameters: Parameters) -> np.ndarray:
    """Return the elements that vary, by themselves or with their leader, by index."""
    varies = parameters.split(parameters.is_free)
    for follower, tie in parameters.ties.items():
        varies[follower] = varies[tie.leader]
    return np.flatnonzero(np.concatenate([part.ravel() for part in varies.values()]))


def _by_equality(
    conditions: Sequence[Condition], whole: Parameters, solved_by: Mapping[str, str]
) -> dict[str, list[Condition]]:
    """Return the linear equalities that belong to each equality."""
    found: dict[str, list[Condition]] = {label: [] for label in solved_by.values()}
    owner = {place: label for name, label in solved_by.items() for place in whole.elements(name)}
    for condition in conditions:
        if condition.matrix is None or np.any(condition.lower != condition.upper):
            raise ConstraintError(
                f"Constraint {condition.name!r} is no linear equality, but only such can be part of an inner problem. "
                "Give it to the problem, or make it part of the equality."
            )
        touched = np.flatnonzero(np.any(condition.matrix != 0.0, axis=0))
        labels = sorted({owner[place] for place in touched if place in owner})
        if len(labels) != 1:
            joined = f"joins inner parameters of {', '.join(labels)}" if labels else "names no inner parameter"
            raise ConstraintError(
                f"Constraint {condition.name!r} {joined}. Give it to the problem, or join the equalities in an "
                "ObjectiveFunction."
            )
        found[labels[0]].append(condition)
    return found


def _elements(size: int, outer: np.ndarray, coordinates: Sequence[InnerCoordinates]) -> AffineMap:
    """Return all elements as a function of the inner variables, one inner problem after the other, and the outer."""
    found = AffineMap(
        np.zeros(size), np.zeros((size, sum(own.start.size for own in coordinates))), np.zeros((size, outer.size))
    )
    found.outer[outer, np.arange(outer.size)] = 1.0
    start = 0
    for own in coordinates:
        found.offset[own.elements] = own.physical.offset
        found.inner[own.elements, start : start + own.start.size] = own.physical.inner
        found.outer[own.elements] = own.physical.outer
        start += own.start.size
    return found


def _prepared(term: AbstractObjective, whole: Parameters, varies: np.ndarray) -> tuple[np.ndarray, AbstractObjective]:
    """Return the places of a term's elements among all, and the term for those that vary."""
    names = term.parameters.names
    places = {name: whole.elements(name) for name in names}
    entries = [whole[name].replace(fixed=~varies[places[name]].reshape(whole[name].shape)) for name in names]
    own = np.concatenate(list(places.values()))
    if not np.any(varies[own]):
        return own, term
    return own, term.for_parameters(Parameters(entries, structure=term.parameters.structure))


def _joined(solutions: Sequence[InnerSolution]) -> Vector:
    return np.concatenate([solution.variables for solution in solutions])


def _sensitivity(solution: InnerSolution) -> Matrix:
    if solution.sensitivity is None:
        raise EvaluationError("An inner problem that was not solved has no sensitivity. Evaluate it first.")
    return solution.sensitivity
