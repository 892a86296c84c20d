import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit.diagnostics import free_variables, predicted_reduction, projected_gradient

ALL = np.array([True, True])


def test_projected_gradient_by_hand():
    x, gradient = np.array([0.0, 0.0, 0.5, 0.5]), np.array([2.0, -2.0, 0.1, 5.0])
    # At the lower bound 0 a positive gradient pushes out: nothing is left; the last is cut at the way to the bound.
    assert_allclose(projected_gradient(x, gradient, np.zeros(4), np.ones(4)), [0.0, -1.0, 0.1, 0.5])


def test_free_variables_are_those_no_bound_holds():
    x, gradient = np.array([0.0, 0.0, 1.0, 1.0, 0.5]), np.array([1.0, -1.0, -1.0, 1.0, 3.0])
    assert free_variables(x, gradient, np.zeros(5), np.ones(5)).tolist() == [False, True, False, True, True]


@given(st.integers(0, 1000))
def test_reduction_is_that_of_a_linear_problem(seed):
    generator = np.random.default_rng(seed)
    # Orthogonal columns, so that no direction is felt so little that its step is not believed.
    J, r = np.linalg.qr(generator.normal(size=(6, 2)))[0] * [1.0, 7.0], generator.normal(size=6)
    p = np.linalg.lstsq(J, -r)[0]
    left = r + J @ p
    assert predicted_reduction(J, r, ALL, reach=np.inf) == pytest.approx(0.5 * (r @ r - left @ left), rel=1e-10)


def test_reduction_does_not_depend_on_units():
    generator = np.random.default_rng(0)
    J, r = generator.normal(size=(6, 2)), generator.normal(size=6)
    assert predicted_reduction(J * [1e6, 1e-6], r, ALL, reach=np.inf) == pytest.approx(
        predicted_reduction(J, r, ALL, reach=np.inf), rel=1e-10
    )


def test_reduction_is_zero_where_the_gradient_is():
    assert (
        predicted_reduction(
            np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), np.array([0.0, 0.0, 3.0]), ALL, reach=np.inf
        )
        == 0.0
    )


def test_variables_at_a_bound_promise_nothing():
    J, r = np.eye(2), np.array([3.0, 4.0])
    assert predicted_reduction(J, r, np.array([True, False]), reach=np.inf) == pytest.approx(4.5)
    assert predicted_reduction(J, r, np.array([False, False]), reach=np.inf) == 0.0


def test_column_of_zeros_promises_nothing():
    assert predicted_reduction(
        np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([2.0, 2.0]), ALL, reach=np.inf
    ) == pytest.approx(2.0)


def test_step_far_along_a_direction_hardly_felt_is_not_believed():
    # Unit columns at an angle of 1e-6: the residual along their difference could be removed by a step of 1e6 only.
    J = np.array([[1.0, 1.0], [0.0, 1e-6]])
    assert predicted_reduction(J, np.array([0.0, 1.0]), ALL, reach=1.0) < 2e-6
