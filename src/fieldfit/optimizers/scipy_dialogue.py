"""What SciPy asks and is told in the course of one run.

One evaluation answers all questions at a point: its cost (or residuals) and their derivatives. A point that is known is
not evaluated again. The state of the objective changes only at points where the method has arrived; where the residuals
mean something new under the new state, SciPy is started again.

Scale
-----
SciPy's tolerances and first steps are absolute numbers. It therefore sees the cost divided by its size at the start,

    the largest ||J_j||^2               for least squares: the curvature, so a gradient is the length of a step
    max(||g||_inf, NEAR_END |F|)        for a scalar with its gradient: the first step is one unit of the scales
    |F|                                 for methods that see values only

rounded to a power of four: dividing residuals and cost is exact, and the unit of the objective changes nothing.

Walls
-----
A failed evaluation is answered by a wall, not by infinity: line searches interpolate, and MINPACK forms ratios, so both
would go on with NaN. For a scalar the wall is as much higher than the last accepted point as that is large, with a
slope away from it; methods that see only values get one `CLIFF` times as high. For residuals it is `WALL` in every one,
and the trust region shrinks. A point outside the bounds by more than rounding gets the same answer unevaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fieldfit.diagnostics import projected_gradient
from fieldfit.errors import EvaluationError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.scipy_methods import Method
from fieldfit.problem import Recorder
from fieldfit.typing import Matrix, Vector

WALL = 1e100
"""Stands for a residual that could not be computed; its square is still a finite number."""

CLIFF = 10.0
"""Height of the wall, in costs, for methods that see only values: above what they compare it with, and no more, because
some fit models through it."""

NEAR_END = 1e-3
"""A gradient below this fraction of the cost per unit of the scales belongs to a start near the end."""

ROUNDING = 8.0 * float(np.finfo(float).eps)
"""Relative distance from a bound that is rounding: the point is moved onto the bound."""

LARGEST = float(np.finfo(float).max)
"""The largest finite number."""

OUTSIDE = Evaluation(np.nan, failure="outside the bounds")
"""Stands for the evaluation of a point that is not evaluated."""


class Halt(BaseException):
    """Ends SciPy's work from within, with the reason.

    Not an `Exception`, so that SciPy does not mistake it for one.
    """


@dataclass(frozen=True)
class Limits:
    """What ends a run from outside the method.

    Args:
        maxiter: Most iterations.
        ftol: Smallest relative reduction of the cost by a step; None: not tested.
        divergence_factor: Factor of the first cost that counts as divergence; None: not tested.
        divergence_patience: Iterations in a row above it.
    """

    maxiter: int
    ftol: float | None
    divergence_factor: float | None
    divergence_patience: int


class Dialogue:
    """Questions and answers of one run.

    Args:
        problem: What to evaluate.
        start: The evaluation at its start.
        method: Who asks.
        limits: What ends the run.

    Attributes:
        x: Last accepted point, shape (n,).
        iteration: Number of the last iteration told.
        needs_restart: Whether the residuals mean something new since the last accepted point.
        scale: Factor by which SciPy sees the cost multiplied; its square root is that of the residuals.
    """

    def __init__(self, problem: Recorder, start: Evaluation, method: Method, limits: Limits) -> None:
        self.problem, self.method, self.limits = problem, method, limits
        self.iteration, self.needs_restart = 0, start.is_stale
        self.x, self.accepted = problem.x0.copy(), start
        self.scale = cost_scale(start) * method.lift
        self._takes_both = method.traits.needs_gradient and problem.has_derivatives
        self._first_cost = self._lowest_accepted = start.cost
        self._last_x, self._last, self._last_key = self.x, start, self.x.tobytes()
        # Finite limits, because a point has to be finite; one comparison then tells both.
        self._lower, self._upper = np.maximum(problem.lower, -LARGEST), np.minimum(problem.upper, LARGEST)
        self._hessian: tuple[Vector, Matrix] | None = None
        self._n_seen, self._n_above = problem.n_evaluations, 0

    # Questions

    def cost(self, x: Vector) -> float:
        """Return the scaled cost."""
        found = self._evaluate(x, derivatives=self._takes_both)
        return self.scale * found.cost if _is_usable(found) else self._wall(x)[0]

    def gradient(self, x: Vector) -> Vector:
        """Return the scaled gradient, shape (n,)."""
        found = self._evaluate(x, derivatives=True)
        if not _is_usable(found) or found.gradient is None:
            return self._wall(x)[1]
        if self.method.arrives == "derivatives":
            self.report(x)
        return self.scale * found.gradient

    def hessian(self, x: Vector) -> Matrix:
        """Return the scaled Hessian, shape (n, n); one per point.

        Raises:
            Halt: It cannot be computed.
        """
        if not _is_usable(self._evaluate(x, derivatives=False)):
            # trust-exact asks at every trial.
            return self._wall(x)[2]
        if self._hessian is None or not (x == self._hessian[0]).all():
            self._hessian = x.copy(), self._second(lambda: self.problem.hessian(self._moved(x), self.accepted.state))
        return self._hessian[1]

    def hessian_product(self, x: Vector, direction: Vector) -> Vector:
        """Return the scaled Hessian times a direction, shape (n,).

        Raises:
            Halt: It cannot be computed.
        """
        if not np.isfinite(direction).all():
            raise Halt("its inner iterations broke down, often as far as rounding of the gradient allows")
        return self._second(lambda: self.problem.hessian_product(self._moved(x), direction, self.accepted.state))

    def residuals(self, x: Vector) -> Vector:
        """Return the scaled residuals, shape (m,)."""
        found = self._evaluate(x, derivatives=self._takes_both)
        if not _is_usable(found) or found.residuals is None:
            return np.full(_residuals_of(self.accepted).size, WALL)
        return math.sqrt(self.scale) * found.residuals

    def jacobian(self, x: Vector) -> Matrix:
        """Return the scaled Jacobian, shape (m, n)."""
        found = self._evaluate(x, derivatives=True)
        if not _is_usable(found) or found.jacobian is None:
            return np.zeros((_residuals_of(self.accepted).size, x.size))
        if self.method.arrives == "derivatives":
            self.report(x)
        return math.sqrt(self.scale) * found.jacobian

    def constraint_values(self, x: Vector) -> Vector:
        """Return the values of the constraints, shape (m,); those of the accepted point where they cannot be had."""
        found = self._evaluate(x, derivatives=self._takes_both)
        known = found.constraints if _is_usable(found) else self.accepted.constraints
        return np.zeros(0) if known is None else known

    def constraint_jacobian(self, x: Vector) -> Matrix:
        """Return their derivatives, shape (m, n); those of the accepted point where they cannot be had."""
        found = self._evaluate(x, derivatives=True)
        known = found.constraint_jacobian if _is_usable(found) else self.accepted.constraint_jacobian
        return np.zeros((0, x.size)) if known is None else known

    def constraint_hessian(self, x: Vector, multipliers: Vector) -> Matrix:
        """Return the second derivatives of the weighted constraints, shape (n, n).

        Raises:
            Halt: They cannot be computed.
        """
        try:
            return self.problem.constraint_hessian(self._moved(x), multipliers)
        except EvaluationError as error:
            raise Halt(f"second derivatives of the constraints cannot be computed: {error}") from error

    # News

    def callback(self, x: Vector, *_: object) -> None:
        """Take SciPy's report of an iteration, in the form that all its methods know."""
        if self.method.arrives == "best":
            self.report(self.problem.best_x)
        elif self.method.arrives == "callback":
            self.report(x)

    def report(self, x: Vector) -> None:
        """Accept and tell that the method has arrived at a point, and see whether the run is over.

        Raises:
            Halt: It is, or SciPy has to be started again.
            Interruption: An observer asked to stop.
        """
        if self.problem.n_evaluations == self._n_seen:
            # Nothing was evaluated since the last iteration, as when trust-constr lowers its barrier.
            return
        x = self._moved(x)
        found = self._evaluate(x, derivatives=self.method.traits.needs_gradient)
        if not _is_usable(found):
            x, found = self.x, self.accepted
        is_accepted = not self._is_at(x)
        reduction = self.accepted.cost - found.cost if is_accepted else 0.0
        self._tell(x, found, is_accepted=is_accepted)
        if self.needs_restart:
            raise Halt("its state has changed")
        self._check_end(found, reduction, is_accepted=is_accepted)

    def tell_start(self) -> None:
        """Tell the start as step 0."""
        self.iteration = -1
        self._tell(self.x, self.accepted, is_accepted=True)

    def close(self) -> None:
        """Tell one more step if the best point was never arrived at: a trial of a line search, a vertex."""
        best = self.problem.best
        is_missed = (
            best.cost < self._lowest_accepted if best.constraints is None else best.is_better_than(self.accepted)
        )
        if is_missed and not self.needs_restart:
            self._tell(self.problem.best_x, best, is_accepted=True)

    def restart(self) -> None:
        """Evaluate the accepted point under its new state and begin again there."""
        again = self.problem.evaluate(self.x, self.accepted.state, derivatives=self.method.traits.needs_gradient)
        self.needs_restart = False
        if again.is_finite:
            self.problem.accept()
            self.problem.rebase(self.x, again)
            self.accepted, self._n_above = again, 0
            self._first_cost = self._lowest_accepted = again.cost
        self._last_x, self._last, self._last_key = self.x, self.accepted, self.x.tobytes()
        self._n_seen = self.problem.n_evaluations

    # Helpers

    def _tell(self, x: Vector, found: Evaluation, *, is_accepted: bool) -> None:
        self.iteration += 1
        reduction, step = self.accepted.cost - found.cost if is_accepted else 0.0, x - self.x
        if is_accepted and self.iteration > 0:
            self._accept(x, found)
        self._n_seen = self.problem.n_evaluations
        if self.problem.is_observed:
            self.problem.tell(
                x,
                cost=found.cost,
                reduction=reduction,
                step_norm=float(np.linalg.norm(step)),
                optimality=self._optimality(x, found),
                is_accepted=is_accepted,
                note=found.note,
            )

    def _accept(self, x: Vector, found: Evaluation) -> None:
        if found is self._last:
            self.problem.accept()
        else:
            self.problem.accept_best()
        self.x, self.accepted, self.needs_restart = x.copy(), found, found.is_stale
        self._lowest_accepted = min(self._lowest_accepted, found.cost)

    def _optimality(self, x: Vector, found: Evaluation) -> float:
        if found.gradient is None:
            return np.nan
        return float(np.max(np.abs(projected_gradient(x, found.gradient, self.problem.lower, self.problem.upper))))

    def _check_end(self, found: Evaluation, reduction: float, *, is_accepted: bool) -> None:
        limits = self.limits
        if found.constraints is not None:
            # On the way to where the constraints hold, the cost may rise or rest.
            if self.iteration >= limits.maxiter:
                raise Halt(f"maxiter reached: {limits.maxiter}")
            return
        self._n_above = self._n_above + 1 if self._is_diverging(found.cost) else 0
        if self._n_above >= limits.divergence_patience:
            raise Halt(
                f"diverged: the cost was above {limits.divergence_factor:g} times the first one "
                f"({self._first_cost:.6g}) in {self._n_above} iterations in a row"
            )
        size = max(abs(found.cost), abs(self.accepted.cost))
        if limits.ftol is not None and is_accepted and 0.0 <= reduction <= limits.ftol * size:
            raise Halt(f"ftol: the last step lowered the cost by {reduction:.2e}, less than {limits.ftol:g} of it")
        if self.iteration >= limits.maxiter:
            raise Halt(f"maxiter reached: {limits.maxiter}")

    def _is_diverging(self, cost: float) -> bool:
        """Whether a cost is too high; a first cost below zero is exceeded by as many times its size."""
        factor = self.limits.divergence_factor
        return factor is not None and cost > self._first_cost + (factor - 1.0) * abs(self._first_cost)

    def _is_at(self, x: Vector) -> bool:
        return x.tobytes() == self.x.tobytes()

    def _evaluate(self, x: Vector, *, derivatives: bool) -> Evaluation:
        """Return the evaluation at a point, `OUTSIDE` if the bounds forbid to make it."""
        known = self._recall(x, derivatives=derivatives)
        if known is not None:
            return known
        if not self._is_inside(x):
            inside = self._moved(x)
            return self._evaluate(inside, derivatives=derivatives) if self._is_inside(inside) else OUTSIDE
        found = self.problem.evaluate(x, self.accepted.state, derivatives=derivatives)
        self._last_x, self._last, self._last_key = x.copy(), found, x.tobytes()
        return found

    def _recall(self, x: Vector, *, derivatives: bool) -> Evaluation | None:
        """Return what is known of a point; bytes are compared faster than numbers."""
        key = x.tobytes()
        if key == self._last_key and _is_enough(self._last, derivatives=derivatives):
            return self._last
        for point, found in ((self.x, self.accepted), (self.problem.best_x, self.problem.best)):
            if key == point.tobytes() and _is_enough(found, derivatives=derivatives):
                return found
        return None

    def _moved(self, x: Vector) -> Vector:
        """Return a point with rounding beyond the bounds undone."""
        if self._is_inside(x):
            return x
        inside = np.clip(x, self.problem.lower, self.problem.upper)
        return np.where(np.abs(inside - x) <= ROUNDING * np.maximum(1.0, np.abs(x)), inside, x)

    def _is_inside(self, x: Vector) -> bool:
        # The last point was evaluated, so it is inside; the report of an iteration asks for it again.
        if x.tobytes() == self._last_key:
            return True
        return bool(np.logical_and.reduce((x >= self._lower) & (x <= self._upper)))

    def _wall(self, x: Vector) -> tuple[float, Vector, Matrix]:
        """Return a scaled cost that is too high, with the derivatives of a parabola around the accepted point."""
        away, cost = x - self.x, self.scale * self.accepted.cost
        height = self.method.lift + abs(cost)
        curvature = 2.0 * height / max(float(away @ away), np.finfo(float).tiny)
        if not self.method.traits.needs_gradient:
            cost, height = self.scale * abs(self._first_cost), CLIFF * height
        return cost + height, curvature * away, curvature * np.eye(x.size)

    def _second(self, compute: Callable[[], np.ndarray]) -> np.ndarray:
        try:
            found = self.scale * np.asarray(compute())
        except EvaluationError as error:
            raise Halt(f"second derivatives cannot be computed: {error}") from error
        if not np.isfinite(found).all():
            raise Halt("second derivatives are not finite; use a method that does without them, such as L-BFGS-B")
        return found


def cost_scale(start: Evaluation) -> float:
    """Return the factor by which SciPy sees the cost multiplied, a power of four.

    Args:
        start: The evaluation at the start.
    """
    if start.jacobian is not None:
        size = float(np.max(np.einsum("ij,ij->j", start.jacobian, start.jacobian), initial=0.0))
    elif start.gradient is not None:
        size = max(float(np.max(np.abs(start.gradient))), NEAR_END * abs(start.cost))
    else:
        size = abs(start.cost)
    return 4.0 ** -round(0.5 * math.log2(size)) if size > 0.0 and math.isfinite(size) else 1.0


def _is_enough(found: Evaluation, *, derivatives: bool) -> bool:
    return not derivatives or found.gradient is not None or found.failure is not None


def _is_usable(found: Evaluation) -> bool:
    return found.failure is None and found.is_finite


def _residuals_of(found: Evaluation) -> Vector:
    return np.zeros(0) if found.residuals is None else found.residuals
