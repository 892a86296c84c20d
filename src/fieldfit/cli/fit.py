"""`fieldfit fit`: from a settings file to a fitted force field in an output folder."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

from fieldfit.cli.settings import MoleculeSettings, Settings, read_settings
from fieldfit.errors import InputError, SettingsError
from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.fitting import ForceFieldObjective
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats import FORMATS, render
from fieldfit.forcefield.initial_guess import estimate_force_constants
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.report import FitReport, report_fit
from fieldfit.forcefield.topology import perceive, share_types
from fieldfit.optimizers.names import make_optimizer
from fieldfit.parameters import Parameter, Parameters
from fieldfit.problem import AbstractOptimizer, OptimizationResult, Step
from fieldfit.reporting import ProgressLine


def run_fit(path: str, *, output: str | None = None, is_quiet: bool = False, calibrates: bool = False) -> int:
    """Fit a force field as a settings file says.

    Args:
        path: The settings file.
        output: Output folder instead of the one in the settings.
        is_quiet: Print no progress and no report.
        calibrates: Time standard matrix operations too.

    Returns:
        0 if the fit converged, else 1.

    Raises:
        FieldfitError: What was given cannot be used; nothing has been written.
    """
    clock = _Clock()
    settings = read_settings(path)
    folder = Path(output) if output else settings.folder / settings.output.folder
    check_output_folder(folder, settings)
    optimizer = choose_optimizer(settings)
    objective = make_objective(settings)
    say = (lambda text: None) if is_quiet else (lambda text: sys.stdout.write(text + "\n"))
    say(_describe(objective))
    clock.lap("read and start")
    result = optimizer.optimize(objective, observers=(clock, *(() if is_quiet else (ProgressLine(),))))
    clock.lap("rest of the fit")
    report = report_fit(objective, result)
    clock.lap("report")
    if calibrates:
        from fieldfit.reporting.calibration import calibrate

        say(f"\n{calibrate()}")
    say(f"\n{report}")
    files = _files(objective, result, report, settings.output.formats, clock.laps)
    kept = write_folder(folder, files)
    say(f"Times [s]: {', '.join(f'{name} {seconds:.2f}' for name, seconds in clock.laps.items())}")
    say(f"Wrote {', '.join(files)} into {folder}" + (f"; the earlier folder is kept as {kept}" if kept else ""))
    return 0 if result.success else 1


def make_objective(settings: Settings) -> ForceFieldObjective:
    """Read the QM results, build and start the force field, and say what it has to reproduce.

    Raises:
        InputError: Something that the settings name cannot be used.
    """
    molecules = read_molecules(settings)
    field, parameters = start_force_field(settings, molecules)
    for name in settings.output.formats:
        # Fails now rather than after the fit if a format cannot express the force field.
        render(field, molecules, format=name)
    return ForceFieldObjective(
        field,
        molecules,
        settings.references or None,
        engine=settings.fit.engine,
        parameters=parameters,
        regularization=settings.fit.regularization,
    )


def read_molecules(settings: Settings) -> tuple[Molecule, ...]:
    """Read the QM results and find bonds and types.

    Raises:
        InputError: A file, its bonds or its types cannot be used.
    """
    molecules = tuple(_read_molecule(entry, settings.folder) for entry in settings.molecules)
    names = [molecule.name for molecule in molecules]
    if len(set(names)) < len(names):
        raise SettingsError(f"Two molecules are called alike: {', '.join(names)}. Give each a name in [[molecules]].")
    untyped = [name for name, entry in zip(names, settings.molecules, strict=True) if entry.types is None]
    if len(untyped) == len(names) > 1:
        return share_types(molecules)
    if 0 < len(untyped) < len(names):
        raise SettingsError(
            f"The settings give the atom types of some molecules, but not the types of {', '.join(untyped)}. Types "
            "that are found might be called like given ones and mean something else: give the types of all, or of none."
        )
    return molecules


def _read_molecule(given: MoleculeSettings, folder: Path) -> Molecule:
    record = read(
        folder / given.file,
        name=given.name,
        format=given.format,
        **_present(hessian=given.hessian and folder / given.hessian, hessian_unit=given.hessian_unit),
    )
    for bond in given.bonds or ():
        if not 1 <= min(bond) <= max(bond) <= record.n_atoms:
            raise SettingsError(
                f"{record.name}: the settings name the bond {bond}, but the atoms are 1 to {record.n_atoms}, counted "
                "from 1. Correct it."
            )
    bonds = given.bonds and [(i - 1, j - 1) for i, j in given.bonds]
    return perceive(record, **_present(bond_tolerance=given.bond_tolerance, bonds=bonds, types=given.types))


def start_force_field(settings: Settings, molecules: tuple[Molecule, ...]) -> tuple[ForceField, Parameters]:
    """Build the force field, set what the settings state, estimate the rest.

    Raises:
        InputError: A pattern matches nothing, bounds are reversed or exclude the start, or a name is unknown.
    """
    field = build_force_field(
        molecules,
        family=settings.force_field.family,
        stretch_bend=settings.force_field.stretch_bend,
        periodicities=settings.force_field.periodicities,
        linear_torsions=settings.force_field.linear_torsions,
        name=settings.force_field.name or ", ".join(molecule.name for molecule in molecules),
    )
    given = settings.parameters
    starts = {name: value for pattern, value in given.start.items() for name in field.parameters.match(pattern)}
    for name in set(starts) & set(given.tie):
        raise SettingsError(f"Parameter {name!r} follows {given.tie[name]!r} and cannot have a start. Start that one.")
    parameters = _stated_parameters(settings, field, starts)
    estimated = estimate_force_constants(
        molecules,
        field.with_values(parameters.values),
        settings.start.method,
        scale=settings.start.scale,
        parameters=parameters.fix(*starts),
    )
    # Fixed only now: a force constant that is held and has no stated start is held at its estimate.
    return estimated, parameters.replace(estimated.parameters.values).fix(*given.fix)


def _stated_parameters(settings: Settings, field: ForceField, starts: Mapping[str, float]) -> Parameters:
    """Return the parameters with starts, bounds and ties as the settings state them."""
    given, parameters = settings.parameters, field.parameters
    bounds = {name: ends for pattern, ends in given.bounds.items() for name in parameters.match(pattern)}
    values = dict(starts)
    if settings.start.method != "given":
        # Generic constants wait for their estimates; stated bounds need not contain them.
        constants = {name for name, is_linear in zip(parameters.names, field.is_linear, strict=True) if is_linear}
        for name in (constants - set(starts)) & set(bounds):
            values[name] = min(max(float(parameters[name].value), bounds[name][0]), bounds[name][1])
    # Start and bounds of a parameter are set together: the one may need the other.
    parameters = Parameters(_changed(entry, values.get(entry.name), bounds.get(entry.name)) for entry in parameters)
    for follower, leader in given.tie.items():
        parameters = parameters.tie(follower, leader)
    return parameters


def _changed(entry: Parameter, start: float | None, bounds: Sequence[float] | None) -> Parameter:
    lower, upper = bounds or (None, None)
    return entry.replace(**_present(value=start, lower=lower, upper=upper))


def choose_optimizer(settings: Settings) -> AbstractOptimizer:
    """Make the optimizer that the settings name, with their limits where it has such.

    Raises:
        SettingsError: No optimizer or method has that name, or a limit is given that it does not have.
    """
    made: Any = make_optimizer(settings.fit.optimizer)
    known = {entry.name for entry in fields(made)}
    given = _present(maxiter=settings.fit.maxiter)
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


def check_output_folder(folder: Path, settings: Settings) -> None:
    """Refuse an output folder that holds what the fit starts from: what is there is set aside under another name.

    Raises:
        SettingsError: The folder holds the settings, a QM result or the working directory.
    """
    inputs = [("settings", settings.folder), ("working directory", Path.cwd())]
    for molecule in settings.molecules:
        inputs += [(name, settings.folder / name) for name in (molecule.file, molecule.hessian) if name]
    for what, place in inputs:
        if place.resolve().is_relative_to(folder.resolve()):
            raise SettingsError(
                f"The output folder {folder} holds the {what}, and a folder that is there is set aside under another "
                "name. Choose a folder of its own."
            )


def write_folder(folder: Path, files: Mapping[str, str]) -> Path | None:
    """Write a folder of text files in one move; what was there is kept under a numbered name.

    Returns:
        The new name of the folder that was there, if one was.

    Raises:
        SettingsError: The folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise SettingsError(f"The output folder {folder} cannot be made: {error.strerror}. Choose another.") from error
    try:
        for name, text in files.items():
            (scratch / name).write_text(text, encoding="utf-8")
        scratch.chmod(0o755)
        kept = _set_aside(folder)
        scratch.rename(folder)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise SettingsError(
            f"The output folder {folder} cannot be written: {error.strerror}. Choose another."
        ) from error
    return kept


def _set_aside(folder: Path) -> Path | None:
    if not folder.exists():
        return None
    number = 1
    while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(kept)
    return kept


class _Clock:
    """Names the parts of a run and their durations; as an observer it ends the part of the first evaluation."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._begin = time.perf_counter()

    def __call__(self, step: Step) -> None:
        if step.iteration == 0:
            self.lap("compilation and first evaluation")

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._begin
        self._begin = now


def _files(
    objective: ForceFieldObjective,
    result: OptimizationResult,
    report: FitReport,
    formats: Sequence[str],
    times: Mapping[str, float],
) -> dict[str, str]:
    """Return the text of every output file by name."""
    fitted = objective.force_field.with_values(result.x)
    numbers: dict[str, Any] = report.as_dict()
    numbers["times"] = dict(times)
    # JSON knows no NaN, which is the cost of an evaluation that failed.
    numbers["history"] = [[entry.cost if isfinite(entry.cost) else None, entry.is_accepted] for entry in result.history]
    files = {"report.txt": str(report), "report.json": json.dumps(numbers, indent=1, allow_nan=False) + "\n"}
    for name in formats:
        try:
            files[f"force_field{FORMATS[name].traits.suffix}"] = render(fitted, objective.molecules, format=name)
        except InputError as error:
            # A term that was zero at the start may have become one that the format lacks: keep everything else.
            sys.stderr.write(f"Not written as {name}: {error}\n")
    return files


def _describe(objective: ForceFieldObjective) -> str:
    lines = [
        f"{molecule.name}: {molecule.n_atoms} atoms, {len(molecule.bonds)} bonds, types {' '.join(molecule.types)}"
        for molecule in objective.molecules
    ]
    rows = objective.force_field.rows
    kinds = {kind: sum(row.kind == kind for row in rows) for kind in dict.fromkeys(row.kind for row in rows)}
    listing = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    free = f"{objective.parameters.n_free} of {objective.parameters.size} parameters are fitted"
    return "\n".join([*lines, f"Force field: {listing} rows; {free}"])


def _present(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
