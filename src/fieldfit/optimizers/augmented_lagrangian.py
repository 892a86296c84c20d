"""Constraints by a sequence of problems with bounds only: the augmented Lagrangian.

Problem
-------
Minimise f(x), a sum of squares or a scalar, subject to b_l <= c(x) <= b_u and to bounds on x. The module
`augmented_problem` has the augmented Lagrangian A(x; y, mu), `augmented_turns` what happens between two of its
minimisations, `kkt_newton` the last digits.

Method
------
Each turn minimises A within the bounds, to a tolerance that is tightened from turn to turn, from the point of the last
one. Then

    y <- mu w                             the multipliers of first order
    mu_i <- GROWTH mu_i                   for each constraint whose remainder max(|violation|, ...) has not fallen to
                                          CLOSER of what it was

which converges to a point that meets the conditions of Karush, Kuhn and Tucker or, if there is none, to a minimum of
the violation (Conn, Gould, Toint 1991; Andreani and others 2007). The bounds hold at every evaluation. Newton's method
is tried at the end of each turn: as soon as the right constraints are active it converges at once, where multipliers of
first order gain a digit per turn.

Units do not matter. A constraint is measured by the length of its row of the Jacobian at the start, or by the slope
with which it would reach its limit within the size of the variables if that is larger. The first penalty gives it
STIFFNESS times the largest curvature of f; where f hardly curves its slope sets the scale.

Two limits that are very near to each other, as where many residuals shall be small, are one value in the first turn,
their middle; see `augmented_scales.aims`.

A run ends as soon as the tests of the call hold at a point that the constraints allow: by Newton's method, or because
the cost is zero but for rounding or below a target, or between two turns that each solved the inner problem better than
the test asks for.

A turn may run away, since f need not be bounded where the constraints are violated. Points outside a funnel around the
feasible ones count as failed; a turn that ends at its wall is undone and repeated with larger penalties.

`benchmarks/hock_schittkowski.py --methods augmented`: 95 of 103 problems solved, 1 lower than stated (HS47), 4 at other
local minima (HS16, HS57, HS59, HS70), 3 not and said so (HS13 has no multipliers, HS33, HS87 jumps), no false success.
Rules were chosen on 96 of the
problems with given second derivatives (solved: f at most 1e-6 above the stated minimum, relative, and a violation below
1e-8; evaluations: at most 300 of each problem counted):

    STIFFNESS 10                    89 solved in 2107 evaluations; with 1: 85, 2585; 3: 86, 2320; 30: 88, 2312;
                                    100: 89, 2732; 1000: 90, 3724
    FIRST_TOLERANCE 1e-2            89, 2130; with 1e-1: 89, 2466; 1e-3, of the others: 89, 2107; 1e-4: 88, 2022; 1e-2
                                    saves a tenth on sums of squares (`benchmarks/constrained_least_squares.py`)
    inner radius 1 times the start  with 0.1: 87, 2060; 0.3: 89, 1990; 3: 90, 2060
    a run that ends where penalties reach LARGEST_GROWTH; 90 and 2404 if it goes on with new multipliers, as it does

References:
    Conn, Gould, Toint (1991), A globally convergent augmented Lagrangian algorithm for optimization with general
        constraints and simple bounds, doi:10.1137/0728030.
    Andreani, Birgin, Martinez, Schuverdt (2007), On augmented Lagrangian methods with general lower-level constraints,
        doi:10.1137/060654797.
    Birgin, Martinez (2014), Practical augmented Lagrangian methods for constrained optimization,
        doi:10.1137/1.9781611973365.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.diagnostics import projected_gradient
from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.augmented_problem import AugmentedProblem, Shifts, limits_of, linearization, relative_violation
from fieldfit.optimizers.augmented_scales import (
    aims,
    curvature_of,
    has_second,
    removable_violation,
    row_units,
    size_of,
)
from fieldfit.optimizers.augmented_turns import LAST_TOLERANCE, TurnState, completed, prefer_end, undone, updated
from fieldfit.optimizers.kkt_newton import newton_kkt
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.optimizers.scalar_trust_region import TrustRegionOptimizer
from fieldfit.optimizers.scipy import ScipyOptimizer
from fieldfit.optimizers.stopping import check_stopping, check_target, is_zero
from fieldfit.problem import (
    AbstractOptimizer,
    AbstractSteppedOptimizer,
    DerivativeOptions,
    Outcome,
    Recorder,
    Traits,
    run_part,
    step_through,
)

STIFFNESS = 10.0
"""First penalty: the curvature along a constraint's gradient, in units of the largest of the objective."""

FIRST_TOLERANCE = 1e-2
"""Of the inner optimizer, in the first turn."""

CLEARLY = 0.1
"""What a turn may have left of its inner problem, as a part of the change that ends the run."""

FUNNEL = 10.0
"""Points violated this many times more than the start, or than the size of the variables explains, count as failed."""

WALL = 0.5
"""Of the funnel: a turn that ends farther out has run away."""

STATIONARY = 1e-3
"""The violation has a minimum where a step can take off no more than this part of it."""

PATIENCE = 4
"""Turns in a row that may fail, or leave the violation where it is, before the run ends."""

ROUNDING = 1e-14
BEYOND = 1e-3
"""Newton's method ends at this part of `gtol`, or at rounding: its steps gain several digits."""

NEWTON_STEP = 1e-6
"""Newton's method has converged if its last step was shorter than this, relative to the point."""


@dataclass(frozen=True)
class AugmentedLagrangianOptimizer(AbstractSteppedOptimizer[TurnState]):
    """Bounds, equalities and inequalities, linear or not, for a sum of squares or a scalar.

    Every evaluated point lies inside the bounds. The result has the multipliers: not negative for a constraint at its
    upper limit, not positive for one at its lower limit.

    Args:
        optimizer: What minimises the augmented Lagrangian; None: least squares for residuals, a trust region with
            second derivatives for a scalar of up to 200 variables, L-BFGS-B for more.
        maxiter: Most turns, each of them a run of that optimizer.
        ftol: Stop when a turn changed the cost by less than this fraction; None: never.
        xtol: Stop when a turn moved the point by less than this fraction of its size; None: never.
        gtol: Stop when the conditions of Karush, Kuhn and Tucker hold to this fraction of their terms, by Newton's
            method; None: never. Not tested without second derivatives.
        target_cost: Stop as soon as the cost is not above this and the constraints hold; None: never. A sum of squares
            that is zero but for rounding ends a run in any case.
        ctol: Largest violation at which one of the others may stop the run, in the unit of each constraint; None: the
            tolerances of the constraints.
        initial_penalty: First penalty: the curvature it gives along the gradient of a constraint, in units of the
            objective's largest; None: 10.

    Raises:
        SettingsError: An option has a value it cannot have.

    Example:
        >>> import fieldfit
        >>> from fieldfit.optimizers.augmented_lagrangian import AugmentedLagrangianOptimizer
        >>> circle = fieldfit.NonlinearEquality(lambda p: p["x"] ** 2 + p["y"] ** 2, 2.0, name="circle")
        >>> problem = fieldfit.Problem(lambda p: p["x"] + p["y"], {"x": 1.0, "y": 0.5}, constraints=[circle])
        >>> result = AugmentedLagrangianOptimizer().optimize(problem)
        >>> round(float(result.x["x"]), 6), result.success
        (-1.0, True)
    """

    optimizer: AbstractOptimizer | None = None
    maxiter: int = 50
    ftol: float | None = 1e-12
    xtol: float | None = 1e-10
    gtol: float | None = 1e-9
    ctol: float | None = None
    initial_penalty: float | None = None
    target_cost: float | None = None

    def __post_init__(self) -> None:
        check_stopping({"ftol": self.ftol, "xtol": self.xtol, "gtol": self.gtol}, self.maxiter)
        check_target("target_cost", self.target_cost)
        for name in ("ctol", "initial_penalty"):
            value = getattr(self, name)
            if value is not None and not (value > 0.0 and math.isfinite(value)):
                raise SettingsError(f"{name} = {value} is not positive. Give a positive number, or None.")

    @property
    def name(self) -> str:
        return f"augmented-lagrangian:{self.optimizer.name}" if self.optimizer else "augmented-lagrangian"

    @property
    def traits(self) -> Traits:
        inner = Traits(handles_bounds=True) if self.optimizer is None else self.optimizer.traits
        return Traits(
            needs_residuals=inner.needs_residuals,
            needs_gradient=True,
            handles_bounds=inner.handles_bounds,
            handles_constraints=True,
            is_global=inner.is_global,
            is_stochastic=inner.is_stochastic,
            is_resumable=not inner.is_stochastic,
        )

    @property
    def derivative_options(self) -> DerivativeOptions:
        return DerivativeOptions() if self.optimizer is None else self.optimizer.derivative_options

    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        if problem.constraints is None:
            return self._inner(problem, LAST_TOLERANCE).run(problem, start)
        return step_through(self, problem, start)

    def step(self, problem: Recorder, state: TurnState) -> TurnState:
        return self._judged(problem, self._turn(problem, state))

    def status(self, state: TurnState) -> str | None:
        return state.ending

    def news(self, problem: Recorder, state: TurnState) -> dict[str, Any]:
        _, J = linearization(state.evaluation)
        gradient = np.zeros_like(state.x) if state.evaluation.gradient is None else state.evaluation.gradient
        slope = projected_gradient(state.x, gradient + state.shifts.multipliers @ J, problem.lower, problem.upper)
        return {
            "x": state.x,
            "cost": state.evaluation.cost,
            "reduction": state.reduction,
            "step_norm": state.step,
            "optimality": float(np.max(np.abs(slope))),
            "is_accepted": state.n_failed == 0,
            "note": state.note,
            "violation": state.evaluation.violation,
        }

    def outcome(self, problem: Recorder, state: TurnState, message: str) -> Outcome:
        prefer_end(problem, state)
        return Outcome(message, state.iteration, multipliers=state.shifts.multipliers)

    def unpack(self, problem: Recorder, packed: TurnState) -> TurnState:
        # Whether it is over depends on tolerances, which may be others now.
        return self._judged(problem, packed)

    def _judged(self, problem: Recorder, state: TurnState) -> TurnState:
        """Return a state that knows whether the run is over."""
        is_start = state.iteration == 0
        ending = None if is_start else self._converged(problem, state) or self._exhausted(problem, state)
        return replace(state, ending=ending)

    def _inner(self, problem: Recorder, tolerance: float) -> AbstractOptimizer:
        if self.optimizer is not None:
            return self.optimizer
        # The square of the offset is the part of the cost that is left; a short step is no reason to end so early.
        tests = {"gtol": tolerance, "ftol": tolerance**2, "xtol": tolerance**1.5}
        if problem.has_residuals:
            return LeastSquaresOptimizer(**tests)
        if has_second(problem):
            return TrustRegionOptimizer("exact", **tests)
        return ScipyOptimizer("L-BFGS-B")

    def init(self, problem: Recorder, start: Evaluation) -> TurnState:
        x = problem.x0.copy()
        values, _ = linearization(start)
        rows = row_units(problem, x, start)
        stiffness = STIFFNESS if self.initial_penalty is None else self.initial_penalty
        penalties = stiffness * curvature_of(problem, x, start) / rows**2
        shifts = Shifts(*aims(problem, x, rows), np.zeros_like(values), penalties)
        funnel = FUNNEL * max(relative_violation(values, shifts, rows), size_of(x))
        return TurnState(
            iteration=0,
            x=x,
            evaluation=start,
            shifts=shifts,
            first_penalties=penalties,
            rows=rows,
            funnel=funnel,
            remainder=np.full_like(values, np.inf),
            tolerance=FIRST_TOLERANCE,
            first=(x, start.cost),
        )

    def _turn(self, problem: Recorder, state: TurnState) -> TurnState:
        """Minimise the augmented Lagrangian once, and update multipliers and penalties."""
        inner = AugmentedProblem(
            problem, state.x, state.evaluation, state.shifts, funnel=state.funnel, row_scale=state.rows
        )
        start = inner.augment(state.evaluation)
        run = run_part(self._inner(problem, state.tolerance), Recorder(inner), state.x, start)
        found = completed(problem, run.x, run.best.state)
        if run.failure or found is None:
            return undone(state, run.failure or "its end could not be evaluated")
        if relative_violation(linearization(found)[0], state.shifts, state.rows) > WALL * state.funnel:
            return undone(state, "it ran away from the constraints")
        state = updated(problem, state, run.x, found)
        return self._polished(problem, state) if has_second(problem) else state

    def _polished(self, problem: Recorder, state: TurnState) -> TurnState:
        """Try Newton's method, and take its point if it converged."""
        target = ROUNDING if self.gtol is None else max(ROUNDING, BEYOND * self.gtol)
        kkt = newton_kkt(problem, state.x, state.evaluation, state.shifts.multipliers, target=target)
        state = replace(state, kkt=kkt)
        if not self._is_met(problem, state):
            return state
        shifts = replace(state.shifts, multipliers=kkt.multipliers)
        return replace(state, x=kkt.x, evaluation=kkt.evaluation, shifts=shifts)

    def _is_met(self, problem: Recorder, state: TurnState) -> bool:
        """Whether Newton's method has converged to a point that the constraints allow."""
        kkt = state.kkt
        if kkt is None or self.gtol is None or not self._is_feasible(problem, kkt.evaluation):
            return False
        return kkt.residual <= self.gtol and kkt.step <= NEWTON_STEP

    def _is_feasible(self, problem: Recorder, found: Evaluation) -> bool:
        if self.ctol is None:
            return found.violation <= 1.0
        return bool(np.max(limits_of(problem).violation(linearization(found)[0])) <= self.ctol)

    def _converged(self, problem: Recorder, state: TurnState) -> str | None:
        if self._is_met(problem, state) and state.kkt is not None:
            return f"gtol: the conditions of a minimum hold to {state.kkt.residual:.1e} of their terms"
        if state.n_failed or not self._is_feasible(problem, state.evaluation):
            return None
        cost = state.evaluation.cost
        if is_zero(state.evaluation, state.x, state.first):
            return f"the cost is zero to rounding: {cost:.3g}, from {state.first[1]:.3g}; the constraints hold"
        if self.target_cost is not None and cost <= self.target_cost:
            return f"target_cost: the cost is {cost:.3g}, the constraints hold"
        return self._settled(state)

    def _settled(self, state: TurnState) -> str | None:
        """Return which change between turns is small, if both were solved well enough to tell."""
        moved, cost = state.step / size_of(state.x), abs(state.evaluation.cost)
        if self.xtol is not None and moved <= self.xtol and self._is_solved(state.reached**1.5, self.xtol, state):
            return f"xtol: the last turn moved the point by {moved:.1e} of its size, the constraints hold"
        is_still = self.ftol is not None and abs(state.reduction) <= self.ftol * cost
        if is_still and self.ftol is not None and self._is_solved(state.reached**2, self.ftol, state):
            return f"ftol: the last turn changed the cost by {abs(state.reduction):.1e}, the constraints hold"
        return None

    def _is_solved(self, left: float, tolerance: float, state: TurnState) -> bool:
        """Whether a turn left so little of its inner problem that a test against a tolerance means something."""
        # Of an optimizer that was given the tolerances are its own.
        return self.optimizer is not None or left <= CLEARLY * tolerance or state.reached <= LAST_TOLERANCE

    def _exhausted(self, problem: Recorder, state: TurnState) -> str | None:
        is_feasible = self._is_feasible(problem, state.evaluation)
        if (
            not is_feasible
            and state.n_stuck >= PATIENCE
            and removable_violation(problem, state.x, state.evaluation, state.rows) <= STATIONARY
        ):
            return "the violation of the constraints has a minimum here: they cannot be met near this point"
        if state.n_failed > PATIENCE:
            return f"{state.n_failed} turns in a row failed: {state.note}"
        if state.iteration >= self.maxiter:
            return f"maxiter reached: {self.maxiter}"
        return None
