import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfit.errors import SettingsError
from fieldfit.registry import Registry, unknown_name

TABLE = {"square-root": "math:sqrt", "sine": "math:sin", "missing": "no_such_package:thing"}


def test_entry_is_imported_when_asked_for():
    registry = Registry("function", TABLE)
    assert registry["square-root"] is math.sqrt
    assert list(registry) == list(TABLE)
    assert len(registry) == 3
    assert "sine" in registry
    assert "cosine" not in registry


def test_missing_dependency_hurts_only_its_user():
    registry = Registry("function", TABLE)
    assert registry["sine"](0.0) == 0.0
    with pytest.raises(ModuleNotFoundError):
        registry["missing"]


def test_unknown_name_gets_the_nearest_known_one():
    with pytest.raises(SettingsError, match=r"No function is called 'sinus'. Did you mean 'sine'\? Known: missing, "):
        Registry("function", TABLE)["sinus"]


def test_nearest_name_is_found_whatever_the_case():
    assert "Did you mean 'L-BFGS-B'?" in unknown_name("method", "lbfgsb", ["L-BFGS-B", "trf"])


def test_table_is_not_changed_by_the_one_who_gave_it():
    table = dict(TABLE)
    registry = Registry("function", table)
    table.clear()
    assert len(registry) == 3


def test_registry_reads_as_a_list_of_names():
    assert repr(Registry("function", {"sine": "math:sin"})) == "Registry(function: sine)"


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=10), max_size=5))
def test_message_always_lists_what_is_known(name, known):
    message = unknown_name("thing", name, known)
    assert repr(name) in message
    assert all(entry in message for entry in known)
