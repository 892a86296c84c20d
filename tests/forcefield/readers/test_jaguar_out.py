"""Jaguar output files."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import constants

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.readers import read

HARTREE = constants.value("Hartree energy") * constants.N_A / 4184.0  # kcal/mol


def change(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def line_of(path: Path, text: str, *, occurrence: int = 0) -> int:
    """Return the number of a line that holds a text, counted from 1."""
    return [number for number, line in enumerate(path.read_text().split("\n"), 1) if text in line][occurrence]


def test_program_version_and_method_are_recorded(jaguar_out_file: Path) -> None:
    source = read(jaguar_out_file).source
    assert (source["program"], source["version"], source["method"]) == ("Jaguar", "10.6", "DFT(b3lyp)/6-31g*")


def test_the_last_geometry_with_an_energy_is_read(jaguar_out_file: Path, water) -> None:
    # The file holds the geometry turned before and moved after it.
    assert_allclose(read(jaguar_out_file).coordinates, water.coordinates, atol=1e-9)


def test_a_final_geometry_follows_its_energy(jaguar_out_file: Path, water) -> None:
    text = jaguar_out_file.read_text()
    before, _, after = text.rpartition("new geometry")
    jaguar_out_file.write_text(before + "final geometry" + after)
    assert read(jaguar_out_file).coordinates[0, 0] == pytest.approx(water.coordinates[0, 0] + 0.1, abs=1e-9)


def test_the_unit_of_the_geometry_is_obeyed(jaguar_out_file: Path, water) -> None:
    text = jaguar_out_file.read_text()
    jaguar_out_file.write_text(text.replace("angstroms", "bohr"))
    bohr = constants.value("Bohr radius") * 1e10
    assert_allclose(read(jaguar_out_file).coordinates, bohr * water.coordinates, rtol=1e-8, atol=1e-9)
    jaguar_out_file.write_text(text.replace("angstroms", "furlongs"))
    line = line_of(jaguar_out_file, "furlongs", occurrence=2)
    with pytest.raises(FileFormatError, match=rf"line {line}: the unit of the geometry is 'furlongs'"):
        read(jaguar_out_file)


def test_the_energy_in_solution_is_the_energy(jaguar_out_file: Path) -> None:
    line = " SCFE:  Solution phase energy: DFT(m06-2x)     -76.44 hartrees   iterations:   5\n  start of program freq"
    record = read(change(jaguar_out_file, "  start of program freq", line))
    assert record.energy == pytest.approx(-76.44 * HARTREE, rel=1e-8)
    assert record.source["method"] == "DFT(m06-2x)/6-31g*"


def test_the_energy_with_correlation_is_the_energy(jaguar_out_file: Path) -> None:
    line = " Total LMP2 Energy.......     -76.11256280977\n  start of program freq"
    record = read(change(jaguar_out_file, "  start of program freq", line))
    assert record.energy == pytest.approx(-76.11256280977 * HARTREE, rel=1e-8)
    assert record.source["method"] == "LMP2/6-31g*"


def test_imaginary_frequencies_are_negative(jaguar_out_file: Path) -> None:
    lines = jaguar_out_file.read_text().split("\n")
    (row,) = [number for number, line in enumerate(lines) if line.startswith("  frequencies")]
    lines[row] = "  frequencies      -705.89    42.10    64.83"
    jaguar_out_file.write_text("\n".join(lines))
    assert_allclose(read(jaguar_out_file).frequencies, [-705.89, 42.1, 64.83])


def test_a_single_point_has_no_frequencies(jaguar_out_file: Path) -> None:
    text = jaguar_out_file.read_text()
    start, stop = text.index("  Number of frequencies"), text.index("  Number of imaginary")
    jaguar_out_file.write_text(text[:start] + text[stop:])
    assert read(jaguar_out_file).frequencies is None


def test_every_truncated_file_is_refused(jaguar_out_file: Path) -> None:
    lines = jaguar_out_file.read_text().rstrip().split("\n")
    for number in range(3, len(lines) - 1):
        jaguar_out_file.write_text("\n".join(lines[:number]) + "\n")
        with pytest.raises(FileFormatError, match=r"water\.out, line \d+: the file ends without 'Job"):
            read(jaguar_out_file)


@pytest.mark.parametrize(
    ("old", "new", "where", "message"),
    [
        ("frequencies:   3", "frequencies:   4", "harmonic", "the list of frequencies has 4 numbers"),
        ("  frequencies    ", "  frequencies  1.0 ", "harmonic", "has 3 numbers, but 4 were found"),
        ("  frequencies    ", "  frequencies ****", "  frequencies ", r"holds '\*.*' where a number is expected"),
        ("weight:      18.01", "weight:      19.02", "weight", r"the molecule weighs 19\.02 u, but"),
        ("charge:    0", "charge:    *", "charge", r"net molecular charge is '\*', not a whole number"),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_line(jaguar_out_file: Path, old, new, where, message) -> None:
    line = line_of(jaguar_out_file, where)
    with pytest.raises(FileFormatError, match=rf"line {line}\b.*{message}"):
        read(change(jaguar_out_file, old, new))


def test_a_damaged_geometry_is_refused_with_its_line(jaguar_out_file: Path) -> None:
    lines = jaguar_out_file.read_text().split("\n")
    line = line_of(jaguar_out_file, " H2 ", occurrence=2)
    for damaged, message in (
        ("  H2   0.1 0.2", "is not an atom label"),
        ("  H2   0.1 0.2 *****", r"holds '\*\*\*\*\*'"),
        ("  Q2   0.1 0.2 0.3", "label 'Q2'"),
    ):
        jaguar_out_file.write_text("\n".join([*lines[: line - 1], damaged, *lines[line:]]))
        with pytest.raises(FileFormatError, match=rf"water\.out, line {line}.*{message}"):
            read(jaguar_out_file)


def test_an_atom_that_was_lost_is_found_by_the_weight(jaguar_out_file: Path) -> None:
    lines = jaguar_out_file.read_text().split("\n")
    line = line_of(jaguar_out_file, " H2 ", occurrence=2)
    jaguar_out_file.write_text("\n".join(lines[: line - 1] + lines[line:]))
    with pytest.raises(FileFormatError, match=r"isotopes of its 2 atoms weigh 17\.00 u"):
        read(jaguar_out_file)


def test_results_of_rh_enamide_agree_with_their_thermochemistry(shared_data: Path) -> None:
    folder = shared_data / "rh-enamide" / "rh_enamide_training_set"
    paths = sorted((folder / "jaguar_spe_freq_in_out").glob("*.out"))
    assert len(paths) == 9
    for path, xyz in zip(paths, sorted((folder / "raw_xyz").glob("*.xyz")), strict=True):
        record, text = read(path), path.read_text()
        assert_allclose(record.coordinates, read(xyz).coordinates, atol=1e-5)
        assert len(record.frequencies) == 3 * record.n_atoms - 6
        assert np.sum(record.frequencies < 0.0) == 1
        zero_point, thermal, internal = (
            float(re.search(pattern, text)[1])
            for pattern in (r"\(ZPE\): +(\S+) kJ", r"\n  total +(\S+)", r"\(SCFE \+ ZPE \+ U\): +(\S+) hartrees")
        )
        quantum = constants.h * constants.c * 100.0 * constants.N_A / 1000.0  # kJ/mol per 1/cm
        # Jaguar leaves out what is below 10 1/cm; wavenumbers have two decimals.
        assert 0.5 * quantum * record.frequencies[record.frequencies > 10.0].sum() == pytest.approx(
            zero_point, abs=2e-3
        )
        assert record.energy + (zero_point + thermal) / 4.184 == pytest.approx(HARTREE * internal, abs=2e-3)
