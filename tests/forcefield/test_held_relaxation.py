"""Relaxations with frozen atoms, restraints and fixed coordinates against closed forms, differences and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fieldfit.errors import EvaluationError, MoleculeError
from fieldfit.forcefield.relaxation import Fixed, Restraint, Tether, relax
from fieldfit.forcefield.relaxation.restraints import RestraintEnergy
from fieldfit.forcefield.relaxation.rigid_body import orthonormal, remaining_rigid_motions
from model_energies import (
    CHAIN,
    CONTACT,
    Chain,
    Local,
    angle_of,
    cluster,
    distances,
    relaxed_by_scipy,
    spring,
    tetrahedron,
    torsion_of,
)

SEEDS = st.integers(0, 2**32 - 1)
PAIR = np.array([[0.0, 0.0, -0.6], [0.0, 0.0, 0.6]])
NO_TORSION = Chain(torsion=0.0, repulsion=0.0)


def nothing(x) -> Local:
    return Local(0.0, np.zeros(x.size), np.zeros((x.size, x.size)))


def chain(seed, noise=0.1):
    return CHAIN + noise * np.random.default_rng(seed).uniform(-1.0, 1.0, size=(4, 3))


def differences(function, x, step=1e-5):
    columns = []
    for index in range(x.size):
        shift = np.zeros(x.size)
        shift[index] = step
        ahead, behind = (function(x + sign * shift.reshape(x.shape)) for sign in (1.0, -1.0))
        columns.append((np.asarray(ahead) - np.asarray(behind)) / (2.0 * step))
    return np.stack(columns, axis=-1)


# Which rigid motions are left.


BENT = tetrahedron(0, noise=0.1)
LINE = np.array([[0.0, 0.0, -1.1], [0.0, 0.0, 0.0], [0.0, 0.0, 1.2]])


@pytest.mark.parametrize(
    ("x", "held", "rank"),
    [
        (BENT, [], 6),
        (BENT, [0], 3),
        (BENT, [0, 1], 1),
        (BENT, [0, 1, 2], 0),
        (LINE, [], 5),
        (LINE, [1], 2),
        (LINE, [0, 1], 0),
        (np.array([[1.0, 2.0, 3.0]]), [], 3),
        (np.array([[1.0, 2.0, 3.0]]), [0], 0),
    ],
    ids=["free", "one held", "two", "three", "linear", "linear, one", "linear, two", "atom", "atom held"],
)
def test_the_rigid_motions_that_keep_some_atoms_in_place(x, held, rank) -> None:
    found = orthonormal(remaining_rigid_motions(x, x[held]), np.sqrt(len(x)))
    assert found.shape == (x.size, rank)
    assert_allclose(found.T @ found, np.eye(rank), atol=1e-12)
    translations = np.tile(np.eye(3), (len(x), 1))
    rotations = np.cross(np.eye(3)[:, None], x).reshape(3, -1).T
    everything = np.hstack([translations, rotations])
    assert_allclose(everything @ np.linalg.lstsq(everything, found, rcond=None)[0], found, atol=1e-12)
    assert_allclose(found.reshape(len(x), 3, rank)[held], 0.0, atol=1e-12)


# Frozen atoms.


@given(SEEDS)
def test_frozen_atoms_stay_and_the_others_find_the_minimum_that_scipy_finds(seed) -> None:
    start = chain(seed)
    found = relax(Chain(), start, frozen=(0, 3))
    assert found.is_converged
    assert found.x[[0, 3]].tobytes() == start[[0, 3]].tobytes()
    assert np.max(np.abs(found.gradient[3:9])) < 1e-9
    other = relaxed_by_scipy(Chain(), start, free=np.arange(3, 9))
    assert found.energy == pytest.approx(Chain()(other).energy, abs=1e-9)


@pytest.mark.parametrize("frozen", [(2,), (1, 2)])
def test_freezing_what_rigid_motion_can_do_changes_nothing(frozen) -> None:
    # One atom only takes the translations away; two at their minimal distance take rotations, too.
    start = relax(cluster, tetrahedron(1, noise=0.1)).x
    start[[0, 3]] += 0.1
    found = relax(cluster, start, frozen=frozen)
    assert found.is_converged
    assert found.energy == pytest.approx(-6.0, abs=1e-11)
    assert found.x[list(frozen)].tobytes() == start[list(frozen)].tobytes()


def test_a_molecule_of_frozen_atoms_is_relaxed() -> None:
    found = relax(cluster, tetrahedron(1, noise=0.1), frozen=range(4))
    assert (found.reason, found.n_iterations) == ("minimum", 0)
    assert_allclose(found.response(np.ones((12, 2))), 0.0)


@pytest.mark.parametrize("frozen", [(), (1,), (0, 3), (0, 1, 3), (Fixed("dihedral", (0, 1, 2, 3), 75.0),)])
def test_response_equals_differences_of_relaxations_that_are_held_alike(frozen) -> None:
    model = Chain()
    found = relax(model, CHAIN, frozen=frozen)
    assert found.is_converged
    _check_response(model, found, {"frozen": frozen})


@pytest.mark.parametrize(
    "restraint",
    [
        Restraint("dihedral", (0, 1, 2, 3), 80.0, 15.0),
        Restraint("distance", (0, 3), 3.5, 10.0),
        Tether((0, 1, 3), CHAIN[[0, 1, 3]], 7.0),
        Tether((2,), CHAIN[[2]] + 0.3, 7.0),
    ],
    ids=["dihedral", "distance", "three tethers", "one tether"],
)
def test_response_with_restraints_equals_differences(restraint) -> None:
    model = Chain()
    found = relax(model, CHAIN, restraints=[restraint])
    assert found.is_converged
    _check_response(model, found, {"restraints": [restraint]})


def _check_response(model, found, held) -> None:
    moved = found.response(model.mixed(found.x))
    for column, name in enumerate(Chain._fields):
        step = 1e-4 * getattr(model, name)
        ends = [
            relax(model._replace(**{name: getattr(model, name) + sign * step}), found.x, **held) for sign in (1.0, -1.0)
        ]
        assert all(end.is_converged for end in ends)
        along = [distances(found.x + sign * step * moved[:, column].reshape(4, 3)) for sign in (1.0, -1.0)]
        expected = distances(ends[0].x) - distances(ends[1].x)
        assert_allclose(along[0] - along[1], expected, atol=1e-5 * np.abs(expected).max() + 1e-11)


# Restraints.


def test_the_derivatives_of_restraints_are_those_of_differences() -> None:
    energy = RestraintEnergy(
        [
            Restraint("distance", (0, 3), 2.0, 11.0),
            Restraint("angle", (2, 1, 0), 100.0, 21.0),
            Restraint("dihedral", (0, 1, 2, 3), -170.0, 31.0),
            Restraint("distance", (1, 2), 1.4, 41.0),
            Restraint("distance", (0, 2), 2.4, 51.0),
            Tether((3, 0), CHAIN[[3, 0]] + 0.2, 6.0),
        ],
        4,
    )
    x = chain(2)
    found = energy.at(x)
    assert_allclose(found.gradient, differences(lambda y: energy.at(y).energy, x), rtol=1e-7, atol=1e-7)
    assert_allclose(found.hessian, differences(lambda y: energy.at(y).gradient, x), rtol=1e-7, atol=1e-6)
    turn = torsion_of(x) + 170.0
    expected = (
        11.0 * (np.linalg.norm(x[0] - x[3]) - 2.0) ** 2
        + 21.0 * np.radians(angle_of(x, 0, 1, 2) - 100.0) ** 2
        + 31.0 * np.radians(turn - 360.0 * round(turn / 360.0)) ** 2
        + 41.0 * (np.linalg.norm(x[1] - x[2]) - 1.4) ** 2
        + 51.0 * (np.linalg.norm(x[0] - x[2]) - 2.4) ** 2
        + 6.0 * np.sum((x[[3, 0]] - CHAIN[[3, 0]] - 0.2) ** 2)
    )
    assert found.energy == pytest.approx(expected, rel=1e-12)


def test_two_springs_in_parallel_share_the_strain() -> None:
    # k (r - r0)^2 + k' (r - r')^2 is smallest at (k r0 + k' r') / (k + k').
    found = relax(spring, PAIR, restraints=[Restraint("distance", (0, 1), 2.0, 300.0)])
    assert found.is_converged
    assert distances(found.x)[0] == pytest.approx((100.0 * 1.0 + 300.0 * 2.0) / 400.0, rel=1e-12)
    assert found.restraint_energy == pytest.approx(300.0 * 0.25**2, rel=1e-10)
    assert found.energy - found.restraint_energy == pytest.approx(100.0 * 0.75**2, rel=1e-10)


def test_two_tethers_give_way_to_a_spring() -> None:
    # k (R - 2 d - r0)^2 + 2 k' d^2 is smallest at d = k (R - r0) / (2 k + k').
    found = relax(spring, PAIR, restraints=[Tether((0, 1), PAIR, 50.0)])
    assert found.is_converged
    moved = 100.0 * 0.2 / (200.0 + 50.0)
    assert_allclose(found.x, PAIR + np.outer([moved, -moved], [0.0, 0.0, 1.0]), atol=1e-12)
    assert found.restraint_energy == pytest.approx(2.0 * 50.0 * moved**2, rel=1e-10)


def test_one_tethered_atom_is_where_it_is_tethered() -> None:
    point = np.array([[0.4, -0.3, 0.2]])
    found = relax(cluster, tetrahedron(3, noise=0.1), restraints=[Tether((2,), point, 3.0)])
    assert found.is_converged
    assert found.energy == pytest.approx(-6.0, abs=1e-11)
    assert_allclose(found.x[[2]], point, atol=1e-9)


@pytest.mark.parametrize(("start", "target"), [(165.0, -160.0), (-165.0, 160.0), (20.0, -20.0), (60.0, 400.0)])
def test_a_dihedral_goes_to_its_target_by_the_shorter_way(start, target) -> None:
    seen = []

    def watched(x):
        seen.append(torsion_of(x))
        return NO_TORSION(x)

    x = relax(NO_TORSION, CHAIN, restraints=[Restraint("dihedral", (0, 1, 2, 3), start, 20.0)]).x
    found = relax(watched, x, restraints=[Restraint("dihedral", (0, 1, 2, 3), target, 20.0)])
    assert found.is_converged
    # Nothing works against it: the target is reached.
    assert abs((torsion_of(found.x) - target + 180.0) % 360.0 - 180.0) < 1e-7
    assert found.energy == pytest.approx(0.0, abs=1e-12)
    way = (target - start + 180.0) % 360.0 - 180.0
    passed = (np.array(seen) - start + 180.0) % 360.0 - 180.0
    assert np.all(passed * np.sign(way) > -3.0)
    assert np.all(passed * np.sign(way) < abs(way) + 3.0)


def test_restraints_do_not_depend_on_the_frame() -> None:
    turn = Rotation.from_rotvec([0.4, 0.5, -1.0]).as_matrix()
    restraints = [Restraint("dihedral", (0, 1, 2, 3), 100.0, 10.0), Restraint("angle", (0, 1, 2), 105.0, 30.0)]
    one, other = relax(Chain(), CHAIN, restraints=restraints), relax(Chain(), CHAIN @ turn.T, restraints=restraints)
    assert one.n_iterations == other.n_iterations
    assert_allclose(distances(one.x), distances(other.x), atol=1e-9)


# Fixed coordinates.


@pytest.mark.parametrize("value", [15.0, 75.0, 100.0, 170.0, -130.0])
def test_a_fixed_dihedral_leaves_its_torsion_energy_alone(value) -> None:
    # Without 1-4 repulsion bonds and angles relax completely: what is left is k (1 + cos 3 phi).
    model = Chain(repulsion=0.0)
    found = relax(model, CHAIN, frozen=[Fixed("dihedral", (0, 1, 2, 3), value)])
    assert found.is_converged
    assert abs((torsion_of(found.x) - value + 180.0) % 360.0 - 180.0) < 1e-8
    # The dihedral is kept to 1e-11 rad.
    assert found.energy == pytest.approx(model.torsion * (1.0 + np.cos(3.0 * np.radians(value))), abs=1e-10)
    assert_allclose(distances(found.x)[[0, 3, 5]], model.bond_length, rtol=1e-9)


@pytest.mark.parametrize(
    "fixed",
    [
        [Fixed("dihedral", (0, 1, 2, 3), 20.0)],
        [Fixed("distance", (0, 3), 3.0)],
        [Fixed("angle", (0, 1, 2), 100.0)],
        [Fixed("distance", (1, 2), 1.7), Fixed("angle", (1, 2, 3), 125.0)],
    ],
    ids=["dihedral", "distance", "angle", "two"],
)
def test_a_constrained_minimum_is_the_one_that_scipy_finds(fixed) -> None:
    model = Chain()
    found = relax(model, CHAIN, frozen=fixed)
    assert found.is_converged

    def deviations(y):
        return [_value(entry, y.reshape(4, 3)) - entry.target for entry in fixed]

    assert np.max(np.abs(deviations(found.x))) < 1e-8
    other = scipy.optimize.minimize(
        lambda y: model(y.reshape(4, 3)).energy,
        CHAIN.ravel(),
        jac=lambda y: model(y.reshape(4, 3)).gradient,
        constraints={"type": "eq", "fun": deviations},
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 500},
    )
    assert np.max(np.abs(deviations(other.x))) < 1e-6
    assert found.energy == pytest.approx(other.fun, abs=1e-6)
    assert_allclose(distances(found.x), distances(other.x.reshape(4, 3)), atol=1e-3)


def _value(entry, x) -> float:
    points = x[list(entry.atoms)]
    if entry.kind == "dihedral":
        return torsion_of(points)
    return distances(points)[0] if entry.kind == "distance" else angle_of(points, 0, 1, 2)


def test_a_fixed_coordinate_is_a_restraint_without_give() -> None:
    # With a force constant k the minimum is off by a term in 1 / k: at 1 / k -> 0 both agree.
    entry = ("dihedral", (0, 1, 2, 3), 20.0)
    fixed = relax(Chain(), CHAIN, frozen=[Fixed(*entry)])
    errors = [
        np.max(np.abs(distances(relax(Chain(), CHAIN, restraints=[Restraint(*entry, k)]).x) - distances(fixed.x)))
        for k in (1e3, 1e4)
    ]
    assert errors[1] == pytest.approx(0.1 * errors[0], rel=0.05)
    assert errors[1] < 1e-3


def test_constrained_convergence_is_quadratic() -> None:
    gradients = []
    for steps in range(12):
        found = relax(Chain(), CHAIN, frozen=[Fixed("distance", (0, 3), 3.0)], max_iterations=steps)
        gradients.append(np.max(np.abs(found.reduced.project(found.gradient))))
    orders = np.diff(np.log([g for g in gradients if 1e-10 < g < 3.0]))
    assert len(orders) >= 2
    assert np.all(orders[1:] < 1.6 * orders[:-1])


def test_the_same_coordinate_may_be_fixed_twice() -> None:
    entry = Fixed("dihedral", (0, 1, 2, 3), 50.0)
    once, twice = relax(Chain(), CHAIN, frozen=[entry]), relax(Chain(), CHAIN, frozen=[entry, entry])
    assert twice.is_converged
    assert twice.energy == pytest.approx(once.energy, abs=1e-10)


def test_atoms_and_coordinates_can_be_frozen_together() -> None:
    start = chain(5)
    found = relax(Chain(), start, frozen=[0, 1, Fixed("distance", (2, 3), 1.6)])
    assert found.is_converged
    assert found.x[:2].tobytes() == start[:2].tobytes()
    assert distances(found.x)[5] == pytest.approx(1.6, abs=1e-10)


def test_a_saddle_on_the_constraint_is_left() -> None:
    # Three atoms in line with their outer distance fixed: the middle one slips out, into contact with both.
    line = np.array([[-1.05, 0.0, 0.0], [0.0, 0.0, 0.0], [1.05, 0.0, 0.0]])
    found = relax(cluster, line, frozen=[Fixed("distance", (0, 2), 2.1)])
    assert found.is_converged
    assert_allclose(distances(found.x), [CONTACT, 2.1, CONTACT], rtol=1e-9)


# What cannot be used.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Restraint("length", (0, 1), 1.0, 1.0), "cannot be held. Known kinds: distance, angle, dihedral"),
        (lambda: Restraint("angle", (0, 1), 100.0, 1.0), "one angle has 3 different atoms"),
        (lambda: Fixed("distance", (1, 1), 1.0), "one distance has 2 different atoms"),
        (lambda: Fixed("distance", (0, 1), float("nan")), "not finite. Give a value in A"),
        (lambda: Restraint("distance", (0, 1), 1.0, 0.0), "pulls nowhere"),
        (lambda: Restraint("angle", (0, 1, 2), 180.0, 1.0), "Restrain the distance of its outer atoms"),
        (lambda: Tether((0, 1), PAIR[:1], 1.0), "positions of shape"),
        (lambda: Tether((0, 0), PAIR, 1.0), "one of them twice"),
        (lambda: Tether((0, 1), PAIR, -1.0), "pulls nowhere"),
        (lambda: relax(spring, np.full((2, 3), np.nan)), "starts at coordinates that are not finite"),
        (lambda: relax(spring, PAIR, frozen=[2]), "the molecule has the atoms 0 to 1"),
        (lambda: relax(spring, PAIR, frozen=[Fixed("distance", (0, 2), 1.0)]), "the molecule has the atoms 0 to 1"),
        (lambda: relax(spring, PAIR, restraints=[Tether((-1,), PAIR[:1], 1.0)]), "Count atoms from 0"),
    ],
)
def test_what_cannot_be_held_is_an_error(make, message) -> None:
    with pytest.raises(MoleculeError, match=message):
        make()


@pytest.mark.parametrize(
    "frozen",
    [
        [Fixed("distance", (0, 1), 1.0), Fixed("distance", (1, 2), 1.0), Fixed("distance", (0, 2), 3.0)],
        [0, 1, Fixed("distance", (0, 1), 1.0)],
    ],
    ids=["triangle", "frozen atoms"],
)
def test_values_that_no_geometry_has_are_an_error(frozen) -> None:
    with pytest.raises(EvaluationError, match="No geometry near the start has the values"):
        relax(cluster, tetrahedron(0, noise=0.1), frozen=frozen)


def test_a_restraint_alone_can_relax_a_molecule() -> None:
    found = relax(nothing, PAIR, restraints=[Restraint("distance", (0, 1), 3.0, 1.0)])
    assert found.is_converged
    assert distances(found.x)[0] == pytest.approx(3.0, rel=1e-12)
