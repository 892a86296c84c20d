"""Masses of atom types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fieldfit.forcefield.elements import isotope_mass
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule


def type_masses(force_field: ForceField, molecules: Sequence[Molecule]) -> dict[str, float]:
    """Return the mass of each atom type of a force field.

    It is the mean over the atoms of that type, so that the file gives the vibrations of the molecules it was fitted to
    (program masses are isotope masses as a rule, not averages over isotopes). A type that does not occur gets the mass
    of the most abundant isotope.

    Args:
        force_field: The force field.
        molecules: Molecules with these types.

    Returns:
        Atom type to mass [u], in the order of the force field's types.
    """
    found: dict[str, list[float]] = {}
    for molecule in molecules:
        for name, mass in zip(molecule.types, molecule.record.masses, strict=True):
            found.setdefault(name, []).append(float(mass))
    return {
        name: float(np.mean(found[name])) if name in found else isotope_mass(element)
        for name, element in force_field.elements.items()
    }
