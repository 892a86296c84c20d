"""Compare LeastSquaresOptimizer with SciPy's trust-region and Levenberg-Marquardt codes.

    python benchmarks/least_squares.py [--repeats 5] [--sizes 100 300 1000]

Every code gets the exact Jacobian, tolerances of 1e-8 and scales from the Jacobian. An evaluation is one point at which
residuals are computed; SciPy computes Jacobians at accepted points only, LeastSquaresOptimizer at every trial.
A problem is solved when the sum of squares is one of the published minima.

The last section is about time for many variables: functions of variable size, with every residual repeated at several
weights, so that there are two to five residuals per variable and the Jacobian is dense.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import more_garbow_hillstrom as mgh
import numpy as np
from problems import BOUNDED, UNBOUNDED, TestProblem, problem
from scipy.optimize import least_squares

import fieldfit
from fieldfit.reporting.calibration import calibrate

TOLERANCE = 1e-8


@dataclass(frozen=True)
class Measurement:
    """One code on one problem: evaluations, sum of squares reached, processor time [s]."""

    evaluations: int
    score: float
    seconds: float


def run_fieldfit(problem: TestProblem) -> Measurement:
    start = np.clip(problem.start, problem.lower, problem.upper)
    parameter = fieldfit.Parameter("x", start, lower=problem.lower, upper=problem.upper)
    objective = fieldfit.FunctionObjective(
        lambda values: problem.function(values["x"])[0],
        fieldfit.Parameters([parameter]),
        derivatives=lambda values: problem.function(values["x"])[1],
    )
    optimizer = fieldfit.LeastSquaresOptimizer(ftol=TOLERANCE, xtol=TOLERANCE, gtol=TOLERANCE)
    begin = time.process_time()
    result = optimizer.optimize(objective)
    return Measurement(result.n_evaluations, result.final_score, time.process_time() - begin)


def run_scipy(problem: TestProblem, method: str) -> Measurement:
    calls = 0

    def residuals(x: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return problem.function(x)[0]

    start = np.clip(problem.start, problem.lower, problem.upper)
    bounds = (problem.lower, problem.upper) if problem.is_bounded else (-np.inf, np.inf)
    tolerances = {"ftol": TOLERANCE, "xtol": TOLERANCE, "gtol": TOLERANCE}
    begin = time.process_time()
    found = least_squares(
        residuals, start, lambda x: problem.function(x)[1], bounds=bounds, method=method, x_scale="jac", **tolerances
    )
    return Measurement(calls, 2.0 * float(found.cost), time.process_time() - begin)


def run_trf(problem: TestProblem) -> Measurement:
    return run_scipy(problem, "trf")


def run_lm(problem: TestProblem) -> Measurement:
    return run_scipy(problem, "lm")


def measure(run: Callable[[TestProblem], Measurement], problem: TestProblem, repeats: int) -> Measurement:
    """Run several times and keep the shortest; the first run warms caches."""
    found = [run(problem) for _ in range(repeats + 1)]
    return Measurement(found[0].evaluations, found[0].score, min(entry.seconds for entry in found[1:]))


def report(title: str, problems: tuple[TestProblem, ...], codes: dict[str, Callable], repeats: int) -> None:
    """Print one line per problem and the totals."""
    print(f"\n{title}\n{'':22s}" + "".join(f"{name:>32s}" for name in codes))
    table = {name: [] for name in codes}
    for entry in problems:
        line = f"{entry.name:22s}"
        for name, run in codes.items():
            found = measure(run, entry, repeats)
            table[name].append(found)
            mark = " " if entry.is_solved(found.score) else "!"
            line += f"{found.evaluations:8d}{mark} {found.score:12.6g} {1e3 * found.seconds:6.2f} ms"
        print(line)
    totals(table, problems)


def totals(table: dict[str, list[Measurement]], problems: tuple[TestProblem, ...]) -> None:
    """Print what the codes needed in all, and relative to the trust-region code of SciPy."""
    print(
        f"\n{'':16s}{'solved':>8s}{'total':>8s}{'median':>8s}{'total ms':>10s}{'median ms':>11s}{'median ratio':>14s}"
    )
    reference = np.array([entry.seconds for entry in table["scipy trf"]])
    for name, found in table.items():
        evaluations = np.array([entry.evaluations for entry in found])
        seconds = np.array([entry.seconds for entry in found])
        solved = sum(entry.is_solved(reached.score) for entry, reached in zip(problems, found, strict=True))
        print(
            f"{name:16s}{solved:5d}/{len(problems):2d}{evaluations.sum():8d}{np.median(evaluations):8.0f}"
            f"{1e3 * seconds.sum():10.1f}{1e3 * np.median(seconds):11.2f}{np.median(seconds / reference):14.2f}"
        )


def repeated(function: Callable, copies: int) -> Callable:
    """Return the function with its residuals repeated, the k-th copy k times as heavy."""
    weights = np.arange(1.0, copies + 1)

    def stacked(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        f, J = function(x)
        return np.kron(weights, f), np.kron(weights[:, None], J)

    return stacked


def large_problems(n: int) -> tuple[TestProblem, ...]:
    """Return problems of n variables with zero residuals."""
    grid = np.arange(1, n + 1) / (n + 1.0)
    return (
        problem(f"rosenbrock-{n}", repeated(mgh.rosenbrock, 2), np.tile([-1.2, 1.0], n // 2), 0.0),
        problem(f"broyden-tridiagonal-{n}", repeated(mgh.broyden_tridiagonal, 3), np.full(n, -1.0), 0.0),
        problem(f"broyden-banded-{n}", repeated(mgh.broyden_banded, 5), np.full(n, -1.0), 0.0),
        problem(f"integral-{n}", repeated(mgh.discrete_integral, 2), grid * (grid - 1.0), 0.0),
        problem(f"integral-{n}/b", repeated(mgh.discrete_integral, 5), grid * (grid - 1.0), 0.0, lower=-0.5, upper=0.5),
    )


def report_large(sizes: tuple[int, ...], repeats: int) -> None:
    """Print evaluations and times for many variables."""
    print(f"\n{'many variables':24s}{'residuals':>10s}{'fieldfit':>24s}{'scipy trf':>24s}{'ratio':>8s}")
    for entry in (entry for n in sizes for entry in large_problems(n)):
        found = [measure(run, entry, repeats) for run in (run_fieldfit, run_trf)]
        line = f"{entry.name:24s}{entry.function(entry.start)[0].size:10d}"
        for it in found:
            line += f"{it.evaluations:10d}{' ' if entry.is_solved(it.score) else '!'}{it.seconds:11.4f} s"
        print(f"{line}{found[0].seconds / found[1].seconds:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="timed runs per problem; the shortest counts")
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 300], help="of the problems with many variables")
    options = parser.parse_args()
    repeats = options.repeats
    warnings.simplefilter("ignore", RuntimeWarning)
    print(calibrate())
    codes = {"fieldfit": run_fieldfit, "scipy trf": run_trf, "scipy lm": run_lm}
    report("unbounded ('!': not solved)", UNBOUNDED, codes, repeats)
    del codes["scipy lm"]
    report("bounded", BOUNDED, codes, repeats)
    report_large(tuple(options.sizes), repeats)


if __name__ == "__main__":
    main()
