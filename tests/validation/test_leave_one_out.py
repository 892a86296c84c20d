"""Leaving one group out, against the closed form for a mean."""

from __future__ import annotations

import numpy as np
import pytest

from fieldfit import FunctionObjective, LeastSquaresOptimizer, ObjectiveFunction
from fieldfit.errors import SettingsError
from fieldfit.validation import leave_one_out
from toys import Watched

OPTIMIZER = LeastSquaresOptimizer()
DATA = {"a": np.array([1.0, 2.0]), "b": np.array([4.0, 5.0, 9.0]), "c": np.array([-3.0])}


def deviations(name: str) -> FunctionObjective:
    return FunctionObjective(
        lambda p: p["m"] - DATA[name], {"m": 0.0}, derivatives=lambda p: np.ones((DATA[name].size, 1))
    )


def mean_of(names: tuple[str, ...]) -> ObjectiveFunction:
    return ObjectiveFunction({name: deviations(name) for name in names})


def measure(name, result) -> dict[str, float]:
    return {"RMSD": float(np.sqrt(np.mean((result.x["m"] - DATA[name]) ** 2)))}


def test_each_group_is_predicted_by_the_mean_of_the_others() -> None:
    full = OPTIMIZER.optimize(mean_of(tuple(DATA)))
    found = leave_one_out(mean_of, OPTIMIZER, list(DATA), measure, full=full)
    together = np.mean(np.concatenate(list(DATA.values())))
    for row in found.rows:
        others = np.mean(np.concatenate([values for name, values in DATA.items() if name != row.name]))
        assert row.figures["RMSD"] == pytest.approx(np.sqrt(np.mean((others - DATA[row.name]) ** 2)))
        assert row.reference["RMSD"] == pytest.approx(np.sqrt(np.mean((together - DATA[row.name]) ** 2)))
        assert row.figures["RMSD"] > row.reference["RMSD"]
    assert found.means["RMSD"] == pytest.approx(np.mean([row.figures["RMSD"] for row in found.rows]))


def test_a_fit_that_fails_is_named_in_the_table() -> None:
    def fragile(names) -> Watched:
        return Watched(mean_of(names), fails=lambda values: "b" not in names)

    found = leave_one_out(fragile, OPTIMIZER, list(DATA), measure)
    assert [row.failure is None for row in found.rows] == [True, False, True]
    assert "fell apart" in str(found)
    assert np.isfinite(found.means["RMSD"])


@pytest.mark.parametrize("names", [["a"], [], ["a", "a"]])
def test_one_group_cannot_be_left_out(names) -> None:
    with pytest.raises(SettingsError, match="at least two"):
        leave_one_out(mean_of, OPTIMIZER, names, measure)
