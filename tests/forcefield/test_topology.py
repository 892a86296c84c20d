"""Bonds, types and internal coordinates from geometries."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.topology import (
    find_bonds,
    graph_types,
    internal_coordinates,
    is_planar,
    measure,
    perceive,
    share_types,
)
from molecules import bare_record


def benzene():
    angles = np.radians(60.0 * np.arange(6))
    ring = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(6)])
    return bare_record("benzene", "CCCCCCHHHHHH", np.concatenate([1.39 * ring, 2.47 * ring]))


def propyne():
    """H-C#C-CH3 along x: C-H 1.06, C#C 1.20, C-C 1.46, methyl C-H 1.09 A at 110 degrees."""
    out, along = 1.09 * np.sin(np.radians(70.0)), 1.09 * np.cos(np.radians(70.0))
    turns = np.radians([0.0, 120.0, 240.0])
    methyl = [(2.66 + along, out * np.cos(turn), out * np.sin(turn)) for turn in turns]
    return bare_record("propyne", "HCCCHHH", [(-1.06, 0, 0), (0, 0, 0), (1.20, 0, 0), (2.66, 0, 0), *methyl])


def ethane():
    out, along = 1.09 * np.sin(np.radians(70.0)), 1.09 * np.cos(np.radians(70.0))
    turns = np.radians([0.0, 120.0, 240.0])
    left = [(-along, out * np.cos(turn), out * np.sin(turn)) for turn in turns]
    right = [(1.53 + along, -out * np.cos(turn), -out * np.sin(turn)) for turn in turns]
    return bare_record("ethane", "CCHHHHHH", [(0, 0, 0), (1.53, 0, 0), *left, *right])


def test_atoms_closer_than_their_radii_are_bonded():
    assert perceive(ethane()).bonds == ((0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6), (1, 7))


def test_equivalent_atoms_share_a_type():
    assert perceive(ethane()).types == tuple("CCHHHHHH")
    assert perceive(benzene()).types == tuple("CCCCCCHHHHHH")


def test_types_of_propyne_tell_its_six_kinds_of_atom_apart():
    types = perceive(propyne()).types
    assert len(set(types)) == 5
    assert types[4] == types[5] == types[6] != types[0]
    assert len({types[1], types[2], types[3]}) == 3


@given(seed=st.integers(0, 1000))
def test_types_do_not_depend_on_the_order_of_atoms(seed):
    molecule = perceive(propyne())
    order = np.random.default_rng(seed).permutation(molecule.n_atoms)
    symbols = [molecule.record.symbols[atom] for atom in order]
    place = {int(atom): new for new, atom in enumerate(order)}
    types = graph_types(symbols, [(place[i], place[j]) for i, j in molecule.bonds])
    assert types == tuple(molecule.types[atom] for atom in order)


def test_given_bonds_and_types_are_taken():
    molecule = perceive(
        ethane(), bonds=[(1, 0), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6), (1, 7)], types=list("XXhhhhhh")
    )
    assert molecule.types == tuple("XXhhhhhh")
    assert (0, 1) in molecule.bonds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": ["C"]}, "1 atom types are given for 8 atoms"),
        ({"bonds": [(0, 8)]}, "atoms 0 and 8"),
        ({"bonds": [(0, 1)]}, "falls apart into 7 fragments"),
        ({"bond_tolerance": 0.9}, "bond_tolerance = 0.9"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(MoleculeError, match=message):
        perceive(ethane(), **options)


def test_coinciding_atoms_are_refused():
    with pytest.raises(MoleculeError, match=r"only 0\.100 A apart"):
        find_bonds(bare_record("pair", "HH", [(0, 0, 0), (0.1, 0, 0)]), 1.25)


def test_a_linear_chain_has_linear_angles_and_no_torsions_about_them():
    found = internal_coordinates(perceive(propyne()))
    assert found.linear_angles == ((0, 1, 2), (1, 2, 3))
    assert len(found.angles) == 6
    assert found.torsions == ()
    # H-C-C-C and C-C-C-H about the two bonds with a linear angle at an end.
    assert len(found.undefined_torsions) == 1 + 3


def test_ethane_has_nine_torsions_and_nothing_planar():
    found = internal_coordinates(perceive(ethane()))
    assert len(found.bonds) == 7
    assert len(found.angles) == 12
    assert len(found.torsions) == 9
    assert found.out_of_plane == ()


def test_every_carbon_of_benzene_is_planar():
    molecule = perceive(benzene())
    assert [is_planar(molecule, atom) for atom in range(12)] == [True] * 6 + [False] * 6
    found = internal_coordinates(molecule)
    assert len(found.torsions) == 24
    assert [entry[0] for entry in found.out_of_plane] == [0, 1, 2, 3, 4, 5]


def test_a_five_coordinate_carbon_has_one_linear_angle(examples):
    from fieldfit.forcefield import read

    molecule = perceive(read(examples / "sn2-ts" / "sn2-ts.json"), bond_tolerance=1.45)
    found = internal_coordinates(molecule)
    assert molecule.types == ("C", "F", "F", "H", "H", "H")
    assert len(found.linear_angles) == 1
    assert len(found.angles) == 9


def test_measures_have_the_units_of_users():
    points = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [1.5, -1.0, 0.0]])
    assert measure(points, (1, 2)) == 1.5
    assert measure(points, (0, 1, 2)) == pytest.approx(90.0)
    assert measure(points, (0, 1, 2, 3)) == pytest.approx(90.0)


def test_molecules_typed_together_share_what_is_alike():
    first, second = perceive(ethane()), perceive(propyne())
    typed = share_types([first, second])
    # No atom of propyne has the surroundings of one of ethane, so no type is common.
    assert not set(typed[0].types) & set(typed[1].types)
    twice = share_types([first, perceive(dataclasses.replace(ethane(), name="again"))])
    assert twice[0].types == twice[1].types == first.types
