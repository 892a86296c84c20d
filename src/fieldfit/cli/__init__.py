"""The command line: `fieldfit fit settings.toml`.

Exit codes: 0 done, 1 done but not converged, 2 nothing done because of what was given, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

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
    methods = commands.add_parser(
        "methods",
        help="list the optimizers and what they need and can",
        description="List every optimizer by the name that settings files and Python take, with what it works on, the "
        "derivatives it uses, whether it keeps bounds, and how far it looks.",
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
    return parser


def _fit(options: argparse.Namespace) -> int:
    from fieldfit.cli.fit import run_fit

    _keep_compiled_programs()
    return run_fit(options.settings, output=options.output, is_quiet=options.quiet, calibrates=options.calibrate)


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
    from fieldfit.optimizers.capabilities import capability_table

    sys.stdout.write(capability_table(markdown=options.markdown) + "\n")
    return 0


def _engines(options: argparse.Namespace) -> int:
    from fieldfit.forcefield.engines.capabilities import engine_table

    sys.stdout.write(engine_table(markdown=options.markdown) + "\n")
    return 0


def _forms(options: argparse.Namespace) -> int:
    from fieldfit.forcefield.forms.overview import form_table

    sys.stdout.write(form_table(markdown=options.markdown) + "\n")
    return 0
