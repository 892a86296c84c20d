"""The README says what is so: its Python runs, its report is printed, its names exist."""

import re
import shutil
from pathlib import Path

import pytest

from fieldfit.cli import main
from fieldfit.forcefield.engines import ENGINES
from fieldfit.forcefield.formats import FORMATS
from fieldfit.forcefield.forms import FORMS
from fieldfit.forcefield.initial_guess import METHODS
from fieldfit.forcefield.readers import READERS
from fieldfit.forcefield.references import REFERENCES
from fieldfit.optimizers import OPTIMIZERS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def assert_printed(excerpt: str, printed: str) -> None:
    """Compare an excerpt line by line with what was printed: equal words, and numbers equal to the last digits."""
    known = {}
    for line in printed.splitlines():
        known.setdefault(" ".join(NUMBER.sub("#", line).split()), []).append(line)
    for line in excerpt.splitlines():
        if line == "...":
            continue
        words = " ".join(NUMBER.sub("#", line).split())
        assert words in known, f"not printed: {line}"
        stated = [float(number) for number in NUMBER.findall(line)]
        # Deviations of 1e-8 at the start are rounding, which differs between computers.
        assert any(
            stated == pytest.approx([float(number) for number in NUMBER.findall(entry)], rel=1e-2, abs=1e-6)
            for entry in known[words]
        ), f"printed with other numbers: {line}"


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Work in a folder that looks like the root of the repository, so that nothing is written into it."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("output*"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_first_fit_prints_the_report_of_the_readme(copy, capsys):
    assert "fieldfit fit examples/ch3f/fit.toml" in README
    assert main(["fit", "examples/ch3f/fit.toml"]) == 0
    assert_printed(blocks("text")[0], capsys.readouterr().out)
    assert {path.name for path in (copy / "examples/ch3f/output").iterdir()} >= {"report.txt", "force_field.toml"}


def test_force_field_example_runs_and_writes_its_file(copy, capsys):
    exec(blocks("python")[0], {})
    assert "fieldfit: converged" in capsys.readouterr().out
    assert (copy / "ch3f.xml").is_file()


def test_function_example_prints_what_the_readme_says(capsys):
    exec(blocks("python")[1], {})
    assert_printed(blocks("text")[1], capsys.readouterr().out)


def test_constrained_example_prints_what_the_readme_says(capsys):
    exec(blocks("python")[2], {})
    assert_printed(blocks("text")[2], capsys.readouterr().out)


def test_every_python_block_is_run():
    assert len(blocks("python")) == 3


@pytest.mark.parametrize("table", [FORMATS, READERS, REFERENCES, METHODS, OPTIMIZERS], ids=str)
def test_every_name_of_a_table_is_listed(table):
    assert [name for name in table if f"`{name}`" not in README] == []


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("table", [FORMS, ENGINES], ids=str)
def test_listings_that_the_readme_points_at_are_complete(table, capsys):
    # Forms and engines are too many for a sentence: the README names the command that lists them.
    command = "forms" if table is FORMS else "engines"
    assert f"`fieldfit {command}`" in README
    assert main([command]) == 0
    printed = capsys.readouterr().out
    assert [name for name in table if name not in printed] == []
