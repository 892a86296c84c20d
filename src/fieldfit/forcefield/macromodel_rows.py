"""Which number of a MacroModel force-field file each value of a force field stands for.

Each line that a print-out uses becomes rows of a force field, tagged with its number. Every number of a row is one
number of the file times a factor from the header of the file, so fitted values go back to where they came from::

    line of kind            rows                 numbers of the file
    1 stretch               mm3_bond             k, r0
    2 bend                  mm3_angle            k, theta0
    2 bend, third number    mm3_bend_bend        bend_bend
    3 stretch-bend          stretch_bend         k
    4, 54 torsion           cosine_torsion       one row for each of v1 ... v6
    5 out of plane          periodic_improper    k
    6 van der Waals pair    buckingham_pair      distance, epsilon
    8 torsion-stretch       torsion_stretch      k
    van der Waals           buckingham           radius, epsilon

A tag is the number of the line; "/4" after it says that four torsions share the constants of the line, and "/rest" that
the line acts only through its bend-bend constant and the angle at rest that goes with it. The rows of such a line
include an angle without a force constant of its own, which has no number in the file and must stay 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.constants import KJ_PER_KCAL
from fieldfit.forcefield.formats.mm3_fld import VDW, FldFile, FldRow
from fieldfit.forcefield.macromodel_rules import BEND_BEND, TORSION_STRETCH
from fieldfit.forcefield.row import Row

TORSION_PHASES = {"v1": (1, 0.0), "v2": (2, 180.0), "v3": (3, 0.0), "v4": (4, 180.0), "v5": (5, 0.0), "v6": (6, 180.0)}
"""Periodicity and phase [deg] of the constants of a torsion."""

OUT_OF_PLANE = {"periodicity": 2.0, "phase": 180.0}
"""1 - cos 2 phi, as a cosine with a phase."""

AT_REST = "rest"
"""Mark in the tag of rows of angles that only say where a bend-bend is at rest."""


class Conversion(NamedTuple):
    """How a number of the file becomes a value: number times (factor times header entry in kcal/mol) ^ power."""

    number: str
    term: str | None = None
    factor: float = 1.0
    power: float = 1.0

    def factor_of(self, fld: FldFile) -> float:
        """Return the factor from the number in a file to the value in the units of a user."""
        header = 1.0 if self.term is None else fld.factor(self.term) / KJ_PER_KCAL
        return (self.factor * header) ** self.power if self.power != 1.0 else self.factor * header


CONVERSIONS = {
    "mm3_bond": {"k": Conversion("k", "STR", 0.5), "r0": Conversion("r0")},
    "mm3_angle": {"k": Conversion("k", "BND", 0.5), "theta0": Conversion("theta0")},
    "mm3_bend_bend": {"k": Conversion("bend_bend", "B-B", BEND_BEND, 0.5)},
    "stretch_bend": {"k": Conversion("k", "S-B")},
    "periodic_improper": {"k": Conversion("k", "IMP")},
    "torsion_stretch": {"k": Conversion("k", "T-S", TORSION_STRETCH)},
    "buckingham": {"radius": Conversion("radius"), "epsilon": Conversion("epsilon", "VDW")},
    "buckingham_pair": {"distance": Conversion("distance"), "epsilon": Conversion("epsilon", "VDW")},
}
"""What the columns of each form are in the file; torsions, whose number depends on the periodicity, are apart."""

KINDS = {
    "mm3_bond": ("1",),
    "mm3_angle": ("2",),
    "mm3_bend_bend": ("2",),
    "stretch_bend": ("3",),
    "cosine_torsion": ("4", "54"),
    "periodic_improper": ("5",),
    "torsion_stretch": ("8",),
    "buckingham": (VDW,),
    "buckingham_pair": ("6",),
}
"""Kinds of lines that rows of each form come from."""

_TAG = re.compile(r"(?P<line>\d+)(/(?P<shared>\d+))?(?P<rest>/rest)?")


class Origin(NamedTuple):
    """The line behind a row, how many torsions share it, and whether it only says where a bend-bend is at rest."""

    line: FldRow
    shared: int
    is_at_rest: bool


class FileNumber(NamedTuple):
    """A number of the file that a value stands for: line, name, and the factor from the number to the value."""

    line: int
    name: str
    factor: float


def row_of_line(
    form: str, line: FldRow, fld: FldFile, *, constants: Mapping[str, float] | None = None, shared: int = 1
) -> Row:
    """Return the row of a form that a line becomes.

    Args:
        form: Name of the form.
        line: The line.
        fld: Its file.
        constants: Constants of the form.
        shared: How many torsions share the constants of the line.
    """
    values = {
        column: line.values[number] * factor
        for column, (number, factor) in _numbers(form, constants or {}, fld, shared).items()
    }
    tag = f"{line.line}/{shared}" if shared > 1 else f"{line.line}"
    return Row(form, line.atoms, values, dict(constants or {}), tag)


def rows_at_rest(line: FldRow, fld: FldFile) -> tuple[Row, Row]:
    """Return the rows of a line whose bend-bend acts on an angle that another line bends: its angle and bend-bend."""
    angle, coupling = row_of_line("mm3_angle", line, fld), row_of_line("mm3_bend_bend", line, fld)
    tag = f"{line.line}/{AT_REST}"
    at_rest = {**angle.values, "k": 0.0}
    return Row("mm3_angle", line.atoms, at_rest, {}, tag), Row("mm3_bend_bend", line.atoms, coupling.values, {}, tag)


def torsion_constants(number: str) -> dict[str, float]:
    """Return the constants of the row of V1 ... V6."""
    periodicity, phase = TORSION_PHASES[number]
    return {"periodicity": float(periodicity), "phase": phase}


def origin(row: Row, fld: FldFile) -> Origin:
    """Return where a row comes from.

    Raises:
        ForceFieldError: It does not come from a line of this file.
    """
    match = _TAG.fullmatch(row.tag)
    if match is None or row.form not in KINDS:
        raise ForceFieldError(
            f"Row {row.label} does not come from a line of a MacroModel force field. Make the force field with "
            "force_field_from_print_outs, or write another format."
        )
    line = fld.row(int(match["line"]))
    if line.atoms != row.types or line.kind not in KINDS[row.form]:
        raise ForceFieldError(f"Row {row.label} is not {line.name} of this file. Give the file it was made from.")
    return Origin(line, int(match["shared"] or 1), match["rest"] is not None)


def file_numbers(row: Row, fld: FldFile) -> dict[str, FileNumber]:
    """Return the numbers of the file behind the columns of a row; a force constant that must stay 0 has none.

    Raises:
        ForceFieldError: The row does not come from a line of this file.
    """
    line, shared, is_at_rest = origin(row, fld)
    return {
        column: FileNumber(line.line, number, factor)
        for column, (number, factor) in _numbers(row.form, row.constants, fld, shared).items()
        if not (is_at_rest and row.form == "mm3_angle" and column == "k")
    }


def _numbers(form: str, constants: Mapping[str, float], fld: FldFile, shared: int) -> dict[str, tuple[str, float]]:
    """Return for each column of a form the number of the file that it stands for, and the factor from there."""
    if form == "cosine_torsion":
        return {"k": (f"v{constants['periodicity']:g}", fld.factor("TOR") / KJ_PER_KCAL / shared)}
    return {column: (entry.number, entry.factor_of(fld)) for column, entry in CONVERSIONS[form].items()}
