"""What SciPy says, in words that help.

SciPy's own words are kept, so that they can be looked up; what they mean and what can be done is added. Warnings that
it gives on the way belong to the message; those of anyone else go where they always go.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OUR_MODULES = r"scipy\.(optimize|_lib)\..*|fieldfit\.optimizers\.scipy.*"
"""Modules that SciPy's warnings are attributed to: its own, and the ones that call it."""

NOTHING_LOWER = (
    "nothing lower was found along its direction: often as far as rounding of the cost allows, else the derivatives do "
    "not belong to the cost (compare them with differences) or evaluations fail nearby"
)

EXPLANATIONS = {
    "ABNORMAL": NOTHING_LOWER,
    "precision loss": NOTHING_LOWER,
    "Linear search failed": NOTHING_LOWER,
    "Positive directional derivative": NOTHING_LOWER,
    "Unable to progress": NOTHING_LOWER,
    "bad approximation caused failure": "its quadratic model promises nothing: as far as rounding of the cost allows",
    "linalg error": "the Hessian is not positive definite here, which dogleg needs; use trust-exact or trust-ncg",
    "CG iterations didn't converge": "the Hessian is not positive definite; use trust-ncg or trust-krylov",
    "aximum number of": "raise the limit, or start closer",
    "TERATIONS REACHED LIMIT": "raise the limit, or start closer",
    "EVALUATIONS EXCEEDS LIMIT": "raise the limit, or start closer",
    "Iteration limit": "raise the limit, or start closer",
    "damaging rounding": "the simplex became flat; start again from here, or raise xtol",
    "NaN result": "the method met a number that is not finite; scale the parameters, or use a trust-region method",
    "terminated successfully": "met: {met}",
    "NORM OF PROJECTED GRADIENT": "met: {met}",
    "Local minimum reached": "met: {met}",
    "trust region radius reaches": "met: {met}",
    "trust-region radius has been reached": "met: {met}",
}
"""Part of a message of SciPy to what it means, with the names of the method's tolerances for "{met}"."""


@contextmanager
def caught_warnings() -> Iterator[list[str]]:
    """Collect the warnings that SciPy gives.

    Yields:
        Their texts, each once.
    """
    texts: list[str] = []
    show = warnings.showwarning

    def collect(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any) -> None:
        if not _is_of_scipy(filename):
            show(message, category, filename, lineno, *rest)
        elif str(message) not in texts:
            texts.append(str(message))

    with warnings.catch_warnings():
        warnings.filterwarnings("always", module=OUR_MODULES)
        warnings.showwarning = collect
        yield texts


def explained(message: str, texts: list[str], *, met: str) -> str:
    """Add to a message of SciPy what it means, and its warnings.

    Args:
        message: Why a run ended.
        texts: Warnings on the way.
        met: Names of the tolerances that the method tests.
    """
    words = message.strip().rstrip(":")
    meanings = [meaning.format(met=met or "its tolerance") for part, meaning in EXPLANATIONS.items() if part in words]
    hints = [*meanings[:1], *(f"SciPy warned: {text}" for text in texts if text not in words)]
    return f"{words} ({'; '.join(hints)})" if hints else words


def _is_of_scipy(filename: str) -> bool:
    path = filename.replace("\\", "/")
    return any(part in path for part in ("/scipy/optimize/", "/scipy/_lib/", "/fieldfit/optimizers/scipy"))
