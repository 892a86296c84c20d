"""Rows of one MacroModel force-field file found again in another version of it."""

from __future__ import annotations

import pytest

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.formats.mm3_counterparts import counterparts
from fieldfit.forcefield.formats.mm3_fld import parse_fld, read_fld

HEADER = " Title\n-1\n 0    STR     3      601.99392\n"
GENERAL = """-2
 1  C3 - C3                1.5177     4.4900     0.0000 1C200 0000
 1  C3 - C3                1.5247     4.4900     0.0000  0000 0000
-3
"""
SUBSTRUCTURE = """ C  Ethyl OPT
 9  H1-C3-C3
-2
 1   2   3                 1.5000     4.0000     0.5000
a1   2   3                 1.6000     4.0000
 2   1   2   3           110.0000     0.6000
 2   1   2   3           111.0000     0.6000
-3
"""
TEMPLATE = parse_fld(HEADER + GENERAL + SUBSTRUCTURE)


def pairs(other):
    return {line: row.line for line, row in counterparts(TEMPLATE, other).items()}


def test_a_file_is_its_own_counterpart():
    assert pairs(TEMPLATE) == {row.line: row.line for row in TEMPLATE.rows}


def test_rows_are_found_where_a_row_was_added_above():
    added = GENERAL.replace("-2\n", "-2\n 1  C3 - N3                1.4500     5.0000     0.0000  0000 0000\n")
    shifted = parse_fld(HEADER + added + SUBSTRUCTURE.replace("1.5000", "1.4000"))
    assert pairs(shifted) == {row.line: row.line + 1 for row in TEMPLATE.rows}
    assert counterparts(TEMPLATE, shifted)[11].values["r0"] == 1.4


def test_a_substructure_alone_speaks_for_its_rows_only():
    alone = parse_fld("# a remark\n" + SUBSTRUCTURE.replace(" OPT", ""))
    assert pairs(alone) == {11: 5, 12: 6, 13: 7, 14: 8}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (HEADER + GENERAL.replace("1C200", "1C300") + SUBSTRUCTURE, r"line 5 \(C3-C3\) .* general rows"),
        (HEADER + GENERAL + SUBSTRUCTURE.replace("a1 ", "b1 "), r"line 12 \(2-3\) .* 'H1-C3-C3'"),
        (
            HEADER + GENERAL + SUBSTRUCTURE.replace("111.0000", "").replace(" 2   1   2   3                0.6", "#"),
            "line 14",
        ),
        (HEADER + GENERAL + SUBSTRUCTURE.replace("     0.5000\n", "\n"), "moment is blank in one of line 11"),
        (HEADER.replace("601.99392", "600.00000") + GENERAL + SUBSTRUCTURE, "STR is 601.994 in the template and 600"),
        (SUBSTRUCTURE.replace("H1-C3-C3", "H1-N3-C3"), "in common"),
    ],
)
def test_files_of_other_rows_are_refused(other, message):
    with pytest.raises(FileFormatError, match=message):
        counterparts(TEMPLATE, parse_fld(other))


def test_all_versions_of_a_published_force_field_have_the_rows_of_its_substructures(shared_data):
    folder = shared_data / "rh-enamide"
    template = read_fld(folder / "mm3.fld")
    active = [row for row in template.rows if row.substructure is not None and "OPT" in row.substructure.title]
    # The fits published with it count 8 bonds, 23 angles and 16 torsions.
    assert len(active) == 47
    for path in folder.glob("**/*.fld"):
        found = counterparts(template, read_fld(path))
        assert [found[row.line].atoms for row in active] == [row.atoms for row in active]
