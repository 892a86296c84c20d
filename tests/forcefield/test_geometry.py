"""Internal coordinates against automatic differentiation and closed forms."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fieldfit.forcefield.geometry import COORDINATES
from fieldfit.precision import in_double_precision

WATER = np.array([[0.9572, 0.0, 0.0], [0.0, 0.0, 0.0], [-0.2399872, 0.9266272, 0.0]])
LINEAR = np.array([[-1.1, 0.0, 0.0], [0.0, 0.0, 0.0], [1.6, 0.0, 0.0]])
OFFSETS = (-0.077, 0.05)


# Compiled once per coordinate: the functions are written for JAX arrays.
DERIVATIVES = {name: in_double_precision(jax.jit(entry.derivatives)) for name, entry in COORDINATES.items()}
VALUES = {name: in_double_precision(jax.jit(entry.value)) for name, entry in COORDINATES.items()}
GRADIENTS = {name: in_double_precision(jax.jit(jax.grad(entry.value))) for name, entry in COORDINATES.items()}
HESSIANS = {name: in_double_precision(jax.jit(jax.hessian(entry.value))) for name, entry in COORDINATES.items()}


def constants(name):
    return OFFSETS[: COORDINATES[name].n_constants]


def derivatives(name, x):
    return DERIVATIVES[name](x, *constants(name))


def value(name, x):
    return float(VALUES[name](x, *constants(name)))


def generic(name, seed):
    """Return points of which no three are in line."""
    shape = np.array([[0.0, 0.0, 0.0], [1.4, 0.1, 0.0], [2.0, 1.4, 0.2], [3.3, 1.2, 1.1]])
    count = COORDINATES[name].n_atoms
    return shape[:count] + 0.2 * np.random.default_rng(seed).uniform(-1.0, 1.0, size=(count, 3))


@pytest.mark.parametrize("name", COORDINATES)
@given(seed=st.integers(0, 10_000))
def test_analytic_derivatives_equal_automatic_ones(name, seed):
    x = generic(name, seed)
    found = derivatives(name, x)
    assert_allclose(found.q, VALUES[name](x, *constants(name)), rtol=1e-14)
    assert_allclose(found.b, GRADIENTS[name](x, *constants(name)).ravel(), atol=1e-13)
    assert_allclose(found.C, HESSIANS[name](x, *constants(name)).reshape(x.size, x.size), atol=1e-12)


@pytest.mark.parametrize("name", COORDINATES)
@given(seed=st.integers(0, 10_000))
def test_coordinates_do_not_feel_rotation_and_translation(name, seed):
    x = generic(name, seed)
    turned = x @ Rotation.random(random_state=seed).as_matrix().T + [3.0, -2.0, 5.0]
    assert_allclose(value(name, turned), value(name, x), rtol=1e-11)


@pytest.mark.parametrize("name", COORDINATES)
def test_derivatives_sum_to_zero_over_atoms(name):
    # A translation changes no internal coordinate, nor its gradient.
    found = derivatives(name, generic(name, 1))
    assert_allclose(found.b.reshape(-1, 3).sum(axis=0), 0.0, atol=1e-13)
    assert_allclose(found.C.reshape(-1, 3, 3 * COORDINATES[name].n_atoms).sum(axis=0), 0.0, atol=1e-12)


@pytest.mark.parametrize("name", COORDINATES)
def test_second_derivatives_are_symmetric(name):
    C = derivatives(name, generic(name, 2)).C
    assert_allclose(C, C.T, atol=1e-14)


def test_distance_and_angle_of_water():
    assert value("distance", WATER[:2]) == pytest.approx(0.9572, abs=1e-12)
    # Experimental geometry, as it is used in TIP3P: 104.52 degrees.
    assert np.degrees(value("angle", WATER)) == pytest.approx(104.52, abs=1e-4)
    assert value("cosine", WATER) == pytest.approx(np.cos(np.radians(104.52)), abs=1e-6)


@pytest.mark.parametrize("degrees", [-150.0, -60.0, 0.0, 60.0, 90.0, 179.0])
@pytest.mark.parametrize("name", ["dihedral", "guarded dihedral"])
def test_dihedral_has_the_sign_of_iupac(name, degrees):
    # Looking from the second atom to the third, the front bond turns clockwise into the back bond if positive.
    # Here one looks along +x, with y to the left and z up; clockwise from up (+z) is towards the right (-y).
    angle = np.radians(degrees)
    x = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [1.5, -np.sin(angle), np.cos(angle)]])
    assert np.degrees(value(name, x)) == pytest.approx(degrees, abs=1e-10)


@pytest.mark.parametrize("name", ["linear bend", "cosine"])
def test_coordinates_of_a_linear_angle_have_the_derivatives_of_two_tilting_bonds(name):
    # Each bond tilts by the displacement across over its length; with the tilt t of both, the linear bend is t^2 and
    # the cosine -1 + t^2 / 2.
    share, rest = {"linear bend": (1.0, 0.0), "cosine": (0.5, -1.0)}[name]
    found = derivatives(name, LINEAR)
    assert found.q == pytest.approx(rest, abs=1e-30)
    assert_allclose(found.b, 0.0, atol=1e-15)
    tilt = np.array([1.0 / 1.1, -1.0 / 1.1 - 1.0 / 1.6, 1.0 / 1.6])
    along, across = np.diag([0.0, 1.0, 1.0]), np.outer(tilt, tilt)
    assert_allclose(found.C, 2.0 * share * np.kron(across, along), atol=1e-14)


@given(bend=st.floats(1e-4, 0.05))
def test_linear_bend_is_the_squared_deviation_from_180_degrees(bend):
    x = LINEAR.copy()
    x[2] = 1.6 * np.array([np.cos(bend), np.sin(bend), 0.0])
    # By the series of the cosine, 2 (1 + cos(pi - t)) is t^2 - t^4 / 12 and so on.
    assert value("linear bend", x) == pytest.approx(bend**2 - bend**4 / 12.0, rel=1e-6)


@pytest.mark.parametrize("far", [0, 3])
def test_guarded_dihedral_has_no_derivatives_where_three_atoms_are_in_line(far):
    x = generic("guarded dihedral", 5)
    near, middle = (1, 2) if far == 0 else (2, 1)
    x[far] = 2.0 * x[near] - x[middle]
    found = derivatives("guarded dihedral", x)
    third = in_double_precision(jax.jit(jax.jacfwd(lambda y: COORDINATES["guarded dihedral"].derivatives(y).C)))(x)
    for part in (*found, third):
        assert_allclose(part, 0.0, atol=0.0)


def test_guarded_dihedral_is_the_dihedral_at_an_angle_of_179_degrees():
    x = generic("dihedral", 5)
    bend = np.radians(1.0)
    x[:3] = [[np.cos(bend), np.sin(bend), 0.0], [0.0, 0.0, 0.0], [-1.4, 0.0, 0.0]]
    assert np.degrees(value("angle", x[:3])) == pytest.approx(179.0)
    for guarded, plain in zip(derivatives("guarded dihedral", x), derivatives("dihedral", x), strict=True):
        assert_allclose(guarded, plain, rtol=1e-13, atol=1e-13 * np.abs(plain).max())


@given(height=st.floats(-1.5, 1.5), turn=st.floats(0.0, 6.2))
def test_wilson_angle_is_the_elevation_above_the_plane(height, turn):
    # The plane of c-i-j is z = 0 and i, j follow each other counterclockwise, so that the normal is +z.
    k = 1.3 * np.array([np.cos(height) * np.cos(turn), np.cos(height) * np.sin(turn), np.sin(height)])
    x = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [-0.5, 0.9, 0.0], k])
    assert value("wilson angle", x) == pytest.approx(height, abs=1e-14)
    assert value("wilson angle", x[[0, 2, 1, 3]]) == pytest.approx(-height, abs=1e-14)


def test_site_distance_with_offsets_zero_is_the_distance():
    x = generic("site distance", 3)
    found = DERIVATIVES["site distance"](x, 0.0, 0.0)
    plain = derivatives("distance", x[[0, 2]])
    rows = [0, 1, 2, 6, 7, 8]
    assert found.q == plain.q
    assert_allclose(found.b[rows], plain.b, atol=1e-16)
    assert_allclose(found.C[np.ix_(rows, rows)], plain.C, atol=1e-16)
    others = [3, 4, 5, 9, 10, 11]
    assert_allclose(found.b[others], 0.0, atol=0.0)
    assert_allclose(found.C[others], 0.0, atol=0.0)


def test_site_distance_of_two_bonds_on_a_line_is_shortened_by_both_offsets():
    # C-H ... H-C along x, 1.1 A long: the sites of the hydrogens move apart by 0.077 of that each.
    x = np.array([[1.1, 0.0, 0.0], [0.0, 0.0, 0.0], [3.1, 0.0, 0.0], [4.2, 0.0, 0.0]])
    assert float(VALUES["site distance"](x, -0.077, -0.077)) == pytest.approx(2.0 + 2 * 0.077 * 1.1, rel=1e-14)


def test_site_of_an_atom_without_offset_may_name_itself_as_parent():
    x = generic("site distance", 4)
    x[3] = x[2]
    found = DERIVATIVES["site distance"](x, -0.077, 0.0)
    x[3] = [9.0, 9.0, 9.0]
    expected = DERIVATIVES["site distance"](x, -0.077, 0.0)
    for part, other in zip(found, expected, strict=True):
        assert_allclose(part, other, atol=1e-16)


def test_site_distance_of_atoms_bonded_to_each_other_is_that_of_the_shifted_hydrogen():
    # The parent of the hydrogen is the other atom of the pair: its site lies on the line between them.
    H, C, N = np.array([0.0, 0.0, 1.1]), np.zeros(3), np.array([1.4, 0.0, 0.0])
    assert float(VALUES["site distance"](np.stack([H, C, C, N]), -0.077, 0.0)) == pytest.approx(0.923 * 1.1, rel=1e-14)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], -2.0),  # head to tail
        ([0.0, 1.0, 0.0], [0.0, 1.0, 0.0], 1.0),  # side by side, parallel
        ([0.0, 1.0, 0.0], [0.0, -1.0, 0.0], -1.0),  # side by side, antiparallel
        ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0], 0.0),
    ],
)
def test_dipole_coupling_is_that_of_the_textbook(first, second, expected):
    # Dipoles 2 A apart along x: the energies of the four arrangements are -2, 1, -1 and 0 in units of mu1 mu2 / r^3.
    halves = [0.6 * np.array(first), 0.4 * np.array(second)]
    middle = np.array([2.0, 0.0, 0.0])
    x = np.stack([-halves[0], halves[0], middle - halves[1], middle + halves[1]])
    assert value("dipole coupling", x) == pytest.approx(expected / 8.0, abs=1e-15)


def test_coordinates_of_equal_arms_do_not_feel_their_order():
    orders = {
        "distance": [(1, 0)],
        "angle": [(2, 1, 0)],
        "cosine": [(2, 1, 0)],
        "linear bend": [(2, 1, 0)],
        "dihedral": [(3, 2, 1, 0)],
        "guarded dihedral": [(3, 2, 1, 0)],
        "dipole coupling": [(2, 3, 0, 1), (1, 0, 3, 2)],
    }
    for name, order in itertools.chain.from_iterable(((name, o) for o in all_of) for name, all_of in orders.items()):
        x = generic(name, 8)
        assert value(name, x[list(order)]) == pytest.approx(value(name, x), rel=1e-13), name
