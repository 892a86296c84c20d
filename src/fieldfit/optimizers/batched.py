"""Batches of points evaluated by one call of a function that takes them all, as `jax.vmap` makes it.

Searches hand batches to an executor, one task per point. The executor here keeps the points of a batch until the first
answer is asked for and then makes one call for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fieldfit.errors import SettingsError
from fieldfit.execution import Completed
from fieldfit.objectives import Evaluation
from fieldfit.parameters import ParameterSpace
from fieldfit.precision import in_double_precision
from fieldfit.typing import Vector


@dataclass(eq=False)
class BatchExecutor(ThreadPoolExecutor):
    """Evaluates the scalar losses of a batch by one call; an executor of threads, though without any.

    Other tasks, such as the points of finite differences, are done one by one when they are submitted.

    Args:
        loss: Takes the parameters in their structure, each array with a first axis of points, and returns one loss
            per point.
        space: Variables that the points are in.

    Attributes:
        losses: All losses so far, in their order.

    Example:
        >>> import jax
        >>> import fieldfit
        >>> from fieldfit.optimizers.batched import BatchExecutor
        >>> loss = lambda p: (p["x"] - 1.0) ** 2
        >>> problem = fieldfit.Problem(loss, bounds={"x": (-5.0, 5.0)})
        >>> executor = BatchExecutor(jax.vmap(loss), problem.parameters.space)
        >>> search = fieldfit.DerivativeFreeOptimizer("cma-es", budget=500, seed=0)
        >>> result = search.optimize(problem, executor=executor)
        >>> round(float(result.x["x"]), 6)
        1.0
    """

    loss: Callable[[Any], Any]
    space: ParameterSpace
    losses: list[float] = field(default_factory=list)
    _waiting: list[BatchAnswer] = field(default_factory=list, repr=False)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> BatchAnswer:
        """Take a task of `fieldfit.execution.ordered_map`; return what is asked for its result."""
        function, arguments = args
        # An evaluation has a point and a state; the functions themselves are not asked.
        if len(arguments) != 2:
            return BatchAnswer(self, np.zeros(0), fn(function, arguments))
        answer = BatchAnswer(self, arguments[0])
        self._waiting.append(answer)
        return answer

    def evaluate(self) -> None:
        """Answer all points that wait, by one call.

        Raises:
            SettingsError: The function does not return one loss per point.
        """
        waiting, self._waiting = self._waiting, []
        points = np.stack([self.space.physical(answer.point) for answer in waiting])
        losses = np.asarray(in_double_precision(self._losses)(points), dtype=float)
        if losses.shape != (len(waiting),):
            raise SettingsError(
                f"The batched loss returned the shape {losses.shape} for {len(waiting)} candidates. Return one loss "
                "for each, as a function made by jax.vmap does."
            )
        self.losses += losses.tolist()
        for answer, loss in zip(waiting, losses.tolist(), strict=True):
            failure = None if np.isfinite(loss) else "the loss is not finite"
            answer.completed = Completed(Evaluation(loss, failure=failure))

    def _losses(self, points: np.ndarray) -> Any:
        import jax

        return self.loss(jax.vmap(self.space.parameters.tree)(points))


@dataclass(eq=False)
class BatchAnswer(Future):
    """What becomes of a point: a future of which only the result can be asked for.

    Args:
        batch: That it belongs to.
        point: Its variables, shape (n,).
        completed: The answer; None while it waits.
    """

    batch: BatchExecutor
    point: Vector
    completed: Completed | None = None

    def result(self, timeout: float | None = None) -> Completed:
        """Return the answer, after a call for the batch if it waits; that takes the time that it takes."""
        if self.completed is None:
            self.batch.evaluate()
        return self.completed or Completed(failure="its batch was not evaluated")
