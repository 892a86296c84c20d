"""`Optimizer(method)` with DESC's signature, and its names of methods and options in those of this library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fieldfit.equilibrium.desc import DescOptimizer, DescResult
from fieldfit.errors import SettingsError
from fieldfit.optimize.names import OPTAX, PROXIMAL

METHODS = {"fmintr": "fmin-exact"}
"""Methods that have another name here."""

LACKING = {"fmintr-bfgs": "scipy-bfgs", "fmin-auglag-bfgs": "fmin-auglag", "optax-custom": "optax-adam"}
"""Methods that are not here, and what is nearest."""

OPTIONS = {"tr_method": "factorization", "initial_trust_ratio": "initial_radius", "optax-options": "options"}
"""Options of methods that have another name here."""

TRUST_REGIONS = {"exact": "fmin-exact", "dogleg": "fmin-dogleg", "subspace": "fmin-subspace"}
"""Ways to a step that are methods here."""

PERTURB_OPTIONS = {"order": "order", "tr_ratio": "trust_radius"}
SOLVE_OPTIONS = {"xtol": "tolerance", "maxiter": "max_steps"}
"""Options of perturbations and inner solves that have a counterpart."""

IDLE = ("verbose", "ftol", "gtol", "include_f", "weight", "copy", "x_scale", "optimizer")
"""Options of perturbations and inner solves that say nothing here: Newton's method ends where its steps do."""


class Optimizer:
    """An optimizer of DESC's objects.

    Args:
        method: Name, DESC's or one of this library.

    Raises:
        SettingsError: There is none of that name, or DESC is not installed.
    """

    def __init__(self, method: str) -> None:
        self.method = method

    @property
    def method(self) -> str:
        """Name of the method, as it was given."""
        return self._method

    @method.setter
    def method(self, method: str) -> None:
        DescOptimizer(native_name(method))
        self._method = method

    def optimize(  # noqa: PLR0913, DESC's signature
        self,
        things: Any,
        objective: Any,
        constraints: Any = (),
        ftol: float | None = None,
        xtol: float | None = None,
        gtol: float | None = None,
        ctol: float | None = None,
        x_scale: Any = "auto",
        verbose: int = 1,
        maxiter: int | None = None,
        options: Mapping[str, Any] | None = None,
        copy: bool = False,
    ) -> tuple[tuple[Any, ...], DescResult]:
        """Optimize; see `fieldfit.equilibrium.desc.DescOptimizer.optimize`.

        Returns:
            The things as a tuple, and the result.
        """
        name, told = native_options(native_name(self.method), options or {})
        tolerances = {"ftol": ftol, "xtol": xtol, "gtol": gtol, "ctol": ctol, "maxiter": maxiter}
        stated = {key: value for key, value in tolerances.items() if value is not None}
        rest = {"x_scale": x_scale, "verbose": verbose, "options": told, "copy": copy}
        return DescOptimizer(name).optimize(things, objective, constraints, **stated, **rest)

    def __repr__(self) -> str:
        return f"Optimizer({self.method!r})"


def native_name(method: str) -> str:
    """Return the name that a method has in this library.

    Raises:
        SettingsError: It is one of DESC's that is not here.
    """
    head, _, rest = method.partition("-")
    wrapped = head.lower() in ("prox", "proximal")
    own = rest if wrapped else method
    if own in LACKING:
        raise SettingsError(f"The method {own!r} of DESC is not here. Take {LACKING[own]!r}.")
    return f"{PROXIMAL if wrapped else ''}{METHODS.get(own, own)}"


def native_options(name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return method and options in the names of this library; those without another name stay as they are.

    Args:
        name: Of the method, in this library.
        options: DESC's.
    """
    told = dict(options)
    told.pop("max_nfev", None)
    is_scalar = name.removeprefix(PROXIMAL) in TRUST_REGIONS.values()
    if is_scalar and told.get("tr_method") in TRUST_REGIONS:
        prefix = PROXIMAL if name.startswith(PROXIMAL) else ""
        name = prefix + TRUST_REGIONS[told.pop("tr_method")]
    if name.removeprefix(PROXIMAL).startswith(OPTAX) and "optax-options" in told:
        told |= told.pop("optax-options")
    told = {OPTIONS.get(key, key): value for key, value in told.items()}
    for group, known in (("perturb_options", PERTURB_OPTIONS), ("solve_options", SOLVE_OPTIONS)):
        if group in told:
            told[group] = _renamed(told[group], known)
    return name, told


def _renamed(group: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    found = {known.get(key, key): value for key, value in group.items() if key in known or key not in IDLE}
    if "trust_radius" in found:
        # DESC takes one ratio for each order; the first one bounds the first-order step.
        found["trust_radius"] = float(np.ravel(found["trust_radius"])[0])
    return found
