"""References that compare the geometry at the minimum of the force field with the QM geometry.

Derivatives follow the minimum: dq/dp = b dx/dp.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fieldfit.forcefield.engines.jax_programs import internal_values
from fieldfit.forcefield.forms.form import DEGREE
from fieldfit.forcefield.references.model import MoleculeEvaluation, QMTarget
from fieldfit.forcefield.references.reference import AbstractReference
from fieldfit.typing import Matrix, Vector


class BondLength(AbstractReference):
    """Lengths of all bonds at the minimum of the force field."""

    unit: ClassVar[str] = "A"
    tolerance: ClassVar[float] = 0.01
    needs_minimum: ClassVar[bool] = True

    def __init__(self, target: QMTarget) -> None:
        self._atoms = np.array(target.internal_coordinates.bonds, dtype=int).reshape(-1, 2)
        self.labels = atom_labels(target, self._atoms)
        self.observed = internal_values("distance", target.molecule.record.coordinates, self._atoms)[0]

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        return evaluation.measure("distance", self._atoms)[0]

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        return evaluation.measure("distance", self._atoms)[1] @ evaluation.response


class BondAngle(AbstractReference):
    """All bent bond angles at the minimum of the force field; linear ones have no slope and are left out."""

    unit: ClassVar[str] = "deg"
    tolerance: ClassVar[float] = 0.5
    needs_minimum: ClassVar[bool] = True

    def __init__(self, target: QMTarget) -> None:
        self._atoms = np.array(target.internal_coordinates.angles, dtype=int).reshape(-1, 3)
        self.labels = atom_labels(target, self._atoms)
        self.observed = internal_values("angle", target.molecule.record.coordinates, self._atoms)[0] / DEGREE

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        return evaluation.measure("angle", self._atoms)[0] / DEGREE

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        return evaluation.measure("angle", self._atoms)[1] @ evaluation.response / DEGREE


class Torsion(AbstractReference):
    """All proper torsions at the minimum of the force field; those with a linear angle at one end are left out.

    A torsion is known up to full turns: of its values the one nearest to the QM value is predicted, so that residuals
    stay continuous where the angle passes 180 degrees. They lie in [-180, 180) and jump half a turn from the QM value
    only.
    """

    unit: ClassVar[str] = "deg"
    tolerance: ClassVar[float] = 1.0
    needs_minimum: ClassVar[bool] = True

    def __init__(self, target: QMTarget) -> None:
        self._atoms = np.array(target.internal_coordinates.torsions, dtype=int).reshape(-1, 4)
        self.labels = atom_labels(target, self._atoms)
        self.observed = internal_values("dihedral", target.molecule.record.coordinates, self._atoms)[0] / DEGREE

    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        angles = evaluation.measure("dihedral", self._atoms)[0] / DEGREE
        return nearest_turn(angles, self.observed)

    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        return evaluation.measure("dihedral", self._atoms)[1] @ evaluation.response / DEGREE


def nearest_turn(angles: Vector, near: Vector) -> Vector:
    """Add full turns to angles until each is within half a turn of another angle.

    Args:
        angles: Angles [deg], shape (m,).
        near: Where they shall lie [deg], shape (m,).

    Returns:
        Angles [deg] in [near - 180, near + 180), shape (m,).
    """
    # Subtracting whole turns keeps every digit of angles that lie near already; (angles - near) % 360 would not.
    return angles - 360.0 * np.floor((angles - near + 180.0) / 360.0)


def atom_labels(target: QMTarget, atoms: np.ndarray) -> tuple[str, ...]:
    """Name tuples of atoms by type and number, counted from 1: "C1-H3"."""
    symbols = target.molecule.record.symbols
    return tuple("-".join(f"{symbols[atom]}{atom + 1}" for atom in entry) for entry in atoms)
