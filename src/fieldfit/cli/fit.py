"""`fieldfit fit`: from a settings file to a fitted force field in an output folder.

The folder is written when the fit is done. What is asked for beyond the fit (`[validate]`) comes after that and may
take far longer: the report in the folder is then replaced by one that has it. Interrupted in between, the fit is there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fieldfit.cli.fit_output import force_field_files, report_files
from fieldfit.cli.inputs import Inputs, present, read_inputs
from fieldfit.cli.output import check_output_folder, replace_files, write_folder
from fieldfit.cli.settings import Settings, read_settings
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.forcefield.cross_validation import leave_molecules_out
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats import render
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.report_records import Checks
from fieldfit.forcefield.staged_fit import StagedFit, fit_force_field
from fieldfit.optimizers.names import make_optimizer
from fieldfit.parameters import Parameters
from fieldfit.problem import AbstractOptimizer, Step
from fieldfit.reporting import ProgressLine
from fieldfit.validation import bootstrap, l_curve

Say = Callable[[str], None]

MOST_TYPES = 30
"""Atoms up to which the types of a molecule are printed."""


def run_fit(path: str, *, output: str | None = None, is_quiet: bool = False, calibrates: bool = False) -> int:
    """Fit a force field as a settings file says.

    Args:
        path: The settings file.
        output: Output folder instead of the one in the settings.
        is_quiet: Print no progress and no report.
        calibrates: Time standard matrix operations too.

    Returns:
        0 if the fit converged, else 1; 130 if what comes after the fit was interrupted.

    Raises:
        FieldfitError: What was given cannot be used; nothing has been written.
    """
    clock = _Clock()
    settings = read_settings(path)
    folder = Path(output) if output else settings.folder / settings.output.folder
    check_output_folder(folder, settings.folder, (Path(path).name, *settings.files))
    check_validation(settings)
    optimizer = choose_optimizer(settings)
    inputs = read_inputs(settings)
    say: Say = _silent if is_quiet else lambda text: _say(text)
    options = fit_options(settings, inputs, optimizer)
    clock.lap("read")
    fit = fit_force_field(
        inputs.molecules,
        inputs.force_field,
        inputs.references,
        observers=(clock, *(() if is_quiet else (ProgressLine(),))),
        tell=say,
        on_start=lambda field, parameters: _begin(settings, inputs, field, parameters, say=say),
        **options,
    )
    clock.lap("rest of the fit")
    report = fit.report()
    clock.lap("report")
    if calibrates:
        from fieldfit.reporting.calibration import calibrate

        say(f"\n{calibrate()}")
    files = report_files(fit, report, clock.laps) | force_field_files(fit, inputs, settings.output.formats)
    kept = write_folder(folder, files)
    try:
        checks = validate(settings, inputs, fit, options, say=say)
    except KeyboardInterrupt:
        sys.stderr.write(f"fieldfit: interrupted after the fit, which is in {folder}\n")
        return 130
    if checks != Checks():
        clock.lap("validation")
        report = fit.report(checks)
        replace_files(folder, report_files(fit, report, clock.laps))
    say(f"\n{report}")
    say(f"Times [s]: {', '.join(f'{name} {seconds:.2f}' for name, seconds in clock.laps.items())}")
    say(f"Wrote {', '.join(files)} into {folder}" + (f"; the earlier folder is kept as {kept}" if kept else ""))
    return 0 if fit.result.success else 1


def fit_options(settings: Settings, inputs: Inputs, optimizer: AbstractOptimizer) -> dict[str, Any]:
    """Return the options of `fit_force_field` that the settings state."""
    given = settings.fit
    return {
        "parameters": inputs.parameters,
        "start": inputs.start,
        "transition_state": settings.start.transition_state,
        "optimizer": optimizer,
        "engine": given.engine,
        "regularization": given.regularization,
        "weights": given.weights,
        "n_starts": given.n_starts,
        "seed": given.seed,
        "ensembles": inputs.ensembles,
    }


def validate(settings: Settings, inputs: Inputs, fit: StagedFit, options: dict[str, Any], *, say: Say) -> Checks:
    """Do what the settings ask for beyond the fit; what cannot be evaluated is said and left out."""
    given = settings.validate
    checks = Checks()
    if given.leave_one_out:
        say(f"Leaving out each of {len(inputs.molecules)} molecules in turn")
        found = leave_molecules_out(inputs.molecules, inputs.force_field, inputs.references, full=fit, **options)
        checks = replace(checks, leave_one_out=found)
    if given.bootstrap:
        say(f"Bootstrap of {given.bootstrap} fits")
        try:
            found = bootstrap(
                fit.objective,
                fit.optimizer,
                fit.result,
                n_samples=given.bootstrap,
                seed=settings.fit.seed,
                groups=given.bootstrap_groups,
            )
            checks = replace(checks, bootstrap=found)
        except EvaluationError as error:
            sys.stderr.write(f"fieldfit: {error}\n")
    if given.l_curve:
        say(f"L-curve over {len(given.l_curve)} strengths")
        checks = replace(checks, l_curve=l_curve(fit.make_objective, fit.optimizer, given.l_curve))
    return checks


def check_validation(settings: Settings) -> None:
    """Refuse what could not be done after the fit, before it.

    Raises:
        SettingsError: One molecule cannot be left out, too few strengths for an L-curve, or unknown groups.
    """
    given = settings.validate
    if given.leave_one_out and len(settings.molecules) < 2:
        raise SettingsError(
            "leave_one_out is true, but there is one molecule: without it nothing is left. Give more molecules, or "
            "leave it out."
        )
    if given.l_curve and len(set(given.l_curve)) < 3:
        raise SettingsError(
            f"l_curve has {len(set(given.l_curve))} strengths, in which there is no corner to find. Give at least "
            "three, such as [1e-4, 1e-3, 1e-2, 1e-1, 1.0]."
        )
    if given.bootstrap_groups not in ("rows", "terms"):
        raise SettingsError(
            f"bootstrap_groups = {given.bootstrap_groups!r} is not known. Give 'rows', single observations, or "
            "'terms', all observations of one kind for one molecule together."
        )


def choose_optimizer(settings: Settings) -> AbstractOptimizer:
    """Make the optimizer that the settings name, with their limits where it has such.

    Raises:
        SettingsError: No optimizer or method has that name, or a limit is given that it does not have.
    """
    made: Any = make_optimizer(settings.fit.optimizer)
    known = {entry.name for entry in fields(made)}
    given = present(maxiter=settings.fit.maxiter)
    if not set(given) <= known:
        raise SettingsError(
            f"maxiter is given, but the optimizer {settings.fit.optimizer!r} has no such limit. Leave it out."
        )
    if settings.fit.optimizer == "scipy-lbfgsb-l2" and not settings.fit.regularization:
        raise SettingsError(
            "The optimizer 'scipy-lbfgsb-l2' stands for L-BFGS-B with an L2 tether, but regularization is 0. Give "
            "`regularization`, or name 'scipy-lbfgsb'."
        )
    return replace(made, **given, **({"ftol": settings.fit.ftol} if "ftol" in known else {}))


class _Clock:
    """Names the parts of a run and their durations; as an observer it ends the part of the first evaluation."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._begin = time.perf_counter()

    def __call__(self, step: Step) -> None:
        if step.iteration == 0 and "compilation and first evaluation" not in self.laps:
            self.lap("compilation and first evaluation")

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._begin
        self._begin = now


def _begin(settings: Settings, inputs: Inputs, field: ForceField, parameters: Parameters, *, say: Say) -> None:
    """Say what is fitted, and fail now rather than after the fit if a format cannot express the force field."""
    for name in settings.output.formats:
        render(field, inputs.molecules, format=name)
    rows = field.rows
    kinds = {kind: sum(row.kind == kind for row in rows) for kind in dict.fromkeys(row.kind for row in rows)}
    listing = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    free = f"{parameters.n_free} of {parameters.size} parameters are fitted"
    say("\n".join([*map(_describe, inputs.molecules), f"Force field: {listing} rows; {free}"]))


def _describe(molecule: Molecule) -> str:
    types = f", types {' '.join(molecule.types)}" if molecule.n_atoms <= MOST_TYPES else ""
    return f"{molecule.name}: {molecule.n_atoms} atoms, {len(molecule.bonds)} bonds{types}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _silent(text: str) -> None:
    """Say nothing."""
