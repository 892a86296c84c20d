"""Symbols, masses and sizes of the chemical elements, hydrogen to lawrencium.

Masses are those of the most abundant isotope, or of the longest-lived one where none is stable, because
quantum-chemistry programs use these for vibrations: NIST Standard Reference Database 144 (Coursey, Schwab, Tsai,
Dragoset), as distributed with QCElemental, hence also the masses of Psi4.

Covalent radii: Cordero, Gomez, Platero-Prats, Reves, Echeverria, Cremades, Barragan, Alvarez (2008), Dalton Trans.
2832, doi:10.1039/b801115j, table 2: sp3 carbon, low-spin manganese, iron and cobalt. The table ends at curium.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldfit.errors import MoleculeError

# Symbol, mass [u], covalent radius [A], in the order of the atomic number.
_TABLE = """
H 1.00782503223 0.31
He 4.00260325413 0.28
Li 7.0160034366 1.28
Be 9.012183065 0.96
B 11.00930536 0.84
C 12.0000000 0.76
N 14.00307400443 0.71
O 15.99491461957 0.66
F 18.99840316273 0.57
Ne 19.9924401762 0.58
Na 22.9897692820 1.66
Mg 23.985041697 1.41
Al 26.98153853 1.21
Si 27.97692653465 1.11
P 30.97376199842 1.07
S 31.9720711744 1.05
Cl 34.968852682 1.02
Ar 39.9623831237 1.06
K 38.9637064864 2.03
Ca 39.962590863 1.76
Sc 44.95590828 1.70
Ti 47.94794198 1.60
V 50.94395704 1.53
Cr 51.94050623 1.39
Mn 54.93804391 1.39
Fe 55.93493633 1.32
Co 58.93319429 1.26
Ni 57.93534241 1.24
Cu 62.92959772 1.32
Zn 63.92914201 1.22
Ga 68.9255735 1.22
Ge 73.921177761 1.20
As 74.92159457 1.19
Se 79.9165218 1.20
Br 78.9183376 1.20
Kr 83.9114977282 1.16
Rb 84.9117897379 2.20
Sr 87.9056125 1.95
Y 88.9058403 1.90
Zr 89.9046977 1.75
Nb 92.9063730 1.64
Mo 97.90540482 1.54
Tc 97.9072124 1.47
Ru 101.9043441 1.46
Rh 102.9054980 1.42
Pd 105.9034804 1.39
Ag 106.9050916 1.45
Cd 113.90336509 1.44
In 114.903878776 1.42
Sn 119.90220163 1.39
Sb 120.9038120 1.39
Te 129.906222748 1.38
I 126.9044719 1.39
Xe 131.9041550856 1.40
Cs 132.9054519610 2.44
Ba 137.90524700 2.15
La 138.9063563 2.07
Ce 139.9054431 2.04
Pr 140.9076576 2.03
Nd 141.9077290 2.01
Pm 144.9127559 1.99
Sm 151.9197397 1.98
Eu 152.9212380 1.98
Gd 157.9241123 1.96
Tb 158.9253547 1.94
Dy 163.9291819 1.92
Ho 164.9303288 1.92
Er 165.9302995 1.89
Tm 168.9342179 1.90
Yb 173.9388664 1.87
Lu 174.9407752 1.87
Hf 179.9465570 1.75
Ta 180.9479958 1.70
W 183.95093092 1.62
Re 186.9557501 1.51
Os 191.9614770 1.44
Ir 192.9629216 1.41
Pt 194.9647917 1.36
Au 196.96656879 1.36
Hg 201.97064340 1.32
Tl 204.9744278 1.45
Pb 207.9766525 1.46
Bi 208.9803991 1.48
Po 208.9824308 1.40
At 209.9871479 1.50
Rn 222.0175782 1.50
Fr 223.0197360 2.60
Ra 226.0254103 2.21
Ac 227.0277523 2.15
Th 232.0380558 2.06
Pa 231.0358842 2.00
U 238.0507884 1.96
Np 237.0481736 1.90
Pu 244.0642053 1.87
Am 243.0613813 1.80
Cm 247.0703541 1.69
Bk 247.0703073 -
Cf 251.0795886 -
Es 252.082980 -
Fm 257.0951061 -
Md 258.0984315 -
No 259.10103 -
Lr 266.11983 -
"""


@dataclass(frozen=True)
class _Element:
    number: int
    symbol: str
    mass: float
    radius: float | None


def atomic_number(symbol: str) -> int:
    """Look up the atomic number of an element.

    Args:
        symbol: Element symbol, upper or lower case.

    Returns:
        The number of protons.

    Raises:
        MoleculeError: No element has that symbol.
    """
    return _element(symbol).number


def symbol(number: int) -> str:
    """Look up the symbol of the element with an atomic number.

    Args:
        number: Number of protons.

    Returns:
        The symbol, its first letter a capital.

    Raises:
        MoleculeError: The table has no element with that number.
    """
    if number not in _SYMBOLS:
        raise MoleculeError(
            f"No element has the atomic number {number}. The table holds 1 (H) to {len(_SYMBOLS)} (Lr): "
            "remove ghost and dummy atoms, and check the order of the columns."
        )
    return _SYMBOLS[number]


def isotope_mass(symbol: str) -> float:
    """Look up the mass of the most abundant isotope of an element.

    Args:
        symbol: Element symbol, upper or lower case.

    Returns:
        Mass [u]; that of the longest-lived isotope where none is stable.

    Raises:
        MoleculeError: No element has that symbol.
    """
    return _element(symbol).mass


def covalent_radius(symbol: str) -> float:
    """Look up the covalent radius of an element.

    Args:
        symbol: Element symbol, upper or lower case.

    Returns:
        Radius [A].

    Raises:
        MoleculeError: No element has that symbol, or none of its bonds has been measured.

    References:
        Cordero et al. (2008), Dalton Trans. 2832, doi:10.1039/b801115j.
    """
    element = _element(symbol)
    if element.radius is None:
        raise MoleculeError(
            f"The covalent radius of {element.symbol} is not known: the table ends at curium. "
            "State the bonds instead of having them found from distances."
        )
    return element.radius


def _element(symbol: str) -> _Element:
    element = _ELEMENTS.get(symbol.strip().capitalize())
    if element is None:
        raise MoleculeError(
            f"No element has the symbol {symbol!r}. The table holds H to Lr: remove ghost and dummy atoms, and give "
            "element symbols instead of atom types."
        )
    return element


def _parse_table() -> dict[str, _Element]:
    elements = {}
    for number, row in enumerate(_TABLE.split("\n")[1:-1], start=1):
        name, mass, radius = row.split()
        elements[name] = _Element(number, name, float(mass), None if radius == "-" else float(radius))
    return elements


_ELEMENTS = _parse_table()
_SYMBOLS = {element.number: name for name, element in _ELEMENTS.items()}
