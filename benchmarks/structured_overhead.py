"""What the structured interface costs beside SciPy with a gradient written by hand: a network of 26 parameters.

    python benchmarks/structured_overhead.py

Both minimise one loss with L-BFGS-B from the same start. One side gives a function of named arrays with bounds
to `Problem` and `ScipyOptimizer`; the other writes what a user of SciPy would write: a vector cut into the arrays,
`jax.value_and_grad` compiled once, `scipy.optimize.minimize(..., jac=True)`. Stopping tests are off on both sides and
the number of evaluations is set, so that both do the same work; the time per evaluation is the time of the run over
its evaluations, and the ratio is that of the medians over runs in turn. The first run of each side includes compiling.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import numpy as np
import scipy.optimize
from worked_problems import NETWORK_BOUNDS, network_loss

import fieldfit
from fieldfit.reporting.calibration import calibrate

EVALUATIONS = 300
"""Of one run, about what the network takes to its minimum."""

TINY = 1e-99
"""A tolerance that is never met."""

RUNS = 15
LIMIT = 1.3


@dataclass
class Side:
    """One of the two ways, and the times of its runs.

    Args:
        solve: Runs from a start and returns cost and number of evaluations.
        times: Seconds per evaluation of each run; the first includes compiling.
        ends: Cost and evaluations of each run.
    """

    solve: Callable[[np.ndarray], tuple[float, int]]
    times: list[float] = field(default_factory=list)
    ends: list[tuple[float, int]] = field(default_factory=list)

    def run(self, start: np.ndarray) -> None:
        begin = time.perf_counter()
        end = self.solve(start)
        self.times.append((time.perf_counter() - begin) / end[1])
        self.ends.append(end)

    @property
    def compiled(self) -> float:
        """Median time per evaluation once everything is compiled [s]."""
        return statistics.median(self.times[1:])

    @property
    def first(self) -> float:
        """Time of the first run [s]."""
        return self.times[0] * self.ends[0][1]


def cut(vector: jax.Array | np.ndarray) -> dict[str, jax.Array | np.ndarray]:
    """Cut a vector into the arrays of the network."""
    pieces, place = {}, 0
    for name, (lower, _) in NETWORK_BOUNDS.items():
        pieces[name] = vector[place : place + lower.size].reshape(lower.shape)
        place += lower.size
    return pieces


def with_scipy() -> Callable[[np.ndarray], tuple[float, int]]:
    """Return the way of a user of SciPy."""
    compiled = jax.jit(jax.value_and_grad(lambda vector: network_loss(**cut(vector))))
    lower, upper = (np.concatenate([pair[side].ravel() for pair in NETWORK_BOUNDS.values()]) for side in (0, 1))

    def cost(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = compiled(vector)
        return float(value), np.asarray(gradient)

    def solve(start: np.ndarray) -> tuple[float, int]:
        with jax.enable_x64(True):
            found = scipy.optimize.minimize(
                cost,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=scipy.optimize.Bounds(lower, upper),
                options={"maxiter": 10 * EVALUATIONS, "maxfun": EVALUATIONS, "ftol": 0.0, "gtol": 0.0},
            )
        return found.fun, found.nfev

    return solve


def with_fieldfit() -> Callable[[np.ndarray], tuple[float, int]]:
    """Return the way of the structured interface."""
    problem = fieldfit.Problem(network_loss, bounds=NETWORK_BOUNDS, call="keywords")
    optimizer = fieldfit.ScipyOptimizer(
        "L-BFGS-B", maxiter=10 * EVALUATIONS, ftol=None, gtol=TINY, options={"maxfun": EVALUATIONS}
    )

    def solve(start: np.ndarray) -> tuple[float, int]:
        parameters = problem.parameters.replace(cut(start))
        result = optimizer.optimize(fieldfit.Problem(problem.objective, parameters))
        return result.fun, result.nfev

    return solve


def main() -> None:
    print(calibrate())
    sides = {"scipy": Side(with_scipy()), "fieldfit": Side(with_fieldfit())}
    starts = np.random.default_rng(0)
    for _ in range(RUNS):
        start = np.concatenate([starts.uniform(*pair).ravel() for pair in NETWORK_BOUNDS.values()])
        for side in sides.values():
            side.run(start)
    for name, side in sides.items():
        counts = [count for _, count in side.ends]
        print(
            f"{name:9s} {1e6 * side.compiled:7.1f} us per evaluation, first run {side.first:.2f} s with compiling; "
            f"{min(counts)} to {max(counts)} evaluations, best cost {min(cost for cost, _ in side.ends):.6f}"
        )
    pairs = zip(sides["fieldfit"].times[1:], sides["scipy"].times[1:], strict=True)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"ratio {ratio:.2f} (limit {LIMIT})")


if __name__ == "__main__":
    main()
