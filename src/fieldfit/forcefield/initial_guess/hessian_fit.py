"""Force constants by one bounded linear least-squares problem on the eigenmatrix.

At the QM geometry and for given equilibrium values every element of the Hessian is linear in the force constants k:

    min_k  |E(0) + (dE/dk) k - target|^2     subject to  lower <= k <= upper,

with the eigenmatrix E and its target in wavenumbers (see `eigenmatrix`). The problem is convex, so there is one
answer and no start matters. Contributions that are not fitted stay in E(0) and are thereby subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize

from fieldfit.errors import EvaluationError
from fieldfit.forcefield.eigenmatrix import Eigenmatrix
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry, TermVector
from fieldfit.forcefield.engines.jax import JaxEngine, System
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.vibrations import normal_modes
from fieldfit.parameters import Parameters, ParameterSpace
from fieldfit.typing import Matrix, Vector


def hessian_fit(
    molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters | None = None
) -> ForceField:
    """Fit all force constants that are free to the QM Hessians at the QM geometries.

    Args:
        molecules: Molecules with QM Hessians.
        force_field: Rows and equilibrium values.
        parameters: The force field's parameters with bounds, fixed marks and ties; default: its own. Fixed constants
            keep their values, tied ones are fitted as one.

    Returns:
        The force field with fitted force constants; everything else has the values of the parameters.

    Raises:
        EvaluationError: The linear problem could not be solved.
    """
    parameters = force_field.parameters if parameters is None else parameters
    if not np.any(force_field.is_linear & parameters.is_free):
        return force_field
    space = ParameterSpace(parameters)
    chosen = np.flatnonzero(force_field.is_linear[parameters.is_free])
    x = space.start.copy()
    x[chosen] = 0.0
    blocks, targets = [], []
    systems = JaxEngine().systems(molecules, force_field)
    for molecule, system in zip(molecules, systems, strict=True):
        eigenmatrix, terms = _linear_model(molecule, system, space.physical(x) * force_field.internal_factors)
        blocks.append(space.chain(eigenmatrix.jacobian(terms) * force_field.internal_factors)[:, chosen])
        targets.append(eigenmatrix.target - eigenmatrix.elements(terms))
    x[chosen] = _least_squares(
        np.concatenate(blocks), np.concatenate(targets), space.lower[chosen], space.upper[chosen]
    )
    fitted = space.values(x)
    names = [parameters.names[index] for index in np.flatnonzero(force_field.is_linear & parameters.is_free)]
    constants = {name: np.clip(fitted[name], parameters[name].lower, parameters[name].upper) for name in names}
    return force_field.with_values(parameters.replace(constants).values)


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


def _linear_model(molecule: Molecule, system: System, p: Vector) -> tuple[Eigenmatrix, TermVector]:
    """Return the eigenmatrix of a molecule and its term vector with all fitted constants at zero."""
    record = molecule.record
    geometry = FixedGeometry(system, record.coordinates)
    modes = normal_modes(molecule.qm_hessian, record.coordinates, record.masses)
    eigenmatrix = Eigenmatrix(geometry, modes, record.masses)
    return eigenmatrix, geometry.term_vector(p)
