"""Files of several geometries: what each way of writing energies and forces becomes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError, MoleculeError, SettingsError
from fieldfit.forcefield.readers.ensemble_xyz import ENERGY_UNITS, FORCE_UNITS, read_ensemble
from fieldfit.forcefield.topology import perceive
from molecules import bare_record

WATER = [[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]]
KCAL_PER_HARTREE = 627.509474
"""CODATA."""


@pytest.fixture
def water():
    return perceive(bare_record("water", "OHH", WATER))


def frame(comment: str, extra: str = "", oxygen: str = "O") -> str:
    rows = [f"{s} {x} {y} {z}{extra}" for s, (x, y, z) in zip([oxygen, "H", "H"], WATER, strict=True)]
    return "\n".join(["3", comment, *rows]) + "\n"


@pytest.fixture
def write(tmp_path):
    def made(text: str):
        path = tmp_path / "two.xyz"
        path.write_text(text)
        return path

    return made


FORCES = "Properties=species:S:1:pos:R:3:forces:R:3"


def test_extended_xyz_with_units_in_the_file(write, water) -> None:
    units = "energy_unit=hartree force_unit=hartree/bohr"
    text = frame(f"energy=-5.0 {units} {FORCES}", " 0.01 0 -0.02") + frame(
        f'note="a b" energy=-5.1 {units} {FORCES}', " 0 0 0"
    )
    found = read_ensemble(write(text), water)
    assert (found.name, found.n_geometries) == ("two", 2)
    assert_allclose(found.coordinates[1], WATER)
    assert_allclose(found.energies, [-5.0 * KCAL_PER_HARTREE, -5.1 * KCAL_PER_HARTREE], rtol=1e-9)
    # 1 hartree/bohr is 627.509474 / 0.529177211 = 1185.82105 kcal/mol/A; a gradient is minus a force.
    assert_allclose(found.gradients[0], np.tile([-11.8582105, 0.0, 23.7164209], (3, 1)), rtol=1e-7)


@pytest.mark.parametrize("comment", ["energy=-5.0", " energy: -5.0 gnorm: 0.0003 xtb: 6.7.1", "     -5.00000000  "])
def test_energies_of_plain_files_with_the_unit_stated(write, water, comment) -> None:
    found = read_ensemble(write(frame(comment) + frame(comment)), water, energy_unit="hartree", name="pair")
    assert found.name == "pair"
    assert_allclose(found.energies, [-5.0 * KCAL_PER_HARTREE] * 2, rtol=1e-9)
    assert found.gradients is None


def test_columns_come_in_any_order_and_others_are_skipped(write, water) -> None:
    rows = "\n".join(f"0.5 {x} {y} {z} 1 2 3 {s}" for s, (x, y, z) in zip("OHH", WATER, strict=True))
    text = f"3\nProperties=charge:R:1:pos:R:3:forces:R:3:species:S:1\n{rows}\n"
    found = read_ensemble(write(text), water, force_unit="kcal/mol/A")
    assert_allclose(found.coordinates[0], WATER)
    assert_allclose(found.gradients[0], -np.tile([1.0, 2.0, 3.0], (3, 1)))
    assert found.energies is None


def test_a_file_without_energies_needs_no_unit(write, water) -> None:
    found = read_ensemble(write(frame("first") + frame("second")), water, held=[(0, 1)])
    assert found.energies is None
    assert found.held == ((0, 1),)


def test_atomic_numbers_and_blanks_at_the_end_are_understood(write, water) -> None:
    assert read_ensemble(write(frame("", oxygen="8") + "\n \n"), water).n_geometries == 1


def test_units_have_their_sizes() -> None:
    # 1 eV = 23.060548 kcal/mol; 1 kcal = 4.184 kJ; 1 bohr = 0.529177211 A.
    assert_allclose([ENERGY_UNITS["eV"], ENERGY_UNITS["kJ/mol"]], [23.060548, 1.0 / 4.184], rtol=1e-7)
    assert_allclose([FORCE_UNITS["eV/A"], FORCE_UNITS["hartree/A"]], [23.060548, KCAL_PER_HARTREE], rtol=1e-7)
    assert_allclose(FORCE_UNITS["kcal/mol/bohr"], 1.0 / 0.529177211, rtol=1e-8)


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        (frame("energy=-5.0"), {}, SettingsError, r"line 3: neither the caller nor the file states the unit of the en"),
        (frame("energy=-5.0"), {"energy_unit": "Ha"}, SettingsError, "No unit of the energy is called 'Ha'"),
        (frame("energy=-5 energy_unit=eV"), {"energy_unit": "hartree"}, SettingsError, "is 'eV' in the file, but 'har"),
        (frame("energy=x"), {"energy_unit": "eV"}, FileFormatError, "line 2: the energy holds 'x'"),
        (frame("-5.0") + frame("none"), {"energy_unit": "eV"}, FileFormatError, "line 8: .* has no energy"),
        (frame("") + "3\n\n" + "O 0 0 0\n", {}, FileFormatError, "line 6: 3 atoms are announced, and 1 lines"),
        (frame("") + "\n" + frame(""), {}, FileFormatError, "line 6: a geometry starts with its number of atoms"),
        ("0\n\n" + frame(""), {}, FileFormatError, "line 1: 0 atoms are announced"),
        ("", {}, FileFormatError, "line 1: a geometry starts"),
        ("3\n\nO 0 0 0\nH 0 0\nH 0 1 0\n", {}, FileFormatError, "line 4: 3 columns, but 4 are needed"),
        ("3\n\nO 0 0 0\nH 0 0 a\nH 0 1 0\n", {}, FileFormatError, "line 4: holds 'a' where a number"),
        (frame("Properties=species:S:1:forces:R:3"), {}, FileFormatError, "line 2: the columns"),
        (frame("").replace("O ", "S "), {}, MoleculeError, "line 3: a geometry of S H H begins here"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(write, water, text, options, error, message) -> None:
    with pytest.raises(error, match=message):
        read_ensemble(write(text), water, **options)


def test_a_missing_file_is_named(tmp_path, water) -> None:
    with pytest.raises(FileFormatError, match="There is no file"):
        read_ensemble(tmp_path / "none.xyz", water)
