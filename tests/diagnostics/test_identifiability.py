import numpy as np
from numpy.testing import assert_allclose

from fieldfit.diagnostics import identifiability


def test_independent_columns_are_all_determined():
    found = identifiability(np.diag([1.0, 100.0, 1e-3]), ["a", "b", "c"])
    assert found.rank == 3
    assert_allclose(found.singular_values, [1.0, 1.0, 1.0])
    assert_allclose(found.column_norms, [1.0, 100.0, 1e-3])
    assert found.is_determined.tolist() == [True, True, True]


def test_sum_of_two_parameters_is_determined_and_their_difference_is_not():
    J = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 1.0], [0.0, 0.0, 1.0]])
    found = identifiability(J, ["a", "b", "c"])
    assert found.rank == 2
    assert found.is_determined.tolist() == [False, False, True]
    value, text = found.worst(1)[0]
    assert value < 1e-12
    # The difference, with either sign.
    assert sorted(text.split()[0::2]) == ["+0.71", "-0.71"]
    assert sorted(text.split()[1::2]) == ["a", "b"]


def test_parameter_nothing_feels_is_undetermined():
    found = identifiability(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), ["a", "idle"])
    assert found.rank == 1
    assert found.is_determined.tolist() == [True, False]


def test_fewer_residuals_than_parameters_determine_at_most_as_many_directions():
    found = identifiability(np.array([[1.0, 2.0, 3.0]]), ["a", "b", "c"])
    assert found.rank == 1
    assert found.directions.shape == (3, 3)
    assert_allclose(found.directions @ found.directions.T, np.eye(3), atol=1e-14)
    assert not np.any(found.is_determined)


def test_zero_jacobian_determines_nothing():
    found = identifiability(np.zeros((4, 2)), ["a", "b"])
    assert found.rank == 0
    assert not np.any(found.is_determined)
    assert len(found.worst()) == 2


def test_units_do_not_change_what_is_determined():
    J = np.random.default_rng(0).normal(size=(5, 3))
    first, second = identifiability(J, "abc"), identifiability(J * [1e8, 1.0, 1e-8], "abc")
    assert_allclose(first.singular_values, second.singular_values, rtol=1e-12)
    assert first.rank == second.rank == 3
