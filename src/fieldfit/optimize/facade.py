"""`Optimizer(name).optimize(things, objective, constraints, ...)`: things in, better things out.

The call is put together from parts that know nothing of each other: things become named parameters, terms an objective
and constraints of them, these a `Problem`, which eliminates linear equalities; the name becomes an optimizer with the
tolerances of the call; and the best point becomes things again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fieldfit.execution import ExecutorChoice
from fieldfit.optimize.names import PROXIMAL, find_method
from fieldfit.optimize.options import read_options
from fieldfit.optimize.posing import Posed, Task
from fieldfit.optimize.result import ThingsResult, is_success
from fieldfit.optimize.resuming import Beginning
from fieldfit.optimize.scales import is_automatic, parameter_scales
from fieldfit.optimize.values import violation
from fieldfit.optimize.watching import ProgressTable, Trail
from fieldfit.problem import Checkpoint, Observer, OptimizationResult
from fieldfit.things import Things
from fieldfit.typing import FilePath

RESULTS, PROGRESS = 1, 2
"""Values of `verbose` from which the report, and a line per iteration, are printed."""


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of things, by name.

    Args:
        name: "lsq-exact", "fmin-exact", "fmin-dogleg", "fmin-subspace", "lsq-auglag", "fmin-auglag", "sgd",
            "optax-<rule>", "scipy-<method>", any of those without constraints with "proximal-" before it, or one that
            was registered; see `fieldfit.optimize.optimizer_names`.

    Raises:
        SettingsError: No optimizer is called so.

    Example:
        >>> import jax.numpy as jnp
        >>> from types import SimpleNamespace
        >>> from fieldfit.optimize import Optimizer
        >>> from fieldfit.things import Term
        >>> def make(values):
        ...     return SimpleNamespace(params_dict=values, with_params=make)
        >>> circle = Term(lambda p: jnp.sum(p["x"] ** 2), target=1.0, name="circle")
        >>> near = Term(lambda p: p["x"], target=[3.0, 4.0], name="near")
        >>> (point,), result = Optimizer("lsq-auglag").optimize(make({"x": [1.0, 0.0]}), near, circle, verbose=0)
        >>> point.params_dict["x"].round(6).tolist(), result.success
        ([0.6, 0.8], True)
    """

    name: str

    def __post_init__(self) -> None:
        find_method(self.name.removeprefix(PROXIMAL))

    def optimize(  # noqa: PLR0913, mirrors the published signature
        self,
        things: Any,
        objective: Any,
        constraints: Any = (),
        ftol: float | None = None,
        xtol: float | None = None,
        gtol: float | None = None,
        ctol: float | None = None,
        x_scale: Any = "auto",
        verbose: int = 1,
        maxiter: int | None = None,
        options: Mapping[str, Any] | None = None,
        copy: bool = False,
        *,
        observers: Sequence[Observer] = (),
        executor: ExecutorChoice = None,
        checkpoint: FilePath | Checkpoint | None = None,
        resume: Any = None,
    ) -> tuple[tuple[Any, ...], ThingsResult]:
        """Vary things until terms are small and constraints hold.

        Args:
            things: One thing or several. Bounds of a thing's parameters hold at every evaluation, where the optimizer
                takes bounds; elements with two equal bounds stay as they are.
            objective: What should be small: a `Term`, several, a mapping from name to term, or objectives of the
                library on parameters called "<thing>.<key>".
            constraints: What must hold: terms, and constraints of the library or of SciPy. Linear equalities are
                eliminated exactly, the others are left to optimizers that take them.
            ftol: Stop when an iteration that agreed with its model lowered the cost by less than this fraction of it.
                None: 1e-2, or 1e-6 for stochastic and augmented-Lagrangian methods.
            xtol: Stop when a step is shorter than this fraction of the variables. None: 1e-6.
            gtol: Stop when the gradient is this small, relative to the residuals and the size of the variables, so
                that units do not matter. None: 1e-8.
            ctol: Largest violation of a nonlinear constraint, in units of its normalization, that counts as none; one
                of the others has to be met together with it. None: 1e-4. Equalities with more rows than
                parameters, which can hardly vanish, are held within it.
            x_scale: Sizes by which variables are measured: "auto", by derivatives, again at every accepted point; an
                array of all elements in the order of `things`; "ess", exponential spectral scaling; or a list with one
                entry per thing, each "auto", "ess" or a dictionary from key to array. Given sizes are the fixed metric
                of a trust region, unless its option "metric" says otherwise; "auto" among them stands for the largest
                magnitude of each array. The augmented Lagrangian scales by derivatives in any case, in units of these.
            verbose: 0: print nothing. 1: a report at the end. 2: also a line per iteration.
            maxiter: Most iterations. None: 100, or 500 for augmented-Lagrangian methods.
            options: Those of the optimizer by its own names, and "ftol", "xtol", "gtol", "ctol" and "maxiter" again,
                where None disables a test; "ess_alpha", "ess_order", "ess_min_value"; and the dictionaries
                "linear_constraint_options", "perturb_options" and "solve_options". They are not changed.
            copy: Whether the things stay as they are and new ones are returned. Otherwise the parameters are set on
                those things whose `params_dict` can be set; of the others new ones are returned as well.
            observers: Each is called with every `Step`; returning True ends the run.
            executor: Where independent evaluations are made; see `AbstractOptimizer.optimize`.
            checkpoint: File that accepted steps are stored in, as often as costs little; a
                `fieldfit.problem.Checkpoint` can say how often.
            resume: The path of a checkpoint: that run is continued, to the same bits as if it had not been interrupted,
                if the optimizer `is_resumable`; otherwise it begins anew at the best point, and the message says so.
                Everything has to be asked as before but for `ftol`, `xtol`, `gtol`, `ctol` and `maxiter`. Or the result
                of an earlier call, or values by name ("<thing>.<key>", as `read_checkpoint(path).values` has them): a
                new run starts from there.

        Returns:
            The things, as many as were given and in their order; and the result.

        Raises:
            SettingsError: A name or an option is not known, the optimizer cannot take the problem, or the run to resume
                asked something else.
            FileFormatError: The file of the run to resume is missing or damaged.
            ConstraintError: Constraints cannot hold together, or a term is not linear although it is said to be.
            EvaluationError: A term cannot be evaluated at the start; it is named.
        """
        method = find_method(self.name.removeprefix(PROXIMAL))
        given = {"ftol": ftol, "xtol": xtol, "gtol": gtol, "ctol": ctol, "maxiter": maxiter}
        told = read_options(method, options, given)
        x_scale = told.scale(x_scale)
        solver = method.build(told.tolerances, told.method, is_scaled=not is_automatic(x_scale))
        collected = Things.of(things)
        resume = resume.values if isinstance(resume, ThingsResult) else resume
        beginning = Beginning.of(collected, resume, is_resumable=solver.traits.is_resumable)
        parameters = beginning.things.scaled(parameter_scales(x_scale, beginning.things, told.spectral))
        task = Task.of(collected, parameters, (objective, constraints), told)
        posed = self._posed(task, is_automatic=not method.rescales and is_automatic(x_scale))
        trail = Trail(beginning.points)
        watching = [trail, *observers, *([ProgressTable()] if verbose >= PROGRESS else [])]
        fit = solver.optimize(
            posed.problem,
            observers=watching,
            executor=executor,
            checkpoint=beginning.checkpoint(checkpoint),
            resume=beginning.saved,
        )
        result = _result(self.name, posed, fit, trail, told.tolerances["ftol"])
        if verbose >= RESULTS:
            sys.stdout.write(result.report + "\n")
        return collected.rebuilt(result.x) if copy else collected.updated(result.x), result

    def _posed(self, task: Task, *, is_automatic: bool) -> Posed:
        if self.name.startswith(PROXIMAL):
            return task.posed_proximal(self.name, is_automatic=is_automatic)
        return task.posed(is_automatic=is_automatic)


def _result(name: str, posed: Posed, fit: OptimizationResult, trail: Trail, ftol: float | None) -> ThingsResult:
    problem = posed.problem
    return ThingsResult(
        fit=fit,
        method=name,
        success=is_success(fit, ftol),
        names=posed.task.parameters.names,
        x=posed.full(fit.final_params, fit.state),
        points=tuple(trail.ending(fit.final_params)),
        posed=posed,
        violation=violation(problem.conditions, problem.parameters, fit.final_params),
    )
