"""Scripts written for BrainTools: its two optimizers of structured parameters, over the native ones.

Such a script runs when only its import line changes:

    from fieldfit.compat.braintools import NevergradOptimizer, ScipyOptimizer

The bounds say what the parameters look like. A loss gets the entries of a list or tuple as positional arguments, those
of a dictionary as keywords, and anything else as one argument; results have the same structure in the same order.
Numbers are 64-bit, derivatives of loss and constraints exact where JAX can trace them, starts are drawn by a generator
of the optimizer's own, and what does not fit is refused when the optimizer is made.

References:
    https://github.com/chaobrain/braintools: the names and signatures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import numpy as np

from fieldfit.constraints import as_constraints
from fieldfit.optimizers import scipy as native
from fieldfit.optimizers.batched import BatchExecutor
from fieldfit.optimizers.derivative_free import DerivativeFreeOptimizer
from fieldfit.optimizers.multistart import MultiStartOptimizer
from fieldfit.optimizers.nevergrad_search import PREFIX, check_name
from fieldfit.optimizers.sampling import draw_seed, sample_starts
from fieldfit.parameters import Parameters
from fieldfit.parameters.open_bounds import starts_inside
from fieldfit.parameters.structure import is_pair, parameters_from_bounds
from fieldfit.problem import OptimizationResult, Problem, Step
from fieldfit.problem.functions import called
from fieldfit.reporting import ProgressLine

__all__ = ["NevergradOptimizer", "ScipyOptimizer"]

TOLERANCES = ("ftol", "xtol", "gtol")


@dataclass(eq=False)
class ScipyOptimizer:
    """A method of `scipy.optimize.minimize` on structured parameters inside bounds, from random starts.

    Args:
        loss_fun: Returns one number; written in JAX if it is to be differentiated.
        bounds: A list or tuple of pairs (low, high), one per argument, a dictionary of them, any nested structure, or
            SciPy's `Bounds`. Ends are numbers, arrays, quantities, infinite or None.
        method: By SciPy's name, in any case. None: SLSQP with constraints, L-BFGS-B without. One that knows no bounds
            gets variables without any, by `Parameters.unbounded`.
        constraints: SciPy's objects or dictionaries (functions of the flat vector), or those of this library.
        tol: In place of all tolerances of the method.
        callback: Called with the structured parameters after each iteration; returning True ends the run.
        options: Of the method, by SciPy's names. "disp" writes its messages.
        units: What the loss and the result have for bounds with units: "magnitude", plain numbers in the unit of the
            bounds, because scripts format results and compute with them; or "quantity".
        start: First start, in the structure of the bounds or a part of it; None: drawn inside the bounds.
        seed: Of the starts; None: a fresh one, named in the result.

    Raises:
        SettingsError: No method or option has that name, or the loss does not take the parameters.
        ParameterError: The bounds are no pairs, are reversed, or differ in shape or unit.

    Example:
        >>> from fieldfit.compat.braintools import ScipyOptimizer
        >>> loss = lambda x, y: (x - 2.0) ** 2 + (y + 1.0) ** 2
        >>> result = ScipyOptimizer(loss, bounds=[(-5.0, 5.0), (-3.0, 3.0)], seed=0).minimize(n_iter=3)
        >>> [round(float(value), 6) for value in result.x]
        [2.0, -1.0]
    """

    loss_fun: Callable[..., Any]
    bounds: Any
    method: str | None = "L-BFGS-B"
    constraints: Any = ()
    tol: float | None = None
    callback: Callable[[Any], Any] | None = None
    options: Mapping[str, Any] | None = None
    _: KW_ONLY
    units: str = "magnitude"
    start: Any = None
    seed: int | None = None

    def __post_init__(self) -> None:
        held = as_constraints(self.constraints)
        chosen = self.method or ("SLSQP" if held else "L-BFGS-B")
        self.method = next((name for name in native.METHODS if name.lower() == chosen.lower()), chosen)
        given = {name: value for name, value in (self.options or {}).items() if name != "disp"}
        fields = {name: given.pop(name) for name in ("maxiter", *TOLERANCES) if name in given}
        tolerances = {} if self.tol is None else dict.fromkeys(TOLERANCES, self.tol)
        self._optimizer = native.ScipyOptimizer(self.method, options=given, **{**tolerances, **fields})
        start = starts_inside(self.bounds) if self.start is None else self.start
        parameters = parameters_from_bounds(self.bounds, start, units=self.units)
        self._problem = Problem(self.loss_fun, parameters, constraints=held, call=_call(self.bounds))

    def minimize(self, n_iter: int = 1) -> OptimizationResult:
        """Run from so many starts and return the best end; starts that fail are reported in it and skipped.

        Args:
            n_iter: Number of starts.

        Raises:
            EvaluationError: The loss can be evaluated at no start.
            SettingsError: `n_iter` is not positive, or the method does not take constraints.
        """
        seed, parameters = draw_seed(self.seed), self._problem.parameters
        parameters = _drawn(parameters, seed) if self.start is None else parameters
        parameters = parameters if self._optimizer.traits.handles_bounds else parameters.unbounded()
        problem = Problem(self._problem.objective, parameters, constraints=self._problem.constraints)
        many = MultiStartOptimizer(self._optimizer, n_starts=n_iter, sampling="uniform", seed=seed)
        result = many.optimize(problem, observers=[] if self.callback is None else [self._call_back])
        if (self.options or {}).get("disp"):
            sys.stdout.writelines(f"{run.message}\n" for run in result.runs)
        return result

    def _call_back(self, step: Step) -> bool:
        return self.callback is not None and step.iteration > 0 and self.callback(step.values) is True


@dataclass(eq=False)
class NevergradOptimizer:
    """A search without derivatives by an optimizer of nevergrad, for a loss of whole batches.

    Args:
        batched_loss_fun: Called as the loss of `ScipyOptimizer`, but with a first axis of candidates on each array;
            returns one loss per candidate. `jax.vmap` makes one of a loss of single candidates.
        bounds: As for `ScipyOptimizer`, all of them finite.
        n_sample: Candidates per iteration, evaluated by one call.
        method: By nevergrad's name.
        units: As for `ScipyOptimizer`.
        seed: Of the random numbers; None: a fresh one.

    Attributes:
        errors: Losses of the candidates of the last run, in their order.
        result: Of the last run, with all that is known about it; None before the first.

    Raises:
        SettingsError: nevergrad has no method of that name or is not installed, or `n_sample` is not positive.
        ParameterError: As for `ScipyOptimizer`, or a bound is not finite.
    """

    batched_loss_fun: Callable[..., Any]
    bounds: Any
    n_sample: int
    method: str = "DE"
    _: KW_ONLY
    units: str = "magnitude"
    seed: int | None = None
    errors: np.ndarray = field(default_factory=lambda: np.zeros(0), init=False)
    result: OptimizationResult | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_name(PREFIX + self.method)
        self._search = DerivativeFreeOptimizer(PREFIX + self.method, batch_size=self.n_sample, polish=None)
        parameters = parameters_from_bounds(self.bounds, units=self.units)
        self._loss = called(self.batched_loss_fun, parameters, _call(self.bounds))
        self._problem = Problem(self._of_one, parameters, derivatives="differences")

    def minimize(self, n_iter: int = 1, verbose: bool = True) -> Any:
        """Search anew and return the best parameters, in the structure of the bounds.

        Args:
            n_iter: Number of iterations.
            verbose: Whether to write a line per iteration.
        """
        # The middle of the bounds, where the search begins, is one more evaluation.
        search = replace(self._search, budget=n_iter * self.n_sample + 1, seed=self.seed)
        batches = BatchExecutor(self._loss, self._problem.parameters.space)
        heard = [ProgressLine()] if verbose else []
        self.result = search.optimize(self._problem, observers=heard, executor=batches)
        self.errors = np.array(batches.losses)
        return self.result.x

    def _of_one(self, structured: Any) -> Any:
        import jax

        return self._loss(jax.tree.map(lambda leaf: leaf[None], structured))[0]


def _call(bounds: Any) -> str:
    """Return how a loss takes its parameters."""
    if isinstance(bounds, Mapping):
        return "keywords"
    return "positional" if isinstance(bounds, list | tuple) and not is_pair(bounds) else "structure"


def _drawn(parameters: Parameters, seed: int) -> Parameters:
    """Return parameters with a start drawn inside their bounds."""
    space = parameters.space
    drawn = sample_starts(space.start, (space.lower, space.upper), 2, sampling="uniform", fraction=0.1, seed=seed)
    return parameters.replace(space.values(drawn[1]))
