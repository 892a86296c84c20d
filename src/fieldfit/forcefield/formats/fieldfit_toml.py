"""The library's own file: everything a force field holds, read back bit by bit by `ForceField.read`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats.format import AbstractFormat, FormatTraits
from fieldfit.forcefield.molecule import Molecule


@dataclass(frozen=True)
class FieldfitToml(AbstractFormat):
    """TOML that `ForceField.read` reads back bit by bit; the molecules play no part."""

    traits = FormatTraits(suffix=".toml", forms=None, is_assigned_by_type=False)

    def render(self, force_field: ForceField, molecules: Sequence[Molecule]) -> str:
        return force_field.to_toml()
