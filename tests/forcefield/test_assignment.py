"""Which rows a molecule needs and which rows act on it."""

import numpy as np
import pytest

from fieldfit.errors import ForceFieldError, SettingsError
from fieldfit.forcefield import ForceField, build_force_field, perceive, read
from fieldfit.forcefield.assignment import assign
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.topology import internal_coordinates, measure
from molecules import propyne


@pytest.fixture(scope="module")
def ch3f(examples):
    return perceive(read(examples / "ch3f" / "ch3f.json"))


@pytest.fixture(scope="module")
def transition_state(examples):
    return perceive(read(examples / "sn2-ts" / "sn2-ts.json"), bond_tolerance=1.45)


@pytest.mark.parametrize("family", ["harmonic", "mm3"])
def test_fluoromethane_needs_two_bonds_and_two_angles(ch3f, family):
    field = build_force_field([ch3f], family=family)
    assert [row.label for row in field.rows] == ["bond.C-F", "bond.C-H", "angle.F-C-H", "angle.H-C-H"]
    assert all(row.form.startswith(family) for row in field.rows)


def test_equilibrium_values_are_means_over_equivalent_coordinates(ch3f):
    field = build_force_field([ch3f])
    lengths = [measure(ch3f.record.coordinates, (0, hydrogen)) for hydrogen in (2, 3, 4)]
    assert float(field.parameters["bond.C-H.r0"].value) == pytest.approx(np.mean(lengths), rel=1e-12)


def test_every_interaction_gets_its_row(ch3f):
    terms = {entry.form: entry for entry in assign(ch3f, build_force_field([ch3f], stretch_bend=["F-C-H"]))}
    assert {form: len(entry.atoms) for form, entry in terms.items()} == {
        "harmonic_bond": 4,
        "harmonic_angle": 6,
        "stretch_bend": 3,
    }


def test_stretch_bend_borrows_the_equilibria_of_its_bonds_and_angle(ch3f):
    field = build_force_field([ch3f], stretch_bend=["F-C-H"])
    crossed = next(entry for entry in assign(ch3f, field) if entry.form == "stretch_bend")
    for atoms, pointers in zip(crossed.atoms, crossed.pointers, strict=True):
        names = [field.parameter_names[index] for index in pointers]
        first, second = ("F", "H") if ch3f.types[atoms[0]] == "F" else ("H", "F")
        assert names == [
            "stretch-bend.F-C-H.k",
            f"bond.C-{first}.r0",
            f"bond.C-{second}.r0",
            "angle.F-C-H.theta0",
        ]


def test_a_linear_angle_gets_a_linear_bend(transition_state):
    field = build_force_field([transition_state])
    assert [row.label for row in field.rows if row.kind == "linear-bend"] == ["linear-bend.F-C-F"]
    assert not [row for row in field.rows if row.label == "angle.F-C-F"]


def test_periodicities_can_be_stated(shared_data):
    ethane = perceive(read(shared_data / "ethane" / "GS.fchk"))
    assert [row.label for row in build_force_field([ethane]).rows][-1] == "torsion.H-C-C-H.3"
    stated = build_force_field([ethane], periodicities=[1, 2])
    torsions = [row for row in stated.rows if row.kind == "torsion"]
    assert [row.constants for row in torsions] == [
        {"periodicity": 1.0, "phase": 0.0},
        {"periodicity": 2.0, "phase": 180.0},
    ]


def test_planar_rings_get_twofold_torsions_and_out_of_plane_terms(shared_data):
    benzene = perceive(read(shared_data / "benzene" / "lig.fchk"))
    labels = [row.label for row in build_force_field([benzene]).rows]
    assert "torsion.C-C-C-C.2" in labels
    assert "out-of-plane.C-C-C-H" in labels


def test_a_missing_row_is_an_error_that_names_the_atoms(ch3f):
    field = build_force_field([ch3f])
    without = ForceField("field", tuple(row for row in field.rows if row.label != "angle.H-C-H"), field.elements)
    with pytest.raises(ForceFieldError, match=r"H\(3\)-C\(1\)-H\(4\) has no row"):
        assign(ch3f, without)


def test_a_cross_term_without_its_bond_is_an_error(ch3f):
    field = build_force_field([ch3f], stretch_bend=["H-C-H"])
    without = ForceField("field", tuple(row for row in field.rows if row.kind != "bond"), field.elements)
    with pytest.raises(ForceFieldError, match="bond"):
        assign(ch3f, without)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"family": "mm4"}, "mm3"), ({"stretch_bend": ["H-O-H"]}, "No angle is called 'H-O-H'")],
)
def test_unknown_settings_are_refused(ch3f, options, message):
    with pytest.raises(SettingsError, match=message):
        build_force_field([ch3f], **options)


def test_one_type_for_two_elements_is_refused(ch3f):
    confused = perceive(ch3f.record, types=["X", "X", "H", "H", "H"])
    with pytest.raises(ForceFieldError, match="stands for C and F"):
        build_force_field([confused])


def test_torsions_beside_a_linear_angle_can_be_switched(examples):
    # Propyne: H-C-C-C is undefined because C-C-C is straight.
    molecule = perceive(propyne())
    field = build_force_field([molecule], linear_torsions="switch")
    rows = [row for row in field.rows if row.form == "switched_torsion"]
    assert rows
    omitted = build_force_field([molecule])
    assert {row.label for row in field.rows} - {row.label for row in omitted.rows} == {row.label for row in rows}
    terms = {entry.form: entry for entry in assign(molecule, field)}
    assert len(terms["switched_torsion"].atoms) == len(internal_coordinates(molecule).undefined_torsions)
    strong = field.with_values({f"{row.label}.k": 5.0 for row in rows})
    p, x = strong.parameters.flat * strong.internal_factors, molecule.record.coordinates
    straight = JaxEngine().system(molecule, strong).local(x, p)
    plain = JaxEngine().system(molecule, omitted).local(x, omitted.parameters.flat * omitted.internal_factors)
    assert straight.energy == pytest.approx(plain.energy, rel=1e-14)
    assert np.array_equal(straight.hessian, plain.hessian)


def test_an_unknown_treatment_of_linear_torsions_is_refused(ch3f):
    with pytest.raises(SettingsError, match=r"treatment of linear torsions is called 'drop'"):
        build_force_field([ch3f], linear_torsions="drop")
