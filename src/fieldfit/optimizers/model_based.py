"""Models of the values instead of derivatives: COBYQA, BOBYQA, and DFO-LS for residuals.

Each keeps a quadratic model that interpolates the values at some ten to a hundred points, and minimises it in a trust
region inside the bounds. They are local, deterministic, and the most economical where the objective is smooth but hands
out no derivatives. DFO-LS models every residual by itself, which needs fewer points than one model of their sum.

COBYQA is that of SciPy. Py-BOBYQA and DFO-LS are under the GPL, so they are never installed unless asked for by name.

A turn is one evaluation. A failed evaluation is answered by a wall as much above the highest value so far as that is
above the lowest one: infinity, or a number far beyond all others, would make the models singular.

References:
    Ragonneau, Zhang (2023), COBYQA, doi:10.48550/arXiv.2210.12018.
    Cartis, Fiala, Marteau, Roberts (2019), Py-BOBYQA and DFO-LS, doi:10.1145/3338517.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.scipy import ScipyOptimizer
from fieldfit.optimizers.search_dialogue import BudgetSpentError, SearchDialogue, require
from fieldfit.typing import Vector

DEFAULTS = {"rhobeg": None, "npt": None, "user_params": {}}
"""Options by the names of Py-BOBYQA and DFO-LS; None: their own choice, and for the first radius the one below."""

FIRST_RADIUS = 0.1
"""First trust region relative to the largest variable, or to 1 if that is larger."""

ROOM = 0.45
"""First trust region at most, relative to the distance between two bounds: the models need points on both sides."""

FAR = 1e20
"""Stands for a bound that is not there, as in both libraries."""


def cobyqa(dialogue: SearchDialogue, options: Mapping[str, Any]) -> str:
    """Search by SciPy's COBYQA.

    Args:
        dialogue: What to ask.
        options: By the names of the library.

    Returns:
        Why it ended.
    """
    settings = dialogue.settings
    if not dialogue.n_left:
        dialogue.tell_start()
        return dialogue.exhausted
    # It tells its start itself.
    optimizer = ScipyOptimizer("COBYQA", maxiter=settings.budget, xtol=settings.xtol, options=options)
    run = dialogue.solve(optimizer, dialogue.x0, evaluations=dialogue.n_left, start=dialogue.start)
    message = run.message if dialogue.n_left else dialogue.exhausted
    dialogue.polish(dialogue.problem.best_x)
    return message


def bobyqa(dialogue: SearchDialogue, options: Mapping[str, Any]) -> str:
    """Search by Py-BOBYQA.

    Args:
        dialogue: What to ask.
        options: By the names of the library.

    Returns:
        Why it ended.

    Raises:
        SettingsError: The package is not installed, or two bounds are equal.
    """
    wall = _Wall(dialogue.start)
    return _drive(require("pybobyqa", "bobyqa").solve, dialogue, wall.cost, options)


def dfo_ls(dialogue: SearchDialogue, options: Mapping[str, Any]) -> str:
    """Search by DFO-LS.

    Args:
        dialogue: What to ask.
        options: By the names of the library.

    Returns:
        Why it ended.

    Raises:
        SettingsError: The package is not installed, or two bounds are equal.
    """
    wall = _Wall(dialogue.start)
    return _drive(require("dfols", "dfo-ls").solve, dialogue, wall.residuals, options)


class _Wall:
    """Answers in place of those that failed."""

    def __init__(self, start: Evaluation) -> None:
        self._lowest = self._highest = start.cost
        self._size = 1 if start.residuals is None else start.residuals.size

    def cost(self, found: Evaluation) -> float:
        """Return the cost, or the height of the wall."""
        if not found.is_finite or found.failure:
            return self._height
        self._lowest, self._highest = min(self._lowest, found.cost), max(self._highest, found.cost)
        return found.cost

    def residuals(self, found: Evaluation) -> Vector:
        """Return the residuals, or equal ones that make up the height of the wall."""
        cost = self.cost(found)
        if found.is_finite and not found.failure and found.residuals is not None:
            return found.residuals
        return np.full(self._size, np.sqrt(2.0 * cost / self._size))

    @property
    def _height(self) -> float:
        rise = self._highest - self._lowest
        return self._highest + (rise if rise > 0.0 else 1.0 + abs(self._highest))


def _drive(
    solve: Callable[..., Any],
    dialogue: SearchDialogue,
    answer: Callable[[Evaluation], Any],
    options: Mapping[str, Any],
) -> str:
    """Run one of the two libraries, which are called alike."""
    settings = dialogue.settings

    def function(x: Vector) -> Any:
        found = dialogue.evaluate(x)
        dialogue.turn(found.failure or "")
        return answer(found)

    radius = options["rhobeg"] or _first_radius(dialogue)
    dialogue.tell_start()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # They compute on with what overflows, and end with a message of their own.
            warnings.simplefilter("ignore")
            found = solve(
                function,
                dialogue.x0,
                bounds=(np.maximum(dialogue.lower, -FAR), np.minimum(dialogue.upper, FAR)),
                rhobeg=radius,
                rhoend=min(settings.xtol, 0.5 * radius),
                maxfun=max(1, dialogue.n_left),
                do_logging=False,
                npt=options["npt"],
                user_params=dict(options["user_params"]),
            )
    except BudgetSpentError:
        return dialogue.exhausted
    dialogue.polish(dialogue.problem.best_x)
    return str(found.msg)


def _first_radius(dialogue: SearchDialogue) -> float:
    gaps = dialogue.upper - dialogue.lower
    if np.any(gaps == 0.0):
        label = dialogue.problem.labels[int(np.argmin(gaps))]
        raise SettingsError(f"{label} has equal bounds, which leave no room for a model. Fix that parameter instead.")
    return float(min(FIRST_RADIUS * max(1.0, np.max(np.abs(dialogue.x0))), ROOM * np.min(gaps)))
