"""The smooth least-squares problems of More and Wild: functions, starts and known minima.

Fifty-three problems, made of twenty-two functions at several sizes and from the standard start or ten times it, and one
larger member of a family (Brown's almost linear function with a hundred variables) that later collections added.
Functions shared with More, Garbow and Hillstrom are those of `more_garbow_hillstrom`; the start of Osborne's first
function has the sign that the distributed code gives it, +1, and that of Watson's is 0.5 instead of 0.

Minima come from closed forms (linear functions; zero residuals), from More, Garbow, Hillstrom (six digits, here with
more), and else from the agreement of SciPy 1.17.1 `trf`, `dogbox` and `lm` at tolerances of 1e-15 with exact
Jacobians, each run from the standard start, ten times it, and 48 points around it. The minima after the first one are
other stationary values that at least two of the three codes ended at; some lie at infinity (Bard, Box, Jennrich and
Sampson, Kowalik and Osborne, Meyer).

References:
    More, Wild (2009), SIAM J. Optim. 20, 172, doi:10.1137/080724083.
    More, Garbow, Hillstrom (1981), ACM Trans. Math. Softw. 7, 17, doi:10.1145/355934.355936.
"""

from __future__ import annotations

import more_garbow_hillstrom as mgh
import numpy as np
from problems import TestProblem, problem


def linear_full_rank(x):
    """Function 1, m = 5 n."""
    m, n = 5 * x.size, x.size
    J = np.eye(m, n) - 2.0 / m
    return J @ x - 1.0, J


def linear_rank_one(x):
    """Function 2, m = 5 n."""
    J = np.outer(np.arange(1.0, 5 * x.size + 1), np.arange(1.0, x.size + 1))
    return J @ x - 1.0, J


def linear_rank_one_zeros(x):
    """Function 3, m = 5 n: as function 2, but the first and last column and row are zero."""
    rows, columns = np.arange(5.0 * x.size), np.arange(1.0, x.size + 1)
    rows[-1] = columns[0] = columns[-1] = 0.0
    J = np.outer(rows, columns)
    return J @ x - 1.0, J


def bdqrtic(x):
    """Function 19, m = 2 (n - 4)."""
    count, last = x.size - 4, x.size - 1
    i = np.arange(count)
    squares = x**2
    quartic = sum(k * squares[i + k - 1] for k in range(1, 5)) + 5.0 * squares[last]
    J = np.zeros((2 * count, x.size), dtype=x.dtype)
    J[i, i] = -4.0
    for k in range(1, 5):
        J[count + i, i + k - 1] += 2.0 * k * x[i + k - 1]
    J[count + i, last] += 10.0 * x[last]
    return np.concatenate([3.0 - 4.0 * x[:count], quartic]), J


def cube(x):
    """Function 20, m = n."""
    J = 10.0 * np.eye(x.size, dtype=x.dtype) - np.diag(30.0 * x[:-1] ** 2, k=-1)
    J[0, 0] = 1.0
    return np.concatenate([x[:1] - 1.0, 10.0 * (x[1:] - x[:-1] ** 3)]), J


def mancino(x):
    """Function 21, m = n; in this version every residual depends on one variable."""
    i = np.arange(1.0, x.size + 1)
    v = np.sqrt(x[:, None] ** 2 + i[:, None] / i)
    sine, cosine = np.sin(np.log(v)), np.cos(np.log(v))
    total = np.sum(v * (sine**5 + cosine**5), axis=1)
    # With L = log v: d(v (sin^5 L + cos^5 L))/dv is the bracket below, and dv/dx = x / v.
    slope = sine**5 + cosine**5 + 5.0 * sine**4 * cosine - 5.0 * cosine**4 * sine
    return 1400.0 * x + (i - 50.0) ** 3 + total, np.diag(1400.0 + np.sum(slope * x[:, None] / v, axis=1))


HEART = np.array([0.69, 0.044, 1.57, 1.31, 2.65, -2.0, 12.6, -9.48])


def heart_eight(x):
    """Function 22: the moments 0 to 3 of two dipoles.

    With complex strengths p = a + i c and places z = t + i u of two sources, the residuals are the real and imaginary
    parts of sum p, sum p z, sum p z^2, sum p z^3, plus constants.
    """
    a, c, t, u = x[0:2], x[2:4], x[4:6], x[6:8]
    f, J = [], np.zeros((8, 8), dtype=x.dtype)
    # Real and imaginary part of z^k, and of its derivative k z^(k - 1).
    re, im, slope_re, slope_im = np.ones_like(t), np.zeros_like(t), np.zeros_like(t), np.zeros_like(t)
    for k in range(4):
        f += [np.sum(a * re - c * im), np.sum(a * im + c * re)]
        along_re, along_im = a * slope_re - c * slope_im, a * slope_im + c * slope_re
        J[2 * k] = np.concatenate([re, -im, along_re, -along_im])
        J[2 * k + 1] = np.concatenate([im, re, along_im, along_re])
        slope_re, slope_im = (k + 1) * re, (k + 1) * im
        re, im = re * t - im * u, re * u + im * t
    return np.array(f) + HEART, J


def mancino_start(n):
    """The standard start of function 21, from its value at zero."""
    return -8.710996e-4 * mancino(np.zeros(n))[0]


def _standard_and_far(name, function, start, *minima) -> list[TestProblem]:
    """Return the problem from its start and from ten times it."""
    start = np.asarray(start, dtype=float)
    return [problem(name, function, start, *minima), problem(f"{name}/far", function, 10.0 * start, *minima)]


def _chebyquad(n, *minima) -> TestProblem:
    return problem(f"chebyquad-{n}", mgh.chebyquad, np.arange(1.0, n + 1) / (n + 1.0), *minima)


def _heart_start():
    return np.array([-0.3, -0.39, 0.3, -0.344, -1.2, 2.69, 1.59, -1.5])


BARD_OTHERS = (0.932775, 1.00382, 1.77493, 1.88627, 2.28991, 2.36292, 17.4287)
KOWALIK_OTHERS = (4.23675e-4, 1.02734e-3, 1.59435e-3, 1.63602e-3, 1.73922e-3)
OSBORNE_2_OTHERS = (8.75947e-2, 0.124098, 0.309321, 0.317634, 0.412295, 0.544468, 1.78981)

PROBLEMS = (
    *_standard_and_far("linear-full-rank", linear_full_rank, np.ones(9), 36.0),
    *_standard_and_far("linear-rank-one", linear_rank_one, np.ones(7), 35.0 * 34.0 / (2.0 * 71.0)),
    *_standard_and_far(
        "linear-rank-one-zeros", linear_rank_one_zeros, np.ones(7), (35.0**2 + 3.0 * 35.0 - 6.0) / 134.0
    ),
    *_standard_and_far("rosenbrock", mgh.rosenbrock, [-1.2, 1.0], 0.0),
    *_standard_and_far("helical-valley", mgh.helical_valley, [-1.0, 0.0, 0.0], 0.0),
    *_standard_and_far("powell-singular", mgh.powell_singular, [3.0, -1.0, 0.0, 1.0], 0.0),
    *_standard_and_far("freudenstein-roth", mgh.freudenstein_roth, [0.5, -2.0], 0.0, 48.98425368),
    *_standard_and_far("bard", mgh.bard, np.ones(3), 8.214877307e-3, *BARD_OTHERS),
    problem("kowalik-osborne", mgh.kowalik_osborne, [0.25, 0.39, 0.415, 0.39], 3.075056038e-4, *KOWALIK_OTHERS),
    problem("meyer", mgh.meyer, [0.02, 4000.0, 250.0], 87.94585517, 3.89076e9),
    *_standard_and_far("watson-6", mgh.watson, np.full(6, 0.5), 2.287670053e-3),
    *_standard_and_far("watson-9", mgh.watson, np.full(9, 0.5), 1.399760138e-6),
    *_standard_and_far("watson-12", mgh.watson, np.full(12, 0.5), 4.722381e-10),
    problem("box", mgh.box, [0.0, 10.0, 20.0], 0.0, 7.55887e-2),
    problem("jennrich-sampson", mgh.jennrich_sampson, [0.3, 0.4], 124.3621824, 259.580),
    *_standard_and_far("brown-dennis", mgh.brown_dennis, [25.0, 5.0, -5.0, -1.0], 85822.20163),
    _chebyquad(6, 0.0),
    _chebyquad(7, 0.0),
    _chebyquad(8, 3.516873726e-3),
    _chebyquad(9, 0.0),
    _chebyquad(10, 4.772713696e-3, 6.50395e-3, 9.50063e-3),
    _chebyquad(11, 2.799761552e-3),
    problem("brown-almost-linear-10", mgh.brown_almost_linear, np.full(10, 0.5), 0.0, 1.0),
    problem("osborne-1", mgh.osborne_1, [0.5, 1.5, 1.0, 0.01, 0.02], 5.464894697e-5, 2.45183e-2, 1.10604),
    *_standard_and_far(
        "osborne-2",
        mgh.osborne_2,
        [1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5],
        4.013773629e-2,
        *OSBORNE_2_OTHERS,
    ),
    problem("bdqrtic-8", bdqrtic, np.ones(8), 10.23897342),
    problem("bdqrtic-10", bdqrtic, np.ones(10), 18.28116175),
    problem("bdqrtic-11", bdqrtic, np.ones(11), 22.26059173),
    problem("bdqrtic-12", bdqrtic, np.ones(12), 26.27276640),
    problem("cube-5", cube, np.full(5, 0.5), 0.0),
    problem("cube-6", cube, np.full(6, 0.5), 0.0),
    problem("cube-8", cube, np.full(8, 0.5), 0.0),
    *_standard_and_far("mancino-5", mancino, mancino_start(5), 0.0),
    problem("mancino-8", mancino, mancino_start(8), 0.0),
    problem("mancino-10", mancino, mancino_start(10), 0.0),
    *_standard_and_far("mancino-12", mancino, mancino_start(12), 0.0),
    *_standard_and_far("heart-eight", heart_eight, _heart_start(), 0.0),
    problem("brown-almost-linear-100", mgh.brown_almost_linear, np.full(100, 0.5), 0.0),
)
