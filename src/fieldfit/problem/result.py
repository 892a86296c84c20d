"""What a run found, in the user's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.diagnostics import Identifiability, covariance, free_variables, identifiability
from fieldfit.errors import EvaluationError
from fieldfit.parameters import Parameters
from fieldfit.problem.constraint_report import ConstraintOutcome
from fieldfit.problem.recorder import HistoryEntry, Run
from fieldfit.problem.verdict import Verdict
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True)
class ConvergenceRow:
    """How far the last accepted steps went: their number, relative changes of cost and of the largest parameter."""

    steps: int
    cost_change: float
    parameter_change: float


@dataclass(frozen=True, eq=False)
class OptimizationResult:
    """The best point of a run and what is known about it.

    SciPy's names for the same things (`x`, `fun`, `nfev`, `nit`, `jac` ...) are there as properties.

    Args:
        success: Whether the point is stationary by our own measure, whatever the solver says.
        verdict: That measure: a word, a figure, and why it is unverified or not converged.
        message: Why the run ended.
        method: Name of the optimizer.
        initial_parameters: The parameters as they started.
        final_params: Best values of all elements, physical, shape (elements,).
        initial_score: Sum of squared residuals, or the scalar, at the start.
        final_score: The same at the best point; never worse than at the start.
        n_iterations: Turns of the optimizer.
        n_evaluations: Evaluations that the optimizer made, with derivatives or without; the verdict counts its own.
        n_derivative_evaluations: Evaluations in which derivatives were asked for.
        n_difference_evaluations: Further evaluations made for finite differences.
        residuals: At the best point, shape (m,); None for a scalar objective.
        jacobian: Of the residuals with respect to the free physical parameters, shape (m, n).
        gradient: Of the cost with respect to the free physical parameters, shape (n,).
        terms: Term name to its part of the score (start, end).
        history: One entry per evaluation.
        constraints: What became of every constraint.
        tangent: Physical directions of the free parameters that active constraints leave, shape (n, k); None if there
            are no constraints.
        last_accepted: Cost and scaled variables of the last accepted points, at most six.
        jac_mode: Term name to the derivatives used: "exact", "forward differences", "central differences".
        failures: What went wrong during the run, each once.
        runs: The runs of other optimizers that this one is made of, such as starts; scaled variables.
        cycle_scores: Score after each cycle of `CyclingOptimizer`.
        seed: Of the random numbers; None if there were none.
        reason: Why this optimizer was chosen; empty if the user chose it.
        wall_time: Duration [s].
        versions: Of the programs that made it.
        state: The state of the best evaluation (relaxed geometries and the like).
    """

    success: bool
    verdict: Verdict
    message: str
    method: str
    initial_parameters: Parameters
    final_params: Vector
    initial_score: float
    final_score: float
    n_iterations: int
    n_evaluations: int
    n_derivative_evaluations: int
    n_difference_evaluations: int
    residuals: Vector | None
    jacobian: Matrix | None
    gradient: Vector | None
    terms: Mapping[str, tuple[float, float]]
    history: tuple[HistoryEntry, ...]
    constraints: tuple[ConstraintOutcome, ...] = ()
    tangent: Matrix | None = None
    last_accepted: tuple[tuple[float, Vector], ...] = ()
    jac_mode: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()
    cycle_scores: tuple[float, ...] = ()
    seed: int | None = None
    reason: str = ""
    wall_time: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    state: object = None

    @property
    def optimality(self) -> float:
        """First-order optimality of the best point; see `Verdict`."""
        return self.verdict.optimality

    @property
    def violation(self) -> float:
        """How far the worst constraint is outside its limits, in its own unit; 0 if all hold."""
        return max((entry.violation for entry in self.constraints), default=0.0)

    @property
    def multipliers(self) -> dict[str, np.ndarray]:
        """Constraint name to the multipliers of its rows; see `ConstraintOutcome`."""
        return {entry.name: entry.multipliers for entry in self.constraints}

    @property
    def initial_params(self) -> Vector:
        """Start values of all elements, physical, shape (elements,)."""
        return self.initial_parameters.flat

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters with the best values as their values."""
        return self.initial_parameters.replace(self.initial_parameters.split(self.final_params))

    @property
    def convergence(self) -> tuple[ConvergenceRow, ...]:
        """How far the last one and the last five accepted steps went."""
        points, rows = self.last_accepted, []
        for steps in (1, 5):
            if len(points) > steps:
                (before, x_before), (after, x_after) = points[-1 - steps], points[-1]
                rows.append(ConvergenceRow(steps, _relative(before, after), _relative(x_before, x_after)))
        return tuple(rows)

    @property
    def x(self) -> Any:
        """Best parameters in physical units, in the structure in which they were given: by name, or nested."""
        return self.initial_parameters.tree(self.final_params)

    @property
    def fun(self) -> float:
        """The scalar score."""
        return self.final_score

    @property
    def cost(self) -> float:
        """Half the sum of squares, or the scalar."""
        return self.final_score if self.residuals is None else 0.5 * self.final_score

    @property
    def jac(self) -> np.ndarray | None:
        """Jacobian of the residuals, or the gradient of a scalar objective."""
        return self.gradient if self.jacobian is None else self.jacobian

    @property
    def nit(self) -> int:
        """Number of iterations."""
        return self.n_iterations

    @property
    def nfev(self) -> int:
        """Number of evaluations."""
        return self.n_evaluations

    @property
    def njev(self) -> int:
        """Number of evaluations with derivatives."""
        return self.n_derivative_evaluations

    @property
    def status(self) -> int:
        """0 for success, 1 otherwise."""
        return 0 if self.success else 1

    @property
    def improvement(self) -> float:
        """Fraction of the initial score that was removed: 0 none, 1 all of a sum of squares."""
        return (self.initial_score - self.final_score) / abs(self.initial_score) if self.initial_score else 0.0

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the free parameters, in the order of the columns of `jacobian`."""
        return self.initial_parameters.space.labels

    @cached_property
    def is_at_bound(self) -> np.ndarray:
        """Whether each free parameter is held by a bound at the solution, shape (n,)."""
        space = self.parameters.space
        slopes = space.slopes(space.start)
        gradient = self.gradient if self.gradient is not None else np.zeros(space.size)
        curvature = None if self.jacobian is None else np.sum((self.jacobian * slopes) ** 2, axis=0)
        return ~free_variables(space.start, gradient * slopes, space.lower, space.upper, curvature=curvature)

    def covariance(self) -> Matrix:
        """Return the covariance of the free parameters in physical units, shape (n, n).

        Raises:
            EvaluationError: The objective has no residuals.
        """
        jacobian, residuals = self._least_squares("A covariance")
        if self.tangent is None:
            return covariance(jacobian, residuals, ~self.is_at_bound)
        along = covariance(jacobian @ self.tangent, residuals, np.ones(self.tangent.shape[1], dtype=bool))
        return self.tangent @ along @ self.tangent.T

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard error of each free parameter by label; infinite where the data do not determine it."""
        return dict(zip(self.labels, np.sqrt(np.diag(self.covariance())).tolist(), strict=True))

    def identifiability(self) -> Identifiability:
        """Return which combinations of the free parameters the data determine.

        Raises:
            EvaluationError: The objective has no residuals.
        """
        jacobian, _ = self._least_squares("Identifiability")
        return identifiability(jacobian, self.labels)

    def summary(self) -> str:
        """Write the outcome in several lines that a person can read."""
        extra = {"for differences": self.n_difference_evaluations, "for the verdict": self.verdict.n_evaluations}
        further = "".join(f", {count} more {what}" for what, count in extra.items() if count)
        lines = [
            f"{self.method}: {self.verdict.word} - {self.message}",
            f"  score        {self.initial_score:.6g} -> {self.final_score:.6g} "
            f"({100.0 * self.improvement:.1f} % gone)",
            f"  iterations   {self.n_iterations}, evaluations {self.n_evaluations} "
            f"({self.n_derivative_evaluations} with derivatives{further}), {self.wall_time:.3g} s",
            f"  optimality   {self.optimality:.2e}{f' ({self.verdict.reason})' if self.verdict.reason else ''}",
        ]
        lines += [
            f"  last {row.steps} step{'s' if row.steps > 1 else ' '}  score changed by {row.cost_change:.1e} of it, "
            f"parameters by {row.parameter_change:.1e}"
            for row in self.convergence
        ]
        modes = {name: mode for name, mode in self.jac_mode.items() if mode != "exact"}
        lines += [f"  derivatives  {name}: {mode}" for name, mode in modes.items()]
        lines += [f"  chosen       {self.reason}"] if self.reason else []
        lines += [f"  seed         {self.seed}"] if self.seed is not None else []
        lines += [f"  {name:24s} {start:12.6g} -> {end:.6g}" for name, (start, end) in self.terms.items()]
        lines += [f"  constraint   {entry}" for entry in self.constraints]
        lines += [f"  failed       {failure}" for failure in self.failures]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.summary()

    def _least_squares(self, what: str) -> tuple[Matrix, Vector]:
        if self.jacobian is None or self.residuals is None:
            raise EvaluationError(f"{what} needs residuals, but the objective is a scalar. Give it as residuals.")
        return self.jacobian, self.residuals


def _relative(before: float | Vector, after: float | Vector) -> float:
    size = float(np.max(np.abs(before)))
    change = float(np.max(np.abs(np.subtract(after, before))))
    return change / size if size > 0.0 else 0.0 if change == 0.0 else np.inf
