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
        "harmonic_angle": "fieldfit.forcefield.forms.harmonic:HARMONIC_ANGLE",
        "linear_bend": "fieldfit.forcefield.forms.harmonic:LINEAR_BEND",
        "mm3_bond": "fieldfit.forcefield.forms.mm3:MM3_BOND",
        "mm3_angle": "fieldfit.forcefield.forms.mm3:MM3_ANGLE",
        "cosine_torsion": "fieldfit.forcefield.forms.torsion:COSINE_TORSION",
        "out_of_plane": "fieldfit.forcefield.forms.torsion:OUT_OF_PLANE",
        "stretch_bend": "fieldfit.forcefield.forms.cross:STRETCH_BEND",
    },
    group="fieldfit.forms",
)

__all__ = ["FORMS", "Borrowed", "Column", "Form", "InternalCoordinate"]
