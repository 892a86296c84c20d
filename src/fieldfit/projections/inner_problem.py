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

DIFFERENCE_STEP = 3e-7
"""Step of central differences of Jacobians, relative to the length of the inner variables.

Well below the cubic root of the rounding error: the residuals that weight the Jacobian are small, so rounding is too,
and models with high modes bend on short lengths.
"""

MOST_DIFFERENCED = 128
"""Inner variables up to which differences of Jacobians cost less than a program of second derivatives.

Compiling one takes seconds for a model of some size, hundreds of Jacobians or more: 4 s for force balance with 108
inner variables, where differences take 0.4 s. Other orders of differentiation (reverse over forward, forward
over forward, one direction at a time) compile as long, and less optimization makes the program thirty times slower.
"""

PRICE_OF_TRACED = 10
"""Evaluations that take as long as a compiled program of second derivatives does, roughly."""


class Derivatives(NamedTuple):
    """F, shape (m,), F_z, shape (m, nz), F_y, shape (m, ny), and the equality's own state."""

    residuals: Vector
    inner: Matrix
    outer: Matrix
    state: Any


class Linearized(NamedTuple):
    """The equality at a point: factorized derivatives, and its own state."""

    model: Linearization
    state: Any


class SecondDerivatives(NamedTuple):
    """S_zz, shape (nz, nz), and S_zy, shape (nz, ny)."""

    inner: Matrix
    mixed: Matrix


class InnerProblem:
    """F(z, y), the residuals of an equality.

    Args:
        name: Of the equality, for messages.
        equality: Residuals with derivatives.
        coordinates: The inner variables.
        elements: The equality's parameters as a function of z and y.
        varying: Which outer elements vary, by index; derivatives with respect to the others are zero.
        second_derivatives: "auto", "jax" or "differences"; see `InnerOptions`.
    """

    def __init__(
        self,
        name: str,
        equality: AbstractObjective,
        coordinates: InnerCoordinates,
        elements: AffineMap,
        varying: np.ndarray,
        *,
        second_derivatives: str = "auto",
    ) -> None:
        self.name, self.equality, self.coordinates = name, equality, coordinates
        self._elements, self._varying = elements, varying
        n_variables, is_traceable = elements.inner.shape[1], equality.traits.is_traceable
        is_worth_it = second_derivatives == "jax" or n_variables > MOST_DIFFERENCED
        self._uses_jax = is_traceable and is_worth_it and second_derivatives != "differences"
        self.n_curvature_evaluations = 0 if self._uses_jax else 2 * n_variables
        self.price_of_curvature = PRICE_OF_TRACED if self._uses_jax else self.n_curvature_evaluations

    def residuals(self, z: Vector, y: Vector, state: Any) -> Vector:
        """Return F, shape (m,).

        Raises:
            EvaluationError: It cannot be evaluated there.
        """
        found = self.equality.evaluate(self._elements.at(z, y), state, derivatives=False)
        if found.residuals is None or found.failure or not math.isfinite(found.cost):
            raise EvaluationError(f"{self.name}: {found.failure or 'a residual is not finite'}")
        return found.residuals

    def derivatives(self, z: Vector, y: Vector, state: Any) -> Derivatives:
        """Return F and its derivatives.

        Raises:
            EvaluationError: It cannot be evaluated there, or an inner parameter is outside its bounds.
        """
        if not self.coordinates.is_inside(z, y):
            names = ", ".join(self.coordinates.names)
            raise EvaluationError(f"{self.name}: the inner parameters {names} are outside their bounds")
        found = self.equality.evaluate(self._elements.at(z, y), state, derivatives=True)
        if found.residuals is None or found.jacobian is None or found.failure or not found.is_finite:
            raise EvaluationError(f"{self.name}: {found.failure or 'a residual or derivative is not finite'}")
        return Derivatives(found.residuals, *self._chained(found.jacobian, found.columns), found.state)

    def linearized(self, z: Vector, y: Vector, state: Any) -> Linearized:
        """Return F and its factorized derivatives; see `derivatives`."""
        found = self.derivatives(z, y, state)
        return Linearized(Linearization.of(found.residuals, found.inner, found.outer), found.state)

    def second_derivatives(self, residuals: Vector, z: Vector, y: Vector, state: Any) -> SecondDerivatives:
        """Return S = sum_i F_i F_i'' with F_i held.

        Raises:
            EvaluationError: Differences of Jacobians cannot be taken there.
        """
        if self._uses_jax:
            rows = self._products(self._elements.at(z, y), residuals, self._elements.inner.T)
            return SecondDerivatives(*self._chained(rows, None))
        step = DIFFERENCE_STEP * self.coordinates.size(z, y)
        ends = [
            [self._weighted(residuals, z + sign * step * along, y, state) for sign in (1.0, -1.0)]
            for along in np.eye(z.size)
        ]
        rows = np.stack([(ahead[0] - behind[0]) / (2.0 * step) for ahead, behind in ends])
        return SecondDerivatives(*self._chained(rows, ends[0][0][1]))

    def _weighted(self, residuals: Vector, z: Vector, y: Vector, state: Any) -> tuple[Vector, np.ndarray | None]:
        """Return the gradient of residuals @ F with respect to the elements, and which these are."""
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
