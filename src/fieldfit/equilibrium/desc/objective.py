"""Objectives of DESC as objectives of named parameters.

Residuals are DESC's `compute_scaled_error`: target or bounds, weight, normalization and quadrature applied. Derivatives
are products of its Jacobian with tangents, `jvp_scaled_error`, in as many directions as can vary: where linear
equalities leave x = x_p + Z y, these are the columns of an orthonormal basis Q of the range of Z, and

    J := (J Q) Q^T,        so that J Z is exact.

Residuals and products are one program, which DESC's own optimizers compile as two. The objective goes into it as an
argument and not as a constant: another one of the same structure, such as that of the same equilibrium at another
boundary, finds the program compiled. So does a call with more tangents, for instance without linear equalities: it is
made in blocks of as many as the first call had.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.linalg

from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameters
from fieldfit.precision import in_double_precision
from fieldfit.typing import Matrix, Vector

ERRORS, VALUES = "scaled_error", "scaled"
"""Quantities of DESC's objectives: relative to target or bounds, and as they are."""


MOST_BLOCKS = 2
"""Blocks, or parts of a block, that cost less than another program, which takes seconds to compile."""


class DescObjective(AbstractObjective):
    """An ObjectiveFunction of DESC over named parameters.

    Args:
        objective: The ObjectiveFunction, built.
        parameters: The arrays of its things, in its order.
        quantity: "scaled_error", or "scaled": values without target and bounds.

    Attributes:
        objective: The ObjectiveFunction.
    """

    def __init__(self, objective: Any, parameters: Parameters, *, quantity: str = ERRORS) -> None:
        self.objective = objective
        self._parameters = parameters
        self._columns = np.arange(parameters.size)
        self._tangents, self._basis = np.eye(parameters.size), None
        self._program, self._width = DescProgram(objective, quantity), _Width()

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        # JAX could trace it from end to end, but programs of second derivatives take minutes to compile; differences of
        # Jacobians cost a few milliseconds each.
        return ObjectiveTraits(has_residuals=True, has_derivatives=True, is_directional=True)

    def for_parameters(self, parameters: Parameters) -> DescObjective:
        made = copy.copy(self)
        made._parameters, made._columns = parameters, _varying(parameters)
        made._tangents, made._basis = np.eye(parameters.size)[made._columns], None
        return made

    def along(self, directions: Matrix) -> DescObjective:
        basis = _orthonormal(directions)
        made = copy.copy(self)
        made._columns = np.flatnonzero(np.any(basis, axis=1))
        made._tangents, made._basis = basis.T, basis[made._columns].T
        return made

    def initial_state(self) -> None:
        return None

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        if not derivatives:
            return evaluation_from_residuals(self._program.residuals(values), None)
        residuals, products = self._products(values)
        jacobian = products.T if self._basis is None else products.T @ self._basis
        return evaluation_from_residuals(residuals, jacobian, columns=self._columns)

    def term_slices(self) -> Mapping[str, slice]:
        found, start = {}, 0
        for place, part in enumerate(self.objective.objectives):
            name = part.name if part.name not in found else f"{part.name} ({place})"
            found[name] = slice(start, start + part.dim_f)
            start += part.dim_f
        return found

    def _products(self, values: Vector) -> tuple[Vector, Matrix]:
        """Return residuals, shape (m,), and products with all tangents, shape (tangents, m)."""
        count = self._tangents.shape[0]
        width = self._width.of(count)
        if width == count:
            return self._program.products(self._tangents, values)
        blocks = np.zeros((-(-count // width) * width, self._tangents.shape[1]))
        blocks[:count] = self._tangents
        parts = [self._program.products(block, values) for block in blocks.reshape(-1, width, blocks.shape[1])]
        return parts[0][0], np.concatenate([products for _, products in parts])[:count]


class _Width:
    """How many tangents a program is compiled for; shared by an objective and what is made of it."""

    def __init__(self) -> None:
        self._value = 0

    def of(self, count: int) -> int:
        """Return the width for so many tangents: the last one if that wastes no more than a call."""
        if not self._value / MOST_BLOCKS <= count <= MOST_BLOCKS * self._value:
            self._value = count
        return self._value


class DescProgram:
    """Residuals of an ObjectiveFunction, and their products with tangents.

    Args:
        objective: The ObjectiveFunction, built. What it holds is read once, here.
        quantity: "scaled_error" or "scaled".
    """

    def __init__(self, objective: Any, quantity: str) -> None:
        import jax

        if objective.use_jit:
            arrays, structure = jax.tree.flatten(objective)
            held = tuple(jax.numpy.asarray(array) for array in arrays)
            residuals, products = _compiled(structure, quantity)
            self._residuals, self._products = functools.partial(residuals, held), functools.partial(products, held)
        else:
            residuals, products = _functions(quantity)
            self._residuals = in_double_precision(functools.partial(residuals, objective))
            self._products = in_double_precision(functools.partial(products, objective))

    def residuals(self, x: Vector) -> Vector:
        """Return the residuals at x, shape (m,)."""
        return self._residuals(x)

    def products(self, tangents: Matrix, x: Vector) -> tuple[Vector, Matrix]:
        """Return the residuals at x, shape (m,), and the products with tangents, shape (tangents, m).

        Args:
            tangents: Shape (tangents, elements).
            x: Shape (elements,).
        """
        return self._products(tangents, x)


def _functions(quantity: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return functions of an ObjectiveFunction and x, and of an ObjectiveFunction, tangents and x."""

    def residuals(objective: Any, x: Any) -> Any:
        return getattr(objective, f"compute_{quantity}")(x)

    def products(objective: Any, tangents: Any, x: Any) -> Any:
        return residuals(objective, x), getattr(objective, f"jvp_{quantity}")(tangents, x)

    return residuals, products


@functools.cache
def _compiled(structure: Any, quantity: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the same functions of the arrays that an ObjectiveFunction of a certain structure holds."""
    import jax

    def of_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(arrays: Any, *inputs: Any) -> Any:
            return function(jax.tree.unflatten(structure, arrays), *inputs)

        # Taking an objective apart at every call would take longer than many a call.
        return in_double_precision(jax.jit(called))

    residuals, products = _functions(quantity)
    return of_arrays(residuals), of_arrays(products)


def _varying(parameters: Parameters) -> np.ndarray:
    """Return the elements that vary, or that something follows or is followed by, by index."""
    varies = parameters.split(parameters.is_free)
    for follower, tie in parameters.ties.items():
        varies[follower] = varies[follower] | varies[tie.leader]
    return np.flatnonzero(np.concatenate([part.ravel() for part in varies.values()]))


def _orthonormal(directions: Matrix) -> Matrix:
    """Return an orthonormal basis of the space that columns span, with exact zeros where all of them have zeros."""
    moves = np.any(directions, axis=1)
    lengths = np.linalg.norm(directions, axis=0)
    basis = np.zeros_like(directions)
    # Of columns of length one: variables of different units differ by many powers of ten.
    basis[moves] = scipy.linalg.qr(directions[moves] / np.where(lengths > 0.0, lengths, 1.0), mode="economic")[0]
    return basis
