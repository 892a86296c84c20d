"""Eleven least-squares problems with constraints, as terms over one thing.

Hock, Schittkowski (1981), Test Examples for Nonlinear Programming Codes, doi:10.1007/978-3-642-48320-2: functions,
starts and optimal values are theirs. The start of problem 65 lies outside its bounds and is moved inside.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from fieldfit.optimize import Optimizer
from fieldfit.things import Term

ROOT2 = 2.0**0.5


class Point:
    """A thing of one vector with bounds."""

    def __init__(self, x, bounds=(None, None)) -> None:
        self.x, self.bounds = np.array(x, dtype=float), {"x": bounds}

    @property
    def params_dict(self):
        return {"x": self.x}

    def with_params(self, values):
        return Point(values["x"], self.bounds["x"])


def term(function, **goal):
    return Term(lambda p: jnp.stack(function(*p["x"])), **goal)


def equal(*functions, is_linear=False):
    return [term(lambda *x, f=f: [f(*x)], is_linear=is_linear, name=f"row {k}") for k, f in enumerate(functions)]


def positive(*functions):
    return [term(lambda *x, f=f: [f(*x)], bounds=(0.0, None), name=f"side {k}") for k, f in enumerate(functions)]


PROBLEMS = {
    6: (lambda x, y: [1.0 - x], equal(lambda x, y: 10.0 * (y - x**2)), [-1.2, 1.0], 0.0),
    14: (
        lambda x, y: [x - 2.0, y - 1.0],
        [*equal(lambda x, y: x - 2.0 * y + 1.0, is_linear=True), *positive(lambda x, y: 1.0 - 0.25 * x**2 - y**2)],
        [2.0, 2.0],
        9.0 - 2.875 * 7.0**0.5,
    ),
    18: (
        lambda x, y: [0.1 * x, y],
        positive(lambda x, y: x * y - 25.0, lambda x, y: x**2 + y**2 - 25.0),
        [2.0, 2.0],
        5.0,
        ([2.0, 0.0], [50.0, 50.0]),
    ),
    22: (
        lambda x, y: [x - 2.0, y - 1.0],
        positive(lambda x, y: 2.0 - x - y, lambda x, y: y - x**2),
        [2.0, 2.0],
        1.0,
    ),
    27: (lambda x, y, z: [0.1 * (x - 1.0), y - x**2], equal(lambda x, y, z: x + z**2 + 1.0), [2.0] * 3, 0.04),
    28: (
        lambda x, y, z: [x + y, y + z],
        equal(lambda x, y, z: x + 2.0 * y + 3.0 * z - 1.0, is_linear=True),
        [-4.0, 1.0, 1.0],
        0.0,
    ),
    42: (
        lambda a, b, c, d: [a - 1.0, b - 2.0, c - 3.0, d - 4.0],
        [*equal(lambda a, b, c, d: a - 2.0, is_linear=True), *equal(lambda a, b, c, d: c**2 + d**2 - 2.0)],
        [1.0] * 4,
        28.0 - 10.0 * ROOT2,
    ),
    60: (
        lambda x, y, z: [x - 1.0, x - y, (y - z) ** 2],
        equal(lambda x, y, z: x * (1.0 + y**2) + z**4 - 4.0 - 3.0 * ROOT2),
        [2.0] * 3,
        0.03256820025,
        (-10.0, 10.0),
    ),
    65: (
        lambda x, y, z: [x - y, (x + y - 10.0) / 3.0, z - 5.0],
        positive(lambda x, y, z: 48.0 - x**2 - y**2 - z**2),
        [-4.0, 4.0, 0.0],
        0.9535288567,
        ([-4.5, -4.5, -5.0], [4.5, 4.5, 5.0]),
    ),
    77: (
        lambda a, b, c, d, e: [a - 1.0, a - b, c - 1.0, (d - 1.0) ** 2, (e - 1.0) ** 3],
        equal(
            lambda a, b, c, d, e: a**2 * d + jnp.sin(d - e) - 2.0 * ROOT2,
            lambda a, b, c, d, e: b + c**4 * d**2 - 8.0 - ROOT2,
        ),
        [2.0] * 5,
        0.24150513,
    ),
    79: (
        lambda a, b, c, d, e: [a - 1.0, a - b, b - c, (c - d) ** 2, (d - e) ** 2],
        equal(
            lambda a, b, c, d, e: a + b**2 + c**3 - 2.0 - 3.0 * ROOT2,
            lambda a, b, c, d, e: b - c**2 + d + 2.0 - 2.0 * ROOT2,
            lambda a, b, c, d, e: a * e - 2.0,
        ),
        [2.0] * 5,
        0.0787768209,
    ),
}
"""Number to residuals, constraints, start, optimal sum of squares, and bounds if there are some."""


@pytest.mark.parametrize("number", PROBLEMS)
def test_the_augmented_lagrangian_and_slsqp_end_at_the_stated_optimum(number) -> None:
    residuals, constraints, start, optimum, *bounds = PROBLEMS[number]
    for name in ("lsq-auglag", "scipy-SLSQP"):
        _, result = Optimizer(name).optimize(
            Point(start, *bounds), term(residuals, name="f"), constraints, ctol=1e-9, ftol=1e-12, xtol=1e-10, verbose=0
        )
        assert result.fun == pytest.approx(optimum, rel=1e-6, abs=1e-7), result
        assert result.violation < 1e-7
        assert result.success, result
