"""Geometries in xyz format with a separate Hessian."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError, MoleculeError
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.vibrations import normal_modes


def write(folder: Path, text: str) -> Path:
    path = folder / "molecule.xyz"
    path.write_text(text)
    return path


def test_a_geometry_alone_has_no_hessian(xyz_file: Path) -> None:
    record = read(xyz_file)
    assert record.hessian is None
    assert record.frequencies is None


def test_atomic_numbers_and_further_columns_are_understood(tmp_path: Path) -> None:
    record = read(write(tmp_path, "2\n\n1 0.0 0.0 0.0 0.1 0.2\nCL 0.0 0.0 1.27 0.3 0.4\n"))
    assert record.symbols == ("H", "Cl")
    assert_allclose(record.coordinates[1], [0.0, 0.0, 1.27])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3\n\nH 0.0 0.0 0.0\nH 0.0 0.0 0.7\n", "3 atoms are announced, but 2 lines follow"),
        ("1\n\nH 0.0 0.0 0.0\n1\n\nH 0.0 0.0 0.7\n", "1 atoms are announced, but 4 lines follow"),
        ("2\n\nH 0.0 0.0 0.0\nH 0.0 0.7\n", "2 lines follow the comment, 1 of them with"),
        ("2\n\nH 0.0 0.0 0.0\nH 0.0 0.0 ***\n", r"holds '\*\*\*' where a number is expected"),
        ("1\nProperties=pos:R:3:species:S:1\nH 0.0 0.0 0.0\n", "columns are not in the order species"),
        ("H 0.0 0.0 0.0\n", "starts with the number of atoms, this one with 'H 0.0"),
    ],
)
def test_a_damaged_geometry_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        read(write(tmp_path, text), format="xyz")


def test_an_unknown_element_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MoleculeError, match="'Xx'"):
        read(write(tmp_path, "1\n\nXx 0.0 0.0 0.0\n"))


@pytest.mark.parametrize("names", [["hessian"], ["anything"], ["energy", "hessian"]])
def test_the_hessian_is_found_in_an_npz_file(xyz_file: Path, water, names: list[str]) -> None:
    matrix = np.load(xyz_file.with_name("water-hessian.npy"))
    path = xyz_file.with_name("all.npz")
    np.savez(path, **{name: matrix if name != "energy" else np.zeros(1) for name in names})
    assert_allclose(read(xyz_file, hessian=path).hessian, water.hessian)


def test_an_npz_file_without_a_hessian_is_refused(xyz_file: Path) -> None:
    path = xyz_file.with_name("all.npz")
    np.savez(path, first=np.zeros(1), second=np.zeros(1))
    with pytest.raises(FileFormatError, match=r"none of the arrays \['first', 'second'\] is called 'hessian'"):
        read(xyz_file, hessian=path)


@pytest.mark.parametrize("array", [np.zeros((6, 6)), np.zeros(45), np.zeros((3, 3, 3, 3)), np.zeros((9, 9), complex)])
def test_a_hessian_of_another_shape_is_refused(xyz_file: Path, array: np.ndarray) -> None:
    path = xyz_file.with_name("other.npy")
    np.save(path, array)
    with pytest.raises(FileFormatError, match=r"the Hessian of 3 atoms is real and of shape \(9, 9\)"):
        read(xyz_file, hessian=path)


def test_an_unreadable_hessian_is_refused(xyz_file: Path) -> None:
    path = xyz_file.with_name("text.npy")
    path.write_text("not numpy")
    with pytest.raises(FileFormatError, match="not a readable NumPy file"):
        read(xyz_file, hessian=path)
    with pytest.raises(FileFormatError, match=r"no file '.*absent\.npy' with a Hessian"):
        read(xyz_file, hessian=path.with_name("absent.npy"))


def test_a_hessian_in_the_wrong_unit_is_refused(xyz_file: Path) -> None:
    with pytest.raises(MoleculeError, match="the largest wavenumber of the Hessian is 8"):
        read(xyz_file, hessian=xyz_file.with_name("water-hessian.npy"), hessian_unit="kcal/mol/angstrom^2")


@pytest.mark.parametrize("molecule", ["ch3f", "sn2-ts"])
def test_psi4_hessians_have_the_frequencies_that_psi4_printed(shared_data: Path, molecule: str) -> None:
    folder = shared_data / molecule
    record = read(folder / f"{molecule}-optimized.xyz", hessian=folder / f"{molecule}-hessian.npy")
    printed = np.loadtxt(folder / f"{molecule}-frequencies.txt")
    frequencies = normal_modes(record.hessian, record.coordinates, record.masses).frequencies
    # All digits are printed; constants of different CODATA years differ by 1e-9.
    assert_allclose(frequencies, printed, atol=1e-5)
