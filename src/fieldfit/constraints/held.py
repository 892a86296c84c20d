"""Constraints that take variables away: fixed and equal parameters. No optimizer can violate them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.constraints.constraint import AbstractConstraint, Condition
from fieldfit.constraints.limits import unit_factor
from fieldfit.errors import ConstraintError
from fieldfit.parameters import Parameter, Parameters, Tie
from fieldfit.units import Unit, is_quantity


@dataclass(frozen=True)
class Fixed(AbstractConstraint):
    """Parameters stay as they are, or at a given value.

    Args:
        pattern: Name, shell pattern of names, or label of an element such as "w[0]".
        value: Where they stay; None: at their start.

    Raises:
        ParameterError: Nothing matches, or the value lies outside the bounds.

    Example:
        >>> import fieldfit
        >>> loss = lambda p: (p["a"] - 1.0) ** 2 + (p["b"] - p["a"]) ** 2
        >>> problem = fieldfit.Problem(loss, {"a": 0.0, "b": 0.0}, constraints=[fieldfit.Fixed("b", 3.0)])
        >>> round(float(fieldfit.fit(problem).x["a"]), 6)
        2.0
    """

    pattern: str
    value: Any = None

    @property
    def label(self) -> str:
        return f"Fixed({self.pattern!r})"

    def applied(self, parameters: Parameters) -> Parameters:
        chosen = np.zeros(parameters.size, dtype=bool)
        chosen[parameters.elements(self.pattern)] = True
        held = parameters.split(chosen)
        entries = [
            _fix(entry, held[entry.name], self.value) if np.any(held[entry.name]) else entry for entry in parameters
        ]
        return Parameters(entries, parameters.ties, parameters.structure)

    def condition(self, parameters: Parameters) -> None:
        return None


@dataclass(frozen=True, init=False)
class Equal(AbstractConstraint):
    """Parameters of one shape are equal to each other, element by element.

    Those after the first follow it. Elements ("w[0]") cannot follow by themselves; they become a linear condition.

    Args:
        *names: Two or more names, shell patterns or labels of elements.

    Raises:
        ConstraintError: There are fewer than two, or they differ in shape.
        ParameterError: Nothing matches, or starts and bounds exclude each other.

    Example:
        >>> import fieldfit
        >>> loss = lambda p: (p["a"] - 1.0) ** 2 + (p["b"] - 3.0) ** 2
        >>> problem = fieldfit.Problem(loss, {"a": 0.0, "b": 0.0}, constraints=[fieldfit.Equal("a", "b")])
        >>> round(float(fieldfit.fit(problem).x["b"]), 6)
        2.0
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)

    @property
    def label(self) -> str:
        return f"Equal({', '.join(map(repr, self.names))})"

    def applied(self, parameters: Parameters) -> Parameters:
        names = self._whole(parameters)
        if names is None:
            return parameters
        for follower in names[1:]:
            parameters = _follow(parameters, follower, names[0])
        return parameters

    def condition(self, parameters: Parameters) -> Condition | None:
        if self._whole(parameters) is not None:
            return None
        elements = [parameters.elements(name) for name in self.names]
        if len({part.size for part in elements}) != 1:
            sizes = ", ".join(f"{name} has {part.size}" for name, part in zip(self.names, elements, strict=True))
            raise ConstraintError(f"{self.label} joins parts of different size: {sizes}. Give parts of one size.")
        first = elements[0]
        rows = [(leader, other) for part in elements[1:] for leader, other in zip(first, part, strict=True)]
        matrix = np.zeros((len(rows), parameters.size))
        owners = [entry for entry in parameters for _ in range(entry.size)]
        for row, (leader, other) in enumerate(rows):
            if leader == other:
                raise ConstraintError(f"{self.label} names an element twice. Name another one.")
            matrix[row, leader], matrix[row, other] = -_factor(owners[other], owners[leader]), 1.0
        zero = np.zeros(len(rows))
        return Condition(self.label, zero, zero, matrix=matrix)

    def _whole(self, parameters: Parameters) -> tuple[str, ...] | None:
        """Return the names of the parameters that are equal, or None if elements of some are meant."""
        if any(name not in parameters and name in parameters.labels for name in self.names):
            return None
        found = tuple(dict.fromkeys(match for name in self.names for match in parameters.match(name)))
        if len(found) < 2:
            raise ConstraintError(
                f"{self.label} names {len(found)} parameter{'s' if len(found) != 1 else ''}, but two or more are "
                "needed to be equal. Name another one."
            )
        return found


def _fix(entry: Parameter, chosen: np.ndarray, value: Any) -> Parameter:
    """Return a parameter whose chosen elements stay at a value."""
    if value is None:
        return entry.replace(fixed=entry.fixed | chosen)
    plain = entry.plain(value, field="the value it is fixed at")
    if isinstance(entry.unit, Unit) and not is_quantity(value) and np.any(plain != 0.0):
        raise ConstraintError(
            f"Fixed({entry.name!r}) has the plain value {value!r}, but the parameter is in {entry.unit}. Give the "
            "value with a unit."
        )
    try:
        moved = entry.value.copy()
        moved[chosen] = np.broadcast_to(plain, entry.shape)[chosen]
    except ValueError as error:
        raise ConstraintError(
            f"Fixed({entry.name!r}) has the value {value!r}, but the parameter has the shape {entry.shape}. Give a "
            "number, or an array of that shape."
        ) from error
    return entry.replace(value=moved, fixed=entry.fixed | chosen)


def _follow(parameters: Parameters, follower: str, leader: str) -> Parameters:
    """Return parameters in which one follows another, starting where that starts, and those that it leads with it."""
    factor = _factor(parameters[follower], parameters[leader])
    first, last = (parameters.ties.get(name, Tie(name)) for name in (leader, follower))
    if first.leader == last.leader:
        if np.isclose(factor * first.factor, last.factor, rtol=1e-12, atol=0.0):
            return parameters
        raise ConstraintError(
            f"Equal({leader!r}, {follower!r}): both follow {first.leader!r}, but with the factors {first.factor:g} and "
            f"{last.factor:g}. Take back one of the ties."
        )
    factor *= first.factor / last.factor
    moved = [name for name in parameters.names if parameters.ties.get(name, Tie(name)).leader == last.leader]
    ties = {name: Tie(first.leader, factor * parameters.ties.get(name, Tie(name)).factor) for name in moved}
    shape, start = parameters[first.leader].shape, parameters[first.leader].value
    entries = [
        entry.replace(value=ties[entry.name].factor * start) if entry.name in ties and entry.shape == shape else entry
        for entry in parameters
    ]
    return Parameters(entries, {**parameters.ties, **ties}, parameters.structure)


def _factor(follower: Parameter, leader: Parameter) -> float:
    """Return what one unit of the leader is in that of the follower."""
    if not isinstance(follower.unit, Unit) and not isinstance(leader.unit, Unit):
        return 1.0
    if isinstance(follower.unit, Unit) and isinstance(leader.unit, Unit):
        return unit_factor(follower.unit, leader.unit, f"Equal({leader.name!r}, {follower.name!r})")
    raise ConstraintError(
        f"Equal({leader.name!r}, {follower.name!r}) joins a value in {follower.unit or leader.unit} to a plain number. "
        "Give both parameters units, or none."
    )
