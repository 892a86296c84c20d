"""Regenerate the figures of the documentation: every script that one comes from, one after the other.

    python benchmarks/figures.py FOLDER [--only NAME ...] [--skip-optimization]

What each script prints is kept in FOLDER/NAME.txt, its numbers in FOLDER/NAME.json where it writes such, and versions,
machine, commands, wall times and exit codes in FOLDER/figures.json, which grows script by script. Fitted force fields
of the Rh-enamide set are kept in FOLDER/fields; with --skip-optimization those are scored again instead of fitted, and
scripts that only fit are left out. Everything takes about three hours on two cores. A script that fails is reported at
the end, and the others run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fieldfit.problem.optimizer import versions

HERE = Path(__file__).resolve().parent
RH_FITS = ("tolerances", "poor-starts", "classic", "frequency")
RH_OTHERS = ("stationary", "leave-one-out", "derivatives", "cold")


@dataclass(frozen=True)
class Script:
    """A benchmark with its arguments; whether it writes JSON, and whether it can score stored force fields."""

    file: str
    arguments: tuple[str, ...] = ()
    has_json: bool = False
    has_fields: bool = False
    scores_stored: bool = False


SCRIPTS = {
    "ch3f": Script("ch3f.py"),
    "ch3f-matrix": Script("ch3f_matrix.py", has_json=True),
    "small-molecules": Script("small_molecules.py", has_json=True),
    "starting-constants": Script("starting_constants.py"),
    "transition-states": Script("transition_states.py"),
    "torsion-scans": Script("torsion_scans.py", has_json=True),
    "rh-enamide": Script("rh_enamide.py", RH_FITS, has_json=True, has_fields=True, scores_stored=True),
    "rh-enamide-others": Script("rh_enamide.py", RH_OTHERS, has_json=True, has_fields=True),
    "engines": Script("engines.py", has_json=True),
    "hessian": Script("hessian.py"),
    "least-squares": Script("least_squares.py"),
}


def run(name, script, options):
    """Run one script and return what is to be known about it."""
    arguments = [*script.arguments]
    if script.has_json:
        arguments += ["--json", str(options.folder / f"{name}.json")]
    if script.has_fields:
        arguments += ["--fields", str(options.folder / "fields")]
    if options.skip_optimization:
        arguments.append("--skip-optimization")
    begin = time.perf_counter()
    command = [sys.executable, str(HERE / script.file), *arguments]
    with (options.folder / f"{name}.txt").open("w", encoding="utf-8") as text:
        code = subprocess.run(command, stdout=text, stderr=subprocess.STDOUT, check=False).returncode
    wall_time = time.perf_counter() - begin
    print(f"{name}: {wall_time:.0f} s{'' if code == 0 else f', FAILED with exit code {code}'}", flush=True)
    return {"arguments": arguments, "wall time": wall_time, "exit code": code}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=tuple(SCRIPTS), default=tuple(SCRIPTS), metavar="NAME")
    parser.add_argument("--skip-optimization", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found = {
        "versions": versions(),
        "machine": platform.platform(),
        "device": "cpu",
        "cores": os.cpu_count(),
        "scripts": {},
    }
    for name in options.only:
        if options.skip_optimization and not SCRIPTS[name].scores_stored:
            continue
        found["scripts"][name] = run(name, SCRIPTS[name], options)
        (options.folder / "figures.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(entry["exit code"] for entry in found["scripts"].values()))


if __name__ == "__main__":
    main()
