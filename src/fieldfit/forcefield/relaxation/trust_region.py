"""Relaxation to the nearest minimum by a trust-region Newton method on the exact Hessian.

Minimise E(x) over the steps that are allowed (see `newton_steps`): no rigid motion that nothing holds, no atom that is
frozen, no change of a coordinate that is fixed. One iteration costs one evaluation of energy, gradient and Hessian:

    1. the largest fall of the quadratic model within the trust radius gives a step s      (`newton_steps`)
    2. a path that begins along s leads to the trial geometry                              (`curved_paths`)
    3. fixed coordinates are brought back to their values                                  (`constraints`)
    4. the fall of the energy, compared with the model's, decides on geometry and radius.

The radius is the largest displacement of an atom: what a quadratic model describes well does not depend on the number
of atoms. The model is exact to second order along the path, so that the last steps converge quadratically, to rounding.
Where the fall is less than rounding, energies say nothing and the step is taken: (fall + noise) / (predicted + noise)
is 1.

Stationary points are left as long as the energy falls in some direction. A trial whose energy or derivatives are not
finite is a step that was too long.

References:
    More, Sorensen (1983), doi:10.1137/0904038.
    Conn, Gould, Toint (2000), Trust-Region Methods, sections 6.1 and 17.4, doi:10.1137/1.9780898719857.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from fieldfit.errors import EvaluationError, MoleculeError
from fieldfit.forcefield.relaxation.constraints import Fixed, restore
from fieldfit.forcefield.relaxation.curved_paths import CurvedPaths
from fieldfit.forcefield.relaxation.local_model import LocalModel
from fieldfit.forcefield.relaxation.newton_steps import ReducedHessian, Step, bounded_step
from fieldfit.forcefield.relaxation.relaxed_geometry import Reason, RelaxedGeometry
from fieldfit.forcefield.relaxation.restraints import Restrained, Restraint, RestraintEnergy, Tether, restrained
from fieldfit.forcefield.relaxation.rigid_body import orthonormal, remaining_rigid_motions
from fieldfit.forcefield.relaxation.targets import Deviations, TargetSet, check_atoms
from fieldfit.typing import Matrix, Vector

GRADIENT_TOLERANCE = 1e-9
"""Largest remaining gradient component [kcal/mol/A]."""

MAX_ITERATIONS = 200
"""Largest number of steps; far from the minimum a molecule of 60 atoms needs about 15."""

START_RADIUS = 0.2
"""First trust radius [A]."""

LARGEST_RADIUS = 0.5
"""Largest trust radius [A]."""

SMALLEST_RADIUS = 1e-6
"""Where no step longer than this [A] lowers the energy as predicted, the derivatives are not those of the energy."""

ENERGY_NOISE = 1e-12
"""Rounding of an energy, as a fraction of it, or in kcal/mol if it is less than 1."""

GRADIENT_DECIDES = 1e4
"""A predicted fall of less than this many times the rounding is good enough if the gradient becomes smaller."""

GRADIENT_NOISE = 10.0
"""Rounding of a gradient in units of machine precision times the largest element of H times the largest coordinate."""

ACCEPTED = 1e-4
"""Steps that bring at least this fraction of the predicted fall are taken."""

POOR, GOOD = 0.25, 0.75
"""Fractions of the predicted fall below which the radius shrinks and above which it grows."""

NEAR = 0.8
"""A step longer than this fraction of the radius was cut short by it."""


def relax(
    local: Callable[[Matrix], LocalModel],
    x: Matrix,
    *,
    frozen: Sequence[int | Fixed] = (),
    restraints: Sequence[Restraint | Tether] = (),
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> RelaxedGeometry:
    """Relax a geometry to the nearest minimum.

    Args:
        local: Returns energy [kcal/mol], gradient and Hessian at coordinates [A], shape (atoms, 3). Its energy does not
            change when the whole molecule moves or turns.
        x: Start [A], shape (atoms, 3).
        frozen: What does not change: atoms, counted from 0, that stay where they are, and internal coordinates that
            have fixed values.
        restraints: Harmonic terms that are added to the energy.
        gradient_tolerance: Largest remaining gradient component on the allowed steps [kcal/mol/A].
        max_iterations: Largest number of steps.

    Returns:
        The end point, a minimum or not: see its `reason`.

    Raises:
        MoleculeError: The start is not finite, or a restraint or something frozen names an atom that does not exist.
        EvaluationError: No geometry with the fixed values was found.

    Examples:
        Two atoms without an energy, at a distance of 1.2 A that is to be 1.0 A:

        >>> import numpy as np
        >>> from fieldfit.forcefield.relaxation import Quadratic
        >>> def nothing(x):
        ...     return Quadratic(0.0, np.zeros(6), np.zeros((6, 6)))
        >>> pull = Restraint("distance", (0, 1), 1.0, 100.0)
        >>> found = relax(nothing, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.2]]), restraints=[pull])
        >>> found.reason, round(float(found.x[1, 2] - found.x[0, 2]), 9)
        ('minimum', 1.0)
    """
    if not np.all(np.isfinite(x)):
        raise MoleculeError("A relaxation starts at coordinates that are not finite. Check the geometry [A].")
    energy = RestraintEnergy(restraints, len(x))
    allowed = _AllowedSteps.of(x, frozen, energy.anchors)
    surface = restrained(local, energy)
    start = allowed.restore(x)
    if start is None:
        raise EvaluationError(
            f"No geometry near the start has the values {[entry for entry in frozen if isinstance(entry, Fixed)]}. "
            "Check that they do not contradict each other, or give a start that is nearer to them."
        )
    here, radius, n_iterations = _Point(start, surface(start), allowed), START_RADIUS, 0
    while n_iterations < max_iterations and radius > SMALLEST_RADIUS and not here.is_end(gradient_tolerance):
        n_iterations += 1
        step = here.step(radius)
        there = here.follow(step, surface)
        ratio = _agreement(here, there, step, gradient_tolerance)
        radius = _next_radius(radius, step, ratio)
        if there is not None and ratio > ACCEPTED:
            here = there
    return here.end(gradient_tolerance, n_iterations)


@dataclass(frozen=True, eq=False)
class _AllowedSteps:
    """What may change in a relaxation.

    Args:
        free: Cartesian coordinates of atoms that are not frozen, by index, shape (n,).
        anchors: Points held in space [A], shape (anchors, 3).
        fixed: Internal coordinates with fixed values.
    """

    free: Int[np.ndarray, " n"]
    anchors: Matrix
    fixed: TargetSet

    @staticmethod
    def of(x: Matrix, frozen: Sequence[int | Fixed], tethered: Matrix) -> _AllowedSteps:
        atoms = sorted({int(entry) for entry in frozen if not isinstance(entry, Fixed)})
        check_atoms(atoms, len(x), "frozen")
        free = np.setdiff1d(np.arange(x.size), (3 * np.array(atoms, dtype=int)[:, None] + np.arange(3)).ravel())
        fixed = TargetSet([entry for entry in frozen if isinstance(entry, Fixed)], len(x))
        return _AllowedSteps(free, np.concatenate([x[atoms], tethered]), fixed)

    def restore(self, x: Matrix) -> Matrix | None:
        """Bring fixed coordinates to their values; None if that is not possible."""
        return restore(x, self.fixed, self.free) if self.fixed.size else x


@dataclass(frozen=True, eq=False)
class _Point:
    """A geometry on the way, with everything that follows from it."""

    x: Matrix
    local: Restrained
    allowed: _AllowedSteps

    @cached_property
    def is_finite(self) -> bool:
        return bool(
            np.isfinite(self.local.energy)
            and np.all(np.isfinite(self.local.gradient))
            and np.all(np.isfinite(self.local.hessian))
        )

    @cached_property
    def gradient(self) -> Vector:
        """P g [kcal/mol/A], shape (n,)."""
        free = self.local.gradient[self.allowed.free]
        return free - self._excluded @ (self._excluded.T @ free)

    @cached_property
    def reduced(self) -> ReducedHessian:
        """The Hessian of the Lagrangian on the allowed steps."""
        return ReducedHessian.of(self._hessian, self._excluded)

    def is_stationary(self, tolerance: float) -> bool:
        noise = np.finfo(float).eps * np.max(np.abs(self.local.hessian)) * np.max(np.abs(self.x))
        return bool(np.max(np.abs(self.gradient), initial=0.0) < max(tolerance, GRADIENT_NOISE * noise))

    def is_end(self, tolerance: float) -> bool:
        """Whether no step leads further down."""
        return not self.is_finite or (self.is_stationary(tolerance) and self._kind != "saddle")

    def step(self, radius: float) -> Step:
        return bounded_step(self._along_paths, self.gradient, radius)

    def follow(self, step: Step, surface: Callable[[Matrix], Restrained]) -> _Point | None:
        """Return the point at the end of a step; None if it cannot be evaluated."""
        x = self.allowed.restore(self._paths.follow(step.s))
        if x is None:
            return None
        there = _Point(x, surface(x), self.allowed)
        # Where atoms coincide or are far apart, the energy may be finite and the paths are not.
        return there if there.is_finite and np.all(np.isfinite(there._along_paths.matrix)) else None

    def end(self, tolerance: float, n_iterations: int) -> RelaxedGeometry:
        """Return the result if the relaxation ends here."""
        reason: Reason = "energy not finite"
        if self.is_finite:
            reason = self._kind if self.is_stationary(tolerance) else "not converged"
        return RelaxedGeometry(
            x=self.x,
            energy=self.local.energy,
            gradient=self.local.gradient,
            hessian=self.local.hessian,
            restraint_energy=self.local.restraint_energy,
            reason=reason,
            n_iterations=n_iterations,
            free=self.allowed.free,
            reduced=self.reduced,
        )

    @cached_property
    def _kind(self) -> Reason:
        """Kind of a stationary point."""
        if not self.reduced.has_directions or self.reduced.factor is not None:
            return "minimum"
        return "saddle" if self.reduced.lowest < -self.reduced.rounding else "flat"

    @cached_property
    def _fixed(self) -> Deviations:
        return self.allowed.fixed.deviations(self.x)

    @cached_property
    def _excluded(self) -> Matrix:
        """Rigid motions that nothing holds and changes of fixed coordinates, orthonormal columns: Q, shape (n, m)."""
        free = self.allowed.free
        motions = remaining_rigid_motions(self.x, self.allowed.anchors)[free]
        rigid = orthonormal(motions, np.sqrt(len(self.x)))
        if not self.allowed.fixed.size:
            return rigid
        changes = self._fixed.J[:, free].T
        return np.hstack([rigid, orthonormal(changes - rigid @ (rigid.T @ changes), 1.0)])

    @cached_property
    def _hessian(self) -> Matrix:
        """Hessian of the Lagrangian for the free coordinates, shape (n, n)."""
        free, full = self.allowed.free, self.local.hessian
        if self.allowed.fixed.size:
            multipliers = np.linalg.lstsq(self._fixed.J[:, free].T, self.local.gradient[free])[0]
            full = full - self._fixed.curvature(multipliers)
        return full if free.size == self.x.size else full[np.ix_(free, free)]

    @cached_property
    def _paths(self) -> CurvedPaths:
        return CurvedPaths(self.x, self.allowed.free)

    @cached_property
    def _along_paths(self) -> ReducedHessian:
        """The second derivatives of the energy along the paths that begin here."""
        return ReducedHessian.of(self._hessian + self._paths.bending(self.gradient), self._excluded)


def _agreement(here: _Point, there: _Point | None, step: Step, tolerance: float) -> float:
    """Return the fall of the energy as a fraction of the predicted one; minus infinity if there is no energy."""
    if there is None:
        return -np.inf
    noise = ENERGY_NOISE * max(1.0, abs(here.local.energy))
    # What a gradient of the tolerated size brings over 1 A may be noise, too.
    is_small = step.predicted < max(GRADIENT_DECIDES * noise, tolerance)
    if is_small and np.linalg.norm(there.gradient) < np.linalg.norm(here.gradient):
        return 1.0
    return (here.local.energy - there.local.energy + noise) / (step.predicted + noise)


def _next_radius(radius: float, step: Step, ratio: float) -> float:
    if ratio <= ACCEPTED:
        return 0.25 * step.length
    if ratio < POOR:
        return 0.5 * step.length
    if ratio > GOOD and step.length > NEAR * radius:
        return min(2.0 * radius, LARGEST_RADIUS)
    return radius
