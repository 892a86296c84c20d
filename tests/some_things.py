"""Things for tests: none of them is known to the library."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np

from fieldfit.things import Term


class Polynomial:
    """A curve y(t) = scale * sum_k a_k t^k that is rebuilt with new coefficients."""

    def __init__(self, coefficients, scale=1.0, *, name="", bounds=None) -> None:
        self.coefficients, self.scale = np.array(coefficients, dtype=float), float(scale)
        self.name, self.bounds = name, bounds or {}

    @property
    def params_dict(self):
        return {"coefficients": self.coefficients, "scale": self.scale}

    def with_params(self, values):
        return Polynomial(**values, name=self.name, bounds=self.bounds)

    @property
    def mode_numbers(self):
        return {"coefficients": [(degree, 0, 0) for degree in range(self.coefficients.size)]}


class Settable:
    """A thing whose parameters can be set in place."""

    def __init__(self, x) -> None:
        self.params_dict = {"x": np.array(x, dtype=float)}

    def with_params(self, values):
        return Settable(values["x"])


def plain(**values) -> SimpleNamespace:
    """Return a thing of nothing but parameters."""
    return SimpleNamespace(params_dict=values, with_params=lambda found: plain(**found))


def curve_values(t):
    """Return a function of a polynomial's parameters: its values at some points."""
    powers = np.stack([t**degree for degree in range(8)])
    return lambda p: p["scale"] * (p["coefficients"] @ powers[: p["coefficients"].shape[0]])


def values_of(key="x"):
    """Return a function of a thing's parameters: one of them."""
    return lambda p: jnp.asarray(p[key])


@functools.cache
def rosenbrock(target=None) -> Term:
    """Return the residuals of Rosenbrock's valley, which are zero at (1, 1)."""
    return Term(
        lambda p: jnp.stack([10.0 * (p["x"][1] - p["x"][0] ** 2), 1.0 - p["x"][0]]), name="valley", target=target
    )
