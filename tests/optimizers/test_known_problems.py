"""Published problems with published minima; `benchmarks/least_squares.py` runs all of them."""

import numpy as np
import pytest
from problems import ALL

from fieldfit import LeastSquaresOptimizer
from toys import vector_objective

QUICK = (
    "freudenstein-roth",
    "powell-badly-scaled",
    "brown-badly-scaled",
    "helical-valley",
    "meyer",
    "box",
    "osborne-2",
    "watson-9",
    "chebyquad-9",
    "helical-valley/b",
    "bard/b",
    "wood/b",
    "osborne-1/b",
    "chebyquad-8/b",
)
CHOSEN = [problem for problem in ALL if problem.name in QUICK]


@pytest.mark.parametrize("problem", CHOSEN, ids=lambda problem: problem.name)
def test_known_minimum_is_reached(problem):
    start = np.clip(problem.start, problem.lower, problem.upper)
    result = LeastSquaresOptimizer().optimize(vector_objective(problem.function, start, problem.lower, problem.upper))
    assert result.success
    assert problem.is_solved(result.final_score)


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: problem.name)
def test_jacobian_of_the_problem_agrees_with_differences(problem):
    # Away from the start, where many derivatives are zero; central differences are good to about 1e-6.
    x = np.clip(problem.start, problem.lower, problem.upper) * 1.05 + 0.01
    f, J = problem.function(x)
    steps = 1e-6 * np.maximum(1e-3, np.abs(x))
    columns = [
        (problem.function(x + step * unit)[0] - problem.function(x - step * unit)[0]) / (2.0 * step)
        for step, unit in zip(steps, np.eye(x.size), strict=True)
    ]
    scale = np.abs(J).max(axis=0) + np.abs(f).max() * 1e-6 / steps
    assert np.all(np.abs(np.column_stack(columns) - J) <= 1e-5 * scale)
