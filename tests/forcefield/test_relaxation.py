"""Relaxation of Lennard-Jones clusters, whose minima are known in closed form, and of one molecule."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.relaxation import complement, newton_step, relax, response
from fieldfit.forcefield.topology import measure, perceive
from molecules import bare_record, internal_parameters

CONTACT = 2.0 ** (1.0 / 6.0)
"""Distance of the minimum of a Lennard-Jones pair in units of sigma."""

SEEDS = st.integers(0, 2**32 - 1)


class Local(NamedTuple):
    energy: float
    gradient: np.ndarray
    hessian: np.ndarray


def cluster(x, epsilon=1.0, sigma=1.0) -> Local:
    """Sum of 4 epsilon ((sigma / r)^12 - (sigma / r)^6) over pairs, with derivatives written out."""
    n = len(x)
    energy, gradient, hessian = 0.0, np.zeros((n, 3)), np.zeros((n, 3, n, 3))
    for i, j in itertools.combinations(range(n), 2):
        u = x[i] - x[j]
        r = np.linalg.norm(u)
        a, b = (sigma / r) ** 12, (sigma / r) ** 6
        first, second = 4.0 * epsilon * (6.0 * b - 12.0 * a) / r, 4.0 * epsilon * (156.0 * a - 42.0 * b) / r**2
        e = u / r
        block = second * np.outer(e, e) + first / r * (np.eye(3) - np.outer(e, e))
        energy += 4.0 * epsilon * (a - b)
        for left, right, sign in ((i, i, 1.0), (j, j, 1.0), (i, j, -1.0), (j, i, -1.0)):
            hessian[left, :, right, :] += sign * block
        gradient[i] += first * e
        gradient[j] -= first * e
    return Local(energy, gradient.ravel(), hessian.reshape(3 * n, 3 * n))


def tetrahedron(seed: int, noise: float) -> np.ndarray:
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * CONTACT / np.sqrt(8.0)
    return corners + noise * np.random.default_rng(seed).uniform(-1.0, 1.0, size=(4, 3))


def distances(x) -> np.ndarray:
    return np.array([np.linalg.norm(a - b) for a, b in itertools.combinations(x, 2)])


@given(SEEDS)
def test_four_atoms_relax_to_a_tetrahedron(seed) -> None:
    # Six contacts, each at the bottom of the pair potential.
    found = relax(cluster, tetrahedron(seed, noise=0.25))
    assert found.is_converged
    assert found.energy == pytest.approx(-6.0, abs=1e-12)
    assert_allclose(distances(found.x), CONTACT, rtol=1e-10)
    assert np.max(np.abs(found.gradient)) < 1e-9
    again = cluster(found.x)
    assert (again.energy, again.hessian.tolist()) == (found.energy, found.hessian.tolist())


def test_a_diatomic_relaxes_to_its_bond_length() -> None:
    found = relax(cluster, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.6]]))
    assert found.is_converged
    assert_allclose(distances(found.x), CONTACT, rtol=1e-10)


def test_a_strained_molecule_relaxes_to_the_equilibrium_of_its_terms() -> None:
    # Two bonds and an angle are as many as there are vibrations: all can be met at once.
    water = perceive(bare_record("water", "OHH", [(0.0, 0.0, 0.0), (0.9, 0.1, 0.0), (-0.3, 1.1, 0.0)]))
    field = build_force_field([water]).with_values({"bond.H-O.r0": 0.96, "angle.H-O-H.theta0": 104.5})
    system, p = JaxEngine().system(water, field), internal_parameters(field)
    found = relax(lambda x: system.local(x, p), water.record.coordinates)
    assert found.is_converged
    assert_allclose([measure(found.x, (0, 1)), measure(found.x, (0, 2))], 0.96, rtol=1e-12)
    assert measure(found.x, (1, 0, 2)) == pytest.approx(104.5, rel=1e-12)


def test_convergence_is_quadratic() -> None:
    gradients = []

    def watched(x) -> Local:
        found = cluster(x)
        gradients.append(np.linalg.norm(found.gradient))
        return found

    assert relax(watched, tetrahedron(1, noise=0.05), gradient_tolerance=1e-10).is_converged
    # Each step squares the error, until rounding: the logarithm of the gradient at least doubles but for a constant.
    last = [g for g in gradients if 1e-10 < g < 1.0]
    orders = np.diff(np.log(last))
    assert len(orders) >= 2
    assert np.all(orders[1:] < 1.6 * orders[:-1])


def test_the_energy_never_rises_between_accepted_points() -> None:
    start = tetrahedron(3, noise=0.4)
    energies = [relax(cluster, start, max_iterations=steps).energy for steps in range(12)]
    assert energies[0] == cluster(start).energy
    assert np.all(np.diff(energies) <= 1e-12)
    assert not relax(cluster, start, max_iterations=2).is_converged


def test_a_saddle_is_not_a_minimum() -> None:
    # Three atoms in line: 2 V(r) + V(2 r) is stationary at r^6 = 2 (1 + 2^-13) / (1 + 2^-7), but bending brings the
    # outer atoms into contact.
    r = (2.0 * (1.0 + 2.0**-13) / (1.0 + 2.0**-7)) ** (1.0 / 6.0)
    line = np.array([[-r, 0.0, 0.0], [0.0, 0.0, 0.0], [r, 0.0, 0.0]])
    found = relax(cluster, line)
    assert np.max(np.abs(found.gradient)) < 1e-9
    assert not found.is_converged
    bent = line + np.array([[0.0, 0.01, 0.0], [0.0, -0.01, 0.0], [0.0, 0.01, 0.0]])
    triangle = relax(cluster, bent)
    assert triangle.is_converged
    assert triangle.energy == pytest.approx(-3.0, abs=1e-12)


def test_a_flat_energy_has_no_minimum() -> None:
    found = relax(lambda x: Local(0.0, np.zeros(x.size), np.zeros((x.size, x.size))), tetrahedron(0, noise=0.1))
    assert not found.is_converged


def test_a_minimum_stays_where_it_is() -> None:
    found = relax(cluster, relax(cluster, tetrahedron(2, noise=0.2)).x)
    assert found.n_iterations == 0
    assert found.is_converged


@given(SEEDS)
def test_the_frame_does_not_matter(seed) -> None:
    start = tetrahedron(seed, noise=0.2)
    turned = start @ Rotation.random(rng=np.random.default_rng(seed)).as_matrix().T + [3.0, -1.0, 2.0]
    one, other = relax(cluster, start), relax(cluster, turned)
    assert one.n_iterations == other.n_iterations
    assert_allclose(distances(other.x), distances(one.x), rtol=1e-9)


@given(SEEDS, st.floats(1e-3, 10.0))
def test_a_step_solves_the_trust_region_problem(seed, radius) -> None:
    # More, Sorensen (1983): s is the solution if (H + mu) s = -g with mu >= 0, H + mu has no negative eigenvalue, and
    # mu = 0 or |s| = radius.
    rng = np.random.default_rng(seed)
    curvatures = np.sort(rng.normal(scale=10.0 ** rng.uniform(-2.0, 3.0, size=6)))
    Q = np.linalg.qr(rng.normal(size=(6, 6))).Q
    hessian, gradient = Q @ np.diag(curvatures) @ Q.T, rng.normal(scale=10.0 ** rng.uniform(-4.0, 2.0), size=6)
    step, predicted = newton_step(gradient, hessian, np.eye(6), radius)
    length = np.linalg.norm(step)
    assert length <= 1.01 * radius
    assert predicted == pytest.approx(-(gradient @ step + 0.5 * step @ hessian @ step), rel=1e-6)
    assert predicted > 0.0
    mu = -(step @ (hessian @ step + gradient)) / length**2
    assert_allclose((hessian + mu * np.eye(6)) @ step, -gradient, atol=1e-6 * np.abs(gradient).max())
    assert mu >= -1e-6 * np.abs(curvatures).max()
    assert curvatures[0] + mu >= -1e-6 * np.abs(curvatures).max()
    if mu > 1e-6 * np.abs(curvatures).max():
        assert length >= 0.99 * radius


def test_a_step_inside_the_radius_is_newtons() -> None:
    hessian, gradient = np.diag([1.0, 4.0]), np.array([0.1, -0.2])
    step, predicted = newton_step(gradient, hessian, np.eye(2), 1.0)
    assert_allclose(step, [-0.1, 0.05], rtol=1e-12)
    assert predicted == pytest.approx(0.5 * (0.1 * 0.1 + 0.2 * 0.05), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "rank"),
    [
        (tetrahedron(0, noise=0.1), 6),
        (np.array([[0.0, 0.0, -1.1], [0.0, 0.0, 0.0], [0.0, 0.0, 1.2]]), 4),
        (np.array([[1.0, 2.0, 3.0]]), 0),
    ],
    ids=["bent", "linear", "atom"],
)
def test_the_complement_has_no_rigid_motion(x, rank) -> None:
    basis = complement(x)
    assert basis.shape == (x.size, rank)
    assert_allclose(basis.T @ basis, np.eye(rank), atol=1e-12)
    translations = np.tile(np.eye(3), (len(x), 1))
    rotations = np.cross(np.eye(3)[:, None], x).reshape(3, -1).T
    assert_allclose(basis.T @ np.hstack([translations, rotations]), 0.0, atol=1e-12)


def test_response_is_the_motion_of_the_minimum() -> None:
    # The tetrahedron scales with sigma and does not feel epsilon: d r / d sigma = 2^(1/6).
    sigma, epsilon, step = 1.1, 0.7, 1e-5
    found = relax(lambda x: cluster(x, epsilon, sigma), tetrahedron(4, noise=0.1))
    x = found.x
    mixed = np.stack(
        [
            cluster(x, 1.0, sigma).gradient,
            (cluster(x, epsilon, sigma + step).gradient - cluster(x, epsilon, sigma - step).gradient) / (2.0 * step),
        ],
        axis=1,
    )
    moved = response(found.hessian, mixed, complement(x))
    assert_allclose(moved[:, 0], 0.0, atol=1e-9)
    change = [distances(x + sign * step * moved[:, 1].reshape(x.shape)) for sign in (1.0, -1.0)]
    assert_allclose((change[0] - change[1]) / (2.0 * step), CONTACT, rtol=1e-6)


def test_response_equals_differences_of_relaxed_geometries() -> None:
    # Three sites with one sigma per pair, so that all distances move with each parameter.
    pairs = list(itertools.combinations(range(3), 2))

    def local(x, sigmas) -> Local:
        parts = [cluster(x[list(pair)], 1.0, sigma) for pair, sigma in zip(pairs, sigmas, strict=True)]
        gradient, hessian = np.zeros(9), np.zeros((9, 9))
        for pair, part in zip(pairs, parts, strict=True):
            rows = (3 * np.array(pair)[:, None] + np.arange(3)).ravel()
            gradient[rows] += part.gradient
            hessian[np.ix_(rows, rows)] += part.hessian
        # A spring that no pair wants, for forces that balance instead of vanishing.
        u = x[0] - x[1]
        energy = sum(part.energy for part in parts) + 2.0 * u @ u
        spring = 4.0 * np.kron(np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), np.eye(3))
        return Local(energy, gradient + spring @ x.ravel(), hessian + spring)

    sigmas = np.array([1.0, 1.1, 1.2])
    start = np.array([[0.0, 0.0, 0.0], [1.1, 0.0, 0.0], [0.5, 1.1, 0.0]])
    found = relax(lambda x: local(x, sigmas), start)
    x, step = found.x, 1e-5
    shifts = step * np.eye(3)
    mixed = np.stack(
        [(local(x, sigmas + s).gradient - local(x, sigmas - s).gradient) / (2.0 * step) for s in shifts], 1
    )
    moved = response(found.hessian, mixed, complement(x))
    for column, shift in enumerate(shifts):
        ahead, behind = (distances(relax(lambda y, q=q: local(y, q), x).x) for q in (sigmas + shift, sigmas - shift))
        along = [distances(x + sign * step * moved[:, column].reshape(x.shape)) for sign in (1.0, -1.0)]
        assert_allclose(along[0] - along[1], ahead - behind, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("softest", [0.0, 1e-16])
def test_a_singular_hessian_has_no_response(softest) -> None:
    x = tetrahedron(0, noise=0.1)
    basis = complement(x)
    hessian = basis @ np.diag([softest, 1.0, 1.0, 2.0, 3.0, 4.0]) @ basis.T
    with pytest.raises(scipy.linalg.LinAlgError):
        response(hessian, np.ones((12, 1)), basis)
