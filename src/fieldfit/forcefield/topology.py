"""Bonds, atom types and internal coordinates of a molecule from its geometry.

Bonds follow from covalent radii: two atoms are bonded if they are closer than `tolerance` times the sum of their
radii (Cordero et al. 2008, doi:10.1039/b801115j). Atom types are the classes of atoms that the molecular graph cannot
tell apart, found by colour refinement: start from the elements and split classes by their neighbours' classes until
nothing changes (Weisfeiler, Leman 1968). Atoms of one type share parameters.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.elements import covalent_radius
from fieldfit.forcefield.molecule import Molecule, QMRecord, check_bonds

BOND_TOLERANCE = 1.25
"""Largest distance of bonded atoms in units of the sum of covalent radii; transition states need more, about 1.45."""

LINEAR = 175.0
"""Reference angles above this [deg] are described by a linear bend."""

NEARLY_STRAIGHT = 150.0
"""Angle [deg] beyond which a torsion says little and its derivatives grow like 1 / sin; ligands of a square-planar or
octahedral metal are at about 90 or above 160 degrees."""

PLANAR = 350.0
"""A three-coordinate atom whose angles sum to more than this [deg] is planar."""


@dataclass(frozen=True)
class InternalCoordinates:
    """The internal coordinates of a molecule, as tuples of atoms counted from 0.

    Args:
        bonds: Bonded pairs.
        angles: Bent angles, the central atom in the middle.
        linear_angles: Angles within 5 degrees of 180, the central atom in the middle.
        torsions: Proper torsions i-j-k-l about every bond j-k.
        undefined_torsions: Torsions left out because a linear angle lies at one end of their bond.
        out_of_plane: Planar three-coordinate atoms: the central atom, then its neighbours.
    """

    bonds: tuple[tuple[int, int], ...]
    angles: tuple[tuple[int, int, int], ...]
    linear_angles: tuple[tuple[int, int, int], ...]
    torsions: tuple[tuple[int, int, int, int], ...]
    undefined_torsions: tuple[tuple[int, int, int, int], ...]
    out_of_plane: tuple[tuple[int, int, int, int], ...]


def perceive(
    record: QMRecord,
    *,
    bond_tolerance: float = BOND_TOLERANCE,
    bonds: Sequence[tuple[int, int]] | None = None,
    types: Sequence[str] | None = None,
    fragments: int = 1,
) -> Molecule:
    """Find the bonds and atom types of a QM result.

    Args:
        record: The QM result.
        bond_tolerance: Bonded atoms are closer than this times the sum of their covalent radii.
        bonds: The bonds as pairs of atoms counted from 0, instead of those found.
        types: The atom types, one per atom, instead of those found.
        fragments: Number of molecules that the atoms form: 2 for a dimer.

    Returns:
        The molecule.

    Raises:
        MoleculeError: The atoms form another number of fragments, two atoms coincide, or bonds or types do not fit.
    """
    found = find_bonds(record, bond_tolerance) if bonds is None else _checked_bonds(record, bonds)
    remedy = (
        f"with bond_tolerance = {bond_tolerance:g}. Raise bond_tolerance (about 1.45 for a transition state), "
        "or list the bonds."
        if bonds is None
        else "with the bonds that are listed. Add the missing ones."
    )
    _check_connected(record, found, fragments, remedy)
    if types is None:
        types = graph_types(record.symbols, found)
    elif len(types) != record.n_atoms:
        raise MoleculeError(
            f"{record.name}: {len(types)} atom types are given for {record.n_atoms} atoms. Give one type per atom."
        )
    return Molecule(record, found, tuple(types))


def share_types(molecules: Sequence[Molecule]) -> tuple[Molecule, ...]:
    """Type several molecules together, so that atoms in the same surroundings share parameters across molecules.

    Args:
        molecules: Molecules with their bonds; their types are found anew.

    Returns:
        The molecules with types by `graph_types` on all of them as one graph.
    """
    symbols = [symbol for molecule in molecules for symbol in molecule.record.symbols]
    offsets = np.cumsum([0, *(molecule.n_atoms for molecule in molecules)])
    bonds = [
        (i + int(offset), j + int(offset))
        for molecule, offset in zip(molecules, offsets[:-1], strict=True)
        for i, j in molecule.bonds
    ]
    types = graph_types(symbols, bonds)
    return tuple(
        Molecule(molecule.record, molecule.bonds, types[first:last])
        for molecule, first, last in zip(molecules, offsets[:-1], offsets[1:], strict=True)
    )


def find_bonds(record: QMRecord, tolerance: float) -> tuple[tuple[int, int], ...]:
    """Return the pairs of atoms closer than `tolerance` times the sum of their covalent radii.

    Raises:
        MoleculeError: Two atoms coincide.
    """
    radii = np.array([covalent_radius(symbol) for symbol in record.symbols])
    distances = np.linalg.norm(record.coordinates[:, None] - record.coordinates[None, :], axis=-1)
    pairs = list(itertools.combinations(range(record.n_atoms), 2))
    for i, j in pairs:
        if distances[i, j] < 0.3 * (radii[i] + radii[j]):
            raise MoleculeError(
                f"{record.name}: atoms {i + 1} and {j + 1} ({record.symbols[i]}, {record.symbols[j]}) are only "
                f"{distances[i, j]:.3f} A apart. Check the unit of the coordinates: .xyz files are in angstrom."
            )
    return tuple((i, j) for i, j in pairs if distances[i, j] < tolerance * (radii[i] + radii[j]))


def graph_types(symbols: Sequence[str], bonds: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Name the classes of atoms that the molecular graph cannot tell apart.

    An element with one class keeps its symbol; several classes are numbered from the best connected one: C1, C2, ...

    Args:
        symbols: Element symbols.
        bonds: Bonded pairs.

    Returns:
        One type per atom; the same classes get the same names however the atoms are ordered.
    """
    neighbours: list[list[int]] = [[] for _ in symbols]
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    signatures = [(symbol, -len(neighbours[atom])) for atom, symbol in enumerate(symbols)]
    colours = _ranks(signatures)
    while True:
        refined = _ranks([(colours[a], *sorted(colours[b] for b in neighbours[a])) for a in range(len(symbols))])
        if max(refined) == max(colours):
            break
        colours = refined
    return _name_classes(symbols, colours)


def internal_coordinates(molecule: Molecule) -> InternalCoordinates:
    """List the internal coordinates of a molecule at its QM geometry."""
    neighbours = molecule.neighbours
    triples = [(i, j, k) for j in range(molecule.n_atoms) for i, k in itertools.combinations(neighbours[j], 2)]
    linear = {triple for triple in triples if measure(molecule.record.coordinates, triple) > LINEAR}
    torsions, undefined = [], []
    for j, k in molecule.bonds:
        for i, m in itertools.product(neighbours[j], neighbours[k]):
            if i in (k, m) or m == j:
                continue
            ends = {(min(i, k), j, max(i, k)), (min(j, m), k, max(j, m))}
            (undefined if ends & linear else torsions).append((i, j, k, m))
    planar = [(c, around) for c, around in enumerate(neighbours) if is_planar(molecule, c)]
    return InternalCoordinates(
        bonds=molecule.bonds,
        angles=tuple(triple for triple in triples if triple not in linear),
        linear_angles=tuple(triple for triple in triples if triple in linear),
        torsions=tuple(torsions),
        undefined_torsions=tuple(undefined),
        out_of_plane=tuple((c, a, b, d) for c, (a, b, d) in planar),
    )


def is_planar(molecule: Molecule, atom: int) -> bool:
    """Tell whether an atom has three neighbours and lies in their plane."""
    around = molecule.neighbours[atom]
    if len(around) != 3:
        return False
    return (
        sum(measure(molecule.record.coordinates, (i, atom, k)) for i, k in itertools.combinations(around, 2)) > PLANAR
    )


def nonbonded_pairs(
    n_atoms: int, bonds: Sequence[tuple[int, int]]
) -> tuple[Int[np.ndarray, "pairs 2"], Bool[np.ndarray, " pairs"]]:
    """List the pairs of atoms that are separated by three bonds or more.

    Args:
        n_atoms: Number of atoms.
        bonds: Bonded pairs.

    Returns:
        Pairs of atoms, the smaller index first, sorted; and which of them are separated by exactly three bonds.
    """
    adjacency = np.eye(n_atoms, dtype=bool)
    for i, j in bonds:
        adjacency[i, j] = adjacency[j, i] = True
    within_two = adjacency @ adjacency
    within_three = within_two @ adjacency
    pairs = np.argwhere(np.triu(~within_two))
    return pairs, within_three[pairs[:, 0], pairs[:, 1]]


def measure(coordinates: Float[np.ndarray, "atoms 3"], atoms: Sequence[int]) -> float:
    """Return the distance of two atoms [A], or the angle of three or the dihedral of four [deg].

    Args:
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        atoms: Two, three or four atoms counted from 0.
    """
    points = coordinates[list(atoms)]
    if len(points) == 2:
        return float(np.linalg.norm(points[0] - points[1]))
    if len(points) == 3:
        u, v = points[0] - points[1], points[2] - points[1]
        return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(u, v)), u @ v)))
    F, G, H = points[0] - points[1], points[1] - points[2], points[3] - points[2]
    A, B = np.cross(F, G), np.cross(H, G)
    return float(np.degrees(np.arctan2(np.cross(B, A) @ G / np.linalg.norm(G), A @ B)))


def crosses_straight_angle(coordinates: Float[np.ndarray, "atoms 3"], torsion: Sequence[int]) -> bool:
    """Tell whether one of the two angles of a torsion is nearly straight, so that the torsion says little.

    Args:
        coordinates: Cartesian coordinates [A], shape (atoms, 3).
        torsion: Four atoms counted from 0.
    """
    return max(measure(coordinates, torsion[:3]), measure(coordinates, torsion[1:])) > NEARLY_STRAIGHT


def _ranks(signatures: Sequence[tuple]) -> list[int]:
    """Replace each signature by its rank among the distinct ones."""
    order = {signature: rank for rank, signature in enumerate(sorted(set(signatures)))}
    return [order[signature] for signature in signatures]


def _name_classes(symbols: Sequence[str], colours: Sequence[int]) -> tuple[str, ...]:
    classes: dict[str, list[int]] = {}
    for colour in sorted(set(colours)):
        classes.setdefault(symbols[colours.index(colour)], []).append(colour)
    names = {
        colour: symbol if len(members) == 1 else f"{symbol}{number}"
        for symbol, members in classes.items()
        for number, colour in enumerate(members, 1)
    }
    return tuple(names[colour] for colour in colours)


def _checked_bonds(record: QMRecord, bonds: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    check_bonds(record, bonds)
    return tuple(sorted({(min(pair), max(pair)) for pair in bonds}))


def _check_connected(record: QMRecord, bonds: Sequence[tuple[int, int]], wanted: int, remedy: str) -> None:
    group = list(range(record.n_atoms))
    for i, j in bonds:
        old, new = group[j], group[i]
        group = [new if entry == old else entry for entry in group]
    fragments = [[atom for atom in range(record.n_atoms) if group[atom] == label] for label in sorted(set(group))]
    if len(fragments) != wanted:
        listing = "; ".join(" ".join(f"{record.symbols[a]}{a + 1}" for a in fragment) for fragment in fragments)
        raise MoleculeError(
            f"{record.name} falls apart into {len(fragments)} fragments ({listing}) {remedy} If they are molecules of "
            f"their own, say fragments={len(fragments)}."
        )
