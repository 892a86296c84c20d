"""OpenMM, given the written XML, agrees with the JAX engine on energies and forces."""

from __future__ import annotations

import io

import numpy as np
import openmm
import openmm.app
import pytest
from numpy.testing import assert_allclose

from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats import render
from fieldfit.forcefield.molecule import Molecule, QMRecord
from fieldfit.forcefield.row import Row

KCAL_PER_KJ = 1.0 / 4.184
DISPLACEMENT = 0.05  # [A], about that of room-temperature vibrations
# OpenMM's Reference platform computes in double precision; conversions and sums cost a few units in the last place.
TOLERANCE = {"rtol": 1e-10, "atol": 1e-9}


def openmm_topology(record: QMRecord, bonds, order):
    """Return a topology whose atoms stand in the given order."""
    topology = openmm.app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    atoms = {i: topology.addAtom(f"A{i}", openmm.app.Element.getBySymbol(record.symbols[i]), residue) for i in order}
    for i, j in bonds:
        topology.addBond(atoms[i], atoms[j])
    return topology


def openmm_system(text, molecule: Molecule, order=None):
    force_field = openmm.app.ForceField(io.StringIO(text))
    order = range(molecule.n_atoms) if order is None else order
    return force_field.createSystem(openmm_topology(molecule.record, molecule.bonds, order), removeCMMotion=False)


def openmm_context(text, molecule: Molecule, order=None):
    system = openmm_system(text, molecule, order)
    return openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))


def energy_and_gradient(context, x):
    """Return energy [kcal/mol] and gradient [kcal/mol/A] at x [A]."""
    context.setPositions(x / 10.0)
    state = context.getState(energy=True, forces=True)
    forces = state.getForces(asNumpy=True).value_in_unit(openmm.unit.kilojoule_per_mole / openmm.unit.nanometer)
    energy = state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
    return energy * KCAL_PER_KJ, -forces.ravel() * KCAL_PER_KJ / 10.0


def geometries(molecule: Molecule, count=6):
    rng = np.random.default_rng(7)
    return [molecule.record.coordinates + rng.normal(0.0, DISPLACEMENT, (molecule.n_atoms, 3)) for _ in range(count)]


def assert_agreement(field: ForceField, molecules, molecule: Molecule):
    context = openmm_context(render(field, molecules, format="openmm-xml"), molecule)
    system, p = JaxEngine().system(molecule, field), field.parameters.flat * field.internal_factors
    for x in geometries(molecule):
        expected = system.local(x, p)
        energy, gradient = energy_and_gradient(context, x)
        assert_allclose(energy, expected.energy, **TOLERANCE)
        assert_allclose(gradient, expected.gradient, **TOLERANCE)


@pytest.mark.parametrize(
    ("family", "stretch_bend"), [("harmonic", ()), ("mm3", ()), ("harmonic", ("F-C-H",)), ("mm3", ("*",))]
)
def test_methyl_fluoride_agrees(methyl_fluoride, make_field, family, stretch_bend):
    field = make_field([methyl_fluoride], family=family, stretch_bend=stretch_bend)
    assert_agreement(field, [methyl_fluoride], methyl_fluoride)


def test_ethane_with_torsions_agrees(ethane, make_field):
    field = make_field([ethane], periodicities=(1, 2, 3))
    assert_agreement(field, [ethane], ethane)


@pytest.mark.parametrize("phase", [0.0, 180.0, 37.0, -90.0])
def test_any_phase_of_a_torsion_agrees(ethane, make_field, phase):
    field = make_field([ethane])
    rows = [
        Row(row.form, row.types, row.values, row.constants | {"phase": phase}) if row.kind == "torsion" else row
        for row in field.rows
    ]
    assert_agreement(ForceField(field.name, tuple(rows), field.elements), [ethane], ethane)


def test_benzene_with_out_of_plane_terms_agrees(benzene, make_field):
    field = make_field([benzene])
    assert any(row.kind == "out-of-plane" for row in field.rows)
    assert_agreement(field, [benzene], benzene)


def test_a_linear_bend_agrees(sn2, make_field):
    field = make_field([sn2], family="mm3", stretch_bend=("H-C-H",))
    assert [row.types for row in field.rows if row.kind == "linear-bend"] == [("F", "C", "F")]
    assert_agreement(field, [sn2], sn2)


def test_a_linear_angle_at_rest_exerts_no_force(sn2, make_field):
    """The coordinate is smooth at 180 degrees, where the derivative of an angle is not."""
    field = make_field([sn2])
    silent = field.with_values({f"{row.label}.k": 0.0 for row in field.rows if row.kind != "linear-bend"})
    context = openmm_context(render(silent, [sn2], format="openmm-xml"), sn2)
    energy, gradient = energy_and_gradient(context, sn2.record.coordinates)
    assert_allclose(energy, 0.0, atol=1e-10)
    assert_allclose(gradient, 0.0, atol=1e-10)


def test_several_molecules_share_one_file(methyl_fluoride, ethane, make_field):
    field = make_field([methyl_fluoride, ethane])
    assert_agreement(field, [methyl_fluoride, ethane], ethane)
    assert_agreement(field, [methyl_fluoride, ethane], methyl_fluoride)


def test_openmm_recognises_a_molecule_in_any_order_of_atoms(methyl_fluoride, make_field):
    field = make_field([methyl_fluoride], stretch_bend=("F-C-H",))
    text, order = render(field, [methyl_fluoride], format="openmm-xml"), [4, 1, 2, 0, 3]
    for x in geometries(methyl_fluoride, 2):
        expected, slope = energy_and_gradient(openmm_context(text, methyl_fluoride), x)
        energy, gradient = energy_and_gradient(openmm_context(text, methyl_fluoride, order), x[order])
        assert_allclose(energy, expected, rtol=1e-12)
        assert_allclose(gradient.reshape(-1, 3), slope.reshape(-1, 3)[order], **TOLERANCE)


def test_the_masses_are_those_of_the_molecule(methyl_fluoride, make_field):
    system = openmm_system(
        render(make_field([methyl_fluoride]), [methyl_fluoride], format="openmm-xml"), methyl_fluoride
    )
    masses = [system.getParticleMass(i).value_in_unit(openmm.unit.dalton) for i in range(methyl_fluoride.n_atoms)]
    assert_allclose(masses, methyl_fluoride.record.masses, rtol=1e-15)


def test_script_stands_in_the_file_only_for_stretch_bends(methyl_fluoride, make_field):
    without = render(make_field([methyl_fluoride]), [methyl_fluoride], format="openmm-xml")
    with_script = render(make_field([methyl_fluoride], stretch_bend=("*",)), [methyl_fluoride], format="openmm-xml")
    assert "<Script>" not in without
    assert "<Script>" in with_script
