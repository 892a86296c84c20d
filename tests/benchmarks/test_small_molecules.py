"""Fits of small molecules end at one set of parameters, wherever they start."""

from __future__ import annotations

import json

import numpy as np
import pytest
import small_molecules

from fieldfit import FunctionObjective, LeastSquaresOptimizer, Parameters

CASES = ("CH3F", "F-CH3-F", "ethane GS", "ethane TS", "ethane GS + TS")


@pytest.fixture(scope="module")
def molecules(shared_data):
    return small_molecules.cases(shared_data)


@pytest.mark.parametrize("case", CASES)
def test_every_start_ends_at_the_same_parameters(molecules, case) -> None:
    rows, _ = small_molecules.run_case(case, molecules[case], "harmonic", seeds=1)
    assert [entry.verdict for entry in rows] == len(rows) * ["converged"]
    assert len({entry.start for entry in rows}) == 3
    assert max(entry.distance for entry in rows) < small_molecules.SAME
    # The eclipsed transition state is no minimum of a force field that has the staggered minimum as well.
    displaced = (molecules[case][1].name,) if case == "ethane GS + TS" else ()
    assert {entry.displaced for entry in rows} == {displaced}


def test_a_crude_start_is_off_by_up_to_five_per_cent(molecules) -> None:
    from fieldfit.forcefield import build_force_field

    field = build_force_field(molecules["CH3F"])
    moved = small_molecules.strained(field, 0).parameters.flat / field.parameters.flat - 1.0
    assert np.all(moved[field.is_linear] == 0.0)
    assert 0.01 < np.max(np.abs(moved[~field.is_linear])) <= 0.05


def test_a_difference_along_a_flat_direction_is_explained_by_it() -> None:
    # Only the product matters: a and b may slide along a b = 2.
    def best(a):
        objective = FunctionObjective(lambda p: p["a"] * p["b"] - 2.0, Parameters({"a": a, "b": 2.0}))
        return LeastSquaresOptimizer().optimize(objective)

    one, other = best(1.0), best(1.1)
    row = small_molecules.Fit(
        "", "other", "direct", 0.0, 0.0, 0.1, 1, "", (), {}, {name: float(value) for name, value in other.x.items()}
    )
    lines = small_molecules.explain([row], one)
    assert "1 of 2 combinations are determined" in lines[0]
    share = float(lines[1].split("%")[0])
    assert share > 99.0


def test_rows_can_be_written_as_json(tmp_path) -> None:
    row = small_molecules.failed("CH3F", "crude", "direct", "no minimum")
    assert json.loads(json.dumps(small_molecules.asdict(row)))["verdict"] == "no minimum"
