"""Nonlinear least-squares problems with standard starts and known minima.

Unbounded: More, Garbow, Hillstrom (1981), doi:10.1145/355934.355936; starts and minima are those of section 3 of the
    paper.
Bounded: the same functions in boxes that cut their minima off, or (Rosenbrock) leave a start on a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import more_garbow_hillstrom as mgh
import numpy as np

ZERO = 1e-10
"""A sum of squares below this counts as a minimum of zero."""

CLOSE = 1e-4
"""Relative excess over a known minimum that counts as solved; the paper gives six digits."""


@dataclass(frozen=True, eq=False)
class TestProblem:
    """A test problem.

    Args:
        name: Name with size.
        function: Takes x and returns residuals and Jacobian.
        start: Standard start, shape (n,).
        minima: Known minima of the sum of squares, the global one first.
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).
    """

    name: str
    function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    start: np.ndarray
    minima: tuple[float, ...]
    lower: np.ndarray
    upper: np.ndarray

    def is_solved(self, score: float) -> bool:
        """Return whether a sum of squares is one of the known minima."""
        return any(
            score <= ZERO if minimum == 0.0 else abs(score - minimum) <= CLOSE * minimum for minimum in self.minima
        )

    @property
    def is_bounded(self) -> bool:
        """Whether any variable has a bound."""
        return bool(np.any(np.isfinite(self.lower)) or np.any(np.isfinite(self.upper)))


def problem(
    name: str,
    function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    start: Sequence[float] | np.ndarray,
    *minima: float,
    lower: float | Sequence[float] = -np.inf,
    upper: float | Sequence[float] = np.inf,
) -> TestProblem:
    """Build a problem; bounds are given once or per variable."""
    start = np.array(start, dtype=float)
    ends = (np.broadcast_to(np.asarray(end, dtype=float), start.shape).copy() for end in (lower, upper))
    return TestProblem(name, function, start, minima, *ends)


def _grid(n: int) -> np.ndarray:
    t = np.arange(1, n + 1) / (n + 1)
    return t * (t - 1.0)


UNBOUNDED = (
    problem("rosenbrock", mgh.rosenbrock, [-1.2, 1.0], 0.0),
    problem("freudenstein-roth", mgh.freudenstein_roth, [0.5, -2.0], 0.0, 48.9842),
    problem("powell-badly-scaled", mgh.powell_badly_scaled, [0.0, 1.0], 0.0),
    problem("brown-badly-scaled", mgh.brown_badly_scaled, [1.0, 1.0], 0.0),
    problem("beale", mgh.beale, [1.0, 1.0], 0.0),
    problem("jennrich-sampson", mgh.jennrich_sampson, [0.3, 0.4], 124.362),
    problem("helical-valley", mgh.helical_valley, [-1.0, 0.0, 0.0], 0.0),
    problem("bard", mgh.bard, [1.0, 1.0, 1.0], 8.21487e-3, 17.4286),
    problem("gaussian", mgh.gaussian, [0.4, 1.0, 0.0], 1.12793e-8),
    problem("meyer", mgh.meyer, [0.02, 4000.0, 250.0], 87.9458),
    problem("gulf", mgh.gulf, [5.0, 2.5, 0.15], 0.0),
    problem("box", mgh.box, [0.0, 10.0, 20.0], 0.0),
    problem("powell-singular", mgh.powell_singular, [3.0, -1.0, 0.0, 1.0], 0.0),
    problem("wood", mgh.wood, [-3.0, -1.0, -3.0, -1.0], 0.0),
    problem("kowalik-osborne", mgh.kowalik_osborne, [0.25, 0.39, 0.415, 0.39], 3.07505e-4, 1.02734e-3),
    problem("brown-dennis", mgh.brown_dennis, [25.0, 5.0, -5.0, -1.0], 85822.2),
    problem("osborne-1", mgh.osborne_1, [0.5, 1.5, -1.0, 0.01, 0.02], 5.46489e-5),
    problem("biggs-exp6", mgh.biggs_exp6, [1.0, 2.0, 1.0, 1.0, 1.0, 1.0], 0.0, 5.65565e-3),
    problem("osborne-2", mgh.osborne_2, [1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5], 4.01377e-2),
    problem("watson-6", mgh.watson, np.zeros(6), 2.28767e-3),
    problem("watson-9", mgh.watson, np.zeros(9), 1.39976e-6),
    problem("watson-12", mgh.watson, np.zeros(12), 4.72238e-10),
    problem("rosenbrock-10", mgh.rosenbrock, np.tile([-1.2, 1.0], 5), 0.0),
    problem("powell-singular-12", mgh.powell_singular, np.tile([3.0, -1.0, 0.0, 1.0], 3), 0.0),
    problem("penalty-1", mgh.penalty_1, np.arange(1.0, 11), 7.08765e-5),
    problem("penalty-2", mgh.penalty_2, np.full(10, 0.5), 2.93660e-4),
    problem("variably-dimensioned", mgh.variably_dimensioned, 1.0 - np.arange(1, 11) / 10.0, 0.0),
    problem("trigonometric", mgh.trigonometric, np.full(10, 0.1), 0.0, 2.79506e-5),
    problem("brown-almost-linear", mgh.brown_almost_linear, np.full(10, 0.5), 0.0, 1.0),
    problem("boundary-value", mgh.discrete_boundary_value, _grid(10), 0.0),
    problem("integral-equation", mgh.discrete_integral, _grid(10), 0.0),
    problem("broyden-tridiagonal", mgh.broyden_tridiagonal, np.full(10, -1.0), 0.0),
    problem("broyden-banded", mgh.broyden_banded, np.full(10, -1.0), 0.0),
    problem("linear-full-rank", mgh.linear_full_rank, np.ones(10), 10.0),
    problem("linear-rank-one", mgh.linear_rank_one, np.ones(10), 20 * 19 / (2 * 41)),
    problem("chebyquad-8", mgh.chebyquad, np.arange(1, 9) / 9.0, 3.51687e-3),
    problem("chebyquad-9", mgh.chebyquad, np.arange(1, 10) / 10.0, 0.0),
)

# Minima in closed form, or where SciPy 1.17.1 `trf` or `dogbox` and `L-BFGS-B` at tolerances of 1e-15 agree.
BOUNDED = (
    problem("rosenbrock/b", mgh.rosenbrock, [-1.2, 1.0], 0.25, lower=-2.0, upper=[0.5, 2.0]),
    problem("rosenbrock/start", mgh.rosenbrock, [-2.0, 1.0], 0.0, lower=[-2.0, -1.0], upper=3.0),
    problem("beale/b", mgh.beale, [1.0, 1.0], 0.0, lower=[0.6, 0.5], upper=[10.0, 100.0]),
    problem(
        "helical-valley/b", mgh.helical_valley, [-1.0, 0.0, 0.0], 0.9904221, lower=[-100.0, -1, -1], upper=[0.8, 1, 1]
    ),
    problem("bard/b", mgh.bard, [1.0, 1.0, 1.0], 9.582285e-3, lower=[0.1, 0, 0], upper=[50.0, 100, 10]),
    problem(
        "powell-singular/b",
        mgh.powell_singular,
        [3.0, -1.0, 0.0, 1.0],
        1.878196e-4,
        lower=[0.1, -20, -1, -1],
        upper=[100.0, 20, 1, 50],
    ),
    problem("wood/b", mgh.wood, [-3.0, -1.0, -3.0, -1.0], 1.556701, lower=-100.0, upper=[0.0, 10, 100, 100]),
    problem("kowalik-osborne/b", mgh.kowalik_osborne, [0.25, 0.39, 0.415, 0.39], 4.296714e-4, lower=0.2),
    problem(
        "brown-dennis/b",
        mgh.brown_dennis,
        [25.0, 5.0, -5.0, -1.0],
        88860.48,
        lower=[-10.0, 0, -100, -20],
        upper=[100.0, 15, 0, 0.2],
    ),
    problem(
        "osborne-1/b",
        mgh.osborne_1,
        [0.5, 1.5, -1.0, 0.01, 0.02],
        5.470283e-5,
        lower=[0.0, 0, -50, 0, 0],
        upper=[50.0, 1.9, -0.1, 10, 10],
    ),
    problem("biggs-exp6/b", mgh.biggs_exp6, [1.0, 2, 1, 1, 1, 1], 5.320987e-4, lower=0.0, upper=[2.0, 8, 1, 7, 5, 5]),
    problem("watson-9/b", mgh.watson, np.zeros(9), 8.840100e-2, lower=-0.5, upper=0.8),
    problem("chebyquad-8/b", mgh.chebyquad, np.arange(1, 9) / 9.0, 7.183437e-3, lower=[0.1] + 7 * [0.0], upper=1.0),
    problem("meyer/b", mgh.meyer, [0.02, 4000.0, 250.0], 127.4518, lower=[0.006, 0, 0], upper=[2.0, 3e5, 3e4]),
    problem("linear-full-rank/b", mgh.linear_full_rank, np.full(10, -3.0), 20.0, upper=-2.0),
)
ALL = UNBOUNDED + BOUNDED
