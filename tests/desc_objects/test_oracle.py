"""DESC 0.17.3 as an independent program: the same residuals, nodes, units and quantities."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("desc", reason="DESC is an optional dependency with an environment of its own")

from desc.grid import LinearGrid, QuadratureGrid
from desc.objectives import ForceBalance as DescForceBalance
from desc.objectives import ObjectiveFunction
from desc.objectives.normalization import compute_scaling_factors

from fieldfit.equilibrium import ForceBalance, Grid, Plasma, force_error, typical_force
from fieldfit.equilibrium.desc.convert import to_desc

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from equilibrium import CASES

# DESC tells of defaults that will change; where the tests depend on one, they say so.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

RHO = np.array([0.2, 0.5, 0.8, 1.0])
"""Surfaces for profiles."""


@pytest.fixture(scope="module", params=["SOLOVEV 6", "DSHAPE 8"])
def plasma(request):
    """Return an equilibrium with numbers in all coefficients, nested but out of force balance."""
    start = CASES[request.param].start()
    rng, falls = np.random.default_rng(7), start.spectral_scales()
    moved = {
        name: start.params_dict[name] + 0.01 * falls[name] * rng.normal(size=falls[name].size)
        for name in ("R_lmn", "Z_lmn", "L_lmn")
    }
    return start.with_params(moved)


@pytest.fixture(scope="module")
def theirs(plasma):
    return to_desc(plasma)


def built(eq, **options):
    objective = ObjectiveFunction(DescForceBalance(eq, **options))
    objective.build(use_jit=False, verbose=0)
    return objective


def nodes_of(objective):
    grid = objective.objectives[0].constants["transforms"]["grid"]
    return Grid(np.array(grid.nodes[:, 0]), np.array(grid.nodes[:, 1]), np.array(grid.weights))


def residuals(plasma, grid):
    balance = ForceBalance(plasma, grid=grid)
    return balance.evaluate(balance.parameters.flat, None, derivatives=False).residuals


@pytest.mark.parametrize("of_quadrature", [False, True])
def test_residuals_are_those_of_desc_on_its_nodes(plasma, theirs, of_quadrature):
    """Weights and normalization included; rounding is all that differs."""
    grid = {"grid": QuadratureGrid(plasma.resolution.radial, plasma.resolution.poloidal, 0)} if of_quadrature else {}
    objective = built(theirs, **grid)
    expected = np.asarray(objective.compute_scaled_error(objective.x(theirs)))
    found = residuals(plasma, nodes_of(objective))
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-12 * np.max(np.abs(expected)))
    assert 0.5 * found @ found == pytest.approx(float(objective.compute_scalar(objective.x(theirs))), rel=1e-12)


def test_the_typical_force_is_that_of_desc(plasma, theirs):
    assert typical_force(plasma) == pytest.approx(float(compute_scaling_factors(theirs)["f"]), rel=1e-12)


def test_the_force_at_points_is_that_of_desc(plasma, theirs):
    grid = LinearGrid(rho=RHO, theta=7, zeta=1)
    expected = theirs.compute(["|F|"], grid=grid)["|F|"]
    np.testing.assert_allclose(force_error(plasma, grid.nodes[:, 0], grid.nodes[:, 1]), expected, rtol=1e-10)


def test_quantities_of_the_plasma_are_those_of_desc(plasma, theirs):
    # As many nodes as ours: integrals of the field converge with their number, those of geometry are exact.
    resolution = plasma.resolution
    grid = QuadratureGrid(4 * resolution.radial, 4 * resolution.poloidal, 0)
    data = theirs.compute(["V", "A", "R0", "a", "R0/a", "<beta>_vol", "W_B"], grid=grid)
    found = Plasma.of(plasma)
    for name, value in {
        "V": found.volume,
        "A": found.cross_section,
        "R0": found.major_radius,
        "a": found.minor_radius,
        "R0/a": found.aspect_ratio,
        "<beta>_vol": found.beta,
    }.items():
        assert float(value) == pytest.approx(float(data[name]), rel=1e-9), name


def test_the_elongation_is_that_of_desc(plasma, theirs):
    # Their area is an integral along the boundary where that is the outermost surface of the grid.
    grid = LinearGrid(rho=1.0, theta=256, zeta=1)
    expected = float(np.mean(theirs.compute(["a_major/a_minor"], grid=grid)["a_major/a_minor"]))
    assert float(Plasma.of(plasma).elongation) == pytest.approx(expected, rel=1e-9)


def test_axis_and_rotational_transform_are_those_of_desc(plasma, theirs):
    axis = theirs.compute(["R", "Z"], grid=LinearGrid(rho=0.0, theta=1, zeta=1))
    found = Plasma.of(plasma, rho=RHO)
    assert float(found.axis_radius) == pytest.approx(float(axis["R"][0]), rel=1e-14)
    grid = LinearGrid(rho=RHO, theta=1, zeta=1)
    data = theirs.compute(["iota", "q"], grid=grid)
    np.testing.assert_allclose(found.safety_factor, data["q"], rtol=1e-13)
    np.testing.assert_allclose(plasma.iota(RHO), data["iota"], rtol=1e-13)
    np.testing.assert_allclose(plasma.pressure(RHO), theirs.compute(["p"], grid=grid)["p"], atol=1e-9)


def test_the_magnetic_well_is_that_of_desc(plasma, theirs):
    grid = LinearGrid(rho=RHO, theta=8 * plasma.resolution.poloidal + 8, zeta=1, sym=False)
    expected = grid.compress(theirs.compute(["magnetic well"], grid=grid)["magnetic well"])
    np.testing.assert_allclose(Plasma.of(plasma, rho=RHO).magnetic_well, expected, rtol=1e-7, atol=1e-9)
