"""Small objectives with known answers, shared by the tests of the core."""

import numpy as np

from fieldfit import FunctionObjective, Parameter, Parameters
from fieldfit.errors import EvaluationError
from fieldfit.objectives import AbstractObjective, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals


def rosenbrock_residuals(p):
    return np.array([10.0 * (p["y"] - p["x"] ** 2), 1.0 - p["x"]])


def rosenbrock_jacobian(p):
    return np.array([[-20.0 * p["x"], 10.0], [-1.0, 0.0]])


def rosenbrock(start=(-1.2, 1.0), lower=(-np.inf, -np.inf), upper=(np.inf, np.inf), *, derivatives=rosenbrock_jacobian):
    """Minimum 0 at (1, 1); with x < 1/2 the minimum is 1/4 at (1/2, 1/4)."""
    parameters = Parameters(
        [
            Parameter(name, value, lower=low, upper=high)
            for name, value, low, high in zip("xy", start, lower, upper, strict=True)
        ]
    )
    return FunctionObjective(rosenbrock_residuals, parameters, derivatives=derivatives)


def vector_objective(function, start, lower=-np.inf, upper=np.inf):
    """Objective of one array parameter "x" from a function that returns residuals and Jacobian."""
    parameters = Parameters([Parameter("x", np.asarray(start, dtype=float), lower=lower, upper=upper)])
    return FunctionObjective(
        lambda p: function(p["x"])[0], parameters, derivatives=lambda p: function(p["x"])[1], name="f"
    )


class Watched(AbstractObjective):
    """Another objective that remembers where it was evaluated and fails where it is told to."""

    def __init__(self, objective, *, fails=lambda values: False):
        self.objective = objective
        self.seen = []
        self.asked_for_derivatives = []
        self._fails = fails

    @property
    def parameters(self):
        return self.objective.parameters

    @property
    def traits(self):
        return self.objective.traits

    def initial_state(self):
        return self.objective.initial_state()

    def evaluate(self, values, state, *, derivatives):
        self.seen.append(values.copy())
        self.asked_for_derivatives.append(derivatives)
        if self._fails(values):
            raise EvaluationError("the molecule fell apart")
        return self.objective.evaluate(values, state, derivatives=derivatives)

    def traced(self, values):
        return self.objective.traced(values)

    def term_slices(self):
        return self.objective.term_slices()


class OneVariable(AbstractObjective):
    """One parameter "x" and an evaluation as a function of its value and of whether derivatives are wanted."""

    def __init__(self, start, evaluate, *, size):
        self._start, self._evaluate, self._size = start, evaluate, size

    @property
    def parameters(self):
        return Parameters([Parameter("x", self._start)])

    @property
    def traits(self):
        return ObjectiveTraits(has_residuals=True, has_derivatives=True)

    def initial_state(self):
        return None

    def evaluate(self, values, state, *, derivatives):
        return self._evaluate(values[0], derivatives)

    def term_slices(self):
        return {"f": slice(0, self._size)}


class Switching(AbstractObjective):
    """(x - target, 0.1 x) with a target that changes once, from 1 to `later`, when x passes 1/2.

    The new target counts from the next evaluation on, as a pairing of modes does. Minimum under the second target:
    x = later / 1.01.
    """

    def __init__(self, later=3.0):
        self.later = later

    @property
    def parameters(self):
        return Parameters([Parameter("x", 0.1)])

    @property
    def traits(self):
        return ObjectiveTraits(has_residuals=True, has_derivatives=True)

    def initial_state(self):
        return 1.0

    def evaluate(self, values, state, *, derivatives):
        x = values[0]
        new_state = self.later if x > 0.5 else state
        is_stale = new_state != state
        return evaluation_from_residuals(
            np.array([x - state, 0.1 * x]),
            np.array([[1.0], [0.1]]) if derivatives else None,
            state=new_state,
            is_stale=is_stale,
            note="the target has changed" if is_stale else "",
        )

    def term_slices(self):
        return {"target": slice(0, 2)}
