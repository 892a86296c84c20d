"""What is written to TOML is read back bit by bit."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats import render, write
from fieldfit.forcefield.row import Row, canonical

# A surrogate has no UTF-8 encoding, so no file can hold it.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
floats = st.floats(allow_nan=False, allow_infinity=False)


def all_bits(values):
    """Return names and the bytes of their values, which tell -0.0 from 0.0."""
    return [(name, struct.pack("<d", value)) for name, value in values.items()]


def force_field_of(name, types, numbers):
    """Return a force field of one bond, one angle and one torsion."""
    first, second, last = types
    k1, r0, k2, theta0, k3, phase = numbers
    bond = Row("harmonic_bond", canonical("bond", (first, second)), {"k": k1, "r0": r0})
    angle = Row("mm3_angle", canonical("angle", (first, second, first)), {"k": k2, "theta0": theta0})
    torsion_types = canonical("torsion", (last, first, second, first))
    torsion = Row("cosine_torsion", torsion_types, {"k": k3}, {"periodicity": 3.0, "phase": phase})
    return ForceField(name, (bond, angle, torsion), dict.fromkeys(types, "C"))


@given(texts, st.lists(texts, min_size=3, max_size=3, unique=True), st.lists(floats, min_size=6, max_size=6))
def test_toml_reads_back_bit_by_bit(tmp_path_factory, name, types, numbers):
    field = force_field_of(name, types, numbers)
    path = tmp_path_factory.mktemp("toml") / "field.toml"
    write(path, field, [])
    again = ForceField.read(path)
    assert again.name == field.name
    assert again.elements == field.elements
    assert [(row.form, row.types) for row in again.rows] == [(row.form, row.types) for row in field.rows]
    for old, new in zip(field.rows, again.rows, strict=True):
        assert all_bits(new.values) == all_bits(old.values)
        assert all_bits(new.constants) == all_bits(old.constants)


def test_every_form_survives_a_round_trip(tmp_path, methyl_fluoride, benzene, sn2, make_field):
    """One force field with linear bends, torsions, out-of-plane and stretch-bend terms."""
    field = make_field([methyl_fluoride, benzene, sn2], family="mm3", stretch_bend=("H-C-H",))
    path = tmp_path / "everything.toml"
    write(path, field, [])
    assert render(ForceField.read(path), [], format="fieldfit-toml") == path.read_text()
    assert ForceField.read(path).rows == field.rows
