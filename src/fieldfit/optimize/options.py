"""The options of one call of `optimize`, checked and never changed: tolerances, and who gets which option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.optimize.names import DEFAULT_CTOL, DEFAULT_GTOL, DEFAULT_XTOL, UNIVERSAL, Method
from fieldfit.registry import unknown_name
from fieldfit.things import SpectralScale

ESS = {"ess_alpha": "alpha", "ess_order": "order", "ess_min_value": "smallest"}
"""Option to the number of the rule of spectral scales that it is."""

GROUPS = ("linear_constraint_options", "perturb_options", "solve_options")
"""Options that are dictionaries themselves."""

LINEAR_OPTIONS = ("tolerance", "x_scale")
"""Violation that counts as none, in the unit of each constraint; and the sizes of variables in which the directions
that linear constraints leave are orthonormal."""

AUTO = "auto"


@dataclass(frozen=True)
class RunOptions:
    """What one call was told.

    Args:
        tolerances: "ftol", "xtol", "gtol" and "maxiter" of this run; None disables a test.
        ctol: Violation of constraints that counts as none.
        method: Options of the optimizer.
        spectral: The rule of "ess" scales.
        linear: Those of linear constraints; see `LINEAR_OPTIONS`.
        perturb: How a proximal optimizer moves the inner parameters.
        solve: How it solves for them.
    """

    tolerances: Mapping[str, Any]
    ctol: float | None
    method: Mapping[str, Any] = field(default_factory=dict)
    spectral: SpectralScale = field(default_factory=SpectralScale)
    linear: Mapping[str, Any] = field(default_factory=dict)
    perturb: Mapping[str, Any] = field(default_factory=dict)
    solve: Mapping[str, Any] = field(default_factory=dict)

    def scale(self, x_scale: Any) -> Any:
        """Return the sizes of variables of a call: those of the argument, or of the linear constraints.

        Both are the units of the variables that optimizers see, so only one of them can say something.

        Raises:
            SettingsError: Both do.
        """
        own = self.linear.get("x_scale", AUTO)
        is_stated = [not (isinstance(entry, str) and entry == AUTO) for entry in (x_scale, own)]
        if all(is_stated):
            raise SettingsError(
                "x_scale is given as an argument and in linear_constraint_options. The directions that linear "
                "constraints leave are measured in the units of the variables: give it once, as an argument."
            )
        return own if is_stated[1] else x_scale


def read_options(method: Method, given: Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> RunOptions:
    """Check options and put them together with the arguments of the call.

    Args:
        method: The optimizer's record.
        given: The user's options; they are not changed.
        arguments: "ftol", "xtol", "gtol", "ctol" and "maxiter" as the call had them; None for the default.

    Raises:
        SettingsError: An option is unknown, is given twice with two values, or has a value that it cannot have.
    """
    options = dict(given or {})
    _check_names(method, options)
    tolerances = _tolerances(method, options, arguments)
    ctol = tolerances.pop("ctol")
    ess = {ESS[name]: value for name, value in options.items() if name in ESS}
    groups = {name: _group(name, options.get(name)) for name in GROUPS}
    for name in groups["linear_constraint_options"]:
        if name not in LINEAR_OPTIONS:
            raise SettingsError(unknown_name("linear constraint option", name, LINEAR_OPTIONS))
    taken = {*UNIVERSAL, *ESS, *GROUPS}
    return RunOptions(
        tolerances,
        ctol,
        {name: value for name, value in options.items() if name not in taken},
        SpectralScale(**ess),
        *groups.values(),
    )


def _check_names(method: Method, options: Mapping[str, Any]) -> None:
    if method.options is None:
        return
    known = (*dict.fromkeys((*method.options, *UNIVERSAL, *ESS, *GROUPS)),)
    for name in options:
        if name not in known:
            raise SettingsError(unknown_name("option", str(name), known))


def _tolerances(method: Method, options: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the universal options: those of the dictionary, else the arguments, else the defaults."""
    defaults = {
        "ftol": method.ftol,
        "xtol": DEFAULT_XTOL,
        "gtol": DEFAULT_GTOL,
        "ctol": DEFAULT_CTOL,
        "maxiter": method.maxiter,
    }
    found = {}
    for name in UNIVERSAL:
        stated = arguments.get(name)
        if name in options and stated is not None and options[name] != stated:
            raise SettingsError(
                f"{name} is {stated} as an argument and {options[name]} among the options. Give it once."
            )
        chosen = options[name] if name in options else defaults[name] if stated is None else stated
        found[name] = _checked(name, chosen)
    return found


def _checked(name: str, value: Any) -> Any:
    if name == "maxiter":
        if value is None or int(value) != value or value < 1:
            raise SettingsError(f"maxiter = {value} is not a whole number of at least 1. Give one.")
        return int(value)
    if value is None or value == 0.0:
        return None
    if not (np.isfinite(value) and value > 0.0):
        raise SettingsError(f"{name} = {value} is not positive. Give a small number; 0, or None as an option: no test.")
    return float(value)


def _group(name: str, given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise SettingsError(f"{name} is {given!r}, but is a dictionary of options. Give one.")
    return dict(given)
