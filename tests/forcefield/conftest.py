"""Fits that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldfit import LeastSquaresOptimizer, OptimizationResult
from fieldfit.forcefield import ForceFieldObjective, build_force_field, estimate_force_constants
from molecules import fluoromethane

TIGHT = {"frequency": 10.0, "bond_length": 0.003, "bond_angle": 0.5}
"""Tolerances that keep the geometry of fluoromethane [1/cm, A, deg]."""


@pytest.fixture(scope="session", params=["harmonic", "mm3"])
def fluoromethane_fit(request, shared_data: Path) -> tuple[ForceFieldObjective, OptimizationResult]:
    """Return eight parameters of fluoromethane fitted to wavenumbers and geometry, in both families."""
    molecule = fluoromethane(shared_data)
    field = estimate_force_constants([molecule], build_force_field([molecule], family=request.param))
    objective = ForceFieldObjective(field, [molecule], TIGHT)
    return objective, LeastSquaresOptimizer().optimize(objective)
