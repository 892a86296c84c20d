"""Independent tasks over any `concurrent.futures.Executor`.

Results come in the order of the tasks, whatever the order in which they are completed, so a run over many workers gives
the same answer as a serial one. A task that raises, or whose worker dies, costs that task and not the run.

Objectives reach other processes by cloudpickle, so lambdas and functions of a notebook may go there. What is sent is
unpickled once per worker and kept: a model compiles once in each.
"""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from fieldfit.errors import EvaluationError, SettingsError

EXECUTORS = ("serial", "threads", "processes")

ExecutorChoice: TypeAlias = Executor | str | int | None
"""An executor; or "serial", "threads", "processes", with ":4" for four workers; or a number of processes."""

KEPT_IN_WORKER = 8
"""Objectives that a worker keeps; the oldest is dropped first."""


@dataclass(frozen=True, eq=False)
class Completed:
    """What became of a task: its value, or why there is none."""

    value: Any = None
    failure: str | None = None


@contextmanager
def open_executor(choice: ExecutorChoice) -> Iterator[Executor | None]:
    """Open an executor by object or name; one that was made here is shut down at the end.

    Args:
        choice: See `ExecutorChoice`.

    Yields:
        The executor, or None for serial work.

    Raises:
        SettingsError: No executor has that name, or it has no workers.
    """
    if choice is None or isinstance(choice, Executor) or callable(getattr(choice, "submit", None)):
        yield choice  # type: ignore[misc]
        return
    name, workers = _named(choice)
    if name == "serial":
        yield None
        return
    with ThreadPoolExecutor(workers) if name == "threads" else _process_pool(workers) as executor:
        yield executor


def ordered_map(function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], executor: Executor | None) -> list:
    """Call a function once per task.

    Args:
        function: What to call; with worker processes it is pickled once.
        tasks: One tuple of arguments per call.
        executor: Where to run; None: here, one after the other.

    Returns:
        One `Completed` per task, in order. Errors of the user's model (`EvaluationError`) and workers that died are
        failures; any other exception is raised.

    Raises:
        SettingsError: The function or an argument cannot be sent to another process.
    """
    tasks = list(tasks)
    if executor is None:
        return [_attempt(function, task) for task in tasks]
    if not isinstance(executor, ThreadPoolExecutor):
        function = ship(function)
    futures = [_submit(executor, function, task) for task in tasks]
    completed = [_await(future) for future in futures]
    return [_retry(function, task) if found is None else found for task, found in zip(tasks, completed, strict=True)]


@dataclass(frozen=True)
class Shipped:
    """A function that travels as bytes and is unpickled once per process."""

    key: str
    payload: bytes

    def __call__(self, *arguments: Any) -> Any:
        return _unpack(self)(*arguments)

    def __hash__(self) -> int:
        return hash(self.key)


def ship(function: Callable[..., Any]) -> Shipped:
    """Pickle a function for other processes.

    Raises:
        SettingsError: It refers to something that cannot be pickled.
    """
    import cloudpickle

    try:
        payload = cloudpickle.dumps(function)
    except Exception as error:
        raise SettingsError(
            f"The model cannot be sent to another process ({type(error).__name__}: {error}). "
            'Use executor="threads", or keep open files and handles out of the model.'
        ) from error
    return Shipped(hashlib.sha256(payload).hexdigest(), payload)


@functools.lru_cache(maxsize=KEPT_IN_WORKER)
def _unpack(shipped: Shipped) -> Callable[..., Any]:
    import cloudpickle

    return cloudpickle.loads(shipped.payload)


def _attempt(function: Callable[..., Any], task: tuple[Any, ...]) -> Completed:
    try:
        return Completed(function(*task))
    except EvaluationError as error:
        return Completed(failure=str(error))


def _submit(executor: Executor, function: Callable[..., Any], task: tuple[Any, ...]) -> Future | None:
    try:
        return executor.submit(_attempt, function, task)
    except BrokenExecutor:
        return None


def _await(future: Future | None) -> Completed | None:
    """Return what a task came to; None if its worker, or that of another task in the same pool, died."""
    if future is None:
        return None
    try:
        return future.result()
    except (BrokenExecutor, CancelledError):
        return None


def _retry(function: Callable[..., Any], task: tuple[Any, ...]) -> Completed:
    """Run a task in a process of its own: a pool that broke does not say which of its tasks broke it."""
    with _process_pool(1) as alone:
        found = _await(_submit(alone, function, task))
    return found or Completed(failure="the worker process died during this task")


def _process_pool(workers: int) -> ProcessPoolExecutor:
    # JAX starts threads, and a forked copy of a process with threads may hang.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _named(choice: str | int) -> tuple[str, int]:
    name, _, count = (f"processes:{choice}" if isinstance(choice, int) else choice).partition(":")
    if name not in EXECUTORS:
        raise SettingsError(f"No executor is called {name!r}. Known: {', '.join(EXECUTORS)}, or any Executor object.")
    if count and not (count.isdecimal() and int(count) > 0):
        raise SettingsError(f"The executor {choice!r} has {count!r} workers. Give a positive whole number.")
    return name, int(count) if count else os.cpu_count() or 1
