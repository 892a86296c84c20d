"""Whether linear conditions and bounds can hold together, and which of them cannot.

A linear program decides. If it has no solution, conditions are left out one after the other as long as the rest still
cannot hold: what remains is a conflict in which every member is needed (the deletion filter of Chinneck and Dravnieks).

References:
    Chinneck, Dravnieks (1991), Locating minimal infeasible constraint sets in linear programs,
        doi:10.1287/ijoc.3.2.157.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize

from fieldfit.constraints.constraint import Condition
from fieldfit.errors import ConstraintError
from fieldfit.parameters import Parameters
from fieldfit.typing import Matrix, Vector

INFEASIBLE = 2
"""HiGHS's word for a program without a solution."""


def check_feasibility(conditions: Sequence[Condition], parameters: Parameters) -> None:
    """Refuse linear conditions that no parameters within their bounds can meet.

    Args:
        conditions: All conditions; nonlinear ones are not looked at.
        parameters: With bounds, fixed elements and ties.

    Raises:
        ConstraintError: Some cannot hold together; it names them.
    """
    linear = [condition for condition in conditions if condition.matrix is not None]
    if not linear:
        return
    space = parameters.space
    bounds = space.physical_lower, space.physical_upper
    held = _held(parameters)
    scale = np.concatenate([entry.scale.ravel() for entry in parameters])
    if _is_feasible(linear, bounds, held, scale):
        return
    conflict = list(linear)
    for condition in linear:
        fewer = [entry for entry in conflict if entry is not condition]
        if not _is_feasible(fewer, bounds, held, scale):
            conflict = fewer
    free = np.full_like(bounds[0], -np.inf), np.full_like(bounds[1], np.inf)
    touched = np.any([np.any(condition.matrix != 0.0, axis=0) for condition in conflict], axis=0)
    needs_bounds = _is_feasible(conflict, free, held, scale)
    text = "; ".join(_describe(condition) for condition in conflict)
    values = parameters.flat
    own = [
        f"{label} in [{low:g}, {high:g}]" if source_free else f"{label} = {value:g}"
        for label, low, high, value, source_free, is_touched in zip(
            parameters.labels, *bounds, values, parameters.is_free, touched, strict=True
        )
        if is_touched and (needs_bounds or not source_free)
    ]
    with_bounds = f" with {', '.join(own)}" if own else ""
    raise ConstraintError(
        f"These constraints cannot hold together{with_bounds}: {text}. Take one of them back"
        f"{', or widen the bounds' if needs_bounds else ''}."
    )


def _held(parameters: Parameters) -> tuple[Matrix, Vector]:
    """Return rows that say which elements stay and which follow others."""
    space, size = parameters.space, parameters.size
    rows, values = [], []
    leaders = np.flatnonzero(parameters.is_free)
    start = parameters.flat
    factors = {}
    for entry in parameters:
        tie = parameters.ties.get(entry.name)
        factors[entry.name] = np.full(entry.shape, 1.0 if tie is None else tie.factor)
    factor = np.concatenate([part.ravel() for part in factors.values()])
    for element in np.flatnonzero(~parameters.is_free):
        row = np.zeros(size)
        row[element] = 1.0
        source = space.source[element]
        if source >= 0:
            row[leaders[source]] -= factor[element]
        rows.append(row)
        values.append(0.0 if source >= 0 else start[element])
    return np.array(rows).reshape(len(rows), size), np.array(values)


def _is_feasible(
    conditions: Sequence[Condition], bounds: tuple[Vector, Vector], held: tuple[Matrix, Vector], scale: Vector
) -> bool:
    """Return whether conditions can hold together, in variables that are the elements over a scale of each."""
    equal_rows, equal_values, above, limits = [held[0]], [held[1]], [np.zeros((0, held[0].shape[1]))], [np.zeros(0)]
    for condition in conditions:
        matrix = condition.matrix
        if matrix is None:
            continue
        is_equal = condition.lower == condition.upper
        equal_rows.append(matrix[is_equal])
        equal_values.append(condition.lower[is_equal])
        for sign, end in ((1.0, condition.upper), (-1.0, -condition.lower)):
            is_limit = ~is_equal & np.isfinite(end)
            above.append(sign * matrix[is_limit])
            limits.append((end + condition.tolerances)[is_limit])
    matrices = np.concatenate(above) * scale, np.concatenate(equal_rows) * scale
    values = np.concatenate(limits), np.concatenate(equal_values)
    # HiGHS has absolute tolerances: rows of largest coefficient 1, and variables in which no value is above 1.
    lengths = [np.max(np.abs(matrix), axis=1, initial=0.0) for matrix in matrices]
    lengths = [np.where(length > 0.0, length, 1.0) for length in lengths]
    values = [value / length for value, length in zip(values, lengths, strict=True)]
    unit = max(1.0, *(float(np.max(np.abs(value), initial=0.0)) for value in values))
    found = scipy.optimize.linprog(
        np.zeros(scale.size),
        A_ub=matrices[0] / lengths[0][:, None],
        b_ub=values[0] / unit,
        A_eq=matrices[1] / lengths[1][:, None],
        b_eq=values[1] / unit,
        bounds=np.stack(bounds, axis=1) / (scale * unit)[:, None],
        method="highs",
    )
    return found.status != INFEASIBLE


def _describe(condition: Condition) -> str:
    unit = f" {condition.unit}" if condition.unit else ""
    low, high = condition.lower, condition.upper
    if low.size > 1:
        return f"{condition.name} ({low.size} rows)"
    if low[0] == high[0]:
        return f"{condition.name} = {low[0]:g}{unit}"
    return f"{condition.name} in [{low[0]:g}, {high[0]:g}]{unit}"
