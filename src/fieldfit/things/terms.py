"""Several terms over several things: the sum that is minimised and the conditions that must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fieldfit.constraints import AbstractConstraint, NonlinearEquality, as_constraints
from fieldfit.errors import SettingsError
from fieldfit.objectives import AbstractObjective, ObjectiveFunction
from fieldfit.parameters import Parameters
from fieldfit.things.collection import Things
from fieldfit.things.held import HeldTerm
from fieldfit.things.term import Declared, Term, TermObjective

PARAMETERS = "parameters"
"""Name of the part of a sum without terms: it only declares its parameters."""


def bind_objective(given: Any, things: Things, parameters: Parameters) -> ObjectiveFunction:
    """Return the sum of terms as an objective of the parameters of all things.

    Args:
        given: A term, several, or a mapping from name to term; objectives of parameters called "<thing>.<key>" are
            taken as they are.
        things: All that are varied.
        parameters: Theirs, with starts, bounds and scales.

    Raises:
        SettingsError: Something is no term, or acts on a thing that is not there.
        ParameterError: Some terms have residuals and some have none.
    """
    parts: dict[str, AbstractObjective] = {}
    for name, term in _named(given, "An objective").items():
        parts[name] = term.bind(things, label=name) if isinstance(term, Term) else _checked(term, name, things)
    return ObjectiveFunction(parts or {PARAMETERS: Declared(parameters)}, parameters=parameters)


def bind_constraints(
    given: Any, things: Things, *, tolerance: float | None, linear_tolerance: float | None = None
) -> tuple[AbstractConstraint, ...]:
    """Return constraints on the parameters of all things.

    Args:
        given: Terms, constraints of the library or of SciPy, objectives that should vanish; one or several.
        things: All that are varied.
        tolerance: Violation of nonlinear terms that counts as none, in units of their normalization; None: 1e-8.
        linear_tolerance: The same of linear terms, in the unit of their values; None: 1e-8, relative.

    Raises:
        SettingsError: A term acts on a thing that is not there.
        ConstraintError: Something is no constraint.
    """
    listed = list(given) if isinstance(given, list | tuple) else [given]
    terms = {id(entry): name for name, entry in _named([e for e in listed if _is_term(e)], "A constraint").items()}
    found: list[AbstractConstraint] = []
    for entry in listed:
        if isinstance(entry, Term):
            bound = entry.bind(things, label=terms[id(entry)])
            found.append(HeldTerm(bound, linear_tolerance if entry.is_linear else tolerance))
        elif isinstance(entry, AbstractObjective):
            found.append(NonlinearEquality(_checked(entry, terms[id(entry)], things), tolerance=tolerance))
        else:
            found += as_constraints(entry)
    return tuple(found)


def bound_terms(objective: ObjectiveFunction) -> dict[str, AbstractObjective]:
    """Return the parts of a sum by name, without the one that only declares parameters."""
    return {name: part for name, part in objective.terms.items() if not isinstance(part, Declared)}


def _is_term(entry: Any) -> bool:
    return isinstance(entry, Term | AbstractObjective)


def _named(given: Any, what: str) -> dict[str, Term | AbstractObjective]:
    """Return terms by name, numbered where several share one."""
    if isinstance(given, Mapping):
        listed = [(str(name), entry) for name, entry in given.items()]
    else:
        entries = list(given) if isinstance(given, Sequence) else [given]
        listed = [(_name(entry), entry) for entry in entries]
    for name, entry in listed:
        if not _is_term(entry):
            raise SettingsError(
                f"{what} has the part {name!r} of the class {type(entry).__name__}, which is no term. Wrap a function "
                "of things in Term(function, things, target=...)."
            )
    names = [name for name, _ in listed]
    apart, seen = {}, dict.fromkeys(names, 0)
    for name, entry in listed:
        seen[name] += 1
        apart[f"{name} ({seen[name]})" if names.count(name) > 1 else name] = entry
    return apart


def _name(entry: Any) -> str:
    if isinstance(entry, Term):
        return entry.name
    if isinstance(entry, TermObjective):
        return entry.label
    return type(entry).__name__


def _checked(objective: AbstractObjective, name: str, things: Things) -> AbstractObjective:
    known = things.parameters
    for entry in objective.parameters:
        if entry.name not in known:
            raise SettingsError(
                f"Objective {name!r} has the parameter {entry.name!r}, but those of the things are called "
                f"{', '.join(known.names)}. Rename it, or add its thing."
            )
    return objective
