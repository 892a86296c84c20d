"""Observers of a run over things: the path it took, what is printed of it, and a file to go on from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fieldfit.errors import FileFormatError
from fieldfit.optimize.values import violation
from fieldfit.problem import Problem, Step
from fieldfit.typing import FilePath, Vector


class Trail:
    """Keeps every accepted point: all elements, physical."""

    def __init__(self) -> None:
        self._points: list[Vector] = []

    def __call__(self, step: Step) -> None:
        """Keep a point that was accepted."""
        if step.is_accepted or step.iteration == 0:
            self._points.append(flat(step.values))

    def ending(self, x: Vector) -> list[Vector]:
        """Return the points in order, with the best one last."""
        is_last = bool(self._points) and np.array_equal(self._points[-1], x)
        return [*self._points] if is_last else [*self._points, x]


class ProgressTable:
    """Writes a line per iteration.

    Args:
        problem: Its constraints, whose violation is shown, and parameters.
        stream: Where to write; default: standard output.
    """

    HEADER = "iteration  evaluations          cost    reduction    step norm   optimality    violation"

    def __init__(self, problem: Problem, *, stream: TextIO | None = None) -> None:
        self._conditions, self._parameters = problem.conditions, problem.parameters
        self._stream = sys.stdout if stream is None else stream

    def __call__(self, step: Step) -> None:
        """Write a line about a step."""
        if step.iteration == 0:
            self._stream.write(self.HEADER + "\n")
        moved = f"{step.reduction:12.3e} {step.step_norm:12.3e}" if step.iteration else " " * 25
        mark = " " if step.is_accepted or step.iteration == 0 else "x"
        outside = violation(self._conditions, self._parameters, flat(step.values))
        note = f"  {step.note}" if step.note else ""
        self._stream.write(
            f"{step.iteration:9d}{mark} {step.n_evaluations:12d} {step.cost:13.6e} {moved} {step.optimality:12.3e} "
            f"{outside:12.3e}{note}\n"
        )
        self._stream.flush()


class Checkpoint:
    """Writes the parameters of every accepted point to a file, by name, in NumPy's npz format.

    The file is replaced in one step, so that a run that dies leaves the last whole one.

    Args:
        path: The file.
    """

    def __init__(self, path: FilePath) -> None:
        self._path = Path(path)

    def __call__(self, step: Step) -> None:
        """Write a point that was accepted."""
        if not (step.is_accepted or step.iteration == 0):
            return
        part = self._path.with_name(self._path.name + ".part")
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **{name: np.asarray(value) for name, value in step.values.items()})
        part.replace(self._path)


def read_checkpoint(path: FilePath) -> dict[str, np.ndarray]:
    """Return the parameters of a checkpoint by name.

    Raises:
        FileFormatError: The file is missing or is no checkpoint.
    """
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"{path} cannot be read as a checkpoint: {error}. Give a file that `checkpoint=` of an earlier run wrote."
        ) from error


def flat(values: Any) -> Vector:
    """Return parameters by name as one vector, in their order."""
    return np.concatenate([np.zeros(0), *(np.ravel(value) for value in values.values())])
