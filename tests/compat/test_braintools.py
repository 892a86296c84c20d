"""Scripts written for BrainTools run with only their import lines changed."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import Bounds, LinearConstraint

import fieldfit.compat.braintools as front
from fieldfit.compat.braintools import NevergradOptimizer, ScipyOptimizer
from fieldfit.constraints import SumTo
from fieldfit.errors import FieldfitError, ParameterError, SettingsError

# The page of BrainTools 0.3.0 on the two classes; what is ours alone comes after the star.
SIGNATURES = {
    ScipyOptimizer: "loss_fun, bounds, method, constraints, tol, callback, options",
    NevergradOptimizer: "batched_loss_fun, bounds, n_sample, method",
}

# The portfolio of least variance that returns 10 %: stationarity in rational numbers.
C = np.array([[0.04, 0.01, 0.005], [0.01, 0.09, 0.02], [0.005, 0.02, 0.16]])
RETURNS = np.array([0.08, 0.12, 0.15])
WEIGHTS = np.array([121.0, 46.0, 30.0]) / 197.0
SIMPLEX = [(np.zeros(3), np.ones(3))]


def bowl(x, y):
    return (x - 2.0) ** 2 + (y + 1.0) ** 2


def test_signatures_are_those_of_braintools():
    for made, expected in SIGNATURES.items():
        given_names = [
            name for name, kind in inspect.signature(made).parameters.items() if kind.kind is not kind.KEYWORD_ONLY
        ]
        assert given_names == expected.split(", ")


def test_the_front_is_thin():
    assert len(inspect.getsource(front).splitlines()) < 200


def test_a_list_of_bounds_calls_by_position_and_returns_a_list():
    result = ScipyOptimizer(bowl, [(-5.0, 5.0), (-3.0, 3.0)], seed=0).minimize(n_iter=3)
    assert f"{result.x[0]:.6f} {result.x[1]:.6f}" == "2.000000 -1.000000"
    assert isinstance(result.x, list)
    assert result.success
    assert result.nfev >= 3
    assert len(result.runs) == 3


def test_a_dictionary_of_bounds_calls_by_name_and_keeps_the_order_of_its_keys():
    bounds = {"y": (np.full(2, -3.0), np.full(2, 3.0)), "a": (-5.0, 5.0)}
    result = ScipyOptimizer(lambda a, y: a**2 + jnp.sum((y - 1.0) ** 2), bounds, seed=0).minimize()
    assert list(result.x) == ["y", "a"]
    assert_allclose(result.x["y"], 1.0, atol=1e-8)


def test_nested_bounds_keep_their_structure():
    bounds = {"soma": {"g": (0.0, 4.0), "e": [(-1.0, 1.0), (0.5, 2.0)]}}
    result = ScipyOptimizer(
        lambda soma: (soma["g"] - 1.0) ** 2 + sum(e**2 for e in soma["e"]), bounds, seed=0
    ).minimize()
    assert_allclose([result.x["soma"]["g"], *result.x["soma"]["e"]], [1.0, 0.0, 0.5], atol=1e-8)


def test_bounds_of_scipy_give_one_vector():
    result = ScipyOptimizer(lambda v: jnp.sum((v - 1.0) ** 2), Bounds([-2.0, 2.0], [2.0, np.inf]), seed=0).minimize()
    assert_allclose(result.x, [1.0, 2.0], atol=1e-8)


@pytest.mark.parametrize("pair", [(None, 1.0), (-np.inf, 1.0), (-4.0, 1.0)])
def test_bounds_may_be_missing(pair):
    result = ScipyOptimizer(bowl, [pair, (None, None)], seed=1).minimize(n_iter=2)
    assert_allclose(result.x, [1.0, -1.0], atol=1e-7)


@pytest.mark.parametrize("method", ["bfgs", "CG", "Newton-CG", "trust-exact"])
def test_a_method_without_bounds_stays_inside_them(method):
    seen = []
    optimizer = ScipyOptimizer(bowl, [(-5.0, 1.0), (-3.0, 3.0)], method, callback=seen.append, seed=0)
    result = optimizer.minimize()
    assert all(-5.0 < x < 1.0 and -3.0 < y < 3.0 for x, y in seen)
    # The minimum on the bound is approached from inside.
    assert_allclose(result.x, [1.0, -1.0], atol=1e-3)


DRAWING = ScipyOptimizer(bowl, [(-5.0, 5.0), (2.0, 3.0)], options={"maxiter": 1})


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31 - 1))
def test_starts_are_drawn_inside_the_bounds_whatever_the_global_generator(seed):
    DRAWING.seed = seed
    starts = []
    for state in (0, 1):
        np.random.seed(state)  # noqa: NPY002, the global generator is what is tested
        result = DRAWING.minimize(n_iter=4)
        starts.append(np.array([run.start for run in result.runs]) * result.initial_parameters.space.scale)
    assert np.array_equal(*starts)
    assert np.all((starts[0] >= [-5.0, 2.0]) & (starts[0] <= [5.0, 3.0]))


def test_a_given_start_is_the_first():
    result = ScipyOptimizer(bowl, [(-5.0, 5.0), (-3.0, 3.0)], start=[4.0, 0.0], seed=0).minimize()
    assert_allclose(result.initial_params, [4.0, 0.0])


def test_starts_that_fail_are_reported_and_skipped():
    def fails_on_the_left(x):
        return jnp.where(x < 0.0, jnp.nan, (x - 1.0) ** 2)

    result = ScipyOptimizer(fails_on_the_left, [(-2.0, 2.0)], seed=0).minimize(n_iter=12)
    n_failed = sum(run.failure is not None for run in result.runs)
    assert 0 < n_failed < 12
    assert f"{n_failed} failed" in result.message
    assert_allclose(result.x, [1.0], atol=1e-8)


def test_callbacks_get_structured_parameters_and_may_stop_the_run():
    seen = []

    def callback(parameters):
        seen.append(parameters)
        return len(seen) == 2

    rosenbrock = {"x": (-2.0, 2.0), "y": (-1.0, 3.0)}
    result = ScipyOptimizer(
        lambda x, y: 100.0 * (y - x**2) ** 2 + (1.0 - x) ** 2, rosenbrock, callback=callback, seed=0
    ).minimize()
    assert len(seen) == 2
    assert set(seen[0]) == {"x", "y"}
    assert "observer" in result.message


def test_disp_writes_the_messages_of_the_method(capsys):
    ScipyOptimizer(bowl, [(-5.0, 5.0), (-3.0, 3.0)], options={"disp": True, "maxiter": 100}, seed=0).minimize(n_iter=2)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_tol_and_options_reach_the_method():
    loose = ScipyOptimizer(bowl, [(-5.0, 5.0), (-3.0, 3.0)], "Nelder-Mead", tol=1e-1, seed=0).minimize()
    tight = ScipyOptimizer(bowl, [(-5.0, 5.0), (-3.0, 3.0)], "nelder-mead", tol=1e-9, seed=0).minimize()
    assert loose.nfev < tight.nfev
    assert tight.fun < 1e-12


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr", None])
@pytest.mark.parametrize("seed", range(3))
def test_the_portfolio_ends_at_its_rational_answer(method, seed):
    constraints = [
        {"type": "eq", "fun": lambda w: jnp.sum(w) - 1.0},
        {"type": "ineq", "fun": lambda w: RETURNS @ w - 0.10},
    ]
    optimizer = ScipyOptimizer(lambda w: w @ C @ w, SIMPLEX, method, constraints, seed=seed)
    result = optimizer.minimize(n_iter=2)
    assert optimizer.method == (method or "SLSQP")
    assert_allclose(result.x[0], WEIGHTS, atol=1e-7)
    assert result.fun == pytest.approx(57.0 / 1970.0, abs=1e-9)


def test_constraints_may_be_named_or_objects_of_scipy():
    returned = LinearConstraint(RETURNS[None], 0.10, np.inf)
    result = ScipyOptimizer(
        lambda w: w @ C @ w, {"w": SIMPLEX[0]}, None, [SumTo("w", 1.0), returned], seed=0
    ).minimize()
    assert_allclose(result.x["w"], WEIGHTS, atol=1e-7)


UNIT = pint.UnitRegistry()


@pytest.mark.parametrize(("symbol", "size"), [("pA", 1.0), ("nA", 1e3), ("A", 1e12)])
def test_the_loss_gets_magnitudes_in_the_unit_of_the_bounds(symbol, size):
    bounds = {"current": ((10.0 * UNIT.pA).to(symbol), (1000.0 * UNIT.pA).to(symbol))}
    optimizer = ScipyOptimizer(lambda current: (size * current / 300.0 - 1.0) ** 2, bounds, seed=0)
    current = optimizer.minimize().x["current"]
    assert f"{current * size:.6f}" == "300.000000"


def test_quantities_survive_where_they_are_asked_for():
    bounds = {"current": (10.0 * UNIT.pA, 1.0 * UNIT.nA)}
    optimizer = ScipyOptimizer(
        lambda current: (current / (300.0 * UNIT.pA)).to("").magnitude ** 2 - 1.0, bounds, units="quantity", seed=0
    )
    assert optimizer.minimize().x["current"].to("pA").magnitude == pytest.approx(10.0)


@pytest.mark.parametrize(
    "bounds",
    [
        {"x": (1.0, 0.0), "y": (0.0, 1.0)},
        {"x": (1.0 * UNIT.pA, 1.0 * UNIT.mV), "y": (0.0, 1.0)},
        {"x": (np.zeros(2), np.ones(3)), "y": (0.0, 1.0)},
        {"x": (0.0, 1.0), "z": (0.0, 1.0)},
        {"x": 1.0, "y": (0.0, 1.0)},
    ],
)
def test_bounds_that_do_not_fit_are_refused_when_the_optimizer_is_made(bounds):
    with pytest.raises(FieldfitError):
        ScipyOptimizer(bowl, bounds)


@pytest.mark.parametrize("loss", [lambda x: jnp.stack([x, x]), lambda x: x + 1j, lambda x: None, lambda x: "low"])
def test_a_loss_that_is_not_one_real_number_is_an_error(loss):
    with pytest.raises(FieldfitError):
        ScipyOptimizer(loss, [(-1.0, 1.0)], seed=0).minimize()


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(SettingsError, match="L-BFGS-B"):
        ScipyOptimizer(bowl, [(-5.0, 5.0), (-3.0, 3.0)], "L-BFGSB")


def test_a_batch_is_evaluated_by_one_call():
    sizes = []

    def losses(x, y):
        sizes.append(x.shape)
        return jax.vmap(bowl)(x, y)

    search = NevergradOptimizer(losses, [(-5.0, 5.0), (-3.0, 3.0)], n_sample=20, seed=0)
    found = search.minimize(n_iter=25, verbose=False)
    assert sizes.count((20,)) == 25
    assert search.errors.shape == (500,)
    assert bowl(*found) == pytest.approx(search.errors.min(), abs=1e-12)
    assert_allclose(found, [2.0, -1.0], atol=0.1)


def test_a_search_returns_bare_parameters_by_name():
    search = NevergradOptimizer(
        jax.vmap(lambda a, v: a**2 + jnp.sum((v - 0.5) ** 2)),
        {"v": (np.zeros(2), np.ones(2)), "a": (-1.0, 1.0)},
        n_sample=10,
        method="CMA",
        seed=3,
    )
    found = search.minimize(n_iter=20, verbose=False)
    assert search.method == "CMA"
    assert list(found) == ["v", "a"]
    assert search.result is not None
    assert search.result.seed == 3
    assert_allclose(found["v"], 0.5, atol=0.1)


def test_a_search_stays_inside_its_bounds_and_is_repeatable():
    seen, runs = [], []

    def losses(x):
        seen.append(np.asarray(x))
        return (x + 5.0) ** 2

    for _ in range(2):
        search = NevergradOptimizer(losses, [(-1.0, 4.0)], n_sample=10, seed=1)
        search.minimize(n_iter=5, verbose=False)
        runs.append(search.errors)
    assert all(np.all((x >= -1.0) & (x <= 4.0)) for x in seen)
    assert np.array_equal(*runs)


def test_verbose_writes_a_line_per_iteration(capsys):
    NevergradOptimizer(jax.vmap(bowl), [(-5.0, 5.0), (-3.0, 3.0)], n_sample=10, seed=0).minimize(n_iter=4)
    assert len(capsys.readouterr().out.splitlines()) >= 5


def test_a_local_method_is_not_one_of_nevergrad():
    with pytest.raises(SettingsError, match="L-BFGS-B"):
        NevergradOptimizer(jax.vmap(bowl), [(-5.0, 5.0), (-3.0, 3.0)], n_sample=10, method="L-BFGS-B")


def test_a_search_needs_finite_bounds():
    with pytest.raises(ParameterError):
        NevergradOptimizer(jax.vmap(bowl), [(-5.0, None), (-3.0, 3.0)], n_sample=10)


def test_a_loss_that_does_not_take_batches_is_an_error():
    with pytest.raises(FieldfitError, match="one loss for each"):
        NevergradOptimizer(lambda x: jnp.sum(x**2)[None], [(-5.0, 5.0)], n_sample=10, seed=0).minimize(2, verbose=False)
