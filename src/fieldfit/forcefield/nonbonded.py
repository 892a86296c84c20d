"""How pairs of atoms of a force field interact that are no neighbours: factors and constants that no row states."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fieldfit.errors import ForceFieldError

COULOMB = 332.06371
"""Energy of two elementary charges at a distance of one angstrom in the harmonic family [kcal A/mol/e^2]."""


@dataclass(frozen=True)
class Nonbonded:
    """How pairs of atoms interact that are separated by three bonds or more; closer ones do not.

    Args:
        vdw_14: Factor of van der Waals energies of pairs separated by exactly three bonds.
        charge_14: The same for electrostatic energies.
        dielectric: Relative dielectric constant.
        coulomb: Energy of two elementary charges at a distance of one angstrom [kcal A/mol/e^2].
        has_shifted_charges: Whether charges that come with a molecule act from the sites of van der Waals forces, as in
            MM3*, rather than from nuclei.

    Raises:
        ForceFieldError: A factor is negative, or a constant is not positive.
    """

    vdw_14: float = 1.0
    charge_14: float = 1.0
    dielectric: float = 1.0
    coulomb: float = COULOMB
    has_shifted_charges: bool = False

    def __post_init__(self) -> None:
        for name in ("vdw_14", "charge_14", "dielectric", "coulomb"):
            value = getattr(self, name)
            smallest = "not negative" if name.endswith("14") else "positive"
            if not math.isfinite(value) or value < 0.0 or (value == 0.0 and smallest == "positive"):
                raise ForceFieldError(f"The nonbonded setting {name} is {value}, but has to be {smallest} and finite.")
