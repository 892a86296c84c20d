"""An outer problem whose inner one is force balance, beside a search by whole solves."""

import pytest
import scipy.optimize
from cases import torus

import fieldfit
from fieldfit.equilibrium import (
    Equilibrium,
    ForceBalance,
    Plasma,
    PowerSeries,
    QuantityObjective,
    boundary_constraints,
    solve,
)
from fieldfit.equilibrium.equilibrium import UNKNOWNS
from fieldfit.optimize import Optimizer
from fieldfit.things import Term

SHIFT = 0.04
"""How far the axis is to be outside the middle of the boundary [m]; 0.029 at the start."""

TIGHT = fieldfit.LeastSquaresOptimizer(ftol=None, gtol=1e-11, xtol=1e-13)


def axis_shift(plasma):
    return plasma.axis_shift


@pytest.fixture(scope="module")
def solved():
    return solve(torus(5, shape=0.05), optimizer=TIGHT)[0]


def with_pressure(equilibrium, factor):
    return equilibrium.with_params({"p_l": factor * equilibrium.params_dict["p_l"]})


def test_the_pressure_that_shifts_the_axis_is_that_of_a_search_by_whole_solves(solved):
    name = solved.name
    shift = Term(QuantityObjective(solved, axis_shift), target=SHIFT, normalization=1e-3, unit="m")
    balance = Term(ForceBalance(solved), name="force balance", solves_for=UNKNOWNS)
    edge = Term(lambda p: p["p_l"].sum(), name="pressure at the edge", unit="Pa", is_linear=True)
    held = [fieldfit.Fixed(f"{name}.{key}") for key in ("Rb_lmn", "Zb_lmn", "Psi", "i_l")]
    (found,), result = Optimizer("proximal-lsq-exact").optimize(
        solved,
        shift,
        [balance, edge, *boundary_constraints(solved, prefix=f"{name}."), *held],
        ftol=1e-12,
        verbose=0,
    )
    assert result.success
    assert float(Plasma.of(found).axis_shift) == pytest.approx(SHIFT, abs=1e-8)
    assert found.pressure(1.0) == pytest.approx(0.0, abs=1e-9)

    def excess(factor):
        again, _ = solve(with_pressure(solved, factor), optimizer=TIGHT)
        return float(Plasma.of(again).axis_shift) - SHIFT

    factor = scipy.optimize.brentq(excess, 1.0, 4.0, xtol=1e-6)
    expected = factor * solved.params_dict["p_l"]
    # Whole solves end where a relative change of 1e-11 in the force is left, which is 1e-6 of the pressure here.
    assert found.params_dict["p_l"] == pytest.approx(expected, rel=1e-5)


def test_the_outer_derivative_is_that_of_whole_solves(solved):
    """The linear prediction of the axis after a change of one mode of the boundary."""
    goal = QuantityObjective(solved, axis_shift)
    objective = fieldfit.ProximalObjective(
        goal, ForceBalance(solved), inner=UNKNOWNS, linear=boundary_constraints(solved)
    ).for_parameters(outer_parameters(solved))
    values = objective.parameters.flat
    found = objective.evaluate(values, objective.initial_state(), derivatives=True)
    (place,) = objective.parameters.elements("Rb_lmn")[2:3]
    step = 1e-3

    def shift(sign):
        moved = solved.params_dict["Rb_lmn"]
        moved[2] += sign * step
        # The surfaces of the last solution with the new boundary are no start that meets it, but a solve makes it meet.
        again, _ = solve(solved.with_params({"Rb_lmn": moved}), optimizer=TIGHT)
        return float(Plasma.of(again).axis_shift)

    expected = (shift(1.0) - shift(-1.0)) / (2.0 * step)
    column = list(found.columns).index(place)
    assert found.jacobian[0, column] == pytest.approx(expected, rel=1e-3)


def test_a_weak_direction_is_solved_for_with_second_derivatives():
    # At L = 10 the poloidal angle is so weak that steps without them move away, and shorter ones, too.
    start = Equilibrium.from_boundary(
        10,
        Rb={0: 3.51, 1: 1.0, 2: 0.106},
        Zb={-1: -1.47, -2: 0.16},
        Psi=1.0,
        pressure=PowerSeries([1600.0, -3200.0, 1600.0], powers=[0, 2, 4]),
        iota=PowerSeries([1.0, -0.67], powers=[0, 2]),
    )
    plasma, _ = solve(start)
    goal = Term(QuantityObjective(plasma, lambda quantities: quantities.aspect_ratio), target=3.0)
    balance = Term(ForceBalance(plasma), name="force balance", solves_for=UNKNOWNS)
    places = [f"Rb_lmn[{place}]" for place in range(plasma.Rb_lmn.size) if place != 1]
    held = [fieldfit.Fixed(f"{plasma.name}.{key}") for key in ("Psi", "p_l", "i_l", "Zb_lmn", *places)]
    constraints = [balance, *boundary_constraints(plasma, prefix=f"{plasma.name}."), *held]
    (found,), result = Optimizer("proximal-lsq-exact").optimize(plasma, goal, constraints, verbose=0, copy=True)
    assert result.success
    assert float(Plasma.of(found).aspect_ratio) == pytest.approx(3.0, abs=1e-8)


def outer_parameters(equilibrium):
    entries = [entry for entry in equilibrium.parameters if entry.name not in UNKNOWNS]
    return fieldfit.Parameters([entry.replace(fixed=entry.name not in ("Rb_lmn",)) for entry in entries])
