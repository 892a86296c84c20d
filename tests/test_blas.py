"""Linear algebra on one thread, and the setting put back."""

import scipy.linalg  # noqa: F401 - loads the library whose threads are counted
import threadpoolctl

from fieldfit.blas import one_blas_thread


def threads():
    return [entry["num_threads"] for entry in threadpoolctl.threadpool_info() if entry["user_api"] == "blas"]


def test_one_thread_inside_and_the_setting_of_before_outside():
    before = threads()
    assert before
    with one_blas_thread():
        assert set(threads()) == {1}
        with one_blas_thread():
            assert set(threads()) == {1}
        assert set(threads()) == {1}
    assert threads() == before
