"""Global searches on functions with many minima, side by side with SciPy's.

    python benchmarks/global_search.py [--function rastrigin ...] [--budget 10000] [--seeds 100 120]

Each method starts from the same random points in five dimensions and may make `--budget` evaluations. Without `--seeds`
these are the five starts per function of `multimodal.py`; the settings of fieldfit's methods were chosen on them, so
rates of success are quoted from others. Columns per function: starts that came within 1e-6 of the global minimum;
median evaluations until then, of those that did; median of all evaluations. An evaluation with gradient counts once;
the last column is the median of those over all runs. "200 starts" runs L-BFGS-B from 200 uniform points without a
limit: what multi-start can do, whatever its budget.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from multimodal import FUNCTIONS, PROBLEMS, SOLVED, ScalarProblem

import fieldfit
from fieldfit.optimizers.basin_hopping import BasinHoppingOptimizer
from fieldfit.optimizers.derivative_free import DerivativeFreeOptimizer
from fieldfit.precision import in_double_precision

STARTS = 200
"""Of multi-start."""


class SpentError(Exception):
    """The budget is spent."""


@dataclass
class Counted:
    """A function that counts, remembers when it was solved, and stops at its budget."""

    function: Callable[[np.ndarray], Any]
    budget: float
    with_gradient: bool = False
    n_evaluations: int = 0
    n_gradients: int = 0
    solved_at: int | None = None

    def __call__(self, x: np.ndarray) -> Any:
        if self.n_evaluations >= self.budget:
            raise SpentError
        self.n_evaluations += 1
        self.n_gradients += self.with_gradient
        found = self.function(x)
        value = found[0] if self.with_gradient else found
        if self.solved_at is None and value < SOLVED:
            self.solved_at = self.n_evaluations
        return found


@dataclass(frozen=True)
class Tally:
    """What one run came to."""

    solved_at: int | None
    n_evaluations: int
    n_gradients: int


@dataclass
class Row:
    """One method."""

    label: str
    run: Callable[[ScalarProblem, float], Tally]
    tallies: dict[str, list[Tally]] = field(default_factory=dict)


def with_gradient(problem: ScalarProblem) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    compiled = in_double_precision(jax.jit(jax.value_and_grad(lambda x: problem.function(x, jnp))))

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = compiled(x)
        return float(value), gradient

    return both


def fieldfit_row(label: str, make: Callable[[int, int], Any]) -> Row:
    def run(problem: ScalarProblem, budget: float) -> Tally:
        start = fieldfit.Parameter("x", problem.start, lower=problem.lower, upper=problem.upper)
        objective = fieldfit.ScalarObjective(lambda p: problem.function(p["x"], jnp), [start])
        optimizer = make(problem.seed, int(budget))
        result = optimizer.optimize(objective, observers=[fieldfit.Budget(evaluations=int(budget))])
        solved = (entry.evaluation for entry in result.history if entry.cost < SOLVED)
        return Tally(next(solved, None), result.n_evaluations, result.n_derivative_evaluations)

    return Row(label, run)


def scipy_row(label: str, search: Callable[[Callable, ScalarProblem], Any]) -> Row:
    def run(problem: ScalarProblem, budget: float) -> Tally:
        counted = Counted(problem.value, budget)
        return _tally(counted, lambda: search(counted, problem))

    return Row(label, run)


def multi_start(problem: ScalarProblem, budget: float) -> Tally:
    counted = Counted(with_gradient(problem), np.inf, with_gradient=True)
    bounds = scipy.optimize.Bounds(problem.lower, problem.upper)
    starts = np.random.default_rng(problem.seed).uniform(problem.lower, problem.upper, (STARTS, problem.lower.size))

    def search() -> None:
        for start in starts:
            scipy.optimize.minimize(counted, start, jac=True, method="L-BFGS-B", bounds=bounds)

    return _tally(counted, search)


def _tally(counted: Counted, search: Callable[[], Any]) -> Tally:
    with contextlib.suppress(SpentError):
        search()
    return Tally(counted.solved_at, counted.n_evaluations, counted.n_gradients)


def _dual_annealing(function: Callable, problem: ScalarProblem) -> Any:
    bounds = list(zip(problem.lower, problem.upper, strict=True))
    return scipy.optimize.dual_annealing(function, bounds, x0=problem.start, rng=problem.seed)


def _differential_evolution(function: Callable, problem: ScalarProblem) -> Any:
    bounds = list(zip(problem.lower, problem.upper, strict=True))
    return scipy.optimize.differential_evolution(function, bounds, x0=problem.start, rng=problem.seed)


def _evolution(**options: Any) -> Callable[[int, int], Any]:
    return lambda seed, budget: DerivativeFreeOptimizer(seed=seed, budget=budget, **options)


SCIPY_SETTINGS = {"batch_size": 75, "options": {"strategy": "best1bin", "mutation": (0.5, 1.0), "recombination": 0.7}}
"""Population and settings of SciPy's differential evolution in five variables."""

USUAL_POPULATION = {"method": "cma-es", "batch_size": 8}
"""4 + 3 ln 5."""

ROWS = (
    fieldfit_row("differential evolution, polished", _evolution()),
    fieldfit_row("  without polishing", _evolution(polish=None)),
    fieldfit_row("  with SciPy's settings", _evolution(**SCIPY_SETTINGS)),
    fieldfit_row("CMA-ES, polished", _evolution(method="cma-es")),
    fieldfit_row("  from the usual population", _evolution(**USUAL_POPULATION)),
    fieldfit_row("basin hopping", lambda seed, budget: BasinHoppingOptimizer(seed=seed)),
    scipy_row("scipy dual_annealing", _dual_annealing),
    scipy_row("scipy differential_evolution", _differential_evolution),
    Row(f"L-BFGS-B, {STARTS} starts", multi_start),
)


def main() -> None:
    options = _options()
    print(f"{'':34s}" + "".join(f"{name:>21s}" for name in options.function) + f"{'with gradient':>15s}")
    problems = PROBLEMS if options.seeds is None else _restarted(range(*options.seeds))
    for row in ROWS:
        for problem in problems:
            name = problem.name.partition("/")[0]
            if name in options.function:
                row.tallies.setdefault(name, []).append(row.run(problem, options.budget))
        print(f"{row.label:34s}" + "".join(_cell(row.tallies[name]) for name in options.function), end="")
        gradients = [tally.n_gradients for tallies in row.tallies.values() for tally in tallies]
        print(f"{int(np.median(gradients)):15d}", flush=True)


def _restarted(seeds: range) -> list[ScalarProblem]:
    """Return the problems from other random starts, drawn as in `multimodal`."""
    functions = {problem.name.partition("/")[0]: problem for problem in PROBLEMS}
    return [
        replace(
            problem,
            name=f"{name}/{seed}",
            start=np.random.default_rng(seed).uniform(problem.lower, problem.upper),
            seed=seed,
        )
        for name, problem in functions.items()
        for seed in seeds
    ]


def _cell(tallies: list[Tally]) -> str:
    reached = [tally.solved_at for tally in tallies if tally.solved_at is not None]
    when = f"{int(np.median(reached)):d}" if reached else "-"
    total = int(np.median([tally.n_evaluations for tally in tallies]))
    return f"{f'{len(reached)}/{len(tallies)}':>6s}{when:>7s}{total:>8d}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--function", nargs="+", default=list(FUNCTIONS), choices=list(FUNCTIONS))
    parser.add_argument("--budget", type=int, default=10_000, help="most evaluations per run; not for multi-start")
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "END"), help="other starts, END not among them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
