"""The commands that list what there is."""

import pytest

from fieldfit.cli import main
from fieldfit.forcefield.engines import ENGINES
from fieldfit.forcefield.forms import FORMS


@pytest.mark.parametrize(("command", "table"), [("engines", ENGINES), ("forms", FORMS)])
def test_a_listing_has_one_line_per_entry(command, table, capsys):
    assert main([command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *table]


@pytest.mark.parametrize("command", ["engines", "forms", "methods"])
def test_markdown_rows_have_as_many_cells_as_the_head(command, capsys):
    assert main([command, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert set(lines[1]) == {"|", "-"}
    assert {line.replace("\\|", "").count("|") for line in lines} == {lines[0].count("|")}


def test_forms_are_listed_with_units_and_bounds(capsys):
    main(["forms"])
    printed = capsys.readouterr().out
    assert "r0 0.5 to 3 A" in printed
    assert "k 0 to 3600 kcal/mol/A^2" in printed
