"""A plain function as an objective: how it takes its parameters, and what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fieldfit.errors import SettingsError
from fieldfit.objectives import AbstractObjective, FunctionObjective, ScalarObjective
from fieldfit.parameters import Parameters
from fieldfit.parameters.structure import parameters_from_bounds, structured_parameters
from fieldfit.registry import unknown_name

KINDS = ("loss", "residuals")
CALLS = ("structure", "positional", "keywords")


@dataclass(frozen=True)
class Positional:
    """A function of several arguments as one of their list or tuple."""

    function: Callable[..., Any]

    def __call__(self, structured: Any) -> Any:
        """Return what the function returns."""
        return self.function(*structured)


@dataclass(frozen=True)
class Keywords:
    """A function of keyword arguments as one of their dictionary."""

    function: Callable[..., Any]

    def __call__(self, structured: Mapping[str, Any]) -> Any:
        """Return what the function returns."""
        return self.function(**structured)


def objective_of(
    function: Callable[..., Any],
    parameters: Any,
    bounds: Any,
    *,
    call: str,
    kind: str,
    derivatives: str | Callable[..., Any],
) -> AbstractObjective:
    """Return a plain function as an objective.

    Args:
        function: Of the parameters.
        parameters: Start values, in any structure, or `Parameters`; None: from the bounds.
        bounds: See `Problem`.
        call: "structure", "positional" or "keywords".
        kind: "loss" or "residuals".
        derivatives: "jax", "differences", or a function that is called like the other one.

    Raises:
        ParameterError: Parameters or bounds cannot be used.
        SettingsError: An option has a value it cannot have, or the function does not take what `call` says.
    """
    if not callable(function):
        raise SettingsError(f"The objective is {function!r}, which cannot be called. Give a function or an objective.")
    if kind not in KINDS:
        raise SettingsError(unknown_name("kind of function", kind, KINDS))
    made = structured_parameters(parameters, bounds) if parameters is not None else parameters_from_bounds(bounds)
    structured = called(function, made, call)
    ways = derivatives if isinstance(derivatives, str) else called(derivatives, made, call)
    if kind == "residuals":
        return FunctionObjective(structured, made, derivatives=ways)
    return ScalarObjective(structured, made, derivatives=ways)


def called(function: Callable[..., Any], parameters: Parameters, call: str) -> Callable[[Any], Any]:
    """Return a function of the parameters in their structure, whatever way it takes them.

    Args:
        function: Of the user.
        parameters: With their structure.
        call: "structure", "positional" or "keywords".

    Raises:
        SettingsError: There is no such way, or function and structure do not fit it.
    """
    if call not in CALLS:
        raise SettingsError(unknown_name("way to call a function", call, CALLS))
    structured = parameters.tree(parameters.flat)
    if call == "structure":
        _check_call(function, (structured,), {}, parameters, call)
        return function
    if call == "keywords":
        if not isinstance(structured, Mapping):
            raise SettingsError(
                f'call="keywords" needs a dictionary of parameters, but they are a {type(structured).__name__}. Give '
                'a dictionary, or call="positional" for a list.'
            )
        _check_call(function, (), dict(structured), parameters, call)
        return Keywords(function)
    if not isinstance(structured, list | tuple):
        raise SettingsError(
            f'call="positional" needs a list or tuple of parameters, but they are a {type(structured).__name__}. Give '
            'a list, or call="keywords" for a dictionary.'
        )
    _check_call(function, tuple(structured), {}, parameters, call)
    return Positional(function)


def _check_call(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    parameters: Parameters,
    call: str,
) -> None:
    """Refuse a function that could not be called so; one without a signature is called and seen."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise SettingsError(
            f'{name}{signature} cannot be called with the parameters {", ".join(parameters.names)} and call="{call}": '
            f'{error}. "structure" gives them as one argument, "positional" those of a list one by one, "keywords" '
            "those of a dictionary by name."
        ) from error
