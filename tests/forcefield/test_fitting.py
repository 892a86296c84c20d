"""Fits of whole force fields: fluoromethane against the figures its eight parameters can reach."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit import LeastSquaresOptimizer, Problem
from fieldfit.errors import MoleculeError, ParameterError, SettingsError
from fieldfit.forcefield import (
    ForceFieldObjective,
    build_force_field,
    estimate_force_constants,
    perceive,
    report_fit,
    share_types,
)
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.references import REFERENCES
from fieldfit.forcefield.relaxation import relax
from fieldfit.forcefield.topology import measure
from fieldfit.forcefield.vibrations import align, normal_modes
from fieldfit.forcefield.weights import KINDS
from molecules import bare_record, central_differences, fluoromethane, made_by, propyne

LOOSE = {"frequency": 10.0, "bond_length": 0.005, "bond_angle": 1.0}


@pytest.fixture(scope="module")
def molecule(shared_data) -> Molecule:
    return fluoromethane(shared_data)


@pytest.fixture(scope="module")
def field(molecule):
    return estimate_force_constants([molecule], build_force_field([molecule]))


def deviations(objective, result):
    """Relax under the fitted field and return how far wavenumbers, bonds and angles are from QM, without references."""
    molecule, system = objective.molecules[0], objective.models[0].system
    record = molecule.record
    p = result.parameters.flat * objective.force_field.internal_factors
    found = relax(lambda x: system.local(x, p), record.coordinates)
    rotation, _ = align(found.x, record.coordinates, record.masses)
    qm = normal_modes(molecule.qm_hessian, record.coordinates, record.masses)
    fitted = normal_modes(found.hessian, found.x, record.masses)
    rows, columns = scipy.optimize.linear_sum_assignment(-((qm.modes.T @ fitted.rotated(rotation).modes) ** 2))
    lists = (molecule.bonds, objective.models[0].internal_coordinates.angles)
    geometry = [np.array([measure(found.x, t) - measure(record.coordinates, t) for t in terms]) for terms in lists]
    return fitted.frequencies[columns] - qm.frequencies[rows], *geometry


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


# What eight parameters of fluoromethane can reach, from an independent prototype: 28.5 1/cm with the geometry kept to
# 0.0011 A and 0.9 degrees, 20.8 1/cm with 0.004 A and 2.0 degrees, 3.0 1/cm with one stretch-bend at the QM geometry.
def test_eight_parameters_reproduce_wavenumbers_and_keep_the_geometry(fluoromethane_fit) -> None:
    wavenumbers, bonds, angles = deviations(*fluoromethane_fit)
    assert fluoromethane_fit[1].success
    assert rms(wavenumbers) <= 29.0
    assert np.max(np.abs(bonds)) <= 0.002
    assert np.max(np.abs(angles)) <= 1.0


@pytest.mark.parametrize("family", ["harmonic", "mm3"])
def test_looser_geometry_gives_better_wavenumbers(molecule, family) -> None:
    field = estimate_force_constants([molecule], build_force_field([molecule], family=family))
    objective = ForceFieldObjective(field, [molecule], LOOSE)
    wavenumbers, bonds, angles = deviations(objective, LeastSquaresOptimizer().optimize(objective))
    assert rms(wavenumbers) <= 22.0
    assert np.max(np.abs(bonds)) <= 0.005
    assert np.max(np.abs(angles)) <= 2.2


def test_a_stretch_bend_at_the_qm_geometry_makes_wavenumbers_nearly_exact(molecule) -> None:
    field = build_force_field([molecule], stretch_bend=["F-C-H"])
    parameters = field.parameters.fix("*.r0", "*.theta0").bound("stretch-bend.*", -200.0, 200.0)
    start = estimate_force_constants([molecule], field, parameters=parameters)
    parameters = parameters.replace(start.parameters.values)
    objective = ForceFieldObjective(start, [molecule], {"frequency": 10.0}, parameters=parameters)
    result = LeastSquaresOptimizer().optimize(objective)
    wavenumbers, _, _ = deviations(objective, result)
    assert rms(wavenumbers) <= 3.1
    # Equilibrium values are means over hydrogens that QM leaves 1e-7 A and 1e-4 degrees apart.
    end = objective.at(result.parameters.flat, objective.initial_state())[0]
    assert_allclose(REFERENCES["newton_displacement"](objective.models[0].target).predicted(end), 0.0, atol=1e-5)
    # The fitted constant lies beyond the default bounds; its field can be used like any other.
    fitted = start.with_values(result.x)
    again = ForceFieldObjective(fitted, [molecule], {"frequency": 10.0}, parameters=result.parameters)
    found = again.evaluate(result.parameters.flat, again.initial_state(), derivatives=False)
    assert found.score == pytest.approx(result.final_score, rel=1e-9)


def crude(field):
    """Return one value for each kind of parameter: no knowledge of the molecule at all."""
    values = {"bond.k": 300.0, "angle.k": 60.0, "bond.r0": 1.2, "angle.theta0": 109.5}
    return field.with_values(
        {name: values[f"{name.split('.')[0]}.{name.split('.')[-1]}"] for name in field.parameters.names}
    )


@pytest.mark.parametrize("start", ["seminario", "modified-seminario", "qfuerza", "crude"])
def test_every_start_ends_at_the_same_parameters(fluoromethane_fit, molecule, start) -> None:
    objective, reference = fluoromethane_fit
    plain = build_force_field([molecule], family="mm3" if "mm3_bond" in str(objective.force_field.rows) else "harmonic")
    field = crude(plain) if start == "crude" else estimate_force_constants([molecule], plain, start)
    result = LeastSquaresOptimizer().optimize(ForceFieldObjective(field, [molecule], objective.reference_data))
    assert result.success
    # A fit ends when a step gains 1e-8 of the score, which the parameters enter squared.
    assert result.final_score == pytest.approx(reference.final_score, rel=1e-7)
    for name, value in reference.x.items():
        assert result.x[name] == pytest.approx(value, rel=1e-4), name


def test_a_force_field_is_found_again_from_its_own_data(molecule, field) -> None:
    truth = field.with_values(
        {"bond.C-H.k": 350.0, "bond.C-F.r0": 1.42, "angle.F-C-H.theta0": 107.0, "angle.H-C-H.k": 45.0}
    )
    objective = ForceFieldObjective(field, [made_by(molecule, truth)], ["frequency", "bond_length", "bond_angle"])
    result = LeastSquaresOptimizer().optimize(objective)
    assert result.success
    # Wavenumbers and geometry are met exactly, but two angles at one centre leave one combination of theta0 soft.
    for name, value in truth.parameters.values.items():
        if not name.endswith("theta0"):
            assert result.x[name] == pytest.approx(value, rel=1e-6), name


def test_the_jacobian_is_that_of_central_differences_in_the_users_units(molecule, field) -> None:
    objective = ForceFieldObjective(field, [molecule], list(REFERENCES), regularization=0.5)
    values = objective.parameters.flat * 1.01
    state = objective.initial_state()
    scales = np.concatenate([entry.scale.ravel() for entry in objective.parameters])

    def residuals(v):
        return objective.evaluate(v, state, derivatives=False).residuals

    found = objective.evaluate(values, state, derivatives=True)
    expected = central_differences(residuals, values, 0.01 * scales)
    assert np.all(np.abs(found.jacobian - expected) <= 1e-6 * np.abs(expected).max(axis=0))
    assert_allclose(found.gradient, expected.T @ found.residuals, rtol=1e-5, atol=1e-5)


def test_the_score_is_the_sum_over_the_terms(molecule, field) -> None:
    objective = ForceFieldObjective(field, [molecule], {"frequency": 5.0, "bond_length": None}, regularization=2.0)
    values = objective.parameters.flat + 0.1
    found = objective.evaluate(values, objective.initial_state(), derivatives=False)
    parts = {name: float(np.sum(found.residuals[part] ** 2)) for name, part in objective.term_slices().items()}
    assert list(parts) == ["frequency", "bond_length", "prior"]
    assert sum(parts.values()) == pytest.approx(found.score)
    # The tether: strength times the sum of squares in units of the scales, each parameter moved by 0.1.
    scales = np.concatenate([entry.scale.ravel() for entry in objective.parameters])
    assert parts["prior"] == pytest.approx(2.0 * np.sum((0.1 / scales) ** 2))
    end = objective.at(values, objective.initial_state())[0]
    reference = REFERENCES["bond_length"](objective.models[0].target)
    assert parts["bond_length"] == pytest.approx(np.sum((reference.predicted(end) - reference.observed) ** 2) / 0.01**2)


def test_one_state_and_one_point_give_the_same_bits(molecule, field) -> None:
    objective = ForceFieldObjective(field, [molecule], list(REFERENCES))
    values = objective.parameters.flat
    first = objective.evaluate(values, objective.initial_state(), derivatives=True)
    objective.evaluate(1.02 * values, first.state, derivatives=False)
    again = objective.evaluate(values, objective.initial_state(), derivatives=True)
    assert_array_equal(first.residuals, again.residuals)
    assert_array_equal(first.jacobian, again.jacobian)


def test_a_state_is_only_a_start(molecule, field) -> None:
    objective = ForceFieldObjective(field, [molecule], list(REFERENCES))
    values = objective.parameters.flat
    elsewhere = objective.evaluate(1.02 * values, objective.initial_state(), derivatives=False).state
    one, other = (
        objective.evaluate(values, state, derivatives=False) for state in (objective.initial_state(), elsewhere)
    )
    assert_allclose(one.residuals, other.residuals, atol=1e-6)


def test_molecules_share_parameters(molecule, field, examples) -> None:
    from fieldfit.forcefield.readers import read

    other = perceive(read(examples / "ch3f" / "ch3f.json", name="PySCF"))
    objective = ForceFieldObjective(field, share_types([molecule, other]), ["eigenmatrix_diagonal", "bond_length"])
    single = ForceFieldObjective(field, [molecule], ["eigenmatrix_diagonal", "bond_length"])
    found, alone = (
        entry.evaluate(entry.parameters.flat, entry.initial_state(), derivatives=True) for entry in (objective, single)
    )
    assert list(objective.term_slices()) == [
        f"{name}.{kind}" for name in ("CH3F", "PySCF") for kind in ("eigenmatrix_diagonal", "bond_length")
    ]
    assert_allclose(found.residuals[: alone.residuals.size], alone.residuals)
    assert_allclose(found.jacobian[: alone.residuals.size], alone.jacobian)
    # Two programs, one method: B3LYP/6-31+G(d) with Cartesian d functions, other grids.
    rest = found.residuals[alone.residuals.size :]
    assert_allclose(rest, alone.residuals, atol=0.1)


def test_without_references_the_eigenmatrix_and_the_geometry_are_fitted(molecule, field) -> None:
    objective = ForceFieldObjective(field, [molecule])
    assert set(objective.term_slices()) == set(KINDS["default"])
    for block in objective.blocks:
        assert_allclose(block.tolerances, REFERENCES[block.category].tolerance)


def test_modes_that_cross_keep_their_partners(molecule, field) -> None:
    # A stiffer C-F bond lifts its mode, the lowest, through the pair of F-C-H bends above, which do not feel it.
    objective = ForceFieldObjective(field, [molecule], {"frequency": 1.0})
    stiffness = objective.parameters.names.index("bond.C-F.k")
    state, found = objective.initial_state(), []
    for factor in np.linspace(1.0, 2.0, 21):
        values = objective.parameters.flat
        values[stiffness] *= factor
        evaluation = objective.evaluate(values, state, derivatives=False)
        found.append(evaluation.residuals + objective.models[0].qm_modes.frequencies)
        state = evaluation.state
    stretch, bends = np.array(found)[:, 0], np.array(found)[:, 1:3]
    assert stretch[0] < bends[0].min() - 100.0
    assert stretch[-1] > bends[-1].max() + 30.0
    assert_allclose(bends, bends[0, 0], atol=0.1)
    assert np.all(np.diff(stretch, n=2) < 0.0)


def test_a_pairing_that_is_no_longer_the_best_is_replaced_once_a_point_is_accepted(molecule, field) -> None:
    objective = ForceFieldObjective(field, [molecule], {"frequency": 1.0})
    values = objective.parameters.flat
    first = objective.evaluate(values, objective.initial_state(), derivatives=False)
    assert not first.is_stale
    # As if the C-F stretch (mode 1) and the H-C-H bend of the same symmetry (mode 4) had been taken for each other.
    modes = first.state[0].modes.copy()
    modes[:, [0, 3]] = modes[:, [3, 0]]
    swapped = (dataclasses.replace(first.state[0], modes=modes),)
    kept = objective.evaluate(values, swapped, derivatives=False)
    assert kept.is_stale
    assert kept.note == "modes of CH3F paired anew"
    assert kept.score > 10.0 * first.score
    again = objective.evaluate(values, kept.state, derivatives=False)
    assert not again.is_stale
    assert_allclose(again.residuals, first.residuals, atol=1e-6)


def test_a_molecule_without_a_minimum_is_predicted_to_first_order_until_it_has_one(molecule, field) -> None:
    objective = ForceFieldObjective(field, [molecule], ["frequency", "bond_length"])
    start = objective.parameters.flat
    nothing = np.where(field.is_linear, 0.0, start)
    found = objective.evaluate(nothing, objective.initial_state(), derivatives=True)
    assert "CH3F: relaxation from the last geometry does not reach a minimum" in found.note
    assert "predicted to first order" in found.note
    # No force at all: the geometry stays that of QM, and all first-order wavenumbers are half the QM ones.
    geometry = objective.term_slices()["bond_length"]
    assert_allclose(found.residuals[geometry], 0.0, atol=1e-12)
    assert_allclose(
        20.0 * found.residuals[objective.term_slices()["frequency"]], -0.5 * objective.models[0].qm_modes.frequencies
    )
    # With the start's constants the molecule relaxes: still predicted here, but no more once this point is accepted.
    again = objective.evaluate(start, found.state, derivatives=False)
    assert again.is_stale
    assert again.note == "CH3F relaxes again"
    relaxed = objective.evaluate(start, again.state, derivatives=False)
    assert_allclose(
        relaxed.residuals, objective.evaluate(start, objective.initial_state(), derivatives=False).residuals
    )


def test_predictions_to_first_order_have_exact_derivatives(molecule, field) -> None:
    objective = ForceFieldObjective(field, [molecule], ["frequency", "bond_length", "bond_angle"])
    rigid = np.where(field.is_linear, 0.0, objective.parameters.flat)
    state = objective.evaluate(rigid, objective.initial_state(), derivatives=False).state
    values = 1.1 * objective.parameters.flat
    found = objective.evaluate(values, state, derivatives=True)
    expected = central_differences(
        lambda p: objective.evaluate(p, state, derivatives=False).residuals, values, 1e-6 * np.abs(values)
    )
    assert_allclose(found.jacobian, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_a_molecule_that_keeps_failing_is_tried_no_more(molecule, field) -> None:
    objective = ForceFieldObjective(field, [molecule], ["bond_length"])
    start = objective.parameters.flat
    nothing = np.where(field.is_linear, 0.0, start)
    state = objective.initial_state()
    for _ in range(3):
        state = objective.evaluate(nothing, state, derivatives=False).state
        assert state[0].is_displaced
        freed = objective.evaluate(start, state, derivatives=False).state
        state = freed if not freed[0].is_displaced else state
    assert state[0].is_displaced
    assert state[0].n_failures == 3


def test_a_geometry_with_another_connectivity_is_not_that_of_the_molecule(molecule, field) -> None:
    model = ForceFieldObjective(field, [molecule]).models[0]
    x = molecule.record.coordinates
    assert model.strayed(x) == ""
    stretched = x.copy()
    stretched[0] += 3.0 * (x[0] - x[1])
    assert "times as long as by QM" in model.strayed(stretched)
    folded = x.copy()
    folded[3] = x[4] + 0.2 * (x[3] - x[4])
    assert model.strayed(folded) != ""


LINEAR = {"HF": ("HF", (0.0, 0.92)), "HCN": ("HCN", (0.0, 1.07, 2.22))}


@pytest.mark.parametrize("kinds", [None, list(REFERENCES)], ids=["default", "all"])
@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_molecule_can_be_fitted(name, kinds) -> None:
    # No bent angle, and for a diatomic no angle at all: some kinds of reference have nothing to say.
    symbols, axis = LINEAR[name]
    bare = perceive(bare_record(name, symbols, [(0.0, 0.0, z) for z in axis]))
    truth = build_force_field([bare])
    wanted = truth.parameters.values
    start = truth.with_values({entry: 1.1 * value for entry, value in wanted.items() if entry.endswith(".k")})
    objective = ForceFieldObjective(start, [made_by(bare, truth)], kinds)
    result = LeastSquaresOptimizer().optimize(objective)
    assert result.success
    assert_allclose([result.x[entry] for entry in wanted], list(wanted.values()), rtol=1e-5)
    assert report_fit(objective, result).molecules[0].frequency_rmsd < 1e-3


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ({"frequencies": 10.0}, "No reference is called 'frequencies'. Did you mean 'frequency'"),
        ({"frequency": 0.0}, "tolerance of frequency is 0 1/cm"),
        ({"bond_length": -0.01}, "tolerance of bond_length is -0.01 A"),
        ({"bond_angle": np.nan}, "tolerance of bond_angle is nan deg"),
        ({}, "nothing to fit"),
    ],
)
def test_references_that_cannot_be_used_are_refused(molecule, field, references, message) -> None:
    with pytest.raises(SettingsError, match=message):
        ForceFieldObjective(field, [molecule], references)


def test_a_negative_regularization_is_refused(molecule, field) -> None:
    with pytest.raises(SettingsError, match="strength -1"):
        ForceFieldObjective(field, [molecule], regularization=-1.0)


def test_a_molecule_without_hessian_is_refused() -> None:
    molecule = perceive(propyne())
    with pytest.raises(MoleculeError, match="propyne: the QM result has no Hessian"):
        ForceFieldObjective(build_force_field([molecule]), [molecule])


def test_parameters_of_another_force_field_are_refused(molecule, field) -> None:
    other = build_force_field([molecule], stretch_bend=["*"])
    with pytest.raises(ParameterError, match=r"stretch-bend\.F-C-H\.k"):
        ForceFieldObjective(field, [molecule], parameters=other.parameters)


def test_fixed_parameters_stay_and_tied_ones_follow(molecule, field) -> None:
    objective = ForceFieldObjective(field, [molecule], ["eigenmatrix_diagonal"])
    parameters = objective.parameters.fix("*.r0", "*.theta0").tie("bond.C-H.k", "bond.C-F.k", factor=1.2)
    result = LeastSquaresOptimizer().optimize(Problem(objective, parameters))
    for name in ("bond.C-F.r0", "angle.H-C-H.theta0"):
        assert result.x[name] == field.parameters[name].value
    assert result.x["bond.C-H.k"] == pytest.approx(1.2 * result.x["bond.C-F.k"], rel=1e-12)
