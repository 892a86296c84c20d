"""Functional forms: energies as functions of internal coordinates, with the table of their parameters.

To add one, write the energy as a function of its coordinates q, its parameters p and its constants s, describe the
columns, and add the form to the table. Every derivative follows.
"""

from fieldfit.forcefield.forms.form import Borrowed, Column, Form, InternalCoordinate
from fieldfit.registry import Registry

FORMS = Registry(
    "functional form",
    {
        "harmonic_bond": "fieldfit.forcefield.forms.harmonic:HARMONIC_BOND",
        "morse": "fieldfit.forcefield.forms.harmonic:MORSE",
        "harmonic_angle": "fieldfit.forcefield.forms.harmonic:HARMONIC_ANGLE",
        "linear_bend": "fieldfit.forcefield.forms.harmonic:LINEAR_BEND",
        "urey_bradley": "fieldfit.forcefield.forms.harmonic:UREY_BRADLEY",
        "mm3_bond": "fieldfit.forcefield.forms.mm3:MM3_BOND",
        "mm3_angle": "fieldfit.forcefield.forms.mm3:MM3_ANGLE",
        "mm3_bend_bend": "fieldfit.forcefield.forms.mm3:MM3_BEND_BEND",
        "cosine_torsion": "fieldfit.forcefield.forms.torsion:COSINE_TORSION",
        "switched_torsion": "fieldfit.forcefield.forms.torsion:SWITCHED_TORSION",
        "periodic_improper": "fieldfit.forcefield.forms.torsion:PERIODIC_IMPROPER",
        "harmonic_improper": "fieldfit.forcefield.forms.torsion:HARMONIC_IMPROPER",
        "out_of_plane": "fieldfit.forcefield.forms.torsion:OUT_OF_PLANE",
        "harmonic_out_of_plane": "fieldfit.forcefield.forms.torsion:HARMONIC_OUT_OF_PLANE",
        "stretch_bend": "fieldfit.forcefield.forms.cross:STRETCH_BEND",
        "stretch_stretch": "fieldfit.forcefield.forms.cross:STRETCH_STRETCH",
        "torsion_stretch": "fieldfit.forcefield.forms.cross:TORSION_STRETCH",
        "lennard_jones": "fieldfit.forcefield.forms.nonbonded:LENNARD_JONES",
        "lennard_jones_geometric": "fieldfit.forcefield.forms.nonbonded:LENNARD_JONES_GEOMETRIC",
        "lennard_jones_waldman_hagler": "fieldfit.forcefield.forms.nonbonded:LENNARD_JONES_WALDMAN_HAGLER",
        "lennard_jones_pair": "fieldfit.forcefield.forms.nonbonded:LENNARD_JONES_PAIR",
        "coulomb": "fieldfit.forcefield.forms.nonbonded:COULOMB",
        "point_charges": "fieldfit.forcefield.forms.nonbonded:POINT_CHARGES",
        "buckingham": "fieldfit.forcefield.forms.mm3:BUCKINGHAM",
        "buckingham_pair": "fieldfit.forcefield.forms.mm3:BUCKINGHAM_PAIR",
        "shifted_charges": "fieldfit.forcefield.forms.mm3:SHIFTED_CHARGES",
        "bond_dipoles": "fieldfit.forcefield.forms.mm3:BOND_DIPOLES",
    },
    group="fieldfit.forms",
)

__all__ = ["FORMS", "Borrowed", "Column", "Form", "InternalCoordinate"]
