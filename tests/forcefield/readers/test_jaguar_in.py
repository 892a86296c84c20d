"""Jaguar restart files, and results that are spread over two files."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fieldfit.errors import FileFormatError, MoleculeError
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.readers.combine import combine
from fieldfit.forcefield.readers.jaguar import label_symbol
from fieldfit.forcefield.vibrations import normal_modes

NINE = range(1, 10)
"""The structures of the Rh-enamide set."""


@pytest.fixture(scope="module")
def jaguar_folder(shared_data: Path) -> Path:
    return shared_data / "rh-enamide" / "rh_enamide_training_set" / "jaguar_spe_freq_in_out"


def change(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_method_charge_and_multiplicity_are_those_of_the_keywords(jaguar_in_file: Path) -> None:
    record = read(change(jaguar_in_file, "molchg 0 multip=1", "MOLCHG=-1,multip 3"))
    assert (record.charge, record.multiplicity) == (-1, 3)
    assert record.source["method"] == "b3lyp/6-31g*"


def test_the_number_of_a_restart_is_not_part_of_the_name(jaguar_in_file: Path) -> None:
    assert read(jaguar_in_file.rename(jaguar_in_file.with_name("water.01.in"))).name == "water"


def test_sections_begun_with_a_dollar_sign_in_capitals_are_understood(jaguar_in_file: Path, water) -> None:
    text = jaguar_in_file.read_text().replace("&gen", "$GEN").replace("&zmat", "$Zmat").replace("&", "$")
    jaguar_in_file.write_text(text)
    assert_allclose(read(jaguar_in_file).hessian, water.hessian, atol=1e-6)


def test_an_input_without_a_hessian_is_a_geometry(jaguar_in_file: Path, water) -> None:
    text = jaguar_in_file.read_text()
    jaguar_in_file.write_text(text[: text.index("&hess")])
    record = read(jaguar_in_file)
    assert record.hessian is None
    assert_allclose(record.coordinates, water.coordinates, atol=1e-9)


@pytest.mark.parametrize(
    ("label", "symbol"),
    # Jaguar User Manual, section zmat: HE5 is helium, C_A is carbon, CA calcium.
    [("HE5", "He"), ("C_A", "C"), ("CA", "Ca"), ("Rh1", "Rh"), ("h12", "H"), ("HH31", "H"), ("N", "N")],
)
def test_elements_follow_from_labels(label: str, symbol: str) -> None:
    assert label_symbol(label, "file") == symbol


@pytest.mark.parametrize("label", ["X1", "1", "O2@", "Q"])
def test_atoms_that_are_not_real_are_refused(jaguar_in_file: Path, label: str) -> None:
    change(jaguar_in_file, " O1 ", f" {label} ")
    with pytest.raises(FileFormatError, match=rf"water\.in, line 7: the atom label '{label}' does not stand for"):
        read(jaguar_in_file)


def test_the_hessian_of_an_optimization_is_refused(jaguar_in_file: Path) -> None:
    change(jaguar_in_file, "ifreq=1", "igeopt=1")
    with pytest.raises(FileFormatError, match=r"line 15: .*estimate of a geometry optimization.* ifreq=1"):
        read(jaguar_in_file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ifreq=1", "iunit=0", "iunit=0 states a unit"),
        ("ifreq=1", "ifreq=1 massav=1", r"other masses .*massav=1"),
        ("&guess", "&atomic\natom mass\nH2 2.014\n&\n&guess", r"other masses .*&atomic, line 12"),
        ("&guess", "&atomic\natom isotope\nH2 2\n&\n&guess", r"other masses .*&atomic, line 12"),
        ("molchg 0", "molchg 0.5", r"molchg is '0\.5', not a whole number"),
        ("ifreq=1", "ifreq", "line 2: the section &gen does not consist of keywords with one value"),
    ],
)
def test_what_cannot_be_taken_at_face_value_is_refused(jaguar_in_file: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        read(change(jaguar_in_file, old, new))


def test_settings_of_atoms_that_do_not_matter_are_passed_over(jaguar_in_file: Path, water) -> None:
    change(jaguar_in_file, "&guess", "&atomic\natom vdw2\nH2 1.2\n&\n&guess")
    assert_allclose(read(jaguar_in_file).masses, water.masses)


def test_a_z_matrix_is_refused(jaguar_in_file: Path) -> None:
    lines = jaguar_in_file.read_text().split("\n")
    lines[7] = " H2 O1 0.96"
    jaguar_in_file.write_text("\n".join(lines))
    with pytest.raises(FileFormatError, match=r"line 8: 'H2 O1 0\.96' is not an atom label.*Z-matrix"):
        read(jaguar_in_file)


def test_every_truncated_file_is_refused_or_read_up_to_a_section(jaguar_in_file: Path) -> None:
    lines = jaguar_in_file.read_text().split("\n")
    whole = [number for number, line in enumerate(lines, 1) if line == "&"]
    for number in range(6, len(lines) - 1):
        jaguar_in_file.write_text("\n".join(lines[:number]) + "\n")
        if number in whole:
            assert (read(jaguar_in_file).hessian is None) == (number < whole[3])
        else:
            with pytest.raises(FileFormatError, match=r"water\.in: the section &\w+, begun in line \d+, is not ended"):
                read(jaguar_in_file)


@pytest.mark.parametrize("line", range(16, 31))
def test_a_line_of_the_hessian_that_is_missing_or_garbled_is_named(jaguar_in_file: Path, line: int) -> None:
    lines = jaguar_in_file.read_text().split("\n")
    jaguar_in_file.write_text("\n".join(lines[: line - 1] + lines[line:]))
    with pytest.raises(
        FileFormatError, match=rf"water\.in, line ({line}|29): .*(is expected|has 14 lines, but 3 atoms)"
    ):
        read(jaguar_in_file)
    lines[line - 1] = lines[line - 1][:-4] + "****"
    jaguar_in_file.write_text("\n".join(lines))
    with pytest.raises(FileFormatError, match=rf"water\.in, line {line}"):
        read(jaguar_in_file)


def test_the_hessian_of_another_molecule_is_refused(jaguar_in_file: Path) -> None:
    lines = jaguar_in_file.read_text().split("\n")
    jaguar_in_file.write_text("\n".join(lines[:8] + lines[9:]))
    with pytest.raises(FileFormatError, match="belong to different molecules"):
        read(jaguar_in_file)


def test_a_section_within_a_section_or_twice_is_refused(jaguar_in_file: Path) -> None:
    text = jaguar_in_file.read_text()
    jaguar_in_file.write_text(text.replace("&\n&zmat", "&zmat"))
    with pytest.raises(FileFormatError, match=r"line 5: the section &zmat begins before the section &gen of line 2"):
        read(jaguar_in_file)
    jaguar_in_file.write_text(text + "&gen\nmolchg=1\n&\n")
    with pytest.raises(FileFormatError, match="a second section &gen, the first one being in line 2"):
        read(jaguar_in_file)


def test_two_files_become_one_record(jaguar_in_file: Path, jaguar_out_file: Path, water) -> None:
    record = combine(read(jaguar_in_file), read(jaguar_out_file))
    assert_allclose(record.hessian, water.hessian, atol=1e-6)
    assert_allclose(record.frequencies, water.frequencies, atol=1e-4)
    assert record.energy == pytest.approx(water.energy, abs=1e-6)
    assert record.source["file"] == str(jaguar_in_file)
    assert record.source["frequencies"] == record.source["energy"] == str(jaguar_out_file)
    assert record.source["version"] == "10.6"


def test_derivatives_are_turned_into_the_frame_of_the_first_record(jaguar_in_file: Path, water) -> None:
    record = dataclasses.replace(read(jaguar_in_file), gradient=water.gradient)
    turn = Rotation.from_rotvec([0.3, -0.8, 1.9]).as_matrix()
    elsewhere = dataclasses.replace(record, coordinates=record.coordinates @ turn.T + 2.0, hessian=None, gradient=None)
    combined = combine(elsewhere, record)
    turns = np.kron(np.eye(3), turn)
    assert_allclose(combined.hessian, turns @ record.hessian @ turns.T, atol=1e-6)
    assert_allclose(combined.gradient, record.gradient @ turn.T, atol=1e-8)
    assert_allclose(combined.coordinates, elsewhere.coordinates)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbols": ("O", "H", "F")}, "their atoms are O H H and O H F"),
        ({"charge": 1}, r"charges and multiplicities are \(0, 1\) and \(1, 1\)"),
        ({"masses": np.array([15.99491, 2.014, 1.00783])}, r"masses of atom 2 \(H\) are 1\.00783 and 2\.01400 u"),
        ({"frequencies": np.array([1000.0, 3000.0, 4000.0])}, "as printed and from the Hessian"),
        ({"frequencies": np.array([1000.0, 3000.0])}, "2 wavenumbers are printed, but the Hessian has 3"),
        ({"energy": -1.0}, r"their energies are -2\.000 and -1\.000 kcal/mol"),
    ],
)
def test_files_of_different_calculations_are_not_combined(jaguar_in_file, jaguar_out_file, changes, message) -> None:
    record = dataclasses.replace(read(jaguar_in_file), energy=-2.0)
    other = dataclasses.replace(read(jaguar_out_file), energy=None)
    with pytest.raises(MoleculeError, match=message):
        combine(record, dataclasses.replace(other, **changes))


def test_another_geometry_or_mirror_image_is_not_combined(jaguar_in_file, jaguar_out_file) -> None:
    record, other = read(jaguar_in_file), read(jaguar_out_file)
    moved = other.coordinates.copy()
    moved[2] += [0.0, 0.0, 0.05]
    with pytest.raises(MoleculeError, match=r"their geometries differ: atom \d \([OH]\) lies 0\.0\d+ A from itself"):
        combine(record, dataclasses.replace(other, coordinates=moved))


@pytest.mark.parametrize("number", NINE)
def test_the_hessian_has_the_wavenumbers_that_jaguar_printed(jaguar_folder: Path, number: int) -> None:
    (path,) = jaguar_folder.glob(f"{number}*.01.in")
    record = combine(read(path), read(path.with_name(path.name.replace(".01.in", ".out"))))
    assert (record.charge, record.multiplicity) == (1, 1)
    modes = normal_modes(record.hessian, record.coordinates, record.masses)
    # Two decimals are printed; the Hessian has seven digits.
    assert_allclose(modes.frequencies, record.frequencies, atol=0.01)
    assert np.sum(record.frequencies < 0.0) == 1
    masses = {"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "P": 30.974, "Rh": 102.906}  # IUPAC averages
    average = normal_modes(record.hessian, record.coordinates, np.array([masses[s] for s in record.symbols]))
    assert np.abs(average.frequencies - record.frequencies).max() > 0.5


def test_files_of_different_conformations_are_not_combined(jaguar_folder: Path) -> None:
    (first,) = jaguar_folder.glob("2*.01.in")
    (second,) = jaguar_folder.glob("3*.out")
    with pytest.raises(MoleculeError, match="their geometries differ"):
        combine(read(first), read(second))
