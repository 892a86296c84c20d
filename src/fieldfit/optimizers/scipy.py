"""SciPy's optimizers behind the common contract.

One evaluation answers both questions SciPy asks at a point, its residuals (or cost) and their derivatives. The state of
the objective changes only at accepted points: those SciPy reports to its callback, and with `lm`, which has none, those
at which it asks for a Jacobian. Where the residuals mean something new under the new state, SciPy is started again.

A failed evaluation is answered by a wall, not by infinity: the line search of L-BFGS-B interpolates, and MINPACK
forms ratios, so both would go on with NaN. For a scalar the wall rises with the square of the distance from the last
accepted point; for residuals it is `WALL` in every one, and the trust region shrinks.

References:
    Byrd, Lu, Nocedal, Zhu (1995), L-BFGS-B, doi:10.1137/0916069.
    Branch, Coleman, Li (1999), trf, doi:10.1137/S1064827595289108.
    Voglis, Lagaris (2004), dogbox, WSEAS Int. Conf. Applied Mathematics, Corfu.
    More (1978), lm, doi:10.1007/BFb0067700.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.optimize

from fieldfit.diagnostics import projected_gradient
from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.problem import AbstractOptimizer, Outcome, Recorder, Traits
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

_BOUNDED_SQUARES = Traits(needs_residuals=True, handles_bounds=True)

METHODS = {
    "L-BFGS-B": Traits(handles_bounds=True),
    "least_squares": _BOUNDED_SQUARES,
    "trf": _BOUNDED_SQUARES,
    "dogbox": _BOUNDED_SQUARES,
    "lm": Traits(needs_residuals=True),
}
"""What each method needs and can; "least_squares" is another name of "trf"."""

WALL = 1e100
"""Stands for a residual that could not be computed; its square is still a finite number."""


@dataclass(frozen=True)
class ScipyOptimizer(AbstractOptimizer):
    """A method of `scipy.optimize` with exact derivatives.

    Args:
        method: "L-BFGS-B", or for residuals "trf", "dogbox", "lm", "least_squares" (the same as "trf").
        maxiter: Most iterations; for the methods on residuals, most evaluations.
        ftol: Relative change of the cost that ends the run; None: SciPy's own value, and for residuals none.
        xtol: Relative change of x that ends the run, for the methods on residuals; None: none.
        gtol: Largest element of the scaled gradient that ends the run; None as for ftol.
        options: Further options of the method, by SciPy's names.

    Raises:
        SettingsError: No method has that name, or an option has a value it cannot have.

    Example:
        >>> import fieldfit
        >>> objective = fieldfit.ScalarObjective(lambda p: (p["x"] - 3.0) ** 2, {"x": 0.0})
        >>> result = fieldfit.ScipyOptimizer("L-BFGS-B").optimize(objective)
        >>> round(float(result.x["x"]), 6)
        3.0
    """

    method: str = "L-BFGS-B"
    maxiter: int = 500
    ftol: float | None = 1e-8
    xtol: float | None = 1e-8
    gtol: float | None = 1e-8
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingsError(unknown_name("method of ScipyOptimizer", self.method, METHODS))
        for name in ("ftol", "xtol", "gtol"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1.0:
                raise SettingsError(f"{name} = {value} is not between 0 and 1. Give a small number, or None.")
        if self.ftol is self.xtol is self.gtol is None:
            raise SettingsError("ftol, xtol and gtol are all None, so nothing would end the run. Give one of them.")
        if self.maxiter < 1:
            raise SettingsError(f"maxiter = {self.maxiter} leaves nothing to do. Give at least 1.")

    @property
    def name(self) -> str:
        return f"scipy-{self.method}"

    @property
    def traits(self) -> Traits:
        return METHODS[self.method]

    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        self._check(problem, start)
        dialogue = _Dialogue(problem, start)
        dialogue.tell(problem.x0, start)
        solve = {"L-BFGS-B": self._minimize, "lm": self._levenberg_marquardt}.get(self.method, self._least_squares)
        if dialogue.needs_restart:
            dialogue.restart()
        message = solve(dialogue)
        while dialogue.needs_restart and dialogue.iteration < self.maxiter:
            dialogue.restart()
            message = solve(dialogue)
        return Outcome(message, dialogue.iteration)

    def _minimize(self, dialogue: _Dialogue) -> str:
        problem = dialogue.problem
        tolerances = {name: value for name in ("ftol", "gtol") if (value := getattr(self, name)) is not None}
        found = scipy.optimize.minimize(
            dialogue.cost_and_gradient,
            dialogue.x,
            jac=True,
            method=self.method,
            bounds=list(zip(problem.lower, problem.upper, strict=True)),
            callback=dialogue.callback,
            options={"maxiter": self.maxiter - dialogue.iteration, **tolerances, **self.options},
        )
        return str(found.message)

    def _least_squares(self, dialogue: _Dialogue) -> str:
        how = {
            "jac": dialogue.jacobian,
            "bounds": (dialogue.problem.lower, dialogue.problem.upper),
            "method": "dogbox" if self.method == "dogbox" else "trf",
            "callback": dialogue.callback,
        }
        return str(scipy.optimize.least_squares(dialogue.residuals, dialogue.x, **how, **self._settings()).message)

    def _levenberg_marquardt(self, dialogue: _Dialogue) -> str:
        def jacobian(x: Vector) -> Matrix:
            # MINPACK differentiates only where it has arrived.
            if not dialogue.is_at(x):
                dialogue.report(x)
            return dialogue.jacobian(x)

        how = {"jac": jacobian, "method": "lm"}
        try:
            found = scipy.optimize.least_squares(dialogue.residuals, dialogue.x, **how, **self._settings())
            if not dialogue.is_at(found.x):
                dialogue.report(found.x)
        except StopIteration:
            return "the run was interrupted"
        return str(found.message)

    def _settings(self) -> dict[str, Any]:
        # MINPACK takes no tolerance below rounding; the other methods take None.
        smallest = float(np.finfo(float).eps) if self.method == "lm" else None
        given = {"ftol": self.ftol, "xtol": self.xtol, "gtol": self.gtol}
        tolerances = {name: smallest if value is None else value for name, value in given.items()}
        return {"x_scale": "jac", "max_nfev": self.maxiter, **tolerances, **self.options}

    def _check(self, problem: Recorder, start: Evaluation) -> None:
        bounded = np.isfinite(problem.lower) | np.isfinite(problem.upper)
        if np.any(bounded) and not self.traits.handles_bounds:
            able = ", ".join(name for name, traits in METHODS.items() if traits.handles_bounds)
            labels = ", ".join(np.array(problem.labels)[bounded][:3])
            raise SettingsError(
                f"{self.method} takes no bounds, but {labels} {'have' if np.sum(bounded) > 1 else 'has'} them. "
                f"Use LeastSquaresOptimizer, one of {able}, or remove the bounds."
            )
        closed = problem.lower == problem.upper
        if np.any(closed) and self.traits.needs_residuals:
            raise SettingsError(
                f"{self.method} cannot take equal bounds, but {problem.labels[int(np.argmax(closed))]} has them. "
                "Fix that parameter instead."
            )
        if self.method == "lm" and start.residuals is not None and start.residuals.size < problem.x0.size:
            raise SettingsError(
                f"lm needs at least as many residuals as variables, but there are {start.residuals.size} for "
                f"{problem.x0.size}. Use trf, dogbox or LeastSquaresOptimizer."
            )


class _Dialogue:
    """What SciPy asks and is told in the course of one run."""

    def __init__(self, problem: Recorder, start: Evaluation) -> None:
        self.problem = problem
        self.iteration = 0
        self.needs_restart = start.is_stale
        self.x, self._accepted = problem.x0.copy(), start
        self._last_x, self._last = self.x, start

    def restart(self) -> None:
        """Evaluate the accepted point under its new state and begin again there."""
        again = self.problem.evaluate(self.x, self._accepted.state)
        self.needs_restart = False
        if again.is_finite:
            self.problem.accept()
            self.problem.rebase(self.x, again)
            self._accepted = again
        self._last_x, self._last = self.x, self._accepted

    def cost_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        found = self._evaluate(x, derivatives=True)
        if found.is_finite and found.gradient is not None:
            return found.cost, found.gradient
        away = x - self.x
        height = 1.0 + abs(self._accepted.cost)
        return self._accepted.cost + height, 2.0 * height * away / max(float(away @ away), np.finfo(float).tiny)

    def residuals(self, x: Vector) -> Vector:
        found = self._evaluate(x, derivatives=self.problem.has_derivatives)
        if found.is_finite and found.residuals is not None:
            return found.residuals
        return np.full(_residuals_of(self._accepted).size, WALL)

    def jacobian(self, x: Vector) -> Matrix:
        found = self._evaluate(x, derivatives=True)
        if found.is_finite and found.jacobian is not None:
            return found.jacobian
        return np.zeros((_residuals_of(self._accepted).size, x.size))

    def callback(self, intermediate_result: Any) -> None:
        """Take SciPy's report of an iteration; the name of the argument is what SciPy looks for."""
        self.report(np.array(intermediate_result.x))

    def report(self, x: Vector) -> None:
        """Accept a point and tell it.

        Raises:
            StopIteration: SciPy has to be started again.
        """
        found = self._evaluate(x, derivatives=True)
        self.iteration += 1
        self.tell(x, found)
        if self.needs_restart:
            raise StopIteration

    def tell(self, x: Vector, found: Evaluation) -> None:
        """Tell a step from the accepted point to x, and accept it if it is another point."""
        is_accepted = self.iteration == 0 or not self.is_at(x)
        gradient = found.gradient if found.gradient is not None else np.full(x.size, np.nan)
        projected = projected_gradient(x, gradient, self.problem.lower, self.problem.upper)
        news = {
            "cost": found.cost,
            "reduction": self._accepted.cost - found.cost,
            "step_norm": float(np.linalg.norm(x - self.x)),
            "optimality": float(np.max(np.abs(projected))),
            "is_accepted": is_accepted,
            "note": found.note,
        }
        if is_accepted and self.iteration > 0:
            self._accept(x, found)
        self.problem.tell(x, **news)

    def is_at(self, x: Vector) -> bool:
        """Whether a point is the accepted one."""
        return np.array_equal(x, self.x)

    def _accept(self, x: Vector, found: Evaluation) -> None:
        self.problem.accept()
        self.x, self._accepted, self.needs_restart = x.copy(), found, found.is_stale

    def _evaluate(self, x: Vector, *, derivatives: bool) -> Evaluation:
        is_known = np.array_equal(x, self._last_x)
        if not is_known or (derivatives and self._last.gradient is None and not self._last.failure):
            self._last_x, self._last = x.copy(), self.problem.evaluate(x, self._accepted.state, derivatives=derivatives)
        return self._last


def _residuals_of(found: Evaluation) -> Vector:
    return np.zeros(0) if found.residuals is None else found.residuals
