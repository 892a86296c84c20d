"""The tables of the CH3F matrix: every fit on a line, and what the lines come to.

A fit has reached the best score if it ends within `REACHED` of the lowest one of its objective, that of its family and
tether. "elsewhere" counts fits with the verdict "converged" that have not: other stationary points, or a verdict that
is wrong. "unclaimed" counts fits that have, without that verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

REACHED = 1e-4
"""A score above the best one by less than this fraction is the same fit."""

SAME_SCORE = 1e-6
"""Two evaluations of a score at one point, from different starts of the relaxation, agree to this fraction."""

COLUMNS = ("family", "start", "optimizer", "derivatives", "L2")
FIGURES = ("score", "above", "1/cm", "A", "deg", "evals", "calls", "seconds")


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


def print_tables(rows: Sequence[Row]) -> None:
    """Print all rows and what they come to."""
    best = best_scores(rows)
    print_rows(rows, best)
    remembered = sum(abs(row.own_score - row.score) > SAME_SCORE * row.score for row in rows)
    print(f"{remembered} fits end with a score that depends on what the run remembers, such as the pairing of modes")
    print(f"\nfits within {REACHED:g} of the best score of their objective; medians of calls and seconds")
    print_summary(rows, best, lambda row: f"{row.optimizer}, {row.derivatives}")
    for title, key in (
        ("derivatives", lambda row: row.derivatives),
        ("start", lambda row: row.start),
        ("objective", lambda row: f"{row.family}, L2 {row.regularization or 'off'}"),
    ):
        print(f"\nby {title}")
        print_summary(rows, best, key)
    print_best(rows, best)


def print_page(rows: Sequence[Row]) -> None:
    """Print the summary by optimizer as the documentation page has it: with exact derivatives, and without."""
    best = best_scores(rows)
    print("\n| optimizer | exact derivatives | calls | s | without | calls | s |\n|---|--:|--:|--:|--:|--:|--:|")
    for name in dict.fromkeys(row.optimizer for row in rows):
        cells = []
        for is_exact in (True, False):
            own = [row for row in rows if row.optimizer == name and (row.derivatives == "exact") == is_exact]
            reached = sum(excess(row, best) <= REACHED for row in own)
            medians = f"{median(row.calls for row in own):.0f} | {median(row.seconds for row in own):.1f}"
            cells.append(f"{reached} of {len(own)} | {medians}" if own else "- | - | -")
        print(f"| `{name.replace('|', chr(92) + '|')}` | {' | '.join(cells)} |")


def median(values: Iterable[float]) -> float:
    """Return the median of the finite values; NaN if there is none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else np.nan


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
    print("{:9s} {:12s} {:40s} {:12s} {:5s}".format(*COLUMNS), end="")
    print(" {:>9s} {:>8s} {:>7s} {:>8s} {:>7s} {:>6s} {:>6s} {:>8s} verdict".format(*FIGURES))
    for row in rows:
        tether = row.regularization or "off"
        what = f"{row.family:9s} {row.start:12s} {row.optimizer:40s} {row.derivatives:12s} {tether:<5}"
        if row.verdict == "failed":
            print(what, row.message)
            continue
        print(
            f"{what} {row.score:9.4f} {excess(row, best):8.1e} {row.frequency_rmsd:7.2f} {row.bond_largest:8.5f} "
            f"{row.angle_largest:7.3f} {row.evaluations:6d} {row.calls:6d} {row.seconds:8.2f} "
            f"{row.verdict}{' *' if row.is_stopped else ''}"
        )


def print_summary(rows: Sequence[Row], best: Mapping[tuple[str, float], float], key: Callable[[Row], str]) -> None:
    """Print one line per value of a key: how many fits reached the best score, how many claim it, what they cost."""
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
            f"{sum(row.is_stopped for row in own):8d} {worst:11.2f} {median(row.calls for row in own):6.0f} "
            f"{median(row.seconds for row in own):8.2f}"
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
