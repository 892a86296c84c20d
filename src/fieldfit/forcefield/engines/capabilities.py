"""What every engine can do, read from its traits: the table of `fieldfit engines` and of the docs."""

from __future__ import annotations

from fieldfit.forcefield.engines import ENGINES
from fieldfit.forcefield.engines.engine import EngineTraits
from fieldfit.forcefield.forms import FORMS
from fieldfit.tables import write_table

HEADS = ("name", "forms", "exact", "by differences", "parameter derivatives", "devices", "needs")
QUANTITIES = ("energy", "gradient", "Hessian")


def engine_table(*, markdown: bool = False) -> str:
    """Write one line per engine: its forms, derivatives and devices, and what it needs.

    Args:
        markdown: Whether to write a table for the documentation rather than for a terminal.
    """
    return write_table([HEADS, *(_row(name, engine.traits) for name, engine in ENGINES.items())], markdown=markdown)


def engine_forms(name: str) -> tuple[str, ...]:
    """Return the functional forms that an engine computes, in the order of the table of forms.

    Args:
        name: Name in the table of engines.
    """
    forms = ENGINES[name].traits.forms
    return tuple(form for form in FORMS if forms is None or form in forms)


def _row(name: str, traits: EngineTraits) -> tuple[str, ...]:
    count = len(engine_forms(name))
    return (
        name,
        f"{count} of {len(FORMS)}" if count else "its own energy",
        ", ".join(QUANTITIES[: traits.exact_order + 1]),
        ", ".join(QUANTITIES[traits.exact_order + 1 :]) or "-",
        "exact" if traits.has_parameter_derivatives else "by differences",
        ", ".join(traits.devices),
        traits.needs or "-",
    )
