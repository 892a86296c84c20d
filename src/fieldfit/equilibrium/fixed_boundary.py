"""Solving for the equilibrium of a given boundary, flux, pressure and rotational transform."""

from __future__ import annotations

from collections.abc import Sequence

from fieldfit.equilibrium.boundary import boundary_constraints
from fieldfit.equilibrium.equilibrium import UNKNOWNS, Equilibrium
from fieldfit.equilibrium.force_balance import ForceBalance
from fieldfit.equilibrium.grid import Grid
from fieldfit.equilibrium.modes import Resolution
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.problem import AbstractOptimizer, Observer, OptimizationResult, Problem

DEFAULT_OPTIMIZER = LeastSquaresOptimizer()


def solve(
    equilibrium: Equilibrium,
    *,
    optimizer: AbstractOptimizer = DEFAULT_OPTIMIZER,
    observers: Sequence[Observer] = (),
    grid: Grid | None = None,
    continuation: Sequence[Resolution | int] = (),
) -> tuple[Equilibrium, OptimizationResult]:
    """Find the flux surfaces on which the magnetic force balances the pressure gradient.

    The start is what the equilibrium is: `Equilibrium.from_boundary` for the first solve, a solution of a similar case
    for a warm start.

    Args:
        equilibrium: Boundary, flux and profiles, and the surfaces to start from.
        optimizer: For least squares.
        observers: Each is called with every `Step`.
        grid: Where the force is evaluated; default: `quadrature_grid` of its resolution.
        continuation: Resolutions to solve at before, each from the solution of the last.

    Returns:
        The equilibrium with the surfaces that were found, and the result of the last run.

    Raises:
        EvaluationError: The start has no force that can be computed.

    Example:
        >>> from fieldfit.equilibrium import Equilibrium, PowerSeries, solve
        >>> start = Equilibrium.from_boundary(
        ...     4, Rb={0: 4.0, 1: 1.0}, Zb={-1: -1.5}, Psi=1.0, pressure=PowerSeries([0.0]), iota=PowerSeries([1.0])
        ... )
        >>> solved, result = solve(start)
        >>> result.success
        True
    """
    found = equilibrium
    for resolution in continuation:
        found, _ = solve(_continued(equilibrium.with_resolution(resolution), found), optimizer=optimizer)
    start = _continued(equilibrium, found)
    result = optimizer.optimize(fixed_boundary_problem(start, grid=grid), observers=observers)
    return start.with_params({name: result.x[name] for name in UNKNOWNS}), result


def fixed_boundary_problem(equilibrium: Equilibrium, *, grid: Grid | None = None) -> Problem:
    """Return force balance under the conditions of the boundary, for any optimizer of least squares.

    Args:
        equilibrium: Boundary, flux and profiles, and the surfaces to start from.
        grid: Where the force is evaluated; default: `quadrature_grid` of its resolution.
    """
    return Problem(ForceBalance(equilibrium, grid=grid), constraints=boundary_constraints(equilibrium))


def _continued(target: Equilibrium, solution: Equilibrium) -> Equilibrium:
    """Return the target with the surfaces of a solution of another resolution."""
    moved = solution.with_resolution(target.resolution)
    return target.with_params({name: moved.params_dict[name] for name in UNKNOWNS})
