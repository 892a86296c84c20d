"""What every optimizer of things needs and can, read from its traits: a table of `fieldfit methods` and of the docs.

Linear equalities are eliminated before an optimizer sees a problem, so every one of them meets those; the table says
who takes nonlinear ones, and inequalities.
"""

from __future__ import annotations

from fieldfit.optimize.names import PROXIMAL, find_method, optimizer_names
from fieldfit.optimizers.capabilities import derivatives_used, local_or_global
from fieldfit.problem import Traits
from fieldfit.tables import write_table

COLUMNS = ("name", "takes", "derivatives", "bounds", "equality", "inequality", "stochastic", "remarks")

LEAST_SQUARES, ANYTHING = "least squares", "least squares, scalar"


def things_table(*, markdown: bool = False) -> str:
    """Write one line per name that `Optimizer` takes, and one for "proximal-" before them.

    Args:
        markdown: Whether to write a table for the documentation rather than for a terminal.

    Example:
        >>> from fieldfit.optimize.capabilities import things_table
        >>> things_table().splitlines()[1].split()[:3]
        ['lsq-exact', 'least', 'squares']
    """
    rows = [_row(name, method_traits(name)) for name in optimizer_names()]
    return write_table([COLUMNS, *rows, _proximal_row()], markdown=markdown)


def method_traits(name: str) -> Traits:
    """Return what the optimizer of a name declares about itself, with its default options.

    Raises:
        SettingsError: No optimizer is called so.
    """
    return find_method(name).build({}, {}).traits


def _row(name: str, traits: Traits) -> tuple[str, ...]:
    remarks = [local_or_global(traits)] if traits.is_global else []
    remarks += ["terms in JAX"] if traits.needs_tracing else []
    remarks += ["parallel"] if traits.is_parallel else []
    return (
        name,
        LEAST_SQUARES if traits.needs_residuals else ANYTHING,
        derivatives_used(traits),
        "required" if traits.needs_bounds else "yes" if traits.handles_bounds else "no",
        "yes" if traits.handles_constraints else "linear",
        "yes" if traits.handles_constraints else "no",
        "yes, by seed" if traits.is_stochastic else "no",
        ", ".join(remarks),
    )


def _proximal_row() -> tuple[str, ...]:
    same = ("as that",) * 3
    solved = "also terms with solves_for"
    return (f"{PROXIMAL}<any>", *same, solved, "as that", "as that", "none whose terms must be in JAX")
