"""From a print-out of MacroModel to a force field and back, on a molecule of three atoms made by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError, ForceFieldError, MoleculeError
from fieldfit.forcefield.assignment import assign
from fieldfit.forcefield.formats.mm3_fld import parse_fld
from fieldfit.forcefield.formats.mm3_matching import TypedGraph
from fieldfit.forcefield.macromodel import fld_values, force_field_from_print_outs, write_fld
from fieldfit.forcefield.macromodel_rules import element_of, sites, torsions_per_row, vdw_taper
from fieldfit.forcefield.readers.macromodel_mmo import (
    PrintedAtom,
    PrintedBend,
    PrintedStretch,
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
