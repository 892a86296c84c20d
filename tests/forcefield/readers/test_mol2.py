"""Structures in mol2 format, and QM results that take their bonds and types."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fieldfit.errors import FileFormatError, MoleculeError
from fieldfit.forcefield.molecule import QMRecord
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.readers.macromodel_mmo import read_mmo
from fieldfit.forcefield.readers.mol2 import read_mol2
from fieldfit.forcefield.readers.structure import Structure, molecule_from_structure

FORMAMIDE = """\
# Name: formamide
@<TRIPOS>MOLECULE
formamide
6 5 1 0 0
SMALL
USER_CHARGES

@<TRIPOS>ATOM
      1 C1     0.0000    0.0000    0.0000 C.2   1 LIG   0.50 BACKBONE|DICT
      2 O1     1.2100    0.0000    0.0000 O.2   1 LIG  -0.50 \\
        DIRECT
      3 N1    -0.7000    1.1500    0.0000 N.am  1 LIG  -0.80

# a comment
      4 H1    -0.6000   -0.9300    0.0000 H     1 LIG   0.10
      5 HN1   -1.7000    1.1000    0.0000 H     1 LIG   0.35
      6 HN2   -0.2000    2.0300    0.0000 H     1 LIG   0.35
@<TRIPOS>BOND
     1    2    1 2
     2    1    3 am   BACKBONE|DICT|INTERRES
     3    4    1 1
     4    3    5 1
     5    3    6 nc
@<TRIPOS>SUBSTRUCTURE
     1 LIG         1 GROUP             0       ****    0 ROOT
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "structure.mol2"
    path.write_text(text)
    return path


def atom(name: str, type: str) -> str:
    return f"@<TRIPOS>MOLECULE\n\n1\nSMALL\nNO_CHARGES\n\n@<TRIPOS>ATOM\n1 {name} 0.0 0.0 0.0 {type}\n"


def test_a_structure_is_read_with_its_types_charges_and_bonds(tmp_path: Path) -> None:
    (structure,) = read_mol2(write(tmp_path, FORMAMIDE))
    assert structure.name == "formamide"
    assert structure.symbols == ("C", "O", "N", "H", "H", "H")
    assert structure.types == ("C.2", "O.2", "N.am", "H", "H", "H")
    assert_allclose(structure.coordinates[2], [-0.7, 1.15, 0.0])
    assert_allclose(structure.charges, [0.5, -0.5, -0.8, 0.1, 0.35, 0.35])
    assert structure.bonds == ((0, 1), (0, 2), (0, 3), (2, 4), (2, 5))
    assert structure.orders == (2.0, 1.0, 1.0, 1.0, 0.0)
    assert repr(structure) == "Structure(formamide: 6 atoms, 5 bonds, types C.2 O.2 N.am H H H)"


def test_several_structures_are_read_in_order(tmp_path: Path) -> None:
    both = read_mol2(write(tmp_path, FORMAMIDE + FORMAMIDE.replace("formamide", "second", 2) + atom("C", "C.3")))
    assert [entry.name for entry in both] == ["formamide", "second", "structure"]
    assert [entry.n_atoms for entry in both] == [6, 6, 1]


def test_line_ends_of_windows_do_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes(FORMAMIDE.replace("\n", "\r\n").encode())
    assert read_mol2(path)[0].bonds == read_mol2(write(tmp_path, FORMAMIDE))[0].bonds


def test_charges_that_are_not_stated_are_none(tmp_path: Path) -> None:
    assert read_mol2(write(tmp_path, FORMAMIDE.replace("USER_CHARGES", "NO_CHARGES")))[0].charges is None
    assert read_mol2(write(tmp_path, atom("C", "C.3").replace("NO_CHARGES", "USER_CHARGES")))[0].charges is None


@pytest.mark.parametrize(
    ("name", "type", "symbol"),
    # SYBYL, AMBER, GAFF and MM3* types.
    [
        ("CA", "C.ar", "C"),
        ("CO1", "Co.oh", "Co"),
        ("FE", "Fe", "Fe"),
        ("CL1", "Cl", "Cl"),
        ("A17", "N.pl3", "N"),
        ("C7", "ca", "C"),
        ("HC1", "hc", "H"),
        ("N2", "no", "N"),
        ("CL2", "cl", "Cl"),
        ("BR", "BR", "Br"),
        ("RH", "RH", "Rh"),
        ("P", "PX", "P"),
        ("H", "HX", "H"),
        ("OS1", "O2", "O"),
    ],
)
def test_elements_follow_from_types_and_names(tmp_path: Path, name: str, type: str, symbol: str) -> None:
    assert read_mol2(write(tmp_path, atom(name, type)))[0].symbols == (symbol,)


@pytest.mark.parametrize(
    ("name", "type", "choice"),
    [("CA", "ca", "Ca or C"), ("PD", "PD", "Pd or P"), ("LP1", "LP", "none"), ("X", "Du", "none")],
)
def test_an_element_that_is_open_must_be_stated(tmp_path: Path, name: str, type: str, choice: str) -> None:
    path = write(tmp_path, atom(name, type))
    with pytest.raises(FileFormatError, match=rf"structure\.mol2, line 8: .*{type}.* is open: {choice}"):
        read_mol2(path)
    assert read_mol2(path, elements={type: "pd"})[0].symbols == ("Pd",)


def test_bonds_that_the_header_does_not_count_are_read_with_a_warning(tmp_path: Path, caplog) -> None:
    path = write(tmp_path, FORMAMIDE.replace("6 5 1", "6 3 1"))
    with caplog.at_level(logging.WARNING):
        assert len(read_mol2(path)[0].bonds) == 5
    assert "announces 3 bonds, 5 are listed" in caplog.text


def test_a_bond_listed_from_either_atom_is_one_bond(tmp_path: Path) -> None:
    text = FORMAMIDE.replace("6 5 1", "6 6 1").replace("@<TRIPOS>SUBSTR", "     6    1    2 2\n@<TRIPOS>SUBSTR")
    assert len(read_mol2(write(tmp_path, text))[0].bonds) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    # Lines count from 1: header 2, counts 4, atoms 8, H1 15, fourth bond 22.
    [
        ("6 5 1", "7 5 1", "line 2: the header announces 7 atoms, but 6 are listed"),
        ("6 5 1", "5 5 1", "line 2: the header announces 5 atoms, but 6 are listed"),
        ("6 5 1", "6 9 1", "line 2: the header announces 9 bonds, but 5 are listed"),
        ("6 5 1", "six five", "line 4: 'six five 0 0' stands where the numbers of atoms"),
        ("    -0.6000   -0.9300", "  -0.6*** -0.9300", r"line 15 holds '-0\.6\*\*\*'"),
        ("0.0000 H     1 LIG   0.10", "", "line 15: .*lacks name, coordinates or type"),
        ("LIG   0.10", "LIG", "line 15: an atom lacks its charge"),
        ("LIG   0.10", "LIG   x", "line 15 holds 'x'"),
        ("     4    3    5 1", "     4    3    9 1", "line 22: '9' stands where one of the atoms 1 to 6"),
        ("     4    3    5 1", "     4    3", "line 22: '4    3' is not a bond"),
        ("     4    3    5 1", "     4    3    5 7", "line 22: .* is not a bond"),
        ("     4    3    5 1", "     4    3    3 1", "line 22: the bond of atoms 3 and 3 joins an atom to itself"),
        ("     4    3    5 1", "     4    1    2 1", "line 22: .*listed with another order"),
        ("      3 N1", "      7 N1", "line 8: the atoms are not numbered from 1 to 6"),
        ("@<TRIPOS>MOLECULE", "@<TRIPOS>MOLECUL", "no line @<TRIPOS>MOLECULE"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FORMAMIDE
    with pytest.raises(FileFormatError, match=message):
        read_mol2(write(tmp_path, FORMAMIDE.replace(old, new)))


def test_every_truncated_file_is_refused(tmp_path: Path) -> None:
    lines = FORMAMIDE.split("\n")
    last_bond = lines.index("     5    3    6 nc")
    for number in range(2, last_bond):
        with pytest.raises(FileFormatError, match=r"structure\.mol2, line \d+"):
            read_mol2(write(tmp_path, "\n".join(lines[:number])))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"There is no file '.*absent\.mol2'"):
        read_mol2(tmp_path / "absent.mol2")


def test_parts_of_a_structure_that_do_not_fit_are_refused() -> None:
    origin = np.zeros((2, 3))
    with pytest.raises(MoleculeError, match="2 atoms have 1 types"):
        Structure("x", ("H", "H"), ("H",), origin, (), ())
    with pytest.raises(MoleculeError, match="1 bonds have 0 orders"):
        Structure("x", ("H", "H"), ("H", "H"), origin, ((0, 1),), ())
    with pytest.raises(MoleculeError, match="a bond joins atoms 0 and 2"):
        Structure("x", ("H", "H"), ("H", "H"), origin, ((0, 2),), (1.0,))
    with pytest.raises(MoleculeError, match="not finite"):
        Structure("x", ("H", "H"), ("H", "H"), np.full((2, 3), np.inf), (), ())


@pytest.fixture
def structure(tmp_path: Path) -> Structure:
    """Return formamide, bent out of its plane so that it has a mirror image."""
    text = FORMAMIDE.replace("0.0000 H     1 LIG   0.10", "0.3000 H     1 LIG   0.10")
    return read_mol2(write(tmp_path, text))[0]


@pytest.fixture
def record(structure: Structure) -> QMRecord:
    """Return a QM result of it that lies elsewhere."""
    turn = Rotation.from_rotvec([1.0, 2.0, -0.5]).as_matrix()
    return QMRecord(
        "amide", structure.symbols, structure.coordinates @ turn.T + 3.0, np.array([12.0, 16.0, 14.0, 1.0, 1.0, 1.0])
    )


def test_bonds_and_types_are_given_to_a_result_that_lies_elsewhere(record, structure) -> None:
    molecule = molecule_from_structure(record, structure)
    assert molecule.record is record
    assert (molecule.bonds, molecule.types, molecule.charges) == (structure.bonds, structure.types, None)


def test_another_molecule_order_or_geometry_is_refused(record, structure) -> None:
    shorter = dataclasses.replace(
        record, symbols=record.symbols[:5], coordinates=record.coordinates[:5], masses=np.ones(5)
    )
    with pytest.raises(MoleculeError, match="has 5 atoms, but the structure 'formamide' has 6"):
        molecule_from_structure(shorter, structure)
    other = dataclasses.replace(record, symbols=("C", "N", "O", "H", "H", "H"))
    with pytest.raises(MoleculeError, match="atom 2 is N in the QM result, but O in the structure"):
        molecule_from_structure(other, structure)
    mirrored = dataclasses.replace(record, coordinates=-record.coordinates)
    with pytest.raises(MoleculeError, match=r"has another geometry: .* this mirror image"):
        molecule_from_structure(mirrored, structure)


def test_the_tolerance_is_the_largest_distance_of_an_atom(record, structure) -> None:
    moved = structure.coordinates.copy()
    moved[4] += [0.0, 0.0, 0.05]
    moved_structure = dataclasses.replace(structure, coordinates=moved)
    with pytest.raises(MoleculeError, match=r"atom 5 \(H\) is 0\.0[2-5]\d+ A away, more than 0\.01 A"):
        molecule_from_structure(record, moved_structure)
    assert molecule_from_structure(record, moved_structure, tolerance=0.1).types == structure.types


def test_bonds_that_leave_atoms_apart_are_refused(record, structure) -> None:
    with pytest.raises(MoleculeError, match="falls apart into 2 fragments"):
        molecule_from_structure(record, dataclasses.replace(structure, bonds=structure.bonds[:4], orders=(1.0,) * 4))


@pytest.mark.parametrize("name", ["GS", "TS"])
def test_ethane_gets_its_bonds_from_the_structure(shared_data: Path, name: str) -> None:
    (structure,) = read_mol2(shared_data / "ethane" / f"{name}.mol2")
    molecule = molecule_from_structure(read(shared_data / "ethane" / f"{name}.fchk"), structure, tolerance=0.02)
    assert sorted(len(around) for around in molecule.neighbours) == [1] * 6 + [4] * 2
    assert sorted(molecule.types) == ["C3"] * 2 + ["HC"] * 6


def test_bonds_and_types_of_rh_enamide_are_those_of_the_print_out(shared_data: Path) -> None:
    folder = shared_data / "rh-enamide" / "rh_enamide_training_set"
    structures = read_mol2(folder / "rh_enamide_training_set.mol2")
    print_outs = read_mmo(folder / "rh_enamide_training_set.mmo")
    for structure, print_out in zip(structures, print_outs, strict=True):
        assert structure.name == print_out.name
        assert structure.bonds == print_out.bonds
        assert_allclose(structure.coordinates, print_out.coordinates, atol=1e-4)
        # PX and HX are classes of the force-field file: any phosphorus, any hydrogen.
        classes = {"PX": "P3", "HX": "H1"}
        assert tuple(classes.get(name, name) for name in structure.types) == print_out.types


def test_rh_enamide_results_take_the_bonds_of_their_structures(shared_data: Path) -> None:
    folder = shared_data / "rh-enamide" / "rh_enamide_training_set"
    paths = sorted((folder / "jaguar_spe_freq_in_out").glob("*.out"))
    structures = read_mol2(folder / "rh_enamide_training_set.mol2")
    for path, structure in zip(paths, structures, strict=True):
        molecule = molecule_from_structure(read(path), structure)
        assert len(molecule.neighbours[0]) == 6  # rhodium: two P, two H, O and C
    with pytest.raises(MoleculeError, match="has another geometry"):
        molecule_from_structure(read(paths[1]), structures[2])
