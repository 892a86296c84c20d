"""Relaxation of molecules: free, with frozen atoms, restrained, and with fixed internal coordinates."""

from fieldfit.forcefield.relaxation.constraints import Fixed
from fieldfit.forcefield.relaxation.local_model import LocalModel, Quadratic
from fieldfit.forcefield.relaxation.relaxed_geometry import RelaxedGeometry
from fieldfit.forcefield.relaxation.restraints import Restraint, Tether
from fieldfit.forcefield.relaxation.trust_region import GRADIENT_TOLERANCE, relax

__all__ = [
    "GRADIENT_TOLERANCE",
    "Fixed",
    "LocalModel",
    "Quadratic",
    "RelaxedGeometry",
    "Restraint",
    "Tether",
    "relax",
]
