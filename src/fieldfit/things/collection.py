"""Several things as one collection of named parameters, and back.

Parameters are called "<thing>.<key>"; their order is that of the things, and within each that of its `params_dict`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.errors import ParameterError, SettingsError
from fieldfit.parameters import Parameter, Parameters
from fieldfit.registry import unknown_name
from fieldfit.things.thing import BoundedThing, NamedThing, arrays, as_things, by_key, named_apart
from fieldfit.typing import Vector


@dataclass(frozen=True, eq=False)
class Things:
    """Things with names.

    Args:
        things: In the user's order.
        names: One each, all different.
    """

    things: tuple[Any, ...]
    names: tuple[str, ...]

    @staticmethod
    def of(given: Any) -> Things:
        """Name one thing or several apart.

        Raises:
            SettingsError: Something is no thing, or names cannot be told apart.
        """
        things = as_things(given)
        return Things(things, named_apart(things))

    @cached_property
    def arrays(self) -> tuple[dict[str, np.ndarray], ...]:
        """Parameters of each thing by name."""
        return tuple(arrays(thing) for thing in self.things)

    @cached_property
    def parameters(self) -> Parameters:
        """All parameters with their bounds and the library's scales; see `scaled`."""
        return self.scaled({})

    def scaled(self, scales: Mapping[str, Any]) -> Parameters:
        """Return all parameters with their bounds; elements whose bounds are equal stay as they are.

        Args:
            scales: Parameter name to a change of typical size; names that are left out have the library's default.

        Raises:
            ParameterError: A value is not finite or outside its bounds, or bounds are given for no parameter.
        """
        entries = []
        for thing, name, own in zip(self.things, self.names, self.arrays, strict=True):
            bounds = by_key(thing, thing.bounds, "bound") if isinstance(thing, BoundedThing) else {}
            for key, value in own.items():
                full = f"{name}.{key}"
                entries.append(_parameter(full, value, bounds.get(key, (None, None)), scales.get(full)))
        return Parameters(entries)

    def chosen(self, wanted: Sequence[Any] | None, who: str) -> tuple[str, ...]:
        """Return the names of the things that a term acts on.

        Args:
            wanted: Things, or their names; None: all.
            who: The term, for messages.

        Raises:
            SettingsError: One of them is not here.
        """
        return self.names if wanted is None else tuple(self._name_of(entry, who) for entry in wanted)

    def _name_of(self, wanted: Any, who: str) -> str:
        if isinstance(wanted, str):
            if wanted not in self.names:
                raise SettingsError(f"Term {who!r}: {unknown_name('thing', wanted, self.names)}")
            return wanted
        for thing, name in zip(self.things, self.names, strict=True):
            if thing is wanted:
                return name
        # A thing that was rebuilt is another object; its own name says that it stands for the one in the term.
        if isinstance(wanted, NamedThing) and wanted.name in self.names:
            return wanted.name
        raise SettingsError(
            f"Term {who!r} acts on a {type(wanted).__name__} that is not among the things to be varied: "
            f"{', '.join(self.names)}. Add it to them (and hold it with Fixed), or name a thing by its name."
        )

    def rebuilt(self, x: Vector) -> tuple[Any, ...]:
        """Return new things with the parameters of a flat vector.

        Args:
            x: All elements, physical, in the order of `parameters`.
        """
        parts = zip(self.things, self.split(x), strict=True)
        return tuple(thing.with_params(values) for thing, values in parts)

    def updated(self, x: Vector) -> tuple[Any, ...]:
        """Set the parameters of a flat vector on the things themselves where they allow it.

        A thing whose `params_dict` cannot be set is rebuilt instead.

        Args:
            x: All elements, physical, in the order of `parameters`.
        """
        return tuple(_set(thing, values) for thing, values in zip(self.things, self.split(x), strict=True))

    def split(self, x: Vector) -> tuple[dict[str, np.ndarray], ...]:
        """Return a flat vector as parameters of each thing by name."""
        found, start = [], 0
        for own in self.arrays:
            values = {}
            for key, value in own.items():
                values[key] = np.array(x[start : start + value.size]).reshape(value.shape)
                start += value.size
            found.append(values)
        return tuple(found)


def _parameter(name: str, value: np.ndarray, bounds: Any, scale: Any) -> Parameter:
    try:
        lower, upper = (missing if end is None else end for end, missing in zip(bounds, (-np.inf, np.inf), strict=True))
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"Parameter {name!r} has the bounds {bounds!r}, which are not a pair. Give (lower, upper), None for none."
        ) from error
    is_held = np.equal(lower, upper) & np.isfinite(lower)
    return Parameter(name, value, lower=lower, upper=upper, scale=scale, fixed=is_held)


def _set(thing: Any, values: dict[str, np.ndarray]) -> Any:
    try:
        thing.params_dict = values
    except AttributeError:
        return thing.with_params(values)
    return thing
