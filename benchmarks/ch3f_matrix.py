"""CH3F by every optimizer in every way: family x start x derivatives x L2, one row per fit.

    python benchmarks/ch3f_matrix.py [GEOMETRY [HESSIAN]] [--json FILE] [--quick] [--only PATTERN ...] [--workers N]

Every row minimises the same eight-parameter problem, so rows differ in how they get to the minimum and whether they do,
not in what they mean. What makes them comparable:

- All fits of one family with the same L2 have one objective: wavenumbers at the minimum of the force field, paired with
  QM modes by overlap, bond lengths and bond angles. An L2 tether pulls towards the fit to the QM Hessian from every
  start; a tether to each row's own start would be another objective in each row.
- Wavenumbers and geometry are those of `report_fit`, the report that users see. The score is evaluated once more from
  the QM geometry with modes paired anew, so that no row profits from how it happened to pair them.
- "above" is the fraction by which a score exceeds the lowest one known for its objective.
- Differences are what an objective without derivatives gets: the exact ones are hidden, not switched off.
- A run ends after so many evaluations of the model, however it spends them; one with differences is many.
- "calls" counts every evaluation of the model: the optimizer's, those of differences, of second derivatives, and of
  the verdict. "seconds" is processor time of the whole `optimize` call. Everything is compiled before by a short fit.

Optimizers that cannot take the problem are listed with what they say.
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import itertools
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fieldfit.errors import EvaluationError, InputError
from fieldfit.forcefield import (
    ForceField,
    ForceFieldObjective,
    Molecule,
    build_force_field,
    estimate_force_constants,
    perceive,
    read,
    report_fit,
)
from fieldfit.forcefield.vibrations import normal_modes
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits
from fieldfit.optimizers.names import CATALOGUE, make_optimizer
from fieldfit.parameters import Parameters
from fieldfit.problem import AbstractOptimizer, Budget, OptimizationResult, Problem
from fieldfit.problem.optimizer import versions
from fieldfit.reporting.calibration import calibrate
from fieldfit.typing import Vector

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "ch3f" / "ch3f.json"
REFERENCES = {"frequency": 10.0, "bond_length": 0.003, "bond_angle": 0.5}
FAMILIES = ("harmonic", "mm3")
ENGINES = ("jax",)
STARTS = ("hessian-fit", "qfuerza", "crude")
CRUDE = {"bond.*.k": 300.0, "bond.*.r0": 1.2, "angle.*.k": 60.0, "angle.*.theta0": 109.5}
"""One value for each kind of parameter: no knowledge of the molecule at all."""

REGULARIZATIONS = (0.0, 0.01)
CALLS = 1500
"""Evaluations of the model that a run may take."""

SECONDS = 240.0
"""Longest duration of a run [s]: second derivatives are not counted as evaluations. No run should need it."""

REACHED = 1e-4
"""A score above the best one by less than this fraction is the same fit."""

COLUMNS = ("family", "start", "optimizer", "derivatives", "L2")
FIGURES = ("score", "above", "1/cm", "A", "deg", "evals", "calls", "seconds")


@dataclass(frozen=True)
class Method:
    """An optimizer of the matrix.

    Args:
        label: Name in the table.
        name: Name for `make_optimizer`; empty: the label.
        options: Options beyond those of the name.
    """

    label: str
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> AbstractOptimizer:
        """Return the optimizer."""
        return make_optimizer(self.name or self.label, **self.options)


SEEDED = {"seed": 0}
METHODS = (
    Method("least-squares"),
    Method("scipy:trf"),
    Method("scipy:dogbox"),
    Method("trust-region:exact"),
    Method("scipy:L-BFGS-B"),
    Method("scipy:SLSQP"),
    Method("scipy:TNC"),
    Method("scipy:trust-constr"),
    Method("optax-adam"),
    Method("optax-adam-cosine"),
    Method("scipy:Nelder-Mead"),
    Method("scipy:Powell"),
    Method("scipy:COBYLA"),
    Method("scipy:COBYQA"),
    Method("derivative-free:cobyqa"),
    Method("derivative-free:differential-evolution", options=SEEDED),
    Method("derivative-free:cma-es", options=SEEDED),
    Method("grad-simp"),
    Method("grad-simp-multi"),
    Method("cycling:least-squares|Nelder-Mead"),
    Method("multi-start:least-squares, 5", "multi-start:least-squares", {"n_starts": 5, **SEEDED}),
    Method("multi-lbfgsb-5", options=SEEDED),
    Method("multi-lbfgsb-10", options=SEEDED),
    Method("basinhopping", options=SEEDED),
    Method("basinhopping-cold", options=SEEDED),
    Method("basin-hopping:least-squares", options=SEEDED),
    *(Method(f"jax:{name}") for name in ("lbfgs", "lbfgsb", "bfgs", "gauss_newton", "lm")),
    *(Method(f"scipy:{name}") for name in ("lm", "CG", "BFGS", "Newton-CG", "dogleg")),
    *(Method(f"scipy:{name}") for name in ("trust-ncg", "trust-exact", "trust-krylov")),
)
QUICK = ("harmonic/hessian-fit/least-squares/exact/0", "harmonic/hessian-fit/scipy:L-BFGS-B/exact/0")


@dataclass(frozen=True)
class Case:
    """One fit of the matrix: what is fitted from where, and how.

    `derivatives` are "exact", "differences", or "none" for a method that uses values only.
    """

    family: str
    start: str
    method: Method
    derivatives: str
    regularization: float
    engine: str = "jax"

    @property
    def label(self) -> str:
        """What patterns are compared with."""
        return "/".join([self.family, self.start, self.method.label, self.derivatives, f"{self.regularization:g}"])


@dataclass(frozen=True)
class Row:
    """What became of one fit.

    Args:
        family: Of the force field.
        start: Where it began.
        optimizer: Label of the method.
        derivatives: As in `Case`.
        regularization: Strength of the tether.
        engine: What computed energies.
        score: At the best point, evaluated anew.
        own_score: What the run says.
        frequency_rmsd: Paired, at the minimum of the force field [1/cm].
        bond_largest: Largest error of a bond length there [A].
        angle_largest: Largest error of an angle there [deg].
        evaluations: That the optimizer made.
        differences: Further ones for finite differences.
        calls: All evaluations of the model.
        seconds: Processor time.
        verdict: "converged", "not converged", "unverified", or "failed".
        is_stopped: Whether the budget ended it.
        message: Why it ended.
        parameters: Best values.
    """

    family: str
    start: str
    optimizer: str
    derivatives: str
    regularization: float
    engine: str
    score: float = np.nan
    own_score: float = np.nan
    frequency_rmsd: float = np.nan
    bond_largest: float = np.nan
    angle_largest: float = np.nan
    evaluations: int = 0
    differences: int = 0
    calls: int = 0
    seconds: float = np.nan
    verdict: str = "failed"
    is_stopped: bool = False
    message: str = ""
    parameters: tuple[float, ...] = ()

    @property
    def group(self) -> tuple[str, float]:
        """Rows of one group have one objective."""
        return self.family, self.regularization


class Counted(AbstractObjective):
    """Another objective that counts its evaluations and can hide its derivatives."""

    def __init__(self, objective: AbstractObjective, *, has_derivatives: bool) -> None:
        self.objective, self._has_derivatives = objective, has_derivatives
        self.calls = 0

    @property
    def parameters(self) -> Parameters:
        return self.objective.parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return ObjectiveTraits(has_residuals=True, has_derivatives=self._has_derivatives)

    def initial_state(self) -> Any:
        return self.objective.initial_state()

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        self.calls += 1
        return self.objective.evaluate(values, state, derivatives=derivatives and self._has_derivatives)

    def term_slices(self) -> dict[str, slice]:
        return self.objective.term_slices()


class Bench:
    """One objective, compiled, with its starts.

    Args:
        molecule: What is fitted.
        family: Of the force field.
        regularization: Strength of the tether to the fit to the QM Hessian.
        engine: What computes energies.
    """

    def __init__(self, molecule: Molecule, family: str, regularization: float, engine: str) -> None:
        plain = build_force_field([molecule], family=family)
        self.fields = {name: start_field(molecule, plain, name) for name in STARTS}
        self.objective = ForceFieldObjective(
            self.fields["hessian-fit"], [molecule], REFERENCES, engine=engine, regularization=regularization
        )
        warm_up = make_optimizer("least-squares", maxiter=2)
        for start in STARTS:
            report_fit(self.objective, warm_up.optimize(Problem(self.objective, self.parameters(start))))

    def parameters(self, start: str) -> Parameters:
        """Return the parameters of the objective with the values of a start."""
        return self.objective.parameters.replace(self.fields[start].parameters.values)

    def run(self, case: Case) -> Row:
        """Make one row; a fit that raises is a row that says so."""
        what = (case.family, case.start, case.method.label, case.derivatives, case.regularization, case.engine)
        counted = Counted(self.objective, has_derivatives=case.derivatives != "differences")
        begin = time.process_time()
        try:
            optimizer = case.method.make()
            parameters = self.parameters(case.start)
            budget = budget_for(case, parameters.n_free)
            result = optimizer.optimize(Problem(counted, parameters), observers=[budget])
        # One fit that raises must not cost the other rows; what it raised stands in the table.
        except Exception as error:
            return Row(*what, calls=counted.calls, message=f"{type(error).__name__}: {error}")
        seconds = time.process_time() - begin
        found = report_fit(self.objective, result).molecules[0]
        return Row(
            *what,
            score=self.score_anew(result),
            own_score=result.final_score,
            frequency_rmsd=found.frequency_rmsd,
            bond_largest=found.bond_largest,
            angle_largest=found.angle_largest,
            evaluations=result.n_evaluations,
            differences=result.n_difference_evaluations,
            calls=counted.calls,
            seconds=seconds,
            verdict=result.verdict.word,
            is_stopped="budget of" in result.message,
            message=result.message,
            parameters=tuple(result.final_params.tolist()),
        )

    def score_anew(self, result: OptimizationResult) -> float:
        """Return the score at the best point without what the run remembers: NaN if there is no minimum."""
        return self.objective.evaluate(result.final_params, self.objective.initial_state(), derivatives=False).score


def budget_for(case: Case, n_free: int) -> Budget:
    """Return a budget of `CALLS` evaluations of the model."""
    return Budget(evaluations=CALLS // (1 + n_free) if case.derivatives == "differences" else CALLS, seconds=SECONDS)


def start_field(molecule: Molecule, plain: ForceField, start: str) -> ForceField:
    """Return a force field with the values of a start."""
    if start != "crude":
        return estimate_force_constants([molecule], plain, start)
    names = plain.parameters
    return plain.with_values({name: value for pattern, value in CRUDE.items() for name in names.match(pattern)})


@functools.lru_cache
def load_molecule(geometry: Path, hessian: Path | None) -> Molecule:
    return perceive(read(geometry, **({} if hessian is None else {"hessian": hessian}), name="CH3F"))


@functools.lru_cache(maxsize=1)
def bench_for(
    geometry: Path, hessian: Path | None, family: str, regularization: float, engine: str
) -> Bench:  # cases come sorted by objective, so one at a time is enough
    return Bench(load_molecule(geometry, hessian), family, regularization, engine)


def run_case(geometry: Path, hessian: Path | None, case: Case) -> Row:
    """Make one row; in a worker, its objective is compiled once for all the rows that follow."""
    return bench_for(geometry, hessian, case.family, case.regularization, case.engine).run(case)


def sort_methods(bench: Bench) -> tuple[list[Method], dict[str, str]]:
    """Return the methods that take the problem, and what the others say."""
    able, refusals = [], {}
    for method in METHODS:
        try:
            method.make().optimize(bench.objective, observers=[Budget(evaluations=1)])
        except InputError as error:
            refusals[method.label] = str(error)
        else:
            able.append(method)
    return able, refusals


def cases(methods: Sequence[Method]) -> Iterator[Case]:
    """Yield all combinations, sorted by objective."""
    for engine, family, strength in itertools.product(ENGINES, FAMILIES, REGULARIZATIONS):
        for method, start in itertools.product(methods, STARTS):
            modes = ("exact", "differences") if method.make().traits.needs_gradient else ("none",)
            for mode in modes:
                yield Case(family, start, method, mode, strength, engine)


def run_all(function: Callable[[Case], Row], chosen: Sequence[Case], workers: int) -> list[Row]:
    """Run cases in so many processes; progress goes to standard error."""
    rows = []
    for row in _in_order(function, chosen, workers):
        rows.append(row)
        print(f"\r{len(rows)}/{len(chosen)} {row.optimizer:40s}", end="", file=sys.stderr, flush=True)
    print("\r" + 60 * " " + "\r", end="", file=sys.stderr)
    return rows


def _in_order(function: Callable[[Case], Row], chosen: Sequence[Case], workers: int) -> Iterator[Row]:
    if workers == 1:
        yield from map(function, chosen)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(function, chosen)


def best_scores(rows: Iterable[Row]) -> dict[tuple[str, float], float]:
    """Return the lowest score of each objective."""
    best: dict[tuple[str, float], float] = {}
    for row in rows:
        if np.isfinite(row.score):
            best[row.group] = min(row.score, best.get(row.group, np.inf))
    return best


def excess(row: Row, best: Mapping[tuple[str, float], float]) -> float:
    """Return the fraction by which a score exceeds the best of its objective; infinite if there is no score."""
    return row.score / best[row.group] - 1.0 if np.isfinite(row.score) else np.inf


def print_rows(rows: Sequence[Row], best: Mapping[tuple[str, float], float]) -> None:
    """Print one line per fit."""
    print(f"\n{len(rows)} fits; * ended by the budget of {CALLS} evaluations of the model")
    print("{:9s} {:12s} {:40s} {:12s} {:5s}".format(*COLUMNS), end="")
    print(" {:>9s} {:>8s} {:>7s} {:>8s} {:>7s} {:>6s} {:>6s} {:>8s} verdict".format(*FIGURES))
    for row in rows:
        what = f"{row.family:9s} {row.start:12s} {row.optimizer:40s} {row.derivatives:12s} {row.regularization or 'off':<5}"
        if row.verdict == "failed":
            print(what, row.message)
            continue
        print(
            f"{what} {row.score:9.4f} {excess(row, best):8.1e} {row.frequency_rmsd:7.2f} {row.bond_largest:8.5f} "
            f"{row.angle_largest:7.3f} {row.evaluations:6d} {row.calls:6d} {row.seconds:8.2f} "
            f"{row.verdict}{' *' if row.is_stopped else ''}"
        )


def print_summary(rows: Sequence[Row], best: Mapping[tuple[str, float], float], key: Callable[[Row], str]) -> None:
    """Print one line per value of a key: how many fits reached the best score, claims, and what they cost.

    "claimed" are fits with the verdict "converged"; "elsewhere" are those among them that end above the best score,
    "unclaimed" those at the best score without that verdict.
    """
    head = ("", "reached", "elsewhere", "unclaimed", "stopped", "1/cm worst", "calls", "seconds")
    print("{:53s} {:>9s} {:>10s} {:>10s} {:>8s} {:>11s} {:>6s} {:>8s}".format(*head))
    for name in dict.fromkeys(map(key, rows)):
        own = [row for row in rows if key(row) == name]
        reached = [excess(row, best) <= REACHED for row in own]
        claimed = [row.verdict == "converged" for row in own]
        elsewhere = sum(is_claimed and not at_best for is_claimed, at_best in zip(claimed, reached, strict=True))
        unclaimed = sum(at_best and not is_claimed for is_claimed, at_best in zip(claimed, reached, strict=True))
        worst = max((row.frequency_rmsd for row in own if np.isfinite(row.frequency_rmsd)), default=np.nan)
        print(
            f"{name:53s} {sum(reached):5d}/{len(own):3d} {elsewhere:10d} {unclaimed:10d} "
            f"{sum(row.is_stopped for row in own):8d} {worst:11.2f} {np.median([row.calls for row in own]):6.0f} "
            f"{np.median([row.seconds for row in own]):8.2f}"
        )


def print_best(rows: Sequence[Row], best: Mapping[tuple[str, float], float]) -> None:
    """Print what the best fit of each objective amounts to."""
    print(f"\nbest fits\n{'family':9s} {'L2':5s} {'score':>12s} {'1/cm':>8s} {'A':>9s} {'deg':>7s}  parameters")
    for group in best:
        row = min((row for row in rows if row.group == group and np.isfinite(row.score)), key=lambda row: row.score)
        values = " ".join(f"{value:.4g}" for value in row.parameters)
        print(
            f"{row.family:9s} {row.regularization or 'off':<5} {row.score:12.6f} {row.frequency_rmsd:8.3f} "
            f"{row.bond_largest:9.6f} {row.angle_largest:7.4f}  {values}"
        )


def print_figures(molecule: Molecule) -> None:
    """Print what several figures of merit say about the same force fields."""
    print("\nfigures of merit: wavenumber RMSD [1/cm] paired at the minimum, sorted there, and at the QM geometry")
    print(f"{'':56s} {'paired':>9s} {'sorted':>9s} {'at QM':>9s} {'A':>8s} {'deg':>8s}")
    choices: dict[str, Any] = {
        "wavenumbers and geometry": REFERENCES,
        "wavenumbers only": ["frequency"],
        "wavenumbers at the QM geometry (eigenmatrix)": ["eigenmatrix_diagonal", "eigenmatrix_off_diagonal"],
    }
    for family in FAMILIES:
        fitted = estimate_force_constants([molecule], build_force_field([molecule], family=family))
        for label, references in choices.items():
            objective = ForceFieldObjective(fitted, [molecule], references)
            result = make_optimizer("least-squares").optimize(objective)
            print(f"{f'{family}, fitted to {label}':56s} {_figures(objective, result)}")
        objective = ForceFieldObjective(fitted, [molecule], REFERENCES)
        result = make_optimizer("least-squares").optimize(objective, observers=[Budget(evaluations=1)])
        print(f"{f'{family}, fit to the QM Hessian, QM equilibrium values':56s} {_figures(objective, result)}")


def _figures(objective: ForceFieldObjective, result: OptimizationResult) -> str:
    end = objective.at(result.final_params, objective.initial_state())[0]
    record, qm = end.model.molecule.record, np.sort(end.model.qm_modes.frequencies)
    hessian = end.model.qm_geometry.hessian(end.terms)
    there = np.sort(normal_modes(hessian, record.coordinates, record.masses).frequencies)
    try:
        found = report_fit(objective, result).molecules[0]
        at_minimum = np.sort(end.modes.frequencies)
    except EvaluationError as error:
        return str(error)
    figures = (found.frequency_rmsd, _rms(at_minimum - qm), _rms(there - qm))
    return "{:9.2f} {:9.2f} {:9.2f}".format(*figures) + f" {found.bond_largest:8.4f} {found.angle_largest:8.3f}"


def _rms(values: Vector) -> float:
    return float(np.sqrt(np.mean(values**2)))


def print_catalogue() -> None:
    """Say which rows the classic names stand for."""
    print("\nclassic names")
    for name, (target, preset) in CATALOGUE.items():
        listed = ", ".join(f"{key}={value}" for key, value in preset.items())
        print(f"  {name:20s} {target}{f' with {listed}' if listed else ''}")


def header(options: argparse.Namespace) -> str:
    """Return data, versions and speed of this machine."""
    listed = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{options.geometry}\n{calibrate()!r}\n{listed}\nreferences {REFERENCES}, engines {', '.join(ENGINES)}"


def chosen_cases(options: argparse.Namespace, methods: Sequence[Method]) -> list[Case]:
    """Return the cases that the options ask for."""
    patterns = QUICK if options.quick else [f"*{pattern}*" for pattern in options.only]
    return [case for case in cases(methods) if any(fnmatch.fnmatch(case.label, pattern) for pattern in patterns)]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    print(header(options))
    molecule = load_molecule(options.geometry, options.hessian)
    methods, refusals = sort_methods(bench_for(options.geometry, options.hessian, FAMILIES[0], 0.0, ENGINES[0]))
    begin = time.perf_counter()
    chosen = chosen_cases(options, methods)
    rows = run_all(functools.partial(run_case, options.geometry, options.hessian), chosen, options.workers)
    best = best_scores(rows)
    print_rows(rows, best)
    print(f"\nby optimizer: fits within {REACHED:g} of the best score; medians of calls and seconds")
    print_summary(rows, best, lambda row: f"{row.optimizer}, {row.derivatives}")
    print("\nby start")
    print_summary(rows, best, lambda row: row.start)
    print("\nby objective")
    print_summary(rows, best, lambda row: f"{row.family}, L2 {row.regularization or 'off'}")
    print_best(rows, best)
    if not options.quick:
        print_figures(molecule)
        print_catalogue()
        print("\ncannot take the problem")
        for label, text in refusals.items():
            print(f"  {label}: {text}")
    print(f"\n{len(rows)} fits in {time.perf_counter() - begin:.0f} s")
    if options.json:
        numbers = {"header": header(options), "refusals": refusals, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(numbers, indent=1))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("geometry", nargs="?", default=EXAMPLE, type=Path)
    parser.add_argument("hessian", nargs="?", type=Path)
    parser.add_argument("--json", type=Path, help="write every row to this file")
    parser.add_argument("--quick", action="store_true", help="two rows")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        metavar="PATTERN",
        help="rows whose FAMILY/START/OPTIMIZER/DERIVATIVES/L2 match",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
