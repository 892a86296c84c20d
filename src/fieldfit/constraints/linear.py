"""Linear conditions on named parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.constraints.constraint import AbstractConstraint, Condition, as_rows
from fieldfit.constraints.limits import element_factors, limits_in, row_sizes
from fieldfit.errors import ConstraintError
from fieldfit.parameters import Parameters
from fieldfit.typing import Matrix
from fieldfit.units import is_quantity


@dataclass(frozen=True, eq=False)
class SumTo(AbstractConstraint):
    """The elements of all matching parameters add up to a total.

    Args:
        pattern: Name, shell pattern of names, or label of an element.
        total: The sum; a quantity if the parameters are.
        name: Name in reports; default: what it says.
        tolerance: Violation that counts as none, in the unit of the total; None: 1e-8, relative where the total is
            larger than 1.

    Raises:
        ParameterError: Nothing matches.
        ConstraintError: The total is not one number, or its unit does not fit.

    Example:
        >>> import fieldfit
        >>> import jax.numpy as jnp
        >>> loss = lambda p: jnp.sum(p["share"] ** 2)
        >>> problem = fieldfit.Problem(loss, {"share": [1.0, 0.0]}, constraints=[fieldfit.SumTo("share", 1.0)])
        >>> fieldfit.fit(problem).x["share"].round(6).tolist()
        [0.5, 0.5]
    """

    pattern: str
    total: Any
    name: str = ""
    tolerance: float | None = None

    @property
    def label(self) -> str:
        return self.name or f"sum of {self.pattern}"

    def condition(self, parameters: Parameters) -> Condition:
        elements = parameters.elements(self.pattern)
        lower, upper, unit = limits_in(self.total, self.total, parameters, elements, self.label)
        if lower.size != 1:
            raise ConstraintError(
                f"Constraint {self.label!r} has {lower.size} totals, but a sum is one number. Give one, or a SumTo for "
                "each part."
            )
        matrix = np.zeros((1, parameters.size))
        matrix[0, elements] = element_factors(parameters, elements, unit, self.label)
        text, size = str(unit) if unit else "", row_sizes(matrix, parameters, unit)
        return Condition(self.label, lower, upper, matrix=matrix, tolerance=self.tolerance, unit=text, size=size)


@dataclass(frozen=True, eq=False)
class LinearEquality(AbstractConstraint):
    """A weighted sum of elements has a given value.

    Args:
        coefficients: Name, shell pattern or label of an element to its coefficients: a number for all its elements, an
            array with one per element, or one row per condition, shape (m, elements of that parameter).
        value: Of the sums, a number or shape (m,); a quantity if the parameters are.
        name: Name in reports; default: what it says.
        tolerance: Violation that counts as none, in the unit of the value; None: 1e-8, relative where the value is
            larger than 1.

    Raises:
        ParameterError: A name matches nothing.
        ConstraintError: A coefficient is not finite, has the wrong shape, or all are zero.
    """

    coefficients: Mapping[str, Any]
    value: Any = 0.0
    name: str = ""
    tolerance: float | None = None

    @property
    def label(self) -> str:
        return self.name or f"linear equality in {', '.join(self.coefficients)}"

    def condition(self, parameters: Parameters) -> Condition:
        return _linear(self.label, self.coefficients, (self.value, self.value), self.tolerance, parameters)


@dataclass(frozen=True, eq=False)
class LinearInequality(AbstractConstraint):
    """A weighted sum of elements lies between two values.

    Args:
        coefficients: As those of `LinearEquality`.
        lower: Smallest values; minus infinity for none.
        upper: Largest values; infinity for none.
        name: Name in reports; default: what it says.
        tolerance: Violation that counts as none, in the unit of the values; None: 1e-8, relative where a value is
            larger than 1.

    Raises:
        ParameterError: A name matches nothing.
        ConstraintError: A coefficient is not finite, has the wrong shape, or all are zero; the values are reversed.
    """

    coefficients: Mapping[str, Any]
    lower: Any = -np.inf
    upper: Any = np.inf
    name: str = ""
    tolerance: float | None = None

    @property
    def label(self) -> str:
        return self.name or f"linear inequality in {', '.join(self.coefficients)}"

    def condition(self, parameters: Parameters) -> Condition:
        return _linear(self.label, self.coefficients, (self.lower, self.upper), self.tolerance, parameters)


def _linear(
    label: str,
    coefficients: Mapping[str, Any],
    limits: tuple[Any, Any],
    tolerance: float | None,
    parameters: Parameters,
) -> Condition:
    parts = [(parameters.elements(name), name, given) for name, given in coefficients.items()]
    if not parts:
        raise ConstraintError(f"Constraint {label!r} has no coefficients, so it says nothing. Name a parameter.")
    touched = np.concatenate([elements for elements, _, _ in parts])
    lower, upper, unit = limits_in(*limits, parameters, touched, label)
    blocks = [(elements, _block(label, name, given, elements.size)) for elements, name, given in parts]
    n_rows = max(lower.size, *(block.shape[0] for _, block in blocks))
    matrix = np.zeros((n_rows, parameters.size))
    for elements, block in blocks:
        if block.shape[0] not in (1, n_rows):
            raise ConstraintError(
                f"Constraint {label!r} has {n_rows} rows, but coefficients of {block.shape[0]}. Give one row each."
            )
        # A name and a pattern may both meet an element; what they say of it adds up.
        np.add.at(matrix.T, elements, np.broadcast_to(block, (n_rows, elements.size)).T)
    matrix[:, touched] *= element_factors(parameters, touched, unit, label)
    if not np.all(np.any(matrix != 0.0, axis=1)):
        raise ConstraintError(f"Constraint {label!r} has a row of zeros, so it says nothing. Give coefficients.")
    if lower.size not in (1, n_rows):
        raise ConstraintError(f"Constraint {label!r} has {n_rows} rows, but {lower.size} values. Give one per row.")
    lower, upper = (np.broadcast_to(end, (n_rows,)).copy() for end in (lower, upper))
    text, size = str(unit) if unit else "", row_sizes(matrix, parameters, unit)
    return Condition(label, lower, upper, matrix=matrix, tolerance=tolerance, unit=text, size=size)


def _block(label: str, name: str, given: Any, size: int) -> Matrix:
    """Return the coefficients of one parameter as rows, shape (rows, size)."""
    if is_quantity(given):
        raise ConstraintError(
            f"Constraint {label!r}: the coefficient of {name!r} is the quantity {given}. Give plain numbers; units "
            "belong to the parameters and the value."
        )
    try:
        found = np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise ConstraintError(
            f"Constraint {label!r}: the coefficients of {name!r} are {given!r}, which are not numbers. Give plain real "
            "numbers."
        ) from error
    if found.ndim == 0:
        found = np.full((1, size), found)
    elif found.size == size:
        found = found.reshape(1, size)
    if found.ndim != 2 or found.shape[1] != size or not np.all(np.isfinite(found)):
        raise ConstraintError(
            f"Constraint {label!r}: the coefficients of {name!r} are {as_rows(given, name)}, but it has {size} "
            f"element{'s' if size > 1 else ''}. Give a finite number, one per element, or rows of {size}."
        )
    return found
