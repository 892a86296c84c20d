"""The objective as Q2MM's scripts make and call it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fieldfit.compat.q2mm.engines import AbstractFrontEngine
from fieldfit.compat.q2mm.force_field import ForceField, as_handle, with_values
from fieldfit.compat.q2mm.reference_data import ReferenceData
from fieldfit.errors import EvaluationError, ParameterError, SettingsError
from fieldfit.forcefield import ForceField as NativeForceField
from fieldfit.forcefield import ForceFieldObjective, Molecule
from fieldfit.forcefield.engines.engine import AbstractEngine
from fieldfit.forcefield.reference_data import ReferenceData as NativeReferenceData
from fieldfit.objectives import AbstractObjective, Evaluation, ObjectiveTraits, Prior
from fieldfit.objectives import ObjectiveFunction as Sum
from fieldfit.objectives.surrogate import SurrogateObjective
from fieldfit.parameters import Parameters
from fieldfit.problem import OptimizationResult
from fieldfit.registry import unknown_name
from fieldfit.typing import Vector

UNITS = ("scale", "raw")
"""What the deviations of a tether are divided by: the scales of the parameters, or nothing."""


class ObjectiveFunction(AbstractObjective):
    """Sum of squared deviations of a force field from reference data, by Q2MM's signature.

    It is called with a parameter vector, handed to an optimizer of this package, or to any of the library. After a run
    of one of this package, `forcefield` has the fitted values, and the next run starts from them.

    Args:
        forcefield: A handle, which fits change, or a force field of the library, which stays as it is: the handle
            made for it is the attribute `forcefield`.
        engine: An engine of this package or of the library, or the name of one.
        molecules: Molecules with QM Hessians.
        reference: Q2MM's or the library's reference data, or what `ForceFieldObjective` takes.
        regularization: Strength of an L2 tether, added to the score as
            `regularization * sum(((p - reference) / scale)^2)` over the parameters that vary.
        reference_params: Where the tether pulls to, shape (parameters,); default: the values at the beginning.
        regularization_units: "scale", or "raw" for Q2MM's tether without scales, in which 1 degree counts as much as
            1 A.

    Attributes:
        forcefield: The handle.
        reference: The library's reference data, or what was given instead.
        native: The library's objective, without the tether, for its reports.
        n_eval: Number of evaluations: calls, and those of runs.
        history: Score at each.

    Raises:
        SettingsError: An unknown engine, kind of reference or unit of the tether.
        ParameterError: `reference_params` has another length.

    Example:
        >>> from fieldfit.compat.q2mm import ObjectiveFunction, ScipyOptimizer
        >>> objective = ObjectiveFunction(ff, JaxEngine(), [mol], ref)               # doctest: +SKIP
        >>> result = ScipyOptimizer(jac="auto").optimize(objective)                  # doctest: +SKIP
        >>> objective.forcefield.native.write("fitted.toml")                         # doctest: +SKIP
    """

    def __init__(  # noqa: PLR0913 - Q2MM's signature
        self,
        forcefield: ForceField | NativeForceField,
        engine: AbstractFrontEngine | AbstractEngine | str,
        molecules: Sequence[Molecule],
        reference: ReferenceData | NativeReferenceData | Mapping[str, float | None] | Iterable[str] | None,
        regularization: float = 0.0,
        reference_params: Vector | Sequence[float] | None = None,
        *,
        regularization_units: str = "scale",
    ) -> None:
        if regularization_units not in UNITS:
            raise SettingsError(unknown_name("unit of regularization", regularization_units, UNITS))
        self.forcefield = as_handle(forcefield)
        self.engine = engine
        self.molecules = list(molecules)
        self.reference = reference.native(molecules) if isinstance(reference, ReferenceData) else reference
        self._tether = None
        if regularization:
            self._tether = _tether(self.forcefield.parameters, regularization, reference_params, regularization_units)
        self.native = self._made(engine.native if isinstance(engine, AbstractFrontEngine) else engine)
        self._whole = self._tethered(self.native)
        self.n_eval = 0
        self.history: list[float] = []

    @property
    def parameters(self) -> Parameters:
        """Values, bounds and marks that `forcefield` has now."""
        return self.forcefield.parameters

    @property
    def traits(self) -> ObjectiveTraits:
        return self._whole.traits

    def initial_state(self) -> Any:
        return self._whole.initial_state()

    def for_parameters(self, parameters: Parameters) -> AbstractObjective:
        return self._whole.for_parameters(parameters)

    def evaluate(self, values: Vector, state: Any, *, derivatives: bool) -> Evaluation:
        return self.for_parameters(self.parameters).evaluate(values, state, derivatives=derivatives)

    def term_slices(self) -> Mapping[str, slice]:
        return self._whole.term_slices()

    def __call__(self, param_vector: Vector | Sequence[float]) -> float:
        """Return the score at given values of all parameters; infinite where it cannot be evaluated."""
        found = self._evaluated(param_vector, derivatives=False)
        score = found.score if np.isfinite(found.score) else np.inf
        self.n_eval += 1
        self.history.append(score)
        return score

    def residuals(self, param_vector: Vector | Sequence[float]) -> Vector:
        """Return the weighted deviations, predicted minus observed, at given values of all parameters.

        Raises:
            EvaluationError: They cannot be evaluated.
        """
        found = self._evaluated(param_vector, derivatives=False)
        self.n_eval += 1
        self.history.append(found.score)
        if found.residuals is None:
            raise EvaluationError(f"The objective cannot be evaluated: {found.failure}. Give other values.")
        return found.residuals

    def gradient(self, param_vector: Vector | Sequence[float]) -> Vector:
        """Return the exact derivatives of the score, zero for frozen parameters, shape (parameters,).

        Raises:
            EvaluationError: They cannot be evaluated.
            SettingsError: The engine has no parameter derivatives.
        """
        if not self.traits.has_derivatives:
            raise SettingsError(
                f"The engine {self.engine!r} has no derivatives with respect to parameters. Use JaxEngine(), or an "
                "optimizer, which takes differences."
            )
        found = self._evaluated(param_vector, derivatives=True)
        if found.gradient is None:
            raise EvaluationError(f"The objective cannot be evaluated: {found.failure}. Give other values.")
        slopes = np.zeros(self.parameters.size)
        slopes[slice(None) if found.columns is None else found.columns] = 2.0 * found.gradient
        return slopes

    def reset(self) -> None:
        """Forget the evaluations so far."""
        self.n_eval = 0
        self.history.clear()

    def take(self, result: OptimizationResult) -> None:
        """Give the fitted values of a run to `forcefield`, and count its evaluations."""
        self.forcefield.set_param_vector(result.final_params)
        self.n_eval += result.n_evaluations
        self.history += [2.0 * entry.cost for entry in result.history]

    def with_exact_derivatives(self, ratio_tol: float | None) -> AbstractObjective:
        """Return the objective with the derivatives of the JAX engine if its own engine has none.

        Args:
            ratio_tol: How far the ratio of both engines' scores at the start may be from one, otherwise differences are
                taken; None: as far as it likes.
        """
        if self.traits.has_derivatives:
            return self
        exact = self._tethered(self._made("jax"))
        return SurrogateObjective(self._whole, exact, ratio_tol=ratio_tol, parameters=self.parameters)

    def _made(self, engine: AbstractEngine | str) -> ForceFieldObjective:
        field, parameters = self.forcefield.native, self.forcefield.parameters
        return ForceFieldObjective(field, self.molecules, self.reference, engine=engine, parameters=parameters)

    def _tethered(self, objective: ForceFieldObjective) -> AbstractObjective:
        return objective if self._tether is None else Sum({"references": objective, "prior": self._tether})

    def _evaluated(self, param_vector: Vector | Sequence[float], *, derivatives: bool) -> Evaluation:
        values = np.asarray(param_vector, dtype=float)
        if values.shape != (self.forcefield.n_params,):
            raise ParameterError(
                f"The vector has the shape {values.shape}, but the force field has {self.forcefield.n_params} "
                "parameters. Give all of them: `forcefield.get_param_vector()`."
            )
        return self.evaluate(values, self.initial_state(), derivatives=derivatives)


class SubspaceObjective:
    """An objective as a function of some of the parameters, the others held.

    Args:
        objective: The objective.
        indices: Places of the parameters that vary in the parameter vector.
        full_vector: Values of all parameters, shape (parameters,).

    Example:
        >>> import scipy.optimize
        >>> part = SubspaceObjective(objective, [0, 2], ff.get_param_vector())       # doctest: +SKIP
        >>> found = scipy.optimize.minimize(part, part.get_initial_vector())         # doctest: +SKIP
        >>> ff.set_param_vector(part.build_full_vector(found.x))                     # doctest: +SKIP
    """

    def __init__(
        self, objective: ObjectiveFunction, indices: Sequence[int], full_vector: Vector | Sequence[float]
    ) -> None:
        self._objective = objective
        self._indices = list(indices)
        self._full = np.array(full_vector, dtype=float)

    def get_initial_vector(self) -> Vector:
        """Return the values that vary, as they were given."""
        return self._full[self._indices]

    def build_full_vector(self, vector: Vector | Sequence[float]) -> Vector:
        """Return the values of all parameters."""
        made = self._full.copy()
        made[self._indices] = vector
        return made

    def __call__(self, vector: Vector | Sequence[float]) -> float:
        """Return the score."""
        return self._objective(self.build_full_vector(vector))


def _tether(
    parameters: Parameters, strength: float, reference_params: Vector | Sequence[float] | None, units: str
) -> Prior:
    start = parameters.flat if reference_params is None else np.asarray(reference_params, dtype=float)
    if start.shape != (parameters.size,):
        raise ParameterError(
            f"reference_params has the shape {start.shape}, but there are {parameters.size} parameters. Give one value "
            "for each."
        )
    aimed = with_values(parameters, start)
    if units == "raw":
        aimed = Parameters([entry.replace(scale=1.0) for entry in aimed], aimed.ties)
    return Prior(aimed, strength)
