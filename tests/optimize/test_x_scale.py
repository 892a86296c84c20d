"""`x_scale` of a call: who measures variables by what."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.optimize import Optimizer
from fieldfit.optimize.names import find_method
from fieldfit.optimize.scales import is_automatic
from fieldfit.things import Term

STEEPNESS = np.array([1.0, 10.0])


def point(values):
    return SimpleNamespace(params_dict=values, with_params=point)


def steep_term():
    return Term(lambda p: STEEPNESS * p["x"], name="steep")


def first_step(x_scale, name="lsq-exact", **options):
    """Where the first trial goes when the radius is small: steepest descent in the metric."""
    _, result = Optimizer(name).optimize(
        point({"x": np.ones(2)}),
        steep_term(),
        x_scale=x_scale,
        verbose=0,
        maxiter=1,
        options={"initial_radius": 1e-4, **options},
        copy=True,
    )
    return result.x - 1.0


@pytest.mark.parametrize("name", ["lsq-exact", "fmin-exact", "fmin-dogleg", "fmin-subspace"])
@pytest.mark.parametrize("scales", [[1.0, 1.0], [2.0, 0.1]])
def test_given_scales_are_the_metric_of_the_trust_region(name, scales):
    # Minimising g.p with ||p / s|| <= Delta: p is along -s^2 g, here with g = (1, 100).
    step = first_step(scales, name)
    expected = np.array([1.0, 100.0]) * np.square(scales)
    assert_allclose(step / step[0], expected / expected[0], rtol=1e-2)


@pytest.mark.parametrize("entry", [{"x": np.array([2.0, 0.1])}, [{"x": np.array([2.0, 0.1])}]])
def test_dictionaries_of_scales_mean_the_same_as_an_array(entry):
    assert_allclose(first_step(entry), first_step([2.0, 0.1]), rtol=1e-12)


def test_automatic_scales_are_the_lengths_of_the_columns():
    # D = (1, 10): p is along -g / D^2 = (1, 1).
    step = first_step("auto")
    assert_allclose(step[1] / step[0], 1.0, rtol=1e-6)


def test_the_optimizer_can_be_told_another_metric():
    assert_allclose(first_step([2.0, 0.1], metric="current"), first_step("auto", metric="current"), rtol=1e-9)


def test_a_list_of_automatic_entries_is_automatic():
    assert all(map(is_automatic, ["auto", None, ["auto", "auto"]]))
    assert not any(map(is_automatic, ["ess", ["auto", "ess"], [1.0, 2.0], {"x": 1.0}, np.ones(2)]))


def test_the_scalar_trust_region_follows_curvature_unless_scales_are_given():
    method = find_method("fmin-exact")
    assert method.build({}, {}).metric == "fading"
    assert method.build({}, {}, is_scaled=True).metric == "fixed"
    assert method.build({}, {"metric": "largest"}, is_scaled=True).metric == "largest"


@pytest.mark.parametrize("x_scale", ["auto", [1.0, 5.0], {"x": [0.1, 3.0]}])
@pytest.mark.parametrize("name", ["lsq-exact", "fmin-exact"])
def test_scales_do_not_change_the_answer(name, x_scale):
    valley = Term(lambda p: jnp.stack([10.0 * (p["x"][1] - p["x"][0] ** 2), 1.0 - p["x"][0]]), name="valley")
    (found,), _ = Optimizer(name).optimize(
        point({"x": np.array([-1.2, 1.0])}), valley, x_scale=x_scale, ftol=1e-12, xtol=1e-12, verbose=0, copy=True
    )
    assert_allclose(found.params_dict["x"], [1.0, 1.0], rtol=1e-6)
