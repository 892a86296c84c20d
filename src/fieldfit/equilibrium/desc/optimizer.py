"""Optimizers of this library on the objects of DESC.

References:
    Dudt, Kolemen (2020), Phys. Plasmas 27, 102513, doi:10.1063/5.0020743.
    Conlin, Dudt, Panici, Kolemen (2023), J. Plasma Phys. 89, doi:10.1017/S0022377823000399.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fieldfit.equilibrium.desc.loading import require_desc
from fieldfit.equilibrium.desc.result import DescResult
from fieldfit.equilibrium.desc.scales import plain_scales
from fieldfit.equilibrium.desc.task import DescTask
from fieldfit.execution import ExecutorChoice
from fieldfit.optimize import Optimizer
from fieldfit.optimize.names import DEFAULT_CTOL
from fieldfit.problem import Observer
from fieldfit.typing import FilePath

RESULTS, PROGRESS = 1, 2
"""Values of `verbose` from which the report, and a line per iteration, are printed."""


@dataclass(frozen=True)
class DescOptimizer:
    """An optimizer of DESC's objects, by name.

    Args:
        name: As for `fieldfit.optimize.Optimizer`.

    Raises:
        SettingsError: No optimizer is called so, or DESC is not installed.

    Example:
        A plasma in force balance::

            from desc.equilibrium import Equilibrium
            from desc.objectives import ForceBalance, ObjectiveFunction, get_fixed_boundary_constraints
            from fieldfit.equilibrium.desc import DescOptimizer

            plasma = Equilibrium(L=6, M=6)
            (plasma,), result = DescOptimizer("lsq-exact").optimize(
                plasma, ObjectiveFunction(ForceBalance(plasma)), get_fixed_boundary_constraints(eq=plasma)
            )
    """

    name: str

    def __post_init__(self) -> None:
        require_desc("DescOptimizer")
        Optimizer(self.name)

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
        checkpoint: FilePath | None = None,
        resume: Any = None,
    ) -> tuple[tuple[Any, ...], DescResult]:
        """Vary Optimizables until an objective is small and constraints hold.

        Args:
            things: One Optimizable or several.
            objective: An ObjectiveFunction.
            constraints: Objectives that are meant to hold. Linear ones with a target are eliminated. The others are
                solved for anew at every point by the surfaces inside the plasma, if the name says "proximal-", and are
                left to the optimizer if not.
            ftol: See `fieldfit.optimize.Optimizer.optimize`, as for what is not said here.
            xtol: Of steps.
            gtol: Of the gradient.
            ctol: Of constraints, normalized as DESC does.
            x_scale: "auto", "ess", an array of all elements in the order of `things`, or a list with one entry per
                thing: "ess", an array, or a dictionary like its `params_dict`.
            verbose: 0: print nothing. 1: a report at the end. 2: also a line per iteration.
            maxiter: Most iterations.
            options: Of the optimizer.
            copy: Whether the things stay as they are and copies are returned.
            observers: Each is called with every step.
            executor: Where independent evaluations are made.
            checkpoint: File that accepted steps are stored in, to continue from.
            resume: The path of a checkpoint, whose run is continued.

        Returns:
            The things, in their order, and the result.

        Raises:
            SettingsError: A name or an option is not known, something is no object of DESC, or objectives act on things
                that are not given.
            ConstraintError: Constraints cannot hold together, or one is not linear although it says so.
        """
        task = DescTask.of(things, objective, constraints, verbose=verbose)
        told = (options or {}).get("ctol", ctol)
        wrapped, result = Optimizer(self.name).optimize(
            list(task.things.things),
            {task.function.name: task.objective()},
            task.constraints(self.name, ctol=DEFAULT_CTOL if told is None else told),
            ftol,
            xtol,
            gtol,
            ctol,
            plain_scales(x_scale, task.things),
            0,
            maxiter,
            options,
            copy,
            observers=observers,
            executor=executor,
            checkpoint=checkpoint,
            resume=resume.run if isinstance(resume, DescResult) else resume,
        )
        found = DescResult(result, task)
        if verbose >= RESULTS:
            sys.stdout.write(found.report + "\n")
        return tuple(thing.optimizable for thing in wrapped), found
