"""References of ensembles: relative energies, gradients over conformers, and relaxed torsion scans.

Energies of QM and of a force field have no common zero. Either the lowest QM geometry is the zero of both (`zero =
"lowest"`), which gives its own errors to all others, or the zero is free: the constant c that makes

    sum_i (E_i + c - Q_i)^2

smallest, c = mean(Q) - mean(E), is put in its place. That is variable projection of a parameter that the residuals are
linear in: residuals and Jacobian are those of E - mean(E), exactly, and c does not appear among the parameters. It
presumes that all energies of an ensemble have one tolerance, as they have here.

References:
    Golub, Pereyra (1973), doi:10.1137/0710036: variable projection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.ensemble import Ensemble
from fieldfit.forcefield.references.ensemble_model import EnsembleEvaluation
from fieldfit.registry import Registry
from fieldfit.typing import Matrix, Vector

ENSEMBLE_REFERENCES = Registry(
    "reference of ensembles",
    {
        "relative_energy": "fieldfit.forcefield.references.ensembles:RelativeEnergy",
        "conformer_gradient": "fieldfit.forcefield.references.ensembles:ConformerGradient",
        "relaxed_scan": "fieldfit.forcefield.references.ensembles:RelaxedScan",
    },
    group="fieldfit.ensemble_references",
)
"""Kinds of references of ensembles by name."""


def default_kinds(ensemble: Ensemble) -> tuple[str, ...]:
    """Return what an ensemble is fitted to if nothing else is said.

    Energies after relaxation where there are energies: at the QM geometries a force field has strain, of bonds and
    angles that differ a little from its own, which hides what torsions do. Otherwise gradients.

    Raises:
        MoleculeError: The ensemble has neither.
    """
    if ensemble.energies is None and ensemble.gradients is None:
        raise MoleculeError(
            f"{ensemble.name}: neither QM energies nor gradients are given, so there is nothing to fit. Give one of "
            "them, or leave the ensemble out."
        )
    return ("conformer_gradient",) if ensemble.energies is None else ("relaxed_scan",)


class AbstractEnsembleReference(ABC):
    """Observations of one kind for one ensemble; made from an `Ensemble`.

    Attributes:
        unit: Unit of observations and predictions.
        tolerance: Default deviation that counts as one, in that unit.
        labels: What each observation is, m of them.
        observed: Observations, shape (m,).
    """

    unit: ClassVar[str]
    tolerance: ClassVar[float]
    labels: tuple[str, ...]
    observed: Vector

    @abstractmethod
    def predicted(self, evaluation: EnsembleEvaluation) -> Vector:
        """Return what the force field predicts, shape (m,)."""

    @abstractmethod
    def jacobian(self, evaluation: EnsembleEvaluation) -> Matrix:
        """Return the derivatives of the predictions with respect to the parameters in internal units, shape (m, p)."""


class AbstractEnergies(AbstractEnsembleReference):
    """Relative energies of the geometries of an ensemble.

    Raises:
        MoleculeError: The ensemble has no energies, or only one geometry.
    """

    unit: ClassVar[str] = "kcal/mol"
    tolerance: ClassVar[float] = 0.5

    def __init__(self, ensemble: Ensemble) -> None:
        self._zero = _Zero(ensemble)
        self.labels = tuple(ensemble.label(number) for number in self._zero.kept)
        self.observed = self._zero.observed

    def predicted(self, evaluation: EnsembleEvaluation) -> Vector:
        return self._zero.relative(self.energies(evaluation))

    def jacobian(self, evaluation: EnsembleEvaluation) -> Matrix:
        return self._zero.differences(self.slopes(evaluation))

    @abstractmethod
    def energies(self, evaluation: EnsembleEvaluation) -> Vector:
        """Return the energies of all geometries, whatever their zero [kcal/mol], shape (geometries,)."""

    @abstractmethod
    def slopes(self, evaluation: EnsembleEvaluation) -> Matrix:
        """Return their derivatives with respect to the parameters, shape (geometries, columns)."""


class RelativeEnergy(AbstractEnergies):
    """Relative energies at the QM geometries, which do not move."""

    def energies(self, evaluation: EnsembleEvaluation) -> Vector:
        return evaluation.energies

    def slopes(self, evaluation: EnsembleEvaluation) -> Matrix:
        return evaluation.energy_jacobian


class RelaxedScan(AbstractEnergies):
    """Relative energies of geometries that relax in the force field, what is held at its QM values.

    With nothing held these are the energies of the force field's own conformers. What happens where a geometry does not
    relax says `ensemble_model`.
    """

    def energies(self, evaluation: EnsembleEvaluation) -> Vector:
        return evaluation.relaxed_energies

    def slopes(self, evaluation: EnsembleEvaluation) -> Matrix:
        return evaluation.relaxed_energy_jacobian


class ConformerGradient(AbstractEnsembleReference):
    """Cartesian gradients at the QM geometries, component by component; the negative forces.

    Raises:
        MoleculeError: The ensemble has no gradients.
    """

    unit: ClassVar[str] = "kcal/mol/A"
    # That of `gradient`: between the forces that move a stiff bond by 0.01 A and bend an angle by 0.5 degrees.
    tolerance: ClassVar[float] = 2.0

    def __init__(self, ensemble: Ensemble) -> None:
        symbols = ensemble.molecule.record.symbols
        axes = [f"{symbol}{number} {axis}" for number, symbol in enumerate(symbols, 1) for axis in "xyz"]
        self.labels = tuple(f"{ensemble.label(k)}, {axis}" for k in range(ensemble.n_geometries) for axis in axes)
        self.observed = ensemble.known_gradients.ravel()

    def predicted(self, evaluation: EnsembleEvaluation) -> Vector:
        return evaluation.gradients.ravel()

    def jacobian(self, evaluation: EnsembleEvaluation) -> Matrix:
        return evaluation.gradient_jacobian.reshape(self.observed.size, -1)


class _Zero:
    """The zero of the energies of an ensemble.

    Args:
        ensemble: Its energies are known.

    Attributes:
        kept: Geometries that are observed, by number: with the zero at the lowest one, all others.
        observed: QM energies relative to the lowest one [kcal/mol], shape (m,).
    """

    def __init__(self, ensemble: Ensemble) -> None:
        energies = ensemble.known_energies
        self._is_free = ensemble.zero == "free"
        self._lowest = int(np.argmin(energies))
        every = np.arange(len(energies))
        kept = every if self._is_free else every[every != self._lowest]
        self.kept: list[int] = kept.tolist()
        self.observed = energies[self.kept] - energies[self._lowest]

    def differences(self, values: np.ndarray) -> np.ndarray:
        """Return what remains of values, shape (geometries, ...), when their zero is taken out, shape (m, ...)."""
        if self._is_free:
            return values - values.mean(axis=0)
        return values[self.kept] - values[self._lowest]

    def relative(self, energies: Vector) -> Vector:
        """Return energies of the force field on the scale of the observed ones [kcal/mol], shape (m,)."""
        return self.differences(energies) + (self.observed.mean() if self._is_free else 0.0)
