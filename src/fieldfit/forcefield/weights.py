"""Sets of tolerances by name: how much a deviation of each kind of reference counts.

The score is sum (w (observed - predicted))^2, and a weight is the inverse of a tolerance, w = 1/tolerance: the
deviation that counts as one. Two sets:

"default": the tolerance that each kind of reference states.

"q2mm": the weights of the program Q2MM, so that a published score can be compared with ours like with like.

    bond length                    10     per A
    bond angle                      5     per degree
    torsion                         1     per degree
    classic eigenmatrix diagonal    0.1   per hartree/bohr^2, its lowest element left out
    ... off-diagonal                0.05  per hartree/bohr^2
    frequency                       0.001 per 1/cm

The weights of the eigenmatrix were made for kJ/mol/A^2, of which one hartree/bohr^2 is 9376. On values in
hartree/bohr^2 they switch the Hessian off: with them an error of 1 degree in one angle costs as much as one of 50
hartree/bohr^2 on the diagonal, where the stiffest bonds have about 1. Scores with these weights are scores of bond
angles. The set is for comparison, not for fitting; the default tolerances of the classic eigenmatrix are those weights
in kJ/mol/A^2. Q2MM's weight 1 for energies [kcal/mol] has no counterpart here.

Each set comes with the kinds that are fitted where none are named: by default wavenumbers, geometry at the minimum and
the off-diagonal eigenmatrix, which keeps the character of the modes and determines what wavenumbers alone do not; for
"q2mm" what published multi-target scores consist of.

References:
    Limé, Norrby (2015), J. Comput. Chem. 36, 244, doi:10.1002/jcc.23797: the classic eigenmatrix.
    https://github.com/ericchansen/q2mm: the weights above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.forcefield.references import REFERENCES
from fieldfit.registry import unknown_name

Q2MM_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "bond_length": 10.0,
        "bond_angle": 5.0,
        "torsion": 1.0,
        "classic_eigenmatrix_diagonal": 0.1,
        "classic_eigenmatrix_off_diagonal": 0.05,
        "frequency": 0.001,
    }
)
"""Kind of reference to weight, the inverse of its unit here."""

KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "default": ("frequency", "eigenmatrix_off_diagonal", "bond_length", "bond_angle"),
        "q2mm": ("classic_eigenmatrix_diagonal", "bond_length", "bond_angle"),
    }
)
"""Name of a set to the kinds of reference that are fitted where none are named."""

PRESETS = tuple(KINDS)
"""Names of the sets."""


def tolerances(weights: str = "default") -> dict[str, float]:
    """Return a set of tolerances.

    Args:
        weights: Name of the set: "default" or "q2mm".

    Returns:
        Kind of reference to tolerance in its unit. "default" has every kind, "q2mm" those that Q2MM has.

    Raises:
        SettingsError: No set has that name.

    Examples:
        >>> tolerances("q2mm")["bond_angle"]
        0.2
        >>> tolerances()["bond_angle"]
        0.5
    """
    if weights == "q2mm":
        return {category: 1.0 / weight for category, weight in Q2MM_WEIGHTS.items()}
    if weights == "default":
        return {category: REFERENCES[category].tolerance for category in REFERENCES}
    raise SettingsError(unknown_name("set of weights", weights, PRESETS))


def chosen_tolerances(
    references: Mapping[str, float | None] | Iterable[str] | None = None, weights: str = "default"
) -> dict[str, float]:
    """Return the tolerances of chosen kinds of reference, those of a set filled in.

    Args:
        references: Kind of reference to tolerance in its unit, None for that of the set; or the kinds alone; None: the
            kinds that go with the set, see `KINDS`.
        weights: Name of the set.

    Returns:
        Kind of reference to tolerance in its unit.

    Raises:
        SettingsError: An unknown kind or set, no kind at all, a kind that is not in the set and has no tolerance, or
            a tolerance that is not positive.

    Examples:
        >>> chosen_tolerances({"frequency": 10.0, "bond_length": None})
        {'frequency': 10.0, 'bond_length': 0.01}
        >>> list(chosen_tolerances(weights="q2mm"))
        ['classic_eigenmatrix_diagonal', 'bond_length', 'bond_angle']
    """
    known = tolerances(weights)
    if references is None:
        references = KINDS[weights]
    if isinstance(references, str):
        references = [references]
    given = dict(references) if isinstance(references, Mapping) else dict.fromkeys(references)
    if not given:
        raise SettingsError(f"No reference is given, so there is nothing to fit. Known: {', '.join(REFERENCES)}.")
    result = {}
    for category, tolerance in given.items():
        if category not in REFERENCES:
            raise SettingsError(unknown_name("reference", category, REFERENCES))
        if tolerance is None and category not in known:
            raise SettingsError(
                f"The set of weights {weights!r} has no tolerance for {category}. State one in "
                f"{REFERENCES[category].unit}: {{{category!r}: ...}}."
            )
        result[category] = check_tolerance(category, known[category] if tolerance is None else float(tolerance))
    return result


def check_tolerance(category: str, tolerance: float) -> float:
    """Return a tolerance if it can be one.

    Raises:
        SettingsError: It is not positive and finite.
    """
    if not (tolerance > 0.0 and np.isfinite(tolerance)):
        raise SettingsError(
            f"The tolerance of {category} is {tolerance:g} {REFERENCES[category].unit}. A tolerance is the deviation "
            "that counts as one: give a positive number, or leave the reference out."
        )
    return tolerance
