"""Checkpoints and resumption: a run that was interrupted ends where, and as, it would have ended."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fieldfit import FunctionObjective, LeastSquaresOptimizer, NonlinearEquality, Problem
from fieldfit.errors import FieldfitError, FileFormatError, SettingsError
from fieldfit.optimize import Optimizer
from fieldfit.optimizers.augmented_lagrangian import AugmentedLagrangianOptimizer
from fieldfit.optimizers.exact_steps import FACTORIZATIONS
from fieldfit.optimizers.first_order import OptaxOptimizer
from fieldfit.optimizers.scalar_trust_region import TrustRegionOptimizer
from fieldfit.optimizers.scipy import ScipyOptimizer
from fieldfit.problem import Checkpoint, read_checkpoint
from fieldfit.problem.state_files import decode
from fieldfit.things import Term
from some_things import Settable, plain, values_of
from some_things import rosenbrock as valley
from toys import Switching, Watched, rosenbrock

# What the tests share.


class Keeping:
    """Copies the checkpoint after every step."""

    def __init__(self, folder) -> None:
        self.path, self.copies, self.steps = folder / "run.npz", [], []
        self.always = Checkpoint(self.path, seconds=0.0)

    def __call__(self, step) -> None:
        self.steps.append(step)
        if step.is_accepted or step.iteration == 0:
            self.copies.append(self.path.with_name(f"{step.iteration}.npz"))
            shutil.copy(self.path, self.copies[-1])


def what_it_was(fit):
    """Everything that a result says but for how long it took."""
    return {
        "x": fit.final_params.tolist(),
        "cost": fit.cost,
        "initial": fit.initial_score,
        # As bytes: a cost that is no number is not equal to itself.
        "history": np.array([tuple(entry) for entry in fit.history], dtype=float).tobytes(),
        "counts": (fit.n_iterations, fit.n_evaluations, fit.n_derivative_evaluations, fit.n_difference_evaluations),
        "message": fit.message,
        "verdict": fit.verdict,
        "last": [(cost, x.tolist()) for cost, x in fit.last_accepted],
        "failures": fit.failures,
        "terms": fit.terms,
        "multipliers": {name: values.tolist() for name, values in fit.multipliers.items()},
    }


def resumed_everywhere(optimizer, make, folder):
    """Run, and run again from files that were there on the way, a handful of them."""
    keeping = Keeping(folder)
    whole = optimizer.optimize(make(), checkpoint=keeping.always, observers=[keeping])
    assert len(keeping.copies) > 2
    chosen = keeping.copies[:: 1 + len(keeping.copies) // 5]
    again = [optimizer.optimize(make(), resume=path) for path in chosen]
    return whole, again, keeping


def interrupted(optimizer, problem, path, *, after):
    return optimizer.optimize(problem, checkpoint=path, observers=[lambda step: step.iteration == after])


# Resume = uninterrupted.


def circle_problem(function, kind):
    circle = NonlinearEquality(lambda p: p["x"] ** 2 + p["y"] ** 2, 2.0, name="circle")
    return Problem(function, {"x": 1.0, "y": 0.5}, constraints=[circle], kind=kind)


def squares(p):
    return jnp.stack([p["x"] - 2.0, p["y"] + 0.5, p["x"] * p["y"]])


def bounded():
    return rosenbrock(lower=(-2.0, -2.0), upper=(0.5, 2.0))


STEPPED = {
    **{f"least squares, {name}": (LeastSquaresOptimizer(factorization=name), bounded) for name in FACTORIZATIONS},
    "least squares, without bounds": (LeastSquaresOptimizer(), rosenbrock),
    "least squares, by differences": (LeastSquaresOptimizer(), lambda: rosenbrock(derivatives="differences")),
    "least squares, whose meaning changes": (LeastSquaresOptimizer(), Switching),
    **{name: (TrustRegionOptimizer(name), bounded) for name in ("exact", "dogleg", "subspace")},
    "sgd with momentum": (OptaxOptimizer("sgd", max_steps=12, options={"momentum": 0.9}), rosenbrock),
    "adam with a schedule": (OptaxOptimizer("adam", max_steps=12, schedule="cosine"), bounded),
    "patient lion": (OptaxOptimizer("lion", max_steps=40, patience=3, min_improvement=0.5), rosenbrock),
    "auglag of squares": (
        AugmentedLagrangianOptimizer(gtol=None, maxiter=5),
        lambda: circle_problem(squares, "residuals"),
    ),
    "auglag of a scalar": (
        AugmentedLagrangianOptimizer(gtol=None, maxiter=5),
        lambda: circle_problem(lambda p: p["x"] + jnp.exp(p["y"]), "loss"),
    ),
    "auglag without second derivatives": (
        AugmentedLagrangianOptimizer(ScipyOptimizer("L-BFGS-B"), gtol=None, maxiter=5),
        lambda: circle_problem(squares, "residuals"),
    ),
    "auglag without constraints": (AugmentedLagrangianOptimizer(), rosenbrock),
}


@pytest.mark.parametrize("name", STEPPED)
def test_a_run_resumed_at_any_accepted_step_equals_the_uninterrupted_one(name, tmp_path) -> None:
    optimizer, make = STEPPED[name]
    whole, again, _ = resumed_everywhere(optimizer, make, tmp_path)
    for found in again:
        assert what_it_was(found) == what_it_was(whole)


NAMES = ("lsq-exact", "fmin-exact", "fmin-dogleg", "fmin-subspace", "sgd", "optax-adam", "lsq-auglag", "fmin-auglag")


@pytest.mark.parametrize("name", NAMES)
def test_a_run_over_things_equals_the_uninterrupted_one_path_included(name, tmp_path) -> None:
    asked = {"maxiter": 25, "ftol": 1e-9, "verbose": 0}
    things, constraints = plain(x=[-1.2, 1.0]), ()
    if name.endswith("auglag"):
        constraints = circle_term()
    keeping = Keeping(tmp_path)
    _, whole = Optimizer(name).optimize(
        things, valley(), constraints, checkpoint=keeping.always, observers=[keeping], **asked
    )
    for path in (keeping.copies[1], keeping.copies[len(keeping.copies) // 2]):
        _, again = Optimizer(name).optimize(things, valley(), constraints, resume=path, **asked)
        assert what_it_was(again.fit) == what_it_was(whole.fit)
        assert_array_equal(again.x, whole.x)
        assert_array_equal(again.allx, whole.allx)
        assert str(again["Objective values"]) == str(whole["Objective values"])
        assert again.success == whole.success


_CIRCLE = Term(lambda p: jnp.sum(p["x"] ** 2), target=1.0, name="circle")


def circle_term() -> Term:
    return _CIRCLE


# The inner unknown x solves x^3 + x = y; wanted is x = 2, so y = 10.
BALANCE = Term(lambda p: p["x"] ** 3 + p["x"] - p["y"], name="balance", solves_for=["x"])
WANTED = Term(lambda p: jnp.stack([p["x"] - 2.0, 0.1 * p["x"] * (p["y"] - 10.0)]), name="wanted")


@pytest.mark.parametrize("name", ["proximal-lsq-exact", "proximal-fmin-exact", "proximal-sgd", "proximal-lsq-auglag"])
def test_inner_solutions_go_on_where_they_were(name, tmp_path) -> None:
    asked = {"maxiter": 8, "ftol": 1e-12, "verbose": 0, "copy": True}
    things, keeping = plain(x=0.5, y=1.0), Keeping(tmp_path)
    _, whole = Optimizer(name).optimize(
        things, WANTED, BALANCE, checkpoint=keeping.always, observers=[keeping], **asked
    )
    for path in keeping.copies:
        _, again = Optimizer(name).optimize(things, WANTED, BALANCE, resume=path, **asked)
        assert what_it_was(again.fit) == what_it_was(whole.fit)
        assert_array_equal(again.x, whole.x)


@settings(deadline=None, max_examples=15)
@given(
    start=st.tuples(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0)),
    edge=st.floats(-1.0, 3.0),
    after=st.integers(0, 6),
    factorization=st.sampled_from(FACTORIZATIONS),
)
def test_that_holds_for_any_start_with_failures_on_the_way(tmp_path_factory, start, edge, after, factorization) -> None:
    def make():
        return Watched(rosenbrock(start), fails=lambda values: values[0] > edge + 1e-3 and values[0] != start[0])

    path = tmp_path_factory.mktemp("run") / "run.npz"
    optimizer = LeastSquaresOptimizer(factorization=factorization)
    whole = optimizer.optimize(make())
    interrupted(optimizer, make(), path, after=after)
    assert what_it_was(optimizer.optimize(make(), resume=path)) == what_it_was(whole)


def test_a_finished_run_goes_on_with_more_iterations_and_other_tolerances(tmp_path) -> None:
    path = tmp_path / "run.npz"
    for few in range(1, 9):
        first = LeastSquaresOptimizer(maxiter=few, ftol=1e-3).optimize(rosenbrock(), checkpoint=path)
        assert first.n_iterations <= few
        again = LeastSquaresOptimizer().optimize(rosenbrock(), checkpoint=path, resume=path)
        assert what_it_was(again) == what_it_was(LeastSquaresOptimizer().optimize(rosenbrock()))
    # The file is now that of the whole run: nothing is left to do.
    assert what_it_was(LeastSquaresOptimizer().optimize(rosenbrock(), resume=path)) == what_it_was(again)


def test_things_that_the_run_has_moved_go_on_from_where_they_were(tmp_path) -> None:
    asked = {"ftol": 1e-12, "verbose": 0}
    _, whole = Optimizer("lsq-exact").optimize(Settable([-1.2, 1.0]), valley(), **asked)
    thing, path = Settable([-1.2, 1.0]), tmp_path / "run.npz"
    Optimizer("lsq-exact").optimize(thing, valley(), maxiter=4, checkpoint=path, **asked)
    assert thing.params_dict["x"].tolist() != [-1.2, 1.0]
    (same,), again = Optimizer("lsq-exact").optimize(thing, valley(), resume=path, **asked)
    assert same is thing
    assert what_it_was(again.fit) == what_it_was(whole.fit)
    assert_array_equal(again.allx, whole.allx)


def test_observers_hear_of_the_steps_that_are_left(tmp_path) -> None:
    path, told, heard = tmp_path / "run.npz", [], []
    LeastSquaresOptimizer().optimize(rosenbrock(), observers=[told.append])
    interrupted(LeastSquaresOptimizer(), rosenbrock(), path, after=3)
    LeastSquaresOptimizer().optimize(rosenbrock(), resume=path, observers=[heard.append])
    assert [step.iteration for step in heard] == [step.iteration for step in told if step.iteration > 3]
    assert [step.cost for step in heard] == [step.cost for step in told if step.iteration > 3]


# Interruptions.

KILLED = """
    import os, signal, sys
    import numpy as np
    from fieldfit import LeastSquaresOptimizer
    from fieldfit.problem import Checkpoint
    from toys import rosenbrock

    def die(step):
        if step.iteration == 5:
            print("here", flush=True)
            signal.pause() if {waits} else os.kill(os.getpid(), signal.SIGKILL)

    LeastSquaresOptimizer().optimize(rosenbrock(), checkpoint=Checkpoint(sys.argv[1], seconds=0.0), observers=[die])
"""


@pytest.mark.parametrize("waits", [False, True])
def test_a_killed_process_leaves_a_file_from_which_the_run_ends_as_it_would_have(waits, tmp_path) -> None:
    path = tmp_path / "run.npz"
    script = textwrap.dedent(KILLED.format(waits=waits))
    search = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry), "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, env=search)
    assert process.stdout.readline() == b"here\n"
    if waits:
        process.kill()
    assert process.wait(60) == -signal.SIGKILL
    process.stdout.close()
    again = LeastSquaresOptimizer().optimize(rosenbrock(), resume=path)
    assert what_it_was(again) == what_it_was(LeastSquaresOptimizer().optimize(rosenbrock()))


def test_an_interrupt_in_the_middle_of_a_step_loses_that_step_only(tmp_path) -> None:
    def strike(values):
        if len(objective.seen) == 5:
            raise KeyboardInterrupt
        return False

    objective, path = Watched(rosenbrock(), fails=strike), tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        LeastSquaresOptimizer().optimize(objective, checkpoint=Checkpoint(path, seconds=3600.0))
    assert read_checkpoint(path).contents.record.iteration == 3
    again = LeastSquaresOptimizer().optimize(rosenbrock(), resume=path)
    assert what_it_was(again) == what_it_was(LeastSquaresOptimizer().optimize(rosenbrock()))


def test_a_file_is_written_only_so_often_and_at_the_end(tmp_path) -> None:
    path, times = tmp_path / "run.npz", []
    LeastSquaresOptimizer().optimize(
        rosenbrock(),
        checkpoint=Checkpoint(path, seconds=3600.0),
        observers=[lambda step: times.append(path.stat().st_mtime_ns)],
    )
    assert len(set(times)) == 1
    assert path.stat().st_mtime_ns > times[0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]


def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch) -> None:
    path = tmp_path / "run.npz"
    interrupted(LeastSquaresOptimizer(), rosenbrock(), path, after=2)
    before = path.read_bytes()

    def full(*_args, **_keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="No space"):
        LeastSquaresOptimizer().optimize(rosenbrock(), checkpoint=path)
    assert path.read_bytes() == before


# Files.


def test_numpy_alone_reads_what_matters(tmp_path) -> None:
    path = tmp_path / "run.npz"
    _, result = Optimizer("lsq-exact").optimize(plain(x=[-1.2, 1.0]), valley(), ftol=1e-12, verbose=0, checkpoint=path)
    with np.load(path, allow_pickle=False) as file:
        assert_array_equal(file["best/thing0.x"], result.x)
        assert_array_equal(file["start/thing0.x"], [-1.2, 1.0])
        assert_array_equal(file["last/thing0.x"], result.x)
        assert_array_equal(file["history/cost"], [entry.cost for entry in result.history])
        assert_array_equal(file["points"], result.allx)
        about = json.loads(file["metadata"].item())
    assert about["method"] == "least-squares"
    assert about["versions"]["numpy"] == np.__version__


def test_damaged_files_are_refused(tmp_path) -> None:
    path, damaged = tmp_path / "run.npz", tmp_path / "damaged.npz"
    interrupted(LeastSquaresOptimizer(), rosenbrock(), path, after=2)
    whole = path.read_bytes()
    places = range(40, len(whole), len(whole) // 40)
    texts = [b"", b"no checkpoint", whole[:100], whole[: len(whole) // 2], whole[:-1]]
    texts += [whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :] for place in places]
    for text in texts:
        damaged.write_bytes(text)
        try:
            again = LeastSquaresOptimizer().optimize(rosenbrock(), resume=damaged)
        except FieldfitError:
            continue
        # Some bytes of an archive say nothing: dates, attributes.
        assert what_it_was(again) == what_it_was(LeastSquaresOptimizer().optimize(rosenbrock()))


def test_files_of_something_else_are_refused(tmp_path) -> None:
    path = tmp_path / "other.npz"
    with pytest.raises(FileFormatError, match=r"other\.npz cannot be read as a checkpoint"):
        read_checkpoint(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(FileFormatError, match="metadata"):
        read_checkpoint(path)
    np.savez(path, metadata=np.array(json.dumps({"format": "fieldfit checkpoint 99"})))
    with pytest.raises(FileFormatError, match="checkpoint 99"):
        read_checkpoint(path)


def test_nothing_is_executed_on_loading(tmp_path) -> None:
    # A pickle that makes a folder when it is loaded, and a class that no table names.
    path, trap = tmp_path / "trap.npz", tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return (type(tmp_path).mkdir, (trap,))

    np.savez(path, metadata=np.array([Trap()], dtype=object))
    with pytest.raises(FileFormatError):
        read_checkpoint(path)
    assert not trap.exists()
    encoded = {"top": {"record": 0}, "records": [["subprocess:Popen", {"args": "touch trap"}]]}
    with pytest.raises(SettingsError, match="subprocess:Popen, which is not registered"):
        decode(encoded, [])


def test_a_folder_that_is_not_there_is_said_before_anything_is_evaluated(tmp_path) -> None:
    objective = Watched(rosenbrock())
    with pytest.raises(SettingsError, match="no folder"):
        LeastSquaresOptimizer().optimize(objective, checkpoint=tmp_path / "missing" / "run.npz")
    assert not objective.seen


# Another question.


def with_bounds(lower):
    return rosenbrock(lower=(lower, -np.inf))


OTHERS = {
    "parameters: z": lambda: FunctionObjective(lambda p: jnp.stack([p["x"], p["z"], 1.0]), {"x": -1.2, "z": 1.0}),
    "start of x: -1, was -1.2": lambda: rosenbrock((-1.0, 1.0)),
    "lower bounds of x: -3, was -inf": lambda: with_bounds(-3.0),
    "scales of y: 2, was 1": lambda: Problem(rosenbrock(), replaced(rosenbrock().parameters, "y", scale=2.0)),
    "fixed mark of y": lambda: Problem(rosenbrock(), rosenbrock().parameters.fix("y")),
    "constraints: circle": lambda: circle_problem(squares, "residuals"),
    "residuals": lambda: FunctionObjective(lambda p: jnp.stack([p["x"], p["y"], 1.0]), {"x": -1.2, "y": 1.0}),
    "The cost at the start is": lambda: vector_of_other_data(),
}


def replaced(parameters, name, **changes):
    return type(parameters)([entry.replace(**changes) if entry.name == name else entry for entry in parameters])


def vector_of_other_data():
    given = rosenbrock()
    return FunctionObjective(
        lambda p: np.array([10.0 * (p["y"] - p["x"] ** 2), 1.5 - p["x"]]), given.parameters, derivatives="differences"
    )


@pytest.mark.parametrize("expected", OTHERS)
def test_another_problem_is_refused_with_what_differs(expected, tmp_path) -> None:
    path = tmp_path / "run.npz"
    interrupted(LeastSquaresOptimizer(), rosenbrock(), path, after=2)
    optimizer = AugmentedLagrangianOptimizer() if "circle" in expected else LeastSquaresOptimizer()
    with pytest.raises(SettingsError) as caught:
        optimizer.optimize(OTHERS[expected](), resume=path)
    assert expected in str(caught.value)
    assert "begin anew at its best point" in str(caught.value)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (TrustRegionOptimizer("exact"), "optimizer: trust-region-exact, was least-squares"),
        (LeastSquaresOptimizer(factorization="svd"), "option: factorization is 'svd', was 'qr'"),
        (LeastSquaresOptimizer(initial_radius=2.0), "option: initial_radius is 2.0, was 1.0"),
        (ScipyOptimizer("trf"), "optimizer: scipy-trf, was least-squares"),
    ],
)
def test_another_optimizer_is_refused_with_what_differs(other, expected, tmp_path) -> None:
    path = tmp_path / "run.npz"
    interrupted(LeastSquaresOptimizer(), rosenbrock(), path, after=2)
    with pytest.raises(SettingsError) as caught:
        other.optimize(rosenbrock(), resume=path)
    assert expected in str(caught.value)


def test_a_schedule_over_another_number_of_steps_is_another_method(tmp_path) -> None:
    path, adam = tmp_path / "run.npz", OptaxOptimizer("adam", max_steps=6)
    adam.optimize(rosenbrock(), checkpoint=path)
    longer = replace(adam, max_steps=9)
    assert what_it_was(longer.optimize(rosenbrock(), resume=path)) == what_it_was(longer.optimize(rosenbrock()))
    replace(adam, schedule="cosine").optimize(rosenbrock(), checkpoint=path)
    with pytest.raises(SettingsError, match="max_steps is 9, was 6"):
        replace(longer, schedule="cosine").optimize(rosenbrock(), resume=path)


def test_a_thing_with_another_value_of_what_is_held_is_refused(tmp_path) -> None:
    path, held = tmp_path / "run.npz", Term(values_of("y"), target=1.0, is_linear=True, name="held")
    term = Term(lambda p: p["x"] * p["y"] - 2.0, name="product")
    Optimizer("lsq-exact").optimize(plain(x=[1.0], y=1.0), term, held, maxiter=1, verbose=0, checkpoint=path)
    with pytest.raises(SettingsError, match=r"thing0\.y: 3, was 1"):
        Optimizer("lsq-exact").optimize(plain(x=[1.0], y=3.0), term, held, verbose=0, resume=path)


# From the point alone.


def test_a_result_or_values_by_name_begin_a_new_run_there(tmp_path) -> None:
    path, asked = tmp_path / "run.npz", {"verbose": 0, "ftol": 1e-12}
    things = plain(x=[-1.2, 1.0])
    _, first = Optimizer("lsq-exact").optimize(things, valley(), maxiter=4, checkpoint=path, **asked)
    for earlier in (first, read_checkpoint(path).values):
        _, second = Optimizer("fmin-exact").optimize(things, valley(), resume=earlier, **asked)
        assert second.fit.initial_score == pytest.approx(first.fun)
        assert second.history[0].evaluation == 1


def test_methods_of_scipy_begin_anew_at_the_best_point_and_say_so(tmp_path) -> None:
    path, asked = tmp_path / "run.npz", {"verbose": 0, "ftol": 1e-12, "gtol": 1e-10}
    things = plain(x=[-1.2, 1.0])
    _, first = Optimizer("scipy-L-BFGS-B").optimize(things, valley(), maxiter=6, checkpoint=path, **asked)
    _, again = Optimizer("scipy-L-BFGS-B").optimize(things, valley(), resume=path, **asked)
    assert again.fit.initial_score == pytest.approx(first.fun, rel=1e-12)
    assert "begun anew at the best point of" in again.report
    assert "scipy-L-BFGS-B cannot be continued from within" in again.report
    assert again.success


def test_methods_of_scipy_are_refused_another_problem_too(tmp_path) -> None:
    path = tmp_path / "run.npz"
    ScipyOptimizer("trf", maxiter=2).optimize(rosenbrock(), checkpoint=path)
    with pytest.raises(SettingsError, match="lower bounds of x"):
        ScipyOptimizer("trf").optimize(with_bounds(-3.0), resume=path)


def test_a_file_of_nothing_sensible_is_refused_by_its_type() -> None:
    with pytest.raises(SettingsError, match="resume is a float"):
        Optimizer("lsq-exact").optimize(plain(x=[1.0]), Term(values_of()), verbose=0, resume=1.5)
