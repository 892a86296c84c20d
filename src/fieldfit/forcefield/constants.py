"""Units of the force-field package and the factors at its edge.

Internal units: kcal/mol, angstrom, radian, elementary charge, u. Factors follow CODATA 2018
(Tiesinga, Mohr, Newell, Taylor 2021, doi:10.1103/RevModPhys.93.025010); 1 kcal is 4184 J.
"""

from __future__ import annotations

import math

HARTREE = 627.5094740631
"""One hartree [kcal/mol]."""

BOHR = 0.529177210903
"""One bohr [A]."""

HARTREE_PER_BOHR = HARTREE / BOHR
"""One hartree per bohr [kcal/mol/A]."""

HARTREE_PER_BOHR2 = HARTREE / BOHR**2
"""One hartree per square bohr [kcal/mol/A^2]."""

KJ_PER_KCAL = 4.184
"""One kcal [kJ]."""

_AVOGADRO = 6.02214076e23
_ATOMIC_MASS = 1.66053906660e-27
_SPEED_OF_LIGHT_CM = 2.99792458e10

KCAL_PER_MDYN_A = _AVOGADRO * 1e-18 / 4184.0
"""One mdyn A (1e-18 J) per molecule [kcal/mol]: 143.93."""

WAVENUMBER = math.sqrt(4184.0 / _AVOGADRO / 1e-20 / _ATOMIC_MASS) / (2.0 * math.pi * _SPEED_OF_LIGHT_CM)
"""Wavenumber [1/cm] of a mass-weighted Hessian eigenvalue of 1 kcal/mol/A^2/u: 108.5914."""
