"""The output folder of `fieldfit fit`: what is in it, and how it appears and changes without being half written."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from fieldfit.cli.inputs import Inputs
from fieldfit.cli.settings import Settings
from fieldfit.errors import InputError, SettingsError
from fieldfit.forcefield.fitting import ForceFieldObjective
from fieldfit.forcefield.formats import FORMATS, render
from fieldfit.forcefield.macromodel import fld_values
from fieldfit.forcefield.report_records import FitReport
from fieldfit.forcefield.staged_fit import StagedFit

MOST_OBSERVATIONS = 10_000
"""Observations up to which the output folder has a file of them that a later fit can read."""

LISTED = 4
"""Depth from which on the numbers of `report.json` stand on one line."""


def check_output_folder(folder: Path, settings: Settings) -> None:
    """Refuse an output folder that holds what the fit starts from: what is there is set aside under another name.

    Raises:
        SettingsError: The folder holds the settings, a file that they name or the working directory.
    """
    inputs = [("settings", settings.folder), ("working directory", Path.cwd())]
    inputs += [(name, settings.folder / name) for name in settings.files]
    for what, place in inputs:
        if place.resolve().is_relative_to(folder.resolve()):
            raise SettingsError(
                f"The output folder {folder} holds the {what}, and a folder that is there is set aside under another "
                "name. Choose a folder of its own."
            )


def report_files(fit: StagedFit, report: FitReport, times: Mapping[str, float]) -> dict[str, str]:
    """Return the text of the report's files by name."""
    numbers: dict[str, Any] = report.as_dict()
    numbers["times"] = dict(times)
    # JSON knows no NaN, which is the cost of an evaluation that failed.
    numbers["history"] = [
        [entry.cost if isfinite(entry.cost) else None, entry.is_accepted] for entry in fit.result.history
    ]
    return {"report.txt": str(report), "report.json": readable_json(numbers)}


def force_field_files(fit: StagedFit, inputs: Inputs, formats: Sequence[str]) -> dict[str, str]:
    """Return the text of the fitted force field in every format, and of what it was fitted to, by name."""
    field = fit.force_field
    files: dict[str, str] = {}
    for name in formats:
        try:
            files[f"force_field{FORMATS[name].traits.suffix}"] = render(field, inputs.molecules, format=name)
        except InputError as error:
            # A term that was zero at the start may have become one that the format lacks: keep everything else.
            sys.stderr.write(f"Not written as {name}: {error}\n")
    if inputs.template is not None:
        try:
            files["force_field.fld"] = inputs.template.with_values(fld_values(field, inputs.template)).text
        except InputError as error:
            sys.stderr.write(f"Not written into the template: {error}\n")
    return files | _reference_files(fit.objective)


def _reference_files(objective: ForceFieldObjective) -> dict[str, str]:
    """Return what was fitted as a file that `[references] data` takes, where it is not too long."""
    if sum(block.observed.size for block in objective.blocks) > MOST_OBSERVATIONS:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "references.toml"
        objective.reference_data.write(path)
        return {path.name: path.read_text(encoding="utf-8")}


def readable_json(numbers: Mapping[str, Any]) -> str:
    """Return JSON with one entry of each list or table per line: short, and still readable."""
    return _indented(numbers, 0) + "\n"


def _indented(value: Any, depth: int) -> str:
    if depth >= LISTED or not isinstance(value, dict | list) or _is_flat(value):
        return json.dumps(value, allow_nan=False)
    indent = " " * (depth + 1)
    if isinstance(value, dict):
        rows = [f"{indent}{json.dumps(key)}: {_indented(entry, depth + 1)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}"
    rows = [f"{indent}{_indented(entry, depth + 1)}" for entry in value]
    return "[\n" + ",\n".join(rows) + "\n" + " " * depth + "]"


def _is_flat(value: dict | list) -> bool:
    """Whether nothing inside holds anything further."""
    entries = value.values() if isinstance(value, dict) else value
    return not any(isinstance(entry, dict | list) for entry in entries)


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


def replace_files(folder: Path, files: Mapping[str, str]) -> None:
    """Replace text files of a folder, each in one move.

    Raises:
        SettingsError: A file cannot be written.
    """
    try:
        for name, text in files.items():
            handle, scratch = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(scratch).chmod(0o644)
            Path(scratch).replace(folder / name)
    except OSError as error:
        raise SettingsError(f"The output folder {folder} cannot be written: {error.strerror}. Check it.") from error


def _set_aside(folder: Path) -> Path | None:
    if not folder.exists():
        return None
    number = 1
    while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(kept)
    return kept
