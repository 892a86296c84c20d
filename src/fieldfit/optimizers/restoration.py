"""The point nearby that violates constraints least.

The squared violations, each in units of the length of its gradient at the start, are minimised within the bounds as the
sum of squares they are. Where that ends at zero, an optimizer can begin again from a feasible point; where it ends
above, the constraints that are violated there cannot hold together nearby, and the verdict names them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fieldfit.objectives import Evaluation
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.problem import AbstractVectorProblem, Recorder, run_part
from fieldfit.typing import Matrix, Vector


class ViolationProblem(AbstractVectorProblem):
    """The violations of constraints as residuals, without the objective, as a problem without constraints.

    Args:
        problem: The constrained problem; every evaluation is one of its own.
        x0: Start, inside the bounds, shape (n,).
        start: Evaluation of the constrained problem there, with derivatives.
    """

    def __init__(self, problem: Recorder, x0: Vector, start: Evaluation) -> None:
        self.x0, self.lower, self.upper, self.labels = x0, problem.lower, problem.upper, problem.labels
        self.constraints, self.is_traceable, self.is_noisy = None, False, problem.is_noisy
        self.has_residuals, self.has_derivatives = True, problem.has_derivatives
        self.outer, self._start = problem, start
        rows = np.zeros((0, x0.size)) if start.constraint_jacobian is None else start.constraint_jacobian
        lengths = np.linalg.norm(rows, axis=1)
        self._units: Vector = np.where(lengths > 0.0, lengths, 1.0)

    def initial_state(self) -> Evaluation:
        """Return the evaluation of the constrained problem at the start."""
        return self._start

    def evaluate(self, x: Vector, state: Evaluation, *, derivatives: bool = True) -> Evaluation:
        """Evaluate the violations; see `VectorProblem.evaluate`.

        Raises:
            Interruption: A budget of the constrained problem is spent.
        """
        return self.violations(self.outer.evaluate(x, state.state, derivatives=derivatives))

    def violations(self, found: Evaluation) -> Evaluation:
        """Return the evaluation of the violations that belongs to one of the constrained problem."""
        values, limits = found.constraints, self.outer.constraints
        if found.failure or values is None or limits is None or not np.isfinite(values).all():
            return Evaluation(np.nan, state=found, failure=found.failure or "a constraint is not finite")
        outside = (values - np.clip(values, limits.lower, limits.upper)) / self._units
        jacobian: Matrix | None = None
        if found.constraint_jacobian is not None:
            is_pushing = (outside != 0.0) | limits.is_equality
            jacobian = (is_pushing / self._units)[:, None] * found.constraint_jacobian
        return evaluation_from_residuals(outside, jacobian, state=found, n_differences=found.n_differences)

    def values(self, x: Vector) -> Any:
        return self.outer.problem.values(x)

    def describe(self, x: Vector) -> str:
        return self.outer.problem.describe(x)


def restore(problem: Recorder) -> bool:
    """Move the best point of a run to one nearby that violates the constraints least.

    Args:
        problem: The run so far; its best point violates constraints.

    Returns:
        Whether the constraints hold there.

    Raises:
        Interruption: A budget is spent.
    """
    x, best = problem.best_x, problem.best
    if best.constraint_jacobian is None:
        best = problem.evaluate(x, best.state)
    if best.constraint_jacobian is None or not best.is_finite:
        return False
    inner = ViolationProblem(problem, x, best)
    run = run_part(LeastSquaresOptimizer(ftol=1e-14), Recorder(inner), x, inner.violations(best))
    found = run.best.state
    if run.failure or not isinstance(found, Evaluation) or not found.is_finite:
        return False
    problem.rebase(run.x, found)
    return found.violation <= 1.0
