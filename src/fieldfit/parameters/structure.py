"""Parameters from start values of any structure and bounds in many spellings.

A bound is a pair (lower, upper): a tuple or list of two numbers, arrays, quantities or None (no bound on that side).
Bounds are given

    for all                 (0.0, 1.0)
    by name                 {"a": (0.0, 1.0), "soma.g": (0.0, None), "charge.*": (-1.0, 1.0), "w[0]": (0.0, 2.0)}
    as nested structure     {"soma": {"g": (0.0, None)}}
    one per entry           [(0.0, 1.0), (None, 5.0)]     entries of a container in order, or elements of an array
    as SciPy does           scipy.optimize.Bounds(lower, upper), plain numbers per element in the user's own order

What is not mentioned stays without bounds; of several that mean one parameter the last one counts. A list is a
container, so the ends of an array are written as arrays: (np.zeros(3), np.ones(3)).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fieldfit.errors import ParameterError
from fieldfit.parameters.collection import Parameters, as_parameters
from fieldfit.parameters.parameter import Parameter
from fieldfit.registry import unknown_name
from fieldfit.trees import LONE, TreeStructure, flatten_with_names, is_number
from fieldfit.units import Unit, is_quantity, unit_of

UNITS = ("quantity", "magnitude")
"""What a function gets for a parameter with a unit."""


def structured_parameters(given: Any, bounds: Any = None, *, scale: Any = None, units: str = "quantity") -> Parameters:
    """Make parameters from start values of any structure.

    Args:
        given: Numbers, arrays and quantities in any structure, or `Parameters`; see `as_parameters`.
        bounds: See the module's documentation; None: those the parameters have, if any.
        scale: Of every parameter that varies by itself: None, its own or the default; "bounds", the distance between
            its bounds; or a number.
        units: "quantity": functions get quantities where starts are quantities; "magnitude": plain numbers in the same
            units.

    Raises:
        ParameterError: Something is no real number, a name in the bounds is not known, bounds are reversed, have a
            wrong shape or unit, or a start lies outside them.

    Example:
        >>> from fieldfit.parameters.structure import structured_parameters
        >>> start = {"soma": {"g": 1.0, "e": -70.0}, "tau": 5.0}
        >>> parameters = structured_parameters(start, {"soma": {"g": (0.0, None)}, "tau": (1.0, 9.0)})
        >>> parameters["tau"]
        Parameter(tau = 5 in [1, 9])
    """
    parameters = as_parameters(given)
    if bounds is not None:
        ends = _Ends(parameters)
        for name, pair in _listed(bounds, "", parameters):
            ends.set(name, pair)
        # Where there were no scales, a start at zero has one from its bounds.
        are_own = isinstance(given, Parameters) or (parameters.structure is None and isinstance(given, list | tuple))
        entries = [ends.applied(entry, entry.scale if are_own else None) for entry in parameters]
        parameters = Parameters(entries, parameters.ties, parameters.structure)
    return _finished(parameters, scale, units)


def parameters_from_bounds(bounds: Any, start: Any = None, *, scale: Any = None, units: str = "quantity") -> Parameters:
    """Make parameters from their bounds, which have the structure of the parameters.

    Args:
        bounds: A structure whose leaves are pairs (lower, upper), or SciPy's `Bounds` of an array.
        start: Start values, in a structure like that of the bounds or a part of it; elsewhere, their middle.
        scale: None: the distance between two finite bounds, otherwise the default; or as for `structured_parameters`.
        units: "quantity" or "magnitude"; see `structured_parameters`.

    Raises:
        ParameterError: A leaf is no pair, its bounds are reversed or of different units, one of them is not finite
            and there is no start, or a start lies outside.

    Example:
        >>> from fieldfit.parameters.structure import parameters_from_bounds
        >>> parameters_from_bounds({"a": (0.0, 4.0), "b": (-1.0, None)}, {"b": 0.0})["a"]
        Parameter(a = 2 in [0, 4])
    """
    pairs, structure = _pairs(bounds)
    starts = {} if start is None else _starts(start, structure)
    entries = [_between(name, pair, starts.get(name)) for name, pair in zip(structure.names, pairs, strict=True)]
    return _finished(Parameters(entries, structure=structure), scale, units)


def is_pair(given: Any) -> bool:
    """Return whether something is a pair (lower, upper): two numbers, arrays, quantities or None."""
    return isinstance(given, list | tuple) and len(given) == 2 and all(_is_end(end) for end in given)


def _is_end(given: Any) -> bool:
    return given is None or is_quantity(given) or is_number(given)


def _finished(parameters: Parameters, scale: Any, units: str) -> Parameters:
    """Return parameters with the scale and the kind of numbers that were asked for."""
    if units not in UNITS:
        raise ParameterError(unknown_name("way to hand out units", str(units), UNITS))
    if scale is not None:
        free = parameters.split(parameters.is_free)
        entries = [entry.replace(scale=scale) if np.any(free[entry.name]) else entry for entry in parameters]
        parameters = Parameters(entries, parameters.ties, parameters.structure)
    return parameters.magnitudes() if units == "magnitude" else parameters


class _Ends:
    """Bounds of all parameters, put together from those of some."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._lower = {entry.name: entry.lower.copy() for entry in parameters}
        self._upper = {entry.name: entry.upper.copy() for entry in parameters}

    def set(self, name: str, pair: Any) -> None:
        """Put a pair in place of the bounds of a parameter, or of one of its elements."""
        owner = name if name in self._parameters else name.rpartition("[")[0]
        entry = self._parameters[owner]
        place = ... if owner == name else np.unravel_index(entry.labels.index(name), entry.shape)
        for ends, end, missing in ((self._lower, pair[0], -np.inf), (self._upper, pair[1], np.inf)):
            numbers = np.array(missing) if end is None else _plain_end(entry, end, name)
            try:
                ends[owner][place] = numbers
            except ValueError as error:
                shape = entry.shape if owner == name else ()
                raise ParameterError(
                    f"A bound of {name!r} has the shape {numbers.shape}, but {shape} is needed. Give one number for "
                    "all elements, or one for each."
                ) from error

    def applied(self, entry: Parameter, scale: Any) -> Parameter:
        """Return a parameter with its bounds."""
        return entry.replace(lower=self._lower[entry.name], upper=self._upper[entry.name], scale=scale)


def _plain_end(entry: Parameter, end: Any, name: str) -> np.ndarray:
    numbers = entry.plain(end, field="a bound")
    needs_unit = isinstance(entry.unit, Unit) and not is_quantity(end)
    if needs_unit and np.any(np.isfinite(numbers) & (numbers != 0.0)):
        raise ParameterError(
            f"The bound {end} of {name!r} is a plain number, but the parameter is in {entry.unit}. Give both with "
            "units."
        )
    return numbers


def _listed(bounds: Any, path: str, parameters: Parameters) -> Iterator[tuple[str, Any]]:
    """List names of parameters, or labels of elements, with their pairs.

    Args:
        bounds: Those of a part of the structure.
        path: Of that part, empty for the whole.
        parameters: What they are bounds of.
    """
    if bounds is None:
        return
    if is_pair(bounds):
        for name in _named(path, parameters):
            yield name, bounds
    elif not path and _scipy_ends(bounds) is not None:
        yield from _per_element(_scipy_ends(bounds), parameters)
    else:
        for name, part in _parts(bounds, path, parameters):
            yield from _listed(part, name, parameters)


def _parts(bounds: Any, path: str, parameters: Parameters) -> Iterable[tuple[str, Any]]:
    """Return what bounds of several things are made of, with the path of each."""
    if isinstance(bounds, Mapping):
        return [(f"{path}.{key}" if path else str(key), part) for key, part in bounds.items()]
    if dataclasses.is_dataclass(bounds) and not isinstance(bounds, type):
        fields = {entry.name: getattr(bounds, entry.name) for entry in dataclasses.fields(bounds)}
        return _parts({name: part for name, part in fields.items() if _is_bounds(part)}, path, parameters)
    if isinstance(bounds, np.ndarray) and bounds.ndim == 2 and bounds.shape[1] == 2:
        return _parts([tuple(row) for row in bounds], path, parameters)
    if isinstance(bounds, list | tuple) and all(part is None or _is_bounds(part) for part in bounds):
        return zip(_entries(len(bounds), path, parameters), bounds, strict=True)
    raise ParameterError(
        f"The bounds{f' of {path!r}' if path else ''} are {bounds!r}, which is not a pair (lower, upper). Give two "
        "numbers, arrays or quantities, None for a bound that is missing."
    )


def _is_bounds(part: Any) -> bool:
    """Return whether a part of a structure of bounds holds some, and is no number, name or flag."""
    return isinstance(part, Mapping | list | tuple | np.ndarray) or dataclasses.is_dataclass(part)


def _named(path: str, parameters: Parameters) -> tuple[str, ...]:
    """Return the names or the label that a path, a shell pattern or a label stands for."""
    if not path:
        return parameters.names
    label = path.replace(" ", "")
    if path not in parameters and label in parameters.labels:
        return (label,)
    below = tuple(name for name in parameters.names if name.startswith(f"{path}."))
    return below if below and path not in parameters else parameters.match(path)


def _entries(count: int, path: str, parameters: Parameters) -> tuple[str, ...]:
    """Return what the entries of a list of bounds are for.

    Raises:
        ParameterError: There are more or fewer entries than things they could be for.
    """
    names = _named(path, parameters)
    first = len(path.split(".")) if path else 0
    children = dict.fromkeys(".".join(name.split(".")[: first + 1]) for name in names)
    labels = tuple(label for name in names for label in (parameters[name].labels if name in parameters else (name,)))
    for known in (names, tuple(children), labels):
        if len(known) == count:
            return known
    raise ParameterError(
        f"There are {count} bounds{f' in {path!r}' if path else ''}, but {len(children)} entries with {len(labels)} "
        "numbers. Give one pair (lower, upper) for each, or bounds by name."
    )


def _scipy_ends(bounds: Any) -> tuple[Any, Any] | None:
    """Return lower and upper of SciPy's bounds; None for anything else."""
    module = sys.modules.get("scipy.optimize")
    if module is None or not isinstance(bounds, module.Bounds):
        return None
    return bounds.lb, bounds.ub


def _per_element(ends: Any, parameters: Parameters) -> Iterator[tuple[str, Any]]:
    try:
        lower, upper = (np.broadcast_to(np.asarray(end, dtype=float), (parameters.size,)) for end in ends)
    except ValueError as error:
        raise ParameterError(
            f"SciPy's bounds have {np.size(ends[0])} lower and {np.size(ends[1])} upper ends, but there are "
            f"{parameters.size} numbers: {', '.join(parameters.labels)}. Give one of each per number."
        ) from error
    units = [entry.unit for entry in parameters for _ in range(entry.size)]
    for label, low, high, unit in zip(parameters.labels, lower, upper, units, strict=True):
        # A flat vector has no units: its numbers are in those of the parameters.
        yield label, (unit.attach(low), unit.attach(high)) if isinstance(unit, Unit) else (float(low), float(high))


def _pairs(bounds: Any) -> tuple[list[Any], TreeStructure]:
    """Return the pairs of a structure of bounds, and the structure."""
    ends = _scipy_ends(bounds)
    if ends is not None:
        lower, upper = np.broadcast_arrays(*(np.asarray(end, dtype=float) for end in ends))
        return flatten_with_names((lower, upper), is_leaf=is_pair)
    pairs, structure = flatten_with_names(bounds, is_leaf=lambda part: part is None or is_pair(part))
    for name, pair in zip(structure.names, pairs, strict=True):
        if not is_pair(pair):
            raise ParameterError(
                f"The bounds{f' of {name!r}' if name != LONE else ''} are {pair!r}, which is not a pair (lower, "
                "upper). Give two numbers, arrays or quantities, None for a bound that is missing."
            )
    return pairs, structure


def _starts(start: Any, structure: TreeStructure) -> dict[str, Any]:
    leaves, given = flatten_with_names(start, is_leaf=lambda part: part is None or is_quantity(part))
    for name in given.names:
        if name not in structure.names:
            raise ParameterError(unknown_name("parameter with bounds", name, structure.names))
    return {name: leaf for name, leaf in zip(given.names, leaves, strict=True) if leaf is not None}


def _between(name: str, pair: Any, start: Any) -> Parameter:
    """Return a parameter with given bounds, whose distance is its scale where it is finite."""
    value = _middle(name, pair) if start is None else start
    entry = Parameter(name, value, lower=pair[0], upper=pair[1])
    with np.errstate(over="ignore"):
        width = entry.upper - entry.lower
    return entry.replace(scale=np.where(np.isfinite(width) & (width > 0.0), width, entry.scale))


def _middle(name: str, pair: Any) -> Any:
    unit = unit_of(pair[0]) or unit_of(pair[1])
    what = f"A bound of {name!r}"
    ends = [missing if end is None else end for end, missing in zip(pair, (-np.inf, np.inf), strict=True)]
    low, high = (np.asarray(end, dtype=float) if unit is None else unit.magnitude(end, what=what) for end in ends)
    try:
        # Halves are added: the sum of two large bounds would overflow.
        middle = 0.5 * low + 0.5 * high
    except ValueError as error:
        raise ParameterError(
            f"The bounds of {name!r} have the shapes {low.shape} and {high.shape}. Give both the same shape."
        ) from error
    if not np.all(np.isfinite(low) & np.isfinite(high)):
        raise ParameterError(
            f"The bounds of {name!r} are [{low}, {high}]{f' {unit}' if unit else ''}, which has no middle to start "
            "from. Give a start, or two finite bounds."
        )
    return middle if unit is None else unit.attach(middle)
