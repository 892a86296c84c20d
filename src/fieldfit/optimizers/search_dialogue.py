"""What a derivative-free search asks and is told in the course of one run.

A search is a function of a dialogue. It asks for the costs of whole batches of points, so that an executor can share
them out, says when a turn is over, and has a local optimizer polish the points it ends at. The dialogue keeps the
budget, the bounds and the count. A point that cannot be evaluated costs infinity. All points are evaluated with the
initial state of the objective: a population has no last accepted point.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.problem import AbstractOptimizer, Budget, Recorder, Run, Subproblem, run_part
from fieldfit.problem.recorder import Interruption
from fieldfit.typing import Matrix, Vector

POLISH_SHARE = 0.1
"""Share of the budget that is kept for polishing the last end of a search, and that one polishing may take."""


class BudgetSpentError(Exception):
    """Leaves a library in the middle of its run."""


@dataclass(frozen=True)
class SearchSettings:
    """The options of a search, all of them decided.

    Args:
        budget: Most evaluations.
        batch_size: Candidates per turn; None: as the method has it.
        seed: Of the random numbers.
        polish: What runs from the ends of the search; None: nothing.
        xtol: Extent at which a search ends: of a population in units of the box, of a model in scaled variables.
    """

    budget: int
    batch_size: int | None
    seed: int
    polish: AbstractOptimizer | None
    xtol: float


class SearchDialogue:
    """A problem under a budget, one turn after the other.

    Args:
        problem: What is evaluated.
        start: Evaluation at its start.
        settings: Options of the search.

    Attributes:
        x0: Start, shape (n,).
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).
        start: Evaluation at x0.
        settings: Options of the search.
        runs: The runs of other optimizers so far.
        n_told: Steps that this run has told so far, those of its parts among them.
    """

    def __init__(self, problem: Recorder, start: Evaluation, settings: SearchSettings) -> None:
        self.problem, self.start, self.settings = problem, start, settings
        self.x0, self.lower, self.upper = problem.x0.copy(), problem.lower, problem.upper
        self.runs: list[Run] = []
        self.n_told = 0
        self._state = problem.initial_state()
        self._best, self._best_x = problem.best, problem.best_x

    @property
    def n_left(self) -> int:
        """Evaluations that are left for the search; a share of the budget is kept for polishing."""
        kept = 0 if self.settings.polish is None else int(POLISH_SHARE * self.settings.budget)
        return max(0, self.settings.budget - kept - self.problem.n_evaluations)

    @property
    def exhausted(self) -> str:
        """Message of a search that ends because nothing is left."""
        return f"the budget of {self.settings.budget} evaluations is spent"

    def tell_start(self) -> None:
        """Tell the start as step 0."""
        self._tell(self.x0, self.start.cost, is_accepted=_is_usable(self.start), note=self.start.failure or "")

    def costs(self, points: Sequence[Vector] | Matrix) -> Vector:
        """Evaluate a batch.

        Args:
            points: Points, each of shape (n,); rounding may have left them a bit outside the bounds.

        Returns:
            Costs, shape (points,); infinite where there is none: the evaluation failed or the budget is spent.
        """
        affordable = [np.clip(point, self.lower, self.upper) for point in points[: self.n_left]]
        found = self.problem.evaluate_many(affordable, self._state) if affordable else []
        costs = np.full(len(points), np.inf)
        costs[: len(found)] = [entry.cost if _is_usable(entry) else np.inf for entry in found]
        return costs

    def evaluate(self, x: Vector) -> Evaluation:
        """Evaluate one point.

        Raises:
            BudgetSpentError: Nothing is left.
        """
        if not self.n_left:
            raise BudgetSpentError
        return self.problem.evaluate(np.clip(x, self.lower, self.upper), self._state, derivatives=False)

    def turn(self, note: str = "") -> None:
        """End a turn: accept the best point if it is a new one, and tell it."""
        before, x_before = self._best, self._best_x
        is_new = self.problem.best is not before
        if is_new:
            self.problem.accept_best()
            self._best, self._best_x = self.problem.best, self.problem.best_x
        reduction = before.cost - self._best.cost if np.isfinite(before.cost) else 0.0
        step = float(np.linalg.norm(self._best_x - x_before))
        self._tell(self._best_x, self._best.cost, reduction=reduction, step_norm=step, is_accepted=is_new, note=note)

    def polish(self, x: Vector) -> Run | None:
        """Run the local optimizer from a point, inside a share of the budget; None if there is nothing to run."""
        evaluations = self.settings.budget - self.problem.n_evaluations
        if self.settings.polish is None or evaluations <= 0:
            return None
        share = max(1, int(POLISH_SHARE * self.settings.budget))
        return self.solve(self.settings.polish, x, evaluations=min(evaluations, share))

    def solve(
        self, optimizer: AbstractOptimizer, x: Vector, *, evaluations: int, start: Evaluation | None = None
    ) -> Run:
        """Run another optimizer as a part of this run, with at most so many evaluations.

        Args:
            optimizer: What to run.
            x: Its start, inside the bounds, shape (n,).
            evaluations: Most evaluations; those for differences are not counted among them.
            start: Evaluation at x if it is known.

        Raises:
            Interruption: An observer asked to stop, or the budget of the whole is spent.
        """
        # Without an executor: a batch in a part would not heed its limit.
        part = Recorder(Subproblem(self.problem.problem, x), [Budget(evaluations=evaluations)], parent=self.problem)
        try:
            run = run_part(optimizer, part, x, start)
        except Interruption:
            if part.n_evaluations < evaluations:
                raise
            message = f"its {evaluations} evaluations are spent"
            run = Run(x, part.embed(part.best_x), part.best, message, max(0, part.iteration), part.n_evaluations)
        finally:
            offset = len(self.problem.history) - part.n_evaluations
            self.problem.offer(part.embed(part.best_x), part.best, offset + part.record().best_index)
        self._best, self._best_x = self.problem.best, self.problem.best_x
        self.n_told += 0 if run.failure else run.n_iterations + 1
        self.runs.append(run)
        return run

    def _tell(self, x: Vector, cost: float, *, is_accepted: bool, **news: Any) -> None:
        self.n_told += 1
        step = {"reduction": 0.0, "step_norm": 0.0, "optimality": np.nan, "note": "", **news}
        self.problem.tell(x, cost=cost, is_accepted=is_accepted, **step)


def require(module: str, method: str) -> ModuleType:
    """Import an optional library.

    Args:
        module: Its name.
        method: That needs it; the extra has the same name.

    Raises:
        SettingsError: It is not installed.
    """
    try:
        with warnings.catch_warnings():
            # What a library warns of when it is imported is for its developers.
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise SettingsError(
            f"The method {method!r} needs the package {module!r}, which cannot be imported ({error}). Install it by "
            f'pip install "fieldfit[{method}]", or use the method "differential-evolution".'
        ) from error


def spread(points: Matrix, width: Vector) -> float:
    """Return the largest standard deviation of points along a variable, in units of widths.

    Args:
        points: Points, shape (points, n).
        width: Shape (n,); variables of zero width are left out.
    """
    is_open = width > 0.0
    if not np.any(is_open):
        return 0.0
    return float(np.max(np.std(points[:, is_open], axis=0) / width[is_open]))


def _is_usable(found: Evaluation) -> bool:
    return found.is_finite and not found.failure
