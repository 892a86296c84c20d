"""Structures in Maestro format."""

from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError, MoleculeError
from fieldfit.forcefield.readers.macromodel_mmo import read_mmo
from fieldfit.forcefield.readers.mae import read_mae
from fieldfit.forcefield.readers.mol2 import read_mol2

HEADER = """\
{
 s_m_m2io_version
 :::
 2.0.0
}
"""

COMPLEX = """
f_m_ct {
 s_m_title
 r_j_Energy_(au)_298K
 s_m_path
 :::
 "a \\"strange\\" { title } ::: # "
 -76.4
 <>
 m_depend[2] {
  # First column is dependency index #
  i_m_depend_dependency
  s_m_depend_property
  :::
  1 10 "r_j Energy"
  2 11 <>
  :::
 }
 m_atom[4] {
  # First column is atom index #
  r_m_z_coord
  s_m_pdb_atom_name
  i_m_atomic_number
  r_m_x_coord
  i_m_mmod_type
  r_m_y_coord
  r_m_charge1
  s_m_color_rgb
  :::
  1 0.3 "RH  " 45 0.1 250 0.2 0.0 1E1EE1
  2 2.5 " O  " 8 0.1 15 0.2 -0.5 <>
  3 3.5 "" 6 0.1 2 0.2 0.5 A0A0A0
  4 4.5
    H1 1 0.1 41 0.2 1.0D-02 "a # b"
  :::
 }
 m_bond[5] {
  i_m_order
  i_m_to
  i_m_from
  :::
  1 0 2 1
  2 0 1 2
  3 2 3 2
  4 2 2 3
  5 1 4 3
  :::
 }
 ffio_ff {
  s_ffio_name
  :::
  none
  ffio_sites[1] {
   r_ffio_charge
   :::
   1 0.5
   :::
  }
 }
}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "complex.mae"
    path.write_text(text)
    return path


def test_a_structure_is_read_whatever_the_order_of_properties(tmp_path: Path) -> None:
    (structure,) = read_mae(write(tmp_path, HEADER + COMPLEX))
    assert structure.name == 'a "strange" { title } ::: # '
    assert structure.symbols == ("Rh", "O", "C", "H")
    assert structure.types == ("250", "15", "2", "41")
    assert_allclose(structure.coordinates, [[0.1, 0.2, 0.3], [0.1, 0.2, 2.5], [0.1, 0.2, 3.5], [0.1, 0.2, 4.5]])
    assert_allclose(structure.charges, [0.0, -0.5, 0.5, 0.01])


def test_a_bond_listed_from_either_atom_is_one_bond(tmp_path: Path) -> None:
    (structure,) = read_mae(write(tmp_path, HEADER + COMPLEX))
    assert structure.bonds == ((0, 1), (1, 2), (2, 3))
    assert structure.orders == (0.0, 2.0, 1.0)


def test_several_structures_are_read_in_order(tmp_path: Path) -> None:
    untitled = COMPLEX.replace('"a \\"strange\\" { title } ::: # "', '""')
    both = read_mae(write(tmp_path, HEADER + COMPLEX + untitled))
    assert [entry.name for entry in both] == ['a "strange" { title } ::: # ', "complex"]


def test_charges_and_bonds_may_be_absent(tmp_path: Path) -> None:
    start, stop = COMPLEX.index(" m_bond"), COMPLEX.index(" ffio_ff")
    text = COMPLEX[:start] + COMPLEX[stop:]
    (structure,) = read_mae(write(tmp_path, HEADER + text.replace("r_m_charge1", "r_m_charge9")))
    assert (structure.bonds, structure.orders, structure.charges) == ((), (), None)


def test_line_ends_of_windows_do_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes((HEADER + COMPLEX).replace("\n", "\r\n").encode())
    assert read_mae(path)[0].types == ("250", "15", "2", "41")


def line_of(text: str) -> int:
    return (HEADER + COMPLEX).split("\n").index(text) + 1


@pytest.mark.parametrize(
    ("line", "new", "message"),
    [
        ('  3 3.5 "" 6 0.1 2 0.2 0.5 A0A0A0', '  3 3.5 "" 6 0.1 2 0.2 0.5', "line {next}: '4.5' stands where '4' is"),
        ('  3 3.5 "" 6 0.1 2 0.2 0.5 A0A0A0', "", "line {next}: '4' stands where '3' is expected"),
        ('  3 3.5 "" 6 0.1 2 0.2 0.5 A0A0A0', '  3 x "" 6 0.1 2 0.2 0.5 A', "line {here}: r_m_z_coord holds 'x'"),
        ('  3 3.5 "" 6 0.1 2 0.2 0.5 A0A0A0', '  3 3.5 " 6 0.1 2 0.2 0.5 A', "line {here}: a quote is not closed"),
        ('  3 3.5 "" 6 0.1 2 0.2 0.5 A0A0A0', '  3 3.5 "" 6 0.1 2 <> 0.5 A', "line {here}: r_m_y_coord is missing"),
        ("  5 1 4 3", "  5 1 9 3", "line {here}: '9' stands where one of the atoms 1 to 4"),
        ("  5 1 4 3", "  5 x 4 3", "line {here}: i_m_order holds 'x'"),
        ("  5 1 4 3", "  5 1 4 4", "line {here}: the bond of atoms 4 and 4 joins an atom to itself"),
        ("  5 1 4 3", "  5 3 2 3", "line {here}: .*listed with another order"),
        (" m_atom[4] {", " m_atoms[4] {", "line 7: the structure has no table m_atom"),
        (" m_atom[4] {", " m_atom[3] {", "'4' stands where ':::' is expected"),
        (" m_atom[4] {", " m_atom[5] {", "line 40: ':::' stands where '5' is expected"),
        ("  i_m_mmod_type", "  i_m_mmod_kind", "line 24: the table has no column i_m_mmod_type"),
        ("f_m_ct {", "p_m_ct {", r"line 7: a partial structure \(p_m_ct\)"),
        ("f_m_ct {", "g_m_ct {", "there is no block f_m_ct"),
        (" <>", "", "line 15: 'm_depend.2.' stands|line 15: '{{' stands"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, line: str, new: str, message: str) -> None:
    number = line_of(line)
    lines = (HEADER + COMPLEX).split("\n")
    lines[number - 1] = new
    with pytest.raises(FileFormatError, match=message.format(here=number, next=number + 1)):
        read_mae(write(tmp_path, "\n".join(lines)))


def test_every_truncated_file_is_refused(tmp_path: Path) -> None:
    text = (HEADER + COMPLEX).rstrip()
    for length in range(len(HEADER) + 2, len(text)):
        with pytest.raises(FileFormatError, match=r"complex\.mae, line \d+"):
            read_mae(write(tmp_path, text[:length]))


def test_atoms_that_are_not_of_an_element_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="line 35: '-2' is not the atomic number of an element"):
        read_mae(write(tmp_path, HEADER + COMPLEX.replace('"RH  " 45', '"D1  " -2')))
    with pytest.raises(MoleculeError, match="No element has the atomic number 450"):
        read_mae(write(tmp_path, HEADER + COMPLEX.replace('"RH  " 45', '"D1  " 450')))


def test_a_file_without_a_structure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="there is no block f_m_ct"):
        read_mae(write(tmp_path, HEADER))
    with pytest.raises(FileFormatError, match=r"There is no file '.*absent\.mae'"):
        read_mae(tmp_path / "absent.mae")


def test_rh_enamide_is_the_same_in_both_formats_and_in_the_print_out(shared_data: Path) -> None:
    folder = shared_data / "rh-enamide" / "rh_enamide_training_set"
    structures = read_mae(folder / "rh_enamide_training_set.mae")
    others = read_mol2(folder / "rh_enamide_training_set.mol2")
    print_outs = read_mmo(folder / "rh_enamide_training_set.mmo")
    names: dict[str, str] = {}
    for structure, other, print_out in zip(structures, others, print_outs, strict=True):
        assert structure.name == other.name == print_out.name
        assert structure.symbols == other.symbols
        assert structure.bonds == other.bonds == print_out.bonds
        for order, other_order in zip(structure.orders, other.orders, strict=True):
            # Maestro writes aromatic bonds as single and double ones.
            assert order == other_order or (order in (1.0, 2.0) and other_order == 1.5)
        assert_allclose(structure.coordinates, other.coordinates, atol=1e-4)
        for number, name in zip(structure.types, print_out.types, strict=True):
            # MacroModel's number stands for one type, whose name the print-out has.
            assert names.setdefault(number, name) == name


def test_single_files_of_rh_enamide_are_those_of_the_whole_set(shared_data: Path) -> None:
    folder = shared_data / "rh-enamide" / "rh_enamide_training_set"
    whole = read_mae(folder / "rh_enamide_training_set.mae")
    single = [read_mae(path)[0] for path in sorted((folder / "mae").glob("*.mae"))]
    assert [(entry.name, entry.bonds, entry.types) for entry in single] == [
        (entry.name, entry.bonds, entry.types) for entry in whole
    ]
    # A substructure whose bonds are listed from both atoms.
    (pattern,) = read_mae(shared_data / "rh-enamide" / "rh-hydrogenation-enamide-template.mae")
    assert (pattern.n_atoms, len(pattern.bonds)) == (10, 11)
    assert pattern.charges is not None
