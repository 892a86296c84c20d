"""Observations of one kind for one molecule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from fieldfit.errors import SettingsError
from fieldfit.forcefield.references import REFERENCES
from fieldfit.forcefield.weights import check_tolerance
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector

MOST_LISTED = 40
"""A message lists no more names than this."""

_KEYS = ("molecule", "category", "unit", "observations")


@dataclass(frozen=True)
class Observation:
    """One observation.

    Args:
        molecule: Name of the molecule.
        category: Kind of reference.
        label: Which observation of that kind it is.
        observed: Its value in `unit`.
        tolerance: Deviation that counts as one, in `unit`.
        unit: Unit of the kind.
    """

    molecule: str
    category: str
    label: str
    observed: float
    tolerance: float
    unit: str


@dataclass(frozen=True, eq=False)
class ReferenceGroup:
    """The observations of one kind for one molecule.

    Args:
        molecule: Name of the molecule.
        category: Kind of reference, a name in the table of references.
        labels: Which observation of the kind each one is.
        observed: Values in the unit of the kind, shape (observations,).
        tolerances: Deviations that count as one, in the same unit, shape (observations,).

    Raises:
        SettingsError: An unknown kind, numbers that do not fit the labels or are not finite, a tolerance that is not
            positive, or a label that is given twice.
    """

    molecule: str
    category: str
    labels: tuple[str, ...]
    observed: Vector
    tolerances: Vector

    def __post_init__(self) -> None:
        if self.category not in REFERENCES:
            raise SettingsError(unknown_name("reference", self.category, REFERENCES))
        object.__setattr__(self, "labels", tuple(self.labels))
        for name in ("observed", "tolerances"):
            array = np.array(getattr(self, name), dtype=float)
            if array.shape != (len(self.labels),):
                raise SettingsError(
                    f"{self.name}: {len(self.labels)} labels, but {name} of shape {array.shape}. Give one number per "
                    "label."
                )
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        self._check_numbers()

    def _check_numbers(self) -> None:
        if len(set(self.labels)) < len(self.labels):
            twice = next(label for place, label in enumerate(self.labels) if label in self.labels[:place])
            raise SettingsError(f"{self.name}: {twice!r} is observed twice. Keep one of the two.")
        for place in np.flatnonzero(~np.isfinite(self.observed))[:1]:
            raise SettingsError(
                f"{self.name}: {self.labels[place]!r} is {self.observed[place]}. Give a finite number, or leave it out."
            )
        for tolerance in self.tolerances[~((self.tolerances > 0.0) & np.isfinite(self.tolerances))][:1]:
            check_tolerance(self.category, float(tolerance))

    @property
    def name(self) -> str:
        """Molecule and kind, for messages."""
        return f"{self.molecule}, {self.category}"

    @property
    def unit(self) -> str:
        """Unit of observations and tolerances."""
        return REFERENCES[self.category].unit

    def part(self, mask: Bool[np.ndarray, " observations"]) -> ReferenceGroup:
        """Return a group of some of the observations."""
        labels = tuple(label for label, is_kept in zip(self.labels, mask, strict=True) if is_kept)
        return replace(self, labels=labels, observed=self.observed[mask], tolerances=self.tolerances[mask])

    def joined(self, other: ReferenceGroup) -> ReferenceGroup:
        """Return a group of the observations of both."""
        return replace(
            self,
            labels=(*self.labels, *other.labels),
            observed=np.concatenate([self.observed, other.observed]),
            tolerances=np.concatenate([self.tolerances, other.tolerances]),
        )

    def table(self) -> dict[str, Any]:
        """Return the group as plain lists and strings, for a file; `group_from_table` reads it back."""
        numbers = zip(self.labels, self.observed.tolist(), self.tolerances.tolist(), strict=True)
        return {
            "molecule": self.molecule,
            "category": self.category,
            "unit": self.unit,
            "observations": [list(entry) for entry in numbers],
        }


def group_from_table(table: Mapping[str, Any]) -> ReferenceGroup:
    """Make a group of what `ReferenceGroup.table` returns.

    Raises:
        SettingsError: An unknown entry or kind, another unit, or an observation that is none.
    """
    for key in table:
        if key not in _KEYS:
            raise SettingsError(unknown_name("entry of a group of references", key, _KEYS))
    missing = [key for key in ("molecule", "category", "observations") if key not in table]
    if missing:
        raise SettingsError(f"A group of references has no entry {missing[0]!r}. State it.")
    molecule, category, observations = (table[key] for key in ("molecule", "category", "observations"))
    if not isinstance(molecule, str):
        raise SettingsError(f"molecule = {molecule!r} is not the name of a molecule. Put it in quotation marks.")
    if category not in REFERENCES:
        raise SettingsError(unknown_name("reference", category, REFERENCES))
    unit = REFERENCES[category].unit
    if table.get("unit", unit) != unit:
        raise SettingsError(
            f"{molecule}, {category}: the unit is stated as {table['unit']!r}, but observations of this kind are in "
            f"{unit!r}. Convert the numbers."
        )
    for entry in observations:
        if len(entry) != 3 or not isinstance(entry[0], str) or not all(_is_number(number) for number in entry[1:]):
            raise SettingsError(
                f"{molecule}, {category}: an observation is {entry!r}. Give a label and two numbers: [label, value, "
                "tolerance]; in YAML a number with an exponent needs a point and a sign, 1.0e-3 and 1.0e+3."
            )
    numbers = np.array([entry[1:] for entry in observations], dtype=float).reshape(-1, 2)
    return ReferenceGroup(molecule, category, tuple(entry[0] for entry in observations), *numbers.T.copy())


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def unknown_observation(kind: str, label: str, known: Sequence[str]) -> str:
    """Write the message for a name that is not known, without a list that fills the screen."""
    if len(known) <= MOST_LISTED:
        return unknown_name(kind, label, known)
    hint = unknown_name(kind, label, known).partition(" Known: ")[0]
    return f"{hint} There are {len(known)}, from {known[0]!r} to {known[-1]!r}: print `references.table()`."
