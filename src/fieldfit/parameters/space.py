"""Between named parameters and the flat, free, scaled vector x that optimizers see.

Every element of the model's parameters is `p = constant + multiplier * y[source]`: fixed elements have multiplier 0,
tied ones share the source of their leader. Of a variable that is varied as it is, y is x, and the map is affine:
derivatives go through it by gathering and adding columns. Of a transformed variable y is its physical value, a function
of x (see `transforms`), and derivatives are multiplied by its slope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from fieldfit.errors import ParameterError
from fieldfit.parameters import transforms
from fieldfit.parameters.collection import Parameters
from fieldfit.parameters.transforms import Curve
from fieldfit.typing import Vector


class Coordinates(NamedTuple):
    """The numbers of the map from x to all elements, as arguments of a compiled program.

    Args:
        constant: Physical value of each element that does not vary, 0 for the others, shape (elements,).
        multiplier: Change of each element per unit of y, 0 for fixed ones, shape (elements,).
        source: Index of the variable that moves each element, -1 for fixed ones, shape (elements,).
        curves: Transformed variables by the name of their transform.
    """

    constant: Vector
    multiplier: Vector
    source: np.ndarray
    curves: Mapping[str, Curve]


def traced_elements(coordinates: Coordinates, x: Any) -> Any:
    """Return all elements of the parameters in physical units of a traced x."""
    y = x
    for name, curve in coordinates.curves.items():
        y = y.at[curve.places].set(transforms.traced_physical(name, curve, x[curve.places]))
    return coordinates.constant + coordinates.multiplier * y[coordinates.source]


class ParameterSpace:
    """The free elements of a `Parameters`, scaled.

    Args:
        parameters: Named parameters; at least one element must be free.

    Attributes:
        labels: One label per entry of x.
        start: x of the start values, shape (n,).
        lower: Lower bounds on x, those of followers included, shape (n,).
        upper: Upper bounds on x, shape (n,).
        scale: Physical change per unit of x at the start, shape (n,).
        constant: Physical value of each element that does not vary, 0 for the others, shape (elements,).
        multiplier: Physical change of each element per unit of its y, 0 for fixed ones, shape (elements,).
        physical_lower: Lower bounds of all elements, physical, shape (elements,).
        physical_upper: Upper bounds of all elements, physical, shape (elements,).
        source: Index in x of the variable that moves each element, -1 for fixed ones, shape (elements,).
        curves: Transformed variables by the name of their transform.
        is_affine: Whether no variable is transformed.

    Raises:
        ParameterError: Nothing is free, the bounds of tied parameters exclude each other, or a transformed parameter
            starts on a bound of one that follows it.
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
        self.physical_lower = np.concatenate([entry.lower.ravel() for entry in parameters])
        self.physical_upper = np.concatenate([entry.upper.ravel() for entry in parameters])
        self._named = self._transforms()
        # Of a transformed variable y is the physical value itself.
        self._unit = np.where([name is None for name in self._named], self.scale, 1.0)
        self.multiplier = np.where(follows, factor * self._unit[self.source], 0.0)
        self.constant = np.where(follows, 0.0, parameters.flat)
        in_order = np.argsort(np.where(follows, self.source, self.scale.size), kind="stable")
        self._varying = in_order[: np.count_nonzero(follows)]
        self._starts = np.searchsorted(self.source[self._varying], np.arange(self.scale.size))
        self._is_plain = bool(np.all(free))
        self.lower, self.upper = self._bounds(follows)
        self.curves: dict[str, Curve] = {}
        self.is_affine, self._is_direct = True, False
        start = parameters.flat[free] / self._unit
        self._check_start(self.constant + self.multiplier * start[self.source])
        self._bend(start)
        self.start: Vector = self.clip(self.vector(parameters.flat))

    @property
    def size(self) -> int:
        """Number of free elements n."""
        return len(self.labels)

    @property
    def coordinates(self) -> Coordinates:
        """The numbers of the map, as arguments of a compiled program; see `traced_elements`."""
        return Coordinates(self.constant, self.multiplier, self.source, self.curves)

    def physical(self, x: Vector) -> Vector:
        """Return all elements of the parameters in physical units, shape (parameters.size,)."""
        if self._is_direct:
            return self.multiplier * x
        y = x if self.is_affine else self._straight(x)
        return self.constant + self.multiplier * y[self.source]

    def traced_physical(self, x: Any) -> Any:
        """Return the same for a traced x, inside a function that JAX compiles."""
        return traced_elements(self.coordinates, x)

    def values(self, x: Vector) -> dict[str, np.ndarray]:
        """Return the parameters at x by name, in physical units."""
        return self.parameters.split(self.physical(x))

    def vector(self, physical: Vector) -> Vector:
        """Return the x of a flat physical vector of all elements."""
        x = physical[self._free] / self._unit
        for name, curve in self.curves.items():
            x[curve.places] = transforms.variables(name, curve, x[curve.places])
        return x

    def slopes(self, x: Vector) -> Vector:
        """Return the physical change of each free element per unit of its own variable at x, shape (n,)."""
        return self.scale if self.is_affine else self._unit * self._bends(x)

    def chain(
        self, derivatives: Float[np.ndarray, "... elements"], x: Vector | None = None, columns: np.ndarray | None = None
    ) -> Float[np.ndarray, "... n"]:
        """Turn derivatives with respect to physical elements into derivatives with respect to x.

        Args:
            derivatives: One column per element.
            x: Where they were taken, shape (n,); may be left out if no variable is transformed.
            columns: Which elements, by index, ascending; all that vary are among them. None: all elements.

        Raises:
            ParameterError: x is missing although a variable is transformed.
        """
        if self._is_direct and columns is None:
            return derivatives * self.multiplier
        places = self._varying if columns is None else np.searchsorted(columns, self._varying)
        is_whole = places.size == derivatives.shape[-1] and bool(np.all(places[1:] > places[:-1]))
        varying = derivatives if is_whole else derivatives[..., places]
        varying = varying * self.multiplier[self._varying]
        # Elements that one variable moves are neighbours in this order, and their derivatives are added up.
        chained = varying if self._varying.size == self.size else np.add.reduceat(varying, self._starts, axis=-1)
        return chained if self.is_affine else chained * self._bends(x)

    def clip(self, x: Vector) -> Vector:
        """Move a vector that rounding put outside the bounds onto them."""
        return np.clip(x, self.lower, self.upper)

    def curve_of(self, variable: int) -> tuple[str, Curve] | None:
        """Return the name of a variable's transform and its curve alone; None if it is varied as it is."""
        for name, curve in self.curves.items():
            own = np.flatnonzero(curve.places == variable)
            if own.size:
                return name, Curve(*(numbers[own] for numbers in curve))
        return None

    def _straight(self, x: Vector) -> Vector:
        """Return y of x."""
        y = x.copy()
        for name, curve in self.curves.items():
            y[curve.places] = transforms.physical(name, curve, x[curve.places])
        return y

    def _bends(self, x: Vector | None) -> Vector:
        """Return dy/dx at x."""
        if x is None:
            raise ParameterError(
                "Derivatives of transformed parameters depend on where they are taken. Give x to `chain`, or take the "
                "transforms out."
            )
        bends = np.ones_like(x)
        for name, curve in self.curves.items():
            bends[curve.places] = transforms.slopes(name, curve, x[curve.places])
        return bends

    def _transforms(self) -> list[str | None]:
        """Return the name that each variable's parameter states, without the choice by bounds where there are none."""
        stated = [entry.transform for entry in self.parameters for _ in range(entry.size)]
        has_bound = np.isfinite(self.physical_lower) | np.isfinite(self.physical_upper)
        bounded = set(self.source[has_bound].tolist())
        named = [stated[element] for element in self._free]
        return [
            None if name == transforms.CHOOSE and index not in bounded else name for index, name in enumerate(named)
        ]

    def _bend(self, start: Vector) -> None:
        """Put transforms on the variables that have one, and their bounds with them."""
        names = np.full(self.size, "", dtype=object)
        for name in set(self._named) - {None}:
            own = np.array([stated == name for stated in self._named])
            names[own] = transforms.chosen(name, self.lower[own], self.upper[own])
        for name in transforms.TRANSFORMS:
            index = np.flatnonzero(names == name)
            if not index.size:
                continue
            ends = (self.lower[index], self.upper[index])
            self._check_inside(index, start[index], *ends)
            curve = transforms.make_curve(name, index, start[index], self.scale[index], ends)
            self.lower[index], self.upper[index] = transforms.bounds(name, curve)
            self.curves[name] = curve
        self.is_affine = not self.curves
        # Most problems: every element is a variable by itself, and every evaluation maps them.
        self._is_direct = self._is_plain and self.is_affine

    def _bounds(self, follows: np.ndarray) -> tuple[Vector, Vector]:
        lower, upper = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        given_lower, given_upper = self.physical_lower, self.physical_upper
        if self._is_plain:
            ends = given_lower / self._unit, given_upper / self._unit
            outside = (self._unit * ends[0] < given_lower) | (self._unit * ends[1] > given_upper)
            if not np.any(outside):
                return np.minimum(*ends), ends[1]
        for element in np.flatnonzero(follows):
            factor, source = self.multiplier[element], self.source[element]
            low, high = sorted((given_lower[element] / factor, given_upper[element] / factor))
            physical = (given_lower[element], given_upper[element])
            lower[source] = max(lower[source], _round_inwards(low, np.inf, factor, physical))
            upper[source] = min(upper[source], _round_inwards(high, -np.inf, factor, physical))
        return np.minimum(lower, upper), upper

    def _check_start(self, physical: Vector) -> None:
        for entry, values in zip(self.parameters, self.parameters.split(physical).values(), strict=True):
            slack = 1e-9 * entry.scale
            if np.any((values < entry.lower - slack) | (values > entry.upper + slack)):
                raise ParameterError(
                    f"Parameter {entry.name!r} is tied and would start at {values}, outside its bounds "
                    f"[{entry.lower}, {entry.upper}]. Widen them or move the start of its leader."
                )

    def _check_inside(self, index: np.ndarray, start: Vector, lower: Vector, upper: Vector) -> None:
        for variable, p, low, high in zip(index, start, lower, upper, strict=True):
            is_inside = p > 0.0 if self._named[variable] == "log" else low < p < high
            if not is_inside:
                raise ParameterError(
                    f"Parameter {self.labels[variable]!r} starts at {p:g}, on its bound [{low:g}, {high:g}] or that of "
                    "a parameter that is tied to it, where its transform is infinite. Move the start inside."
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
