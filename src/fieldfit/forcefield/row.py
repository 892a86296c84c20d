"""One row of a force field: a functional form on a tuple of atom types, with its values in the units a user sees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.forms import FORMS, Form

KIND_ORDER = (
    "bond",
    "angle",
    "linear-bend",
    "torsion",
    "out-of-plane",
    "improper",
    "stretch-bend",
    "stretch-stretch",
    "bend-bend",
    "torsion-stretch",
    "vdw",
    "vdw-pair",
    "urey-bradley",
    "dipole",
    "charge",
)
"""Kinds of interaction in the order of their parameters; those of forms from elsewhere follow."""

NONBONDED_KINDS = ("vdw", "vdw-pair", "charge", "dipole")
"""Kinds of interaction between pairs of atoms, or bonds, that are not neighbours."""


@dataclass(frozen=True)
class Row:
    """One row of a force field: a form on a tuple of atom types.

    Args:
        form: Name in the table of forms.
        types: Atom types in canonical order (see `canonical`).
        values: Column name to value, in the column's own unit.
        constants: Name to value of the numbers that are never fitted (periodicity; phase in degrees).
        tag: What tells it from other rows of the same form and types, such as its line in the file that it comes from.
            Rows with a tag keep the order of their types and act only where a molecule names them (see
            `Molecule.assignments`).

    Raises:
        ForceFieldError: The columns or constants are not those of the form, a number is not finite, or the types are
            too many, too few or in another order.
    """

    form: str
    types: tuple[str, ...]
    values: Mapping[str, float]
    constants: Mapping[str, float] = field(default_factory=dict)
    tag: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", tuple(self.types))
        wanted = tuple(column.name for column in self.definition.columns)
        if tuple(self.values) != wanted or tuple(self.constants) != self.definition.constants:
            raise ForceFieldError(
                f"Row {self.form} {'-'.join(self.types)} has the values {tuple(self.values)} and constants "
                f"{tuple(self.constants)}, but the form has {wanted} and {self.definition.constants}. "
                "Give exactly those, in this order."
            )
        for name, value in {**self.values, **self.constants}.items():
            if not math.isfinite(value):
                raise ForceFieldError(
                    f"Row {self.label} has {name} = {value}, which is not finite. Give a finite number."
                )
        if self.kind in ("vdw", "vdw-pair"):
            for name, value in self.values.items():
                if value < 0.0:
                    raise ForceFieldError(
                        f"Row {self.label} has {name} = {value}, but radii, distances and depths are not negative. "
                        "Give a number that is 0 or positive."
                    )
        if len(self.types) != self.definition.n_types:
            raise ForceFieldError(
                f"Row {self.form} names {len(self.types)} atom types, but the form has {self.definition.n_types}."
            )
        ordered = canonical(self.kind, self.types)
        if not self.tag and self.types != ordered:
            raise ForceFieldError(
                f"Row {self.form} names its atom types as {'-'.join(self.types)}, but of equivalent orders one is used "
                f"throughout. Write {'-'.join(ordered)}."
            )

    @property
    def definition(self) -> Form:
        """The functional form."""
        return FORMS[self.form]

    @property
    def kind(self) -> str:
        """Kind of interaction."""
        return self.definition.kind

    @property
    def label(self) -> str:
        """Name of the row, which is the prefix of its parameters: "bond.C-H", with a tag "bond.C3-H1#81"."""
        periodicity = f".{self.constants['periodicity']:g}" if "periodicity" in self.constants else ""
        return f"{self.kind}.{'-'.join(self.types)}{f'#{self.tag}' if self.tag else ''}{periodicity}"

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of its parameters, in the order of the columns."""
        return tuple(f"{self.label}.{column.name}" for column in self.definition.columns)


def canonical(kind: str, types: Iterable[str]) -> tuple[str, ...]:
    """Return atom types in the order in which rows name them.

    Bonds, angles and torsions read the same from both ends: the smaller one in alphabetical order is taken. The
    neighbours of an out-of-plane atom, which comes first, are sorted. The order of an improper torsion is kept, since
    the place of its central atom tells conventions apart.
    """
    forward = tuple(types)
    if kind == "improper":
        return forward
    if kind == "out-of-plane":
        return (forward[0], *sorted(forward[1:]))
    return min(forward, forward[::-1])
