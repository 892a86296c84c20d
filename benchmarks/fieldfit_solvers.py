"""The optimizers of fieldfit as solvers of the benchmark; add a line to a table to compare one more."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from multimodal import ScalarProblem
from peers import Counted, Run, Solver
from problems import TestProblem

import fieldfit
from fieldfit.errors import SettingsError


@dataclass(frozen=True)
class Entry:
    """An optimizer by the place it is defined in.

    Args:
        label: Name in tables.
        module: Where its class is.
        name: Name of the class.
        options: For the class; an optimizer inside another one is an `Entry`.
    """

    label: str
    module: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        """Return the optimizer."""
        options = {key: value.make() if isinstance(value, Entry) else value for key, value in self.options.items()}
        return getattr(importlib.import_module(self.module), self.name)(**options)


def _scipy(method: str) -> Entry:
    return Entry(f"fieldfit scipy-{method}", "fieldfit", "ScipyOptimizer", {"method": method})


TIGHT = {"ftol": None, "xtol": None, "gtol": None}
"""Tests of rounding only."""

FOR_SQUARES = (
    Entry("fieldfit least-squares", "fieldfit", "LeastSquaresOptimizer"),
    Entry("fieldfit least-squares, tight", "fieldfit", "LeastSquaresOptimizer", TIGHT),
    _scipy("trf"),
    _scipy("lm"),
    _scipy("L-BFGS-B"),
    Entry("fieldfit trust region", "fieldfit.optimizers.scalar_trust_region", "TrustRegionOptimizer"),
)
"""Optimizers for sums of squares. The in-graph ones need functions in JAX and have `in_graph.py`."""

FOR_SCALARS = (
    _scipy("L-BFGS-B"),
    Entry(
        "fieldfit multi-start 200",
        "fieldfit.optimizers.multistart",
        "MultiStartOptimizer",
        {"optimizer": _scipy("L-BFGS-B"), "n_starts": 200, "sampling": "sobol", "seed": 0},
    ),
    Entry(
        "fieldfit basin hopping",
        "fieldfit.optimizers.basin_hopping",
        "BasinHoppingOptimizer",
        {"optimizer": _scipy("L-BFGS-B"), "seed": 0},
    ),
    Entry(
        "fieldfit differential evolution",
        "fieldfit.optimizers.derivative_free",
        "DerivativeFreeOptimizer",
        {"method": "differential-evolution", "seed": 0},
    ),
    Entry(
        "fieldfit CMA-ES",
        "fieldfit.optimizers.derivative_free",
        "DerivativeFreeOptimizer",
        {"method": "cma-es", "seed": 0},
    ),
)
"""Optimizers for scalars with many minima."""


def solvers(entries: Sequence[Entry]) -> Iterator[Solver | str]:
    """Yield a solver for every optimizer that exists, and a line of text for every one that does not."""
    for entry in entries:
        try:
            optimizer = entry.make()
        except (ImportError, AttributeError, TypeError, SettingsError) as error:
            yield f"{entry.label}: {error}"
            continue
        yield Solver(entry.label, _preparation(optimizer), optimizer.traits.handles_bounds)


def _preparation(optimizer: Any) -> Callable[[Any], Callable[[], Run]]:
    def prepare(problem: TestProblem | ScalarProblem) -> Callable[[], Run]:
        objective = _scalar(problem) if isinstance(problem, ScalarProblem) else _squares(problem)
        return lambda: _run(optimizer.optimize(objective))

    return prepare


def _parameters(problem: TestProblem | ScalarProblem) -> fieldfit.Parameters:
    start = np.clip(problem.start, problem.lower, problem.upper)
    return fieldfit.Parameters([fieldfit.Parameter("x", start, lower=problem.lower, upper=problem.upper)])


def _squares(problem: TestProblem) -> fieldfit.FunctionObjective:
    counter = Counted(problem)
    return fieldfit.FunctionObjective(
        lambda values: counter.residuals(values["x"]),
        _parameters(problem),
        derivatives=lambda values: counter.jacobian(values["x"]),
    )


def _scalar(problem: ScalarProblem) -> fieldfit.ScalarObjective:
    import jax.numpy as jnp

    return fieldfit.ScalarObjective(lambda values: problem.function(values["x"], jnp), _parameters(problem))


def _run(result: Any) -> Run:
    return Run(
        x=np.array(result.x["x"], dtype=float),
        score=float(result.final_score),
        success=bool(result.success),
        evaluations=result.n_evaluations,
        derivative_evaluations=result.n_derivative_evaluations,
        seconds=0.0,
        message=result.message,
    )
