"""Constraints: internal coordinates that keep their values exactly while everything else relaxes.

With c(x) = q(x) - q_0 and J = dc/dx, allowed steps are those with J s = 0. On the surface c = 0 the energy has the
gradient P g and, with multipliers lambda that solve min |g - J^T lambda|, the Hessian of the Lagrangian H - sum_c
lambda_c C_c. A step along the surface leaves it at second order; `restore` brings the geometry back by Newton's method,
x <- x - J^+ c, which is a matter of geometry alone and costs no energy. So every geometry that is evaluated obeys the
constraints.

References:
    Nocedal, Wright (2006), Numerical Optimization, chapters 12 and 18, doi:10.1007/978-0-387-40065-5.
    Absil, Mahony, Sepulchre (2008), Optimization Algorithms on Matrix Manifolds, chapters 4 and 5,
        doi:10.1515/9781400830244.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from fieldfit.forcefield.relaxation.newton_steps import largest_displacement
from fieldfit.forcefield.relaxation.targets import TargetSet, check_target
from fieldfit.typing import Matrix

ACCURACY = 1e-11
"""Constraints are kept to this [A or rad]."""

LARGEST_MOVE = 0.2
"""Largest displacement of an atom in one turn of the restoration [A]."""

MOST_TURNS = 100
"""Of the restoration; four are usual near the surface."""


@dataclass(frozen=True)
class Fixed:
    """An internal coordinate that keeps its value.

    Args:
        kind: "distance", "angle" or "dihedral".
        atoms: The atoms that define it, counted from 0.
        target: Its value [A or deg]. A start where it has another one is moved there first.

    Raises:
        MoleculeError: Kind, atoms or value cannot be used.

    Examples:
        >>> Fixed("dihedral", (0, 1, 2, 3), 60.0)
        Fixed(kind='dihedral', atoms=(0, 1, 2, 3), target=60.0)
    """

    kind: str
    atoms: tuple[int, ...]
    target: float

    def __post_init__(self) -> None:
        check_target(self)


def restore(x: Matrix, targets: TargetSet, free: Int[np.ndarray, " n"]) -> Matrix | None:
    """Move a geometry to where its constraints are obeyed, changing it as little as possible.

    Args:
        x: Coordinates [A], shape (atoms, 3).
        targets: The constraints.
        free: Cartesian coordinates that may change, by index, shape (n,).

    Returns:
        The geometry [A], shape (atoms, 3); None if none was found.
    """
    for _ in range(MOST_TURNS):
        found = targets.deviations(x)
        if not (np.all(np.isfinite(found.d)) and np.all(np.isfinite(found.J))):
            return None
        if np.max(np.abs(found.d), initial=0.0) <= ACCURACY:
            return x
        move = -np.linalg.lstsq(found.J[:, free], found.d)[0]
        flat = x.ravel().copy()
        flat[free] += move * min(1.0, LARGEST_MOVE / max(largest_displacement(move), 1e-300))
        x = flat.reshape(x.shape)
    return None
