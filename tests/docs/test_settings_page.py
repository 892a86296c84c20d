"""The settings page lists every key with its type and default, and its examples are valid."""

import dataclasses
import re
from pathlib import Path

import pytest

from fieldfit.cli.settings import (
    EnsembleSettings,
    FitSettings,
    ForceFieldSettings,
    MacroModelSettings,
    MoleculeSettings,
    OutputSettings,
    ParameterSettings,
    Settings,
    StartSettings,
    ValidateSettings,
    read_settings,
)
from fieldfit.forcefield.building import FAMILIES
from fieldfit.forcefield.formats import FORMATS
from fieldfit.forcefield.initial_guess import METHODS
from fieldfit.forcefield.readers import READERS
from fieldfit.forcefield.readers.hessian import ATOMIC_UNIT, HESSIAN_UNITS
from fieldfit.forcefield.references import REFERENCES
from fieldfit.forcefield.topology import BOND_TOLERANCE
from fieldfit.forcefield.transition_states import METHODS as TRANSITION_STATE_METHODS
from fieldfit.forcefield.weights import KINDS
from fieldfit.optimizers import OPTIMIZERS
from fieldfit.optimizers.scipy import METHODS as SCIPY_METHODS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
TABLES = {
    "molecules": MoleculeSettings,
    "ensembles": EnsembleSettings,
    "macromodel": MacroModelSettings,
    "force_field": ForceFieldSettings,
    "parameters": ParameterSettings,
    "start": StartSettings,
    "fit": FitSettings,
    "validate": ValidateSettings,
    "output": OutputSettings,
}


def section(name: str) -> str:
    """Return the section of the page on a table of the settings file."""
    heading = f"## `[[{name}]]`" if name in ("molecules", "ensembles") else f"## `[{name}]`"
    return PAGE.split(f"\n{heading}\n")[1].split("\n## ")[0]


def listed(name: str) -> list[list[str]]:
    """Return the cells of the lines that describe a key."""
    lines = re.findall(r"^\| `.*\|$", section(name), re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def described(entry: dataclasses.Field) -> list[str]:
    """Return what the page has to say of a key: name, type, default."""
    default = entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()
    if default is dataclasses.MISSING:
        stated = "required"
    else:
        stated = "-" if default is None else f"`{default}`".replace("'", '"')
        stated = f'`"{default}"`' if isinstance(default, str) else stated
    return [f"`{entry.name}`", entry.metadata["check"][0].removeprefix("a "), stated]


def test_every_table_of_the_file_has_a_section():
    tables = {entry.name for entry in dataclasses.fields(Settings)} - {"folder"}
    assert tables == {*TABLES, "references"}
    assert set(re.findall(r"^## `\[+(\w+)\]+`$", PAGE, re.MULTILINE)) == tables


@pytest.mark.parametrize("name", list(TABLES))
def test_every_key_is_listed_with_type_and_default(name):
    assert [cells[:3] for cells in listed(name)] == [described(entry) for entry in dataclasses.fields(TABLES[name])]


def test_every_reference_is_listed_with_unit_and_tolerance():
    rows = [[f"`{name}`", kind.unit, f"{kind.tolerance:g}"] for name, kind in REFERENCES.items()]
    assert listed("references") == rows
    described_by_default = section("references").split("stands for")[1].split("with default tolerances")[0]
    assert re.findall(r"`(\w+)`", described_by_default) == list(KINDS["default"])


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("molecules", READERS),
        ("molecules", HESSIAN_UNITS),
        ("force_field", FAMILIES),
        ("start", METHODS),
        ("start", TRANSITION_STATE_METHODS),
        ("fit", KINDS),
        ("fit", [name for name in OPTIMIZERS if name != "scipy"]),
        ("output", FORMATS),
    ],
)
def test_every_choice_is_named(name, choices):
    assert [choice for choice in choices if f"`{choice}`" not in section(name)] == []


def test_scipy_methods_of_the_page_exist():
    methods = re.findall(r"`scipy:([^`]+)`", section("fit"))
    assert methods
    assert set(methods) <= set(SCIPY_METHODS)


def test_defaults_that_are_found_elsewhere_are_stated():
    assert f"`{ATOMIC_UNIT}` (if not stated)" in section("molecules")
    assert f"{BOND_TOLERANCE:g} if not stated" in section("molecules")


@pytest.mark.parametrize("example", re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
def test_examples_are_valid_settings(example, tmp_path):
    path = tmp_path / "fit.toml"
    molecule = "" if "[[molecules]]" in example else '[[molecules]]\nfile = "a.json"\n'
    path.write_text(f"{molecule}{example}", encoding="utf-8")
    assert read_settings(str(path)).molecules
