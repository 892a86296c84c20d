"""SciPy's optimizers behind the common contract.

Each method gets what it can use: exact gradients, Jacobians, Hessians and their products, bounds. The table of methods
is in the module `scipy_methods`, what SciPy asks and is told in `scipy_dialogue`, its messages in `scipy_messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.optimize

from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.kkt_polish import polish, snap_to_bounds
from fieldfit.optimizers.scipy_constraints import scipy_constraints
from fieldfit.optimizers.scipy_dialogue import Dialogue, Halt, Limits
from fieldfit.optimizers.scipy_messages import caught_warnings, explained
from fieldfit.optimizers.scipy_methods import METHODS
from fieldfit.problem import AbstractOptimizer, DerivativeOptions, Outcome, Recorder, Traits
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

__all__ = ["METHODS", "ScipyOptimizer"]

EVALUATIONS_PER_ITERATION = 100
"""SciPy's own limits are set this many times higher than `maxiter`: they end what makes no progress at all."""

INTERIOR = (1e-2, 1e-1, 3e-1)
"""trust-constr starts at least this far from a bound, in units of the scales, or of the distance between two bounds:
its barrier would hold it there. Where it ends before the constraints are met, it starts again farther away."""

SIMPLEX_EDGE = 0.05
"""Edges of the first simplex of Nelder-Mead, in units of the scales or of the variables if those are larger."""

WITHOUT_EQUAL_BOUNDS = ("Nelder-Mead", "Powell", "COBYLA", "trust-constr", "least_squares", "trf", "dogbox")


@dataclass(frozen=True)
class ScipyOptimizer(AbstractOptimizer):
    """A method of `scipy.optimize` with exact derivatives.

    What the tolerances mean does not depend on the unit of the objective, see the module `scipy_dialogue`, and lengths
    are in units of each parameter's scale. Each method heeds those that it has a test for; the message says which one
    ended the run. `success` of the result is a verdict of its own.

    Args:
        method: Of `scipy.optimize.minimize`: "Nelder-Mead", "Powell", "COBYLA", "COBYQA" (values only), "CG", "BFGS",
            "L-BFGS-B", "TNC", "SLSQP" (with gradient), "Newton-CG", "trust-constr", "dogleg", "trust-ncg",
            "trust-exact", "trust-krylov" (with second derivatives); for residuals "trf", "dogbox", "lm",
            "least_squares" (the same as "trf").
        maxiter: Most iterations; with COBYQA most evaluations.
        ftol: Relative reduction of the cost by one step that ends the run. Tested between iterations; Powell and the
            methods on residuals test it themselves, Nelder-Mead the spread of its simplex relative to the first cost,
            COBYLA, COBYQA and trust-constr do without. None: never.
        xtol: Size of a step, trust region or simplex that ends the run: Nelder-Mead, Powell, COBYLA, COBYQA, TNC,
            Newton-CG, trust-constr and the methods on residuals. None: never.
        gtol: Largest element of the projected scaled gradient that ends the run, for methods with gradient but
            Newton-CG and SLSQP. None: never.
        jac: "auto": exact derivatives per term where it has them, differences for the rest. "analytical": exact ones
            only. None: differences throughout.
        fd_method: Differences are "forward" or "central".
        eps: Step of differences in units of each parameter's scale; None: the one that suits rounding.
        divergence_factor: Stop when the cost exceeds the first one by this factor in several iterations in a row. A
            first cost below zero is exceeded where the rise is that many times its magnitude, less one. None: never.
        divergence_patience: How many in a row.
        options: Further options of the method, by SciPy's names.

    Raises:
        SettingsError: No method or option has that name, or an option has a value it cannot have.

    Example:
        >>> import fieldfit
        >>> objective = fieldfit.ScalarObjective(lambda p: (p["x"] - 3.0) ** 2, {"x": 0.0})
        >>> result = fieldfit.ScipyOptimizer("L-BFGS-B").optimize(objective)
        >>> round(float(result.x["x"]), 6)
        3.0
    """

    method: str = "L-BFGS-B"
    maxiter: int = 500
    ftol: float | None = 1e-13
    xtol: float | None = 1e-9
    gtol: float | None = 1e-12
    jac: str | None = "auto"
    fd_method: str = "forward"
    eps: float | None = None
    divergence_factor: float | None = 3.0
    divergence_patience: int = 5
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingsError(unknown_name("method of ScipyOptimizer", self.method, METHODS))
        self._check_tolerances()
        self._check_limits()
        known = METHODS[self.method].known_options
        for name in self.options:
            if name not in known:
                raise SettingsError(unknown_name(f"option of {self.method}", name, known))
        DerivativeOptions(self.jac, self.fd_method, self.eps)

    @property
    def name(self) -> str:
        return f"scipy-{self.method}"

    @property
    def traits(self) -> Traits:
        return METHODS[self.method].traits

    @property
    def derivative_options(self) -> DerivativeOptions:
        return DerivativeOptions(self.jac, self.fd_method, self.eps)

    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        self._check_problem(problem, start)
        dialogue = Dialogue(problem, start, METHODS[self.method], self._limits)
        dialogue.tell_start()
        is_over = False
        message, n_runs = "", 0
        while not is_over:
            if dialogue.needs_restart:
                dialogue.restart()
            first_cost = dialogue.accepted.cost
            message, is_over = self._solve(dialogue, n_runs)
            n_runs += 1
            is_over = is_over or not self._begins_again(dialogue, first_cost, n_runs)
        if problem.constraints is not None and self.traits.needs_gradient:
            message += polish(problem)
        elif self.method == "trust-constr":
            message += snap_to_bounds(problem)
        return Outcome(message, max(dialogue.iteration, problem.iteration))

    def _solve(self, dialogue: Dialogue, n_runs: int) -> tuple[str, bool]:
        """Run SciPy once more; return why it ended and whether that was from outside."""
        is_halted = False
        with caught_warnings() as texts:
            try:
                message = (
                    self._least_squares(dialogue) if self.traits.needs_residuals else self._minimize(dialogue, n_runs)
                )
            except Halt as halt:
                message, is_halted = str(halt), not dialogue.needs_restart
        dialogue.close()
        message = explained(message, texts, met=", ".join(METHODS[self.method].tolerances))
        return message, is_halted or dialogue.iteration >= self.maxiter

    def _begins_again(self, dialogue: Dialogue, first_cost: float, n_runs: int) -> bool:
        """Whether SciPy is started again.

        The residuals mean something new, a clipped simplex may have gone flat, or a barrier held the variables at their
        bounds before the constraints were met.
        """
        if dialogue.needs_restart:
            return True
        if self.method == "trust-constr" and n_runs < len(INTERIOR):
            return dialogue.problem.best.violation > 1.0
        cost = dialogue.accepted.cost
        is_flat = self.method == "Nelder-Mead" and _is_bounded(dialogue.problem)
        return is_flat and first_cost - cost > (self.ftol or 0.0) * max(abs(first_cost), abs(cost))

    def _minimize(self, dialogue: Dialogue, n_runs: int) -> str:
        method, problem = METHODS[self.method], dialogue.problem
        how: dict[str, Any] = {}
        if method.traits.needs_gradient:
            how["jac"] = dialogue.gradient
        if method.second == "hess":
            how["hess"] = dialogue.hessian
        elif method.second == "hessp":
            how["hessp"] = dialogue.hessian_product
        if problem.constraints is not None:
            how["constraints"] = scipy_constraints(dialogue, problem.constraints, self.method)
        if method.passes_bounds and _is_bounded(problem):
            how["bounds"] = scipy.optimize.Bounds(problem.lower, problem.upper, keep_feasible=True)  # type: ignore[arg-type]
        found = scipy.optimize.minimize(
            dialogue.cost,
            self._first_point(dialogue, n_runs),
            method=self.method,
            callback=dialogue.callback,
            options=self._options(dialogue),
            **how,
        )
        return str(found.message)

    def _least_squares(self, dialogue: Dialogue) -> str:
        method = "trf" if self.method == "least_squares" else self.method
        how: dict[str, Any] = {"method": method, "jac": dialogue.jacobian, **self._options(dialogue)}
        if self.method != "lm":
            how |= {"bounds": (dialogue.problem.lower, dialogue.problem.upper), "callback": dialogue.callback}
        return str(scipy.optimize.least_squares(dialogue.residuals, dialogue.x, **how).message)

    def _options(self, dialogue: Dialogue) -> dict[str, Any]:
        method = METHODS[self.method]
        given = {theirs: getattr(self, ours) for ours, theirs in method.tolerances.items()}
        tolerances = {
            name: self._no_tolerance if value is None else value * (method.lift if name == "gtol" else 1.0)
            for name, value in given.items()
        }
        limits = dict.fromkeys(method.limits, EVALUATIONS_PER_ITERATION * self.maxiter)
        first = {"initial_simplex": first_simplex(dialogue)} if self.method == "Nelder-Mead" else {}
        constrained = {} if dialogue.problem.constraints is None else method.constrained_settings
        return {**method.settings, **limits, **tolerances, **first, **constrained, **self.options}

    @property
    def _no_tolerance(self) -> float | None:
        """What stands for no tolerance: MINPACK takes none below rounding, a simplex has to meet both of its tests."""
        if self.traits.needs_residuals:
            return float(np.finfo(float).eps) if self.method == "lm" else None
        return np.inf if self.method == "Nelder-Mead" else 0.0

    def _first_point(self, dialogue: Dialogue, n_runs: int) -> Vector:
        if self.method != "trust-constr":
            return dialogue.x
        lower, upper = dialogue.problem.lower, dialogue.problem.upper
        margin = INTERIOR[min(n_runs, len(INTERIOR) - 1)] * np.minimum(1.0, upper - lower)
        return np.clip(dialogue.x, lower + margin, upper - margin)

    @property
    def _limits(self) -> Limits:
        ftol = self.ftol if METHODS[self.method].tests_reduction else None
        return Limits(self.maxiter, ftol, self.divergence_factor, self.divergence_patience)

    def _check_tolerances(self) -> None:
        for name in ("ftol", "xtol", "gtol"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1.0:
                raise SettingsError(f"{name} = {value} is not between 0 and 1. Give a small number, or None.")
        heeded = METHODS[self.method].heeds
        if all(getattr(self, name) is None for name in heeded):
            names = " and ".join(dict.fromkeys(heeded))
            raise SettingsError(
                f"{self.method} heeds {names}, but given is only None, so nothing would end the run. Give a number."
            )

    def _check_limits(self) -> None:
        if self.maxiter < 1:
            raise SettingsError(f"maxiter = {self.maxiter} leaves nothing to do. Give at least 1.")
        if self.divergence_factor is not None and not self.divergence_factor > 1.0:
            raise SettingsError(
                f"divergence_factor = {self.divergence_factor} calls the start divergent. Give more than 1, or None."
            )
        if self.divergence_patience < 1:
            raise SettingsError(f"divergence_patience = {self.divergence_patience} is not positive. Give at least 1.")

    def _check_problem(self, problem: Recorder, start: Evaluation) -> None:
        closed = problem.lower == problem.upper
        if np.any(closed) and self.method in WITHOUT_EQUAL_BOUNDS:
            raise SettingsError(
                f"{self.method} cannot take equal bounds, but {problem.labels[int(np.argmax(closed))]} has them. "
                "Fix that parameter instead."
            )
        if self.method == "lm" and start.residuals is not None and start.residuals.size < problem.x0.size:
            raise SettingsError(
                f"lm needs at least as many residuals as variables, but there are {start.residuals.size} for "
                f"{problem.x0.size}. Use trf, dogbox or LeastSquaresOptimizer."
            )


def first_simplex(dialogue: Dialogue) -> Matrix:
    """Return a simplex at the current point with edges along the variables, shape (n + 1, n).

    SciPy's own is flat at the start if the point is on a bound, and tiny where a variable is zero.

    Args:
        dialogue: With the current point and the bounds.
    """
    x, problem = dialogue.x, dialogue.problem
    edge = SIMPLEX_EDGE * np.maximum(1.0, np.abs(x))
    has_room = x + edge <= problem.upper
    ends = np.clip(np.where(has_room, x + edge, x - edge), problem.lower, problem.upper)
    return np.vstack([x, np.where(np.eye(x.size, dtype=bool), ends, x)])


def _is_bounded(problem: Recorder) -> bool:
    return bool((np.isfinite(problem.lower) | np.isfinite(problem.upper)).any())
