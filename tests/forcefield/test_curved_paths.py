"""Curved paths against their definition and against the geometry of a rotation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fieldfit.forcefield.relaxation.curved_paths import CurvedPaths
from model_energies import CHAIN, Chain, distances

ALL = np.arange(CHAIN.size)


def random_step(seed=0, n=CHAIN.size):
    return np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize("free", [ALL, ALL[3:], ALL[[0, 1, 5, 9, 10, 11]]], ids=["all", "three atoms", "coordinates"])
def test_the_energy_along_a_path_has_the_stated_derivatives(free) -> None:
    # A strained geometry, so that the gradient is far from zero and the bending matters.
    x = CHAIN + 0.2 * random_step(1).reshape(4, 3)
    paths, energy, step, h = CurvedPaths(x, free), Chain(), random_step(2, free.size), 1e-3

    def along(t):
        return energy(paths.follow(t * step)).energy

    local = energy(x)
    gradient, hessian = local.gradient[free], local.hessian[np.ix_(free, free)]
    first = (8.0 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12.0 * h)
    second = (16.0 * (along(h) + along(-h)) - (along(2 * h) + along(-2 * h)) - 30.0 * along(0.0)) / (12.0 * h**2)
    assert first == pytest.approx(gradient @ step, rel=1e-7)
    assert second == pytest.approx(step @ (hessian + paths.bending(gradient)) @ step, rel=1e-5)
    assert abs(step @ paths.bending(gradient) @ step) > 0.01 * abs(step @ hessian @ step)


def test_a_path_begins_along_its_step() -> None:
    paths, step = CurvedPaths(CHAIN, ALL), random_step()
    moved = (paths.follow(1e-5 * step) - paths.follow(-1e-5 * step)).ravel() / 2e-5
    assert_allclose(moved, step, rtol=1e-8, atol=1e-8)


def test_a_turn_about_a_bond_keeps_bond_lengths_and_angles() -> None:
    # The last atom turns about the x axis: along the tangent its distances grow with the square of the angle; along the
    # path less than a tenth of that is left.
    tangent = np.zeros((4, 3))
    tangent[3] = np.cross([1.0, 0.0, 0.0], CHAIN[3])
    step = (0.3 * tangent).ravel()
    short = [0, 1, 3, 4, 5]  # all pairs but the ends
    straight, curved = (
        np.max(np.abs(distances(end) - distances(CHAIN))[short])
        for end in (CHAIN + step.reshape(4, 3), CurvedPaths(CHAIN, ALL).follow(step))
    )
    assert straight > 0.04
    assert curved < 0.1 * straight


def test_paths_turn_with_the_molecule() -> None:
    R = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    step = 0.2 * random_step()
    turned = CurvedPaths(CHAIN @ R.T + [1.0, 2.0, 3.0], ALL).follow((step.reshape(4, 3) @ R.T).ravel())
    assert_allclose(turned, CurvedPaths(CHAIN, ALL).follow(step) @ R.T + [1.0, 2.0, 3.0], atol=1e-12)


def test_a_path_leaves_the_straight_line_by_half_its_length_at_most() -> None:
    # Two atoms that pass through each other: no path can keep to a negative distance.
    x = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5]])
    step = np.array([0.0, 0.1, 3.0, 0.0, 0.0, -3.0])
    end = CurvedPaths(x, np.arange(6)).follow(step)
    assert np.linalg.norm(end.ravel() - x.ravel() - step) <= 0.5 * np.linalg.norm(step) * (1.0 + 1e-12)


def test_frozen_coordinates_stay() -> None:
    free = ALL[3:]
    end = CurvedPaths(CHAIN, free).follow(0.3 * random_step(0, 9))
    assert end[0].tolist() == CHAIN[0].tolist()
