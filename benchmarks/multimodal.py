"""Functions with many minima, in five dimensions, from random starts inside bounds.

Rastrigin, Griewank, Ackley and Levy in their usual form and box. Optima are moved off the centre by a fixed fraction of
the box, other in every dimension, so that no code wins because it tries the origin, a corner, or equal coordinates.
A start is drawn uniformly in the box from the seed.

References:
    Rastrigin (1974), Systems of Extremal Control; Muehlenbein, Schomisch, Born (1991),
        doi:10.1016/S0167-8191(05)80052-3.
    Griewank (1981), J. Optim. Theory Appl. 34, 11, doi:10.1007/BF00933356.
    Ackley (1987), A Connectionist Machine for Genetic Hillclimbing, doi:10.1007/978-1-4613-1997-9.
    Levy, Montalvo (1985), SIAM J. Sci. Stat. Comput. 6, 15, doi:10.1137/0906002.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

DIMENSIONS = 5
SEEDS = range(5)
SHIFT = np.array([0.113, -0.171, 0.067, 0.149, -0.083])
"""Displacement of the optimum in units of the width of the box; small enough to leave it inside."""

SOLVED = 1e-6
"""Excess over the minimum that counts as solved; the next minima are higher by 0.007 (Griewank) or more."""


def rastrigin(x, xp):
    return 10.0 * x.size + xp.sum(x**2 - 10.0 * xp.cos(2.0 * np.pi * x))


def griewank(x, xp):
    return 1.0 + xp.sum(x**2) / 4000.0 - xp.prod(xp.cos(x / np.sqrt(np.arange(1.0, x.size + 1))))


def ackley(x, xp):
    radial = -20.0 * xp.exp(-0.2 * xp.sqrt(xp.sum(x**2) / x.size))
    return radial - xp.exp(xp.sum(xp.cos(2.0 * np.pi * x)) / x.size) + 20.0 + np.e


def levy(x, xp):
    w = 1.0 + (x - 1.0) / 4.0
    first = xp.sin(np.pi * w[0]) ** 2
    middle = xp.sum((w[:-1] - 1.0) ** 2 * (1.0 + 10.0 * xp.sin(np.pi * w[:-1] + 1.0) ** 2))
    return first + middle + (w[-1] - 1.0) ** 2 * (1.0 + xp.sin(2.0 * np.pi * w[-1]) ** 2)


@dataclass(frozen=True, eq=False)
class ScalarProblem:
    """A scalar function with bounds, a start, and a known optimum with the value zero.

    Args:
        name: Name with seed.
        function: Takes x and an array module (NumPy or JAX) and returns the value.
        start: Shape (n,).
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).
        optimum: Where the global minimum is, shape (n,).
        seed: For codes that draw random numbers.
    """

    name: str
    function: Callable[[Any, Any], Any]
    start: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    optimum: np.ndarray
    seed: int

    def value(self, x: np.ndarray) -> Any:
        """Return the value by NumPy; x may be complex."""
        return self.function(x, np)


def _problem(name: str, half_width: float, seed: int) -> ScalarProblem:
    function, plain_optimum = FUNCTIONS[name]
    shift = 2.0 * half_width * SHIFT
    ends = np.full(DIMENSIONS, half_width)
    start = np.random.default_rng(seed).uniform(-ends, ends)
    return ScalarProblem(
        name=f"{name}/{seed}",
        function=lambda x, xp: function(x - shift, xp),
        start=start,
        lower=-ends,
        upper=ends,
        optimum=plain_optimum + shift,
        seed=seed,
    )


FUNCTIONS = {"rastrigin": (rastrigin, 0.0), "griewank": (griewank, 0.0), "ackley": (ackley, 0.0), "levy": (levy, 1.0)}
"""Name to function and the coordinate, equal in all dimensions, of its optimum before the shift."""

HALF_WIDTHS = {"rastrigin": 5.12, "griewank": 600.0, "ackley": 32.768, "levy": 10.0}
"""Half the width of the usual box, which is centred at zero."""

PROBLEMS = tuple(_problem(name, HALF_WIDTHS[name], seed) for name in FUNCTIONS for seed in SEEDS)
