"""The table of functional forms of `fieldfit forms` and of the docs."""

from __future__ import annotations

from fieldfit.forcefield.forms import FORMS
from fieldfit.forcefield.forms.form import Column
from fieldfit.tables import write_table

HEADS = ("name", "kind", "energy [kcal/mol]", "parameters (bounds)")


def form_table(*, markdown: bool = False) -> str:
    """Write one line per functional form: kind of interaction, energy, parameters with units and default bounds.

    Args:
        markdown: Whether to write a table for the documentation rather than for a terminal.
    """
    rows = [
        (name, form.kind, form.formula, "; ".join(map(_column, form.columns)) or "none") for name, form in FORMS.items()
    ]
    return write_table([HEADS, *rows], markdown=markdown)


def _column(column: Column) -> str:
    return f"{column.name} {column.lower:g} to {column.upper:g} {column.unit}"
