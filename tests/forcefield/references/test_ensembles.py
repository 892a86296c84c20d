"""References of ensembles against energies that are evaluated, relaxed and differentiated one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit import LeastSquaresOptimizer
from fieldfit.errors import EvaluationError, MoleculeError, SettingsError
from fieldfit.forcefield import (
    ForceFieldObjective,
    Nonbonded,
    Row,
    build_force_field,
    estimate_force_constants,
    perceive,
    read,
)
from fieldfit.forcefield.engines.energy_slopes import energies, energy_slopes
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.engines.openmm import OpenMMEngine
from fieldfit.forcefield.readers.ensemble_xyz import read_ensemble
from fieldfit.forcefield.references.ensemble_model import EnsembleEvaluation, EnsembleModel
from fieldfit.forcefield.references.ensembles import (
    ENSEMBLE_REFERENCES,
    ConformerGradient,
    RelativeEnergy,
    RelaxedScan,
    default_kinds,
)
from fieldfit.forcefield.relaxation import Fixed, relax
from fieldfit.forcefield.topology import measure
from molecules import central_differences, internal_parameters

BACKBONE = (0, 1, 2, 3)
POINTS = (0, 4, 11, 16)
"""Of the scan of butane: torsions of -180, -120, -15 and 60 degrees."""

SOME = np.array([0, 1, 12, 13, 20, 25, 26, 29, 32])
"""Parameters that differences are taken for where they take long: at least one of every kind."""


@pytest.fixture(scope="module")
def butane(examples):
    return perceive(read(examples / "torsion-scan" / "butane.json"))


@pytest.fixture(scope="module")
def whole_scan(butane, examples):
    return read_ensemble(examples / "torsion-scan" / "butane-scan.xyz", butane, held=[BACKBONE])


@pytest.fixture(scope="module")
def scan(whole_scan):
    chosen = list(POINTS)
    return replace(
        whole_scan,
        coordinates=whole_scan.coordinates[chosen],
        energies=whole_scan.energies[chosen],
        gradients=whole_scan.gradients[chosen],
    )


@pytest.fixture(scope="module")
def conformers(butane, examples):
    return read_ensemble(examples / "torsion-scan" / "butane-conformers.xyz", butane)


@pytest.fixture(scope="module")
def field(butane):
    """Every kind of term that butane can have, with constants that make anti and gauche minima."""
    made = build_force_field([butane], stretch_bend=["H*-C1-*"])
    torsions = {name: 0.15 for name in made.parameter_names if name.startswith("torsion")}
    rows = [Row("lennard_jones", (name,), {"radius": 1.5, "epsilon": 0.03}) for name in made.elements]
    rows.append(Row("cosine_torsion", ("C2", "C1", "C1", "C2"), {"k": 0.2}, {"periodicity": 1.0, "phase": 0.0}))
    return replace(made.with_values(torsions), rows=(*made.with_values(torsions).rows, *rows), nonbonded=Nonbonded())


@pytest.fixture(scope="module")
def p(field):
    return internal_parameters(field)


@pytest.fixture(scope="module")
def system(butane, field):
    return JaxEngine().system(butane, field)


@pytest.fixture(scope="module")
def steps(p):
    return 1e-4 * np.maximum(np.abs(p), 0.1)


def evaluated(ensemble, system, p, columns=None):
    model = EnsembleModel(ensemble, system)
    return EnsembleEvaluation(model, p, model.initial_state, columns)


def relaxed_alone(ensemble, system, p):
    """Relax every geometry by itself, what is held at the value that is measured."""
    found = []
    for x in ensemble.coordinates:
        held = [Fixed("dihedral", atoms, measure(x, atoms)) for atoms in ensemble.held]
        found.append(relax(lambda y: system.local(y, p), x, frozen=held))
        assert found[-1].is_converged
    return np.array([entry.energy for entry in found])


def test_energies_of_many_geometries_are_those_of_each(scan, system, p) -> None:
    assert_allclose(energies(system, scan.coordinates, p), [system.energy(x, p) for x in scan.coordinates], rtol=1e-13)


def test_energy_slopes_are_differences_of_energies(scan, system, p, steps) -> None:
    expected = central_differences(lambda q: np.array([system.energy(x, q) for x in scan.coordinates]), p, steps)
    # Energies of about 20 kcal/mol to 1e-14 over steps of 1e-5.
    assert_allclose(energy_slopes(system, scan.coordinates, p), expected, rtol=1e-8, atol=1e-7)


def test_relative_energies_and_their_jacobian_have_the_mean_taken_out(scan, system, p, steps) -> None:
    def centred(q):
        alone = np.array([system.energy(x, q) for x in scan.coordinates])
        return alone - alone.mean()

    reference, evaluation = RelativeEnergy(scan), evaluated(scan, system, p)
    expected = centred(p) - (scan.energies - scan.energies.mean())
    assert_allclose(reference.predicted(evaluation) - reference.observed, expected, atol=1e-9)
    assert_allclose(reference.jacobian(evaluation), central_differences(centred, p, steps), rtol=1e-8, atol=1e-7)


def test_a_free_zero_gives_the_step_of_least_squares_with_an_offset_of_its_own(scan, system, p) -> None:
    """Golub, Pereyra (1973): the offset that is eliminated is the one that least squares would find."""
    evaluation = evaluated(scan, system, p)
    chosen = np.array([0, 20])
    J = np.column_stack([evaluation.energy_jacobian[:, chosen], np.ones(scan.n_geometries)])
    r = evaluation.energies - scan.energies
    with_offset, left = np.linalg.lstsq(J, -r)[:2]
    reference = RelativeEnergy(scan)
    J_0, r_0 = reference.jacobian(evaluation)[:, chosen], reference.predicted(evaluation) - reference.observed
    without, left_0 = np.linalg.lstsq(J_0, -r_0)[:2]
    assert_allclose(without, with_offset[:2], rtol=1e-7)
    assert_allclose(left_0, left, rtol=1e-7)


def test_observed_energies_are_relative_to_the_lowest(scan) -> None:
    for zero in ("free", "lowest"):
        assert_allclose(
            sorted(RelativeEnergy(replace(scan, zero=zero)).observed)[-1], np.ptp(scan.energies), rtol=1e-12
        )


def test_the_lowest_geometry_as_zero_is_no_observation(scan, system, p, steps) -> None:
    def differences(q):
        alone = np.array([system.energy(x, q) for x in scan.coordinates])
        return alone[1:] - alone[0]

    assert np.argmin(scan.energies) == 0
    reference, evaluation = RelativeEnergy(replace(scan, zero="lowest")), evaluated(scan, system, p)
    assert reference.labels == RelativeEnergy(scan).labels[1:]
    assert_allclose(reference.predicted(evaluation), differences(p), atol=1e-9)
    assert_allclose(reference.jacobian(evaluation), central_differences(differences, p, steps), rtol=1e-8, atol=1e-7)


def test_gradients_and_their_jacobian_are_those_of_each_geometry(scan, system, p, steps) -> None:
    def gradients(values):
        q = p.copy()
        q[SOME] = values
        return np.concatenate([system.gradient(x, q) for x in scan.coordinates])

    reference, evaluation = ConformerGradient(scan), evaluated(scan, system, p)
    assert len(reference.labels) == reference.observed.size == 4 * 14 * 3
    assert_allclose(reference.predicted(evaluation), gradients(p[SOME]), atol=1e-10)
    expected = central_differences(gradients, p[SOME], steps[SOME])
    assert_allclose(reference.jacobian(evaluation)[:, SOME], expected, rtol=1e-7, atol=1e-6)


def test_relaxed_energies_are_those_of_relaxations_one_by_one(scan, system, p) -> None:
    alone = relaxed_alone(scan, system, p)
    evaluation = evaluated(scan, system, p)
    assert_allclose(evaluation.relaxed_energies, alone, atol=1e-9)
    for x, found in zip(scan.coordinates, evaluation.relaxed, strict=True):
        turn = measure(found.x, BACKBONE) - measure(x, BACKBONE)
        assert abs(turn - 360.0 * round(turn / 360.0)) < 1e-7
    assert np.all(evaluation.relaxed_energies < evaluation.energies)


@pytest.mark.parametrize("which", ["scan", "conformers"])
def test_the_slope_of_relaxed_energies_is_that_of_energies_that_are_relaxed_again(
    which, scan, conformers, system, p, steps
) -> None:
    """The envelope theorem, for held and for free relaxations, for parameters of every kind."""
    ensemble = {"scan": scan, "conformers": conformers}[which]

    def relative(values):
        q = p.copy()
        q[SOME] = values
        alone = relaxed_alone(ensemble, system, q)
        return alone - alone.mean()

    reference, evaluation = RelaxedScan(ensemble), evaluated(ensemble, system, p)
    expected = central_differences(relative, p[SOME], 10.0 * steps[SOME])
    assert_allclose(reference.jacobian(evaluation)[:, SOME], expected, rtol=1e-6, atol=1e-6)


def test_derivatives_are_made_for_the_columns_that_are_asked_for(scan, system, p) -> None:
    columns = np.array([3, 0, 17])
    whole, some = evaluated(scan, system, p), evaluated(scan, system, p, columns)
    for name in ENSEMBLE_REFERENCES:
        reference = ENSEMBLE_REFERENCES[name](scan)
        assert_array_equal(reference.jacobian(some), reference.jacobian(whole)[:, columns])


def test_the_next_evaluation_starts_where_this_one_ended(scan, system, p) -> None:
    first = evaluated(scan, system, p)
    first.relaxed_energies  # noqa: B018 - relaxes
    state = first.next_state()
    second = EnsembleEvaluation(first.model, p, state)
    assert all(found.n_iterations == 0 for found in second.relaxed)
    assert_allclose(second.relaxed_energies, first.relaxed_energies, atol=1e-9)
    assert_array_equal(EnsembleEvaluation(first.model, p, state).relaxed_energies, second.relaxed_energies)
    assert evaluated(scan, system, p).next_state().coordinates is scan.coordinates


def test_without_torsional_constants_a_held_torsion_keeps_every_point_and_its_energy(scan, butane) -> None:
    """Methyl groups that turn freely are flat directions, not failures."""
    bare = build_force_field([butane])
    evaluation = evaluated(scan, JaxEngine().system(butane, bare), internal_parameters(bare))
    assert {found.reason for found in evaluation.relaxed} == {"flat"}
    assert not evaluation.is_unrelaxed


@pytest.fixture(scope="module")
def downhill(field):
    """The field with a torsional constant that leaves butane no gauche minimum."""
    return internal_parameters(field.with_values({"torsion.C2-C1-C1-C2.1.k": 8.0}))


def test_a_conformer_that_leaves_for_another_minimum_makes_its_ensemble_unrelaxed(
    conformers, system, p, downhill
) -> None:
    lost = evaluated(conformers, system, downhill)
    assert_array_equal(lost.relaxed_energies, lost.energies)
    assert_array_equal(lost.relaxed_energy_jacobian, lost.energy_jacobian)
    state = lost.next_state()
    news = lost.news(state)
    assert state.is_unrelaxed
    assert state.n_failures == 1
    assert "butane-conformers, geometry 2: relaxation runs to another minimum" in news.note
    with pytest.raises(EvaluationError, match=r"0\.5 A are allowed"):
        _ = lost.relaxed


def test_an_unrelaxed_ensemble_relaxes_again_once_a_point_is_accepted_where_it_can(
    conformers, system, p, downhill
) -> None:
    lost = evaluated(conformers, system, downhill)
    lost.relaxed_energies  # noqa: B018 - relaxes
    trial = EnsembleEvaluation(lost.model, p, lost.next_state())
    assert_array_equal(trial.relaxed_energies, trial.energies)
    found = trial.next_state()
    assert trial.news(found).is_stale
    assert not found.is_unrelaxed
    assert_allclose(
        EnsembleEvaluation(lost.model, p, found).relaxed_energies, relaxed_alone(conformers, system, p), atol=1e-9
    )


def test_an_ensemble_that_failed_too_often_stays_unrelaxed(conformers, system, p, downhill) -> None:
    model = EnsembleModel(conformers, system)
    state = model.initial_state
    for _ in range(3):
        lost = EnsembleEvaluation(model, downhill, replace(state, is_unrelaxed=False))
        lost.relaxed_energies  # noqa: B018 - relaxes
        state = lost.next_state()
    last = EnsembleEvaluation(model, p, state)
    last.relaxed_energies  # noqa: B018 - relaxes
    assert last.next_state().is_unrelaxed


def test_a_displacement_that_is_allowed_counts(conformers, system, downhill) -> None:
    tolerant = evaluated(replace(conformers, largest_displacement=np.inf), system, downhill)
    assert not tolerant.is_unrelaxed
    # Both conformers end in the anti minimum.
    assert_allclose(np.ptp(tolerant.relaxed_energies), 0.0, atol=1e-9)
    assert tolerant.displacements[1] > 0.5


def test_openmm_predicts_the_same(scan, butane, field, system, p) -> None:
    second = evaluated(scan, OpenMMEngine().system(butane, field), p)
    first = evaluated(scan, system, p)
    # OpenMM's reference platform computes in double precision; its Hessians are differences of gradients.
    for name in ENSEMBLE_REFERENCES:
        reference = ENSEMBLE_REFERENCES[name](scan)
        assert_allclose(reference.predicted(second), reference.predicted(first), atol=2e-5)
    with pytest.raises(SettingsError, match="no derivatives with respect to parameters"):
        RelativeEnergy(scan).jacobian(second)


@pytest.fixture(scope="module")
def start(butane):
    """Constants from the Hessian; three periodicities for the scanned torsion."""
    types = ("C2", "C1", "C1", "C2")
    rows = [
        Row("cosine_torsion", types, {"k": 0.0}, {"periodicity": n, "phase": phase})
        for n, phase in ((1.0, 0.0), (2.0, 180.0))
    ]
    made = build_force_field([butane])
    made = replace(made, rows=(*made.rows, *rows))
    names = [name for row in rows for name in row.parameter_names]
    return estimate_force_constants([butane], made, parameters=made.parameters.fix(*names))


def test_a_fit_to_hessian_scan_and_conformers_reproduces_their_energies(butane, whole_scan, conformers, start) -> None:
    references = ["eigenmatrix_diagonal", "eigenmatrix_off_diagonal", "bond_length", "bond_angle", "relaxed_scan"]
    objective = ForceFieldObjective(start, [butane], references, ensembles=[whole_scan, conformers], regularization=0.1)
    result = LeastSquaresOptimizer().optimize(objective)
    assert result.success
    for found, ensemble in zip(
        objective.ensembles_at(result.parameters.flat, result.state), (whole_scan, conformers), strict=True
    ):
        # What valence terms and torsions with three periodicities are expected to reach for a hydrocarbon [kcal/mol].
        assert np.std(found.relaxed_energies - ensemble.energies) < 0.3
        assert not found.is_unrelaxed


KINDS = ("bond_length", "relaxed_scan", "relative_energy", "conformer_gradient")


def test_the_jacobian_of_an_objective_with_ensembles_is_that_of_its_residuals(butane, scan, conformers, start) -> None:
    objective = ForceFieldObjective(start, [butane], KINDS, ensembles=[scan, conformers])
    values, state, chosen = start.parameters.flat, objective.initial_state(), np.array([1, 20])

    def residuals(some):
        changed = values.copy()
        changed[chosen] = some
        return objective.evaluate(changed, state, derivatives=False).residuals

    jacobian = objective.evaluate(values, state, derivatives=True).jacobian
    steps = 1e-3 * np.maximum(np.abs(values[chosen]), 0.1)
    expected = central_differences(residuals, values[chosen], steps)
    assert expected.shape[0] == len(butane.bonds) + 6 * (1 + 1 + 3 * butane.n_atoms)
    assert_allclose(jacobian[:, chosen], expected, rtol=1e-6, atol=1e-6)


def test_energies_are_fitted_after_relaxation_unless_something_else_is_said(scan) -> None:
    assert default_kinds(scan) == ("relaxed_scan",)
    assert default_kinds(replace(scan, energies=None)) == ("conformer_gradient",)
    with pytest.raises(MoleculeError, match="nothing to fit"):
        default_kinds(replace(scan, energies=None, gradients=None))


def test_what_is_not_known_cannot_be_fitted(scan) -> None:
    with pytest.raises(MoleculeError, match="no QM energies"):
        RelativeEnergy(replace(scan, energies=None))
    with pytest.raises(MoleculeError, match="no QM gradients"):
        ConformerGradient(replace(scan, gradients=None))
    one = replace(scan, coordinates=scan.coordinates[:1], energies=scan.energies[:1], gradients=None)
    with pytest.raises(MoleculeError, match="one geometry has no relative energy"):
        RelaxedScan(one)
