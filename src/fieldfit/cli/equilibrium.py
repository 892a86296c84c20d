"""`fieldfit equilibrium solve|optimize`: from a settings file to an equilibrium in an output folder.

`solve` finds the surfaces inside a given boundary. `optimize` solves first, and then varies what is free until the
quantities of the plasma are what they should be, force balance being a constraint that the method meets in its way.

The folder is written when the run is done. While it goes on, each accepted point is in a checkpoint beside the folder,
which a later run can go on from.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fieldfit.cli.equilibrium_inputs import (
    FORCE,
    default_scales,
    force_term,
    force_within,
    free_elements,
    held_parameters,
    quantity_terms,
    read_equilibrium,
    read_grid,
)
from fieldfit.cli.equilibrium_report import Report, State, free_values
from fieldfit.cli.equilibrium_settings import OPTIMIZE, SOLVE, Settings, read_settings
from fieldfit.cli.output import Content, check_output_folder, readable_json, set_aside, write_folder
from fieldfit.equilibrium import Equilibrium, Grid, plot_force, plot_surfaces, save, solve
from fieldfit.equilibrium.equilibrium import UNKNOWNS
from fieldfit.errors import FieldfitError, SettingsError
from fieldfit.optimize import Optimizer, ThingsResult
from fieldfit.optimize.capabilities import method_traits
from fieldfit.optimize.names import PROXIMAL, UNIVERSAL, find_method
from fieldfit.optimize.options import read_options
from fieldfit.problem import OptimizationResult
from fieldfit.things import Term

SOLVER, SHAPER, CONSTRAINED_SHAPER = "lsq-exact", "proximal-lsq-exact", "lsq-auglag"
"""Methods unless the settings name one: of a solve, of an optimization, and of one with further constraints."""

CHECKPOINT = "checkpoint.npz"

PICTURE_SIZE = {"figsize": (5.0, 6.0), "layout": "constrained"}

INTERRUPTED = 130

SMALLEST_WIDTH = 1e-8
"""Residual of force balance that counts as none."""


@dataclass(frozen=True)
class Run:
    """How a run was started.

    Args:
        command: "solve" or "optimize".
        settings: What the file says.
        folder: Where the output goes.
        is_quiet: Whether nothing is printed.
        resumes: Whether it goes on from a checkpoint.
        laps: Part of the run to its duration [s], filled on the way.
    """

    command: str
    settings: Settings
    folder: Path
    is_quiet: bool
    resumes: bool
    laps: dict[str, float] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print, unless the run is quiet."""
        if not self.is_quiet:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    @property
    def method(self) -> str:
        """Name of the optimizer."""
        default = CONSTRAINED_SHAPER if self.settings.constraints else SHAPER
        return self.settings.optimizer.method or (SOLVER if self.command == SOLVE else default)

    @property
    def is_proximal(self) -> bool:
        """Whether the method solves force balance anew at every point."""
        return self.method.startswith(PROXIMAL)

    @property
    def compiles(self) -> bool:
        """Whether there are programs to compile: quantities, second derivatives, or an optimizer that is a program."""
        traits = method_traits(self.method.removeprefix(PROXIMAL))
        return self.command == OPTIMIZE or traits.needs_hessian or traits.needs_tracing

    @property
    def checkpoint(self) -> Path:
        """The file that every accepted point is written to while the run goes on."""
        return self.folder.with_name(f"{self.folder.name}.{CHECKPOINT}")

    def resume_path(self) -> Path | None:
        """Return the checkpoint to go on from: that of a run which was cut off, else that of one which ended.

        Raises:
            SettingsError: There is none.
        """
        if not self.resumes:
            return None
        places = (self.checkpoint, self.folder / CHECKPOINT)
        for place in places:
            if place.is_file():
                return place
        raise SettingsError(
            f"There is no checkpoint to resume from, neither {places[0]} nor {places[1]}. Leave out --resume."
        )


def begin(command: str, path: str, *, output: str | None = None, is_quiet: bool = False, resumes: bool = False) -> Run:
    """Read what is asked for.

    Args:
        command: "solve" or "optimize".
        path: The settings file.
        output: Output folder instead of the one in the settings.
        is_quiet: Print no progress and no report.
        resumes: Go on from the checkpoint of an earlier run.

    Raises:
        FieldfitError: What was given cannot be used.
    """
    settings = read_settings(path, command)
    run = Run(command, settings, Path(output) if output else settings.output_folder, is_quiet, resumes)
    check_output_folder(run.folder, settings.path.resolve().parent, settings.files)
    _check_optimizer(run)
    run.resume_path()
    return run


def run_equilibrium(run: Run) -> int:
    """Solve for an equilibrium, or optimize one.

    Args:
        run: From `begin`.

    Returns:
        0 if the run was a success, 1 if not, 130 if it was interrupted.

    Raises:
        FieldfitError: What was given cannot be used; nothing has been written.
    """
    try:
        return _solve(run) if run.command == SOLVE else _optimize(run)
    except KeyboardInterrupt:
        kept = f"; --resume goes on from {run.checkpoint}" if run.checkpoint.is_file() else "; nothing was written"
        sys.stderr.write(f"fieldfit: interrupted{kept}\n")
        return INTERRUPTED


def _check_optimizer(run: Run) -> None:
    """Refuse a method or an option before anything is computed.

    Raises:
        SettingsError: It is not known, or the method cannot take what is asked for.
    """
    given, where = run.settings.optimizer, f"{run.settings.path}: [optimizer]"
    try:
        method = find_method(run.method.removeprefix(PROXIMAL))
        read_options(method, given.options, {name: getattr(given, name) for name in UNIVERSAL})
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error
    if run.is_proximal and run.command == SOLVE:
        raise SettingsError(
            f"{where}: the method {run.method!r} solves force balance for every boundary that an outer problem tries, "
            f"but `solve` has no outer problem. Name {run.method.removeprefix(PROXIMAL)!r}."
        )
    if run.is_proximal and run.settings.constraints:
        raise SettingsError(
            f"{where}: the method {run.method!r} meets force balance and takes no further constraints, but there is a "
            f"[[constraints]] table. Name {CONSTRAINED_SHAPER!r}, or make the constraint an objective with bounds."
        )


def _solve(run: Run) -> int:
    start = read_equilibrium(run.settings)
    grid = read_grid(run.settings, start.resolution)
    description = _describe(start, grid)
    run.say(description)
    found, result = _optimized(run, start, (force_term(start, grid), held_parameters(start, run.settings.free)))
    surfaces = run.settings.output.surfaces
    report = Report(SOLVE, description, result, None, State.of(found, surfaces), surfaces, {}, _notes(run))
    return _finish(run, found, report)


def _optimize(run: Run) -> int:
    settings = run.settings
    given = read_equilibrium(settings)
    grid = read_grid(settings, given.resolution)
    places = free_elements(given, settings.free)
    held = held_parameters(given, settings.free)
    description = f"{_describe(given, grid)}\nFree besides: {', '.join(places)}"
    run.say(description)
    start, first = _balanced(run, given, grid, "start")
    wanted = quantity_terms(start, settings.objectives)
    conditions = list(quantity_terms(start, settings.constraints).values())
    force = _force_constraint(run, start, grid, first)
    found, result = _optimized(run, start, (wanted, [force, *conditions, *held]))
    notes = [*_notes(run), f"Force balance at the start: cost {first.cost:.6g}, {first.verdict.word}."]
    last = first
    if not run.is_proximal:
        found, last = _balanced(run, found, grid, "end")
        notes.append(
            f"{run.method} held force balance within a tolerance. The surfaces inside the boundary it found were "
            f"solved for again: cost {last.cost:.6g}, {last.verdict.word}. The quantities are those of these surfaces."
        )
    surfaces = settings.output.surfaces
    states = State.of(start, surfaces), State.of(found, surfaces)
    free = free_values(places, start, found)
    return _finish(run, found, Report(OPTIMIZE, description, result, *states, surfaces, free, notes, last.success))


def _balanced(run: Run, given: Equilibrium, grid: Grid, when: str) -> tuple[Equilibrium, OptimizationResult]:
    """Return an equilibrium solved inside the boundary that it has."""
    clock = time.perf_counter()
    found, result = solve(given, grid=grid)
    run.laps[f"solve at the {when}"] = time.perf_counter() - clock
    iterations = f"{result.n_iterations} iterations, cost {result.cost:.4g}"
    run.say(f"Force balance at the {when}: {iterations}, {result.verdict.word}")
    return found, result


def _force_constraint(run: Run, start: Equilibrium, grid: Grid, first: OptimizationResult) -> Term:
    """Return force balance as what a proximal method solves anew, or as limits for another method."""
    if run.is_proximal:
        return force_term(start, grid)
    largest = np.max(np.abs(first.residuals), initial=0.0) if first.residuals is not None else 0.0
    # Where the start has no force left at all, limits of zero would leave no room.
    width = max(run.settings.force_balance.tolerance * float(largest), SMALLEST_WIDTH)
    return force_within(start, grid, width)


def _optimized(run: Run, start: Equilibrium, terms: tuple[Any, Any]) -> tuple[Equilibrium, ThingsResult]:
    """Return what an optimizer makes of an equilibrium, and its result."""
    given = run.settings.optimizer
    resume = run.resume_path()
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    if resume:
        run.say(f"Going on from {resume}")
    clock = time.perf_counter()
    with _earlier_checkpoint_kept(run.checkpoint, is_resumed=resume is not None):
        (found,), result = Optimizer(run.method).optimize(
            start,
            *terms,
            ftol=given.ftol,
            xtol=given.xtol,
            gtol=given.gtol,
            ctol=given.ctol,
            maxiter=given.maxiter,
            x_scale=_scales(run, start),
            verbose=0 if run.is_quiet else 2,
            options=given.options,
            copy=True,
            checkpoint=run.checkpoint,
            resume=resume,
        )
    run.laps[run.command] = time.perf_counter() - clock
    return found, result


def _scales(run: Run, start: Equilibrium) -> Any:
    """Return the scales of the settings; by default lengths in one unit, for methods that rescale on their way."""
    given = run.settings.optimizer.x_scale
    if given is not None:
        return given
    return default_scales(start) if find_method(run.method.removeprefix(PROXIMAL)).rescales else "auto"


@contextmanager
def _earlier_checkpoint_kept(path: Path, *, is_resumed: bool) -> Iterator[None]:
    """Set the checkpoint of an earlier run aside within a block, and back if what was given cannot be used."""
    kept = None if is_resumed else set_aside(path)
    try:
        yield
    except FieldfitError:
        if kept is not None and not path.exists():
            kept.rename(path)
        raise


def _finish(run: Run, found: Equilibrium, report: Report) -> int:
    """Write the output folder, say what is in it, and return the exit code."""
    clock = time.perf_counter()
    files = _files(run, found, report)
    kept = write_folder(run.folder, files)
    run.checkpoint.unlink(missing_ok=True)
    run.laps["output"] = time.perf_counter() - clock
    run.say(f"\n{report.details}")
    run.say(f"Times [s]: {', '.join(f'{name} {seconds:.2f}' for name, seconds in run.laps.items())}")
    run.say(f"Wrote {', '.join(files)} into {run.folder}" + (f"; the earlier folder is kept as {kept}" if kept else ""))
    return 0 if report.is_success else 1


def _files(run: Run, found: Equilibrium, report: Report) -> dict[str, Content]:
    title = f"fieldfit equilibrium {run.command} {run.settings.path.name}"
    files: dict[str, Content] = {
        "equilibrium.npz": lambda path: save(found, path),
        "report.txt": f"{title}\n{report.description}\n\n{report.result.report}\n\n{report.details}\n",
        "report.json": readable_json(report.as_dict(run.laps)),
        "settings.toml": run.settings.path.read_text(encoding="utf-8"),
    }
    if run.checkpoint.is_file():
        # A copy: the original goes when the folder is there.
        saved = run.checkpoint.read_bytes()
        files[CHECKPOINT] = lambda path: _write_bytes(path, saved)
    return files | _pictures(run, found)


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _pictures(run: Run, found: Equilibrium) -> dict[str, Content]:
    if not _can_draw():
        return {}
    draw: Mapping[str, Callable[..., Any]] = {"surfaces": plot_surfaces, "force": plot_force}
    return {
        f"{name}.{ending}": _picture(function, found)
        for ending in run.settings.output.plots
        for name, function in draw.items()
    }


def _picture(function: Callable[..., Any], found: Equilibrium) -> Content:
    def write(path: Path) -> None:
        # Not by way of pyplot, which would look for a screen.
        from matplotlib.figure import Figure

        figure = Figure(**PICTURE_SIZE)
        function(found, figure.subplots())
        figure.savefig(path, dpi=150)

    return write


def _can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def _notes(run: Run) -> Sequence[str]:
    resumed = ["This run went on from the checkpoint of an earlier one."] if run.resumes else []
    if run.settings.output.plots and not _can_draw():
        return [
            *resumed,
            "There are no pictures: matplotlib is not installed. Try `python -m pip install 'fieldfit[plots]'`.",
        ]
    return resumed


def _describe(equilibrium: Equilibrium, grid: Grid) -> str:
    resolution = equilibrium.resolution
    size = sum(equilibrium.dimensions[name] for name in UNKNOWNS)
    return (
        f"Resolution L = {resolution.radial}, M = {resolution.poloidal}: {size} coefficients of surfaces and stream "
        f"function; {FORCE} at {grid.size} nodes; toroidal flux {equilibrium.Psi:g} Wb"
    )
