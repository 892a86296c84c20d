"""The settings file of `fieldfit equilibrium`: read, checked against what is known, turned into records.

Modes and profiles are tables from a number to an amplitude: poloidal mode numbers, negative ones for sines, and powers
of the radius.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from fieldfit.cli.settings_file import (
    COUNT,
    NUMBER,
    SWITCH,
    TEXT,
    check_tables,
    is_bound,
    is_list_of,
    is_number,
    is_text,
    is_whole,
    key,
    read_tables,
    record,
    records,
)
from fieldfit.errors import SettingsError
from fieldfit.registry import unknown_name

SOLVE, OPTIMIZE = "solve", "optimize"
"""The commands."""

SCALARS: Mapping[str, str] = {
    "volume": "m^3",
    "major_radius": "m",
    "minor_radius": "m",
    "aspect_ratio": "",
    "cross_section": "m^2",
    "perimeter": "m",
    "elongation": "",
    "beta": "",
    "axis_radius": "m",
    "axis_shift": "m",
}
"""Quantity of `fieldfit.equilibrium.Plasma` to its unit."""

PROFILES: Mapping[str, str] = {"safety_factor": "", "magnetic_well": ""}
"""The same of those that are functions of the radius."""

PICTURES = ("png", "svg", "pdf")


def _is_resolution(value: Any) -> bool:
    return _is_count(value) or (is_list_of(_is_count)(value) and len(value) == 2)


def _is_count(value: Any) -> bool:
    return is_whole(value) and value > 0


def _is_series(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_number_text(name) and is_number(entry) for name, entry in value.items())


def _is_number_text(text: str) -> bool:
    # "01" would be a second way to write 1, and the later one would win.
    return text.removeprefix("-").isdecimal() and text == str(int(text))


def _is_number_or_list(value: Any) -> bool:
    return is_number(value) or (value != [] and is_list_of(is_number)(value))


def _is_scale(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_number_or_list, value.values()))
    return value in ("auto", "ess") or is_list_of(is_number)(value)


RESOLUTION = key("a positive whole number, or two of them, [L, M]", _is_resolution)
MODES = key("a table from mode number to amplitude", _is_series, holds_floats=True)
POWERS = key("a table from power to coefficient", _is_series, holds_floats=True)
CHOICE = key('a list of whole numbers, or "all"', lambda value: value == "all" or is_list_of(is_whole)(value))
GOAL = key("a number or a list of numbers", _is_number_or_list, holds_floats=True)
RANGE = key(
    "a pair of numbers, [lower, upper]",
    lambda value: isinstance(value, list) and len(value) == 2 and all(map(is_bound, value)) and value[0] <= value[1],
    holds_floats=True,
)
POSITIVE = key("a positive number", lambda value: is_number(value) and value > 0.0, holds_floats=True)
LIMIT = key("a number that is not negative", lambda value: is_number(value) and value >= 0.0, holds_floats=True)
RADII = key(
    "a list of radii above 0 and up to 1",
    lambda value: value != [] and is_list_of(lambda entry: is_number(entry) and 0.0 < entry <= 1.0)(value),
    holds_floats=True,
)
SCALE = key('"auto", "ess", a list of numbers, or a table from parameter array to numbers', _is_scale)
OPTIONS = key("a table", lambda value: isinstance(value, dict))
FORMATS = key('a list of "png", "svg" and "pdf"', is_list_of(lambda value: is_text(value) and value in PICTURES))


@dataclass(frozen=True)
class EquilibriumSettings:
    """The `[equilibrium]` table: boundary, flux and profiles; or a file, and what is to replace its content."""

    file: str | None = field(default=None, metadata=TEXT)
    resolution: int | list[int] | None = field(default=None, metadata=RESOLUTION)
    Psi: float | None = field(default=None, metadata=NUMBER)
    Rb: dict[str, float] | None = field(default=None, metadata=MODES)
    Zb: dict[str, float] | None = field(default=None, metadata=MODES)
    pressure: dict[str, float] | None = field(default=None, metadata=POWERS)
    iota: dict[str, float] | None = field(default=None, metadata=POWERS)


@dataclass(frozen=True)
class ForceSettings:
    """The `[force_balance]` table: at how many nodes, and how far it may be off where it is one of several constraints.

    The residuals at a given resolution cannot vanish, so the tolerance is a multiple of what the start leaves.
    """

    radial_nodes: int | None = field(default=None, metadata=COUNT)
    poloidal_nodes: int | None = field(default=None, metadata=COUNT)
    tolerance: float = field(default=2.0, metadata=POSITIVE)


@dataclass(frozen=True)
class FreeSettings:
    """The `[free]` table: what is varied besides the surfaces inside."""

    Rb: str | list[int] = field(default_factory=list, metadata=CHOICE)
    Zb: str | list[int] = field(default_factory=list, metadata=CHOICE)
    pressure: str | list[int] = field(default_factory=list, metadata=CHOICE)
    iota: str | list[int] = field(default_factory=list, metadata=CHOICE)
    Psi: bool = field(default=False, metadata=SWITCH)


@dataclass(frozen=True)
class TermSettings:
    """One `[[objectives]]` or `[[constraints]]` table: what a quantity should be."""

    quantity: str = field(metadata=TEXT)
    target: float | list[float] | None = field(default=None, metadata=GOAL)
    bounds: list[float] | None = field(default=None, metadata=RANGE)
    weight: float = field(default=1.0, metadata=POSITIVE)
    normalization: float | None = field(default=None, metadata=POSITIVE)
    rho: list[float] | None = field(default=None, metadata=RADII)
    name: str | None = field(default=None, metadata=TEXT)


@dataclass(frozen=True)
class OptimizerSettings:
    """The `[optimizer]` table: the arguments of `fieldfit.optimize.Optimizer(method).optimize`.

    The defaults of `ftol` and `xtol` end a run close enough for the verdict on convergence, which asks for a millionth
    of the cost.
    """

    method: str | None = field(default=None, metadata=TEXT)
    ftol: float = field(default=1e-8, metadata=LIMIT)
    xtol: float = field(default=1e-8, metadata=LIMIT)
    gtol: float | None = field(default=None, metadata=LIMIT)
    ctol: float | None = field(default=None, metadata=LIMIT)
    maxiter: int = field(default=500, metadata=COUNT)
    x_scale: str | list[float] | dict[str, Any] | None = field(default=None, metadata=SCALE)
    options: dict[str, Any] = field(default_factory=dict, metadata=OPTIONS)


@dataclass(frozen=True)
class OutputSettings:
    """The `[output]` table: folder, relative to the settings file, pictures, and where profiles are reported."""

    folder: str | None = field(default=None, metadata=TEXT)
    plots: list[str] = field(default_factory=lambda: ["png"], metadata=FORMATS)
    surfaces: list[float] = field(default_factory=lambda: [0.25, 0.5, 0.75, 1.0], metadata=RADII)


@dataclass(frozen=True)
class Settings:
    """A whole settings file.

    Args:
        path: The file; paths in it are relative to its folder.
        equilibrium: Boundary, flux and profiles.
        force_balance: Nodes and tolerance.
        free: What is varied, by `optimize`.
        objectives: What is wanted, by `optimize`.
        constraints: What must hold besides force balance, by `optimize`.
        optimizer: How.
        output: Folder and pictures.
    """

    path: Path
    equilibrium: EquilibriumSettings
    force_balance: ForceSettings
    free: FreeSettings
    objectives: tuple[TermSettings, ...]
    constraints: tuple[TermSettings, ...]
    optimizer: OptimizerSettings
    output: OutputSettings

    @property
    def output_folder(self) -> Path:
        """The folder that the settings name; by default it is called as their file, without its ending."""
        return self.path.resolve().parent / (self.output.folder or (self.path.stem if self.path.suffix else "output"))

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that must stay where it is, relative to the settings file."""
        return (self.path.name, *([self.equilibrium.file] if self.equilibrium.file else []))


_TABLES = {
    "equilibrium": EquilibriumSettings,
    "force_balance": ForceSettings,
    "free": FreeSettings,
    "optimizer": OptimizerSettings,
    "output": OutputSettings,
}
_LISTS = ("objectives", "constraints")
_OF_OPTIMIZE = ("free", *_LISTS)


def read_settings(path: str, command: str) -> Settings:
    """Read and check a settings file.

    Args:
        path: The file.
        command: "solve" or "optimize".

    Raises:
        FileFormatError: The file is missing or is not TOML.
        SettingsError: An unknown key, a value that cannot be, or something that is missing.
    """
    data = read_tables(path)
    check_tables(path, data, (*_TABLES, *_LISTS))
    for name in _OF_OPTIMIZE:
        if command == SOLVE and name in data:
            raise SettingsError(
                f"{path}: there is a table {name!r}, but `solve` varies nothing but the surfaces inside a given "
                "boundary. Run `fieldfit equilibrium optimize`, or leave the table out."
            )
    tables: dict[str, Any] = {name: record(path, name, data.get(name, {}), kind) for name, kind in _TABLES.items()}
    lists: dict[str, Any] = {name: records(path, name, data.get(name, []), TermSettings) for name in _LISTS}
    settings = Settings(Path(path), **tables, **lists)
    _check_equilibrium(path, settings.equilibrium)
    for name in _LISTS:
        for entry in getattr(settings, name):
            _check_term(path, name, entry)
    if command == OPTIMIZE:
        _check_question(path, settings)
    return settings


def _check_equilibrium(path: str, given: EquilibriumSettings) -> None:
    if given.file is not None:
        return
    for entry in fields(given):
        if entry.name != "file" and getattr(given, entry.name) is None:
            raise SettingsError(
                f"{path}: [equilibrium] has no key {entry.name!r} and no file that would have it. Add {entry.name}, "
                f"{entry.metadata['check'].wanted}, or file, an equilibrium that was saved."
            )


def _check_term(path: str, table: str, given: TermSettings) -> None:
    who = f"{path}: the {table[:-1]} {given.name or given.quantity!r}"
    known = (*SCALARS, *PROFILES)
    if given.quantity not in known:
        raise SettingsError(f"{path}: [[{table}]]: {unknown_name('quantity', given.quantity, known)}")
    if (given.target is None) == (given.bounds is None):
        what = "neither target nor bounds" if given.target is None else "both target and bounds"
        raise SettingsError(
            f"{who} has {what}. Give target = number or bounds = [lower, upper], with inf or -inf for no bound."
        )
    if given.quantity in SCALARS and (given.rho is not None or isinstance(given.target, list)):
        what = "rho" if given.rho is not None else "several targets"
        raise SettingsError(f"{who} has {what}, but it is one number for the whole plasma. Leave out what is too much.")
    if given.quantity in PROFILES and given.rho is None:
        raise SettingsError(f"{who} is a function of the radius. Say where: rho = [0.5].")
    if isinstance(given.target, list) and given.rho is not None and len(given.target) != len(given.rho):
        raise SettingsError(
            f"{who} has {len(given.target)} targets for {len(given.rho)} radii. Give one for all, or one for each."
        )


def _check_question(path: str, settings: Settings) -> None:
    if not settings.objectives:
        raise SettingsError(
            f'{path}: nothing is wanted. Add an [[objectives]] table with quantity = "aspect_ratio" and target = 3.0, '
            "or run `fieldfit equilibrium solve`."
        )
    if not any(getattr(settings.free, entry.name) for entry in fields(settings.free)):
        raise SettingsError(
            f"{path}: nothing is free. Add a [free] table, such as Zb = [-1] for the height of the boundary."
        )
