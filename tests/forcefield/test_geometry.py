"""Internal coordinates against automatic differentiation and closed forms."""

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


# Compiled once per coordinate: the functions are written for JAX arrays.
DERIVATIVES = {name: in_double_precision(jax.jit(entry.derivatives)) for name, entry in COORDINATES.items()}
VALUES = {name: in_double_precision(jax.jit(entry.value)) for name, entry in COORDINATES.items()}
GRADIENTS = {name: in_double_precision(jax.jit(jax.grad(entry.value))) for name, entry in COORDINATES.items()}
HESSIANS = {name: in_double_precision(jax.jit(jax.hessian(entry.value))) for name, entry in COORDINATES.items()}


def derivatives(name, x):
    return DERIVATIVES[name](x)


def value(name, x):
    return float(VALUES[name](x))


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
    assert_allclose(found.q, VALUES[name](x), rtol=1e-14)
    assert_allclose(found.b, GRADIENTS[name](x).ravel(), atol=1e-13)
    assert_allclose(found.C, HESSIANS[name](x).reshape(x.size, x.size), atol=1e-12)


@pytest.mark.parametrize("name", COORDINATES)
@given(seed=st.integers(0, 10_000))
def test_coordinates_do_not_feel_rotation_and_translation(name, seed):
    x = generic(name, seed)
    turned = x @ Rotation.random(random_state=seed).as_matrix().T + [3.0, -2.0, 5.0]
    assert_allclose(value(name, turned), value(name, x), rtol=1e-12)


@pytest.mark.parametrize("name", COORDINATES)
def test_derivatives_sum_to_zero_over_atoms(name):
    # A translation changes no internal coordinate, nor its gradient.
    found = derivatives(name, generic(name, 1))
    assert_allclose(found.b.reshape(-1, 3).sum(axis=0), 0.0, atol=1e-13)
    assert_allclose(found.C.reshape(-1, 3, 3 * COORDINATES[name].n_atoms).sum(axis=0), 0.0, atol=1e-12)


def test_distance_and_angle_of_water():
    assert value("distance", WATER[:2]) == pytest.approx(0.9572, abs=1e-12)
    # Experimental geometry, as it is used in TIP3P: 104.52 degrees.
    assert np.degrees(value("angle", WATER)) == pytest.approx(104.52, abs=1e-4)


@pytest.mark.parametrize("degrees", [-150.0, -60.0, 0.0, 60.0, 90.0, 179.0])
def test_dihedral_has_the_sign_of_iupac(degrees):
    # Looking from the second atom to the third, the front bond turns clockwise into the back bond if positive.
    # Here one looks along +x, with y to the left and z up; clockwise from up (+z) is towards the right (-y).
    angle = np.radians(degrees)
    x = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [1.5, -np.sin(angle), np.cos(angle)]])
    assert np.degrees(value("dihedral", x)) == pytest.approx(degrees, abs=1e-10)


def test_linear_bend_is_smooth_at_180_degrees():
    found = derivatives("linear bend", LINEAR)
    assert found.q == pytest.approx(0.0, abs=1e-30)
    assert_allclose(found.b, 0.0, atol=1e-15)
    # The bend is the sum of the two bond's tilts, each the displacement across over the bond's length; q is its square.
    assert found.C[5, 5] == pytest.approx(2.0 * (1.0 / 1.1 + 1.0 / 1.6) ** 2, rel=1e-12)


@given(bend=st.floats(1e-4, 0.05))
def test_linear_bend_is_the_squared_deviation_from_180_degrees(bend):
    x = LINEAR.copy()
    x[2] = 1.6 * np.array([np.cos(bend), np.sin(bend), 0.0])
    # By the series of the cosine, 2 (1 + cos(pi - t)) is t^2 - t^4 / 12 and so on.
    assert value("linear bend", x) == pytest.approx(bend**2 - bend**4 / 12.0, rel=1e-6)


def test_angle_derivatives_stay_exact_near_180_degrees():
    x = LINEAR.copy()
    x[2, 1] = 1e-3
    found = derivatives("angle", x)
    step = 1e-7
    moved = [value("angle", x + step * sign * np.eye(9)[5].reshape(3, 3)) for sign in (1.0, -1.0)]
    assert found.b[5] == pytest.approx((moved[0] - moved[1]) / (2.0 * step), abs=1e-7)
