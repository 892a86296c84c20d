"""What every functional form has to keep, over the table of forms, and the closed form of each energy."""

import functools
import importlib
import inspect
import itertools
import math
import pkgutil

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import constants
from scipy.spatial.transform import Rotation

from fieldfit.forcefield import forms
from fieldfit.forcefield.forms import FORMS, Form
from fieldfit.forcefield.geometry import COORDINATES
from fieldfit.precision import in_double_precision

POINTS = np.array([[0.0, 0.0, 0.0], [1.4, 0.1, 0.0], [2.0, 1.4, 0.2], [3.3, 1.2, 1.1], [1.9, -0.6, 0.8]])
KCAL_PER_MDYN = 300.99696 / 4.184  # the factor in front of the MM3 stretch and bend, kcal/mol

PLAUSIBLE = {
    "k": 50.0,
    "r0": 1.3,
    "theta0": 1.8,
    "depth": 90.0,
    "phi0": 0.3,
    "radius": 1.2,
    "distance": 2.3,
    "epsilon": 0.1,
    "moment": 1.1,
    "charge": 0.4,
    "periodicity": 3.0,
    "phase": 0.0,
    "offset": -0.077,
    "offset_i": -0.077,
    "offset_j": 0.05,
    "scale": 0.5,
    "factor": 300.0,
}
"""Parameters and constants in internal units."""

COORDINATE_VALUES = {
    "distance": 1.5,
    "site distance": 2.1,
    "angle": 1.7,
    "cosine": -0.99,
    "linear bend": 0.1,
    "dihedral": 1.1,
    "guarded dihedral": 1.1,
    "wilson angle": 0.2,
    "dipole coupling": 0.02,
}

SWAPS = {
    "mm3_bend_bend": ([3, 1, 4, 0, 2], [1, 0, 3, 2], []),
    "buckingham": ([2, 3, 0, 1], [2, 3, 0, 1], [1, 0, 2]),
    "buckingham_pair": ([2, 3, 0, 1], [0, 1], [1, 0, 2]),
    "shifted_charges": ([2, 3, 0, 1], [], [1, 0, 2]),
    "bond_dipoles": ([2, 3, 0, 1], [1, 0], [0]),
    "lennard_jones": ([1, 0], [2, 3, 0, 1], [0]),
    "lennard_jones_geometric": ([1, 0], [2, 3, 0, 1], [0]),
    "lennard_jones_waldman_hagler": ([1, 0], [2, 3, 0, 1], [0]),
    "coulomb": ([1, 0], [1, 0], [0]),
}
"""Atoms, parameters and constants after the two halves of a term have changed places; else the atoms are reversed."""

ELEMENTWISE = {
    "add", "sub", "mul", "div", "neg", "integer_pow", "square", "sqrt", "exp", "sin", "cos", "atan2", "pow",
    "select_n", "lt", "le", "gt", "ge", "convert_element_type",
}  # fmt: skip
"""Primitives that a formula of another program can be made of."""


# Compiled once per form: the functions are written for JAX arrays.
ENERGIES = {name: in_double_precision(jax.jit(form.energy)) for name, form in FORMS.items()}
GRADIENTS = {name: in_double_precision(jax.jit(jax.grad(form.energy))) for name, form in FORMS.items()}


def arguments(form):
    """Return plausible parameters, own ones of every site and borrowed ones, and constants; the sites differ."""
    own = [PLAUSIBLE[column.name] * (1.0 + 0.1 * site) for site in range(len(form.sites)) for column in form.columns]
    borrowed = [PLAUSIBLE[entry.column] for entry in form.borrowed]
    fixed = [PLAUSIBLE[name] * (1.0 + 0.1 * site) for site in range(len(form.sites)) for name in form.constants]
    return np.array(own + borrowed), np.array(fixed + [PLAUSIBLE[name] for name in form.assigned])


@functools.cache
def compiled_term(name):
    form = FORMS[name]

    def energy(x, p, s):
        q = [
            COORDINATES[entry.kind].value(x[np.array(entry.atoms)], *[s[index] for index in entry.constants])
            for entry in form.coordinates
        ]
        return form.energy(q, p, s)

    return in_double_precision(jax.jit(energy))


def term_energy(name, x, p, s):
    return float(compiled_term(name)(x, p, s))


def energy(name, q, p, s=()):
    return float(ENERGIES[name](*(np.array(entry, dtype=float) for entry in (q, p, s))))


def slope(name, q, p, s=()):
    return np.asarray(GRADIENTS[name](*(np.array(entry, dtype=float) for entry in (q, p, s))))


@pytest.mark.parametrize("name", FORMS)
def test_columns_say_unit_bounds_and_scale(name):
    form = FORMS[name]
    assert form.name == name
    assert form.formula
    for column in form.columns:
        assert column.unit
        assert column.lower < column.upper
        assert 0.0 < column.scale <= column.upper - column.lower


@pytest.mark.parametrize("name", FORMS)
def test_sites_and_constants_lie_within_the_form(name):
    form = FORMS[name]
    assert len({len(site) for site in form.sites}) == 1
    assert set(itertools.chain.from_iterable(form.sites)) <= set(range(form.n_atoms))
    for entry in form.coordinates:
        assert len(entry.atoms) == COORDINATES[entry.kind].n_atoms
        assert len(entry.constants) == COORDINATES[entry.kind].n_constants
        assert set(entry.atoms) <= set(range(form.n_atoms))
        assert set(entry.constants) <= set(range(form.n_constants))
    p, s = arguments(form)
    assert (len(p), len(s)) == (form.n_parameters, form.n_constants)


@pytest.mark.parametrize("name", FORMS)
def test_energy_is_proportional_to_linear_columns(name):
    form = FORMS[name]
    p, s = arguments(form)
    is_linear = [column.is_linear for column in form.columns] * len(form.sites) + [False] * len(form.borrowed)
    factor = 2.0 if any(is_linear) else 1.0
    x = POINTS[: form.n_atoms]
    scaled = np.where(is_linear, factor * p, p)
    assert term_energy(name, x, scaled, s) == pytest.approx(factor * term_energy(name, x, p, s), rel=1e-12)


@pytest.mark.parametrize("name", FORMS)
def test_energy_does_not_feel_rotation_and_translation(name):
    form = FORMS[name]
    x = POINTS[: form.n_atoms]
    turned = x @ Rotation.random(random_state=3).as_matrix().T + [1.0, 2.0, -3.0]
    assert term_energy(name, turned, *arguments(form)) == pytest.approx(
        term_energy(name, x, *arguments(form)), rel=1e-11
    )


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.kind != "out-of-plane"])
def test_energy_does_not_feel_from_which_end_a_term_is_read(name):
    form = FORMS[name]
    p, s = arguments(form)
    x = POINTS[: form.n_atoms]
    backward = list(reversed(range(form.n_atoms))), list(range(len(p))), list(range(len(s)))
    atoms, parameters, constants = SWAPS.get(name, backward)
    swapped = term_energy(name, x[atoms], p[np.array(parameters, dtype=int)], s[np.array(constants, dtype=int)])
    assert swapped == pytest.approx(term_energy(name, x, p, s), rel=1e-12)


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.kind == "out-of-plane"])
def test_out_of_plane_vanishes_in_the_plane_and_does_not_feel_the_order_of_neighbours(name):
    around = np.array([[1.0, 0.0, 0.0], [-0.5, 0.9, 0.0], [-0.6, -0.8, 0.0]])
    flat = np.concatenate([np.zeros((1, 3)), around])
    p, s = np.array([10.0]), np.zeros(0)
    assert term_energy(name, flat, p, s) == pytest.approx(0.0, abs=1e-25)
    bent = flat + np.array([[0.0, 0.0, 0.2], [0.0, 0.0, 0.0], [0.0, 0.0, 0.1], [0.0, 0.0, 0.0]])
    energies = [term_energy(name, bent[[0, *order]], p, s) for order in itertools.permutations((1, 2, 3))]
    assert energies[0] > 0.1
    assert_allclose(energies, energies[0], rtol=1e-12)


@pytest.mark.parametrize("name", FORMS)
def test_derivatives_equal_central_differences(name):
    form = FORMS[name]
    p, s = arguments(form)
    q = np.array([COORDINATE_VALUES[entry.kind] + 0.001 * place for place, entry in enumerate(form.coordinates)])
    step = 1e-5
    moved = [[energy(name, q + sign * step * row, p, s) for sign in (1, -1)] for row in np.eye(len(q))]
    expected = [(plus - minus) / (2.0 * step) for plus, minus in moved]
    # Differences lose the third derivative times step^2 and rounding over step; energies are up to 1e3 here.
    assert_allclose(slope(name, q, p, s), expected, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("name", FORMS)
def test_energy_is_a_formula_of_separate_scalars(name):
    form = FORMS[name]
    (p, s), d = arguments(form), len(form.coordinates)
    numbers = [*[COORDINATE_VALUES[entry.kind] for entry in form.coordinates], *map(float, p), *map(float, s)]

    def split(*scalars):
        return form.energy(scalars[:d], scalars[d : d + len(p)], scalars[d + len(p) :])

    with jax.enable_x64(True):
        equations = list(_flat(jax.make_jaxpr(split)(*numbers).jaxpr))
    assert {equation.primitive.name for equation in equations} <= ELEMENTWISE
    assert all(variable.aval.shape == () for equation in equations for variable in equation.outvars)
    found = in_double_precision(jax.jit(split))(*numbers)
    assert float(found) == pytest.approx(energy(name, numbers[:d], p, s), rel=1e-14)


def _flat(jaxpr):
    """Yield the equations of a trace, those of the functions that it calls included."""
    for equation in jaxpr.eqns:
        inner = equation.params.get("jaxpr")
        if inner is None:
            yield equation
        else:
            yield from _flat(inner.jaxpr)


def test_every_form_is_in_the_table():
    defined = set()
    for entry in pkgutil.iter_modules(forms.__path__):
        module = importlib.import_module(f"{forms.__name__}.{entry.name}")
        defined |= {value.name for _, value in inspect.getmembers(module) if isinstance(value, Form)}
    assert defined == set(FORMS)


@pytest.mark.parametrize(
    ("name", "p"),
    [
        ("harmonic_bond", [100.0, 1.3]),
        ("harmonic_angle", [100.0, 1.3]),
        ("urey_bradley", [100.0, 1.3]),
        ("mm3_bond", [100.0, 1.3]),
        ("mm3_angle", [100.0, 1.3]),
        ("morse", [100.0, 1.3, 90.0]),
        ("harmonic_improper", [100.0, 1.3]),
    ],
)
def test_energy_and_force_vanish_at_equilibrium_where_the_curvature_is_twice_k(name, p):
    q, s = np.array([1.3]), np.zeros(0)
    assert energy(name, q, p) == 0.0
    assert slope(name, q, p)[0] == 0.0
    # E = k x^2 without a half.
    hessian = in_double_precision(jax.jit(jax.hessian(FORMS[name].energy)))(q, np.array(p), s)
    assert hessian[0, 0] == pytest.approx(200.0)


def test_morse_is_the_curve_of_which_mm3_keeps_five_terms():
    # With a = 2.55 / A the series of (1 - exp(-a d))^2 is a^2 d^2 (1 - a d + 7/12 a^2 d^2 - a^3 d^3 / 4 + ...).
    k, d = 300.0, 0.01
    difference = energy("morse", [1.3 + d], [k, 1.3, k / 2.55**2]) - energy("mm3_bond", [1.3 + d], [k, 1.3])
    assert difference / (k * d**2) == pytest.approx(-0.25 * (2.55 * d) ** 3, rel=0.02)


def test_morse_takes_its_depth_to_break_the_bond():
    assert energy("morse", [50.0], [300.0, 1.3, 90.0]) == pytest.approx(90.0, rel=1e-14)


def test_mm3_stretch_is_the_published_polynomial():
    # 300.99696 k d^2 (1 - 2.55 d + 7/12 2.55^2 d^2) kJ/mol with k = 4.49 mdyn/A, d = 0.1 A:
    # 300.99696 * 4.49 * 0.01 * (1 - 0.255 + 0.03793125) = 10.581069... kJ/mol
    expected = 300.99696 * 4.49 * 0.01 * (1.0 - 0.255 + 7.0 / 12.0 * 6.5025 * 0.01) / 4.184
    assert energy("mm3_bond", [1.6], [4.49 * KCAL_PER_MDYN, 1.5]) == pytest.approx(expected, rel=1e-12)


def test_mm3_bend_is_the_published_polynomial():
    # 10 degrees off, k = 0.67 mdyn A/rad^2: the bracket is 1 - 0.14 + 0.0056 - 0.0007 + 0.00022.
    expected = 300.99696 * 0.67 * np.radians(10.0) ** 2 * (1.0 - 0.14 + 0.0056 - 0.0007 + 0.00022) / 4.184
    found = energy("mm3_angle", [np.radians(119.5)], [0.67 * KCAL_PER_MDYN, np.radians(109.5)])
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["cosine_torsion", "periodic_improper"])
def test_torsions_follow_the_mm3_pattern(name):
    # V1 (1 + cos) / 2, V2 (1 - cos 2) / 2, V3 (1 + cos 3) / 2 with k = V / 2 and gamma = 0, 180, 0.
    phi = 0.7
    for n, gamma, expected in (
        (1, 0.0, 1 + np.cos(phi)),
        (2, np.pi, 1 - np.cos(2 * phi)),
        (3, 0.0, 1 + np.cos(3 * phi)),
    ):
        assert energy(name, [phi], [0.5], [n, gamma]) == pytest.approx(0.5 * expected, rel=1e-12)


@pytest.mark.parametrize("degrees", [(90.0, 90.0), (120.0, 60.0), (170.0, 169.9)])
def test_switched_torsion_is_the_torsion_up_to_170_degrees(degrees):
    cosines = [math.cos(math.radians(value) - 1e-12) for value in degrees]
    found = energy("switched_torsion", [0.7, *cosines], [2.0], [3.0, 0.4])
    assert found == energy("cosine_torsion", [0.7], [2.0], [3.0, 0.4])


@pytest.mark.parametrize("degrees", [(175.0, 100.0), (100.0, 175.0), (180.0, 100.0), (179.0, 179.0)])
def test_switched_torsion_and_its_derivatives_are_exactly_zero_from_175_degrees_on(degrees):
    q = np.array([0.7, *(math.cos(math.radians(value)) for value in degrees)])
    p, s = np.array([2.0]), np.array([3.0, 0.4])
    assert energy("switched_torsion", q, p, s) == 0.0
    assert_allclose(slope("switched_torsion", q, p, s), 0.0, atol=0.0)
    hessian = in_double_precision(jax.jit(jax.hessian(FORMS["switched_torsion"].energy)))(q, p, s)
    assert_allclose(hessian, 0.0, atol=0.0)


def test_switched_torsion_is_the_fifth_degree_smoothstep_in_the_cosine():
    # Halfway between the ends S = 1/2 and its slope is 15/8 over the width: the polynomial of Perlin's improved noise.
    start, end = math.cos(math.radians(170.0)), math.cos(math.radians(175.0))
    q, p, s = [0.7, 0.5 * (start + end), 0.0], [2.0], [3.0, 0.4]
    full = energy("cosine_torsion", [0.7], p, s)
    assert energy("switched_torsion", q, p, s) == pytest.approx(0.5 * full, rel=1e-12)
    assert slope("switched_torsion", q, p, s)[1] == pytest.approx(15.0 / 8.0 * full / (start - end), rel=1e-12)


@pytest.mark.parametrize("degrees", [170.0, 175.0])
def test_switched_torsion_has_two_continuous_derivatives(degrees):
    c, p, s = math.cos(math.radians(degrees)), np.array([2.0]), np.array([3.0, 0.4])
    hessian = in_double_precision(jax.jit(jax.hessian(FORMS["switched_torsion"].energy)))
    sides = [hessian(np.array([0.7, c + step, 0.0]), p, s) for step in (-1e-9, 1e-9)]
    # The third derivative is 60 over the width cubed, 4e7: 1e-9 on either side change the second by 0.1 of 4e4 at most.
    assert_allclose(sides[0], sides[1], atol=1.0)


def test_harmonic_improper_takes_the_short_way_round():
    # From -179 to 179 degrees it is 2 degrees.
    found = energy("harmonic_improper", [np.radians(179.0)], [40.0, np.radians(-179.0)])
    assert found == pytest.approx(40.0 * np.radians(2.0) ** 2, rel=1e-12)


@pytest.mark.parametrize("height", [0.01, 0.3])
def test_harmonic_out_of_plane_of_a_trigonal_pyramid(height):
    # The bond falls by atan(h / a) towards its neighbour; the plane of the two others passes a / 2 on the other side
    # of the axis at the height of the neighbours, so beyond the apex it rises by atan(2 h / a).
    a = 1.2
    corners = [[a * np.cos(t), a * np.sin(t), 0.0] for t in np.radians([0.0, 120.0, 240.0])]
    x = np.array([[0.0, 0.0, height], *corners])
    expected = 40.0 * (np.arctan(height / a) + np.arctan(2.0 * height / a)) ** 2
    assert term_energy("harmonic_out_of_plane", x, np.array([40.0]), np.zeros(0)) == pytest.approx(expected, rel=1e-11)


def test_stretch_bend_is_the_product_of_displacements():
    # k (d1 + d2) D with d1 = 0.1, d2 = -0.03, D = 0.2.
    found = energy("stretch_bend", [1.2, 1.37, 2.0], [7.0, 1.1, 1.4, 1.8])
    assert found == pytest.approx(7.0 * 0.07 * 0.2, rel=1e-12)


def test_stretch_stretch_is_the_product_of_displacements():
    assert energy("stretch_stretch", [1.2, 1.37], [7.0, 1.1, 1.4]) == pytest.approx(-7.0 * 0.1 * 0.03, rel=1e-12)


def test_torsion_stretch_pulls_at_an_eclipsed_bond_and_not_at_a_staggered_one():
    # 1 + cos 3 phi is 2 at 0 and 120 degrees and 0 at 60 and 180.
    for degrees, expected in ((0.0, 2.0), (120.0, 2.0), (60.0, 0.0), (180.0, 0.0)):
        q, p = [1.6, np.radians(degrees)], [3.0, 1.5]
        assert energy("torsion_stretch", q, p) == pytest.approx(3.0 * 0.1 * expected, abs=1e-14)


def test_bend_bend_is_the_published_product():
    # -300.99696 k_bb D1 D2 kJ/mol with k_bb = 0.24 * 0.30 of the two angles, 2 and -3 degrees off.
    D1, D2 = np.radians(2.0), np.radians(-3.0)
    expected = -300.99696 * 0.24 * 0.30 * D1 * D2 / 4.184
    p = [0.24 * math.sqrt(KCAL_PER_MDYN), 0.30 * math.sqrt(KCAL_PER_MDYN), 2.0, 1.9]
    assert energy("mm3_bend_bend", [2.0 + D1, 1.9 + D2], p) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["buckingham", "buckingham_pair"])
@pytest.mark.parametrize("ratio", [0.34, 0.5, 1.0, 2.0])
def test_buckingham_is_the_published_curve(name, ratio):
    # Two carbons of MM3: R = 2.04 A, eps = 0.027 kcal/mol (Allinger, Yuh, Lii 1989); half of it as a scale.
    p, s = ([2.04, 0.027, 2.04, 0.027], [0.0, 0.0, 0.5]) if name == "buckingham" else ([4.08, 0.027], [0.0, 0.0, 0.5])
    expected = 0.5 * 0.027 * (1.84e5 * math.exp(-12.0 * ratio) - 2.25 / ratio**6)
    assert energy(name, [4.08 * ratio], p, s) == pytest.approx(expected, rel=1e-11)


def test_buckingham_mixes_radii_by_sum_and_depths_by_geometric_mean():
    found = energy("buckingham", [3.0], [2.04, 0.027, 1.62, 0.020], [0.0, 0.0, 1.0])
    assert found == pytest.approx(energy("buckingham_pair", [3.0], [3.66, math.sqrt(0.027 * 0.020)], [0.0, 0.0, 1.0]))


def test_buckingham_has_a_wall_below_a_third_of_its_distance():
    p, s = [4.0, 1.0], [0.0, 0.0, 1.0]
    seam = 0.34 * 4.0
    inside, outside = (energy("buckingham_pair", [seam * (1.0 + step)], p, s) for step in (-1e-12, 1e-12))
    assert inside == pytest.approx(outside, rel=1e-10)
    # r^-12: half the distance, 2^12 times the energy.
    assert energy("buckingham_pair", [0.5 * seam], p, s) == pytest.approx(2.0**12 * outside, rel=1e-10)
    # The slopes that the docstring states, in units of the depth over rv.
    left, right = (slope("buckingham_pair", [seam * (1.0 + step)], p, s)[0] * 4.0 for step in (-1e-12, 1e-12))
    assert (left, right) == pytest.approx((-5.84e4, -1.16e4), rel=3e-3)


def test_buckingham_acts_between_shifted_sites():
    # Two hydrogens 2.5 A apart that point at each other; each site is 0.077 of 1.1 A closer to its parent.
    x = np.array([[0.0, 0.0, 0.0], [-1.1, 0.0, 0.0], [2.5, 0.0, 0.0], [3.6, 0.0, 0.0]])
    found = term_energy("buckingham", x, np.array([1.62, 0.02, 1.62, 0.02]), np.array([-0.077, -0.077, 1.0]))
    assert found == pytest.approx(energy("buckingham_pair", [2.5 + 0.1694], [3.24, 0.02], [0.0, 0.0, 1.0]), rel=1e-12)


def test_bond_dipoles_have_the_energy_of_two_dipoles():
    # Two dipoles of 1 D head to tail 1 A apart: -2 (1e-18 esu cm)^2 / (1e-8 cm)^3 = -2e-12 erg each, times Avogadro's
    # number (CODATA 2018). MM3's factor is off by 4e-5.
    expected = -2.0e-19 * 6.02214076e23 / 4184.0
    x = np.array([[-0.2, 0.0, 0.0], [0.2, 0.0, 0.0], [0.8, 0.0, 0.0], [1.2, 0.0, 0.0]])
    assert term_energy("bond_dipoles", x, np.array([1.0, 1.0]), np.array([1.0])) == pytest.approx(expected, rel=5e-5)
    # In a medium of D = 1.5, as MM3 has it, with moments of 2 and -3 debye.
    found = term_energy("bond_dipoles", x, np.array([2.0, -3.0]), np.array([1.0 / 1.5]))
    assert found == pytest.approx(-4.0 * expected, rel=5e-5)


def test_lennard_jones_has_its_minimum_at_the_sum_of_radii():
    p, s = [1.9, 0.1, 1.5, 0.1], [0.5]
    assert energy("lennard_jones", [3.4], p, s) == pytest.approx(-0.05, rel=1e-14)
    assert slope("lennard_jones", [3.4], p, s)[0] == pytest.approx(0.0, abs=1e-14)
    # It passes through zero at sigma.
    assert energy("lennard_jones", [3.4 / 2.0 ** (1.0 / 6.0)], p, s) == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize(
    ("name", "rm", "depth"),
    [
        ("lennard_jones", 1.9 + 1.2, math.sqrt(0.1 * 0.02)),
        ("lennard_jones_geometric", 2.0 * math.sqrt(1.9 * 1.2), math.sqrt(0.1 * 0.02)),
        (
            # Waldman and Hagler in terms of the distances 3.8 and 2.4: the mean of sixth powers; eps rm^6 is the
            # geometric mean of the two dispersion coefficients.
            "lennard_jones_waldman_hagler",
            ((3.8**6 + 2.4**6) / 2.0) ** (1.0 / 6.0),
            math.sqrt(0.1 * 3.8**6 * 0.02 * 2.4**6) / ((3.8**6 + 2.4**6) / 2.0),
        ),
    ],
)
def test_lennard_jones_mixes_two_types_as_its_name_says(name, rm, depth):
    p = [1.9, 0.1, 1.2, 0.02]
    for r in (2.6, 3.3, 5.0):
        expected = 4.0 * depth * ((rm / 2.0 ** (1.0 / 6.0) / r) ** 12 - (rm / 2.0 ** (1.0 / 6.0) / r) ** 6)
        assert energy(name, [r], p, [1.0]) == pytest.approx(expected, rel=1e-12)
        assert energy("lennard_jones_pair", [r], [rm, depth], [1.0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["lennard_jones", "lennard_jones_geometric", "lennard_jones_waldman_hagler"])
def test_mixing_rules_agree_on_a_single_type(name):
    p = [1.7, 0.1, 1.7, 0.1]
    assert energy(name, [3.0], p, [1.0]) == pytest.approx(energy("lennard_jones_pair", [3.0], [3.4, 0.1], [1.0]))


def test_charges_have_the_energy_of_coulomb():
    # Two unit charges 2.361 A apart, as in a molecule of sodium chloride, with the constants of CODATA.
    joule = constants.e**2 / (4.0 * math.pi * constants.epsilon_0 * 2.361e-10)
    expected = -joule * constants.N_A / 4184.0
    assert energy("coulomb", [2.361], [1.0, -1.0], [332.06371]) == pytest.approx(expected, rel=1e-7)
    assert energy("point_charges", [2.361], [], [-332.06371]) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("radii", [(1.2, 1.9), (0.0, 1.9), (0.0, 0.0)])
@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.kind == "vdw"])
def test_a_depth_of_zero_means_no_energy_and_finite_derivatives(name, radii):
    form = FORMS[name]
    p, s, q = np.array([radii[0], 0.0, radii[1], 0.1 * radii[0]]), np.ones(form.n_constants), np.array([2.5])
    assert float(in_double_precision(jax.jit(form.energy))(q, p, s)) == 0.0
    for order in (0, 1):
        assert np.all(np.isfinite(in_double_precision(jax.jit(jax.jacfwd(form.energy, order)))(q, p, s)))
    mixed = jax.jit(jax.jacfwd(jax.jacfwd(form.energy, 0), 1))
    assert np.all(np.isfinite(in_double_precision(mixed)(q, p, s)))
