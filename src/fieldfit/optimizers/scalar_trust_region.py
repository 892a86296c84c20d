"""Bounded trust regions for scalar functions with exact second derivatives, one step at a time.

Each turn evaluates one trial point; the Hessian is computed once a point is accepted. A sum of squares is taken as the
scalar it is, with the full Hessian of its cost, which is worth more than the Gauss-Newton part of it where residuals
are large and curved at the solution. The mathematics is in the modules `scalar_model` (scaling and bounds) and
`indefinite_steps` (the minimiser in a ball); D and s below are those of the first.

Stopping
--------
The Newton decrement sqrt(2 dF), with dF what Newton's step takes off the model, and the length ||D p|| of a step have
the unit of sqrt(F). Both are measured against ||D s||: a scalar has no natural zero, so a fraction of it says nothing.
A sum of squares has one; there the decrement is measured against sqrt(2 F), as in the module `least_squares`.
Multiplying F by a number changes no test.

References:
    Conn, Gould, Toint (2000), Trust-region methods, doi:10.1137/1.9780898719857.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.exact_steps import EPS, norm
from fieldfit.optimizers.indefinite_steps import METHODS
from fieldfit.optimizers.metric import check_metric, first_lengths, next_lengths
from fieldfit.optimizers.scalar_model import KEPT_LENGTH, ScalarModel, first_scale, scalar_model, scale, select_step
from fieldfit.optimizers.stopping import ZERO_COST, check_stopping
from fieldfit.optimizers.trust_region import USUAL, strictly_inside, update_radius
from fieldfit.optimizers.turn import Turn, first_turn, judged_turn, turn_news
from fieldfit.problem import AbstractSteppedOptimizer, Outcome, Recorder, Traits
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True, eq=False)
class ScalarState:
    """Everything the next turn needs.

    Args:
        iteration: Number of trials so far.
        x: Current point, shape (n,).
        evaluation: Of the current point, derivatives included.
        model: Quadratic model around x.
        radius: Delta.
        first_cost: Cost at the start, which tells what is zero but for rounding.
        n_failures: Failed evaluations since the last that succeeded.
        turn: What the last trial came to.
    """

    iteration: int
    x: Vector
    evaluation: Evaluation
    model: ScalarModel
    radius: float
    first_cost: float
    n_failures: int
    turn: Turn

    @property
    def offset(self) -> float:
        """Newton decrement relative to sqrt(2 F) for a sum of squares, else to ||D s||."""
        is_squares = self.evaluation.residuals is not None
        unit = math.sqrt(2.0 * self.evaluation.cost) if is_squares else self.model.size
        return self.model.decrement / unit if unit > 0.0 else 0.0

    def __repr__(self) -> str:
        kind = "accepted" if self.turn.is_accepted else "rejected"
        return (
            f"ScalarState(trial {self.iteration} {kind}: cost {self.evaluation.cost:.6g}, "
            f"radius {self.radius:.3g}, relative offset {self.offset:.2e})"
        )


@dataclass(frozen=True)
class TrustRegionOptimizer(AbstractSteppedOptimizer[ScalarState]):
    """Bounded trust region for scalar functions with second derivatives; also for a sum of squares as a scalar.

    Every evaluated point lies inside the bounds. The Hessian is computed once per accepted point: exactly where JAX can
    trace the objective, otherwise from differences of gradients. A trial that cannot be evaluated counts as a bad step.

    Args:
        method: "exact", "dogleg" or "subspace"; see `fieldfit.optimizers.indefinite_steps`. "exact" leaves any saddle
            point; "dogleg" stays on one if it starts there.
        maxiter: Most trials, accepted or not.
        ftol: Stop when a step that agreed with its model lowers the cost by less than this fraction of its magnitude;
            None: never.
        xtol: Stop when ||D p|| < xtol ||D s||; see `fieldfit.optimizers.scalar_model`; None: never.
        gtol: Stop when the Newton decrement is below this fraction of ||D s|| and the model curves upwards; None:
            never.
        initial_radius: First radius as a multiple of ||D s||.
        metric: By what variables are measured: "fading", "largest" or "current" roots of the second derivatives, or
            "fixed", by the scales of the parameters alone; see `fieldfit.optimizers.metric`.

    Raises:
        SettingsError: An option has a value it cannot have.

    Example:
        >>> import fieldfit
        >>> from fieldfit.optimizers.scalar_trust_region import TrustRegionOptimizer
        >>> rosenbrock = lambda p: 100.0 * (p["y"] - p["x"] ** 2) ** 2 + (1.0 - p["x"]) ** 2
        >>> objective = fieldfit.ScalarObjective(rosenbrock, {"x": -1.2, "y": 1.0})
        >>> result = TrustRegionOptimizer("exact").optimize(objective)
        >>> bool(abs(result.x["x"] - 1.0) < 1e-8)
        True
    """

    method: str = "exact"
    maxiter: int = 500
    ftol: float | None = 1e-12
    xtol: float | None = 1e-8
    gtol: float | None = 1e-8
    initial_radius: float = 1.0
    metric: str = "fading"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingsError(unknown_name("method of TrustRegionOptimizer", self.method, METHODS))
        check_stopping({"ftol": self.ftol, "xtol": self.xtol, "gtol": self.gtol}, self.maxiter)
        if not (self.initial_radius > 0.0 and np.isfinite(self.initial_radius)):
            raise SettingsError(f"initial_radius = {self.initial_radius} is not positive. Give a number such as 1.")
        check_metric(self.metric)

    @property
    def name(self) -> str:
        return f"trust-region-{self.method}"

    @property
    def traits(self) -> Traits:
        return Traits(needs_gradient=True, needs_hessian=True, handles_bounds=True, is_resumable=True)

    def init(self, problem: Recorder, start: Evaluation) -> ScalarState:
        """Return the state of the start.

        Raises:
            EvaluationError: There are no second derivatives at the start.
        """
        x = problem.x0.copy()
        start = _refresh(problem, x, start)
        is_bounded = bool((np.isfinite(problem.lower) | np.isfinite(problem.upper)).any())
        bounds = (problem.lower, problem.upper) if is_bounded else None
        g, H = _gradient(start), _hessian(problem, x, start)
        model = scalar_model(x, g, H, first_lengths(self.metric, first_scale(x, g, H)), bounds)
        turn = first_turn(start.note)
        return ScalarState(0, x, start, model, self.initial_radius * (model.size or 1.0), start.cost, 0, turn)

    def step(self, problem: Recorder, state: ScalarState) -> ScalarState:
        """Evaluate one trial point and return the state after it."""
        p_h = select_step(state.model, METHODS[self.method](state.model.spectrum, state.radius), state.radius)
        x = strictly_inside(state.x + state.model.d * p_h, state.model.bounds)
        trial = _try(problem, x, state.evaluation)
        turn = _turn(state, x, trial, predicted=-state.model.value(p_h))
        after: dict[str, Any] = {"n_failures": 0 if trial.is_finite else state.n_failures + 1}
        if turn.is_accepted:
            try:
                after |= self._moved(problem, state, x, trial)
            except EvaluationError as error:
                turn = replace(turn, reduction=0.0, ratio=-math.inf, is_accepted=False, note=str(error))
                after["n_failures"] = state.n_failures + 1
        radius = update_radius(state.radius, ratio=turn.ratio, length=norm(p_h), rule=USUAL)
        return replace(state, iteration=state.iteration + 1, turn=turn, radius=radius or EPS * state.radius, **after)

    def status(self, state: ScalarState) -> str | None:
        return _converged(self, state) or _exhausted(self, state)

    def news(self, problem: Recorder, state: ScalarState) -> dict[str, Any]:
        return turn_news(problem, state.turn, state.x, state.model.g, cost=problem.best.cost)

    def outcome(self, problem: Recorder, state: ScalarState, message: str) -> Outcome:
        return Outcome(message, state.iteration)

    def _moved(self, problem: Recorder, state: ScalarState, x: Vector, trial: Evaluation) -> dict[str, Any]:
        """Return what an accepted trial changes.

        Raises:
            EvaluationError: There are no second derivatives at the new point, so it cannot be accepted.
        """
        H = _hessian(problem, x, trial)
        problem.accept()
        found = _refresh(problem, x, trial)
        H = H if found is trial else _hessian(problem, x, found)
        D = next_lengths(self.metric, scale(H), state.model.D, kept=KEPT_LENGTH)
        model = scalar_model(x, _gradient(found), H, D, state.model.bounds)
        return {"x": x, "evaluation": found, "model": model}


def _try(problem: Recorder, x: Vector, current: Evaluation) -> Evaluation:
    if problem.has_derivatives:
        return problem.evaluate(x, current.state)
    # Differences cost n evaluations, so they are taken only where the point will move.
    trial = problem.evaluate(x, current.state, derivatives=False)
    return problem.evaluate(x, current.state) if trial.cost < current.cost else trial


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


def _gradient(found: Evaluation) -> Vector:
    if found.gradient is None:
        raise SettingsError("trust-region needs derivatives. Evaluate with `derivatives=True`.")
    return found.gradient


def _hessian(problem: Recorder, x: Vector, found: Evaluation) -> Matrix:
    H = problem.hessian(x, found.state)
    if not np.isfinite(H).all():
        raise EvaluationError("The second derivatives are not finite. Use an optimizer that needs first ones only.")
    return H


def _turn(state: ScalarState, x: Vector, trial: Evaluation, *, predicted: float) -> Turn:
    step = x - state.x
    relative = norm(state.model.D * step) / (state.model.size or 1.0)
    return judged_turn(state.evaluation, trial, step=step, predicted=predicted, relative_step=relative)


def _converged(options: TrustRegionOptimizer, state: ScalarState) -> str | None:
    cost, turn, model = state.evaluation.cost, state.turn, state.model
    if state.evaluation.residuals is not None and cost <= ZERO_COST * state.first_cost:
        return f"the cost is zero to rounding: {cost:.3g}, from {state.first_cost:.3g}"
    if options.gtol is not None and model.spectrum.values[0] >= 0.0 and state.offset <= options.gtol:
        return f"gtol: the relative Newton decrement {state.offset:.2e} is below {options.gtol:g}"
    if options.ftol is not None and turn.ratio > 0.25 and turn.reduction < options.ftol * abs(cost):
        return f"ftol: the last step lowered the cost by {turn.reduction:.2e}, less than {options.ftol:g} of it"
    if turn.predicted <= EPS * abs(cost):
        return f"the model promises {turn.predicted:.2e}, which is below rounding of the cost"
    smallest = EPS if options.xtol is None else options.xtol
    if state.n_failures == 0 and turn.relative_step < smallest:
        return f"xtol: the last step was {turn.relative_step:.2e} of the variables, less than {smallest:g}"
    return None


def _exhausted(options: TrustRegionOptimizer, state: ScalarState) -> str | None:
    smallest = EPS if options.xtol is None else options.xtol
    if state.turn.relative_step < smallest:
        return f"the step became too small after {state.n_failures} failed evaluations: {state.turn.note}"
    if state.iteration >= options.maxiter:
        return f"maxiter reached: {options.maxiter}"
    return None
