"""What every engine has to keep, over the table of engines, and that engines agree on what they both compute.

Agreement is asked form by form, on terms between any atoms of a molecule with parameters anywhere within their bounds,
and for whole molecules with force fields that cover every kind of interaction.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.errors import SettingsError
from fieldfit.forcefield import ForceField, Row, build_force_field
from fieldfit.forcefield.assignment import Terms
from fieldfit.forcefield.engines import ENGINES
from fieldfit.forcefield.engines.engine import AbstractEngine
from fieldfit.forcefield.engines.jax import JaxEngine, Layout, System
from fieldfit.forcefield.engines.openmm import OpenMMEngine, OpenMMSystem
from fieldfit.forcefield.forms import FORMS, Form
from fieldfit.forcefield.molecule import Molecule
from fieldfit.forcefield.nonbonded import Nonbonded
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.topology import perceive, share_types
from molecules import bare_record, internal_parameters, propyne, sn2_transition_state

pytest.importorskip("openmm")

ENERGY = 1e-10
"""Relative difference of energies that is allowed between engines."""

FORCE = 1e-10
"""The same for gradients, relative to their largest component."""

DISPLACEMENT = 0.1
"""Standard deviation of the random displacements of atoms [A]."""

N_GEOMETRIES = 20
N_TERMS = 8

CONSTANTS = {
    "periodicity": lambda rng: float(rng.integers(1, 7)),
    "phase": lambda rng: rng.uniform(0.0, 2.0 * np.pi),
    "offset": lambda rng: rng.uniform(-0.1, 0.1),
    "offset_i": lambda rng: rng.uniform(-0.1, 0.1),
    "offset_j": lambda rng: rng.uniform(-0.1, 0.1),
    "factor": lambda rng: rng.uniform(-332.0, 332.0),
}
"""Random values of constants by name, in internal units; others lie between 0.5 and 1."""


def formic_acid() -> Molecule:
    """Return HCOOH with a carbon that is not quite in the plane of its neighbours [A]."""
    atoms = [(0.0, 0.0, 0.03), (1.20, 0.0, 0.0), (-0.68, 1.16, 0.0), (-0.56, -0.94, 0.0), (-0.02, 1.85, 0.1)]
    return perceive(bare_record("formic acid", "COOHH", atoms))


def oxirane() -> Molecule:
    """Return the three-membered ring C2H4O [A]."""
    hydrogens = [(x, y, -0.62) for x in (-1.26, 1.26) for y in (-0.92, 0.92)]
    return perceive(
        bare_record("oxirane", "OCCHHHH", [(0.0, 0.0, 0.79), (-0.735, 0, -0.44), (0.735, 0, -0.44), *hydrogens])
    )


@functools.cache
def five_molecules(examples) -> tuple[Molecule, ...]:
    """Return molecules with four- and five-coordinate carbon, a ring, a linear chain and a planar centre."""
    fluoromethane = perceive(read(examples / "ch3f" / "ch3f.json"))
    return fluoromethane, oxirane(), sn2_transition_state(examples), perceive(propyne()), formic_acid()


def displaced(molecule: Molecule) -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    x = molecule.record.coordinates
    return [x + rng.normal(0.0, DISPLACEMENT, x.shape) for _ in range(N_GEOMETRIES)]


def assert_agreement(one, other, x, p) -> None:
    expected = other.gradient(x, p)
    assert one.energy(x, p) == pytest.approx(other.energy(x, p), rel=ENERGY)
    assert_allclose(one.gradient(x, p), expected, rtol=0.0, atol=FORCE * np.abs(expected).max())


# Engines that compute any form.


def column_range(form: Form, name: str) -> tuple[float, float]:
    """Return the bounds of a column in internal units."""
    column = next(entry for entry in form.columns if entry.name == name)
    return column.lower * column.internal, column.upper * column.internal


def lender(kind: str, column: str) -> Form:
    """Return a form of a kind that has a column."""
    forms = (FORMS[name] for name in FORMS)
    return next(form for form in forms if form.kind == kind and column in [entry.name for entry in form.columns])


def random_terms(form: Form, molecule: Molecule, rng) -> tuple[Terms, np.ndarray]:
    """Return terms of a form between any atoms, with parameters of their own anywhere within their bounds."""
    ranges = [column_range(form, column.name) for _ in form.sites for column in form.columns]
    ranges += [column_range(lender(entry.kind, entry.column), entry.column) for entry in form.borrowed]
    names = [name for _ in form.sites for name in form.constants] + list(form.assigned)
    atoms = np.array([rng.permutation(molecule.n_atoms)[: form.n_atoms] for _ in range(N_TERMS)])
    pointers = np.arange(N_TERMS * len(ranges)).reshape(N_TERMS, len(ranges))
    constants = [[CONSTANTS.get(name, lambda rng: rng.uniform(0.5, 1.0))(rng) for name in names] for _ in atoms]
    p = np.array([rng.uniform(*bounds) for _ in range(N_TERMS) for bounds in ranges])
    return Terms(form.name, atoms, pointers, np.array(constants, dtype=float).reshape(N_TERMS, len(names))), p


@pytest.mark.parametrize("name", FORMS)
def test_openmm_agrees_with_jax_on_every_form(name, examples) -> None:
    rng = np.random.default_rng(3)
    molecules = five_molecules(examples)
    drawn = [random_terms(FORMS[name], molecule, rng) for molecule in molecules]
    counts, n_parameters = [molecule.n_atoms for molecule in molecules], drawn[0][1].size
    layout = Layout.of(counts, [(terms,) for terms, _ in drawn], n_parameters)
    for molecule, (terms, p) in zip(molecules, drawn, strict=True):
        reference = System(molecule.n_atoms, (terms,), n_parameters, layout)
        system = OpenMMSystem(molecule.n_atoms, (terms,), n_parameters)
        for x in displaced(molecule):
            assert_agreement(system, reference, x, p)


# Whole molecules.


def full_field(molecules, family: str, van_der_waals: dict[str, Row]) -> ForceField:
    """Return a force field with valence terms of random strength, van der Waals rows and charges."""
    valence = build_force_field(molecules, family=family, stretch_bend=["*"], periodicities=[1, 2, 3])
    rng = np.random.default_rng(2)
    rows = [
        dataclasses.replace(row, values=row.values | {"k": row.values["k"] * rng.uniform(0.5, 2.0) + rng.uniform()})
        for row in valence.rows
    ]
    for number, name in enumerate(valence.elements):
        rows.append(dataclasses.replace(van_der_waals[valence.elements[name]], types=(name,)))
        rows.append(Row("coulomb", (name,), {"charge": (-1.0) ** number * rng.uniform(0.05, 0.4)}))
    return ForceField(family, tuple(rows), valence.elements, Nonbonded(vdw_14=0.5, charge_14=0.8333))


RADII = {"H": (1.4, 0.02), "C": (1.9, 0.09), "O": (1.7, 0.2), "F": (1.75, 0.06)}
"""Van der Waals radius [A] and depth [kcal/mol] by element."""


def lennard_jones(element: str) -> Row:
    radius, epsilon = RADII[element]
    return Row("lennard_jones", (element,), {"radius": radius, "epsilon": epsilon})


def buckingham(element: str) -> Row:
    radius, epsilon = RADII[element]
    offset = -0.08 if element == "H" else 0.0
    return Row("buckingham", (element,), {"radius": radius, "epsilon": epsilon}, {"offset": offset})


@pytest.fixture(scope="module", params=["harmonic", "mm3"])
def whole(request, examples):
    """Return five molecules typed together, a force field for all, and the systems of the JAX engine."""
    molecules = share_types(five_molecules(examples))
    van_der_waals = {"harmonic": lennard_jones, "mm3": buckingham}[request.param]
    field = full_field(molecules, request.param, {element: van_der_waals(element) for element in RADII})
    return molecules, field, JaxEngine().systems(molecules, field)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_openmm_agrees_with_jax_on_whole_molecules(whole, platform) -> None:
    molecules, field, references = whole
    p = internal_parameters(field)
    systems = OpenMMEngine(platform=platform).systems(molecules, field)
    for molecule, system, reference in zip(molecules, systems, references, strict=True):
        for x in displaced(molecule):
            assert_agreement(system, reference, x, p)


# Every engine in the table.


@pytest.mark.parametrize("name", ENGINES)
def test_traits_say_what_an_engine_can_do(name) -> None:
    traits = ENGINES[name].traits
    assert issubclass(ENGINES[name], AbstractEngine)
    assert traits.exact_order in (0, 1, 2)
    assert set(traits.devices) <= {"cpu", "cuda"}
    assert traits.forms is None or traits.forms <= set(FORMS)


@pytest.mark.parametrize("name", ENGINES)
def test_options_of_an_engine_are_frozen_and_have_defaults(name) -> None:
    engine = ENGINES[name]()
    assert engine == ENGINES[name]()
    assert engine.__dataclass_params__.frozen


@pytest.mark.parametrize("name", ENGINES)
def test_derivatives_of_an_engine_are_those_of_its_energy(name) -> None:
    molecule = formic_acid()
    full, forms = build_force_field([molecule]), ENGINES[name].traits.forms
    field = dataclasses.replace(full, rows=tuple(row for row in full.rows if forms is None or row.form in forms))
    x, p, step = displaced(molecule)[0], internal_parameters(field), 1e-4
    try:
        (system,) = ENGINES[name]().systems([molecule], field)
        found = system.local(x, p)
    except SettingsError as error:
        pytest.skip(str(error))
    assert found.energy == pytest.approx(system.energy(x, p), rel=1e-12)
    assert_allclose(found.gradient, system.gradient(x, p), rtol=0.0, atol=1e-9 * np.abs(found.gradient).max())
    for index in (0, 4, 14):
        move = np.zeros(x.size)
        move[index] = step
        ahead, behind = x + move.reshape(x.shape), x - move.reshape(x.shape)
        slope = (system.energy(ahead, p) - system.energy(behind, p)) / (2.0 * step)
        curvature = (system.gradient(ahead, p) - system.gradient(behind, p)) / (2.0 * step)
        # Third derivatives of some 1e4 kcal/mol/A^3 leave 1e4 step^2 / 6.
        assert found.gradient[index] == pytest.approx(slope, abs=1e-6 * np.abs(found.gradient).max())
        assert_allclose(found.hessian[index], curvature, atol=1e-6 * np.abs(found.hessian).max())
