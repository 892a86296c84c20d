"""What a run found, in the user's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fieldfit.diagnostics import Identifiability, covariance, free_variables, identifiability
from fieldfit.errors import EvaluationError
from fieldfit.parameters import Parameters, ParameterSpace
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True)
class HistoryEntry:
    """One evaluation: its number, the cost it gave, whether the point was accepted, whether derivatives were made."""

    evaluation: int
    cost: float
    is_accepted: bool
    has_derivatives: bool


@dataclass(frozen=True, eq=False)
class OptimizationResult:
    """The best point of a run and what is known about it.

    SciPy's names for the same things (`x`, `fun`, `nfev`, `nit`, `jac` ...) are there as properties.

    Args:
        success: Whether the point is stationary by our own measure (scaled projected gradient, finite values),
            whatever the solver says.
        message: Why the run ended.
        method: Name of the optimizer.
        parameters: The parameters with the best values as their values.
        initial_parameters: The parameters as they started.
        initial_score: Sum of squared residuals, or the scalar, at the start.
        final_score: The same at the best point; never worse than at the start.
        n_iterations: Turns of the optimizer.
        n_evaluations: Evaluations without derivatives asked for, and with.
        n_derivative_evaluations: Evaluations in which derivatives were asked for.
        optimality: Relative first-order optimality of the best point: predicted fraction of the cost that a full
            Gauss-Newton step would gain, or the largest scaled projected gradient of a scalar objective.
        residuals: At the best point, shape (m,); None for a scalar objective.
        jacobian: Of the residuals with respect to the free physical parameters, shape (m, n).
        gradient: Of the cost with respect to the free physical parameters, shape (n,).
        terms: Term name to its part of the score (start, end).
        history: One entry per evaluation.
        failures: What went wrong during the run, each once.
        wall_time: Duration [s].
        versions: Of the programs that made it.
        state: The state of the best evaluation (relaxed geometries and the like).
    """

    success: bool
    message: str
    method: str
    parameters: Parameters
    initial_parameters: Parameters
    initial_score: float
    final_score: float
    n_iterations: int
    n_evaluations: int
    n_derivative_evaluations: int
    optimality: float
    residuals: Vector | None
    jacobian: Matrix | None
    gradient: Vector | None
    terms: Mapping[str, tuple[float, float]]
    history: tuple[HistoryEntry, ...]
    failures: tuple[str, ...] = ()
    wall_time: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    state: object = None

    @property
    def x(self) -> Any:
        """Best parameters in physical units, in the structure in which they were given: by name, or nested."""
        return self.parameters.tree(self.parameters.flat)

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
        return ParameterSpace(self.parameters).labels

    @cached_property
    def is_at_bound(self) -> np.ndarray:
        """Whether each free parameter is held by a bound at the solution, shape (n,)."""
        space = ParameterSpace(self.parameters)
        gradient = self.gradient if self.gradient is not None else np.zeros(space.size)
        curvature = None if self.jacobian is None else np.sum((self.jacobian * space.scale) ** 2, axis=0)
        return ~free_variables(space.start, gradient * space.scale, space.lower, space.upper, curvature=curvature)

    def covariance(self) -> Matrix:
        """Return the covariance of the free parameters in physical units, shape (n, n).

        Raises:
            EvaluationError: The objective has no residuals.
        """
        jacobian, residuals = self._least_squares("A covariance")
        return covariance(jacobian, residuals, ~self.is_at_bound)

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
        lines = [
            f"{self.method}: {'converged' if self.success else 'not converged'} - {self.message}",
            f"  score        {self.initial_score:.6g} -> {self.final_score:.6g} "
            f"({100.0 * self.improvement:.1f} % gone)",
            f"  iterations   {self.n_iterations}, evaluations {self.n_evaluations} "
            f"({self.n_derivative_evaluations} with derivatives), {self.wall_time:.3g} s",
            f"  optimality   {self.optimality:.2e}",
        ]
        lines += [f"  {name:24s} {start:12.6g} -> {end:.6g}" for name, (start, end) in self.terms.items()]
        lines += [f"  failed       {failure}" for failure in self.failures]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.summary()

    def _least_squares(self, what: str) -> tuple[Matrix, Vector]:
        if self.jacobian is None or self.residuals is None:
            raise EvaluationError(f"{what} needs residuals, but the objective is a scalar. Give it as residuals.")
        return self.jacobian, self.residuals
