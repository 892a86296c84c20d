"""The rows that act in one structure of a MacroModel print-out, and on which atoms.

The print-out names the lines of stretches, bends, torsions and impropers; those of stretch-bends, torsion-stretches and
van der Waals terms are found by MacroModel's rules and compared with the constants that are printed.

Torsions whose constants are all 0 are not printed, so nothing tells which line they have. They matter only if their
constants are to be fitted: `active` names the substructures for which they are looked up. Of several torsion lines of
substructures that fit, the first one counts. A line of zeros leaves the general line in force, so a torsion that is
printed with a line from elsewhere keeps that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.formats.mm3_fld import FldFile, FldRow, Substructure
from fieldfit.forcefield.formats.mm3_matching import TypedGraph, directions, find_row, occurs, row_in_force
from fieldfit.forcefield.macromodel_rows import (
    OUT_OF_PLANE,
    TORSION_PHASES,
    row_of_line,
    rows_at_rest,
    torsion_constants,
)
from fieldfit.forcefield.macromodel_rules import parents, torsions_per_row, typed_graph
from fieldfit.forcefield.readers.macromodel_mmo import PrintOut
from fieldfit.forcefield.row import Row
from fieldfit.forcefield.topology import nonbonded_pairs

HALF_A_DIGIT = 0.50001
"""How far a number may be from its print-out, in units of the last printed digit."""

TORSION = "4"
"""Kind of lines with V1, V2 and V3."""


class Use(NamedTuple):
    """A row and the atoms that it acts on."""

    row: Row
    atoms: tuple[int, ...]


class Assembler:
    """Finds the rows of one structure.

    Args:
        print_out: The structure.
        fld: The force-field file that it was made with.
        active: Text in the titles of substructures whose torsions have rows even where all their constants are 0;
            None: there are rows for constants other than 0 only.
    """

    def __init__(self, print_out: PrintOut, fld: FldFile, active: str | None = None) -> None:
        self._print_out = print_out
        self._fld = fld
        self._active = active
        self._graph = typed_graph(print_out)
        self._occurring: dict[Substructure | None, bool] = {}

    def uses(self) -> Iterator[Use]:
        """Yield all rows with their atoms.

        Raises:
            ForceFieldError: The file is not the one behind the print-out.
        """
        yield from self._stretches()
        yield from self._bends()
        yield from self._torsions()
        yield from self._unprinted_torsions()
        yield from self._pairs()

    def _stretches(self) -> Iterator[Use]:
        for stretch in self._print_out.stretches:
            line = self._fld.row(stretch.line)
            self._check(stretch.atoms, line.values, {"k": stretch.k, "r0": stretch.r0}, decimals=4)
            yield Use(row_of_line("mm3_bond", line, self._fld), stretch.atoms)

    def _bends(self) -> Iterator[Use]:
        """Yield bends, stretch-bends and bend-bends."""
        for bend in self._print_out.bends:
            line = self._fld.row(bend.line)
            self._check(bend.atoms, line.values, {"k": bend.k, "theta0": bend.theta0})
            yield Use(row_of_line("mm3_angle", line, self._fld), bend.atoms)
            stretch_bend = find_row(self._fld, "3", bend.atoms, self._graph)
            self._check(bend.atoms, {} if stretch_bend is None else stretch_bend.values, {"k": bend.stretch_bend_k})
            if stretch_bend is not None and stretch_bend.values["k"]:
                yield Use(row_of_line("stretch_bend", stretch_bend, self._fld), bend.atoms)
            yield from self._bend_bends(line, bend.atoms)

    def _bend_bends(self, line: FldRow, atoms: tuple[int, ...]) -> Iterator[Use]:
        in_force = row_in_force(self._fld, line, "bend_bend", atoms, self._graph)
        if in_force is None or not in_force.values["bend_bend"]:
            return
        if in_force is line:
            yield Use(row_of_line("mm3_bend_bend", line, self._fld), atoms)
        else:
            yield from (Use(row, atoms) for row in rows_at_rest(in_force, self._fld))

    def _torsions(self) -> Iterator[Use]:
        """Yield torsions, improper torsions and torsion-stretches."""
        for torsion in self._print_out.torsions:
            line = self._fld.row(torsion.line)
            shared = torsions_per_row(line, torsion.atoms, self._graph)
            if line.kind == TORSION:
                each = {number: value / shared for number, value in line.values.items()}
                self._check(torsion.atoms, each, {"v1": torsion.v1, "v2": torsion.v2, "v3": torsion.v3})
            yield from self._torsion(line, torsion.atoms, shared)
        for improper in self._print_out.impropers:
            line = self._fld.row(improper.line)
            self._check(improper.atoms, line.values, {"k": improper.v2})
            yield Use(row_of_line("periodic_improper", line, self._fld, constants=OUT_OF_PLANE), improper.atoms)
        for cross_term in self._print_out.torsion_stretches:
            found = find_row(self._fld, "8", cross_term.atoms, self._graph)
            self._check(cross_term.atoms, {} if found is None else found.values, {"k": cross_term.k})
            if found is not None:
                yield Use(row_of_line("torsion_stretch", found, self._fld), cross_term.atoms)

    def _torsion(self, line: FldRow, atoms: tuple[int, ...], shared: int) -> Iterator[Use]:
        is_active = self._active is not None and belongs_to(line, self._active)
        for number in TORSION_PHASES:
            if line.values.get(number) or (is_active and number in line.values):
                constants = torsion_constants(number)
                yield Use(row_of_line("cosine_torsion", line, self._fld, constants=constants, shared=shared), atoms)

    def _unprinted_torsions(self) -> Iterator[Use]:
        if self._active is None:
            return
        lines = [row for row in self._fld.rows if row.kind == TORSION and self._has_atoms_of(row.substructure)]
        active = [line for line in lines if belongs_to(line, self._active)]
        printed = {_from_end_to_end(torsion.atoms) for torsion in self._print_out.torsions}
        for atoms in _all_torsions(self._graph):
            if _from_end_to_end(atoms) in printed or self._first_fit(active, atoms) is None:
                continue
            line = self._first_fit(lines, atoms)
            if line is not None and line in active:
                yield from self._torsion(line, atoms, torsions_per_row(line, atoms, self._graph))

    def _has_atoms_of(self, substructure: Substructure | None) -> bool:
        if substructure not in self._occurring:
            self._occurring[substructure] = substructure is not None and occurs(self._fld, substructure, self._graph)
        return self._occurring[substructure]

    def _first_fit(self, lines: list[FldRow], atoms: tuple[int, ...]) -> FldRow | None:
        return next((line for line in lines if directions(self._fld, line, atoms, self._graph)), None)

    def _pairs(self) -> Iterator[Use]:
        """Yield the van der Waals rows of atoms and of special pairs."""
        own_parents, bonds = parents(self._print_out), self._print_out.bonds
        for atom, (kind, *_) in enumerate(self._graph.types):
            line = find_row(self._fld, "vdw", (atom,), self._graph)
            if line is None:
                raise ForceFieldError(
                    f"{self._print_out.name}: atom {atom + 1} of type {kind} has no van der Waals row. Give the force "
                    "field of the print-out."
                )
            if line.values["offset"] and own_parents[atom] != min(self._graph.attached[atom], default=atom):
                raise ForceFieldError(
                    f"{self._print_out.name}: the parent of atom {atom + 1} ({kind}) is not the first of its "
                    "neighbours by number. Renumber the atoms."
                )
            constants = {"offset": line.values["offset"]}
            yield Use(row_of_line("buckingham", line, self._fld, constants=constants), (atom,))
        for i, j in nonbonded_pairs(len(self._print_out.atoms), bonds)[0].tolist():
            special = find_row(self._fld, "6", (i, j), self._graph)
            if special is not None:
                yield Use(row_of_line("buckingham_pair", special, self._fld), (i, j))

    def _check(
        self, atoms: tuple[int, ...], found: Mapping[str, float], printed: Mapping[str, float], *, decimals: int = 3
    ) -> None:
        """Compare numbers of a row with those that the print-out has for some atoms."""
        for name, value in printed.items():
            if abs(found.get(name, 0.0) - value) > HALF_A_DIGIT * 10.0**-decimals:
                raise ForceFieldError(
                    f"{self._print_out.name}: {name} of the atoms {'-'.join(str(atom + 1) for atom in atoms)} is "
                    f"{value} in the print-out, but {found.get(name, 0.0)} in the force field. Give the force-field "
                    "file of the print-out; with_fld_values gives the force field other numbers."
                )


def belongs_to(line: FldRow, title: str) -> bool:
    """Tell whether a line belongs to a substructure whose title contains a text."""
    return line.substructure is not None and title in line.substructure.title


def _all_torsions(graph: TypedGraph) -> Iterator[tuple[int, int, int, int]]:
    """Yield four different atoms bonded in a row, each torsion once."""
    for j, around in enumerate(graph.attached):
        for k in around:
            if j < k:
                yield from ((i, j, k, m) for i in around if i != k for m in graph.attached[k] if m not in (i, j))


def _from_end_to_end(atoms: tuple[int, ...]) -> tuple[int, ...]:
    return min(atoms, atoms[::-1])
