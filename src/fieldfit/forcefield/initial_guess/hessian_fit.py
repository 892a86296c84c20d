"""Force constants by one bounded linear least-squares problem on the eigenmatrix.

At the QM geometry and for given equilibrium values every element of the Hessian is linear in the force constants k:

    min_k  |E(0) + (dE/dk) k - target|^2     subject to  lower <= k <= upper,

with the eigenmatrix E and its target in wavenumbers (see `eigenmatrix`). The problem is convex, so there is one
answer and no start matters. Contributions that are not fitted stay in E(0) and are thereby subtracted.

The reaction coordinate of a transition state has no place in such a force field; what is done with it is one of the
methods of `transition_states`, of which each solves this problem once, E2 twice and E three times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy.optimize

from fieldfit.blas import one_blas_thread
from fieldfit.errors import EvaluationError
from fieldfit.forcefield.eigenmatrix import FLOOR, Eigenmatrix, EigenmatrixTarget
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.initial_guess.seminario import TYPICAL_ANGLE, TYPICAL_BOND
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.transition_states import (
    ZERO_WEIGHT,
    any_transition_state,
    check_method,
    hold,
    lift_zero_bounds,
    qm_modes,
    takes_every_mode,
    target_molecules,
    vanishing,
)
from fieldfit.parameters import Parameters, ParameterSpace
from fieldfit.typing import Matrix, Vector

TYPICAL: Mapping[str, float] = {"bond": TYPICAL_BOND, "angle": TYPICAL_ANGLE, "linear-bend": TYPICAL_ANGLE}
"""Constants that E2 gives to those that vanish, by kind of row [kcal/mol/A^2, kcal/mol/rad^2]."""


def hessian_fit(
    molecules: Sequence[Molecule],
    force_field: ForceField,
    parameters: Parameters | None = None,
    *,
    transition_state: str = ZERO_WEIGHT,
) -> ForceField:
    """Fit all force constants that are free to the QM Hessians at the QM geometries.

    Args:
        molecules: Molecules with QM Hessians.
        force_field: Rows and equilibrium values.
        parameters: The force field's parameters with bounds, fixed marks and ties; default: its own. Fixed constants
            keep their values, tied ones are fitted as one.
        transition_state: One of `transition_states.METHODS`; without effect on sets of minima. By "D" constants may
            come out negative.

    Returns:
        The force field with fitted force constants; everything else has the values of the parameters.

    Raises:
        SettingsError: Unknown method for transition states.
        EvaluationError: The linear problem could not be solved.
    """
    check_method(transition_state)
    parameters = force_field.parameters if parameters is None else parameters
    if not _has_free_constants(force_field, parameters):
        return force_field
    return linear_fit(
        target_molecules(molecules, transition_state),
        force_field,
        target_parameters(molecules, force_field, parameters, transition_state),
        with_imaginary=takes_every_mode(transition_state),
    )


def target_parameters(
    molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters, method: str
) -> Parameters:
    """Return parameters as a method for transition states lets them vary.

    By "E" and "E2" this fits the Hessian by "D", and by "E" once more by "C", at the equilibrium values of the
    parameters. To hold the same constants in several fits, ask once and give all of them the answer.

    Args:
        molecules: Molecules with QM Hessians.
        force_field: Rows.
        parameters: The force field's parameters with values, bounds, fixed marks and ties.
        method: One of `transition_states.METHODS`.

    Returns:
        By "D" without the lower bounds that are zero; by "E" and "E2" with vanishing constants held; by other methods,
        and for sets of minima, as they are.

    Raises:
        SettingsError: Unknown method for transition states.
        EvaluationError: The linear problem could not be solved.
    """
    check_method(method)
    if method not in CHANGES or not any_transition_state(molecules):
        return parameters
    return CHANGES[method](molecules, force_field, parameters)


def _free_to_be_negative(molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters) -> Parameters:
    return lift_zero_bounds(force_field, parameters)


def _held_as_by_c(molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters) -> Parameters:
    by_c = hessian_fit(molecules, force_field, parameters, transition_state="C").parameters
    return hold(parameters, {name: float(by_c[name].value) for name in _gone(molecules, force_field, parameters)})


def _held_at_typical_values(
    molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters
) -> Parameters:
    gone = _gone(molecules, force_field, parameters)
    return hold(parameters, {name: TYPICAL[kind] for name, kind in gone.items()})


def _gone(molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters) -> dict[str, str]:
    return vanishing(hessian_fit(molecules, force_field, parameters, transition_state="D"), parameters)


CHANGES: Mapping[str, Callable[[Sequence[Molecule], ForceField, Parameters], Parameters]] = {
    "D": _free_to_be_negative,
    "E": _held_as_by_c,
    "E2": _held_at_typical_values,
}
"""Methods for transition states that change what parameters may do, and how."""


def linear_fit(
    molecules: Sequence[Molecule],
    force_field: ForceField,
    parameters: Parameters,
    *,
    with_imaginary: bool = False,
    floor: float = FLOOR,
) -> ForceField:
    """Fit all force constants that are free to the eigenmatrices of the molecules.

    Args:
        molecules: Molecules with QM Hessians.
        force_field: Rows and equilibrium values.
        parameters: The force field's parameters with bounds, fixed marks and ties.
        with_imaginary: Whether rows and columns of imaginary modes take part.
        floor: See `eigenmatrix.floored` [1/cm].

    Returns:
        The force field with fitted force constants; everything else has the values of the parameters.

    Raises:
        EvaluationError: The linear problem could not be solved.
    """
    if not _has_free_constants(force_field, parameters):
        return force_field.with_values(parameters.values)
    with one_blas_thread():
        return _linear_fit(molecules, force_field, parameters, with_imaginary, floor)


def _linear_fit(
    molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters, with_imaginary: bool, floor: float
) -> ForceField:
    space = ParameterSpace(parameters)
    chosen = np.flatnonzero(force_field.is_linear[parameters.is_free])
    x = space.start.copy()
    x[chosen] = 0.0
    p = space.physical(x) * force_field.internal_factors
    columns = np.flatnonzero(np.isin(space.source, chosen))
    reduced, factors = np.zeros((0, chosen.size + 1)), force_field.internal_factors
    for molecule, system in zip(molecules, JaxEngine().systems(molecules, force_field), strict=True):
        geometry = FixedGeometry(system, molecule.record.coordinates)
        modes, masses = qm_modes(molecule), molecule.record.masses
        target = EigenmatrixTarget(modes, masses, floor=floor, with_imaginary=with_imaginary)
        eigenmatrix = Eigenmatrix(geometry, target)
        terms = geometry.term_vector(p, columns)
        block = np.zeros((len(target.values), factors.size))
        block[:, columns] = eigenmatrix.jacobian(terms) * factors[columns]
        rest = target.values - eigenmatrix.elements(terms)
        reduced = _reduced(reduced, np.column_stack([space.chain(block)[:, chosen], rest]))
    x[chosen] = _least_squares(reduced[:, :-1], reduced[:, -1], space.lower[chosen], space.upper[chosen])
    fitted = space.values(x)
    names = [parameters.names[index] for index in np.flatnonzero(force_field.is_linear & parameters.is_free)]
    constants = {name: np.clip(fitted[name], parameters[name].lower, parameters[name].upper) for name in names}
    return force_field.with_values(parameters.replace(constants).values)


def _has_free_constants(force_field: ForceField, parameters: Parameters) -> bool:
    return bool(np.any(force_field.is_linear & parameters.is_free))


def _reduced(above: Matrix, rows: Matrix) -> Matrix:
    """Return few rows with the same scalar products as two sets of rows: the least-squares problem stays the same."""
    return np.asarray(np.linalg.qr(np.concatenate([above, rows]), mode="r"))


def _least_squares(matrix: Matrix, target: Vector, lower: Vector, upper: Vector) -> Vector:
    """Return the x between bounds that makes |matrix x - target| smallest, shape (n,)."""
    x, is_open = lower.copy(), lower < upper
    if not np.any(is_open):
        return x
    rest = target - matrix[:, ~is_open] @ x[~is_open]
    bounds = (lower[is_open], upper[is_open])
    found = scipy.optimize.lsq_linear(matrix[:, is_open], rest, bounds=bounds, method="bvls")
    if not found.success:
        raise EvaluationError(f"The Hessian fit did not converge: {found.message} Start from another method.")
    x[is_open] = found.x
    return x
