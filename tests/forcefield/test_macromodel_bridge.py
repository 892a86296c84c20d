"""From a print-out of MacroModel to a force field and back, on a molecule of three atoms made by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError, ForceFieldError, MoleculeError, SettingsError
from fieldfit.forcefield.assignment import assign
from fieldfit.forcefield.formats.mm3_fld import parse_fld, read_fld
from fieldfit.forcefield.formats.mm3_matching import TypedGraph
from fieldfit.forcefield.macromodel import (
    fld_parameters,
    fld_values,
    force_field_from_print_outs,
    with_charges,
    with_fld_values,
    with_record,
    write_fld,
)
from fieldfit.forcefield.macromodel_rules import element_of, sites, torsions_per_row, vdw_taper
from fieldfit.forcefield.readers.macromodel_mmo import (
    PrintedAtom,
    PrintedBend,
    PrintedStretch,
    PrintedTorsion,
    PrintOut,
)
from fieldfit.forcefield.row import Row

FLD = parse_fld(
    """ Water
-1
 0    STR     3      601.99392
 0    BND     3      601.99392
 0    S-B     1      601.99392
 0    B-B     1        4.18400
 0    VDW     3        4.18400
 0    ELE     1     1389.50000
 0    V14     4        1.00000
-2
 1  O3 - H2                0.9470     7.6300    -1.6700  0000 0000              O 1             O-H
 2  H2 - O3 - H2         105.0000     0.6300     0.0000  0000 0000 0000         O 3             H-O-H
 3  00 * O3 * 00           0.0500                        0000 0000 0000         O 1             by hand
-6
  O3     1.8200     0.0590     0.0000                                   0000    O 1
  H2     1.6000     0.0160    -0.0770                                   0000    O 1
 END OF NONBONDED INTERACTIONS
-3
"""
)
MOVED = 0.36716
"""1.67 debye / (4.803 debye / (e A) x 0.947 A) = 0.36716 e, to five decimals."""

WATER = PrintOut(
    name="water",
    atoms=(
        PrintedAtom("H2", 0.367, (0.95, 0.0, 0.0), ((1, "-"),)),
        PrintedAtom("O3", -0.734, (0.0, 0.0, 0.0), ((0, "-"), (2, "-"))),
        PrintedAtom("H2", 0.367, (-0.25, 0.9, 0.0), ((1, "-"),)),
    ),
    stretches=(
        PrintedStretch((0, 1), 7.63, 0.947, 0.95, 0.0, 11),
        PrintedStretch((1, 2), 7.63, 0.947, 0.9341, 0.0, 11),
    ),
    bends=(PrintedBend((0, 1, 2), 0.63, 0.05, 105.0, 105.5, 0.0, 0.0, 12),),
    bend_bends=(),
    torsions=(),
    impropers=(),
    torsion_stretches=(),
    pairs=(),
    totals={"Total energy": 0.0},
    settings={"Molecular dielectric constant": 1.0},
)


@pytest.fixture(scope="module")
def made():
    return force_field_from_print_outs([WATER], FLD)


def test_rows_are_lines_in_kcal_per_mol(made):
    _, force_field = made
    values = {name: force_field.parameters[name].value for name in force_field.parameter_names}
    # 601.99392 / 2 / 4.184 = 71.94 kcal/mol/A^2 per mdyn/A; the stretch-bend has no half.
    assert values == pytest.approx(
        {
            "bond.O3-H2#11.k": 71.94 * 7.63,
            "bond.O3-H2#11.r0": 0.947,
            "angle.H2-O3-H2#12.k": 71.94 * 0.63,
            "angle.H2-O3-H2#12.theta0": 105.0,
            "stretch-bend.00-O3-00#13.k": 2 * 71.94 * 0.05,
            "vdw.H2#16.radius": 1.6,
            "vdw.H2#16.epsilon": 0.016,
            "vdw.O3#15.radius": 1.82,
            "vdw.O3#15.epsilon": 0.059,
        }
    )
    assert force_field.nonbonded is not None
    assert force_field.nonbonded.coulomb == pytest.approx(1389.5 / 4.184)
    assert force_field.elements == {"H2": "H", "O3": "O"}


def test_molecules_carry_charges_and_assignments(made):
    (molecule,), force_field = made
    assert_allclose(molecule.charges, [MOVED, -2 * MOVED, MOVED], atol=1e-12)
    assert molecule.record.charge == 0
    assert molecule.record.symbols == ("H", "O", "H")
    counts = {terms.form: len(terms.atoms) for terms in assign(molecule, force_field)}
    assert counts == {"mm3_bond": 2, "mm3_angle": 1, "stretch_bend": 1}


def test_formal_charges_come_on_top():
    charged = dataclasses.replace(WATER.atoms[1], charge=0.266)
    ion = dataclasses.replace(WATER, atoms=(WATER.atoms[0], charged, WATER.atoms[2]))
    ((molecule,), _) = force_field_from_print_outs([ion], FLD)
    assert_allclose(molecule.charges, [MOVED, 1.0 - 2 * MOVED, MOVED], atol=1e-12)
    assert molecule.record.charge == 1


def test_sites_lie_on_bonds_at_a_fraction():
    found = sites(WATER, np.array([-0.077, 0.0, 0.1]))
    assert_allclose(found, [[0.923 * 0.95, 0.0, 0.0], [0.0, 0.0, 0.0], [-0.275, 0.99, 0.0]])


def test_the_taper_is_linear_in_the_square_of_the_distance():
    assert_allclose(vdw_taper(np.array([3.0, 6.0, np.sqrt(50.0), 8.0, 9.0])), [1.0, 1.0, 0.5, 0.0, 0.0])


def test_a_barrier_of_a_whole_bond_is_shared():
    fld = parse_fld(
        "-2\n 4  00 * C2 * C2 * 00      0.0000    10.0000     0.0000\n-3\n C  t\n 9  C2*C2\n-2\n"
        " 4  00   1   2  00         0.0000    10.0000     0.0000\n"
        " 4  H1   1   2  00         0.0000    10.0000     0.0000\n-3\n"
    )
    ethene = TypedGraph(
        types=(("C2",), ("C2",), *(("H1",),) * 4),
        attached=({1: "=", 2: "-", 3: "-"}, {0: "=", 4: "-", 5: "-"}, *({0: "-"},) * 2, *({1: "-"},) * 2),
    )
    assert [torsions_per_row(row, (2, 0, 1, 4), ethene) for row in fld.rows] == [1, 4, 1]


@pytest.mark.parametrize(
    ("kind", "element"),
    [("C3", "C"), ("H0", "H"), ("Si", "Si"), ("Cl", "Cl"), ("RH", "Rh"), ("PD", "Pd"), ("OM", "O"), ("CR", "C")],
)
def test_types_name_their_elements(kind, element):
    assert element_of(kind) == element


def test_types_without_an_element_are_errors():
    with pytest.raises(MoleculeError):
        element_of("Z0")


def test_values_go_back_into_their_columns(made, tmp_path):
    _, force_field = made
    fitted = force_field.with_values({"bond.O3-H2#11.k": 71.94 * 7.25, "vdw.H2#16.radius": 1.55})
    assert {line: set(numbers) for line, numbers in fld_values(fitted, FLD).items()} == {11: {"k"}, 16: {"radius"}}
    write_fld(tmp_path / "fitted.fld", fitted, FLD)
    expected = FLD.text.replace("     7.6300 ", "     7.2500 ").replace("  H2     1.6000", "  H2     1.5500")
    assert (tmp_path / "fitted.fld").read_text() == expected


def test_rows_from_elsewhere_do_not_go_back(made):
    _, force_field = made
    other = dataclasses.replace(
        force_field, rows=(*force_field.rows, Row("harmonic_bond", ("O3", "H2"), {"k": 1.0, "r0": 1.0}, tag="x"))
    )
    with pytest.raises(ForceFieldError, match="does not come from a line"):
        fld_values(other, FLD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stretches": (dataclasses.replace(WATER.stretches[0], k=7.7), WATER.stretches[1])}, "k of the atoms 1-2"),
        ({"bends": (dataclasses.replace(WATER.bends[0], theta0=104.0),)}, "theta0 of the atoms 1-2-3"),
        ({"bends": (dataclasses.replace(WATER.bends[0], stretch_bend_k=0.1),)}, "k of the atoms 1-2-3"),
        ({"atoms": (dataclasses.replace(WATER.atoms[0], charge=0.3), *WATER.atoms[1:])}, "not an integer less"),
    ],
)
def test_a_file_that_does_not_fit_the_print_out_is_refused(change, message):
    with pytest.raises(ForceFieldError, match=message):
        force_field_from_print_outs([dataclasses.replace(WATER, **change)], FLD)


def test_a_line_without_parameters_is_refused():
    stretches = tuple(dataclasses.replace(row, line=1) for row in WATER.stretches)
    with pytest.raises(FileFormatError, match="Line 1 "):
        force_field_from_print_outs([dataclasses.replace(WATER, stretches=stretches)], FLD)


def test_one_force_field_has_one_dielectric_constant():
    other = dataclasses.replace(WATER, settings={"Molecular dielectric constant": 4.0})
    with pytest.raises(ForceFieldError, match="1, 4"):
        force_field_from_print_outs([WATER, other], FLD)


def values_of(force_field):
    return {name: float(value) for name, value in force_field.parameters.values.items()}


def test_what_was_written_is_read_back_into_the_force_field(made, tmp_path):
    _, force_field = made
    fitted = force_field.with_values({"bond.O3-H2#11.k": 71.94 * 7.25, "stretch-bend.00-O3-00#13.k": 4.3164})
    write_fld(tmp_path / "fitted.fld", fitted, FLD)
    again = with_fld_values(force_field, read_fld(tmp_path / "fitted.fld"), FLD)
    assert values_of(again) == pytest.approx(values_of(fitted), rel=1e-12)


def test_a_version_with_other_line_numbers_gives_its_values(made):
    _, force_field = made
    other = parse_fld(" C  one more line\n" + FLD.text.replace("105.0000", "103.5000"))
    changed = values_of(with_fld_values(force_field, other, FLD))
    assert changed == pytest.approx(values_of(force_field) | {"angle.H2-O3-H2#12.theta0": 103.5})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.6300     0.0000", "0.6300     0.3000", r"bend_bend of line 12 .* is 0.3, but 0 in the template"),
        ("0.0160    -0.0770", "0.0160    -0.0800", r"offset of line 16 .* is -0.08"),
    ],
)
def test_numbers_without_a_parameter_cannot_change(made, old, new, message):
    _, force_field = made
    with pytest.raises(ForceFieldError, match=message):
        with_fld_values(force_field, parse_fld(FLD.text.replace(old, new)), FLD)


def test_charges_follow_lengths_and_moments(made):
    molecules, _ = made
    longer = parse_fld(FLD.text.replace("0.9470", "0.9870").replace("-1.6700", "-1.5000"))
    (changed,) = with_charges(molecules, [WATER], longer, FLD)
    moved = 1.5 / (4.803 * 0.987)
    assert changed.charges is not None
    assert_allclose(changed.charges, [moved, -2 * moved, moved], atol=1e-5)
    assert changed.assignments == molecules[0].assignments
    (back,) = with_charges([changed], [WATER], FLD, FLD)
    assert_allclose(back.charges, molecules[0].charges, atol=1e-15)


def test_formal_charges_stay_when_lengths_change():
    ion = dataclasses.replace(
        WATER, atoms=(WATER.atoms[0], dataclasses.replace(WATER.atoms[1], charge=0.266), WATER.atoms[2])
    )
    molecules, _ = force_field_from_print_outs([ion], FLD)
    (changed,) = with_charges(molecules, [ion], parse_fld(FLD.text.replace("0.9470", "0.9870")), FLD)
    assert changed.charges is not None
    assert changed.charges.sum() == pytest.approx(1.0)


def test_charges_are_those_of_the_molecules_that_are_given(made):
    molecules, _ = made
    with pytest.raises(ForceFieldError, match="2 molecules do not have the atom types of the 1 print-outs"):
        with_charges([*molecules, *molecules], [WATER], FLD, FLD)


def test_a_molecule_takes_another_result_of_the_same_atoms(made):
    ((molecule,), _) = made
    # A quarter turn about z and a shift.
    turned = molecule.record.coordinates @ np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) + 2.0
    record = dataclasses.replace(molecule.record, coordinates=turned, hessian=np.eye(9))
    taken = with_record(molecule, record)
    assert taken.record is record
    assert (taken.charges is molecule.charges, taken.assignments) == (True, molecule.assignments)


@pytest.mark.parametrize(
    ("symbols", "stretched", "message"),
    [(("H", "O", "H"), 0.1, "another geometry"), (("O", "H", "H"), 0.0, "atom 1 is O")],
)
def test_a_result_of_other_atoms_is_refused(made, symbols, stretched, message):
    ((molecule,), _) = made
    coordinates = molecule.record.coordinates.copy()
    coordinates[0, 0] += stretched
    with pytest.raises(MoleculeError, match=message):
        with_record(molecule, dataclasses.replace(molecule.record, symbols=symbols, coordinates=coordinates))


PEROXIDE_FLD = parse_fld(
    FLD.text.replace("    ELE     1", "    TOR     1        2.09200\n 0    ELE     1").replace(
        "-2\n",
        "-2\n"
        " 1  O3 - O3                1.4480     5.0000     0.0000  0000 0000\n"
        " 2  H2 - O3 - O3          98.0000     0.7000     0.3000  0000 0000 0000\n"
        " 4  H2 - O3 - O3 - H2      1.0000     0.0000     0.2000  0000 0000 0000 0000\n",
    )
    + """ C  Peroxide OPT
 9  O3-O3
-2
 1   1   2                 1.4600     4.8000
 2  H2   1   2            99.0000     0.6500
 4  00   1   2  00         0.0000     0.0000     0.0000
-3
"""
)
"""Lines: 12 O-O, 13 H-O-O, 14 H-O-O-H, 15 O-H, 16 H-O-H, 17 stretch-bend; 26 to 28 those of the substructure."""


def peroxide(torsions=()):
    positions = ((0.0, 0.0, 0.95), (0.0, 0.0, 0.0), (1.46, 0.0, 0.0), (1.46, 0.9, 0.3))
    attached = (((1, "-"),), ((0, "-"), (2, "-")), ((1, "-"), (3, "-")), ((2, "-"),))
    atoms = tuple(
        PrintedAtom(kind, charge, position, around)
        for kind, charge, position, around in zip(
            ("H2", "O3", "O3", "H2"), (0.367, -0.367, -0.367, 0.367), positions, attached, strict=True
        )
    )
    return dataclasses.replace(
        WATER,
        name="peroxide",
        atoms=atoms,
        stretches=(
            PrintedStretch((0, 1), 7.63, 0.947, 0.95, 0.0, 15),
            PrintedStretch((1, 2), 4.8, 1.46, 1.46, 0.0, 26),
            PrintedStretch((2, 3), 7.63, 0.947, 0.95, 0.0, 15),
        ),
        bends=(
            PrintedBend((0, 1, 2), 0.65, 0.05, 99.0, 90.0, 0.0, 0.0, 27),
            PrintedBend((1, 2, 3), 0.65, 0.05, 99.0, 90.0, 0.0, 0.0, 27),
        ),
        torsions=torsions,
    )


def torsions_of(force_field):
    return {row.label: row.values["k"] for row in force_field.rows if row.kind == "torsion"}


def test_torsions_of_zeros_get_rows_on_request():
    ((molecule,), force_field) = force_field_from_print_outs([peroxide()], PEROXIDE_FLD, zero_torsions_of="OPT")
    assert molecule.assignments is not None
    assert torsions_of(force_field) == {f"torsion.00-1-2-00#28.{n}": 0.0 for n in (1, 2, 3)}
    acting = [atoms for label, atoms in molecule.assignments if label.startswith("torsion.")]
    assert acting == [(0, 1, 2, 3)] * 3
    assert torsions_of(force_field_from_print_outs([peroxide()], PEROXIDE_FLD)[1]) == {}


def straightened(print_out):
    """The same print-out with its fourth atom in line with the two oxygens."""
    first, second = (np.array(print_out.atoms[index].position) for index in (1, 2))
    beyond = tuple((second + 0.95 * (second - first) / np.linalg.norm(second - first)).tolist())
    atoms = (*print_out.atoms[:3], dataclasses.replace(print_out.atoms[3], position=beyond))
    return dataclasses.replace(print_out, atoms=atoms)


def test_torsions_of_zeros_across_a_straight_angle_get_no_rows():
    # In the second structure the torsion is undefined, and the line acts in both.
    both = [peroxide(), dataclasses.replace(straightened(peroxide()), name="straight")]
    molecules, force_field = force_field_from_print_outs(both, PEROXIDE_FLD, zero_torsions_of="OPT")
    assert torsions_of(force_field) == {}
    for molecule in molecules:
        assert not [label for label, _ in molecule.assignments or () if label.startswith("torsion.")]
    kept = force_field_from_print_outs(both, PEROXIDE_FLD, zero_torsions_of="OPT", linear_torsions="keep")[1]
    assert len(torsions_of(kept)) == 3


def test_another_way_with_linear_torsions_is_refused():
    with pytest.raises(SettingsError, match="way with linear torsions"):
        force_field_from_print_outs([WATER], FLD, linear_torsions="switch")


def test_a_torsion_that_is_printed_keeps_its_general_row():
    printed = PrintedTorsion((0, 1, 2, 3), 1.0, 0.0, 0.2, 71.6, 0.0, 14)
    _, force_field = force_field_from_print_outs([peroxide((printed,))], PEROXIDE_FLD, zero_torsions_of="OPT")
    assert set(torsions_of(force_field)) == {"torsion.H2-O3-O3-H2#14.1", "torsion.H2-O3-O3-H2#14.3"}


def test_a_title_that_no_substructure_has_is_refused():
    with pytest.raises(ForceFieldError, match="'FIT' in its title"):
        force_field_from_print_outs([WATER], FLD, zero_torsions_of="FIT")


def test_rows_of_the_titled_substructure_are_free():
    _, force_field = force_field_from_print_outs([peroxide()], PEROXIDE_FLD, zero_torsions_of="OPT")
    parameters = fld_parameters(force_field, PEROXIDE_FLD)
    free = {name for name, is_free in zip(parameters.names, parameters.is_free, strict=True) if is_free}
    own = {"bond.1-2#26.k", "bond.1-2#26.r0", "angle.H2-1-2#27.k", "angle.H2-1-2#27.theta0"}
    assert free == own | {f"torsion.00-1-2-00#28.{n}.k" for n in (1, 2, 3)}
    everything = fld_parameters(force_field, PEROXIDE_FLD, active=None)
    held = {name for name, is_free in zip(everything.names, everything.is_free, strict=True) if not is_free}
    # The substructure has no bend-bend constant, so that of line 13 is in force, but not its bend.
    assert held == {"angle.H2-O3-O3#13/rest.k"}


def test_one_number_behind_torsions_of_bonds_of_different_surroundings_is_one_parameter():
    # A third hydrogen makes two torsions out of one, which share the constants of the line.
    neutral = peroxide()
    oxygen = dataclasses.replace(neutral.atoms[2], charge=1.0 - 0.734, attached=((1, "-"), (3, "-"), (4, "-")))
    hydrogen = PrintedAtom("H2", 0.367, (1.46, -0.9, 0.3), ((2, "-"),))
    ion = dataclasses.replace(
        neutral,
        atoms=(*neutral.atoms[:2], oxygen, neutral.atoms[3], hydrogen),
        stretches=(*neutral.stretches, PrintedStretch((2, 4), 7.63, 0.947, 0.95, 0.0, 15)),
        bends=(*neutral.bends, PrintedBend((1, 2, 4), 0.65, 0.05, 99.0, 90.0, 0.0, 0.0, 27)),
    )
    _, force_field = force_field_from_print_outs([neutral, ion], PEROXIDE_FLD, zero_torsions_of="OPT")
    parameters = fld_parameters(force_field, PEROXIDE_FLD)
    names = ("torsion.00-1-2-00#28.1.k", "torsion.00-1-2-00#28/2.1.k")
    assert parameters.ties[names[1]].leader == names[0]
    values = parameters.replace({names[0]: 3.0}).values
    assert math.isclose(values[names[1]], 1.5)
    # 3.0 kcal/mol = 6.0 in units of 2.092 kJ/mol.
    assert fld_values(force_field.with_values(values), PEROXIDE_FLD) == {28: {"v1": pytest.approx(6.0)}}
