"""The linear fit of force constants: exact where a force field made the Hessian, bounded, and the best of its kind."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose

from fieldfit.errors import MoleculeError, SettingsError
from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.eigenmatrix import Eigenmatrix, EigenmatrixTarget
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.initial_guess import estimate_force_constants, hessian_fit
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.topology import perceive
from fieldfit.forcefield.transition_states import METHODS, VANISHING, invert_curvature, qm_modes
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
    target = EigenmatrixTarget(normal_modes(record.hessian, record.coordinates, record.masses), record.masses)
    eigenmatrix = Eigenmatrix(geometry, target)

    def cost(constants) -> float:
        p = internal_parameters(plain)
        p[[0, 2, 4, 6]] = constants
        return float(np.sum((eigenmatrix.elements(geometry.term_vector(p)) - target.values) ** 2))

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


@pytest.fixture(scope="module")
def saddle(examples):
    return sn2_transition_state(examples)


@pytest.fixture(scope="module")
def saddle_field(saddle):
    return build_force_field([saddle])


def constants(field) -> dict[str, float]:
    return {f"{row.label}.k": row.values["k"] for row in field.rows}


def with_hessian(molecule, hessian):
    return dataclasses.replace(molecule, record=dataclasses.replace(molecule.record, hessian=hessian))


@pytest.mark.parametrize("method", METHODS[1:])
def test_minima_are_fitted_alike_by_all_methods_for_transition_states(examples, method) -> None:
    minimum = perceive(read(examples / "ch3f" / "ch3f.json", name="CH3F"))
    field = build_force_field([minimum], stretch_bend=["*"])
    assert np.array_equal(
        flat(hessian_fit([minimum], field, transition_state=method)), flat(hessian_fit([minimum], field))
    )


def test_negative_constants_that_made_a_negative_curvature_are_found_again_by_d_only(saddle, saddle_field) -> None:
    truth = saddle_field.with_values({"bond.C-F.k": -40.0, "bond.C-H.k": 380.0})
    geometry = FixedGeometry(JaxEngine().system(saddle, truth), saddle.record.coordinates)
    made = with_hessian(saddle, geometry.hessian(geometry.term_vector(internal_parameters(truth))))
    assert qm_modes(made).eigenvalues[0] < 0.0
    found = hessian_fit([made], saddle_field, transition_state="D")
    assert_allclose(flat(found), flat(truth), rtol=1e-8)
    for method in set(METHODS) - {"D"}:
        assert min(constants(hessian_fit([made], saddle_field, transition_state=method)).values()) >= 0.0


def test_zero_weight_does_not_see_the_eigenvalue_of_the_reaction_coordinate(saddle, saddle_field) -> None:
    modes = qm_modes(saddle)
    along = np.sqrt(np.repeat(saddle.record.masses, 3)) * modes.modes[:, 0]
    steeper = with_hessian(saddle, saddle.qm_hessian + 3.0 * modes.eigenvalues[0] * np.outer(along, along))
    assert_allclose(flat(hessian_fit([steeper], saddle_field)), flat(hessian_fit([saddle], saddle_field)), rtol=1e-8)
    one, other = (hessian_fit([each], saddle_field, transition_state="D") for each in (saddle, steeper))
    assert constants(other)["bond.C-F.k"] < constants(one)["bond.C-F.k"]


@pytest.mark.parametrize("method", ["C", "C'"])
def test_an_inverted_hessian_is_fitted_as_that_of_a_minimum(saddle, saddle_field, method) -> None:
    inverted = invert_curvature(saddle, method)
    expected = hessian_fit([inverted], saddle_field)
    assert_allclose(flat(hessian_fit([saddle], saddle_field, transition_state=method)), flat(expected), rtol=1e-9)


def test_e2_holds_typical_constants_and_e_those_of_c_where_d_gives_none(saddle, saddle_field) -> None:
    natural = constants(hessian_fit([saddle], saddle_field, transition_state="D"))
    gone = {name for name, value in natural.items() if value < VANISHING}
    assert gone == {"bond.C-F.k"}
    by_c, by_e, by_e2 = (
        constants(hessian_fit([saddle], saddle_field, transition_state=method)) for method in ("C", "E", "E2")
    )
    assert by_e["bond.C-F.k"] == by_c["bond.C-F.k"]
    # 5 mdyn/A with one half is 359.8 kcal/mol/A^2 without: 1 mdyn A is 143.93 kcal/mol.
    assert by_e2["bond.C-F.k"] == pytest.approx(0.5 * 5.0 * 143.932, rel=1e-5)
    assert min(by_e2.values()) >= 0.0


def test_methods_keep_to_fixed_constants_and_stated_bounds(saddle, saddle_field) -> None:
    parameters = saddle_field.parameters.replace({"bond.C-F.k": 70.0, "angle.F-C-H.k": 25.0}).fix("bond.C-F.k")
    parameters = parameters.bound("angle.F-C-H.k", 20.0, 30.0)
    for method in METHODS:
        found = constants(hessian_fit([saddle], saddle_field, parameters, transition_state=method))
        assert found["bond.C-F.k"] == 70.0
        assert 20.0 <= found["angle.F-C-H.k"] <= 30.0


def test_e2_moves_typical_constants_inside_stated_bounds(saddle, saddle_field) -> None:
    parameters = saddle_field.parameters.replace({"bond.C-F.k": 70.0}).bound("bond.C-F.k", 0.0, 100.0)
    found = hessian_fit([saddle], saddle_field, parameters, transition_state="E2")
    assert constants(found)["bond.C-F.k"] == 100.0


def test_the_estimate_passes_the_method_on(saddle, saddle_field) -> None:
    for method in METHODS:
        passed = estimate_force_constants([saddle], saddle_field, transition_state=method)
        assert np.array_equal(flat(passed), flat(hessian_fit([saddle], saddle_field, transition_state=method)))


def test_the_seminario_family_sees_an_inverted_hessian(saddle, saddle_field) -> None:
    inverted = invert_curvature(saddle, "C")
    seen = estimate_force_constants([saddle], saddle_field, "seminario", transition_state="C")
    assert np.array_equal(flat(seen), flat(estimate_force_constants([inverted], saddle_field, "seminario")))
    assert (
        constants(seen)["bond.C-F.k"]
        > constants(estimate_force_constants([saddle], saddle_field, "seminario"))["bond.C-F.k"]
    )


@pytest.mark.parametrize("fit", [hessian_fit, estimate_force_constants])
def test_an_unknown_method_for_transition_states_is_refused(saddle, saddle_field, fit) -> None:
    with pytest.raises(SettingsError, match="method for transition states"):
        fit([saddle], saddle_field, transition_state="F")
