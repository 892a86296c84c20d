"""The CH3F matrix: what it runs, what its tables count, and that its page says the same."""

import json
from pathlib import Path

import ch3f_matrix
import ch3f_tables
import numpy as np
import pytest
from ch3f_tables import Row

from fieldfit.optimizers import OPTIMIZERS
from fieldfit.optimizers.names import CATALOGUE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ch3f_matrix.md"
FIGURES = ("score", "own_score", "frequency_rmsd", "bond_largest", "angle_largest", "evaluations", "calls", "seconds")
LABELS = {method.label for method in ch3f_matrix.METHODS}


def row(score, verdict, **rest):
    return Row("harmonic", "crude", "some", "exact", 0.0, "jax", score=score, own_score=score, verdict=verdict, **rest)


def test_a_quick_run_fills_every_column(tmp_path, capsys):
    file = tmp_path / "rows.json"
    ch3f_matrix.main(["--quick", "--json", str(file)])
    rows = json.loads(file.read_text())["rows"]
    assert [entry["optimizer"] for entry in rows] == ["least-squares", "scipy:L-BFGS-B"]
    assert all(np.isfinite(entry[name]) for entry in rows for name in FIGURES)
    for entry in rows:
        assert entry["verdict"] == "converged"
        # What eight parameters of fluoromethane can reach, from an independent prototype: 28.5 1/cm.
        assert entry["frequency_rmsd"] == pytest.approx(28.5, abs=0.1)
        assert entry["score"] == pytest.approx(entry["own_score"], rel=ch3f_tables.SAME_SCORE)
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*ch3f_tables.COLUMNS, *ch3f_tables.FIGURES, "verdict", "calibration"))


def test_every_family_of_optimizers_and_every_classic_name_is_in_the_matrix():
    targets = {CATALOGUE[label][0] if label in CATALOGUE else label for label in LABELS}
    # Without constraints these two do what least squares and SLSQP do.
    for_constraints = {"augmented-lagrangian", "fallback"}
    assert {target.partition(":")[0] for target in targets} >= set(OPTIMIZERS) - for_constraints
    assert all(name in LABELS or target in targets for name, (target, _) in CATALOGUE.items())


def test_the_matrix_is_the_product_of_its_axes():
    method = ch3f_matrix.Method("least-squares")
    found = list(ch3f_matrix.cases([method]))
    assert len({case.label for case in found}) == len(found)
    axes = (ch3f_matrix.FAMILIES, ch3f_matrix.STARTS, method.modes, ch3f_matrix.REGULARIZATIONS, ch3f_matrix.ENGINES)
    assert len(found) == np.prod([len(axis) for axis in axes])


def test_a_summary_tells_wrong_claims_from_missing_ones(capsys):
    rows = [
        row(10.0, "converged", calls=20),
        row(10.0005, "not converged", calls=40),
        row(12.0, "converged", calls=60),
        row(np.nan, "failed"),
    ]
    best = ch3f_tables.best_scores(rows)
    assert best == {("harmonic", 0.0): 10.0}
    assert ch3f_tables.excess(rows[2], best) == pytest.approx(0.2)
    ch3f_tables.print_summary(rows, best, lambda entry: entry.optimizer)
    figures = capsys.readouterr().out.splitlines()[1].split()
    assert figures[:6] == ["some", "2/", "4", "1", "1", "0"]


def test_differences_hide_the_derivatives_and_every_call_is_counted():
    objective = ch3f_matrix.Bench(
        ch3f_matrix.load_molecule(ch3f_matrix.EXAMPLE, None), "harmonic", 0.0, "jax"
    ).objective
    hidden = ch3f_matrix.Counted(objective, has_derivatives=False)
    found = hidden.evaluate(objective.parameters.flat, hidden.initial_state(), derivatives=True)
    assert found.jacobian is None
    assert not hidden.traits.has_derivatives
    assert hidden.calls == 1


@pytest.mark.parametrize(
    "statement",
    [
        f"{ch3f_matrix.CALLS} evaluations of the model",
        f"within {ch3f_tables.REACHED:g} of the lowest score",
        f"{ch3f_matrix.REFERENCES['frequency']:g} 1/cm, {ch3f_matrix.REFERENCES['bond_length']:g} Å and "
        f"{ch3f_matrix.REFERENCES['bond_angle']:g}°",
        f"strength {ch3f_matrix.REGULARIZATIONS[1]:g}",
        " / ".join(f"{value:g}" for value in ch3f_matrix.CRUDE.values()),
    ],
)
def test_the_page_states_the_settings_of_the_script(statement):
    assert statement in " ".join(PAGE.read_text(encoding="utf-8").split())
