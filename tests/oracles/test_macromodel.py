"""MacroModel's print-out of nine rhodium complexes, energy by energy, with the terms of the library.

The structures went into BatchMin 12.6 with four decimals, and so the coordinates it prints are exact. A term is
reproduced if it lies within half a unit of its last printed digit, a total within half a unit of its own; on top comes
what coordinates and energies of single precision can do at most, sum |dE/dx| |x| 2^-24 and |E| 2^-24, and nothing
more. (Without it six of the 25,651 terms are off by 0.0005 and up to four millionths more.) No term is left out.

Two things that MacroModel does are not part of the force field, but of the comparison: it tapers van der Waals energies
beyond 6 A, and it measures the five terms of each structure across the second bond of the hydrogen between rhodium and
carbon (one stretch, line 1866, and four bends, lines 1882 to 1884) from the site of this hydrogen instead of its
nucleus; see `macromodel_rules`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import pytest

from fieldfit.errors import FileFormatError, ForceFieldError, MoleculeError
from fieldfit.forcefield.assignment import Terms, assign
from fieldfit.forcefield.constants import KJ_PER_KCAL
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.formats.mm3_fld import read_fld
from fieldfit.forcefield.forms import FORMS
from fieldfit.forcefield.geometry import COORDINATES
from fieldfit.forcefield.macromodel import (
    fld_parameters,
    fld_values,
    force_field_from_print_outs,
    with_charges,
    with_fld_values,
    with_record,
    write_fld,
)
from fieldfit.forcefield.macromodel_rules import parents, sites, vdw_taper
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.readers.macromodel_mmo import read_mmo
from fieldfit.precision import in_double_precision

HALF_DIGIT = 0.5e-3
HALF_DIGIT_TOTAL = 0.5e-4
SINGLE_PRECISION = 2.0**-24


def from_end_to_end(atoms) -> tuple[int, ...]:
    return min(tuple(atoms), tuple(atoms)[::-1])


def two_angles(atoms) -> tuple:
    """Return a key of the two angles i-c-j and k-c-m of the atoms c, i, j, k, m."""
    c, i, j, k, m = atoms
    return tuple(sorted((from_end_to_end((i, c, j)), from_end_to_end((k, c, m)))))


class Category(NamedTuple):
    """Where the terms of a category are: table and field of the print-out, forms, keys, and their number in the set."""

    table: str
    field: str
    forms: tuple[str, ...]
    count: int
    printed_key: Callable = from_end_to_end
    term_key: Callable = from_end_to_end


CATEGORIES = {
    "Stretch": Category("stretches", "energy", ("mm3_bond",), 500),
    "Bend": Category("bends", "energy", ("mm3_angle",), 1050),
    "Stretch-bend": Category("bends", "stretch_bend_energy", ("stretch_bend",), 1050),
    "Bend-bend": Category(
        "bend_bends", "energy", ("mm3_bend_bend",), 983, two_angles, lambda atoms: two_angles(atoms[[1, 0, 2, 3, 4]])
    ),
    "Proper torsion": Category("torsions", "energy", ("cosine_torsion",), 1198),
    "Out-of-plane": Category("impropers", "energy", ("periodic_improper",), 50),
    "Torsion-stretch": Category("torsion_stretches", "energy", ("torsion_stretch",), 594),
    "Van der Waals": Category(
        "pairs", "vdw_energy", ("buckingham", "buckingham_pair"), 10113, term_key=lambda atoms: tuple(atoms[[0, 2]])
    ),
    "Electrostatic": Category(
        "pairs", "charge_energy", ("shifted_charges",), 10113, term_key=lambda atoms: tuple(atoms[[0, 2]])
    ),
}
"""Categories by the names of their totals in the print-out."""


@functools.cache
def evaluate(form_name: str):
    """Return a function of positions, parameters and constants of terms: energies [kcal/mol] and their gradients."""
    form = FORMS[form_name]

    def energy(x, p, s):
        q = [
            COORDINATES[entry.kind].value(x[np.array(entry.atoms)], *(s[k] for k in entry.constants))
            for entry in form.coordinates
        ]
        return form.energy(q, p, s)

    return in_double_precision(jax.jit(jax.vmap(jax.value_and_grad(energy))))


class Structure:
    """A structure of the print-out with the energies of its terms from the library."""

    def __init__(self, print_out, molecule, force_field):
        self.print_out, self.molecule = print_out, molecule
        values = [value for row in force_field.rows for value in row.values.values()]
        self.parameters = np.array(values) * force_field.internal_factors
        self.terms = {terms.form: terms for terms in assign(molecule, force_field)}
        vdw = {atoms: force_field.row(label) for label, atoms in molecule.assignments if label.startswith("vdw.")}
        self.offsets = np.array([vdw[atom,].constants["offset"] for atom in range(molecule.n_atoms)])
        self.x, self.sites = print_out.coordinates, sites(print_out, self.offsets)
        self.parents = parents(print_out)

    def crosses_second_bond(self, atoms) -> bool:
        """Tell whether a term lies across a bond of a hydrogen to another atom than its parent."""
        return any(
            self.offsets[i] and j != self.parents[i] for a, b in itertools.pairwise(atoms) for i, j in ((a, b), (b, a))
        )

    def positions(self, terms: Terms) -> np.ndarray:
        """Return the positions from which MacroModel measures terms [A], shape (terms, a, 3)."""
        x = self.x[terms.atoms]
        if terms.form in ("mm3_bond", "mm3_angle"):
            for number, atoms in enumerate(terms.atoms.tolist()):
                if self.crosses_second_bond(atoms):
                    shrunk = 1.0 + self.offsets[atoms].sum() if terms.form == "mm3_bond" else 1.0
                    x[number] = self.sites[atoms] / shrunk
        return x

    def energies(self, form: str):
        """Return atoms, energies [kJ/mol] and what single precision can do to them, of all terms of a form."""
        terms = self.terms.get(form, Terms.empty(form))
        x = self.positions(terms)
        energies, gradients = evaluate(form)(x, self.parameters[terms.pointers], terms.constants)
        slack = SINGLE_PRECISION * (np.abs(energies) + np.abs(gradients * x).sum((1, 2)))
        scale = np.full(len(x), KJ_PER_KCAL)
        if form.startswith("buckingham"):
            scale *= vdw_taper(np.linalg.norm(x[:, 0] - x[:, 2], axis=-1))
        return terms.atoms, energies * scale, slack * scale

    def category(self, name: str):
        """Return energies as printed and as found, with their slack, in the order of the print-out; and all others."""
        entry = CATEGORIES[name]
        found: dict = {}
        for form in entry.forms:
            for atoms, energy, slack in zip(*self.energies(form), strict=True):
                old = found.get(entry.term_key(atoms), (0.0, 0.0))
                found[entry.term_key(atoms)] = (old[0] + energy, old[1] + slack)
        rows = getattr(self.print_out, entry.table)
        own = np.array([found.pop(entry.printed_key(row.atoms), (0.0, 0.0)) for row in rows]).reshape(-1, 2)
        printed = np.array([getattr(row, entry.field) for row in rows])
        return printed, own[:, 0], own[:, 1], found


@pytest.fixture(scope="module")
def fld(shared_data):
    return read_fld(shared_data / "rh-enamide" / "mm3.fld")


@pytest.fixture(scope="module")
def print_outs(shared_data):
    return read_mmo(shared_data / "rh-enamide" / "rh_enamide_training_set" / "rh_enamide_training_set.mmo")


@pytest.fixture(scope="module")
def molecules_and_force_field(print_outs, fld):
    return force_field_from_print_outs(print_outs, fld)


@pytest.fixture(scope="module")
def structures(print_outs, molecules_and_force_field):
    molecules, force_field = molecules_and_force_field
    return [Structure(one, molecule, force_field) for one, molecule in zip(print_outs, molecules, strict=True)]


@pytest.mark.parametrize("name", CATEGORIES)
def test_every_printed_energy_and_total_is_reproduced(structures, name):
    count = 0
    for structure in structures:
        printed, found, slack, rest = structure.category(name)
        count += len(printed)
        assert np.all(np.abs(found - printed) <= HALF_DIGIT + slack)
        assert all(energy == 0.0 for energy, _ in rest.values())
        assert abs(found.sum() - structure.print_out.totals[name]) <= HALF_DIGIT_TOTAL + slack.sum()
    assert count == CATEGORIES[name].count


def test_five_terms_of_each_structure_cross_a_second_bond(structures, fld):
    for structure in structures:
        rows = (*structure.print_out.stretches, *structure.print_out.bends)
        lines = sorted(row.line for row in rows if structure.crosses_second_bond(row.atoms))
        assert lines == [1866, 1882, 1883, 1883, 1884]


def test_the_engine_adds_up_the_same_terms(structures, molecules_and_force_field):
    molecules, force_field = molecules_and_force_field
    systems = JaxEngine().systems(molecules[:2], force_field)
    for structure, system in zip(structures, systems, strict=False):
        total = 0.0
        for form, terms in structure.terms.items():
            energies, _ = evaluate(form)(
                structure.x[terms.atoms], structure.parameters[terms.pointers], terms.constants
            )
            total += energies.sum()
        assert system.energy(structure.x, structure.parameters) == pytest.approx(total, rel=1e-12)


def test_charges_are_those_that_are_printed(structures):
    for structure in structures:
        printed = [atom.charge for atom in structure.print_out.atoms]
        assert np.abs(structure.molecule.charges - printed).max() <= 0.5001e-3
        assert structure.molecule.record.charge == 1


def test_an_unchanged_force_field_is_written_byte_by_byte(molecules_and_force_field, fld, tmp_path):
    _, force_field = molecules_and_force_field
    assert fld_values(force_field, fld) == {}
    write_fld(tmp_path / "same.fld", force_field, fld)
    assert read_fld(tmp_path / "same.fld").text == fld.text


def test_changed_values_go_back_to_their_lines(molecules_and_force_field, fld, tmp_path):
    _, force_field = molecules_and_force_field
    changes = {
        "bond.2-3#1862.k": 71.94 * 1.75,
        "torsion.00-2-3-00#1150/4.2.k": 10.0 / 2 / 4,
        "vdw.H1#1044.radius": 1.65,
    }
    write_fld(tmp_path / "changed.fld", force_field.with_values(changes), fld)
    written = read_fld(tmp_path / "changed.fld")
    differing = [number for number, (a, b) in enumerate(zip(fld.lines, written.lines, strict=True), 1) if a != b]
    assert differing == [1044, 1150, 1862]
    assert written.row(1862).values["k"] == 1.75
    assert written.row(1150).values["v2"] == 10.0
    assert written.row(1044).values["radius"] == 1.65


def test_values_that_cannot_go_back_are_errors(molecules_and_force_field, fld, tmp_path):
    _, force_field = molecules_and_force_field
    with pytest.raises(ForceFieldError, match=r"198/rest.*Fix it at 0"):
        fld_values(force_field.with_values({"angle.C2-C2-C2#198/rest.k": 1.0}), fld)
    with pytest.raises(ForceFieldError, match=r"both stand for bend_bend of line 226.*Tie"):
        fld_values(force_field.with_values({"bend-bend.C2-C2-H1#226/rest.k": 1.0}), fld)
    with pytest.raises(FileFormatError, match=r"line 1862 .*does not fit"):
        write_fld(tmp_path / "x.fld", force_field.with_values({"bond.2-3#1862.k": 1e9}), fld)
    assert not (tmp_path / "x.fld").exists()


def test_another_force_field_file_is_refused(print_outs, shared_data, molecules_and_force_field):
    _, force_field = molecules_and_force_field
    other_values = read_fld(shared_data / "rh-enamide" / "rh_hyd_enamide_start.fld")
    with pytest.raises(ForceFieldError, match=r"k of the atoms 1-13 is 1.5293 in the print-out, but"):
        force_field_from_print_outs(print_outs[:1], other_values)
    other_lines = read_fld(shared_data / "rh-enamide" / "ff" / "rh_hyd_enamide_final.fld")
    with pytest.raises(ForceFieldError, match=r"is not line 1\d+"):
        fld_values(force_field, other_lines)


@pytest.fixture(scope="module")
def with_zero_torsions(print_outs, fld):
    return force_field_from_print_outs(print_outs[:2], fld, zero_torsions_of="OPT", linear_torsions="keep")


def test_rows_of_torsions_of_zeros_leave_all_others_as_they_are(print_outs, fld, with_zero_torsions):
    added = with_zero_torsions
    plain = force_field_from_print_outs(print_outs[:2], fld)
    rows = {row.label: row for row in plain[1].rows}
    new = [row for row in added[1].rows if row.label not in rows]
    assert len(new) == 33
    assert all(row.kind == "torsion" and row.values["k"] == 0.0 for row in new)
    assert [row for row in added[1].rows if row.label in rows] == list(plain[1].rows)
    for molecule, other in zip(added[0], plain[0], strict=True):
        assert set(other.assignments) < set(molecule.assignments)
        labels = {label for label, _ in set(molecule.assignments) - set(other.assignments)}
        assert labels <= {row.label for row in new}


def test_torsions_across_trans_ligands_of_rhodium_are_left_out(print_outs, fld, with_zero_torsions):
    _, force_field = force_field_from_print_outs(print_outs[:2], fld, zero_torsions_of="OPT")
    kept = {row.label for row in force_field.rows}
    # Lines 1890 to 1893 are those about the bonds of rhodium to its neighbours, three constants each.
    left_out = {row.label.partition("#")[2].partition("/")[0] for row in with_zero_torsions[1].rows} - {
        label.partition("#")[2].partition("/")[0] for label in kept
    }
    assert left_out == {"1890", "1891", "1892", "1893"}
    assert len(with_zero_torsions[1].rows) - len(kept) == 12


def test_every_point_of_the_parameters_can_be_written(with_zero_torsions, fld, tmp_path):
    _, force_field = with_zero_torsions
    random = np.random.default_rng(20)
    for active in ("OPT", None):
        space = fld_parameters(force_field, fld, active=active).space
        free = len(space.start)
        span = np.minimum(space.upper, space.start + 1.0) - np.maximum(space.lower, space.start - 1.0)
        moved = space.values(np.maximum(space.lower, space.start - 1.0) + span * random.random(free))
        fitted = force_field.with_values(moved)
        write_fld(tmp_path / "fitted.fld", fitted, fld)
        again = with_fld_values(force_field, read_fld(tmp_path / "fitted.fld"), fld).parameters
        # Four decimals, times the largest factor from the file to a value, 143.9 for stretch-bends.
        deviations = [abs(again[name].value - value) for name, value in fitted.parameters.values.items()]
        assert max(deviations) <= 0.5e-4 * 144.0


@pytest.mark.parametrize(
    ("name", "k"),
    [
        ("rh_hyd_enamide_start.fld", 0.5),
        ("rh_hyd_enamide_seminario.fld", 1.3697),
        ("ff/rh_hyd_enamide_start.fld", 0.5),
        ("ff/rh_hyd_enamide_final.fld", 1.5293),
        ("ff/rh-hydrogenation-enamide-final.fld", 1.5293),
    ],
)
def test_published_values_go_onto_the_same_assignment(with_zero_torsions, shared_data, fld, name, k):
    _, force_field = with_zero_torsions
    other = with_fld_values(force_field, read_fld(shared_data / "rh-enamide" / name), fld)
    # k [mdyn/A] is that of the second of the two rows of Rh-P, read off the file by eye.
    assert other.row("bond.2-3#1862").values["k"] == pytest.approx(71.94 * k)
    assert set(fld_values(other, fld)) <= set(range(1860, 1910))
    assert (fld_values(other, fld) == {}) == (k == 1.5293)


def test_charges_of_a_version_without_moments_have_none_at_rhodium(
    print_outs, molecules_and_force_field, shared_data, fld
):
    molecules, _ = molecules_and_force_field
    same = with_charges(molecules, print_outs, fld, fld)
    assert all(np.array_equal(a.charges, b.charges) for a, b in zip(same, molecules, strict=True))
    seminario = read_fld(shared_data / "rh-enamide" / "rh_hyd_enamide_seminario.fld")
    for molecule in with_charges(molecules, print_outs, seminario, fld):
        charge = molecule.charges[molecule.types.index("RH")]
        assert charge == round(charge)
        assert molecule.charges.sum() == pytest.approx(1.0)


def test_results_with_hessians_fit_their_structures(molecules_and_force_field, shared_data):
    molecules, _ = molecules_and_force_field
    folder = shared_data / "rh-enamide" / "rh_enamide_training_set" / "jaguar_spe_freq_in_out"
    records = [read(path) for path in sorted(folder.glob("*.01.in"))[:2]]
    for molecule, record in zip(molecules[:2], records, strict=True):
        assert with_record(molecule, record).qm_hessian is record.hessian
    with pytest.raises(MoleculeError, match="38 atoms"):
        with_record(molecules[0], records[1])
