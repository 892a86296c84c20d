"""One named quantity of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.errors import ParameterError


@dataclass(frozen=True, eq=False)
class Parameter:
    """A named scalar or array with unit, bounds and scale.

    Bounds, scale and the fixed mark are given once or per element; they are stored with the shape of the value.

    Args:
        name: Name, by convention dotted: "bond.C-H.k".
        value: Start value, scalar or array, in `unit`.
        unit: Unit of value, bounds and scale, for messages and tables.
        lower: Lower bound; minus infinity for none.
        upper: Upper bound; infinity for none.
        scale: A change of typical size, positive. Default: the magnitude of the value, 1 where that is zero.
        fixed: Whether the value (or an element) stays as it is.

    Raises:
        ParameterError: A number is not finite, bounds are reversed, the start lies outside them, or a scale
            is not positive.

    Example:
        >>> from fieldfit import Parameter
        >>> Parameter("bond.C-H.length", 1.09, unit="A", lower=0.5, upper=3.0)
        Parameter(bond.C-H.length = 1.09 A in [0.5, 3])
    """

    name: str
    value: Any
    unit: str = ""
    lower: Any = -np.inf
    upper: Any = np.inf
    scale: Any = None
    fixed: Any = False

    def __post_init__(self) -> None:
        value = self._as_floats("value", self.value, None)
        fallback = np.where(value == 0.0, 1.0, np.abs(value))
        object.__setattr__(self, "value", value)
        for name, given in (("lower", self.lower), ("upper", self.upper)):
            object.__setattr__(self, name, self._as_floats(name, given, value.shape))
        scale = fallback if self.scale is None else self._as_floats("scale", self.scale, value.shape)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "fixed", np.broadcast_to(np.asarray(self.fixed, dtype=bool), value.shape).copy())
        self._check()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value; () for a scalar."""
        return self.value.shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.value.size

    @property
    def labels(self) -> tuple[str, ...]:
        """One name per element: the name itself for a scalar, with indices for an array."""
        if self.shape == ():
            return (self.name,)
        return tuple(f"{self.name}[{','.join(map(str, index))}]" for index in np.ndindex(self.shape))

    def replace(self, **changes: Any) -> Parameter:
        """Return a copy with some fields changed and everything checked again."""
        return replace(self, **changes)

    def _as_floats(self, field: str, given: Any, shape: tuple[int, ...] | None) -> np.ndarray:
        try:
            array = np.array(given, dtype=float)
            return array if shape is None else np.broadcast_to(array, shape).copy()
        except (TypeError, ValueError) as error:
            wanted = "a number or an array of numbers" if shape is None else f"a number or an array of shape {shape}"
            raise ParameterError(
                f"Parameter {self.name!r}: {field} = {given!r} is not {wanted}. Give plain real numbers."
            ) from error

    def _check(self) -> None:
        unit = f" {self.unit}" if self.unit else ""
        if not np.all(np.isfinite(self.value)):
            raise ParameterError(
                f"Parameter {self.name!r} starts at {self.value}{unit}, which is not finite. Give a finite start."
            )
        if not (np.all(self.scale > 0.0) and np.all(np.isfinite(self.scale))):
            raise ParameterError(
                f"Parameter {self.name!r} has the scale {self.scale}{unit}. A scale is the size of a typical change: "
                "give a positive, finite number."
            )
        for label, value, lower, upper in zip(
            self.labels, self.value.flat, self.lower.flat, self.upper.flat, strict=True
        ):
            if not lower <= upper:
                raise ParameterError(
                    f"Parameter {label!r} has the bounds [{lower:g}, {upper:g}]{unit}: the lower one is above the "
                    "upper one. Swap them."
                )
            if not lower <= value <= upper:
                raise ParameterError(
                    f"Parameter {label!r} starts at {value:g}{unit}, outside its bounds [{lower:g}, {upper:g}]{unit}. "
                    "Move the start or widen the bounds."
                )

    def __repr__(self) -> str:
        if self.shape != ():
            return f"Parameter({self.name}: array of shape {self.shape}{' ' + self.unit if self.unit else ''})"
        unit = f" {self.unit}" if self.unit else ""
        fixed = ", fixed" if self.fixed else ""
        return f"Parameter({self.name} = {self.value:g}{unit} in [{self.lower:g}, {self.upper:g}]{fixed})"
