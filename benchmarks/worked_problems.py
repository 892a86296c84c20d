"""The worked problems of the page `docs/structured_parameters.md`: every answer beside an independent one.

    python benchmarks/worked_problems.py

Prints for each problem and method the answer, how far it is from the independent one, and the evaluations; then the two
global searches over five seeds, and the versions. Independent answers are closed forms and rational numbers; for the
ripple a grid of a million points and Newton's method; for the network the best value known.

References:
    Beale (1958), On an iterative method for finding a local minimum of a function of more than one variable.
    Markowitz (1952), J. Finance 7, 77, doi:10.2307/2975974: the portfolio.
    Rosenbrock (1960), Comput. J. 3, 175, doi:10.1093/comjnl/3.3.175.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fieldfit
from fieldfit.constraints import LinearInequality, SumTo
from fieldfit.optimizers.scipy import METHODS

SEEDS = range(5)

# The network: 3 inputs, 5 hidden units, 26 parameters.

_random = np.random.RandomState(42)
INPUTS = _random.randn(200, 3)
TARGETS = INPUTS @ np.array([2.0, -1.5, 0.8]) + 0.1 * _random.randn(200)
TRAINING = slice(0, 160)
RIDGE = 0.01
NETWORK_BEST = 0.074667
"""Lowest training objective known, to six decimals: the best of some 10^4 local runs from everywhere in the bounds."""

WALKS, HOPS = 8, 60
"""Of the global search; one walk in two ends at the best value known."""

NETWORK_BOUNDS = {
    "W1": (np.full((3, 5), -2.0), np.full((3, 5), 2.0)),
    "b1": (np.full(5, -1.0), np.full(5, 1.0)),
    "W2": (np.full((5, 1), -2.0), np.full((5, 1), 2.0)),
    "b2": (np.full(1, -1.0), np.full(1, 1.0)),
}


def network(inputs, W1, b1, W2, b2):
    return (jax.nn.relu(inputs @ W1 + b1) @ W2 + b2)[:, 0]


def network_loss(W1, b1, W2, b2):
    error = network(INPUTS[TRAINING], W1, b1, W2, b2) - TARGETS[TRAINING]
    return jnp.mean(error**2) + RIDGE * (jnp.sum(W1**2) + jnp.sum(W2**2))


# Functions of two numbers.


def beale(x, y):
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def ripple(x, y):
    return (x - 1.5) ** 2 + 2.0 * (y + 0.5) ** 2 + 0.1 * jnp.sin(10.0 * x) * jnp.cos(10.0 * y)


def narrow(x, y):
    return 1e3 * (x - 1.0) ** 2 + 1e-3 * (y - 2.0) ** 2


PLANE = [(-4.5, 4.5), (-4.5, 4.5)]
RIPPLE_BOUNDS = [(-3.0, 3.0), (-3.0, 3.0)]

# The portfolio.

COVARIANCE = np.array([[0.04, 0.01, 0.005], [0.01, 0.09, 0.02], [0.005, 0.02, 0.16]])
RETURNS = np.array([0.08, 0.12, 0.15])
LEAST_RETURN = 0.10


def variance(w):
    return w @ COVARIANCE @ w


def portfolio() -> fieldfit.Problem:
    """Return the portfolio of least variance among those of a return."""
    held = [SumTo("w", 1.0), LinearInequality({"w": RETURNS}, lower=LEAST_RETURN)]
    return fieldfit.Problem(lambda p: variance(p["w"]), bounds={"w": (np.zeros(3), np.ones(3))}, constraints=held)


def portfolio_answer() -> tuple[list[Fraction], list[Fraction]]:
    """Solve the conditions of stationarity in rational numbers: weights, and multipliers of sum and return.

    2 C w + m_1 1 + m_2 r = 0, 1 w = 1, r w = 1/10: five linear equations. Multipliers of L = f + m c.
    """
    entries = [[Fraction(str(value)) for value in row] for row in COVARIANCE.tolist()]
    returns = [Fraction(str(value)) for value in RETURNS.tolist()]
    rows = [[2 * entry for entry in row] + [Fraction(1), returns[i], Fraction(0)] for i, row in enumerate(entries)]
    rows.append([Fraction(1)] * 3 + [Fraction(0)] * 2 + [Fraction(1)])
    rows.append([*returns, Fraction(0), Fraction(0), Fraction(str(LEAST_RETURN))])
    solution = eliminate(rows)
    return solution[:3], solution[3:]


def eliminate(rows: list[list[Fraction]]) -> list[Fraction]:
    """Solve linear equations in rational numbers; the last column is the right side."""
    rows = [list(row) for row in rows]
    for column in range(len(rows)):
        pivot = next(index for index in range(column, len(rows)) if rows[index][column] != 0)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for index, row in enumerate(rows):
            if index != column:
                rows[index] = [value - row[column] * own for value, own in zip(row, rows[column], strict=True)]
    return [row[-1] for row in rows]


def ripple_answer() -> tuple[np.ndarray, float]:
    """Find the minimum of the ripple on a grid, and finish by Newton's method in closed form."""
    axis = np.linspace(-3.0, 3.0, 1001)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    values = (x - 1.5) ** 2 + 2.0 * (y + 0.5) ** 2 + 0.1 * np.sin(10.0 * x) * np.cos(10.0 * y)
    point = np.array([grid.ravel()[np.argmin(values)] for grid in (x, y)])
    for _ in range(20):
        (sine, cosine), (sine_y, cosine_y) = ((np.sin(10.0 * p), np.cos(10.0 * p)) for p in point)
        gradient = np.array([2.0 * (point[0] - 1.5) + cosine * cosine_y, 4.0 * (point[1] + 0.5) - sine * sine_y])
        mixed = -10.0 * cosine * sine_y
        curvature = np.array([[2.0 - 10.0 * sine * cosine_y, mixed], [mixed, 4.0 - 10.0 * sine * cosine_y]])
        point = point - np.linalg.solve(curvature, gradient)
    x, y = point
    return point, (x - 1.5) ** 2 + 2.0 * (y + 0.5) ** 2 + 0.1 * np.sin(10.0 * x) * np.cos(10.0 * y)


def scalar_methods() -> Iterator[fieldfit.ScipyOptimizer]:
    """Yield every method of SciPy that takes a scalar, with enough iterations for those by values."""
    for name, method in METHODS.items():
        if not method.traits.needs_residuals:
            yield fieldfit.ScipyOptimizer(name, maxiter=5000, gtol=1e-18)


def solve(problem: fieldfit.Problem, optimizer: Any) -> fieldfit.OptimizationResult:
    """Run an optimizer; one that knows no bounds gets variables without any."""
    if not optimizer.traits.handles_bounds:
        problem = fieldfit.Problem(problem.objective, problem.parameters.unbounded(), constraints=problem.constraints)
    return optimizer.optimize(problem)


def network_search(seed: int) -> fieldfit.OptimizationResult:
    """Search for the best network: walks from basin to basin from random starts, and L-BFGS-B from the best end."""
    training = fieldfit.Problem(network_loss, bounds=NETWORK_BOUNDS, call="keywords")
    local = fieldfit.JaxOptimizer("bfgs", maxiter=400)
    ends = []
    for child in np.random.SeedSequence(seed).generate_state(WALKS):
        draw = np.random.default_rng(child)
        start = {name: draw.uniform(*pair) for name, pair in NETWORK_BOUNDS.items()}
        walk = fieldfit.BasinHoppingOptimizer(niter=HOPS, optimizer=local, seed=int(child))
        ends.append(walk.optimize(fieldfit.Problem(training.objective, training.parameters.replace(start))))
    best = min(ends, key=lambda end: end.fun)
    finishing = fieldfit.ScipyOptimizer("L-BFGS-B", maxiter=2000)
    return finishing.optimize(fieldfit.Problem(training.objective, best.parameters))


@dataclass(frozen=True)
class Case:
    """A problem, its independent answer, and the optimizers that are to find it.

    Args:
        name: Of the problem.
        problem: What is solved.
        answer: All elements of the parameters, shape (elements,).
        optimizers: Who solves it.
    """

    name: str
    problem: fieldfit.Problem
    answer: np.ndarray
    optimizers: Sequence[Any]

    def report(self) -> Iterator[str]:
        for optimizer in self.optimizers:
            result = solve(self.problem, optimizer)
            distance = float(np.max(np.abs(result.final_params - self.answer)))
            yield (
                f"{self.name:17s} {optimizer.name:20s} {distance:8.1e} away, value {result.fun:.10g}, "
                f"{result.nfev} evaluations, {result.verdict.word}"
            )


def cases() -> Iterator[Case]:
    """Yield the problems with one minimum."""
    methods = list(scalar_methods())
    with_gradient = [method for method in methods if method.traits.needs_gradient]
    far, near = (fieldfit.Problem(beale, start, PLANE, call="positional") for start in ([1.0, 1.0], [3.2, 0.6]))
    minimum = np.array([3.0, 0.5])
    yield Case("Beale", far, minimum, [method for method in methods if method.method != "dogleg"])
    # Dogleg is defined for positive definite second derivatives, which Beale's function has near its minimum only.
    yield Case("Beale, near", near, minimum, [fieldfit.ScipyOptimizer("dogleg")])
    for scale in (None, "automatic"):
        wide = fieldfit.Problem(narrow, [0.0, 0.0], [(-10.0, 10.0)] * 2, call="positional", scale=scale)
        yield Case(f"narrow, {scale}", wide, np.array([1.0, 2.0]), with_gradient)
    weights = np.array([float(weight) for weight in portfolio_answer()[0]])
    constrained = [method for method in methods if method.traits.handles_constraints]
    yield Case("portfolio", portfolio(), weights, [*constrained, fieldfit.AugmentedLagrangianOptimizer()])


def ripple_search(seed: int) -> fieldfit.OptimizationResult:
    """Search for the deepest ripple by differential evolution, as `fieldfit.fit` does between bounds."""
    problem = fieldfit.Problem(ripple, bounds=RIPPLE_BOUNDS, call="positional")
    return fieldfit.DerivativeFreeOptimizer("differential-evolution", seed=seed).optimize(problem)


def over_seeds(name: str, search: Callable[[int], fieldfit.OptimizationResult], best: float) -> Iterator[str]:
    """Yield a line per seed of a global search."""
    for seed in SEEDS:
        begin = time.perf_counter()
        result = search(seed)
        seconds = time.perf_counter() - begin
        yield f"{name:10s} seed {seed}: {result.fun:.10f}, {result.fun - best:+.1e} from the best, {seconds:.1f} s"


def main() -> None:
    for case in cases():
        for line in case.report():
            print(line)
    for line in (
        *over_seeds("ripple", ripple_search, ripple_answer()[1]),
        *over_seeds("network", network_search, NETWORK_BEST),
    ):
        print(line)
    versions = solve(portfolio(), fieldfit.ScipyOptimizer("SLSQP")).versions
    print(", ".join(f"{name} {version}" for name, version in versions.items()))


if __name__ == "__main__":
    main()
