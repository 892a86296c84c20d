"""Equilibria of two tokamaks with a fixed boundary, beside figures of DESC.

    python benchmarks/equilibrium.py             each case in a fresh process, then again in the same one
    python benchmarks/equilibrium.py --study     what metric, corrections, first radius and factorization do to DSHAPE

The cases are those of DESC's example inputs SOLOVEV and DSHAPE (github.com/PlasmaControl/DESC, desc/examples): a
Solov'ev-like plasma and a D-shaped one with a beta of 3 %, here with L = M radial and poloidal modes. The figures of
DESC are those of desc-opt 0.17.3 with jax 0.9.2 on two cores: optimizer lsq-exact, tolerances 1e-8, from the same
start. Its costs are sums over its own nodes, which differ: on the Gauss-Legendre nodes of this library, the cost that
DSHAPE 12 converges to in the minimum that DESC ends in is 1.365e-9.

The poloidal angle is nearly free, so force balance at finite resolution has several minima, each with its own angle.
Next to the cost stands the magnetic axis, which is what a user wants and does not depend on the angle.

Cold is the time from the start of the process to the solution, compiling included; processor is the processor time
of the same, which a busy machine changes less; memory is the largest resident size. `within 1 %` counts the
iterations until the cost is within one percent of the final one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fieldfit import LeastSquaresOptimizer, Parameters, Problem
from fieldfit.equilibrium import Equilibrium, Plasma, PowerSeries, fixed_boundary_problem, solve
from fieldfit.optimizers.scalar_trust_region import TrustRegionOptimizer
from fieldfit.problem import AbstractOptimizer, OptimizationResult, Step
from fieldfit.problem.optimizer import versions
from fieldfit.reporting.calibration import calibrate

SOLOVEV = {
    "Rb": {0: 3.999, 1: 1.026, 2: -0.068},
    "Zb": {-1: -1.58, -2: -0.01},
    "Psi": 1.0,
    "pressure": PowerSeries([0.125, -0.125], powers=[0, 2]),
    "iota": PowerSeries([1.0]),
}
DSHAPE = {
    "Rb": {0: 3.51, 1: 1.0, 2: 0.106},
    "Zb": {-1: -1.47, -2: 0.16},
    "Psi": 1.0,
    "pressure": PowerSeries([1600.0, -3200.0, 1600.0], powers=[0, 2, 4]),
    "iota": PowerSeries([1.0, -0.67], powers=[0, 2]),
}


@dataclass(frozen=True)
class Case:
    """An equilibrium, and what DESC needs for it.

    Args:
        given: Boundary, flux and profiles.
        resolution: L = M.
        desc: Iterations, evaluations, final cost on its own nodes, cold and warm time [s], as published text.
    """

    given: dict
    resolution: int
    desc: tuple[str, str, str, str, str]

    def start(self) -> Equilibrium:
        return Equilibrium.from_boundary(self.resolution, **self.given)


CASES = {
    "SOLOVEV 6": Case(SOLOVEV, 6, ("6", "7", "5.903e-10", "24-28", "0.23-0.35")),
    "SOLOVEV 8": Case(SOLOVEV, 8, ("13", "18", "8.556e-13", "29", "0.4")),
    "DSHAPE 8": Case(DSHAPE, 8, ("49", "63", "2.008e-07", "22-25", "0.5-0.6")),
    "DSHAPE 12": Case(DSHAPE, 12, ("280", "287", "1.009e-09", "28", "5.2")),
}
WARM_RUNS = 5


@dataclass(frozen=True)
class Figures:
    """What one process found: of the first run, and the shortest of several later ones."""

    cost: float
    iterations: int
    evaluations: int
    within_a_percent: int
    axis: float
    cold: float
    processor: float
    warm: float
    memory: float
    verdict: str


def traced_costs(problem: Problem, optimizer: AbstractOptimizer) -> tuple[OptimizationResult, np.ndarray]:
    """Return the result of a run and the cost after each of its iterations."""
    costs = []

    def remember(step: Step) -> None:
        costs.append(step.cost)

    result = optimizer.optimize(problem, observers=[remember])
    return result, np.array(costs)


def iterations_to(costs: np.ndarray, final: float, *, fraction: float = 0.01) -> int:
    return int(np.argmax(costs <= (1.0 + fraction) * final))


def measure(name: str) -> Figures:
    """Solve a case in this process; `cold` is left to whoever started it."""
    start = CASES[name].start()
    solved, result = solve(start)
    solved_at, used = time.time(), resource.getrusage(resource.RUSAGE_SELF)
    times = []
    for _ in range(WARM_RUNS):
        begin = time.perf_counter()
        solve(start)
        times.append(time.perf_counter() - begin)
    _, costs = traced_costs(fixed_boundary_problem(start), LeastSquaresOptimizer())
    return Figures(
        cost=result.cost,
        iterations=result.n_iterations,
        evaluations=result.n_evaluations,
        within_a_percent=iterations_to(costs, result.cost),
        axis=float(Plasma.of(solved).axis_radius),
        cold=solved_at,
        processor=used.ru_utime + used.ru_stime,
        warm=min(times),
        memory=largest_memory(),
        verdict=result.verdict.word,
    )


def largest_memory() -> float:
    """Return the largest resident size of this process so far [MB]."""
    status = Path("/proc/self/status")
    if status.exists():
        # Of this program alone: the size that `resource` tells begins with that of the process it was started from.
        (entry,) = (text for text in status.read_text().splitlines() if text.startswith("VmHWM"))
        return float(entry.split()[1]) / 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def in_fresh_process(name: str) -> Figures:
    begin = time.time()
    text = subprocess.run([sys.executable, __file__, "--one", name], check=True, capture_output=True, text=True).stdout
    found = Figures(**json.loads(text))
    return replace(found, cold=found.cold - begin)


def compare() -> None:
    """Print every case beside DESC."""
    print(calibrate())
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(
        "case | iterations | evaluations | within 1 % | cost | axis [m] | cold [s] | processor [s] | warm [s] | "
        "memory [MB] | verdict"
    )
    for name, case in CASES.items():
        found = in_fresh_process(name)
        print(
            f"{name} | {found.iterations} | {found.evaluations} | {found.within_a_percent} | {found.cost:.4e} | "
            f"{found.axis:.6f} | {found.cold:.2f} | {found.processor:.2f} | {found.warm:.3f} | {found.memory:.0f} | "
            f"{found.verdict}"
        )
        iterations, evaluations, cost, cold, warm = case.desc
        print(f"   DESC | {iterations} | {evaluations} | - | {cost} | - | {cold} | - | {warm} | - | -")


def spectral(start: Equilibrium) -> Problem:
    """Return the problem with scales that fall exponentially with the mode numbers."""
    problem, scales = fixed_boundary_problem(start), start.spectral_scales()
    entries = [entry.replace(scale=scales.get(entry.name, entry.scale)) for entry in problem.parameters]
    return Problem(problem.objective, Parameters(entries), constraints=problem.constraints)


def single(start: Equilibrium) -> Problem:
    """Return the problem with the size of each coefficient at the start for its scale."""
    problem = fixed_boundary_problem(start)
    entries = [entry.replace(scale=None) for entry in problem.parameters]
    return Problem(problem.objective, Parameters(entries), constraints=problem.constraints)


def lsq(**options: object) -> LeastSquaresOptimizer:
    return LeastSquaresOptimizer(maxiter=1000, **options)


STUDY = {
    "default": (fixed_boundary_problem, lsq()),
    "curvature from the last trial": (fixed_boundary_problem, lsq(acceleration="last")),
    "no corrections of second order": (fixed_boundary_problem, lsq(acceleration="none")),
    "metric: largest column lengths": (fixed_boundary_problem, lsq(metric="largest")),
    "metric: current column lengths": (fixed_boundary_problem, lsq(metric="current")),
    "metric: one length for all": (fixed_boundary_problem, lsq(metric="fixed")),
    "metric: exponential spectral scaling": (spectral, lsq(metric="fixed")),
    "metric: size of each coefficient": (single, lsq(metric="fixed")),
    "first radius 0.01": (fixed_boundary_problem, lsq(initial_radius=0.01)),
    "first radius 0.1": (fixed_boundary_problem, lsq(initial_radius=0.1)),
    "first radius 10": (fixed_boundary_problem, lsq(initial_radius=10.0)),
    "factorization svd": (fixed_boundary_problem, lsq(factorization="svd")),
    "second derivatives": (fixed_boundary_problem, TrustRegionOptimizer(maxiter=1000)),
}
"""Choice to the problem that it makes, and the optimizer."""


def study() -> None:
    """Print what each choice does to DSHAPE at several resolutions."""
    print("iterations, of these until the cost was within 1 % of its end, cost, axis [m]")
    for resolution in (8, 10, 12):
        start = replace(CASES["DSHAPE 12"], resolution=resolution).start()
        for name, (problem, optimizer) in STUDY.items():
            result, costs = traced_costs(problem(start), optimizer)
            axis = float(Plasma.of(start.with_params(result.x)).axis_radius)
            within = iterations_to(costs, result.cost)
            print(f"DSHAPE {resolution} | {name} | {result.n_iterations}, {within}, {result.cost:.3e} | {axis:.6f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", action="store_true", help="what choices do to DSHAPE")
    parser.add_argument("--one", choices=list(CASES), help="one case, as JSON")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one).__dict__))
    elif chosen.study:
        study()
    else:
        compare()


if __name__ == "__main__":
    main()
