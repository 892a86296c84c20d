"""Objective and constraints before and after a run, as DESC words them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from fieldfit.equilibrium.desc.objective import ERRORS, DescProgram
from fieldfit.equilibrium.desc.task import DescTask
from fieldfit.typing import Vector


def told_values(task: DescTask, first: Vector, last: Vector) -> tuple[dict[str, Any], str]:
    """Return DESC's values by its own names for them, and the table that it prints.

    Args:
        task: Things, objective and constraints.
        first: All elements at the start.
        last: All elements at the end.
    """
    values, text = {}, io.StringIO()
    with contextlib.redirect_stdout(text):
        begin, end = (_vector(task, task.function, point) for point in (first, last))
        program = DescProgram(task.function, ERRORS)
        errors, errors_before = (program.residuals(point) for point in (end, begin))
        values |= task.function.print_value(end, begin, fse=errors, f0se=errors_before)
        for constraint, found in _constraint_values(task, first, last):
            values.setdefault(constraint._print_value_fmt, []).append(found)
    return values, text.getvalue()


def _constraint_values(task: DescTask, first: Vector, last: Vector) -> Iterator[tuple[Any, dict[str, Any]]]:
    for constraint, rows in zip(task.linear, task.rows, strict=True):
        ends = (_chosen(task, rows.names, point) for point in (last, first))
        errors, errors_before = (rows.matrix @ point - rows.values for point in ends)
        yield constraint, constraint.print_value(None, None, fse=errors, f0se=errors_before)
    for constraint in task.nonlinear:
        function = task.function_of(constraint)
        end, begin = (function.unpack_state(_vector(task, function, point))[0] for point in (last, first))
        yield constraint, constraint.print_value(end, begin)


def _vector(task: DescTask, function: Any, point: Vector) -> Vector:
    """Return the x of an ObjectiveFunction from all elements of all things."""
    return _chosen(task, task.named(function).names, point)


def _chosen(task: DescTask, names: tuple[str, ...], point: Vector) -> Vector:
    parameters = task.things.parameters
    return point[np.concatenate([np.zeros(0, dtype=int), *(parameters.elements(name) for name in names)])]
