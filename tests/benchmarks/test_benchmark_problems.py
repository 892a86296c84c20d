"""The problems of the benchmarks, and the check that decides what an optimizer found."""

import check_stationarity
import jax
import jax.numpy as jnp
import more_wild
import multimodal
import nist
import numpy as np
import pytest
from check_stationarity import judge
from numpy.testing import assert_allclose
from problem_sets import LEAST_SQUARES, find_problem
from scipy.optimize import least_squares

SQUARES = [(name, problem) for name, problems in LEAST_SQUARES.items() for problem in problems]
SMALL = [(name, problem) for name, problem in SQUARES if problem.start.size <= 12]

# Sums of squares at the starts of the 54 problems, to seven digits, as stated in the collection of optimagic 0.5.3.
# fmt: off
START_SCORES = [
    72.0, 1125.0, 1.165420e7, 1.168591e9, 4.989195e6, 5.009356e8, 24.2, 1.795769e6, 2500.0, 10600.0, 215.0,
    1.615400e6, 400.5, 1.545754e8, 41.6817, 1306.234, 5.313172e-3, 1.693608e9, 16.43083, 2.323367e6, 26.90417,
    8.158877e6, 73.67821, 2.059384e7, 1031.154, 4171.306, 7.926693e6, 3.081064e11, 4.642817e-2, 3.377064e-2,
    3.861770e-2, 2.888298e-2, 3.376327e-2, 2.674060e-2, 273.248, 16.17411, 2.09342, 199.6847, 904.0, 1356.0,
    1582.0, 1808.0, 56.5, 70.5625, 98.6875, 2.539084e9, 6.873795e12, 3.367961e9, 3.735127e9, 3.991072e9,
    1.130015e13, 9.385672, 3.365815e10, 2.524757e5,
]
# fmt: on

# Where a residual-free minimum has a closed form.
SOLUTIONS = {
    "rosenbrock": [1.0, 1.0],
    "helical-valley": [1.0, 0.0, 0.0],
    "powell-singular": np.zeros(4),
    "freudenstein-roth": [5.0, 4.0],
    "box": [1.0, 10.0, 1.0],
    "brown-almost-linear-10": np.ones(10),
    "cube-8": np.ones(8),
    "brown-almost-linear-100": np.ones(100),
}


def score(problem, x):
    f, _ = problem.function(np.asarray(x, dtype=float))
    return float(f @ f)


@np.errstate(all="ignore")
def tight_solution(problem):
    bounds = (problem.lower, problem.upper)
    start = np.clip(problem.start, *bounds)
    options = {"x_scale": "jac", "ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "max_nfev": 3000}
    return least_squares(
        lambda x: problem.function(x)[0], start, lambda x: problem.function(x)[1], bounds=bounds, **options
    ).x


def named(pairs):
    return pytest.mark.parametrize("problem", [pytest.param(p, id=f"{name}-{p.name}") for name, p in pairs])


def test_sets_have_the_published_sizes():
    assert len(more_wild.PROBLEMS) == 53 + 1
    assert len(multimodal.PROBLEMS) == 4 * 5


def test_start_scores_of_more_wild_are_the_published_ones():
    # The starts of Mancino's function are stated elsewhere with five digits, so six agree.
    assert_allclose([score(p, p.start) for p in more_wild.PROBLEMS], START_SCORES, rtol=1e-6)


@pytest.mark.parametrize("name", SOLUTIONS)
def test_closed_forms_reach_the_stated_minimum(name):
    problem = find_problem("more-wild", name)
    assert score(problem, SOLUTIONS[name]) <= 1e-28
    assert problem.minima[0] == 0.0


@named(SMALL)
def test_jacobian_agrees_with_extrapolated_differences(problem):
    # Away from the start, where many derivatives are zero.
    x = np.clip(problem.start, problem.lower, problem.upper) * 1.05 + 0.01
    J, errors = check_stationarity.differences(lambda y: problem.function(y)[0], x)
    lengths = check_stationarity.column_lengths(problem.function(x)[1])
    deviation = np.linalg.norm(J - problem.function(x)[1], axis=0)
    assert np.all(deviation <= 1e-7 * lengths + 10.0 * errors)
    assert np.all(errors <= 1e-5 * np.maximum(lengths, 1e-8 * np.max(lengths)))


def test_jacobian_of_a_large_problem_agrees_with_complex_steps():
    problem = find_problem("more-wild", "brown-almost-linear-100")
    J = check_stationarity.complex_steps(lambda y: problem.function(y)[0], problem.start)
    assert_allclose(problem.function(problem.start)[1], J, rtol=1e-12)


@pytest.mark.parametrize("name", nist.CERTIFICATES)
def test_certified_values_have_the_certified_scores_and_deviations(name):
    certificate = nist.CERTIFICATES[name]
    f, J = nist.residual_function(name, certificate)(certificate.values)
    assert f @ f == pytest.approx(certificate.sum_of_squares, rel=1e-9)
    # Rounding eleven certified digits of the parameters costs the worst conditioned sets two.
    assert nist.correct_digits(nist.standard_deviations(J, f @ f), certificate.deviations) > 9.0


@pytest.mark.skipif("Nelson" not in nist.CERTIFICATES, reason="the folder of reference data is not there")
def test_nist_jacobian_agrees_with_jax():
    certificate = nist.CERTIFICATES["Nelson"]
    _, J = nist.residual_function("Nelson", certificate)(certificate.starts[0])
    with jax.enable_x64(True):
        expected = jax.jit(jax.jacfwd(lambda b: nist.MODELS["Nelson"](b, certificate.x, jnp)))(certificate.starts[0])
    assert_allclose(J, expected, rtol=1e-11)


def test_digits_count_relative_errors():
    assert nist.correct_digits(np.array([1.001, 2.0]), np.array([1.0, 2.0])) == pytest.approx(3.0)
    assert nist.correct_digits(np.array([1.0]), np.array([1.0])) == nist.MOST_DIGITS
    assert nist.correct_digits(np.array([np.nan]), np.array([1.0])) == 0.0


@pytest.mark.parametrize("problem", multimodal.PROBLEMS[::5], ids=lambda p: p.name)
def test_optimum_of_a_multimodal_problem_is_zero_and_inside(problem):
    assert abs(problem.value(problem.optimum)) < 1e-14
    assert np.all((problem.optimum > problem.lower) & (problem.optimum < problem.upper))
    assert problem.value(problem.start) > 1.0
    assert judge(problem, problem.optimum).kind == "best"
    assert judge(problem, problem.start).kind == "away"


def test_local_minimum_of_rastrigin_is_another_stationary_point():
    problem = find_problem("multimodal", "rastrigin/0")
    # One coordinate in the next valley: x = 20 pi sin(2 pi x) / 2 has its root at 0.99496.
    neighbour = problem.optimum + 0.9949586 * np.eye(5)[2]
    assert judge(problem, neighbour).kind == "other"
    assert judge(problem, neighbour + 0.02).kind == "away"


@named(SMALL[::3])
def test_minimum_is_stationary_and_a_displaced_point_is_not(problem):
    x = tight_solution(problem)
    assert judge(problem, x).is_stationary
    if problem.minima[0] > 0.0 and judge(problem, x).kind == "best":
        assert judge(problem, displaced(problem, x)).kind == "away"


def displaced(problem, x):
    """Move along a fixed direction until the score is higher by one in a hundred, inside the bounds."""
    lengths = np.linalg.norm(problem.function(x)[1], axis=0)
    direction = np.cos(np.arange(1.0, x.size + 1)) / np.where(lengths > 0.0, lengths, 1.0)
    length = 1e-6 * np.sqrt(score(problem, x))
    while True:
        moved = np.clip(x + length * direction, problem.lower, problem.upper)
        if score(problem, moved) > 1.01 * score(problem, x):
            return moved
        length *= 1.5


@pytest.mark.parametrize(
    ("name", "x", "kind"),
    [
        # A minimum with as many residuals as variables: the Gauss-Newton step promises everything and gains nothing.
        ("freudenstein-roth", [(53.0 - 4.0 * 22.0**0.5) / 3.0, (2.0 - 22.0**0.5) / 3.0], "other"),
        ("freudenstein-roth", [11.3, -0.9], "away"),
        # On the floor of a curved valley.
        ("rosenbrock", [0.5, 0.25], "away"),
        ("rosenbrock", [1.0 + 1e-7, 1.0 + 2e-7], "best"),
        ("rosenbrock", [np.nan, 1.0], "away"),
        # Worse than the start, where exponentials have died out.
        ("osborne-2", [1.0, 1.0, 1.0, 1.0, 1.0, -3.0, -5.0, -7.0, 2.0, 4.5, 5.5], "away"),
    ],
)
def test_verdicts_where_the_answer_is_known(name, x, kind):
    assert judge(find_problem("more-wild", name), x).kind == kind


def test_bounds_are_honoured():
    problem = find_problem("mgh", "rosenbrock/b")
    assert judge(problem, [0.5, 0.25]).kind == "best"
    assert judge(problem, [0.4, 0.16]).kind == "away"
    assert judge(problem, [1.0, 1.0]).kind == "away"
