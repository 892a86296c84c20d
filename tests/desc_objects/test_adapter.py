"""DESC's objects under our optimizers, and these inside DESC."""

import numpy as np
import pytest

pytest.importorskip("desc", reason="DESC is an optional dependency with an environment of its own")

import desc.optimize
from desc.coils import CoilSet, FourierPlanarCoil
from desc.objectives import (
    AspectRatio,
    CoilLength,
    Elongation,
    FixBoundaryR,
    FixBoundaryZ,
    FixIota,
    FixParameters,
    FixPressure,
    FixPsi,
    ForceBalance,
    ObjectiveFunction,
    get_fixed_boundary_constraints,
)
from numpy.testing import assert_allclose, assert_array_equal
from plasmas import solovev

from fieldfit.compat.desc import Optimizer
from fieldfit.equilibrium.desc import DescObjective, DescOptimizer, DescThing, register_with_desc
from fieldfit.equilibrium.desc.linear import linear_rows
from fieldfit.equilibrium.desc.task import DescTask
from fieldfit.errors import ConstraintError, SettingsError

pytestmark = pytest.mark.filterwarnings("ignore")

SOLOVEV_COST = 5.9034e-10
"""Of desc.optimize.Optimizer("lsq-exact") at tolerances of 1e-8, desc-opt 0.17.3, SOLOVEV with L = M = 6."""

TIGHT = {"ftol": 1e-8, "xtol": 1e-8, "gtol": 1e-8, "verbose": 0}


@pytest.fixture(scope="module")
def start():
    return solovev(6)


@pytest.fixture(scope="module")
def solved(start):
    objective, constraints = ObjectiveFunction(ForceBalance(start)), get_fixed_boundary_constraints(eq=start)
    return Optimizer("lsq-exact").optimize(start, objective, constraints, copy=True, **TIGHT)


def shape_constraints(eq):
    held = [
        [mode for mode in basis.modes if abs(mode[1]) not in (1, 2)]
        for basis in (eq.surface.R_basis, eq.surface.Z_basis)
    ]
    boundary = FixBoundaryR(eq, modes=held[0]), FixBoundaryZ(eq, modes=held[1])
    return (ForceBalance(eq), FixPressure(eq), FixIota(eq), FixPsi(eq), *boundary)


def aspect_ratio(eq):
    return float(eq.compute("R0/a")["R0/a"])


def circle(radius):
    return FourierPlanarCoil(r_n=[radius], modes=[0])


def test_solovev_ends_in_the_minimum_of_desc(solved):
    (plasma,), result = solved
    assert result["success"]
    assert_allclose(result["cost"], SOLOVEV_COST, rtol=1e-4)
    assert_allclose(plasma.axis.R_n, [3.98914525], atol=1e-6)  # of the same run of DESC


def test_the_result_has_the_entries_of_desc(start, solved):
    (plasma,), result = solved
    assert_array_equal(result["x"], np.asarray(plasma.pack_params(plasma.params_dict)))
    assert_allclose(result["allx"][0], np.asarray(start.pack_params(start.params_dict)), atol=1e-15)
    assert_allclose(0.5 * result["fun"] @ result["fun"], result["cost"], rtol=1e-12)
    total = result["Objective values"]["Total (sum of squares)"]
    assert_allclose(total["f"], result["cost"], rtol=1e-9)
    assert {"R boundary error: ", "Fixed Psi error: "} <= result["Objective values"].keys()
    assert len(result["history"]) == len(result["allx"])
    assert result.get("nothing") is None


def test_a_copy_leaves_the_start_as_it_is_and_loses_no_attribute(start, solved):
    (plasma,), _ = solved
    fresh = solovev(6)
    assert vars(plasma).keys() == vars(start).keys()
    for name, values in fresh.params_dict.items():
        assert_array_equal(values, start.params_dict[name], err_msg=name)
    for kept in ("L", "M", "N", "NFP", "sym", "L_grid", "M_grid", "spectral_indexing", "bdry_mode"):
        assert getattr(plasma, kept) == getattr(start, kept)
    assert_array_equal(plasma.pressure.params, start.pressure.params)


def test_without_a_copy_the_thing_itself_is_set(solved):
    (plasma,), _ = solved
    own = plasma.copy()
    own.R_lmn = own.R_lmn * 1.0
    objective, constraints = ObjectiveFunction(ForceBalance(own)), get_fixed_boundary_constraints(eq=own)
    own.L_lmn = own.L_lmn * 1.001
    (found,), result = DescOptimizer("lsq-exact").optimize(own, objective, constraints, verbose=0)
    assert found is own
    assert_array_equal(np.asarray(own.pack_params(own.params_dict)), result.x)


def test_residuals_and_derivatives_are_those_of_desc(start):
    task = DescTask.of(start, ObjectiveFunction(ForceBalance(start)), ())
    objective, x = task.objective(), task.things.parameters.flat
    directions = np.random.default_rng(0).normal(size=(x.size, 27))
    found = objective.along(directions).evaluate(x, None, derivatives=True)
    jacobian = np.asarray(task.function.jac_scaled_error(x))
    spread = np.zeros((found.residuals.size, x.size))
    spread[:, found.columns] = found.jacobian
    assert_allclose(found.residuals, np.asarray(task.function.compute_scaled_error(x)), rtol=1e-12, atol=1e-15)
    assert_allclose(spread @ directions, jacobian @ directions, atol=1e-11 * np.max(np.abs(jacobian @ directions)))


def test_blocks_of_tangents_are_the_whole(start):
    objective = DescTask.of(start, ObjectiveFunction(ForceBalance(start)), ()).objective()
    x = objective.parameters.flat
    objective.along(np.eye(x.size)[:, :40]).evaluate(x, None, derivatives=True)
    found = objective.evaluate(x, None, derivatives=True).jacobian
    assert_allclose(found, np.asarray(objective.objective.jac_scaled_error(x)), rtol=1e-10, atol=1e-12)


def test_linear_rows_are_the_jacobian_of_desc(start):
    constraints = get_fixed_boundary_constraints(eq=start)
    task = DescTask.of(start, ObjectiveFunction(ForceBalance(start)), constraints)
    together = ObjectiveFunction(task.linear)
    together.build(verbose=0)
    size = task.things.parameters.size
    expected = np.asarray(together.jac_scaled_error(np.zeros(size)))
    spread = np.zeros_like(expected)
    stop = 0
    for rows in task.rows:
        columns = [task.things.parameters.elements(name) for name in rows.names]
        begin, stop = stop, stop + rows.values.size
        for name, own in zip(rows.names, columns, strict=True):
            places = np.concatenate(
                [np.full(len(other), which == name) for which, other in zip(rows.names, columns, strict=True)]
            )
            spread[begin:stop, own] = rows.matrix[:, places]
    assert_allclose(spread, expected, atol=1e-15)


def test_a_constraint_that_is_not_linear_is_refused(start):
    lying = AspectRatio(start, target=3.0)
    lying._linear = True
    task = DescTask.of(start, ObjectiveFunction(ForceBalance(start)), ())
    with pytest.raises(ConstraintError, match="aspect ratio"):
        linear_rows([lying], task.named)


def test_an_objective_of_a_copy_is_refused(start):
    with pytest.raises(SettingsError, match="that very object"):
        Optimizer("lsq-exact").optimize(start.copy(), ObjectiveFunction(ForceBalance(start)), (), verbose=0)


def test_what_is_no_object_of_desc_is_refused(start):
    with pytest.raises(SettingsError, match="no Optimizable"):
        Optimizer("lsq-exact").optimize(3.0, ObjectiveFunction(ForceBalance(start)))
    with pytest.raises(SettingsError, match="no objective of DESC"):
        Optimizer("lsq-exact").optimize(start, lambda p: p)
    with pytest.raises(SettingsError, match="no objective of DESC"):
        Optimizer("lsq-exact").optimize(start, ObjectiveFunction(ForceBalance(start)), [None])


def test_methods_have_names_of_both():
    for name in ("fmintr", "prox-lsq-exact", "proximal-lsq-exact", "scipy-trf", "lsq-auglag", "sgd"):
        assert Optimizer(name).method == name
    with pytest.raises(SettingsError, match="scipy-bfgs"):
        Optimizer("fmintr-bfgs")
    with pytest.raises(SettingsError, match="lsq-exact"):
        Optimizer("lsq-exat")


@pytest.mark.parametrize("form", ["array", "dictionary", "ess", "list"])
def test_every_form_of_x_scale_leads_to_force_balance(start, form):
    forms = {
        "array": np.ones(start.dim_x),
        "dictionary": {name: np.ones(values.shape) for name, values in start.params_dict.items()},
        "ess": "ess",
        "list": ["ess"],
    }
    options = {"tr_method": "svd", "max_nfev": 200}
    objective, constraints = ObjectiveFunction(ForceBalance(start)), get_fixed_boundary_constraints(eq=start)
    call = {"x_scale": forms[form], "options": options, "ftol": 1e-6, "verbose": 0, "copy": True}
    _, result = Optimizer("lsq-exact").optimize(start, objective, constraints, **call)
    assert_allclose(result["cost"], SOLOVEV_COST, rtol=1e-2)
    assert options == {"tr_method": "svd", "max_nfev": 200}


def test_scales_of_modes_are_those_of_desc(start):
    from fieldfit.things import SpectralScale

    own = start._get_ess_scale(1.2, np.inf, 1e-7)
    for name, scale in SpectralScale().of_thing(DescThing(start)).items():
        assert_allclose(scale, own[name], rtol=1e-12, err_msg=name)


def test_a_shape_is_reached_under_force_balance(solved):
    (plasma,), _ = solved
    goals = ObjectiveFunction((AspectRatio(plasma, target=3.4), Elongation(plasma, target=1.6)))
    options = {"perturb_options": {"order": 2, "tr_ratio": [0.1, 0.25]}, "solve_options": {"xtol": 1e-10, "verbose": 0}}
    call = {"options": options, "copy": True, **TIGHT}
    (shaped,), result = Optimizer("proximal-lsq-exact").optimize(plasma, goals, shape_constraints(plasma), **call)
    assert result["success"]
    assert result["cost"] < 1e-12
    assert_allclose(aspect_ratio(shaped), 3.4, atol=1e-6)
    force = ObjectiveFunction(ForceBalance(shaped))
    force.build(verbose=0)
    assert float(force.compute_scalar(force.x(shaped))) < 1e-9


def test_bounds_hold_under_the_augmented_lagrangian(solved):
    (plasma,), _ = solved
    goals = ObjectiveFunction(AspectRatio(plasma, target=3.4))
    inside = Elongation(plasma, bounds=(1.4, 1.5))
    constraints = (*shape_constraints(plasma), inside)
    (shaped,), result = Optimizer("lsq-auglag").optimize(plasma, goals, constraints, verbose=0, copy=True, maxiter=100)
    elongation = float(shaped.compute("a_major/a_minor")["a_major/a_minor"][0])
    assert 1.4 - 1e-3 < elongation < 1.5 + 1e-3
    assert_allclose(aspect_ratio(shaped), 3.4, atol=1e-3)
    assert result["constr_violation"] < 1e-3


def test_several_things_come_back_in_their_order():
    one, other = circle(1.0), circle(2.0)
    goals = ObjectiveFunction((CoilLength(one, target=10.0), CoilLength(other, target=20.0)))
    fixed = [FixParameters(coil, {"center": True, "normal": True, "current": True}) for coil in (one, other)]
    (second, first), result = Optimizer("lsq-exact").optimize([other, one], goals, fixed, copy=True, **TIGHT)
    assert_allclose(first.r_n, [10.0 / (2.0 * np.pi)], rtol=1e-6)
    assert_allclose(second.r_n, [20.0 / (2.0 * np.pi)], rtol=1e-6)
    assert_allclose(result["x"], np.concatenate([thing.pack_params(thing.params_dict) for thing in (second, first)]))


def test_a_collection_keeps_its_members():
    coils = CoilSet(circle(1.0), circle(2.0))
    thing = DescThing(coils)
    moved = thing.with_params({**thing.params_dict, "1.r_n": np.array([3.0])})
    assert_allclose([coil.r_n[0] for coil in moved.optimizable], [1.0, 3.0])
    assert_allclose([coil.r_n[0] for coil in coils], [1.0, 2.0])


def test_our_optimizer_inside_desc_ends_in_the_same_minimum(start):
    assert "fieldfit-lsq-exact" in register_with_desc()
    objective, constraints = ObjectiveFunction(ForceBalance(start)), get_fixed_boundary_constraints(eq=start)
    optimizer = desc.optimize.Optimizer("fieldfit-lsq-exact")
    _, result = optimizer.optimize(start, objective, constraints, copy=True, **TIGHT)
    assert_allclose(result["cost"], SOLOVEV_COST, rtol=1e-4)
    assert result["allx"][0].size == start.dim_x
    assert result["nit"] >= 1


def test_a_callback_ends_a_run_inside_desc(start):
    register_with_desc(["lsq-exact"])
    points = []

    def stop_after_two(x):
        points.append(x)
        return len(points) == 2

    objective, constraints = ObjectiveFunction(ForceBalance(start)), get_fixed_boundary_constraints(eq=start)
    call = {"options": {"callback": stop_after_two}, "copy": True, **TIGHT}
    desc.optimize.Optimizer("fieldfit-lsq-exact").optimize(start, objective, constraints, **call)
    assert len(points) == 2


def test_derivatives_agree_with_differences(solved):
    (plasma,), _ = solved
    objective = DescTask.of(plasma, ObjectiveFunction(AspectRatio(plasma, target=3.0)), ()).objective()
    assert isinstance(objective, DescObjective)
    x = objective.parameters.flat
    direction = np.zeros(x.size)
    direction[objective.parameters.elements("Equilibrium.R_lmn")] = 1.0
    found = objective.along(direction[:, None]).evaluate(x, None, derivatives=True)
    ends = [objective.evaluate(x + step * direction, None, derivatives=False).residuals for step in (1e-5, -1e-5)]
    slope = found.jacobian @ direction[found.columns]
    assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-6)
