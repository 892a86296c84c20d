"""Quantities of a plasma as terms of an objective: a target for the aspect ratio, bounds for beta, and the like."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fieldfit.equilibrium.equilibrium import Equilibrium
from fieldfit.equilibrium.plasma import Plasma, plasma_tables
from fieldfit.objectives import AbstractObjective, Evaluation, Goal, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameters
from fieldfit.precision import in_double_precision
from fieldfit.typing import Vector

QUICKLY = {"xla_backend_optimization_level": 0}
"""Options of the compiler: programs that run for a twentieth of a millisecond are not worth optimizing for 0.2 s."""


class QuantityObjective(AbstractObjective):
    """How far a quantity of a plasma is from what it should be.

    Args:
        equilibrium: Start values, modes and profiles.
        quantity: Takes a `Plasma` and returns a number or an array.
        goal: Target or bounds, weight and normalization; default: the quantity should be zero.
        rho: Surfaces on which profiles are wanted, shape (surfaces,).
        name: Name of the term in reports.

    Example:
        >>> import fieldfit
        >>> from fieldfit.equilibrium import Equilibrium, PowerSeries, QuantityObjective
        >>> torus = Equilibrium.from_boundary(
        ...     4, Rb={0: 3.0, 1: 1.0}, Zb={-1: -1.0}, Psi=1.0, pressure=PowerSeries([0.0]), iota=PowerSeries([0.5])
        ... )
        >>> slender = QuantityObjective(torus, lambda plasma: plasma.aspect_ratio, fieldfit.Goal(target=3.5))
        >>> slender.evaluate(slender.parameters.flat, None, derivatives=False).residuals.round(12).tolist()
        [-0.5]
    """

    def __init__(
        self,
        equilibrium: Equilibrium,
        quantity: Callable[[Plasma], Any],
        goal: Goal | None = None,
        *,
        rho: Vector | Sequence[float] = (1.0,),
        name: str = "quantity",
    ) -> None:
        self.equilibrium = equilibrium
        self._quantity, self._goal, self._name = quantity, goal or Goal(), name
        self._parameters = equilibrium.parameters
        self._tables = plasma_tables(equilibrium, rho)
        self._size = 0

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return ObjectiveTraits(has_residuals=True, has_derivatives=True, is_traceable=True)

    def initial_state(self) -> None:
        return None

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        params = self._parameters.split(values)
        if not derivatives:
            found = _compiled(self._quantity)(self._tables, params)
            return evaluation_from_residuals(self._goal.residuals(found), None)
        found, blocks = _compiled_jacobian(self._quantity)(self._tables, params)
        jacobian = np.concatenate([blocks[name].reshape(found.size, -1) for name in self._parameters.names], axis=1)
        return evaluation_from_residuals(self._goal.residuals(found), self._goal.jacobian(found, jacobian))

    def term_slices(self) -> dict[str, slice]:
        if not self._size:
            params = self._parameters.values
            self._size = self._goal.residuals(_compiled(self._quantity)(self._tables, params)).size
        return {self._name: slice(0, self._size)}

    def traced(self, values: Any) -> Any:
        found = self._quantity(Plasma(self._tables, self._parameters.split(values)))
        return self._goal.traced_residuals(found.reshape(-1))


@functools.lru_cache(maxsize=64)
def _compiled(quantity: Callable[[Plasma], Any]) -> Callable[..., Any]:
    import jax

    # The tables are arguments: plasmas of one resolution share the program.
    program = jax.jit(lambda tables, params: quantity(Plasma(tables, params)).reshape(-1), compiler_options=QUICKLY)
    return in_double_precision(program)


@functools.lru_cache(maxsize=64)
def _compiled_jacobian(quantity: Callable[[Plasma], Any]) -> Callable[..., Any]:
    import jax

    def with_jacobian(tables: Any, params: Any) -> Any:
        found, pulled_back = jax.vjp(lambda varied: quantity(Plasma(tables, varied)).reshape(-1), params)
        (rows,) = jax.vmap(pulled_back)(jax.numpy.eye(found.size))
        return found, rows

    return in_double_precision(jax.jit(with_jacobian, compiler_options=QUICKLY))
