"""The page on DESC's objects does what it says."""

import re
from pathlib import Path

import pytest

pytest.importorskip("desc", reason="DESC is an optional dependency with an environment of its own")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "desc.md"


@pytest.mark.filterwarnings("ignore")
def test_the_examples_of_the_page_run(capsys):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert "Force error" in capsys.readouterr().out
