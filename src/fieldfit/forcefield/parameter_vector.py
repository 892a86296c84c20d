"""The values of a force field as one flat vector, and common ways to say which of them vary, and how far.

The order is that of `ForceField.parameters`: bonds (k, r0), angles (k, theta0), torsions (k), ... in the units a user
sees, angles in degrees. Bounds as fractions around the start,

    p - f abs(p)  to  p + f abs(p),   within the bounds that there are,

keep a fragile start, such as the valence field of a transition state, from falling apart on the way to a better one:
5 % for force constants and 2 % for equilibrium values are usual. A value of zero has no fraction and keeps its bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from fieldfit.errors import ParameterError
from fieldfit.forcefield.force_field import ForceField
from fieldfit.parameters import Parameters
from fieldfit.typing import Vector

FORCE_CONSTANTS = ("k", "epsilon", "depth")
"""Columns that say how stiff or deep an interaction is."""

EQUILIBRIA = ("r0", "theta0", "phi0", "radius", "distance")
"""Columns that say where an interaction is at rest."""


def parameter_vector(force_field: ForceField) -> Vector:
    """Return all values of a force field in the order of its parameters, shape (parameters,)."""
    return force_field.parameters.flat


def with_parameter_vector(force_field: ForceField, vector: Vector) -> ForceField:
    """Return a copy of a force field with all values taken from a vector.

    Args:
        force_field: The force field.
        vector: Values in the order of its parameters, in their units, shape (parameters,).

    Raises:
        ParameterError: The vector has another length or holds numbers that are not finite.

    Example:
        >>> from fieldfit.forcefield import ForceField, Row
        >>> row = Row("harmonic_bond", ("F", "H"), {"k": 700.0, "r0": 0.92})
        >>> field = ForceField("HF", (row,), {"F": "F", "H": "H"})
        >>> parameter_vector(with_parameter_vector(field, 2.0 * parameter_vector(field))).tolist()
        [1400.0, 1.84]
    """
    names = force_field.parameter_names
    if len(vector) != len(names) or not np.all(np.isfinite(vector)):
        raise ParameterError(
            f"The vector has {len(vector)} values, {int(np.sum(~np.isfinite(vector)))} of them not finite, but the "
            f"force field {force_field.name!r} has {len(names)} parameters. Give one finite number for each."
        )
    return force_field.with_values(dict(zip(names, vector.tolist(), strict=True)))


def parameter_types(force_field: ForceField) -> tuple[str, ...]:
    """Return what each parameter is, kind of interaction and column: "bond.k", "bond.r0", "angle.k", ..."""
    return tuple(f"{row.kind}.{column.name}" for row in force_field.rows for column in row.definition.columns)


def fractional_bounds(
    force_field: ForceField,
    fc_fraction: float | None = None,
    eq_fraction: float | None = None,
    *,
    parameters: Parameters | None = None,
) -> Parameters:
    """Bound parameters to fractions around their values, within the bounds that they have.

    Args:
        force_field: The force field.
        fc_fraction: Fraction for force constants and depths, such as 0.05; None: they keep their bounds.
        eq_fraction: Fraction for equilibrium values and radii, such as 0.02; None: they keep their bounds.
        parameters: The force field's parameters with other values, bounds, fixed marks or ties; default: its own.

    Returns:
        The parameters. Values of zero, and what is neither a force constant nor an equilibrium value (charges, bond
        dipoles), keep their bounds.

    Raises:
        ParameterError: A fraction is not positive.

    Example:
        >>> from fieldfit.forcefield import ForceField, Row
        >>> row = Row("harmonic_bond", ("F", "H"), {"k": 700.0, "r0": 0.92})
        >>> field = ForceField("HF", (row,), {"F": "F", "H": "H"})
        >>> parameters = fractional_bounds(field, 0.05, 0.02)
        >>> [round(float(edge), 4) for edge in (parameters["bond.F-H.k"].lower, parameters["bond.F-H.r0"].upper)]
        [665.0, 0.9384]
    """
    for name, fraction in (("fc_fraction", fc_fraction), ("eq_fraction", eq_fraction)):
        if fraction is not None and not (fraction > 0.0 and np.isfinite(fraction)):
            raise ParameterError(
                f"{name} = {fraction} leaves no room around a value. Give a positive number, such as 0.05, or None to "
                "keep the bounds that there are."
            )
    given = force_field.parameters if parameters is None else parameters
    fractions: dict[str, float | None] = dict.fromkeys(FORCE_CONSTANTS, fc_fraction)
    fractions |= dict.fromkeys(EQUILIBRIA, eq_fraction)
    columns = [column.name for row in force_field.rows for column in row.definition.columns]
    entries = []
    for entry, column in zip(given, columns, strict=True):
        window = np.abs(entry.value) * (fractions.get(column) or 0.0)
        lower, upper = np.maximum(entry.lower, entry.value - window), np.minimum(entry.upper, entry.value + window)
        entries.append(entry.replace(lower=lower, upper=upper) if np.all(window > 0.0) else entry)
    return Parameters(entries, given.ties, given.structure)


def free_only(parameters: Parameters, *patterns: str) -> Parameters:
    """Return the parameters with those that a shell pattern matches free and all others fixed.

    Tied parameters go on following their leaders.

    Raises:
        ParameterError: A pattern matches nothing.

    Example:
        >>> from fieldfit import Parameters
        >>> free_only(Parameters({"bond.k": 1.0, "bond.r0": 1.0, "angle.k": 1.0}), "*.k").is_free.tolist()
        [True, False, True]
    """
    chosen = {name for pattern in patterns for name in parameters.match(pattern)}
    return with_active(parameters, np.array([name in chosen for name in parameters.names], dtype=bool))


def with_active(parameters: Parameters, active: Sequence[bool] | Bool[np.ndarray, " _"]) -> Parameters:
    """Return the parameters with a mask of those that vary; the others are fixed.

    Args:
        parameters: Scalar parameters, such as those of a force field.
        active: Whether each may vary, shape (parameters,); what it says of tied ones has no effect, they follow.

    Raises:
        ParameterError: The mask has another length.
    """
    if len(active) != len(parameters):
        raise ParameterError(
            f"The mask of active parameters has {len(active)} entries for {len(parameters)} parameters. Give one per "
            "parameter, in their order."
        )
    marks = {name: not is_active for name, is_active in zip(parameters.names, active, strict=True)}
    entries = [entry.replace(fixed=marks[entry.name] and entry.name not in parameters.ties) for entry in parameters]
    return Parameters(entries, parameters.ties, parameters.structure)
