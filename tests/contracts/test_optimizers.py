"""What every optimizer of the table has to do, by every method it has."""

import dataclasses
import importlib
import pickle
import pkgutil

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import fieldfit.optimizers
from fieldfit import Budget, FunctionObjective, Parameter, Problem, ScalarObjective
from fieldfit.errors import SettingsError
from fieldfit.optimizers import OPTIMIZERS
from fieldfit.optimizers.capabilities import METHOD_TABLES, capability_table, method_names
from fieldfit.optimizers.names import make_optimizer
from fieldfit.problem import AbstractOptimizer, AbstractSteppedOptimizer
from toys import Watched, rosenbrock

MINIMUM = np.array([1.0, 2.0])
LOWER, UPPER = (-3.0, -3.0), (4.0, 5.0)
EXTRAS = {"cma-es": "cmaes", "bobyqa": "pybobyqa", "dfo-ls": "dfols", "nevergrad": "nevergrad", "optax": "optax"}
"""Part of a name to the module that it needs."""


def bowl_residuals(p):
    # Sum of squares with the minimum 0 at (1, 2), curved and coupled: condition number about 20.
    return jnp.stack([p["x"] - 1.0, 2.0 * (p["y"] - 2.0), 0.3 * (p["x"] * p["y"] - 2.0)])


def bowl(start=(2.0, 0.5), lower=LOWER, upper=UPPER, function=bowl_residuals, **options):
    """An objective that JAX can trace, with bounds far from its minimum."""
    entries = zip("xy", start, lower, upper, strict=True)
    parameters = [Parameter(name, value, lower=low, upper=high) for name, value, low, high in entries]
    return FunctionObjective(function, parameters, **options)


def bowl_for(optimizer, start=(2.0, 0.5), **options):
    """The bowl, with bounds only for those who take them."""
    if optimizer.traits.handles_bounds:
        return bowl(start, **options)
    return bowl(start, (-np.inf, -np.inf), (np.inf, np.inf), **options)


def seeded(name):
    for part, module in EXTRAS.items():
        if part in name:
            pytest.importorskip(module)
    made = make_optimizer(name)
    return dataclasses.replace(made, seed=0) if made.traits.is_stochastic else made


SAMPLED = {"optax": {"adam"}, "jax": {"bfgs", "lm"}}
"""Families whose methods share one class and one loop, and compile for each objective: these stand for the others."""


def contracted():
    """All names, of the sampled families those that stand for the others."""
    split = [(name, *name.partition(":")[::2]) for name in method_names()]
    return [name for name, family, method in split if method in SAMPLED.get(family, {method})]


@pytest.fixture(params=contracted())
def optimizer(request):
    return seeded(request.param)


def point(result):
    return np.array([float(result.x["x"]), float(result.x["y"])])


def test_default_options_solve_a_known_problem(optimizer):
    result = optimizer.optimize(bowl_for(optimizer))
    # First-order methods with a fixed number of steps come least close.
    assert_allclose(point(result), MINIMUM, atol=2e-3)
    assert result.initial_score == pytest.approx(1.0 + 9.0 + 0.09)
    if optimizer.traits.needs_gradient and not optimizer.name.startswith("optax"):
        assert result.success
        assert_allclose(point(result), MINIMUM, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(method_names()) - set(contracted())))
def test_the_other_methods_solve_a_known_problem(name):
    optimizer = seeded(name)
    assert_allclose(point(optimizer.optimize(bowl_for(optimizer))), MINIMUM, atol=2e-3)


def test_two_runs_give_the_same_bits(optimizer):
    first, second = (optimizer.optimize(bowl_for(optimizer)) for _ in range(2))
    assert [entry.cost for entry in first.history] == [entry.cost for entry in second.history]
    assert first.final_params.tolist() == second.final_params.tolist()


def test_workers_change_nothing(optimizer):
    if not optimizer.traits.is_parallel:
        pytest.skip("evaluates one point after the other")
    alone = optimizer.optimize(bowl_for(optimizer))
    together = optimizer.optimize(bowl_for(optimizer), executor="threads:4")
    assert [entry.cost for entry in alone.history] == [entry.cost for entry in together.history]
    assert alone.final_params.tolist() == together.final_params.tolist()


def test_bounds_hold_at_every_evaluation(optimizer):
    if not optimizer.traits.handles_bounds:
        pytest.skip("takes no bounds")
    # The minimum is outside: on the edge x = 0.4, where 4 (y - 2) + 0.09 * 0.4 (0.4 y - 2) = 0.
    lower, upper = np.array([-3.0, -3.0]), np.array([0.4, 5.0])
    objective = bowl((-1.0, 0.5), tuple(lower), tuple(upper))
    traced = optimizer.traits.needs_tracing
    watched = objective if traced else Watched(objective)
    result = optimizer.optimize(watched)
    y = (8.0 + 0.072) / (4.0 + 0.0144)
    assert_allclose(point(result), [0.4, y], atol=5e-3)
    seen = np.array([result.final_params] if traced else watched.seen)
    assert np.all((seen >= lower) & (seen <= upper))


def test_bounds_are_refused_by_those_who_cannot_keep_them(optimizer):
    if optimizer.traits.handles_bounds:
        pytest.skip("keeps them")
    with pytest.raises(SettingsError, match="takes no bounds, but x, y have them"):
        optimizer.optimize(bowl())


def test_best_point_is_returned(optimizer):
    result = optimizer.optimize(bowl_for(optimizer))
    assert result.cost == min(entry.cost for entry in result.history)
    residuals = bowl().evaluate(result.final_params, None, derivatives=False).residuals
    assert_allclose(result.residuals, residuals, rtol=0.0, atol=1e-12)
    assert result.cost <= 0.5 * result.initial_score


def test_every_step_is_told(optimizer):
    steps = []
    result = optimizer.optimize(bowl_for(optimizer), observers=[steps.append])
    assert [step.iteration for step in steps] == list(range(result.n_iterations + 1))
    assert steps[-1].cost == pytest.approx(result.cost, rel=1e-12, abs=1e-25)
    assert set(steps[0].values) == {"x", "y"}
    if optimizer.traits.needs_finite_start:
        assert steps[0].cost == pytest.approx(0.5 * result.initial_score)
        # One accepted evaluation for each accepted step, the start among them.
        assert sum(step.is_accepted for step in steps) == sum(entry.is_accepted for entry in result.history)


@pytest.mark.parametrize("last", [0, 2])
def test_observer_stops_the_run(optimizer, last):
    steps = []
    result = optimizer.optimize(
        bowl_for(optimizer), observers=[lambda step: steps.append(step) or step.iteration == last]
    )
    assert result.message == "observer asked to stop"
    assert len(steps) == last + 1


def test_budget_ends_the_run(optimizer):
    result = optimizer.optimize(bowl_for(optimizer), observers=[Budget(evaluations=4)])
    assert np.isfinite(result.final_score)
    if not optimizer.traits.needs_tracing:
        assert result.n_evaluations <= 4


def broken_residuals(p):
    # Not a number in a corner that lies on the way from the start of the test below.
    return jnp.where((p["x"] > 1.5) & (p["y"] > 1.0), jnp.nan, 1.0) * bowl_residuals(p)


def test_regions_without_a_value_are_survived_and_reported(optimizer):
    result = optimizer.optimize(bowl_for(optimizer, function=broken_residuals))
    assert np.isfinite(result.final_score)
    assert result.final_score <= result.initial_score
    failed = sum(np.isnan(entry.cost) for entry in result.history)
    if not optimizer.traits.needs_tracing:
        assert (failed > 0) == bool(result.failures)
        assert all("not finite at x = " in text for text in result.failures[:5])


def test_exceptions_of_the_model_are_reported_with_the_parameters(optimizer):
    if optimizer.traits.needs_tracing:
        pytest.skip("no exception can be raised inside a compiled program")

    def grumble(p):
        if p["x"] < 1.9:
            raise ZeroDivisionError("no such geometry")
        return np.array(bowl_residuals(p))

    objective = bowl_for(optimizer, function=grumble, derivatives="differences")
    result = optimizer.optimize(objective, observers=[Budget(evaluations=60)])
    assert result.final_params[0] >= 1.9
    assert result.failures
    assert "ZeroDivisionError: no such geometry" in result.failures[0]
    assert "x = " in result.failures[0]


def test_fixed_parameters_stay(optimizer):
    objective = bowl_for(optimizer, start=(2.0, 0.5))
    result = optimizer.optimize(Problem(objective, objective.parameters.fix("y")))
    assert result.x["y"] == 0.5
    # (x - 1) + 0.09 * 0.5 (0.5 x - 2) = 0
    assert result.x["x"] == pytest.approx(1.09 / 1.0225, abs=2e-3)


def test_input_is_not_changed(optimizer):
    objective = bowl_for(optimizer)
    before = objective.parameters.flat.copy()
    optimizer.optimize(objective)
    assert objective.parameters.flat.tolist() == before.tolist()


def test_options_are_frozen_and_survive_pickling(optimizer):
    assert dataclasses.is_dataclass(optimizer)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(optimizer, dataclasses.fields(optimizer)[0].name, None)
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer


def test_scalars_are_minimised_or_refused(optimizer):
    entries = zip("xy", (2.0, 0.5), LOWER, UPPER, strict=True)
    bounded = [Parameter(name, value, lower=low, upper=high) for name, value, low, high in entries]
    parameters = bounded if optimizer.traits.handles_bounds else {"x": 2.0, "y": 0.5}
    # The constant keeps the scalar away from a zero that would mean something.
    objective = ScalarObjective(lambda p: jnp.sum(bowl_residuals(p) ** 2) - 7.0, parameters)
    if optimizer.traits.needs_residuals:
        with pytest.raises(SettingsError, match="needs residuals"):
            optimizer.optimize(objective)
        return
    result = optimizer.optimize(objective)
    assert_allclose(point(result), MINIMUM, atol=5e-3)
    assert result.fun == pytest.approx(-7.0, abs=1e-4)


def test_rosenbrock_is_solved_by_those_who_use_derivatives(optimizer):
    if not optimizer.traits.needs_gradient or optimizer.name.startswith("optax") or optimizer.traits.needs_tracing:
        pytest.skip("slow in a curved valley, or tested elsewhere")
    result = optimizer.optimize(rosenbrock())
    assert_allclose(point(result), [1.0, 1.0], atol=1e-4)
    assert result.success


def test_a_run_resumed_from_a_file_equals_the_uninterrupted_one_or_says_that_it_begins_anew(optimizer, tmp_path):
    path, traits = tmp_path / "run.npz", optimizer.traits
    whole = optimizer.optimize(bowl_for(optimizer))
    optimizer.optimize(bowl_for(optimizer), checkpoint=path, observers=[lambda step: step.iteration == 2])
    again = optimizer.optimize(bowl_for(optimizer), resume=path)
    if traits.is_resumable:
        assert again.history == whole.history
        assert again.final_params.tolist() == whole.final_params.tolist()
        assert (again.message, again.n_iterations) == (whole.message, whole.n_iterations)
    else:
        assert "begun anew at the best point of" in again.message
        assert again.initial_score <= whole.initial_score


def test_every_final_class_is_in_the_table():
    for module in pkgutil.iter_modules(fieldfit.optimizers.__path__):
        importlib.import_module(f"fieldfit.optimizers.{module.name}")
    below = [*AbstractOptimizer.__subclasses__(), *AbstractSteppedOptimizer.__subclasses__()]
    classes = {
        subclass
        for subclass in below
        if subclass.__module__.startswith("fieldfit.") and not subclass.__name__.startswith("Abstract")
    }
    assert classes == set(OPTIMIZERS.values())


def test_every_method_of_every_family_is_listed():
    assert set(METHOD_TABLES) <= set(OPTIMIZERS)
    table = capability_table()
    assert all(name in table for name in method_names())
    assert len(method_names()) == len(set(method_names())) > 30
