"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import fieldfit

MODULES = [
    entry.name for entry in pkgutil.walk_packages(fieldfit.__path__, "fieldfit.") if "__main__" not in entry.name
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_module(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0
