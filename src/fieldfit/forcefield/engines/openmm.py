"""The OpenMM engine: every functional form as a custom force that is generated from the form itself.

The energy of a form is traced and written as an expression of OpenMM (`lepton`), followed by the definitions of its
internal coordinates (`openmm_coordinates`), and all terms of the form become one custom force (`openmm_forces`). OpenMM
differentiates the expression itself and evaluates the geometry by code of its own, so the engine is an independent
check of energies and gradients, and a form that somebody adds runs in it without being written a second time. OpenMM
counts in nm and kJ/mol; both factors stand in the expression, parameters go in as they are. Hessians are central
differences of the gradient.

A context of OpenMM belongs to one thread. A system makes one in each thread that uses it, and travels to other
processes without any.

References:
    Eastman et al. (2024), J. Phys. Chem. B 128, 109, doi:10.1021/acs.jpcb.3c06662.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.forcefield.assignment import Terms, assign
from fieldfit.forcefield.constants import KJ_PER_KCAL
from fieldfit.forcefield.engines.engine import (
    STEP,
    AbstractEngine,
    AbstractSystem,
    EngineTraits,
    Local,
    check_sizes,
    differences,
)
from fieldfit.forcefield.engines.openmm_coordinates import A_PER_NM
from fieldfit.forcefield.engines.openmm_forces import (
    Recipe,
    Site,
    make_force,
    make_recipe,
    set_term,
    shifted_sites,
    virtual_site,
)
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

PROPERTIES = {"Precision": "double", "Threads": "1"}
"""Options of platforms that have them. Single precision would leave nothing of a Hessian by differences, and custom
forces of bonded terms are evaluated by one thread whatever is asked for."""


@dataclass(frozen=True)
class OpenMMEngine(AbstractEngine["OpenMMSystem"]):
    """Makes systems whose energies and gradients OpenMM computes.

    Args:
        platform: OpenMM's platform, in double precision: "Reference", "CPU", "CUDA" ...; None: the one that OpenMM
            calls the fastest. For molecules of some hundred atoms "Reference" is: it has no threads or kernels to start
            at every evaluation.

    Example:
        >>> from fieldfit.forcefield.engines.openmm import OpenMMEngine
        >>> OpenMMEngine(platform="CPU").traits.exact_order
        1
    """

    traits: ClassVar[EngineTraits] = EngineTraits(
        forms=None, exact_order=1, has_parameter_derivatives=False, devices=("cpu", "cuda"), needs="openmm"
    )
    platform: str | None = "Reference"

    def systems(self, molecules: Sequence[Molecule], force_field: ForceField) -> tuple[OpenMMSystem, ...]:
        """Prepare molecules with the rows of a force field, one system each.

        Raises:
            SettingsError: OpenMM is not installed, or has no such platform.
            ForceFieldError: OpenMM cannot express a form of the force field, or an interaction has no row.
        """
        platform, n_parameters = _platform_name(self.platform), len(force_field.parameter_names)
        return tuple(
            OpenMMSystem(molecule.n_atoms, assign(molecule, force_field), n_parameters, platform=platform)
            for molecule in molecules
        )


class OpenMMSystem(AbstractSystem):
    """One molecule with its terms in OpenMM; it may be used by several threads and sent to other processes.

    Args:
        n_atoms: Number of atoms.
        terms: Terms, one entry per form.
        n_parameters: Number of parameters of the force field.
        platform: Name of OpenMM's platform.
    """

    def __init__(self, n_atoms: int, terms: Sequence[Terms], n_parameters: int, *, platform: str = "Reference") -> None:
        self.n_atoms = n_atoms
        self.n_parameters = n_parameters
        self._arguments = (n_atoms, tuple(terms), n_parameters, platform)
        self._sites = shifted_sites(terms)
        particles = {site: n_atoms + number for number, site in enumerate(self._sites)}
        self._recipes = tuple(make_recipe(entry, particles) for entry in terms if len(entry.atoms))
        self._of_thread = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, self._arguments

    def energy(self, x: Matrix, p: Vector) -> float:
        return self._context(x, p).energy(x)

    def gradient(self, x: Matrix, p: Vector) -> Vector:
        return self._context(x, p).gradient(x)

    def local(self, x: Matrix, p: Vector) -> Local:
        context = self._context(x, p)
        hessian = differences(context.gradient, x, STEP)
        return Local(context.energy(x), context.gradient(x), 0.5 * (hessian + hessian.T))

    def _context(self, x: Matrix, p: Vector) -> _Context:
        """Return this thread's context at parameters p, for coordinates x.

        Raises:
            InputError: Either has the wrong size.
        """
        check_sizes(self, self.n_parameters, x, p)
        context = self._of_thread.__dict__.get("context")
        if context is None:
            context = self._of_thread.context = _Context(self.n_atoms, self._sites, self._recipes, self._arguments[-1])
        context.set_parameters(p)
        return context


def _rebuild(n_atoms: int, terms: tuple[Terms, ...], n_parameters: int, platform: str) -> OpenMMSystem:
    return OpenMMSystem(n_atoms, terms, n_parameters, platform=platform)


class _Context:
    """OpenMM's own objects, used by one thread; remembers the parameters so that only changes are handed over."""

    def __init__(self, n_atoms: int, sites: Sequence[Site], recipes: Sequence[Recipe], platform: str) -> None:
        openmm = _import_openmm()
        chosen = openmm.Platform.getPlatformByName(platform)
        system = openmm.System()
        for _ in range(n_atoms):
            system.addParticle(1.0)
        for site in sites:
            system.setVirtualSite(system.addParticle(0.0), virtual_site(openmm, site))
        self._forces = [(recipe, make_force(openmm, recipe)) for recipe in recipes]
        for _, force in self._forces:
            system.addForce(force)
        properties = {name: PROPERTIES[name] for name in chosen.getPropertyNames() if name in PROPERTIES}
        self._context = openmm.Context(system, openmm.VerletIntegrator(1.0), chosen, properties)
        self._values = [np.zeros((len(recipe.atoms), recipe.n_parameters)) for recipe in recipes]
        self._n_atoms, self._positions = n_atoms, np.zeros((n_atoms + len(sites), 3))
        self._energy_unit = openmm.unit.kilojoule_per_mole
        self._force_unit = openmm.unit.kilojoule_per_mole / openmm.unit.nanometer

    def set_parameters(self, p: Vector) -> None:
        """Hand over the parameters of the terms that have changed."""
        for number, (recipe, force) in enumerate(self._forces):
            values = recipe.values(p)
            changed = np.flatnonzero(np.any(values != self._values[number], axis=1))
            if changed.size:
                for term in changed.tolist():
                    set_term(force, recipe, term, values[term])
                force.updateParametersInContext(self._context)
                self._values[number] = values

    def energy(self, x: Matrix) -> float:
        """Return the energy [kcal/mol] at coordinates x [A]."""
        self._move(x)
        energy = self._context.getState(getEnergy=True).getPotentialEnergy()
        return energy.value_in_unit(self._energy_unit) / KJ_PER_KCAL

    def gradient(self, x: Matrix) -> Vector:
        """Return the gradient [kcal/mol/A], shape (3 atoms,), at coordinates x [A]."""
        self._move(x)
        forces = self._context.getState(getForces=True).getForces(asNumpy=True).value_in_unit(self._force_unit)
        # Forces on virtual sites have been handed on to the atoms that they follow.
        return -forces[: self._n_atoms].ravel() / (KJ_PER_KCAL * A_PER_NM)

    def _move(self, x: Matrix) -> None:
        self._positions[: self._n_atoms] = x / A_PER_NM
        self._context.setPositions(self._positions)
        if len(self._positions) > self._n_atoms:
            self._context.computeVirtualSites()


def _platform_name(platform: str | None) -> str:
    """Return the name of a platform that is there.

    Raises:
        SettingsError: OpenMM is not installed, or has no such platform.
    """
    openmm = _import_openmm()
    platforms = [openmm.Platform.getPlatform(number) for number in range(openmm.Platform.getNumPlatforms())]
    speeds = {entry.getName(): entry.getSpeed() for entry in platforms}
    if platform is None:
        return max(speeds, key=speeds.__getitem__)
    if platform not in speeds:
        raise SettingsError(
            f"{unknown_name('OpenMM platform', platform, speeds)} The others of OpenMM need their own package and "
            "hardware."
        )
    return platform


def _import_openmm() -> Any:
    try:
        import openmm
    except ImportError as error:
        raise SettingsError(
            'The engine openmm needs OpenMM, which is not installed. Run `pip install "fieldfit[openmm]"`, or take the '
            "engine jax."
        ) from error
    return openmm
