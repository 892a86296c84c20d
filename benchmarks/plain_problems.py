"""The time that plain least-squares problems take, beside SciPy's `least_squares(method="trf", x_scale="jac")`.

    python benchmarks/plain_problems.py [--repeats 9]

The first 26 functions of More, Garbow and Hillstrom and two fits of 100 variables. Both programs get the same two
functions in plain NumPy, one for residuals and one for the exact Jacobian, and tolerances of 1e-8. All is warm: the
first run is not counted, and the shortest of the others is. For fieldfit there are two times:

    loop    the optimizer from its first evaluation to its last, as `least_squares` does it
    whole   from the functions to a result: parameters, problem, loop, the verdict on the point found, and the record

A problem is solved when the sum of squares is the lowest of the published minima, or another one of them.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from least_squares import TOLERANCE, large_problems
from problems import UNBOUNDED, TestProblem
from scipy.optimize import least_squares

import fieldfit
from fieldfit.problem import Recorder
from fieldfit.reporting.calibration import calibrate

LATER_SIZES = ("watson-9", "watson-12")
"""Of a function that comes first with fewer variables."""

N_FUNCTIONS = 26
FITS = ("broyden-banded-100", "integral-100")
PLAIN = (
    *[entry for entry in UNBOUNDED if entry.name not in LATER_SIZES][:N_FUNCTIONS],
    *[entry for entry in large_problems(100) if entry.name in FITS],
)
OPTIMIZER = fieldfit.LeastSquaresOptimizer(ftol=TOLERANCE, xtol=TOLERANCE, gtol=TOLERANCE)


@dataclass(frozen=True)
class Timed:
    """What a program reached, and the shortest time of several runs [ms]."""

    score: float
    milliseconds: float


def objective_of(problem: TestProblem) -> fieldfit.FunctionObjective:
    return fieldfit.FunctionObjective(
        lambda p: problem.function(p["x"])[0],
        {"x": problem.start},
        derivatives=lambda p: problem.function(p["x"])[1],
    )


def whole(problem: TestProblem) -> Callable[[], float]:
    return lambda: OPTIMIZER.optimize(objective_of(problem)).final_score


def loop(problem: TestProblem) -> Callable[[], float]:
    vector = fieldfit.Problem(objective_of(problem)).vector()

    def run() -> float:
        recorder = Recorder(vector)
        OPTIMIZER.run(recorder, recorder.begin(derivatives=True))
        return recorder.best.score

    return run


def trf(problem: TestProblem) -> Callable[[], float]:
    tolerances = {"ftol": TOLERANCE, "xtol": TOLERANCE, "gtol": TOLERANCE}
    functions = (lambda x: problem.function(x)[0], lambda x: problem.function(x)[1])

    def run() -> float:
        return 2.0 * float(
            least_squares(functions[0], problem.start, functions[1], method="trf", x_scale="jac", **tolerances).cost
        )

    return run


PROGRAMS = {"loop": loop, "whole": whole, "trf": trf}


def shortest(runs: dict[str, Callable[[], float]], repeats: int) -> dict[str, Timed]:
    """Time programs in turns, so that a busy machine slows them alike; processor time of this thread."""
    scores = {name: run() for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.thread_time()
            run()
            times[name].append(1e3 * (time.thread_time() - begin))
    return {name: Timed(scores[name], min(times[name])) for name in runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="timed runs per problem; the shortest counts")
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore", RuntimeWarning)
    print(calibrate())
    print(f"{'problem':24s}" + "".join(f"{name + ' [ms]':>14s}" for name in PROGRAMS) + "   loop / trf  whole / trf")
    found = []
    for problem in PLAIN:
        reached = shortest({name: make(problem) for name, make in PROGRAMS.items()}, repeats)
        found.append(reached)
        line = f"{problem.name:24s}"
        for entry in reached.values():
            line += f"{entry.milliseconds:13.2f}{' ' if problem.is_solved(entry.score) else '!'}"
        base = reached["trf"].milliseconds
        print(f"{line}{reached['loop'].milliseconds / base:13.2f}{reached['whole'].milliseconds / base:13.2f}")
    summarize(found)


def summarize(found: list[dict[str, Timed]]) -> None:
    """Print how many were solved, and times in all, of the median problem, and relative to SciPy's."""
    base = np.array([entry["trf"].milliseconds for entry in found])
    for name in PROGRAMS:
        times = np.array([entry[name].milliseconds for entry in found])
        solved = sum(problem.is_solved(entry[name].score) for problem, entry in zip(PLAIN, found, strict=True))
        print(
            f"{name:8s} solved {solved}/{len(PLAIN)}, {times.sum():.1f} ms in all ({times.sum() / base.sum():.2f} of "
            f"trf), median {np.median(times):.2f} ms, median ratio {np.median(times / base):.2f}"
        )


if __name__ == "__main__":
    main()
