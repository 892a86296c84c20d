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
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.vibrations import normal_modes
from fieldfit.parameters import Parameters


def hessian_fit(
    molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters | None = None
) -> ForceField:
    """Fit all force constants that are free to the QM Hessians at the QM geometries.

    Args:
        molecules: Molecules with QM Hessians.
        force_field: Rows and equilibrium values.
        parameters: The force field's parameters with bounds and fixed marks; default: its own. Fixed and tied
            constants keep their values.

    Returns:
        The force field with fitted force constants.

    Raises:
        EvaluationError: The linear problem could not be solved.
    """
    parameters = force_field.parameters if parameters is None else parameters
    chosen = np.flatnonzero(force_field.is_linear & parameters.is_free)
    if chosen.size == 0:
        return force_field
    values = parameters.flat
    values[chosen] = 0.0
    blocks, targets = [], []
    for molecule in molecules:
        eigenmatrix, terms = _linear_model(molecule, force_field, values)
        blocks.append(eigenmatrix.jacobian(terms)[:, chosen] * force_field.internal_factors[chosen])
        targets.append(eigenmatrix.target - eigenmatrix.elements(terms))
    scale = np.concatenate([entry.scale.ravel() for entry in parameters])[chosen]
    lower = np.concatenate([entry.lower.ravel() for entry in parameters])[chosen]
    upper = np.concatenate([entry.upper.ravel() for entry in parameters])[chosen]
    found = scipy.optimize.lsq_linear(
        np.concatenate(blocks) * scale, np.concatenate(targets), bounds=(lower / scale, upper / scale), method="bvls"
    )
    if not found.success:
        raise EvaluationError(f"The Hessian fit did not converge: {found.message} Start from another method.")
    names = np.array(parameters.names)[chosen]
    constants = np.clip(found.x * scale, lower, upper)
    return force_field.with_values(dict(zip(names, constants, strict=True)))


def _linear_model(molecule: Molecule, force_field: ForceField, values: np.ndarray) -> tuple[Eigenmatrix, TermVector]:
    """Return the eigenmatrix of a molecule and its term vector with all fitted constants at zero."""
    record = molecule.record
    geometry = FixedGeometry(JaxEngine().system(molecule, force_field), record.coordinates)
    modes = normal_modes(molecule.qm_hessian, record.coordinates, record.masses)
    eigenmatrix = Eigenmatrix(geometry, modes, record.masses)
    return eigenmatrix, geometry.term_vector(values * force_field.internal_factors)
