"""What a call with DESC's objects asks for, in the words of this library.

    things          Optimizables                       things
    objective       an ObjectiveFunction               one objective of the parameters of its things
    constraints     linear ones with a target          rows that are eliminated
                    others, for a "proximal-" name     one equality, which the surfaces inside the plasma solve
                    others                             conditions

As in DESC, an equilibrium gets the rows that tie its surfaces to its boundary and its axis, if they are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fieldfit.equilibrium.desc.linear import LinearRows, linear_rows
from fieldfit.equilibrium.desc.nonlinear import NonlinearRows, scaled_limits
from fieldfit.equilibrium.desc.objective import VALUES, DescObjective
from fieldfit.equilibrium.desc.things import collected
from fieldfit.errors import SettingsError
from fieldfit.optimize.names import PROXIMAL
from fieldfit.parameters import Parameters
from fieldfit.things import Term, Things

INNER = ("R_lmn", "Z_lmn", "L_lmn", "Ra_n", "Za_n")
"""Parameters of an equilibrium that force balance determines."""


@dataclass(frozen=True, eq=False)
class DescTask:
    """A call with DESC's objects.

    Args:
        things: All that are varied.
        optimizables: The objects behind them.
        function: The ObjectiveFunction, built.
        linear: The linear constraints, built, those that were added included.
        nonlinear: The others, built.
    """

    things: Things
    optimizables: tuple[Any, ...]
    function: Any
    linear: tuple[Any, ...]
    nonlinear: tuple[Any, ...]

    @staticmethod
    def of(things: Any, objective: Any, constraints: Any, *, verbose: int = 0) -> DescTask:
        """Build what is not built, and sort constraints.

        Args:
            things: One Optimizable or several.
            objective: An ObjectiveFunction, or a single objective.
            constraints: Objectives that are meant to hold, one or several.
            verbose: How much DESC prints while it builds.

        Raises:
            SettingsError: Something is no Optimizable or no objective, or acts on things that are not given.
        """
        from desc.objectives import maybe_add_self_consistency  # pyright: ignore[reportMissingImports]

        known, optimizables = collected(things)
        listed = tuple(constraints) if isinstance(constraints, list | tuple) else (constraints,)
        _check_objectives(listed, "A constraint")
        function = _function(objective, "The objective")
        linear = tuple(entry for entry in listed if entry.linear and entry.bounds is None)
        nonlinear = tuple(entry for entry in listed if not (entry.linear and entry.bounds is None))
        for optimizable in optimizables:
            linear = maybe_add_self_consistency(optimizable, linear)
        for part in (function, *nonlinear):
            if not part.built:
                part.build(verbose=verbose)
        return DescTask(known, optimizables, function, linear, nonlinear)

    def objective(self) -> DescObjective:
        """Return what is to be made small."""
        return DescObjective(self.function, self.named(self.function))

    def constraints(self, name: str, *, ctol: float) -> list[Any]:
        """Return what must hold.

        Args:
            name: Of the optimizer, which says how nonlinear constraints are met.
            ctol: Violation of nonlinear constraints that counts as none.
        """
        if name.startswith(PROXIMAL) and self.nonlinear:
            return [*self.rows, self._equality()]
        return [*self.rows, *(self._condition(entry, ctol) for entry in self.nonlinear)]

    @cached_property
    def rows(self) -> tuple[LinearRows, ...]:
        """The linear constraints, in their order."""
        return linear_rows(self.linear, self.named)

    def function_of(self, constraint: Any) -> Any:
        """Return a constraint as an ObjectiveFunction."""
        return _function(constraint, "A constraint")

    def named(self, function: Any) -> Parameters:
        """Return the parameters of the things of an ObjectiveFunction, in its order.

        Raises:
            SettingsError: One of them is not given.
        """
        entries = self.things.parameters
        chosen = [f"{name}." for name in (self._name(thing, function) for thing in function.things)]
        return Parameters([entry for start in chosen for entry in entries if entry.name.startswith(start)])

    def _name(self, thing: Any, function: Any) -> str:
        for optimizable, name in zip(self.optimizables, self.things.names, strict=True):
            if optimizable is thing:
                return name
        labels = ", ".join(part.name for part in function.objectives)
        raise SettingsError(
            f"{labels} acts on a {type(thing).__name__} that is not among the things to be varied: "
            f"{', '.join(self.things.names)}. Objectives of DESC belong to one object: give that very object, not a "
            "copy, or make the objective anew."
        )

    def _condition(self, constraint: Any, ctol: float) -> NonlinearRows:
        function = self.function_of(constraint)
        values = DescObjective(function, self.named(function), quantity=VALUES)
        return NonlinearRows(constraint.name, values, scaled_limits(function), ctol)

    def _equality(self) -> Term:
        """Return the nonlinear constraints as one term that decides what is inside the plasma."""
        function = _function(self.nonlinear, "A constraint")
        if len(function.things) != 1:
            raise SettingsError(
                f"{', '.join(part.name for part in self.nonlinear)} act on {len(function.things)} things, but an "
                "equilibrium alone can be solved for inside an optimization. Take the optimizer lsq-auglag."
            )
        own = self.named(function)
        keys = [entry.name.partition(".")[2] for entry in own]
        entries = [entry.replace(name=key) for entry, key in zip(own, keys, strict=True)]
        return Term(
            DescObjective(function, Parameters(entries)),
            self._name(function.things[0], function),
            name=", ".join(part.name for part in self.nonlinear),
            solves_for=[key for key in INNER if key in keys],
        )


def _function(given: Any, what: str) -> Any:
    """Return an objective of DESC, or several, as an ObjectiveFunction that is built if its parts are."""
    from desc.objectives import ObjectiveFunction  # pyright: ignore[reportMissingImports]

    if isinstance(given, ObjectiveFunction):
        return given
    parts = given if isinstance(given, tuple) else (given,)
    _check_objectives(parts, what)
    made = ObjectiveFunction(parts)
    if all(part.built for part in parts):
        made.build(verbose=0)
    return made


def _check_objectives(parts: tuple[Any, ...], what: str) -> None:
    from desc.objectives.objective_funs import _Objective  # pyright: ignore[reportMissingImports]

    for part in parts:
        if not isinstance(part, _Objective):
            raise SettingsError(
                f"{what} is a {type(part).__name__}, which is no objective of DESC. Give one of desc.objectives; "
                "objectives of this library go to fieldfit.optimize.Optimizer."
            )
