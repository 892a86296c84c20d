"""The optimizers of nevergrad, by name.

nevergrad (MIT licence) has some five hundred of them behind one ask and tell. Its last release, 1.0.12, is older than
the NumPy it runs with: some optimizers raise from within, NGOpt and its kin among them with NumPy 2.3 and later, and
those that wrap a solver in a thread may wait for ever. So every ask and every tell has a time limit, and when one fails
the rest of the budget goes to differential evolution; the message says so.

References:
    Bennet, Doerr, Moreau, Rapin, Teytaud, Teytaud (2021), Nevergrad, doi:10.1145/3460310.3460312.
"""

from __future__ import annotations

import functools
import queue
import threading
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.optimizers.cma_es import UnitBox
from fieldfit.optimizers.differential_evolution import DEFAULTS as IN_PLACE
from fieldfit.optimizers.differential_evolution import evolve
from fieldfit.optimizers.search_dialogue import SearchDialogue, require, spread
from fieldfit.registry import unknown_name

DEFAULTS = {"ask_seconds": 30.0}
"""Longest time that nevergrad may take to make the candidates of a turn, or to take their costs [s]."""

PREFIX = "nevergrad:"

CANDIDATES = 10
"""Per turn, for optimizers that can make several before they hear of the first."""

REMEMBERED = 30
"""Candidates whose spread tells whether a search has contracted: a population of the usual size."""


class LibraryError(Exception):
    """The library failed or did not answer in time."""


def check_name(method: str) -> None:
    """Refuse a name that nevergrad does not know.

    Args:
        method: "nevergrad:" and the name.

    Raises:
        SettingsError: It is not known, or nevergrad is not installed.
    """
    registry = require("nevergrad", "nevergrad").optimizers.registry
    if method.removeprefix(PREFIX) not in registry:
        raise SettingsError(unknown_name("optimizer of nevergrad", method.removeprefix(PREFIX), registry))


def nevergrad_search(dialogue: SearchDialogue, options: Mapping[str, Any], *, name: str) -> str:
    """Search between bounds by an optimizer of nevergrad.

    Args:
        dialogue: What to ask.
        options: As in `DEFAULTS`.
        name: Of the optimizer.

    Returns:
        Why it ended.

    Raises:
        SettingsError: nevergrad is not installed.
    """
    dialogue.tell_start()
    if not dialogue.n_left:
        return dialogue.exhausted
    try:
        message = _search(dialogue, name, float(options["ask_seconds"]))
    except LibraryError as error:
        rest = evolve(dialogue, IN_PLACE)
        return f"nevergrad's {name} failed ({error}); went on with differential evolution: {rest}"
    dialogue.polish(dialogue.problem.best_x)
    return message


def _search(dialogue: SearchDialogue, name: str, seconds: float) -> str:
    settings, box = dialogue.settings, UnitBox(dialogue.x0, dialogue.lower, dialogue.upper)
    library = require("nevergrad", "nevergrad")
    kind = library.optimizers.registry[name]
    size = 1 if kind.no_parallelization else settings.batch_size or CANDIDATES

    def make() -> Any:
        variables = library.p.Array(init=box.into(dialogue.x0)).set_bounds(0.0, 1.0)
        variables.random_state = np.random.RandomState(settings.seed)
        return kind(parametrization=variables, budget=dialogue.n_left, num_workers=size)

    optimizer = _within(seconds, make)
    last: deque[np.ndarray] = deque(maxlen=REMEMBERED)
    while dialogue.n_left:
        asked = _within(seconds, lambda: [optimizer.ask() for _ in range(min(size, dialogue.n_left))])
        costs = dialogue.costs([box.outof(candidate.value) for candidate in asked])
        dialogue.turn()
        _within(seconds, functools.partial(_tell_all, optimizer, asked, costs.tolist()))
        last.extend(candidate.value for candidate in asked)
        if len(last) == REMEMBERED and spread(np.stack(list(last)), np.ones(len(box.width))) < settings.xtol:
            return f"the last {REMEMBERED} candidates lie in one place"
    return dialogue.exhausted


def _tell_all(optimizer: Any, asked: list[Any], costs: list[float]) -> None:
    for candidate, cost in zip(asked, costs, strict=True):
        optimizer.tell(candidate, cost)


def _within(seconds: float, function: Callable[[], Any]) -> Any:
    """Call a function of the library in a thread that may be left behind.

    Raises:
        LibraryError: It raised, or did not return in time.
    """
    answers: queue.Queue[tuple[Any, str | None]] = queue.Queue()

    def work() -> None:
        try:
            answers.put((function(), None))
        # Anything may come out of a library that is older than those it uses.
        except Exception as error:
            answers.put((None, f"{type(error).__name__}: {error}"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threading.Thread(target=work, daemon=True).start()
        try:
            found, failure = answers.get(timeout=seconds)
        except queue.Empty:
            raise LibraryError(f"no answer in {seconds:g} s") from None
    if failure is not None:
        raise LibraryError(failure)
    return found
