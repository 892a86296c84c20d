"""Forward differentiation in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fieldfit.equilibrium.dual import independent

N_NODES, N_INPUTS = 4, 3


def every_operation(a, b, c):
    """Return a function of three inputs in which each rule appears with a number or an array on either side."""
    weights = np.arange(1.0, N_NODES + 1.0)
    sums = 1.0 + a - (2.0 - b) + (c - 3.0) - (a - b) + weights
    products = weights * a * b * 0.5 * (-c)
    quotients = a / b + weights / c + b / 3.0
    return sums * products - quotients + (a * a + b**2) ** 0.5 + c**-1.5


@given(st.integers(0, 2**31))
def test_slopes_are_those_of_jax(seed):
    columns = np.random.default_rng(seed).uniform(0.5, 2.0, size=(N_NODES, N_INPUTS))
    found = every_operation(*independent(columns))
    with jax.enable_x64(True):
        given_to_jax = [jnp.asarray(column) for column in columns.T]
        value = np.asarray(every_operation(*given_to_jax))
        # Nodes do not mix: the derivative of the sum over nodes is that at each.
        slopes = jax.grad(lambda inputs: every_operation(*inputs).sum())(given_to_jax)
        expected = np.stack([np.asarray(slope) for slope in slopes])
    np.testing.assert_allclose(found.value, value, rtol=1e-13)
    np.testing.assert_allclose(found.slopes, expected, rtol=1e-11, atol=1e-12)
