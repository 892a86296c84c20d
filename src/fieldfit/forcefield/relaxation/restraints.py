"""Restraints: harmonic terms that pull a molecule towards given values while it relaxes.

    Tether      k |x_a - x_ref,a|^2      for chosen atoms a
    Restraint   k (q - q_0)^2            for a distance, an angle or a dihedral q, the latter by the shorter way round

Their gradients and Hessians are exact, so that a restrained relaxation converges like a free one. Force constants have
no half, as everywhere in this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.relaxation.local_model import LocalModel
from fieldfit.forcefield.relaxation.targets import TargetSet, check_atoms, check_target
from fieldfit.typing import Matrix, Vector

STRAIGHT = 175.0
"""Angles above this [deg] have no harmonic restraint: their derivatives are singular at 180 degrees."""


@dataclass(frozen=True)
class Restraint:
    """A harmonic restraint on an internal coordinate.

    Args:
        kind: "distance", "angle" or "dihedral".
        atoms: The atoms that define it, counted from 0.
        target: Value it is pulled to [A or deg].
        k: Force constant [kcal/mol/A^2 or kcal/mol/rad^2].

    Raises:
        MoleculeError: Kind, atoms, target or constant cannot be used.

    Examples:
        >>> Restraint("dihedral", (0, 1, 2, 3), 60.0, 50.0)
        Restraint(kind='dihedral', atoms=(0, 1, 2, 3), target=60.0, k=50.0)
    """

    kind: str
    atoms: tuple[int, ...]
    target: float
    k: float

    def __post_init__(self) -> None:
        check_target(self)
        _check_constant(self.k, repr(self))
        if self.kind == "angle" and not 180.0 - STRAIGHT < self.target < STRAIGHT:
            raise MoleculeError(
                f"{self!r} pulls an angle to {self.target:g} deg, but next to 0 and 180 deg an angle has no smooth "
                "derivatives. Restrain the distance of its outer atoms instead."
            )


@dataclass(frozen=True, eq=False)
class Tether:
    """Harmonic tethers of atoms to points in space.

    Args:
        atoms: The atoms, counted from 0.
        positions: Where they are pulled to [A], shape (atoms, 3).
        k: Force constant of each atom [kcal/mol/A^2].

    Raises:
        MoleculeError: There is not one finite position per atom, an atom occurs twice, or the constant is not positive.
    """

    atoms: tuple[int, ...]
    positions: Matrix
    k: float

    def __post_init__(self) -> None:
        if np.shape(self.positions) != (len(self.atoms), 3) or not np.all(np.isfinite(self.positions)):
            raise MoleculeError(
                f"A tether of {len(self.atoms)} atoms has positions of shape {np.shape(self.positions)}, but each atom "
                "is pulled to one point in space. Give finite coordinates [A], one row per atom."
            )
        if len(set(self.atoms)) != len(self.atoms):
            raise MoleculeError(f"A tether names the atoms {self.atoms}, one of them twice. List each atom once.")
        _check_constant(self.k, f"A tether of the atoms {self.atoms}")


class RestraintEnergy:
    """The sum of several restraints in one molecule.

    Args:
        restraints: The restraints.
        n_atoms: Number of atoms of the molecule.

    Attributes:
        is_empty: Whether there are none.
        anchors: Points in space that atoms are tethered to [A], shape (tethered atoms, 3).

    Raises:
        MoleculeError: A restraint names an atom that does not exist.
    """

    def __init__(self, restraints: Sequence[Restraint | Tether], n_atoms: int) -> None:
        internal = [entry for entry in restraints if isinstance(entry, Restraint)]
        self._tethers = [entry for entry in restraints if isinstance(entry, Tether)]
        for tether in self._tethers:
            check_atoms(tether.atoms, n_atoms, "A tether")
        self.is_empty = not restraints
        self._targets = TargetSet(internal, n_atoms)
        self._k = np.array([entry.k for entry in internal])
        self.anchors = np.concatenate([np.zeros((0, 3)), *(tether.positions for tether in self._tethers)])

    def at(self, x: Matrix) -> Restrained:
        """Return energy, gradient and Hessian of the restraints at coordinates [A], shape (atoms, 3)."""
        found = self._targets.deviations(x)
        slopes = 2.0 * self._k * found.d
        energy = float(self._k @ found.d**2)
        gradient = found.J.T @ slopes
        hessian = found.J.T @ (2.0 * self._k[:, None] * found.J) + found.curvature(slopes)
        for tether in self._tethers:
            shift = (x[list(tether.atoms)] - tether.positions).ravel()
            rows = (3 * np.array(tether.atoms, dtype=int)[:, None] + np.arange(3)).ravel()
            energy += tether.k * float(shift @ shift)
            gradient[rows] += 2.0 * tether.k * shift
            hessian[rows, rows] += 2.0 * tether.k
        return Restrained(energy, gradient, hessian, energy)


class Restrained(NamedTuple):
    """A local model with restraints: sums, and the share of the restraints in the energy [kcal/mol]."""

    energy: float
    gradient: Vector
    hessian: Matrix
    restraint_energy: float


def restrained(local: Callable[[Matrix], LocalModel], restraints: RestraintEnergy) -> Callable[[Matrix], Restrained]:
    """Add restraints to a model.

    Args:
        local: Returns energy, gradient and Hessian at coordinates [A], shape (atoms, 3).
        restraints: The restraints.
    """

    def total(x: Matrix) -> Restrained:
        model = local(x)
        if restraints.is_empty:
            return Restrained(model.energy, model.gradient, model.hessian, 0.0)
        added = restraints.at(x)
        return Restrained(
            model.energy + added.energy, model.gradient + added.gradient, model.hessian + added.hessian, added.energy
        )

    return total


def _check_constant(k: float, what: str) -> None:
    if not (np.isfinite(k) and k > 0.0):
        raise MoleculeError(f"{what} has the force constant {k:g}, which pulls nowhere. Give a positive one.")
