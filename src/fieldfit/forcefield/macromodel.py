"""Molecules and a force field from MacroModel's print-outs and its force-field file, and the way back into the file.

A print-out names the line of the row behind almost every term; the other rows follow from MacroModel's rules (see
`macromodel_rules`). Each line that is used becomes rows of a force field, tagged with its number, and each molecule
carries the list of which row acts on which atoms: no types have to be matched again. Every number of a row is one
number of the file times a factor from the header of the file, so fitted values go back to where they came from.

    line of kind            rows                 numbers of the file
    1 stretch               mm3_bond             k, r0
    2 bend                  mm3_angle            k, theta0
    2 bend, third number    mm3_bend_bend        bend_bend
    3 stretch-bend          stretch_bend         k
    4, 54 torsion           cosine_torsion       one row for each of v1 ... v6 that is not 0
    5 out of plane          periodic_improper    k
    6 van der Waals pair    buckingham_pair      distance, epsilon
    8 torsion-stretch       torsion_stretch      k
    van der Waals           buckingham           radius, epsilon

What MacroModel does beyond these rows is not part of the force field: it tapers van der Waals energies between 6 and
8 A, it measures terms across the second bond of a hydrogen between two atoms from a displaced position, and it takes
charges from bond moments and lengths at rest, so that they change when a fit changes those lengths: make the molecules
again from the file that was written. Constants of torsions that are 0 have no rows; torsions without any are not even
printed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.constants import KJ_PER_KCAL
from fieldfit.forcefield.elements import isotope_mass
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats.mm3_fld import FldFile, FldRow
from fieldfit.forcefield.formats.mm3_matching import find_row, row_in_force
from fieldfit.forcefield.macromodel_rules import (
    BEND_BEND,
    TORSION_STRETCH,
    element_of,
    parents,
    partial_charges,
    torsions_per_row,
    typed_graph,
)
from fieldfit.forcefield.molecule import Molecule, QMRecord
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.forcefield.readers.macromodel_mmo import PrintOut
from fieldfit.forcefield.row import Row
from fieldfit.forcefield.topology import nonbonded_pairs
from fieldfit.typing import FilePath

TORSION_PHASES = {"v1": (1, 0.0), "v2": (2, 180.0), "v3": (3, 0.0), "v4": (4, 180.0), "v5": (5, 0.0), "v6": (6, 180.0)}
"""Periodicity and phase [deg] of the constants of a torsion."""

OUT_OF_PLANE = {"periodicity": 2.0, "phase": 180.0}
"""1 - cos 2 phi, as a cosine with a phase."""

AT_REST = "rest"
"""Mark in the tag of rows of angles that only say where a bend-bend is at rest."""

UNCHANGED = 1e-12
"""Relative difference up to which a number counts as the one in the file."""


HALF_A_DIGIT = 0.50001
"""How far a number may be from its print-out, in units of the last printed digit."""

DIELECTRIC = "Molecular dielectric constant"


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

_TAG = re.compile(r"(?P<line>\d+)(/(?P<shared>\d+))?(?P<rest>/rest)?")


class _Use(NamedTuple):
    """A row and the atoms that it acts on."""

    row: Row
    atoms: tuple[int, ...]


def force_field_from_print_outs(
    print_outs: Sequence[PrintOut], fld: FldFile, *, name: str = "MM3*"
) -> tuple[tuple[Molecule, ...], ForceField]:
    """Make molecules and the force field that MacroModel used for them.

    Args:
        print_outs: Structures with all their energy terms (`read_mmo`).
        fld: The force-field file they were made with (`read_fld`).
        name: Title of the force field.

    Returns:
        The molecules, with their charges and the rows that act on their atoms; and the force field with these rows.

    Raises:
        ForceFieldError: The file is not the one behind the print-outs, or they differ in their dielectric constant.
        FileFormatError: A line that is named holds no parameters, or the header lacks a conversion factor.

    Example:
        >>> molecules, field = force_field_from_print_outs(read_mmo("set.mmo"), read_fld("mm3.fld"))  # doctest: +SKIP
    """
    rows: dict[str, Row] = {}
    elements: dict[str, str] = {}
    molecules = []
    for print_out in print_outs:
        uses = tuple(_Assembler(print_out, fld).uses())
        rows |= {use.row.label: use.row for use in uses}
        elements |= {kind: element_of(kind) for kind in print_out.types}
        molecules.append(_molecule(print_out, fld, uses))
    nonbonded = Nonbonded(
        vdw_14=fld.factor("V14"),
        dielectric=_dielectric(print_outs),
        coulomb=fld.factor("ELE") / KJ_PER_KCAL,
        has_shifted_charges=True,
    )
    return tuple(molecules), ForceField(name, tuple(rows.values()), dict(sorted(elements.items())), nonbonded)


def fld_values(force_field: ForceField, fld: FldFile) -> dict[int, dict[str, float]]:
    """Return the numbers of a force-field file that a force field changes.

    Args:
        force_field: A force field made from this file, with other values.
        fld: The file.

    Returns:
        Line to new numbers by name, in the units of the file, as `FldFile.with_values` takes them.

    Raises:
        ForceFieldError: A row does not come from this file, or two rows want different values of the same number.
    """
    changed: dict[int, dict[str, float]] = {}
    owners: dict[tuple[int, str], tuple[Row, float]] = {}
    for row in force_field.rows:
        source, shared, is_at_rest = _source(row, fld)
        for column, (number, factor) in _numbers(row.form, row.constants, fld, shared).items():
            if is_at_rest and row.form == "mm3_angle" and column == "k":
                _check_at_rest(row)
                continue
            value = row.values[column] / factor
            other, earlier = owners.setdefault((source.line, number), (row, value))
            if not math.isclose(value, earlier, rel_tol=UNCHANGED):
                raise ForceFieldError(
                    f"Rows {other.label} and {row.label} both stand for {number} of {source.name}, but mean "
                    f"{earlier:g} and {value:g}. Tie their parameters."
                )
            if not math.isclose(value, source.values[number], rel_tol=UNCHANGED):
                changed.setdefault(source.line, {})[number] = value
    return changed


def write_fld(path: FilePath, force_field: ForceField, template: FldFile) -> None:
    """Write a force field into a copy of the file that it was made from; all other lines stay as they are.

    Args:
        path: Where to write.
        force_field: The force field.
        template: The file that it was made from.

    Raises:
        ForceFieldError: A row does not come from this file.
        FileFormatError: A value does not fit its columns, or the file cannot be written.
    """
    template.with_values(fld_values(force_field, template)).write(path)


class _Assembler:
    """Finds the rows of one structure."""

    def __init__(self, print_out: PrintOut, fld: FldFile) -> None:
        self._print_out = print_out
        self._fld = fld
        self._graph = typed_graph(print_out)

    def uses(self) -> Iterator[_Use]:
        yield from self._stretches()
        yield from self._bends()
        yield from self._torsions()
        yield from self._pairs()

    def _stretches(self) -> Iterator[_Use]:
        for stretch in self._print_out.stretches:
            row = self._fld.row(stretch.line)
            self._check(stretch.atoms, row.values, {"k": stretch.k, "r0": stretch.r0}, decimals=4)
            yield _Use(self._row("mm3_bond", row), stretch.atoms)

    def _bends(self) -> Iterator[_Use]:
        """Yield bends, stretch-bends and bend-bends."""
        for bend in self._print_out.bends:
            row = self._fld.row(bend.line)
            self._check(bend.atoms, row.values, {"k": bend.k, "theta0": bend.theta0})
            yield _Use(self._row("mm3_angle", row), bend.atoms)
            stretch_bend = find_row(self._fld, "3", bend.atoms, self._graph)
            self._check(bend.atoms, {} if stretch_bend is None else stretch_bend.values, {"k": bend.stretch_bend_k})
            if stretch_bend is not None and stretch_bend.values["k"]:
                yield _Use(self._row("stretch_bend", stretch_bend), bend.atoms)
            yield from self._bend_bends(row, bend.atoms)

    def _bend_bends(self, row: FldRow, atoms: tuple[int, ...]) -> Iterator[_Use]:
        in_force = row_in_force(self._fld, row, "bend_bend", atoms, self._graph)
        if in_force is None or not in_force.values["bend_bend"]:
            return
        mark = "" if in_force is row else f"/{AT_REST}"
        if mark:
            yield _Use(self._row("mm3_angle", in_force, mark=mark, values={"k": 0.0}), atoms)
        yield _Use(self._row("mm3_bend_bend", in_force, mark=mark), atoms)

    def _torsions(self) -> Iterator[_Use]:
        """Yield torsions, improper torsions and torsion-stretches."""
        for torsion in self._print_out.torsions:
            row = self._fld.row(torsion.line)
            shared = torsions_per_row(row, torsion.atoms, self._graph)
            each = {number: value / shared for number, value in row.values.items()}
            if row.kind == "4":
                self._check(torsion.atoms, each, {"v1": torsion.v1, "v2": torsion.v2, "v3": torsion.v3})
            for number, (periodicity, phase) in TORSION_PHASES.items():
                if row.values.get(number):
                    constants = {"periodicity": float(periodicity), "phase": phase}
                    yield _Use(self._row("cosine_torsion", row, constants=constants, shared=shared), torsion.atoms)
        for improper in self._print_out.impropers:
            row = self._fld.row(improper.line)
            self._check(improper.atoms, row.values, {"k": improper.v2})
            yield _Use(self._row("periodic_improper", row, constants=OUT_OF_PLANE), improper.atoms)
        for cross_term in self._print_out.torsion_stretches:
            found = find_row(self._fld, "8", cross_term.atoms, self._graph)
            self._check(cross_term.atoms, {} if found is None else found.values, {"k": cross_term.k})
            if found is not None:
                yield _Use(self._row("torsion_stretch", found), cross_term.atoms)

    def _pairs(self) -> Iterator[_Use]:
        """Yield the van der Waals rows of atoms and of special pairs."""
        own_parents, bonds = parents(self._print_out), self._print_out.bonds
        for atom, (kind, *_) in enumerate(self._graph.types):
            row = find_row(self._fld, "vdw", (atom,), self._graph)
            if row is None:
                raise ForceFieldError(
                    f"{self._print_out.name}: atom {atom + 1} of type {kind} has no van der Waals row. Give the force "
                    "field of the print-out."
                )
            if row.values["offset"] and own_parents[atom] != min(self._graph.attached[atom], default=atom):
                raise ForceFieldError(
                    f"{self._print_out.name}: the parent of atom {atom + 1} ({kind}) is not the first of its "
                    "neighbours by number. Renumber the atoms."
                )
            yield _Use(self._row("buckingham", row, constants={"offset": row.values["offset"]}), (atom,))
        for i, j in nonbonded_pairs(len(self._print_out.atoms), bonds)[0].tolist():
            special = find_row(self._fld, "6", (i, j), self._graph)
            if special is not None:
                yield _Use(self._row("buckingham_pair", special), (i, j))

    def _row(
        self,
        form: str,
        row: FldRow,
        *,
        constants: Mapping[str, float] | None = None,
        shared: int = 1,
        mark: str = "",
        values: Mapping[str, float] | None = None,
    ) -> Row:
        numbers = _numbers(form, constants or {}, self._fld, shared)
        own = {column: row.values[number] * factor for column, (number, factor) in numbers.items()}
        tag = f"{row.line}{f'/{shared}' if shared > 1 else ''}{mark}"
        return Row(form, row.atoms, own | dict(values or {}), dict(constants or {}), tag)

    def _check(
        self, atoms: tuple[int, ...], found: Mapping[str, float], printed: Mapping[str, float], *, decimals: int = 3
    ) -> None:
        """Compare numbers of a row with those that the print-out has for some atoms."""
        for name, value in printed.items():
            if abs(found.get(name, 0.0) - value) > HALF_A_DIGIT * 10.0**-decimals:
                raise ForceFieldError(
                    f"{self._print_out.name}: {name} of the atoms {'-'.join(str(atom + 1) for atom in atoms)} is "
                    f"{value} in the print-out, but {found.get(name, 0.0)} in the force field. Give the force-field "
                    "file of the print-out."
                )


def _numbers(form: str, constants: Mapping[str, float], fld: FldFile, shared: int) -> dict[str, tuple[str, float]]:
    """Return for each column of a form the number of the file that it stands for, and the factor from there."""
    if form == "cosine_torsion":
        return {"k": (f"v{constants['periodicity']:g}", fld.factor("TOR") / KJ_PER_KCAL / shared)}
    return {column: (entry.number, entry.factor_of(fld)) for column, entry in CONVERSIONS[form].items()}


def _source(row: Row, fld: FldFile) -> tuple[FldRow, int, bool]:
    """Return the line behind a row, the number of torsions that share it, and whether it only says what is at rest."""
    match = _TAG.fullmatch(row.tag)
    if match is None or (row.form not in CONVERSIONS and row.form != "cosine_torsion"):
        raise ForceFieldError(
            f"Row {row.label} does not come from a line of a MacroModel force field. Make the force field with "
            "force_field_from_print_outs, or write another format."
        )
    source = fld.row(int(match["line"]))
    if source.atoms != row.types:
        raise ForceFieldError(f"Row {row.label} is not {source.name} of this file. Give the file it was made from.")
    return source, int(match["shared"] or 1), match["rest"] is not None


def _check_at_rest(row: Row) -> None:
    if row.values["k"]:
        raise ForceFieldError(
            f"Row {row.label} says where a bend-bend is at rest and has no force constant in the file, but its k is "
            f"{row.values['k']:g}. Fix it at 0."
        )


def _molecule(print_out: PrintOut, fld: FldFile, uses: Sequence[_Use]) -> Molecule:
    symbols = tuple(element_of(kind) for kind in print_out.types)
    charges = partial_charges(print_out, fld, typed_graph(print_out))
    record = QMRecord(
        name=print_out.name,
        symbols=symbols,
        coordinates=print_out.coordinates,
        masses=np.array([isotope_mass(symbol) for symbol in symbols]),
        charge=round(float(charges.sum())),
        source={"program": "MacroModel"},
    )
    assignments = tuple((use.row.label, use.atoms) for use in uses)
    return Molecule(record, print_out.bonds, print_out.types, charges, assignments)


def _dielectric(print_outs: Sequence[PrintOut]) -> float:
    found = {print_out.settings.get(DIELECTRIC, 1.0) for print_out in print_outs}
    if len(found) > 1:
        raise ForceFieldError(
            f"The print-outs have the dielectric constants {', '.join(f'{value:g}' for value in sorted(found))}, but a "
            "force field has one. Give print-outs of one calculation."
        )
    return found.pop() if found else 1.0
