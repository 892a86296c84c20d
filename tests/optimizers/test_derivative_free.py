"""Derivative-free searches: known answers per method, bounds, budgets, seeds, failures, refusals."""

import functools
import pickle
import sys
import threading

import jax.numpy as jnp
import numpy as np
import pytest
from multimodal import PROBLEMS

import fieldfit
from fieldfit import Parameter, ScalarObjective
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.optimizers import nevergrad_search
from fieldfit.optimizers.cma_es import UnitBox
from fieldfit.optimizers.derivative_free import METHODS, DerivativeFreeOptimizer
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.optimizers.scipy import ScipyOptimizer
from fieldfit.optimizers.search_dialogue import spread
from toys import Watched, rosenbrock, rosenbrock_residuals

LIBRARIES = {"cma-es": "cmaes", "bobyqa": "pybobyqa", "dfo-ls": "dfols", "nevergrad:DE": "nevergrad"}
GLOBAL = ["differential-evolution", "cma-es"]
LOCAL = ["cobyqa", "bobyqa", "dfo-ls"]
BOX = {"lower": (-2.0, -2.0), "upper": (2.0, 2.0)}


def search(method, **options):
    if method in LIBRARIES:
        pytest.importorskip(LIBRARIES[method])
    return DerivativeFreeOptimizer(method, **{"seed": 0, "budget": 3000, **options})


@pytest.fixture(params=[*GLOBAL, *LOCAL])
def method(request):
    return request.param


@pytest.fixture(params=GLOBAL)
def global_method(request):
    return request.param


def black_box(**options):
    """Rosenbrock's residuals without derivatives."""
    return rosenbrock(derivatives="differences", **{**BOX, **options})


def rastrigin(start=(2.3, -3.9)):
    """Minimum 0 at (0, 0), off the centre of the box; the next minima are near 0.995."""
    x = Parameter("x", start, lower=[-5.12, -4.2], upper=[4.12, 5.12])
    return ScalarObjective(lambda p: jnp.sum(10.0 + p["x"] ** 2 - 10.0 * jnp.cos(2.0 * jnp.pi * p["x"])), [x])


def test_table_and_list_of_this_test_agree():
    assert {*GLOBAL, *LOCAL} == set(METHODS)


def test_curved_valley_without_derivatives(method):
    result = search(method, budget=1500).optimize(black_box())
    assert result.final_score < 1e-5


def test_polish_ends_at_the_last_digits(global_method):
    result = search(global_method).optimize(rosenbrock(**BOX))
    np.testing.assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], rtol=1e-8)
    assert result.success
    assert result.runs


def test_polish_of_a_scalar_uses_its_gradient():
    result = search("differential-evolution").optimize(rastrigin())
    np.testing.assert_allclose(result.x["x"], 0.0, atol=1e-8)
    assert result.success
    assert 0 < result.n_derivative_evaluations < 60


def test_nothing_is_polished_without_exact_derivatives_or_when_told_so():
    assert not search("differential-evolution", budget=100).optimize(black_box()).runs
    result = search("differential-evolution", budget=100, polish=None).optimize(rosenbrock(**BOX))
    assert not result.runs
    assert result.n_derivative_evaluations == 0


def test_polish_may_be_any_optimizer():
    polish = ScipyOptimizer("Nelder-Mead")
    result = search("differential-evolution", polish=polish).optimize(black_box())
    assert len(result.runs) == 1
    assert result.final_score < 1e-10


def test_lowest_of_many_minima_is_found(global_method):
    for seed in range(2):
        result = search(global_method, seed=seed).optimize(rastrigin())
        np.testing.assert_allclose(result.x["x"], 0.0, atol=1e-7)


RASTRIGIN = [problem.name for problem in PROBLEMS if problem.name.startswith("rastrigin")]


@pytest.mark.parametrize(
    "name", [RASTRIGIN[0], *(pytest.param(name, marks=pytest.mark.slow) for name in RASTRIGIN[1:])]
)
def test_rastrigin_in_five_dimensions_is_solved(name):
    problem = next(problem for problem in PROBLEMS if problem.name == name)
    start = Parameter("x", problem.start, lower=problem.lower, upper=problem.upper)
    objective = ScalarObjective(lambda p: problem.function(p["x"], jnp), [start])
    result = DerivativeFreeOptimizer(seed=problem.seed).optimize(objective)
    np.testing.assert_allclose(result.x["x"], problem.optimum, atol=1e-6)
    assert result.n_evaluations < 10_000


def test_bounds_hold_at_every_evaluation(method):
    objective = Watched(rosenbrock(start=(-1.2, 1.0), lower=(-2.0, -0.5), upper=(0.5, 2.0)))
    result = search(method, budget=600).optimize(objective)
    seen = np.array(objective.seen)
    assert np.all((seen >= [-2.0, -0.5]) & (seen <= [0.5, 2.0]))
    # With x < 1/2 the minimum of the score is 1/4.
    assert result.final_score == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize("budget", [1, 2, 30, 101])
def test_budget_is_never_exceeded(method, budget):
    objective = Watched(rosenbrock(**BOX))
    result = search(method, budget=budget).optimize(objective)
    assert result.n_evaluations <= budget
    unpolished = search(method, budget=budget, polish=None).optimize(rosenbrock(**BOX))
    assert unpolished.n_evaluations <= budget
    if method in GLOBAL:
        assert unpolished.n_evaluations == budget
        assert "budget" in unpolished.message


def test_outer_budget_ends_the_run_too(method):
    result = search(method).optimize(rosenbrock(**BOX), observers=[fieldfit.Budget(evaluations=25)])
    assert result.n_evaluations == 25
    assert result.message == "the budget of 25 evaluations is spent"


def test_budget_holds_for_a_polish_that_does_not_end():
    polish = LeastSquaresOptimizer(ftol=None, xtol=None, gtol=None, maxiter=10**6)
    result = search("differential-evolution", budget=100, polish=polish, xtol=0.5).optimize(rosenbrock(**BOX))
    assert result.n_evaluations <= 100
    assert result.runs[0].n_evaluations <= 10


def costs(result):
    return [entry.cost for entry in result.history]


@pytest.mark.parametrize("executor", [None, "threads:4"])
def test_same_seed_gives_the_same_bits(global_method, executor):
    optimizer = search(global_method, budget=300)
    first = optimizer.optimize(rosenbrock(**BOX))
    second = optimizer.optimize(rosenbrock(**BOX), executor=executor)
    other = search(global_method, budget=300, seed=1).optimize(rosenbrock(**BOX))
    assert costs(first) == costs(second)
    assert costs(first) != costs(other)


def test_processes_give_the_same_bits():
    optimizer = search("differential-evolution", budget=120)
    assert costs(optimizer.optimize(black_box())) == costs(optimizer.optimize(black_box(), executor="processes:2"))


def test_order_of_completion_does_not_matter():
    first_call = threading.Event()

    def slow_first(p):
        if not first_call.is_set():
            first_call.set()
            threading.Event().wait(0.05)
        return rosenbrock_residuals(p)

    optimizer = search("differential-evolution", budget=100)
    objective = fieldfit.FunctionObjective(slow_first, rosenbrock(**BOX).parameters, derivatives="differences")
    assert costs(optimizer.optimize(objective, executor="threads:4")) == costs(optimizer.optimize(black_box()))


def test_random_numbers_of_the_user_are_left_alone(method):
    np.random.seed(3)  # noqa: NPY002 (the global state that libraries might touch)
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    search(method, budget=60).optimize(rosenbrock(**BOX))
    assert np.random.rand() == expected  # noqa: NPY002


def test_seed_is_drawn_and_reported():
    result = DerivativeFreeOptimizer(budget=60).optimize(rosenbrock(**BOX))
    again = DerivativeFreeOptimizer(budget=60, seed=result.seed).optimize(rosenbrock(**BOX))
    assert costs(result) == costs(again)
    assert DerivativeFreeOptimizer("cobyqa", budget=60).optimize(rosenbrock(**BOX)).seed is None


def test_unit_of_the_objective_does_not_matter():
    def scaled(factor):
        return fieldfit.FunctionObjective(
            lambda p: factor * rosenbrock_residuals(p), rosenbrock(**BOX).parameters, derivatives="differences"
        )

    for name in GLOBAL:
        # A power of two, so that the comparisons of costs are the same to the last bit.
        results = [search(name, budget=400).optimize(scaled(factor)) for factor in (1.0, 2.0**20, 2.0**-20)]
        assert len({tuple(result.final_params.tolist()) for result in results}) == 1


def test_failures_are_survived_and_reported(method):
    objective = Watched(rosenbrock(**BOX), fails=lambda values: values[1] < 0.0)
    result = search(method, budget=500, polish=None).optimize(objective)
    assert result.final_score < 0.5
    assert any("fell apart" in failure for failure in result.failures) == any(np.isnan(costs(result)))


def test_start_that_cannot_be_evaluated_is_left(global_method):
    objective = Watched(rosenbrock(start=(-1.2, -1.0), **BOX), fails=lambda values: values[1] < 0.0)
    result = search(global_method, budget=600).optimize(objective)
    assert np.isnan(result.initial_score)
    assert result.final_score == pytest.approx(0.0, abs=1e-6)


def test_objective_that_is_never_finite_is_given_up_at_the_end_of_the_budget(global_method):
    objective = Watched(rosenbrock(**BOX), fails=lambda values: True)
    with pytest.raises(EvaluationError, match="could not be evaluated at any of"):
        search(global_method, budget=90).optimize(objective)
    assert len(objective.seen) <= 90


def test_start_is_in_the_first_population():
    objective = Watched(rosenbrock(start=(0.123, 0.456), **BOX))
    search("differential-evolution", budget=40).optimize(objective)
    # Once as the start, once as a member; scaling may round.
    hits = np.all(np.isclose(objective.seen, [0.123, 0.456], rtol=1e-14, atol=0.0), axis=1)
    assert hits.sum() == 2


def test_every_turn_is_told(method):
    steps = []
    result = search(method, budget=300).optimize(rosenbrock(**BOX), observers=[steps.append])
    assert [step.iteration for step in steps] == list(range(result.n_iterations + 1))
    assert sum(step.is_accepted for step in steps) == sum(entry.is_accepted for entry in result.history)
    assert steps[-1].cost == pytest.approx(result.cost, rel=1e-12, abs=1e-25)
    silent = search(method, budget=300).optimize(rosenbrock(**BOX))
    assert silent.n_iterations == result.n_iterations


def test_one_turn_per_generation():
    steps = []
    search("differential-evolution", budget=100, batch_size=20, polish=None).optimize(
        rosenbrock(**BOX), observers=[steps.append]
    )
    # The start, four whole generations, and what the budget left of the fifth.
    assert [step.n_evaluations for step in steps[:5]] == [1, 21, 41, 61, 81]
    assert steps[-1].n_evaluations == 100


def test_observer_stops_the_search(method):
    result = search(method).optimize(rosenbrock(**BOX), observers=[lambda step: step.iteration == 2])
    assert result.message == "observer asked to stop"


def test_search_without_bounds():
    for name in ("cma-es", *LOCAL):
        result = search(name, budget=1000).optimize(rosenbrock())
        np.testing.assert_allclose([result.x["x"], result.x["y"]], [1.0, 1.0], atol=1e-4)


def test_half_open_bounds_are_kept_by_cma_es():
    objective = Watched(rosenbrock(lower=(-np.inf, 0.0), upper=(0.5, np.inf)))
    result = search("cma-es", budget=1500).optimize(objective)
    seen = np.array(objective.seen)
    assert np.all((seen[:, 0] <= 0.5) & (seen[:, 1] >= 0.0))
    assert result.final_score == pytest.approx(0.25, rel=1e-6)


def test_population_needs_bounds():
    with pytest.raises(SettingsError, match="searches between bounds, but x, y have none"):
        search("differential-evolution").optimize(rosenbrock())


def test_residual_method_refuses_a_scalar():
    with pytest.raises(SettingsError, match="needs residuals"):
        search("dfo-ls").optimize(rastrigin())


@pytest.mark.parametrize("name", ["bobyqa", "dfo-ls"])
def test_models_refuse_equal_bounds(name):
    optimizer = search(name)
    with pytest.raises(SettingsError, match="y has equal bounds"):
        optimizer.optimize(rosenbrock(start=(-1.2, 1.0), lower=(-2.0, 1.0), upper=(2.0, 1.0)))


def test_populations_take_equal_bounds(global_method):
    result = search(global_method).optimize(rosenbrock(start=(-1.2, 1.0), lower=(-2.0, 1.0), upper=(2.0, 1.0)))
    # With y = 1 the minimum is at x = 1.
    assert float(result.x["x"]) == pytest.approx(1.0, abs=1e-6)
    assert float(result.x["y"]) == 1.0


def test_one_variable(method):
    objective = fieldfit.FunctionObjective(
        lambda p: jnp.stack([p["x"] - 3.0, jnp.sin(p["x"] - 3.0)]), [Parameter("x", 0.5, lower=-4.0, upper=8.0)]
    )
    assert float(search(method, budget=400).optimize(objective).x["x"]) == pytest.approx(3.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("L-BFGS-B", 'Use ScipyOptimizer\\("L-BFGS-B"\\)'),
        ("l-bfgs-b", 'Use ScipyOptimizer\\("L-BFGS-B"\\)'),
        ("Nelder-Mead", 'Use ScipyOptimizer\\("Nelder-Mead"\\)'),
        ("adam", 'Use OptaxOptimizer\\("adam"\\)'),
        ("CMA-ES", "Did you mean 'cma-es'"),
        ("differential-evolutoin", "Did you mean 'differential-evolution'"),
        ("COBYQA", "Did you mean 'cobyqa'"),
    ],
)
def test_wrong_methods_are_refused_with_a_way_out(name, hint):
    with pytest.raises(SettingsError, match=hint):
        DerivativeFreeOptimizer(name)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("differential-evolution", {"budget": 0}, "budget = 0"),
        ("differential-evolution", {"batch_size": 0}, "batch_size = 0"),
        ("differential-evolution", {"batch_size": 4}, "at least 5"),
        ("cma-es", {"batch_size": 3}, "at least 4"),
        ("differential-evolution", {"xtol": 0.0}, "xtol = 0.0"),
        ("differential-evolution", {"options": {"stratgy": "best1bin"}}, "Did you mean 'strategy'"),
        ("differential-evolution", {"options": {"strategy": "best1bim"}}, "Did you mean 'best1bin'"),
        ("differential-evolution", {"options": {"mutation": 2.5}}, "mutation = 2.5"),
        ("differential-evolution", {"options": {"recombination": 1.5}}, "recombination = 1.5"),
        ("cma-es", {"options": {"sigma": 0.0}}, "sigma = 0.0"),
        ("cobyqa", {"options": {"initial_radius": 1.0}}, "initial_tr_radius"),
        ("bobyqa", {"options": {"rho": 1.0}}, "Did you mean 'rhobeg'"),
    ],
)
def test_wrong_options_are_refused(method, options, message):
    with pytest.raises(SettingsError, match=message):
        DerivativeFreeOptimizer(method, **options)


@pytest.mark.parametrize("name", ["cma-es", "bobyqa", "dfo-ls"])
def test_missing_library_is_named_with_its_extra(monkeypatch, name):
    monkeypatch.setitem(sys.modules, LIBRARIES[name], None)
    with pytest.raises(SettingsError, match=f'pip install "fieldfit\\[{name}\\]"'):
        DerivativeFreeOptimizer(name, seed=0).optimize(rosenbrock(**BOX))


def test_missing_nevergrad_is_named_when_the_object_is_made(monkeypatch):
    monkeypatch.setitem(sys.modules, "nevergrad", None)
    with pytest.raises(SettingsError, match='pip install "fieldfit\\[nevergrad\\]"'):
        DerivativeFreeOptimizer("nevergrad:DE")


def test_names_of_nevergrad_are_checked_when_the_object_is_made():
    pytest.importorskip("nevergrad")
    with pytest.raises(SettingsError, match="Did you mean 'TwoPointsDE'"):
        DerivativeFreeOptimizer("nevergrad:TwoPointDE")


def test_nevergrad_keeps_bounds_budget_and_seed():
    objectives = [Watched(rosenbrock(start=(-1.2, 1.0), lower=(-2.0, -0.5), upper=(0.5, 2.0))) for _ in range(2)]
    optimizer = search("nevergrad:DE", budget=150)
    first, second = (
        optimizer.optimize(objective, executor=executor)
        for objective, executor in zip(objectives, (None, "threads:4"), strict=True)
    )
    seen = np.array(objectives[0].seen)
    assert np.all((seen >= [-2.0, -0.5]) & (seen <= [0.5, 2.0]))
    assert costs(first) == costs(second)
    assert first.n_evaluations <= 150
    assert first.final_score == pytest.approx(0.25, rel=1e-6)
    assert search("nevergrad:DE", budget=40, polish=None).optimize(rosenbrock(**BOX)).n_evaluations == 40


def test_nevergrad_optimizers_that_wrap_a_solver_make_one_candidate_at_a_time():
    pytest.importorskip("nevergrad")
    result = search("nevergrad:BOBYQA", budget=60, polish=None).optimize(rosenbrock(**BOX))
    assert "failed" not in result.message
    assert result.final_score < result.initial_score


def broken(*arguments, **options):
    raise TypeError("only 0-dimensional arrays can be converted")


def stuck(*arguments, **options):
    threading.Event().wait(5.0)


@pytest.mark.parametrize(("function", "reason"), [(broken, "TypeError"), (stuck, "no answer in 0.05 s")])
def test_nevergrad_that_breaks_or_hangs_is_replaced(monkeypatch, function, reason):
    library = pytest.importorskip("nevergrad")
    kind = type(library.optimizers.registry["OnePlusOne"](library.p.Array(shape=(1,)), budget=1))
    monkeypatch.setattr(kind, "_internal_ask_candidate", function)
    optimizer = search("nevergrad:OnePlusOne", options={"ask_seconds": 0.05 if function is stuck else 30.0})
    result = optimizer.optimize(rosenbrock(**BOX))
    assert f"nevergrad's OnePlusOne failed ({reason}" in result.message
    assert "went on with differential evolution" in result.message
    assert result.final_score < 1e-12


def test_time_limit_passes_answers_and_failures_on():
    assert nevergrad_search._within(5.0, functools.partial(int, "7")) == 7
    with pytest.raises(nevergrad_search.LibraryError, match="ValueError"):
        nevergrad_search._within(5.0, functools.partial(int, "seven"))


def test_options_survive_pickling(method):
    optimizer = search(method, options={}, polish=LeastSquaresOptimizer())
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer


def test_traits_tell_what_a_method_needs():
    de, cma, local = (DerivativeFreeOptimizer(name).traits for name in ("differential-evolution", "cma-es", "cobyqa"))
    assert de.needs_bounds
    assert de.is_global
    assert de.is_stochastic
    assert not cma.needs_bounds
    assert not local.is_global
    assert not any(traits.needs_gradient for traits in (de, cma, local))
    assert DerivativeFreeOptimizer(polish=LeastSquaresOptimizer()).traits.needs_residuals
    assert not DerivativeFreeOptimizer(polish=ScipyOptimizer("BFGS")).traits.handles_bounds


def test_spread_is_the_largest_one_of_variables_that_move():
    points = np.array([[0.0, 0.0, 5.0], [2.0, 1.0, 5.0]])
    # Standard deviations 1 and 1/2, of widths 4 and 1; the last variable is closed.
    assert spread(points, np.array([4.0, 1.0, 0.0])) == pytest.approx(0.5)


def test_unit_box_maps_there_and_back():
    lower, upper = np.array([-2.0, -np.inf, 3.0, 0.0]), np.array([6.0, np.inf, 3.0, np.inf])
    x0 = np.array([0.0, 7.0, 3.0, 2.0])
    box = UnitBox(x0, lower, upper)
    assert box.into(x0).tolist() == [0.25, 0.0, 0.0]
    assert box.outof(np.array([1.0, 2.0, -5.0])).tolist() == [6.0, 9.0, 3.0, 0.0]
    drawn = np.array([box.outof(box.draw(np.random.default_rng(seed))) for seed in range(50)])
    assert np.all((drawn >= lower) & (drawn <= upper))
