"""Constraints by a sequence of problems with bounds only: the augmented Lagrangian."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fieldfit.diagnostics import projected_gradient
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.augmented_problem import AugmentedProblem, Shifts, linearization, relative_violation
from fieldfit.optimizers.exact_steps import norm
from fieldfit.optimizers.kkt_newton import KktPoint, newton_kkt
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.optimizers.scalar_trust_region import TrustRegionOptimizer
from fieldfit.optimizers.scipy import ScipyOptimizer
from fieldfit.problem import AbstractOptimizer, DerivativeOptions, Outcome, Recorder, Run, Traits, run_part
from fieldfit.typing import Vector

MANY = 200
"""Variables from which second derivatives are too expensive."""

STIFFNESS = 10.0
"""First penalty: the curvature of a constraint of unit length, in units of the largest of the objective."""

GROWTH = 10.0
"""Of the penalty of a constraint that the last turn did not bring close enough."""

CLOSER = 0.25
"""A turn has to bring a constraint this much closer, or its penalty grows."""

LARGEST_GROWTH = 1e12
"""Of a penalty in all."""

FIRST_TOLERANCE = 1e-3
LAST_TOLERANCE = 1e-8
TIGHTENING = 0.1

FUNNEL = 100.0
"""Points at which the constraints are violated this many times more than at the start, or than the size of the
variables would explain, count as failed: without penalty enough the objective may be unbounded there."""

STUCK = 1e-3
PATIENCE = 3


@dataclass(frozen=True, eq=False)
class _State:
    """Everything the next turn needs."""

    iteration: int
    x: Vector
    evaluation: Evaluation
    shifts: Shifts
    remainder: Vector
    tolerance: float
    n_inner: int
    n_stuck: int
    kkt: KktPoint | None
    run: Run | None
    change: float
    step: float


@dataclass(frozen=True)
class AugmentedLagrangianOptimizer(AbstractOptimizer):
    """Bounds, equalities and inequalities."""

    optimizer: AbstractOptimizer | None = None
    maxiter: int = 50
    ftol: float | None = 1e-12
    xtol: float | None = 1e-10
    gtol: float | None = 1e-9
    ctol: float | None = None
    initial_penalty: float | None = None

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
        )

    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        if problem.constraints is None:
            return _inner(self, problem, LAST_TOLERANCE).run(problem, start)
        state = _first(self, problem, start)
        _tell(problem, state)
        while (message := _status(self, problem, state)) is None:
            state = _turn(self, problem, state)
            _tell(problem, state)
        return Outcome(message, state.iteration, multipliers=state.shifts.multipliers)


def _inner(options, problem, tolerance):
    if options.optimizer is not None:
        return options.optimizer
    if problem.has_residuals:
        return LeastSquaresOptimizer(gtol=tolerance, ftol=tolerance**2, xtol=tolerance**1.5)
    if problem.has_derivatives and problem.x0.size <= MANY:
        return TrustRegionOptimizer("exact", gtol=tolerance, ftol=tolerance**2, xtol=tolerance**1.5)
    return ScipyOptimizer("L-BFGS-B")


def _size(x):
    return max(1.0, float(np.max(np.abs(x), initial=0.0)))


def _row_scale(x, found):
    c, J = linearization(found)
    return np.sqrt(np.einsum("ij,ij->i", J, J))


def _first(options, problem, start):
    x = problem.x0.copy()
    c, J = linearization(start)
    con = problem.constraints
    scale = _row_scale(x, start)
    out = con.violation(c) / _size(x)
    scale = np.where(scale > 0, scale, np.where(out > 0, out, 1.0))
    if options.initial_penalty is None:
        h = 0.0
        if start.jacobian is not None:
            h = float(np.max(np.einsum("ij,ij->j", start.jacobian, start.jacobian)))
        elif problem.has_derivatives and x.size <= MANY:
            H = problem.hessian(x, start.state)
            h = float(np.abs(np.diag(H)).max()) if np.isfinite(H).all() else 0.0
        h = max(h, norm(start.gradient) / _size(x)) or 1.0
        rho = STIFFNESS * h / scale**2
    else:
        rho = options.initial_penalty / scale**2
    shifts = Shifts(con.lower, con.upper, np.zeros(c.size), rho)
    return _State(0, x, start, shifts, shifts.remainder(c), FIRST_TOLERANCE, 0, 0, None, None, math.inf, math.inf)


def _turn(options, problem, state):
    con = problem.constraints
    scale = _row_scale(state.x, state.evaluation)
    scale = np.where(scale > 0, scale, 1.0)
    first = linearization(state.evaluation)[0]
    funnel = FUNNEL * max(relative_violation(first, state.shifts, scale), _size(state.x))
    inner = AugmentedProblem(problem, state.x, state.evaluation, state.shifts, funnel=funnel, row_scale=scale)
    run = run_part(_inner(options, problem, state.tolerance), Recorder(inner), state.x, inner.augment(state.evaluation))
    x, found = run.x, run.best.state
    values = linearization(found)[0]
    remainder = state.shifts.remainder(values)
    was = state.remainder if state.iteration else np.full_like(remainder, np.inf)
    is_behind = (np.abs(remainder) > CLOSER * np.abs(was)) & (np.abs(remainder) > 0.1 * con.tolerance)
    y = state.shifts.first_order(values)
    pen = np.where(is_behind, state.shifts.penalties * GROWTH, state.shifts.penalties)
    shifts = replace(state.shifts, multipliers=y, penalties=pen)
    kkt = None
    if problem.has_derivatives and x.size <= MANY:
        kkt = newton_kkt(problem, x, found, y)
        if kkt.residual <= (options.gtol or 0):
            x, found = kkt.x, kkt.evaluation
            shifts = replace(shifts, multipliers=kkt.multipliers)
    tol = max(LAST_TOLERANCE, TIGHTENING * state.tolerance)
    return _State(
        state.iteration + 1,
        x,
        found,
        shifts,
        remainder,
        tol,
        state.n_inner + run.n_iterations,
        0,
        kkt,
        run,
        found.cost - state.evaluation.cost,
        norm(x - state.x),
    )


def _is_feasible(options, problem, found):
    if options.ctol is None:
        return found.violation <= 1.0
    return bool(np.max(problem.constraints.violation(found.constraints)) <= options.ctol)


def _status(options, problem, state):
    if _is_feasible(options, problem, state.evaluation) and state.iteration:
        if state.kkt is not None and options.gtol is not None and state.kkt.residual <= options.gtol:
            return f"gtol: kkt {state.kkt.residual:.2e} {state.kkt.n_steps}"
        if state.tolerance <= LAST_TOLERANCE:
            if options.xtol is not None and state.step <= options.xtol * _size(state.x):
                return f"xtol {state.step}"
            if options.ftol is not None and abs(state.change) <= options.ftol * abs(state.evaluation.cost):
                return f"ftol {state.change}"
    if state.iteration >= options.maxiter:
        return f"maxiter reached: {options.maxiter}"
    return None


def _tell(problem, state):
    pass
