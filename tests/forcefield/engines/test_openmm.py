"""The OpenMM engine: units, Hessians, changes of parameters, threads, processes, and what it says when it cannot."""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fieldfit.errors import ForceFieldError, SettingsError
from fieldfit.forcefield import build_force_field
from fieldfit.forcefield.assignment import Terms
from fieldfit.forcefield.engines import openmm_forces
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.engines.openmm import OpenMMEngine, OpenMMSystem
from fieldfit.forcefield.engines.openmm_forces import shifted_sites
from fieldfit.forcefield.forms import Column, Form, InternalCoordinate
from fieldfit.forcefield.readers import read
from fieldfit.forcefield.topology import perceive
from molecules import bare_record, internal_parameters, propyne

openmm = pytest.importorskip("openmm")

NO_CONSTANTS = np.zeros((1, 0))


def one_term(form: str, atoms, n_parameters: int, constants=()) -> Terms:
    return Terms(form, np.array([atoms]), np.arange(n_parameters)[None], np.array([constants], dtype=float))


def fluoromethane_system(examples):
    molecule = perceive(read(examples / "ch3f" / "ch3f.json"))
    field = build_force_field([molecule], family="mm3", stretch_bend=["*"])
    (system,) = OpenMMEngine().systems([molecule], field)
    return system, molecule.record.coordinates + 0.03, internal_parameters(field), JaxEngine().system(molecule, field)


def test_energies_are_in_kcal_per_mol_and_gradients_per_angstrom() -> None:
    # k d^2 = 100 * 0.1^2 = 1 kcal/mol; the slope is 2 k d = 20 kcal/mol/A along the bond.
    system = OpenMMSystem(2, [one_term("harmonic_bond", (0, 1), 2)], 2)
    x, p = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.3]]), np.array([100.0, 1.2])
    assert system.energy(x, p) == pytest.approx(1.0, rel=1e-12)
    assert_allclose(system.gradient(x, p), [0.0, 0.0, -20.0, 0.0, 0.0, 20.0], atol=1e-11)
    assert system.local(x, p).hessian[5, 5] == pytest.approx(200.0, rel=1e-8)


def test_a_linear_bend_at_rest_keeps_its_stiffness() -> None:
    # k |e1 + e2|^2 with two arms of length r: moving the middle atom across by y turns the angle by 2 y / r.
    system = OpenMMSystem(3, [one_term("linear_bend", (0, 1, 2), 1)], 1)
    x, p = np.array([[0.0, 0.0, -1.2], [0.0, 0.0, 0.0], [0.0, 0.0, 1.2]]), np.array([50.0])
    found = system.local(x, p)
    assert_allclose(found.gradient, 0.0, atol=1e-12)
    assert found.hessian[3, 3] == pytest.approx(2.0 * 50.0 * (2.0 / 1.2) ** 2, rel=1e-7)


def test_the_hessian_is_that_of_the_jax_engine(examples) -> None:
    system, x, p, reference = fluoromethane_system(examples)
    found, expected = system.local(x, p), reference.local(x, p)
    # The cubic term of the differences, step^2 / 6 times a fourth derivative.
    assert_allclose(found.hessian, expected.hessian, rtol=0.0, atol=1e-7 * np.abs(expected.hessian).max())
    assert_array_equal(found.hessian, found.hessian.T)
    assert found.energy == pytest.approx(expected.energy, rel=1e-12)


def test_energies_follow_every_change_of_parameters(examples) -> None:
    system, x, p, reference = fluoromethane_system(examples)
    changed = p * np.where(np.arange(p.size) == 3, 1.1, 1.0)
    for parameters in (p, changed, p, np.zeros_like(p), 2.0 * p):
        assert system.energy(x, parameters) == pytest.approx(reference.energy(x, parameters), rel=1e-12, abs=1e-12)


def test_threads_may_share_a_system(examples) -> None:
    system, x, p, _ = fluoromethane_system(examples)
    moves = [x + 0.01 * number * np.cos(np.arange(15.0)).reshape(5, 3) for number in range(40)]
    expected = [system.energy(move, p * (1.0 + 0.01 * n)) for n, move in enumerate(moves)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda task: system.energy(task[1], p * (1.0 + 0.01 * task[0])), enumerate(moves)))
    assert_array_equal(found, expected)


def test_a_system_survives_pickling_after_use(examples) -> None:
    system, x, p, _ = fluoromethane_system(examples)
    energy = system.energy(x, p)
    assert pickle.loads(pickle.dumps(system)).energy(x, p) == energy


def test_a_form_from_elsewhere_runs_without_a_second_transcription(monkeypatch) -> None:
    def ring(q, p, s):
        """Return a depth times a bell over the sum of two distances, flat inside."""
        excess = q[0] + q[1] - s[0]
        return p[0] * jnp.where(excess > 0.0, 1.0 - jnp.exp(-(excess**2)), 0.0)

    form = Form(
        "ring",
        "ring",
        3,
        (InternalCoordinate("distance", (0, 1)), InternalCoordinate("distance", (1, 2))),
        (Column("depth", "kcal/mol", 0.0, 10.0, 1.0, is_linear=True),),
        ring,
        constants=("size",),
    )
    monkeypatch.setattr(openmm_forces, "FORMS", {"ring": form})
    system = OpenMMSystem(3, [one_term("ring", (0, 1, 2), 1, (2.0,))], 1)
    x = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5], [0.0, 1.1, 1.5]])
    assert system.energy(x, np.array([4.0])) == pytest.approx(4.0 * (1.0 - np.exp(-0.36)), rel=1e-13)
    assert system.energy(0.5 * x, np.array([4.0])) == 0.0


def test_a_form_without_parameters_or_constants_runs(monkeypatch) -> None:
    form = Form("drop", "drop", 2, (InternalCoordinate("distance", (0, 1)),), (), lambda q, p, s: 1.0 / q[0])
    monkeypatch.setattr(openmm_forces, "FORMS", {"drop": form})
    terms = Terms("drop", np.array([[0, 1]]), np.zeros((1, 0), dtype=int), NO_CONSTANTS)
    assert OpenMMSystem(2, [terms], 0).energy(np.array([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]]), np.zeros(0)) == 0.2


def test_a_molecule_without_terms_has_no_energy() -> None:
    system = OpenMMSystem(1, [], 0)
    assert system.energy(np.ones((1, 3)), np.zeros(0)) == 0.0
    assert_array_equal(system.gradient(np.ones((1, 3)), np.zeros(0)), 0.0)


def test_a_shifted_site_is_one_particle_however_many_pairs_it_meets() -> None:
    atoms = np.array([[0, 1, 2, 3], [0, 1, 4, 3], [2, 3, 4, 3]])
    constants = np.array([[-0.1, 0.0, 1.0], [-0.1, 0.0, 0.5], [0.0, 0.0, 1.0]])
    terms = Terms("buckingham", atoms, np.zeros((3, 4), dtype=int), constants)
    assert shifted_sites([terms]) == ((0, 1, -0.1),)


def test_a_coordinate_that_cannot_be_written_is_an_error(monkeypatch) -> None:
    form = Form("spin", "spin", 2, (InternalCoordinate("phase of the moon", (0, 1)),), (), lambda q, p, s: q[0])
    monkeypatch.setattr(openmm_forces, "FORMS", {"spin": form})
    with pytest.raises(ForceFieldError, match="The form spin acts on the coordinate 'phase of the moon'"):
        OpenMMSystem(2, [Terms("spin", np.array([[0, 1]]), np.zeros((1, 0), dtype=int), NO_CONSTANTS)], 0)


def test_an_unknown_platform_is_an_error_that_lists_those_that_are_there() -> None:
    with pytest.raises(SettingsError, match=r"No OpenMM platform is called 'Referense'. Did you mean 'Reference'\?"):
        OpenMMEngine(platform="Referense").systems([], build_force_field([perceive(propyne())]))


def test_the_fastest_platform_is_taken_on_request() -> None:
    molecule = perceive(bare_record("water", "OHH", [(0.0, 0.0, 0.0), (0.96, 0.0, 0.0), (-0.24, 0.93, 0.0)]))
    field = build_force_field([molecule])
    x, p = 1.02 * molecule.record.coordinates, internal_parameters(field)
    energies = [OpenMMEngine(platform=name).systems([molecule], field)[0].energy(x, p) for name in (None, "Reference")]
    # Mixed precision, which OpenMM would choose on a graphics card, would leave seven digits.
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)


def test_a_missing_openmm_is_an_error_that_says_how_to_install_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(SettingsError, match=r'pip install "fieldfit\[openmm\]"'):
        OpenMMEngine().systems([], build_force_field([perceive(propyne())]))
