"""The staged fit: it ends where a direct fit ends, from any start, and says what each stage was good for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import LeastSquaresOptimizer, MultiStartOptimizer, Problem
from fieldfit.errors import ParameterError, SettingsError
from fieldfit.forcefield import ForceFieldObjective, build_force_field, estimate_force_constants
from fieldfit.forcefield.reference_data import ReferenceData
from fieldfit.forcefield.staged_fit import StartingValues, fit_force_field, starting_point
from molecules import ethane, fluoromethane, made_by, sn2_transition_state

REFERENCES = {"frequency": 10.0, "bond_length": 0.003, "bond_angle": 0.5}
AT_QM = {"eigenmatrix_diagonal": 20.0, "eigenmatrix_off_diagonal": 40.0, "newton_displacement": 0.02}


@pytest.fixture(scope="module")
def molecule(shared_data):
    return fluoromethane(shared_data)


@pytest.fixture(scope="module")
def field(molecule):
    return build_force_field([molecule], name="CH3F")


@pytest.fixture(scope="module")
def fit(molecule, field):
    return fit_force_field([molecule], field, REFERENCES)


def test_it_ends_where_a_fit_without_stages_ends(fit, molecule, field) -> None:
    estimated = estimate_force_constants([molecule], field)
    direct = LeastSquaresOptimizer().optimize(ForceFieldObjective(estimated, [molecule], REFERENCES))
    assert fit.result.success
    assert fit.result.final_score == pytest.approx(direct.final_score, rel=1e-6)
    assert_allclose(fit.result.final_params, direct.final_params, rtol=1e-3)


def test_the_stages_are_told_with_their_scores(fit) -> None:
    first, second, last = fit.stages
    assert [stage.name.split(":")[0] for stage in fit.stages] == ["force constants", "QM geometry", "references"]
    assert second.score[1] <= second.score[0]
    assert last.final_score == pytest.approx(fit.result.final_score, rel=1e-9)
    assert last.score[0] == pytest.approx(min(first.final_score, second.final_score), rel=1e-6)
    report = fit.report()
    assert report.score == pytest.approx((first.final_score, last.final_score), rel=1e-9)
    assert "QM geometry: least squares" in str(report)
    assert all(stage.wall_time > 0.0 for stage in fit.stages)


def test_the_start_of_the_report_is_the_end_of_the_first_stage(fit, molecule, field) -> None:
    estimated = estimate_force_constants([molecule], field).parameters
    starts = {row.label: row.start for row in fit.report().parameters}
    assert_allclose(list(starts.values()), estimated.flat, rtol=1e-12)


@pytest.mark.parametrize(
    "start", [{"*.k": 20.0}, {"bond.*.k": 900.0, "angle.*.k": 200.0}, {"bond.*.r0": 1.25, "angle.*.theta0": 100.0}]
)
def test_the_end_does_not_depend_on_the_start(fit, molecule, field, start) -> None:
    values = {name: value for pattern, value in start.items() for name in field.parameters.match(pattern)}
    other = fit_force_field([molecule], field.with_values(values), REFERENCES)
    assert other.result.final_score == pytest.approx(fit.result.final_score, rel=1e-4)
    assert_allclose(other.result.final_params, fit.result.final_params, rtol=2e-3)


def test_a_force_field_is_recovered_from_what_it_says_itself(shared_data) -> None:
    true = estimate_force_constants([ethane(shared_data)], build_force_field([ethane(shared_data)], periodicities=[3]))
    model = made_by(ethane(shared_data), true)
    start = build_force_field([model], periodicities=[3])
    fit = fit_force_field([model], start, AT_QM, start="seminario")
    assert fit.result.final_score < 1e-8
    field = fit.force_field
    frequencies = fit_force_field([model], field, {"frequency": 1.0}, start="given").report().categories
    assert max(row.rmsd for row in frequencies if row.category == "frequency") < 1e-3


def test_a_stage_that_would_repeat_the_references_is_skipped(molecule, field) -> None:
    fit = fit_force_field([molecule], field, AT_QM)
    assert "skipped: the references are at the QM geometry" in fit.stages[1].note
    assert fit.stages[1].result is None


def test_an_engine_without_derivatives_skips_what_would_cost_most(molecule, field) -> None:
    fit = fit_force_field([molecule], field, AT_QM, engine="openmm", optimizer=LeastSquaresOptimizer(maxiter=1))
    assert "no parameter derivatives" in fit.stages[1].note


def test_a_stage_whose_end_is_worse_is_not_used(examples) -> None:
    # The coupling of the reaction coordinate is left out of the eigenmatrix, but not out of the wavenumbers.
    molecule = sn2_transition_state(examples)
    fit = fit_force_field([molecule], build_force_field([molecule]), {"frequency": 10.0, "bond_length": 0.01})
    first, second, last = fit.stages
    assert second.final_score > first.final_score
    assert "not used" in second.note
    assert last.score[0] == pytest.approx(first.final_score)


def test_the_tether_pulls_to_the_end_of_the_first_stage(molecule, field) -> None:
    fit = fit_force_field([molecule], field, REFERENCES, regularization=1e6)
    estimated = estimate_force_constants([molecule], field).parameters
    assert_allclose(fit.result.final_params, estimated.flat, rtol=1e-3)


def test_several_starts_are_listed_with_their_ends(molecule, field) -> None:
    fit = fit_force_field([molecule], field, AT_QM, n_starts=3, seed=5)
    report = fit.report()
    assert len(report.start_scores) == 3
    assert list(report.start_scores) == sorted(report.start_scores)
    assert report.start_scores[0] == pytest.approx(fit.result.final_score)
    assert "Starts: 3" in str(report)
    assert "seed 5" in str(report)
    objective = fit.make_objective(0.0)
    alone = MultiStartOptimizer(fit.optimizer, n_starts=3, seed=5).optimize(Problem(objective, fit.start))
    assert_allclose(fit.result.final_params, alone.final_params, rtol=1e-9)


def test_observations_from_a_file_are_fitted_alike(molecule, field, fit) -> None:
    data = ReferenceData.from_molecules([molecule], REFERENCES)
    other = fit_force_field([molecule], field, data)
    assert other.result.final_score == pytest.approx(fit.result.final_score, rel=1e-9)


def test_parameters_that_are_fixed_afterwards_keep_their_estimate(molecule, field) -> None:
    start = StartingValues(then_fix=("bond.*",))
    fit = fit_force_field([molecule], field, AT_QM, start=start)
    estimated = estimate_force_constants([molecule], field).parameters
    for name in estimated.match("bond.*"):
        assert fit.result.x[name] == estimated[name].value
    assert fit.result.parameters.n_free == 4


@pytest.mark.parametrize("method", ["C", "C'", "D", "E", "E2"])
def test_every_method_for_transition_states_goes_through_all_stages(examples, method) -> None:
    molecule = sn2_transition_state(examples)
    fit = fit_force_field(
        [molecule], build_force_field([molecule]), {"bond_length": 0.01, **AT_QM}, transition_state=method
    )
    assert np.isfinite(fit.result.final_score)
    assert fit.objective.transition_state == method
    constants = [float(value) for name, value in fit.result.x.items() if name.endswith(".k")]
    assert (min(constants) < 0.0) == (method == "D")


def test_parameters_of_another_field_are_refused(molecule, field) -> None:
    parameters = dataclasses.replace(field, rows=field.rows[:1]).parameters
    with pytest.raises(ParameterError, match="not those of the force field"):
        starting_point([molecule], field, parameters, StartingValues())


def test_no_starts_are_refused(molecule, field) -> None:
    with pytest.raises(SettingsError, match="n_starts = 0"):
        fit_force_field([molecule], field, AT_QM, n_starts=0)


def test_what_the_start_meets_may_end_the_fit(molecule, field) -> None:
    def refuse(started, parameters) -> None:
        assert_allclose(started.parameters.flat, parameters.flat)
        raise SettingsError("no such format")

    with pytest.raises(SettingsError, match="no such format"):
        fit_force_field([molecule], field, AT_QM, on_start=refuse)


def test_another_engine_scores_with_the_derivatives_of_the_jax_engine(molecule, field, fit) -> None:
    pytest.importorskip("openmm")
    scored = fit_force_field([molecule], field, REFERENCES, engine="openmm")
    assert all("of the derivative objective" in mode for mode in scored.result.jac_mode.values())
    assert scored.result.final_score == pytest.approx(fit.result.final_score, rel=1e-5)
    assert scored.objective.traits.has_derivatives is False
    assert "converged" in str(scored.report())


def test_what_a_method_for_transition_states_allows_does_not_depend_on_the_start(examples) -> None:
    molecule = sn2_transition_state(examples)
    field = build_force_field([molecule])
    for method in ("hessian-fit", "given"):
        _, varying = starting_point([molecule], field, None, StartingValues(method), transition_state="D")
        assert varying["bond.C-F.k"].lower == -np.inf
