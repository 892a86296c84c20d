"""Where a run over things begins: at the parameters that the things have, or where an earlier run was or had begun.

A run that is continued has to begin where the earlier one began, since scales and results refer to that; but the things
may have been moved by it in the meantime. So its file holds the start of all things. An element that did not move keeps
the value that its thing has: if that is another one than before, the question is another one, too, and is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.optimize.posing import started
from fieldfit.problem import Checkpoint, SavedRun, read_checkpoint
from fieldfit.problem.checkpoint import as_checkpoint
from fieldfit.things import Things
from fieldfit.typing import FilePath, Matrix

PREFIX = "things/"
"""Of the start of all things among the arrays that are attached to a checkpoint."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """Where a run begins.

    Args:
        things: With the parameters of the start.
        saved: The earlier run that it goes on with, or begins anew from; None if there is none.
        points: Accepted points of the earlier run if it is continued; None if not.
    """

    things: Things
    saved: SavedRun | None = None
    points: Matrix | None = None

    @staticmethod
    def of(things: Things, resume: Any, *, is_resumable: bool) -> Beginning:
        """Find where a run begins.

        Args:
            things: As they were given.
            resume: None, values by name, the path of a checkpoint, or what was read from it.
            is_resumable: Whether the optimizer can continue a run.

        Raises:
            SettingsError: The earlier run had other parameters, or `resume` is none of these.
            FileFormatError: The file is missing or damaged.
        """
        if resume is None:
            return Beginning(things)
        if isinstance(resume, Mapping):
            return Beginning(_at(things, resume))
        saved = resume if isinstance(resume, SavedRun) else _read(resume)
        if not (is_resumable and saved.has_state):
            return Beginning(_at(things, saved.values), saved)
        return Beginning(_at(things, _starts(things, saved)), saved, saved.points)

    def checkpoint(self, given: FilePath | Checkpoint | None) -> Checkpoint | None:
        """Return a checkpoint that keeps where the things began."""
        if given is None:
            return None
        asked = as_checkpoint(given)
        starts = {PREFIX + name: value for name, value in self.things.parameters.values.items()}
        return Checkpoint(asked.path, asked.seconds, {**asked.attached, **starts})


def _read(path: Any) -> SavedRun:
    if isinstance(path, str | os.PathLike):
        return read_checkpoint(path)
    raise SettingsError(
        f"resume is a {type(path).__name__}. Give the path of a checkpoint to continue that run, or the result of an "
        "earlier call or values by name to start from there."
    )


def _starts(things: Things, saved: SavedRun) -> dict[str, np.ndarray]:
    """Return the start of an earlier run for what has moved since."""
    kept = {name.removeprefix(PREFIX): value for name, value in saved.attached.items() if name.startswith(PREFIX)}
    # The start of the run lies on the linear equalities, that of the things need not: what is attached goes first.
    found, now = {**saved.starts, **kept}, things.parameters.values
    for name in saved.values:
        if name in now and now[name].shape == found[name].shape:
            found[name] = np.where(found[name] == saved.values[name], now[name], found[name])
    return found


def _at(things: Things, values: Mapping[str, Any]) -> Things:
    parameters = started(things.parameters, values)
    return Things(things.rebuilt(parameters.flat), things.names)
