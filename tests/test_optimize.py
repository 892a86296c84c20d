"""Things in, better things out: names, options, scales, constraints, reports, and what is promised of results."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fieldfit
from fieldfit.equilibrium import (
    Equilibrium,
    ForceBalance,
    Plasma,
    PowerSeries,
    QuantityObjective,
    boundary_constraints,
)
from fieldfit.equilibrium import solve as solve_equilibrium
from fieldfit.errors import EvaluationError, FileFormatError, SettingsError
from fieldfit.optimize import Optimizer, optimizer_names, register_optimizer
from fieldfit.optimize.result import is_success
from fieldfit.problem import Verdict
from fieldfit.things import Term
from some_things import Polynomial, Settable, curve_values, plain, rosenbrock, values_of

T = np.linspace(-1.0, 1.0, 21)
DATA = np.exp(T)
POWERS = np.stack([T**degree for degree in range(4)], axis=1)

LEAST_SQUARES = ("lsq-exact", "lsq-auglag", "scipy-trf", "scipy-dogbox", "scipy-lm")
SCALAR = ("fmin-exact", "fmin-dogleg", "fmin-subspace", "fmin-auglag", "scipy-BFGS", "scipy-L-BFGS-B", "scipy-SLSQP")
CONSTRAINED = ("lsq-auglag", "fmin-auglag", "scipy-SLSQP", "scipy-trust-constr")
TIGHT = {"ftol": 1e-12, "xtol": 1e-10, "gtol": 1e-10, "maxiter": 500}


def solve(name, things, objective, constraints=(), **options):
    """Run silently with tight tolerances."""
    return Optimizer(name).optimize(things, objective, constraints, **{"verbose": 0, **TIGHT, **options})


@functools.cache
def fit_term(things=None) -> Term:
    """Return the same term to every test: what is compiled for it is compiled once."""
    return Term(curve_values(T), things, target=DATA, name="fit")


@functools.cache
def held_scale() -> Term:
    return Term(values_of("scale"), target=1.0, is_linear=True, name="scale")


def polynomial_fit(*, ends_at: float | None = None) -> np.ndarray:
    """Return the coefficients of least squares by linear algebra, the sum of them held if wanted."""
    if ends_at is None:
        return np.linalg.lstsq(POWERS, DATA, rcond=None)[0]
    system = np.block([[POWERS.T @ POWERS, np.ones((4, 1))], [np.ones((1, 4)), np.zeros((1, 1))]])
    return np.linalg.solve(system, np.concatenate([POWERS.T @ DATA, [ends_at]]))[:4]


# Names.


@pytest.mark.parametrize("name", [*LEAST_SQUARES, *SCALAR])
def test_every_method_ends_at_the_solution_of_the_linear_algebra(name) -> None:
    (curve,), result = solve(name, Polynomial([0.0, 0.0, 0.0, 0.0]), fit_term(), held_scale())
    assert_allclose(curve.coefficients, polynomial_fit(), atol=1e-6)
    assert result.success, result


@pytest.mark.parametrize("name", ["sgd", "optax-adam"])
def test_first_order_methods_come_near_it(name) -> None:
    (curve,), _ = solve(name, Polynomial([0.0, 0.0]), fit_term(), held_scale(), maxiter=150, options={"patience": None})
    assert_allclose(curve.coefficients, np.linalg.lstsq(POWERS[:, :2], DATA, rcond=None)[0], atol=0.05)


@pytest.mark.parametrize("name", ["scipy-bfgs", "scipy-slsqp", "scipy-l-bfgs-b"])
def test_names_of_scipy_methods_may_be_written_in_small_letters(name) -> None:
    assert solve(name, plain(x=[3.0]), Term(values_of(), target=1.0))[1].success


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("lsq-exakt", "lsq-exact"), ("scipy-BGFS", "scipy-BFGS"), ("proximal-lsq-exat", "lsq-exact"), ("sdg", "sgd")],
)
def test_unknown_names_name_the_nearest(name, nearest) -> None:
    with pytest.raises(SettingsError, match=f"Did you mean '{nearest}'"):
        Optimizer(name)


def test_every_name_that_is_listed_is_known() -> None:
    for name in optimizer_names():
        assert Optimizer(name).name == name


def test_a_registered_factory_gets_what_the_call_was_given() -> None:
    given = {}

    def factory(gtol=1.0, maxiter=7, colour="red"):
        given.update(gtol=gtol, maxiter=maxiter, colour=colour)
        return fieldfit.LeastSquaresOptimizer()

    register_optimizer("test-painter", factory, replace=True)
    Optimizer("test-painter").optimize(
        plain(x=[3.0]), Term(values_of()), gtol=1e-3, verbose=0, options={"colour": "blue"}
    )
    assert given == {"gtol": 1e-3, "maxiter": 100, "colour": "blue"}


def test_a_taken_name_is_not_registered_again() -> None:
    with pytest.raises(SettingsError, match="already"):
        register_optimizer("lsq-exact", fieldfit.LeastSquaresOptimizer)


# Constraints.


@pytest.mark.parametrize("name", ["lsq-exact", "fmin-exact", "scipy-lm", "scipy-BFGS", "lsq-auglag", "scipy-SLSQP"])
def test_linear_constraints_hold_exactly_whoever_solves(name) -> None:
    end = Term(lambda p: jnp.sum(p["coefficients"]), target=3.0, is_linear=True, name="end")
    (curve,), result = solve(name, Polynomial([0.0, 0.0, 0.0, 0.0]), fit_term(), [end, held_scale()])
    assert_allclose(curve.coefficients, polynomial_fit(ends_at=3.0), atol=1e-6)
    assert abs(np.sum(curve.coefficients) - 3.0) < 1e-13
    assert result.success


def test_constraints_of_the_library_are_taken_beside_terms() -> None:
    constraints = [fieldfit.SumTo("thing0.coefficients", 3.0), fieldfit.Fixed("thing0.scale")]
    (curve,), result = solve("lsq-exact", Polynomial([0.0, 0.0, 0.0, 0.0]), fit_term(), constraints)
    assert_allclose(curve.coefficients, polynomial_fit(ends_at=3.0), atol=1e-8)
    assert result["Objective values"]["sum of thing0.coefficients"].is_constraint


@pytest.mark.parametrize("name", CONSTRAINED)
def test_nonlinear_equalities_hold(name) -> None:
    # The point of the unit circle that is nearest to (3, 4) is (0.6, 0.8).
    circle = Term(lambda p: jnp.sum(p["x"] ** 2), target=1.0, name="circle")
    (point,), result = solve(name, plain(x=[1.0, 0.5]), Term(values_of(), target=[3.0, 4.0]), circle, ctol=1e-9)
    assert_allclose(point.params_dict["x"], [0.6, 0.8], atol=1e-6)
    assert result.success
    assert result.violation < 1e-8


@pytest.mark.parametrize("name", CONSTRAINED)
def test_nonlinear_inequalities_hold_and_let_go(name) -> None:
    disc = Term(lambda p: jnp.sum(p["x"] ** 2), bounds=(None, 1.0), name="disc")
    wide = Term(lambda p: jnp.sum(p["x"] ** 2), bounds=(None, 100.0), name="wide")
    (point,), _ = solve(name, plain(x=[0.5, 0.5]), Term(values_of(), target=[3.0, 4.0]), [disc, wide], ctol=1e-9)
    assert_allclose(point.params_dict["x"], [0.6, 0.8], atol=1e-6)


@pytest.mark.parametrize("name", ["lsq-auglag", "scipy-SLSQP"])
def test_equalities_that_cannot_all_hold_are_held_within_the_tolerance(name) -> None:
    # |x - 1| <= 0.001 and |x - 1.0005| <= 0.001, as near to 2 as that allows.
    twice = Term(lambda p: jnp.stack([p["x"] - 1.0, p["x"] - 1.0005]), name="twice")
    (point,), result = solve(name, plain(x=0.5), Term(values_of(), target=2.0), twice, ctol=1e-3)
    assert_allclose(point.params_dict["x"], 1.001, atol=2e-6)
    assert result.success, result


def test_a_method_without_constraints_says_who_could() -> None:
    circle = Term(lambda p: jnp.sum(p["x"] ** 2), target=1.0, name="circle")
    with pytest.raises(SettingsError, match="AugmentedLagrangianOptimizer"):
        solve("lsq-exact", plain(x=[1.0, 0.5]), Term(values_of()), circle)


def test_a_zero_residual_problem_with_constraints_ends_as_success() -> None:
    circle = Term(lambda p: jnp.sum(p["x"] ** 2), target=2.0, name="circle")
    (point,), result = Optimizer("lsq-auglag").optimize(plain(x=[0.5, 1.2]), rosenbrock(), circle, verbose=0)
    assert_allclose(point.params_dict["x"], [1.0, 1.0], atol=1e-6)
    assert result.success
    assert result.nit < 50


def test_variables_of_several_hundred_leave_the_projection_exact() -> None:
    # Quadratic in the null space: a Newton method with the right projected Hessian needs one step.
    sums = Term(lambda p: p["x"][0] + p["x"][1], target=3000.0, is_linear=True, name="sum")
    target = Term(values_of(), target=[500.0, 900.0, 700.0])
    (point,), result = solve("fmin-exact", plain(x=[1000.0, 2000.0, 300.0]), target, sums)
    assert_allclose(point.params_dict["x"], [1300.0, 1700.0, 700.0], rtol=1e-9)
    assert result.nit <= 2


def test_proximal_methods_solve_the_equality_at_every_point() -> None:
    # x^3 + x = y holds throughout; the distance of x from 2 is smallest at y = 10.
    root = Term(lambda p: p["x"] ** 3 + p["x"] - p["y"], name="root", solves_for=["x"])
    goal = Term(values_of(), target=2.0, name="goal")
    thing = plain(x=0.5, y=1.0)
    runs = [solve("proximal-lsq-exact", thing, goal, root, copy=True) for _ in range(2)]
    (found,), result = runs[0]
    assert_allclose([found.params_dict["x"], found.params_dict["y"]], [2.0, 10.0], atol=1e-8)
    assert result.success
    assert_allclose(result.x, [2.0, 10.0], atol=1e-8)
    assert_allclose(result.allx[:, 0] ** 3 + result.allx[:, 0], result.allx[:, 1], atol=1e-8)
    # Nothing is remembered between calls: the same bits again.
    assert_array_equal(result.x, runs[1][1].x)
    assert_allclose(result["Objective values"]["root"].after.values, 0.0, atol=1e-8)


def test_linear_constraints_on_inner_parameters_go_to_the_inner_solve() -> None:
    # x0 + x1 = y and x0 x1 = 6: at y = 5, (2, 3); the goal x1 - x0 = 1 asks for that.
    thing = plain(x=[1.0, 4.0], y=6.0)
    product = Term(lambda p: p["x"][0] * p["x"][1], target=6.0, name="product", solves_for=["x"])
    total = Term(lambda p: p["x"][0] + p["x"][1] - p["y"], is_linear=True, name="total")
    goal = Term(lambda p: p["x"][1] - p["x"][0], target=1.0, name="goal")
    (found,), _ = solve("proximal-lsq-exact", thing, goal, [product, total])
    assert_allclose(found.params_dict["x"], [2.0, 3.0], atol=1e-7)
    assert_allclose(found.params_dict["y"], 5.0, atol=1e-7)


def shape_problem(resolution):
    """Return an equilibrium, the wanted aspect ratio and elongation, and force balance with one free mode of each."""
    start, _ = solve_equilibrium(
        Equilibrium.from_boundary(
            resolution,
            Rb={0: 3.999, 1: 1.026, 2: -0.068},
            Zb={-1: -1.58, -2: -0.01},
            Psi=1.0,
            pressure=PowerSeries([0.125, -0.125], powers=[0, 2]),
            iota=PowerSeries([1.0]),
        )
    )
    held = [name for name in start.params_dict if name not in ("R_lmn", "Z_lmn", "L_lmn", "Rb_lmn", "Zb_lmn")]
    held += [f"Rb_lmn[{place}]" for place in range(start.Rb_lmn.size) if place != 1]
    held += [f"Zb_lmn[{place}]" for place in range(start.Zb_lmn.size) if place != 0]
    balance = Term(ForceBalance(start), name="force", solves_for=["R_lmn", "Z_lmn", "L_lmn"])
    terms = [
        Term(QuantityObjective(start, lambda plasma: plasma.aspect_ratio), target=3.43, name="aspect ratio"),
        Term(QuantityObjective(start, lambda plasma: plasma.elongation), target=1.72, name="elongation"),
    ]
    fixed = [fieldfit.Fixed(f"equilibrium.{name}") for name in held]
    return start, terms, [balance, *boundary_constraints(start, prefix="equilibrium."), *fixed]


@pytest.mark.parametrize("name", ["lsq-auglag", "proximal-lsq-exact"])
def test_the_shape_of_an_equilibrium_is_met_under_force_balance(name) -> None:
    # Six modes leave forces of 1e-5 of a typical one: with the default `ctol` of 1e-4 there is an answer.
    start, terms, constraints = shape_problem(6)
    (found,), result = Optimizer(name).optimize(start, terms, constraints, verbose=0, copy=True)
    assert result.success, result
    assert result.cost < 1e-12
    plasma = Plasma.of(found)
    assert_allclose([plasma.aspect_ratio, plasma.elongation], [3.43, 1.72], atol=1e-6)
    assert np.max(np.abs(result["Objective values"]["force"].after.values)) <= 1.001e-4
    assert result.nit <= 5


def test_a_proximal_method_needs_to_know_what_the_equality_determines() -> None:
    with pytest.raises(SettingsError, match="solves_for"):
        solve("proximal-lsq-exact", plain(x=0.5, y=1.0), Term(values_of()), Term(lambda p: p["x"] ** 2, name="root"))
    wrong = Term(lambda p: p["x"] ** 2, name="root", solves_for=["z"])
    with pytest.raises(SettingsError, match="parameter to solve for is called 'z'"):
        solve("proximal-lsq-exact", plain(x=0.5, y=1.0), Term(values_of()), wrong)


# Things.


def test_several_things_are_varied_together() -> None:
    one, two = plain(x=[0.0, 0.0]), Polynomial([0.0], name="line")
    gap = Term(lambda p, q: p["x"] - q["coefficients"] * jnp.ones(2), [one, two], target=[1.0, 3.0], name="gap")
    anchor = Term(lambda q: q["coefficients"], "line", target=5.0, name="anchor")
    (first, second), result = solve("lsq-exact", [one, two], [gap, anchor], fieldfit.Fixed("line.scale"))
    assert_allclose(first.params_dict["x"], [6.0, 8.0], atol=1e-8)
    assert_allclose(second.coefficients, [5.0], atol=1e-8)
    assert_allclose(result.x, [6.0, 8.0, 5.0, 1.0], atol=1e-8)


def test_without_copy_parameters_are_set_on_the_things_that_allow_it() -> None:
    thing = Settable([3.0])
    (found,), _ = solve("lsq-exact", thing, Term(values_of(), target=1.0))
    assert found is thing
    assert_allclose(thing.params_dict["x"], [1.0])


def test_with_copy_the_things_stay_as_they_are() -> None:
    thing = Settable([3.0])
    (found,), _ = solve("lsq-exact", thing, Term(values_of(), target=1.0), copy=True)
    assert found is not thing
    assert_allclose(thing.params_dict["x"], [3.0])
    assert_allclose(found.params_dict["x"], [1.0])


@pytest.mark.parametrize("name", ["lsq-exact", "fmin-exact", "scipy-L-BFGS-B", "sgd"])
def test_bounds_of_a_thing_hold_at_every_point(name) -> None:
    seen = []
    thing = Polynomial([0.5, 0.5], bounds={"coefficients": (0.0, 1.0)})
    observer = lambda step: seen.append(step.values["thing0.coefficients"])  # noqa: E731
    (curve,), _ = solve(name, thing, fit_term(), held_scale(), observers=[observer], maxiter=60)
    assert np.all((np.array(seen) >= 0.0) & (np.array(seen) <= 1.0))
    assert_allclose(curve.coefficients[1], 1.0, atol=1e-4)


# Results.


@pytest.mark.parametrize("name", ["lsq-exact", "fmin-exact", "lsq-auglag", "scipy-SLSQP", "sgd"])
@pytest.mark.parametrize("x_scale", ["auto", [10.0, 0.1, 1.0, 2.0, 3.0]])
def test_x_is_full_and_physical_whatever_the_method_and_the_scale(name, x_scale) -> None:
    end = Term(lambda p: jnp.sum(p["coefficients"]), target=3.0, is_linear=True, name="end")
    (curve,), result = solve(
        name, Polynomial([3.0, 0.0, 0.0, 0.0]), fit_term(), [end, held_scale()], x_scale=x_scale, maxiter=30
    )
    assert_array_equal(result.x, [*curve.coefficients, curve.scale])
    assert_array_equal(result.allx[-1], result.x)
    assert_allclose(result.allx[0], [3.0, 0.0, 0.0, 0.0, 1.0], atol=3.0)
    assert_allclose(np.sum(result.allx[:, :4], axis=1), 3.0, atol=1e-12)


def test_entries_of_the_result_are_attributes_and_keys() -> None:
    _, result = solve("lsq-exact", plain(x=[3.0]), Term(values_of(), target=1.0))
    for key in result:
        assert key in result
        if key != "Objective values":
            assert result[key] is getattr(result, key) or np.all(result[key] == getattr(result, key))
    assert result.nfev == len(result.history) >= result.nit
    with pytest.raises(SettingsError, match="Did you mean 'optimality'"):
        result["optimalty"]


def test_objective_values_are_physical_and_normalized_before_and_after() -> None:
    term = Term(values_of(), target=1.0, weight=3.0, normalization=2.0, name="goal", unit="m")
    limit = Term(lambda p: p["x"][0] ** 2, bounds=(None, 50.0), name="limit")
    _, result = solve("lsq-auglag", plain(x=[5.0]), term, limit)
    goal = result["Objective values"]["goal"]
    assert_allclose([goal.before.values[0], goal.after.values[0]], [5.0, 1.0], atol=1e-8)
    assert_allclose([goal.before.residuals[0], goal.after.residuals[0]], [6.0, 0.0], atol=1e-8)
    assert goal.unit == "m"
    assert not goal.is_constraint
    assert_allclose(result["Objective values"]["limit"].before.values, [25.0])
    assert result["Objective values"]["limit"].is_constraint


def test_scipy_methods_that_converged_report_success() -> None:
    for name in ("scipy-BFGS", "scipy-trust-exact", "scipy-Nelder-Mead"):
        _, result = solve(name, plain(x=[-1.2, 1.0]), rosenbrock())
        assert result.success, result


def test_a_run_that_was_cut_short_is_no_success() -> None:
    _, result = solve("lsq-exact", plain(x=[-1.2, 1.0]), rosenbrock(), maxiter=1)
    assert not result.success
    assert result.message.startswith("maxiter")


def test_success_is_judged_to_the_tolerance_that_was_asked_for() -> None:
    _, result = solve("lsq-exact", plain(x=[-1.2, 1.0]), rosenbrock(), maxiter=1)
    nearly = replace(result.fit, verdict=replace(result.fit.verdict, optimality=5e-3))
    assert [is_success(nearly, ftol) for ftol in (1e-2, 1e-3, None)] == [True, False, False]
    violated = replace(result.fit, verdict=Verdict("infeasible", 0.0))
    assert not is_success(violated, 1e-2)


def test_scales_of_the_scalar_trust_region_may_shrink_again() -> None:
    # Brown and Dennis: with scales that only grow, others take 282 iterations.
    t = np.arange(1, 21) / 5.0

    def residuals(p):
        x = p["x"]
        return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2

    _, result = solve("fmin-exact", plain(x=[25.0, 5.0, -5.0, -1.0]), Term(residuals))
    assert_allclose(result.fun, 85822.2, rtol=1e-6)  # More, Garbow, Hillstrom (1981), problem 16
    assert result.nit < 30


# Options.


def test_options_are_not_changed() -> None:
    options = {"initial_radius": 2.0, "ftol": 1e-8, "ess_alpha": 1.0, "solve_options": {"tolerance": 1e-9}}
    before = {**options, "solve_options": dict(options["solve_options"])}
    Optimizer("lsq-exact").optimize(plain(x=[3.0]), Term(values_of()), verbose=0, options=options)
    assert options == before


@pytest.mark.parametrize("name", ["lsq-exact", "fmin-exact", "lsq-auglag", "sgd", "scipy-trf", "scipy-COBYLA"])
def test_universal_options_are_taken_by_every_method(name) -> None:
    options = {"ftol": 1e-6, "xtol": 1e-6, "gtol": 1e-6, "ctol": 1e-6, "maxiter": 20, "ess_order": 1}
    options |= {"linear_constraint_options": {}, "perturb_options": {"order": 1}, "solve_options": {}}
    Optimizer(name).optimize(plain(x=[3.0]), Term(values_of()), verbose=0, options=options)


@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        ({"initial_radios": 1.0}, "initial_radius"),
        ({"ess_alfa": 1.0}, "ess_alpha"),
        ({"linear_constraint_options": {"tolerence": 1.0}}, "tolerance"),
        ({"perturb_options": {"ordre": 1}}, "order"),
        ({"solve_options": {"tolerence": 1.0}}, "tolerance"),
    ],
)
def test_unknown_options_name_the_nearest(options, nearest) -> None:
    with pytest.raises(SettingsError, match=f"Did you mean '{nearest}'"):
        solve("lsq-exact", plain(x=[3.0]), Term(values_of()), options=options)


def test_options_of_scipys_own_methods_are_passed_on() -> None:
    _, result = solve("scipy-L-BFGS-B", plain(x=[-1.2, 1.0]), rosenbrock(), options={"maxcor": 3})
    assert result.success
    with pytest.raises(SettingsError, match="Did you mean 'maxcor'"):
        solve("scipy-L-BFGS-B", plain(x=[-1.2, 1.0]), rosenbrock(), options={"maxcorr": 3})


def test_none_among_the_options_disables_a_test() -> None:
    # A residual that nothing changes: the cost has a floor, and falls by less and less of it.
    raised = Term(lambda p: jnp.stack([10.0 * (p["x"][1] - p["x"][0] ** 2), 1.0 - p["x"][0], 5.0]), name="raised")
    loose = {"xtol": 0.0, "gtol": 0.0, "verbose": 0}
    _, stopped = Optimizer("lsq-exact").optimize(plain(x=[-1.2, 1.0]), raised, ftol=0.9, **loose)
    _, went_on = Optimizer("lsq-exact").optimize(plain(x=[-1.2, 1.0]), raised, options={"ftol": None}, **loose)
    assert stopped.message.startswith("ftol")
    assert not went_on.message.startswith("ftol")
    assert went_on.nit > stopped.nit


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_tolerances_that_cannot_be_are_refused(value) -> None:
    with pytest.raises(SettingsError, match="xtol"):
        solve("lsq-exact", plain(x=[3.0]), Term(values_of()), xtol=value)


def test_a_tolerance_given_twice_with_two_values_is_refused() -> None:
    with pytest.raises(SettingsError, match="Give it once"):
        solve("lsq-exact", plain(x=[3.0]), Term(values_of()), ftol=1e-3, options={"ftol": 1e-4})


def test_the_call_has_the_published_signature() -> None:
    given = inspect.signature(Optimizer.optimize).parameters
    assert list(given)[1:13] == [
        *("things", "objective", "constraints", "ftol", "xtol", "gtol", "ctol", "x_scale", "verbose", "maxiter"),
        *("options", "copy"),
    ]
    assert given["x_scale"].default == "auto"
    assert given["verbose"].default == 1


# Scales.


def two_things():
    return [Polynomial([0.0, 0.0, 0.0], name="curve"), plain(x=[1.0, 1.0])]


@functools.cache
def link_term() -> Term:
    return Term(lambda p, q: p["coefficients"][:2] - q["x"], target=[1.0, 2.0], name="link")


@pytest.mark.parametrize("name", ["lsq-exact", "scipy-BFGS"])
@pytest.mark.parametrize(
    "x_scale",
    [
        "auto",
        "ess",
        [1.0, 2.0, 3.0, 1.0, 5.0, 6.0],
        ["ess", {"x": [1.0, 10.0]}],
        [{"coefficients": [1.0, 0.5, 0.1], "scale": 2.0}, "ess"],
        ["auto", {"x": 3.0}],
    ],
)
def test_no_x_scale_changes_the_answer(name, x_scale) -> None:
    (curve, other), result = solve(
        name, two_things(), [fit_term("curve"), link_term()], fieldfit.Fixed("curve.scale"), x_scale=x_scale
    )
    expected = np.linalg.lstsq(POWERS[:, :3], DATA, rcond=None)[0]
    assert_allclose(curve.coefficients, expected, atol=1e-5)
    assert_allclose(other.params_dict["x"], expected[:2] - [1.0, 2.0], atol=1e-5)
    assert result.success


def test_an_array_of_scales_is_in_the_order_of_the_things() -> None:
    scales = np.arange(1.0, 7.0)
    term = Term(lambda q, p: q["x"] - p["coefficients"][:2], ["thing1", "curve"])
    _, result = solve("lsq-exact", two_things(), term, x_scale=scales, maxiter=2)
    parameters = result.fit.initial_parameters
    assert_array_equal(parameters["curve.coefficients"].scale, [1.0, 2.0, 3.0])
    assert_array_equal(parameters["curve.scale"].scale, 4.0)
    assert_array_equal(parameters["thing1.x"].scale, [5.0, 6.0])


def test_scales_of_modes_come_from_their_numbers() -> None:
    _, result = solve(
        "lsq-exact", Polynomial([1.0, 1.0, 1.0]), fit_term(), x_scale="ess", maxiter=2, options={"ess_alpha": 0.5}
    )
    found = result.fit.initial_parameters["thing0.coefficients"].scale
    assert_allclose(found, np.exp(-0.5 * np.array([-1.0, 0.0, 1.0])))


@pytest.mark.parametrize(
    "x_scale", ["ees", [1.0, 2.0], ["ess"], [{"y": 1.0}, "ess"], [{"coefficients": [1.0]}, "ess"], {"x": 1.0}, -1.0]
)
def test_scales_that_do_not_fit_are_refused(x_scale) -> None:
    with pytest.raises(SettingsError, match="x_scale"):
        solve("lsq-exact", two_things(), Term(lambda p, q: q["x"]), x_scale=x_scale)


# Reports.


def test_silence_is_kept(capsys) -> None:
    solve("lsq-exact", plain(x=[3.0]), Term(values_of()))
    assert capsys.readouterr() == ("", "")


def test_the_report_says_why_how_long_and_every_term_before_and_after(capsys) -> None:
    limit = Term(lambda p: jnp.sum(p["x"] ** 2), bounds=(None, 9.0), name="limit")
    terms = [Term(values_of(), target=1.0, name="goal", unit="m", normalization=2.0)]
    Optimizer("lsq-auglag").optimize(plain(x=[2.0, 2.0]), terms, limit)
    text = capsys.readouterr().out
    for part in ("lsq-auglag: success", "evaluations", " s\n", "objective goal", "constraint limit", "normalized"):
        assert part in text
    assert "iteration  evaluations" not in text


def test_verbose_2_adds_a_line_per_iteration(capsys) -> None:
    circle = Term(lambda p: jnp.sum(p["x"] ** 2), target=2.0, name="circle")
    _, result = Optimizer("lsq-auglag").optimize(plain(x=[-1.2, 1.0]), rosenbrock(), circle, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert "violation" in lines[0]
    rows = [line.split() for line in lines[1 : result.nit + 2]]
    assert [int(row[0]) for row in rows] == list(range(result.nit + 1))
    # The start is outside the circle by 1.2^2 + 1 - 2, in units of the default tolerance.
    assert float(rows[0][4]) == pytest.approx(0.44 / 1e-4)


# Observers and files.


@pytest.mark.parametrize("name", ["lsq-exact", "lsq-auglag", "sgd", "scipy-BFGS", "scipy-Nelder-Mead"])
def test_an_observer_stops_any_method(name) -> None:
    _, result = solve(name, plain(x=[-1.2, 1.0]), rosenbrock(), observers=[lambda step: step.iteration == 2])
    assert result.nit == 2
    assert "observer" in result.message


@pytest.mark.parametrize("name", ["lsq-exact", "sgd", "scipy-Nelder-Mead"])
def test_a_start_that_cannot_be_evaluated_names_the_term(name) -> None:
    terms = [Term(values_of(), name="fine"), Term(lambda p: jnp.log(p["x"]), name="logarithm")]
    with pytest.raises(EvaluationError, match=r"logarithm is not finite at thing0.x\[0\] = -1"):
        solve(name, plain(x=[-1.0]), terms)


def test_scalar_objectives_on_named_parameters_are_taken() -> None:
    bowl = fieldfit.ScalarObjective(lambda p: jnp.sum((p["thing0.x"] - 2.0) ** 2) - 7.0, {"thing0.x": [0.0, 1.0]})
    (point,), result = solve("fmin-exact", plain(x=[0.0, 1.0], y=3.0), bowl, fieldfit.Fixed("thing0.y"))
    assert_allclose(point.params_dict["x"], [2.0, 2.0], atol=1e-8)
    assert result.success
    assert_allclose(result["Objective values"]["ScalarObjective"].after.values, -7.0)


def test_an_objective_of_parameters_that_no_thing_has_is_refused() -> None:
    with pytest.raises(SettingsError, match="'x'"):
        solve("fmin-exact", plain(x=[0.0]), fieldfit.ScalarObjective(lambda p: p["x"][0] ** 2, {"x": [0.0]}))


def test_what_is_no_term_is_refused() -> None:
    with pytest.raises(SettingsError, match="Wrap a function"):
        solve("lsq-exact", plain(x=[0.0]), [lambda p: p["x"]])


def test_a_run_goes_on_from_the_result_or_the_file_of_another(tmp_path) -> None:
    path = tmp_path / "point.npz"
    _, first = solve("lsq-exact", plain(x=[-1.2, 1.0]), rosenbrock(), maxiter=4, checkpoint=path)
    for earlier in (first, path, str(path)):
        _, second = solve("lsq-exact", plain(x=[-1.2, 1.0]), rosenbrock(), resume=earlier)
        # A file continues a run, which began where it began; a result is where a new one starts.
        assert second.fit.initial_score == pytest.approx(first.fun if earlier is first else first.fit.initial_score)
        assert_allclose(second.x, [1.0, 1.0], atol=1e-8)


def test_files_and_results_that_do_not_fit_are_refused(tmp_path) -> None:
    path = tmp_path / "text.npz"
    path.write_text("no checkpoint")
    with pytest.raises(FileFormatError):
        solve("lsq-exact", plain(x=[1.0]), Term(values_of()), resume=path)
    _, other = solve("lsq-exact", plain(y=[1.0]), Term(values_of("y")))
    with pytest.raises(SettingsError, match=r"thing0\.y"):
        solve("lsq-exact", plain(x=[1.0]), Term(values_of()), resume=other)


def test_an_executor_gives_the_same_answer() -> None:
    term = Term(lambda p: np.array([float(p["x"][0]) ** 2 - 2.0]), derivatives="differences")
    answers = [solve("lsq-exact", plain(x=[1.0]), term, executor=choice)[1].x for choice in (None, "threads:2")]
    assert_array_equal(*answers)
    assert_allclose(answers[0], 2.0**0.5, rtol=1e-7)


# The layer itself.


def test_a_second_run_compiles_nothing_anew() -> None:
    calls = []

    def traced(p):
        calls.append(None)
        return p["x"] ** 2 - 2.0

    term = Term(traced)
    solve("lsq-exact", plain(x=[1.0]), term)
    n_calls = len(calls)
    _, again = solve("lsq-exact", plain(x=[3.0]), term)
    assert again.success
    assert len(calls) == n_calls


def test_the_layer_knows_no_name_of_any_application() -> None:
    folder = Path(fieldfit.__file__).parent
    words = ("plasma", "equilibri", "toroid", "flux", "magnetic", "molecul", "r_lm", "bond")
    for path in [*(folder / "things").glob("*.py"), *(folder / "optimize").glob("*.py")]:
        text = path.read_text().lower()
        assert not [word for word in words if word in text], path
