"""Engines by Q2MM's names: what computes energies, Hessians, wavenumbers and relaxed geometries of a molecule.

Energies are in kcal/mol, coordinates in A, Hessians in hartree/bohr^2, wavenumbers in 1/cm without rigid motions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from fieldfit.compat.q2mm.force_field import ForceField, as_native
from fieldfit.errors import EvaluationError
from fieldfit.forcefield import ForceField as NativeForceField
from fieldfit.forcefield import Molecule
from fieldfit.forcefield.constants import HARTREE_PER_BOHR2
from fieldfit.forcefield.engines import ENGINES
from fieldfit.forcefield.engines.engine import AbstractEngine, AbstractSystem
from fieldfit.forcefield.relaxation import GRADIENT_TOLERANCE, relax
from fieldfit.forcefield.vibrations import normal_modes
from fieldfit.typing import FilePath, Matrix, Vector


class AbstractFrontEngine(ABC):
    """An engine by Q2MM's name."""

    @property
    @abstractmethod
    def native(self) -> AbstractEngine[Any]:
        """The engine it stands for."""

    def energy(self, molecule: Molecule, forcefield: ForceField | NativeForceField) -> float:
        """Return the energy at the QM geometry [kcal/mol]."""
        system, p = self._prepared(molecule, forcefield)
        return float(system.energy(molecule.record.coordinates, p))

    def hessian(self, molecule: Molecule, forcefield: ForceField | NativeForceField) -> Matrix:
        """Return the Hessian at the QM geometry [hartree/bohr^2], shape (3 atoms, 3 atoms)."""
        system, p = self._prepared(molecule, forcefield)
        return system.local(molecule.record.coordinates, p).hessian / HARTREE_PER_BOHR2

    def frequencies(self, molecule: Molecule, forcefield: ForceField | NativeForceField) -> list[float]:
        """Return the wavenumbers of the Hessian at the QM geometry [1/cm], imaginary ones negative."""
        system, p = self._prepared(molecule, forcefield)
        record = molecule.record
        hessian = system.local(record.coordinates, p).hessian
        return normal_modes(hessian, record.coordinates, record.masses).frequencies.tolist()

    def minimize(
        self, molecule: Molecule, forcefield: ForceField | NativeForceField
    ) -> tuple[float, list[str], Matrix]:
        """Relax a molecule from its QM geometry.

        Returns:
            Energy [kcal/mol], element symbols, coordinates [A] of shape (atoms, 3).

        Raises:
            EvaluationError: The relaxation does not end in a minimum.
        """
        system, p = self._prepared(molecule, forcefield)
        tolerance = max(GRADIENT_TOLERANCE, system.gradient_error)
        found = relax(lambda x: system.local(x, p), molecule.record.coordinates, gradient_tolerance=tolerance)
        if not found.is_converged:
            raise EvaluationError(
                f"{molecule.name}: relaxation from the QM geometry does not end in a minimum of the force field. Start "
                "from better constants: `estimate_force_constants`."
            )
        return float(system.energy(found.x, p)), list(molecule.record.symbols), found.x

    def _prepared(self, molecule: Molecule, forcefield: ForceField | NativeForceField) -> tuple[AbstractSystem, Vector]:
        """Return a system and the parameters in its units."""
        field = as_native(forcefield)
        return self.native.system(molecule, field), field.parameters.flat * field.internal_factors


@dataclass(frozen=True)
class JaxEngine(AbstractFrontEngine):
    """JAX: exact derivatives of everything; see `fieldfit.forcefield.engines.jax.JaxEngine`."""

    @property
    def native(self) -> AbstractEngine[Any]:
        return ENGINES["jax"]()


@dataclass(frozen=True)
class OpenMMEngine(AbstractFrontEngine):
    """OpenMM, always in double precision; see `fieldfit.forcefield.engines.openmm.OpenMMEngine`.

    Args:
        platform_name: "Reference", "CPU", "CUDA" ...; None: "Reference", the fastest for molecules of some hundred
            atoms.
    """

    platform_name: str | None = None

    @property
    def native(self) -> AbstractEngine[Any]:
        return ENGINES["openmm"](platform=self.platform_name or "Reference")


@dataclass(frozen=True)
class TinkerEngine(AbstractFrontEngine):
    """The Tinker programs; see `fieldfit.forcefield.engines.tinker.TinkerEngine`.

    Args:
        tinker_dir: Folder of the programs; None: they are found on PATH.
    """

    tinker_dir: FilePath | None = None

    @property
    def native(self) -> AbstractEngine[Any]:
        return ENGINES["tinker"](directory=self.tinker_dir)
