from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from fieldfit.precision import in_double_precision, to_numpy


@in_double_precision
def third(x):
    return {"value": jnp.asarray(x) / 3.0, "dtype": jnp.asarray(x).dtype.name}


def test_inside_is_64_bit_and_what_leaves_is_numpy():
    found = third(1.0)
    assert type(found["value"]) is np.ndarray
    assert found["value"].dtype == np.float64
    # 1/3 in 32 bit differs from 1/3 in the eighth digit.
    assert found["value"] == 1.0 / 3.0


def test_global_setting_of_jax_is_not_touched():
    before = jnp.asarray(1.0).dtype
    third(1.0)
    assert jnp.asarray(1.0).dtype == before == jnp.float32


def test_compiled_functions_are_64_bit_too():
    compiled = in_double_precision(jax.jit(lambda x: jnp.sin(x)))
    assert compiled(np.array(0.1)) == np.sin(0.1)


def test_worker_threads_enter_the_scope_themselves():
    with ThreadPoolExecutor(2) as pool:
        assert all(found["value"] == 1.0 / 3.0 for found in pool.map(third, [1.0, 1.0]))


def test_scope_inside_scope_stays_64_bit():
    outer = in_double_precision(lambda x: third(x)["value"] + jnp.zeros(()))
    assert outer(1.0).dtype == np.float64


def test_trees_keep_their_structure():
    tree = to_numpy({"a": [jnp.ones(2)], "b": None})
    assert type(tree["a"][0]) is np.ndarray
    assert tree["b"] is None
