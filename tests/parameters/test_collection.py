import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import Parameter, Parameters
from fieldfit.errors import ParameterError


@pytest.fixture
def parameters():
    return Parameters(
        [
            Parameter("bond.CH.k", 340.0, unit="kcal/mol/A^2", lower=0.0),
            Parameter("bond.CH.r", 1.09, unit="A"),
            Parameter("charge", [-0.2, 0.1, 0.1], unit="e"),
        ]
    )


def test_mapping_makes_plain_parameters():
    parameters = Parameters({"a": 1.0, "b": [2.0, 3.0]})
    assert parameters.names == ("a", "b")
    assert parameters.labels == ("a", "b[0]", "b[1]")
    assert_allclose(parameters.flat, [1.0, 2.0, 3.0])
    assert parameters.size == parameters.n_free == 3


def test_patterns_fix_and_free(parameters):
    fixed = parameters.fix("bond.*")
    assert fixed.is_free.tolist() == [False, False, True, True, True]
    assert fixed.free("*.r").is_free.tolist() == [False, True, True, True, True]
    assert parameters.n_free == 5


def test_pattern_that_matches_nothing_names_the_nearest(parameters):
    with pytest.raises(ParameterError, match=r"No parameter is called 'bond.CH.rr'. Did you mean 'bond.CH.r'\?"):
        parameters.fix("bond.CH.rr")


def test_bound_changes_the_matching_ones_only(parameters):
    bounded = parameters.bound("charge", -1.0, 1.0)
    assert_allclose(bounded["charge"].upper, [1.0, 1.0, 1.0])
    assert bounded["bond.CH.r"].upper == np.inf


def test_tied_parameter_follows_its_leader():
    parameters = Parameters({"a": 2.0, "b": 5.0}).tie("b", "a", factor=-3.0)
    assert parameters.values["b"] == -6.0
    assert parameters.is_free.tolist() == [True, False]


def test_replace_keeps_order_bounds_and_ties(parameters):
    moved = parameters.replace({"bond.CH.r": 1.2})
    assert moved.names == parameters.names
    assert moved["bond.CH.r"].value == 1.2
    assert moved["bond.CH.r"].unit == "A"
    assert parameters["bond.CH.r"].value == 1.09
    with pytest.raises(ParameterError, match=r"'bond.CH.k' starts at -1"):
        parameters.replace({"bond.CH.k": -1.0})
    with pytest.raises(ParameterError, match="No parameter is called 'bond'"):
        parameters.replace({"bond": 1.0})


def test_split_undoes_flat(parameters):
    pieces = parameters.split(parameters.flat)
    assert list(pieces) == list(parameters.names)
    assert_allclose(pieces["charge"], [-0.2, 0.1, 0.1])
    assert pieces["bond.CH.k"].shape == ()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Parameters([Parameter("a", 1.0), Parameter("a", 2.0)]), "Two parameters are called 'a'"),
        (lambda: Parameters({"a": 1.0}).tie("a", "a"), "'a' is tied to 'a', which is itself tied"),
        (lambda: Parameters({"a": 1.0}).tie("a", "b"), "No parameter is called 'b'"),
        (
            lambda: Parameters({"a": 1.0, "b": [1.0, 2.0]}).tie("a", "b"),
            r"of shape \(\) cannot follow 'b' of shape \(2,\)",
        ),
        (lambda: Parameters({"a": 1.0, "b": 2.0, "c": 3.0}).tie("a", "b").tie("b", "c"), "which is itself tied"),
        (lambda: Parameters({"a": 1.0, "b": 2.0}).tie("a", "b", factor=0.0), "tied with the factor 0.0"),
    ],
)
def test_impossible_collections_are_refused(build, message):
    with pytest.raises(ParameterError, match=message):
        build()


def test_table_shows_values_units_bounds_and_how_each_is_held(parameters):
    table = parameters.fix("charge").tie("bond.CH.r", "bond.CH.k", factor=0.001).table().splitlines()
    assert len(table) == 6
    assert table[1].split() == ["bond.CH.k", "340", "0", "inf", "kcal/mol/A^2"]
    assert table[2].split() == ["bond.CH.r", "0.34", "-inf", "inf", "A", "(tied", "to", "bond.CH.k)"]
    assert table[3].endswith("e  (fixed)")


def test_collection_behaves_like_one(parameters):
    assert len(parameters) == 3
    assert "charge" in parameters
    assert [entry.name for entry in parameters] == list(parameters.names)
    assert repr(parameters) == "Parameters(3 parameters, 5 of 5 elements free)"


def test_empty_collection_is_allowed():
    empty = Parameters()
    assert empty.size == empty.n_free == 0
    assert empty.flat.shape == (0,)


def test_elements_are_found_by_name_pattern_and_label():
    parameters = Parameters({"a": 1.0, "w": [[1.0, 2.0], [3.0, 4.0]], "soma.g": 2.0, "soma.e": 3.0})
    found = {
        pattern: parameters.elements(pattern).tolist() for pattern in ("a", "w", "w[1,0]", "w[1, 0]", "soma.*", "*")
    }
    assert found == {
        "a": [0],
        "w": [1, 2, 3, 4],
        "w[1,0]": [3],
        "w[1, 0]": [3],
        "soma.*": [5, 6],
        "*": [0, 1, 2, 3, 4, 5, 6],
    }


@pytest.mark.parametrize("pattern", ["b", "w[2,0]", "w[0]", "soma.x*"])
def test_elements_that_do_not_exist_are_refused_with_the_known_ones(pattern):
    parameters = Parameters({"a": 1.0, "w": [[1.0, 2.0], [3.0, 4.0]], "soma.g": 2.0})
    with pytest.raises(ParameterError, match=r"Known: .*w"):
        parameters.elements(pattern)
