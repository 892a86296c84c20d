"""Force fields as values: parameters, copies, files."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfit.errors import FileFormatError, ForceFieldError
from fieldfit.forcefield import ForceField, Row
from fieldfit.forcefield.row import canonical

BOND = Row("harmonic_bond", ("C", "H"), {"k": 340.0, "r0": 1.09})
ANGLE = Row("harmonic_angle", ("H", "C", "H"), {"k": 35.0, "theta0": 107.8})
TORSION = Row("cosine_torsion", ("H", "C", "C", "H"), {"k": 0.15}, {"periodicity": 3.0, "phase": 0.0})
FIELD = ForceField("hydrocarbon", (TORSION, ANGLE, BOND), {"C": "C", "H": "H"})


def test_parameters_come_in_the_order_of_kinds_with_units():
    assert FIELD.parameters.names == (
        "bond.C-H.k",
        "bond.C-H.r0",
        "angle.H-C-H.k",
        "angle.H-C-H.theta0",
        "torsion.H-C-C-H.3.k",
    )
    assert [entry.unit for entry in FIELD.parameters] == ["kcal/mol/A^2", "A", "kcal/mol/rad^2", "deg", "kcal/mol"]
    assert FIELD.parameter_names == FIELD.parameters.names
    assert FIELD.internal_factors[3] == pytest.approx(math.pi / 180.0)
    assert FIELD.is_linear.tolist() == [True, False, True, False, True]


def test_new_values_make_a_new_force_field():
    changed = FIELD.with_values({"bond.C-H.k": 350.0})
    assert changed.parameters["bond.C-H.k"].value == 350.0
    assert FIELD.parameters["bond.C-H.k"].value == 340.0


def test_default_bounds_never_exclude_the_value():
    field = FIELD.with_values({"torsion.H-C-C-H.3.k": 31.0})
    assert field.parameters["torsion.H-C-C-H.3.k"].upper == 31.0
    assert field.parameters["torsion.H-C-C-H.3.k"].lower == -20.0


def test_rows_are_found_in_any_equivalent_order():
    assert FIELD.find("bond", ["H", "C"]) == (BOND,)
    assert FIELD.find("torsion", ["H", "C", "C", "H"]) == (TORSION,)
    assert FIELD.find("bond", ["C", "C"]) == ()


@given(types=st.lists(st.sampled_from(["C", "H", "O1", "N"]), min_size=4, max_size=4))
def test_canonical_order_reads_the_same_from_both_ends(types):
    assert canonical("torsion", types) == canonical("torsion", types[::-1])
    centre, i, j, k = types
    assert canonical("out-of-plane", (centre, i, j, k)) == canonical("out-of-plane", (centre, k, i, j))


@given(
    k=st.floats(1e-300, 1e300),
    r0=st.floats(0.5, 3.0),
    name=st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_files_keep_every_bit(tmp_path_factory, k, r0, name):
    field = ForceField(name, (Row("harmonic_bond", ("C", "H"), {"k": k, "r0": r0}), ANGLE, TORSION), FIELD.elements)
    path = tmp_path_factory.mktemp("fields") / "field.toml"
    field.write(path)
    again = ForceField.read(path)
    assert again.rows == field.rows
    assert again.name == name
    assert again.elements == field.elements


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((BOND, BOND), "Two rows describe bond.C-H"),
        ((Row("harmonic_bond", ("C", "O"), {"k": 1.0, "r0": 1.2}),), "'O', which has no element"),
    ],
)
def test_rows_that_contradict_are_refused(rows, message):
    with pytest.raises(ForceFieldError, match=message):
        ForceField("field", rows, FIELD.elements)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("harmonic_bond", ("C", "H"), {"k": 1.0}), "Give exactly those"),
        (("harmonic_bond", ("C",), {"k": 1.0, "r0": 1.0}), "names 1 atom types"),
        (("harmonic_bond", ("C", "H"), {"k": np.nan, "r0": 1.0}), "not finite"),
    ],
)
def test_incomplete_rows_are_refused(arguments, message):
    with pytest.raises(ForceFieldError, match=message):
        Row(*arguments)


def test_an_unknown_parameter_is_named():
    with pytest.raises(ForceFieldError, match=r"bond\.C-H\.q"):
        FIELD.with_values({"bond.C-H.q": 1.0})


@pytest.mark.parametrize(
    "content", [b"name = 1", b"\xff\xfe\x00", b"[elements", b"elements = 3\nname = 'x'\nrows = []"]
)
def test_files_of_another_kind_are_refused(tmp_path, content):
    path = tmp_path / "field.toml"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="not a fieldfit force field"):
        ForceField.read(path)
    with pytest.raises(FileFormatError, match="cannot be read"):
        ForceField.read(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("form", "types", "values", "wanted"),
    [
        ("harmonic_bond", ("H", "C"), {"k": 1.0, "r0": 1.0}, "C-H"),
        ("harmonic_angle", ("O", "C", "H"), {"k": 1.0, "theta0": 100.0}, "H-C-O"),
        ("out_of_plane", ("C", "O", "H", "N"), {"k": 1.0}, "C-H-N-O"),
    ],
)
def test_a_row_in_another_order_is_refused(form, types, values, wanted):
    # It would never be found, and could stand beside a row of the same interaction.
    with pytest.raises(ForceFieldError, match=f"Write {wanted}"):
        Row(form, types, values)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("k = 340.0", 'k = "stiff"', "stiff"),
        ("k = 340.0", "k = 340.0\nkk = 1.0", "'kk'"),
        ("k = 340.0", "", "'k'"),
        ("k = 340.0", "k = nan", "not finite"),
        ('"harmonic_bond"', '"harmonic_bnd"', "Did you mean 'harmonic_bond'"),
        ('["C", "H"]', '["H", "C"]', "Write C-H"),
        ("format = 1", "format = 2", "format 2"),
    ],
)
def test_a_file_that_was_changed_for_the_worse_is_refused_by_name(tmp_path, old, new, message):
    text = FIELD.to_toml()
    assert old in text
    path = tmp_path / "field.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(FileFormatError, match=re.escape(message)) as caught:
        ForceField.read(path)
    assert str(path) in str(caught.value)
