"""Shared fixtures."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from fieldfit.compilation import VARIABLE, use_compilation_cache

ROOT = Path(__file__).resolve().parents[1]

# Programs compiled by an earlier run, or by a process that a test starts, are read instead of compiled again.
os.environ.setdefault(VARIABLE, str(ROOT / ".pytest_cache" / "compiled"))
use_compilation_cache()

settings.register_profile("fieldfit", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("fieldfit")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of public reference data, which is not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of reference data is not there")
    return folder


@pytest.fixture(scope="session")
def examples() -> Path:
    """Return the folder of examples."""
    return ROOT / "examples"
