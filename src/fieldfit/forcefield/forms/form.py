"""What a functional form declares."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

DEGREE = math.pi / 180.0


@dataclass(frozen=True)
class Column:
    """One fitted parameter of a form, in the units a user sees.

    Args:
        name: Name in parameter labels and files: "k", "r0".
        unit: Unit in parameter vectors, bounds, files and reports.
        lower: Default lower bound.
        upper: Default upper bound.
        scale: Size of a typical change.
        internal: Factor from the user's unit to the internal one (degrees to radians; 1 otherwise).
        is_linear: Whether the energy is proportional to it: a force constant.
    """

    name: str
    unit: str
    lower: float
    upper: float
    scale: float
    internal: float = 1.0
    is_linear: bool = False


@dataclass(frozen=True)
class Borrowed:
    """A parameter taken from another interaction of the same atoms.

    Args:
        kind: Kind of that interaction: "bond".
        atoms: Which atoms of this form define it.
        column: Which of its columns.
    """

    kind: str
    atoms: tuple[int, ...]
    column: str


@dataclass(frozen=True)
class Form:
    """A functional form.

    Args:
        name: Name in the table of forms.
        kind: Kind of interaction, which is the prefix of parameter names: "bond", "angle", "torsion".
        n_atoms: Number of atoms.
        coordinates: Names of its internal coordinates, each with the atoms of the form that define it.
        columns: Its own parameters.
        energy: `energy(q, p, s)` [kcal/mol] of coordinates q, parameters p (own, then borrowed, internal units) and
            constants s; traced by JAX, smooth.
        borrowed: Parameters of other interactions that it uses.
        constants: Names of the numbers per row that are never fitted.
        formula: The energy as a person writes it, for tables and files.
    """

    name: str
    kind: str
    n_atoms: int
    coordinates: tuple[tuple[str, tuple[int, ...]], ...]
    columns: tuple[Column, ...]
    energy: Callable[[Any, Any, Any], Any]
    borrowed: tuple[Borrowed, ...] = ()
    constants: tuple[str, ...] = ()
    formula: str = ""
