"""An equilibrium among things."""

import numpy as np
import pytest
from cases import torus

import fieldfit
from fieldfit.equilibrium import ForceBalance, Plasma, QuantityObjective, boundary_constraints, solve
from fieldfit.equilibrium.equilibrium import UNKNOWNS
from fieldfit.optimize import Optimizer
from fieldfit.things import BoundedThing, SpectralThing, Term, Thing, pack, x_idx


def held(start):
    given = [name for name in start.params_dict if name not in UNKNOWNS]
    return [
        *boundary_constraints(start, prefix="equilibrium."),
        *(fieldfit.Fixed(f"equilibrium.{name}") for name in given),
    ]


def test_an_equilibrium_is_a_thing_with_bounds_and_modes():
    thing = torus(4)
    assert all(isinstance(thing, kind) for kind in (Thing, BoundedThing, SpectralThing))
    np.testing.assert_array_equal(pack(thing), thing.pack_params(thing.params_dict))
    for name, places in x_idx(thing).items():
        np.testing.assert_array_equal(places, thing.x_idx[name])


@pytest.mark.parametrize("x_scale", ["auto", "ess"])
def test_solving_a_thing_by_terms_equals_solving_an_equilibrium(x_scale):
    start = torus(4, shape=0.1)
    (found,), result = Optimizer("lsq-exact").optimize(
        start, Term(ForceBalance(start)), held(start), ftol=1e-12, xtol=1e-10, maxiter=200, x_scale=x_scale, verbose=0
    )
    assert result.success
    direct, _ = solve(start)
    assert Plasma.of(found).axis_radius == pytest.approx(Plasma.of(direct).axis_radius, abs=1e-3)


def test_a_quantity_is_a_term():
    start = torus(3)
    term = Term(QuantityObjective(start, lambda plasma: plasma.axis_radius), target=3.1)
    free = [f"equilibrium.{name}" for name in start.params_dict if name not in ("R_lmn", "Rb_lmn")]
    constraints = [*boundary_constraints(start, prefix="equilibrium."), *(fieldfit.Fixed(name) for name in free)]
    (found,), _ = Optimizer("lsq-exact").optimize(start, term, constraints, ftol=1e-12, verbose=0)
    assert Plasma.of(found).axis_radius == pytest.approx(3.1, abs=1e-6)
