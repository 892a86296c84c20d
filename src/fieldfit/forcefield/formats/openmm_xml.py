"""OpenMM ForceField XML: kJ/mol, nanometres, radians.

    form             in the file                                  constants
    harmonic_bond    HarmonicBondForce,  E = k'/2 (r - r0)^2      k' = 2 k
    harmonic_angle   HarmonicAngleForce, E = k'/2 (t - t0)^2      k' = 2 k
    mm3_bond         CustomBondForce, the polynomial written out  k
    mm3_angle        CustomAngleForce, the polynomial in degrees  k
    linear_bend      CustomAngleForce, E = 2 k (1 + cos theta)    k
    cosine_torsion   PeriodicTorsionForce, one Proper per tuple of types with all its periodicities
    out_of_plane     PeriodicTorsionForce, Improper with the ordering "smirnoff", which adds the three dihedrals
                     c-i-j-k, c-j-k-i, c-k-i-j, each with k/3, n = 2, phase 180 degrees: k/3 (1 - cos 2 phi)
    stretch_bend     a Script that adds a CustomCompoundBondForce

The only tag for a stretch-bend, AmoebaStretchBendForce, works only next to Amoeba's own bonds, angles and
out-of-plane bends, so a script, which OpenMM runs at the end of `createSystem`, is the honest way. It stands in the
file only if a row needs it.

Each molecule becomes a residue template with explicit bonds. OpenMM recognises a residue by its elements and bonds,
not by names. A valence-only force field has no nonbonded section: create the System with the default `NoCutoff` and
without constraints.

References:
    Eastman et al. (2024), J. Phys. Chem. B 128, 109, doi:10.1021/acs.jpcb.3c06662; OpenMM user guide, "Creating force
    fields".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.constants import KJ_PER_KCAL
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats.format import AbstractFormat, FormatTraits, integer_periodicity
from fieldfit.forcefield.formats.masses import type_masses
from fieldfit.forcefield.forms.form import DEGREE
from fieldfit.forcefield.forms.mm3 import BEND_SEXTIC, STRETCH_CUBIC
from fieldfit.forcefield.forms.torsion import TREFOIL
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.row import Row
from fieldfit.forcefield.topology import graph_types

ANGSTROM_PER_NM = 10.0

NOTE = (
    " Valence-only: no charges, no van der Waals. Units: kJ/mol, nm, rad. "
    "createSystem(topology) with NoCutoff and without constraints. "
)


@dataclass(frozen=True)
class OpenMMXml(AbstractFormat):
    """OpenMM ForceField XML; see the module docstring for the forms."""

    traits = FormatTraits(
        suffix=".xml",
        forms=frozenset(
            {
                "harmonic_bond",
                "harmonic_angle",
                "linear_bend",
                "mm3_bond",
                "mm3_angle",
                "cosine_torsion",
                "out_of_plane",
                "stretch_bend",
            }
        ),
        is_assigned_by_type=True,
    )

    def render(self, force_field: ForceField, molecules: Sequence[Molecule]) -> str:
        _check_recognisable(molecules)
        root = ElementTree.Element("ForceField")
        root.append(ElementTree.Comment(NOTE))
        root.append(_information(force_field))
        root.append(_atom_types(force_field, type_masses(force_field, molecules)))
        root.append(_residues(molecules))
        root.extend(_forces(force_field))
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode") + "\n"


def _check_recognisable(molecules: Sequence[Molecule]) -> None:
    """Refuse types that differ between atoms which the graph cannot tell apart: OpenMM might swap them."""
    for molecule in molecules:
        first: dict[str, int] = {}
        for atom, position in enumerate(graph_types(molecule.record.symbols, molecule.bonds)):
            other = first.setdefault(position, atom)
            if molecule.types[other] != molecule.types[atom]:
                raise ForceFieldError(
                    f"{molecule.name}: atoms {other + 1} and {atom + 1} have the types {molecule.types[other]!r} and "
                    f"{molecule.types[atom]!r}, but the same place in the molecular graph, by which alone OpenMM "
                    "recognises atoms. Give them one type and fit again, or write fieldfit-toml."
                )


def _information(force_field: ForceField) -> ElementTree.Element:
    element = ElementTree.Element("Info")
    ElementTree.SubElement(element, "Name").text = force_field.name
    ElementTree.SubElement(element, "Source").text = "fieldfit"
    return element


def _atom_types(force_field: ForceField, masses: Mapping[str, float]) -> ElementTree.Element:
    element = ElementTree.Element("AtomTypes")
    for name, symbol in force_field.elements.items():
        attributes = {"name": name, "class": name, "element": symbol, "mass": repr(masses[name])}
        ElementTree.SubElement(element, "Type", attributes)
    return element


def _residues(molecules: Sequence[Molecule]) -> ElementTree.Element:
    """Return one template per distinct molecule; conformers share one, and names that repeat are numbered."""
    element = ElementTree.Element("Residues")
    distinct = {(entry.record.symbols, entry.bonds, entry.types): entry for entry in reversed(molecules)}
    used: dict[str, int] = {}
    for molecule in reversed(distinct.values()):
        used[molecule.name] = used.get(molecule.name, 0) + 1
        number = used[molecule.name]
        residue = ElementTree.SubElement(element, "Residue", name=molecule.name + (f"_{number}" if number > 1 else ""))
        atoms = [f"{symbol}{number}" for number, symbol in enumerate(molecule.record.symbols, 1)]
        for name, kind in zip(atoms, molecule.types, strict=True):
            ElementTree.SubElement(residue, "Atom", name=name, type=kind)
        for i, j in molecule.bonds:
            ElementTree.SubElement(residue, "Bond", atomName1=atoms[i], atomName2=atoms[j])
    return element


def _forces(force_field: ForceField) -> list[ElementTree.Element]:
    """Return one element per functional form that occurs."""
    found: dict[str, list[Row]] = {}
    for row in force_field.rows:
        found.setdefault(row.form, []).append(row)
    forces = [_WRITERS[form](rows) for form, rows in found.items() if form in _WRITERS]
    if "stretch_bend" in found:
        forces.append(_stretch_bends(found["stretch_bend"], force_field))
    return forces


def _harmonic_bonds(rows: Sequence[Row]) -> ElementTree.Element:
    force = ElementTree.Element("HarmonicBondForce")
    for row in rows:
        _add_row(force, "Bond", row, {"length": _length(row.values["r0"]), "k": 2.0 * _bond_constant(row)})
    return force


def _harmonic_angles(rows: Sequence[Row]) -> ElementTree.Element:
    force = ElementTree.Element("HarmonicAngleForce")
    for row in rows:
        _add_row(force, "Angle", row, {"angle": row.values["theta0"] * DEGREE, "k": 2.0 * _energy_constant(row)})
    return force


def _mm3_bonds(rows: Sequence[Row]) -> ElementTree.Element:
    cubic = STRETCH_CUBIC * ANGSTROM_PER_NM
    energy = f"k*d^2*(1-{cubic!r}*d+{7.0 / 12.0 * cubic**2!r}*d^2); d=r-r0"
    force = _custom_force("CustomBondForce", energy, "PerBondParameter", ("k", "r0"))
    for row in rows:
        _add_row(force, "Bond", row, {"k": _bond_constant(row), "r0": _length(row.values["r0"])})
    return force


def _mm3_angles(rows: Sequence[Row]) -> ElementTree.Element:
    a, b, c, d = BEND_SEXTIC
    energy = f"k*t^2*(1+g*({a!r}+g*({b!r}+g*({c!r}+g*{d!r})))); g={1.0 / DEGREE!r}*t; t=theta-theta0"
    force = _custom_force("CustomAngleForce", energy, "PerAngleParameter", ("k", "theta0"))
    for row in rows:
        _add_row(force, "Angle", row, {"k": _energy_constant(row), "theta0": row.values["theta0"] * DEGREE})
    return force


def _linear_bends(rows: Sequence[Row]) -> ElementTree.Element:
    force = _custom_force("CustomAngleForce", "2*k*(1+cos(theta))", "PerAngleParameter", ("k",))
    for row in rows:
        _add_row(force, "Angle", row, {"k": _energy_constant(row)})
    return force


def _torsions(rows: Sequence[Row]) -> ElementTree.Element:
    # OpenMM takes one Proper per tuple of types, so its periodicities have to stand side by side in there.
    force = ElementTree.Element("PeriodicTorsionForce")
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.types, []).append(row)
    for group in grouped.values():
        proper = _add_row(force, "Proper", group[0], {})
        for number, row in enumerate(group, 1):
            _add_cosine(
                proper, number, integer_periodicity(row), row.constants["phase"] * DEGREE, _energy_constant(row)
            )
    return force


def _out_of_planes(rows: Sequence[Row]) -> ElementTree.Element:
    force = ElementTree.Element("PeriodicTorsionForce", ordering="smirnoff")
    for row in rows:
        _add_cosine(_add_row(force, "Improper", row, {}), 1, 2, math.pi, _energy_constant(row) / len(TREFOIL))
    return force


_WRITERS: Mapping[str, Callable[[Sequence[Row]], ElementTree.Element]] = {
    "harmonic_bond": _harmonic_bonds,
    "harmonic_angle": _harmonic_angles,
    "mm3_bond": _mm3_bonds,
    "mm3_angle": _mm3_angles,
    "linear_bend": _linear_bends,
    "cosine_torsion": _torsions,
    "out_of_plane": _out_of_planes,
}

_STRETCH_BEND_SCRIPT = """
# Stretch-bend, for which there is no tag: k (r1 + r2 - r) (theta - theta0) with r the sum of both equilibrium lengths.
import openmm
stretch_bend = openmm.CustomCompoundBondForce(
    3, "k*(distance(p1,p2)+distance(p2,p3)-r)*(angle(p1,p2,p3)-theta0)")
stretch_bend.setName("StretchBend")
for name in ("k", "r", "theta0"):
    stretch_bend.addPerBondParameter(name)
rows = {
%s
}
for angle in data.angles:
    types = tuple(data.atomType[data.atoms[atom]] for atom in angle)
    values = rows.get(types) or rows.get(types[::-1])
    if values is not None:
        stretch_bend.addBond(angle, values)
sys.addForce(stretch_bend)
"""


def _stretch_bends(rows: Sequence[Row], force_field: ForceField) -> ElementTree.Element:
    lines = []
    for row in rows:
        i, j, k = row.types
        length = sum(_length(_borrowed(row, force_field, "bond", pair, "r0")) for pair in ((i, j), (j, k)))
        angle = _borrowed(row, force_field, "angle", row.types, "theta0") * DEGREE
        constant = _energy_constant(row) * ANGSTROM_PER_NM
        lines.append(f"    {row.types!r}: ({constant!r}, {length!r}, {angle!r}),")
    script = ElementTree.Element("Script")
    script.text = _STRETCH_BEND_SCRIPT % "\n".join(lines)
    return script


def _borrowed(row: Row, force_field: ForceField, kind: str, types: tuple[str, ...], column: str) -> float:
    found = force_field.find(kind, types)
    if not found:
        raise ForceFieldError(
            f"Row {row.label} needs the {column} of the {kind} {'-'.join(types)}, which has no row in the force field "
            f"{force_field.name!r}. Add the row, or leave out the stretch-bend."
        )
    return float(found[0].values[column])


def _custom_force(tag: str, energy: str, parameter_tag: str, names: Sequence[str]) -> ElementTree.Element:
    force = ElementTree.Element(tag, energy=energy)
    for name in names:
        ElementTree.SubElement(force, parameter_tag, name=name)
    return force


def _add_row(force: ElementTree.Element, tag: str, row: Row, values: Mapping[str, float]) -> ElementTree.Element:
    types = {f"type{number}": name for number, name in enumerate(row.types, 1)}
    return ElementTree.SubElement(force, tag, types | {name: repr(float(value)) for name, value in values.items()})


def _add_cosine(element: ElementTree.Element, number: int, periodicity: int, phase: float, k: float) -> None:
    element.set(f"periodicity{number}", str(periodicity))
    element.set(f"phase{number}", repr(float(phase)))
    element.set(f"k{number}", repr(float(k)))


def _length(angstrom: float) -> float:
    return angstrom / ANGSTROM_PER_NM


def _energy_constant(row: Row) -> float:
    """Return k in kJ/mol, per rad^2 or per A where it is per that."""
    return float(row.values["k"]) * KJ_PER_KCAL


def _bond_constant(row: Row) -> float:
    """Return k in kJ/mol/nm^2."""
    return _energy_constant(row) * ANGSTROM_PER_NM**2
