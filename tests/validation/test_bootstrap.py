"""The bootstrap against statistics that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit import FunctionObjective, LeastSquaresOptimizer, ObjectiveFunction, Parameter, Parameters, Prior, Problem
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.objectives import ScalarObjective
from fieldfit.validation import ReweightedObjective, bootstrap, count_residuals
from fieldfit.validation.bootstrap import draw_multiplicities
from toys import Watched, rosenbrock

OPTIMIZER = LeastSquaresOptimizer()
RANDOM = np.random.default_rng(7)
X = np.linspace(0.0, 10.0, 80)
Y = 1.5 + 0.8 * X + RANDOM.normal(0.0, 0.4, X.size)


def line(x=X, y=Y) -> FunctionObjective:
    """A straight line through points, both parameters in their own units."""
    parameters = Parameters([Parameter("a", 0.0, unit="V"), Parameter("b", 0.0, unit="V/s")])
    derivatives = lambda p: np.stack([np.ones_like(x), x], axis=1)  # noqa: E731
    return FunctionObjective(lambda p: p["a"] + p["b"] * x - y, parameters, derivatives=derivatives)


def test_weights_of_whole_numbers_are_repeated_observations() -> None:
    weights = np.array([0.0, 2.0, 1.0, 3.0])
    repeated = np.repeat(np.arange(4), weights.astype(int))
    found = OPTIMIZER.optimize(ReweightedObjective(line(X[:4], Y[:4]), weights))
    # An ordinary straight-line fit by NumPy to the list with repetitions.
    slope, intercept = np.polyfit(X[repeated], Y[repeated], 1)
    assert_allclose(found.final_params, [intercept, slope], rtol=1e-8)


def test_multiplicities_add_up_within_each_stratum() -> None:
    strata = [[np.array([0]), np.array([1]), np.array([2])], [np.array([4, 5]), np.array([6, 7])]]
    for seed in range(20):
        drawn = draw_multiplicities(9, strata, np.random.default_rng(seed))
        assert drawn[:3].sum() == 3.0
        assert drawn[3] == drawn[8] == 1.0
        assert drawn[4] == drawn[5]
        assert drawn[6] == drawn[7]
        assert drawn[4] + drawn[6] == 2.0


def test_the_spread_is_that_of_the_covariance_where_its_assumptions_hold() -> None:
    objective = line()
    result = OPTIMIZER.optimize(objective)
    found = bootstrap(objective, OPTIMIZER, result, n_samples=400, seed=3)
    # The spread of a spread over 400 samples is 1 / sqrt(800) = 3.5 % of it, that of 80 residuals 8 %.
    assert_allclose(found.standard_deviations, list(result.standard_errors.values()), rtol=0.25)
    assert np.all(np.abs(found.bias) < 0.2 * found.standard_deviations)
    lower, upper = found.interval()
    assert_allclose(upper - lower, 2.0 * 1.96 * found.standard_deviations, rtol=0.25)
    assert found.units == ("V", "V/s")
    assert np.all(found.is_determined)


def test_a_sample_is_the_fit_to_the_observations_that_were_drawn() -> None:
    objective = line()
    found = bootstrap(objective, OPTIMIZER, OPTIMIZER.optimize(objective), n_samples=3, seed=11)
    generator = np.random.default_rng(np.random.SeedSequence(11).spawn(3)[1])
    counts = np.bincount(generator.integers(80, size=80), minlength=80)
    slope, intercept = np.polyfit(X, Y, 1, w=np.sqrt(counts))
    assert_allclose(found.samples[1], [intercept, slope], rtol=1e-7)


@pytest.mark.parametrize("executor", ["threads:2", "serial"])
def test_the_same_seed_gives_the_same_samples_everywhere(executor) -> None:
    objective = line()
    result = OPTIMIZER.optimize(objective)
    here = bootstrap(objective, OPTIMIZER, result, n_samples=5, seed=2)
    there = bootstrap(objective, OPTIMIZER, result, n_samples=5, seed=2, executor=executor)
    assert_array_equal(here.samples, there.samples)
    more = bootstrap(objective, OPTIMIZER, result, n_samples=8, seed=2)
    assert_array_equal(more.samples[:5], here.samples)


def test_terms_and_groups_are_drawn_as_blocks() -> None:
    parts = {name: line(X[part], Y[part]) for name, part in {"left": slice(0, 40), "right": slice(40, 80)}.items()}
    objective = ObjectiveFunction(parts)
    result = OPTIMIZER.optimize(objective)
    fits = [np.polyfit(X[part], Y[part], 1)[::-1] for part in (slice(0, 40), slice(40, 80), slice(0, 80))]
    groups = {"first": range(40), "second": range(40, 80)}
    for given in ("terms", groups):
        found = bootstrap(objective, OPTIMIZER, result, n_samples=12, seed=0, groups=given)
        # Two blocks drawn twice: both, or one of them twice.
        distances = [min(np.linalg.norm(sample - fit) for fit in fits) for sample in found.samples]
        assert max(distances) < 1e-6
        assert len({tuple(np.round(sample, 5)) for sample in found.samples}) == 3


def test_a_tether_is_no_observation() -> None:
    data = line()
    objective = ObjectiveFunction({"data": data, "prior": Prior(data.parameters, 1e9)})
    found = bootstrap(objective, OPTIMIZER, OPTIMIZER.optimize(objective), n_samples=10, groups="rows")
    # Held this strongly the parameters cannot move, whatever is drawn.
    assert np.all(np.abs(found.samples) < 1e-5)


def test_parameters_that_the_data_do_not_determine_are_named() -> None:
    parameters = Parameters({"a": 1.0, "b": 1.0, "c": 1.0})
    sums = FunctionObjective(
        lambda p: np.concatenate([p["a"] + p["b"] - Y, p["c"] - X]),
        parameters,
        derivatives=lambda p: np.repeat([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], X.size, axis=0),
    )
    objective = ObjectiveFunction({"data": sums, "prior": Prior(parameters, 1e-6)})
    found = bootstrap(objective, OPTIMIZER, OPTIMIZER.optimize(objective), n_samples=4)
    assert found.is_determined.tolist() == [False, False, True]
    assert str(found).count("not determined by the data") == 2


def test_fits_that_fail_are_listed_and_the_others_counted() -> None:
    watched = Watched(line())
    result = OPTIMIZER.optimize(watched)
    n_fine = [0]

    def fails(values) -> bool:
        n_fine[0] += 1
        return n_fine[0] == 1

    found = bootstrap(Watched(line(), fails=fails), OPTIMIZER, result, n_samples=4)
    assert len(found.samples) == 3
    assert "fell apart" in found.failures[0]
    assert "3 fits, 1 failed" in str(found)


def test_a_bootstrap_of_which_every_fit_fails_is_refused() -> None:
    objective = line()
    with pytest.raises(EvaluationError, match="None of the 2 fits"):
        bootstrap(Watched(line(), fails=lambda values: True), OPTIMIZER, OPTIMIZER.optimize(objective), n_samples=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "0 samples"),
        ({"groups": "molecules"}, "'molecules' is not known"),
        ({"groups": {}}, "no groups"),
        ({"groups": {"far": [80]}}, "there are 80"),
    ],
)
def test_draws_that_cannot_be_made_are_refused(options, message) -> None:
    objective = line()
    with pytest.raises(SettingsError, match=message):
        bootstrap(objective, OPTIMIZER, OPTIMIZER.optimize(objective), **options)


def test_an_interval_needs_a_level() -> None:
    objective = line()
    found = bootstrap(objective, OPTIMIZER, OPTIMIZER.optimize(objective), n_samples=2)
    with pytest.raises(SettingsError, match="level 95"):
        found.interval(95.0)


def test_scalars_have_no_observations() -> None:
    scalar = ScalarObjective(lambda p: p["x"] ** 2, {"x": 1.0})
    with pytest.raises(SettingsError, match="no residuals"):
        count_residuals(scalar)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, np.nan]])
def test_weights_that_cannot_be_are_refused(weights) -> None:
    with pytest.raises(SettingsError):
        ReweightedObjective(rosenbrock(), np.array(weights))


def test_fixed_parameters_reach_the_objective_inside() -> None:
    prepared = []

    class Prepared(Watched):
        def for_parameters(self, parameters):
            prepared.append(parameters.n_free)
            return self

    objective = Prepared(line())
    weighted = ReweightedObjective(objective, np.ones(80))
    OPTIMIZER.optimize(Problem(weighted, line().parameters.fix("a")))
    assert prepared == [1]
