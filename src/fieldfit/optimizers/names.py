"""Optimizers by name, for files, strings and the command line.

A name is that of a family with what it needs after a colon, to any depth:

    least-squares                     L-BFGS-B, trf, Nelder-Mead ... (a method of SciPy)
    scipy:L-BFGS-B                    jax:lbfgs, optax:adam, trust-region:exact
    derivative-free:cma-es            multi-start:least-squares
    basin-hopping:scipy:L-BFGS-B      cycling:L-BFGS-B|Nelder-Mead

or one of the classic catalogue (`CATALOGUE`), which stands for such a name with options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from fieldfit.errors import SettingsError
from fieldfit.optimizers import OPTIMIZERS
from fieldfit.optimizers.scipy import METHODS
from fieldfit.problem import AbstractOptimizer
from fieldfit.registry import unknown_name

ALIASES = {"jaxopt": "jax", "multi": "multi-start", "basinhopping": "basin-hopping"}
"""Other spellings of families, as older scripts have them."""

ARGUMENTS = {
    "scipy": ("method",),
    "jax": ("method",),
    "optax": ("method",),
    "trust-region": ("method",),
    "derivative-free": ("method",),
    "multi-start": ("optimizer",),
    "basin-hopping": ("optimizer",),
    "cycling": ("full", "partial"),
}
"""Fields of a family that its name gives after the colon, separated by |."""

CATALOGUE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "scipy-lbfgsb": ("scipy:L-BFGS-B", {}),
    "scipy-lbfgsb-jax": ("scipy:L-BFGS-B", {"jac": "analytical"}),
    "scipy-lbfgsb-fd": ("scipy:L-BFGS-B", {"jac": None}),
    "scipy-lbfgsb-l2": ("scipy:L-BFGS-B", {}),
    "scipy-nm": ("scipy:Nelder-Mead", {}),
    "scipy-powell": ("scipy:Powell", {}),
    "grad-simp": ("cycling:L-BFGS-B|Nelder-Mead", {}),
    "grad-simp-auto": ("cycling:L-BFGS-B|Nelder-Mead", {}),
    "grad-simp-multi": ("cycling:multi:L-BFGS-B|Nelder-Mead", {}),
    "optax-adam": ("optax:adam", {}),
    "optax-adam-cosine": ("optax:adam", {"schedule": "cosine"}),
    "basinhopping": ("basin-hopping:L-BFGS-B", {}),
    "basinhopping-cold": ("basin-hopping:L-BFGS-B", {"T": 0.0}),
    "multi-lbfgsb-5": ("multi-start:L-BFGS-B", {"n_starts": 5}),
    "multi-lbfgsb-10": ("multi-start:L-BFGS-B", {"n_starts": 10}),
    "jaxopt-lbfgs": ("jax:lbfgs", {}),
    "jaxopt-lbfgsb": ("jax:lbfgsb", {}),
}
"""Classic name to name and options. "scipy-lbfgsb-l2" is L-BFGS-B on an objective with `regularization`."""


def make_optimizer(name: str, **options: Any) -> AbstractOptimizer:
    """Make an optimizer from its name.

    Args:
        name: As described in the module docstring.
        **options: Options of the outermost optimizer, by the names of its fields.

    Returns:
        The optimizer.

    Raises:
        SettingsError: Something in the name is not known, or an option is not one of that optimizer.

    Example:
        >>> from fieldfit.optimizers.names import make_optimizer
        >>> make_optimizer("multi-start:least-squares", n_starts=5).name
        'multi-start:least-squares'
    """
    if name in CATALOGUE:
        target, preset = CATALOGUE[name]
        return make_optimizer(target, **{**preset, **options})
    if name in METHODS:
        return make_optimizer(f"scipy:{name}", **options)
    family, _, rest = name.partition(":")
    family = ALIASES.get(family, family)
    if family not in OPTIMIZERS:
        known = [*OPTIMIZERS, *CATALOGUE, *METHODS]
        raise SettingsError(unknown_name("optimizer", family, known))
    given = _arguments(family, rest, name) if rest else {}
    kind = OPTIMIZERS[family]
    known = [entry.name for entry in fields(kind)]
    for option in options:
        if option not in known:
            raise SettingsError(unknown_name(f"option of the optimizer {family!r}", option, known))
    return kind(**given, **options)


def _arguments(family: str, rest: str, name: str) -> dict[str, Any]:
    wanted = ARGUMENTS.get(family, ())
    if not wanted:
        raise SettingsError(
            f"The optimizer {family!r} has no methods to choose from, but {name!r} names one. Write {family!r}."
        )
    parts = rest.split("|") if len(wanted) > 1 else [rest]
    if len(parts) > len(wanted):
        raise SettingsError(
            f"{name!r} has {len(parts)} parts after {family!r}, but there are at most {len(wanted)}: "
            f"{', '.join(wanted)}. Leave some out."
        )
    return {
        field: part if field == "method" else make_optimizer(part) for field, part in zip(wanted, parts, strict=False)
    }
