"""A user's own function of structured parameters as a function of the flat vector of all elements.

Units are attached to the parameters inside, and taken off what comes back: derivatives are those of plain numbers with
respect to plain numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.parameters.collection import Parameters
from fieldfit.precision import in_double_precision, in_double_precision_if_jax
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector
from fieldfit.units import strip

DERIVATIVES = ("jax", "differences")


class UserFunction:
    """A user's function of structured parameters as one of the flat vector, alone and with its derivatives.

    It can be pickled wherever the user's function can: what JAX compiled stays behind and is compiled anew.

    Args:
        function: Takes the parameters in the user's structure.
        parameters: Names, shapes and structure.
        derivatives: "jax", "differences", or a function that returns them.

    Raises:
        SettingsError: `derivatives` is none of these.
    """

    def __init__(
        self, function: Callable[[Any], Any], parameters: Parameters, derivatives: str | Callable[[Any], Any]
    ) -> None:
        if isinstance(derivatives, str) and derivatives not in DERIVATIVES:
            raise SettingsError(unknown_name("way to differentiate", derivatives, DERIVATIVES))
        self._function, self._parameters, self._derivatives = function, parameters, derivatives
        self._compile()

    def __call__(self, values: Vector) -> np.ndarray:
        """Return what the function returns.

        Raises:
            EvaluationError: The function raised, and the original exception is the cause; or what it returned is no
                real numbers.
        """
        return self._guarded(self._plain, values)

    def with_derivatives(self, values: Vector) -> tuple[np.ndarray, np.ndarray]:
        """Return what the function returns and its derivatives.

        Raises:
            EvaluationError: The function raised; the original exception is the cause.
        """
        return self._guarded(self._differentiated, values)

    def traced(self, values: Any) -> Any:
        """Return what the function returns for traced values."""
        import jax

        found = as_numbers(self._function(self._parameters.tree(values)), jax.numpy)
        # Derivatives of whole numbers are refused by JAX, but those of a constant are zero.
        return found.astype(float) if found.dtype.kind in "iu" else found

    def __getstate__(self) -> tuple[Any, ...]:
        return self._function, self._parameters, self._derivatives

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._function, self._parameters, self._derivatives = state
        self._compile()

    def _compile(self) -> None:
        plain, differentiated = self._traceable() if self._derivatives == "jax" else self._opaque()
        self._plain: Callable[[Vector], Any] = plain
        self._differentiated: Callable[[Vector], Any] = differentiated

    def _opaque(self) -> tuple[Callable[[Vector], Any], Callable[[Vector], Any]]:
        tree, function, given = self._parameters.tree, self._function, self._derivatives

        def plain(values: Vector) -> np.ndarray:
            return np.asarray(as_numbers(function(tree(values)), np), dtype=float)

        def with_given(values: Vector) -> tuple[np.ndarray, np.ndarray]:
            if not callable(given):
                raise SettingsError("There are no exact derivatives to compute: differences were asked for.")
            structured = tree(values)
            return plain(values), np.asarray(strip(given(structured)), dtype=float)

        return in_double_precision_if_jax(plain), in_double_precision_if_jax(with_given)

    def _traceable(self) -> tuple[Callable[[Vector], Any], Callable[[Vector], Any]]:
        import jax

        def with_jacobian(values: Any) -> tuple[Any, Any]:
            shape = jax.eval_shape(self.traced, values)
            differentiate = jax.jacfwd if shape.size > values.size else jax.jacrev
            return self.traced(values), differentiate(self.traced)(values)

        return in_double_precision(jax.jit(self.traced)), in_double_precision(jax.jit(with_jacobian))

    def _guarded(self, function: Callable[[Vector], Any], values: Vector) -> Any:
        try:
            return function(values)
        except SettingsError as error:
            raise EvaluationError(str(error)) from error
        except Exception as error:
            labels = self._parameters.labels
            listing = ", ".join(f"{label} = {value:g}" for label, value in zip(labels, values, strict=True))
            hint = ""
            if type(error).__module__.startswith("jax") and "Tracer" in str(error):
                hint = ' JAX cannot trace it: use jax.numpy inside, or state derivatives="differences".'
            first_line = next(iter(str(error).splitlines()), "no message").rstrip(".")
            reason = f"{type(error).__name__}: {first_line}"
            raise EvaluationError(f"The function raised {reason}.{hint} The parameters were: {listing}.") from error


def as_numbers(found: Any, xp: Any) -> Any:
    """Return what a function returned as an array of real numbers without units.

    Args:
        found: A number, an array, a quantity, or a list of such; traced ones with the module of JAX.
        xp: Module of arrays, that of NumPy or of JAX.

    Raises:
        SettingsError: It is something else.
    """
    if found is None:
        raise SettingsError("The function returned nothing (None). Let it return a number or an array of numbers.")
    if not isinstance(found, str | bytes | dict | set):
        try:
            numbers = xp.asarray(strip(found))
        except (TypeError, ValueError):
            numbers = None
        if numbers is not None and numbers.dtype.kind == "c":
            raise SettingsError(
                "The function returned complex numbers, of which none is smaller than another. Let it return real "
                "ones, such as their absolute values, or real and imaginary parts one after the other."
            )
        if numbers is not None and numbers.dtype.kind in "iufV":
            return numbers
    shown = repr(found)
    raise SettingsError(
        f"The function returned {shown if len(shown) <= 60 else shown[:57] + '...'} ({type(found).__name__}), which is "
        "not a number or an array of numbers. Let it return one."
    )
