"""Fits of force fields whose atoms meet through van der Waals forces and charges, and scores by other engines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import LeastSquaresOptimizer
from fieldfit.errors import ForceFieldError
from fieldfit.forcefield import ForceFieldObjective, Nonbonded, Row, build_force_field, report_fit, write
from fieldfit.forcefield.engines.openmm import OpenMMEngine
from fieldfit.forcefield.initial_guess import hessian_fit
from molecules import ethane, fluoromethane

REFERENCES = ("frequency", "eigenmatrix_off_diagonal", "newton_displacement", "bond_length", "bond_angle")


@pytest.fixture(scope="module")
def complete(shared_data):
    """Return ethane and a force field of it with Lennard-Jones terms and charges, valence constants fitted around."""
    molecule = ethane(shared_data)
    valence = build_force_field([molecule])
    rows = [
        Row("lennard_jones", ("C",), {"radius": 1.908, "epsilon": 0.1094}),
        Row("lennard_jones", ("H",), {"radius": 1.487, "epsilon": 0.0157}),
        Row("coulomb", ("C",), {"charge": -0.27}),
        Row("coulomb", ("H",), {"charge": 0.09}),
    ]
    nonbonded = Nonbonded(vdw_14=0.5, charge_14=1.0 / 1.2)
    return molecule, replace(valence, rows=valence.rows + tuple(rows), nonbonded=nonbonded)


def test_the_jacobian_of_van_der_waals_and_charges_is_that_of_differences(complete) -> None:
    molecule, field = complete
    objective = ForceFieldObjective(hessian_fit([molecule], field), [molecule], REFERENCES)
    values, state = objective.force_field.parameters.flat, objective.initial_state()
    found = objective.evaluate(values, state, derivatives=True)
    names = objective.parameters.names
    for index, name in enumerate(names):
        if not name.startswith(("vdw", "charge", "torsion", "bond.C-C")):
            continue
        step = 1e-4 * max(0.1, abs(values[index]))
        moved = [values + sign * step * np.eye(len(values))[index] for sign in (1.0, -1.0)]
        ahead, behind = (objective.evaluate(entry, state, derivatives=False).residuals for entry in moved)
        scale = np.max(np.abs(found.jacobian[:, index]))
        assert_allclose(found.jacobian[:, index], (ahead - behind) / (2.0 * step), atol=2e-5 * scale, err_msg=name)


def test_the_hessian_fit_subtracts_what_is_not_fitted(complete) -> None:
    # The valence constants make up for the pairs: the Hessian of the whole is as close as without pairs.
    molecule, field = complete
    valence = build_force_field([molecule])
    rmsd = {}
    for name, entry in (("complete", field), ("valence", valence)):
        objective = ForceFieldObjective(hessian_fit([molecule], entry), [molecule], ["eigenmatrix_diagonal"])
        start = objective.evaluate(objective.parameters.flat, objective.initial_state(), derivatives=False)
        rmsd[name] = np.sqrt(np.mean((20.0 * start.residuals) ** 2))
    assert rmsd["complete"] == pytest.approx(rmsd["valence"], rel=0.25)
    assert hessian_fit([molecule], field).row("bond.C-C") != hessian_fit([molecule], valence).row("bond.C-C")


def test_a_report_says_which_interactions_of_pairs_there_are(complete) -> None:
    molecule, field = complete
    fixed = field.parameters.fix("vdw.*").fix("charge.*")
    objective = ForceFieldObjective(field, [molecule], ["eigenmatrix_diagonal"], parameters=fixed)
    report = report_fit(objective, LeastSquaresOptimizer(maxiter=3).optimize(objective))
    assert report.interactions["vdw"] == "0 fitted, 4 held (lennard_jones)"
    assert report.interactions["charge"] == "0 fitted, 2 held (coulomb)"
    assert "label" not in report.interactions


def test_charges_of_the_molecules_are_reported_as_held(complete) -> None:
    molecule, field = complete
    charged = replace(molecule, charges=np.where(np.array(molecule.types) == "C", -0.27, 0.09))
    own = replace(field, rows=tuple(row for row in field.rows if row.kind != "charge"))
    objective = ForceFieldObjective(own, [charged], ["eigenmatrix_diagonal"])
    report = report_fit(objective, LeastSquaresOptimizer(maxiter=1).optimize(objective))
    assert report.interactions["charges"] == "held, those of the molecules"


def test_another_engine_gives_the_same_score(complete) -> None:
    molecule, field = complete
    fitted = hessian_fit([molecule], field)
    scores = []
    for engine in ("jax", OpenMMEngine()):
        objective = ForceFieldObjective(fitted, [molecule], REFERENCES, engine=engine)
        scores.append(objective.evaluate(fitted.parameters.flat, objective.initial_state(), derivatives=False))
    assert scores[0].failure == scores[1].failure is None
    # Hessians by differences of forces are off by 1e-8 of their largest element.
    assert_allclose(scores[1].residuals, scores[0].residuals, atol=2e-4)


def test_a_fit_with_an_engine_without_parameter_derivatives_ends_where_the_exact_one_does(shared_data) -> None:
    molecule = fluoromethane(shared_data)
    field = hessian_fit([molecule], build_force_field([molecule]))
    ends = []
    for engine in ("jax", "openmm"):
        objective = ForceFieldObjective(field, [molecule], ["eigenmatrix_diagonal", "bond_length"], engine=engine)
        assert objective.traits.has_derivatives == (engine == "jax")
        ends.append(LeastSquaresOptimizer().optimize(objective))
    assert ends[1].final_score == pytest.approx(ends[0].final_score, rel=1e-5)


def test_a_report_names_the_rows_that_act_nowhere(complete) -> None:
    # Read the AMBER way, with its centre third, the improper meets no atom; and carbons have no pairs in ethane.
    molecule, field = complete
    odd = Row("periodic_improper", ("H", "H", "C", "H"), {"k": 1.0}, {"periodicity": 2.0, "phase": 180.0})
    objective = ForceFieldObjective(replace(field, rows=(*field.rows, odd)), [molecule], ["eigenmatrix_diagonal"])
    report = report_fit(objective, LeastSquaresOptimizer(maxiter=1).optimize(objective))
    assert report.interactions["rows that act nowhere"] == "improper.H-H-C-H.2, vdw.C, charge.C"


def test_formats_by_type_refuse_what_they_would_lose(complete, tmp_path) -> None:
    molecule, _ = complete
    valence = build_force_field([molecule])
    tagged = replace(valence, rows=(*valence.rows, replace(valence.row("bond.C-C"), tag="7")))
    charged = replace(molecule, charges=np.zeros(8))
    assigned = replace(molecule, assignments=(("bond.C-C", (1, 3)),))
    for entry, what, words in (
        (tagged, molecule, "has a tag"),
        (replace(valence, nonbonded=Nonbonded()), charged, "has charges of its own"),
        (valence, assigned, "has assignments of rows of its own"),
    ):
        with pytest.raises(ForceFieldError, match=words):
            write(tmp_path / "field.xml", entry, [what])
