"""The workflows of Q2MM's optimization guide on small molecules: scripts as its users write them, only imports changed.

What they end at is compared with the library's own least squares, which shares no step with them.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose, assert_array_equal

import fieldfit
import fieldfit.forcefield as library
from fieldfit.compat.q2mm import (
    BasinHoppingOptimizer,
    ForceField,
    JaxEngine,
    JaxOptOptimizer,
    MultiStartOptimizer,
    ObjectiveFunction,
    OpenMMEngine,
    OptaxOptimizer,
    OptimizationLoop,
    ReferenceData,
    ReferenceValue,
    ScipyOptimizer,
    SubspaceObjective,
    TinkerEngine,
    compute_sensitivity,
    estimate_force_constants,
)
from fieldfit.errors import ParameterError, SettingsError
from fieldfit.forcefield.constants import HARTREE_PER_BOHR2
from fieldfit.forcefield.reference_data import ReferenceData as NativeReferenceData
from fieldfit.forcefield.vibrations import normal_modes
from molecules import ethane, fluoromethane, made_by, sn2_transition_state

WEIGHTS = {"frequency": 0.1, "bond_length": 100.0, "bond_angle": 2.0}
"""Weights of 10 1/cm, 0.01 A and 0.5 deg."""


@pytest.fixture(scope="module")
def mol(shared_data):
    return fluoromethane(shared_data)


@pytest.fixture(scope="module")
def frequencies(shared_data):
    return np.loadtxt(shared_data / "ch3f" / "ch3f-frequencies.txt")


@pytest.fixture(scope="module")
def reference(mol, frequencies):
    return ReferenceData.from_molecule(mol, frequencies=frequencies, weights=WEIGHTS, include_eigenmatrix=False)


@pytest.fixture(scope="module")
def start(mol):
    return estimate_force_constants([mol])


@pytest.fixture
def ff(start):
    return start.copy()


@pytest.fixture
def objective(ff, mol, reference):
    return ObjectiveFunction(forcefield=ff, engine=JaxEngine(), molecules=[mol], reference=reference)


@pytest.fixture(scope="module")
def best(start, mol):
    """Score of the library's own fit to the same observations."""
    tolerances = {kind: 1.0 / weight for kind, weight in WEIGHTS.items()}
    result = fieldfit.LeastSquaresOptimizer().optimize(library.ForceFieldObjective(start.native, [mol], tolerances))
    assert result.success
    return result.final_score


@pytest.fixture
def quick(start, mol):
    """An objective at the QM geometry: forces and Hessian, nothing to relax."""
    kinds = {"eigenmatrix_diagonal": 10.0, "eigenmatrix_off_diagonal": 40.0, "newton_displacement": 0.02}
    return ObjectiveFunction(start.with_params(1.1 * start.get_param_vector()), JaxEngine(), [mol], kinds)


@pytest.fixture
def quick_best(quick):
    native = library.ForceFieldObjective(quick.forcefield.native, quick.molecules, quick.reference)
    return fieldfit.LeastSquaresOptimizer().optimize(native).final_score


def test_workflow_a_small_and_smooth(objective, ff, best):
    before = objective(ff.get_param_vector())
    optimizer = ScipyOptimizer(method="L-BFGS-B", maxiter=500, jac="auto", verbose=False)
    result = optimizer.optimize(objective)
    assert "score" in result.summary()
    assert result.initial_score == before
    assert result.final_score == pytest.approx(best, rel=1e-4)
    assert 0.9 < result.improvement < 1.0
    # The handle has the fitted values, and the objective gives the same score for them.
    assert objective.forcefield is ff
    assert_array_equal(ff.get_param_vector(), result.final_params)
    assert objective(ff.get_param_vector()) == pytest.approx(result.final_score, rel=1e-6)
    assert objective.n_eval == result.n_evaluations + 2
    assert objective.history[0] == before


def test_workflow_b_small_and_rugged(quick, quick_best):
    inner = ScipyOptimizer(method="L-BFGS-B", maxiter=100, jac="auto")
    multi = MultiStartOptimizer(optimizer=inner, n_starts=3, perturbation_pct=0.1, seed=42, verbose=False)
    result = multi.optimize(quick)
    assert len(result.runs) == 3
    assert result.final_score == pytest.approx(quick_best, rel=1e-3)
    # A second optimizer goes on where the first one ended.
    refined = ScipyOptimizer("least_squares", jac="auto", verbose=False).optimize(quick)
    assert refined.initial_score == pytest.approx(result.final_score, rel=1e-6)
    assert refined.final_score <= refined.initial_score


def test_workflow_c_cycling(quick, quick_best):
    loop = OptimizationLoop(
        quick,
        max_params=3,
        max_cycles=2,
        convergence=0.01,
        full_method="L-BFGS-B",
        simp_method="Nelder-Mead",
        full_maxiter=100,
        simp_maxiter=60,
        full_jac="auto",
        verbose=False,
    )
    result = loop.run()
    assert "cycling" in result.summary()
    assert result.final_score == pytest.approx(quick_best, rel=1e-3)
    assert result.cycle_scores[-1] == result.final_score
    assert_array_equal(quick.forcefield.get_param_vector(), result.final_params)


def test_workflow_c_with_several_starts_in_each_cycle(quick, quick_best):
    loop = OptimizationLoop(
        quick,
        max_params=3,
        max_cycles=1,
        full_method="multi:least-squares",
        simp_method="Nelder-Mead",
        simp_maxiter=30,
        full_jac="auto",
        verbose=False,
    )
    assert loop.run().final_score == pytest.approx(quick_best, rel=1e-3)


@pytest.mark.parametrize("method", ["lbfgs", "lm"])
def test_workflow_d_end_to_end_derivatives(method, objective, best):
    result = JaxOptOptimizer(method=method, maxiter=200, verbose=False).optimize(objective)
    assert result.final_score == pytest.approx(best, rel=1e-3)


def test_first_order_and_hopping_optimizers_take_the_objective(quick, quick_best):
    pytest.importorskip("optax")
    before = quick(quick.forcefield.get_param_vector())
    adam = OptaxOptimizer(optimizer="adam", learning_rate=0.1, max_steps=10, verbose=False).optimize(quick)
    assert adam.final_score < before
    hopped = BasinHoppingOptimizer(niter=1, local_maxiter=100, seed=1, verbose=False).optimize(quick)
    assert hopped.initial_score == pytest.approx(adam.final_score, rel=1e-6)
    assert hopped.final_score == pytest.approx(quick_best, rel=1e-2)


def test_derivatives_by_differences_are_the_default(objective):
    result = ScipyOptimizer(maxiter=1, verbose=False).optimize(objective)
    assert set(result.jac_mode.values()) == {"forward differences"}


def test_tether_adds_the_squared_distance_in_units_of_the_scales(ff, mol, reference, objective):
    strength, x0 = 0.3, ff.get_param_vector()
    moved = 1.02 * x0
    scaled, raw, aimed = (
        ObjectiveFunction(ff, JaxEngine(), [mol], reference, regularization=strength, **options)
        for options in ({}, {"regularization_units": "raw"}, {"reference_params": moved})
    )
    plain = objective(moved)
    assert scaled(x0) == pytest.approx(objective(x0), rel=1e-12)
    distance = (moved - x0) / ff.get_step_sizes()
    assert scaled(moved) - plain == pytest.approx(strength * np.sum(distance**2), rel=1e-8)
    assert raw(moved) - plain == pytest.approx(strength * np.sum((moved - x0) ** 2), rel=1e-8)
    assert aimed(moved) == pytest.approx(plain, rel=1e-12)
    with pytest.raises(SettingsError, match="unit of regularization"):
        ObjectiveFunction(ff, JaxEngine(), [mol], reference, regularization=0.1, regularization_units="row")
    with pytest.raises(ParameterError, match="reference_params"):
        ObjectiveFunction(ff, JaxEngine(), [mol], reference, regularization=0.1, reference_params=[1.0])


def test_tether_keeps_values_closer_to_the_start(start, mol, reference):
    def moved(strength):
        objective = ObjectiveFunction(start.copy(), JaxEngine(), [mol], reference, regularization=strength)
        result = ScipyOptimizer("least_squares", jac="auto", verbose=False).optimize(objective)
        return np.linalg.norm((result.final_params - result.initial_params) / start.get_step_sizes())

    free, loose, tight = (moved(strength) for strength in (0.0, 0.01, 100.0))
    assert free > loose > tight > 0.0


def test_sensitivity_ranks_by_type_of_parameter(objective, ff):
    sens = compute_sensitivity(objective, metric="simp_var")
    labels = ff.get_param_type_labels()
    lines = [f"{labels[i]:12s} d1={sens.d1[i]:+.4f} simp_var={sens.simp_var[i]:.4f}" for i in sens.ranking]
    assert len(lines) == len(labels) == ff.n_params
    assert np.all(np.diff(sens.simp_var[sens.ranking]) >= 0.0)
    assert sens.labels == tuple(ff.get_param_names())
    assert sens.n_evaluations <= 2 * ff.n_params + 1


def test_subspace_is_minimized_by_a_function_of_scipy(objective, ff):
    full = ff.get_param_vector()
    part = SubspaceObjective(objective, [0, 2], full)
    assert_array_equal(part.get_initial_vector(), full[[0, 2]])
    found = scipy.optimize.minimize(part, part.get_initial_vector(), method="Nelder-Mead", options={"maxiter": 20})
    ff.set_param_vector(part.build_full_vector(found.x))
    assert_array_equal(np.delete(ff.get_param_vector(), [0, 2]), np.delete(full, [0, 2]))
    assert objective(ff.get_param_vector()) == found.fun < part(full[[0, 2]])


def test_gradient_is_that_of_the_score(objective, ff):
    x = 1.01 * ff.get_param_vector()
    steps = 1e-4 * ff.get_step_sizes()
    differences = [
        (objective(x + step) - objective(x - step)) / (2.0 * step[place]) for place, step in enumerate(np.diag(steps))
    ]
    assert_allclose(objective.gradient(x), differences, rtol=1e-5)
    assert_allclose(np.sum(objective.residuals(x) ** 2), objective(x), rtol=1e-12)
    ff.freeze("bond.*")
    frozen = objective.gradient(x)
    assert_array_equal(frozen[~ff.active_mask], 0.0)
    assert_allclose(frozen[ff.active_mask], np.array(differences)[ff.active_mask], rtol=1e-5)


def test_frozen_parameters_stay_and_bounds_hold(objective, ff):
    before = ff.get_param_vector()
    ff.freeze("*.r0", "*.theta0")
    ff.set_bounds(fc_fraction=0.05)
    ScipyOptimizer("least_squares", jac="auto", verbose=False).optimize(objective)
    after = ff.get_param_vector()
    assert_array_equal(after[~ff.active_mask], before[~ff.active_mask])
    assert_allclose(after[ff.active_mask], before[ff.active_mask], rtol=0.05 + 1e-12)
    assert np.max(np.abs(after / before - 1.0)) > 0.01


def test_vectors_labels_and_bounds_of_a_force_field(ff):
    x = ff.get_param_vector()
    assert ff.n_params == len(x) == len(ff.get_param_names()) == len(ff.get_step_sizes()) == 8
    labels = ff.get_param_type_labels()
    assert sorted(set(labels)) == ["angle_eq", "angle_k", "bond_eq", "bond_k"]
    places = ff.get_param_indices_by_type()
    assert all(labels[place] == label for label, found in places.items() for place in found)
    assert places["torsion_k"] == []
    # FORCEFIELD: default bounds and fractions around the values.
    bounds = ff.get_bounds()
    assert bounds[labels.index("bond_k")] == (0.0, 3600.0)
    assert bounds[labels.index("angle_eq")] == (30.0, 180.0)
    assert ff.get_bounds({"bond_k": (1.0, 2000.0)})[labels.index("bond_k")] == (1.0, 2000.0)
    narrow = np.array(ff.get_bounds(fc_fraction=0.05, eq_fraction=0.02))
    half = np.where([label.endswith("_k") for label in labels], 0.05, 0.02) * x
    assert_allclose(narrow, np.stack([x - half, x + half], axis=1), rtol=1e-12)
    with pytest.raises(ParameterError, match="Did you mean 'bond_k'"):
        ff.get_bounds({"bond_kk": (0.0, 1.0)})


def test_handles_change_and_force_fields_of_the_library_do_not(ff):
    native, x = ff.native, ff.get_param_vector()
    other = ff.with_params(1.1 * x)
    assert_array_equal(ff.get_param_vector(), x)
    ff.set_param_vector(1.2 * x)
    assert_array_equal(native.parameters.flat, x)
    assert_array_equal(ff.native.parameters.flat, 1.2 * x)
    assert_allclose(other.native.parameters.flat, 1.1 * x)
    ff.freeze_all()
    assert ff.n_active_params == 0
    ff.unfreeze("bond.*.k")
    assert [name.endswith(".k") for name in ff.get_active_param_names()] == [True] * ff.n_active_params
    ff.set_active_param_vector([700.0, 800.0])
    assert ff.get_active_param_vector().tolist() == [700.0, 800.0]
    assert ff.with_active_params([1.0, 2.0]).get_active_param_vector().tolist() == [1.0, 2.0]
    assert ff.get_active_bounds().shape == (2, 2)
    assert [(term.elements, term.force_constant, term.frozen) for term in ff.bonds] == [
        (("C", "F"), 700.0, False),
        (("C", "H"), 800.0, False),
    ]
    assert [term.frozen for term in ff.angles] == [True, True]
    for wrong in ([1.0], [1.0, np.nan]):
        with pytest.raises(ParameterError):
            ff.set_active_param_vector(wrong)
        with pytest.raises(ParameterError):
            ff.set_param_vector(wrong)


def test_only_what_another_force_field_has_varies(ff, mol):
    bonds = [row for row in ff.native.rows if row.kind == "bond"]
    ff.freeze_standard_params(library.ForceField("OPT", tuple(bonds), ff.native.elements))
    assert [name.startswith("bond.") for name in ff.get_param_names()] == ff.active_mask.tolist()
    assert not ff.copy().active_mask[-1]


def test_tied_values_follow(ff):
    tied = ForceField(ff.native, ff.parameters.tie("bond.C-H.k", "bond.C-F.k", factor=0.9))
    tied.set_active_param_vector(1.1 * tied.get_active_param_vector())
    values = dict(zip(tied.get_param_names(), tied.get_param_vector(), strict=True))
    assert values["bond.C-H.k"] == pytest.approx(0.9 * values["bond.C-F.k"])
    with pytest.raises(ParameterError, match="tied"):
        tied.set_param_vector(tied.get_param_vector() + np.eye(8)[tied.get_param_names().index("bond.C-H.k")])


def test_a_handle_is_read_from_a_file(ff, tmp_path):
    ff.native.write(tmp_path / "field.toml")
    assert_array_equal(ForceField.read(tmp_path / "field.toml").get_param_vector(), ff.get_param_vector())


METHODS = ("qfuerza", "seminario", "modified-seminario", "gamma-fuerza", "hessian-fit", "approximation")


@pytest.mark.parametrize("method", METHODS)
def test_starting_constants_are_those_of_the_library(method, mol):
    field = library.build_force_field([mol])
    expected = library.estimate_force_constants([mol], field, method).parameters.flat
    assert_array_equal(estimate_force_constants([mol], field, method).get_param_vector(), expected)
    assert_array_equal(estimate_force_constants(mol, ForceField(field), method=method).get_param_vector(), expected)


def test_torsions_start_at_zero_on_request_only(shared_data):
    molecule = ethane(shared_data)
    fitted = estimate_force_constants([molecule])
    zero = estimate_force_constants([molecule], zero_torsions=True)
    place = fitted.get_param_type_labels().index("torsion_k")
    assert fitted.get_param_vector()[place] > 0.1
    assert zero.get_param_vector()[place] == 0.0
    assert_array_equal(np.delete(zero.get_param_vector(), place), np.delete(fitted.get_param_vector(), place))
    assert zero.active_mask.all()


def test_estimates_keep_frozen_values_and_skip_invalid_ones(examples):
    molecule = sn2_transition_state(examples)
    frozen = ForceField.create_for_molecule(molecule)
    frozen.freeze("bond.C-H.k")
    x = frozen.get_param_vector()
    found = estimate_force_constants([molecule], frozen, "seminario")
    place = frozen.get_param_names().index("bond.C-H.k")
    assert found.get_param_vector()[place] == x[place]
    assert not found.active_mask[place]
    # Where an estimate ends at zero, the bound, "skip" leaves the value that was there.
    kept, skipped = (
        estimate_force_constants([molecule], method="seminario", invalid_policy=policy, ts_method="D")
        for policy in ("keep", "skip")
    )
    vanished = kept.get_param_vector() == 0.0
    judged = [name.startswith(("bond", "angle", "linear")) for name in kept.get_param_names()]
    start = ForceField.create_for_molecule(molecule).get_param_vector()
    expected = np.where(vanished & np.array(judged), start, kept.get_param_vector())
    assert_array_equal(skipped.get_param_vector(), expected)
    with pytest.raises(SettingsError, match="Did you mean 'skip'"):
        estimate_force_constants([molecule], invalid_policy="skp")


def test_entries_by_hand_are_those_of_the_molecule(mol, frequencies):
    whole = ReferenceData.from_molecule(mol, frequencies=frequencies, weights=WEIGHTS)
    ref = ReferenceData()
    for i, j in mol.bonds:
        length = np.linalg.norm(mol.record.coordinates[i] - mol.record.coordinates[j])
        ref.add_bond_length(float(length), atom_indices=(j, i), weight=WEIGHTS["bond_length"], label="a bond")
    for place, entry in enumerate(value for value in whole.values if value.kind == "bond_angle"):
        ref.add_bond_angle(entry.value, data_idx=place, weight=WEIGHTS["bond_angle"])
    assert ref.add_frequencies_from_array(frequencies, weight=WEIGHTS["frequency"]) == 9
    assert ref.add_eigenmatrix_from_hessian(mol.qm_hessian / HARTREE_PER_BOHR2) == 15 * 16 // 2
    assert ref.n_observations == whole.n_observations

    def key(entry):
        return entry.category, entry.label

    made, expected = (sorted(data.native([mol]), key=key) for data in (ref, whole))
    assert [(key(entry), entry.tolerance) for entry in made] == [(key(entry), entry.tolerance) for entry in expected]
    assert_allclose([e.observed for e in made], [e.observed for e in expected], rtol=1e-12, atol=1e-12)


def test_default_weights_are_the_published_ones(mol):
    data = ReferenceData.from_molecules([mol]).native([mol])
    preset = NativeReferenceData.from_molecules([mol], [*data.categories], weights="q2mm")

    def key(entry):
        return entry.category, entry.label

    pairs = list(zip(sorted(data, key=key), sorted(preset, key=key), strict=True))
    assert all(key(first) == key(second) for first, second in pairs)
    assert_allclose([first.tolerance for first, _ in pairs], [second.tolerance for _, second in pairs], rtol=1e-15)
    assert_allclose(*np.array([(a.observed, b.observed) for a, b in pairs]).T, rtol=1e-10, atol=1e-12)


def test_hessian_elements_and_torsions_are_converted_and_found(shared_data):
    molecule = ethane(shared_data)
    ref = ReferenceData()
    ref.add_hessian_element(0.5, row=4, col=0, weight=2.0)
    ref.add_torsion_angle(-60.0, atom_indices=tuple(molecule_torsion(molecule)[::-1]))
    element, torsion = ref.native([molecule])
    first, second = molecule.record.symbols[:2]
    assert element.label == f"{first}1 x, {second}2 y"
    assert element.observed == pytest.approx(0.5 * HARTREE_PER_BOHR2)
    # The residual, a deviation times its weight, does not depend on the unit.
    assert element.observed / element.tolerance == pytest.approx(0.5 * 2.0)
    assert (torsion.observed, torsion.tolerance) == (-60.0, 1.0)


def molecule_torsion(molecule):
    (i, j) = next(pair for pair in molecule.bonds if all(molecule.record.symbols[atom] == "C" for atom in pair))
    first = next(atom for atom in molecule.neighbours[i] if atom != j)
    last = next(atom for atom in molecule.neighbours[j] if atom != i)
    return first, i, j, last


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (ReferenceValue("bond_length", 1.0, atom_indices=(2, 3)), "have to be bonded"),
        (ReferenceValue("bond_length", 1.0, atom_indices=(0, 7)), "have to be bonded"),
        (ReferenceValue("bond_length", 1.0, data_idx=4), "number 4"),
        (ReferenceValue("frequency", 1.0, data_idx=9), "skip_imaginary"),
        (ReferenceValue("eig_diagonal", 1.0, data_idx=0), "weight 0"),
        (ReferenceValue("hessian_element", 1.0, atom_indices=(0, 15)), "15"),
        (ReferenceValue("bond", 1.0), "kind of reference value"),
        (ReferenceValue("frequency", 1.0, molecule_idx=1), "molecule 1"),
        (ReferenceValue("frequency", 1.0, weight=-1.0), "weight -1"),
    ],
)
def test_values_that_belong_to_nothing_are_errors(entry, message, mol):
    with pytest.raises(SettingsError, match=message):
        ReferenceData([entry]).native([mol])


def test_builders_check_what_they_are_given(mol):
    with pytest.raises(SettingsError, match="Did you mean 'frequency'"):
        ReferenceData.from_molecule(mol, weights={"freqency": 1.0})
    with pytest.raises(SettingsError, match="for 1 molecules"):
        ReferenceData.from_molecules([mol], frequencies_list=[])
    with pytest.raises(SettingsError, match="atom_indices"):
        ReferenceData().add_bond_length(1.0)


def test_files_of_gaussian_give_references_and_molecule(shared_data):
    ref, molecule = ReferenceData.from_fchk(shared_data / "ethane" / "GS.fchk", charge=0)
    assert len(molecule.bonds) == 7
    kinds = [value.kind for value in ref.values]
    assert (kinds.count("bond_length"), kinds.count("eig_diagonal")) == (7, 24)
    log, same = ReferenceData.from_gaussian(
        shared_data / "ethane" / "TS.log", include_frequencies=True, skip_imaginary=True, include_eigenmatrix=False
    )
    found = [value.value for value in log.values if value.kind == "frequency"]
    modes = normal_modes(same.qm_hessian, same.record.coordinates, same.record.masses).frequencies
    assert_allclose(found, modes[modes > 0.0], atol=0.05)
    assert next(iter(log.native([same]).select(categories="frequency"))).label == "mode 2"


def test_several_molecules_of_a_transition_state_fit(shared_data, examples):
    molecules = [fluoromethane(shared_data), sn2_transition_state(examples)]
    ref = ReferenceData.from_molecules(molecules, eigenmatrix_diagonal_only=True, invert_ts_curvature=True)
    shared = library.share_types(molecules)
    ff = estimate_force_constants(shared, ts_method="C")
    objective = ObjectiveFunction(ff, JaxEngine(), shared, ref)
    result = ScipyOptimizer("least_squares", jac="auto", maxiter=20, verbose=False).optimize(objective)
    assert result.final_score < result.initial_score
    assert objective.native.transition_state == "C"
    assert all(
        value >= 0.0
        for value, label in zip(ff.get_param_vector(), ff.get_param_type_labels(), strict=True)
        if label in ("bond_k", "angle_k")
    )


def test_references_of_the_library_are_taken_too(ff, mol):
    data = NativeReferenceData.from_molecules([mol], {"eigenmatrix_diagonal": 10.0})
    scores = [
        ObjectiveFunction(ff, engine, [mol], given)(1.01 * ff.get_param_vector())
        for engine, given in (("jax", data), (JaxEngine().native, {"eigenmatrix_diagonal": 10.0}))
    ]
    assert scores[0] == scores[1] > 0.0


def test_a_score_that_cannot_be_evaluated_is_infinite(objective, ff):
    assert objective(np.full(ff.n_params, np.nan)) == np.inf
    with pytest.raises(ParameterError, match="all of them"):
        objective([1.0])
    objective.reset()
    assert (objective.n_eval, objective.history) == (0, [])


def test_engines_answer_for_a_molecule_at_its_own_minimum(ff, mol):
    at_rest = made_by(mol, ff.native)
    engine = JaxEngine()
    # Bonds and angles of fluoromethane are at odds with each other a little: a sum of squares that is not zero.
    assert 0.0 < engine.energy(at_rest, ff) < engine.energy(mol, ff.with_params(1.01 * ff.get_param_vector()))
    assert_allclose(engine.hessian(at_rest, ff), at_rest.qm_hessian / HARTREE_PER_BOHR2, atol=1e-9)
    record = at_rest.record
    expected = normal_modes(at_rest.qm_hessian, record.coordinates, record.masses).frequencies
    assert_allclose(engine.frequencies(at_rest, ff.native), expected, atol=1e-4)
    energy, symbols, x = engine.minimize(mol, ff)
    assert symbols == list(mol.record.symbols)
    assert energy == pytest.approx(engine.energy(at_rest, ff), abs=1e-8)
    distances = [np.linalg.norm(geometry[:, None] - geometry[None], axis=2) for geometry in (x, record.coordinates)]
    assert_allclose(*distances, atol=1e-5)
    assert str(TinkerEngine(tinker_dir="/opt/tinker").native.directory) == "/opt/tinker"


def test_openmm_scores_and_jax_lends_its_derivatives_if_both_agree(start, mol, reference):
    pytest.importorskip("openmm")
    objective = ObjectiveFunction(start.copy(), OpenMMEngine(), [mol], reference, regularization=0.01)
    exact = ObjectiveFunction(start.copy(), JaxEngine(), [mol], reference, regularization=0.01)
    x = 1.005 * start.get_param_vector()
    assert objective(x) == pytest.approx(exact(x), rel=1e-4)
    with pytest.raises(SettingsError, match="no derivatives"):
        objective.gradient(x)
    result = ScipyOptimizer(jac="auto", maxiter=3, verbose=False).optimize(objective)
    assert all(mode.startswith("exact (of the derivative objective") for mode in result.jac_mode.values())
    assert result.final_score < result.initial_score
    assert_array_equal(objective.forcefield.get_param_vector(), result.final_params)
    differences = ScipyOptimizer(jac=None, maxiter=1, verbose=False).optimize(objective)
    assert "exact" not in differences.jac_mode.values()
