"""Start values and bounds of any structure become the parameters that they say."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose

from fieldfit import Parameter
from fieldfit.errors import ParameterError
from fieldfit.parameters import parameters_from_bounds, structured_parameters

NESTED = {"soma": {"g": 1.0, "e": -70.0}, "tau": [5.0, 9.0], "w": np.array([0.1, 0.2])}
OPEN = (-np.inf, np.inf)


def ends(parameters):
    """Bounds by label."""
    lower = np.concatenate([entry.lower.ravel() for entry in parameters])
    upper = np.concatenate([entry.upper.ravel() for entry in parameters])
    return dict(zip(parameters.labels, zip(lower.tolist(), upper.tolist(), strict=True), strict=True))


@dataclasses.dataclass
class Cell:
    tau: object
    gain: object
    name: str = "soma"


@pytest.mark.parametrize(
    ("given", "bounds", "expected"),
    [
        (NESTED, (-100.0, 10.0), dict.fromkeys(("soma.g", "soma.e", "tau.0", "tau.1", "w[0]", "w[1]"), (-100.0, 10.0))),
        (NESTED, {"soma": {"g": (0.0, None)}}, {"soma.g": (0.0, np.inf), "soma.e": OPEN, "w[0]": OPEN}),
        (NESTED, {"soma.g": (0.0, 2.0), "tau": (1.0, 10.0)}, {"soma.g": (0.0, 2.0), "tau.1": (1.0, 10.0)}),
        (NESTED, {"tau.*": (None, 10.0), "tau.0": (0.0, 6.0)}, {"tau.0": (0.0, 6.0), "tau.1": (-np.inf, 10.0)}),
        (NESTED, {"tau": [(0.0, 6.0), None]}, {"tau.0": (0.0, 6.0), "tau.1": OPEN}),
        (NESTED, {"w[1]": (0.0, 1.0)}, {"w[0]": OPEN, "w[1]": (0.0, 1.0)}),
        (NESTED, {"w": (np.zeros(2), np.array([1.0, 2.0]))}, {"w[0]": (0.0, 1.0), "w[1]": (0.0, 2.0)}),
        (NESTED, {"w": [(0.0, 1.0), (None, 2.0)]}, {"w[0]": (0.0, 1.0), "w[1]": (-np.inf, 2.0)}),
        ([1.0, 2.0], [(0.0, 3.0), (None, 4.0)], {"0": (0.0, 3.0), "1": (-np.inf, 4.0)}),
        ((1.0, {"b": 2.0, "a": 3.0}), [None, (0.0, 4.0)], {"0": OPEN, "1.b": (0.0, 4.0), "1.a": (0.0, 4.0)}),
        ({"b": 1.0, "a": 2.0}, [(0.0, 3.0), (1.0, 4.0)], {"b": (0.0, 3.0), "a": (1.0, 4.0)}),
        (np.ones(2), [(0.0, 3.0), (1.0, 4.0)], {"x[0]": (0.0, 3.0), "x[1]": (1.0, 4.0)}),
        (np.ones(2), np.array([[0.0, 3.0], [1.0, 4.0]]), {"x[0]": (0.0, 3.0), "x[1]": (1.0, 4.0)}),
        (1.0, (0.0, None), {"x": (0.0, np.inf)}),
        (
            {"b": 1.0, "a": np.ones(2)},
            scipy.optimize.Bounds([0.0, -1.0, -2.0], 5.0),
            {"b": (0.0, 5.0), "a[0]": (-1.0, 5.0), "a[1]": (-2.0, 5.0)},
        ),
        (Cell(1.0, 2.0), Cell((0.0, 3.0), (1.0, 4.0)), {"tau": (0.0, 3.0), "gain": (1.0, 4.0)}),
        (Cell(1.0, 2.0), {"gain": (1.0, 4.0)}, {"tau": OPEN, "gain": (1.0, 4.0)}),
    ],
)
def test_bounds_mean_what_they_say(given, bounds, expected):
    found = ends(structured_parameters(given, bounds))
    assert {label: found[label] for label in expected} == expected


def test_the_structure_comes_back_in_the_order_of_the_user():
    parameters = structured_parameters(NESTED, (-100.0, 100.0))
    tree = parameters.tree(parameters.flat)
    assert list(tree) == ["soma", "tau", "w"]
    assert list(tree["soma"]) == ["g", "e"]
    assert isinstance(tree["tau"], list)
    assert tree["w"].shape == (2,)


def test_parameters_keep_what_is_not_mentioned():
    given = [Parameter("a", 1.0, lower=0.0, scale=5.0), Parameter("b", 2.0, unit="nA", upper=3.0)]
    found = structured_parameters(given, {"a": (0.5, 2.0)})
    assert ends(found) == {"a": (0.5, 2.0), "b": (-np.inf, 3.0)}
    assert found["a"].scale == 5.0
    assert found["b"].unit == "nA"


def test_scales():
    assert structured_parameters({"a": 0.0}, (-1.0, 3.0))["a"].scale == 4.0
    assert structured_parameters({"a": 2.0}, (-1.0, 3.0))["a"].scale == 2.0
    assert structured_parameters({"a": 2.0}, (-1.0, 3.0), scale="bounds")["a"].scale == 4.0
    assert structured_parameters({"a": 2.0}, scale=0.5)["a"].scale == 0.5
    held = structured_parameters(
        [Parameter("a", 1.0, lower=0.0, upper=2.0), Parameter("b", 1.0, fixed=True)], scale="bounds"
    )
    assert (held["a"].scale, held["b"].scale) == (2.0, 1.0)


def test_bounds_alone_make_parameters_from_their_middles():
    parameters = parameters_from_bounds({"b": (0.0, 4.0), "a": [(-1.0, 1.0), (np.zeros(2), np.array([2.0, 6.0]))]})
    assert parameters.names == ("b", "a.0", "a.1")
    assert_allclose(parameters.flat, [2.0, 0.0, 1.0, 3.0])
    assert_allclose(np.concatenate([entry.scale.ravel() for entry in parameters]), [4.0, 2.0, 2.0, 6.0])
    tree = parameters.tree(parameters.flat)
    assert list(tree) == ["b", "a"]
    assert isinstance(tree["a"], list)


def test_bounds_with_starts():
    parameters = parameters_from_bounds({"a": (0.0, None), "b": (0.0, 2.0), "c": [None, None]}, {"a": 3.0, "c": 0.0})
    assert_allclose(parameters.flat, [3.0, 1.0, 0.0])
    assert_allclose([entry.scale for entry in parameters], [3.0, 2.0, 1.0])


def test_scipy_bounds_alone_are_those_of_an_array():
    parameters = parameters_from_bounds(scipy.optimize.Bounds([0.0, 1.0], [2.0, 5.0]))
    assert parameters.tree(parameters.flat).tolist() == [1.0, 3.0]


def test_a_single_pair_is_a_lone_number():
    parameters = parameters_from_bounds((0.0, 4.0))
    assert parameters.tree(parameters.flat) == 2.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: structured_parameters({"tau": 1.0}, {"tua": (0, 1)}),
            "No parameter is called 'tua'. Did you mean 'tau'",
        ),
        (lambda: structured_parameters({"a": {"b": 1.0}}, {"a": {"c": (0, 1)}}), "No parameter is called 'a.c'"),
        (lambda: structured_parameters({"a": 1.0}, {"a": (2, 1)}), r"bounds \[2, 1\]: the lower one is above"),
        (lambda: structured_parameters({"a": 5.0}, (0, 1)), "starts at 5, outside its bounds"),
        (lambda: structured_parameters({"a": 1.0}, {"a": 3.0}), "'a' are 3.0, which is not a pair"),
        (lambda: structured_parameters({"a": 1.0}, {"a": (0, "x")}), "is not a pair"),
        (lambda: structured_parameters({"a": 1.0}, "a"), "is not a pair"),
        (lambda: structured_parameters({"a": 1.0}, (1j, None)), "is not a pair"),
        (
            lambda: structured_parameters(np.ones(3), [(0, 1), (0, 2)]),
            "There are 2 bounds, but 1 entries with 3 numbers",
        ),
        (lambda: structured_parameters({"a": np.ones(3)}, {"a": (np.zeros(2), 1)}), r"shape \(2,\), but \(3,\)"),
        (lambda: structured_parameters({"a": 1.0}, scipy.optimize.Bounds([0, 0, 0], 1)), "SciPy's bounds have 3 lower"),
        (lambda: structured_parameters({"a": np.nan}), "not finite"),
        (lambda: structured_parameters({"a": 1.0}, (np.nan, 2.0)), "the lower one is above"),
        (lambda: structured_parameters({"a": [1.0, "b"]}), "Entry 'a.1' is 'b'"),
        (lambda: structured_parameters(None), "The structure of parameters is None"),
        (lambda: structured_parameters({"a": 1.0}, units="SI"), "No way to hand out units is called 'SI'"),
        (lambda: parameters_from_bounds({"a": (0, None)}), "no middle to start from. Give a start"),
        (lambda: parameters_from_bounds({"a": (3, 1)}), "the lower one is above"),
        (lambda: parameters_from_bounds({"a": 3.0}), "'a' are 3.0, which is not a pair"),
        (lambda: parameters_from_bounds({"a": None}), "'a' are None, which is not a pair"),
        (lambda: parameters_from_bounds({"a": (0, 1)}, {"b": 1.0}), "No parameter with bounds is called 'b'"),
        (lambda: parameters_from_bounds({"a": (np.zeros(2), np.ones(3))}), "Give both the same shape"),
    ],
)
def test_what_cannot_be_is_said(build, message):
    with pytest.raises(ParameterError, match=message):
        build()
