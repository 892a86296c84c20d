"""What a format of force-field files is.

A format declares in its traits what it can express; the checks before writing, and the messages that name another
format, are read from there. A format turns a force field into text and never touches a file, so that no half-written
file is left behind when a force field turns out to be inexpressible.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.row import Row


@dataclass(frozen=True)
class FormatTraits:
    """What a format can do.

    Args:
        suffix: Ending of its files, with the dot.
        forms: Names of the functional forms it expresses exactly; None for all.
        is_assigned_by_type: Whether the programs that read it find the terms of a molecule from bonds and atom types
            alone: they never see the geometry from which fieldfit tells linear angles and planar atoms.
    """

    suffix: str
    forms: frozenset[str] | None
    is_assigned_by_type: bool

    def expresses(self, row: Row) -> bool:
        """Tell whether the format can express a row."""
        return self.forms is None or row.form in self.forms


class AbstractFormat(ABC):
    """A format of force-field files."""

    traits: ClassVar[FormatTraits]

    @abstractmethod
    def render(self, force_field: ForceField, molecules: Sequence[Molecule]) -> str:
        """Return the text of the file.

        Call it through `fieldfit.forcefield.formats.render`, which has made sure that the format expresses every row
        and, if the format is assigned by type, that the atom types alone lead to the terms that fieldfit uses.

        Args:
            force_field: A force field whose rows the format expresses.
            molecules: The molecules it is for: their masses, bonds and atom types.

        Returns:
            The text; equal arguments give equal text.

        Raises:
            ForceFieldError: A value, a constant or an atom type cannot be written.
        """


def has_energy(row: Row) -> bool:
    """Tell whether a row has a force constant that is not zero."""
    return any(row.values[column.name] != 0.0 for column in row.definition.columns if column.is_linear)


def integer_periodicity(row: Row) -> int:
    """Return the periodicity of a torsion, which other programs want as a positive integer.

    Raises:
        ForceFieldError: It is something else.
    """
    periodicity = row.constants["periodicity"]
    if periodicity != int(periodicity) or periodicity < 1:
        raise ForceFieldError(
            f"Row {row.label} has the periodicity {periodicity:g}, but other programs take positive integers only. "
            "Change the row, or write fieldfit-toml."
        )
    return int(periodicity)
