"""The force-field objective: what a force field predicts for molecules, minus what the QM results say.

The score is sum ((predicted - observed) / tolerance)^2 over all references of all molecules. The report is computed by
the same code from the same evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.blas import one_blas_thread
from fieldfit.errors import EvaluationError, MoleculeError, ParameterError, SettingsError
from fieldfit.forcefield.engines import ENGINES
from fieldfit.forcefield.engines.engine import AbstractEngine
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.references import (
    REFERENCES,
    AbstractReference,
    MoleculeEvaluation,
    MoleculeModel,
    MoleculeState,
)
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits, Prior
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameters
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector

DEFAULT_REFERENCES = ("frequency", "eigenmatrix_off_diagonal", "bond_length", "bond_angle")
"""What is fitted by default, with the default tolerances: wavenumbers and geometry at the minimum, and the off-diagonal
eigenmatrix, which keeps the character of the modes and determines what wavenumbers alone do not."""


@dataclass(frozen=True, eq=False)
class ReferenceBlock:
    """One kind of reference for one molecule, with its tolerance.

    Args:
        molecule: Index of the molecule.
        category: Name of the kind in the table of references.
        reference: Observations and predictions.
        tolerance: Deviation that counts as one, in the unit of the reference.
    """

    molecule: int
    category: str
    reference: AbstractReference
    tolerance: float


class ForceFieldObjective(AbstractObjective):
    """Least squares of a force field against QM results.

    Args:
        force_field: Rows and start values.
        molecules: Molecules with QM Hessians.
        references: Kind of reference to tolerance in its unit, None for its default; default:
            `DEFAULT_REFERENCES`.
        engine: What computes energies: a name in the table of engines, or an engine. Without parameter derivatives
            of its own, derivatives of the objective are differences.
        parameters: The force field's parameters with other bounds, fixed marks or ties.
        regularization: Strength of an L2 tether to the start, in units of the parameters' scales; 0 for none.

    Raises:
        SettingsError: An unknown engine or kind of reference, a tolerance that is not positive or a negative
            regularization.
        MoleculeError: A molecule has no Hessian, two have one name, or there is none.

    Example:
        >>> from fieldfit.forcefield import ForceFieldObjective                 # doctest: +SKIP
        >>> references = {"frequency": 10.0, "bond_length": 0.01}
        >>> objective = ForceFieldObjective(field, [molecule], references)       # doctest: +SKIP
    """

    def __init__(
        self,
        force_field: ForceField,
        molecules: Sequence[Molecule],
        references: Mapping[str, float | None] | Iterable[str] | None = None,
        *,
        engine: str | AbstractEngine = "jax",
        parameters: Parameters | None = None,
        regularization: float = 0.0,
    ) -> None:
        self.force_field = force_field
        self.molecules = tuple(molecules)
        names = [molecule.name for molecule in self.molecules]
        if not names or len(set(names)) < len(names):
            raise MoleculeError(
                f"The molecules are called {', '.join(names) or 'nothing, because there is none'}. Give at least one, "
                "each with a name of its own: `read(path, name=...)`."
            )
        self._parameters = force_field.parameters if parameters is None else checked_parameters(force_field, parameters)
        self._factors = force_field.internal_factors
        chosen = ENGINES[engine]() if isinstance(engine, str) else engine
        if not isinstance(chosen, AbstractEngine):
            raise SettingsError(
                f"The engine is {engine!r}, which is neither a name nor an engine. Give one of {', '.join(ENGINES)}, "
                "or an object such as OpenMMEngine(platform='CPU')."
            )
        self._has_derivatives = chosen.traits.has_parameter_derivatives
        systems = chosen.systems(self.molecules, force_field)
        self.models = tuple(MoleculeModel(*entry) for entry in zip(self.molecules, systems, strict=True))
        self.tolerances = checked_tolerances(DEFAULT_REFERENCES if references is None else references)
        self.blocks = tuple(
            ReferenceBlock(index, category, REFERENCES[category](model), tolerance)
            for index, model in enumerate(self.models)
            for category, tolerance in self.tolerances.items()
        )
        self._prior = Prior(self._parameters, regularization) if regularization else None

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return ObjectiveTraits(has_residuals=True, has_derivatives=self._has_derivatives)

    def initial_state(self) -> tuple[MoleculeState, ...]:
        return tuple(model.initial_state for model in self.models)

    def at(self, values: Vector, state: tuple[MoleculeState, ...]) -> tuple[MoleculeEvaluation, ...]:
        """Return the molecules at given parameter values; everything there is computed when it is asked for."""
        p = values * self._factors
        return tuple(MoleculeEvaluation(model, p, start) for model, start in zip(self.models, state, strict=True))

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        with one_blas_thread():
            return self._evaluate(values, state, derivatives)

    def _evaluate(self, values: Vector, state: Any, derivatives: bool) -> Evaluation:
        evaluations = self.at(values, state)
        try:
            residuals = [
                (block.reference.predicted(evaluations[block.molecule]) - block.reference.observed) / block.tolerance
                for block in self.blocks
            ]
            jacobian = self._jacobian(evaluations) if derivatives else None
        except EvaluationError as error:
            return Evaluation(np.nan, state=state, failure=str(error))
        if self._prior is not None:
            residuals.append(self._prior.residuals(values))
            jacobian = None if jacobian is None else np.concatenate([jacobian, self._prior.jacobian])
        stale = [entry.model.molecule.name for entry in evaluations if self._uses_pairing and entry.is_pairing_stale]
        return evaluation_from_residuals(
            np.concatenate(residuals),
            jacobian,
            state=tuple(entry.next_state() for entry in evaluations),
            is_stale=bool(stale),
            note=f"modes of {', '.join(stale)} paired anew" if stale else "",
        )

    def term_slices(self) -> dict[str, slice]:
        slices, start = {}, 0
        for block in self.blocks:
            prefix = f"{self.molecules[block.molecule].name}." if len(self.molecules) > 1 else ""
            size = len(block.reference.observed)
            slices[f"{prefix}{block.category}"] = slice(start, start + size)
            start += size
        if self._prior is not None:
            slices["prior"] = slice(start, start + self._parameters.n_free)
        return slices

    @property
    def _uses_pairing(self) -> bool:
        return "frequency" in self.tolerances

    def _jacobian(self, evaluations: Sequence[MoleculeEvaluation]) -> np.ndarray:
        rows = [block.reference.jacobian(evaluations[block.molecule]) / block.tolerance for block in self.blocks]
        return np.concatenate(rows) * self._factors


def checked_parameters(force_field: ForceField, parameters: Parameters) -> Parameters:
    """Return parameters if they are those of a force field, in its order.

    Raises:
        ParameterError: They are not.
    """
    if parameters.names != force_field.parameter_names:
        differing = sorted(set(parameters.names) ^ set(force_field.parameter_names))
        raise ParameterError(
            f"The parameters are not those of the force field: {', '.join(differing) or 'the order'} differ. "
            "Start from `force_field.parameters` and change bounds, fixed marks or ties."
        )
    return parameters


def checked_tolerances(references: Mapping[str, float | None] | Iterable[str]) -> dict[str, float]:
    """Return kind of reference to tolerance, defaults filled in.

    Raises:
        SettingsError: An unknown kind, none at all, or a tolerance that is not positive.
    """
    if isinstance(references, str):
        references = [references]
    given = dict(references) if isinstance(references, Mapping) else dict.fromkeys(references)
    if not given:
        raise SettingsError(f"No reference is given, so there is nothing to fit. Known: {', '.join(REFERENCES)}.")
    result = {}
    for category, tolerance in given.items():
        if category not in REFERENCES:
            raise SettingsError(unknown_name("reference", category, REFERENCES))
        chosen = REFERENCES[category].tolerance if tolerance is None else float(tolerance)
        if not (chosen > 0.0 and np.isfinite(chosen)):
            raise SettingsError(
                f"The tolerance of {category} is {chosen:g} {REFERENCES[category].unit}. A tolerance is the deviation "
                "that counts as one: give a positive number, or leave the reference out."
            )
        result[category] = chosen
    return result
