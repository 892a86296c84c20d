"""SciPy's own constraint objects and dictionaries, on the flat vector in the user's key order."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from numpy.testing import assert_allclose
from scipy.optimize import LinearConstraint, NonlinearConstraint

from fieldfit import LinearEquality, Parameters, Problem, ScipyOptimizer, fit
from fieldfit.constraints import as_constraints
from fieldfit.errors import ConstraintError

COVARIANCE = np.array([[0.04, 0.01, 0.005], [0.01, 0.09, 0.02], [0.005, 0.02, 0.16]])
RETURNS = np.array([0.08, 0.12, 0.15])
WEIGHTS, VARIANCE = np.array([121.0, 46.0, 30.0]) / 197.0, 57.0 / 1970.0
"""Exact rational solution of the portfolio problem."""


def offset(x, wanted):
    return np.dot(RETURNS, x) - wanted


def offset_jacobian(x, wanted):
    return RETURNS


SPELLINGS = {
    "objects": [LinearConstraint(np.ones((1, 3)), 1.0, 1.0), LinearConstraint([RETURNS], 0.1, np.inf)],
    "sparse": [
        LinearConstraint(scipy.sparse.csr_array(np.ones((1, 3))), 1.0, 1.0),
        LinearConstraint([RETURNS], lb=0.1),
    ],
    "one matrix": LinearConstraint(np.stack([np.ones(3), RETURNS]), [1.0, 0.1], [1.0, np.inf]),
    "functions": [
        NonlinearConstraint(lambda x: x.sum() - 1.0, 0.0, 0.0),
        NonlinearConstraint(lambda x: x @ RETURNS, 0.1, np.inf, jac=lambda x: RETURNS),
    ],
    "dictionaries": [
        {"type": "eq", "fun": lambda x: jnp.sum(x) - 1.0},
        {"type": "ineq", "fun": offset, "args": (0.1,), "jac": offset_jacobian},
    ],
    "only NumPy": [
        {"type": "eq", "fun": lambda x: math.fsum(x) - 1.0},
        {"type": "INEQ", "fun": lambda x: float(np.dot(RETURNS, np.asarray(x))) - 0.1},
    ],
    "mixed": [LinearEquality({"w": 1.0}, 1.0), {"type": "ineq", "fun": offset, "args": [0.1]}],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_gives_the_exact_portfolio(spelling):
    problem = Problem(
        lambda p: p["w"] @ COVARIANCE @ p["w"],
        {"w": np.full(3, 1.0 / 3.0)},
        bounds=(0.0, 1.0),
        constraints=SPELLINGS[spelling],
    )
    result = ScipyOptimizer("SLSQP").optimize(problem)
    assert_allclose(result.x["w"], WEIGHTS, atol=1e-7)
    assert result.fun == pytest.approx(VARIANCE, abs=1e-9)
    assert result.success
    found = np.concatenate(list(result.multipliers.values()))
    # L = f + lambda c: 2 C w + lambda_1 + lambda_2 r = 0 at the exact weights.
    exact = np.linalg.lstsq(np.stack([np.ones(3), RETURNS], axis=1), -2.0 * COVARIANCE @ WEIGHTS, rcond=None)[0]
    assert_allclose(np.abs(found), np.abs(exact), rtol=1e-4)
    assert_allclose(np.abs(exact), [0.04518, 0.12690], atol=5e-6)


def test_the_flat_vector_is_in_the_users_key_order():
    seen = []

    def rule(x):
        seen.append(np.asarray(x, dtype=float).tolist())
        return math.fsum(x) - 10.0

    start = {"zeta": 1.0, "alpha": [2.0, 3.0], "mid": [[4.0]]}
    problem = Problem(lambda p: p["zeta"] ** 2, start, constraints={"type": "eq", "fun": rule})
    problem.vector().evaluate(problem.vector().x0, None)
    assert [1.0, 2.0, 3.0, 4.0] in seen


def test_nested_structures_have_a_flat_vector_too():
    start = {"soma": {"g": 2.0, "e": [1.0, 1.0]}, "tau": 5.0}
    problem = Problem(
        lambda p: (
            (p["soma"]["g"] - 1.0) ** 2 + jnp.sum(p["soma"]["e"][0] ** 2) + p["soma"]["e"][1] ** 2 + p["tau"] ** 2
        ),
        start,
        constraints=LinearConstraint([[1.0, 0.0, 0.0, 1.0]], 3.0, 3.0),
    )
    # (g - 1)^2 + tau^2 with g + tau = 3: g = 2, tau = 1.
    result = fit(problem)
    assert_allclose([float(result.x["soma"]["g"]), float(result.x["tau"])], [2.0, 1.0], atol=1e-8)


def test_quantities_are_plain_numbers_in_the_flat_vector():
    pint = pytest.importorskip("pint")
    quantity = pint.UnitRegistry().Quantity
    start = {"a": quantity(1.0, "nA"), "b": quantity(2000.0, "pA")}
    rule = NonlinearConstraint(lambda x: x[0] + x[1] / 1000.0, 4.0, 4.0)
    problem = Problem(
        lambda p: p["a"].to("nA").magnitude ** 2 + p["b"].to("nA").magnitude ** 2, start, constraints=rule
    )
    result = fit(problem)
    assert_allclose([result.x["a"].magnitude, result.x["b"].magnitude], [2.0, 2000.0], rtol=1e-6)


def test_arguments_reach_function_and_jacobian():
    calls = []

    def jacobian(x, scale, shift):
        calls.append((scale, shift))
        return scale * np.asarray([[1.0, 2.0]])

    given = {"type": "eq", "fun": lambda x, s, t: s * (x[0] + 2.0 * x[1]) - t, "args": (3.0, 6.0), "jac": jacobian}
    problem = Problem(lambda p: jnp.sum(p["x"] ** 2), {"x": [1.0, 1.0]}, constraints=given)
    result = ScipyOptimizer("SLSQP").optimize(problem)
    assert_allclose(result.x["x"], [0.4, 0.8], atol=1e-8)
    assert set(calls) == {(3.0, 6.0)}


def test_a_jacobian_by_name_means_differences_or_exact_ones():
    rule = NonlinearConstraint(lambda x: x[0] ** 2 + x[1] ** 2, 0.0, 2.0, jac="3-point")
    problem = Problem(lambda p: p["x"][0] + p["x"][1], {"x": [0.5, 0.0]}, constraints=rule)
    assert problem.vector().constraints.has_derivatives
    assert_allclose(fit(problem).x["x"], [-1.0, -1.0], atol=1e-7)


def test_rows_without_limits_are_allowed_as_in_scipy():
    rule = LinearConstraint(np.eye(2), [-np.inf, 1.0], [np.inf, np.inf])
    problem = Problem(lambda p: jnp.sum((p["x"] + 1.0) ** 2), {"x": [3.0, 3.0]}, constraints=rule)
    assert_allclose(fit(problem).x["x"], [-1.0, 1.0], atol=1e-7)


def test_nothing_is_no_constraint():
    assert as_constraints(None) == ()
    assert as_constraints([]) == ()
    assert len(as_constraints({"type": "eq", "fun": len})) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([3.0], "Constraint 0 is 3.0. Give a constraint such as SumTo"),
        (["sum"], "Constraint 0 is 'sum'"),
        ("sum", "Constraint 0 is 'sum'"),
        ({"type": "equality", "fun": len}, "the type 'equality' .*Give 'type': 'eq' or 'ineq'"),
        ({"fun": len}, "the type None"),
        ({"type": "eq"}, "the function None.*'fun': a function of the flat vector"),
        ({"type": "eq", "fun": 3.0}, "the function 3.0"),
        ({"type": "eq", "func": len}, "No key of a constraint is called 'func'. Did you mean 'fun'"),
    ],
)
def test_what_is_no_constraint_is_refused(given, words):
    with pytest.raises(ConstraintError, match=words):
        as_constraints(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (LinearConstraint(np.ones((1, 4)), 0.0, 1.0), "a matrix of 4 columns, but the parameters have 3 elements"),
        (LinearConstraint(np.ones((1, 3)), 2.0, 1.0), "a value between 2 and 1, which nothing can be"),
        (NonlinearConstraint(lambda x: x[:2], [0.0, 0.0, 0.0], 1.0), "has 3 limits, but 2 rows. Give one for all"),
    ],
)
def test_objects_that_do_not_fit_the_parameters_are_refused(given, words):
    (constraint,) = as_constraints(given)
    with pytest.raises(ConstraintError, match=words):
        constraint.condition(Parameters({"x": [1.0, 2.0, 3.0]}))


def test_the_objects_mean_what_they_mean_to_scipy():
    rules = [
        NonlinearConstraint(lambda x: x[0] ** 2 + x[1], -np.inf, 2.0, jac=lambda x: np.array([[2.0 * x[0], 1.0]])),
        LinearConstraint([[1.0, -1.0]], -1.0, 0.5),
    ]
    start = np.array([0.2, 0.1])
    # scipy.optimize.minimize by itself is the independent program.
    alone = scipy.optimize.minimize(
        lambda x: (x[0] - 2.0) ** 2 + (x[1] - 2.0) ** 2, start, constraints=rules, method="SLSQP", tol=1e-12
    )
    problem = Problem(lambda p: jnp.sum((p["x"] - 2.0) ** 2), {"x": start}, constraints=rules)
    assert_allclose(fit(problem).x["x"], alone.x, atol=1e-6)
