"""Basin hopping: known minima, bounds, acceptance rule, what is told and refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from multimodal import PROBLEMS

import fieldfit
from fieldfit import Parameter, ScalarObjective
from fieldfit.errors import SettingsError
from fieldfit.optimizers.basin_hopping import BasinHoppingOptimizer, accepts, hop
from fieldfit.optimizers.derivative_free import DerivativeFreeOptimizer
from fieldfit.optimizers.least_squares import LeastSquaresOptimizer
from fieldfit.optimizers.scipy import ScipyOptimizer
from toys import Watched, rosenbrock


def wave(start=5.0, lower=-6.0, upper=6.0):
    """cos 3x + x^2 / 10: minima about 2 pi / 3 apart, the lowest two where 3 sin 3x = x / 5, near +-1.02."""
    return ScalarObjective(
        lambda p: jnp.cos(3.0 * p["x"]) + 0.1 * p["x"] ** 2, [Parameter("x", start, lower=lower, upper=upper)]
    )


def is_lowest(x):
    # |x| < 1.1 separates the lowest pair from the next one, near 3.09.
    return abs(x) < 1.1 and abs(3.0 * np.sin(3.0 * x) - 0.2 * x) < 1e-5


def test_walk_finds_the_lowest_of_many_minima():
    result = BasinHoppingOptimizer(niter=40, seed=0).optimize(wave())
    assert is_lowest(float(result.x["x"]))
    assert result.success
    assert result.seed == 0


# The other starts and functions are in `benchmarks/global_search.py`.
@pytest.mark.parametrize("name", ["rastrigin/0", pytest.param("rastrigin/2", marks=pytest.mark.slow)])
def test_rastrigin_in_five_dimensions_is_solved(name):
    problem = next(problem for problem in PROBLEMS if problem.name == name)
    start = Parameter("x", problem.start, lower=problem.lower, upper=problem.upper)
    objective = ScalarObjective(lambda p: problem.function(p["x"], jnp), [start])
    result = BasinHoppingOptimizer(seed=problem.seed).optimize(objective)
    np.testing.assert_allclose(result.x["x"], problem.optimum, atol=1e-6)
    assert result.n_evaluations < 10_000


def test_unbounded_variables_hop_in_their_scales():
    result = BasinHoppingOptimizer(niter=40, seed=1).optimize(wave(lower=-np.inf, upper=np.inf))
    assert is_lowest(float(result.x["x"]))


def test_residuals_are_fitted_by_least_squares():
    # The sum of squares of x^2 - 1 and 0.3 (x - 1) has a second minimum near x = -0.95.
    objective = fieldfit.FunctionObjective(
        lambda p: jnp.stack([p["x"] ** 2 - 1.0, 0.3 * (p["x"] - 1.0)]), [Parameter("x", -1.0, lower=-3.0, upper=3.0)]
    )
    assert float(LeastSquaresOptimizer().optimize(objective).x["x"]) < 0.0
    result = BasinHoppingOptimizer(niter=20, seed=0).optimize(objective)
    assert float(result.x["x"]) == pytest.approx(1.0, abs=1e-8)
    assert len(result.runs) == 21


def test_bounds_hold_at_every_evaluation():
    watched = Watched(wave(5.9, 0.5, 6.0))
    BasinHoppingOptimizer(niter=30, seed=3, stepsize=5.0).optimize(watched)
    seen = np.array(watched.seen)
    assert np.all((seen >= 0.5) & (seen <= 6.0))


def test_hops_stay_inside_bounds_and_use_the_box():
    rng = np.random.default_rng(0)
    lower, upper = np.array([0.0, -np.inf]), np.array([1.0, np.inf])
    points = np.array(
        [hop(np.array([0.9, 0.0]), np.array([50.0, 2.0]), bounds=(lower, upper), rng=rng) for _ in range(500)]
    )
    assert np.all((points >= lower) & (points <= upper))
    # A length of 50 in a box of 1 is cut to the box: a quarter of the hops or more end in each half.
    assert 0.25 < np.mean(points[:, 0] < 0.5) < 0.75
    assert np.all(np.abs(points[:, 1]) <= 2.0)


@pytest.mark.parametrize(
    ("before", "after", "temperature", "draw", "expected"),
    [
        (2.0, 1.0, 0.0, 0.99, True),
        (2.0, 2.0, 0.0, 0.99, True),
        (2.0, 2.1, 0.0, 0.0, False),
        # rise 1 over heat 0.5 * 2: probability exp(-1) = 0.37.
        (2.0, 3.0, 0.5, 0.36, True),
        (2.0, 3.0, 0.5, 0.37, False),
        (-2.0, -1.0, 0.5, 0.36, True),
        (np.inf, 3.0, 0.0, 0.5, True),
        (np.inf, np.inf, 0.5, 0.0, False),
        (2.0, np.inf, 0.5, 0.0, False),
    ],
)
def test_acceptance_follows_metropolis(before, after, temperature, draw, expected):
    assert accepts(before, after, temperature=temperature, draw=draw) is expected


def test_same_seed_gives_the_same_bits():
    first, second, other = (BasinHoppingOptimizer(niter=10, seed=seed).optimize(wave()) for seed in (4, 4, 5))
    assert [entry.cost for entry in first.history] == [entry.cost for entry in second.history]
    assert [entry.cost for entry in first.history] != [entry.cost for entry in other.history]


def test_seed_is_drawn_and_reported():
    result = BasinHoppingOptimizer(niter=3).optimize(wave())
    again = BasinHoppingOptimizer(niter=3, seed=result.seed).optimize(wave())
    assert [entry.cost for entry in result.history] == [entry.cost for entry in again.history]


def test_start_that_cannot_be_evaluated_is_left():
    objective = Watched(wave(5.9), fails=lambda values: values[0] > 5.5)
    result = BasinHoppingOptimizer(niter=60, seed=0).optimize(objective)
    assert is_lowest(float(result.x["x"]))
    assert result.failures


def test_every_step_is_told_and_hops_say_what_became_of_them():
    steps = []
    result = BasinHoppingOptimizer(niter=5, seed=0).optimize(wave(), observers=[steps.append])
    assert [step.iteration for step in steps] == list(range(result.n_iterations + 1))
    assert sum(step.is_accepted for step in steps) == sum(entry.is_accepted for entry in result.history)
    assert sum(step.note.startswith("hop ") for step in steps) == 5
    costs = [step.cost for step in steps]
    assert costs == sorted(costs, reverse=True)


def test_unobserved_run_counts_the_same_iterations():
    silent = BasinHoppingOptimizer(niter=5, seed=0).optimize(wave())
    told = BasinHoppingOptimizer(niter=5, seed=0).optimize(wave(), observers=[lambda step: None])
    assert silent.n_iterations == told.n_iterations


def test_patience_ends_the_walk():
    bowl = ScalarObjective(lambda p: (p["x"] - 1.0) ** 2, {"x": 4.0})
    result = BasinHoppingOptimizer(seed=0, patience=7).optimize(bowl)
    assert result.message == "7 hops in a row found no better score"
    assert float(result.x["x"]) == pytest.approx(1.0, abs=1e-7)


def test_observer_and_budget_end_the_walk():
    stopped = BasinHoppingOptimizer(seed=0).optimize(wave(), observers=[lambda step: step.note.startswith("hop 2 ")])
    assert stopped.message == "observer asked to stop"
    spent = BasinHoppingOptimizer(seed=0).optimize(wave(), observers=[fieldfit.Budget(evaluations=40)])
    assert spent.n_evaluations == 40


def test_any_optimizer_may_run_between_hops():
    inner = DerivativeFreeOptimizer("cobyqa", budget=40)
    result = BasinHoppingOptimizer(niter=15, optimizer=inner, seed=0).optimize(wave())
    assert is_lowest(float(result.x["x"]))
    assert result.method == "basin-hopping:derivative-free:cobyqa"


def test_traits_are_those_of_the_inner_optimizer():
    assert BasinHoppingOptimizer(optimizer=LeastSquaresOptimizer()).traits.needs_residuals
    with pytest.raises(SettingsError, match="takes no bounds"):
        BasinHoppingOptimizer(optimizer=ScipyOptimizer("BFGS")).optimize(
            rosenbrock(lower=(-2.0, -2.0), upper=(2.0, 2.0))
        )


@pytest.mark.parametrize(
    "options",
    [{"niter": 0}, {"T": -1.0}, {"T": np.nan}, {"stepsize": 0.0}, {"patience": 0}],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(SettingsError, match=next(iter(options))):
        BasinHoppingOptimizer(**options)
