"""What a user without DESC is told."""

import importlib.util
import subprocess
import sys

import pytest

from fieldfit.compat.desc import Optimizer
from fieldfit.equilibrium.desc import DescOptimizer, register_with_desc
from fieldfit.errors import SettingsError


@pytest.fixture
def without_desc(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "desc" else find(name, *rest))


def test_importing_the_library_does_not_import_desc():
    code = "import sys, fieldfit.equilibrium.desc, fieldfit.compat.desc; print('desc' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.usefixtures("without_desc")
@pytest.mark.parametrize("made", [lambda: DescOptimizer("lsq-exact"), lambda: Optimizer("fmintr"), register_with_desc])
def test_what_needs_desc_names_the_extra(made):
    with pytest.raises(SettingsError, match=r"fieldfit\[desc\]"):
        made()
