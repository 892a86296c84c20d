"""One molecule in a fit: what never changes, what a set of parameters makes of it, and what the next one starts from.

Everything that several references need (the terms at the QM geometry, the relaxed geometry and how it moves with the
parameters, the modes there) is computed once per evaluation, when it is first asked for.

Where a relaxation starts
-------------------------
At x + (dx/dp) (p - p_accepted), the geometry of the last accepted point moved as its parameters' change moves it to
first order. That saves about half the steps. Molecules that would move far start from the geometry itself.

When a molecule does not relax
------------------------------
Far from the answer a force field may have no minimum near the QM structure: constants of zero leave a torsion free, a
strained start falls into another minimum. A relaxation counts only if it ends in a minimum that has the molecule's
bonds, no new contacts and its torsions to `TURNED`, and lies near the QM structure (`strayed`). Otherwise the molecule
is *displaced*: its geometry is predicted to first order from the QM structure, by one step of Newton's method with the
QM Hessian,

    s = - sum_k  v_k (v_k . g) / lambda_k,      q = q_QM + b . s,

v_k and lambda_k the QM modes and floored eigenvalues without imaginary ones, g the force field's gradient there; and
its wavenumbers by the diagonal of the eigenmatrix. Both agree with the relaxed values to first order, and they exist
for all parameters and are smooth. A displaced molecule stays so during trial steps. When a point is accepted, its
relaxation is tried again, and counts from then on if it ends within `NEAR_PREDICTED` of the prediction, so that scores
do not jump; after `MOST_FAILURES` failures it is tried no more. What is displaced at the end is reported by name.

Modes of the force field are paired with QM modes by overlap. The pairing is kept between accepted points: modes of a
trial point are recognised by their overlap with the modes of the last accepted one, so that wavenumbers which cross
keep their partners and residuals stay smooth. Where another pairing has become better by more than `REPAIRED`,
`next_state` takes it up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Int

from fieldfit.errors import EvaluationError, MoleculeError
from fieldfit.forcefield.eigenmatrix import FLOOR, Eigenmatrix, EigenmatrixTarget, floored
from fieldfit.forcefield.engines.engine import AbstractSystem
from fieldfit.forcefield.engines.evaluated_geometry import fix_geometry
from fieldfit.forcefield.engines.jax_programs import internal_values
from fieldfit.forcefield.forms.form import DEGREE
from fieldfit.forcefield.molecule import Molecule, name_atoms
from fieldfit.forcefield.relaxation import GRADIENT_TOLERANCE, RelaxedGeometry, relax
from fieldfit.forcefield.topology import InternalCoordinates, crosses_straight_angle, internal_coordinates
from fieldfit.forcefield.transition_states import (
    REPLACEMENTS,
    ZERO_WEIGHT,
    check_method,
    invert_curvature,
    takes_every_mode,
)
from fieldfit.forcefield.vibrations import NormalModes, align, displacement, normal_modes, pair_modes, pairing_agreement
from fieldfit.typing import Matrix, Vector

SAME_WAVENUMBER = 1e-3
"""Pairings whose wavenumbers agree to this [1/cm] are the same."""

LARGEST_PREDICTED_MOVE = 0.2
"""A start that first order would move further than this [A] is not moved at all."""

LARGEST_DEVIATION = 1.0
"""A minimum further than this from the QM structure, root mean square over the atoms [A], is another one."""

STRETCHED = 1.4
"""Ratio to its length at the QM structure beyond which, or below whose inverse, a bond is not the same bond."""

CONTACT = 0.6
"""Ratio to their distance at the QM structure below which two atoms that are not bonded have come into contact."""

TURNED = 45.0
"""A torsion that differs more than this from its QM value [deg] has gone over to another minimum."""

NEAR_PREDICTED = 0.2
"""Root mean square displacement of atoms [A] between a minimum and its prediction that agree."""

REPAIRED = 0.1
"""Sum of squared overlaps by which a pairing has to be better to replace another."""

MOST_FAILURES = 3
"""Failed relaxations after which a molecule stays displaced."""


@dataclass(frozen=True, eq=False)
class MoleculeState:
    """Where the next evaluation of a molecule starts.

    Args:
        x: Start of the relaxation [A], shape (atoms, 3).
        modes: Modes of the force field in the order of the QM modes they are paired with, in the QM frame,
            shape (3 atoms, modes); None before the first pairing.
        p: Parameters that x belongs to, in internal units; None if x is not a minimum.
        response: How the minimum moves with some of the parameters there, shape (3 atoms, columns); None if not known.
        columns: Which parameters these are, by index; None: all.
        n_failures: Number of relaxations that failed so far.
        is_displaced: Whether the geometry is predicted without a relaxation.
    """

    x: Matrix
    modes: Matrix | None = None
    p: Vector | None = None
    response: Matrix | None = None
    columns: Int[np.ndarray, " columns"] | None = None
    n_failures: int = 0
    is_displaced: bool = False


@dataclass(frozen=True)
class News:
    """What changes about a molecule if an evaluation is accepted, and whether its residuals are out of date then."""

    note: str = ""
    is_stale: bool = False


class QMTarget:
    """What the QM result of a molecule says, in the form that references need it.

    Args:
        molecule: The molecule; its record has a Hessian.
        transition_state: How a transition state is described, one of `transition_states.METHODS`: "C" and "C'" change
            the Hessian, by "D" and what builds on it imaginary modes take part in the eigenmatrix.
        floor: See `eigenmatrix.floored` [1/cm].

    Attributes:
        molecule: The molecule, its Hessian as the method has it.
        masses: Atomic masses [u], shape (atoms,).
        floor: See above.
        qm_modes: Normal modes of the QM Hessian.

    Raises:
        MoleculeError: The record has no Hessian.
        SettingsError: Unknown method.
    """

    def __init__(self, molecule: Molecule, *, transition_state: str = ZERO_WEIGHT, floor: float = FLOOR) -> None:
        check_method(transition_state)
        if transition_state in REPLACEMENTS:
            molecule = invert_curvature(molecule, transition_state)
        record = molecule.record
        self.molecule = molecule
        self.masses = record.masses
        self.floor = floor
        self.qm_modes = normal_modes(molecule.qm_hessian, record.coordinates, record.masses)
        self._with_imaginary = takes_every_mode(transition_state)

    @property
    def is_vibration(self) -> np.ndarray:
        """Which QM modes are real vibrations; the others are reaction coordinates, shape (modes,)."""
        return self.qm_modes.eigenvalues > 0.0

    @cached_property
    def internal_coordinates(self) -> InternalCoordinates:
        """Bonds, angles and torsions."""
        return internal_coordinates(self.molecule)

    @cached_property
    def eigenmatrix(self) -> EigenmatrixTarget:
        """Elements of the eigenmatrix and what they should be."""
        return EigenmatrixTarget(self.qm_modes, self.masses, floor=self.floor, with_imaginary=self._with_imaginary)

    @cached_property
    def stiff_torsions(self) -> Int[np.ndarray, "n 4"]:
        """Torsions that say something of the structure: without those across a nearly straight angle."""
        x = self.molecule.record.coordinates
        chosen = [atoms for atoms in self.internal_coordinates.torsions if not crosses_straight_angle(x, atoms)]
        return np.array(chosen, dtype=int).reshape(-1, 4)

    @cached_property
    def newton_map(self) -> Matrix:
        """From a gradient [kcal/mol/A] to minus the displacement that removes it [A], shape (3 atoms, 3 atoms)."""
        kept = np.flatnonzero(self.is_vibration)
        directions = self.qm_modes.modes[:, kept] / np.sqrt(np.repeat(self.masses, 3))[:, None]
        return (directions / floored(self.qm_modes.eigenvalues[kept], self.floor)) @ directions.T


class MoleculeModel:
    """A molecule with its system.

    Args:
        target: The molecule and its QM result.
        system: Its terms.
    """

    def __init__(self, target: QMTarget, system: AbstractSystem) -> None:
        self.target = target
        self.molecule = target.molecule
        self.system = system
        self._prepared: dict[object, Any] = {}

    @property
    def masses(self) -> Vector:
        """Atomic masses [u], shape (atoms,)."""
        return self.target.masses

    @property
    def qm_modes(self) -> NormalModes:
        """Normal modes of the QM Hessian."""
        return self.target.qm_modes

    @property
    def is_vibration(self) -> np.ndarray:
        """Which QM modes are real vibrations, shape (modes,)."""
        return self.target.is_vibration

    @property
    def internal_coordinates(self) -> InternalCoordinates:
        """Bonds, angles and torsions."""
        return self.target.internal_coordinates

    @cached_property
    def qm_geometry(self) -> Any:
        """The system at the QM geometry: a `FixedGeometry` or an `EvaluatedGeometry`."""
        return fix_geometry(self.system, self.molecule.record.coordinates)

    @cached_property
    def eigenmatrix(self) -> Eigenmatrix:
        """The eigenmatrix at the QM geometry."""
        return Eigenmatrix(self.qm_geometry, self.target.eigenmatrix)

    @property
    def initial_state(self) -> MoleculeState:
        """Start at the QM geometry, nothing paired."""
        return MoleculeState(self.molecule.record.coordinates)

    def prepared(self, owner: object, make: Callable[[Any], Any]) -> Any:
        """Return what a reference makes of the QM geometry, made once.

        Args:
            owner: The reference.
            make: Makes it from `qm_geometry`.
        """
        if owner not in self._prepared:
            self._prepared[owner] = make(self.qm_geometry)
        return self._prepared[owner]

    def strayed(self, x: Matrix) -> str:
        """Say in what way a geometry is not that of the molecule any more.

        Args:
            x: Coordinates [A], shape (atoms, 3).

        Returns:
            What is wrong; empty if nothing is.
        """
        reference = self.molecule.record.coordinates
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = _distances(x) / _distances(reference)
        bonds = np.array(self.molecule.bonds, dtype=int).reshape(-1, 2)
        lengths = ratios[bonds[:, 0], bonds[:, 1]]
        if np.any((lengths > STRETCHED) | (lengths < 1.0 / STRETCHED)):
            worst = int(np.argmax(np.abs(np.log(lengths))))
            atoms = name_atoms(self.molecule, self.molecule.bonds[worst])
            return f"the bond {atoms} is {lengths[worst]:.2f} times as long as by QM"
        ratios[bonds[:, 0], bonds[:, 1]] = ratios[bonds[:, 1], bonds[:, 0]] = np.inf
        np.fill_diagonal(ratios, np.inf)
        if np.min(ratios, initial=np.inf) < CONTACT:
            pair = np.unravel_index(np.argmin(ratios), ratios.shape)
            return f"{name_atoms(self.molecule, map(int, pair))} come as near as {np.min(ratios):.2f} of their distance"
        torsions = self.target.stiff_torsions
        turns = np.abs(_turned(x, torsions) - _turned(reference, torsions)) / DEGREE
        turns = np.minimum(turns, 360.0 - turns)
        if np.max(turns, initial=0.0) > TURNED:
            worst = int(np.argmax(turns))
            atoms = name_atoms(self.molecule, torsions[worst].tolist())
            return f"the torsion {atoms} has turned by {turns[worst]:.0f} deg"
        deviation = displacement(x, reference, np.ones(len(x)))
        return f"it lies {deviation:.2f} A from the QM structure" if deviation > LARGEST_DEVIATION else ""


class MoleculeEvaluation:
    """One molecule at one set of parameters.

    Args:
        model: The molecule.
        p: Parameters in internal units, shape (parameters,).
        state: Where to start from.
        columns: Parameters that derivatives are wanted for, by index; None: all.
    """

    def __init__(
        self,
        model: MoleculeModel,
        p: Vector,
        state: MoleculeState,
        columns: Int[np.ndarray, " columns"] | None = None,
    ) -> None:
        self.model = model
        self.p = p
        self._state = state
        self._columns = columns

    @cached_property
    def terms(self) -> Any:
        """What `qm_geometry` computes its answers from at these parameters."""
        return self.model.qm_geometry.term_vector(self.p, self._columns)

    @cached_property
    def hessian(self) -> Matrix:
        """Hessian at the QM geometry [kcal/mol/A^2], shape (3 atoms, 3 atoms)."""
        return self.model.qm_geometry.hessian(self.terms)

    @cached_property
    def hessian_jacobian(self) -> Any:
        """Its derivatives with respect to the parameters, a sparse matrix of shape ((3 atoms)^2, columns)."""
        return self.model.qm_geometry.hessian_jacobian(self.terms)

    @property
    def minimum(self) -> RelaxedGeometry:
        """The minimum of the force field nearest to the start.

        Raises:
            EvaluationError: The relaxation does not end in a minimum that is still the molecule.
        """
        if self.trouble:
            raise EvaluationError(self.trouble)
        return self._relaxed

    @cached_property
    def trouble(self) -> str:
        """Why the relaxation has no result that counts; empty if it has."""
        found, name = self._relaxed, self.model.molecule.name
        if not found.is_converged:
            return (
                f"{name}: relaxation from the last geometry does not reach a minimum of the force "
                f"field (after {found.n_iterations} steps the largest force is {np.max(np.abs(found.gradient)):.2g} "
                f"kcal/mol/A and the lowest curvature {found.lowest_curvature:.2g} kcal/mol/A^2; a torsion without a "
                "constant is a curvature of zero)"
            )
        strayed = self.model.strayed(found.x)
        return f"{name}: relaxation runs to another minimum, where {strayed}" if strayed else ""

    @cached_property
    def is_displaced(self) -> bool:
        """Whether the geometry is predicted to first order, without a relaxation."""
        return self._state.is_displaced or bool(self.trouble)

    @cached_property
    def minimum_geometry(self) -> Any:
        """The system at the minimum: a `FixedGeometry` or an `EvaluatedGeometry`."""
        return fix_geometry(self.model.system, self.minimum.x)

    @cached_property
    def minimum_terms(self) -> Any:
        """What `minimum_geometry` computes its answers from at these parameters."""
        return self.minimum_geometry.term_vector(self.p, self._columns)

    @cached_property
    def response(self) -> Matrix:
        """How the geometry moves with the parameters [A], shape (3 atoms, columns)."""
        if self.is_displaced:
            return -self.model.target.newton_map @ self.model.qm_geometry.gradient_jacobian(self.terms)
        mixed = self.minimum_geometry.gradient_jacobian(self.minimum_terms)
        try:
            return self.minimum.response(mixed)
        except scipy.linalg.LinAlgError as error:
            raise EvaluationError(
                f"{self.model.molecule.name}: the Hessian at the minimum is singular, so the geometry has no derivative"
            ) from error

    def measure(self, coordinate: str, atoms: Int[np.ndarray, "n a"]) -> tuple[Vector, Matrix]:
        """Return internal coordinates of the molecule's geometry with their Cartesian gradients.

        Args:
            coordinate: Name in `geometry.COORDINATES`.
            atoms: Tuples of atoms.

        Returns:
            Values [A or rad], shape (n,), and gradients, shape (n, 3 atoms).
        """
        if not self.is_displaced:
            return internal_values(coordinate, self.minimum.x, atoms)
        values, gradients = internal_values(coordinate, self.model.molecule.record.coordinates, atoms)
        return values + gradients @ self._displacement, gradients

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
        """Whether modes were paired and another pairing has become the better one."""
        if "pairing" not in self.__dict__:
            return False
        frequencies = self.modes.frequencies
        changes = np.abs(frequencies[self.pairing] - frequencies[self.best_pairing])
        if np.max(changes, initial=0.0) <= SAME_WAVENUMBER:
            return False
        found, best = (
            np.sum(pairing_agreement(self.model.qm_modes, self.modes_in_qm_frame, pairing))
            for pairing in (self.pairing, self.best_pairing)
        )
        return bool(best > found + REPAIRED)

    def next_state(self) -> MoleculeState:
        """Return where to start from if this evaluation is accepted."""
        if "is_displaced" not in self.__dict__:
            return self._state
        if self.is_displaced:
            return self._next_displaced_state()
        response = self.__dict__.get("response")
        state = replace(self._state, x=self.minimum.x, p=self.p, response=response, columns=self._columns)
        if "pairing" not in self.__dict__:
            return state
        pairing = self.best_pairing if self.is_pairing_stale else self.pairing
        return replace(state, modes=self.modes_in_qm_frame.modes[:, pairing])

    def news(self, following: MoleculeState) -> News:
        """Say what changes when this evaluation is accepted.

        Args:
            following: What `next_state` returned.
        """
        name, was_displaced = self.model.molecule.name, self._state.is_displaced
        if was_displaced and not following.is_displaced:
            return News(f"{name} relaxes again", is_stale=True)
        if following.is_displaced and not was_displaced:
            return News(f"{self.trouble}: its geometry is predicted to first order")
        return News(f"modes of {name} paired anew", is_stale=True) if self.is_pairing_stale else News()

    def _next_displaced_state(self) -> MoleculeState:
        """Return the state after a displaced evaluation; not displaced any more if the relaxation works here."""
        old, x = self._state, self.model.molecule.record.coordinates
        start = replace(old, x=x, p=None, response=None, columns=None, is_displaced=True)
        if not old.is_displaced:
            return replace(start, n_failures=old.n_failures + 1)
        if old.n_failures >= MOST_FAILURES or self.trouble:
            return start
        predicted = x + self._displacement.reshape(-1, 3)
        return replace(start, is_displaced=self._relaxed.deviation(predicted) > NEAR_PREDICTED)

    @cached_property
    def _relaxed(self) -> RelaxedGeometry:
        system = self.model.system
        tolerance = max(GRADIENT_TOLERANCE, system.gradient_error)
        return relax(lambda x: system.local(x, self.p), self._start, gradient_tolerance=tolerance)

    @property
    def _start(self) -> Matrix:
        """The geometry of the state, moved to first order with the parameters."""
        state = self._state
        if state.response is None or state.p is None:
            return state.x
        change = self.p - state.p
        move = (state.response @ (change if state.columns is None else change[state.columns])).reshape(-1, 3)
        return state.x + move if np.max(np.abs(move), initial=0.0) <= LARGEST_PREDICTED_MOVE else state.x

    @cached_property
    def _displacement(self) -> Vector:
        return -self.model.target.newton_map @ self.model.qm_geometry.gradient(self.terms)

    def _pair(self, reference: NormalModes) -> Int[np.ndarray, " modes"]:
        try:
            return pair_modes(reference, self.modes_in_qm_frame)
        except MoleculeError as error:
            raise EvaluationError(f"{self.model.molecule.name}: {error}") from error


def _distances(x: Matrix) -> Matrix:
    return np.linalg.norm(x[:, None] - x[None, :], axis=-1)


def _turned(x: Matrix, torsions: Int[np.ndarray, "n 4"]) -> Vector:
    return internal_values("dihedral", x, torsions)[0]
