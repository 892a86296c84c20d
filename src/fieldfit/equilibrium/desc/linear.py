"""DESC's linear constraints as rows A x = b.

DESC writes a linear constraint as an objective whose error is A x - b. All of them together are one program, which is
evaluated with its Jacobian twice: at zero, which gives -b and A, and at the start, where both have to agree. A row with
one coefficient says what an element is, so it is fixed there; the others are left to the library, which eliminates
them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.constraints import AbstractConstraint, Condition
from fieldfit.errors import ConstraintError
from fieldfit.parameters import Parameter, Parameters
from fieldfit.precision import in_double_precision
from fieldfit.typing import Matrix, Vector

ROUNDING = 1e-10
"""Part of the size of a row that rounding may explain."""


@dataclass(frozen=True, eq=False)
class LinearRows(AbstractConstraint):
    """Rows A x = b over some parameters.

    Args:
        name: Of the constraint.
        names: Of the parameters, whose elements one after the other are x.
        matrix: A, shape (m, elements).
        values: b, shape (m,).
        tolerance: Violation that counts as none; None: 1e-8, relative.
    """

    name: str
    names: tuple[str, ...]
    matrix: Matrix
    values: Vector
    tolerance: float | None = None

    @property
    def label(self) -> str:
        return self.name

    def applied(self, parameters: Parameters) -> Parameters:
        rows = np.flatnonzero(self._is_single)
        if rows.size == 0:
            return parameters
        places = np.argmax(np.abs(self.matrix[rows]), axis=1)
        held = np.full(self.matrix.shape[1], np.nan)
        for row, place in zip(rows, places, strict=True):
            value = self.values[row] / self.matrix[row, place]
            if not (np.isnan(held[place]) or np.isclose(held[place], value, rtol=ROUNDING, atol=0.0)):
                raise ConstraintError(
                    f"Constraint {self.name!r} asks for {held[place]:g} and for {value:g} of one element of "
                    f"{', '.join(self.names)}. Take one of them back."
                )
            held[place] = value
        return Parameters(self._fixed(parameters, held), parameters.ties, parameters.structure)

    def condition(self, parameters: Parameters) -> Condition | None:
        is_left = np.any(self.matrix != 0.0, axis=1) & ~self._is_single
        if not np.any(is_left):
            return None
        spread = np.zeros((self.values.size, parameters.size))
        spread[:, np.concatenate([parameters.elements(name) for name in self.names])] = self.matrix
        whole = Condition(self.name, self.values, self.values, matrix=spread, tolerance=self.tolerance)
        return whole.rows(is_left)

    @property
    def _is_single(self) -> np.ndarray:
        return np.count_nonzero(self.matrix, axis=1) == 1

    def _fixed(self, parameters: Parameters, held: Vector) -> list[Parameter]:
        """Return all parameters, with elements fixed that are held at a value, shape (elements of `names`,)."""
        entries = {entry.name: entry for entry in parameters}
        start = 0
        for name in self.names:
            entry = entries[name]
            own = held[start : start + entry.value.size].reshape(entry.shape)
            start += entry.value.size
            if not np.all(np.isnan(own)):
                entries[name] = _held(entry, own, self.name)
        return list(entries.values())


def linear_rows(
    constraints: Sequence[Any], named: Callable[[Any], Parameters], *, tolerance: float | None = None
) -> tuple[LinearRows, ...]:
    """Return linear constraints of DESC as rows.

    Args:
        constraints: DESC's, built or not.
        named: Returns the parameters of the things of an ObjectiveFunction, in its order.
        tolerance: Violation that counts as none.

    Raises:
        ConstraintError: One is not linear although it says so, or is a row that no parameter can change.
    """
    from desc.objectives import ObjectiveFunction  # pyright: ignore[reportMissingImports]

    if not constraints:
        return ()
    together = ObjectiveFunction(tuple(constraints))
    together.build(verbose=0)
    parameters = named(together)
    errors, matrix = _linearized()(together, np.zeros(parameters.size))
    here, elsewhere = _linearized()(together, parameters.flat)
    found, start = [], 0
    for constraint in constraints:
        own = slice(start, start + constraint.dim_f)
        start = own.stop
        rows = LinearRows(constraint.name, parameters.names, matrix[own], -errors[own], tolerance)
        _check(rows, here[own], elsewhere[own], parameters.flat)
        found.append(_narrowed(rows, parameters))
    return tuple(found)


@functools.cache
def _linearized() -> Callable[..., tuple[Vector, Matrix]]:
    """Return the program that gives errors and Jacobian of an ObjectiveFunction."""
    import jax
    import jax.numpy as jnp

    def linearized(objective: Any, x: Any) -> Any:
        errors, product = jax.linearize(objective.compute_scaled_error, x)
        return errors, jax.vmap(product)(jnp.eye(x.size)).T

    return in_double_precision(jax.jit(linearized))


def _check(rows: LinearRows, errors: Vector, matrix: Matrix, x: Vector) -> None:
    """Refuse rows that are not linear, or that nothing can change and that do not hold."""
    reach = np.abs(rows.matrix) @ np.abs(x) + np.abs(rows.values)
    is_straight = np.abs(rows.matrix @ x - rows.values - errors) <= ROUNDING * reach
    size = float(np.max(np.abs(rows.matrix), initial=0.0))
    if not (np.all(is_straight) and np.all(np.abs(matrix - rows.matrix) <= ROUNDING * size)):
        raise ConstraintError(
            f"Constraint {rows.name!r} says that it is linear, but its errors at the start are not those of a line "
            "through zero. Set its `linear` to False."
        )
    is_idle = ~np.any(rows.matrix != 0.0, axis=1)
    if np.any(np.abs(rows.values[is_idle]) > ROUNDING):
        worst = float(np.max(np.abs(rows.values[is_idle])))
        raise ConstraintError(
            f"Constraint {rows.name!r} has a row that no parameter can change and that is off by {worst:g}. Correct "
            "its target."
        )


def _narrowed(rows: LinearRows, parameters: Parameters) -> LinearRows:
    """Return rows over those parameters alone that they say something of."""
    places = {name: parameters.elements(name) for name in rows.names}
    names = tuple(name for name, own in places.items() if np.any(rows.matrix[:, own]))
    columns = np.concatenate([np.zeros(0, dtype=int), *(places[name] for name in names)])
    return replace(rows, names=names, matrix=rows.matrix[:, columns])


def _held(entry: Parameter, values: np.ndarray, who: str) -> Parameter:
    is_held = np.isfinite(values)
    clash = is_held & entry.fixed & ~np.isclose(values, entry.value, rtol=ROUNDING, atol=ROUNDING)
    if np.any(clash):
        raise ConstraintError(
            f"Constraint {who!r} asks for {values[clash][0]:g} of an element of {entry.name}, which is held at "
            f"{entry.value[clash][0]:g} by another. Take one of them back."
        )
    return entry.replace(value=np.where(is_held, values, entry.value), fixed=entry.fixed | is_held)
