"""Between named parameters and the flat, free, scaled vector x that optimizers see.

Every element of the model's parameters is `p = constant + multiplier * x[source]`: fixed elements have multiplier 0,
tied ones share the source of their leader. The map is affine, so derivatives go through it by
gathering and adding columns.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from fieldfit.errors import ParameterError
from fieldfit.parameters.collection import Parameters
from fieldfit.typing import Vector


class ParameterSpace:
    """The free elements of a `Parameters`, scaled.

    Args:
        parameters: Named parameters; at least one element must be free.

    Attributes:
        labels: One label per entry of x.
        start: x of the start values, shape (n,).
        lower: Lower bounds on x, those of followers included, shape (n,).
        upper: Upper bounds on x, shape (n,).
        scale: Physical change per unit of x, shape (n,).
        constant: Physical value of each element that does not vary, 0 for the others, shape (elements,).
        multiplier: Physical change of each element per unit of its variable, 0 for fixed ones, shape (elements,).
        physical_lower: Lower bounds of all elements, physical, shape (elements,).
        physical_upper: Upper bounds of all elements, physical, shape (elements,).
        source: Index in x of the variable that moves each element, -1 for fixed ones, shape (elements,).

    Raises:
        ParameterError: Nothing is free, or the bounds of tied parameters exclude each other.
    """

    def __init__(self, parameters: Parameters) -> None:
        free = parameters.is_free
        if not np.any(free):
            raise ParameterError("Every parameter is fixed or tied, so there is nothing to vary. Free at least one.")
        self.parameters = parameters
        scales = np.concatenate([entry.scale.ravel() for entry in parameters])
        self.labels = tuple(label for label, is_free in zip(parameters.labels, free, strict=True) if is_free)
        self.scale: Vector = scales[free]
        self._free = np.flatnonzero(free)
        self.source, factor = _sources(parameters)
        follows = self.source >= 0
        self.multiplier = np.where(follows, factor * self.scale[self.source], 0.0)
        self.constant = np.where(follows, 0.0, parameters.flat)
        in_order = np.argsort(np.where(follows, self.source, self.scale.size), kind="stable")
        self._varying = in_order[: np.count_nonzero(follows)]
        self._starts = np.searchsorted(self.source[self._varying], np.arange(self.scale.size))
        self._is_plain = bool(np.all(free))
        self.physical_lower = np.concatenate([entry.lower.ravel() for entry in parameters])
        self.physical_upper = np.concatenate([entry.upper.ravel() for entry in parameters])
        self.lower, self.upper = self._bounds(follows)
        start = parameters.flat[free] / self.scale
        self._check_start(start)
        self.start: Vector = self.clip(start)

    @property
    def size(self) -> int:
        """Number of free elements n."""
        return len(self.labels)

    def physical(self, x: Vector) -> Vector:
        """Return all elements of the parameters in physical units, shape (parameters.size,)."""
        return self.constant + self.multiplier * x[self.source]

    def values(self, x: Vector) -> dict[str, np.ndarray]:
        """Return the parameters at x by name, in physical units."""
        return self.parameters.split(self.physical(x))

    def vector(self, physical: Vector) -> Vector:
        """Return the x of a flat physical vector of all elements."""
        return physical[self._free] / self.scale

    def chain(
        self, derivatives: Float[np.ndarray, "... elements"], columns: np.ndarray | None = None
    ) -> Float[np.ndarray, "... n"]:
        """Turn derivatives with respect to physical elements into derivatives with respect to x.

        Args:
            derivatives: One column per element.
            columns: Which elements, by index, ascending; all that vary are among them. None: all elements.
        """
        places = self._varying if columns is None else np.searchsorted(columns, self._varying)
        is_whole = places.size == derivatives.shape[-1] and bool(np.all(places[1:] > places[:-1]))
        varying = derivatives if is_whole else derivatives[..., places]
        varying = varying * self.multiplier[self._varying]
        # Elements that one variable moves are neighbours in this order, and their derivatives are added up.
        return varying if self._varying.size == self.size else np.add.reduceat(varying, self._starts, axis=-1)

    def clip(self, x: Vector) -> Vector:
        """Move a vector that rounding put outside the bounds onto them."""
        return np.clip(x, self.lower, self.upper)

    def _bounds(self, follows: np.ndarray) -> tuple[Vector, Vector]:
        lower, upper = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        given_lower, given_upper = self.physical_lower, self.physical_upper
        if self._is_plain:
            ends = given_lower / self.scale, given_upper / self.scale
            outside = (self.scale * ends[0] < given_lower) | (self.scale * ends[1] > given_upper)
            if not np.any(outside):
                return np.minimum(*ends), ends[1]
        for element in np.flatnonzero(follows):
            factor, source = self.multiplier[element], self.source[element]
            low, high = sorted((given_lower[element] / factor, given_upper[element] / factor))
            physical = (given_lower[element], given_upper[element])
            lower[source] = max(lower[source], _round_inwards(low, np.inf, factor, physical))
            upper[source] = min(upper[source], _round_inwards(high, -np.inf, factor, physical))
        return np.minimum(lower, upper), upper

    def _check_start(self, start: Vector) -> None:
        physical = self.physical(start)
        for entry, values in zip(self.parameters, self.parameters.split(physical).values(), strict=True):
            slack = 1e-9 * entry.scale
            if np.any((values < entry.lower - slack) | (values > entry.upper + slack)):
                raise ParameterError(
                    f"Parameter {entry.name!r} is tied and would start at {values}, outside its bounds "
                    f"[{entry.lower}, {entry.upper}]. Widen them or move the start of its leader."
                )


def _sources(parameters: Parameters) -> tuple[np.ndarray, Vector]:
    """Return for each element the index of its free variable (-1: none) and the factor of its tie."""
    position = np.cumsum(parameters.is_free) - 1
    own = parameters.split(np.where(parameters.is_free, position, -1))
    factors = {entry.name: np.ones(entry.size) for entry in parameters}
    for follower, tie in parameters.ties.items():
        own[follower] = own[tie.leader]
        factors[follower] = np.full(parameters[follower].size, tie.factor)
    source = np.concatenate([np.ravel(own[name]) for name in parameters.names]).astype(int)
    return source, np.concatenate([factors[name] for name in parameters.names])


def _round_inwards(bound: float, inwards: float, factor: float, physical: tuple[float, float]) -> float:
    """Move a bound on x by the rounding of factor * x, which may put it outside the physical bounds."""
    for _ in range(2):
        if physical[0] <= factor * bound <= physical[1]:
            break
        bound = float(np.nextafter(bound, inwards))
    return bound
