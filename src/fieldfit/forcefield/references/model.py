"""One molecule in a fit: what never changes, what a set of parameters makes of it, and what the next one starts from.

Everything that several references need (the terms at the QM geometry, the relaxed geometry and how it moves with the
parameters, the modes there) is computed once per evaluation, when it is first asked for.

Modes of the force field are paired with QM modes by overlap. The pairing is kept between accepted points: modes of a
trial point are recognised by their overlap with the modes of the last accepted one, so that wavenumbers which cross
keep their partners and residuals stay smooth. Where another pairing has become the better one, `next_state` takes it
up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Int

from fieldfit.errors import EvaluationError, MoleculeError
from fieldfit.forcefield.eigenmatrix import FLOOR, Eigenmatrix
from fieldfit.forcefield.engines.engine import AbstractSystem
from fieldfit.forcefield.engines.evaluated_geometry import fix_geometry
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.relaxation import GRADIENT_TOLERANCE, RelaxedGeometry, relax
from fieldfit.forcefield.topology import InternalCoordinates, internal_coordinates
from fieldfit.forcefield.vibrations import NormalModes, align, normal_modes, pair_modes
from fieldfit.typing import Matrix, Vector

SAME_WAVENUMBER = 1e-3
"""Pairings whose wavenumbers agree to this [1/cm] are the same."""


@dataclass(frozen=True, eq=False)
class MoleculeState:
    """Where the next evaluation of a molecule starts.

    Args:
        x: Start of the relaxation [A], shape (atoms, 3).
        modes: Modes of the force field in the order of the QM modes they are paired with, in the QM frame,
            shape (3 atoms, modes); None before the first pairing.
    """

    x: Matrix
    modes: Matrix | None = None


class MoleculeModel:
    """A molecule with its system and its QM normal modes.

    Args:
        molecule: The molecule; its record has a Hessian.
        system: Its terms.
        floor: See `eigenmatrix.floored` [1/cm].

    Raises:
        MoleculeError: The record has no Hessian.
    """

    def __init__(self, molecule: Molecule, system: AbstractSystem, *, floor: float = FLOOR) -> None:
        record = molecule.record
        self.molecule = molecule
        self.system = system
        self.floor = floor
        self.masses = record.masses
        self.qm_modes = normal_modes(molecule.qm_hessian, record.coordinates, record.masses)

    @property
    def is_vibration(self) -> np.ndarray:
        """Which QM modes are real vibrations; the others are reaction coordinates, shape (modes,)."""
        return self.qm_modes.eigenvalues > 0.0

    @cached_property
    def internal_coordinates(self) -> InternalCoordinates:
        """Bonds, angles and torsions."""
        return internal_coordinates(self.molecule)

    @cached_property
    def qm_geometry(self) -> Any:
        """The system at the QM geometry: a `FixedGeometry` or an `EvaluatedGeometry`."""
        return fix_geometry(self.system, self.molecule.record.coordinates)

    @cached_property
    def eigenmatrix(self) -> Eigenmatrix:
        """The eigenmatrix at the QM geometry."""
        return Eigenmatrix(self.qm_geometry, self.qm_modes, self.masses, floor=self.floor)

    @property
    def initial_state(self) -> MoleculeState:
        """Start at the QM geometry, nothing paired."""
        return MoleculeState(self.molecule.record.coordinates)


class MoleculeEvaluation:
    """One molecule at one set of parameters.

    Args:
        model: The molecule.
        p: Parameters in internal units, shape (parameters,).
        state: Where to start from.
    """

    def __init__(self, model: MoleculeModel, p: Vector, state: MoleculeState) -> None:
        self.model = model
        self.p = p
        self._state = state

    @cached_property
    def terms(self) -> Any:
        """What `qm_geometry` computes its answers from at these parameters."""
        return self.model.qm_geometry.term_vector(self.p)

    @cached_property
    def eigenmatrix_elements(self) -> Vector:
        """Elements of the eigenmatrix at the QM geometry [1/cm], shape (elements,)."""
        return self.model.eigenmatrix.elements(self.terms)

    @cached_property
    def eigenmatrix_jacobian(self) -> Matrix:
        """Their derivatives with respect to the parameters, shape (elements, parameters)."""
        return self.model.eigenmatrix.jacobian(self.terms)

    @cached_property
    def hessian(self) -> Matrix:
        """Hessian at the QM geometry [kcal/mol/A^2], shape (3 atoms, 3 atoms)."""
        return self.model.qm_geometry.hessian(self.terms)

    @cached_property
    def hessian_jacobian(self) -> Any:
        """Its derivatives with respect to the parameters, a sparse matrix of shape ((3 atoms)^2, parameters)."""
        return self.model.qm_geometry.hessian_jacobian(self.terms)

    @cached_property
    def minimum(self) -> RelaxedGeometry:
        """The minimum of the force field nearest to the start.

        Raises:
            EvaluationError: The relaxation does not end in a minimum.
        """
        system = self.model.system
        tolerance = max(GRADIENT_TOLERANCE, system.gradient_error)
        found = relax(lambda x: system.local(x, self.p), self._state.x, gradient_tolerance=tolerance)
        if not found.is_converged:
            raise EvaluationError(
                f"{self.model.molecule.name}: relaxation from the last geometry does not reach a minimum of the force "
                f"field (after {found.n_iterations} steps the largest force is {np.max(np.abs(found.gradient)):.2g} "
                f"kcal/mol/A and the lowest curvature {found.lowest_curvature:.2g} kcal/mol/A^2; a torsion without a "
                "constant is a curvature of zero)"
            )
        return found

    @cached_property
    def minimum_geometry(self) -> Any:
        """The system at the minimum: a `FixedGeometry` or an `EvaluatedGeometry`."""
        return fix_geometry(self.model.system, self.minimum.x)

    @cached_property
    def minimum_terms(self) -> Any:
        """What `minimum_geometry` computes its answers from at these parameters."""
        return self.minimum_geometry.term_vector(self.p)

    @cached_property
    def response(self) -> Matrix:
        """How the minimum moves with the parameters [A], shape (3 atoms, parameters)."""
        mixed = self.minimum_geometry.gradient_jacobian(self.minimum_terms)
        try:
            return self.minimum.response(mixed)
        except scipy.linalg.LinAlgError as error:
            raise EvaluationError(
                f"{self.model.molecule.name}: the Hessian at the minimum is singular, so the geometry has no derivative"
            ) from error

    @cached_property
    def modes(self) -> NormalModes:
        """Normal modes at the minimum, in its own frame."""
        return normal_modes(self.minimum.hessian, self.minimum.x, self.model.masses)

    @cached_property
    def modes_in_qm_frame(self) -> NormalModes:
        """Normal modes at the minimum, turned into the frame of the QM geometry."""
        rotation, _ = align(self.minimum.x, self.model.molecule.record.coordinates, self.model.masses)
        return self.modes.rotated(rotation)

    @cached_property
    def best_pairing(self) -> Int[np.ndarray, " modes"]:
        """Index of the mode most like each QM mode."""
        return self._pair(self.model.qm_modes)

    @cached_property
    def pairing(self) -> Int[np.ndarray, " modes"]:
        """Index of the mode paired with each QM mode: the pairing of the state, carried over to the modes here."""
        if self._state.modes is None:
            return self.best_pairing
        return self._pair(NormalModes(self.model.qm_modes.eigenvalues, self._state.modes))

    @property
    def is_pairing_stale(self) -> bool:
        """Whether another pairing has become the better one."""
        frequencies = self.modes.frequencies
        return bool(
            np.max(np.abs(frequencies[self.pairing] - frequencies[self.best_pairing]), initial=0.0) > SAME_WAVENUMBER
        )

    def next_state(self) -> MoleculeState:
        """Return where to start from if this evaluation is accepted."""
        if "minimum" not in self.__dict__:
            return self._state
        if "pairing" not in self.__dict__:
            return MoleculeState(self.minimum.x, self._state.modes)
        pairing = self.best_pairing if self.is_pairing_stale else self.pairing
        return MoleculeState(self.minimum.x, self.modes_in_qm_frame.modes[:, pairing])

    def _pair(self, reference: NormalModes) -> Int[np.ndarray, " modes"]:
        try:
            return pair_modes(reference, self.modes_in_qm_frame)
        except MoleculeError as error:
            raise EvaluationError(f"{self.model.molecule.name}: {error}") from error
