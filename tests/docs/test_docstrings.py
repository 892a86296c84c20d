"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import fieldfit
from fieldfit.optimize import names
from fieldfit.problem import state_files

MODULES = [
    entry.name for entry in pkgutil.walk_packages(fieldfit.__path__, "fieldfit.") if "__main__" not in entry.name
]


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """Forget what an example registers: its names are gone after it."""
    monkeypatch.setattr(names, "_REGISTERED", dict(names._REGISTERED))
    monkeypatch.setattr(state_files, "_REGISTERED", dict(state_files._REGISTERED))


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_module(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0
