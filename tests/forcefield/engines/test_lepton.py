"""Functions written for Lepton: OpenMM evaluates and differentiates them as JAX does."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from numpy.testing import assert_allclose

from fieldfit.errors import ForceFieldError
from fieldfit.forcefield.engines.lepton import TEMPLATES, lepton_expression
from fieldfit.precision import in_double_precision

openmm = pytest.importorskip("openmm")

X, Y = (-1.6, -0.7, 0.3, 0.8, 1.9), 1.25
"""Where functions of x and y are compared."""

OPERATIONS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x, y: -x,
    "integer_pow": lambda x, y: x**3 + y**-12,
    "square": lambda x, y: lax.square(x),
    "pow": lambda x, y: lax.pow(x * x, y),
    "sqrt": lambda x, y: lax.sqrt(2.0 + x),
    "rsqrt": lambda x, y: lax.rsqrt(2.0 + x),
    "exp": lambda x, y: lax.exp(x),
    "exp2": lambda x, y: lax.exp2(x),
    "expm1": lambda x, y: lax.expm1(x),
    "log": lambda x, y: lax.log(2.0 + x),
    "log1p": lambda x, y: lax.log1p(0.5 * x),
    "logistic": lambda x, y: lax.logistic(x),
    "sin": lambda x, y: lax.sin(x),
    "cos": lambda x, y: lax.cos(x),
    "tan": lambda x, y: lax.tan(0.5 * x),
    "asin": lambda x, y: lax.asin(0.5 * x),
    "acos": lambda x, y: lax.acos(0.5 * x),
    "atan": lambda x, y: lax.atan(x),
    "atan2": lambda x, y: lax.atan2(y, x),
    "sinh": lambda x, y: lax.sinh(x),
    "cosh": lambda x, y: lax.cosh(x),
    "tanh": lambda x, y: lax.tanh(x),
    "erf": lambda x, y: lax.erf(x),
    "erfc": lambda x, y: lax.erfc(x),
    "abs": lambda x, y: lax.abs(x),
    "sign": lambda x, y: lax.sign(x) * x**2,
    "max": lambda x, y: lax.max(x, y),
    "min": lambda x, y: lax.min(x, y),
    "clamp": lambda x, y: lax.clamp(-1.0, x, y),
    "floor": lambda x, y: lax.floor(x) * x,
    "ceil": lambda x, y: lax.ceil(x) * x,
    "rem": lambda x, y: lax.rem(x, 0.4 * y),
    "lt": lambda x, y: jnp.where(x < y, x**2, x),
    "le": lambda x, y: jnp.where(x <= y, x**2, x),
    "gt": lambda x, y: jnp.where(x > y, x**2, x),
    "ge": lambda x, y: jnp.where(x >= y, x**2, x),
    "eq": lambda x, y: jnp.where(x == 0.8, x**2, x),
    "ne": lambda x, y: jnp.where(x != 0.8, x**2, x),
    "and": lambda x, y: jnp.where((x < y) & (x > 0.0), x**2, x),
    "or": lambda x, y: jnp.where((x > y) | (x < 0.0), x**2, x),
    "not": lambda x, y: jnp.where(~(x > y), x**2, x),
    "select_n": lambda x, y: lax.select(x > y, x**2, x),
}


def in_openmm(expression: str):
    """Return a function that gives value and derivative in x of an expression of x1 and y."""
    force = openmm.CustomCompoundBondForce(1, expression)
    force.addGlobalParameter("y", Y)
    force.addBond([0], [])
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(1.0), openmm.Platform.getPlatformByName("Reference"))

    def evaluate(x: float) -> tuple[float, float]:
        context.setPositions(np.array([[x, 0.0, 0.0]]))
        state = context.getState(getEnergy=True, getForces=True)
        return state.getPotentialEnergy()._value, -state.getForces(asNumpy=True)._value[0, 0]

    return evaluate


def written(function) -> str:
    return lepton_expression(lambda q, s: function(q[0], s[0]), [["x1"], ["y"]], label="probe")


def assert_same(function, points=X) -> None:
    evaluate = in_openmm(written(function))
    compiled = in_double_precision(jax.jit(jax.value_and_grad(function)))
    for x in points:
        assert_allclose(evaluate(x), [float(found) for found in compiled(x, Y)], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_the_value_and_derivative_that_it_has_in_jax(name) -> None:
    traced = str(jax.make_jaxpr(OPERATIONS[name])(0.3, Y))
    assert f" {name} " in traced or f" {name}[" in traced
    assert_same(OPERATIONS[name])


def test_every_operation_is_compared() -> None:
    assert set(OPERATIONS) == set(TEMPLATES)


def test_functions_inside_functions_are_written_out() -> None:
    @jax.jit
    def inner(x):
        return jnp.where(x > 0.0, jnp.exp(-x), 1.0 - x)

    assert_same(lambda x, y: inner(x) + inner(y * x) * jnp.mod(x, 0.7) + jnp.clip(x, -1, 1) + jax.nn.softplus(x))


def test_sequences_are_indexed_unpacked_sliced_and_looped_over() -> None:
    def function(q, p, s):
        k, *rest = p
        return k * sum(value**2 for value in q) + rest[0] * q[-1] + sum(p[1:]) + s[0]

    names = [["x1", "x2", "x3"], ["k", "a"], ["b"]]
    expression = lepton_expression(function, names, label="probe")
    values = {"x1": 0.3, "x2": -0.4, "x3": 1.7, "k": 2.0, "a": 5.0, "b": 0.25}
    expression = "; ".join([expression, *(f"{name}={value}" for name, value in values.items())])
    expected = 2.0 * (0.09 + 0.16 + 2.89) + 5.0 * 1.7 + 5.0 + 0.25
    assert in_openmm(expression)(0.0)[0] == pytest.approx(expected, rel=1e-15)


def test_equal_expressions_get_one_name() -> None:
    assert written(lambda x, y: (x - y) ** 2 + (x - y)).count("x1-y") == 1


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_numbers_arrive_bit_by_bit(number) -> None:
    assert in_openmm(written(lambda x, y: number + 0.0 * x))(0.0)[0] == number


def test_the_branch_that_is_not_taken_does_not_disturb() -> None:
    evaluate = in_openmm(written(lambda x, y: jnp.where(x > 0.0, jnp.log(x), x)))
    assert evaluate(-0.5) == (-0.5, 1.0)


def test_the_exponential_minus_one_keeps_its_digits_at_small_arguments() -> None:
    assert_same(lambda x, y: jnp.expm1(x), points=(1e-12, -1e-9, 1e-5))


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda q: lax.stop_gradient(q[0]), "stop_gradient"),
        (lambda q: jnp.sum(q), "reduce_sum"),
        (lambda q: lax.while_loop(lambda x: x < 1.0, lambda x: 2.0 * x, q[0]), "while"),
        (lambda q: q[0] * q[0].astype(int), "convert_element_type"),
        (lambda q: jax.scipy.special.gammaln(q[0]), "lgamma"),
    ],
)
def test_an_operation_that_openmm_does_not_have_is_an_error_that_names_it(function, operation) -> None:
    with pytest.raises(ForceFieldError, match=f"The form bowl uses the operation '{operation}'"):
        lepton_expression(function, [["x", "y"]], label="bowl")


def test_a_number_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(ForceFieldError, match="bowl uses a number that is not finite"):
        lepton_expression(lambda q: jnp.hypot(q[0], q[1]), [["x", "y"]], label="bowl")
