"""Problems made of problems: some of the parameters are given up, and what remains is an objective like any other."""

from fieldfit.projections.inner_solve import InnerOptions, InnerSolution
from fieldfit.projections.proximal import InnerReport, ProximalObjective, ProximalState

__all__ = ["InnerOptions", "InnerReport", "InnerSolution", "ProximalObjective", "ProximalState"]
