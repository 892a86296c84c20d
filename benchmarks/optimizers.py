"""Compare the optimizers of fieldfit with those of other libraries, side by side.

    python benchmarks/optimizers.py [--set more-wild|mgh|nist|multimodal|all] [--quick] [--repeats 3] [--only TEXT ...]
        [--json FILE]

Columns: `best` the best known minimum was reached; `other` another stationary point; `false success` success was
claimed away from any stationary point; `missed` the best known minimum was reached but not claimed; `failed` an
exception. Stationarity is decided by `check_stationarity.py`, not by the codes. Evaluations are points at which the
function was computed, `derivatives` those at which its Jacobian or gradient was; medians are over the problems that a
code takes.
Times are wall times of the shortest of several runs without compilation; the ratio is to scipy `trf` with its default
options on the same problem. The NIST table counts correct digits against the certified values; standard deviations
are computed from the exact Jacobian at the point that a code returned, the same way for all.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import fieldfit_solvers
import nist
import numpy as np
import peers
from check_stationarity import Verdict, judge
from multimodal import ScalarProblem
from problem_sets import LEAST_SQUARES, SETS
from problems import TestProblem

from fieldfit.reporting.calibration import calibrate

REFERENCE = "scipy trf"
"""Times are given relative to this solver's."""

QUICK = 4
"""With `--quick` every so many-th problem is run."""

PARAMETER_DIGITS, DEVIATION_DIGITS = 6.0, 4.0
"""Digits that count as reproducing a certificate."""

LIBRARIES = ("fieldfit", "numpy", "scipy", "jax", "lmfit", "optimistix", "optimagic")


@dataclass(frozen=True)
class Record:
    """One solver on one problem, with the independent verdict."""

    set_name: str
    problem: TestProblem | ScalarProblem
    solver: str
    run: peers.Run
    verdict: Verdict


def main() -> None:
    options = _options()
    print(header())
    records: list[Record] = []
    for set_name in SETS if options.set == "all" else [options.set]:
        problems = SETS[set_name][:: QUICK if options.quick else 1]
        found = measure(set_name, problems, _solvers(set_name, options.only), options.repeats)
        print_table(f"{set_name}: {len(problems)} problems", found)
        if set_name == "nist":
            print_digits(found)
        if set_name == "multimodal":
            print_families(found)
        print_exceptions(found)
        records += found
    if options.json:
        options.json.write_text(json.dumps({"header": header(), "runs": [_as_json(entry) for entry in records]}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="all", choices=[*SETS, "all"], help="which problems")
    parser.add_argument("--quick", action="store_true", help=f"every {QUICK}th problem")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs per problem; 0 times the first one")
    parser.add_argument("--only", nargs="+", default=[""], help="solvers whose label contains one of these texts")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    return parser.parse_args()


def header() -> str:
    """Return versions and speed of this machine."""
    versions = [f"python {platform.python_version()}"]
    for library in LIBRARIES:
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{calibrate()!r}\n{', '.join(versions)}"


def _solvers(set_name: str, texts: Sequence[str]) -> list[peers.Solver]:
    is_squares = set_name in LEAST_SQUARES
    others = peers.PEERS_FOR_SQUARES if is_squares else peers.PEERS_FOR_SCALARS
    own = fieldfit_solvers.FOR_SQUARES if is_squares else fieldfit_solvers.FOR_SCALARS
    found = [*fieldfit_solvers.solvers(own), *peers.installed(others), *peers.missing(others)]
    for line in found:
        if isinstance(line, str):
            print(f"left out - {line}")
    ready = [entry for entry in found if isinstance(entry, peers.Solver)]
    return [entry for entry in ready if any(text in entry.label for text in texts)]


def measure(
    set_name: str, problems: Iterable[TestProblem | ScalarProblem], solvers: Sequence[peers.Solver], repeats: int
) -> list[Record]:
    """Run every solver on every problem that it takes."""
    records = []
    for problem in problems:
        for solver in solvers:
            if solver.takes(problem):
                run = solver.solve(problem, repeats)
                records.append(Record(set_name, problem, solver.label, run, judge(problem, run.x)))
    return records


def print_table(title: str, records: Sequence[Record]) -> None:
    """Print one line per solver."""
    print(
        f"\n{title}\n{'':32s}{'best':>9s}{'other':>7s}{'false success':>15s}{'missed':>8s}{'failed':>8s}"
        f"{'evaluations':>13s}{'median':>8s}{'derivatives':>13s}{'median ms':>11s}{'ratio':>7s}"
    )
    reference = {entry.problem.name: entry.run.seconds for entry in records if entry.solver == REFERENCE}
    for solver, own in _by_solver(records).items():
        counts = _counts(own)
        evaluations = [entry.run.evaluations for entry in own]
        ratios = [entry.run.seconds / reference[entry.problem.name] for entry in own if entry.problem.name in reference]
        ratio = f"{np.median(ratios):7.2f}" if ratios else f"{'-':>7s}"
        print(
            f"{solver:32s}{counts['best']:5d}/{len(own):3d}{counts['other']:7d}{counts['false']:15d}"
            f"{counts['missed']:8d}{counts['failed']:8d}{sum(evaluations):13d}{np.median(evaluations):8.0f}"
            f"{sum(entry.run.derivative_evaluations for entry in own):13d}"
            f"{1e3 * np.median([entry.run.seconds for entry in own]):11.2f}{ratio}"
        )


def _by_solver(records: Sequence[Record]) -> dict[str, list[Record]]:
    grouped: dict[str, list[Record]] = {}
    for entry in records:
        grouped.setdefault(entry.solver, []).append(entry)
    return grouped


def _counts(records: Sequence[Record]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for entry in records:
        counts[entry.verdict.kind] += 1
        counts["false"] += entry.run.success and not entry.verdict.is_stationary
        counts["missed"] += entry.verdict.kind == "best" and not entry.run.success
        counts["failed"] += entry.run.message.startswith("raised")
    return counts


def print_digits(records: Sequence[Record]) -> None:
    """Print how many certificates each solver reproduces."""
    print(
        f"\ncertified digits\n{'':32s}{f'parameters >= {PARAMETER_DIGITS:.0f}':>18s}{'worst':>7s}{'median':>8s}"
        f"{f'deviations >= {DEVIATION_DIGITS:.0f}':>18s}{'worst':>7s}{'median':>8s}"
    )
    for solver, own in _by_solver(records).items():
        parameters, deviations = np.array([certified_digits(entry.problem, entry.run.x) for entry in own]).T
        line = f"{solver:32s}"
        for digits, needed in ((parameters, PARAMETER_DIGITS), (deviations, DEVIATION_DIGITS)):
            line += f"{np.sum(digits >= needed):13d}/{len(own):3d} {digits.min():7.1f}{np.median(digits):8.1f}"
        print(line)


def print_families(records: Sequence[Record]) -> None:
    """Print for each function from how many seeds the best known minimum was reached, and the median evaluations."""
    families = list(dict.fromkeys(entry.problem.name.split("/")[0] for entry in records))
    print(f"\nseeds solved, median evaluations\n{'':32s}" + "".join(f"{family:>18s}" for family in families))
    for solver, own in _by_solver(records).items():
        line = f"{solver:32s}"
        for family in families:
            members = [entry for entry in own if entry.problem.name.startswith(f"{family}/")]
            solved = sum(entry.verdict.kind == "best" for entry in members)
            evaluations = np.median([entry.run.evaluations for entry in members])
            line += f"{solved:5d}/{len(members)} {evaluations:10.0f}"
        print(line)


def certified_digits(problem: TestProblem, x: np.ndarray) -> tuple[float, float]:
    """Return the correct digits of parameters and of their standard deviations."""
    certificate = nist.CERTIFICATES[problem.name.split("/")[0]]
    with np.errstate(all="ignore"):
        f, J = problem.function(x)
        if not (np.all(np.isfinite(J)) and np.all(np.isfinite(f))):
            return 0.0, 0.0
        deviations = nist.standard_deviations(J, float(f @ f))
    return nist.correct_digits(x, certificate.values), nist.correct_digits(deviations, certificate.deviations)


def print_exceptions(records: Sequence[Record]) -> None:
    """Name every run of fieldfit that did not end at the best known minimum with a claim of success."""
    print("\nfieldfit: runs that did not end at the best known minimum, or did not claim it")
    for entry in records:
        if entry.solver.startswith("fieldfit") and not (entry.verdict.kind == "best" and entry.run.success):
            claim = "claimed" if entry.run.success else "not claimed"
            print(
                f"  {entry.solver:30s}{entry.problem.name:26s}{entry.verdict.kind:6s}{claim:12s}"
                f"score {entry.run.score:.8g}, offset {entry.verdict.offset:.1e}: {entry.run.message}"
            )


def _as_json(entry: Record) -> dict[str, object]:
    return {
        "set": entry.set_name,
        "problem": entry.problem.name,
        "solver": entry.solver,
        "x": entry.run.x.tolist(),
        "score": entry.run.score,
        "success": entry.run.success,
        "evaluations": entry.run.evaluations,
        "derivative_evaluations": entry.run.derivative_evaluations,
        "seconds": entry.run.seconds,
        "message": entry.run.message,
    }


if __name__ == "__main__":
    main()
