"""The contract of a reference: observations of one molecule and what a force field predicts for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from fieldfit.forcefield.references.model import MoleculeEvaluation
from fieldfit.typing import Matrix, Vector


class AbstractReference(ABC):
    """Observations of one kind for one molecule; made from a `MoleculeModel`.

    Attributes:
        unit: Unit of observations and predictions.
        tolerance: Default deviation that counts as one, in that unit.
        needs_minimum: Whether predictions are made at the minimum of the force field, so that it has to be relaxed.
        is_always_reported: Whether reports state it where it is not fitted, too.
        labels: What each observation is, m of them.
        observed: Observations, shape (m,).
    """

    unit: ClassVar[str]
    tolerance: ClassVar[float]
    needs_minimum: ClassVar[bool]
    is_always_reported: ClassVar[bool] = True
    labels: tuple[str, ...]
    observed: Vector

    @abstractmethod
    def predicted(self, evaluation: MoleculeEvaluation) -> Vector:
        """Return what the force field predicts, shape (m,)."""

    @abstractmethod
    def jacobian(self, evaluation: MoleculeEvaluation) -> Matrix:
        """Return the derivatives of the predictions with respect to the parameters in internal units, shape (m, p)."""
