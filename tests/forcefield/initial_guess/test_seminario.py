"""Seminario constants against the published ones of benzene, model Hessians and invariances."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.initial_guess.seminario import (
    angle_constant,
    approximation,
    bond_constant,
    gamma_fuerza,
    modified_seminario,
    qfuerza,
    seminario,
)
from fieldfit.forcefield.readers import read

SEEDS = st.integers(0, 2**32 - 1)
BONDS = ((0, 1), (0, 2), (0, 3))
ANGLES = ((1, 0, 2), (1, 0, 3), (2, 0, 3))

# Modified_Seminario_Bonds and Modified_Seminario_Angle of ModSeminario_Py (Allen, Payne, Cole 2018), atoms from 1.
BENZENE_BONDS = {
    (1, 2): 365.36, (1, 3): 366.18, (1, 4): 350.91, (2, 5): 366.18, (2, 6): 350.91, (3, 9): 366.19, (3, 12): 350.98,
    (5, 7): 366.19, (5, 8): 350.98, (7, 9): 365.35, (7, 10): 350.91, (9, 11): 350.91,
}  # fmt: skip
BENZENE_ANGLES = {
    (2, 1, 3): 96.96, (2, 1, 4): 30.87, (3, 1, 4): 30.87, (1, 2, 5): 96.96, (1, 2, 6): 30.87, (5, 2, 6): 30.87,
    (1, 3, 9): 97.94, (1, 3, 12): 30.16, (9, 3, 12): 30.16, (2, 5, 7): 97.94, (2, 5, 8): 30.16, (7, 5, 8): 30.16,
    (5, 7, 9): 96.96, (5, 7, 10): 30.87, (9, 7, 10): 30.87, (3, 9, 7): 96.96, (3, 9, 11): 30.87, (7, 9, 11): 30.87,
}  # fmt: skip


def blocks_model(coordinates, along, across):
    """Hessian in which every pair of atoms 0-n is a spring `along` the bond and `across` it [kcal/mol/A^2]."""
    atoms = len(coordinates)
    hessian = np.zeros((3 * atoms, 3 * atoms))
    for n in range(1, atoms):
        u = (coordinates[n] - coordinates[0]) / np.linalg.norm(coordinates[n] - coordinates[0])
        h = along * np.outer(u, u) + across * (np.eye(3) - np.outer(u, u))
        a, b = slice(0, 3), slice(3 * n, 3 * n + 3)
        hessian[a, a] += h
        hessian[b, b] += h
        hessian[a, b] -= h
        hessian[b, a] -= h
    return hessian


def star(seed: int):
    """A centre with three neighbours at random directions, and a random symmetric Hessian."""
    rng = np.random.default_rng(seed)
    coordinates = np.vstack([np.zeros(3), np.eye(3) + rng.uniform(-0.3, 0.3, size=(3, 3))])
    matrix = rng.normal(scale=50.0, size=(12, 12))
    return matrix + matrix.T, coordinates


def test_a_diatomic_gets_half_the_curvature_along_the_bond() -> None:
    coordinates = np.array([[0.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
    assert bond_constant(blocks_model(coordinates, 700.0, 0.0), coordinates, (0, 1)) == pytest.approx(350.0)


@pytest.mark.parametrize("apex", [40.0, 109.5, 176.0, 180.0])
def test_an_angle_is_two_springs_in_series(apex: float) -> None:
    # Isotropic across the bonds: 1/k = 2/(r^2 f) + 2/(s^2 f), bent or linear.
    r, s, f = 1.0, 1.5, 60.0
    turn = np.radians(apex)
    coordinates = np.array([[0.0, 0.0, 0.0], [r, 0.0, 0.0], [s * np.cos(turn), s * np.sin(turn), 0.0]])
    expected = 1.0 / (2.0 / (r**2 * f) + 2.0 / (s**2 * f))
    assert angle_constant(blocks_model(coordinates, 700.0, f), coordinates, (1, 0, 2)) == pytest.approx(expected)


def test_angles_across_a_threefold_axis_are_equal() -> None:
    # The block of the axial bond has two equal eigenvalues, whose eigenvectors are arbitrary.
    around = [[np.sin(1.9) * np.cos(t), np.sin(1.9) * np.sin(t), np.cos(1.9)] for t in np.radians([0.0, 120.0, 240.0])]
    coordinates = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.4], *around])
    rng = np.random.default_rng(0)
    angles = ((1, 0, 2), (1, 0, 3), (1, 0, 4))
    for method in (seminario, modified_seminario):
        for _ in range(5):
            moved = coordinates @ Rotation.random(rng=rng).as_matrix().T
            constants = method(blocks_model(moved, 700.0, 60.0), moved, (), angles).angles
            assert_allclose(constants, constants[0], rtol=1e-9)


def test_modified_constants_of_three_perpendicular_bonds_equal_the_plain_ones() -> None:
    # Neighbouring angles open in perpendicular directions, so that nothing is shared.
    coordinates = np.vstack([np.zeros(3), np.eye(3)])
    hessian = blocks_model(coordinates, 700.0, 60.0)
    plain, modified = (method(hessian, coordinates, BONDS, ANGLES) for method in (seminario, modified_seminario))
    assert_allclose(modified.angles, plain.angles)
    assert_allclose(modified.bonds, plain.bonds)


def test_modified_constants_of_a_planar_centre_are_half_the_plain_ones() -> None:
    # Both angles at a bond open in the same direction: the divisor is 1 + 1.
    around = [[np.cos(t), np.sin(t), 0.0] for t in np.radians([0.0, 120.0, 240.0])]
    coordinates = np.array([[0.0, 0.0, 0.0], *around])
    hessian = blocks_model(coordinates, 700.0, 60.0)
    plain, modified = (method(hessian, coordinates, BONDS, ANGLES) for method in (seminario, modified_seminario))
    assert_allclose(modified.angles, 0.5 * plain.angles)


@given(SEEDS)
def test_constants_do_not_depend_on_frame_or_order(seed: int) -> None:
    hessian, coordinates = star(seed)
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    turn = np.kron(np.eye(4), rotation)
    moved = coordinates @ rotation.T + 1.0
    for method in (seminario, modified_seminario):
        expected = method(hessian, coordinates, BONDS, ANGLES)
        found = method(turn @ hessian @ turn.T, moved, [b[::-1] for b in BONDS], [a[::-1] for a in ANGLES])
        assert_allclose(found.bonds, expected.bonds, rtol=1e-6, atol=1e-6)
        assert_allclose(found.angles, expected.angles, rtol=1e-5, atol=1e-6)


@given(SEEDS, st.floats(0.5, 1.5))
def test_the_scale_multiplies_every_constant(seed: int, scale: float) -> None:
    hessian, coordinates = star(seed)
    for method in (seminario, modified_seminario, gamma_fuerza):
        plain, scaled = (method(hessian, coordinates, BONDS, ANGLES, scale=s) for s in (1.0, scale))
        assert_allclose(scaled.bonds, scale * plain.bonds)
        assert_allclose(scaled.angles, scale * plain.angles)


def test_rules_of_farrugia_differ_in_the_angles_only() -> None:
    hessian, coordinates = star(1)
    fuerza = seminario(hessian, coordinates, BONDS, ANGLES, scale=0.963)
    gamma = gamma_fuerza(hessian, coordinates, BONDS, ANGLES, scale=0.963)
    fixed = qfuerza(hessian, coordinates, BONDS, ANGLES, symbols=("H", "C", "h", "N"), scale=0.963)
    assert_allclose(gamma.bonds, fuerza.bonds)
    assert_allclose(fixed.bonds, fuerza.bonds)
    assert_allclose(gamma.angles, 0.68 * fuerza.angles)
    # Atom 2 is hydrogen; a hydrogen in the centre (atom 0) does not count. MM3: 71.94 k D^2 kcal/mol with k = 0.5.
    assert_allclose(fixed.angles, [0.5 * 71.94, fuerza.angles[1], 0.5 * 71.94], rtol=5e-4)


def test_the_approximation_is_five_and_one_half_millidyne() -> None:
    # MM3: 71.94 k d^2 kcal/mol (the factor of the parameter files; 71.966 physically).
    estimate = approximation(BONDS, ANGLES[:2])
    assert_allclose(estimate.bonds, [5.0 * 71.94] * 3, rtol=5e-4)
    assert_allclose(estimate.angles, [0.5 * 71.94] * 2, rtol=5e-4)


def test_no_terms_give_no_constants() -> None:
    hessian, coordinates = star(2)
    estimate = modified_seminario(hessian, coordinates, (), ())
    assert (len(estimate.bonds), len(estimate.angles)) == (0, 0)


@pytest.mark.parametrize(("bonds", "angles"), [([(0, 4)], []), ([(-1, 0)], []), ([(1, 1)], []), ([], [(0, 1, 9)])])
def test_an_atom_that_does_not_exist_is_refused(bonds, angles) -> None:
    hessian, coordinates = star(3)
    with pytest.raises(MoleculeError, match="cannot be bonded"):
        seminario(hessian, coordinates, bonds, angles)


def test_a_hessian_of_another_molecule_is_refused() -> None:
    _, coordinates = star(4)
    with pytest.raises(MoleculeError, match=r"shape \(9, 9\), but 4 atoms need \(12, 12\)"):
        seminario(np.eye(9), coordinates, BONDS, ANGLES)


@pytest.mark.parametrize("ending", ["fchk", "log"])
def test_benzene_has_the_published_modified_seminario_constants(shared_data: Path, ending: str) -> None:
    record = read(shared_data / "benzene" / f"lig.{ending}")
    bonds = [(i - 1, j - 1) for i, j in BENZENE_BONDS]
    angles = [(i - 1, j - 1, k - 1) for i, j, k in BENZENE_ANGLES]
    found = modified_seminario(record.hessian, record.coordinates, bonds, angles, scale=0.957**2)
    # Their bohr is 0.529 A, which makes bonds 6.7e-4 stiffer; in angles it cancels. Two decimals.
    bohr = (0.529177210903 / 0.529) ** 2
    assert_allclose(bohr * found.bonds, list(BENZENE_BONDS.values()), rtol=3e-5)
    assert_allclose(found.angles, list(BENZENE_ANGLES.values()), atol=0.01)


def test_benzene_means_are_the_published_averages(shared_data: Path) -> None:
    record = read(shared_data / "benzene" / "lig.fchk")
    bonds = [(i - 1, j - 1) for i, j in BENZENE_BONDS]
    angles = [(i - 1, j - 1, k - 1) for i, j, k in BENZENE_ANGLES]
    found = modified_seminario(record.hessian, record.coordinates, bonds, angles, scale=0.957**2)
    classes = {}
    for atoms, constant in zip(bonds + angles, [*found.bonds, *found.angles], strict=True):
        classes.setdefault("-".join(record.symbols[atom] for atom in atoms), []).append(constant)
    means = {name: np.mean(constants) for name, constants in classes.items()}
    expected = {"C-C": 365.91, "C-H": 350.93, "C-C-C": 97.29, "C-C-H": 30.63}
    assert_allclose([means[name] for name in expected], list(expected.values()), rtol=1e-3)


def test_equivalent_angles_of_fluoromethane_get_equal_constants(shared_data: Path) -> None:
    folder = shared_data / "ch3f"
    record = read(folder / "ch3f-optimized.xyz", hessian=folder / "ch3f-hessian.npy")
    found = seminario(record.hessian, record.coordinates, (), ((1, 0, 2), (1, 0, 3), (1, 0, 4)))
    # The geometry has threefold symmetry to 1e-4 only.
    assert_allclose(found.angles, found.angles.mean(), rtol=5e-4)
