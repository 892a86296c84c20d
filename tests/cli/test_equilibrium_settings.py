"""What `fieldfit equilibrium` refuses: by name and value, with what to do, and before anything is written."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from fieldfit.cli import main
from fieldfit.cli.equilibrium_settings import (
    PROFILES,
    SCALARS,
    EquilibriumSettings,
    ForceSettings,
    FreeSettings,
    OptimizerSettings,
    OutputSettings,
    TermSettings,
    read_settings,
)
from fieldfit.equilibrium import Plasma

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "equilibrium_command.md").read_text(encoding="utf-8")
TABLES = {
    "`[equilibrium]`": EquilibriumSettings,
    "`[force_balance]`": ForceSettings,
    "`[free]`": FreeSettings,
    "`[[objectives]]` and `[[constraints]]`": TermSettings,
    "`[optimizer]`": OptimizerSettings,
    "`[output]`": OutputSettings,
}
TORUS = """[equilibrium]
resolution = 3
Psi = 3.0
Rb = { 0 = 3.0, 1 = 1.0 }
Zb = { -1 = -1.2 }
pressure = { 0 = 0.0 }
iota = { 0 = 0.9 }
"""
FREE = TORUS + "[free]\nZb = [-1]\n"
VOLUME = '[[objectives]]\nquantity = "volume"\ntarget = 70.0\n'


def refused(folder, command, text, capsys, *options) -> str:
    """Return the message of a run that has to fail and to leave everything as it is."""
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    before = sorted(folder.rglob("*"))
    assert main(["equilibrium", command, str(path), "--quiet", *options]) == 2
    assert sorted(folder.rglob("*")) == before
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("fieldfit: ")
    return printed.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[equilibrum]\n", ("equilibrum", "Did you mean 'equilibrium'?")),
        (TORUS.replace("Psi", "Psii"), ("[equilibrium]", "Psii", "Did you mean 'Psi'?")),
        (TORUS.replace("Psi = 3.0\n", ""), ("no key 'Psi'", "Add Psi")),
        (TORUS.replace("Psi = 3.0", "Psi = 0"), ("Psi = 0 Wb", "Give the flux")),
        (TORUS.replace("Psi = 3.0", "Psi = 'one'"), ("equilibrium.Psi = 'one'", "is not a number")),
        (TORUS.replace("resolution = 3", "resolution = [3, 4]"), ("L = 3, M = 4", "1 <= M <= L")),
        (TORUS.replace("resolution = 3", "resolution = 2.5"), ("resolution = 2.5", "positive whole number")),
        (TORUS.replace("-1 = -1.2", "1 = 1.2"), ("m = 1", "Z sines, m < 0")),
        (TORUS.replace("-1 = -1.2", "-1 = 1.2"), ("the sense of its angle", "Change the sign")),
        (TORUS.replace("1 = 1.0", "9 = 1.0"), ("m = 9", "Raise the resolution")),
        (TORUS.replace("1 = 1.0", "01 = 1.0"), ("equilibrium.Rb", "mode number")),
        (TORUS.replace("iota = { 0 = 0.9 }", "iota = {}"), ("0 coefficients", "Give one each")),
        (TORUS + "[optimizer]\nmethod = 'lsq-exakt'\n", ("[optimizer]", "lsq-exakt", "Did you mean 'lsq-exact'?")),
        (TORUS + "[optimizer]\noptions = { initial_radios = 1.0 }\n", ("[optimizer]", "'initial_radius'?")),
        (TORUS + "[optimizer]\nftol = -1.0\n", ("optimizer.ftol = -1.0", "not negative")),
        (TORUS + "[optimizer]\nx_scale = 'es'\n", ("optimizer.x_scale = 'es'", '"ess"')),
        (TORUS + "[optimizer]\nx_scale = { R_lm = 1.0 }\n", ("R_lm", "Did you mean 'R_lmn'?")),
        (TORUS + "[optimizer]\nmethod = 'proximal-lsq-exact'\n", ("no outer problem", "'lsq-exact'")),
        (TORUS + "[output]\nplots = ['gif']\n", ("output.plots = ['gif']", '"png"')),
        (TORUS + "[output]\nsurfaces = [0.0]\n", ("output.surfaces = [0.0]", "above 0")),
        (FREE, ("'free'", "fieldfit equilibrium optimize")),
        ("[equilibrium]\nfile = 'missing.npz'\n", ("missing.npz", "There is no file")),
        ("[equilibrium]\nfile = 'run.toml'\n", ("run.toml", "not a NumPy archive")),
        ("[equilibrium\n", ("is not TOML", "line")),
    ],
)
def test_solve_refuses(tmp_path, capsys, text, words):
    message = refused(tmp_path, "solve", text, capsys)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FREE, ("nothing is wanted", "[[objectives]]")),
        (TORUS + VOLUME, ("nothing is free", "[free]")),
        (TORUS + "[free]\nRb = [4]\n" + VOLUME, ("free.Rb has 4", "0, 1, 2, 3")),
        (TORUS + "[free]\niota = [2]\n" + VOLUME, ("free.iota has 2", "there are 0")),
        (TORUS + "[free]\nRb = 'some'\n" + VOLUME, ("free.Rb = 'some'", '"all"')),
        (FREE + VOLUME.replace("volume", "volumn"), ("volumn", "Did you mean 'volume'?")),
        (FREE + VOLUME.replace("target = 70.0\n", ""), ("neither target nor bounds", "bounds = [lower, upper]")),
        (FREE + VOLUME + "bounds = [1, 2]\n", ("both target and bounds",)),
        (FREE + VOLUME + "rho = [0.5]\n", ("'volume' has rho", "whole plasma")),
        (FREE + VOLUME.replace("70.0", "[1.0, 2.0]"), ("several targets",)),
        (FREE + VOLUME.replace("target = 70.0", "bounds = [2, 1]"), ("[2, 1]", "[lower, upper]")),
        (FREE + VOLUME.replace("volume", "safety_factor"), ("function of the radius", "rho = [0.5]")),
        (FREE + VOLUME + "weight = 0.0\n", ("objectives.weight = 0.0", "positive")),
        (
            FREE
            + "[optimizer]\nmethod = 'proximal-lsq-exact'\n"
            + VOLUME
            + VOLUME.replace("objectives", "constraints"),
            ("no further constraints", "'lsq-auglag'"),
        ),
    ],
)
def test_optimize_refuses(tmp_path, capsys, text, words):
    message = refused(tmp_path, "optimize", text, capsys)
    assert all(word in message for word in words), message


def test_there_has_to_be_something_to_resume_from(tmp_path, capsys):
    message = refused(tmp_path, "solve", TORUS, capsys, "--resume")
    assert "no checkpoint" in message
    assert "run.checkpoint.npz" in message


def test_checkpoints_of_another_resolution_are_refused(tmp_path, capsys):
    path = tmp_path / "run.toml"
    path.write_text(TORUS + "[optimizer]\nmaxiter = 1\n[output]\nplots = []\n")
    assert main(["equilibrium", "solve", str(path), "--quiet"]) == 1
    finer = TORUS.replace("resolution = 3", "resolution = 4")
    assert "shape" in refused(tmp_path, "solve", finer, capsys, "--resume")


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["equilibrium", "solve", str(tmp_path / "none.toml")]) == 2
    assert "none.toml cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("folder", [".", "run.toml"])
def test_what_a_run_starts_from_is_never_set_aside(tmp_path, capsys, folder):
    assert "holds the" in refused(tmp_path, "solve", TORUS, capsys, "--output", str(tmp_path / folder))


def test_every_quantity_is_one_of_a_plasma():
    assert all(isinstance(getattr(Plasma, name), property) for name in (*SCALARS, *PROFILES))


def section(name: str) -> str:
    return PAGE.split(f"\n### {name}\n")[1].split("\n### ")[0].split("\n## ")[0]


@pytest.mark.parametrize(("name", "kind"), TABLES.items())
def test_the_page_lists_every_key_in_order(name, kind):
    listed = re.findall(r"^\| `(\w+)` \|", section(name), re.MULTILINE)
    assert listed == [entry.name for entry in dataclasses.fields(kind)]


def test_the_page_lists_every_quantity():
    listed = re.findall(r"^\| `(\w+)` \|", section("Quantities"), re.MULTILINE)
    assert listed == [*SCALARS, *PROFILES]


@pytest.mark.parametrize("name", ["solovev", "dshape", "shape"])
def test_the_examples_are_valid(name, examples):
    read_settings(str(examples / "equilibrium" / f"{name}.toml"), "optimize" if name == "shape" else "solve")
