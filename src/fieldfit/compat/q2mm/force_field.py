"""A force field as Q2MM's scripts handle it: one flat vector of values that can be set in place.

The order of the vector is Q2MM's, which is ours too: bonds (k, r0), angles (k, theta0), torsions (k), stretch-bends
(k), van der Waals (radius, epsilon), Urey-Bradley (k, r0), in kcal/mol, A and degrees, E = k x^2. Terms that Q2MM does
not have (linear bends, out-of-plane, ...) stand at the places that `ForceField.parameters` of the library gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from fieldfit.errors import ParameterError
from fieldfit.forcefield import ForceField as NativeForceField
from fieldfit.forcefield import Molecule, build_force_field
from fieldfit.forcefield.parameter_vector import (
    fractional_bounds,
    parameter_types,
    with_active,
    with_parameter_vector,
)
from fieldfit.forcefield.row import Row
from fieldfit.parameters import Parameters
from fieldfit.registry import unknown_name
from fieldfit.typing import FilePath, Matrix, Vector

TYPE_LABELS: Mapping[str, str] = {
    "bond.k": "bond_k",
    "bond.r0": "bond_eq",
    "angle.k": "angle_k",
    "angle.theta0": "angle_eq",
    "torsion.k": "torsion_k",
    "stretch-bend.k": "sb_k",
    "vdw.radius": "vdw_radius",
    "vdw.epsilon": "vdw_epsilon",
    "urey-bradley.k": "ub_k",
    "urey-bradley.r0": "ub_eq",
}
"""Kind and column of a parameter to Q2MM's label; other parameters are called like "out_of_plane_k"."""


@dataclass(frozen=True)
class Term:
    """One bond or angle of a force field, to look at.

    Args:
        elements: Element symbols.
        equilibrium: Length [A] or angle [deg] at rest.
        force_constant: Constant of E = k x^2 [kcal/mol/A^2] or [kcal/mol/rad^2].
        label: Name of the row.
        frozen: Whether no value of it varies.
    """

    elements: tuple[str, ...]
    equilibrium: float
    force_constant: float
    label: str
    frozen: bool


class ForceField:
    """A handle on a force field, with the methods of Q2MM's class.

    `set_param_vector`, `freeze_all` and their like give the handle other values or marks, as they do in Q2MM; the
    library's own force field, `native`, is never changed, only replaced. `with_params` and `copy` make a new handle.

    Args:
        native: The force field.
        parameters: Its parameters with other values, bounds, fixed marks or ties; default: its own.

    Example:
        >>> import fieldfit.forcefield as library
        >>> from fieldfit.compat.q2mm import ForceField
        >>> row = library.Row("harmonic_bond", ("F", "H"), {"k": 700.0, "r0": 0.92})
        >>> ff = ForceField(library.ForceField("HF", (row,), {"F": "F", "H": "H"}))
        >>> ff.set_param_vector([650.0, 0.93])
        >>> dict(zip(ff.get_param_type_labels(), ff.get_param_vector().tolist()))
        {'bond_k': 650.0, 'bond_eq': 0.93}
    """

    def __init__(self, native: NativeForceField, parameters: Parameters | None = None) -> None:
        self._parameters = native.parameters if parameters is None else parameters
        self._native = with_parameter_vector(native, self._parameters.flat)

    @staticmethod
    def create_for_molecule(molecule: Molecule | Sequence[Molecule], name: str = "fieldfit") -> ForceField:
        """Make a harmonic force field with a row for every interaction of one or several molecules."""
        molecules = [molecule] if isinstance(molecule, Molecule) else list(molecule)
        return ForceField(build_force_field(molecules, name=name))

    @staticmethod
    def read(path: FilePath) -> ForceField:
        """Read a force field that this library wrote."""
        return ForceField(NativeForceField.read(path))

    @property
    def native(self) -> NativeForceField:
        """The force field with the values that the handle has now."""
        return self._native

    @property
    def parameters(self) -> Parameters:
        """Values, bounds, fixed marks and ties that the handle has now."""
        return self._parameters

    @property
    def name(self) -> str:
        """Title."""
        return self._native.name

    @property
    def bonds(self) -> list[Term]:
        """The bonds."""
        return self._terms("bond")

    @property
    def angles(self) -> list[Term]:
        """The angles."""
        return self._terms("angle")

    @property
    def n_params(self) -> int:
        """Number of parameters, frozen ones included."""
        return self._parameters.size

    @property
    def n_active_params(self) -> int:
        """Number of parameters that vary."""
        return self._parameters.n_free

    @property
    def active_mask(self) -> Bool[np.ndarray, " parameters"]:
        """Which parameters vary: neither frozen nor tied."""
        return self._parameters.is_free

    def copy(self) -> ForceField:
        """Return another handle with the same contents."""
        return ForceField(self._native, self._parameters)

    def get_param_vector(self) -> Vector:
        """Return all values, shape (parameters,)."""
        return self._parameters.flat

    def set_param_vector(self, vector: Vector | Sequence[float]) -> None:
        """Take all values from a vector, shape (parameters,).

        Raises:
            ParameterError: It has another length, holds a number that is not finite, or contradicts a tie.
        """
        values = np.asarray(vector, dtype=float)
        self._native = with_parameter_vector(self._native, values)
        self._parameters = with_values(self._parameters, values)

    def with_params(self, vector: Vector | Sequence[float]) -> ForceField:
        """Return a new handle with all values taken from a vector."""
        made = self.copy()
        made.set_param_vector(vector)
        return made

    def get_active_param_vector(self) -> Vector:
        """Return the values that vary."""
        return self.get_param_vector()[self.active_mask]

    def set_active_param_vector(self, vector: Vector | Sequence[float]) -> None:
        """Take the values that vary from a vector; tied ones follow.

        Raises:
            ParameterError: It has another length, or a number is not finite.
        """
        given = np.asarray(vector, dtype=float)
        if given.shape != (self.n_active_params,):
            raise ParameterError(
                f"The vector has the shape {given.shape}, but {self.n_active_params} of {self.n_params} parameters are "
                "active. Give one value for each of those."
            )
        values = self.get_param_vector()
        values[self.active_mask] = given
        followed = self._parameters.split(values)
        for name, tie in self._parameters.ties.items():
            followed[name] = tie.factor * followed[tie.leader]
        self.set_param_vector(np.array([float(value) for value in followed.values()]))

    def with_active_params(self, vector: Vector | Sequence[float]) -> ForceField:
        """Return a new handle with the values that vary taken from a vector."""
        made = self.copy()
        made.set_active_param_vector(vector)
        return made

    def get_param_names(self) -> list[str]:
        """Return the names of all parameters: "bond.C-H.k"."""
        return list(self._parameters.names)

    def get_active_param_names(self) -> list[str]:
        """Return the names of the parameters that vary."""
        return [name for name, is_active in zip(self.get_param_names(), self.active_mask, strict=True) if is_active]

    def get_param_type_labels(self) -> list[str]:
        """Return what each parameter is, by Q2MM's label: "bond_k", "bond_eq", "angle_k", ..."""
        return [
            TYPE_LABELS.get(kind, kind.replace("-", "_").replace(".", "_")) for kind in parameter_types(self._native)
        ]

    def get_param_indices_by_type(self) -> dict[str, list[int]]:
        """Return Q2MM's label to the places of such parameters in the vector; all of Q2MM's labels are there."""
        places: dict[str, list[int]] = {label: [] for label in TYPE_LABELS.values()}
        for place, label in enumerate(self.get_param_type_labels()):
            places.setdefault(label, []).append(place)
        return places

    def get_step_sizes(self) -> Vector:
        """Return the scale of each parameter, which steps and perturbations are in units of, shape (parameters,)."""
        return np.array([float(entry.scale) for entry in self._parameters])

    def get_bounds(
        self,
        overrides: Mapping[str, tuple[float, float]] | None = None,
        *,
        fc_fraction: float | None = None,
        eq_fraction: float | None = None,
    ) -> list[tuple[float, float]]:
        """Return the bounds of each parameter.

        Args:
            overrides: Label of a type of parameter to other bounds.
            fc_fraction: Bounds of force constants as a fraction around their values.
            eq_fraction: The same for equilibrium values.

        Raises:
            ParameterError: No parameter can have such a label, or a fraction is not positive.
        """
        chosen = self._bounded(overrides or {}, fc_fraction, eq_fraction)
        return [(float(entry.lower), float(entry.upper)) for entry in chosen]

    def get_active_bounds(self) -> Matrix:
        """Return the bounds of the parameters that vary, shape (active parameters, 2)."""
        return np.array(self.get_bounds(), dtype=float).reshape(-1, 2)[self.active_mask]

    def set_bounds(
        self,
        overrides: Mapping[str, tuple[float, float]] | None = None,
        *,
        fc_fraction: float | None = None,
        eq_fraction: float | None = None,
    ) -> None:
        """Keep to other bounds in fits from now on; arguments as for `get_bounds`."""
        self._parameters = self._bounded(overrides or {}, fc_fraction, eq_fraction)

    def freeze_all(self) -> None:
        """Let nothing vary."""
        self._parameters = self._parameters.fix(*self._names_without_ties())

    def freeze(self, *patterns: str) -> None:
        """Let the parameters that a shell pattern matches no longer vary: `ff.freeze("torsion.*", "*.theta0")`."""
        self._parameters = self._parameters.fix(*patterns)

    def unfreeze(self, *patterns: str) -> None:
        """Let the parameters that a shell pattern matches vary."""
        self._parameters = self._parameters.free(*patterns)

    def freeze_standard_params(self, opt_ff: ForceField | NativeForceField) -> None:
        """Let only the parameters vary that another force field has, too, such as that of an OPT substructure."""
        wanted = set(as_native(opt_ff).parameter_names)
        self._parameters = with_active(self._parameters, [name in wanted for name in self._parameters.names])

    def __repr__(self) -> str:
        return f"ForceField({self.name!r}, {self.n_params} parameters, {self.n_active_params} active)"

    def _names_without_ties(self) -> list[str]:
        return [name for name in self._parameters.names if name not in self._parameters.ties]

    def _bounded(
        self, overrides: Mapping[str, tuple[float, float]], fc_fraction: float | None, eq_fraction: float | None
    ) -> Parameters:
        labels = self.get_param_type_labels()
        for label in overrides:
            if label not in (known := self.get_param_indices_by_type()):
                raise ParameterError(unknown_name("type of parameter", label, known))
        entries = [
            entry.replace(lower=overrides[label][0], upper=overrides[label][1]) if label in overrides else entry
            for entry, label in zip(self._parameters, labels, strict=True)
        ]
        bounded = Parameters(entries, self._parameters.ties)
        return fractional_bounds(self._native, fc_fraction, eq_fraction, parameters=bounded)

    def _terms(self, kind: str) -> list[Term]:
        free = dict(zip(self._parameters.names, self.active_mask.tolist(), strict=True))
        return [_term(self._native, row, free) for row in self._native.rows if row.kind == kind]


def _term(native: NativeForceField, row: Row, free: Mapping[str, bool]) -> Term:
    equilibrium = row.values.get("r0", row.values.get("theta0", np.nan))
    elements = tuple(native.elements.get(name, name) for name in row.types)
    frozen = not any(free[name] for name in row.parameter_names)
    return Term(elements, equilibrium, row.values["k"], row.label, frozen)


def with_values(parameters: Parameters, values: Vector) -> Parameters:
    """Return parameters with other values, their bounds widened to them where they go beyond.

    Raises:
        ParameterError: A value contradicts a tie.
    """
    entries = [
        entry.replace(value=value, lower=np.minimum(entry.lower, value), upper=np.maximum(entry.upper, value))
        for entry, value in zip(parameters, values, strict=True)
    ]
    given = dict(zip(parameters.names, values, strict=True))
    return Parameters(entries, parameters.ties).replace(given)


def as_handle(forcefield: ForceField | NativeForceField) -> ForceField:
    """Return the handle itself, or a new one on a force field of the library."""
    return forcefield if isinstance(forcefield, ForceField) else ForceField(forcefield)


def as_native(forcefield: ForceField | NativeForceField) -> NativeForceField:
    """Return the force field of the library."""
    return forcefield.native if isinstance(forcefield, ForceField) else forcefield
