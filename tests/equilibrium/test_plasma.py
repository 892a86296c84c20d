"""Quantities of a plasma against closed forms and the exact solution of Solov'ev."""

import functools

import numpy as np
import pytest
import solovev
from cases import torus

import fieldfit
from fieldfit.equilibrium import (
    ForceBalance,
    Plasma,
    PowerSeries,
    QuantityObjective,
    boundary_constraints,
    solve,
)
from fieldfit.equilibrium.equilibrium import Equilibrium


def elliptic(height):
    return Equilibrium.from_boundary(
        3, Rb={0: 3.0, 1: 1.0}, Zb={-1: -height}, Psi=1.0, pressure=PowerSeries([1.0]), iota=PowerSeries([0.5, 0.5])
    )


def test_volume_area_and_aspect_ratio_are_those_of_an_elliptic_torus():
    plasma = Plasma.of(elliptic(1.5))
    assert plasma.volume == pytest.approx(2.0 * np.pi**2 * 3.0 * 1.5, rel=1e-13)
    assert plasma.cross_section == pytest.approx(np.pi * 1.5, rel=1e-13)
    assert plasma.aspect_ratio == pytest.approx(3.0 / np.sqrt(1.5), rel=1e-13)
    assert plasma.major_radius == pytest.approx(3.0, rel=1e-13)


@pytest.mark.parametrize("height", [0.5, 1.5, 2.0])
def test_elongation_is_the_axis_ratio_of_an_ellipse(height):
    # Ramanujan's first formula is off by h^3 / 512 with h = ((a - b) / (a + b))^2, and the ratio by ten times that.
    expected = max(height, 1.0 / height)
    assert Plasma.of(elliptic(height)).elongation == pytest.approx(expected, rel=3e-5)


def test_perimeter_of_a_circle():
    assert Plasma.of(elliptic(1.0)).perimeter == pytest.approx(2.0 * np.pi, rel=1e-13)


def test_axis_of_the_start_is_the_middle_of_a_symmetric_boundary():
    plasma = Plasma.of(elliptic(1.2))
    assert plasma.axis_radius == pytest.approx(3.0)
    assert plasma.axis_shift == pytest.approx(0.0, abs=1e-14)


def test_safety_factor_is_the_inverse_of_the_transform():
    found = Plasma.of(elliptic(1.0), rho=[0.5, 1.0]).safety_factor
    np.testing.assert_allclose(found, [1.0 / 0.75, 1.0], rtol=1e-14)


@functools.cache
def solved():
    return solve(solovev.start(8))[0]


def exact_surface(c):
    """Return R, dV per dc^2 and B^2 at points of an exact surface, evenly spaced in t."""
    R, Z = solovev.surface(c, solovev.ANGLES)
    u, v = R * Z, 0.5 * solovev.KAPPA * (R**2 - solovev.R0**2)
    slope_R, slope_Z = 2.0 * solovev.A * (u * Z + v * solovev.KAPPA * R), 2.0 * solovev.A * u * R
    squared = (solovev.F0**2 + slope_R**2 + slope_Z**2) / R**2
    return 2.0 * np.pi**2 / (solovev.KAPPA * R), squared


def integral(function, upper):
    nodes, weights = np.polynomial.legendre.leggauss(30)
    return 0.5 * upper * sum(w * function(0.5 * upper * (x + 1.0)) for x, w in zip(nodes, weights, strict=True))


def pressure(c2):
    return 2.0 * solovev.A**2 * (1.0 + solovev.KAPPA**2) / solovev.MU0 * (solovev.C_BOUNDARY**2 - c2)


def mean_square(c2):
    volume, squared = exact_surface(np.sqrt(c2))
    return np.mean(volume * squared) / np.mean(volume)


def test_axis_and_its_shift_are_those_of_solovev():
    plasma = Plasma.of(solved())
    ends = solovev.surface(solovev.C_BOUNDARY, np.array([0.0, np.pi]))[0]
    # The surfaces themselves are off by 6e-8 m at this resolution.
    assert plasma.axis_radius == pytest.approx(solovev.R0, abs=1e-6)
    assert plasma.axis_shift == pytest.approx(solovev.R0 - np.mean(ends), abs=1e-6)


def test_volume_and_beta_are_those_of_solovev():
    edge = solovev.C_BOUNDARY**2
    volume = integral(lambda c2: np.mean(exact_surface(np.sqrt(c2))[0]), edge)
    inside = integral(lambda c2: np.mean(exact_surface(np.sqrt(c2))[0]) * pressure(c2), edge)
    magnetic = integral(lambda c2: np.mean(np.prod(exact_surface(np.sqrt(c2)), axis=0)), edge)
    plasma = Plasma.of(solved())
    assert plasma.volume == pytest.approx(volume, rel=1e-6)
    assert plasma.beta == pytest.approx(2.0 * solovev.MU0 * inside / magnetic, rel=1e-6)


def test_magnetic_well_is_that_of_solovev():
    rho = np.array([0.4, 0.9])

    def well(c2):
        h = 1e-4 * c2
        volume = integral(lambda inner: np.mean(exact_surface(np.sqrt(inner))[0]), c2)
        per_c2 = np.mean(exact_surface(np.sqrt(c2))[0])
        both = [2.0 * solovev.MU0 * pressure(c2 + sign * h) + mean_square(c2 + sign * h) for sign in (1.0, -1.0)]
        return volume / mean_square(c2) * (both[0] - both[1]) / (2.0 * h) / per_c2

    expected = [well(c**2) for c in solovev.labels(rho)]
    np.testing.assert_allclose(Plasma.of(solved(), rho=rho).magnetic_well, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["volume", "aspect_ratio", "elongation", "beta", "axis_radius", "axis_shift", "safety_factor", "magnetic_well"],
)
def test_derivatives_of_quantities_equal_differences(name):
    thing = torus(3, shape=0.1)
    objective = QuantityObjective(thing, QUANTITIES[name], rho=[0.5, 0.8])
    x = objective.parameters.flat
    found = objective.evaluate(x, None, derivatives=True).jacobian
    for column in range(x.size):
        step = 1e-6 * max(1.0, abs(x[column])) * (np.arange(x.size) == column)
        ahead, behind = (objective.evaluate(x + sign * step, None, derivatives=False).residuals for sign in (1.0, -1.0))
        np.testing.assert_allclose(
            found[:, column], (ahead - behind) / (2.0 * step[column]), rtol=1e-5, atol=1e-7 * np.abs(found).max()
        )


QUANTITIES = {
    "volume": lambda plasma: plasma.volume,
    "aspect_ratio": lambda plasma: plasma.aspect_ratio,
    "elongation": lambda plasma: plasma.elongation,
    "beta": lambda plasma: plasma.beta,
    "axis_radius": lambda plasma: plasma.axis_radius,
    "axis_shift": lambda plasma: plasma.axis_shift,
    "safety_factor": lambda plasma: plasma.safety_factor,
    "magnetic_well": lambda plasma: plasma.magnetic_well,
}


def test_goals_turn_quantities_into_residuals():
    thing = elliptic(1.0)
    inside = QuantityObjective(thing, QUANTITIES["volume"], fieldfit.Goal(bounds=(50.0, 70.0)), name="volume")
    above = QuantityObjective(thing, QUANTITIES["volume"], fieldfit.Goal(target=0.0, normalization=2.0 * np.pi**2))
    x = inside.parameters.flat
    assert inside.evaluate(x, None, derivatives=True).cost == 0.0
    assert above.evaluate(x, None, derivatives=False).residuals[0] == pytest.approx(3.0)
    assert inside.term_slices() == {"volume": slice(0, 1)}


def test_a_free_boundary_mode_moves_to_the_aspect_ratio_asked_for_while_force_balance_holds():
    thing = solve(torus(4))[0]
    goal = fieldfit.Goal(target=3.3, normalization=1e-3)
    terms = {"force": ForceBalance(thing), "aspect": QuantityObjective(thing, QUANTITIES["aspect_ratio"], goal)}
    objective = fieldfit.ObjectiveFunction(terms)
    # All lengths of the boundary but the height of the plasma stay.
    held = [fieldfit.Fixed("Rb_lmn"), *(fieldfit.Fixed(f"Zb_lmn[{place}]") for place in (1, 2, 3))]
    problem = fieldfit.Problem(
        objective, objective.parameters.free("Zb_lmn"), constraints=[*boundary_constraints(thing), *held]
    )
    result = fieldfit.LeastSquaresOptimizer().optimize(problem)
    found = thing.with_params(result.x)
    assert Plasma.of(found).aspect_ratio == pytest.approx(3.3, abs=1e-4)
    np.testing.assert_array_equal(found.Rb_lmn, thing.Rb_lmn)
    # Aspect ratio 3 / sqrt(height) of an ellipse with a half width of 1.
    assert -found.Zb_lmn[0] == pytest.approx((3.0 / 3.3) ** 2, abs=1e-4)
