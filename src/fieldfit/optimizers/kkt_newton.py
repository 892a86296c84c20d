"""Newton's method on the conditions of Karush, Kuhn and Tucker: the last digits of a constrained minimum.

Problem
-------
Minimise f(x) subject to l <= a(x) <= u, where a(x) = (c(x), x) are the constraints and the variables, A = (J; I) their
Jacobian and y = (multipliers, bound multipliers) belongs to them, in rows of one kind. Near a solution each step is the
solution of

    minimise g^T p + 0.5 p^T H p   subject to   l <= a + A p <= u

with H the second derivatives of the Lagrangian f + y^T a. The quadratic program is solved by a primal-dual active set:
the rows with t = a + A p + y / rho outside [l, u] are active, on the side where t is, which asks for the right sign of
a multiplier and for feasibility at once. p and y are computed anew for that set until it repeats. For one set,

    A_a p = d,  d = (the limit - a)_a     p_n = V S^+ U^T d, the shortest solution, from A_a = U S V^T
    Z^T H Z q = -Z^T (g + H p_n)          in the null space Z of A_a; p = p_n + Z q
    A_a^T y_a = -(g + H p)                the shortest solution

so that constraints may depend on each other. A step is taken only if it lowers the KKT residual and if the reduced
Hessian Z^T H Z of the last set has no negative eigenvalue; so no saddle point is approached, and a step that leaves a
constraint or a bound is not taken. Convergence is quadratic where the reduced Hessian is positive definite.

Second derivatives of a scalar are exact where JAX has them. Those of a sum of squares are forward differences of the
gradient of the Lagrangian, one evaluation per variable: nothing else in a least-squares run needs them, and compiling
them would take longer than the run. They are made once: every step changes the gradient of the Lagrangian by a known
amount d over a known way s, and the symmetric update of rank one

    H <- H + r r^T / r^T s,   r = d - H s

takes that up without an evaluation. Where a step brings the point little closer they are made anew.

Units
-----
Rows of A are measured by their lengths s (1 for a bound), x by its size X = max(1, |x|), and gradients by
G = max(|g| + |J|^T |y| + |H| X). For each row the residual is the shortest of the ways to fulfil it, relative: the
violation over s X; if it is fulfilled, the distance of t from a itself. Nothing depends on units of f or of c.

References:
    Hintermueller, Ito, Kunisch (2002), The primal-dual active set strategy as a semismooth Newton method,
        doi:10.1137/S1052623401383558.
    Nocedal, Wright (2006), Numerical Optimization, section 6.2, ch. 16 and 18, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from fieldfit.errors import EvaluationError
from fieldfit.objectives import Evaluation
from fieldfit.optimizers.augmented_problem import between, limits_of, linearization
from fieldfit.optimizers.exact_steps import EPS, norm
from fieldfit.problem import Recorder
from fieldfit.typing import Matrix, Vector

MOST_STEPS = 12
"""Newton steps; a quadratic method has converged or failed by then."""

MOST_SETS = 30
"""Active sets per step."""

FALL = 0.5
"""A step has to lower the KKT residual to this part."""

WELL = 0.1
"""Second derivatives are kept after a step that lowered it to this part."""

FELT = 1e-8
"""An update of rank one is left out if r and s are at right angles but for this."""

DEPENDENT = 1e-9
"""Rows are dependent if a singular value is below this part of the largest."""

FLAT = 1e-8
"""Eigenvalues of the reduced Hessian below this part of the largest are zero."""

DIFFERENCE = 1e-7
"""Step of forward differences of gradients, relative to the variable or 1: the best of rounding and curvature."""


dgesdd, dsyevd = scipy.linalg.get_lapack_funcs(("gesdd", "syevd"), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class KktPoint:
    """A point with multipliers and how well it meets the conditions.

    Args:
        x: The point, inside the bounds, shape (n,).
        evaluation: Of the constrained problem there, with derivatives.
        multipliers: Of the constraints, shape (m,).
        residual: Largest relative violation of a condition.
        step: Length of the last Newton step that was computed, relative to the size of x; infinite if there was none.
        n_steps: Newton steps that were taken.
    """

    x: Vector
    evaluation: Evaluation
    multipliers: Vector
    residual: float
    step: float
    n_steps: int


@dataclass(frozen=True, eq=False)
class _Units:
    """Units of rows, of x and of gradients.

    Args:
        rows: Lengths of the rows s, shape (rows,).
        size: X of the module docstring.
        slope: G of the module docstring.
        reach: s X, by which a violation is measured, shape (rows,).
        stiffness: rho: multipliers over it have the unit of their rows, shape (rows,).
    """

    rows: Vector
    size: float
    slope: float
    reach: Vector
    stiffness: Vector


@dataclass(frozen=True, eq=False)
class _Frame:
    """What is the same at every point: which variables have bounds, their rows of A, the limits of all rows."""

    is_bounded: np.ndarray
    identity: Matrix
    lower: Vector
    upper: Vector


@dataclass(frozen=True, eq=False)
class _Model:
    """The quadratic program around a point: values a, limits, Jacobian A, gradient g, Hessian H, multipliers y."""

    a: Vector
    lower: Vector
    upper: Vector
    A: Matrix
    g: Vector
    H: Matrix
    y: Vector
    units: _Units


def newton_kkt(
    problem: Recorder, x: Vector, found: Evaluation, multipliers: Vector, *, target: float = 1e-14
) -> KktPoint:
    """Take Newton steps towards the conditions of Karush, Kuhn and Tucker while they bring it closer.

    Args:
        problem: What to evaluate, with constraints, bounds and second derivatives.
        x: Point near a solution, inside the bounds, shape (n,).
        found: Evaluation there, with derivatives.
        multipliers: Of the constraints, estimates, shape (m,).
        target: Residual at which no further step is tried.

    Returns:
        The point reached, which is the given one if no step brings it closer.

    Raises:
        Interruption: A budget is spent.
    """
    point, frame = KktPoint(x, found, multipliers, np.inf, np.inf, 0), _frame(problem)
    H: Matrix | None = None
    for _ in range(MOST_STEPS):
        is_kept = H is not None
        try:
            H = _lagrangian_hessian(problem, point) if H is None else H
        except EvaluationError:
            break
        if not np.isfinite(H).all():
            break
        model = _model(frame, point, H)
        point = replace(point, residual=_residual(model))
        step = _solve(model)
        if point.residual <= target:
            length = np.inf if step is None else norm(step.p) / model.units.size
            return replace(point, step=min(point.step, length))
        after = None if step is None else _try(problem, point, model, step, frame=frame)
        if after is None and not is_kept:
            break
        is_well = after is not None and after.residual <= WELL * point.residual
        H = _updated(H, point, after) if is_well and after is not None else None
        point = point if after is None else after
    return point


def _updated(H: Matrix, before: KktPoint, after: KktPoint) -> Matrix:
    """Return second derivatives that explain what a step did to the gradient of the Lagrangian."""
    s = after.x - before.x
    change = _lagrangian_slope(after.evaluation, after.multipliers)
    change = change - _lagrangian_slope(before.evaluation, after.multipliers)
    r = change - H @ s
    along = float(r @ s)
    return H + np.outer(r, r) / along if abs(along) > FELT * norm(r) * norm(s) else H


def _frame(problem: Recorder) -> _Frame:
    is_bounded = np.isfinite(problem.lower) | np.isfinite(problem.upper)
    limits = limits_of(problem)
    return _Frame(
        is_bounded,
        np.eye(is_bounded.size)[is_bounded],
        np.concatenate([limits.lower, problem.lower[is_bounded]]),
        np.concatenate([limits.upper, problem.upper[is_bounded]]),
    )


def _model(frame: _Frame, point: KktPoint, H: Matrix) -> _Model:
    """Build the quadratic program around a point; bounds take up what is left of the slope."""
    _, J = linearization(point.evaluation)
    size = max(1.0, float(np.abs(point.x).max(initial=0.0)))
    lengths = np.sqrt(np.einsum("ij,ij->i", J, J))
    lengths = np.concatenate([np.where(lengths > 0.0, lengths, 1.0), np.ones(len(frame.identity))])
    slopes = np.abs(_gradient(point)) + np.abs(point.multipliers).dot(np.abs(J)) + np.abs(H).max(axis=1) * size
    slope = float(slopes.max()) or 1.0
    units = _Units(lengths, size, slope, reach=lengths * size, stiffness=slope / (lengths**2 * size))
    return _at(frame, point, H, units)


def _at(frame: _Frame, point: KktPoint, H: Matrix, units: _Units) -> _Model:
    """Return the quadratic program around a point in given units."""
    c, J = linearization(point.evaluation)
    g = _gradient(point)
    rest = -(g + point.multipliers.dot(J))
    return _Model(
        a=np.concatenate([c, point.x[frame.is_bounded]]),
        lower=frame.lower,
        upper=frame.upper,
        A=np.concatenate([J, frame.identity]),
        g=g,
        H=H,
        y=np.concatenate([point.multipliers, rest[frame.is_bounded]]),
        units=units,
    )


def _gradient(point: KktPoint) -> Vector:
    return np.zeros_like(point.x) if point.evaluation.gradient is None else point.evaluation.gradient


def _lagrangian_hessian(problem: Recorder, point: KktPoint) -> Matrix:
    """Return the second derivatives of f + y^T c, shape (n, n).

    Raises:
        EvaluationError: A gradient it needs cannot be computed.
    """
    if problem.has_residuals:
        return _differenced_hessian(problem, point)
    H = problem.hessian(point.x, point.evaluation.state)
    return H + problem.constraint_hessian(point.x, point.multipliers) if np.any(point.multipliers) else H


def _differenced_hessian(problem: Recorder, point: KktPoint) -> Matrix:
    """Return the same by forward differences; columns of variables without room are zero."""
    x, found = point.x, point.evaluation
    here, columns = _lagrangian_slope(found, point.multipliers), np.zeros((x.size, x.size))
    steps = DIFFERENCE * np.maximum(1.0, np.abs(x))
    steps = np.where(x + steps <= problem.upper, steps, -steps)
    has_room = x + steps >= problem.lower
    for variable in np.flatnonzero(has_room):
        nearby = x.copy()
        nearby[variable] += steps[variable]
        slope = _lagrangian_slope(problem.problem.evaluate(nearby, found.state), point.multipliers)
        columns[variable] = (slope - here) / (nearby[variable] - x[variable])
    problem.count_differences(int(np.count_nonzero(has_room)))
    return 0.5 * (columns + columns.T)


def _lagrangian_slope(found: Evaluation, multipliers: Vector) -> Vector:
    if found.gradient is None or found.constraint_jacobian is None or not found.is_finite:
        raise EvaluationError(f"A neighbouring point cannot be evaluated: {found.failure or 'it is not finite'}")
    return found.gradient + multipliers.dot(found.constraint_jacobian)


def _residual(model: _Model) -> float:
    """Return the largest relative violation of a condition."""
    units = model.units
    stationarity = np.abs(model.g + model.y.dot(model.A)).max() / units.slope
    shifted = model.a + model.y / units.stiffness
    remainder = np.abs(model.a - between(shifted, model.lower, model.upper)) / units.reach
    violation = np.abs(model.a - between(model.a, model.lower, model.upper)) / units.reach
    return float(max(stationarity, remainder.max(initial=0.0), violation.max(initial=0.0)))


@dataclass(frozen=True, eq=False)
class _Solution:
    """Step and multipliers of all rows; whether the reduced Hessian is nowhere negative."""

    p: Vector
    y: Vector
    is_minimum: bool


def _solve(model: _Model) -> _Solution | None:
    """Solve the quadratic program; None if no active set repeats or if it leads to no minimum."""
    a, y = model.a, model.y
    last: tuple[np.ndarray, Vector] | None = None
    solution: _Solution | None = None
    for _ in range(MOST_SETS):
        shifted = a + y / model.units.stiffness
        target = between(shifted, model.lower, model.upper)
        is_active = (shifted != target) | (model.lower == model.upper)
        sides = np.where(is_active, target, 0.0)
        if last is not None and (is_active == last[0]).all() and (sides == last[1]).all():
            return solution if solution is not None and solution.is_minimum else None
        last = (is_active, sides)
        solution = _on_active_set(model, is_active, target)
        if solution is None:
            return None
        a, y = model.a + model.A.dot(solution.p), solution.y
        # Rows that are met hold their limit to rounding; the sign of the multiplier alone decides about them.
        a = np.where(is_active & (np.abs(a - target) <= 1e-9 * model.units.reach), target, a)
    return None


def _on_active_set(model: _Model, is_active: np.ndarray, target: Vector) -> _Solution | None:
    """Minimise the quadratic with the active rows at their limits; None if LAPACK finds no singular or eigenvalues."""
    lengths = model.units.rows[is_active]
    rows = model.A[is_active] / lengths[:, None]
    d = (target - model.a)[is_active] / lengths
    n = model.g.size
    # Straight to LAPACK: for a few variables the functions of NumPy take several times as long.
    U, S, Vt, failure = dgesdd(rows) if len(rows) else (np.zeros((0, 0)), np.zeros(0), np.eye(n), 0)
    if failure:
        return None
    rank = int(np.count_nonzero(DEPENDENT * S[0] < S)) if S.size else 0
    U, S, V, Z = U[:, :rank], S[:rank], Vt[:rank].T, Vt[rank:].T
    p = V.dot(U.T.dot(d) / S)
    is_minimum = True
    if Z.shape[1]:
        values, vectors, failure = dsyevd(Z.T.dot(model.H).dot(Z), lower=1)
        if failure:
            return None
        stiffness = np.abs(values)
        largest = float(stiffness.max())
        is_minimum = bool(values[0] >= -FLAT * largest)
        slope = vectors.T.dot(Z.T.dot(model.g + model.H.dot(p)))
        is_felt = stiffness > FLAT * largest
        p = p - Z.dot(vectors[:, is_felt].dot(slope[is_felt] / stiffness[is_felt]))
    y = np.zeros_like(model.a)
    y[is_active] = -U.dot(V.T.dot(model.g + model.H.dot(p)) / S) / lengths
    return _Solution(p, y, is_minimum)


def _try(problem: Recorder, point: KktPoint, model: _Model, solution: _Solution, *, frame: _Frame) -> KktPoint | None:
    """Evaluate the point that a step leads to; None if it meets the conditions no better."""
    x = between(point.x + solution.p, problem.lower, problem.upper)
    length = norm(solution.p) / model.units.size
    found = problem.evaluate(x, point.evaluation.state)
    if found.failure or not found.is_finite or found.constraints is None or found.constraint_jacobian is None:
        return None
    if not (np.isfinite(found.constraints).all() and np.isfinite(found.constraint_jacobian).all()):
        return None
    multipliers = solution.y[: found.constraints.size]
    after = KktPoint(x, found, multipliers, np.inf, length, point.n_steps + 1)
    residual = _residual(_at(frame, after, model.H, model.units))
    if not residual <= max(FALL * point.residual, EPS):
        return None
    problem.accept()
    return replace(after, residual=residual)
