"""Bounded trust-region least squares, one step at a time.

Each turn evaluates one trial point, residuals and Jacobian together where the objective has its own derivatives: in a
force-field fit both share a relaxation, so a trial that is accepted (most are) costs one evaluation and not two. A turn
is a pure function from state to state. The mathematics is in the modules `trust_region`
(model and bounds), `exact_steps` (its minimiser in a ball) and `acceleration` (a correction of second order).

Choices measured by `benchmarks/least_squares.py`, in evaluations at tolerances of 1e-8 on 37 unbounded and 15 bounded
problems (SciPy's `trf`: 1225, one unsolved, and 481, one unsolved):

    as it is                                       698         323
    without corrections of second order            877         470
    curvature always from a look ahead            1125         437
    largest column lengths                         707         347
    column lengths of each accepted point         1613, two unsolved     498
    fixed lengths                                 1013         620
    first radius 0.1 ||D x0||                     1211, one unsolved     338
    first radius 10 or 100 ||D x0||               1157, one unsolved     322
    radius to a half of a step, by 1.5 from 0.75   706         329
    radius to a quarter and twice, from 0.75       723         328

The default `ftol` of 1e-10 takes 763 and 351. It gives six digits of every certified parameter of the NIST data sets
(`tests/oracles/test_nist.py`) for half an evaluation more per fit than 1e-8, which gives five.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.acceleration import (
    LOOK_AHEAD,
    Curvature,
    accelerate,
    check_acceleration,
    looks_ahead,
    measure_curvature,
)
from fieldfit.optimizers.exact_steps import EPS, FACTORIZATIONS, exact_step, norm
from fieldfit.optimizers.metric import check_metric, first_lengths, next_lengths
from fieldfit.optimizers.stopping import check_stopping, check_target, is_zero
from fieldfit.optimizers.trust_region import (
    GENTLE,
    Bounds,
    LocalModel,
    local_model,
    select_step,
    strictly_inside,
    update_radius,
)
from fieldfit.optimizers.turn import Turn, first_turn, judged_turn, turn_news
from fieldfit.problem import AbstractSteppedOptimizer, Outcome, Recorder, Traits
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

KEPT_LENGTH = 0.98
"""Least fraction of a column's length that the metric "fading" keeps from one accepted point to the next: a steep start
counts for half after 34 of them."""


@dataclass(frozen=True, eq=False)
class LeastSquaresState:
    """Everything the next turn needs.

    Args:
        iteration: Number of trials so far.
        x: Current point, shape (n,).
        evaluation: Of the current point, derivatives included.
        column_scale: D of the module `trust_region`, shape (n,).
        model: Quadratic model around x.
        curvature: What the last trial said about second derivatives; None if nothing.
        radius: Delta.
        alpha: Levenberg-Marquardt parameter of the last step; first guess for the next.
        first: The start and its cost, which tell what is zero but for rounding.
        n_failures: Failed evaluations since the last that succeeded.
        turn: What the last trial came to.
    """

    iteration: int
    x: Vector
    evaluation: Evaluation
    column_scale: Vector
    model: LocalModel
    curvature: Curvature | None
    radius: float
    alpha: float
    first: tuple[Vector, float]
    n_failures: int
    turn: Turn

    def __repr__(self) -> str:
        kind = "accepted" if self.turn.is_accepted else "rejected"
        return (
            f"LeastSquaresState(trial {self.iteration} {kind}: cost {self.evaluation.cost:.6g}, "
            f"radius {self.radius:.3g}, relative offset {self.model.offset:.2e})"
        )


@dataclass(frozen=True)
class LeastSquaresOptimizer(AbstractSteppedOptimizer[LeastSquaresState]):
    """Bounded trust-region least squares of the Levenberg-Marquardt kind; the default where there are residuals.

    Every evaluated point lies inside the bounds. A trial that cannot be evaluated counts as a bad step: the radius
    shrinks and the run goes on.

    Args:
        ftol: Stop when a step that agreed with its model lowers the cost by less than this fraction; None: never.
        xtol: Stop when ||D p|| < xtol ||D x||, with D the largest lengths of the Jacobian's columns so far; None:
            never.
        gtol: Stop when the relative offset is below this: the square root of the fraction of the cost that a full
            Gauss-Newton step would take off; None: never.
        maxiter: Most trials, accepted or not.
        initial_radius: First radius as a multiple of ||D x0||.
        factorization: "qr", "svd" or "cholesky"; see `fieldfit.optimizers.exact_steps`.
        metric: By what variables are measured: "largest", "fading" or "current" lengths of the Jacobian's columns, or
            "fixed", by the scales of the parameters alone; see `fieldfit.optimizers.metric`.
        acceleration: Where corrections of second order take the curvature from: "last", the last trial; "ahead", one
            more evaluation, without derivatives, on the way of each step that the radius holds back; "none", no
            corrections; "auto", "ahead" where derivatives cost many times more than residuals; see
            `fieldfit.optimizers.acceleration`.
        target_cost: Stop as soon as the cost is not above this; None: never. One that is zero but for rounding ends a
            run in any case.

    Raises:
        SettingsError: An option has a value it cannot have.

    Example:
        >>> import jax.numpy as jnp
        >>> import fieldfit
        >>> rosenbrock = lambda p: jnp.stack([10.0 * (p["y"] - p["x"] ** 2), 1.0 - p["x"]])
        >>> objective = fieldfit.FunctionObjective(rosenbrock, {"x": -1.2, "y": 1.0})
        >>> result = fieldfit.LeastSquaresOptimizer().optimize(objective)
        >>> bool(abs(result.x["x"] - 1.0) < 1e-8)
        True
    """

    ftol: float | None = 1e-10
    xtol: float | None = 1e-8
    gtol: float | None = 1e-8
    maxiter: int = 500
    initial_radius: float = 1.0
    factorization: str = "qr"
    metric: str = "fading"
    acceleration: str = "auto"
    target_cost: float | None = None

    def __post_init__(self) -> None:
        check_stopping({"ftol": self.ftol, "xtol": self.xtol, "gtol": self.gtol}, self.maxiter)
        if not (self.initial_radius > 0.0 and np.isfinite(self.initial_radius)):
            raise SettingsError(f"initial_radius = {self.initial_radius} is not positive. Give a number such as 1.")
        if self.factorization not in FACTORIZATIONS:
            raise SettingsError(unknown_name("factorization", self.factorization, FACTORIZATIONS))
        check_metric(self.metric)
        check_acceleration(self.acceleration)
        check_target("target_cost", self.target_cost)

    @property
    def name(self) -> str:
        return "least-squares"

    @property
    def traits(self) -> Traits:
        return Traits(needs_residuals=True, needs_gradient=True, handles_bounds=True, is_resumable=True)

    def init(self, problem: Recorder, start: Evaluation) -> LeastSquaresState:
        x = problem.x0.copy()
        start = _refresh(problem, x, start)
        f, J = _linearization(start)
        D = first_lengths(self.metric, column_scale(J))
        # At the origin the residuals set the size: a move of ||f|| in D x can change them by as much as they are.
        radius = self.initial_radius * (norm(D * x) or norm(f) or 1.0)
        bounds = _bounds(problem)
        model = local_model(x, f, J, D, bounds, self.factorization)
        turn = first_turn(start.note)
        return LeastSquaresState(0, x, start, D, model, None, radius, 0.0, (x, start.cost), 0, turn)

    def step(self, problem: Recorder, state: LeastSquaresState) -> LeastSquaresState:
        """Evaluate one trial point and return the state after it."""
        p_h, predicted, alpha = self._propose(problem, state)
        x = strictly_inside(state.x + state.model.d * p_h, state.model.bounds)
        trial = _try(problem, x, state.evaluation)
        turn = _turn(state, x, trial, predicted=predicted)
        radius = update_radius(state.radius, ratio=turn.ratio, length=norm(p_h), rule=GENTLE) or EPS * state.radius
        region = {"radius": radius, "alpha": alpha * state.radius / radius}
        if turn.is_accepted:
            problem.accept()
            after = self._moved(problem, state, x, trial)
        else:
            after = _stayed(state, x, trial)
        return replace(state, iteration=state.iteration + 1, turn=turn, **region, **after)

    def status(self, state: LeastSquaresState) -> str | None:
        return _converged(self, state) or _exhausted(self, state)

    def news(self, problem: Recorder, state: LeastSquaresState) -> dict[str, Any]:
        f, J = _linearization(state.evaluation)
        return turn_news(problem, state.turn, state.x, J.T @ f, cost=state.evaluation.cost)

    def outcome(self, problem: Recorder, state: LeastSquaresState, message: str) -> Outcome:
        return Outcome(message, state.iteration)

    def pack(self, state: LeastSquaresState) -> dict[str, Any]:
        """Return all but the model, which the rest determines."""
        return {entry.name: getattr(state, entry.name) for entry in fields(state) if entry.name != "model"}

    def unpack(self, problem: Recorder, packed: dict[str, Any]) -> LeastSquaresState:
        f, J = _linearization(packed["evaluation"])
        bounds = _bounds(problem)
        model = local_model(packed["x"], f, J, packed["column_scale"], bounds, self.factorization)
        return LeastSquaresState(**packed, model=model)

    def _propose(self, problem: Recorder, state: LeastSquaresState) -> tuple[Vector, float, float]:
        """Return the next step in the variables of the model, the reduction it promises, and its alpha."""
        model, Delta = state.model, state.radius
        exact = exact_step(model.factors, model.g_h, Delta, alpha=state.alpha)
        p_h = select_step(model, exact.p, Delta)
        curvature = state.curvature
        # A step that reaches the minimum of its model is not what curvature holds back.
        if exact.alpha > 0.0 and looks_ahead(self.acceleration, problem):
            curvature = _look_ahead(problem, state, p_h) or curvature
        if curvature is not None and self.acceleration != "none":
            accelerated = accelerate(model, curvature, p_h, solve=exact.solve, Delta=Delta)
            if accelerated is not None:
                return (*accelerated, exact.alpha)
        return p_h, -model.value(p_h), exact.alpha

    def _moved(self, problem: Recorder, state: LeastSquaresState, x: Vector, trial: Evaluation) -> dict[str, Any]:
        """Return what an accepted trial changes."""
        found = _refresh(problem, x, trial)
        f, J = _linearization(found)
        D = next_lengths(self.metric, column_scale(J), state.column_scale, kept=KEPT_LENGTH)
        return {
            "x": x,
            "evaluation": found,
            "column_scale": D,
            "model": local_model(x, f, J, D, state.model.bounds, self.factorization),
            # Residuals that mean something new say nothing about the curvature of the old ones.
            "curvature": measure_curvature(f, J, state.x - x, state.model.f, D) if found is trial else None,
            "n_failures": 0,
        }


def column_scale(jacobian: Matrix) -> Vector:
    """Return the lengths of the columns of a Jacobian, shape (n,)."""
    return np.sqrt(np.einsum("ij,ij->j", jacobian, jacobian))


def _try(problem: Recorder, x: Vector, current: Evaluation) -> Evaluation:
    if problem.has_derivatives:
        return problem.evaluate(x, current.state)
    # Differences cost n evaluations, so they are taken only where the point will move.
    trial = problem.evaluate(x, current.state, derivatives=False)
    return problem.evaluate(x, current.state) if trial.cost < current.cost else trial


def _look_ahead(problem: Recorder, state: LeastSquaresState, p_h: Vector) -> Curvature | None:
    """Evaluate a point on the way of a step; return what it says about curvature along the step."""
    model = state.model
    x = strictly_inside(state.x + LOOK_AHEAD * model.d * p_h, model.bounds)
    found = problem.evaluate(x, state.evaluation.state, derivatives=False)
    if not found.is_finite or found.residuals is None:
        return None
    _, J = _linearization(state.evaluation)
    return measure_curvature(model.f, J, x - state.x, found.residuals, state.column_scale)


def _refresh(problem: Recorder, x: Vector, found: Evaluation) -> Evaluation:
    """Evaluate an accepted point again if its residuals mean something new under its new state."""
    if not found.is_stale:
        return found
    again = problem.evaluate(x, found.state)
    if not again.is_finite:
        return found
    problem.accept()
    problem.rebase(x, again)
    return again


def _bounds(problem: Recorder) -> Bounds:
    is_bounded = bool((np.isfinite(problem.lower) | np.isfinite(problem.upper)).any())
    return (problem.lower, problem.upper) if is_bounded else None


def _linearization(found: Evaluation) -> tuple[Vector, Matrix]:
    if found.residuals is None or found.jacobian is None:
        raise SettingsError("least-squares needs residuals with derivatives. Evaluate with `derivatives=True`.")
    return found.residuals, found.jacobian


def _stayed(state: LeastSquaresState, x: Vector, trial: Evaluation) -> dict[str, Any]:
    """Return what a rejected trial changes."""
    if not trial.is_finite or trial.residuals is None:
        return {"n_failures": state.n_failures + 1}
    _, J = _linearization(state.evaluation)
    curvature = measure_curvature(state.model.f, J, x - state.x, trial.residuals, state.column_scale)
    return {"curvature": curvature, "n_failures": 0}


def _turn(state: LeastSquaresState, x: Vector, trial: Evaluation, *, predicted: float) -> Turn:
    step, D = x - state.x, state.column_scale
    length, scaled_step = norm(D * state.x), norm(D * step)
    relative = scaled_step / length if length > 0.0 else math.inf if scaled_step > 0.0 else 0.0
    return judged_turn(state.evaluation, trial, step=step, predicted=predicted, relative_step=relative)


def _converged(options: LeastSquaresOptimizer, state: LeastSquaresState) -> str | None:
    cost, turn = state.evaluation.cost, state.turn
    if is_zero(state.evaluation, state.x, state.first):
        return f"the cost is zero to rounding: {cost:.3g}, from {state.first[1]:.3g}"
    if options.target_cost is not None and cost <= options.target_cost:
        return f"target_cost: the cost is {cost:.3g}, not above {options.target_cost:g}"
    if options.gtol is not None and state.model.offset <= options.gtol:
        return f"gtol: the relative offset {state.model.offset:.2e} is below {options.gtol:g}"
    if options.ftol is not None and turn.ratio > 0.25 and turn.reduction < options.ftol * cost:
        return f"ftol: the last step lowered the cost by {turn.reduction / cost:.2e} of it, less than {options.ftol:g}"
    if turn.predicted <= EPS * cost:
        return f"the model promises {turn.predicted / cost:.2e} of the cost, which is below rounding"
    smallest = EPS if options.xtol is None else options.xtol
    if state.n_failures == 0 and turn.relative_step < smallest:
        return f"xtol: the last step was {turn.relative_step:.2e} of the variables, less than {smallest:g}"
    return None


def _exhausted(options: LeastSquaresOptimizer, state: LeastSquaresState) -> str | None:
    smallest = EPS if options.xtol is None else options.xtol
    if state.turn.relative_step < smallest:
        return f"the step became too small after {state.n_failures} failed evaluations: {state.turn.note}"
    if state.iteration >= options.maxiter:
        return f"maxiter reached: {options.maxiter}"
    return None
