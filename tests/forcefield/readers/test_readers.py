"""What holds for every reader, and how `read` chooses one."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError, SettingsError
from fieldfit.forcefield.readers import READERS, AbstractReader, read
from fieldfit.forcefield.readers.reader import parse_numbers
from fieldfit.forcefield.vibrations import normal_modes

# Format, fixture, and what the fixture is called with.
SAMPLES = {
    "fchk": ("gaussian-fchk", "fchk_file", None),
    "log-unix": ("gaussian-log", "write_log", "\\"),
    "log-windows": ("gaussian-log", "write_log", "|"),
    "jaguar-in": ("jaguar-in", "jaguar_in_file", None),
    "jaguar-out": ("jaguar-out", "jaguar_out_file", None),
    "hess": ("orca-hess", "hess_file", None),
    "qcschema-1": ("qcschema", "write_json", 1),
    "qcschema-2": ("qcschema", "write_json", 2),
    "xyz": ("xyz", "xyz_file", None),
}
WITHOUT_HESSIAN = ("jaguar-out",)
WITHOUT_ENERGY_AND_FREQUENCIES = ("xyz", "jaguar-in")


@pytest.fixture(params=list(SAMPLES))
def sample(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """Return the name of a format and a file in it."""
    return find_sample(request)


@pytest.fixture(params=[label for label, (name, *_) in SAMPLES.items() if name not in WITHOUT_HESSIAN])
def hessian_sample(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """Return the name of a format that has a Hessian and a file in it."""
    return find_sample(request)


def find_sample(request: pytest.FixtureRequest) -> tuple[str, Path]:
    name, fixture, argument = SAMPLES[request.param]
    value = request.getfixturevalue(fixture)
    return name, value if argument is None else value(argument)


def read_sample(path: Path):
    return read(path, hessian=path.with_name("water-hessian.npy") if path.suffix == ".xyz" else None)


def test_every_reader_has_a_sample() -> None:
    assert set(READERS) == {name for name, _, _ in SAMPLES.values()}
    assert all(issubclass(reader, AbstractReader) for reader in READERS.values())


def test_a_file_is_sniffed_by_exactly_one_reader(sample) -> None:
    name, path = sample
    text = path.read_text()
    assert [reader for reader in READERS if READERS[reader]().sniff(path, text)] == [name]


def test_a_record_is_in_internal_units(sample, water) -> None:
    name, path = sample
    record = read_sample(path)
    assert record.name == "water"
    assert record.symbols == water.symbols
    assert_allclose(record.coordinates, water.coordinates, atol=2e-8)
    assert_allclose(record.masses, water.masses, rtol=1e-8)
    # Archives hold 8 decimals of hartree/bohr^2, which is 2e-5 kcal/mol/A^2.
    if name in WITHOUT_HESSIAN:
        assert record.hessian is None
    else:
        assert_allclose(record.hessian, water.hessian, atol=2e-5)


def test_a_record_carries_what_the_file_states(sample, water) -> None:
    name, path = sample
    record = read_sample(path)
    assert (record.charge, record.multiplicity) == (0, 1)
    assert record.source["file"] == str(path)
    assert record.source["format"] == name
    if name in WITHOUT_ENERGY_AND_FREQUENCIES:
        assert (record.energy, record.frequencies) == (None, None)
    else:
        assert record.energy == pytest.approx(water.energy, abs=1e-3)  # ORCA prints six decimals
        assert_allclose(record.frequencies, water.frequencies, atol=1e-4)
    if name in ("gaussian-fchk", "gaussian-log", "qcschema"):
        assert_allclose(record.gradient, water.gradient, atol=1e-5)
        assert record.source["method"].lower().startswith(("rb3lyp/6-31g", "b3lyp/6-31g"))


def test_the_hessian_is_symmetric_and_has_the_frequencies_of_the_closed_form(hessian_sample, water) -> None:
    record = read_sample(hessian_sample[1])
    assert_allclose(record.hessian, record.hessian.T, atol=1e-12)
    frequencies = normal_modes(record.hessian, record.coordinates, record.masses).frequencies
    assert_allclose(frequencies, water.frequencies, atol=1e-3)


def test_a_stated_format_and_name_are_obeyed(sample) -> None:
    name, path = sample
    other = path.with_suffix(".dat")
    other.write_text(path.read_text())
    record = read(other, format=name, name="mine")
    assert (record.name, record.source["format"]) == ("mine", name)


def test_line_ends_of_windows_do_not_matter(sample) -> None:
    _, path = sample
    expected = read(path).coordinates
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert_allclose(read(path).coordinates, expected)


def test_printed_numbers_of_fortran_are_understood() -> None:
    numbers = parse_numbers(["1.0-101", "-1.5D+02", "2.0e-3", " 3"], what="file")
    assert_allclose(numbers, [1e-101, -150.0, 0.002, 3.0], rtol=1e-15)


@pytest.mark.parametrize("field", ["********", "", "1.0.0", "x"])
def test_a_field_that_is_not_a_number_is_refused(field: str) -> None:
    with pytest.raises(FileFormatError, match=r"file holds .* where a number is expected"):
        parse_numbers([field], what="file")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"There is no file '.*nothing\.log'"):
        read(tmp_path / "nothing.log")


def test_an_unknown_file_is_refused_with_the_known_formats(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("The quick brown fox\n")
    with pytest.raises(
        FileFormatError, match=r"is of no known format.*gaussian-fchk, gaussian-log, jaguar-in, jaguar-out, orca-hess"
    ):
        read(tmp_path / "notes.txt")


def test_an_unknown_format_is_refused_with_the_nearest(xyz_file: Path) -> None:
    with pytest.raises(SettingsError, match=r"No reader is called 'gausian-log'. Did you mean 'gaussian-log'"):
        read(xyz_file, format="gausian-log")


def test_a_separate_hessian_belongs_to_an_xyz_geometry(fchk_file: Path) -> None:
    with pytest.raises(SettingsError, match="which holds its own"):
        read(fchk_file, hessian="hessian.npy")


def test_a_hessian_in_another_unit_is_converted(xyz_file: Path, water) -> None:
    np.save(xyz_file.with_name("kj.npy"), 418.4 * water.hessian)
    record = read(xyz_file, hessian=xyz_file.with_name("kj.npy"), hessian_unit="kJ/mol/nm^2")
    assert_allclose(record.hessian, water.hessian)
