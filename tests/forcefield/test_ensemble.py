"""Ensembles: what they check and how they name their geometries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit.errors import MoleculeError, SettingsError
from fieldfit.forcefield.ensemble import Ensemble
from fieldfit.forcefield.topology import perceive
from molecules import bare_record

PEROXIDE = "HOOH"


def peroxide(turn: float, length: float = 1.45) -> np.ndarray:
    """Return hydrogen peroxide with right angles, a torsion [deg] and a length of the O-O bond [A]."""
    t = np.radians(turn)
    return np.array(
        [[0.97, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, length], [0.97 * np.cos(t), 0.97 * np.sin(t), length]]
    )


@pytest.fixture
def molecule():
    return perceive(bare_record("peroxide", PEROXIDE, peroxide(100.0)))


@pytest.fixture
def scan(molecule):
    x = np.array([peroxide(turn) for turn in (60.0, 120.0, 180.0)])
    return Ensemble("scan", molecule, x, np.array([2.0, 0.5, 1.0]), np.zeros_like(x), ((0, 1, 2, 3),))


def test_what_is_held_has_the_value_of_each_geometry(scan) -> None:
    for number, turn in enumerate((60.0, 120.0, 180.0)):
        (held,) = scan.fixed(number)
        assert (held.kind, held.atoms) == ("dihedral", (0, 1, 2, 3))
        # The sign of a torsion is that of IUPAC; of a turn of 180 degrees it is open.
        assert_allclose(abs(held.target), turn, rtol=1e-12)


def test_kinds_follow_from_the_number_of_atoms(scan) -> None:
    several = replace(scan, held=((1, 2), (0, 1, 2), (0, 1, 2, 3)))
    assert [entry.kind for entry in several.fixed(0)] == ["distance", "angle", "dihedral"]
    assert_allclose([entry.target for entry in several.fixed(0)][:2], [1.45, 90.0])


def test_geometries_are_named_by_what_is_held_or_by_number(scan) -> None:
    assert scan.label(1).removeprefix("H1-O2-O3-H4 ").lstrip("-") == "120.00"
    assert replace(scan, held=()).label(1) == "geometry 2"


def test_its_print_out_says_what_it_has(scan) -> None:
    assert repr(scan) == "Ensemble(scan: 3 geometries of peroxide with energies and gradients, 1 held)"
    assert repr(replace(scan, energies=None, gradients=None, held=())) == (
        "Ensemble(scan: 3 geometries of peroxide with nothing else)"
    )


def test_records_become_an_ensemble(molecule) -> None:
    records = [replace(molecule.record, coordinates=peroxide(turn), energy=turn) for turn in (60.0, 90.0)]
    found = Ensemble.of_records("pair", molecule, records, held=[(0, 1, 2, 3)])
    assert_array_equal(found.energies, [60.0, 90.0])
    assert found.gradients is None
    assert found.held == ((0, 1, 2, 3),)
    assert Ensemble.of_records("pair", molecule, [records[0], molecule.record]).energies is None
    other = bare_record("water", "HOH", peroxide(60.0)[:3])
    with pytest.raises(MoleculeError, match="water consists of H O H, but peroxide of H O O H"):
        Ensemble.of_records("pair", molecule, [records[0], other])
    with pytest.raises(MoleculeError, match="has no geometry"):
        Ensemble.of_records("none", molecule, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energies": np.zeros(2)}, r"the energies have the shape \(2,\)"),
        ({"gradients": np.zeros((3, 3, 3))}, "the gradients have the shape"),
        ({"coordinates": np.zeros((3, 5, 3))}, "the coordinates have the shape"),
        ({"energies": np.array([0.0, np.nan, 1.0])}, "the energies hold numbers that are not finite"),
        ({"held": ((0, 1, 2, 4),)}, r"\(0, 1, 2, 4\) cannot be held"),
        ({"held": ((0,),)}, "cannot be held"),
        ({"held": ((0, 1, 1),)}, "has 3 different atoms"),
    ],
)
def test_what_does_not_fit_the_molecule_is_refused(scan, change, message) -> None:
    with pytest.raises(MoleculeError, match=message):
        replace(scan, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"zero": "highest"}, "No zero of energy is called 'highest'"), ({"largest_displacement": 0.0}, "largest disp")],
)
def test_unknown_options_are_refused(scan, change, message) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(scan, **change)


def test_a_geometry_with_other_bonds_is_refused(scan) -> None:
    broken = scan.coordinates.copy()
    broken[1] = peroxide(120.0, length=2.3)
    with pytest.raises(MoleculeError, match=r"in geometry 2 the bond O2-O3 is broken \(2.30 A\)"):
        replace(scan, coordinates=broken)
    made = scan.coordinates.copy()
    made[2, [0, 3]] = [[0.6, 0.0, 0.35], [0.6, 0.0, 1.1]]
    with pytest.raises(MoleculeError, match=r"in geometry 3 a bond H1-H4 is made \(0.75 A\)"):
        replace(scan, coordinates=made)


def test_a_long_bond_that_the_molecule_lists_is_none_of_the_others_business() -> None:
    """Bonds that were listed by hand, as in a transition state, are compared with their own lengths."""
    stretched = perceive(bare_record("long", PEROXIDE, peroxide(100.0, 2.1)), bonds=[(0, 1), (1, 2), (2, 3)])
    x = np.array([peroxide(turn, 2.3) for turn in (60.0, 90.0)])
    assert Ensemble("scan", stretched, x, np.zeros(2)).changed_bond(x[0]) == ""
