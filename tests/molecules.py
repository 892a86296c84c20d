"""Small molecules with known geometries and Hessians, shared by the tests of the force-field package."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np

from fieldfit.forcefield.elements import isotope_mass
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule, QMRecord
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.relaxation import relax
from fieldfit.forcefield.topology import perceive


@functools.cache
def fluoromethane(shared_data: Path) -> Molecule:
    """B3LYP/6-31+G(d) minimum by Psi4."""
    folder = shared_data / "ch3f"
    return perceive(read(folder / "ch3f-optimized.xyz", hessian=folder / "ch3f-hessian.npy", name="CH3F"))


@functools.cache
def ethane(shared_data: Path) -> Molecule:
    """Staggered minimum by Gaussian."""
    return perceive(read(shared_data / "ethane" / "GS.fchk", name="ethane"))


@functools.cache
def sn2_transition_state(examples: Path) -> Molecule:
    """F-CH3-F, five-coordinate carbon and a linear F-C-F angle; by PySCF."""
    return perceive(read(examples / "sn2-ts" / "sn2-ts.json", name="SN2"), bond_tolerance=1.45)


def bare_record(name: str, symbols, coordinates) -> QMRecord:
    """Return a geometry [A] without derivatives."""
    masses = np.array([isotope_mass(symbol) for symbol in symbols])
    return QMRecord(name, tuple(symbols), np.array(coordinates, dtype=float), masses)


def propyne() -> QMRecord:
    """Return H3C-C#C-H with its heavy atoms on the z axis [A]."""
    turns = 2.0 * np.pi * np.arange(3) / 3.0
    hydrogens = np.stack([1.03 * np.cos(turns), 1.03 * np.sin(turns), np.full(3, -0.37)], axis=1)
    axis = [(0, 0, 0), (0, 0, 1.46), (0, 0, 2.67), (0, 0, 3.73)]
    return bare_record("propyne", "CCCHHHH", [*axis, *hydrogens])


def made_by(molecule: Molecule, force_field: ForceField) -> Molecule:
    """Return the molecule as a force field describes it: its minimum, with the Hessian there, as if by QM."""
    system = JaxEngine().system(molecule, force_field)
    p = internal_parameters(force_field)
    found = relax(lambda x: system.local(x, p), molecule.record.coordinates)
    assert found.is_converged
    return replace(molecule, record=replace(molecule.record, coordinates=found.x, hessian=found.hessian, gradient=None))


def internal_parameters(force_field: ForceField) -> np.ndarray:
    """Return the values of a force field in internal units, shape (parameters,)."""
    return np.array([value for row in force_field.rows for value in row.values.values()]) * force_field.internal_factors


def central_differences(function, x, steps):
    """Differentiate a function of a vector by central differences of fourth order, shape (..., x)."""
    columns = []
    for index, step in enumerate(steps):
        shift = np.zeros(x.size)
        shift[index] = step
        near, far = (function(x + k * shift) - function(x - k * shift) for k in (1.0, 2.0))
        columns.append((8.0 * near - far) / (12.0 * step))
    return np.stack(columns, axis=-1)
