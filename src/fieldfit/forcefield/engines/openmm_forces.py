"""Terms of a functional form as a custom force of OpenMM.

One force holds all terms of a form. A form of a single distance, angle or dihedral becomes a CustomBondForce,
CustomAngleForce or CustomTorsionForce, which OpenMM evaluates about ten times faster than the CustomCompoundBondForce
that the others become. A site that is shifted along a bond becomes a virtual site, a particle that follows its atoms,
so that the energy of two sites is one of their distance.

The module of OpenMM is handed in, so that nothing is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from fieldfit.forcefield.assignment import Terms
from fieldfit.forcefield.constants import KJ_PER_KCAL
from fieldfit.forcefield.engines.lepton import lepton_expression
from fieldfit.forcefield.engines.openmm_coordinates import A_PER_NM, write_coordinate
from fieldfit.forcefield.forms import FORMS, InternalCoordinate
from fieldfit.typing import Matrix, Vector


class ForceKind(NamedTuple):
    """A class of custom forces: its name, the word in its methods, and the variable if it has a single coordinate."""

    name: str
    word: str
    variable: str = ""


SINGLE = {
    "distance": ForceKind("CustomBondForce", "Bond", f"{A_PER_NM}*r"),
    "angle": ForceKind("CustomAngleForce", "Angle", "theta"),
    "dihedral": ForceKind("CustomTorsionForce", "Torsion", "theta"),
}
COMPOUND = ForceKind("CustomCompoundBondForce", "Bond")
SITE_DISTANCE = "site distance"


class Site(NamedTuple):
    """A point on the bond of an atom, shifted away from its parent by an offset, a fraction of the bond."""

    atom: int
    parent: int
    offset: float


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a custom force is made from.

    Args:
        kind: Class of the force.
        expression: Energy [kJ/mol] of coordinates [nm], parameters "a1", "a2" ... and constants "s1", "s2" ...
        atoms: Particles of each term, shape (terms, particles).
        pointers: Index of each of its parameters among those of the force field, shape (terms, c).
        constants: Constants of each term, shape (terms, s).
    """

    kind: ForceKind
    expression: str
    atoms: Int[np.ndarray, "terms a"]
    pointers: Int[np.ndarray, "terms c"]
    constants: Matrix

    @property
    def n_parameters(self) -> int:
        """Number of parameters and constants of a term."""
        return self.pointers.shape[1] + self.constants.shape[1]

    def values(self, p: Vector) -> Matrix:
        """Return parameters and constants of each term, shape (terms, c + s)."""
        return np.concatenate([p[self.pointers], self.constants], axis=1)


def shifted_sites(terms: Sequence[Terms]) -> tuple[Site, ...]:
    """List the sites of site distances that do not lie at their atoms, each once."""
    found: dict[Site, None] = {}
    for entry in terms:
        for coordinate in FORMS[entry.form].coordinates:
            if coordinate.kind == SITE_DISTANCE:
                found |= {site: None for pair in _sites(entry, coordinate) for site in pair if site.offset}
    return tuple(found)


def make_recipe(terms: Terms, particles: Mapping[Site, int]) -> Recipe:
    """Write the recipe of all terms of one form.

    Args:
        terms: The terms.
        particles: Numbers of the particles that stand for shifted sites.

    Raises:
        ForceFieldError: OpenMM cannot express the form.
    """
    form, atoms, coordinates = FORMS[terms.form], terms.atoms, list[InternalCoordinate]()
    for coordinate in form.coordinates:
        if coordinate.kind != SITE_DISTANCE:
            coordinates.append(coordinate)
            continue
        coordinates.append(InternalCoordinate("distance", (atoms.shape[1], atoms.shape[1] + 1)))
        ends = [[particles.get(site, site.atom) for site in pair] for pair in _sites(terms, coordinate)]
        atoms = np.concatenate([atoms, np.array(ends, dtype=int)], axis=1)
    kind = SINGLE.get(coordinates[0].kind, COMPOUND) if len(coordinates) == 1 else COMPOUND
    if kind is not COMPOUND:
        return _recipe(terms, kind, [kind.variable], atoms[:, list(coordinates[0].atoms)])
    return _recipe(terms, kind, [write_coordinate(entry, label=form.name) for entry in coordinates], atoms)


def _recipe(terms: Terms, kind: ForceKind, coordinates: Sequence[str], atoms: Int[np.ndarray, "terms a"]) -> Recipe:
    """Write the energy of a form of given coordinates in kJ/mol."""
    form = FORMS[terms.form]
    names = _names("q", len(coordinates)), _names("a", form.n_parameters), _names("s", form.n_constants)
    energy = lepton_expression(form.energy, names, label=form.name)
    places = [f"{name}={text}" for name, text in zip(names[0], coordinates, strict=True)]
    expression = "; ".join([f"{KJ_PER_KCAL}*energy", f"energy={energy}", *places])
    return Recipe(kind, expression, atoms, terms.pointers, terms.constants)


def _sites(terms: Terms, coordinate: InternalCoordinate) -> list[tuple[Site, Site]]:
    """Return the two sites of a site distance in every term."""
    atoms = terms.atoms[:, list(coordinate.atoms)].tolist()
    offsets = terms.constants[:, list(coordinate.constants)].tolist()
    return [
        (Site(i, parent_i, offset_i), Site(j, parent_j, offset_j))
        for (i, parent_i, j, parent_j), (offset_i, offset_j) in zip(atoms, offsets, strict=True)
    ]


def _names(letter: str, count: int) -> list[str]:
    return [f"{letter}{number + 1}" for number in range(count)]


def virtual_site(openmm: Any, site: Site) -> Any:
    """Return a virtual site on the bond of its atom, or beyond it."""
    return openmm.TwoParticleAverageSite(site.atom, site.parent, 1.0 + site.offset, -site.offset)


def make_force(openmm: Any, recipe: Recipe) -> Any:
    """Make the force with all terms, their parameters zero."""
    create, word = getattr(openmm, recipe.kind.name), recipe.kind.word
    is_compound = recipe.kind is COMPOUND
    n_particles = recipe.atoms.shape[1]
    force = create(n_particles, recipe.expression) if is_compound else create(recipe.expression)
    for name in (*_names("a", recipe.pointers.shape[1]), *_names("s", recipe.constants.shape[1])):
        getattr(force, f"addPer{word}Parameter")(name)
    add = getattr(force, f"add{word}")
    for term in range(len(recipe.atoms)):
        add(*_particles(recipe, term), [0.0] * recipe.n_parameters)
    return force


def set_term(force: Any, recipe: Recipe, term: int, values: Vector) -> None:
    """Give a term of a force new parameters and constants."""
    getattr(force, f"set{recipe.kind.word}Parameters")(term, *_particles(recipe, term), values.tolist())


def _particles(recipe: Recipe, term: int) -> list[Any]:
    """Return the particles of a term as OpenMM's methods take them: one list in a compound bond."""
    particles = recipe.atoms[term].tolist()
    return [particles] if recipe.kind is COMPOUND else particles
