"""Measure fits that run inside one compiled program: alone, and many starts at once.

    python benchmarks/in_graph.py [--starts 32] [--repeats 5]

The problem has ten parameters: heights and positions of five peaks seen at twenty points, a sum of squares in a box.
Printed for each method: seconds to compile, traces of the user's function, and the time of all starts one after the
other through the compiled program of one start against the time of the program of all starts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

import fieldfit
from fieldfit.optimizers.in_graph import JaxOptimizer, solve_start, solve_starts

METHODS = ("lbfgsb", "lm", "bfgs", "gauss_newton")
POINTS = np.linspace(0.0, 6.0, 20)
HEIGHTS = np.array([1.0, 2.0, 0.5, 1.5, 1.0])
POSITIONS = np.arange(1.0, 6.0)
WIDTH = 0.6


class Counted:
    """The model as a user writes it; it counts how often it is called from Python."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, p):
        self.calls += 1
        return peaks(p["height"], p["position"]) - peaks(HEIGHTS, POSITIONS)


def peaks(heights, positions):
    """Return a sum of peaks, shape (points,)."""
    return jnp.sum(heights * jnp.exp(-(((POINTS[:, None] - positions) / WIDTH) ** 2)), axis=1)


def build() -> tuple[Counted, fieldfit.FunctionObjective]:
    """Return the user's function and the objective over it."""
    function = Counted()
    parameters = [
        fieldfit.Parameter("height", np.ones(5), lower=0.0, upper=5.0),
        fieldfit.Parameter("position", POSITIONS + 0.1, lower=POSITIONS - 0.5, upper=POSITIONS + 0.5),
    ]
    return function, fieldfit.FunctionObjective(function, fieldfit.Parameters(parameters))


def shortest(run: Callable[[], object], repeats: int) -> float:
    """Return the shortest wall time of several runs [s]."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print("method        compile  traces  evaluations  alone [ms]  together [ms]  ratio  same ends")
    for method in METHODS:
        function, objective = build()
        problem = fieldfit.Problem(objective).vector()
        random = np.random.default_rng(0)
        wide = random.uniform(0.9, 1.1, (arguments.starts, problem.x0.size))
        starts = list(np.clip(problem.x0 * wide, problem.lower, problem.upper))
        optimizer = JaxOptimizer(method)
        begin = time.perf_counter()
        solve_start(optimizer, problem, starts[0])
        compiled, traces = time.perf_counter() - begin, function.calls
        alone = [solve_start(optimizer, problem, start) for start in starts]
        together = solve_starts(optimizer, problem, starts)
        one_by_one = shortest(
            lambda: [solve_start(optimizer, problem, start) for start in starts],  # noqa: B023
            arguments.repeats,
        )
        at_once = shortest(lambda: solve_starts(optimizer, problem, starts), arguments.repeats)  # noqa: B023
        same = sum(np.allclose(a.x, b.x, rtol=1e-6) for a, b in zip(alone, together, strict=True))
        print(
            f"{method:13s} {compiled:6.2f}s  {traces:6d}  {sum(end.n_evaluations for end in together):11d}  "
            f"{1e3 * one_by_one:10.1f}  {1e3 * at_once:13.1f}  {one_by_one / at_once:5.1f}  {same} of {len(starts)}"
        )


if __name__ == "__main__":
    main()
