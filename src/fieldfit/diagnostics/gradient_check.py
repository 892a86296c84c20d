"""Derivatives by differences with an error estimate, and what they say of exact ones.

Differences
-----------
One variable is moved by h and h / 2 to both sides. The central differences D(h) and D(h / 2) have errors proportional
to h^2, so Richardson's

    R = (4 D(h / 2) - D(h)) / 3

has one proportional to h^4, and |R - D(h / 2)|, the error of the better of the two, bounds it with a margin. Rounding
adds EPS |f| / h; h = EPS^(1/5) balances it. Next to a bound the three-point formulas of second order on its inner side
take the place of D.

Verdict
-------
A derivative is wrong if it differs from R by more than `TOLERANCE` of either and `MARGIN` times the error estimate. One
number cannot tell an error from noise that happened to be small, so a derivative under suspicion is compared with a
second R from steps `LONGER` times as long; if the two differences disagree as much as the first one and the derivative
do, nobody is accused. Where the error estimate is as large as the derivatives, nothing can be told either.

References:
    Richardson (1911), The approximate arithmetical solution by finite differences, doi:10.1098/rsta.1911.0009.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fieldfit.typing import Vector

EPS = float(np.finfo(float).eps)

STEP = EPS**0.2
"""h for a variable of size one."""

LONGER = 4.0
"""Factor of the steps of a second opinion."""

TOLERANCE = 1e-5
"""Relative deviation that counts as right."""

MARGIN = 10.0
"""Factor on the error estimate of differences."""

NEGLIGIBLE = 1e-9
"""Fraction of the largest derivative of a term that rounding may make of any of them."""

BLUNT = 0.1
"""Error of differences relative to the derivatives above which they cannot tell."""

UNIMPORTANT = 1e-3
"""Derivatives below this fraction of the largest one of a term are measured by it."""

LEAST_ROOM = 0.1
"""Fraction of a step that bounds must leave on both sides for central differences."""

LISTED = 5
"""Comparisons that a report shows."""

WORDS = ("wrong", "cannot tell", "right")


@dataclass(frozen=True, eq=False)
class Stencil:
    """Where a variable is moved to, and how derivatives follow.

    Args:
        offsets: Moves, shape (k,); none if there is no room.
        coarse: Weights of D(h) for the outputs at the point and at the moves, shape (k + 1,).
        fine: Those of D(h / 2), shape (k + 1,).
        step: h.
    """

    offsets: tuple[float, ...]
    coarse: tuple[float, ...]
    fine: tuple[float, ...]
    step: float


def make_stencil(step: float, below: float, above: float) -> Stencil:
    """Choose the moves of a variable.

    Args:
        step: h, positive.
        below: Way to the lower bound.
        above: Way to the upper bound.
    """
    room = min(below, above)
    if room >= LEAST_ROOM * step:
        h = min(step, room)
        outer, inner = 0.5 / h, 1.0 / h
        return Stencil((h, -h, 0.5 * h, -0.5 * h), (0.0, outer, -outer, 0.0, 0.0), (0.0, 0.0, 0.0, inner, -inner), h)
    h = min(step, 0.5 * max(below, above))
    if h <= 0.0:
        return Stencil((), (0.0,), (0.0,), step)
    s = h if above >= below else -h
    coarse = (-1.5 / s, 0.0, 2.0 / s, -0.5 / s)
    fine = (-3.0 / s, 4.0 / s, -1.0 / s, 0.0)
    return Stencil((0.5 * s, s, 2.0 * s), coarse, fine, h)


@dataclass(frozen=True, eq=False)
class Difference:
    """Derivatives of m outputs with respect to one variable by differences.

    Args:
        value: R, shape (m,).
        uncertainty: Error estimate, shape (m,).
        failure: Why there are none; empty if there are.
    """

    value: Vector
    uncertainty: Vector
    failure: str = ""

    def per_unit(self, rows: slice, unit: float) -> Difference:
        """Return those of some outputs with respect to the variable times a unit."""
        return Difference(self.value[rows] / unit, self.uncertainty[rows] / unit, self.failure)


def differentiate(stencil: Stencil, outputs: Float[np.ndarray, "points m"]) -> Difference:
    """Return derivatives by differences.

    Args:
        stencil: Moves of the variable; at least one.
        outputs: At the point and at each move, shape (k + 1, m).
    """
    # From differences to the point itself, whose weights add up to zero, no digits are lost to a constant.
    changes = outputs[1:] - outputs[0]
    coarse, fine = (np.array(weights[1:]) @ changes for weights in (stencil.coarse, stencil.fine))
    value = (4.0 * fine - coarse) / 3.0
    rounding = EPS * np.max(np.abs(outputs), axis=0) / stencil.step
    return Difference(value, np.abs(value - fine) + rounding)


@dataclass(frozen=True)
class DerivativeComparison:
    """The derivatives of one term with respect to one parameter; those of the output that differs most.

    Args:
        term: Name of the term.
        parameter: Label of the parameter.
        row: Index of the output within the term.
        exact: Its derivative as the term computes it.
        difference: The same from differences; NaN if there are none.
        error: Deviation of the two relative to the larger one, or to `UNIMPORTANT` times the largest of the term.
        uncertainty: Error estimate of `difference`.
        excess: Deviation in units of the largest that counts as right.
        word: "right", "wrong" or "cannot tell".
        note: Why it cannot be told; empty otherwise.
    """

    term: str
    parameter: str
    row: int
    exact: float
    difference: float
    error: float
    uncertainty: float
    excess: float
    word: str
    note: str = ""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return (
            f"{self.word}: {self.term}[{self.row}] by {self.parameter}: exact {self.exact:.9g}, "
            f"difference {self.difference:.9g} +- {self.uncertainty:.1e}, deviation {self.error:.1e}{note}"
        )


def is_suspicious(exact: Vector, found: Difference, *, largest: float) -> bool:
    """Whether derivatives deviate from differences by more than counts as right; see `compare`."""
    return not found.failure and bool(np.any(_excess(exact, found, found.uncertainty, largest) > 1.0))


def compare(
    names: tuple[str, str], exact: Vector, first: Difference, second: Difference | None, *, largest: float
) -> DerivativeComparison:
    """Compare the derivatives of a term with respect to one parameter with differences.

    Args:
        names: Of term and parameter.
        exact: Derivatives as the term computes them, shape (m,).
        first: By differences.
        second: By differences with longer steps, for those under suspicion.
        largest: Largest magnitude of any derivative of the term.
    """
    if first.failure:
        return _nothing_known(names, exact, first.failure)
    uncertainty = first.uncertainty
    word, note = "right", ""
    if _is_blunt(exact, first, largest):
        word, note = "cannot tell", "the differences are too noisy"
    if is_suspicious(exact, first, largest=largest):
        word, note = "wrong", ""
        if second is None or second.failure:
            word, note = "cannot tell", second.failure if second else "there is one set of differences only"
        else:
            uncertainty = np.maximum(uncertainty, np.abs(first.value - second.value))
    excess = _excess(exact, first, uncertainty, largest)
    row = int(np.argmax(excess))
    if word == "wrong" and excess[row] <= 1.0:
        word, note = "cannot tell", "two sets of differences disagree as much"
    size = max(abs(exact[row]), abs(first.value[row]), UNIMPORTANT * largest)
    return DerivativeComparison(
        *names,
        row=row,
        exact=float(exact[row]),
        difference=float(first.value[row]),
        error=float(abs(exact[row] - first.value[row]) / size) if size > 0.0 else 0.0,
        uncertainty=float(uncertainty[row]),
        excess=float(excess[row]),
        word=word,
        note=note,
    )


def _excess(exact: Vector, found: Difference, uncertainty: Vector, largest: float) -> Vector:
    size = np.maximum(np.abs(exact), np.abs(found.value))
    allowed = TOLERANCE * size + MARGIN * uncertainty + NEGLIGIBLE * largest
    deviation = np.abs(exact - found.value)
    return np.divide(deviation, allowed, out=np.zeros_like(deviation), where=deviation > 0.0)


def _is_blunt(exact: Vector, found: Difference, largest: float) -> bool:
    size = max(float(np.max(np.abs(exact))), float(np.max(np.abs(found.value))), UNIMPORTANT * largest)
    return MARGIN * float(np.max(found.uncertainty)) > BLUNT * size


def _nothing_known(names: tuple[str, str], exact: Vector, reason: str) -> DerivativeComparison:
    row = int(np.argmax(np.abs(exact)))
    return DerivativeComparison(*names, row, float(exact[row]), np.nan, np.nan, np.inf, 0.0, "cannot tell", reason)


@dataclass(frozen=True)
class GradientCheck:
    """What a comparison of exact derivatives with differences found.

    Args:
        comparisons: One per term and parameter that it feels, the worst first.
        not_checked: Terms without exact derivatives.
        n_evaluations: Evaluations of single terms that it took.
    """

    comparisons: tuple[DerivativeComparison, ...]
    not_checked: tuple[str, ...] = ()
    n_evaluations: int = 0

    @property
    def is_right(self) -> bool:
        """Whether every exact derivative was found right; False also where differences cannot tell."""
        return all(entry.word == "right" for entry in self.comparisons)

    @property
    def worst(self) -> DerivativeComparison | None:
        """The worst comparison; None if there is nothing to compare."""
        return self.comparisons[0] if self.comparisons else None

    @property
    def wrong(self) -> tuple[DerivativeComparison, ...]:
        """Comparisons that found a wrong derivative."""
        return tuple(entry for entry in self.comparisons if entry.word == "wrong")

    @property
    def unclear(self) -> tuple[DerivativeComparison, ...]:
        """Comparisons whose differences cannot tell."""
        return tuple(entry for entry in self.comparisons if entry.word == "cannot tell")

    def __repr__(self) -> str:
        lines = [self._headline(), *(f"  {entry}" for entry in self.comparisons[:LISTED])]
        hidden = len(self.comparisons) - LISTED
        lines += [f"  and {hidden} more that are no worse"] if hidden > 0 else []
        lines += [f"  not checked: {name}, which has no exact derivatives" for name in self.not_checked]
        return "\n".join(lines)

    def _headline(self) -> str:
        n = len(self.comparisons)
        if not n:
            return "Derivatives: nothing to check"
        counts = [f"{len(self.wrong)} wrong"] if self.wrong else []
        counts += [f"{len(self.unclear)} of which differences cannot tell"] if self.unclear else []
        return f"Derivatives: {', '.join(counts) or 'all right'}, of {n} pairs of term and parameter"


def worst_first(comparisons: list[DerivativeComparison]) -> tuple[DerivativeComparison, ...]:
    """Sort comparisons: wrong ones, those that cannot be told, right ones; each by their excess."""
    return tuple(sorted(comparisons, key=lambda entry: (WORDS.index(entry.word), -entry.excess)))
