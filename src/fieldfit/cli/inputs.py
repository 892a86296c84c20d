"""What a settings file names, read: molecules, force field, parameters, references, ensembles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldfit.cli.settings import EnsembleSettings, MacroModelSettings, MoleculeSettings, Settings
from fieldfit.errors import SettingsError
from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.ensemble import Ensemble
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats.mm3_fld import FldFile, read_fld
from fieldfit.forcefield.macromodel import fld_parameters, force_field_from_print_outs, with_record
from fieldfit.forcefield.molecule import Molecule, QMRecord
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.readers.ensemble_xyz import read_ensemble
from fieldfit.forcefield.readers.macromodel_mmo import read_mmo
from fieldfit.forcefield.reference_data import ReferenceData
from fieldfit.forcefield.staged_fit import StartingValues
from fieldfit.forcefield.topology import perceive, share_types
from fieldfit.parameters import Parameter, Parameters
from fieldfit.registry import unknown_name

OF_STRUCTURES = ("bond_tolerance", "bonds", "types")
"""Keys of a molecule that its MacroModel structure decides."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Everything that a fit begins with.

    Args:
        molecules: With QM Hessians.
        force_field: Rows and values.
        parameters: Its parameters as the settings state them.
        start: How force constants are started, and what is held after that.
        references: What is fitted; None for the default references.
        ensembles: Further geometries.
        template: The MacroModel file that the force field was read from; None if it was not.
    """

    molecules: tuple[Molecule, ...]
    force_field: ForceField
    parameters: Parameters
    start: StartingValues
    references: ReferenceData | Mapping[str, float | None] | None
    ensembles: tuple[Ensemble, ...]
    template: FldFile | None


def read_inputs(settings: Settings) -> Inputs:
    """Read what the settings name.

    Raises:
        InputError: A file cannot be used, a pattern matches nothing, or something contradicts something else.
    """
    template = None
    if settings.macromodel is None:
        molecules = read_molecules(settings)
        field = _built(settings, molecules)
        parameters = field.parameters
    else:
        template = read_fld(settings.folder / settings.macromodel.template)
        molecules, field, parameters = read_macromodel(settings, settings.macromodel, template)
    given = settings.parameters
    starts = {name: value for pattern, value in given.start.items() for name in parameters.match(pattern)}
    return Inputs(
        molecules,
        field,
        stated_parameters(settings, field, parameters, starts),
        StartingValues(settings.start.method, settings.start.scale, keep=tuple(starts), then_fix=tuple(given.fix)),
        _read_references(settings),
        tuple(_read_ensemble(entry, molecules, settings.folder) for entry in settings.ensembles),
        template,
    )


def read_molecules(settings: Settings) -> tuple[Molecule, ...]:
    """Read the QM results and find bonds and types.

    Raises:
        InputError: A file, its bonds or its types cannot be used.
    """
    molecules = tuple(_read_molecule(entry, settings.folder) for entry in settings.molecules)
    names = _check_names(molecules)
    untyped = [name for name, entry in zip(names, settings.molecules, strict=True) if entry.types is None]
    if len(untyped) == len(names) > 1:
        return share_types(molecules)
    if 0 < len(untyped) < len(names):
        raise SettingsError(
            f"The settings give the atom types of some molecules, but not the types of {', '.join(untyped)}. Types "
            "that are found might be called like given ones and mean something else: give the types of all, or of none."
        )
    return molecules


def read_macromodel(
    settings: Settings, given: MacroModelSettings, template: FldFile
) -> tuple[tuple[Molecule, ...], ForceField, Parameters]:
    """Read structures of MacroModel, the force field that was used for them, and their QM results, in one order.

    Raises:
        InputError: A file cannot be used, or structures and QM results are not the same molecules.
    """
    print_outs = read_mmo(settings.folder / given.structures)
    for entry in settings.molecules:
        stated = [name for name in OF_STRUCTURES if getattr(entry, name) is not None]
        if stated:
            raise SettingsError(
                f"The settings give {stated[0]} for {entry.file}, but bonds and types come from the structures of "
                f"{given.structures}. Leave it out."
            )
    if len(print_outs) != len(settings.molecules):
        raise SettingsError(
            f"{given.structures} holds {len(print_outs)} structures, but the settings name {len(settings.molecules)} "
            "QM results. Give one [[molecules]] table per structure, in the same order."
        )
    active = given.active or None
    zero_torsions_of = active if given.zero_torsions else None
    bare, field = force_field_from_print_outs(print_outs, template, zero_torsions_of=zero_torsions_of)
    records = [_read_record(entry, settings.folder) for entry in settings.molecules]
    molecules = tuple(with_record(molecule, record) for molecule, record in zip(bare, records, strict=True))
    _check_names(molecules)
    return molecules, field, fld_parameters(field, template, active=active).free(*given.free)


def stated_parameters(
    settings: Settings, field: ForceField, parameters: Parameters, starts: Mapping[str, float]
) -> Parameters:
    """Return the parameters with starts, bounds and ties as the settings state them.

    Args:
        settings: The settings.
        field: The force field.
        parameters: Its parameters.
        starts: Name to stated start.

    Raises:
        ParameterError: A pattern matches nothing, bounds are reversed or exclude the start, or a tie cannot be.
    """
    given = settings.parameters
    for name in set(starts) & (set(given.tie) | set(parameters.ties)):
        leader = given.tie.get(name) or parameters.ties[name].leader
        raise SettingsError(f"Parameter {name!r} follows {leader!r} and cannot have a start. Start that one.")
    bounds = {name: ends for pattern, ends in given.bounds.items() for name in parameters.match(pattern)}
    values = dict(starts)
    if settings.start.method != "given":
        # Generic constants wait for their estimates; stated bounds need not contain them.
        constants = {name for name, is_linear in zip(parameters.names, field.is_linear, strict=True) if is_linear}
        for name in (constants - set(starts)) & set(bounds):
            values[name] = min(max(float(parameters[name].value), bounds[name][0]), bounds[name][1])
    # Start and bounds of a parameter are set together: the one may need the other.
    entries = [_changed(entry, values.get(entry.name), bounds.get(entry.name)) for entry in parameters]
    parameters = Parameters(entries, parameters.ties)
    for follower, leader in given.tie.items():
        parameters = parameters.tie(follower, leader)
    return parameters


def _changed(entry: Parameter, start: float | None, bounds: Sequence[float] | None) -> Parameter:
    lower, upper = bounds or (None, None)
    return entry.replace(**present(value=start, lower=lower, upper=upper))


def _built(settings: Settings, molecules: tuple[Molecule, ...]) -> ForceField:
    return build_force_field(
        molecules,
        family=settings.force_field.family,
        stretch_bend=settings.force_field.stretch_bend,
        periodicities=settings.force_field.periodicities,
        linear_torsions=settings.force_field.linear_torsions,
        name=settings.force_field.name or ", ".join(molecule.name for molecule in molecules),
    )


def _check_names(molecules: Sequence[Molecule]) -> list[str]:
    names = [molecule.name for molecule in molecules]
    if len(set(names)) < len(names):
        raise SettingsError(f"Two molecules are called alike: {', '.join(names)}. Give each a name in [[molecules]].")
    return names


def _read_record(given: MoleculeSettings, folder: Path) -> QMRecord:
    return read(
        folder / given.file,
        name=given.name,
        format=given.format,
        **present(hessian=given.hessian and folder / given.hessian, hessian_unit=given.hessian_unit),
    )


def _read_molecule(given: MoleculeSettings, folder: Path) -> Molecule:
    record = _read_record(given, folder)
    for bond in given.bonds or ():
        if not 1 <= min(bond) <= max(bond) <= record.n_atoms:
            raise SettingsError(
                f"{record.name}: the settings name the bond {bond}, but the atoms are 1 to {record.n_atoms}, counted "
                "from 1. Correct it."
            )
    bonds = given.bonds and [(i - 1, j - 1) for i, j in given.bonds]
    return perceive(record, **present(bond_tolerance=given.bond_tolerance, bonds=bonds, types=given.types))


def _read_references(settings: Settings) -> ReferenceData | Mapping[str, float | None] | None:
    given = settings.references
    if given.data is not None:
        return ReferenceData.read(settings.folder / given.data)
    return given.kinds or None


def _read_ensemble(given: EnsembleSettings, molecules: Sequence[Molecule], folder: Path) -> Ensemble:
    by_name = {molecule.name: molecule for molecule in molecules}
    if given.molecule is None and len(molecules) > 1:
        raise SettingsError(
            f"The settings do not say which of the {len(molecules)} molecules the geometries of {given.file} are of. "
            f"Add molecule = ... to [[ensembles]]: {', '.join(by_name)}."
        )
    if given.molecule is not None and given.molecule not in by_name:
        raise SettingsError(unknown_name("molecule", given.molecule, by_name))
    return read_ensemble(
        folder / given.file,
        by_name[given.molecule] if given.molecule else molecules[0],
        energy_unit=given.energy_unit,
        force_unit=given.force_unit,
        held=[tuple(atom - 1 for atom in atoms) for atoms in given.held],
        name=given.name,
    )


def present(**options: Any) -> dict[str, Any]:
    """Return the options that are not None."""
    return {name: value for name, value in options.items() if value is not None}
