"""The end of a run over DESC's objects, with the entries that DESC's own results have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.equilibrium.desc.task import DescTask
from fieldfit.equilibrium.desc.values import told_values
from fieldfit.optimize import ThingsResult
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

VALUES = "Objective values"
KEYS = (
    *("x", "allx", "success", "status", "message", "fun", "cost", "nfev", "njev", "nit", "optimality"),
    *("constr_violation", "history", VALUES),
)
"""What can be asked for in square brackets, besides as attributes."""


@dataclass(frozen=True, eq=False, repr=False)
class DescResult(Mapping[str, Any]):
    """The end of a run; its entries can be read as attributes and in square brackets.

    Args:
        run: The run as this library sees it, with its report, verdict and parameters by name.
        task: What was asked for.
    """

    run: ThingsResult
    task: DescTask

    @property
    def x(self) -> Vector:
        """All elements of all things at the best point, physical, in the order of the things, shape (elements,)."""
        return self.run.x

    @property
    def allx(self) -> Matrix:
        """The same at the start and every accepted point, the best one last, shape (points, elements)."""
        return self.run.allx

    @property
    def success(self) -> bool:
        """Whether the best point is stationary and holds the constraints; see `fieldfit.optimize.ThingsResult`."""
        return self.run.success

    @property
    def status(self) -> int:
        """0 for success, 1 otherwise."""
        return self.run.status

    @property
    def message(self) -> str:
        """Why the run ended."""
        return self.run.message

    @property
    def fun(self) -> Vector:
        """Residuals of the objective at the best point, shape (m,)."""
        found = self.run.fit.residuals
        return np.zeros(0) if found is None else found

    @property
    def cost(self) -> float:
        """Half the sum of squared residuals."""
        return self.run.cost

    @property
    def nfev(self) -> int:
        """Number of evaluations."""
        return self.run.nfev

    @property
    def njev(self) -> int:
        """Number of evaluations with derivatives."""
        return self.run.njev

    @property
    def nit(self) -> int:
        """Number of iterations."""
        return self.run.nit

    @property
    def optimality(self) -> float:
        """First-order optimality; see `fieldfit.problem.Verdict`."""
        return self.run.optimality

    @property
    def constr_violation(self) -> float:
        """How far the worst constraint is outside its limits, in units of its normalization."""
        return self.run.violation

    @cached_property
    def history(self) -> list[list[dict[str, np.ndarray]]]:
        """Parameters of every thing at the start and every accepted point."""
        return [list(self.task.things.split(x)) for x in self.allx]

    @cached_property
    def objective_values(self) -> dict[str, Any]:
        """What DESC says of objective and constraints before and after, in its own words as keys."""
        return self._told[0]

    @cached_property
    def report(self) -> str:
        """Why the run ended, and DESC's table of objective and constraints before and after."""
        return f"{self.run.report}\n\n{self._told[1]}"

    @cached_property
    def _told(self) -> tuple[dict[str, Any], str]:
        return told_values(self.task, self.task.things.parameters.flat, self.x)

    def __getitem__(self, key: str) -> Any:
        if key not in KEYS:
            raise KeyError(unknown_name("entry of the result", key, KEYS))
        return self.objective_values if key == VALUES else getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(KEYS)

    def __len__(self) -> int:
        return len(KEYS)

    def __repr__(self) -> str:
        return self.run.report
