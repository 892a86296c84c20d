"""What an engine is: something that computes the energy of molecules.

An engine makes one system per molecule. A system is asked for energies and Cartesian derivatives at coordinates x [A]
and force-field parameters p (internal units, in the order of the force field's parameters). What it can do is declared
in `EngineTraits`; messages, tables and tests are read from there.

An engine of your own is a class with `traits` and `systems`. If it knows energies only, or energies and gradients,
`DifferencedSystem` supplies the other derivatives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from fieldfit.errors import ForceFieldError, InputError
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.typing import Matrix, Vector

STEP = 1e-4
"""Displacement for differences of gradients [A]; an error of 1e-8 relative from the third-order term."""

ENERGY_STEP = 1e-3
"""Displacement for differences of energies [A]."""


class Local(NamedTuple):
    """Energy [kcal/mol], gradient [kcal/mol/A], shape (3 atoms,), and Hessian [kcal/mol/A^2] at one geometry."""

    energy: float
    gradient: Vector
    hessian: Matrix


@dataclass(frozen=True)
class EngineTraits:
    """What an engine can do.

    Args:
        forms: Names of the functional forms it computes; None for all, an empty set if it has an energy of its own and
            ignores the rows of the force field.
        exact_order: Highest Cartesian derivative that it computes without differences: 0 (energy), 1 (gradient), 2
            (Hessian).
        has_parameter_derivatives: Whether it differentiates with respect to parameters.
        devices: Where it runs: "cpu", "cuda".
        needs: What has to be installed beside fieldfit; empty for nothing.
    """

    forms: frozenset[str] | None
    exact_order: int
    has_parameter_derivatives: bool
    devices: tuple[str, ...] = ("cpu",)
    needs: str = ""


class AbstractSystem(ABC):
    """One molecule with its terms in one engine.

    Attributes:
        n_atoms: Number of atoms.
        gradient_error: How large the error of a component of the gradient may be [kcal/mol/A]; a relaxation does not
            try to get below it.
    """

    n_atoms: int
    gradient_error: float = 0.0

    @abstractmethod
    def energy(self, x: Matrix, p: Vector) -> float:
        """Return the energy [kcal/mol] at coordinates x [A], shape (atoms, 3)."""

    @abstractmethod
    def gradient(self, x: Matrix, p: Vector) -> Vector:
        """Return the gradient [kcal/mol/A], shape (3 atoms,)."""

    @abstractmethod
    def local(self, x: Matrix, p: Vector) -> Local:
        """Return energy, gradient and Hessian."""


SystemType = TypeVar("SystemType", bound=AbstractSystem)


class AbstractEngine(ABC, Generic[SystemType]):
    """Makes systems. Options are fields; nothing is imported or started before `systems` is called."""

    traits: ClassVar[EngineTraits]

    @abstractmethod
    def systems(self, molecules: Sequence[Molecule], force_field: ForceField) -> tuple[SystemType, ...]:
        """Prepare molecules with the rows of a force field, one system each.

        Raises:
            ForceFieldError: The engine does not compute a form of the force field, or an interaction has no row.
        """

    def system(self, molecule: Molecule, force_field: ForceField) -> SystemType:
        """Prepare one molecule; see `systems`."""
        return self.systems([molecule], force_field)[0]


class DifferencedSystem(AbstractSystem):
    """A system that knows its energy, and perhaps its gradient; the rest follows by central differences.

    Args:
        n_atoms: Number of atoms.
        energy: Energy [kcal/mol] at coordinates [A], shape (atoms, 3), and parameters.
        gradient: Gradient [kcal/mol/A], shape (3 atoms,), likewise; None: differences of the energy.
        step: Displacement for differences of the gradient [A].
        gradient_error: See `AbstractSystem`.
    """

    def __init__(
        self,
        n_atoms: int,
        energy: Callable[[Matrix, Vector], float],
        gradient: Callable[[Matrix, Vector], Vector] | None = None,
        *,
        step: float | None = None,
        gradient_error: float = 0.0,
    ) -> None:
        self.n_atoms = n_atoms
        self.gradient_error = gradient_error
        self._energy = energy
        self._gradient = gradient
        self._step = step if step is not None else (ENERGY_STEP if gradient is None else STEP)

    def energy(self, x: Matrix, p: Vector) -> float:
        return float(self._energy(x, p))

    def gradient(self, x: Matrix, p: Vector) -> Vector:
        if self._gradient is not None:
            return np.asarray(self._gradient(x, p), dtype=float).ravel()
        return differences(lambda y: np.array([self._energy(y, p)]), x, ENERGY_STEP)[0]

    def local(self, x: Matrix, p: Vector) -> Local:
        hessian = differences(lambda y: self.gradient(y, p), x, self._step)
        return Local(self.energy(x, p), self.gradient(x, p), 0.5 * (hessian + hessian.T))


def differences(function: Callable[[Matrix], Vector], x: Matrix, step: float) -> Matrix:
    """Differentiate a vector function of the coordinates by central differences.

    Args:
        function: Vector, shape (n,), of coordinates [A], shape (atoms, 3).
        x: Where [A], shape (atoms, 3).
        step: Displacement [A].

    Returns:
        Derivatives, shape (n, 3 atoms).
    """
    columns = []
    for index in range(x.size):
        move = np.zeros(x.size)
        move[index] = step
        move = move.reshape(x.shape)
        columns.append((function(x + move) - function(x - move)) / (2.0 * step))
    return np.stack(columns, axis=1)


def check_sizes(system: AbstractSystem, n_parameters: int, x: Matrix, p: Vector) -> None:
    """Make sure that coordinates and parameters are those of a system.

    Raises:
        InputError: They are too many or too few.
    """
    if x.shape != (system.n_atoms, 3) or p.shape != (n_parameters,):
        raise InputError(
            f"Coordinates of the shape {x.shape} and parameters of the shape {p.shape} are given, but the system has "
            f"{system.n_atoms} atoms and {n_parameters} parameters. Give arrays of the shapes ({system.n_atoms}, 3) "
            f"and ({n_parameters},)."
        )


def check_forms(name: str, traits: EngineTraits, force_field: ForceField) -> None:
    """Make sure that an engine computes every form of a force field.

    Raises:
        ForceFieldError: It does not.
    """
    if traits.forms is None or not traits.forms:
        return
    refused = sorted({row.form for row in force_field.rows} - traits.forms)
    if refused:
        raise ForceFieldError(
            f"The engine {name} does not compute {', '.join(refused)}, which the force field {force_field.name!r} "
            f"uses. It computes {', '.join(sorted(traits.forms))}. Take another engine, such as jax."
        )
