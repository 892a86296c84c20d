"""Observations that a force field is fitted to: what was found, for which molecule, and how much a deviation counts.

A group holds the observations of one kind for one molecule, in the unit of the kind. Its labels say which observation
each one is ("C1-H3", "mode 7"), so that single ones can be left out, weighted or replaced by a measured value, and so
that a file of observations still fits the molecule when bonds or modes are listed in another order.

The score is sum ((predicted - observed) / tolerance)^2: a tolerance is the deviation that counts as one, and a weight
is its inverse. `normalized` divides the weights of each kind by the square root of how many observations it has, so
that every kind counts as much as a single observation and many small angles do not drown a few bonds.

The treatment of transition states belongs to the observations, because it decides what they are: C and C' change the
Hessian before anything is derived from it, D keeps the reaction coordinate; see `transition_states`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool

from fieldfit.errors import MoleculeError, SettingsError
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.reference_files import TRANSITION_STATE, read_table, write_groups
from fieldfit.forcefield.reference_group import Observation, ReferenceGroup, group_from_table, unknown_observation
from fieldfit.forcefield.references import REFERENCES, QMTarget
from fieldfit.forcefield.transition_states import ZERO_WEIGHT, check_method
from fieldfit.forcefield.weights import chosen_tolerances
from fieldfit.tables import write_table
from fieldfit.typing import FilePath

__all__ = ["Observation", "Patterns", "ReferenceData", "ReferenceGroup", "observe"]

Patterns: TypeAlias = str | Sequence[str]
"""One or several shell patterns; a name is itself before it is a pattern."""


@dataclass(frozen=True, eq=False)
class ReferenceData:
    """Everything that a force field is fitted to; never changed in place.

    Args:
        groups: Observations, at most one group per molecule and kind.
        transition_state: How reaction coordinates were treated, one of `transition_states.METHODS`.

    Raises:
        SettingsError: There is no observation, two groups are of one molecule and kind, or the method is unknown.

    Example:
        >>> from fieldfit.forcefield.reference_data import ReferenceData         # doctest: +SKIP
        >>> data = ReferenceData.from_molecules([molecule], {"frequency": 10.0, "bond_length": None})  # doctest: +SKIP
        >>> data = data.without(categories="frequency", labels=["mode 1", "mode 2"])  # doctest: +SKIP
        >>> data.write("references.toml")                                        # doctest: +SKIP
    """

    groups: tuple[ReferenceGroup, ...]
    transition_state: str = ZERO_WEIGHT

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(group for group in self.groups if group.labels))
        check_method(self.transition_state)
        if not self.groups:
            raise SettingsError(f"No observation is left, so there is nothing to fit. Kinds: {', '.join(REFERENCES)}.")
        seen: set[tuple[str, str]] = set()
        for group in self.groups:
            if (group.molecule, group.category) in seen:
                raise SettingsError(f"Two groups are of {group.name}. Join them into one: `first.joined(second)`.")
            seen.add((group.molecule, group.category))

    @staticmethod
    def from_molecules(
        molecules: Sequence[Molecule],
        references: Mapping[str, float | None] | Iterable[str] | None = None,
        *,
        weights: str = "default",
        transition_state: str = ZERO_WEIGHT,
        invert_ts_curvature: bool = False,
        normalize: bool = False,
    ) -> ReferenceData:
        """List all observations of some kinds for some molecules.

        Args:
            molecules: Molecules with QM Hessians.
            references: Kind of reference to tolerance in its unit, None for that of the set of weights; or the kinds
                alone; default: `weights.KINDS` of the set.
            weights: Set of tolerances, "default" or "q2mm".
            transition_state: How reaction coordinates are treated, one of `transition_states.METHODS`.
            invert_ts_curvature: Short for `transition_state="C"`.
            normalize: Whether every kind shall count as much as one observation; see `normalized`.

        Raises:
            SettingsError: An unknown kind, set of weights or method, a tolerance that is not positive, two methods at
                once, or no observation at all.
            MoleculeError: A molecule has no Hessian, two have one name, or there is none.
        """
        method = _one_method(transition_state, invert_ts_curvature)
        tolerances = chosen_tolerances(references, weights)
        names = [molecule.name for molecule in molecules]
        if not names or len(set(names)) < len(names):
            raise MoleculeError(
                f"The molecules are called {', '.join(names) or 'nothing, because there is none'}. Give at least one, "
                "each with a name of its own: `read(path, name=...)`."
            )
        groups = [
            group
            for molecule in molecules
            for group in observe(QMTarget(molecule, transition_state=method), tolerances)
        ]
        data = ReferenceData(tuple(groups), method)
        return data.normalized() if normalize else data

    @staticmethod
    def from_molecule(
        molecule: Molecule, references: Mapping[str, float | None] | Iterable[str] | None = None, **options: Any
    ) -> ReferenceData:
        """List all observations of some kinds for one molecule; options as for `from_molecules`."""
        return ReferenceData.from_molecules([molecule], references, **options)

    @property
    def molecules(self) -> tuple[str, ...]:
        """Names of the molecules, in order."""
        return tuple(dict.fromkeys(group.molecule for group in self.groups))

    @property
    def categories(self) -> tuple[str, ...]:
        """Kinds of reference, in order."""
        return tuple(dict.fromkeys(group.category for group in self.groups))

    def group(self, molecule: str, category: str) -> ReferenceGroup | None:
        """Return the observations of one kind for one molecule; None if there are none."""
        return next((group for group in self.groups if (group.molecule, group.category) == (molecule, category)), None)

    def select(self, *, molecules: Patterns = "*", categories: Patterns = "*", labels: Patterns = "*") -> ReferenceData:
        """Return the observations that match on all three counts.

        Args:
            molecules: Shell patterns of names of molecules.
            categories: Shell patterns of kinds.
            labels: Shell patterns of labels.

        Raises:
            SettingsError: A pattern matches nothing.
        """
        masks = self._masks(molecules, categories, labels)
        return self._with_groups(group.part(mask) for group, mask in zip(self.groups, masks, strict=True))

    def without(
        self, *, molecules: Patterns = "*", categories: Patterns = "*", labels: Patterns = "*"
    ) -> ReferenceData:
        """Return all observations but those that match on all three counts; arguments as for `select`.

        Raises:
            SettingsError: A pattern matches nothing, or nothing is left.
        """
        masks = self._masks(molecules, categories, labels)
        return self._with_groups(group.part(~mask) for group, mask in zip(self.groups, masks, strict=True))

    def with_tolerance(
        self, tolerance: float, *, molecules: Patterns = "*", categories: Patterns = "*", labels: Patterns = "*"
    ) -> ReferenceData:
        """Return a copy with another tolerance of the observations that match.

        Args:
            tolerance: Deviation that counts as one, in the unit of the kinds, which must be the same for all of them.
            molecules: Shell patterns of names of molecules.
            categories: Shell patterns of kinds.
            labels: Shell patterns of labels.

        Raises:
            SettingsError: A pattern matches nothing, or the kinds have several units.
        """
        masks = self._masks(molecules, categories, labels)
        changed = [group for group, mask in zip(self.groups, masks, strict=True) if np.any(mask)]
        units = list(dict.fromkeys(group.unit for group in changed))
        if len(units) > 1:
            raise SettingsError(
                f"One tolerance, {tolerance:g}, is given for observations in {' and '.join(units)}: "
                f"{', '.join(dict.fromkeys(group.category for group in changed))}. Choose kinds of one unit: "
                "categories=..."
            )
        return self._with_groups(
            replace(group, tolerances=np.where(mask, tolerance, group.tolerances))
            for group, mask in zip(self.groups, masks, strict=True)
        )

    def with_weight(
        self, weight: float, *, molecules: Patterns = "*", categories: Patterns = "*", labels: Patterns = "*"
    ) -> ReferenceData:
        """Return a copy with another weight, the inverse of a tolerance; arguments as for `with_tolerance`."""
        if not (weight > 0.0 and np.isfinite(weight)):
            raise SettingsError(
                f"The weight is {weight:g}. Give a positive number; take observations that shall not count out with "
                "`without`."
            )
        return self.with_tolerance(1.0 / weight, molecules=molecules, categories=categories, labels=labels)

    def normalized(self) -> ReferenceData:
        """Return a copy in which every kind counts as much as one observation of it did.

        The tolerances of a kind are multiplied by the square root of the number of its observations in all molecules.
        """
        counts = dict.fromkeys(self.categories, 0)
        for group in self.groups:
            counts[group.category] += len(group.labels)
        return self._with_groups(
            replace(group, tolerances=group.tolerances * np.sqrt(counts[group.category])) for group in self.groups
        )

    def __add__(self, other: ReferenceData) -> ReferenceData:
        if self.transition_state != other.transition_state:
            raise SettingsError(
                f"References made by the methods {self.transition_state!r} and {other.transition_state!r} for "
                "transition states cannot be joined: they compare with different Hessians. Make both by one method."
            )
        joined = {(group.molecule, group.category): group for group in self.groups}
        for group in other.groups:
            key = (group.molecule, group.category)
            joined[key] = joined[key].joined(group) if key in joined else group
        return self._with_groups(joined.values())

    def __len__(self) -> int:
        return sum(len(group.labels) for group in self.groups)

    def __iter__(self) -> Iterator[Observation]:
        for group in self.groups:
            for label, observed, tolerance in zip(group.labels, group.observed, group.tolerances, strict=True):
                yield Observation(group.molecule, group.category, label, float(observed), float(tolerance), group.unit)

    def __repr__(self) -> str:
        return (
            f"ReferenceData({len(self)} observations of {', '.join(self.categories)}; "
            f"{len(self.molecules)} molecule{'s' if len(self.molecules) > 1 else ''})"
        )

    def __str__(self) -> str:
        rows = [["kind", "molecules", "observations", "tolerance", "unit"]]
        for category in self.categories:
            groups = [group for group in self.groups if group.category == category]
            tolerances = np.concatenate([group.tolerances for group in groups])
            ends = [f"{edge:.4g}" for edge in (np.min(tolerances), np.max(tolerances))]
            count = str(sum(len(group.labels) for group in groups))
            rows.append([category, str(len(groups)), count, " to ".join(dict.fromkeys(ends)), groups[0].unit])
        return f"{write_table(rows)}\ntransition states: {self.transition_state}"

    def table(self, *, markdown: bool = False) -> str:
        """Write all observations as a table."""
        rows = [["molecule", "kind", "observation", "value", "tolerance", "unit"]]
        rows += [
            [entry.molecule, entry.category, entry.label, f"{entry.observed:.6g}", f"{entry.tolerance:.4g}", entry.unit]
            for entry in self
        ]
        return write_table(rows, markdown=markdown)

    def write(self, path: FilePath) -> None:
        """Write everything to a file that `read` reads back bit by bit: .toml, or .yaml and .yml with PyYAML.

        Raises:
            SettingsError: The ending belongs to neither, or PyYAML is not installed.
            FileFormatError: The file cannot be written.
        """
        write_groups(path, {TRANSITION_STATE: self.transition_state}, [group.table() for group in self.groups])

    @staticmethod
    def read(path: FilePath) -> ReferenceData:
        """Read references from a file that `write`, or a person, wrote.

        Raises:
            SettingsError: The ending belongs to neither format, or PyYAML is not installed.
            FileFormatError: The file is missing, or lacks something or holds something unknown.
        """
        return read_table(path, _from_table)

    def _masks(
        self, molecules: Patterns, categories: Patterns, labels: Patterns
    ) -> list[Bool[np.ndarray, " observations"]]:
        """Return which observations of each group match."""
        chosen_molecules = _matching(molecules, self.molecules, "molecule")
        chosen_categories = _matching(categories, self.categories, "kind of reference")
        is_chosen = [
            group.molecule in chosen_molecules and group.category in chosen_categories for group in self.groups
        ]
        known = dict.fromkeys(
            label for group, chosen in zip(self.groups, is_chosen, strict=True) if chosen for label in group.labels
        )
        chosen_labels = _matching(labels, tuple(known), "observation")
        return [
            np.array([chosen and label in chosen_labels for label in group.labels], dtype=bool)
            for group, chosen in zip(self.groups, is_chosen, strict=True)
        ]

    def _with_groups(self, groups: Iterable[ReferenceGroup]) -> ReferenceData:
        return ReferenceData(tuple(groups), self.transition_state)


def observe(target: QMTarget, tolerances: Mapping[str, float]) -> list[ReferenceGroup]:
    """List all observations of some kinds for one molecule; kinds of which it has none are left out."""
    groups = []
    for category, tolerance in tolerances.items():
        reference = REFERENCES[category](target)
        if reference.labels:
            spread = np.full(len(reference.labels), tolerance)
            groups.append(ReferenceGroup(target.molecule.name, category, reference.labels, reference.observed, spread))
    return groups


def _one_method(transition_state: str, invert_ts_curvature: bool) -> str:
    if not invert_ts_curvature:
        return transition_state
    if transition_state not in (ZERO_WEIGHT, "C"):
        raise SettingsError(
            f"transition_state = {transition_state!r} and invert_ts_curvature, which stands for 'C', are both given. "
            "Give one of them."
        )
    return "C"


def _matching(patterns: Patterns, names: Sequence[str], kind: str) -> set[str]:
    """Return the names that patterns match."""
    found: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matches = {pattern} if pattern in names else {name for name in names if fnmatchcase(name, pattern)}
        if not matches:
            raise SettingsError(unknown_observation(kind, pattern, names))
        found |= matches
    return found


def _from_table(table: Mapping[str, Any]) -> ReferenceData:
    """Make references of the contents of a file."""
    groups = tuple(group_from_table(entry) for entry in table["groups"])
    return ReferenceData(groups, table.get(TRANSITION_STATE, ZERO_WEIGHT))
