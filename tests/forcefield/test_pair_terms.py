"""Terms between atoms that are not neighbours, couplings of angles, impropers, and rows that are assigned by label."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import FileFormatError, ForceFieldError, InputError, MoleculeError
from fieldfit.forcefield import ForceField, Row, build_force_field, perceive, share_types
from fieldfit.forcefield.assignment import assign
from fieldfit.forcefield.engines import fixed_geometry, jax_programs
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.engines.openmm import OpenMMEngine
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.forcefield.topology import nonbonded_pairs
from molecules import bare_record, propyne

RADII = {"C": 1.9, "H": 1.4}
DEPTHS = {"C": 0.11, "H": 0.016}
CHARGES = {"C": -0.18, "H": 0.06}


def chain(carbons, name="chain"):
    """Return a zigzag of carbon atoms with one hydrogen on every carbon."""
    zigzag = [(1.25 * n, 0.8 * (n % 2), 0.1 * n) for n in range(carbons)]
    hydrogens = [(x, y + (1.09 if n % 2 else -1.09), z + 0.3) for n, (x, y, z) in enumerate(zigzag)]
    symbols = "C" * carbons + "H" * carbons
    return perceive(bare_record(name, symbols, [*zigzag, *hydrogens]), types=list(symbols))


def with_pairs(molecule, nonbonded, *, charges=True):
    field = build_force_field([molecule])
    rows = [Row("lennard_jones", (t,), {"radius": RADII[t], "epsilon": DEPTHS[t]}) for t in "CH"]
    rows += [Row("coulomb", (t,), {"charge": CHARGES[t]}) for t in "CH"] if charges else []
    return replace(field, rows=field.rows + tuple(rows), nonbonded=nonbonded)


def internal(field):
    return field.parameters.flat * field.internal_factors


def bonds_between(molecule, i, j):
    """Return the number of bonds between two atoms, by walking outwards."""
    reached, steps = {i}, 0
    while j not in reached:
        reached |= {b for a in reached for b in molecule.neighbours[a]}
        steps += 1
    return steps


def test_pairs_are_those_separated_by_three_bonds_or_more():
    molecule = chain(6)
    pairs, is_14 = nonbonded_pairs(molecule.n_atoms, molecule.bonds)
    separations = {(i, j): bonds_between(molecule, i, j) for i, j in itertools.combinations(range(12), 2)}
    assert [tuple(pair) for pair in pairs.tolist()] == [pair for pair, bonds in separations.items() if bonds >= 3]
    assert is_14.tolist() == [separations[tuple(pair)] == 3 for pair in pairs.tolist()]


def test_atoms_of_two_fragments_are_pairs():
    pairs, is_14 = nonbonded_pairs(4, [(0, 1), (2, 3)])
    assert pairs.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert not is_14.any()


def test_pair_energies_are_the_sum_over_pairs_written_out():
    molecule = chain(5)
    nonbonded = Nonbonded(vdw_14=0.5, charge_14=1.0 / 1.2, dielectric=2.0)
    field = with_pairs(molecule, nonbonded)
    bare = ForceField("none", tuple(row for row in field.rows if row.kind not in ("vdw", "charge")), field.elements)
    x = molecule.record.coordinates
    found = JaxEngine().system(molecule, field).energy(x, internal(field))
    found -= JaxEngine().system(molecule, bare).energy(x, internal(bare))
    expected = 0.0
    for i, j in itertools.combinations(range(molecule.n_atoms), 2):
        bonds = bonds_between(molecule, i, j)
        if bonds < 3:
            continue
        a, b, r = molecule.types[i], molecule.types[j], np.linalg.norm(x[i] - x[j])
        attraction = ((RADII[a] + RADII[b]) / r) ** 6
        vdw = np.sqrt(DEPTHS[a] * DEPTHS[b]) * (attraction**2 - 2.0 * attraction)
        coulomb = 332.06371 / 2.0 * CHARGES[a] * CHARGES[b] / r
        expected += vdw * (0.5 if bonds == 3 else 1.0) + coulomb * (1.0 / 1.2 if bonds == 3 else 1.0)
    assert found == pytest.approx(expected, rel=1e-12)


def test_charges_of_the_molecule_act_where_the_force_field_has_none():
    molecule = chain(4)
    values = np.array([CHARGES[kind] for kind in molecule.types])
    fitted = with_pairs(molecule, Nonbonded(charge_14=0.5))
    given = with_pairs(molecule, Nonbonded(charge_14=0.5), charges=False)
    charged = replace(molecule, charges=values)
    x = molecule.record.coordinates
    expected = JaxEngine().system(molecule, fitted).local(x, internal(fitted))
    found = JaxEngine().system(charged, given).local(x, internal(given))
    assert found.energy == pytest.approx(expected.energy, rel=1e-13)
    assert_allclose(found.hessian, expected.hessian, atol=1e-9)
    both = JaxEngine().system(charged, fitted).energy(x, internal(fitted))
    assert both == pytest.approx(expected.energy, rel=1e-13)


def test_charges_act_from_shifted_sites_if_the_force_field_says_so():
    molecule = replace(chain(3), charges=np.array([0.1, -0.2, 0.3, 0.0, 0.15, -0.25]))
    field = build_force_field([molecule])
    rows = [
        Row("buckingham", (t,), {"radius": 1.9, "epsilon": 0.0}, {"offset": -0.077 if t == "H" else 0.0}) for t in "CH"
    ]
    bare = internal(field)
    field = replace(field, rows=field.rows + tuple(rows), nonbonded=Nonbonded(has_shifted_charges=True))
    x = molecule.record.coordinates
    found = JaxEngine().system(molecule, field).energy(x, internal(field))
    found -= JaxEngine().system(molecule, build_force_field([molecule])).energy(x, bare)
    sites = x.copy()
    for h, c in ((3, 0), (4, 1), (5, 2)):
        sites[h] = x[c] + 0.923 * (x[h] - x[c])
    pairs, _ = nonbonded_pairs(molecule.n_atoms, molecule.bonds)
    expected = sum(
        332.06371 * molecule.charges[i] * molecule.charges[j] / np.linalg.norm(sites[i] - sites[j]) for i, j in pairs
    )
    assert found == pytest.approx(expected, rel=1e-10)


def test_pairs_of_factor_zero_are_left_out():
    molecule = chain(4)
    field = with_pairs(molecule, Nonbonded(vdw_14=0.0, charge_14=0.0))
    counts = {terms.form: len(terms.atoms) for terms in assign(molecule, field)}
    pairs, is_14 = nonbonded_pairs(molecule.n_atoms, molecule.bonds)
    assert counts["lennard_jones"] == counts["coulomb"] == len(pairs) - is_14.sum()


def test_a_special_pair_takes_the_place_of_the_mixed_one():
    molecule = chain(4)
    field = with_pairs(molecule, Nonbonded())
    special = Row("lennard_jones_pair", ("C", "H"), {"distance": 3.1, "epsilon": 0.04})
    terms = {entry.form: entry for entry in assign(molecule, replace(field, rows=(*field.rows, special)))}
    mixed = {frozenset(molecule.types[a] for a in pair) for pair in terms["lennard_jones"].atoms.tolist()}
    assert mixed == {frozenset("C"), frozenset("H")}
    pairs, _ = nonbonded_pairs(molecule.n_atoms, molecule.bonds)
    assert len(terms["lennard_jones"].atoms) + len(terms["lennard_jones_pair"].atoms) == len(pairs)


def test_an_atom_without_van_der_waals_row_is_an_error():
    molecule = chain(4)
    field = with_pairs(molecule, Nonbonded())
    rows = tuple(row for row in field.rows if row.label != "vdw.H")
    with pytest.raises(ForceFieldError, match=r"atom H\(5\) has no vdw row"):
        assign(molecule, replace(field, rows=rows))


def test_rows_of_pairs_need_nonbonded_settings_of_one_form():
    row = Row("lennard_jones", ("C",), {"radius": 1.9, "epsilon": 0.1})
    other = Row("lennard_jones_geometric", ("H",), {"radius": 1.9, "epsilon": 0.1})
    with pytest.raises(ForceFieldError, match="valence-only"):
        ForceField("x", (row,), {"C": "C"})
    with pytest.raises(ForceFieldError, match="cannot be combined"):
        ForceField("x", (row, other), {"C": "C", "H": "H"}, Nonbonded())
    with pytest.raises(ForceFieldError, match="dielectric is 0"):
        Nonbonded(dielectric=0.0)


def test_every_pair_of_angles_at_an_atom_is_coupled_once():
    molecule = chain(3)
    field = build_force_field([molecule])
    angles = [row for row in field.rows if row.kind == "angle"]
    rows = [Row("mm3_bend_bend", row.types, {"k": 2.0 + n}) for n, row in enumerate(angles)]
    terms = {entry.form: entry for entry in assign(molecule, replace(field, rows=field.rows + tuple(rows)))}
    # The middle carbon has three neighbours: three angles, three pairs. The outer ones have one angle each.
    coupled = terms["mm3_bend_bend"]
    assert coupled.atoms[:, 1].tolist() == [1, 1, 1]
    assert len({frozenset([tuple(a[[0, 1, 2]]), tuple(a[[3, 1, 4]])]) for a in coupled.atoms}) == 3
    names = field.parameter_names + tuple(name for row in rows for name in row.parameter_names)
    assert all("theta0" in names[pointer] for pointer in coupled.pointers[:, 2:].ravel())


def test_impropers_by_types_have_their_centre_where_the_form_says():
    flat = [(0.0, 0.0, 0.0), (1.3, 0.0, 0.1), (-0.6, 1.0, 0.0), (-0.6, -1.0, 0.0)]
    molecule = perceive(bare_record("planar", "COHH", flat), types=["C", "O", "H", "H"])
    field = build_force_field([molecule])
    amber = Row("periodic_improper", ("H", "C", "H", "O"), {"k": 1.0}, {"periodicity": 2.0, "phase": 180.0})
    charmm = Row("harmonic_improper", ("C", "O", "H", "H"), {"k": 40.0, "phi0": 0.0})
    terms = {entry.form: entry for entry in assign(molecule, replace(field, rows=(*field.rows, amber, charmm)))}
    assert terms["periodic_improper"].atoms.tolist() == [[2, 0, 3, 1]]
    assert terms["harmonic_improper"].atoms.tolist() == [[0, 1, 2, 3]]


def test_rows_with_a_tag_act_only_where_a_molecule_names_them():
    molecule = chain(2)
    field = build_force_field([molecule])
    special = Row("harmonic_bond", ("C", "C"), {"k": 99.0, "r0": 1.4}, tag="812")
    field = replace(field, rows=(*field.rows, special))
    assert special.label == "bond.C-C#812"
    assert field.find("bond", ("C", "C")) == (field.row("bond.C-C"),)
    named = replace(molecule, assignments=(("bond.C-C#812", (1, 0)), ("bond.C-H", (0, 2))))
    terms = {entry.form: entry for entry in assign(named, field)}
    assert terms["harmonic_bond"].atoms.tolist() == [[1, 0], [0, 2]]
    assert [field.parameter_names[k] for k in terms["harmonic_bond"].pointers[0]] == list(special.parameter_names)
    assert "harmonic_angle" not in terms


def test_wrong_assignments_are_errors():
    molecule = chain(2)
    field = build_force_field([molecule])
    with pytest.raises(ForceFieldError, match=r"bond\.C-X"):
        assign(replace(molecule, assignments=(("bond.C-X", (0, 1)),)), field)
    with pytest.raises(ForceFieldError, match="acts on 2 different ones of the atoms 0 to 3"):
        assign(replace(molecule, assignments=(("bond.C-C", (0, 1, 2)),)), field)
    with pytest.raises(ForceFieldError, match="acts on 2 different ones of the atoms 0 to 3"):
        assign(replace(molecule, assignments=(("bond.C-C", (0, 4)),)), field)


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        ([("bond.C-C", (1, 1))], "acts on 2 different ones"),
        ([("bond.C-C", (0, 1)), ("bond.C-C", (1, 0))], "two assignments of bond.C-C"),
        ([("vdw.C", (0,)), ("vdw.H", (0,))], "two assignments of vdw"),
    ],
)
def test_assignments_that_cannot_be_meant_are_errors(assignments, words):
    molecule = chain(2)
    field = with_pairs(molecule, Nonbonded())
    with pytest.raises(ForceFieldError, match=words):
        assign(replace(molecule, assignments=tuple(assignments)), field)


def test_a_special_pair_acts_without_van_der_waals_rows():
    dimer = perceive(bare_record("argon", ["Ar", "Ar"], [(0.0, 0.0, 0.0), (0.0, 0.0, 4.3)]), bonds=[], fragments=2)
    row = Row("lennard_jones_pair", ("Ar", "Ar"), {"distance": 3.8, "epsilon": 0.24})
    field = ForceField("argon", (row,), {"Ar": "Ar"}, Nonbonded())
    attraction = (3.8 / 4.3) ** 6
    found = JaxEngine().system(dimer, field).energy(dimer.record.coordinates, internal(field))
    assert found == pytest.approx(0.24 * (attraction**2 - 2.0 * attraction), rel=1e-12)


def test_a_dimer_of_two_molecules_is_two_fragments():
    water = [(0.0, 0.0, 0.0), (0.96, 0.0, 0.0), (-0.24, 0.93, 0.0)]
    record = bare_record("dimer", "OHHOHH", [*water, *((x, y, z + 2.9) for x, y, z in water)])
    with pytest.raises(MoleculeError, match="say fragments=2"):
        perceive(record)
    assert len(perceive(record, fragments=2).bonds) == 4


def test_the_site_of_an_atom_without_neighbours_is_its_nucleus():
    pair = perceive(bare_record("pair", ["H", "O"], [(0.0, 0.0, 0.0), (0.0, 0.0, 2.0)]), bonds=[], fragments=2)
    rows = [Row("buckingham", (t,), {"radius": 1.6, "epsilon": 0.05}, {"offset": -0.077}) for t in "HO"]
    field = ForceField("pair", tuple(rows), {"H": "H", "O": "O"}, Nonbonded())
    expected = 0.05 * (1.84e5 * np.exp(-12.0 * 2.0 / 3.2) - 2.25 * 1.6**6)
    found = JaxEngine().system(pair, field).energy(pair.record.coordinates, internal(field))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("engine", [JaxEngine(), OpenMMEngine()])
def test_coordinates_and_parameters_of_other_sizes_are_refused(engine):
    molecule = chain(2)
    field = with_pairs(molecule, Nonbonded())
    system, p, x = engine.system(molecule, field), internal(field), molecule.record.coordinates
    for coordinates, parameters in ((x[:-1], p), (np.zeros((5, 3)), p), (x, p[:-1]), (x, np.append(p, 1.0))):
        with pytest.raises(InputError, match="the system has 4 atoms and"):
            system.local(coordinates, parameters)


def test_a_molecule_checks_what_it_is_given():
    molecule = chain(2)
    for wrong, words in (
        ({"charges": np.zeros(3)}, "3 charges are given for 4 atoms"),
        ({"charges": np.array([0.0, np.nan, 0.0, 0.0])}, "not finite"),
        ({"types": ("C", "C")}, "2 types are given for 4 atoms"),
        ({"bonds": ((0, 5),)}, "joins atoms 0 and 5"),
    ):
        with pytest.raises(MoleculeError, match=words):
            replace(molecule, **wrong)


def test_large_molecules_give_the_same_eigenmatrix_without_the_dense_matrix(monkeypatch):
    molecule = chain(4)
    field = with_pairs(molecule, Nonbonded())
    p, x = internal(field), molecule.record.coordinates
    v = np.random.default_rng(0).normal(size=(x.size, 7))
    numbers = []
    for largest in (4_000_000, 0):
        monkeypatch.setattr(fixed_geometry, "LARGEST_DENSE", largest)
        geometry = FixedGeometry(JaxEngine().system(molecule, field), x)
        projector, terms = geometry.full_projector(v), geometry.term_vector(p)
        numbers.append((projector.elements(terms), projector.jacobian(terms)))
    for dense, sparse in zip(*numbers, strict=True):
        assert_allclose(sparse, dense, rtol=1e-12, atol=1e-10 * np.abs(dense).max())


def test_nonbonded_settings_and_tags_survive_a_file(tmp_path):
    field = with_pairs(chain(3), Nonbonded(vdw_14=0.5, charge_14=1.0 / 1.2, has_shifted_charges=True))
    tagged = Row("harmonic_bond", ("H", "C"), {"k": 1.0 / 3.0, "r0": 1.1}, tag="a b")
    field = replace(field, rows=(*field.rows, tagged))
    field.write(tmp_path / "field.toml")
    again = ForceField.read(tmp_path / "field.toml")
    assert again.rows == field.rows
    assert again.nonbonded == field.nonbonded
    text = (tmp_path / "field.toml").read_text().replace("vdw_14", "vdw_15")
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(FileFormatError, match="vdw_15"):
        ForceField.read(tmp_path / "wrong.toml")


def test_a_set_of_molecules_compiles_as_often_as_one_molecule():
    molecules = [chain(n, f"chain {n}") for n in (9, 10, 11, 12, 13, 14, 15)]
    field = with_pairs(molecules[0], Nonbonded(vdw_14=0.5))
    p = internal(field)
    systems = JaxEngine().systems(molecules, field)
    counts = []
    for molecule, system in zip(molecules, systems, strict=True):
        assert np.isfinite(system.local(molecule.record.coordinates, p).energy)
        counts.append(jax_programs.total_local.__wrapped__._cache_size())
    assert len(set(counts)) == 1


def test_a_molecule_has_the_same_energy_alone_and_in_a_set():
    molecules = [chain(n, f"chain {n}") for n in (3, 4, 12)]
    field = with_pairs(molecules[2], Nonbonded(vdw_14=0.5))
    p = internal(field)
    for molecule, system in zip(molecules, JaxEngine().systems(molecules, field), strict=True):
        x = molecule.record.coordinates
        alone, together = JaxEngine().system(molecule, field).local(x, p), system.local(x, p)
        assert together.energy == pytest.approx(alone.energy, rel=1e-13)
        assert_allclose(together.hessian, alone.hessian, atol=1e-9)
        assert_allclose(system.gradient(x, p), alone.gradient, atol=1e-10)


def test_an_isolated_ion_has_an_energy_and_no_derivatives():
    ion = replace(perceive(bare_record("ion", ["Na"], [(0.0, 0.0, 0.0)]), bonds=[]), charges=np.ones(1))
    field = ForceField("ion", (), {"Na": "Na"}, Nonbonded())
    system, x = JaxEngine().system(ion, field), np.zeros((1, 3))
    assert system.energy(x, np.zeros(0)) == 0.0
    geometry = FixedGeometry(system, x)
    assert np.array_equal(geometry.hessian(geometry.term_vector(np.zeros(0))), np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"vdw_14": -0.5}, "vdw_14 is -0.5"),
        ({"coulomb": -1.0}, "coulomb is -1.0"),
        ({"charge_14": float("nan")}, "charge_14 is nan"),
    ],
)
def test_wrong_nonbonded_settings_are_errors(settings, words):
    with pytest.raises(ForceFieldError, match=words):
        Nonbonded(**settings)


def test_a_negative_depth_is_an_error():
    with pytest.raises(ForceFieldError, match="not negative"):
        Row("lennard_jones", ("C",), {"radius": 1.9, "epsilon": -0.1})


def test_types_that_are_linear_here_and_bent_there_get_one_switched_torsion():
    straight = propyne()
    bent = replace(straight, name="bent", coordinates=straight.coordinates.copy())
    bent.coordinates[-1] += [0.0, 0.25, 0.0]
    molecules = share_types([perceive(straight), perceive(bent)])
    field = build_force_field(molecules, linear_torsions="switch")
    assert len({row.label for row in field.rows}) == len(field.rows)
    assert all(JaxEngine().systems(molecules, field))
