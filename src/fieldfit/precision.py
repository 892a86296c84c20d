"""64-bit arithmetic inside, JAX's global setting untouched.

Every compiled call of fieldfit runs in a local 64-bit scope, and every array leaves it as a NumPy
array: a JAX array of 64-bit numbers that escapes the scope would be cut to 32 bit by the first operation
outside. JAX keeps the scope per thread, so a worker thread enters it for itself by calling a
function wrapped here.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")


def in_double_precision(function: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
    """Run a function in a local 64-bit scope and hand its arrays out as NumPy arrays.

    Args:
        function: Any function that calls JAX and returns a pytree of arrays.

    Returns:
        The same function, 64-bit inside; its arrays come out as `numpy.ndarray`.
    """

    @functools.wraps(function)
    def wrapped(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        import jax

        with jax.enable_x64(True):
            return to_numpy(function(*args, **kwargs))

    return wrapped


def in_double_precision_if_jax(function: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
    """Do the same for a function that may or may not use JAX, without importing JAX for it.

    Differences of a function that computes in 32 bit are zero or noise.
    """
    scoped = in_double_precision(function)

    @functools.wraps(function)
    def wrapped(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        return scoped(*args, **kwargs) if "jax" in sys.modules else function(*args, **kwargs)

    return wrapped


def to_numpy(tree: Any) -> Any:
    """Replace every JAX array of a pytree by a NumPy array of the same values."""
    import jax
    import numpy as np

    # The two common cases without a walk over a tree, which takes longer than the copy.
    if type(tree) is tuple:
        if all(type(entry) in _ARRAYS or _is_array(entry) for entry in tree):
            return tuple([np.asarray(entry) for entry in tree])
    elif type(tree) in _ARRAYS or _is_array(tree):
        return np.asarray(tree)
    return jax.tree.map(np.asarray, tree)


_ARRAYS: set[type] = set()
"""Types that were found to be arrays: asking JAX's abstract class takes a microsecond each time."""


def _is_array(entry: Any) -> bool:
    import jax
    import numpy as np

    if not isinstance(entry, np.ndarray | jax.Array):
        return False
    _ARRAYS.add(type(entry))
    return True
