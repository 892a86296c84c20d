"""Objectives whose derivatives are computed only in the directions that linear equalities leave."""

import numpy as np
from numpy.testing import assert_allclose

import fieldfit
from fieldfit.objectives import AbstractObjective, ObjectiveTraits
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameters

MATRIX = np.random.default_rng(3).normal(size=(6, 4))
VALUES = np.arange(6.0)


class Directional(AbstractObjective):
    """A linear model that knows its Jacobian along some directions only."""

    parameters = Parameters([fieldfit.Parameter("a", np.zeros(4))])
    traits = ObjectiveTraits(has_residuals=True, has_derivatives=True, is_directional=True)

    def __init__(self, basis=np.eye(4), widths=()):
        self.basis, self.widths = basis, list(widths)

    def initial_state(self):
        return None

    def along(self, directions):
        self.widths.append(directions.shape)
        return Directional(np.linalg.qr(directions)[0])

    def evaluate(self, values, state, *, derivatives):
        jacobian = MATRIX @ self.basis @ self.basis.T if derivatives else None
        return evaluation_from_residuals(MATRIX @ values - VALUES, jacobian)

    def term_slices(self):
        return {"directional": slice(0, 6)}


def test_directions_of_a_problem_suffice_for_its_solution():
    objective = Directional()
    problem = fieldfit.Problem(objective, constraints=fieldfit.SumTo("a", 1.0))
    result = fieldfit.LeastSquaresOptimizer().optimize(problem)
    # Normal equations of the same problem with a multiplier.
    block = np.block([[MATRIX.T @ MATRIX, np.ones((4, 1))], [np.ones((1, 4)), np.zeros((1, 1))]])
    expected = np.linalg.solve(block, np.append(MATRIX.T @ VALUES, 1.0))[:4]
    assert_allclose(result.x["a"], expected, rtol=1e-10)
    assert (4, 3) in objective.widths
    assert result.success


def test_a_sum_hands_each_term_its_own_directions():
    objective = Directional()
    other = fieldfit.FunctionObjective(lambda p: p["b"] - 1.0, {"b": 0.0})
    total = fieldfit.ObjectiveFunction({"other": other, "directional": objective})
    assert total.traits.is_directional
    directions = np.arange(10.0).reshape(5, 2)
    total.along(directions)
    assert objective.widths == [(4, 2)]
