"""`fieldfit fit` never destroys what is there, never blames the user for its own defaults, and always ends cleanly."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from fieldfit.cli import main
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.problem.result import HistoryEntry

MOLECULE = '[[molecules]]\nfile = "ch3f.json"\nname = "CH3F"\n'
QUICK = "[references]\neigenmatrix_diagonal = 20\nnewton_displacement = 0.02\n"


@pytest.fixture
def folder(tmp_path, examples):
    """Return a folder with the QM result of the example, inside a folder of the user."""
    inner = tmp_path / "project"
    inner.mkdir()
    shutil.copy(examples / "ch3f" / "ch3f.json", inner)
    return inner


def run(folder, text, *options) -> int:
    (folder / "fit.toml").write_text(text, encoding="utf-8")
    return main(["fit", str(folder / "fit.toml"), "--quiet", *options])


def refused(folder, text, capsys, *options) -> str:
    """Return the message of a run that has to fail and to leave everything as it is."""
    before = sorted(folder.parent.rglob("*"))
    assert run(folder, text, *options) == 2
    assert sorted({*before, folder / "fit.toml"}) == sorted(folder.parent.rglob("*"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("fieldfit: ")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("output", [".", "..", "../project"])
def test_the_folder_of_the_settings_is_never_the_output_folder(folder, capsys, output) -> None:
    # An output folder that is there is set aside under another name: here, with the user's own files in it.
    text = MOLECULE + QUICK + f'[output]\nfolder = "{output}"\n'
    assert "holds the settings" in refused(folder, text, capsys)


def test_the_working_directory_is_never_the_output_folder(folder, capsys, monkeypatch, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert "working directory" in refused(folder, MOLECULE + QUICK, capsys, "--output", ".")


def test_a_folder_with_a_qm_result_is_never_the_output_folder(folder, capsys) -> None:
    (folder / "qm").mkdir()
    shutil.move(folder / "ch3f.json", folder / "qm")
    text = '[[molecules]]\nfile = "qm/ch3f.json"\n' + QUICK + '[output]\nfolder = "qm"\n'
    assert "ch3f.json" in refused(folder, text, capsys)


def test_output_of_the_command_line_is_relative_to_the_working_directory(folder, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(folder, MOLECULE + QUICK, "--output", "results/first") == 0
    assert (tmp_path / "results" / "first" / "report.json").is_file()
    assert not (folder / "output").exists()
    assert [entry.name for entry in (tmp_path / "results").iterdir()] == ["first"]


def test_bounds_need_not_contain_a_start_that_nobody_stated(folder) -> None:
    # 381 kcal/mol/A^2 is what the Hessian fit finds; the generic constants of a new force field are 300 and 60.
    text = MOLECULE + QUICK + '[parameters.bounds]\n"bond.C-H.k" = [350, 400]\n"angle.*.k" = [20, 55]\n'
    assert run(folder, text) == 0
    report = json.loads((folder / "output" / "report.json").read_text())
    rows = {row["label"]: row for row in report["parameters"]}
    assert 350.0 <= rows["bond.C-H.k"]["start"] <= 400.0
    assert rows["angle.F-C-H.k"]["start"] == pytest.approx(55.0)


def test_bounds_that_exclude_the_qm_geometry_are_refused(folder, capsys) -> None:
    text = MOLECULE + QUICK + '[parameters.bounds]\n"bond.C-F.r0" = [1.0, 1.2]\n'
    message = refused(folder, text, capsys)
    assert "'bond.C-F.r0' starts at 1.39" in message
    assert "[1, 1.2] A" in message


def test_bounds_that_exclude_a_constant_that_is_kept_are_refused(folder, capsys) -> None:
    text = MOLECULE + QUICK + '[start]\nmethod = "given"\n[parameters.bounds]\n"bond.C-H.k" = [350, 400]\n'
    assert "'bond.C-H.k' starts at 300" in refused(folder, text, capsys)


def test_a_constant_that_is_fixed_without_a_start_is_held_at_its_estimate(folder) -> None:
    assert run(folder, MOLECULE + QUICK + '[parameters]\nfix = ["bond.*.k"]\n') == 0
    report = json.loads((folder / "output" / "report.json").read_text())
    row = next(row for row in report["parameters"] if row["label"] == "bond.C-H.k")
    assert row["held"] == "fixed"
    # The Hessian fit finds 381 kcal/mol/A^2; a new force field has the generic 300.
    assert row["value"] == row["start"] == pytest.approx(381.0, abs=2.0)


def test_a_start_that_is_stated_is_kept(folder) -> None:
    text = MOLECULE + QUICK + '[parameters]\nfix = ["bond.C-H.k"]\n[parameters.start]\n"bond.C-H.k" = 370.0\n'
    assert run(folder, text) == 0
    report = json.loads((folder / "output" / "report.json").read_text())
    row = next(row for row in report["parameters"] if row["label"] == "bond.C-H.k")
    assert (row["start"], row["value"], row["held"]) == (370.0, 370.0, "fixed")


def test_types_may_hold_characters_of_patterns(folder) -> None:
    # Amber calls one of its atom types "C*": as a pattern it is every type that begins with C.
    types = 'types = ["C", "F", "H*", "HC", "HC"]\n'
    text = MOLECULE + types + QUICK + '[start]\nmethod = "seminario"\n[parameters.start]\n"bond.C-H*.k" = 300.0\n'
    assert run(folder, text) in (0, 1)
    report = json.loads((folder / "output" / "report.json").read_text())
    starts = {row["label"]: row["start"] for row in report["parameters"]}
    assert starts["bond.C-H*.k"] == 300.0
    # The others were estimated: Seminario's C-H constants of a methyl group are near 360 kcal/mol/A^2.
    assert starts["bond.C-HC.k"] > 320.0


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("bonds = [[0, 1]]", "counted from 1"),
        ("bonds = [[1, 6]]", "the bond [1, 6], but the atoms are 1 to 5"),
        ('types = ["C", "F", "H"]', "3 atom types are given for 5 atoms"),
        ('format = "gausian-log"', "gaussian-log"),
        ('hessian_unit = "hartree"\nhessian = "x.npy"', "qcschema"),
        ("bond_tolerance = nan", "bond_tolerance = nan is not a number"),
    ],
)
def test_molecules_that_cannot_be_perceived_are_refused(folder, capsys, key, message) -> None:
    assert message in refused(folder, MOLECULE + key + "\n" + QUICK, capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fit]\noptimizer = 'least-squares:qr'\n", "least-squares"),
        ("[fit]\nregularization = -1\n", "strength -1"),
        ("[fit]\nftol = 2.0\n", "ftol"),
        ("[start]\nscale = nan\n", "start.scale = nan is not a number"),
        ("[parameters.tie]\n'bond.C-H.k' = 'bond.C-H.k'\n", "itself"),
        ("[parameters.tie]\n'bond.C-X.k' = 'bond.C-H.k'\n", "bond.C-X.k"),
        ("[parameters]\nfix = 'bond.*'\n", "is not a list of texts"),
        ("[parameters.bounds]\n'bond.*.r0' = 1.0\n", "[lower, upper]"),
    ],
)
def test_settings_that_contradict_are_refused(folder, capsys, text, message) -> None:
    assert message in refused(folder, MOLECULE + text, capsys)


def test_types_are_given_for_every_molecule_or_for_none(folder, capsys) -> None:
    # Types that were found in one molecule alone and types of the user might be called alike and mean something else.
    text = MOLECULE + '[[molecules]]\nfile = "ch3f.json"\nname = "again"\ntypes = ["C", "F", "H", "H", "H"]\n'
    assert "types of CH3F" in refused(folder, text + QUICK, capsys)


def test_a_fit_that_is_cut_short_says_so_and_is_written(folder) -> None:
    assert run(folder, MOLECULE + "[references]\nbond_angle = 0.5\nfrequency = 10\n[fit]\nmaxiter = 1\n") == 1
    report = json.loads((folder / "output" / "report.json").read_text())
    assert not report["success"]
    assert "maxiter" in report["message"]


def test_an_interrupted_fit_writes_nothing(folder, capsys, monkeypatch) -> None:
    def interrupt(self, *arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(LeastSquaresOptimizer, "optimize", interrupt)
    assert run(folder, MOLECULE + QUICK) == 130
    assert not (folder / "output").exists()
    assert capsys.readouterr().err == "fieldfit: interrupted; nothing was written\n"


def test_numbers_of_failed_evaluations_are_null(folder, monkeypatch) -> None:
    optimize = LeastSquaresOptimizer.optimize

    def with_failure(self, *arguments, **options):
        result = optimize(self, *arguments, **options)
        return dataclasses.replace(result, history=(*result.history, HistoryEntry(99, np.nan, False, True)))

    monkeypatch.setattr(LeastSquaresOptimizer, "optimize", with_failure)
    assert run(folder, MOLECULE + QUICK) == 0
    text = (folder / "output" / "report.json").read_text()
    # A strict parser, as in other languages, knows no NaN.
    numbers = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert numbers["history"][-1] == [None, False]
    assert len(numbers["history"]) > 2
