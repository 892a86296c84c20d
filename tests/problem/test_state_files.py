"""Trees of numbers, arrays and records as text and plain arrays, and back."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfit.errors import SettingsError
from fieldfit.problem import register_state
from fieldfit.problem.state_files import STATES, decode, encode

NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.booleans() | st.none() | st.text()
ARRAYS = st.sampled_from(
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(24.0).reshape(4, 6)[:, :3],
        np.arange(24.0).reshape(4, 6)[:, :3].T,
        np.array([np.nan, -0.0, np.inf]),
        np.array(3, dtype=np.int32),
        np.zeros((0, 4)),
        np.array([True, False]),
        np.float64(0.1),
    ]
)
TREES = st.recursive(
    NUMBERS | ARRAYS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=12,
)


def bits(tree):
    """A tree as something that is equal only if every bit and the order in memory are."""
    if isinstance(tree, np.ndarray | np.generic):
        flags = np.asarray(tree).ndim > 1 and abs(tree.strides[0]) < abs(tree.strides[-1])
        return type(tree).__name__, tree.dtype.str, np.shape(tree), bool(flags), tree.tobytes()
    if isinstance(tree, dict):
        return "dict", [(bits(key), bits(value)) for key, value in tree.items()]
    if isinstance(tree, tuple | list):
        return type(tree).__name__, [bits(entry) for entry in tree]
    return type(tree).__name__, repr(tree)


@settings(deadline=None)
@given(TREES)
def test_trees_come_back_bit_by_bit(tree) -> None:
    encoded, arrays = encode(tree)
    assert bits(decode(json.loads(json.dumps(encoded, allow_nan=False)), arrays)) == bits(tree)


@register_state
@dataclass(frozen=True, eq=False)
class Pair:
    """A state of a test."""

    left: object
    right: object


def test_what_is_one_object_comes_back_as_one() -> None:
    array = np.arange(3.0)
    inner = Pair(array, None)
    encoded, arrays = encode({"a": Pair(inner, array), "b": inner})
    assert len(arrays) == 1
    found = decode(encoded, arrays)
    assert found["a"].left is found["b"]
    assert found["a"].right is found["b"].left


@pytest.mark.parametrize("name", STATES)
def test_every_class_of_the_table_is_there_and_a_record(name) -> None:
    module, _, attribute = name.partition(":")
    assert register_state(getattr(importlib.import_module(module), attribute)).__module__ == module


@pytest.mark.parametrize("state", [object(), {1, 2}, np.array([None])])
def test_states_that_cannot_be_stored_are_refused_by_their_type(state) -> None:
    with pytest.raises(SettingsError, match="A checkpoint cannot hold"):
        encode({"state": state})


def test_classes_that_are_not_registered_are_refused() -> None:
    @dataclass
    class Unknown:
        x: int

    with pytest.raises(SettingsError, match="Unknown, which is not registered"):
        encode(Unknown(1))
    with pytest.raises(SettingsError, match="neither a dataclass nor a named tuple"):
        register_state(int)
