"""The force-field objective: what a force field predicts for molecules, minus what the QM results say.

The score is sum ((predicted - observed) / tolerance)^2 over all references of all molecules and ensembles. The report
is computed by the same code from the same evaluation.

Derivatives are made for the parameters that vary and those tied to them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldfit.blas import one_blas_thread
from fieldfit.errors import EvaluationError, MoleculeError, ParameterError, SettingsError
from fieldfit.forcefield.engines import ENGINES
from fieldfit.forcefield.engines.engine import AbstractEngine
from fieldfit.forcefield.ensemble import Ensemble
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.reference_data import ReferenceData, ReferenceGroup
from fieldfit.forcefield.reference_group import unknown_observation
from fieldfit.forcefield.references import (
    REFERENCES,
    AbstractReference,
    MoleculeEvaluation,
    MoleculeModel,
    MoleculeState,
    QMTarget,
)
from fieldfit.forcefield.references.ensemble_model import EnsembleEvaluation, EnsembleModel, EnsembleState
from fieldfit.forcefield.references.ensembles import ENSEMBLE_REFERENCES, AbstractEnsembleReference, default_kinds
from fieldfit.forcefield.transition_states import ZERO_WEIGHT
from fieldfit.forcefield.weights import check_tolerance, chosen_tolerances
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits, Prior
from fieldfit.objectives.objective import evaluation_from_residuals
from fieldfit.parameters import Parameters
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector


@dataclass(frozen=True, eq=False)
class ReferenceBlock:
    """One kind of reference for one molecule or ensemble, with its tolerances.

    Args:
        subject: Index of the molecule, or the number of molecules plus the index of the ensemble.
        name: Name of the molecule or ensemble.
        category: Name of the kind in the table of references.
        reference: Observations and predictions.
        kept: Observations that are fitted, by index; None: all.
        observed: What they should be, shape (m,).
        tolerances: Deviations that count as one, in the unit of the reference, shape (m,).
    """

    subject: int
    name: str
    category: str
    reference: AbstractReference | AbstractEnsembleReference
    kept: np.ndarray | None
    observed: Vector
    tolerances: Vector

    @property
    def labels(self) -> tuple[str, ...]:
        """What each observation is."""
        labels = self.reference.labels
        return labels if self.kept is None else tuple(labels[index] for index in self.kept)

    def predicted(self, evaluation: Any) -> Vector:
        """Return what the force field predicts in an evaluation of its subject, shape (m,)."""
        found = self.reference.predicted(evaluation)
        return found if self.kept is None else found[self.kept]

    def residuals(self, evaluation: Any) -> Vector:
        """Return deviations in units of their tolerances, shape (m,)."""
        return (self.predicted(evaluation) - self.observed) / self.tolerances

    def jacobian(self, evaluation: Any) -> np.ndarray:
        """Return the derivatives of the residuals, shape (m, columns)."""
        found = self.reference.jacobian(evaluation)
        return (found if self.kept is None else found[self.kept]) / self.tolerances[:, None]


class ForceFieldObjective(AbstractObjective):
    """Least squares of a force field against QM results.

    Args:
        force_field: Rows and start values.
        molecules: Molecules with QM Hessians.
        references: Kind of reference to tolerance in its unit, None for its default; or kinds alone; or a
            `ReferenceData` with single observations; default: the kinds that go with `weights`. Kinds of ensembles
            too; those of which none is named are fitted to what `default_kinds` says.
        engine: What computes energies: a name in the table of engines, or an engine. Without parameter derivatives
            of its own, derivatives of the objective are differences.
        parameters: The force field's parameters with other bounds, fixed marks or ties.
        regularization: Strength of an L2 tether to the start, in units of the parameters' scales; 0 for none.
        reference_values: Name to value of the point the tether pulls to, in user units; default: the start.
        weights: Set of tolerances for kinds that none is given for: "default" or "q2mm".
        transition_state: How transition states are described, see `transition_states`; without effect on minima. Bounds
            and held constants that belong to a method are the caller's: `initial_guess.target_parameters`.
        ensembles: Sets of geometries with energies or gradients: conformers, torsion scans.

    Raises:
        SettingsError: An unknown engine, kind of reference or method, a tolerance that is not positive or a negative
            regularization.
        MoleculeError: A molecule has no Hessian, two have one name, or there is nothing to fit to.

    Example:
        >>> from fieldfit.forcefield import ForceFieldObjective                 # doctest: +SKIP
        >>> references = {"frequency": 10.0, "bond_length": 0.01}
        >>> objective = ForceFieldObjective(field, [molecule], references)       # doctest: +SKIP
    """

    def __init__(  # noqa: PLR0913 - a front door: two things to join, and options with defaults
        self,
        force_field: ForceField,
        molecules: Sequence[Molecule],
        references: ReferenceData | Mapping[str, float | None] | Iterable[str] | None = None,
        *,
        engine: str | AbstractEngine = "jax",
        parameters: Parameters | None = None,
        regularization: float = 0.0,
        reference_values: Mapping[str, float] | None = None,
        weights: str = "default",
        transition_state: str | None = None,
        ensembles: Sequence[Ensemble] = (),
    ) -> None:
        self.force_field = force_field
        self.molecules = tuple(molecules)
        self.ensembles = tuple(ensembles)
        check_names([entry.name for entry in (*self.molecules, *self.ensembles)])
        self._parameters = force_field.parameters if parameters is None else checked_parameters(force_field, parameters)
        self._columns = varying(self._parameters)
        self._factors = force_field.internal_factors
        chosen = chosen_engine(engine)
        self._has_derivatives = chosen.traits.has_parameter_derivatives
        if isinstance(references, ReferenceData):
            self.transition_state = transition_state or references.transition_state
        else:
            self.transition_state = transition_state or ZERO_WEIGHT
        every = (*self.molecules, *(entry.molecule for entry in self.ensembles))
        systems = chosen.systems(every, force_field)
        n = len(self.molecules)
        self.models = tuple(
            MoleculeModel(QMTarget(molecule, transition_state=self.transition_state), system)
            for molecule, system in zip(self.molecules, systems[:n], strict=True)
        )
        self.ensemble_models = tuple(EnsembleModel(*entry) for entry in zip(self.ensembles, systems[n:], strict=True))
        kinds = {} if isinstance(references, ReferenceData) else chosen_ensemble_tolerances(references)
        if isinstance(references, ReferenceData):
            blocks = self._stated_blocks(references)
        else:
            own = molecule_kinds(references)
            is_without = not self.molecules or (kinds and not own)
            blocks = () if is_without else self._whole_blocks(chosen_tolerances(own, weights))
        self.blocks = (*blocks, *self._ensemble_blocks(kinds))
        self._prior = None
        if regularization:
            self._prior = Prior(self._parameters, regularization, reference=reference_values)

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return ObjectiveTraits(has_residuals=True, has_derivatives=self._has_derivatives)

    def initial_state(self) -> tuple[MoleculeState | EnsembleState, ...]:
        return tuple(model.initial_state for model in (*self.models, *self.ensemble_models))

    def for_parameters(self, parameters: Parameters) -> ForceFieldObjective:
        made = copy.copy(self)
        made._parameters, made._columns = parameters, varying(parameters)
        return made

    @property
    def categories(self) -> tuple[str, ...]:
        """Kinds of references that are fitted."""
        return tuple(dict.fromkeys(block.category for block in self.blocks))

    @property
    def reference_data(self) -> ReferenceData:
        """What is fitted of the molecules, observation by observation."""
        groups = (
            ReferenceGroup(block.name, block.category, block.labels, block.observed, block.tolerances)
            for block in self.blocks
            if block.subject < len(self.models)
        )
        return ReferenceData(tuple(groups), self.transition_state)

    def at(
        self, values: Vector, state: Sequence[Any], *, columns: np.ndarray | None = None
    ) -> tuple[MoleculeEvaluation, ...]:
        """Return the molecules at given parameter values; everything there is computed when it is asked for.

        Args:
            values: All parameters in user units, shape (parameters,).
            state: State of every molecule, and of ensembles, after one another.
            columns: Parameters that derivatives are wanted for, by index; None: all.
        """
        p = values * self._factors
        pairs = zip(self.models, state[: len(self.models)], strict=True)
        return tuple(MoleculeEvaluation(model, p, start, columns) for model, start in pairs)

    def ensembles_at(
        self, values: Vector, state: Sequence[Any], *, columns: np.ndarray | None = None
    ) -> tuple[EnsembleEvaluation, ...]:
        """Return the ensembles at given parameter values; see `at`."""
        p = values * self._factors
        pairs = zip(self.ensemble_models, state[len(self.models) :], strict=True)
        return tuple(EnsembleEvaluation(model, p, start, columns) for model, start in pairs)

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        with one_blas_thread():
            return self._evaluate(values, state, derivatives)

    def _evaluate(self, values: Vector, state: Any, derivatives: bool) -> Evaluation:
        evaluations: tuple[Any, ...] = (
            *self.at(values, state, columns=self._columns),
            *self.ensembles_at(values, state, columns=self._columns),
        )
        try:
            residuals = [block.residuals(evaluations[block.subject]) for block in self.blocks]
            jacobian = self._jacobian(evaluations) if derivatives else None
            following = tuple(entry.next_state() for entry in evaluations)
        except EvaluationError as error:
            return Evaluation(np.nan, state=state, failure=str(error))
        if self._prior is not None:
            residuals.append(self._prior.residuals(values))
            if jacobian is not None:
                jacobian = np.concatenate([jacobian, self._prior.jacobian[:, self._columns]])
        news = [entry.news(after) for entry, after in zip(evaluations, following, strict=True)]
        return evaluation_from_residuals(
            np.concatenate(residuals),
            jacobian,
            columns=self._columns,
            state=following,
            is_stale=any(entry.is_stale for entry in news),
            note="; ".join(entry.note for entry in news if entry.note),
        )

    def term_slices(self) -> dict[str, slice]:
        slices, start = {}, 0
        for block in self.blocks:
            prefix = f"{block.name}." if len(self.molecules) + len(self.ensembles) > 1 else ""
            slices[f"{prefix}{block.category}"] = slice(start, start + block.observed.size)
            start += block.observed.size
        if self._prior is not None:
            slices["prior"] = slice(start, start + len(self._prior.jacobian))
        return slices

    def _jacobian(self, evaluations: Sequence[Any]) -> np.ndarray:
        found = np.empty((sum(block.observed.size for block in self.blocks), self._columns.size))
        start = 0
        for block in self.blocks:
            stop = start + block.observed.size
            found[start:stop] = block.jacobian(evaluations[block.subject])
            start = stop
        found *= self._factors[self._columns]
        return found

    def _whole_blocks(self, tolerances: Mapping[str, float]) -> Iterable[ReferenceBlock]:
        for index, model in enumerate(self.models):
            for category, tolerance in tolerances.items():
                reference = REFERENCES[category](model.target)
                yield whole_block(index, model.molecule.name, category, reference, tolerance)

    def _ensemble_blocks(self, tolerances: Mapping[str, float | None]) -> Iterable[ReferenceBlock]:
        for index, ensemble in enumerate(self.ensembles, len(self.models)):
            for category in tolerances or default_kinds(ensemble):
                kind = ENSEMBLE_REFERENCES[category]
                stated = tolerances.get(category)
                tolerance = kind.tolerance if stated is None else check_tolerance(category, float(stated))
                yield whole_block(index, ensemble.name, category, kind(ensemble), tolerance)

    def _stated_blocks(self, data: ReferenceData) -> Iterable[ReferenceBlock]:
        index = {molecule.name: number for number, molecule in enumerate(self.molecules)}
        for group in data.groups:
            if group.molecule not in index:
                raise SettingsError(
                    f"The reference data hold {group.category} of {unknown_name('molecule', group.molecule, index)} "
                    "Give that molecule too, or leave its data out: data.without(molecules=...)."
                )
            reference = REFERENCES[group.category](self.models[index[group.molecule]].target)
            kept = places(group.labels, reference.labels, f"{group.molecule}, {group.category}")
            number = index[group.molecule]
            yield ReferenceBlock(
                number, group.molecule, group.category, reference, kept, group.observed, group.tolerances
            )


def varying(parameters: Parameters) -> np.ndarray:
    """Return the parameters that vary, by themselves or with another one, by index."""
    return np.flatnonzero(parameters.space.source >= 0) if parameters.n_free else np.zeros(0, dtype=int)


def places(labels: Sequence[str], known: Sequence[str], whose: str) -> np.ndarray:
    """Return where labels stand among all labels of a reference, shape (m,).

    Raises:
        SettingsError: One of them does not.
    """
    index = {label: number for number, label in enumerate(known)}
    missing = [label for label in labels if label not in index]
    if missing:
        raise SettingsError(f"{whose}: {unknown_observation('observation', missing[0], known)}")
    return np.array([index[label] for label in labels], dtype=int)


def whole_block(
    subject: int, name: str, category: str, reference: AbstractReference | AbstractEnsembleReference, tolerance: float
) -> ReferenceBlock:
    """Return a block of all observations of a reference with one tolerance."""
    tolerances = np.full(reference.observed.size, tolerance)
    return ReferenceBlock(subject, name, category, reference, None, reference.observed, tolerances)


def molecule_kinds(references: Any) -> Any:
    """Return references without the kinds of ensembles."""
    if references is None or isinstance(references, str):
        return references
    kinds = [name for name in references if name not in ENSEMBLE_REFERENCES]
    return {name: references[name] for name in kinds} if isinstance(references, Mapping) else kinds


def chosen_ensemble_tolerances(references: Any) -> dict[str, float | None]:
    """Return the kinds of ensembles among references, with their tolerances where they are stated."""
    if references is None or isinstance(references, str):
        return {}
    stated = references if isinstance(references, Mapping) else dict.fromkeys(references)
    return {name: tolerance for name, tolerance in stated.items() if name in ENSEMBLE_REFERENCES}


def check_names(names: Sequence[str]) -> None:
    """Make sure that there are molecules or ensembles, each with a name of its own.

    Raises:
        MoleculeError: There is none, or two have one name.
    """
    if not names or len(set(names)) < len(names):
        raise MoleculeError(
            f"The molecules are called {', '.join(names) or 'nothing, because there is none'}. Give at least one, "
            "each with a name of its own: `read(path, name=...)`."
        )


def chosen_engine(engine: str | AbstractEngine) -> AbstractEngine:
    """Return an engine by name, or the given one.

    Raises:
        SettingsError: It is neither.
    """
    chosen = ENGINES[engine]() if isinstance(engine, str) else engine
    if not isinstance(chosen, AbstractEngine):
        raise SettingsError(
            f"The engine is {engine!r}, which is neither a name nor an engine. Give one of {', '.join(ENGINES)}, "
            "or an object such as OpenMMEngine(platform='CPU')."
        )
    return chosen


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
