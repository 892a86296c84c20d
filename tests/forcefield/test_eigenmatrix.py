"""The eigenmatrix against its definition, from the transition state of F- + CH3F."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit.forcefield.building import build_force_field
from fieldfit.forcefield.eigenmatrix import Eigenmatrix, EigenmatrixTarget, floored
from fieldfit.forcefield.engines.fixed_geometry import FixedGeometry
from fieldfit.forcefield.engines.jax import JaxEngine
from fieldfit.forcefield.vibrations import eigenvalue, normal_modes
from molecules import internal_parameters, made_by, sn2_transition_state


@pytest.fixture(scope="module")
def molecule(examples):
    return sn2_transition_state(examples)


@pytest.fixture(scope="module")
def field(molecule):
    return build_force_field([molecule]).with_values({"bond.C-F.k": 110.0, "angle.F-C-H.k": 33.0})


@pytest.fixture(scope="module")
def system(molecule, field):
    return JaxEngine().system(molecule, field)


@pytest.fixture(scope="module")
def modes(molecule):
    return normal_modes(molecule.qm_hessian, molecule.record.coordinates, molecule.record.masses)


@pytest.fixture(scope="module")
def geometry(molecule, system):
    return FixedGeometry(system, molecule.record.coordinates)


def weighted(hessian, masses):
    roots = np.sqrt(np.repeat(masses, 3))
    return hessian / roots[:, None] / roots


def test_elements_are_those_of_the_hessian_in_the_qm_modes(molecule, field, system, modes, geometry) -> None:
    masses, p = molecule.record.masses, internal_parameters(field)
    eigenmatrix = Eigenmatrix(geometry, EigenmatrixTarget(modes, masses))
    L, lam = modes.modes, modes.eigenvalues
    E = L.T @ weighted(system.local(molecule.record.coordinates, p).hessian, masses) @ L
    terms = geometry.term_vector(p)
    found = eigenmatrix.elements(terms) - eigenmatrix.target.values
    # 108.5914 (E_ij - delta_ij lambda_i) / (2 (lambda_i lambda_j)^(1/4)); all wavenumbers are above the floor.
    i, j = eigenmatrix.target.rows, eigenmatrix.target.columns
    expected = 108.5914 * (E[i, j] - np.where(i == j, lam[i], 0.0)) / (2.0 * np.abs(lam[i] * lam[j]) ** 0.25)
    assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_the_reaction_coordinate_is_left_out(molecule, modes, geometry) -> None:
    target = EigenmatrixTarget(modes, molecule.record.masses)
    assert modes.frequencies[0] < 0.0
    assert target.rows.min() == 1
    # Eleven vibrations: 11 diagonal elements and 55 pairs.
    assert target.values.size == 66
    assert_allclose(target.values[target.is_diagonal], modes.frequencies[1:])
    assert not np.any(target.values[~target.is_diagonal])


def test_the_diagonal_alone_is_that_of_the_whole(molecule, field, modes, geometry) -> None:
    eigenmatrix = Eigenmatrix(geometry, EigenmatrixTarget(modes, molecule.record.masses))
    terms, on = geometry.term_vector(internal_parameters(field)), eigenmatrix.target.is_diagonal
    assert_allclose(eigenmatrix.diagonal(terms), eigenmatrix.elements(terms)[on], rtol=1e-12)
    scale = np.abs(eigenmatrix.jacobian(terms)).max()
    assert_allclose(eigenmatrix.diagonal_jacobian(terms), eigenmatrix.jacobian(terms)[on], atol=1e-12 * scale)


def test_derivatives_for_chosen_parameters_are_columns_of_those_for_all(molecule, field, modes, geometry) -> None:
    eigenmatrix = Eigenmatrix(geometry, EigenmatrixTarget(modes, molecule.record.masses))
    p, columns = internal_parameters(field), np.array([3, 0, 1])
    whole = eigenmatrix.jacobian(geometry.term_vector(p))
    chosen = eigenmatrix.jacobian(geometry.term_vector(p, columns))
    assert_allclose(chosen, whole[:, columns], atol=1e-12 * np.abs(whole).max())


def test_a_perfect_force_field_gives_the_target(molecule, field) -> None:
    made = made_by(molecule, field)
    geometry = FixedGeometry(JaxEngine().system(made, field), made.record.coordinates)
    modes = normal_modes(made.qm_hessian, made.record.coordinates, made.record.masses)
    eigenmatrix = Eigenmatrix(geometry, EigenmatrixTarget(modes, made.record.masses))
    assert eigenmatrix.target.values.size == 78
    found = eigenmatrix.elements(geometry.term_vector(internal_parameters(field)))
    assert_allclose(found, eigenmatrix.target.values, atol=1e-7)


def test_the_diagonal_is_the_wavenumber_to_first_order(molecule, field) -> None:
    made = made_by(molecule, field)
    geometry = FixedGeometry(JaxEngine().system(made, field), made.record.coordinates)
    modes = normal_modes(made.qm_hessian, made.record.coordinates, made.record.masses)
    eigenmatrix = Eigenmatrix(geometry, EigenmatrixTarget(modes, made.record.masses))
    on_diagonal = eigenmatrix.target.is_diagonal
    changes = []
    for step in (1e-3, 1e-4):
        p = internal_parameters(field) * np.where(field.is_linear, 1.0 + step, 1.0)
        diagonal = eigenmatrix.elements(geometry.term_vector(p))[on_diagonal]
        changes.append(np.max(np.abs(diagonal - modes.frequencies * np.sqrt(1.0 + step))))
    # All constants times 1 + s: wavenumbers times its square root, the error is of second order.
    assert changes[1] == pytest.approx(0.01 * changes[0], rel=0.02)


def test_the_jacobian_of_the_force_constants_is_exact(molecule, field, modes, geometry) -> None:
    # Elements are linear in the force constants: any step gives the derivative.
    eigenmatrix = Eigenmatrix(geometry, EigenmatrixTarget(modes, molecule.record.masses))
    p = internal_parameters(field)
    jacobian = eigenmatrix.jacobian(geometry.term_vector(p))
    for column in np.flatnonzero(field.is_linear):
        q = p.copy()
        q[column] += 50.0
        change = eigenmatrix.elements(geometry.term_vector(q)) - eigenmatrix.elements(geometry.term_vector(p))
        assert_allclose(50.0 * jacobian[:, column], change, atol=1e-9 * np.abs(change).max())


def test_the_metric_of_soft_modes_is_that_of_the_floor(molecule, field, modes, geometry) -> None:
    assert_allclose(floored(np.array([-4.0, 1e-6, 4.0]), 150.0), [4.0, eigenvalue(150.0), 4.0])
    masses, p = molecule.record.masses, internal_parameters(field)
    terms = geometry.term_vector(p)
    plain, soft = (Eigenmatrix(geometry, EigenmatrixTarget(modes, masses, floor=floor)) for floor in (150.0, 1000.0))
    ratio = (soft.elements(terms) - soft.target.values) / (plain.elements(terms) - plain.target.values)
    on_diagonal = plain.target.is_diagonal
    expected = np.minimum(modes.frequencies[1:] / 1000.0, 1.0)
    assert_allclose(ratio[on_diagonal], expected, rtol=1e-6)
