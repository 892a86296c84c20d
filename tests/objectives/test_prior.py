import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import LeastSquaresOptimizer, ObjectiveFunction, Parameter, Parameters, Prior
from fieldfit.errors import SettingsError
from toys import vector_objective


def test_score_is_strength_times_squared_deviations_in_scales():
    parameters = Parameters([Parameter("a", 1.0, scale=2.0), Parameter("b", [3.0, 4.0], fixed=[False, True])])
    prior = Prior(parameters, 0.5, reference={"a": 5.0})
    found = prior.evaluate(np.array([1.0, 6.0, 9.0]), None, derivatives=True)
    # 0.5 ((1 - 5)^2 / 2^2 + (6 - 3)^2 / 3^2); the fixed element does not count.
    assert found.score == pytest.approx(0.5 * (4.0 + 1.0))
    assert found.jacobian.shape == (2, 3)
    assert_allclose(found.gradient, [0.5 * -4.0 / 4.0, 0.5 * 3.0 / 9.0, 0.0])
    assert prior.term_slices() == {"prior": slice(0, 2)}


def test_ridge_regression_by_hand():
    # (x - 4)^2 + strength (x - 1)^2 with scale 1 has its minimum at (4 + strength) / (1 + strength).
    data = vector_objective(lambda x: (x - 4.0, np.eye(1)), [1.0])
    total = ObjectiveFunction({"data": data, "prior": Prior(data.parameters, 2.0)})
    assert LeastSquaresOptimizer().optimize(total).x["x"][0] == pytest.approx(2.0, rel=1e-10)


@pytest.mark.parametrize("strength", [0.0, -1.0, np.inf, np.nan])
def test_strength_has_to_be_positive(strength):
    with pytest.raises(SettingsError, match=f"strength {strength}"):
        Prior(Parameters({"a": 1.0}), strength)
