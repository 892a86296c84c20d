"""How pairs of atoms of a force field interact that are no neighbours: factors and constants that no row states."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fieldfit.errors import ForceFieldError
from fieldfit.registry import unknown_name

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
            value, is_factor = getattr(self, name), name.endswith("14")
            is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value) or value < 0.0 or (value == 0.0 and not is_factor):
                raise ForceFieldError(
                    f"The nonbonded setting {name} is {value!r}, but it has to be a "
                    f"{'number that is not negative' if is_factor else 'positive number'}. Give another one."
                )
            object.__setattr__(self, name, float(value))
        if not isinstance(self.has_shifted_charges, bool):
            raise ForceFieldError(
                f"The nonbonded setting has_shifted_charges is {self.has_shifted_charges!r}. Give true or false."
            )

    @staticmethod
    def from_table(table: Mapping[str, Any]) -> Nonbonded:
        """Make the settings from a table of a file.

        Raises:
            ForceFieldError: It has an unknown key or a wrong value.
        """
        known = [entry.name for entry in fields(Nonbonded)]
        for key in table:
            if key not in known:
                raise ForceFieldError(unknown_name("nonbonded setting", key, known))
        return Nonbonded(**table)
