"""CH3F by every optimizer in every way: family x start x derivatives x L2, one row per fit.

    python benchmarks/ch3f_matrix.py [GEOMETRY [HESSIAN]] [--json FILE] [--quick] [--only PATTERN ...] [--workers N]
    python benchmarks/ch3f_matrix.py --read FILE

Every row minimises the same eight-parameter problem, so rows differ in how they get to the minimum and whether they do,
not in what they mean. What makes them comparable:

- All fits of one family with the same L2 have one objective: wavenumbers at the minimum of the force field, paired with
  QM modes by overlap, bond lengths and bond angles. An L2 tether pulls towards the fit to the QM Hessian from every
  start; a tether to each row's own start would be another objective in each row.
- Wavenumbers and geometry are those of `report_fit`, the report that users see. The score is evaluated once more from
  the QM geometry with modes paired anew, so that no row profits from how it happened to pair them.
- "above" is the fraction by which a score exceeds the lowest one known for its objective.
- In rows with differences or no derivatives the exact ones are hidden from optimizer and verdict alike, as if the model
  were an external program.
- "calls" counts every evaluation of the model: the optimizer's, those of differences, of second derivatives, and of
  the verdict. A run ends at the first step after `CALLS` of them, however it spends them.
- "seconds" is processor time of the whole `optimize` call, on one thread; everything it needs has been compiled before.

Optimizers that cannot take the problem are listed with what they say.
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import itertools
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ch3f_tables import Row, print_page, print_tables

from fieldfit import __version__
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
from fieldfit.problem import AbstractOptimizer, Budget, OptimizationResult, Problem, Step
from fieldfit.problem.optimizer import check_traits, versions
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
AS_STARTED = "the fit to the QM Hessian, not fitted further"
FITTED: Mapping[str, Any] = {
    AS_STARTED: REFERENCES,
    "fitted to wavenumbers and geometry": REFERENCES,
    "fitted to wavenumbers only": ["frequency"],
    "fitted to the QM Hessian in QM modes, at the QM geometry": ["eigenmatrix_diagonal", "eigenmatrix_off_diagonal"],
}
"""Force fields on which figures of merit are compared: label to references."""

CALLS = 1000
"""Evaluations of the model that a run may take."""

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables of the environment: threads that wait for each other would cost more than these small matrices."""

STOPPED = ("observer asked to stop", f"the budget of {CALLS} evaluations is spent")

GRADIENT, VALUES, BOTH = ("exact", "differences"), ("none",), ("exact", "none")


@dataclass(frozen=True)
class Method:
    """An optimizer of the matrix.

    Args:
        label: Name in the table.
        name: Name for `make_optimizer`; empty: the label.
        options: Options beyond those of the name.
        modes: Which derivatives it is given; "none" for one that then uses values only.
    """

    label: str
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    modes: tuple[str, ...] = GRADIENT

    def make(self) -> AbstractOptimizer:
        """Return the optimizer."""
        return make_optimizer(self.name or self.label, **self.options)


SEEDED = {"seed": 0}
SEARCH = {"budget": CALLS, **SEEDED}
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
    Method("optax-adam-cosine", options={"max_steps": CALLS}),
    Method("scipy:Nelder-Mead", modes=VALUES),
    Method("scipy:Powell", modes=VALUES),
    Method("scipy:COBYLA", modes=VALUES),
    Method("scipy:COBYQA", modes=VALUES),
    Method("derivative-free:bobyqa", modes=VALUES),
    Method("derivative-free:dfo-ls", modes=VALUES),
    Method("derivative-free:differential-evolution", options=SEARCH, modes=BOTH),
    Method("derivative-free:cma-es", options=SEARCH, modes=BOTH),
    Method("grad-simp"),
    Method("grad-simp-multi"),
    Method("cycling:least-squares|Nelder-Mead"),
    Method("multi-start:least-squares", options={"n_starts": 5, **SEEDED}),
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
    """One fit of the matrix: what is fitted from where, and how."""

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

    def is_spent(self, step: Step) -> bool:
        """Whether so many evaluations have been made, as an observer."""
        return self.calls >= CALLS


class Bench:
    """One objective with its starts.

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

    def compile(self) -> Bench:
        """Fit and report from every start, so that everything is compiled; return self."""
        for start in STARTS:
            result = make_optimizer("least-squares").optimize(Problem(self.objective, self.parameters(start)))
            report_fit(self.objective, result)
        return self

    def parameters(self, start: str) -> Parameters:
        """Return the parameters of the objective with the values of a start."""
        return self.objective.parameters.replace(self.fields[start].parameters.values)

    def run(self, case: Case) -> Row:
        """Make one row; a fit that raises is a row that says so."""
        what = (case.family, case.start, case.method.label, case.derivatives, case.regularization, case.engine)
        counted = Counted(self.objective, has_derivatives=case.derivatives == "exact")
        problem, limits = Problem(counted, self.parameters(case.start)), [counted.is_spent, Budget(evaluations=CALLS)]
        begin = time.process_time()
        try:
            result = case.method.make().optimize(problem, observers=limits)
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
            is_stopped=result.message in STOPPED,
            message=result.message,
            parameters=tuple(result.final_params.tolist()),
        )

    def score_anew(self, result: OptimizationResult) -> float:
        """Return the score at the best point without what the run remembers: NaN if there is no minimum."""
        return self.objective.evaluate(result.final_params, self.objective.initial_state(), derivatives=False).score


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
def compiled_bench(geometry: Path, hessian: Path | None, family: str, regularization: float, engine: str) -> Bench:
    # Cases come sorted by objective, so that one at a time is enough.
    return Bench(load_molecule(geometry, hessian), family, regularization, engine).compile()


def run_case(geometry: Path, hessian: Path | None, case: Case) -> Row:
    """Make one row; a worker compiles the objective once for all rows that follow."""
    return compiled_bench(geometry, hessian, case.family, case.regularization, case.engine).run(case)


def sort_methods(problem: Problem) -> tuple[list[Method], dict[str, str]]:
    """Return the methods that take a problem, and what the others say."""
    able, refusals = [], {}
    for method in METHODS:
        try:
            check_traits(method.make(), problem.vector())
        except InputError as error:
            refusals[method.label] = str(error)
        else:
            able.append(method)
    return able, refusals


def cases(methods: Sequence[Method]) -> Iterator[Case]:
    """Yield all combinations, sorted by objective."""
    for engine, family, strength in itertools.product(ENGINES, FAMILIES, REGULARIZATIONS):
        for method, start in itertools.product(methods, STARTS):
            for mode in method.modes:
                yield Case(family, start, method, mode, strength, engine)


def run_all(function: Callable[[Case], Row], chosen: Sequence[Case], executor: Executor | None) -> list[Row]:
    """Run all cases; progress goes to standard error."""
    rows = []
    for row in map(function, chosen) if executor is None else executor.map(function, chosen):
        rows.append(row)
        print(f"\r{len(rows)}/{len(chosen)} {row.optimizer:40s}", end="", file=sys.stderr, flush=True)
    print("\r" + 60 * " " + "\r", end="", file=sys.stderr)
    return rows


def print_figures(molecule: Molecule) -> None:
    """Print what several figures of merit say about the same force fields."""
    print("\nfigures of merit: wavenumber RMSD [1/cm] paired at the minimum, sorted there, and at the QM geometry")
    print(f"{'':60s} {'paired':>9s} {'sorted':>9s} {'at QM':>9s} {'A':>8s} {'deg':>8s}")
    for family in FAMILIES:
        fitted = estimate_force_constants([molecule], build_force_field([molecule], family=family))
        for label, references in FITTED.items():
            objective = ForceFieldObjective(fitted, [molecule], references)
            limit = [Budget(evaluations=1)] if label == AS_STARTED else []
            result = make_optimizer("least-squares").optimize(objective, observers=limit)
            print(f"{f'{family}, {label}':60s} {_figures(objective, result)}")


def _figures(objective: ForceFieldObjective, result: OptimizationResult) -> str:
    end = objective.at(result.final_params, objective.initial_state())[0]
    record, qm = end.model.molecule.record, np.sort(end.model.qm_modes.frequencies)
    hessian = end.model.qm_geometry.hessian(end.terms)
    there = np.sort(normal_modes(hessian, record.coordinates, record.masses).frequencies)
    try:
        found = report_fit(objective, result).molecules[0]
        at_minimum = np.sort(end.modes.frequencies)
    except EvaluationError as error:
        return f"{'-':>9s} {'-':>9s} {_rms(there - qm):9.2f} {error}"
    figures = (found.frequency_rmsd, _rms(at_minimum - qm), _rms(there - qm))
    return "{:9.2f} {:9.2f} {:9.2f}".format(*figures) + f" {found.bond_largest:8.4f} {found.angle_largest:8.3f}"


def _rms(values: Vector) -> float:
    return float(np.sqrt(np.mean(values**2)))


def print_everything(rows: Sequence[Row], refusals: Mapping[str, str]) -> None:
    """Print tables, which rows the classic names stand for, and which optimizers have no rows."""
    print(f"\n{len(rows)} fits; * ended after {CALLS} evaluations of the model")
    print_tables(rows)
    print_page(rows)
    print("\nclassic names")
    for name, (target, preset) in CATALOGUE.items():
        listed = ", ".join(f"{key}={value}" for key, value in preset.items())
        print(f"  {name:20s} {target}{f' with {listed}' if listed else ''}")
    if refusals:
        print("\ncannot take the problem")
    for label, text in refusals.items():
        print(f"  {label}: {text}")


def header(options: argparse.Namespace) -> str:
    """Return data, versions and speed of this machine."""
    listed = ", ".join(f"{name} {version}" for name, version in versions().items() if name != "fieldfit")
    engines = ", ".join(ENGINES)
    return (
        f"{options.geometry}\n{calibrate()!r}\nfieldfit {__version__}, {listed}\n"
        f"references {REFERENCES}, engines {engines}"
    )


def chosen_cases(options: argparse.Namespace, methods: Sequence[Method]) -> list[Case]:
    """Return the cases that the options ask for."""
    patterns = QUICK if options.quick else [f"*{pattern}*" for pattern in options.only]
    return [case for case in cases(methods) if any(fnmatch.fnmatch(case.label, pattern) for pattern in patterns)]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    if options.read:
        earlier = json.loads(options.read.read_text())
        print(earlier["header"])
        print_everything([Row(**entry) for entry in earlier["rows"]], earlier["refusals"])
        return
    begin = time.perf_counter()
    title = header(options)
    print(title)
    molecule = load_molecule(options.geometry, options.hessian)
    methods, refusals = sort_methods(Problem(Bench(molecule, FAMILIES[0], REGULARIZATIONS[0], ENGINES[0]).objective))
    function = functools.partial(run_case, options.geometry, options.hessian)
    with open_workers(options) as executor:
        rows = run_all(function, chosen_cases(options, methods), executor)
    if options.json:
        numbers = {"header": title, "refusals": refusals, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(numbers, indent=1))
    print_everything(rows, {} if options.quick else refusals)
    if not options.quick:
        print_figures(molecule)
    total = sum(row.seconds for row in rows if np.isfinite(row.seconds))
    print(f"\n{len(rows)} fits: {total:.0f} s of processor time; everything in {time.perf_counter() - begin:.0f} s")


def open_workers(options: argparse.Namespace) -> AbstractContextManager[Executor | None]:
    """Return processes with one thread each; none for two rows, which are done sooner here."""
    if options.quick:
        return nullcontext()
    # Read by a process when it starts; too late for this one.
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    return ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn"))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("geometry", nargs="?", default=EXAMPLE, type=Path)
    parser.add_argument("hessian", nargs="?", type=Path)
    parser.add_argument("--json", type=Path, help="write every row to this file")
    parser.add_argument("--read", type=Path, help="fit nothing, print the tables of such a file")
    parser.add_argument("--quick", action="store_true", help="two rows")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        metavar="PATTERN",
        help="rows whose FAMILY/START/OPTIMIZER/DERIVATIVES/L2 match",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
