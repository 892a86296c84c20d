"""MacroModel force-field files: what a line says, and what a writer may touch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.formats.mm3_columns import Columns, replace_number
from fieldfit.forcefield.formats.mm3_fld import ENCODING, parse_fld, read_fld
from fieldfit.forcefield.formats.mm3_matching import TypedGraph, directions, find_row, parse_pattern, row_in_force

# Written by hand after the layout of MacroModel's files; the numbers mean nothing.
TEXT = """ A force field of a handful of rows
 C  remarks
-1
 0    STR     3      601.99392
 0    TOR     1        2.09200
 0    SEL     1                 O Original parameters
-5
 1  HX  H1 H2
-2
 1  C3 - C3                1.5177     4.4900     0.0000 1C200 0000              O 3             (O=C-)C-C
 1                                                       O200 0000
 1  C3 - C3                1.5247     4.4900     0.0000  0000 0000              O 1             C-C
 1  C3 - H1                1.1120     4.7400    -0.6000  0000 0000              O 1             H-C  \xe9
 2  H1 - C3 - H1         107.6000     0.5500     0.3000  0000 0000 0000         O 1             H-C-H
 2  00 * C3 * 00         109.5000     0.5000             0000 0000 0000         A 3             any bend
 3  00 * C0 * HX           0.0800                        0000 0000 0000         O 1             H-C-
 4  H1 - C3 - C3 - H1      0.0000     0.0000     0.2380  0000 0000 0000 0000    O 1             H-C-C-H
54  H1 - C3 - C3 - H1      0.1000     0.0000     0.0500  0000 0000 0000 0000    O 1             V4 to V6
 5  C2 * 00 * 00 * 00      0.0000     0.0500             0000 0000 0000 0000    O 1
 8  00 - C3 - C3 - 00      0.0590     0.0000     0.0000  0000 0000 0000 0000    O 1             twist and pull
-6
  C3     2.0400     0.0270     0.0000                                   0000    O 1
  H1     1.6200     0.0200     0.0000                                   SX00    O 3
  H1     1.6200     0.0200    -0.0770                                   0000    O 1             MM3
 END OF NONBONDED INTERACTIONS
-2
 6  C3   H1                3.5600     0.0230             0000 0000              O 1             C3-H1
 7  H1   O3               90.0000    40.0000             SX00 0000
-3
 C  Ethyl, to be fitted OPT
 9  HX-C3-C3(-H1)
-2
aA   3   2   1           180.0000    45.0000
 1   1   2                 1.1000     5.0000     0.5000
a1   2   3                 1.5000     4.0000
 2   1   2   3           110.0000     0.6000
 2   1   2  HX           109.0000     0.6000
-3
"""
ETHANE = TypedGraph(
    types=(("C3",), ("C3",), *(("H1",),) * 6),
    attached=(
        {1: "-", 2: "-", 3: "-", 4: "-"},
        {0: "-", 5: "-", 6: "-", 7: "-"},
        *({0: "-"},) * 3,
        *({1: "-"},) * 3,
    ),
)


@pytest.fixture(scope="module")
def fld():
    return parse_fld(TEXT)


def line_of(words):
    return next(number for number, line in enumerate(TEXT.split("\n"), 1) if words in line)


def test_header_and_classes_are_read(fld):
    assert fld.factors == {"STR": 601.99392, "TOR": 2.092}
    assert fld.equivalents == {"HX": ("H1", "H2")}
    with pytest.raises(FileFormatError, match=r"VDW.*STR"):
        fld.factor("VDW")


@pytest.mark.parametrize(
    ("words", "kind", "atoms", "values"),
    [
        ("H-C  ", "1", ("C3", "H1"), {"r0": 1.112, "k": 4.74, "moment": -0.6}),
        ("H-C-H", "2", ("H1", "C3", "H1"), {"theta0": 107.6, "k": 0.55, "bend_bend": 0.3}),
        ("HX   ", "3", ("00", "C0", "HX"), {"k": 0.08}),
        ("H-C-C-H", "4", ("H1", "C3", "C3", "H1"), {"v1": 0.0, "v2": 0.0, "v3": 0.238}),
        ("V4 to V6", "54", ("H1", "C3", "C3", "H1"), {"v4": 0.1, "v5": 0.0, "v6": 0.05}),
        (" 5  C2", "5", ("C2", "00", "00", "00"), {"angle": 0.0, "k": 0.05}),
        ("twist and pull", "8", ("00", "C3", "C3", "00"), {"k": 0.059}),
        ("  O 1             MM3", "vdw", ("H1",), {"radius": 1.62, "epsilon": 0.02, "offset": -0.077, "charge": 0.0}),
        ("C3-H1", "6", ("C3", "H1"), {"distance": 3.56, "epsilon": 0.023}),
        ("a1   2", "1", ("2", "3"), {"r0": 1.5, "k": 4.0, "moment": 0.0}),
    ],
)
def test_rows_have_atoms_and_numbers(fld, words, kind, atoms, values):
    row = fld.row(line_of(words))
    assert (row.kind, row.atoms, row.values) == (kind, atoms, values)


def test_a_row_of_two_lines_is_named_by_the_last_one(fld):
    row = fld.row(11)
    assert (row.first_line, row.values["r0"]) == (10, 1.5177)
    assert row.flags == (("C200", "0000"), ("O200", "0000"))
    with pytest.raises(FileFormatError, match="Line 10 "):
        fld.row(10)


def test_blank_numbers_are_told_from_zeros(fld):
    assert fld.row(line_of("a1   2")).blank == {"moment"}
    assert fld.row(line_of("1.5247")).blank == frozenset()


def test_substructure_rows_know_their_substructure_and_alternative(fld):
    row = fld.row(line_of("a1   2"))
    assert row.alternative == "a"
    assert row.substructure is not None
    assert (row.substructure.title, row.substructure.pattern) == ("Ethyl, to be fitted OPT", "HX-C3-C3(-H1)")


@pytest.mark.parametrize("foreign", ["aA   3", " 7  H1", " C  remarks"])
def test_lines_that_are_not_interpreted_are_no_rows(fld, foreign):
    with pytest.raises(FileFormatError, match="holds no parameters"):
        fld.row(line_of(foreign))


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_writing_changes_only_the_columns_of_changed_numbers(ending):
    text = TEXT.replace("\n", ending)
    line, old = line_of("H-C  "), TEXT.split("\n")[line_of("H-C  ") - 1]
    written = parse_fld(text).with_values({line: {"k": 4.81239, "r0": 1.112}})
    expected = old[:34] + "    4.8124" + old[44:]
    assert written.text == text.replace(old, expected)
    assert written.row(line).values == {"r0": 1.112, "k": 4.8124, "moment": -0.6}


def test_a_number_may_be_written_where_there_was_none(fld):
    line = line_of("a1   2")
    written = fld.with_values({line: {"moment": -0.25}})
    assert written.text.split("\n")[line - 1] == "a1   2   3                 1.5000     4.0000    -0.2500"


def test_bytes_and_endings_survive(tmp_path, fld):
    path = tmp_path / "in.fld"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode(ENCODING))
    read_fld(path).write(tmp_path / "out.fld")
    assert (tmp_path / "out.fld").read_bytes() == path.read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in.fld", "out.fld"]


@given(value=st.floats(-99999.0, 999999.0))
def test_what_is_written_is_read_back_to_the_last_decimal(value):
    line = line_of("H-C-H")
    fld = parse_fld(TEXT)
    if len(f"{value:.4f}") > 10:
        with pytest.raises(FileFormatError):
            fld.with_values({line: {"k": value}})
    else:
        assert fld.with_values({line: {"k": value}}).row(line).values["k"] == pytest.approx(value, abs=0.500001e-4)


@pytest.mark.parametrize("value", [1e6, -1e5, float("nan"), float("inf")])
def test_a_value_that_does_not_fit_is_an_error_with_row_and_name(fld, value):
    line = line_of("H-C  ")
    with pytest.raises(FileFormatError, match=rf"line {line} \(C3-H1\): k = .* columns 35-44"):
        fld.with_values({line: {"k": value}})


def test_no_minus_zero_is_written():
    assert replace_number("    1.0000", Columns(0, 10), -1e-6, what="k") == "    0.0000"


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("      120.", 117.12341, "  117.1234"),
        ("       120", 117.12341, "  117.1234"),
        ("     109.5", 108.0, "  108.0000"),
        ("  0.123456", 0.2345678, "  0.234568"),
        ("      120.", 123456.789, "123456.789"),
        ("     109.5", 1234567.89, "1234567.89"),
        ("      120.", 123456789.4, "123456789."),
    ],
)
def test_a_round_number_does_not_round_its_successor(old, value, new):
    assert replace_number(old, Columns(0, 10), value, what="theta0") == new


@pytest.mark.parametrize(("old", "value"), [("     109.5", 123456789.0), ("      120.", 1e9), ("   120.000", 1e6)])
def test_no_fewer_decimals_are_written_than_there_were(old, value):
    with pytest.raises(FileFormatError, match="does not fit"):
        replace_number(old, Columns(0, 10), value, what="theta0")


def test_unknown_rows_and_numbers_are_errors(fld):
    with pytest.raises(FileFormatError, match=r"theta0.*r0"):
        fld.with_values({line_of("1.5247"): {"theta0": 1.0}})
    with pytest.raises(FileFormatError, match="Line 2 "):
        fld.with_values({2: {"k": 1.0}})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    4.7400 ", "    4.74x0 ", "line 13 has '4.74x0'"),
        ("    4.7400 ", "     4.7400", "line 13"),
        ("    4.7400 ", "       nan ", "line 13 has 'nan'"),
        (" 1  C3 - H1 ", " 1  C3      ", "Line 13 names 1 atoms"),
    ],
)
def test_damaged_lines_are_errors_with_their_number(tmp_path, old, new, message):
    path = tmp_path / "damaged.fld"
    path.write_bytes(TEXT.replace(old, new).encode(ENCODING))
    with pytest.raises(FileFormatError, match=message) as caught:
        read_fld(path)
    assert str(path) in str(caught.value)


def test_a_missing_or_empty_file_is_an_error(tmp_path):
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_fld(tmp_path / "absent.fld")
    (tmp_path / "empty.fld").write_text("nothing here\n")
    with pytest.raises(FileFormatError, match="no parameter rows"):
        read_fld(tmp_path / "empty.fld")


def test_a_folder_that_is_not_there_is_an_error(tmp_path, fld):
    with pytest.raises(FileFormatError, match="cannot be written"):
        fld.write(tmp_path / "absent" / "out.fld")


def test_published_files_survive_byte_by_byte(shared_data):
    paths = sorted((shared_data / "rh-enamide").glob("**/*.fld"))
    assert len(paths) == 6
    for path in paths:
        fld = read_fld(path)
        assert fld.text.encode(ENCODING) == path.read_bytes()
        assert fld.with_values({row.line: row.values for row in fld.rows}).text == fld.text


def test_rewriting_a_published_file_with_the_values_of_another_gives_the_other(shared_data):
    start = read_fld(shared_data / "rh-enamide" / "rh_hyd_enamide_start.fld")
    final = read_fld(shared_data / "rh-enamide" / "mm3.fld")
    assert start.text != final.text
    assert start.with_values({row.line: row.values for row in final.rows}).text == final.text


def test_the_first_row_that_fits_is_found(fld):
    assert find_row(fld, "1", (0, 1), ETHANE) == fld.row(line_of("1.5247"))
    assert find_row(fld, "2", (2, 0, 1), ETHANE) == fld.row(line_of("any bend"))
    assert find_row(fld, "3", (2, 0, 1), ETHANE) == fld.row(line_of("HX   "))
    assert find_row(fld, "vdw", (2,), ETHANE) == fld.row(line_of("O 1             MM3"))
    assert find_row(fld, "6", (2, 1), ETHANE) == fld.row(line_of("C3-H1"))
    assert find_row(fld, "5", (0, 1, 2, 3), ETHANE) is None


def test_rows_are_turned_to_the_atoms_that_they_name(fld):
    assert directions(fld, fld.row(line_of("H-C  ")), (2, 0), ETHANE) == ((0, 2),)
    assert directions(fld, fld.row(line_of("1.5247")), (0, 1), ETHANE) == ((0, 1), (1, 0))
    assert directions(fld, fld.row(line_of("1   1   2 ")), (0, 2), ETHANE) == ((2, 0),)
    assert directions(fld, fld.row(line_of("a1   2")), (0, 1), ETHANE) == ((0, 1), (1, 0))
    assert directions(fld, fld.row(line_of("a1   2")), (0, 2), ETHANE) == ()


def test_a_blank_number_leaves_the_general_row_in_force(fld):
    bend = fld.row(line_of("2   1   2   3"))
    assert row_in_force(fld, bend, "bend_bend", (2, 0, 1), ETHANE) == fld.row(line_of("any bend"))
    assert row_in_force(fld, bend, "k", (2, 0, 1), ETHANE) == bend
    hydrogens = fld.row(line_of("2   1   2  HX"))
    assert row_in_force(fld, hydrogens, "bend_bend", (2, 0, 3), ETHANE) == fld.row(line_of("H-C-H"))


def test_patterns_have_branches_and_rings():
    pattern = parse_pattern("HX-RH(-PX)-HX.C2*C2(.2)-N2-C2=O2.2")
    assert pattern.atoms == ("HX", "RH", "PX", "HX", "C2", "C2", "N2", "C2", "O2")
    assert pattern.bonds == (
        {},
        {0: "-"},
        {1: "-"},
        {1: "-"},
        {3: "."},
        {4: "*", 1: "."},
        {5: "-"},
        {6: "-"},
        {7: "=", 1: "."},
    )


@pytest.mark.parametrize("pattern", ["", "C3-(", "C3 - C3", "C3)-C3(", "C3(-H1"])
def test_patterns_that_cannot_be_read_are_errors(pattern):
    with pytest.raises(FileFormatError, match="cannot be read"):
        parse_pattern(pattern)
