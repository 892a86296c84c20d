"""One equality as a function of its inner variables z and the outer elements y."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fieldfit.errors import EvaluationError
from fieldfit.objectives import AbstractObjective
from fieldfit.precision import in_double_precision
from fieldfit.projections.inner_coordinates import AffineMap, InnerCoordinates
from fieldfit.projections.linearization import Linearization
from fieldfit.typing import Matrix, Vector

DIFFERENCE_STEP = 1.5e-8
"""Step of differences of Jacobians, relative to the length of the inner variables: the root of the rounding error."""


class Linearized(NamedTuple):
    """The equality at a point: factorized derivatives, and its own state."""

    model: Linearization
    state: Any


class InnerProblem:
    """F(z, y), the residuals of an equality.

    Args:
        name: Of the equality, for messages.
        equality: Residuals with derivatives.
        coordinates: The inner variables.
        elements: The equality's parameters as a function of z and y.
        varying: Which outer elements vary, by index; derivatives with respect to the others are zero.
    """

    def __init__(
        self,
        name: str,
        equality: AbstractObjective,
        coordinates: InnerCoordinates,
        elements: AffineMap,
        varying: np.ndarray,
    ) -> None:
        self.name, self.equality, self.coordinates = name, equality, coordinates
        self._elements, self._varying = elements, varying

    @property
    def can_be_traced(self) -> bool:
        """Whether second derivatives come from JAX."""
        return self.equality.traits.is_traceable

    @property
    def n_curvature_evaluations(self) -> int:
        """Evaluations of the equality that second derivatives take."""
        return 0 if self.can_be_traced else 1 + self._elements.inner.shape[1]

    def residuals(self, z: Vector, y: Vector, state: Any) -> Vector:
        """Return F, shape (m,).

        Raises:
            EvaluationError: It cannot be evaluated there.
        """
        found = self.equality.evaluate(self._elements.at(z, y), state, derivatives=False)
        if found.residuals is None or found.failure or not math.isfinite(found.cost):
            raise EvaluationError(f"{self.name}: {found.failure or 'a residual is not finite'}")
        return found.residuals

    def linearized(self, z: Vector, y: Vector, state: Any) -> Linearized:
        """Return F and its factorized derivatives.

        Raises:
            EvaluationError: It cannot be evaluated there, or an inner parameter is outside its bounds.
        """
        if not self.coordinates.is_inside(z, y):
            names = ", ".join(self.coordinates.names)
            raise EvaluationError(f"{self.name}: the inner parameters {names} are outside their bounds")
        found = self.equality.evaluate(self._elements.at(z, y), state, derivatives=True)
        if found.residuals is None or found.jacobian is None or found.failure or not found.is_finite:
            raise EvaluationError(f"{self.name}: {found.failure or 'a residual or derivative is not finite'}")
        along_inner, along_outer = self._chained(found.jacobian, found.columns)
        return Linearized(Linearization.of(found.residuals, along_inner, along_outer), found.state)

    def with_curvature(self, model: Linearization, z: Vector, y: Vector, state: Any) -> Linearization:
        """Return the factorized derivatives with what second derivatives add.

        Raises:
            EvaluationError: Differences of Jacobians cannot be taken there.
        """
        rows = self._traced_rows if self.can_be_traced else self._differenced_rows
        return model.with_curvature(*rows(model.residuals, z, y, state))

    def _traced_rows(self, residuals: Vector, z: Vector, y: Vector, state: Any) -> tuple[Matrix, Matrix]:
        """Return S_zz and S_zy."""
        found = self._products(self._elements.at(z, y), residuals, self._elements.inner.T)
        return self._chained(found, None)

    def _differenced_rows(self, residuals: Vector, z: Vector, y: Vector, state: Any) -> tuple[Matrix, Matrix]:
        """Return S_zz and S_zy from differences of the gradient F_v^T F with F held."""
        here, columns = self._weighted(residuals, z, y, state)
        step = DIFFERENCE_STEP * self.coordinates.size(z, y)
        moved = [self._weighted(residuals, z + step * along, y, state)[0] for along in np.eye(z.size)]
        return self._chained((np.stack(moved) - here) / step, columns)

    def _weighted(self, residuals: Vector, z: Vector, y: Vector, state: Any) -> tuple[Vector, np.ndarray | None]:
        found = self.equality.evaluate(self._elements.at(z, y), state, derivatives=True)
        if found.jacobian is None or found.failure or not found.is_finite:
            raise EvaluationError(f"{self.name}: {found.failure or 'no second derivative can be taken'}")
        return residuals @ found.jacobian, found.columns

    def _chained(self, rows: Matrix, columns: np.ndarray | None) -> tuple[Matrix, Matrix]:
        """Turn derivatives with respect to elements into those with respect to z and y."""
        inner, outer = self._elements.inner, self._elements.outer[:, self._varying]
        along_outer = np.zeros((rows.shape[0], self._elements.outer.shape[1]))
        if columns is not None:
            inner, outer = inner[columns], outer[columns]
        along_outer[:, self._varying] = rows @ outer
        return rows @ inner, along_outer

    @cached_property
    def _products(self) -> Callable[[Vector, Vector, Matrix], Matrix]:
        """The second derivatives of residuals @ F times directions, of residuals that are held."""
        import jax

        def products(values: Any, residuals: Any, directions: Any) -> Any:
            gradient = jax.grad(lambda v: residuals @ self.equality.traced(v))
            return jax.vmap(lambda direction: jax.jvp(gradient, (values,), (direction,))[1])(directions)

        return in_double_precision(jax.jit(products))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_products"}
