"""Advice on what the data do not determine, on cases whose answer is known, and by doing what it says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fieldfit import FunctionObjective, LeastSquaresOptimizer, Problem
from fieldfit.diagnostics import identifiability
from fieldfit.forcefield import ForceField, ForceFieldObjective, Row, build_force_field, perceive, read
from fieldfit.forcefield.advice import Advice, advise, correlations, groups_of
from fieldfit.forcefield.initial_guess import hessian_fit
from molecules import ethane, fluoromethane

ELEMENTS = {"A": "C", "B": "N", "C": "O", "H": "H"}


def bond(first: str, second: str) -> Row:
    return Row("harmonic_bond", (first, second), {"k": 300.0, "r0": 1.2})


def torsion(periodicity: float, phase: float) -> Row:
    constants = {"periodicity": periodicity, "phase": phase}
    return Row("cosine_torsion", ("H", "A", "A", "H"), {"k": 0.5}, constants)


def linear(field: ForceField, jacobian: np.ndarray) -> Advice:
    """Return the advice on a model that is linear in the free parameters of a force field."""
    matrix = np.asarray(jacobian, dtype=float)
    target = matrix @ field.parameters.flat + np.random.default_rng(0).normal(0.0, 0.1, len(matrix))
    names = field.parameter_names

    def residuals(p):
        return matrix @ np.array([p[name] for name in names]) - target

    objective = FunctionObjective(residuals, field.parameters, derivatives=lambda p: matrix)
    result = LeastSquaresOptimizer(maxiter=3).optimize(objective)
    return advise(result.identifiability(), result, field, ["bond_length", "eigenmatrix_off_diagonal"])


def random_rows(columns: int, rows: int = 12) -> np.ndarray:
    return np.random.default_rng(4).normal(size=(rows, columns))


def test_parameters_that_are_determined_need_no_advice() -> None:
    field = ForceField("field", (bond("A", "B"), bond("A", "C")), ELEMENTS)
    assert linear(field, random_rows(4)).combinations == ()


def test_a_parameter_that_nothing_feels_is_to_be_fixed() -> None:
    field = ForceField("field", (bond("A", "B"), bond("A", "C")), ELEMENTS)
    jacobian = random_rows(4)
    jacobian[:, 2] = 0.0
    (found,) = linear(field, jacobian).combinations
    assert found.parameters == found.fix == ("bond.A-C.k",)
    assert found.tie == ()
    assert "no reference feels it: fix bond.A-C.k at 300" in found.text


def test_two_constants_of_one_kind_that_are_felt_as_a_sum_are_to_be_tied() -> None:
    field = ForceField("field", (bond("A", "B"), bond("A", "C")), ELEMENTS)
    jacobian = random_rows(4)
    jacobian[:, 2] = jacobian[:, 0]
    (found,) = linear(field, jacobian).combinations
    assert set(found.tie[0]) == {"bond.A-B.k", "bond.A-C.k"}
    assert found.fix == ()


def test_two_constants_that_are_felt_as_a_difference_are_not_to_be_tied() -> None:
    # Tied they would have no effect at all, and stay as open as before.
    field = ForceField("field", (bond("A", "B"), bond("A", "C")), ELEMENTS)
    jacobian = random_rows(4)
    jacobian[:, 2] = -jacobian[:, 0]
    (found,) = linear(field, jacobian).combinations
    assert found.tie == ()
    assert len(found.fix) == 1


def test_constants_of_different_kinds_are_never_tied() -> None:
    angle = Row("harmonic_angle", ("A", "B", "C"), {"k": 50.0, "theta0": 110.0})
    field = ForceField("field", (bond("A", "B"), angle), ELEMENTS)
    jacobian = random_rows(4)
    jacobian[:, 2] = jacobian[:, 0]
    (found,) = linear(field, jacobian).combinations
    assert found.tie == ()
    # Of the two the angle is held: there are more angles than a molecule has degrees of freedom, but not bonds.
    assert found.fix == ("angle.A-B-C.k",)


def test_groups_without_anything_in_common_are_kept_apart() -> None:
    # Two pairs; the decomposition returns any mixture of the two directions.
    rows = (bond("A", "B"), bond("A", "C"), bond("B", "C"), bond("A", "H"))
    field = ForceField("field", rows, ELEMENTS)
    jacobian = random_rows(8, 20)
    jacobian[:, 2], jacobian[:, 6] = jacobian[:, 0], jacobian[:, 4]
    found = linear(field, jacobian).combinations
    assert {frozenset(entry.parameters) for entry in found} == {
        frozenset({"bond.A-B.k", "bond.A-C.k"}),
        frozenset({"bond.A-H.k", "bond.B-C.k"}),
    }
    assert [entry.n_open for entry in found] == [1, 1]


def test_the_grouping_does_not_depend_on_the_basis() -> None:
    basis = np.zeros((2, 6))
    basis[0, [0, 1]] = basis[1, [3, 4, 5]] = 1.0
    basis /= np.linalg.norm(basis, axis=1)[:, None]
    for angle in (0.0, 0.4, 2.0):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        assert [group.tolist() for group in groups_of(turn @ basis)] == [[0, 1], [3, 4, 5]]


def followed(objective: ForceFieldObjective, result, advice: Advice) -> tuple[int, int]:
    """Return rank and number of free parameters once everything that was advised is done."""
    parameters = result.parameters
    for entry in advice.combinations:
        parameters = parameters.fix(*entry.fix)
        for follower, leader in entry.tie:
            parameters = parameters.tie(follower, leader)
    space = parameters.space
    vector = Problem(objective, parameters).vector()
    found = identifiability(vector.evaluate(space.start, result.state).jacobian, space.labels)
    return found.rank, parameters.n_free


def test_torsions_about_one_bond_with_data_at_one_dihedral_only_ask_for_a_scan(shared_data) -> None:
    # In staggered ethane the H-C-C-H angles are 60 and 180 degrees. Their three constants act on the Hessian through
    # the sums of cos(n phi): the second derivative of the rotation is one number.
    molecule = ethane(shared_data)
    field = hessian_fit([molecule], build_force_field([molecule], periodicities=[1, 2, 3]))
    objective = ForceFieldObjective(field, [molecule], ["eigenmatrix_diagonal", "newton_displacement"])
    result = LeastSquaresOptimizer().optimize(objective)
    advice = advise(result.identifiability(), result, field, objective.categories)
    torsions = [entry for entry in advice.combinations if any("torsion" in name for name in entry.parameters)]
    assert torsions
    assert all("scan" in entry.text and "C-C" in entry.text for entry in torsions)
    rank, n_free = followed(objective, result, advice)
    assert rank == n_free


def test_the_angles_of_a_planar_atom_and_its_out_of_plane_constant_are_open_together(examples) -> None:
    molecule = perceive(read(examples / "anisole" / "anisole.json"))
    field = hessian_fit([molecule], build_force_field([molecule]))
    names = ["eigenmatrix_diagonal", "eigenmatrix_off_diagonal", "newton_displacement"]
    objective = ForceFieldObjective(field, [molecule], names)
    result = LeastSquaresOptimizer(ftol=1e-6).optimize(objective)
    found = result.identifiability()
    advice = advise(found, result, field, objective.categories)
    (*_, planar) = [entry for entry in advice.combinations if "out-of-plane" in " ".join(entry.parameters)]
    assert "planar" in planar.text
    assert any(name.endswith("theta0") for name in planar.parameters)
    assert sum(entry.n_open for entry in advice.combinations if not entry.is_weak) == len(found.labels) - found.rank
    rank, n_free = followed(objective, result, advice)
    assert rank == n_free


def test_geometry_is_asked_for_where_equilibria_are_open(shared_data) -> None:
    molecule = fluoromethane(shared_data)
    field = hessian_fit([molecule], build_force_field([molecule]))
    objective = ForceFieldObjective(field, [molecule], {"frequency": 10.0})
    result = LeastSquaresOptimizer(maxiter=2).optimize(objective)
    advice = advise(result.identifiability(), result, field, objective.categories)
    texts = " ".join(entry.text for entry in advice.combinations)
    # Seven different wavenumbers for eight parameters, and nothing about the geometry.
    assert "the geometry (bond_length and bond_angle" in texts
    assert "eigenmatrix_off_diagonal" in texts


def test_correlations_are_those_of_the_normal_equations() -> None:
    x = np.linspace(10.0, 11.0, 40)
    data = 1.0 + 2.0 * x + np.random.default_rng(1).normal(0.0, 0.1, 40)
    matrix = np.stack([np.ones_like(x), x], axis=1)
    line = FunctionObjective(lambda p: p["a"] + p["b"] * x - data, {"a": 0.0, "b": 0.0}, derivatives=lambda p: matrix)
    (found,) = correlations(LeastSquaresOptimizer().optimize(line))
    inverse = np.linalg.inv(matrix.T @ matrix)
    assert (found.first, found.second) == ("a", "b")
    assert_allclose(found.coefficient, inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]), rtol=1e-8)


@pytest.mark.parametrize("spread", [4.0, 0.0])
def test_uncorrelated_parameters_are_not_listed(spread) -> None:
    x = np.linspace(-1.0, 1.0, 40) * (1.0 + spread)
    matrix = np.stack([np.ones_like(x), x], axis=1)
    data = np.random.default_rng(1).normal(0.0, 0.1, 40)
    line = FunctionObjective(lambda p: p["a"] + p["b"] * x - data, {"a": 0.0, "b": 0.0}, derivatives=lambda p: matrix)
    assert correlations(LeastSquaresOptimizer().optimize(line)) == ()
