"""The front of all formats: which one is meant, and what it refuses."""

from __future__ import annotations

import pytest

from fieldfit.errors import FileFormatError, ForceFieldError, SettingsError
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats import FORMATS, render, write
from fieldfit.forcefield.row import Row


def with_rows(field: ForceField, *rows: Row) -> ForceField:
    return ForceField(field.name, (*field.rows, *rows), field.elements)


@pytest.mark.parametrize("format", list(FORMATS))
def test_the_ending_names_the_format(tmp_path, methyl_fluoride, make_field, format):
    field = make_field([methyl_fluoride])
    path = tmp_path / f"field{FORMATS[format].traits.suffix.upper()}"
    write(path, field, [methyl_fluoride])
    assert path.read_text() == render(field, [methyl_fluoride], format=format)


def test_a_stated_format_goes_before_the_ending(tmp_path, methyl_fluoride, make_field):
    path = tmp_path / "frcmod.mef"
    write(path, make_field([methyl_fluoride]), [methyl_fluoride], format="amber-frcmod")
    assert "\nMASS\n" in path.read_text()


@pytest.mark.parametrize("format", list(FORMATS))
def test_the_same_force_field_gives_the_same_text(methyl_fluoride, make_field, format):
    texts = {render(make_field([methyl_fluoride]), [methyl_fluoride], format=format) for _ in range(2)}
    assert len(texts) == 1


def test_an_unknown_ending_is_refused_with_those_known(tmp_path, methyl_fluoride, make_field):
    with pytest.raises(SettingsError, match=r"field\.prm.*\.toml.*\.xml.*\.frcmod"):
        write(tmp_path / "field.prm", make_field([methyl_fluoride]), [methyl_fluoride])


def test_an_unknown_format_is_refused_with_the_nearest(methyl_fluoride, make_field):
    with pytest.raises(SettingsError, match="openmm-xml"):
        render(make_field([methyl_fluoride]), [methyl_fluoride], format="openm-xml")


def test_a_folder_that_is_not_there_is_named(tmp_path, methyl_fluoride, make_field):
    with pytest.raises(FileFormatError, match="nowhere"):
        write(tmp_path / "nowhere" / "field.toml", make_field([methyl_fluoride]), [methyl_fluoride])


@pytest.mark.parametrize(
    ("fixture", "options", "refused"),
    [
        ("methyl_fluoride", {"family": "mm3"}, r"mm3_bond \(bond\.C-F, bond\.C-H\); mm3_angle \(angle\.F-C-H"),
        ("methyl_fluoride", {"stretch_bend": ("F-C-H",)}, r"stretch_bend \(stretch-bend\.F-C-H\)"),
        ("sn2", {}, r"linear_bend \(linear-bend\.F-C-F\)"),
        ("benzene", {}, r"out_of_plane \(out-of-plane\.C-C-C-H\)"),
    ],
)
def test_frcmod_refuses_by_name_what_amber_lacks(request, tmp_path, make_field, fixture, options, refused):
    molecule = request.getfixturevalue(fixture)
    path = tmp_path / "field.frcmod"
    with pytest.raises(ForceFieldError, match=f"{refused}.*fieldfit-toml, openmm-xml"):
        write(path, make_field([molecule], **options), [molecule])
    assert not path.exists()


def test_a_row_of_zero_energy_is_left_out_instead_of_refused(benzene, make_field):
    field = make_field([benzene])
    with_zero = field.with_values({"out-of-plane.C-C-C-H.k": 0.0})
    without = ForceField(field.name, tuple(row for row in field.rows if row.kind != "out-of-plane"), field.elements)
    assert render(with_zero, [benzene], format="amber-frcmod") == render(without, [benzene], format="amber-frcmod")


def test_a_bond_without_a_row_is_refused(methyl_fluoride, make_field):
    field = make_field([methyl_fluoride])
    lacking = ForceField(field.name, field.rows[1:], field.elements)
    with pytest.raises(ForceFieldError, match=r"the bond C\(1\)-F\(2\) has no row"):
        render(lacking, [methyl_fluoride], format="openmm-xml")


def test_a_molecule_of_another_force_field_is_refused(methyl_fluoride, ethane, make_field):
    with pytest.raises(ForceFieldError, match="atom type 'F' of element F"):
        render(make_field([ethane]), [methyl_fluoride], format="openmm-xml")


class TestTypesThatDoNotDecide:
    """Programs that assign by types would add a term that fieldfit does not have."""

    def test_bent_and_linear_angles_of_the_same_types_are_refused(self, sn2, make_molecule, make_field):
        five = make_molecule("CF5", "CFFFFF", sn2.record.coordinates, bond_tolerance=1.45)
        with pytest.raises(ForceFieldError, match=r"linear-bend\.F-C-F would also act on F\(2\)-C\(1\)-F\(4\)"):
            render(make_field([five]), [five], format="openmm-xml")

    def test_an_angle_row_on_a_linear_angle_is_refused(self, sn2, make_field):
        field = with_rows(make_field([sn2]), Row("harmonic_angle", ("F", "C", "F"), {"k": 50.0, "theta0": 109.0}))
        with pytest.raises(ForceFieldError, match=r"angle\.F-C-F would also act.*the angle is linear"):
            render(field, [sn2], format="openmm-xml")

    def test_a_torsion_about_a_linear_angle_is_refused(self, butynyl_fluoride, make_molecule, make_field):
        record = butynyl_fluoride.record
        molecule = make_molecule("butynyl", record.symbols, record.coordinates, types=record.symbols)
        row = Row("cosine_torsion", ("C", "C", "C", "H"), {"k": 1.0}, {"periodicity": 3.0, "phase": 0.0})
        render(make_field([molecule]), [molecule], format="openmm-xml")
        with pytest.raises(ForceFieldError, match=r"torsion\.C-C-C-H\.3 would also act on .*is linear"):
            render(with_rows(make_field([molecule]), row), [molecule], format="openmm-xml")

    def test_an_out_of_plane_row_on_a_tetrahedral_atom_is_refused(self, ethane, make_field):
        field = with_rows(make_field([ethane]), Row("out_of_plane", ("C", "C", "H", "H"), {"k": 5.0}))
        with pytest.raises(ForceFieldError, match=r"out-of-plane\.C-C-H-H would also act"):
            render(field, [ethane], format="openmm-xml")

    def test_rows_of_zero_energy_do_no_harm(self, ethane, make_field):
        field = with_rows(make_field([ethane]), Row("out_of_plane", ("C", "C", "H", "H"), {"k": 0.0}))
        assert "Improper" in render(field, [ethane], format="openmm-xml")

    def test_types_that_the_graph_cannot_tell_apart_are_refused(self, methyl_fluoride, make_molecule, make_field):
        """OpenMM matches residues by graph: it may give the odd hydrogen's parameters to another one."""
        record = methyl_fluoride.record
        odd = make_molecule("odd", record.symbols, record.coordinates, types=("C", "F", "H", "H", "Hx"))
        with pytest.raises(ForceFieldError, match=r"atoms 3 and 5 have the types 'H' and 'Hx'"):
            render(make_field([odd]), [odd], format="openmm-xml")
        assert render(make_field([odd]), [odd], format="amber-frcmod")
