"""What a functional form declares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Float

DEGREE = math.pi / 180.0

Scalar = Float[Array, ""] | float
"""What an energy is made of: one number, traced or not."""

Scalars = Float[Array, " _"] | Sequence[Scalar]
"""What an energy takes: an array, or as many separate numbers when another engine wants its formula."""


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
class InternalCoordinate:
    """An internal coordinate that a form acts on.

    Args:
        kind: Name in `geometry.COORDINATES`: "distance", "angle", "dihedral".
        atoms: Which atoms of the form define it.
        constants: Which constants of the form it needs besides positions, by index.
    """

    kind: str
    atoms: tuple[int, ...]
    constants: tuple[int, ...] = ()


@dataclass(frozen=True)
class Form:
    """A functional form.

    Args:
        name: Name in the table of forms.
        kind: Kind of interaction, which is the prefix of parameter names: "bond", "angle", "torsion".
        n_atoms: Number of atoms.
        coordinates: Its internal coordinates.
        columns: Its own parameters.
        energy: `energy(q, p, s)` [kcal/mol] of coordinates q, parameters p (own ones of every site, then borrowed;
            internal units) and constants s (those of the row at every site, then assigned ones). Each is an array or a
            sequence of scalars, so it is unpacked or indexed and nothing else; traced by JAX, smooth, and made of
            scalar functions only, since other engines read the formula off the trace.
        borrowed: Parameters of other interactions that it uses.
        constants: Names of the numbers per row that are never fitted.
        sites: The tuples of the form's atoms whose rows supply its own parameters. One site of all atoms unless said
            otherwise; a pair of atoms that meet through van der Waals forces has two sites of one atom each.
        assigned: Names of the numbers per term that no row states because they follow from the molecule, such as the
            factor of a pair separated by three bonds.
        formula: The energy as a person writes it, for tables and files.
    """

    name: str
    kind: str
    n_atoms: int
    coordinates: tuple[InternalCoordinate, ...]
    columns: tuple[Column, ...]
    energy: Callable[[Any, Any, Any], Any]
    borrowed: tuple[Borrowed, ...] = ()
    constants: tuple[str, ...] = ()
    sites: tuple[tuple[int, ...], ...] = ()
    assigned: tuple[str, ...] = ()
    formula: str = ""

    def __post_init__(self) -> None:
        if not self.sites:
            object.__setattr__(self, "sites", (tuple(range(self.n_atoms)),))

    @property
    def n_types(self) -> int:
        """Number of atom types that a row of it names."""
        return len(self.sites[0])

    @property
    def n_parameters(self) -> int:
        """Number of parameters of a term, own ones of every site and borrowed ones."""
        return len(self.sites) * len(self.columns) + len(self.borrowed)

    @property
    def n_constants(self) -> int:
        """Number of constants of a term."""
        return len(self.sites) * len(self.constants) + len(self.assigned)
