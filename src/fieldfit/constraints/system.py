"""All constraints of a problem together: the parameters that remain, and the conditions on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fieldfit.constraints.constraint import AbstractConstraint, Condition
from fieldfit.constraints.feasibility import check_feasibility
from fieldfit.parameters import Parameters


@dataclass(frozen=True, eq=False)
class ConstraintSystem:
    """What several constraints come to.

    Args:
        parameters: The parameters, with those fixed and tied that constraints say are.
        conditions: What the others ask for, in the user's order.
    """

    parameters: Parameters
    conditions: tuple[Condition, ...] = ()

    @staticmethod
    def of(constraints: Sequence[AbstractConstraint], parameters: Parameters) -> ConstraintSystem:
        """Put constraints together for given parameters.

        Raises:
            ConstraintError: One does not fit the parameters, or linear ones cannot hold together.
            ParameterError: One names a parameter that is not there.
        """
        for constraint in constraints:
            parameters = constraint.applied(parameters)
        found = [constraint.condition(parameters) for constraint in constraints]
        conditions = _named_apart([condition for condition in found if condition is not None])
        if conditions:
            check_feasibility(conditions, parameters)
        return ConstraintSystem(parameters, conditions)


def _named_apart(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """Number conditions that share a name, such as those of several lambdas, or a report could not tell them apart."""
    names = [condition.name for condition in conditions]
    numbered, seen = [], dict.fromkeys(names, 0)
    for condition in conditions:
        seen[condition.name] += 1
        is_shared = names.count(condition.name) > 1
        name = f"{condition.name} ({seen[condition.name]})"
        numbered.append(replace(condition, name=name) if is_shared else condition)
    return tuple(numbered)
