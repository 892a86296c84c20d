"""First-order methods of optax: known answers, bounds, failures, schedules, and independence of units."""

import itertools
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, Parameter, ScalarObjective
from fieldfit.errors import SettingsError
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.optimizers.first_order import METHODS, OptaxOptimizer, gradient_unit
from toys import OneVariable, Switching, Watched, rosenbrock

optax = pytest.importorskip("optax")

ENDS_AT_RATE = ("lion", "novograd", "rmsprop", "sign_sgd", "lamb")
"""Rules whose steps do not shrink with the gradient: they end about a learning rate from the minimum."""


def point(result):
    return np.array([float(result.x["x"]), float(result.x["y"])])


def bowl(unit=1.0):
    """A scalar with the minimum -7 at (1, 2), with a Hessian of condition number 4."""
    return ScalarObjective(
        lambda p: unit * ((p["x"] - 1.0) ** 2 + 4.0 * (p["y"] - 2.0) ** 2 - 7.0),
        {"x": 2.0, "y": 1.5},
        derivatives=lambda p: unit * np.array([2.0 * (p["x"] - 1.0), 8.0 * (p["y"] - 2.0)]),
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_rule_finds_the_bottom_of_a_bowl(method):
    options = {"weight_decay": 0.0} if method in ("adamw", "adamaxw", "nadamw", "lion") else {}
    optimizer = OptaxOptimizer(method, max_steps=800, options=options)
    result = optimizer.optimize(bowl())
    assert_allclose(point(result), [1.0, 2.0], atol=2.0 * METHODS[method] if method in ENDS_AT_RATE else 1e-3)


def test_rosenbrock_is_solved_with_enough_steps():
    result = OptaxOptimizer("adam").optimize(rosenbrock())
    assert_allclose(point(result), [1.0, 1.0], atol=1e-3)
    assert result.residuals.shape == (2,)


def test_one_evaluation_per_step():
    objective = Watched(rosenbrock())
    result = OptaxOptimizer("sgd", max_steps=7).optimize(objective)
    assert result.n_evaluations == 8
    assert result.n_iterations == 7
    assert all(objective.asked_for_derivatives)
    assert len(objective.seen) == 8 + result.verdict.n_evaluations
    assert result.message == "max_steps: 7 steps were made"


@pytest.mark.parametrize("method", ["adam", "adan", "lion"])
def test_bounds_hold_at_every_evaluation(method):
    objective = Watched(rosenbrock(lower=(-2.0, -0.5), upper=(0.5, 2.0)))
    result = OptaxOptimizer(method, learning_rate=0.05, max_steps=1000).optimize(objective)
    seen = np.array(objective.seen)
    assert np.all((seen >= [-2.0, -0.5]) & (seen <= [0.5, 2.0]))
    # The minimum in the box is 1/4 at (1/2, 1/4).
    assert result.final_score == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("method", ["adam", "sgd", "adagrad", "lamb", "yogi"])
@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_multiplying_the_objective_changes_nothing(method, unit):
    optimizer = OptaxOptimizer(method, max_steps=300)
    # The power of two next to the unit differs from it by up to a factor of the square root of two.
    plain = optimizer.optimize(bowl())
    assert_allclose(point(optimizer.optimize(bowl(unit))), point(plain), atol=2e-2)


def test_powers_of_two_change_no_bit():
    optimizer = OptaxOptimizer("sgd", max_steps=50)
    plain, other = (optimizer.optimize(bowl(unit)) for unit in (1.0, 2.0**40))
    assert point(other).tolist() == point(plain).tolist()
    assert [entry.cost * 2.0**40 for entry in plain.history] == [entry.cost for entry in other.history]


@pytest.mark.parametrize(("length", "unit"), [(1.0, 1.0), (1.3, 1.0), (1.6, 2.0), (3e-13, 2.0**-42), (0.0, 1.0)])
def test_gradients_are_measured_in_powers_of_two(length, unit):
    assert gradient_unit(np.array([0.6, -0.8]) * length) == unit


def test_two_runs_give_the_same_bits():
    first, second = (OptaxOptimizer("adam", max_steps=40).optimize(rosenbrock()) for _ in range(2))
    assert [entry.cost for entry in first.history] == [entry.cost for entry in second.history]


def test_failed_steps_are_taken_again_at_half_the_rate():
    # Below 1 the model fails; the steps of sign_sgd are 0.4, then 0.2, 0.1, ... each time one would cross it.
    def evaluate(x, derivatives):
        return bowl_of_one(x) if x >= 1.0 else bowl_of_one(np.nan)

    def bowl_of_one(x):
        return evaluation_from_residuals(np.array([x]), np.array([[1.0]]))

    steps = []
    optimizer = OptaxOptimizer("sign_sgd", learning_rate=0.4, max_steps=100)
    result = optimizer.optimize(OneVariable(2.0, evaluate, size=1), observers=[steps.append])
    rejected = [step for step in steps if not step.is_accepted]
    assert rejected
    assert all("learning rate halved" in step.note for step in rejected)
    pairs = itertools.pairwise(steps)
    assert all(step.x.tolist() == before.x.tolist() for before, step in pairs if not step.is_accepted)
    assert result.message == "20 evaluations in a row failed"
    assert 1.0 <= float(result.x["x"]) < 1.0 + 1e-3
    assert result.failures


def test_gradients_that_are_not_finite_are_failures():
    def evaluate(x, derivatives):
        return evaluation_from_residuals(np.array([x]), np.array([[1.0 if x > 0.5 else np.inf]]))

    result = OptaxOptimizer("adam", max_steps=60).optimize(OneVariable(1.0, evaluate, size=1))
    assert 0.5 < float(result.x["x"]) < 0.6


def test_changed_meaning_of_residuals_is_followed():
    result = OptaxOptimizer("adam", learning_rate=0.3, max_steps=600).optimize(Switching())
    assert float(result.x["x"]) == pytest.approx(3.0 / 1.01, rel=1e-3)


def test_patience_ends_the_run():
    result = OptaxOptimizer("sign_sgd", learning_rate=0.1, patience=5).optimize(bowl())
    assert result.message == "patience: the best cost has hardly improved in 5 steps"
    assert result.n_iterations < 60


@pytest.mark.parametrize(
    ("schedule", "middle", "last"), [(None, 1.0, 1.0), ("cosine", 0.5, 0.0), ("exponential", 1e-3**0.5, 1e-3)]
)
def test_schedules_lower_the_rate(schedule, middle, last):
    optimizer = OptaxOptimizer("adam", learning_rate=0.2, max_steps=100, schedule=schedule)
    assert optimizer.rate(0) == pytest.approx(0.2)
    assert optimizer.rate(50) == pytest.approx(0.2 * middle)
    assert optimizer.rate(100) == pytest.approx(0.2 * last, abs=1e-15)


def test_a_schedule_lets_rules_of_constant_steps_come_to_rest():
    constant, falling = (
        OptaxOptimizer("sign_sgd", learning_rate=0.05, max_steps=300, schedule=schedule).optimize(bowl())
        for schedule in (None, "cosine")
    )
    assert np.max(np.abs(point(falling) - [1.0, 2.0])) < 1e-3
    assert falling.cost <= constant.cost


def test_steps_tell_the_best_cost():
    steps = []
    result = OptaxOptimizer("adam", max_steps=60).optimize(rosenbrock(), observers=[steps.append])
    assert [step.iteration for step in steps] == list(range(61))
    assert np.all(np.diff([step.cost for step in steps]) <= 0.0)
    assert steps[-1].cost == result.cost
    assert sum(step.is_accepted for step in steps) == sum(entry.is_accepted for entry in result.history)


def test_observer_stops_the_run():
    result = OptaxOptimizer("adam").optimize(rosenbrock(), observers=[lambda step: step.iteration == 3])
    assert result.message == "observer asked to stop"
    assert result.n_evaluations == 4


def test_options_reach_the_rule():
    plain, heavy = (
        OptaxOptimizer("sgd", learning_rate=0.01, max_steps=30, options=options).optimize(bowl())
        for options in ({}, {"momentum": 0.9, "nesterov": True})
    )
    assert heavy.cost < plain.cost


def test_traced_objectives_and_differences_agree():
    def residuals(p):
        return jnp.stack([p["x"] - 1.0, 2.0 * (p["y"] - 2.0)])

    entries = [Parameter("x", 2.0, lower=0.0, upper=3.0), Parameter("y", 1.5, lower=0.0, upper=3.0)]
    optimizer = OptaxOptimizer("adam", max_steps=400)
    exact, differenced = (
        optimizer.optimize(FunctionObjective(residuals, entries, derivatives=derivatives))
        for derivatives in ("jax", "differences")
    )
    assert_allclose(point(exact), [1.0, 2.0], atol=1e-3)
    assert_allclose(point(differenced), point(exact), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "adamm"}, "Did you mean 'adam'"),
        ({"method": "lbfgs"}, "No method of OptaxOptimizer"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0"),
        ({"max_steps": 0}, "max_steps = 0"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"patience": 0}, "patience = 0"),
        ({"min_improvement": 1.0}, "min_improvement = 1.0"),
        ({"options": {"beta1": 0.8}}, "No option of adam is called 'beta1'"),
        ({"options": {"b1": "0.8"}}, "The option b1 of adam is '0.8'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(SettingsError, match=message):
        OptaxOptimizer(**options)


def test_missing_optax_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    with pytest.raises(SettingsError, match=r'pip install "fieldfit\[optax\]"'):
        OptaxOptimizer("sgd", options={"momentum": 0.5})


def test_every_listed_rule_is_one_of_optax():
    assert all(callable(getattr(optax, method)) for method in METHODS)
