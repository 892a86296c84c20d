"""Decide independently whether the points that optimizers call solutions are stationary.

    python benchmarks/check_stationarity.py RUNS.json [--tolerance 1e-4] [--all]

Reads the file that `optimizers.py --json` wrote, evaluates functions at the points in it, differentiates by itself, and
neither imports fieldfit nor believes what a code said about its point.

A point with score S (sum of squares, or excess of a scalar over its known minimum) is called

    best    if S exceeds the best known minimum by at most TOLERANCE of it (where that is zero: if S is at most ZERO, or
            residuals are ten digits below those of the start),
    other   if it is not best, but no descent from it lowers S by more than TOLERANCE of S,
    away    otherwise, also above the score of the start or outside the bounds; a claim of success there is a false one.

Why relative reduction of the score: it does not change when variables or residuals are measured in other units, and it
says what is at stake. With m - n degrees of freedom a reduction by the fraction r moves the parameters by about
sqrt(r (m - n)) standard errors, so that 1e-4 is far below what data can tell. The relative offset (Bates, Watts 1981)
is the square root of the reduction that a Gauss-Newton step predicts, and where that is below NEGLIGIBLE no more is
asked. Where it is not, the model may be wrong (at a minimum with a residual and as many residuals as variables it
always is), and so the reduction has to be shown: at most DESCENT_STEPS steps, each the best of a sweep over the damping
of a Gauss-Newton model and of one with all second derivatives, the absolute eigenvalues of the Hessian. In curved
valleys the first of them gains too little, and where derivatives differ by many orders rounding spoils the second.
Trials are evaluations of S itself; an `away` is a proof, since the lower point is in hand. Bounds: steps end at them,
and a variable is left out where moving it to its bound could not matter and the gradient holds it there.

Derivatives: complex steps where the function takes complex variables and Ridders' extrapolated differences confirm
them, else these differences, in long double where the function keeps it.

References:
    Bates, Watts (1981), Technometrics 23, 179, doi:10.2307/1267801 (relative offset).
    Squire, Trapp (1998), SIAM Rev. 40, 110, doi:10.1137/S003614459631241X (complex steps).
    Ridders (1982), Adv. Eng. Softw. 4, 75, doi:10.1016/S0141-1195(82)80057-0 (extrapolated differences).
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from multimodal import SOLVED, ScalarProblem
from problem_sets import find_problem
from problems import ZERO, TestProblem

TOLERANCE = 1e-4
"""Fraction of the score."""

VANISHED = 1e-10
"""Residuals below this fraction of those at the start are zero; ZERO alone would ask Mancino's for sixteen digits."""

NEGLIGIBLE = 1e-8
"""A predicted reduction below this fraction is believed without a descent, which would escape from a saddle point."""

DESCENT_STEPS = 20
DAMPINGS = np.concatenate([[0.0], 10.0 ** np.arange(-14.0, 25.0)])
"""Tried in every step, in units of the curvature of the scaled model; far up, because far from a minimum the model
holds only for steps that are tiny against those it proposes."""

HELD = 1e-3
"""A variable is held at a bound if all it could gain on the way there is below this fraction of the tolerance."""

IMAGINARY_STEP = 1e-40
DIFFERENCE_LEVELS = 8
CONFIRMED = 1e-6
"""Complex steps are taken if differences agree with them to this fraction of a column's length."""

SLOPE_STEP = 1e-4
"""Relative step of second derivatives; good to eight digits of a descent's model, which need not be exact."""

CUTOFF = 1e-13
"""Singular values of the Jacobian, its columns scaled to one, below this fraction of the largest are zero."""

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """What a point is.

    Args:
        kind: "best", "other" or "away".
        digits: Correct digits of the score against the best known minimum; against ZERO where that is zero.
        offset: Relative offset there; the root of Newton's predicted fraction for scalars.
        reduction: Fraction of the score that the descent took off; 0 where none was needed.
    """

    kind: str
    digits: float
    offset: float
    reduction: float

    @property
    def is_stationary(self) -> bool:
        """Whether nothing can be gained around the point."""
        return self.kind != "away"


def judge(problem: TestProblem | ScalarProblem, x: Sequence[float], tolerance: float = TOLERANCE) -> Verdict:
    """Decide what a point is.

    Args:
        problem: Where the point belongs.
        x: The point, shape (n,).
        tolerance: Fraction of the score that a stationary point may still lose.
    """
    task = task_of(problem)
    x = np.asarray(x, dtype=float)
    score = task.score(x)
    is_worse = score > task.score(task.start) * (1.0 + tolerance)
    if not (np.all(np.isfinite(x)) and np.isfinite(score)) or task.violation(x) > 0.0 or is_worse:
        return Verdict("away", 0.0, np.inf, np.inf)
    if score - task.best <= max(task.zero, tolerance * task.best):
        return Verdict("best", task.digits(score), 0.0, 0.0)
    offset = float(np.sqrt(task.first_model(x).predicted_reduction() / score))
    reduction = 0.0 if offset**2 <= NEGLIGIBLE else descend(task, x, tolerance)
    return Verdict("other" if reduction <= tolerance else "away", task.digits(score), offset, reduction)


@np.errstate(all="ignore")
def descend(task: Task, x: np.ndarray, tolerance: float) -> float:
    """Return the fraction of the score that descending takes off, at once when it exceeds the tolerance."""
    first = score = task.score(x)
    for _ in range(DESCENT_STEPS):
        lowest, reached = score, x
        # One model after the other: the second derivatives are dear, and mostly the first one is enough.
        for model in task.models(x):
            for trial in (np.clip(x + model.step(damping), task.lower, task.upper) for damping in DAMPINGS):
                found = task.score(trial)
                if found < lowest:
                    lowest, reached = found, trial
            if first - lowest > tolerance * first:
                return (first - lowest) / first
        if not lowest < score:
            break
        x, score = reached, lowest
    return (first - score) / first


@dataclass(frozen=True, eq=False)
class Task:
    """What is asked of a point, the same for sums of squares and scalars.

    Args:
        function: Residuals, or an array of one element.
        is_scalar: Whether the function is to be minimised itself, not its square.
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).
        best: Best known minimum of the score.
        zero: What counts as an excess of nothing.
        start: Where optimizers started, shape (n,).
    """

    function: Function
    is_scalar: bool
    lower: np.ndarray
    upper: np.ndarray
    best: float
    zero: float
    start: np.ndarray

    def score(self, x: np.ndarray) -> float:
        """Return the score; infinite where it cannot be computed."""
        with np.errstate(all="ignore"):
            f = self.function(x)
        score = float(f[0]) if self.is_scalar else float(f @ f)
        return score if np.isfinite(score) else np.inf

    def violation(self, x: np.ndarray) -> float:
        """Return by how much a bound is exceeded, beyond rounding of the variable."""
        return float(np.max(np.maximum(self.lower - x, x - self.upper) - 1e-12 * np.abs(x), initial=0.0))

    def digits(self, score: float) -> float:
        """Return how many digits of a score agree with the best known."""
        excess = max(score - self.best, 0.0)
        return float(np.clip(-np.log10(max(excess, 1e-300) / (self.best or self.zero)), 0.0, 16.0))

    def first_model(self, x: np.ndarray) -> QuadraticModel:
        """Return the model that predicts: Gauss and Newton's for sums of squares, Newton's for scalars."""
        return next(self.models(x))

    def models(self, x: np.ndarray) -> Iterator[QuadraticModel]:
        """Yield the quadratic models of the score in the variables that may move, the cheaper one first."""
        f, J, is_free = self._linearization(x)
        if self.is_scalar:
            yield _newton_model(J[0], slopes(lambda y: self._jacobian(y)[0], x, np.ones(x.size)), is_free)
            return
        yield _gauss_newton_model(f, J, is_free)
        length = column_lengths(J)
        reach = np.linalg.norm(f) / np.where(length > 0.0, length, np.inf)
        # With f frozen the derivative of J^T f is the part of the Hessian that Gauss and Newton leave out.
        second = slopes(lambda y: self._jacobian(y).T @ f, x, reach)
        yield _newton_model(2.0 * J.T @ f, 2.0 * (J.T @ J + second), is_free)

    def _linearization(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        f, J = self.function(x), jacobian(self.function, x)
        gradient = J[0] if self.is_scalar else 2.0 * J.T @ f
        return f, J, ~self._held(x, gradient, self.score(x))

    def _jacobian(self, x: np.ndarray) -> np.ndarray:
        found = complex_steps(self.function, x)
        return differences(self.function, x)[0] if found is None else found

    def _held(self, x: np.ndarray, gradient: np.ndarray, score: float) -> np.ndarray:
        room = np.where(gradient > 0.0, x - self.lower, self.upper - x)
        with np.errstate(invalid="ignore"):
            gain = np.where(gradient == 0.0, np.inf, np.abs(gradient) * np.maximum(room, 0.0))
        return gain <= HELD * TOLERANCE * score


def task_of(problem: TestProblem | ScalarProblem) -> Task:
    """Return what is asked of points of a problem."""
    bounds = problem.lower, problem.upper
    start = np.clip(problem.start, *bounds)
    if isinstance(problem, TestProblem):
        f, _ = problem.function(start)
        zero = max(ZERO, VANISHED**2 * float(f @ f))
        return Task(lambda x: problem.function(x)[0], False, *bounds, float(problem.minima[0]), zero, start)
    return Task(lambda x: np.array([problem.value(x)]), True, *bounds, 0.0, SOLVED, start)


@dataclass(frozen=True, eq=False)
class QuadraticModel:
    """S(x + p) = S + g^T p + p^T B p / 2 in the eigenvectors of the scaled B, which is positive semidefinite.

    Args:
        scale: Of the variables, shape (n,); infinite for those that are held.
        directions: Eigenvectors, columns, shape (n, k).
        curvature: Eigenvalues, shape (k,), all positive.
        slope: Gradient along the eigenvectors, shape (k,).
    """

    scale: np.ndarray
    directions: np.ndarray
    curvature: np.ndarray
    slope: np.ndarray

    def step(self, damping: float) -> np.ndarray:
        """Return the damped step in x, shape (n,)."""
        return -(self.directions @ (self.slope / (self.curvature + 2.0 * damping))) / self.scale

    def predicted_reduction(self) -> float:
        """Return what the full step takes off the score of the model."""
        return float(0.5 * np.sum(self.slope**2 / self.curvature))


def _gauss_newton_model(f: np.ndarray, J: np.ndarray, is_free: np.ndarray) -> QuadraticModel:
    length = column_lengths(J)
    scale = np.where(is_free & (length > 0.0), length, np.inf)
    left, singular, right = np.linalg.svd(J / scale, full_matrices=False)
    kept = singular > CUTOFF * max(float(np.max(singular, initial=0.0)), np.finfo(float).tiny)
    singular = singular[kept]
    return QuadraticModel(scale, right[kept].T, 2.0 * singular**2, 2.0 * singular * (left[:, kept].T @ f))


def column_lengths(J: np.ndarray) -> np.ndarray:
    """Return the lengths of the columns, shape (n,), without overflow of their squares."""
    largest = np.max(np.abs(J), axis=0, initial=0.0)
    return largest * np.linalg.norm(J / np.where(largest > 0.0, largest, 1.0), axis=0)


def _newton_model(gradient: np.ndarray, H: np.ndarray, is_free: np.ndarray) -> QuadraticModel:
    diagonal = np.sqrt(np.abs(np.diag(H)))
    scale = np.where(is_free, np.where(diagonal > 0.0, diagonal, 1.0), np.inf)
    scaled = H / scale / scale[:, None]
    curvature, directions = np.linalg.eigh(np.where(np.isfinite(scaled), scaled, 0.0))
    # |B| descends from a saddle too; the floor is what differences of a gradient can tell.
    curvature = np.maximum(np.abs(curvature), 1e-8 * np.max(np.abs(curvature), initial=1e-300))
    return QuadraticModel(scale, directions, curvature, directions.T @ (gradient / scale))


def jacobian(function: Function, x: np.ndarray) -> np.ndarray:
    """Return the Jacobian, shape (m, n), by complex steps where differences confirm them, else by these."""
    by_differences, errors = differences(function, x)
    by_steps = complex_steps(function, x)
    if by_steps is None:
        return by_differences
    length = np.linalg.norm(by_steps, axis=0)
    is_confirmed = np.linalg.norm(by_steps - by_differences, axis=0) <= CONFIRMED * length + 10.0 * errors
    return by_steps if np.all(is_confirmed) else by_differences


def complex_steps(function: Function, x: np.ndarray) -> np.ndarray | None:
    """Return the Jacobian by complex steps, or None if the function does not take complex variables."""
    columns = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        for unit in np.eye(x.size):
            try:
                moved = function(x + IMAGINARY_STEP * 1j * unit)
            except TypeError:
                return None
            if not np.iscomplexobj(moved):
                return None
            columns.append(moved.imag / IMAGINARY_STEP)
    J = np.column_stack(columns)
    return J if np.all(np.isfinite(J)) else None


def differences(function: Function, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Jacobian by Ridders' extrapolation and the estimated error of each column's length."""
    with np.errstate(all="ignore"):
        found = [_column(function, x, k) for k in range(x.size)]
    return np.column_stack([column for column, _ in found]), np.array([error for _, error in found])


def _column(function: Function, x: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """Halve the step, extrapolate to zero in all orders, and keep the entry that changed least."""
    first = 0.02 * abs(x[k]) or 0.01
    best, smallest, previous = np.full_like(function(x), np.nan), np.inf, []
    for level in range(DIFFERENCE_LEVELS):
        row = [_central(function, x, k, first / 4.0**level)]
        for order, above in enumerate(previous):
            weight = 16.0 ** (order + 1)
            row.append((weight * row[-1] - above) / (weight - 1.0))
            error = float(max(np.linalg.norm(row[-1] - row[-2]), np.linalg.norm(row[-1] - above)))
            if error < smallest:
                best, smallest = row[-1], error
        previous = row
    return best.astype(float), smallest


def _central(function: Function, x: np.ndarray, k: int, step: float) -> np.ndarray:
    ahead, behind = x.astype(np.longdouble), x.astype(np.longdouble)
    ahead[k], behind[k] = x[k] + step, x[k] - step
    return (function(ahead) - function(behind)) / (ahead[k] - behind[k])


def slopes(gradient: Function, x: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return the symmetric derivative of a gradient, shape (n, n), by central differences.

    Args:
        gradient: A function that is exact to rounding.
        x: Where, shape (n,).
        reach: Length in each variable over which the function changes by its own size, shape (n,).
    """
    steps = SLOPE_STEP * np.maximum(np.abs(x), np.clip(reach, 1e-8, 1.0))
    rows = [
        (gradient(x + step * unit) - gradient(x - step * unit)) / (2.0 * step)
        for step, unit in zip(steps, np.eye(x.size), strict=True)
    ]
    return 0.5 * (np.array(rows) + np.array(rows).T)


def check(runs: Sequence[dict[str, Any]], tolerance: float = TOLERANCE) -> list[Verdict]:
    """Return a verdict for each run of a file."""
    return [judge(find_problem(run["set"], run["problem"]), run["x"], tolerance) for run in runs]


def report(runs: Sequence[dict[str, Any]], verdicts: Sequence[Verdict], *, names_all: bool) -> None:
    """Print per solver how often it was right, and name every claim away from a stationary point."""
    table: dict[str, Counter] = {}
    for run, verdict in zip(runs, verdicts, strict=True):
        counts = table.setdefault(run["solver"], Counter())
        claim = "claimed" if run["success"] else "unclaimed"
        counts[f"{claim} {verdict.kind}"] += 1
    print(f"{'':34s}{'---- success claimed ----':>27s}{'------ not claimed ------':>29s}")
    print(f"{'solver':34s}{'best':>9s}{'other':>9s}{'away':>9s}  {'best':>9s}{'other':>9s}{'away':>9s}")
    for solver, counts in table.items():
        claimed, unclaimed = (
            "".join(f"{counts[f'{claim} {kind}']:9d}" for kind in ("best", "other", "away"))
            for claim in ("claimed", "unclaimed")
        )
        print(f"{solver:34s}{claimed}  {unclaimed}")
    print("\nclaims of success away from a stationary point")
    for run, verdict in zip(runs, verdicts, strict=True):
        if run["success"] and (not verdict.is_stationary or (names_all and verdict.kind == "other")):
            print(
                f"  {verdict.kind:6s}{run['solver']:34s}{run['set']:12s}{run['problem']:26s} score {run['score']:.8g}, "
                f"{verdict.digits:.1f} digits, offset {verdict.offset:.1e}, descent takes off {verdict.reduction:.1e}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="written by optimizers.py --json")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help="fraction of the score (default %(default)g)"
    )
    parser.add_argument("--all", action="store_true", help="name claims at other stationary points too")
    options = parser.parse_args()
    runs = json.loads(options.file.read_text())["runs"]
    report(runs, check(runs, options.tolerance), names_all=options.all)


if __name__ == "__main__":
    main()
