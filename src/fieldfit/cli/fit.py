"""`fieldfit fit`: from a settings file to a fitted force field in an output folder."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from fieldfit.cli.settings import MoleculeSettings, Settings, read_settings
from fieldfit.errors import InputError, SettingsError
from fieldfit.forcefield.assignment import build_force_field
from fieldfit.forcefield.fitting import ForceFieldObjective
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.formats import FORMATS, render
from fieldfit.forcefield.initial_guess import estimate_force_constants
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.report import FitReport, report_fit
from fieldfit.forcefield.topology import perceive, share_types
from fieldfit.optimizers import OPTIMIZERS
from fieldfit.parameters import Parameter, Parameters
from fieldfit.problem import AbstractOptimizer, OptimizationResult
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
    begin = time.perf_counter()
    settings = read_settings(path)
    say = (lambda text: None) if is_quiet else (lambda text: sys.stdout.write(text + "\n"))
    optimizer = make_optimizer(settings)
    molecules = read_molecules(settings)
    field, parameters = start_force_field(settings, molecules)
    for name in settings.output.formats:
        # Fails now rather than after the fit if a format cannot express the force field.
        render(field, molecules, format=name)
    say(_describe(molecules, field, parameters))
    objective = ForceFieldObjective(
        field,
        molecules,
        settings.references or None,
        parameters=parameters,
        regularization=settings.fit.regularization,
    )
    begin_fit = time.perf_counter()
    result = optimizer.optimize(objective, observers=() if is_quiet else (ProgressLine(),))
    begin_report = time.perf_counter()
    report = report_fit(objective, result)
    fitted = field.with_values(result.x)
    times = {
        "read and start": begin_fit - begin,
        "fit with compilation": begin_report - begin_fit,
        "report": time.perf_counter() - begin_report,
    }
    if calibrates:
        from fieldfit.reporting.calibration import calibrate

        say(f"\n{calibrate()}")
    files = {"report.txt": str(report), "report.json": _as_json(report, result, times)}
    for name in settings.output.formats:
        try:
            files[f"force_field{FORMATS[name].traits.suffix}"] = render(fitted, molecules, format=name)
        except InputError as error:
            # A term that was zero at the start may have become one that the format lacks: keep everything else.
            sys.stderr.write(f"Not written as {name}: {error}\n")
    say(f"\n{report}")
    folder = Path(output) if output else settings.folder / settings.output.folder
    kept = write_folder(folder, files)
    say(f"Times [s]: {', '.join(f'{name} {seconds:.2f}' for name, seconds in times.items())}")
    say(f"Wrote {', '.join(files)} into {folder}" + (f"; the earlier folder is kept as {kept}" if kept else ""))
    return 0 if result.success else 1


def read_molecules(settings: Settings) -> tuple[Molecule, ...]:
    """Read the QM results and find bonds and types.

    Raises:
        InputError: A file, its bonds or its types cannot be used.
    """
    molecules = tuple(_read_molecule(entry, settings.folder) for entry in settings.molecules)
    names = [molecule.name for molecule in molecules]
    if len(set(names)) < len(names):
        raise SettingsError(f"Two molecules are called alike: {', '.join(names)}. Give each a name in [[molecules]].")
    if len(molecules) > 1 and not any(entry.types for entry in settings.molecules):
        return share_types(molecules)
    return molecules


def _read_molecule(given: MoleculeSettings, folder: Path) -> Molecule:
    record = read(
        folder / given.file,
        name=given.name,
        format=given.format,
        **_present(hessian=given.hessian and folder / given.hessian, hessian_unit=given.hessian_unit),
    )
    bonds = given.bonds and [(i - 1, j - 1) for i, j in given.bonds]
    return perceive(record, **_present(bond_tolerance=given.bond_tolerance, bonds=bonds, types=given.types))


def start_force_field(settings: Settings, molecules: tuple[Molecule, ...]) -> tuple[ForceField, Parameters]:
    """Build the force field, set what the settings state, estimate the rest.

    Raises:
        InputError: A pattern matches nothing, bounds are reversed or exclude the start, or a name is unknown.
    """
    given = settings.parameters
    field = build_force_field(
        molecules,
        family=settings.force_field.family,
        stretch_bend=settings.force_field.stretch_bend,
        periodicities=settings.force_field.periodicities,
        name=settings.force_field.name or ", ".join(molecule.name for molecule in molecules),
    )
    parameters = field.parameters
    starts = {name: value for pattern, value in given.start.items() for name in parameters.match(pattern)}
    bounds = {name: ends for pattern, ends in given.bounds.items() for name in parameters.match(pattern)}
    # Start and bounds of a parameter are set together: the one may need the other.
    parameters = Parameters(_changed(entry, starts.get(entry.name), bounds.get(entry.name)) for entry in parameters)
    field = field.with_values(parameters.values)
    for follower, leader in given.tie.items():
        parameters = parameters.tie(follower, leader)
    parameters = parameters.fix(*given.fix)
    estimated = estimate_force_constants(
        molecules, field, settings.start.method, scale=settings.start.scale, parameters=parameters.fix(*starts)
    )
    return estimated, parameters.replace(estimated.parameters.values)


def _changed(entry: Parameter, start: float | None, bounds: Sequence[float] | None) -> Parameter:
    lower, upper = bounds or (None, None)
    return entry.replace(**_present(value=start, lower=lower, upper=upper))


def make_optimizer(settings: Settings) -> AbstractOptimizer:
    """Make the optimizer that the settings name: "least-squares", or "scipy:" and one of SciPy's methods.

    Raises:
        SettingsError: No optimizer or method has that name.
    """
    family, _, method = settings.fit.optimizer.partition(":")
    if method and "method" not in {entry.name for entry in fields(OPTIMIZERS[family])}:
        raise SettingsError(
            f"The optimizer {family!r} has no methods to choose from, but {settings.fit.optimizer!r} names one. "
            f"Write {family!r}."
        )
    return OPTIMIZERS[family](
        **_present(method=method or None, max_iterations=settings.fit.max_iterations, ftol=settings.fit.ftol)
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


def _describe(molecules: tuple[Molecule, ...], field: ForceField, parameters: Parameters) -> str:
    lines = [
        f"{molecule.name}: {molecule.n_atoms} atoms, {len(molecule.bonds)} bonds, types {' '.join(molecule.types)}"
        for molecule in molecules
    ]
    kinds = {
        kind: sum(row.kind == kind for row in field.rows) for kind in dict.fromkeys(row.kind for row in field.rows)
    }
    listing = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return "\n".join(
        [*lines, f"Force field: {listing} rows; {parameters.n_free} of {parameters.size} parameters are fitted"]
    )


def _as_json(report: FitReport, result: OptimizationResult, times: Mapping[str, float]) -> str:
    numbers: dict[str, Any] = report.as_dict()
    numbers["times"] = dict(times)
    numbers["history"] = [[entry.cost, entry.is_accepted] for entry in result.history]
    numbers["residuals"] = None if result.residuals is None else result.residuals.tolist()
    return json.dumps(numbers, indent=1) + "\n"


def _present(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
