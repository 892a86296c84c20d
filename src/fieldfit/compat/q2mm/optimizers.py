"""Optimizers by Q2MM's names and signatures, over the native ones.

They take an `ObjectiveFunction` of this package, whose force field then has the fitted values, or any objective or
problem of fieldfit, of which nothing is changed: the fitted values are in the result. What is different from Q2MM,
because it is better so: `success` is a verdict of our own; steps and perturbations are in units of each parameter's
scale; bounds that a method cannot take are an error instead of being ignored, unless `use_bounds=False` frees the
parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.compat.q2mm.objective import ObjectiveFunction
from fieldfit.execution import ExecutorChoice
from fieldfit.objectives import AbstractObjective
from fieldfit.objectives.surrogate import RATIO_TOLERANCE
from fieldfit.optimizers import OPTIMIZERS
from fieldfit.optimizers.cycling import CyclingOptimizer
from fieldfit.optimizers.names import ALIASES, make_optimizer
from fieldfit.optimizers.scipy import METHODS
from fieldfit.problem import AbstractOptimizer, Observer, OptimizationResult, Problem
from fieldfit.reporting import ProgressLine

EPS = 1e-3
"""Q2MM's step of differences, in units of the scales."""

TOLERANCES = {"Nelder-Mead": ("ftol", "xtol"), "Powell": ("ftol", "xtol"), "trust-constr": ("gtol",)}
"""What Q2MM's `ftol` is for the methods that have other tests."""

OUTSIDE_GRAPH = {"lm": "least-squares", "gauss_newton": "least-squares"}
"""What runs outside of the graph in place of a method of `JaxOptimizer`; L-BFGS-B for the others."""


class AbstractFront(ABC):
    """An optimizer by Q2MM's name and signature; `verbose` prints each step."""

    verbose: bool

    @property
    @abstractmethod
    def native(self) -> AbstractOptimizer:
        """The optimizer it stands for."""

    def native_for(self, problem: Problem) -> AbstractOptimizer:
        """Return the optimizer that runs on a problem; `native` unless it cannot."""
        return self.native

    def __post_init__(self) -> None:
        # Options are checked where they are given, not where the run begins.
        _ = self.native

    def optimize(
        self,
        objective: AbstractObjective | Problem,
        *,
        observers: Sequence[Observer] = (),
        executor: ExecutorChoice = None,
    ) -> OptimizationResult:
        """Run to the end; see `AbstractOptimizer.optimize`.

        An `ObjectiveFunction` of this package takes the result: its force field has the fitted values.
        """
        given = Problem(objective) if isinstance(objective, AbstractObjective) else objective
        problem = with_exact_derivatives(self, given if keeps_bounds(self) else without_bounds(given))
        heard = (*observers, ProgressLine()) if self.verbose else observers
        result = self.native_for(problem).optimize(problem, observers=heard, executor=executor)
        if isinstance(given.objective, ObjectiveFunction):
            given.objective.take(result)
        return result


@dataclass(frozen=True)
class ScipyOptimizer(AbstractFront):
    """A method of SciPy with Q2MM's defaults; see `fieldfit.ScipyOptimizer`.

    `jac=None` takes finite differences with the step `eps`; "auto" is exact and faster. With an engine that has no
    derivatives with respect to parameters, "auto" takes those of the JAX engine if both score the start alike:
    `ratio_tol` says how far the ratio of the scores may be from one, None that it may be anything. "analytical" is the
    same, but refuses differences.

    Example:
        >>> import fieldfit
        >>> from fieldfit.compat.q2mm import ScipyOptimizer
        >>> objective = fieldfit.ScalarObjective(lambda p: (p["x"] - 3.0) ** 2, {"x": 1.0})
        >>> round(float(ScipyOptimizer(jac="auto", verbose=False).optimize(objective).x["x"]), 4)
        3.0
    """

    method: str = "L-BFGS-B"
    maxiter: int = 500
    ftol: float = 1e-8
    eps: float = EPS
    use_bounds: bool = True
    verbose: bool = True
    jac: str | None = None
    divergence_factor: float | None = 3.0
    divergence_patience: int = 5
    ratio_tol: float | None = 0.15
    options: Mapping[str, Any] | None = None

    @property
    def native(self) -> AbstractOptimizer:
        names = ("maxiter", "jac", "eps", "divergence_factor", "divergence_patience")
        chosen = {name: getattr(self, name) for name in names}
        chosen |= dict.fromkeys(TOLERANCES.get(self.method, ("ftol",)), self.ftol)
        return OPTIMIZERS["scipy"](self.method, options=self.options or {}, **chosen)


@dataclass(frozen=True)
class JaxOptOptimizer(AbstractFront):
    """L-BFGS and others in one compiled program; see `fieldfit.JaxOptimizer`. It does not need jaxopt.

    A molecule that is relaxed, as for bond lengths and wavenumbers at the minimum, takes a number of steps that no
    compiled program knows beforehand, so that JAX cannot trace such an objective. The method then runs outside of the
    graph, with the same exact derivatives: L-BFGS-B of SciPy, or `LeastSquaresOptimizer` for "lm" and "gauss_newton".
    """

    method: str = "lbfgs"
    maxiter: int = 200
    tol: float = 1e-6
    verbose: bool = True

    @property
    def native(self) -> AbstractOptimizer:
        return OPTIMIZERS["jax"](self.method, maxiter=self.maxiter, tol=self.tol)

    def native_for(self, problem: Problem) -> AbstractOptimizer:
        return self.native if problem.objective.traits.is_traceable else outside_graph(self.method, self.maxiter)


@dataclass(frozen=True)
class OptaxOptimizer(AbstractFront):
    """A first-order method of optax; see `fieldfit.OptaxOptimizer`. Learning rates are in units of the scales."""

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    max_steps: int = 1000
    ftol: float = 1e-8
    patience: int = 20
    schedule: str | None = None
    use_bounds: bool = True
    verbose: bool = True

    @property
    def native(self) -> AbstractOptimizer:
        chosen = {name: getattr(self, name) for name in ("learning_rate", "max_steps", "patience", "schedule")}
        return OPTIMIZERS["optax"](self.optimizer, min_improvement=self.ftol, **chosen)


@dataclass(frozen=True)
class MultiStartOptimizer(AbstractFront):
    """Any optimizer from several starts; see `fieldfit.MultiStartOptimizer`."""

    optimizer: AbstractFront | AbstractOptimizer
    n_starts: int = 10
    perturbation_pct: float = 0.1
    seed: int | None = None
    verbose: bool = True

    @property
    def native(self) -> AbstractOptimizer:
        return self._around(self.optimizer.native if isinstance(self.optimizer, AbstractFront) else self.optimizer)

    def native_for(self, problem: Problem) -> AbstractOptimizer:
        inner = self.optimizer
        return self._around(inner.native_for(problem) if isinstance(inner, AbstractFront) else inner)

    def _around(self, inner: AbstractOptimizer) -> AbstractOptimizer:
        return OPTIMIZERS["multi-start"](inner, self.n_starts, self.perturbation_pct, self.seed)


@dataclass(frozen=True)
class BasinHoppingOptimizer(AbstractFront):
    """Hops between basins; see `fieldfit.BasinHoppingOptimizer`.

    `T` is relative to the score and `stepsize` in units of the search, so their defaults are not Q2MM's.
    """

    niter: int = 50
    T: float = 0.02
    stepsize: float = 1.0
    local_method: str = "L-BFGS-B"
    local_maxiter: int = 200
    jac: str | None = "auto"
    seed: int | None = None
    verbose: bool = True

    @property
    def native(self) -> AbstractOptimizer:
        chosen = {name: getattr(self, name) for name in ("niter", "T", "stepsize", "seed")}
        local = optimizer_named(self.local_method, maxiter=self.local_maxiter, jac=self.jac)
        return OPTIMIZERS["basin-hopping"](optimizer=local, **chosen)


@dataclass(frozen=True)
class OptimizationLoop(AbstractFront):
    """Passes over all parameters and over the most sensitive few, in turn; see `fieldfit.CyclingOptimizer`.

    `full_method` is a method of SciPy, "least-squares", "jaxopt:lbfgs", "optax:adam", or "multi:" or "basinhopping:"
    with another name after it. The limits on iterations are those of the innermost optimizer. `full_jac=None` takes
    finite differences, as in Q2MM.

    Example:
        >>> import fieldfit
        >>> from fieldfit.compat.q2mm import OptimizationLoop
        >>> objective = fieldfit.FunctionObjective(lambda p: p["a"] - 2.0 * p["b"], {"a": 1.0, "b": 1.0})
        >>> result = OptimizationLoop(objective, full_method="least-squares", verbose=False).run()
        >>> result.final_score < 1e-12, len(result.cycle_scores)
        (True, 1)
    """

    objective: AbstractObjective | Problem
    max_params: int = 3
    max_cycles: int = 10
    convergence: float = 0.01
    full_method: str = "L-BFGS-B"
    simp_method: str = "Nelder-Mead"
    full_maxiter: int = 200
    simp_maxiter: int = 200
    sensitivity_metric: str = "simp_var"
    full_jac: str | None = None
    verbose: bool = True

    @property
    def native(self) -> CyclingOptimizer:
        objective = self.objective.objective if isinstance(self.objective, Problem) else self.objective
        in_graph = objective.traits.is_traceable
        full = optimizer_named(self.full_method, maxiter=self.full_maxiter, jac=self.full_jac, in_graph=in_graph)
        simplex = optimizer_named(self.simp_method, maxiter=self.simp_maxiter, jac="auto", in_graph=in_graph)
        return CyclingOptimizer(
            full, simplex, self.max_params, self.max_cycles, self.convergence, self.sensitivity_metric
        )

    def run(self) -> OptimizationResult:
        """Run to the end; the result has the score after each cycle in `cycle_scores`."""
        return self.optimize(self.objective)


def keeps_bounds(optimizer: AbstractFront | AbstractOptimizer) -> bool:
    """Whether an optimizer, or the one inside it, keeps to the bounds of the parameters."""
    if isinstance(optimizer, MultiStartOptimizer):
        return keeps_bounds(optimizer.optimizer)
    return optimizer.use_bounds if isinstance(optimizer, ScipyOptimizer | OptaxOptimizer) else True


def with_exact_derivatives(optimizer: AbstractFront | AbstractOptimizer, problem: Problem) -> Problem:
    """Return a problem with the derivatives of the JAX engine if exact ones are wanted and its own engine has none."""
    if isinstance(optimizer, MultiStartOptimizer):
        return with_exact_derivatives(optimizer.optimizer, problem)
    ratio_tol: float | None = RATIO_TOLERANCE
    if isinstance(optimizer, ScipyOptimizer):
        jac, ratio_tol = optimizer.jac, optimizer.ratio_tol
    elif isinstance(optimizer, BasinHoppingOptimizer):
        jac = optimizer.jac
    elif isinstance(optimizer, OptimizationLoop):
        jac = optimizer.full_jac
    else:
        return problem
    if jac is None or not isinstance(problem.objective, ObjectiveFunction):
        return problem
    return Problem(problem.objective.with_exact_derivatives(ratio_tol), problem.parameters)


def without_bounds(problem: Problem) -> Problem:
    """Return a problem whose parameters have no bounds."""
    return Problem(problem.objective, problem.parameters.bound("*", -np.inf, np.inf), state=problem.state)


def outside_graph(method: str, maxiter: int) -> AbstractOptimizer:
    """Return what does the same as a method of `JaxOptimizer`, for an objective that JAX cannot trace."""
    return OPTIMIZERS[OUTSIDE_GRAPH.get(method, "scipy")](maxiter=maxiter)


def optimizer_named(name: str, *, maxiter: int, jac: str | None, in_graph: bool = True) -> AbstractOptimizer:
    """Make an optimizer from its name, see `OptimizationLoop`, with Q2MM's options for the innermost one.

    Args:
        name: Its name.
        maxiter: Limit on the iterations of the innermost optimizer.
        jac: Derivatives that SciPy's methods take.
        in_graph: Whether JAX can trace the objective.

    Raises:
        SettingsError: There is no such optimizer.
    """
    given, _, rest = name.partition(":")
    family = ALIASES.get(given, given)
    if family in ("multi-start", "basin-hopping") and rest:
        return make_optimizer(family, optimizer=optimizer_named(rest, maxiter=maxiter, jac=jac, in_graph=in_graph))
    if family == "jax" and not in_graph:
        return outside_graph(OPTIMIZERS["jax"](rest).method, maxiter)
    if family == "optax":
        return make_optimizer(name, max_steps=maxiter)
    if family == "scipy" or name in METHODS:
        return make_optimizer(name, maxiter=maxiter, jac=jac, eps=EPS)
    return make_optimizer(name, maxiter=maxiter)
