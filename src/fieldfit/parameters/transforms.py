"""Changes of variable for parameters that are positive or bounded.

A parameter p of scale s is varied through u = t(p):

    log             u = log(p / s)                p > 0
    log-distance    u = log((p - l) / s)          above a single bound l
                    u = -log((h - p) / s)         below a single bound h
    logit           u = log((p - l) / (h - p))    between two bounds l and h

u grows with p. It has no unit and does not depend on the unit of p. The bounds that a transform uses up are at infinite
u: a search for a solution on such a bound goes there ever more slowly, so bounds are better left to optimizers that
know them.

Numbers inside the bounds come out for every u: exponents are limited to +-`MOST`, and what rounds to a bound is moved
to the next number inside. Derivatives are those of the formulas, without that rounding.

`unbounded` chooses for each element: logit between two bounds, log-distance from one, nothing without bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fieldfit.typing import Vector

MOST = 600.0
"""Largest exponent: exp(600) is about 1e260, which leaves room for scales up to 1e48."""

TINY = float(np.finfo(float).tiny)
"""The number next to zero: smaller ones have fewer digits, and compiled programs take them for zero."""

CHOOSE = "unbounded"
"""Name of the choice by bounds."""


class Curve(NamedTuple):
    """The variables of one transform among the variables x, in arrays that a compiled program takes.

    Args:
        places: Where they are in x, shape (k,).
        divisor: u per unit of x, shape (k,).
        scale: s, shape (k,).
        lower: Lower bounds of p, shape (k,).
        upper: Upper bounds of p, shape (k,).
        least: Smallest p that comes out, shape (k,).
        most: Largest p that comes out, shape (k,).
    """

    places: np.ndarray
    divisor: Vector
    scale: Vector
    lower: Vector
    upper: Vector
    least: Vector
    most: Vector


@dataclass(frozen=True)
class Transform:
    """A change of variable, element by element; `xp` is the module of arrays, that of NumPy or of JAX.

    Args:
        value: u of p: takes p and the curve.
        inverse: p of u: takes u, the curve and xp.
        derivative: dp/du at u: takes u, the curve and xp.
        keeps_bounds: Whether bounds on p other than 0 become bounds on u; otherwise there are none on u.
    """

    value: Callable[[Vector, Curve], Vector]
    inverse: Callable[[Any, Curve, Any], Any]
    derivative: Callable[[Any, Curve, Any], Any]
    keeps_bounds: bool = False


def chosen(name: str | None, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return the transform of each element by name, empty for none.

    Args:
        name: What its parameter names.
        lower: Lower bounds.
        upper: Upper bounds, of the same shape.
    """
    if name in (None, "log"):
        return np.full(np.shape(lower), name or "", dtype=object)
    n_bounds = np.isfinite(lower).astype(int) + np.isfinite(upper)
    return np.asarray(np.array(["", "log-distance", "logit"], dtype=object)[n_bounds], dtype=object)


def natural_scale(name: str, p: Vector, lower: Vector, upper: Vector) -> Vector:
    """Return the change of p per unit of u, for a scale of which x is u itself, shape (k,)."""
    if name == "log":
        return p
    if name == "logit":
        return (p - lower) * ((upper - p) / (upper - lower))
    return np.where(np.isfinite(lower), p - lower, upper - p)


def make_curve(name: str, places: np.ndarray, start: Vector, scale: Vector, ends: tuple[Vector, Vector]) -> Curve:
    """Return the curve of variables whose change per unit of x is their scale at the start.

    Args:
        name: Of the transform.
        places: Where they are in x, shape (k,).
        start: p at the start, inside the bounds, shape (k,).
        scale: Physical change per unit of x at the start, shape (k,).
        ends: Lower and upper bounds of p, each of shape (k,).
    """
    lower, upper = ends
    if TRANSFORMS[name].keeps_bounds:
        least, most = np.maximum(lower, TINY), upper
    else:
        least = np.where(lower == 0.0, TINY, np.nextafter(lower, np.inf))
        most = np.where(upper == 0.0, -TINY, np.nextafter(upper, -np.inf))
    return Curve(places, scale / natural_scale(name, start, lower, upper), scale, lower, upper, least, most)


def variables(name: str, curve: Curve, p: Vector) -> Vector:
    """Return x of the values p, shape (k,)."""
    inside = np.clip(p, curve.least, curve.most)
    return np.clip(TRANSFORMS[name].value(inside, curve), -MOST, MOST) / curve.divisor


def physical(name: str, curve: Curve, x: Vector) -> Vector:
    """Return p of the variables x, inside the bounds, shape (k,)."""
    u = _exponent(curve, x)
    return np.clip(TRANSFORMS[name].inverse(u, curve, np), curve.least, curve.most)


def slopes(name: str, curve: Curve, x: Vector) -> Vector:
    """Return dp/dx at the variables x, shape (k,)."""
    u = _exponent(curve, x)
    return curve.divisor * TRANSFORMS[name].derivative(u, curve, np)


def _exponent(curve: Curve, x: Vector) -> Vector:
    with np.errstate(over="ignore"):
        return np.clip(curve.divisor * x, -MOST, MOST)


def bounds(name: str, curve: Curve) -> tuple[Vector, Vector]:
    """Return the bounds on x, each of shape (k,)."""
    if not TRANSFORMS[name].keeps_bounds:
        return np.full(curve.places.size, -np.inf), np.full(curve.places.size, np.inf)
    with np.errstate(divide="ignore"):
        ends = (np.maximum(curve.lower, 0.0), curve.upper)
        low, high = (TRANSFORMS[name].value(end, curve) / curve.divisor for end in ends)
    return low, high


def traced_physical(name: str, curve: Curve, x: Any) -> Any:
    """Return p of traced variables x; its derivatives of any order are those of the formulas."""
    import jax
    import jax.numpy as jnp

    transform = TRANSFORMS[name]

    @jax.custom_jvp
    def inverse(u: Any, curve: Curve) -> Any:
        return jnp.clip(transform.inverse(u, curve, jnp), curve.least, curve.most)

    # The limits have derivatives of their own, zero where they act; these are not wanted.
    @inverse.defjvp
    def push(primals: Any, tangents: Any) -> Any:
        u, curve = primals
        return inverse(u, curve), transform.derivative(u, curve, jnp) * tangents[0]

    return inverse(jnp.clip(curve.divisor * x, -MOST, MOST), curve)


def _log_value(p: Vector, curve: Curve) -> Vector:
    return np.log(p / curve.scale)


def _log_inverse(u: Any, curve: Curve, xp: Any) -> Any:
    return curve.scale * xp.exp(u)


def _distance_value(p: Vector, curve: Curve) -> Vector:
    bound, sign = _bound(curve, np)
    return sign * np.log(sign * (p - bound) / curve.scale)


def _distance_inverse(u: Any, curve: Curve, xp: Any) -> Any:
    bound, sign = _bound(curve, xp)
    return bound + sign * _distance_derivative(u, curve, xp)


def _distance_derivative(u: Any, curve: Curve, xp: Any) -> Any:
    _, sign = _bound(curve, xp)
    return curve.scale * xp.exp(sign * u)


def _bound(curve: Curve, xp: Any) -> tuple[Any, Any]:
    """Return the only bound of each variable and on which side of it the variable is."""
    is_above = xp.isfinite(curve.lower)
    return xp.where(is_above, curve.lower, curve.upper), xp.where(is_above, 1.0, -1.0)


def _logit_value(p: Vector, curve: Curve) -> Vector:
    # Not the logarithm of the ratio, which may overflow next to a bound at zero.
    return np.log(p - curve.lower) - np.log(curve.upper - p)


def _logit_inverse(u: Any, curve: Curve, xp: Any) -> Any:
    return curve.lower / (1.0 + xp.exp(u)) + curve.upper / (1.0 + xp.exp(-u))


def _logit_derivative(u: Any, curve: Curve, xp: Any) -> Any:
    return (curve.upper - curve.lower) / ((1.0 + xp.exp(u)) * (1.0 + xp.exp(-u)))


TRANSFORMS: Mapping[str, Transform] = {
    "log": Transform(_log_value, _log_inverse, _log_inverse, keeps_bounds=True),
    "logit": Transform(_logit_value, _logit_inverse, _logit_derivative),
    "log-distance": Transform(_distance_value, _distance_inverse, _distance_derivative),
}
"""Changes of variable by name."""

NAMES = (*TRANSFORMS, CHOOSE)
"""What a parameter may name."""
