"""Optimizers that go step by step: everything the next step needs is one value, so a run can be continued anywhere.

    init     the state of the start
    step     from a state to the next; the state it is given stays as it is
    status   why the run is over, or that it is not

The loop over them is the same for all and stands here. It tells of every state, and hands out the state with the
news, so that a checkpoint can be written of it. A run that begins at the stored state of another one, on a recorder
that remembers what the other one did, goes on as if it had never been interrupted.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from fieldfit.objectives import Evaluation
from fieldfit.problem.optimizer import AbstractOptimizer, Outcome
from fieldfit.problem.recorder import Recorder

State = TypeVar("State")
"""Frozen dataclass of what the next step needs; it counts the steps in a field `iteration`."""


class AbstractSteppedOptimizer(AbstractOptimizer, Generic[State]):
    """A way to answer a problem step by step."""

    @abstractmethod
    def init(self, problem: Recorder, start: Evaluation) -> State:
        """Return the state of the start.

        Args:
            problem: What to evaluate, with bounds and start.
            start: The evaluation at `problem.x0`, derivatives included if the optimizer needs them.
        """

    @abstractmethod
    def step(self, problem: Recorder, state: State) -> State:
        """Return the state after one step.

        Args:
            problem: What to evaluate.
            state: From `init` or the last `step`; it is not changed.
        """

    @abstractmethod
    def status(self, state: State) -> str | None:
        """Return why the run is over, or None if it is not."""

    @abstractmethod
    def news(self, problem: Recorder, state: State) -> Mapping[str, Any]:
        """Return what observers are told about a state: the arguments of `Recorder.tell`."""

    @abstractmethod
    def outcome(self, problem: Recorder, state: State, message: str) -> Outcome:
        """Return how a run ended.

        Args:
            problem: What was evaluated.
            state: The last one.
            message: From `status`.
        """

    def pack(self, state: State) -> Any:
        """Return what has to be stored of a state: a tree of the kind that `state_files` can hold.

        All of it by default. What is computed from the rest with the same bits can be left out.
        """
        return state

    def unpack(self, problem: Recorder, packed: Any) -> State:
        """Return the state that was packed.

        Args:
            problem: What it is a state of.
            packed: From `pack`.
        """
        return packed

    def run(self, problem: Recorder, start: Evaluation) -> Outcome:
        return step_through(self, problem, start)


def step_through(optimizer: AbstractSteppedOptimizer[Any], problem: Recorder, start: Evaluation) -> Outcome:
    """Make steps until the run is over, from the start or from where an earlier run was.

    Args:
        optimizer: Makes them.
        problem: What to evaluate.
        start: The evaluation at `problem.x0`.
    """
    if problem.stored_state is None:
        state = optimizer.init(problem, start)
        _tell(optimizer, problem, state)
    else:
        state = optimizer.unpack(problem, problem.stored_state)
    while (message := optimizer.status(state)) is None:
        state = optimizer.step(problem, state)
        _tell(optimizer, problem, state)
    return optimizer.outcome(problem, state, message)


def _tell(optimizer: AbstractSteppedOptimizer[Any], problem: Recorder, state: Any) -> None:
    if problem.is_observed:
        problem.tell(**optimizer.news(problem, state), stored=functools.partial(optimizer.pack, state))
