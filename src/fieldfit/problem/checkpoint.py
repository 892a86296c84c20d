"""A run in a file: everything that is needed to go on from an accepted step as if nothing had happened.

The file is a zip archive of NumPy arrays (npz), which `numpy.load` reads without this library:

    start/<name>, best/<name>, last/<name>   parameters in physical units: start, best point, last accepted point
    points                                   start and accepted points, all elements, shape (points, elements)
    history/<column>                         one entry per evaluation
    attached/<name>                          what the caller wanted to have kept
    metadata                                 a text in JSON: method, versions, what the problem was, the optimizer's
                                             state, with the numbers of arrays called state/<number>

It is written beside the old one, brought to the disk, and put in its place in one operation of the file system, so
whenever a run dies there is a whole file. Archives carry checksums, so a damaged one is noticed. Nothing is executed on
loading; see `state_files`.

Evaluations are stored rather than made again: an evaluation depends on the state before it (relaxed geometries, inner
solutions), a model need not be deterministic, and it may take hours.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fieldfit.errors import FileFormatError, SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.problem.observers import Step
from fieldfit.problem.recorder import HistoryEntry, Record
from fieldfit.problem.state_files import decode, encode
from fieldfit.problem.vector import VectorProblem
from fieldfit.typing import FilePath, Matrix, Vector

FORMAT = "fieldfit checkpoint 1"

METADATA, STATE, HISTORY, POINTS = "metadata", "state/", "history/", "points"
START, BEST, LAST, ATTACHED = "start/", "best/", "last/", "attached/"
"""Names of arrays in a file, or how they begin."""

COLUMNS = {"cost": float, "is_accepted": bool, "has_derivatives": bool, "violation": float}
"""Columns of a history, and what their entries are."""

REST = 9.0
"""Time that a run has for itself between two times of storing, in units of the time that storing takes."""

UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, MemoryError),
    *(OverflowError, SyntaxError, struct.error, zipfile.BadZipFile, zlib.error),
)
"""What reading a file raises that is not one of ours, or is damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run is stored.

    Args:
        path: The file; one that is there is replaced.
        seconds: Least time between two accepted steps that are stored [s]; 0: every one is; None: as long as it takes
            for storing to cost no more than a tenth of the time. A run that ends, in whatever way but being killed,
            stores its last step in any case.
        attached: Further arrays to keep in the file, by name.

    Raises:
        SettingsError: The folder is not there, or the time is negative.
    """

    path: FilePath
    seconds: float | None = None
    attached: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        folder = Path(self.path).absolute().parent
        if not folder.is_dir():
            raise SettingsError(f"The checkpoint {self.path} cannot be written: there is no folder {folder}. Make it.")
        if self.seconds is not None and not self.seconds >= 0.0:
            raise SettingsError(f"seconds = {self.seconds} of a checkpoint is no duration. Give 0 or more, or None.")


def as_checkpoint(given: FilePath | Checkpoint) -> Checkpoint:
    """Return a path as a checkpoint."""
    return given if isinstance(given, Checkpoint) else Checkpoint(given)


@dataclass(frozen=True, eq=False)
class Question:
    """What a run was asked, as it is stored with every step.

    Args:
        method: Name of the optimizer.
        fingerprint: What has to be equal for the run to be continued; see the module `fingerprint`.
        versions: Of the programs.
        start: Evaluation at the start.
        begin: When the run began, by `time.perf_counter` [s].
    """

    method: str
    fingerprint: Mapping[str, Any]
    versions: Mapping[str, str]
    start: Evaluation
    begin: float


@dataclass(frozen=True, eq=False)
class Contents:
    """What a run that goes on gets from a file.

    Args:
        fingerprint: Of the question.
        start: Evaluation at the start, without derivatives.
        record: What the recorder remembered.
        state: The optimizer's packed state; None if it has none that could be stored.
    """

    fingerprint: Mapping[str, Any]
    start: Evaluation
    record: Record
    state: Any


class CheckpointWriter:
    """Stores a run step by step.

    Args:
        options: Where and how often.
        problem: What is evaluated.
        question: What the run was asked.
        points: Accepted points of the run so far, if it goes on.
    """

    def __init__(
        self, options: Checkpoint, problem: VectorProblem, question: Question, *, points: Matrix | None = None
    ) -> None:
        self._options, self._path = options, Path(options.path)
        self._space, self._question = problem.space, question
        self._points = [] if points is None else list(points)
        self._start = self._space.physical(problem.x0)
        self._next = -np.inf
        self._pending: tuple[Vector, Record, Callable[[], Any]] | None = None

    def __call__(self, step: Step, record: Record, stored: Callable[[], Any]) -> None:
        """Take a step, and write it if it was accepted and time has passed.

        Args:
            step: What observers are told.
            record: What the recorder remembers then.
            stored: Gives the optimizer's packed state.
        """
        is_accepted = step.is_accepted or step.iteration == 0
        if is_accepted:
            self._points.append(self._space.physical(step.x))
        self._pending = step.x, record, stored
        if is_accepted and time.perf_counter() >= self._next:
            self.finish()

    def finish(self) -> None:
        """Write the last step if that was not done yet."""
        if self._pending is None:
            return
        last, record, stored = self._pending
        begin = time.perf_counter()
        write_archive(self._path, dict(self._arrays(last, record, stored())))
        self._pending, end = None, time.perf_counter()
        self._next = end + (REST * (end - begin) if self._options.seconds is None else self._options.seconds)

    def _arrays(self, last: Vector, record: Record, state: Any) -> Iterator[tuple[str, np.ndarray]]:
        question = self._question
        encoded, arrays = encode(
            {
                "fingerprint": dict(question.fingerprint),
                "start": _without_derivatives(question.start),
                "record": _record_tree(record),
                "state": state,
            }
        )
        about = {
            "format": FORMAT,
            "method": question.method,
            "versions": dict(question.versions),
            "seconds": time.perf_counter() - question.begin,
            "has_state": state is not None,
            "contents": encoded,
        }
        yield METADATA, np.array(json.dumps(about, allow_nan=False))
        for prefix, point in ((START, self._start), (BEST, self._space.physical(record.best_x))):
            yield from self._named(prefix, point)
        yield from self._named(LAST, self._space.physical(last))
        yield POINTS, np.array(self._points)
        for name, kind in COLUMNS.items():
            yield HISTORY + name, np.array([getattr(entry, name) for entry in record.history], dtype=kind)
        yield from ((ATTACHED + name, np.asarray(value)) for name, value in self._options.attached.items())
        yield from ((f"{STATE}{number}", array) for number, array in enumerate(arrays))

    def _named(self, prefix: str, point: Vector) -> Iterator[tuple[str, np.ndarray]]:
        # Rounding in x * scale may leave a value one bit outside its bounds.
        inside = np.clip(point, self._lower, self._upper)
        yield from ((prefix + name, np.asarray(value)) for name, value in self._space.parameters.split(inside).items())

    @cached_property
    def _lower(self) -> Vector:
        return np.concatenate([entry.lower.ravel() for entry in self._space.parameters])

    @cached_property
    def _upper(self) -> Vector:
        return np.concatenate([entry.upper.ravel() for entry in self._space.parameters])


@dataclass(frozen=True, eq=False)
class SavedRun:
    """A run that was read from a file.

    Args:
        path: The file.
        method: Name of the optimizer.
        versions: Of the programs that made it.
        seconds: How long it had taken [s].
        has_state: Whether the optimizer's state is there to continue from.
        arrays: Everything else in the file, by name.
        encoded: The structure of its contents.
    """

    path: Path
    method: str
    versions: Mapping[str, str]
    seconds: float
    has_state: bool
    arrays: Mapping[str, np.ndarray] = field(repr=False)
    encoded: Mapping[str, Any] = field(repr=False)

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Parameters at the best point, physical, by name."""
        return self._beginning_with(BEST)

    @property
    def last(self) -> dict[str, np.ndarray]:
        """Parameters at the last accepted point, physical, by name."""
        return self._beginning_with(LAST)

    @property
    def starts(self) -> dict[str, np.ndarray]:
        """Parameters at the start, physical, by name."""
        return self._beginning_with(START)

    @property
    def attached(self) -> dict[str, np.ndarray]:
        """What the caller of that run wanted to have kept."""
        return self._beginning_with(ATTACHED)

    @property
    def points(self) -> Matrix:
        """Start and accepted points, all elements, physical, shape (points, elements)."""
        return self.arrays[POINTS]

    @cached_property
    def contents(self) -> Contents:
        """What the optimizer and the recorder knew.

        Raises:
            FileFormatError: The file does not hold it.
            SettingsError: It holds a class that is not registered.
        """
        try:
            tree = decode(self.encoded, _numbered(self.arrays))
            columns = [[kind(entry) for entry in self.arrays[HISTORY + name]] for name, kind in COLUMNS.items()]
            history = tuple(HistoryEntry(1 + n, *entry) for n, entry in enumerate(zip(*columns, strict=True)))
            record = Record(history=history, **tree["record"])
            return Contents(tree["fingerprint"], tree["start"], record, tree["state"])
        except SettingsError:
            raise
        except UNREADABLE as error:
            raise _unreadable(self.path, error) from error

    def _beginning_with(self, prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): value for name, value in self.arrays.items() if name.startswith(prefix)}


def read_checkpoint(path: FilePath) -> SavedRun:
    """Return the run that a file holds.

    Args:
        path: Of a file that `checkpoint=` of an earlier run wrote.

    Raises:
        FileFormatError: The file is missing, damaged, or no checkpoint.
    """
    try:
        # A file that is opened here is closed, too, when it turns out to be no archive.
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(arrays.pop(METADATA).item())
        if about["format"] != FORMAT:
            raise ValueError(f"it says {about['format']!r}, but only {FORMAT!r} is known here")
        own = {name: about[name] for name in ("method", "versions", "seconds", "has_state")}
        return SavedRun(Path(path), **own, arrays=arrays, encoded=about["contents"])
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def write_archive(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays in NumPy's npz format, all or nothing.

    Args:
        path: The file; it is replaced in one step.
        arrays: Name to array.
    """
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(name + ".npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        file.flush()
        # Otherwise a machine that loses power may have the new name and not yet what belongs to it.
        os.fsync(file.fileno())
    part.replace(path)


def _numbered(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    count = sum(name.startswith(STATE) for name in arrays)
    return [arrays[f"{STATE}{number}"] for number in range(count)]


def _without_derivatives(found: Evaluation) -> Evaluation:
    """Return what results say of the start."""
    return replace(found, jacobian=None, gradient=None, constraint_jacobian=None, columns=None, state=None)


def _record_tree(record: Record) -> dict[str, Any]:
    names = ("failures", "n_differences", "accepted", "best_x", "best", "best_index", "iteration", "accepted_violation")
    return {name: getattr(record, name) for name in names}


def _unreadable(path: FilePath, error: BaseException) -> FileFormatError:
    why = str(error) or type(error).__name__
    return FileFormatError(
        f"{path} cannot be read as a checkpoint: {why}. Give a file that `checkpoint=` of an earlier run wrote."
    )
