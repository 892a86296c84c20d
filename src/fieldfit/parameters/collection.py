"""An ordered collection of parameters that is never changed in place."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fieldfit.errors import ParameterError
from fieldfit.parameters.parameter import Parameter
from fieldfit.parameters.transforms import CHOOSE
from fieldfit.registry import unknown_name
from fieldfit.trees import TreeStructure, flatten_with_names, is_number
from fieldfit.typing import Vector
from fieldfit.units import Unit, is_quantity

if TYPE_CHECKING:
    from fieldfit.parameters.space import ParameterSpace


@dataclass(frozen=True)
class Tie:
    """A parameter that follows another: value = factor * value of the leader."""

    leader: str
    factor: float = 1.0


@dataclass(frozen=True, eq=False)
class Parameters:
    """Named parameters in a fixed order; every method returns a new collection.

    Names are matched by shell patterns: `parameters.fix("angle.*.theta0")`.

    Args:
        entries: The parameters, or a mapping from name to start value.
        ties: Follower name to `Tie`.
        structure: The nested structure that `tree` rebuilds from one leaf per parameter; see `from_tree`.

    Raises:
        ParameterError: A name is given twice, or a tie names an unknown parameter, itself or another follower.

    Example:
        >>> from fieldfit import Parameter, Parameters
        >>> parameters = Parameters([Parameter("a", 1.0, lower=0.0), Parameter("b", [2.0, 3.0])])
        >>> parameters.fix("b").n_free
        1
    """

    entries: tuple[Parameter, ...]
    ties: Mapping[str, Tie] = field(default_factory=dict)
    structure: TreeStructure | None = None

    def __init__(
        self,
        entries: Iterable[Parameter] | Mapping[str, Any] = (),
        ties: Mapping[str, Tie] | None = None,
        structure: TreeStructure | None = None,
    ) -> None:
        if isinstance(entries, Mapping):
            given = cast(Mapping[str, Any], entries)
            listed = [Parameter(name, value) for name, value in given.items()]
        else:
            listed = list(cast(Iterable[Parameter], entries))
        object.__setattr__(self, "entries", tuple(listed))
        object.__setattr__(self, "ties", dict(ties or {}))
        object.__setattr__(self, "structure", structure)
        self._check_names()
        self._check_ties()

    @staticmethod
    def from_tree(tree: Any, *, lower: Any = None, upper: Any = None) -> Parameters:
        """Make one parameter of each leaf of a nested structure, named by its path; see `fieldfit.trees`.

        Args:
            tree: Start values: dictionaries, lists, tuples, dataclasses, modules of equinox, in any nesting.
            lower: Lower bounds, a tree of the same structure; default: none.
            upper: Upper bounds, a tree of the same structure; default: none.

        Returns:
            The parameters; `tree` puts values back into the structure.

        Raises:
            ParameterError: The bounds have another structure, or a leaf is not a number or an array.

        Example:
            >>> from fieldfit import Parameters
            >>> Parameters.from_tree({"soma": {"g": 1.0, "e": -70.0}, "tau": [5.0, 9.0]}).names
            ('soma.g', 'soma.e', 'tau.0', 'tau.1')
        """
        leaves, structure = flatten_with_names(tree, is_leaf=is_quantity)
        bounds = []
        for what, given, missing in (("lower", lower, -np.inf), ("upper", upper, np.inf)):
            if given is None:
                bounds.append(dict.fromkeys(structure.names, missing))
                continue
            values, shape = flatten_with_names(given, is_leaf=is_quantity)
            if set(shape.names) != set(structure.names):
                raise ParameterError(
                    f"The {what} bounds have the leaves {', '.join(shape.names)}, but the start values have "
                    f"{', '.join(structure.names)}. Give a tree of the same structure."
                )
            bounds.append(dict(zip(shape.names, values, strict=True)))
        entries = [
            Parameter(name, leaf, lower=bounds[0][name], upper=bounds[1][name])
            for name, leaf in zip(structure.names, leaves, strict=True)
        ]
        return Parameters(entries, structure=structure)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(entry.name for entry in self.entries)

    @property
    def labels(self) -> tuple[str, ...]:
        """One label per element, in the order of `flat`."""
        return tuple(label for entry in self.entries for label in entry.labels)

    @property
    def size(self) -> int:
        """Number of elements, free or not."""
        return sum(entry.size for entry in self.entries)

    @property
    def is_free(self) -> np.ndarray:
        """Whether each element may vary by itself: neither fixed nor tied, shape (size,)."""
        if not self.entries:
            return np.zeros(0, dtype=bool)
        return np.concatenate([~entry.fixed.ravel() & (entry.name not in self.ties) for entry in self.entries])

    @property
    def n_free(self) -> int:
        """Number of elements that vary by themselves."""
        return int(np.count_nonzero(self.is_free))

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Start values by name, with every tie applied."""
        return self.split(self.flat)

    @property
    def flat(self) -> Vector:
        """Start values of all elements, physical, with every tie applied, shape (size,)."""
        own = {entry.name: entry.value for entry in self.entries}
        for name, tie in self.ties.items():
            own[name] = tie.factor * own[tie.leader]
        return np.concatenate([np.zeros(0), *(np.ravel(own[name]) for name in self.names)])

    def split(self, flat: Any) -> dict[str, Any]:
        """Cut a flat vector of all elements into arrays by name; works on traced arrays."""
        return {name: flat[part].reshape(shape) for name, part, shape in self._places}

    def tree(self, flat: Any) -> Any:
        """Put a flat vector of all elements into the user's own structure; a dictionary by name if there is none.

        Parameters with units become quantities. Works on traced arrays.
        """
        pieces = self.split(flat)
        for name, unit in self._units:
            pieces[name] = unit.attach(pieces[name])
        return pieces if self.structure is None else self.structure.rebuild(list(pieces.values()))

    @cached_property
    def space(self) -> ParameterSpace:
        """The flat, free, scaled vector of these parameters.

        Raises:
            ParameterError: Nothing is free, or the bounds of tied parameters exclude each other.
        """
        from fieldfit.parameters.space import ParameterSpace

        return ParameterSpace(self)

    @cached_property
    def _units(self) -> list[tuple[str, Unit]]:
        """Name and unit of each parameter that is a quantity."""
        return [(entry.name, entry.unit) for entry in self.entries if isinstance(entry.unit, Unit)]

    @cached_property
    def _places(self) -> list[tuple[str, slice, tuple[int, ...]]]:
        """Name, place in the flat vector and shape of each parameter; every evaluation cuts vectors by it."""
        stops = np.cumsum([entry.size for entry in self.entries], dtype=int).tolist()
        return [
            (entry.name, slice(stop - entry.size, stop), entry.shape)
            for entry, stop in zip(self.entries, stops, strict=True)
        ]

    def match(self, pattern: str) -> tuple[str, ...]:
        """Return the names that a shell pattern matches.

        Raises:
            ParameterError: Nothing matches.
        """
        # A name is itself before it is a pattern: Amber calls one of its atom types "C*".
        if pattern in self.names:
            return (pattern,)
        found = tuple(name for name in self.names if fnmatch.fnmatchcase(name, pattern))
        if not found:
            raise ParameterError(unknown_name("parameter", pattern, self.names))
        return found

    def elements(self, pattern: str) -> np.ndarray:
        """Return the places in `flat` of a name, a shell pattern of names, or the label of an element, "w[0]".

        Raises:
            ParameterError: Nothing matches.

        Example:
            >>> from fieldfit import Parameters
            >>> parameters = Parameters({"a": 1.0, "w": [[1.0, 2.0], [3.0, 4.0]]})
            >>> parameters.elements("w[1,0]").tolist(), parameters.elements("*").tolist()
            ([3], [0, 1, 2, 3, 4])
        """
        label = pattern.replace(" ", "")
        if pattern not in self.names and label in self.labels:
            return np.array([self.labels.index(label)])
        if pattern not in self.names and label.endswith("]") and label.partition("[")[0] in self.names:
            raise ParameterError(unknown_name("element of a parameter", pattern, self.labels))
        found = set(self.match(pattern))
        stops = {name: range(part.start, part.stop) for name, part, _ in self._places}
        return np.array([place for name in self.names if name in found for place in stops[name]], dtype=int)

    def fix(self, *patterns: str) -> Parameters:
        """Return a copy in which the matching parameters stay as they are."""
        return self._change(patterns, fixed=True)

    def free(self, *patterns: str) -> Parameters:
        """Return a copy in which the matching parameters vary."""
        return self._change(patterns, fixed=False)

    def bound(self, pattern: str, lower: Any, upper: Any) -> Parameters:
        """Return a copy with new bounds on the matching parameters; plain numbers are in their unit."""
        return self._change((pattern,), lower=lower, upper=upper)

    def unbounded(self) -> Parameters:
        """Return a copy whose variables have no bounds, for optimizers that cannot take any.

        Bounded parameters get the transform "unbounded": logit between two bounds, log-distance from one. A solution on
        a bound is approached and never reached; an optimizer that takes bounds finds it sooner.

        Raises:
            ParameterError: A parameter starts on a bound, where its transform is infinite.
        """
        leaders = {tie.leader for name, tie in self.ties.items() if _is_bounded(self[name])}
        entries = [
            replace(entry, transform=CHOOSE)
            if (_is_bounded(entry) or entry.name in leaders) and entry.name not in self.ties
            else entry
            for entry in self.entries
        ]
        return Parameters(entries, self.ties, self.structure)

    def magnitudes(self) -> Parameters:
        """Return a copy that hands out plain numbers in the same units, for functions that know nothing of units."""
        entries = [replace(entry, unit=str(entry.unit)) for entry in self.entries]
        return Parameters(entries, self.ties, self.structure)

    def tie(self, follower: str, leader: str, *, factor: float = 1.0) -> Parameters:
        """Return a copy in which one parameter is a multiple of another."""
        return Parameters(self.entries, {**self.ties, follower: Tie(leader, factor)}, self.structure)

    def replace(self, values: Mapping[str, Any]) -> Parameters:
        """Return a copy with new start values, checked against the bounds.

        Raises:
            ParameterError: A name is unknown, a value lies outside its bounds, or one of a tied parameter is not what
                its leader makes it.
        """
        for name in values:
            self[name]
        for name, tie in self.ties.items():
            if name not in values:
                continue
            follows = tie.factor * self[tie.leader].plain(values.get(tie.leader, self[tie.leader].value))
            if not np.allclose(self[name].plain(values[name]), follows, rtol=1e-9, atol=0.0):
                raise ParameterError(
                    f"Parameter {name!r} is tied to {tie.leader!r} and therefore {follows}, not {values[name]}. "
                    "Give the value of its leader."
                )
        return Parameters(
            [replace(entry, value=values[entry.name]) if entry.name in values else entry for entry in self.entries],
            self.ties,
            self.structure,
        )

    def table(self) -> str:
        """Write the parameters as a table: value, unit, bounds, how each is held."""
        rows = [f"{'parameter':32s} {'value':>14s} {'lower':>10s} {'upper':>10s}  unit"]
        flat, free = self.flat, self.is_free
        index = 0
        for entry in self.entries:
            held = f"tied to {self.ties[entry.name].leader}" if entry.name in self.ties else "fixed"
            for label, lower, upper in zip(entry.labels, entry.lower.flat, entry.upper.flat, strict=True):
                note = "" if free[index] else f"  ({held})"
                rows.append(f"{label:32s} {flat[index]:14.6g} {lower:10.4g} {upper:10.4g}  {entry.unit}{note}")
                index += 1
        return "\n".join(rows)

    def __getitem__(self, name: str) -> Parameter:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise ParameterError(unknown_name("parameter", name, self.names))

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"Parameters({len(self)} parameters, {self.n_free} of {self.size} elements free)"

    def _change(self, patterns: Iterable[str], **changes: Any) -> Parameters:
        chosen = {name for pattern in patterns for name in self.match(pattern)}
        entries = [replace(entry, **changes) if entry.name in chosen else entry for entry in self.entries]
        return Parameters(entries, self.ties, self.structure)

    def _check_names(self) -> None:
        seen: set[str] = set()
        for name in self.names:
            if name in seen:
                raise ParameterError(f"Two parameters are called {name!r}. Give each its own name.")
            seen.add(name)

    def _check_ties(self) -> None:
        for follower, tie in self.ties.items():
            if self[follower].shape != self[tie.leader].shape:
                raise ParameterError(
                    f"Parameter {follower!r} of shape {self[follower].shape} cannot follow {tie.leader!r} of shape "
                    f"{self[tie.leader].shape}. Tie parameters of equal shape."
                )
            if np.any(self[follower].fixed & ~self[tie.leader].fixed):
                raise ParameterError(
                    f"Parameter {follower!r} cannot stay as it is while it follows {tie.leader!r}, which varies. "
                    "Fix the leader too, or take back the tie."
                )
            if tie.leader in self.ties or follower == tie.leader:
                raise ParameterError(
                    f"Parameter {follower!r} is tied to {tie.leader!r}, which is itself tied. Tie both to one leader."
                )
            if tie.factor == 0.0 or not np.isfinite(tie.factor):
                raise ParameterError(
                    f"Parameter {follower!r} is tied with the factor {tie.factor}. Fix it instead, or give a finite "
                    "factor other than zero."
                )


def as_parameters(given: Any) -> Parameters:
    """Take parameters as users give them.

    Args:
        given: `Parameters`, a list of `Parameter`, a dictionary from name to number or array, or any structure of
            numbers, arrays and quantities: nested containers, dataclasses, modules, a lone number.

    Returns:
        The parameters. Lists of numbers directly in a dictionary are arrays; otherwise they are those of
        `Parameters.from_tree`, to which a list is a container.

    Raises:
        ParameterError: Something in it is no real number.
    """
    if isinstance(given, Parameters):
        return given
    if isinstance(given, list | tuple) and given and all(isinstance(entry, Parameter) for entry in given):
        return Parameters(given)
    if isinstance(given, Mapping) and all(isinstance(name, str) and _is_numeric(given[name]) for name in given):
        return Parameters(given)
    return Parameters.from_tree(given)


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return _is_list_of_numbers(value)
    return is_quantity(value) or is_number(value)


def _is_list_of_numbers(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "iuf" and type(value) in (list, tuple)
    except (TypeError, ValueError):
        return False


def _is_bounded(entry: Parameter) -> bool:
    """Return whether a parameter would be bounded as a variable."""
    is_open = (entry.lower == -np.inf) | ((entry.lower == 0.0) & (entry.transform == "log"))
    return not np.all((is_open & (entry.upper == np.inf)) | entry.fixed)
