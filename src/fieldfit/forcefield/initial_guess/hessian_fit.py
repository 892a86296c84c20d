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
from typing import TypeAlias

import numpy as np
import scipy.optimize

from fieldfit.errors import EvaluationError
from fieldfit.forcefield.eigenmatrix import Eigenmatrix
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.initial_guess.seminario import TYPICAL_ANGLE, TYPICAL_BOND
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.transition_states import (
    ZERO_WEIGHT,
    any_transition_state,
    check_method,
    every_mode,
    hold,
    invert_curvature,
    lift_zero_bounds,
    qm_modes,
    real_modes,
    vanishing,
)
from fieldfit.forcefield.vibrations import NormalModes
from fieldfit.parameters import Parameters, ParameterSpace
from fieldfit.typing import Matrix, Vector

Target: TypeAlias = Callable[[FixedGeometry, NormalModes, Vector], tuple[Eigenmatrix, Vector]]
"""Returns the eigenmatrix of a molecule and what it should be."""

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
    if transition_state == ZERO_WEIGHT or not any_transition_state(molecules):
        return linear_fit(molecules, force_field, parameters, real_modes)
    return _METHODS[transition_state](molecules, force_field, parameters)


def _method_c(molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters) -> ForceField:
    stiffened = [invert_curvature(molecule, "C") for molecule in molecules]
    return linear_fit(stiffened, force_field, parameters, every_mode)


def _method_c_prime(molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters) -> ForceField:
    mirrored = [invert_curvature(molecule, "C'") for molecule in molecules]
    return linear_fit(mirrored, force_field, parameters, every_mode)


def _method_d(molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters) -> ForceField:
    return linear_fit(molecules, force_field, lift_zero_bounds(force_field, parameters), every_mode)


def _method_e(molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters) -> ForceField:
    by_c = _method_c(molecules, force_field, parameters).parameters
    gone = vanishing(_method_d(molecules, force_field, parameters), parameters)
    held = hold(parameters, {name: float(by_c[name].value) for name in gone})
    return linear_fit(molecules, force_field, held, every_mode)


def _method_e2(molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters) -> ForceField:
    gone = vanishing(_method_d(molecules, force_field, parameters), parameters)
    held = hold(parameters, {name: TYPICAL[kind] for name, kind in gone.items()})
    return linear_fit(molecules, force_field, held, every_mode)


_METHODS: Mapping[str, Callable[[Sequence[Molecule], ForceField, Parameters], ForceField]] = {
    "C": _method_c,
    "C'": _method_c_prime,
    "D": _method_d,
    "E": _method_e,
    "E2": _method_e2,
}


def linear_fit(
    molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters, target: Target
) -> ForceField:
    """Fit all force constants that are free to one kind of target.

    Args:
        molecules: Molecules with QM Hessians.
        force_field: Rows and equilibrium values.
        parameters: The force field's parameters with bounds, fixed marks and ties.
        target: Makes the eigenmatrix and its target, such as `transition_states.real_modes`.

    Returns:
        The force field with fitted force constants; everything else has the values of the parameters.

    Raises:
        EvaluationError: The linear problem could not be solved.
    """
    if not _has_free_constants(force_field, parameters):
        return force_field.with_values(parameters.values)
    space = ParameterSpace(parameters)
    chosen = np.flatnonzero(force_field.is_linear[parameters.is_free])
    x = space.start.copy()
    x[chosen] = 0.0
    p = space.physical(x) * force_field.internal_factors
    blocks, rests = [], []
    for molecule, system in zip(molecules, JaxEngine().systems(molecules, force_field), strict=True):
        geometry = FixedGeometry(system, molecule.record.coordinates)
        eigenmatrix, wanted = target(geometry, qm_modes(molecule), molecule.record.masses)
        terms = geometry.term_vector(p)
        blocks.append(space.chain(eigenmatrix.jacobian(terms) * force_field.internal_factors)[:, chosen])
        rests.append(wanted - eigenmatrix.elements(terms))
    x[chosen] = _least_squares(np.concatenate(blocks), np.concatenate(rests), space.lower[chosen], space.upper[chosen])
    fitted = space.values(x)
    names = [parameters.names[index] for index in np.flatnonzero(force_field.is_linear & parameters.is_free)]
    constants = {name: np.clip(fitted[name], parameters[name].lower, parameters[name].upper) for name in names}
    return force_field.with_values(parameters.replace(constants).values)


def _has_free_constants(force_field: ForceField, parameters: Parameters) -> bool:
    return bool(np.any(force_field.is_linear & parameters.is_free))


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
