"""Constraints in the form that each method of SciPy takes.

Rows are handed over divided by the length of their gradient at the start, rounded to a power of two, so that SciPy's
absolute tolerances mean distances in the scaled variables. Linear rows go as such to the methods that know them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize

from fieldfit.optimizers.scipy_dialogue import Dialogue
from fieldfit.problem import VectorConstraints
from fieldfit.typing import Vector


def scipy_constraints(dialogue: Dialogue, constraints: VectorConstraints, method: str) -> list[Any]:
    """Return constraints as a method of `scipy.optimize.minimize` takes them.

    Args:
        dialogue: Which answers what SciPy asks.
        constraints: Of the problem.
        method: "SLSQP", "trust-constr", "COBYLA" or "COBYQA".
    """
    weights = row_weights(dialogue)
    if method == "SLSQP":
        return _dictionaries(dialogue, constraints, weights)
    if method == "trust-constr":
        every = np.ones(weights.size, dtype=bool)
        return [_nonlinear(dialogue, constraints, weights, every, has_derivatives=True)]
    found: list[Any] = []
    linear = constraints.is_linear
    if np.any(linear):
        matrix, offset = constraints.linear_rows()
        ends: Any = (constraints.lower[linear] - offset, constraints.upper[linear] - offset)
        found.append(scipy.optimize.LinearConstraint(matrix, *ends))
    if not np.all(linear):
        found.append(_nonlinear(dialogue, constraints, weights, ~linear, has_derivatives=False))
    return found


def row_weights(dialogue: Dialogue) -> Vector:
    """Return the factor of each row, shape (m,): a power of two near the inverse length of its gradient."""
    jacobian = dialogue.accepted.constraint_jacobian
    if jacobian is None:
        values = dialogue.accepted.constraints
        return np.ones(0 if values is None else values.size)
    lengths = np.linalg.norm(jacobian, axis=1)
    is_usable = np.isfinite(lengths) & (lengths > 0.0)
    return np.where(is_usable, 2.0 ** -np.round(np.log2(np.where(is_usable, lengths, 1.0))), 1.0)


def _dictionaries(dialogue: Dialogue, constraints: VectorConstraints, weights: Vector) -> list[Any]:
    lower, upper = constraints.lower, constraints.upper
    is_equal = constraints.is_equality
    groups = (
        ("eq", 1.0, is_equal, lower),
        ("ineq", 1.0, ~is_equal & np.isfinite(lower), lower),
        ("ineq", -1.0, ~is_equal & np.isfinite(upper), upper),
    )
    return [
        {
            "type": kind,
            "fun": _values(dialogue, sign * weights, chosen, end),
            "jac": _jacobian(dialogue, sign * weights, chosen),
        }
        for kind, sign, chosen, end in groups
        if np.any(chosen)
    ]


def _values(dialogue: Dialogue, factors: Vector, chosen: np.ndarray, end: Vector) -> Callable[[Vector], Vector]:
    return lambda x: (factors * (dialogue.constraint_values(x) - end))[chosen]


def _jacobian(dialogue: Dialogue, factors: Vector, chosen: np.ndarray) -> Callable[[Vector], Any]:
    return lambda x: (factors[:, None] * dialogue.constraint_jacobian(x))[chosen]


def _nonlinear(
    dialogue: Dialogue, constraints: VectorConstraints, weights: Vector, chosen: np.ndarray, *, has_derivatives: bool
) -> scipy.optimize.NonlinearConstraint:
    how: dict[str, Any] = {}
    if has_derivatives:
        how["jac"] = _jacobian(dialogue, weights, chosen)
        how["hess"] = lambda x, multipliers: dialogue.constraint_hessian(x, weights * multipliers)
    lower, upper = ((weights * end)[chosen] for end in (constraints.lower, constraints.upper))
    zero = np.zeros(weights.size)
    return scipy.optimize.NonlinearConstraint(_values(dialogue, weights, chosen, zero), lower, upper, **how)
