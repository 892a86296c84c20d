"""What every engine can do, read from its traits: the table of `fieldfit engines` and of the docs."""

from __future__ import annotations

from fieldfit.forcefield.engines import ENGINES
from fieldfit.forcefield.engines.engine import EngineTraits
from fieldfit.tables import write_table

HEADS = ("name", "forms", "exact", "by differences", "parameter derivatives", "devices", "needs")
QUANTITIES = ("energy", "gradient", "Hessian")


def engine_table(*, markdown: bool = False) -> str:
    """Write one line per engine: its forms, derivatives and devices, and what it needs.

    Args:
        markdown: Whether to write a table for the documentation rather than for a terminal.
    """
    return write_table([HEADS, *(_row(name, engine.traits) for name, engine in ENGINES.items())], markdown=markdown)


def _row(name: str, traits: EngineTraits) -> tuple[str, ...]:
    named = ", ".join(sorted(traits.forms or ())) or "none: an energy of its own"
    return (
        name,
        "all" if traits.forms is None else named,
        ", ".join(QUANTITIES[: traits.exact_order + 1]),
        ", ".join(QUANTITIES[traits.exact_order + 1 :]) or "-",
        "exact" if traits.has_parameter_derivatives else "by differences",
        ", ".join(traits.devices),
        traits.needs or "-",
    )
