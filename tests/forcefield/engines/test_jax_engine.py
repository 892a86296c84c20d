"""The JAX engine and the fixed geometry against automatic differentiation, differences and symmetry."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.engines import ENGINES, jax_programs
from fieldfit.forcefield.engines import jax as jax_module
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import JaxEngine, System
from fieldfit.forcefield.engines.jax_programs import internal_values, size_class
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.topology import measure, perceive
from molecules import bare_record, central_differences, internal_parameters, propyne


def formamide_twisted():
    """H2N-CHO with the amino group 20 degrees out of the plane: bends, torsions and a planar carbon off its plane."""
    turn = np.radians(20.0)
    hydrogens = [(1.86, y * np.cos(turn), z * np.sin(turn)) for y, z in ((0.87, 0.87), (-0.87, 0.52))]
    atoms = [(0.0, 0.0, 0.05), (1.36, 0.0, 0.0), (-0.62, 1.05, 0.0), (-0.58, -0.93, 0.0), *hydrogens]
    return bare_record("formamide", "CNOHHH", atoms)


@pytest.fixture(scope="module")
def molecule():
    return perceive(formamide_twisted())


@pytest.fixture(scope="module")
def field(molecule) -> ForceField:
    """MM3 with every kind of term, strained and with constants of both signs."""
    field = build_force_field([molecule], family="mm3", stretch_bend=["*"], periodicities=[2])
    rng = np.random.default_rng(0)
    values = {}
    for row in field.rows:
        for name, (column, value) in zip(row.parameter_names, row.values.items(), strict=True):
            strain = {"r0": 0.04, "theta0": 4.0}.get(column)
            size = {"bond": 300.0, "angle": 60.0, "torsion": 5.0, "out-of-plane": 9.0, "stretch-bend": 20.0}[row.kind]
            values[name] = value + strain * rng.uniform(-1, 1) if strain else size * rng.uniform(0.5, 1.5)
    assert {row.kind for row in field.rows} == {"bond", "angle", "torsion", "out-of-plane", "stretch-bend"}
    return field.with_values(values)


@pytest.fixture(scope="module")
def p(field) -> np.ndarray:
    return internal_parameters(field)


@pytest.fixture(scope="module")
def system(molecule, field) -> System:
    return ENGINES["jax"]().system(molecule, field)


@pytest.fixture(scope="module")
def x(molecule) -> np.ndarray:
    return molecule.record.coordinates


def test_the_energy_is_the_sum_over_terms_written_out(molecule, field, system, x, p) -> None:
    # Every formula in plain NumPy, on coordinates measured by an independent function, in degrees.
    values = {
        name: value for row in field.rows for name, value in zip(row.parameter_names, row.values.values(), strict=True)
    }
    types = molecule.types

    def bond(i, j, column):
        return values[f"bond.{'-'.join(min((types[i], types[j]), (types[j], types[i])))}.{column}"]

    def key(atoms):
        names = tuple(types[a] for a in atoms)
        return "-".join(min(names, names[::-1]))

    total = 0.0
    for i, j in molecule.bonds:
        d = measure(x, (i, j)) - bond(i, j, "r0")
        total += bond(i, j, "k") * d**2 * (1.0 - 2.55 * d + 7.0 / 12.0 * 2.55**2 * d**2)
    for j, around in enumerate(molecule.neighbours):
        for i, k in ((i, k) for n, i in enumerate(around) for k in around[n + 1 :]):
            name = key((i, j, k))
            D = measure(x, (i, j, k)) - values[f"angle.{name}.theta0"]
            sextic = 1.0 - 0.014 * D + 5.6e-5 * D**2 - 7e-7 * D**3 + 2.2e-8 * D**4
            total += values[f"angle.{name}.k"] * np.radians(D) ** 2 * sextic
            stretches = measure(x, (i, j)) - bond(i, j, "r0") + measure(x, (k, j)) - bond(k, j, "r0")
            total += values[f"stretch-bend.{name}.k"] * stretches * np.radians(D)
    for i, m in ((i, m) for i in (2, 3) for m in (4, 5)):
        phi = measure(x, (i, 0, 1, m))
        total += values[f"torsion.{key((i, 0, 1, m))}.2.k"] * (1.0 - np.cos(np.radians(2.0 * phi)))
    for centre, (i, j, k) in ((0, (1, 2, 3)), (1, (0, 4, 5))):
        name = f"out-of-plane.{types[centre]}-{'-'.join(sorted(types[a] for a in (i, j, k)))}.k"
        faces = [measure(x, (centre, *face)) for face in ((i, j, k), (j, k, i), (k, i, j))]
        total += values.get(name, 0.0) * np.mean(1.0 - np.cos(np.radians(2.0 * np.array(faces))))
    assert system.energy(x, p) == pytest.approx(total, rel=1e-12)


@pytest.fixture(scope="module")
def water():
    """A small system with every way in which coordinates enter: a bond, an angle, and a product of them."""
    molecule = perceive(bare_record("water", "OHH", [(0.0, 0.0, 0.0), (0.96, 0.0, 0.0), (-0.24, 0.93, 0.0)]))
    field = build_force_field([molecule], family="mm3", stretch_bend=["*"]).with_values({"stretch-bend.H-O-H.k": 9.0})
    return JaxEngine().system(molecule, field), 1.02 * molecule.record.coordinates, internal_parameters(field)


def test_gradient_and_hessian_are_those_of_automatic_differentiation(water) -> None:
    system, x, p = water
    with jax.enable_x64(True):
        padded, parameters = system._pad_atoms(x), system.pad_parameters(p)

        def energy(y):
            return jax_programs.total_energy.__wrapped__(system.groups, y.reshape(padded.shape), parameters)

        gradient = np.asarray(jax.grad(energy)(padded.ravel()))[: x.size]
        hessian = np.asarray(jax.jit(jax.hessian(energy))(padded.ravel()))[: x.size, : x.size]
    found = system.local(x, p)
    assert found.energy == pytest.approx(system.energy(x, p), rel=1e-13)
    assert_allclose(found.gradient, gradient, rtol=0.0, atol=1e-12 * np.abs(gradient).max())
    assert_allclose(found.hessian, hessian, rtol=0.0, atol=1e-12 * np.abs(hessian).max())


def test_gradient_and_hessian_are_those_of_central_differences(system, x, p) -> None:
    found = system.local(x, p)
    steps = np.full(x.size, 1e-3)
    gradient = central_differences(lambda y: system.energy(y.reshape(x.shape), p), x.ravel(), steps)
    hessian = central_differences(lambda y: system.local(y.reshape(x.shape), p).gradient, x.ravel(), steps)
    assert_allclose(found.gradient, gradient, rtol=0.0, atol=1e-8 * np.abs(gradient).max())
    assert_allclose(found.hessian, hessian, rtol=0.0, atol=1e-8 * np.abs(hessian).max())
    assert_allclose(found.hessian, found.hessian.T, rtol=0.0, atol=1e-12 * np.abs(hessian).max())


def test_third_derivatives_are_those_of_central_differences(system, x, p) -> None:
    v = np.random.default_rng(1).normal(size=(x.size, 3))

    def curvatures(y):
        return np.einsum("im,ij,jm->m", v, system.local(y.reshape(x.shape), p).hessian, v)

    expected = central_differences(curvatures, x.ravel(), np.full(x.size, 1e-3))
    assert_allclose(system.third_along(x, p, v), expected, rtol=0.0, atol=1e-7 * np.abs(expected).max())


def test_rigid_motions_cost_no_energy(system, x, p) -> None:
    found = system.local(x, p)
    translations = np.tile(np.eye(3), (len(x), 1))
    rotations = np.cross(np.eye(3)[:, None], x).reshape(3, -1).T
    assert_allclose(found.gradient @ np.hstack([translations, rotations]), 0.0, atol=1e-10)
    assert_allclose(found.hessian @ translations, 0.0, atol=1e-10)
    # H (w x r) = w x g: what a gradient leaves of a rotation in the Hessian.
    turned = np.cross(np.eye(3)[:, None], found.gradient.reshape(x.shape)).reshape(3, -1).T
    assert_allclose(found.hessian @ rotations, turned, atol=1e-9)


def test_a_fixed_geometry_gives_the_gradient_and_hessian_of_the_engine(system, x, p) -> None:
    geometry = FixedGeometry(system, x)
    for q in (p, 1.1 * p):
        terms, found = geometry.term_vector(q), system.local(x, q)
        assert_allclose(geometry.gradient(terms), found.gradient, rtol=0.0, atol=1e-12 * np.abs(found.gradient).max())
        assert_allclose(geometry.hessian(terms), found.hessian, rtol=0.0, atol=1e-12 * np.abs(found.hessian).max())


def test_projectors_give_the_hessian_along_directions(system, x, p) -> None:
    geometry = FixedGeometry(system, x)
    v = np.random.default_rng(2).normal(size=(x.size, 4))
    expected = v.T @ system.local(x, p).hessian @ v
    terms = geometry.term_vector(p)
    tolerance = 1e-12 * np.abs(expected).max()
    assert_allclose(geometry.diagonal_projector(v).elements(terms), np.diag(expected), atol=tolerance)
    assert_allclose(geometry.full_projector(v).elements(terms), expected[np.triu_indices(4)], atol=tolerance)


@pytest.mark.parametrize("quantity", ["gradient", "diagonal", "full"])
def test_parameter_derivatives_are_those_of_central_differences(field, system, x, p, quantity) -> None:
    geometry = FixedGeometry(system, x)
    v = np.random.default_rng(3).normal(size=(x.size, 4))
    diagonal, full = geometry.diagonal_projector(v), geometry.full_projector(v)
    value = {"gradient": geometry.gradient, "diagonal": diagonal.elements, "full": full.elements}[quantity]
    slope = {"gradient": geometry.gradient_jacobian, "diagonal": diagonal.jacobian, "full": full.jacobian}[quantity]
    steps = 1e-2 * np.array([column.scale * column.internal for row in field.rows for column in row.definition.columns])
    expected = central_differences(lambda q: value(geometry.term_vector(q)), p, steps)
    found = slope(geometry.term_vector(p))
    assert np.all(np.linalg.norm(found - expected, axis=0) <= 1e-6 * np.linalg.norm(expected, axis=0))
    assert np.all(np.linalg.norm(expected, axis=0) > 0.0)


def test_padding_changes_nothing(monkeypatch) -> None:
    molecule = perceive(bare_record("water", "OHH", [(0.0, 0.0, 0.0), (0.96, 0.0, 0.0), (-0.24, 0.93, 0.0)]))
    field = build_force_field([molecule])
    system, p = JaxEngine().system(molecule, field), internal_parameters(field)
    x = 1.02 * molecule.record.coordinates

    def numbers(one: System) -> list[np.ndarray]:
        terms = FixedGeometry(one, x).term_vector(p)
        found = [*one.local(x, p), one.third_along(x, p, np.eye(9)[:, :3]), terms.phi, terms.jacobian.toarray()]
        return [np.asarray(entry) for entry in found]

    expected = numbers(system)
    monkeypatch.setattr(jax_module, "size_class", lambda count: count + 3)
    # Sums over more zeros may be ordered differently.
    for wanted, found in zip(expected, numbers(System(3, system.terms, system.n_parameters)), strict=True):
        assert wanted.shape == found.shape
        assert_allclose(found, wanted, rtol=0.0, atol=1e-12 * np.abs(wanted).max())


@given(st.integers(1, 10_000))
def test_size_classes_are_few_and_waste_at_most_a_third(count) -> None:
    found = size_class(count)
    assert count <= found <= max(4, 1.5 * count)
    assert size_class(found) == found
    power = found & -found
    assert found // power in (1, 3)


@settings(max_examples=10)
@given(st.permutations(range(6)))
def test_the_order_of_the_atoms_does_not_matter(molecule, field, system, x, p, order) -> None:
    record = molecule.record
    order = np.array(order)
    moved = dataclasses.replace(
        record,
        symbols=tuple(record.symbols[old] for old in order),
        coordinates=x[order],
        masses=record.masses[order],
    )
    permuted = perceive(moved)
    assert permuted.types == tuple(molecule.types[old] for old in order)
    other = JaxEngine().system(permuted, field)
    expected, found = system.local(x, p), other.local(x[order], p)
    rows = (3 * order[:, None] + np.arange(3)).ravel()
    assert found.energy == pytest.approx(expected.energy, rel=1e-13)
    assert_allclose(found.gradient, expected.gradient[rows], rtol=0.0, atol=1e-11 * np.abs(expected.gradient).max())
    wanted = expected.hessian[np.ix_(rows, rows)]
    assert_allclose(found.hessian, wanted, rtol=0.0, atol=1e-11 * np.abs(wanted).max())


def test_molecules_of_one_size_class_share_one_program(molecule, field, system, x, p) -> None:
    def count() -> int:
        names = ("total_energy", "total_local", "total_third", "term_coordinates", "term_values", "term_slopes")
        functions = [getattr(jax_programs, name) for name in names]
        return sum(function.__wrapped__._cache_size() for function in functions)

    def run(other: System, at: np.ndarray) -> None:
        other.energy(at, p)
        other.local(at, p)
        other.third_along(at, p, np.eye(at.size)[:, :3])
        assert FixedGeometry(other, at).term_vector(p).jacobian.shape[1] == p.size

    run(system, x)
    before = count()
    # The same atoms in another order and at another place: another molecule with as many terms.
    order = np.array([1, 0, 3, 2, 5, 4])
    record = dataclasses.replace(
        molecule.record,
        symbols=tuple(molecule.record.symbols[old] for old in order),
        coordinates=1.01 * x[order],
        masses=molecule.record.masses[order],
    )
    run(JaxEngine().system(perceive(record), field), 1.01 * x[order])
    assert count() == before


def test_one_program_serves_another_number_of_terms_of_the_same_class() -> None:
    # Chains of 12 and 13 atoms: 11 and 12 bonds, 10 and 11 angles, all padded to 12.
    sizes = []
    for length in (12, 13):
        zigzag = [(1.25 * n, 0.75 * (n % 2), 0.0) for n in range(length)]
        chain = perceive(bare_record("chain", "C" * length, zigzag), types=["C"] * length)
        built = build_force_field([chain])
        field = ForceField("chain", tuple(row for row in built.rows if row.kind != "torsion"), built.elements)
        system = JaxEngine().system(chain, field)
        assert np.isfinite(system.local(chain.record.coordinates, internal_parameters(field)).energy)
        sizes.append(jax_programs.total_local.__wrapped__._cache_size())
    assert sizes[0] == sizes[1]


def test_a_linear_angle_has_finite_derivatives() -> None:
    molecule = perceive(propyne())
    field = build_force_field([molecule])
    assert "linear-bend" in {row.kind for row in field.rows}
    system, p = JaxEngine().system(molecule, field), internal_parameters(field)
    x = molecule.record.coordinates
    found = system.local(x, p)
    step = 1e-3
    differences = central_differences(
        lambda y: system.local(y.reshape(x.shape), p).gradient, x.ravel(), np.full(x.size, step)
    )
    assert_allclose(found.hessian, differences, rtol=0.0, atol=1e-7 * np.abs(differences).max())


@pytest.mark.parametrize(("coordinate", "size"), [("distance", 2), ("angle", 3), ("dihedral", 4), ("linear bend", 3)])
def test_internal_values_come_with_their_gradients(x, coordinate, size) -> None:
    atoms = np.array([[4, 1, 0, 2], [2, 0, 1, 5], [3, 0, 1, 4]])[:, :size]
    values, gradients = internal_values(coordinate, x, atoms)
    if coordinate != "linear bend":
        unit = 1.0 if coordinate == "distance" else np.pi / 180.0
        assert_allclose(values, [unit * measure(x, entry.tolist()) for entry in atoms], rtol=1e-12)
    expected = central_differences(
        lambda y: internal_values(coordinate, y.reshape(x.shape), atoms)[0], x.ravel(), np.full(x.size, 1e-3)
    )
    assert_allclose(gradients, expected, atol=1e-9)
    nothing = internal_values(coordinate, x, atoms[:0])
    assert (nothing[0].shape, nothing[1].shape) == ((0,), (0, x.size))


def test_same_numbers_give_the_same_bits(system, x, p) -> None:
    first, second = system.local(x, p), system.local(x.copy(), p.copy())
    assert first.energy == second.energy
    assert_array_equal(first.gradient, second.gradient)
    assert_array_equal(first.hessian, second.hessian)


def test_numbers_come_out_in_double_precision_and_jax_stays_as_it_was(system, x, p) -> None:
    assert system.local(x, p).hessian.dtype == np.float64
    assert FixedGeometry(system, x).term_vector(p).phi.dtype == np.float64
    assert not jax.config.jax_enable_x64


def test_a_force_field_of_another_molecule_is_refused(molecule) -> None:
    other = perceive(propyne())
    with pytest.raises(ForceFieldError, match=r"formamide: the bond C\(1\)-N\(2\) has no row"):
        JaxEngine().system(molecule, build_force_field([other]))
