"""Plausibility of the unit of a Hessian, triangles and asymmetry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import constants

from fieldfit.errors import FileFormatError, MoleculeError, SettingsError
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.readers.hessian import (
    HESSIAN_UNITS,
    check_hessian_unit,
    hessian_factor,
    symmetrise,
    unpack_triangle,
)


def diatomic(first: str, second: str, *, distance: float, masses: tuple[float, float], mdyn: float) -> QMRecord:
    """A bond along z with a force constant in mdyn/A of E = k x^2 / 2."""
    block = np.diag([0.0, 0.0, 143.9326 * mdyn])
    return QMRecord(
        name="pair",
        symbols=(first, second),
        coordinates=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]]),
        masses=np.array(masses),
        hessian=np.block([[block, -block], [-block, block]]),
    )


def test_units_are_those_of_codata() -> None:
    joule = constants.N_A / 4184.0  # kcal/mol
    expected = {
        "hartree/bohr^2": constants.value("Hartree energy") / constants.value("Bohr radius") ** 2 * 1e-20,
        "hartree/angstrom^2": constants.value("Hartree energy"),
        "kcal/mol/angstrom^2": 4184.0 / constants.N_A,
        "kj/mol/angstrom^2": 1e3 / constants.N_A,
        "kj/mol/nm^2": 1e3 / constants.N_A * 1e-2,
        "ev/angstrom^2": constants.e,
        "mdyn/angstrom": 1e-18,
    }
    assert_allclose([HESSIAN_UNITS[unit] for unit in expected], [joule * size for size in expected.values()], rtol=1e-8)
    assert set(HESSIAN_UNITS) == set(expected)


def test_an_unknown_unit_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'hartree/bohr\\^2'"):
        hessian_factor("Hartree/Bohr2")


@pytest.mark.parametrize(
    "record",
    # Huber, Herzberg (1979), Constants of Diatomic Molecules: the fastest and some of the slowest bonds.
    [
        diatomic("H", "H", distance=0.741, masses=(1.008, 1.008), mdyn=5.75),
        diatomic("N", "N", distance=1.098, masses=(14.0, 14.0), mdyn=22.9),
        diatomic("Na", "Na", distance=3.079, masses=(23.0, 23.0), mdyn=0.172),
        diatomic("Cs", "Cs", distance=4.47, masses=(132.9, 132.9), mdyn=0.069),
        diatomic("Cs", "H", distance=2.494, masses=(132.9, 1.008), mdyn=0.467),
        diatomic("I", "I", distance=2.666, masses=(126.9, 126.9), mdyn=1.72),
        # Ar2 (Tang, Toennies 1986) is not bonded: 31 1/cm.
        diatomic("Ar", "Ar", distance=3.76, masses=(39.96, 39.96), mdyn=0.011),
    ],
    ids=lambda record: "".join(record.symbols),
)
def test_real_molecules_pass(record: QMRecord) -> None:
    check_hessian_unit(record)


def test_a_hessian_in_kcal_read_as_hartree_is_told_from_its_wavenumbers(water) -> None:
    record = QMRecord("w", water.symbols, water.coordinates, water.masses, 2240.877 * water.hessian)
    with pytest.raises(MoleculeError) as caught:
        check_hessian_unit(record)
    largest = water.frequencies[-1]
    assert f"{largest * np.sqrt(2240.877):.0f}"[:4] in str(caught.value)
    assert f"{largest:.1f} 1/cm if they were kcal/mol/angstrom^2" in str(caught.value)


def test_a_hessian_in_hartree_read_as_kcal_is_told_from_its_wavenumbers(water) -> None:
    record = QMRecord("w", water.symbols, water.coordinates, water.masses, water.hessian / 2240.877)
    with pytest.raises(MoleculeError, match=r"It would be .* if they were hartree/bohr\^2"):
        check_hessian_unit(record, "kcal/mol/angstrom^2")


def test_records_without_vibrations_pass(water) -> None:
    check_hessian_unit(QMRecord("w", water.symbols, water.coordinates, water.masses))
    check_hessian_unit(QMRecord("atom", ("He",), np.zeros((1, 3)), np.array([4.0]), np.zeros((3, 3))))


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_a_matrix_is_rebuilt_from_its_lower_triangle(atoms: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(3 * atoms, 3 * atoms))
    matrix += matrix.T
    assert_allclose(unpack_triangle(matrix[np.tril_indices(3 * atoms)], atoms, origin="file"), matrix)


@pytest.mark.parametrize("found", [0, 20, 44, 46])
def test_a_triangle_of_the_wrong_length_is_refused_with_both_numbers(found: int) -> None:
    with pytest.raises(FileFormatError, match=f"file: .* of 3 atoms has 45 numbers, but {found} were found"):
        unpack_triangle(np.zeros(found), 3, origin="file")


def test_noise_is_averaged_and_more_than_noise_is_refused() -> None:
    matrix = np.diag([1.0, 2.0, 3.0])
    matrix[0, 1] = 0.01
    assert_allclose(symmetrise(matrix, origin="file"), [[1.0, 0.005, 0.0], [0.005, 2.0, 0.0], [0.0, 0.0, 3.0]])
    matrix[0, 1] = 1.0
    with pytest.raises(FileFormatError, match="file: the Hessian differs from its transpose by up to 1,"):
        symmetrise(matrix, origin="file")
