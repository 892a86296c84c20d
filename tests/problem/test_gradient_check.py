import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, ObjectiveFunction, Parameter, Parameters, Prior, Problem, ScalarObjective
from fieldfit.diagnostics.gradient_check import STEP, differentiate, make_stencil
from fieldfit.errors import EvaluationError, ParameterError
from fieldfit.problem.gradient_check import check_gradient
from toys import Watched, rosenbrock, rosenbrock_jacobian, rosenbrock_residuals


def off_by(relative):
    """Rosenbrock's residuals with one wrong derivative, that of the first one by y."""

    def jacobian(p):
        J = rosenbrock_jacobian(p)
        J[0, 1] *= 1.0 + relative
        return J

    return rosenbrock(derivatives=jacobian)


def test_right_derivatives_pass():
    check = check_gradient(rosenbrock())
    assert check.is_right
    assert not check.wrong
    assert check.worst.error < 1e-9
    assert "all right" in repr(check)


@pytest.mark.parametrize("relative", [-2.0, 1.0, 1e-2, 1e-4])
def test_a_wrong_entry_is_named_with_its_term(relative):
    terms = {"good": rosenbrock(), "bad": off_by(relative), "prior": Prior(rosenbrock().parameters, 1.0)}
    check = check_gradient(ObjectiveFunction(terms))
    assert not check.is_right
    assert len(check.wrong) == 1
    assert (check.worst.term, check.worst.parameter, check.worst.row) == ("bad", "y", 0)
    assert check.worst.exact == pytest.approx(10.0 * (1.0 + relative))
    assert check.worst.difference == pytest.approx(10.0, rel=1e-9)
    assert "wrong: bad[0] by y" in repr(check)


def test_scalars_and_sums_of_them_are_checked():
    good = ScalarObjective(lambda p: p["x"] ** 3, {"x": 2.0})
    bad = ScalarObjective(lambda p: p["x"] ** 2, {"x": 2.0}, derivatives=lambda p: np.array([2.1 * p["x"]]))
    assert check_gradient(good).is_right
    check = check_gradient(ObjectiveFunction({"good": good, "bad": bad}))
    assert [entry.term for entry in check.wrong] == ["bad"]


def test_derivatives_are_per_unit_of_the_parameters():
    parameters = Parameters([Parameter("x", 2.0, scale=0.5)])
    wrong = FunctionObjective(lambda p: 3.0 * p["x"], parameters, derivatives=lambda p: np.array([[4.0]]))
    worst = check_gradient(wrong).worst
    assert (worst.exact, worst.difference) == (4.0, pytest.approx(3.0))


def test_a_wrong_rule_of_a_traced_function_is_found():
    @jax.custom_jvp
    def cube(x):
        return x**3

    cube.defjvp(lambda primals, tangents: (primals[0] ** 3, 2.0 * primals[0] ** 2 * tangents[0]))
    assert not check_gradient(FunctionObjective(lambda p: jnp.stack([cube(p["x"]), p["x"]]), {"x": 1.5})).is_right


def test_terms_without_exact_derivatives_are_listed():
    terms = {"good": rosenbrock(), "program": rosenbrock(derivatives="differences")}
    check = check_gradient(ObjectiveFunction(terms))
    assert check.is_right
    assert check.not_checked == ("program",)
    assert "not checked: program" in repr(check)
    nothing = check_gradient(terms["program"])
    assert nothing.worst is None
    assert "nothing to check" in repr(nothing)


@pytest.mark.parametrize("noise", [1e-6, 1e-3])
@pytest.mark.parametrize("seed", range(5))
def test_noise_is_told_and_nobody_is_accused(noise, seed):
    random = np.random.default_rng(seed)
    noisy = FunctionObjective(
        lambda p: rosenbrock_residuals(p) + noise * random.normal(size=2),
        {"x": 1.2, "y": 1.0},
        derivatives=rosenbrock_jacobian,
    )
    check = check_gradient(noisy)
    assert not check.wrong
    if noise == 1e-3:
        assert check.unclear
        assert not check.is_right
        assert "cannot tell" in repr(check)


def test_a_large_error_is_found_in_spite_of_a_little_noise():
    random = np.random.default_rng(1)
    noisy = FunctionObjective(
        lambda p: rosenbrock_residuals(p) + 1e-7 * random.normal(size=2),
        {"x": 1.2, "y": 1.0},
        derivatives=lambda p: rosenbrock_jacobian(p) * [[1.0, 2.0], [1.0, 1.0]],
    )
    assert [entry.parameter for entry in check_gradient(noisy).wrong] == ["y"]


@pytest.mark.parametrize(("lower", "upper"), [(1.5, 9.0), (-9.0, 1.5), (1.4999, 9.0), (1.5, 1.5001)])
def test_bounds_are_kept(lower, upper):
    parameters = Parameters([Parameter("x", 1.5, lower=lower, upper=upper)])
    objective = Watched(FunctionObjective(lambda p: jnp.exp(p["x"]), parameters))
    assert check_gradient(objective).is_right
    assert np.all((np.array(objective.seen) >= lower) & (np.array(objective.seen) <= upper))


def test_where_nothing_can_be_moved_nothing_is_told():
    shut = Parameters([Parameter("x", 1.5, lower=1.5, upper=1.5)])
    check = check_gradient(FunctionObjective(lambda p: jnp.exp(p["x"]), shut))
    assert "no room" in check.unclear[0].note


def test_failures_next_to_the_point_are_told():
    objective = Watched(rosenbrock(), fails=lambda values: values[1] > 1.0)
    check = check_gradient(objective)
    assert [entry.parameter for entry in check.unclear] == ["y"]
    assert "fell apart" in repr(check)


def test_any_point_can_be_checked():
    # Wrong only above 2.
    kinked = FunctionObjective(lambda p: p["x"] ** 2, {"x": 1.0}, derivatives=lambda p: 2.0 * min(p["x"], 2.0))
    assert check_gradient(kinked).is_right
    assert not check_gradient(kinked, {"x": 3.0}).is_right
    nested = FunctionObjective(lambda p: p["a"]["b"] ** 2, {"a": {"b": 1.0}})
    assert check_gradient(nested, {"a": {"b": 3.0}}).worst.exact == pytest.approx(6.0)
    with pytest.raises(ParameterError):
        check_gradient(kinked, {"y": 3.0})
    with pytest.raises(EvaluationError, match="fell apart"):
        check_gradient(Watched(kinked, fails=lambda values: True))


def test_fixed_and_tied_parameters():
    objective = rosenbrock()
    fixed = check_gradient(Problem(objective, objective.parameters.fix("x")))
    assert [entry.parameter for entry in fixed.comparisons] == ["y"]
    tied = check_gradient(
        Problem(rosenbrock(start=(1.0, 2.0)), rosenbrock(start=(1.0, 2.0)).parameters.tie("y", "x", factor=2.0))
    )
    assert tied.is_right
    assert [entry.parameter for entry in tied.comparisons] == ["x"]


def test_workers_give_the_same_answer():
    serial, parallel = (check_gradient(off_by(0.1), executor=choice) for choice in (None, "threads:2"))
    assert serial == parallel


@pytest.mark.parametrize(("below", "above"), [(9.0, 9.0), (0.0, 9.0), (9.0, 0.0), (0.5 * STEP, 9.0)])
def test_differences_of_a_polynomial_are_exact(below, above):
    # Richardson's combination of central differences is exact up to x^4, the one-sided one up to x^3.
    stencil = make_stencil(STEP, below, above)
    x = np.array([0.0, *stencil.offsets])
    found = differentiate(stencil, np.stack([5.0 + 2.0 * x, x**2 + x, x**3 - x], axis=1))
    assert_allclose(found.value, [2.0, 1.0, -1.0], rtol=1e-10)
    assert np.all(np.abs(found.value - [2.0, 1.0, -1.0]) <= found.uncertainty + 1e-11)


def test_ch3f_force_field_is_right(examples):
    from fieldfit.forcefield import ForceFieldObjective, build_force_field, estimate_force_constants, perceive, read

    molecule = perceive(read(examples / "ch3f" / "ch3f.json", name="CH3F"))
    field = estimate_force_constants([molecule], build_force_field([molecule], family="harmonic"))
    check = check_gradient(ForceFieldObjective(field, [molecule], regularization=0.1))
    assert check.is_right, check
    assert {entry.term for entry in check.comparisons} >= {"frequency", "eigenmatrix_off_diagonal", "prior"}
