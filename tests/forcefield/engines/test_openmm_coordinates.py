"""Internal coordinates as OpenMM evaluates and differentiates them, against those of `geometry` and closed forms."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.forcefield.assignment import Terms
from fieldfit.forcefield.engines import openmm_forces
from fieldfit.forcefield.engines.openmm import OpenMMSystem
from fieldfit.forcefield.forms import Form, InternalCoordinate
from fieldfit.forcefield.geometry import COORDINATES
from fieldfit.precision import in_double_precision

NONE = np.zeros(0)


@pytest.fixture
def probe(monkeypatch):
    """Return a function that makes the system whose energy is one internal coordinate."""

    def make(kind: str, constants: tuple[float, ...] = (), atoms: tuple[int, ...] | None = None) -> OpenMMSystem:
        count = COORDINATES[kind].n_atoms
        names = tuple(f"constant {number}" for number in range(len(constants)))
        coordinate = InternalCoordinate(kind, tuple(range(count)), tuple(range(len(constants))))
        form = Form("probe", "probe", count, (coordinate,), (), lambda q, p, s: q[0], constants=names)
        monkeypatch.setattr(openmm_forces, "FORMS", {"probe": form})
        chosen = np.array([range(count) if atoms is None else atoms])
        terms = Terms("probe", chosen, np.zeros((1, 0), dtype=int), np.array([constants], dtype=float))
        return OpenMMSystem(4, [terms], 0)

    return make


@pytest.mark.parametrize("kind", COORDINATES)
def test_every_coordinate_and_its_gradient_are_those_of_the_geometry_module(probe, kind) -> None:
    rng = np.random.default_rng(5)
    coordinate = COORDINATES[kind]
    constants = tuple(rng.uniform(-0.3, 0.3, coordinate.n_constants))
    system, count = probe(kind, constants), coordinate.n_atoms
    compiled = in_double_precision(jax.jit(jax.value_and_grad(coordinate.value)))
    for _ in range(10):
        x = 1.3 * rng.normal(size=(4, 3))
        value, gradient = compiled(x[:count], *constants)
        assert system.energy(x, NONE) == pytest.approx(float(value), rel=1e-10, abs=1e-12)
        # OpenMM's angle is an arccos: what it loses next to 0 and 180 degrees is 1e-16 / sin.
        assert_allclose(system.gradient(x, NONE)[: 3 * count], gradient.ravel(), rtol=1e-8, atol=1e-10)


def test_the_dihedral_has_the_sign_of_the_iupac_convention(probe) -> None:
    # Looking along 2-3, the bond 3-4 is turned clockwise by 60 degrees from the bond 2-1: gauche plus.
    turn = np.radians(60.0)
    x = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.5], [np.cos(turn), np.sin(turn), 1.5]])
    assert probe("dihedral").energy(x, NONE) == pytest.approx(turn, rel=1e-12)
    assert probe("guarded dihedral").energy(x, NONE) == pytest.approx(turn, rel=1e-12)


@pytest.mark.parametrize("bend", [0.0, 1e-6, 1e-4, 1e-2])
def test_the_linear_bend_is_smooth_through_180_degrees(probe, bend) -> None:
    # |e1 + e2|^2 = 4 sin^2(b / 2) for an angle of pi - b; moving the end atom across by dy turns b by dy / r.
    x = np.array([[1.2 * np.cos(bend), 1.2 * np.sin(bend), 0.0], [0.0, 0.0, 0.0], [-1.5, 0.0, 0.0], [9.0, 0.0, 0.0]])
    system = probe("linear bend")
    assert system.energy(x, NONE) == pytest.approx(4.0 * np.sin(bend / 2.0) ** 2, rel=1e-9)
    assert system.gradient(x, NONE)[1] == pytest.approx(2.0 * np.sin(bend) / 1.2 * np.cos(bend), rel=1e-9)


def test_a_guarded_dihedral_on_a_straight_line_is_zero_and_exerts_no_force(probe) -> None:
    x = np.array([[0.0, 0.0, -1.1], [0.0, 0.0, 0.0], [0.0, 0.0, 1.4], [1.0, 0.3, 1.9]])
    system = probe("guarded dihedral")
    assert system.energy(x, NONE) == 0.0
    assert_allclose(system.gradient(x, NONE), 0.0)


def test_sites_that_are_not_shifted_may_be_their_own_parents(probe) -> None:
    x = np.array([[0.0, 0.0, 0.0], [5.0, 5.0, 5.0], [3.0, 4.0, 0.0], [7.0, 7.0, 7.0]])
    system = probe("site distance", (0.0, 0.0), atoms=(0, 0, 2, 2))
    assert system.energy(x, NONE) == pytest.approx(5.0, rel=1e-14)
    assert_allclose(system.gradient(x, NONE).reshape(4, 3)[[0, 2]], [[-0.6, -0.8, 0.0], [0.6, 0.8, 0.0]], rtol=1e-13)


def test_the_site_of_a_hydrogen_lies_on_its_bond(probe) -> None:
    # H at 1 A from its parent, its site 0.1 A closer to it; the other atom 3 A beyond the hydrogen: 3.1 A.
    x = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [4.0, 1.0, 0.0]])
    assert probe("site distance", (-0.1, 0.0)).energy(x, NONE) == pytest.approx(3.1, rel=1e-14)


def test_dipoles_in_a_row_attract_twice_as_much_as_dipoles_side_by_side_repel(probe) -> None:
    bond = np.array([[-0.6, 0.0, 0.0], [0.6, 0.0, 0.0]])
    system = probe("dipole coupling")
    along, aside = (np.concatenate([bond, bond + shift]) for shift in ([4.0, 0.0, 0.0], [0.0, 4.0, 0.0]))
    assert system.energy(along, NONE) == pytest.approx(-2.0 / 64.0, rel=1e-13)
    assert system.energy(aside, NONE) == pytest.approx(1.0 / 64.0, rel=1e-13)
