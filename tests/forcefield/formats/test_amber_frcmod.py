"""The frcmod file, read by its columns as AMBER documents them (https://ambermd.org/FileFormats.php)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats import render
from fieldfit.forcefield.formats.amber_frcmod import amber_types
from fieldfit.forcefield.row import Row

# FORMAT(A2,1X,A2,2F10.2), FORMAT(A2,1X,A2,1X,A2,2F10.2), FORMAT(A2,1X,A2,1X,A2,1X,A2,I4,3F15.2): number of atoms, start
# of the numbers, and their widths.
COLUMNS = {"BOND": (2, (10, 10)), "ANGLE": (3, (10, 10)), "DIHE": (4, (4, 15, 15, 15))}


def sections(text):
    """Return section name to lines; a blank line ends a section."""
    found = {}
    for block in "\n".join(text.split("\n")[1:]).strip().split("\n\n"):
        name, *lines = block.split("\n")
        found[name] = lines
    return found


def read_line(line, section):
    """Return atom types and numbers of a line."""
    count, widths = COLUMNS[section]
    types = tuple(line[3 * i : 3 * i + 2].strip() for i in range(count))
    stops = 3 * count - 1 + np.cumsum((0, *widths))
    return types, [float(line[a:b]) for a, b in itertools.pairwise(stops)]


def read_frcmod(text, elements):
    """Return the force field of a frcmod file."""
    lines = sections(text)
    rows = []
    for section, form, names in (("BOND", "harmonic_bond", ("k", "r0")), ("ANGLE", "harmonic_angle", ("k", "theta0"))):
        for line in lines[section]:
            types, values = read_line(line, section)
            rows.append(Row(form, types, dict(zip(names, values, strict=True))))
    for line in lines["DIHE"]:
        types, (divisor, k, phase, periodicity) = read_line(line, "DIHE")
        rows.append(Row("cosine_torsion", types, {"k": k / divisor}, {"periodicity": abs(periodicity), "phase": phase}))
    return ForceField("again", tuple(rows), elements)


def test_what_is_written_has_the_same_energy(ethane, make_field):
    field = make_field([ethane], periodicities=(1, 2, 3))
    again = read_frcmod(render(field, [ethane], format="amber-frcmod"), field.elements)
    assert again.parameters.names == field.parameters.names
    assert_allclose(again.parameters.flat, field.parameters.flat, rtol=1e-7)  # ten columns hold eight digits
    x = ethane.record.coordinates + np.random.default_rng(3).normal(0.0, 0.05, (8, 3))
    energies = [
        JaxEngine().system(ethane, entry).energy(x, entry.parameters.flat * entry.internal_factors)
        for entry in (field, again)
    ]
    assert_allclose(energies[1], energies[0], rtol=1e-6)


def test_every_section_is_there(ethane, make_field):
    names = list(sections(render(make_field([ethane]), [ethane], format="amber-frcmod")))
    assert names == ["MASS", "BOND", "ANGLE", "DIHE", "IMPROPER", "NONBON"]


def test_masses_and_missing_van_der_waals_terms_stand_in_their_columns(ethane, make_field):
    """FORMAT(A2,2X,F10.2,1X,F10.2) and FORMAT(2X,A2,6X,2F10.6)."""
    lines = sections(render(make_field([ethane]), [ethane], format="amber-frcmod"))
    assert [line[:2] for line in lines["MASS"]] == ["C ", "H "]
    assert_allclose([float(line[4:14]) for line in lines["MASS"]], [12.0, 1.00782503223], rtol=1e-7)
    assert [line[2:4] for line in lines["NONBON"]] == ["C ", "H "]
    assert [(float(line[10:20]), float(line[20:30])) for line in lines["NONBON"]] == [(0.0, 0.0)] * 2


def test_all_but_the_last_term_of_a_dihedral_have_a_negative_periodicity(ethane, make_field):
    text = render(make_field([ethane], periodicities=(1, 2, 3)), [ethane], format="amber-frcmod")
    found = [read_line(line, "DIHE") for line in sections(text)["DIHE"]]
    assert [types for types, _ in found] == [("H", "C", "C", "H")] * 3
    assert [numbers[-1] for _, numbers in found] == [-1.0, -2.0, 3.0]


def test_dihedrals_without_a_row_are_written_as_zero(ethane, make_field):
    """LEaP refuses a molecule with a dihedral it has no parameters for."""
    field = make_field([ethane])
    without = ForceField("bare", tuple(row for row in field.rows if row.kind != "torsion"), field.elements)
    lines = sections(render(without, [ethane], format="amber-frcmod"))["DIHE"]
    assert [read_line(line, "DIHE") for line in lines] == [(("H", "C", "C", "H"), [1.0, 0.0, 0.0, 1.0])]


def test_long_types_get_short_names_that_the_file_lists(ethane, make_molecule, make_field):
    types = ("carbon", "carbon", *("H10",) * 6)
    molecule = make_molecule("ethane", ethane.record.symbols, ethane.record.coordinates, types=types)
    lines = sections(render(make_field([molecule]), [molecule], format="amber-frcmod"))
    assert [(line[:2], line[25:].split(",")[0].strip()) for line in lines["MASS"]] == [("H0", "H10"), ("c0", "carbon")]
    assert sorted(line[:5] for line in lines["BOND"]) == ["H0-c0", "c0-c0"]


@given(st.sets(st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=5), max_size=80))
def test_names_are_short_different_and_independent_of_order(types):
    names = amber_types(types)
    assert set(names) == types
    assert len(set(names.values())) == len(types)
    assert all(len(name) <= 2 and name[0].isalpha() and name.isascii() and name != "X" for name in names.values())
    assert names == amber_types(sorted(types, reverse=True))


@given(st.sets(st.from_regex(r"[A-WYZ][A-Za-z0-9]?", fullmatch=True)))
def test_short_names_are_kept(types):
    assert all(name == kind for kind, name in amber_types(types).items())


def with_bond_constant(field, k):
    return field.with_values({"bond.C-C.k": k})


@pytest.mark.parametrize("k", [1e-9, 0.1 + 0.2, 1.0 / 3.0, 3599.9999999, 7654321.5])
def test_values_have_all_digits_that_their_columns_hold(ethane, make_field, k):
    line = sections(render(with_bond_constant(make_field([ethane]), k), [ethane], format="amber-frcmod"))["BOND"][0]
    types, values = read_line(line, "BOND")
    assert types == ("C", "C")
    assert line[5] == " "
    assert_allclose(values[0], k, rtol=1e-7, atol=5.1e-8)


def test_a_value_that_does_not_fit_its_columns_is_refused(ethane, make_field):
    with pytest.raises(ForceFieldError, match="does not fit the 10 columns"):
        render(with_bond_constant(make_field([ethane]), 123456789.0), [ethane], format="amber-frcmod")
