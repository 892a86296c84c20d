"""Molecules and a force field from MacroModel's print-outs and its force-field file, and the way back into the file.

A print-out names the line of the row behind almost every term; the other rows follow from MacroModel's rules (see
`macromodel_rules`). Each line that is used becomes rows of a force field, tagged with its number, and each molecule
carries the list of which row acts on which atoms: no types have to be matched again. `macromodel_rows` says which
number of the file each value is.

    template = read_fld("mm3.fld")
    print_outs = read_mmo("structures.mmo")
    molecules, field = force_field_from_print_outs(print_outs, template, zero_torsions_of="OPT")
    molecules = [with_record(molecule, record) for molecule, record in zip(molecules, qm_records, strict=True)]
    parameters = fld_parameters(field, template)          # what the substructures titled OPT hold, the rest fixed
    ...                                                   # a fit
    write_fld("fitted.fld", fitted, template)

The assignment holds for other numbers in the same rows: `with_fld_values` gives the force field those of another
version of the file. Charges follow from bond moments and bond lengths at rest and are therefore not the force field's:
they stay what they were in the print-out until `with_charges` takes them from the file that was written.

What MacroModel does beyond these rows is not part of the force field: it tapers van der Waals energies between 6 and
8 A, and it measures terms across the second bond of a hydrogen between two atoms from a displaced position. Constants
of torsions that are 0 have no rows, unless `zero_torsions_of` asks for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fieldfit.errors import ForceFieldError, SettingsError
from fieldfit.forcefield.constants import KJ_PER_KCAL
from fieldfit.forcefield.elements import isotope_mass
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats.mm3_counterparts import counterparts
from fieldfit.forcefield.formats.mm3_fld import FldFile, FldRow
from fieldfit.forcefield.macromodel_assembly import Assembler, Use, belongs_to
from fieldfit.forcefield.macromodel_rows import FileNumber, file_numbers, origin
from fieldfit.forcefield.macromodel_rules import (
    bond_charges,
    element_of,
    formal_charges,
    partial_charges,
    typed_graph,
)
from fieldfit.forcefield.molecule import Molecule, QMRecord
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.forcefield.readers.macromodel_mmo import PrintOut
from fieldfit.forcefield.readers.structure import GEOMETRY_TOLERANCE, Structure, molecule_from_structure
from fieldfit.forcefield.row import Row
from fieldfit.forcefield.topology import crosses_straight_angle
from fieldfit.parameters import Parameter, Parameters, Tie
from fieldfit.registry import unknown_name
from fieldfit.typing import FilePath

UNCHANGED = 1e-12
"""Relative difference up to which a number counts as the one in the file."""

DIELECTRIC = "Molecular dielectric constant"

LINEAR_TORSIONS = ("omit", "keep")
"""What can be done about torsions across nearly straight angles."""

NOT_IN_ROWS = ("moment", "angle", "charge")
"""Numbers that no row stands for: moments act through charges, the others have no effect."""


def force_field_from_print_outs(
    print_outs: Sequence[PrintOut],
    fld: FldFile,
    *,
    name: str = "MM3*",
    zero_torsions_of: str | None = None,
    linear_torsions: str = "omit",
) -> tuple[tuple[Molecule, ...], ForceField]:
    """Make molecules and the force field that MacroModel used for them.

    Args:
        print_outs: Structures with all their energy terms (`read_mmo`).
        fld: The force-field file they were made with (`read_fld`).
        name: Title of the force field.
        zero_torsions_of: Text in the titles of substructures, such as "OPT", whose torsions get rows for V1, V2 and V3
            even where these are 0, so that they can be fitted; None: no torsions do.
        linear_torsions: "omit": lines of such torsions that would act across a nearly straight angle in one of the
            structures, as those about bonds of a metal do across two ligands opposite to each other, keep their zeros
            and get no rows; "keep": they get them.

    Returns:
        The molecules, with their charges and the rows that act on their atoms; and the force field with these rows.

    Raises:
        ForceFieldError: The file is not the one behind the print-outs, no substructure has such a title, or the
            print-outs differ in their dielectric constant.
        SettingsError: `linear_torsions` is neither of the two.
        FileFormatError: A line that is named holds no parameters, or the header lacks a conversion factor.

    Example:
        >>> molecules, field = force_field_from_print_outs(read_mmo("set.mmo"), read_fld("mm3.fld"))  # doctest: +SKIP
    """
    _check_title(fld, zero_torsions_of)
    if linear_torsions not in LINEAR_TORSIONS:
        raise SettingsError(unknown_name("way with linear torsions", linear_torsions, LINEAR_TORSIONS))
    found = [tuple(Assembler(print_out, fld, zero_torsions_of).uses()) for print_out in print_outs]
    if linear_torsions == "omit":
        straight = set().union(*map(_across_straight_angles, print_outs, found))
        found = [tuple(use for use in uses if use.row.label not in straight) for uses in found]
    rows = {use.row.label: use.row for uses in found for use in uses}
    elements = {kind: element_of(kind) for print_out in print_outs for kind in print_out.types}
    molecules = [_molecule(print_out, fld, uses) for print_out, uses in zip(print_outs, found, strict=True)]
    nonbonded = Nonbonded(
        vdw_14=fld.factor("V14"),
        dielectric=_dielectric(print_outs),
        coulomb=fld.factor("ELE") / KJ_PER_KCAL,
        has_shifted_charges=True,
    )
    return tuple(molecules), ForceField(name, tuple(rows.values()), dict(sorted(elements.items())), nonbonded)


def _across_straight_angles(print_out: PrintOut, uses: Sequence[Use]) -> set[str]:
    """Return the labels of torsions without a constant that act across a nearly straight angle of a structure."""
    zeros = (use for use in uses if use.row.kind == "torsion" and not use.row.values["k"])
    return {use.row.label for use in zeros if crosses_straight_angle(print_out.coordinates, use.atoms)}


def with_record(molecule: Molecule, record: QMRecord, *, tolerance: float = GEOMETRY_TOLERANCE) -> Molecule:
    """Return a molecule with another QM result of the same atoms, such as one with a Hessian.

    Args:
        molecule: The molecule; its bonds, types, charges and assigned rows are kept.
        record: The QM result, its atoms in the order of the molecule; it may lie elsewhere in space.
        tolerance: Largest distance of an atom from itself after one geometry is laid over the other [A].

    Raises:
        MoleculeError: The elements, their order or the geometries differ.
    """
    old = molecule.record
    orders = (None,) * len(molecule.bonds)
    structure = Structure(molecule.name, old.symbols, molecule.types, old.coordinates, molecule.bonds, orders)
    molecule_from_structure(record, structure, tolerance=tolerance)
    return replace(molecule, record=record)


def fld_parameters(force_field: ForceField, template: FldFile, *, active: str | None = "OPT") -> Parameters:
    """Return the parameters of a force field such that every fit of them can be written to its file.

    Values that stand for one number of the file are tied to each other. Fixed are the force constants that have no
    number in the file, and whatever is not active. `Parameters.free` and `fix` take it from there.

    Args:
        force_field: The force field.
        template: The file that it was made from.
        active: Text in the titles of the substructures whose rows are free; None: all rows are.

    Raises:
        ForceFieldError: A row does not come from this file, or no substructure has such a title.

    Example:
        >>> parameters = fld_parameters(field, template).free("vdw.*")  # doctest: +SKIP
    """
    _check_title(template, active)
    leaders: dict[tuple[int, str], tuple[str, float]] = {}
    ties: dict[str, Tie] = {}
    is_free: dict[str, bool] = {}
    for row in force_field.rows:
        is_active = active is None or belongs_to(origin(row, template).line, active)
        for column, entry in file_numbers(row, template).items():
            name = f"{row.label}.{column}"
            is_free[name] = is_active
            leader, factor = leaders.setdefault((entry.line, entry.name), (name, entry.factor))
            if leader != name:
                ties[name] = Tie(leader, entry.factor / factor)
    entries = [_held(entry, is_free.get(entry.name, False)) for entry in force_field.parameters]
    return Parameters(entries, ties)


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
        source, numbers = origin(row, fld).line, file_numbers(row, fld)
        _check_at_rest(row, numbers)
        for column, (line, number, factor) in numbers.items():
            value = row.values[column] / factor
            other, earlier = owners.setdefault((line, number), (row, value))
            if not math.isclose(value, earlier, rel_tol=UNCHANGED):
                raise ForceFieldError(
                    f"Rows {other.label} and {row.label} both stand for {number} of {source.name}, but mean "
                    f"{earlier:g} and {value:g}. Tie their parameters: fld_parameters does."
                )
            if not math.isclose(value, source.values[number], rel_tol=UNCHANGED):
                changed.setdefault(line, {})[number] = value
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


def with_fld_values(force_field: ForceField, fld: FldFile, template: FldFile) -> ForceField:
    """Return a force field with the numbers of another version of the file that it was made from.

    This is how a file written by `write_fld`, or a published version of the same rows, is read without a print-out of
    its own. Rows are recognised by their content, so line numbers may differ; what `fld` has nothing to say about, as
    when it holds one substructure only, keeps its value. Charges are not part of a force field: see `with_charges`.

    Args:
        force_field: The force field.
        fld: The file whose numbers it gets.
        template: The file that it was made from.

    Raises:
        ForceFieldError: A row of the force field does not come from the template, or the file changes a number that no
            row stands for.
        FileFormatError: Rows of the template are missing in the file; see `counterparts`.
    """
    lines = counterparts(template, fld)
    entries = {
        f"{row.label}.{column}": entry
        for row in force_field.rows
        for column, entry in file_numbers(row, template).items()
    }
    _check_numbers_without_rows(lines, template, set(entries.values()))
    return force_field.with_values(
        {name: lines[line].values[number] * factor for name, (line, number, factor) in entries.items() if line in lines}
    )


def with_charges(
    molecules: Sequence[Molecule], print_outs: Sequence[PrintOut], fld: FldFile, template: FldFile
) -> tuple[Molecule, ...]:
    """Return molecules with the charges that follow from another version of the force-field file.

    Every bond moves moment / (4.803 r0) of charge, so a fit that changes r0 changes charges. The force field of a fit
    keeps those it began with: take the new ones from the file that was written, and score or fit again.

    Args:
        molecules: The molecules, in the order of the print-outs.
        print_outs: The structures that they were made from.
        fld: The file whose moments and lengths count; its line numbers may differ.
        template: The file of the print-outs.

    Raises:
        ForceFieldError: Molecules and print-outs are not the same, or the template is not the file of the print-outs.
        FileFormatError: Rows of the template are missing in the file; see `counterparts`.
    """
    if [molecule.types for molecule in molecules] != [print_out.types for print_out in print_outs]:
        raise ForceFieldError(
            f"The {len(molecules)} molecules do not have the atom types of the {len(print_outs)} print-outs, one after "
            "the other. Give the molecules that were made from them, in the same order."
        )
    changed = template.with_values({line: row.values for line, row in counterparts(template, fld).items()})
    return tuple(
        replace(molecule, charges=_changed_charges(print_out, changed, template))
        for molecule, print_out in zip(molecules, print_outs, strict=True)
    )


def _changed_charges(print_out: PrintOut, fld: FldFile, template: FldFile) -> np.ndarray:
    graph = typed_graph(print_out)
    formal = formal_charges(print_out, bond_charges(print_out, template, graph))
    return bond_charges(print_out, fld, graph) + formal


def _check_title(fld: FldFile, title: str | None) -> None:
    if title is not None and not any(belongs_to(row, title) for row in fld.rows):
        raise ForceFieldError(
            f"No substructure of the force field has {title!r} in its title. Give another part of a title, or mark the "
            "substructure in the file."
        )


def _check_at_rest(row: Row, numbers: Mapping[str, FileNumber]) -> None:
    for column, value in row.values.items():
        if column not in numbers and value:
            raise ForceFieldError(
                f"Row {row.label} says where a bend-bend is at rest and has no force constant in the file, but its "
                f"{column} is {value:g}. Fix it at 0: fld_parameters does."
            )


def _check_numbers_without_rows(lines: Mapping[int, FldRow], template: FldFile, used: set[FileNumber]) -> None:
    """Refuse another file's number that would make a term, or shift a site, of which the force field knows nothing."""
    has_row = {(entry.line, entry.name) for entry in used}
    used_lines = {entry.line for entry in used}
    for line, other in lines.items():
        for name, old in template.row(line).values.items():
            if other.values[name] == old or name in NOT_IN_ROWS or (line, name) in has_row:
                continue
            # A number other than 0 without a row belongs to a line on which no molecule depends.
            if old == 0.0 or line in used_lines:
                raise ForceFieldError(
                    f"{name} of {other.name} is {other.values[name]:g}, but {old:g} in the template, and the force "
                    "field has no parameter for it. Make the force field with zero_torsions_of if it is a torsion of a "
                    "substructure, or from a print-out that was made with this file."
                )


def _held(parameter: Parameter, is_free: bool) -> Parameter:
    return parameter if is_free else parameter.replace(fixed=True)


def _molecule(print_out: PrintOut, fld: FldFile, uses: Sequence[Use]) -> Molecule:
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
