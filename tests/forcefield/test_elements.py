"""Element data against independent tables."""

import pytest

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.elements import atomic_number, covalent_radius, isotope_mass, symbol


def test_symbols_and_numbers_are_inverse() -> None:
    assert [atomic_number(symbol(number)) for number in range(1, 104)] == list(range(1, 104))


@pytest.mark.parametrize(("spelling", "number"), [("RH", 45), ("rh", 45), ("Rh", 45), (" c ", 6), ("CL", 17)])
def test_symbols_are_accepted_in_any_case(spelling: str, number: int) -> None:
    assert atomic_number(spelling) == number


@pytest.mark.parametrize(
    ("element", "mass"),
    # Atomic Mass Evaluation 2020, Wang et al., Chinese Phys. C 45, 030003, doi:10.1088/1674-1137/abddaf.
    [("H", 1.007825031898), ("C", 12.0), ("O", 15.994914619257), ("Br", 78.918337574), ("Rh", 102.905494081)],
)
def test_masses_are_those_of_the_most_abundant_isotope(element: str, mass: float) -> None:
    # The evaluations of 2003 and 2020 differ in the eighth digit for heavy elements.
    assert isotope_mass(element) == pytest.approx(mass, rel=1e-7)


def test_masses_are_nearly_whole_numbers_that_fit_the_atomic_number() -> None:
    # The mass defect stays below 0.12 u, and nuclei have 2.0 to 2.6 nucleons per proton (hydrogen 1, beryllium 2.25).
    for number in range(2, 104):
        mass = isotope_mass(symbol(number))
        assert abs(mass - round(mass)) < 0.13
        assert 2.0 <= round(mass) / number <= 2.65


def test_masses_agree_with_an_independent_table() -> None:
    elements = pytest.importorskip("pyscf.data.elements")
    ours = [isotope_mass(symbol(number)) for number in range(1, 103)]
    # PySCF lists technetium-99 where NIST has the longer-lived 98; six decimals.
    differing = [symbol(n) for n in range(1, 103) if abs(ours[n - 1] - elements.COMMON_ISOTOPE_MASSES[n]) > 2e-5]
    assert differing == ["Tc"]


@pytest.mark.parametrize(
    ("element", "radius"),
    # Cordero et al. (2008), doi:10.1039/b801115j, table 2.
    [("H", 0.31), ("C", 0.76), ("N", 0.71), ("O", 0.66), ("Fe", 1.32), ("Rh", 1.42), ("Pt", 1.36), ("Cm", 1.69)],
)
def test_radii_are_those_of_cordero(element: str, radius: float) -> None:
    assert covalent_radius(element) == radius


@pytest.mark.parametrize("label", ["Xx", "C3", "", "1"])
def test_an_unknown_symbol_is_refused_by_name(label: str) -> None:
    with pytest.raises(MoleculeError, match=f"symbol '{label}'"):
        atomic_number(label)


@pytest.mark.parametrize("number", [0, -1, 104])
def test_an_unknown_number_is_refused_by_name(number: int) -> None:
    with pytest.raises(MoleculeError, match=f"number {number}"):
        symbol(number)


def test_a_radius_that_was_never_measured_is_refused() -> None:
    with pytest.raises(MoleculeError, match="radius of Es is not known"):
        covalent_radius("Es")
