"""Whether a point is stationary, found out independently of the solver that ended there.

Least squares
-------------
A point is stationary if a step in the variables that no bound holds would take off less than `STATIONARY` of the cost:
the square of the relative offset of Bates and Watts, who ask for 0.001. The step is that of Gauss and Newton. Where it
promises more, as with large and curved residuals, Newton's own is asked, as for a scalar; if that promises less,
parts of the first and damped steps are tried, and what they take off decides. A point where the residuals respond to no
variable is a plateau and not stationary. A step shorter than `SHORT` counts as stationary as well,
and a cost that is zero but for rounding, both in units of the first one and of what the variables contribute to the
residuals: a start far out makes any other cost look small. Residuals below `FLOOR` of what the variables contribute are
their rounding, wherever the run began: no step can make them smaller.

Scalars
-------
There is no natural zero of a scalar, so a fraction of it says nothing. Instead the Newton step is taken apart along
the eigenvectors of the Hessian (of its absolute value: a step off a saddle counts like one towards a minimum), in the
Krylov space of the gradient, which is all that the step needs. Along each, the step must be shorter than `CLOSE` of the
size of the point, or promise less than `NEGLIGIBLE` of what a step of that size would change along the stiffest one.
Neither changes if the objective is multiplied by a number or moved by one.

Both need derivatives. Products with the Hessian are differences of exact gradients, at most `MOST_PRODUCTS` of them. A
scalar without derivatives of its own is differenced twice if it has few variables, otherwise, and if the objective is
noisy, the verdict is "unverified".

References:
    Bates, Watts (1981), A relative offset orthogonality convergence criterion, doi:10.1080/00401706.1981.10486255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from fieldfit.diagnostics import damped_steps, free_variables, gauss_newton_step, predicted_reduction, relative_length
from fieldfit.errors import EvaluationError
from fieldfit.objectives import Evaluation
from fieldfit.problem.interface import AbstractVectorProblem
from fieldfit.typing import Matrix, Vector

EPS = float(np.finfo(float).eps)
STATIONARY = 1e-6
SHORT = 1e-8
PERFECT = EPS**1.5
CLOSE = 1e-4
NEGLIGIBLE = 1e-10

FLOOR = 100.0 * EPS
"""Of what the variables contribute: residuals this small are rounding."""

AT_FLOOR = "the residuals are nothing but rounding of what the variables contribute to them"
"""The reason for such a verdict."""

GAP = 1e-6
"""Of the size of the point: a variable that is farther from the bound that holds it has not arrived."""

NEAR = 0.01
"""Of the size of a variable: farther from a bound than this it is not held by it."""

TRIED_PARTS = (1.0, 0.5, 0.1, 0.01)
"""Parts of a Gauss-Newton step that are tried where Newton's promises less, and parts of their own size by which the
variables are moved that it sends farther than that."""

DAMPINGS = (1e-2, 1e-4, 1e-6, 1e-8)
"""Levenberg-Marquardt parameters, relative to the largest, of the steps that are tried besides."""

UNFELT = 1e-8
"""Of the length of the residuals: if all variables together contribute less, the point lies on a plateau."""

TALL = 4
"""Residuals per variable from which a triangular factor is worth its time."""

MOST_PRODUCTS = 50
"""Products with the Hessian of a scalar: each costs a gradient."""

MOST_TWICE_DIFFERENCED = 12
"""Variables up to which a scalar without derivatives of its own is differenced twice."""


@dataclass(frozen=True)
class Verdict:
    """What is known about a point.

    Args:
        word: "converged", "not converged", "unverified", or "infeasible" where constraints cannot be met nearby.
        optimality: For least squares the fraction of the cost that a step would take off, or a bound of it; for scalars
            the length of the Newton step relative to the point, negligible parts left out. NaN if unverified.
        reason: Why it is not converged or unverified, or converged although residuals are rounding; empty otherwise.
        n_evaluations: Evaluations made to find out.
    """

    word: str
    optimality: float
    reason: str = ""
    n_evaluations: int = 0


def judge(problem: AbstractVectorProblem, x: Vector, best: Evaluation, first_cost: float) -> Verdict:
    """Find out whether a point is stationary.

    Args:
        problem: What was minimised.
        x: The point, shape (n,).
        best: Evaluation there, with derivatives unless they could not be had.
        first_cost: Cost at the start; NaN if it could not be evaluated.
    """
    if problem.is_noisy:
        return Verdict("unverified", np.nan, "the objective is noisy")
    if not np.isfinite(best.cost):
        return Verdict("not converged", np.inf, "nothing could be evaluated")
    if best.gradient is None or not best.is_finite:
        return Verdict("not converged", np.inf, "derivatives at the best point are not finite")
    if best.residuals is not None and best.jacobian is not None:
        return _judge_squares(problem, x, best, first_cost)
    if not problem.has_derivatives and x.size > MOST_TWICE_DIFFERENCED:
        reason = f"second differences of {x.size} variables would take too many evaluations"
        return Verdict("unverified", np.nan, reason)
    return _judge_scalar(problem, x, best)


def is_at_floor(x: Vector, best: Evaluation) -> bool:
    """Whether residuals are nothing but rounding of what the variables contribute to them.

    Args:
        x: The point, shape (n,).
        best: Evaluation there.
    """
    if best.residuals is None or best.jacobian is None or not best.is_finite:
        return False
    lengths = np.sqrt(np.einsum("ij,ij->j", best.jacobian, best.jacobian))
    return math.sqrt(2.0 * best.cost) <= FLOOR * math.hypot(*(lengths * x))


def judge_zero(problem: AbstractVectorProblem, x: Vector, best: Evaluation, first_cost: float) -> Verdict | None:
    """Return the verdict on a sum of squares that is zero but for rounding; None if it is not, or is no such sum.

    Args:
        problem: What was minimised.
        x: The point, shape (n,).
        best: Evaluation there.
        first_cost: Cost at the start; NaN if it could not be evaluated.
    """
    if best.residuals is None or best.jacobian is None or not best.is_finite:
        return None
    if is_at_floor(x, best):
        return Verdict("converged", 0.0, AT_FLOOR if best.cost > 0.0 else "")
    lengths = np.sqrt(np.einsum("ij,ij->j", best.jacobian, best.jacobian))
    # At a solution in the origin the variables contribute nothing, but they did at the start.
    size = float(np.linalg.norm(lengths * np.maximum(np.abs(x), np.abs(problem.x0))))
    is_zero = best.cost == 0.0 or (best.cost <= PERFECT * first_cost and best.cost <= EPS * size**2)
    return Verdict("converged", 0.0) if is_zero else None


def _judge_squares(problem: AbstractVectorProblem, x: Vector, best: Evaluation, first_cost: float) -> Verdict:
    residuals, jacobian = _squares(best)
    curvature = np.einsum("ij,ij->j", jacobian, jacobian)
    # At a solution in the origin the variables contribute nothing, but they did at the start.
    size = float(np.linalg.norm(np.sqrt(curvature) * np.maximum(np.abs(x), np.abs(problem.x0))))
    length = math.sqrt(2.0 * best.cost)
    if float(np.linalg.norm(np.sqrt(curvature) * np.maximum(np.abs(x), 1.0))) <= UNFELT * length:
        return Verdict("not converged", np.inf, "the residuals do not respond to any variable here: a plateau")
    zero = judge_zero(problem, x, best, first_cost)
    if zero is not None:
        return zero
    # Cauchy and Schwarz: no step takes off more than this, and most fits end far below.
    cosines = _gradient(best) / np.sqrt(np.where(curvature > 0.0, curvature, 1.0) * 2.0 * best.cost)
    reach = max(size, length)
    bound = 2.0 * math.sqrt(x.size) * float(np.linalg.norm(cosines)) * reach / length
    if bound <= STATIONARY:
        return Verdict("converged", bound)
    is_free = free_variables(x, _gradient(best), problem.lower, problem.upper, curvature=curvature)
    optimality = predicted_reduction(jacobian, residuals, is_free, reach=reach) / best.cost
    step = gauss_newton_step(jacobian, residuals, is_free)
    if optimality <= STATIONARY or relative_length(step, x, jacobian) <= SHORT:
        return Verdict("converged", optimality)
    optimality, n_evaluations = _tried(problem, x, best, step) if problem.has_derivatives else (optimality, 0)
    if optimality <= STATIONARY:
        return Verdict("converged", optimality, "", n_evaluations)
    reason = f"a further step would take off {optimality:.1e} of the cost"
    return Verdict("not converged", optimality, reason, n_evaluations)


def _tried(problem: AbstractVectorProblem, x: Vector, best: Evaluation, step: Vector) -> tuple[float, int]:
    """Find out what a step takes off the cost where the one of Gauss and Newton promises much: it may be wrong.

    Args:
        problem: What was minimised.
        x: The point, shape (n,).
        best: Evaluation there, with derivatives.
        step: Of Gauss and Newton, shape (n,).

    Returns:
        The part that Newton's method promises, or a step that was tried has brought, and the evaluations made.
    """
    residuals, jacobian = _squares(best)
    newton = _newton(problem, x, best)
    optimality = float(np.sum(newton.promised)) / best.cost
    if optimality > STATIONARY:
        return optimality, newton.n_evaluations
    # A variable that is hardly felt here is sent far away; alone and not so far it may bring something.
    longest = np.maximum(np.abs(x), 1.0)
    far = np.where(np.abs(step) > longest, np.sign(step) * longest, 0.0)
    curvature = np.einsum("ij,ij->j", jacobian, jacobian)
    is_free = free_variables(x, _gradient(best), problem.lower, problem.upper, curvature=curvature)
    trials = [
        *(part * step for part in TRIED_PARTS),
        *(part * far for part in TRIED_PARTS),
        *damped_steps(jacobian, residuals, is_free, DAMPINGS),
    ]
    gained = _gain(problem, x, best, trials) / best.cost
    return max(optimality, gained), newton.n_evaluations + len(trials)


def _gain(problem: AbstractVectorProblem, x: Vector, best: Evaluation, steps: list[Vector]) -> float:
    """Return what the best of some steps takes off the cost."""
    gain = 0.0
    for step in steps:
        point = np.clip(x + step, problem.lower, problem.upper)
        found = problem.evaluate(point, best.state, derivatives=False)
        gain = max(gain, best.cost - found.cost if math.isfinite(found.cost) else 0.0)
    return gain


def _judge_scalar(problem: AbstractVectorProblem, x: Vector, best: Evaluation) -> Verdict:
    newton = _newton(problem, x, best)
    if newton.failure:
        return Verdict("unverified", np.nan, newton.failure, newton.n_evaluations)
    gap, label = _widest_gap(problem, x, _gradient(best), newton.is_held)
    if gap > GAP:
        reason = f"{label} is {gap:.1e} of the point away from the bound that it is pushed against"
        return Verdict("not converged", gap, reason, newton.n_evaluations)
    if newton.length <= CLOSE:
        return Verdict("converged", newton.length, "", newton.n_evaluations)
    reason = f"a Newton step is {newton.length:.1e} of the point"
    return Verdict("not converged", newton.length, reason, newton.n_evaluations)


def _widest_gap(problem: AbstractVectorProblem, x: Vector, gradient: Vector, is_held: np.ndarray) -> tuple[float, str]:
    """Return how far a variable that a bound holds still is from it, weighted by its part of the gradient, and which.

    Relative to the size of the point: a barrier method may end some way off.
    """
    way = np.where(gradient > 0.0, x - problem.lower, problem.upper - x)
    size = max(1.0, float(np.max(np.abs(x))))
    length = float(np.linalg.norm(gradient))
    if not np.any(is_held) or length == 0.0:
        return 0.0, ""
    gaps = np.where(is_held, way, 0.0) * np.abs(gradient) / (length * size)
    widest = int(np.argmax(gaps))
    return float(gaps[widest]), problem.labels[widest]


@dataclass(frozen=True, eq=False)
class _Newton:
    """The Newton step along the eigenvectors of the absolute Hessian.

    Args:
        step: Lengths along them, not beyond the size of the point, shape (k,).
        promised: What each part would take off the cost, shape (k,).
        stiffest: Largest eigenvalue.
        size: Size of the point.
        n_evaluations: Evaluations made to find out.
        is_held: Which variables bounds hold, shape (n,).
        failure: Why there is none; empty if there is.
    """

    step: Vector
    promised: Vector
    stiffest: float
    size: float
    n_evaluations: int
    is_held: np.ndarray
    failure: str = ""

    @property
    def length(self) -> float:
        """Longest part relative to the size of the point, negligible ones left out."""
        matters = self.promised > NEGLIGIBLE * self.stiffest * self.size**2
        return float(np.max(self.step[matters], initial=0.0)) / self.size


def _newton(problem: AbstractVectorProblem, x: Vector, best: Evaluation) -> _Newton:
    gradient, size = _gradient(best), max(1.0, float(np.max(np.abs(x))))
    products = _Products(problem, x, best)
    try:
        is_free = _free(products, gradient)
        values, along = _eigenvectors(products, np.where(is_free, gradient, 0.0), is_free)
    except EvaluationError as error:
        none = np.zeros(x.size, dtype=bool)
        return _Newton(np.full(1, size), np.full(1, np.inf), 1.0, size, products.n_evaluations, none, str(error))
    stiffness, slope = np.abs(values), np.abs(along)
    stiffest = float(np.max(stiffness))
    # Along a direction without curvature the step ends at the size of the point.
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(slope > 0.0, np.minimum(slope / stiffness, size), 0.0)
    promised = slope * step - 0.5 * stiffness * step**2
    return _Newton(step, promised, stiffest, size, products.n_evaluations, ~is_free)


def _free(products: _Products, gradient: Vector) -> np.ndarray:
    """Return which variables no bound holds; only those near a bound they are pushed against can be held."""
    problem, x = products.problem, products.x
    way = np.where(gradient > 0.0, x - problem.lower, problem.upper - x)
    near = (gradient != 0.0) & (way <= NEAR * np.maximum(1.0, np.abs(x)))
    curvature = np.ones_like(x)
    for index in np.flatnonzero(near):
        curvature[index] = abs(products(np.eye(x.size)[index])[index])
    return ~near | free_variables(x, gradient, problem.lower, problem.upper, curvature=curvature)


class _Products:
    """Products with the Hessian of a scalar at one point, by forward differences of its gradient."""

    def __init__(self, problem: AbstractVectorProblem, x: Vector, best: Evaluation) -> None:
        self.n_evaluations = 0
        self.problem, self.x, self._best = problem, x, best
        self._hessian: Matrix | None = None
        if not problem.has_derivatives:
            self._hessian = self._by_columns()

    def __call__(self, direction: Vector) -> Vector:
        if self._hessian is None:
            found = self._along(direction)
            if found is not None:
                return found
            # In a corner of the bounds there may be no room along a direction, but there is along every variable.
            self._hessian = self._by_columns()
        return self._hessian @ direction

    def _by_columns(self) -> Matrix:
        columns = [self._along(direction) for direction in np.eye(self.x.size)]
        found = np.stack([np.zeros_like(self.x) if column is None else column for column in columns])
        return 0.5 * (found + found.T)

    def _along(self, direction: Vector) -> Vector | None:
        problem, x = self.problem, self.x
        length = float(np.max(np.abs(direction)))
        step = problem.hessian_step(x) / length
        if problem.room(x, direction) < step:
            if problem.room(x, -direction) < step:
                return None
            step = -step
        self.n_evaluations += 1 if problem.has_derivatives else 1 + x.size
        gradient = problem.gradient(np.clip(x + step * direction, problem.lower, problem.upper), self._best.state)
        return (gradient - _gradient(self._best)) / step


def _eigenvectors(products: _Products, gradient: Vector, is_free: np.ndarray) -> tuple[Vector, Vector]:
    """Return eigenvalues of the Hessian in the Krylov space of the gradient, and the gradient along their vectors."""
    norm = float(np.linalg.norm(gradient))
    if norm == 0.0:
        return np.zeros(1), np.zeros(1)
    most = min(int(np.count_nonzero(is_free)), MOST_PRODUCTS)
    basis, images = np.zeros((most, gradient.size)), np.zeros((most, gradient.size))
    basis[0], count = gradient / norm, 0
    while count < most:
        images[count] = np.where(is_free, products(basis[count]), 0.0)
        count += 1
        known = basis[:count]
        rest = images[count - 1] - (known @ images[count - 1]) @ known
        # Once more, or rounding leaves a part of the earlier vectors.
        rest = rest - (known @ rest) @ known
        length = float(np.linalg.norm(rest))
        # Differences of gradients have about half the digits: what is left below that is their noise.
        if count == most or length <= EPS**0.5 * float(np.linalg.norm(images[count - 1])):
            break
        basis[count] = rest / length
    vectors = basis[:count]
    projected = vectors @ images[:count].T
    values, rotation = scipy.linalg.eigh(0.5 * (projected + projected.T))
    return values, rotation.T @ (vectors @ gradient)


def _gradient(best: Evaluation) -> Vector:
    return np.zeros(0) if best.gradient is None else best.gradient


def _squares(best: Evaluation) -> tuple[Vector, Matrix]:
    """Return residuals and Jacobian; of many residuals the part that the variables reach, in few components."""
    if best.residuals is None or best.jacobian is None:
        return np.zeros(0), np.zeros((0, 0))
    if len(best.jacobian) < TALL * best.jacobian.shape[1]:
        return best.residuals, best.jacobian
    Q, R = np.linalg.qr(best.jacobian)
    return Q.T @ best.residuals, R
