"""QCSchema results."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.vibrations import normal_modes


def edit(path: Path, **changes) -> Path:
    """Change entries of a JSON file; dots in names are double underscores."""
    result = json.loads(path.read_text())
    for name, value in changes.items():
        *parents, key = name.split("__")
        place = result
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[key]
        else:
            place[key] = value
    path.write_text(json.dumps(result))
    return path


def test_program_and_method_are_recorded(json_file: Path) -> None:
    source = read(json_file).source
    assert (source["program"], source["version"], source["method"]) == ("Psi4", "1.9", "b3lyp/6-31g*")


def test_masses_that_are_not_stated_are_those_of_the_isotopes(json_file: Path, water) -> None:
    assert_allclose(read(edit(json_file, molecule__masses=None)).masses, water.masses)
    assert_allclose(read(edit(json_file, molecule__mass_numbers=[16, 1, -1])).masses, water.masses)


def test_an_isotope_without_its_mass_is_refused(json_file: Path) -> None:
    edit(json_file, molecule__masses=None, molecule__mass_numbers=[16, 1, 2])
    with pytest.raises(FileFormatError, match="an atom is the isotope 2 of H, but its mass is not stated"):
        read(json_file)


def test_a_gradient_is_found_in_the_result_of_its_driver(json_file: Path, water) -> None:
    result = json.loads(json_file.read_text())
    result.get("input_data", {}).get("specification", result)["driver"] = "gradient"
    result["return_result"] = result["properties"].pop("return_gradient")
    json_file.write_text(json.dumps(result))
    record = read(json_file)
    assert record.hessian is None
    assert_allclose(record.gradient, water.gradient, atol=1e-8)


def test_a_truncated_hessian_is_refused_with_both_numbers(json_file: Path) -> None:
    with pytest.raises(FileFormatError, match="the hessian has 81 numbers, but 45 were found"):
        read(edit(json_file, return_result=[0.0] * 45))


def test_ragged_or_encoded_arrays_are_refused(json_file: Path) -> None:
    with pytest.raises(FileFormatError, match="the hessian is not a list of numbers"):
        read(edit(json_file, return_result=[[1.0], [1.0, 2.0]]))
    with pytest.raises(FileFormatError, match="the hessian is not a list of numbers"):
        read(edit(json_file, return_result={"_nd_": True, "data": "00"}))


def test_masses_of_another_molecule_are_refused(json_file: Path) -> None:
    with pytest.raises(FileFormatError, match="the list of masses of 3 atoms has 3 numbers, but 2 were found"):
        read(edit(json_file, molecule__masses=[16.0, 1.0]))


def test_ghost_atoms_are_refused(json_file: Path) -> None:
    with pytest.raises(FileFormatError, match="ghost atoms"):
        read(edit(json_file, molecule__real=[True, True, False]))


def test_a_failed_calculation_is_refused_with_its_reason(json_file: Path) -> None:
    with pytest.raises(FileFormatError, match=r"the calculation failed: no convergence\. Repeat"):
        read(edit(json_file, success=False, error={"error_message": "no convergence."}))


def test_json_that_is_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"name": "x", "data": []}')
    with pytest.raises(FileFormatError, match=r"not a QCSchema AtomicResult\. It holds: name, data"):
        read(path)
    path.write_text('{"name": "x", "da')
    with pytest.raises(FileFormatError, match="not valid JSON"):
        read(path)


def test_fluoromethane_written_by_hand_has_the_frequencies_of_psi4(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ch3f"
    lines = [line.split() for line in (folder / "ch3f-optimized.xyz").read_text().split("\n")[2:7]]
    result = {
        "schema_name": "qcschema_output",
        "schema_version": 1,
        "driver": "hessian",
        "model": {"method": "b3lyp", "basis": "6-31+G(d)"},
        "molecule": {
            "symbols": [line[0] for line in lines],
            "geometry": [float(field) / 0.529177210903 for line in lines for field in line[1:]],
        },
        "return_result": np.load(folder / "ch3f-hessian.npy").tolist(),
        "properties": {"return_energy": float((folder / "ch3f-energy.txt").read_text().split("\n")[1])},
        "success": True,
    }
    (tmp_path / "ch3f.json").write_text(json.dumps(result))
    record = read(tmp_path / "ch3f.json")
    frequencies = normal_modes(record.hessian, record.coordinates, record.masses).frequencies
    assert_allclose(frequencies, np.loadtxt(folder / "ch3f-frequencies.txt"), atol=1e-5)
