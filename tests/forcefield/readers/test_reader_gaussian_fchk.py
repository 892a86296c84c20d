"""Gaussian formatted checkpoint files."""

import re
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.readers import read


def edit(path: Path, pattern: str, replacement: str) -> Path:
    """Replace one thing in a file."""
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert count == 1
    path.write_text(text)
    return path


def test_a_file_without_derivatives_is_a_geometry(fchk_file: Path) -> None:
    record = read(edit(fchk_file, r"^Cartesian Gradient.*", ""))
    assert (record.hessian, record.gradient, record.frequencies) == (None, None, None)


def test_masses_that_are_not_stated_are_those_of_the_isotopes(fchk_file: Path, water) -> None:
    assert_allclose(read(edit(fchk_file, "^Real atomic weights ", "Something else      ")).masses, water.masses)


def test_a_truncated_hessian_is_refused_with_both_numbers(fchk_file: Path) -> None:
    cut = fchk_file.read_text().split("\n")
    start = next(n for n, line in enumerate(cut) if line.startswith("Cartesian Force"))
    fchk_file.write_text("\n".join(cut[: start + 4]))
    with pytest.raises(FileFormatError, match="'Cartesian Force Constants' has 45 numbers, but 15 were found"):
        read(fchk_file)


def test_a_hessian_of_another_molecule_is_refused(fchk_file: Path) -> None:
    edit(fchk_file, r"^(Cartesian Force Constants\s+R   N=\s+)45\n[^\n]*\n", r"\g<1>40\n")
    with pytest.raises(FileFormatError, match="of 3 atoms has 45 numbers, but 40 were found"):
        read(fchk_file)


@pytest.mark.parametrize("label", ["Atomic numbers", "Charge", "Current cartesian coordinates"])
def test_a_missing_field_is_refused_by_name(fchk_file: Path, label: str) -> None:
    with pytest.raises(FileFormatError, match=f"there is no field '{label}'"):
        read(edit(fchk_file, f"^{label}", "x" * len(label)))


def test_an_atom_count_that_contradicts_the_elements_is_refused(fchk_file: Path) -> None:
    with pytest.raises(FileFormatError, match="'Atomic numbers' of 4 atoms has 4 numbers, but 3 were found"):
        read(edit(fchk_file, r"^(Number of atoms\s+I\s+)3", r"\g<1>4"))
