"""Wrong input to linear constraints: what was given, why it cannot be, what to do."""

import numpy as np
import pytest

from fieldfit import LinearEquality, LinearInequality, NonlinearEquality, Parameters, SumTo
from fieldfit.constraints import Condition
from fieldfit.errors import ConstraintError, ParameterError
from fieldfit.objectives import FunctionObjective


@pytest.mark.parametrize(
    ("constraint", "error", "words"),
    [
        (SumTo("charges", 0.0), ParameterError, "No parameter is called 'charges'. Did you mean 'charge'"),
        (SumTo("charge[7]", 0.0), ParameterError, r"No element of a parameter is called 'charge\[7\]'"),
        (SumTo("charge", [1.0, 2.0]), ConstraintError, "'sum of charge' has 2 totals, but a sum is one number"),
        (SumTo("charge", np.nan), ConstraintError, "'sum of charge' asks for a value between nan and nan"),
        (SumTo("charge", np.inf), ConstraintError, "asks for the value inf. Give a finite one|has no limit"),
        (SumTo("charge", -np.inf), ConstraintError, "asks for the value -inf. Give a finite one"),
        (SumTo("charge", "neutral"), ConstraintError, "'neutral', which is not a number or an array. Give real"),
        (SumTo("charge", 1.0 + 2.0j), ConstraintError, "which is not a number or an array. Give real"),
        (SumTo("charge", 1.0, tolerance=0.0), ConstraintError, "has the tolerance 0.0, which rounding alone"),
        (SumTo("charge", 1.0, tolerance=-1.0), ConstraintError, "Give a positive number, or None"),
        (SumTo("charge", 1.0, tolerance=np.nan), ConstraintError, "has the tolerance nan"),
        (LinearEquality({}), ConstraintError, "has no coefficients, so it says nothing. Name a parameter"),
        (LinearEquality({"charge": 0.0}), ConstraintError, "has a row of zeros, so it says nothing. Give coefficients"),
        (
            LinearEquality({"charge": [1.0, 2.0]}),
            ConstraintError,
            r"are \[1. 2.\], but it has 3 elements. Give a finite",
        ),
        (LinearEquality({"charge": np.nan}), ConstraintError, "Give a finite number, one per element, or rows of 3"),
        (LinearEquality({"charge": "all"}), ConstraintError, "are 'all', which are not numbers. Give plain real"),
        (LinearEquality({"charge": np.ones((2, 3))}, [1.0, 2.0, 3.0]), ConstraintError, "3 rows|2 rows, but 3 values"),
        (
            LinearEquality({"charge": np.ones((2, 3)), "k": [[1.0], [2.0], [3.0]]}, name="r"),
            ConstraintError,
            "'r' has 3 rows, but coefficients of 2. Give one row each",
        ),
        (LinearInequality({"k": 1.0}, 2.0, 1.0, name="k"), ConstraintError, "'k' asks for a value between 2 and 1"),
        (LinearInequality({"k": 1.0}, name="k"), ConstraintError, "'k' has no limit, so it says nothing. Give a lower"),
        (LinearInequality({"k": 1.0}, lower=np.inf), ConstraintError, "asks for the value inf. Give a finite"),
    ],
)
def test_what_does_not_fit_is_refused(constraint, error, words):
    with pytest.raises(error, match=words):
        constraint.condition(Parameters({"charge": [0.1, 0.2, 0.3], "k": 1.0}))


def test_a_condition_has_either_a_matrix_or_an_objective():
    zero = np.zeros(1)
    with pytest.raises(ConstraintError, match=r"needs either a matrix or an objective. Give one of them"):
        Condition("nothing", zero, zero)
    objective = FunctionObjective(lambda p: p["x"], {"x": 1.0})
    with pytest.raises(ConstraintError, match=r"needs either"):
        Condition("both", zero, zero, matrix=np.ones((1, 1)), objective=objective)


def test_rows_of_a_nonlinear_condition_belong_together():
    condition = NonlinearEquality(lambda p: p["x"], 1.0, name="c").condition(Parameters({"x": 1.0}))
    with pytest.raises(ConstraintError, match=r"'c' is not linear, so its rows belong together"):
        condition.rows(np.array([True]))


def test_rows_keep_their_labels():
    condition = LinearEquality({"x": np.eye(3)}, [1.0, 2.0, 3.0], name="c").condition(Parameters({"x": np.zeros(3)}))
    part = condition.rows(np.array([True, False, True]))
    assert part.labels == ("c[0]", "c[2]")
    assert part.lower.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        (1.0, 1.0, "c = 1 mV: 2.5 mV"),
        (-np.inf, 1.0, "c <= 1 mV: 2.5 mV"),
        (1.0, np.inf, "c >= 1 mV: 2.5 mV"),
        (0.0, 1.0, "c in [0, 1] mV: 2.5 mV"),
    ],
)
def test_a_row_is_described_in_words(lower, upper, words):
    condition = Condition("c", np.array([lower]), np.array([upper]), matrix=np.ones((1, 1)), unit="mV")
    assert condition.describe(0, 2.5) == words
