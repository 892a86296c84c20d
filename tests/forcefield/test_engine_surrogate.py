"""Fits that another engine scores while the JAX engine differentiates."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import LeastSquaresOptimizer
from fieldfit.errors import SettingsError
from fieldfit.forcefield import ForceFieldObjective, build_force_field, estimate_force_constants, report_fit
from fieldfit.forcefield.engines.tinker import SUFFIXES
from fieldfit.forcefield.surrogate import scoring_result, surrogate_objective
from fieldfit.objectives import AbstractObjective
from fieldfit.objectives.surrogate import SurrogateObjective
from molecules import ethane, fluoromethane

REFERENCES = {"frequency": 10.0, "bond_length": 0.003, "bond_angle": 0.5}
HAS_TINKER = any(shutil.which(f"analyze{suffix}") for suffix in SUFFIXES)
needs_tinker = pytest.mark.skipif(not HAS_TINKER, reason="the Tinker programs are not on PATH")
ENGINES = [pytest.param("openmm", id="openmm"), pytest.param("tinker", id="tinker", marks=needs_tinker)]
MOLECULES = {"fluoromethane": fluoromethane, "ethane": ethane}


class Shifted(AbstractObjective):
    """Another objective at values that differ by a constant."""

    def __init__(self, objective, shift):
        self.objective, self._shift = objective, shift

    @property
    def parameters(self):
        return self.objective.parameters

    @property
    def traits(self):
        return self.objective.traits

    def initial_state(self):
        return self.objective.initial_state()

    def evaluate(self, values, state, *, derivatives):
        return self.objective.evaluate(values + self._shift, state, derivatives=derivatives)

    def term_slices(self):
        return self.objective.term_slices()


@pytest.fixture(scope="module", params=MOLECULES)
def molecule(request, shared_data):
    return MOLECULES[request.param](shared_data)


@pytest.fixture(scope="module")
def field(molecule):
    """Force constants a tenth too large, and no torsion, which a Hessian of ethane determines only weakly."""
    estimated = estimate_force_constants([molecule], build_force_field([molecule]))
    names = [name for name in estimated.parameters.names if name.startswith(("bond", "angle")) and name.endswith(".k")]
    return estimated.with_values({name: 1.1 * float(estimated.parameters[name].value) for name in names})


@pytest.fixture(scope="module")
def exact(molecule, field):
    return LeastSquaresOptimizer().optimize(ForceFieldObjective(field, [molecule], REFERENCES))


@pytest.mark.parametrize("engine", ENGINES)
def test_both_engines_lead_to_one_optimum(engine, molecule, field, exact) -> None:
    pytest.importorskip("openmm") if engine == "openmm" else None
    objective = surrogate_objective(field, [molecule], REFERENCES, engine=engine)
    assert isinstance(objective, SurrogateObjective)
    # One force field in two programs: they differ by the Hessians that OpenMM's forces are differenced for.
    assert objective.gate.ratio == pytest.approx(1.0, abs=1e-5)
    result = LeastSquaresOptimizer().optimize(objective)
    assert result.success
    assert result.n_difference_evaluations == 0
    assert result.final_score == pytest.approx(exact.final_score, rel=1e-6)
    scales = np.concatenate([entry.scale.ravel() for entry in result.parameters])
    assert_allclose(result.final_params / scales, exact.final_params / scales, atol=1e-4)
    # The score is the scoring engine's own, from its own state.
    again = objective.scoring.evaluate(result.parameters.flat, result.state.scoring, derivatives=False)
    assert again.score == pytest.approx(result.final_score, rel=1e-9)


def test_the_report_of_a_fit_is_that_of_the_scoring_engine(shared_data) -> None:
    pytest.importorskip("openmm")
    molecule = fluoromethane(shared_data)
    field = estimate_force_constants([molecule], build_force_field([molecule]))
    objective = surrogate_objective(field, [molecule], ["bond_length", "bond_angle"], engine="openmm")
    result = LeastSquaresOptimizer().optimize(objective)
    report = report_fit(objective.scoring, scoring_result(result))
    assert report.score[1] == result.final_score
    plain = LeastSquaresOptimizer().optimize(objective.scoring)
    assert scoring_result(plain) is plain


def test_each_engine_keeps_its_own_geometry(molecule, field) -> None:
    pytest.importorskip("openmm")
    objective = surrogate_objective(field, [molecule], REFERENCES, engine="openmm")
    values, state = objective.parameters.flat, objective.initial_state()
    first = objective.evaluate(values, state, derivatives=True)
    scoring, lent = first.state.scoring[0], first.state.derivatives[0]
    assert scoring.x is not lent.x
    assert_allclose(scoring.x, lent.x, atol=1e-4)
    # The state that was handed over has not changed, and gives the same bits again.
    assert state.scoring[0].x is molecule.record.coordinates
    second = objective.evaluate(values, state, derivatives=True)
    assert np.array_equal(first.residuals, second.residuals)
    assert np.array_equal(first.jacobian, second.jacobian)


def test_another_force_field_closes_the_gate_and_the_fit_goes_on_by_differences(shared_data) -> None:
    pytest.importorskip("openmm")
    molecule = fluoromethane(shared_data)
    field = estimate_force_constants([molecule], build_force_field([molecule]))
    free = field.parameters.fix("*.theta0", "bond.C-H.*")
    # The scoring engine has a C-H bond that is a tenth stiffer, and holds it.
    stiffer = field.with_values({"bond.C-H.k": 1.1 * float(field.parameters["bond.C-H.k"].value)})
    scoring = ForceFieldObjective(
        stiffer, [molecule], REFERENCES, engine="openmm", parameters=stiffer.parameters.fix("*.theta0", "bond.C-H.*")
    )
    lent = Shifted(
        ForceFieldObjective(field, [molecule], REFERENCES, parameters=free), free.flat - stiffer.parameters.flat
    )
    objective = SurrogateObjective(scoring, lent)
    assert not objective.gate.is_open
    result = LeastSquaresOptimizer().optimize(objective)
    assert result.success
    assert result.n_difference_evaluations > 0
    assert all("differences" in mode for mode in result.jac_mode.values())
    # The optimum of the scoring field, by the JAX engine alone.
    alone = ForceFieldObjective(stiffer, [molecule], REFERENCES, parameters=scoring.parameters)
    expected = LeastSquaresOptimizer().optimize(alone)
    assert result.final_score == pytest.approx(expected.final_score, rel=1e-5)
    assert_allclose(result.final_params, expected.final_params, rtol=1e-3)


def test_an_engine_with_derivatives_needs_no_other(shared_data) -> None:
    molecule = fluoromethane(shared_data)
    objective = surrogate_objective(build_force_field([molecule]), [molecule], ["bond_length"], engine="jax")
    assert isinstance(objective, ForceFieldObjective)


def test_an_unknown_engine_is_refused(shared_data) -> None:
    molecule = fluoromethane(shared_data)
    with pytest.raises(SettingsError, match="gromacs"):
        surrogate_objective(build_force_field([molecule]), [molecule], engine="gromacs")
