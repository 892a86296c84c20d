"""Eleven sums of squares under constraints from the Hock-Schittkowski collection: `lsq-auglag` beside SciPy's SLSQP.

    python benchmarks/constrained_least_squares.py [--repeats 20]

Both codes get the same functions: residuals and constraints written in JAX and compiled once, with exact Jacobians.
SLSQP is called directly, with half the sum of squares and its gradient J^T f; ours once as a user calls it, things in
and things out, once on a problem that is posed already, which is what remains when a fit is repeated, and once its loop
alone, without the independent verdict and the result that SciPy's codes do not make either. Times are
the shortest of several runs after one that compiles, wall and processor time: on a busy machine a short run fits
between those of others and a long one does not, so that wall times favour the faster code. A problem is solved if the
sum of squares is within 1e-6 of the minimum (relative to the larger of 1 and that), the constraints hold to 1e-6, and
the code says that it succeeded.

References:
    Hock, Schittkowski (1981), Test Examples for Nonlinear Programming Codes, Springer,
        doi:10.1007/978-3-642-48320-2.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from fieldfit.blas import one_blas_thread
from fieldfit.optimize import Optimizer
from fieldfit.optimize.names import find_method
from fieldfit.optimize.options import read_options
from fieldfit.optimize.posing import Task
from fieldfit.optimizers.augmented_lagrangian import AugmentedLagrangianOptimizer
from fieldfit.precision import in_double_precision
from fieldfit.problem import Problem
from fieldfit.problem.optimizer import versions
from fieldfit.problem.recorder import Recorder
from fieldfit.reporting.calibration import calibrate
from fieldfit.things import Term, Things

ROOT2 = float(np.sqrt(2.0))
TIGHT = {"ftol": 1e-10, "xtol": 1e-10, "gtol": 1e-8, "ctol": 1e-8}


@dataclass(frozen=True, eq=False)
class SquaresProblem:
    """Minimise |residuals(x)|^2 under equal(x) = 0, positive(x) >= 0 and bounds.

    Args:
        residuals: Their sum of squares is the collection's objective.
        start: Inside the bounds, shape (n,).
        minimum: Of the sum of squares.
        equal: Equalities; None for none.
        positive: Inequalities; None for none.
        is_linear: Whether the equalities are linear.
        bounds: Lower and upper, a number or one per variable.
    """

    residuals: Callable[[Any], list[Any]]
    start: tuple[float, ...]
    minimum: float
    equal: Callable[[Any], list[Any]] | None = None
    positive: Callable[[Any], list[Any]] | None = None
    is_linear: bool = False
    bounds: tuple[Any, Any] = (-np.inf, np.inf)


PROBLEMS = {
    "HS6": SquaresProblem(lambda x: [1.0 - x[0]], (-1.2, 1.0), 0.0, equal=lambda x: [10.0 * (x[1] - x[0] ** 2)]),
    "HS14": SquaresProblem(
        lambda x: [x[0] - 2.0, x[1] - 1.0],
        (2.0, 2.0),
        9.0 - 2.875 * 7.0**0.5,
        equal=lambda x: [x[0] - 2.0 * x[1] + 1.0],
        positive=lambda x: [1.0 - 0.25 * x[0] ** 2 - x[1] ** 2],
        is_linear=True,
    ),
    "HS18": SquaresProblem(
        lambda x: [0.1 * x[0], x[1]],
        (2.0, 2.0),
        5.0,
        positive=lambda x: [x[0] * x[1] - 25.0, x[0] ** 2 + x[1] ** 2 - 25.0],
        bounds=([2.0, 0.0], 50.0),
    ),
    "HS27": SquaresProblem(
        lambda x: [0.1 * (x[0] - 1.0), x[1] - x[0] ** 2],
        (2.0, 2.0, 2.0),
        0.04,
        equal=lambda x: [x[0] + x[2] ** 2 + 1.0],
    ),
    "HS28": SquaresProblem(
        lambda x: [x[0] + x[1], x[1] + x[2]],
        (-4.0, 1.0, 1.0),
        0.0,
        equal=lambda x: [x[0] + 2.0 * x[1] + 3.0 * x[2] - 1.0],
        is_linear=True,
    ),
    "HS42": SquaresProblem(
        lambda x: [x[0] - 1.0, x[1] - 2.0, x[2] - 3.0, x[3] - 4.0],
        (1.0, 1.0, 1.0, 1.0),
        28.0 - 10.0 * ROOT2,
        equal=lambda x: [x[0] - 2.0, x[2] ** 2 + x[3] ** 2 - 2.0],
    ),
    "HS48": SquaresProblem(
        lambda x: [x[0] - 1.0, x[1] - x[2], x[3] - x[4]],
        (3.0, 5.0, -3.0, 2.0, -2.0),
        0.0,
        equal=lambda x: [x[0] + x[1] + x[2] + x[3] + x[4] - 5.0, x[2] - 2.0 * (x[3] + x[4]) + 3.0],
        is_linear=True,
    ),
    "HS53": SquaresProblem(
        lambda x: [x[0] - x[1], x[1] + x[2] - 2.0, x[3] - 1.0, x[4] - 1.0],
        (2.0, 2.0, 2.0, 2.0, 2.0),
        176.0 / 43.0,
        equal=lambda x: [x[0] + 3.0 * x[1], x[2] + x[3] - 2.0 * x[4], x[1] - x[4]],
        is_linear=True,
        bounds=(-10.0, 10.0),
    ),
    "HS65": SquaresProblem(
        lambda x: [x[0] - x[1], (x[0] + x[1] - 10.0) / 3.0, x[2] - 5.0],
        (-4.5, 4.5, 0.0),
        0.9535288567,
        positive=lambda x: [48.0 - x[0] ** 2 - x[1] ** 2 - x[2] ** 2],
        bounds=([-4.5, -4.5, -5.0], [4.5, 4.5, 5.0]),
    ),
    "HS77": SquaresProblem(
        lambda x: [x[0] - 1.0, x[0] - x[1], x[2] - 1.0, (x[3] - 1.0) ** 2, (x[4] - 1.0) ** 3],
        (2.0, 2.0, 2.0, 2.0, 2.0),
        0.24150512879,
        equal=lambda x: [
            x[0] ** 2 * x[3] + jnp.sin(x[3] - x[4]) - 2.0 * ROOT2,
            x[1] + x[2] ** 4 * x[3] ** 2 - 8.0 - ROOT2,
        ],
    ),
    "HS79": SquaresProblem(
        lambda x: [x[0] - 1.0, x[0] - x[1], x[1] - x[2], (x[2] - x[3]) ** 2, (x[3] - x[4]) ** 2],
        (2.0, 2.0, 2.0, 2.0, 2.0),
        0.0787768208552,
        equal=lambda x: [
            x[0] + x[1] ** 2 + x[2] ** 3 - 2.0 - 3.0 * ROOT2,
            x[1] - x[2] ** 2 + x[3] + 2.0 - 2.0 * ROOT2,
            x[0] * x[4] - 2.0,
        ],
    ),
}


@dataclass(frozen=True)
class Run:
    """How a code ended: sum of squares, largest violation, its own word, iterations and evaluations."""

    score: float
    violation: float
    success: bool
    iterations: int
    evaluations: int

    def solves(self, problem: SquaresProblem) -> bool:
        """Tell whether the minimum was reached and said to be."""
        near = abs(self.score - problem.minimum) <= 1e-6 * max(1.0, abs(problem.minimum))
        return near and self.violation <= 1e-6 and self.success


class Compiled:
    """The functions of a problem, compiled once for every code."""

    def __init__(self, problem: SquaresProblem) -> None:
        self.problem = problem
        self.start = np.array(problem.start)
        self.lower, self.upper = (np.broadcast_to(np.asarray(end, float), self.start.shape) for end in problem.bounds)
        self.squares = _with_jacobian(problem.residuals)
        self.equal = None if problem.equal is None else _with_jacobian(problem.equal)
        self.positive = None if problem.positive is None else _with_jacobian(problem.positive)

    def score(self, x: np.ndarray) -> float:
        """Return the sum of squares."""
        return float(np.sum(self.squares(x)[0] ** 2))

    def violation(self, x: np.ndarray) -> float:
        """Return the largest violation of a constraint or bound."""
        parts = [self.lower - x, x - self.upper]
        parts += [] if self.equal is None else [np.abs(self.equal(x)[0])]
        parts += [] if self.positive is None else [-self.positive(x)[0]]
        return float(max(0.0, np.max(np.concatenate(parts))))


def _with_jacobian(function: Callable[[Any], list[Any]]) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    def stacked(x: Any) -> Any:
        return jnp.stack(function(x))

    return in_double_precision(jax.jit(lambda x: (stacked(x), jax.jacfwd(stacked)(x))))


def solver_slsqp(compiled: Compiled) -> Callable[[], Run]:
    """Return SciPy's SLSQP on a problem, called directly."""
    constraints = [
        {"type": kind, "fun": lambda x, part=part: part(x)[0], "jac": lambda x, part=part: part(x)[1]}
        for kind, part in (("eq", _last(compiled.equal)), ("ineq", _last(compiled.positive)))
        if part is not None
    ]
    squares = _last(compiled.squares)

    def cost(x: np.ndarray) -> tuple[float, np.ndarray]:
        residuals, jacobian = squares(x)
        return 0.5 * float(residuals @ residuals), jacobian.T @ residuals

    bounds = scipy.optimize.Bounds(compiled.lower, compiled.upper) if _is_bounded(compiled) else None
    options = {"ftol": 1e-12, "maxiter": 500}

    def solve() -> Run:
        found = scipy.optimize.minimize(
            cost, compiled.start, jac=True, method="SLSQP", bounds=bounds, constraints=constraints, options=options
        )
        score, violation = compiled.score(found.x), compiled.violation(found.x)
        return Run(score, violation, bool(found.success), found.nit, found.nfev)

    return solve


def _last(function: Callable[[np.ndarray], Any] | None) -> Callable[[np.ndarray], Any] | None:
    """Return a function that remembers its last point: SciPy asks for values and Jacobians in separate calls."""
    if function is None:
        return None
    known: dict[bytes, Any] = {}

    def remembering(x: np.ndarray) -> Any:
        key = x.tobytes()
        if key not in known:
            known.clear()
            known[key] = function(x)
        return known[key]

    return remembering


def _is_bounded(compiled: Compiled) -> bool:
    return bool(np.any(np.isfinite(compiled.lower) | np.isfinite(compiled.upper)))


def point(x: np.ndarray, bounds: dict[str, Any]) -> SimpleNamespace:
    """Return a thing of one array."""
    return SimpleNamespace(params_dict={"x": x}, bounds=bounds, with_params=lambda values: point(values["x"], bounds))


def posed(compiled: Compiled) -> tuple[Any, Term, list[Term]]:
    """Return a problem as a user writes it: a thing, an objective and constraints."""
    problem = compiled.problem
    objective = Term(_of_point(problem.residuals), name="residuals")
    constraints = []
    if problem.equal is not None:
        constraints.append(Term(_of_point(problem.equal), name="equal", is_linear=problem.is_linear))
    if problem.positive is not None:
        constraints.append(Term(_of_point(problem.positive), name="positive", bounds=(0.0, None)))
    bounds = {"x": (compiled.lower, compiled.upper)} if _is_bounded(compiled) else {}
    return point(compiled.start, bounds), objective, constraints


def solver_of_things(compiled: Compiled) -> Callable[[], Run]:
    """Return `lsq-auglag` from things to things."""
    given = posed(compiled)

    def solve() -> Run:
        (found,), result = Optimizer("lsq-auglag").optimize(*given, verbose=0, copy=True, **TIGHT)
        x = found.params_dict["x"]
        return Run(compiled.score(x), compiled.violation(x), result.success, result.nit, result.nfev)

    return solve


def problem_and_optimizer(compiled: Compiled) -> tuple[Problem, AugmentedLagrangianOptimizer]:
    """Return what things, terms and the name "lsq-auglag" become."""
    thing, objective, constraints = posed(compiled)
    method = find_method("lsq-auglag")
    told = read_options(method, None, TIGHT)
    things = Things.of(thing)
    task = Task.of(things, things.parameters, (objective, constraints), told)
    optimizer = method.build(told.tolerances, told.method)
    if not isinstance(optimizer, AugmentedLagrangianOptimizer):
        raise TypeError(f"lsq-auglag made {optimizer.name}")
    return task.posed(is_automatic=False).problem, optimizer


def solver_of_problem(compiled: Compiled) -> Callable[[], Run]:
    """Return `lsq-auglag` on a problem that is posed already."""
    problem, optimizer = problem_and_optimizer(compiled)

    def solve() -> Run:
        result = optimizer.optimize(problem)
        x = result.final_params
        return Run(compiled.score(x), compiled.violation(x), result.success, result.nit, result.nfev)

    return solve


def solver_loop(compiled: Compiled) -> Callable[[], Run]:
    """Return the loop of the same, which succeeds if it ends before `maxiter`."""
    problem, optimizer = problem_and_optimizer(compiled)
    vector = problem.vector()

    def solve() -> Run:
        recorder = Recorder(vector)
        with one_blas_thread():
            outcome = optimizer.run(recorder, recorder.begin(derivatives=True))
        x, is_done = vector.space.physical(recorder.best_x), outcome.n_iterations < optimizer.maxiter
        return Run(compiled.score(x), compiled.violation(x), is_done, outcome.n_iterations, recorder.n_evaluations)

    return solve


def _of_point(function: Callable[[Any], list[Any]]) -> Callable[[Any], Any]:
    return lambda p: jnp.stack(function(p["x"]))


def shortest(solve: Callable[[], Run], repeats: int) -> tuple[Run, np.ndarray]:
    """Return what a code finds and the shortest of several wall and processor times [s], after a run that compiles."""
    found, times = solve(), []
    for _ in range(repeats):
        begin = time.perf_counter(), time.process_time()
        solve()
        times.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    return found, np.min(times, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20, help="runs of which the shortest counts")
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    chosen = parser.parse_args()
    print(calibrate())
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(
        "problem | code | solved | iterations | evaluations | score - minimum | violation | wall [ms] | processor [ms]"
    )
    total, solved = {code: np.zeros(2) for code in SOLVERS}, dict.fromkeys(SOLVERS, 0)
    for name in chosen.problems:
        problem = PROBLEMS[name]
        compiled = Compiled(problem)
        for code, solver in SOLVERS.items():
            run, seconds = shortest(solver(compiled), chosen.repeats)
            total[code] += seconds
            solved[code] += run.solves(problem)
            print(
                f"{name} | {code} | {run.solves(problem)} | {run.iterations} | {run.evaluations} | "
                f"{run.score - problem.minimum:.1e} | {run.violation:.1e} | {1e3 * seconds[0]:.2f} | "
                f"{1e3 * seconds[1]:.2f}"
            )
    for code, seconds in total.items():
        print(
            f"all | {code} | {solved[code]}/{len(chosen.problems)} | {1e3 * seconds[0]:.1f} ms | "
            f"{1e3 * seconds[1]:.1f} ms"
        )
    for code in ("lsq-auglag, loop", "lsq-auglag", "from things to things"):
        wall, processor = total[code] / total["SLSQP"]
        print(f"ratio of times, {code} over SLSQP: wall {wall:.2f}, processor {processor:.2f}")


SOLVERS = {
    "SLSQP": solver_slsqp,
    "lsq-auglag, loop": solver_loop,
    "lsq-auglag": solver_of_problem,
    "from things to things": solver_of_things,
}

if __name__ == "__main__":
    main()
