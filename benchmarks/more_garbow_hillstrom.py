"""Residuals and exact Jacobians of the More-Garbow-Hillstrom test functions.

Each function takes x, shape (n,), and returns the residuals, shape (m,), and the Jacobian, shape (m, n). Numbers and
order follow the paper; the sum of squared residuals is its objective.

References:
    More, Garbow, Hillstrom (1981), ACM Trans. Math. Softw. 7, 17, doi:10.1145/355934.355936.
"""

from __future__ import annotations

import numpy as np


def _numbers(text):
    return np.array(text.split(), dtype=float)


BARD = _numbers("0.14 0.18 0.22 0.25 0.29 0.32 0.35 0.39 0.37 0.58 0.73 0.96 1.34 2.10 4.39")
GAUSSIAN = _numbers(
    "0.0009 0.0044 0.0175 0.0540 0.1295 0.2420 0.3521 0.3989 0.3521 0.2420 0.1295 0.0540 0.0175 0.0044 0.0009"
)
MEYER = _numbers("34780.0 28610 23650 19630 16370 13720 11540 9744 8261 7030 6005 5147 4427 3820 3307 2872")
KOWALIK_Y = _numbers("0.1957 0.1947 0.1735 0.1600 0.0844 0.0627 0.0456 0.0342 0.0323 0.0235 0.0246")
KOWALIK_U = _numbers("4.0 2 1 0.5 0.25 0.167 0.125 0.1 0.0833 0.0714 0.0625")
OSBORNE_1 = _numbers(
    "0.844 0.908 0.932 0.936 0.925 0.908 0.881 0.850 0.818 0.784 0.751 0.718 0.685 0.658 0.628 0.603 0.580 "
    "0.558 0.538 0.522 0.506 0.490 0.478 0.467 0.457 0.448 0.438 0.431 0.424 0.420 0.414 0.411 0.406"
)
OSBORNE_2 = _numbers(
    "1.366 1.191 1.112 1.013 0.991 0.885 0.831 0.847 0.786 0.725 0.746 0.679 0.608 0.655 0.616 0.606 0.602 "
    "0.626 0.651 0.724 0.649 0.649 0.694 0.644 0.624 0.661 0.612 0.558 0.533 0.495 0.500 0.423 0.395 0.375 "
    "0.372 0.391 0.396 0.405 0.428 0.429 0.523 0.562 0.607 0.653 0.672 0.708 0.633 0.668 0.645 0.632 0.591 "
    "0.559 0.597 0.625 0.739 0.710 0.729 0.720 0.636 0.581 0.428 0.292 0.162 0.098 0.054"
)


def rosenbrock(x):
    """Number 1, and 21 in blocks of two."""
    odd, even = x[0::2], x[1::2]
    f, J = np.zeros(x.size), np.zeros((x.size, x.size))
    i = np.arange(0, x.size, 2)
    f[0::2], f[1::2] = 10.0 * (even - odd**2), 1.0 - odd
    J[i, i], J[i, i + 1], J[i + 1, i] = -20.0 * odd, 10.0, -1.0
    return f, J


def freudenstein_roth(x):
    """Number 2."""
    a, b = x
    f = np.array([-13.0 + a + ((5.0 - b) * b - 2.0) * b, -29.0 + a + ((b + 1.0) * b - 14.0) * b])
    return f, np.array([[1.0, (10.0 - 3.0 * b) * b - 2.0], [1.0, (3.0 * b + 2.0) * b - 14.0]])


def powell_badly_scaled(x):
    """Number 3."""
    a, b = x
    f = np.array([1e4 * a * b - 1.0, np.exp(-a) + np.exp(-b) - 1.0001])
    return f, np.array([[1e4 * b, 1e4 * a], [-np.exp(-a), -np.exp(-b)]])


def brown_badly_scaled(x):
    """Number 4."""
    a, b = x
    return np.array([a - 1e6, b - 2e-6, a * b - 2.0]), np.array([[1.0, 0.0], [0.0, 1.0], [b, a]])


def beale(x):
    """Number 5."""
    a, b = x
    power = np.arange(1, 4)
    f = np.array([1.5, 2.25, 2.625]) - a * (1.0 - b**power)
    return f, np.column_stack([b**power - 1.0, a * power * b ** (power - 1)])


def jennrich_sampson(x):
    """Number 6, m = 10."""
    i = np.arange(1, 11)
    e = np.exp(np.outer(i, x))
    return 2.0 + 2.0 * i - e.sum(axis=1), -i[:, None] * e


def helical_valley(x):
    """Number 7."""
    a, b, c = x
    square, radius = a * a + b * b, np.hypot(a, b)
    theta = np.arctan2(b, a) / (2.0 * np.pi)
    # The paper's angle jumps on the half line a = 0 > b, not on a < 0 = b.
    theta += 1.0 if theta < -0.25 else 0.0
    f = np.array([10.0 * (c - 10.0 * theta), 10.0 * (radius - 1.0), c])
    turn = 50.0 / (np.pi * square)
    J = np.array([[turn * b, -turn * a, 10.0], [10.0 * a / radius, 10.0 * b / radius, 0.0], [0.0, 0.0, 1.0]])
    return f, J


def bard(x):
    """Number 8."""
    u = np.arange(1.0, 16.0)
    v = 16.0 - u
    w = np.minimum(u, v)
    bottom = v * x[1] + w * x[2]
    f = BARD - (x[0] + u / bottom)
    return f, np.column_stack([-np.ones(15), u * v / bottom**2, u * w / bottom**2])


def gaussian(x):
    """Number 9."""
    t = (8.0 - np.arange(1, 16)) / 2.0
    e = np.exp(-0.5 * x[1] * (t - x[2]) ** 2)
    J = np.column_stack([e, -0.5 * x[0] * e * (t - x[2]) ** 2, x[0] * x[1] * e * (t - x[2])])
    return x[0] * e - GAUSSIAN, J


def meyer(x):
    """Number 10."""
    t = 45.0 + 5.0 * np.arange(1, 17)
    e = np.exp(x[1] / (t + x[2]))
    J = np.column_stack([e, x[0] * e / (t + x[2]), -x[0] * x[1] * e / (t + x[2]) ** 2])
    return x[0] * e - MEYER, J


def gulf(x):
    """Number 11, m = 10; the distance is |y - x2| as in the distributed code (the paper has a misprint)."""
    t = np.arange(1, 11) / 100.0
    u = 25.0 + (-50.0 * np.log(t)) ** (2.0 / 3.0) - x[1]
    power = np.abs(u) ** x[2]
    e = np.exp(-power / x[0])
    J = np.column_stack([e * power / x[0] ** 2, e * x[2] * power / (u * x[0]), -e * power * np.log(np.abs(u)) / x[0]])
    return e - t, J


def box(x):
    """Number 12, m = 10."""
    t = np.arange(1, 11) / 10.0
    known = np.exp(-t) - np.exp(-10.0 * t)
    J = np.column_stack([-t * np.exp(-t * x[0]), t * np.exp(-t * x[1]), -known])
    return np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * known, J


def powell_singular(x):
    """Number 13, and 22 in blocks of four."""
    f, J = np.zeros(x.size), np.zeros((x.size, x.size))
    root5, root10 = np.sqrt(5.0), np.sqrt(10.0)
    for k in range(0, x.size, 4):
        a, b, c, d = x[k : k + 4]
        f[k : k + 4] = a + 10.0 * b, root5 * (c - d), (b - 2.0 * c) ** 2, root10 * (a - d) ** 2
        J[k, k : k + 2], J[k + 1, k + 2 : k + 4] = (1.0, 10.0), (root5, -root5)
        J[k + 2, k + 1 : k + 3] = 2.0 * (b - 2.0 * c), -4.0 * (b - 2.0 * c)
        J[k + 3, k], J[k + 3, k + 3] = 2.0 * root10 * (a - d), -2.0 * root10 * (a - d)
    return f, J


def wood(x):
    """Number 14."""
    a, b, c, d = x
    root90, root10 = np.sqrt(90.0), np.sqrt(10.0)
    f = [10.0 * (b - a * a), 1.0 - a, root90 * (d - c * c), 1.0 - c, root10 * (b + d - 2.0), (b - d) / root10]
    J = np.zeros((6, 4))
    J[0, 0], J[0, 1], J[1, 0], J[2, 2], J[2, 3], J[3, 2] = -20.0 * a, 10.0, -1.0, -2.0 * root90 * c, root90, -1.0
    J[4, 1] = J[4, 3] = root10
    J[5, 1], J[5, 3] = 1.0 / root10, -1.0 / root10
    return np.array(f), J


def kowalik_osborne(x):
    """Number 15."""
    u = KOWALIK_U
    top, bottom = u**2 + u * x[1], u**2 + u * x[2] + x[3]
    J = np.column_stack([-top, -x[0] * u, x[0] * top * u / bottom, x[0] * top / bottom]) / bottom[:, None]
    return KOWALIK_Y - x[0] * top / bottom, J


def brown_dennis(x):
    """Number 16, m = 20."""
    t = np.arange(1, 21) / 5.0
    first = x[0] + t * x[1] - np.exp(t)
    second = x[2] + np.sin(t) * x[3] - np.cos(t)
    J = 2.0 * np.column_stack([first, t * first, second, np.sin(t) * second])
    return first**2 + second**2, J


def osborne_1(x):
    """Number 17."""
    t = 10.0 * np.arange(33)
    p, q = np.exp(-x[3] * t), np.exp(-x[4] * t)
    J = -np.column_stack([np.ones(33), p, q, -t * x[1] * p, -t * x[2] * q])
    return OSBORNE_1 - (x[0] + x[1] * p + x[2] * q), J


def biggs_exp6(x):
    """Number 18, m = 13."""
    t = np.arange(1, 14) / 10.0
    y = np.exp(-t) - 5.0 * np.exp(-10.0 * t) + 3.0 * np.exp(-4.0 * t)
    p, q, r = np.exp(-t * x[0]), np.exp(-t * x[1]), np.exp(-t * x[4])
    J = np.column_stack([-t * x[2] * p, t * x[3] * q, p, -q, -t * x[5] * r, r])
    return x[2] * p - x[3] * q + x[5] * r - y, J


def osborne_2(x):
    """Number 19."""
    t = np.arange(65) / 10.0
    decay = np.exp(-t * x[4])
    shift = t[:, None] - x[8:11]
    bells = np.exp(-(shift**2) * x[5:8])
    heights = x[1:4]
    columns = [-decay[:, None], -bells, (t * x[0] * decay)[:, None]]
    columns += [heights * bells * shift**2, -2.0 * heights * x[5:8] * bells * shift]
    return OSBORNE_2 - (x[0] * decay + bells @ heights), np.concatenate(columns, axis=1)


def watson(x):
    """Number 20."""
    t = np.arange(1, 30) / 29.0
    j = np.arange(x.size)
    powers = t[:, None] ** j
    slopes = np.zeros_like(powers)
    slopes[:, 1:] = j[1:] * powers[:, :-1]
    total = powers @ x
    f = np.concatenate([slopes @ x - total**2 - 1.0, [x[0], x[1] - x[0] ** 2 - 1.0]])
    J = np.zeros((31, x.size))
    J[:29] = slopes - 2.0 * total[:, None] * powers
    J[29, 0], J[30, 0], J[30, 1] = 1.0, -2.0 * x[0], 1.0
    return f, J


def penalty_1(x):
    """Number 23."""
    root = np.sqrt(1e-5)
    J = np.concatenate([root * np.eye(x.size), 2.0 * x[None]])
    return np.append(root * (x - 1.0), x @ x - 0.25), J


def penalty_2(x):
    """Number 24."""
    n, root = x.size, np.sqrt(1e-5)
    i = np.arange(2, n + 1)
    y = np.exp(i / 10.0) + np.exp((i - 1) / 10.0)
    e = np.exp(x / 10.0)
    weights = np.arange(n, 0, -1.0)
    f = np.concatenate(
        [[x[0] - 0.2], root * (e[1:] + e[:-1] - y), root * (e[1:] - np.exp(-0.1)), [weights @ x**2 - 1.0]]
    )
    J = np.zeros((2 * n, n))
    J[0, 0] = 1.0
    k = np.arange(1, n)
    J[k, k] = J[n + k - 1, k] = root * e[1:] / 10.0
    J[k, k - 1] = root * e[:-1] / 10.0
    J[-1] = 2.0 * weights * x
    return f, J


def variably_dimensioned(x):
    """Number 25."""
    j = np.arange(1.0, x.size + 1)
    total = j @ (x - 1.0)
    return np.concatenate([x - 1.0, [total, total**2]]), np.concatenate([np.eye(x.size), [j, 2.0 * total * j]])


def trigonometric(x):
    """Number 26."""
    i = np.arange(1.0, x.size + 1)
    J = np.tile(np.sin(x), (x.size, 1)) + np.diag(i * np.sin(x) - np.cos(x))
    return x.size - np.sum(np.cos(x)) + i * (1.0 - np.cos(x)) - np.sin(x), J


def brown_almost_linear(x):
    """Number 27."""
    n = x.size
    J = np.ones((n, n)) + np.eye(n)
    J[-1] = [np.prod(np.delete(x, k)) for k in range(n)]
    return np.append(x[:-1] + x.sum() - (n + 1.0), np.prod(x) - 1.0), J


def discrete_boundary_value(x):
    """Number 28."""
    n = x.size
    h = 1.0 / (n + 1)
    cubed = x + h * np.arange(1, n + 1) + 1.0
    padded = np.pad(x, 1)
    J = np.diag(2.0 + 1.5 * h**2 * cubed**2) - np.eye(n, k=1) - np.eye(n, k=-1)
    return 2.0 * x - padded[:-2] - padded[2:] + 0.5 * h**2 * cubed**3, J


def discrete_integral(x):
    """Number 29."""
    n = x.size
    h = 1.0 / (n + 1)
    t = h * np.arange(1, n + 1)
    kernel = 0.5 * h * np.where(t[None] <= t[:, None], (1.0 - t[:, None]) * t[None], t[:, None] * (1.0 - t[None]))
    cubed = x + t + 1.0
    return x + kernel @ cubed**3, np.eye(n) + 3.0 * kernel * cubed**2


def broyden_tridiagonal(x):
    """Number 30."""
    padded = np.pad(x, 1)
    J = np.diag(3.0 - 4.0 * x) - np.eye(x.size, k=-1) - 2.0 * np.eye(x.size, k=1)
    return (3.0 - 2.0 * x) * x - padded[:-2] - 2.0 * padded[2:] + 1.0, J


def broyden_banded(x):
    """Number 31."""
    i, j = np.indices((x.size, x.size))
    band = ((j >= i - 5) & (j <= i + 1) & (i != j)) * 1.0
    return x * (2.0 + 5.0 * x**2) + 1.0 - band @ (x * (1.0 + x)), np.diag(2.0 + 15.0 * x**2) - band * (1.0 + 2.0 * x)


def linear_full_rank(x):
    """Number 32, m = 2 n."""
    m, n = 2 * x.size, x.size
    J = np.eye(m, n) - 2.0 / m
    return J @ x - 1.0, J


def linear_rank_one(x):
    """Number 33, m = 2 n."""
    J = np.outer(np.arange(1.0, 2 * x.size + 1), np.arange(1.0, x.size + 1))
    return J @ x - 1.0, J


def chebyquad(x):
    """Number 35, m = n."""
    n = x.size
    y = 2.0 * x - 1.0
    T, dT = [np.ones(n), y], [np.zeros(n), np.full(n, 2.0)]
    for _ in range(2, n + 1):
        dT.append(4.0 * T[-1] + 2.0 * y * dT[-1] - dT[-2])
        T.append(2.0 * y * T[-1] - T[-2])
    i = np.arange(1.0, n + 1)
    with np.errstate(divide="ignore"):
        integral = np.where(i % 2 == 0, -1.0 / (i**2 - 1.0), 0.0)
    return np.mean(T[1:], axis=1) - integral, np.array(dT[1:]) / n
