"""A user's own function as an objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.objectives.objective import (
    AbstractObjective,
    Evaluation,
    ObjectiveTraits,
    evaluation_from_residuals,
)
from fieldfit.objectives.residuals import Goal
from fieldfit.parameters import Parameters, UserFunction, as_parameters
from fieldfit.typing import Vector


class FunctionObjective(AbstractObjective):
    """Predictions or residuals written as a Python function of named parameters, fitted by least squares.

    The function takes its parameters as they were given: a dictionary from name to array, or a nested structure. What
    it returns is squared, a single number too; for a loss that is to be minimised as it is there is `ScalarObjective`.

    Args:
        function: Takes the parameters and returns an array of predictions.
        parameters: `Parameters`, a list of `Parameter`, or a mapping or nested container of start values; the
            function gets the same structure.
        goal: Target or bounds, weight and normalization of the predictions; default: the predictions are residuals.
        derivatives: "jax" if JAX can trace the function, "differences" if it cannot, or a function that returns
            the Jacobian, shape (m, elements).
        name: Name of the term in reports.
        is_noisy: Two calls at one point may differ, as with a simulation that is sampled.

    Raises:
        SettingsError: `derivatives` is none of these, or what the functions return is not real numbers or has the wrong
            shape.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> import fieldfit
        >>> t = np.linspace(0.0, 1.0, 20)
        >>> decay = lambda p: p["a"] * jnp.exp(-p["k"] * t)
        >>> goal = fieldfit.Goal(target=2.0 * np.exp(-3.0 * t))
        >>> objective = fieldfit.FunctionObjective(decay, {"a": 1.0, "k": 1.0}, goal=goal)
        >>> result = fieldfit.LeastSquaresOptimizer().optimize(objective)
        >>> round(float(result.x["k"]), 6)
        3.0
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        parameters: Any,
        *,
        goal: Goal | None = None,
        derivatives: str | Callable[[Any], Any] = "jax",
        name: str = "residuals",
        is_noisy: bool = False,
    ) -> None:
        self._parameters = as_parameters(parameters)
        self._goal = goal or Goal()
        self._name = name
        self._traits = _traits(derivatives, has_residuals=True, is_noisy=is_noisy)
        self._model = UserFunction(function, self._parameters, derivatives)
        self._size = 0

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return self._traits

    def initial_state(self) -> None:
        return None

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        if not (derivatives and self._traits.has_derivatives):
            return evaluation_from_residuals(self._goal.residuals(self._model(values).ravel()), None)
        prediction, jacobian = self._model.with_derivatives(values)
        prediction = prediction.ravel()
        jacobian = _shaped(jacobian, (prediction.size, values.size), "Jacobian")
        return evaluation_from_residuals(self._goal.residuals(prediction), self._goal.jacobian(prediction, jacobian))

    def term_slices(self) -> dict[str, slice]:
        if not self._size:
            self._size = self._goal.residuals(np.ravel(self._model(self._parameters.flat))).size
        return {self._name: slice(0, self._size)}

    def traced(self, values: Any) -> Any:
        return self._goal.traced_residuals(self._model.traced(values).ravel())


class ScalarObjective(AbstractObjective):
    """A scalar loss written as a Python function of named parameters.

    Args:
        function: Takes the parameters and returns a scalar.
        parameters: `Parameters`, a list of `Parameter`, or a mapping or nested container of start values; the
            function gets the same structure.
        derivatives: "jax", "differences", or a function that returns the gradient, shape (elements,).
        is_noisy: Two calls at one point may differ, as with a simulation that is sampled.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        parameters: Any,
        *,
        derivatives: str | Callable[[Any], Any] = "jax",
        is_noisy: bool = False,
    ) -> None:
        self._parameters = as_parameters(parameters)
        self._traits = _traits(derivatives, has_residuals=False, is_noisy=is_noisy)
        self._model = UserFunction(function, self._parameters, derivatives)

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return self._traits

    def initial_state(self) -> None:
        return None

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        if not (derivatives and self._traits.has_derivatives):
            return Evaluation(self._scalar(self._model(values)))
        loss, gradient = self._model.with_derivatives(values)
        cost = self._scalar(loss)
        return Evaluation(cost, gradient=_shaped(gradient, (self._parameters.size,), "gradient"))

    def term_slices(self) -> dict[str, slice]:
        return {}

    def traced(self, values: Any) -> Any:
        loss = self._model.traced(values)
        _check_is_one(loss)
        return loss.reshape(())

    def _scalar(self, loss: np.ndarray) -> float:
        if loss.size != 1:
            _check_is_one(loss)
        return loss.item()


def _check_is_one(loss: Any) -> None:
    if np.size(loss) != 1:
        raise SettingsError(
            f"The loss function returned an array of shape {np.shape(loss)}, but a loss is one number. "
            'Sum it, or fit it by least squares: FunctionObjective, or Problem(..., kind="residuals").'
        )


def _shaped(derivatives: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Return derivatives in the shape of flat arrays; anything else would pair them with the wrong parameters."""
    found = np.asarray(derivatives)
    if found.shape == shape:
        return found
    if found.size != np.prod(shape) or (found.ndim and found.shape[-1:] != shape[-1:]):
        raise SettingsError(
            f"The {what} has the shape {found.shape}, but {shape} is needed: one column per element of the parameters. "
            "Correct the function that computes it."
        )
    return found.reshape(shape)


def _traits(derivatives: object, *, has_residuals: bool, is_noisy: bool) -> ObjectiveTraits:
    return ObjectiveTraits(
        has_residuals=has_residuals,
        has_derivatives=derivatives != "differences",
        is_traceable=derivatives == "jax",
        is_noisy=is_noisy,
    )
