"""The settings file of `fieldfit fit`: read, checked against what is known, turned into records.

Every key has a default except the molecules. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldfit.cli.settings_file import (
    ATOMS,
    BOUNDS,
    COUNT,
    COUNTS,
    NAMES,
    NATURAL,
    NUMBER,
    NUMBERS,
    PAIRS,
    STRENGTHS,
    SWITCH,
    TEXT,
    TEXTS,
    TOLERANCE,
    check_tables,
    checked,
    read_tables,
    record,
    records,
)
from fieldfit.errors import SettingsError


@dataclass(frozen=True)
class MoleculeSettings:
    """One `[[molecules]]` table: a QM result and how its bonds and types are found."""

    file: str = field(metadata=TEXT)
    hessian: str | None = field(default=None, metadata=TEXT)
    hessian_unit: str | None = field(default=None, metadata=TEXT)
    format: str | None = field(default=None, metadata=TEXT)
    name: str | None = field(default=None, metadata=TEXT)
    bond_tolerance: float | None = field(default=None, metadata=NUMBER)
    bonds: list[list[int]] | None = field(default=None, metadata=PAIRS)
    types: list[str] | None = field(default=None, metadata=TEXTS)


@dataclass(frozen=True)
class EnsembleSettings:
    """One `[[ensembles]]` table: several geometries of a molecule with energies or forces."""

    file: str = field(metadata=TEXT)
    molecule: str | None = field(default=None, metadata=TEXT)
    name: str | None = field(default=None, metadata=TEXT)
    energy_unit: str | None = field(default=None, metadata=TEXT)
    force_unit: str | None = field(default=None, metadata=TEXT)
    held: list[list[int]] = field(default_factory=list, metadata=ATOMS)


@dataclass(frozen=True)
class MacroModelSettings:
    """The `[macromodel]` table: structures and force field from MacroModel instead of `[force_field]`."""

    structures: str = field(metadata=TEXT)
    template: str = field(metadata=TEXT)
    active: str = field(default="OPT", metadata=TEXT)
    zero_torsions: bool = field(default=True, metadata=SWITCH)
    free: list[str] = field(default_factory=list, metadata=TEXTS)


@dataclass(frozen=True)
class ForceFieldSettings:
    """The `[force_field]` table: functional forms."""

    name: str | None = field(default=None, metadata=TEXT)
    family: str = field(default="harmonic", metadata=TEXT)
    stretch_bend: list[str] = field(default_factory=list, metadata=TEXTS)
    periodicities: list[int] | None = field(default=None, metadata=COUNTS)
    linear_torsions: str = field(default="omit", metadata=TEXT)


@dataclass(frozen=True)
class ParameterSettings:
    """The `[parameters]` table: what is held, bounded, tied, and given start values, by shell patterns of names."""

    fix: list[str] = field(default_factory=list, metadata=TEXTS)
    bounds: dict[str, list[float]] = field(default_factory=dict, metadata=BOUNDS)
    start: dict[str, float] = field(default_factory=dict, metadata=NUMBERS)
    tie: dict[str, str] = field(default_factory=dict, metadata=NAMES)


@dataclass(frozen=True)
class StartSettings:
    """The `[start]` table: method for force constants, factor on those of the Seminario family, transition states."""

    method: str = field(default="hessian-fit", metadata=TEXT)
    scale: float = field(default=1.0, metadata=NUMBER)
    transition_state: str | None = field(default=None, metadata=TEXT)


@dataclass(frozen=True)
class ReferenceSettings:
    """The `[references]` table.

    Args:
        kinds: Kind of reference to tolerance; None stands for the default tolerance. Empty: the default references.
        data: File of single observations, instead of kinds.
    """

    kinds: Mapping[str, float | None]
    data: str | None = None


@dataclass(frozen=True)
class FitSettings:
    """The `[fit]` table: optimizer, its limits, what computes energies, and the strength of an L2 tether to the start.

    The default `ftol` ends a fit when a step lowers the score by less than a ten-millionth of it: far below what the
    reference data mean, before the last digits of parameters that these hardly determine, and close enough for the
    verdict on convergence, which asks for a millionth.
    """

    optimizer: str = field(default="least-squares", metadata=TEXT)
    engine: str = field(default="jax", metadata=TEXT)
    ftol: float = field(default=1e-7, metadata=NUMBER)
    maxiter: int | None = field(default=None, metadata=COUNT)
    regularization: float = field(default=0.0, metadata=NUMBER)
    weights: str = field(default="default", metadata=TEXT)
    n_starts: int = field(default=1, metadata=COUNT)
    seed: int = field(default=0, metadata=NATURAL)


@dataclass(frozen=True)
class ValidateSettings:
    """The `[validate]` table: what is done after the fit to see how far it can be trusted; nothing by default."""

    leave_one_out: bool = field(default=False, metadata=SWITCH)
    bootstrap: int = field(default=0, metadata=NATURAL)
    bootstrap_groups: str = field(default="rows", metadata=TEXT)
    l_curve: list[float] = field(default_factory=list, metadata=STRENGTHS)


@dataclass(frozen=True)
class OutputSettings:
    """The `[output]` table: folder, relative to the settings file, and force-field formats."""

    folder: str = field(default="output", metadata=TEXT)
    formats: list[str] = field(default_factory=lambda: ["fieldfit-toml"], metadata=TEXTS)


@dataclass(frozen=True)
class Settings:
    """A whole settings file.

    Args:
        folder: Folder of the settings file; paths in it are relative to this one.
        molecules: QM results.
        ensembles: Further geometries with energies or forces.
        macromodel: MacroModel files, if the force field comes from there.
        force_field: Functional forms.
        parameters: What is held, bounded, tied, started.
        start: Starting force constants.
        references: What is fitted.
        fit: Optimizer.
        validate: What is done after the fit.
        output: Folder and formats.
    """

    folder: Path
    molecules: tuple[MoleculeSettings, ...]
    ensembles: tuple[EnsembleSettings, ...]
    macromodel: MacroModelSettings | None
    force_field: ForceFieldSettings
    parameters: ParameterSettings
    start: StartSettings
    references: ReferenceSettings
    fit: FitSettings
    validate: ValidateSettings
    output: OutputSettings

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is read, as it is written in the settings."""
        names = [name for entry in self.molecules for name in (entry.file, entry.hessian)]
        names += [entry.file for entry in self.ensembles] + [self.references.data]
        names += [self.macromodel.structures, self.macromodel.template] if self.macromodel else []
        return tuple(name for name in names if name)


_TABLES = {
    "force_field": ForceFieldSettings,
    "parameters": ParameterSettings,
    "start": StartSettings,
    "fit": FitSettings,
    "validate": ValidateSettings,
    "output": OutputSettings,
}

_KNOWN = (*_TABLES, "molecules", "ensembles", "macromodel", "references")


def read_settings(path: str) -> Settings:
    """Read and check a settings file.

    Raises:
        FileFormatError: The file is missing or is not TOML.
        SettingsError: An unknown key, a value of the wrong type, or no molecule.
    """
    data = read_tables(path)
    check_tables(path, data, _KNOWN)
    molecules = records(path, "molecules", data.get("molecules", []), MoleculeSettings)
    if not molecules:
        raise SettingsError(f'{path}: no molecule is given. Add a [[molecules]] table with file = "...".')
    macromodel = data.get("macromodel")
    if macromodel is not None and "force_field" in data:
        raise SettingsError(
            f"{path}: the force field is given twice, by [force_field] and by [macromodel]. Keep one of the two tables."
        )
    return Settings(
        folder=Path(path).resolve().parent,
        molecules=molecules,
        ensembles=records(path, "ensembles", data.get("ensembles", []), EnsembleSettings),
        macromodel=None if macromodel is None else record(path, "macromodel", macromodel, MacroModelSettings),
        references=_references(path, data.get("references", {})),
        **{name: record(path, name, data.get(name, {}), kind) for name, kind in _TABLES.items()},
    )


def _references(path: str, given: Any) -> ReferenceSettings:
    if not isinstance(given, dict):
        raise SettingsError(f"{path}: references is {given!r}, but it is a table. Write [references] and kinds below.")
    kinds = dict(given)
    data = kinds.pop("data", None)
    if data is not None:
        checked(path, "references.data", data, TEXT)
    if data is not None and kinds:
        raise SettingsError(
            f"{path}: [references] names the file {data!r} and the kinds {', '.join(kinds)}. The file says what is "
            "fitted: give the one or the other."
        )
    for name, value in kinds.items():
        checked(path, f"references.{name}", value, TOLERANCE)
    return ReferenceSettings({name: None if value is True else float(value) for name, value in kinds.items()}, data)
