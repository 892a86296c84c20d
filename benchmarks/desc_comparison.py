"""Equilibria by DESC, by this library on DESC's objects, and by this library alone, side by side in one run.

    python benchmarks/desc_comparison.py                          all cases; needs DESC, the extra `desc`
    python benchmarks/desc_comparison.py --cases "SOLOVEV 6"      some of them
    python benchmarks/desc_comparison.py --columns native         some of the columns; native needs no DESC

Force balance: the cases SOLOVEV and DSHAPE of `benchmarks/equilibrium.py`, from the same start, to tolerances of 1e-8.
Shape: SOLOVEV 6 in force balance, then an aspect ratio of 3.4 and an elongation of 1.4 by the first modes of its
boundary, force balance solved for anew at every point (proximal-lsq-exact), the first solve included.

Each column of each case has a process of its own. Cold is the time from its start to the solution, imports and
compiling included; processor is the processor time of the same, which a busy machine changes less; memory the
largest resident size until then. Warm is the second solve in that process, on fresh objects. BLAS libraries have
one thread in all columns if OPENBLAS_NUM_THREADS=1 is set; otherwise each column is as its library leaves it.

Costs of all columns are evaluated by one residual on two grids: DESC's own nodes, and the Gauss-Legendre nodes of this
library (the residuals of both programs agree to rounding, `tests/desc_objects/test_oracle.py`). Each column minimises
the sum over its own nodes, the adapter over DESC's. Surfaces is the largest distance of points of the surfaces rho =
0.25, 0.5 and 0.75 from those of DESC's column, axis that of the magnetic axis. The poloidal angle is nearly free, so
coefficients are not compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from equilibrium import CASES, largest_memory

SHAPE = "shape"
NAMES = (*CASES, SHAPE)
COLUMNS = ("DESC", "adapter", "native")
ASPECT_RATIO, ELONGATION = 3.4, 1.4
TOLERANCES = {"ftol": 1e-8, "xtol": 1e-8, "gtol": 1e-8, "maxiter": 1000}
FAILED = {"failure": "not measured"}
SURFACES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Solved:
    """An end: iterations, evaluations, what was minimised there, and the equilibrium, native or of DESC."""

    iterations: int
    evaluations: int
    cost: float
    equilibrium: Any


def start_of(name: str) -> Any:
    return CASES["SOLOVEV 6" if name == SHAPE else name].start()


def solve_native(name: str) -> Solved:
    """Solve a case by this library alone."""
    from fieldfit.equilibrium import solve

    solved, result = solve(start_of(name))
    if name == SHAPE:
        return shape_native(solved)
    return Solved(result.n_iterations, result.n_evaluations, result.cost, solved)


def shape_native(plasma: Any) -> Solved:
    from fieldfit import Fixed
    from fieldfit.equilibrium import ForceBalance, QuantityObjective, boundary_constraints
    from fieldfit.equilibrium.equilibrium import UNKNOWNS
    from fieldfit.optimize import Optimizer
    from fieldfit.things import Term

    prefix = f"{plasma.name}."
    held = [Fixed(f"{prefix}{name}") for name in ("Psi", "p_l", "i_l")]
    for key, free in (("Rb_lmn", 1), ("Zb_lmn", 0)):
        held += [Fixed(f"{prefix}{key}[{place}]") for place in range(plasma.dimensions[key]) if place != free]
    terms = {
        "aspect ratio": Term(QuantityObjective(plasma, aspect_ratio), target=ASPECT_RATIO),
        "elongation": Term(QuantityObjective(plasma, elongation), target=ELONGATION),
    }
    balance = Term(ForceBalance(plasma), name="force balance", solves_for=UNKNOWNS)
    (found,), result = Optimizer("proximal-lsq-exact").optimize(
        plasma, terms, [balance, *boundary_constraints(plasma, prefix=prefix), *held], verbose=0, **TOLERANCES
    )
    return Solved(result.nit, result.nfev, result.cost, found)


def aspect_ratio(plasma: Any) -> Any:
    return plasma.aspect_ratio


def elongation(plasma: Any) -> Any:
    return plasma.elongation


def solve_desc(name: str) -> Solved:
    """Solve a case by DESC."""
    from desc.optimize import Optimizer

    return solve_by(Optimizer, name)


def solve_adapted(name: str) -> Solved:
    """Solve a case by this library on DESC's objects."""
    from fieldfit.equilibrium.desc import DescOptimizer

    return solve_by(DescOptimizer, name)


def solve_by(optimizer: Callable[[str], Any], name: str) -> Solved:
    from desc.objectives import ForceBalance, ObjectiveFunction, get_fixed_boundary_constraints

    from fieldfit.equilibrium.desc.convert import to_desc

    eq = to_desc(start_of(name))
    objective, constraints = ObjectiveFunction(ForceBalance(eq)), get_fixed_boundary_constraints(eq=eq)
    (eq,), result = optimizer("lsq-exact").optimize(eq, objective, constraints, verbose=0, **TOLERANCES)
    if name == SHAPE:
        objective, constraints = shape_of_desc(eq)
        (eq,), result = optimizer("proximal-lsq-exact").optimize(eq, objective, constraints, verbose=0, **TOLERANCES)
    return Solved(int(result["nit"]), int(result["nfev"]), 0.5 * float(np.sum(np.square(result["fun"]))), eq)


def shape_of_desc(eq: Any) -> tuple[Any, Any]:
    from desc import objectives as of
    from desc.grid import LinearGrid

    others_R = eq.surface.R_basis.modes[~np.all(eq.surface.R_basis.modes == [0, 1, 0], axis=1)]
    others_Z = eq.surface.Z_basis.modes[~np.all(eq.surface.Z_basis.modes == [0, -1, 0], axis=1)]
    # By default DESC takes the perimeter of the outermost surface of a grid that ends inside the plasma.
    boundary = LinearGrid(rho=1.0, theta=8 * eq.M + 8, zeta=1)
    terms = (of.AspectRatio(eq, target=ASPECT_RATIO), of.Elongation(eq, target=ELONGATION, grid=boundary))
    held = (
        of.ForceBalance(eq),
        of.FixBoundaryR(eq, modes=others_R),
        of.FixBoundaryZ(eq, modes=others_Z),
        of.FixPressure(eq),
        of.FixIota(eq),
        of.FixPsi(eq),
    )
    return of.ObjectiveFunction(terms), held


SOLVERS = {"DESC": solve_desc, "adapter": solve_adapted, "native": solve_native}


def measure(column: str, name: str) -> dict[str, Any]:
    """Solve a case twice in this process; cold is left to whoever started it."""
    solve = SOLVERS[column]
    solved = solve(name)
    solved_at, used, memory = time.time(), resource.getrusage(resource.RUSAGE_SELF), largest_memory()
    begin = time.perf_counter()
    solve(name)
    warm = time.perf_counter() - begin
    return {
        "iterations": solved.iterations,
        "evaluations": solved.evaluations,
        "cost": solved.cost,
        "solved at": solved_at,
        "processor": used.ru_utime + used.ru_stime,
        "warm": warm,
        "memory": memory,
        "parameters": parameters_of(solved.equilibrium),
        "nodes": nodes_of(column, name),
    }


def parameters_of(equilibrium: Any) -> dict[str, Any]:
    from fieldfit.equilibrium import Equilibrium

    if not isinstance(equilibrium, Equilibrium):
        from fieldfit.equilibrium.desc.convert import from_desc

        equilibrium = from_desc(equilibrium)
    names = ("R_lmn", "Z_lmn", "L_lmn", "Rb_lmn", "Zb_lmn")
    return {name: equilibrium.params_dict[name].tolist() for name in names}


def nodes_of(column: str, name: str) -> list[list[float]]:
    """Return radii, angles and weights of DESC's own nodes; none without DESC."""
    if column == "native":
        return []
    from desc.grid import ConcentricGrid

    from fieldfit.equilibrium.desc.convert import to_desc

    eq = to_desc(start_of(name))
    grid = ConcentricGrid(L=eq.L_grid, M=eq.M_grid, N=eq.N_grid, NFP=eq.NFP, sym=eq.sym, axis=False)
    return [np.asarray(part).tolist() for part in (grid.nodes[:, 0], grid.nodes[:, 1], grid.weights)]


def in_fresh_process(column: str, name: str) -> dict[str, Any]:
    begin = time.time()
    command = [sys.executable, __file__, "--one", column, "--cases", name]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        return {"failure": (done.stderr.strip().splitlines() or ["without a word"])[-1]}
    found = json.loads(done.stdout.splitlines()[-1])
    return found | {"cold": found["solved at"] - begin}


def force_cost(name: str, parameters: dict[str, Any], nodes: list[list[float]]) -> float:
    """Return half the sum of squared forces on given nodes, or on those of this library, in units of the start."""
    from fieldfit.equilibrium import ForceBalance, Grid, typical_force

    start = start_of(name)
    plasma = start.with_params({key: np.array(values) for key, values in parameters.items()})
    grid = Grid(*(np.array(part) for part in nodes)) if nodes else None
    balance = ForceBalance(plasma, grid=grid, normalization=typical_force(start))
    return balance.evaluate(balance.parameters.flat, None, derivatives=False).cost


def distances(name: str, one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    """Return how far surfaces and axes of two solutions are apart [m]."""
    from fieldfit.equilibrium import flux_surfaces

    start = start_of(name)
    plasmas = [start.with_params({key: np.array(values) for key, values in given.items()}) for given in (one, other)]
    worst = 0.0
    for rho in SURFACES:
        few, many = np.linspace(0.0, np.pi, 40), np.linspace(-0.2, np.pi + 0.2, 4000)
        points = np.stack(flux_surfaces(plasmas[0], rho, few), axis=1)
        curve = np.stack(flux_surfaces(plasmas[1], rho, many), axis=1)
        worst = max(worst, max(from_curve(point, curve) for point in points))
    axes = [float(flux_surfaces(plasma, 0.0, 0.0)[0]) for plasma in plasmas]
    return worst, abs(axes[0] - axes[1])


def from_curve(point: np.ndarray, curve: np.ndarray) -> float:
    """Return the distance of a point from the line through the nearest point of a curve and the one after it."""
    place = min(int(np.argmin(np.linalg.norm(curve - point, axis=1))), curve.shape[0] - 2)
    along = curve[place + 1] - curve[place]
    gap = point - curve[place]
    return float(abs(gap[0] * along[1] - gap[1] * along[0]) / np.linalg.norm(along))


def missing(column: str) -> str:
    """Return why a column cannot be measured here, or nothing."""
    if column != "native" and importlib.util.find_spec("desc") is None:
        return 'needs DESC: pip install "fieldfit[desc]", in an environment of its own'
    return ""


def compare(names: list[str], columns: list[str]) -> None:
    """Print every case, a line per column, and ratios to DESC's."""
    from fieldfit.problem.optimizer import versions
    from fieldfit.reporting.calibration import calibrate

    print(calibrate())
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(
        "case | column | iterations | evaluations | own cost | force on DESC's nodes | force on Gauss-Legendre nodes | "
        "cold [s] | processor [s] | warm [s] | memory [MB] | surfaces [m] | axis [m] | cold ratio | warm ratio"
    )
    for column in columns:
        if missing(column):
            print(f"all | {column} | {missing(column)}")
    for name in names:
        found: dict[str, dict[str, Any]] = {}
        for column in columns:
            if not missing(column):
                found[column] = in_fresh_process(column, name)
                print(f"{name} | {column} | {line(name, column, found)}", flush=True)


def line(name: str, column: str, found: dict[str, dict[str, Any]]) -> str:
    own, theirs = found[column], found.get("DESC", FAILED)
    if "failure" in own:
        return f"failed: {own['failure']}"
    nodes = next((entry["nodes"] for entry in found.values() if entry.get("nodes")), [])
    there = f"{force_cost(name, own['parameters'], nodes):.4e}" if nodes else "-"
    words = [str(own["iterations"]), str(own["evaluations"]), f"{own['cost']:.4e}", there]
    words += [f"{force_cost(name, own['parameters'], []):.4e}", f"{own['cold']:.2f}", f"{own['processor']:.2f}"]
    words += [f"{own['warm']:.3f}", f"{own['memory']:.0f}"]
    if "failure" in theirs:
        return " | ".join([*words, "-", "-", "-", "-"])
    surfaces, axis = distances(name, own["parameters"], theirs["parameters"])
    words += [f"{surfaces:.1e}", f"{axis:.1e}", f"{theirs['cold'] / own['cold']:.1f}"]
    return " | ".join([*words, f"{theirs['warm'] / own['warm']:.1f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=NAMES, default=list(NAMES), metavar="CASE")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS), metavar="COLUMN")
    parser.add_argument("--one", choices=COLUMNS, help="one column of one case, as JSON")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one, chosen.cases[0])))
    else:
        compare(chosen.cases, chosen.columns)


if __name__ == "__main__":
    main()
