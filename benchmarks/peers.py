"""Optimizers of fieldfit and of other libraries behind one signature: `solver.solve(problem) -> Run`.

Every code gets the same function in NumPy with exact derivatives, and bounds where it takes them. Sums of squares are
called through `Counted`, which counts; codes that work inside JAX call it back from their program. `default` is a
library's own choice of tolerances, `tight` is written in the adapter. A library that is not installed is left out and
named in `missing()`.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.optimize
from multimodal import ScalarProblem
from problems import TestProblem

TIGHT = 1e-15
"""Relative tolerances of `tight` for the codes that end by themselves at rounding; MINPACK takes nothing below it."""

ITERATIVE_TIGHT = 1e-12
"""The same for codes that only end when a step or a change is below it."""

MOST_EVALUATIONS = 20000
"""Limit of `tight`; `default` leaves every library its own."""

POUNDERS_ITERATIONS = 200
"""Instead of 2000, which take a minute on some problems and change no verdict."""

LONG_SECONDS = 5.0
"""A first run longer than this is not repeated; compilation does not take as long."""

ENOUGH_SECONDS = 1.0
"""Timed runs are repeated up to this total."""


@dataclass(frozen=True)
class Run:
    """What one code did on one problem.

    Args:
        x: The point it returned, shape (n,).
        score: Sum of squares, or the scalar, there; computed by us.
        success: What it claims.
        evaluations: Points at which the function was computed.
        derivative_evaluations: Points at which derivatives were.
        seconds: Shortest wall time of one run, without compilation [s].
        message: Its own words.
    """

    x: np.ndarray
    score: float
    success: bool
    evaluations: int
    derivative_evaluations: int
    seconds: float
    message: str


@dataclass(frozen=True)
class Solver:
    """A code with its options.

    Args:
        label: Name in tables.
        prepare: Takes a problem and returns the run, a function without arguments; compiled programs are made once.
        takes_bounds: Whether it can respect bounds.
        most_variables: Larger problems take it minutes and are not given to it.
    """

    label: str
    prepare: Callable[[Any], Callable[[], Run]]
    takes_bounds: bool = True
    most_variables: float = np.inf

    def takes(self, problem: TestProblem | ScalarProblem) -> bool:
        """Return whether the code can be asked."""
        is_small_enough = problem.start.size <= self.most_variables
        return is_small_enough and (self.takes_bounds or not getattr(problem, "is_bounded", True))

    def solve(self, problem: TestProblem | ScalarProblem, repeats: int = 0) -> Run:
        """Run once, and again for the time; an exception is a failed run."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                run, attempt = None, self.prepare(problem)
                begin = time.perf_counter()
                run = attempt()
            except Exception as error:
                reason = f"raised {type(error).__name__}: {error}"
                run = Run(_start(problem), np.nan, False, 0, 0, time.perf_counter() - begin, reason)
                return replace(run, score=_score(problem, run.x))
            first = time.perf_counter() - begin
            seconds = first if not repeats or first > LONG_SECONDS else _shortest(attempt, repeats)
            return replace(run, score=_score(problem, run.x), seconds=seconds)


def _shortest(attempt: Callable[[], Run], repeats: int) -> float:
    times: list[float] = []
    while len(times) < repeats and sum(times) < ENOUGH_SECONDS:
        begin = time.perf_counter()
        attempt()
        times.append(time.perf_counter() - begin)
    return min(times)


def _score(problem: TestProblem | ScalarProblem, x: np.ndarray) -> float:
    if isinstance(problem, ScalarProblem):
        return float(problem.value(x))
    f, _ = problem.function(x)
    return float(f @ f)


def _start(problem: TestProblem | ScalarProblem) -> np.ndarray:
    return np.clip(problem.start, problem.lower, problem.upper)


class Counted:
    """Residuals and Jacobian of a problem, each as a function, counted."""

    def __init__(self, problem: TestProblem) -> None:
        self._function = problem.function
        self.reset()

    def reset(self) -> None:
        """Forget the counts."""
        self.calls = self.derivative_calls = 0

    def residuals(self, x: np.ndarray) -> np.ndarray:
        """Return residuals, shape (m,)."""
        self.calls += 1
        return self._function(np.asarray(x))[0]

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """Return the Jacobian, shape (m, n)."""
        self.derivative_calls += 1
        return self._function(np.asarray(x))[1]

    def score_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the sum of squares and its gradient."""
        self.calls += 1
        self.derivative_calls += 1
        f, J = self._function(x)
        return float(f @ f), 2.0 * J.T @ f

    def run(self, x: Any, success: Any, message: Any) -> Run:
        """Return the run that ended at x."""
        return Run(np.array(x, float), np.nan, bool(success), self.calls, self.derivative_calls, 0.0, str(message))


def counted(body: Callable[[TestProblem, Counted], Run]) -> Callable[[TestProblem], Callable[[], Run]]:
    """Turn the body of an adapter into what `Solver` takes, with fresh counts in every run."""

    def prepare(problem: TestProblem) -> Callable[[], Run]:
        counter = Counted(problem)

        def attempt() -> Run:
            counter.reset()
            return body(problem, counter)

        return attempt

    return prepare


def scipy_least_squares(method: str, **options: Any) -> Callable[[TestProblem], Callable[[], Run]]:
    @counted
    def body(problem: TestProblem, counter: Counted) -> Run:
        bounds = (problem.lower, problem.upper) if problem.is_bounded else (-np.inf, np.inf)
        found = scipy.optimize.least_squares(
            counter.residuals, _start(problem), counter.jacobian, bounds=bounds, method=method, **options
        )
        return counter.run(found.x, found.success, found.message)

    return body


def scipy_lbfgsb(**options: Any) -> Callable[[TestProblem], Callable[[], Run]]:
    @counted
    def body(problem: TestProblem, counter: Counted) -> Run:
        bounds = scipy.optimize.Bounds(problem.lower, problem.upper)
        found = scipy.optimize.minimize(
            counter.score_and_gradient, _start(problem), jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
        return counter.run(found.x, found.success, found.message)

    return body


def lmfit_leastsq(**options: Any) -> Callable[[TestProblem], Callable[[], Run]]:
    @counted
    def body(problem: TestProblem, counter: Counted) -> Run:
        import lmfit

        parameters = lmfit.Parameters()
        names = [f"x{k}" for k in range(problem.start.size)]
        for name, value, low, high in zip(names, _start(problem), problem.lower, problem.upper, strict=True):
            parameters.add(name, value=value, min=low, max=high)

        def vector(values: Any) -> np.ndarray:
            return np.array([values[name].value for name in names])

        minimizer = lmfit.Minimizer(lambda values: counter.residuals(vector(values)), parameters)
        found = minimizer.leastsq(Dfun=lambda values: counter.jacobian(vector(values)), **options)
        return counter.run(vector(found.params), found.success, found.message)

    return body


def traced_residuals(problem: TestProblem, counter: Counted) -> Callable[[Any], Any]:
    """Return the residuals as a function that JAX can trace and differentiate; it calls NumPy back."""
    import jax

    f, J = problem.function(_start(problem))
    shapes = [jax.ShapeDtypeStruct(found.shape, np.float64) for found in (f, J)]

    @jax.custom_jvp
    def residuals(x: Any) -> Any:
        return jax.pure_callback(counter.residuals, shapes[0], x, vmap_method="sequential")

    @residuals.defjvp
    def tangent(primals: Any, tangents: Any) -> tuple[Any, Any]:
        jacobian = jax.pure_callback(counter.jacobian, shapes[1], primals[0], vmap_method="sequential")
        return residuals(primals[0]), jacobian @ tangents[0]

    return residuals


def optimistix_lm(tolerance: float, max_steps: int) -> Callable[[TestProblem], Callable[[], Run]]:
    def prepare(problem: TestProblem) -> Callable[[], Run]:
        import jax
        import optimistix

        counter = Counted(problem)
        solver = optimistix.LevenbergMarquardt(rtol=tolerance, atol=tolerance)

        def solve(start: Any) -> tuple[Any, Any, Any]:
            residuals = traced_residuals(problem, counter)
            found = optimistix.least_squares(lambda x, _: residuals(x), solver, start, max_steps=max_steps, throw=False)
            return found.value, found.result == optimistix.RESULTS.successful, found.stats["num_steps"]

        program = jax.jit(solve)

        def attempt() -> Run:
            counter.reset()
            with jax.enable_x64(True):
                x, success, steps = program(_start(problem))
            return counter.run(x, success, f"{int(steps)} steps")

        return attempt

    return prepare


def optimagic_lbfgsb(problem: TestProblem) -> Callable[[], Run]:
    import optimagic

    def body(problem: TestProblem, counter: Counted) -> Run:
        found = optimagic.minimize(
            fun_and_jac=counter.score_and_gradient,
            fun=lambda x: counter.score_and_gradient(x)[0],
            params=_start(problem),
            algorithm="scipy_lbfgsb",
            bounds=optimagic.Bounds(problem.lower, problem.upper) if problem.is_bounded else None,
        )
        return counter.run(found.x, found.success, found.message)

    return counted(body)(problem)


def optimagic_pounders(problem: TestProblem) -> Callable[[], Run]:
    import optimagic

    def body(problem: TestProblem, counter: Counted) -> Run:
        found = optimagic.minimize(
            fun=optimagic.mark.least_squares(counter.residuals),
            params=_start(problem),
            algorithm="pounders",
            algo_options={"stopping_maxiter": POUNDERS_ITERATIONS},
            bounds=optimagic.Bounds(problem.lower, problem.upper) if problem.is_bounded else None,
        )
        return counter.run(found.x, found.success, found.message)

    return counted(body)(problem)


def scalar_gradient(problem: ScalarProblem) -> Callable[[np.ndarray], np.ndarray]:
    """Return the compiled gradient of a scalar problem."""
    import jax

    with jax.enable_x64(True):
        compiled = jax.jit(jax.grad(lambda x: problem.function(x, jax.numpy)))

    def gradient(x: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(compiled(x))

    return gradient


def scipy_scalar(search: Callable[..., Any], *, needs_gradient: bool) -> Callable[[ScalarProblem], Callable[[], Run]]:
    """Adapt a search that takes problem, value and gradient and returns SciPy's result."""

    def prepare(problem: ScalarProblem) -> Callable[[], Run]:
        counts = [0, 0]
        exact = scalar_gradient(problem) if needs_gradient else None

        def value(x: np.ndarray) -> float:
            counts[0] += 1
            return float(problem.value(x))

        def gradient(x: np.ndarray) -> np.ndarray:
            counts[1] += 1
            return exact(x)

        def attempt() -> Run:
            counts[:] = 0, 0
            found = search(problem, value, gradient)
            message = found.message if isinstance(found.message, str) else "; ".join(found.message)
            return Run(np.array(found.x), np.nan, bool(found.success), *counts, 0.0, message)

        return attempt

    return prepare


def _bounds(problem: ScalarProblem) -> list[tuple[float, float]]:
    return list(zip(problem.lower, problem.upper, strict=True))


def _lbfgsb(problem: ScalarProblem, value: Callable, gradient: Callable) -> Any:
    return scipy.optimize.minimize(value, problem.start, jac=gradient, method="L-BFGS-B", bounds=_bounds(problem))


def _dual_annealing(problem: ScalarProblem, value: Callable, gradient: Callable) -> Any:
    return scipy.optimize.dual_annealing(value, _bounds(problem), x0=problem.start, rng=problem.seed)


def _dual_annealing_with_gradient(problem: ScalarProblem, value: Callable, gradient: Callable) -> Any:
    polish = {"method": "L-BFGS-B", "jac": gradient, "bounds": _bounds(problem)}
    return scipy.optimize.dual_annealing(
        value, _bounds(problem), x0=problem.start, rng=problem.seed, minimizer_kwargs=polish
    )


def _differential_evolution(problem: ScalarProblem, value: Callable, gradient: Callable) -> Any:
    return scipy.optimize.differential_evolution(value, _bounds(problem), x0=problem.start, rng=problem.seed)


PEERS_FOR_SQUARES = (
    ("scipy", Solver("scipy trf", scipy_least_squares("trf"))),
    (
        "scipy",
        Solver(
            "scipy trf, tight",
            scipy_least_squares("trf", x_scale="jac", ftol=TIGHT, xtol=TIGHT, gtol=TIGHT, max_nfev=MOST_EVALUATIONS),
        ),
    ),
    ("scipy", Solver("scipy lm", scipy_least_squares("lm"), takes_bounds=False)),
    (
        "scipy",
        Solver(
            "scipy lm, tight",
            scipy_least_squares("lm", x_scale="jac", ftol=TIGHT, xtol=TIGHT, gtol=TIGHT, max_nfev=MOST_EVALUATIONS),
            takes_bounds=False,
        ),
    ),
    ("scipy", Solver("scipy L-BFGS-B", scipy_lbfgsb())),
    (
        "scipy",
        Solver(
            "scipy L-BFGS-B, tight",
            scipy_lbfgsb(ftol=TIGHT, gtol=ITERATIVE_TIGHT, maxiter=MOST_EVALUATIONS, maxfun=MOST_EVALUATIONS),
        ),
    ),
    ("lmfit", Solver("lmfit leastsq", lmfit_leastsq())),
    (
        "lmfit",
        Solver("lmfit leastsq, tight", lmfit_leastsq(ftol=TIGHT, xtol=TIGHT, gtol=TIGHT, max_nfev=MOST_EVALUATIONS)),
    ),
    # optimistix has no default tolerances; 1e-8 is what its examples take, 256 steps are its limit.
    ("optimistix", Solver("optimistix LM, 1e-8", optimistix_lm(1e-8, 256), takes_bounds=False)),
    (
        "optimistix",
        Solver("optimistix LM, tight", optimistix_lm(ITERATIVE_TIGHT, MOST_EVALUATIONS), takes_bounds=False),
    ),
    ("optimagic", Solver("optimagic scipy_lbfgsb", optimagic_lbfgsb)),
    ("optimagic", Solver("optimagic pounders", optimagic_pounders, most_variables=20)),
)
"""Library and solver, for sums of squares."""

PEERS_FOR_SCALARS = (
    ("scipy", Solver("scipy L-BFGS-B", scipy_scalar(_lbfgsb, needs_gradient=True))),
    ("scipy", Solver("scipy dual_annealing", scipy_scalar(_dual_annealing, needs_gradient=False))),
    (
        "scipy",
        Solver("scipy dual_annealing, gradient", scipy_scalar(_dual_annealing_with_gradient, needs_gradient=True)),
    ),
    ("scipy", Solver("scipy differential_evolution", scipy_scalar(_differential_evolution, needs_gradient=False))),
)
"""Library and solver, for scalars."""


def installed(peers: Sequence[tuple[str, Solver]]) -> list[Solver]:
    """Return the solvers whose library is there."""
    return [solver for library, solver in peers if importlib.util.find_spec(library)]


def missing(peers: Sequence[tuple[str, Solver]]) -> list[str]:
    """Return what had to be left out, and why."""
    return [f"{solver.label}: {library} is not installed" for library, solver in peers if not _is_there(library)]


def _is_there(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
