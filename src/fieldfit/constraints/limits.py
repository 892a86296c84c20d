"""Limits of a condition and the parameters in it, brought to one unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from fieldfit.constraints.constraint import as_rows
from fieldfit.errors import ConstraintError, ParameterError
from fieldfit.parameters import Parameter, Parameters
from fieldfit.typing import Matrix, Vector
from fieldfit.units import Unit, unit_of


def limits_in(
    lower: Any, upper: Any, parameters: Parameters, elements: np.ndarray, label: str
) -> tuple[Vector, Vector, Unit | None]:
    """Return the limits of a linear condition as plain numbers, and their unit.

    Args:
        lower: Smallest values, plain or with a unit.
        upper: Largest values.
        parameters: All parameters.
        elements: Those in the condition, by index.
        label: Of the condition, for messages.

    Raises:
        ConstraintError: The parameters have units and the limits have none, although these are not 0 or infinite.
    """
    lower, upper, unit = plain_limits(lower, upper, label)
    units = [owner.unit for owner in _owners(parameters, elements) if isinstance(owner.unit, Unit)]
    if unit is None and units:
        given = np.concatenate([lower, upper])
        if np.any(np.isfinite(given) & (given != 0.0)):
            raise ConstraintError(
                f"Constraint {label!r} asks for plain numbers, but its parameters are in {units[0]}. Give its values "
                "with a unit."
            )
        unit = units[0]
    return lower, upper, unit


def plain_limits(lower: Any, upper: Any, label: str) -> tuple[Vector, Vector, Unit | None]:
    """Return two limits as plain numbers of one size, and their unit.

    Raises:
        ConstraintError: They are no numbers, differ in size, all are infinite, or only one of them has a unit.
    """
    units = [unit_of(lower), unit_of(upper)]
    unit = units[0] or units[1]
    missing = -np.inf, np.inf
    ends = []
    for given, own, absent in zip((lower, upper), units, missing, strict=True):
        plain = given if own is None or unit is None else unit.magnitude(given)
        end = as_rows(absent if plain is None else plain, f"A limit of constraint {label!r}")
        if unit is not None and own is None and np.any(np.isfinite(end) & (end != 0.0)):
            raise ConstraintError(
                f"Constraint {label!r} has a limit in {unit} and the plain limit {given}. Give both with a unit."
            )
        ends.append(end)
    try:
        low, high = np.broadcast_arrays(*ends)
    except ValueError as error:
        raise ConstraintError(
            f"Constraint {label!r} has {ends[0].size} lower and {ends[1].size} upper values. Give as many of each."
        ) from error
    if np.all(np.isneginf(low) & np.isposinf(high)):
        raise ConstraintError(f"Constraint {label!r} has no limit, so it says nothing. Give a lower or an upper one.")
    return low.astype(float), high.astype(float), unit


def element_factors(parameters: Parameters, elements: np.ndarray, unit: Unit | None, label: str) -> Vector:
    """Return what one unit of each element is in the unit of a condition, shape (elements,).

    Raises:
        ConstraintError: The units do not fit.
    """
    factors = []
    for owner in _owners(parameters, elements):
        if unit is None:
            factors.append(1.0)
            continue
        if not isinstance(owner.unit, Unit):
            raise ConstraintError(
                f"Constraint {label!r} is in {unit}, but parameter {owner.name!r} has no unit. Give it one, or write "
                "the constraint in plain numbers."
            )
        factors.append(unit_factor(unit, owner.unit, f"Constraint {label!r} with {owner.name!r}"))
    return np.array(factors)


def row_sizes(matrix: Matrix, parameters: Parameters, unit: Unit | None) -> Vector:
    """Return the size of linear rows that tolerances are relative to, shape (m,).

    Of plain numbers it is 1; of quantities what typical changes of all elements come to, whatever the unit.

    Args:
        matrix: The rows, shape (m, elements).
        parameters: With scales.
        unit: Of the rows.
    """
    if unit is None:
        return np.ones(matrix.shape[0])
    return np.abs(matrix) @ np.concatenate([entry.scale.ravel() for entry in parameters])


def unit_factor(unit: Unit, other: Unit, what: str) -> float:
    """Return what one of another unit is in a unit.

    Raises:
        ConstraintError: They are of different kinds, or their zeros differ, as those of degrees Celsius and kelvin do.
    """
    try:
        zero, one = (float(unit.magnitude(other.attach(number))) for number in (0.0, 1.0))
    except ParameterError as error:
        raise ConstraintError(
            f"{what} joins a value in {other} to one in {unit}, which cannot be converted. Give both in units of one "
            "kind."
        ) from error
    if zero != 0.0:
        raise ConstraintError(
            f"{what} joins a value in {other} to one in {unit}, whose zeros differ. Give both in the same unit."
        )
    return one


def _owners(parameters: Parameters, elements: np.ndarray) -> list[Parameter]:
    owners = [entry for entry in parameters for _ in range(entry.size)]
    return [owners[element] for element in elements]
