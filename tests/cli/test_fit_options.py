"""Settings beyond one plain fit: several starts, files of observations, validation, MacroModel files, ensembles."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from fieldfit.cli import main
from fieldfit.cli.output import readable_json, replace_files
from fieldfit.cli.settings import read_settings
from fieldfit.errors import SettingsError
from fieldfit.forcefield import ForceField
from fieldfit.forcefield.reference_data import ReferenceData

MOLECULE = '[[molecules]]\nfile = "ch3f.json"\nname = "CH3F"\n'
TWIN = '[[molecules]]\nfile = "ch3f.json"\nname = "twin"\n'
QUICK = "[references]\neigenmatrix_diagonal = 20\nnewton_displacement = 0.02\n"


@pytest.fixture
def folder(tmp_path, examples):
    """Return a folder with the QM result of the example."""
    shutil.copy(examples / "ch3f" / "ch3f.json", tmp_path)
    return tmp_path


def run(folder, text, *options) -> int:
    (folder / "fit.toml").write_text(text, encoding="utf-8")
    return main(["fit", str(folder / "fit.toml"), *options])


def report_of(folder) -> dict:
    return json.loads((folder / "output" / "report.json").read_text())


def refused(folder, text, capsys) -> str:
    """Return the message of a run that has to fail and to write nothing."""
    assert run(folder, text, "--quiet") == 2
    assert not (folder / "output").exists()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("fieldfit: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_stages_starts_and_seed_are_reported(folder, capsys) -> None:
    assert run(folder, MOLECULE + QUICK + "[fit]\nn_starts = 3\nseed = 4\n") == 0
    printed = capsys.readouterr().out
    for text in ("Stages", "Starts: 3", "seed 4", "skipped: the references are at the QM geometry"):
        assert text in printed
    report = report_of(folder)
    assert report["seed"] == 4
    assert len(report["start_scores"]) == 3
    assert [stage["name"].split(":")[0] for stage in report["stages"]] == [
        "force constants",
        "QM geometry",
        "references",
    ]


def test_the_references_that_were_fitted_are_written_and_fitted_again_alike(folder) -> None:
    assert run(folder, MOLECULE + QUICK, "--quiet") == 0
    first = report_of(folder)
    shutil.copy(folder / "output" / "references.toml", folder)
    data = ReferenceData.read(folder / "references.toml")
    assert set(data.categories) == {"eigenmatrix_diagonal", "newton_displacement"}
    assert run(folder, MOLECULE + '[references]\ndata = "references.toml"\n', "--quiet") == 0
    assert report_of(folder)["score"][1] == pytest.approx(first["score"][1], rel=1e-9)


def test_weights_stand_in_for_tolerances_that_are_not_stated(folder) -> None:
    text = MOLECULE + "[references]\nbond_angle = true\nbond_length = 0.02\nclassic_eigenmatrix_diagonal = true\n"
    assert run(folder, text + '[fit]\nweights = "q2mm"\n', "--quiet") in (0, 1)
    tolerances = {block["category"]: set(block["tolerances"]) for block in report_of(folder)["observations"]}
    # The weight 5 per degree, and the tolerance that was stated.
    assert tolerances["bond_angle"] == {0.2}
    assert tolerances["bond_length"] == {0.02}


def test_transition_states_are_described_as_the_settings_say(tmp_path, examples) -> None:
    shutil.copy(examples / "sn2-ts" / "sn2-ts.json", tmp_path)
    text = '[[molecules]]\nfile = "sn2-ts.json"\nbond_tolerance = 1.45\n' + QUICK
    curvatures = {}
    for method in ("zero-weight", "D"):
        run(tmp_path, text + f'[start]\ntransition_state = "{method}"\n', "--quiet")
        curvatures[method] = report_of(tmp_path)["molecules"][0]["reaction_curvature"][0]
    assert curvatures["D"] < 0.0 < curvatures["zero-weight"]


def test_what_comes_after_the_fit_is_in_the_report(folder, capsys) -> None:
    validate = "[validate]\nleave_one_out = true\nbootstrap = 3\nl_curve = [1e-3, 1e-1, 10.0]\n"
    assert run(folder, MOLECULE + TWIN + QUICK + "[fit]\nregularization = 1e-3\n" + validate) == 0
    printed = capsys.readouterr().out
    for text in ("predicted by a fit to the others", "Bootstrap over rows: 3 fits", "L-curve of the prior's strength"):
        assert text in printed
    report = report_of(folder)
    assert set(report["leave_one_out"]) == {"CH3F", "twin"}
    figures = report["leave_one_out"]["twin"]
    assert figures["figures"]["frequency [1/cm]"] == pytest.approx(
        figures["fitted_with_it"]["frequency [1/cm]"], rel=1e-2
    )
    assert report["bootstrap"]["seed"] == 0
    assert len(report["bootstrap"]["parameters"]) == 8
    assert [point["strength"] for point in report["l_curve"]["points"]] == [1e-3, 1e-1, 10.0]
    assert "validation" in report["times"]
    assert (folder / "output" / "report.txt").read_text() in printed


def test_interrupted_after_the_fit_the_fit_is_there(folder, capsys, monkeypatch) -> None:
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("fieldfit.cli.fit.bootstrap", interrupt)
    assert run(folder, MOLECULE + QUICK + "[validate]\nbootstrap = 5\n", "--quiet") == 130
    assert report_of(folder)["success"]
    assert "bootstrap" not in report_of(folder)
    assert capsys.readouterr().err == f"fieldfit: interrupted after the fit, which is in {folder / 'output'}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fit]\nn_starts = 0\n", "n_starts = 0 is not a positive whole number"),
        ("[fit]\nseed = -1\n", "seed = -1 is not a whole number that is not negative"),
        ("[fit]\nweights = 'q2m'\n", "Did you mean 'q2mm'?"),
        ("[start]\ntransition_state = 'F'\n", "'F'"),
        ("[validate]\nleave_one_out = 1\n", "is not true or false"),
        ("[validate]\nleave_one_out = true\n", "there is one molecule"),
        ("[validate]\nl_curve = [0.1, 1.0]\n", "2 strengths"),
        ("[validate]\nl_curve = [0.0, 1.0]\n", "is not a list of positive numbers"),
        ("[validate]\nbootstrap = -5\n", "not negative"),
        ("[validate]\nbootstrap = 5\nbootstrap_groups = 'molecules'\n", "'molecules' is not known"),
        ("[references]\ndata = 'absent.toml'\n", "absent.toml"),
        ("[references]\ndata = 'references.toml'\nfrequency = 10\n", "give the one or the other"),
        ("[references]\ndata = 3\n", "references.data = 3 is not a text"),
        ("[references]\nfrequency = false\n", "references.frequency = False is not a tolerance"),
        ("[[ensembles]]\nname = 'scan'\n", "has no key 'file'"),
        ("[[ensembles]]\nfile = 'absent.xyz'\n", "absent.xyz"),
        ("[[ensembles]]\nfile = 'ch3f.json'\nmolecule = 'CH3'\n", "Did you mean 'CH3F'?"),
        ("[[ensembles]]\nfile = 'ch3f.json'\nheld = [[0, 1]]\n", "atoms counted from 1"),
        ("[ensembles]\nfile = 'a.xyz'\n", "Write [[ensembles]]"),
        ("[macromodel]\nstructures = 'a.mmo'\n", "has no key 'template'"),
        ("[macromodel]\nstructures = 'a.mmo'\ntemplate = 'a.fld'\n", "a.fld"),
        (
            "[macromodel]\nstructures = 'a.mmo'\ntemplate = 'a.fld'\n[force_field]\nfamily = 'mm3'\n",
            "given twice",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(folder, capsys, text, message) -> None:
    assert message in refused(folder, MOLECULE + text, capsys)


def test_geometries_of_several_molecules_need_a_name(folder, capsys) -> None:
    text = MOLECULE + TWIN + "[[ensembles]]\nfile = 'a.xyz'\n"
    assert "which of the 2 molecules" in refused(folder, text, capsys)


def test_the_files_that_are_read_are_those_of_all_tables(tmp_path) -> None:
    text = MOLECULE + (
        '[[ensembles]]\nfile = "scan.xyz"\n[macromodel]\nstructures = "a.mmo"\ntemplate = "a.fld"\n'
        '[references]\ndata = "r.toml"\n'
    )
    (tmp_path / "fit.toml").write_text(text)
    settings = read_settings(str(tmp_path / "fit.toml"))
    assert settings.files == ("ch3f.json", "scan.xyz", "r.toml", "a.mmo", "a.fld")


@pytest.fixture(scope="module")
def macromodel(shared_data, tmp_path_factory) -> str:
    """Return settings for the first one of nine rhodium complexes of MacroModel."""
    folder = shared_data / "rh-enamide" / "rh_enamide_training_set"
    heading = "BOND LENGTHS AND STRETCH ENERGIES"
    text = (folder / "rh_enamide_training_set.mmo").read_text(encoding="latin-1")
    first = heading.join(text.split(heading)[:2])
    structures = tmp_path_factory.mktemp("macromodel") / "first.mmo"
    structures.write_text(first, encoding="latin-1")
    result = sorted((folder / "jaguar_spe_freq_in_out").glob("*.in"))[0]
    table = f'[macromodel]\nstructures = "{structures}"\ntemplate = "{shared_data / "rh-enamide" / "mm3.fld"}"\n'
    return f'{table}@[[molecules]]\nfile = "{result}"\n'


def test_macromodel_structures_are_fitted_and_written_into_their_template(tmp_path, macromodel, shared_data) -> None:
    text = macromodel.replace("@", "zero_torsions = false\n")
    text += "[start]\nmethod = 'given'\n[references]\neigenmatrix_diagonal = true\n[fit]\nmaxiter = 1\n"
    (tmp_path / "fit.toml").write_text(text)
    assert main(["fit", str(tmp_path / "fit.toml"), "--quiet"]) in (0, 1)
    rows = {row["label"]: row for row in report_of(tmp_path)["parameters"]}
    changed = {label for label, row in rows.items() if abs(row["value"] - row["start"]) > 1e-3}
    assert changed
    assert all(not rows[label]["held"] or "tied" in rows[label]["held"] for label in changed)
    before = (shared_data / "rh-enamide" / "mm3.fld").read_text(encoding="latin-1").split("\n")
    after = (tmp_path / "output" / "force_field.fld").read_text(encoding="latin-1").split("\n")
    lines = {number for number, pair in enumerate(zip(before, after, strict=True), 1) if pair[0] != pair[1]}
    # Rows are tagged with the line of the file that they come from.
    assert lines <= {int(label.split("#")[1].split(".")[0].split("-")[0]) for label in changed}
    assert lines
    assert len(ForceField.read(tmp_path / "output" / "force_field.toml").rows) > 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + '[[molecules]]\nfile = "b.in"\n', "holds 1 structures, but the settings name 2"),
        (lambda text: text + 'types = ["C"]\n', "bonds and types come from the structures"),
        (lambda text: text.replace("@", 'active = "XYZ"\n'), "'XYZ'"),
        (lambda text: text.replace("@", 'free = ["vdv.*"]\n'), "vdv"),
    ],
)
def test_macromodel_settings_that_cannot_be_are_refused(tmp_path, macromodel, capsys, change, message) -> None:
    (tmp_path / "fit.toml").write_text(change(macromodel).replace("@", ""))
    assert main(["fit", str(tmp_path / "fit.toml"), "--quiet"]) == 2
    assert message in capsys.readouterr().err


def test_a_relaxed_scan_is_fitted_besides_the_molecule(tmp_path, examples) -> None:
    shutil.copy(examples / "torsion-scan" / "butane.json", tmp_path)
    lines = (examples / "torsion-scan" / "butane-scan.xyz").read_text().splitlines(keepends=True)
    frames = ["".join(lines[start : start + 16]) for start in range(0, len(lines), 16)]
    (tmp_path / "butane-scan.xyz").write_text("".join(frames[::4]))
    text = """
[[molecules]]
file = "butane.json"
[force_field]
periodicities = [1, 2, 3]
[[ensembles]]
file = "butane-scan.xyz"
held = [[1, 2, 3, 4]]
[references]
eigenmatrix_diagonal = true
newton_displacement = true
relaxed_scan = 0.2
[fit]
ftol = 1e-3
"""
    run(tmp_path, text, "--quiet")
    report = report_of(tmp_path)
    scan = next(row for row in report["categories"] if row["category"] == "relaxed_scan")
    # Energies of a scan in steps of 60 degrees, by a force field with three torsional constants about that bond.
    assert scan["count"] == 6
    assert scan["rmsd"] < 0.3
    assert report["ensembles"][0]["name"] == "butane-scan"
    assert "butane-scan: 6 geometries" in (tmp_path / "output" / "report.txt").read_text()


def test_json_is_read_back_as_it_was_written() -> None:
    numbers = {"a": [1.0, 2.5e-300, None], "b": {"c": [{"d": [[1, 2], {"e": "f"}]}], "g": []}, "h": "text", "i": {}}
    assert json.loads(readable_json(numbers)) == numbers
    with pytest.raises(ValueError, match="JSON"):
        readable_json({"a": np.nan})


def test_files_that_cannot_be_replaced_are_told(tmp_path) -> None:
    with pytest.raises(SettingsError, match="cannot be written"):
        replace_files(tmp_path / "absent", {"a.txt": "text"})
