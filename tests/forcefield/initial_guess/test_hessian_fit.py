"""The linear fit of force constants: exact where a force field made the Hessian, bounded, and the best of its kind."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose

from fieldfit.errors import MoleculeError
from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.eigenmatrix import Eigenmatrix
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.initial_guess import hessian_fit
from fieldfit.forcefield.topology import perceive
from fieldfit.forcefield.vibrations import normal_modes
from molecules import ethane, fluoromethane, internal_parameters, made_by, propyne, sn2_transition_state


def with_random_constants(field, seed=0):
    """Return a strained force field whose force constants are random, inside their bounds."""
    rng = np.random.default_rng(seed)
    values = {}
    for row in field.rows:
        for name, (column, value) in zip(row.parameter_names, row.values.items(), strict=True):
            size = {"bond": 400.0, "angle": 70.0, "linear-bend": 40.0, "torsion": 0.5, "stretch-bend": 30.0}[row.kind]
            strain = {"r0": 0.02, "theta0": 2.0}.get(column)
            values[name] = value + strain * rng.uniform(-1, 1) if strain else size * rng.uniform(0.5, 1.5)
    return field.with_values(values)


def flat(field) -> np.ndarray:
    return np.array([value for row in field.rows for value in row.values.values()])


@pytest.mark.parametrize(
    ("make", "family", "stretch_bend"), [(ethane, "harmonic", ["*"]), (sn2_transition_state, "mm3", [])]
)
def test_force_constants_of_a_made_hessian_are_found_again(request, make, family, stretch_bend) -> None:
    folder = request.getfixturevalue("examples" if make is sn2_transition_state else "shared_data")
    molecule = make(folder)
    truth = with_random_constants(build_force_field([molecule], family=family, stretch_bend=stretch_bend))
    made = made_by(molecule, truth)
    wrong = truth.with_values(
        dict(zip(truth.parameter_names, np.where(truth.is_linear, 1.0, flat(truth)), strict=True))
    )
    # The problem is linear in the constants: exact but for rounding times its condition number, about 1e3.
    assert_allclose(flat(hessian_fit([made], wrong)), flat(truth), rtol=1e-8)


@pytest.fixture(scope="module")
def molecule(shared_data):
    return fluoromethane(shared_data)


@pytest.fixture(scope="module")
def plain(molecule):
    return build_force_field([molecule])


@pytest.fixture(scope="module")
def made(molecule, plain):
    """A molecule and the force field that made its Hessian."""
    truth = plain.with_values({"bond.C-F.k": 340.0, "bond.C-H.k": 360.0, "angle.F-C-H.k": 65.0, "angle.H-C-H.k": 38.0})
    return made_by(molecule, truth), truth


def test_the_start_does_not_matter(molecule, plain) -> None:
    one = hessian_fit([molecule], plain)
    other = hessian_fit([molecule], plain.with_values(dict.fromkeys(plain.parameters.match("*.k"), 7.0)))
    assert_allclose(flat(other), flat(one), rtol=1e-10)
    # Equilibrium values stay.
    assert_allclose(flat(one)[~plain.is_linear], flat(plain)[~plain.is_linear], rtol=0.0)


def test_bounds_hold_and_the_rest_is_the_best_under_them(molecule, plain) -> None:
    parameters = plain.parameters.replace({"angle.F-C-H.k": 50.0, "bond.C-H.k": 395.0})
    parameters = parameters.bound("angle.F-C-H.k", 40.0, 55.0).bound("bond.C-H.k", 390.0, 400.0)
    found = dict(zip(plain.parameter_names, flat(hessian_fit([molecule], plain, parameters)), strict=True))
    assert found["angle.F-C-H.k"] == pytest.approx(55.0, rel=1e-12)
    assert found["bond.C-H.k"] == pytest.approx(390.0, rel=1e-12)

    record = molecule.record
    geometry = FixedGeometry(JaxEngine().system(molecule, plain), record.coordinates)
    eigenmatrix = Eigenmatrix(geometry, normal_modes(record.hessian, record.coordinates, record.masses), record.masses)

    def cost(constants) -> float:
        p = internal_parameters(plain)
        p[[0, 2, 4, 6]] = constants
        return float(np.sum((eigenmatrix.elements(geometry.term_vector(p)) - eigenmatrix.target) ** 2))

    bounds = [(0.0, 3600.0), (390.0, 400.0), (40.0, 55.0), (0.0, 720.0)]
    best = scipy.optimize.minimize(cost, [300.0, 395.0, 50.0, 40.0], bounds=bounds, method="L-BFGS-B", tol=1e-12)
    mine = [found[f"{name}.k"] for name in ("bond.C-F", "bond.C-H", "angle.F-C-H", "angle.H-C-H")]
    assert cost(mine) <= best.fun * (1.0 + 1e-9)


def test_force_constants_are_never_negative_by_default(examples) -> None:
    # Along the reaction coordinate the Hessian is negative; fitting that too would pull the C-F bonds below zero.
    molecule = sn2_transition_state(examples)
    found = hessian_fit([molecule], build_force_field([molecule]))
    assert np.all(flat(found)[found.is_linear] > 0.0)


def test_what_is_fixed_is_subtracted(made) -> None:
    made, truth = made
    start = truth.with_values({"bond.C-F.k": 1.0, "angle.F-C-H.k": 1.0, "angle.H-C-H.k": 1.0})
    found = hessian_fit([made], start, start.parameters.fix("bond.C-H.k"))
    assert_allclose(flat(found), flat(truth), rtol=1e-9)
    held = hessian_fit([made], start, start.parameters.fix("bond.C-H.k", "angle.F-C-H.k"))
    assert held.parameters["angle.F-C-H.k"].value == 1.0


def test_tied_constants_are_fitted_as_one(made) -> None:
    made, truth = made
    # bond.C-H.k is 360/340 of bond.C-F.k in the field that made the Hessian.
    start = truth.with_values(dict.fromkeys(truth.parameters.match("*.k"), 100.0))
    parameters = start.parameters.tie("bond.C-H.k", "bond.C-F.k", factor=360.0 / 340.0)
    assert_allclose(flat(hessian_fit([made], start, parameters)), flat(truth), rtol=1e-9)


def test_a_follower_of_a_fixed_constant_is_subtracted_too(made) -> None:
    made, truth = made
    start = truth.with_values({"bond.C-H.k": 1.0, "angle.F-C-H.k": 1.0, "angle.H-C-H.k": 1.0})
    parameters = start.parameters.tie("bond.C-H.k", "bond.C-F.k", factor=360.0 / 340.0).fix("bond.C-F.k")
    assert_allclose(flat(hessian_fit([made], start, parameters)), flat(truth), rtol=1e-9)


def test_several_molecules_share_constants(made, molecule) -> None:
    made, truth = made
    stretched = truth.with_values({"bond.C-F.r0": 1.45, "angle.H-C-H.theta0": 112.0})
    other = made_by(molecule, stretched)
    alone, both = hessian_fit([made], truth), hessian_fit([made, made], truth)
    assert_allclose(flat(both), flat(alone), rtol=1e-10)
    # The second Hessian was made with other equilibria: the constants must lie somewhere between what each one wants.
    mixed, second = hessian_fit([made, other], truth), hessian_fit([other], truth)
    for k in np.flatnonzero(truth.is_linear):
        ends = sorted([flat(alone)[k], flat(second)[k]])
        assert ends[0] - 0.5 <= flat(mixed)[k] <= ends[1] + 0.5


def test_nothing_free_leaves_the_field_as_it_is(molecule, plain) -> None:
    assert hessian_fit([molecule], plain, plain.parameters.fix("*.k")) is plain


def test_undetermined_constants_do_not_stop_the_fit(molecule) -> None:
    # Twelve constants of single atoms against the Hessian of a molecule with a threefold axis: more than it determines.
    separate = dataclasses.replace(molecule, types=("C", "F", "H1", "H2", "H3"))
    field = build_force_field([separate], stretch_bend=["*"])
    found = hessian_fit([separate], field)
    assert np.all(np.isfinite(flat(found)))
    lower, upper = (np.array([getattr(entry, end) for entry in field.parameters]) for end in ("lower", "upper"))
    assert np.all((flat(found) >= lower) & (flat(found) <= upper))


def test_a_molecule_without_hessian_is_refused() -> None:
    bare = perceive(propyne())
    with pytest.raises(MoleculeError, match="no Hessian"):
        hessian_fit([bare], build_force_field([bare]))
