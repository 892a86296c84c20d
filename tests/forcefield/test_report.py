"""The report of a fit against the same numbers computed another way."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import scipy.optimize
import scipy.spatial
from numpy.testing import assert_allclose

from fieldfit import LeastSquaresOptimizer, Problem
from fieldfit.forcefield import ForceFieldObjective, build_force_field, report_fit, stationary_point
from fieldfit.forcefield.initial_guess import hessian_fit
from fieldfit.forcefield.references import REFERENCES
from fieldfit.forcefield.report import FitReport
from fieldfit.forcefield.report_statistics import determination
from fieldfit.forcefield.topology import measure
from fieldfit.forcefield.vibrations import normal_modes
from molecules import ethane, fluoromethane, sn2_transition_state

REPORTED = [name for name in REFERENCES if REFERENCES[name].is_always_reported and name != "torsion"]
"""Kinds of reference in every report of a molecule without torsions."""

TOLERANCES = {"frequency": 10.0, "bond_length": 0.003, "bond_angle": 0.5}
"""Those that `fluoromethane_fit` is made with [1/cm, A, deg]."""


@pytest.fixture(scope="module")
def report(fluoromethane_fit) -> FitReport:
    return report_fit(*fluoromethane_fit)


@pytest.fixture(scope="module")
def minimum(fluoromethane_fit) -> np.ndarray:
    """Relax fluoromethane with SciPy on energies and gradients alone [A]."""
    objective, result = fluoromethane_fit
    system = objective.models[0].system
    p = result.parameters.flat * objective.force_field.internal_factors
    start = objective.molecules[0].record.coordinates

    def energy(x):
        found = system.local(x.reshape(start.shape), p)
        return found.energy, found.gradient

    found = scipy.optimize.minimize(energy, start.ravel(), jac=True, method="BFGS", options={"gtol": 1e-7})
    return found.x.reshape(start.shape)


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_geometry_deviations_are_those_of_an_independent_minimisation(fluoromethane_fit, report, minimum) -> None:
    record = fluoromethane_fit[0].molecules[0].record
    pairs = [(0, 1), (0, 2), (0, 3), (0, 4)]
    triples = [(1, 0, 2), (1, 0, 3), (1, 0, 4), (2, 0, 3), (2, 0, 4), (3, 0, 4)]
    bonds, angles = (
        np.array([measure(minimum, atoms) - measure(record.coordinates, atoms) for atoms in terms])
        for terms in (pairs, triples)
    )
    found = report.molecules[0]
    assert found.bond_rmsd == pytest.approx(rms(bonds), abs=1e-8)
    assert found.bond_largest == pytest.approx(np.max(np.abs(bonds)), abs=1e-8)
    assert found.angle_rmsd == pytest.approx(rms(angles), abs=1e-5)
    assert found.angle_largest == pytest.approx(np.max(np.abs(angles)), abs=1e-5)


def test_wavenumbers_are_those_of_a_hessian_by_differences(fluoromethane_fit, report, minimum) -> None:
    objective, result = fluoromethane_fit
    system, record = objective.models[0].system, objective.molecules[0].record
    p = result.parameters.flat * objective.force_field.internal_factors
    step = 1e-4
    columns = []
    for index in range(minimum.size):
        shift = np.zeros(minimum.size)
        shift[index] = step
        ahead, behind = (system.local(minimum + sign * shift.reshape(-1, 3), p).gradient for sign in (1.0, -1.0))
        columns.append((ahead - behind) / (2.0 * step))
    hessian = np.array(columns)
    frequencies = normal_modes(0.5 * (hessian + hessian.T), minimum, record.masses).frequencies
    rows = report.molecules[0].modes
    # Differences of a step of 1e-4 A are good to 1e-3 1/cm.
    assert_allclose(sorted(row.fitted for row in rows), frequencies, atol=0.01)
    # The wavenumbers that Psi4 printed.
    psi4 = [1040.58, 1191.75, 1191.76, 1495.25, 1512.30, 1512.39, 3057.99, 3145.07, 3145.09]
    assert_allclose([row.qm for row in rows], psi4, atol=0.02)
    assert report.molecules[0].frequency_rmsd == pytest.approx(rms([row.fitted - row.qm for row in rows]))


def test_categories_are_the_residuals_of_the_fit(fluoromethane_fit, report) -> None:
    objective, result = fluoromethane_fit
    for row in report.categories:
        if row.category not in objective.categories:
            assert np.isnan(row.share)
            continue
        part = result.residuals[objective.term_slices()[row.category]]
        deviation = part * TOLERANCES[row.category]
        assert row.count == deviation.size
        assert row.unit == REFERENCES[row.category].unit
        assert row.rmsd == pytest.approx(rms(deviation), rel=1e-6)
        assert row.mae == pytest.approx(np.mean(np.abs(deviation)), rel=1e-6)
        assert row.largest == pytest.approx(np.max(np.abs(deviation)), rel=1e-6)
        assert row.share == pytest.approx(part @ part / result.final_score, rel=1e-6)
        observed = REFERENCES[row.category](objective.models[0].target).observed
        assert row.r2 == pytest.approx(1.0 - deviation @ deviation / np.sum((observed - observed.mean()) ** 2))


def test_every_kind_of_reference_is_reported_and_shares_add_up(fluoromethane_fit, report) -> None:
    # CH3F has no torsions; Cartesian kinds are reported where they are fitted.
    assert [row.category for row in report.categories] == REPORTED
    assert sum(row.share for row in report.categories if not np.isnan(row.share)) == pytest.approx(1.0, abs=1e-6)


def test_the_start_is_that_of_the_force_field_before_the_fit(fluoromethane_fit, report) -> None:
    objective, result = fluoromethane_fit
    start = objective.at(result.initial_parameters.flat, objective.initial_state())[0]
    bonds = REFERENCES["bond_length"](objective.models[0].target)
    expected = {row.category: row.rmsd_start for row in report.categories}["bond_length"]
    assert expected == pytest.approx(rms(bonds.predicted(start) - bonds.observed), rel=1e-9)
    frequencies = sorted(row.start for row in report.molecules[0].modes)
    assert_allclose(frequencies, start.modes.frequencies, atol=1e-6)
    assert report.score == (result.initial_score, result.final_score)


def test_the_force_left_at_the_qm_geometry_is_that_of_the_energy(fluoromethane_fit, report) -> None:
    objective, result = fluoromethane_fit
    system, x = objective.models[0].system, objective.molecules[0].record.coordinates
    p = result.parameters.flat * objective.force_field.internal_factors
    forces = []
    for index in range(x.size):
        shift = np.zeros(x.size)
        shift[index] = 1e-4
        shift = shift.reshape(x.shape)
        forces.append((system.energy(x + shift, p) - system.energy(x - shift, p)) / 2e-4)
    assert report.molecules[0].largest_force == pytest.approx(np.max(np.abs(forces)), rel=1e-5)


def test_parameters_are_listed_with_their_standard_errors(fluoromethane_fit, report) -> None:
    _, result = fluoromethane_fit
    assert [row.label for row in report.parameters] == list(result.parameters.names)
    # s^2 (J^T J)^-1 in physical units, by the normal equations.
    jacobian, residuals = result.jacobian, result.residuals
    variance = residuals @ residuals / (residuals.size - jacobian.shape[1])
    expected = np.sqrt(np.diag(variance * np.linalg.inv(jacobian.T @ jacobian)))
    assert_allclose([row.standard_error for row in report.parameters], expected, rtol=1e-6)
    assert not any(row.at_bound or row.held for row in report.parameters)
    assert (report.rank, report.n_free) == (8, 8)


def test_a_report_is_plain_json_without_nan(report) -> None:
    text = json.dumps(report.as_dict(), allow_nan=False)
    again = json.loads(text)
    assert again["score"] == list(report.score)
    assert again["molecules"][0]["frequency_rmsd"] == report.molecules[0].frequency_rmsd
    assert {row["category"]: row["share"] for row in again["categories"]}["newton_displacement"] is None


def test_numbers_that_are_not_finite_become_null(report) -> None:
    broken = dataclasses.replace(report, optimality=np.inf, score=(np.nan, -np.inf))
    assert json.loads(json.dumps(broken.as_dict(), allow_nan=False))["score"] == [None, None]


def test_the_text_has_every_section(report) -> None:
    text = str(report)
    for heading in (
        "fieldfit: converged",
        "References (deviation = fitted - QM",
        "CH3F at the minimum of the force field",
        "Parameters\n",
        "Determined by the data: 8 of 8 directions",
        "Interactions\n",
    ):
        assert heading in text
    for name in (*REPORTED, *(row.label for row in report.parameters)):
        assert name in text
    assert "nan" not in text
    assert max(map(len, text.split("\n"))) <= 130


@pytest.fixture(scope="module")
def held_report(shared_data) -> FitReport:
    """Return the report of a fit with a fixed, a tied and a bounded parameter, and a tether."""
    molecule = fluoromethane(shared_data)
    field = hessian_fit([molecule], build_force_field([molecule]))
    objective = ForceFieldObjective(field, [molecule], ["eigenmatrix_diagonal"], regularization=1e-4)
    parameters = objective.parameters.fix("*.r0", "*.theta0").tie("bond.C-H.k", "bond.C-F.k", factor=1.2)
    parameters = parameters.replace({"angle.F-C-H.k": 50.0}).bound("angle.F-C-H.k", 0.0, 55.0)
    return report_fit(objective, LeastSquaresOptimizer().optimize(Problem(objective, parameters)))


def test_parameters_say_how_they_are_held(held_report) -> None:
    rows = {row.label: row for row in held_report.parameters}
    assert rows["bond.C-F.r0"].held == "fixed"
    assert rows["bond.C-H.k"].held == "tied to bond.C-F.k"
    assert rows["angle.F-C-H.k"].at_bound
    assert rows["angle.F-C-H.k"].value == pytest.approx(55.0)
    assert held_report.interactions["bond"] == "1 fitted, 3 held (harmonic_bond)"
    assert "AT BOUND" in str(held_report)
    # The tether takes the rest of the score.
    assert 0.9 < sum(row.share for row in held_report.categories if not np.isnan(row.share)) < 1.0


def test_a_transition_state_reports_its_reaction_coordinate(examples) -> None:
    molecule = sn2_transition_state(examples)
    field = hessian_fit([molecule], build_force_field([molecule]))
    objective = ForceFieldObjective(field, [molecule], ["eigenmatrix_diagonal", "newton_displacement"])
    report = report_fit(objective, LeastSquaresOptimizer().optimize(objective))
    found = report.molecules[0]
    # PySCF's imaginary mode; a field of non-negative constants curves upwards along it.
    assert found.reaction_coordinate == pytest.approx((-462.23,), abs=0.01)
    assert found.reaction_curvature[0] > 0.0
    assert len(found.modes) == 12
    frequency = next(row for row in report.categories if row.category == "frequency")
    assert frequency.count == 11
    assert "reaction coordinate: QM -462.2 1/cm" in str(report)
    json.dumps(report.as_dict(), allow_nan=False)


def test_a_field_without_a_minimum_is_reported_as_such(shared_data) -> None:
    # A fit at the QM geometry needs no minimum: nobody has looked for one before the report.
    molecule = fluoromethane(shared_data)
    field = build_force_field([molecule])
    objective = ForceFieldObjective(field, [molecule], ["eigenmatrix_diagonal"])
    result = LeastSquaresOptimizer(maxiter=1).optimize(objective)
    flat = {name: 0.0 for name in result.x if name.endswith(".k")}
    report = report_fit(objective, dataclasses.replace(result, final_params=result.parameters.replace(flat).flat))
    found = report.molecules[0]
    assert "does not reach a minimum" in found.note
    assert found.modes == ()
    assert found.note in str(report)
    assert [row.category for row in report.categories] == [n for n in REPORTED if not REFERENCES[n].needs_minimum]
    json.dumps(report.as_dict(), allow_nan=False)


@pytest.fixture(scope="module")
def two_molecules(shared_data) -> FitReport:
    """Return the report of a fit of two molecules that share nothing."""
    molecules = [fluoromethane(shared_data), ethane(shared_data)]
    field = hessian_fit(molecules, build_force_field(molecules))
    objective = ForceFieldObjective(field, molecules, ["eigenmatrix_diagonal", "newton_displacement"])
    return report_fit(objective, LeastSquaresOptimizer().optimize(objective))


def test_statistics_by_molecule_add_up_to_those_of_all(two_molecules) -> None:
    for row in two_molecules.categories:
        parts = [part for part in two_molecules.molecule_categories if part.category == row.category]
        assert sum(part.count for part in parts) == row.count
        assert sum(part.count * part.rmsd**2 for part in parts) == pytest.approx(row.count * row.rmsd**2)
        assert sum(part.count * part.mae for part in parts) == pytest.approx(row.count * row.mae)
        assert max(part.largest for part in parts) == row.largest
        if not np.isnan(row.share):
            assert sum(part.share for part in parts) == pytest.approx(row.share)
    assert sum(molecule.share for molecule in two_molecules.molecules) == pytest.approx(1.0)


def test_several_molecules_have_a_table_of_their_own(two_molecules) -> None:
    text = str(two_molecules)
    table = text.split("Molecules (")[1].split("\n\n")[0]
    for molecule in two_molecules.molecules:
        assert f"{molecule.frequency_rmsd:.1f}" in table
        assert f"{molecule.eigenmatrix_r2:.5f}" in table
    assert "mode        QM" in text


def test_a_report_of_many_vibrations_points_to_the_file(two_molecules) -> None:
    many = dataclasses.replace(
        two_molecules,
        molecules=tuple(dataclasses.replace(entry, modes=10 * entry.modes) for entry in two_molecules.molecules),
    )
    text = str(many)
    assert "270 vibrations are in report.json" in text
    assert "mode        QM" not in text
    assert len(text.split("\n")) < 80


def test_many_parameters_that_are_held_are_counted(two_molecules) -> None:
    row = dataclasses.replace(two_molecules.parameters[0], held="fixed")
    rows = [dataclasses.replace(row, label=f"vdw.{number}.radius") for number in range(200)]
    text = str(dataclasses.replace(two_molecules, parameters=(*two_molecules.parameters, *rows)))
    assert "200 more are fixed" in text
    assert "vdw.17.radius" not in text


def test_the_minimum_is_as_far_from_the_qm_structure_as_an_independent_minimisation_finds(
    fluoromethane_fit, report, minimum
) -> None:
    record = fluoromethane_fit[0].molecules[0].record
    weights = record.masses / record.masses.sum()
    centred = [x - weights @ x for x in (minimum, record.coordinates)]
    rotation, _ = scipy.spatial.transform.Rotation.align_vectors(centred[1], centred[0], weights=record.masses)
    moved = rotation.apply(centred[0]) - centred[1]
    expected = np.sqrt(np.mean(np.sum(moved**2, axis=1)))
    assert report.molecules[0].displacement == pytest.approx(expected, rel=1e-4)
    assert report.molecules[0].n_negative == 0


def test_observations_without_spread_have_no_r2() -> None:
    observed = np.array([1.0, 1.001, 0.999, 1.0])
    assert np.isnan(determination(observed, observed + 0.1, tolerance=0.01))
    spread = np.array([1.0, 2.0, 3.0, 4.0])
    fitted = np.array([1.1, 1.9, 3.2, 3.9])
    # The squared correlation of a regression is another number; this is one minus unexplained over total.
    assert determination(spread, fitted, tolerance=0.01) == pytest.approx(1.0 - 0.07 / 5.0)


def test_a_field_that_is_a_saddle_says_how_many_curvatures_are_negative(examples) -> None:
    molecule = sn2_transition_state(examples)
    field = hessian_fit([molecule], build_force_field([molecule]), transition_state="D")
    objective = ForceFieldObjective(field, [molecule], ["eigenmatrix_diagonal"], transition_state="D")
    report = report_fit(objective, LeastSquaresOptimizer(maxiter=1).optimize(objective))
    found = report.molecules[0]
    point = stationary_point(molecule, field.with_values({row.label: row.value for row in report.parameters}))
    assert found.n_negative == point.n_negative >= 1
    assert found.reaction_curvature == pytest.approx(point.reaction_curvature, rel=1e-6)
    assert "negative curvature" in str(report)
