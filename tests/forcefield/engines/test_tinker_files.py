"""Tinker's coordinate files and print-outs.

The excerpts are of files in https://github.com/TinkerTools/tinker: test/crambin.log (version 8.4), test/enkephalin.log
(8.5), test/cyclohexane.log (25.1), test/vasopressin.log (25.3), test/ethanol.xyz.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tinker_cases import tinker_case

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.engines import tinker_files as files

BANNER = """
 ###            {name}  ---  Software Tools for Molecular Design            ###
 ##                       Version {version}                       ##
"""

ANALYZE = """
 Total Potential Energy :                462.1803 Kcal/mole

 Energy Component Breakdown :           Kcal/mole        Interactions

 Bond Stretching                         114.6345              652
 Angle Bending                           143.3128             1183
 Stretch-Bend                             -6.6196             1044
 Out-of-Plane Bend                         2.7302              375
 Torsional Angle                         160.1355             1747
 Stretch-Torsion                          -2.6381             1116
 Van der Waals                           222.7280           203626
 Charge-Charge                           -48.0258               33
 Charge-Dipole                           -29.5684             2758
 Dipole-Dipole                           -94.5087            47824
"""

TESTGRAD = """
 Total Potential Energy :                -38.6972 Kcal/mole

 Cartesian Gradient Breakdown over Individual Atoms :

  Type      Atom              dE/dX       dE/dY       dE/dZ          Norm

 Anlyt         1            -5.9726      7.8608     27.4012       29.1254
 Numer         1            -5.9726      7.8608     27.4012       29.1254
 Anlyt         2             6.7256     -9.3348    -42.5331       44.0617
 Numer         2             6.7256     -9.3348    -42.5331       44.0617
"""

VIBRATE = """
 Eigenvalues of the Hessian Matrix :

    1    -7.247    2    -0.000    3     0.000    4     0.000    5     0.000

 Vibrational Frequencies (cm-1) :

    1  -235.515    2    -0.200    3     0.000    4     0.001    5     0.001
    6     0.159    7     0.249    8    22.764    9   304.774   10   416.384
   11   419.925   12   592.041   13   679.099   14   728.559   15   753.332
"""

MINIMIZE = """
 LBFGS  --  Normal Termination due to SmallGrad

 Final Function Value :         -242.70570313
 Final RMS Gradient :              0.00000985
 Final Gradient Norm :             0.00008531
"""

NEWTON = """
 Final Function Value :           19.2176
 Final RMS Gradient :          0.7350D-05
 Final Gradient Norm :         0.3118D-04
"""

ETHANOL = """     9  Ethanol
     1  C     -1.745979    1.106694    1.225781    46     2     3     4     5
     2  H     -1.675959    0.626158    2.226893    47     1
     3  H     -0.836580    1.733422    1.088667    47     1
     4  H     -2.624230    1.789704    1.242336    47     1
     5  C     -1.874638    0.067519    0.109528    44     1     6     7     8
     6  H     -2.785744   -0.555578    0.253129    45     5
     7  H     -1.962493    0.576760   -0.876039    45     5
     8  O     -0.720620   -0.754349    0.101531    42     5     9
     9  H     -0.857171   -1.462041    0.717328    43     8
"""


def test_the_version_is_read_from_the_banner_of_old_and_new_programs() -> None:
    assert files.read_version(BANNER.format(name="TINKER", version="7.0   October 2014")) == (7, 0)
    assert files.read_version(BANNER.format(name="Tinker", version="25.1   February 2025")) == (25, 1)
    assert files.read_version("analyze, Version 3.2") is None


def test_the_components_of_an_energy_add_up_to_it() -> None:
    found = files.read_components(ANALYZE)
    assert [component.name for component in found][:3] == ["Bond Stretching", "Angle Bending", "Stretch-Bend"]
    assert [component.interactions for component in found][-2:] == [2758, 47824]
    assert_allclose(sum(component.energy for component in found), files.read_energy(ANALYZE), atol=5e-4)


def test_the_analytic_gradient_is_read_and_its_rows_have_the_printed_norms() -> None:
    gradient = files.read_gradient(TESTGRAD, 2)
    assert_allclose(np.linalg.norm(gradient.reshape(2, 3), axis=1), [29.1254, 44.0617], atol=1e-4)
    assert files.read_energy(TESTGRAD) == -38.6972


def test_the_components_of_a_gradient_by_kind_are_no_gradient() -> None:
    # testgrad prints them first, on lines of the same name, for up to a hundred atoms.
    by_kind = " Anlyt      0.00000000      1.00000000      2.00000000      3.00000000\n"
    assert_array_equal(files.read_gradient(by_kind + TESTGRAD, 2), files.read_gradient(TESTGRAD, 2))


def test_wavenumbers_are_read_and_eigenvalues_are_not() -> None:
    found = files.read_frequencies(VIBRATE + "\n Vibrational Normal Mode     7 with Frequency     11.705 cm-1\n", 5)
    assert_allclose(found[[0, 1, 7, 14]], [-235.515, -0.2, 22.764, 753.332])


@pytest.mark.parametrize(("text", "expected"), [(MINIMIZE, (-242.70570313, 9.85e-6)), (NEWTON, (19.2176, 7.35e-6))])
def test_the_end_of_a_relaxation_is_read(text, expected) -> None:
    assert files.read_minimum(text) == pytest.approx(expected, rel=1e-12)


def test_coordinates_are_read() -> None:
    found = files.read_coordinates(ETHANOL, 9)
    assert found.shape == (9, 3)
    assert_array_equal(found[-1], [-0.857171, -1.462041, 0.717328])


def test_coordinates_are_read_back_as_they_were_written() -> None:
    molecule, _ = tinker_case("mm3")
    x = molecule.record.coordinates + np.pi * 1e-3
    assert_allclose(files.read_coordinates(files.write_xyz(molecule, x), 12), x, rtol=0.0, atol=1e-12)


def test_a_coordinate_file_names_number_symbol_type_and_neighbours_of_every_atom() -> None:
    # The columns of ETHANOL: number, symbol, x, y, z, type, neighbours.
    molecule, _ = tinker_case("mm3")
    lines = files.write_xyz(molecule, molecule.record.coordinates).splitlines()
    assert lines[0].split() == ["12"]
    fields = lines[4].split()
    assert (fields[0], fields[1], fields[5], fields[6:]) == ("4", "O", "4", ["3", "5"])


def fortran_hessian(hessian: np.ndarray, width: int, decimals: int) -> str:
    """Return a Hessian as testhess.f writes it, with formats such as 4f16.8."""

    def block(values) -> str:
        fields = [f"{value:{width}.{decimals}f}" for value in values]
        count = {16: 4, 14: 5, 12: 6}[width]
        return "".join("".join(fields[start : start + count]) + "\n" for start in range(0, len(fields), count))

    text = "\n Diagonal Hessian Elements  (3 per Atom)\n\n" + block(np.diag(hessian))
    for row in range(len(hessian) - 1):
        text += f"\n Off-diagonal Hessian Elements for Atom{row // 3 + 1:6d} {'XYZ'[row % 3]}\n\n"
        text += block(hessian[row, row + 1 :])
    return text


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.sampled_from([(16, 8), (14, 6), (12, 4)]), st.integers(0, 1000))
def test_a_hessian_is_read_as_testhess_writes_it(atoms, layout, seed) -> None:
    width, decimals = layout
    hessian = np.random.default_rng(seed).normal(scale=500.0, size=(3 * atoms, 3 * atoms))
    hessian += hessian.T
    found = files.read_hessian(fortran_hessian(hessian, width, decimals), atoms)
    assert_allclose(found, hessian, rtol=0.0, atol=0.51 * 10.0**-decimals)
    assert_array_equal(found, found.T)


class TestDamaged:
    """What is not complete is an error that says so."""

    def test_a_print_out_without_an_energy(self) -> None:
        with pytest.raises(FileFormatError, match="no section 'Total Potential Energy :'"):
            files.read_energy("Segmentation fault")

    def test_an_energy_too_long_for_its_field(self) -> None:
        with pytest.raises(FileFormatError, match="no readable number after 'Total Potential Energy :'"):
            files.read_energy(" Total Potential Energy :     **************** Kcal/mole")

    def test_a_gradient_without_its_last_atom(self) -> None:
        with pytest.raises(FileFormatError, match="2 readable rows instead of 3"):
            files.read_gradient(TESTGRAD, 3)

    def test_wavenumbers_that_end_early(self) -> None:
        with pytest.raises(FileFormatError, match="15 readable wavenumbers instead of 18"):
            files.read_frequencies(VIBRATE, 6)

    def test_coordinates_of_another_molecule(self) -> None:
        with pytest.raises(FileFormatError, match="9 atoms instead of 8"):
            files.read_coordinates(ETHANOL, 8)

    def test_a_hessian_cut_off(self) -> None:
        text = fortran_hessian(np.eye(6), 16, 8)
        with pytest.raises(FileFormatError, match="should hold 6 diagonal elements and then 5 to 1 elements per row"):
            files.read_hessian(text[:-30], 2)

    def test_a_hessian_with_stars(self) -> None:
        text = fortran_hessian(np.eye(6), 16, 8).replace("1.00000000", "**********", 1)
        with pytest.raises(FileFormatError, match=r"is not a number"):
            files.read_hessian(text, 2)
