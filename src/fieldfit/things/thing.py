"""What a thing is: an object that owns named arrays and can be rebuilt with new ones.

A thing is a curve, a network of springs, a mirror: whatever it is, optimization needs two members of it and
takes three more where they are there. No base class is asked for.

    params_dict             name to array, what may be varied
    with_params(values)     a new thing with these arrays, everything else as it is
    name                    how its parameters are called in reports: "<name>.<key>"
    bounds                  name to (lower, upper), each a number, an array or None
    mode_numbers            name to the (l, m, n) of each element, shape (elements, 3), for spectral scales

The functions below are all that the library does with a thing, so that no thing has to bring them along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fieldfit.errors import ParameterError, SettingsError
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector


@runtime_checkable
class Thing(Protocol):
    """Anything with named parameter arrays that can be rebuilt with others.

    Example:
        >>> from fieldfit.things import Thing
        >>> class Line:
        ...     def __init__(self, slope, height):
        ...         self.slope, self.height = slope, height
        ...
        ...     @property
        ...     def params_dict(self):
        ...         return {"slope": self.slope, "height": self.height}
        ...
        ...     def with_params(self, values):
        ...         return Line(**values)
        >>> isinstance(Line(1.0, 0.0), Thing)
        True
    """

    @property
    def params_dict(self) -> Mapping[str, Any]:
        """Name to array."""
        ...

    def with_params(self, values: Any) -> Any:
        """Return a new thing with these arrays, by the names of `params_dict`."""
        ...


@runtime_checkable
class NamedThing(Protocol):
    """A thing that says what it is called."""

    @property
    def name(self) -> str:
        """Name in reports; empty for none."""
        ...


@runtime_checkable
class BoundedThing(Protocol):
    """A thing whose parameters have bounds."""

    @property
    def bounds(self) -> Mapping[str, Any]:
        """Name to (lower, upper), each a number, an array or None; names that are left out have none."""
        ...


@runtime_checkable
class SpectralThing(Protocol):
    """A thing whose parameters are coefficients of modes."""

    @property
    def mode_numbers(self) -> Mapping[str, Any]:
        """Name to the mode numbers (l, m, n) of its elements, shape (elements, 3); others are no modes."""
        ...


def as_things(given: Any) -> tuple[Any, ...]:
    """Return one thing or several as a tuple.

    Args:
        given: A thing, or a list or tuple of things.

    Raises:
        SettingsError: There is none, one is given twice, or something is no thing.
    """
    things = tuple(given) if isinstance(given, list | tuple) else (given,)
    if not things:
        raise SettingsError("There are no things, so there is nothing to vary. Give at least one.")
    for place, thing in enumerate(things):
        if not isinstance(thing, Thing):
            raise SettingsError(
                f"Thing {place} is of the class {type(thing).__name__}, which has no `params_dict` or no "
                "`with_params`. Give it both: its arrays by name, and a function that makes it anew with others."
            )
        if any(thing is other for other in things[:place]):
            raise SettingsError(f"Thing {place} ({type(thing).__name__}) is given twice. Name each thing once.")
    return things


def named_apart(things: Sequence[Any]) -> tuple[str, ...]:
    """Return the name of each thing: its own, "thing0", "thing1" ... without one; numbered where two share one.

    Raises:
        SettingsError: A name has a dot in it, which separates things from their parameters.
    """
    own = [thing.name if isinstance(thing, NamedThing) else "" for thing in things]
    names = [str(name) if name else f"thing{place}" for place, name in enumerate(own)]
    seen = dict.fromkeys(names, 0)
    apart = []
    for name in names:
        if "." in name:
            raise SettingsError(f"A thing is called {name!r}; a dot separates it from its parameters. Rename it.")
        apart.append(f"{name}{seen[name]}" if names.count(name) > 1 else name)
        seen[name] += 1
    if len(set(apart)) < len(apart):
        raise SettingsError(f"Things are called {', '.join(names)}, which cannot be told apart. Rename one of them.")
    return tuple(apart)


def arrays(thing: Any) -> dict[str, np.ndarray]:
    """Return the parameters of a thing as arrays of floats, by name, in its own order.

    Raises:
        ParameterError: One is not made of real numbers.
    """
    found = {}
    for key, value in thing.params_dict.items():
        try:
            found[key] = np.asarray(value, dtype=float)
        except (TypeError, ValueError) as error:
            raise ParameterError(
                f"Parameter {key!r} of a {type(thing).__name__} is {value!r}, which is not made of real numbers. Give "
                "a number or an array."
            ) from error
    return found


def dimensions(thing: Any) -> dict[str, int]:
    """Return the number of elements of each parameter, by name.

    Example:
        >>> from types import SimpleNamespace
        >>> from fieldfit.things import dimensions
        >>> dimensions(SimpleNamespace(params_dict={"a": 1.0, "b": [2.0, 3.0]}))
        {'a': 1, 'b': 2}
    """
    return {key: value.size for key, value in arrays(thing).items()}


def dim_x(thing: Any) -> int:
    """Return the number of elements of all parameters."""
    return sum(dimensions(thing).values())


def x_idx(thing: Any) -> dict[str, np.ndarray]:
    """Return where the elements of each parameter are in the vector that `pack` returns, by name."""
    sizes = dimensions(thing)
    stops = np.cumsum(list(sizes.values()), dtype=int)
    return {key: np.arange(stop - sizes[key], stop) for key, stop in zip(sizes, stops.tolist(), strict=True)}


def pack(thing: Any, values: Mapping[str, Any] | None = None) -> Vector:
    """Return all elements of the parameters one after the other, shape (dim_x,).

    Args:
        thing: Says which parameters there are, and in what order.
        values: Name to array; default: its own.
    """
    given = arrays(thing) if values is None else values
    return np.concatenate([np.zeros(0), *(np.ravel(np.asarray(given[key], dtype=float)) for key in thing.params_dict)])


def unpack(thing: Any, x: Any) -> dict[str, Any]:
    """Return a vector of all elements as arrays by name, in the shapes that the thing has; works on traced vectors.

    Args:
        thing: Says which parameters there are, and in what order and shape.
        x: Shape (dim_x,).
    """
    own = arrays(thing)
    return {key: x[place].reshape(own[key].shape) for key, place in x_idx(thing).items()}


def by_key(thing: Any, given: Any, what: str) -> dict[str, Any]:
    """Return what was given for parameters of a thing, checked to name only such.

    Args:
        thing: Whose parameters.
        given: Name to whatever.
        what: What it is, for messages: "bound".

    Raises:
        ParameterError: A name is not one of its parameters.
    """
    for key in given:
        if key not in thing.params_dict:
            raise ParameterError(
                unknown_name(f"parameter of a {type(thing).__name__} ({what})", key, thing.params_dict)
            )
    return dict(given)
