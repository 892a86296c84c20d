"""Units at the edge: quantities in, quantities out, plain numbers inside.

Optimizers and derivatives see plain 64-bit numbers. A `Unit` remembers in what they were given, converts other
quantities to it, and is attached again to what a user's function gets and to results. Derivatives are never taken with
respect to quantities, whose gradients come out in the unit of the quantity in some libraries.

Known are pint, saiunit (and brainunit, which stands for it) and unxt. A library is looked for among the modules that
are loaded: whoever has a quantity has imported it. Quantities of unxt hold 32-bit numbers unless JAX is set to 64 bit
when they are made; what that has cut off cannot be brought back.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fieldfit.errors import ParameterError


@dataclass(frozen=True)
class Unit:
    """A unit of a library, whose quantities can be made and read.

    Args:
        library: Name of the library.
        symbol: How it is written.
        handle: The library's own object.

    Example:
        >>> import pint
        >>> from fieldfit.units import unit_of
        >>> registry = pint.UnitRegistry()
        >>> unit = unit_of(registry.Quantity(3.0, "pA"))
        >>> round(float(unit.magnitude(registry.Quantity(0.5, "nA"))), 9)
        500.0
    """

    library: str
    symbol: str
    handle: Any = field(compare=False)

    @property
    def is_dimensionless(self) -> bool:
        """Whether quantities in it are plain numbers, as those in pA / nA are."""
        return LIBRARIES[self.library].is_dimensionless(self.handle)

    def attach(self, magnitude: Any) -> Any:
        """Return a quantity in this unit; works on traced arrays."""
        return LIBRARIES[self.library].quantity(magnitude, self.handle)

    def magnitude(self, value: Any, *, what: str = "The value") -> np.ndarray:
        """Return a quantity in this unit as plain numbers; plain numbers are in it already.

        Args:
            value: Quantity, number or array.
            what: What it is, for messages.

        Raises:
            ParameterError: It cannot be converted.
        """
        return np.asarray(value if unit_of(value) is None else self.traced_magnitude(value, what=what), dtype=float)

    def traced_magnitude(self, quantity: Any, *, what: str = "The value") -> Any:
        """Return a quantity, which may be traced, in this unit as a plain array.

        Raises:
            ParameterError: It is no quantity or cannot be converted.
        """
        own = unit_of(quantity)
        if own is None and self.symbol == "":
            return quantity
        if own is None or own.library != self.library:
            given = "a plain number" if own is None else f"a quantity of {own.library}"
            raise ParameterError(
                f"{what} is {given}, but it has to be in {self} of {self.library}. Give a quantity in that unit."
            )
        library = LIBRARIES[self.library]
        try:
            return library.converted(library.number(quantity), own.handle, self.handle)
        except (ValueError, TypeError) as error:
            raise ParameterError(
                f"{what} is in {own}, which cannot be converted to {self}. Give both in units of one kind."
            ) from error

    def __str__(self) -> str:
        return self.symbol


def unit_of(value: Any) -> Unit | None:
    """Return the unit of a quantity; None for anything else."""
    for library in _loaded():
        if library.is_quantity(value):
            return _unit(library, library.unit(value))
    return None


def as_unit(given: Any) -> Unit | None:
    """Return a unit from a `Unit` or a library's own unit object; None for anything else."""
    if isinstance(given, Unit):
        return given
    return next((_unit(library, given) for library in _loaded() if library.is_unit(given)), None)


def is_quantity(value: Any) -> bool:
    """Return whether something is a quantity of a library that is known here."""
    return any(library.is_quantity(value) for library in _loaded())


def strip(found: Any) -> Any:
    """Return what a function returned as plain numbers, each quantity in its own unit; works on traced arrays.

    A quantity without dimension becomes the number it is: 1 pA / nA is 0.001. Lists and tuples are gone through.
    """
    if isinstance(found, list | tuple):
        return [strip(part) for part in found]
    library = next((library for library in _loaded() if library.is_quantity(found)), None)
    return found if library is None else library.reduced(found)


class AbstractLibrary(ABC):
    """What has to be known of a library of units."""

    name: str

    @abstractmethod
    def is_quantity(self, value: Any) -> bool:
        """Return whether something is one of its quantities."""

    @abstractmethod
    def is_unit(self, value: Any) -> bool:
        """Return whether something is one of its units."""

    @abstractmethod
    def unit(self, quantity: Any) -> Any:
        """Return the unit of a quantity."""

    @abstractmethod
    def number(self, quantity: Any) -> Any:
        """Return the numbers of a quantity in its own unit; NumPy arrays of 64 bit unless traced."""

    @abstractmethod
    def symbol(self, unit: Any) -> str:
        """Return how a unit is written; nothing for the unit 1."""

    @abstractmethod
    def is_dimensionless(self, unit: Any) -> bool:
        """Return whether quantities in a unit are plain numbers."""

    @abstractmethod
    def quantity(self, magnitude: Any, unit: Any) -> Any:
        """Return numbers, which may be traced, with a unit."""

    @abstractmethod
    def converted(self, magnitude: Any, source: Any, target: Any) -> Any:
        """Return numbers, which may be traced, from one unit in another.

        Raises:
            ValueError: The units are of different kinds.
            TypeError: The same; libraries differ in what they raise.
        """

    @abstractmethod
    def reduced(self, quantity: Any) -> Any:
        """Return the numbers of a quantity in its own unit, in the unit 1 if it has no dimension."""


class PintLibrary(AbstractLibrary):
    """pint. Its units know their registry; a pickled one comes back in the application registry."""

    name = "pint"

    def is_quantity(self, value: Any) -> bool:
        return isinstance(value, sys.modules["pint"].Quantity)

    def is_unit(self, value: Any) -> bool:
        return isinstance(value, sys.modules["pint"].Unit)

    def unit(self, quantity: Any) -> Any:
        return quantity.units

    def number(self, quantity: Any) -> Any:
        return _in_double_precision(quantity.magnitude)

    def symbol(self, unit: Any) -> str:
        return f"{unit:~}"

    def is_dimensionless(self, unit: Any) -> bool:
        return unit.dimensionless

    def quantity(self, magnitude: Any, unit: Any) -> Any:
        # Not `magnitude * unit`, which is refused for degrees Celsius.
        return unit._REGISTRY.Quantity(magnitude, unit)

    def converted(self, magnitude: Any, source: Any, target: Any) -> Any:
        return self.quantity(magnitude, source).m_as(target)

    def reduced(self, quantity: Any) -> Any:
        return quantity.m_as("dimensionless") if quantity.dimensionless else quantity.magnitude


class SaiunitLibrary(AbstractLibrary):
    """saiunit, under its own name or as brainunit."""

    name = "saiunit"

    def is_quantity(self, value: Any) -> bool:
        return isinstance(value, sys.modules["saiunit"].Quantity)

    def is_unit(self, value: Any) -> bool:
        return isinstance(value, sys.modules["saiunit"].Unit)

    def unit(self, quantity: Any) -> Any:
        return quantity.unit

    def number(self, quantity: Any) -> Any:
        return _in_double_precision(quantity.mantissa)

    def symbol(self, unit: Any) -> str:
        return "" if unit.is_unitless else str(unit)

    def is_dimensionless(self, unit: Any) -> bool:
        return unit.has_same_dim(sys.modules["saiunit"].UNITLESS)

    def quantity(self, magnitude: Any, unit: Any) -> Any:
        return sys.modules["saiunit"].Quantity(magnitude, unit=unit)

    def converted(self, magnitude: Any, source: Any, target: Any) -> Any:
        if not source.has_same_dim(target):
            raise ValueError(f"{source} and {target} have different dimensions")
        if not source.has_same_base(target):
            return magnitude * (source.magnitude / target.magnitude)
        # The powers are subtracted: 1e-9 / 1e-12 is not 1000 in floating-point numbers.
        return magnitude * (source.factor / target.factor * source.base ** (source.scale - target.scale))

    def reduced(self, quantity: Any) -> Any:
        unitless = sys.modules["saiunit"].UNITLESS
        is_number = quantity.unit.has_same_dim(unitless)
        return self.converted(quantity.mantissa, quantity.unit, unitless) if is_number else quantity.mantissa


class UnxtLibrary(AbstractLibrary):
    """unxt, whose units are those of astropy."""

    name = "unxt"

    def is_quantity(self, value: Any) -> bool:
        return isinstance(value, sys.modules["unxt"].quantity.AbstractQuantity)

    def is_unit(self, value: Any) -> bool:
        return isinstance(value, sys.modules["astropy.units"].UnitBase)

    def unit(self, quantity: Any) -> Any:
        return quantity.unit

    def number(self, quantity: Any) -> Any:
        return _in_double_precision(quantity.value)

    def symbol(self, unit: Any) -> str:
        return str(unit)

    def is_dimensionless(self, unit: Any) -> bool:
        return unit.is_equivalent("")

    def quantity(self, magnitude: Any, unit: Any) -> Any:
        import jax

        make = sys.modules["unxt"].Quantity
        if _is_traced(magnitude):
            return make(magnitude, unit)
        # NumPy arrays are put in afterwards: unxt makes arrays of JAX, which are cut to 32 bit outside this scope.
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, make(np.asarray(magnitude, dtype=float), unit))

    def converted(self, magnitude: Any, source: Any, target: Any) -> Any:
        return magnitude * float(source.to(target))

    def reduced(self, quantity: Any) -> Any:
        is_number = quantity.unit.is_equivalent("")
        return quantity.value * float(quantity.unit.to("")) if is_number else quantity.value


LIBRARIES: dict[str, AbstractLibrary] = {
    library.name: library for library in (PintLibrary(), SaiunitLibrary(), UnxtLibrary())
}
"""Known libraries by the name of their module."""


def _loaded() -> list[AbstractLibrary]:
    return [library for name, library in LIBRARIES.items() if name in sys.modules]


def _unit(library: AbstractLibrary, handle: Any) -> Unit:
    return Unit(library.name, library.symbol(handle), handle)


def _in_double_precision(number: Any) -> Any:
    """Return a number as a NumPy array of 64 bit, but what is traced as it is."""
    return number if _is_traced(number) else np.asarray(number, dtype=float)


def _is_traced(number: Any) -> bool:
    return "jax" in sys.modules and isinstance(number, sys.modules["jax"].core.Tracer)
