"""Starting force constants by any of the published methods, averaged over equivalent interactions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.initial_guess import seminario
from fieldfit.forcefield.initial_guess.hessian_fit import hessian_fit
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.topology import internal_coordinates
from fieldfit.forcefield.transition_states import REPLACEMENTS, ZERO_WEIGHT, check_method, invert_curvature
from fieldfit.parameters import Parameters, Tie
from fieldfit.registry import unknown_name

METHODS = ("hessian-fit", "seminario", "modified-seminario", "qfuerza", "gamma-fuerza", "approximation", "given")
"""Known methods; "given" keeps the values of the force field."""


def estimate_force_constants(
    molecules: Sequence[Molecule],
    force_field: ForceField,
    method: str = "hessian-fit",
    *,
    scale: float = 1.0,
    parameters: Parameters | None = None,
    transition_state: str = ZERO_WEIGHT,
) -> ForceField:
    """Estimate the force constants of a force field from QM Hessians.

    The methods of the Seminario family give one constant per bond and angle; a row gets the mean over the
    interactions it acts on. They say nothing of torsions, out-of-plane and cross terms: those are fitted to the
    Hessian afterwards, with bonds and angles held.

    Args:
        molecules: Molecules with QM Hessians.
        force_field: Rows with equilibrium values.
        method: One of `METHODS`.
        scale: Factor on the constants of the Seminario family, usually the square of a frequency scale factor.
        parameters: The force field's parameters with bounds and fixed marks; default: its own.
        transition_state: How the Hessian fit treats reaction coordinates, one of `transition_states.METHODS`. "C" and
            "C'" change the Hessian that the Seminario family sees, too.

    Returns:
        The force field with new force constants; those that are fixed keep their values.

    Raises:
        SettingsError: An unknown method, or a scale that is not positive.

    References:
        Seminario (1996), doi:10.1002/(SICI)1097-461X(1996)60:7<1271::AID-QUA8>3.0.CO;2-W.
        Allen, Payne, Cole (2018), doi:10.1021/acs.jctc.7b00785.
        Farrugia, Helquist, Norrby, Wiest (2025), J. Chem. Theory Comput.
    """
    if method not in METHODS:
        raise SettingsError(unknown_name("method for starting force constants", method, METHODS))
    check_method(transition_state)
    parameters = force_field.parameters if parameters is None else parameters
    if method == "given":
        return force_field
    if method == "hessian-fit":
        return hessian_fit(molecules, force_field, parameters, transition_state=transition_state)
    if not (scale > 0.0 and np.isfinite(scale)):
        raise SettingsError(f"The scale of the force constants is {scale}. Give a positive number, such as 0.93.")
    seen = [_as_seen(molecule, transition_state) for molecule in molecules]
    collected = _collected(seen, force_field, lambda molecule: _estimate(molecule, method, scale))
    constants = _within(parameters, _averaged(parameters, collected))
    held = parameters.replace(constants).fix(*collected, *constants)
    estimated = force_field.with_values(held.values)
    return hessian_fit(molecules, estimated, held, transition_state=transition_state) if held.n_free else estimated


def _as_seen(molecule: Molecule, transition_state: str) -> Molecule:
    """Return a molecule with the Hessian that a method for transition states makes of its own."""
    return invert_curvature(molecule, transition_state) if transition_state in REPLACEMENTS else molecule


def _averaged(parameters: Parameters, collected: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the mean of each free constant; one that others follow is the mean over all of them."""
    groups: dict[str, list[float]] = {}
    for name, values in collected.items():
        tie = parameters.ties.get(name, Tie(name))
        groups.setdefault(tie.leader, []).extend(value / tie.factor for value in values)
    return {name: float(np.mean(values)) for name, values in groups.items() if not np.any(parameters[name].fixed)}


def _within(parameters: Parameters, constants: Mapping[str, float]) -> dict[str, float]:
    return {
        name: float(np.clip(value, parameters[name].lower, parameters[name].upper)) for name, value in constants.items()
    }


def _estimate(molecule: Molecule, method: str, scale: float) -> seminario.ForceConstants:
    record = molecule.record
    found = internal_coordinates(molecule)
    bonds, angles = found.bonds, (*found.angles, *found.linear_angles)
    if method == "approximation":
        return seminario.approximation(bonds, angles)
    known: dict[str, Callable[..., seminario.ForceConstants]] = {
        "seminario": seminario.seminario,
        "modified-seminario": seminario.modified_seminario,
        "qfuerza": functools.partial(seminario.qfuerza, symbols=record.symbols),
        "gamma-fuerza": seminario.gamma_fuerza,
    }
    return known[method](molecule.qm_hessian, record.coordinates, bonds, angles, scale=scale)


def _collected(
    molecules: Sequence[Molecule],
    force_field: ForceField,
    estimate: Callable[[Molecule], seminario.ForceConstants],
) -> dict[str, list[float]]:
    """Return the constants of the interactions of every bond, angle and linear-bend row by parameter name."""
    collected: dict[str, list[float]] = {}
    for molecule in molecules:
        found = internal_coordinates(molecule)
        constants = estimate(molecule)
        kinds = (
            ("bond", found.bonds, constants.bonds),
            ("angle", found.angles, constants.angles),
            ("linear-bend", found.linear_angles, constants.angles[len(found.angles) :]),
        )
        for kind, entries, values in kinds:
            for atoms, value in zip(entries, values, strict=False):
                for row in force_field.find(kind, [molecule.types[atom] for atom in atoms]):
                    collected.setdefault(f"{row.label}.k", []).append(float(value))
    return collected
