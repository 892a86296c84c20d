"""The compiled programs of the JAX engine: functions of padded arrays, one program per set of shapes.

Each takes the terms of a molecule as groups, one per functional form, and works through them with `jax.vmap`. What a
term adds is written in `jax` beside the engine; the scalar derivatives of its energy come from JAX, those of its
internal coordinates from `geometry`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fieldfit.forcefield.forms import Form
from fieldfit.forcefield.geometry import COORDINATES
from fieldfit.precision import in_double_precision
from fieldfit.typing import Matrix, Vector

DUMMY_ATOMS = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.2, 1.1, 0.0], [0.1, 1.3, 1.4], [-0.9, 0.4, 1.1]])
"""Positions of the atoms that padding terms act on [A]: no three in line, no coordinate singular."""

N_DUMMIES = len(DUMMY_ATOMS)
"""Number of atoms beside the molecule's own that every program has."""


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["atoms", "pointers", "constants", "weights"], meta_fields=["form"]
)
@dataclass(frozen=True)
class Group:
    """The padded terms of one form: see `Terms`; weights are 1 for real terms and 0 for padding."""

    form: Form
    atoms: Any
    pointers: Any
    constants: Any
    weights: Any


class TermCoordinates(NamedTuple):
    """Internal coordinates of the terms of one form at a geometry.

    Shapes: q (terms, d), b (terms, d, 3 a), C (terms, d, 3 a, 3 a).
    """

    q: Any
    b: Any
    C: Any


class TermSlopes(NamedTuple):
    """Derivatives of f_q and f_qq with respect to parameters p, for the terms of one form.

    Shapes: f_qp (terms, d, c), f_qqp (terms, d, d, c).
    """

    f_qp: Any
    f_qqp: Any


def size_class(count: int) -> int:
    """Round up to the next of 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48 ... so that few sizes are ever compiled."""
    power = 1
    while power < count:
        power *= 2
    return 3 * power // 4 if power >= 4 and 3 * power // 4 >= count else power


def cartesian_rows(atoms: Any) -> Any:
    """Return the rows of the Cartesian coordinates of tuples of atoms, shape (tuples, 3 a); works on traced arrays."""
    count, a = atoms.shape
    return (3 * atoms[:, :, None] + np.arange(3)).reshape(count, 3 * a)


@in_double_precision
@jax.jit
def total_energy(groups: tuple[Group, ...], x: Array, p: Array) -> Array:
    """Return the energy [kcal/mol]."""
    total = jnp.zeros(())
    for group in groups:
        each = jax.vmap(functools.partial(_term_energy, group.form))
        total += jnp.dot(group.weights, each(x[group.atoms], p[group.pointers], group.constants))
    return total


@in_double_precision
@jax.jit
def total_gradient(groups: tuple[Group, ...], x: Array, p: Array) -> Array:
    """Return the gradient [kcal/mol/A], shape (3 atoms,)."""
    gradient = jnp.zeros(x.size)
    for group in groups:
        found = jax.vmap(functools.partial(_term_coordinates, group.form))(x[group.atoms], group.constants)
        f_q = jax.vmap(jax.grad(group.form.energy))(found.q, p[group.pointers], group.constants)
        slopes = jnp.einsum("td,tdi->ti", f_q * group.weights[:, None], found.b)
        gradient = gradient.at[cartesian_rows(group.atoms)].add(slopes)
    return gradient


@in_double_precision
@jax.jit
def total_local(groups: tuple[Group, ...], x: Array, p: Array) -> tuple[Array, Array, Array]:
    """Return energy, gradient and Hessian [kcal/mol/A^2], shape (3 atoms, 3 atoms)."""
    energy, gradient, hessian = jnp.zeros(()), jnp.zeros(x.size), jnp.zeros((x.size, x.size))
    for group in groups:
        found = jax.vmap(functools.partial(_term_coordinates, group.form))(x[group.atoms], group.constants)
        arguments = (found.q, p[group.pointers], group.constants)
        f = jax.vmap(group.form.energy)(*arguments)
        f_q = jax.vmap(jax.grad(group.form.energy))(*arguments) * group.weights[:, None]
        f_qq = jax.vmap(jax.hessian(group.form.energy))(*arguments) * group.weights[:, None, None]
        rows = cartesian_rows(group.atoms)
        blocks = jnp.einsum("tde,tdi,tej->tij", f_qq, found.b, found.b) + jnp.einsum("td,tdij->tij", f_q, found.C)
        energy += jnp.dot(group.weights, f)
        gradient = gradient.at[rows].add(jnp.einsum("td,tdi->ti", f_q, found.b))
        hessian = hessian.at[rows[:, :, None], rows[:, None, :]].add(blocks)
    return energy, gradient, hessian


@in_double_precision
@jax.jit
def total_third(groups: tuple[Group, ...], x: Array, p: Array, directions: Array) -> Array:
    """Return the gradients of v^T H v for directions v as columns, shape (m, 3 atoms)."""
    total = jnp.zeros((directions.shape[1], x.size))
    for group in groups:
        rows = cartesian_rows(group.atoms)
        along = jax.vmap(_term_third(group.form), in_axes=(0, 0, 0, 0))
        parts = along(x[group.atoms], p[group.pointers], group.constants, directions[rows])
        total = total.at[:, rows].add(jnp.moveaxis(parts * group.weights[:, None, None], 1, 0))
    return total


def _term_third(form: Form) -> Any:
    """Return a function that gives the gradients of v^T H v of one term for every column v, shape (m, 3 a).

    With q_v = b.v and q_vv = v^T C v, v^T H v = sum_de f_de q_v,d q_v,e + sum_d f_d q_vv,d, and its gradient is

        sum_def f_def q_v,d q_v,e b_f + 2 sum_de f_de q_v,d C_e v + sum_de f_de q_vv,d b_e + sum_d f_d T_d(v, v, .).
    """

    def every(x: Array, p: Array, s: Array, v: Array) -> Array:
        found = _term_coordinates(form, x, s)
        f_q = jax.grad(form.energy)
        f_qq = jax.jacfwd(f_q)
        slope, curvature, third = (function(found.q, p, s) for function in (f_q, f_qq, jax.jacfwd(f_qq)))

        def column(direction: Array) -> Array:
            q_v, Cv = found.b @ direction, found.C @ direction
            along_b = jnp.einsum("def,d,e->f", third, q_v, q_v) + curvature @ (Cv @ direction)
            T = _term_third_derivatives(form, x, s, direction)
            return along_b @ found.b + 2.0 * (curvature @ q_v) @ Cv + slope @ T

        return jax.vmap(column, in_axes=1)(v)

    return every


@in_double_precision
@jax.jit
def term_coordinates(groups: tuple[Group, ...], x: Array) -> list[TermCoordinates]:
    """Return q, b and C of every term, one entry per group."""
    return [
        jax.vmap(functools.partial(_term_coordinates, group.form))(x[group.atoms], group.constants) for group in groups
    ]


@in_double_precision
@jax.jit
def term_values(groups: tuple[Group, ...], values: tuple[Array, ...], p: Array) -> Array:
    """Return f_q and f_qq of every term, one group after the other, flat."""
    parts = [jnp.zeros(0)]
    for group, q in zip(groups, values, strict=True):
        f_q = jax.grad(group.form.energy)
        arguments = (q, p[group.pointers], group.constants)
        parts += [jax.vmap(function)(*arguments).ravel() for function in (f_q, jax.jacfwd(f_q))]
    return jnp.concatenate(parts)


@in_double_precision
@jax.jit
def term_slopes(groups: tuple[Group, ...], values: tuple[Array, ...], p: Array) -> list[TermSlopes]:
    """Return the derivatives of f_q and f_qq with respect to the parameters, one entry per group."""
    result = []
    for group, q in zip(groups, values, strict=True):
        f_q = jax.grad(group.form.energy)
        arguments = (q, p[group.pointers], group.constants)
        functions = (jax.jacfwd(f_q, 1), jax.jacfwd(jax.jacfwd(f_q), 1))
        result.append(TermSlopes(*(jax.vmap(function)(*arguments) for function in functions)))
    return result


def internal_values(coordinate: str, x: Matrix, atoms: np.ndarray) -> tuple[Vector, Matrix]:
    """Return the values of an internal coordinate for many tuples of atoms, with their Cartesian gradients.

    Args:
        coordinate: Name in `COORDINATES`.
        x: Coordinates [A], shape (atoms, 3).
        atoms: Tuples of atoms, shape (n, a).

    Returns:
        Values [A or rad], shape (n,), and gradients, shape (n, 3 atoms).
    """
    count = len(atoms)
    padding = np.broadcast_to(DUMMY_ATOMS[: atoms.shape[1]], (size_class(max(count, 1)) - count, atoms.shape[1], 3))
    q, b = _internal_values(coordinate, np.concatenate([x[atoms], padding]))
    gradients = np.zeros((count, x.size))
    rows = cartesian_rows(atoms)
    np.put_along_axis(gradients, rows, b[:count], axis=1)
    return q[:count], gradients


@in_double_precision
@functools.partial(jax.jit, static_argnums=0)
def _internal_values(coordinate: str, points: Array) -> tuple[Array, Array]:
    found = jax.vmap(COORDINATES[coordinate].derivatives)(points)
    return found.q, found.b


class _SameKind(NamedTuple):
    """Coordinates of one kind in a form: their positions among its coordinates, atoms and constants."""

    kind: str
    places: np.ndarray
    atoms: np.ndarray
    constants: np.ndarray


def _by_kind(form: Form) -> list[_SameKind]:
    """Sort the coordinates of a form by kind, so that each kind is compiled once however often it occurs."""
    kinds = dict.fromkeys(entry.kind for entry in form.coordinates)
    found = {kind: [(k, e) for k, e in enumerate(form.coordinates) if e.kind == kind] for kind in kinds}
    return [
        _SameKind(
            kind,
            np.array([k for k, _ in own]),
            np.array([entry.atoms for _, entry in own]),
            np.array([entry.constants for _, entry in own], dtype=int),
        )
        for kind, own in found.items()
    ]


def coordinate_values(form: Form, x: Array, s: Array) -> Array:
    """Return all coordinates of one term."""
    q = jnp.zeros(len(form.coordinates))
    for kind, places, atoms, constants in _by_kind(form):
        each = jax.vmap(lambda y, c, kind=kind: COORDINATES[kind].value(y, *c))
        q = q.at[places].set(each(x[atoms], s[constants]))
    return q


def _term_coordinates(form: Form, x: Float[Array, "a 3"], s: Array) -> TermCoordinates:
    """Return all coordinates of one term with derivatives embedded in the term's own 3 a Cartesian coordinates."""
    d, n = len(form.coordinates), 3 * form.n_atoms
    q, b, C = jnp.zeros(d), jnp.zeros((d, n)), jnp.zeros((d, n, n))
    for kind, places, atoms, constants in _by_kind(form):
        each = jax.vmap(lambda y, c, kind=kind: COORDINATES[kind].derivatives(y, *c))
        found = each(x[atoms], s[constants])
        own = cartesian_rows(atoms)
        q = q.at[places].set(found.q)
        b = b.at[places[:, None], own].set(found.b)
        C = C.at[places[:, None, None], own[:, :, None], own[:, None, :]].set(found.C)
    return TermCoordinates(q, b, C)


def _term_third_derivatives(
    form: Form, x: Float[Array, "a 3"], s: Array, v: Float[Array, " dof"]
) -> Float[Array, "d dof"]:
    """Return T(v, v, .) = (dC/dx along v) v for all coordinates of one term."""
    T = jnp.zeros((len(form.coordinates), v.size))
    for kind, places, atoms, constants in _by_kind(form):
        own = cartesian_rows(atoms)

        def along(points: Array, direction: Array, c: Array, kind: str = kind) -> Array:
            turn = direction.reshape(points.shape)
            return jax.jvp(lambda y: COORDINATES[kind].derivatives(y, *c).C, (points,), (turn,))[1] @ direction

        T = T.at[places[:, None], own].set(jax.vmap(along)(x[atoms], v[own], s[constants]))
    return T


def _term_energy(form: Form, x: Array, p: Array, s: Array) -> Array:
    return form.energy(coordinate_values(form, x, s), p, s)
