"""Transition states in a fit: what becomes of the reaction coordinate.

At a transition state the QM Hessian H has a negative eigenvalue, and a force field of non-negative force constants has
none to offer. Either the reference is changed or the reaction coordinate is treated apart. The methods are named as in
the literature on Q2MM; v_n and h_n are eigenvectors and negative eigenvalues of the Cartesian H without its rigid
motions, h_1 the lowest:

    zero-weight   row and column of every imaginary mode left out of the eigenmatrix, k >= 0
    C             H + sum_n (h'_n - h_n) v_n v_n^T,  h'_1 = 1 Hartree/Bohr^2, the other h'_n = 0
    C'            the same with h'_n = |h_n|
    D             H as it is (natural), without the bound k >= 0
    E             D; constants that vanish there are held at their values by C, the rest fitted again
    E2            D; constants that vanish there are held at 5 mdyn/A or 0.5 mdyn A/rad^2, the rest fitted again

From the eigenmatrix of this library to these definitions:

- C and C' act on the Cartesian Hessian, where they are defined, before masses enter. Rigid motions are set apart
  first, with equal weights of all atoms: the Hessian of a program is not exactly invariant, and a rotation of slightly
  negative curvature must not be taken for the reaction coordinate. The normal modes of the changed Hessian then are
  the basis. A negative Cartesian eigenvector is not a normal mode, so this changes the target of other modes too.
- D, E and E2 keep the modes of H and give the reaction coordinate's row and column the same weight as the others, its
  target being the negative eigenvalue and its metric that of the magnitude (`takes_every_mode`).
- A constant vanishes below 1e-3 mdyn/A or mdyn A/rad^2, the negative ones included. Only bonds, angles and linear bends
  are judged: a torsion or a cross term may well be zero or negative. Tied constants are judged by their leader. The
  second fit of E and E2 keeps to all bounds, so nothing is negative at the end.
- D lifts lower bounds that are zero, or that were zero and have been widened to a negative start. Other bounds, such as
  stated ones or those of torsions, stay.
- Molecules without an imaginary mode are fitted as they are; a set without any is fitted alike by all methods.

A method changes three things, in the Hessian fit and in any other: the molecules (`target_molecules`), the modes that
take part in the eigenmatrix (`takes_every_mode`), and what the constants may do (`target_parameters` in
`initial_guess.hessian_fit`). Wavenumbers of imaginary modes and forces along them are no observations by any method; by
C and C' no such mode is left.

References:
    Norrby, Liljefors (1998), J. Comput. Chem. 19, 1146.
    Limé, Norrby (2015), J. Comput. Chem. 36, 244, doi:10.1002/jcc.23797.
    Farrugia, Helquist, Norrby, Wiest (2025), J. Chem. Theory Comput. 22, 469, doi:10.1021/acs.jctc.5c01751.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from fieldfit.errors import SettingsError
from fieldfit.forcefield.constants import HARTREE_PER_BOHR2, KCAL_PER_MDYN_A
from fieldfit.forcefield.engines.engine import AbstractEngine
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.forms import Column
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.relaxation import relax
from fieldfit.forcefield.vibrations import NormalModes, displacement, normal_modes, rigid_motions, wavenumber
from fieldfit.parameters import Parameter, Parameters
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector

ZERO_WEIGHT = "zero-weight"

METHODS = (ZERO_WEIGHT, "C", "C'", "D", "E", "E2")
"""Names of the methods, the default first."""

VANISHING = 0.5e-3 * KCAL_PER_MDYN_A
"""Constants below this have vanished [kcal/mol/A^2 or kcal/mol/rad^2]: 1e-3 mdyn in E = k x^2 / 2."""

JUDGED = ("bond", "angle", "linear-bend")
"""Kinds of rows whose constants cannot physically vanish."""

NEGLIGIBLE = 1.0
"""Imaginary wavenumbers smaller than this are no negative curvature of a force field [1/cm]."""

NEAR = 0.1
"""Root mean square displacement of atoms within which a structure is near a minimum [A]."""


def unit_curvature(negative: Vector) -> Vector:
    """Return what C puts in place of negative eigenvalues in ascending order [kcal/mol/A^2], shape (n,)."""
    replaced = np.zeros_like(negative)
    replaced[:1] = HARTREE_PER_BOHR2
    return replaced


REPLACEMENTS: Mapping[str, Callable[[Vector], Vector]] = {"C": unit_curvature, "C'": np.negative}
"""Methods that change the reference, and what they put in place of negative eigenvalues."""


def check_method(name: str) -> None:
    """Check the name of a method.

    Raises:
        SettingsError: It is not one of `METHODS`.
    """
    if name not in METHODS:
        raise SettingsError(unknown_name("method for transition states", name, METHODS))


def is_transition_state(molecule: Molecule) -> bool:
    """Tell whether the QM Hessian has a negative eigenvalue apart from rigid motions.

    Raises:
        MoleculeError: The record has no Hessian.
    """
    return bool(np.any(qm_modes(molecule).eigenvalues < 0.0))


def any_transition_state(molecules: Sequence[Molecule]) -> bool:
    """Tell whether one of some molecules is a transition state."""
    return any(is_transition_state(molecule) for molecule in molecules)


def qm_modes(molecule: Molecule) -> NormalModes:
    """Return the QM normal modes of a molecule.

    Raises:
        MoleculeError: The record has no Hessian.
    """
    return normal_modes(molecule.qm_hessian, molecule.record.coordinates, molecule.record.masses)


def invert_curvature(molecule: Molecule, method: str) -> Molecule:
    """Replace the negative eigenvalues of a transition state's Cartesian Hessian.

    Args:
        molecule: Molecule with a QM Hessian.
        method: "C" or "C'".

    Returns:
        The molecule with the changed Hessian; the same molecule if it has no imaginary mode.

    Raises:
        MoleculeError: The record has no Hessian.
    """
    if not is_transition_state(molecule):
        return molecule
    hessian, coordinates = molecule.qm_hessian, molecule.record.coordinates
    rigid = rigid_motions(coordinates, np.ones(molecule.n_atoms))
    Q = np.linalg.qr(rigid, mode="complete").Q[:, rigid.shape[1] :]
    h, V = np.linalg.eigh(Q.T @ hessian @ Q)
    is_negative = h < 0.0
    v, negative = Q @ V[:, is_negative], h[is_negative]
    changed = hessian + (v * (REPLACEMENTS[method](negative) - negative)) @ v.T
    return replace(molecule, record=replace(molecule.record, hessian=0.5 * (changed + changed.T)))


def target_molecules(molecules: Sequence[Molecule], method: str) -> tuple[Molecule, ...]:
    """Return molecules with the Hessians that a method fits to.

    Args:
        molecules: Molecules with QM Hessians.
        method: One of `METHODS`.

    Returns:
        By "C" and "C'" transition states with changed Hessians; everything else as it is.

    Raises:
        SettingsError: There is no such method.
        MoleculeError: A record has no Hessian.
    """
    check_method(method)
    if method not in REPLACEMENTS:
        return tuple(molecules)
    return tuple(invert_curvature(molecule, method) for molecule in molecules)


def takes_every_mode(method: str) -> bool:
    """Tell whether imaginary modes have rows and columns in the eigenmatrix, with their eigenvalues as targets.

    Raises:
        SettingsError: There is no such method.
    """
    check_method(method)
    return method != ZERO_WEIGHT


def lift_zero_bounds(force_field: ForceField, parameters: Parameters) -> Parameters:
    """Let force constants be negative: remove their lower bounds that are zero, or were but for a negative start."""
    columns = [column for row in force_field.rows for column in row.definition.columns]
    return Parameters(
        [
            entry.replace(lower=-np.inf) if column.is_linear and _is_zero_bound(entry, column) else entry
            for entry, column in zip(parameters, columns, strict=True)
        ],
        parameters.ties,
        parameters.structure,
    )


def _is_zero_bound(entry: Parameter, column: Column) -> bool:
    lower, value = float(entry.lower), float(entry.value)
    return lower == 0.0 or (column.lower == 0.0 and lower == value < 0.0)


def vanishing(force_field: ForceField, parameters: Parameters) -> dict[str, str]:
    """Find the free constants of bonds, angles and linear bends that are next to nothing or negative.

    Args:
        force_field: The fitted force field.
        parameters: Which of its parameters were free.

    Returns:
        Name of the parameter to kind of its row.
    """
    free = {name for name, is_free in zip(parameters.names, parameters.is_free, strict=True) if is_free}
    names = ((f"{row.label}.k", row) for row in force_field.rows if row.kind in JUDGED)
    return {name: row.kind for name, row in names if name in free and row.values["k"] < VANISHING}


def hold(parameters: Parameters, constants: Mapping[str, float]) -> Parameters:
    """Return the parameters with some constants fixed at given values, moved inside their bounds."""
    inside = {
        name: float(np.clip(value, parameters[name].lower, parameters[name].upper)) for name, value in constants.items()
    }
    return parameters.replace(inside).fix(*inside)


@dataclass(frozen=True)
class StationaryPoint:
    """What the QM structure of a molecule is on the energy surface of a force field.

    Args:
        name: Name of the molecule.
        reaction_coordinate: QM wavenumbers of imaginary modes [1/cm].
        reaction_curvature: Curvature of the force field along them at the QM structure, as wavenumbers [1/cm].
        n_negative: Number of vibrations of negative curvature of the force field at the QM structure.
        lowest: Lowest wavenumber of the force field there [1/cm].
        largest_force: Largest force component there [kcal/mol/A].
        displacement: Root mean square displacement of the atoms to the minimum next to it [A]; NaN where a relaxation
            finds none.
    """

    name: str
    reaction_coordinate: tuple[float, ...]
    reaction_curvature: tuple[float, ...]
    n_negative: int
    lowest: float
    largest_force: float
    displacement: float

    @property
    def is_near_minimum(self) -> bool:
        """Whether a minimum of the force field lies within 0.1 A."""
        return self.displacement <= NEAR

    def __str__(self) -> str:
        along = ", ".join(
            f"{qm:.0f} by QM, {fitted:.0f} here"
            for qm, fitted in zip(self.reaction_coordinate, self.reaction_curvature, strict=True)
        )
        end = f"{self.displacement:.3f} A from a minimum" if np.isfinite(self.displacement) else "no minimum next to it"
        return (
            f"{self.name}: reaction coordinate [1/cm]: {along or 'none'}; {self.n_negative} negative curvatures at the "
            f"QM structure, {end}, largest force {self.largest_force:.1f} kcal/mol/A"
        )


def stationary_point(
    molecule: Molecule, force_field: ForceField, engine: AbstractEngine | None = None
) -> StationaryPoint:
    """Describe the energy surface of a force field around a QM structure.

    Args:
        molecule: Molecule with a QM Hessian.
        force_field: The force field.
        engine: What computes its energies; default: `JaxEngine`.

    Returns:
        Curvature along the reaction coordinate, negative curvatures, and how far the next minimum is.

    Raises:
        MoleculeError: The record has no Hessian.
    """
    record, modes = molecule.record, qm_modes(molecule)
    system = (JaxEngine() if engine is None else engine).system(molecule, force_field)
    p = force_field.parameters.flat * force_field.internal_factors
    local = system.local(record.coordinates, p)
    frequencies = normal_modes(local.hessian, record.coordinates, record.masses).frequencies
    imaginary = modes.eigenvalues < 0.0
    found = relax(lambda x: system.local(x, p), record.coordinates)
    moved = displacement(found.x, record.coordinates, record.masses) if found.is_converged else np.nan
    return StationaryPoint(
        name=molecule.name,
        reaction_coordinate=tuple(modes.frequencies[imaginary].tolist()),
        reaction_curvature=tuple(curvatures(local.hessian, modes, record.masses)[imaginary].tolist()),
        n_negative=int(np.sum(frequencies < -NEGLIGIBLE)),
        lowest=float(frequencies[0]),
        largest_force=float(np.max(np.abs(local.gradient))),
        displacement=moved,
    )


def curvatures(
    hessian: Float[np.ndarray, "dof dof"], modes: NormalModes, masses: Float[np.ndarray, " atoms"]
) -> Float[np.ndarray, " modes"]:
    """Return the curvature of a Hessian along given modes, as wavenumbers.

    Args:
        hessian: Second derivatives of the energy [kcal/mol/A^2], shape (3 atoms, 3 atoms).
        modes: Mass-weighted modes in the same frame.
        masses: Atomic masses [u], shape (atoms,).

    Returns:
        Wavenumbers [1/cm], negative for negative curvature, shape (modes,).
    """
    directions = modes.modes / np.sqrt(np.repeat(masses, 3))[:, None]
    return wavenumber(np.sum(directions * (hessian @ directions), axis=0))
