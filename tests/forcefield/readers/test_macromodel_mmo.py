"""Print-outs of MacroModel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.readers.macromodel_mmo import PrintOut, read_mmo

# Written by hand after the layout of BatchMin 12.6; a bent molecule whose numbers mean nothing.
TEXT = """
 TIME: 11:24:47

         BOND LENGTHS AND STRETCH ENERGIES                 2 Stretch interactions present
         ---------------------------------

       Atom Numbers            Force Const    Length (Angstroms)   Energy
                                               Ideal    Actual     kJ/mol  Select Alts Comments              FF Line

            1     2                4.7400     1.1120    1.0941      0.478  O1      0    H-C(sp3)                81
            2     3                0.0000     2.3388    2.3226      0.000  Subst  17    A complex, 12 of it   1864


         ANGLES, BEND AND STRETCH BEND ENERGIES            1 Bend interactions present
         --------------------------------------

       Atom Numbers      Force Consts            Angle         Energy (kJ/mol)
                        KBnd1     KSBnd     Ideal    Actual     EBnd   ESBnd Select Alts Comments            FF Line

      1     2     3     0.550     0.080   107.800   109.151    0.090  -0.005 O1      0    H-C(H)-H               174


         BEND-BEND ANGLES AND ENERGIES            0 Bend-bend interactions present
     --------------------------------------

         NONBONDED DISTANCES AND ENERGIES                    1 Nonbonded interactions present
         --------------------------------

       ATOM NUMBERS    CONST 1    CONST 2    CHARGE*  DISTANCE        ENERGY (kJ/mol)
                                                                     EVDW      ECHARGE

            1     3  3.930      .1646E-01    -0.0207     4.020     -0.761       -7.148
1


 ******************************************************
 * Input Structure Name:                              *
 *  A molecule of three                               *
 * Input Datafile Name:                               *
 *  three.mae                                         *
 ******************************* Columbia University **

Total energy:             -7.3460 kJ/mol (      -1.7557 kcal/mol )
  Stretch:                 0.4780 kJ/mol (       0.1142 kcal/mol )
  Bend-bend:               0.0000 kJ/mol (       0.0000 kcal/mol )

 Maximum van der Waals distance =   7.0 Angstroms
 Molecular dielectric constant  =   1.00
1

 Connection Table
 ----------------

    Atom        Charges              Coordinates                Residue     Attached Atoms & Bonds
 Type  Number  QQ     Sol       X          Y          Z

 H1 (    1)   0.046  0.046     1.0941     0.0000     0.0000   UNK   1       2-
 C3 (    2)  -0.046 -0.046     0.0000     0.0000     0.0000   UNK   1       1-    3
 RH (    3)   1.000  1.000    -0.7000     2.2146     0.0000   UNK   1       2

 Total QQ  charge on system =   1.000
1
"""


def read(folder, text) -> PrintOut:
    path = folder / "structure.mmo"
    path.write_text(text)
    (structure,) = read_mmo(path)
    return structure


def test_tables_are_read_with_atoms_counted_from_0(tmp_path):
    structure = read(tmp_path, TEXT)
    assert structure.name == "A molecule of three"
    first, second = structure.stretches
    assert (first.atoms, first.k, first.r0, first.length, first.energy, first.line) == (
        (0, 1),
        4.74,
        1.112,
        1.0941,
        0.478,
        81,
    )
    assert (second.atoms, second.line) == ((1, 2), 1864)
    (bend,) = structure.bends
    assert (bend.atoms, bend.k, bend.stretch_bend_k, bend.energy, bend.stretch_bend_energy, bend.line) == (
        (0, 1, 2),
        0.55,
        0.08,
        0.09,
        -0.005,
        174,
    )
    (pair,) = structure.pairs
    assert (pair.atoms, pair.minimum, pair.depth, pair.distance) == ((0, 2), 3.93, 0.01646, 4.02)
    assert (pair.charge_product, pair.vdw_energy, pair.charge_energy) == (-0.0207, -0.761, -7.148)
    assert (structure.bend_bends, structure.torsions, structure.torsion_stretches) == ((), (), ())


def test_atoms_bonds_totals_and_settings_are_read(tmp_path):
    structure = read(tmp_path, TEXT)
    assert structure.types == ("H1", "C3", "RH")
    assert [atom.charge for atom in structure.atoms] == [0.046, -0.046, 1.0]
    assert [atom.attached for atom in structure.atoms] == [((1, "-"),), ((0, "-"), (2, "")), ((1, ""),)]
    assert structure.bonds == ((0, 1), (1, 2))
    assert_allclose(structure.coordinates[2], [-0.7, 2.2146, 0.0])
    assert structure.totals == {"Total energy": -7.346, "Stretch": 0.478, "Bend-bend": 0.0}
    assert structure.settings == {"Maximum van der Waals distance": 7.0, "Molecular dielectric constant": 1.0}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("BOND LENGTHS", "", "no energy terms"),
        ("   2 Stretch", "   3 Stretch", "3 Stretch interactions present, but 2 are listed"),
        ("      0.478  O1", "   *****  O1", "a number"),
        ("    81\n", "\n", "names no line"),
        ("            1     2  ", "            1     4  ", "do not exist"),
        ("Total energy", "", "no name, totals or table"),
        (" C3 (    2)", " C3 (    3)", "atom 2 is missing"),
        ("UNK   1       1-    3\n", "UNK   1       1-\n", "atoms 3 and 2 is not listed both ways"),
        ("0.550     0.080   107.800   109.151    0.090  -0.005 O1", "0.550     0.080 O1", "damaged|a number"),
    ],
)
def test_damaged_print_outs_are_refused(tmp_path, old, new, message):
    assert old in TEXT
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path, TEXT.replace(old, new))


@pytest.mark.parametrize("fraction", [0.1, 0.4, 0.7, 0.9])
def test_truncated_print_outs_are_refused(tmp_path, fraction):
    with pytest.raises(FileFormatError):
        read(tmp_path, TEXT[: int(fraction * len(TEXT))])


def test_the_published_print_out_adds_up(shared_data):
    structures = read_mmo(shared_data / "rh-enamide" / "rh_enamide_training_set" / "rh_enamide_training_set.mmo")
    assert [len(structure.atoms) for structure in structures] == [36, 38, 38, 62, 62, 58, 58, 58, 58]
    for structure in structures:
        sums = {
            "Stretch": [row.energy for row in structure.stretches],
            "Bend": [row.energy for row in structure.bends],
            "Stretch-bend": [row.stretch_bend_energy for row in structure.bends],
            "Bend-bend": [row.energy for row in structure.bend_bends],
            "Proper torsion": [row.energy for row in structure.torsions],
            "Out-of-plane": [row.energy for row in structure.impropers],
            "Torsion-stretch": [row.energy for row in structure.torsion_stretches],
            "Van der Waals": [row.vdw_energy for row in structure.pairs],
            "Electrostatic": [row.charge_energy for row in structure.pairs],
        }
        for name, energies in sums.items():
            # Each energy is rounded to 0.001; four standard deviations of the sum of such errors.
            assert sum(energies) == pytest.approx(structure.totals[name], abs=4e-3 * np.sqrt(len(energies) / 12) + 1e-4)
        assert sum(structure.totals[name] for name in sums) == pytest.approx(structure.totals["Total energy"], abs=5e-4)


def test_printed_bonds_are_as_long_as_the_coordinates_say(shared_data):
    structures = read_mmo(shared_data / "rh-enamide" / "rh_enamide_training_set" / "rh_enamide_training_set.mmo")
    for structure in structures:
        for row in structure.stretches:
            i, j = row.atoms
            length = np.linalg.norm(structure.coordinates[i] - structure.coordinates[j])
            assert length == pytest.approx(row.length, abs=0.51e-4)
