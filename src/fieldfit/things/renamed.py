"""An objective of a thing's own parameters, under the names that these have among several things."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fieldfit.errors import SettingsError
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits
from fieldfit.parameters import Parameters
from fieldfit.typing import Vector


class Renamed(AbstractObjective):
    """An objective whose parameters get the name of their thing in front.

    Args:
        objective: Of parameters that are called as the keys of the thing.
        thing: Its name.
        known: Names that there are, "<thing>.<key>".

    Raises:
        SettingsError: The objective has a parameter that the thing has not.
    """

    def __init__(self, objective: AbstractObjective, thing: str, known: tuple[str, ...]) -> None:
        own = objective.parameters
        for name in own.names:
            if f"{thing}.{name}" not in known:
                keys = ", ".join(entry.partition(".")[2] for entry in known)
                raise SettingsError(
                    f"{type(objective).__name__} has the parameter {name!r}, but those of the thing {thing!r} are "
                    f"{keys}. Give the thing that it belongs to."
                )
        self._objective, self._thing = objective, thing
        self._parameters = Parameters([entry.replace(name=f"{thing}.{entry.name}") for entry in own])

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return self._objective.traits

    def initial_state(self) -> Any:
        return self._objective.initial_state()

    def for_parameters(self, parameters: Parameters) -> Renamed:
        own = Parameters(
            [entry.replace(name=name) for entry, name in zip(parameters, self._objective.parameters.names, strict=True)]
        )
        made = copy.copy(self)
        made._objective, made._parameters = self._objective.for_parameters(own), parameters
        return made

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        return self._objective.evaluate(values, state, derivatives=derivatives)

    def term_slices(self) -> Mapping[str, slice]:
        return self._objective.term_slices()

    def traced(self, values: Any) -> Any:
        return self._objective.traced(values)


def free_everywhere(parameters: Parameters) -> Parameters:
    """Return parameters none of which is fixed: whoever asks may vary any."""
    return Parameters([replace(entry, fixed=False) for entry in parameters])
