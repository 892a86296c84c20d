"""The JAX engine: energy, gradient, Hessian and third derivatives of a molecule, compiled once per size class.

Every term is a scalar function f(q; p, s) of internal coordinates. With b = dq/dx and C = d2q/dx2 from `geometry`, it
adds

    gradient  sum_d f_d b_d,        Hessian  sum_de f_de b_d b_e^T + sum_d f_d C_d

to the atoms it acts on.

A program is compiled for shapes, not for molecules. The molecules of a set are sorted into classes of size, powers of
two of the number of atoms, and all molecules of a class get the same shapes (`Layout`): the forms that occur in any of
them, each with as many terms as the molecule that has most, rounded up. Padding terms act with weight 0 on atoms of
their own. So the number of compilations grows with the logarithm of the largest molecule at most, not with the number
of molecules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fieldfit.forcefield.assignment import Terms, assign
from fieldfit.forcefield.engines.engine import AbstractEngine, AbstractSystem, EngineTraits, Local, check_sizes
from fieldfit.forcefield.engines.jax_programs import (
    DUMMY_ATOMS,
    N_DUMMIES,
    Group,
    TermCoordinates,
    TermSlopes,
    size_class,
    term_coordinates,
    term_slopes,
    term_values,
    total_energy,
    total_gradient,
    total_local,
    total_third,
)
from fieldfit.forcefield.force_field import ForceField
from fieldfit.forcefield.forms import FORMS
from fieldfit.forcefield.molecule import Molecule
from fieldfit.typing import Matrix, Vector


@dataclass(frozen=True)
class Layout:
    """The shapes that several systems share.

    Args:
        n_atoms: Number of atoms, padding included.
        n_parameters: Number of parameters, padding included.
        n_terms: Form to number of terms, padding included.
    """

    n_atoms: int
    n_parameters: int
    n_terms: Mapping[str, int]

    @staticmethod
    def of(n_atoms: Sequence[int], terms: Sequence[tuple[Terms, ...]], n_parameters: int) -> Layout:
        """Return the smallest layout that holds every one of some molecules.

        Args:
            n_atoms: Number of atoms of each molecule.
            terms: Terms of each molecule.
            n_parameters: Number of parameters of the force field.
        """
        forms = dict.fromkeys(entry.form for molecule in terms for entry in molecule)
        counts = {
            form: size_class(max(len(entry.atoms) for molecule in terms for entry in molecule if entry.form == form))
            for form in forms
        }
        return Layout(size_class(max(n_atoms) + N_DUMMIES), size_class(n_parameters + 1), counts)


@dataclass(frozen=True)
class JaxEngine(AbstractEngine["System"]):
    """Makes systems whose energies and derivatives JAX computes, exactly and all at once."""

    traits: ClassVar[EngineTraits] = EngineTraits(
        forms=None, exact_order=2, has_parameter_derivatives=True, devices=("cpu", "cuda")
    )

    def systems(self, molecules: Sequence[Molecule], force_field: ForceField) -> tuple[System, ...]:
        n_parameters = len(force_field.parameter_names)
        terms = [assign(molecule, force_field) for molecule in molecules]
        classes = [_power_of_two(molecule.n_atoms) for molecule in molecules]
        layouts = {}
        for size in dict.fromkeys(classes):
            own = [number for number, entry in enumerate(classes) if entry == size]
            layouts[size] = Layout.of([molecules[k].n_atoms for k in own], [terms[k] for k in own], n_parameters)
        return tuple(
            System(molecule.n_atoms, entry, n_parameters, layouts[size])
            for molecule, entry, size in zip(molecules, terms, classes, strict=True)
        )


class System(AbstractSystem):
    """One molecule with its terms.

    Parameters are given in internal units (kcal/mol, A, rad), in the order of the force field's parameters.

    Args:
        n_atoms: Number of atoms.
        terms: Terms, one entry per form.
        n_parameters: Number of parameters of the force field.
        layout: Shapes of the compiled programs; None: the smallest that hold this molecule.

    Attributes:
        terms: One entry per form of the layout; a form that does not occur here has no terms.
        groups: The same, padded, as the compiled programs take them.
        padding: Positions of the atoms that fill up those of the molecule [A], shape (m, 3).
    """

    def __init__(self, n_atoms: int, terms: tuple[Terms, ...], n_parameters: int, layout: Layout | None = None) -> None:
        layout = Layout.of([n_atoms], [terms], n_parameters) if layout is None else layout
        own = {entry.form: entry for entry in terms}
        self.n_atoms = n_atoms
        self.n_parameters = n_parameters
        self.terms = tuple(own.get(form, Terms.empty(form)) for form in layout.n_terms)
        self.padding = np.zeros((layout.n_atoms - n_atoms, 3))
        self.padding[:N_DUMMIES] = DUMMY_ATOMS
        self._n_padded = layout.n_parameters
        self.groups = tuple(_pad(entry, layout.n_terms[entry.form], n_atoms, n_parameters) for entry in self.terms)

    def energy(self, x: Matrix, p: Vector) -> float:
        return float(total_energy(self.groups, *self._padded(x, p)))

    def gradient(self, x: Matrix, p: Vector) -> Vector:
        return total_gradient(self.groups, *self._padded(x, p))[: 3 * self.n_atoms]

    def local(self, x: Matrix, p: Vector) -> Local:
        energy, gradient, hessian = total_local(self.groups, *self._padded(x, p))
        n = 3 * self.n_atoms
        return Local(float(energy), gradient[:n], hessian[:n, :n])

    def third_along(self, x: Matrix, p: Vector, directions: Matrix) -> Matrix:
        """Return the gradients of v^T H v for fixed directions v.

        Args:
            x: Coordinates [A], shape (atoms, 3).
            p: Parameters.
            directions: Directions v as columns, shape (3 atoms, m).

        Returns:
            Gradients [kcal/mol/A^3], shape (m, 3 atoms).
        """
        n, m = directions.shape
        padded = np.zeros((3 * (self.n_atoms + len(self.padding)), size_class(m)))
        padded[:n, :m] = directions
        return total_third(self.groups, *self._padded(x, p), padded)[:m, :n]

    def coordinates(self, x: Matrix) -> list[TermCoordinates]:
        """Return q, b and C of every real term, one entry per entry of `terms`."""
        padded = term_coordinates(self.groups, self._pad_atoms(x))
        return [
            TermCoordinates(*(array[: len(entry.atoms)] for array in found))
            for entry, found in zip(self.terms, padded, strict=True)
        ]

    def padded_values(self, coordinates: list[TermCoordinates]) -> tuple[Any, ...]:
        """Return the q of every term, padding included, as `term_values` and `term_slopes` take them."""
        return tuple(
            np.concatenate([found.q, np.ones((len(group.weights) - len(found.q), found.q.shape[1]))])
            for group, found in zip(self.groups, coordinates, strict=True)
        )

    def term_values(self, values: tuple[Any, ...], p: Vector) -> Vector:
        """Return f_q and f_qq of every real term, one entry of `terms` after the other, flat."""
        return term_values(self.groups, values, self.pad_parameters(p))[self._real]

    def term_slopes(self, values: tuple[Any, ...], p: Vector) -> list[TermSlopes]:
        """Return the derivatives of these with respect to the parameters, one entry per entry of `terms`."""
        padded = term_slopes(self.groups, values, self.pad_parameters(p))
        return [
            TermSlopes(*(array[: len(entry.atoms)] for array in found))
            for entry, found in zip(self.terms, padded, strict=True)
        ]

    @cached_property
    def _real(self) -> np.ndarray:
        """Places of real terms among the entries of padded ones."""
        places = [np.zeros(0, dtype=bool)]
        for entry, group in zip(self.terms, self.groups, strict=True):
            d = len(group.form.coordinates)
            places += [np.arange(len(group.weights) * width) < len(entry.atoms) * width for width in (d, d * d)]
        return np.flatnonzero(np.concatenate(places))

    def _padded(self, x: Matrix, p: Vector) -> tuple[Matrix, Vector]:
        check_sizes(self, self.n_parameters, x, p)
        return self._pad_atoms(x), self.pad_parameters(p)

    def _pad_atoms(self, x: Matrix) -> Matrix:
        return np.concatenate([x, self.padding])

    def pad_parameters(self, p: Vector) -> Vector:
        """Fill up parameters to the number that the compiled programs take."""
        return np.concatenate([p, np.ones(self._n_padded - len(p))])


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _pad(terms: Terms, size: int, n_atoms: int, n_parameters: int) -> Group:
    count = len(terms.atoms)
    missing = size - count

    def rows(array: np.ndarray, fill: Any) -> np.ndarray:
        return np.concatenate([array, np.broadcast_to(fill, (missing, array.shape[1])).astype(array.dtype)])

    form = FORMS[terms.form]
    return Group(
        form=form,
        atoms=rows(terms.atoms, n_atoms + np.arange(form.n_atoms)),
        pointers=rows(terms.pointers, n_parameters),
        constants=rows(terms.constants, 1.0),
        weights=np.concatenate([np.ones(count), np.zeros(missing)]),
    )
