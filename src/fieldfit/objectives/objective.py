"""The contract of an objective, and the sum of several.

An objective answers `evaluate(values, state)`, residuals and derivatives together when both are wanted, so that an
expensive inner step (a relaxation, a solve) is done once. `state` holds what such an inner step starts from. It is
explicit and never changed in place: the same values and the same state give the same bits. Optimizers keep the state of
the last accepted point and hand it to the next evaluation.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from fieldfit.errors import ParameterError, SettingsError
from fieldfit.parameters import Parameters
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True)
class ObjectiveTraits:
    """What an objective declares about itself.

    Args:
        has_residuals: It is a sum of squares and hands out the residual vector.
        has_derivatives: It computes its own Jacobian or gradient; otherwise differences are taken.
        is_traceable: JAX can trace it end to end.
        is_noisy: Two evaluations at one point may differ, or rounding is far above that of 64 bits, so differences and
            tests of stationarity say little.
        derivative_source: Where derivatives come from, or why there are none, if there is more to say than "exact".
        is_directional: Its derivatives cost something for each direction; see `AbstractObjective.along`.
    """

    has_residuals: bool
    has_derivatives: bool
    is_traceable: bool = False
    is_noisy: bool = False
    derivative_source: str = ""
    is_directional: bool = False


class _GradientOfSquares:
    """The gradient J^T f of half a sum of squares, computed when it is first asked for.

    Sums, goals and conditions pass residuals and Jacobians on, and only the last of them is asked for a gradient.
    """

    def __get__(self, found: Evaluation | None, _: type | None = None) -> Vector | None:
        # A record that was given a gradient, or None, has it itself; see `evaluation_from_residuals` for the others.
        if found is None or found.residuals is None or found.jacobian is None:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            gradient = found.residuals.dot(found.jacobian)
        found.__dict__["gradient"] = gradient
        return gradient


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an objective answers.

    Args:
        cost: Half the sum of squared residuals, or the scalar; NaN where it could not be evaluated.
        residuals: Dimensionless residuals, weights applied, shape (m,); None for a scalar objective.
        jacobian: Derivatives of the residuals, shape (m, n); None if not asked for or not available.
        gradient: Derivatives of the cost, shape (n,); None if not asked for or not available.
        state: What the next evaluation starts from if this point is accepted.
        is_stale: The residuals under `state` differ from these (a pairing has changed): evaluate again once accepted.
        note: News for the progress display, such as a pairing that changed; empty if none.
        failure: Why it could not be evaluated; None if it could.
        n_differences: Further evaluations that were made for differences.
        columns: Elements of the parameters that derivatives are with respect to, by index, ascending; None: all. Those
            that vary have to be among them; see `AbstractObjective.for_parameters`.
        constraints: Values of the conditions of a problem, shape (rows,); None if it has none. Set by the problem.
        constraint_jacobian: Their derivatives, shape (rows, n); None if not asked for.
        violation: How far the worst row is outside its limits, in units of its tolerance; 0 where all hold.
    """

    cost: float
    residuals: Vector | None = None
    jacobian: Matrix | None = None
    gradient: Vector | None = cast("Any", _GradientOfSquares())  # noqa: RUF009, a descriptor whose default is None
    state: Any = None
    is_stale: bool = False
    note: str = ""
    failure: str | None = None
    n_differences: int = 0
    columns: np.ndarray | None = None
    constraints: Vector | None = None
    constraint_jacobian: Matrix | None = None
    violation: float = 0.0

    @property
    def score(self) -> float:
        """Sum of squared residuals, or the scalar."""
        return self.cost if self.residuals is None else 2.0 * self.cost

    @cached_property
    def is_finite(self) -> bool:
        """Whether cost and whatever derivatives there are hold only finite numbers."""
        # One number that is not finite makes the cost, or through J^T r the gradient, not finite either.
        return math.isfinite(self.cost) and (self.gradient is None or bool(np.isfinite(self.gradient).all()))

    def chained(self, jacobian: Matrix | None, gradient: Vector | None) -> Evaluation:
        """Return the same with derivatives with respect to other variables."""
        made = self._changed(jacobian=jacobian, gradient=gradient, columns=None)
        made.__dict__.pop("is_finite", None)
        return made

    def with_state(self, state: Any) -> Evaluation:
        """Return the same with another state for the next evaluation."""
        return self._changed(state=state)

    def constrained(
        self, values: Vector, jacobian: Matrix | None, *, violation: float, n_differences: int
    ) -> Evaluation:
        """Return the same with values, derivatives and violation of constraints, and evaluations made for them."""
        return self._changed(
            constraints=values,
            constraint_jacobian=jacobian,
            violation=violation,
            n_differences=self.n_differences + n_differences,
        )

    def is_better_than(self, other: Evaluation) -> bool:
        """Whether this one is worth more: what violates constraints less comes first, then the lower cost."""
        mine, theirs = max(self.violation, 1.0), max(other.violation, 1.0)
        return mine < theirs or (mine == theirs and self.cost < other.cost)

    def _changed(self, **changes: Any) -> Evaluation:
        # Not `dataclasses.replace` nor the constructor, which take longer than many a model.
        made = object.__new__(Evaluation)
        made.__dict__.update(self.__dict__, **changes)
        return made


def evaluation_from_residuals(residuals: Vector, jacobian: Matrix | None, **rest: Any) -> Evaluation:
    """Complete an evaluation from residuals and, where wanted, their Jacobian."""
    # Squares that overflow make the cost infinite, which counts as an evaluation that failed; `vdot` does not warn.
    cost = 0.5 * float(np.vdot(residuals, residuals))
    # Not the constructor, which takes longer than many a model and would set a gradient.
    made = object.__new__(Evaluation)
    made.__dict__.update(rest, cost=cost, residuals=residuals, jacobian=jacobian)
    return made


class AbstractObjective(ABC):
    """What is to be made small."""

    @property
    @abstractmethod
    def parameters(self) -> Parameters:
        """The parameters it acts on, with start values."""

    @property
    @abstractmethod
    def traits(self) -> ObjectiveTraits:
        """What it declares about itself."""

    @abstractmethod
    def initial_state(self) -> Any:
        """Return the state of the first evaluation; None for an objective without one."""

    @abstractmethod
    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        """Evaluate at given parameter values.

        Args:
            values: All elements of `parameters` in physical units, in order, shape (elements,).
            state: From `initial_state` or an earlier evaluation.
            derivatives: Whether Jacobian or gradient are wanted too.

        Returns:
            The evaluation; derivatives are with respect to all elements, or those in its `columns`.

        Raises:
            EvaluationError: It cannot be evaluated there.
        """

    @abstractmethod
    def term_slices(self) -> Mapping[str, slice]:
        """Return which residuals belong to which term, by name; empty for a scalar."""

    def for_parameters(self, parameters: Parameters) -> AbstractObjective:
        """Return the objective for its parameters with other starts, bounds, fixed marks and ties.

        An objective whose derivatives cost something for each parameter leaves out those that do not vary and says so
        in `Evaluation.columns`. By default there is nothing to prepare.

        Args:
            parameters: Those of `parameters`, in the same order.
        """
        return self

    def along(self, directions: Matrix) -> AbstractObjective:
        """Return the objective for values that move only within a linear space.

        Linear equalities leave fewer directions than elements. An objective that is `is_directional` may compute only
        the derivatives along these: its Jacobian times `directions` is right, the Jacobian itself need not be. By
        default there is nothing to prepare.

        Args:
            directions: Columns that span the space, in physical units, shape (elements, n).
        """
        return self

    def traced(self, values: Any) -> Any:
        """Return residuals or scalar of traced values, inside a function that JAX compiles.

        Args:
            values: All elements of `parameters` in physical units, a traced array of shape (elements,).

        Returns:
            A traced array, shape (m,) or ().

        Raises:
            SettingsError: The objective is not traceable.
        """
        raise SettingsError(
            f"{type(self).__name__} cannot be traced by JAX. Use an optimizer that runs outside the graph, such as "
            "LeastSquaresOptimizer or ScipyOptimizer."
        )


class ObjectiveFunction(AbstractObjective):
    """The sum of several objectives over the union of their parameters.

    Args:
        terms: Name to objective. Either all have residuals or none. Parameters of one name must be equal in shape;
            the first term that names one defines its start, bounds and scale.
        parameters: All parameters in their order, those of the terms among them; default: the union of theirs.

    Raises:
        ParameterError: No term, terms of both kinds, or one name with two shapes.
    """

    def __init__(self, terms: Mapping[str, AbstractObjective], *, parameters: Parameters | None = None) -> None:
        if len({term.traits.has_residuals for term in terms.values()}) != 1:
            raise ParameterError(
                "A sum needs at least one term, and either all terms have residuals or none has. "
                "Give the scalar terms as residuals, or all as scalars."
            )
        self._terms = dict(terms)
        declared = [] if parameters is None else [parameters]
        self._parameters = _union([*declared, *(term.parameters for term in terms.values())])
        elements = self._parameters.split(np.arange(self._parameters.size))
        self._columns = {
            name: np.concatenate([elements[entry.name].ravel() for entry in term.parameters])
            for name, term in terms.items()
        }
        own = next(iter(terms.values())).parameters.names
        self._is_one = len(terms) == 1 and own == self._parameters.names

    @property
    def terms(self) -> Mapping[str, AbstractObjective]:
        """Name to term."""
        return dict(self._terms)

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        traits = [term.traits for term in self._terms.values()]
        return ObjectiveTraits(
            has_residuals=traits[0].has_residuals,
            has_derivatives=all(entry.has_derivatives for entry in traits),
            is_traceable=all(entry.is_traceable for entry in traits),
            is_noisy=any(entry.is_noisy for entry in traits),
            is_directional=any(entry.is_directional for entry in traits),
        )

    @cached_property
    def _has_residuals(self) -> bool:
        return self.traits.has_residuals

    def for_parameters(self, parameters: Parameters) -> ObjectiveFunction:
        # A tie may join the parameters of two terms, so every term gives the derivatives of all that are its own.
        terms = {name: term.for_parameters(_freed(term.parameters)) for name, term in self._terms.items()}
        made = self.with_terms(terms)
        made._parameters = parameters
        return made

    def with_terms(self, terms: Mapping[str, AbstractObjective]) -> ObjectiveFunction:
        """Return the sum of other terms of the same names and parameters."""
        made = copy.copy(self)
        made._terms = dict(terms)
        return made

    def along(self, directions: Matrix) -> ObjectiveFunction:
        return self.with_terms(
            {name: term.along(directions[self._columns[name]]) for name, term in self._terms.items()}
        )

    def initial_state(self) -> dict[str, Any]:
        return {name: term.initial_state() for name, term in self._terms.items()}

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        parts = {
            name: term.evaluate(values[self._columns[name]], state[name], derivatives=derivatives)
            for name, term in self._terms.items()
        }
        if self._is_one:
            ((name, only),) = parts.items()
            if only.failure is None and only.columns is None:
                return only.with_state({name: only.state})
        rest = {
            "state": {name: part.state for name, part in parts.items()},
            "is_stale": any(part.is_stale for part in parts.values()),
            "note": "; ".join(part.note for part in parts.values() if part.note),
            "failure": "; ".join(f"{name}: {part.failure}" for name, part in parts.items() if part.failure) or None,
            "n_differences": sum(part.n_differences for part in parts.values()),
        }
        if rest["failure"]:
            return Evaluation(np.nan, **rest)
        if not self._has_residuals:
            gradients = self._spread({name: (part.gradient, part.columns) for name, part in parts.items()})
            gradient = None if gradients is None else np.sum(gradients, axis=0)
            return Evaluation(sum(part.cost for part in parts.values()), gradient=gradient, **rest)
        residuals = np.concatenate([part.residuals for part in parts.values() if part.residuals is not None])
        blocks = self._spread({name: (part.jacobian, part.columns) for name, part in parts.items()})
        jacobian = None if blocks is None else np.concatenate(blocks)
        return evaluation_from_residuals(residuals, jacobian, **rest)

    def term_slices(self) -> dict[str, slice]:
        slices, start = {}, 0
        for name, term in self._terms.items():
            own = term.term_slices()
            for label, part in own.items():
                slices[f"{name}.{label}" if len(own) > 1 else name] = slice(start + part.start, start + part.stop)
            start += max(part.stop for part in own.values()) if own else 0
        return slices

    def traced(self, values: Any) -> Any:
        import jax.numpy as jnp

        parts = [term.traced(values[self._columns[name]]) for name, term in self._terms.items()]
        return jnp.concatenate(parts) if self.traits.has_residuals else sum(parts)

    def _spread(
        self, derivatives: Mapping[str, tuple[np.ndarray | None, np.ndarray | None]]
    ) -> list[np.ndarray] | None:
        """Put the columns of every term where they belong among all parameters; None if a term has no derivatives."""
        result = []
        for name, (own, columns) in derivatives.items():
            if own is None:
                return None
            places = self._columns[name]
            spread = np.zeros((*own.shape[:-1], self._parameters.size))
            spread[..., places if columns is None else places[columns]] = own
            result.append(spread)
        return result


def _freed(parameters: Parameters) -> Parameters:
    """Return parameters of which none is fixed, and without ties."""
    if not (parameters.ties or any(np.any(entry.fixed) for entry in parameters)):
        return parameters
    return Parameters([entry.replace(fixed=False) for entry in parameters], structure=parameters.structure)


def _union(collections: Sequence[Parameters]) -> Parameters:
    entries, ties = {}, {}
    for collection in collections:
        for entry in collection:
            known = entries.setdefault(entry.name, entry)
            if known.shape != entry.shape:
                raise ParameterError(
                    f"Parameter {entry.name!r} has the shape {known.shape} in one term and {entry.shape} in another. "
                    "Rename one of them."
                )
        ties |= collection.ties
    names = tuple(entries)
    # A nested structure survives if one term has all parameters in it.
    structure = next((entry.structure for entry in collections if entry.structure and entry.names == names), None)
    return Parameters(entries.values(), ties, structure)
