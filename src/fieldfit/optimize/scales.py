"""The sizes by which variables are measured: `x_scale` of a call as one scale per parameter.

"auto" leaves it to derivatives: trust regions measure variables anew at every accepted point, other optimizers get the
scales that the curvature at the start suggests. Derivatives are taken in units of the largest magnitude in each array.
Anything else is a fixed metric: a trust region is a ball in variables divided by these scales and stays one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.registry import unknown_name
from fieldfit.things import SpectralScale, Things

AUTO, ESS = "auto", "ess"


def is_automatic(x_scale: Any) -> bool:
    """Whether a call leaves all scales to derivatives.

    Args:
        x_scale: As the call has it.
    """
    entries = x_scale if isinstance(x_scale, list | tuple) else [x_scale]
    return all(entry is None or (isinstance(entry, str) and entry == AUTO) for entry in entries)


def parameter_scales(x_scale: Any, things: Things, spectral: SpectralScale) -> dict[str, Any]:
    """Return parameter name to scale; names that are left out have the library's default.

    Args:
        x_scale: "auto", "ess", an array of all elements in the order of the things, or one entry per thing: "auto",
            "ess", or a dictionary from key to an array.
        things: All that are varied.
        spectral: The rule of "ess".

    Raises:
        SettingsError: It is none of these, or does not fit the things.
    """
    entries = _per_thing(x_scale, things)
    scales: dict[str, Any] = {}
    for place, (entry, name) in enumerate(zip(entries, things.names, strict=True)):
        for key, scale in _of_thing(entry, things, place, spectral).items():
            if not (np.all(np.isfinite(scale)) and np.all(np.asarray(scale) > 0.0)):
                raise SettingsError(f"x_scale of {name}.{key} is {scale}. Scales are positive and finite.")
            scales[f"{name}.{key}"] = scale
    return scales


def _per_thing(x_scale: Any, things: Things) -> list[Any]:
    count = len(things.names)
    if isinstance(x_scale, str) or x_scale is None:
        return [x_scale or AUTO] * count
    if isinstance(x_scale, Mapping):
        if count > 1:
            raise SettingsError(
                f"x_scale is one dictionary, but there are {count} things: {', '.join(things.names)}. Give a list with "
                "an entry for each."
            )
        return [x_scale]
    if isinstance(x_scale, list | tuple) and any(isinstance(entry, str | Mapping) for entry in x_scale):
        if len(x_scale) != count:
            raise SettingsError(
                f"x_scale has {len(x_scale)} entries, but there are {count} things: {', '.join(things.names)}. Give "
                "one for each."
            )
        return list(x_scale)
    flat = _numbers(x_scale)
    size = sum(value.size for own in things.arrays for value in own.values())
    if flat.size not in (1, size):
        raise SettingsError(
            f"x_scale has {flat.size} elements, but the things {', '.join(things.names)} have {size}. Give one for "
            "each, in the order of the things."
        )
    return list(things.split(np.broadcast_to(flat, (size,))))


def _of_thing(entry: Any, things: Things, place: int, spectral: SpectralScale) -> Mapping[str, Any]:
    name, own = things.names[place], things.arrays[place]
    if isinstance(entry, str):
        if entry not in (AUTO, ESS):
            raise SettingsError(unknown_name("x_scale", entry, [AUTO, ESS]))
        return spectral.of_thing(things.things[place]) if entry == ESS else _sizes(own)
    if not isinstance(entry, Mapping):
        raise SettingsError(f'x_scale of {name!r} is {entry!r}. Give "auto", "ess", or a dictionary of arrays.')
    for key, scale in entry.items():
        if key not in own:
            raise SettingsError(unknown_name(f"parameter of {name!r} (x_scale)", key, own))
        if np.shape(scale) not in ((), own[key].shape):
            raise SettingsError(
                f"x_scale of {name}.{key} has the shape {np.shape(scale)}, but the parameter {own[key].shape}. Give a "
                "number, or an array of that shape."
            )
    return entry


def _sizes(own: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the largest magnitude in each array for all its elements; arrays of zeros are left out."""
    # One by one would measure a coefficient that an earlier run left at 1e-19 by that.
    found = {key: float(np.max(np.abs(value), initial=0.0)) for key, value in own.items()}
    return {key: np.full(own[key].shape, size) for key, size in found.items() if size > 0.0}


def _numbers(x_scale: Any) -> np.ndarray:
    try:
        return np.ravel(np.asarray(x_scale, dtype=float))
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f'x_scale is {x_scale!r}. Give "auto", "ess", an array of all elements, or one entry per thing.'
        ) from error
