"""What an evaluation costs beyond the user's own function, for a tree of ten parameters.

    python benchmarks/overhead.py

Processor time of one evaluation with Jacobian, as an optimizer asks for it, minus that of the compiled function, or of
the plain NumPy functions, called by themselves in the same run. The shortest of several repeats counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import fieldfit
from fieldfit.problem import Recorder
from fieldfit.reporting.calibration import calibrate

START = {f"p{index}": 1.0 + index for index in range(10)}
REPEATS, CALLS = 9, 300


def shortest(call: Callable[[], object]) -> float:
    """Return the processor time of a call [microseconds]."""
    times = []
    for _ in range(REPEATS):
        begin = time.thread_time()
        for _ in range(CALLS):
            call()
        times.append((time.thread_time() - begin) / CALLS)
    return 1e6 * min(times)


def evaluation(objective: fieldfit.FunctionObjective) -> Callable[[], object]:
    recorder = Recorder(fieldfit.Problem(objective).vector())
    x = recorder.x0.copy()
    return lambda: recorder.evaluate(x, None)


def in_jax() -> tuple[float, float]:
    def residuals(flat: jax.Array) -> jax.Array:
        return jnp.stack([value - 1.0 for value in flat])

    objective = fieldfit.FunctionObjective(lambda p: jnp.stack([value - 1.0 for value in p.values()]), START)
    values = np.array(list(START.values()))
    with jax.enable_x64(True):
        compiled = jax.jit(lambda flat: (residuals(flat), jax.jacrev(residuals)(flat)))
        alone = shortest(lambda: [np.asarray(part) for part in compiled(values)])
    return shortest(evaluation(objective)), alone


def in_numpy() -> tuple[float, float]:
    def residuals(p: dict[str, np.ndarray]) -> np.ndarray:
        return np.array(list(p.values())) - 1.0

    def jacobian(p: dict[str, np.ndarray]) -> np.ndarray:
        return np.eye(10)

    objective = fieldfit.FunctionObjective(residuals, START, derivatives=jacobian)
    return shortest(evaluation(objective)), shortest(lambda: (residuals(START), jacobian(START)))


def main() -> None:
    print(calibrate())
    for name, (whole, alone) in {"JAX": in_jax(), "NumPy": in_numpy()}.items():
        extra = whole - alone
        print(f"{name:6s} {whole:6.1f} us in all, {alone:6.1f} us the function, {extra:6.1f} us overhead (limit 60)")


if __name__ == "__main__":
    main()
