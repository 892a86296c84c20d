"""Starting points in scaled variables.

"perturb" moves every variable by at most a fraction of its own size, or of its scale where it is zero. The other
samplings fill the box of the bounds; a variable without one of its bounds is sampled within its scale around the start,
on the side where it has none.

References:
    Owen (1998), Scrambling Sobol' and Niederreiter-Xing points, doi:10.1006/jcom.1998.0487.
    McKay, Beckman, Conover (1979), Latin hypercube sampling, doi:10.1080/00401706.1979.10489755.
"""

from __future__ import annotations

import math
import secrets

import numpy as np

from fieldfit.typing import Matrix, Vector

SAMPLINGS = ("perturb", "sobol", "latin-hypercube", "uniform")


def draw_seed(seed: int | None) -> int:
    """Return the seed, or a fresh one that a result can name."""
    return secrets.randbits(31) if seed is None else seed


def sample_starts(
    x0: Vector, bounds: tuple[Vector, Vector], count: int, *, sampling: str, fraction: float, seed: int
) -> Matrix:
    """Draw starting points inside the bounds; the first one is x0 itself.

    Args:
        x0: Start, shape (n,).
        bounds: Lower and upper bounds, each of shape (n,).
        count: Number of points, x0 among them.
        sampling: "perturb", "sobol", "latin-hypercube" or "uniform".
        fraction: Of its size, by which "perturb" moves a variable at most.
        seed: Of the random numbers.

    Returns:
        Points, shape (count, n).
    """
    lower, upper = bounds
    unit = _unit_points(count - 1, x0.size, sampling, seed)
    if sampling == "perturb":
        points = x0 + fraction * np.where(x0 == 0.0, 1.0, np.abs(x0)) * (2.0 * unit - 1.0)
        return np.vstack([x0, reflect(points, lower, upper)])
    low = np.where(np.isfinite(lower), lower, np.minimum(x0, upper) - 1.0)
    high = np.where(np.isfinite(upper), upper, np.maximum(x0, low) + 1.0)
    return np.vstack([x0, np.clip(low + unit * (high - low), lower, upper)])


def reflect(points: Matrix, lower: Vector, upper: Vector) -> Matrix:
    """Fold points that left the bounds back into them, as at a mirror.

    Args:
        points: Points, shape (count, n).
        lower: Lower bounds, shape (n,).
        upper: Upper bounds, shape (n,).
    """
    once = np.where(points < lower, 2.0 * lower - points, points)
    once = np.where(once > upper, 2.0 * upper - once, once)
    # Between bounds closer than the move a mirror image may still lie outside.
    return np.clip(once, lower, upper)


def _unit_points(count: int, n: int, sampling: str, seed: int) -> Matrix:
    if count == 0:
        return np.zeros((0, n))
    if sampling in ("sobol", "latin-hypercube"):
        from scipy.stats import qmc

        if sampling == "latin-hypercube":
            return qmc.LatinHypercube(n, rng=seed).random(count)
        # Sobol points are balanced in powers of two: draw the next one and leave the rest out.
        return qmc.Sobol(n, rng=seed).random_base2(math.ceil(math.log2(count)))[:count]
    return np.random.default_rng(seed).random((count, n))
