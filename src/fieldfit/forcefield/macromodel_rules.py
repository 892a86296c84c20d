"""What MacroModel does with an MM3* force field, found out from its print-outs.

MacroModel's own conventions, beyond the equations of MM3. Each was derived from the listing of nine rhodium complexes
(BatchMin 12.6), whose every energy they reproduce to the last printed digit.

**Sites of hydrogens.** The offset o of a van der Waals row is a fraction of the bond: the atom acts from s = x + o (x
- p), with p its parent, the first atom it is attached to; o = -0.077 for most hydrogens, so that s lies at 0.923 of the
bond. Van der Waals and electrostatic forces both act between these sites. Angles and torsions are measured from them
as well, which makes no difference as long as the hydrogen has one neighbour only; and the length of a bond of a
hydrogen is the distance of its site from the other atom, over 1 + o. That is the true length if the other atom is the
parent, and something else if not: for a hydrogen between two atoms, the terms across its second bond are not those of
its nucleus.

**Charges.** Every bond moves moment / (4.803 r0) of charge from one end to the other, rounded to five decimals, with
the moment [debye] and the length of its row; a positive moment makes the first atom of the row positive. Formal charges
come on top. They are not written in the force field but in the table of atom types, and follow from the printed
charges, which differ from the sum over bonds by integers.

**Cutoffs.** Van der Waals energies are multiplied by (64 - r^2) / 28 between 6 and 8 A, 1 below and 0 above, where r is
the distance of the nuclei (for a cutoff of 7 A). Electrostatic energies up to 10.4 A are not reduced (for one of 12 A).

**Rows.** A row of a torsion in a substructure with "00" at both ends states the barrier of the whole bond and is
divided by the number of torsions about it. Rows of the element-less type Z0 act on types that MacroModel's table gives
no element, such as RH. Bend-bend constants are products of the third numbers of two bend rows. Where a row in a
substructure has none, the general row stays in force for bend-bend, with its constant and its angle at rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.elements import atomic_number, symbol
from fieldfit.forcefield.formats.mm3_fld import FldFile, FldRow
from fieldfit.forcefield.formats.mm3_matching import ANY, TypedGraph, directions, row_in_force
from fieldfit.forcefield.readers.macromodel_mmo import PrintOut
from fieldfit.typing import Vector

ELEMENTLESS = {"RH": ("Z0",)}
"""Atom types without an element in MacroModel's table of types, with the types whose rows act on them as well."""

DEBYE_PER_CHARGE = 4.803
"""Dipole moment of two elementary charges 1 A apart [debye], as MacroModel has it."""

CHARGE_DECIMALS = 5
"""Decimals of the charge that a bond moves."""

PRINTED_CHARGE_ERROR = 0.002
"""How far a printed charge, of three decimals, may be from the sum over bonds and an integer [e]."""

TAPER_START, TAPER_END = 6.0, 8.0
"""Distances of nuclei between which van der Waals energies fade out [A]."""

BEND_BEND = 71.94
"""Energy of a bend-bend in units of the header's B-B factor."""

TORSION_STRETCH = -5.9975
"""Energy of a torsion-stretch in units of the header's T-S factor: MM3's 11.995 / 2, with its sign."""


SPECIAL_TYPES = {"CD": "C", "CP": "C", "CR": "C", "OM": "O", "OP": "O", "OQ": "O", "ST": "S", "NX": "N"}
"""Types of two capital letters of which only the first one is an element; others are metals: RH, PD."""


def element_of(kind: str) -> str:
    """Return the element of an atom type: "C3" is carbon, "Si" silicon, "OM" oxygen, "RH" rhodium.

    Raises:
        MoleculeError: There is no such element.
    """
    letters = kind.rstrip("0123456789")
    return symbol(atomic_number(SPECIAL_TYPES.get(letters, letters.capitalize())))


def typed_graph(print_out: PrintOut, elementless: Mapping[str, tuple[str, ...]] = ELEMENTLESS) -> TypedGraph:
    """Return the atoms of a structure with their types and bonds.

    Args:
        print_out: The structure.
        elementless: Types without an element, with the types whose rows act on them as well.
    """
    return TypedGraph(
        types=tuple((atom.type, *elementless.get(atom.type, ())) for atom in print_out.atoms),
        attached=tuple(dict(atom.attached) for atom in print_out.atoms),
    )


def partial_charges(print_out: PrintOut, fld: FldFile, graph: TypedGraph) -> Vector:
    """Return the charges of the atoms [e] with all their digits, shape (atoms,).

    Raises:
        ForceFieldError: The moment of a row fits neither or both directions of a bond, or the charges that follow are
            not those that are printed.
    """
    charges = bond_charges(print_out, fld, graph)
    return charges + formal_charges(print_out, charges)


def bond_charges(print_out: PrintOut, fld: FldFile, graph: TypedGraph) -> Vector:
    """Return the charges that bonds move to the atoms [e], shape (atoms,).

    Args:
        print_out: The structure.
        fld: The force field of the print-out, possibly with other numbers in its lines.
        graph: Its atoms with types and bonds.

    Raises:
        ForceFieldError: The moment of a row fits neither or both directions of a bond.
    """
    charges = np.zeros(len(print_out.atoms))
    for stretch in print_out.stretches:
        row = row_in_force(fld, fld.row(stretch.line), "moment", stretch.atoms, graph)
        if row is None or not row.values["moment"]:
            continue
        found = directions(fld, row, stretch.atoms, graph)
        if len(found) != 1:
            raise ForceFieldError(
                f"{print_out.name}: the bond moment of {row.name} fits the bond of atoms {stretch.atoms[0] + 1} and "
                f"{stretch.atoms[1] + 1} in {len(found)} directions. Give the force field of the print-out."
            )
        moved = round(row.values["moment"] / (DEBYE_PER_CHARGE * row.values["r0"]), CHARGE_DECIMALS)
        charges[list(found[0])] += moved, -moved
    return charges


def formal_charges(print_out: PrintOut, charges: Vector) -> Vector:
    """Return the formal charges of the atoms [e], whole numbers, shape (atoms,).

    Args:
        print_out: The structure.
        charges: Charges that bonds move in the force field of the print-out [e], shape (atoms,).

    Raises:
        ForceFieldError: The printed charges are not integers more.
    """
    excess = np.array([atom.charge for atom in print_out.atoms]) - charges
    worst = int(np.argmax(np.abs(excess - np.round(excess))))
    if abs(excess[worst] - round(excess[worst])) > PRINTED_CHARGE_ERROR:
        raise ForceFieldError(
            f"{print_out.name}: atom {worst + 1} has the charge {print_out.atoms[worst].charge} e, but its bonds give "
            f"{charges[worst]:.5f} e, which is not an integer less. Give the force field of the print-out."
        )
    return np.round(excess)


def parents(print_out: PrintOut) -> tuple[int, ...]:
    """Return the parent of each atom, on the bond to which its site lies; an atom without neighbours is its own."""
    return tuple((*(j for j, _ in atom.attached), number)[0] for number, atom in enumerate(print_out.atoms))


def sites(print_out: PrintOut, offsets: Vector) -> Float[np.ndarray, "atoms 3"]:
    """Return the positions from which atoms act [A], shape (atoms, 3).

    Args:
        print_out: The structure.
        offsets: Offsets of the van der Waals rows of the atoms, fractions of their bonds, shape (atoms,).
    """
    x = print_out.coordinates
    return x + offsets[:, None] * (x - x[list(parents(print_out))])


def vdw_taper(distances: Vector) -> Vector:
    """Return the factor of the van der Waals energies of pairs whose nuclei are some distances apart [A]."""
    return np.clip((TAPER_END**2 - distances**2) / (TAPER_END**2 - TAPER_START**2), 0.0, 1.0)


def torsions_per_row(row: FldRow, atoms: tuple[int, ...], graph: TypedGraph) -> int:
    """Return the number of torsions that share the constants of a row: 1 unless the row is for the whole bond."""
    is_shared = row.substructure is not None and row.atoms[0] == row.atoms[3] == ANY
    return (len(graph.attached[atoms[1]]) - 1) * (len(graph.attached[atoms[2]]) - 1) if is_shared else 1
