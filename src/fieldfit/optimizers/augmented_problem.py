"""The augmented Lagrangian of a constrained problem, as a problem with bounds only.

Problem
-------
Minimise f(x) subject to b_l <= c(x) <= b_u, equal limits meaning an equality, and to bounds on x. With multipliers y
and penalties mu > 0, one per constraint, the augmented Lagrangian of Powell, Hestenes and Rockafellar is

    A(x) = f(x) + 0.5 sum_i mu_i w_i^2,   w = t - min(max(t, b_l), b_u),   t = c(x) + y / mu

w is the violation of the shifted constraints. The formula is the same for equalities, for inequalities with one limit
and for those with two, and needs no slack variables. An inequality with w = 0 is left alone; the others are active:

    gradient   g + J^T (mu w)
    Hessian    H + sum_i mu_i w_i H_i + J_a^T diag(mu_a) J_a,   with the rows a that are active

A sum of squares stays one: sqrt(mu_i) w_i are further residuals with the rows sqrt(mu_i) J_i, or zero, as Jacobian.
mu w is the estimate of the multipliers of first order; it is not negative for a constraint at its upper limit and not
positive for one at its lower limit.

The state of an evaluation of A is the evaluation of the constrained problem at that point, so nothing is evaluated
twice, neither for A with other multipliers nor for its Hessian.

References:
    Rockafellar (1973), The multiplier method of Hestenes and Powell applied to convex programming,
        doi:10.1007/BF00934777.
    Birgin, Martinez (2014), Practical augmented Lagrangian methods for constrained optimization,
        doi:10.1137/1.9781611973365.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.problem import AbstractVectorProblem, Recorder
from fieldfit.problem.vector_constraints import VectorConstraints
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True, eq=False)
class Shifts:
    """Multipliers and penalties of constraints.

    Args:
        lower: Lower limits b_l, shape (m,).
        upper: Upper limits b_u, shape (m,).
        multipliers: y, shape (m,).
        penalties: mu, positive, shape (m,).
    """

    lower: Vector
    upper: Vector
    multipliers: Vector
    penalties: Vector

    def violation(self, values: Vector) -> Vector:
        """Return w for given values c, shape (m,)."""
        shifted = values + self._shift
        return shifted - between(shifted, self.lower, self.upper)

    def is_active(self, values: Vector) -> np.ndarray:
        """Return which constraints push, shape (m,)."""
        return self.pushes(self.violation(values))

    def pushes(self, violation: Vector) -> np.ndarray:
        """Return the same for given w."""
        return (violation != 0.0) | self._is_equality

    def first_order(self, values: Vector) -> Vector:
        """Return the multipliers mu w, shape (m,)."""
        return self.penalties * self.violation(values)

    def remainder(self, values: Vector) -> Vector:
        """Return what is missing to feasibility and complementarity, in the unit of c, shape (m,).

        The violation where a constraint is violated; otherwise its distance from the limit, or what is left of its
        multiplier over mu, whichever is shorter.
        """
        return self.violation(values) - self._shift

    @cached_property
    def weights(self) -> Vector:
        """sqrt(mu), by which w becomes residuals, shape (m,)."""
        return np.sqrt(self.penalties)

    @cached_property
    def _shift(self) -> Vector:
        return self.multipliers / self.penalties

    @cached_property
    def _is_equality(self) -> np.ndarray:
        return self.lower == self.upper


class AugmentedProblem(AbstractVectorProblem):
    """The augmented Lagrangian at given multipliers and penalties, as a problem without constraints.

    Args:
        problem: The constrained problem; every evaluation is one of its own.
        x0: Start, inside the bounds, shape (n,).
        start: Evaluation of the constrained problem there.
        shifts: Multipliers and penalties.
        funnel: Points with a longer relative violation count as failed; see `relative_violation`.
        row_scale: Units of the constraints, shape (m,).

    Attributes:
        outer: The constrained problem.
        shifts: Multipliers and penalties.
    """

    def __init__(
        self,
        problem: Recorder,
        x0: Vector,
        start: Evaluation,
        shifts: Shifts,
        *,
        funnel: float = math.inf,
        row_scale: Vector | None = None,
    ) -> None:
        self.x0, self.lower, self.upper, self.labels = x0, problem.lower, problem.upper, problem.labels
        self.constraints, self.is_traceable, self.is_noisy = None, False, problem.is_noisy
        self.has_residuals, self.has_derivatives = problem.has_residuals, problem.has_derivatives
        self.outer, self.shifts, self._start = problem, shifts, start
        self._funnel, self._row_scale = funnel, row_scale

    def initial_state(self) -> Evaluation:
        """Return the evaluation of the constrained problem at the start."""
        return self._start

    def evaluate(self, x: Vector, state: Evaluation, *, derivatives: bool = True) -> Evaluation:
        """Evaluate the augmented Lagrangian; see `VectorProblem.evaluate`.

        Raises:
            Interruption: A budget of the constrained problem is spent.
        """
        return self.augment(self.outer.evaluate(x, state.state, derivatives=derivatives))

    def augment(self, found: Evaluation) -> Evaluation:
        """Return the evaluation of the augmented Lagrangian that belongs to one of the constrained problem."""
        rest: dict[str, Any] = {
            "state": found,
            "is_stale": found.is_stale,
            "note": found.note,
            "n_differences": found.n_differences,
        }
        values = found.constraints
        if found.failure or values is None or not math.isfinite(found.cost) or not np.isfinite(values).all():
            return Evaluation(np.nan, failure=found.failure or "a constraint is not finite", **rest)
        if self._is_outside(values):
            return Evaluation(np.nan, failure="the constraints are violated too far", **rest)
        with np.errstate(over="ignore", invalid="ignore"):
            return self._residuals(found, values, rest) if self.has_residuals else self._scalar(found, values, rest)

    def hessian(self, x: Vector, state: Evaluation) -> Matrix:
        """Return the second derivatives of the augmented Lagrangian, shape (n, n).

        Args:
            x: Point, shape (n,).
            state: The evaluation of the constrained problem there, with derivatives.

        Raises:
            EvaluationError: A gradient it needs cannot be computed.
        """
        values, rows = linearization(state)
        found = self.outer.hessian(x, state.state)
        push = self.shifts.first_order(values)
        if np.any(push):
            found = found + self.outer.constraint_hessian(x, push)
        is_active = self.shifts.is_active(values)
        active = rows[is_active]
        return found + active.T @ (self.shifts.penalties[is_active, None] * active)

    def values(self, x: Vector) -> Any:
        return self.outer.problem.values(x)

    def describe(self, x: Vector) -> str:
        return self.outer.problem.describe(x)

    def _is_outside(self, values: Vector) -> bool:
        if self._row_scale is None:
            return False
        return relative_violation(values, self.shifts, self._row_scale) > self._funnel

    def _residuals(self, found: Evaluation, values: Vector, rest: dict[str, Any]) -> Evaluation:
        if found.residuals is None:
            raise SettingsError("A problem with residuals has to hand them out at every evaluation.")
        weight, violation = self.shifts.weights, self.shifts.violation(values)
        residuals = np.concatenate([found.residuals, weight * violation])
        if found.jacobian is None or found.constraint_jacobian is None:
            return evaluation_from_residuals(residuals, None, **rest)
        rows = (weight * self.shifts.pushes(violation))[:, None] * found.constraint_jacobian
        return evaluation_from_residuals(residuals, np.concatenate([found.jacobian, rows]), **rest)

    def _scalar(self, found: Evaluation, values: Vector, rest: dict[str, Any]) -> Evaluation:
        violation = self.shifts.violation(values)
        cost = found.cost + 0.5 * float(violation @ (self.shifts.penalties * violation))
        if found.gradient is None or found.constraint_jacobian is None:
            return Evaluation(cost, **rest)
        gradient = found.gradient + (self.shifts.penalties * violation) @ found.constraint_jacobian
        return Evaluation(cost, gradient=gradient, **rest)


def limits_of(problem: Recorder) -> VectorConstraints:
    """Return the constraints of a problem.

    Raises:
        SettingsError: It has none.
    """
    if problem.constraints is None:
        raise SettingsError("The problem has no constraints. Use an optimizer for bounds only, or give some.")
    return problem.constraints


def linearization(found: Evaluation) -> tuple[Vector, Matrix]:
    """Return values and Jacobian of the constraints.

    Raises:
        SettingsError: The evaluation was made without derivatives.
    """
    if found.constraints is None or found.constraint_jacobian is None:
        raise SettingsError("Derivatives of the constraints are needed. Evaluate with `derivatives=True`.")
    return found.constraints, found.constraint_jacobian


def relative_violation(values: Vector, shifts: Shifts, row_scale: Vector) -> float:
    """Return the largest violation in units of the constraints."""
    outside = np.abs(values - between(values, shifts.lower, shifts.upper))
    return float((outside / row_scale).max(initial=0.0))


def between(values: Vector, lower: Vector, upper: Vector) -> Vector:
    """Return the nearest values between limits, as `numpy.clip` does in several times the time."""
    return np.minimum(np.maximum(values, lower), upper)
