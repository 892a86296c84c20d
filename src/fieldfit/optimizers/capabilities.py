"""What every optimizer needs and can, read from its traits: the table of `fieldfit methods` and of the docs."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from fieldfit.optimizers import OPTIMIZERS
from fieldfit.optimizers.names import make_optimizer
from fieldfit.problem import AbstractOptimizer, Traits
from fieldfit.tables import write_table

METHOD_TABLES = {
    "scipy": "fieldfit.optimizers.scipy_methods:METHODS",
    "jax": "fieldfit.optimizers.in_graph:METHODS",
    "optax": "fieldfit.optimizers.first_order:METHODS",
    "trust-region": "fieldfit.optimizers.scalar_trust_region:METHODS",
    "derivative-free": "fieldfit.optimizers.derivative_free:METHODS",
}
"""Family to the table of its methods."""

COLUMNS = ("name", "works on", "derivatives", "bounds", "search", "remarks")


def method_names() -> tuple[str, ...]:
    """Return the names of all optimizers, with the methods of those that have several."""
    names: list[str] = []
    for family in OPTIMIZERS:
        if family in METHOD_TABLES:
            module, _, attribute = METHOD_TABLES[family].partition(":")
            names += [f"{family}:{method}" for method in getattr(importlib.import_module(module), attribute)]
        else:
            names.append(family)
    return tuple(names)


def capability_table(*, markdown: bool = False) -> str:
    """Write one line per optimizer: what it works on, which derivatives it uses, bounds, reach of the search.

    Args:
        markdown: Whether to write a table for the documentation rather than for a terminal.
    """
    return write_table([COLUMNS, *(_row(name, make_optimizer(name)) for name in method_names())], markdown=markdown)


def derivatives_used(traits: Traits) -> str:
    """Return the highest derivatives that an optimizer uses, as a word."""
    if traits.needs_hessian:
        return "Hessian"
    if traits.needs_gradient:
        return "Jacobian" if traits.needs_residuals else "gradient"
    return "none"


def local_or_global(traits: Traits) -> str:
    """Return how far an optimizer looks, as a word."""
    return "global" if traits.is_global else "local"


def _row(name: str, optimizer: AbstractOptimizer) -> tuple[str, ...]:
    traits = optimizer.traits
    return (
        name,
        "residuals" if traits.needs_residuals else "any",
        derivatives_used(traits),
        "required" if traits.needs_bounds else "kept" if traits.handles_bounds else "refused",
        local_or_global(traits),
        ", ".join(_remarks(traits)),
    )


def _remarks(traits: Traits) -> Iterable[str]:
    if traits.needs_tracing:
        yield "objective in JAX"
    if traits.is_stochastic:
        yield "random, by seed"
    if traits.is_parallel:
        yield "parallel"
    if traits.is_resumable:
        yield "resumable"
    if traits.handles_constraints:
        yield "constraints"
