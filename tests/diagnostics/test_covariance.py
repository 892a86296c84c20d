import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from fieldfit.diagnostics import covariance


def test_straight_line_by_hand():
    # Residuals r of a line a + b t at t = -1, 0, 1: J^T J = diag(3, 2), s^2 = |r|^2 / (3 - 2).
    J, r = np.array([[1.0, -1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0.1, -0.2, 0.1])
    assert_allclose(covariance(J, r, np.ones(2, dtype=bool)), np.diag([0.06 / 3.0, 0.06 / 2.0]), atol=1e-17)


@given(st.integers(0, 1000))
def test_covariance_is_the_inverse_of_the_normal_matrix(seed):
    generator = np.random.default_rng(seed)
    J, r = generator.normal(size=(9, 3)) * [1.0, 1e3, 1e-3], generator.normal(size=9)
    expected = np.linalg.inv(J.T @ J) * (r @ r) / 6.0
    assert_allclose(covariance(J, r, np.ones(3, dtype=bool)), expected, rtol=1e-6)


def test_variable_at_a_bound_has_no_variance():
    J, r = np.eye(4)[:, :2], np.ones(4)
    # One free variable is left, so s^2 = 4 / 3.
    assert_allclose(covariance(J, r, np.array([True, False])), [[4.0 / 3.0, 0.0], [0.0, 0.0]])
    assert_allclose(covariance(J, r, np.array([False, False])), np.zeros((2, 2)))


def test_undetermined_variables_have_infinite_variance():
    # The first two columns are equal: only their sum is known. The third is known by itself.
    J = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    found = covariance(J, np.ones(5), np.ones(3, dtype=bool))
    assert np.all(np.isinf(np.diag(found)[:2]))
    assert np.isfinite(found[2, 2])


@pytest.mark.parametrize("rows", [2, 3])
def test_as_many_variables_as_residuals_leave_no_estimate(rows):
    assert np.all(np.isnan(covariance(np.ones((rows, 3)), np.ones(rows), np.ones(3, dtype=bool))))
