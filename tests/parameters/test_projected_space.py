"""Variables that satisfy linear equalities whatever their values, and the answers found in them."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit import (
    DerivativeFreeOptimizer,
    FunctionObjective,
    JaxOptimizer,
    LeastSquaresOptimizer,
    LinearEquality,
    MultiStartOptimizer,
    OptaxOptimizer,
    Parameter,
    Parameters,
    Problem,
    ScipyOptimizer,
    SumTo,
    TrustRegionOptimizer,
)
from fieldfit.errors import ParameterError, SettingsError
from fieldfit.parameters import ProjectedSpace
from fieldfit.parameters.projected_space import independent_rows, unbounded


def random_space(seed):
    """A space with scales, some variables between bounds, a fixed element and a tie, and rows that it can satisfy."""
    generator = np.random.default_rng(seed)
    n_open, n_bounded = generator.integers(2, 5), generator.integers(0, 4)
    entries = [
        Parameter("u", generator.normal(size=n_open), scale=generator.uniform(0.1, 10.0, n_open)),
        Parameter("b", generator.uniform(0.1, 0.9, n_bounded), lower=0.0, upper=1.0),
        Parameter("f", 2.0, fixed=True),
        Parameter("t", np.zeros(n_open)),
    ]
    space = Parameters(entries).tie("t", "u", factor=-0.5).space
    rows = generator.normal(size=(generator.integers(1, n_open), space.size))
    return generator, space, rows, generator.normal(size=len(rows))


@given(st.integers(0, 10_000))
def test_every_z_satisfies_the_equalities_to_rounding(seed):
    generator, space, rows, values = random_space(seed)
    projected = ProjectedSpace(space, rows, values)
    assert projected.size == space.size - len(rows)
    for size in (1.0, 1e4):
        x = projected.full(size * generator.normal(size=projected.size))
        # Rounding grows with the numbers that are added.
        reach = np.abs(rows) @ np.abs(x) + np.linalg.norm(rows, axis=1) * np.linalg.norm(projected.offset)
        reach += np.abs(rows) @ np.abs(projected.basis) @ np.full(projected.size, size)
        assert np.all(np.abs(rows @ x - values) <= 1e-12 * (1.0 + reach))


@given(st.integers(0, 10_000))
def test_full_and_reduced_undo_each_other(seed):
    generator, space, rows, values = random_space(seed)
    projected = ProjectedSpace(space, rows, values)
    z = generator.normal(size=projected.size)
    assert_allclose(projected.reduced(projected.full(z)), z, atol=1e-9)
    x = projected.full(z)
    assert_allclose(projected.full(projected.reduced(x)), x, atol=1e-9)
    assert_allclose(projected.vector(projected.physical(z)), z, atol=1e-9)


@given(st.integers(0, 10_000))
def test_bounded_variables_keep_their_bounds_and_values(seed):
    _, space, rows, values = random_space(seed)
    projected = ProjectedSpace(space, rows, values)
    kept = np.flatnonzero(~unbounded(space))
    assert_allclose(projected.lower[: kept.size], space.lower[kept])
    assert_allclose(projected.upper[: kept.size], space.upper[kept])
    assert np.all(np.isinf(projected.lower[kept.size :]))
    assert_allclose(projected.full(projected.start)[kept], space.start[kept])
    assert projected.labels[: kept.size] == tuple(space.labels[place] for place in kept)


@given(st.integers(0, 10_000))
def test_the_start_is_the_nearest_one_in_the_variables_without_bounds(seed):
    generator, space, rows, values = random_space(seed)
    projected = ProjectedSpace(space, rows, values)
    moved = unbounded(space)
    begin = projected.full(projected.start)
    # Any step that keeps the rows and the bounded variables is orthogonal to the way to the start.
    step = projected.full(projected.start + generator.normal(size=projected.size)) - begin
    free = projected.basis[:, np.count_nonzero(~moved) :]
    assert_allclose(free.T @ (begin - space.start), 0.0, atol=1e-9)
    assert_allclose(rows @ step, 0.0, atol=1e-9)


@given(st.integers(0, 10_000))
def test_chained_derivatives_are_those_along_z(seed):
    generator, space, rows, values = random_space(seed)
    projected = ProjectedSpace(space, rows, values)
    jacobian = generator.normal(size=(3, space.parameters.size))
    z = generator.normal(size=projected.size)
    # The map is affine: differences over any distance are exact to rounding.
    columns = [jacobian @ (projected.physical(z + unit) - projected.physical(z)) for unit in np.eye(projected.size)]
    assert_allclose(projected.chain(jacobian, z), np.transpose(columns), atol=1e-9)
    assert_allclose(projected.chain(jacobian[0], z), np.transpose(columns)[0], atol=1e-9)


def test_traced_and_plain_maps_agree():
    generator, space, rows, values = random_space(3)
    projected = ProjectedSpace(space, rows, values)
    z = generator.normal(size=projected.size)
    # Outside of a compiled program JAX has 32 bit.
    assert_allclose(projected.traced_physical(jnp.asarray(z)), projected.physical(z), rtol=1e-4, atol=1e-4)


def test_a_start_that_is_zero_but_for_rounding_is_zero():
    # Solvers begin with steps of the size of the start: from 1e-17 they would end where they began.
    t = np.linspace(0.0, 2.0, 12)
    problem = Problem(
        lambda p: p["a"] + p["b"] * t + p["c"] * t**2 - np.exp(t),
        [Parameter(name, 0.5, scale=2.0) for name in "abc"],
        constraints=SumTo("*", -0.25),
        kind="residuals",
    )
    assert problem.vector().x0.tolist() == [0.0, 0.0]
    for optimizer in (LeastSquaresOptimizer(), ScipyOptimizer("trf")):
        assert optimizer.optimize(problem).success


def test_rows_that_depend_on_each_other_are_eliminated_once():
    parameters = Parameters({"q": np.zeros(4)})
    rows = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 0.0, 0.0]])
    assert independent_rows(parameters.space, rows).size == 2


@pytest.mark.parametrize(
    "rules",
    [
        [SumTo("*", 0.0), SumTo("a", -1.0), SumTo("b", 1.0)],
        [SumTo("*", 0.0), SumTo("*", 0.0)],
        [LinearEquality({"a": [[1.0, 1.0], [2.0, 2.0], [1.0, -1.0]]}, [0.5, 1.0, 0.1])],
    ],
)
def test_optimizers_without_constraints_take_rows_that_imply_each_other(rules):
    problem = Problem(
        lambda p: jnp.sum((p["a"] - 1.0) ** 2) + jnp.sum((p["b"] + 2.0) ** 2),
        {"a": [0.0, 3.0], "b": [1.0, 1.0]},
        constraints=rules,
    )
    assert problem.vector().constraints is None
    result = ScipyOptimizer("L-BFGS-B").optimize(problem)
    assert result.success
    assert result.violation < 1e-12
    assert len(result.constraints) == len(rules)


def test_nothing_left_to_vary_is_refused():
    rule = LinearEquality({"a": np.eye(2)}, [1.0, 2.0])
    with pytest.raises(ParameterError, match=r"determine all 2 free elements, so there is nothing to vary. Take one"):
        Problem(lambda p: jnp.sum(p["a"]), {"a": [0.0, 0.0]}, constraints=rule).vector()


def test_directions_are_named_by_what_they_move():
    problem = Problem(lambda p: p["a"], {"a": 0.0, "b": 0.0}, constraints=SumTo("*", 1.0))
    (label,) = problem.vector().labels
    assert label == "a direction of a, b"


def test_a_whole_problem_is_there_without_elimination():
    problem = Problem(lambda p: p["a"] + p["b"], {"a": 0.0, "b": 0.0}, constraints=SumTo("*", 1.0))
    whole = problem.vector(eliminate=False)
    assert whole.labels == ("a", "b")
    assert whole.constraints.lower.size == 1


TARGET = np.array([1.0, -2.0, 3.0, 0.5, 2.0])
WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0, 1.5])
ROWS = np.array([[1.0, 1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 0.0, 2.0, 0.0]])
VALUES = np.array([1.0, 0.5])


def exact():
    """Solution of W^2 (x - t) + A^T lambda = 0 with A x = b, by the linear system of Karush, Kuhn and Tucker."""
    square = np.diag(WEIGHTS**2)
    system = np.block([[square, ROWS.T], [ROWS, np.zeros((2, 2))]])
    return np.linalg.solve(system, np.concatenate([square @ TARGET, VALUES]))


def residuals(p):
    return jnp.asarray(WEIGHTS) * (p["x"] - TARGET)


def loss(p):
    return 0.5 * jnp.sum(residuals(p) ** 2)


def quadratic(*, kind="residuals", lower=-np.inf, upper=np.inf):
    return Problem(
        residuals if kind == "residuals" else loss,
        Parameters([Parameter("x", np.zeros(5), lower=lower, upper=upper, scale=[1.0, 2.0, 0.5, 1.0, 3.0])]),
        constraints=LinearEquality({"x": ROWS}, VALUES, name="rows"),
        kind=kind,
    )


UNCONSTRAINED = {
    "L-BFGS-B": ScipyOptimizer("L-BFGS-B"),
    "trf": ScipyOptimizer("trf"),
    "Nelder-Mead": ScipyOptimizer("Nelder-Mead", maxiter=2000),
    "least-squares": LeastSquaresOptimizer(),
    "trust-region": TrustRegionOptimizer(),
    "jax": JaxOptimizer("lm"),
    "multi-start": MultiStartOptimizer(ScipyOptimizer("L-BFGS-B"), n_starts=3, seed=0),
}


@pytest.mark.parametrize("name", UNCONSTRAINED)
def test_unconstrained_optimizers_end_at_the_exact_solution(name):
    result = UNCONSTRAINED[name].optimize(quadratic())
    assert_allclose(result.x["x"], exact()[:5], atol=1e-4 if name == "Nelder-Mead" else 1e-7)
    assert_allclose(ROWS @ result.x["x"], VALUES, atol=1e-12)
    assert result.violation < 1e-12
    if name != "Nelder-Mead":
        assert result.success
        assert_allclose(result.multipliers["rows"], exact()[5:], rtol=1e-5)


def test_adam_stays_on_the_plane_and_comes_near():
    result = OptaxOptimizer("adam", learning_rate=0.05, max_steps=600).optimize(quadratic(kind="loss"))
    assert_allclose(result.x["x"], exact()[:5], atol=1e-2)
    assert_allclose(ROWS @ result.x["x"], VALUES, atol=1e-12)


def test_starts_over_an_executor_give_the_serial_answer():
    optimizer = UNCONSTRAINED["multi-start"]
    alone, together = (optimizer.optimize(quadratic(), executor=workers) for workers in (None, "threads:2"))
    assert alone.final_params.tolist() == together.final_params.tolist()
    assert len(alone.runs) == len(together.runs) == 3


def test_slsqp_without_elimination_agrees():
    # Variables with bounds, however far away, are not eliminated.
    whole = quadratic(kind="loss", lower=-1e3, upper=1e3)
    assert whole.vector().constraints.is_equality.tolist() == [True, True]
    found = ScipyOptimizer("SLSQP").optimize(whole)
    assert_allclose(found.x["x"], exact()[:5], atol=1e-6)
    assert_allclose(found.multipliers["rows"], exact()[5:], rtol=1e-4)


@pytest.mark.parametrize("method", ["L-BFGS-B", "TNC", "SLSQP", "trust-constr"])
def test_variables_with_bounds_keep_them_while_others_are_eliminated(method):
    # x[1] is held at its bound -0.5; the rest solves the smaller system.
    lower = np.array([-np.inf, -0.5, -np.inf, -np.inf, -np.inf])
    result = ScipyOptimizer(method).optimize(quadratic(kind="loss", lower=lower))
    free = np.array([0, 2, 3, 4])
    square = np.diag(WEIGHTS[free] ** 2)
    system = np.block([[square, ROWS[:, free].T], [ROWS[:, free], np.zeros((2, 2))]])
    expected = np.linalg.solve(system, np.concatenate([square @ TARGET[free], VALUES + 0.5 * ROWS[:, 1]]))
    assert_allclose(result.x["x"][free], expected[:4], atol=1e-5)
    assert result.x["x"][1] == pytest.approx(-0.5, abs=1e-5)
    assert_allclose(ROWS @ result.x["x"], VALUES, atol=1e-10)
    # A barrier ends a little inside of the bound.
    assert result.success or method == "trust-constr"


def rows_left_over():
    """Three rows, one of them in bounded variables only: it stays."""
    entries = [Parameter("u", np.zeros(3)), Parameter("b", [0.5, 0.5], lower=0.0, upper=1.0)]
    rules = [SumTo("u", 1.0), LinearEquality({"b": 1.0}, 0.8), LinearEquality({"u[0]": 1.0, "b[0]": 1.0}, 0.0)]
    objective = FunctionObjective(lambda p: jnp.concatenate([p["u"] - 1.0, 2.0 * (p["b"] - 0.9)]), entries)
    return Problem(objective, constraints=rules)


def test_rows_of_bounded_variables_stay():
    vector = rows_left_over().vector()
    assert vector.constraints.lower.tolist() == [0.8]
    assert vector.x0.size == 5 - 2
    with pytest.raises(SettingsError, match="takes no constraints besides bounds, but there is linear equality in b"):
        ScipyOptimizer("L-BFGS-B").optimize(rows_left_over())
    result = ScipyOptimizer("SLSQP").optimize(rows_left_over())
    # u0 = -b0, u1 = u2 = (1 + b0) / 2, b1 = 0.8 - b0: (b0 + 1)^2 + (b0 - 1)^2 / 2 + 4 (b0 - 0.9)^2 + 4 (b0 + 0.1)^2
    # is smallest where 2 (b0 + 1) + (b0 - 1) + 8 (b0 - 0.9) + 8 (b0 + 0.1) = 0.
    b = 5.4 / 19.0
    assert_allclose(result.x["b"], [b, 0.8 - b], atol=1e-7)
    assert_allclose(result.x["u"], [-b, (1.0 + b) / 2.0, (1.0 + b) / 2.0], atol=1e-7)
    assert result.success
    assert len(result.constraints) == 3


def test_a_population_searches_on_the_plane():
    entries = [Parameter("b", [0.5, 0.5], lower=0.0, upper=1.0), Parameter("u", 0.0)]
    problem = Problem(
        lambda p: (p["b"][0] - 0.25) ** 2 + (p["b"][1] - 0.5) ** 2 + p["u"] ** 2,
        entries,
        constraints=LinearEquality({"b": 1.0, "u": -1.0}, 0.0),
    )
    result = DerivativeFreeOptimizer("differential-evolution", budget=3000, seed=0).optimize(problem)
    # Minimum of the distance from (1/4, 1/2, 0) to the plane u = b0 + b1, off the bounds: move by -3/4 / 3 each.
    assert_allclose(result.x["b"], [0.0, 0.25], atol=1e-3)
    assert float(result.x["u"]) == pytest.approx(0.25, abs=1e-3)


def test_a_compiled_program_knows_the_projection():
    result = JaxOptimizer("lbfgs").optimize(quadratic(kind="loss"))
    assert_allclose(result.x["x"], exact()[:5], atol=1e-6)


def test_differences_are_taken_along_the_variables_that_are_left():
    problem = Problem(
        lambda p: WEIGHTS * (np.asarray(p["x"]) - TARGET),
        {"x": np.zeros(5)},
        constraints=LinearEquality({"x": ROWS}, VALUES),
        kind="residuals",
        derivatives="differences",
    )
    result = LeastSquaresOptimizer().optimize(problem)
    assert_allclose(result.x["x"], exact()[:5], atol=1e-5)


def test_transformed_variables_are_not_eliminated_and_the_answer_is_the_same():
    entries = [Parameter("a", 1.0, lower=0.0, transform="log"), Parameter("b", 1.0), Parameter("c", 1.0)]
    problem = Problem(
        lambda p: (p["a"] - 3.0) ** 2 + p["b"] ** 2 + (p["c"] - 1.0) ** 2, entries, constraints=SumTo("*", 1.0)
    )
    assert problem.vector().constraints is not None
    result = ScipyOptimizer("SLSQP").optimize(problem)
    # Each gives the same third of the surplus 3 + 0 + 1 - 1.
    assert_allclose([float(result.x[name]) for name in "abc"], [2.0, -1.0, 0.0], atol=1e-6)


def test_directions_do_not_mix_variables_that_no_row_joins():
    # Two blocks, {0, 2} and {1, 3}, and a variable in no row.
    rows = np.array([[1.0, 0.0, 1.0, 0.0, 0.0], [0.0, 2.0, 0.0, -1.0, 0.0]])
    projected = ProjectedSpace(Parameters([Parameter("u", np.ones(5))]).space, rows, np.array([2.0, 1.0]))
    # By hand: along (1, -1) and (1, 2), normalized, their largest parts positive, in the order of the variables.
    expected = np.zeros((5, 3))
    expected[[0, 2], 0] = np.array([1.0, -1.0]) / 2.0**0.5
    expected[[1, 3], 1] = np.array([1.0, 2.0]) / 5.0**0.5
    expected[4, 2] = 1.0
    assert_allclose(projected.basis, expected, atol=1e-15)
    assert projected.labels[2] == "u[4]"
    assert projected.labels[0] == "a direction of u[0], u[2]"


@given(st.integers(0, 10_000))
def test_the_directions_change_no_more_than_the_rows(seed):
    # Equal singular values, as of rows at right angles, leave singular vectors to rounding; these directions are not.
    generator = np.random.default_rng(seed)
    space = Parameters([Parameter("u", np.ones(6))]).space
    rows = np.linalg.qr(generator.normal(size=(6, 6)))[0][:3]
    nearly = rows + 1e-13 * generator.normal(size=rows.shape)
    first, second = (ProjectedSpace(space, matrix, np.zeros(3)).basis for matrix in (rows, nearly))
    assert_allclose(np.abs(second), np.abs(first), atol=1e-9)
