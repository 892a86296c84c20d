"""Force-field files for other programs.

`write` chooses the format from the ending of the file. To add one, write a final class derived from
`fieldfit.forcefield.formats.format.AbstractFormat` and a line in `FORMATS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from fieldfit.errors import FileFormatError, ForceFieldError, SettingsError
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats.format import AbstractFormat, FormatTraits, has_energy
from fieldfit.forcefield.formats.type_assignment import check_type_assignment
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.row import Row
from fieldfit.registry import Registry
from fieldfit.typing import FilePath

__all__ = ["FORMATS", "AbstractFormat", "FormatTraits", "render", "write"]

FORMATS = Registry(
    "force-field format",
    {
        "fieldfit-toml": "fieldfit.forcefield.formats.fieldfit_toml:FieldfitToml",
        "openmm-xml": "fieldfit.forcefield.formats.openmm_xml:OpenMMXml",
        "amber-frcmod": "fieldfit.forcefield.formats.amber_frcmod:AmberFrcmod",
    },
    group="fieldfit.formats",
)
"""Formats of force-field files by name."""

DISPENSABLE = ("torsion", "out-of-plane", "stretch-bend")
"""Kinds of interaction that may be absent: a row of zero energy can be left out."""


def write(path: FilePath, force_field: ForceField, molecules: Sequence[Molecule], *, format: str | None = None) -> None:
    """Write a force field to a file; nothing is written if the format cannot express it.

    Args:
        path: Where to write.
        force_field: The force field.
        molecules: The molecules it is for: other programs want their masses, bonds and atom types.
        format: Name of a format in `FORMATS`; found from the ending of the path if not stated.

    Raises:
        SettingsError: No format has that name or ending.
        ForceFieldError: The format cannot express the force field.
        FileFormatError: The file cannot be written.

    Examples:
        >>> write("methyl-fluoride.xml", force_field, [molecule])                       # doctest: +SKIP
        >>> write("frcmod.mef", force_field, [molecule], format="amber-frcmod")         # doctest: +SKIP
    """
    text = render(force_field, molecules, format=format or _find_format(path))
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileFormatError(
            f"The force field cannot be written to {str(path)!r}: {error.strerror}. Check the folder and its rights."
        ) from error


def render(force_field: ForceField, molecules: Sequence[Molecule], *, format: str) -> str:
    """Return the text of a force-field file.

    Args:
        force_field: The force field.
        molecules: The molecules it is for.
        format: Name of a format in `FORMATS`.

    Returns:
        The text.

    Raises:
        SettingsError: No format has that name.
        ForceFieldError: The format cannot express the force field.
    """
    chosen = FORMATS[format]()
    _check_forms(force_field, format)
    if chosen.traits.is_assigned_by_type:
        check_type_assignment(force_field, molecules)
    rows = tuple(row for row in force_field.rows if chosen.traits.expresses(row))
    return chosen.render(dataclasses.replace(force_field, rows=rows), molecules)


def _find_format(path: FilePath) -> str:
    suffixes = {entry.traits.suffix: name for name, entry in FORMATS.items()}
    suffix = Path(path).suffix.lower()
    if suffix == ".fld":
        raise SettingsError(
            f"{str(path)!r} is to be an MM3 force field for MacroModel, which is written into the file that its rows "
            "were read from: use write_fld(path, force_field, read_fld(template))."
        )
    if suffix not in suffixes:
        known = ", ".join(f"{key} ({name})" for key, name in suffixes.items())
        raise SettingsError(
            f"The ending of {str(path)!r} belongs to no format of force fields. Known: {known}. "
            "Change the ending, or name the format with format=."
        )
    return suffixes[suffix]


def _check_forms(force_field: ForceField, format: str) -> None:
    refused = _refused(force_field, format)
    if not refused:
        return
    listing: dict[str, list[str]] = {}
    for row in refused:
        listing.setdefault(row.form, []).append(row.label)
    rows = "; ".join(f"{form} ({', '.join(labels)})" for form, labels in listing.items())
    others = [name for name in FORMATS if not _refused(force_field, name)]
    raise ForceFieldError(
        f"The format {format} has no exact counterpart of these forms and rows: {rows}. "
        f"Formats that express all of {force_field.name!r}: {', '.join(others)}."
    )


def _refused(force_field: ForceField, format: str) -> list[Row]:
    """Return the rows that a format can neither express nor leave out."""
    traits = FORMATS[format].traits
    return [
        row
        for row in force_field.rows
        if not traits.expresses(row) and (has_energy(row) or row.kind not in DISPENSABLE)
    ]
