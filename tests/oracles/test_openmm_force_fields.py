"""Alanine dipeptide with the Amber ff14SB and CHARMM36 files that OpenMM ships, as OpenMM assigns and evaluates them.

OpenMM finds the terms by its own template matching and computes them with its native forces, so this checks what no
formula of ours can: the order of the atoms and the sign of torsions and impropers, factors of a half, the mixing of
Lennard-Jones parameters, excluded pairs, and the factors of pairs separated by three bonds.

Amber ff14SB: Maier et al. (2015), doi:10.1021/acs.jctc.5b00255. CHARMM36: Best et al. (2012), doi:10.1021/ct300400x.
"""

from __future__ import annotations

import io
import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.forcefield import ForceField, Row
from fieldfit.forcefield.assignment import assign
from fieldfit.forcefield.engines.jax import JaxEngine, System
from fieldfit.forcefield.engines.openmm import OpenMMEngine
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.forcefield.row import canonical
from fieldfit.forcefield.topology import nonbonded_pairs
from molecules import bare_record, internal_parameters

openmm = pytest.importorskip("openmm")
app = pytest.importorskip("openmm.app")

KJ, NM = 4.184, 10.0
"""One kcal [kJ] and one nm [A]."""

EXTENDED = """\
ATOM      1  H1  ACE A   1       2.000   1.000   0.000  1.00  0.00           H
ATOM      2  CH3 ACE A   1       2.000   2.090   0.000  1.00  0.00           C
ATOM      3  H2  ACE A   1       1.486   2.454   0.890  1.00  0.00           H
ATOM      4  H3  ACE A   1       1.486   2.454  -0.890  1.00  0.00           H
ATOM      5  C   ACE A   1       3.427   2.641   0.000  1.00  0.00           C
ATOM      6  O   ACE A   1       4.391   1.877   0.000  1.00  0.00           O
ATOM      7  N   ALA A   2       3.555   3.970   0.000  1.00  0.00           N
ATOM      8  H   ALA A   2       2.733   4.556   0.000  1.00  0.00           H
ATOM      9  CA  ALA A   2       4.853   4.614   0.000  1.00  0.00           C
ATOM     10  HA  ALA A   2       5.408   4.316   0.890  1.00  0.00           H
ATOM     11  CB  ALA A   2       5.661   4.221  -1.232  1.00  0.00           C
ATOM     12  HB1 ALA A   2       5.123   4.521  -2.131  1.00  0.00           H
ATOM     13  HB2 ALA A   2       6.630   4.719  -1.206  1.00  0.00           H
ATOM     14  HB3 ALA A   2       5.809   3.141  -1.241  1.00  0.00           H
ATOM     15  C   ALA A   2       4.713   6.129   0.000  1.00  0.00           C
ATOM     16  O   ALA A   2       3.601   6.653   0.000  1.00  0.00           O
ATOM     17  N   NME A   3       5.846   6.835   0.000  1.00  0.00           N
ATOM     18  H   NME A   3       6.737   6.359   0.000  1.00  0.00           H
ATOM     19  C   NME A   3       5.846   8.284   0.000  1.00  0.00           C
ATOM     20  H1  NME A   3       4.819   8.648   0.000  1.00  0.00           H
ATOM     21  H2  NME A   3       6.360   8.648   0.890  1.00  0.00           H
ATOM     22  H3  NME A   3       6.360   8.648  -0.890  1.00  0.00           H
END
"""
"""The extended chain, from standard bond lengths and angles [A]."""


@dataclass(frozen=True)
class Native:
    """A molecule as OpenMM describes it: its system, bonds and types, every atom a type of its own, and a geometry."""

    system: object
    molecule: Molecule
    x: np.ndarray

    def forces(self, name: str) -> list:
        return [force for force in self.system.getForces() if type(force).__name__ == name]

    def types(self, atoms) -> tuple[str, ...]:
        return tuple(self.molecule.types[atom] for atom in atoms)

    def energy_and_gradient(self, names) -> tuple[float, np.ndarray]:
        """Return what native forces of some classes contribute [kcal/mol, A]."""
        for force in self.system.getForces():
            force.setForceGroup(1 if type(force).__name__ in names else 0)
        platform = openmm.Platform.getPlatformByName("Reference")
        context = openmm.Context(self.system, openmm.VerletIntegrator(1.0), platform)
        context.setPositions(self.x / NM)
        state = context.getState(getEnergy=True, getForces=True, groups={1})
        return state.getPotentialEnergy()._value / KJ, -state.getForces(asNumpy=True)._value.ravel() / (KJ * NM)


def describe(topology, positions, file: str, templates=None) -> Native:
    system = app.ForceField(file).createSystem(topology, removeCMMotion=False, residueTemplates=templates or {})
    atoms = list(topology.atoms())
    bonds = tuple(sorted(tuple(sorted((bond[0].index, bond[1].index))) for bond in topology.bonds()))
    symbols = [atom.element.symbol for atom in atoms]
    # Off the plane and off equilibrium, or impropers and their signs would not show.
    x = positions + np.random.default_rng(4).normal(0.0, 0.08, positions.shape)
    types = tuple(f"{symbol}{number}" for number, symbol in enumerate(symbols))
    return Native(system, Molecule(bare_record("dipeptide", symbols, x), bonds, types), x)


@pytest.fixture(scope="module")
def amber() -> Native:
    pdb = app.PDBFile(io.StringIO(EXTENDED))
    return describe(pdb.topology, pdb.getPositions(asNumpy=True)._value * NM, "amber14/protein.ff14SB.xml")


@pytest.fixture(scope="module")
def charmm() -> Native:
    """CHARMM has the dipeptide as one residue."""
    pdb = app.PDBFile(io.StringIO(EXTENDED))
    topology = app.Topology()
    residue = topology.addResidue("ALAD", topology.addChain())
    new = {atom: topology.addAtom(f"X{atom.index}", atom.element, residue) for atom in pdb.topology.atoms()}
    for bond in pdb.topology.bonds():
        topology.addBond(new[bond[0]], new[bond[1]])
    return describe(topology, pdb.getPositions(asNumpy=True)._value * NM, "charmm36.xml", {residue: "ALAD"})


# Rows from the parameters of the native forces.


def bond_rows(native: Native) -> list[Row]:
    """Return bonds, and distances of atoms that are not bonded as Urey-Bradley terms of the angle between them."""
    rows = []
    for force in native.forces("HarmonicBondForce"):
        for number in range(force.getNumBonds()):
            i, j, r0, k = force.getBondParameters(number)
            values = {"k": 0.5 * k._value / KJ / NM**2, "r0": r0._value * NM}
            if j in native.molecule.neighbours[i]:
                rows.append(Row("harmonic_bond", canonical("bond", native.types((i, j))), values))
            else:
                (middle,) = set(native.molecule.neighbours[i]) & set(native.molecule.neighbours[j])
                types = canonical("urey-bradley", native.types((i, middle, j)))
                rows.append(Row("urey_bradley", types, values))
    return rows


def angle_rows(native: Native) -> list[Row]:
    (force,) = native.forces("HarmonicAngleForce")
    rows = []
    for number in range(force.getNumAngles()):
        i, j, k, theta0, stiffness = force.getAngleParameters(number)
        values = {"k": 0.5 * stiffness._value / KJ, "theta0": math.degrees(theta0._value)}
        rows.append(Row("harmonic_angle", canonical("angle", native.types((i, j, k))), values))
    return rows


def torsion_rows(native: Native) -> list[Row]:
    """Return proper torsions, and impropers with their central atom second: Amber has it third, read backwards."""
    (force,) = native.forces("PeriodicTorsionForce")
    rows = []
    for number in range(force.getNumTorsions()):
        *atoms, periodicity, phase, k = force.getTorsionParameters(number)
        values, constants = (
            {"k": k._value / KJ},
            {"periodicity": float(periodicity), "phase": math.degrees(phase._value)},
        )
        if is_chain(native, atoms):
            rows.append(Row("cosine_torsion", canonical("torsion", native.types(atoms)), values, constants))
        elif values["k"]:
            assert set(native.molecule.neighbours[atoms[2]]) == {atoms[0], atoms[1], atoms[3]}
            rows.append(Row("periodic_improper", native.types(atoms[::-1]), values, constants))
    return rows


def is_chain(native: Native, atoms) -> bool:
    return all(j in native.molecule.neighbours[i] for i, j in itertools.pairwise(atoms))


def harmonic_improper_rows(native: Native) -> list[Row]:
    (force,) = native.forces("CustomTorsionForce")
    rows = []
    for number in range(force.getNumTorsions()):
        *atoms, (k, phi0) = force.getTorsionParameters(number)
        assert set(native.molecule.neighbours[atoms[0]]) == set(atoms[1:])
        rows.append(Row("harmonic_improper", native.types(atoms), {"k": k / KJ, "phi0": math.degrees(phi0)}))
    return rows


def atom_rows(native: Native) -> list[Row]:
    """Return radii, which are half the distance of the minimum, depths and charges."""
    (force,) = native.forces("NonbondedForce")
    rows = []
    for number in range(force.getNumParticles()):
        charge, sigma, epsilon = (entry._value for entry in force.getParticleParameters(number))
        values = {"radius": 0.5 * 2.0 ** (1.0 / 6.0) * sigma * NM, "epsilon": epsilon / KJ}
        rows.append(Row("lennard_jones", native.types([number]), values))
        rows.append(Row("coulomb", native.types([number]), {"charge": charge}))
    return rows


def coulomb_constant() -> float:
    """Return the energy of two unit charges at 1 A in OpenMM [kcal A/mol/e^2]: constants are to be equal here."""
    system, force = openmm.System(), openmm.NonbondedForce()
    for _ in range(2):
        system.addParticle(1.0)
        force.addParticle(1.0, 1.0, 0.0)
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(1.0), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    return context.getState(getEnergy=True).getPotentialEnergy()._value / KJ * NM


def field_of(native: Native, rows, nonbonded=None) -> ForceField:
    elements = dict(zip(native.molecule.types, native.molecule.record.symbols, strict=True))
    return ForceField("native", tuple(rows), elements, nonbonded)


@pytest.fixture(scope="module")
def amber_field(amber) -> ForceField:
    rows = [*bond_rows(amber), *angle_rows(amber), *torsion_rows(amber), *atom_rows(amber)]
    pairs = Nonbonded(vdw_14=0.5, charge_14=1.0 / 1.2, coulomb=coulomb_constant())
    return field_of(amber, rows, pairs)


@pytest.fixture(scope="module")
def charmm_field(charmm) -> ForceField:
    rows = [*bond_rows(charmm), *angle_rows(charmm), *torsion_rows(charmm), *harmonic_improper_rows(charmm)]
    return field_of(charmm, rows)


def energy_of(native: Native, field: ForceField, forms) -> float:
    terms = tuple(entry for entry in assign(native.molecule, field) if entry.form in forms)
    assert {entry.form for entry in terms} == set(forms)
    system = System(native.molecule.n_atoms, terms, len(field.parameter_names))
    return system.energy(native.x, internal_parameters(field))


@pytest.mark.parametrize(
    ("force", "forms"),
    [
        ("HarmonicBondForce", ["harmonic_bond"]),
        ("HarmonicAngleForce", ["harmonic_angle"]),
        ("PeriodicTorsionForce", ["cosine_torsion", "periodic_improper"]),
        ("NonbondedForce", ["lennard_jones", "coulomb"]),
    ],
)
def test_amber_energies_are_those_of_the_native_forces(amber, amber_field, force, forms) -> None:
    expected, _ = amber.energy_and_gradient([force])
    assert energy_of(amber, amber_field, forms) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(
    ("force", "forms"),
    [
        ("HarmonicBondForce", ["harmonic_bond", "urey_bradley"]),
        ("HarmonicAngleForce", ["harmonic_angle"]),
        ("PeriodicTorsionForce", ["cosine_torsion"]),
        ("CustomTorsionForce", ["harmonic_improper"]),
    ],
)
def test_charmm_energies_are_those_of_the_native_forces(charmm, charmm_field, force, forms) -> None:
    expected, _ = charmm.energy_and_gradient([force])
    assert energy_of(charmm, charmm_field, forms) == pytest.approx(expected, rel=1e-11)


VALENCE = ["HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce"]


@pytest.mark.parametrize("engine", [JaxEngine(), OpenMMEngine()], ids=["jax", "openmm"])
def test_gradients_are_those_of_the_native_forces(engine, amber, amber_field, charmm, charmm_field) -> None:
    for native, field, names in (
        (amber, amber_field, [*VALENCE, "NonbondedForce"]),
        (charmm, charmm_field, [*VALENCE, "CustomTorsionForce"]),
    ):
        _, expected = native.energy_and_gradient(names)
        (system,) = engine.systems([native.molecule], field)
        found = system.gradient(native.x, internal_parameters(field))
        assert_allclose(found, expected, rtol=0.0, atol=1e-10 * np.abs(expected).max())


def test_pairs_at_three_bonds_are_those_that_openmm_scales(amber) -> None:
    # OpenMM lists excluded pairs with depth 0, and pairs at three bonds with the depth that is left of them.
    (force,) = amber.forces("NonbondedForce")
    listed = [force.getExceptionParameters(number) for number in range(force.getNumExceptions())]
    expected = sorted(tuple(sorted(entry[:2])) for entry in listed if entry[4]._value)
    pairs, is_14 = nonbonded_pairs(amber.molecule.n_atoms, amber.molecule.bonds)
    assert [tuple(pair) for pair in pairs[is_14].tolist()] == expected
