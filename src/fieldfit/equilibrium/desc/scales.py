"""`x_scale` as DESC takes it, in the structure that this library takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fieldfit.equilibrium.desc.things import flat_names
from fieldfit.things import Things


def plain_scales(x_scale: Any, things: Things) -> Any:
    """Return scales with names as those of the things, parameters without elements left out.

    Args:
        x_scale: "auto", "ess", a number, an array of all elements, or one entry per thing: "auto", "ess", a number, an
            array, or a dictionary like DESC's `params_dict`.
        things: All that are varied.
    """
    if isinstance(x_scale, str) or not isinstance(x_scale, Mapping | Sequence):
        return x_scale
    entries = [x_scale] if isinstance(x_scale, Mapping) else list(x_scale)
    if len(entries) != len(things.names):
        return x_scale
    return [_plain(entry, own) for entry, own in zip(entries, things.arrays, strict=True)]


def _plain(entry: Any, own: Mapping[str, np.ndarray]) -> Any:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, Mapping | Sequence):
        return flat_names(entry)
    size = sum(value.size for value in own.values())
    flat = np.broadcast_to(np.asarray(entry, dtype=float), (size,))
    stops = np.cumsum([value.size for value in own.values()])
    parts = np.split(flat, stops[:-1])
    return {key: part.reshape(value.shape) for (key, value), part in zip(own.items(), parts, strict=True)}
