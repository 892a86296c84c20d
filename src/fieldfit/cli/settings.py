"""The settings file of `fieldfit fit`: read, checked against what is known, turned into records.

Every key has a default except the molecules. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from fieldfit.errors import FileFormatError, SettingsError
from fieldfit.registry import unknown_name

Check = tuple[str, Callable[[Any], bool]]


def _is_number(value: Any) -> bool:
    return _is_bound(value) and math.isfinite(value)


def _is_bound(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _is_list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


TEXT: Check = ("a text", _is_text)
NUMBER: Check = ("a number", _is_number)
COUNT: Check = ("a positive whole number", lambda value: isinstance(value, int) and value is not True and value > 0)
TEXTS: Check = ("a list of texts", _is_list_of(_is_text))
COUNTS: Check = ("a list of positive whole numbers", _is_list_of(lambda value: isinstance(value, int) and value > 0))
SWITCH: Check = ("true or false", lambda value: isinstance(value, bool))
NATURAL: Check = (
    "a whole number that is not negative",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
)
STRENGTHS: Check = ("a list of positive numbers", _is_list_of(lambda value: _is_number(value) and value > 0.0))
ATOMS: Check = (
    "a list of lists of atoms counted from 1",
    _is_list_of(lambda value: isinstance(value, list) and all(isinstance(v, int) and v > 0 for v in value)),
)
PAIRS: Check = (
    "a list of pairs of atoms counted from 1",
    _is_list_of(lambda value: isinstance(value, list) and len(value) == 2 and all(isinstance(v, int) for v in value)),
)
BOUNDS: Check = (
    "a table from pattern to [lower, upper]",
    lambda value: (
        isinstance(value, dict)
        and all(isinstance(v, list) and len(v) == 2 and all(map(_is_bound, v)) for v in value.values())
    ),
)
NUMBERS: Check = (
    "a table from pattern to number",
    lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
)
NAMES: Check = (
    "a table from name to name",
    lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
)
TOLERANCE: Check = ("a tolerance, or true for the default one", lambda value: value is True or _is_number(value))


def _key(check: Check, default: Any = MISSING) -> Any:
    if isinstance(default, dict | list):
        return field(default_factory=lambda: type(default)(default), metadata={"check": check})
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True)
class MoleculeSettings:
    """One `[[molecules]]` table: a QM result and how its bonds and types are found."""

    file: str = _key(TEXT)
    hessian: str | None = _key(TEXT, None)
    hessian_unit: str | None = _key(TEXT, None)
    format: str | None = _key(TEXT, None)
    name: str | None = _key(TEXT, None)
    bond_tolerance: float | None = _key(NUMBER, None)
    bonds: list[list[int]] | None = _key(PAIRS, None)
    types: list[str] | None = _key(TEXTS, None)


@dataclass(frozen=True)
class EnsembleSettings:
    """One `[[ensembles]]` table: several geometries of a molecule with energies or forces."""

    file: str = _key(TEXT)
    molecule: str | None = _key(TEXT, None)
    name: str | None = _key(TEXT, None)
    energy_unit: str | None = _key(TEXT, None)
    force_unit: str | None = _key(TEXT, None)
    held: list[list[int]] = _key(ATOMS, [])


@dataclass(frozen=True)
class MacroModelSettings:
    """The `[macromodel]` table: structures and force field from MacroModel instead of `[force_field]`."""

    structures: str = _key(TEXT)
    template: str = _key(TEXT)
    active: str = _key(TEXT, "OPT")
    zero_torsions: bool = _key(SWITCH, True)
    free: list[str] = _key(TEXTS, [])


@dataclass(frozen=True)
class ForceFieldSettings:
    """The `[force_field]` table: functional forms."""

    name: str | None = _key(TEXT, None)
    family: str = _key(TEXT, "harmonic")
    stretch_bend: list[str] = _key(TEXTS, [])
    periodicities: list[int] | None = _key(COUNTS, None)
    linear_torsions: str = _key(TEXT, "omit")


@dataclass(frozen=True)
class ParameterSettings:
    """The `[parameters]` table: what is held, bounded, tied, and given start values, by shell patterns of names."""

    fix: list[str] = _key(TEXTS, [])
    bounds: dict[str, list[float]] = _key(BOUNDS, {})
    start: dict[str, float] = _key(NUMBERS, {})
    tie: dict[str, str] = _key(NAMES, {})


@dataclass(frozen=True)
class StartSettings:
    """The `[start]` table: method for force constants, factor on those of the Seminario family, transition states."""

    method: str = _key(TEXT, "hessian-fit")
    scale: float = _key(NUMBER, 1.0)
    transition_state: str | None = _key(TEXT, None)


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

    optimizer: str = _key(TEXT, "least-squares")
    engine: str = _key(TEXT, "jax")
    ftol: float = _key(NUMBER, 1e-7)
    maxiter: int | None = _key(COUNT, None)
    regularization: float = _key(NUMBER, 0.0)
    weights: str = _key(TEXT, "default")
    n_starts: int = _key(COUNT, 1)
    seed: int = _key(NATURAL, 0)


@dataclass(frozen=True)
class ValidateSettings:
    """The `[validate]` table: what is done after the fit to see how far it can be trusted; nothing by default."""

    leave_one_out: bool = _key(SWITCH, False)
    bootstrap: int = _key(NATURAL, 0)
    bootstrap_groups: str = _key(TEXT, "rows")
    l_curve: list[float] = _key(STRENGTHS, [])


@dataclass(frozen=True)
class OutputSettings:
    """The `[output]` table: folder, relative to the settings file, and force-field formats."""

    folder: str = _key(TEXT, "output")
    formats: list[str] = _key(TEXTS, ["fieldfit-toml"])


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
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"The settings file {path} cannot be read: {error.strerror}. Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"The settings file {path} is not TOML: {error}. Correct that line.") from error
    for key in data:
        if key not in _KNOWN:
            raise SettingsError(f"{path}: {unknown_name('table', key, _KNOWN)}")
    molecules = _records(path, "molecules", data.get("molecules", []), MoleculeSettings)
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
        ensembles=_records(path, "ensembles", data.get("ensembles", []), EnsembleSettings),
        macromodel=None if macromodel is None else _record(path, "macromodel", macromodel, MacroModelSettings),
        references=_references(path, data.get("references", {})),
        **{name: _record(path, name, data.get(name, {}), kind) for name, kind in _TABLES.items()},
    )


def _references(path: str, given: Any) -> ReferenceSettings:
    if not isinstance(given, dict):
        raise SettingsError(f"{path}: references is {given!r}, but it is a table. Write [references] and kinds below.")
    kinds = dict(given)
    data = kinds.pop("data", None)
    if data is not None:
        _checked(path, "references.data", data, TEXT)
    if data is not None and kinds:
        raise SettingsError(
            f"{path}: [references] names the file {data!r} and the kinds {', '.join(kinds)}. The file says what is "
            "fitted: give the one or the other."
        )
    for name, value in kinds.items():
        _checked(path, f"references.{name}", value, TOLERANCE)
    return ReferenceSettings({name: None if value is True else float(value) for name, value in kinds.items()}, data)


def _records(path: str, table: str, given: Any, kind: type) -> tuple[Any, ...]:
    """Make settings records of a list of tables."""
    if not isinstance(given, list):
        raise SettingsError(f"{path}: {table} is {given!r}, but there may be several. Write [[{table}]].")
    return tuple(_record(path, table, entry, kind) for entry in given)


def _record(path: str, table: str, given: Any, kind: type) -> Any:
    """Make a settings record of one table."""
    if not isinstance(given, dict):
        raise SettingsError(f"{path}: {table} is {given!r}, but it is a table. Write [{table}] and its keys below.")
    known = {entry.name: entry for entry in fields(kind)}
    record = {}
    for key, value in given.items():
        if key not in known:
            raise SettingsError(f"{path}: {unknown_name(f'key of [{table}]', key, known)}")
        check = known[key].metadata["check"]
        checked = _checked(path, f"{table}.{key}", value, check)
        record[key] = _as_floats(checked) if check in (NUMBER, NUMBERS, BOUNDS, STRENGTHS) else checked
    for name, entry in known.items():
        if name not in given and entry.default is MISSING and entry.default_factory is MISSING:
            raise SettingsError(f"{path}: a [[{table}]] table has no key {name!r}. Add it.")
    return kind(**record)


def _as_floats(value: Any) -> Any:
    """Turn whole numbers, also those in lists and tables, into floats."""
    if isinstance(value, dict):
        return {key: _as_floats(entry) for key, entry in value.items()}
    return [_as_floats(entry) for entry in value] if isinstance(value, list) else float(value)


def _checked(path: str, name: str, value: Any, check: Check) -> Any:
    wanted, is_right = check
    if not is_right(value):
        raise SettingsError(f"{path}: {name} = {value!r} is not {wanted}. Correct it.")
    return value
