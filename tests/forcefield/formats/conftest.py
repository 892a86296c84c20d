"""Molecules of known geometry, made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.elements import isotope_mass
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule, QMRecord
from fieldfit.forcefield.topology import perceive


def molecule_of(name, symbols, coordinates, **options) -> Molecule:
    """Make a molecule of symbols and coordinates [A]."""
    masses = np.array([isotope_mass(symbol) for symbol in symbols])
    return perceive(QMRecord(name, tuple(symbols), np.array(coordinates, dtype=float), masses), **options)


def methyl(z, sign, angle=0.0):
    """Return three hydrogens around the z axis, bonded to a carbon at height z and pointing to `sign`."""
    turns = np.radians(angle) + np.arange(3) * 2.0 * np.pi / 3.0
    return [(1.02 * np.cos(turn), 1.02 * np.sin(turn), z + 0.37 * sign) for turn in turns]


def ring(radius, count):
    """Return a regular polygon in the plane z = 0."""
    turns = np.arange(count) * 2.0 * np.pi / count
    return [(radius * np.cos(turn), radius * np.sin(turn), 0.0) for turn in turns]


def with_random_values(field: ForceField, seed=0) -> ForceField:
    """Return a force field whose force constants are random, of either sign where torsions allow it."""
    rng = np.random.default_rng(seed)
    values = {}
    for row in field.rows:
        low, high = {"torsion": (-3.0, 3.0), "out-of-plane": (5.0, 30.0), "stretch-bend": (-40.0, 40.0)}.get(
            row.kind, (50.0, 600.0)
        )
        values[f"{row.label}.k"] = rng.uniform(low, high)
    return field.with_values(values)


@pytest.fixture
def methyl_fluoride() -> Molecule:
    return molecule_of("methyl-fluoride", "CFHHH", [(0, 0, 0), (0, 0, 1.39), *methyl(0.0, -1)])


@pytest.fixture
def ethane() -> Molecule:
    atoms = [(0, 0, 0), (0, 0, 1.53), *methyl(0.0, -1), *methyl(1.53, 1, angle=60.0)]
    return molecule_of("ethane", "CCHHHHHH", atoms)


@pytest.fixture
def benzene() -> Molecule:
    return molecule_of("benzene", "C" * 6 + "H" * 6, [*ring(1.395, 6), *ring(2.48, 6)])


@pytest.fixture
def sn2() -> Molecule:
    """F-CH3-F at its transition state: D3h, F-C-F exactly linear, F-C and H-C bonds."""
    atoms = [(0, 0, 0), (0, 0, 1.83), (0, 0, -1.83), *ring(1.07, 3)]
    return molecule_of("sn2", "CFFHHH", atoms, bond_tolerance=1.45)


@pytest.fixture
def butynyl_fluoride() -> Molecule:
    """CH3-C#C-CH2F: linear angles in the chain, so that torsions about its bonds are undefined."""
    chain = [(0, 0, 0), (0, 0, 1.46), (0, 0, 2.67), (0, 0, 4.13)]
    hydrogens = [*methyl(0.0, -1), *methyl(4.13, 1, angle=120.0)[:2]]
    return molecule_of("butynyl-fluoride", "CCCCHHHHHF", [*chain, *hydrogens, (1.33, 0, 4.6)])


@pytest.fixture
def make_molecule():
    """Return a function that makes a molecule of a name, symbols and coordinates."""
    return molecule_of


@pytest.fixture
def make_field():
    """Return a function that builds a force field with random force constants."""

    def build(molecules, **options) -> ForceField:
        return with_random_values(build_force_field(molecules, **options))

    return build
