"""Keyword files for Tinker, read by OpenMM's reader of such files and by the Tinker manual."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tinker_cases import CASES, formamide, perturbed, tinker_case

from fieldfit.errors import EvaluationError, ForceFieldError
from fieldfit.forcefield.assignment import Terms, assign
from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.engines.tinker import TinkerEngine
from fieldfit.forcefield.engines.tinker_files import write_xyz
from fieldfit.forcefield.engines.tinker_key import COMPUTED, check_contacts, write_key
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.forcefield.row import Row
from fieldfit.forcefield.topology import internal_coordinates, perceive
from molecules import bare_record, internal_parameters


def keyword_file(molecule: Molecule, field: ForceField) -> str:
    return write_key(molecule, assign(molecule, field), field.nonbonded, internal_parameters(field))


def values_of(key: str, keyword: str) -> list[list[str]]:
    return [line.split()[1:] for line in key.splitlines() if line.split()[0] == keyword]


@pytest.mark.parametrize("name", ["mm3", "harmonic"])
def test_openmm_computes_the_same_from_the_files(name, tmp_path) -> None:
    # OpenMM's TinkerFiles is an independent reader of .xyz and .key, of the terms that AMOEBA has (8.6).
    app = pytest.importorskip("openmm.app")
    import openmm
    from openmm import unit

    molecule, field = tinker_case(name)
    (tmp_path / "molecule.xyz").write_text(write_xyz(molecule, molecule.record.coordinates))
    (tmp_path / "molecule.key").write_text(with_openmm_contacts(keyword_file(molecule, field)))
    made = app.TinkerFiles(str(tmp_path / "molecule.xyz"), [str(tmp_path / "molecule.key")])
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(made.createSystem(removeCMMotion=False), openmm.VerletIntegrator(0.001), reference)

    system, p = JaxEngine().system(molecule, field), internal_parameters(field)
    kcal = unit.kilocalorie_per_mole
    for x in perturbed(molecule, 3):
        context.setPositions(0.1 * x)
        state = context.getState(getEnergy=True, getForces=True)
        assert_allclose(state.getPotentialEnergy().value_in_unit(kcal), system.energy(x, p), rtol=1e-8)
        forces = np.asarray(state.getForces(asNumpy=True).value_in_unit(kcal / unit.angstrom))
        assert_allclose(-forces.ravel(), system.gradient(x, p), rtol=1e-7, atol=1e-6)


def with_openmm_contacts(key: str) -> str:
    """Return the file with van der Waals lines as OpenMM means them.

    It takes radii for halves of sigma whatever RADIUSTYPE says, and a reduction factor of 0 literally, where Tinker
    means no reduction, 1.
    """
    lines = []
    for line in key.splitlines():
        keyword, *fields = line.split()
        if keyword == "vdw":
            reduction = fields[3] if len(fields) > 3 else "1"
            line = f"vdw {fields[0]} {float(fields[1]) / 2.0 ** (1.0 / 6.0)!r} {fields[2]} {reduction}"
        lines.append(line)
    return "\n".join(lines)


@pytest.mark.parametrize("name", CASES)
def test_the_energy_by_the_manual_is_that_of_the_jax_engine(name) -> None:
    molecule, field = tinker_case(name)
    key, p = keyword_file(molecule, field), internal_parameters(field)
    system = JaxEngine().system(molecule, field)
    for x in perturbed(molecule, 3):
        # Twelve digits are written of every parameter.
        assert_allclose(energy_by_the_manual(key, x, molecule.bonds), system.energy(x, p), rtol=1e-9)


def test_the_cases_have_all_forms_that_the_engine_claims() -> None:
    assert {terms.form for name in CASES for terms in assign(*tinker_case(name))} == COMPUTED


def test_every_atom_is_a_type_of_its_own_with_its_element_mass_and_number_of_neighbours() -> None:
    molecule, field = tinker_case("mm3")
    rows = values_of(keyword_file(molecule, field), "atom")
    assert [row[:2] for row in rows] == [[str(number)] * 2 for number in range(1, 13)]
    assert [row[3] for row in rows[:5]] == ['"C"', '"C"', '"C"', '"O"', '"H"']
    assert [row[4] for row in rows[:5]] == ["6", "6", "6", "8", "1"]
    assert_allclose([float(row[5]) for row in rows], molecule.record.masses, rtol=1e-15)
    assert [row[6] for row in rows[:5]] == ["4", "4", "4", "2", "1"]


def test_interactions_without_a_term_have_lines_with_constants_of_zero() -> None:
    # Tinker stops where it finds no parameters for a bond, an angle or a torsion.
    molecule, field = tinker_case("mm3")
    valence = ForceField("nothing", (), field.elements)
    key = write_key(molecule, (), valence.nonbonded, np.zeros(0))
    found = internal_coordinates(molecule)
    counts = {"bond": len(found.bonds), "angle": len(found.angles), "torsion": len(found.torsions)}
    assert {keyword: len(values_of(key, keyword)) for keyword in counts} == counts
    assert energy_by_the_manual(key, molecule.record.coordinates, molecule.bonds) == 0.0


class TestRefused:
    """What Tinker would compute differently, or leave out, is an error."""

    @pytest.fixture
    def molecule(self) -> Molecule:
        return perceive(formamide())

    @pytest.fixture
    def base(self, molecule) -> ForceField:
        field = build_force_field([molecule], periodicities=[2])
        return replace(field, rows=tuple(row for row in field.rows if row.kind != "out-of-plane"))

    def test_a_form_that_tinker_does_not_have(self, molecule) -> None:
        with pytest.raises(ForceFieldError, match=r"tinker does not compute out_of_plane.*such as jax"):
            TinkerEngine().systems([molecule], build_force_field([molecule]))

    def test_two_anharmonicities_of_bonds(self, molecule, base) -> None:
        rows = list(base.rows)
        rows[0] = Row("mm3_bond", rows[0].types, rows[0].values)
        with pytest.raises(ForceFieldError, match="harmonic_bond and mm3_bond, but Tinker computes one"):
            keyword_file(molecule, replace(base, rows=tuple(rows)))

    def test_two_van_der_waals_energies(self, molecule) -> None:
        terms = [
            Terms.empty("buckingham"),
            _one("lennard_jones_pair", (2, 4), (1.0,)),
            _one("buckingham_pair", (2, 0, 5, 1)),
        ]
        with pytest.raises(ForceFieldError, match="lennard_jones_pair and buckingham_pair, but Tinker computes one"):
            write_key(molecule, terms, Nonbonded(), np.ones(2))

    def test_two_terms_on_one_bond(self, molecule) -> None:
        terms = [_one("harmonic_bond", (0, 1)), _one("harmonic_bond", (1, 0))]
        with pytest.raises(ForceFieldError, match=r"Two terms, harmonic_bond and harmonic_bond, act on the atoms 1-2"):
            write_key(molecule, terms, None, np.ones(2))

    @pytest.mark.parametrize(
        ("form", "atoms", "kind"), [("harmonic_bond", (1, 2), "bond"), ("cosine_torsion", (1, 0, 2, 3), "torsion")]
    )
    def test_a_term_on_atoms_that_are_not_bonded_that_way(self, molecule, form, atoms, kind) -> None:
        constants = (2.0, 0.0) if kind == "torsion" else ()
        with pytest.raises(ForceFieldError, match=f"are no {kind} of bonded atoms; Tinker would ignore it"):
            write_key(molecule, [_one(form, atoms, constants)], None, np.ones(2))

    @pytest.mark.parametrize("periodicities", [(7.0,), (0.0,), (1.5,), (2.0, 2.0)])
    def test_a_periodicity_that_is_not_one_to_six_or_occurs_twice(self, molecule, periodicities) -> None:
        terms = [_one("cosine_torsion", (2, 0, 1, 4), (number, 0.0)) for number in periodicities]
        with pytest.raises(ForceFieldError, match=f"has the periodicity {periodicities[0]:g}, but Tinker takes"):
            write_key(molecule, terms, None, np.ones(1))

    def test_an_improper_torsion_of_periodicity_four(self, molecule) -> None:
        with pytest.raises(ForceFieldError, match=r"periodic_improper .* periodicity 4"):
            write_key(molecule, [_one("periodic_improper", (1, 0, 2, 3), (4.0, 0.0))], None, np.ones(1))

    @pytest.mark.parametrize(
        ("form", "atoms"), [("periodic_improper", (0, 1, 2, 3)), ("harmonic_improper", (1, 0, 2, 3))]
    )
    def test_an_improper_torsion_with_its_centre_elsewhere(self, molecule, form, atoms) -> None:
        constants = (2.0, 0.0) if form == "periodic_improper" else ()
        with pytest.raises(ForceFieldError, match="with the three others as its bonded neighbours"):
            write_key(molecule, [_one(form, atoms, constants)], None, np.ones(2))

    def test_a_harmonic_improper_that_does_not_rest_at_zero(self, molecule) -> None:
        with pytest.raises(ForceFieldError, match=r"rests at 57.2958 degrees"):
            write_key(molecule, [_one("harmonic_improper", (0, 1, 2, 3))], None, np.ones(2))

    def test_a_torsion_stretch_beside_a_threefold_torsion_with_a_phase(self, molecule) -> None:
        terms = [_one("cosine_torsion", (2, 0, 1, 4), (3.0, 0.5)), _one("torsion_stretch", (2, 0, 1, 4))]
        with pytest.raises(ForceFieldError, match=r"3-1-2-5 has a threefold term with a phase"):
            write_key(molecule, terms, None, np.ones(2))

    def test_a_shifted_site_of_an_atom_with_several_bonds(self, molecule) -> None:
        with pytest.raises(
            ForceFieldError, match=r"along one of its 3 bonds, but Tinker shifts those of atoms with one"
        ):
            write_key(molecule, [_one("buckingham", (0, 1, 4, 1), (-0.08, 0.0, 1.0))], Nonbonded(), np.ones(4))

    def test_a_factor_of_pairs_above_one(self, molecule, base) -> None:
        rows = [Row("coulomb", (name,), {"charge": 0.1}) for name in base.elements]
        field = ForceField("large", (*base.rows, *rows), base.elements, Nonbonded(charge_14=1.2))
        with pytest.raises(ForceFieldError, match=r"charge_14 is 1.2, but Tinker takes the reciprocal"):
            keyword_file(molecule, field)

    def test_an_atom_with_nine_neighbours(self) -> None:
        points = [1.6 * np.array([np.cos(turn), np.sin(turn), 0.0]) for turn in 2.0 * np.pi * np.arange(9) / 9.0]
        record = bare_record("star", ["Rh", *["H"] * 9], [(0.0, 0.0, 0.0), *points])
        molecule = perceive(record, bonds=[(0, k) for k in range(1, 10)])
        with pytest.raises(ForceFieldError, match=r"atom 1 \(Rh\) has 9 bonded neighbours, but Tinker has room for 8"):
            write_key(molecule, (), None, np.zeros(0))

    def test_a_line_longer_than_tinker_reads(self, molecule) -> None:
        terms = [_one("cosine_torsion", (2, 0, 1, 4), (number, -1.23456789012345e-7)) for number in range(1, 7)]
        with pytest.raises(ForceFieldError, match=r"torsion parameters of the atoms 3-1-2-5 fill .* Tinker reads 240"):
            write_key(molecule, terms, None, np.full(1, -1.23456789012345e-7))

    def test_a_buckingham_pair_closer_than_half_its_distance(self) -> None:
        molecule, field = tinker_case("exponential")
        terms, p, x = assign(molecule, field), internal_parameters(field), molecule.record.coordinates.copy()
        check_contacts(terms, p, x)
        x[4] = x[2] + [1.4, 0.0, 0.0]
        with pytest.raises(EvaluationError, match=r"Atoms 3 and 5 are 1.400 A apart, less than half of 2.900 A"):
            check_contacts(terms, p, x)


def _one(form: str, atoms: tuple[int, ...], constants: tuple[float, ...] = ()) -> Terms:
    """Return one term whose parameters are the first ones, as many as it has."""
    none = Terms.empty(form)
    width = none.pointers.shape[1]
    s = np.array([constants or (0.0,) * none.constants.shape[1]])
    return Terms(form, np.array([atoms]), np.arange(width)[None] % 2, s)


def energy_by_the_manual(key: str, x: np.ndarray, bonds: tuple[tuple[int, int], ...]) -> float:
    """Return the energy [kcal/mol] that the Tinker User's Guide describes for a keyword file, in plain NumPy."""
    lines = [line.split() for line in key.splitlines()]
    settings = {fields[0]: fields[1] for fields in lines if len(fields) == 2}
    number = {name: float(value) for name, value in settings.items() if value[-1].isdigit()}
    tables: dict[str, dict[tuple[int, ...], list[float]]] = {}
    for keyword, *fields in lines:
        size = CLASSES.get(keyword, 0)
        atoms = tuple(int(field) - 1 for field in fields[:size])
        tables.setdefault(keyword, {})[atoms] = [float(field) for field in fields[size:]] if size else []
    total = sum(
        term(x[list(atoms)], values, number, tables, atoms)
        for keyword, term in VALENCE.items()
        for atoms, values in tables.get(keyword, {}).items()
    )
    return total + _pairs(x, bonds, settings, number, tables)


def _length(x: np.ndarray) -> float:
    return float(np.linalg.norm(x[0] - x[1]))


def _angle(x: np.ndarray) -> float:
    u, v = x[0] - x[1], x[2] - x[1]
    return float(np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))))


def _dihedral(x: np.ndarray) -> float:
    """Return the angle between the planes of atoms 1-2-3 and 2-3-4, IUPAC sign, in degrees."""
    b1, b2, b3 = np.diff(x, axis=0)
    t, u = np.cross(b1, b2), np.cross(b2, b3)
    return float(np.degrees(np.arctan2(b2 @ np.cross(t, u) / np.linalg.norm(b2), t @ u)))


def _waves(phi: float, values: list[float]) -> float:
    triples = np.reshape(values, (-1, 3))
    return sum(k * (1.0 + np.cos(np.radians(n * phi - phase))) for k, phase, n in triples)


def _bond(x, values, number, tables, atoms) -> float:
    k, r0 = values
    d = _length(x) - r0
    return k * d**2 * (1.0 + number["bond-cubic"] * d + number["bond-quartic"] * d**2)


def _bend(x, values, number, tables, atoms) -> float:
    k, theta0 = values
    d = _angle(x) - theta0
    powers = enumerate(("cubic", "quartic", "pentic", "sextic"), 1)
    polynomial = 1.0 + sum(number[f"angle-{name}"] * d**power for power, name in powers)
    return number["angleunit"] * k * d**2 * polynomial


def _fourier(x, values, number, tables, atoms) -> float:
    k, shift, n = values
    factor = 2.0 * number["angleunit"] * (np.degrees(1.0) / n) ** 2
    return factor * k * (1.0 + np.cos(np.radians(n * _angle(x) - shift)))


def _rest(tables, i: int, j: int) -> float:
    return tables["bond"][min((i, j), (j, i))][1]


def _stretch_bend(x, values, number, tables, atoms) -> float:
    i, j, k = atoms
    d1, d2 = _length(x[:2]) - _rest(tables, i, j), _length(x[1:]) - _rest(tables, j, k)
    return number["strbndunit"] * (values[0] * d1 + values[1] * d2) * (_angle(x) - tables["angle"][atoms][1])


def _stretch_torsion(x, values, number, tables, atoms) -> float:
    phases = [row[1] for row in sorted(np.reshape(tables["torsion"][atoms], (-1, 3)).tolist(), key=lambda row: row[2])]
    waves = [1.0 + np.cos(np.radians(n * _dihedral(x) - phases[n - 1])) for n in (1, 2, 3)]
    stretches = [_length(x[k : k + 2]) - _rest(tables, *atoms[k : k + 2]) for k in range(3)]
    return float(np.array(stretches) @ np.reshape(values, (3, 3)) @ np.array(waves))


VALENCE: dict[str, Callable[..., float]] = {
    "bond": _bond,
    "angle": _bend,
    "anglef": _fourier,
    "ureybrad": lambda x, values, *_: values[0] * (_length(x[::2]) - values[1]) ** 2,
    "strbnd": _stretch_bend,
    "torsion": lambda x, values, *_: _waves(_dihedral(x), values),
    "imptors": lambda x, values, *_: _waves(_dihedral(x), values),
    "improper": lambda x, values, *_: values[0] * np.radians(_dihedral(x) - values[1]) ** 2,
    "strtors": _stretch_torsion,
}
CLASSES = {"bond": 2, "angle": 3, "anglef": 3, "ureybrad": 3, "strbnd": 3, "torsion": 4, "imptors": 4}
CLASSES |= {"improper": 4, "strtors": 4, "vdw": 1, "vdwpr": 2, "charge": 1}


def _pairs(x, bonds, settings, number, tables) -> float:
    total = 0.0
    separation = _separations(len(x), bonds)
    for i, j in itertools.combinations(range(len(x)), 2):
        if separation[i, j] < 3:
            continue
        r, near = _length(x[[i, j]]), separation[i, j] == 3
        contact = _contact(i, j, settings, tables)
        if contact is not None:
            distance = np.linalg.norm(np.subtract(*(_reduced(x, atom, bonds, tables) for atom in (i, j))))
            total += (number["vdw-14-scale"] if near else 1.0) * _van_der_waals(distance, *contact, settings, number)
        charges = [tables.get("charge", {}).get((atom,)) for atom in (i, j)]
        if all(charges):
            factor = number["electric"] / number["dielectric"] * (number["chg-14-scale"] if near else 1.0)
            total += factor * charges[0][0] * charges[1][0] / r
    return total


def _reduced(x, atom: int, bonds, tables):
    """Return where the van der Waals forces of an atom act: on its bond, at the reduction factor of its length."""
    _, _, *reduction = tables["vdw"][(atom,)]
    if not reduction:
        return x[atom]
    (parent,) = [i + j - atom for i, j in bonds if atom in (i, j)]
    return x[parent] + reduction[0] * (x[atom] - x[parent])


def _contact(i: int, j: int, settings, tables) -> tuple[float, float] | None:
    for pair in ((i, j), (j, i)):
        if pair in tables.get("vdwpr", {}):
            return tuple(tables["vdwpr"][pair])
    first, second = (tables.get("vdw", {}).get((atom,)) for atom in (i, j))
    if first is None or second is None:
        return None
    rules = {"ARITHMETIC": first[0] + second[0], "GEOMETRIC": 2.0 * np.sqrt(first[0] * second[0])}
    return rules[settings["radiusrule"]], float(np.sqrt(first[1] * second[1]))


def _van_der_waals(r: float, rm: float, epsilon: float, settings, number) -> float:
    if settings["vdwtype"] == "LENNARD-JONES":
        return epsilon * ((rm / r) ** 12 - 2.0 * (rm / r) ** 6)
    a, b, c = (number[f"{letter}-expterm"] for letter in "abc")
    return epsilon * (a * np.exp(-b * r / rm) - c * (rm / r) ** 6)


def _separations(count: int, bonds) -> np.ndarray:
    """Return the numbers of bonds between atoms (Floyd-Warshall)."""
    steps = np.full((count, count), np.inf)
    np.fill_diagonal(steps, 0.0)
    for i, j in bonds:
        steps[i, j] = steps[j, i] = 1.0
    for k in range(count):
        steps = np.minimum(steps, steps[:, k, None] + steps[None, k])
    return steps
