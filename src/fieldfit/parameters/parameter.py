"""One named quantity of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.errors import ParameterError
from fieldfit.parameters import transforms
from fieldfit.registry import unknown_name
from fieldfit.units import Unit, as_unit, is_quantity, unit_of

NEEDS = {"log": "a positive parameter", "logit": "two finite bounds", "log-distance": "exactly one finite bound"}
"""What the transforms are for, in words."""


@dataclass(frozen=True, eq=False)
class Parameter:
    """A named scalar or array with unit, bounds and scale.

    Bounds, scale and the fixed mark are given once or per element; they are stored with the shape of the value.

    Args:
        name: Name, by convention dotted: "bond.C-H.k".
        value: Start value, scalar or array: plain numbers in `unit`, or a quantity of pint, saiunit or unxt.
        unit: Unit of value, bounds and scale. A text is only shown. With a unit object of one of these libraries, or
            with a quantity for a value, quantities are converted to it, and functions get quantities in it. Without a
            unit object, plain bounds of a quantity can only be 0 or infinite.
        lower: Lower bound; minus infinity or None for none.
        upper: Upper bound; infinity or None for none.
        scale: A change of typical size, positive, or "bounds" for the distance between two bounds. Default: the
            magnitude of the value; where that is zero the distance between the bounds, 1 if there are not two.
        fixed: Whether the value (or an element) stays as it is.
        transform: "log" for a positive parameter, "logit" between two bounds, "log-distance" from one bound,
            "unbounded" for whichever fits each element; None: varied as it is. The default of the scale is then the
            change of the value per unit of the transformed one. See `fieldfit.parameters.transforms`.

    Raises:
        ParameterError: A number is not finite, bounds are reversed, the start lies outside them, a scale is not
            positive, units do not fit each other, or the transform does not fit the bounds or the start.

    Example:
        >>> from fieldfit import Parameter
        >>> Parameter("bond.C-H.length", 1.09, unit="A", lower=0.5, upper=3.0)
        Parameter(bond.C-H.length = 1.09 A in [0.5, 3])
    """

    name: str
    value: Any
    unit: Any = ""
    lower: Any = -np.inf
    upper: Any = np.inf
    scale: Any = None
    fixed: Any = False
    transform: str | None = None

    def __post_init__(self) -> None:
        is_stated = as_unit(self.unit) is not None
        object.__setattr__(self, "unit", self._chosen_unit())
        value = self._as_floats("value", self.value, None)
        object.__setattr__(self, "value", value)
        for name, missing in (("lower", -np.inf), ("upper", np.inf)):
            given = getattr(self, name)
            end = self._as_floats(name, given, value.shape, missing=missing)
            self._check_is_quantity(name, given, end, is_stated=is_stated)
            object.__setattr__(self, name, end)
        if self.transform == "log":
            object.__setattr__(self, "lower", np.where(self.lower == -np.inf, 0.0, self.lower))
        object.__setattr__(self, "fixed", np.broadcast_to(np.asarray(self.fixed, dtype=bool), value.shape).copy())
        self._check_bounds()
        self._check_transform()
        object.__setattr__(self, "scale", self._chosen_scale(is_stated=is_stated))
        self._check_scale()

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
        """Return a copy with some fields changed and everything checked again; plain numbers are in its unit."""
        return replace(self, **changes)

    def plain(self, value: Any, *, field: str = "value") -> np.ndarray:
        """Return a value of this parameter, plain or a quantity, as plain numbers in its unit.

        Args:
            value: Numbers or a quantity.
            field: What it is, for messages.

        Raises:
            ParameterError: It is no number, or its unit does not fit.
        """
        return self._as_floats(field, value, None)

    def _chosen_unit(self) -> Any:
        stated = as_unit(self.unit)
        if stated is not None:
            return stated
        if not isinstance(self.unit, str):
            raise ParameterError(
                f"Parameter {self.name!r} has the unit {self.unit!r}, which is neither a text nor a unit of pint, "
                "saiunit or unxt. Give one of these."
            )
        own = unit_of(self.value)
        if own is not None and self.unit:
            raise ParameterError(
                f"Parameter {self.name!r} starts at a quantity in {own}, and its unit is the text {self.unit!r}. Give "
                "the unit as an object of the same library, or leave it out."
            )
        return self.unit if own is None else own

    def _as_floats(
        self, field: str, given: Any, shape: tuple[int, ...] | None, *, missing: float | None = None
    ) -> np.ndarray:
        plain = self._without_unit(field, given)
        try:
            array = _real(plain, missing)
            return array if shape is None else np.broadcast_to(array, shape).copy()
        except (TypeError, ValueError) as error:
            wanted = "a number or an array of numbers" if shape is None else f"a number or an array of shape {shape}"
            raise ParameterError(
                f"Parameter {self.name!r}: {field} = {given!r} is not {wanted}. Give plain real numbers."
            ) from error

    def _without_unit(self, field: str, given: Any) -> Any:
        if not is_quantity(given):
            return given
        if not isinstance(self.unit, Unit):
            raise ParameterError(
                f"Parameter {self.name!r}: {field} = {given} has a unit, but the start is the plain number "
                f"{self.value}. Give both with units, or both without."
            )
        return self.unit.magnitude(given, what=f"Parameter {self.name!r}: {field} = {given}")

    def _check_is_quantity(self, field: str, given: Any, numbers: np.ndarray, *, is_stated: bool) -> None:
        """Make sure that plain numbers next to a quantity are in no need of a unit."""
        if is_stated or not isinstance(self.unit, Unit) or is_quantity(given):
            return
        if np.any(np.isfinite(numbers) & (numbers != 0.0)):
            raise ParameterError(
                f"Parameter {self.name!r}: {field} = {given} is a plain number, but the start is in {self.unit}. Give "
                "both with units."
            )

    def _chosen_scale(self, *, is_stated: bool) -> np.ndarray:
        if self.scale is None:
            return self._default_scale()
        if isinstance(self.scale, str) and self.scale == "bounds":
            width = _width(self.lower, self.upper)
            if not np.all(np.isfinite(width)):
                raise ParameterError(
                    f"Parameter {self.name!r} is to have the distance between its bounds [{self.lower}, {self.upper}] "
                    "for a scale, which is infinite. Give two finite bounds, or a number."
                )
            return np.where(width > 0.0, width, np.where(self.value == 0.0, 1.0, np.abs(self.value)))
        if isinstance(self.scale, str):
            raise ParameterError(unknown_name("way to scale", self.scale, ["bounds"]))
        scale = self._as_floats("scale", self.scale, self.shape)
        self._check_is_quantity("scale", self.scale, scale, is_stated=is_stated)
        return scale

    def _default_scale(self) -> np.ndarray:
        width = _width(self.lower, self.upper)
        fallback = np.where(np.isfinite(width) & (width > 0.0), width, 1.0)
        scale = np.where(self.value == 0.0, fallback, np.abs(self.value))
        if self.transform is None:
            return scale
        names = transforms.chosen(self.transform, self.lower, self.upper)
        for name in transforms.TRANSFORMS:
            is_own = (names == name) & ~self.fixed
            numbers = (part[is_own] for part in (self.value, self.lower, self.upper))
            scale[is_own] = transforms.natural_scale(name, *numbers)
        return scale

    @property
    def _shown_unit(self) -> str:
        return f" {self.unit}" if str(self.unit) else ""

    def _check_bounds(self) -> None:
        unit = self._shown_unit
        if not np.all(np.isfinite(self.value)):
            raise ParameterError(
                f"Parameter {self.name!r} starts at {self.value}{unit}, which is not finite. Give a finite start."
            )
        if np.all((self.lower <= self.value) & (self.value <= self.upper)):
            return
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

    def _check_scale(self) -> None:
        if not (np.all(self.scale > 0.0) and np.all(np.isfinite(self.scale))):
            raise ParameterError(
                f"Parameter {self.name!r} has the scale {self.scale}{self._shown_unit}. A scale is the size of a "
                "typical change: give a positive, finite number."
            )

    def _check_transform(self) -> None:
        if self.transform is None:
            return
        if self.transform not in transforms.NAMES:
            raise ParameterError(unknown_name("transform", str(self.transform), transforms.NAMES))
        is_right, is_inside = self._fits(), self._is_inside()
        for index in np.flatnonzero(~self.fixed & ~(is_right & is_inside)):
            label, value = self.labels[index], self.value.flat[index]
            ends = f"[{self.lower.flat[index]:g}, {self.upper.flat[index]:g}]{self._shown_unit}"
            if not is_right.flat[index]:
                raise ParameterError(
                    f"Parameter {label!r} has the bounds {ends}, but the transform {self.transform!r} is for "
                    f"{NEEDS[self.transform]}. Change the bounds or the transform."
                )
            raise ParameterError(
                f"Parameter {label!r} starts at {value:g}{self._shown_unit}, on its bound {ends}, where the transform "
                f"{self.transform!r} is infinite. Move the start inside, fix the parameter, or leave the transform out."
            )

    def _fits(self) -> np.ndarray:
        """Return which elements have the bounds that the transform needs."""
        if self.transform == "log":
            return np.asarray(self.lower >= 0.0)
        n_bounds = np.isfinite(self.lower).astype(int) + np.isfinite(self.upper)
        return np.isin(n_bounds, {"logit": [2], "log-distance": [1]}.get(str(self.transform), [0, 1, 2]))

    def _is_inside(self) -> np.ndarray:
        """Return which elements start where the transform is finite."""
        lower, upper = (0.0, np.inf) if self.transform == "log" else (self.lower, self.upper)
        return np.asarray((lower < self.value) & (self.value < upper))

    def __repr__(self) -> str:
        unit = self._shown_unit
        if self.shape != ():
            return f"Parameter({self.name}: array of shape {self.shape}{unit})"
        fixed = ", fixed" if self.fixed else ""
        return f"Parameter({self.name} = {self.value:g}{unit} in [{self.lower:g}, {self.upper:g}]{fixed})"


def _real(given: Any, missing: float | None) -> np.ndarray:
    """Return real numbers as an array of floats; None stands for a bound that is missing.

    Raises:
        TypeError: They are something else: text, complex numbers, logical values.
        ValueError: The same.
    """
    if type(given) is float:
        return np.array(given)
    array = np.asarray(given)
    if array.dtype.kind == "O":
        is_missing = np.array([entry is None for entry in array.flat]).reshape(array.shape)
        if missing is not None:
            array = np.where(is_missing, missing, array)
        elif np.any(is_missing):
            raise TypeError("None is not a number")
    if array.dtype.kind not in "iufO":
        raise TypeError(f"not real numbers but {array.dtype}")
    return np.array(array, dtype=float)


def _width(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(upper - lower)
