"""One thread for linear algebra on small matrices.

The matrices of a molecule, and of the steps of most fits, are too small to gain from several threads of a BLAS library,
and where the cores are busy its threads wait for each other: a Cholesky factorization of 1 ms then takes 60. Every
optimizer runs under it. What it can cost is small beside the evaluations behind it: a QR factorization of 100000
residuals by 100 variables takes 0.4 s on one thread.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any


def one_blas_thread() -> AbstractContextManager[Any]:
    """Let BLAS libraries use one thread within a block.

    Whether the setting belongs to the process or to a thread is the library's choice, so blocks of several threads that
    overlap may run on more threads than one, or leave the setting at one.
    """
    return _controller().limit(limits=1, user_api="blas")


@functools.cache
def _controller() -> Any:
    import scipy.linalg  # noqa: F401 - the libraries that are controlled have to be there
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()
