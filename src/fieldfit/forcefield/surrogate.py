"""A fit that is scored by the program that will use the force field, with the derivatives of the JAX engine.

Engines such as OpenMM and Tinker compute energies but no derivatives with respect to parameters. They see the same
force field, so that the exact derivatives of the JAX engine serve them too, where both agree: this is what the gate of
`objectives.surrogate` makes sure of. Every score, the final one among them, is that of the scoring engine; each
engine relaxes molecules and pairs modes by itself and keeps a state of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fieldfit.forcefield.engines.engine import AbstractEngine
from fieldfit.forcefield.fitting import ForceFieldObjective
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.reference_data import ReferenceData
from fieldfit.objectives.surrogate import RATIO_TOLERANCE, SurrogateObjective, SurrogateState
from fieldfit.problem import OptimizationResult


def surrogate_objective(
    force_field: ForceField,
    molecules: Sequence[Molecule],
    references: ReferenceData | Mapping[str, float | None] | Sequence[str] | None = None,
    *,
    engine: str | AbstractEngine,
    ratio_tol: float | None = RATIO_TOLERANCE,
    **options: Any,
) -> SurrogateObjective | ForceFieldObjective:
    """Score a fit by one engine and take the derivatives of the JAX engine.

    Args:
        force_field: Rows and start values.
        molecules: Molecules with QM Hessians.
        references: What is fitted; see `ForceFieldObjective`.
        engine: What scores: a name in the table of engines, or an engine.
        ratio_tol: How far the ratio of both scores at the start may be from one, otherwise derivatives are
            differences of the scoring engine; None: they never are.
        **options: Of `ForceFieldObjective`, such as `parameters`; both engines get the same.

    Returns:
        The objective; for an engine with derivatives of its own, where there is nothing to compare, a
        `ForceFieldObjective`.

    Raises:
        SettingsError: The engine is not known or not installed, or a setting cannot be used.

    Example:
        >>> from fieldfit.forcefield.surrogate import surrogate_objective
        >>> objective = surrogate_objective(field, [molecule], engine="openmm")    # doctest: +SKIP
        >>> print(objective.gate)                                                  # doctest: +SKIP
        of the derivative objective: the ratio of the scores at the start, 1, is within 0.85 to 1.15
    """
    scoring = ForceFieldObjective(force_field, molecules, references, engine=engine, **options)
    if scoring.traits.has_derivatives:
        return scoring
    exact = ForceFieldObjective(force_field, molecules, references, engine="jax", **options)
    return SurrogateObjective(scoring, exact, ratio_tol=ratio_tol)


def scoring_result(result: OptimizationResult) -> OptimizationResult:
    """Return the result of a fit as one of the scoring objective, with its state alone, for `report_fit`.

    Args:
        result: Of a fit of `surrogate_objective`.

    Example:
        >>> from fieldfit.forcefield import report_fit
        >>> print(report_fit(objective.scoring, scoring_result(result)))           # doctest: +SKIP
    """
    return replace(result, state=result.state.scoring) if isinstance(result.state, SurrogateState) else result
