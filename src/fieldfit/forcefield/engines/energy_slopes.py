"""Energies of one molecule at several geometries, and their derivatives with respect to the parameters.

The energy is a sum of terms f(q(x); p), so dE/dp collects df/dp of every term at the places of its parameters. All
geometries go through one compiled program; as in `jax`, programs are compiled for shapes, and the number of geometries
is rounded up to one of a few, too.

Rounded up means repeated: the geometries that fill up are copies of the last one, whose energies are dropped.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fieldfit.errors import SettingsError
from fieldfit.forcefield.engines.engine import AbstractSystem
from fieldfit.forcefield.engines.jax import System
from fieldfit.forcefield.engines.jax_programs import Group, coordinate_values, size_class
from fieldfit.precision import in_double_precision
from fieldfit.typing import Matrix, Vector


def energies(system: AbstractSystem, coordinates: Float[np.ndarray, "geometries atoms 3"], p: Vector) -> Vector:
    """Return the energies of several geometries [kcal/mol], shape (geometries,).

    Args:
        system: The molecule with its terms.
        coordinates: The geometries [A].
        p: Parameters in internal units.
    """
    if not isinstance(system, System):
        return np.array([system.energy(x, p) for x in coordinates])
    return total_energies(system.groups, *_padded(system, coordinates, p))[: len(coordinates)]


def energy_slopes(system: AbstractSystem, coordinates: Float[np.ndarray, "geometries atoms 3"], p: Vector) -> Matrix:
    """Return the derivatives of these with respect to the parameters, shape (geometries, parameters).

    Args:
        system: The molecule with its terms.
        coordinates: The geometries [A].
        p: Parameters in internal units.

    Raises:
        SettingsError: The engine has no derivatives with respect to parameters.
    """
    if not isinstance(system, System):
        raise SettingsError(
            f"{type(system).__name__} computes no derivatives with respect to parameters. Use the engine jax, or take "
            "differences of the energies."
        )
    slopes = total_energy_slopes(system.groups, *_padded(system, coordinates, p))
    return slopes[: len(coordinates), : system.n_parameters]


@in_double_precision
@jax.jit
def total_energies(groups: tuple[Group, ...], X: Array, p: Array) -> Array:
    """Return the energies [kcal/mol] of padded geometries, shape (geometries,)."""

    def one(x: Array) -> Array:
        parts = [group.weights @ jax.vmap(group.form.energy)(*_arguments(group, x, p)) for group in groups]
        return sum(parts, start=jnp.zeros(()))

    return jax.vmap(one)(X)


@in_double_precision
@jax.jit
def total_energy_slopes(groups: tuple[Group, ...], X: Array, p: Array) -> Array:
    """Return their derivatives with respect to the parameters, shape (geometries, padded parameters)."""

    def one(x: Array) -> Array:
        total = jnp.zeros(p.size)
        for group in groups:
            f_p = jax.vmap(jax.grad(group.form.energy, argnums=1))(*_arguments(group, x, p))
            total = total.at[group.pointers].add(group.weights[:, None] * f_p)
        return total

    return jax.vmap(one)(X)


def _arguments(group: Group, x: Array, p: Array) -> tuple[Any, Any, Any]:
    """Return what the energies of the terms of a group are functions of: q, p and s."""
    values = jax.vmap(functools.partial(coordinate_values, group.form))
    return values(x[group.atoms], group.constants), p[group.pointers], group.constants


def _padded(system: System, coordinates: np.ndarray, p: Vector) -> tuple[np.ndarray, Vector]:
    """Fill up atoms, geometries and parameters to the shapes of the compiled programs."""
    count = len(coordinates)
    X = coordinates[np.minimum(np.arange(size_class(count)), count - 1)]
    padding = np.broadcast_to(system.padding, (len(X), *system.padding.shape))
    return np.concatenate([X, padding], axis=1), system.pad_parameters(p)
