"""MacroModel print-outs (.mmo): every energy term of a force field, one structure after the other.

A structure is a list of tables - stretches, bends with stretch-bends, bend-bends, torsions, impropers, couplings of
torsions, nonbonded pairs - followed by the totals and by a table of atoms with types, charges, coordinates and bonds.
Rows of some tables end with their line in the force-field file, the "FF Line". Numbers are kept in the units of the
print-out (kJ/mol, angstrom, degrees; force constants in those of the force-field file) and as they are printed; only
atoms are counted from 0.

Torsions and torsion-stretches whose constants are all 0, and pairs without any energy, are not printed. Charges have
three decimals, coordinates four: whoever compares energies has to allow for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from fieldfit.errors import FileFormatError
from fieldfit.forcefield.readers.reader import parse_numbers, read_text
from fieldfit.typing import FilePath

_START = "BOND LENGTHS AND STRETCH ENERGIES"
_ATOM = re.compile(
    r"^ (?P<type>\S{1,2}) +\( *(?P<number>\d+)\) +(?P<numbers>\S+ +\S+ +\S+ +\S+ +\S+) +\S+ +\d+\S?"
    r"(?P<attached>( +\d+[-=%*]?)*) *$"
)
_ATTACHED = re.compile(r"(\d+)([-=%*]?)")
_TOTAL = re.compile(r"^ {0,2}(?P<name>[A-Z][\w -]*): +(?P<energy>-?\d+\.\d+) kJ/mol")
_SETTING = re.compile(r"^ (?P<name>M[\w ]+?) *= +(?P<value>\d+\.\d+)")
_NAME = re.compile(r"Input Structure Name: *\*\n \* *(?P<name>.*?) *\*\n")
_PAGE = "1"
"""A line with the mark of a new page, which ends the tables."""


@dataclass(frozen=True)
class PrintedAtom:
    """An atom.

    Args:
        type: Its type.
        charge: Its charge [e], three decimals.
        position: Its coordinates [A], four decimals.
        attached: Its neighbours with the symbols of the bonds: "-", "=", "%", or "" for a bond of order zero.
    """

    type: str
    charge: float
    position: tuple[float, float, float]
    attached: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class PrintedStretch:
    """A stretch of bond `atoms`: force constant [mdyn/A], lengths [A], energy, line of its row."""

    atoms: tuple[int, ...]
    k: float
    r0: float
    length: float
    energy: float
    line: int


@dataclass(frozen=True)
class PrintedBend:
    """A bend of angle `atoms`, and its stretch-bend: force constants, angles [deg], energies, line of the bend."""

    atoms: tuple[int, ...]
    k: float
    stretch_bend_k: float
    theta0: float
    angle: float
    energy: float
    stretch_bend_energy: float
    line: int


@dataclass(frozen=True)
class PrintedBendBend:
    """A coupling of two angles: the central atom, the outer two of the first angle, those of the second one."""

    atoms: tuple[int, ...]
    k: float
    theta0_1: float
    angle_1: float
    theta0_2: float
    angle_2: float
    energy: float


@dataclass(frozen=True)
class PrintedTorsion:
    """A proper or improper torsion: V1, V2, V3, the dihedral angle [deg], its energy, the line of its row."""

    atoms: tuple[int, ...]
    v1: float
    v2: float
    v3: float
    angle: float
    energy: float
    line: int


@dataclass(frozen=True)
class PrintedCrossTerm:
    """A coupling of a torsion: constants of torsion-stretch, torsion-bend, torsion-torsion, dihedral angle, energy."""

    atoms: tuple[int, ...]
    k: float
    torsion_bend_k: float
    torsion_torsion_k: float
    angle: float
    energy: float


@dataclass(frozen=True)
class PrintedPair:
    """A nonbonded pair.

    Args:
        atoms: The pair.
        minimum: Sum of the two radii [A].
        depth: Depth of the van der Waals energy [kcal/mol], times its taper.
        charge_product: Product of the charges [e^2].
        distance: Distance of the sites of the forces [A], which is not that of the nuclei for hydrogens.
        vdw_energy: Van der Waals energy.
        charge_energy: Electrostatic energy.
    """

    atoms: tuple[int, ...]
    minimum: float
    depth: float
    charge_product: float
    distance: float
    vdw_energy: float
    charge_energy: float


@dataclass(frozen=True, eq=False)
class PrintOut:
    """The print-out of one structure.

    Args:
        name: Name of the structure.
        atoms: Its atoms.
        stretches: Stretches.
        bends: Bends with their stretch-bends.
        bend_bends: Couplings of two angles.
        torsions: Proper torsions.
        impropers: Improper torsions.
        torsion_stretches: Couplings of a torsion with the bond that it turns about.
        pairs: Nonbonded pairs.
        totals: Sums by name as printed, "Total energy", "Stretch", "Van der Waals" ... [kJ/mol].
        settings: Numbers by name as printed: "Molecular dielectric constant", "Maximum van der Waals distance" ...
    """

    name: str
    atoms: tuple[PrintedAtom, ...]
    stretches: tuple[PrintedStretch, ...]
    bends: tuple[PrintedBend, ...]
    bend_bends: tuple[PrintedBendBend, ...]
    torsions: tuple[PrintedTorsion, ...]
    impropers: tuple[PrintedTorsion, ...]
    torsion_stretches: tuple[PrintedCrossTerm, ...]
    pairs: tuple[PrintedPair, ...]
    totals: Mapping[str, float]
    settings: Mapping[str, float]

    def __repr__(self) -> str:
        return f"PrintOut({self.name}: {len(self.atoms)} atoms, {self.totals['Total energy']} kJ/mol)"

    @property
    def types(self) -> tuple[str, ...]:
        """Atom types."""
        return tuple(atom.type for atom in self.atoms)

    @property
    def coordinates(self) -> Float[np.ndarray, "atoms 3"]:
        """Cartesian coordinates [A], shape (atoms, 3)."""
        return np.array([atom.position for atom in self.atoms])

    @property
    def bonds(self) -> tuple[tuple[int, int], ...]:
        """Pairs of bonded atoms, whatever the order of the bond, the smaller index first, sorted."""
        return tuple(sorted((i, j) for i, atom in enumerate(self.atoms) for j, _ in atom.attached if i < j))


def read_mmo(path: FilePath) -> tuple[PrintOut, ...]:
    """Read a print-out that lists every energy term.

    Args:
        path: Where the file is.

    Returns:
        The structures in order.

    Raises:
        FileFormatError: The file is missing or truncated, lists no energy terms, or contradicts itself.
    """
    text = read_text(path)
    starts = [match.start() for match in re.finditer(_START, text)]
    if not starts:
        raise FileFormatError(
            f"{path}: no energy terms are listed. Ask MacroModel for a complete listing (command ELST)."
        )
    blocks = [text[start:stop] for start, stop in zip(starts, [*starts[1:], len(text)], strict=True)]
    return tuple(_read_structure(block, f"{path}: structure {number}") for number, block in enumerate(blocks, 1))


@dataclass(frozen=True)
class _Table:
    """A table: its heading, atoms and numbers per row, whether rows name a line, and whether all of them are listed."""

    field: str
    heading: str
    n_atoms: int
    n_numbers: int
    row: Callable[..., Any]
    has_line: bool = False
    is_complete: bool = True


_TABLES = (
    _Table("stretches", "Stretch interactions present", 2, 4, PrintedStretch, has_line=True),
    _Table("bends", "Bend interactions present", 3, 6, PrintedBend, has_line=True),
    _Table("bend_bends", "Bend-bend interactions present", 5, 6, PrintedBendBend),
    _Table("torsions", "Proper Torsion interactions present", 4, 5, PrintedTorsion, has_line=True),
    _Table("impropers", "Improper torsion interactions present", 4, 5, PrintedTorsion, has_line=True),
    _Table("torsion_stretches", "Torsion interactions present", 4, 5, PrintedCrossTerm, is_complete=False),
    _Table("pairs", "Nonbonded interactions present", 2, 6, PrintedPair),
)


def _read_structure(text: str, what: str) -> PrintOut:
    tables, _, rest = text.partition(f"\n{_PAGE}\n")
    named = _NAME.search(rest)
    atoms = tuple(_read_atoms(rest, what))
    totals = {match["name"]: float(match["energy"]) for match in map(_TOTAL.match, rest.split("\n")) if match}
    if named is None or not atoms or "Total energy" not in totals:
        raise FileFormatError(
            f"{what} has no name, totals or table of atoms. The file is truncated: run the calculation again."
        )
    print_out = PrintOut(
        name=named["name"],
        atoms=atoms,
        totals=totals,
        settings={match["name"]: float(match["value"]) for match in map(_SETTING.match, rest.split("\n")) if match},
        **{table.field: tuple(_read_table(table, tables, len(atoms), what)) for table in _TABLES},
    )
    _check_bonds(print_out, what)
    return print_out


def _read_table(table: _Table, text: str, n_atoms: int, what: str) -> Iterator[Any]:
    found = re.search(rf"(\d+) {table.heading}", text)
    if found is None:
        return
    body = re.split(r"\d+ [\w -]+ interactions present", text[found.end() :], maxsplit=1)[0]
    lines = [line for line in body.split("\n") if re.match(r" +\d+ +\d", line)]
    if table.is_complete and len(lines) != int(found[1]):
        raise FileFormatError(
            f"{what}: {found[1]} {table.heading}, but {len(lines)} are listed. The file is damaged or cut short."
        )
    for line in lines:
        yield _read_row(table, line, n_atoms, what)


def _read_row(table: _Table, line: str, n_atoms: int, what: str) -> Any:
    words = line.split()
    first, last = words[: table.n_atoms], words[table.n_atoms : table.n_atoms + table.n_numbers]
    is_named = not table.has_line or (len(words) > table.n_atoms + table.n_numbers and words[-1].isdigit())
    if not all(word.isdigit() and 1 <= int(word) <= n_atoms for word in first) or not is_named:
        raise FileFormatError(
            f"{what}: a row of {table.field.replace('_', '-')} has atoms that do not exist or names no line of the "
            f"force field: {line.strip()!r}. The file is damaged."
        )
    if len(last) != table.n_numbers:
        raise FileFormatError(f"{what}: numbers are missing in {line.strip()!r}. The file is damaged.")
    numbers = parse_numbers(last, what=f"{what}, {table.field.replace('_', '-')}")
    line_number = (int(words[-1]),) if table.has_line else ()
    return table.row(tuple(int(word) - 1 for word in first), *map(float, numbers), *line_number)


def _read_atoms(text: str, what: str) -> Iterator[PrintedAtom]:
    for count, match in enumerate(filter(None, map(_ATOM.match, text.split("\n"))), 1):
        if int(match["number"]) != count:
            raise FileFormatError(f"{what}: atom {count} is missing. The file is damaged.")
        charge, _, *position = parse_numbers(match["numbers"].split(), what=f"{what}, atom {count}")
        attached = tuple((int(number) - 1, symbol) for number, symbol in _ATTACHED.findall(match["attached"]))
        x, y, z = map(float, position)
        yield PrintedAtom(match["type"], float(charge), (x, y, z), attached)


def _check_bonds(print_out: PrintOut, what: str) -> None:
    """Refuse a table of atoms whose bonds do not agree with each other and with the stretches."""
    both = {(i, j, symbol) for i, atom in enumerate(print_out.atoms) for j, symbol in atom.attached}
    one_sided = [(i, j) for i, j, symbol in sorted(both) if (j, i, symbol) not in both]
    stretches = sorted(_ordered(row.atoms) for row in print_out.stretches)
    if one_sided or stretches != list(print_out.bonds):
        odd = one_sided or sorted(set(stretches) ^ set(print_out.bonds))
        raise FileFormatError(
            f"{what}: the bond of atoms {odd[0][0] + 1} and {odd[0][1] + 1} is not listed both ways and as a stretch. "
            "The file is damaged."
        )


def _ordered(atoms: Sequence[int]) -> tuple[int, int]:
    return min(atoms), max(atoms)
