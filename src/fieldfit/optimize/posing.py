"""From things, terms and constraints to a problem, and from its answer back to all parameters of all things.

A proximal optimizer gives up the inner parameters, which an equality determines: constraints on these go to the inner
solve, and the problem that is posed is one of the outer parameters alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.constraints import AbstractConstraint
from fieldfit.errors import SettingsError
from fieldfit.objectives import ObjectiveFunction
from fieldfit.optimize.options import RunOptions
from fieldfit.optimize.values import ObjectiveValue, condition_values, objective_values, term_constraint_values
from fieldfit.parameters import Parameters
from fieldfit.problem import OptimizationResult, Problem
from fieldfit.projections import InnerOptions, ProximalObjective, ProximalState
from fieldfit.registry import unknown_name
from fieldfit.things import HeldTerm, Things, bind_constraints, bind_objective, bound_terms
from fieldfit.typing import Matrix, Vector

PERTURB_OPTIONS = ("order", "trust_radius")
SOLVE_OPTIONS = ("tolerance", "max_steps", "second_derivatives")
"""Which options of inner solves belong to `perturb_options` and which to `solve_options`."""


@dataclass(frozen=True, eq=False)
class Task:
    """What a call asks for.

    Args:
        things: All that are varied.
        parameters: Theirs, with starts, bounds and scales.
        objective: The sum of all terms.
        constraints: What must hold.
        inner_options: How a proximal optimizer solves for inner parameters.
    """

    things: Things
    parameters: Parameters
    objective: ObjectiveFunction
    constraints: tuple[AbstractConstraint, ...]
    inner_options: InnerOptions

    @staticmethod
    def of(things: Things, parameters: Parameters, terms: tuple[Any, Any], told: RunOptions) -> Task:
        """Put a call together.

        Args:
            things: All that are varied.
            parameters: Theirs.
            terms: Objective and constraints as the user gave them.
            told: The options of the call.
        """
        objective, constraints = terms
        return Task(
            things,
            parameters,
            bind_objective(objective, things, parameters),
            bind_constraints(constraints, things, tolerance=told.ctol, linear_tolerance=told.linear.get("tolerance")),
            _inner_options(told),
        )

    def posed(self, *, is_automatic: bool) -> Posed:
        """Return the problem of all parameters.

        Args:
            is_automatic: Whether scales come from the curvature at the start.
        """
        scale = "automatic" if is_automatic else None
        problem = Problem(self.objective, self.parameters, constraints=self.constraints, scale=scale)
        return Posed(self, problem)

    def posed_proximal(self, name: str, *, is_automatic: bool) -> Posed:
        """Return the problem of the outer parameters.

        Args:
            name: Of the optimizer, for messages.
            is_automatic: Whether scales come from the curvature at the start.

        Raises:
            SettingsError: No constraint says which parameters it determines, or one on these is no linear equality.
        """
        solved = [entry for entry in self.constraints if isinstance(entry, HeldTerm) and entry.term.term.solves_for]
        if not solved:
            raise SettingsError(
                f"{name} solves an equality anew at every point, but no constraint says which parameters it "
                'determines. Give one: Term(..., solves_for=["<key>", ...]).'
            )
        inner = {entry.label: _inner_names(entry, self.parameters) for entry in solved}
        names = [name for own in inner.values() for name in own]
        inside, outside = [], []
        for entry in (entry for entry in self.constraints if entry not in solved):
            (inside if _touches(entry, names, self.parameters) else outside).append(entry)
        for entry in inside:
            _check_inner(entry, names, self.parameters, name)
        equalities = {entry.label: entry.term for entry in solved}
        objective = ProximalObjective(
            self.objective, equalities, inner=names, linear=inside, options=self.inner_options
        )
        problem = Problem(objective, constraints=outside, scale="automatic" if is_automatic else None)
        return Posed(self, problem, objective)


@dataclass(frozen=True, eq=False)
class Posed:
    """A problem, and the way back to all parameters of all things.

    Args:
        task: What was asked for.
        problem: What an optimizer gets.
        proximal: Its objective if inner parameters were given up; None if not.
    """

    task: Task
    problem: Problem
    proximal: ProximalObjective | None = None

    def full(self, outer: Vector, state: Any) -> Vector:
        """Return all elements of all things, physical.

        Args:
            outer: All elements of the problem.
            state: Of the evaluation there.
        """
        if self.proximal is None or not isinstance(state, ProximalState):
            return outer
        values = self.problem.parameters.split(outer) | self.proximal.inner_values(state)
        return np.concatenate([np.ravel(values[name]) for name in self.task.parameters.names])

    def path(self, points: Sequence[Vector]) -> Matrix:
        """Return points of the problem as all elements of all things, shape (points, elements).

        Inner parameters are solved for again, each from the solution before it.
        """
        if self.proximal is None:
            return np.array(points)
        objective = self.proximal.for_parameters(self.problem.parameters)
        state, found = objective.initial_state(), []
        for point in points:
            state = objective.evaluate(point, state, derivatives=True).state
            found.append(self.full(point, state))
        return np.array(found)

    def values(self, fit: OptimizationResult) -> dict[str, ObjectiveValue]:
        """Return every term and constraint before and after a run."""
        task = self.task
        ends = task.parameters.flat, self.full(fit.final_params, fit.state)
        state = fit.state.objective if isinstance(fit.state, ProximalState) else fit.state
        terms = objective_values(bound_terms(task.objective), task.parameters, ends, state)
        ends_of_problem = self.problem.parameters.flat, fit.final_params
        held = term_constraint_values(task.constraints, task.parameters, ends)
        others = [condition for condition in self.problem.conditions if condition.name not in held]
        held |= condition_values(others, self.problem.parameters, ends_of_problem)
        return terms | {f"{name} (constraint)" if name in terms else name: value for name, value in held.items()}


def _inner_options(told: RunOptions) -> InnerOptions:
    for what, group, own in (
        ("perturb option", told.perturb, PERTURB_OPTIONS),
        ("solve option", told.solve, SOLVE_OPTIONS),
    ):
        for name in group:
            if name not in own:
                raise SettingsError(unknown_name(what, name, own))
    return InnerOptions(**{**told.perturb, **told.solve})


def _inner_names(held: HeldTerm, parameters: Parameters) -> list[str]:
    """Return the full names of the parameters that an equality determines."""
    own = held.term.parameters.names
    found = []
    for wanted in held.term.term.solves_for:
        matching = [name for name in own if name == wanted or name.partition(".")[2] == wanted]
        if not matching:
            keys = [name.partition(".")[2] for name in own]
            raise SettingsError(f"Term {held.label!r}: {unknown_name('parameter to solve for', wanted, keys)}")
        found += matching
    return [name for name in parameters.names if name in found]


def _touches(constraint: AbstractConstraint, names: Sequence[str], parameters: Parameters) -> bool:
    """Whether a constraint says something of some parameters."""
    applied = constraint.applied(parameters)
    changed = {after.name for before, after in zip(parameters, applied, strict=True) if after is not before}
    changed |= {name for name in applied.ties if applied.ties[name] != parameters.ties.get(name)}
    if changed & set(names):
        return True
    condition = constraint.condition(applied)
    if condition is None:
        return False
    if condition.objective is not None:
        return bool(set(condition.objective.parameters.names) & set(names))
    places = parameters.split(np.arange(parameters.size))
    columns = np.concatenate([np.ravel(places[name]) for name in names])
    return condition.matrix is not None and bool(np.any(condition.matrix[:, columns] != 0.0))


def _check_inner(constraint: AbstractConstraint, names: Sequence[str], parameters: Parameters, name: str) -> None:
    """Refuse a constraint on inner parameters that an inner solve cannot hold.

    Raises:
        SettingsError: It is nonlinear, or an inequality.
    """
    condition = constraint.condition(constraint.applied(parameters))
    if condition is None or (condition.matrix is not None and np.all(condition.lower == condition.upper)):
        return
    kind = "nonlinear" if condition.matrix is None else "an inequality"
    raise SettingsError(
        f"The constraint {condition.name!r} is {kind} and acts on {', '.join(names)}, but {name} solves an equality "
        "for these at every point, and only linear equalities can hold beside it. Make it part of that equality, give "
        'the objective a term of it with bounds, or use "lsq-auglag", which varies all parameters together.'
    )


def started(parameters: Parameters, resume: Mapping[str, Any]) -> Parameters:
    """Return parameters with starts from an earlier run.

    Args:
        parameters: All parameters.
        resume: Name to values.

    Raises:
        SettingsError: The earlier run had other parameters.
    """
    for name in resume:
        if name not in parameters:
            raise SettingsError(unknown_name("parameter (in the run to resume)", name, parameters.names))
    for name, value in resume.items():
        if np.shape(value) != parameters[name].shape:
            raise SettingsError(
                f"The run to resume has {name!r} with the shape {np.shape(value)}, but the things "
                f"{parameters[name].shape}. Resume with the same things."
            )
    return parameters.replace(resume)
