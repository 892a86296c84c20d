"""Optimizers of this library inside DESC, by its `register_optimizer`.

DESC hands out an objective and constraints as functions of one vector, in which it has taken away what linear
constraints decide, and wraps an equilibrium that is solved anew at every point. That wrapper has a memory: a Jacobian
moves the point that it continues from. So Jacobians of a wrapped objective are computed only where a point is better
than the best before, which is where a step is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.equilibrium.desc.loading import require_desc
from fieldfit.equilibrium.desc.nonlinear import NonlinearRows, scaled_limits
from fieldfit.equilibrium.desc.objective import ERRORS, VALUES
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.optimize import Optimizer, ThingsResult
from fieldfit.parameters import Parameter, Parameters
from fieldfit.precision import in_double_precision
from fieldfit.problem import Step
from fieldfit.typing import Vector

PREFIX = "fieldfit-"
NAMES = ("lsq-exact", "fmin-exact", "fmin-dogleg", "fmin-subspace", "lsq-auglag", "fmin-auglag")
FRUGAL = "lsq-exact"
"""The optimizer that accepts a point where the cost is lower and nowhere else."""

STATE, X = "state", "state.x"
"""Names of DESC's vector as a thing and as a parameter."""


def register_with_desc(names: Sequence[str] = NAMES, *, prefix: str = PREFIX) -> tuple[str, ...]:
    """Make optimizers known to `desc.optimize.Optimizer`.

    Args:
        names: As for `fieldfit.optimize.Optimizer`, without "proximal-", which DESC puts before them itself.
        prefix: Put before each, so that DESC's own stay what they are.

    Returns:
        The names by which DESC knows them.

    Raises:
        SettingsError: No optimizer is called so, or DESC is not installed.

    Example:
        ::

            import desc.optimize
            from fieldfit.equilibrium.desc import register_with_desc

            register_with_desc()
            desc.optimize.Optimizer("fieldfit-lsq-exact").optimize(...)
    """
    require_desc("register_with_desc")
    from desc.optimize import register_optimizer  # pyright: ignore[reportMissingImports]

    for name in names:
        Optimizer(name)
        takes_constraints = "auglag" in name
        register_optimizer(
            name=f"{prefix}{name}",
            description=f"{name} of fieldfit",
            scalar=name.startswith(("fmin", "scipy", "optax", "sgd")),
            equality_constraints=takes_constraints,
            inequality_constraints=takes_constraints,
            stochastic=name.startswith(("optax", "sgd")),
            hessian=name.startswith("fmin"),
        )(_Solver(name))
    return tuple(f"{prefix}{name}" for name in names)


@dataclass(frozen=True)
class _Solver:
    """One of our optimizers as a function that DESC calls.

    Args:
        name: Its name here.
    """

    name: str

    def __call__(  # noqa: PLR0913, DESC's signature
        self,
        objective: Any,
        constraint: Any,
        x0: Any,
        method: str,
        x_scale: Any,
        verbose: int,
        stoptol: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run, and return an OptimizeResult.

        Args:
            objective: Function of DESC's vector.
            constraint: The same of what must hold; None for nothing.
            x0: Start, shape (n,).
            method: The name that DESC knows.
            x_scale: "auto", or shape (n,).
            verbose: As in DESC.
            stoptol: "ftol", "xtol", "gtol", "ctol", "maxiter", "max_nfev".
            options: Of the optimizer; "callback" is called with x at every accepted point and may end the run.
        """
        told = dict(options or {})
        callback = told.pop("callback", None)
        start = np.asarray(x0, dtype=float)
        wrapped = Parameters([Parameter(X, start)])
        function = _VectorFunction(objective, wrapped, ERRORS, is_frugal=self.name == FRUGAL)
        _, result = Optimizer(self.name).optimize(
            _Vector(start),
            {"objective": function},
            [] if constraint is None else [_limits(constraint, wrapped, stoptol["ctol"])],
            **{key: stoptol[key] for key in ("ftol", "xtol", "gtol", "ctol", "maxiter")},
            x_scale=x_scale if isinstance(x_scale, str) else np.asarray(x_scale, dtype=float),
            verbose=verbose,
            options=told,
            observers=[] if callback is None else [_Callback(callback)],
        )
        return _desc_result(result)


class _Vector:
    """DESC's vector as a thing with one parameter."""

    name = STATE

    def __init__(self, x: Vector) -> None:
        self.x = x

    @property
    def params_dict(self) -> dict[str, Vector]:
        """The vector by name."""
        return {"x": self.x}

    def with_params(self, values: Mapping[str, Vector]) -> _Vector:
        """Return another one."""
        return _Vector(values["x"])


class _VectorFunction(AbstractObjective):
    """A function of DESC's vector as an objective; its state is the cost of the last accepted point.

    Args:
        function: An ObjectiveFunction, or a projection of one.
        parameters: The vector.
        quantity: "scaled_error" or "scaled".
        is_frugal: Whether no Jacobian is wanted where the cost is not below the last one, because such a point is not
            accepted.
    """

    def __init__(self, function: Any, parameters: Parameters, quantity: str, *, is_frugal: bool = False) -> None:
        self._parameters, self._is_frugal = parameters, is_frugal
        self._values = in_double_precision(getattr(function, f"compute_{quantity}"))
        self._jacobian = in_double_precision(getattr(function, f"jac_{quantity}"))
        self._size = int(function.dim_f)

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return ObjectiveTraits(has_residuals=True, has_derivatives=True)

    def initial_state(self) -> float:
        return math.inf

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        residuals = self._values(values)
        cost = 0.5 * float(residuals @ residuals)
        is_wanted = derivatives and (cost <= state or not self._is_frugal)
        return evaluation_from_residuals(residuals, self._jacobian(values) if is_wanted else None, state=cost)

    def term_slices(self) -> Mapping[str, slice]:
        return {"objective": slice(0, self._size)}


@dataclass(frozen=True)
class _Callback:
    """A function of DESC's vector as an observer.

    Args:
        function: Called at every accepted point; returning True ends the run.
    """

    function: Callable[[Vector], Any]

    def __call__(self, step: Step) -> bool:
        is_new = step.is_accepted and step.iteration > 0
        return is_new and self.function(np.asarray(step.values[X])) is True


def _limits(constraint: Any, parameters: Parameters, ctol: float) -> NonlinearRows:
    names = ", ".join(part.name for part in constraint.objectives)
    return NonlinearRows(names, _VectorFunction(constraint, parameters, VALUES), scaled_limits(constraint), ctol)


def _desc_result(result: ThingsResult) -> Any:
    """Return what DESC reads from a result."""
    from scipy.optimize import OptimizeResult

    return OptimizeResult(
        x=result.x,
        allx=list(result.allx),
        success=result.success,
        message=result.message,
        fun=result.fit.residuals,
        cost=result.cost,
        optimality=result.optimality,
        constr_violation=result.violation,
        nfev=result.nfev,
        njev=result.njev,
        nit=result.nit,
    )
