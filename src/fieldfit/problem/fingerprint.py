"""What a problem and an optimizer are, as far as it can be written down: to tell whether a run can be continued.

A run is continued only with the question that it was begun with: the same parameters with starts, scales and bounds,
as many residuals, the same constraints, the same optimizer with the same options but for those that say when to stop.
Data inside an objective cannot be written down; the cost at the start stands for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from fieldfit.parameters import Parameters
from fieldfit.problem.problem import Problem
from fieldfit.typing import Vector

SAME = 1e-9
"""Numbers that differ by less, relatively, are equal: they may have been computed on another machine."""

SHOWN = 3
"""Differences that a message lists."""


def problem_fingerprint(problem: Problem) -> dict[str, Any]:
    """Return what has to be equal for a point of one problem to be a point of another."""
    parameters = problem.parameters
    return {
        "parameters": {entry.name: list(entry.shape) for entry in parameters},
        "lower bounds": _elements(parameters, "lower"),
        "upper bounds": _elements(parameters, "upper"),
        "fixed mark": _elements(parameters, "fixed"),
        "residuals": {name: part.stop - part.start for name, part in problem.objective.term_slices().items()},
        "constraints": {entry.name: [entry.lower, entry.upper] for entry in problem.conditions},
    }


def start_fingerprint(problem: Problem) -> dict[str, Any]:
    """Return what has to be equal besides for a run to be continued: its start, and what its variables are."""
    parameters = problem.parameters
    transforms = {entry.name: entry.transform for entry in parameters}
    return {"start": parameters.flat, "scales": _elements(parameters, "scale"), "transforms": transforms}


def option_fingerprint(optimizer: Any, adjustable: Sequence[str]) -> dict[str, str]:
    """Return the options of an optimizer as texts, those of its parts by dotted names.

    Args:
        optimizer: A dataclass of options; anything else has none.
        adjustable: Names of options that may change.
    """
    found = {}
    for entry in fields(optimizer) if is_dataclass(optimizer) else ():
        value = getattr(optimizer, entry.name)
        if entry.name in adjustable:
            continue
        if is_dataclass(value) and not isinstance(value, type):
            found[entry.name] = type(value).__name__
            parts = option_fingerprint(value, adjustable)
            found |= {f"{entry.name}.{name}": text for name, text in parts.items()}
        else:
            # Addresses of functions differ from one process to the next.
            found[entry.name] = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    return found


def differences(then: Mapping[str, Any], now: Mapping[str, Any], labels: tuple[str, ...]) -> list[str]:
    """Write what differs.

    Args:
        then: Of the run in a file.
        now: Of the call.
        labels: Of the elements of all parameters.
    """
    found = [text for name in now for text in _differing(name, then.get(name), now[name], labels)]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return [*found[:SHOWN], *more]


def _differing(name: str, then: Any, now: Any, labels: tuple[str, ...]) -> Iterator[str]:
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        for key in {**then, **now}:
            if not _is_same(then.get(key), now.get(key)):
                yield f"{name}: {key} is {_text(now.get(key))}, was {_text(then.get(key))}"
    elif isinstance(now, np.ndarray) and isinstance(then, np.ndarray) and now.shape == then.shape:
        for place in np.flatnonzero(~_is_near(then, now)):
            yield f"{name} of {labels[place]}: {now[place]:.6g}, was {then[place]:.6g}"
    elif not _is_same(then, now):
        yield f"{name}: {_text(now)}, was {_text(then)}"


def _is_same(then: Any, now: Any) -> bool:
    if isinstance(now, np.ndarray) and isinstance(then, np.ndarray):
        return then.shape == now.shape and bool(_is_near(then, now).all())
    if isinstance(now, list) and isinstance(then, list):
        return len(then) == len(now) and all(_is_same(*pair) for pair in zip(then, now, strict=True))
    return type(then) is type(now) and then == now


def _is_near(then: np.ndarray, now: np.ndarray) -> np.ndarray:
    return np.isclose(then, now, rtol=SAME, atol=0.0, equal_nan=True)


def _text(value: Any) -> str:
    if value is None:
        return "not there"
    if isinstance(value, list) and all(isinstance(entry, np.ndarray) for entry in value) and value:
        return f"within {' and '.join(np.array2string(entry, precision=6, threshold=6) for entry in value)}"
    return str(value)


def _elements(parameters: Parameters, name: str) -> Vector:
    return np.concatenate([np.zeros(0), *(np.ravel(getattr(entry, name)).astype(float) for entry in parameters)])
