"""The bootstrap: how much fitted parameters depend on which observations there happen to be.

Observations are drawn with replacement until there are as many as before, and the fit is repeated from its optimum.
The spread of the parameters over many such fits estimates their uncertainty without the assumption that residuals are
small, independent and of one variance, on which covariances rest (Efron, Tibshirani 1993).

What is drawn is a block of residuals. Blocks of one row each are drawn within their term, because how many wavenumbers
and how many bond lengths there are is a choice and not chance. Blocks that are whole terms are drawn from all terms,
and so are blocks that the caller gives, such as all observations of one molecule, which depend on each other.

A draw is a list of multiplicities: how often each residual counts (see `reweighted`). Residuals of a tether are no
observations and always count once. A combination of parameters that the data do not determine stays where it was, and
its spread of nothing is no certainty: `is_determined` says which parameters are in such combinations.

References:
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, Chapman and Hall, ch. 9 and 13.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from fieldfit.diagnostics import identifiability
from fieldfit.errors import EvaluationError, SettingsError
from fieldfit.execution import Completed, ExecutorChoice, open_executor, ordered_map
from fieldfit.objectives import AbstractObjective
from fieldfit.parameters import Parameters
from fieldfit.problem import AbstractOptimizer, OptimizationResult, Problem
from fieldfit.typing import Vector
from fieldfit.validation.reweighted import ReweightedObjective, count_residuals

TETHER = "prior"
"""Name of the term, or its last part, whose residuals are a tether and no observations."""

ROWS, TERMS = "rows", "terms"


class Interval(NamedTuple):
    """Lower and upper end of an interval for each free parameter, physical, each of shape (n,)."""

    lower: Vector
    upper: Vector


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Fits to resampled observations.

    Args:
        labels: Labels of the free parameters, n of them.
        units: Their units.
        estimate: The fit to all observations, physical, shape (n,).
        samples: One fit per row, physical, shape (fits, n).
        scores: Score of each of them for its own observations, shape (fits,).
        is_determined: Whether all observations together determine each parameter by itself, shape (n,).
        n_samples: Number of draws.
        n_unconverged: Fits among the samples that did not converge.
        failures: Why draws have no fit.
        groups: What was drawn.
        seed: Of the draws.
    """

    labels: tuple[str, ...]
    units: tuple[str, ...]
    estimate: Vector
    samples: Float[np.ndarray, "fits n"]
    scores: Vector
    is_determined: np.ndarray
    n_samples: int
    n_unconverged: int
    failures: tuple[str, ...]
    groups: str
    seed: int

    @property
    def standard_deviations(self) -> Vector:
        """Spread of each parameter, shape (n,); NaN with fewer than two fits."""
        if len(self.samples) < 2:
            return np.full(len(self.labels), np.nan)
        return np.std(self.samples, axis=0, ddof=1)

    @property
    def bias(self) -> Vector:
        """Mean over the samples minus the estimate, shape (n,)."""
        return np.mean(self.samples, axis=0) - self.estimate

    def interval(self, level: float = 0.95) -> Interval:
        """Return percentile intervals.

        Args:
            level: Fraction of the samples inside, between 0 and 1.

        Raises:
            SettingsError: The level is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise SettingsError(f"An interval of the level {level} does not exist. Give a fraction such as 0.95.")
        tail = 50.0 * (1.0 - level)
        lower, upper = np.percentile(self.samples, [tail, 100.0 - tail], axis=0)
        return Interval(lower, upper)

    def __repr__(self) -> str:
        return "\n".join([self.headline(), *self.table(), *(f"  failed: {failure}" for failure in self.failures)])

    def headline(self) -> str:
        """Say in one line what was drawn and how many fits there are."""
        failed = f", {self.n_samples - len(self.samples)} failed" if len(self.samples) < self.n_samples else ""
        slow = f", {self.n_unconverged} did not converge" if self.n_unconverged else ""
        return f"Bootstrap over {self.groups}: {len(self.samples)} fits{failed}{slow}; seed {self.seed}"

    def table(self) -> list[str]:
        """Return the lines of a table: estimate, spread and 95 % interval of each parameter."""
        width = max(9, *(len(label) for label in self.labels))
        lines = [f"  {'parameter':{width}s} {'value':>12s} {'deviation':>11s} {'2.5 %':>12s} {'97.5 %':>12s}  unit"]
        if not len(self.samples):
            return lines
        columns = (self.estimate, self.standard_deviations, *self.interval())
        for index, label in enumerate(self.labels):
            value, deviation, lower, upper = (column[index] for column in columns)
            note = "" if self.is_determined[index] else "  not determined by the data"
            lines.append(
                f"  {label:{width}s} {value:12.6g} {deviation:11.3g} {lower:12.6g} {upper:12.6g}  "
                f"{self.units[index]}{note}"
            )
        return lines


def bootstrap(  # noqa: PLR0913 - what is resampled, how, and where
    objective: AbstractObjective,
    optimizer: AbstractOptimizer,
    result: OptimizationResult,
    *,
    n_samples: int = 50,
    seed: int = 0,
    groups: str | Mapping[str, Sequence[int]] = ROWS,
    executor: ExecutorChoice = None,
) -> Bootstrap:
    """Repeat a fit with observations drawn with replacement.

    Args:
        objective: What was fitted: a sum of squares.
        optimizer: What fits again.
        result: The fit to all observations, from whose optimum and state each fit starts.
        n_samples: Number of draws.
        seed: Of the draws; the same seed gives the same samples, whatever the executor.
        groups: What is drawn: "rows", single residuals within each term; "terms", whole terms; or a mapping from name
            to the indices of residuals that are drawn together. Residuals in no group, and those of a tether, always
            count once.
        executor: Where the fits are made; see `AbstractOptimizer.optimize`.

    Returns:
        The samples, their spread and intervals, and what failed.

    Raises:
        SettingsError: The objective has no residuals, there are no draws or no groups, or a group names a residual
            that is not there.
        EvaluationError: Every fit failed.

    Example:
        >>> import numpy as np
        >>> import fieldfit
        >>> from fieldfit.validation import bootstrap
        >>> data = np.random.default_rng(1).normal(3.0, 0.5, 100)
        >>> mean = fieldfit.FunctionObjective(lambda p: p["a"] - data, {"a": 1.0})
        >>> optimizer = fieldfit.LeastSquaresOptimizer()
        >>> found = bootstrap(mean, optimizer, optimizer.optimize(mean), n_samples=200)
        >>> bool(0.04 < found.standard_deviations[0] < 0.06)       # 0.5 / sqrt(100)
        True
    """
    if n_samples < 1:
        raise SettingsError(f"A bootstrap of {n_samples} samples leaves nothing to do. Give at least 1, such as 50.")
    strata = _strata(objective, groups)
    draws = [
        draw_multiplicities(count_residuals(objective), strata, generator) for generator in _generators(seed, n_samples)
    ]
    fit = functools.partial(_fit_again, optimizer, objective, result.parameters, result.state)
    with open_executor(executor) as workers:
        completed = ordered_map(fit, [(draw,) for draw in draws], workers)
    return _collected(completed, objective, result, groups=groups if isinstance(groups, str) else "groups", seed=seed)


def draw_multiplicities(
    n_residuals: int, strata: Sequence[Sequence[np.ndarray]], generator: np.random.Generator
) -> Vector:
    """Draw how often each residual counts.

    Args:
        n_residuals: Number of residuals.
        strata: Sets of blocks; within each set as many blocks are drawn as it has. A block is the indices of its
            residuals.
        generator: Source of random numbers.

    Returns:
        Multiplicities, 1 for residuals in no block, shape (n_residuals,).
    """
    multiplicities = np.ones(n_residuals)
    for blocks in strata:
        counts = np.bincount(generator.integers(len(blocks), size=len(blocks)), minlength=len(blocks))
        for block, count in zip(blocks, counts, strict=True):
            multiplicities[block] = count
    return multiplicities


def is_tether(term: str) -> bool:
    """Whether the name of a term is that of a tether."""
    return term.split(".")[-1] == TETHER


def _generators(seed: int, n_samples: int) -> list[np.random.Generator]:
    """Return one independent source of random numbers per draw, so that more draws do not change the first ones."""
    return [np.random.default_rng(entry) for entry in np.random.SeedSequence(seed).spawn(n_samples)]


def _strata(objective: AbstractObjective, groups: str | Mapping[str, Sequence[int]]) -> list[list[np.ndarray]]:
    n_residuals = count_residuals(objective)
    everything = np.arange(n_residuals)
    terms = [everything[part] for name, part in objective.term_slices().items() if not is_tether(name)]
    terms = [term for term in terms if term.size]
    if isinstance(groups, str):
        if groups not in (ROWS, TERMS):
            raise SettingsError(
                f"A bootstrap over {groups!r} is not known. Give 'rows', 'terms', or a mapping from name to indices."
            )
        return [[np.array([row]) for row in term] for term in terms] if groups == ROWS else [terms]
    blocks = [np.asarray(indices, dtype=int) for indices in groups.values()]
    for name, block in zip(groups, blocks, strict=True):
        if not block.size or block.min() < 0 or block.max() >= n_residuals:
            raise SettingsError(
                f"The group {name!r} of a bootstrap names {block.size} residuals, but there are {n_residuals}, counted "
                "from 0. Give indices of residuals, such as range(*slice.indices(n)) of a term."
            )
    if not blocks:
        raise SettingsError("A bootstrap over no groups draws nothing. Give at least two groups, or groups='rows'.")
    return [blocks]


def _fit_again(
    optimizer: AbstractOptimizer, objective: AbstractObjective, start: Parameters, state: Any, multiplicities: Vector
) -> tuple[Vector, float, bool]:
    problem = Problem(ReweightedObjective(objective, multiplicities), start, state=state)
    found = optimizer.optimize(problem)
    return found.final_params, found.final_score, found.success


def _collected(
    completed: Sequence[Completed], objective: AbstractObjective, result: OptimizationResult, *, groups: str, seed: int
) -> Bootstrap:
    ended = [entry.value for entry in completed if entry.failure is None]
    failures = tuple(entry.failure for entry in completed if entry.failure is not None)
    if not ended:
        raise EvaluationError(
            f"None of the {len(completed)} fits of the bootstrap ended; the first: {failures[0]} "
            "Draw larger groups, or fix parameters that few observations determine."
        )
    free = result.parameters.is_free
    units = [entry.unit for entry in result.parameters for _ in range(entry.size)]
    return Bootstrap(
        labels=result.labels,
        units=tuple(np.array(units, dtype=object)[free]),
        estimate=result.final_params[free],
        samples=np.array([values[free] for values, _, _ in ended]),
        scores=np.array([score for _, score, _ in ended]),
        is_determined=_is_determined(objective, result),
        n_samples=len(completed),
        n_unconverged=sum(not success for _, _, success in ended),
        failures=tuple(dict.fromkeys(failures)),
        groups=groups,
        seed=seed,
    )


def _is_determined(objective: AbstractObjective, result: OptimizationResult) -> np.ndarray:
    if result.jacobian is None:
        return np.ones(len(result.labels), dtype=bool)
    is_data = np.ones(len(result.jacobian), dtype=bool)
    for name, part in objective.term_slices().items():
        is_data[part] = not is_tether(name)
    return identifiability(result.jacobian[is_data], result.labels).is_determined
