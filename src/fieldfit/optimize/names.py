"""Optimizers by the names that `Optimizer` knows, and what each of them can be told.

    lsq-exact                                  trust-region least squares
    fmin-exact, fmin-dogleg, fmin-subspace     trust regions with second derivatives
    lsq-auglag, fmin-auglag                    augmented Lagrangian around one of the above
    sgd, optax-<rule>                          first-order methods
    scipy-<method>                             every method of SciPy's `minimize` and `least_squares`
    proximal-<name>                            a nonlinear equality solved anew at every point of any of the above

and whatever `register_optimizer` or the entry-point group "fieldfit.optimizers" added. A method is a function that
makes an optimizer from options; its record says which options there are, and which of them the tolerances are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from fieldfit.errors import SettingsError
from fieldfit.optimizers import OPTIMIZERS, first_order, scipy_methods
from fieldfit.optimizers.metric import FIXED
from fieldfit.optimizers.names import make_optimizer
from fieldfit.problem import AbstractOptimizer
from fieldfit.registry import unknown_name

PROXIMAL = "proximal-"
SCIPY = "scipy-"
OPTAX = "optax-"

UNIVERSAL = ("ftol", "xtol", "gtol", "ctol", "maxiter")
"""Options that every method may be given; each heeds those that it has a test for."""

DEFAULT_FTOL, STRICT_FTOL = 1e-2, 1e-6
"""Default of `ftol`; that of stochastic and augmented-Lagrangian methods."""

DEFAULT_XTOL, DEFAULT_GTOL, DEFAULT_CTOL = 1e-6, 1e-8, 1e-4
DEFAULT_MAXITER, LONG_MAXITER = 100, 500
"""Default of `maxiter`; that of augmented-Lagrangian methods."""

PATIENCE = 20
"""Steps without the improvement `ftol` that end a first-order method."""


@dataclass(frozen=True)
class Method:
    """A named way to answer.

    Args:
        make: Takes options by keyword, returns an optimizer.
        options: Names of its options; None: it takes any.
        universal: "ftol", "xtol", "gtol", "ctol" or "maxiter" to the option that means it.
        inner_options: Further options that go into the option "options" together: those of the library behind it.
        ftol: Default.
        maxiter: Default.
        rescales: Whether it measures variables by derivatives itself.
    """

    make: Callable[..., AbstractOptimizer]
    options: tuple[str, ...] | None
    universal: Mapping[str, str]
    inner_options: tuple[str, ...] = ()
    ftol: float = DEFAULT_FTOL
    maxiter: int = DEFAULT_MAXITER
    rescales: bool = False
    presets: Mapping[str, Any] = field(default_factory=dict)

    def build(
        self, tolerances: Mapping[str, Any], options: Mapping[str, Any], *, is_scaled: bool = False
    ) -> AbstractOptimizer:
        """Make the optimizer.

        Args:
            tolerances: Values of "ftol", "xtol", "gtol", "ctol" and "maxiter"; those it has no option for are left out.
            options: Its own.
            is_scaled: Whether the user said by what sizes variables are measured. A trust region keeps to them then,
                unless its own option "metric" says otherwise.
        """
        given = {own: tolerances[name] for name, own in self.universal.items() if name in tolerances}
        inner = {name: value for name, value in options.items() if name in self.inner_options}
        rest = {name: value for name, value in options.items() if name not in self.inner_options}
        if inner:
            rest["options"] = {**rest.get("options", {}), **inner}
        metric = {"metric": FIXED} if is_scaled and self.rescales and "metric" in (self.options or ()) else {}
        return self.make(**{**self.presets, **given, **metric, **rest})


_REGISTERED: dict[str, Method] = {}


def register_optimizer(name: str, factory: Callable[..., AbstractOptimizer], *, replace: bool = False) -> None:
    """Make an optimizer known to `Optimizer` by a name.

    Args:
        name: Its name.
        factory: The class of its options, or a function that takes options by keyword and returns an optimizer.
            Options called "ftol", "xtol", "gtol", "ctol" and "maxiter" get what `optimize` was given.
        replace: Whether an earlier one of that name may go.

    Raises:
        SettingsError: The name is taken.

    Example:
        >>> import fieldfit
        >>> from fieldfit.optimize import Optimizer, register_optimizer
        >>> register_optimizer("my-lm", lambda maxiter=50: fieldfit.ScipyOptimizer("lm", maxiter=maxiter))
        >>> Optimizer("my-lm").name
        'my-lm'
    """
    if not replace and name in optimizer_names():
        raise SettingsError(f"An optimizer is called {name!r} already. Choose another name, or say replace=True.")
    known = _options_of(factory)
    universal = {entry: entry for entry in UNIVERSAL if known is None or entry in known}
    _REGISTERED[name] = Method(factory, known, universal)


def optimizer_names() -> tuple[str, ...]:
    """Return all names but those with "proximal-" before them."""
    scipy = [f"{SCIPY}{method}" for method in scipy_methods.METHODS]
    optax = [f"{OPTAX}{rule}" for rule in first_order.METHODS]
    return (*NATIVE, "sgd", *optax, *scipy, *_REGISTERED, *OPTIMIZERS)


def find_method(name: str) -> Method:
    """Return the method of a name, without "proximal-".

    Raises:
        SettingsError: No optimizer is called so.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name in NATIVE:
        family, presets, how = NATIVE[name]
        return _native(family, presets, **how)
    if name == "sgd" or (name.removeprefix(OPTAX) in first_order.METHODS and name.startswith(OPTAX)):
        return _first_order(name.removeprefix(OPTAX))
    scipy = {f"{SCIPY}{method}".lower(): method for method in scipy_methods.METHODS}
    if name.lower() in scipy:
        return _scipy(scipy[name.lower()])
    if name in OPTIMIZERS:
        known = _options_of(OPTIMIZERS[name])
        return Method(OPTIMIZERS[name], known, {entry: entry for entry in UNIVERSAL if entry in (known or UNIVERSAL)})
    raise SettingsError(unknown_name("optimizer", name, [*optimizer_names(), f"{PROXIMAL}lsq-exact"]))


NATIVE: Mapping[str, tuple[str, Mapping[str, str], Mapping[str, Any]]] = {
    "lsq-exact": ("least-squares", {}, {"rescales": True}),
    "fmin-exact": ("trust-region", {"method": "exact"}, {"rescales": True}),
    "fmin-dogleg": ("trust-region", {"method": "dogleg"}, {"rescales": True}),
    "fmin-subspace": ("trust-region", {"method": "subspace"}, {"rescales": True}),
    "lsq-auglag": ("augmented-lagrangian", {}, {"ftol": STRICT_FTOL, "maxiter": LONG_MAXITER, "rescales": True}),
    "fmin-auglag": (
        "augmented-lagrangian",
        {"optimizer": "trust-region:exact"},
        {"ftol": STRICT_FTOL, "maxiter": LONG_MAXITER, "rescales": True},
    ),
}
"""Name to family, options that the name stands for, and what is special of it."""


def _native(family: str, presets: Mapping[str, str], **how: Any) -> Method:
    kind = OPTIMIZERS[family]
    given = {name: make_optimizer(value) if name == "optimizer" else value for name, value in presets.items()}
    known = tuple(entry.name for entry in fields(kind) if entry.name not in given)
    # The tolerance of the constraints themselves is what `ctol` sets.
    universal = {entry: entry for entry in UNIVERSAL if entry in known and entry != "ctol"}
    return Method(kind, known, universal, presets=given, **how)


def _first_order(rule: str) -> Method:
    known = tuple(entry.name for entry in fields(first_order.OptaxOptimizer) if entry.name != "method")
    return Method(
        first_order.OptaxOptimizer,
        known,
        {"ftol": "min_improvement", "maxiter": "max_steps"},
        ftol=STRICT_FTOL,
        presets={"method": rule, "patience": PATIENCE},
    )


def _scipy(method: str) -> Method:
    kind = OPTIMIZERS["scipy"]
    known = tuple(entry.name for entry in fields(kind) if entry.name != "method")
    inner = tuple(name for name in scipy_methods.METHODS[method].known_options if name not in known)
    universal = {entry: entry for entry in UNIVERSAL if entry in known}
    return Method(kind, (*known, *inner), universal, inner_options=inner, presets={"method": method})


def _options_of(factory: Callable[..., Any]) -> tuple[str, ...] | None:
    """Return the options that a factory takes; None if it takes any."""
    if is_dataclass(factory):
        return tuple(entry.name for entry in fields(factory))
    given = inspect.signature(factory).parameters.values()
    if any(entry.kind is inspect.Parameter.VAR_KEYWORD for entry in given):
        return None
    return tuple(entry.name for entry in given)
