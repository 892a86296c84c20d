"""Q2MM's names and signatures for optimizers, over the native ones.

Any objective of fieldfit takes the place of Q2MM's. What is different, because it is better so: nothing is changed in
place, so that the fitted values are in the result (`result.x`, `result.final_params`) and not in the objective's force
field; `success` is a verdict of our own; steps and perturbations are in units of each parameter's scale; bounds that a
method cannot take are an error instead of being ignored, unless `use_bounds=False` frees the parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.execution import ExecutorChoice
from fieldfit.forcefield.initial_guess import estimate_force_constants
from fieldfit.objectives import AbstractObjective
from fieldfit.optimizers import OPTIMIZERS
from fieldfit.optimizers.cycling import CyclingOptimizer
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.optimizers.names import ALIASES, make_optimizer
from fieldfit.optimizers.scipy import METHODS
from fieldfit.problem import AbstractOptimizer, Observer, OptimizationResult, Problem
from fieldfit.problem.sensitivity import compute_sensitivity
from fieldfit.reporting import ProgressLine

__all__ = [
    "BasinHoppingOptimizer",
    "JaxOptOptimizer",
    "LeastSquaresOptimizer",
    "MultiStartOptimizer",
    "OptaxOptimizer",
    "OptimizationLoop",
    "OptimizationResult",
    "ScipyOptimizer",
    "compute_sensitivity",
    "estimate_force_constants",
]

EPS = 1e-3
"""Q2MM's step of differences, in units of the scales."""

TOLERANCES = {"Nelder-Mead": ("ftol", "xtol"), "Powell": ("ftol", "xtol"), "trust-constr": ("gtol",)}
"""What Q2MM's `ftol` is for the methods that have other tests."""


class AbstractFront(ABC):
    """An optimizer by Q2MM's name and signature; `verbose` prints each step."""

    verbose: bool

    @property
    @abstractmethod
    def native(self) -> AbstractOptimizer:
        """The optimizer it stands for."""

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
        """Run to the end; see `AbstractOptimizer.optimize`."""
        given = Problem(objective) if isinstance(objective, AbstractObjective) else objective
        problem = given if keeps_bounds(self) else without_bounds(given)
        heard = (*observers, ProgressLine()) if self.verbose else observers
        return self.native.optimize(problem, observers=heard, executor=executor)


@dataclass(frozen=True)
class ScipyOptimizer(AbstractFront):
    """A method of SciPy with Q2MM's defaults; see `fieldfit.ScipyOptimizer`.

    `jac=None` takes finite differences with the step `eps`; "auto" is exact and faster. `ratio_tol` compared two
    implementations of one objective in Q2MM; there is only one here, so it has no effect.

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
    """L-BFGS and others in one compiled program; see `fieldfit.JaxOptimizer`. It does not need jaxopt."""

    method: str = "lbfgs"
    maxiter: int = 200
    tol: float = 1e-6
    verbose: bool = True

    @property
    def native(self) -> AbstractOptimizer:
        return OPTIMIZERS["jax"](self.method, maxiter=self.maxiter, tol=self.tol)


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
        inner = self.optimizer.native if isinstance(self.optimizer, AbstractFront) else self.optimizer
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
        full = optimizer_named(self.full_method, maxiter=self.full_maxiter, jac=self.full_jac)
        simplex = optimizer_named(self.simp_method, maxiter=self.simp_maxiter, jac="auto")
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


def without_bounds(problem: Problem) -> Problem:
    """Return a problem whose parameters have no bounds."""
    return Problem(problem.objective, problem.parameters.bound("*", -np.inf, np.inf), state=problem.state)


def optimizer_named(name: str, *, maxiter: int, jac: str | None) -> AbstractOptimizer:
    """Make an optimizer from its name, see `OptimizationLoop`, with Q2MM's options for the innermost one."""
    given, _, rest = name.partition(":")
    family = ALIASES.get(given, given)
    if family in ("multi-start", "basin-hopping") and rest:
        return make_optimizer(family, optimizer=optimizer_named(rest, maxiter=maxiter, jac=jac))
    if family == "optax":
        return make_optimizer(name, max_steps=maxiter)
    if family == "scipy" or name in METHODS:
        return make_optimizer(name, maxiter=maxiter, jac=jac, eps=EPS)
    return make_optimizer(name, maxiter=maxiter)
