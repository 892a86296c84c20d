import os
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.execution import open_executor, ordered_map, ship


def square(x):
    return x * x


def slow_first(x):
    time.sleep(0.1 if x == 0 else 0.0)
    return x


def unwilling(x):
    if x == 1:
        raise EvaluationError("the molecule fell apart")
    return x


def deadly(x):
    if x == 1:
        os._exit(1)
    return x


class Reversed(Executor):
    """Completes tasks in reverse order when the first result is asked for, as a cluster may."""

    def __init__(self):
        self._waiting = []

    def submit(self, function, /, *arguments, **keywords):
        future = Future()
        self._waiting.append((future, function, arguments))
        if len(self._waiting) == 5:
            for waiting, task, given in reversed(self._waiting):
                waiting.set_result(task(*given))
        return future


@pytest.mark.parametrize("choice", [None, "serial", "threads:3", "processes:2", 2])
def test_values_come_in_the_order_of_the_tasks(choice):
    with open_executor(choice) as executor:
        found = ordered_map(slow_first, [(x,) for x in range(5)], executor)
    assert [entry.value for entry in found] == list(range(5))


def test_any_executor_will_do():
    found = ordered_map(square, [(x,) for x in range(5)], Reversed())
    assert [entry.value for entry in found] == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("choice", [None, "threads:2", "processes:2"])
def test_a_failure_of_the_model_costs_its_task(choice):
    with open_executor(choice) as executor:
        found = ordered_map(unwilling, [(0,), (1,), (2,)], executor)
    assert [entry.value for entry in found] == [0, None, 2]
    assert found[1].failure == "the molecule fell apart"


def test_a_worker_that_dies_costs_its_task():
    with open_executor("processes:2") as executor:
        found = ordered_map(deadly, [(0,), (1,), (2,), (3,)], executor)
    assert [entry.value for entry in found] == [0, None, 2, 3]
    assert found[1].failure == "the worker process died during this task"


def test_other_exceptions_are_raised():
    with pytest.raises(TypeError):
        ordered_map(square, [("text",)], None)


def test_lambdas_travel_and_are_unpacked_once():
    factor = 3
    with open_executor("processes:1") as executor:
        assert isinstance(executor, ProcessPoolExecutor)
        found = ordered_map(lambda x: (factor * x, os.getpid()), [(1,), (2,)], executor)
    assert [entry.value[0] for entry in found] == [3, 6]
    assert found[0].value[1] != os.getpid()


def test_what_cannot_travel_is_named():
    lock = threading.Lock()
    with pytest.raises(SettingsError, match="cannot be sent to another process"):
        ship(lambda: lock)


def test_an_executor_of_the_user_stays_open():
    with ThreadPoolExecutor(1) as pool:
        with open_executor(pool) as executor:
            assert executor is pool
        assert pool.submit(square, 3).result() == 9


@pytest.mark.parametrize(
    ("choice", "message"),
    [("proceses", "No executor is called 'proceses'"), ("threads:0", "'0' workers"), ("processes:x", "'x' workers")],
)
def test_wrong_names_are_refused(choice, message):
    with pytest.raises(SettingsError, match=message), open_executor(choice):
        pass
