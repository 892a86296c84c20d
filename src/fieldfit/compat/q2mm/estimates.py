"""Starting force constants by Q2MM's signature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fieldfit.compat.q2mm.force_field import ForceField, as_handle
from fieldfit.errors import SettingsError
from fieldfit.forcefield import ForceField as NativeForceField
from fieldfit.forcefield import Molecule
from fieldfit.forcefield.initial_guess import estimate_force_constants as estimate
from fieldfit.forcefield.transition_states import JUDGED, ZERO_WEIGHT
from fieldfit.parameters import Parameters
from fieldfit.registry import unknown_name

POLICIES = ("keep", "skip")
"""What becomes of estimates that are not positive."""


def estimate_force_constants(
    molecules: Molecule | Sequence[Molecule],
    forcefield: ForceField | NativeForceField | None = None,
    method: str = "qfuerza",
    *,
    zero_torsions: bool = False,
    invalid_policy: str = "keep",
    ts_method: str | None = None,
) -> ForceField:
    """Estimate force constants from QM Hessians.

    Two things differ from Q2MM. Torsions, out-of-plane and cross terms are fitted to the Hessian, because a torsion
    without a constant leaves the molecule floppy and its geometry at the minimum undetermined; `zero_torsions=True`
    starts torsions at zero as Q2MM does. And constants keep to their bounds: an estimate below zero becomes zero.

    Args:
        molecules: One or several molecules with QM Hessians.
        forcefield: Rows with equilibrium values; what is frozen keeps its values. Default: a harmonic force field for
            the molecules, with the means of their bonds and angles.
        method: "qfuerza", "seminario", "modified-seminario", "gamma-fuerza", "hessian-fit" (the best of them, see
            `fieldfit.forcefield.initial_guess.hessian_fit`) or "approximation".
        zero_torsions: Whether torsions start at zero.
        invalid_policy: "keep" an estimate that is not positive, as the bound next to it, or "skip" it: the value of
            the force field stays.
        ts_method: Treatment of transition states, such as "C" or "D"; None: the reaction coordinate has no weight.

    Returns:
        A new force field.

    Raises:
        SettingsError: An unknown method or policy.

    Example:
        >>> from fieldfit.compat.q2mm import estimate_force_constants
        >>> ff = estimate_force_constants(molecules, method="qfuerza")                # doctest: +SKIP
    """
    if invalid_policy not in POLICIES:
        raise SettingsError(unknown_name("policy for invalid estimates", invalid_policy, POLICIES))
    listed = [molecules] if isinstance(molecules, Molecule) else list(molecules)
    start = ForceField.create_for_molecule(listed) if forcefield is None else as_handle(forcefield)
    parameters = _without_torsions(start) if zero_torsions else start.parameters
    found = estimate(listed, start.native, method, parameters=parameters, transition_state=ts_method or ZERO_WEIGHT)
    vector = found.parameters.flat
    if invalid_policy == "skip":
        constants = {f"{row.label}.k" for row in found.rows if row.kind in JUDGED}
        is_constant = np.array([name in constants for name in found.parameter_names], dtype=bool)
        vector = np.where(is_constant & (vector <= 0.0), start.get_param_vector(), vector)
    return start.with_params(vector)


def _without_torsions(forcefield: ForceField) -> Parameters:
    """Return parameters in which the torsions that vary are zero and stay so."""
    names = [f"{row.label}.k" for row in forcefield.native.rows if row.kind == "torsion"]
    parameters = forcefield.parameters
    free = dict(zip(parameters.names, parameters.is_free, strict=True))
    chosen = [name for name in names if free[name]]
    return parameters.replace(dict.fromkeys(chosen, 0.0)).fix(*chosen) if chosen else parameters
