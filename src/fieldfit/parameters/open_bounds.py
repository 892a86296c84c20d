"""Starts for bounds that are not closed: `parameters_from_bounds` takes the middle, which open bounds do not have."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import Bounds

from fieldfit.parameters.structure import is_pair
from fieldfit.trees import flatten_with_names
from fieldfit.units import unit_of


def starts_inside(bounds: Any) -> Any:
    """Return a start for each pair of bounds that has no middle.

    Args:
        bounds: A structure whose leaves are pairs (lower, upper), or SciPy's `Bounds` of an array.

    Returns:
        The same structure. None where both bounds are finite; elsewhere one unit from the only bound, or zero.

    Example:
        >>> import numpy as np
        >>> from fieldfit.parameters.open_bounds import starts_inside
        >>> found = starts_inside({"a": (0.0, 4.0), "b": (-1.0, None)})
        >>> found["a"] is None, float(found["b"])
        (True, 0.0)
    """
    if isinstance(bounds, Bounds):
        return _start((np.asarray(bounds.lb, dtype=float), np.asarray(bounds.ub, dtype=float)))
    leaves, structure = flatten_with_names(bounds, is_leaf=lambda part: part is None or is_pair(part))
    return structure.rebuild([_start(leaf) if is_pair(leaf) else None for leaf in leaves])


def _start(pair: Any) -> Any:
    unit = unit_of(pair[0]) or unit_of(pair[1])
    ends = [missing if end is None else end for end, missing in zip(pair, (-np.inf, np.inf), strict=True)]
    low, high = (np.asarray(end, dtype=float) if unit is None else unit.magnitude(end, what="A bound") for end in ends)
    # Ends of different shapes are refused with the parameters, by name.
    if low.shape != high.shape and min(low.ndim, high.ndim) > 0:
        return None
    has_low, has_high = np.isfinite(low), np.isfinite(high)
    if np.all(has_low & has_high):
        return None
    with np.errstate(invalid="ignore"):
        middle = 0.5 * low + 0.5 * high
    beside = np.where(has_low, low + 1.0, np.where(has_high, high - 1.0, 0.0))
    inside = np.where(has_low & has_high, middle, beside)
    return inside if unit is None else unit.attach(inside)
