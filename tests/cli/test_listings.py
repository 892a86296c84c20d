"""The commands that list what there is."""

import pytest

from fieldfit.cli import main
from fieldfit.forcefield.engines import ENGINES
from fieldfit.forcefield.forms import FORMS
from fieldfit.optimize import optimizer_names
from fieldfit.optimize.capabilities import COLUMNS, method_traits, things_table


@pytest.mark.parametrize(("command", "table"), [("engines", ENGINES), ("forms", FORMS)])
def test_a_listing_has_one_line_per_entry(command, table, capsys):
    assert main([command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *table]


@pytest.mark.parametrize("command", ["engines", "forms", "methods"])
def test_markdown_rows_have_as_many_cells_as_the_head(command, capsys):
    assert main([command, "--markdown"]) == 0
    blocks = [block.splitlines() for block in capsys.readouterr().out.strip().split("\n\n")]
    tables = [block for block in blocks if block[0].startswith("|")]
    assert len(tables) == (2 if command == "methods" else 1)
    for lines in tables:
        assert set(lines[1]) == {"|", "-"}
        assert {line.replace("\\|", "").count("|") for line in lines} == {lines[0].count("|")}


def test_methods_lists_every_name_that_an_optimizer_of_things_has(capsys):
    assert main(["methods", "--markdown"]) == 0
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if "|" in line]
    start = next(place for place, row in enumerate(rows) if row[:2] == ["name", "takes"])
    listed = {row[0]: dict(zip(rows[start], row, strict=True)) for row in rows[start + 2 :]}
    assert list(listed) == [*optimizer_names(), "proximal-<any>"]
    # What SciPy's documentation and the names themselves say.
    assert listed["scipy-lm"]["takes"] == "least squares"
    assert listed["scipy-lm"]["bounds"] == "no"
    assert listed["scipy-SLSQP"]["inequality"] == "yes"
    assert listed["scipy-trust-exact"]["derivatives"] == "Hessian"
    assert listed["scipy-Nelder-Mead"]["derivatives"] == "none"
    assert listed["lsq-exact"]["equality"] == "linear"
    assert listed["lsq-auglag"]["equality"] == "yes"


@pytest.mark.parametrize("name", optimizer_names())
def test_the_table_says_what_traits_say(name):
    row = next(line for line in things_table(markdown=True).splitlines() if line.startswith(f"| {name} |"))
    cells = dict(zip(COLUMNS, (cell.strip() for cell in row.strip("|").split("|")), strict=True))
    traits = method_traits(name)
    assert (cells["takes"] == "least squares") == traits.needs_residuals
    assert (cells["derivatives"] == "Hessian") == traits.needs_hessian
    assert (cells["equality"] == "yes") == (cells["inequality"] == "yes") == traits.handles_constraints
    assert (cells["bounds"] == "no") == (not (traits.handles_bounds or traits.needs_bounds))
    assert cells["stochastic"].startswith("yes") == traits.is_stochastic


def test_forms_are_listed_with_units_and_bounds(capsys):
    main(["forms"])
    printed = capsys.readouterr().out
    assert "r0 0.5 to 3 A" in printed
    assert "k 0 to 3600 kcal/mol/A^2" in printed
