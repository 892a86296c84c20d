"""Observers of a run over things: the path it took, and what is printed of it."""

from __future__ import annotations

import sys
from typing import Any, TextIO

import numpy as np

from fieldfit.problem import Step
from fieldfit.typing import Matrix, Vector


class Trail:
    """Keeps every accepted point: all elements, physical.

    Args:
        points: Those of the run that goes on; None if it begins.
    """

    def __init__(self, points: Matrix | None = None) -> None:
        self._points: list[Vector] = [] if points is None else list(points)

    def __call__(self, step: Step) -> None:
        """Keep a point that was accepted."""
        if step.is_accepted or step.iteration == 0:
            self._points.append(flat(step.values))

    def ending(self, x: Vector) -> list[Vector]:
        """Return the points in order, with the best one last."""
        is_last = bool(self._points) and np.array_equal(self._points[-1], x)
        return [*self._points] if is_last else [*self._points, x]


class ProgressTable:
    """Writes a line per iteration; the violation of constraints is in units of their tolerances.

    Args:
        stream: Where to write; default: standard output.
    """

    HEADER = "iteration  evaluations          cost    reduction    step norm   optimality    violation"

    def __init__(self, *, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._is_empty = True

    def __call__(self, step: Step) -> None:
        """Write a line about a step."""
        if self._is_empty:
            # A run that goes on does not begin with step 0.
            self._stream.write(self.HEADER + "\n")
            self._is_empty = False
        moved = f"{step.reduction:12.3e} {step.step_norm:12.3e}" if step.iteration else " " * 25
        mark = " " if step.is_accepted or step.iteration == 0 else "x"
        note = f"  {step.note}" if step.note else ""
        self._stream.write(
            f"{step.iteration:9d}{mark} {step.n_evaluations:12d} {step.cost:13.6e} {moved} {step.optimality:12.3e} "
            f"{step.violation:12.3e}{note}\n"
        )
        self._stream.flush()


def flat(values: Any) -> Vector:
    """Return parameters by name as one vector, in their order."""
    return np.concatenate([np.zeros(0), *(np.ravel(value) for value in values.values())])
