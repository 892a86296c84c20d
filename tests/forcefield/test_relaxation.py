"""Relaxation of free molecules against minima known in closed form, from the literature, and from SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.initial_guess import estimate_force_constants
from fieldfit.forcefield.relaxation import relax
from fieldfit.forcefield.topology import measure, perceive
from model_energies import (
    CHAIN,
    CONTACT,
    HOLDERS,
    MUELLER_BROWN_MINIMA,
    MUELLER_BROWN_SADDLES,
    Chain,
    Local,
    cluster,
    distances,
    mueller_brown,
    relaxed_by_scipy,
    spring,
    tetrahedron,
)
from molecules import bare_record, ethane, fluoromethane, internal_parameters

SEEDS = st.integers(0, 2**32 - 1)

# Three atoms in line: 2 V(r) + V(2 r) is stationary at r^6 = 2 (1 + 2^-13) / (1 + 2^-7), but bending brings the outer
# atoms into contact.
SADDLE = np.outer([-1.0, 0.0, 1.0], [(2.0 * (1.0 + 2.0**-13) / (1.0 + 2.0**-7)) ** (1.0 / 6.0), 0.0, 0.0])


def counted(local):
    """Return a model that lists the geometries it was evaluated at, and that list."""
    seen = []

    def watched(x):
        seen.append(x)
        return local(x)

    return watched, seen


@given(SEEDS)
def test_four_atoms_relax_to_a_tetrahedron(seed) -> None:
    # Six contacts, each at the bottom of the pair potential.
    found = relax(cluster, tetrahedron(seed, noise=0.25))
    assert found.is_converged
    assert found.reason == "minimum"
    assert found.energy == pytest.approx(-6.0, abs=1e-12)
    assert_allclose(distances(found.x), CONTACT, rtol=1e-10)
    assert np.max(np.abs(found.gradient)) < 1e-9
    again = cluster(found.x)
    assert (again.energy, again.hessian.tolist()) == (found.energy, found.hessian.tolist())


def test_a_diatomic_relaxes_to_its_bond_length() -> None:
    found = relax(cluster, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.6]]))
    assert found.is_converged
    assert_allclose(distances(found.x), CONTACT, rtol=1e-10)


def test_one_atom_is_relaxed_already() -> None:
    found = relax(lambda x: Local(0.5, np.zeros(3), np.zeros((3, 3))), np.array([[1.0, 2.0, 3.0]]))
    assert (found.reason, found.n_iterations, found.energy) == ("minimum", 0, 0.5)
    assert found.lowest_curvature == math.inf


def test_a_strained_molecule_relaxes_to_the_equilibrium_of_its_terms() -> None:
    # Two bonds and an angle are as many as there are vibrations: all can be met at once.
    water = perceive(bare_record("water", "OHH", [(0.0, 0.0, 0.0), (0.9, 0.1, 0.0), (-0.3, 1.1, 0.0)]))
    field = build_force_field([water]).with_values({"bond.H-O.r0": 0.96, "angle.H-O-H.theta0": 104.5})
    system, p = JaxEngine().system(water, field), internal_parameters(field)
    found = relax(lambda x: system.local(x, p), water.record.coordinates)
    assert found.is_converged
    assert_allclose([measure(found.x, (0, 1)), measure(found.x, (0, 2))], 0.96, rtol=1e-12)
    assert measure(found.x, (1, 0, 2)) == pytest.approx(104.5, rel=1e-12)


@given(SEEDS)
def test_a_chain_relaxes_to_the_minimum_that_scipy_finds(seed) -> None:
    start = CHAIN + 0.1 * np.random.default_rng(seed).uniform(-1.0, 1.0, size=(4, 3))
    found, other = relax(Chain(), start), relaxed_by_scipy(Chain(), start)
    assert found.is_converged
    # The energy of BFGS is right to the square of what its gradient leaves.
    assert found.energy == pytest.approx(Chain()(other).energy, abs=1e-9)
    assert_allclose(distances(found.x), distances(other), atol=1e-5)


@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize("make", [fluoromethane, ethane])
def test_a_distorted_molecule_returns_to_its_minimum(make, noise, shared_data) -> None:
    molecule = make(shared_data)
    field = estimate_force_constants([molecule], build_force_field([molecule]))
    system, p = JaxEngine().system(molecule, field), internal_parameters(field)
    minimum = relax(lambda x: system.local(x, p), molecule.record.coordinates)
    shift = noise * np.random.default_rng(7).uniform(-1.0, 1.0, size=(molecule.n_atoms, 3))
    found = relax(lambda x: system.local(x, p), molecule.record.coordinates + shift)
    assert minimum.is_converged
    assert found.is_converged
    assert found.n_iterations <= 10
    assert found.energy == pytest.approx(minimum.energy, abs=1e-9)
    bonds = [[measure(x, pair) for pair in molecule.bonds] for x in (found.x, minimum.x)]
    assert_allclose(*bonds, atol=1e-8)


@given(SEEDS)
def test_every_start_on_the_mueller_brown_surface_ends_in_one_of_its_minima(seed) -> None:
    rng = np.random.default_rng(seed)
    start = np.vstack([HOLDERS, [rng.uniform(-1.5, 1.0), rng.uniform(-0.3, 1.8), rng.uniform(-0.3, 0.3)]])
    found = relax(mueller_brown, start, frozen=(0, 1, 2))
    assert found.is_converged
    nearest = min(MUELLER_BROWN_MINIMA, key=lambda entry: abs(entry[0] - found.energy))
    assert_allclose([found.energy, *found.x[3]], [*nearest, 0.0], atol=2e-6)


@pytest.mark.parametrize("saddle", MUELLER_BROWN_SADDLES)
def test_a_saddle_of_the_mueller_brown_surface_is_left(saddle) -> None:
    energy, x, y = saddle
    start = np.vstack([HOLDERS, [x, y, 0.0]])
    # The published place, made exact by a few steps of plain Newton.
    for _ in range(5):
        local = mueller_brown(start)
        start[3] -= np.linalg.solve(local.hessian[9:, 9:], local.gradient[9:])
    assert mueller_brown(start).energy == pytest.approx(energy, abs=1e-5)
    found = relax(mueller_brown, start, frozen=(0, 1, 2))
    assert found.is_converged
    assert any(found.energy == pytest.approx(entry[0], abs=1e-5) for entry in MUELLER_BROWN_MINIMA)


def test_a_saddle_is_left_though_its_forces_are_zero() -> None:
    assert np.max(np.abs(cluster(SADDLE).gradient)) < 1e-12
    triangle = relax(cluster, SADDLE)
    assert triangle.is_converged
    assert triangle.energy == pytest.approx(-3.0, abs=1e-12)


def test_a_saddle_that_there_was_no_time_to_leave_is_called_so() -> None:
    found = relax(cluster, SADDLE, max_iterations=0)
    assert found.reason == "saddle"
    assert not found.is_converged
    assert found.lowest_curvature < 0.0


def test_convergence_is_quadratic() -> None:
    watched, seen = counted(cluster)
    assert relax(watched, tetrahedron(1, noise=0.05), gradient_tolerance=1e-10).is_converged
    # Each step squares the error, until rounding: the logarithm of the gradient at least doubles but for a constant.
    gradients = [np.linalg.norm(cluster(x).gradient) for x in seen]
    orders = np.diff(np.log([g for g in gradients if 1e-10 < g < 1.0]))
    assert len(orders) >= 2
    assert np.all(orders[1:] < 1.6 * orders[:-1])


def test_the_energy_never_rises_between_accepted_points() -> None:
    start = tetrahedron(3, noise=0.4)
    energies = [relax(cluster, start, max_iterations=steps).energy for steps in range(12)]
    assert energies[0] == cluster(start).energy
    assert np.all(np.diff(energies) <= 1e-11)
    assert relax(cluster, start, max_iterations=2).reason == "not converged"


def test_every_step_is_one_evaluation_and_the_last_one_is_the_end() -> None:
    watched, seen = counted(cluster)
    found = relax(watched, tetrahedron(5, noise=0.2))
    assert len(seen) == found.n_iterations + 1
    assert seen[-1].tolist() == found.x.tolist()


def test_a_flat_energy_has_no_minimum() -> None:
    found = relax(lambda x: Local(0.0, np.zeros(x.size), np.zeros((x.size, x.size))), tetrahedron(0, noise=0.1))
    assert found.reason == "flat"
    assert not found.is_converged


def test_a_torsion_without_a_constant_is_flat() -> None:
    found = relax(Chain(torsion=0.0, repulsion=0.0), CHAIN + 0.1)
    assert found.reason == "flat"
    assert_allclose(distances(found.x)[[0, 3, 5]], 1.53, rtol=1e-9)
    assert abs(found.lowest_curvature) < 1e-6


def test_a_minimum_stays_where_it_is() -> None:
    found = relax(cluster, relax(cluster, tetrahedron(2, noise=0.2)).x)
    assert found.n_iterations == 0
    assert found.is_converged


def test_the_same_start_gives_the_same_bits() -> None:
    start = CHAIN + 0.3 * np.random.default_rng(3).uniform(-1.0, 1.0, size=(4, 3))
    one, other = relax(Chain(), start), relax(Chain(), start.copy())
    assert one.x.tobytes() == other.x.tobytes()
    assert (one.energy, one.n_iterations) == (other.energy, other.n_iterations)


@given(SEEDS)
def test_the_frame_does_not_matter(seed) -> None:
    start = tetrahedron(seed, noise=0.2)
    turned = start @ Rotation.random(rng=np.random.default_rng(seed)).as_matrix().T + [3.0, -1.0, 2.0]
    one, other = relax(cluster, start), relax(cluster, turned)
    assert one.n_iterations == other.n_iterations
    assert_allclose(distances(other.x), distances(one.x), rtol=1e-9)


@given(SEEDS)
def test_the_order_of_the_atoms_does_not_matter(seed) -> None:
    start, order = tetrahedron(seed, noise=0.2), np.random.default_rng(seed).permutation(4)
    one, other = relax(cluster, start), relax(cluster, start[order])
    assert one.n_iterations == other.n_iterations
    assert other.energy == pytest.approx(one.energy, abs=1e-12)
    assert_allclose(other.x, one.x[order], atol=1e-8)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_a_trial_without_an_energy_is_a_step_that_was_too_long(hole) -> None:
    fallen_in = []

    def local(x):
        found = cluster(x)
        if distances(x)[0] > 1.12:
            return found
        fallen_in.append(x)
        return Local(hole, found.gradient, np.full_like(found.hessian, hole))

    found = relax(local, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5]]))
    assert fallen_in
    assert found.is_converged
    assert_allclose(distances(found.x), CONTACT, rtol=1e-10)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_where_the_minimum_has_no_energy_nothing_converges(hole) -> None:
    watched, seen = counted(lambda x: spring(x) if distances(x)[0] > 1.04 else Local(1.0, np.full(6, hole), np.eye(6)))
    found = relax(watched, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]))
    assert found.reason == "not converged"
    assert np.isfinite(found.energy)
    assert distances(found.x)[0] > 1.04
    assert len(seen) < 40


def test_a_start_without_an_energy_is_the_end() -> None:
    found = relax(lambda x: Local(math.nan, np.zeros(6), np.zeros((6, 6))), np.eye(3)[:2])
    assert (found.reason, found.n_iterations) == ("energy not finite", 0)
    assert not found.is_converged
    assert math.isnan(found.lowest_curvature)


def test_a_gradient_that_is_not_that_of_the_energy_ends_the_relaxation() -> None:
    watched, seen = counted(lambda x: Local(spring(x).energy, -spring(x).gradient, spring(x).hessian))
    found = relax(watched, np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.3]]))
    assert found.reason == "not converged"
    assert len(seen) < 20


def test_energies_of_few_digits_do_not_stop_a_relaxation() -> None:
    # As read from a print-out; the tolerance says how much can be expected.
    def rounded(x):
        model = Chain()(x)
        return Local(round(model.energy, 5), np.round(model.gradient, 5), model.hessian)

    found = relax(rounded, CHAIN + 0.1, gradient_tolerance=2e-5)
    assert found.is_converged
    assert_allclose(distances(found.x), distances(relax(Chain(), CHAIN).x), atol=1e-4)


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
    moved = found.response(mixed)
    assert_allclose(moved[:, 0], 0.0, atol=1e-9)
    change = [distances(x + sign * step * moved[:, 1].reshape(x.shape)) for sign in (1.0, -1.0)]
    assert_allclose((change[0] - change[1]) / (2.0 * step), CONTACT, rtol=1e-6)


def test_response_equals_differences_of_relaxed_geometries() -> None:
    model = Chain()
    found = relax(model, CHAIN)
    moved = found.response(model.mixed(found.x))
    for column, name in enumerate(Chain._fields):
        step = 1e-4 * getattr(model, name)
        ends = [relax(model._replace(**{name: getattr(model, name) + sign * step}), found.x).x for sign in (1.0, -1.0)]
        along = [distances(found.x + sign * step * moved[:, column].reshape(4, 3)) for sign in (1.0, -1.0)]
        expected = distances(ends[0]) - distances(ends[1])
        assert_allclose(along[0] - along[1], expected, atol=1e-5 * np.abs(expected).max())


def test_response_at_a_saddle_is_that_of_a_stationary_point() -> None:
    # The line of three atoms scales with sigma as well.
    found = relax(cluster, SADDLE, max_iterations=0)
    step = 1e-5
    mixed = (cluster(SADDLE, 1.0, 1.0 + step).gradient - cluster(SADDLE, 1.0, 1.0 - step).gradient) / (2.0 * step)
    assert_allclose(found.response(mixed[:, None])[:, 0], SADDLE.ravel(), atol=1e-6)


def test_a_flat_geometry_has_no_response() -> None:
    found = relax(Chain(torsion=0.0, repulsion=0.0), CHAIN)
    with pytest.raises(scipy.linalg.LinAlgError):
        found.response(np.ones((12, 1)))


def test_deviation_does_not_count_rigid_motion() -> None:
    found = relax(cluster, tetrahedron(0, noise=0.1))
    turn = Rotation.from_rotvec([0.1, 1.2, -0.4]).as_matrix()
    assert found.deviation(found.x @ turn.T + [1.0, 2.0, 3.0]) == pytest.approx(0.0, abs=1e-12)
    # Every atom a tenth further from the centre, which is sqrt(3 / 8) edges away from it.
    assert found.deviation(1.1 * found.x) == pytest.approx(0.1 * CONTACT * math.sqrt(3.0 / 8.0), rel=1e-9)


def test_repr_says_how_it_ended() -> None:
    assert repr(relax(cluster, tetrahedron(0, noise=0.0))) == (
        "RelaxedGeometry(minimum at -6.000000 kcal/mol after 0 steps)"
    )
