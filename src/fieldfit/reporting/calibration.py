"""How fast this machine is, so that times measured on different ones can be compared."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

REPEATS = 3
"""The fastest of so many runs: the others were disturbed."""


@dataclass(frozen=True)
class Calibration:
    """Times of two operations that every fit is made of.

    Args:
        matmul_seconds: Product of two 2000 x 2000 matrices of 64-bit floats [s].
        eigh_seconds: Eigenvalues and vectors of a symmetric 500 x 500 matrix [s].
        machine: Processor architecture and operating system.
    """

    matmul_seconds: float
    eigh_seconds: float
    machine: str

    def __repr__(self) -> str:
        return (
            f"calibration: 2000 x 2000 matmul {self.matmul_seconds:.3f} s, 500 x 500 eigh {self.eigh_seconds:.3f} s "
            f"({self.machine})"
        )


def calibrate() -> Calibration:
    """Measure this machine; takes about a second.

    Example:
        >>> from fieldfit.reporting.calibration import calibrate
        >>> calibrate().matmul_seconds > 0.0
        True
    """
    generator = np.random.default_rng(0)
    large, small = generator.normal(size=(2000, 2000)), generator.normal(size=(500, 500))
    symmetric = small + small.T
    return Calibration(
        matmul_seconds=_fastest(lambda: large @ large),
        eigh_seconds=_fastest(lambda: np.linalg.eigh(symmetric)),
        machine=f"{platform.machine()}, {platform.system()}",
    )


def _fastest(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)
