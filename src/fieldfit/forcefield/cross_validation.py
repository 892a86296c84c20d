"""Cross-validation of a force field by molecules: fit it without one, then see how well that one is described.

The whole staged fit is repeated from the start that was given, so that nothing of the molecule left out is known,
except through equilibrium values where those of the given force field come from it. Rows that act in no other molecule
cannot be determined without it: their parameters are held where they started, and named.

The figures are those of the report: wavenumbers, bonds and angles at the minimum of the force field, and the diagonal
of the eigenmatrix at the QM geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fieldfit.execution import ExecutorChoice
from fieldfit.forcefield.assignment import acting
from fieldfit.forcefield.fitting import ForceFieldObjective
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.reference_data import ReferenceData
from fieldfit.forcefield.report_statistics import describe_molecule
from fieldfit.forcefield.staged_fit import References, StagedFit, fit_force_field
from fieldfit.parameters import Parameters
from fieldfit.problem import OptimizationResult
from fieldfit.validation import LeaveOneOut
from fieldfit.validation.leave_one_out import left_out_in_turn

FIGURES = {
    "frequency [1/cm]": "frequency_rmsd",
    "eigenmatrix [1/cm]": "eigenmatrix_rmsd",
    "R2 of it": "eigenmatrix_r2",
    "bonds [A]": "bond_rmsd",
    "angles [deg]": "angle_rmsd",
}
"""Heading to field of `MoleculeReport`."""


def leave_molecules_out(
    molecules: Sequence[Molecule],
    force_field: ForceField,
    references: References | None = None,
    *,
    full: StagedFit | None = None,
    executor: ExecutorChoice = None,
    **options: Any,
) -> LeaveOneOut:
    """Fit without each molecule in turn and describe that molecule.

    Args:
        molecules: Molecules with QM Hessians, at least two.
        force_field: Rows and start values.
        references: As for `fit_force_field`.
        full: The fit to all of them, to compare with.
        executor: Where the fits are made; see `AbstractOptimizer.optimize`.
        **options: Options of `fit_force_field`.

    Returns:
        Figures of each molecule without it and, if `full` is given, with it; parameters that were held.

    Raises:
        SettingsError: There is only one molecule.
    """
    parameters = options.pop("parameters", None) or force_field.parameters
    by_name = {molecule.name: molecule for molecule in molecules}
    held = {name: only_in(molecule, molecules, force_field, parameters) for name, molecule in by_name.items()}

    def fit(left_out: str) -> OptimizationResult:
        others = [molecule for molecule in molecules if molecule.name != left_out]
        data = references.without(molecules=left_out) if isinstance(references, ReferenceData) else references
        rest = {**options, **_ensembles_without(left_out, options)}
        return fit_force_field(others, force_field, data, parameters=parameters.fix(*held[left_out]), **rest).result

    def measure(name: str, result: OptimizationResult) -> dict[str, float]:
        return figures(by_name[name], force_field, result, options)

    found = left_out_in_turn(fit, list(by_name), measure, full=full and full.result, executor=executor)
    return LeaveOneOut(tuple(replace(row, held=held[row.name]) for row in found.rows))


def figures(
    molecule: Molecule, force_field: ForceField, result: OptimizationResult, options: dict[str, Any]
) -> dict[str, float]:
    """Return the figures of one molecule at fitted parameters.

    Args:
        molecule: Molecule with a QM Hessian.
        force_field: Rows.
        result: A fit of their parameters.
        options: Options of the fit; `engine` and `transition_state` matter.
    """
    chosen = {name: options[name] for name in ("engine", "transition_state") if options.get(name) is not None}
    objective = ForceFieldObjective(force_field, [molecule], ["eigenmatrix_diagonal"], **chosen)
    (evaluation,) = objective.at(result.parameters.flat, objective.initial_state())
    report = describe_molecule(None, evaluation)
    return {heading: getattr(report, name) for heading, name in FIGURES.items()}


def only_in(
    molecule: Molecule, molecules: Sequence[Molecule], force_field: ForceField, parameters: Parameters
) -> tuple[str, ...]:
    """Return the free parameters of a force field that act in one molecule only.

    Args:
        molecule: The molecule.
        molecules: All molecules.
        force_field: Rows.
        parameters: Its parameters with fixed marks and ties; one that others follow acts where they do.
    """
    elsewhere: set[int] = set()
    for other in molecules:
        if other.name != molecule.name:
            elsewhere |= acting(other, force_field)
    names = force_field.parameter_names
    leaders = {follower: tie.leader for follower, tie in parameters.ties.items()}
    known = {leaders.get(names[index], names[index]) for index in elsewhere}
    free = [name for name, is_free in zip(parameters.names, parameters.is_free, strict=True) if is_free]
    return tuple(name for name in free if name not in known)


def _ensembles_without(left_out: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the ensembles of other molecules, if there are ensembles at all."""
    if not options.get("ensembles"):
        return {}
    return {"ensembles": tuple(entry for entry in options["ensembles"] if entry.molecule.name != left_out)}
