"""Strained molecules with force fields that have, together, every form that the Tinker engine claims."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule, QMRecord
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.forcefield.row import Row
from fieldfit.forcefield.topology import perceive
from molecules import bare_record, propyne

RADII = {"H": 1.3, "C": 1.9, "N": 1.8, "O": 1.7}
STRETCHED = {"r0": 0.04, "theta0": 4.0}
CONSTANTS = {"bond": 300.0, "angle": 60.0, "torsion": 2.0, "stretch-bend": 15.0, "linear-bend": 20.0}


def propanol() -> QMRecord:
    """Return CH3-CH2-CH2-OH, roughly: every atom has another one at least three bonds away."""
    heavy = [(0.0, 0.0, 0.0), (1.26, 0.86, 0.05), (2.52, 0.0, 0.0), (3.70, 0.80, -0.04)]
    hydrogens = [(4.48, 0.25, 0.1), (-0.88, 0.63, 0.02), (0.0, -0.64, 0.89), (0.03, -0.64, -0.88)]
    hydrogens += [(1.26, 1.50, 0.92), (1.26, 1.50, -0.84), (2.55, -0.65, 0.88), (2.55, -0.65, -0.88)]
    return bare_record("propanol", "CCCOHHHHHHHH", [*heavy, *hydrogens])


def formamide() -> QMRecord:
    """Return H2N-CHO with its carbon out of the plane and its amino group turned by 20 degrees."""
    turn = np.radians(20.0)
    hydrogens = [(1.86, y * np.cos(turn), z * np.sin(turn)) for y, z in ((0.87, 0.87), (-0.87, 0.52))]
    heavy = [(0.0, 0.0, 0.05), (1.36, 0.0, 0.0), (-0.62, 1.05, 0.0)]
    return bare_record("formamide", "CNOHHH", [*heavy, (-0.58, -0.93, 0.0), *hydrogens])


@functools.cache
def tinker_case(name: str) -> tuple[Molecule, ForceField]:
    """Return a molecule and a force field by name, a key of `CASES`."""
    return CASES[name]()


def _mm3() -> tuple[Molecule, ForceField]:
    """MM3 with couplings, Urey-Bradley and Lennard-Jones."""
    molecule = perceive(propanol())
    base = build_force_field([molecule], family="mm3", stretch_bend=["*"], periodicities=[1, 2, 3])
    rows = [*base.rows, *_contacts("lennard_jones", base)]
    rows += [Row("urey_bradley", row.types, {"k": 20.0, "r0": 2.1}) for row in base.rows if row.kind == "angle"]
    torsions = [row.types for row in base.rows if row.kind == "torsion" and row.constants["periodicity"] == 3.0]
    rows += [Row("torsion_stretch", types, {"k": 3.0}) for types in torsions]
    return molecule, _strained(ForceField("MM3", tuple(rows), base.elements, Nonbonded()))


def _harmonic() -> tuple[Molecule, ForceField]:
    """The harmonic family with the other mixing rule."""
    molecule = perceive(propanol())
    base = build_force_field([molecule], periodicities=[2])
    rows = (*base.rows, *_contacts("lennard_jones_geometric", base))
    return molecule, _strained(ForceField("harmonic", rows, base.elements, Nonbonded()))


def _charged() -> tuple[Molecule, ForceField]:
    """Six periodicities, a phase that is neither 0 nor 180 degrees, an improper, 1-4 factors, fitted charges."""
    molecule = perceive(formamide())
    base = build_force_field([molecule], periodicities=[1, 2, 4, 5, 6])
    rows = [row for row in base.rows if row.kind != "out-of-plane"]
    turned = next(row for row in rows if row.kind == "torsion").types
    rows.append(Row("cosine_torsion", turned, {"k": 0.8}, {"periodicity": 3.0, "phase": 35.0}))
    c, n, o, h = (molecule.types[atom] for atom in (0, 1, 2, 3))
    for periodicity, phase in ((2.0, 180.0), (3.0, 20.0)):
        rows.append(Row("periodic_improper", (n, c, o, h), {"k": 4.0}, {"periodicity": periodicity, "phase": phase}))
    rows += _contacts("lennard_jones", base)
    pair = tuple(sorted((o, molecule.types[4])))
    rows.append(Row("lennard_jones_pair", pair, {"distance": 2.6, "epsilon": 0.2}))
    charges = {"C": 0.5, "N": -0.6, "O": -0.5, "H": 0.2}
    rows += [Row("coulomb", (name,), {"charge": charges[element]}) for name, element in base.elements.items()]
    nonbonded = Nonbonded(vdw_14=0.5, charge_14=1.0 / 1.2, dielectric=1.5)
    return molecule, _strained(ForceField("charged", tuple(rows), base.elements, nonbonded))


def _exponential() -> tuple[Molecule, ForceField]:
    """MM3 with its own van der Waals energy, charges that come with the molecule, and a harmonic improper."""
    molecule = replace(perceive(formamide()), charges=np.array([0.4, -0.5, -0.45, 0.05, 0.3, 0.2]))
    base = build_force_field([molecule], family="mm3", periodicities=[2])
    rows = [row for row in base.rows if row.kind != "out-of-plane"]
    c, n, o, h = (molecule.types[atom] for atom in (0, 1, 2, 3))
    rows.append(Row("harmonic_improper", (c, o, n, h), {"k": 30.0, "phi0": 0.0}))
    rows += _contacts("buckingham", base)
    pair = tuple(sorted((o, molecule.types[4])))
    rows.append(Row("buckingham_pair", pair, {"distance": 2.9, "epsilon": 0.1}))
    nonbonded = Nonbonded(coulomb=332.098)
    return molecule, _strained(ForceField("exponential", tuple(rows), base.elements, nonbonded))


def _linear() -> tuple[Molecule, ForceField]:
    """Linear angles, without any torsion."""
    molecule = perceive(propyne())
    base = build_force_field([molecule])
    return molecule, _strained(base)


CASES = {"mm3": _mm3, "harmonic": _harmonic, "charged": _charged, "exponential": _exponential, "linear": _linear}


def _contacts(form: str, base: ForceField) -> list[Row]:
    offsets = {"H": {"offset": -0.077}} if form == "buckingham" else {}
    none = {"offset": 0.0} if form == "buckingham" else {}
    return [
        Row(
            form,
            (name,),
            {"radius": RADII[element] + 0.05 * number, "epsilon": 0.02 + 0.03 * number},
            offsets.get(element, none),
        )
        for number, (name, element) in enumerate(base.elements.items())
    ]


def _strained(field: ForceField) -> ForceField:
    """Return the force field with constants of both signs, and rest values off those of the geometry."""
    rng = np.random.default_rng(7)
    values = {}
    for row in field.rows:
        for name, (column, value) in zip(row.parameter_names, row.values.items(), strict=True):
            if column == "k" and row.kind in CONSTANTS:
                size = CONSTANTS[row.kind] * rng.uniform(0.7, 1.3)
                values[name] = size * rng.choice([-1.0, 1.0]) if row.kind in ("torsion", "stretch-bend") else size
            elif column in STRETCHED and row.kind in ("bond", "angle"):
                values[name] = value + STRETCHED[column] * rng.uniform(-1.0, 1.0)
    return field.with_values(values)


def perturbed(molecule: Molecule, count: int) -> list[np.ndarray]:
    """Return geometries around that of the molecule [A]."""
    rng = np.random.default_rng(11)
    x = molecule.record.coordinates
    return [x + rng.normal(scale=0.04, size=x.shape) for _ in range(count)]
