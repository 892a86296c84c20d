"""An ensemble in a fit: what never changes, what a set of parameters makes of it, and what the next one starts from.

Each geometry relaxes from where it ended at the last accepted point, with what is held at its QM value; if that has no
result that counts, once more from the QM geometry. A relaxation counts if it ends where the energy falls in no
direction, near the QM geometry and with the molecule's bonds. A geometry that is flat in some direction, as a methyl
group without a torsional constant is, has an energy all the same.

When a geometry does not relax
------------------------------
If the relaxation of one geometry does not count, all energies of the ensemble are those at the QM geometries: they
exist for all parameters, are smooth, and have one meaning for all geometries. Parameters that reproduce them are where
relaxations start to work. Such an ensemble is *unrelaxed*, and stays so during trial steps; when a point is accepted,
its relaxations are tried again, and after `MOST_FAILURES` failures no more. What is unrelaxed at the end is reported by
name.

References:
    Samuelson (1947), Foundations of Economic Analysis, chapter 3: the envelope theorem, by which the energy of a
        minimum changes with a parameter as if the geometry stayed where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from fieldfit.errors import EvaluationError
from fieldfit.forcefield.engines.energy_slopes import energies, energy_slopes
from fieldfit.forcefield.engines.engine import AbstractSystem
from fieldfit.forcefield.engines.evaluated_geometry import fix_geometry
from fieldfit.forcefield.ensemble import Ensemble
from fieldfit.forcefield.references.model import MOST_FAILURES, News
from fieldfit.forcefield.relaxation import GRADIENT_TOLERANCE, RelaxedGeometry, relax
from fieldfit.typing import Matrix, Vector

STATIONARY = ("minimum", "flat")
"""How a relaxation may end."""


@dataclass(frozen=True, eq=False)
class EnsembleState:
    """Where the next evaluation of an ensemble starts.

    Args:
        coordinates: Starts of the relaxations [A], shape (geometries, atoms, 3).
        n_failures: Number of points so far at which relaxations failed.
        is_unrelaxed: Whether energies are those at the QM geometries.
    """

    coordinates: Float[np.ndarray, "geometries atoms 3"]
    n_failures: int = 0
    is_unrelaxed: bool = False


class EnsembleModel:
    """An ensemble with the system of its molecule.

    Args:
        ensemble: The geometries.
        system: The terms of its molecule.
    """

    def __init__(self, ensemble: Ensemble, system: AbstractSystem) -> None:
        self.ensemble = ensemble
        self.system = system

    @cached_property
    def qm_geometries(self) -> tuple[Any, ...]:
        """The system at every QM geometry: each a `FixedGeometry` or an `EvaluatedGeometry`."""
        return tuple(fix_geometry(self.system, x) for x in self.ensemble.coordinates)

    @property
    def initial_state(self) -> EnsembleState:
        """Start at the QM geometries."""
        return EnsembleState(self.ensemble.coordinates)


class EnsembleEvaluation:
    """One ensemble at one set of parameters.

    Args:
        model: The ensemble.
        p: Parameters in internal units, shape (parameters,).
        state: Where relaxations start from.
        columns: Parameters that derivatives are wanted for, by index; None: all.
    """

    def __init__(
        self,
        model: EnsembleModel,
        p: Vector,
        state: EnsembleState,
        columns: Int[np.ndarray, " columns"] | None = None,
    ) -> None:
        self.model = model
        self.p = p
        self._state = state
        self._columns = columns

    @cached_property
    def energies(self) -> Vector:
        """Energies at the QM geometries [kcal/mol], shape (geometries,)."""
        return energies(self.model.system, self.model.ensemble.coordinates, self.p)

    @cached_property
    def energy_jacobian(self) -> Matrix:
        """Their derivatives with respect to the parameters, shape (geometries, columns)."""
        return self._slopes(self.model.ensemble.coordinates)

    @cached_property
    def gradients(self) -> Float[np.ndarray, "geometries dof"]:
        """Gradients at the QM geometries [kcal/mol/A]."""
        return np.array([self.model.system.gradient(x, self.p) for x in self.model.ensemble.coordinates])

    @cached_property
    def gradient_jacobian(self) -> Float[np.ndarray, "geometries dof columns"]:
        """Their derivatives with respect to the parameters."""
        geometries = self.model.qm_geometries
        return np.array([entry.gradient_jacobian(entry.term_vector(self.p, self._columns)) for entry in geometries])

    @property
    def relaxed(self) -> tuple[RelaxedGeometry, ...]:
        """Every geometry relaxed in the force field, with what is held at its QM value.

        Raises:
            EvaluationError: A relaxation does not count.
        """
        if self.trouble:
            raise EvaluationError(self.trouble)
        return self._ends

    @cached_property
    def trouble(self) -> str:
        """Why not all relaxations have a result that counts; empty if they have."""
        return next(filter(None, map(self._why_not, range(len(self._ends)), self._ends)), "")

    @cached_property
    def is_unrelaxed(self) -> bool:
        """Whether energies are those at the QM geometries."""
        return self._state.is_unrelaxed or bool(self.trouble)

    @cached_property
    def relaxed_energies(self) -> Vector:
        """Energies after relaxation [kcal/mol], or before if the ensemble is unrelaxed, shape (geometries,)."""
        return self.energies if self.is_unrelaxed else np.array([found.energy for found in self.relaxed])

    @cached_property
    def relaxed_energy_jacobian(self) -> Matrix:
        """Their derivatives with respect to the parameters, shape (geometries, columns).

        On the surface on which what is held has its values the energy is stationary, and the surface does not depend
        on the parameters: that the geometries move makes no difference to first order.
        """
        return self.energy_jacobian if self.is_unrelaxed else self._slopes(self._relaxed_coordinates)

    @property
    def displacements(self) -> Vector:
        """How far relaxation leads from the QM geometries: root mean squares [A], shape (geometries,)."""
        return np.array([self._displacement(number, found) for number, found in enumerate(self._ends)])

    def next_state(self) -> EnsembleState:
        """Return where to start from if this evaluation is accepted."""
        if "is_unrelaxed" not in self.__dict__:
            return self._state
        old = self._state
        if not self.is_unrelaxed:
            return replace(old, coordinates=self._relaxed_coordinates)
        failed = EnsembleState(self.model.ensemble.coordinates, old.n_failures, is_unrelaxed=True)
        if not old.is_unrelaxed:
            return replace(failed, n_failures=old.n_failures + 1)
        return failed if old.n_failures >= MOST_FAILURES else replace(failed, is_unrelaxed=bool(self.trouble))

    def news(self, following: EnsembleState) -> News:
        """Say what changes when this evaluation is accepted.

        Args:
            following: What `next_state` returned.
        """
        was_unrelaxed = self._state.is_unrelaxed
        if was_unrelaxed and not following.is_unrelaxed:
            return News(f"{self.model.ensemble.name} relaxes again", is_stale=True)
        if following.is_unrelaxed and not was_unrelaxed:
            return News(f"{self.trouble}: energies of {self.model.ensemble.name} are taken at the QM geometries")
        return News()

    def _slopes(self, coordinates: Float[np.ndarray, "geometries atoms 3"]) -> Matrix:
        found = energy_slopes(self.model.system, coordinates, self.p)
        return found if self._columns is None else found[:, self._columns]

    @property
    def _relaxed_coordinates(self) -> Float[np.ndarray, "geometries atoms 3"]:
        return np.array([found.x for found in self.relaxed])

    @cached_property
    def _ends(self) -> tuple[RelaxedGeometry, ...]:
        """Where the relaxations end; after the first that does not count, no other is tried."""
        ends = []
        for number in range(self.model.ensemble.n_geometries):
            ends.append(self._relax(number))
            if self._why_not(number, ends[-1]):
                break
        return tuple(ends)

    def _relax(self, number: int) -> RelaxedGeometry:
        start, qm = self._state.coordinates[number], self.model.ensemble.coordinates[number]
        found = self._relax_from(start, number)
        if self._why_not(number, found) and not np.array_equal(start, qm):
            return self._relax_from(qm, number)
        return found

    def _relax_from(self, start: Matrix, number: int) -> RelaxedGeometry:
        system = self.model.system
        return relax(
            lambda x: system.local(x, self.p),
            start,
            frozen=self.model.ensemble.fixed(number),
            gradient_tolerance=max(GRADIENT_TOLERANCE, system.gradient_error),
        )

    def _displacement(self, number: int, found: RelaxedGeometry) -> float:
        return found.deviation(self.model.ensemble.coordinates[number])

    def _why_not(self, number: int, found: RelaxedGeometry) -> str:
        """Say why a relaxation does not count; empty if it does."""
        ensemble = self.model.ensemble
        name, displacement = f"{ensemble.name}, {ensemble.label(number)}", self._displacement(number, found)
        if found.reason not in STATIONARY:
            return (
                f"{name}: relaxation does not reach a minimum of the force field (after {found.n_iterations} steps the "
                f"largest force is {np.max(np.abs(found.gradient)):.2g} kcal/mol/A)"
            )
        if displacement > ensemble.largest_displacement:
            return (
                f"{name}: relaxation runs to another minimum, {displacement:.2f} A from the QM geometry, and "
                f"{ensemble.largest_displacement:g} A are allowed"
            )
        changed = ensemble.changed_bond(found.x)
        return f"{name}: relaxation runs to another minimum, where {changed}" if changed else ""
