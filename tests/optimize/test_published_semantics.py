"""What calls, options and results mean, as users of such interfaces rely on it; one section per promise.

Numbers come from linear algebra, closed forms and published tables, never from a run.
"""

from __future__ import annotations

import copy
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import fieldfit
from fieldfit import LinearEquality, Parameter, Parameters, Problem, ScalarObjective
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import FunctionObjective
from fieldfit.optimize import Optimizer, optimizer_names
from fieldfit.optimize.names import find_method
from fieldfit.optimize.options import read_options
from fieldfit.optimizers.kkt_newton import newton_kkt
from fieldfit.problem import Recorder
from fieldfit.problem.verdict import AT_FLOOR, judge
from fieldfit.projections import ProximalObjective
from fieldfit.things import Term
from some_things import Polynomial, curve_values, plain, rosenbrock, values_of

T = np.linspace(-1.0, 1.0, 21)
POWERS = np.stack([T**degree for degree in range(3)], axis=1)
DATA = np.exp(T)
FIT = Term(curve_values(T), target=DATA, name="fit")
SCALE = Term(values_of("scale"), target=1.0, is_linear=True, name="scale")
END = Term(lambda p: jnp.sum(p["coefficients"]), target=3.0, is_linear=True, name="end")

FAMILIES = (
    *("lsq-exact", "fmin-exact", "fmin-dogleg", "fmin-subspace", "lsq-auglag", "fmin-auglag", "sgd", "optax-adam"),
    *("scipy-trf", "scipy-lm", "scipy-BFGS", "scipy-L-BFGS-B", "scipy-SLSQP", "scipy-trust-constr"),
    *("scipy-Nelder-Mead", "scipy-COBYQA"),
)
"""One name or more of every family of methods."""

FIRST_ORDER = ("sgd", "optax-adam")


def solve(name, things, objective, constraints=(), **options):
    return Optimizer(name).optimize(things, objective, constraints, **{"verbose": 0, **options})


def held_fit():
    """Return the coefficients of least squares whose sum is 3, by the conditions of Lagrange."""
    system = np.block([[POWERS.T @ POWERS, np.ones((3, 1))], [np.ones((1, 3)), np.zeros((1, 1))]])
    return np.linalg.solve(system, np.append(POWERS.T @ DATA, 3.0))[:3]


# Tests of convergence.


def test_defaults_of_tolerances_are_the_published_ones():
    plain_method, strict = find_method("lsq-exact"), find_method("lsq-auglag")
    assert (plain_method.ftol, plain_method.maxiter) == (1e-2, 100)
    assert (strict.ftol, strict.maxiter) == (1e-6, 500)
    assert find_method("sgd").ftol == 1e-6


@pytest.mark.parametrize("name", ["lsq-exact", "lsq-auglag", "fmin-exact", "fmin-auglag"])
def test_a_cost_that_falls_to_zero_ends_soon_and_as_success(name):
    circle = [Term(lambda p: jnp.sum(p["x"] ** 2), target=2.0, name="circle")] if "auglag" in name else []
    (point,), result = solve(name, plain(x=[0.5, 1.2]), rosenbrock(), circle, options={"ftol": None, "xtol": None})
    assert_allclose(point.params_dict["x"], [1.0, 1.0], atol=1e-6)
    assert result.success, result
    assert result.nit < 40


@pytest.mark.parametrize("name", ["lsq-exact", "lsq-auglag"])
def test_a_run_can_be_told_at_which_cost_to_stop(name):
    tests = {"ftol": None, "xtol": None, "gtol": None, "target_cost": 1e-3}
    circle = [Term(lambda p: jnp.sum(p["x"] ** 2), target=2.0, name="circle")] if "auglag" in name else []
    _, result = solve(name, plain(x=[0.5, 1.2]), rosenbrock(), circle, options=tests)
    assert "target_cost" in result.message
    assert result.cost <= 1e-3
    with pytest.raises(SettingsError, match="target_cost"):
        solve(name, plain(x=[1.0]), Term(values_of()), options={"target_cost": np.inf})


def test_a_start_at_the_solution_is_success_by_the_floor_of_rounding():
    # f(x) = A x - b at the solution that linear algebra rounds to: neither f nor its first value can be made smaller.
    generator = np.random.default_rng(1)
    A = generator.normal(size=(4, 4))
    b = A @ generator.normal(size=4) * 1e3
    objective = FunctionObjective(lambda p: jnp.asarray(A) @ p["x"] - b, {"x": np.linalg.solve(A, b)})
    result = fieldfit.LeastSquaresOptimizer().optimize(objective)
    assert result.success
    assert result.n_iterations == 0
    problem = Problem(objective).vector()
    found = problem.evaluate(problem.x0, problem.initial_state())
    verdict = judge(problem, problem.x0, found, found.cost)
    assert verdict.word == "converged"
    assert verdict.reason == (AT_FLOOR if found.cost > 0.0 else "")


def test_residuals_above_the_floor_are_not_taken_for_rounding():
    objective = FunctionObjective(lambda p: jnp.stack([p["x"] - 1.0, 1e-3 * (p["x"] - 3.0)]), {"x": 5.0})
    problem = Problem(objective).vector()
    far = problem.evaluate(problem.x0, problem.initial_state())
    assert judge(problem, problem.x0, far, far.cost).word == "not converged"


def test_second_derivatives_by_differences_lead_to_the_minimum_of_the_lagrangian():
    # The point of the unit circle nearest to (3, 4); x - a + 2 y x = 0 gives y = 2.
    objective = FunctionObjective(lambda p: p["x"] - jnp.array([3.0, 4.0]), {"x": [0.7, 0.7]})
    circle = fieldfit.NonlinearEquality(lambda p: jnp.sum(p["x"] ** 2), 1.0)
    recorder = Recorder(Problem(objective, constraints=circle).vector())
    point = newton_kkt(recorder, recorder.x0, recorder.begin(derivatives=True), np.array([1.5]))
    assert point.residual < 1e-13
    assert_allclose(recorder.problem.space.physical(point.x), [0.6, 0.8], atol=1e-12)
    assert_allclose(point.multipliers, [2.0], atol=1e-10)
    # One evaluation per variable for the first step; later ones take up what the steps tell.
    assert recorder.n_differences % 2 == 0
    assert recorder.n_differences <= 4


# Results.


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("x_scale", ["auto", [10.0, 0.1, 1.0, 3.0]])
def test_x_and_allx_are_full_and_physical(name, x_scale):
    (curve,), result = solve(
        name, Polynomial([3.0, 0.0, 0.0]), FIT, [END, SCALE], x_scale=x_scale, maxiter=40, copy=True
    )
    assert_array_equal(result.x, [*curve.coefficients, curve.scale])
    assert_array_equal(result.allx[-1], result.x)
    assert_allclose(result.allx[0], [3.0, 0.0, 0.0, 1.0], atol=1e-12)
    assert_allclose(np.sum(result.allx[:, :3], axis=1), 3.0, atol=1e-12)
    assert_array_equal(result.allx[:, 3], 1.0)


def test_x_of_a_proximal_method_has_the_inner_parameters():
    root = Term(lambda p: p["x"] ** 3 + p["x"] - p["y"], name="root", solves_for=["x"])
    _, result = solve("proximal-lsq-exact", plain(x=0.5, y=1.0), Term(values_of(), target=2.0), root, copy=True)
    assert result.x.shape == (2,)
    assert_allclose(result.allx[:, 0] ** 3 + result.allx[:, 0], result.allx[:, 1], atol=1e-8)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in FIRST_ORDER])
def test_success_is_our_verdict_for_every_family(name):
    tests = {"ftol": 1e-10, "xtol": 1e-10, "gtol": 1e-10, "maxiter": 400}
    (curve,), result = solve(name, Polynomial([3.0, 0.0, 0.0]), FIT, [END, SCALE], **tests, copy=True)
    assert result.success, result
    assert_allclose(curve.coefficients, held_fit(), atol=1e-4)


# Options.


@pytest.mark.parametrize("name", ["lsq-exact", "lsq-auglag", "sgd", "scipy-SLSQP", "proximal-lsq-exact"])
def test_options_are_left_as_they_were_given(name):
    options = {"ftol": 1e-6, "maxiter": 5, "ess_alpha": 1.0, "perturb_options": {"order": 1}}
    options |= {"solve_options": {"tolerance": 1e-9}, "linear_constraint_options": {"tolerance": 1e-9}}
    before = copy.deepcopy(options)
    root = Term(lambda p: p["x"] - p["y"], name="root", solves_for=["x"])
    for _ in range(2):
        constraints = root if name.startswith("proximal") or "auglag" in name or "SLSQP" in name else ()
        solve(name, plain(x=1.0, y=2.0), Term(values_of(), target=2.0), constraints, options=options, copy=True)
        assert options == before


@pytest.mark.parametrize("name", optimizer_names())
def test_every_name_takes_the_universal_options_and_names_the_nearest_of_unknown_ones(name):
    universal = {"ftol": 1e-3, "xtol": 1e-4, "gtol": 1e-5, "ctol": 1e-6, "maxiter": 3, "ess_order": 2}
    method = find_method(name)
    told = read_options(method, universal, {})
    assert told.tolerances == {"ftol": 1e-3, "xtol": 1e-4, "gtol": 1e-5, "maxiter": 3}
    assert told.ctol == 1e-6
    assert method.build(told.tolerances, told.method).name
    with pytest.raises(SettingsError, match="Did you mean 'maxiter'"):
        read_options(method, {"maxiterr": 3}, {})


def test_options_of_linear_constraints_name_their_scales_and_the_nearest_known():
    scaled = {"linear_constraint_options": {"x_scale": [10.0, 0.1, 1.0, 3.0]}}
    (curve,), result = solve("lsq-exact", Polynomial([3.0, 0.0, 0.0]), FIT, [END, SCALE], ftol=1e-12, options=scaled)
    assert_allclose(curve.coefficients, held_fit(), atol=1e-8)
    assert_array_equal(result.fit.initial_parameters["thing0.coefficients"].scale, [10.0, 0.1, 1.0])
    with pytest.raises(SettingsError, match="give it once"):
        solve("lsq-exact", Polynomial([3.0, 0.0, 0.0]), FIT, [END, SCALE], x_scale="ess", options=scaled)
    with pytest.raises(SettingsError, match="Did you mean 'x_scale'"):
        solve("lsq-exact", plain(x=1.0), Term(values_of()), options={"linear_constraint_options": {"xscale": 1.0}})


# Scales.


def test_an_array_of_scales_is_in_the_order_of_the_things_not_of_the_objective():
    first, second = plain(x=[1.0, 1.0]), Polynomial([0.0], name="line")
    term = Term(lambda q, p: q["coefficients"] - p["x"], ["line", "thing0"], name="reversed")
    _, result = solve("lsq-exact", [first, second], term, x_scale=[1.0, 2.0, 3.0, 4.0], maxiter=2, copy=True)
    parameters = result.fit.initial_parameters
    assert_array_equal(parameters["thing0.x"].scale, [1.0, 2.0])
    assert_array_equal(parameters["line.coefficients"].scale, [3.0])
    assert_array_equal(parameters["line.scale"].scale, 4.0)


@given(st.integers(0, 1000))
def test_the_hessian_of_a_linear_projection_is_that_along_its_directions(seed):
    # f = sum x^4 / 12 has the Hessian diag(x^2); elements of several hundred, where careless scaling goes wrong.
    generator = np.random.default_rng(seed)
    x = generator.uniform(100.0, 900.0, size=4) * generator.choice([-1.0, 1.0], size=4)
    D = generator.uniform(0.1, 50.0, size=4)
    row = generator.normal(size=4)
    problem = Problem(
        ScalarObjective(lambda p: float(np.sum(p["x"] ** 4) / 12.0), {"x": x}, derivatives=lambda p: p["x"] ** 3 / 3.0),
        Parameters([Parameter("x", x, scale=D)]),
        constraints=LinearEquality({"x": row[None, :]}, row @ x),
    ).vector()
    z = problem.x0
    directions = np.stack([problem.space.physical(z + unit) - problem.space.physical(z) for unit in np.eye(3)], axis=1)
    assert_allclose(row @ directions, 0.0, atol=1e-9 * np.abs(row) @ np.abs(x))
    expected = directions.T @ np.diag(problem.space.physical(z) ** 2) @ directions
    # By differences of exact gradients, which have six digits or more.
    assert_allclose(problem.hessian(z, None), expected, rtol=1e-5, atol=1e-6 * np.max(np.abs(expected)))


def test_the_scalar_trust_region_is_fast_where_scales_have_to_shrink():
    # Brown and Dennis, problem 16 of More, Garbow and Hillstrom (1981), f = 85822.2; others take 282 iterations.
    t = np.arange(1, 21) / 5.0

    def residuals(p):
        x = p["x"]
        return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2

    tests = {"ftol": 1e-12, "xtol": 1e-10, "gtol": 1e-10}
    _, result = solve("fmin-exact", plain(x=[25.0, 5.0, -5.0, -1.0]), Term(residuals), **tests, maxiter=200)
    assert_allclose(result.fun, 85822.2, rtol=1e-6)
    assert result.nit <= 20


# Observers, and starts that cannot be evaluated.


@pytest.mark.parametrize("name", [*FAMILIES, "proximal-lsq-exact"])
def test_an_observer_stops_every_family(name):
    root = Term(lambda p: p["y"] - p["x"][0], name="root", solves_for=["y"])
    thing = plain(x=[-1.2, 1.0], y=0.0) if name.startswith("proximal") else plain(x=[-1.2, 1.0])
    constraints = root if name.startswith("proximal") else ()
    tests = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14}
    _, result = solve(
        name, thing, rosenbrock(), constraints, **tests, observers=[lambda step: step.iteration == 1], copy=True
    )
    assert result.nit == 1
    assert "observer" in result.message


@pytest.mark.parametrize("name", FAMILIES)
def test_a_start_that_is_not_finite_is_an_error_that_names_the_term(name):
    terms = [Term(values_of(), name="fine"), Term(lambda p: jnp.sqrt(p["x"]), name="root of x")]
    with pytest.raises(EvaluationError, match=r"root of x is not finite at thing0.x\[0\] = -1"):
        solve(name, plain(x=[-1.0]), terms, copy=True)


def test_steps_tell_the_violation_in_units_of_the_tolerance():
    steps = []
    circle = Term(lambda p: jnp.sum(p["x"] ** 2), target=1.0, name="circle")
    for name in ("lsq-auglag", "scipy-SLSQP", "scipy-trust-constr"):
        steps.clear()
        _, result = solve(
            name, plain(x=[1.0, 0.5]), Term(values_of(), target=[3.0, 4.0]), circle, observers=[steps.append], ctol=1e-6
        )
        # At the start |x|^2 - 1 = 0.25.
        assert_allclose(steps[0].violation, 0.25 / 1e-6)
        assert steps[-1].violation <= 1.0
        assert result.success
    steps.clear()
    solve("lsq-exact", plain(x=[3.0]), Term(values_of()), observers=[steps.append])
    assert {step.violation for step in steps} == {0.0}


# Proximal methods.


@given(st.lists(st.floats(-20.0, 20.0), min_size=1, max_size=5))
def test_the_value_of_a_proximal_objective_does_not_depend_on_its_history(path):
    objective = CUBIC
    state = objective.initial_state()
    for y in path:
        state = objective.evaluate(np.array([y]), state, derivatives=True).state
    later = objective.evaluate(np.array([10.0]), state, derivatives=True)
    fresh = objective.evaluate(np.array([10.0]), objective.initial_state(), derivatives=True)
    # x^3 + x = 10 at x = 2, where dx/dy = 1 / (3 x^2 + 1).
    for found in (later, fresh):
        assert_allclose(found.residuals, [2.0], rtol=1e-10)
        assert_allclose(found.jacobian, [[1.0 / 13.0]], rtol=1e-9)
    again = objective.evaluate(np.array([10.0]), state, derivatives=True)
    assert_array_equal(again.residuals, later.residuals)


CUBIC = ProximalObjective(
    FunctionObjective(lambda p: p["x"], {"x": 0.5}),
    FunctionObjective(lambda p: p["x"] ** 3 + p["x"] - p["y"], {"x": 0.5, "y": 1.0}),
    inner="x",
)


@pytest.mark.parametrize("goal", [{"target": 4.0}, {"bounds": (None, 4.0)}])
def test_a_nonlinear_constraint_on_inner_parameters_is_refused_by_name(goal):
    root = Term(lambda p: p["x"] ** 3 + p["x"] - p["y"], name="root", solves_for=["x"])
    square = Term(lambda p: p["x"] ** 2, name="square", **goal)
    with pytest.raises(SettingsError, match=r"'square' is nonlinear and acts on thing0\.x, but proximal-lsq-exact"):
        solve("proximal-lsq-exact", plain(x=0.5, y=1.0), Term(values_of(), target=2.0), [root, square])


def test_an_inequality_on_inner_parameters_is_refused_by_name():
    root = Term(lambda p: p["x"] ** 3 + p["x"] - p["y"], name="root", solves_for=["x"])
    below = Term(lambda p: p["x"], name="below", bounds=(None, 1.0), is_linear=True)
    with pytest.raises(SettingsError, match="'below' is an inequality"):
        solve("proximal-lsq-exact", plain(x=0.5, y=1.0), Term(values_of(), target=2.0), [root, below])


# Bounds, checkpoints, resumption, observers.


def test_bounds_checkpoint_and_resumption_are_there(tmp_path):
    seen, path = [], tmp_path / "run.npz"
    bounded = Polynomial([0.2, 0.2, 0.2], bounds={"coefficients": (0.0, 1.0)})
    solve("lsq-exact", bounded, FIT, SCALE, maxiter=1, checkpoint=path, observers=[seen.append], copy=True)
    (curve,), result = solve("lsq-exact", bounded, FIT, SCALE, ftol=1e-12, resume=path, copy=True)
    assert len(seen) == 2
    assert np.all((curve.coefficients >= 0.0) & (curve.coefficients <= 1.0))
    # exp(t) on [-1, 1] wants a slope above one: the bound holds it, and the rest is least squares.
    rest = np.linalg.lstsq(POWERS[:, [0, 2]], DATA - T, rcond=None)[0]
    assert_allclose(curve.coefficients, [rest[0], 1.0, rest[1]], atol=1e-6)
    assert result.success


# The layer itself.


def test_the_layer_has_no_word_of_any_application():
    folder = Path(fieldfit.__file__).parent
    words = ("plasma", "equilibri", "toroid", "poloid", "flux", "magnetic", "molecul", "r_lm", "z_lm", "zernike")
    for part in ("things", "optimize", "projections"):
        for path in (folder / part).glob("*.py"):
            # The names of journals that a file cites are no words of the layer.
            text = re.sub(r"J\. Plasma Phys\.|Phys\. Plasmas", "", path.read_text()).lower()
            assert not [word for word in words if word in text], path


def in_fresh_process(code, **environment):
    script = textwrap.dedent(code)
    # An environment of its own: nothing compiled before is found.
    settings = {"PYTHONPATH": str(Path(fieldfit.__file__).parents[1]), "HOME": "/nonexistent", **environment}
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=settings)


def test_importing_the_layer_does_not_import_jax():
    in_fresh_process("import sys, fieldfit.optimize, fieldfit.things; assert 'jax' not in sys.modules")


def test_an_equilibrium_of_27_variables_is_solved_with_few_compilations():
    found = in_fresh_process(
        """
        import jax
        from fieldfit.equilibrium import Equilibrium, PowerSeries, solve

        start = Equilibrium.from_boundary(
            6,
            Rb={0: 3.999, 1: 1.026, 2: -0.068},
            Zb={-1: -1.58, -2: -0.01},
            Psi=1.0,
            pressure=PowerSeries([0.125, -0.125], powers=[0, 2]),
            iota=PowerSeries([1.0]),
        )
        solved, result = solve(start)
        assert result.success and result.tangent is None or result.tangent.shape[1] == 27
        jax.jit(lambda x: x + 1)(1.0)
        """,
        JAX_LOG_COMPILES="1",
    )
    compiled = [line for line in found.stderr.splitlines() if "Compiling jit" in line]
    # The last one shows that they are counted; others compile 487 programs for this.
    assert 1 <= len(compiled) <= 1 + 5, "\n".join(compiled)
