"""How a run goes on from a file: continued from its last step, or begun anew at its best point.

A stepped optimizer is continued: same bits, same counts, same history as if it had never been interrupted. Others keep
their state to themselves: they begin anew at the best point, and the message of the result says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fieldfit.errors import SettingsError
from fieldfit.objectives import Evaluation
from fieldfit.problem.checkpoint import SavedRun, read_checkpoint
from fieldfit.problem.fingerprint import differences, problem_fingerprint
from fieldfit.problem.problem import Problem
from fieldfit.problem.recorder import Recorder
from fieldfit.typing import FilePath

SAME_COST = 1e-6
"""Costs at the start that differ by less, relatively, are equal: inner solves and relaxations have tolerances."""


def as_saved(given: FilePath | SavedRun) -> SavedRun:
    """Return a path as the run that the file holds."""
    return given if isinstance(given, SavedRun) else read_checkpoint(given)


def begun_anew(problem: Problem, saved: SavedRun, method: str) -> Problem:
    """Return a problem that starts at the best point of an earlier run.

    Args:
        problem: What is asked.
        saved: The earlier run.
        method: Name of the optimizer.

    Raises:
        SettingsError: The earlier run was one of another problem or optimizer.
    """
    _check(saved, method, problem_fingerprint(problem), problem)
    parameters = problem.parameters.replace(saved.values)
    state = saved.contents.record.best.state
    return Problem(problem.objective, parameters, constraints=problem.constraints, state=state)


def continued(
    recorder: Recorder, saved: SavedRun, problem: Problem, method: str, fingerprint: Mapping[str, Any]
) -> Evaluation:
    """Make a recorder remember an earlier run, and return the evaluation at the start of that.

    Args:
        recorder: Of the run that goes on.
        saved: The earlier run.
        problem: What is asked.
        method: Name of the optimizer.
        fingerprint: Of problem and options.

    Raises:
        SettingsError: The earlier run was one of another problem, optimizer or data.
    """
    _check(saved, method, fingerprint, problem)
    contents = saved.contents
    recorder.restore(contents.record, contents.state)
    return contents.start


def check_cost(saved: SavedRun, now: float) -> None:
    """Refuse to go on if the objective at the start is not what it was: data have changed.

    Args:
        saved: The earlier run.
        now: Cost at the start.

    Raises:
        SettingsError: The costs differ.
    """
    then = saved.contents.start.cost
    if not abs(now - then) <= SAME_COST * max(abs(now), abs(then)):
        raise SettingsError(
            f"The cost at the start is {now:.9g}, but it was {then:.9g} in the run of {saved.path}: the objective or "
            "its data are not the same. Take those of that run, or begin anew at its best point: give the parameters "
            "`read_checkpoint(path).values` as the start."
        )


def resumption_note(saved: SavedRun, method: str, versions: Mapping[str, str], *, is_continued: bool) -> str:
    """Return what the message of a result should say about how the run was resumed; empty if nothing.

    Args:
        saved: The earlier run.
        method: Name of the optimizer.
        versions: Of the programs now.
        is_continued: Whether the run went on from its last step.
    """
    if not is_continued:
        return f"begun anew at the best point of {saved.path}, because {method} cannot be continued from within"
    changed = [
        f"{name} {version} instead of {saved.versions.get(name)}"
        for name, version in versions.items()
        if saved.versions.get(name) != version
    ]
    return f"continued with {', '.join(changed)}" if changed else ""


def _check(saved: SavedRun, method: str, fingerprint: Mapping[str, Any], problem: Problem) -> None:
    found = [] if saved.method == method else [f"optimizer: {method}, was {saved.method}"]
    labels = problem.parameters.labels
    found += differences(saved.contents.fingerprint, fingerprint, labels)
    if found:
        raise SettingsError(
            f"The run of {saved.path} cannot be resumed by this call: {'; '.join(found)}. Ask the same as that run, or "
            "begin anew at its best point: give the parameters `read_checkpoint(path).values` as the start."
        )
