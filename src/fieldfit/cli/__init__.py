"""The command line: `fieldfit fit settings.toml`, `fieldfit equilibrium solve settings.toml`, and listings.

Exit codes: 0 done, 1 done but not converged, 2 nothing done because of what was given, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from fieldfit._version import __version__
from fieldfit.errors import FieldfitError, SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except FieldfitError as error:
        sys.stderr.write(f"fieldfit: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("fieldfit: interrupted; nothing was written\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fieldfit", description="Fit the parameters of physical models to reference data with exact derivatives."
    )
    parser.add_argument("--version", action="version", version=f"fieldfit {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    fit = commands.add_parser(
        "fit",
        help="fit a force field to QM results",
        description="Fit a force field to QM results as a settings file says, print a report, and write the "
        "force field and all numbers into an output folder. A folder of an earlier fit is kept under another name.",
    )
    fit.add_argument("settings", help="settings file in TOML")
    fit.add_argument("-o", "--output", help="output folder; default: the one named in the settings")
    fit.add_argument("-q", "--quiet", action="store_true", help="print no progress and no report")
    fit.add_argument("--calibrate", action="store_true", help="also time standard matrix operations")
    fit.set_defaults(run=_fit)
    _add_equilibrium(commands)
    _add_listings(commands)
    return parser


def _add_equilibrium(commands: Any) -> None:
    equilibrium = commands.add_parser(
        "equilibrium",
        help="solve for the equilibrium of a plasma, or optimize one",
        description="Axisymmetric equilibria of plasmas with a fixed boundary.",
    )
    kinds = equilibrium.add_subparsers(title="commands", required=True, metavar="COMMAND")
    solve = kinds.add_parser(
        "solve",
        help="find the flux surfaces inside a given boundary",
        description="Find the flux surfaces on which force balance holds, for the boundary, flux and profiles of a "
        "settings file, print a report, and write the equilibrium, numbers and pictures into an output folder. A "
        "folder of an earlier run is kept under another name.",
    )
    optimize = kinds.add_parser(
        "optimize",
        help="vary a boundary, flux or profiles until a plasma is as wanted",
        description="Solve for an equilibrium, vary what the settings file says is free until the quantities of the "
        "plasma are what they should be, and write the same output as `solve`.",
    )
    for command, name in ((solve, "solve"), (optimize, "optimize")):
        command.add_argument("settings", help="settings file in TOML")
        command.add_argument("-o", "--output", help="output folder; default: the one named in the settings")
        command.add_argument("-q", "--quiet", action="store_true", help="print no progress and no report")
        command.add_argument("--resume", action="store_true", help="go on from the checkpoint of an earlier run")
        command.set_defaults(run=_equilibrium, kind=name)


def _add_listings(commands: Any) -> None:
    methods = commands.add_parser(
        "methods",
        help="list the optimizers and what they need and can",
        description="List every optimizer by the names that settings files and Python take, with what it works on, the "
        "derivatives it uses, whether it keeps bounds, which constraints it takes, and how far it looks.",
    )
    methods.set_defaults(run=_methods)
    engines = commands.add_parser(
        "engines",
        help="list the programs that compute energies and what they can",
        description="List every engine by name, with the functional forms and derivatives that it computes.",
    )
    engines.set_defaults(run=_engines)
    forms = commands.add_parser(
        "forms",
        help="list the functional forms and their parameters",
        description="List every functional form by name, with its energy, parameters, units and default bounds.",
    )
    forms.set_defaults(run=_forms)
    for listing in (methods, engines, forms):
        listing.add_argument("--markdown", action="store_true", help="write a Markdown table")


def _fit(options: argparse.Namespace) -> int:
    from fieldfit.cli.fit import run_fit

    _keep_compiled_programs()
    return run_fit(options.settings, output=options.output, is_quiet=options.quiet, calibrates=options.calibrate)


def _equilibrium(options: argparse.Namespace) -> int:
    from fieldfit.cli.equilibrium import begin, run_equilibrium

    run = begin(options.kind, options.settings, output=options.output, is_quiet=options.quiet, resumes=options.resume)
    if run.compiles:
        _keep_compiled_programs()
    return run_equilibrium(run)


def _keep_compiled_programs() -> None:
    """Keep compiled programs between runs; where the folder for caches cannot be used, say so and go on."""
    from fieldfit.compilation import VARIABLE, use_compilation_cache

    try:
        use_compilation_cache()
    except SettingsError as error:
        if os.environ.get(VARIABLE):
            raise
        sys.stderr.write(f"fieldfit: {error} Going on without.\n")


def _methods(options: argparse.Namespace) -> int:
    from fieldfit.optimize.capabilities import things_table
    from fieldfit.optimizers.capabilities import capability_table

    tables = {
        "Optimizers of problems: for `[fit] optimizer` in settings files, and `make_optimizer`": capability_table,
        "Optimizers of things: for `[optimizer] method` in settings files, and `Optimizer`": things_table,
    }
    parts = [f"{title}\n\n{table(markdown=options.markdown)}" for title, table in tables.items()]
    sys.stdout.write("\n\n".join(parts) + "\n")
    return 0


def _engines(options: argparse.Namespace) -> int:
    from fieldfit.forcefield.engines.capabilities import engine_table

    sys.stdout.write(engine_table(markdown=options.markdown) + "\n")
    return 0


def _forms(options: argparse.Namespace) -> int:
    from fieldfit.forcefield.forms.overview import form_table

    sys.stdout.write(form_table(markdown=options.markdown) + "\n")
    return 0
