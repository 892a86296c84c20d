"""ORCA Hessian files."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.vibrations import normal_modes


def replace(path: Path, old: str, new: str) -> Path:
    """Replace something in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_translations_and_rotations_are_dropped_from_the_frequencies(hess_file: Path) -> None:
    assert len(read(hess_file).frequencies) == 3


def test_an_energy_of_zero_means_that_orca_did_not_keep_it(hess_file: Path) -> None:
    energy = hess_file.read_text().split("$act_energy")[1].split()[0]
    assert read(replace(hess_file, energy, "0.000000")).energy is None


def test_a_stated_multiplicity_is_read(hess_file: Path) -> None:
    assert read(replace(hess_file, "$hessian", "$multiplicity\n  3\n\n$hessian")).multiplicity == 3


def test_a_file_without_a_hessian_is_a_geometry(hess_file: Path) -> None:
    text = hess_file.read_text()
    hess_file.write_text("$orca_hessian_file\n" + text[text.index("$atoms") :])
    record = read(hess_file)
    assert (record.hessian, record.energy, record.frequencies) == (None, None, None)


def test_a_truncated_hessian_is_refused_with_both_numbers(hess_file: Path) -> None:
    text = hess_file.read_text()
    lines = text[: text.index("$vibrational")].rstrip().split("\n")
    rest = text[text.index("$vibrational") :]
    hess_file.write_text("\n".join(lines[:-4]) + "\n\n" + rest)
    with pytest.raises(FileFormatError, match="of 3 atoms has 81 numbers, but 65 were found"):
        read(hess_file)


def test_a_hessian_of_another_molecule_is_refused(hess_file: Path) -> None:
    with pytest.raises(FileFormatError, match=r"\$hessian has 12 rows, but the 3 atoms of \$atoms need 9"):
        read(replace(hess_file, "$hessian\n9", "$hessian\n12"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("$atoms\n3", "$atoms\n4", r"\$atoms \(one per line\) has 4 numbers, but 3 were found"),
        ("$atoms", "$molecule", r"the section \$atoms is absent or empty"),
        ("$atoms\n3", "$atoms\n", r"the first line of \$atoms holds 'O' where a number is expected"),
        ("$hessian\n9", "$hessian\nx", r"the first line of \$hessian holds 'x'"),
        ("    8  ", "    9  ", r"\$hessian of 3 atoms has 81 numbers, but 72 were found"),
        ("$vibrational_frequencies\n9", "$vibrational_frequencies\n8", "has 8 numbers, but 9 were found"),
    ],
)
def test_sections_that_are_cut_are_refused(hess_file: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        read(replace(hess_file, old, new))


@pytest.mark.parametrize("name", ["ada-endo-3r-ts", "ada-exo-3s-ts"])
def test_hessians_have_the_frequencies_that_orca_printed(shared_data: Path, name: str) -> None:
    record = read(shared_data / "diels-alder" / f"{name}.hess")
    frequencies = normal_modes(record.hessian, record.coordinates, record.masses).frequencies
    # This version of ORCA used older constants: all its wavenumbers are 1.8e-5 smaller, 0.06 1/cm for N-H.
    assert_allclose(frequencies, record.frequencies, rtol=2e-5)
    ratio = record.frequencies / frequencies
    assert np.ptp(ratio) < 2e-8  # six decimals of 44 1/cm
    assert (frequencies < 0.0).sum() == 1
