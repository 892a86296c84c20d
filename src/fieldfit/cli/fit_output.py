"""What is in the output folder of `fieldfit fit`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from fieldfit.cli.inputs import Inputs
from fieldfit.cli.output import readable_json
from fieldfit.errors import InputError
from fieldfit.forcefield.fitting import ForceFieldObjective
from fieldfit.forcefield.formats import FORMATS, render
from fieldfit.forcefield.macromodel import fld_values
from fieldfit.forcefield.report_records import FitReport
from fieldfit.forcefield.staged_fit import StagedFit

MOST_OBSERVATIONS = 10_000
"""Observations up to which the output folder has a file of them that a later fit can read."""


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
