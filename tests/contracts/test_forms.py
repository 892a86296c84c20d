"""What every functional form has to keep, over the table of forms."""

import importlib
import inspect
import pkgutil

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fieldfit.forcefield import forms
from fieldfit.forcefield.forms import FORMS, Form
from fieldfit.forcefield.geometry import COORDINATES
from fieldfit.precision import in_double_precision

POINTS = np.array([[0.0, 0.0, 0.0], [1.4, 0.1, 0.0], [2.0, 1.4, 0.2], [3.3, 1.2, 1.1]])
KCAL_PER_MDYN = 300.99696 / 4.184  # the factor in front of the MM3 stretch and bend, kcal/mol


# Compiled once per form: the functions are written for JAX arrays.
ENERGIES = {name: in_double_precision(jax.jit(form.energy)) for name, form in FORMS.items()}
GRADIENTS = {name: in_double_precision(jax.jit(jax.grad(form.energy))) for name, form in FORMS.items()}


def arguments(form):
    """Return parameters, own then borrowed, and constants of a plausible row, in internal units."""
    middles = {"k": 50.0, "r0": 1.3, "theta0": 1.8, "periodicity": 3.0, "phase": 0.4}
    names = [column.name for column in form.columns] + [entry.column for entry in form.borrowed]
    return np.array([middles[name] for name in names]), np.array([middles[name] for name in form.constants])


def term_energy(form, x, p, s):
    def energy(y, p, s):
        q = [
            COORDINATES[entry.kind].value(y[np.array(entry.atoms)], *[s[index] for index in entry.constants])
            for entry in form.coordinates
        ]
        return form.energy(jax.numpy.stack(q), p, s)

    return float(in_double_precision(jax.jit(energy))(x, p, s))


def coordinate_energy(name, q, p, s=()):
    return float(ENERGIES[name](*(np.array(entry, dtype=float) for entry in (q, p, s))))


@pytest.mark.parametrize("name", FORMS)
def test_columns_say_unit_bounds_and_scale(name):
    form = FORMS[name]
    assert form.name == name
    assert form.formula
    for column in form.columns:
        assert column.unit
        assert column.lower < column.upper
        assert 0.0 < column.scale <= column.upper - column.lower
    assert form.columns[0].is_linear


@pytest.mark.parametrize("name", FORMS)
def test_energy_is_proportional_to_linear_columns(name):
    form = FORMS[name]
    p, s = arguments(form)
    doubled = p.copy()
    doubled[[column.is_linear for column in form.columns] + [False] * len(form.borrowed)] *= 2.0
    x = POINTS[: form.n_atoms]
    assert term_energy(form, x, doubled, s) == pytest.approx(2.0 * term_energy(form, x, p, s), rel=1e-12)


@pytest.mark.parametrize("name", FORMS)
def test_energy_does_not_feel_rotation_translation_and_reversal(name):
    form = FORMS[name]
    p, s = arguments(form)
    s = np.where(np.array(form.constants) == "phase", 0.0, s)
    x = POINTS[: form.n_atoms]
    turned = x @ Rotation.random(random_state=3).as_matrix().T + [1.0, 2.0, -3.0]
    assert term_energy(form, turned, p, s) == pytest.approx(term_energy(form, x, p, s), rel=1e-11)
    if form.kind != "out-of-plane":
        assert term_energy(form, x[::-1].copy(), p, s) == pytest.approx(term_energy(form, x, p, s), rel=1e-12)


@pytest.mark.parametrize("name", FORMS)
def test_derivatives_equal_central_differences(name):
    form = FORMS[name]
    p, s = arguments(form)
    q = np.array([1.1, 1.6, 1.9][: len(form.coordinates)])
    gradient = GRADIENTS[name](q, p, s)
    step = 1e-5
    moved = [[coordinate_energy(name, q + sign * step * row, p, s) for sign in (1, -1)] for row in np.eye(len(q))]
    assert_allclose(gradient, [(plus - minus) / (2.0 * step) for plus, minus in moved], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["harmonic_bond", "harmonic_angle", "mm3_bond", "mm3_angle"])
def test_energy_and_force_vanish_at_equilibrium(name):
    form = FORMS[name]
    q, p, s = np.array([1.3]), np.array([100.0, 1.3]), np.zeros(0)
    assert coordinate_energy(name, q, p) == 0.0
    assert GRADIENTS[name](q, p, s)[0] == 0.0
    # E = k x^2 without a half: the curvature is 2 k.
    assert in_double_precision(jax.jit(jax.hessian(form.energy)))(q, p, s)[0, 0] == pytest.approx(200.0)


def test_mm3_stretch_is_the_published_polynomial():
    # 300.99696 k d^2 (1 - 2.55 d + 7/12 2.55^2 d^2) kJ/mol with k = 4.49 mdyn/A, d = 0.1 A:
    # 300.99696 * 4.49 * 0.01 * (1 - 0.255 + 0.03793125) = 10.581069... kJ/mol
    expected = 300.99696 * 4.49 * 0.01 * (1.0 - 0.255 + 7.0 / 12.0 * 6.5025 * 0.01) / 4.184
    assert coordinate_energy("mm3_bond", [1.6], [4.49 * KCAL_PER_MDYN, 1.5]) == pytest.approx(expected, rel=1e-12)


def test_mm3_bend_is_the_published_polynomial():
    # 10 degrees off, k = 0.67 mdyn A/rad^2: the bracket is 1 - 0.14 + 0.0056 - 0.0007 + 0.00022.
    expected = 300.99696 * 0.67 * np.radians(10.0) ** 2 * (1.0 - 0.14 + 0.0056 - 0.0007 + 0.00022) / 4.184
    found = coordinate_energy("mm3_angle", [np.radians(119.5)], [0.67 * KCAL_PER_MDYN, np.radians(109.5)])
    assert found == pytest.approx(expected, rel=1e-12)


def test_torsions_follow_the_mm3_pattern():
    # V1 (1 + cos) / 2, V2 (1 - cos 2) / 2, V3 (1 + cos 3) / 2 with k = V / 2 and gamma = 0, 180, 0.
    phi = 0.7
    for n, gamma, expected in (
        (1, 0.0, 1 + np.cos(phi)),
        (2, np.pi, 1 - np.cos(2 * phi)),
        (3, 0.0, 1 + np.cos(3 * phi)),
    ):
        assert coordinate_energy("cosine_torsion", [phi], [0.5], [n, gamma]) == pytest.approx(0.5 * expected, rel=1e-12)


def test_out_of_plane_vanishes_in_the_plane_and_does_not_feel_the_order_of_neighbours():
    form = FORMS["out_of_plane"]
    around = np.array([[1.0, 0.0, 0.0], [-0.5, 0.9, 0.0], [-0.6, -0.8, 0.0]])
    flat = np.concatenate([np.zeros((1, 3)), around])
    p, s = np.array([10.0]), np.zeros(0)
    assert term_energy(form, flat, p, s) == pytest.approx(0.0, abs=1e-25)
    bent = flat + np.array([[0.0, 0.0, 0.2], [0.0, 0.0, 0.0], [0.0, 0.0, 0.1], [0.0, 0.0, 0.0]])
    energies = [term_energy(form, bent[[0, *order]], p, s) for order in ((1, 2, 3), (2, 1, 3), (3, 2, 1), (2, 3, 1))]
    assert energies[0] > 0.1
    assert_allclose(energies, energies[0], rtol=1e-12)


def test_stretch_bend_is_the_product_of_displacements():
    # k (d1 + d2) D with d1 = 0.1, d2 = -0.03, D = 0.2.
    found = coordinate_energy("stretch_bend", [1.2, 1.37, 2.0], [7.0, 1.1, 1.4, 1.8])
    assert found == pytest.approx(7.0 * 0.07 * 0.2, rel=1e-12)


def test_every_form_is_in_the_table():
    defined = set()
    for entry in pkgutil.iter_modules(forms.__path__):
        module = importlib.import_module(f"{forms.__name__}.{entry.name}")
        defined |= {value.name for _, value in inspect.getmembers(module) if isinstance(value, Form)}
    assert defined == set(FORMS)
