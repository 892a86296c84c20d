"""Constraints as SciPy has them: its objects, and dictionaries of functions of the flat vector.

The flat vector holds all elements of the parameters as plain numbers in their units, in the user's own order, which is
that of `Parameters.labels`. A function that JAX can trace is differentiated exactly even if a Jacobian is not given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse

from fieldfit.constraints.constraint import AbstractConstraint, Condition, as_rows
from fieldfit.errors import ConstraintError
from fieldfit.objectives import FunctionObjective
from fieldfit.parameters import Parameters
from fieldfit.registry import unknown_name
from fieldfit.typing import Matrix, Vector

KINDS = {"eq": (0.0, 0.0), "ineq": (0.0, np.inf)}
"""SciPy's word for a kind of constraint to the limits of its function."""

KEYS = ("type", "fun", "jac", "args")


@dataclass(frozen=True, eq=False)
class FlatLinear(AbstractConstraint):
    """Rows of a matrix times the flat vector, between limits.

    Args:
        matrix: Shape (m, elements).
        lower: Smallest values.
        upper: Largest values.
        name: In reports.
    """

    matrix: Matrix
    lower: Any
    upper: Any
    name: str = "linear constraint"

    @property
    def label(self) -> str:
        return self.name

    def condition(self, parameters: Parameters) -> Condition:
        matrix = np.atleast_2d(np.asarray(self.matrix, dtype=float))
        if matrix.shape[1] != parameters.size:
            raise ConstraintError(
                f"{self.label} has a matrix of {matrix.shape[1]} columns, but the parameters have {parameters.size} "
                "elements. Give one column per element."
            )
        low, high = (_limits(end, matrix.shape[0], self.label) for end in (self.lower, self.upper))
        return Condition(self.label, low, high, matrix=matrix)


@dataclass(frozen=True, eq=False)
class FlatNonlinear(AbstractConstraint):
    """A function of the flat vector, between limits.

    Args:
        function: Takes the vector of all elements, returns a number or an array.
        lower: Smallest values.
        upper: Largest values.
        jacobian: Takes the same, returns shape (m, elements); None: by JAX if it can trace the function, else by
            differences.
        name: In reports.
    """

    function: Callable[[Any], Any]
    lower: Any
    upper: Any
    jacobian: Callable[[Any], Any] | None = None
    name: str = "constraint"

    @property
    def label(self) -> str:
        return self.name

    def condition(self, parameters: Parameters) -> Condition:
        derivatives = self.jacobian or ("jax" if _is_traceable(self.function, parameters.size) else "differences")
        plain = parameters.magnitudes()
        objective = FunctionObjective(
            OfFlat(self.function),
            Parameters(plain.entries, plain.ties),
            derivatives=OfFlat(derivatives) if callable(derivatives) else derivatives,
            name=self.label,
        )
        size = objective.term_slices()[self.label].stop
        low, high = (_limits(end, size, self.label) for end in (self.lower, self.upper))
        return Condition(self.label, low, high, objective=objective)


@dataclass(frozen=True)
class OfFlat:
    """A function of the flat vector as one of arrays by name."""

    function: Callable[[Any], Any]

    def __call__(self, named: Mapping[str, Any]) -> Any:
        """Return what the function returns for the elements of all arrays, one after the other."""
        parts = [value.reshape(-1) for value in named.values()]
        if all(isinstance(part, np.ndarray) for part in parts):
            return self.function(np.concatenate(parts))
        import jax

        return self.function(jax.numpy.concatenate(parts))


@dataclass(frozen=True)
class WithArguments:
    """A function with further arguments, as SciPy's dictionaries have them under "args"."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __call__(self, flat: Any) -> Any:
        """Return what the function returns."""
        return self.function(flat, *self.arguments)


def _limits(given: Any, size: int, label: str) -> Vector:
    """Return limits of one row each, shape (size,)."""
    found = as_rows(given, f"A limit of {label}")
    if found.size not in (1, size):
        raise ConstraintError(
            f"{label} has {found.size} limits, but {size} row{'s' if size != 1 else ''}. Give one for all, or one for "
            "each."
        )
    return np.broadcast_to(found, (size,)).copy()


def as_constraints(given: Any) -> tuple[AbstractConstraint, ...]:
    """Take constraints as users give them: ours, SciPy's objects, SciPy's dictionaries, one or several.

    Args:
        given: A constraint or a sequence of them.

    Raises:
        ConstraintError: Something is none of these, or a dictionary has unknown or missing keys.
    """
    if given is None:
        return ()
    if isinstance(given, Sequence) and not isinstance(given, str):
        return tuple(_as_constraint(entry, place) for place, entry in enumerate(given))
    return (_as_constraint(given, 0),)


def _as_constraint(given: Any, place: int) -> AbstractConstraint:
    label = f"constraint {place}"
    if isinstance(given, AbstractConstraint):
        return given
    if isinstance(given, scipy.optimize.LinearConstraint):
        matrix: Any = given.A
        return FlatLinear(matrix.toarray() if scipy.sparse.issparse(matrix) else matrix, given.lb, given.ub, label)
    if isinstance(given, scipy.optimize.NonlinearConstraint):
        jacobian = given.jac if callable(given.jac) else None
        return FlatNonlinear(given.fun, given.lb, given.ub, jacobian, label)
    if isinstance(given, Mapping):
        return _from_dictionary(given, label)
    raise ConstraintError(
        f"Constraint {place} is {given!r}. Give a constraint such as SumTo or NonlinearInequality, one of SciPy's "
        "LinearConstraint or NonlinearConstraint, or a dictionary with 'type' and 'fun'."
    )


def _from_dictionary(given: Mapping[str, Any], label: str) -> FlatNonlinear:
    for key in given:
        if key not in KEYS:
            raise ConstraintError(unknown_name("key of a constraint", str(key), KEYS))
    kind, function = str(given.get("type", "")).lower(), given.get("fun")
    if kind not in KINDS or not callable(function):
        raise ConstraintError(
            f"{label} has the type {given.get('type')!r} and the function {function!r}. Give 'type': 'eq' or 'ineq', "
            "and 'fun': a function of the flat vector."
        )
    jacobian = given.get("jac")
    arguments = tuple(given.get("args", ()))
    if arguments:
        function = WithArguments(function, arguments)
        jacobian = WithArguments(jacobian, arguments) if callable(jacobian) else None
    return FlatNonlinear(function, *KINDS[kind], jacobian if callable(jacobian) else None, label)


def _is_traceable(function: Callable[[Any], Any], size: int) -> bool:
    """Whether JAX can trace a function that was written for SciPy: it cannot declare it."""
    import jax

    try:
        with jax.enable_x64(True):
            jax.eval_shape(lambda flat: jax.numpy.asarray(function(flat)), jax.ShapeDtypeStruct((size,), float))
    except Exception:
        return False
    return True
