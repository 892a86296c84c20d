"""What to do about parameters that the data do not determine: tie, fix, or which data to add.

Directions of parameter space that no residual feels span the null space of the Jacobian. Its basis from a singular
value decomposition is arbitrary and mixes what has nothing to do with each other. The projector P on the null space is
not arbitrary: parameters i and j belong together where P_ij is not zero, and the trace of P over such a group is the
number of its combinations that are open. In a group with d open combinations, fixing d parameters closes them, if the
d columns of the basis are independent; pivoted orthogonal factors choose them, and a preference for couplings,
out-of-plane terms and torsions over bonds and angles.

Directions that are felt, but a thousand times less than others, are taken one by one as they are.

    one parameter                                         no reference feels it: fix it
    two of one kind that may grow and shrink alike        only their sum or mean is felt: tie them
    torsion constants about one bond                      data at one dihedral only: add a scan, or keep fewer terms
    equilibria                                            add geometries, or fix
    constants                                             add the off-diagonal eigenmatrix, or another molecule, or fix

Tying helps only where the combination that is open moves the two apart; where it moves them together, tying would leave
it open, and one is fixed instead.

Correlations are those of the covariance. A coefficient near one means that the data determine both parameters, but one
of their combinations far better than the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse

from fieldfit.diagnostics import Identifiability
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.row import NONBONDED_KINDS, Row
from fieldfit.problem import OptimizationResult
from fieldfit.typing import Matrix

TAKES_PART = 0.01
"""Smallest share of a parameter in a direction that counts."""

BELONGS = 0.2
"""Normalized element of the projector that joins two parameters."""

MINOR = 0.1
"""Share, relative to the largest, below which a parameter of an open group is not named."""

MAIN = 0.2
"""Share, relative to the largest, of the parameters that are named for a weakly determined direction."""

ALIKE = 1.25
"""Ratio of two changes up to which they count as equal."""

CORRELATED = 0.95
"""Correlation coefficients from here on are listed."""

PREFERENCE = {"bond": 0.3, "angle": 0.5, "linear-bend": 0.5, "torsion": 0.9}
"""How readily a parameter of a kind is fixed, 1 for all others."""

MOST_WEAK = 6
"""Weakly determined directions that advice is given for, the worst first."""

GEOMETRIC = ("bond_length", "bond_angle", "torsion", "newton_displacement", "gradient")
"""Kinds of reference that feel where the minimum is."""

COUPLING = ("eigenmatrix_off_diagonal", "hessian_element", "classic_eigenmatrix_off_diagonal")
"""Kinds of reference that feel how modes mix."""


@dataclass(frozen=True)
class Combination:
    """Parameters of which one or more combinations are not determined, and what to do.

    Args:
        parameters: Names.
        n_open: Number of combinations that are open.
        value: Singular value of the best determined one of them, relative to the largest.
        is_weak: Whether it is determined after all, but only weakly.
        fix: Parameters that close it when they are fixed; empty if tying is better.
        tie: Pairs (follower, leader) that close it when they are tied.
        text: The advice in words.
    """

    parameters: tuple[str, ...]
    n_open: int
    value: float
    is_weak: bool
    fix: tuple[str, ...]
    tie: tuple[tuple[str, str], ...]
    text: str


@dataclass(frozen=True)
class Correlation:
    """Two parameters whose errors go together, and their correlation coefficient."""

    first: str
    second: str
    coefficient: float


@dataclass(frozen=True)
class Advice:
    """What to do about a fit.

    Args:
        combinations: Those that are open, then those that are weakly determined.
        correlations: Pairs above 0.95, the strongest first.
    """

    combinations: tuple[Combination, ...] = ()
    correlations: tuple[Correlation, ...] = ()


def advise(
    found: Identifiability, result: OptimizationResult, force_field: ForceField, categories: Sequence[str]
) -> Advice:
    """Say what to do about undetermined and weakly determined combinations of parameters.

    Args:
        found: What the references alone determine, without a tether.
        result: The fit.
        force_field: The force field whose parameters they are.
        categories: Kinds of reference that were fitted.
    """
    adviser = _Adviser(found, result, force_field, tuple(categories))
    return Advice((*adviser.open_groups(), *adviser.weak_directions()), correlations(result))


def correlations(result: OptimizationResult) -> tuple[Correlation, ...]:
    """Return pairs of free parameters whose correlation is above 0.95, the strongest first."""
    covariance = result.covariance()
    variances = np.diag(covariance)
    usable = np.flatnonzero(np.isfinite(variances) & (variances > 0.0))
    deviations = np.sqrt(variances[usable])
    matrix = covariance[np.ix_(usable, usable)] / np.outer(deviations, deviations)
    first, second = np.nonzero(np.triu(np.abs(matrix) > CORRELATED, 1))
    rows = [
        Correlation(result.labels[usable[i]], result.labels[usable[j]], float(np.clip(matrix[i, j], -1.0, 1.0)))
        for i, j in zip(first, second, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -abs(row.coefficient)))


def groups_of(null_space: Matrix) -> list[np.ndarray]:
    """Return which variables belong together in a null space.

    Args:
        null_space: An orthonormal basis, one vector per row, shape (d, n).

    Returns:
        Indices of the variables of each group, ascending.
    """
    projector = null_space.T @ null_space
    shares = np.diag(projector)
    members = np.flatnonzero(shares > TAKES_PART**2)
    lengths = np.sqrt(shares[members])
    joined = np.abs(projector[np.ix_(members, members)]) > BELONGS * np.outer(lengths, lengths)
    _, labels = scipy.sparse.csgraph.connected_components(scipy.sparse.csr_array(joined), directed=False)
    return [members[labels == label] for label in range(labels.max(initial=-1) + 1)]


@dataclass(frozen=True)
class _Member:
    """A parameter in a combination: its name, row and column, and its change along the combination."""

    name: str
    row: Row
    column: str
    change: float

    @property
    def is_equilibrium(self) -> bool:
        columns = {column.name: column for column in self.row.definition.columns}
        return not columns[self.column].is_linear and self.row.kind not in NONBONDED_KINDS


class _Adviser:
    """Everything that advice about one fit is made from."""

    def __init__(
        self, found: Identifiability, result: OptimizationResult, force_field: ForceField, categories: tuple[str, ...]
    ) -> None:
        self._found = found
        self._values = {name: float(value) for name, value in result.parameters.values.items()}
        self._units = {entry.name: entry.unit for entry in result.parameters}
        self._categories = categories
        self._places = {
            name: (row, column.name)
            for row in force_field.rows
            for name, column in zip(row.parameter_names, row.definition.columns, strict=True)
        }

    def open_groups(self) -> list[Combination]:
        """Advise on directions that nothing feels, group by group."""
        null_space = self._found.directions[self._found.rank :]
        combinations = []
        for group in groups_of(null_space):
            lengths = np.linalg.norm(null_space[:, group], axis=0)
            group = group[np.argsort(-lengths, kind="stable")][: np.count_nonzero(lengths >= MINOR * lengths.max())]
            part = null_space[:, group]
            n_open = max(1, round(float(np.sum(part**2))))
            _, _, basis = scipy.linalg.svd(part, full_matrices=False)
            combinations.append(self._combination(group, basis[:n_open], value=self._relative(-1), is_weak=False))
        return combinations

    def weak_directions(self) -> list[Combination]:
        """Advise on directions that are hardly felt, one by one."""
        rank, combinations = self._found.rank, []
        for index in range(rank - 1, max(rank - 1 - min(self._found.n_weak, MOST_WEAK), -1), -1):
            direction = self._found.directions[index]
            group = np.flatnonzero(np.abs(direction) >= MAIN * np.max(np.abs(direction)))
            basis = direction[group][None, :]
            combinations.append(self._combination(group, basis, value=self._relative(index), is_weak=True))
        return combinations

    def _relative(self, index: int) -> float:
        values = self._found.singular_values
        return float(values[index] / values[0]) if values.size and values[0] > 0.0 else 0.0

    def _combination(self, group: np.ndarray, basis: Matrix, *, value: float, is_weak: bool) -> Combination:
        norms = self._found.column_norms[group]
        changes = basis[0] / np.where(norms > 0.0, norms, 1.0)
        members = [self._member(*entry) for entry in zip(group.tolist(), changes.tolist(), strict=True)]
        names = tuple(member.name for member in members)
        tie = _tie(members) if len(basis) == 1 else ()
        fix = () if tie else tuple(names[index] for index in _pivots(basis, members))
        effect = "almost without effect" if is_weak else "without effect"
        text = self._text(members, fix, tie, n_open=len(basis), effect=effect if np.all(norms > 0.0) else "")
        return Combination(names, len(basis), value, is_weak, fix, tie, text)

    def _member(self, index: int, change: float) -> _Member:
        name = self._found.labels[index]
        row, column = self._places[name]
        return _Member(name, row, column, float(change))

    def _text(
        self,
        members: Sequence[_Member],
        fix: Sequence[str],
        tie: Sequence[tuple[str, str]],
        *,
        n_open: int,
        effect: str,
    ) -> str:
        if not effect:
            return f"no reference feels it: {self._fixing(fix)}, or {self._data(members)}"
        if tie:
            (follower, leader), *_ = tie
            return f"only felt together: tie {follower} to {leader}, or {self._data(members)}"
        what = "it changes" if len(members) == 1 else "all change together"
        state = f"{what} {effect}" if n_open == 1 else f"{n_open} combinations are open"
        return f"{state}{_reason(members)}: {self._fixing(fix)}, or {self._data(members)}"

    def _fixing(self, names: Sequence[str]) -> str:
        shown = [f"{name} at {self._values[name]:.4g} {self._units[name]}".rstrip() for name in names[:4]]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        return f"fix {', '.join(shown)}{more}"

    def _data(self, members: Sequence[_Member]) -> str:
        """Say which data would determine the parameters."""
        kinds = {member.row.kind for member in members}
        wanted = []
        if "torsion" in kinds:
            bonds = dict.fromkeys("-".join(m.row.types[1:3]) for m in members if m.row.kind == "torsion")
            wanted.append(f"a torsion scan or energies of conformers about {' and '.join(list(bonds)[:3])}")
        if kinds & set(NONBONDED_KINDS):
            wanted.append("energies of conformers or of geometries away from the minimum")
        if any(member.is_equilibrium for member in members) and not set(self._categories) & set(GEOMETRIC):
            wanted.append("the geometry (bond_length and bond_angle, or newton_displacement)")
        is_coupled = bool(set(self._categories) & set(COUPLING))
        if kinds - {"torsion", *NONBONDED_KINDS} and not is_coupled:
            wanted.append("the off-diagonal eigenmatrix (eigenmatrix_off_diagonal)")
        return f"add {' and '.join(wanted or ['a molecule in which these terms occur apart'])}"


def _reason(members: Sequence[_Member]) -> str:
    """Say why parameters are open together, where it is one of the known cases; empty otherwise."""
    planar = {member.row.types[0] for member in members if member.row.kind == "out-of-plane"}
    angles = {member.row.types[1] for member in members if member.row.kind == "angle" and member.is_equilibrium}
    if planar & angles:
        return f" (at the planar {'/'.join(sorted(planar & angles))} the angles at rest and the out-of-plane constant)"
    return ""


def _tie(members: Sequence[_Member]) -> tuple[tuple[str, str], ...]:
    """Return the pair to tie, if two parameters of one kind grow and shrink by the same along the combination."""
    if len(members) != 2:
        return ()
    first, second = members
    if (first.row.kind, first.column) != (second.row.kind, second.column) or first.change * second.change >= 0.0:
        return ()
    ratio = abs(first.change / second.change)
    return ((second.name, first.name),) if 1.0 / ALIKE <= ratio <= ALIKE else ()


def _pivots(basis: Matrix, members: Sequence[_Member]) -> np.ndarray:
    """Return which parameters to fix: as many as the basis has vectors, with independent columns."""
    preference = np.array([PREFERENCE.get(member.row.kind, 1.0) for member in members])
    order: np.ndarray = scipy.linalg.qr(basis * preference, mode="economic", pivoting=True)[-1]
    return np.sort(order[: len(basis)])
