"""Internal coordinates that are to have certain values, with derivatives: what restraints and constraints share."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.forms.form import DEGREE
from fieldfit.forcefield.geometry import COORDINATES
from fieldfit.precision import in_double_precision
from fieldfit.typing import Matrix, Vector


class Kind(NamedTuple):
    """A kind of coordinate that can be given a target: its unit's internal size, and the period if it has one."""

    unit: str
    internal: float
    period: float | None = None


KINDS = {
    "distance": Kind("A", 1.0),
    "angle": Kind("deg", DEGREE),
    "dihedral": Kind("deg", DEGREE, 360.0 * DEGREE),
}
"""Coordinates by their names in `geometry.COORDINATES`."""


@runtime_checkable
class Target(Protocol):
    """A coordinate of certain atoms and the value it is to have [A or deg]."""

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        ...

    @property
    def atoms(self) -> tuple[int, ...]:
        """Atoms that define it, counted from 0."""
        ...

    @property
    def target(self) -> float:
        """Its value [A or deg]."""
        ...


def check_target(target: Target) -> None:
    """Make sure that a target names a coordinate and as many different atoms as it has.

    Raises:
        MoleculeError: It does not.
    """
    if target.kind not in KINDS:
        raise MoleculeError(
            f"{target!r} is of kind {target.kind!r}, which cannot be held. Known kinds: {', '.join(KINDS)}."
        )
    wanted = COORDINATES[target.kind].n_atoms
    if len(target.atoms) != wanted or len(set(target.atoms)) != wanted:
        raise MoleculeError(
            f"{target!r} names the atoms {target.atoms}, but one {target.kind} has {wanted} different atoms. "
            "List each of them once."
        )
    if not np.isfinite(target.target):
        raise MoleculeError(f"{target!r} has a target that is not finite. Give a value in {KINDS[target.kind].unit}.")


def check_atoms(atoms: Iterable[int], n_atoms: int, what: str) -> None:
    """Make sure that atoms exist.

    Raises:
        MoleculeError: An index is too large or negative.
    """
    wrong = sorted(atom for atom in atoms if not 0 <= atom < n_atoms)
    if wrong:
        raise MoleculeError(
            f"{what} names atom {wrong[0]}, but the molecule has the atoms 0 to {n_atoms - 1}. Count atoms from 0."
        )


class _Group(NamedTuple):
    """Targets of one kind: their places among all, atoms, shape (m, a), and values, internal units, shape (m,)."""

    kind: str
    places: Int[np.ndarray, " m"]
    atoms: Int[np.ndarray, "m a"]
    values: Float[np.ndarray, " m"]


@dataclass(frozen=True, eq=False)
class Deviations:
    """How far coordinates are from their targets at one geometry.

    Args:
        d: Values minus targets [A or rad], shape (targets,).
        J: Their first derivatives, shape (targets, 3 atoms).
        parts: For targets of one kind their places, their Cartesian rows, shape (m, 3 a), and their second derivatives,
            shape (m, 3 a, 3 a).
    """

    d: Vector
    J: Matrix
    parts: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]

    def curvature(self, coefficients: Vector) -> Matrix:
        """Return sum_c coefficient_c C_c, shape (3 atoms, 3 atoms)."""
        total = np.zeros((self.J.shape[1], self.J.shape[1]))
        for places, rows, C in self.parts:
            np.add.at(total, (rows[:, :, None], rows[:, None, :]), coefficients[places][:, None, None] * C)
        return total


class TargetSet:
    """Several targets in one molecule.

    Args:
        targets: The targets.
        n_atoms: Number of atoms of the molecule.

    Raises:
        MoleculeError: A target names an atom that does not exist.
    """

    def __init__(self, targets: Sequence[Target], n_atoms: int) -> None:
        for target in targets:
            check_atoms(target.atoms, n_atoms, repr(target))
        self.size = len(targets)
        self._dof = 3 * n_atoms
        self._groups = tuple(
            _group(kind, [(place, target) for place, target in enumerate(targets) if target.kind == kind])
            for kind in KINDS
            if any(target.kind == kind for target in targets)
        )

    def deviations(self, x: Matrix) -> Deviations:
        """Compare the coordinates at x [A], shape (atoms, 3), with their targets."""
        d, J, parts = np.zeros(self.size), np.zeros((self.size, self._dof)), []
        for group in self._groups:
            count = len(group.places)
            # Padded to a power of two, so that few shapes are ever compiled.
            padded = np.resize(group.atoms, (1 << (count - 1).bit_length(), group.atoms.shape[1]))
            q, b, C = _derivatives(group.kind, x[padded])
            rows = (3 * group.atoms[:, :, None] + np.arange(3)).reshape(count, -1)
            d[group.places] = _wrapped(q[:count] - group.values, KINDS[group.kind].period)
            J[group.places[:, None], rows] = b[:count]
            parts.append((group.places, rows, C[:count]))
        return Deviations(d, J, tuple(parts))


def _group(kind: str, members: list[tuple[int, Target]]) -> _Group:
    return _Group(
        kind,
        np.array([place for place, _ in members]),
        np.array([target.atoms for _, target in members]),
        np.array([target.target * KINDS[kind].internal for _, target in members]),
    )


def _wrapped(differences: Vector, period: float | None) -> Vector:
    return differences if period is None else differences - period * np.round(differences / period)


@in_double_precision
@functools.partial(jax.jit, static_argnums=0)
def _derivatives(kind: str, points: Array) -> tuple[Array, Array, Array]:
    found = jax.vmap(COORDINATES[kind].derivatives)(points)
    return found.q, found.b, found.C
