"""What stands in an OpenMM XML file."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats import render
from fieldfit.forcefield.row import Row


def tree(field, molecules):
    return ElementTree.fromstring(render(field, molecules, format="openmm-xml"))


def test_harmonic_constants_are_doubled_and_converted(methyl_fluoride, make_field):
    """1 kcal/mol/A^2 is 418.4 kJ/mol/nm^2, and OpenMM has E = k/2 x^2."""
    field = make_field([methyl_fluoride]).with_values({"bond.C-F.k": 1.0, "bond.C-F.r0": 1.5, "angle.F-C-H.k": 1.0})
    root = tree(field, [methyl_fluoride])
    bond = root.find("HarmonicBondForce/Bond[@type2='F']")
    assert_allclose([float(bond.get("k")), float(bond.get("length"))], [836.8, 0.15], rtol=1e-14)
    angle = root.find("HarmonicAngleForce/Angle[@type1='F']")
    assert_allclose(float(angle.get("k")), 8.368, rtol=1e-14)


def test_periodicities_of_one_torsion_stand_in_one_row(ethane, make_field):
    propers = tree(make_field([ethane], periodicities=(1, 2, 3)), [ethane]).findall("PeriodicTorsionForce/Proper")
    assert len(propers) == 1
    assert [propers[0].get(f"periodicity{n}") for n in (1, 2, 3)] == ["1", "2", "3"]


def test_there_is_no_nonbonded_section_and_the_file_says_so(methyl_fluoride, make_field):
    text = render(make_field([methyl_fluoride]), [methyl_fluoride], format="openmm-xml")
    assert "NonbondedForce" not in text
    assert "Valence-only" in text


def test_conformers_share_a_template_and_names_are_numbered(methyl_fluoride, ethane, make_field):
    same_name = dataclasses.replace(ethane, record=dataclasses.replace(ethane.record, name="methyl-fluoride"))
    molecules = [methyl_fluoride, methyl_fluoride, same_name]
    residues = tree(make_field([methyl_fluoride, ethane]), molecules).findall("Residues/Residue")
    assert [entry.get("name") for entry in residues] == ["methyl-fluoride", "methyl-fluoride_2"]
    assert [len(entry.findall("Atom")) for entry in residues] == [5, 8]


def test_names_that_xml_reserves_survive(methyl_fluoride, make_molecule, make_field):
    record = dataclasses.replace(methyl_fluoride.record, name='<"&--">')
    types = ("C'", 'F"', "H<", "H<", "H<")
    molecule = make_molecule(record.name, record.symbols, record.coordinates, types=types)
    field = make_field([molecule], stretch_bend=("*",), name="--&<")
    root = tree(field, [molecule])
    assert root.find("Info/Name").text == "--&<"
    assert tuple(atom.get("type") for atom in root.findall("Residues/Residue/Atom")) == types
    compile(root.find("Script").text, "script", "exec")


def test_a_type_has_the_mean_mass_of_its_atoms(methyl_fluoride, make_field):
    masses = methyl_fluoride.record.masses.copy()
    masses[2:] = [1.0, 2.0, 3.0]
    record = dataclasses.replace(methyl_fluoride.record, masses=masses)
    root = tree(make_field([methyl_fluoride]), [dataclasses.replace(methyl_fluoride, record=record)])
    assert float(root.find("AtomTypes/Type[@name='H']").get("mass")) == 2.0


def test_a_type_that_does_not_occur_has_the_mass_of_its_isotope(methyl_fluoride, make_field):
    root = tree(make_field([methyl_fluoride]), [])
    # NIST Standard Reference Database 144.
    assert float(root.find("AtomTypes/Type[@name='F']").get("mass")) == 18.99840316273


@pytest.mark.parametrize("periodicity", [0.0, 1.5, -2.0])
def test_a_periodicity_that_is_no_positive_integer_is_refused(ethane, make_field, periodicity):
    rows = [row for row in make_field([ethane]).rows if row.kind != "torsion"]
    rows.append(Row("cosine_torsion", ("H", "C", "C", "H"), {"k": 1.0}, {"periodicity": periodicity, "phase": 0.0}))
    field = ForceField("odd", tuple(rows), {"C": "C", "H": "H"})
    for format in ("openmm-xml", "amber-frcmod"):
        with pytest.raises(ForceFieldError, match="periodicity"):
            render(field, [ethane], format=format)


def test_a_stretch_bend_without_its_angle_is_refused(ethane, make_field):
    field = make_field([ethane])
    row = Row("stretch_bend", ("C", "C", "C"), {"k": 1.0})
    with pytest.raises(ForceFieldError, match=r"stretch-bend\.C-C-C needs the theta0 of the angle C-C-C"):
        render(ForceField(field.name, (*field.rows, row), field.elements), [ethane], format="openmm-xml")
